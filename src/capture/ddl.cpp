#include "capture/ddl.hpp"

#include "capture/capture.hpp"
#include "capture/source.hpp"
#include "catalog/columns.hpp"
#include "catalog/refresh_state.hpp"
#include "pg/compat.hpp"
#include "pg/entry.hpp"
#include "pg/memory.hpp"

namespace orchestry::capture {

namespace {

constinit object_access_hook_type previous_access_hook = nullptr;
constinit ProcessUtility_hook_type previous_utility_hook = nullptr;
constinit bool preloaded = false;
constinit Oid refreshed_by_its_job = InvalidOid;

using catalog::JobId;

/// The times of a table's rows that a watch speaks of, in whole buckets.
base::TimeExtent marked_extent(const Watch& watch, Oid relid) {
    if (!watch.buckets)
        return catalog::all_time;
    const auto extent = extent_of(relid, watch.buckets->time_column);
    return cover(*watch.buckets, extent.value_or(catalog::all_time));
}

void mark_all_of(Oid relid) {
    for (const Watch& watch : watches_on(relid))
        mark_at_commit(watch.job, marked_extent(watch, relid));
}

bool has_rows(Oid relid) {
    for (const Oid table : pg::family_of(relid)) {
        const pg::OpenRelation relation(table, AccessShareLock, pg::KeepLock::until_close);
        if (relation->rd_rel->relkind == RELKIND_RELATION &&
            pg::protect([&] { return RelationGetNumberOfBlocks(relation.get()); }) > 0)
            return true;
    }
    return false;
}

/// Rows go with their partition, under a lock that has waited for all who wrote to it. A refresh
/// that has the marks steps aside soon when it needs the partition. With an empty one nothing goes:
/// what was computed of its times is of the rows of others; nor with one whose DETACH CONCURRENTLY
/// was under way when the watch began.
void leave(const Watch& watch, Oid partition) {
    if (!has_rows(partition))
        return;
    const auto extent =
        watch.buckets ? extent_of(partition, watch.buckets->time_column) : std::nullopt;
    if (extent && pg::call<PartitionHasPendingDetach>(Oid{partition}))
        return;
    if (extent)
        freeze_at_commit(watch.job, partition, cover(*watch.buckets, *extent));
    else
        mark_at_commit(watch.job, marked_extent(watch, partition));
}

void check_leaving(Oid partition, Oid parent) {
    for (const Watch& watch : watches_on(parent))
        leave(watch, partition);
}

Oid parent_of(Oid relid) {
    return pg::protect([&] {
        return get_rel_relispartition(relid) ? get_partition_parent(relid, true) : InvalidOid;
    });
}

void check_access(ObjectAccessType access, Oid object_id, void* arg) {
    if (!catalog::is_installed())
        return;
    if (access == OAT_TRUNCATE)
        return mark_all_of(object_id);
    if (access == OAT_DROP) {
        if (const Oid parent = parent_of(object_id); OidIsValid(parent))
            check_leaving(object_id, parent);
        return;
    }
    // The command's own changes are not visible yet: what comes has no parent, what leaves has one.
    if (pg::call<has_superclass>(object_id))
        check_leaving(object_id, static_cast<ObjectAccessPostAlter*>(arg)->auxiliary_id);
}

void on_object_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void* arg) {
    if (previous_access_hook)
        previous_access_hook(access, class_id, object_id, sub_id, arg);
    const bool concerns_us =
        access == OAT_TRUNCATE ||
        (access == OAT_DROP && class_id == RelationRelationId && sub_id == 0) ||
        (access == OAT_POST_ALTER && class_id == InheritsRelationId);
    if (concerns_us)
        pg::enter("object_access_hook", [&] { check_access(access, object_id, arg); });
}

// --- logical replication ------------------------------------------------------------------------

/// What the tables are that may have got new files in this transaction, in its own memory.
constinit List* invalidated = nullptr;

/// An apply worker that empties a partition by itself calls no hook, and fires the triggers of that
/// partition alone. But other files are a change of the table, and the process itself hears of it.
/// What it hears of tables that it has not locked for TRUNCATE is the work of others.
void on_invalidation(Datum, Oid relid) {
    if (!IsLogicalWorker() || !IsTransactionState() || !OidIsValid(relid) ||
        !pg::compat::holds_lock(relid, AccessExclusiveLock))
        return;
    pg::enter("relcache callback", [&] {
        const pg::ContextScope transaction(TopTransactionContext);
        invalidated = pg::protect([&] { return list_append_unique_oid(invalidated, relid); });
    });
}

bool has_new_files(Oid relid) {
    return pg::protect([&] {
        const Relation relation = RelationIdGetRelation(relid);
        if (!RelationIsValid(relation))
            return false;
        const bool has = pg::compat::has_new_files(relation);
        RelationClose(relation);
        return has;
    });
}

/// Called before the marks are written: the latest callback is the first to be called.
void on_transaction_event(XactEvent event, void*) {
    if (!invalidated)
        return;
    if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE)
        pg::enter("change capture", [] {
            if (!catalog::is_installed())
                return;
            for (int i = 0; i < list_length(invalidated); ++i) // which may get longer
                if (const Oid relid = list_nth_oid(invalidated, i);
                    pg::compat::holds_lock(relid, AccessExclusiveLock) && has_new_files(relid))
                    mark_all_of(relid);
        });
    if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
        invalidated = nullptr;
}

