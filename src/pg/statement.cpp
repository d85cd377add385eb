#include "pg/statement.hpp"

#include "pg/xact.hpp"

namespace orchestry::pg {

namespace {

/// What is kept of a raw statement: plain, so that it can leave protect().
struct Piece {
    int location;
    int length;
    const char* command;
    bool is_data;
    bool is_about_rows;
    bool is_transaction;
    bool is_client_copy;
    bool is_concurrent;
    bool builds_index;
};

/// Whether a statement without a plan of its own runs one, or moves rows itself.
bool runs_others(const Node* statement) {
    return IsA(statement, CopyStmt) || IsA(statement, ExplainStmt) || IsA(statement, PrepareStmt) ||
           IsA(statement, ExecuteStmt) || IsA(statement, DeclareCursorStmt) ||
           IsA(statement, FetchStmt);
}

bool is_client_copy(const Node* statement) {
    return IsA(statement, CopyStmt) && !reinterpret_cast<const CopyStmt*>(statement)->filename;
}

const List* parse(const std::string& sql) {
    const char* const text = sql.c_str();
    return protect([&] {
        ErrorContextCallback pointer{error_context_stack, point_into_text, const_cast<char*>(text)};
        error_context_stack = &pointer; // protect() takes it off
        return pg_parse_query(text);
    });
}

Piece describe(const std::string& sql, const RawStmt* raw) {
    const int length =
        raw->stmt_len > 0 ? raw->stmt_len : static_cast<int>(sql.size()) - raw->stmt_location;
    return protect([&] {
        const bool is_data = !IsA(raw->stmt, CallStmt) &&
                             analyze_requires_snapshot(const_cast<RawStmt*>(raw)) &&
                             !IsA(raw->stmt, ExplainStmt) && !IsA(raw->stmt, CreateTableAsStmt) &&
                             !IsA(raw->stmt, DeclareCursorStmt);
        const IndexStmt* const index =
            IsA(raw->stmt, IndexStmt) ? castNode(IndexStmt, raw->stmt) : nullptr;
        return Piece{raw->stmt_location,
                     length,
                     CreateCommandName(raw->stmt),
                     is_data,
                     is_data || runs_others(raw->stmt),
                     bool{IsA(raw->stmt, TransactionStmt)},
                     is_client_copy(raw->stmt),
                     (index && index->concurrent) ||
                         (IsA(raw->stmt, DropStmt) && castNode(DropStmt, raw->stmt)->concurrent),
                     index && !index->concurrent && index->relation->inh};
    });
}

} // namespace

void point_into_text(void* text) {
    const int position = geterrposition();
    if (position <= 0)
        return;
    errposition(0);
    internalerrposition(position);
    internalerrquery(static_cast<const char*>(text));
}

std::vector<Statement> read_statements(const std::string& sql) {
    const List* const list = parse(sql);
    std::vector<Statement> statements;
    for (int i = 0; i < list_length(list); ++i) {
        const Piece piece = describe(sql, static_cast<const RawStmt*>(list_nth(list, i)));
        if (piece.is_transaction)
            throw base::Error(base::errc::feature_not_supported,
                              std::string(piece.command) + " is not allowed here")
                .detail("The transaction is not the text's own.")
                .hint("Leave transaction control out of the text.");
        if (piece.is_client_copy)
            throw base::Error(base::errc::feature_not_supported,
                              "COPY from or to the client is not allowed here")
                .detail("The rows would have to come from, or go to, whoever has sent the text.")
                .hint("Use INSERT with VALUES, or \\copy by itself.");
        const std::string text = sql.substr(static_cast<std::size_t>(piece.location),
                                            static_cast<std::size_t>(piece.length));
        const std::size_t start = text.find_first_not_of(" \t\r\n\f\v");
        statements.push_back({text.substr(std::min(start, text.size())), piece.command,
                              piece.is_data, piece.is_about_rows, piece.is_concurrent,
                              piece.builds_index});
    }
    return statements;
}

Statement read_statement(const std::string& sql, const char* argument) {
    std::vector<Statement> statements = read_statements(sql);
    if (statements.size() != 1)
        throw base::Error("42601", std::string("\"") + argument + "\" must be one statement")
            .detail("It has " + std::to_string(statements.size()) + ".");
    return std::move(statements.front());
}

IndexDefinition read_index(const std::string& sql, const std::function<void(Oid)>& check) {
    const List* const list = parse(sql);
    const auto refuse = [](const char* sqlstate, const char* message, const char* detail) {
        return base::Error(sqlstate, message)
            .detail(detail)
            .hint("For example SELECT orchestry.build_index('CREATE INDEX events_app_idx ON events "
                  "(app)');");
    };
    if (list_length(list) != 1 || !IsA(linitial_node(RawStmt, list)->stmt, IndexStmt))
        throw refuse("42601", "\"sql\" must be one CREATE INDEX statement",
                     "It is another one, or has several.");
    auto* const statement = castNode(IndexStmt, linitial_node(RawStmt, list)->stmt);
    if (!statement->idxname)
        throw refuse("42601", "the index needs a name",
                     "A build that was interrupted is found again by it.");
    if (statement->if_not_exists || !statement->relation->inh || statement->tableSpace)
        throw refuse(base::errc::feature_not_supported,
                     "IF NOT EXISTS, ONLY and TABLESPACE are not supported here",
                     "What exists is left out anyway, and every partition gets its index.");
    IndexDefinition index;
    index.name = statement->idxname;
    index.is_unique = statement->unique;
    index.table =
        protect([&] { return RangeVarGetRelid(statement->relation, AccessShareLock, false); });
    check(index.table);
    const std::string table = require_relation_name(index.table);
    const char* const name = call<get_rel_name>(index.table);
    std::string definition, mark; // "... ON pg_temp.events USING ..."
    // What is immutable in it runs when it is planned: as the owner, whose code it is.
    const Oid owner = OpenRelation(index.table, AccessShareLock)->rd_rel->relowner;
    const std::string callers_path = namespace_search_path;
    std::optional<Failure> failure = rehearse([&] {
        SecureContext as_owner(owner, Restriction::none);
        as_owner.guc().set("search_path", callers_path.c_str());
        {
            Spi spi;
            // Generated columns too: on a virtual one no index can be.
            spi.run("CREATE TEMPORARY TABLE pg_temp." + quote_identifier(name) + " (LIKE " + table +
                    " INCLUDING GENERATED)");
        }
        const char* const text = sql.c_str();
        const Oid made = protect([&] {
            auto* const copy = static_cast<IndexStmt*>(copyObjectImpl(statement));
            copy->relation = makeRangeVar(pstrdup("pg_temp"), pstrdup(name), -1);
            copy->concurrent = false;
            PlannedStmt* const wrapper = makeNode(PlannedStmt);
            wrapper->commandType = CMD_UTILITY;
            wrapper->utilityStmt = reinterpret_cast<Node*>(copy);
            ProcessUtility(wrapper, text, false, PROCESS_UTILITY_QUERY, nullptr, nullptr,
                           None_Receiver, nullptr);
            CommandCounterIncrement();
            return RangeVarGetRelid(makeRangeVar(pstrdup("pg_temp"), copy->idxname, -1), NoLock,
                                    false);
        });
        as_owner.guc().set("search_path", "pg_catalog, pg_temp");
        fix_formats(as_owner.guc());
        as_owner.guc().set("quote_all_identifiers", "off");
        mark = quote_identifier(name) + " USING ";
        Spi spi;
        spi.run("SELECT pg_catalog.pg_get_indexdef($1)", made);
        definition = spi.row(0).text(1);
    });
    if (failure && failure->is(base::errc::insufficient_privilege) && failure->hint.empty())
        failure->hint = "The owner of the table needs TEMPORARY on the database.";
    if (failure)
        raise(*failure);
    const std::size_t on = definition.find(" ON pg_temp");
    const std::size_t at = on == std::string::npos ? on : definition.find(mark, on);
    if (at == std::string::npos)
        throw base::Error(base::errc::internal, "unexpected definition of an index: " + definition);
    index.definition = definition.substr(at + mark.size() - std::strlen("USING "));
    return index;
}

} // namespace orchestry::pg
