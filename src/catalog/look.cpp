#include "catalog/look.hpp"

#include <algorithm>

#include "catalog/settings.hpp"

namespace orchestry::catalog {

namespace {

/// More jobs than this in all databases are not remembered: the catalog has their looks.
constexpr long capacity = 4096;
/// How long after it was due a job that nobody looks at any more keeps its room.
constexpr std::int64_t unused_after_us = base::us_per_day;
/// How often a process looks for such jobs while there is no room.
constexpr std::int64_t removal_interval_us = base::us_per_minute;
constexpr const char* name = "orchestry_ext";

struct Key {
    Oid database;
    std::uint32_t padding;
    std::int64_t job;
};

struct Entry {
    Key key;
    Look look;
    Proof proof;
    TimestampTz changed_at; // by the server's clock
};
static_assert(std::is_trivially_copyable_v<Entry>);
constexpr Look no_look = {base::minus_infinity, base::plus_infinity, base::minus_infinity};

constinit shmem_request_hook_type previous_request_hook = nullptr;
constinit shmem_startup_hook_type previous_startup_hook = nullptr;
constinit HTAB* entries = nullptr;
constinit LWLock* lock = nullptr;
constinit TimestampTz empty_at = 0; // in all processes: when the memory was made
constinit TimestampTz removed_at = 0;

void request_memory() {
    if (previous_request_hook)
        previous_request_hook();
    RequestAddinShmemSpace(hash_estimate_size(capacity, sizeof(Entry)));
    RequestNamedLWLockTranche(name, 1);
}

void attach_memory() {
    if (previous_startup_hook)
        previous_startup_hook();
    HASHCTL control = {};
    control.keysize = sizeof(Key);
    control.entrysize = sizeof(Entry);
    LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
    entries =
        ShmemInitHash(name, capacity, capacity, &control, HASH_ELEM | HASH_BLOBS | HASH_FIXED_SIZE);
    LWLockRelease(AddinShmemInitLock);
    lock = &GetNamedLWLockTranche(name)->lock;
    empty_at = GetCurrentTimestamp();
}

Key key_of(JobId job) { return {MyDatabaseId, 0, job.value}; }

Entry* find(const Key& key) {
    return static_cast<Entry*>(hash_search(entries, &key, HASH_FIND, nullptr));
}

Entry* enter(const Key& key) {
    bool is_known = false;
    auto* const entry = static_cast<Entry*>(hash_search(entries, &key, HASH_ENTER_NULL, &is_known));
    if (entry && !is_known) {
        entry->look = no_look;
        entry->proof = {base::minus_infinity, base::minus_infinity};
    }
    return entry;
}

bool is_unused(const Entry& entry, TimestampTz now) {
    const bool is_old = now - entry.changed_at > unused_after_us ||
                        entry.changed_at - now > unused_after_us; // the clock was ahead
    const bool is_awaited =
        entry.look.at.us <= now && now - entry.look.next_run_at.us <= unused_after_us;
    return is_old && !is_awaited;
}

/// Those of jobs that nobody looks at any more, such as those of databases that were dropped.
void remove_unused(TimestampTz now) {
    if (now >= removed_at && now - removed_at < removal_interval_us)
        return;
    removed_at = now;
    HASH_SEQ_STATUS scan;
    hash_seq_init(&scan, entries);
    while (auto* const entry = static_cast<Entry*>(hash_seq_search(&scan)))
        if (is_unused(*entry, now))
            (void)hash_search(entries, &entry->key, HASH_REMOVE, nullptr);
}

template <typename Change>
bool change_entry(JobId job, Change change) {
    if (!entries)
        return false;
    return pg::protect([&] {
        const Key key = key_of(job);
        const TimestampTz now = GetCurrentTimestamp();
        LWLockAcquire(lock, LW_EXCLUSIVE);
        Entry* entry = enter(key);
        if (!entry) {
            remove_unused(now);
            entry = enter(key);
        }
        if (entry) {
            entry->changed_at = now;
            change(*entry);
        }
        LWLockRelease(lock);
        return entry != nullptr;
    });
}

std::optional<Entry> read_entry(JobId job) {
    if (!entries)
        return std::nullopt;
    return pg::protect([&] {
        const Key key = key_of(job);
        std::optional<Entry> found;
        LWLockAcquire(lock, LW_SHARED);
        if (const Entry* const entry = find(key))
            found = *entry;
        LWLockRelease(lock);
        return found;
    });
}

} // namespace

void reserve_looks() {
    previous_request_hook = shmem_request_hook;
    shmem_request_hook = request_memory;
    previous_startup_hook = shmem_startup_hook;
    shmem_startup_hook = attach_memory;
}

bool remember(JobId job, const Look& look) {
    return change_entry(job, [&](Entry& entry) { entry.look = look; });
}

bool remember(JobId job, const Proof& proof) {
    const base::Instant now = settings::clock();
    return change_entry(job, [&](Entry& entry) {
        const bool is_later = entry.proof.refreshed_at == proof.refreshed_at &&
                              entry.proof.as_of > proof.as_of && entry.proof.as_of <= now;
        if (!is_later)
            entry.proof = proof;
    });
}

void forget_look(JobId job) {
    if (!entries)
        return;
    pg::protect([&] {
        const Key key = key_of(job);
        LWLockAcquire(lock, LW_EXCLUSIVE);
        if (Entry* const entry = find(key))
            entry->look = no_look;
        LWLockRelease(lock);
    });
}

std::optional<Look> last_look(JobId job, base::Instant next_run_at) {
    const std::optional<Entry> entry = read_entry(job);
    if (!entry || entry->look.known != next_run_at || entry->look.at > settings::clock())
        return std::nullopt;
    return entry->look;
}

base::Instant due_at(JobId job, base::Instant next_run_at) {
    const std::optional<Look> look = last_look(job, next_run_at);
    return look ? look->next_run_at : next_run_at;
}

base::Instant proven_at(JobId job, const Proof& recorded) {
    const base::Instant now = settings::clock();
    const std::optional<Entry> entry = read_entry(job);
    if (!entry || entry->proof.refreshed_at != recorded.refreshed_at || entry->proof.as_of > now)
        return recorded.as_of;
    // What was recorded by a clock that was ahead says nothing.
    return recorded.as_of > now ? entry->proof.as_of : std::max(entry->proof.as_of, recorded.as_of);
}

std::optional<base::Instant> lost_until(JobId job, base::Instant refreshed_at,
                                        base::Instant replayed_until) {
    const base::Instant began = std::max(base::Instant{empty_at}, replayed_until);
    if (!entries || refreshed_at >= began || began > settings::clock())
        return std::nullopt;
    const std::optional<Entry> entry = read_entry(job);
    if (entry && entry->proof.refreshed_at == refreshed_at)
        return std::nullopt;
    return began;
}

} // namespace orchestry::catalog
