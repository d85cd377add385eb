#include "partition/inspect.hpp"

#include "base/hash.hpp"
#include "pg/compat.hpp"

#include <algorithm>
#include <limits>

namespace orchestry::partition {

namespace {

constexpr std::int64_t lowest_int64 = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t highest_int64 = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t highest_uuid_ms = (std::int64_t{1} << 48) - 1;

/// ANALYZE reads at most this many blocks of one table: 300 for each of the 100 statistics targets
/// by default.
constexpr std::int64_t analyze_sample_pages = 30'000;
/// Where ANALYZE of a parent reads every partition too, it may read this much in all: 4 GB.
constexpr std::int64_t analyze_budget_pages = 4 * 131'072;
/// ANALYZE of a parent locks all its partitions in one transaction. So many fit into a default
/// server's lock table beside what others hold.
constexpr std::int64_t analyze_lock_budget = 3'000;

// What follows is filled inside protect() and is therefore plain data.

struct RawBound {
    Bound::Kind kind = Bound::Kind::value;
    std::int64_t at = 0;
    bool exact = false; // `uuid` has more in it than `at` says
    unsigned char uuid[UUID_LEN] = {};
};

struct RawMember {
    Oid relid = InvalidOid;
    Oid schema = InvalidOid;
    NameData name = {};
    std::int64_t pages = 0;
    bool has_rows = false;
    bool is_default = false;
    bool detach_pending = false;
    RawBound lower, upper;
};

struct RawSet {
    NameData name = {};
    Oid schema = InvalidOid;
    RawMember* members = nullptr; // in the current memory context
    int count = 0;
    bool changed = false;
    bool analyzed = false;
    TimestampTz analyzed_at = 0;
};

/// Bytes of an integer type.
int width_of(Oid type) { return type == INT2OID ? 2 : type == INT4OID ? 4 : 8; }

/// The position of a key, and the key itself where it is a uuid that is not the first of its
/// millisecond.
RawBound raw_value(KeyKind kind, int length, Datum value) {
    RawBound bound;
    switch (kind) {
    case KeyKind::timestamptz:
    case KeyKind::timestamp:
        bound.at = DatumGetTimestamp(value);
        break;
    case KeyKind::date: {
        const DateADT date = DatumGetDateADT(value);
        bound.at = DATE_IS_NOBEGIN(date) ? lowest_int64
                   : DATE_IS_NOEND(date) ? highest_int64
                                         : date;
        break;
    }
    case KeyKind::uuid_v7: {
        constexpr int time_bytes = 6;
        std::memcpy(bound.uuid, DatumGetUUIDP(value)->data, UUID_LEN);
        for (int i = 0; i < UUID_LEN; ++i) {
            if (i < time_bytes)
                bound.at = bound.at << 8 | bound.uuid[i];
            else
                bound.exact |= bound.uuid[i] != 0;
        }
        break;
    }
    default:
        bound.at = length == 2   ? DatumGetInt16(value)
                   : length == 4 ? DatumGetInt32(value)
                                 : DatumGetInt64(value);
        break;
    }
    return bound;
}

RawBound raw_bound(KeyKind kind, List* datums) {
    const auto* const datum = linitial_node(PartitionRangeDatum, datums);
    RawBound bound;
    if (datum->kind == PARTITION_RANGE_DATUM_MINVALUE)
        bound.kind = Bound::Kind::minvalue;
    else if (datum->kind == PARTITION_RANGE_DATUM_MAXVALUE)
        bound.kind = Bound::Kind::maxvalue;
    else {
        const auto* const value = castNode(Const, datum->value);
        bound = raw_value(kind, value->constlen, value->constvalue);
    }
    return bound;
}

std::string exact_text(const RawBound& bound) {
    if (!bound.exact)
        return {};
    std::string text;
    for (int i = 0; i < UUID_LEN; ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            text += '-';
        text += "0123456789abcdef"[bound.uuid[i] >> 4];
        text += "0123456789abcdef"[bound.uuid[i] & 0xf];
    }
    return text;
}

/// Reads one child's row of pg_class. False: it is gone, or no partition any more.
bool read_member(KeyKind kind, RawMember& member) {
    const HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(member.relid));
    if (!HeapTupleIsValid(tuple))
        return false;
    bool null = true;
    const Datum bound = SysCacheGetAttr(RELOID, tuple, Anum_pg_class_relpartbound, &null);
    if (!null) {
        const auto* const form = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple));
        member.name = form->relname;
        member.schema = form->relnamespace;
        member.pages = form->relpages;
        member.has_rows = form->reltuples > 0;
        const auto* const spec =
            castNode(PartitionBoundSpec, stringToNode(TextDatumGetCString(bound)));
        member.is_default = spec->is_default;
        if (!spec->is_default) {
            member.lower = raw_bound(kind, spec->lowerdatums);
            member.upper = raw_bound(kind, spec->upperdatums);
        }
    }
    ReleaseSysCache(tuple);
    return !null;
}

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

