#include "metrics/rollup_manage.hpp"

#include <algorithm>

#include "capture/capture.hpp"
#include "capture/ddl.hpp"
#include "catalog/compression.hpp"
#include "catalog/retention_horizon.hpp"
#include "catalog/settings.hpp"
#include "catalog/strangers.hpp"
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

void require_watchable(Oid relid, const std::string& name) {
    if (std::string why = capture::why_unwatchable(relid); !why.empty())
        throw unfit(name, std::move(why));
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
    require_watchable(relid, name);
    return name;
}

/// Single rows that are removed by age would be missing in what is computed again. `otherwise`:
/// what to do instead.
void require_rows_stay(Oid source, const std::string& name, const std::string& otherwise) {
    if (catalog::compression_of(source))
        throw Error(errc::feature_not_supported,
                    "table " + name + " has an event compression policy")
            .detail("It would take rows away from the buckets of the rollup.")
            .hint("Make the rollup of a table that keeps its rows.");
    if (catalog::removes_rows(source))
        throw Error(errc::feature_not_supported,
                    "table " + name + " has a retention policy for single rows")
            .detail("It would take rows away from the buckets of the rollup.")
            .hint(otherwise);
}

/// Already there with these settings: its job. With others: 42710. One whose source was dropped is
/// forgotten, as it would be a little later.
std::optional<JobId> known_job(Oid source, const RollupSettings& settings,
                               const std::string& schedule) {
    const auto rollup = find_rollup(settings.schema, settings.name);
    if (!rollup)
        return std::nullopt;
    const catalog::Job job = catalog::get_job(rollup->job);
    if (!job.restored && !pg::relation_name(job.target)) {
        catalog::remove_job(job.id);
        capture::unwatch_all(job.id); // partitions that had been detached are still there
        return std::nullopt;
    }
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

/// What a rollup is told of by: the table, or that with the buckets of its parent; InvalidOid when
/// that is gone.
Oid find_source(Oid target, const RollupSettings& settings) {
    if (!settings.parent)
        return target;
    const auto parent = find_rollup(*settings.parent);
    return parent ? find_buckets(parent->settings) : InvalidOid;
}

/// Locks tables one after the other, but for those that are gone.
void lock_tables(std::vector<pg::LockRequest> requests) {
    std::erase_if(requests, [](const auto& request) { return !OidIsValid(request.relid); });
    (void)pg::lock_relations(requests, catalog::settings::lock_budget_us());
}

/// What triggers of a watch are made or dropped under: the table, unless it is gone, and its
/// partitions, to which they are cloned. The server would wait for each of them anew, and meanwhile
/// keep those who write to the table waiting.
void request_with_partitions(std::vector<pg::LockRequest>& requests, Oid table, LOCKMODE mode) {
    if (!OidIsValid(table))
        return;
    requests.push_back({table, mode});
    for (const Oid part : pg::family_of(table))
        if (part != table && pg::call<get_rel_relispartition>(Oid{part}))
            requests.push_back({part, mode});
}

/// Locks what a new rollup is to be told of by, and before that what it is made of, from the table
/// with the rows on: in this order a run or the end of any level locks as well.
void lock_levels(Oid target, const RollupSettings& settings) {
    std::vector<pg::LockRequest> requests;
    LOCKMODE mode = ShareRowExclusiveLock;
    for (auto parent = settings.parent; parent;) {
        const auto rollup = find_rollup(*parent);
        if (!rollup)
            break;
        requests.push_back({find_buckets(rollup->settings), mode});
        mode = AccessShareLock;
        parent = rollup->settings.parent;
    }
    std::reverse(requests.begin(), requests.end());
    if (settings.parent)
        requests.insert(requests.begin(), {target, mode});
    else
        request_with_partitions(requests, target, mode);
    lock_tables(std::move(requests));
}

capture::Watch watch_of(JobId job, const RollupSettings& settings, const base::Step& bucket) {
    return {job, capture::Buckets{settings.parent ? "bucket" : settings.time_column, bucket,
                                  settings.time_zone}};
}

// --- rollups of rollups -------------------------------------------------------------------------

std::optional<StoredRollup> find_parent(const std::optional<std::string>& name, Oid source) {
    return name ? require_rollup(*name) : rollup_of_view(source);
}

/// The table that a rollup with this parent is made of in the end.
Oid source_through(const StoredRollup& parent, Oid source) {
    const catalog::Job job = catalog::get_job(parent.job);
    catalog::require_owner(job);
    if (job.restored)
        throw Error(errc::not_prerequisite_state,
                    "rollup " + parent.settings.view() + " was restored and waits")
            .detail("Its job is job " + std::to_string(job.id.value) + ".")
            .hint("Run SELECT orchestry.resume_job(" + std::to_string(job.id.value) + ");");
    const auto seen = rollup_of_view(source);
    if (source != job.target && !(seen && seen->job == parent.job))
        throw Error(errc::invalid_parameter, "rollup " + parent.settings.view() +
                                                 " is not made of " +
                                                 pg::require_relation_name(source))
            .hint("Give source => " + pg::quote_literal(job.target_name) + ".");
    return job.target;
}

/// It may have been dropped while we waited for its table, and is not from now on.
void require_still(const StoredRollup& parent) {
    catalog::lock_marks(parent.job);
    if (!find_rollup(parent.job))
        throw Error(errc::undefined_object,
                    "there is no rollup " + parent.settings.view() + " any more")
            .detail("It was dropped meanwhile.")
            .hint("See SELECT rollup FROM orchestry.rollups;");
}

/// What a rollup has from its parent. Its buckets are made of whole buckets of that.
void inherit(RollupSettings& settings, const StoredRollup& parent) {
    const RollupSettings& finer = parent.settings;
    settings.parent = parent.job;
    require_same_values(settings.time_column, settings.value_column, finer);
    settings.time_column = finer.time_column;
    settings.value_column = finer.value_column;
    require_groups(settings.group_by, finer);
    if (settings.predicate && settings.predicate != finer.predicate)
        throw Error(errc::invalid_parameter, "\"where\" is not that of rollup " + finer.view())
            .detail("A rollup has all the rows of the one that it is made of, and no others.")
            .hint("Leave \"where\" out, or make the rollup without a parent.");
    settings.predicate = finer.predicate;
}

void require_nesting(const RollupPolicy& policy, const RollupSettings& finer) {
    const CheckedRollup parent(finer);
    const auto misfit = first_misfit(parent.plan().grid(), policy.grid());
    if (!misfit)
        return;
    throw Error(errc::invalid_parameter, "buckets of " + base::to_string(policy.bucket) +
                                             " do not consist of whole buckets of rollup " +
                                             finer.view())
        .detail("A bucket begins at " + instant_text(*misfit) + ", in the middle of one of its " +
                base::to_string(parent.plan().bucket) + " buckets, which are those of time zone " +
                finer.time_zone + ".")
        .hint("Choose a multiple of them in the same time zone, or make a parent with shorter "
              "buckets.");
}

/// What a rollup keeps for a time leaves where buckets of all its readers end, so that no reader
/// has a bucket of which a part can be computed. Checks that `reader` and the others have such
/// ends. The marks of the parent are locked. Raises 22023 with the message and the hint.
void require_common_edges(JobId parent, const CheckedRollup& reader, const std::string& message,
                          const std::string& hint) {
    const RollupSettings& settings = reader.settings();
    for (StoredRollup& stored : readers_of(parent)) {
        const CheckedRollup other(std::move(stored.settings));
        if (other.settings().view() == settings.view())
            continue;
        const auto clash = first_clash(other.plan().grid(), reader.plan().grid());
        if (clash)
            throw Error(errc::invalid_parameter, message)
                .detail("A bucket of rollup " + settings.view() + " begins at " +
                        instant_text(*clash) + ", in the middle of one of rollup " +
                        other.settings().view() +
                        ": what has been part of both could never be removed.")
                .hint(hint);
    }
}

/// The times of which the parent of a rollup no longer has all buckets, in whole buckets of the
/// rollup: these cannot be computed any more.
base::InstantSet gone_from_parent(const RollupSettings& settings, const base::Grid& grid) {
    base::InstantSet gone;
    if (!settings.parent)
        return gone;
    const TimeExtent all = catalog::all_buckets(grid);
    for (const TimeExtent& extent : catalog::removed(*settings.parent))
        gone.add(
            {std::max(grid.floor(extent.from), all.from), std::min(grid.ceil(extent.to), all.to)});
    return gone;
}

/// Gives up the buckets that a new rollup would have only a part of, and says so.
void freeze_gone(JobId job, const CheckedRollup& policy, const StoredRollup& parent) {
    const base::InstantSet gone = gone_from_parent(policy.settings(), policy.plan().grid());
    if (gone.empty())
        return;
    for (const TimeExtent& extent : gone) {
        catalog::consume(job, extent);
        catalog::freeze(job, extent, catalog::Stored::removed);
    }
    pg::report(NOTICE,
               "rollup " + policy.settings().view() + " is complete from " +
                   instant_text((gone.end() - 1)->to) + " on",
               "Of earlier times rollup " + parent.settings.view() +
                   " no longer has all buckets, because of its \"keep\".",
               "Where the rows are still there, a rollup without a parent has them.");
}

/// Nobody could compute those that are made of it.
void require_no_readers(const StoredRollup& rollup) {
    const std::vector<StoredRollup> readers = readers_of(rollup.job);
    if (readers.empty())
        return;
    std::string list;
    for (const StoredRollup& reader : readers)
        list += (list.empty() ? "" : ", ") + reader.settings.view();
    throw Error("2BP01", // dependent objects still exist
                "rollup " + rollup.settings.view() + " cannot be dropped")
        .detail("Other rollups are made of it: " + list + ".")
        .hint("Run SELECT orchestry.drop_rollup(" +
              pg::quote_literal(readers.back().settings.view()) + "); first.");
}

} // namespace

