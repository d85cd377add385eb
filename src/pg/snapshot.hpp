// Snapshots: those of other sessions, and what has changed since one of ours.
#pragma once

#include "pg/scope.hpp"

namespace orchestry::pg {

/// Waits until those snapshots are gone that other sessions of this database have at this moment,
/// for at most `budget_us`. Returns whether they are. Those of VACUUM and of simple CREATE INDEX
/// CONCURRENTLY do not count: nothing else will be read by them.
bool outwait_snapshots(std::int64_t budget_us);

/// Whether a table is kept by PostgreSQL's own access method, whose pages the two functions below
/// know.
bool is_heap(Oid relid);

/// Bytes of a heap's pages on which not all rows are known to be visible to everybody: what
/// is_unchanged_since() has to read. 0: the table is gone.
std::int64_t bytes_not_all_visible(Oid relid);

/// Whether a heap, which is locked so that nobody changes it, has the very rows that `then` sees, a
/// snapshot of ours that has been active ever since it was taken.
///
/// Pages that the visibility map calls all-visible are not read: whatever is on such a page is
/// visible to `then` as well, which is a snapshot like any other, and nothing that `then` sees can
/// have been removed from it, because `then` keeps it (access/heap/visibilitymap.c).
bool is_unchanged_since(Snapshot then, Oid relid);

} // namespace orchestry::pg
