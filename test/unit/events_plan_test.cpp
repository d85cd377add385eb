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

Source source(Instant oldest, std::vector<SampledBucket> sample = {}) {
    Source source;
    source.quoted = "public.ev";
    source.target = "public.ev_compressed";
    source.oldest = oldest;
    source.sample = std::move(sample);
    return source;
}

std::vector<PlannedStep> taken(const Source& source, const Policy& policy, Instant now) {
    std::vector<PlannedStep> steps = plan(source, policy, now);
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
    nothing.oldest.reset();
    const auto steps = plan(nothing, policy(hours(1)), at(2026, 6, 15, 12, 34));
    ASSERT_EQ(steps.size(), 1U);
    EXPECT_EQ(steps[0].action, Action::leave);
    EXPECT_TRUE(contains(steps[0].reason, "2026-05-16 12:00:00+00"));
}

TEST(EventsPlan, HeldRowsAreLeftWithTheHoldThatKeepsThem) {
    Source held = source(at(2026, 1, 1));
    held.held = "hold 7 (case 12)";
    const auto steps = plan(held, policy(hours(1)), at(2026, 6, 15));
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
    auto steps = plan(exact, policy(hours(1)), at(2026, 6, 15));
    ASSERT_EQ(steps.size(), 2U);
    EXPECT_EQ(steps[0].reason, "to be expected: 1200 rows in 2 buckets of 1 hour become 15 in "
                               "public.ev_compressed, 80.0 to 1");
    EXPECT_EQ(steps[1].rows, 1200);

    Source sampled = exact;
    sampled.fraction = 0.01;
    steps = plan(sampled, policy(hours(1)), at(2026, 6, 15));
    EXPECT_TRUE(contains(steps[0].reason, "about 120000 rows in at least 2 buckets of 1 hour"));
    EXPECT_TRUE(contains(steps[0].reason, "estimated from a sample of 1 percent"));
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
        source.fraction = random() % 2 ? 1 : 0.1;
        expect_all_covered(taken(source, policy, now), policy, oldest, now);
    }
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
