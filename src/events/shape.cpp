#include "events/shape.hpp"

#include "base/text.hpp"
#include "catalog/columns.hpp"
#include "catalog/partitioned_table.hpp"

#include <algorithm>

namespace orchestry::events {

using base::Error;
using base::Instant;
using catalog::Column;
using catalog::columns_of;
using catalog::has_order;
using catalog::is_time;
using catalog::require_column;
using catalog::type_sql;
namespace errc = base::errc;

namespace {

constexpr const char* timestamptz_type = "timestamp with time zone";

Error invalid(std::string message) { return Error(errc::invalid_parameter, std::move(message)); }

std::string name_of(Oid relid) { return pg::relation_name(relid).value_or(""); }

// --- columns ------------------------------------------------------------------------------------

/// The name of a column of the target.
std::string derived_name(const std::string& prefix, const std::string& column,
                         const std::string& suffix) {
    const std::string name = prefix + column + suffix;
    if (name.size() >= NAMEDATALEN)
        throw Error(errc::name_too_long,
                    "the name of column \"" + name + "\" of the target would be too long")
            .detail("A name has at most " + std::to_string(NAMEDATALEN - 1) + " bytes.");
    return pg::quote_identifier(name);
}

/// All columns of the target, with their types as in CREATE TABLE.
std::vector<std::pair<std::string, std::string>> target_columns(const Shape& shape) {
    std::vector<std::pair<std::string, std::string>> columns = {{"bucket", timestamptz_type}};
    for (std::size_t i = 0; i < shape.groups.size(); ++i)
        columns.emplace_back(shape.groups[i], shape.group_types[i]);
    columns.emplace_back("event_count", "bigint");
    if (!shape.counts.empty())
        columns.emplace_back(shape.counts, "jsonb");
    if (!shape.samples.empty()) {
        columns.emplace_back(shape.samples, "text[]");
        columns.emplace_back(shape.sample_times, std::string(timestamptz_type) + "[]");
    }
    columns.emplace_back("first_at", timestamptz_type);
    columns.emplace_back("last_at", timestamptz_type);
    return columns;
}

void require_distinct_columns(const Shape& shape) {
    std::vector<std::string> names;
    for (const auto& [name, type] : target_columns(shape)) {
        if (std::find(names.begin(), names.end(), name) != names.end())
            throw invalid("the target would have two columns of the name " + name)
                .hint("Leave the column out of \"group_by\", or rename it in the source.");
        names.push_back(name);
    }
}

} // namespace

Shape read_shape(Oid source, const Settings& settings) {
    const std::vector<Column> columns = columns_of(source);
    Shape shape;
    shape.source = source;
    shape.source_name = name_of(source);
    shape.target_name = settings.into_table;
    const Column& time = require_column(columns, source, settings.time_column);
    if (!is_time(time))
        throw invalid("time column \"" + time.name + "\" must be of type timestamptz or timestamp")
            .detail("It is of type " + time.type_name + ".");
    shape.time_name = time.name;
    shape.time_column = pg::quote_identifier(time.name);
    shape.is_wall_clock = catalog::is_wall_clock(time);
    for (const std::string& name : settings.group_by) {
        const Column& column = require_column(columns, source, name);
        if (!has_order(column.type))
            throw invalid("column \"" + name + "\" cannot be grouped by")
                .detail("Values of type " + column.type_name + " have no order.");
        shape.group_names.push_back(name);
        shape.groups.push_back(pg::quote_identifier(name));
        shape.group_types.push_back(type_sql(column));
    }
    if (shape.groups.size() >= INDEX_MAX_KEYS)
        throw invalid("\"group_by\" must not have more than " + std::to_string(INDEX_MAX_KEYS - 1) +
                      " columns");
    if (settings.count_values_of) {
        const Column& column = require_column(columns, source, *settings.count_values_of);
        shape.counted = pg::quote_identifier(column.name);
        shape.counts = derived_name("", column.name, "_counts");
    }
    if (settings.sample_of) {
        const Column& column = require_column(columns, source, *settings.sample_of);
        shape.sampled = pg::quote_identifier(column.name);
        shape.samples = derived_name("sample_", column.name, "s");
        shape.sample_times = derived_name("sample_", column.name, "s_at");
        shape.has_sample_times = true;
    }
    require_distinct_columns(shape);
    return shape;
}

std::string default_time_column(Oid source) {
    if (catalog::has_supported_key(source)) {
        const catalog::KeyColumn key = catalog::require_key_column(source);
        if (key.type == TIMESTAMPTZOID || key.type == TIMESTAMPOID)
            return key.name;
    }
    std::vector<std::string> names;
    for (const Column& column : columns_of(source))
        if (is_time(column))
            names.push_back(column.name);
    if (names.size() == 1)
        return names.front();
    std::string list;
    for (const std::string& name : names)
        list += (list.empty() ? "" : ", ") + pg::quote_identifier(name);
    throw invalid("\"time_column\" is needed for table " + name_of(source))
        .detail(names.empty() ? "It has no column of type timestamptz or timestamp."
                              : "Its columns " + list + " are all times.")
        .hint("Add time_column => '...' with the column that says when an event happened.");
}

// --- the target ---------------------------------------------------------------------------------

namespace {

const RangeVar* parse_name(const std::string& name) {
    const char* const text = name.c_str();
    return pg::protect([&]() -> const RangeVar* {
        return makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(text)));
    });
}

} // namespace

