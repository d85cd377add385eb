#include "catalog/quarantine.hpp"

namespace orchestry::catalog {

namespace {

constexpr const char* select_records = "SELECT q.relid, q.quarantine_name, q.table_name, q.parent, "
                                       "q.job_id, q.bounds, q.from_at, q.to_at, q.detached_at "
                                       "FROM orchestry._detached q ";

Quarantined read_record(const pg::Row& row) {
    Quarantined record;
    record.relid = row.oid(1);
    record.name = row.text(2);
    record.former_name = row.text(3);
    if (!row.is_null(4))
        record.parent = row.oid(4);
    if (!row.is_null(5))
        record.job = JobId{row.bigint(5)};
    record.bounds = row.text(6);
    if (!row.is_null(7))
        record.extent = base::TimeExtent{row.instant(7), row.instant(8)};
    if (!row.is_null(9))
        record.detached_at = row.instant(9);
    return record;
}

std::vector<Quarantined> select_where(const std::string& condition, const pg::Param& value) {
    const Elevated elevated;
    pg::Spi spi;
    spi.read_latest(select_records + ("WHERE " + condition) +
                        " ORDER BY q.detached_at NULLS FIRST, q.from_at, q.relid",
                    value);
    std::vector<Quarantined> records;
    for (std::uint64_t i = 0; i < spi.rows(); ++i)
        records.push_back(read_record(spi.row(i)));
    return records;
}

/// That a record is of table $1. The view finds a record's table by one of two keys: only records
/// that have either are worth asking it.
constexpr const char* is_of_table =
    "q.relid OPERATOR(pg_catalog.=) $1 AND (q.recorded_relid OPERATOR(pg_catalog.=) $1 OR "
    "q.quarantine_name OPERATOR(pg_catalog.=) (SELECT c.relname FROM pg_catalog.pg_class c WHERE "
    "c.oid OPERATOR(pg_catalog.=) $1))";

std::optional<Quarantined> find_where(const std::string& condition, Oid relid) {
    std::vector<Quarantined> records = select_where(condition, pg::param(relid));
    if (records.empty())
        return std::nullopt;
    return std::move(records.front());
}

} // namespace

void insert_quarantined(const Quarantined& record) {
    delete_quarantined(record.relid);
    const Elevated elevated;
    pg::Spi spi;
    const auto instant = [&](base::Instant base::TimeExtent::*end) {
        return record.extent ? pg::param((*record.extent).*end) : pg::null_param(TIMESTAMPTZOID);
    };
    spi.run("INSERT INTO orchestry.detached_partition (relid, schema_name, table_name, "
            "quarantine_name, parent, "
            "parent_schema, parent_name, job_id, bounds, from_at, to_at, detached_at, "
            "origin_system, origin_database) "
            "SELECT c.oid, n.nspname, $3, $4, p.oid, pn.nspname, p.relname, $5, $6, $7, $8, $9, "
            "$10, $11 "
            "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid "
            "OPERATOR(pg_catalog.=) c.relnamespace, "
            "pg_catalog.pg_class p JOIN pg_catalog.pg_namespace pn ON pn.oid "
            "OPERATOR(pg_catalog.=) p.relnamespace "
            "WHERE c.oid OPERATOR(pg_catalog.=) $1 AND p.oid OPERATOR(pg_catalog.=) $2",
            record.relid, record.parent, record.former_name, record.name,
            record.job ? pg::param(record.job->value) : pg::null_param(INT8OID), record.bounds,
            instant(&base::TimeExtent::from), instant(&base::TimeExtent::to),
            record.detached_at ? pg::param(*record.detached_at) : pg::null_param(TIMESTAMPTZOID),
            system_identifier(), MyDatabaseId);
}

void begin_grace(Oid relid, base::Instant detached_at) {
    const Elevated elevated;
    pg::Spi spi;
    spi.run(
        "UPDATE orchestry.detached_partition SET detached_at = $2 WHERE relid "
        "OPERATOR(pg_catalog.=) $1 "
        "AND origin_system OPERATOR(pg_catalog.=) $3 AND origin_database OPERATOR(pg_catalog.=) $4",
        relid, detached_at, system_identifier(), MyDatabaseId);
}

void delete_quarantined(Oid relid) {
    const Elevated elevated;
    pg::Spi spi;
    spi.run(
        "DELETE FROM orchestry.detached_partition WHERE relid OPERATOR(pg_catalog.=) $1 "
        "AND origin_system OPERATOR(pg_catalog.=) $2 AND origin_database OPERATOR(pg_catalog.=) $3",
        relid, system_identifier(), MyDatabaseId);
}

std::optional<Quarantined> find_quarantined(Oid relid) {
    return find_where(std::string(is_of_table) + " AND q.in_quarantine", relid);
}

std::optional<Quarantined> find_detached(Oid relid) { return find_where(is_of_table, relid); }

std::vector<Quarantined> all_detached() { return select_where("$1", pg::param(true)); }

std::vector<Quarantined> quarantined_by(JobId job) {
    return select_where("q.job_id OPERATOR(pg_catalog.=) $1 AND q.in_quarantine",
                        pg::param(job.value));
}

void reconcile_quarantined() {
    const Elevated elevated;
    pg::Spi spi;
    spi.run("UPDATE orchestry.detached_partition d SET relid = q.relid, parent = q.parent, "
            "origin_system = $1, "
            "origin_database = $2 FROM orchestry._quarantine q WHERE q.parent IS NOT NULL "
            "AND d.quarantine_name OPERATOR(pg_catalog.=) q.quarantine_name "
            "AND d.relid OPERATOR(pg_catalog.=) q.recorded_relid "
            "AND NOT (d.origin_system OPERATOR(pg_catalog.=) $1 AND d.origin_database "
            "OPERATOR(pg_catalog.=) $2)",
            system_identifier(), MyDatabaseId);
    // Of what was renamed by somebody who wants to keep it the record stays: holds on the table
    // that it was a partition of hold it still.
    spi.run("DELETE FROM orchestry.detached_partition d WHERE d.origin_system "
            "OPERATOR(pg_catalog.=) $1 "
            "AND d.origin_database OPERATOR(pg_catalog.=) $2 AND NOT EXISTS (SELECT FROM "
            "pg_catalog.pg_class c "
            "WHERE c.oid OPERATOR(pg_catalog.=) d.relid)",
            system_identifier(), MyDatabaseId);
}

} // namespace orchestry::catalog
