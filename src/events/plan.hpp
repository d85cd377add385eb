// Which rows of an event table are past their time, and in what portions they become counts and
// samples: decided from plain facts, without a catalog, a lock or a clock of its own. The same
// decision is shown by orchestry.plan() and carried out by a run.
//
// Words: a bucket is one aligned interval of time; it is closed when all of it lies before the
// horizon. The rows of a bucket that are alike in the group columns become one row of the target.
#pragma once

#include "base/grid.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace orchestry::events {

/// What the user wants to hold for an event table.
struct Policy {
    base::Span older_than;
    base::Step bucket;
    const base::Zone* zone = &base::utc(); ///< it must outlive the policy's use

    base::Grid grid() const { return {*zone, bucket}; }
};

/// Error 22023 unless an interval is free of negative parts. `what`: the user's name for it.
void check_not_negative(const base::Span& span, const char* what);

/// The end of the last closed bucket at `now`. Error 22008 when time does not go that far.
base::Instant horizon(const Policy& policy, base::Instant now);

/// What a sample has of one bucket.
struct SampledBucket {
    base::Instant start;
    std::int64_t rows = 0;
    std::int64_t groups = 0;  ///< how many different ones
    std::int64_t singles = 0; ///< those of which there is one row only
};

/// A part of time before the horizon, half open, whose rows are taken one by one.
struct Segment {
    base::Instant from, to;
    std::optional<base::Instant> oldest; ///< time of the first row; nullopt: there is none
    std::vector<SampledBucket> sample;   ///< ordered by start
    double fraction = 1;                 ///< how much of the rows the sample has
};

/// A partition that lies before the horizon and is taken as a whole.
struct Whole {
    std::uint32_t relid = 0;
    std::string quoted;     ///< qualified and quoted
    base::Instant from, to; ///< its bounds, which need not be bounds of buckets
    std::int64_t rows = -1; ///< as of the last VACUUM or ANALYZE; -1: not known
};

/// Whether a partition is worth being taken as a whole: not for a few late rows, and only if what
/// VACUUM has not seen of it can be read once more while writers to it wait, at a rate that few
/// servers exceed.
constexpr bool is_worth_it(std::int64_t bytes, std::int64_t bytes_to_read,
                           std::int64_t lock_budget_us) {
    constexpr std::int64_t bytes_per_us = 2'000;
    return bytes >= 1024 * 1024 && bytes_to_read / bytes_per_us <= lock_budget_us;
}

/// The time up to `end` that is left beside such partitions, which are in the order of time.
std::vector<Segment> segments_beside(const std::vector<Whole>& wholes, base::Instant end);

/// An event table as far as its rows are past their time.
struct Source {
    std::string quoted;            ///< qualified and quoted
    std::string target;            ///< where its rows go, likewise
    std::vector<Whole> wholes;     ///< in the order of time
    std::vector<Segment> segments; ///< in the order of time
    std::string held;              ///< not empty: all rows are held; says by what, and what ends it
    std::string obstacle;          ///< not empty: says why no row can be taken, and what mends it
    std::string stranger;          ///< not empty: likewise, and why no row has been looked at
};

enum class Action {
    compress,           ///< rows become counts and samples, and are deleted
    compress_partition, ///< all rows of a partition do, and it is emptied
    leave,              ///< nothing is done: it is explained why, or what is to be expected
};

/// The word for an action in orchestry.plan().
const char* to_string(Action action);

/// One step, to be applied in a transaction of its own.
struct PlannedStep {
    Action action = Action::leave;
    std::uint32_t relid = 0;          ///< the partition; 0: rows of the source
    std::string object;               ///< quoted: the partition, or the source
    base::Instant lower{0};           ///< the start of the first bucket
    base::Instant from{0}, upper{0};  ///< the times of the rows, half open
    std::optional<std::int64_t> rows; ///< about how many; nullopt: the sample has none of them
    std::string reason;               ///< plain words
    std::string blocked_by; ///< not empty: the step is not taken; says why and what mends it
};

/// About how many rows a step takes: few enough to be done in a second or so, unless one bucket has
/// more.
inline constexpr std::int64_t rows_per_step = 50'000;
/// How many buckets of days or months a step has at most, so that its list of their bounds stays
/// short. It is above what five centuries of days come to.
inline constexpr std::int64_t calendar_buckets_per_step = 200'000;

/// The steps that compress all rows before the horizon, oldest first; before them, what is to be
/// expected of all together.
std::vector<PlannedStep> plan(const Source& source, const Policy& policy, base::Instant now);

/// How many different groups there are in all when a sample of `rows` rows, drawn from `total`, has
/// `groups`, `singles` of them once: the estimator of Haas and Stokes (1998, section 4), which
/// ANALYZE uses too.
std::int64_t estimated_groups(std::int64_t rows, std::int64_t groups, std::int64_t singles,
                              double total);

} // namespace orchestry::events
