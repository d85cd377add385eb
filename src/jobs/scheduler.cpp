// The scheduler: one per database. Connected as the bootstrap superuser it touches only our own
// tables and the system catalogs; whatever runs an owner's code runs in a worker.
#include <algorithm>
#include <limits>
#include <map>

#include "capture/capture.hpp"
#include "catalog/settings.hpp"
#include "jobs/background.hpp"
#include "jobs/processes.hpp"
#include "jobs/runner.hpp"
#include "pg/entry.hpp"
#include "pg/fault.hpp"

namespace orchestry::jobs {

namespace settings = catalog::settings;

namespace {

/// How often the scheduler looks whether somebody waits to drop or copy its database. The server
/// gives others five seconds to get out of the way.
constexpr std::int64_t ddl_check_us = base::us_per_second;
constexpr std::int64_t trim_interval_us = 10 * base::us_per_minute;
constexpr std::int64_t complaint_interval_us = 5 * base::us_per_minute;
/// After max_runtime a run is cancelled by its own timer; what does not heed that is ended.
constexpr std::int64_t terminate_grace_us = 10 * base::us_per_second;

constexpr int max_fruitless_starts = 3;
/// While runs wait for a worker slot, the scheduler looks this often whether one is free.
constexpr std::int64_t slot_check_us = 2 * base::us_per_second;
/// The scheduler queues behind nobody: a row that a user's open transaction has locked waits for
/// the next tick. Less than deadlock_timeout, so that DROP EXTENSION wins.
constexpr const char* own_lock_timeout = "500ms";

/// Whether the extension's tables are there and fit this library.
enum class Extension { absent, other_version, ready };

class Scheduler {
  public:
    void run();

  private:
    bool tick();
    Extension look_for_extension();
    /// Does one chore apart from the others: what goes wrong in it is logged and stops nothing
    /// else.
    template <typename F>
    void attempt(F&& chore) {
        if (const auto failure = pg::in_subtransaction(std::forward<F>(chore)))
            complain(*failure);
    }
    void complain(const pg::Failure& failure);
    void queue_due_jobs();
    void collect_workers(const std::vector<catalog::OwnerQueue>& queues);
    void start_workers();
    void end_overdue_runs();
    std::int64_t sleep_time() const;

