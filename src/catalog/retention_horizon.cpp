#include "catalog/retention_horizon.hpp"

#include "base/arith.hpp"
#include "pg/zone.hpp"

#include <algorithm>

namespace orchestry::catalog {

std::optional<std::int64_t> retention_horizon(Oid parent, base::KeyKind kind,
                                              std::optional<std::int64_t> position,
                                              base::Instant now, Leaving leaving) {
    const Elevated elevated;
    pg::Spi spi;
    spi.run(
        "SELECT p.keep, p.keep_keys, j.time_zone FROM orchestry.retention_policy p "
        "JOIN orchestry.job j ON j.job_id OPERATOR(pg_catalog.=) p.job_id "
        "WHERE j.target OPERATOR(pg_catalog.=) $1 AND j.origin_system OPERATOR(pg_catalog.=) $2 "
        "AND j.origin_database OPERATOR(pg_catalog.=) $3 "
        "AND p.predicate IS NULL AND p.keep_last IS NULL AND (p.archive_to IS NULL "
        "OR pg_catalog.starts_with(p.archive_to, 'file:') OR ($4 AND EXISTS (SELECT FROM "
        "pg_catalog.pg_partitioned_table d JOIN pg_catalog.pg_attribute e ON e.attrelid "
        "OPERATOR(pg_catalog.=) d.partrelid AND e.attnum OPERATOR(pg_catalog.=) d.partattrs[0] "
        "JOIN pg_catalog.pg_partitioned_table s ON s.partrelid OPERATOR(pg_catalog.=) $1 "
        "JOIN pg_catalog.pg_attribute f ON f.attrelid OPERATOR(pg_catalog.=) s.partrelid AND "
        "f.attnum OPERATOR(pg_catalog.=) s.partattrs[0] AND f.attname OPERATOR(pg_catalog.=) "
        "e.attname WHERE d.partrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(p.archive_to) "
        "AND d.partstrat OPERATOR(pg_catalog.=) 'r' AND d.partdefid OPERATOR(pg_catalog.=) 0))) "
        "AND (p.time_column IS NULL OR EXISTS (SELECT FROM pg_catalog.pg_partitioned_table t "
        "JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) t.partrelid "
        "AND a.attnum OPERATOR(pg_catalog.=) t.partattrs[0] WHERE t.partrelid "
        "OPERATOR(pg_catalog.=) $1 AND a.attname OPERATOR(pg_catalog.=) p.time_column))",
        parent, system_identifier(), MyDatabaseId, leaving == Leaving::moved);
    std::optional<std::int64_t> latest;
    for (std::uint64_t i = 0; i < spi.rows(); ++i) {
        const pg::Row row = spi.row(i);
        if (kind != base::KeyKind::integer && !row.is_null(1))
            latest = std::max(latest, std::optional(base::horizon(kind, pg::ServerZone(row.text(3)),
                                                                  now, row.span(1))));
        if (kind == base::KeyKind::integer && !row.is_null(2) && position)
            latest = std::max(latest,
                              std::optional(base::saturating_subtract(*position, row.bigint(2))));
    }
    return latest;
}

bool retention_is_running(Oid parent) {
    const Elevated elevated;
    pg::Spi spi;
    return spi.run("SELECT FROM orchestry.run r JOIN orchestry.job j ON j.job_id "
                   "OPERATOR(pg_catalog.=) r.job_id WHERE r.state OPERATOR(pg_catalog.=) 'running' "
                   "AND j.kind OPERATOR(pg_catalog.=) 'retention' "
                   "AND j.target OPERATOR(pg_catalog.=) $1 "
                   "AND j.origin_system OPERATOR(pg_catalog.=) $2 "
                   "AND j.origin_database OPERATOR(pg_catalog.=) $3 LIMIT 1",
                   parent, system_identifier(), MyDatabaseId) > 0;
}

bool removes_rows(Oid relid) {
    const Elevated elevated;
    pg::Spi spi;
    return spi.run(
               "SELECT FROM orchestry.retention_policy p JOIN orchestry.job j "
               "ON j.job_id OPERATOR(pg_catalog.=) p.job_id "
               // Ancestors are found without a lock; pg_partition_tree() would lock all partitions.
               "WHERE (j.target OPERATOR(pg_catalog.=) $1 OR $1 IN (SELECT t.relid "
               "FROM pg_catalog.pg_partition_ancestors(j.target::pg_catalog.regclass) t)) "
               "AND j.origin_system OPERATOR(pg_catalog.=) $2 "
               "AND j.origin_database OPERATOR(pg_catalog.=) $3 AND (p.predicate IS NOT NULL "
               "OR p.archive_to IS NOT NULL OR p.keep_last IS NOT NULL OR NOT EXISTS (SELECT FROM "
               "pg_catalog.pg_partitioned_table t JOIN pg_catalog.pg_attribute a "
               "ON a.attrelid OPERATOR(pg_catalog.=) t.partrelid "
               "AND a.attnum OPERATOR(pg_catalog.=) t.partattrs[0] "
               "WHERE t.partrelid OPERATOR(pg_catalog.=) j.target AND a.attname "
               "OPERATOR(pg_catalog.=) COALESCE(p.time_column, a.attname))) LIMIT 1",
               relid, system_identifier(), MyDatabaseId) > 0;
}

} // namespace orchestry::catalog
