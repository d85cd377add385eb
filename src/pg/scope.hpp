// RAII over transaction-bound server state. One rule for all: release on normal exit, abandon while
// unwinding. The (sub)transaction abort that follows an error releases relations, snapshots, SPI
// frames and GUC levels itself, and calling their release functions in a failed transaction is the
// risk.
#pragma once

#include "pg/error.hpp"

namespace orchestry::pg {

/// Knows whether its scope is being left by an exception.
class Scoped {
  protected:
    bool unwinding() const noexcept { return std::uncaught_exceptions() > exceptions_; }
    /// Runs a release function from a destructor; a failure becomes a WARNING.
    template <typename F>
    static void quiet(F&& release) noexcept {
        try {
            protect(std::forward<F>(release));
        } catch (...) {
            warn_release_failed();
        }
    }

  private:
    static void warn_release_failed() noexcept;
    int exceptions_ = std::uncaught_exceptions();
};

/// GUC settings that end with the scope, and with them whatever code of users has set in it: a
/// function of a table's owner must not leave its search_path to the superuser whose plan() called
/// it.
class GucLevel : Scoped {
  public:
    GucLevel() : level_(call<NewGUCNestLevel>()) {}
    ~GucLevel() {
        // GUC levels of an aborted (sub)transaction are closed by the abort.
        if (!unwinding())
            quiet([level = level_] { AtEOXact_GUC(false, level); });
    }
    GucLevel(const GucLevel&) = delete;
    GucLevel& operator=(const GucLevel&) = delete;

    void set(const char* name, const char* value);

  private:
    int level_;
};

/// Fixes how values are written, for text that is stored and read again by others: under any of
/// their settings it means what it means here. Text of users is read before this.
void fix_formats(GucLevel& guc);

enum class Restriction {
    none,       // our own SQL on our own tables
    restricted, // the owner's objects: no SET ROLE, no deferred triggers, no temporary tables
};

/// Acts as `role` with search_path pinned for a scope. The user id is put back even while
/// unwinding: a subtransaction abort would do it, but the handler that runs before that must not be
/// somebody else.
///
/// `restricted` is what makes acting for a table owner safe: the server refuses to queue a deferred
/// trigger in a security-restricted operation, so none can run at COMMIT under the caller's own id.
class SecureContext : Scoped {
  public:
    SecureContext(Oid role, Restriction restriction);
    ~SecureContext();
    SecureContext(const SecureContext&) = delete;
    SecureContext& operator=(const SecureContext&) = delete;

    GucLevel& guc() noexcept { return guc_; }

  private:
    Oid saved_user_ = InvalidOid;
    int saved_context_ = 0;
    GucLevel guc_;
};

/// A snapshot for code that needs an active one (toasted values, SPI-less reads).
class ActiveSnapshot : Scoped {
  public:
    ActiveSnapshot()
        : snapshot_(protect([] {
              PushActiveSnapshot(GetTransactionSnapshot());
              return GetActiveSnapshot(); // a copy, perhaps
          })) {}
    ~ActiveSnapshot() {
        if (!unwinding())
            quiet([] { PopActiveSnapshot(); });
    }
    ActiveSnapshot(const ActiveSnapshot&) = delete;
    ActiveSnapshot& operator=(const ActiveSnapshot&) = delete;

    Snapshot get() const noexcept { return snapshot_; }

  private:
    const Snapshot snapshot_;
};

enum class KeepLock { until_commit, until_close };

/// An open relation; its lock stays until commit unless asked otherwise.
class OpenRelation : Scoped {
  public:
    /// Raises 42P01 when the relation is gone.
    OpenRelation(Oid relid, LOCKMODE mode, KeepLock keep = KeepLock::until_commit)
        : relation_(open(relid, mode)), close_mode_(keep == KeepLock::until_close ? mode : NoLock) {
    }
    ~OpenRelation() {
        if (!unwinding())
            quiet([this] { relation_close(relation_, close_mode_); });
    }
    OpenRelation(const OpenRelation&) = delete;
    OpenRelation& operator=(const OpenRelation&) = delete;

    Relation operator->() const noexcept { return relation_; }
    Relation get() const noexcept { return relation_; }

  private:
    static Relation open(Oid relid, LOCKMODE mode);

    Relation relation_;
    LOCKMODE close_mode_;
};

/// A line of CONTEXT for errors raised inside the scope. `text` must outlive it.
class ErrorContextScope {
  public:
    explicit ErrorContextScope(const char* text) noexcept;
    ~ErrorContextScope() { error_context_stack = callback_.previous; }
    ErrorContextScope(const ErrorContextScope&) = delete;
    ErrorContextScope& operator=(const ErrorContextScope&) = delete;

  private:
    ErrorContextCallback callback_;
};

} // namespace orchestry::pg
