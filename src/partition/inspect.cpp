#include "partition/inspect.hpp"

#include "catalog/job.hpp"
#include "catalog/retention_horizon.hpp"
#include "catalog/strangers.hpp"
#include "pg/compat.hpp"

#include <algorithm>

namespace orchestry::partition {

namespace {

/// ANALYZE reads at most this many blocks of one table: 300 for each of the 100 statistics targets
/// by default.
constexpr std::int64_t analyze_sample_pages = 30'000;
/// Where ANALYZE of a parent reads every partition too, it may read this much in all: 4 GB.
constexpr std::int64_t analyze_budget_pages = 4 * 131'072;
/// ANALYZE of a parent locks all its partitions in one transaction. So many fit into a default
/// server's lock table beside what others hold.
constexpr std::int64_t analyze_lock_budget = 3'000;

/// A function of the cumulative statistics over one relation; 0 when it says NULL.
Datum statistic(PGFunction function, Oid relid, bool* null) {
    LOCAL_FCINFO(fcinfo, 1);
    InitFunctionCallInfoData(*fcinfo, nullptr, 1, InvalidOid, nullptr, nullptr);
    fcinfo->args[0].value = ObjectIdGetDatum(relid);
    fcinfo->args[0].isnull = false;
    const Datum value = function(fcinfo);
    *null = fcinfo->isnull;
    return fcinfo->isnull ? Datum{0} : value;
}

std::int64_t count_statistic(PGFunction function, Oid relid) {
    bool null = false;
    return DatumGetInt64(statistic(function, relid, &null));
}

/// The time that a function gives for a relation if it is after `newest`.
void take_newest(PGFunction function, Oid relid, bool* known, TimestampTz* newest) {
    bool null = false;
    const TimestampTz at = DatumGetTimestampTz(statistic(function, relid, &null));
    if (null || (*known && at <= *newest))
        return;
    *known = true;
    *newest = at;
}

/// Statistics of the whole set. C-like.
struct RawStatistics {
    bool has_rows = false;
    bool changed = false;
    bool analyzed = false;
    TimestampTz analyzed_at = 0;
};

RawStatistics read_statistics(Oid parent, const Oid* members, std::size_t count) {
    RawStatistics statistics;
    take_newest(pg_stat_get_last_analyze_time, parent, &statistics.analyzed,
                &statistics.analyzed_at);
    for (std::size_t i = 0; i < count; ++i) {
        statistics.has_rows |= count_statistic(pg_stat_get_live_tuples, members[i]) > 0;
        bool known = false;
        TimestampTz at = 0;
        take_newest(pg_stat_get_last_analyze_time, members[i], &known, &at);
        take_newest(pg_stat_get_last_autoanalyze_time, members[i], &known, &at);
        statistics.changed |= count_statistic(pg_stat_get_mod_since_analyze, members[i]) > 0 ||
                              (known && statistics.analyzed && at > statistics.analyzed_at);
    }
    return statistics;
}

std::vector<Exclusion> read_exclusions(Oid relid) {
    const List* const found = pg::protect([&] {
        List* names = NIL;
        List* valid = NIL;
        ScanKeyData key;
        ScanKeyInit(&key, Anum_pg_constraint_conrelid, BTEqualStrategyNumber, F_OIDEQ,
                    ObjectIdGetDatum(relid));
        const Relation constraints = table_open(ConstraintRelationId, AccessShareLock);
        const SysScanDesc scan = systable_beginscan(constraints, ConstraintRelidTypidNameIndexId,
                                                    true, nullptr, 1, &key);
        for (HeapTuple tuple = systable_getnext(scan); HeapTupleIsValid(tuple);
             tuple = systable_getnext(scan)) {
            const auto* const form = reinterpret_cast<Form_pg_constraint>(GETSTRUCT(tuple));
            if (form->contype != CONSTRAINT_CHECK ||
                std::strncmp(NameStr(form->conname), check_prefix, std::strlen(check_prefix)) != 0)
                continue;
            names = lappend(names, pstrdup(NameStr(form->conname)));
            valid = lappend_int(valid, form->convalidated);
        }
        systable_endscan(scan);
        table_close(constraints, AccessShareLock);
        return list_make2(names, valid);
    });
    const auto* const names = static_cast<const List*>(linitial(found));
    const auto* const valid = static_cast<const List*>(lsecond(found));
    std::vector<Exclusion> exclusions;
    for (int i = 0; i < list_length(names); ++i)
        exclusions.push_back(
            {static_cast<const char*>(list_nth(names, i)), list_nth_int(valid, i) != 0});
    return exclusions;
}

/// The columns that an INSERT of whole rows has to name: not those that the server computes.
std::string insertable_columns(TupleDesc desc) {
    std::string columns;
    for (int i = 0; i < desc->natts; ++i) {
        const Form_pg_attribute column = TupleDescAttr(desc, i);
        if (column->attisdropped || column->attgenerated != '\0')
            continue;
        if (!columns.empty())
            columns += ", ";
        columns += pg::quote_identifier(NameStr(column->attname));
    }
    return columns;
}

/// As DefaultPartition::stranger.
std::string describe_stranger(Oid fallback, Oid owner) {
    const auto part = catalog::find_strangers_part(fallback, owner);
    if (!part)
        return {};
    return (part->relid == fallback ? "it" : "a part of it, " + part->name + ",") +
           " belongs to role " + part->role + ": " + part->remedy;
}

/// Whether ANALYZE of a parent stays within its budgets.
bool analyze_is_cheap(Relation parent, int members, std::int64_t sample_pages) {
    if (pg::compat::has_analyze_only) // reads a sample of them, and none of their indexes
        return members <= analyze_lock_budget;
    const int indexes = pg::protect([&] { return list_length(RelationGetIndexList(parent)); });
    return sample_pages <= analyze_budget_pages &&
           std::int64_t{members} * (1 + indexes) <= analyze_lock_budget;
}

} // namespace

Set inspect(Oid parent, KeyKind kind) {
    catalog::PartitionedTable table = catalog::read_partitioned_table(parent, kind);
    const pg::OpenRelation relation(parent, AccessShareLock, pg::KeepLock::until_close);
    const Range limits = catalog::key_limits(kind, table.key.type);
    const char* const schema =
        pg::protect([&]() -> const char* { return get_namespace_name(table.schema); });
    Set set;
    set.relid = parent;
    set.name = table.name;
    set.schema = pg::quote_identifier(schema ? schema : "");
    set.schema_id = table.schema;
    set.quoted = table.quoted;
    set.kind = kind;
    set.key = pg::quote_identifier(table.key.name);
    set.columns = insertable_columns(RelationGetDescr(relation.get()));
    set.lowest = limits.lower.at;
    set.highest = limits.upper.at;
    if (kind == KeyKind::integer)
        if (const auto frontier = catalog::integer_frontier(table))
            set.position = frontier->upper.kind == Bound::Kind::value ? frontier->upper.at
                                                                      : frontier->lower.at;
    std::vector<Oid> relids;
    std::int64_t sample_pages = 0;
    const auto count = [&](Oid relid, std::int64_t pages, bool has_rows) {
        relids.push_back(relid);
        sample_pages += std::min(pages, analyze_sample_pages);
        set.statistics.has_rows |= has_rows;
    };
    for (const Member& member : table.members)
        count(member.relid, member.pages, member.rows > 0);
    if (table.fallback) {
        count(table.fallback->relid, table.fallback->pages, table.fallback->has_rows);
        set.fallback = DefaultPartition{
            table.fallback->relid, table.fallback->quoted, read_exclusions(table.fallback->relid),
            describe_stranger(table.fallback->relid, relation->rd_rel->relowner)};
    }
    set.members = std::move(table.members);
    set.retention_runs = std::any_of(set.members.begin(), set.members.end(),
                                     [](const Member& member) { return member.detach_pending; }) &&
                         catalog::retention_is_running(parent);
    const RawStatistics statistics =
        pg::protect([&] { return read_statistics(parent, relids.data(), relids.size()); });
    set.statistics.has_rows |= statistics.has_rows;
    set.statistics.changed = statistics.changed;
    if (statistics.analyzed)
        set.statistics.analyzed_at = base::Instant{statistics.analyzed_at};
    set.statistics.cheap =
        analyze_is_cheap(relation.get(), static_cast<int>(relids.size()), sample_pages);
    return set;
}

std::vector<PlannedStep> plan_inspected(const Set& set, const Policy& policy, base::Instant now) {
    return plan(set, policy, now, ServerWorld(set),
                catalog::retention_horizon(set.relid, set.kind, set.position, now,
                                           catalog::Leaving::moved));
}

Oid route(const Set& set, const std::optional<KeyValue>& key) {
    const Oid fallback = set.fallback ? set.fallback->relid : InvalidOid;
    if (!key)
        return fallback;
    // Uuids with one time are told apart by their text, which sorts as the server sorts them.
    const auto text = [&](const Bound& bound, const std::string& exact) {
        return exact.empty() ? bound_text(set.kind, bound) : exact;
    };
    const Bound at = Bound::value(key->position);
    const std::string key_text = text(at, key->exact);
    const auto before = [&](const Bound& bound, const std::string& exact) {
        if (bound != at || set.kind != KeyKind::uuid_v7)
            return at < bound;
        return key_text < text(bound, exact);
    };
    for (const Member& member : set.members)
        if (!before(member.range.lower, member.exact_lower) &&
            before(member.range.upper, member.exact_upper))
            return member.detach_pending ? fallback : member.relid;
    return fallback;
}

UnforcedRowSecurity::UnforcedRowSecurity() noexcept {
    GetUserIdAndSecContext(&user_, &context_);
    SetUserIdAndSecContext(user_, context_ | SECURITY_NOFORCE_RLS);
}

UnforcedRowSecurity::~UnforcedRowSecurity() { SetUserIdAndSecContext(user_, context_); }

std::optional<std::string> ServerWorld::holder_of(const std::string& name) const {
    const Oid relid = pg::protect([&] { return get_relname_relid(name.c_str(), set_.schema_id); });
    const std::string quoted = set_.schema + "." + pg::quote_identifier(name);
    if (OidIsValid(relid))
        return "relation " + quoted;
    const bool type = pg::protect([&] {
        return SearchSysCacheExists2(TYPENAMENSP, CStringGetDatum(name.c_str()),
                                     ObjectIdGetDatum(set_.schema_id));
    });
    return type ? std::optional("type " + quoted) : std::nullopt;
}

std::int64_t ServerWorld::default_pages() const {
    pg::Spi spi;
    spi.run(
        "SELECT COALESCE(pg_catalog.sum(pg_catalog.pg_relation_size(t.relid)), 0)::pg_catalog.int8 "
        "FROM pg_catalog.pg_partition_tree($1::pg_catalog.regclass) t WHERE t.isleaf",
        static_cast<Oid>(set_.fallback->relid));
    return (spi.row(0).bigint(1) + BLCKSZ - 1) / BLCKSZ;
}

bool ServerWorld::has_foreign_table(std::uint32_t relid) const {
    const std::vector<Oid> family = pg::family_of(relid);
    return std::any_of(family.begin(), family.end(), [](Oid member) {
        return pg::call<get_rel_relkind>(member) == RELKIND_FOREIGN_TABLE;
    });
}

// The default partition is read as the owner: planning a query runs functions of its indexes and
// constraints.

bool ServerWorld::default_has_rows(const PlannedStep& step) const {
    const UnforcedRowSecurity unforced;
    const catalog::AsOwner owner(set_.relid);
    pg::Spi spi;
    return spi.run("SELECT FROM " + set_.fallback->quoted + " WHERE " +
                   range_condition(set_, step) + " LIMIT 1") > 0;
}

std::optional<Extent> ServerWorld::default_extent() const {
    const UnforcedRowSecurity unforced;
    const catalog::AsOwner owner(set_.relid);
    pg::Spi spi;
    const std::string from = " FROM " + set_.fallback->quoted;
    const std::string by_key = from + " ORDER BY " + set_.key;
    spi.run("SELECT (SELECT " + set_.key + by_key + " LIMIT 1), (SELECT " + set_.key + by_key +
            " DESC NULLS LAST LIMIT 1), EXISTS (SELECT" + from + " WHERE " + set_.key +
            " IS NULL)");
    const pg::Row row = spi.row(0);
    if (row.is_null(1) || row.boolean(3))
        return std::nullopt;
    const Oid type = pg::call<getBaseType>(row.type(1));
    const Extent extent{catalog::decode_key(set_.kind, type, row.datum(1)).position,
                        catalog::decode_key(set_.kind, type, row.datum(2)).position};
    const bool finite =
        extent.least != base::lowest_position && extent.greatest != base::highest_position;
    return finite || !is_time(set_.kind) ? std::optional(extent) : std::nullopt;
}

} // namespace orchestry::partition
