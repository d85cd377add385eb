#include "partition/policy.hpp"

#include "catalog/patch.hpp"

#include <algorithm>

namespace orchestry::partition {

namespace {

using base::Error;
namespace errc = base::errc;

constexpr const char* uuid_unit = "uuidv7";

Error invalid(std::string message) { return Error(errc::invalid_parameter, std::move(message)); }

Error unit_error(const Settings& settings, const KeyColumn& key, std::string detail) {
    return invalid("key_unit " + pg::quote_literal(*settings.key_unit) + " does not fit column \"" +
                   key.name + "\"")
        .detail(std::move(detail))
        .hint("Leave key_unit out, or give 's', 'ms', 'us' or 'ns' for an integer column that "
              "counts time since 1970.");
}

KeyKind integer_kind(const KeyColumn& key, const Settings& settings) {
    if (settings.every_keys) {
        if (settings.key_unit)
            throw unit_error(settings, key,
                             "\"every\" is a number of keys, so the key is not taken for a time.");
        return KeyKind::integer;
    }
    if (!settings.key_unit)
        throw invalid("key_unit is needed for integer column \"" + key.name + "\"")
            .detail("\"every\" is an interval, but nothing says which time the column's numbers "
                    "stand for.")
            .hint("Add key_unit => 's', 'ms', 'us' or 'ns' when they count time since 1970, or "
                  "give \"every\" as a "
                  "number such as 1000000 when they are ids.");
    if (const auto kind = catalog::epoch_kind(*settings.key_unit))
        return *kind;
    throw unit_error(settings, key, "It is an integer column.");
}

KeyKind time_kind(const KeyColumn& key, const Settings& settings) {
    if (settings.every_keys)
        throw invalid("\"every\" must be an interval for column \"" + key.name + "\", not a number")
            .detail("The column is a time.")
            .hint("Use an interval such as '1 day' or '1 month'.");
    if (settings.key_unit && !(key.type == UUIDOID && *settings.key_unit == uuid_unit))
        throw unit_error(settings, key, "The column's type says its unit already.");
    return key.type == TIMESTAMPTZOID ? KeyKind::timestamptz
           : key.type == TIMESTAMPOID ? KeyKind::timestamp
           : key.type == DATEOID      ? KeyKind::date
                                      : KeyKind::uuid_v7;
}

/// Checks a span that may be zero but points one way.
void check_not_negative(const base::Span& span, const char* what) {
    if (span.months < 0 || span.days < 0 || span.us < 0)
        throw invalid(std::string("\"") + what + "\" must not be negative")
            .detail("It is a length of time, counted from now.")
            .hint(std::string("Use an interval such as '3 months', or '0' for none: ") + what +
                  " => '3 months'.");
}

void check_not_negative(std::int64_t keys, const char* what) {
    if (keys < 0)
        throw invalid(std::string("\"") + what + "\" must not be negative")
            .detail("It is a number of keys, counted from where the keys are now.")
            .hint(std::string("Use a number of keys, or 0 for none: ") + what + " => 1000000.");
}

TimeCadence time_cadence(const Settings& settings, KeyKind kind) {
    const base::Step every =
        base::make_step(settings.every->months, settings.every->days, settings.every->us, "every");
    check_step(kind, every);
    const base::Span ahead = settings.ahead.value_or(default_ahead(every));
    check_not_negative(ahead, "ahead");
    check_not_negative(settings.past, "past");
    return {every, ahead, settings.past};
}

KeyCadence key_cadence(const Settings& settings) {
    if (*settings.every_keys <= 0)
        throw invalid("\"every\" must be positive, not " + std::to_string(*settings.every_keys))
            .hint("Use a number of keys such as 1000000.");
    std::int64_t ahead = 0;
    if (__builtin_mul_overflow(*settings.every_keys, default_ahead_steps, &ahead))
        throw Error(errc::out_of_range, "\"every\" is too large")
            .detail("Three partitions of it do not fit into 64 bits.")
            .hint("Use a number of keys such as 1000000.");
    ahead = settings.ahead_keys.value_or(ahead);
    check_not_negative(ahead, "ahead");
    check_not_negative(settings.past_keys, "past");
    return {*settings.every_keys, ahead, settings.past_keys};
}

base::NamePattern name_pattern(const Settings& settings, const Policy& policy, Names check) {
    const auto* const time = std::get_if<TimeCadence>(&policy.cadence);
    if (!settings.name_pattern)
        return time ? base::default_pattern(time->every) : base::default_integer_pattern();
    base::NamePattern names = base::NamePattern::parse(*settings.name_pattern);
    if (check == Names::checked_before)
        return names;
    if (time)
        names.check_distinct(time->every);
    else
        names.check_distinct_integer();
    return names;
}

KeyKind kind_of(const KeyColumn& key, const Settings& settings) {
    const bool integer = key.type == INT2OID || key.type == INT4OID || key.type == INT8OID;
    return integer ? integer_kind(key, settings) : time_kind(key, settings);
}

Policy make_plan(const Settings& settings, KeyKind kind, const base::Zone& zone, Names check) {
    Policy policy{KeyCadence{}, &zone, base::default_integer_pattern()};
    if (settings.every_keys)
        policy.cadence = key_cadence(settings);
    else
        policy.cadence = time_cadence(settings, kind);
    policy.names = name_pattern(settings, policy, check);
    return policy;
}

} // namespace

CheckedPolicy::CheckedPolicy(Settings settings, const KeyColumn& key, Names names)
    : settings_(std::move(settings)), kind_(kind_of(key, settings_)), zone_(settings_.time_zone),
      plan_(make_plan(settings_, kind_, zone_, names)) {
    settings_.time_zone = zone_.name(); // in the tz database's spelling
}

namespace {

constexpr const char* select_settings =
    "SELECT p.job_id, p.every, p.ahead, p.past, p.every_keys, p.ahead_keys, p.past_keys, "
    "j.time_zone, "
    "p.name_pattern, p.key_unit FROM orchestry.partition_policy p JOIN orchestry.job j "
    "ON j.job_id OPERATOR(pg_catalog.=) p.job_id WHERE ";

std::optional<base::Span> span_or_null(const pg::Row& row, int column) {
    return row.is_null(column) ? std::nullopt : std::optional(row.span(column));
}

std::optional<std::int64_t> bigint_or_null(const pg::Row& row, int column) {
    return row.is_null(column) ? std::nullopt : std::optional(row.bigint(column));
}

std::optional<std::string> text_or_null(const pg::Row& row, int column) {
    return row.is_null(column) ? std::nullopt : std::optional(row.text(column));
}

Settings read_settings(const pg::Row& row) {
    Settings settings;
    settings.every = span_or_null(row, 2);
    settings.ahead = span_or_null(row, 3);
    settings.past = span_or_null(row, 4).value_or(base::Span{0, 0, 0});
    settings.every_keys = bigint_or_null(row, 5);
    settings.ahead_keys = bigint_or_null(row, 6);
    settings.past_keys = bigint_or_null(row, 7).value_or(0);
    settings.time_zone = row.text(8);
    settings.name_pattern = text_or_null(row, 9);
    settings.key_unit = text_or_null(row, 10);
    return settings;
}

} // namespace

std::optional<StoredPolicy> find_policy(Oid parent) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.run_kept(
        std::string(select_settings) +
            "j.target OPERATOR(pg_catalog.=) $1 AND j.origin_system OPERATOR(pg_catalog.=) $2 "
            "AND j.origin_database OPERATOR(pg_catalog.=) $3",
        parent, catalog::system_identifier(), MyDatabaseId);
    if (spi.rows() == 0)
        return std::nullopt;
    return StoredPolicy{{spi.row(0).bigint(1)}, read_settings(spi.row(0))};
}

