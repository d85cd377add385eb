// time_bucket(): the aligned interval of a width that an instant lies in.
#pragma once

#include "base/grid.hpp"
#include "pg/zone.hpp"

#include <string>

namespace orchestry::metrics {

/// Buckets of one width in one zone. The last one is remembered: rows that come in the order of
/// their times mostly share it.
class TimeBuckets {
  public:
    /// Error 22023 for a width that is not a positive interval of one unit, or an unknown zone.
    TimeBuckets(const base::Span& width, const std::string& time_zone);
    // The grid keeps a pointer to the zone.
    TimeBuckets(const TimeBuckets&) = delete;
    TimeBuckets& operator=(const TimeBuckets&) = delete;

    /// The start of the bucket of `t`; the infinities are their own. Error 22008 near the ends of
    /// PostgreSQL's range.
    base::Instant start_of(base::Instant t) {
        if (!(t >= lower_ && t < upper_))
            find(t);
        return lower_;
    }
    /// The first bound at or after `t`; errors likewise.
    base::Instant ceiling_of(base::Instant t) { return start_of(t) == t ? t : upper_; }

  private:
    void find(base::Instant t);

    pg::ServerZone zone_;
    base::Grid grid_;
    base::Instant lower_ = base::plus_infinity;
    base::Instant upper_ = base::plus_infinity;
};

} // namespace orchestry::metrics
