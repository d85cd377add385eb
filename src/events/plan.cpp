#include "events/plan.hpp"

#include "base/arith.hpp"
#include "base/partition_key.hpp"

#include <algorithm>
#include <cmath>

namespace orchestry::events {

using base::Instant;

namespace {

std::string text_of(Instant t) {
    return base::bound_text(base::KeyKind::timestamptz, base::Bound::value(t.us));
}

std::string counted(std::int64_t count, const char* noun) {
    return std::to_string(count) + ' ' + noun + (count == 1 ? "" : "s");
}

/// The sum of a part of a sample, and what it stands for.
class Portion {
  public:
    explicit Portion(double fraction) : fraction_(fraction) {}

    void add(const SampledBucket& bucket) {
        rows_ += bucket.rows;
        groups_ += bucket.groups;
        singles_ += bucket.singles;
        ++buckets_;
    }
    std::int64_t rows() const { return std::llround(static_cast<double>(rows_) / fraction_); }
    std::int64_t groups() const {
        return estimated_groups(rows_, groups_, singles_, static_cast<double>(rows_) / fraction_);
    }
    /// "about 1200 rows in 3 buckets of 1 hour become about 40"
    std::string describe(const base::Step& bucket) const {
        const std::string about = fraction_ < 1 ? "about " : "";
        const std::string in = fraction_ < 1 ? " in at least " : " in ";
        return about + counted(rows(), "row") + in + counted(buckets_, "bucket") + " of " +
               base::to_string(bucket) + (rows() == 1 ? " becomes " : " become ") + about +
               std::to_string(groups());
    }

  private:
    double fraction_;
    std::int64_t rows_ = 0, groups_ = 0, singles_ = 0, buckets_ = 0;
};

/// "12.5 to 1"
std::string ratio(std::int64_t rows, std::int64_t groups) {
    const std::int64_t tenths = (10 * rows + groups / 2) / std::max<std::int64_t>(groups, 1);
    return std::to_string(tenths / 10) + '.' + std::to_string(tenths % 10) + " to 1";
}

class Planner {
  public:
    Planner(const Source& source, const Policy& policy, Instant now)
        : source_(source), policy_(policy), grid_(policy.grid()), end_(horizon(policy, now)) {}

    std::vector<PlannedStep> all();

  private:
    void leave(std::string reason, std::string blocked_by = {});
    void expect();
    void compress(Instant lower, Instant upper, const Portion& portion, bool is_sampled);
    void compress_all();

    const Source& source_;
    const Policy& policy_;
    const base::Grid grid_;
    const Instant end_;
    std::vector<PlannedStep> steps_;
};

void Planner::leave(std::string reason, std::string blocked_by) {
    PlannedStep step;
    step.reason = std::move(reason);
    step.blocked_by = std::move(blocked_by);
    steps_.push_back(std::move(step));
}

/// What all steps together come to.
void Planner::expect() {
    Portion all(source_.fraction);
    for (const SampledBucket& bucket : source_.sample)
        all.add(bucket);
    if (all.rows() == 0)
        return;
    const std::int64_t percent = std::max<std::int64_t>(std::llround(100 * source_.fraction), 1);
    leave("to be expected: " + all.describe(policy_.bucket) + " in " + source_.target + ", " +
          ratio(all.rows(), all.groups()) +
          (source_.fraction < 1
               ? "; estimated from a sample of " + std::to_string(percent) + " percent"
               : ""));
}

void Planner::compress(Instant lower, Instant upper, const Portion& portion, bool is_sampled) {
    PlannedStep step;
    step.action = Action::compress;
    step.lower = lower;
    step.upper = upper;
    step.reason = "from " + text_of(lower) + " up to " + text_of(upper);
    if (is_sampled) {
        step.rows = portion.rows();
        step.reason += ": " + portion.describe(policy_.bucket);
    }
    step.blocked_by = source_.obstacle;
    steps_.push_back(std::move(step));
}

/// Cuts the time from the oldest row to the horizon where enough rows have come together, so that
/// nothing between is left out, whatever the sample has missed.
void Planner::compress_all() {
    const base::Step& bucket = policy_.bucket;
    const std::int64_t limit_us =
        bucket.us > 0 ? base::end_instant.us
                      : base::saturating_multiply((bucket.days + 28 * std::int64_t{bucket.months}) *
                                                      base::us_per_day,
                                                  calendar_buckets_per_step);
    Instant lower = grid_.floor(*source_.oldest);
    auto next = source_.sample.begin();
    while (lower < end_) {
        const Instant limit{
            std::min(base::saturating_add(lower.us, limit_us), base::end_instant.us - 1)};
        Portion portion(source_.fraction);
        bool is_sampled = false;
        Instant upper = end_;
        for (; next != source_.sample.end(); ++next) {
            const bool is_full = is_sampled && portion.rows() >= rows_per_step;
            if (next->start > lower && (is_full || next->start > limit)) {
                upper = next->start;
                break;
            }
            portion.add(*next);
            is_sampled = true;
        }
        if (upper > limit)
            upper = grid_.floor(limit);
        compress(lower, upper, portion, is_sampled);
        lower = upper;
    }
}

std::vector<PlannedStep> Planner::all() {
    if (!source_.held.empty()) {
        leave("all its rows are held", source_.held);
        return std::move(steps_);
    }
    if (!source_.oldest) {
        leave("no row is in a bucket that ended before " + text_of(end_));
        return std::move(steps_);
    }
    expect();
    compress_all();
    return std::move(steps_);
}

} // namespace

const char* to_string(Action action) {
    switch (action) {
    case Action::compress:
        return "compress";
    case Action::leave:
        return "leave";
    }
    return "";
}

void check_not_negative(const base::Span& span, const char* what) {
    if (span.months >= 0 && span.days >= 0 && span.us >= 0)
        return;
    throw base::Error(base::errc::invalid_parameter,
                      std::string("\"") + what + "\" must not be negative")
        .hint("Use an interval such as '30 days'.");
}

Instant horizon(const Policy& policy, Instant now) {
    return policy.grid().floor(base::subtract(*policy.zone, now, policy.older_than));
}

std::int64_t estimated_groups(std::int64_t rows, std::int64_t groups, std::int64_t singles,
                              double total) {
    if (groups == 0)
        return 0;
    const double n = static_cast<double>(rows);
    const double d = static_cast<double>(groups);
    const double f1 = static_cast<double>(singles);
    return std::llround(std::clamp(n * d / (n - f1 + f1 * n / total), d, std::max(total, d)));
}

std::vector<PlannedStep> plan(const Source& source, const Policy& policy, Instant now) {
    return Planner(source, policy, now).all();
}

} // namespace orchestry::events
