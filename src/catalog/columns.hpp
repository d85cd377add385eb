// The columns of users' tables, as far as policies ask for them.
#pragma once

#include "pg/spi.hpp"

namespace orchestry::catalog {

struct Column {
    std::string name;          ///< unquoted
    Oid type = InvalidOid;     ///< may be a domain
    std::string type_name;     ///< as in CREATE TABLE
    std::string collation_sql; ///< qualified and quoted; empty: the type's own
    bool not_null = false;
    bool has_default = false;
};

/// All columns of a table, in its order.
std::vector<Column> columns_of(Oid relid);
/// The column of that name; nullptr when there is none.
const Column* find_column(const std::vector<Column>& columns, const std::string& name);
/// The same, but raises 42703, about table `relid`, when there is none.
const Column& require_column(const std::vector<Column>& columns, Oid relid,
                             const std::string& name);

/// The virtual generated columns (18) that a partition, or a table that inherits, computes by
/// another expression than the table above it: through that they have other values than in itself.
std::vector<std::string> computed_otherwise(Oid above, Oid below);

/// The type as in CREATE TABLE, with the collation where that is not the type's own.
std::string type_sql(const Column& column);
/// Whether it is a timestamptz or timestamp, or a domain over one.
bool is_time(const Column& column);
/// Whether it has no zone.
bool is_wall_clock(const Column& column);
/// Whether a type is one of the numbers that cast to double precision.
bool is_number(Oid base_type);
/// Whether values of a type can be told apart by a unique index.
bool has_order(Oid type);

/// What is stored of columns by their names can mean others when those are renamed; so their
/// numbers are stored as well. SQL for the numbers, smallint[], of a table's columns by their
/// names, name[]; 0 for one that is not there.
std::string numbers_of_columns_sql(const std::string& relid, const std::string& names);
/// SQL for whether a table has columns of these names with these numbers, NULL being none.
std::string has_columns_sql(const std::string& relid, const std::string& names,
                            const std::string& numbers);

/// A column that a command renames.
struct RenamedColumn {
    Oid relid = InvalidOid; ///< the table, view or composite type that the command names
    std::string name;       ///< as before, unquoted
    /// That, and what has the column from it: what inherits it, and tables of the type.
    std::vector<Oid> tables;
};
/// nullopt: it renames something else, or nothing that is there.
std::optional<RenamedColumn> renamed_column(const RenameStmt& statement);

/// A rule of a table that acts on DELETE, quoted: the server has none of a statement that reads
/// what it deletes. Empty: there is none.
std::string rule_on_delete(Oid relid);

} // namespace orchestry::catalog
