#include "catalog/refresh_state.hpp"

#include "catalog/settings.hpp"

namespace orchestry::catalog {

void record_refresh(JobId job, const RefreshRecord& record, std::int64_t max_staleness_us,
                    base::Instant now) {
    const Elevated elevated;
    pg::Spi spi;
    const base::Span max_staleness{0, 0, max_staleness_us};
    spi.run("INSERT INTO orchestry.refresh_breach (job_id, from_at, to_at) "
            "SELECT s.job_id, b.from_at, $3 FROM orchestry.refresh_state s "
            "CROSS JOIN LATERAL (SELECT GREATEST(orchestry._proven_at(s.job_id, s.refreshed_at, "
            "s.as_of) OPERATOR(pg_catalog.+) $2, CASE WHEN $4 THEN "
            "orchestry._lost_until(s.job_id, s.refreshed_at) END) AS from_at) b "
            "WHERE s.job_id OPERATOR(pg_catalog.=) $1 AND b.from_at OPERATOR(pg_catalog.<) $3",
            job.value, max_staleness, now, record.is_provable);
    spi.run("DELETE FROM orchestry.refresh_breach b WHERE b.job_id OPERATOR(pg_catalog.=) $1 "
            "AND b.to_at OPERATOR(pg_catalog.<) $2",
            job.value, base::plus(now, -base::us_per_day));
    spi.run("INSERT INTO orchestry.refresh_state AS s "
            "(job_id, as_of, refreshed_at, durations, definition, counters, parents, temp_bytes) "
            "VALUES ($1, $2, $3, ARRAY[$4], $5, $6, $7, $8) "
            "ON CONFLICT (job_id) DO UPDATE SET as_of = EXCLUDED.as_of, "
            "refreshed_at = EXCLUDED.refreshed_at, "
            "durations = (EXCLUDED.durations OPERATOR(pg_catalog.||) s.durations)[1:20], "
            "definition = EXCLUDED.definition, counters = EXCLUDED.counters, "
            "parents = EXCLUDED.parents, temp_bytes = EXCLUDED.temp_bytes",
            job.value, record.as_of, record.refreshed_at, base::Span{0, 0, record.duration_us},
            record.definition, record.counters, record.parents, record.temporary_bytes);
}

RefreshTiming refresh_timing(JobId job) {
    const Elevated elevated;
    pg::Spi spi;
    spi.run("SELECT orchestry._proven_at(s.job_id, s.refreshed_at, s.as_of), (SELECT "
            "pg_catalog.max(EXTRACT(epoch FROM d) "
            "OPERATOR(pg_catalog.*) 1000000) FROM pg_catalog.unnest(s.durations) d)"
            "::pg_catalog.int8 FROM orchestry.refresh_state s "
            "WHERE s.job_id OPERATOR(pg_catalog.=) $1",
            job.value);
    if (spi.rows() == 0)
        return {};
    return {spi.row(0).instant(1), spi.row(0).bigint(2)};
}

void record_proofs(const std::vector<RefreshProof>& proofs) {
    std::vector<std::int64_t> ids;
    std::vector<base::Instant> as_of;
    for (const RefreshProof& found : proofs)
        if (!remember(found.job, found.proof)) {
            ids.push_back(found.job.value);
            as_of.push_back(found.proof.as_of);
        }
    if (ids.empty())
        return;
    const Elevated elevated;
    pg::Spi spi;
    spi.run("UPDATE orchestry.refresh_state s SET as_of = n.as_of "
            "FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) n (job_id, as_of) "
            "WHERE s.job_id OPERATOR(pg_catalog.=) n.job_id "
            "AND (s.as_of OPERATOR(pg_catalog.<) n.as_of OR s.as_of OPERATOR(pg_catalog.>) $3)",
            ids, as_of, settings::clock());
}

void write_down_proofs(const std::vector<JobId>& jobs) {
    std::vector<std::int64_t> ids;
    for (const JobId job : jobs)
        ids.push_back(job.value);
    const Elevated elevated;
    pg::Spi spi;
    spi.run("UPDATE orchestry.refresh_state s "
            "SET as_of = orchestry._proven_at(s.job_id, s.refreshed_at, s.as_of) "
            "WHERE s.job_id OPERATOR(pg_catalog.=) ANY ($1) AND s.as_of OPERATOR(pg_catalog.<) "
            "orchestry._proven_at(s.job_id, s.refreshed_at, s.as_of)",
            ids);
}

namespace {

std::vector<JobId> jobs_told_of(const char* sql, Oid matview) {
    const Elevated elevated;
    pg::Spi spi;
    spi.read_latest(sql, matview);
    std::vector<JobId> jobs;
    for (std::uint64_t i = 0; i < spi.rows(); ++i)
        jobs.push_back({spi.row(i).bigint(1)});
    return jobs;
}

} // namespace

std::vector<JobId> readers_of(Oid matview) {
    return jobs_told_of("SELECT s.job_id FROM orchestry.refresh_state s "
                        "WHERE $1 OPERATOR(pg_catalog.=) ANY (s.parents)",
                        matview);
}

std::vector<JobId> keepers_of(Oid matview) {
    return jobs_told_of("SELECT s.job_id FROM orchestry.refresh_state s JOIN orchestry.job j "
                        "ON j.job_id OPERATOR(pg_catalog.=) s.job_id "
                        "WHERE j.target OPERATOR(pg_catalog.=) $1",
                        matview);
}

std::vector<Oid> untold_parents(JobId job, const std::vector<Oid>& parents) {
    const Elevated elevated;
    pg::Spi spi;
    spi.read_latest("SELECT p.relid FROM pg_catalog.unnest($2) p (relid) WHERE NOT EXISTS ("
                    "SELECT FROM orchestry.refresh_state s "
                    "WHERE s.job_id OPERATOR(pg_catalog.=) $1 "
                    "AND p.relid OPERATOR(pg_catalog.=) ANY (s.parents))",
                    job.value, parents);
    std::vector<Oid> untold;
    for (std::uint64_t i = 0; i < spi.rows(); ++i)
        untold.push_back(spi.row(i).oid(1));
    return untold;
}

} // namespace orchestry::catalog
