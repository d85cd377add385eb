// The only file that knows major versions. A name that a newer server has keeps that name here.
#pragma once

#include "pg/guard.hpp"

#if PG_VERSION_NUM < 150000
#error "orchestry_ext needs PostgreSQL 15 or newer"
#endif

namespace orchestry::pg::compat {

/// 18 (commit 3eea7a0c97) dropped PortalRun's run_once.
inline bool portal_run(Portal portal, DestReceiver* dest, QueryCompletion* completion) {
#if PG_VERSION_NUM >= 180000
    return PortalRun(portal, FETCH_ALL, true, dest, dest, completion);
#else
    return PortalRun(portal, FETCH_ALL, true, true, dest, dest, completion);
#endif
}

/// Whether a worker may connect as a role without LOGIN (17, commit 492217301).
inline constexpr bool can_bypass_login_check =
#ifdef BGWORKER_BYPASS_ROLELOGINCHECK
    true;
inline constexpr std::uint32_t bypass_login_check = BGWORKER_BYPASS_ROLELOGINCHECK;
#else
    false;
inline constexpr std::uint32_t bypass_login_check = 0;
#endif

/// Names a wait event of ours (17); before that the server knows only the generic "Extension".
inline std::uint32_t wait_event([[maybe_unused]] const char* name) {
#if PG_VERSION_NUM >= 170000
    return WaitEventExtensionNew(name);
#else
    return PG_WAIT_EXTENSION;
#endif
}

/// Another backend's published state; 16 (commit d7e39d72ca) renamed the accessor.
inline LocalPgBackendStatus* backend_entry(int index) {
#if PG_VERSION_NUM >= 160000
    return pgstat_get_local_beentry_by_index(index);
#else
    return pgstat_fetch_stat_local_beentry(index);
#endif
}

/// Identity columns of partitions: from 17 a partition gets the parent's identity at ATTACH.
inline constexpr bool partitions_inherit_identity = PG_VERSION_NUM >= 170000;

/// ALTER COLUMN ... SET EXPRESSION, which gives generated columns other values in rows that are
/// there (17, commit 5d06e99a3c).
inline bool sets_expression([[maybe_unused]] AlterTableType type) {
#if PG_VERSION_NUM >= 170000
    return type == AT_SetExpression;
#else
    return false;
#endif
}

/// A generated column that has no value before it is read (18, commit 83ea6c540).
#ifdef ATTRIBUTE_GENERATED_VIRTUAL
inline constexpr char virtual_column = ATTRIBUTE_GENERATED_VIRTUAL;
inline constexpr bool has_virtual_columns = true;
#else
inline constexpr char virtual_column = 'v';
inline constexpr bool has_virtual_columns = false;
#endif

/// SQL: whether foreign key c, a row of pg_constraint, is looked after (18 has some that are not).
inline constexpr const char* enforced_key =
    "COALESCE((pg_catalog.to_jsonb(c) OPERATOR(pg_catalog.->>) 'conenforced')::pg_catalog.bool, "
    "true) ";

/// ANALYZE ONLY of a partitioned parent (18, commit 62ddf7ee9).
inline constexpr bool has_analyze_only = PG_VERSION_NUM >= 180000;

/// The statistics target of a column (a pg_attribute tuple from the ATTNUM cache); nullopt when it
/// is the default. 17 (commit 4f622503d6) made the field nullable and short.
inline std::optional<int> statistics_target(HeapTuple attribute) {
#if PG_VERSION_NUM >= 170000
    bool null = false;
    const Datum target = SysCacheGetAttr(ATTNUM, attribute, Anum_pg_attribute_attstattarget, &null);
    return null ? std::nullopt : std::optional<int>(DatumGetInt16(target));
#else
    const int target = reinterpret_cast<Form_pg_attribute>(GETSTRUCT(attribute))->attstattarget;
    return target < 0 ? std::nullopt : std::optional(target);
#endif
}

/// Whether this transaction has given a table new files; 16 (commit b0a55e4329) renamed the field.
inline bool has_new_files(Relation relation) {
#if PG_VERSION_NUM >= 160000
    return relation->rd_firstRelfilelocatorSubid != InvalidSubTransactionId;
#else
    return relation->rd_firstRelfilenodeSubid != InvalidSubTransactionId;
#endif
}

/// Whether this process holds this very lock on a table; 17 added a parameter.
inline bool holds_lock(Oid relid, LOCKMODE mode) {
    LOCKTAG tag;
    SET_LOCKTAG_RELATION(tag, MyDatabaseId, relid);
#if PG_VERSION_NUM >= 170000
    return LockHeldByMe(&tag, mode, false);
#else
    return LockHeldByMe(&tag, mode);
#endif
}

/// Begins a scan of an index of a table; 18 added a parameter.
inline IndexScanDesc begin_index_scan(Relation table, Relation index, Snapshot snapshot, int keys) {
#if PG_VERSION_NUM >= 180000
    return index_beginscan(table, index, snapshot, nullptr, keys, 0);
#else
    return index_beginscan(table, index, snapshot, keys, 0);
#endif
}

/// Takes a lock until the transaction ends. False, without waiting and without an error, when
/// another has it or the lock table is full; 18 added a parameter.
inline bool lock_if_available(const LOCKTAG& tag, LOCKMODE mode) {
#if PG_VERSION_NUM >= 180000
    const LockAcquireResult result =
        LockAcquireExtended(&tag, mode, false, true, false, nullptr, false);
#else
    const LockAcquireResult result = LockAcquireExtended(&tag, mode, false, true, false, nullptr);
#endif
    return result != LOCKACQUIRE_NOT_AVAIL;
}

/// Visits the parts of an expression until `walker` answers true; 16 (commit 1c27d16e6e) gave the
/// server's function a prototype, and a macro that casts.
inline bool walk_expression(Node* node, bool (*walker)(Node*, void*), void* context) {
#if PG_VERSION_NUM >= 160000
    return expression_tree_walker(node, walker, context);
#else
    // Through void (*)(), from which the compiler lets any function be.
    const auto any = reinterpret_cast<void (*)()>(walker);
    return expression_tree_walker(node, reinterpret_cast<bool (*)()>(any), context);
#endif
}

/// The same for the parts of a query, with the entries of its range tables and the clauses that
/// sort and group among them.
inline bool walk_query(Query* query, bool (*walker)(Node*, void*), void* context) {
#if PG_VERSION_NUM >= 160000
    return query_tree_walker(query, walker, context,
                             QTW_EXAMINE_RTES_BEFORE | QTW_EXAMINE_SORTGROUP);
#else
    const auto any = reinterpret_cast<void (*)()>(walker);
    return query_tree_walker(query, reinterpret_cast<bool (*)()>(any), context,
                             QTW_EXAMINE_RTES_BEFORE | QTW_EXAMINE_SORTGROUP);
#endif
}

/// The values that JSON_OBJECT(), JSON_ARRAY() and the like (16, commit 7081ac46ac) make JSON of;
/// NIL when the node is not one of them.
inline List* json_constructor_args([[maybe_unused]] const Node* node) {
#if PG_VERSION_NUM >= 160000
    if (IsA(node, JsonConstructorExpr))
        return reinterpret_cast<const JsonConstructorExpr*>(node)->args;
#endif
    return NIL;
}

/// Memory for a GUC check hook's `extra` or string: 16 wants its own allocator, 15 plain malloc.
inline void* guc_malloc_quiet(std::size_t size) {
#if PG_VERSION_NUM >= 160000
    return ::guc_malloc(LOG, size);
#else
    return std::malloc(size);
#endif
}

/// Gives back what guc_malloc_quiet(), or the server for a string's new value, has allocated.
inline void guc_free_quiet(void* memory) {
#if PG_VERSION_NUM >= 160000
    ::guc_free(memory);
#else
    std::free(memory);
#endif
}

} // namespace orchestry::pg::compat
