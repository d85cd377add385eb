#include "catalog/throttle.hpp"

#include "catalog/job.hpp"
#include "catalog/settings.hpp"

namespace orchestry::catalog {

namespace {

constexpr std::int64_t vacuum_patience_us = 5 * base::us_per_minute;

/// The streaming replica that is furthest behind, when that is further than it may be; or nothing.
std::string lagging_replica() {
    if (settings::max_replication_lag_mb < 0)
        return {};
    const Elevated elevated;
    pg::Spi spi;
    spi.run("SELECT r.application_name, pg_catalog.pg_size_pretty(pg_catalog.pg_wal_lsn_diff("
            "pg_catalog.pg_current_wal_lsn(), r.replay_lsn)) FROM pg_catalog.pg_stat_replication r "
            "WHERE r.state OPERATOR(pg_catalog.=) 'streaming' AND pg_catalog.pg_wal_lsn_diff("
            "pg_catalog.pg_current_wal_lsn(), r.replay_lsn) OPERATOR(pg_catalog.>) "
            "$1::pg_catalog.numeric ORDER BY r.replay_lsn LIMIT 1",
            std::int64_t{settings::max_replication_lag_mb} * 1024 * 1024);
    return spi.rows() == 0
               ? std::string()
               : "replica \"" + spi.row(0).text(1) + "\" is " + spi.row(0).text(2) + " behind";
}

bool is_vacuumed(Oid leaf) {
    const Elevated elevated;
    pg::Spi spi;
    return spi.run("SELECT FROM pg_catalog.pg_stat_progress_vacuum v WHERE v.relid "
                   "OPERATOR(pg_catalog.=) $1 AND v.datname OPERATOR(pg_catalog.=) "
                   "pg_catalog.current_database() LIMIT 1",
                   leaf) > 0;
}

} // namespace

std::string Throttle::why_wait() {
    const std::string replica = lagging_replica();
    const std::int64_t now_us = GetCurrentTimestamp();
    const std::int64_t waiting_us = waiting_since_us_ ? now_us - waiting_since_us_ : 0;
    if (replica.empty() && waited_us_ + waiting_us < vacuum_patience_us && is_vacuumed(table_)) {
        if (!waiting_since_us_)
            waiting_since_us_ = now_us;
        return "VACUUM is at work on the table";
    }
    waited_us_ += waiting_us;
    waiting_since_us_ = 0;
    return replica;
}

} // namespace orchestry::catalog
