#include "catalog/compression.hpp"

#include "catalog/hold.hpp"

#include <algorithm>

namespace orchestry::catalog {

namespace {

std::vector<Oid> parents_now(Oid relid) {
    const Oid parent = pg::protect([&] {
        return get_rel_relispartition(relid) ? get_partition_parent(relid, true) : InvalidOid;
    });
    return OidIsValid(parent) ? std::vector<Oid>{parent} : parents_of(relid);
}

} // namespace

std::vector<Oid> lineage_of(Oid relid) {
    std::vector<Oid> lineage{relid};
    for (std::size_t next = 0; next < lineage.size(); ++next)
        for (const Oid parent : parents_now(lineage[next]))
            if (std::find(lineage.begin(), lineage.end(), parent) == lineage.end())
                lineage.push_back(parent);
    return lineage;
}

std::optional<Compression> compression_among(const std::vector<Oid>& relids) {
    const Elevated elevated;
    pg::Spi spi;
    spi.run("SELECT p.job_id, p.time_column FROM orchestry.event_policy p JOIN orchestry.job j "
            "ON j.job_id OPERATOR(pg_catalog.=) p.job_id "
            "WHERE j.target OPERATOR(pg_catalog.=) ANY ($1) AND j.origin_system "
            "OPERATOR(pg_catalog.=) $2 AND j.origin_database OPERATOR(pg_catalog.=) $3 "
            "ORDER BY p.job_id LIMIT 1",
            relids, system_identifier(), MyDatabaseId);
    if (spi.rows() == 0)
        return std::nullopt;
    return Compression{{spi.row(0).bigint(1)}, spi.row(0).text(2)};
}

std::optional<Compression> compression_of(Oid relid) {
    return compression_among(lineage_of(relid));
}

namespace {

/// The parts of a table, at any depth, that have policies of their own.
std::vector<Oid> compressed_parts(Oid relid) {
    if (pg::call<get_rel_relkind>(relid) != RELKIND_PARTITIONED_TABLE)
        return {};
    const Elevated elevated;
    pg::Spi spi;
    // Ancestors are found without a lock; pg_partition_tree() would lock all partitions.
    spi.run("SELECT j.target FROM orchestry.event_policy p JOIN orchestry.job j ON j.job_id "
            "OPERATOR(pg_catalog.=) p.job_id WHERE j.target OPERATOR(pg_catalog.<>) $1 AND $1 IN "
            "(SELECT a.relid FROM pg_catalog.pg_partition_ancestors("
            "j.target::pg_catalog.regclass) a) AND j.origin_system OPERATOR(pg_catalog.=) $2 AND "
            "j.origin_database OPERATOR(pg_catalog.=) $3",
            relid, system_identifier(), MyDatabaseId);
    std::vector<Oid> parts;
    for (std::uint64_t i = 0; i < spi.rows(); ++i)
        parts.push_back(spi.row(i).oid(1));
    return parts;
}

bool has_event(Oid relid, const Compression& policy) {
    const std::optional<std::string> name = pg::relation_name(relid);
    pg::Spi spi;
    return name && spi.run("SELECT FROM " + *name + " WHERE pg_catalog.isfinite(" +
                           pg::quote_identifier(policy.time_column) + ") LIMIT 1") > 0;
}

} // namespace

bool is_compressed(Oid relid) { return compression_of(relid) || !compressed_parts(relid).empty(); }

bool awaits_compression(Oid relid) {
    if (const auto policy = compression_of(relid))
        return has_event(relid, *policy);
    const std::vector<Oid> parts = compressed_parts(relid);
    return std::any_of(parts.begin(), parts.end(), [](Oid part) {
        const auto policy = compression_among({part});
        return policy && has_event(part, *policy);
    });
}

} // namespace orchestry::catalog
