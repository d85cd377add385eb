// PostgreSQL's own time zone rules behind base::Zone, so that partitions, schedules and the
// server's functions can never disagree about an hour.
#pragma once

#include "base/zone.hpp"
#include "pg/guard.hpp"

namespace orchestry::pg {

class ServerZone : public base::Zone {
  public:
    /// Raises 22023 when the server does not know the zone or it counts leap seconds.
    explicit ServerZone(const std::string& name);

    std::int64_t offset_at(base::Instant instant) const override;
    /// The zone's name in the spelling of the tz database.
    std::string name() const;

  private:
    pg_tz* zone_; // owned by the server's cache for the life of the process
};

} // namespace orchestry::pg
