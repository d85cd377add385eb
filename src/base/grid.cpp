#include "base/grid.hpp"

#include "base/arith.hpp"
#include "base/civil.hpp"
#include "base/error.hpp"

namespace orchestry::base {
namespace {

constexpr std::int64_t first_monday = days_from_civil({2000, 1, 3});
constexpr Instant default_anchor{first_monday * us_per_day};

std::int64_t phase_of(const Zone& zone, const Step& step, Instant anchor) {
    if ((step.months > 0) + (step.days > 0) + (step.us > 0) != 1)
        throw Error(errc::internal, "grid needs a step of one positive unit");
    if (step.months > 0)
        return 0;
    if (step.days > 0)
        return floor_mod(day_of(to_local(zone, anchor)), step.days);
    return floor_mod(require_in_range(anchor).us, step.us);
}

} // namespace

// The default anchor is read as UTC, because it stands for the same local date in every zone.
Grid::Grid(const Zone& zone, Step step)
    : zone_(&zone), step_(step), phase_(phase_of(utc(), step, default_anchor)) {}

Grid::Grid(const Zone& zone, Step step, Instant anchor)
    : zone_(&zone), step_(step), phase_(phase_of(zone, step, anchor)) {}

Instant Grid::floor(Instant t) const { return around(t).lower; }

Instant Grid::next(Instant t) const { return around(t).upper; }

Instant Grid::ceil(Instant t) const {
    const Interval interval = around(t);
    return interval.lower == t ? t : interval.upper;
}

LocalTime Grid::label(Instant boundary) const {
    return to_local(step_.us > 0 ? utc() : *zone_, boundary);
}

Grid::Interval Grid::around(Instant t) const {
    if (step_.us > 0) {
        const Instant lower = plus(t, -above_multiple(require_in_range(t).us, step_.us, phase_));
        return {lower, plus(lower, step_.us)};
    }
    const std::int64_t width = step_.months > 0 ? step_.months : step_.days;
    std::int64_t unit = unit_at_or_before(to_local(*zone_, t));
    Interval interval{boundary(unit), boundary(unit + width)};
    // A clock set back over midnight shows the old day again, after the new one began.
    while (interval.upper <= t) {
        unit += width;
        interval = {interval.upper, boundary(unit + width)};
    }
    return interval;
}

/// The month or day, counted from 2000-01-01, at which the interval around a local time starts.
std::int64_t Grid::unit_at_or_before(LocalTime local) const {
    const std::int64_t day = day_of(local);
    if (step_.days > 0)
        return day - above_multiple(day, step_.days, phase_);
    const std::int64_t month = months_from_civil(civil_from_days(day));
    return month - above_multiple(month, step_.months, phase_);
}

Instant Grid::boundary(std::int64_t unit) const {
    const std::int64_t day = step_.days > 0 ? unit : days_from_civil(civil_from_months(unit));
    return to_instant(*zone_, midnight(day));
}

} // namespace orchestry::base
