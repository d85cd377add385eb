// Retention of single rows: what is past its time, how batches find it and how large they are.
#include "retention/row_plan.hpp"

#include "support.hpp"
#include "system_zone.hpp"

#include <algorithm>
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

const base::Instant now = at(2026, 7, 1);

/// What a test says of rows: every leaf has some that are past their time unless it is named here.
class FakeRowWorld : public RowWorld {
  public:
    bool has_past_row(const Leaf& leaf, std::int64_t) const override {
        asked.insert(leaf.relid);
        return !done.contains(leaf.relid);
    }
    std::set<std::uint32_t> done;
    mutable std::set<std::uint32_t> asked;
};

RowPolicy keep(const Span& span) {
    RowPolicy policy;
    policy.keep = span;
    policy.time_column = "created_at";
    policy.announced = true;
    return policy;
}

constexpr std::int64_t many_pages = 1'000'000;

/// A leaf of many rows, one in ten of which goes.
Leaf leaf(std::uint32_t relid, std::int64_t pages = many_pages) {
    Leaf leaf;
    leaf.relid = relid;
    leaf.quoted = "public.t" + std::to_string(relid);
    leaf.pages = pages;
    leaf.rows = 100 * pages;
    leaf.past_rows = leaf.rows / 10;
    return leaf;
}

RowTable table(std::vector<Leaf> leaves) {
    RowTable table;
    table.relid = 1;
    table.quoted = "public.t1";
    table.owner = "alice";
    table.time_index_sql = "CREATE INDEX CONCURRENTLY ON public.t1 (created_at);";
    table.leaves = std::move(leaves);
    return table;
}

PlannedRows only_step(const RowTable& table, const RowPolicy& policy,
                      const FakeRowWorld& world = {}) {
    const std::vector<PlannedRows> steps = plan_rows(table, policy, now, world);
    EXPECT_EQ(steps.size(), 1u);
    return steps.empty() ? PlannedRows{} : steps.front();
}

TEST(RowPlan, RemovesWhatIsPastItsTime) {
    const PlannedRows step = only_step(table({leaf(1)}), keep({0, 30, 0}));
    EXPECT_EQ(step.action, RowAction::remove);
    EXPECT_EQ(step.object, "public.t1");
    EXPECT_EQ(step.horizon, at(2026, 6, 1).us);
    EXPECT_EQ(step.rows, 10 * many_pages);
    EXPECT_TRUE(contains(step.reason, "created_at before 2026-06-01 00:00:00+00"));
    EXPECT_EQ(step.blocked_by, "");
}

TEST(RowPlan, MovesRowsThatHaveAnArchive) {
    RowPolicy policy = keep({0, 30, 0});
    policy.archive = "public.old";
    EXPECT_EQ(only_step(table({leaf(1)}), policy).action, RowAction::archive);
}

TEST(RowPlan, SaysWhichRows) {
    RowPolicy policy = keep({0, 30, 0});
    policy.predicate = "(level = 'info'::text)";
    policy.keep_last = 5;
    const PlannedRows step = only_step(table({leaf(1)}), policy);
    EXPECT_TRUE(contains(step.reason, "that meet (level = 'info'::text)"));
    EXPECT_TRUE(contains(step.reason, "but for the newest 5 of each group"));
}

TEST(RowPlan, HorizonFollowsTheColumnsKind) {
    const SystemZone zone("America/New_York");
    RowPolicy policy = keep({0, 0, 12 * base::us_per_hour});
    policy.zone = &zone;
    const base::Instant noon = at(2026, 7, 1, 12);
    EXPECT_EQ(row_horizon(policy, noon), at(2026, 7, 1).us);
    policy.kind = KeyKind::timestamp; // what the wall clock showed there
    EXPECT_EQ(row_horizon(policy, noon), at(2026, 6, 30, 20).us);
    policy.kind = KeyKind::date;
    EXPECT_EQ(row_horizon(policy, noon), base::position_of(KeyKind::date, at(2026, 6, 30)));
    policy.kind = KeyKind::epoch_ms;
    EXPECT_EQ(row_horizon(policy, noon), base::to_unix_seconds(at(2026, 7, 1)) * 1000);
}

