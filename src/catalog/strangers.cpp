#include "catalog/strangers.hpp"

namespace orchestry::catalog {

namespace {

/// As stranger(), but for superusers, who win nothing by the rights of others.
std::string gaining_stranger(Oid relid, Oid role) {
    std::string name = stranger(relid, role);
    if (name.empty())
        return name;
    const Oid owner = owner_of(relid);
    return pg::call<superuser_arg>(Oid{owner}) ? std::string() : name;
}

/// What only inherits from a table is not read with it.
std::optional<StrangersPart> find_among_partitions(Oid relid) {
    if (pg::call<get_rel_relkind>(relid) != RELKIND_PARTITIONED_TABLE)
        return std::nullopt;
    return find_strangers_part(relid, owner_of(relid));
}

} // namespace

std::optional<StrangersPart> find_strangers_part(Oid relid, Oid role) {
    for (const Oid table : pg::family_of(relid)) {
        std::string stranger = gaining_stranger(table, role);
        std::string name = stranger.empty() ? "" : pg::relation_name(table).value_or("");
        if (name.empty())
            continue; // or dropped while we look
        std::string remedy = "ALTER TABLE " + name + " OWNER TO " + pg::role_name(role) + ";";
        return StrangersPart{table, std::move(name), std::move(stranger), std::move(remedy)};
    }
    return std::nullopt;
}

std::string strangers_part(Oid relid) {
    const std::optional<StrangersPart> part = find_among_partitions(relid);
    return part ? part->name + " belongs to role " + part->role + ": " + part->remedy
                : std::string();
}

void require_no_strangers_part(Oid relid) {
    const std::optional<StrangersPart> part = find_among_partitions(relid);
    if (!part)
        return;
    throw base::Error(base::errc::insufficient_privilege,
                      part->name + " belongs to role " + part->role)
        .detail("It is a part of " + pg::relation_name(relid).value_or("the table") +
                ", whose owner may not act for that role.")
        .hint("Run " + part->remedy);
}

} // namespace orchestry::catalog
