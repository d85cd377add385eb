#include "metrics/rollup_manage.hpp"

#include <algorithm>

#include "capture/capture.hpp"
#include "capture/ddl.hpp"
#include "catalog/compression.hpp"
#include "catalog/retention_horizon.hpp"
#include "catalog/settings.hpp"
#include "metrics/rollup_shape.hpp"
#include "pg/predicate.hpp"

namespace orchestry::metrics {

using base::Error;
using base::Instant;
using base::TimeExtent;
using catalog::JobId;
namespace errc = base::errc;

namespace {

/// A name as the user writes it, in parts, unquoted.
struct ViewName {
    std::optional<std::string> schema;
    std::string name;
};

ViewName parse_name(const std::string& text) {
    const char* const terminated = text.c_str();
    const RangeVar* const parsed = pg::protect([&]() -> const RangeVar* {
        return makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(terminated)));
    });
    return {parsed->schemaname ? std::optional<std::string>(parsed->schemaname) : std::nullopt,
            parsed->relname};
}

std::string schema_of(Oid relid) {
    const char* const schema =
        pg::protect([&]() -> const char* { return get_namespace_name(get_rel_namespace(relid)); });
    return schema ? schema : "";
}

Error unfit(const std::string& name, std::string detail) {
    return Error(errc::wrong_object_type, "a rollup cannot be made of " + name)
        .detail(std::move(detail));
}

/// The name of a table that a rollup can be made of.
std::string require_source(Oid relid) {
    const std::string name = pg::require_relation_name(relid);
    const char kind = pg::call<get_rel_relkind>(relid);
    if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
        throw unfit(name, "It is not a table.");
    catalog::require_owner_of(relid);
    if (pg::call<get_rel_relispartition>(relid)) {
        const Oid parent = pg::protect([&] { return get_partition_parent(relid, true); });
        throw unfit(name, "It is a partition.")
            .hint("Make the rollup of " + pg::relation_name(parent).value_or("its table") + ".");
    }
    if (std::string why = capture::why_unwatchable(relid); !why.empty())
        throw unfit(name, std::move(why));
    return name;
}

/// Single rows that are removed by age would be missing in what is computed again.
void require_rows_stay(Oid source, const std::string& name) {
    if (catalog::compression_of(source))
        throw Error(errc::feature_not_supported,
                    "table " + name + " has an event compression policy")
            .detail("It would take rows away from the buckets of the rollup.")
            .hint("Make the rollup of a table that keeps its rows.");
    if (catalog::removes_rows(source))
        throw Error(errc::feature_not_supported,
                    "table " + name + " has a retention policy for single rows")
            .detail("It would take rows away from the buckets of the rollup.")
            .hint("Partition the table by its time; whole partitions leave rollups as they are.");
}

/// Already there with these settings: its job. With others: 42710.
std::optional<JobId> known_job(Oid source, const RollupSettings& settings,
                               const std::string& schedule) {
    const auto rollup = find_rollup(settings.schema, settings.name);
    if (!rollup)
        return std::nullopt;
    const catalog::Job job = catalog::get_job(rollup->job);
    if (job.target == source && rollup->settings == settings && job.schedule == schedule) {
        pg::report(NOTICE, "rollup " + settings.view() + " is there already");
        return rollup->job;
    }
    throw Error(errc::duplicate_object, "there is another rollup " + settings.view() + " already")
        .detail("It is job " + std::to_string(rollup->job.value) + ", of table " + job.target_name +
                ".")
        .hint("Give another name, or run SELECT orchestry.drop_rollup(" +
              pg::quote_literal(settings.view()) + ");");
}

capture::Watch watch_of(JobId job, const RollupSettings& settings, const base::Step& bucket) {
    return {job, capture::Buckets{settings.time_column, bucket, settings.time_zone}};
}

} // namespace