JobId create_rollup(const std::string& name, Oid source,
                    const std::optional<std::string>& parent_name, RollupSettings settings,
                    const std::string& schedule, Instant now) {
    const auto parent = find_parent(parent_name, source);
    if (parent)
        source = source_through(*parent, source);
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
        settings.predicate = pg::check_predicate(source, *settings.predicate, "where",
                                                 pg::SessionState::of_any_reader);
    if (parent)
        inherit(settings, *parent);
    const CheckedRollup policy(std::move(settings));
    check_keep(policy.plan(), now);
    (void)catalog::parse_schedule(schedule);
    if (parent)
        require_nesting(policy.plan(), parent->settings);
    // All who have written so far have finished then, and whoever writes from now on is watched.
    lock_levels(source, policy.settings());
    pg::GucLevel guc;
    pg::set_lock_timeout(guc, catalog::settings::lock_budget_us());
    if (parent)
        require_still(*parent);
    if (const auto known = known_job(source, policy.settings(), schedule))
        return *known;
    if (parent && load_rollup(parent->job).settings.keep)
        require_common_edges(parent->job, policy,
                             "rollup " + policy.settings().view() + " cannot be made of rollup " +
                                 parent->settings.view() + ", which has a \"keep\"",
                             "Make it of the rows, or of a rollup without \"keep\".");
    require_rows_stay(
        source, table,
        "Partition the table by its time; whole partitions leave rollups as they are.");
    catalog::require_no_strangers_part(source);
    {
        const catalog::AsOwner owner(source);
        const RollupShape shape = read_rollup_shape(source, policy.settings());
        require_watchable(shape.source, shape.source_name);
        if (parent)
            require_rows_stay(shape.source, shape.source_name,
                              "Remove that policy, and set \"keep\" of rollup " +
                                  parent->settings.view() + " instead.");
    }
    const JobId job =
        catalog::insert_job({"rollup", source, schedule, policy.settings().time_zone}, now, now);
    store_settings(job, policy.settings());
    catalog::mark(job, catalog::all_buckets(policy.plan().grid()));
    if (parent)
        freeze_gone(job, policy, *parent);
    const catalog::AsOwner owner(source);
    const std::vector<RollupLevel> levels = read_levels(source, job, policy.settings());
    pg::run_statements(create_rollup_sql(levels));
    capture::make_room_in(levels.front().shape.source, job);
    pg::run_statements(capture::watch_sql(watch_of(job, policy.settings(), policy.plan().bucket),
                                          levels.front().shape.source_name));
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
    // Without its source all has gone with that; and when restored, another table has its number.
    const bool is_here = pg::relation_name(job.target) && !job.restored;
    if (is_here) { // before the marks, as whoever makes a rollup of it
        std::vector<pg::LockRequest> requests;
        request_with_partitions(requests, find_source(job.target, rollup.settings),
                                AccessExclusiveLock);
        requests.push_back({find_buckets(rollup.settings), AccessExclusiveLock});
        lock_tables(std::move(requests));
    }
    pg::GucLevel guc;
    pg::set_lock_timeout(guc, catalog::settings::lock_budget_us());
    catalog::lock_marks(rollup.job); // nobody makes a rollup of it meanwhile
    require_no_readers(rollup);
    if (is_here)
        capture::unwatch_all(rollup.job);
    catalog::remove_job(rollup.job);
    if (!is_here)
        return;
    const catalog::AsOwner owner(job.target);
    pg::run_statements({"DROP VIEW IF EXISTS " + rollup.settings.view()});
    if (!keep_data)
        pg::run_statements({"DROP TABLE IF EXISTS " + rollup.settings.stored()});
}

