// What the scheduler knows of a capability. A task is one kind of job: it plans steps and applies
// them one by one. `plan` and `run` are the same code: plan() shows what run applies.
#pragma once

#include <functional>

#include "catalog/job.hpp"
#include "pg/lock.hpp"
#include "pg/xact.hpp"

namespace orchestry::jobs {

/// What one applied step did.
struct StepResult {
    enum class State {
        done,
        more,    // a batch is done, and there may be another: apply the step again
        later,   // nothing was done, and why is in `message`: apply the step again after a pause
        skipped, // the precondition did not hold any more after the lock
    };
    State state = State::done;
    std::int64_t rows = 0; // of a step in batches: of this batch; likewise below
    std::int64_t bytes = 0;
    std::int64_t lock_wait_us = 0;
    std::string message; // why it was skipped or has to wait, or what is worth knowing
};

/// The result of a step that was either done or skipped, from what a capability says of it: `done`,
/// `rows`, `lock_wait_us` and `message`.
template <typename Applied>
StepResult result_of(const Applied& applied) {
    StepResult result;
    if (!applied.done)
        result.state = StepResult::State::skipped;
    result.rows = applied.rows;
    result.lock_wait_us = applied.lock_wait_us;
    result.message = applied.message;
    return result;
}

/// One unit of a run, committed alone, or in batches of which each is committed alone and which
/// share one record. Everything but the last members is what orchestry.plan() prints.
struct Step {
    std::string action; // a verb of the capability: 'create', 'analyze', ...
    std::string object; // the quoted name of what it acts on
    std::string reason; // plain words
    std::string sql;    // what is executed
    std::string locks;  // "ShareUpdateExclusiveLock on public.events"
    std::optional<std::int64_t> rows_estimate;
    std::optional<std::int64_t> bytes;
    bool destructive = false;
    std::string
        blocked_by; // not empty: the step is not executed, and this says why and what mends it
    bool informative = false; // only shown: something understood and left alone
    bool in_batches = false;  // applied again until it has no more to do; counts rows on the way
    /// It runs no code of users but by a statement of the server that restricts itself, and refuses
    /// to be restricted by others.
    bool restricts_itself = false;

    /// For describing who was in the way when the budget ran out.
    std::vector<pg::LockRequest> lock_requests;
    /// Applies the step in the current transaction: lock within `lock_budget_us`, check the
    /// precondition again, act. Runs as the table's owner. Empty for steps that are not executed or
    /// that run at top level only.
    std::function<StepResult(std::int64_t lock_budget_us)> apply;
    /// Of a step that may fail because of the rows that it is about: the smaller steps that are
    /// applied in its place then; none: it cannot be divided. Those after it are applied all the
    /// same, and the run fails when all have been tried.
    std::function<std::vector<Step>()> parts;
    /// Adds to such a failure what the user has to know.
    std::function<void(pg::Failure&)> explain;
    /// `apply` by a statement that refuses a transaction block (VACUUM, ... CONCURRENTLY). A
    /// worker that is connected as the table's owner prefers it; every other host applies the step,
    /// if it can be applied.
    struct TopLevel {
        std::string sql;
        /// Committed before the statement: checks, as `apply` does, and leaves behind what makes
        /// sense of a crash.
        std::function<StepResult(std::int64_t lock_budget_us)> prepare;
        /// Committed after the statement, together with the step's record.
        std::function<void()> complete;
        /// What is left to do after that, as `apply`; empty: nothing.
        std::function<StepResult(std::int64_t lock_budget_us)> afterwards;
    };
    std::optional<TopLevel> top_level;
};

class Task {
  public:
    virtual ~Task() = default;
    /// The value of orchestry.job.kind.
    virtual const char* kind() const noexcept = 0;
    /// Called when a run begins, before it plans.
    virtual void begin(const catalog::Job& job, base::Instant now) const {
        (void)job;
        (void)now;
    }
    /// The steps a run would take at `now`, in order. Reads catalogs only; takes no strong lock.
    virtual std::vector<Step> plan(const catalog::Job& job, base::Instant now) const = 0;
    /// Which of `jobs` certainly have nothing to do at `now`, decided for all of them at once and
    /// cheaply. Must never name a job that has something to do.
    virtual std::vector<catalog::JobId> settled(const std::vector<catalog::Job>& jobs,
                                                base::Instant now) const = 0;
    /// Whether a look that finds nothing to do is only remembered (catalog/look.hpp) and not
    /// recorded: for jobs that are looked at much more often than they have something to do.
    virtual bool remembers_looks() const noexcept { return false; }
    /// Called in the transaction of a run that planned nothing or did all it planned, so that
    /// settled() can know it later (catalog::store_settlement). `job` is as loaded at the run's
    /// start.
    virtual void settle(const catalog::Job& job, base::Instant now) const = 0;
    /// When a job without a schedule is due next, after it was looked at `now`; nullopt: jobs of
    /// this kind have schedules.
    virtual std::optional<base::Instant> due(const catalog::Job& job, base::Instant now) const {
        (void)job;
        (void)now;
        return std::nullopt;
    }
    /// Tables whose jobs of this kind go before this one in a round of several; its own stands for
    /// the other jobs of that.
    virtual std::vector<Oid> goes_after(const catalog::Job& job) const {
        (void)job;
        return {};
    }
    /// Called when a run of the job was cancelled, in the transaction in which that is recorded.
    virtual void cancelled(const catalog::Job& job) const { (void)job; }
    /// Checks a settings patch (alter_policy) and writes the policy. Raises 22023 for keys it does
    /// not know. `settings` is the jsonb patch as text, without the keys that every job has
    /// (schedule, max_runtime, ...).
    virtual void alter(const catalog::Job& job, const std::string& settings) const = 0;
    /// Removes the job with its policy, and what that has put on users' tables.
    virtual void remove(const catalog::Job& job) const { catalog::remove_job(job.id); }
};

/// Tasks are registered by module.cpp at load time, before anything can run.
void register_task(const Task& task);
/// Raises 22023 for an unknown kind.
const Task& task_of(const std::string& kind);

} // namespace orchestry::jobs
