// The columns of a rollup and of its source, and the statements that are made of them.
#pragma once

#include "metrics/rollup_policy.hpp"

namespace orchestry::metrics {

/// How rows of a source become rows of a rollup. All names are quoted.
struct RollupShape {
    Oid source = InvalidOid;
    std::string source_name; ///< qualified
    bool is_plain = false;   ///< not partitioned: tables that inherit from it are none of ours
    std::string time_column;
    bool is_wall_clock = false; ///< the time column has no zone, and is read as UTC
    std::string value_column;
    std::vector<std::string> group_names; ///< unquoted
    std::vector<std::string> groups;
    std::vector<std::string> group_types; ///< as in CREATE TABLE, with their collations
    std::string condition;                ///< that rows must meet; empty: none
    std::string view, stored;             ///< qualified
    base::Step bucket;
    std::string time_zone;
};

/// The shape that the settings of a source ask for. Raises 42703 for columns that do not exist,
/// 42804 and 22023 for those that do not fit.
RollupShape read_rollup_shape(Oid source, const RollupSettings& settings);

/// The table of the stored buckets, and the view over these and the dirty ones.
std::vector<std::string> create_rollup_sql(const RollupShape& shape, catalog::JobId job);

/// The buckets of some times, computed from the source: a query.
std::string fresh_sql(const RollupShape& shape, const base::TimeExtent& extent);

/// Makes the stored buckets of some times those of fresh_sql(), which are there as the table
/// `fresh`. Writes only what differs. One row: how many rows were written, how many removed.
std::string store_sql(const RollupShape& shape, const base::TimeExtent& extent);

/// Removes the stored buckets of some times.
std::string remove_sql(const RollupShape& shape, const base::TimeExtent& extent);

/// The earliest stored bucket, or NULL: one row.
std::string oldest_sql(const RollupShape& shape);

/// The times of the first and of the last row of the source within some times, or NULL: one row.
std::string bounds_sql(const RollupShape& shape, const base::TimeExtent& extent);

/// The rows of settled buckets of some times, stored ones and those that the source has, which are
/// not the same: bucket, groups as jsonb, what is wrong.
std::string verify_sql(const RollupShape& shape, catalog::JobId job,
                       const base::TimeExtent& extent);

} // namespace orchestry::metrics
