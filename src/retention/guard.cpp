#include "retention/guard.hpp"

#include "catalog/columns.hpp"
#include "catalog/hold.hpp"
#include "catalog/quarantine.hpp"
#include "pg/entry.hpp"

#include <algorithm>

namespace orchestry::retention {

namespace {

constinit object_access_hook_type previous_access_hook = nullptr;
constinit ProcessUtility_hook_type previous_utility_hook = nullptr;
constinit Oid exempt_relid = InvalidOid;

bool is_temporary(Oid relid) { return pg::call<get_rel_persistence>(relid) == RELPERSISTENCE_TEMP; }

/// Why somebody has set a hold, for those who may see it in orchestry.holds.
std::string reason_of(const catalog::Hold& hold) {
    return catalog::may_act_for(catalog::owner_of(hold.relid)) ? ": " + hold.reason : "";
}

/// Raises when something keeps the rows of a table. The caller has the lock under which they are to
/// go: a hold on the table itself that is being set at this moment is either seen or will find the
/// table gone; one on a table that it belongs to is waited for.
void refuse_if_held(Oid relid, const char* what) {
    if (relid == exempt_relid || !OidIsValid(catalog::hold_table()) || !catalog::is_installed() ||
        is_temporary(relid))
        return;
    if (pg::call<has_superclass>(relid) || catalog::find_detached(relid))
        pg::protect([] { LockRelationOid(catalog::hold_table(), catalog::hold_lock_mode); });
    const catalog::Holds holds;
    if (holds.empty())
        return;
    const std::vector<catalog::Hold> covering = holds.covering(relid);
    if (covering.empty())
        return;
    const catalog::Hold& hold = covering.front();
    throw base::Error(base::errc::not_prerequisite_state,
                      std::string("cannot ") + what + " " +
                          pg::relation_name(relid).value_or("the table") + " because it is held")
        .detail("Hold " + std::to_string(hold.id) + " covers it" + reason_of(hold) + ".")
        .hint("When the hold may end: " + catalog::release_command(hold.id));
}

/// The record of the holds cannot be taken away while there are some; not even with the extension.
void refuse_to_drop_holds() {
    if (catalog::any_in_force())
        throw base::Error(base::errc::not_prerequisite_state,
                          "cannot drop extension \"orchestry_ext\" while holds are in force")
            .detail("Nobody would know any more what has to be kept.")
            .hint("See SELECT hold_id, relation, reason FROM orchestry.holds WHERE released_at IS "
                  "NULL;");
}

void check_drop(Oid relid, int column) {
    const char kind = pg::call<get_rel_relkind>(relid);
    if ((kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE) ||
        !catalog::has_extension())
        return;
    // Of our own tables only one is looked at: the others may be gone already.
    if (pg::protect(
            [&] { return get_rel_namespace(relid) == get_namespace_oid("orchestry", true); })) {
        if (relid == catalog::hold_table())
            refuse_to_drop_holds();
        return;
    }
    // A column of one of our types goes with DROP EXTENSION too, after some of what holds are read
    // by.
    if (OidIsValid(catalog::hold_table()) && !catalog::holds_are_readable()) {
        refuse_to_drop_holds();
        return;
    }
    refuse_if_held(relid, column == 0 ? "drop" : "drop a column of");
}

/// A table comes to a parent or leaves it. Of DETACH only that in one go is stopped here: for the
/// second half of DETACH CONCURRENTLY, whose locks are weaker, it would be too late.
void check_leaving(Oid child, Oid parent) {
    // The command's own changes are not visible yet: what comes is not there, what leaves is.
    const std::vector<Oid> parents = catalog::parents_of(child);
    if (std::find(parents.begin(), parents.end(), parent) == parents.end())
        return;
    const bool is_to_leave = pg::protect([&] {
        const Relation relation = relation_open(parent, NoLock);
        const bool exclusively = CheckRelationLockedByMe(relation, AccessExclusiveLock, false);
        const bool is_partitioned = relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;
        relation_close(relation, NoLock);
        return exclusively || !is_partitioned;
    });
    if (is_to_leave)
        refuse_if_held(child, "detach");
}

/// TRUNCATE is refused where there is something to lose: pg_restore empties the tables that it has
/// just made. A partitioned table has nothing of its own, and its partitions come one by one.
void check_truncate(Oid relid) {
    if (pg::call<get_rel_relkind>(relid) != RELKIND_RELATION)
        return;
    // The server asks before it locks the table that the command names, and before it knows whether
    // the user may empty it: nobody is to wait for those who may not. As for whoever sets a hold,
    // the table comes before orchestry.hold.
    pg::protect([&] {
        if (pg_class_aclcheck(relid, GetUserId(), ACL_TRUNCATE) == ACLCHECK_OK)
            LockRelationOid(relid, AccessExclusiveLock);
    });
    const bool has_blocks = pg::protect([&] {
        const Relation relation = try_relation_open(relid, AccessShareLock);
        if (!relation)
            return false; // the command will say so
        const bool found = RelationGetNumberOfBlocks(relation) > 0;
        relation_close(relation, AccessShareLock);
        return found;
    });
    if (has_blocks)
        refuse_if_held(relid, "truncate");
}

void check_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void* arg) {
    if (access == OAT_TRUNCATE)
        check_truncate(object_id);
    else if (access == OAT_DROP && class_id == RelationRelationId)
        check_drop(object_id, sub_id);
    else if (access == OAT_POST_ALTER && class_id == InheritsRelationId)
        check_leaving(object_id, static_cast<ObjectAccessPostAlter*>(arg)->auxiliary_id);
}

void on_object_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void* arg) {
    if (previous_access_hook)
        previous_access_hook(access, class_id, object_id, sub_id, arg);
    const bool concerns_us = access == OAT_TRUNCATE ||
                             (access == OAT_DROP && class_id == RelationRelationId) ||
                             (access == OAT_POST_ALTER && class_id == InheritsRelationId);
    if (concerns_us)
        pg::enter("object_access_hook",
                  [&] { check_access(access, class_id, object_id, sub_id, arg); });
}

