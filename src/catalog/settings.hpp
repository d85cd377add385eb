// The settings orchestry.*: one place that names, documents and reads them.
#pragma once

#include "base/time.hpp"
#include "pg/postgres.hpp"

namespace orchestry::catalog::settings {

extern bool enabled;               // orchestry.enabled, the kill switch
extern char* databases;            // orchestry.databases: '*' or a comma separated list
extern int max_workers;            // orchestry.max_workers, per database
extern int naptime_s;              // orchestry.naptime
extern int lock_timeout_ms;        // orchestry.lock_timeout
extern int lock_attempts;          // orchestry.lock_attempts
extern int history_keep_s;         // orchestry.history_keep
extern int history_keep_runs;      // orchestry.history_keep_runs, per job
extern int log_min_messages;       // orchestry.log_min_messages
extern int max_replication_lag_mb; // orchestry.max_replication_lag; -1: no matter
extern int aggregate_mem_kb;       // orchestry.aggregate_mem
extern int refresh_mem_kb;         // orchestry.refresh_mem

/// The budget for all the strong locks of one step, in microseconds.
inline std::int64_t lock_budget_us() { return std::int64_t{lock_timeout_ms} * 1000; }

/// orchestry.batch_target_time, in microseconds: how long a batch should take.
std::int64_t batch_target_us();

/// The clock of plans and schedules: the transaction's start, or orchestry.now where a test has set
/// it.
base::Instant now();
/// As now(), but where no test has set the clock, this very moment: for the beginnings and ends in
/// the history.
base::Instant clock();

/// Defines the settings and reserves the prefix. Called once from _PG_init.
void define();

} // namespace orchestry::catalog::settings
