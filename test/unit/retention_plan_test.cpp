// Retention's decisions: what is due, in which order it goes, and what keeps it.
#include "retention/plan.hpp"

#include "support.hpp"
#include "system_zone.hpp"

#include <algorithm>
#include <random>
#include <set>

namespace orchestry::retention {
namespace {

using base::Bound;
using base::KeyKind;
using base::Span;
using test::at;
using test::contains;
using test::error_of;
using test::SystemZone;

constexpr Span days(int n) { return {0, n, 0}; }
constexpr Span months(int n) { return {n, 0, 0}; }

/// What a test says of rows: no table has any that matter unless it is named here.
class FakeWorld : public World {
  public:
    bool has_held_row(const Thing& thing, const Hold&) const override {
        return rows_held_in.contains(thing.relid);
    }
    bool is_referenced(const Partition& partition, const ForeignKey& key) const override {
        return referenced.contains({partition.relid, key.constraint});
    }
    bool awaits_compression(const Partition& partition) const override {
        return uncompressed.contains(partition.relid);
    }
    std::optional<std::int64_t> awaits_archive(const Partition& partition) const override {
        const auto found = unarchived.find(partition.relid);
        return found == unarchived.end() ? std::nullopt : std::optional(found->second);
    }

    std::string dependents(const Partition& partition) const override {
        return needed.contains(partition.relid) ? "view v" : "";
    }
    std::string awaited_by(const Partition& partition) const override {
        return unread.contains(partition.relid) ? "job 7 (rollup)" : "";
    }

