#include "retention/policy.hpp"

#include "catalog/columns.hpp"
#include "catalog/patch.hpp"
#include "pg/predicate.hpp"
#include "retention/file_archive.hpp"

#include <algorithm>

namespace orchestry::retention {

using base::Error;
using base::KeyKind;
namespace errc = base::errc;

namespace {

Error invalid(std::string message) { return Error(errc::invalid_parameter, std::move(message)); }

template <typename T, typename F>
std::optional<T> unless_null(const pg::Row& row, int column, F read) {
    return row.is_null(column) ? std::nullopt : std::optional<T>(read(column));
}

std::optional<std::string> text_or_null(const pg::Row& row, int column) {
    return unless_null<std::string>(row, column, [&](int c) { return row.text(c); });
}

} // namespace

Settings completed(Settings settings, Oid relid) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.run("SELECT j.time_zone, p.key_unit FROM orchestry.job j JOIN orchestry.partition_policy p "
            "ON p.job_id OPERATOR(pg_catalog.=) j.job_id WHERE j.target OPERATOR(pg_catalog.=) $1 "
            "AND j.origin_system OPERATOR(pg_catalog.=) $2 AND j.origin_database "
            "OPERATOR(pg_catalog.=) $3",
            relid, catalog::system_identifier(), MyDatabaseId);
    const bool found = spi.rows() > 0;
    if (settings.time_zone.empty())
        settings.time_zone = found ? spi.row(0).text(1) : "UTC";
    if (!settings.key_unit && settings.keep && found)
        settings.key_unit = text_or_null(spi.row(0), 2);
    if (settings.archive_to && archive_directory(*settings.archive_to))
        settings.archive_to = checked_file_archive(*settings.archive_to);
    return settings;
}

std::optional<std::string> why_rows(const Settings& settings, Oid relid) {
    const std::string name = pg::relation_name(relid).value_or("");
    if (settings.time_column) {
        const AttrNumber column =
            pg::protect([&] { return get_attnum(relid, settings.time_column->c_str()); });
        if (column <= 0)
            throw Error(errc::undefined_column, "column \"" + *settings.time_column +
                                                    "\" of table " + name + " does not exist")
                .hint("See \\d " + name);
    }
    if (settings.predicate)
        return "\"where\" selects single rows.";
    if (settings.archive_to && !archive_directory(*settings.archive_to))
        return "\"archive_to\" moves single rows.";
    if (settings.keep_last || !settings.keep_last_by.empty())
        return "\"keep_last\" keeps single rows.";
    if (!catalog::has_supported_key(relid))
        return "Table " + name + " is not partitioned by the range of one column.";
    if (settings.time_column && *settings.time_column != catalog::require_key_column(relid).name)
        return "Column \"" + *settings.time_column + "\" is not the partition key.";
    return std::nullopt;
}

// --- checks -------------------------------------------------------------------------------------

namespace {

bool is_integer(Oid type) { return type == INT2OID || type == INT4OID || type == INT8OID; }

KeyKind integer_kind(const Settings& settings, const catalog::KeyColumn& key) {
    if (settings.keep_keys) {
        if (settings.key_unit)
            throw invalid("\"key_unit\" does not go with a number of keys to keep")
                .hint("Leave it out, or give \"keep\" as an interval such as '90 days'.");
        return KeyKind::integer;
    }
    if (!settings.key_unit)
        throw invalid("\"key_unit\" is needed for integer column \"" + key.name + "\"")
            .detail("\"keep\" is an interval, but nothing says which time the column's numbers "
                    "stand for.")
            .hint("Add key_unit => 's', 'ms', 'us' or 'ns' when they count time since 1970, or "
                  "give \"keep\" as a "
                  "number such as 1000000 when they are ids.");
    if (const auto kind = catalog::epoch_kind(*settings.key_unit))
        return *kind;
    throw invalid("unknown key_unit " + pg::quote_literal(*settings.key_unit))
        .hint("Use 's', 'ms', 'us' or 'ns'.");
}

KeyKind kind_of(const Settings& settings, const catalog::KeyColumn& key) {
    if (is_integer(key.type))
        return integer_kind(settings, key);
    if (settings.keep_keys)
        throw invalid("\"keep\" must be an interval for column \"" + key.name + "\", not a number")
            .detail("The column is a time.")
            .hint("Use an interval such as '90 days' or '1 year'.");
    return key.type == TIMESTAMPTZOID ? KeyKind::timestamptz
           : key.type == TIMESTAMPOID ? KeyKind::timestamp
           : key.type == DATEOID      ? KeyKind::date
                                      : KeyKind::uuid_v7;
}

std::variant<base::Span, std::int64_t> checked_keep(const Settings& settings) {
    if (settings.keep) {
        check_positive(*settings.keep, "keep");
        return *settings.keep;
    }
    if (*settings.keep_keys <= 0)
        throw invalid("\"keep\" must be positive, not " + std::to_string(*settings.keep_keys))
            .hint("Use a number of keys such as 1000000.");
    return *settings.keep_keys;
}

Expiry checked_action(const std::string& action) {
    if (action == "drop")
        return Expiry::drop;
    if (action == "detach")
        return Expiry::detach;
    throw invalid("unknown action " + pg::quote_literal(action))
        .hint("Use 'drop' (after the grace) or 'detach' (and keep for ever).");
}

Policy make_plan(const Settings& settings, const base::Zone& zone) {
    Policy policy;
    policy.keep = checked_keep(settings);
    policy.action = checked_action(settings.action);
    check_not_negative(settings.grace, "grace");
    policy.grace = settings.grace;
    if (settings.archive_to)
        policy.directory = archive_directory(*settings.archive_to).value_or("");
    policy.zone = &zone;
    if (settings.batch_rows <= 0)
        throw invalid("\"batch_rows\" must be positive, not " +
                      std::to_string(settings.batch_rows));
    return policy;
}

} // namespace

