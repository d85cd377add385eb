// Executes runs. The same code serves CALL, the background workers and pg_cron.
#pragma once

#include "catalog/run.hpp"
#include "jobs/task.hpp"

namespace orchestry::jobs {

/// How one run went, for whoever asked for it.
struct Outcome {
    catalog::RunState state = catalog::RunState::ok;
    pg::Failure failure;
    std::string target_name;
};

/// The steps that a run of the job would take at `now`, planned in a run's own surroundings: as the
/// table's owner and with pinned settings, whoever asks.
std::vector<Step> plan_job(const catalog::Job& job, base::Instant now);

/// Runs one job now: takes its single-flight lock, plans, applies step by step, records. Commits
/// several times. Errors end up in the outcome and in the history; only a cancel request of the
/// session's user comes out as an exception, after it was recorded. `claimed`: the queued run that
/// this is.
Outcome run_job(pg::Session& session, catalog::JobId id, catalog::Trigger trigger,
                std::optional<catalog::RunId> claimed = std::nullopt);

/// Runs the jobs one after the other; one that fails does not stop the next. Unless somebody asked
/// for them, those that are settled are dealt with all at once.
std::vector<Outcome> run_jobs(pg::Session& session, std::vector<catalog::Job> jobs,
                              catalog::Trigger trigger);

/// Takes out of `jobs` those that certainly have nothing to do and records that.
void settle_quietly(std::vector<catalog::Job>& jobs, base::Instant now);

/// Finds runs whose process is gone, marks them as crashed and makes their jobs due again after a
/// pause: a run that brings the server down must not do so all the time.
void reconcile_runs();

/// When the job is due after a run that ended like this: its next slot, or earlier to retry after a
/// failure.
base::Instant next_run_after(const catalog::Job& job, int failures, base::Instant now);

} // namespace orchestry::jobs
