#include "base/zone.hpp"

namespace orchestry::base {
namespace {

class Utc final : public Zone {
  public:
    std::int64_t offset_at(Instant) const override { return 0; }
};

std::int64_t offset_us(const Zone& zone, Instant t) { return zone.offset_at(t) * us_per_second; }

} // namespace

const Zone& utc() {
    static const Utc zone;
    return zone;
}

LocalTime to_local(const Zone& zone, Instant t) {
    return {require_in_range(t).us + offset_us(zone, t)};
}

Instant to_instant(const Zone& zone, LocalTime local) {
    if (local.us < min_instant.us - us_per_day || local.us > end_instant.us + us_per_day)
        throw timestamp_out_of_range();
    // No offset reaches a day, so the answer lies between these two, and one change at most.
    const std::int64_t before_us = offset_us(zone, {local.us - us_per_day});
    const std::int64_t after_us = offset_us(zone, {local.us + us_per_day});

    const Instant by_old_offset{local.us - before_us};
    if (offset_us(zone, by_old_offset) == before_us)
        return require_in_range(by_old_offset);
    const Instant by_new_offset{local.us - after_us};
    if (offset_us(zone, by_new_offset) == after_us)
        return require_in_range(by_new_offset);
    // The old offset ends before the clock shows `local`, the new one begins after: a gap.
    return require_in_range(offset_change(zone, by_new_offset, by_old_offset));
}

Instant offset_change(const Zone& zone, Instant before, Instant after) {
    const std::int64_t old_offset_s = zone.offset_at(before);
    while (after.us - before.us > 1) {
        const Instant middle{before.us + (after.us - before.us) / 2};
        (zone.offset_at(middle) == old_offset_s ? before : after) = middle;
    }
    return after;
}

} // namespace orchestry::base
