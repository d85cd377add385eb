// Steps as statements, and their execution in the current transaction: lock within a budget, check
// again what the plan was based on, look at the holds, act.
#pragma once

#include "pg/lock.hpp"
#include "retention/inspect.hpp"

namespace orchestry::retention {

/// A planned step made ready to be shown and applied.
struct Step {
    PlannedStep planned;
    std::vector<std::string> statements;        ///< what is executed, in order
    std::vector<pg::LockRequest> lock_requests; ///< in the order in which they are taken
    std::string top_level_statement; ///< what a host executes instead that can; empty: nothing
    std::vector<Step> afterwards; ///< what is left to do after the top-level statement, if anything
    std::optional<std::int64_t> rows, bytes; ///< of what leaves: an estimate, and the size
};

/// Makes the steps of one plan ready. Takes no lock stronger than AccessShareLock.
std::vector<Step> prepare(const Set& set, std::vector<PlannedStep> planned);

/// What a plan was based on.
struct Basis {
    Oid parent = InvalidOid;
    std::string parent_name; ///< qualified and quoted
    catalog::JobId job;
    Settings settings;
};

/// What applying a step did.
struct Applied {
    bool done = false;
    std::string message; ///< when it was not done: what had changed since the plan
    std::int64_t lock_wait_us = 0;
};

/// Applies a step in the current transaction, as the current user, who must be the set's owner. All
/// locks are waited for within `lock_budget_us` together: raises 55P03 after that.
Applied apply(const Basis& basis, const Step& step, std::int64_t lock_budget_us);

/// Does what has to be committed before the step's top-level statement runs: checks as apply()
/// does, gives the partition its name in quarantine and records where it came from, so that
/// whatever ends the run is understood by the next one.
Applied begin_at_top_level(const Basis& basis, const Step& step, std::int64_t lock_budget_us);
/// Does what comes after the top-level statement: the grace begins.
void end_at_top_level(const Step& step);

// --- the parts, for those who hold the locks already --------------------------------------------

/// ALTER TABLE ... RENAME, whatever rights the current user has on the schema. `name`: unquoted.
/// Raises 42P07 when it is taken.
void rename(Oid relid, const std::string& name);

/// The tables at the other ends of a table's foreign keys with the modes in which DDL on the table
/// locks them, in the order of their OIDs; a table that is at both gets the stronger mode.
std::vector<pg::LockRequest> foreign_key_locks(Oid relid, LOCKMODE referenced_mode,
                                               LOCKMODE referencing_mode);

} // namespace orchestry::retention
