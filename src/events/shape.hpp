// The columns of an event table and of the table that takes its counts and samples, and the
// statements that are made of them.
#pragma once

#include "base/partition_key.hpp"
#include "events/policy.hpp"

namespace orchestry::events {

/// How the rows of a source become rows of a target. All names are quoted.
struct Shape {
    Oid source = InvalidOid;
    std::string source_name; ///< qualified
    std::string target_name; ///< qualified
    std::string time_column;
    std::string time_name;                ///< the same, unquoted
    bool is_wall_clock = false;           ///< the time column has no zone, and is read as UTC
    std::vector<std::string> group_names; ///< unquoted
    std::vector<std::string> groups;
    std::vector<std::string> group_types; ///< as in CREATE TABLE, with their collations
    std::string counted, counts;          ///< column of the source and of the target; both or none
    std::string sampled, samples;         ///< likewise
    std::string sample_times;             ///< of the target; may be missing there
    bool has_sample_times = false;
};

/// The shape that the settings of a source ask for. `target` is not looked at. Raises 42703 for
/// columns that do not exist, 22023 for those that do not fit, 42622 when a column of the target
/// would have too long a name.
Shape read_shape(Oid source, const Settings& settings);

/// The time column of a table when the user names none: its partition key, or else the one column
/// of type timestamptz or timestamp. Raises 22023 when that leaves a choice.
std::string default_time_column(Oid source);

/// Where the rows go when the user names no table, or names it without a schema: qualified and
/// quoted, in the schema of the source. Raises 42602 for what is no name, 42622 when it is too
/// long.
std::string target_name(Oid source, const std::optional<std::string>& into_table);

/// The table of a qualified and quoted name; InvalidOid when there is none.
Oid find_target(const std::string& target_name);

/// CREATE TABLE for the target, and what else it needs. The target of a partitioned source is
/// partitioned by bucket, with a DEFAULT partition that takes what is older than its partitions.
std::vector<std::string> create_target_sql(const Shape& shape);

/// Looks whether the target has all the columns of the shape and the unique index, and completes
/// the shape by what is left to it. Raises 42809 with the command that mends it.
void check_target(Shape& shape, Oid target);

/// A part of time, as a condition on the time column.
std::string time_condition(const Shape& shape, const base::TimeExtent& extent);

/// The statement that turns the rows which meet a condition, all of them of times from the start of
/// a bucket, `lower`, up to `upper`, into rows of the target, and merges those into what is there.
/// It returns how many rows were taken, and into how many rows of the target they went.
///
/// It is one statement, so that what is counted is what is removed: at READ COMMITTED a row that
/// somebody updates meanwhile is deleted and counted in its new form, or left alone when that is
/// not to be compressed any more.
std::string compress_sql(const Shape& shape, const Policy& policy, std::int32_t samples,
                         base::Instant lower, base::Instant upper, const std::string& condition);

/// Counts rows `summed`: the rows that were taken, the rows of the target that they are, and what
/// `stored` is, an expression of how many rows the target took.
inline std::string count_summed_sql(const std::string& stored) {
    return "SELECT COALESCE(pg_catalog.sum(event_count), 0)::pg_catalog.int8, "
           "pg_catalog.count(*), " +
           stored + "::pg_catalog.int8 FROM summed";
}

/// That the values of a row's groups fit the target's unique index, as a condition. It is on the
/// safe side: whether longer ones fit depends on how well they can be compressed.
std::string narrow_groups(const Shape& shape);

/// The same for all rows of a partition: the rows of `summed` first, then what merges them, and
/// what empties the partition, if these are still its rows.
struct PartitionSql {
    std::string summed;
    std::string merge;
    std::string empty;
};
PartitionSql partition_sql(const Shape& shape, const Policy& policy, std::int32_t samples,
                           base::Instant lower, base::Instant upper, const std::string& partition);

/// A query for how rows fall into buckets and groups: SampledBucket by SampledBucket. `rows`:
/// the FROM item, with the source's columns.
std::string sample_sql(const Shape& shape, const Policy& policy, base::Instant lower,
                       base::Instant upper, const std::string& rows);

/// What is wrong with a row of the target whose events are not of its bucket.
inline constexpr const char* outside_of_bucket = "events are outside of the bucket";
/// A query for the rows of the target that cannot be right: bucket, groups as a jsonb object,
/// number of events, and what is wrong. `lower`, `upper`: bounds of buckets around all their times.
std::string verify_sql(const Shape& shape, const Policy& policy, base::Instant lower,
                       base::Instant upper);

} // namespace orchestry::events
