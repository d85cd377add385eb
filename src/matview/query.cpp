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
    const char* opaque;
};

// C-like, to be run inside protect():

bool find_function(Oid function, void* found) {
    auto* const known = static_cast<Found*>(found);
    known->functions = list_append_unique_oid(known->functions, function);
    return false;
}

void find_relation(const RangeTblEntry* entry, Found* found) {
    if (entry->rtekind != RTE_RELATION)
        return;
    if (entry->tablesample)
        found->opaque = "it takes a sample of rows";
    List** const list = entry->inh ? &found->whole : &found->only;
    *list = list_append_unique_oid(*list, entry->relid);
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
    if (IsA(node, SQLValueFunction))
        found->opaque = "it depends on the current time or role";
    else if (IsA(node, NextValueExpr))
        found->opaque = "it takes values from a sequence";
    else
        (void)check_functions_in_node(node, find_function, context);
    return pg::compat::walk_expression(node, find_reads, context);
}

/// Whether values of any type can be passed to a function.
bool takes_any(Oid function) {
    Oid* types = nullptr;
    int count = 0;
    (void)get_func_signature(function, &types, &count);
    return std::any_of(types, types + count,
                       [](Oid type) { return get_typtype(type) == TYPTYPE_PSEUDO; });
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

class Reader {
  public:
    explicit Reader(Oid matview) : matview_(matview) {}
    QueryReads read();

  private:
    void read_view(Oid view);
    void read_tree(const std::string& text, Oid itself);
    void read_relation(Oid relid, bool with_heirs);
    void read_function(Oid function);
    void read_users_function(Oid function);
    void read_aggregate(Oid aggregate);
    void mix_names();
    void note_opaque(std::string why) {
        if (reads_.opaque.empty())
            reads_.opaque = std::move(why);
    }
    void mix(std::uint64_t value) {
        reads_.definition = base::splitmix64(reads_.definition ^ value);
    }

    const Oid matview_;
    QueryReads reads_;
    std::vector<Oid> views_to_read_;
    std::vector<Oid> functions_;
    bool writes_any_type_ = false;
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
    for (const Oid function : oids_of(found.functions))
        if (add_new(functions_, function))
            read_function(function);
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
    const char volatility = pg::call<func_volatile>(Oid{function});
    if (volatility == immutable)
        return;
    const char* const name = pg::protect([&] { return get_func_name(function); });
    const std::string_view known = name ? name : "";
    if (volatility == stable &&
        std::find(std::begin(settled_functions), std::end(settled_functions), known) !=
            std::end(settled_functions)) {
        writes_any_type_ = writes_any_type_ || pg::protect([&] { return takes_any(function); });
        return;
    }
    note_opaque("it calls " + std::string(known) + "()");
}

/// An immutable function is what it says, and the body of another is read where the server has
/// parsed it.
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
    if (row.boolean(2))
        return;
    if (row.is_null(3))
        return note_opaque("it calls " + pg::quote_qualified(row.text(4), row.text(5)) +
                           "(), which is not immutable and whose body cannot be read");
    reads_.has_bodies = true;
    read_tree(row.text(3), InvalidOid);
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
    for (std::uint64_t i = 0; i < spi.rows(); ++i)
        if (const Oid function = spi.row(i).oid(1); add_new(functions_, function))
            read_function(function);
}

/// The labels of enums and the fields of types, which are not in rows that have values of these,
/// but in JSON and text that is made of them. They are few, so that all count, whoever uses them.
void Reader::mix_names() {
    pg::Spi spi;
    for (const char* const names :
         {"SELECT pg_catalog.concat(e.oid, ' ', e.enumlabel) FROM pg_catalog.pg_enum e",
          "SELECT pg_catalog.concat(a.attrelid, ' ', a.attnum, ' ', a.attname) FROM "
          "pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid "
          "OPERATOR(pg_catalog.=) c.oid WHERE c.relkind OPERATOR(pg_catalog.=) 'c'"}) {
        spi.run(std::string("SELECT COALESCE(pg_catalog.bit_xor(pg_catalog.hashtextextended(n.name "
                            "COLLATE pg_catalog.\"C\", 0)), 0) FROM (") +
                names + ") n (name)");
        mix(static_cast<std::uint64_t>(spi.row(0).bigint(1)));
    }
}

QueryReads Reader::read() {
    read_view(matview_);
    while (!views_to_read_.empty()) {
        const Oid view = views_to_read_.back();
        views_to_read_.pop_back();
        read_view(view);
    }
    if (writes_any_type_)
        mix_names();
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
