#include "jobs/runner.hpp"

#include <algorithm>

#include "base/backoff.hpp"
#include "catalog/look.hpp"
#include "catalog/settings.hpp"
#include "jobs/run_timer.hpp"
#include "pg/fault.hpp"
#include "pg/progress.hpp"
#include "pg/zone.hpp"

namespace orchestry::jobs {

using catalog::Job;
using catalog::JobId;
using catalog::RunId;
using catalog::RunState;
using catalog::Trigger;
namespace settings = catalog::settings;

namespace {

constexpr const char* deadlock_detected = "40P01";
constexpr const char* disk_full = "53100";
constexpr const char* out_of_memory = "53200";

/// Retries of a failed run: soon at first, then further and further apart.
constexpr std::int64_t retry_base_us = 5 * base::us_per_second;
constexpr std::int64_t retry_cap_us = 5 * base::us_per_minute;
/// Pauses between the attempts of one step to get its locks.
constexpr std::int64_t lock_pause_base_us = base::us_per_second / 10;
constexpr std::int64_t lock_pause_cap_us = 2 * base::us_per_second;

/// Steps that may fail one by one: after these nothing seems to be right.
constexpr int most_failed_steps = 100;

/// The surroundings of a step, the same for everybody: the table's owner, and no setting of the
/// session that would change what a statement means.
class StepScope {
  public:
    explicit StepScope(Oid owner, pg::Restriction others = pg::Restriction::restricted)
        : context_(owner, GetSessionUserId() == owner ? pg::Restriction::none : others) {
        pg::GucLevel& guc = context_.guc();
        pg::fix_formats(guc);
        guc.set("default_tablespace", "");
        guc.set("row_security", "off");
        guc.set("client_min_messages", "warning");
    }

  private:
    pg::SecureContext context_;
};

/// While a statement runs at top level, whoever waits for a lock waits: half of a DETACH
/// CONCURRENTLY is worse than a long wait, which can be cancelled.
class NoLockTimeout {
  public:
    NoLockTimeout() : previous_(GetConfigOption("lock_timeout", false, false)) { set("0"); }
    ~NoLockTimeout() { set(previous_.c_str()); }
    NoLockTimeout(const NoLockTimeout&) = delete;
    NoLockTimeout& operator=(const NoLockTimeout&) = delete;

  private:
    static void set(const char* value) {
        (void)set_config_option("lock_timeout", value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SET,
                                true, LOG, false);
    }
    std::string previous_;
};

/// One run, from its row's birth to its end.
class Run {
  public:
    /// `id`: nullopt when the disk has no room for a row in the history.
    Run(pg::Session& session, Job job, std::optional<RunId> id)
        : session_(session), job_(std::move(job)), id_(id.value_or(RunId{})),
          has_history_(id.has_value()), timer_(job_.max_runtime_us) {
        progress_.run_id = id_.value;
        progress_.job_id = job_.id.value;
        publish();
    }
    ~Run() { pg::clear_progress(); }
    Run(const Run&) = delete;
    Run& operator=(const Run&) = delete;

    /// Plans and applies. Leaves a transaction open in which the end is recorded; what the steps
    /// did is durable.
    catalog::RunResult execute();

  private:
    /// What a transaction holds: all of a step, or what comes before its statement at top level, or
    /// after it.
    enum class Part { whole, preparation, afterwards };

    pg::WorkerSession* top_level_host() const;
    std::optional<pg::Failure> apply(const Step& step, catalog::StepRecord& record, Part part);
    std::optional<pg::Failure> apply_at_top_level(pg::WorkerSession& host, const Step& step,
                                                  catalog::StepRecord& record);
    std::optional<pg::Failure> step_aside(int attempt);
    std::optional<pg::Failure> divide(std::vector<Step>& steps, std::size_t index,
                                      const pg::Failure& failed) const;
    void record_step(const catalog::StepRecord& record);
    bool write(const catalog::StepRecord& record);
    void count(const catalog::StepRecord& record, const StepResult& applied);
    void fail(const pg::Failure& failure);
    void publish() { pg::publish_progress(job_.target, progress_); }

