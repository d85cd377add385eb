// The worker: takes runs from the queue of one owner until there are none.
#include "catalog/settings.hpp"
#include "jobs/background.hpp"
#include "jobs/processes.hpp"
#include "jobs/run_timer.hpp"
#include "jobs/runner.hpp"
#include "pg/compat.hpp"
#include "pg/entry.hpp"
#include "pg/fault.hpp"

namespace orchestry::jobs {

namespace {

constexpr const char* worker_type = "orchestry worker";
/// How long a worker waits for a transaction to end, when somebody else would start another one.
constexpr std::int64_t patience_us = 5 * base::us_per_second;

void describe_activity(const std::string& what) {
    pg::protect([&] {
        SetConfigOption("application_name", what.c_str(), PGC_USERSET, PGC_S_SESSION);
        pgstat_report_activity(STATE_RUNNING, what.c_str());
    });
}

/// One of the orchestry.max_workers seats of this database, for as long as the process lives:
/// however many workers are started at once, and by whom, no more than that work.
std::optional<pg::SessionLock> take_seat() {
    for (int seat = 0; seat < catalog::settings::max_workers; ++seat)
        if (auto lock = lock_seat(seat, MyDatabaseId))
            return lock;
    return std::nullopt;
}

/// Runs the one statement of a run without a job.
void run_statement(pg::WorkerSession& session, const catalog::QueuedRun& run, Oid owner) {
    describe_activity("orchestry: statement of run " + std::to_string(run.id.value));
    catalog::RunResult result{.state = catalog::RunState::ok, .steps = 1, .failure = {}};
    session.commit();
    if (GetUserId() != owner) { // never somebody else's text as the bootstrap superuser
        result.state = catalog::RunState::failed;
        result.failure = {
            base::errc::feature_not_supported,
            "a statement in the background needs a role that has LOGIN on this server",
            {},
            "Run ALTER ROLE ... LOGIN first.",
            {}};
    } else {
        try {
            const RunTimer timer;
            session.run_top_level(run.statement);
            ORCHESTRY_FAULT_POINT("statement done");
        } catch (...) {
            result = {.state = catalog::RunState::failed,
                      .failure = pg::describe_current_exception()};
        }
    }
    const HoldCancel recording;
    session.ensure_snapshot();
    catalog::finish_run(run.id, result);
    ORCHESTRY_FAULT_POINT("statement recorded");
    session.commit();
}

/// Waits for the end of the transaction that has queued a run, whose row is not visible before.
/// False: that takes long, and the scheduler will find the row; others need the seat meanwhile.
bool outwait(pg::WorkerSession& session, TransactionId id) {
    session.ensure_snapshot();
    const bool is_scheduled = scheduler_pid() != 0;
    session.commit();
    const auto failure = pg::in_subtransaction([&] {
        pg::GucLevel guc;
        if (is_scheduled)
            pg::set_lock_timeout(guc, patience_us);
        pg::protect([&] { XactLockTableWait(id, nullptr, nullptr, XLTW_None); });
    });
    if (failure && !failure->is(base::errc::lock_not_available))
        pg::raise(*failure);
    return !failure;
}

void run_queue(const WorkerOrder& order) {
    pg::WorkerSession session;
    std::optional<catalog::RunId> only;
    if (order.run_id != 0)
        only = catalog::RunId{order.run_id};
    const std::optional<pg::SessionLock> seat = take_seat();
    if (!seat) {
        session.ensure_snapshot();
        catalog::mark_waiting("as many workers as orchestry.max_workers allows are busy", only);
        return;
    }
    if (TransactionIdIsValid(order.after) && !outwait(session, order.after))
        return;
    for (;;) {
        session.commit();
        serve_reload();
        QueryCancelPending = false; // it came too late for the run it was meant for
        pg::check_interrupts();
        if (!catalog::settings::enabled)
            return;
        session.ensure_snapshot();
        if (!catalog::lock_extension())
            return;
        const std::optional<catalog::QueuedRun> run = catalog::claim_run(order.owner, only);
        if (!run)
            return;
        ORCHESTRY_FAULT_POINT("run claimed");
        if (!run->job) {
            run_statement(session, *run, order.owner);
            return; // the session is not a fresh one any more
        }
        only.reset(); // what waited for a seat behind it is next
        describe_activity("orchestry: job " + std::to_string(run->job->value));
        try {
            (void)run_job(session, *run->job, catalog::Trigger::schedule, run->id);
        } catch (const pg::PgError& e) {
            if (e.sqlerrcode() !=
                ERRCODE_QUERY_CANCELED) // recorded; a cancelled run ends only itself
                throw;
            session.restart();
        }
    }
}

} // namespace

ORCHESTRY_WORKER(orchestry_worker_main) {
    WorkerOrder order;
    std::memcpy(&order, MyBgworkerEntry->bgw_extra, sizeof order);
    start_process();
    // Connected as the owner there is nothing to get back to. An owner without LOGIN on 15 and 16
    // is served by a worker of the bootstrap superuser, in which every step is a
    // security-restricted operation (jobs/runner.cpp).
    pg::protect([&] {
        BackgroundWorkerInitializeConnectionByOid(
            order.database, order.owner_can_login ? order.owner : InvalidOid,
            order.owner_can_login ? pg::compat::bypass_login_check : 0);
    });
    pg::protect([&] {
        free_from_defaults();
        // As in the scheduler: whoever owns the database may have set a path of his own for it.
        if (!order.owner_can_login)
            SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION);
        // Our own statements would fill pg_stat_statements with one entry per partition.
        if (GetConfigOption("pg_stat_statements.track", true, false))
            SetConfigOption("pg_stat_statements.track", "none", PGC_SUSET, PGC_S_SESSION);
    });
    run_queue(order);
}

bool start_worker(const WorkerOrder& order, pid_t notify_pid, BackgroundWorkerHandle** handle) {
    BackgroundWorker worker = describe_process(worker_type, worker_type, "orchestry_worker_main");
    worker.bgw_notify_pid = notify_pid;
    std::memcpy(worker.bgw_extra, &order, sizeof order);
    BackgroundWorkerHandle* started = nullptr;
    const bool ok = pg::protect([&] {
        const MemoryContext previous =
            MemoryContextSwitchTo(TopMemoryContext); // outlives transactions
        const bool registered =
            RegisterDynamicBackgroundWorker(&worker, handle ? &started : nullptr);
        MemoryContextSwitchTo(previous);
        return registered;
    });
    if (handle)
        *handle = started;
    return ok;
}

int count_workers() {
    pg::Spi spi;
    spi.run("SELECT pg_catalog.count(*)::pg_catalog.int4 FROM pg_catalog.pg_stat_activity a "
            "WHERE a.datid OPERATOR(pg_catalog.=) $1 AND a.backend_type OPERATOR(pg_catalog.=) $2",
            MyDatabaseId, worker_type);
    return spi.row(0).integer(1);
}

bool can_connect(Oid role) {
    pg::Spi spi;
    spi.run("SELECT (r.rolcanlogin OR $2) AND pg_catalog.has_database_privilege(r.oid, d.oid, "
            "'CONNECT') "
            "FROM pg_catalog.pg_roles r, pg_catalog.pg_database d WHERE r.oid "
            "OPERATOR(pg_catalog.=) $1 "
            "AND d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()",
            role, pg::compat::can_bypass_login_check);
    return spi.rows() == 1 && spi.row(0).boolean(1);
}

} // namespace orchestry::jobs
