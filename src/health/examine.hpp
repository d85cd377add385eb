// Health: what is wrong in a database, and the SQL that mends it. A check is a view; this runs
// them one by one, so that one that fails or takes too long is a finding and not the end.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace orchestry::health {

/// Something that is wrong, or that could not be found out.
struct Finding {
    std::string severity; ///< info, warning, error, critical or unknown
    std::string code;     ///< the check that found it
    std::string object;   ///< what it is about; empty: the database or the server
    std::string detail;   ///< sentences: what is wrong and what comes of it
    std::string fix_sql;  ///< empty: no statement mends it
    std::string fix_lock; ///< the strongest lock that fix_sql takes; empty: none
    std::string evidence; ///< a JSON object: the figures that the finding rests on
};

/// Runs all checks as the current user, those first whose findings hurt most. Each has `budget_us`
/// microseconds, and waits for locks for orchestry.lock_timeout at most; one that fails is a
/// finding `unknown`. Raises 57014 when somebody cancels it.
std::vector<Finding> examine(std::int64_t budget_us);

} // namespace orchestry::health
