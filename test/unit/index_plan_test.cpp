#include "migrate/index_plan.hpp"

#include <gtest/gtest.h>

namespace orchestry::migrate {
namespace {

IndexTarget table(std::uint32_t relid, IndexState state) {
    return {relid, 0, false, "s.t" + std::to_string(relid), "i", state, false, false};
}

IndexTarget parent(std::uint32_t relid, IndexState state, std::uint32_t of = 0) {
    IndexTarget target = table(relid, state);
    target.is_partitioned = true;
    target.parent = of;
    return target;
}

IndexTarget partition(std::uint32_t relid, std::uint32_t of, IndexState state, bool attached) {
    IndexTarget target = table(relid, state);
    target.parent = of;
    target.is_attached = attached;
    return target;
}

/// "build 1, attach 2"
std::string actions(const std::vector<IndexTarget>& targets) {
    std::string text;
    for (const IndexStep& step : plan_index(targets))
        text += (text.empty() ? "" : ", ") + std::string(to_string(step.action)) + " " +
                std::to_string(step.relid) + (step.blocked_by.empty() ? "" : " (blocked)");
    return text;
}

TEST(IndexPlan, OfATableIsToBuildIt) {
    EXPECT_EQ(actions({table(1, IndexState::missing)}), "build 1");
    EXPECT_EQ(actions({table(1, IndexState::broken)}), "clear 1, build 1");
    EXPECT_EQ(actions({table(1, IndexState::ready)}), "");
    EXPECT_EQ(actions({table(1, IndexState::stranger)}), "build 1 (blocked)");
}

TEST(IndexPlan, OfPartitionsDeclaresBuildsAndAttaches) {
    const auto missing = IndexState::missing;
    EXPECT_EQ(actions({parent(1, missing), partition(2, 1, missing, false), parent(3, missing, 1),
                       partition(4, 3, missing, false)}),
              "declare 1, build 2, attach 2, declare 3, attach 3, build 4, attach 4");
}

TEST(IndexPlan, GoesOnWhereItWasInterrupted) {
    const auto ready = IndexState::ready;
    EXPECT_EQ(actions({parent(1, ready), partition(2, 1, ready, true),
                       partition(3, 1, ready, false), partition(4, 1, IndexState::broken, false)}),
              "attach 3, clear 4, build 4, attach 4");
    EXPECT_EQ(actions({parent(1, ready), partition(2, 1, ready, true)}), "");
}

TEST(IndexPlan, LeavesPartitionsAloneThatHaveAnIndexOfTheirOwnAttached) {
    IndexTarget covered = partition(2, 1, IndexState::missing, false);
    covered.is_covered = true;
    EXPECT_EQ(actions({parent(1, IndexState::ready), covered}), "");
}

TEST(PartitionIndexName, IsCutToWhatTheServerTakes) {
    EXPECT_EQ(partition_index_name("events_2026_01", "app_idx"), "events_2026_01_app_idx");
    const std::string exact = partition_index_name(std::string(30, 'p'), std::string(32, 'i'));
    EXPECT_EQ(exact, std::string(30, 'p') + "_" + std::string(32, 'i'));
    const std::string a = partition_index_name(std::string(60, 'p'), "one");
    const std::string b = partition_index_name(std::string(60, 'p'), "two");
    EXPECT_EQ(a.size(), 63u);
    EXPECT_NE(a, b);
    std::string wide;
    for (int i = 0; i < 25; ++i)
        wide += "\xC3\x9C"; // two bytes
    for (const char* tail : {"", "x"}) {
        const std::string cut = partition_index_name(wide + tail, "a_long_name_of_an_index");
        EXPECT_LE(cut.size(), 63u);
        EXPECT_NE(static_cast<unsigned char>(cut[cut.size() - 8]) & 0xC0,
                  0xC0); // no half character
    }
}

} // namespace
} // namespace orchestry::migrate
