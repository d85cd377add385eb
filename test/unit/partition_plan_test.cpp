#include "partition/plan.hpp"

#include "support.hpp"
#include "system_zone.hpp"

#include <algorithm>
#include <cstdio>
#include <map>
#include <random>
#include <set>

namespace orchestry::partition {

inline void PrintTo(const Bound& bound, std::ostream* out) {
    *out << bound_text(KeyKind::integer, bound);
}

namespace {

using base::Instant;
using test::at;
using test::contains;
using test::error_of;
using test::SystemZone;
using test::wall;

constexpr base::Step hourly{0, 0, base::us_per_hour};
constexpr base::Step daily{0, 1, 0};
constexpr base::Step weekly{0, 7, 0};
constexpr base::Step monthly{1, 0, 0};
constexpr base::Step quarterly{3, 0, 0};
constexpr base::Step yearly{12, 0, 0};
constexpr base::Span nothing{0, 0, 0};

/// A world in which names are taken and the default partition has rows as the test says.
class FakeWorld : public World {
  public:
    std::map<std::string, std::string> holders;
    std::vector<std::int64_t> default_keys;
    std::int64_t pages = 0;
    std::set<std::uint32_t> foreign_trees;

    std::optional<std::string> holder_of(const std::string& name) const override {
        const auto found = holders.find(name);
        return found == holders.end() ? std::nullopt : std::optional(found->second);
    }
    std::int64_t default_pages() const override { return pages; }
    bool has_foreign_table(std::uint32_t relid) const override {
        return foreign_trees.contains(relid);
    }
    bool default_has_rows(const PlannedStep& step) const override {
        return std::any_of(default_keys.begin(), default_keys.end(),
                           [&](std::int64_t key) { return step.range.contains(key); });
    }
    std::optional<Extent> default_extent() const override {
        if (default_keys.empty())
            return std::nullopt;
        const auto [least, greatest] =
            std::minmax_element(default_keys.begin(), default_keys.end());
        return Extent{*least, *greatest};
    }
};

Set empty_set(KeyKind kind = KeyKind::timestamptz) {
    Set set;
    set.relid = 1;
    set.name = "events";
    set.schema = "public";
    set.quoted = "public.events";
    set.key = "at";
    set.columns = "id, at";
    set.kind = kind;
    set.lowest = std::numeric_limits<std::int64_t>::min();
    set.highest = std::numeric_limits<std::int64_t>::max();
    return set;
}

Policy policy_of(const base::Step& every, const base::Zone& zone = base::utc()) {
    return {TimeCadence{every, default_ahead(every), nothing}, &zone, base::default_pattern(every)};
}

Policy policy_of(std::int64_t every, std::int64_t ahead, std::int64_t past = 0) {
    return {KeyCadence{every, ahead, past}, &base::utc(), base::default_integer_pattern()};
}

/// Adds a partition where the server would, and fails the test where the server would refuse.
void add(Set& set, const std::string& name, Bound lower, Bound upper) {
    Member member;
    member.relid = static_cast<std::uint32_t>(100 + set.members.size());
    member.name = name;
    member.quoted = "public." + name;
    member.range = {lower, upper};
    EXPECT_LT(lower, upper) << name;
    const auto after =
        std::upper_bound(set.members.begin(), set.members.end(), member,
                         [](const Member& a, const Member& b) { return a.range < b.range; });
    if (after != set.members.end()) {
        EXPECT_LE(upper, after->range.lower) << name << " overlaps " << after->name;
    }
    if (after != set.members.begin()) {
        EXPECT_LE(std::prev(after)->range.upper, lower) << name << " overlaps its predecessor";
    }
    set.members.insert(after, member);
}

void add(Set& set, const std::string& name, Instant lower, Instant upper) {
    add(set, name, Bound::value(lower.us), Bound::value(upper.us));
}

std::vector<PlannedStep> plan_and_apply(Set& set, const Policy& policy, Instant now) {
    const FakeWorld world;
    std::vector<PlannedStep> steps = plan(set, policy, now, world);
    std::vector<const PlannedStep*> created;
    for (const PlannedStep& step : steps)
        if (step.action == Action::create && step.blocked_by.empty())
            created.push_back(&step);
    std::sort(created.begin(), created.end(), // most of them can then be appended
              [](const PlannedStep* a, const PlannedStep* b) { return a->range < b->range; });
    for (const PlannedStep* step : created)
        add(set, step->name, step->range.lower, step->range.upper);
    return steps;
}

std::vector<std::string> names(const std::vector<PlannedStep>& steps) {
    std::vector<std::string> names;
    for (const PlannedStep& step : steps)
        names.push_back(step.action == Action::create ? step.name : to_string(step.action));
    return names;
}

using Names = std::vector<std::string>;

// --- years of calendar --------------------------------------------------------------------------

constexpr const char* zone_names[] = {
    "Europe/London", "America/New_York", "America/Sao_Paulo",   "Asia/Kathmandu",
    "Pacific/Apia",  "Africa/Cairo",     "Australia/Lord_Howe", "America/St_Johns"};

/// Maintains a set from 2000 to 2030 with runs at random times, some of them late, and checks after
/// each that what is wanted is covered without a hole and that there is nothing left to do. Old
/// partitions are dropped on the way. Returns how many partitions were made.
long maintain_for_thirty_years(KeyKind kind, const base::Step& every, const base::Zone& zone,
                               unsigned seed) {
    Set set = empty_set(kind);
    const Policy policy = policy_of(every, zone);
    std::mt19937_64 random(seed);
    // Longer than the runway at times, so that some runs come late.
    const std::int64_t longest_pause_us = 20 * base::us_per_day * (every.months + 1);
    std::set<std::string> all_names;
    long made = 0;
    for (Instant now = at(2000, 1, 1, 5, 17); now < at(2030, 1, 1);
         now.us +=
         static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(longest_pause_us))) {
        const auto steps = plan_and_apply(set, policy, now);
        for (const PlannedStep& step : steps) {
            EXPECT_TRUE(all_names.insert(step.name).second) << step.name << " comes twice";
            EXPECT_EQ(step.blocked_by, "");
        }
        made += static_cast<long>(steps.size());
        EXPECT_TRUE(plan_and_apply(set, policy, now).empty()) << "not idempotent";

        const Range needed = wanted(set, policy, Ruler(set, policy), now);
        EXPECT_LE(set.members.front().range.lower, needed.lower);
        EXPECT_GE(set.members.back().range.upper, needed.upper);
        const auto hole = std::adjacent_find(
            set.members.begin(), set.members.end(),
            [](const Member& a, const Member& b) { return a.range.upper != b.range.lower; });
        EXPECT_EQ(hole, set.members.end()) << hole->name;
        if (testing::Test::HasFailure())
            return made;
        const Bound horizon = needed.lower;
        const auto needless =
            std::find_if(set.members.begin(), set.members.end(),
                         [&](const Member& member) { return member.range.upper >= horizon; });
        set.members.erase(set.members.begin(), needless);
    }
    return made;
}

TEST(PartitionPlan, ThirtyYearsInEightZonesWithoutHoleOrOverlap) {
    long made = 0;
    unsigned seed = 1;
    for (const char* name : zone_names) {
        const SystemZone zone(name);
        for (const base::Step& every : {hourly, daily, weekly, monthly, quarterly, yearly})
            for (const KeyKind kind : {KeyKind::timestamptz, KeyKind::timestamp, KeyKind::date,
                                       KeyKind::epoch_ms, KeyKind::epoch_ns, KeyKind::uuid_v7}) {
                // The other kinds run through the same arithmetic: one unit each shows their own
                // part of it.
                const bool is_sample =
                    kind != KeyKind::timestamptz && every != daily && every != monthly;
                if (is_sample)
                    continue;
                SCOPED_TRACE(std::string(name) + ", " + base::to_string(every) + ", kind " +
                             std::to_string(static_cast<int>(kind)));
                made += maintain_for_thirty_years(kind, every, zone, seed++);
                if (HasFailure())
                    return;
            }
    }
    std::printf("%ld partitions over 30 years in %zu zones: no hole, no overlap\n", made,
                std::size(zone_names));
    EXPECT_GT(made, 1'000'000);
}

TEST(PartitionPlan, NothingIsDueBeforeTheQuietEnds) {
    std::mt19937_64 random(7);
    const FakeWorld world;
    long checked = 0;
    for (const char* name : zone_names) {
        const SystemZone zone(name);
        for (const base::Step& every : {hourly, daily, weekly, monthly}) {
            for (const base::Span ahead :
                 {base::Span{0, 3, 0}, base::Span{1, 0, 0}, base::Span{1, 1, 5},
                  base::Span{0, 0, 200 * base::us_per_hour}}) {
                Policy policy = policy_of(every, zone);
                std::get<TimeCadence>(policy.cadence).ahead = ahead;
                for (const KeyKind kind : {KeyKind::timestamptz, KeyKind::timestamp}) {
                    for (int i = 0; i < 20; ++i) {
                        Set set = empty_set(kind);
                        const Instant now{
                            at(2005, 1, 1).us +
                            static_cast<std::int64_t>(random() % (20 * 365)) * base::us_per_day +
                            static_cast<std::int64_t>(random() % 86'400) * base::us_per_second};
                        plan_and_apply(set, policy, now);
                        const Instant until = quiet_until(set, policy, now).value();
                        for (int sample = 1; sample <= 8 && until > now; ++sample) {
                            const Instant later{now.us + (until.us - now.us) / 8 * sample - 1};
                            EXPECT_TRUE(plan(set, policy, later, world).empty());
                            ++checked;
                        }
                        const Instant need = next_need(set, policy, now).value();
                        EXPECT_FALSE(
                            plan(set, policy, {need.us + 4 * base::us_per_day}, world).empty());
                        if (HasFailure()) {
                            ADD_FAILURE() << name << ", every " << base::to_string(every)
                                          << ", now " << testing::PrintToString(now);
                            return;
                        }
                    }
                }
            }
        }
    }
    EXPECT_GT(checked, 5'000);
}

// --- what is wanted -----------------------------------------------------------------------------

TEST(PartitionPlan, CurrentIntervalFirstThenTheRunway) {
    Set set = empty_set();
    EXPECT_EQ(names(plan_and_apply(set, policy_of(monthly), at(2026, 11, 21))),
              (Names{"events_p202611", "events_p202612", "events_p202701", "events_p202702"}));
    EXPECT_EQ(set.members.front().range,
              (Range{Bound::value(at(2026, 11, 1).us), Bound::value(at(2026, 12, 1).us)}));
}

TEST(PartitionPlan, PastGoesBackwardsFromNow) {
    Set set = empty_set();
    Policy policy = policy_of(monthly);
    policy.cadence = TimeCadence{monthly, nothing, {2, 0, 0}};
    EXPECT_EQ(names(plan_and_apply(set, policy, at(2026, 3, 21))),
              (Names{"events_p202603", "events_p202602", "events_p202601"}));
}

TEST(PartitionPlan, RunwayIsThreeStepsAndAWeekByDefault) {
    EXPECT_EQ(default_ahead(yearly), (base::Span{36, 0, 0}));
    EXPECT_EQ(default_ahead(daily), (base::Span{0, 7, 0}));
    EXPECT_EQ(default_ahead(weekly), (base::Span{0, 21, 0}));
    EXPECT_EQ(default_ahead(hourly), (base::Span{0, 0, 7 * base::us_per_day}));
    EXPECT_EQ(default_ahead({0, 0, 100 * base::us_per_hour}),
              (base::Span{0, 0, 300 * base::us_per_hour}));
}

TEST(PartitionPlan, WallClockKeysSeeNowInThePolicysZone) {
    const SystemZone zone("Pacific/Kiritimati"); // UTC+14
    Policy policy = policy_of(daily, zone);
    policy.cadence = TimeCadence{daily, nothing, nothing};
    for (const KeyKind kind : {KeyKind::date, KeyKind::timestamp}) {
        Set set = empty_set(kind);
        EXPECT_EQ(names(plan_and_apply(set, policy, at(2026, 1, 1, 23))),
                  (Names{"events_p20260102"}));
    }
}

TEST(PartitionPlan, BoundsOfInstantsAreTheZonesMidnights) {
    const SystemZone zone("America/New_York");
    Set set = empty_set();
    Policy policy = policy_of(daily, zone);
    policy.cadence = TimeCadence{daily, {0, 1, 0}, nothing};
    plan_and_apply(set, policy, at(2026, 3, 8, 12)); // the day on which the clock goes forward
    EXPECT_EQ(set.members[0].range,
              (Range{Bound::value(at(2026, 3, 8, 5).us), Bound::value(at(2026, 3, 9, 4).us)}));
    EXPECT_EQ(set.members[1].range,
              (Range{Bound::value(at(2026, 3, 9, 4).us), Bound::value(at(2026, 3, 10, 4).us)}));
}

TEST(PartitionPlan, RefusesToWantTooMany) {
    Policy policy = policy_of(hourly);
    std::get<TimeCadence>(policy.cadence).past = {0, 400, 0};
    check_size(empty_set(), policy, at(2026, 1, 1));
    std::get<TimeCadence>(policy.cadence).past = {0, 420, 0};
    const base::Error error =
        error_of("22023", [&] { check_size(empty_set(), policy, at(2026, 1, 1)); });
    EXPECT_TRUE(contains(error.message(), "more than 10000 partitions"));
    EXPECT_FALSE(error.hint().empty());
}

TEST(PartitionPlan, StepsFitTheUnitOfTheKey) {
    EXPECT_TRUE(contains(error_of("22023", [] { check_step(KeyKind::date, hourly); }).message(),
                         "whole days"));
    EXPECT_TRUE(contains(error_of("22023",
                                  [] {
                                      check_step(KeyKind::epoch_s, {0, 0, 1'500'000});
                                  })
                             .message(),
                         "whole seconds"));
    EXPECT_TRUE(contains(error_of("22023",
                                  [] {
                                      check_step(KeyKind::uuid_v7, {0, 0, 500});
                                  })
                             .message(),
                         "whole milliseconds"));
    check_step(KeyKind::date, monthly);
    check_step(KeyKind::date, {0, 0, 2 * base::us_per_day});
    check_step(KeyKind::epoch_ns, {0, 0, 1});
    check_step(KeyKind::epoch_s, hourly);
}

// --- existing partitions ------------------------------------------------------------------------

TEST(PartitionPlan, WeeksFromSundayGoOnFromSunday) {
    Set set = empty_set();
    add(set, "w1", at(2026, 11, 8), at(2026, 11, 15)); // Sundays
    Policy policy = policy_of(weekly);
    policy.cadence = TimeCadence{weekly, {0, 7, 0}, nothing};
    const auto steps = plan_and_apply(set, policy, at(2026, 11, 16));
    ASSERT_EQ(steps.size(), 2U);
    EXPECT_EQ(steps[0].range,
              (Range{Bound::value(at(2026, 11, 15).us), Bound::value(at(2026, 11, 22).us)}));
}

TEST(PartitionPlan, HoursFromHalfPastGoOnFromHalfPast) {
    Set set = empty_set();
    add(set, "h1", at(2026, 11, 8, 3, 30), at(2026, 11, 8, 4, 30));
    Policy policy = policy_of(hourly);
    policy.cadence = TimeCadence{hourly, nothing, nothing};
    EXPECT_EQ(names(plan_and_apply(set, policy, at(2026, 11, 8, 5))),
              (Names{"events_p20261108_0430"}));
}

TEST(PartitionPlan, AnOddNeighbourGetsABridgeAndThenTheGrid) {
    Set set = empty_set();
    add(set, "old", at(2026, 10, 10), at(2026, 11, 15, 7));
    Policy policy = policy_of(monthly);
    policy.cadence = TimeCadence{monthly, {1, 0, 0}, nothing};
    const auto steps = plan_and_apply(set, policy, at(2026, 11, 21));
    ASSERT_EQ(names(steps), (Names{"events_p202611", "events_p202612"}));
    EXPECT_EQ(steps[0].range,
              (Range{Bound::value(at(2026, 11, 15, 7).us), Bound::value(at(2026, 12, 1).us)}));
    EXPECT_TRUE(contains(steps[0].reason, "cut to fit"));
    EXPECT_FALSE(contains(steps[1].reason, "cut to fit"));
}

TEST(PartitionPlan, ABridgeWhoseNameIsTakenAddsItsStart) {
    Set set = empty_set();
    add(set, "events_p202611", at(2026, 11, 1), at(2026, 11, 15));
    FakeWorld world;
    world.holders["events_p202611"] = "relation public.events_p202611";
    Policy policy = policy_of(monthly);
    policy.cadence = TimeCadence{monthly, nothing, nothing};
    const auto steps = plan(set, policy, at(2026, 11, 21), world);
    EXPECT_EQ(names(steps), (Names{"events_p202611_from_20261115_000000"}));
    EXPECT_EQ(steps[0].blocked_by, "");
}

TEST(PartitionPlan, AnotherZoneKeepsWhatThereIs) {
    const SystemZone berlin("Europe/Berlin");
    Set set = empty_set();
    Policy policy = policy_of(daily);
    policy.cadence = TimeCadence{daily, {0, 2, 0}, nothing};
    plan_and_apply(set, policy, at(2026, 11, 21, 12));
    const Bound end = set.members.back().range.upper;
    policy.zone = &berlin;
    const auto steps = plan_and_apply(set, policy, at(2026, 11, 23, 12));
    ASSERT_EQ(steps.size(), 2U);
    EXPECT_EQ(steps[0].range, (Range{end, Bound::value(at(2026, 11, 24, 23).us)}));
    EXPECT_EQ(steps[1].range, (Range{Bound::value(at(2026, 11, 24, 23).us),
                                     Bound::value(at(2026, 11, 25, 23).us)}));
    EXPECT_TRUE(plan_and_apply(set, policy, at(2026, 11, 23, 12)).empty());
}

TEST(PartitionPlan, GapsAreFilledNearestFirst) {
    Set set = empty_set();
    add(set, "a", at(2026, 1, 1), at(2026, 2, 1));
    add(set, "b", at(2026, 5, 1), at(2026, 6, 1));
    Policy policy = policy_of(monthly);
    policy.cadence = TimeCadence{monthly, nothing, nothing};
    const auto steps = plan_and_apply(set, policy, at(2026, 7, 15));
    EXPECT_EQ(names(steps), (Names{"events_p202607", "events_p202606", "events_p202604",
                                   "events_p202603", "events_p202602"}));
    EXPECT_EQ(steps[2].reason, "gap between partitions");
    EXPECT_TRUE(plan_and_apply(set, policy, at(2026, 7, 15)).empty());
}

TEST(PartitionPlan, NothingIsMadeBelowTheFirstPartition) {
    Set set = empty_set();
    add(set, "b", at(2026, 5, 1), at(2027, 6, 1));
    Policy policy = policy_of(monthly);
    policy.cadence = TimeCadence{monthly, nothing, nothing};
    EXPECT_TRUE(plan_and_apply(set, policy, at(2026, 7, 15)).empty());
}

TEST(PartitionPlan, AGapOfThousandsIsReportedAndNotFilled) {
    Set set = empty_set();
    add(set, "ancient", at(1970, 1, 1), at(1970, 1, 2));
    Policy policy = policy_of(daily);
    policy.cadence = TimeCadence{daily, nothing, nothing};
    const auto steps = plan_and_apply(set, policy, at(2026, 7, 15));
    EXPECT_EQ(names(steps), (Names{"leave", "events_p20260715"}));
    EXPECT_TRUE(contains(steps[0].reason, "from 1970-01-02 00:00:00+00 to 2026-07-15 00:00:00+00"));
    EXPECT_EQ(names(plan_and_apply(set, policy, at(2026, 7, 15))), (Names{"leave"}));
}

TEST(PartitionPlan, FarFuturePartitionsAreNotReachedFor) {
    Set set = empty_set();
    add(set, "typo", at(2097, 1, 1), at(2097, 1, 2));
    Policy policy = policy_of(daily);
    policy.cadence = TimeCadence{daily, {0, 1, 0}, nothing};
    EXPECT_EQ(names(plan_and_apply(set, policy, at(2026, 7, 15))),
              (Names{"leave", "events_p20260715", "events_p20260716"}));
}

TEST(PartitionPlan, InfinityIsABoundLikeAnother) {
    Set set = empty_set();
    add(set, "before_all", Bound::minvalue(), Bound::value(base::minus_infinity.us + 1));
    add(set, "after_all", Bound::value(base::plus_infinity.us), Bound::maxvalue());
    Policy policy = policy_of(yearly);
    policy.cadence = TimeCadence{yearly, nothing, nothing};
    EXPECT_EQ(names(plan_and_apply(set, policy, at(2026, 7, 15))),
              (Names{"leave", "leave", "events_p2026"}));
}

TEST(PartitionPlan, NothingPastRetentionIsMade) {
    Set set = empty_set();
    add(set, "a", at(2026, 1, 1), at(2026, 2, 1));
    Policy policy = policy_of(monthly);
    policy.cadence = TimeCadence{monthly, nothing, nothing};
    const FakeWorld world;
    const auto steps = plan(set, policy, at(2026, 5, 15), world, at(2026, 4, 1).us);
    EXPECT_EQ(names(steps), (Names{"leave", "leave", "events_p202605", "events_p202604"}));
    EXPECT_TRUE(contains(steps[0].reason, "past its retention"));
}

TEST(PartitionPlan, MinvalueCoversWhatItCovers) {
    Set set = empty_set();
    add(set, "history", Bound::minvalue(), Bound::value(at(2026, 10, 20).us));
    Policy policy = policy_of(monthly);
    policy.cadence = TimeCadence{monthly, nothing, {5, 0, 0}};
    const auto steps = plan_and_apply(set, policy, at(2026, 11, 21));
    EXPECT_EQ(names(steps), (Names{"events_p202611", "events_p202610"}));
    EXPECT_EQ(steps[1].range,
              (Range{Bound::value(at(2026, 10, 20).us), Bound::value(at(2026, 11, 1).us)}));
}

TEST(PartitionPlan, MaxvalueIsExplainedWithTheWayOut) {
    Set set = empty_set();
    add(set, "rest", Bound::value(at(2026, 10, 1).us), Bound::maxvalue());
    const auto steps = plan_and_apply(set, policy_of(monthly), at(2026, 11, 21));
    ASSERT_EQ(names(steps), (Names{"leave"}));
    EXPECT_EQ(steps[0].object, "public.rest");
    EXPECT_TRUE(contains(steps[0].blocked_by,
                         "ATTACH PARTITION public.rest FOR VALUES FROM ('2026-10-01 "
                         "00:00:00+00') TO ('2026-12-01 00:00:00+00')"));
}

TEST(PartitionPlan, AnInterruptedDetachIsCompletedFirst) {
    Set set = empty_set();
    add(set, "events_p202611", at(2026, 11, 1), at(2026, 12, 1));
    set.members[0].detach_pending = true;
    const auto steps = plan_and_apply(set, policy_of(monthly), at(2026, 11, 21));
    EXPECT_EQ(names(steps),
              (Names{"finalize_detach", "events_p202612", "events_p202701", "events_p202702"}));
    EXPECT_EQ(steps[0].relid, set.members[0].relid);
}

TEST(PartitionPlan, ADetachThatRetentionIsAtIsLeftToIt) {
    Set set = empty_set();
    add(set, "events_p202611", at(2026, 11, 1), at(2026, 12, 1));
    set.members[0].detach_pending = true;
    set.retention_runs = true;
    const auto steps = plan_and_apply(set, policy_of(monthly), at(2026, 11, 21));
    EXPECT_EQ(names(steps), (Names{"leave", "events_p202612", "events_p202701", "events_p202702"}));
}

TEST(PartitionPlan, AForeignNameIsNamed) {
    FakeWorld world;
    world.holders["events_p202611"] = "relation public.events_p202611";
    const auto steps = plan(empty_set(), policy_of(monthly), at(2026, 11, 21), world);
    EXPECT_TRUE(contains(steps[0].blocked_by,
                         "\"events_p202611\" is taken by relation public.events_p202611"));
    EXPECT_EQ(steps[1].blocked_by, "");
}

// --- the default partition ----------------------------------------------------------------------

Set set_with_default() {
    Set set = empty_set();
    set.fallback = DefaultPartition{50, "public.events_default", {}};
    return set;
}

Policy one_month() {
    Policy policy = policy_of(monthly);
    policy.cadence = TimeCadence{monthly, nothing, nothing};
    return policy;
}

TEST(PartitionPlan, DefaultRowsOfOneRangeCanBePromoted) {
    FakeWorld world;
    world.pages = 1;
    world.default_keys = {at(2026, 11, 2).us, at(2026, 11, 20).us};
    const auto steps = plan(set_with_default(), one_month(), at(2026, 11, 21), world);
    ASSERT_EQ(steps.size(), 1U);
    EXPECT_TRUE(contains(steps[0].blocked_by, "public.events_default holds rows in this range"));
    EXPECT_TRUE(contains(steps[0].blocked_by, "CALL orchestry.promote_default('public.events');"));

    const PlannedStep promotion =
        plan_promotion(set_with_default(), one_month(), at(2026, 11, 21), world);
    EXPECT_EQ(promotion.blocked_by, "");
    EXPECT_EQ(promotion.name, "events_p202611");
    EXPECT_EQ(promotion.range,
              (Range{Bound::value(at(2026, 11, 1).us), Bound::value(at(2026, 12, 1).us)}));
}

TEST(PartitionPlan, DefaultRowsOfSeveralRangesGetARecipe) {
    FakeWorld world;
    world.pages = 1;
    world.default_keys = {at(2026, 9, 2).us, at(2026, 11, 20).us};
    const auto steps = plan(set_with_default(), one_month(), at(2026, 11, 21), world);
    EXPECT_TRUE(contains(steps[0].blocked_by,
                         "DELETE FROM public.events_default WHERE at >= '2026-11-01 "
                         "00:00:00+00' AND at < '2026-12-01 00:00:00+00'"));
    EXPECT_TRUE(contains(
        plan_promotion(set_with_default(), one_month(), at(2026, 11, 21), world).blocked_by,
        "do not fit one partition"));
}

TEST(PartitionPlan, AnEmptyDefaultIsNotPromoted) {
    const FakeWorld world;
    EXPECT_TRUE(contains(
        plan_promotion(set_with_default(), one_month(), at(2026, 11, 21), world).blocked_by,
        "empty"));
}

TEST(PartitionPlan, ASmallDefaultIsSimplyScanned) {
    FakeWorld world;
    world.pages = small_default_pages;
    world.default_keys = {at(2020, 1, 1).us};
    const auto steps = plan(set_with_default(), policy_of(monthly), at(2026, 11, 21), world);
    EXPECT_EQ(steps.size(), 4U);
    for (const PlannedStep& step : steps) {
        EXPECT_EQ(step.action, Action::create);
        EXPECT_EQ(step.exclusion, "");
        EXPECT_EQ(step.blocked_by, "");
    }
}

TEST(PartitionPlan, ALargeDefaultIsCheckedBeforeTheAttach) {
    FakeWorld world;
    world.pages = small_default_pages + 1;
    Set set = set_with_default();
    Policy policy = policy_of(monthly);
    policy.cadence = TimeCadence{monthly, {1, 0, 0}, nothing};
    add(set, "events_p202611", at(2026, 11, 1), at(2026, 12, 1));
    auto steps = plan(set, policy, at(2026, 11, 21), world);
    ASSERT_EQ(names(steps), (Names{"exclude_default", "validate_default", "events_p202612"}));
    const std::string check = steps[0].exclusion;
    EXPECT_EQ(check, exclusion_name(set.kind, steps[2].range));
    EXPECT_LE(check.size(), base::max_name_bytes);
    EXPECT_EQ(steps[2].exclusion, check);

    // Killed after the first step, and after the second: the next plan goes on from there.
    set.fallback->exclusions = {{check, false}};
    EXPECT_EQ(names(plan(set, policy, at(2026, 11, 21), world)),
              (Names{"validate_default", "events_p202612"}));
    set.fallback->exclusions = {{check, true}};
    steps = plan(set, policy, at(2026, 11, 21), world);
    EXPECT_EQ(names(steps), (Names{"events_p202612"}));
    EXPECT_EQ(steps[0].exclusion, check);

    // What no step needs keeps rows out of the default partition for nothing: it goes first.
    set.fallback->exclusions = {{"orchestry_default_without_0", true}, {check, true}};
    EXPECT_EQ(names(plan(set, policy, at(2026, 11, 21), world)),
              (Names{"drop_exclusion", "events_p202612"}));
}

TEST(PartitionPlan, ALargeDefaultInTheRangeOfNowIsNotTouched) {
    FakeWorld world;
    world.pages = small_default_pages + 1;
    const auto steps = plan(set_with_default(), one_month(), at(2026, 11, 21), world);
    ASSERT_EQ(names(steps), (Names{"events_p202611"}));
    EXPECT_TRUE(contains(steps[0].blocked_by, "large"));
}

TEST(PartitionPlan, NothingIsMadeBesideAForeignDefault) {
    FakeWorld world;
    world.default_keys = {at(2026, 11, 2).us};
    Set set = set_with_default();
    ASSERT_EQ(plan_promotion(set, one_month(), at(2026, 11, 21), world).blocked_by, "");
    world.foreign_trees = {set.fallback->relid};
    auto steps = plan(set, policy_of(monthly), at(2026, 11, 21), world);
    // Not even where there is a constraint, which on a foreign table is believed.
    set.fallback->exclusions = {{exclusion_name(set.kind, steps.back().range), true}};
    steps = plan(set, policy_of(monthly), at(2026, 11, 21), world);
    EXPECT_EQ(
        std::count_if(steps.begin(), steps.end(),
                      [](const PlannedStep& step) { return contains(step.blocked_by, "foreign"); }),
        4);
    EXPECT_TRUE(
        contains(plan_promotion(set, one_month(), at(2026, 11, 21), world).blocked_by, "foreign"));
}

TEST(PartitionPlan, AStrangersDefaultIsNotLookedInto) {
    FakeWorld world;
    world.default_keys = {at(2026, 11, 2).us};
    Set set = set_with_default();
    set.fallback->stranger = "it belongs to role guest";
    auto steps = plan(set, policy_of(monthly), at(2026, 11, 21), world);
    // Nor is one that was checked: ATTACH works out the conditions on it.
    set.fallback->exclusions = {{exclusion_name(set.kind, steps.back().range), true}};
    steps = plan(set, policy_of(monthly), at(2026, 11, 21), world);
    EXPECT_EQ(
        std::count_if(steps.begin(), steps.end(),
                      [](const PlannedStep& step) { return contains(step.blocked_by, "guest"); }),
        4);
    EXPECT_TRUE(
        contains(plan_promotion(set, one_month(), at(2026, 11, 21), world).blocked_by, "guest"));
}

// --- integers -----------------------------------------------------------------------------------

Set integer_set(std::optional<std::int64_t> position) {
    Set set = empty_set(KeyKind::integer);
    set.position = position;
    return set;
}

TEST(PartitionPlan, IntegersFollowTheirSequence) {
    Set set = integer_set(2'500'000);
    EXPECT_EQ(names(plan_and_apply(set, policy_of(1'000'000, 3'000'000), at(2026, 1, 1))),
              (Names{"events_p2000000", "events_p3000000", "events_p4000000", "events_p5000000"}));
    EXPECT_TRUE(plan_and_apply(set, policy_of(1'000'000, 3'000'000), at(2026, 1, 1)).empty());
    set.position = 3'999'999;
    EXPECT_EQ(names(plan_and_apply(set, policy_of(1'000'000, 3'000'000), at(2026, 1, 1))),
              (Names{"events_p6000000"}));
}

TEST(PartitionPlan, IntegersBeginAtZeroOrAtTheFirstPartition) {
    Set set = integer_set(std::nullopt);
    EXPECT_EQ(names(plan_and_apply(set, policy_of(100, 0), at(2026, 1, 1))), (Names{"events_p0"}));
    Set started = integer_set(std::nullopt);
    add(started, "first", Bound::value(501), Bound::value(601));
    EXPECT_EQ(names(plan_and_apply(started, policy_of(100, 100), at(2026, 1, 1))),
              (Names{"events_p601"}));
}

TEST(PartitionPlan, IntegersBelowZeroAreFloored) {
    Set set = integer_set(0);
    EXPECT_EQ(names(plan_and_apply(set, policy_of(100, 0, 150), at(2026, 1, 1))),
              (Names{"events_p0", "events_pn100", "events_pn200"}));
}

TEST(PartitionPlan, TheLastIntegerPartitionHasNoEnd) {
    Set set = integer_set(2'147'483'600);
    set.lowest = std::numeric_limits<std::int32_t>::min();
    set.highest = std::numeric_limits<std::int32_t>::max();
    const auto steps = plan_and_apply(set, policy_of(1'000'000, 3'000'000), at(2026, 1, 1));
    ASSERT_EQ(names(steps), (Names{"events_p2147000000"}));
    EXPECT_EQ(steps[0].range.upper, Bound::maxvalue());
    EXPECT_EQ(names(plan_and_apply(set, policy_of(1'000'000, 3'000'000), at(2026, 1, 1))),
              (Names{"leave"}));
}

TEST(PartitionPlan, SmallKeysEndWhereTheirTypeBegins) {
    Set set = integer_set(0);
    set.lowest = std::numeric_limits<std::int16_t>::min();
    set.highest = std::numeric_limits<std::int16_t>::max();
    plan_and_apply(set, policy_of(10'000, 50'000, 50'000), at(2026, 1, 1));
    EXPECT_EQ(set.members.front().range.lower, Bound::value(-32'768));
    EXPECT_EQ(set.members.back().range.upper, Bound::maxvalue());
}

// --- statistics ---------------------------------------------------------------------------------

TEST(PartitionPlan, TheParentIsAnalyzedOnceADayWhenRowsChanged) {
    Set set = empty_set();
    const Instant now = at(2026, 11, 21);
    plan_and_apply(set, policy_of(monthly), now);
    const FakeWorld world;
    const auto planned = [&](Statistics statistics) {
        set.statistics = statistics;
        return names(plan(set, policy_of(monthly), now, world));
    };
    const Instant yesterday = at(2026, 11, 20);
    const Instant an_hour_ago = at(2026, 11, 20, 23);
    EXPECT_EQ(planned({false, true, std::nullopt, true}), Names{}) << "nothing to count";
    EXPECT_EQ(planned({true, true, std::nullopt, true}), Names{"analyze"});
    EXPECT_EQ(planned({true, false, std::nullopt, true}), Names{"analyze"}) << "never";
    EXPECT_EQ(planned({true, true, yesterday, true}), Names{"analyze"});
    EXPECT_EQ(planned({true, false, yesterday, true}), Names{}) << "no row changed";
    EXPECT_EQ(planned({true, true, an_hour_ago, true}), Names{}) << "fresh";
    EXPECT_EQ(planned({true, true, yesterday, false}), Names{"leave"}) << "would read too much";
    FakeWorld elsewhere;
    elsewhere.foreign_trees = {set.relid};
    set.statistics = {true, true, yesterday, true};
    EXPECT_EQ(names(plan(set, policy_of(monthly), now, elsewhere)), Names{"leave"});
}

// --- one partition ------------------------------------------------------------------------------

TEST(PartitionPlan, OnePartitionIsCutAtItsNeighbours) {
    Set set = empty_set();
    add(set, "a", at(2026, 1, 10), at(2026, 1, 20));
    const FakeWorld world;
    const auto before =
        plan_one(set, policy_of(monthly), at(2026, 11, 1), world, at(2026, 1, 5).us);
    ASSERT_EQ(before.size(), 1U);
    EXPECT_EQ(before[0].range,
              (Range{Bound::value(at(2026, 1, 1).us), Bound::value(at(2026, 1, 10).us)}));
    const auto after =
        plan_one(set, policy_of(monthly), at(2026, 11, 1), world, at(2026, 1, 20).us);
    EXPECT_EQ(after[0].range,
              (Range{Bound::value(at(2026, 1, 20).us), Bound::value(at(2026, 2, 1).us)}));
    EXPECT_TRUE(
        plan_one(set, policy_of(monthly), at(2026, 11, 1), world, at(2026, 1, 10).us).empty());
}

TEST(PartitionPlan, OnePartitionHasTheKeyThatItIsMadeFor) {
    const FakeWorld world;
    const auto one = [&](std::int64_t position) {
        return plan_one(empty_set(KeyKind::epoch_s), policy_of(daily), at(2026, 11, 1), world,
                        position);
    };
    EXPECT_TRUE(one(1'700'000'000).back().range.contains(1'700'000'000));
    (void)error_of(base::errc::datetime_overflow, [&] { one(base::highest_position); });
    (void)error_of(base::errc::datetime_overflow, [&] { one(-base::highest_position); });
}

// --- bounds as text -----------------------------------------------------------------------------

TEST(PartitionPlan, LiteralsMeanTheSameEverywhere) {
    const auto sql = [](KeyKind kind, std::int64_t position) {
        return bound_sql(kind, Bound::value(position));
    };
    EXPECT_EQ(sql(KeyKind::timestamptz, at(2026, 11, 1).us), "'2026-11-01 00:00:00+00'");
    EXPECT_EQ(sql(KeyKind::timestamptz, at(2026, 11, 1, 5, 30).us + 1),
              "'2026-11-01 05:30:00.000001+00'");
    EXPECT_EQ(sql(KeyKind::timestamptz, at(-43, 3, 15).us), "'0044-03-15 00:00:00+00 BC'");
    EXPECT_EQ(sql(KeyKind::timestamptz, base::plus_infinity.us), "'infinity'");
    EXPECT_EQ(sql(KeyKind::timestamp, at(2026, 11, 1).us), "'2026-11-01 00:00:00'");
    EXPECT_EQ(sql(KeyKind::date, base::days_from_civil({2026, 11, 1})), "'2026-11-01'");
    EXPECT_EQ(sql(KeyKind::date, base::days_from_civil({-43, 3, 15})), "'0044-03-15 BC'");
    EXPECT_EQ(sql(KeyKind::date, base::minus_infinity.us), "'-infinity'");
    EXPECT_EQ(sql(KeyKind::integer, -5), "-5");
    EXPECT_EQ(sql(KeyKind::epoch_s, 1'700'000'000), "1700000000");
    EXPECT_EQ(sql(KeyKind::uuid_v7, 0x018bcfe56800), "'018bcfe5-6800-0000-0000-000000000000'");
    EXPECT_EQ(bound_sql(KeyKind::uuid_v7, Bound::minvalue()), "MINVALUE");
    EXPECT_EQ(bound_sql(KeyKind::uuid_v7, Bound::maxvalue()), "MAXVALUE");
}

TEST(PartitionPlan, PositionsAndInstantsConvertBothWays) {
    const Instant instant = at(2023, 11, 14, 22, 13, 20); // 1700000000
    const auto position = [&](KeyKind kind) { return position_of(kind, instant); };
    EXPECT_EQ(position(KeyKind::epoch_s), 1'700'000'000);
    EXPECT_EQ(position(KeyKind::epoch_ms), 1'700'000'000'000);
    EXPECT_EQ(position(KeyKind::epoch_us), 1'700'000'000'000'000);
    EXPECT_EQ(position(KeyKind::epoch_ns), 1'700'000'000'000'000'000);
    EXPECT_EQ(position(KeyKind::uuid_v7), 1'700'000'000'000);
    EXPECT_EQ(position(KeyKind::date), base::days_from_civil({2023, 11, 14}));
    for (const KeyKind kind : {KeyKind::timestamptz, KeyKind::epoch_s, KeyKind::epoch_ms,
                               KeyKind::epoch_us, KeyKind::epoch_ns, KeyKind::uuid_v7})
        EXPECT_EQ(instant_of(kind, position(kind)), instant);
    EXPECT_EQ(instant_of(KeyKind::epoch_ns, 1'700'000'000'000'000'999), instant);
    EXPECT_TRUE(
        base::in_range(instant_of(KeyKind::epoch_s, std::numeric_limits<std::int64_t>::max())));
    EXPECT_TRUE(
        base::in_range(instant_of(KeyKind::epoch_s, std::numeric_limits<std::int64_t>::min())));
    EXPECT_EQ(position_of(KeyKind::epoch_ns, base::Instant{base::end_instant.us - 1}),
              std::numeric_limits<std::int64_t>::max());
}

TEST(PartitionPlan, AUuidNeighbourIsRepeatedToTheLetter) {
    Set set = empty_set(KeyKind::uuid_v7);
    const std::int64_t december = position_of(KeyKind::uuid_v7, at(2026, 12, 1));
    add(set, "old", Bound::value(position_of(KeyKind::uuid_v7, at(2026, 11, 1))),
        Bound::value(december));
    set.members[0].exact_upper = "019ad6e5-ac00-7000-8000-000000000000";
    Policy policy = policy_of(monthly);
    policy.cadence = TimeCadence{monthly, {1, 0, 0}, nothing};
    const auto steps = plan_and_apply(set, policy, at(2026, 11, 21));
    ASSERT_EQ(steps.size(), 1U);
    EXPECT_EQ(steps[0].exact_lower, set.members[0].exact_upper);
    EXPECT_EQ(bound_sql(set.kind, steps[0].range.lower, steps[0].exact_lower),
              "'019ad6e5-ac00-7000-8000-000000000000'");
    EXPECT_EQ(steps[0].exact_upper, "");
}

TEST(PartitionPlan, RowsOfAnIntegerSetGoOnWhateverTheStepWas) {
    // A change of step: the old partitions stay, a bridge leads to the new grid.
    Set set = integer_set(1'500);
    plan_and_apply(set, policy_of(1'000, 0), at(2026, 1, 1));
    set.position = 2'100;
    const auto steps = plan_and_apply(set, policy_of(5'000, 0), at(2026, 1, 1));
    ASSERT_EQ(steps.size(), 1U);
    EXPECT_EQ(steps[0].range, (Range{Bound::value(2'000), Bound::value(5'000)}));
}

} // namespace
} // namespace orchestry::partition
