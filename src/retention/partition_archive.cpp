#include "retention/partition_archive.hpp"

#include "capture/capture.hpp"
#include "pg/fault.hpp"
#include "retention/archive.hpp"
#include "retention/guard.hpp"
#include "retention/inspect.hpp"

#include <algorithm>

namespace orchestry::retention {

using base::bound_sql;

namespace {

/// How the names of constraints begin that say what the bounds say; the bounds follow, so that one
/// is never taken for another's.
constexpr std::string_view range_constraint = "orchestry_range_";

std::string name_of(Oid relid) { return pg::relation_name(relid).value_or(""); }

/// The text of one value that a query of ours finds; empty: it is NULL, or there is no row.
template <typename... Values>
std::string asked(const std::string& sql, const Values&... values) {
    pg::Spi spi;
    spi.run_kept(sql, values...);
    return spi.rows() == 0 || spi.row(0).is_null(1) ? std::string() : spi.row(0).text(1);
}

bool is_partition(Oid relid) { return pg::call<get_rel_relispartition>(Oid{relid}); }

Oid default_partition(Oid relid) {
    return pg::protect([&] { return get_default_partition_oid(relid); });
}

std::string of_foreign_keys(Oid relid) {
    std::vector<ForeignKey> keys = foreign_keys_of(relid);
    if (keys.empty())
        keys = foreign_keys_to(relid);
    return keys.empty() ? "" : "foreign key " + keys.front().name + " would not come along";
}

std::string of_key(Oid relid, Oid archive) {
    const catalog::KeyColumn key = catalog::require_key_column(relid);
    const auto other = catalog::has_supported_key(archive)
                           ? std::optional(catalog::require_key_column(archive))
                           : std::nullopt;
    if (!other || other->name != key.name || other->type != key.type)
        return name_of(archive) + " is not partitioned by the range of " +
               pg::quote_identifier(key.name);
    return asked("SELECT 'the archive is partitioned by another order of values' "
                 "FROM pg_catalog.pg_partitioned_table s, pg_catalog.pg_partitioned_table a "
                 "WHERE s.partrelid OPERATOR(pg_catalog.=) $1 AND a.partrelid "
                 "OPERATOR(pg_catalog.=) $2 AND (s.partclass[0] OPERATOR(pg_catalog.<>) "
                 "a.partclass[0] OR s.partcollation[0] OPERATOR(pg_catalog.<>) "
                 "a.partcollation[0])",
                 relid, archive);
}

/// What sees every row that comes into the archive, but no partition that does.
std::string of_rows_that_come(Oid archive) {
    if (!capture::watches_on(archive).empty())
        return "what is made of the archive has to see its rows come";
    return asked("SELECT COALESCE((SELECT pg_catalog.format('trigger %I of the archive has to see "
                 "its rows come', t.tgname) FROM pg_catalog.pg_trigger t "
                 "WHERE t.tgrelid OPERATOR(pg_catalog.=) $1 AND NOT t.tgisinternal "
                 "AND t.tgenabled OPERATOR(pg_catalog.<>) 'D' AND t.tgtype::pg_catalog.int4 "
                 "OPERATOR(pg_catalog.&) 4 OPERATOR(pg_catalog.<>) 0 ORDER BY t.tgname LIMIT 1), "
                 "(SELECT pg_catalog.format('rule %I of the archive has to see its rows come', "
                 "r.rulename) FROM pg_catalog.pg_rewrite r WHERE r.ev_class "
                 "OPERATOR(pg_catalog.=) $1 ORDER BY r.rulename LIMIT 1))",
                 archive);
}

/// What stands between a partition, $2, of a table, $1, and an archive, $3, as far as that is a
/// matter of the catalogs; the first that is found.
constexpr const char* difference_sql =
    "SELECT COALESCE("
    "CASE WHEN l.relpersistence OPERATOR(pg_catalog.<>) 'p' THEN 'it is not logged' "
    "WHEN l.reltablespace OPERATOR(pg_catalog.<>) a.reltablespace "
    "THEN 'the archive is in another tablespace' "
    "WHEN a.relam OPERATOR(pg_catalog.<>) 0 AND a.relam OPERATOR(pg_catalog.<>) l.relam "
    "THEN 'the archive has another access method' END, "
    "(SELECT pg_catalog.format('publication %I tells others of its rows', p.pubname) "
    "FROM pg_catalog.pg_publication p WHERE p.puballtables OR EXISTS (SELECT FROM "
    "pg_catalog.pg_publication_rel r WHERE r.prpubid OPERATOR(pg_catalog.=) p.oid "
    "AND r.prrelid OPERATOR(pg_catalog.=) ANY (ARRAY[$1, $2, $3])) OR EXISTS (SELECT FROM "
    "pg_catalog.pg_publication_namespace n JOIN pg_catalog.pg_class c ON c.relnamespace "
    "OPERATOR(pg_catalog.=) n.pnnspid WHERE n.pnpubid OPERATOR(pg_catalog.=) p.oid "
    "AND c.oid OPERATOR(pg_catalog.=) ANY (ARRAY[$1, $2, $3])) ORDER BY p.pubname LIMIT 1), "
    "(SELECT pg_catalog.format('trigger %I has to see its rows go', t.tgname) "
    "FROM pg_catalog.pg_trigger t WHERE t.tgrelid OPERATOR(pg_catalog.=) $2 "
    "AND NOT t.tgisinternal AND t.tgenabled OPERATOR(pg_catalog.<>) 'D' "
    "AND t.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 8 OPERATOR(pg_catalog.<>) 0 "
    "ORDER BY t.tgname LIMIT 1), "
    "(SELECT pg_catalog.format('rule %I has to see its rows go', r.rulename) "
    "FROM pg_catalog.pg_rewrite r WHERE r.ev_class OPERATOR(pg_catalog.=) $2 "
    "ORDER BY r.rulename LIMIT 1), "
    "(WITH k AS (SELECT c.*, CASE WHEN c.attgenerated OPERATOR(pg_catalog.<>) '' THEN "
    "pg_catalog.pg_get_expr(d.adbin, d.adrelid) ELSE '' END AS expression "
    "FROM pg_catalog.pg_attribute c LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid "
    "OPERATOR(pg_catalog.=) c.attrelid AND d.adnum OPERATOR(pg_catalog.=) c.attnum "
    "WHERE c.attrelid OPERATOR(pg_catalog.=) ANY (ARRAY[$2, $3]) AND c.attnum "
    "OPERATOR(pg_catalog.>) 0 AND NOT c.attisdropped) "
    "SELECT pg_catalog.format('column %I is another one in the archive', "
    "COALESCE(s.attname, t.attname)) FROM "
    "(SELECT * FROM k WHERE k.attrelid OPERATOR(pg_catalog.=) $2) s FULL JOIN "
    "(SELECT * FROM k WHERE k.attrelid OPERATOR(pg_catalog.=) $3) t "
    "ON t.attname OPERATOR(pg_catalog.=) s.attname "
    "WHERE s.attname IS NULL OR t.attname IS NULL OR s.atttypid OPERATOR(pg_catalog.<>) t.atttypid "
    "OR s.atttypmod OPERATOR(pg_catalog.<>) t.atttypmod OR s.attcollation "
    "OPERATOR(pg_catalog.<>) t.attcollation OR s.attgenerated OPERATOR(pg_catalog.<>) "
    "t.attgenerated OR s.expression OPERATOR(pg_catalog.<>) t.expression "
    // 18 has constraints for it, which need not be valid, or reach what inherits.
    "OR (t.attnotnull AND (NOT s.attnotnull OR EXISTS (SELECT FROM pg_catalog.pg_constraint n "
    "WHERE n.conrelid OPERATOR(pg_catalog.=) $2 AND n.contype OPERATOR(pg_catalog.=) 'n' "
    "AND n.conkey OPERATOR(pg_catalog.=) ARRAY[s.attnum] "
    "AND (NOT n.convalidated OR n.connoinherit)))) ORDER BY 1 LIMIT 1), "
    "(SELECT pg_catalog.format('it lacks check constraint %I of the archive', a1.conname) "
    "FROM pg_catalog.pg_constraint a1 WHERE a1.conrelid OPERATOR(pg_catalog.=) $3 "
    "AND a1.contype OPERATOR(pg_catalog.=) 'c' AND NOT EXISTS (SELECT FROM "
    "pg_catalog.pg_constraint l1 WHERE l1.conrelid OPERATOR(pg_catalog.=) $2 "
    "AND l1.contype OPERATOR(pg_catalog.=) 'c' AND l1.conname OPERATOR(pg_catalog.=) a1.conname "
    "AND l1.convalidated AND NOT l1.connoinherit "
    "AND pg_catalog.pg_get_constraintdef(l1.oid) OPERATOR(pg_catalog.=) "
    "pg_catalog.pg_get_constraintdef(a1.oid)) ORDER BY a1.conname LIMIT 1), "
    // The server would make what is missing while it keeps everybody from both tables; and it finds
    // no exclusion constraint like another.
    "(SELECT pg_catalog.format('it has no index like %I of the archive', ac.relname) "
    "FROM pg_catalog.pg_index ai JOIN pg_catalog.pg_class ac ON ac.oid OPERATOR(pg_catalog.=) "
    "ai.indexrelid WHERE ai.indrelid OPERATOR(pg_catalog.=) $3 AND (ai.indisexclusion OR "
    "NOT EXISTS (SELECT FROM pg_catalog.pg_index li WHERE li.indrelid OPERATOR(pg_catalog.=) $2 "
    "AND li.indisvalid "
    "AND li.indisunique OPERATOR(pg_catalog.=) ai.indisunique "
    "AND pg_catalog.substring(pg_catalog.pg_get_indexdef(li.indexrelid), ' USING .*$') "
    "OPERATOR(pg_catalog.=) pg_catalog.substring(pg_catalog.pg_get_indexdef(ai.indexrelid), "
    "' USING .*$') AND COALESCE((SELECT k.contype FROM pg_catalog.pg_constraint k "
    "WHERE k.conindid OPERATOR(pg_catalog.=) li.indexrelid AND k.conrelid "
    "OPERATOR(pg_catalog.=) $2), '-') OPERATOR(pg_catalog.=) "
    "COALESCE((SELECT k.contype FROM pg_catalog.pg_constraint k "
    "WHERE k.conindid OPERATOR(pg_catalog.=) ai.indexrelid AND k.conrelid "
    "OPERATOR(pg_catalog.=) $3), '-'))) ORDER BY ac.relname LIMIT 1)) "
    "FROM pg_catalog.pg_class l, pg_catalog.pg_class a "
    "WHERE l.oid OPERATOR(pg_catalog.=) $2 AND a.oid OPERATOR(pg_catalog.=) $3";

/// A job of the partition's own, which would go on in the archive.
std::string of_jobs(Oid partition) {
    const catalog::Elevated elevated;
    return asked("SELECT pg_catalog.format('job %s works on it', pg_catalog.min(j.job_id)) "
                 "FROM orchestry.job j WHERE j.target OPERATOR(pg_catalog.=) $1 "
                 "AND j.origin_system OPERATOR(pg_catalog.=) $2 AND j.origin_database "
                 "OPERATOR(pg_catalog.=) $3 HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 0",
                 partition, catalog::system_identifier(), MyDatabaseId);
}

/// Quoted.
std::string constraint_name(const base::Range& range) {
    return pg::quote_identifier(std::string(range_constraint) + std::to_string(range.lower.at) +
                                "_" + std::to_string(range.upper.at));
}

/// Quoted, those that a move with other bounds has left behind.
std::vector<std::string> stale_constraints(const Move& move) {
    pg::Spi spi;
    spi.run("SELECT pg_catalog.quote_ident(c.conname) FROM pg_catalog.pg_constraint c "
            "WHERE c.conrelid OPERATOR(pg_catalog.=) $1 AND c.contype OPERATOR(pg_catalog.=) 'c' "
            "AND pg_catalog.starts_with(c.conname::pg_catalog.text, $2) "
            "AND pg_catalog.quote_ident(c.conname) OPERATOR(pg_catalog.<>) $3 ORDER BY 1",
            move.partition, std::string(range_constraint), constraint_name(move.range));
    std::vector<std::string> names;
    for (std::uint64_t i = 0; i < spi.rows(); ++i)
        names.push_back(spi.row(i).text(1));
    return names;
}

std::string constraint_sql(const Move& move) {
    return "CHECK (" + move.time_column + " IS NOT NULL AND " + move.time_column +
           " OPERATOR(pg_catalog.>=) " + bound_sql(move.kind, move.range.lower) + " AND " +
           move.time_column + " OPERATOR(pg_catalog.<) " + bound_sql(move.kind, move.range.upper) +
           ")";
}

/// Quoted, the columns of a partition that take their defaults from a sequence of the table: that
/// could not be dropped as long as the archive has the partition.
std::vector<std::string> columns_with_sequences(const Move& move) {
    pg::Spi spi;
    spi.run("SELECT DISTINCT pg_catalog.quote_ident(a.attname) FROM pg_catalog.pg_attrdef d "
            "JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) d.adrelid "
            "AND a.attnum OPERATOR(pg_catalog.=) d.adnum AND a.attgenerated "
            "OPERATOR(pg_catalog.=) '' JOIN pg_catalog.pg_depend s ON s.classid "
            "OPERATOR(pg_catalog.=) 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND s.objid "
            "OPERATOR(pg_catalog.=) d.oid AND s.refclassid OPERATOR(pg_catalog.=) "
            "'pg_catalog.pg_class'::pg_catalog.regclass JOIN pg_catalog.pg_depend o ON o.classid "
            "OPERATOR(pg_catalog.=) s.refclassid AND o.objid OPERATOR(pg_catalog.=) s.refobjid "
            "AND o.refclassid OPERATOR(pg_catalog.=) s.refclassid AND o.refobjid "
            "OPERATOR(pg_catalog.=) $2 AND o.deptype OPERATOR(pg_catalog.=) 'a' "
            "WHERE d.adrelid OPERATOR(pg_catalog.=) $1 ORDER BY 1",
            move.partition, move.relid);
    std::vector<std::string> columns;
    for (std::uint64_t i = 0; i < spi.rows(); ++i)
        columns.push_back(spi.row(i).text(1));
    return columns;
}

/// Takes away what others may do with a partition; empty: nobody may do anything.
std::string revoke_sql(Oid partition) {
    return asked(
        "SELECT 'REVOKE ALL ON TABLE ' OPERATOR(pg_catalog.||) $2 OPERATOR(pg_catalog.||) "
        "' FROM ' OPERATOR(pg_catalog.||) pg_catalog.string_agg(CASE g.grantee WHEN 0 THEN "
        "'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(g.grantee)) END, ', ' "
        "ORDER BY g.grantee) OPERATOR(pg_catalog.||) ' CASCADE' FROM (SELECT DISTINCT e.grantee "
        "FROM (SELECT c.relacl AS list FROM pg_catalog.pg_class c WHERE c.oid "
        "OPERATOR(pg_catalog.=) $1 UNION ALL SELECT a.attacl FROM pg_catalog.pg_attribute a "
        "WHERE a.attrelid OPERATOR(pg_catalog.=) $1 AND NOT a.attisdropped) l, "
        "pg_catalog.aclexplode(l.list) e, pg_catalog.pg_class c WHERE c.oid "
        "OPERATOR(pg_catalog.=) $1 AND e.grantee OPERATOR(pg_catalog.<>) c.relowner) g "
        "HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 0",
        partition, name_of(partition));
}

} // namespace

std::string why_none_moves(Oid relid, const CheckedRowPolicy& policy) {
    const Oid archive = find_archive(policy.plan().archive);
    if (!OidIsValid(archive))
        return "the archive does not exist";
    if (std::string why = of_key(relid, archive); !why.empty())
        return why;
    if (const std::string role = stranger(archive, catalog::owner_of(relid)); !role.empty())
        return "the archive belongs to role " + role;
    if (is_partition(relid) || is_partition(archive))
        return name_of(is_partition(relid) ? relid : archive) + " is a partition itself";
    if (OidIsValid(default_partition(archive)))
        return "the archive has a default partition, which would have to be searched";
    for (const Oid table : {relid, archive})
        if (std::string why = of_foreign_keys(table); !why.empty())
            return why;
    if (!capture::watches_on(relid).empty())
        return "what is made of the table has to see its rows go";
    return of_rows_that_come(archive);
}

catalog::PartitionedTable read_archive(const CheckedRowPolicy& policy) {
    return catalog::read_partitioned_table(find_archive(policy.plan().archive), policy.plan().kind);
}

bool has_place(const catalog::PartitionedTable& archive, const base::Range& range) {
    return std::any_of(archive.members.begin(), archive.members.end(),
                       [&](const base::Member& member) { return member.range.overlaps(range); });
}

std::string why_it_does_not_move(Oid relid, Oid partition, const base::Range& range,
                                 const catalog::PartitionedTable& archive,
                                 const catalog::Holds& holds) {
    if (has_place(archive, range))
        return "the archive has partitions for its times";
    if (!holds.empty() && !holds.covering(partition).empty())
        return "a hold covers rows of it";
    if (std::string why = of_foreign_keys(partition); !why.empty())
        return why;
    if (std::string why = of_jobs(partition); !why.empty())
        return why;
    return asked(difference_sql, relid, partition, archive.relid);
}

MoveStage move_stage(const Move& move) {
    pg::Spi spi;
    spi.run("SELECT c.convalidated FROM pg_catalog.pg_constraint c WHERE c.conrelid "
            "OPERATOR(pg_catalog.=) $1 AND pg_catalog.quote_ident(c.conname) "
            "OPERATOR(pg_catalog.=) $2 AND c.contype OPERATOR(pg_catalog.=) 'c'",
            move.partition, constraint_name(move.range));
    if (spi.rows() == 0)
        return MoveStage::constrain;
    return spi.row(0).boolean(1) ? MoveStage::move : MoveStage::validate;
}

std::vector<std::string> move_sql(const Move& move, MoveStage stage) {
    const std::string partition = name_of(move.partition);
    const std::string alter = "ALTER TABLE " + partition;
    const std::string constraint = constraint_name(move.range);
    std::vector<std::string> statements;
    switch (stage) {
    case MoveStage::constrain:
        for (const std::string& stale : stale_constraints(move))
            statements.push_back(alter + " DROP CONSTRAINT " + stale);
        statements.push_back(alter + " ADD CONSTRAINT " + constraint + " " + constraint_sql(move) +
                             " NOT VALID");
        return statements;
    case MoveStage::validate:
        return {alter + " VALIDATE CONSTRAINT " + constraint};
    case MoveStage::move:
        break;
    }
    statements = {"ALTER TABLE " + name_of(move.relid) + " DETACH PARTITION " + partition,
                  "ALTER TABLE " + name_of(move.archive) + " ATTACH PARTITION " + partition +
                      " FOR VALUES FROM (" + bound_sql(move.kind, move.range.lower) + ") TO (" +
                      bound_sql(move.kind, move.range.upper) + ")",
                  alter + " DROP CONSTRAINT " + constraint};
    for (const std::string& column : columns_with_sequences(move))
        statements.push_back(alter + " ALTER COLUMN " + column + " DROP DEFAULT");
    if (std::string revoke = revoke_sql(move.partition); !revoke.empty())
        statements.push_back(std::move(revoke));
    return statements;
}

std::vector<pg::LockRequest> move_locks(const Move& move, MoveStage stage) {
    const bool moves = stage == MoveStage::move;
    // It reads the partition, for as long as that takes: nobody is to wait for another table then.
    if (stage == MoveStage::validate)
        return {{move.partition, ShareUpdateExclusiveLock}};
    std::vector<pg::LockRequest> locks = {
        {move.relid, moves ? AccessExclusiveLock : AccessShareLock}};
    if (const Oid fallback = default_partition(move.relid); moves && OidIsValid(fallback))
        locks.push_back({fallback, AccessExclusiveLock});
    if (OidIsValid(move.archive))
        locks.push_back({move.archive, moves ? ShareUpdateExclusiveLock : AccessShareLock});
    locks.push_back({move.partition, AccessExclusiveLock});
    if (moves)
        locks.push_back({catalog::hold_table(), catalog::hold_lock_mode});
    return locks;
}

void carry_out(const Move& move, MoveStage stage) {
    const GuardExemption holds_are_checked_before(move.partition);
    for (const std::string& statement : move_sql(move, stage)) {
        pg::run_statements({statement});
        ORCHESTRY_FAULT_POINT("part of a move done");
    }
    // A statement goes by name; it must have done its work to the tables that were meant.
    if (stage == MoveStage::move && pg::protect([&] {
            return !get_rel_relispartition(move.partition) ||
                   get_partition_parent(move.partition, false) != move.archive;
        }))
        throw base::Error(base::errc::internal, "the partition to be moved is not in the archive");
}

} // namespace orchestry::retention
