// What the server says of queries: plans, and where time goes.
#pragma once

#include <functional>

#include "pg/spi.hpp"

namespace orchestry::migrate {

/// The plan of one statement as a jsonb datum, made with the current user's rights; the statement
/// is not run. Raises 42601 unless it is one, 0A000 for those that have no plan.
Datum explain_query(const std::string& sql);

/// The statements of this database that take longest by all their calls together, of those whose
/// calls take at least `min_mean_ms` on the average; at most `limit`. Columns: queryid, query,
/// calls, mean_ms, total_ms, rows, share of blocks found in memory. Raises 55000 with what to do
/// when pg_stat_statements does not work here, 22023 for a negative limit.
void slow_queries(double min_mean_ms, std::int32_t limit,
                  const std::function<void(const pg::Row&)>& each);

} // namespace orchestry::migrate
