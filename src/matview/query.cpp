#include "matview/query.hpp"

#include <algorithm>

#include "base/hash.hpp"
#include "pg/compat.hpp"

namespace orchestry::matview {

namespace {

/// Functions of the server that depend on nothing but their arguments and on settings that are the
/// same in every refresh (the time zone, how dates are written). Other stable ones may depend on
/// the clock, the role, or other tables.
constexpr std::string_view settled_functions[] = {
    "anytextcat",
    "array_out",
    "array_to_json",
    "array_to_string",
    "cash_out",
    "concat",
    "concat_ws",
    "date",
    "date_cmp_timestamptz",
    "date_eq_timestamptz",
    "date_ge_timestamptz",
    "date_gt_timestamptz",
    "date_le_timestamptz",
    "date_lt_timestamptz",
    "date_ne_timestamptz",
    "date_out",
    "date_part",
    "date_trunc",
    "extract",
    "format",
    "generate_series",
    "interval_out",
    "interval_pl_timestamptz",
    "json_agg",
    "json_agg_strict",
    "json_build_array",
    "json_build_object",
    "json_object_agg",
    "json_object_agg_strict",
    "json_object_agg_unique",
    "json_object_agg_unique_strict",
    "jsonb_agg",
    "jsonb_agg_strict",
    "jsonb_build_array",
    "jsonb_build_object",
    "jsonb_object_agg",
    "jsonb_object_agg_strict",
    "jsonb_object_agg_unique",
    "jsonb_object_agg_unique_strict",
    "quote_literal",
    "record_out",
    "row_to_json",
    "textanycat",
    "time",
    "timestamp",
    "timestamp_cmp_timestamptz",
    "timestamp_eq_timestamptz",
    "timestamp_ge_timestamptz",
    "timestamp_gt_timestamptz",
    "timestamp_le_timestamptz",
    "timestamp_lt_timestamptz",
    "timestamp_ne_timestamptz",
    "timestamp_out",
    "timestamptz",
    "timestamptz_cmp_date",
    "timestamptz_cmp_timestamp",
    "timestamptz_eq_date",
    "timestamptz_eq_timestamp",
    "timestamptz_ge_date",
    "timestamptz_ge_timestamp",
    "timestamptz_gt_date",
    "timestamptz_gt_timestamp",
    "timestamptz_le_date",
    "timestamptz_le_timestamp",
    "timestamptz_lt_date",
    "timestamptz_lt_timestamp",
    "timestamptz_mi_interval",
    "timestamptz_ne_date",
    "timestamptz_ne_timestamp",
    "timestamptz_out",
    "timestamptz_pl_interval",
    "to_char",
    "to_date",
    "to_json",
    "to_jsonb",
    "to_timestamp",
};

/// As pg_proc has it.
constexpr char immutable = 'i';
constexpr char stable = 's';

// --- one tree -----------------------------------------------------------------------------------

/// What is in one tree. Plain lists: the server's walker calls back, and no exception may pass it.
struct Found {
    List* only;      // OIDs of relations that are read with ONLY
    List* whole;     // OIDs of others
    List* functions; // OIDs
    List* defaulted; // OIDs of functions that are called without all arguments
    List* operators; // OIDs of those of users that rows are sorted and grouped by
    List* written;   // OIDs of types of which values are made text, JSON or XML
    List* shown; // OIDs of types that fields of a record, or arguments of an aggregate, may have
    const char* opaque;
    Node* node; // at hand
};

// C-like, to be run inside protect():

/// So is soon what calls it.
bool is_gone(Oid function) { return !SearchSysCacheExists1(PROCOID, ObjectIdGetDatum(function)); }

/// Whether values of any type can be passed to a function.
bool takes_any(Oid function) {
    Oid* types = nullptr;
    int count = 0;
    (void)get_func_signature(function, &types, &count);
    return std::any_of(types, types + count,
                       [](Oid type) { return get_typtype(type) == TYPTYPE_PSEUDO; });
}

/// Whether what a function of the server makes of a value may be the name of something else, which
/// changes.
bool is_writer(Oid function) { return func_volatile(function) != immutable && takes_any(function); }

/// Whether a function is told how to search text.
bool takes_text_search(Oid function) {
    Oid* types = nullptr;
    int count = 0;
    (void)get_func_signature(function, &types, &count);
    return std::any_of(types, types + count,
                       [](Oid type) { return type == REGCONFIGOID || type == REGDICTIONARYOID; });
}

void add_type(List*& types, Oid type) { types = list_append_unique_oid(types, type); }

void add_types_of(List*& types, const List* expressions) {
    for (int i = 0; i < list_length(expressions); ++i)
        add_type(types, exprType(static_cast<Node*>(list_nth(expressions, i))));
}

/// The types of what is passed to a function.
void add_argument_types(List*& types, const Node* call) {
    switch (nodeTag(call)) {
    case T_FuncExpr:
        return add_types_of(types, reinterpret_cast<const FuncExpr*>(call)->args);
    case T_OpExpr:
    case T_DistinctExpr:
    case T_NullIfExpr:
        return add_types_of(types, reinterpret_cast<const OpExpr*>(call)->args);
    case T_ScalarArrayOpExpr:
        return add_types_of(types, reinterpret_cast<const ScalarArrayOpExpr*>(call)->args);
    case T_WindowFunc:
        return add_types_of(types, reinterpret_cast<const WindowFunc*>(call)->args);
    case T_Aggref:
        types = list_concat_unique_oid(types, reinterpret_cast<const Aggref*>(call)->aggargtypes);
        return;
    case T_CoerceViaIO:
        return add_type(types, exprType(reinterpret_cast<const Node*>(
                                   reinterpret_cast<const CoerceViaIO*>(call)->arg)));
    default:
        return;
    }
}

bool find_function(Oid function, void* context) {
    auto* const found = static_cast<Found*>(context);
    found->functions = list_append_unique_oid(found->functions, function);
    if (function < FirstNormalObjectId) {
        if (is_writer(function))
            add_argument_types(found->written, found->node);
        return false;
    }
    if (is_gone(function))
        return false;
    if (takes_any(function))
        add_argument_types(found->shown, found->node);
    if (IsA(found->node, FuncExpr) &&
        list_length(castNode(FuncExpr, found->node)->args) < get_func_nargs(function))
        found->defaulted = list_append_unique_oid(found->defaulted, function);
    return false;
}

void find_relation(const RangeTblEntry* entry, Found* found) {
    found->shown = list_concat_unique_oid(found->shown, entry->coltypes);
    if (entry->rtekind != RTE_RELATION)
        return;
    if (entry->tablesample)
        found->opaque = "it takes a sample of rows";
    List** const list = entry->inh ? &found->whole : &found->only;
    *list = list_append_unique_oid(*list, entry->relid);
}

/// The types of the columns of a function that returns records.
void find_columns(Node* call, Found* found) {
    TupleDesc columns = nullptr;
    (void)get_expr_result_type(call, nullptr, &columns);
    for (int i = 0; columns && i < columns->natts; ++i)
        add_type(found->shown, TupleDescAttr(columns, i)->atttypid);
}

/// What a row has besides its values: where it is stored and who has locked it, which nobody who
/// changes rows decides. Its table, and who has written it, stay what they are.
void find_system_column(const Var* var, Found* found) {
    switch (var->varattno) {
    case SelfItemPointerAttributeNumber:
        found->opaque = "it reads ctid";
        break;
    case MaxTransactionIdAttributeNumber:
        found->opaque = "it reads xmax";
        break;
    case MinCommandIdAttributeNumber:
    case MaxCommandIdAttributeNumber:
        found->opaque = "it reads cmin or cmax";
        break;
    default:
        break;
    }
}

/// What is not called by its OID, or has types besides.
void find_types(Node* node, Found* found) {
    if (const List* const values = pg::compat::json_constructor_args(node))
        return add_types_of(found->written, values);
    switch (nodeTag(node)) {
    case T_Var:
        return find_system_column(castNode(Var, node), found);
    case T_XmlExpr:
        add_types_of(found->written, castNode(XmlExpr, node)->named_args);
        return add_types_of(found->written, castNode(XmlExpr, node)->args);
    case T_RowExpr:
        return add_types_of(found->shown, castNode(RowExpr, node)->args);
    case T_TargetEntry:
        return add_type(found->shown,
                        exprType(reinterpret_cast<Node*>(castNode(TargetEntry, node)->expr)));
    case T_RangeTblFunction:
        found->shown =
            list_concat_unique_oid(found->shown, castNode(RangeTblFunction, node)->funccoltypes);
        return;
    case T_FuncExpr:
        if (castNode(FuncExpr, node)->funcresulttype == RECORDOID &&
            !is_gone(castNode(FuncExpr, node)->funcid))
            find_columns(node, found);
        return;
    default:
        return;
    }
}

void find_operators(const SortGroupClause* clause, Found* found) {
    for (const Oid op : {clause->eqop, clause->sortop})
        if (op >= FirstNormalObjectId)
            found->operators = list_append_unique_oid(found->operators, op);
}

bool find_reads(Node* node, void* context) {
    if (!node)
        return false;
    auto* const found = static_cast<Found*>(context);
    if (IsA(node, RangeTblEntry)) {
        find_relation(reinterpret_cast<RangeTblEntry*>(node), found);
        return false; // its parts are visited anyway
    }
    if (IsA(node, Query)) {
        auto* const query = reinterpret_cast<Query*>(node);
        if (query->commandType != CMD_SELECT)
            found->opaque = "it calls a function that changes rows";
        return pg::compat::walk_query(query, find_reads, context);
    }
    if (IsA(node, SortGroupClause)) {
        find_operators(reinterpret_cast<SortGroupClause*>(node), found);
        return false;
    }
    if (IsA(node, SetOperationStmt))
        (void)find_reads(reinterpret_cast<Node*>(castNode(SetOperationStmt, node)->groupClauses),
                         context);
    if (IsA(node, SQLValueFunction))
        found->opaque = "it depends on the current time or role";
    else if (IsA(node, NextValueExpr))
        found->opaque = "it takes values from a sequence";
    else {
        found->node = node;
        (void)check_functions_in_node(node, find_function, context);
    }
    find_types(node, found);
    return pg::compat::walk_expression(node, find_reads, context);
}

std::vector<Oid> oids_of(const List* list) {
    std::vector<Oid> oids;
    for (int i = 0; i < list_length(list); ++i)
        oids.push_back(list_nth_oid(list, i));
    return oids;
}

// --- all trees ----------------------------------------------------------------------------------

/// The tree of a view's query, as the server stores it: version and text.
struct StoredTree {
    std::int64_t version = 0;
    std::string text;
};

std::optional<StoredTree> tree_of(Oid view) {
    pg::Spi spi;
    spi.run("SELECT r.xmin::pg_catalog.text::pg_catalog.int8, r.ev_action::pg_catalog.text "
            "FROM pg_catalog.pg_rewrite r WHERE r.ev_class OPERATOR(pg_catalog.=) $1 "
            "AND r.rulename OPERATOR(pg_catalog.=) '_RETURN'",
            view);
    if (spi.rows() == 0)
        return std::nullopt;
    return StoredTree{spi.row(0).bigint(1), spi.row(0).text(2)};
}

StoredTree require_tree(Oid view) {
    std::optional<StoredTree> tree = tree_of(view);
    if (!tree)
        throw base::Error(base::errc::undefined_object, "there is no materialized view with OID " +
                                                            std::to_string(view) + " any more");
    return *std::move(tree);
}

void sort_unique(std::vector<Oid>& oids) {
    std::sort(oids.begin(), oids.end());
    oids.erase(std::unique(oids.begin(), oids.end()), oids.end());
}

bool add_new(std::vector<Oid>& known, Oid oid) {
    if (std::find(known.begin(), known.end(), oid) != known.end())
        return false;
    known.push_back(oid);
    return true;
}

/// What was looked at already. What an immutable function calls is looked at once more where it is
/// called by others, too.
class Visited {
  public:
    bool add(Oid oid, bool is_vouched) {
        if (std::find(others_.begin(), others_.end(), oid) != others_.end())
            return false;
        return add_new(is_vouched ? vouched_ : others_, oid);
    }

