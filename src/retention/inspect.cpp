#include "retention/inspect.hpp"

#include "capture/capture.hpp"
#include "catalog/archive_file.hpp"
#include "catalog/compression.hpp"
#include "catalog/strangers.hpp"
#include "pg/xact.hpp"
#include "retention/archive.hpp"

#include <algorithm>

namespace orchestry::retention {

namespace {

/// A name in the schema of a relation, qualified and quoted.
std::string beside(Oid relid, const std::string& name) {
    const char* const schema =
        pg::protect([&]() -> const char* { return get_namespace_name(get_rel_namespace(relid)); });
    return pg::quote_qualified(schema ? schema : "", name);
}

/// What keeps a role from reading a table, as the command that ends it; empty: nothing.
std::string remedy(Oid role, Oid relid) {
    pg::Spi spi;
    spi.run(
        "SELECT CASE WHEN NOT pg_catalog.has_schema_privilege(r.oid, c.relnamespace, 'USAGE') "
        "THEN pg_catalog.format('GRANT USAGE ON SCHEMA %I TO %I;', n.nspname, r.rolname) "
        "WHEN NOT pg_catalog.has_table_privilege(r.oid, c.oid, 'SELECT') "
        "THEN pg_catalog.format('GRANT SELECT ON %I.%I TO %I;', n.nspname, c.relname, r.rolname) "
        "WHEN c.relrowsecurity AND NOT r.rolsuper AND NOT r.rolbypassrls "
        "AND (c.relforcerowsecurity OR NOT pg_catalog.pg_has_role(r.oid, c.relowner, 'USAGE')) "
        "THEN pg_catalog.format('ALTER ROLE %I BYPASSRLS;', r.rolname) ELSE '' END "
        "FROM pg_catalog.pg_roles r, pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
        "ON n.oid OPERATOR(pg_catalog.=) c.relnamespace "
        "WHERE r.oid OPERATOR(pg_catalog.=) $1 AND c.oid OPERATOR(pg_catalog.=) $2",
        role, relid);
    return spi.rows() == 0 ? std::string() : spi.row(0).text(1);
}

/// Whether a table can be at either end of a foreign key, which is kept by triggers on both tables.
bool has_triggers(Oid relid) {
    return pg::protect([&] {
        const HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
        if (!HeapTupleIsValid(tuple))
            return false;
        const bool has = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relhastriggers;
        ReleaseSysCache(tuple);
        return has;
    });
}

/// `source`: FROM and WHERE, with the table as $1.
std::vector<ForeignKey> select_foreign_keys(const std::string& other, const std::string& source,
                                            Oid relid) {
    if (!has_triggers(relid)) // most tables: spare them the query
        return {};
    pg::Spi spi;
    spi.run_kept("SELECT DISTINCT c.oid, pg_catalog.quote_ident(c.conname), " + other + " " +
                     source + " AND c.contype OPERATOR(pg_catalog.=) 'f' ORDER BY 3, 1",
                 relid);
    std::vector<ForeignKey> keys;
    for (std::uint64_t i = 0; i < spi.rows(); ++i) {
        const pg::Row row = spi.row(i);
        keys.push_back({row.oid(1), row.text(2), row.oid(3), {}, false, {}});
    }
    for (ForeignKey& key : keys) {
        key.table = pg::relation_name(key.relid).value_or("");
        key.in_quarantine = catalog::find_quarantined(key.relid).has_value();
    }
    return keys;
}

/// Writes into each thing what else needs it, so that it cannot be dropped alone: what depends on
/// the table, or on the type of its rows. What is a part of the table as well goes with it,
/// whatever columns it names: policies, triggers, constraints, publications of some rows.
void find_dependents(std::vector<Thing*> things) {
    std::vector<Oid> relids;
    for (const Thing* thing : things)
        relids.push_back(thing->relid);
    if (relids.empty())
        return;
    pg::Spi spi;
    spi.run(
        "SELECT t.oid, pg_catalog.string_agg(DISTINCT "
        "pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid), ', ') "
        "FROM pg_catalog.pg_class t LEFT JOIN pg_catalog.pg_type r "
        "ON r.oid OPERATOR(pg_catalog.=) t.reltype CROSS JOIN LATERAL (VALUES "
        "('pg_catalog.pg_class'::pg_catalog.regclass, t.oid), "
        "('pg_catalog.pg_type'::pg_catalog.regclass, r.oid), "
        "('pg_catalog.pg_type'::pg_catalog.regclass, r.typarray)) o (class, id) "
        "JOIN pg_catalog.pg_depend d ON d.refclassid OPERATOR(pg_catalog.=) o.class "
        "AND d.refobjid OPERATOR(pg_catalog.=) o.id AND d.deptype OPERATOR(pg_catalog.=) 'n' "
        "WHERE t.oid OPERATOR(pg_catalog.=) ANY ($1) AND NOT EXISTS (SELECT FROM "
        "pg_catalog.pg_depend own WHERE own.classid OPERATOR(pg_catalog.=) d.classid "
        "AND own.objid OPERATOR(pg_catalog.=) d.objid AND own.refclassid OPERATOR(pg_catalog.=) "
        "'pg_catalog.pg_class'::pg_catalog.regclass AND own.refobjid OPERATOR(pg_catalog.=) t.oid "
        "AND own.deptype OPERATOR(pg_catalog.=) ANY ('{a,i}'::pg_catalog.\"char\"[])) "
        "GROUP BY t.oid",
        relids);
    for (std::uint64_t i = 0; i < spi.rows(); ++i)
        for (Thing* thing : things)
            if (thing->relid == spi.row(i).oid(1))
                thing->dependents = spi.row(i).text(2);
}

class Inspection {
  public:
    Inspection(Oid parent, base::KeyKind kind, catalog::JobId job)
        : table_(catalog::read_partitioned_table(parent, kind)), owner_(catalog::owner_of(parent)),
          job_(job), records_(catalog::quarantined_by(job)) {}