void read_statistics(Oid parent, RawSet& set) {
    take_newest(pg_stat_get_last_analyze_time, parent, &set.analyzed, &set.analyzed_at);
    for (int i = 0; i < set.count; ++i) {
        RawMember& member = set.members[i];
        member.has_rows |= count_statistic(pg_stat_get_live_tuples, member.relid) > 0;
        bool known = false;
        TimestampTz at = 0;
        take_newest(pg_stat_get_last_analyze_time, member.relid, &known, &at);
        take_newest(pg_stat_get_last_autoanalyze_time, member.relid, &known, &at);
        set.changed |= count_statistic(pg_stat_get_mod_since_analyze, member.relid) > 0 ||
                       (known && set.analyzed && at > set.analyzed_at);
    }
}

/// Calls `visit` with each row of pg_inherits under `parent`. C-like.
template <typename F>
void for_each_child(Relation inherits, Oid parent, F visit) {
    ScanKeyData key;
    ScanKeyInit(&key, Anum_pg_inherits_inhparent, BTEqualStrategyNumber, F_OIDEQ,
                ObjectIdGetDatum(parent));
    const SysScanDesc scan =
        systable_beginscan(inherits, InheritsParentIndexId, true, nullptr, 1, &key);
    for (HeapTuple tuple = systable_getnext(scan); HeapTupleIsValid(tuple);
         tuple = systable_getnext(scan))
        visit(tuple, reinterpret_cast<Form_pg_inherits>(GETSTRUCT(tuple)));
    systable_endscan(scan);
}