  private:
    std::vector<Oid> others_, vouched_;
};

/// What the server says of a type whose values are written.
struct TypeParts {
    char kind = 0;
    Oid inner = InvalidOid;  ///< of a domain, an array, a range or a multirange
    Oid relid = InvalidOid;  ///< of a row type
    Oid output = InvalidOid; ///< function
};

/// C-like.
TypeParts parts_of(Oid type) {
    TypeParts parts;
    parts.kind = get_typtype(type);
    if (parts.kind == TYPTYPE_DOMAIN)
        parts.inner = getBaseType(type);
    else if (parts.kind == TYPTYPE_RANGE)
        parts.inner = get_range_subtype(type);
    else if (parts.kind == TYPTYPE_MULTIRANGE)
        parts.inner = get_multirange_range(type);
    else if (parts.kind == TYPTYPE_COMPOSITE)
        parts.relid = get_typ_typrelid(type);
    else
        parts.inner = get_element_type(type);
    bool is_varlena = false;
    if (parts.kind == TYPTYPE_BASE && !OidIsValid(parts.inner))
        getTypeOutputInfo(type, &parts.output, &is_varlena);
    return parts;
}

class Reader {
  public:
    explicit Reader(Oid matview) : matview_(matview) {}
    QueryReads read();

  private:
    void read_view(Oid view);
    void read_tree(const std::string& text, Oid itself);
    void read_relation(Oid relid, bool with_heirs);
    void read_function(Oid function);
    void read_function_once(Oid function) {
        if (functions_.add(function, is_vouched_))
            read_function(function);
    }
    void read_users_function(Oid function);
    void read_body(const std::string& text, bool is_immutable);
    void read_defaults(Oid function);
    void read_aggregate(Oid aggregate);
    void read_operators(const std::vector<Oid>& operators);
    void read_written(Oid type);
    void read_fields(Oid relid);
    void mix_names();
    void mix_text_search();
    /// What an immutable function does is as it says.
    void note_opaque(std::string why) {
        if (!is_vouched_ && reads_.opaque.empty())
            reads_.opaque = std::move(why);
    }
    void mix(std::uint64_t value) {
        reads_.definition = base::splitmix64(reads_.definition ^ value);
    }

