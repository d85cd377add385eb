// Live progress in the slot that the server gives every backend for its progress views. A private
// command number keeps our rows out of pg_stat_progress_vacuum and its like; reading them needs no
// preloaded library.
#pragma once

#include "pg/scope.hpp"

namespace orchestry::pg {

/// Columns of the progress slot, in the order that orchestry.progress shows them.
struct Progress {
    enum class Phase : std::int64_t { planning, step, lock_wait, backoff };
    std::int64_t run_id = 0;
    std::int64_t job_id = 0;
    Phase phase = Phase::planning;
    std::int64_t steps_done = 0;
    std::int64_t steps_total = 0;
    std::int64_t rows_done = 0;
    std::int64_t rows_total = 0; // 0: not known
};

/// Publishes `progress` for the relation. Statements that report progress of their own (CREATE
/// INDEX, VACUUM, COPY) take the slot, so publish again after each step.
void publish_progress(Oid relid, const Progress& progress);
void clear_progress() noexcept;

/// One backend's row.
struct ProgressRow {
    int pid = 0;
    Oid relid = InvalidOid;
    Oid user = InvalidOid;
    Progress progress;
};
/// What our code is doing in this database right now.
std::vector<ProgressRow> read_progress();

} // namespace orchestry::pg
