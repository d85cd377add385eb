// Which buckets of a rollup are computed again, and in what batches: decided from plain facts,
// without a catalog, a lock or a clock of its own. The same decision is shown by orchestry.plan()
// and carried out by a run.
//
// Words: a bucket is dirty when rows of it have changed since it was computed, open until all of it
// lies in the past, frozen when rows that it was computed from were removed by age. Dirty and open
// buckets are computed by whoever reads the rollup, frozen ones never again. A rollup may be made
// of the stored buckets of a finer one, its parent, whose reader it is then.
#pragma once

#include "base/civil.hpp"
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

/// A rollup that is made of the stored buckets of this one.
struct RollupReader {
    std::string quoted;      ///< qualified and quoted
    base::Grid grid;         ///< of its buckets; its edges are edges of this one's
    base::InstantSet unread; ///< times of this rollup's buckets that it has yet to read
};

/// What is known of a rollup and its source.
struct Backlog {
    std::string quoted;       ///< the rollup, qualified and quoted
    base::InstantSet dirty;   ///< in whole buckets, those that are frozen apart
    base::InstantSet unready; ///< the same: what its parent has yet to compute
    std::vector<RollupReader> readers;
    std::vector<Stretch> stretches;      ///< in the order of time, without overlaps
    std::optional<base::Instant> oldest; ///< of the stored buckets; nullopt: there is none
};

/// The latest bound of a bucket at `now` before which all are past "keep", which is there. Error
/// 22008 when that is before all times.
base::Instant end_of_past(const RollupPolicy& policy, base::Instant now);
/// Raises the same, in words about "keep", for one with which no run could plan anything.
void check_keep(const RollupPolicy& policy, base::Instant now);

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

/// The steps that compute all dirty buckets that are closed at `now` and ready, the newest first,
/// each from about `rows_per_batch` rows of the source, unless one bucket has more; and then remove
/// what is past its time and has been read.
std::vector<RollupStep> plan(const Backlog& backlog, const RollupPolicy& policy, base::Instant now,
                             std::int64_t rows_per_batch);

/// A refresh, cut at those of some instants that lie in it: the parts, the newest first; none when
/// it cannot be cut there. In the second form in the middle, between two buckets.
std::vector<RollupStep> cut(const RollupStep& step, const std::vector<base::Instant>& at);
std::vector<RollupStep> halves(const RollupStep& step, const base::Grid& grid);

/// The dirty buckets that a batch would compute now.
base::InstantSet due(const Backlog& backlog, const RollupPolicy& policy, base::Instant now);

/// Who has yet to read or to compute buckets before an instant, so that what is stored there cannot
/// be removed, and from when on; nullopt: nobody, as when there are no readers.
struct Unread {
    std::string quoted; ///< a rollup
    base::Instant from;
};
std::optional<Unread> unread(const Backlog& backlog, base::Instant before);

/// The reader of which a bucket goes on at an instant, so that what is stored before that cannot be
/// removed; nullptr: a bucket of each ends there. (The edges of the coarsest reader are edges of
/// all in `nesting_times`, and may be none before.)
const RollupReader* unended(const std::vector<RollupReader>& readers, base::Instant t);

/// The times in which buckets of rollups must nest in those of their parents. Before the first of
/// them the clocks of most places were off by odd minutes and seconds.
inline constexpr base::TimeExtent nesting_times{
    {base::days_from_civil({1970, 1, 1}) * base::us_per_day},
    {base::days_from_civil({2100, 1, 1}) * base::us_per_day}};
/// The first edge of a bucket in these times that is none of a finer one; nullopt: there is none,
/// so that each bucket consists of whole finer ones.
std::optional<base::Instant> first_misfit(const base::Grid& finer, const base::Grid& coarser);
/// Why two rollups cannot be readers of one that has a `keep`: the first edge of a bucket of `b`
/// that is none of `a`, when neither nests in the other. Readers of whom all two nest have the
/// edges of the coarsest one in common; others may have none at all. nullopt: one nests.
std::optional<base::Instant> first_clash(const base::Grid& a, const base::Grid& b);

} // namespace orchestry::metrics
