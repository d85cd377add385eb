// Event compression's decisions: which buckets are closed, and in what portions they go.
#include "events/plan.hpp"

#include "support.hpp"
#include "system_zone.hpp"

#include <random>

namespace orchestry::events {
namespace {

using base::Instant;
using base::Step;
using test::at;
using test::contains;
using test::SystemZone;

constexpr Step hours(std::int64_t n) { return {0, 0, n * base::us_per_hour}; }
constexpr Step days(int n) { return {0, n, 0}; }
constexpr Step months(int n) { return {n, 0, 0}; }

Policy policy(const Step& bucket, const base::Span& older_than = {0, 30, 0},
              const base::Zone& zone = base::utc()) {
    return {older_than, bucket, &zone};
}

/// A source whose rows are all taken one by one, up to what plan_of() says.
Source source(Instant oldest, std::vector<SampledBucket> sample = {}) {
    Source source;
    source.quoted = "public.ev";
    source.target = "public.ev_compressed";
    source.segments = {{base::minus_infinity, {0}, oldest, std::move(sample), 1}};
    return source;
}

std::vector<PlannedStep> plan_of(Source source, const Policy& policy, Instant now) {
    source.segments.back().to = horizon(policy, now);
    return plan(source, policy, now);
}

std::vector<PlannedStep> taken(const Source& source, const Policy& policy, Instant now) {
    std::vector<PlannedStep> steps = plan_of(source, policy, now);
    std::erase_if(steps, [](const PlannedStep& step) { return step.action == Action::leave; });
    return steps;
}

/// Whether the steps cover the time from the bucket of `oldest` up to the horizon, once, in order,
/// and in whole buckets.
void expect_all_covered(const std::vector<PlannedStep>& steps, const Policy& policy, Instant oldest,
                        Instant now) {
    ASSERT_FALSE(steps.empty());
    const base::Grid grid = policy.grid();
    EXPECT_EQ(steps.front().lower, grid.floor(oldest));
    EXPECT_EQ(steps.back().upper, horizon(policy, now));
    for (std::size_t i = 0; i < steps.size(); ++i) {
        EXPECT_LT(steps[i].lower, steps[i].upper);
        EXPECT_EQ(grid.floor(steps[i].lower), steps[i].lower);
        EXPECT_EQ(grid.floor(steps[i].upper), steps[i].upper);
        if (i > 0) {
            EXPECT_EQ(steps[i].lower, steps[i - 1].upper);
        }
    }
}

TEST(EventsPlan, OnlyClosedBucketsAreOldEnough) {
    const Instant now = at(2026, 6, 15, 12, 34);
    EXPECT_EQ(horizon(policy(hours(1)), now), at(2026, 5, 16, 12));
    EXPECT_EQ(horizon(policy(days(1)), now), at(2026, 5, 16));
    EXPECT_EQ(horizon(policy(months(1)), now), at(2026, 5, 1));
    EXPECT_EQ(horizon(policy(hours(1), {0, 0, 0}), now), at(2026, 6, 15, 12));
    const SystemZone berlin("Europe/Berlin");
    EXPECT_EQ(horizon(policy(days(1), {0, 30, 0}, berlin), now), at(2026, 5, 15, 22));
}

TEST(EventsPlan, NothingToDoIsSaid) {
    Source nothing = source({0});
    nothing.segments[0].oldest.reset();
    const auto steps = plan_of(nothing, policy(hours(1)), at(2026, 6, 15, 12, 34));
    ASSERT_EQ(steps.size(), 1U);
    EXPECT_EQ(steps[0].action, Action::leave);
    EXPECT_TRUE(contains(steps[0].reason, "2026-05-16 12:00:00+00"));
}

TEST(EventsPlan, HeldRowsAreLeftWithTheHoldThatKeepsThem) {
    Source held = source(at(2026, 1, 1));
    held.held = "hold 7 (case 12)";
    const auto steps = plan_of(held, policy(hours(1)), at(2026, 6, 15));
    ASSERT_EQ(steps.size(), 1U);
    EXPECT_EQ(steps[0].action, Action::leave);
    EXPECT_EQ(steps[0].blocked_by, "hold 7 (case 12)");
}

TEST(EventsPlan, AnObstacleBlocksEveryStep) {
    Source source = events::source(at(2026, 5, 1), {{at(2026, 5, 1), 10, 2, 0}});
    source.obstacle = "a foreign key";
    const auto steps = taken(source, policy(hours(1)), at(2026, 6, 15));
    ASSERT_EQ(steps.size(), 1U);
    EXPECT_EQ(steps[0].blocked_by, "a foreign key");
}

TEST(EventsPlan, SaysWhatIsToBeExpected) {
    const Source exact = source(at(2026, 5, 1, 3, 4),
                                {{at(2026, 5, 1, 3), 1000, 10, 0}, {at(2026, 5, 2), 200, 5, 1}});
    auto steps = plan_of(exact, policy(hours(1)), at(2026, 6, 15));
    ASSERT_EQ(steps.size(), 2U);
    EXPECT_EQ(steps[0].reason, "to be expected: 1200 rows in 2 buckets of 1 hour become 15 in "
                               "public.ev_compressed, 80.0 to 1");
    EXPECT_EQ(steps[1].rows, 1200);

    Source sampled = exact;
    sampled.segments[0].fraction = 0.01;
    steps = plan_of(sampled, policy(hours(1)), at(2026, 6, 15));
    EXPECT_TRUE(contains(steps[0].reason, "about 120000 rows in at least 2 buckets of 1 hour"));
    EXPECT_TRUE(contains(steps[0].reason, "estimated from a sample of 1 percent"));
    // A sample of neighbours sees few groups of those that there are: the least is promised.
    sampled.segments[0].sample = {{at(2026, 5, 1, 3), 500, 5, 0}, {at(2026, 5, 2), 700, 10, 0}};
    steps = plan_of(sampled, policy(hours(1)), at(2026, 6, 15));
    EXPECT_TRUE(contains(steps[0].reason, "become 15 to 1500 in public.ev_compressed, at least "
                                          "80.0 to 1; estimated"))
        << steps[0].reason;
}

TEST(EventsPlan, StepsEndWhereEnoughRowsHaveComeTogether) {
    std::vector<SampledBucket> sample;
    for (int hour = 0; hour < 24; ++hour)
        sample.push_back({at(2026, 5, 1, hour), rows_per_step / 4, 3, 0});
    const Instant now = at(2026, 6, 15);
    const auto steps = taken(source(at(2026, 5, 1, 0, 30), sample), policy(hours(1)), now);
    EXPECT_EQ(steps.size(), 6U);
    EXPECT_EQ(steps[0].upper, at(2026, 5, 1, 4));
    EXPECT_EQ(steps[0].rows, rows_per_step);
    expect_all_covered(steps, policy(hours(1)), at(2026, 5, 1, 0, 30), now);
}

TEST(EventsPlan, OneBucketIsOneStepHoweverLarge) {
    const Instant now = at(2026, 6, 15);
    const auto steps = taken(source(at(2026, 5, 1), {{at(2026, 5, 1), 9 * rows_per_step, 3, 0},
                                                     {at(2026, 5, 1, 1), 1, 1, 1}}),
                             policy(hours(1)), now);
    ASSERT_EQ(steps.size(), 2U);
    EXPECT_EQ(steps[0].upper, at(2026, 5, 1, 1));
    expect_all_covered(steps, policy(hours(1)), at(2026, 5, 1), now);
}

TEST(EventsPlan, WhatTheSampleMissesIsTakenAllTheSame) {
    const Instant now = at(2026, 6, 15);
    auto steps = taken(source(at(1970, 1, 1)), policy(hours(1)), now);
    ASSERT_EQ(steps.size(), 1U);
    EXPECT_FALSE(steps[0].rows);
    expect_all_covered(steps, policy(hours(1)), at(1970, 1, 1), now);
    // Before, between and after what was sampled.
    steps = taken(source(at(1970, 1, 1), {{at(2020, 1, 1), rows_per_step, 3, 0},
                                          {at(2024, 1, 1), rows_per_step, 3, 0}}),
                  policy(hours(1)), now);
    EXPECT_EQ(steps.size(), 2U);
    expect_all_covered(steps, policy(hours(1)), at(1970, 1, 1), now);
}

TEST(EventsPlan, ListsOfCalendarBucketsStayShort) {
    const Instant now = at(2026, 6, 15);
    const SystemZone berlin("Europe/Berlin");
    for (const Step& bucket : {days(1), days(7), months(1)}) {
        const Policy policy = events::policy(bucket, {0, 30, 0}, berlin);
        const auto steps = taken(source(at(-4700, 1, 1)), policy, now);
        const std::int64_t limit_us =
            calendar_buckets_per_step * (bucket.days + 31 * bucket.months) * base::us_per_day;
        for (const PlannedStep& step : steps)
            EXPECT_LE(step.upper.us - step.lower.us, limit_us + base::us_per_day);
    }
    const auto steps = taken(source(at(-4000, 1, 1)), policy(days(1)), now);
    EXPECT_GT(steps.size(), 10U);
    expect_all_covered(steps, policy(days(1)), at(-4000, 1, 1), now);
}

TEST(EventsPlan, CoversEverythingWhateverTheSample) {
    std::mt19937_64 random(20'265);
    const SystemZone sao_paulo("America/Sao_Paulo");
    const Instant now = at(2026, 6, 15, 12, 34);
    for (int round = 0; round < 300; ++round) {
        const Step steps[] = {hours(1), hours(7), days(1), days(3), months(1)};
        const Policy policy = events::policy(steps[random() % 5], {0, 30, 0}, sao_paulo);
        const base::Grid grid = policy.grid();
        const Instant oldest = base::plus(
            at(2015, 1, 1), static_cast<std::int64_t>(random() % (10 * 365)) * base::us_per_day);
        std::vector<SampledBucket> sample;
        Instant bucket = grid.floor(oldest);
        for (std::uint64_t n = random() % 50; n > 0; --n) {
            for (std::uint64_t gap = random() % 5; gap > 0; --gap)
                bucket = grid.next(bucket);
            const auto rows = static_cast<std::int64_t>(random() % rows_per_step);
            if ((sample.empty() || sample.back().start < bucket) && bucket < horizon(policy, now))
                sample.push_back({bucket, rows, rows / 7 + 1, 0});
        }
        Source source = events::source(oldest, sample);
        source.segments[0].fraction = random() % 2 ? 1 : 0.1;
        expect_all_covered(taken(source, policy, now), policy, oldest, now);
    }
}

TEST(EventsPlan, LargePartitionsAreTakenAsAWholeAndTheRestBesideThem) {
    const Instant now = at(2026, 6, 15);
    const Policy hourly = policy(hours(1));
    Source source;
    source.quoted = "public.ev";
    source.wholes = {{7, "public.p7", at(2026, 1, 1, 0, 30), at(2026, 2, 1), 1000},
                     {8, "public.p8", at(2026, 2, 1), at(2026, 3, 1)},
                     {9, "public.p9", at(2026, 4, 1), at(2026, 5, 1), 3000}};
    source.segments = segments_beside(source.wholes, horizon(hourly, now));
    ASSERT_EQ(source.segments.size(), 3U);
    EXPECT_EQ(source.segments[0].from, base::minus_infinity);
    EXPECT_EQ(source.segments[0].to, at(2026, 1, 1, 0, 30));
    EXPECT_EQ(source.segments[1].from, at(2026, 3, 1));
    EXPECT_EQ(source.segments[1].to, at(2026, 4, 1));
    EXPECT_EQ(source.segments[2].from, at(2026, 5, 1));
    EXPECT_EQ(source.segments[2].to, horizon(hourly, now));
    source.segments[0].oldest = at(2026, 1, 1, 0, 10);
    source.segments[1].oldest = at(2026, 3, 3, 3, 3);
    const auto steps = plan(source, hourly, now);
    ASSERT_EQ(steps.size(), 5U);
    EXPECT_EQ(steps[0].action, Action::compress_partition);
    EXPECT_EQ(steps[0].relid, 7U);
    EXPECT_EQ(steps[0].lower, at(2026, 1, 1)) << "the bucket that it begins in";
    EXPECT_EQ(steps[0].from, at(2026, 1, 1, 0, 30));
    EXPECT_EQ(steps[0].rows, 1000);
    EXPECT_FALSE(steps[1].rows);
    EXPECT_EQ(steps[2].object, "public.p9");
    EXPECT_EQ(steps[3].action, Action::compress);
    EXPECT_EQ(steps[3].upper, at(2026, 1, 1, 0, 30));
    EXPECT_EQ(steps[4].from, at(2026, 3, 3, 3));
    EXPECT_EQ(steps[4].upper, at(2026, 4, 1));
}

TEST(EventsPlan, ASegmentThatBeginsInABucketLeavesItsBeginning) {
    Source source;
    source.wholes = {{7, "public.p7", at(2026, 1, 1), at(2026, 2, 1, 0, 30)}};
    source.segments = segments_beside(source.wholes, at(2026, 3, 1));
    source.segments[1].oldest = at(2026, 2, 1, 0, 40);
    const auto steps = plan(source, policy(hours(1)), at(2026, 6, 15));
    ASSERT_EQ(steps.size(), 2U);
    EXPECT_EQ(steps[1].lower, at(2026, 2, 1));
    EXPECT_EQ(steps[1].from, at(2026, 2, 1, 0, 30));
}

TEST(EventsPlan, GroupsAreEstimatedFromASample) {
    EXPECT_EQ(estimated_groups(0, 0, 0, 0), 0);
    EXPECT_EQ(estimated_groups(1000, 10, 0, 1'000'000), 10) << "each was seen often: no more come";
    EXPECT_EQ(estimated_groups(1000, 1000, 1000, 1'000'000), 1'000'000)
        << "each was seen once: so all are different";
    EXPECT_EQ(estimated_groups(1000, 10, 4, 1000), 10) << "the sample is everything";
    const std::int64_t some = estimated_groups(1000, 400, 100, 100'000);
    EXPECT_GT(some, 400);
    EXPECT_LT(some, 100'000);
}

TEST(EventsPlan, RefusesNegativeAges) {
    for (const base::Span& span : {base::Span{-1, 0, 0}, {0, -1, 0}, {0, 0, -1}})
        EXPECT_TRUE(contains(test::error_of(base::errc::invalid_parameter,
                                            [&] { check_not_negative(span, "older_than"); })
                                 .message(),
                             "older_than"));
    check_not_negative({0, 0, 0}, "older_than");
}

} // namespace
} // namespace orchestry::events
