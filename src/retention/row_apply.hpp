// Steps that remove rows, and their batches: each locks within a budget, checks again what the plan
// was based on, looks at the holds, and removes some rows, in the current transaction.
#pragma once

#include "pg/lock.hpp"
#include "retention/row_inspect.hpp"

namespace orchestry::retention {

/// What a plan for rows was based on.
struct RowBasis {
    Oid relid = InvalidOid;
    std::string name; ///< qualified and quoted
    catalog::JobId job;
    Settings settings;
};

/// A planned step made ready to be shown and applied.
struct RowStep {
    PlannedRows planned;
    std::string sql;                            ///< what all the batches together execute
    std::vector<pg::LockRequest> move_locks;    ///< of a leaf that moves as a whole: when it does
    std::vector<pg::LockRequest> lock_requests; ///< of each batch, in the order in which they are
                                                ///< taken
};

/// Makes a step ready.
RowStep prepare_rows(const RowBasis& basis, const CheckedRowPolicy& policy, PlannedRows planned);

/// What one batch did.
struct Batch {
    enum class State {
        more, ///< there may be another
        wait, ///< nothing was done, and why is in `message`
        done, ///< it was the last
        gone, ///< nothing is done by this step any more, and why is in `message`
    };
    State state = State::more;
    std::int64_t rows = 0;
    std::int64_t lock_wait_us = 0;
    std::string message;
};

/// One step while it is applied. What it remembers from batch to batch is only where it has got to:
/// a run that is killed loses nothing but that.
class RowRemoval {
  public:
    RowRemoval(RowBasis basis, RowStep step);
    ~RowRemoval();
    RowRemoval(const RowRemoval&) = delete;
    RowRemoval& operator=(const RowRemoval&) = delete;

    /// Removes the next batch in the current transaction, as the current user, who must be the
    /// table's owner. Waits for nobody who has locked a row, and for locks on tables within
    /// `lock_budget_us`: raises 55P03 after that. Raises what the server raises for the rows:
    /// 23503 when they are referenced, and whatever a trigger or the archive objects to.
    Batch next(std::int64_t lock_budget_us);

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

} // namespace orchestry::retention
