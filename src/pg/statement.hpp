// SQL text of users, read before any of it is run.
#pragma once

#include <functional>

#include "pg/spi.hpp"

namespace orchestry::pg {

/// A callback for the server's error context stack: a position in an error is one in `text`, which
/// came in a statement of the user, and not in that statement.
void point_into_text(void* text);

/// One statement out of a text.
struct Statement {
    std::string sql;              ///< as it was written, without the semicolon
    std::string command;          ///< its command tag: "ALTER TABLE"
    bool is_data = false;         ///< it reads or changes rows, and has a plan
    bool is_about_rows = false;   ///< that, or COPY, EXPLAIN, EXECUTE and others that run such one
    bool needs_top_level = false; ///< it works on an index CONCURRENTLY
    bool builds_index = false;    ///< CREATE INDEX, neither CONCURRENTLY nor with ONLY
};

/// The statements of a text, in its order. Raises 42601, with the position in the text, for what
/// cannot be read, and 0A000 for BEGIN, COMMIT and their like, since the transaction is ours, and
/// for COPY from or to the client.
std::vector<Statement> read_statements(const std::string& sql);

/// The one statement of a text. Raises 42601 for none, or for several. `argument`: its name in
/// messages.
Statement read_statement(const std::string& sql, const char* argument);

/// What CREATE INDEX says, as the server understands it in this session.
struct IndexDefinition {
    Oid table = InvalidOid;
    std::string name; ///< unquoted
    bool is_unique = false;
    /// What follows the table's name, with all names qualified: "USING btree (lower(a)) WHERE ..."
    std::string definition;
};

/// Reads CREATE INDEX by making that index on an empty temporary copy of the table, as the table's
/// owner, in a subtransaction that is rolled back. Raises what the server raises for it; 42601 for
/// another statement or an index without a name, 0A000 for IF NOT EXISTS, ONLY and TABLESPACE.
/// `check` is called with the table before that is touched, and may raise.
IndexDefinition read_index(const std::string& sql, const std::function<void(Oid)>& check);

} // namespace orchestry::pg
