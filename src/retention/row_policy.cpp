#include "retention/row_policy.hpp"

#include "catalog/settings.hpp"
#include "pg/predicate.hpp"
#include "retention/file_archive.hpp"
#include "retention/inspect.hpp"

#include <algorithm>

namespace orchestry::retention {

using base::Error;
using base::KeyKind;
using catalog::is_number_of_units;
namespace errc = base::errc;

namespace {

Error invalid(std::string message) { return Error(errc::invalid_parameter, std::move(message)); }

std::string name_of(Oid relid) { return pg::relation_name(relid).value_or(""); }

bool is_time(Oid type) {
    return type == TIMESTAMPTZOID || type == TIMESTAMPOID || type == DATEOID || type == UUIDOID;
}

/// The number of a column of the table itself. Raises 42703.
AttrNumber require_column(Oid relid, const std::string& name) {
    const AttrNumber number = pg::protect([&] { return get_attnum(relid, name.c_str()); });
    if (number <= 0)
        throw Error(errc::undefined_column,
                    "column \"" + name + "\" of table " + name_of(relid) + " does not exist")
            .hint("See \\d " + name_of(relid));
    return number;
}

TimeColumn require_time_column(const Settings& settings, Oid relid) {
    if (!settings.time_column)
        throw invalid("\"time_column\" is needed for table " + name_of(relid))
            .detail("It is not partitioned by one column, so nothing else says how old a row is.")
            .hint("Add time_column => with the name of a column such as created_at.");
    TimeColumn column;
    column.name = *settings.time_column;
    column.number = require_column(relid, column.name);
    column.type = pg::protect([&] { return getBaseType(get_atttype(relid, column.number)); });
    if (!is_time(column.type) && !is_number_of_units(column.type))
        throw invalid("column \"" + column.name + "\" of table " + name_of(relid) +
                      " does not say when a row was written")
            .detail("It is of type " + std::string(pg::protect([&]() -> const char* {
                        return format_type_be(column.type);
                    })) +
                    ".")
            .hint("Use a column of type timestamptz, timestamp or date, a uuid of version 7, or a "
                  "number of seconds, milliseconds, microseconds or nanoseconds since 1970.");
    return column;
}

KeyKind kind_of(const Settings& settings, const TimeColumn& column) {
    if (is_number_of_units(column.type)) {
        if (!settings.key_unit)
            throw invalid("\"key_unit\" is needed for column \"" + column.name + "\"")
                .detail("Its numbers do not tell what they count, or there are none.")
                .hint("Add key_unit => 's', 'ms', 'us' or 'ns': what is counted since 1970.");
        if (const auto kind = catalog::epoch_kind(*settings.key_unit))
            return *kind;
        throw invalid("unknown key_unit " + pg::quote_literal(*settings.key_unit))
            .hint("Use 's', 'ms', 'us' or 'ns'.");
    }
    if (settings.key_unit)
        throw invalid("\"key_unit\" does not go with column \"" + column.name + "\"")
            .detail("The column is a time.")
            .hint("Leave it out.");
    return column.type == TIMESTAMPTZOID ? KeyKind::timestamptz
           : column.type == TIMESTAMPOID ? KeyKind::timestamp
           : column.type == DATEOID      ? KeyKind::date
                                         : KeyKind::uuid_v7;
}

base::Span checked_keep(const Settings& settings) {
    if (!settings.keep)
        throw invalid("\"keep\" must be an interval where single rows are removed, not a number")
            .detail("A number of keys to keep is for tables that are partitioned by an integer.")
            .hint("Use an interval such as '90 days'.");
    check_positive(*settings.keep, "keep");
    return *settings.keep;
}

void check_keep_last(const Settings& settings, Oid relid) {
    if (settings.keep_last && *settings.keep_last <= 0)
        throw invalid("\"keep_last\" must be positive, not " + std::to_string(*settings.keep_last))
            .hint("Leave it out when no row stays beyond its time.");
    if (!settings.keep_last && !settings.keep_last_by.empty())
        throw invalid("\"keep_last_by\" needs \"keep_last\"")
            .hint("Add keep_last => with how many rows of each group stay.");
    for (const std::string& name : settings.keep_last_by)
        (void)require_column(relid, name);
}

void check_rest(const Settings& settings) {
    if (settings.action != "drop")
        throw invalid("action " + pg::quote_literal(settings.action) + " is for whole partitions")
            .detail("This policy removes single rows.")
            .hint("Leave it out; to keep the rows elsewhere, use archive_to.");
    if (settings.batch_rows <= 0)
        throw invalid("\"batch_rows\" must be positive, not " +
                      std::to_string(settings.batch_rows));
}

RowPolicy make_plan(const Settings& settings, const TimeColumn& column, const base::Zone& zone) {
    RowPolicy plan;
    plan.kind = kind_of(settings, column);
    plan.keep = checked_keep(settings);
    plan.zone = &zone;
    plan.time_column = pg::quote_identifier(column.name);
    plan.predicate = settings.predicate.value_or("");
    plan.keep_last = settings.keep_last.value_or(0);
    plan.archive = settings.archive_to.value_or("");
    plan.directory = archive_directory(plan.archive).value_or("");
    return plan;
}

/// A column of a table that is called `alias`.
std::string column_of(const char* alias, const std::string& quoted_column) {
    return std::string(alias) + "." + quoted_column;
}

std::string compared(const std::string& left, const char* op, const std::string& right) {
    return left + " OPERATOR(pg_catalog." + op + ") " + right;
}

/// That a value is a time at all. Minus infinity, and numbers that are not after 1970, stand for
/// "never" or "not yet" wherever people write them; so does a uuid that is not of version 7.
std::string is_a_time(const std::string& column, Oid type) {
    if (type == UUIDOID)
        return compared("pg_catalog.substr(" + column + "::pg_catalog.text, 15, 1)", "=", "'7'");
    if (is_number_of_units(type))
        return compared(column, ">", "0");
    return compared(column, ">", std::string("'-infinity'::") + catalog::comparison_type(type));
}

/// The operator by which a type's values are equal, as SQL.
std::string equality_of(Oid type) {
    const Oid equal =
        pg::protect([&] { return lookup_type_cache(type, TYPECACHE_EQ_OPR)->eq_opr; });
    pg::Spi spi;
    spi.run("SELECT pg_catalog.format('OPERATOR(%I.%s)', n.nspname, o.oprname) "
            "FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n "
            "ON n.oid OPERATOR(pg_catalog.=) o.oprnamespace WHERE o.oid OPERATOR(pg_catalog.=) $1",
            equal);
    if (spi.rows() == 0)
        throw invalid("values of a column in \"keep_last_by\" cannot be compared")
            .detail("Type " + std::string(pg::protect([&]() -> const char* {
                        return format_type_be(type);
                    })) +
                    " has no equality.");
    return spi.row(0).text(1);
}

bool is_not_null(Oid relid, AttrNumber number) {
    pg::Spi spi;
    // 18 has constraints for it, which need not be valid.
    spi.run("SELECT a.attnotnull AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint n "
            "WHERE n.conrelid OPERATOR(pg_catalog.=) a.attrelid AND n.contype "
            "OPERATOR(pg_catalog.=) 'n' AND n.conkey OPERATOR(pg_catalog.=) ARRAY[a.attnum] "
            "AND NOT n.convalidated) FROM pg_catalog.pg_attribute a WHERE a.attrelid "
            "OPERATOR(pg_catalog.=) $1 AND a.attnum OPERATOR(pg_catalog.=) $2",
            relid, static_cast<std::int32_t>(number));
    return spi.rows() > 0 && spi.row(0).boolean(1);
}

} // namespace

CheckedRowPolicy::CheckedRowPolicy(Settings settings, Oid relid)
    : settings_(std::move(settings)), relid_(relid), column_(require_time_column(settings_, relid)),
      zone_(settings_.time_zone), plan_(make_plan(settings_, column_, zone_)) {
    settings_.time_zone = zone_.name(); // in the tz database's spelling
    check_rest(settings_);
    check_keep_last(settings_, relid);
}

/// That a group has as many newer rows as are kept. Rows of the same time as the last of them stay
/// as well.
std::string CheckedRowPolicy::keep_last_condition() const {
    constexpr const char* other = "orchestry_newer";
    std::string where = is_a_time(column_of(other, plan_.time_column), column_.type);
    for (const std::string& name : settings_.keep_last_by) {
        const AttrNumber number = require_column(relid_, name);
        const std::string quoted = pg::quote_identifier(name);
        const std::string mine = column_of(row, quoted), theirs = column_of(other, quoted);
        const std::string same =
            theirs + " " + equality_of(pg::call<get_atttype>(relid_, number)) + " " + mine;
        // IS NOT DISTINCT FROM would not use an index.
        where += is_not_null(relid_, number)
                     ? " AND " + same
                     : " AND (" + same + " OR (" + theirs + " IS NULL AND " + mine + " IS NULL))";
    }
    if (!plan_.predicate.empty())
        where += " AND (" + plan_.predicate + ")";
    const std::string time = column_of(other, plan_.time_column);
    return compared(column_of(row, plan_.time_column), "<",
                    "(SELECT " + time + " FROM " + name_of(relid_) + " AS " + other + " WHERE " +
                        where + " ORDER BY " + time + " DESC OFFSET " +
                        std::to_string(plan_.keep_last - 1) + " LIMIT 1)");
}

std::string CheckedRowPolicy::condition(std::int64_t horizon, const std::string& held) const {
    const std::string time = column_of(row, plan_.time_column);
    std::string text =
        compared(time, "<", catalog::position_constant(plan_.kind, column_.type, horizon)) +
        " AND " + is_a_time(time, column_.type);
    if (!plan_.predicate.empty())
        text += " AND (" + plan_.predicate + ")";
    if (plan_.keep_last > 0)
        text += " AND " + keep_last_condition();
    if (!held.empty())
        text += " AND (" + held + ") IS NOT TRUE";
    return text;
}

const char* CheckedRowPolicy::type_name() const { return catalog::comparison_type(column_.type); }

std::string CheckedRowPolicy::within(const base::TimeExtent& extent) const {
    return catalog::lies_within(extent, column_of(row, plan_.time_column), plan_.kind,
                                column_.type);
}

std::string held_condition(const catalog::Hold& hold, const CheckedRowPolicy& policy,
                           const std::vector<catalog::HeldColumn>& others) {
    std::vector<catalog::HeldColumn> columns = {
        {policy.column().name, policy.column().type, policy.plan().kind}};
    columns.insert(columns.end(), others.begin(), others.end());
    return catalog::held_condition(hold, columns, CheckedRowPolicy::row);
}

// --- what is left open --------------------------------------------------------------------------

namespace {

/// What the numbers of a column count, by what is in some of its rows.
std::optional<std::string> guess_unit(Oid relid, const std::string& column) {
    const std::string quoted = pg::quote_identifier(column);
    if (strangers_table(relid, catalog::owner_of(relid)))
        return std::nullopt; // reading their tables may run their code
    const catalog::AsOwner owner(relid);
    pg::Spi spi;
    spi.run("SELECT pg_catalog.min(s.v), pg_catalog.max(s.v) FROM (SELECT t." + quoted +
            "::pg_catalog.float8 AS v FROM " + name_of(relid) + " AS t WHERE t." + quoted +
            " OPERATOR(pg_catalog.>) 0 AND t." + quoted +
            " OPERATOR(pg_catalog.<) 'Infinity'::pg_catalog.float8 LIMIT 1000) AS s");
    const pg::Row row = spi.row(0);
    if (row.is_null(1))
        return std::nullopt;
    const std::string unit = guess_key_unit(row.float8(1), row.float8(2));
    return unit.empty() ? std::nullopt : std::optional(unit);
}

/// A name as a user writes it, qualified and quoted. Without a schema it is beside `relid`.
std::string qualified(const std::string& name, Oid relid) {
    pg::Spi spi;
    spi.run("SELECT pg_catalog.parse_ident($1)", name);
    const std::vector<std::string> parts = spi.row(0).text_array(1);
    if (parts.size() > 2)
        throw invalid("\"archive_to\" names no table: " + pg::quote_literal(name))
            .hint("Use the name of a table, such as 'archive.events'.");
    if (parts.size() == 2)
        return pg::quote_qualified(parts[0], parts[1]);
    const char* const schema =
        pg::protect([&]() -> const char* { return get_namespace_name(get_rel_namespace(relid)); });
    return pg::quote_qualified(schema ? schema : "", parts[0]);
}

} // namespace

Settings completed_rows(Settings settings, Oid relid) {
    const bool unit_is_given = settings.key_unit.has_value();
    settings = completed(std::move(settings), relid);
    const std::optional<catalog::KeyColumn> key =
        catalog::has_supported_key(relid) ? std::optional(catalog::require_key_column(relid))
                                          : std::nullopt;
    if (!settings.time_column && key)
        settings.time_column = key->name;
    const TimeColumn column = require_time_column(settings, relid);
    if (!unit_is_given && (!key || key->name != column.name || !is_number_of_units(column.type)))
        settings.key_unit.reset(); // the partition policy's is that of another column
    if (!settings.key_unit && is_number_of_units(column.type))
        settings.key_unit = guess_unit(relid, column.name);
    if (settings.predicate)
        settings.predicate = pg::check_predicate(relid, *settings.predicate, "where",
                                                 pg::SessionState::must_not_matter);
    if (settings.archive_to && !archive_directory(*settings.archive_to))
        settings.archive_to = qualified(*settings.archive_to, relid);
    return settings;
}

} // namespace orchestry::retention