    pg::WorkerSession session_;
    /// A worker that was started, for whom, and the oldest run that waited for it then.
    struct Started {
        BackgroundWorkerHandle* handle;
        Oid owner;
        std::int64_t oldest_run;
    };
    std::vector<Started> workers_;
    std::map<Oid, int>
        fruitless_starts_; // in a row: workers that ended without taking the oldest run
    /// At the start nobody knows what the clock did: as if it had gone back.
    base::Instant previous_now_{std::numeric_limits<std::int64_t>::max()};
    std::optional<base::Instant> next_due_;
    TimestampTz trimmed_at_ = 0;
    bool version_reported_ = false;
    bool slots_lacking_ = false;
    bool troubled_ =
        false; // something went wrong in this tick: the next one comes after naptime, not at once
    std::string last_complaint_;
    RateLimit same_complaint_{complaint_interval_us};
    RateLimit slots_complaint_{complaint_interval_us};
};

Extension Scheduler::look_for_extension() {
    if (!catalog::lock_extension())
        return Extension::absent;
    pg::Spi spi;
    spi.run("SELECT e.extversion FROM pg_catalog.pg_extension e WHERE e.extname "
            "OPERATOR(pg_catalog.=) 'orchestry_ext'");
    if (spi.rows() == 0)
        return Extension::absent;
    const std::string version = spi.row(0).text(1);
    if (version == ORCHESTRY_VERSION)
        return Extension::ready;
    if (!version_reported_)
        log(WARNING,
            "orchestry scheduler is idle: the extension is at version " + version +
                " and the library at " ORCHESTRY_VERSION,
            {},
            "Run ALTER EXTENSION orchestry_ext UPDATE; or restart the server with the matching "
            "library.");
    version_reported_ = true;
    return Extension::other_version;
}

/// The same complaint is logged at intervals only.
void Scheduler::complain(const pg::Failure& failure) {
    troubled_ = true;
    const bool due = same_complaint_.pass(GetCurrentTimestamp());
    if (!due && failure.message == last_complaint_)
        return;
    last_complaint_ = failure.message;
    log(WARNING, "orchestry scheduler: " + failure.message, failure.detail, failure.hint);
}

/// What is due at a later time than its schedule says, because the clock was ahead when that was
/// written, is due as it says. What has failed keeps its pause: a run that brings the server down
/// must not do so again each time that we are started.
void pull_in_schedules(base::Instant now) {
    for (const catalog::Job& job :
         catalog::select_jobs_where("s.next_run_at OPERATOR(pg_catalog.>) $3", pg::param(now))) {
        base::Instant slot = now; // and so where none can be told: the job's run says what is wrong
        if (job.failures > 0)
            slot = next_run_after(job, job.failures, now);
        else if (!job.schedule.empty())
            (void)pg::in_subtransaction([&] { slot = catalog::next_slot(job, now); });
        if (slot < *job.next_run_at)
            catalog::set_next_run(job.id, slot);
    }
}

/// Queues a run for every job that is due, but for those that certainly have nothing to do.
void Scheduler::queue_due_jobs() {
    const base::Instant now = settings::now();
    if (now < previous_now_) // the clock went back: what was far ahead must not stay there
        attempt([&] {        // if this fails, the next tick tries again, and what is due is queued
            pull_in_schedules(now);
            previous_now_ = now;
        });
    else
        previous_now_ = now;
    std::vector<catalog::Job> due = catalog::due_jobs(now);
    std::vector<catalog::Job> unsettled = due;
    attempt([&] { settle_quietly(unsettled, now); });
    if (!troubled_)
        due = std::move(unsettled);
    for (const catalog::Job& job : due)
        attempt([&] {
            catalog::set_next_run(job.id, next_run_after(job, 0, now));
            ORCHESTRY_FAULT_POINT("slot taken");
            (void)catalog::queue_run(job, job.failures > 0 ? catalog::Trigger::retry
                                                           : catalog::Trigger::schedule);
        });
    next_due_ = catalog::next_due();
}

/// Forgets workers that have ended. One that did not even take the oldest run could not connect;
/// after some such starts its owner's runs fail, instead of filling the server's log for ever.
void Scheduler::collect_workers(const std::vector<catalog::OwnerQueue>& queues) {
    std::map<Oid, bool> fruitless;
    std::erase_if(workers_, [&](const Started& worker) {
        pid_t pid = 0;
        if (pg::protect([&] { return GetBackgroundWorkerPid(worker.handle, &pid); }) !=
            BGWH_STOPPED)
            return false;
        pfree(worker.handle);
        fruitless[worker.owner] = std::any_of(queues.begin(), queues.end(), [&](const auto& queue) {
            return queue.owner == worker.owner && queue.oldest_run == worker.oldest_run;
        });
        return true;
    });
    const bool no_seat =
        count_workers() >= settings::max_workers; // started by others: not the owner's fault
    for (const auto& [owner, in_vain] : fruitless) {
        if (!in_vain) {
            fruitless_starts_.erase(owner);
        } else if (!no_seat && ++fruitless_starts_[owner] >= max_fruitless_starts) {
            fruitless_starts_.erase(owner);
            catalog::fail_queued(owner, "no background worker could connect as the table's owner");
        }
    }
}

void Scheduler::start_workers() {
    slots_lacking_ = false;
    collect_workers(catalog::queued_owners());
    int running = std::max(count_workers(), static_cast<int>(workers_.size()));
    for (const catalog::OwnerQueue& queue : catalog::queued_owners()) {
        for (std::int64_t i = queue.workers; i < queue.runs && running < settings::max_workers;
             ++i) {
            const WorkerOrder order{.database = MyDatabaseId,
                                    .owner = queue.owner,
                                    .owner_can_login = can_connect(queue.owner)};
            BackgroundWorkerHandle* handle = nullptr;
            if (!start_worker(order, MyProcPid, &handle)) {
                slots_lacking_ = true;
                catalog::mark_waiting("no background worker slot is free");
                if (slots_complaint_.pass(GetCurrentTimestamp()))
                    log(WARNING, "orchestry runs are waiting: no background worker slot is free",
                        {}, "Raise max_worker_processes, or lower orchestry.max_workers.");
                return;
            }
            workers_.push_back({handle, queue.owner, queue.oldest_run});
            ORCHESTRY_FAULT_POINT("worker started");
            ++running;
        }
    }
}

/// The second line behind the run's own timer.
void Scheduler::end_overdue_runs() {
    for (const int pid : catalog::overdue_workers(terminate_grace_us)) {
        log(WARNING,
            "orchestry worker " + std::to_string(pid) + " is terminated: its run is overdue");
        kill(pid, SIGTERM);
    }
}

/// False: this database is not ours to serve.
bool Scheduler::tick() {
    session_.ensure_snapshot();
    switch (look_for_extension()) {
    case Extension::absent:
        return false;
    case Extension::other_version:
        return true;
    case Extension::ready:
        break;
    }
    if (!catalog::scheduler_wanted())
        return false;
    attempt([] {
        capture::retire_dropped();
        catalog::reconcile_targets();
    });
    attempt([] { reconcile_runs(); });
    attempt([this] { queue_due_jobs(); });
    attempt([this] { end_overdue_runs(); });
    ORCHESTRY_FAULT_POINT("chores done");
    session_.commit();
    session_.ensure_snapshot();
    attempt([this] { start_workers(); });
    const TimestampTz now = GetCurrentTimestamp();
    if (now - trimmed_at_ > trim_interval_us || now < trimmed_at_) {
        attempt([] { catalog::trim_history(); });
        trimmed_at_ = now;
    }
    return true;
}

std::int64_t Scheduler::sleep_time() const {
    std::int64_t pause = std::int64_t{settings::naptime_s} * base::us_per_second;
    if (slots_lacking_)
        pause = std::min(pause, slot_check_us);
    if (next_due_ && !troubled_)
        pause = std::clamp<std::int64_t>(next_due_->us - settings::now().us, 0, pause);
    return pause;
}

void Scheduler::run() {
    for (;;) {
        serve_reload();
        pg::check_interrupts();
        next_due_.reset();
        troubled_ = false;
        if (settings::enabled) {
            try {
                if (!tick())
                    return;
                session_.commit();
            } catch (...) {
                // DROP EXTENSION may win a race against us; whatever it was, the next tick starts
                // afresh.
                const pg::Failure failure = pg::describe_current_exception();
                session_.restart();
                complain(failure);
            }
        }
        session_.commit();
        std::int64_t left = sleep_time();
        pg::protect([] { pgstat_report_activity(STATE_IDLE, nullptr); });
        session_.suspend(); // nothing is open while it sleeps: no snapshot, no transaction
        do {
            const std::int64_t pause = std::min(left, ddl_check_us);
            const TimestampTz start = GetCurrentTimestamp();
            pg::wait(std::max<std::int64_t>(pause, 10'000), pg::WaitFor::work);
            const bool woken = GetCurrentTimestamp() - start < pause;
            session_.resume();
            const bool wanted = database_is_wanted_by_ddl(MyDatabaseId);
            session_.suspend();
            if (wanted)
                return;
            left = woken || ConfigReloadPending ? 0 : left - pause;
        } while (left > 0);
        session_.resume();
        pg::protect([] { pgstat_report_activity(STATE_RUNNING, "orchestry scheduler"); });
    }
}

} // namespace

ORCHESTRY_WORKER(orchestry_scheduler_main) {
    pqsignal(SIGINT, SIG_IGN); // nothing here is a query to cancel
    start_process();
    const Oid database = DatumGetObjectId(arg);
    pg::protect([&] { BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0); });
    pg::protect([] {
        SetConfigOption("application_name", "orchestry scheduler", PGC_USERSET, PGC_S_SESSION);
        SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION);
        free_from_defaults();
        SetConfigOption("lock_timeout", own_lock_timeout, PGC_USERSET, PGC_S_SESSION);
    });
    const std::optional<pg::SessionLock> only_one = lock_process(ProcessLock::scheduler, database);
    if (!only_one)
        return;
    Scheduler scheduler;
    scheduler.run();
}

} // namespace orchestry::jobs