// --- commands -----------------------------------------------------------------------------------

Oid oid_of(const RangeVar* name) {
    return pg::protect([&] { return RangeVarGetRelid(name, NoLock, true); });
}

/// Whether a table is watched. Raises 0A000 when it is, and not all its changes can be seen.
bool is_watched_well(Oid relid) {
    if (!OidIsValid(relid) || watches_on(relid).empty())
        return false;
    if (std::string why = why_unwatchable(relid); !why.empty())
        throw base::Error(base::errc::feature_not_supported,
                          "changes of " + pg::relation_name(relid).value_or("") +
                              " have to be seen by " +
                              catalog::describe_jobs({watches_on(relid).front().job}))
            .detail(std::move(why))
            .hint("Use tables that are neither foreign nor unlogged.");
    return true;
}

/// A partition has come, with its watches: its rows have come, too.
void came(Oid relid) {
    if (!is_watched_well(relid))
        return;
    for (const Watch& watch : watches_on(relid))
        for (const Oid table : pg::family_of(relid)) // a part of it may have left before it did
            if (watch.buckets)
                thaw_returned(watch.job, table);
    if (has_rows(relid))
        mark_all_of(relid);
}

/// Watches stay on. Whoever loads rows with all triggers off must not make anything wrong; nor who
/// restores a dump, where the rows come before the jobs.
void keep_watching(Oid relid) {
    for (const Oid table : pg::family_of(relid))
        for (const WatchTrigger& trigger : watch_triggers(table))
            if (!trigger.always)
                pg::run_statements({always_sql(pg::require_relation_name(table), trigger.name)});
}

bool switches_triggers(AlterTableType type) {
    switch (type) {
    case AT_EnableTrig:
    case AT_EnableReplicaTrig:
    case AT_DisableTrig:
    case AT_EnableTrigAll:
    case AT_DisableTrigAll:
    case AT_EnableTrigUser:
    case AT_DisableTrigUser:
        return true;
    default:
        return false;
    }
}

void after_alter_table(const AlterTableStmt* statement) {
    bool switched = false, unlogged = false, computed = false;
    for (int i = 0; i < list_length(statement->cmds); ++i) {
        const auto* const command = static_cast<const AlterTableCmd*>(list_nth(statement->cmds, i));
        switched = switched || switches_triggers(command->subtype);
        unlogged = unlogged || command->subtype == AT_SetUnLogged;
        computed = computed || pg::compat::sets_expression(command->subtype);
        if (command->subtype == AT_AttachPartition)
            came(oid_of(reinterpret_cast<const PartitionCmd*>(command->def)->name));
    }
    const Oid relid = switched || unlogged || computed ? oid_of(statement->relation) : InvalidOid;
    if (switched && OidIsValid(relid))
        keep_watching(relid);
    if (computed && OidIsValid(relid)) // all rows have other values now, which no trigger has seen
        for (const Oid table : pg::family_of(relid))
            mark_all_of(table);
    if (unlogged)
        (void)is_watched_well(relid);
}

/// The name of a table that a command makes as a partition; nullptr for other commands.
const RangeVar* new_partition(const Node* node) {
    const CreateStmt* const statement =
        IsA(node, CreateForeignTableStmt)
            ? &reinterpret_cast<const CreateForeignTableStmt*>(node)->base
        : IsA(node, CreateStmt) ? reinterpret_cast<const CreateStmt*>(node)
                                : nullptr;
    return statement && statement->partbound ? statement->relation : nullptr;
}

/// Without its watch a rollup or a materialized view would be wrong and not know it. By another
/// name nobody would look for it.
void check_trigger_stays(Oid relid, const char* trigger, const std::string& command) {
    if (!OidIsValid(relid))
        return; // the statement itself will say so
    for (const WatchTrigger& ours : watch_triggers(relid))
        if (ours.name == trigger && is_believed(ours.id, ours.job, relid))
            throw base::Error(base::errc::not_prerequisite_state,
                              "cannot " + command + " trigger " + ours.name + " of table " +
                                  pg::relation_name(relid).value_or(""))
                .detail("Job " + std::to_string(ours.job.value) +
                        " would not see changes of the table any more.")
                .hint("When it shall go: SELECT orchestry.remove_policy(" +
                      std::to_string(ours.job.value) + ");");
}

