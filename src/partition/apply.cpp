#include "partition/apply.hpp"

#include "pg/compat.hpp"
#include "pg/fault.hpp"

#include <algorithm>

namespace orchestry::partition {

// --- what a new partition looks like ------------------------------------------------------------

/// What is read of the newest partition that is a plain table.
struct Sibling {
    Oid relid = InvalidOid;
    Oid access_method = InvalidOid;
    char replica_identity = REPLICA_IDENTITY_DEFAULT;
    List* options = NIL; // of DefElem, toast options with their namespace
};

namespace {

/// Reads storage options into DefElems. C-like.
void add_options(Oid relid, const char* option_namespace, Sibling& sibling) {
    const HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
    if (!HeapTupleIsValid(tuple))
        return;
    bool null = true;
    const Datum options = SysCacheGetAttr(RELOID, tuple, Anum_pg_class_reloptions, &null);
    ListCell* cell = nullptr;
    foreach (cell, null ? NIL : untransformRelOptions(options)) {
        auto* const option = lfirst_node(DefElem, cell);
        option->defnamespace = option_namespace ? pstrdup(option_namespace) : nullptr;
        sibling.options = lappend(sibling.options, option);
    }
    ReleaseSysCache(tuple);
}

/// False: the relation is not a plain table. C-like.
bool read_sibling(Oid relid, Sibling& sibling) {
    const HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
    if (!HeapTupleIsValid(tuple))
        return false;
    const auto* const form = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple));
    const bool plain = form->relkind == RELKIND_RELATION;
    const Oid toast = form->reltoastrelid;
    if (plain) {
        sibling.relid = relid;
        sibling.access_method = form->relam;
        sibling.replica_identity = form->relreplident;
    }
    ReleaseSysCache(tuple);
    if (!plain)
        return false;
    add_options(relid, nullptr, sibling);
    if (OidIsValid(toast))
        add_options(toast, "toast", sibling);
    return true;
}

/// Whether new partitions are not to be logged: the parent says so where the server lets it (up to
/// 17) and no partition says otherwise, or every partition is like that. A single one that is
/// unlogged while it is being loaded must not make all later ones lose their rows in a crash.
bool are_unlogged(const Set& set, char parent) {
    bool unlogged = parent == RELPERSISTENCE_UNLOGGED;
    for (auto member = set.members.rbegin(); member != set.members.rend(); ++member) {
        if (pg::call<get_rel_relkind>(member->relid) != RELKIND_RELATION)
            continue;
        if (pg::call<get_rel_persistence>(member->relid) != RELPERSISTENCE_UNLOGGED)
            return false;
        unlogged = true;
    }
    return unlogged;
}

std::string options_clause(const List* options) {
    std::string clause;
    for (int i = 0; i < list_length(options); ++i) {
        const auto* const option = static_cast<const DefElem*>(list_nth(options, i));
        clause += clause.empty() ? " WITH (" : ", ";
        if (option->defnamespace)
            clause += std::string(option->defnamespace) + ".";
        clause += option->defname;
        // An option without a value is a boolean that is on.
        const char* const value = option->arg ? pg::protect([&]() -> const char* {
            return defGetString(const_cast<DefElem*>(option));
        })
                                              : "true";
        clause += " = " + pg::quote_literal(value);
    }
    return clause.empty() ? clause : clause + ")";
}

const char* command_of(char polcmd) {
    switch (polcmd) {
    case ACL_SELECT_CHR:
        return "SELECT";
    case ACL_INSERT_CHR:
        return "INSERT";
    case ACL_UPDATE_CHR:
        return "UPDATE";
    case ACL_DELETE_CHR:
        return "DELETE";
    default:
        return "ALL";
    }
}

/// The index of the parent to which the replica identity of its partition belongs, if any.
Oid parents_replica_index(Oid partition) {
    return pg::protect([&] {
        const Relation relation = table_open(partition, AccessShareLock);
        const Oid index = RelationGetReplicaIndex(relation);
        table_close(relation, AccessShareLock);
        return OidIsValid(index) && get_rel_relispartition(index)
                   ? get_partition_parent(index, false)
                   : InvalidOid;
    });
}

/// Whom a privilege is granted to.
std::string grantee(Oid role) { return role == ACL_ID_PUBLIC ? "PUBLIC" : pg::role_name(role); }

} // namespace

