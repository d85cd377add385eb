#include "pg/predicate.hpp"

#include "pg/compat.hpp"
#include "pg/scope.hpp"
#include "pg/spi.hpp"
#include "pg/statement.hpp"

namespace orchestry::pg {

namespace {

enum class Fault {
    none,
    not_an_expression,
    subquery,
    is_volatile,
    session,
    settings,
    whole_row,
    system_column
};

// C-like, to be run inside protect():

/// Whether a statement in the grammar of PL/pgSQL's expressions is one expression alone.
bool is_expression(const SelectStmt* select) {
    if (list_length(select->targetList) != 1)
        return false;
    const auto* const target = linitial_node(ResTarget, select->targetList);
    return !target->name && !target->indirection && !IsA(target->val, SetToDefault) &&
           !select->distinctClause && !select->intoClause && !select->fromClause &&
           !select->whereClause && !select->groupClause && !select->havingClause &&
           !select->windowClause && !select->valuesLists && !select->sortClause &&
           !select->limitOffset && !select->limitCount && !select->lockingClause &&
           !select->withClause && select->op == SETOP_NONE;
}

/// Whether a function's result is a matter of the session or the clock. What a user's own function
/// does cannot be seen; these are what people write.
bool reads_session(Oid function, void*) {
    switch (function) {
    case F_NOW:
    case F_TRANSACTION_TIMESTAMP:
    case F_STATEMENT_TIMESTAMP:
    case F_AGE_TIMESTAMP:
    case F_AGE_TIMESTAMPTZ:
    case F_CURRENT_USER:
    case F_SESSION_USER:
    case F_CURRENT_SCHEMA:
    case F_CURRENT_SETTING_TEXT:
    case F_CURRENT_SETTING_TEXT_BOOL:
        return true;
    default:
        return false;
    }
}

bool find_session_fault(Node* node, void* fault) {
    if (!node)
        return false;
    const bool is_whole_row = IsA(node, Var) && castNode(Var, node)->varattno == InvalidAttrNumber;
    if (is_whole_row)
        *static_cast<Fault*>(fault) = Fault::whole_row;
    else if (IsA(node, SQLValueFunction) || check_functions_in_node(node, reads_session, nullptr))
        *static_cast<Fault*>(fault) = Fault::session;
    else
        return compat::walk_expression(node, find_session_fault, fault);
    return true;
}

bool reads_whole_row(Node* condition) {
    Bitmapset* numbers = nullptr;
    pull_varattnos(condition, 1, &numbers);
    return bms_is_member(InvalidAttrNumber - FirstLowInvalidHeapAttributeNumber, numbers);
}

bool reads_system_column(Node* condition) {
    Bitmapset* numbers = nullptr;
    pull_varattnos(condition, 1, &numbers);
    for (int number = FirstLowInvalidHeapAttributeNumber + 1; number < 0; ++number)
        if (bms_is_member(number - FirstLowInvalidHeapAttributeNumber, numbers))
            return true;
    return false;
}

Node* analyze(Relation relation, const char* text, Node* expression, SessionState session,
              WholeRow whole_row, Fault* fault) {
    ParseState* const state = make_parsestate(nullptr);
    state->p_sourcetext = text;
    ParseNamespaceItem* const item =
        addRangeTableEntryForRelation(state, relation, AccessShareLock, nullptr, false, true);
    addNSItemToQuery(state, item, true, true, true);
    Node* const analyzed = transformWhereClause(state, expression, EXPR_KIND_WHERE, "WHERE");
    assign_expr_collations(state, analyzed);
    if (state->p_hasSubLinks)
        *fault = Fault::subquery;
    else if (contain_volatile_functions(analyzed))
        *fault = Fault::is_volatile;
    else if (session != SessionState::may_matter)
        (void)find_session_fault(analyzed, fault);
    else if (whole_row == WholeRow::refused && reads_whole_row(analyzed))
        *fault = Fault::whole_row;
    if (*fault == Fault::none && session == SessionState::of_any_reader) {
        if (contain_mutable_functions(analyzed))
            *fault = Fault::settings;
        else if (reads_system_column(analyzed))
            *fault = Fault::system_column;
    }
    free_parsestate(state);
    return analyzed;
}

/// A text as an analyzed condition; nullptr, with `fault` set, when it is none.
Node* read_condition(Relation relation, const char* source, SessionState session,
                     WholeRow whole_row, Fault* fault) {
    ErrorContextCallback pointer{error_context_stack, point_into_text, const_cast<char*>(source)};
    error_context_stack = &pointer; // protect() takes it off
    List* const statements = raw_parser(source, RAW_PARSE_PLPGSQL_EXPR);
    auto* const select = castNode(SelectStmt, linitial_node(RawStmt, statements)->stmt);
    if (!is_expression(select)) {
        *fault = Fault::not_an_expression;
        return nullptr;
    }
    return analyze(relation, source, linitial_node(ResTarget, select->targetList)->val, session,
                   whole_row, fault);
}

} // namespace

std::string check_predicate(Oid relid, const std::string& text, const char* argument,
                            SessionState session, WholeRow whole_row) {
    const OpenRelation relation(relid, AccessShareLock);
    const std::string callers_path = namespace_search_path;
    // Reading a constant of a domain runs the domain's checks: code of the table's owner.
    SecureContext owner(relation->rd_rel->relowner, Restriction::restricted);
    owner.guc().set("search_path", callers_path.c_str());
    const char* const source = text.c_str();
    Fault fault = Fault::none;
    Node* const condition =
        protect([&] { return read_condition(relation.get(), source, session, whole_row, &fault); });
    const auto refuse = [&](const char* message, const char* detail) {
        return base::Error(base::errc::invalid_parameter,
                           std::string("\"") + argument + "\" " + message)
            .detail(detail)
            .hint("Use a condition over the table's own columns, such as status = 'closed'.");
    };
    switch (fault) {
    case Fault::not_an_expression:
        throw refuse("must be one condition", "It has more clauses than that.");
    case Fault::subquery:
        throw refuse("must not contain a subquery",
                     "What it selects would depend on other tables.");
    case Fault::is_volatile:
        throw refuse("must not call volatile functions",
                     "What it selects would change from one row to the next.");
    case Fault::session:
        throw refuse("must not ask for the time or the session",
                     "What it selects would depend on when and by whom it is run.")
            .hint("Say how old rows may become with \"keep\" and \"time_column\".");
    case Fault::settings:
        throw refuse("must not depend on settings of the session",
                     "It calls functions that are not IMMUTABLE, such as those that go by the time "
                     "zone or a format of whoever reads.")
            .hint("Say which time zone is meant, for example extract(hour FROM ts AT TIME ZONE "
                  "'UTC') >= 8.");
    case Fault::whole_row:
        throw refuse("must not use the row as a whole", "It would not fit every partition.");
    case Fault::system_column:
        throw refuse("must not read system columns",
                     "They change when a table is rewritten or restored, without a change of rows "
                     "that could be seen.");
    case Fault::none:
        break;
    }
    owner.guc().set("search_path", "pg_catalog, pg_temp");
    fix_formats(owner.guc());
    return protect([&]() -> const char* {
        return deparse_expression(
            condition, deparse_context_for(RelationGetRelationName(relation.get()), relid), false,
            false);
    });
}

std::vector<std::string> columns_of_predicate(Oid relid, const std::string& text) {
    const OpenRelation relation(relid, AccessShareLock);
    SecureContext owner(relation->rd_rel->relowner, Restriction::restricted);
    owner.guc().set("search_path", "pg_catalog, pg_temp");
    fix_formats(owner.guc());
    const char* const source = text.c_str();
    Fault fault = Fault::none;
    const Bitmapset* const numbers = protect([&] {
        Bitmapset* found = nullptr;
        pull_varattnos(read_condition(relation.get(), source, SessionState::may_matter,
                                      WholeRow::allowed, &fault),
                       1, &found);
        return found;
    });
    const auto reads = [&](AttrNumber number) {
        return bms_is_member(number - FirstLowInvalidHeapAttributeNumber, numbers);
    };
    std::vector<std::string> columns;
    const TupleDesc desc = RelationGetDescr(relation.get());
    for (int i = 0; i < desc->natts; ++i) {
        const Form_pg_attribute column = TupleDescAttr(desc, i);
        if (!column->attisdropped && reads(column->attnum))
            columns.emplace_back(NameStr(column->attname));
    }
    return columns;
}

} // namespace orchestry::pg