TEST(RowPlan, PartitionsAreTakenOnlyAsFarAsTheyAreOldEnough) {
    Leaf old = leaf(2), young = leaf(3);
    old.range = {Bound::value(at(2026, 5, 1).us), Bound::value(at(2026, 6, 15).us)};
    young.range = {Bound::value(at(2026, 6, 1).us), Bound::maxvalue()};
    EXPECT_EQ(only_step(table({old, young}), keep({0, 30, 0})).relid, 2u);
}

TEST(RowPlan, AFullPassOverASmallOrIndexedLeafThatFoundNothingIsNoStep) {
    FakeRowWorld world;
    world.done = {1, 2};
    Leaf small = leaf(1, 10), indexed = leaf(2), large = leaf(3);
    indexed.time_index = "t2_at";
    EXPECT_EQ(only_step(table({small, indexed, large}), keep({0, 30, 0}), world).relid, 3u);
    EXPECT_EQ(world.asked, (std::set<std::uint32_t>{1, 2}));
}

TEST(RowPlan, EmptyLeavesAreNoSteps) {
    EXPECT_TRUE(plan_rows(table({leaf(1, 0)}), keep({0, 30, 0}), now, FakeRowWorld{}).empty());
}

// --- partitions that move into an archive as a whole --------------------------------------------

/// A partition of the table for some days of May or June.
Leaf member(std::uint32_t relid, base::Instant from, base::Instant to) {
    Leaf part = leaf(relid);
    part.member = relid;
    part.range = {Bound::value(from.us), Bound::value(to.us)};
    return part;
}

RowPolicy keep_in_archive() {
    RowPolicy policy = keep({0, 30, 0});
    policy.archive = "public.old";
    return policy;
}

const Leaf may = member(2, at(2026, 5, 1), at(2026, 6, 1));
const Leaf june = member(3, at(2026, 6, 1), at(2026, 7, 1));

/// The step that moves May, the first of the leaves.
PlannedRows step_of_may(RowTable table, const RowPolicy& policy = keep_in_archive()) {
    const std::vector<PlannedRows> steps = plan_rows(table, policy, now, FakeRowWorld{});
    EXPECT_FALSE(steps.empty());
    return steps.empty() ? PlannedRows{} : steps.front();
}

TEST(RowPlan, APartitionThatIsPastItsTimeMovesAsAWhole) {
    const Leaf july = member(4, at(2026, 7, 1), at(2026, 8, 1));
    const PlannedRows step = step_of_may(table({may, june, july}));
    EXPECT_EQ(step.action, RowAction::archive);
    EXPECT_EQ(step.route, RowRoute::whole);
    EXPECT_EQ(step.relid, 2u);
    EXPECT_EQ(step.range, *may.range);
    EXPECT_EQ(step.survivor, 4u);
    EXPECT_TRUE(contains(step.reason, "moves as a whole"));
}

TEST(RowPlan, APartitionWithoutRowsMovesToo) {
    Leaf empty = may, later = june;
    empty.pages = later.pages = 0;
    EXPECT_EQ(step_of_may(table({empty, june})).route, RowRoute::whole);
    empty.not_whole = "a hold covers rows of it";
    EXPECT_TRUE(plan_rows(table({empty, later}), keep_in_archive(), now, FakeRowWorld{}).empty());
}

TEST(RowPlan, APartitionThatIsPastItsTimeInPartWaitsOrGoesRowByRow) {
    Leaf later = member(2, at(2026, 5, 1), base::plus(at(2026, 6, 1), 1));
    PlannedRows step = step_of_may(table({later, june}));
    EXPECT_EQ(step.action, RowAction::leave);
    EXPECT_TRUE(contains(step.reason, "when all of it is"));
    later.not_whole = "the archive has partitions for its times";
    step = step_of_may(table({later, june}));
    EXPECT_EQ(step.action, RowAction::archive);
    EXPECT_EQ(step.route, RowRoute::walk);
    EXPECT_FALSE(contains(step.reason, "as a whole"));
}

TEST(RowPlan, OnlyWhatAllOfAPartitionMeetsMovesItAsAWhole) {
    RowPolicy some = keep_in_archive(), newest = keep_in_archive(), filed = keep_in_archive(),
              deleted = keep_in_archive();
    some.predicate = "v > 0";
    newest.keep_last = 1;
    filed.directory = "/srv";
    deleted.archive.clear();
    for (const RowPolicy& policy : {some, newest, filed, deleted})
        EXPECT_NE(step_of_may(table({may, june}), policy).route, RowRoute::whole);
}

