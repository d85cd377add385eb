#include "base/step.hpp"

#include "base/arith.hpp"
#include "base/civil.hpp"
#include "base/error.hpp"

#include <algorithm>

namespace orchestry::base {
namespace {

std::int64_t add_months(std::int64_t day, std::int64_t months) {
    const CivilDate from = civil_from_days(day);
    CivilDate to = civil_from_months(months_from_civil(from) + months);
    to.day = std::min(from.day, days_in_month(to.year, to.month));
    return days_from_civil(to);
}

Instant add_units(const Zone& zone, Instant t, std::int64_t months, std::int64_t days,
                  std::int64_t us) {
    if (!is_finite(t))
        return t;
    if (months != 0 || days != 0) {
        const LocalTime from = to_local(zone, t);
        const LocalTime to = midnight(add_months(day_of(from), months) + days);
        t = to_instant(zone, {to.us + time_of_day_us(from)});
    }
    return plus(t, us);
}

std::string counted(std::int64_t count, const char* unit) {
    return std::to_string(count) + ' ' + unit + (count == 1 ? "" : "s");
}

} // namespace

Step make_step(std::int32_t months, std::int32_t days, std::int64_t us, const char* what) {
    const char* fault = nullptr;
    if (months < 0 || days < 0 || us < 0)
        fault = "The interval has a negative part.";
    else if ((months > 0) + (days > 0) + (us > 0) > 1)
        fault = "The interval mixes units that have no fixed ratio.";
    else if (months == 0 && days == 0 && us == 0)
        fault = "The interval is zero.";
    if (fault == nullptr)
        return {months, days, us};
    throw Error(errc::invalid_parameter,
                '"' + std::string(what) + "\" must be a positive interval of one unit")
        .detail(std::string(fault) + " It has to be months (or years) only, days (or weeks) only, "
                                     "or hours, minutes and seconds only.")
        .hint("Use an interval such as '1 month', '7 days' or '15 minutes'.");
}

std::string to_string(const Step& step) {
    if (step.months > 0)
        return step.months % 12 == 0 ? counted(step.months / 12, "year")
                                     : counted(step.months, "month");
    if (step.days > 0)
        return counted(step.days, "day");
    struct Unit {
        std::int64_t us;
        const char* name;
    };
    constexpr Unit units[] = {{us_per_hour, "hour"},
                              {us_per_minute, "minute"},
                              {us_per_second, "second"},
                              {1'000, "millisecond"}};
    for (const Unit& unit : units)
        if (step.us % unit.us == 0)
            return counted(step.us / unit.us, unit.name);
    return counted(step.us, "microsecond");
}

std::int64_t nominal_us(const Span& span) {
    const std::int64_t days = std::int64_t{span.months} * 30 + span.days;
    return saturating_add(saturating_multiply(days, us_per_day), span.us);
}

Instant add(const Zone& zone, Instant t, const Span& span) {
    return add_units(zone, t, span.months, span.days, span.us);
}

Instant subtract(const Zone& zone, Instant t, const Span& span) {
    const std::optional<std::int64_t> minus_us = checked_subtract(0, span.us);
    if (!minus_us)
        throw timestamp_out_of_range();
    return add_units(zone, t, -std::int64_t{span.months}, -std::int64_t{span.days}, *minus_us);
}

} // namespace orchestry::base
