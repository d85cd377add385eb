#include "metrics/window.hpp"

#include "catalog/columns.hpp"
#include "catalog/settings.hpp"
#include "metrics/rollup_shape.hpp"

#include <algorithm>

namespace orchestry::metrics {

namespace {

using base::Error;
namespace errc = base::errc;

/// The type of a column, that below its domains.
Oid type_of_column(const Window& window, const std::string& table, const std::string& column) {
    const AttrNumber number =
        pg::protect([&] { return get_attnum(window.source, column.c_str()); });
    if (number <= 0)
        throw Error(errc::undefined_column,
                    "column \"" + column + "\" of " + table + " does not exist")
            .hint("See \\d " + table);
    return pg::protect([&] { return getBaseType(get_atttype(window.source, number)); });
}

/// What the window's ends are compared with the time column as: a time without zone is read as UTC,
/// because the session's zone is nobody's promise.
const char* end_expression(Oid type) {
    switch (type) {
    case TIMESTAMPTZOID:
        return "$%";
    case TIMESTAMPOID:
    case DATEOID:
        return "pg_catalog.timezone('UTC', $%)";
    default:
        return nullptr;
    }
}

std::string bound(const std::string& column, const char* comparison, std::string expression,
                  char parameter) {
    expression[expression.find('%')] = parameter;
    return column + " OPERATOR(pg_catalog." + comparison + ") " + expression;
}

/// What is read as rows `t`, and how it becomes rows `f` of groups, and these statistics. All names
/// are quoted.
struct Source {
    std::string table;
    std::string time_column;
    const char* end; ///< what the window's ends are in terms of that column
    std::string value_column;
    std::string aggregate;  ///< of t
    std::string statistics; ///< of f
};

Source rows_of(const Window& window, const std::string& table) {
    const char* const end = end_expression(type_of_column(window, table, window.time_column));
    if (!end)
        throw Error(errc::datatype_mismatch,
                    "column \"" + window.time_column + "\" of " + table + " is no time")
            .hint("Name a column of type timestamptz, timestamp or date (both read as UTC).");
    if (!catalog::is_number(type_of_column(window, table, window.value_column)))
        throw Error(errc::datatype_mismatch,
                    "column \"" + window.value_column + "\" of " + table + " is no number")
            .hint("Name a column of type float8, real, numeric, bigint, integer or smallint.");
    const std::string value = "t." + pg::quote_identifier(window.value_column);
    return {table,
            "t." + pg::quote_identifier(window.time_column),
            end,
            value,
            "orchestry.window_stats(CAST(" + value + " AS pg_catalog.float8)) AS stats",
            "(f.stats).*"};
}

void require_whole_buckets(const RollupSettings& rollup, const char* name,
                           const std::optional<base::Instant>& t) {
    if (!t || !base::is_finite(*t))
        return;
    const CheckedRollup policy(rollup);
    const base::Grid grid = policy.plan().grid();
    const base::Instant lower = grid.floor(*t);
    if (lower == *t)
        return;
    throw Error(errc::invalid_parameter,
                "the window does not consist of whole buckets of rollup " + rollup.view())
        .detail("\"" + std::string(name) + "\" is " + instant_text(*t) +
                ", within the bucket from " + instant_text(lower) + " to " +
                instant_text(grid.next(*t)) + ".")
        .hint("Give the beginning of one of its buckets of " +
              base::to_string(policy.plan().bucket) +
              ", or the table instead of the rollup for windows of any length.");
}

Source buckets_of(const Window& window, const RollupSettings& rollup) {
    require_same_values(window.time_column, window.value_column, rollup);
    require_groups(window.group_by, rollup);
    require_whole_buckets(rollup, "from", window.from);
    require_whole_buckets(rollup, "to", window.to);
    return {rollup.view(),
            "t.bucket",
            "$%",
            "t.summary",
            "orchestry.merge(t.summary) AS summary",
            statistics_of_summary()};
}

/// The rollup whose view it is, when the values asked for are those that it is made of. Its other
/// columns are numbers like those of any view.
std::optional<StoredRollup> rollup_behind(const Window& window) {
    auto rollup = rollup_of_view(window.source);
    if (rollup && window.value_column != "summary" &&
        window.value_column != rollup->settings.value_column)
        return std::nullopt;
    return rollup;
}

std::string query_of(const Window& window) {
    const auto table = pg::relation_name(window.source);
    if (!table)
        throw Error(errc::undefined_table,
                    "the table with OID " + std::to_string(window.source) + " does not exist")
            .hint("SELECT 'schema.table'::regclass;");
    const auto rollup = rollup_behind(window);
    const Source source = rollup ? buckets_of(window, rollup->settings) : rows_of(window, *table);

    std::string labels;
    std::string columns;
    for (std::size_t i = 0; i < window.group_by.size(); ++i) {
        const std::string& name = window.group_by[i];
        if (std::find(window.group_by.begin(), window.group_by.end(), name) !=
            window.group_by.begin() + static_cast<std::ptrdiff_t>(i))
            throw Error(errc::invalid_parameter, "\"group_by\" names \"" + name + "\" twice")
                .hint("Name each column once.");
        type_of_column(window, *table, name);
        const std::string separator = i > 0 ? ", " : "";
        const std::string column = "t." + pg::quote_identifier(name);
        labels += separator + pg::quote_literal(name) + ", " + column;
        columns += separator + column;
    }
    std::string condition = source.value_column + " IS NOT NULL";
    if (window.from)
        condition += " AND " + bound(source.time_column, ">=", source.end, '1');
    if (window.to)
        condition += " AND " + bound(source.time_column, "<", source.end, '2');
    // A group of NULLs alone has no data, and so no row; without groups HAVING leaves none either.
    return "SELECT f.labels, " + source.statistics +
           " FROM (SELECT pg_catalog.jsonb_build_object(" + labels + ") AS labels, " +
           source.aggregate + " FROM " + source.table + " t WHERE " + condition +
           (columns.empty() ? "" : " GROUP BY " + columns) +
           " HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 0) f";
}

} // namespace

void aggregate_window(const Window& window, const std::function<void(const pg::Row&)>& use) {
    if (window.from && window.to && *window.to < *window.from)
        throw Error(errc::invalid_parameter, "the window ends before it begins")
            .hint("Give \"from\", which is part of it, before \"to\", which is not.");
    const std::string query = query_of(window);
    // The groups may take orchestry.aggregate_mem in any case; with less for the planner it would
    // sort all rows instead of hashing them.
    pg::GucLevel guc;
    guc.set(
        "work_mem",
        (std::to_string(std::max(work_mem, catalog::settings::aggregate_mem_kb)) + "kB").c_str());
    pg::Spi spi;
    spi.read(query, window.from, window.to);
    for (std::uint64_t i = 0; i < spi.rows(); ++i)
        use(spi.row(i));
}

} // namespace orchestry::metrics
