#include "capture/source.hpp"

#include <algorithm>

namespace orchestry::capture {

using catalog::Elevated;
using catalog::JobId;

namespace {

/// Triggers that are believed, and the tables, with those that they are partitions of, because of
/// which they are. Both are sorted.
constinit std::vector<Oid> believed;
constinit std::vector<Oid> reasons;
constinit std::uint64_t invalidations = 0;

/// A command that writes, by its transaction.
struct Command {
    std::uint64_t transaction = 0; ///< 0: it has not written anything yet
    CommandId number = 0;
    bool operator==(const Command&) const = default;
};

/// Triggers that are not believed, sorted. They are remembered for the rows of one command and no
/// longer: a restore brings jobs without a word to anybody.
constinit std::vector<Oid> disbelieved;
constinit Command disbelieving;

Command current_command() {
    return pg::protect([] {
        return Command{U64FromFullTransactionId(GetTopFullTransactionIdIfAny()),
                       GetCurrentCommandId(false)};
    });
}

void insert(std::vector<Oid>& sorted, Oid oid) {
    const auto at = std::lower_bound(sorted.begin(), sorted.end(), oid);
    if (at == sorted.end() || *at != oid)
        sorted.insert(at, oid);
}

bool contains(const std::vector<Oid>& sorted, Oid oid) {
    return std::binary_search(sorted.begin(), sorted.end(), oid);
}

/// A table's triggers, its name and what it is a partition of do not change without this.
void on_invalidation(Datum, Oid relid) {
    ++invalidations;
    disbelieved.clear();
    if (OidIsValid(relid) && !contains(reasons, relid))
        return;
    believed.clear();
    reasons.clear();
}

/// A table and what it is a partition of: rows of the one are rows of the others, as triggers see
/// them, which they are not where a table only inherits.
std::vector<Oid> partitioned_lineage_of(Oid relid) {
    std::vector<Oid> tables = {relid};
    while (pg::call<get_rel_relispartition>(Oid{relid})) {
        relid = pg::protect([&] { return get_partition_parent(relid, true); });
        tables.push_back(relid);
    }
    return tables;
}

/// While the extension is dropped the view may have gone before a trigger.
bool is_view_there() {
    return pg::protect([] {
        const Oid schema = get_namespace_oid("orchestry", true);
        return OidIsValid(schema) && OidIsValid(get_relname_relid("_job_sources", schema));
    });
}

bool has_source_among(JobId job, const std::vector<Oid>& tables) {
    if (!is_view_there())
        return false;
    const Elevated elevated;
    pg::Spi spi;
    // What the view says of most jobs, from the tables alone: a session that writes for the first
    // time would take longer to plan the view than for all the rest.
    if (spi.read_latest("SELECT FROM orchestry.job j WHERE j.job_id OPERATOR(pg_catalog.=) $1 "
                        "AND j.target OPERATOR(pg_catalog.=) ANY ($2) "
                        "AND j.origin_system OPERATOR(pg_catalog.=) $3 "
                        "AND j.origin_database OPERATOR(pg_catalog.=) $4 "
                        "AND EXISTS (SELECT FROM orchestry.rollup r "
                        "WHERE r.job_id OPERATOR(pg_catalog.=) $1 AND r.parent IS NULL) "
                        "AND EXISTS (SELECT FROM orchestry.job_state s "
                        "WHERE s.job_id OPERATOR(pg_catalog.=) $1) "
                        "UNION ALL SELECT FROM orchestry.refresh_source s "
                        "WHERE s.job_id OPERATOR(pg_catalog.=) $1 "
                        "AND s.relid OPERATOR(pg_catalog.=) ANY ($2)",
                        job.value, tables, catalog::system_identifier(), MyDatabaseId) > 0)
        return true;
    return spi.read_latest("SELECT FROM orchestry._job_sources s "
                           "WHERE s.job_id OPERATOR(pg_catalog.=) $1 "
                           "AND s.relid OPERATOR(pg_catalog.=) ANY ($2)",
                           job.value, tables) > 0;
}

} // namespace

void install_source_cache() {
    pg::protect([] { CacheRegisterRelcacheCallback(on_invalidation, Datum{0}); });
}

bool is_believed(Oid trigger, JobId job, Oid relid) {
    if (contains(believed, trigger))
        return true;
    const Command command = current_command();
    if (command == disbelieving && contains(disbelieved, trigger))
        return false;
    const std::uint64_t before = invalidations;
    const std::vector<Oid> lineage = partitioned_lineage_of(relid);
    const bool is_source = has_source_among(job, lineage);
    if (invalidations != before)
        return is_source; // by now it may be otherwise
    if (!is_source) {
        if (command.transaction == 0)
            return false;
        if (command != disbelieving)
            disbelieved.clear();
        disbelieving = command;
        insert(disbelieved, trigger);
        return false;
    }
    for (const Oid table : lineage)
        insert(reasons, table);
    insert(believed, trigger);
    return true;
}

void lock_sources(JobId job) {
    const Elevated elevated;
    pg::Spi spi;
    spi.run("SELECT FROM orchestry.job j WHERE j.job_id OPERATOR(pg_catalog.=) $1 FOR UPDATE",
            job.value);
}

std::vector<Oid> watched_by(JobId job) {
    const Elevated elevated;
    pg::Spi spi;
    spi.read_latest("SELECT w.relid FROM orchestry._watches w "
                    "WHERE w.job_id OPERATOR(pg_catalog.=) $1 ORDER BY 1",
                    job.value);
    std::vector<Oid> tables;
    for (std::uint64_t i = 0; i < spi.rows(); ++i)
        tables.push_back(spi.row(i).oid(1));
    return tables;
}

bool add_source(JobId job, Oid relid) {
    const Elevated elevated;
    pg::Spi spi;
    if (spi.run("SELECT FROM orchestry.job j WHERE j.job_id OPERATOR(pg_catalog.=) $1 "
                "FOR KEY SHARE",
                job.value) == 0)
        return false;
    spi.run("INSERT INTO orchestry.refresh_source (job_id, relid) VALUES ($1, $2) "
            "ON CONFLICT DO NOTHING",
            job.value, relid);
    return true;
}

void remove_sources(JobId job) {
    const Elevated elevated;
    pg::Spi spi;
    spi.run("DELETE FROM orchestry.refresh_source s WHERE s.job_id OPERATOR(pg_catalog.=) $1",
            job.value);
}

} // namespace orchestry::capture
