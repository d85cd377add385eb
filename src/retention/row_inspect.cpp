#include "retention/row_inspect.hpp"

#include "catalog/columns.hpp"
#include "catalog/compression.hpp"
#include "catalog/retention_horizon.hpp"
#include "pg/compat.hpp"
#include "pg/xact.hpp"
#include "retention/archive.hpp"
#include "retention/inspect.hpp"
#include "retention/partition_archive.hpp"

#include <algorithm>

namespace orchestry::retention {

using base::KeyKind;

namespace {

std::string hold_text(const catalog::Hold& hold) {
    return catalog::describe(hold) + "; to end it: " + catalog::release_command(hold.id);
}

bool is_whole(const catalog::Hold& hold) {
    return hold.predicate.empty() && hold.extent.from == base::minus_infinity &&
           hold.extent.to == base::plus_infinity;
}

std::string select_from(const std::string& quoted) {
    return "SELECT FROM ONLY " + quoted + " AS " + CheckedRowPolicy::row;
}

class RowInspection {
  public:
    RowInspection(Oid relid, const CheckedRowPolicy& policy, base::Instant now)
        : relid_(relid), policy_(policy), now_(now), owner_(catalog::owner_of(relid)),
          horizon_(row_horizon(policy.plan(), now)) {}

    RowTable table();

  private:
    void add_leaves(Oid root, const std::optional<base::Range>& range, bool leaves_whole);
    bool has_archive_for_partitions() const;
    void look_at_move(Leaf& leaf) const;
    void add_partitions(const catalog::PartitionedTable& table);
    void name_stranger(Leaf& leaf) const;
    void measure(Leaf& leaf) const;
    std::string time_index_of(Oid leaf) const;
    std::string keep_last_index_sql() const;
    std::vector<std::string> foreign_key_indexes_sql() const;
    bool has_index_on(const std::vector<std::string>& leading, const std::string& last) const;
    std::string create_index_sql(const std::vector<std::string>& columns) const;

