#include "base/pace.hpp"

#include <gtest/gtest.h>

namespace orchestry::base {
namespace {

TEST(Pace, ComesNearTheTargetAndNeverJumps) {
    Pace pace(1000, 100'000);
    pace.took(50'000);
    EXPECT_EQ(pace.amount(), 2000);
    pace.took(1); // at most four times as much
    EXPECT_EQ(pace.amount(), 8000);
    pace.took(160'000);
    EXPECT_EQ(pace.amount(), 5000);
    pace.took(60'000'000); // at least a quarter
    EXPECT_EQ(pace.amount(), 1250);
}

TEST(Pace, NeverStandsStillAndNeverOverflows) {
    Pace pace(0, 100'000);
    EXPECT_EQ(pace.amount(), 1);
    for (int i = 0; i < 10; ++i)
        pace.took(1'000'000'000'000);
    EXPECT_EQ(pace.amount(), 1);
    for (int i = 0; i < 100; ++i)
        pace.took(0);
    EXPECT_GT(pace.amount(), 1'000'000'000'000);
}

TEST(Pace, HalvesDownToOne) {
    Pace pace(5, 100'000);
    pace.halve();
    EXPECT_EQ(pace.amount(), 2);
    pace.halve();
    pace.halve();
    EXPECT_EQ(pace.amount(), 1);
}

} // namespace
} // namespace orchestry::base
