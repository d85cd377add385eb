#include "metrics/rollup_policy.hpp"

#include "catalog/patch.hpp"

namespace orchestry::metrics {

using base::Error;
namespace errc = base::errc;

namespace {

RollupPolicy make_plan(const RollupSettings& settings, const base::Zone& zone) {
    const base::Span& bucket = settings.bucket;
    RollupPolicy policy{base::make_step(bucket.months, bucket.days, bucket.us, "bucket"), &zone,
                        settings.keep};
    if (const auto& keep = settings.keep; keep && (keep->months < 0 || keep->days < 0 ||
                                                   keep->us < 0 || *keep == base::Span{0, 0, 0}))
        throw Error(errc::invalid_parameter, "\"keep\" must be positive")
            .hint("Use an interval such as '1 year', or NULL to keep buckets for good.");
    return policy;
}

} // namespace

CheckedRollup::CheckedRollup(RollupSettings settings)
    : settings_(std::move(settings)), zone_(settings_.time_zone),
      plan_(make_plan(settings_, zone_)) {
    settings_.time_zone = zone_.name(); // in the tz database's spelling
}

// --- storage ------------------------------------------------------------------------------------

namespace {

std::optional<StoredRollup> read_one(const pg::Spi& spi) {
    if (spi.rows() == 0)
        return std::nullopt;
    const pg::Row row = spi.row(0);
    StoredRollup rollup{{row.bigint(1)}, {}};
    RollupSettings& settings = rollup.settings;
    settings.schema = row.text(2);
    settings.name = row.text(3);
    settings.time_column = row.text(4);
    settings.value_column = row.text(5);
    settings.bucket = row.span(6);
    settings.group_by = row.text_array(7);
    if (!row.is_null(8))
        settings.predicate = row.text(8);
    if (!row.is_null(9))
        settings.keep = row.span(9);
    settings.time_zone = row.text(10);
    return rollup;
}

constexpr const char* select_sql =
    "SELECT r.job_id, r.rollup_schema, r.rollup_name, r.time_column, r.value_column, r.bucket, "
    "r.group_by::pg_catalog.text[], r.predicate, r.keep, j.time_zone FROM orchestry.rollup r "
    "JOIN orchestry.job j ON j.job_id OPERATOR(pg_catalog.=) r.job_id WHERE ";

} // namespace

std::optional<StoredRollup> find_rollup(const std::string& schema, const std::string& name) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.run_kept(std::string(select_sql) + "r.rollup_schema OPERATOR(pg_catalog.=) "
                                           "$1::pg_catalog.name AND r.rollup_name "
                                           "OPERATOR(pg_catalog.=) $2::pg_catalog.name",
                 schema, name);
    return read_one(spi);
}

StoredRollup load_rollup(catalog::JobId job) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.run_kept(std::string(select_sql) + "r.job_id OPERATOR(pg_catalog.=) $1", job.value);
    std::optional<StoredRollup> rollup = read_one(spi);
    if (!rollup)
        throw Error(errc::undefined_object,
                    "job " + std::to_string(job.value) + " has no rollup any more");
    return *std::move(rollup);
}

void store_settings(catalog::JobId job, const RollupSettings& settings) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.run("INSERT INTO orchestry.rollup AS r (job_id, rollup_schema, rollup_name, time_column, "
            "value_column, bucket, group_by, predicate, keep) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7::pg_catalog.name[], $8, $9) "
            "ON CONFLICT (job_id) DO UPDATE SET keep = EXCLUDED.keep",
            job.value, settings.schema, settings.name, settings.time_column, settings.value_column,
            settings.bucket, settings.group_by, settings.predicate, settings.keep);
}

// --- changes ------------------------------------------------------------------------------------

namespace {

void apply_setting(RollupSettings& settings, const catalog::PatchEntry& entry) {
    const std::string& key = entry.key();
    if (key == "keep")
        settings.keep = entry.is_null() ? std::nullopt : std::optional(entry.interval());
    else if (key == "name" || key == "time_column" || key == "value_column" || key == "bucket" ||
             key == "group_by" || key == "where" || key == "time_zone")
        throw Error(errc::feature_not_supported,
                    "setting \"" + key + "\" of a rollup cannot be changed")
            .detail("The buckets that are stored were computed by it.")
            .hint("Create another rollup, and drop this one when that is complete.");
    else
        throw Error(errc::invalid_parameter, "unknown setting \"" + key + "\" of a rollup")
            .hint("The settings are keep, schedule and max_runtime.");
}

} // namespace

RollupSettings patched(const RollupSettings& settings, const std::string& patch) {
    RollupSettings result = settings;
    for (const catalog::PatchEntry& entry : catalog::read_patch(patch, "rollup"))
        apply_setting(result, entry);
    return result;
}

} // namespace orchestry::metrics