Template::Template(const Set& set)
    : parent_(set.relid), parent_quoted_(set.quoted), schema_id_(set.schema_id),
      schema_(set.schema) {
    const pg::OpenRelation parent(set.relid, AccessShareLock);
    if (const char* const comment = pg::protect(
            [&]() -> const char* { return GetComment(set.relid, RelationRelationId, 0); }))
        statements_.push_back({"COMMENT ON TABLE ", " IS " + pg::quote_literal(comment)});
    Sibling sibling;
    for (auto member = set.members.rbegin(); member != set.members.rend(); ++member)
        if (pg::protect([&] { return read_sibling(member->relid, sibling); }))
            break;
    read_storage(set, parent.get(), sibling);
    read_statistics_targets(parent.get());
    read_privileges(parent.get());
    read_row_policies(parent.get());
    read_replica_identity(parent.get(), sibling);
}

void Template::read_storage(const Set& set, Relation parent, const Sibling& sibling) {
    if (are_unlogged(set, parent->rd_rel->relpersistence))
        persistence_ = "UNLOGGED ";
    // From 17 on a parent can say which access method its new partitions have.
    const Oid access_method =
        OidIsValid(parent->rd_rel->relam) ? parent->rd_rel->relam : sibling.access_method;
    if (OidIsValid(access_method) && access_method != HEAP_TABLE_AM_OID)
        storage_ += " USING " + pg::quote_identifier(pg::protect(
                                    [&]() -> const char* { return get_am_name(access_method); }));
    storage_ += options_clause(sibling.options);
    if (OidIsValid(parent->rd_rel->reltablespace))
        storage_ += " TABLESPACE " + pg::quote_identifier(pg::protect([&]() -> const char* {
                        return get_tablespace_name(parent->rd_rel->reltablespace);
                    }));
}

void Template::read_statistics_targets(Relation parent) {
    const TupleDesc desc = RelationGetDescr(parent);
    for (int i = 0; i < desc->natts; ++i) {
        const Form_pg_attribute column = TupleDescAttr(desc, i);
        if (column->attisdropped)
            continue;
        const auto target = pg::protect([&] {
            const HeapTuple tuple =
                SearchSysCache2(ATTNUM, ObjectIdGetDatum(parent_), Int16GetDatum(i + 1));
            const std::optional<int> value = pg::compat::statistics_target(tuple);
            ReleaseSysCache(tuple);
            return value;
        });
        if (target)
            statements_.push_back(
                {"ALTER TABLE ", " ALTER COLUMN " + pg::quote_identifier(NameStr(column->attname)) +
                                     " SET STATISTICS " + std::to_string(*target)});
    }
}

