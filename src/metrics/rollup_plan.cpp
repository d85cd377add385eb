#include "metrics/rollup_plan.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>

namespace orchestry::metrics {

using base::Instant;
using base::TimeExtent;

namespace {

class Planner {
  public:
    Planner(const Backlog& backlog, const RollupPolicy& policy, Instant now,
            std::int64_t rows_per_batch)
        : backlog_(backlog), policy_(policy), grid_(policy.grid()), now_(now),
          limit_(static_cast<double>(std::max<std::int64_t>(rows_per_batch, 1))) {}

    std::vector<RollupStep> all();

  private:
    void refresh(const TimeExtent& extent);
    Instant cut(const Stretch& stretch, Instant upper, double room) const;
    void add(const TimeExtent& extent, double rows);
    void expire();
    void leave(std::string reason);
    struct Edge {
        Instant at;
        const RollupReader* of; ///< nullptr: of all readers
    };
    Edge common_edge(Instant t) const;

    const Backlog& backlog_;
    const RollupPolicy& policy_;
    const base::Grid grid_;
    const Instant now_;
    const double limit_;
    std::vector<RollupStep> steps_;
};

RollupStep refresh_of(const TimeExtent& extent) {
    RollupStep step;
    step.action = RollupAction::refresh;
    step.extent = extent;
    step.reason = "rows have changed between " + instant_text(extent.from) + " and " +
                  instant_text(extent.to);
    return step;
}

void Planner::add(const TimeExtent& extent, double rows) {
    RollupStep step = refresh_of(extent);
    step.rows = std::llround(rows);
    steps_.push_back(std::move(step));
}

/// Where a batch that ends at `upper` begins, so that it has room for that many rows of the
/// stretch: a bound of a bucket, one bucket before `upper` at least.
Instant Planner::cut(const Stretch& stretch, Instant upper, double room) const {
    const double length = static_cast<double>(stretch.to.us - stretch.from.us);
    const double room_us = room / stretch.rows * length;
    const Instant ideal{upper.us - static_cast<std::int64_t>(std::max(room_us, 0.0))};
    return std::min(grid_.floor(ideal), grid_.floor({upper.us - 1}));
}

/// Cuts an interval of dirty buckets where enough rows have come together, from the end, because
/// what is new is what is read.
void Planner::refresh(const TimeExtent& extent) {
    Instant upper = extent.to; // of the batch that is being filled
    double rows = 0;           // that it has so far
    for (auto it = backlog_.stretches.rbegin(); it != backlog_.stretches.rend(); ++it) {
        if (!extent.overlaps({it->from, it->to}) || it->rows <= 0)
            continue;
        const double density = it->rows / static_cast<double>(it->to.us - it->from.us);
        const Instant lowest = std::max(it->from, extent.from);
        Instant at = std::min(it->to, extent.to); // rows from here on are counted
        for (;;) {
            const double left = density * static_cast<double>(at.us - lowest.us);
            if (rows + left <= limit_) {
                rows += left;
                break;
            }
            const Instant lower = cut(*it, std::min(at, upper), limit_ - rows);
            if (lower <= lowest) {
                rows += left;
                break;
            }
            add({lower, upper},
                rows + density * static_cast<double>(std::max<std::int64_t>(at.us - lower.us, 0)));
            upper = at = lower;
            rows = 0;
        }
    }
    add({extent.from, upper}, rows);
}

void Planner::expire() {
    if (!policy_.keep || !backlog_.oldest)
        return;
    const Instant past = end_of_past(policy_, now_);
    if (past <= *backlog_.oldest)
        return;
    Edge edge = common_edge(past);
    const std::optional<Unread> waits = unread(backlog_, edge.at);
    if (waits)
        edge = common_edge(std::max(waits->from, *backlog_.oldest));
    const Instant horizon = edge.at;
    const std::string kept = "buckets from " + instant_text(std::max(horizon, *backlog_.oldest)) +
                             " on are past \"keep\", but ";
    if (const RollupReader* reader = unended(backlog_.readers, horizon)) {
        leave("no bucket past \"keep\" is removed: one of rollup " + edge.of->quoted + " ends at " +
              instant_text(horizon) + ", in the middle of one of rollup " + reader->quoted);
        return;
    }
    if (*backlog_.oldest < horizon) {
        RollupStep step;
        step.action = RollupAction::expire;
        step.extent = {*backlog_.oldest, horizon};
        step.reason = "buckets before " + instant_text(horizon) + " are past \"keep\"";
        steps_.push_back(std::move(step));
    }
    if (waits)
        leave(kept + "wait to be part of rollup " + waits->quoted);
    else if (horizon < past)
        leave(kept + "stay until all of the bucket of rollup " + edge.of->quoted +
              " that ends at " + instant_text(edge.of->grid.next(horizon)) + " is");
}

void Planner::leave(std::string reason) {
    RollupStep step;
    step.reason = std::move(reason);
    steps_.push_back(std::move(step));
}

/// The latest instant up to `t` at which buckets of all readers end: that of the coarsest one,
/// since they nest.
Planner::Edge Planner::common_edge(Instant t) const {
    Edge edge{t, nullptr};
    for (const RollupReader& reader : backlog_.readers)
        if (const Instant end = reader.grid.floor(t); end < edge.at)
            edge = {end, &reader};
    return edge;
}

std::vector<RollupStep> Planner::all() {
    const base::InstantSet extents = due(backlog_, policy_, now_);
    for (auto it = extents.end(); it != extents.begin();)
        refresh(*--it);
    base::InstantSet waiting = backlog_.unready;
    waiting.remove({grid_.floor(now_), base::plus_infinity});
    if (!waiting.empty())
        leave("buckets from " + instant_text(waiting.begin()->from) +
              " on wait for the rollup that they are made of");
    expire();
    if (steps_.empty())
        leave("all buckets that ended before " + instant_text(grid_.floor(now_)) + " are right");
    return std::move(steps_);
}

} // namespace

Instant end_of_past(const RollupPolicy& policy, Instant now) {
    return policy.grid().floor(base::subtract(*policy.zone, now, *policy.keep));
}

void check_keep(const RollupPolicy& policy, Instant now) {
    if (!policy.keep)
        return;
    try {
        (void)end_of_past(policy, now);
    } catch (const base::Error& error) {
        throw base::Error(error.sqlstate(), "\"keep\" goes further than time does")
            .hint("Use a shorter interval, or NULL to keep buckets for good.");
    }
}

const char* to_string(RollupAction action) {
    switch (action) {
    case RollupAction::refresh:
        return "refresh";
    case RollupAction::expire:
        return "expire";
    case RollupAction::leave:
        return "leave";
    }
    return "";
}

std::vector<RollupStep> cut(const RollupStep& step, const std::vector<Instant>& at) {
    std::vector<Instant> edges = {step.extent.from, step.extent.to};
    std::copy_if(at.begin(), at.end(), std::back_inserter(edges),
                 [&](Instant t) { return t > step.extent.from && t < step.extent.to; });
    std::sort(edges.begin(), edges.end(), std::greater());
    edges.erase(std::unique(edges.begin(), edges.end()), edges.end());
    std::vector<RollupStep> parts;
    if (step.action == RollupAction::refresh && edges.size() > 2)
        for (std::size_t i = 0; i + 1 < edges.size(); ++i)
            parts.push_back(refresh_of({edges[i + 1], edges[i]}));
    return parts;
}

std::vector<RollupStep> halves(const RollupStep& step, const base::Grid& grid) {
    const TimeExtent& extent = step.extent;
    const Instant middle = grid.floor({extent.from.us + (extent.to.us - extent.from.us) / 2});
    return cut(step, {middle > extent.from ? middle : grid.next(extent.from)});
}

// A bucket that is not ready would have to be computed again when it is.
base::InstantSet due(const Backlog& backlog, const RollupPolicy& policy, Instant now) {
    base::InstantSet extents = backlog.dirty;
    extents.remove({policy.grid().floor(now), base::plus_infinity});
    extents.remove(backlog.unready);
    return extents;
}

std::optional<Unread> unread(const Backlog& backlog, Instant before) {
    std::optional<Unread> first;
    const auto look = [&](const base::InstantSet& times, const std::string& quoted) {
        if (!times.empty() && times.begin()->from < (first ? first->from : before))
            first = {quoted, times.begin()->from};
    };
    if (backlog.readers.empty())
        return first;
    look(backlog.dirty, backlog.quoted);
    look(backlog.unready, backlog.quoted);
    for (const RollupReader& reader : backlog.readers)
        look(reader.unread, reader.quoted);
    return first;
}

const RollupReader* unended(const std::vector<RollupReader>& readers, Instant t) {
    const auto found =
        std::find_if(readers.begin(), readers.end(),
                     [&](const RollupReader& reader) { return reader.grid.floor(t) != t; });
    return found == readers.end() ? nullptr : &*found;
}

std::optional<Instant> first_misfit(const base::Grid& finer, const base::Grid& coarser) {
    const std::int64_t finer_us = finer.step().us, coarser_us = coarser.step().us;
    if (finer_us > 0 && coarser_us > 0 && coarser_us % finer_us == 0)
        return std::nullopt; // counted from the same instant
    for (Instant t = coarser.ceil(nesting_times.from); t < nesting_times.to; t = coarser.next(t))
        if (finer.floor(t) != t)
            return t;
    return std::nullopt;
}

std::optional<Instant> first_clash(const base::Grid& a, const base::Grid& b) {
    const std::optional<Instant> misfit = first_misfit(a, b);
    return misfit && first_misfit(b, a) ? misfit : std::nullopt;
}

std::vector<RollupStep> plan(const Backlog& backlog, const RollupPolicy& policy, Instant now,
                             std::int64_t rows_per_batch) {
    return Planner(backlog, policy, now, rows_per_batch).all();
}

} // namespace orchestry::metrics
