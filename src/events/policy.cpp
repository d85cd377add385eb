#include "events/policy.hpp"

#include "base/latest_distinct.hpp"
#include "catalog/patch.hpp"

namespace orchestry::events {

using base::Error;
namespace errc = base::errc;

namespace {

Error invalid(std::string message) { return Error(errc::invalid_parameter, std::move(message)); }

Policy make_plan(const Settings& settings, const base::Zone& zone) {
    check_not_negative(settings.older_than, "older_than");
    constexpr std::int32_t most = base::LatestDistinct<>::max_capacity;
    if (settings.samples < 1 || settings.samples > most)
        throw invalid("\"samples\" must be from 1 to " + std::to_string(most) + ", not " +
                      std::to_string(settings.samples))
            .hint("For no samples at all, leave out \"sample_of\".");
    const base::Span& bucket = settings.bucket;
    return {settings.older_than, base::make_step(bucket.months, bucket.days, bucket.us, "bucket"),
            &zone};
}

} // namespace

CheckedPolicy::CheckedPolicy(Settings settings)
    : settings_(std::move(settings)), zone_(settings_.time_zone),
      plan_(make_plan(settings_, zone_)) {
    settings_.time_zone = zone_.name(); // in the tz database's spelling
}

// --- storage ------------------------------------------------------------------------------------

namespace {

std::optional<std::string> text_or_null(const pg::Row& row, int column) {
    return row.is_null(column) ? std::nullopt : std::optional(row.text(column));
}

std::optional<StoredPolicy> select_where(const char* condition, const pg::Param& value) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.run_kept(
        std::string("SELECT p.job_id, p.older_than, p.into_table, p.bucket, p.time_column, "
                    "p.group_by::pg_catalog.text[], p.count_values_of, p.sample_of, "
                    "p.samples, j.time_zone FROM orchestry.event_policy p "
                    "JOIN orchestry.job j ON j.job_id OPERATOR(pg_catalog.=) p.job_id WHERE ") +
            condition + " ORDER BY p.job_id",
        value, catalog::system_identifier(), MyDatabaseId);
    if (spi.rows() == 0)
        return std::nullopt;
    const pg::Row row = spi.row(0);
    StoredPolicy policy{{row.bigint(1)}, {}};
    Settings& settings = policy.settings;
    settings.older_than = row.span(2);
    settings.into_table = row.text(3);
    settings.bucket = row.span(4);
    settings.time_column = row.text(5);
    settings.group_by = row.text_array(6);
    settings.count_values_of = text_or_null(row, 7);
    settings.sample_of = text_or_null(row, 8);
    settings.samples = row.integer(9);
    settings.time_zone = row.text(10);
    return policy;
}

} // namespace

std::optional<StoredPolicy> find_policy(Oid relid) {
    return select_where(
        "j.target OPERATOR(pg_catalog.=) $1 AND j.origin_system OPERATOR(pg_catalog.=) $2 "
        "AND j.origin_database OPERATOR(pg_catalog.=) $3",
        pg::param(relid));
}

StoredPolicy load_policy(catalog::JobId job) {
    std::optional<StoredPolicy> policy =
        select_where("p.job_id OPERATOR(pg_catalog.=) $1", pg::param(job.value));
    if (!policy)
        throw Error(errc::undefined_object, "job " + std::to_string(job.value) +
                                                " has no event compression policy any more");
    return *std::move(policy);
}

void store_settings(catalog::JobId job, const Settings& settings) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.run("INSERT INTO orchestry.event_policy AS p (job_id, older_than, into_table, bucket, "
            "time_column, group_by, count_values_of, sample_of, samples) "
            "VALUES ($1, $2, $3, $4, $5, $6::pg_catalog.name[], $7, $8, $9) "
            "ON CONFLICT (job_id) DO UPDATE SET older_than = EXCLUDED.older_than, "
            "samples = EXCLUDED.samples",
            job.value, settings.older_than, settings.into_table, settings.bucket,
            settings.time_column, settings.group_by, settings.count_values_of, settings.sample_of,
            settings.samples);
}

// --- changes ------------------------------------------------------------------------------------

namespace {

void apply_setting(Settings& settings, const catalog::PatchEntry& entry) {
    const std::string& key = entry.key();
    if (key == "older_than")
        settings.older_than = entry.interval();
    else if (key == "samples")
        settings.samples = entry.integer();
    else if (key == "bucket" || key == "into_table" || key == "time_column" || key == "group_by" ||
             key == "count_values_of" || key == "sample_of" || key == "time_zone")
        throw Error(errc::feature_not_supported,
                    "setting \"" + key + "\" of an event compression policy cannot be changed")
            .detail("What is compressed already was compressed by it, and cannot be compressed "
                    "again.")
            .hint("Run SELECT orchestry.remove_policy(...); and add a policy with another "
                  "\"into_table\".");
    else
        throw invalid("unknown setting \"" + key + "\" of an event compression policy")
            .hint("The settings are older_than, samples, schedule and max_runtime.");
}

} // namespace

Settings patched(const Settings& settings, const std::string& patch) {
    Settings result = settings;
    for (const catalog::PatchEntry& entry : catalog::read_patch(patch, "event compression"))
        apply_setting(result, entry);
    return result;
}

} // namespace orchestry::events