/// Privileges are compared with what the owner's default privileges would give the new table, so
/// that in the end it has exactly its parent's.
void Template::read_privileges(Relation parent) {
    struct Lists {
        Datum own, defaults;
        bool own_null, defaults_null, columns;
    };
    const Oid owner = parent->rd_rel->relowner;
    const Lists lists = pg::protect([&] {
        Lists found{};
        const HeapTuple tuple = SearchSysCacheCopy1(RELOID, ObjectIdGetDatum(parent_));
        found.own = SysCacheGetAttr(RELOID, tuple, Anum_pg_class_relacl, &found.own_null);
        const Acl* const defaults =
            get_user_default_acl(OBJECT_TABLE, owner, RelationGetNamespace(parent));
        found.defaults = PointerGetDatum(defaults);
        found.defaults_null = defaults == nullptr;
        for (AttrNumber column = 1; column <= RelationGetNumberOfAttributes(parent); ++column) {
            const HeapTuple attribute =
                SearchSysCache2(ATTNUM, ObjectIdGetDatum(parent_), Int16GetDatum(column));
            found.columns |= !heap_attisnull(attribute, Anum_pg_attribute_attacl, nullptr);
            ReleaseSysCache(attribute);
        }
        return found;
    });
    pg::Spi spi;
    if (!lists.own_null || !lists.defaults_null) {
        spi.run("WITH acl AS (SELECT a.want, e.grantee, e.privilege_type, "
                "pg_catalog.bool_or(e.is_grantable) "
                "AS grantable FROM (VALUES (true, COALESCE($1, pg_catalog.acldefault('r', $3))), "
                "(false, COALESCE($2, pg_catalog.acldefault('r', $3)))) a(want, list), "
                "pg_catalog.aclexplode(a.list) e GROUP BY 1, 2, 3), "
                "grantee AS (SELECT grantee, pg_catalog.bool_or(NOT want) AS revoke FROM acl GROUP "
                "BY grantee HAVING "
                "pg_catalog.array_agg((privilege_type, grantable) ORDER BY privilege_type) FILTER "
                "(WHERE want) "
                "IS DISTINCT FROM "
                "pg_catalog.array_agg((privilege_type, grantable) ORDER BY privilege_type) FILTER "
                "(WHERE NOT want)) "
                "SELECT 'REVOKE ALL', grantee, false FROM grantee WHERE revoke UNION ALL "
                "SELECT 'GRANT ' OPERATOR(pg_catalog.||) pg_catalog.string_agg(privilege_type, ', "
                "' ORDER BY privilege_type), "
                "grantee, grantable FROM acl JOIN grantee USING (grantee) WHERE want GROUP BY "
                "grantee, grantable "
                "ORDER BY 1 DESC, 2, 3",
                pg::Param{ACLITEMARRAYOID, lists.own, lists.own_null},
                pg::Param{ACLITEMARRAYOID, lists.defaults, lists.defaults_null}, owner);
        for (std::uint64_t i = 0; i < spi.rows(); ++i) {
            const pg::Row row = spi.row(i);
            const bool revoke = row.text(1) == "REVOKE ALL";
            statements_.push_back(
                {row.text(1) + " ON TABLE ", (revoke ? " FROM " : " TO ") + grantee(row.oid(2)) +
                                                 (row.boolean(3) ? " WITH GRANT OPTION" : "")});
        }
    }
    if (!lists.columns)
        return;
    spi.run("SELECT e.privilege_type, pg_catalog.quote_ident(a.attname), e.grantee, "
            "pg_catalog.bool_or(e.is_grantable) FROM pg_catalog.pg_attribute a, "
            "pg_catalog.aclexplode(a.attacl) e "
            "WHERE a.attrelid OPERATOR(pg_catalog.=) $1 AND a.attacl IS NOT NULL AND NOT "
            "a.attisdropped "
            "GROUP BY a.attnum, 1, 2, 3 ORDER BY a.attnum, 3, 1",
            parent_);
    for (std::uint64_t i = 0; i < spi.rows(); ++i) {
        const pg::Row row = spi.row(i);
        statements_.push_back(
            {"GRANT " + row.text(1) + " (" + row.text(2) + ") ON TABLE ",
             " TO " + grantee(row.oid(3)) + (row.boolean(4) ? " WITH GRANT OPTION" : "")});
    }
}

void Template::read_row_policies(Relation parent) {
    if (parent->rd_rel->relrowsecurity)
        statements_.push_back({"ALTER TABLE ", " ENABLE ROW LEVEL SECURITY"});
    if (parent->rd_rel->relforcerowsecurity)
        statements_.push_back({"ALTER TABLE ", " FORCE ROW LEVEL SECURITY"});
    pg::Spi spi;
    // Most sets have none, and then there is nothing to ask SQL for.
    const bool any = pg::protect([&] {
        ScanKeyData key;
        ScanKeyInit(&key, Anum_pg_policy_polrelid, BTEqualStrategyNumber, F_OIDEQ,
                    ObjectIdGetDatum(parent_));
        const Relation policies = table_open(PolicyRelationId, AccessShareLock);
        const SysScanDesc scan =
            systable_beginscan(policies, PolicyPolrelidPolnameIndexId, true, nullptr, 1, &key);
        const bool found = HeapTupleIsValid(systable_getnext(scan));
        systable_endscan(scan);
        table_close(policies, AccessShareLock);
        return found;
    });
    if (!any)
        return;
    spi.run(
        "SELECT p.polname, p.polpermissive, p.polcmd, p.polqual::pg_catalog.text, "
        "p.polwithcheck::pg_catalog.text, "
        "(SELECT pg_catalog.string_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE "
        "pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(r)) END, ', ') FROM "
        "pg_catalog.unnest(p.polroles) r) "
        "FROM pg_catalog.pg_policy p WHERE p.polrelid OPERATOR(pg_catalog.=) $1 ORDER BY p.polname",
        parent_);
    for (std::uint64_t i = 0; i < spi.rows(); ++i) {
        const pg::Row row = spi.row(i);
        row_policies_.push_back({pg::quote_identifier(row.text(1)),
                                 std::string(" AS ") +
                                     (row.boolean(2) ? "PERMISSIVE" : "RESTRICTIVE") + " FOR " +
                                     command_of(DatumGetChar(row.datum(3))) + " TO " + row.text(6),
                                 row.text(4), row.text(5)});
    }
}

