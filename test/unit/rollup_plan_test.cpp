// Rollups' decisions: which buckets are computed, in which batches, in what order.
#include "metrics/rollup_plan.hpp"

#include "support.hpp"
#include "system_zone.hpp"

#include <algorithm>
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
    const base::InstantSet expected = due(backlog, policy, now);
    ASSERT_EQ(covered.size(), expected.size());
    EXPECT_TRUE(std::equal(
        covered.begin(), covered.end(), expected.begin(),
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

TEST(RollupPlan, AStepIsHalvedDownToItsBuckets) {
    const base::Grid grid = hourly().grid();
    const RollupStep whole =
        refreshes(dirty({{at(2026, 3, 1, 3), at(2026, 3, 1, 10)}}), hourly(), at(2026, 3, 2))[0];
    std::vector<RollupStep> steps = {whole};
    std::vector<Instant> buckets;
    while (!steps.empty()) {
        const RollupStep step = steps.front();
        steps.erase(steps.begin());
        const std::vector<RollupStep> parts = halves(step, grid);
        if (parts.empty()) {
            EXPECT_EQ(step.extent.to, grid.next(step.extent.from));
            buckets.push_back(step.extent.from);
            continue;
        }
        EXPECT_EQ(parts.size(), 2u);
        EXPECT_EQ(parts.front().extent.to, step.extent.to);
        EXPECT_EQ(parts.back().extent.from, step.extent.from);
        EXPECT_EQ(parts.front().extent.from, parts.back().extent.to);
        steps.insert(steps.begin(), parts.begin(), parts.end());
    }
    EXPECT_EQ(buckets.size(), 7u);
    EXPECT_TRUE(std::is_sorted(buckets.rbegin(), buckets.rend()));
}

TEST(RollupPlan, AStepIsCutAtInstantsWithinIt) {
    const RollupStep whole =
        refreshes(dirty({{at(2026, 3, 1, 3), at(2026, 3, 1, 10)}}), hourly(), at(2026, 3, 2))[0];
    EXPECT_TRUE(cut(whole, {whole.extent.from, whole.extent.to, at(2027, 1, 1)}).empty());
    const auto parts = cut(whole, {at(2026, 3, 1, 5), at(2026, 3, 1, 5), at(2026, 3, 1, 8)});
    ASSERT_EQ(parts.size(), 3u);
    EXPECT_EQ(parts[0].extent.from, at(2026, 3, 1, 8));
    EXPECT_EQ(parts[2].extent.to, at(2026, 3, 1, 5));
    RollupStep expire = whole;
    expire.action = RollupAction::expire;
    EXPECT_TRUE(halves(expire, hourly().grid()).empty());
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

// --- rollups of rollups -------------------------------------------------------------------------

TEST(RollupPlan, BucketsThatTheParentHasYetToComputeAreLeft) {
    Backlog backlog = dirty({{at(2026, 3, 1, 2), at(2026, 3, 1, 8)}});
    backlog.unready.add({at(2026, 3, 1, 4), at(2026, 3, 1, 5)});
    const auto steps = refreshes(backlog, hourly(), at(2026, 3, 1, 10));
    ASSERT_EQ(steps.size(), 2u);
    EXPECT_EQ(steps[0].extent.from, at(2026, 3, 1, 5));
    EXPECT_EQ(steps[0].extent.to, at(2026, 3, 1, 8));
    EXPECT_EQ(steps[1].extent.from, at(2026, 3, 1, 2));
    EXPECT_EQ(steps[1].extent.to, at(2026, 3, 1, 4));
    const auto all = plan(backlog, hourly(), at(2026, 3, 1, 10), plenty);
    ASSERT_EQ(all.size(), 3u);
    EXPECT_EQ(all[2].action, RollupAction::leave);
    EXPECT_NE(all[2].reason.find("2026-03-01 04:00:00"), std::string::npos) << all[2].reason;
    // Open buckets wait for nobody.
    EXPECT_EQ(plan(backlog, hourly(), at(2026, 3, 1, 4), plenty).size(), 1u);
}

/// Minutes that are kept for a day, of which hours in UTC and days in Berlin are made.
class KeptForReaders : public testing::Test {
  protected:
    const SystemZone berlin_{"Europe/Berlin"};
    const RollupPolicy policy_{{0, 0, base::us_per_minute}, &base::utc(), base::Span{0, 1, 0}};
    const Instant now_ = at(2026, 3, 15, 12, 34, 56);
    Backlog backlog_ = [this] {
        Backlog backlog = dirty({});
        backlog.oldest = at(2026, 3, 1);
        backlog.readers = {{"s.hours", {base::utc(), hour}, base::InstantSet{}},
                           {"s.days", {berlin_, {0, 1, 0}}, base::InstantSet{}}};
        return backlog;
    }();

    std::vector<RollupStep> steps() const { return plan(backlog_, policy_, now_, plenty); }
};

TEST_F(KeptForReaders, GoInWholeBucketsOfAllReaders) {
    const auto steps = this->steps();
    ASSERT_EQ(steps.size(), 2u);
    EXPECT_EQ(steps[0].action, RollupAction::expire);
    EXPECT_EQ(steps[0].extent.to, at(2026, 3, 13, 23)); // midnight in Berlin
    EXPECT_EQ(steps[1].action, RollupAction::leave);
    EXPECT_EQ(steps[1].reason,
              "buckets from 2026-03-13 23:00:00+00 on are past \"keep\", but stay until all of the "
              "bucket of rollup s.days that ends at 2026-03-14 23:00:00+00 is");
    backlog_.readers.pop_back();
    EXPECT_EQ(this->steps()[0].extent.to, at(2026, 3, 14, 12));
}

TEST_F(KeptForReaders, GoInBucketsOfTheCoarsestOfAChain) {
    // In any order of the readers.
    backlog_.oldest = at(2025, 12, 1);
    backlog_.readers.insert(backlog_.readers.begin(),
                            {"s.months", {berlin_, {1, 0, 0}}, base::InstantSet{}});
    const auto steps = this->steps();
    ASSERT_EQ(steps.size(), 2u);
    EXPECT_EQ(steps[0].extent.to, at(2026, 2, 28, 23));
    EXPECT_NE(steps[1].reason.find("s.months that ends at 2026-03-31 22:00"), std::string::npos)
        << steps[1].reason;
    // At the end of a month nothing is left that is past its time.
    EXPECT_EQ(plan(backlog_, policy_, at(2026, 3, 1, 23), plenty).size(), 1u);
    // Before that, nothing has gone yet.
    backlog_.oldest = at(2026, 2, 28, 23);
    ASSERT_EQ(this->steps().size(), 1u);
    EXPECT_EQ(this->steps()[0].action, RollupAction::leave);
}

TEST_F(KeptForReaders, StayWhereTheirReadersHaveNoCommonEdges) {
    // Readers that nobody could have made, but a change of a zone's rules.
    for (const auto& [first, second, zone] :
         {std::tuple{Step{0, 1, 0}, Step{0, 1, 0}, &base::utc()},
          std::tuple{Step{0, 7, 0}, Step{1, 0, 0}, static_cast<const base::Zone*>(&berlin_)}}) {
        backlog_.readers = {{"s.first", {berlin_, first}, base::InstantSet{}},
                            {"s.second", {*zone, second}, base::InstantSet{}}};
        const auto steps = this->steps();
        ASSERT_EQ(steps.size(), 1u);
        EXPECT_EQ(steps[0].action, RollupAction::leave);
        EXPECT_NE(steps[0].reason.find("in the middle of one of rollup s."), std::string::npos)
            << steps[0].reason;
        ASSERT_NE(unended(backlog_.readers, at(2026, 3, 1)), nullptr);
    }
}

TEST_F(KeptForReaders, StayFromWhatHasYetToBeReadOrComputed) {
    const TimeExtent waiting{at(2026, 3, 5, 6), at(2026, 3, 5, 7)};
    const auto expect_stay = [&](const char* who) {
        const auto steps = this->steps();
        ASSERT_GE(steps.size(), 2u) << who;
        const RollupStep& gone = steps[steps.size() - 2];
        EXPECT_EQ(gone.action, RollupAction::expire) << who;
        EXPECT_EQ(gone.extent.to, at(2026, 3, 4, 23)) << who;
        EXPECT_EQ(steps.back().action, RollupAction::leave) << who;
        EXPECT_NE(steps.back().reason.find(who), std::string::npos) << steps.back().reason;
    };
    backlog_.readers[0].unread.add(waiting);
    expect_stay("s.hours");
    backlog_.readers[0].unread.remove(waiting);
    backlog_.unready.add(waiting);
    expect_stay("public.r");
    backlog_.unready.remove(waiting);
    backlog_.dirty.add(waiting);
    expect_stay("public.r");
    EXPECT_EQ(steps()[0].action, RollupAction::refresh);
    // Without readers nobody needs them.
    backlog_.readers.clear();
    EXPECT_EQ(steps().back().action, RollupAction::expire);
    EXPECT_EQ(steps().back().extent.to, at(2026, 3, 14, 12, 34));
}

TEST_F(KeptForReaders, StayAllWhenTheOldestAreUnread) {
    backlog_.readers[1].unread.add({at(1, 1, 1), at(2026, 3, 2)});
    const auto steps = this->steps();
    ASSERT_EQ(steps.size(), 1u);
    EXPECT_EQ(steps[0].action, RollupAction::leave);
    EXPECT_NE(steps[0].reason.find("s.days"), std::string::npos) << steps[0].reason;
}

TEST_F(KeptForReaders, StayAllWhenSomethingOlderIsUnread) {
    const TimeExtent older{at(2026, 2, 1), at(2026, 2, 1, 1)};
    for (RollupReader& reader : backlog_.readers) {
        reader.unread.add(older);
        const auto steps = this->steps();
        ASSERT_EQ(steps.size(), 1u);
        EXPECT_EQ(steps[0].action, RollupAction::leave);
        EXPECT_NE(steps[0].reason.find(reader.quoted), std::string::npos) << steps[0].reason;
        reader.unread.remove(older);
    }
    // It is stored in a moment, and would never be read when its time were frozen.
    backlog_.dirty.add(older);
    const auto steps = this->steps();
    ASSERT_EQ(steps.size(), 2u);
    EXPECT_EQ(steps[0].action, RollupAction::refresh);
    EXPECT_EQ(steps[1].action, RollupAction::leave);
}

TEST_F(KeptForReaders, WithinKeepNobodyWaits) {
    backlog_.oldest = at(2026, 3, 14, 12, 34);
    backlog_.readers[0].unread.add({at(1, 1, 1), at(2026, 3, 15)});
    const auto steps = this->steps();
    ASSERT_EQ(steps.size(), 1u);
    EXPECT_EQ(steps[0].reason.find("keep"), std::string::npos) << steps[0].reason;
}

constexpr Step minutes(std::int64_t n) { return {0, 0, n * base::us_per_minute}; }
constexpr Step days(std::int32_t n) { return {0, n, 0}; }
constexpr Step months(std::int32_t n) { return {n, 0, 0}; }

bool nests(const Step& finer, const char* finer_zone, const Step& coarser, const char* zone) {
    const SystemZone a(finer_zone), b(zone);
    const base::Grid below(a, finer), above(b, coarser);
    const auto misfit = first_misfit(below, above);
    if (misfit) {
        EXPECT_EQ(above.floor(*misfit), *misfit);
        EXPECT_NE(below.floor(*misfit), *misfit);
        return false;
    }
    // What fits makes no difference: the bucket of a time is that of its finer bucket.
    std::mt19937_64 random(7);
    for (int i = 0; i < 2000; ++i) {
        const auto range = static_cast<std::uint64_t>(nesting_times.to.us - nesting_times.from.us);
        const Instant t{nesting_times.from.us + static_cast<std::int64_t>(random() % range)};
        EXPECT_EQ(above.floor(t), above.floor(below.floor(t))) << t.us;
    }
    return true;
}

TEST(RollupNesting, MultiplesOfRealTimeFitInAnyZones) {
    EXPECT_TRUE(nests(minutes(1), "UTC", minutes(60), "Asia/Kolkata"));
    EXPECT_TRUE(nests(minutes(15), "America/New_York", minutes(15), "Europe/Berlin"));
    EXPECT_FALSE(nests(minutes(7), "UTC", minutes(60), "UTC"));
    EXPECT_FALSE(nests(minutes(60), "UTC", minutes(1), "UTC"));
    EXPECT_FALSE(nests(minutes(60), "UTC", minutes(90), "UTC"));
}

TEST(RollupNesting, DaysBeginAtMidnightOfTheirZone) {
    EXPECT_TRUE(nests(minutes(60), "UTC", days(1), "UTC"));
    EXPECT_TRUE(nests(minutes(60), "UTC", days(1), "Europe/Berlin"));
    EXPECT_TRUE(nests(minutes(60), "UTC", days(1), "America/New_York"));
    EXPECT_TRUE(nests(minutes(60), "UTC", days(1), "Pacific/Apia")); // which skipped a day
    EXPECT_FALSE(nests(minutes(60), "UTC", days(1), "Asia/Kolkata"));
    EXPECT_TRUE(nests(minutes(30), "UTC", days(1), "Asia/Kolkata"));
    EXPECT_FALSE(nests(minutes(60), "UTC", days(1), "Australia/Lord_Howe")); // by half an hour
    EXPECT_TRUE(nests(minutes(30), "UTC", days(1), "Australia/Lord_Howe"));
    EXPECT_FALSE(nests(minutes(30), "UTC", days(1), "Asia/Kathmandu"));
    EXPECT_TRUE(nests(minutes(15), "UTC", days(1), "Asia/Kathmandu") ||
                nests(minutes(10), "UTC", days(1), "Asia/Kathmandu"));
    EXPECT_FALSE(nests(minutes(1), "UTC", days(1), "Africa/Monrovia")); // until 1972, by seconds
    // A day of summer time's beginning has 23 hours.
    EXPECT_FALSE(nests(minutes(120), "UTC", days(1), "Europe/Berlin"));
    EXPECT_FALSE(nests(minutes(24 * 60), "UTC", days(1), "Europe/Berlin"));
    EXPECT_TRUE(nests(minutes(24 * 60), "UTC", days(1), "UTC"));
}

TEST(RollupNesting, DaysAndMonthsFitInTheirOwnZone) {
    EXPECT_TRUE(nests(days(1), "Europe/Berlin", days(7), "Europe/Berlin"));
    EXPECT_TRUE(nests(days(1), "Europe/Berlin", months(1), "Europe/Berlin"));
    EXPECT_TRUE(nests(days(1), "Pacific/Apia", months(1), "Pacific/Apia"));
    EXPECT_TRUE(nests(months(1), "Europe/Berlin", months(12), "Europe/Berlin"));
    EXPECT_FALSE(nests(days(1), "UTC", months(1), "Europe/Berlin"));
    EXPECT_FALSE(nests(days(1), "Europe/Berlin", days(1), "UTC"));
    EXPECT_FALSE(nests(days(7), "UTC", months(1), "UTC"));
    EXPECT_FALSE(nests(days(2), "UTC", days(3), "UTC"));
    EXPECT_FALSE(nests(months(2), "UTC", months(3), "UTC"));
    EXPECT_FALSE(nests(months(1), "UTC", days(1), "UTC"));
    EXPECT_FALSE(nests(days(1), "Europe/Berlin", minutes(24 * 60), "UTC"));
}

TEST(RollupNesting, OfTwoReadersOneConsistsOfTheOther) {
    const SystemZone berlin("Europe/Berlin");
    const base::Grid hours(base::utc(), minutes(60)), utc_days(base::utc(), days(1)),
        berlin_days(berlin, days(1)), weeks(base::utc(), days(7)),
        utc_months(base::utc(), months(1)), berlin_months(berlin, months(1));
    for (const auto& chain :
         {std::vector{hours, utc_days, utc_months}, std::vector{hours, berlin_days, berlin_months},
          std::vector{hours, weeks}})
        for (const base::Grid& a : chain)
            for (const base::Grid& b : chain)
                EXPECT_FALSE(first_clash(a, b));
    EXPECT_TRUE(first_clash(utc_days, berlin_days));
    EXPECT_TRUE(first_clash(berlin_days, utc_days));
    EXPECT_TRUE(first_clash(weeks, utc_months));
    EXPECT_TRUE(first_clash(utc_months, weeks));
    EXPECT_EQ(first_clash(utc_days, berlin_days), at(1970, 1, 1, 23)); // that of a Berlin's
}

} // namespace
} // namespace orchestry::metrics
