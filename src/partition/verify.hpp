// Whether a set is what its policy says, by what the server has and does.
#pragma once

#include "partition/policy.hpp"

namespace orchestry::partition {

/// One thing that is not as it should be.
struct Finding {
    std::string object;  ///< quoted name of the table or partition
    std::string problem; ///< plain words
};

/// Looks whether all partitions are there that should be, rows of now have one, each has all
/// indexes of the table, and a query of one partition reads no other. Changes nothing. Raises 55000
/// when the table has no partition policy, 42501 when the caller does not own it.
std::vector<Finding> verify(Oid parent, base::Instant now);

} // namespace orchestry::partition
