// Partition keys and ranges as plain numbers, and as text that means the same in every session.
//
// A position is a point on the key's axis; KeyKind says what it counts.
#pragma once

#include "base/step.hpp"
#include "base/time.hpp"
#include "base/zone.hpp"

#include <compare>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

namespace orchestry::base {

/// What the partition key means. It decides the unit of positions.
enum class KeyKind {
    timestamptz, ///< microseconds since 2000-01-01 00:00:00 UTC
    timestamp,   ///< microseconds since 2000-01-01 00:00:00 on a wall clock
    date,        ///< days since 2000-01-01
    integer,     ///< the key itself, not a time
    epoch_s,     ///< the key itself: seconds since 1970-01-01 00:00:00 UTC
    epoch_ms,    ///< the key itself: milliseconds since then
    epoch_us,    ///< the key itself: microseconds since then
    epoch_ns,    ///< the key itself: nanoseconds since then
    uuid_v7,     ///< milliseconds since 1970-01-01 00:00:00 UTC: the first 48 bits of the uuid
};

/// Whether the key is a time at all.
constexpr bool is_time(KeyKind kind) { return kind != KeyKind::integer; }

/// Whether the key is what a wall clock shows, so that its axis has neither zones nor daylight
/// saving.
constexpr bool is_wall_clock(KeyKind kind) {
    return kind == KeyKind::timestamp || kind == KeyKind::date;
}

/// Where infinity lies on every axis that has it.
inline constexpr std::int64_t lowest_position = std::numeric_limits<std::int64_t>::min();
inline constexpr std::int64_t highest_position = std::numeric_limits<std::int64_t>::max();

/// Microseconds in one unit of the key's axis. Not for nanoseconds, of which a microsecond has a
/// thousand.
constexpr std::int64_t unit_us(KeyKind kind) {
    switch (kind) {
    case KeyKind::date:
        return us_per_day;
    case KeyKind::epoch_s:
        return us_per_second;
    case KeyKind::epoch_ms:
    case KeyKind::uuid_v7:
        return 1'000;
    default:
        return 1;
    }
}

/// The instant of a position; for wall-clock keys the wall clock's time read as if it were UTC.
/// Rounds down to a microsecond; what lies beyond PostgreSQL's range becomes the end of the range.
/// Not for integers.
Instant instant_of(KeyKind kind, std::int64_t position);
/// The last position at or before an instant; saturates at the ends of 64 bits. Not for integers.
std::int64_t position_of(KeyKind kind, Instant instant);

/// The position of an instant on a clock in a zone. The zone counts for wall-clock keys alone. Not
/// for integers.
std::int64_t position_at(KeyKind kind, const Zone& zone, Instant instant);
/// The position before which lies what is older than `keep`, counted back on the zone's calendar.
/// Not for integers. Error 22008 when that is before time begins.
std::int64_t horizon(KeyKind kind, const Zone& zone, Instant now, const Span& keep);
/// In which zone the calendar of such an axis runs: wall clocks have none.
const Zone& axis_zone(KeyKind kind, const Zone& zone);

/// One end of a partition's range, ordered as the server orders them.
struct Bound {
    enum class Kind { minvalue, value, maxvalue };
    Kind kind = Kind::value;
    std::int64_t at = 0; ///< the position; 0 for the unbounded ones

    static constexpr Bound minvalue() { return {Kind::minvalue, 0}; }
    static constexpr Bound maxvalue() { return {Kind::maxvalue, 0}; }
    static constexpr Bound value(std::int64_t at) { return {Kind::value, at}; }
    auto operator<=>(const Bound&) const = default;
};

/// Positions from `lower` up to and without `upper`.
struct Range {
    Bound lower;
    Bound upper;
    bool contains(std::int64_t at) const {
        return lower <= Bound::value(at) && Bound::value(at) < upper;
    }
    bool overlaps(const Range& other) const { return lower < other.upper && other.lower < upper; }
    auto operator<=>(const Range&) const = default;
};

/// The text of a bound between FOR VALUES FROM's parentheses: MINVALUE, 42, or a quoted literal
/// that means the same under any TimeZone and DateStyle. `exact`: as in Member.
std::string bound_sql(KeyKind kind, const Bound& bound, const std::string& exact = {});
/// The same value for people, without quotes: "2026-12-01 00:00:00+00", "42".
std::string bound_text(KeyKind kind, const Bound& bound);
/// An instant likewise, in UTC.
std::string instant_text(Instant t);

/// One partition of a set, the default partition apart.
struct Member {
    std::uint32_t relid = 0;
    std::string name;   ///< bare and unquoted
    std::string quoted; ///< qualified and quoted
    Range range;
    /// The uuid of a bound that has more in it than a time; empty where bound_text() says all. A
    /// neighbour must repeat it to the letter.
    std::string exact_lower, exact_upper;
    bool detach_pending = false; ///< a DETACH CONCURRENTLY was interrupted
    std::int64_t pages = 0;      ///< as of the last VACUUM or ANALYZE
    std::int64_t rows = -1;      ///< as of then; -1: never counted
};

/// From when up to when rows can be: a half-open part of the time line.
struct TimeExtent {
    Instant from = minus_infinity;
    Instant to = plus_infinity;
    bool overlaps(const TimeExtent& other) const { return from < other.to && other.from < to; }
};

/// The times that the rows of a range can have; nullopt where the key is not a time. A wall clock's
/// time can be that of any zone, so for such keys it is a day more at either end.
std::optional<TimeExtent> time_extent(KeyKind kind, const Range& range);

} // namespace orchestry::base
