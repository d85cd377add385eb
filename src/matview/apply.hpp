// The jobs of materialized views: what a run would do, and one step of it in the current
// transaction.
//
// As with rollups the order is what makes a skip right: the marks are consumed first, and the query
// is executed with a later snapshot. A writer's rows and its mark become visible together, so whose
// mark was consumed, whose rows are read; whose mark was not, leaves it for the next run.
#pragma once

#include "matview/inspect.hpp"
#include "pg/lock.hpp"

namespace orchestry::matview {

/// The steps of a job, and what they are based on.
struct Planned {
    InspectedSet set;
    std::vector<Step> steps;
};
/// Plans a job as of `now`.
Planned plan_job(const catalog::Job& job, base::Instant now);

/// What a step is locked with, in this order.
std::vector<pg::LockRequest> locks_of(const Planned& planned, const Step& step);
/// What a step executes, to be shown.
std::string describe_sql(const Planned& planned, const Step& step);

/// What applying a step did.
struct Applied {
    enum class Outcome {
        done,
        skipped, ///< why is in `message`
        later,   ///< another run has the view at the moment
    };
    Outcome outcome = Outcome::done;
    std::string message;
    std::int64_t rows = 0;  ///< that were written or removed
    std::int64_t bytes = 0; ///< of the view
    std::int64_t lock_wait_us = 0;
};

/// Applies a step in the current transaction, which is READ COMMITTED, as the current user, who
/// must have the rights of the view's owner, and who must not be in a security-restricted
/// operation: REFRESH puts itself into one. All locks are waited for within `lock_budget_us`
/// together: raises 55P03 after that. Failures of another view than that of the job say so.
Applied apply(const Planned& planned, const Step& step, std::int64_t lock_budget_us);

/// When a job without a schedule is due after it was looked at `now`.
base::Instant next_due(const catalog::Job& job, base::Instant now);

} // namespace orchestry::matview
