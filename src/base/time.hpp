// Points in time. An instant is a point on the UTC time line; a local time is what a wall clock
// shows, and means nothing without its zone (zone.hpp).
#pragma once

#include "base/error.hpp"

#include <compare>
#include <cstdint>
#include <limits>

namespace orchestry::base {

inline constexpr std::int64_t us_per_second = 1'000'000;
inline constexpr std::int64_t us_per_minute = 60 * us_per_second;
inline constexpr std::int64_t us_per_hour = 60 * us_per_minute;
inline constexpr std::int64_t us_per_day = 24 * us_per_hour;

/// Seconds from 1970-01-01 (Unix) to 2000-01-01 (PostgreSQL).
inline constexpr std::int64_t unix_epoch_offset_s = 946'684'800;

/// Microseconds since 2000-01-01 00:00:00 UTC: PostgreSQL's timestamptz.
struct Instant {
    std::int64_t us;
    auto operator<=>(const Instant&) const = default;
};

/// A wall clock's date and time, counted as if the clock ran on UTC, from the same epoch:
/// PostgreSQL's timestamp.
struct LocalTime {
    std::int64_t us;
    auto operator<=>(const LocalTime&) const = default;
};

/// PostgreSQL's range: from 4713-11-24 BC, inclusive, to the end of 294276, exclusive.
inline constexpr Instant min_instant{-211'813'488'000'000'000};
inline constexpr Instant end_instant{9'223'371'331'200'000'000};

inline constexpr Instant minus_infinity{std::numeric_limits<std::int64_t>::min()};
inline constexpr Instant plus_infinity{std::numeric_limits<std::int64_t>::max()};

constexpr bool is_finite(Instant t) { return t != minus_infinity && t != plus_infinity; }

/// True for every instant that PostgreSQL can store, the infinities apart.
constexpr bool in_range(Instant t) { return t >= min_instant && t < end_instant; }

/// Error 22008, to be thrown.
Error timestamp_out_of_range();

/// The argument. Error 22008 when it is infinite or PostgreSQL cannot store it.
Instant require_in_range(Instant t);

/// t + us. Error 22008 when the result or `t` is out of range.
Instant plus(Instant t, std::int64_t us);

/// The instant `seconds` after 1970-01-01 00:00:00 UTC. Error 22008 when out of range.
Instant from_unix_seconds(std::int64_t seconds);

/// Whole seconds since 1970-01-01 00:00:00 UTC, rounded down.
std::int64_t to_unix_seconds(Instant t);

} // namespace orchestry::base
