// Verification: whether what the policies of one table promise holds right now.
#pragma once

#include "base/time.hpp"
#include "catalog/job.hpp"

namespace orchestry::health {

struct Verdict {
    std::optional<catalog::JobId> job; ///< whose promise it is; nullopt: of the table as such
    std::string what;
    std::optional<bool> ok; ///< nullopt: it does not apply, or is not known
    std::string detail;
};

/// Looks at a table with policies: that it is partitioned, indexed, takes rows of `now` and prunes,
/// and for each policy that its job goes well and what it was for is the case. Writes nothing; what
/// rollups and compressed events are checked against is read. A lock is waited for no longer than
/// orchestry.lock_timeout: a promise whose tables somebody has locked is not known, and when that
/// is the table itself, 55P03 is raised. Raises 55000 when the table has no
/// policy, 42501 when the current user does not own it.
std::vector<Verdict> verify(Oid target, base::Instant now);

} // namespace orchestry::health
