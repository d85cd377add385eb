#include "catalog/hold_condition.hpp"

#include <algorithm>
#include <limits>

namespace orchestry::catalog {

using base::Bound;
using base::KeyKind;

bool is_number_of_units(Oid type) {
    return type == INT2OID || type == INT4OID || type == INT8OID || type == FLOAT8OID;
}

const char* comparison_type(Oid type) {
    return type == TIMESTAMPTZOID ? "pg_catalog.timestamptz"
           : type == TIMESTAMPOID ? "pg_catalog.timestamp"
           : type == DATEOID      ? "pg_catalog.date"
           : type == UUIDOID      ? "pg_catalog.uuid"
           : type == FLOAT8OID    ? "pg_catalog.float8"
                                  : "pg_catalog.int8";
}

std::string position_constant(KeyKind kind, Oid type, std::int64_t position) {
    if (type == UUIDOID)
        position = std::max<std::int64_t>(position, 0); // none is older than 1970
    return "'" + base::bound_text(kind, Bound::value(position)) + "'::" + comparison_type(type);
}

std::string lies_within(const base::TimeExtent& extent, const std::string& column, KeyKind kind,
                        Oid type) {
    // A wall clock's time can be that of any zone.
    const std::int64_t doubt_us = base::is_wall_clock(kind) ? base::us_per_day : 0;
    std::string text;
    if (extent.from != base::minus_infinity)
        text = column + " OPERATOR(pg_catalog.>=) " +
               position_constant(kind, type, base::position_of(kind, {extent.from.us - doubt_us}));
    if (extent.to != base::plus_infinity) {
        const base::Instant end{extent.to.us + doubt_us};
        const std::int64_t last = base::position_of(kind, end); // rounded down
        // Within a unit there may be values as well, of a uuid or a number with a fraction.
        const bool is_exact = base::instant_of(kind, last) == end;
        const bool is_last = last == std::numeric_limits<std::int64_t>::max();
        text += (text.empty() ? "" : " AND ") + column + " OPERATOR(pg_catalog." +
                (is_last ? "<=" : "<") + ") " +
                position_constant(kind, type, is_exact || is_last ? last : last + 1);
    }
    return text;
}

namespace {

std::optional<KeyKind> kind_of_time(Oid type) {
    switch (type) {
    case TIMESTAMPTZOID:
        return KeyKind::timestamptz;
    case TIMESTAMPOID:
        return KeyKind::timestamp;
    case DATEOID:
        return KeyKind::date;
    default:
        return std::nullopt;
    }
}

/// What the integers of a partition key count, as a policy of the table says.
std::optional<KeyKind> counted_by(Oid table, const KeyColumn& key) {
    const Elevated elevated;
    pg::Spi spi;
    spi.run("SELECT u.key_unit FROM (SELECT p.job_id, p.key_unit FROM orchestry.partition_policy p "
            "UNION ALL SELECT p.job_id, p.key_unit FROM orchestry.retention_policy p WHERE "
            "p.time_column IS NULL OR p.time_column OPERATOR(pg_catalog.=) $4::pg_catalog.name) u "
            "JOIN orchestry.job j ON j.job_id OPERATOR(pg_catalog.=) u.job_id "
            "WHERE u.key_unit IS NOT NULL AND j.target OPERATOR(pg_catalog.=) $1 "
            "AND j.origin_system OPERATOR(pg_catalog.=) $2 AND j.origin_database "
            "OPERATOR(pg_catalog.=) $3 ORDER BY u.job_id LIMIT 1",
            table, system_identifier(), MyDatabaseId, key.name);
    return spi.rows() == 0 ? std::nullopt : epoch_kind(spi.row(0).text(1));
}

} // namespace

std::optional<HeldColumn> time_key(Oid table) {
    if (!has_supported_key(table))
        return std::nullopt;
    const KeyColumn key = require_key_column(table);
    std::optional<KeyKind> kind = kind_of_time(key.type);
    if (key.type == UUIDOID)
        kind = KeyKind::uuid_v7;
    else if (!kind)
        kind = counted_by(table, key);
    return kind ? std::optional(HeldColumn{key.name, key.type, *kind}) : std::nullopt;
}

namespace {

/// The tables whose partition keys the rows of a leaf have: those above it, now or before it was
/// detached, and, where it has partitions itself, it and those below it.
std::vector<Oid> keyed_tables(const Holds& holds, Oid leaf) {
    const auto is_partitioned = [](Oid relid) {
        return pg::call<get_rel_relkind>(relid) == RELKIND_PARTITIONED_TABLE;
    };
    std::vector<Oid> tables = holds.lineage_of(leaf);
    if (is_partitioned(leaf))
        for (const Oid relid : pg::family_of(leaf))
            if (relid != leaf)
                tables.push_back(relid);
    std::erase_if(tables, [&](Oid relid) { return !is_partitioned(relid); });
    return tables;
}

} // namespace

std::vector<HeldColumn> other_time_columns(const Holds& holds, Oid table, Oid leaf,
                                           const std::string& column) {
    std::vector<HeldColumn> others;
    const auto add = [&](HeldColumn other) {
        const bool is_known = other.name == column ||
                              std::any_of(others.begin(), others.end(),
                                          [&](const auto& has) { return has.name == other.name; });
        if (!is_known)
            others.push_back(std::move(other));
    };
    bool is_told = false, is_renamed = false;
    for (const Oid keyed : keyed_tables(holds, leaf))
        if (std::optional<HeldColumn> key = time_key(keyed)) {
            // Of a table that the leaf was detached from, the key may have another name since.
            if (pg::protect([&] { return get_attnum(leaf, key->name.c_str()); }) <= 0) {
                is_renamed = true;
                continue;
            }
            is_told |= keyed == table && (key->type == UUIDOID || kind_of_time(key->type));
            add(*std::move(key));
        }
    if (is_told && !is_renamed)
        return others;
    pg::Spi spi;
    spi.run("SELECT a.attname::pg_catalog.text, a.atttypid "
            "FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) $1 "
            "AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped ORDER BY a.attnum",
            leaf);
    for (std::uint64_t i = 0; i < spi.rows(); ++i) {
        const pg::Row row = spi.row(i);
        const Oid type = pg::call<getBaseType>(row.oid(2));
        if (const auto kind = kind_of_time(type))
            add({row.text(1), type, *kind});
    }
    return others;
}

std::string held_condition(const Hold& hold, const std::vector<HeldColumn>& columns,
                           const std::string& row) {
    std::string when;
    for (const HeldColumn& column : columns) {
        const std::string within = lies_within(
            hold.extent, (row.empty() ? "" : row + ".") + pg::quote_identifier(column.name),
            column.kind, column.type);
        when += (when.empty() ? "" : " OR ") + within; // all are empty, or none is
    }
    if (hold.predicate.empty())
        return when.empty() ? "true" : "(" + when + ")";
    return when.empty() ? hold.predicate : "(" + when + ") AND (" + hold.predicate + ")";
}

} // namespace orchestry::catalog
