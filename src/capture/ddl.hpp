// What changes a watched table without touching a row: TRUNCATE, and partitions that come and go.
// And REFRESH of a materialized view, which has no triggers, for the views that read it.
//
// Rows that leave with their partition were removed because of their age: what was computed from
// them is frozen. Where that cannot be, because the partition is none of time, and for what had not
// been computed yet, the job computes it again from what is left.
#pragma once

#include "pg/postgres.hpp"

namespace orchestry::capture {

/// Puts the hooks in place. Called once, when the library is loaded, after install_capture().
void install_ddl_hooks();

/// While it lives, a REFRESH of a materialized view is that of its own job, which has consumed the
/// marks: the job need not be told. One at a time in a process.
class OwnRefresh {
  public:
    explicit OwnRefresh(Oid matview) noexcept;
    ~OwnRefresh();
    OwnRefresh(const OwnRefresh&) = delete;
    OwnRefresh& operator=(const OwnRefresh&) = delete;
};

/// Whether every session has the hooks, because the library is preloaded.
bool is_everywhere();

} // namespace orchestry::capture