    const Oid relid_;
    const CheckedRowPolicy& policy_;
    const base::Instant now_;
    const Oid owner_;
    const std::int64_t horizon_;
    const catalog::Holds holds_;
    std::optional<catalog::PartitionedTable> archive_; ///< where partitions may move to
    RowTable table_;
};

RowTable RowInspection::table() {
    // Before its partitions, which are looked into, and for as long: that is the order in which
    // everybody else locks them.
    const pg::OpenRelation locked_first(relid_, AccessShareLock);
    table_.relid = relid_;
    table_.quoted = pg::relation_name(relid_).value_or("");
    table_.owner = pg::quote_identifier(
        pg::protect([&]() -> const char* { return GetUserNameFromId(owner_, false); }));
    if (const auto key = catalog::has_supported_key(relid_)
                             ? std::optional(catalog::require_key_column(relid_))
                             : std::nullopt;
        key && key->name == policy_.column().name) {
        if (has_archive_for_partitions()) {
            table_.not_whole = why_none_moves(relid_, policy_);
            if (table_.not_whole.empty())
                archive_ = read_archive(policy_);
        }
        add_partitions(catalog::read_partitioned_table(relid_, policy_.plan().kind));
    } else
        add_leaves(relid_, std::nullopt, false);
    table_.time_index_sql = create_index_sql({policy_.column().name});
    if (policy_.plan().keep_last > 0)
        table_.keep_last_index_sql = keep_last_index_sql();
    table_.foreign_key_indexes_sql = foreign_key_indexes_sql();
    if (!policy_.plan().archive.empty())
        if (const auto cascade = find_cascade(pg::family_of(relid_)))
            table_.cascade = "rows of " + cascade->table + " would go with it by foreign key " +
                             cascade->constraint + ", and into no archive: ALTER TABLE " +
                             cascade->table + " DROP CONSTRAINT " + cascade->constraint + ";";
    return std::move(table_);
}

void RowInspection::add_partitions(const catalog::PartitionedTable& table) {
    const std::optional<std::int64_t> whole = catalog::retention_horizon(
        relid_, table.kind, std::nullopt, now_, catalog::Leaving::removed);
    for (const base::Member& member : table.members)
        if (!member.detach_pending)
            add_leaves(member.relid, member.range,
                       whole && member.range.upper <= base::Bound::value(*whole));
    if (table.fallback)
        add_leaves(table.fallback->relid, std::nullopt, false);
}

void RowInspection::add_leaves(Oid root, const std::optional<base::Range>& range,
                               bool leaves_whole) {
    for (const Oid relid : pg::family_of(root)) {
        Leaf leaf;
        leaf.relid = relid;
        const char kind = pg::call<get_rel_relkind>(Oid{leaf.relid});
        const std::optional<std::string> quoted = pg::relation_name(leaf.relid);
        if (!quoted || (kind != RELKIND_RELATION && kind != RELKIND_FOREIGN_TABLE))
            continue;
        leaf.quoted = *quoted;
        leaf.is_foreign = kind == RELKIND_FOREIGN_TABLE;
        name_stranger(leaf);
        leaf.leaves_whole = leaves_whole;
        leaf.range = range;
        leaf.member = range ? root : InvalidOid;
        if (!leaf.is_foreign)
            measure(leaf);
        look_at_move(leaf);
        table_.leaves.push_back(std::move(leaf));
    }
}

/// To find the newest rows of a group the whole table is read.
void RowInspection::name_stranger(Leaf& leaf) const {
    leaf.stranger = stranger(leaf.relid, owner_);
    if (!leaf.stranger.empty() || policy_.plan().keep_last == 0)
        return;
    if (const auto found = strangers_table(relid_, owner_)) {
        leaf.stranger = found->role;
        leaf.strangers_table = pg::relation_name(found->relid).value_or("");
    }
}

/// Whether whole partitions may move: all rows that the policy takes go into a table.
bool RowInspection::has_archive_for_partitions() const {
    const RowPolicy& policy = policy_.plan();
    return !policy.archive.empty() && policy.directory.empty() && policy.predicate.empty() &&
           policy.keep_last == 0;
}

/// What is in the way of a leaf, where that matters.
void RowInspection::look_at_move(Leaf& leaf) const {
    if (!archive_ || leaf.member != leaf.relid || leaf.is_foreign || !leaf.stranger.empty() ||
        leaf.range->lower >= base::Bound::value(horizon_))
        return;
    leaf.not_whole = why_it_does_not_move(relid_, leaf.relid, *leaf.range, *archive_, holds_);
    if (leaf.not_whole.empty() && leaf.held.empty()) {
        const ClaimedRows claimed = claimed_rows(relid_, leaf.relid, policy_, now_);
        if (has_claimed_row(relid_, leaf.relid, claimed))
            leaf.held = "rows of it are for " + catalog::describe_jobs(claimed.jobs) + " first";
    }
    if (!leaf.held.empty() || holds_.empty() || has_place(*archive_, *leaf.range))
        return;
    // Rows that are not held themselves have nowhere to go without the others.
    if (const std::vector<catalog::Hold> holds = holds_.covering(leaf.relid); !holds.empty())
        leaf.held = hold_text(holds.front());
}

/// The server's own estimate of how many rows a query finds. An error, such as of a column that was
/// renamed, will be that of the step.
std::int64_t estimate(Oid owner_of, const std::string& query) {
    std::int64_t rows = 0;
    (void)pg::in_subtransaction([&] {
        const catalog::AsOwner owner(owner_of);
        pg::Spi spi;
        spi.run("EXPLAIN (FORMAT JSON) " + query);
        const std::string plan = spi.row(0).text(1);
        spi.run("SELECT ($1::pg_catalog.json OPERATOR(pg_catalog.#>>) '{0,Plan,Plan "
                "Rows}')::pg_catalog.float8::pg_catalog.int8",
                plan);
        rows = spi.row(0).bigint(1);
    });
    return rows;
}

void RowInspection::measure(Leaf& leaf) const {
    leaf.pages = pg::protect([&] {
        const Relation relation = try_relation_open(leaf.relid, AccessShareLock);
        if (!relation)
            return std::int64_t{0};
        const std::int64_t pages = RelationGetNumberOfBlocks(relation);
        relation_close(relation, AccessShareLock);
        return pages;
    });
    if (leaf.pages == 0)
        return;
    const HeldRows held = held_rows(holds_, relid_, leaf.relid, policy_, now_);
    leaf.held = held.all;
    leaf.claimed_by = catalog::describe_jobs(held.claimed.jobs);
    leaf.lost_along = held.claimed.lost_along;
    const std::string rule =
        policy_.plan().archive.empty() ? std::string() : catalog::rule_on_delete(leaf.relid);
    if (!rule.empty())
        leaf.rule = "what rule " + rule +
                    " does on DELETE cannot be done to rows that are archived: DROP RULE " + rule +
                    " ON " + leaf.quoted + ";";
    leaf.time_index = time_index_of(leaf.relid);
    if (!leaf.stranger.empty()) // the planner runs code of whoever owns what it plans for
        return;
    leaf.rows = estimate(relid_, select_from(leaf.quoted));
    leaf.past_rows = estimate(relid_, select_from(leaf.quoted) + " WHERE " +
                                          policy_.condition(horizon_, held.condition));
}

/// An index that gives the rows in the order of their time. Partial ones need not have all.
std::string RowInspection::time_index_of(Oid leaf) const {
    pg::Spi spi;
    spi.run("SELECT pg_catalog.quote_ident(c.relname) FROM pg_catalog.pg_index i "
            "JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid "
            "JOIN pg_catalog.pg_am m ON m.oid OPERATOR(pg_catalog.=) c.relam "
            "JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) i.indrelid "
            "AND a.attname OPERATOR(pg_catalog.=) $2::pg_catalog.name "
            "WHERE i.indrelid OPERATOR(pg_catalog.=) $1 AND i.indisvalid AND i.indpred IS NULL "
            "AND m.amname OPERATOR(pg_catalog.=) 'btree' "
            "AND i.indkey[0] OPERATOR(pg_catalog.=) a.attnum "
            "ORDER BY i.indnatts, c.relname LIMIT 1",
            leaf, policy_.column().name);
    return spi.rows() > 0 ? spi.row(0).text(1) : "";
}

/// Whether the table has an index that leads with some columns in any order and then has another.
bool RowInspection::has_index_on(const std::vector<std::string>& leading,
                                 const std::string& last) const {
    pg::Spi spi;
    return spi.run(
               "SELECT FROM pg_catalog.pg_index i CROSS JOIN LATERAL (SELECT "
               "pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY k.place) AS names "
               "FROM pg_catalog.unnest(i.indkey) WITH ORDINALITY k (number, place) "
               "JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) i.indrelid "
               "AND a.attnum OPERATOR(pg_catalog.=) k.number) x "
               "WHERE i.indrelid OPERATOR(pg_catalog.=) $1 AND i.indisvalid AND i.indpred IS NULL "
               "AND x.names[1:$3] OPERATOR(pg_catalog.@>) $2 "
               "AND x.names[1:$3] OPERATOR(pg_catalog.<@) $2 "
               "AND x.names[$3 OPERATOR(pg_catalog.+) 1] OPERATOR(pg_catalog.=) $4 LIMIT 1",
               relid_, leading, static_cast<std::int32_t>(leading.size()), last) > 0;
}

std::string RowInspection::create_index_sql(const std::vector<std::string>& columns) const {
    const bool is_partitioned = pg::call<get_rel_relkind>(Oid{relid_}) == RELKIND_PARTITIONED_TABLE;
    std::string list;
    for (const std::string& column : columns)
        list += (list.empty() ? "" : ", ") + pg::quote_identifier(column);
    return std::string("CREATE INDEX ") + (is_partitioned ? "" : "CONCURRENTLY ") + "ON " +
           table_.quoted + " (" + list + ");";
}

std::string RowInspection::keep_last_index_sql() const {
    std::vector<std::string> columns = policy_.settings().keep_last_by;
    if (has_index_on(columns, policy_.column().name))
        return {};
    columns.push_back(policy_.column().name);
    return create_index_sql(columns);
}

std::vector<std::string> RowInspection::foreign_key_indexes_sql() const {
    pg::Spi spi;
    spi.run(
        "SELECT pg_catalog.format('CREATE INDEX %sON %I.%I (%s);', "
        "CASE WHEN t.relkind OPERATOR(pg_catalog.=) 'p' THEN '' ELSE 'CONCURRENTLY ' END, "
        "n.nspname, t.relname, "
        "(SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY k.place) "
        "FROM pg_catalog.unnest(c.conkey) WITH ORDINALITY k (number, place) "
        "JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.conrelid "
        "AND a.attnum OPERATOR(pg_catalog.=) k.number)) "
        "FROM pg_catalog.pg_constraint c "
        "JOIN pg_catalog.pg_class t ON t.oid OPERATOR(pg_catalog.=) c.conrelid "
        "JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.relnamespace "
        "WHERE c.contype OPERATOR(pg_catalog.=) 'f' AND c.confrelid OPERATOR(pg_catalog.=) $1 "
        "AND c.conparentid OPERATOR(pg_catalog.=) 0 AND NOT EXISTS (SELECT FROM "
        "pg_catalog.pg_index i WHERE i.indrelid OPERATOR(pg_catalog.=) c.conrelid "
        "AND i.indisvalid AND i.indpred IS NULL AND c.conkey OPERATOR(pg_catalog.<@) "
        "(i.indkey::pg_catalog.int2[])[0:pg_catalog.cardinality(c.conkey) "
        "OPERATOR(pg_catalog.-) 1]) ORDER BY 1",
        relid_);
    std::vector<std::string> commands;
    for (std::uint64_t i = 0; i < spi.rows(); ++i)
        commands.push_back(spi.row(i).text(1));
    return commands;
}

} // namespace

RowTable inspect_rows(Oid relid, const CheckedRowPolicy& policy, base::Instant now) {
    return RowInspection(relid, policy, now).table();
}

std::vector<Touched> touched_along(Oid relid, Oid leaf) {
    const std::string enforced = pg::compat::enforced_key;
    pg::Spi spi;
    spi.run(
        "WITH RECURSIVE reached (relid, loses_rows) AS (SELECT c.conrelid, c.confdeltype "
        "OPERATOR(pg_catalog.=) 'c' FROM pg_catalog.pg_constraint c "
        "WHERE c.contype OPERATOR(pg_catalog.=) 'f' AND " +
            enforced +
            "AND c.confdeltype OPERATOR(pg_catalog.=) "
            "ANY ('{c,n,d}'::pg_catalog.\"char\"[]) "
            "AND c.confrelid OPERATOR(pg_catalog.=) ANY (ARRAY[$1, $2]) "
            "UNION SELECT c.conrelid, r.loses_rows AND c.confdeltype OPERATOR(pg_catalog.=) 'c' "
            "FROM pg_catalog.pg_constraint c JOIN reached r "
            "ON c.confrelid OPERATOR(pg_catalog.=) r.relid "
            "WHERE c.contype OPERATOR(pg_catalog.=) 'f' AND " +
            enforced +
            "AND CASE WHEN r.loses_rows THEN "
            "c.confdeltype ELSE c.confupdtype END OPERATOR(pg_catalog.=) "
            "ANY ('{c,n,d}'::pg_catalog.\"char\"[])) "
            "SELECT r.relid, pg_catalog.bool_or(r.loses_rows) FROM reached r "
            "GROUP BY r.relid ORDER BY r.relid",
        relid, leaf);
    std::vector<Touched> touched;
    for (std::uint64_t i = 0; i < spi.rows(); ++i)
        touched.push_back({spi.row(i).oid(1), spi.row(i).boolean(2)});
    return touched;
}

std::optional<Cascade> find_cascade(const std::vector<Oid>& relids) {
    pg::Spi spi;
    // By what the server does it with: unlike the keys that reference a table, its triggers are
    // found by an index. Every partition has them.
    spi.run("SELECT c.conrelid, pg_catalog.quote_ident(c.conname) FROM pg_catalog.pg_trigger t "
            "JOIN pg_catalog.pg_constraint c ON c.oid OPERATOR(pg_catalog.=) t.tgconstraint "
            "WHERE t.tgrelid OPERATOR(pg_catalog.=) ANY ($1) AND t.tgfoid OPERATOR(pg_catalog.=) "
            "'pg_catalog.\"RI_FKey_cascade_del\"()'::pg_catalog.regprocedure "
            "ORDER BY c.conparentid OPERATOR(pg_catalog.<>) 0, 1, 2 LIMIT 1",
            relids);
    if (spi.rows() == 0)
        return std::nullopt;
    return Cascade{pg::relation_name(spi.row(0).oid(1)).value_or(""), spi.row(0).text(2)};
}

// --- what others are to take ---------------------------------------------------------------------

namespace {

std::string either(const std::string& left, const std::string& right) {
    return left.empty() ? right : right.empty() ? left : left + " OR " + right;
}

/// The rows that a policy is to archive by now, over the columns of the leaf in our statements.
/// `owner`: whoever runs the condition.
std::string archived_by(const Archiver& archiver, Oid owner, base::Instant now) {
    Settings settings = load_policy(archiver.job).settings;
    // A stranger's condition is not run to find out, nor is a stranger's table read.
    const bool is_trusted = stranger(archiver.relid, owner).empty();
    if (archiver.predicate.empty() || !is_trusted)
        settings.predicate.reset();
    if (settings.keep_last && strangers_table(archiver.relid, owner)) {
        settings.keep_last.reset();
        settings.keep_last_by.clear();
    }
    std::string condition;
    const auto failure = pg::in_subtransaction([&] {
        const CheckedRowPolicy policy(std::move(settings), archiver.relid);
        condition = "(" + policy.condition(row_horizon(policy.plan(), now), {}) + ")";
    });
    if (failure && failure->is(base::errc::query_canceled))
        pg::raise(*failure);
    return failure ? "true" : condition; // it does not fit its table any more: any row may be meant
}

/// A foreign key by which rows are deleted along.
struct CascadingKey {
    std::string name; ///< quoted
    Oid onto = InvalidOid;
    std::string join; ///< that a row called `along` references the row in our statements
};

constexpr const char* along = "orchestry_along";

std::vector<CascadingKey> cascading_keys_of(Oid relid) {
    pg::Spi spi;
    spi.run(
        "SELECT pg_catalog.quote_ident(c.conname), c.confrelid, (SELECT "
        "pg_catalog.string_agg(pg_catalog.format('%s.%I OPERATOR(%I.%s) %s.%I%s', $3, p.attname, "
        "n.nspname, o.oprname, $2, f.attname, (SELECT pg_catalog.format(' COLLATE %I.%I', "
        "cn.nspname, l.collname) FROM pg_catalog.pg_collation l JOIN pg_catalog.pg_namespace cn "
        "ON cn.oid OPERATOR(pg_catalog.=) l.collnamespace WHERE l.oid OPERATOR(pg_catalog.=) "
        "p.attcollation AND p.attcollation OPERATOR(pg_catalog.<>) f.attcollation)), ' AND ') "
        "FROM ROWS FROM ("
        "pg_catalog.unnest(c.confkey), pg_catalog.unnest(c.conkey), "
        "pg_catalog.unnest(c.conpfeqop)) k (primary_number, foreign_number, operator_id) "
        "JOIN pg_catalog.pg_operator o ON o.oid OPERATOR(pg_catalog.=) k.operator_id "
        "JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) o.oprnamespace "
        "JOIN pg_catalog.pg_attribute p ON p.attrelid OPERATOR(pg_catalog.=) c.confrelid "
        "AND p.attnum OPERATOR(pg_catalog.=) k.primary_number "
        "JOIN pg_catalog.pg_attribute f ON f.attrelid OPERATOR(pg_catalog.=) c.conrelid "
        "AND f.attnum OPERATOR(pg_catalog.=) k.foreign_number) "
        "FROM pg_catalog.pg_constraint c WHERE c.conrelid OPERATOR(pg_catalog.=) $1 "
        "AND c.contype OPERATOR(pg_catalog.=) 'f' AND c.confdeltype OPERATOR(pg_catalog.=) 'c' "
        "AND c.conparentid OPERATOR(pg_catalog.=) 0 ORDER BY c.conname",
        relid, std::string(along), std::string(CheckedRowPolicy::row));
    std::vector<CascadingKey> keys;
    for (std::uint64_t i = 0; i < spi.rows(); ++i)
        keys.push_back({spi.row(i).text(1), spi.row(i).oid(2), spi.row(i).text(3)});
    return keys;
}

/// Adds the rows with which others would be deleted that somebody is to archive or to compress.
void claim_along(Oid relid, Oid leaf, ClaimedRows& claimed) {
    if (!find_cascade({relid, leaf}))
        return;
    const Oid owner = catalog::owner_of(relid);
    const std::vector<Oid> lineage = catalog::lineage_of(leaf); // a key can be onto any of these
    const std::vector<Touched> touched = touched_along(relid, leaf);
    const auto is_lost = [&](Oid table) {
        return std::any_of(touched.begin(), touched.end(), [&](const Touched& other) {
            return other.loses_rows && other.relid == table;
        });
    };
    for (const Touched& other : touched) {
        if (!other.loses_rows)
            continue;
        std::vector<catalog::JobId> jobs;
        std::string taken;
        for (const Archiver& archiver : archivers_of(other.relid)) {
            jobs.push_back(archiver.job);
            const bool is_any =
                archiver.predicate.empty() || !stranger(archiver.relid, owner).empty();
            taken = either(taken, is_any ? "true" : "(" + archiver.predicate + ")");
        }
        if (const auto compression = catalog::compression_of(other.relid)) {
            jobs.push_back(compression->job);
            taken = either(taken, "pg_catalog.isfinite(" + std::string(along) + "." +
                                      pg::quote_identifier(compression->time_column) + ")");
        }
        if (jobs.empty())
            continue;
        const std::string name = pg::relation_name(other.relid).value_or("");
        for (const CascadingKey& key : cascading_keys_of(other.relid)) {
            const bool is_direct =
                std::find(lineage.begin(), lineage.end(), key.onto) != lineage.end() &&
                !is_lost(key.onto);
            if (is_direct && !strangers_table(other.relid, owner)) {
                claimed.condition =
                    either(claimed.condition, "EXISTS (SELECT FROM " + name + " AS " + along +
                                                  " WHERE " + key.join + " AND (" + taken + "))");
                claimed.jobs.insert(claimed.jobs.end(), jobs.begin(), jobs.end());
            } else if (claimed.lost_along.empty() && (is_direct || is_lost(key.onto)))
                claimed.lost_along =
                    "rows of " + name + " would go along before " + catalog::describe_jobs(jobs) +
                    " has taken them: ALTER TABLE " + name + " DROP CONSTRAINT " + key.name + ";";
        }
    }
}

} // namespace

ClaimedRows claimed_rows(Oid relid, Oid leaf, const CheckedRowPolicy& policy, base::Instant now) {
    ClaimedRows claimed;
    const Oid owner = catalog::owner_of(relid);
    const RowPolicy& mine = policy.plan();
    for (const Archiver& archiver : archivers_of(leaf)) {
        const Settings other = load_policy(archiver.job).settings;
        const bool is_theirs =
            mine.archive.empty() || (mine.predicate.empty() && other.predicate &&
                                     other.archive_to && *other.archive_to != mine.archive);
        if (!is_theirs)
            continue;
        claimed.condition = either(claimed.condition, archived_by(archiver, owner, now));
        claimed.jobs.push_back(archiver.job);
    }
    if (mine.archive.empty()) // others do without a cascade
        claim_along(relid, leaf, claimed);
    return claimed;
}

bool has_claimed_row(Oid relid, Oid leaf, const ClaimedRows& claimed) {
    const std::optional<std::string> name = pg::relation_name(leaf);
    if (claimed.condition.empty() || !name)
        return false;
    bool found = false;
    const auto failure = pg::in_subtransaction([&] {
        const catalog::AsOwner owner(relid);
        pg::Spi spi;
        found = spi.run(select_from(*name) + " WHERE " + claimed.condition + " LIMIT 1") > 0;
    });
    if (failure && failure->is(base::errc::query_canceled))
        pg::raise(*failure);
    return failure || found;
}

// --- what is held -------------------------------------------------------------------------------

namespace {

HeldRows rows_on_hold(const catalog::Holds& holds, Oid relid, Oid leaf,
                      const CheckedRowPolicy& policy) {
    HeldRows held;
    if (holds.empty())
        return held;
    // Which of the rows that would be deleted or changed along are held is not looked up: none may
    // be.
    for (const Touched& other : touched_along(relid, leaf))
        for (const catalog::Hold& hold : holds.covering(other.relid)) {
            held.all = std::string("rows would ") + (other.loses_rows ? "go from " : "change in ") +
                       pg::relation_name(other.relid).value_or("") + " as well, which is under " +
                       hold_text(hold);
            return held;
        }
    const std::vector<catalog::Hold> covering =
        catalog::trusted(holds.covering_at_any_time(leaf), catalog::owner_of(relid));
    if (covering.empty())
        return held;
    const std::vector<catalog::HeldColumn> others =
        catalog::other_time_columns(holds, relid, leaf, policy.column().name);
    for (const catalog::Hold& hold : covering) {
        if (is_whole(hold)) {
            held.all = hold_text(hold);
            return held;
        }
        held.condition +=
            (held.condition.empty() ? "(" : " OR (") + held_condition(hold, policy, others) + ")";
    }
    return held;
}

} // namespace

HeldRows held_rows(const catalog::Holds& holds, Oid relid, Oid leaf, const CheckedRowPolicy& policy,
                   base::Instant now) {
    HeldRows held = rows_on_hold(holds, relid, leaf, policy);
    // Conditions were said of the table, and are looked at in the partition.
    const std::vector<std::string> otherwise = catalog::computed_otherwise(relid, leaf);
    if (held.all.empty() && !otherwise.empty())
        held.all = "column " + pg::quote_identifier(otherwise.front()) +
                   " of it is generated by another expression than that of " +
                   pg::relation_name(relid).value_or("") +
                   ": ALTER TABLE ... ALTER COLUMN ... SET EXPRESSION makes them one";
    held.claimed = claimed_rows(relid, leaf, policy, now);
    held.condition = either(held.condition, held.claimed.condition);
    return held;
}

bool ServerRowWorld::has_past_row(const Leaf& leaf, std::int64_t horizon) const {
    const HeldRows held = held_rows(catalog::Holds(), relid_, leaf.relid, policy_, now_);
    const catalog::AsOwner owner(relid_);
    pg::Spi spi;
    return spi.run(select_from(leaf.quoted) + " WHERE " +
                   policy_.condition(horizon, held.condition) + " LIMIT 1") > 0;
}

} // namespace orchestry::retention
