// Lengths of time as calendars have them: months, days and microseconds do not convert.
#pragma once

#include "base/time.hpp"
#include "base/zone.hpp"

#include <cstdint>
#include <string>

namespace orchestry::base {

/// One stride of a calendar: exactly one of the three is positive, the others are zero.
struct Step {
    std::int32_t months;
    std::int32_t days;
    std::int64_t us;
    auto operator<=>(const Step&) const = default;
};

/// An interval with any fields, as PostgreSQL's interval.
struct Span {
    std::int32_t months;
    std::int32_t days;
    std::int64_t us;
    auto operator<=>(const Span&) const = default;
};

/// Checks an interval given as its three fields. `what`: the user's name for it, such as "every".
/// Error 22023 for zero, negative or mixed signs, and several units at once ("1 month 1 day").
Step make_step(std::int32_t months, std::int32_t days, std::int64_t us, const char* what);

/// "1 year", "3 months", "7 days", "15 minutes": in the greatest unit that leaves no fraction.
std::string to_string(const Step& step);

/// About how long a span is, in microseconds: a month has 30 days and a day 24 hours, as where the
/// server compares intervals. Kept within the range of the type.
std::int64_t nominal_us(const Span& span);

/// t + span: months on the zone's wall clock (the day clamped to the month's end), then days there,
/// then microseconds of real time. As PostgreSQL's timestamptz + interval, except that a wall-clock
/// time which does not exist or comes twice follows to_instant, and that only the time arrived at
/// is looked at so, not the one between months and days. The infinities stay what they are. Error
/// 22008 on overflow.
Instant add(const Zone& zone, Instant t, const Span& span);

/// t - span, in the same order of units. Error 22008 on overflow.
Instant subtract(const Zone& zone, Instant t, const Span& span);

} // namespace orchestry::base
