// Time zones for tests, from the system's database (package tzdata), read without the C library so
// that the two can be compared.
#pragma once

#include "base/time.hpp"
#include "base/zone.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace orchestry::test {

/// A zone of the system's database: the file's table of changes, then its rule for ever after.
class SystemZone final : public base::Zone {
  public:
    /// Throws std::runtime_error when there is no such zone or its file cannot be read.
    explicit SystemZone(const std::string& name);

    std::int64_t offset_at(base::Instant t) const override;

    /// The instants in [from, until) at which the offset changes.
    std::vector<base::Instant> changes(base::Instant from, base::Instant until) const;

  private:
    /// "Mm.w.d/time" of a POSIX TZ string: a day of the year and a wall-clock time on it.
    struct YearlyDate {
        int month;
        int week; // 5 is the last
        int weekday;
        std::int64_t time_s;
        std::int64_t local_s(int year) const; // since 2000-01-01
    };
    struct Change {
        std::int64_t unix_s;
        std::int64_t offset_s;
    };
    void read_rule(const std::string& posix_tz);
    std::int64_t offset_by_rule(std::int64_t unix_s) const;

    std::int64_t first_offset_s_ = 0;
    std::vector<Change> table_;
    bool has_summer_time_ = false;
    std::int64_t standard_offset_s_ = 0;
    std::int64_t summer_offset_s_ = 0;
    YearlyDate summer_start_{};
    YearlyDate summer_end_{};
};

/// The names of the zones that stand for all places on Earth (zone1970.tab), sorted.
std::vector<std::string> all_zone_names();

} // namespace orchestry::test
