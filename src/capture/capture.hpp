// Change capture: which times of a table have changed, remembered per transaction and written as
// marks (catalog/dirty.hpp) when it commits or is prepared.
//
// Words: a watch is the trigger that tells one job of the changes of one table. It tells the bucket
// of each changed row, or, for a job without buckets, that there was a change at all. The trigger
// is fired ALWAYS: the rows that logical replication brings count like any others. What triggers
// cannot see is told by hooks (capture/ddl.hpp).
#pragma once

#include "base/step.hpp"
#include "catalog/dirty.hpp"
#include "pg/lock.hpp"

namespace orchestry::capture {

/// How a job divides time.
struct Buckets {
    std::string time_column; ///< of the watched table, unquoted; timestamptz, or timestamp in UTC
    base::Step step;
    std::string time_zone;
};

struct Watch {
    catalog::JobId job;
    std::optional<Buckets> buckets; ///< nullopt: any change marks all times
};

/// The statements that begin a watch on a table, whose quoted name is given. The triggers reach all
/// partitions, those to come as well.
std::vector<std::string> watch_sql(const Watch& watch, const std::string& table);

/// A trigger that says that it is one of a watch.
struct WatchTrigger {
    Oid id;
    std::string name; ///< unquoted
    catalog::JobId job;
    bool always = false; ///< fired whatever session_replication_role is
};
std::vector<WatchTrigger> watch_triggers(Oid relid);
/// The statement that switches one on for good.
std::string always_sql(const std::string& table, const std::string& trigger);

/// Those of some tables that have no watch of the job of a materialized view that is believed and
/// fired always, as of now; none is locked.
std::vector<Oid> unwatched(catalog::JobId job, const std::vector<Oid>& tables);

/// Ends the watch of a job on all tables that have one, before the job is removed. Raises 55P03
/// when a table is not had in time.
void unwatch_all(catalog::JobId job);
/// Whether that is going on: nobody else may drop a trigger of a job that is there.
bool is_unwatching();

/// Removes jobs whose target was dropped and whose watches are on other tables, with these watches.
/// Waits for nobody: what is in use is left for the next time.
void retire_dropped();

/// Begins the watch of the job of a materialized view on a table, under watch_locks().
void begin_watch(const Watch& watch, Oid table);

/// A partition has one watch of a job: that of its parent, cloned by the server, which raises 42710
/// when there is one of its own. These go.
///
/// Of a table that is to be watched by the job and of all its partitions, under watch_locks(). The
/// table itself may have triggers that came with a dump.
void make_room_in(Oid table, catalog::JobId job);
/// What the watch of a job on a table is made under: the table and all its partitions.
std::vector<pg::LockRequest> watch_locks(Oid table, catalog::JobId job);
/// Of a table that is to be a partition of one that is watched, and of its own partitions. The
/// caller must own the table (42501).
void make_room_for_parent(Oid table, Oid parent);

/// The watches on a table itself that are believed; a partition has those of the table that it
/// belongs to.
std::vector<Watch> watches_on(Oid relid);

/// Why changes of a table, or of a part of it, cannot all be seen, as a sentence; empty: they can.
std::string why_unwatchable(Oid relid);

/// Raises 0A000 when a table, or a part of it, is watched by a job with buckets: `policy` would
/// take single rows away from them.
void require_no_buckets(Oid relid, const char* policy);

/// Called by the trigger function for a changed row or an emptied table.
void note_change(const TriggerData& data);

/// Marks an interval when this transaction commits.
void mark_at_commit(catalog::JobId job, const base::TimeExtent& extent);

/// Freezes what is not marked of the times of a partition that leaves, when this transaction
/// commits; waits, under lock_timeout, for a run that is at work on the marks. Writes nothing now,
/// so that a hook in the middle of a command may call it.
void freeze_at_commit(catalog::JobId job, Oid partition, const base::TimeExtent& extent);
/// Makes that undone for a partition that has come back, and marks these times: it need not bring
/// the rows back that it left with, nor have the same bounds.
void thaw_returned(catalog::JobId job, Oid partition);

/// The times that the rows of a partition can have, as far as the bounds say by that column;
/// nullopt: they do not. A wall clock is read as UTC.
std::optional<base::TimeExtent> extent_of(Oid relid, const std::string& time_column);

/// The whole buckets that an interval has a part of, within all_time; empty where there is none.
base::TimeExtent cover(const Buckets& buckets, const base::TimeExtent& extent);

/// The jobs whose buckets in the times of a partition are dirty: what they still have to read is
/// not to be removed because of its age.
std::vector<catalog::JobId> unread_by(Oid partition);

/// Called once, when the library is loaded.
void install_capture();

} // namespace orchestry::capture
