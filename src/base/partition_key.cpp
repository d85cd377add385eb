#include "base/partition_key.hpp"

#include "base/arith.hpp"
#include "base/civil.hpp"

#include <algorithm>

namespace orchestry::base {

namespace {

constexpr std::int64_t unix_epoch_offset_us = unix_epoch_offset_s * us_per_second;

constexpr bool counts_from_2000(KeyKind kind) {
    return kind == KeyKind::timestamptz || kind == KeyKind::timestamp || kind == KeyKind::date;
}

/// "y-m-d h:m:s" with as much of a fraction as there is, and what PostgreSQL writes for infinities.
std::string timestamp_text(std::int64_t us) {
    if (us == lowest_position)
        return "-infinity";
    if (us == highest_position)
        return "infinity";
    return to_string(LocalTime{us});
}

/// The date part of a timestamp's text: all but the time of day, which a BC suffix may follow.
std::string date_text(std::int64_t days) {
    std::string text = timestamp_text(saturating_multiply(days, us_per_day));
    const std::size_t time = text.find(" 00:00:00");
    return time == std::string::npos ? text : text.erase(time, 9);
}

/// A time zone's offset goes before the suffix of a year before Christ.
std::string with_utc_offset(std::string text) {
    if (text.find("infinity") != std::string::npos)
        return text;
    const std::size_t suffix = text.find(" BC");
    return text.insert(suffix == std::string::npos ? text.size() : suffix, "+00");
}

/// The least uuid of a millisecond.
std::string uuid_text(std::int64_t unix_ms) {
    constexpr int digits_of_time = 12;
    std::string text = "00000000-0000-0000-0000-000000000000";
    std::size_t place = 0;
    for (int shift = 4 * (digits_of_time - 1); shift >= 0; shift -= 4) {
        if (text[place] == '-')
            ++place;
        text[place++] = "0123456789abcdef"[(unix_ms >> shift) & 0xf];
    }
    return text;
}

} // namespace

Instant instant_of(KeyKind kind, std::int64_t position) {
    std::int64_t us = kind == KeyKind::epoch_ns ? floor_div(position, 1'000)
                                                : saturating_multiply(position, unit_us(kind));
    if (!counts_from_2000(kind))
        us = saturating_subtract(us, unix_epoch_offset_us);
    return {std::clamp(us, min_instant.us, end_instant.us - 1)};
}

std::int64_t position_of(KeyKind kind, Instant instant) {
    const std::int64_t us =
        counts_from_2000(kind) ? instant.us : saturating_add(instant.us, unix_epoch_offset_us);
    return kind == KeyKind::epoch_ns ? saturating_multiply(us, 1'000)
                                     : floor_div(us, unit_us(kind));
}

std::int64_t position_at(KeyKind kind, const Zone& zone, Instant instant) {
    return position_of(kind, is_wall_clock(kind) ? Instant{to_local(zone, instant).us} : instant);
}

std::int64_t horizon(KeyKind kind, const Zone& zone, Instant now, const Span& keep) {
    // On a wall clock's axis the clock's time stands for an instant, and no day is 23 hours long.
    const Instant here = is_wall_clock(kind) ? Instant{to_local(zone, now).us} : now;
    return position_of(kind, subtract(axis_zone(kind, zone), here, keep));
}

const Zone& axis_zone(KeyKind kind, const Zone& zone) { return is_wall_clock(kind) ? utc() : zone; }

std::string bound_text(KeyKind kind, const Bound& bound) {
    if (bound.kind != Bound::Kind::value)
        return bound.kind == Bound::Kind::minvalue ? "MINVALUE" : "MAXVALUE";
    switch (kind) {
    case KeyKind::timestamptz:
        return with_utc_offset(timestamp_text(bound.at));
    case KeyKind::timestamp:
        return timestamp_text(bound.at);
    case KeyKind::date:
        return date_text(bound.at);
    case KeyKind::uuid_v7:
        return uuid_text(bound.at);
    default:
        return std::to_string(bound.at);
    }
}

std::string instant_text(Instant t) { return bound_text(KeyKind::timestamptz, Bound::value(t.us)); }

std::string bound_sql(KeyKind kind, const Bound& bound, const std::string& exact) {
    const std::string text = exact.empty() ? bound_text(kind, bound) : exact;
    const bool is_number = kind != KeyKind::uuid_v7 && !counts_from_2000(kind);
    return bound.kind != Bound::Kind::value || is_number ? text : "'" + text + "'";
}

std::optional<TimeExtent> time_extent(KeyKind kind, const Range& range) {
    if (!is_time(kind))
        return std::nullopt;
    const std::int64_t doubt_us = is_wall_clock(kind) ? us_per_day : 0;
    TimeExtent extent;
    if (range.lower.kind == Bound::Kind::value)
        extent.from.us = saturating_subtract(instant_of(kind, range.lower.at).us, doubt_us);
    if (range.upper.kind == Bound::Kind::value)
        extent.to.us = saturating_add(instant_of(kind, range.upper.at).us, doubt_us);
    return extent;
}

} // namespace orchestry::base
