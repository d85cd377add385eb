#include "catalog/compression.hpp"

namespace orchestry::catalog {

namespace {

std::optional<Compression> policy_on(Oid relid) {
    const Elevated elevated;
    pg::Spi spi;
    spi.run("SELECT p.job_id, p.time_column FROM orchestry.event_policy p JOIN orchestry.job j "
            "ON j.job_id OPERATOR(pg_catalog.=) p.job_id "
            "WHERE j.target OPERATOR(pg_catalog.=) $1 AND j.origin_system OPERATOR(pg_catalog.=) "
            "$2 AND j.origin_database OPERATOR(pg_catalog.=) $3",
            relid, system_identifier(), MyDatabaseId);
    if (spi.rows() == 0)
        return std::nullopt;
    return Compression{{spi.row(0).bigint(1)}, spi.row(0).text(2)};
}

} // namespace

std::optional<Compression> compression_of(Oid relid) {
    std::optional<Compression> found = policy_on(relid);
    while (!found && pg::protect([&] { return get_rel_relispartition(relid); })) {
        relid = pg::protect([&] { return get_partition_parent(relid, true); });
        found = policy_on(relid);
    }
    return found;
}

bool awaits_compression(Oid relid) {
    const std::optional<Compression> policy = compression_of(relid);
    const std::optional<std::string> name = pg::relation_name(relid);
    if (!policy || !name)
        return false;
    const std::string column = pg::quote_identifier(policy->time_column);
    pg::Spi spi;
    return spi.run("SELECT FROM " + *name + " WHERE pg_catalog.isfinite(" + column + ") LIMIT 1") >
           0;
}

} // namespace orchestry::catalog
