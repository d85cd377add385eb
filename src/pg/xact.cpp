#include "pg/xact.hpp"

#include "pg/compat.hpp"
#include "pg/memory.hpp"

namespace orchestry::pg {

namespace {

/// Every step reads the newest committed state after it has its locks, whatever the session's
/// default is.
void use_read_committed() { XactIsoLevel = XACT_READ_COMMITTED; }

/// C-like. A session that does not wait for the disk anyway is left as it is.
void request(Durability durability) {
    if (durability == Durability::eventual && synchronous_commit != SYNCHRONOUS_COMMIT_OFF)
        (void)set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION,
                                GUC_ACTION_LOCAL, true, ERROR, false);
}

} // namespace

ProcedureSession::ProcedureSession(FunctionCallInfo fcinfo, const char* procedure) {
    const bool nonatomic = fcinfo->context && IsA(fcinfo->context, CallContext) &&
                           !castNode(CallContext, fcinfo->context)->atomic;
    if (!nonatomic)
        throw base::Error(base::errc::active_transaction,
                          std::string("orchestry.") + procedure +
                              "() cannot be called inside a transaction block")
            .detail(
                "It commits after every step, so that no lock is held for longer than one step.")
            .hint(std::string("Run CALL orchestry.") + procedure +
                  "(...) on its own, outside BEGIN and outside functions.");
    protect([this] {
        SPI_connect_ext(SPI_OPT_NONATOMIC);
        memory_ = AllocSetContextCreate(CurrentMemoryContext, "orchestry procedure",
                                        ALLOCSET_DEFAULT_SIZES);
        MemoryContextSwitchTo(memory_);
    });
}

ProcedureSession::~ProcedureSession() {
    if (!unwinding())
        quiet([] { SPI_finish(); });
}

void ProcedureSession::commit(Durability durability) {
    protect([&] {
        request(durability);
        SPI_commit();
        use_read_committed();
        MemoryContextReset(memory_);
    });
}

void ProcedureSession::ensure_snapshot() { call<EnsurePortalSnapshotExists>(); }

WorkerSession::WorkerSession() { begin(); }

WorkerSession::~WorkerSession() {
    if (!unwinding() && IsTransactionState())
        quiet([this] { end(); });
}

void WorkerSession::begin() {
    protect([] {
        SetCurrentStatementStartTimestamp();
        StartTransactionCommand();
        use_read_committed();
        XactReadOnly =
            false; // whatever a statement has set for the session: how it ended must be recorded
    });
}

void WorkerSession::end() {
    protect([] {
        if (ActiveSnapshotSet())
            PopActiveSnapshot();
        CommitTransactionCommand();
        // From 18 on that brings back the context in which the transaction began: the memory of a
        // statement, gone by now, where DETACH CONCURRENTLY and its like have begun it.
        MemoryContextSwitchTo(TopMemoryContext);
        pgstat_report_stat(true); // autovacuum must see what we did
    });
}

void WorkerSession::commit(Durability durability) {
    try {
        protect([&] { request(durability); });
        end();
    } catch (...) { // as SPI_commit does: the error comes out, and a fresh transaction is there
        restart();
        throw;
    }
    begin();
}

void WorkerSession::restart() {
    protect([] { AbortOutOfAnyTransaction(); }); // subtransactions and all
    begin();
}

void WorkerSession::ensure_snapshot() {
    protect([] {
        if (!ActiveSnapshotSet())
            PushActiveSnapshot(GetTransactionSnapshot());
    });
}

namespace {

/// Parses, plans and runs one statement in an unnamed portal with isTopLevel. C-like: nothing to
/// destroy.
void execute_top_level(const char* sql, MemoryContext work) {
    MemoryContextSwitchTo(work); // outlives the transactions that the statement commits
    List* const statements = pg_parse_query(sql);
    if (list_length(statements) != 1)
        ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR), errmsg("expected exactly one statement"),
                        errdetail("The text has %d statements.", list_length(statements))));
    RawStmt* const statement = linitial_node(RawStmt, statements);
    if (IsA(statement->stmt, TransactionStmt))
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("transaction control statements cannot be run in the background")));
    // There is no client: the server's own standard input and output would be taken instead.
    if (IsA(statement->stmt, CopyStmt) && !castNode(CopyStmt, statement->stmt)->filename)
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("COPY to or from the client cannot be run in the background")));
    const bool needs_snapshot = analyze_requires_snapshot(statement);
    if (needs_snapshot)
        PushActiveSnapshot(GetTransactionSnapshot());
    List* const queries = pg_analyze_and_rewrite_fixedparams(statement, sql, nullptr, 0, nullptr);
    List* const plans = pg_plan_queries(queries, sql, CURSOR_OPT_PARALLEL_OK, nullptr);
    if (needs_snapshot)
        PopActiveSnapshot();

    Portal portal = CreatePortal("", true, true);
    portal->visible = false;
    PortalDefineQuery(portal, nullptr, sql, CreateCommandTag(statement->stmt), plans, nullptr);
    PortalStart(portal, nullptr, 0, InvalidSnapshot);
    DestReceiver* const receiver = CreateDestReceiver(DestNone);
    QueryCompletion completion;
    (void)compat::portal_run(portal, receiver, &completion);
    receiver->rDestroy(receiver);
    PortalDrop(portal, false);
}

} // namespace

void WorkerSession::run_top_level(const std::string& sql) {
    end();
    const OwnedContext work("orchestry statement", TopMemoryContext);
    const ContextScope outer(work);
    protect([&] { pgstat_report_activity(STATE_RUNNING, sql.c_str()); });
    begin();
    try {
        protect([&] { execute_top_level(sql.c_str(), work); });
    } catch (...) {
        restart();
        throw;
    }
    commit();
}

namespace detail {

SubtransactionFrame begin_subtransaction() {
    const SubtransactionFrame frame{CurrentMemoryContext, CurrentResourceOwner};
    protect([&] {
        BeginInternalSubTransaction(nullptr);
        MemoryContextSwitchTo(frame.context); // results of the body belong to the caller
    });
    return frame;
}

void release_subtransaction(const SubtransactionFrame& frame) {
    protect([&] {
        ReleaseCurrentSubTransaction();
        MemoryContextSwitchTo(frame.context);
        CurrentResourceOwner = frame.owner;
    });
}

void rollback_subtransaction(const SubtransactionFrame& frame) {
    protect([&] {
        RollbackAndReleaseCurrentSubTransaction();
        MemoryContextSwitchTo(frame.context);
        CurrentResourceOwner = frame.owner;
    });
}

} // namespace detail

void fire_deferred_triggers() {
    protect([] {
        auto* const all_immediate = makeNode(ConstraintsSetStmt);
        AfterTriggerSetState(all_immediate);
        pfree(all_immediate);
    });
}

} // namespace orchestry::pg