/// ALTER TABLE ... REPLICA IDENTITY of a parent does not reach its partitions, so that many parents
/// have the default while their partitions have what is published: then the newest decides.
void Template::read_replica_identity(Relation parent, const Sibling& sibling) {
    const bool has_own = parent->rd_rel->relreplident != REPLICA_IDENTITY_DEFAULT;
    switch (has_own ? parent->rd_rel->relreplident : sibling.replica_identity) {
    case REPLICA_IDENTITY_FULL:
        replica_identity_ = "FULL";
        break;
    case REPLICA_IDENTITY_NOTHING:
        if (has_own) // one partition alone may be like that for a while only
            replica_identity_ = "NOTHING";
        break;
    case REPLICA_IDENTITY_INDEX:
        replica_index_ = has_own ? pg::call<RelationGetReplicaIndex>(parent)
                                 : parents_replica_index(sibling.relid);
        break;
    default:
        break;
    }
}

/// SQL of a stored expression over the parent, as if it were one over the new table: an inner query
/// that mentions the parent's row by name then mentions the new table's.
std::string Template::deparse(const std::string& nodes, const std::string& name) const {
    return pg::protect([&]() -> const char* {
        return deparse_expression(static_cast<Node*>(stringToNode(nodes.c_str())),
                                  deparse_context_for(name.c_str(), parent_), false, false);
    });
}

std::string Template::quoted(const std::string& name) const {
    return schema_ + "." + pg::quote_identifier(name);
}

std::vector<std::string> Template::create(const std::string& name) const {
    const std::string table = quoted(name);
    std::vector<std::string> sql{"CREATE " + persistence_ + "TABLE " + table + " (LIKE " +
                                 parent_quoted_ + " INCLUDING ALL EXCLUDING IDENTITY)" + storage_};
    for (const Statement& statement : statements_)
        sql.push_back(statement.before + table + statement.after);
    for (const RowPolicy& policy : row_policies_) {
        std::string text = "CREATE POLICY " + policy.name + " ON " + table + policy.middle;
        if (!policy.using_nodes.empty())
            text += " USING (" + deparse(policy.using_nodes, name) + ")";
        if (!policy.check_nodes.empty())
            text += " WITH CHECK (" + deparse(policy.check_nodes, name) + ")";
        sql.push_back(std::move(text));
    }
    return sql;
}

std::optional<std::string> Template::finish(const std::string& name) const {
    const std::string table = quoted(name);
    if (!replica_identity_.empty())
        return "ALTER TABLE " + table + " REPLICA IDENTITY " + replica_identity_;
    if (!OidIsValid(replica_index_))
        return std::nullopt;
    const Oid index = pg::protect([&] {
        const Oid relid = get_relname_relid(name.c_str(), schema_id_);
        if (!OidIsValid(relid))
            return replica_index_;
        const Relation partition = table_open(relid, AccessShareLock);
        const Oid found = index_get_partition(partition, replica_index_);
        table_close(partition, AccessShareLock);
        return OidIsValid(found) ? found : replica_index_;
    });
    return "ALTER TABLE " + table + " REPLICA IDENTITY USING INDEX " +
           pg::quote_identifier(pg::protect([&]() -> const char* { return get_rel_name(index); }));
}

// --- steps as statements ------------------------------------------------------------------------

namespace {

/// The tables at the other ends of the parent's foreign keys, in either direction, in the order of
/// their OIDs, with the partitions of those that have some: ATTACH locks them all against writers.
std::vector<Oid> foreign_key_relatives(Oid parent) {
    const pg::OpenRelation relation(parent, AccessShareLock);
    std::vector<Oid> relatives;
    const TriggerDesc* const triggers = relation->trigdesc;
    for (int i = 0; triggers && i < triggers->numtriggers; ++i) {
        const Trigger& trigger = triggers->triggers[i];
        if (!OidIsValid(trigger.tgconstrrelid) ||
            RI_FKey_trigger_type(trigger.tgfoid) == RI_TRIGGER_NONE)
            continue;
        const List* const all = pg::protect(
            [&] { return find_all_inheritors(trigger.tgconstrrelid, NoLock, nullptr); });
        for (int n = 0; n < list_length(all); ++n)
            relatives.push_back(list_nth_oid(all, n));
    }
    std::sort(relatives.begin(), relatives.end());
    relatives.erase(std::unique(relatives.begin(), relatives.end()), relatives.end());
    return relatives;
}

} // namespace

