// Sets of points in time, against a set of whole numbers.
#include "base/instant_set.hpp"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace orchestry::base {
namespace {

TimeExtent extent(std::int64_t from, std::int64_t to) { return {Instant{from}, Instant{to}}; }

std::set<std::int64_t> points(const InstantSet& set) {
    std::set<std::int64_t> points;
    for (const TimeExtent& e : set)
        for (std::int64_t i = e.from.us; i < e.to.us; ++i)
            points.insert(i);
    return points;
}

void expect_well_formed(const InstantSet& set) {
    Instant end = minus_infinity;
    for (const TimeExtent& e : set) {
        EXPECT_LT(e.from, e.to);
        EXPECT_LT(end, e.from) << "they touch";
        end = e.to;
    }
}

TEST(InstantSet, IsASetUnderAnyOrderOfChanges) {
    std::mt19937 random(7);
    for (int round = 0; round < 200; ++round) {
        InstantSet set;
        std::set<std::int64_t> expected;
        for (int change = 0; change < 40; ++change) {
            const std::int64_t from = random() % 60;
            const std::int64_t to = from + random() % 9;
            if (random() % 3 > 0) {
                set.add(extent(from, to));
                for (std::int64_t i = from; i < to; ++i)
                    expected.insert(i);
            } else {
                set.remove(extent(from, to));
                for (std::int64_t i = from; i < to; ++i)
                    expected.erase(i);
            }
            expect_well_formed(set);
            ASSERT_EQ(points(set), expected);
            for (std::int64_t i = -1; i < 71; ++i) {
                const TimeExtent* const found = set.find(Instant{i});
                ASSERT_EQ(found != nullptr, expected.contains(i));
                if (found) {
                    EXPECT_TRUE(found->from.us <= i && i < found->to.us);
                }
            }
            const auto first = expected.lower_bound(from);
            EXPECT_EQ(set.overlaps(extent(from, to)), first != expected.end() && *first < to);
        }
    }
}

TEST(InstantSet, SetsAreAddedAndRemoved) {
    InstantSet a, b;
    a.add(extent(0, 10));
    b.add(extent(2, 4));
    b.add(extent(8, 12));
    InstantSet both = a;
    both.add(b);
    EXPECT_EQ(both.size(), 1u);
    a.remove(b);
    EXPECT_EQ(points(a), (std::set<std::int64_t>{0, 1, 4, 5, 6, 7}));
}

TEST(InstantSet, CoarsenFillsTheSmallestGaps) {
    InstantSet set;
    for (const std::int64_t from : {0, 3, 10, 12, 30})
        set.add(extent(from, from + 1));
    InstantSet one = set;
    set.coarsen(3);
    ASSERT_EQ(set.size(), 3u);
    EXPECT_EQ(set.begin()->to.us, 4);
    EXPECT_EQ((set.begin() + 1)->from.us, 10);
    EXPECT_EQ((set.begin() + 1)->to.us, 13);
    one.coarsen(0);
    ASSERT_EQ(one.size(), 1u);
    EXPECT_EQ(one.begin()->to.us, 31);
}

} // namespace
} // namespace orchestry::base
