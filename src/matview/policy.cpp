#include "matview/policy.hpp"

#include "catalog/patch.hpp"
#include "pg/zone.hpp"

namespace orchestry::matview {

using base::Error;
namespace errc = base::errc;

std::int64_t check_length(const base::Span& span, const char* name) {
    constexpr std::int64_t most_days = 36'500;
    const std::int64_t days = span.days + span.us / base::us_per_day;
    if (span.months != 0 || days > most_days)
        throw Error(errc::invalid_parameter,
                    "\"" + std::string(name) + "\" must be of days, hours and less, not of months")
            .hint("Use an interval such as '1 hour' or '7 days'.");
    const std::int64_t us = span.days * base::us_per_day + span.us;
    if (us < base::us_per_second)
        throw Error(errc::invalid_parameter,
                    "\"" + std::string(name) + "\" must be at least one second")
            .hint("Use an interval such as '1 hour' or '7 days'.");
    return us;
}

namespace {

Mode mode_of(const std::string& text) {
    if (text == "auto")
        return Mode::automatic;
    if (text == "plain")
        return Mode::plain;
    if (text == "concurrently")
        return Mode::concurrently;
    throw Error(errc::invalid_parameter, "unknown mode \"" + text + "\"")
        .hint("It is 'auto', 'plain' or 'concurrently'.");
}

Detection detection_of(const std::string& text) {
    if (text == "triggers")
        return Detection::triggers;
    if (text == "stats")
        return Detection::stats;
    if (text == "none")
        return Detection::none;
    throw Error(errc::invalid_parameter, "unknown change_detection \"" + text + "\"")
        .hint("It is 'triggers', 'stats' or 'none'.");
}

} // namespace

Policy check(const Settings& settings) {
    (void)pg::ServerZone(settings.time_zone);
    return {check_length(settings.max_staleness, "max_staleness"), mode_of(settings.mode),
            detection_of(settings.change_detection),
            check_length(settings.max_unverified, "max_unverified")};
}

// --- storage ------------------------------------------------------------------------------------

Settings load_settings(catalog::JobId job) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.run("SELECT p.max_staleness, p.mode, p.change_detection, p.max_unverified, p.assume_pure, "
            "j.time_zone FROM orchestry.refresh_policy p JOIN orchestry.job j "
            "ON j.job_id OPERATOR(pg_catalog.=) p.job_id WHERE p.job_id OPERATOR(pg_catalog.=) $1",
            job.value);
    if (spi.rows() == 0)
        throw Error(errc::undefined_object,
                    "job " + std::to_string(job.value) + " has no refresh policy any more");
    const pg::Row row = spi.row(0);
    return {row.span(1), row.text(2), row.text(3), row.span(4), row.boolean(5), row.text(6)};
}

void store_settings(catalog::JobId job, const Settings& settings) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.run("INSERT INTO orchestry.refresh_policy AS p "
            "(job_id, max_staleness, mode, change_detection, max_unverified, assume_pure) "
            "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (job_id) DO UPDATE SET "
            "max_staleness = EXCLUDED.max_staleness, mode = EXCLUDED.mode, "
            "change_detection = EXCLUDED.change_detection, "
            "max_unverified = EXCLUDED.max_unverified, assume_pure = EXCLUDED.assume_pure",
            job.value, settings.max_staleness, settings.mode, settings.change_detection,
            settings.max_unverified, settings.assume_pure);
}

// --- changes ------------------------------------------------------------------------------------

namespace {

void apply_setting(Settings& settings, const catalog::PatchEntry& entry) {
    const std::string& key = entry.key();
    if (key == "max_staleness")
        settings.max_staleness = entry.interval();
    else if (key == "mode")
        settings.mode = entry.text();
    else if (key == "change_detection")
        settings.change_detection = entry.text();
    else if (key == "max_unverified")
        settings.max_unverified = entry.interval();
    else if (key == "assume_pure")
        settings.assume_pure = entry.boolean();
    else if (key == "time_zone")
        throw Error(errc::feature_not_supported,
                    "setting \"time_zone\" of a refresh policy cannot be changed")
            .hint("Remove the policy and add it again with another zone.");
    else
        throw Error(errc::invalid_parameter, "unknown setting \"" + key + "\" of a refresh policy")
            .hint("The settings are max_staleness, mode, change_detection, max_unverified, "
                  "assume_pure, schedule and max_runtime.");
}

} // namespace

Settings patched(const Settings& settings, const std::string& patch) {
    Settings result = settings;
    for (const catalog::PatchEntry& entry : catalog::read_patch(patch, "refresh"))
        apply_setting(result, entry);
    return result;
}

} // namespace orchestry::matview