/// Before the first half of DETACH CONCURRENTLY. What retention has prepared was looked at row by
/// row.
void check_detach_concurrently(const RangeVar* name) {
    const Oid relid = pg::protect([&] { return RangeVarGetRelid(name, NoLock, true); });
    if (!OidIsValid(relid))
        return; // the statement itself will say so
    if (const auto record = catalog::find_quarantined(relid); record && !record->detached_at) {
        const std::vector<catalog::Hold> holds = catalog::Holds().covering(relid, record->extent);
        if (std::none_of(holds.begin(), holds.end(),
                         [](const catalog::Hold& hold) { return hold.predicate.empty(); }))
            return;
    }
    refuse_if_held(relid, "detach");
}

/// A held condition goes by the names of columns. What is renamed is so in all that has the column
/// from there, and what came into quarantine has the names that it had.
void check_rename(const RenameStmt* statement) {
    if (!OidIsValid(catalog::hold_table()))
        return;
    const auto column = catalog::renamed_column(*statement);
    if (!column)
        return;
    const catalog::Holds holds;
    if (holds.empty())
        return;
    for (const Oid table : column->tables)
        for (const catalog::Hold& hold : holds.covering_at_any_time(table)) {
            if (std::find(hold.columns.begin(), hold.columns.end(), column->name) ==
                hold.columns.end())
                continue;
            const std::string reason = reason_of(hold);
            throw base::Error(base::errc::not_prerequisite_state,
                              "cannot rename column " + pg::quote_identifier(column->name) +
                                  " of " + pg::relation_name(column->relid).value_or("the table") +
                                  " because a hold goes by it")
                .detail("Hold " + std::to_string(hold.id) + " covers rows that meet " +
                        (reason.empty() ? "a condition on it" : hold.predicate) + reason + ".")
                .hint("When the hold may end: " + catalog::release_command(hold.id));
        }
}

void check_utility(const Node* statement) {
    if (!catalog::is_installed())
        return;
    if (IsA(statement, RenameStmt)) {
        check_rename(reinterpret_cast<const RenameStmt*>(statement));
        return;
    }
    const List* const commands = reinterpret_cast<const AlterTableStmt*>(statement)->cmds;
    for (int i = 0; i < list_length(commands); ++i) {
        const auto* const command = static_cast<const AlterTableCmd*>(list_nth(commands, i));
        if (command->subtype != AT_DetachPartition)
            continue;
        const auto* const detach = reinterpret_cast<const PartitionCmd*>(command->def);
        if (detach->concurrent)
            check_detach_concurrently(detach->name);
    }
}

void on_utility(PlannedStmt* statement, const char* query, bool read_only,
                ProcessUtilityContext context, ParamListInfo params, QueryEnvironment* environment,
                DestReceiver* receiver, QueryCompletion* completion) {
    const bool concerns_us =
        IsA(statement->utilityStmt, AlterTableStmt) || IsA(statement->utilityStmt, RenameStmt);
    if (concerns_us && IsTransactionState())
        pg::enter("ProcessUtility_hook", [&] { check_utility(statement->utilityStmt); });
    const ProcessUtility_hook_type next =
        previous_utility_hook ? previous_utility_hook : standard_ProcessUtility;
    next(statement, query, read_only, context, params, environment, receiver, completion);
}

} // namespace

void install_guard() {
    previous_access_hook = object_access_hook;
    object_access_hook = on_object_access;
    previous_utility_hook = ProcessUtility_hook;
    ProcessUtility_hook = on_utility;
}

GuardExemption::GuardExemption(std::uint32_t relid) : previous_(exempt_relid) {
    exempt_relid = relid;
}
GuardExemption::~GuardExemption() { exempt_relid = previous_; }

} // namespace orchestry::retention
