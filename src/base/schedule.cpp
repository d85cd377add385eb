#include "base/schedule.hpp"

#include "base/arith.hpp"
#include "base/civil.hpp"
#include "base/error.hpp"
#include "base/text.hpp"

namespace orchestry::base {
namespace {

std::int64_t month_of(LocalTime local) { return months_from_civil(civil_from_days(day_of(local))); }

Instant next_slot(const Span& every, const Zone& zone, Instant anchor, Instant now) {
    if (every.us > 0) {
        const std::int64_t phase = floor_mod(require_in_range(anchor).us, every.us);
        return plus(now, every.us - above_multiple(now.us, every.us, phase));
    }
    const LocalTime from = to_local(zone, anchor);
    const LocalTime to = to_local(zone, now);
    // The slot before this one lies in an earlier month (or day) of the wall clock, hence not after
    // now. Each is counted from the anchor, so that a 31st is clamped only where it must be.
    std::int64_t times = every.months > 0 ? floor_div(month_of(to) - month_of(from), every.months)
                                          : floor_div(day_of(to) - day_of(from), every.days);
    for (;; ++times) {
        // Fits: it is the distance from anchor to now, or one unit further from 0 than that.
        const Span distance{static_cast<std::int32_t>(every.months * times),
                            static_cast<std::int32_t>(every.days * times), 0};
        if (const Instant slot = add(zone, anchor, distance); slot > now)
            return slot;
    }
}

} // namespace

bool looks_like_cron(std::string_view text) {
    const std::vector<std::string_view> words = split_words(text);
    // PostgreSQL can write an interval as "@ 1 day": that is no nickname of a cron line.
    return words.size() == 5 || (!words.empty() && words[0].size() > 1 && words[0][0] == '@');
}

Schedule make_schedule(const Span& every) {
    const Step step = make_step(every.months, every.days, every.us, "schedule");
    if (step.us > 0 && step.us < us_per_second)
        throw Error(errc::invalid_parameter, "\"schedule\" must be at least one second")
            .detail("The interval is " + to_string(step) + ".");
    return {every};
}

Schedule make_schedule(std::string_view cron_line) { return {parse_cron(cron_line)}; }

Instant next_run(const Schedule& schedule, const Zone& zone, Instant anchor, Instant now) {
    if (const Cron* cron = std::get_if<Cron>(&schedule.rule))
        return next_after(*cron, zone, now);
    return next_slot(std::get<Span>(schedule.rule), zone, anchor, now);
}

} // namespace orchestry::base
