#include "pg/predicate.hpp"

#include "pg/scope.hpp"
#include "pg/spi.hpp"

namespace orchestry::pg {

namespace {

enum class Fault { none, not_an_expression, subquery, is_volatile };

/// A position in an error is one in the predicate, not in the statement that brought it.
void point_into_predicate(void* text) {
    const int position = geterrposition();
    if (position <= 0)
        return;
    errposition(0);
    internalerrposition(position);
    internalerrquery(static_cast<const char*>(text));
}

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

Node* analyze(Relation relation, const char* text, Node* expression, Fault* fault) {
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
    free_parsestate(state);
    return analyzed;
}

} // namespace

std::string check_predicate(Oid relid, const std::string& text, const char* argument) {
    const OpenRelation relation(relid, AccessShareLock);
    const std::string callers_path = namespace_search_path;
    // Reading a constant of a domain runs the domain's checks: code of the table's owner.
    SecureContext owner(relation->rd_rel->relowner, Restriction::restricted);
    owner.guc().set("search_path", callers_path.c_str());
    const char* const source = text.c_str();
    Fault fault = Fault::none;
    Node* const condition = protect([&]() -> Node* {
        ErrorContextCallback pointer{error_context_stack, point_into_predicate,
                                     const_cast<char*>(source)};
        error_context_stack = &pointer; // protect() takes it off
        List* const statements = raw_parser(source, RAW_PARSE_PLPGSQL_EXPR);
        auto* const select = castNode(SelectStmt, linitial_node(RawStmt, statements)->stmt);
        if (!is_expression(select)) {
            fault = Fault::not_an_expression;
            return nullptr;
        }
        return analyze(relation.get(), source, linitial_node(ResTarget, select->targetList)->val,
                       &fault);
    });
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
    case Fault::none:
        break;
    }
    owner.guc().set("search_path", "pg_catalog, pg_temp");
    return protect([&]() -> const char* {
        return deparse_expression(
            condition, deparse_context_for(RelationGetRelationName(relation.get()), relid), false,
            false);
    });
}

} // namespace orchestry::pg
