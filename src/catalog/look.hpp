// What looks at jobs have found that had nothing to do, in memory that the server's processes
// share.
//
// A materialized view that has not changed is looked at as often as its rows may be old. To write
// each time into the catalog that it is still right would cost more than the look itself: WAL, dead
// rows, and replicas that are never idle. What is here is lost when the server ends; then each job
// is looked at once more. Nothing here is ever more than the catalog says, but later: whoever
// changes a job or refreshes a view there makes it void.
#pragma once

#include "catalog/job.hpp"

namespace orchestry::catalog {

/// Asks for the memory. Called from _PG_init while libraries are preloaded; without that nothing
/// can be remembered.
void reserve_looks();

/// A job had nothing to do.
struct Look {
    base::Instant known;       ///< its next_run_at in the catalog: with another, this says nothing
    base::Instant at;          ///< when it was looked at; nothing is said by one of the future
    base::Instant next_run_at; ///< when it is due instead
};

/// A materialized view was right as of then, while its last refresh was that.
struct Proof {
    base::Instant refreshed_at;
    base::Instant as_of;
};

/// False: there is no such memory, or no room in it. The catalog has to say it.
bool remember(JobId job, const Look& look);
bool remember(JobId job, const Proof& proof);
/// What was remembered of its last look is void; of its proof it is not.
void forget_look(JobId job);

/// nullopt: nothing is known beyond the catalog, which says `next_run_at`.
std::optional<Look> last_look(JobId job, base::Instant next_run_at);
/// When a job is due of which the catalog says `next_run_at`.
base::Instant due_at(JobId job, base::Instant next_run_at);
/// As of when a view was right: as the catalog says, or later.
base::Instant proven_at(JobId job, const Proof& recorded);
/// Until when a view that was last refreshed then may have been found right without anybody knowing
/// it by now: the server was started again since, or was a standby until then. nullopt: what is
/// known is all.
std::optional<base::Instant> lost_until(JobId job, base::Instant refreshed_at,
                                        base::Instant replayed_until);

} // namespace orchestry::catalog