StoredPolicy require_policy(Oid parent) {
    std::optional<StoredPolicy> policy = find_policy(parent);
    if (!policy) {
        const std::string name = pg::relation_name(parent).value_or("");
        throw Error(errc::not_prerequisite_state, "table " + name + " has no partition policy")
            .detail("The policy says how wide a partition is and how it is named.")
            .hint("Run SELECT orchestry.add_partition_policy(" + pg::quote_literal(name) +
                  ", every => '1 month');");
    }
    return *std::move(policy);
}

Settings load_settings(catalog::JobId job) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.run_kept(std::string(select_settings) + "p.job_id OPERATOR(pg_catalog.=) $1", job.value);
    if (spi.rows() == 0)
        throw Error(errc::undefined_object,
                    "job " + std::to_string(job.value) + " has no partition policy any more");
    return read_settings(spi.row(0));
}

void store_settings(catalog::JobId job, const Settings& settings) {
    const bool by_time = settings.every.has_value();
    const catalog::Elevated elevated;
    pg::Spi spi;
    const auto interval = [](const std::optional<base::Span>& span) {
        return span ? pg::param(*span) : pg::null_param(INTERVALOID);
    };
    spi.run(
        "INSERT INTO orchestry.partition_policy AS p (job_id, every, ahead, past, every_keys, "
        "ahead_keys, "
        "past_keys, name_pattern, key_unit) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) "
        "ON CONFLICT (job_id) DO UPDATE SET every = EXCLUDED.every, ahead = EXCLUDED.ahead, "
        "past = EXCLUDED.past, every_keys = EXCLUDED.every_keys, ahead_keys = EXCLUDED.ahead_keys, "
        "past_keys = EXCLUDED.past_keys, name_pattern = EXCLUDED.name_pattern, key_unit = "
        "EXCLUDED.key_unit",
        job.value, interval(settings.every), interval(settings.ahead),
        by_time ? pg::param(settings.past) : pg::null_param(INTERVALOID), settings.every_keys,
        settings.ahead_keys, by_time ? pg::null_param(INT8OID) : pg::param(settings.past_keys),
        settings.name_pattern, settings.key_unit);
    spi.run("UPDATE orchestry.job SET time_zone = $2 WHERE job_id OPERATOR(pg_catalog.=) $1 "
            "AND time_zone OPERATOR(pg_catalog.<>) $2",
            job.value, settings.time_zone);
    catalog::unsettle(job);
}

