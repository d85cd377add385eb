#include "catalog/columns.hpp"

#include "pg/compat.hpp"

#include <algorithm>

namespace orchestry::catalog {

std::vector<Column> columns_of(Oid relid) {
    pg::Spi spi;
    spi.run("SELECT a.attname, a.atttypid, pg_catalog.format_type(a.atttypid, a.atttypmod), "
            "CASE WHEN a.attcollation OPERATOR(pg_catalog.<>) t.typcollation THEN "
            "pg_catalog.format('%I.%I', n.nspname, c.collname) END, a.attnotnull, "
            "a.atthasdef OR a.attidentity OPERATOR(pg_catalog.<>) '' "
            "FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t "
            "ON t.oid OPERATOR(pg_catalog.=) a.atttypid LEFT JOIN pg_catalog.pg_collation c "
            "ON c.oid OPERATOR(pg_catalog.=) a.attcollation LEFT JOIN pg_catalog.pg_namespace n "
            "ON n.oid OPERATOR(pg_catalog.=) c.collnamespace "
            "WHERE a.attrelid OPERATOR(pg_catalog.=) $1 AND a.attnum OPERATOR(pg_catalog.>) 0 "
            "AND NOT a.attisdropped ORDER BY a.attnum",
            relid);
    std::vector<Column> columns;
    for (std::uint64_t i = 0; i < spi.rows(); ++i) {
        const pg::Row row = spi.row(i);
        columns.push_back(
            {row.text(1), row.oid(2), row.text(3), row.text(4), row.boolean(5), row.boolean(6)});
    }
    return columns;
}

const Column* find_column(const std::vector<Column>& columns, const std::string& name) {
    const auto found = std::find_if(columns.begin(), columns.end(),
                                    [&](const Column& column) { return column.name == name; });
    return found == columns.end() ? nullptr : &*found;
}

const Column& require_column(const std::vector<Column>& columns, Oid relid,
                             const std::string& name) {
    if (const Column* const column = find_column(columns, name))
        return *column;
    const std::string table = pg::relation_name(relid).value_or("");
    throw base::Error(base::errc::undefined_column,
                      "column \"" + name + "\" of table " + table + " does not exist")
        .hint("See \\d " + table);
}

std::vector<std::string> computed_otherwise(Oid above, Oid below) {
    if (!pg::compat::has_virtual_columns || above == below)
        return {};
    pg::Spi spi;
    spi.run("WITH computed AS (SELECT a.attrelid, a.attname, "
            "pg_catalog.pg_get_expr(d.adbin, d.adrelid) AS expression "
            "FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_attrdef d "
            "ON d.adrelid OPERATOR(pg_catalog.=) a.attrelid "
            "AND d.adnum OPERATOR(pg_catalog.=) a.attnum "
            "WHERE a.attgenerated OPERATOR(pg_catalog.=) $3::\"char\" AND NOT a.attisdropped "
            "AND a.attrelid OPERATOR(pg_catalog.=) ANY (ARRAY[$1, $2])) "
            "SELECT a.attname::pg_catalog.text FROM computed a JOIN computed b "
            "ON b.attname OPERATOR(pg_catalog.=) a.attname "
            "WHERE a.attrelid OPERATOR(pg_catalog.=) $1 AND b.attrelid OPERATOR(pg_catalog.=) $2 "
            "AND a.expression OPERATOR(pg_catalog.<>) b.expression ORDER BY 1",
            above, below, std::string(1, pg::compat::virtual_column));
    std::vector<std::string> names;
    for (std::uint64_t i = 0; i < spi.rows(); ++i)
        names.push_back(spi.row(i).text(1));
    return names;
}

std::string type_sql(const Column& column) {
    return column.type_name +
           (column.collation_sql.empty() ? "" : " COLLATE " + column.collation_sql);
}

bool is_time(const Column& column) {
    return is_wall_clock(column) || pg::call<getBaseType>(Oid{column.type}) == TIMESTAMPTZOID;
}

bool is_wall_clock(const Column& column) {
    return pg::call<getBaseType>(Oid{column.type}) == TIMESTAMPOID;
}

bool is_number(Oid base_type) {
    constexpr Oid numbers[] = {INT2OID, INT4OID, INT8OID, FLOAT4OID, FLOAT8OID, NUMERICOID};
    return std::find(std::begin(numbers), std::end(numbers), base_type) != std::end(numbers);
}

bool has_order(Oid type) {
    return pg::protect([&] {
        const TypeCacheEntry* const entry = lookup_type_cache(type, TYPECACHE_LT_OPR);
        return OidIsValid(entry->lt_opr);
    });
}

std::string numbers_of_columns_sql(const std::string& relid, const std::string& names) {
    return "ARRAY(SELECT COALESCE(k.attnum, 0::pg_catalog.int2) FROM pg_catalog.unnest(" + names +
           ") WITH ORDINALITY u (name, place) LEFT JOIN pg_catalog.pg_attribute k ON k.attrelid "
           "OPERATOR(pg_catalog.=) " +
           relid + " AND k.attname OPERATOR(pg_catalog.=) u.name ORDER BY u.place)";
}

std::string has_columns_sql(const std::string& relid, const std::string& names,
                            const std::string& numbers) {
    return "NOT EXISTS (SELECT FROM ROWS FROM (pg_catalog.unnest(" + names +
           "), pg_catalog.unnest(" + numbers +
           ")) u (name, number) WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_attribute k "
           "WHERE k.attrelid OPERATOR(pg_catalog.=) " +
           relid +
           " AND k.attname OPERATOR(pg_catalog.=) u.name AND k.attnum OPERATOR(pg_catalog.=) "
           "u.number))";
}

std::string rule_on_delete(Oid relid) {
    pg::Spi spi;
    spi.run("SELECT pg_catalog.quote_ident(r.rulename) FROM pg_catalog.pg_rewrite r "
            "WHERE r.ev_class OPERATOR(pg_catalog.=) $1 AND r.ev_type OPERATOR(pg_catalog.=) '4' "
            "AND r.ev_enabled OPERATOR(pg_catalog.=) ANY ('{O,A}'::pg_catalog.\"char\"[]) "
            "ORDER BY 1 LIMIT 1",
            relid);
    return spi.rows() == 0 ? std::string() : spi.row(0).text(1);
}

std::optional<RenamedColumn> renamed_column(const RenameStmt& statement) {
    if (statement.renameType != OBJECT_COLUMN && statement.renameType != OBJECT_ATTRIBUTE)
        return std::nullopt;
    RenamedColumn renamed;
    renamed.relid = pg::protect([&] { return RangeVarGetRelid(statement.relation, NoLock, true); });
    if (!OidIsValid(renamed.relid))
        return std::nullopt; // the statement itself will say so
    renamed.name = statement.subname;
    renamed.tables = pg::family_of(renamed.relid);
    if (statement.renameType == OBJECT_COLUMN)
        return renamed;
    pg::Spi spi;
    spi.run("SELECT c.oid FROM pg_catalog.pg_type t JOIN pg_catalog.pg_class c "
            "ON c.reloftype OPERATOR(pg_catalog.=) t.oid "
            "WHERE t.typrelid OPERATOR(pg_catalog.=) $1 ORDER BY 1",
            renamed.relid);
    for (std::uint64_t i = 0; i < spi.rows(); ++i)
        for (const Oid table : pg::family_of(spi.row(i).oid(1)))
            renamed.tables.push_back(table);
    return renamed;
}

} // namespace orchestry::catalog