/// OR REPLACE takes away the one of that name.
void check_create_trigger(const CreateTrigStmt* statement) {
    if (statement->replace)
        check_trigger_stays(oid_of(statement->relation), statement->trigname, "replace");
}

void check_drop_trigger(const DropStmt* statement) {
    for (int i = 0; i < list_length(statement->objects); ++i) {
        const auto* const name = static_cast<const List*>(list_nth(statement->objects, i));
        const Oid relid = pg::protect([&] {
            return RangeVarGetRelid(
                makeRangeVarFromNameList(list_truncate(list_copy(name), list_length(name) - 1)),
                NoLock, true);
        });
        check_trigger_stays(relid, strVal(llast(name)), "drop");
    }
}

/// The view of a rollup goes on to read a column by its number, and all else goes by its name: when
/// another column takes the name, they would read two columns.
void check_column_stays(const catalog::RenamedColumn& column) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.run(
        "SELECT u.job_id, pg_catalog.format('%I.%I', u.rollup_schema, u.rollup_name) "
        "FROM pg_catalog.pg_attribute a "
        "JOIN pg_catalog.pg_depend d ON d.refclassid OPERATOR(pg_catalog.=) "
        "'pg_catalog.pg_class'::pg_catalog.regclass "
        "AND d.refobjid OPERATOR(pg_catalog.=) a.attrelid "
        "AND d.refobjsubid OPERATOR(pg_catalog.=) a.attnum AND d.classid OPERATOR(pg_catalog.=) "
        "'pg_catalog.pg_rewrite'::pg_catalog.regclass "
        "JOIN pg_catalog.pg_rewrite w ON w.oid OPERATOR(pg_catalog.=) d.objid "
        "JOIN pg_catalog.pg_class v ON v.oid OPERATOR(pg_catalog.=) w.ev_class "
        "JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) v.relnamespace "
        "JOIN orchestry.rollup u ON u.rollup_schema OPERATOR(pg_catalog.=) n.nspname "
        "AND u.rollup_name OPERATOR(pg_catalog.=) v.relname "
        "WHERE a.attrelid OPERATOR(pg_catalog.=) ANY ($1) "
        "AND a.attname OPERATOR(pg_catalog.=) $2::pg_catalog.name ORDER BY u.job_id LIMIT 1",
        column.tables, column.name);
    if (spi.rows() == 0)
        return;
    throw base::Error(base::errc::not_prerequisite_state,
                      "cannot rename column " + pg::quote_identifier(column.name) + " of " +
                          pg::relation_name(column.relid).value_or(""))
        .detail("Rollup " + spi.row(0).text(2) + " is computed from it, by its name.")
        .hint("Drop the rollup before and create it again after: SELECT orchestry.drop_rollup(" +
              pg::quote_literal(spi.row(0).text(2)) + ");");
}

void check_rename(const RenameStmt* statement) {
    if (statement->renameType == OBJECT_TRIGGER)
        check_trigger_stays(oid_of(statement->relation), statement->subname, "rename");
    else if (const auto column = catalog::renamed_column(*statement))
        check_column_stays(*column);
}

/// While a partition is detached concurrently, rows may still come to it that no job sees.
void check_detach_concurrently(const AlterTableStmt* statement) {
    for (int i = 0; i < list_length(statement->cmds); ++i) {
        const auto* const command = static_cast<const AlterTableCmd*>(list_nth(statement->cmds, i));
        if (command->subtype != AT_DetachPartition ||
            !reinterpret_cast<const PartitionCmd*>(command->def)->concurrent)
            continue;
        const Oid relid = oid_of(statement->relation);
        if (OidIsValid(relid) && !watches_on(relid).empty())
            throw base::Error(base::errc::feature_not_supported,
                              "partitions of " + pg::relation_name(relid).value_or("") +
                                  " cannot be detached concurrently")
                .detail("Rows that come meanwhile would not be seen by " +
                        catalog::describe_jobs({watches_on(relid).front().job}) + ".")
                .hint("Run ALTER TABLE ... DETACH PARTITION without CONCURRENTLY.");
    }
}

/// What comes as a partition may be watched by the same jobs already.
void prepare_attach(const AlterTableStmt* statement) {
    for (int i = 0; i < list_length(statement->cmds); ++i) {
        const auto* const command = static_cast<const AlterTableCmd*>(list_nth(statement->cmds, i));
        if (command->subtype != AT_AttachPartition)
            continue;
        const Oid parent = oid_of(statement->relation);
        const Oid table = oid_of(reinterpret_cast<const PartitionCmd*>(command->def)->name);
        if (OidIsValid(parent) && OidIsValid(table))
            make_room_for_parent(table, parent);
    }
}