JobId create_rollup(const std::string& name, Oid source, RollupSettings settings,
                    const std::string& schedule, Instant now) {
    const std::string table = require_source(source);
    if (!capture::is_everywhere())
        throw Error(errc::not_prerequisite_state, "rollups need the library to be preloaded")
            .detail("Otherwise a TRUNCATE, or a partition that comes or goes, would not be seen in "
                    "sessions that have not loaded it.")
            .hint("Put orchestry_ext into shared_preload_libraries and restart the server.");
    ViewName view = parse_name(name);
    settings.schema = view.schema.value_or(schema_of(source));
    settings.name = std::move(view.name);
    if (settings.name.size() + std::strlen("_buckets") >= NAMEDATALEN)
        throw Error(errc::name_too_long, "the name of the rollup is too long")
            .detail("With _buckets at its end it names a table, and a name has at most " +
                    std::to_string(NAMEDATALEN - 1) + " bytes.");
    if (settings.predicate)
        settings.predicate =
            pg::check_predicate(source, *settings.predicate, "where", pg::Session::must_not_matter);
    const CheckedRollup policy(std::move(settings));
    (void)catalog::parse_schedule(schedule);
    // All who have written so far have finished then, and whoever writes from now on is watched.
    (void)pg::lock_relations({{source, ShareRowExclusiveLock}},
                             catalog::settings::lock_budget_us());
    if (const auto known = known_job(source, policy.settings(), schedule))
        return *known;
    require_rows_stay(source, table);
    pg::GucLevel guc;
    pg::set_lock_timeout(guc, catalog::settings::lock_budget_us());
    const RollupShape shape = [&] {
        const catalog::AsOwner owner(source);
        return read_rollup_shape(source, policy.settings());
    }();
    const JobId job =
        catalog::insert_job({"rollup", source, schedule, policy.settings().time_zone}, now, now);
    store_settings(job, policy.settings());
    catalog::mark(job, catalog::all_buckets(policy.plan().grid()));
    const catalog::AsOwner owner(source);
    pg::run_statements(create_rollup_sql(shape, job));
    pg::run_statements(capture::watch_sql(watch_of(job, policy.settings(), policy.plan().bucket),
                                          shape.source_name));
    return job;
}

StoredRollup require_rollup(const std::string& name) {
    const ViewName view = parse_name(name);
    std::optional<StoredRollup> rollup;
    if (view.schema) {
        rollup = find_rollup(*view.schema, view.name);
    } else {
        pg::Spi spi;
        spi.run("SELECT s::pg_catalog.text FROM pg_catalog.unnest("
                "pg_catalog.current_schemas(true)) s");
        for (std::uint64_t i = 0; !rollup && i < spi.rows(); ++i)
            rollup = find_rollup(spi.row(i).text(1), view.name);
    }
    if (!rollup)
        throw Error(errc::undefined_object, "there is no rollup " + name)
            .hint("See SELECT rollup FROM orchestry.rollups;");
    return *std::move(rollup);
}

void drop_rollup(const StoredRollup& rollup, bool keep_data) {
    const catalog::Job job = catalog::get_job(rollup.job);
    catalog::require_owner(job);
    catalog::remove_job(rollup.job); // first: the watch of a job that is there cannot be dropped
    const auto table = pg::relation_name(job.target);
    if (!table || job.restored)
        return; // the source is gone, and all with it; or another table has its number here
    (void)pg::lock_relations({{job.target, AccessExclusiveLock}},
                             catalog::settings::lock_budget_us());
    pg::GucLevel guc;
    pg::set_lock_timeout(guc, catalog::settings::lock_budget_us());
    const catalog::AsOwner owner(job.target);
    pg::run_statements(capture::unwatch_sql(rollup.job, *table));
    pg::run_statements({"DROP VIEW IF EXISTS " + rollup.settings.view()});
    if (!keep_data)
        pg::run_statements({"DROP TABLE IF EXISTS " + rollup.settings.stored()});
}

void alter_rollup(const catalog::Job& job, const std::string& patch) {
    const CheckedRollup policy(patched(load_rollup(job.id).settings, patch));
    store_settings(job.id, policy.settings());
}

namespace {

/// The whole buckets of the times that the user asks for.
TimeExtent buckets_between(const RollupPolicy& policy, const std::optional<Instant>& from,
                           const std::optional<Instant>& to) {
    const base::Grid grid = policy.grid();
    const TimeExtent all = catalog::all_buckets(grid);
    if (from && to && *to < *from)
        throw Error(errc::invalid_parameter, "\"to\" lies before \"from\"")
            .hint("Give \"from\", which is part of the time, before \"to\", which is not.");
    return {grid.floor(std::clamp(from.value_or(all.from), all.from, all.to)),
            grid.ceil(std::clamp(to.value_or(all.to), all.from, all.to))};
}

} // namespace

void mark_times(const StoredRollup& rollup, const std::optional<Instant>& from,
                const std::optional<Instant>& to, bool thaw) {
    const CheckedRollup policy(rollup.settings);
    const TimeExtent extent = buckets_between(policy.plan(), from, to);
    if (thaw) {
        catalog::lock_marks(rollup.job);
        catalog::thaw(rollup.job, extent);
    }
    catalog::mark(rollup.job, extent);
}

void verify_rollup(const StoredRollup& rollup, const std::optional<Instant>& from,
                   const std::optional<Instant>& to,
                   const std::function<void(const pg::Row&)>& use) {
    const catalog::Job job = catalog::get_job(rollup.job);
    catalog::require_owner(job);
    const CheckedRollup policy(rollup.settings);
    const catalog::AsOwner owner(job.target);
    const RollupShape shape = read_rollup_shape(job.target, rollup.settings);
    pg::Spi spi;
    spi.run(verify_sql(shape, rollup.job, buckets_between(policy.plan(), from, to)));
    for (std::uint64_t i = 0; i < spi.rows(); ++i)
        use(spi.row(i));
}

} // namespace orchestry::metrics
