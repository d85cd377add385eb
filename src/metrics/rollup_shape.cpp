#include "metrics/rollup_shape.hpp"

#include "catalog/columns.hpp"

#include <algorithm>

namespace orchestry::metrics {

using base::Error;
using base::Instant;
using base::TimeExtent;
namespace errc = base::errc;

namespace {

/// What window_stats() answers, in the order of its columns.
constexpr const char* statistics[] = {"data_points",  "avg_value", "min_value", "max_value",
                                      "stddev_value", "p50_value", "p95_value", "p99_value"};

std::string joined(const std::vector<std::string>& parts, const std::string& prefix = {}) {
    std::string text;
    for (const std::string& part : parts)
        text += (text.empty() ? "" : ", ") + prefix + part;
    return text;
}

/// "bucket, app, type": what identifies a row of the rollup.
std::vector<std::string> key(const RollupShape& shape) {
    std::vector<std::string> columns = {"bucket"};
    columns.insert(columns.end(), shape.groups.begin(), shape.groups.end());
    return columns;
}

std::vector<std::string> values() {
    std::vector<std::string> columns(std::begin(statistics), std::end(statistics));
    columns.emplace_back("summary");
    return columns;
}

std::vector<std::string> all_columns(const RollupShape& shape) {
    std::vector<std::string> columns = key(shape);
    for (std::string& value : values())
        columns.push_back(std::move(value));
    return columns;
}

void require_distinct_columns(const RollupShape& shape) {
    const std::vector<std::string> columns = all_columns(shape);
    for (auto it = columns.begin(); it != columns.end(); ++it)
        if (std::find(columns.begin(), it, *it) != it)
            throw Error(errc::invalid_parameter,
                        "the rollup would have two columns of the name " + *it)
                .hint("Leave the column out of \"group_by\", or rename it in the source.");
}

} // namespace

RollupShape read_rollup_shape(Oid source, const RollupSettings& settings) {
    const std::vector<catalog::Column> columns = catalog::columns_of(source);
    RollupShape shape;
    shape.source = source;
    shape.source_name = pg::require_relation_name(source);
    shape.is_plain = pg::call<get_rel_relkind>(source) == RELKIND_RELATION;
    const catalog::Column& time = catalog::require_column(columns, source, settings.time_column);
    if (!catalog::is_time(time))
        throw Error(errc::datatype_mismatch,
                    "time column \"" + time.name + "\" must be of type timestamptz or timestamp")
            .detail("It is of type " + time.type_name + ".");
    shape.time_column = pg::quote_identifier(time.name);
    shape.is_wall_clock = catalog::is_wall_clock(time);
    const catalog::Column& value = catalog::require_column(columns, source, settings.value_column);
    if (!catalog::is_number(pg::call<getBaseType>(Oid{value.type})))
        throw Error(errc::datatype_mismatch, "value column \"" + value.name + "\" is no number")
            .detail("It is of type " + value.type_name + ".")
            .hint("Name a column of type float8, real, numeric, bigint, integer or smallint.");
    shape.value_column = pg::quote_identifier(value.name);
    for (const std::string& name : settings.group_by) {
        const catalog::Column& column = catalog::require_column(columns, source, name);
        if (!catalog::has_order(column.type))
            throw Error(errc::invalid_parameter, "column \"" + name + "\" cannot be grouped by")
                .detail("Values of type " + column.type_name + " have no order.");
        shape.group_names.push_back(name);
        shape.groups.push_back(pg::quote_identifier(name));
        shape.group_types.push_back(catalog::type_sql(column));
    }
    if (shape.groups.size() >= INDEX_MAX_KEYS)
        throw Error(errc::invalid_parameter, "\"group_by\" must not have more than " +
                                                 std::to_string(INDEX_MAX_KEYS - 1) + " columns");
    shape.condition = settings.predicate.value_or("");
    shape.view = settings.view();
    shape.stored = settings.stored();
    shape.bucket = {settings.bucket.months, settings.bucket.days, settings.bucket.us};
    shape.time_zone = settings.time_zone;
    require_distinct_columns(shape);
    return shape;
}

// --- statements ---------------------------------------------------------------------------------

namespace {

std::string instant_sql(Instant t) {
    return base::bound_sql(base::KeyKind::timestamptz, base::Bound::value(t.us)) +
           "::pg_catalog.timestamptz";
}

std::string width_sql(const base::Step& step) {
    const std::string width = step.months > 0 ? std::to_string(step.months) + " months"
                              : step.days > 0 ? std::to_string(step.days) + " days"
                                              : std::to_string(step.us) + " microseconds";
    return "'" + width + "'::pg_catalog.interval";
}

/// The buckets of the rows of the source, as `t`, from `lower` up to `upper`, which are expressions
/// of type timestamptz. The grouping is by plain expressions, so that rows are hashed and not
/// sorted, and by parallel workers.
std::string buckets_sql(const RollupShape& shape, const std::string& lower,
                        const std::string& upper) {
    const std::string time = "t." + shape.time_column;
    const auto as_column = [&](const std::string& instant) {
        return shape.is_wall_clock ? "pg_catalog.timezone('UTC', " + instant + ")" : instant;
    };
    const std::string at = shape.is_wall_clock ? "pg_catalog.timezone('UTC', " + time + ")" : time;
    const std::string value = "CAST(t." + shape.value_column + " AS pg_catalog.float8)";
    std::string by = "1";
    for (std::size_t i = 0; i < shape.groups.size(); ++i)
        by += ", " + std::to_string(i + 2);
    return "SELECT orchestry.time_bucket(" + width_sql(shape.bucket) + ", " + at + ", " +
           pg::quote_literal(shape.time_zone) + ") AS bucket" +
           (shape.groups.empty() ? "" : ", " + joined(shape.groups, "t.")) +
           ", orchestry.window_stats(" + value + ") AS stats, orchestry.summarize(" + value +
           ") AS summary FROM " + (shape.is_plain ? "ONLY " : "") + shape.source_name +
           " t WHERE " + time + " OPERATOR(pg_catalog.>=) " + as_column(lower) + " AND " + time +
           " OPERATOR(pg_catalog.<) " + as_column(upper) + " AND t." + shape.value_column +
           " IS NOT NULL" + (shape.condition.empty() ? "" : " AND (" + shape.condition + ")") +
           " GROUP BY " + by;
}

/// The columns of the rollup from rows `f` of buckets_sql().
std::string columns_of_fresh(const RollupShape& shape) {
    std::string list = joined(key(shape), "f.");
    for (const char* const name : statistics)
        list += std::string(", (f.stats).") + name;
    return list + ", f.summary";
}

std::string within(const std::string& row, const TimeExtent& extent) {
    return row + ".bucket OPERATOR(pg_catalog.>=) " + instant_sql(extent.from) + " AND " + row +
           ".bucket OPERATOR(pg_catalog.<) " + instant_sql(extent.to);
}

/// A column of the times of a rollup, in the snapshot of the statement that this is a part of.
std::string spans_sql(catalog::JobId job, const char* column) {
    return std::string("(SELECT p.") + column +
           " FROM orchestry._rollup_spans p WHERE p.job_id OPERATOR(pg_catalog.=) " +
           std::to_string(job.value) + "::pg_catalog.int8)";
}

/// All columns of a row, comparable: two rows are the same when these are.
std::string comparable(const RollupShape& shape, const std::string& row) {
    std::string list = joined(key(shape), row + ".");
    for (const char* const name : statistics)
        list += ", " + row + "." + name;
    return list + ", orchestry._summary_send(" + row + ".summary) AS packed";
}

/// The names of these columns in a subquery `u`.
std::string compared_sql(const RollupShape& shape) {
    std::string list = joined(key(shape), "u.");
    for (const char* const name : statistics)
        list += std::string(", u.") + name;
    return list + ", u.packed";
}

} // namespace

std::vector<std::string> create_rollup_sql(const RollupShape& shape, catalog::JobId job) {
    std::string columns = "bucket timestamp with time zone NOT NULL";
    for (std::size_t i = 0; i < shape.groups.size(); ++i)
        columns += ", " + shape.groups[i] + " " + shape.group_types[i];
    columns += ", data_points bigint NOT NULL";
    for (const char* const name : statistics)
        if (std::string_view(name) != "data_points")
            columns += std::string(", ") + name + " double precision";
    columns += ", summary orchestry.summary NOT NULL, UNIQUE NULLS NOT DISTINCT (" +
               joined(key(shape)) + ")";
    const std::string about = "Statistics of " + shape.value_column + " of " + shape.source_name +
                              " per " + base::to_string(shape.bucket);
    return {
        "CREATE TABLE " + shape.stored + " (" + columns + ") WITH (fillfactor = 85)",
        "COMMENT ON TABLE " + shape.stored + " IS " +
            pg::quote_literal(about + ", as last computed. Read " + shape.view +
                              ", which is right at every moment."),
        "CREATE VIEW " + shape.view + " AS SELECT " + joined(all_columns(shape), "s.") + " FROM " +
            shape.stored + " s WHERE NOT (s.bucket OPERATOR(pg_catalog.<@) " +
            spans_sql(job, "dirty") + ") UNION ALL SELECT " + columns_of_fresh(shape) +
            " FROM pg_catalog.unnest(" + spans_sql(job, "dirty") + ") dirty CROSS JOIN LATERAL (" +
            buckets_sql(shape, "pg_catalog.lower(dirty)", "pg_catalog.upper(dirty)") + ") f",
        "COMMENT ON VIEW " + shape.view + " IS " +
            pg::quote_literal(about + ", right at every moment: stored buckets where nothing has "
                                      "changed, all others computed from the source.")};
}

std::string fresh_sql(const RollupShape& shape, const TimeExtent& extent) {
    return "SELECT " + columns_of_fresh(shape) +
           ", pg_catalog.row_number() OVER () AS place FROM (" +
           buckets_sql(shape, instant_sql(extent.from), instant_sql(extent.to)) + ") f";
}

std::string store_sql(const RollupShape& shape, const TimeExtent& extent) {
    const std::string columns = joined(all_columns(shape));
    std::string assignments;
    for (const std::string& name : values())
        assignments += (assignments.empty() ? "" : ", ") + name + " = EXCLUDED." + name;
    const std::string stored = " FROM " + shape.stored + " s WHERE " + within("s", extent);
    // Grouping, unlike a join, takes NULLs for equal and is always hashed.
    return "WITH differing AS (SELECT pg_catalog.max(u.place) AS place FROM (SELECT " +
           comparable(shape, "f") + ", f.place, 0 AS stored FROM fresh f UNION ALL SELECT " +
           comparable(shape, "s") + ", NULL, 1" + stored + ") u GROUP BY " + compared_sql(shape) +
           " HAVING pg_catalog.sum(u.stored) OPERATOR(pg_catalog.=) 0), "
           "vanished AS (DELETE FROM " +
           shape.stored +
           " d WHERE d.ctid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT pg_catalog.min(u.at) FROM "
           "(SELECT " +
           joined(key(shape), "f.") +
           ", NULL::pg_catalog.tid AS at, 1 AS fresh FROM fresh f UNION ALL SELECT " +
           joined(key(shape), "s.") + ", s.ctid, 0" + stored + ") u GROUP BY " +
           joined(key(shape), "u.") +
           " HAVING pg_catalog.sum(u.fresh) OPERATOR(pg_catalog.=) 0)) RETURNING 1), "
           "written AS (INSERT INTO " +
           shape.stored + " (" + columns + ") SELECT " + joined(all_columns(shape), "f.") +
           " FROM fresh f WHERE f.place OPERATOR(pg_catalog.=) ANY (SELECT n.place FROM differing "
           "n) ON CONFLICT (" +
           joined(key(shape)) + ") DO UPDATE SET " + assignments +
           " RETURNING 1) SELECT (SELECT pg_catalog.count(*) FROM written), "
           "(SELECT pg_catalog.count(*) FROM vanished)";
}

std::string remove_sql(const RollupShape& shape, const TimeExtent& extent) {
    return "DELETE FROM " + shape.stored + " s WHERE " + within("s", extent);
}

std::string oldest_sql(const RollupShape& shape) {
    return "SELECT pg_catalog.min(s.bucket) FROM " + shape.stored + " s";
}

std::string bounds_sql(const RollupShape& shape, const TimeExtent& extent) {
    const std::string time = "t." + shape.time_column;
    const auto literal = [&](Instant t) {
        return shape.is_wall_clock
                   ? base::bound_sql(base::KeyKind::timestamp, base::Bound::value(t.us)) +
                         "::pg_catalog.timestamp"
                   : instant_sql(t);
    };
    // Either a timestamptz seen in UTC or a wall clock's time read as UTC: the same number.
    return "SELECT pg_catalog.timezone('UTC', pg_catalog.min(" + time +
           ")), pg_catalog.timezone('UTC', pg_catalog.max(" + time + ")) FROM " +
           (shape.is_plain ? "ONLY " : "") + shape.source_name + " t WHERE " + time +
           " OPERATOR(pg_catalog.>=) " + literal(extent.from) + " AND " + time +
           " OPERATOR(pg_catalog.<) " + literal(extent.to);
}

std::string verify_sql(const RollupShape& shape, catalog::JobId job, const TimeExtent& extent) {
    std::string groups;
    for (std::size_t i = 0; i < shape.groups.size(); ++i)
        groups += (i == 0 ? "" : ", ") + pg::quote_literal(shape.group_names[i]) + ", u." +
                  shape.groups[i];
    // What is settled is asked in the snapshot in which the rows are read.
    return "WITH settled AS MATERIALIZED (SELECT r FROM pg_catalog.unnest(" +
           spans_sql(job, "settled") +
           " OPERATOR(pg_catalog.*) pg_catalog.tstzmultirange("
           "pg_catalog.tstzrange(" +
           instant_sql(extent.from) + ", " + instant_sql(extent.to) +
           "))) r) SELECT u.bucket, pg_catalog.jsonb_build_object(" + groups +
           "), CASE WHEN pg_catalog.sum(u.stored) OPERATOR(pg_catalog.=) 0 THEN "
           "'the source has this, and it is not stored' ELSE "
           "'this is stored, and the source does not have it' END FROM (SELECT " +
           comparable(shape, "s") + ", 1 AS stored FROM settled, " + shape.stored +
           " s WHERE s.bucket OPERATOR(pg_catalog.<@) settled.r UNION ALL SELECT " +
           comparable(shape, "f") + ", 0 FROM (SELECT " + columns_of_fresh(shape) +
           " FROM settled CROSS JOIN LATERAL (" +
           buckets_sql(shape, "pg_catalog.lower(settled.r)", "pg_catalog.upper(settled.r)") +
           ") f) f) u GROUP BY " + compared_sql(shape) +
           " HAVING pg_catalog.count(*) OPERATOR(pg_catalog.<>) 2 ORDER BY 1, 2";
}

} // namespace orchestry::metrics
