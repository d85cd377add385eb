// Transactions: steps that commit alone wherever the code runs, and errors that can be survived.
#pragma once

#include "pg/scope.hpp"

namespace orchestry::pg {

/// `eventual`: the commit may be lost with the last moments before a crash of the server, in order,
/// and costs no wait for the disk. For our own records only: never for what a step did.
enum class Durability { durable, eventual };

/// Commits between steps. The same capability code runs in a procedure (CALL) and in a background
/// worker.
class Session {
  public:
    virtual ~Session() = default;
    /// Commits, and begins the next transaction (READ COMMITTED, no snapshot held yet). When the
    /// commit fails, its error comes out with a fresh transaction begun all the same. No Spi object
    /// may be open.
    virtual void commit(Durability durability = Durability::durable) = 0;
    /// Gives the current transaction an active snapshot.
    virtual void ensure_snapshot() = 0;
    /// Whether statements that refuse a transaction block (VACUUM, ... CONCURRENTLY) can be run.
    virtual bool has_top_level() const noexcept = 0;
};

/// Inside CALL. `fcinfo` is the procedure's; raises 25001 inside a transaction block or a function.
class ProcedureSession : public Session, Scoped {
  public:
    ProcedureSession(FunctionCallInfo fcinfo, const char* procedure);
    ~ProcedureSession() override;
    ProcedureSession(const ProcedureSession&) = delete;
    ProcedureSession& operator=(const ProcedureSession&) = delete;

    void commit(Durability durability = Durability::durable) override;
    void ensure_snapshot() override;
    bool has_top_level() const noexcept override { return false; }

  private:
    /// What is made between two commits, and goes with each as that of a worker's transaction does.
    MemoryContext memory_ = nullptr;
};

/// Inside a background worker. Begins a transaction; the destructor commits what is open, unless
/// unwinding, when the process or its handler aborts.
class WorkerSession : public Session, Scoped {
  public:
    WorkerSession();
    ~WorkerSession() override;
    WorkerSession(const WorkerSession&) = delete;
    WorkerSession& operator=(const WorkerSession&) = delete;

    void commit(Durability durability = Durability::durable) override;
    void ensure_snapshot() override;
    bool has_top_level() const noexcept override { return true; }

    /// Rolls back whatever is open and begins afresh: for the handler of an error that came this
    /// far.
    void restart();

    /// Ends the transaction without beginning another, for a long sleep; resume() begins it.
    void suspend() { end(); }
    void resume() { begin(); }

    /// Runs one statement outside any transaction block, as psql would: a portal at top level, so
    /// that DETACH CONCURRENTLY, CREATE INDEX CONCURRENTLY, REINDEX CONCURRENTLY and VACUUM work.
    /// Commits before and after. Raises 42601 unless `sql` is exactly one statement. When the
    /// statement fails its transaction is rolled back, a new one is begun, and the error comes out
    /// as PgError.
    void run_top_level(const std::string& sql);

  private:
    void begin();
    void end();
};

namespace detail {
struct SubtransactionFrame {
    MemoryContext context;
    ResourceOwner owner;
};
SubtransactionFrame begin_subtransaction();
void release_subtransaction(const SubtransactionFrame& frame);
void rollback_subtransaction(const SubtransactionFrame& frame);
} // namespace detail

/// Runs `body` in a subtransaction. Returns what failed, with everything it did rolled back and its
/// locks given back, or nothing when it worked. The one place where an ERROR may be swallowed.
template <typename F>
std::optional<Failure> in_subtransaction(F&& body) {
    const detail::SubtransactionFrame frame = detail::begin_subtransaction();
    std::optional<Failure> failure;
    try {
        body();
        detail::release_subtransaction(frame);
    } catch (...) {
        failure = describe_current_exception();
    }
    if (failure)
        detail::rollback_subtransaction(frame);
    return failure;
}

/// The same, but what `body` did is rolled back in any case: for trying what it would do.
template <typename F>
std::optional<Failure> rehearse(F&& body) {
    const detail::SubtransactionFrame frame = detail::begin_subtransaction();
    std::optional<Failure> failure;
    try {
        body();
    } catch (...) {
        failure = describe_current_exception();
    }
    detail::rollback_subtransaction(frame);
    return failure;
}

/// Has the constraints and triggers that wait for the end of the transaction looked at now, and the
/// later ones of this transaction at once: so that their errors are those of the statement that
/// caused them, and can be cancelled and survived, which those of a commit cannot.
void fire_deferred_triggers();

} // namespace orchestry::pg
