// Snapshots of other sessions.
#pragma once

#include "pg/scope.hpp"

namespace orchestry::pg {

/// Waits until those snapshots are gone that other sessions of this database have at this moment,
/// for at most `budget_us`. Returns whether they are. Those of VACUUM and of simple CREATE INDEX
/// CONCURRENTLY do not count: nothing else will be read by them.
bool outwait_snapshots(std::int64_t budget_us);

} // namespace orchestry::pg
