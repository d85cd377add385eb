// Aligned half-open intervals that tile time: the bounds of partitions and buckets.
#pragma once

#include "base/step.hpp"
#include "base/time.hpp"
#include "base/zone.hpp"

#include <cstdint>

namespace orchestry::base {

/// Months are counted from 2000-01-01 and days from Monday 2000-01-03, both at the zone's midnight
/// (or what to_instant makes of it); a step in microseconds is counted in UTC from 2000-01-03, so
/// that it never repeats or loses an hour. For each instant t: floor(t) <= t < next(t). No call
/// costs more than a few looks at the zone. Errors: 22008 when `t` is infinite or one of the
/// boundaries around it is out of PostgreSQL's range.
class Grid {
  public:
    /// Keeps a reference to `zone`. Error XX000 when `step` is not one that make_step gives.
    Grid(const Zone& zone, Step step);

    /// The same, counted from `anchor`: from its instant for microseconds, from its local date for
    /// several days. Months and single days have no phase of their own and ignore it.
    Grid(const Zone& zone, Step step, Instant anchor);

    /// The greatest boundary <= t.
    Instant floor(Instant t) const;
    /// The smallest boundary > t. Intervals of no width, such as a day that the zone skipped, do
    /// not count.
    Instant next(Instant t) const;
    /// The smallest boundary >= t.
    Instant ceil(Instant t) const;

    /// What a boundary is called: its local time, or its UTC time for a step in microseconds, whose
    /// local times would repeat in autumn.
    LocalTime label(Instant boundary) const;

    const Step& step() const { return step_; }

  private:
    struct Interval {
        Instant lower;
        Instant upper;
    };
    Interval around(Instant t) const;
    std::int64_t unit_at_or_before(LocalTime local) const;
    Instant boundary(std::int64_t unit) const;

    const Zone* zone_;
    Step step_;
    std::int64_t phase_; // the smallest boundary >= 0, in the step's unit since the epoch
};

} // namespace orchestry::base
