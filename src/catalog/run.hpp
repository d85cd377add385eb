// Typed access to orchestry.run and orchestry.run_step: the queue of runs and their history.
#pragma once

#include "catalog/job.hpp"
#include "pg/error.hpp"

namespace orchestry::catalog {

struct RunId {
    std::int64_t value = 0;
    auto operator<=>(const RunId&) const = default;
};

enum class RunState { queued, waiting, running, ok, noop, skipped, failed, timeout, crashed };
const char* to_string(RunState state);

enum class Trigger { schedule, retry, manual };

/// What a worker finds in the queue.
struct QueuedRun {
    RunId id;
    std::optional<JobId> job;
    std::string statement; // of a run without a job
};

/// How a run ended.
struct RunResult {
    RunState state = RunState::ok;
    int steps = 0;
    std::int64_t rows = 0;
    std::int64_t bytes = 0;
    pg::Failure failure; // empty sqlstate: none; message may be a remark all the same
};

/// How one step ended.
struct StepRecord {
    int seq = 0;
    std::string action, object, reason, sql;
    const char* state = "ok"; // ok, skipped, failed, blocked
    base::Instant started_at{0};
    int attempts = 1;
    std::int64_t lock_wait_us = 0;
    std::int64_t rows = 0;
    std::int64_t bytes = 0;
    std::string sqlstate, message;
};

/// Records that this process begins a run of the job.
RunId begin_run(const Job& job, Trigger trigger);
/// Puts a run of the job into the queue; workers connected as its owner take it from there.
RunId queue_run(const Job& job, Trigger trigger);
/// Queues one statement, to be run as the current user.
RunId queue_statement(const std::string& sql);
/// Takes the oldest run queued for `owner`, or `only` when given, and marks it running in this
/// process. Runs that another process is taking at the moment are passed over.
std::optional<QueuedRun> claim_run(Oid owner, std::optional<RunId> only = std::nullopt);
/// As claim_run, but only runs of jobs: statements need a worker.
std::optional<QueuedRun> claim_job_run(Oid owner);
/// Writes the end of a run that this process runs. A no-op, or a failure that says the same as the
/// job's previous one, takes the previous row's place and counts on.
void finish_run(RunId id, const RunResult& result);
/// Writes the row of a step, or over it what has become of the step since.
void record_step(RunId id, const StepRecord& step);
/// Records in one go that the jobs were looked at and had nothing to do, and when they are due
/// again.
void record_noops(const std::vector<Job>& jobs, const std::vector<base::Instant>& next_run_at);
/// Records that the job was not run, and why.
void record_skipped(const Job& job, Trigger trigger, const std::string& reason);
/// Writes the job's state after a run. `job`: as loaded when the run began. Where somebody has made
/// the job due at another time since, it is due at the earlier one. `run`: nullopt when it could
/// not be recorded.
void update_job_state(const Job& job, std::optional<RunId> run, RunState state, int failures,
                      base::Instant next_run_at);
void set_next_run(JobId id, base::Instant next_run_at);

/// The jobs that are due: not paused, not restored, not queued or running already.
std::vector<Job> due_jobs(base::Instant now);
/// When the next job is due; nullopt: never.
std::optional<base::Instant> next_due();

/// One owner's part of the queue.
struct OwnerQueue {
    Oid owner = InvalidOid;
    std::int64_t runs = 0;    // queued or waiting
    std::int64_t workers = 0; // of that owner, in this database, without a run at the moment
    std::int64_t oldest_run = 0;
};
std::vector<OwnerQueue> queued_owners();
/// Turns what is queued, or only that run, into `waiting`, with the reason. Rows that others have
/// locked stay as they are.
void mark_waiting(const std::string& reason, std::optional<RunId> only = std::nullopt);
/// Fails whatever is queued for the owner; its jobs are tried again later.
void fail_queued(Oid owner, const std::string& reason);
/// Pids of workers whose run should have ended `grace_us` ago.
std::vector<int> overdue_workers(std::int64_t grace_us);

/// Whether this database wants its scheduler (stop_scheduler() and start_scheduler() say so).
bool scheduler_wanted();
void want_scheduler(bool wanted);

/// Marks runs whose process is gone as crashed, each once. Returns their jobs.
std::vector<JobId> mark_crashed_runs();
/// The jobs whose table was dropped, until reconcile_targets() removes them.
std::vector<JobId> jobs_of_dropped_targets();
/// Removes jobs whose table was dropped, unless they still have triggers on others, and follows
/// renames. Returns how many were removed.
std::int64_t reconcile_targets();
/// Deletes finished runs older than orchestry.history_keep or beyond orchestry.history_keep_runs of
/// their job.
std::int64_t trim_history();

} // namespace orchestry::catalog
