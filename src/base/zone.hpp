// Time zones: from instants to wall clocks and back.
#pragma once

#include "base/time.hpp"

#include <cstdint>

namespace orchestry::base {

/// Rules of one IANA zone. The server's implementation asks PostgreSQL's own time zone database;
/// tests bring theirs. It is expected that a zone's offset changes at whole seconds, at most once
/// in 48 hours, and is never a day or more, as in all of that database.
class Zone {
  public:
    Zone() = default;
    Zone(const Zone&) = default;
    Zone& operator=(const Zone&) = default;
    virtual ~Zone() = default;

    /// Seconds east of UTC in force at an instant, which may lie two days out of PostgreSQL's
    /// range.
    virtual std::int64_t offset_at(Instant t) const = 0;
};

/// The zone whose offset is always 0.
const Zone& utc();

/// What the zone's wall clock shows. Error 22008 when `t` is infinite or out of range.
LocalTime to_local(const Zone& zone, Instant t);

/// The first instant at which the zone's wall clock shows `local` or later. So of a time that comes
/// twice (autumn) it is the earlier one, and for a time that never comes (spring, or a calendar day
/// that a zone skipped) it is the instant at which the clock jumped over it. Never decreasing in
/// `local`. Error 22008 when out of range.
Instant to_instant(const Zone& zone, LocalTime local);

/// The instant of the change of offset in (before, after]: the first with another offset than that
/// of `before`. There must be exactly one change.
Instant offset_change(const Zone& zone, Instant before, Instant after);

} // namespace orchestry::base
