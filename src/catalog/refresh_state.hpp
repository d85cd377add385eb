// What is known of materialized views at run time: typed access to orchestry.refresh_state.
#pragma once

#include "catalog/look.hpp"

namespace orchestry::catalog {

/// What a refresh leaves behind.
struct RefreshRecord {
    base::Instant as_of{0};        ///< its rows are what the query said then
    base::Instant refreshed_at{0}; ///< when it began
    std::int64_t duration_us = 0;
    std::int64_t definition = 0;          ///< fingerprint of what was executed
    std::optional<std::int64_t> counters; ///< fingerprint of how often its tables had changed
    std::vector<Oid> parents;             ///< the materialized views that it reads
    std::int64_t temporary_bytes = 0;     ///< written to temporary tables and files
    bool is_provable = false;             ///< it may have been found right since the one before
};

/// Writes what a refresh leaves behind; the time for which the view was older than `max_staleness`
/// before that is remembered for a day. The refresh ends at `now`.
void record_refresh(JobId job, const RefreshRecord& record, std::int64_t max_staleness_us,
                    base::Instant now);

/// What of a view decides when it is due.
struct RefreshTiming {
    std::optional<base::Instant> as_of; ///< nullopt: it was never refreshed
    std::int64_t longest_us = 0;        ///< of its last refreshes
};
RefreshTiming refresh_timing(JobId job);

/// A job's view was found to be right.
struct RefreshProof {
    JobId job;
    Proof proof;
};

/// Remembers that views were found to be right, where that can be, and writes it down where not.
/// What is known of a later time stays, unless that is in the future: the clock was set back.
void record_proofs(const std::vector<RefreshProof>& proofs);

/// What is remembered of these jobs' views is to outlive the server: they are not refreshed as they
/// should be.
void write_down_proofs(const std::vector<JobId>& jobs);

/// The jobs whose views read a materialized view, and those that refresh it, each if it has
/// refreshed once: as of now, whatever snapshot the transaction has.
std::vector<JobId> readers_of(Oid matview);
std::vector<JobId> keepers_of(Oid matview);

/// Those of the materialized views that a job's view reads whose refreshes do not tell the job yet:
/// they were not among those that its last refresh has read.
std::vector<Oid> untold_parents(JobId job, const std::vector<Oid>& parents);

} // namespace orchestry::catalog
