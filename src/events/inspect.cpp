#include "events/inspect.hpp"

#include "base/arith.hpp"
#include "catalog/columns.hpp"
#include "catalog/hold_condition.hpp"
#include "catalog/settings.hpp"
#include "catalog/strangers.hpp"
#include "pg/compat.hpp"
#include "pg/predicate.hpp"
#include "pg/snapshot.hpp"
#include "pg/xact.hpp"

#include <algorithm>

namespace orchestry::events {

using base::Instant;

namespace {

/// The tables that inherit from the source, whose rows are taken as well, and partitions that were
/// detached from another table before. What other partitions are under, the source is under.
std::vector<Oid> tables_apart(const catalog::Holds& holds, Oid source) {
    std::vector<Oid> tables = pg::family_of(source);
    std::erase_if(tables, [&](Oid relid) {
        return relid == source ||
               (pg::call<get_rel_relispartition>(Oid{relid}) && !holds.was_detached(relid));
    });
    return tables;
}

/// The holds that cover rows of the source, or of such tables.
std::vector<catalog::Hold> holds_on(const catalog::Holds& holds, Oid source) {
    std::vector<catalog::Hold> covering = holds.covering_at_any_time(source);
    if (holds.empty())
        return covering;
    for (const Oid relid : tables_apart(holds, source))
        for (const catalog::Hold& hold : holds.covering_at_any_time(relid))
            if (std::none_of(covering.begin(), covering.end(),
                             [&](const catalog::Hold& known) { return known.id == hold.id; }))
                covering.push_back(hold);
    return covering;
}

/// The tables of the source that a hold on another table is on.
std::vector<Oid> held_tables(const catalog::Holds& holds, const Shape& shape,
                             const catalog::Hold& hold) {
    std::vector<Oid> tables = pg::family_of(shape.source);
    std::erase_if(tables, [&](Oid relid) { return !holds.is_below(relid, hold.relid); });
    return tables;
}

/// The columns by which a hold on a span of time counts, the policy's first.
std::vector<catalog::HeldColumn> held_columns(const catalog::Holds& holds, const Shape& shape,
                                              Oid leaf) {
    std::vector<catalog::HeldColumn> columns =
        catalog::other_time_columns(holds, shape.source, leaf, shape.time_name);
    columns.insert(
        columns.begin(),
        shape.is_wall_clock
            ? catalog::HeldColumn{shape.time_name, TIMESTAMPOID, base::KeyKind::timestamp}
            : catalog::HeldColumn{shape.time_name, TIMESTAMPTZOID, base::KeyKind::timestamptz});
    return columns;
}

bool has_times(const catalog::Hold& hold) {
    return base::is_finite(hold.extent.from) || base::is_finite(hold.extent.to);
}

/// The columns by which rows of the source can be asked whether a hold on some of its tables keeps
/// them: of these tables all that the hold may mean, since they may have been partitions by another
/// key before. nullopt: they have columns of their own, which the source's rows do not have.
std::optional<std::vector<catalog::HeldColumn>> asked_columns(const catalog::Holds& holds,
                                                              const Shape& shape,
                                                              const catalog::Hold& hold,
                                                              const std::vector<Oid>& tables) {
    std::vector<catalog::HeldColumn> columns = held_columns(holds, shape, shape.source);
    const auto is_asked = [&](const catalog::HeldColumn& column) {
        return std::any_of(columns.begin(), columns.end(),
                           [&](const auto& asked) { return asked.name == column.name; });
    };
    for (const Oid table : has_times(hold) ? tables : std::vector<Oid>())
        for (catalog::HeldColumn& column : held_columns(holds, shape, table)) {
            if (is_asked(column))
                continue;
            const AttrNumber number =
                pg::protect([&] { return get_attnum(shape.source, column.name.c_str()); });
            if (number <= 0)
                return std::nullopt;
            columns.push_back(std::move(column));
        }
    const bool can_be_asked = hold.predicate.empty() || !pg::in_subtransaction([&] {
                                  (void)pg::check_predicate(shape.source, hold.predicate, "where");
                              });
    return can_be_asked ? std::optional(std::move(columns)) : std::nullopt;
}

std::string is_of(const std::vector<Oid>& tables) {
    std::string list;
    for (const Oid relid : tables)
        list += (list.empty() ? "" : ",") + std::to_string(relid);
    return "tableoid OPERATOR(pg_catalog.=) ANY ('{" + list + "}'::pg_catalog.oid[])";
}

/// The condition that a row of the source meets when the hold keeps it; "true" for all rows, empty
/// for none.
std::string held_rows(const catalog::Holds& holds, const Shape& shape, const catalog::Hold& hold) {
    if (holds.is_below(shape.source, hold.relid)) {
        const std::vector<catalog::HeldColumn> columns = held_columns(holds, shape, shape.source);
        std::string condition = catalog::held_condition(hold, columns, {});
        if (has_times(hold))
            for (const Oid table : tables_apart(holds, shape.source)) { // may have times besides
                const auto asked = asked_columns(holds, shape, hold, {table});
                if (!asked || asked->size() > columns.size())
                    condition = "(" + condition + ") OR (" +
                                (asked ? catalog::held_condition(hold, *asked, {}) : "true") +
                                ") AND " + is_of({table});
            }
        return condition;
    }
    const std::vector<Oid> tables = held_tables(holds, shape, hold);
    if (tables.empty())
        return {}; // it was a part of the source, and is none any more
    const auto columns = asked_columns(holds, shape, hold, tables);
    return "(" + (columns ? catalog::held_condition(hold, *columns, {}) : "true") + ") AND " +
           is_of(tables);
}

} // namespace

Kept kept_by_holds(const Shape& shape) {
    Kept kept;
    const catalog::Holds holds;
    for (const catalog::Hold& hold :
         catalog::trusted(holds_on(holds, shape.source), catalog::owner_of(shape.source))) {
        const std::string rows = held_rows(holds, shape, hold);
        if (rows == "true")
            kept.everything =
                catalog::describe(hold) + "; to end it: " + catalog::release_command(hold.id);
        else if (!rows.empty())
            kept.condition += (kept.condition.empty() ? "(" : " AND (") + rows + ") IS NOT TRUE";
    }
    return kept;
}

std::string removable(const Shape& shape, const Kept& kept, const base::TimeExtent& extent) {
    std::string condition = time_condition(shape, extent);
    if (!base::is_finite(extent.from)) // what is before all time is in no bucket
        condition += " AND pg_catalog.isfinite(" + shape.time_column + ")";
    return condition + (kept.condition.empty() ? "" : " AND " + kept.condition);
}

std::string stranger_in(const Shape& shape) {
    const auto part = catalog::find_strangers_part(shape.source, catalog::owner_of(shape.source));
    return part ? "its part " + part->name + " belongs to role " + part->role + ": " + part->remedy
                : std::string();
}

std::string obstacle(const Shape& shape) {
    if (const std::string rule = catalog::rule_on_delete(shape.source); !rule.empty())
        return "what rule " + rule +
               " does on DELETE cannot be done to rows that are summed up: DROP RULE " + rule +
               " ON " + shape.source_name + ";";
    pg::Spi spi;
    spi.run("SELECT c.conrelid::pg_catalog.regclass::pg_catalog.text, "
            "pg_catalog.quote_ident(c.conname) FROM pg_catalog.pg_constraint c "
            "WHERE c.contype OPERATOR(pg_catalog.=) 'f' AND c.confrelid OPERATOR(pg_catalog.=) ANY "
            "($1) "
            "AND c.confdeltype OPERATOR(pg_catalog.=) ANY ('{c,n,d}'::pg_catalog.\"char\"[]) AND " +
                std::string(pg::compat::enforced_key) + "ORDER BY 1, 2 LIMIT 1",
            pg::family_of(shape.source));
    if (spi.rows() == 0)
        return {};
    const std::string table = spi.row(0).text(1);
    return "rows of " + table + " would change or go with it by foreign key " + spi.row(0).text(2) +
           ": ALTER TABLE " + table + " DROP CONSTRAINT " + spi.row(0).text(2) + ";";
}

std::string reference_to(const Shape& shape, const std::string& condition) {
    const Oid owner = catalog::owner_of(shape.source);
    pg::Spi spi;
    // What the owner may not read, or a stranger's table, whose indexes may have functions for the
    // planner to run, is left to the server's own check, which is made as the owner of that.
    spi.run("SELECT c.conrelid::pg_catalog.regclass::pg_catalog.text, "
            "pg_catalog.quote_ident(c.conname), (SELECT pg_catalog.string_agg(pg_catalog.format("
            "'k.%I OPERATOR(%I.%s) r.%I', a.attname, n.nspname, o.oprname, b.attname), ' AND ') "
            "FROM ROWS FROM (pg_catalog.unnest(c.confkey), pg_catalog.unnest(c.conkey), "
            "pg_catalog.unnest(c.conpfeqop)) k(mine, theirs, equal) "
            "JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.confrelid "
            "AND a.attnum OPERATOR(pg_catalog.=) k.mine "
            "JOIN pg_catalog.pg_attribute b ON b.attrelid OPERATOR(pg_catalog.=) c.conrelid "
            "AND b.attnum OPERATOR(pg_catalog.=) k.theirs "
            "JOIN pg_catalog.pg_operator o ON o.oid OPERATOR(pg_catalog.=) k.equal "
            "JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) o.oprnamespace), "
            "c.conrelid FROM pg_catalog.pg_constraint c "
            "JOIN pg_catalog.pg_class t ON t.oid OPERATOR(pg_catalog.=) c.conrelid "
            "WHERE c.contype OPERATOR(pg_catalog.=) 'f' AND c.confrelid OPERATOR(pg_catalog.=) ANY "
            "($1) AND c.conrelid OPERATOR(pg_catalog.<>) ALL ($1) "
            "AND c.conparentid OPERATOR(pg_catalog.=) 0 "
            "AND c.confdeltype OPERATOR(pg_catalog.=) ANY ('{a,r}'::pg_catalog.\"char\"[]) "
            "AND NOT t.relrowsecurity AND " +
                std::string(pg::compat::enforced_key) +
                "AND pg_catalog.has_table_privilege(c.conrelid, 'SELECT') ORDER BY 1, 2",
            pg::family_of(shape.source));
    for (std::uint64_t i = 0; i < spi.rows(); ++i) {
        const std::string table = spi.row(i).text(1), constraint = spi.row(i).text(2);
        if (catalog::find_strangers_part(spi.row(i).oid(4), owner))
            continue;
        pg::Spi search;
        if (search.run("SELECT FROM " + shape.source_name + " AS k WHERE " + condition +
                       " AND EXISTS (SELECT FROM " + table + " AS r WHERE " + spi.row(i).text(3) +
                       ") LIMIT 1") > 0)
            return "rows of " + table + " reference some of them by foreign key " + constraint +
                   ": delete those, or run ALTER TABLE " + table + " DROP CONSTRAINT " +
                   constraint + ";";
    }
    return {};
}

namespace {

/// Rows that are looked at as they come: when there are fewer before the horizon, all is known.
constexpr std::int64_t rows_looked_at = 50'000;
/// Beyond that, about this many blocks of the table are looked at.
constexpr double blocks_looked_at = 2'000;

class Inspection {
  public:
    Inspection(const Shape& shape, const Policy& policy, const Kept& kept)
        : shape_(shape), policy_(policy), kept_(kept) {}

