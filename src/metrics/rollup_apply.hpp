// The jobs of rollups: what a run would do, and one step of it in the current transaction.
//
// The order is what makes a rollup right: the marks are consumed first, and the rows are read by a
// later statement, with a later snapshot. A writer's rows and its mark become visible together, so
// whose mark was consumed, whose rows are read; whose mark was not, leaves it for the next run.
//
// A rollup with a parent reads the stored buckets of that, and what it is told by is a watch on
// their table: whoever writes one marks the rollups made of it in the same transaction. So the
// argument holds from level to level. What is right of the parent's buckets is told by the parent's
// marks.
#pragma once

#include "metrics/rollup_shape.hpp"
#include "pg/lock.hpp"

namespace orchestry::metrics {

/// What the steps of a plan are based on.
struct RollupBasis {
    catalog::JobId job;
    RollupSettings settings;
    RollupShape shape;
};

/// The steps of a job, and what they are based on.
struct PlannedRollup {
    RollupBasis basis;
    std::vector<RollupStep> steps;
};
/// Plans a job as of `now`, as the current user, who must own the source.
PlannedRollup plan_rollup(const catalog::Job& job, base::Instant now);

/// What a step is locked with, in this order.
std::vector<pg::LockRequest> locks_of(const RollupBasis& basis);
/// What a step executes, to be shown.
std::string describe_sql(const RollupBasis& basis, const RollupStep& step);

/// What applying a step did.
struct AppliedRollup {
    bool done = false;
    std::string message;   ///< when it was not done: what had changed since the plan
    std::int64_t rows = 0; ///< that were written or removed
    std::int64_t lock_wait_us = 0;
};

/// Applies a step in the current transaction, which is READ COMMITTED, as the current user, who
/// must be the owner. All locks are waited for within `lock_budget_us` together: raises 55P03 after
/// that.
AppliedRollup apply(const RollupBasis& basis, const RollupStep& step, std::int64_t lock_budget_us);

/// The parts that a step which has failed is to be applied in, so that what cannot be computed does
/// not keep the rest from being so; none: it is one bucket, or no refresh.
std::vector<RollupStep> parts_of(const RollupBasis& basis, const RollupStep& step);
/// Adds to the failure of a step which buckets it is about and how to mend that.
void explain(const RollupBasis& basis, const RollupStep& step, pg::Failure& failure);

} // namespace orchestry::metrics
