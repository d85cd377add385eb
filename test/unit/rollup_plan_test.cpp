// Rollups' decisions: which buckets are computed, in which batches, in what order.
#include "metrics/rollup_plan.hpp"

#include "support.hpp"
#include "system_zone.hpp"

#include <random>

namespace orchestry::metrics {
namespace {

using base::Instant;
using base::Step;
using base::TimeExtent;
using test::at;
using test::SystemZone;

constexpr Step hour{0, 0, base::us_per_hour};
constexpr std::int64_t plenty = 1'000'000'000;

RollupPolicy hourly() { return {hour, &base::utc(), std::nullopt}; }

Backlog dirty(std::initializer_list<TimeExtent> extents) {
    Backlog backlog;
    backlog.quoted = "public.r";
    for (const TimeExtent& extent : extents)
        backlog.dirty.add(extent);
    return backlog;
}

std::vector<RollupStep> refreshes(const Backlog& backlog, const RollupPolicy& policy, Instant now,
                                  std::int64_t rows = plenty) {
    std::vector<RollupStep> steps = plan(backlog, policy, now, rows);
    std::erase_if(steps,
                  [](const RollupStep& step) { return step.action != RollupAction::refresh; });
    return steps;
}

TEST(RollupPlan, NothingIsDirty) {
    const auto steps = plan(dirty({}), hourly(), at(2026, 3, 1, 10, 30), plenty);
    ASSERT_EQ(steps.size(), 1u);
    EXPECT_EQ(steps[0].action, RollupAction::leave);
}

TEST(RollupPlan, OpenBucketsStay) {
    const Instant now = at(2026, 3, 1, 10, 30);
    const auto steps = refreshes(dirty({{at(2026, 3, 1, 8), at(2026, 3, 1, 12)}}), hourly(), now);
    ASSERT_EQ(steps.size(), 1u);
    EXPECT_EQ(steps[0].extent.from, at(2026, 3, 1, 8));
    EXPECT_EQ(steps[0].extent.to, at(2026, 3, 1, 10));
    EXPECT_TRUE(refreshes(dirty({{at(2026, 3, 1, 10), at(9999, 1, 1)}}), hourly(), now).empty());
    // A bucket that ends right now is closed.
    EXPECT_EQ(refreshes(dirty({{at(2026, 3, 1, 10), at(9999, 1, 1)}}), hourly(), at(2026, 3, 1, 11))
                  .size(),
              1u);
}

TEST(RollupPlan, TheNewestComesFirst) {
    const auto steps =
        refreshes(dirty({{at(2026, 1, 1), at(2026, 1, 1, 1)}, {at(2026, 2, 1), at(2026, 2, 1, 1)}}),
                  hourly(), at(2026, 3, 1, 10, 30));
    ASSERT_EQ(steps.size(), 2u);
    EXPECT_EQ(steps[0].extent.from, at(2026, 2, 1));
    EXPECT_EQ(steps[1].extent.from, at(2026, 1, 1));
}

/// The steps cover what is dirty and closed, once, in whole buckets, newest first.
void expect_covered(const Backlog& backlog, const RollupPolicy& policy, Instant now,
                    std::int64_t rows_per_batch) {
    const base::Grid grid = policy.grid();
    const auto steps = refreshes(backlog, policy, now, rows_per_batch);
    base::InstantSet covered;
    Instant last = base::plus_infinity;
    for (const RollupStep& step : steps) {
        ASSERT_LT(step.extent.from, step.extent.to);
        EXPECT_EQ(grid.floor(step.extent.from), step.extent.from);
        EXPECT_EQ(grid.floor(step.extent.to), step.extent.to);
        EXPECT_LE(step.extent.to, last);
        EXPECT_FALSE(covered.overlaps(step.extent));
        last = step.extent.from;
        covered.add(step.extent);
        const bool is_one_bucket = grid.next(step.extent.from) == step.extent.to;
        if (!is_one_bucket) {
            double rows = 0;
            double bucket = 0;
            for (const Stretch& s : backlog.stretches) {
                const Instant lo = std::max(s.from, step.extent.from);
                const Instant hi = std::min(s.to, step.extent.to);
                const double density = s.rows / static_cast<double>(s.to.us - s.from.us);
                if (lo < hi)
                    rows += density * static_cast<double>(hi.us - lo.us);
                bucket =
                    std::max(bucket, density * static_cast<double>(grid.next(step.extent.from).us -
                                                                   step.extent.from.us));
            }
            EXPECT_LE(rows, static_cast<double>(rows_per_batch) + 3 * bucket + 3);
        }
    }
    const base::InstantSet due = closed(backlog.dirty, policy, now);
    ASSERT_EQ(covered.size(), due.size());
    EXPECT_TRUE(std::equal(
        covered.begin(), covered.end(), due.begin(),
        [](const TimeExtent& a, const TimeExtent& b) { return a.from == b.from && a.to == b.to; }));
}

TEST(RollupPlan, BatchesCoverAllThatIsDueOnceInWholeBuckets) {
    std::mt19937 random(11);
    const SystemZone berlin("Europe/Berlin");
    const std::vector<Step> steps = {hour, {0, 0, 5 * base::us_per_minute}, {0, 1, 0}, {1, 0, 0}};
    for (int round = 0; round < 300; ++round) {
        const RollupPolicy policy{steps[random() % steps.size()], &berlin, std::nullopt};
        const base::Grid grid = policy.grid();
        const Instant start = at(2026, 3, 1);
        Backlog backlog;
        Instant t = start;
        for (unsigned i = random() % 5; i > 0; --i) {
            t.us += static_cast<std::int64_t>(random() % 20) * base::us_per_day;
            const Instant from = t;
            t.us += static_cast<std::int64_t>(1 + random() % 60) * base::us_per_hour;
            backlog.stretches.push_back({from, t, static_cast<double>(random() % 100'000)});
        }
        for (unsigned i = random() % 5; i > 0; --i) {
            const Instant from{start.us +
                               static_cast<std::int64_t>(random() % 2400) * base::us_per_hour};
            const Instant to{from.us +
                             static_cast<std::int64_t>(random() % 900) * base::us_per_hour};
            backlog.dirty.add({grid.floor(from), grid.ceil(to)});
        }
        const Instant now{start.us +
                          static_cast<std::int64_t>(random() % 3000) * base::us_per_hour};
        expect_covered(backlog, policy, now, 1 + static_cast<std::int64_t>(random() % 50'000));
    }
}

TEST(RollupPlan, ABacklogOfAllTimeIsCutOnlyWhereThereAreRows) {
    Backlog backlog = dirty({{at(1, 1, 1), at(9999, 1, 1)}});
    backlog.stretches = {{at(2026, 1, 1), at(2026, 1, 11), 1000}};
    const auto steps = refreshes(backlog, hourly(), at(2026, 2, 1), 100);
    ASSERT_GE(steps.size(), 9u);
    EXPECT_LE(steps.size(), 12u);
    EXPECT_EQ(steps.front().extent.to, at(2026, 2, 1));
    EXPECT_EQ(steps.back().extent.from, at(1, 1, 1));
    expect_covered(backlog, hourly(), at(2026, 2, 1), 100);
}

TEST(RollupPlan, BucketsPastKeepAreRemovedWhole) {
    const SystemZone berlin("Europe/Berlin");
    Backlog backlog = dirty({});
    backlog.oldest = at(2026, 1, 1);
    const RollupPolicy policy{{0, 1, 0}, &berlin, base::Span{0, 30, 0}};
    const auto steps = plan(backlog, policy, at(2026, 3, 15, 12), plenty);
    ASSERT_EQ(steps.size(), 1u);
    EXPECT_EQ(steps[0].action, RollupAction::expire);
    EXPECT_EQ(steps[0].extent.to, at(2026, 2, 12, 23)); // midnight in Berlin
    backlog.oldest = at(2026, 2, 12, 23);
    EXPECT_EQ(plan(backlog, policy, at(2026, 3, 15, 12), plenty)[0].action, RollupAction::leave);
}

} // namespace
} // namespace orchestry::metrics