    void look_at(Segment& segment) const;

  private:
    std::optional<Instant> oldest(const Segment& segment) const;
    Instant sampled_from(const Segment& segment) const;
    std::vector<SampledBucket> read(const Segment& segment, Instant lower,
                                    const std::string& rows) const;
    double blocks() const;

    const Shape& shape_;
    const Policy& policy_;
    const Kept& kept_;
};

std::optional<Instant> Inspection::oldest(const Segment& segment) const {
    pg::Spi spi;
    spi.run("SELECT pg_catalog.timezone('UTC', pg_catalog.min(" + shape_.time_column + ")) FROM " +
            shape_.source_name + " WHERE " + removable(shape_, kept_, {segment.from, segment.to}));
    // Either a timestamptz seen in UTC or a wall clock's time read as UTC: the same number.
    return spi.row(0).is_null(1) ? std::nullopt : std::optional(spi.row(0).instant(1));
}

/// A list of calendar buckets is kept short: of what is further back there is no sample.
Instant Inspection::sampled_from(const Segment& segment) const {
    const base::Grid grid = policy_.grid();
    const Instant lower = grid.floor(*segment.oldest);
    if (policy_.bucket.us > 0)
        return lower;
    const std::int64_t length_us = base::saturating_multiply(
        (policy_.bucket.days + 28 * std::int64_t{policy_.bucket.months}) * base::us_per_day,
        calendar_buckets_per_step);
    return std::max(lower, grid.floor({std::max(base::saturating_subtract(segment.to.us, length_us),
                                                lower.us)}));
}

std::vector<SampledBucket> Inspection::read(const Segment& segment, Instant lower,
                                            const std::string& rows) const {
    pg::Spi spi;
    spi.run(sample_sql(shape_, policy_, lower, segment.to, rows));
    std::vector<SampledBucket> buckets;
    for (std::uint64_t i = 0; i < spi.rows(); ++i) {
        const pg::Row row = spi.row(i);
        buckets.push_back({row.instant(1), row.bigint(2), row.bigint(3), row.bigint(4)});
    }
    return buckets;
}

/// How many blocks the source has, with all that it consists of.
double Inspection::blocks() const {
    pg::Spi spi;
    spi.run("SELECT pg_catalog.sum(pg_catalog.pg_relation_size(t))::pg_catalog.float8 "
            "FROM pg_catalog.unnest($1) t",
            pg::family_of(shape_.source));
    return spi.row(0).float8(1) / BLCKSZ;
}

void Inspection::look_at(Segment& segment) const {
    segment.oldest = oldest(segment);
    if (!segment.oldest)
        return;
    const Instant lower = sampled_from(segment);
    const std::string due = removable(shape_, kept_, {std::max(lower, segment.from), segment.to});
    segment.sample = read(segment, lower,
                          "(SELECT * FROM " + shape_.source_name + " WHERE " + due + " LIMIT " +
                              std::to_string(rows_looked_at) + ") l");
    std::int64_t rows = 0;
    for (const SampledBucket& bucket : segment.sample)
        rows += bucket.rows;
    if (rows < rows_looked_at)
        return;
    segment.fraction = std::min(blocks_looked_at / std::max(blocks(), 1.0), 1.0);
    segment.sample =
        read(segment, lower,
             shape_.source_name + " TABLESAMPLE SYSTEM (" + std::to_string(100 * segment.fraction) +
                 ") REPEATABLE (0) WHERE " + due);
}

/// Whether a publication tells subscribers of deletes from a table, but not of its TRUNCATE.
bool publishes_deletes_only(Oid relid) {
    pg::Spi spi;
    return spi.run(
               "SELECT FROM pg_catalog.pg_publication p WHERE p.pubdelete AND (NOT p.pubtruncate "
               "OR p.pubviaroot) AND (p.puballtables "
               "OR EXISTS (SELECT FROM pg_catalog.pg_publication_rel r "
               "WHERE r.prpubid OPERATOR(pg_catalog.=) p.oid AND r.prrelid OPERATOR(pg_catalog.=) "
               "ANY (ARRAY(SELECT a.relid FROM pg_catalog.pg_partition_ancestors($1) a))) "
               "OR EXISTS (SELECT FROM pg_catalog.pg_publication_namespace n "
               "JOIN pg_catalog.pg_class c ON c.relnamespace OPERATOR(pg_catalog.=) n.pnnspid "
               "WHERE n.pnpubid OPERATOR(pg_catalog.=) p.oid AND c.oid OPERATOR(pg_catalog.=) "
               "ANY (ARRAY(SELECT a.relid FROM pg_catalog.pg_partition_ancestors($1) a)))) LIMIT 1",
               relid) > 0;
}

/// Whether nothing but their times decides what becomes of the rows of a table: no trigger or rule
/// acts on their deletion, nor on TRUNCATE, no other table references them, and no subscriber has
/// to be told of each.
bool is_simple(Oid relid) {
    if (publishes_deletes_only(relid))
        return false;
    pg::Spi spi;
    spi.run("SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid "
            "OPERATOR(pg_catalog.=) $1 AND NOT t.tgisinternal AND (t.tgtype "
            "OPERATOR(pg_catalog.&) 40::pg_catalog.int2) OPERATOR(pg_catalog.<>) 0) "
            "AND NOT EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class "
            "OPERATOR(pg_catalog.=) $1 AND r.ev_type OPERATOR(pg_catalog.=) '4') "
            "AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint c WHERE c.contype "
            "OPERATOR(pg_catalog.=) 'f' AND c.confrelid OPERATOR(pg_catalog.=) $1)",
            relid);
    return spi.row(0).boolean(1);
}

bool may_truncate(Oid role, Oid relid) {
    return pg::protect([&] { return pg_class_aclcheck(relid, role, ACL_TRUNCATE) == ACLCHECK_OK; });
}

std::int64_t bytes_of(Oid relid) {
    pg::Spi spi;
    spi.run("SELECT pg_catalog.pg_relation_size($1::pg_catalog.regclass)", relid);
    return spi.row(0).is_null(1) ? 0 : spi.row(0).bigint(1);
}

/// The bounds of a partition, where both are given and finite: rows at minus infinity are in no
/// bucket. The time column is the key.
std::optional<base::TimeExtent> bounds_of(const base::Member& member) {
    if (member.range.lower.kind != base::Bound::Kind::value ||
        member.range.upper.kind != base::Bound::Kind::value)
        return std::nullopt;
    const base::TimeExtent bounds{{member.range.lower.at}, {member.range.upper.at}};
    return base::is_finite(bounds.from) && base::is_finite(bounds.to) ? std::optional(bounds)
                                                                      : std::nullopt;
}

/// The kind of key that the partitions of the source have bounds of; nullopt: they have none of
/// time.
std::optional<base::KeyKind> key_kind(const Shape& shape) {
    if (!catalog::has_supported_key(shape.source) ||
        pg::quote_identifier(catalog::require_key_column(shape.source).name) != shape.time_column)
        return std::nullopt;
    return shape.is_wall_clock ? base::KeyKind::timestamp : base::KeyKind::timestamptz;
}

} // namespace

std::vector<base::TimeExtent> partition_bounds(const Shape& shape) {
    std::vector<base::TimeExtent> all;
    if (const auto kind = key_kind(shape))
        for (const base::Member& member :
             catalog::read_partitioned_table(shape.source, *kind).members)
            if (const auto bounds = bounds_of(member))
                all.push_back(*bounds);
    return all;
}

std::vector<Whole> whole_partitions(const Shape& shape, const Kept& kept, Instant horizon) {
    std::vector<Whole> wholes;
    const auto kind = key_kind(shape);
    // Triggers for whole statements are those of the table that is named, whose rows these are.
    if (!kept.condition.empty() || !kind || !is_simple(shape.source))
        return wholes;
    const Oid owner = catalog::owner_of(shape.source);
    for (const base::Member& member :
         catalog::read_partitioned_table(shape.source, *kind).members) {
        const auto bounds = bounds_of(member);
        if (bounds && bounds->to <= horizon && !member.detach_pending &&
            pg::call<get_rel_relkind>(member.relid) == RELKIND_RELATION &&
            catalog::owner_of(member.relid) == owner && may_truncate(owner, member.relid) &&
            pg::is_heap(member.relid) &&
            is_worth_it(bytes_of(member.relid), pg::bytes_not_all_visible(member.relid),
                        catalog::settings::lock_budget_us()) &&
            is_simple(member.relid))
            wholes.push_back({member.relid, member.quoted, bounds->from, bounds->to, member.rows});
    }
    return wholes;
}

Source inspect_part(const Shape& shape, const Policy& policy, const Kept& kept,
                    const base::TimeExtent& extent) {
    Source source;
    source.quoted = shape.source_name;
    source.target = shape.target_name;
    source.segments = {{extent.from, extent.to, {}, {}, 1}};
    Inspection(shape, policy, kept).look_at(source.segments.front());
    return source;
}

Source inspect(const Shape& shape, const Policy& policy, Instant now) {
    Source source;
    source.quoted = shape.source_name;
    source.target = shape.target_name;
    const Kept kept = kept_by_holds(shape);
    source.held = kept.everything;
    if (!source.held.empty())
        return source;
    source.stranger = stranger_in(shape);
    if (!source.stranger.empty())
        return source;
    source.obstacle = obstacle(shape);
    const Instant end = horizon(policy, now);
    source.wholes = whole_partitions(shape, kept, end);
    source.segments = segments_beside(source.wholes, end);
    const Inspection inspection(shape, policy, kept);
    for (Segment& segment : source.segments)
        inspection.look_at(segment);
    return source;
}

} // namespace orchestry::events
