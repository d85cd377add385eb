#include "matview/apply.hpp"

#include <algorithm>

#include "capture/capture.hpp"
#include "capture/ddl.hpp"
#include "capture/source.hpp"
#include "catalog/dirty.hpp"
#include "catalog/refresh_state.hpp"
#include "catalog/run.hpp"
#include "catalog/settings.hpp"
#include "pg/fault.hpp"
#include "pg/xact.hpp"

namespace orchestry::matview {

using base::Instant;

Planned plan_job(const catalog::Job& job, Instant now) {
    Planned planned;
    planned.set = Inspector().read(job);
    planned.steps = plan(planned.set.views, planned.set.target, now);
    return planned;
}

namespace {

const InspectedView& view_of(const Planned& planned, const Step& step) {
    return planned.set.details[step.view];
}

Oid source_of(const Planned& planned, const Step& step) {
    const InspectedView& found = view_of(planned, step);
    const auto& names = found.view.unwatched;
    const auto at = std::find(names.begin(), names.end(), step.source) - names.begin();
    return found.unwatched[static_cast<std::size_t>(at)];
}

capture::Watch watch_of(const InspectedView& found) { return {found.job, std::nullopt}; }

std::string refresh_sql(const InspectedView& found, const Step& step) {
    return "REFRESH MATERIALIZED VIEW " + std::string(step.concurrently ? "CONCURRENTLY " : "") +
           found.view.quoted;
}

/// Nobody refreshes a parent before this refresh is committed, unless the job is told of it.
std::vector<pg::LockRequest> locks_on_parents(const InspectedView& found) {
    const std::vector<Oid> untold = catalog::untold_parents(found.job, found.reads.matviews);
    std::vector<pg::LockRequest> locks;
    for (const Oid parent : found.reads.matviews) {
        const bool is_told = std::find(untold.begin(), untold.end(), parent) == untold.end();
        locks.push_back({parent, is_told ? AccessShareLock : RowShareLock});
    }
    return locks;
}

} // namespace

std::vector<pg::LockRequest> locks_of(const Planned& planned, const Step& step) {
    const InspectedView& found = view_of(planned, step);
    if (step.action == Action::watch)
        return {{source_of(planned, step), ShareRowExclusiveLock}};
    // What it reads first: nobody is to wait for the view while its refresh waits for a table.
    std::vector<pg::LockRequest> locks;
    for (const Oid view : found.reads.views)
        locks.push_back({view, AccessShareLock});
    for (const SourceTable& table : found.reads.tables)
        locks.push_back({table.relid, AccessShareLock});
    for (const pg::LockRequest& lock : locks_on_parents(found))
        locks.push_back(lock);
    locks.push_back({found.view.relid, step.concurrently ? ExclusiveLock : AccessExclusiveLock});
    return locks;
}

std::string describe_sql(const Planned& planned, const Step& step) {
    const InspectedView& found = view_of(planned, step);
    if (step.action != Action::watch)
        return refresh_sql(found, step) + ";";
    std::string sql;
    for (const std::string& statement : capture::watch_sql(watch_of(found), step.source))
        sql += (sql.empty() ? "" : "\n") + statement + ";";
    return sql;
}

namespace {

Applied skipped(std::string why) {
    Applied applied;
    applied.outcome = Applied::Outcome::skipped;
    applied.message = std::move(why);
    return applied;
}

/// Whoever is writing to the table is not to be waited for by everybody else: then the view is
/// refreshed without a proof, and the next run tries again.
Applied watch(const Planned& planned, const Step& step, std::int64_t budget_us) {
    const InspectedView& found = view_of(planned, step);
    const Oid table = source_of(planned, step);
    if (pg::relation_name(table) != step.source)
        return skipped("the table is gone or has another name by now");
    if (capture::unwatched(found.job, {table}).empty())
        return skipped("it is watched by now");
    Applied applied;
    bool is_there = true;
    if (auto failure = pg::in_subtransaction([&] {
            pg::GucLevel guc;
            pg::set_lock_timeout(guc, budget_us);
            is_there = capture::add_source(found.job, table); // first, as whoever ends the watch
            if (!is_there)
                return;
            applied.lock_wait_us =
                pg::lock_relations(capture::watch_locks(table, found.job), budget_us);
            pg::set_lock_timeout(guc, budget_us - applied.lock_wait_us);
            capture::begin_watch(watch_of(found), table);
        })) {
        if (!failure->is(base::errc::lock_not_available))
            pg::raise(*failure);
        return skipped("it is in use; the next run tries again");
    }
    if (!is_there)
        return skipped("the policy was removed meanwhile");
    catalog::mark(found.job, catalog::all_time); // what was written before was not seen
    return applied;
}

/// One refresh while it is applied.
class Refresh {
  public:
    Refresh(const Planned& planned, const Step& step, std::int64_t budget_us)
        : planned_(planned), step_(step), found_(view_of(planned, step)), budget_us_(budget_us) {}

