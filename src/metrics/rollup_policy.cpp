#include "metrics/rollup_policy.hpp"

#include "catalog/patch.hpp"

#include <algorithm>

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

StoredRollup read_rollup(const pg::Row& row) {
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
    if (!row.is_null(11))
        settings.parent = catalog::JobId{row.bigint(11)};
    return rollup;
}

std::optional<StoredRollup> read_one(const pg::Spi& spi) {
    if (spi.rows() == 0)
        return std::nullopt;
    return read_rollup(spi.row(0));
}

constexpr const char* select_sql =
    "SELECT r.job_id, r.rollup_schema, r.rollup_name, r.time_column, r.value_column, r.bucket, "
    "r.group_by::pg_catalog.text[], r.predicate, r.keep, j.time_zone, r.parent FROM "
    "orchestry.rollup r "
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

std::optional<StoredRollup> find_rollup(catalog::JobId job) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.read_latest(std::string(select_sql) + "r.job_id OPERATOR(pg_catalog.=) $1", job.value);
    return read_one(spi);
}

StoredRollup load_rollup(catalog::JobId job) {
    std::optional<StoredRollup> rollup = find_rollup(job);
    if (!rollup)
        throw Error(errc::undefined_object,
                    "job " + std::to_string(job.value) + " has no rollup any more");
    return *std::move(rollup);
}

std::optional<StoredRollup> rollup_of_view(Oid relid) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.run_kept(std::string(select_sql) +
                     "(r.rollup_schema, r.rollup_name) OPERATOR(pg_catalog.=) (SELECT n.nspname, "
                     "c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
                     "ON n.oid OPERATOR(pg_catalog.=) c.relnamespace WHERE c.oid "
                     "OPERATOR(pg_catalog.=) $1 AND c.relkind OPERATOR(pg_catalog.=) 'v')",
                 relid);
    return read_one(spi);
}

std::vector<StoredRollup> readers_of(catalog::JobId parent) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.read_latest(std::string(select_sql) +
                        "r.parent OPERATOR(pg_catalog.=) $1 ORDER BY r.job_id",
                    parent.value);
    std::vector<StoredRollup> readers;
    for (std::uint64_t i = 0; i < spi.rows(); ++i)
        readers.push_back(read_rollup(spi.row(i)));
    return readers;
}

void require_same_values(const std::string& time_column, const std::string& value_column,
                         const RollupSettings& rollup) {
    if (time_column != "bucket" && time_column != rollup.time_column)
        throw Error(errc::invalid_parameter,
                    "\"" + time_column + "\" is not the time column of rollup " + rollup.view())
            .hint("Give time_column => " + pg::quote_literal(rollup.time_column) + ".");
    if (value_column != "summary" && value_column != rollup.value_column)
        throw Error(errc::invalid_parameter,
                    "\"" + value_column + "\" is not the value column of rollup " + rollup.view())
            .detail("What is made of a rollup is made of its summaries.")
            .hint("Give value_column => " + pg::quote_literal(rollup.value_column) + ".");
}

void require_groups(const std::vector<std::string>& group_by, const RollupSettings& rollup) {
    const std::vector<std::string>& known = rollup.group_by;
    std::string list;
    for (const std::string& name : known)
        list += (list.empty() ? "" : ", ") + name;
    for (const std::string& name : group_by)
        if (std::find(known.begin(), known.end(), name) == known.end())
            throw Error(errc::invalid_parameter,
                        "rollup " + rollup.view() + " is not grouped by \"" + name + "\"")
                .hint(known.empty() ? "It has no groups: leave \"group_by\" out."
                                    : "Choose from its groups: " + list + ".");
}

base::InstantSet unready(catalog::JobId job) {
    base::InstantSet times;
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.run("SELECT pg_catalog.lower(d), pg_catalog.upper(d) FROM orchestry._rollup_spans s, "
            "pg_catalog.unnest(s.unready) d WHERE s.job_id OPERATOR(pg_catalog.=) $1",
            job.value);
    for (std::uint64_t i = 0; i < spi.rows(); ++i)
        times.add({spi.row(i).instant(1), spi.row(i).instant(2)});
    return times;
}

void store_settings(catalog::JobId job, const RollupSettings& settings) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.run("INSERT INTO orchestry.rollup AS r (job_id, rollup_schema, rollup_name, time_column, "
            "value_column, bucket, group_by, predicate, keep, parent) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7::pg_catalog.name[], $8, $9, $10) "
            "ON CONFLICT (job_id) DO UPDATE SET keep = EXCLUDED.keep",
            job.value, settings.schema, settings.name, settings.time_column, settings.value_column,
            settings.bucket, settings.group_by, settings.predicate, settings.keep,
            settings.parent ? std::optional(settings.parent->value) : std::nullopt);
}

// --- changes ------------------------------------------------------------------------------------

namespace {

void apply_setting(RollupSettings& settings, const catalog::PatchEntry& entry) {
    const std::string& key = entry.key();
    if (key == "keep")
        settings.keep = entry.is_null() ? std::nullopt : std::optional(entry.interval());
    else if (key == "name" || key == "time_column" || key == "value_column" || key == "bucket" ||
             key == "group_by" || key == "where" || key == "time_zone" || key == "parent")
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
