// Heavyweight locks: waited for under a budget, and the names of whoever was in the way.
#pragma once

#include "pg/scope.hpp"

namespace orchestry::pg {

/// One lock that a step needs.
struct LockRequest {
    Oid relid = InvalidOid;
    LOCKMODE mode = NoLock;
};

/// Takes the locks in the given order, all within `budget_us` together. Raises 55P03 when one is
/// not had in time. Returns how long was waited, in microseconds.
std::int64_t lock_relations(const std::vector<LockRequest>& requests, std::int64_t budget_us);

/// The same for a function that somebody has called: the error is `message`, and names who is in
/// the way.
std::int64_t lock_for_caller(const std::vector<LockRequest>& requests, std::int64_t budget_us,
                             const char* message);

/// How much of a budget may be waited for a lock by who has held another for `held_us` that keeps
/// people waiting: so little that none of them, who may hold the first, comes to look for a
/// deadlock meanwhile and is the one to be cancelled for it.
std::int64_t budget_beside_waiters(std::int64_t budget_us, std::int64_t held_us);

/// For the scope of `guc`, no lock is waited for longer than this; less than a millisecond counts
/// as one.
void set_lock_timeout(GucLevel& guc, std::int64_t timeout_us);

/// "ShareUpdateExclusiveLock on public.events, ..." in the order of the requests.
std::string describe_locks(const std::vector<LockRequest>& requests);

/// Who holds locks that conflict with `requests` right now, one phrase each, for a message, the
/// oldest transactions first and at most five of them; empty when nobody.
std::string describe_blockers(const std::vector<LockRequest>& requests);

/// "ShareUpdateExclusiveLock", as pg_locks spells it.
const char* lock_mode_name(LOCKMODE mode);

/// While it lives, remembers which lock on a table this process was last seen to wait for: a
/// statement of a user says neither what it locks nor, when it has waited too long, what it waited
/// for. One at a time in a process.
class LockWatch {
  public:
    /// Looks once in `period_us`, which should be a part of the lock timeout.
    explicit LockWatch(std::int64_t period_us);
    ~LockWatch();
    LockWatch(const LockWatch&) = delete;
    LockWatch& operator=(const LockWatch&) = delete;

    /// nullopt: it was not seen waiting for a table of this database.
    std::optional<LockRequest> seen() const noexcept;

  private:
    TimeoutId id_;
};

/// A lock of our own that outlives transactions: single flight of one job or one role in the
/// cluster. It uses an object tag under the user lock method: no SQL function can take it, and
/// neither commit nor abort drops it.
class SessionLock {
  public:
    /// nullopt when another process has it.
    static std::optional<SessionLock> try_acquire(Oid database, Oid class_id, std::uint32_t object,
                                                  std::uint16_t part = 0);
    SessionLock(SessionLock&& other) noexcept
        : tag_(other.tag_), held_(std::exchange(other.held_, false)) {}
    SessionLock(const SessionLock&) = delete;
    SessionLock& operator=(const SessionLock&) = delete;
    SessionLock& operator=(SessionLock&&) = delete;
    ~SessionLock();

  private:
    explicit SessionLock(const LOCKTAG& tag) noexcept : tag_(tag), held_(true) {}
    LOCKTAG tag_;
    bool held_;
};

/// What we sleep for; pg_stat_activity names it from PostgreSQL 17, before that it says
/// "Extension".
enum class WaitFor { work, lock_retry };

/// Sleeps until `timeout_us` passed or the postmaster died, or, for work, the latch is set;
/// interrupts are served.
void wait(std::int64_t timeout_us, WaitFor what);

} // namespace orchestry::pg