CheckedPolicy::CheckedPolicy(Settings settings, const catalog::KeyColumn& key)
    : settings_(std::move(settings)), kind_(kind_of(settings_, key)), zone_(settings_.time_zone),
      plan_(make_plan(settings_, zone_)) {
    settings_.time_zone = zone_.name(); // in the tz database's spelling
}

// --- storage ------------------------------------------------------------------------------------

namespace {

std::vector<StoredPolicy> select_where(const char* condition, const pg::Param& value) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.run_kept(
        std::string(
            "SELECT p.job_id, p.keep, p.keep_keys, p.time_column, p.predicate, p.action, "
            "p.grace, p.archive_to, "
            "p.keep_last, p.batch_rows, j.time_zone, p.key_unit, p.announced_at IS NOT NULL, "
            "COALESCE(p.keep_last_by, '{}')::pg_catalog.text[], " +
            catalog::has_columns_sql("j.target", "p.column_names", "p.column_numbers") +
            " FROM orchestry.retention_policy p JOIN orchestry.job j ON j.job_id "
            "OPERATOR(pg_catalog.=) p.job_id "
            "WHERE ") +
            condition + " ORDER BY p.job_id",
        value, catalog::system_identifier(), MyDatabaseId);
    std::vector<StoredPolicy> policies;
    for (std::uint64_t i = 0; i < spi.rows(); ++i) {
        const pg::Row row = spi.row(i);
        StoredPolicy policy{{row.bigint(1)}, {}, row.boolean(13), row.boolean(15)};
        Settings& settings = policy.settings;
        settings.keep = unless_null<base::Span>(row, 2, [&](int c) { return row.span(c); });
        settings.keep_keys =
            unless_null<std::int64_t>(row, 3, [&](int c) { return row.bigint(c); });
        settings.time_column = text_or_null(row, 4);
        settings.predicate = text_or_null(row, 5);
        settings.action = row.text(6);
        settings.grace = row.span(7);
        settings.archive_to = text_or_null(row, 8);
        settings.keep_last =
            unless_null<std::int32_t>(row, 9, [&](int c) { return row.integer(c); });
        settings.batch_rows = row.integer(10);
        settings.time_zone = row.text(11);
        settings.key_unit = text_or_null(row, 12);
        settings.keep_last_by = row.text_array(14);
        policies.push_back(std::move(policy));
    }
    return policies;
}

} // namespace

std::vector<StoredPolicy> find_policies(Oid relid) {
    return select_where(
        "j.target OPERATOR(pg_catalog.=) $1 AND j.origin_system OPERATOR(pg_catalog.=) $2 "
        "AND j.origin_database OPERATOR(pg_catalog.=) $3",
        pg::param(relid));
}

StoredPolicy load_policy(catalog::JobId job) {
    std::vector<StoredPolicy> policies =
        select_where("p.job_id OPERATOR(pg_catalog.=) $1", pg::param(job.value));
    if (policies.empty())
        throw Error(errc::undefined_object,
                    "job " + std::to_string(job.value) + " has no retention policy any more");
    return std::move(policies.front());
}

