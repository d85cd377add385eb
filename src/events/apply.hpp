// Steps as statements, and their execution in the current transaction: lock within a budget, check
// again what the plan was based on, look at the holds, act.
#pragma once

#include "events/inspect.hpp"
#include "pg/lock.hpp"

#include <memory>

namespace orchestry::events {

/// What the steps of a plan are based on.
struct Basis {
    catalog::JobId job;
    Settings settings;
    Shape shape;
    Oid target = InvalidOid;
};

/// A planned step made ready to be shown and applied.
struct Step {
    PlannedStep planned;
    std::vector<std::string> statements; ///< what is executed; the holds of that moment are looked
                                         ///< up again
    std::vector<pg::LockRequest> lock_requests; ///< in the order in which they are taken
};

/// The steps of a job, and what they are based on.
struct Planned {
    Basis basis;
    std::vector<Step> steps;
};
/// Plans a job as of `now`, as the current user, who must own the table.
Planned plan_job(const catalog::Job& job, base::Instant now);

/// What applying a step, or a batch of it, did.
struct Applied {
    bool done = false;
    bool more = false;   ///< this batch is done, and there is another
    std::string message; ///< when it was not done: what had changed since the plan
    std::int64_t rows = 0;
    std::int64_t left = 0; ///< rows whose groups do not fit the target's unique index
    std::int64_t lock_wait_us = 0;
    /// Not empty: nothing was done, since the partition cannot be taken as a whole at this moment.
    std::string not_whole;
};

/// A step on its way. The rows of a partition that cannot be taken as a whole at the moment go like
/// any others, in portions.
class Compression {
  public:
    Compression(std::shared_ptr<const Basis> basis, Step step)
        : basis_(std::move(basis)), step_(std::move(step)) {}

    /// Applies the step, or the next batch of it, in the current transaction, as the current user,
    /// who must be the owner. All locks are waited for within `lock_budget_us` together: raises
    /// 55P03 after that. Nobody waits for longer for one that keeps rows from coming.
    Applied next(std::int64_t lock_budget_us);

  private:
    Applied next_portion(std::int64_t lock_budget_us);
    Applied told(Applied applied);

    const std::shared_ptr<const Basis> basis_;
    const Step step_;
    std::string not_whole_;
    std::optional<std::vector<Step>> portions_;
    std::size_t next_ = 0;
    std::int64_t left_ = 0;
};

/// The table of a policy into which rows go: it is there, fits the shape, and completes it. Raises
/// 42P01 when it is gone, 42501 when it belongs to somebody for whom the owner of the source may
/// not act, 42809 when it does not fit.
Oid require_target(Shape& shape);

} // namespace orchestry::events
