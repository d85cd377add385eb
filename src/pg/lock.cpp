#include "pg/lock.hpp"

#include <algorithm>

#include "pg/compat.hpp"
#include "pg/spi.hpp"
#include "pg/xact.hpp"

namespace orchestry::pg {

namespace {

/// A message that names more is not read.
constexpr int most_blockers_described = 5;

LOCKTAG object_tag(Oid database, Oid class_id, std::uint32_t object, std::uint16_t part) {
    LOCKTAG tag;
    SET_LOCKTAG_OBJECT(tag, database, class_id, object, part);
    tag.locktag_lockmethodid = USER_LOCKMETHOD;
    return tag;
}

} // namespace

void set_lock_timeout(GucLevel& guc, std::int64_t timeout_us) {
    // The setting counts whole milliseconds, and 0 would mean "wait for ever".
    const std::int64_t milliseconds = std::max<std::int64_t>(timeout_us / 1000, 1);
    guc.set("lock_timeout", (std::to_string(milliseconds) + "ms").c_str());
}

std::int64_t lock_relations(const std::vector<LockRequest>& requests, std::int64_t budget_us) {
    const TimestampTz start = GetCurrentTimestamp();
    GucLevel guc;
    for (const LockRequest& request : requests) {
        const std::int64_t left = budget_us - (GetCurrentTimestamp() - start);
        set_lock_timeout(guc, left);
        call<LockRelationOid>(request.relid, request.mode);
    }
    return GetCurrentTimestamp() - start;
}

std::int64_t lock_for_caller(const std::vector<LockRequest>& requests, std::int64_t budget_us,
                             const char* message) {
    std::int64_t waited_us = 0;
    const auto failure =
        in_subtransaction([&] { waited_us = lock_relations(requests, budget_us); });
    if (!failure)
        return waited_us;
    if (!failure->is(base::errc::lock_not_available))
        raise(*failure);
    const std::string blockers = describe_blockers(requests);
    throw base::Error(base::errc::lock_not_available, message)
        .detail(blockers.empty() ? "That has just ended." : "In the way: " + blockers + ".")
        .hint("Try again; to wait for longer, SET orchestry.lock_timeout = '10s';");
}

std::int64_t budget_beside_waiters(std::int64_t budget_us, std::int64_t held_us) {
    constexpr std::int64_t least_us = 1'000; // the least that can be set: what is free is had
    return std::clamp(std::int64_t{DeadlockTimeout} * 1'000 / 2 - held_us, least_us,
                      std::max(budget_us, least_us));
}

std::string describe_locks(const std::vector<LockRequest>& requests) {
    std::string text;
    for (const LockRequest& request : requests)
        text += (text.empty() ? "" : ", ") + std::string(lock_mode_name(request.mode)) + " on " +
                relation_name(request.relid).value_or("a table that is gone");
    return text;
}

std::string describe_blockers(const std::vector<LockRequest>& requests) {
    std::vector<Oid> relids;
    for (const LockRequest& request : requests)
        relids.push_back(request.relid);
    Spi spi;
    spi.run("SELECT l.relation, l.mode, l.pid, l.relation::pg_catalog.regclass, "
            "a.application_name, a.usename, COALESCE(a.state, a.backend_type), "
            "EXTRACT(epoch FROM pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) a.xact_start)"
            "::pg_catalog.int8 "
            "FROM pg_catalog.pg_locks l "
            "LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid OPERATOR(pg_catalog.=) l.pid "
            "WHERE l.locktype OPERATOR(pg_catalog.=) 'relation' AND l.granted "
            "AND l.database OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database d "
            "WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()) "
            "AND l.relation OPERATOR(pg_catalog.=) ANY ($1) "
            "AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid() "
            "ORDER BY l.pid IS NOT NULL, a.xact_start, l.pid, l.relation",
            relids);
    std::string blockers;
    int found = 0;
    for (std::uint64_t i = 0; i < spi.rows(); ++i) {
        const Row row = spi.row(i);
        const std::string held = row.text(2);
        const bool conflicts = std::any_of(requests.begin(), requests.end(), [&](const auto& r) {
            if (r.relid != row.oid(1))
                return false;
            for (LOCKMODE mode = AccessShareLock; mode <= AccessExclusiveLock; ++mode)
                if (held == lock_mode_name(mode))
                    return DoLockModesConflict(mode, r.mode);
            return false;
        });
        if (!conflicts)
            continue;
        if (++found > most_blockers_described)
            continue;
        if (!blockers.empty())
            blockers += "; ";
        if (row.is_null(3)) {
            blockers += "a prepared transaction holds " + held + " on " + row.text(4);
            continue;
        }
        blockers += "process " + row.text(3) + " (user " + row.text(6) + ", application \"" +
                    row.text(5) + "\", " + row.text(7);
        if (!row.is_null(8))
            blockers += ", transaction open for " + row.text(8) + " s";
        blockers += ") holds " + held + " on " + row.text(4);
    }
    if (found > most_blockers_described)
        blockers += "; and " + std::to_string(found - most_blockers_described) + " more";
    return blockers;
}

const char* lock_mode_name(LOCKMODE mode) { return GetLockmodeName(DEFAULT_LOCKMETHOD, mode); }

namespace {

/// What the timer of a watch finds, in signal context.
volatile Oid awaited_relid = InvalidOid;
volatile LOCKMODE awaited_mode = NoLock;

/// Runs in signal context, where our own entry of the process array may be read: while we wait, the
/// lock cannot go away.
void look_at_wait() {
    const PGPROC* const self = MyProc; // gone when the process is about to be
    const LOCK* const lock = self ? self->waitLock : nullptr;
    if (!lock || lock->tag.locktag_type != LOCKTAG_RELATION ||
        lock->tag.locktag_field1 != MyDatabaseId)
        return;
    awaited_relid = lock->tag.locktag_field2;
    awaited_mode = self->waitLockMode;
}

} // namespace

LockWatch::LockWatch(std::int64_t period_us) {
    static constinit int registered = -1; // once per process: the server has few such slots
    const int period_ms = static_cast<int>(std::clamp<std::int64_t>(period_us / 1000, 1, 1000));
    awaited_relid = InvalidOid;
    protect([&] {
        if (registered < 0)
            registered = RegisterTimeout(USER_TIMEOUT, look_at_wait);
        enable_timeout_every(static_cast<TimeoutId>(registered),
                             TimestampTzPlusMilliseconds(GetCurrentTimestamp(), period_ms),
                             period_ms);
    });
    id_ = static_cast<TimeoutId>(registered);
}

LockWatch::~LockWatch() { disable_timeout(id_, false); }

std::optional<LockRequest> LockWatch::seen() const noexcept {
    if (!OidIsValid(awaited_relid))
        return std::nullopt;
    return LockRequest{awaited_relid, awaited_mode};
}

std::optional<SessionLock> SessionLock::try_acquire(Oid database, Oid class_id,
                                                    std::uint32_t object, std::uint16_t part) {
    const LOCKTAG tag = object_tag(database, class_id, object, part);
    const LockAcquireResult result =
        protect([&] { return LockAcquire(&tag, ExclusiveLock, true, true); });
    if (result == LOCKACQUIRE_NOT_AVAIL)
        return std::nullopt;
    if (result != LOCKACQUIRE_OK) { // we hold it already: a run inside a run of the same job
        protect([&] { LockRelease(&tag, ExclusiveLock, true); });
        return std::nullopt;
    }
    return SessionLock(tag);
}

SessionLock::~SessionLock() {
    if (!held_)
        return;
    try {
        protect([this] { LockRelease(&tag_, ExclusiveLock, true); });
    } catch (...) {
        // The process's end releases it; there is nobody to tell here.
    }
}

void wait(std::int64_t timeout_us, WaitFor what) {
    static constinit std::uint32_t events[2] = {0, 0}; // registered on first use
    static constexpr const char* names[2] = {"OrchestryIdle", "OrchestryLockRetry"};
    const int index = static_cast<int>(what);
    const TimestampTz end = GetCurrentTimestamp() + timeout_us;
    for (;;) {
        const long left_ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end);
        const int woken_by = protect([&] {
            if (events[index] == 0)
                events[index] = compat::wait_event(names[index]);
            const int woken = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
                                        left_ms, events[index]);
            ResetLatch(MyLatch);
            return woken;
        });
        check_interrupts();
        // Any signal sets the latch, a timer's that is over by now among them. That is news for who
        // is idle; a pause goes on.
        if (what == WaitFor::work || (woken_by & WL_TIMEOUT) != 0)
            return;
    }
}

} // namespace orchestry::pg