    Set set() const;

  private:
    void fill(Thing& thing, Oid relid, const std::optional<base::TimeExtent>& extent) const;
    Partition partition(const base::Member& member) const;
    Detached detached(const catalog::Quarantined& record) const;
    InFile in_file(Oid relid) const;
    const catalog::Quarantined* record_of(Oid relid) const;
    bool is_member(Oid relid) const;

    const catalog::PartitionedTable table_;
    const Oid owner_;
    const catalog::JobId job_;
    const std::vector<catalog::Quarantined> records_;
    const catalog::Holds holds_;
};

const catalog::Quarantined* Inspection::record_of(Oid relid) const {
    const auto found =
        std::find_if(records_.begin(), records_.end(),
                     [&](const catalog::Quarantined& record) { return record.relid == relid; });
    return found == records_.end() ? nullptr : &*found;
}

bool Inspection::is_member(Oid relid) const {
    return std::any_of(table_.members.begin(), table_.members.end(),
                       [&](const base::Member& member) { return member.relid == relid; });
}

void Inspection::fill(Thing& thing, Oid relid,
                      const std::optional<base::TimeExtent>& extent) const {
    thing.relid = relid;
    thing.quoted = pg::relation_name(relid).value_or("");
    if (const auto found = strangers_table(relid, owner_)) {
        thing.stranger = found->role;
        if (found->relid != relid)
            thing.strangers_part = pg::relation_name(found->relid).value_or("");
    }
    thing.holds = holds_on(holds_, relid, owner_, extent);
}

Partition Inspection::partition(const base::Member& member) const {
    Partition partition;
    fill(partition, member.relid, base::time_extent(table_.kind, member.range));
    partition.quoted = member.quoted;
    partition.range = member.range;
    partition.exact_lower = member.exact_lower;
    partition.exact_upper = member.exact_upper;
    partition.detach_pending = member.detach_pending;
    partition.renamed = record_of(member.relid) != nullptr;
    partition.quarantined = partition.renamed
                                ? member.quoted
                                : beside(member.relid, quarantine_name(member.relid, member.name));
    partition.has_parts = pg::call<get_rel_relkind>(member.relid) == RELKIND_PARTITIONED_TABLE;
    return partition;
}

InFile Inspection::in_file(Oid relid) const {
    if (pg::call<get_rel_relkind>(relid) != RELKIND_RELATION)
        return InFile::has_none;
    const auto file = catalog::file_of(job_, relid);
    return !file ? InFile::no : file->is_published ? InFile::yes : InFile::unnamed;
}

Detached Inspection::detached(const catalog::Quarantined& record) const {
    Detached detached;
    fill(detached, record.relid, std::nullopt); // its record says of which times it was
    detached.in_file = in_file(record.relid);
    detached.former = beside(record.relid, record.former_name);
    detached.at = record.detached_at;
    // A table comes after those that it is a partition of, so from the end on none has partitions
    // left.
    const std::vector<Oid> family = pg::family_of(record.relid);
    for (std::size_t i = family.size() - 1; i > 0; --i) {
        Thing part;
        fill(part, family[i], std::nullopt);
        part.in_file = in_file(part.relid);
        detached.parts.push_back(std::move(part));
    }
    return detached;
}

Set Inspection::set() const {
    Set set;
    set.relid = table_.relid;
    set.quoted = table_.quoted;
    set.owner = pg::role_name(owner_);
    set.kind = table_.kind;
    for (const base::Member& member : table_.members)
        set.partitions.push_back(partition(member));
    if (table_.fallback) {
        set.fallback.emplace();
        fill(*set.fallback, table_.fallback->relid, std::nullopt);
    }
    set.references = foreign_keys_of(table_.relid);
    set.referenced_by = foreign_keys_to(table_.relid);
    for (const catalog::Quarantined& record : records_)
        if (!is_member(record.relid))
            set.quarantine.push_back(detached(record));
    std::vector<Thing*> things;
    for (Detached& detached : set.quarantine) {
        things.push_back(&detached);
        for (Thing& part : detached.parts)
            things.push_back(&part);
    }
    find_dependents(things);
    set.is_compressed = catalog::is_compressed(table_.relid);
    set.is_archived = !archivers_of(table_.relid).empty();
    set.is_watched = !capture::watches_on(table_.relid).empty();
    if (table_.kind == base::KeyKind::integer)
        // The keys have come this far at least: what counts back from there is never too young.
        if (const auto frontier = catalog::integer_frontier(table_))
            if (frontier->lower.kind == base::Bound::Kind::value)
                set.position = frontier->lower.at;
    return set;
}

} // namespace

Set inspect(Oid parent, base::KeyKind kind, catalog::JobId job) {
    return Inspection(parent, kind, job).set();
}

std::vector<ForeignKey> foreign_keys_of(Oid relid) {
    return select_foreign_keys(
        "c.confrelid", "FROM pg_catalog.pg_constraint c WHERE c.conrelid OPERATOR(pg_catalog.=) $1",
        relid);
}

std::vector<ForeignKey> foreign_keys_to(Oid relid) {
    // No index of pg_constraint leads to the constraints that reference a table; what they depend
    // on does.
    std::vector<ForeignKey> keys = select_foreign_keys(
        "c.conrelid",
        "FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_constraint c "
        "ON c.oid OPERATOR(pg_catalog.=) d.objid WHERE d.classid OPERATOR(pg_catalog.=) "
        "'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.refclassid OPERATOR(pg_catalog.=) "
        "'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid OPERATOR(pg_catalog.=) $1 "
        "AND c.confrelid OPERATOR(pg_catalog.=) $1 AND c.conparentid OPERATOR(pg_catalog.=) 0",
        relid);
    const Oid owner = catalog::owner_of(relid);
    for (ForeignKey& key : keys) {
        // Planning a query of a stranger's table runs functions in its indexes.
        const auto part = catalog::find_strangers_part(key.relid, owner);
        key.remedy = part ? part->remedy : remedy(owner, key.relid);
    }
    return keys;
}

std::optional<StrangersTable> strangers_table(Oid relid, Oid set_owner) {
    const auto look_at = [&](Oid table) -> std::optional<StrangersTable> {
        std::string role = stranger(table, set_owner);
        return role.empty() ? std::nullopt
                            : std::optional<StrangersTable>({table, std::move(role)});
    };
    // Nothing can be below most partitions; looking there takes longer than all the rest.
    const bool is_leaf = pg::protect([&] {
        return get_rel_relispartition(relid) && get_rel_relkind(relid) != RELKIND_PARTITIONED_TABLE;
    });
    if (is_leaf)
        return look_at(relid);
    for (const Oid table : pg::family_of(relid))
        if (auto found = look_at(table))
            return found;
    return std::nullopt;
}

std::vector<Hold> holds_on(const catalog::Holds& holds, Oid relid, Oid set_owner,
                           const std::optional<base::TimeExtent>& extent) {
    std::vector<Hold> result;
    if (holds.empty())
        return result;
    for (const catalog::Hold& hold : catalog::trusted(holds.covering(relid, extent), set_owner))
        result.push_back({hold.id, hold.reason, hold.predicate});
    return result;
}

bool ServerWorld::may_find_row(const std::string& query) const {
    bool found = false;
    const auto failure = pg::in_subtransaction([&] {
        const catalog::AsOwner owner(set_);
        pg::Spi spi;
        found = spi.run(query) > 0;
    });
    if (failure && failure->is(base::errc::query_canceled))
        pg::raise(*failure);
    return failure || found;
}

std::string ServerWorld::dependents(const Partition& partition) const {
    Thing thing = partition;
    find_dependents({&thing});
    return thing.dependents;
}

bool ServerWorld::has_held_row(const Thing& thing, const Hold& hold) const {
    return may_find_row("SELECT FROM " + thing.quoted + " WHERE " + hold.predicate + " LIMIT 1");
}

bool ServerWorld::awaits_compression(const Partition& partition) const {
    const catalog::AsOwner owner(set_);
    return catalog::awaits_compression(partition.relid);
}

std::optional<std::int64_t> ServerWorld::awaits_archive(const Partition& partition) const {
    const Oid owner = catalog::owner_of(set_);
    for (const Archiver& archiver : archivers_of(partition.relid))
        // A stranger's condition is not run to find out.
        if ((!archiver.predicate.empty() && !stranger(archiver.relid, owner).empty()) ||
            may_find_row(unarchived_row_sql(archiver, partition.relid)))
            return archiver.job.value;
    return std::nullopt;
}

std::string ServerWorld::awaited_by(const Partition& partition) const {
    return catalog::describe_jobs(capture::unread_by(partition.relid));
}

bool ServerWorld::is_referenced(const Partition& partition, const ForeignKey& key) const {
    const catalog::AsOwner owner(set_);
    pg::Spi spi;
    spi.run(
        "SELECT pg_catalog.string_agg("
        "pg_catalog.format('p.%I OPERATOR(%I.%s) f.%I%s', p.attname, n.nspname, o.oprname, "
        "f.attname, (SELECT pg_catalog.format(' COLLATE %I.%I', cn.nspname, l.collname) "
        "FROM pg_catalog.pg_collation l JOIN pg_catalog.pg_namespace cn "
        "ON cn.oid OPERATOR(pg_catalog.=) l.collnamespace "
        "WHERE l.oid OPERATOR(pg_catalog.=) p.attcollation "
        "AND p.attcollation OPERATOR(pg_catalog.<>) f.attcollation)), ' AND ') "
        "FROM pg_catalog.pg_constraint c, ROWS FROM (pg_catalog.unnest(c.confkey), "
        "pg_catalog.unnest(c.conkey), "
        "pg_catalog.unnest(c.conpfeqop)) k (primary_number, foreign_number, operator_id) "
        "JOIN pg_catalog.pg_operator o ON o.oid OPERATOR(pg_catalog.=) k.operator_id "
        "JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) o.oprnamespace, "
        "pg_catalog.pg_attribute p, pg_catalog.pg_attribute f "
        "WHERE c.oid OPERATOR(pg_catalog.=) $1 AND p.attrelid OPERATOR(pg_catalog.=) c.confrelid "
        "AND p.attnum OPERATOR(pg_catalog.=) k.primary_number AND f.attrelid "
        "OPERATOR(pg_catalog.=) c.conrelid "
        "AND f.attnum OPERATOR(pg_catalog.=) k.foreign_number",
        static_cast<Oid>(key.constraint));
    const std::string join = spi.row(0).text(1);
    return !join.empty() && // the constraint is gone
           spi.run("SELECT FROM " + partition.quoted + " p JOIN " + key.table + " f ON " + join +
                   " LIMIT 1") > 0;
}

} // namespace orchestry::retention
