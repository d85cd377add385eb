// What orchestry.explain() says of a policy and of the parts of its table, whichever capability
// says it.
#pragma once

#include "catalog/job.hpp"

namespace orchestry::catalog {

/// One line of orchestry.explain().
struct Explanation {
    JobId job;
    std::string object;      ///< the policy's table or a part of it, qualified and quoted
    std::string state;       ///< one word
    std::string reason;      ///< plain words
    std::string next_action; ///< empty: nothing comes next
    std::optional<base::Instant> next_at;
};

} // namespace orchestry::catalog