void alter_rollup(const catalog::Job& job, const std::string& patch) {
    const CheckedRollup policy(patched(load_rollup(job.id).settings, patch));
    check_keep(policy.plan(), catalog::settings::now());
    if (policy.settings().keep) {
        pg::GucLevel guc;
        pg::set_lock_timeout(guc, catalog::settings::lock_budget_us());
        catalog::lock_marks(job.id); // nobody makes a rollup of it meanwhile
        for (StoredRollup& reader : readers_of(job.id))
            require_common_edges(job.id, CheckedRollup(std::move(reader.settings)),
                                 "rollup " + policy.settings().view() + " cannot have a \"keep\"",
                                 "Drop one of the two, or leave \"keep\" NULL.");
    }
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
        base::InstantSet there;
        there.add(extent);
        there.remove(gone_from_parent(rollup.settings, policy.plan().grid()));
        for (const TimeExtent& times : there)
            catalog::thaw(rollup.job, times);
    }
    catalog::mark(rollup.job, extent);
}

void verify_rollup(const StoredRollup& rollup, const std::optional<Instant>& from,
                   const std::optional<Instant>& to,
                   const std::function<void(const pg::Row&)>& use) {
    const catalog::Job job = catalog::get_job(rollup.job);
    catalog::require_owner(job);
    const CheckedRollup policy(rollup.settings);
    require_unchanged(job.target, rollup.settings);
    catalog::require_no_strangers_part(job.target);
    const catalog::AsOwner owner(job.target);
    const std::vector<RollupLevel> levels = read_levels(job.target, rollup.job, rollup.settings);
    const TimeExtent extent = buckets_between(policy.plan(), from, to);
    const auto report = [&](const std::string& sql) {
        pg::Spi spi;
        spi.run(sql);
        for (std::uint64_t i = 0; i < spi.rows(); ++i)
            use(spi.row(i));
    };
    report(verify_sql(levels, extent));
    const base::Grid grid = policy.plan().grid();
    const TimeExtent nesting{std::max(extent.from, grid.ceil(nesting_times.from)),
                             std::min(extent.to, grid.floor(nesting_times.to))};
    if (levels.size() > 1 && nesting.from < nesting.to)
        report(verify_by_rows_sql(levels, nesting));
}

} // namespace orchestry::metrics
