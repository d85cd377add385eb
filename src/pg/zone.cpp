#include "pg/zone.hpp"

#include "pg/error.hpp"

namespace orchestry::pg {

namespace {

pg_tz* find_zone(const std::string& name) {
    pg_tz* const zone = protect([&] { return pg_tzset(name.c_str()); });
    if (!zone || !pg_tz_acceptable(zone))
        throw base::Error(base::errc::invalid_parameter, "unknown time zone \"" + name + "\"")
            .hint("Use an IANA name: SELECT name FROM pg_timezone_names ORDER BY name;");
    return zone;
}

} // namespace

ServerZone::ServerZone(const std::string& name) : zone_(find_zone(name)) {}

std::int64_t ServerZone::offset_at(base::Instant instant) const {
    const pg_time_t seconds = base::to_unix_seconds(instant);
    const pg_tm* const local = pg_localtime(&seconds, zone_);
    return local ? local->tm_gmtoff : 0; // no year overflows within the two days allowed for
}

std::string ServerZone::name() const { return pg_get_timezone_name(zone_); }

} // namespace orchestry::pg
