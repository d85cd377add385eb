#include "catalog/partitioned_table.hpp"

#include "base/arith.hpp"
#include "base/hash.hpp"

#include <algorithm>

namespace orchestry::catalog {

using base::Bound;
using base::KeyKind;
using base::Member;
using base::Range;

namespace {

constexpr std::int64_t highest_uuid_ms = (std::int64_t{1} << 48) - 1;

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
    std::int64_t rows = -1;
    bool is_default = false;
    bool detach_pending = false;
    RawBound lower, upper;
};

struct RawTable {
    NameData name = {};
    Oid schema = InvalidOid;
    RawMember* members = nullptr; // in the current memory context
    int count = 0;
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
        bound.at = DATE_IS_NOBEGIN(date) ? base::lowest_position
                   : DATE_IS_NOEND(date) ? base::highest_position
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
        member.rows = static_cast<std::int64_t>(form->reltuples);
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

RawTable read_table(Relation parent, KeyKind kind) {
    RawTable table;
    namestrcpy(&table.name, RelationGetRelationName(parent));
    table.schema = RelationGetNamespace(parent);
    int capacity = 16;
    table.members = static_cast<RawMember*>(palloc(sizeof(RawMember) * capacity));
    const Relation inherits = table_open(InheritsRelationId, AccessShareLock);
    for_each_child(inherits, RelationGetRelid(parent),
                   [&](HeapTuple, const FormData_pg_inherits* row) {
                       RawMember member;
                       member.relid = row->inhrelid;
                       member.detach_pending = row->inhdetachpending;
                       if (!read_member(kind, member))
                           return;
                       if (table.count == capacity) {
                           capacity *= 2;
                           table.members = static_cast<RawMember*>(
                               repalloc_huge(table.members, sizeof(RawMember) * capacity));
                       }
                       table.members[table.count++] = member;
                   });
    table_close(inherits, AccessShareLock);
    return table;
}

std::string schema_name(Oid schema) {
    const char* const name =
        pg::protect([&]() -> const char* { return get_namespace_name(schema); });
    return name ? name : "";
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

/// A table's partition key, read as its owner: the server simplifies expressions in it, which runs
/// the owner's functions.
PartitionKey partition_key_of(Relation relation) {
    const pg::SecureContext owner(relation->rd_rel->relowner, pg::Restriction::restricted);
    return pg::call<RelationGetPartitionKey>(relation);
}

/// The operator family by which values of a type are ordered where nobody says by which.
Oid default_family_of(Oid type) {
    return pg::protect([&] {
        const Oid opclass = GetDefaultOpClass(type, BTREE_AM_OID);
        return OidIsValid(opclass) ? get_opclass_family(opclass) : InvalidOid;
    });
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
    const PartitionKey key = partition_key_of(relation);
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
    if (key->partopfamily[0] != default_family_of(type))
        return unsupported_key("It has an operator class of its own, so its order is unknown.");
    return std::nullopt;
}

/// One partition in C++; not for the default one.
Member to_member(const RawMember& raw) {
    return {raw.relid,
            NameStr(raw.name),
            pg::quote_qualified(schema_name(raw.schema), NameStr(raw.name)),
            {{raw.lower.kind, raw.lower.at}, {raw.upper.kind, raw.upper.at}},
            exact_text(raw.lower),
            exact_text(raw.upper),
            raw.detach_pending,
            raw.pages,
            raw.rows};
}

} // namespace

KeyColumn require_key_column(Oid parent) {
    const pg::OpenRelation relation(parent, AccessShareLock);
    const std::string name = pg::relation_name(parent).value_or("");
    if (auto objection = find_objection(relation.get(), name))
        throw *std::move(objection);
    const PartitionKey key = partition_key_of(relation.get());
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

std::optional<KeyKind> epoch_kind(std::string_view unit) {
    if (unit == "s")
        return KeyKind::epoch_s;
    if (unit == "ms")
        return KeyKind::epoch_ms;
    if (unit == "us")
        return KeyKind::epoch_us;
    if (unit == "ns")
        return KeyKind::epoch_ns;
    return std::nullopt;
}

Range key_limits(KeyKind kind, Oid type) {
    if (kind == KeyKind::uuid_v7)
        return {Bound::value(0), Bound::value(highest_uuid_ms)};
    if (type == INT2OID)
        return {Bound::value(PG_INT16_MIN), Bound::value(PG_INT16_MAX)};
    if (type == INT4OID)
        return {Bound::value(PG_INT32_MIN), Bound::value(PG_INT32_MAX)};
    return {Bound::value(base::lowest_position), Bound::value(base::highest_position)};
}

KeyValue decode_key(KeyKind kind, Oid type, Datum value) {
    const RawBound raw = raw_value(kind, width_of(type), value);
    return {raw.at, exact_text(raw)};
}

namespace {

/// The key column of a table that had a policy once. Raises 55000 when it is not of the policy's
/// kind any more.
KeyColumn key_of(Relation relation, KeyKind kind) {
    const PartitionKey key = relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE
                                 ? partition_key_of(relation)
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

} // namespace

PartitionedTable read_partitioned_table(Oid parent, KeyKind kind) {
    const pg::OpenRelation relation(parent, AccessShareLock, pg::KeepLock::until_close);
    PartitionedTable table;
    table.relid = parent;
    table.kind = kind;
    table.quoted = pg::relation_name(parent).value_or("");
    table.key = key_of(relation.get(), kind);
    const RawTable raw = pg::protect([&] { return read_table(relation.get(), kind); });
    table.name = NameStr(raw.name);
    table.schema = raw.schema;
    for (int i = 0; i < raw.count; ++i) {
        const RawMember& member = raw.members[i];
        if (member.is_default)
            table.fallback = DefaultMember{
                member.relid, pg::quote_qualified(schema_name(member.schema), NameStr(member.name)),
                member.pages, member.rows > 0};
        else
            table.members.push_back(to_member(member));
    }
    pfree(raw.members);
    std::sort(table.members.begin(), table.members.end(),
              [](const Member& a, const Member& b) { return a.range < b.range; });
    return table;
}

std::optional<Member> read_partition(Oid parent, KeyKind kind, Oid partition) {
    const pg::OpenRelation relation(parent, AccessShareLock);
    (void)key_of(relation.get(), kind);
    RawMember raw;
    raw.relid = partition;
    const bool found = pg::protect([&] {
        bool is_child = false;
        ScanKeyData key;
        ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber, F_OIDEQ,
                    ObjectIdGetDatum(partition));
        const Relation inherits = table_open(InheritsRelationId, AccessShareLock);
        const SysScanDesc scan =
            systable_beginscan(inherits, InheritsRelidSeqnoIndexId, true, nullptr, 1, &key);
        if (const HeapTuple tuple = systable_getnext(scan); HeapTupleIsValid(tuple)) {
            const auto* const row = reinterpret_cast<Form_pg_inherits>(GETSTRUCT(tuple));
            is_child = row->inhparent == parent;
            raw.detach_pending = row->inhdetachpending;
        }
        systable_endscan(scan);
        table_close(inherits, AccessShareLock);
        return is_child && read_member(kind, raw) && !raw.is_default;
    });
    return found ? std::optional(to_member(raw)) : std::nullopt;
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

} // namespace

std::optional<Frontier> integer_frontier(const PartitionedTable& table) {
    pg::Spi spi;
    spi.run(
        // The privilege is asked for last: of what is no sequence the question is an error.
        "SELECT CASE WHEN pg_catalog.has_sequence_privilege(s.oid, 'USAGE, SELECT') "
        "THEN pg_catalog.pg_sequence_last_value(s.oid) END FROM pg_catalog.pg_class s "
        "WHERE s.relkind OPERATOR(pg_catalog.=) 'S' AND s.oid OPERATOR(pg_catalog.=) ANY ("
        "SELECT d.objid FROM pg_catalog.pg_depend d "
        "WHERE d.classid OPERATOR(pg_catalog.=) 1259 AND d.refclassid OPERATOR(pg_catalog.=) 1259 "
        "AND d.refobjid OPERATOR(pg_catalog.=) $1 AND d.refobjsubid OPERATOR(pg_catalog.=) $2 "
        "AND d.deptype OPERATOR(pg_catalog.=) 'i' "
        "UNION ALL SELECT d.refobjid FROM pg_catalog.pg_attrdef a JOIN pg_catalog.pg_depend d "
        "ON d.classid OPERATOR(pg_catalog.=) 2604 AND d.objid OPERATOR(pg_catalog.=) a.oid "
        "AND d.refclassid OPERATOR(pg_catalog.=) 1259 "
        "WHERE a.adrelid OPERATOR(pg_catalog.=) $1 AND a.adnum OPERATOR(pg_catalog.=) $2) "
        "ORDER BY 1 DESC NULLS LAST LIMIT 1",
        table.relid, static_cast<std::int32_t>(table.key.number));
    if (spi.rows() > 0 && !spi.row(0).is_null(1)) {
        const base::Bound last = base::Bound::value(spi.row(0).bigint(1));
        return Frontier{last, last};
    }
    for (auto member = table.members.rbegin(); member != table.members.rend(); ++member)
        if (pg::protect([&] { return has_rows(member->relid); }))
            return Frontier{member->range.lower, member->range.upper};
    return std::nullopt;
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

std::optional<base::TimeExtent> time_extent(Oid parent, Oid partition) {
    const Relation relation =
        pg::call<try_relation_open>(parent, static_cast<LOCKMODE>(AccessShareLock));
    if (!relation)
        return std::nullopt;
    const PartitionKey key = relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE
                                 ? partition_key_of(relation)
                                 : nullptr;
    const bool by_range = key && key->strategy == PARTITION_STRATEGY_RANGE;
    Oid type =
        by_range && key->partattrs[0] != 0 ? pg::call<getBaseType>(key->parttypid[0]) : InvalidOid;
    if (OidIsValid(type) && key->partopfamily[0] != default_family_of(type))
        type = InvalidOid; // of another order
    const bool has_more_columns = key && key->partnatts > 1;
    pg::call<relation_close>(relation, static_cast<LOCKMODE>(NoLock));
    for (const KeyKind kind : {KeyKind::timestamptz, KeyKind::timestamp, KeyKind::date}) {
        RawMember raw;
        raw.relid = partition;
        if (!fits(kind, type) || !pg::protect([&] { return read_member(kind, raw); }) ||
            raw.is_default)
            continue;
        Range range = to_member(raw).range;
        if (has_more_columns && range.upper.kind == Bound::Kind::value)
            range.upper.at = base::saturating_add(range.upper.at, 1); // up to where the others end
        return base::time_extent(kind, range);
    }
    return std::nullopt;
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

std::vector<JobId> settled(const std::vector<Job>& jobs, base::Instant now) {
    std::vector<const Job*> known;
    std::vector<Oid> parents;
    for (const Job& job : jobs) {
        if (!job.settlement || now < job.settlement->from || job.settlement->until <= now)
            continue;
        known.push_back(&job);
        parents.push_back(job.target);
    }
    const std::vector<std::int64_t> current = fingerprints(parents);
    std::vector<JobId> unchanged;
    for (std::size_t i = 0; i < known.size(); ++i)
        if (known[i]->settlement->fingerprint == current[i])
            unchanged.push_back(known[i]->id);
    return unchanged;
}

} // namespace orchestry::catalog