std::string target_name(Oid source, const std::optional<std::string>& into_table) {
    const char* const schema =
        pg::protect([&]() -> const char* { return get_namespace_name(get_rel_namespace(source)); });
    if (!into_table) {
        const char* const table = pg::call<get_rel_name>(source);
        constexpr std::string_view suffix = "_compressed";
        std::string name = table ? table : "";
        if (name.size() + suffix.size() >= NAMEDATALEN)
            name.resize(base::whole_characters(name, NAMEDATALEN - 1 - suffix.size()));
        return pg::quote_qualified(schema ? schema : "", name + std::string(suffix));
    }
    const RangeVar* const named = parse_name(*into_table);
    return pg::quote_qualified(named->schemaname ? named->schemaname : schema, named->relname);
}

Oid find_target(const std::string& target_name) {
    const RangeVar* const named = parse_name(target_name);
    return pg::protect([&] { return RangeVarGetRelid(named, NoLock, true); });
}

namespace {

std::string joined(const std::vector<std::string>& parts, const char* separator) {
    std::string text;
    for (const std::string& part : parts)
        text += (text.empty() ? "" : separator) + part;
    return text;
}

/// "bucket, app, type": what identifies a row of the target.
std::string key_sql(const Shape& shape) {
    std::vector<std::string> key = {"bucket"};
    key.insert(key.end(), shape.groups.begin(), shape.groups.end());
    return joined(key, ", ");
}

bool is_group(const Shape& shape, const std::string& column) {
    return std::find(shape.groups.begin(), shape.groups.end(), column) != shape.groups.end();
}

Error misfit(const Shape& shape, std::string detail, std::string hint) {
    return Error(errc::wrong_object_type, "table " + shape.target_name +
                                              " cannot take the compressed events of " +
                                              shape.source_name)
        .detail(std::move(detail))
        .hint(std::move(hint));
}

/// Whether the target has a unique index on just the key in which NULLs are equal, or do not occur.
/// What it includes besides does not matter.
bool has_key(const Shape& shape, Oid target) {
    std::vector<std::string> names = shape.groups;
    names.insert(names.begin(), "bucket");
    pg::Spi spi;
    return spi.run("SELECT FROM pg_catalog.pg_index i WHERE i.indrelid OPERATOR(pg_catalog.=) $1 "
                   "AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL "
                   "AND i.indexprs IS NULL AND (SELECT pg_catalog.array_agg("
                   "pg_catalog.quote_ident(a.attname) ORDER BY pg_catalog.quote_ident(a.attname)) "
                   "OPERATOR(pg_catalog.=) (SELECT pg_catalog.array_agg(n ORDER BY n) FROM "
                   "pg_catalog.unnest($2) n) AND (i.indnullsnotdistinct OR "
                   "pg_catalog.bool_and(a.attnotnull)) FROM pg_catalog.pg_attribute a "
                   "WHERE a.attrelid OPERATOR(pg_catalog.=) $1 AND a.attnum OPERATOR(pg_catalog.=) "
                   "ANY ((pg_catalog.string_to_array(i.indkey::pg_catalog.text, ' ')"
                   "::pg_catalog.int2[])[1:i.indnkeyatts])) LIMIT 1",
                   target, names) > 0;
}

} // namespace