std::vector<pg::LockRequest> attach_locks(const Set& set) {
    std::vector<pg::LockRequest> locks;
    LOCKMODE parent_mode = ShareUpdateExclusiveLock;
    for (const Oid relid : foreign_key_relatives(set.relid)) {
        if (relid == set.relid)
            parent_mode =
                ShareRowExclusiveLock; // it references itself: no upgrade while holding the weaker
        else
            locks.push_back({relid, ShareRowExclusiveLock});
    }
    locks.push_back({set.relid, parent_mode});
    if (set.fallback)
        locks.push_back({set.fallback->relid, AccessExclusiveLock});
    return locks;
}

std::string attach_sql(const Set& set, const PlannedStep& step, const std::string& table) {
    return "ALTER TABLE " + set.quoted + " ATTACH PARTITION " + table + " FOR VALUES FROM (" +
           bound_sql(set.kind, step.range.lower, step.exact_lower) + ") TO (" +
           bound_sql(set.kind, step.range.upper, step.exact_upper) + ")";
}

std::string drop_constraint_sql(const std::string& table, const std::string& constraint) {
    return "ALTER TABLE " + table + " DROP CONSTRAINT " + pg::quote_identifier(constraint);
}

namespace {

/// The opposite of a range in the form in which the server looks for it when it attaches a
/// partition.
std::string outside_condition(const Set& set, const PlannedStep& step) {
    std::string condition = set.key + " IS NULL OR " + set.key + " < " +
                            bound_sql(set.kind, step.range.lower, step.exact_lower);
    if (step.range.upper.kind == Bound::Kind::value)
        condition +=
            " OR " + set.key + " >= " + bound_sql(set.kind, step.range.upper, step.exact_upper);
    return condition;
}

/// What create_partition() runs, for display.
std::vector<std::string> create_sql(const Set& set, const Template& shape,
                                    const PlannedStep& step) {
    std::vector<std::string> sql = shape.create(step.name);
    sql.push_back(attach_sql(set, step, shape.quoted(step.name)));
    if (auto last = shape.finish(step.name))
        sql.push_back(*std::move(last));
    if (!step.exclusion.empty())
        sql.push_back(drop_constraint_sql(set.fallback->quoted, step.exclusion));
    return sql;
}

/// Partitions that autovacuum has just now are passed over: they get their own statistics from it.
std::string analyze_sql(const Set& set) {
    return std::string("ANALYZE (SKIP_LOCKED) ") + (pg::compat::has_analyze_only ? "ONLY " : "") +
           set.quoted;
}

} // namespace

std::vector<Step> prepare(const Set& set, std::vector<PlannedStep> planned) {
    std::optional<Template> shape;
    std::vector<pg::LockRequest> create_locks;
    std::vector<Step> steps;
    for (PlannedStep& plan : planned) {
        Step step{std::move(plan), {}, {}, {}};
        const PlannedStep& p = step.planned;
        step.object = p.object;
        switch (p.action) {
        case Action::create:
            if (!shape) {
                shape.emplace(set);
                create_locks = attach_locks(set);
            }
            step.object = shape->quoted(p.name);
            step.statements = create_sql(set, *shape, p);
            step.lock_requests = create_locks;
            break;
        case Action::exclude_default:
            step.statements = {"ALTER TABLE " + p.object + " ADD CONSTRAINT " +
                               pg::quote_identifier(p.exclusion) + " CHECK (" +
                               outside_condition(set, p) + ") NOT VALID"};
            step.lock_requests = {{p.relid, AccessExclusiveLock}};
            break;
        case Action::validate_default:
            step.statements = {"ALTER TABLE " + p.object + " VALIDATE CONSTRAINT " +
                               pg::quote_identifier(p.exclusion)};
            step.lock_requests = {{p.relid, ShareUpdateExclusiveLock}};
            break;
        case Action::drop_exclusion:
            step.statements = {drop_constraint_sql(p.object, p.exclusion)};
            step.lock_requests = {{p.relid, AccessExclusiveLock}};
            break;
        case Action::finalize_detach:
            step.statements = {"ALTER TABLE " + set.quoted + " DETACH PARTITION " + p.object +
                               " FINALIZE"};
            step.lock_requests = {{set.relid, ShareUpdateExclusiveLock},
                                  {p.relid, AccessExclusiveLock}};
            break;
        case Action::analyze:
            step.statements = {analyze_sql(set)};
            step.lock_requests = {{set.relid, ShareUpdateExclusiveLock}};
            break;
        case Action::leave:
            break;
        }
        steps.push_back(std::move(step));
    }
    return steps;
}

