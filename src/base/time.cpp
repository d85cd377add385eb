#include "base/time.hpp"

#include "base/arith.hpp"

namespace orchestry::base {

Error timestamp_out_of_range() { return Error(errc::datetime_overflow, "timestamp out of range"); }

Instant require_in_range(Instant t) {
    if (!in_range(t))
        throw timestamp_out_of_range();
    return t;
}

Instant plus(Instant t, std::int64_t us) {
    const std::optional<std::int64_t> sum = checked_add(require_in_range(t).us, us);
    if (!sum)
        throw timestamp_out_of_range();
    return require_in_range({*sum});
}

Instant from_unix_seconds(std::int64_t seconds) {
    // Compared before it is multiplied: in range, nothing overflows.
    if (seconds < to_unix_seconds(min_instant) || seconds >= to_unix_seconds(end_instant))
        throw timestamp_out_of_range();
    return {(seconds - unix_epoch_offset_s) * us_per_second};
}

std::int64_t to_unix_seconds(Instant t) {
    return floor_div(t.us, us_per_second) + unix_epoch_offset_s;
}

} // namespace orchestry::base