std::vector<std::string> create_target_sql(const Shape& shape) {
    std::string columns;
    for (const auto& [name, type] : target_columns(shape))
        columns += name + ' ' + type + (is_group(shape, name) ? "" : " NOT NULL") + ", ";
    const bool is_partitioned =
        pg::call<get_rel_relkind>(shape.source) == RELKIND_PARTITIONED_TABLE;
    std::vector<std::string> statements = {
        "CREATE TABLE " + shape.target_name + " (" + columns + "UNIQUE NULLS NOT DISTINCT (" +
            key_sql(shape) + "))" + (is_partitioned ? " PARTITION BY RANGE (bucket)" : ""),
        "COMMENT ON TABLE " + shape.target_name + " IS " +
            pg::quote_literal("Events of " + shape.source_name +
                              " as counts and samples, kept by orchestry_ext.")};
    if (is_partitioned) {
        const RangeVar* const target = parse_name(shape.target_name);
        statements.push_back(
            "CREATE TABLE " +
            pg::quote_qualified(target->schemaname,
                                base::fitting_name(std::string(target->relname) + "_default")) +
            " PARTITION OF " + shape.target_name + " DEFAULT");
    }
    return statements;
}

void check_target(Shape& shape, Oid target) {
    const char kind = pg::call<get_rel_relkind>(target);
    const bool is_table = kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE;
    if (!is_table || pg::call<get_rel_persistence>(target) != RELPERSISTENCE_PERMANENT ||
        target == shape.source)
        throw misfit(shape, "It must be a permanent table, and not the source itself.",
                     "Give another \"into_table\".");
    for (const Oid part : pg::family_of(target))
        if (pg::call<get_rel_persistence>(Oid{part}) == RELPERSISTENCE_UNLOGGED)
            throw misfit(shape,
                         "Its part " + name_of(part) +
                             " is not logged: what is counted there is gone after a crash.",
                         "Run ALTER TABLE " + name_of(part) + " SET LOGGED;");
    const std::vector<Column> columns = columns_of(target);
    std::vector<std::string> wanted;
    for (const auto& [name, type] : target_columns(shape)) {
        const std::string& quoted = name;
        wanted.push_back(quoted);
        const auto found = std::find_if(columns.begin(), columns.end(), [&](const Column& column) {
            return pg::quote_identifier(column.name) == quoted;
        });
        if (found == columns.end() && quoted == shape.sample_times) {
            shape.has_sample_times = false;
            continue;
        }
        if (found == columns.end())
            throw misfit(shape, "It has no column " + quoted + ".",
                         "Run ALTER TABLE " + shape.target_name + " ADD COLUMN " + quoted + ' ' +
                             type + ";");
        if (type_sql(*found) != type)
            throw misfit(shape,
                         "Its column " + quoted + " is of type " + type_sql(*found) + ", not " +
                             type + ".",
                         "Run ALTER TABLE " + shape.target_name + " ALTER COLUMN " + quoted +
                             " TYPE " + type + ";");
    }
    for (const Column& column : columns)
        if (column.not_null && !column.has_default &&
            std::find(wanted.begin(), wanted.end(), pg::quote_identifier(column.name)) ==
                wanted.end())
            throw misfit(shape,
                         "Its column " + pg::quote_identifier(column.name) +
                             " must not be NULL, and has no default.",
                         "Run ALTER TABLE " + shape.target_name + " ALTER COLUMN " +
                             pg::quote_identifier(column.name) + " DROP NOT NULL;");
    if (!has_key(shape, target))
        throw misfit(shape,
                     "It has no unique index on (" + key_sql(shape) +
                         ") in which NULLs are not distinct.",
                     "Run CREATE UNIQUE INDEX ON " + shape.target_name + " (" + key_sql(shape) +
                         ") NULLS NOT DISTINCT;");
}