    std::set<std::uint32_t> rows_held_in;
    std::set<std::uint32_t> needed;
    std::map<std::uint32_t, std::int64_t> unarchived; // partition, job
    std::set<std::uint32_t> uncompressed;
    std::set<std::uint32_t> unread;                               // by a rollup
    std::set<std::pair<std::uint32_t, std::uint32_t>> referenced; // partition, foreign key
};

Bound bound(KeyKind kind, base::Instant instant) {
    return Bound::value(base::position_of(kind, instant));
}

Partition partition(std::uint32_t relid, Bound lower, Bound upper) {
    Partition partition;
    partition.relid = relid;
    partition.quoted = "public.p" + std::to_string(relid);
    partition.quarantined = "public.q" + std::to_string(relid);
    partition.range = {lower, upper};
    return partition;
}

Set empty_set(KeyKind kind = KeyKind::timestamptz) {
    Set set;
    set.relid = 1;
    set.quoted = "public.t";
    set.owner = "alice";
    set.kind = kind;
    return set;
}

/// Months of 2026, as partitions 1 to 12.
Set year_of_months(KeyKind kind = KeyKind::timestamptz) {
    Set set = empty_set(kind);
    for (int month = 1; month <= 12; ++month)
        set.partitions.push_back(
            partition(static_cast<std::uint32_t>(month), bound(kind, at(2026, month, 1)),
                      bound(kind, month == 12 ? at(2027, 1, 1) : at(2026, month + 1, 1))));
    return set;
}

Policy keep(const Span& span) {
    Policy policy;
    policy.keep = span;
    policy.announced = true;
    return policy;
}

Policy keep_keys(std::int64_t keys) {
    Policy policy = keep(days(1));
    policy.keep = keys;
    return policy;
}

Detached detached(std::uint32_t relid, std::optional<base::Instant> when) {
    Detached detached;
    detached.relid = relid;
    detached.quoted = "public.q" + std::to_string(relid);
    detached.former = "public.p" + std::to_string(relid);
    detached.at = when;
    return detached;
}

/// "detach 1, drop 7": the steps that would be taken, in order.
std::string taken(const std::vector<PlannedStep>& steps) {
    std::string text;
    for (const PlannedStep& step : steps)
        if (step.action != Action::leave && step.blocked_by.empty())
            text += (text.empty() ? "" : ", ") + std::string(to_string(step.action)) + " " +
                    std::to_string(step.relid);
    return text;
}

std::string taken(const Set& set, const Policy& policy, base::Instant now,
                  const World& world = FakeWorld()) {
    return taken(plan(set, policy, now, world));
}

const PlannedStep* find(const std::vector<PlannedStep>& steps, std::uint32_t relid) {
    const auto found = std::find_if(steps.begin(), steps.end(),
                                    [&](const PlannedStep& step) { return step.relid == relid; });
    return found == steps.end() ? nullptr : &*found;
}

// --- what is due --------------------------------------------------------------------------------

TEST(RetentionPlan, APartitionIsDueWhenItsEndReachesTheHorizon) {
    const Set set = year_of_months();
    EXPECT_EQ(taken(set, keep(months(3)), at(2026, 6, 1)), "detach 1, detach 2");
    EXPECT_EQ(taken(set, keep(months(3)), base::plus(at(2026, 6, 1), -1)), "detach 1");
    EXPECT_EQ(taken(set, keep(days(90)), at(2026, 6, 1)), "detach 1, detach 2");
    EXPECT_EQ(taken(set, keep(days(93)), at(2026, 6, 1)), "detach 1");
}

TEST(RetentionPlan, NothingIsDueInAYoungSet) {
    EXPECT_TRUE(plan(year_of_months(), keep(months(24)), at(2026, 12, 15), FakeWorld()).empty());
}

TEST(RetentionPlan, AWidePartitionStaysAsLongAsItHoldsLiveTime) {
    Set set = empty_set();
    set.partitions = {
        partition(1, Bound::minvalue(), bound(set.kind, at(2026, 6, 1))),
        partition(2, bound(set.kind, at(2026, 6, 1)), bound(set.kind, at(2026, 6, 2))),
        partition(3, bound(set.kind, at(2026, 6, 2)), bound(set.kind, at(2026, 7, 1)))};
    EXPECT_EQ(taken(set, keep(days(10)), at(2026, 6, 10)), "");
    EXPECT_EQ(taken(set, keep(days(10)), at(2026, 6, 11)), "detach 1");
    EXPECT_EQ(taken(set, keep(days(10)), at(2026, 6, 12)), "detach 1, detach 2");
}

TEST(RetentionPlan, WhatReachesToMaxvalueIsNeverDue) {
    Set set = empty_set();
    set.partitions = {
        partition(1, bound(set.kind, at(2020, 1, 1)), bound(set.kind, at(2021, 1, 1))),
        partition(2, bound(set.kind, at(2021, 1, 1)), Bound::maxvalue())};
    EXPECT_EQ(taken(set, keep(days(1)), at(2026, 1, 1)), "detach 1");
    set.partitions.erase(set.partitions.begin());
    EXPECT_EQ(taken(set, keep(days(1)), at(2026, 1, 1)), "");
}

TEST(RetentionPlan, TheNewestPartitionStaysHoweverOldItIs) {
    const auto steps = plan(year_of_months(), keep(days(1)), at(2040, 1, 1), FakeWorld());
    EXPECT_EQ(std::count_if(steps.begin(), steps.end(),
                            [](const PlannedStep& step) { return step.action == Action::detach; }),
              11);
    ASSERT_NE(find(steps, 12), nullptr);
    EXPECT_EQ(find(steps, 12)->action, Action::leave);
    EXPECT_TRUE(std::all_of(steps.begin(), steps.end(), [](const PlannedStep& step) {
        return step.action != Action::detach || step.survivor == 12;
    }));
}

TEST(RetentionPlan, APendingDetachDoesNotCountAsTheNewest) {
    Set set = year_of_months();
    set.partitions.back().detach_pending = true;
    const auto steps = plan(set, keep(days(1)), at(2040, 1, 1), FakeWorld());
    EXPECT_EQ(taken(steps).substr(0, 28), "finalize_detach 12, detach 1");
    EXPECT_EQ(find(steps, 11)->action, Action::leave);
}

TEST(RetentionPlan, DatesAreComparedOnTheWallClockOfTheZone) {
    const SystemZone zone("Pacific/Auckland"); // 12 or 13 hours ahead of UTC
    for (const KeyKind kind : {KeyKind::date, KeyKind::timestamp}) {
        Policy policy = keep(days(31));
        policy.zone = &zone;
        // July ends at its last midnight in Auckland, noon in UTC; 31 days later that is 1
        // September's midnight.
        EXPECT_EQ(taken(year_of_months(kind), policy, at(2026, 8, 31, 11, 59, 59)).find("detach 7"),
                  std::string::npos);
        EXPECT_NE(taken(year_of_months(kind), policy, at(2026, 8, 31, 12)).find("detach 7"),
                  std::string::npos);
    }
}

TEST(RetentionPlan, EpochKeysAreTimes) {
    for (const KeyKind kind : {KeyKind::epoch_s, KeyKind::epoch_ms, KeyKind::epoch_us,
                               KeyKind::epoch_ns, KeyKind::uuid_v7}) {
        EXPECT_EQ(taken(year_of_months(kind), keep(months(3)), at(2026, 6, 1)),
                  "detach 1, detach 2");
        EXPECT_EQ(taken(year_of_months(kind), keep(months(3)), base::plus(at(2026, 6, 1), -1)),
                  "detach 1");
    }
}

TEST(RetentionPlan, AUuidBoundInsideAMillisecondWaitsForItsEnd) {
    Set set = year_of_months(KeyKind::uuid_v7);
    set.partitions[1].exact_upper = "019ca7b1-0000-7000-8000-000000000000";
    EXPECT_EQ(taken(set, keep(months(3)), at(2026, 6, 1)), "detach 1");
    EXPECT_EQ(taken(set, keep(months(3)), base::plus(at(2026, 6, 1), 1000)), "detach 1, detach 2");
}

Set thousands() {
    Set set = empty_set(KeyKind::integer);
    for (std::uint32_t i = 1; i <= 5; ++i)
        set.partitions.push_back(
            partition(i, Bound::value((i - 1) * 1000), Bound::value(i * 1000)));
    return set;
}

TEST(RetentionPlan, IntegerKeysAreCountedBackFromTheirPosition) {
    Set set = thousands();
    EXPECT_EQ(taken(set, keep_keys(1000), at(2026, 1, 1)), "")
        << "it is not known how far the keys are";
    set.position = 4999;
    EXPECT_EQ(taken(set, keep_keys(1000), at(2026, 1, 1)), "detach 1, detach 2, detach 3");
    EXPECT_EQ(taken(set, keep_keys(2000), at(2026, 1, 1)), "detach 1, detach 2");
    set.position = std::numeric_limits<std::int64_t>::min();
    EXPECT_EQ(taken(set, keep_keys(std::numeric_limits<std::int64_t>::max()), at(2026, 1, 1)), "");
}

TEST(RetentionPlan, TheHorizonNeverReachesNow) {
    std::mt19937_64 random(20261121);
    const char* const zones[] = {"UTC",
                                 "America/New_York",
                                 "Europe/London",
                                 "Asia/Kolkata",
                                 "Australia/Lord_Howe",
                                 "Pacific/Apia",
                                 "America/Sao_Paulo",
                                 "Africa/Casablanca"};
    const Span spans[] = {
        {0, 0, base::us_per_hour}, days(1), days(7), months(1), {1, 1, 1}, months(12)};
    for (const char* name : zones) {
        const SystemZone zone(name);
        for (const KeyKind kind :
             {KeyKind::timestamptz, KeyKind::timestamp, KeyKind::date, KeyKind::epoch_s}) {
            const Set set = empty_set(kind);
            for (int i = 0; i < 2'000; ++i) {
                const base::Instant now = base::plus(
                    at(2000, 1, 1),
                    static_cast<std::int64_t>(random() % (40 * 365 * 86'400ull)) * 1'000'000);
                for (const Span& span : spans) {
                    Policy policy = keep(span);
                    policy.zone = &zone;
                    ASSERT_LT(*horizon(set, policy, now),
                              base::position_at(kind, *policy.zone, now) + 1)
                        << name << " " << base::to_string(base::LocalTime{now.us});
                }
            }
        }
    }
}

// --- in which order, and how --------------------------------------------------------------------

TEST(RetentionPlan, WhatWasBegunIsEndedAndSpaceComesBackFirst) {
    Set set = year_of_months();
    set.partitions[4].detach_pending = true;
    set.quarantine = {detached(20, std::nullopt), detached(21, at(2026, 1, 1))};
    EXPECT_EQ(taken(set, keep(months(3)), at(2026, 6, 1)),
              "finalize_detach 5, begin_grace 20, drop 21, detach 1, detach 2");
}

TEST(RetentionPlan, QuarantineLastsForTheGrace) {
    Set set = year_of_months();
    set.quarantine = {detached(21, at(2026, 2, 1))};
    Policy policy = keep(months(24));
    EXPECT_EQ(taken(set, policy, base::plus(at(2026, 2, 8), -1)), "");
    EXPECT_EQ(taken(set, policy, at(2026, 2, 8)), "drop 21");
    policy.grace = months(1);
    EXPECT_EQ(taken(set, policy, base::plus(at(2026, 3, 1), -1)), "");
    EXPECT_EQ(taken(set, policy, at(2026, 3, 1)), "drop 21");
    policy.action = Expiry::detach;
    EXPECT_EQ(taken(set, policy, at(2036, 3, 1)).find("drop"), std::string::npos);
}

TEST(RetentionPlan, PartsGoBeforeTheTableTheyArePartsOf) {
    Set set = year_of_months();
    Detached root = detached(21, at(2026, 1, 1));
    Thing part;
    part.relid = 31;
    part.quoted = "public.part";
    root.parts = {part};
    set.quarantine = {root};
    const auto steps = plan(set, keep(months(24)), at(2026, 6, 1), FakeWorld());
    EXPECT_EQ(taken(steps), "drop 31, drop 21");
    EXPECT_EQ(steps[0].root, 21u);
    set.quarantine[0].parts[0].dependents = "view v";
    EXPECT_EQ(taken(set, keep(months(24)), at(2026, 6, 1)), "") << "all of it stays together";
}

TEST(RetentionPlan, WithoutGraceAPartitionGoesInOneStep) {
    Set set = year_of_months();
    set.partitions[1].has_parts = true;
    Policy policy = keep(months(3));
    policy.grace = days(0);
    policy.announced = false;
    FakeWorld world;
    auto steps = plan(set, policy, at(2026, 6, 1), world);
    EXPECT_EQ(taken(steps), "announce 1, drop 1, detach 2")
        << "parts are dropped one by one by the next run";
    EXPECT_EQ(steps[1].action, Action::remove);
    EXPECT_EQ(steps[1].object, "public.p1");
    EXPECT_EQ(steps[1].survivor, set.partitions.back().relid);
    EXPECT_TRUE(steps[1].concurrently);
    EXPECT_TRUE(contains(steps[0].reason, "2 partitions are to be detached and dropped at once"));
    world.needed = {1};
    steps = plan(set, policy, at(2026, 6, 1), world);
    EXPECT_EQ(taken(steps), "announce 1, detach 2");
    EXPECT_EQ(steps[1].blocked_by, "it is needed by view v: drop that first");
    policy.announced = true;
    policy.action = Expiry::detach;
    EXPECT_EQ(taken(set, policy, at(2026, 6, 1)), "detach 1, detach 2")
        << "what stays in quarantine may be needed by others";
}

TEST(RetentionPlan, WithoutGraceItTakesADetachFirstWhereADropWouldFailOrKeepPeopleWaiting) {
    Set set = year_of_months();
    Policy policy = keep(months(3));
    policy.grace = days(0);
    set.partitions[0].holds = {{5, "audit", "id = 1"}};
    auto steps = plan(set, policy, at(2026, 6, 1), FakeWorld());
    EXPECT_EQ(taken(steps), "detach 1, drop 1, drop 2") << "held rows are searched for once more";
    EXPECT_EQ(steps[1].action, Action::drop);
    EXPECT_EQ(steps[1].object, "public.q1");
    set.partitions[0].holds.clear();
    set.referenced_by = {{7, "fk", 2, "public.acct", false, {}}};
    EXPECT_EQ(taken(set, policy, at(2026, 6, 1)), "detach 1, drop 1, detach 2, drop 2");
}

TEST(RetentionPlan, ConcurrentlyUnlessSomethingForbidsIt) {
    Set set = year_of_months();
    const auto first = [&] {
        return plan(set, keep(months(3)), at(2026, 6, 1), FakeWorld()).front();
    };
    EXPECT_TRUE(first().concurrently);
    EXPECT_TRUE(contains(first().reason, "a background worker detaches it concurrently"));
    set.references = {{7, "fk", 2, "public.acct", false, {}}};
    EXPECT_FALSE(first().concurrently);
    EXPECT_TRUE(contains(first().reason, "because foreign keys make it lock other tables"));
    set.references.clear();
    set.fallback.emplace();
    set.fallback->quoted = "public.d";
    EXPECT_FALSE(first().concurrently);
    EXPECT_TRUE(contains(first().reason, "because there is a default partition"));
}

TEST(RetentionPlan, TheFirstRemovalIsAnnounced) {
    Set set = year_of_months();
    Policy policy = keep(months(3));
    policy.announced = false;
    const auto steps = plan(set, policy, at(2026, 6, 1), FakeWorld());
    EXPECT_EQ(taken(steps), "announce 1, detach 1, detach 2");
    EXPECT_TRUE(
        contains(steps[0].reason, "2 partitions are to be detached and dropped after the grace"));
    EXPECT_EQ(taken(set, policy, at(2026, 1, 1)), "") << "nothing to announce";
    policy.veto = "no";
    EXPECT_EQ(taken(set, policy, at(2026, 6, 1)), "") << "nothing is going to be removed";
}

// --- what keeps it ------------------------------------------------------------------------------

TEST(RetentionPlan, HeldPartitionsStayAndThatIsNoFailure) {
    Set set = year_of_months();
    set.partitions[0].holds = {{7, "case 12", ""}};
    set.quarantine = {detached(21, at(2026, 1, 1))};
    set.quarantine[0].holds = {{8, "tax", ""}};
    const auto steps = plan(set, keep(months(3)), at(2026, 6, 1), FakeWorld());
    EXPECT_EQ(taken(steps), "detach 2");
    for (const std::uint32_t relid : {1u, 21u}) {
        EXPECT_EQ(find(steps, relid)->action, Action::leave);
        EXPECT_TRUE(contains(find(steps, relid)->blocked_by, "orchestry.release_hold("));
    }
    EXPECT_TRUE(contains(find(steps, 1)->blocked_by, "hold 7 (case 12)"));
}

TEST(RetentionPlan, AHoldOnSomeRowsCountsWhereThereAreSuch) {
    Set set = year_of_months();
    for (Partition& partition : set.partitions)
        partition.holds = {{7, "case 12", "customer = 5"}};
    FakeWorld world;
    world.rows_held_in = {1};
    EXPECT_EQ(taken(set, keep(months(3)), at(2026, 6, 1), world), "detach 2");
}

TEST(RetentionPlan, ReferencedRowsBlockAndNameTheConstraint) {
    Set set = year_of_months();
    set.referenced_by = {{7, "note_t_fkey", 2, "public.note", false, {}}};
    FakeWorld world;
    world.referenced = {{1, 7}};
    const auto steps = plan(set, keep(months(3)), at(2026, 6, 1), world);
    EXPECT_EQ(taken(steps), "detach 2");
    EXPECT_TRUE(contains(find(steps, 1)->blocked_by,
                         "rows of public.note reference it by foreign key note_t_fkey"));
    EXPECT_EQ(find(steps, 1)->action, Action::detach) << "so that the run fails and says so";
}

TEST(RetentionPlan, RowsThatAreNotCompressedYetAreWaitedFor) {
    Set set = year_of_months();
    FakeWorld world;
    world.uncompressed = {1};
    EXPECT_EQ(taken(set, keep(months(3)), at(2026, 6, 1), world), "detach 1, detach 2")
        << "no policy compresses the set";
    set.is_compressed = true;
    const auto steps = plan(set, keep(months(3)), at(2026, 6, 1), world);
    EXPECT_EQ(taken(steps), "detach 2");
    EXPECT_EQ(find(steps, 1)->action, Action::leave) << "waiting is no failure";
    EXPECT_TRUE(find(steps, 1)->waits);
    EXPECT_TRUE(contains(find(steps, 1)->blocked_by, "compressed"));
    EXPECT_FALSE(find(steps, 2)->concurrently) << "rows could come in between";
}

TEST(RetentionPlan, RowsThatAreInNoRollupYetAreWaitedFor) {
    Set set = year_of_months();
    FakeWorld world;
    world.unread = {1};
    EXPECT_EQ(taken(set, keep(months(3)), at(2026, 6, 1), world), "detach 1, detach 2")
        << "no rollup is made of the set";
    set.is_watched = true;
    const auto steps = plan(set, keep(months(3)), at(2026, 6, 1), world);
    EXPECT_EQ(taken(steps), "detach 2");
    EXPECT_EQ(find(steps, 1)->action, Action::leave) << "waiting is no failure";
    EXPECT_TRUE(find(steps, 1)->waits);
    EXPECT_TRUE(contains(find(steps, 1)->blocked_by, "job 7 (rollup)"));
    EXPECT_FALSE(find(steps, 2)->concurrently) << "rows could come in between";
}

TEST(RetentionPlan, RowsThatAreNotArchivedYetAreWaitedFor) {
    Set set = year_of_months();
    FakeWorld world;
    world.unarchived = {{1, 77}};
    EXPECT_EQ(taken(set, keep(months(3)), at(2026, 6, 1), world), "detach 1, detach 2")
        << "no policy archives the set";
    set.is_archived = true;
    const auto steps = plan(set, keep(months(3)), at(2026, 6, 1), world);
    EXPECT_EQ(taken(steps), "detach 2");
    EXPECT_EQ(find(steps, 1)->action, Action::leave) << "waiting is no failure";
    EXPECT_TRUE(find(steps, 1)->waits);
    EXPECT_TRUE(contains(find(steps, 1)->blocked_by, "job 77"));
    EXPECT_FALSE(find(steps, 2)->concurrently) << "rows could come in between";
}

TEST(RetentionPlan, RowsGoIntoFilesBeforeTheyAreDropped) {
    Set set = year_of_months();
    set.partitions.erase(set.partitions.begin(), set.partitions.begin() + 2);
    set.quarantine = {detached(21, at(2026, 5, 1)), detached(22, at(2026, 5, 31))};
    Policy policy = keep(months(3));
    EXPECT_EQ(taken(set, policy, at(2026, 6, 1)), "drop 21") << "no file is wanted";
    policy.directory = "/srv";
    EXPECT_EQ(taken(set, policy, at(2026, 6, 1)), "archive 21, publish 21, drop 21")
        << "22 is still within its grace";
    set.quarantine[0].in_file = InFile::unnamed;
    EXPECT_EQ(taken(set, policy, at(2026, 6, 1)), "publish 21, drop 21");
    set.quarantine[0].in_file = InFile::yes;
    EXPECT_EQ(taken(set, policy, at(2026, 6, 1)), "drop 21");
    set.quarantine[0].stranger = "bob";
    set.quarantine[0].in_file = InFile::no;
    EXPECT_EQ(taken(set, policy, at(2026, 6, 1)), "");
    set.quarantine[0].stranger.clear();
    set.quarantine[0].in_file = InFile::has_none;
    set.quarantine[0].parts = {detached(31, at(2026, 5, 1))};
    EXPECT_EQ(taken(set, policy, at(2026, 6, 1)), "archive 31, publish 31, drop 31, drop 21");
    set.quarantine[0].holds = {{5, "case", {}}};
    EXPECT_EQ(taken(set, policy, at(2026, 6, 1)), "") << "what is held stays, and needs no file";
    set.quarantine.clear();
    policy.action = Expiry::detach;
    set.quarantine = {detached(22, at(2026, 5, 31))};
    EXPECT_EQ(taken(set, policy, at(2026, 6, 1)), "archive 22, publish 22")
        << "what is kept for ever goes into its file at once";
}

TEST(RetentionPlan, WithoutAGraceThePartitionGoesThroughItsFileInOneRun) {
    Policy policy = keep(months(3));
    policy.grace = {0, 0, 0};
    policy.directory = "/srv";
    EXPECT_EQ(taken(year_of_months(), policy, at(2026, 5, 1)),
              "detach 1, archive 1, publish 1, drop 1");
}

TEST(RetentionPlan, ATableThatMayNotBeReadBlocksWithTheGrantThatMendsIt) {
    Set set = year_of_months();
    set.referenced_by = {
        {7, "late_fkey", 2, "public.late", true, "GRANT SELECT ON public.late TO alice;"}};
    const auto steps = plan(set, keep(months(3)), at(2026, 6, 1), FakeWorld());
    EXPECT_EQ(taken(steps), "");
    EXPECT_TRUE(contains(find(steps, 1)->blocked_by, "GRANT SELECT ON public.late TO alice;"));
}

TEST(RetentionPlan, RowsThatWaitInQuarantineAreWaitedFor) {
    Set set = year_of_months();
    set.referenced_by = {{7, "note_1_fkey", 2, "public.q_note_1", true, {}}};
    FakeWorld world;
    world.referenced = {{1, 7}};
    const auto steps = plan(set, keep(months(3)), at(2026, 6, 1), world);
    EXPECT_EQ(taken(steps), "detach 2");
    EXPECT_EQ(find(steps, 1)->action, Action::leave) << "no failure: they are about to go";
    EXPECT_TRUE(find(steps, 1)->waits) << "and the clock does not say when";
    set.referenced_by.push_back({8, "note_t_fkey", 3, "public.note", false, {}});
    world.referenced.insert({1, 8});
    EXPECT_EQ(find(plan(set, keep(months(3)), at(2026, 6, 1), world), 1)->action, Action::detach);
}

TEST(RetentionPlan, OtherPeoplesTablesAndNeededOnesBlock) {
    Set set = year_of_months();
    set.partitions[0].stranger = "bob";
    set.quarantine = {detached(21, at(2026, 1, 1)), detached(22, at(2026, 1, 1))};
    set.quarantine[0].dependents = "view v";
    const auto steps = plan(set, keep(months(3)), at(2026, 6, 1), FakeWorld());
    EXPECT_EQ(taken(steps), "drop 22, detach 2") << "one that cannot go does not keep the others";
    EXPECT_TRUE(contains(find(steps, 1)->blocked_by, "ALTER TABLE public.p1 OWNER TO alice;"));
    EXPECT_TRUE(contains(find(steps, 21)->blocked_by, "needed by view v"));
    set.partitions[0].strangers_part = "public.p1_x";
    EXPECT_EQ(find(plan(set, keep(months(3)), at(2026, 6, 1), FakeWorld()), 1)->blocked_by,
              "its part public.p1_x belongs to role bob: ALTER TABLE public.p1_x OWNER TO alice;");
}

/// Fails when it is asked about rows.
class UnreadableWorld : public World {
  public:
    bool has_held_row(const Thing& thing, const Hold&) const override {
        ADD_FAILURE() << "rows of " << thing.quoted << " were looked at";
        return false;
    }
    bool is_referenced(const Partition& partition, const ForeignKey&) const override {
        ADD_FAILURE() << "rows of " << partition.quoted << " were looked at";
        return false;
    }
    std::string dependents(const Partition&) const override {
        ADD_FAILURE() << "needs of a partition that goes with a grace were looked for";
        return {};
    }
    bool awaits_compression(const Partition& partition) const override {
        ADD_FAILURE() << "rows of " << partition.quoted << " were looked at";
        return false;
    }
    std::optional<std::int64_t> awaits_archive(const Partition& partition) const override {
        ADD_FAILURE() << "rows of " << partition.quoted << " were looked at";
        return std::nullopt;
    }
    std::string awaited_by(const Partition& partition) const override {
        ADD_FAILURE() << "rows of " << partition.quoted << " were looked at";
        return {};
    }
};

TEST(RetentionPlan, RowsOfStrangersAreNotLookedAt) {
    Set set = year_of_months();
    set.partitions.resize(2);
    set.partitions[0].stranger = "bob";
    set.referenced_by = {{7, "note_fkey", 2, "public.note", false, {}}};
    set.is_compressed = set.is_archived = true;
    auto steps = plan(set, keep(months(3)), at(2027, 6, 1), UnreadableWorld());
    EXPECT_TRUE(contains(find(steps, 1)->blocked_by, "belongs to role bob"));
    set.partitions[0].holds = {{5, "case 1", "customer = 1"}};
    steps = plan(set, keep(months(3)), at(2027, 6, 1), UnreadableWorld());
    EXPECT_TRUE(contains(find(steps, 1)->blocked_by, "hold 5")) << "it may have such rows";
}

TEST(RetentionPlan, AVetoBlocksAllRemovalAndNothingElse) {
    Set set = year_of_months();
    set.partitions[5].detach_pending = true;
    set.quarantine = {detached(21, at(2026, 1, 1)), detached(22, std::nullopt)};
    Policy policy = keep(months(3));
    policy.veto = "the clock has leapt";
    EXPECT_EQ(taken(set, policy, at(2026, 6, 1)), "finalize_detach 6, begin_grace 22");
}

TEST(RetentionPlan, ALeapOfTheClockIsVetoed) {
    EXPECT_EQ(clock_veto(at(2026, 6, 1), at(2026, 7, 1), 9), "");
    EXPECT_EQ(clock_veto(at(2026, 6, 1), at(2020, 1, 1), 9), "")
        << "a clock that goes back brings nothing due";
    EXPECT_TRUE(contains(clock_veto(at(2026, 6, 1), at(2026, 7, 2), 9), "31 days late"));
    EXPECT_TRUE(contains(clock_veto(at(2026, 6, 1), at(2026, 7, 2), 9), "orchestry.resume_job(9)"));
}

TEST(RetentionPlan, AnInterruptedDetachGoesOnOrIsTakenBack) {
    Set set = year_of_months();
    set.partitions[0].renamed = true;
    EXPECT_EQ(taken(set, keep(months(3)), at(2026, 6, 1)), "detach 1, detach 2");
    EXPECT_EQ(taken(set, keep(months(24)), at(2026, 6, 1)), "reinstate 1");
    set.partitions[0].holds = {{7, "case 12", ""}};
    EXPECT_EQ(taken(set, keep(months(3)), at(2026, 6, 1)), "detach 2, reinstate 1");
}

// --- settings -----------------------------------------------------------------------------------

TEST(RetentionPlan, IntervalsMustPointOneWay) {
    for (const Span& span : {Span{0, -1, 0}, Span{1, -1, 0}, Span{0, 1, -1}}) {
        error_of("22023", [&] { check_positive(span, "keep"); });
        error_of("22023", [&] { check_not_negative(span, "grace"); });
    }
    error_of("22023", [] { check_positive({0, 0, 0}, "keep"); });
    EXPECT_NO_THROW(check_not_negative({0, 0, 0}, "grace"));
    EXPECT_NO_THROW(check_positive({1, 1, 1}, "keep"));
}

TEST(RetentionPlan, KeepIsAtLeastOnePartition) {
    const Set set = year_of_months();
    const base::Instant now = at(2026, 6, 1);
    EXPECT_NO_THROW(check_keep(set, keep(months(1)), now));
    EXPECT_NO_THROW(check_keep(set, keep(days(31)), now));
    const base::Error error = error_of("22023", [&] { check_keep(set, keep(days(30)), now); });
    EXPECT_TRUE(contains(error.detail(),
                         "public.p12 goes from 2026-12-01 00:00:00+00 to 2027-01-01 00:00:00+00"));
    EXPECT_NO_THROW(check_keep(empty_set(), keep(days(1)), now));
    error_of("22008", [&] { check_keep(set, keep(months(12 * 10'000)), now); });
    error_of("22008", [&] {
        Policy policy = keep(months(1));
        policy.grace = months(12 * 300'000);
        check_keep(set, policy, now);
    });
    EXPECT_NO_THROW(check_keep(thousands(), keep_keys(1000), now));
    error_of("22023", [&] { check_keep(thousands(), keep_keys(999), now); });
}

TEST(RetentionPlan, QuarantineNamesFit) {
    EXPECT_EQ(quarantine_name(16'384, "events_2026"), "orchestry_quarantine_16384_events_2026");
    const std::string long_name(63, 'x');
    EXPECT_EQ(quarantine_name(4'294'967'295, long_name).size(), 63u);
    std::string umlauts;
    for (int i = 0; i < 31; ++i)
        umlauts += "\u00e4"; // two bytes each
    for (const std::string& name : {umlauts, "x" + umlauts}) {
        const std::string quarantined = quarantine_name(16'384, name);
        EXPECT_LE(quarantined.size(), 63u);
        EXPECT_NE(static_cast<unsigned char>(quarantined.back()), 0xc3) << "half a character";
    }
}

// --- the quiet ----------------------------------------------------------------------------------

TEST(RetentionPlan, NothingIsDueBeforeTheQuietEnds) {
    std::mt19937_64 random(20261122);
    const char* const zones[] = {"UTC", "America/New_York", "Pacific/Apia", "Australia/Lord_Howe"};
    const Span spans[] = {
        days(40), months(2), {2, 3, 0}, {1, 0, 40 * base::us_per_day}, months(13)};
    int ended = 0;
    for (const char* name : zones) {
        const SystemZone zone(name);
        for (const KeyKind kind :
             {KeyKind::timestamptz, KeyKind::timestamp, KeyKind::date, KeyKind::epoch_ms})
            for (const Span& span : spans)
                for (int i = 0; i < 300; ++i) {
                    Set set = year_of_months(kind);
                    if (random() % 2 == 0)
                        set.quarantine = {
                            detached(21, at(2026, 1 + static_cast<int>(random() % 12), 1))};
                    Policy policy = keep(span);
                    policy.zone = &zone;
                    policy.grace = days(static_cast<int>(random() % 60));
                    const base::Instant now = base::plus(
                        at(2025, 6, 1),
                        static_cast<std::int64_t>(random() % (900 * 86'400ull)) * 1'000'000);
                    if (!taken(set, policy, now).empty())
                        continue;
                    const auto until = quiet_until(set, policy, now);
                    ASSERT_TRUE(until.has_value());
                    if (*until <= now || *until == base::end_instant)
                        continue;
                    ++ended;
                    ASSERT_EQ(taken(set, policy, base::plus(*until, -1)), "")
                        << name << " now " << base::to_string(base::LocalTime{now.us});
                }
    }
    EXPECT_GT(ended, 1'000) << "the test must meet enough quiets that end";
}

TEST(RetentionPlan, TheQuietAllowsForMonthsOfDifferentLengths) {
    // 1 May less a month and two days is 30 March, but 30 March and a month and two days is 2 May.
    Set set = empty_set();
    set.partitions = {
        partition(1, Bound::minvalue(), bound(set.kind, at(2026, 3, 30))),
        partition(2, bound(set.kind, at(2026, 3, 30)), bound(set.kind, at(2026, 12, 1)))};
    const Policy policy = keep({1, 2, 0});
    EXPECT_EQ(taken(set, policy, at(2026, 5, 1)), "detach 1");
    EXPECT_LE(*quiet_until(set, policy, at(2026, 4, 1)), at(2026, 5, 1));
}

TEST(RetentionPlan, TheQuietIsKnownHoweverFarPartitionsReach) {
    Set set = year_of_months();
    set.partitions.push_back(
        partition(13, set.partitions.back().range.upper, Bound::value(base::end_instant.us - 1)));
    EXPECT_TRUE(quiet_until(set, keep(months(12)), at(2026, 6, 1)).has_value());
}

TEST(RetentionPlan, ThePositionOfIntegerKeysIsNotAMatterOfTime) {
    EXPECT_FALSE(quiet_until(thousands(), keep_keys(1000), at(2026, 1, 1)).has_value());
}

} // namespace
} // namespace orchestry::retention
