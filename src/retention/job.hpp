// A retention job: its steps now, and knowing cheaply that there are none. After a full look at a
// set it is remembered until when nothing can be due, together with a fingerprint of the set's
// partitions.
#pragma once

#include "retention/apply.hpp"
#include "retention/row_apply.hpp"

namespace orchestry::retention {

/// The steps of a job, and what they are based on.
struct Planned {
    Basis basis;
    std::vector<Step> steps;
};
/// Plans a job as of `now`. Unlike a preview of another moment, a plan for the present one blocks
/// all removal when the clock has leapt ahead (clock_veto).
Planned plan_job(const catalog::Job& job, base::Instant now);

/// Whether the job removes single rows, and not whole partitions. Raises 42703 when its time column
/// is gone.
bool takes_rows(const catalog::Job& job);

/// As Planned, of a job that removes single rows.
struct PlannedRowSteps {
    RowBasis basis;
    std::vector<RowStep> steps;
};
PlannedRowSteps plan_row_job(const catalog::Job& job, base::Instant now);

/// Remembers that the job's clock was right at `now`, unless it has leapt ahead. To be called when
/// a run begins.
void check_clock(const catalog::Job& job, base::Instant now);

/// Remembers that the set of a job is quiet, or that this is not known. To be called after a run.
/// Of single rows it never is.
void remember_quiet(const catalog::Job& job, base::Instant now);

} // namespace orchestry::retention