/// How many rows of a table this transaction has inserted and deleted so far; nullopt: that is not
/// counted.
std::optional<std::int64_t> rows_written(Oid relid) {
    if (!pgstat_track_counts)
        return std::nullopt;
    pg::Spi spi;
    spi.run("SELECT pg_catalog.pg_stat_get_xact_tuples_inserted($1) OPERATOR(pg_catalog.+) "
            "pg_catalog.pg_stat_get_xact_tuples_deleted($1)",
            relid);
    return spi.row(0).bigint(1);
}

/// A materialized view that is being refreshed, be it by a job or by hand.
struct Refreshing {
    Oid relid;
    std::optional<std::int64_t> rows_written; ///< before, where only that tells what has changed
};

Refreshing before_refresh(const RefreshMatViewStmt* statement) {
    const Oid relid = oid_of(statement->relation);
    return {relid, statement->concurrent && OidIsValid(relid) ? rows_written(relid) : std::nullopt};
}

/// Tells the views that read it, unless not a single row has changed; and its own job, whose rows
/// may be replaced by those of an older snapshot.
void after_refresh(const Refreshing& refreshing) {
    if (!OidIsValid(refreshing.relid) ||
        (refreshing.rows_written && refreshing.rows_written == rows_written(refreshing.relid)))
        return;
    for (const JobId job : catalog::readers_of(refreshing.relid))
        mark_at_commit(job, catalog::all_time);
    if (refreshing.relid == refreshed_by_its_job)
        return;
    for (const JobId job : catalog::keepers_of(refreshing.relid))
        mark_at_commit(job, catalog::all_time);
}

void on_utility(PlannedStmt* statement, const char* query, bool read_only,
                ProcessUtilityContext context, ParamListInfo params, QueryEnvironment* environment,
                DestReceiver* receiver, QueryCompletion* completion) {
    const Node* const node = statement->utilityStmt;
    const bool drops_trigger =
        IsA(node, DropStmt) &&
        reinterpret_cast<const DropStmt*>(node)->removeType == OBJECT_TRIGGER;
    const bool alters_table = IsA(node, AlterTableStmt);
    const bool refreshes = IsA(node, RefreshMatViewStmt);
    const bool renames = IsA(node, RenameStmt);
    const bool makes_trigger = IsA(node, CreateTrigStmt);
    Refreshing refreshing = {};
    if ((drops_trigger || alters_table || refreshes || renames || makes_trigger) &&
        IsTransactionState())
        pg::enter("ProcessUtility_hook", [&] {
            if (!catalog::is_installed())
                return;
            if (drops_trigger && !is_unwatching())
                check_drop_trigger(reinterpret_cast<const DropStmt*>(node));
            else if (renames)
                check_rename(reinterpret_cast<const RenameStmt*>(node));
            else if (makes_trigger)
                check_create_trigger(reinterpret_cast<const CreateTrigStmt*>(node));
            else if (refreshes)
                refreshing = before_refresh(reinterpret_cast<const RefreshMatViewStmt*>(node));
            else if (alters_table) {
                check_detach_concurrently(reinterpret_cast<const AlterTableStmt*>(node));
                prepare_attach(reinterpret_cast<const AlterTableStmt*>(node));
            }
        });
    const ProcessUtility_hook_type next =
        previous_utility_hook ? previous_utility_hook : standard_ProcessUtility;
    next(statement, query, read_only, context, params, environment, receiver, completion);
    const RangeVar* const partition = new_partition(node);
    if ((alters_table || partition || refreshes) && IsTransactionState())
        pg::enter("ProcessUtility_hook", [&] {
            if (!catalog::is_installed())
                return;
            if (refreshes)
                after_refresh(refreshing);
            else if (alters_table)
                after_alter_table(reinterpret_cast<const AlterTableStmt*>(node));
            else
                (void)is_watched_well(oid_of(partition));
        });
}

} // namespace

void install_ddl_hooks() {
    previous_access_hook = object_access_hook;
    object_access_hook = on_object_access;
    previous_utility_hook = ProcessUtility_hook;
    ProcessUtility_hook = on_utility;
    pg::protect([] {
        CacheRegisterRelcacheCallback(on_invalidation, Datum{0});
        RegisterXactCallback(on_transaction_event, nullptr);
    });
    preloaded = process_shared_preload_libraries_in_progress;
}

OwnRefresh::OwnRefresh(Oid matview) noexcept { refreshed_by_its_job = matview; }

OwnRefresh::~OwnRefresh() { refreshed_by_its_job = InvalidOid; }

bool is_everywhere() { return preloaded; }

} // namespace orchestry::capture
