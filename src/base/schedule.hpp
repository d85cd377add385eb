// Schedules: when a job is due. A slot is one instant at which it is.
#pragma once

#include "base/cron.hpp"
#include "base/hash.hpp" // jitter_us, for whoever spreads slots
#include "base/step.hpp"
#include "base/time.hpp"
#include "base/zone.hpp"

#include <cstdint>
#include <string_view>
#include <variant>

namespace orchestry::base {

/// Either an interval, whose slots lie at whole multiples of it from the job's anchor, or a cron
/// line.
struct Schedule {
    std::variant<Span, Cron> rule;
};

/// True for text that is to be read as a cron line: five fields, or `@` and a letter. Anything else
/// is for the server's interval input.
bool looks_like_cron(std::string_view text);

/// An interval as a schedule. Error 22023 when it is shorter than a second, zero, negative, or of
/// several units.
Schedule make_schedule(const Span& every);

/// A cron line as a schedule. Errors as parse_cron.
Schedule make_schedule(std::string_view cron_line);

/// The first slot strictly after `now`: slots that were missed collapse into one. `anchor`: a fixed
/// origin, such as the job's creation; an interval's slots keep its phase for ever (they do not
/// drift with late runs), in the zone's wall-clock time for months and days, and extend to both
/// sides of it. Error 22008 when out of range.
Instant next_run(const Schedule& schedule, const Zone& zone, Instant anchor, Instant now);

} // namespace orchestry::base
