#include "events/plan.hpp"

#include "base/arith.hpp"
#include "base/partition_key.hpp"

#include <algorithm>
#include <cmath>

namespace orchestry::events {

using base::Instant;

namespace {

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
    /// Rows of a group lie close together, and a sample of whole blocks may have found all that
    /// there are of some groups and nothing of others.
    std::int64_t most_groups() const {
        const double groups = static_cast<double>(groups_) / fraction_;
        return std::min<std::int64_t>(std::llround(groups), rows());
    }
    /// "about 1200 rows in at least 3 buckets of 1 hour become 40 to 300"
    std::string describe(const base::Step& bucket) const {
        const std::string about = fraction_ < 1 ? "about " : "";
        const std::string in = fraction_ < 1 ? " in at least " : " in ";
        return about + counted(rows(), "row") + in + counted(buckets_, "bucket") + " of " +
               base::to_string(bucket) + (rows() == 1 ? " becomes " : " become ") +
               std::to_string(groups()) +
               (most_groups() > groups() ? " to " + std::to_string(most_groups()) : "");
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
    void leave_unread();
    PlannedStep& add(Action action, const std::string& object, std::string reason);
    void expect(const Segment& segment);
    void compress(const Segment& segment, Instant lower, Instant upper, const Portion& portion,
                  bool is_sampled);
    void compress_all(const Segment& segment);
    void compress_partition(const Whole& whole);

    const Source& source_;
    const Policy& policy_;
    const base::Grid grid_;
    const Instant end_;
    std::vector<PlannedStep> steps_;
};

PlannedStep& Planner::add(Action action, const std::string& object, std::string reason) {
    PlannedStep step;
    step.action = action;
    step.object = object;
    step.reason = std::move(reason);
    if (action != Action::leave)
        step.blocked_by = source_.obstacle;
    steps_.push_back(std::move(step));
    return steps_.back();
}

void Planner::leave(std::string reason, std::string blocked_by) {
    add(Action::leave, source_.quoted, std::move(reason)).blocked_by = std::move(blocked_by);
}

/// It is not known what there is, but the run is to say that it was not taken.
void Planner::leave_unread() {
    PlannedStep& step =
        add(Action::compress, source_.quoted, "what is before " + instant_text(end_));
    step.lower = grid_.floor({end_.us - 1});
    step.from = base::minus_infinity;
    step.upper = end_;
    step.blocked_by = source_.stranger;
}

/// What all steps of a segment together come to.
void Planner::expect(const Segment& segment) {
    Portion all(segment.fraction);
    for (const SampledBucket& bucket : segment.sample)
        all.add(bucket);
    if (all.rows() == 0)
        return;
    const std::int64_t percent = std::max<std::int64_t>(std::llround(100 * segment.fraction), 1);
    leave("to be expected: " + all.describe(policy_.bucket) + " in " + source_.target + ", " +
          (segment.fraction < 1 ? "at least " : "") + ratio(all.rows(), all.most_groups()) +
          (segment.fraction < 1
               ? "; estimated from a sample of " + std::to_string(percent) + " percent"
               : ""));
}

void Planner::compress(const Segment& segment, Instant lower, Instant upper, const Portion& portion,
                       bool is_sampled) {
    const Instant from = std::max(lower, segment.from);
    PlannedStep& step = add(Action::compress, source_.quoted,
                            "from " + instant_text(from) + " up to " + instant_text(upper));
    step.lower = lower;
    step.from = from;
    step.upper = upper;
    if (is_sampled) {
        step.rows = portion.rows();
        step.reason += ": " + portion.describe(policy_.bucket);
    }
}

void Planner::compress_partition(const Whole& whole) {
    PlannedStep& step =
        add(Action::compress_partition, whole.quoted,
            "ends at " + instant_text(whole.to) + ", and buckets that ended before " +
                instant_text(end_) + " are closed: it is summed up as a whole and emptied");
    step.relid = whole.relid;
    step.lower = grid_.floor(whole.from);
    step.from = whole.from;
    step.upper = whole.to;
    if (whole.rows >= 0)
        step.rows = whole.rows;
}

/// Cuts the time from the oldest row to the end of the segment where enough rows have come
/// together, so that nothing between is left out, whatever the sample has missed.
void Planner::compress_all(const Segment& segment) {
    const base::Step& bucket = policy_.bucket;
    const std::int64_t limit_us =
        bucket.us > 0 ? base::end_instant.us
                      : base::saturating_multiply((bucket.days + 28 * std::int64_t{bucket.months}) *
                                                      base::us_per_day,
                                                  calendar_buckets_per_step);
    Instant lower = grid_.floor(*segment.oldest);
    auto next = segment.sample.begin();
    while (lower < segment.to) {
        const Instant limit{
            std::min(base::saturating_add(lower.us, limit_us), base::end_instant.us - 1)};
        Portion portion(segment.fraction);
        bool is_sampled = false;
        Instant upper = segment.to;
        for (; next != segment.sample.end(); ++next) {
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
        compress(segment, lower, upper, portion, is_sampled);
        lower = upper;
    }
}

std::vector<PlannedStep> Planner::all() {
    if (!source_.held.empty()) {
        leave("all its rows are held", source_.held);
        return std::move(steps_);
    }
    if (!source_.stranger.empty()) {
        leave_unread();
        return std::move(steps_);
    }
    for (const Whole& whole : source_.wholes)
        compress_partition(whole);
    for (const Segment& segment : source_.segments)
        if (segment.oldest) {
            expect(segment);
            compress_all(segment);
        }
    if (steps_.empty())
        leave("no row is in a bucket that ended before " + instant_text(end_));
    return std::move(steps_);
}

} // namespace

const char* to_string(Action action) {
    switch (action) {
    case Action::compress:
        return "compress";
    case Action::compress_partition:
        return "compress partition";
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

std::vector<Segment> segments_beside(const std::vector<Whole>& wholes, Instant end) {
    std::vector<Segment> segments;
    Instant from = base::minus_infinity;
    for (const Whole& whole : wholes) {
        if (from < whole.from)
            segments.push_back({from, whole.from, {}, {}, 1});
        from = whole.to;
    }
    if (from < end)
        segments.push_back({from, end, {}, {}, 1});
    return segments;
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