TEST(RowPlan, WhatMayHoldRowsWithoutATimeDoesNotMoveAsAWhole) {
    Leaf first = may, endless = may;
    first.range->lower = Bound::minvalue();
    endless.range->lower = Bound::value(base::lowest_position); // '-infinity'
    EXPECT_EQ(step_of_may(table({first, june})).route, RowRoute::walk);
    EXPECT_EQ(step_of_may(table({endless, june})).route, RowRoute::walk);

    RowPolicy numbers = keep_in_archive();
    numbers.kind = KeyKind::epoch_s;
    Leaf seconds = may, newer = june;
    seconds.range = {Bound::value(0), Bound::value(1000)};
    newer.range = {Bound::value(1000), Bound::maxvalue()};
    EXPECT_EQ(step_of_may(table({seconds, newer}), numbers).route, RowRoute::walk);
    seconds.range->lower = Bound::value(1);
    EXPECT_EQ(step_of_may(table({seconds, newer}), numbers).route, RowRoute::whole);
    numbers.kind = KeyKind::uuid_v7;
    EXPECT_EQ(step_of_may(table({seconds, newer}), numbers).route, RowRoute::walk);
}

TEST(RowPlan, TheNewestPartitionDoesNotMoveAsAWhole) {
    PlannedRows step = step_of_may(table({may}));
    EXPECT_EQ(step.action, RowAction::leave);
    EXPECT_TRUE(contains(step.reason, "when there is a newer partition"));
    const Leaf fallback = leaf(4); // has no range
    EXPECT_EQ(step_of_may(table({may, fallback})).action, RowAction::leave);
}

TEST(RowPlan, SaysWhatKeepsAPartitionFromMovingAsAWhole) {
    RowTable all = table({may, june});
    all.not_whole = "the archive is not partitioned";
    PlannedRows step = step_of_may(all);
    EXPECT_EQ(step.route, RowRoute::walk);
    EXPECT_TRUE(contains(step.reason, "not move as a whole, because the archive is not partition"));

    Leaf kept = may;
    kept.not_whole = "a hold covers some of its rows";
    EXPECT_TRUE(contains(step_of_may(table({kept, june})).reason, "because a hold covers some"));

    Leaf deep = may;
    deep.member = 9;
    EXPECT_TRUE(
        contains(step_of_may(table({deep, june})).reason, "because it is a part of a partition"));
}

TEST(RowPlan, FewRowsAreFetchedByAnIndexAndManyAreNot) {
    Leaf indexed = leaf(1);
    indexed.time_index = "t1_at";
    PlannedRows step = only_step(table({indexed}), keep({0, 30, 0}));
    EXPECT_EQ(step.route, RowRoute::walk);
    EXPECT_TRUE(contains(step.reason, "because many rows go"));
    indexed.past_rows = indexed.rows / 20;
    step = only_step(table({indexed}), keep({0, 30, 0}));
    EXPECT_EQ(step.route, RowRoute::index);
    EXPECT_TRUE(contains(step.reason, "follow index t1_at"));
    indexed.past_rows = indexed.rows / 20 + 1;
    EXPECT_EQ(only_step(table({indexed}), keep({0, 30, 0})).route, RowRoute::walk);
}

TEST(RowPlan, NamesTheIndexesThatAreMissing) {
    RowTable slow = table({leaf(1)});
    slow.foreign_key_indexes_sql = {"CREATE INDEX CONCURRENTLY ON public.note (event_id);"};
    const PlannedRows step = only_step(slow, keep({0, 30, 0}));
    EXPECT_TRUE(contains(step.reason, "no index leads with created_at: CREATE INDEX CONCURRENTLY "
                                      "ON public.t1 (created_at);"));
    EXPECT_TRUE(contains(step.reason, "CREATE INDEX CONCURRENTLY ON public.note (event_id);"));
    EXPECT_EQ(step.blocked_by, "");
}

TEST(RowPlan, TheNewestOfManyRowsNeedAnIndex) {
    RowPolicy policy = keep({0, 30, 0});
    policy.keep_last = 3;
    RowTable without = table({leaf(1)});
    without.keep_last_index_sql = "CREATE INDEX CONCURRENTLY ON public.t1 (app, created_at);";
    EXPECT_TRUE(contains(only_step(without, policy).blocked_by, without.keep_last_index_sql));
    without.leaves = {leaf(1, 10)};
    EXPECT_EQ(only_step(without, policy).blocked_by, "");
}

