// Which buckets of a rollup are computed again, and in what batches: decided from plain facts,
// without a catalog, a lock or a clock of its own. The same decision is shown by orchestry.plan()
// and carried out by a run.
//
// Words: a bucket is dirty when rows of it have changed since it was computed, open until all of it
// lies in the past, frozen when rows that it was computed from were removed by age. Dirty and open
// buckets are computed by whoever reads the rollup, frozen ones never again.
#pragma once

#include "base/grid.hpp"
#include "base/instant_set.hpp"

#include <optional>
#include <string>
#include <vector>

namespace orchestry::metrics {

/// What the user wants to hold for a rollup.
struct RollupPolicy {
    base::Step bucket;
    const base::Zone* zone = &base::utc(); ///< it must outlive the policy's use
    std::optional<base::Span> keep;        ///< how long buckets are kept; nullopt: for good

    base::Grid grid() const { return {*zone, bucket}; }
};

/// Rows of the source between two times, about evenly spread.
struct Stretch {
    base::Instant from, to;
    double rows = 0;
};

/// What is known of a rollup and its source.
struct Backlog {
    std::string quoted;                  ///< the rollup, qualified and quoted
    base::InstantSet dirty;              ///< in whole buckets, those that are frozen apart
    std::vector<Stretch> stretches;      ///< in the order of time, without overlaps
    std::optional<base::Instant> oldest; ///< of the stored buckets; nullopt: there is none
};

enum class RollupAction {
    refresh, ///< buckets are computed again
    expire,  ///< buckets past their time are removed
    leave,   ///< nothing is done: it is explained why
};

/// The word for an action in orchestry.plan().
const char* to_string(RollupAction action);

/// One step, to be applied in a transaction of its own.
struct RollupStep {
    RollupAction action = RollupAction::leave;
    base::TimeExtent extent;          ///< whole buckets
    std::optional<std::int64_t> rows; ///< of the source, about
    std::string reason;               ///< plain words
};

/// The steps that compute all dirty buckets that are closed at `now`, the newest first, each from
/// about `rows_per_batch` rows of the source, unless one bucket has more; and then remove what is
/// past its time.
std::vector<RollupStep> plan(const Backlog& backlog, const RollupPolicy& policy, base::Instant now,
                             std::int64_t rows_per_batch);

/// The dirty buckets that a batch would compute now.
base::InstantSet closed(const base::InstantSet& dirty, const RollupPolicy& policy,
                        base::Instant now);

} // namespace orchestry::metrics
