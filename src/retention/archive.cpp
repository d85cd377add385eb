#include "retention/archive.hpp"

#include "catalog/compression.hpp"
#include "retention/policy.hpp"

namespace orchestry::retention {

using base::Error;
namespace errc = base::errc;

namespace {

constexpr const char* datatype_mismatch = "42804";
constexpr const char* not_null_violation = "23502";
constexpr const char* generated_always = "428C9";

std::string name_of(Oid relid) { return pg::relation_name(relid).value_or(""); }

/// Whether a table is another, or a partition or a child of that at any depth.
bool is_below(Oid root, Oid relid) {
    return pg::protect(
        [&] { return list_member_oid(find_all_inheritors(root, NoLock, nullptr), relid); });
}

void require_table(Oid source, Oid target) {
    const char kind = pg::call<get_rel_relkind>(target);
    if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
        throw Error(errc::wrong_object_type, "archive " + name_of(target) + " is not a table");
    if (is_below(source, target) || is_below(target, source))
        throw Error(errc::invalid_parameter,
                    "table " + name_of(source) + " cannot be its own archive")
            .detail("Rows in " + name_of(target) + " are rows of it as well.")
            .hint("Name another table, or one that does not exist yet.");
}

/// Raises where rows would not be as safe as they are in `leaf`.
void require_durable(Oid leaf, Oid target, const std::string& archive) {
    const bool is_logged = pg::call<get_rel_persistence>(leaf) != RELPERSISTENCE_UNLOGGED;
    pg::Spi spi;
    spi.run("SELECT c.oid, c.relpersistence OPERATOR(pg_catalog.=) 't' FROM pg_catalog.pg_class c "
            "WHERE c.oid OPERATOR(pg_catalog.=) ANY ($1) AND (c.oid OPERATOR(pg_catalog.=) $2 OR "
            "c.relispartition) AND (c.relpersistence OPERATOR(pg_catalog.=) 't' OR ($3 AND "
            "c.relpersistence OPERATOR(pg_catalog.=) 'u' AND c.relkind OPERATOR(pg_catalog.<>) "
            "'p')) ORDER BY c.oid LIMIT 1",
            pg::family_of(target), target, is_logged);
    if (spi.rows() == 0)
        return;
    if (spi.row(0).boolean(2))
        throw Error(errc::wrong_object_type, "archive " + archive + " is a temporary table")
            .detail("Its rows are gone when the session ends.")
            .hint("Name a permanent table, or one that does not exist yet.");
    const std::string unlogged = name_of(spi.row(0).oid(1));
    throw Error(errc::wrong_object_type, "archive " + unlogged + " is not logged")
        .detail("Its rows are gone after a crash, and those of table " + name_of(leaf) +
                " are not.")
        .hint("Run ALTER TABLE " + unlogged + " SET LOGGED;");
}

/// The columns that only children of a table have, as they are written in CREATE TABLE, each after
/// a comma.
std::string columns_of_children(Oid source) {
    pg::Spi spi;
    spi.run("SELECT COALESCE(pg_catalog.string_agg(', ' OPERATOR(pg_catalog.||) x.text, ''), '') "
            "FROM (SELECT DISTINCT ON (a.attname) pg_catalog.format('%I %s', a.attname, "
            "pg_catalog.format_type(a.atttypid, a.atttypmod)) AS text "
            "FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) ANY ($2) "
            "AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped AND NOT EXISTS (SELECT "
            "FROM pg_catalog.pg_attribute s WHERE s.attrelid OPERATOR(pg_catalog.=) $1 "
            "AND s.attname OPERATOR(pg_catalog.=) a.attname AND NOT s.attisdropped) "
            "ORDER BY a.attname, a.attrelid) AS x",
            source, pg::family_of(source));
    return spi.row(0).text(1);
}

void require_insert(Oid target) {
    const AclResult result =
        pg::protect([&] { return pg_class_aclcheck(target, GetUserId(), ACL_INSERT); });
    if (result == ACLCHECK_OK)
        return;
    throw Error(errc::insufficient_privilege,
                "the owner of the table may not write into archive " + name_of(target))
        .hint("Run GRANT INSERT ON " + name_of(target) + " TO " + pg::role_name(GetUserId()) + ";");
}

} // namespace

Oid find_archive(const std::string& archive) {
    pg::Spi spi;
    spi.run("SELECT COALESCE(pg_catalog.to_regclass($1)::pg_catalog.oid, 0)", archive);
    return spi.row(0).oid(1);
}

void make_archive(Oid source, const std::string& archive) {
    if (OidIsValid(find_archive(archive)))
        return;
    pg::run_statements({"CREATE TABLE " + archive + " (LIKE " + name_of(source) +
                        " INCLUDING COMMENTS INCLUDING COMPRESSION INCLUDING CONSTRAINTS "
                        "INCLUDING INDEXES INCLUDING STORAGE" +
                        columns_of_children(source) + ")"});
}

std::string archived_columns(Oid table, Oid leaf, const std::string& archive) {
    const Oid target = find_archive(archive);
    if (!OidIsValid(target))
        throw Error(errc::undefined_table, "archive " + archive + " does not exist any more")
            .hint("Make it again, or run SELECT orchestry.alter_policy(...) with another "
                  "\"archive_to\".");
    require_table(table, target);
    require_durable(leaf, target, archive);
    pg::Spi spi;
    spi.run(
        "SELECT pg_catalog.quote_ident(COALESCE(s.attname, t.attname)), "
        "pg_catalog.format_type(s.atttypid, s.atttypmod), "
        "pg_catalog.format_type(t.atttypid, t.atttypmod), "
        "s.attname IS NULL, t.attname IS NULL, "
        "s.atttypid OPERATOR(pg_catalog.=) t.atttypid AND (t.atttypmod OPERATOR(pg_catalog.=) -1 "
        "OR s.atttypmod OPERATOR(pg_catalog.=) t.atttypmod), "
        "NULLIF(t.attgenerated::pg_catalog.text, ''), "
        "t.attnotnull AND NOT t.atthasdef AND t.attidentity OPERATOR(pg_catalog.=) '', "
        "s.attgenerated OPERATOR(pg_catalog.<>) '' "
        "FROM (SELECT a.* FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) "
        "$1 AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped) s "
        "FULL JOIN (SELECT a.* FROM pg_catalog.pg_attribute a WHERE a.attrelid "
        "OPERATOR(pg_catalog.=) $2 AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped) "
        "t ON t.attname OPERATOR(pg_catalog.=) s.attname ORDER BY s.attnum, t.attnum",
        leaf, target);
    std::string columns;
    for (std::uint64_t i = 0; i < spi.rows(); ++i) {
        const pg::Row row = spi.row(i);
        const std::string column = row.text(1);
        const bool only_archive = row.boolean(4), only_source = row.boolean(5);
        if (only_source)
            throw Error(errc::undefined_column, "archive " + archive + " lacks column " + column)
                .detail("Table " + name_of(leaf) + " has it.")
                .hint("Run ALTER TABLE " + archive + " ADD COLUMN " + column + " " + row.text(2) +
                      ";");
        if (only_archive && row.boolean(8))
            throw Error(not_null_violation, "column " + column + " of archive " + archive +
                                                " needs a value that no row has")
                .detail("Table " + name_of(leaf) + " has no such column.")
                .hint("Run ALTER TABLE " + archive + " ALTER COLUMN " + column +
                      " DROP NOT NULL; or give it a default.");
        if (only_archive)
            continue;
        if (!row.is_null(7)) {
            if (row.boolean(9))
                continue; // made anew from the values that come
            // What a virtual column would have had is nowhere: there is nothing to keep.
            const std::string mended =
                row.text(7) == "s"
                    ? " ALTER COLUMN " + column + " DROP EXPRESSION;"
                    : " DROP COLUMN " + column + ", ADD COLUMN " + column + " " + row.text(2) + ";";
            throw Error(generated_always,
                        "column " + column + " of archive " + archive + " makes its own values")
                .detail("Those of table " + name_of(leaf) + " would be lost.")
                .hint("Run ALTER TABLE " + archive + mended);
        }
        if (!row.boolean(6))
            throw Error(datatype_mismatch,
                        "column " + column + " of archive " + archive + " is of another type")
                .detail("It is " + row.text(3) + ", and in table " + name_of(leaf) + " it is " +
                        row.text(2) + ".")
                .hint("Run ALTER TABLE " + archive + " ALTER COLUMN " + column + " TYPE " +
                      row.text(2) + ";");
        columns += (columns.empty() ? "" : ", ") + column;
    }
    if (columns.empty())
        throw Error(generated_always, "archive " + archive + " has no column that takes a value")
            .detail("All those of table " + name_of(leaf) + " are generated.")
            .hint("Leave out \"archive_to\".");
    require_insert(target);
    return columns;
}

std::vector<Archiver> archivers_of(Oid relid) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.run(
        "SELECT p.job_id, j.target, COALESCE(p.predicate, '') "
        "FROM orchestry.retention_policy p JOIN orchestry.job j ON j.job_id "
        "OPERATOR(pg_catalog.=) p.job_id "
        "WHERE p.archive_to IS NOT NULL AND j.origin_system OPERATOR(pg_catalog.=) $2 "
        "AND j.origin_database OPERATOR(pg_catalog.=) $3 AND (j.target OPERATOR(pg_catalog.=) ANY "
        "($4) "
        // Ancestors are found without a lock; pg_partition_tree() would lock all partitions.
        "OR $1 IN (SELECT a.relid FROM "
        "pg_catalog.pg_partition_ancestors(j.target::pg_catalog.regclass) a)) ORDER BY p.job_id",
        relid, catalog::system_identifier(), MyDatabaseId, catalog::lineage_of(relid));
    std::vector<Archiver> archivers;
    for (std::uint64_t i = 0; i < spi.rows(); ++i) {
        const pg::Row row = spi.row(i);
        archivers.push_back({{row.bigint(1)}, row.oid(2), row.text(3)});
    }
    // A policy that brings whole partitions into files does that when it has detached them.
    std::erase_if(archivers, [](Archiver& archiver) {
        const StoredPolicy policy = load_policy(archiver.job);
        if (!policy.has_its_columns)
            archiver.predicate.clear(); // any row may be meant
        return !why_rows(policy.settings, archiver.relid);
    });
    return archivers;
}

std::string unarchived_row_sql(const Archiver& archiver, Oid partition) {
    const bool has_own = is_below(partition, archiver.relid);
    return "SELECT FROM " + name_of(has_own ? archiver.relid : partition) +
           (archiver.predicate.empty() ? "" : " WHERE " + archiver.predicate) + " LIMIT 1";
}

} // namespace orchestry::retention