// --- statements ---------------------------------------------------------------------------------

namespace {

std::string instant_sql(Instant t) {
    return base::bound_sql(base::KeyKind::timestamptz, base::Bound::value(t.us)) +
           "::pg_catalog.timestamptz";
}

/// An instant as a literal of the time column's type.
std::string column_literal(const Shape& shape, Instant t) {
    if (!shape.is_wall_clock)
        return instant_sql(t);
    return base::bound_sql(base::KeyKind::timestamp, base::Bound::value(t.us)) +
           "::pg_catalog.timestamp";
}

/// The time of a row as a timestamptz.
std::string instant_column(const Shape& shape) {
    return shape.is_wall_clock ? "pg_catalog.timezone('UTC', " + shape.time_column + ")"
                               : shape.time_column;
}

/// The start of the bucket of column `at`, for rows of [lower, upper), and the FROM item that it
/// needs. Widths in microseconds are counted by the server; of days and months the bounds are given
/// as a list, since only the grid knows every zone's midnights.
struct BucketSql {
    std::string expression;
    std::string from;
};

BucketSql bucket_sql(const Policy& policy, Instant lower, Instant upper, const std::string& at) {
    const base::Grid grid = policy.grid();
    if (grid.next(lower) >= upper)
        return {instant_sql(lower), {}};
    if (policy.bucket.us > 0)
        return {"pg_catalog.date_bin('" + std::to_string(policy.bucket.us) +
                    " microseconds'::pg_catalog.interval, " + at + ", " + instant_sql(lower) + ")",
                {}};
    std::string starts;
    for (Instant start = lower; start < upper; start = grid.next(start))
        starts += (starts.empty() ? "" : ",") + base::instant_text(start);
    return {"starts.of[pg_catalog.width_bucket(" + at + ", starts.of)]",
            ", (VALUES ('{" + starts + "}'::pg_catalog.timestamptz[])) AS starts(of)"};
}

/// The parts of compress_sql().
class CompressSql {
  public:
    CompressSql(const Shape& shape, std::int32_t samples)
        : shape_(shape), n_(std::to_string(samples)) {
        for (const std::string& group : shape.groups)
            put(group, "gone.g" + std::to_string(++groups_), {});
        put("event_count", "pg_catalog.count(*)",
            "t.event_count OPERATOR(pg_catalog.+) EXCLUDED.event_count");
        if (!shape.counts.empty())
            put(shape.counts, "orchestry.value_counts(gone.counted)",
                "(SELECT orchestry.value_counts(c.key, c.value::pg_catalog.int8) FROM ("
                "SELECT * FROM pg_catalog.jsonb_each_text(t." +
                    shape.counts +
                    ") UNION ALL SELECT * FROM pg_catalog.jsonb_each_text(EXCLUDED." +
                    shape.counts + ")) c)");
        if (!shape.samples.empty())
            put_samples();
        put("first_at", "pg_catalog.min(gone.at)", "LEAST(t.first_at, EXCLUDED.first_at)");
        put("last_at", "pg_catalog.max(gone.at)", "GREATEST(t.last_at, EXCLUDED.last_at)");
    }

