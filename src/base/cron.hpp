// Cron lines: five fields that say at which wall-clock minutes something is due.
#pragma once

#include "base/time.hpp"
#include "base/zone.hpp"

#include <cstdint>
#include <string_view>

namespace orchestry::base {

/// A parsed cron line. Bit n of a set stands for the value n.
struct Cron {
    std::uint64_t minutes;       ///< 0 to 59
    std::uint32_t hours;         ///< 0 to 23
    std::uint32_t days_of_month; ///< 1 to 31
    std::uint32_t months;        ///< 1 to 12
    std::uint32_t days_of_week;  ///< 0 to 6, 0 is Sunday
    /// Either set of days will do, instead of both being needed: cron's rule for a line of which
    /// neither day field starts with `*`.
    bool either_day;
    auto operator<=>(const Cron&) const = default;
};

/// Reads minute, hour, day of month, month and day of week, with white space between them. A field
/// is `*` or a list of values and ranges, each with an optional step (`1-10/3`, `*/5`; `5/15` runs
/// from 5 to the field's end). Months and days of the week may be English names of three letters;
/// 0 and 7 are Sunday. Also `@hourly @daily @midnight @weekly @monthly @yearly @annually`.
/// Error 22023 when it cannot be read (the detail names the field) or can never fire.
Cron parse_cron(std::string_view line);

/// The first time after `t`, strictly, at which the line is due in the zone. Where the wall clock
/// jumps, a line with chosen hours is due once per time that it names: a time that does not exist
/// is due at the first instant after the gap (one instant, however many times are due there), and
/// of a time that comes twice only the first counts. A line that allows every hour means real
/// hours: it is due whenever the wall clock shows a time it names, in both passes of a repeated
/// hour, and nothing is made up for a gap. Error 22008 when `t` is infinite or the answer is out of
/// range.
Instant next_after(const Cron& cron, const Zone& zone, Instant t);

} // namespace orchestry::base