    pg::Session& session_;
    Job job_;
    RunId id_;
    bool has_history_;
    RunTimer timer_;
    pg::Progress progress_;
    catalog::RunResult result_;
};

void Run::fail(const pg::Failure& failure) {
    result_.state = timer_.fired() ? RunState::timeout : RunState::failed;
    result_.failure = failure;
    if (timer_.fired())
        result_.failure.message = "the run took longer than the job's max_runtime";
}

/// Whether a failure is one of the rows at hand, so that others may do better.
bool is_of_rows(const pg::Failure& failure) {
    const std::string sql_class = failure.sqlstate.substr(0, 2);
    return sql_class == "22" || sql_class == "23" || sql_class == "54" || sql_class == "P0" ||
           failure.is(out_of_memory);
}

/// Puts the parts of a step that has failed in its place. nullopt: that is done. Else why the run
/// has to do without: the failure of the step, which has no parts, or another one meanwhile.
std::optional<pg::Failure> Run::divide(std::vector<Step>& steps, std::size_t index,
                                       const pg::Failure& failed) const {
    std::vector<Step> parts;
    if (const auto failure = pg::in_subtransaction([&] {
            const StepScope scope(job_.owner);
            parts = steps[index].parts();
        }))
        return failure;
    if (parts.empty())
        return failed;
    const auto at = steps.erase(steps.begin() + static_cast<std::ptrdiff_t>(index));
    steps.insert(at, std::make_move_iterator(parts.begin()), std::make_move_iterator(parts.end()));
    return std::nullopt;
}

catalog::RunResult Run::execute() {
    const base::Instant now = settings::now();
    std::vector<Step> steps;
    session_.ensure_snapshot();
    if (const auto failure = pg::in_subtransaction([&] {
            task_of(job_.kind).begin(job_, now);
            steps = plan_job(job_, now);
        })) {
        fail(*failure);
        return result_;
    }
    ORCHESTRY_FAULT_POINT("planned");
    std::erase_if(steps, [](const Step& step) { return step.informative; });
    progress_.phase = pg::Progress::Phase::step;
    for (const Step& step : steps)
        if (step.in_batches && step.blocked_by.empty())
            progress_.rows_total += step.rows_estimate.value_or(0);

    std::string blocked_by;
    std::optional<pg::Failure> first_failure; // of those after which it goes on
    int failed_steps = 0;
    for (std::size_t i = 0; i < steps.size(); ++i) {
        progress_.steps_total = static_cast<std::int64_t>(steps.size());
        progress_.steps_done = static_cast<std::int64_t>(i);
        // What planning has noted is durable as soon as a step is.
        session_.commit(i == 0 ? pg::Durability::eventual : pg::Durability::durable);
        session_.ensure_snapshot();
        ORCHESTRY_FAULT_POINT("step begins");
        const Step& step = steps[i];
        catalog::StepRecord record{.seq = static_cast<int>(i) + 1,
                                   .action = step.action,
                                   .object = step.object,
                                   .reason = step.reason,
                                   .sql = step.sql,
                                   .started_at = base::Instant{GetCurrentTimestamp()},
                                   .sqlstate = {},
                                   .message = {}};
        if (!step.blocked_by.empty()) {
            record.state = "blocked";
            record.message = step.blocked_by;
            if (!write(record))
                return result_;
            if (blocked_by.empty())
                blocked_by = step.blocked_by;
            continue;
        }
        pg::WorkerSession* const host = step.top_level ? top_level_host() : nullptr;
        auto failure =
            host ? apply_at_top_level(*host, step, record) : apply(step, record, Part::whole);
        if (failure) {
            if (step.parts && is_of_rows(*failure)) {
                failure = divide(steps, i, *failure);
                if (!failure) {
                    --i; // the first part is next
                    continue;
                }
            }
            const bool goes_on = step.parts && is_of_rows(*failure); // and is not cancelled
            if (goes_on && step.explain)
                step.explain(*failure);
            record.state = "failed";
            record.sqlstate = failure->sqlstate;
            record.message = failure->message;
            if (!failure->detail.empty())
                record.message += ": " + failure->detail;
            if (!write(record))
                return result_;
            if (!goes_on) {
                fail(*failure);
                return result_;
            }
            if (!first_failure)
                first_failure = failure;
            if (++failed_steps == most_failed_steps)
                break;
        }
    }
    // Nobody is to wait for the locks of the last step while its run's end is recorded, which may
    // wait for others and plans once more.
    if (!steps.empty()) {
        session_.commit(result_.steps > 0 ? pg::Durability::durable : pg::Durability::eventual);
        session_.ensure_snapshot();
    }
    if (first_failure) {
        fail(*first_failure);
        return result_;
    }
    if (!blocked_by.empty()) {
        fail({base::errc::not_prerequisite_state,
              blocked_by,
              {},
              "See SELECT action, object, blocked_by FROM orchestry.plan(" +
                  pg::quote_literal(job_.target_name) + ");",
              {}});
        return result_;
    }
    if (result_.steps == 0)
        result_.state = RunState::noop;
    if (const auto failure = pg::in_subtransaction([&] {
            const StepScope scope(job_.owner); // it plans once more
            task_of(job_.kind).settle(job_, now);
        }))
        fail(*failure);
    return result_;
}

/// A full disk must not keep us from removing what fills it: then the server's log has the record.
void Run::record_step(const catalog::StepRecord& record) {
    if (has_history_)
        catalog::record_step(id_, record);
    else
        pg::report(LOG, "the disk has no room for the history of job " +
                            std::to_string(job_.id.value) + ": " + record.action + " " +
                            record.object + ": " + record.state);
}

/// Writes a step's row apart from the step's own transaction. What goes wrong becomes the run's
/// failure.
bool Run::write(const catalog::StepRecord& record) {
    const auto failure = pg::in_subtransaction([&] { record_step(record); });
    if (failure)
        fail(*failure);
    return !failure;
}

void Run::count(const catalog::StepRecord& record, const StepResult& applied) {
    if (std::strcmp(record.state, "ok") != 0)
        return;
    if (applied.state != StepResult::State::more)
        ++result_.steps;
    result_.rows += applied.rows;
    result_.bytes += applied.bytes;
    progress_.rows_done += applied.rows;
}

/// Whether a failure is of the moment: others were in the way.
bool is_worth_another_try(const pg::Failure& failure) {
    return failure.is(base::errc::lock_not_available) || failure.is(deadlock_detected) ||
           failure.is(base::errc::serialization_failure); // a row moved to another partition
}

/// Tries the step, or its preparation, until it is done, fails, or has used up its attempts to get
/// its locks. A whole step, or a batch of it, and its record are one transaction.
std::optional<pg::Failure> Run::apply(const Step& step, catalog::StepRecord& record, Part part) {
    const auto& act = part == Part::whole         ? step.apply
                      : part == Part::preparation ? step.top_level->prepare
                                                  : step.top_level->afterwards;
    if (!act)
        return pg::Failure{
            base::errc::feature_not_supported,
            "the step needs a background worker that is connected as the table's owner",
            {},
            "Run SELECT orchestry.start_job(" + std::to_string(job_.id.value) +
                "); the owner needs LOGIN.",
            {}};
    std::string stepped_aside_for; // whom the first attempt that could tell found in the way
    int attempts = 0;              // of the batch at hand
    int pauses = 0;                // one after the other
    for (;;) {
        ++attempts;
        progress_.phase = pg::Progress::Phase::step;
        publish();
        const TimestampTz start = GetCurrentTimestamp();
        const std::int64_t rows_before = record.rows, bytes_before = record.bytes;
        StepResult applied;
        std::optional<pg::Failure> failure = pg::in_subtransaction([&] {
            {
                const StepScope scope(job_.owner, step.restricts_itself
                                                      ? pg::Restriction::none
                                                      : pg::Restriction::restricted);
                applied = act(settings::lock_budget_us());
                if (applied.state != StepResult::State::later)
                    pg::fire_deferred_triggers();
            }
            ORCHESTRY_FAULT_POINT("step applied");
            if (applied.state == StepResult::State::later)
                return;
            record.state = applied.state == StepResult::State::skipped ? "skipped" : "ok";
            record.lock_wait_us += applied.lock_wait_us;
            record.rows += applied.rows;
            record.bytes += applied.bytes;
            record.message = applied.message;
            if (applied.state == StepResult::State::done && !stepped_aside_for.empty())
                record.message += (record.message.empty() ? "" : "; ") +
                                  std::string("stepped aside before: ") + stepped_aside_for;
            if (part == Part::preparation && applied.state == StepResult::State::done)
                return;
            record_step(record);
            ORCHESTRY_FAULT_POINT("step recorded");
        });
        if (!failure && applied.state == StepResult::State::later) {
            if (const auto interrupted = step_aside(++pauses))
                return interrupted;
            attempts = 0;
            continue;
        }
        if (!failure) {
            ORCHESTRY_FAULT_POINT("step done");
            if (part != Part::preparation)
                count(record, applied);
            if (applied.state != StepResult::State::more)
                return std::nullopt;
            session_.commit();
            session_.ensure_snapshot();
            attempts = pauses = 0;
            continue;
        }
        record.rows = rows_before;
        record.bytes = bytes_before;
        if (failure->is(disk_full) && has_history_ && step.destructive) {
            has_history_ = false; // it may have been the record that had no room
            attempts = 0;
            continue;
        }
        if (!is_worth_another_try(*failure))
            return failure;
        ++record.attempts;
        record.lock_wait_us += GetCurrentTimestamp() - start;
        (void)pg::in_subtransaction([&] { // a message without names is better than none
            const catalog::Elevated elevated;
            failure->detail = pg::describe_blockers(step.lock_requests);
        });
        if (stepped_aside_for.empty())
            stepped_aside_for = failure->detail;
        if (attempts >= settings::lock_attempts) {
            --record.attempts; // there is no further one
            failure->hint = "The next run tries again. End what is in the way, or raise "
                            "orchestry.lock_timeout or orchestry.lock_attempts.";
            return failure;
        }
        if (const auto interrupted = step_aside(attempts))
            return interrupted;
    }
}

/// Waits for a while with nothing held: no lock, no snapshot. Returns the interrupt that ended the
/// wait, if any.
std::optional<pg::Failure> Run::step_aside(int attempt) {
    session_.commit();
    progress_.phase = pg::Progress::Phase::backoff;
    publish();
    const auto interrupted = pg::in_subtransaction([&] {
        pg::wait(base::backoff_us(attempt, lock_pause_base_us, lock_pause_cap_us,
                                  static_cast<std::uint64_t>(id_.value)),
                 pg::WaitFor::lock_retry);
    });
    session_.ensure_snapshot();
    return interrupted;
}

/// The session, if it can run a statement outside transaction blocks as the table's owner; else
/// nullptr.
pg::WorkerSession* Run::top_level_host() const {
    return GetUserId() == job_.owner ? dynamic_cast<pg::WorkerSession*>(&session_) : nullptr;
}

std::optional<pg::Failure> Run::apply_at_top_level(pg::WorkerSession& host, const Step& step,
                                                   catalog::StepRecord& record) {
    record.sql = step.top_level->sql;
    if (step.top_level->prepare) {
        const auto failure = apply(step, record, Part::preparation);
        if (failure || std::strcmp(record.state, "ok") != 0)
            return failure;
    }
    ORCHESTRY_FAULT_POINT("top level prepared");
    try {
        const NoLockTimeout unlimited;
        host.run_top_level(step.top_level->sql);
    } catch (...) {
        const pg::Failure failure = pg::describe_current_exception();
        session_.ensure_snapshot();
        return failure;
    }
    session_.ensure_snapshot();
    ORCHESTRY_FAULT_POINT("top level done");
    const auto failure = pg::in_subtransaction([&] {
        if (step.top_level->complete) {
            const StepScope scope(job_.owner);
            step.top_level->complete();
        }
        record_step(record);
    });
    if (failure)
        return failure;
    const bool is_done = !step.top_level->afterwards;
    count(record, {.state = is_done ? StepResult::State::done : StepResult::State::more,
                   .rows = record.rows,
                   .bytes = record.bytes,
                   .message = {}});
    if (is_done)
        return std::nullopt;
    session_.commit();
    session_.ensure_snapshot();
    return apply(step, record, Part::afterwards);
}

/// Why the job is not run at all, or nothing.
std::string refusal(const std::optional<Job>& job) {
    if (!job || !OidIsValid(job->owner))
        return "the job or its table does not exist any more";
    if (job->restored)
        return "the job was restored from another database and waits for orchestry.resume_all()";
    if (job->paused)
        return "the job is paused";
    return {};
}

} // namespace

base::Instant next_run_after(const Job& job, int failures, base::Instant now) {
    const base::Instant retry =
        base::plus(now, base::backoff_us(failures, retry_base_us, retry_cap_us,
                                         static_cast<std::uint64_t>(job.id.value)));
    if (failures > 0 && job.schedule.empty()) // what has failed is due all the time
        return retry;
    base::Instant slot = base::plus(now, retry_cap_us);
    // What fails here (a zone that this server does not know), the job's run says.
    if (job.schedule.empty()) {
        (void)pg::in_subtransaction([&] { slot = task_of(job.kind).due(job, now).value_or(slot); });
    } else {
        try { // no table is read for it, so that a thousand idle jobs need no subtransactions
            slot = catalog::next_slot(job, now);
        } catch (const base::Error&) {
        }
    }
    return failures > 0 ? std::min(slot, retry) : slot;
}

std::vector<Step> plan_job(const Job& job, base::Instant now) {
    const StepScope scope(job.owner);
    return task_of(job.kind).plan(job, now);
}

Outcome run_job(pg::Session& session, JobId id, Trigger trigger, std::optional<RunId> claimed) {
    session.ensure_snapshot();
    // Held before the run is seen as running: reconcile_runs() takes a running run without its lock
    // for crashed.
    const std::optional<pg::SessionLock> lock = catalog::lock_job(id);
    std::optional<Job> job = catalog::find_job(id);
    if (!claimed && trigger == Trigger::schedule && job && job->next_run_at > settings::now()) {
        session.commit(); // it was due when the caller looked, and somebody else has run it since
        return {RunState::skipped, {}, job->target_name};
    }
    std::string refused = refusal(job);
    if (refused.empty() && !lock)
        refused = "another run of the job is active";
    if (!refused.empty()) {
        catalog::RunResult result{.state = RunState::skipped, .failure = {}};
        result.failure.message = refused;
        if (claimed)
            catalog::finish_run(*claimed, result);
        else if (job && OidIsValid(job->owner))
            catalog::record_skipped(*job, trigger, refused);
        session.commit();
        return {RunState::skipped, result.failure, job ? job->target_name : ""};
    }

    std::optional<RunId> run_id = claimed;
    if (!run_id) {
        const auto failure =
            pg::in_subtransaction([&] { run_id = catalog::begin_run(*job, trigger); });
        if (failure && !failure->is(disk_full))
            pg::raise(*failure);
    }
    ORCHESTRY_FAULT_POINT("run begun");
    // One that brings the server down must not be found in the queue again when that is back.
    session.commit(claimed ? pg::Durability::durable : pg::Durability::eventual);
    ORCHESTRY_FAULT_POINT("begin committed");
    catalog::RunResult result;
    try {
        Run run(session, *job, run_id);
        result = run.execute();
    } catch (...) {
        // Only a commit raises here, and it leaves a fresh transaction; all else is in
        // subtransactions.
        result.state = RunState::failed;
        result.failure = pg::describe_current_exception();
    }
    const bool canceled =
        result.state == RunState::failed && result.failure.is(base::errc::query_canceled);
    {
        const HoldCancel recording;
        const base::Instant now = settings::now();
        session.ensure_snapshot();
        const bool good = result.state == RunState::ok || result.state == RunState::noop;
        const int failures = good ? 0 : job->failures + 1;
        const auto unrecorded = pg::in_subtransaction([&] {
            if (run_id)
                catalog::finish_run(*run_id, result);
            ORCHESTRY_FAULT_POINT("run finished");
            catalog::update_job_state(*job, run_id, result.state,
                                      failures, // whoever cancels wants no retry
                                      next_run_after(*job, canceled ? 0 : failures, now));
            if (canceled)
                task_of(job->kind).cancelled(*job);
            ORCHESTRY_FAULT_POINT("job state written");
        });
        if (unrecorded && !unrecorded->is(disk_full)) // then what was done stays done all the same
            pg::raise(*unrecorded);
        session.commit(pg::Durability::eventual);
    }
    if (canceled)
        pg::raise(result.failure);
    return {result.state, result.failure, job->target_name};
}

void reconcile_runs() {
    const base::Instant now = settings::now();
    for (const JobId id : catalog::mark_crashed_runs())
        if (const std::optional<Job> job = catalog::find_job(id)) {
            const base::Instant retry = next_run_after(*job, job->failures, now);
            catalog::set_next_run(id, std::min(job->next_run_at.value_or(retry), retry));
        }
}

namespace {

/// False: that the job had nothing to do has to be recorded. So has what ends a row of failures.
bool remember_look(const Job& job, base::Instant now) {
    const bool went_well = job.last_state == catalog::to_string(RunState::ok) ||
                           job.last_state == catalog::to_string(RunState::noop);
    return task_of(job.kind).remembers_looks() && went_well && job.next_run_at &&
           catalog::remember(job.id, {*job.next_run_at, now, next_run_after(job, 0, now)});
}

} // namespace

void settle_quietly(std::vector<Job>& jobs, base::Instant now) {
    std::vector<Job> settled;
    std::vector<base::Instant> next;
    std::vector<std::string> kinds;
    for (const Job& job : jobs)
        if (std::find(kinds.begin(), kinds.end(), job.kind) == kinds.end())
            kinds.push_back(job.kind);
    for (const std::string& kind : kinds) {
        std::vector<Job> of_kind;
        std::copy_if(jobs.begin(), jobs.end(), std::back_inserter(of_kind),
                     [&](const Job& job) { return job.kind == kind && !job.restored; });
        std::vector<JobId> ids;
        if (pg::in_subtransaction([&] { ids = task_of(kind).settled(of_kind, now); }))
            continue; // the run of each job will say what is wrong
        std::sort(ids.begin(), ids.end());
        const auto is_settled = [&](const Job& job) {
            return std::binary_search(ids.begin(), ids.end(), job.id);
        };
        std::copy_if(of_kind.begin(), of_kind.end(), std::back_inserter(settled), is_settled);
        std::erase_if(jobs, is_settled);
    }
    std::erase_if(settled, [&](const Job& job) { return remember_look(job, now); });
    for (const Job& job : settled)
        next.push_back(next_run_after(job, 0, now));
    catalog::record_noops(settled, next);
}

namespace {

/// Puts each job behind those of its kind that have to go first. Jobs that wait for each other in a
/// circle stay as they come.
void put_in_order(std::vector<Job>& jobs) {
    std::vector<Job> ordered;
    std::vector<bool> reached(jobs.size(), false);
    const std::function<void(std::size_t)> reach = [&](std::size_t i) {
        if (reached[i])
            return;
        reached[i] = true;
        std::vector<Oid> tables;
        (void)pg::in_subtransaction( // what is wrong, the run of the job will say
            [&] { tables = task_of(jobs[i].kind).goes_after(jobs[i]); });
        for (const Oid table : tables)
            for (std::size_t j = 0; j < jobs.size(); ++j)
                if (jobs[j].target == table && jobs[j].kind == jobs[i].kind)
                    reach(j);
        ordered.push_back(jobs[i]);
    };
    for (std::size_t i = 0; i < jobs.size(); ++i)
        reach(i);
    jobs = std::move(ordered);
}

} // namespace

std::vector<Outcome> run_jobs(pg::Session& session, std::vector<Job> jobs, Trigger trigger) {
    session.ensure_snapshot();
    if (trigger != Trigger::manual) // whoever asks for a run gets one, as plan() shows it
        settle_quietly(jobs, settings::now());
    if (jobs.size() > 1)
        put_in_order(jobs);
    session.commit(pg::Durability::eventual);
    std::vector<Outcome> outcomes;
    for (const Job& job : jobs) {
        pg::check_interrupts();
        outcomes.push_back(run_job(session, job.id, trigger));
    }
    return outcomes;
}

} // namespace orchestry::jobs
