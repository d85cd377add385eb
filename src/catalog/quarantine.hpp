// Typed access to orchestry.detached_partition: the partitions that retention has detached, or is
// about to. Of tables that are no partitions only what is recorded here is ever dropped.
#pragma once

#include "base/partition_key.hpp"
#include "catalog/job.hpp"

namespace orchestry::catalog {

/// One partition in quarantine, or on its way there. It is the table of this OID and of this name:
/// whoever renames it takes it out. Only holds know it then.
struct Quarantined {
    Oid relid = InvalidOid;
    std::string name;         ///< in quarantine; unquoted
    std::string former_name;  ///< before; unquoted
    Oid parent = InvalidOid;  ///< what it was a partition of; InvalidOid: that is gone
    std::optional<JobId> job; ///< the retention job, unless its policy was removed
    std::string bounds;       ///< FROM (...) TO (...), the same under any TimeZone and DateStyle
    std::optional<base::TimeExtent> extent;   ///< the times of its rows, where the key is a time
    std::optional<base::Instant> detached_at; ///< nullopt: not known to be detached
};

/// Records that a partition is about to be detached. A record of an earlier attempt is replaced.
void insert_quarantined(const Quarantined& record);
/// Records that it is detached: its grace begins.
void begin_grace(Oid relid, base::Instant detached_at);
void delete_quarantined(Oid relid);

/// The record of a table; nullopt when it is not in quarantine.
std::optional<Quarantined> find_quarantined(Oid relid);
/// The record of a table that is in quarantine, or was until somebody renamed it.
std::optional<Quarantined> find_detached(Oid relid);
/// All those of this database.
std::vector<Quarantined> all_detached();
/// What a job has in quarantine, in the order of detaching.
std::vector<Quarantined> quarantined_by(JobId job);

/// Finds the tables of a restored or copied database again by their names.
void reconcile_quarantined();

} // namespace orchestry::catalog