    Applied apply();

  private:
    void take_locks();
    std::string not_needed(const InspectedView& now) const;
    void execute(const InspectedView& now);
    void measure(std::int64_t& rows, std::int64_t& bytes) const;
    void record(const InspectedView& now, Instant began, TimestampTz start);

    const Planned& planned_;
    Step step_;
    const InspectedView& found_;
    const std::int64_t budget_us_;
    std::int64_t temporary_bytes_ = 0;
    Applied applied_;
};

/// A view that is to be rid of dead rows is refreshed all the same when readers are in the way.
void Refresh::take_locks() {
    const TimestampTz start = GetCurrentTimestamp();
    if (step_.if_unread) {
        const auto failure = pg::in_subtransaction(
            [&] { (void)pg::lock_relations(locks_of(planned_, step_), budget_us_ / 2); });
        if (failure && !failure->is(base::errc::lock_not_available))
            pg::raise(*failure);
        if (failure) {
            step_.concurrently = true;
            applied_.message = "concurrently, because readers were in the way";
        }
    }
    const std::int64_t waited_us = GetCurrentTimestamp() - start;
    (void)pg::lock_relations(locks_of(planned_, step_), budget_us_ - waited_us);
    applied_.lock_wait_us = GetCurrentTimestamp() - start;
}

/// Why the refresh is not to be made any more; empty: it is. The locks are had.
std::string Refresh::not_needed(const InspectedView& now) const {
    if (now.settings != found_.settings)
        return "the policy was changed meanwhile";
    const bool is_known = now.view.opaque.empty() && now.view.unwatched.empty() &&
                          now.view.is_populated && now.view.as_of;
    if (step_.depends && is_known && now.view.change.empty())
        return "not a row of what it reads has changed";
    if (now.view.refreshed_at != found_.view.refreshed_at && now.view.change.empty())
        return "another run has refreshed it meanwhile";
    return {};
}

/// What this process has written to temporary tables and files up to now.
std::int64_t temporary_bytes() {
    return (pgBufferUsage.local_blks_written + pgBufferUsage.temp_blks_written) * BLCKSZ;
}

constexpr const char* undefined_function = "42883";

/// Names in bodies that the server has not parsed are looked for when the query runs, which is not
/// where whoever wrote them looks.
void hint_at_path(pg::Failure& failure) {
    if (failure.is(base::errc::undefined_table) || failure.is(base::errc::undefined_object) ||
        failure.is(undefined_function))
        failure.hint = "The query runs with a search_path of pg_catalog alone. Let a function in "
                       "it say where its names are: ALTER FUNCTION ... SET search_path = ...;";
}

/// As the owner's session would do it, in the policy's time zone; REFRESH restricts the query. The
/// view may have been renamed before it was locked.
void Refresh::execute(const InspectedView& now) {
    pg::GucLevel guc;
    guc.set("TimeZone", found_.settings.time_zone.c_str());
    guc.set("row_security", "on");
    guc.set("extra_float_digits", "1");
    guc.set("bytea_output", "hex");
    const capture::OwnRefresh own(found_.view.relid);
    const std::int64_t before = temporary_bytes();
    if (auto failure =
            pg::in_subtransaction([&] { pg::run_statements({refresh_sql(now, step_)}); })) {
        hint_at_path(*failure);
        pg::raise(*failure);
    }
    temporary_bytes_ = temporary_bytes() - before;
}

/// Rows of the view that this transaction has written or removed so far, as far as they are
/// counted, and the view's size.
void Refresh::measure(std::int64_t& rows, std::int64_t& bytes) const {
    pg::Spi spi;
    spi.run("SELECT pg_catalog.pg_stat_get_xact_tuples_inserted($1) OPERATOR(pg_catalog.+) "
            "pg_catalog.pg_stat_get_xact_tuples_deleted($1), pg_catalog.pg_table_size($1)",
            found_.view.relid);
    rows = spi.row(0).bigint(1);
    bytes = spi.row(0).bigint(2);
}

void Refresh::record(const InspectedView& now, Instant began, TimestampTz start) {
    catalog::RefreshRecord record;
    record.as_of = std::min(step_.as_of.value_or(began), began);
    record.refreshed_at = began;
    record.duration_us = GetCurrentTimestamp() - start;
    record.definition = now.definition;
    record.counters = now.counters;
    record.parents = now.reads.matviews;
    record.temporary_bytes = temporary_bytes_;
    record.is_provable = now.view.opaque.empty();
    catalog::record_refresh(found_.job, record, found_.view.policy.max_staleness_us,
                            catalog::settings::clock());
}

Applied Refresh::apply() {
    const bool is_target = step_.view == planned_.set.target;
    const std::optional<pg::SessionLock> lock =
        is_target ? std::optional<pg::SessionLock>() : catalog::lock_job(found_.job);
    if (!is_target && !lock) {
        applied_.outcome = Applied::Outcome::later;
        applied_.message = "another run refreshes " + found_.view.quoted;
        return applied_;
    }
    const Instant began = catalog::settings::now();
    const TimestampTz start = GetCurrentTimestamp();
    take_locks();
    pg::GucLevel guc;
    pg::set_lock_timeout(guc, budget_us_);
    catalog::lock_marks(found_.job);
    const catalog::Job job = catalog::get_job(found_.job);
    const InspectedSet now = Inspector().read(job);
    if (std::string why = not_needed(now.details[now.target]); !why.empty())
        return skipped(std::move(why));
    // Views that it reads may have been replaced before they were locked.
    applied_.lock_wait_us += pg::lock_relations(locks_on_parents(now.details[now.target]),
                                                budget_us_ - applied_.lock_wait_us);
    if (!ORCHESTRY_WRONG_ORDER()) {
        catalog::consume(found_.job, catalog::all_time);
        ORCHESTRY_FAULT_POINT("between marks and rows");
    }
    std::int64_t rows_before = 0;
    measure(rows_before, applied_.bytes);
    execute(now.details[now.target]);
    measure(applied_.rows, applied_.bytes);
    applied_.rows -= rows_before;
    if (ORCHESTRY_WRONG_ORDER()) { // in tests, which see that it is wrong
        ORCHESTRY_FAULT_POINT("between marks and rows");
        catalog::consume(found_.job, catalog::all_time);
    }
    ORCHESTRY_FAULT_POINT("view refreshed");
    record(now.details[now.target], began, start);
    if (!is_target && job.schedule.empty()) // its own job has nothing to do for a while
        catalog::set_next_run(job.id, next_due(job, began));
    return applied_;
}

} // namespace

Applied apply(const Planned& planned, const Step& step, std::int64_t lock_budget_us) {
    if (step.action == Action::watch)
        return watch(planned, step, lock_budget_us);
    if (step.view == planned.set.target)
        return Refresh(planned, step, lock_budget_us).apply();
    Applied applied;
    if (auto failure = pg::in_subtransaction(
            [&] { applied = Refresh(planned, step, lock_budget_us).apply(); })) {
        failure->message = "upstream_failed: " + view_of(planned, step).view.quoted +
                           " could not be refreshed: " + failure->message;
        pg::raise(*failure);
    }
    return applied;
}

Instant next_due(const catalog::Job& job, Instant now) {
    const catalog::RefreshTiming timing = catalog::refresh_timing(job.id);
    return due_at(check(load_settings(job.id)).max_staleness_us, timing.as_of, timing.longest_us,
                  now);
}

} // namespace orchestry::matview
