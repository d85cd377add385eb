#include "metrics/rollup_shape.hpp"

#include "catalog/columns.hpp"
#include "pg/compat.hpp"

#include <algorithm>

namespace orchestry::metrics {

using base::Error;
using base::Instant;
using base::TimeExtent;
using catalog::JobId;
namespace errc = base::errc;

namespace {

/// What window_stats() answers, in the order of its columns, and the same of a summary.
struct Statistic {
    const char* name;
    const char* of_summary;
};
constexpr Statistic statistics[] = {
    {"data_points", "orchestry.count(f.summary)"},
    {"avg_value", "orchestry.avg(f.summary)"},
    {"min_value", "orchestry.min(f.summary)"},
    {"max_value", "orchestry.max(f.summary)"},
    {"stddev_value", "orchestry.stddev(f.summary)"},
    {"p50_value", "orchestry.quantile(f.summary, 0.5)"},
    {"p95_value", "orchestry.quantile(f.summary, 0.95)"},
    {"p99_value", "orchestry.quantile(f.summary, 0.99)"},
};

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
    std::vector<std::string> columns;
    for (const Statistic& statistic : statistics)
        columns.emplace_back(statistic.name);
    columns.emplace_back("summary");
    return columns;
}

std::vector<std::string> all_columns(const RollupShape& shape) {
    std::vector<std::string> columns = key(shape);
    for (std::string& value : values())
        columns.push_back(std::move(value));
    return columns;
}

/// A name for a column of a statement of ours that none of the groups, which may have any, has.
std::string own(const RollupShape& shape, std::string name) {
    const auto& groups = shape.group_names;
    while (std::find(groups.begin(), groups.end(), name) != groups.end())
        name += '_';
    return name;
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

namespace {

/// Whether a column is computed when it is read, so that no trigger finds its value in a row.
bool is_virtual(Oid relid, const std::string& column) {
    return pg::protect([&] {
        const HeapTuple tuple = SearchSysCacheAttName(relid, column.c_str());
        if (!HeapTupleIsValid(tuple))
            return false;
        const char kind = reinterpret_cast<Form_pg_attribute>(GETSTRUCT(tuple))->attgenerated;
        ReleaseSysCache(tuple);
        return kind == pg::compat::virtual_column;
    });
}

/// What a rollup is computed from: rows of a table, with a time and a value.
void read_rows(RollupShape& shape, const std::vector<catalog::Column>& columns,
               const RollupSettings& settings) {
    shape.is_plain = pg::call<get_rel_relkind>(Oid{shape.source}) == RELKIND_RELATION;
    const catalog::Column& time =
        catalog::require_column(columns, shape.source, settings.time_column);
    if (!catalog::is_time(time))
        throw Error(errc::datatype_mismatch,
                    "time column \"" + time.name + "\" must be of type timestamptz or timestamp")
            .detail("It is of type " + time.type_name + ".");
    if (is_virtual(shape.source, time.name))
        throw Error(errc::feature_not_supported,
                    "time column \"" + time.name + "\" is a virtual generated column")
            .detail("Changes of rows are seen by their time, which such a column has only when it "
                    "is read.")
            .hint("Generate the column STORED.");
    shape.time_column = pg::quote_identifier(time.name);
    shape.is_wall_clock = catalog::is_wall_clock(time);
    const catalog::Column& value =
        catalog::require_column(columns, shape.source, settings.value_column);
    if (!catalog::is_number(pg::call<getBaseType>(Oid{value.type})))
        throw Error(errc::datatype_mismatch, "value column \"" + value.name + "\" is no number")
            .detail("It is of type " + value.type_name + ".")
            .hint("Name a column of type float8, real, numeric, bigint, integer or smallint.");
    shape.value_column = pg::quote_identifier(value.name);
    shape.condition = settings.predicate.value_or("");
}

/// The same of the stored buckets of its parent, which have met the condition already.
void read_buckets(RollupShape& shape) {
    shape.reading = Reading::merged;
    shape.is_plain = true;
    shape.time_column = "bucket";
    shape.value_column = "summary";
}

void read_groups(RollupShape& shape, const std::vector<catalog::Column>& columns,
                 const RollupSettings& settings) {
    for (const std::string& name : settings.group_by) {
        const catalog::Column& column = catalog::require_column(columns, shape.source, name);
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
}

} // namespace

Oid find_buckets(const RollupSettings& settings) {
    const std::string stored = settings.stored();
    const char* const name = stored.c_str();
    return pg::protect([&] {
        return RangeVarGetRelid(
            makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(name))), NoLock, true);
    });
}

Oid stored_buckets(const RollupSettings& settings) {
    if (const Oid relid = find_buckets(settings); OidIsValid(relid))
        return relid;
    throw Error(errc::undefined_table,
                "table " + settings.stored() + " with the buckets of the rollup does not exist")
        .hint("Give it its name back, or SELECT orchestry.drop_rollup(" +
              pg::quote_literal(settings.view()) + "); and create the rollup again.");
}

RollupShape read_rollup_shape(Oid target, const RollupSettings& settings) {
    RollupShape shape;
    shape.source =
        settings.parent ? stored_buckets(load_rollup(*settings.parent).settings) : target;
    shape.source_name = pg::require_relation_name(shape.source);
    const std::vector<catalog::Column> columns = catalog::columns_of(shape.source);
    if (settings.parent)
        read_buckets(shape);
    else
        read_rows(shape, columns, settings);
    read_groups(shape, columns, settings);
    shape.view = settings.view();
    shape.stored = settings.stored();
    shape.bucket = {settings.bucket.months, settings.bucket.days, settings.bucket.us};
    shape.time_zone = settings.time_zone;
    require_distinct_columns(shape);
    return shape;
}

namespace {

Oid find_view(const RollupSettings& settings) {
    return pg::protect([&] {
        const Oid schema = get_namespace_oid(settings.schema.c_str(), true);
        return OidIsValid(schema) ? get_relname_relid(settings.name.c_str(), schema) : InvalidOid;
    });
}

void require_one_owner(Oid target, const RollupSettings& settings, Oid view) {
    const Oid owner = catalog::owner_of(target);
    for (const Oid part : {view, find_buckets(settings)}) {
        if (!OidIsValid(part) || catalog::owner_of(part) == owner)
            continue;
        const std::string name = pg::role_name(owner);
        throw Error(errc::not_prerequisite_state,
                    "rollup " + settings.view() + " and its source have different owners")
            .detail(pg::require_relation_name(part) + " belongs to " +
                    pg::role_name(catalog::owner_of(part)) + ", and " +
                    pg::require_relation_name(target) + " to " + name + ".")
            .hint("Run ALTER VIEW " + settings.view() + " OWNER TO " + name + "; ALTER TABLE " +
                  settings.stored() + " OWNER TO " + name + ";");
    }
}

/// A view of that name that does not read what is stored is another one: of its columns nothing can
/// be said, nor whether the rollup's own, by another name, still goes by the same ones.
void require_own_view(const RollupSettings& settings, Oid view) {
    const Oid stored = find_buckets(settings);
    pg::Spi spi;
    if (!OidIsValid(stored) ||
        spi.run("SELECT FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_depend d "
                "ON d.objid OPERATOR(pg_catalog.=) w.oid AND d.classid OPERATOR(pg_catalog.=) "
                "'pg_catalog.pg_rewrite'::pg_catalog.regclass "
                "AND d.refclassid OPERATOR(pg_catalog.=) "
                "'pg_catalog.pg_class'::pg_catalog.regclass "
                "WHERE w.ev_class OPERATOR(pg_catalog.=) $1 "
                "AND d.refobjid OPERATOR(pg_catalog.=) $2 LIMIT 1",
                view, stored) > 0)
        return;
    throw Error(errc::not_prerequisite_state, settings.view() + " is not the view of the rollup")
        .detail("It does not read " + settings.stored() + ".")
        .hint("Give the rollup's own view that name back, or SELECT orchestry.drop_rollup(" +
              pg::quote_literal(settings.view()) + "); and create the rollup again.");
}

/// Statements go by names, and the view by the numbers that these had when it was made.
void require_columns_of_view(Oid target, const RollupSettings& settings, Oid view) {
    std::vector<std::string> names = settings.group_by;
    names.push_back(settings.time_column);
    names.push_back(settings.value_column);
    pg::Spi spi;
    spi.run("SELECT a.attname FROM pg_catalog.pg_attribute a "
            "WHERE a.attrelid OPERATOR(pg_catalog.=) $1 AND a.attname OPERATOR(pg_catalog.=) "
            "ANY ($3::pg_catalog.name[]) AND NOT EXISTS (SELECT FROM pg_catalog.pg_rewrite w "
            "JOIN pg_catalog.pg_depend d ON d.objid OPERATOR(pg_catalog.=) w.oid "
            "AND d.classid OPERATOR(pg_catalog.=) "
            "'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.refclassid OPERATOR(pg_catalog.=) "
            "'pg_catalog.pg_class'::pg_catalog.regclass WHERE w.ev_class "
            "OPERATOR(pg_catalog.=) $2 AND d.refobjid OPERATOR(pg_catalog.=) $1 "
            "AND d.refobjsubid OPERATOR(pg_catalog.=) a.attnum) ORDER BY a.attnum LIMIT 1",
            target, view, names);
    if (spi.rows() == 0)
        return;
    throw Error(errc::not_prerequisite_state, "column " + pg::quote_identifier(spi.row(0).text(1)) +
                                                  " of " + pg::require_relation_name(target) +
                                                  " is not the one that rollup " + settings.view() +
                                                  " was made of")
        .detail("Columns were renamed, and the view still reads the former one.")
        .hint("Rename them back, or SELECT orchestry.drop_rollup(" +
              pg::quote_literal(settings.view()) + "); and create the rollup again.");
}

} // namespace

void require_unchanged(Oid target, const RollupSettings& settings) {
    const Oid view = find_view(settings);
    require_one_owner(target, settings, view);
    if (!OidIsValid(view))
        return;
    require_own_view(settings, view);
    require_columns_of_view(target, settings, view);
}

std::vector<RollupLevel> read_levels(Oid target, JobId job, const RollupSettings& settings) {
    std::vector<RollupLevel> levels = {{job, read_rollup_shape(target, settings)}};
    for (std::optional<JobId> parent = settings.parent; parent;) {
        const StoredRollup rollup = load_rollup(*parent);
        levels.push_back({rollup.job, read_rollup_shape(target, rollup.settings)});
        parent = rollup.settings.parent;
    }
    return levels;
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

std::string bucket_is(const std::string& row, const char* comparison, const std::string& instant) {
    return row + ".bucket OPERATOR(pg_catalog." + comparison + ") " + instant;
}

/// A wall clock's time is read as UTC: from an instant to such a time, and back.
std::string converted(const RollupShape& shape, const std::string& time) {
    return shape.is_wall_clock ? "pg_catalog.timezone('UTC', " + time + ")" : time;
}

/// The buckets of `rows`, which names what is to be read as `t`, and may end in a WHERE clause. The
/// grouping is by plain expressions, so that rows are hashed and not sorted, and by parallel
/// workers.
std::string grouped_sql(const RollupShape& shape, const std::string& rows) {
    std::string value = "t." + shape.value_column;
    if (shape.reading != Reading::merged)
        value = "CAST(" + value + " AS pg_catalog.float8)";
    std::string by = "1";
    for (std::size_t i = 0; i < shape.groups.size(); ++i)
        by += ", " + std::to_string(i + 2);
    return "SELECT orchestry.time_bucket(" + width_sql(shape.bucket) + ", " +
           converted(shape, "t." + shape.time_column) + ", " + pg::quote_literal(shape.time_zone) +
           ") AS bucket" + (shape.groups.empty() ? "" : ", " + joined(shape.groups, "t.")) +
           (shape.reading == Reading::values
                ? ", orchestry.window_stats(" + value + ") AS " + own(shape, "stats")
                : "") +
           (shape.reading == Reading::merged ? ", orchestry.merge(" : ", orchestry.summarize(") +
           value + ") AS summary FROM " + rows + " GROUP BY " + by;
}

/// Those of the rows of the source from `lower` up to `upper`, which are expressions of type
/// timestamptz.
std::string buckets_sql(const RollupShape& shape, const std::string& lower,
                        const std::string& upper) {
    const std::string time = "t." + shape.time_column;
    return grouped_sql(shape,
                       (shape.is_plain ? "ONLY " : "") + shape.source_name + " t WHERE " + time +
                           " OPERATOR(pg_catalog.>=) " + converted(shape, lower) + " AND " + time +
                           " OPERATOR(pg_catalog.<) " + converted(shape, upper) + " AND t." +
                           shape.value_column + " IS NOT NULL" +
                           (shape.condition.empty() ? "" : " AND (" + shape.condition + ")"));
}

/// The columns of the rollup from rows `f` of grouped_sql().
std::string columns_of_fresh(const RollupShape& shape) {
    std::string list = joined(key(shape), "f.");
    if (shape.reading != Reading::values)
        return list + ", " + statistics_of_summary() + ", f.summary";
    for (const Statistic& statistic : statistics)
        list += ", (f." + own(shape, "stats") + ")." + statistic.name;
    return list + ", f.summary";
}

std::string within(const std::string& row, const TimeExtent& extent) {
    return bucket_is(row, ">=", instant_sql(extent.from)) + " AND " +
           bucket_is(row, "<", instant_sql(extent.to));
}

/// A column of the times of a rollup, in the snapshot of the statement that this is a part of.
std::string spans_sql(JobId job, const char* column) {
    return std::string("(SELECT p.") + column +
           " FROM orchestry._rollup_spans p WHERE p.job_id OPERATOR(pg_catalog.=) " +
           std::to_string(job.value) + "::pg_catalog.int8)";
}

/// All columns of a row, comparable: two rows are the same when these are.
std::string comparable(const RollupShape& shape, const std::string& row) {
    std::string list = joined(key(shape), row + ".");
    for (const Statistic& statistic : statistics)
        list += ", " + row + "." + statistic.name;
    return list + ", orchestry._summary_send(" + row + ".summary) AS " + own(shape, "packed");
}

/// The names of these columns in a subquery `u`.
std::string compared_sql(const RollupShape& shape) {
    std::string list = joined(key(shape), "u.");
    for (const Statistic& statistic : statistics)
        list += std::string(", u.") + statistic.name;
    return list + ", u." + own(shape, "packed");
}

/// What is dirty of one of the levels that a view is made of. Of a rollup whose job is not there (a
/// dump was restored without the extension's tables) nothing is known, so all is dirty.
std::string dirty_sql(const std::vector<RollupLevel>& levels, std::size_t depth) {
    if (levels.size() == 1) {
        const RollupShape& shape = levels[0].shape;
        return "(SELECT COALESCE(" + spans_sql(levels[0].job, "dirty") + ", orchestry._all_spans(" +
               width_sql(shape.bucket) + ", " + pg::quote_literal(shape.time_zone) + ")))";
    }
    return "(SELECT d.of_" + std::to_string(depth) + " FROM dirty_spans d)";
}

/// What the query of a view begins with: that of all levels, looked up once.
std::string dirty_spans_sql(const std::vector<RollupLevel>& levels) {
    if (levels.size() == 1)
        return {};
    std::string columns;
    for (std::size_t depth = 0; depth < levels.size(); ++depth) {
        const RollupShape& shape = levels[depth].shape;
        columns += (depth == 0 ? "" : ", ") +
                   ("orchestry._dirty_spans(" + std::to_string(levels[depth].job.value)) +
                   "::pg_catalog.int8, " + width_sql(shape.bucket) + ", " +
                   pg::quote_literal(shape.time_zone) + ") AS of_" + std::to_string(depth);
    }
    return "WITH dirty_spans AS MATERIALIZED (SELECT " + columns + ") ";
}

/// The dirty buckets of a level, computed by whoever reads it: grouped_sql(). One with a parent is
/// computed from the stored buckets of that, where these are right, and for the rest from what its
/// parent is computed from, whatever that takes.
std::string live_sql(const std::vector<RollupLevel>& levels, std::size_t depth) {
    RollupShape shape = levels[depth].shape;
    const std::string dirty = dirty_sql(levels, depth);
    if (shape.reading != Reading::merged) {
        if (depth > 0)
            shape.reading = Reading::summarized; // nobody looks at its percentiles
        return "SELECT f.* FROM orchestry._each_span(" + dirty + ") dirty CROSS JOIN LATERAL (" +
               buckets_sql(shape, "pg_catalog.lower(dirty.dirty)",
                           "pg_catalog.upper(dirty.dirty)") +
               ") f";
    }
    const auto columns = [&](const std::string& row) {
        return joined(key(shape), row + ".") + ", " + row + ".summary";
    };
    // OFFSET 0: the index is asked for each of the times, instead of all buckets being looked at.
    return grouped_sql(
        shape,
        "(SELECT s.* FROM orchestry._each_span(" + dirty + ") dirty CROSS JOIN LATERAL (SELECT " +
            columns("s") + " FROM ONLY " + levels[depth + 1].shape.stored + " s WHERE " +
            bucket_is("s", ">=", "pg_catalog.lower(dirty.dirty)") + " AND " +
            bucket_is("s", "<", "pg_catalog.upper(dirty.dirty)") + " AND NOT (" +
            bucket_is("s", "<@", dirty_sql(levels, depth + 1)) + ") OFFSET 0) s UNION ALL SELECT " +
            columns("l") + " FROM (" + live_sql(levels, depth + 1) + ") l WHERE " +
            bucket_is("l", "<@", dirty) + ") t");
}

} // namespace

std::vector<std::string> create_rollup_sql(const std::vector<RollupLevel>& levels) {
    const RollupShape& shape = levels.front().shape;
    std::string columns = "bucket timestamp with time zone NOT NULL";
    for (std::size_t i = 0; i < shape.groups.size(); ++i)
        columns += ", " + shape.groups[i] + " " + shape.group_types[i];
    columns += ", data_points bigint NOT NULL";
    for (const Statistic& statistic : statistics)
        if (std::string_view(statistic.name) != "data_points")
            columns += std::string(", ") + statistic.name + " double precision";
    columns += ", summary orchestry.summary NOT NULL, UNIQUE NULLS NOT DISTINCT (" +
               joined(key(shape)) + ")";
    const RollupShape& rows = levels.back().shape;
    const std::string about = "Statistics of " + rows.value_column + " of " + rows.source_name +
                              " per " + base::to_string(shape.bucket);
    std::vector<std::string> statements = {
        "CREATE TABLE " + shape.stored + " (" + columns + ") WITH (fillfactor = 85)",
        // Groups may be NULL, so no key could tell a publication of all tables which row goes.
        "ALTER TABLE " + shape.stored + " REPLICA IDENTITY FULL",
        "COMMENT ON TABLE " + shape.stored + " IS " +
            pg::quote_literal(about + ", as last computed. Read " + shape.view +
                              ", which is right at every moment."),
        "CREATE VIEW " + shape.view + " AS " + dirty_spans_sql(levels) + "SELECT " +
            joined(all_columns(shape), "s.") + " FROM " + shape.stored + " s WHERE NOT (" +
            bucket_is("s", "<@", dirty_sql(levels, 0)) + ") UNION ALL SELECT " +
            columns_of_fresh(shape) + " FROM (" + live_sql(levels, 0) + ") f",
        "COMMENT ON VIEW " + shape.view + " IS " +
            pg::quote_literal(about + ", right at every moment: stored buckets where nothing has "
                                      "changed, all others computed from the source.")};
    // Whoever asks for one app does not read those of all apps.
    if (!shape.groups.empty())
        statements.push_back("CREATE INDEX ON " + shape.stored + " (" + shape.groups.front() +
                             ", bucket)");
    return statements;
}

std::string statistics_of_summary() {
    std::string list;
    for (const Statistic& statistic : statistics)
        list +=
            std::string(list.empty() ? "" : ", ") + statistic.of_summary + " AS " + statistic.name;
    return list;
}

std::string fresh_sql(const RollupShape& shape, const TimeExtent& extent) {
    return "SELECT " + columns_of_fresh(shape) + ", pg_catalog.row_number() OVER () AS " +
           own(shape, "place") + " FROM (" +
           buckets_sql(shape, instant_sql(extent.from), instant_sql(extent.to)) + ") f";
}

namespace {

/// "written AS (...)": rows of "fresh" are stored, in order: what is looked for together, one app
/// in all its metrics, lies together.
std::string written_sql(const RollupShape& shape, const std::string& condition) {
    std::string assignments;
    for (const std::string& name : values())
        assignments += (assignments.empty() ? "" : ", ") + name + " = EXCLUDED." + name;
    return "written AS (INSERT INTO " + shape.stored + " (" + joined(all_columns(shape)) +
           ") SELECT " + joined(all_columns(shape), "f.") + " FROM fresh f" + condition +
           " ORDER BY " + joined(key(shape), "f.") + " ON CONFLICT (" + joined(key(shape)) +
           ") DO UPDATE SET " + assignments + " RETURNING 1)";
}

} // namespace

std::string has_stored_sql(const RollupShape& shape, const TimeExtent& extent) {
    return "SELECT EXISTS (SELECT FROM " + shape.stored + " s WHERE " + within("s", extent) + ")";
}

std::string store_first_sql(const RollupShape& shape) {
    return "WITH " + written_sql(shape, "") +
           " SELECT (SELECT pg_catalog.count(*) FROM written), 0::pg_catalog.int8";
}

std::string store_sql(const RollupShape& shape, const TimeExtent& extent) {
    const std::string from_stored = " FROM " + shape.stored + " s WHERE " + within("s", extent);
    const std::string place = own(shape, "place"), stored = own(shape, "stored"),
                      at = own(shape, "at"), fresh = own(shape, "fresh");
    // Grouping, unlike a join, takes NULLs for equal and is always hashed.
    return "WITH differing AS (SELECT pg_catalog.max(u." + place + ") AS place FROM (SELECT " +
           comparable(shape, "f") + ", f." + place + ", 0 AS " + stored +
           " FROM fresh f UNION ALL SELECT " + comparable(shape, "s") + ", NULL, 1" + from_stored +
           ") u GROUP BY " + compared_sql(shape) + " HAVING pg_catalog.sum(u." + stored +
           ") OPERATOR(pg_catalog.=) 0), vanished AS (DELETE FROM " + shape.stored +
           " d WHERE d.ctid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT pg_catalog.min(u." + at +
           ") FROM (SELECT " + joined(key(shape), "f.") + ", NULL::pg_catalog.tid AS " + at +
           ", 1 AS " + fresh + " FROM fresh f UNION ALL SELECT " + joined(key(shape), "s.") +
           ", s.ctid, 0" + from_stored + ") u GROUP BY " + joined(key(shape), "u.") +
           " HAVING pg_catalog.sum(u." + fresh + ") OPERATOR(pg_catalog.=) 0)) RETURNING 1), " +
           written_sql(shape, " WHERE f." + place +
                                  " OPERATOR(pg_catalog.=) ANY (SELECT n.place FROM differing n)") +
           " SELECT (SELECT pg_catalog.count(*) FROM written), "
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

std::string rows_sql(const RollupShape& shape, const TimeExtent& extent) {
    const auto literal = [&](Instant t) {
        return base::bound_sql(shape.is_wall_clock ? base::KeyKind::timestamp
                                                   : base::KeyKind::timestamptz,
                               base::Bound::value(t.us));
    };
    return "SELECT * FROM " + shape.source_name + " WHERE " + shape.time_column +
           " >= " + literal(extent.from) + " AND " + shape.time_column + " < " + literal(extent.to);
}

namespace {

/// `by`: the times of the first of the levels that are looked at, a column of _rollup_spans;
/// `origin`: what the shape is computed from, in words.
std::string findings_sql(const RollupShape& shape, JobId job, const char* by,
                         const std::string& origin, const TimeExtent& extent) {
    std::string groups;
    for (std::size_t i = 0; i < shape.groups.size(); ++i)
        groups += (i == 0 ? "" : ", ") + pg::quote_literal(shape.group_names[i]) + ", u." +
                  shape.groups[i];
    const std::string stored = own(shape, "stored");
    // What is settled is asked in the snapshot in which the rows are read.
    return "WITH settled AS MATERIALIZED (SELECT r FROM pg_catalog.unnest(" + spans_sql(job, by) +
           " OPERATOR(pg_catalog.*) pg_catalog.tstzmultirange("
           "pg_catalog.tstzrange(" +
           instant_sql(extent.from) + ", " + instant_sql(extent.to) +
           "))) r) SELECT u.bucket, pg_catalog.jsonb_build_object(" + groups +
           "), CASE WHEN pg_catalog.sum(u." + stored + ") OPERATOR(pg_catalog.=) 0 THEN " +
           pg::quote_literal(origin + " has this, and it is not stored") + " ELSE " +
           pg::quote_literal("this is stored, and " + origin + " does not have it") +
           " END FROM (SELECT " + comparable(shape, "s") + ", 1 AS " + stored + " FROM settled, " +
           shape.stored + " s WHERE " + bucket_is("s", "<@", "settled.r") + " UNION ALL SELECT " +
           comparable(shape, "f") + ", 0 FROM (SELECT " + columns_of_fresh(shape) +
           " FROM settled CROSS JOIN LATERAL (" +
           buckets_sql(shape, "pg_catalog.lower(settled.r)", "pg_catalog.upper(settled.r)") +
           ") f) f) u GROUP BY " + compared_sql(shape) +
           " HAVING pg_catalog.count(*) OPERATOR(pg_catalog.<>) 2 ORDER BY 1, 2";
}

} // namespace

std::string verify_sql(const std::vector<RollupLevel>& levels, const TimeExtent& extent) {
    const std::string origin = levels.size() == 1 ? "the source" : "rollup " + levels[1].shape.view;
    return findings_sql(levels[0].shape, levels[0].job, "settled", origin, extent);
}

std::string verify_by_rows_sql(const std::vector<RollupLevel>& levels, const TimeExtent& extent) {
    const RollupShape& rows = levels.back().shape;
    RollupShape shape = levels.front().shape;
    shape.reading = Reading::summarized;
    shape.source = rows.source;
    shape.source_name = rows.source_name;
    shape.is_plain = rows.is_plain;
    shape.time_column = rows.time_column;
    shape.is_wall_clock = rows.is_wall_clock;
    shape.value_column = rows.value_column;
    shape.condition = rows.condition;
    return findings_sql(shape, levels.front().job, "traceable", "the source", extent);
}

} // namespace orchestry::metrics