TEST(RowPlan, HeldRowsStayAndThatIsNoFailure) {
    Leaf held = leaf(1);
    held.held = "hold 7 (case 12)";
    const PlannedRows step = only_step(table({held}), keep({0, 30, 0}));
    EXPECT_EQ(step.action, RowAction::leave);
    EXPECT_EQ(step.blocked_by, "hold 7 (case 12)");
}

TEST(RowPlan, WhatIsNobodysBusinessHereIsLeftAlone) {
    Leaf foreign = leaf(2, 0), whole = leaf(3);
    foreign.is_foreign = true;
    whole.leaves_whole = true;
    const auto steps = plan_rows(table({foreign, whole}), keep({0, 30, 0}), now, FakeRowWorld{});
    ASSERT_EQ(steps.size(), 2u);
    EXPECT_EQ(steps[0].action, RowAction::leave);
    EXPECT_EQ(steps[1].action, RowAction::leave);
    // An archive wants its rows before the partition goes.
    RowPolicy policy = keep({0, 30, 0});
    policy.archive = "public.old";
    EXPECT_EQ(only_step(table({whole}), policy).action, RowAction::archive);
}

TEST(RowPlan, RowsThatWouldTakeOthersAlongAreNotArchived) {
    RowTable referenced = table({leaf(1)});
    referenced.cascade = "rows of public.note would go with it";
    RowPolicy policy = keep({0, 30, 0});
    EXPECT_EQ(only_step(referenced, policy).blocked_by, "");
    policy.archive = "public.old";
    EXPECT_EQ(only_step(referenced, policy).blocked_by, referenced.cascade);
    policy.archive = "file:/srv/archive";
    policy.directory = "/srv/archive";
    EXPECT_EQ(only_step(referenced, policy).blocked_by, referenced.cascade);
}

TEST(RowPlan, VetoAndStrangersBlock) {
    Leaf other = leaf(1);
    other.stranger = "bob";
    EXPECT_EQ(only_step(table({other}), keep({0, 30, 0})).blocked_by,
              "it belongs to role bob: ALTER TABLE public.t1 OWNER TO alice;");
    RowPolicy policy = keep({0, 30, 0});
    policy.veto = "the clock";
    EXPECT_EQ(only_step(table({other}), policy).blocked_by, "the clock");
    FakeRowWorld world;
    other.pages = 10;
    other.strangers_table = "public.t2";
    EXPECT_TRUE(contains(only_step(table({other}), keep({0, 30, 0}), world).blocked_by,
                         "public.t2, which belongs to role bob: ALTER TABLE public.t2 OWNER TO "
                         "alice;"));
    EXPECT_TRUE(world.asked.empty()) << "nobody looks into what is a stranger's";
}

TEST(RowPlan, TheFirstRemovalIsAnnounced) {
    RowPolicy policy = keep({0, 30, 0});
    policy.announced = false;
    const auto steps = plan_rows(table({leaf(1), leaf(2)}), policy, now, FakeRowWorld{});
    ASSERT_EQ(steps.size(), 3u);
    EXPECT_EQ(steps[0].action, RowAction::announce);
    EXPECT_EQ(steps[0].rows, 20 * many_pages);
    EXPECT_FALSE(is_destructive(steps[0].action));
    policy.veto = "the clock";
    EXPECT_EQ(plan_rows(table({leaf(1)}), policy, now, FakeRowWorld{}).size(), 1u);
}

TEST(RowPlan, KeepHasAFloorAndAnEnd) {
    error_of("22023", [] { check_row_keep(keep({0, 0, 59 * base::us_per_second}), now); });
    check_row_keep(keep({0, 0, base::us_per_minute}), now);
    error_of("22008", [] { check_row_keep(keep({12 * 10'000, 0, 0}), now); });
}

TEST(RowPlan, NumbersTellTheirUnit) {
    const double s = 1'780'000'000;
    EXPECT_EQ(guess_key_unit(s, s + 1e6), "s");
    EXPECT_EQ(guess_key_unit(s * 1e3, s * 1e3), "ms");
    EXPECT_EQ(guess_key_unit(s * 1e6, s * 1e6), "us");
    EXPECT_EQ(guess_key_unit(s * 1e9, s * 1e9), "ns");
    EXPECT_EQ(guess_key_unit(1, 100'000), ""); // ids
    EXPECT_EQ(guess_key_unit(s, s * 1e3), ""); // a mixture
}

} // namespace
} // namespace orchestry::retention
