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

/// Whether all rows on a page are to two snapshots what they are to each other.
bool is_same_to(Snapshot a, Snapshot b, Relation heap, BlockNumber block,
                BufferAccessStrategy ring) {
    const Buffer buffer = ReadBufferExtended(heap, MAIN_FORKNUM, block, RBM_NORMAL, ring);
    LockBuffer(buffer, BUFFER_LOCK_SHARE);
    const Page page = BufferGetPage(buffer);
    bool is_same = true;
    for (OffsetNumber n = FirstOffsetNumber; is_same && n <= PageGetMaxOffsetNumber(page); ++n) {
        const ItemId item = PageGetItemId(page, n);
        if (!ItemIdIsNormal(item))
            continue;
        HeapTupleData tuple;
        tuple.t_tableOid = RelationGetRelid(heap);
        tuple.t_len = ItemIdGetLength(item);
        tuple.t_data = reinterpret_cast<HeapTupleHeader>(PageGetItem(page, item));
        ItemPointerSet(&tuple.t_self, block, n);
        is_same = HeapTupleSatisfiesVisibility(&tuple, a, buffer) ==
                  HeapTupleSatisfiesVisibility(&tuple, b, buffer);
    }
    UnlockReleaseBuffer(buffer);
    return is_same;
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

bool is_heap(Oid relid) {
    return protect([&] {
        const HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
        if (!HeapTupleIsValid(tuple))
            return false;
        const bool is =
            reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relam == HEAP_TABLE_AM_OID;
        ReleaseSysCache(tuple);
        return is;
    });
}

std::int64_t bytes_not_all_visible(Oid relid) {
    return protect([&]() -> std::int64_t {
        const Relation heap = try_relation_open(relid, AccessShareLock);
        if (!heap)
            return 0;
        BlockNumber all_visible = 0;
        visibilitymap_count(heap, &all_visible, nullptr);
        const std::int64_t blocks = RelationGetNumberOfBlocks(heap);
        relation_close(heap, AccessShareLock);
        return std::max<std::int64_t>(blocks - all_visible, 0) * BLCKSZ;
    });
}

bool is_unchanged_since(Snapshot then, Oid relid) {
    return protect([&] {
        const Relation heap = table_open(relid, NoLock);
        const Snapshot now = RegisterSnapshot(GetLatestSnapshot());
        const BufferAccessStrategy ring = GetAccessStrategy(BAS_BULKREAD);
        const BlockNumber blocks = RelationGetNumberOfBlocks(heap);
        Buffer map = InvalidBuffer;
        bool is_unchanged = true;
        for (BlockNumber block = 0; is_unchanged && block < blocks; ++block) {
            CHECK_FOR_INTERRUPTS();
            if (!VM_ALL_VISIBLE(heap, block, &map))
                is_unchanged = is_same_to(then, now, heap, block, ring);
        }
        if (BufferIsValid(map))
            ReleaseBuffer(map);
        FreeAccessStrategy(ring);
        UnregisterSnapshot(now);
        table_close(heap, NoLock);
        return is_unchanged;
    });
}

} // namespace orchestry::pg