namespace {

void apply_setting(Settings& settings, const catalog::PatchEntry& entry) {
    const std::string& key = entry.key();
    const bool by_time = settings.every.has_value();
    if (key == "every" && by_time)
        settings.every = entry.interval();
    else if (key == "every")
        settings.every_keys = entry.bigint();
    else if (key == "ahead" && by_time)
        settings.ahead = entry.is_null() ? std::nullopt : std::optional(entry.interval());
    else if (key == "ahead")
        settings.ahead_keys = entry.is_null() ? std::nullopt : std::optional(entry.bigint());
    else if (key == "past" && by_time)
        settings.past = entry.interval();
    else if (key == "past")
        settings.past_keys = entry.bigint();
    else if (key == "time_zone" && by_time)
        settings.time_zone = entry.text();
    else if (key == "name_pattern")
        settings.name_pattern = entry.is_null() ? std::nullopt : std::optional(entry.text());
    else
        throw invalid("unknown setting \"" + key + "\" of a partition policy")
            .hint(by_time ? "The settings are every, ahead, past, time_zone, name_pattern, "
                            "schedule and max_runtime."
                          : "The settings are every, ahead, past, name_pattern, schedule and "
                            "max_runtime.");
}

} // namespace

Settings patched(const Settings& settings, const std::string& patch) {
    Settings result = settings;
    for (const catalog::PatchEntry& entry : catalog::read_patch(patch, "partition"))
        apply_setting(result, entry);
    return result;
}

} // namespace orchestry::partition
