#include "metrics/time_buckets.hpp"

namespace orchestry::metrics {

TimeBuckets::TimeBuckets(const base::Span& width, const std::string& time_zone)
    : zone_(time_zone), grid_(zone_, base::make_step(width.months, width.days, width.us, "width")) {
}

void TimeBuckets::find(base::Instant t) {
    if (!base::is_finite(t)) {
        lower_ = upper_ = t;
        return;
    }
    const base::Instant lower = grid_.floor(t);
    upper_ = grid_.next(t);
    lower_ = lower;
}

} // namespace orchestry::metrics