    /// What DELETE returns.
    std::string returning() const {
        std::string list = instant_column(shape_) + " AS at";
        for (int i = 0; i < groups_; ++i)
            list += ", " + shape_.groups[i] + " AS g" + std::to_string(i + 1);
        if (!shape_.counted.empty())
            list += ", " + shape_.counted + "::pg_catalog.text AS counted";
        if (!shape_.sampled.empty())
            list += ", " + shape_.sampled + "::pg_catalog.text AS sampled";
        return list;
    }
    std::string group_by() const {
        std::string list = "1";
        for (int i = 0; i < groups_; ++i)
            list += ", " + std::to_string(i + 2);
        return list;
    }
    const std::string& columns() const { return columns_; }
    const std::string& values() const { return values_; }
    const std::string& assignments() const { return assignments_; }

  private:
    void put(const std::string& column, const std::string& value, const std::string& merged) {
        columns_ += ", " + column;
        values_ += ", " + value + " AS " + column;
        if (!merged.empty())
            assignments_ += (assignments_.empty() ? "" : ", ") + column + " = " + merged;
    }

    /// Samples are merged by the same aggregate that made them. A target without their times knows
    /// no more of them than the last time of their row.
    void put_samples() {
        const std::string arguments = "(gone.sampled, gone.at, " + n_ + ")";
        const std::string merged = "(s.value, s.at, " + n_ + ") FROM (" + stored("t") +
                                   " UNION ALL " + stored("EXCLUDED") + ") s(value, at))";
        put(shape_.samples, "orchestry.latest_distinct" + arguments,
            "(SELECT orchestry.latest_distinct" + merged);
        if (shape_.has_sample_times)
            put(shape_.sample_times, "orchestry.latest_distinct_times" + arguments,
                "(SELECT orchestry.latest_distinct_times" + merged);
    }
    std::string stored(const std::string& row) const {
        const std::string of = row + "." + shape_.samples;
        if (shape_.has_sample_times)
            return "SELECT * FROM ROWS FROM (pg_catalog.unnest(" + of + "), pg_catalog.unnest(" +
                   row + "." + shape_.sample_times + "))";
        return "SELECT v.value, " + row +
               ".last_at OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => "
               "v.place OPERATOR(pg_catalog./) 1e6::pg_catalog.float8) FROM pg_catalog.unnest(" +
               of + ") WITH ORDINALITY AS v(value, place)";
    }

    const Shape& shape_;
    const std::string n_;
    int groups_ = 0;
    std::string columns_, values_, assignments_;
};

} // namespace

std::string time_condition(const Shape& shape, const base::TimeExtent& extent) {
    std::string condition;
    if (base::is_finite(extent.from))
        condition =
            shape.time_column + " OPERATOR(pg_catalog.>=) " + column_literal(shape, extent.from);
    if (base::is_finite(extent.to))
        condition += (condition.empty() ? "" : " AND ") + shape.time_column +
                     " OPERATOR(pg_catalog.<) " + column_literal(shape, extent.to);
    return condition.empty() ? "true" : condition;
}

namespace {

/// Rows `gone`, as CompressSql::returning() makes them, summed up: rows of the target. `lower`: the
/// start of the first one's bucket.
std::string summed_sql(const Policy& policy, const CompressSql& parts, Instant lower, Instant upper,
                       const std::string& gone) {
    const BucketSql bucket = bucket_sql(policy, lower, upper, "gone.at");
    return "SELECT " + bucket.expression + " AS bucket" + parts.values() + " FROM " + gone +
           bucket.from + " GROUP BY " + parts.group_by();
}

/// Merges rows `summed` into the target.
std::string merge_sql(const Shape& shape, const CompressSql& parts) {
    return "INSERT INTO " + shape.target_name + " AS t (bucket" + parts.columns() +
           ") SELECT bucket" + parts.columns() + " FROM summed ON CONFLICT (" + key_sql(shape) +
           ") DO UPDATE SET " + parts.assignments();
}

} // namespace

std::string narrow_groups(const Shape& shape) {
    std::string bytes;
    for (const std::string& group : shape.groups)
        bytes += (bytes.empty() ? "" : " OPERATOR(pg_catalog.+) ") +
                 ("COALESCE(pg_catalog.pg_column_size(" + group + "), 0)");
    return bytes.empty() ? "true" : bytes + " OPERATOR(pg_catalog.<=) 2000";
}

