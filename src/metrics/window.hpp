// window_aggregate(): statistics of any window of a table or of a rollup, per group.
#pragma once

#include "base/time.hpp"
#include "pg/spi.hpp"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace orchestry::metrics {

struct Window {
    Oid source;
    std::string time_column;
    std::string value_column;
    std::vector<std::string> group_by;
    std::optional<base::Instant> from; // inclusive; all before when there is none
    std::optional<base::Instant> to;   // exclusive
};

/// Calls `use` with labels, data_points, avg, min, max, stddev, p50, p95 and p99 of each group that
/// has values in the window, with the rights of the current user and on the snapshot of the calling
/// statement. They are exact. Of a rollup, which is asked for the value that it is made of, they
/// are those of the merged summaries: percentiles within their relative error. Errors: 42P01, 42703
/// and 42804 for a source, columns and types that are not there or do not fit, 22023 for a window
/// that ends before it begins, one that does not consist of whole buckets of a rollup, columns that
/// a rollup is not made of, and a column named twice.
void aggregate_window(const Window& window, const std::function<void(const pg::Row&)>& use);

} // namespace orchestry::metrics
