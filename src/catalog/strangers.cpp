#include "catalog/strangers.hpp"

namespace orchestry::catalog {

std::string gaining_stranger(Oid relid, Oid role) {
    const Oid owner = owner_of(relid);
    const bool wins = OidIsValid(owner) && !pg::protect([&] { return superuser_arg(owner); });
    return wins ? stranger(relid, role) : std::string();
}

namespace {

struct Part {
    std::string name, role, remedy;
};

std::optional<Part> find_strangers_part(Oid relid) {
    if (pg::call<get_rel_relkind>(relid) != RELKIND_PARTITIONED_TABLE)
        return std::nullopt; // what only inherits from it is not read
    const Oid owner = owner_of(relid);
    for (const Oid table : pg::family_of(relid)) {
        std::string role = gaining_stranger(table, owner);
        std::string name = role.empty() ? "" : pg::relation_name(table).value_or("");
        if (name.empty())
            continue; // or dropped while we look
        std::string remedy = "ALTER TABLE " + name + " OWNER TO " + pg::role_name(owner) + ";";
        return Part{std::move(name), std::move(role), std::move(remedy)};
    }
    return std::nullopt;
}

} // namespace

std::string strangers_part(Oid relid) {
    const std::optional<Part> part = find_strangers_part(relid);
    return part ? part->name + " belongs to role " + part->role + ": " + part->remedy
                : std::string();
}

void require_no_strangers_part(Oid relid) {
    const std::optional<Part> part = find_strangers_part(relid);
    if (!part)
        return;
    throw base::Error(base::errc::insufficient_privilege,
                      part->name + " belongs to role " + part->role)
        .detail("It is a part of " + pg::relation_name(relid).value_or("the table") +
                ", whose owner may not act for that role.")
        .hint("Run " + part->remedy);
}

} // namespace orchestry::catalog
