// Materialized views' decisions: which are refreshed, in what order, how, and when the next look
// is.
#include "matview/plan.hpp"

#include "support.hpp"

namespace orchestry::matview {
namespace {

using base::Instant;
using test::at;

const Instant refreshed = at(2026, 3, 1, 10);
const Instant now = at(2026, 3, 1, 10, 30);

View view(std::uint32_t relid, std::vector<std::uint32_t> parents = {}) {
    View v;
    v.relid = relid;
    v.quoted = "v" + std::to_string(relid);
    v.parents = std::move(parents);
    v.as_of = v.refreshed_at = refreshed;
    return v;
}

View changed(View v) {
    v.change = "its tables have changed";
    return v;
}

View opaque(View v) {
    v.opaque = "it calls now()";
    return v;
}

/// "v1 v2?" for steps that refresh v1, and v2 if v1 changes; "=v3" for one that leaves v3 alone.
std::string text(const std::vector<View>& views, std::size_t target, Instant when = now) {
    std::string text;
    for (const Step& step : plan(views, target, when)) {
        text += text.empty() ? "" : " ";
        if (step.action == Action::watch)
            text += "watch:" + step.source;
        else
            text += (step.action == Action::leave ? "=" : "") + views[step.view].quoted +
                    (step.depends ? "?" : "");
    }
    return text;
}

Step only(const std::vector<View>& views) {
    const std::vector<Step> steps = plan(views, views.size() - 1, now);
    EXPECT_EQ(steps.size(), 1u);
    return steps.front();
}

TEST(MatviewPlan, WhatIsProvenUnchangedIsLeftAlone) {
    EXPECT_EQ(text({view(1)}, 0), "=v1");
    EXPECT_EQ(text({view(1), view(2, {1}), view(3, {2})}, 2), "=v3");
}

TEST(MatviewPlan, AChangeRefreshes) {
    EXPECT_EQ(text({changed(view(1))}, 0), "v1");
    EXPECT_EQ(only({changed(view(1))}).reason, "its tables have changed");
}

TEST(MatviewPlan, WhatWasNeverRefreshedIs) {
    View fresh = view(1);
    fresh.as_of.reset();
    EXPECT_EQ(text({fresh}, 0), "v1");
    View restored = view(1);
    restored.refreshed_at.reset();
    EXPECT_EQ(text({restored}, 0), "v1");
    View empty = view(1);
    empty.is_populated = false;
    EXPECT_EQ(only({empty}).reason, "it has no data; plainly, because it has none to compare with");
}

TEST(MatviewPlan, AncestorsComeFirstAndNobodyElse) {
    //   1   5 changed
    //  2 3
    //   4
    const std::vector<View> views = {view(4, {2, 3}), view(3, {1}), view(2, {1}), changed(view(1)),
                                     changed(view(5))};
    EXPECT_EQ(text(views, 0), "v1 v2? v3? v4?");
    EXPECT_EQ(text(views, 1), "v1 v3?");
    EXPECT_EQ(text(views, 3), "v1");
    EXPECT_EQ(text(views, 4), "v5");
}

TEST(MatviewPlan, OnlyChangedBranchesOfADiamond) {
    const std::vector<View> views = {view(1), view(2, {1}), changed(view(3, {1})), view(4, {2, 3})};
    EXPECT_EQ(text(views, 3), "v3 v4?");
}

TEST(MatviewPlan, AChainOfManyLevels) {
    std::vector<View> views;
    for (std::uint32_t i = 100; i > 0; --i)
        views.push_back(
            view(i, i > 1 ? std::vector<std::uint32_t>{i - 1} : std::vector<std::uint32_t>{}));
    const std::vector<std::size_t> order = lineage(views, 0);
    ASSERT_EQ(order.size(), 100u);
    for (std::size_t i = 0; i < order.size(); ++i)
        EXPECT_EQ(views[order[i]].relid, i + 1);
}

TEST(MatviewPlan, WhoReadsTheViewItselfIsLeftToItsOwnJob) {
    EXPECT_EQ(lineage({view(1, {2}), view(2, {1})}, 0), (std::vector<std::size_t>{0}));
    EXPECT_EQ(lineage({view(1, {2, 4}), view(2, {3}), view(3, {1}), view(4)}, 0),
              (std::vector<std::size_t>{3, 0}));
    // A circle of others is refreshed, and ends.
    EXPECT_EQ(lineage({view(1, {2}), view(2, {3}), view(3, {2})}, 0),
              (std::vector<std::size_t>{2, 1, 0}));
    EXPECT_EQ(lineage({view(1, {1})}, 0), (std::vector<std::size_t>{0}));
}

TEST(MatviewPlan, OthersViewsEndTheLineage) {
    std::vector<View> views = {changed(view(1)), changed(view(2, {1})), view(3, {2, 77})};
    views[1].is_ours = false;
    EXPECT_EQ(text(views, 2), "=v3");
}

TEST(MatviewPlan, WhatMayHaveChangedIsRefreshed) {
    EXPECT_EQ(text({opaque(view(1))}, 0), "v1");
    EXPECT_EQ(only({opaque(view(1))}).reason, "it may have changed: it calls now()");
}

TEST(MatviewPlan, AnAncestorThatMayHaveChangedIsRefreshedWhenItIsOld) {
    const std::vector<View> views = {opaque(view(1)), view(2, {1})};
    EXPECT_EQ(text(views, 1, at(2026, 3, 1, 10, 30)), "=v2");
    EXPECT_EQ(text(views, 1, at(2026, 3, 1, 10, 31)), "v1 v2?");
}

TEST(MatviewPlan, SourcesAreWatchedBeforeTheRefresh) {
    View v = view(1);
    v.unwatched = {"a", "b"};
    EXPECT_EQ(text({v}, 0), "watch:a watch:b v1");
    EXPECT_EQ(plan({v}, 0, now)[2].reason,
              "it may have changed: changes of a have not been watched");
}

TEST(MatviewPlan, HintsAreBelievedForATime) {
    View v = view(1);
    v.policy.detection = Detection::stats;
    v.as_of = at(2026, 3, 2, 9);
    EXPECT_EQ(text({v}, 0, at(2026, 3, 2, 9, 59)), "=v1");
    EXPECT_EQ(text({v}, 0, at(2026, 3, 2, 10)), "v1");
    // The clock was set back, nobody knows when.
    EXPECT_EQ(text({v}, 0, at(2026, 2, 28, 11)), "=v1");
    EXPECT_EQ(text({v}, 0, at(2026, 2, 28, 10)), "v1");
}

TEST(MatviewPlan, ConcurrentlyWhereThatCanBe) {
    const auto step = [](Mode mode, bool has_key, bool is_populated = true) {
        View v = changed(view(1));
        v.policy.mode = mode;
        v.has_key = has_key;
        v.is_populated = is_populated;
        return only({v});
    };
    EXPECT_TRUE(step(Mode::automatic, true).concurrently);
    EXPECT_FALSE(step(Mode::automatic, false).concurrently);
    EXPECT_NE(step(Mode::automatic, false).reason.find("no unique index"), std::string::npos);
    EXPECT_FALSE(step(Mode::automatic, true, false).concurrently);
    EXPECT_FALSE(step(Mode::plain, true).concurrently);
    EXPECT_EQ(step(Mode::plain, false).reason, "its tables have changed");
    EXPECT_TRUE(step(Mode::concurrently, true).concurrently);
    EXPECT_FALSE(step(Mode::concurrently, true, false).concurrently);
    EXPECT_EQ(step(Mode::concurrently, true).blocked_by, "");
    EXPECT_NE(step(Mode::concurrently, false).blocked_by, "");
    View poor = changed(view(1));
    poor.has_temporary = false;
    EXPECT_FALSE(only({poor}).concurrently);
    EXPECT_NE(only({poor}).reason.find("temporary"), std::string::npos);
    poor.policy.mode = Mode::concurrently;
    EXPECT_NE(only({poor}).blocked_by.find("TEMPORARY"), std::string::npos);
    poor.policy.mode = Mode::plain;
    EXPECT_EQ(only({poor}).reason, "its tables have changed");
}

TEST(MatviewPlan, PlainlyWhenDeadRowsAreTheMost) {
    const auto step = [](Mode mode, std::int64_t live_rows, std::int64_t dead_rows) {
        View v = changed(view(1));
        v.policy.mode = mode;
        v.live_rows = live_rows;
        v.dead_rows = dead_rows;
        return only({v});
    };
    EXPECT_FALSE(step(Mode::automatic, 20'000, 20'001).concurrently);
    EXPECT_TRUE(step(Mode::automatic, 20'000, 20'001).if_unread);
    EXPECT_NE(step(Mode::automatic, 20'000, 20'001).reason.find("dead rows"), std::string::npos);
    EXPECT_TRUE(step(Mode::automatic, 20'000, 20'000).concurrently); // one refresh leaves so many
    EXPECT_FALSE(step(Mode::automatic, 20'000, 20'000).if_unread);
    EXPECT_TRUE(step(Mode::automatic, 0, 9'999).concurrently);
    EXPECT_FALSE(step(Mode::automatic, 0, 10'000).concurrently);
    EXPECT_TRUE(step(Mode::concurrently, 0, 10'000).concurrently);
    EXPECT_FALSE(step(Mode::concurrently, 0, 10'000).if_unread);
    EXPECT_FALSE(step(Mode::plain, 0, 10'000).if_unread);
    View slow = changed(view(1));
    slow.dead_rows = 10'000;
    slow.longest_us = 5 * base::us_per_second;
    EXPECT_TRUE(only({slow}).if_unread);
    slow.longest_us += 1;
    EXPECT_TRUE(only({slow}).concurrently); // readers would wait for as long
}

TEST(MatviewPlan, NothingIsNewerThanWhatItReads) {
    EXPECT_EQ(plan({changed(view(1))}, 0, now)[0].as_of, std::nullopt);
    EXPECT_EQ(plan({changed(view(1)), view(2, {1})}, 1, now)[1].as_of, now);
    EXPECT_EQ(plan({opaque(view(1)), changed(view(2, {1}))}, 1, now)[0].as_of, refreshed);
    EXPECT_EQ(proven_at({view(1), view(2, {1})}, 1, now), now);
    EXPECT_EQ(proven_at({opaque(view(1)), view(2, {1})}, 1, now), refreshed);
}

TEST(MatviewPlan, ADeadlineIsMetWithTimeForTheRefresh) {
    constexpr std::int64_t hour = base::us_per_hour, minute = base::us_per_minute;
    EXPECT_EQ(due_at(hour, refreshed, 0, now), at(2026, 3, 1, 11));
    EXPECT_EQ(due_at(hour, refreshed, 10 * minute, now), at(2026, 3, 1, 10, 50));
    // Never all the time, however long it takes.
    EXPECT_EQ(due_at(hour, now, 120 * minute, now), at(2026, 3, 1, 11));
    // Over, or not known: from now on.
    EXPECT_EQ(due_at(hour, at(2026, 1, 1), 10 * minute, now), at(2026, 3, 1, 11, 20));
    EXPECT_EQ(due_at(hour, std::nullopt, 10 * minute, now), at(2026, 3, 1, 11, 20));
    EXPECT_EQ(due_at(hour, base::minus_infinity, 0, now), at(2026, 3, 1, 11, 30));
    EXPECT_EQ(due_at(base::us_per_second, now, minute, now), at(2026, 3, 1, 10, 30, 1));
    // The clock was set back.
    EXPECT_EQ(due_at(hour, at(2027, 3, 1), 10 * minute, now), at(2026, 3, 1, 11, 20));
    EXPECT_EQ(due_at(hour, base::plus_infinity, 0, now), at(2026, 3, 1, 11, 30));
}

TEST(MatviewPlan, ActionsHaveWords) {
    EXPECT_STREQ(to_string(Action::watch), "watch");
    EXPECT_STREQ(to_string(Action::refresh), "refresh");
    EXPECT_STREQ(to_string(Action::leave), "leave");
}

} // namespace
} // namespace orchestry::matview