void store_settings(catalog::JobId job, const Settings& settings) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.run(
        "INSERT INTO orchestry.retention_policy AS p (job_id, keep, keep_keys, time_column, "
        "predicate, action, grace, "
        "archive_to, keep_last, keep_last_by, batch_rows, key_unit) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::pg_catalog.name[], $11, $12) "
        "ON CONFLICT (job_id) DO UPDATE SET keep = EXCLUDED.keep, keep_keys = EXCLUDED.keep_keys, "
        "time_column = EXCLUDED.time_column, predicate = EXCLUDED.predicate, action = "
        "EXCLUDED.action, "
        "grace = EXCLUDED.grace, archive_to = EXCLUDED.archive_to, keep_last = EXCLUDED.keep_last, "
        "keep_last_by = EXCLUDED.keep_last_by, batch_rows = EXCLUDED.batch_rows, key_unit = "
        "EXCLUDED.key_unit",
        job.value, settings.keep ? pg::param(*settings.keep) : pg::null_param(INTERVALOID),
        settings.keep_keys, settings.time_column, settings.predicate, settings.action,
        settings.grace, settings.archive_to, settings.keep_last,
        settings.keep_last_by.empty() ? pg::null_param(TEXTARRAYOID)
                                      : pg::param(settings.keep_last_by),
        settings.batch_rows, settings.key_unit);
    spi.run("UPDATE orchestry.job SET time_zone = $2 WHERE job_id OPERATOR(pg_catalog.=) $1 "
            "AND time_zone OPERATOR(pg_catalog.<>) $2",
            job.value, settings.time_zone);
    catalog::unsettle(job);
}

void store_columns(catalog::JobId job, Oid relid, const std::optional<std::string>& predicate) {
    const std::vector<std::string> columns =
        predicate ? pg::columns_of_predicate(relid, *predicate) : std::vector<std::string>();
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.run_kept("UPDATE orchestry.retention_policy p SET column_names = $3::pg_catalog.name[], "
                 "column_numbers = " +
                     catalog::numbers_of_columns_sql("$2", "$3::pg_catalog.name[]") +
                     " WHERE p.job_id OPERATOR(pg_catalog.=) $1",
                 job.value, relid, columns);
}

void store_announced(catalog::JobId job, base::Instant at) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.run("UPDATE orchestry.retention_policy SET announced_at = $2 WHERE job_id "
            "OPERATOR(pg_catalog.=) $1",
            job.value, at);
}

// --- changes ------------------------------------------------------------------------------------

namespace {

void apply_setting(Settings& settings, const catalog::PatchEntry& entry) {
    const std::string& key = entry.key();
    if (key == "keep" && settings.keep)
        settings.keep = entry.interval();
    else if (key == "keep")
        settings.keep_keys = entry.bigint();
    else if (key == "action")
        settings.action = entry.text();
    else if (key == "grace")
        settings.grace = entry.interval();
    else if (key == "time_zone")
        settings.time_zone = entry.text();
    else if (key == "key_unit")
        settings.key_unit = entry.is_null() ? std::nullopt : std::optional(entry.text());
    else if (key == "batch_rows")
        settings.batch_rows = entry.integer();
    else if (key == "where")
        settings.predicate = entry.is_null() ? std::nullopt : std::optional(entry.text());
    else if (key == "archive_to")
        settings.archive_to = entry.is_null() ? std::nullopt : std::optional(entry.text());
    else if (key == "keep_last")
        settings.keep_last = entry.is_null() ? std::nullopt : std::optional(entry.integer());
    else
        throw invalid("unknown setting \"" + key + "\" of a retention policy")
            .hint("The settings are keep, action, grace, time_zone, key_unit, where, archive_to, "
                  "keep_last, batch_rows, schedule and max_runtime.");
}

} // namespace

bool changes_where(const std::string& patch) {
    const std::vector<catalog::PatchEntry> entries = catalog::read_patch(patch, "retention");
    return std::any_of(entries.begin(), entries.end(),
                       [](const catalog::PatchEntry& entry) { return entry.key() == "where"; });
}

Settings patched(const Settings& settings, const std::string& patch) {
    Settings result = settings;
    for (const catalog::PatchEntry& entry : catalog::read_patch(patch, "retention"))
        apply_setting(result, entry);
    return result;
}

} // namespace orchestry::retention
