// The columns of a rollup and of its source, and the statements that are made of them.
#pragma once

#include "metrics/rollup_policy.hpp"

namespace orchestry::metrics {

/// What the rows are that a rollup is computed from, and how.
enum class Reading {
    values,     ///< the statistics are those of the values themselves
    summarized, ///< values as well, but the statistics are those of their summary
    merged,     ///< summaries, which are merged: what `summarized` would have given
};

/// How rows of a source, which are the stored buckets of its parent where it has one, become rows
/// of a rollup. All names are quoted.
struct RollupShape {
    Reading reading = Reading::values;
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

/// The table with the stored buckets of a rollup. When it has another name by now: InvalidOid, and
/// 42P01.
Oid find_buckets(const RollupSettings& settings);
Oid stored_buckets(const RollupSettings& settings);

/// The shape that the settings ask for, of a rollup of the table `target`. Raises 42703 for columns
/// that do not exist, 42804 and 22023 for those that do not fit.
RollupShape read_rollup_shape(Oid target, const RollupSettings& settings);

/// Checks that a rollup still is what its source makes of it: view and buckets belong to the owner
/// of the table `target`, and the view reads the columns that have the names of the settings.
/// Raises 55000 when that was changed.
void require_unchanged(Oid target, const RollupSettings& settings);

/// A rollup, or one that it is made of.
struct RollupLevel {
    catalog::JobId job;
    RollupShape shape;
};
/// A rollup, its parent and so on, down to the one that is made of the rows of `target`.
std::vector<RollupLevel> read_levels(Oid target, catalog::JobId job,
                                     const RollupSettings& settings);

/// The table of the stored buckets of the first of these levels, and the view over these and the
/// dirty ones.
std::vector<std::string> create_rollup_sql(const std::vector<RollupLevel>& levels);

/// What window_stats() answers, of f.summary: columns with their names.
std::string statistics_of_summary();

/// The buckets of some times, computed from the source: a query.
std::string fresh_sql(const RollupShape& shape, const base::TimeExtent& extent);

/// Makes the stored buckets of some times those of fresh_sql(), which are there as the table
/// `fresh`. Writes only what differs. One row: how many rows were written, how many removed.
std::string store_sql(const RollupShape& shape, const base::TimeExtent& extent);
/// Whether there are any: a query of one boolean. Where there are none, which is so for most
/// buckets when they are over, store_first_sql() does what store_sql() does without comparing.
std::string has_stored_sql(const RollupShape& shape, const base::TimeExtent& extent);
std::string store_first_sql(const RollupShape& shape);

/// Removes the stored buckets of some times.
std::string remove_sql(const RollupShape& shape, const base::TimeExtent& extent);

/// The earliest stored bucket, or NULL: one row.
std::string oldest_sql(const RollupShape& shape);

/// The times of the first and of the last row of the source within some times, or NULL: one row.
std::string bounds_sql(const RollupShape& shape, const base::TimeExtent& extent);

/// The rows of the source within some times: a query for people.
std::string rows_sql(const RollupShape& shape, const base::TimeExtent& extent);

/// The rows of settled buckets of some times, stored ones and those that the source of the first of
/// these levels has, which are not the same: bucket, groups as jsonb, what is wrong.
std::string verify_sql(const std::vector<RollupLevel>& levels, const base::TimeExtent& extent);
/// The same by the rows that the last of the levels is made of, where all of them are still there.
std::string verify_by_rows_sql(const std::vector<RollupLevel>& levels,
                               const base::TimeExtent& extent);

} // namespace orchestry::metrics
