#include "pg/snapshot.hpp"

#include "pg/lock.hpp"

#include <algorithm>

namespace orchestry::pg {

namespace {

constexpr std::int64_t poll_us = 2'000;

/// The transactions of other sessions of this database that have a snapshot.
std::vector<VirtualTransactionId> others_with_snapshots() {
    int count = 0;
    VirtualTransactionId* const ids = protect([&] {
        return GetCurrentVirtualXIDs(InvalidTransactionId, true, false,
                                     PROC_IS_AUTOVACUUM | PROC_IN_VACUUM | PROC_IN_SAFE_IC, &count);
    });
    std::vector<VirtualTransactionId> others(ids, ids + count);
    pfree(ids);
    return others;
}

} // namespace

bool outwait_snapshots(std::int64_t budget_us) {
    const TimestampTz end = GetCurrentTimestamp() + budget_us;
    std::vector<VirtualTransactionId> left = others_with_snapshots();
    while (!left.empty() && GetCurrentTimestamp() < end) {
        wait(poll_us, WaitFor::lock_retry);
        const std::vector<VirtualTransactionId> now = others_with_snapshots();
        std::erase_if(left, [&](const VirtualTransactionId& old) {
            return std::none_of(now.begin(), now.end(), [&](const VirtualTransactionId& id) {
                return VirtualTransactionIdEquals(old, id);
            });
        });
    }
    return left.empty();
}

} // namespace orchestry::pg
