// window_aggregate(): exact statistics of any window of a table, per group.
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
/// statement. Errors: 42P01, 42703 and 42804 for a source, columns and types that are not there or
/// do not fit, 22023 for a window that ends before it begins and a column named twice.
void aggregate_window(const Window& window, const std::function<void(const pg::Row&)>& use);

} // namespace orchestry::metrics