std::string compress_sql(const Shape& shape, const Policy& policy, std::int32_t samples,
                         Instant lower, Instant upper, const std::string& condition) {
    const CompressSql parts(shape, samples);
    return "WITH gone AS (DELETE FROM " + shape.source_name + " WHERE " + condition +
           " RETURNING " + parts.returning() + "), summed AS (" +
           summed_sql(policy, parts, lower, upper, "gone") + "), stored AS (" +
           merge_sql(shape, parts) + " RETURNING 1) " +
           count_summed_sql("(SELECT pg_catalog.count(*) FROM stored)");
}

PartitionSql partition_sql(const Shape& shape, const Policy& policy, std::int32_t samples,
                           Instant lower, Instant upper, const std::string& partition) {
    const CompressSql parts(shape, samples);
    return {summed_sql(policy, parts, lower, upper,
                       "(SELECT " + parts.returning() + " FROM " + partition + ") gone"),
            merge_sql(shape, parts), "TRUNCATE " + partition};
}

std::string sample_sql(const Shape& shape, const Policy& policy, Instant lower, Instant upper,
                       const std::string& rows) {
    const BucketSql bucket = bucket_sql(policy, lower, upper, "r.at");
    std::string groups, names, by = "1";
    for (std::size_t i = 0; i < shape.groups.size(); ++i) {
        const std::string name = "g" + std::to_string(i + 1);
        groups += ", " + shape.groups[i] + " AS " + name;
        names += ", r." + name;
        by += ", " + std::to_string(i + 2);
    }
    return "SELECT g.bucket, pg_catalog.sum(g.n)::pg_catalog.int8, pg_catalog.count(*), "
           "pg_catalog.count(*) FILTER (WHERE g.n OPERATOR(pg_catalog.=) 1) FROM (SELECT " +
           bucket.expression + " AS bucket" + names + ", pg_catalog.count(*) AS n FROM (SELECT " +
           instant_column(shape) + " AS at" + groups + " FROM " + rows + ") r" + bucket.from +
           " GROUP BY " + by + ") g GROUP BY 1 ORDER BY 1";
}

std::string verify_sql(const Shape& shape, const Policy& policy, Instant lower, Instant upper) {
    const BucketSql first = bucket_sql(policy, lower, upper, "t.first_at");
    const BucketSql last = bucket_sql(policy, lower, upper, "t.last_at");
    std::string groups;
    for (std::size_t i = 0; i < shape.groups.size(); ++i)
        groups += (i == 0 ? "" : ", ") + pg::quote_literal(shape.group_names[i]) + ", t." +
                  shape.groups[i];
    const std::string counted =
        shape.counts.empty()
            ? ""
            : "WHEN (SELECT pg_catalog.sum(c.value::pg_catalog.int8) FROM "
              "pg_catalog.jsonb_each_text(t." +
                  shape.counts +
                  ") c) OPERATOR(pg_catalog.>) t.event_count THEN 'more values than events are "
                  "counted' ";
    return "SELECT v.* FROM (SELECT t.bucket, pg_catalog.jsonb_build_object(" + groups +
           ") AS groups, t.event_count, CASE WHEN t.event_count OPERATOR(pg_catalog.<) 1 THEN 'no "
           "event is counted' " +
           counted +
           "WHEN t.first_at OPERATOR(pg_catalog.>) t.last_at THEN 'the first event is after the "
           "last' WHEN " +
           first.expression + " IS DISTINCT FROM t.bucket OR " + last.expression +
           " IS DISTINCT FROM t.bucket THEN " + pg::quote_literal(outside_of_bucket) +
           " END AS problem FROM " + shape.target_name + " t" + first.from +
           ") v WHERE v.problem IS NOT NULL ORDER BY 1, 2";
}

} // namespace orchestry::events