    const Oid matview_;
    QueryReads reads_;
    std::vector<Oid> views_to_read_;
    Visited functions_, defaults_;
    bool is_vouched_ = false; // in the body of an immutable function
    // Types.
    std::vector<Oid> written_, shown_;
    std::vector<Oid> row_types_; // relations of those that are written
    bool writes_any_type_ = false;
    bool writes_records_ = false; // of which it is not known there what is in them
    bool searches_text_ = false;
};

void Reader::read_view(Oid view) {
    const StoredTree tree = require_tree(view);
    mix(view);
    mix(static_cast<std::uint64_t>(tree.version));
    read_tree(tree.text, view);
}

/// `itself`: a view's rule may have entries for the view itself, which are not read.
void Reader::read_tree(const std::string& text, Oid itself) {
    const char* const stored = text.c_str();
    const Found found = pg::protect([&] {
        Found result = {};
        (void)find_reads(static_cast<Node*>(stringToNode(stored)), &result);
        return result;
    });
    if (found.opaque)
        note_opaque(found.opaque);
    for (const Oid relid : oids_of(found.whole))
        if (relid != itself)
            read_relation(relid, true);
    for (const Oid relid : oids_of(found.only))
        if (relid != itself)
            read_relation(relid, false);
    if (!OidIsValid(itself) && (found.whole || found.only))
        reads_.has_bodies = true;
    for (const Oid function : oids_of(found.functions))
        read_function_once(function);
    for (const Oid function : oids_of(found.defaulted))
        if (defaults_.add(function, is_vouched_))
            read_defaults(function);
    if (found.operators)
        read_operators(oids_of(found.operators));
    if (is_vouched_)
        return;
    for (const Oid type : oids_of(found.shown))
        (void)add_new(shown_, type);
    for (const Oid type : oids_of(found.written))
        read_written(type);
}

void Reader::read_relation(Oid relid, bool with_heirs) {
    const char kind = pg::call<get_rel_relkind>(Oid{relid});
    if (kind == RELKIND_VIEW) {
        if (add_new(reads_.views, relid))
            views_to_read_.push_back(relid);
    } else if (kind == RELKIND_MATVIEW) {
        (void)add_new(reads_.matviews, relid);
    } else {
        const auto known = std::find_if(reads_.tables.begin(), reads_.tables.end(),
                                        [&](const SourceTable& t) { return t.relid == relid; });
        if (known == reads_.tables.end())
            reads_.tables.push_back({relid, with_heirs});
        else
            known->with_heirs = known->with_heirs || with_heirs;
    }
}

void Reader::read_function(Oid function) {
    if (function >= FirstNormalObjectId)
        return read_users_function(function);
    searches_text_ = searches_text_ || pg::protect([&] { return takes_text_search(function); });
    const char volatility = pg::call<func_volatile>(Oid{function});
    if (volatility == immutable)
        return;
    const char* const name = pg::protect([&] { return get_func_name(function); });
    const std::string_view known = name ? name : "";
    if (volatility != stable ||
        std::find(std::begin(settled_functions), std::end(settled_functions), known) ==
            std::end(settled_functions))
        note_opaque("it calls " + std::string(known) + "()");
}

/// The body of a function is read where the server has parsed it. Another is what it says, if it
/// says that it is immutable.
void Reader::read_users_function(Oid function) {
    pg::Spi spi;
    spi.run("SELECT p.xmin::pg_catalog.text::pg_catalog.int8, "
            "p.provolatile OPERATOR(pg_catalog.=) 'i', p.prosqlbody::pg_catalog.text, "
            "n.nspname, p.proname, p.prokind OPERATOR(pg_catalog.=) 'a' FROM pg_catalog.pg_proc p "
            "JOIN pg_catalog.pg_namespace n "
            "ON n.oid OPERATOR(pg_catalog.=) p.pronamespace WHERE p.oid "
            "OPERATOR(pg_catalog.=) $1",
            function);
    if (spi.rows() == 0)
        return; // it is gone, and so is soon what calls it
    const pg::Row row = spi.row(0);
    mix(function);
    mix(static_cast<std::uint64_t>(row.bigint(1)));
    if (row.boolean(6))
        return read_aggregate(function);
    if (!row.is_null(3))
        return read_body(row.text(3), row.boolean(2));
    if (!row.boolean(2))
        note_opaque("it calls " + pg::quote_qualified(row.text(4), row.text(5)) +
                    "(), which is not immutable and whose body cannot be read");
}

/// What an immutable function is made of, and what it reads all the same, can change; for the rest
/// its owner has vouched.
void Reader::read_body(const std::string& text, bool is_immutable) {
    const bool was_vouched = is_vouched_;
    is_vouched_ = was_vouched || is_immutable;
    read_tree(text, InvalidOid);
    is_vouched_ = was_vouched;
}

/// They are computed by whoever calls the function without them, whatever that says of itself.
void Reader::read_defaults(Oid function) {
    pg::Spi spi;
    spi.run("SELECT p.proargdefaults::pg_catalog.text FROM pg_catalog.pg_proc p "
            "WHERE p.oid OPERATOR(pg_catalog.=) $1 AND p.proargdefaults IS NOT NULL",
            function);
    if (spi.rows() != 0)
        read_tree(spi.row(0).text(1), InvalidOid);
}

/// The server calls each aggregate immutable: it is what the functions are that it is made of.
void Reader::read_aggregate(Oid aggregate) {
    pg::Spi spi;
    spi.run("SELECT DISTINCT f.oid FROM pg_catalog.pg_aggregate a CROSS JOIN LATERAL "
            "pg_catalog.unnest(ARRAY[a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, "
            "a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn]::pg_catalog.oid[]) "
            "f (oid) WHERE a.aggfnoid::pg_catalog.oid OPERATOR(pg_catalog.=) $1 "
            "AND f.oid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid ORDER BY 1",
            aggregate);
    for (std::uint64_t i = 0; i < spi.rows(); ++i) {
        const Oid function = spi.row(i).oid(1);
        read_function_once(function);
        if (function < FirstNormalObjectId && pg::protect([&] { return is_writer(function); }))
            writes_any_type_ = writes_records_ = true;
    }
}

/// Operators that sort and group are those of a class, which has functions of its own.
void Reader::read_operators(const std::vector<Oid>& operators) {
    pg::Spi spi;
    spi.run("SELECT o.oprcode::pg_catalog.oid FROM pg_catalog.pg_operator o "
            "WHERE o.oid OPERATOR(pg_catalog.=) ANY ($1) "
            "AND o.oprcode::pg_catalog.oid OPERATOR(pg_catalog.>=) $2 UNION "
            "SELECT p.amproc::pg_catalog.oid FROM pg_catalog.pg_amop a JOIN pg_catalog.pg_amproc p "
            "ON p.amprocfamily OPERATOR(pg_catalog.=) a.amopfamily "
            "AND p.amproclefttype OPERATOR(pg_catalog.=) a.amoplefttype "
            "WHERE a.amopopr OPERATOR(pg_catalog.=) ANY ($1) "
            "AND p.amproc::pg_catalog.oid OPERATOR(pg_catalog.>=) $2 ORDER BY 1",
            operators, Oid{FirstNormalObjectId});
    for (std::uint64_t i = 0; i < spi.rows(); ++i)
        read_function_once(spi.row(i).oid(1));
}

/// Values of a type are made text, JSON or XML, by its output function, and those of its parts, or
/// by a cast to JSON.
void Reader::read_written(Oid type) {
    writes_any_type_ = true;
    if (!add_new(written_, type))
        return;
    if (type == RECORDOID || type == RECORDARRAYOID) {
        writes_records_ = true;
        return;
    }
    const TypeParts parts = pg::protect([&] { return parts_of(type); });
    if (OidIsValid(parts.inner))
        read_written(parts.inner);
    if (OidIsValid(parts.relid))
        read_fields(parts.relid);
    if (OidIsValid(parts.output))
        read_function_once(parts.output);
    if (type < FirstNormalObjectId)
        return;
    pg::Spi spi;
    spi.run("SELECT c.castfunc FROM pg_catalog.pg_cast c WHERE c.castsource "
            "OPERATOR(pg_catalog.=) $1 AND c.casttarget OPERATOR(pg_catalog.=) $2 "
            "AND c.castfunc OPERATOR(pg_catalog.<>) 0::pg_catalog.oid",
            type, Oid{JSONOID});
    if (spi.rows() != 0)
        read_function_once(spi.row(0).oid(1));
}

void Reader::read_fields(Oid relid) {
    (void)add_new(row_types_, relid);
    pg::Spi spi;
    spi.run("SELECT a.atttypid FROM pg_catalog.pg_attribute a WHERE a.attrelid "
            "OPERATOR(pg_catalog.=) $1 AND a.attnum OPERATOR(pg_catalog.>) 0 "
            "AND NOT a.attisdropped ORDER BY a.attnum",
            relid);
    for (std::uint64_t i = 0; i < spi.rows(); ++i)
        read_written(spi.row(i).oid(1));
}

/// The labels of enums and the fields of types, which are not in rows that have values of these,
/// but in JSON and text that is made of them. They are few, so that all count, whoever uses them;
/// of the row types of tables those that are written.
void Reader::mix_names() {
    pg::Spi spi;
    for (const char* const names :
         {"SELECT pg_catalog.concat(e.oid, ' ', e.enumlabel) FROM pg_catalog.pg_enum e "
          "WHERE $1 IS NOT NULL",
          "SELECT pg_catalog.concat(a.attrelid, ' ', a.attnum, ' ', a.attname) FROM "
          "pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid "
          "OPERATOR(pg_catalog.=) c.oid WHERE c.relkind OPERATOR(pg_catalog.=) 'c' "
          "OR c.oid OPERATOR(pg_catalog.=) ANY ($1)"}) {
        spi.run(std::string("SELECT COALESCE(pg_catalog.bit_xor(pg_catalog.hashtextextended(n.name "
                            "COLLATE pg_catalog.\"C\", 0)), 0) FROM (") +
                    names + ") n (name)",
                row_types_);
        mix(static_cast<std::uint64_t>(spi.row(0).bigint(1)));
    }
}

/// How words are found by text search; as few, as well.
void Reader::mix_text_search() {
    pg::Spi spi;
    spi.run("SELECT COALESCE(pg_catalog.bit_xor(pg_catalog.hashtextextended(c.line "
            "COLLATE pg_catalog.\"C\", 0)), 0) FROM ("
            "SELECT pg_catalog.concat(t.oid, ' ', t.xmin) FROM pg_catalog.pg_ts_config t UNION ALL "
            "SELECT pg_catalog.concat(d.oid, ' ', d.xmin) FROM pg_catalog.pg_ts_dict d UNION ALL "
            "SELECT pg_catalog.concat_ws(' ', m.mapcfg, m.maptokentype, m.mapseqno, m.mapdict) "
            "FROM pg_catalog.pg_ts_config_map m) c (line)");
    mix(static_cast<std::uint64_t>(spi.row(0).bigint(1)));
}

QueryReads Reader::read() {
    read_view(matview_);
    for (std::size_t next = 0;;) {
        if (!views_to_read_.empty()) {
            const Oid view = views_to_read_.back();
            views_to_read_.pop_back();
            read_view(view);
        } else if (writes_records_ && next < shown_.size()) {
            read_written(shown_[next++]);
        } else {
            break;
        }
    }
    if (writes_any_type_)
        mix_names();
    if (searches_text_)
        mix_text_search();
    sort_unique(reads_.matviews);
    sort_unique(reads_.views);
    std::sort(reads_.tables.begin(), reads_.tables.end(),
              [](const SourceTable& a, const SourceTable& b) { return a.relid < b.relid; });
    return std::move(reads_);
}

/// The clauses that make rows of a query differ, or NIL. C-like.
List* clauses_of_distinct_rows(const Query* query) {
    if (query->hasTargetSRFs || query->groupingSets || query->setOperations || query->hasDistinctOn)
        return NIL;
    return query->distinctClause ? query->distinctClause : query->groupClause;
}

} // namespace

QueryReads read_query(Oid matview) { return Reader(matview).read(); }

std::vector<std::string> distinct_columns(Oid matview) {
    const StoredTree tree = require_tree(matview);
    const char* const text = tree.text.c_str();
    const List* const names = pg::protect([&]() -> const List* {
        const auto* const query = linitial_node(Query, static_cast<List*>(stringToNode(text)));
        List* columns = NIL;
        List* const clauses = clauses_of_distinct_rows(query);
        for (int i = 0; i < list_length(clauses); ++i) {
            const TargetEntry* const entry = get_sortgroupclause_tle(
                static_cast<SortGroupClause*>(list_nth(clauses, i)), query->targetList);
            if (entry->resjunk)
                return NIL; // it groups by what it does not show
            columns = lappend(columns, get_attname(matview, entry->resno, false));
        }
        return columns;
    });
    std::vector<std::string> columns;
    for (int i = 0; i < list_length(names); ++i)
        columns.emplace_back(static_cast<const char*>(list_nth(names, i)));
    return columns;
}

} // namespace orchestry::matview