RawSet read_set(Relation parent, KeyKind kind) {
    RawSet set;
    namestrcpy(&set.name, RelationGetRelationName(parent));
    set.schema = RelationGetNamespace(parent);
    int capacity = 16;
    set.members = static_cast<RawMember*>(palloc(sizeof(RawMember) * capacity));
    const Relation inherits = table_open(InheritsRelationId, AccessShareLock);
    for_each_child(inherits, RelationGetRelid(parent),
                   [&](HeapTuple, const FormData_pg_inherits* row) {
                       RawMember member;
                       member.relid = row->inhrelid;
                       member.detach_pending = row->inhdetachpending;
                       if (!read_member(kind, member))
                           return;
                       if (set.count == capacity) {
                           capacity *= 2;
                           set.members = static_cast<RawMember*>(
                               repalloc_huge(set.members, sizeof(RawMember) * capacity));
                       }
                       set.members[set.count++] = member;
                   });
    table_close(inherits, AccessShareLock);
    read_statistics(RelationGetRelid(parent), set);
    return set;
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

std::string schema_name(Oid schema) {
    const char* const name =
        pg::protect([&]() -> const char* { return get_namespace_name(schema); });
    return name ? name : "";
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

bool is_integer(Oid type) { return type == INT2OID || type == INT4OID || type == INT8OID; }

bool fits(KeyKind kind, Oid type) {
    switch (kind) {
    case KeyKind::timestamptz:
        return type == TIMESTAMPTZOID;
    case KeyKind::timestamp:
        return type == TIMESTAMPOID;
    case KeyKind::date:
        return type == DATEOID;
    case KeyKind::uuid_v7:
        return type == UUIDOID;
    default:
        return is_integer(type);
    }
}

KeyColumn column_at(Relation relation, AttrNumber number, Oid type) {
    return {number, NameStr(TupleDescAttr(RelationGetDescr(relation), number - 1)->attname), type};
}

/// What stands in the way of a policy for a relation, as an error ready to be thrown; nullopt when
/// nothing does.
std::optional<base::Error> find_objection(Relation relation, const std::string& name) {
    const auto not_by_range = [&](const std::string& what) {
        return base::Error(base::errc::wrong_object_type, "table " + name + " is " + what)
            .detail("Partitions are maintained for tables that are partitioned by the range of one "
                    "column.")
            .hint("Create it with CREATE TABLE ... (...) PARTITION BY RANGE (time_column);");
    };
    if (relation->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
        return not_by_range("not partitioned");
    if (relation->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
        return base::Error(base::errc::wrong_object_type, "table " + name + " is temporary")
            .detail("Other sessions, and with them background workers, cannot see it.")
            .hint("Create it without TEMPORARY.");
    const PartitionKey key = pg::call<RelationGetPartitionKey>(relation);
    if (key->strategy != PARTITION_STRATEGY_RANGE)
        return not_by_range(key->strategy == PARTITION_STRATEGY_LIST ? "partitioned by list"
                                                                     : "partitioned by hash");
    const auto unsupported_key = [&](const std::string& detail) {
        return base::Error(base::errc::feature_not_supported,
                           "the partition key of table " + name + " is not supported")
            .detail(detail)
            .hint("Partition it by one column: PARTITION BY RANGE (time_column).");
    };
    if (key->partnatts != 1)
        return unsupported_key("It has " + std::to_string(key->partnatts) + " columns.");
    if (key->partattrs[0] == 0)
        return unsupported_key("It is an expression.");
    const Oid type = pg::call<getBaseType>(key->parttypid[0]);
    if (!is_integer(type) && type != TIMESTAMPTZOID && type != TIMESTAMPOID && type != DATEOID &&
        type != UUIDOID) {
        const char* const type_name = pg::call<format_type_be>(key->parttypid[0]);
        return unsupported_key(std::string("It is of type ") + type_name +
                               ". Supported are timestamptz, timestamp, date, smallint, integer, "
                               "bigint and uuid (version 7).");
    }
    const Oid default_family =
        pg::protect([&] { return get_opclass_family(GetDefaultOpClass(type, BTREE_AM_OID)); });
    if (key->partopfamily[0] != default_family)
        return unsupported_key("It has an operator class of its own, so its order is unknown.");
    return std::nullopt;
}

} // namespace

KeyColumn require_key_column(Oid parent) {
    const pg::OpenRelation relation(parent, AccessShareLock);
    const std::string name = pg::relation_name(parent).value_or("");
    if (auto objection = find_objection(relation.get(), name))
        throw *std::move(objection);
    const PartitionKey key = pg::call<RelationGetPartitionKey>(relation.get());
    return column_at(relation.get(), key->partattrs[0], pg::call<getBaseType>(key->parttypid[0]));
}

bool has_supported_key(Oid parent) {
    const Relation relation =
        pg::call<try_relation_open>(parent, static_cast<LOCKMODE>(AccessShareLock));
    if (!relation)
        return false;
    const bool supported = !find_objection(relation, {});
    pg::call<relation_close>(relation, static_cast<LOCKMODE>(AccessShareLock));
    return supported;
}

Range key_limits(KeyKind kind, Oid type) {
    if (kind == KeyKind::uuid_v7)
        return {Bound::value(0), Bound::value(highest_uuid_ms)};
    if (type == INT2OID)
        return {Bound::value(PG_INT16_MIN), Bound::value(PG_INT16_MAX)};
    if (type == INT4OID)
        return {Bound::value(PG_INT32_MIN), Bound::value(PG_INT32_MAX)};
    return {Bound::value(lowest_int64), Bound::value(highest_int64)};
}

KeyValue decode_key(KeyKind kind, Oid type, Datum value) {
    const RawBound raw = raw_value(kind, width_of(type), value);
    return {raw.at, exact_text(raw)};
}

namespace {

/// Whether a partition, or one below it, has a visible row. Reads the heap itself, because neither
/// privileges on partitions nor row security should decide how many partitions there are. Holds no
/// lock afterwards: a table may have thousands of empty partitions. C-like.
bool has_rows(Oid relid) {
    bool found = false;
    ListCell* cell = nullptr;
    foreach (cell, find_all_inheritors(relid, NoLock, nullptr)) {
        const Relation relation = try_table_open(lfirst_oid(cell), AccessShareLock);
        if (!relation)
            continue; // dropped meanwhile
        if (!found && relation->rd_rel->relkind == RELKIND_RELATION) {
            TupleTableSlot* const slot = table_slot_create(relation, nullptr);
            const TableScanDesc scan = table_beginscan(relation, GetActiveSnapshot(), 0, nullptr);
            found = table_scan_getnextslot(scan, ForwardScanDirection, slot);
            table_endscan(scan);
            ExecDropSingleTupleTableSlot(slot);
        }
        table_close(relation, AccessShareLock);
    }
    return found;
}

/// How far integer keys have come: the last value of the sequence that feeds the column, else the
/// end of the highest partition that has a row. Never max(), which would read the table.
std::optional<std::int64_t> integer_position(const Set& set, const KeyColumn& key) {
    pg::Spi spi;
    spi.run(
        "SELECT pg_catalog.pg_sequence_last_value(s.oid) FROM pg_catalog.pg_class s "
        "WHERE s.relkind OPERATOR(pg_catalog.=) 'S' AND s.oid OPERATOR(pg_catalog.=) ANY ("
        "SELECT d.objid FROM pg_catalog.pg_depend d "
        "WHERE d.classid OPERATOR(pg_catalog.=) 1259 AND d.refclassid OPERATOR(pg_catalog.=) 1259 "
        "AND d.refobjid OPERATOR(pg_catalog.=) $1 AND d.refobjsubid OPERATOR(pg_catalog.=) $2 "
        "AND d.deptype OPERATOR(pg_catalog.=) 'i' "
        "UNION ALL SELECT d.refobjid FROM pg_catalog.pg_attrdef a JOIN pg_catalog.pg_depend d "
        "ON d.classid OPERATOR(pg_catalog.=) 2604 AND d.objid OPERATOR(pg_catalog.=) a.oid "
        "AND d.refclassid OPERATOR(pg_catalog.=) 1259 "
        "WHERE a.adrelid OPERATOR(pg_catalog.=) $1 AND a.adnum OPERATOR(pg_catalog.=) $2) "
        "AND pg_catalog.has_sequence_privilege(s.oid, 'USAGE, SELECT') "
        "ORDER BY 1 DESC NULLS LAST LIMIT 1",
        static_cast<Oid>(set.relid), static_cast<std::int32_t>(key.number));
    if (spi.rows() > 0 && !spi.row(0).is_null(1))
        return spi.row(0).bigint(1);
    for (auto member = set.members.rbegin(); member != set.members.rend(); ++member) {
        if (!pg::protect([&] { return has_rows(member->relid); }))
            continue;
        return member->range.upper.kind == Bound::Kind::value ? member->range.upper.at
                                                              : member->range.lower.at;
    }
    return std::nullopt;
}

} // namespace

namespace {

/// The key column of a table that had a policy once. Raises 55000 when it is not of the policy's
/// kind any more.
KeyColumn key_of(Relation relation, KeyKind kind) {
    const PartitionKey key = relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE
                                 ? pg::call<RelationGetPartitionKey>(relation)
                                 : nullptr;
    const Oid type = key ? pg::call<getBaseType>(key->parttypid[0]) : InvalidOid;
    if (key && key->strategy == PARTITION_STRATEGY_RANGE && key->partnatts == 1 &&
        key->partattrs[0] != 0 && fits(kind, type))
        return column_at(relation, key->partattrs[0], type);
    throw base::Error(base::errc::not_prerequisite_state,
                      "table " + pg::relation_name(RelationGetRelid(relation)).value_or("") +
                          " is not partitioned as its policy says any more")
        .hint("Remove the policy with orchestry.remove_policy() and add it anew.");
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
    const pg::OpenRelation relation(parent, AccessShareLock, pg::KeepLock::until_close);
    const std::string name = pg::relation_name(parent).value_or("");
    const KeyColumn column = key_of(relation.get(), kind);
    const RawSet raw = pg::protect([&] { return read_set(relation.get(), kind); });
    const Range limits = key_limits(kind, column.type);
    Set set;
    set.relid = parent;
    set.name = NameStr(raw.name);
    set.schema = pg::quote_identifier(schema_name(raw.schema));
    set.schema_id = raw.schema;
    set.quoted = name;
    set.kind = kind;
    set.key = pg::quote_identifier(column.name);
    set.columns = insertable_columns(RelationGetDescr(relation.get()));
    set.lowest = limits.lower.at;
    set.highest = limits.upper.at;
    std::int64_t sample_pages = 0;
    for (int i = 0; i < raw.count; ++i) {
        const RawMember& member = raw.members[i];
        std::string quoted = pg::quote_qualified(schema_name(member.schema), NameStr(member.name));
        set.statistics.has_rows |= member.has_rows;
        sample_pages += std::min(member.pages, analyze_sample_pages);
        if (member.is_default) {
            set.fallback =
                DefaultPartition{member.relid, std::move(quoted), read_exclusions(member.relid)};
            continue;
        }
        set.members.push_back(
            {member.relid,
             NameStr(member.name),
             std::move(quoted),
             {{member.lower.kind, member.lower.at}, {member.upper.kind, member.upper.at}},
             exact_text(member.lower),
             exact_text(member.upper),
             member.detach_pending});
    }
    pfree(raw.members);
    std::sort(set.members.begin(), set.members.end(),
              [](const Member& a, const Member& b) { return a.range < b.range; });
    set.statistics.changed = raw.changed;
    if (raw.analyzed)
        set.statistics.analyzed_at = base::Instant{raw.analyzed_at};
    set.statistics.cheap = analyze_is_cheap(relation.get(), raw.count, sample_pages);
    if (kind == KeyKind::integer)
        set.position = integer_position(set, column);
    return set;
}

bool is_free(Oid parent, KeyKind kind, const Range& range) {
    const pg::OpenRelation relation(parent, AccessShareLock);
    const KeyColumn column = key_of(relation.get(), kind);
    // The server's own descriptor: ATTACH builds it anyway.
    const PartitionBoundInfo bounds =
        pg::protect([&] { return RelationGetPartitionDesc(relation.get(), false)->boundinfo; });
    if (!bounds)
        return true; // no partition at all
    Bound lower = Bound::minvalue();
    for (int i = 0; i <= bounds->ndatums; ++i) { // intervals between neighbouring bounds
        Bound upper = Bound::maxvalue();
        if (i < bounds->ndatums && bounds->kind[i][0] == PARTITION_RANGE_DATUM_VALUE)
            upper = Bound::value(raw_value(kind, width_of(column.type), bounds->datums[i][0]).at);
        else if (i < bounds->ndatums && bounds->kind[i][0] == PARTITION_RANGE_DATUM_MINVALUE)
            upper = Bound::minvalue();
        if (bounds->indexes[i] >= 0 && range.overlaps({lower, upper}))
            return false;
        lower = upper;
    }
    return true;
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

std::vector<std::int64_t> fingerprints(const std::vector<Oid>& parents) {
    std::vector<std::int64_t> prints(parents.size());
    pg::protect([&] {
        const Relation inherits = table_open(InheritsRelationId, AccessShareLock);
        for (std::size_t i = 0; i < parents.size(); ++i) {
            std::uint64_t sum = 0; // of unrelated numbers: the order of the rows does not matter
            for_each_child(
                inherits, parents[i], [&](HeapTuple tuple, const FormData_pg_inherits* row) {
                    const std::uint64_t version = HeapTupleHeaderGetRawXmin(tuple->t_data);
                    sum += base::splitmix64(std::uint64_t{row->inhrelid} << 32 ^ version) +
                           static_cast<std::uint64_t>(row->inhdetachpending);
                });
            prints[i] = static_cast<std::int64_t>(sum);
        }
        table_close(inherits, AccessShareLock);
    });
    return prints;
}

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

bool ServerWorld::default_has_rows(const PlannedStep& step) const {
    pg::Spi spi;
    return spi.run("SELECT FROM " + set_.fallback->quoted + " WHERE " +
                   range_condition(set_, step) + " LIMIT 1") > 0;
}

std::optional<Extent> ServerWorld::default_extent() const {
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
    const Extent extent{decode_key(set_.kind, type, row.datum(1)).position,
                        decode_key(set_.kind, type, row.datum(2)).position};
    const bool finite = extent.least != lowest_int64 && extent.greatest != highest_int64;
    return finite || !is_time(set_.kind) ? std::optional(extent) : std::nullopt;
}

} // namespace orchestry::partition