// --- execution ----------------------------------------------------------------------------------

StatementScope::StatementScope(std::int64_t lock_budget_us) {
    guc_.set("default_tablespace", "");
    guc_.set("default_table_access_method", "heap");
    pg::set_lock_timeout(guc_, lock_budget_us);
}

namespace {

/// Why a step cannot be applied any more, or nothing. The set is as it is under the step's locks.
std::string obsolete(const Set& set, const PlannedStep& step) {
    const auto gone = [](const std::string& what) { return what + " is not there any more"; };
    const auto find_exclusion = [&]() -> const Exclusion* {
        if (!set.fallback || (step.relid != 0 && set.fallback->relid != step.relid))
            return nullptr;
        for (const Exclusion& exclusion : set.fallback->exclusions)
            if (exclusion.name == step.exclusion)
                return &exclusion;
        return nullptr;
    };
    switch (step.action) {
    case Action::create:
        if (!catalog::is_free(set.relid, set.kind, step.range))
            return "the range has a partition by now";
        if (set.fallback && !set.fallback->stranger.empty())
            return "the default partition has another owner by now";
        if (const auto holder = ServerWorld(set).holder_of(step.name))
            return "the name is taken by " + *holder;
        if (set.fallback && step.exclusion.empty() &&
            ServerWorld(set).default_pages() > small_default_pages)
            return "the default partition is large by now, and attaching would scan it";
        if (!step.exclusion.empty() && !(find_exclusion() && find_exclusion()->validated))
            return "the default partition was not checked";
        return {};
    case Action::exclude_default:
        if (!set.fallback || set.fallback->relid != step.relid)
            return gone("the default partition");
        return find_exclusion() ? "the constraint is there by now" : "";
    case Action::validate_default:
        if (!find_exclusion())
            return gone("the constraint");
        return find_exclusion()->validated ? "the constraint is valid by now" : "";
    case Action::drop_exclusion:
        return find_exclusion() ? "" : gone("the constraint");
    case Action::finalize_detach: {
        const bool pending =
            std::any_of(set.members.begin(), set.members.end(),
                        [&](const Member& m) { return m.relid == step.relid && m.detach_pending; });
        if (pending && set.retention_runs)
            return "a run of retention is detaching it";
        return pending ? "" : "the detach was completed by now";
    }
    default:
        return {};
    }
}

} // namespace

Oid create_partition(const Set& set, const PlannedStep& step) {
    const Template shape(set);
    pg::run_statements(shape.create(step.name));
    ORCHESTRY_FAULT_POINT("table created");
    pg::run_statements({attach_sql(set, step, shape.quoted(step.name))});
    ORCHESTRY_FAULT_POINT("table attached");
    if (const auto last = shape.finish(step.name))
        pg::run_statements({*last});
    if (!step.exclusion.empty())
        pg::run_statements({drop_constraint_sql(set.fallback->quoted, step.exclusion)});
    return pg::protect([&] { return get_relname_relid(step.name.c_str(), set.schema_id); });
}

Applied apply(Oid parent, catalog::JobId job, const Settings& settings, const Step& step,
              std::int64_t lock_budget_us) {
    Applied applied;
    applied.lock_wait_us = pg::lock_relations(step.lock_requests, lock_budget_us);
    ORCHESTRY_FAULT_POINT("step locked");
    const auto not_done = [&](std::string why) {
        applied.why_not = std::move(why);
        return applied;
    };
    if (!pg::relation_name(parent))
        return not_done("the table is not there any more");
    if (catalog::owner_of(parent) != GetUserId())
        return not_done("the table has another owner by now");
    const Settings current = load_settings(job);
    if (current != settings)
        return not_done("the policy was changed meanwhile");
    const CheckedPolicy policy(current, catalog::require_key_column(parent), Names::checked_before);
    const Set set = inspect(parent, policy.kind());
    if (std::string why = obsolete(set, step.planned); !why.empty())
        return not_done(std::move(why));
    const StatementScope pinned(lock_budget_us - applied.lock_wait_us);
    if (step.planned.action == Action::create) {
        (void)create_partition(set, step.planned);
    } else {
        pg::GucLevel guc; // ANALYZE warns about each partition that it passes over
        guc.set("client_min_messages", "error");
        pg::run_statements(step.statements);
    }
    applied.done = true;
    return applied;
}

} // namespace orchestry::partition
