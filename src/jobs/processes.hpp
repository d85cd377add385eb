// The background processes and how they are started.
//
//   launcher   one for the server when the library is preloaded (or one per database after
//              start_scheduler()); connected to no database, so it is in nobody's way; starts
//              schedulers.
//   scheduler  one per database that has the extension; queues runs that are due, starts workers,
//              tidies up.
//   worker     connected as the owner of what it works on; takes runs from the queue until there
//              are none.
#pragma once

#include "catalog/run.hpp"

namespace orchestry::jobs {

/// Registers the launcher. Called from _PG_init while the postmaster loads preloaded libraries.
void register_launcher();

/// What a worker is told through bgw_extra.
struct WorkerOrder {
    Oid database = InvalidOid;
    Oid owner = InvalidOid;
    std::int64_t run_id = 0; // only this run; 0: whatever is queued for the owner
    TransactionId after = InvalidTransactionId; // wait for this transaction to end first
    bool owner_can_login = true;
};
static_assert(std::is_trivially_copyable_v<WorkerOrder> && sizeof(WorkerOrder) <= BGW_EXTRALEN);

/// Starts a worker; false when no worker slot is free. `notify_pid`: whom to wake when it ends, or
/// 0.
bool start_worker(const WorkerOrder& order, pid_t notify_pid,
                  BackgroundWorkerHandle** handle = nullptr);
/// How many workers of ours run in this database.
int count_workers();
/// Whether the role may connect (or need not on this server).
bool can_connect(Oid role);

/// Starts the scheduler of this database through a launcher of its own, unless one runs. False: it
/// ran already. Raises 53400 when no worker slot is free.
bool start_scheduler();
/// Ends the scheduler of this database and its launcher, if it has one of its own.
bool stop_scheduler();
/// Pid of this database's scheduler; 0 when there is none.
int scheduler_pid();
/// Tells the launcher, if there is one, that a database may have the extension now.
void wake_launcher();

} // namespace orchestry::jobs
