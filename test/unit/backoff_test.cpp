#include "base/backoff.hpp"

#include "base/time.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <set>

namespace orchestry::base {
namespace {

constexpr std::int64_t forever = std::numeric_limits<std::int64_t>::max();

TEST(Backoff, LiesBetweenHalfAndAllOfTheDoublingWait) {
    for (int attempt = 1; attempt <= 40; ++attempt) {
        const std::int64_t whole =
            attempt < 20 ? std::min(us_per_hour, us_per_second << (attempt - 1)) : us_per_hour;
        for (std::uint64_t seed = 0; seed < 200; ++seed) {
            const std::int64_t wait = backoff_us(attempt, us_per_second, us_per_hour, seed);
            EXPECT_GE(wait, whole / 2) << "attempt " << attempt;
            EXPECT_LE(wait, whole) << "attempt " << attempt;
        }
    }
}

TEST(Backoff, TheCapHoldsForTheFirstAttemptToo) {
    for (std::uint64_t seed = 0; seed < 200; ++seed)
        EXPECT_LE(backoff_us(1, us_per_hour, us_per_second, seed), us_per_second);
}

TEST(Backoff, SpreadsThoseWhoFailedTogether) {
    std::set<std::int64_t> waits;
    for (std::uint64_t seed = 0; seed < 1'000; ++seed)
        waits.insert(backoff_us(3, us_per_second, us_per_hour, seed));
    EXPECT_GT(waits.size(), 990U);
    EXPECT_LT(*waits.begin(), 21 * us_per_second / 10);
    EXPECT_GT(*waits.rbegin(), 39 * us_per_second / 10);
}

TEST(Backoff, OneSeedSpreadsItsAttemptsDifferently) {
    // At the cap only the jitter differs.
    EXPECT_NE(backoff_us(30, us_per_second, us_per_hour, 7),
              backoff_us(31, us_per_second, us_per_hour, 7));
}

TEST(Backoff, NeverOverflowsOrTurnsNegative) {
    for (const int attempt :
         {std::numeric_limits<int>::min(), 0, 1, 64, 10'000, std::numeric_limits<int>::max()}) {
        EXPECT_GE(backoff_us(attempt, 1, forever, 1), 1);
        EXPECT_GE(backoff_us(attempt, forever, forever, 1), forever / 2);
        EXPECT_EQ(backoff_us(attempt, 0, forever, 1), 0);
        EXPECT_EQ(backoff_us(attempt, 5, -1, 1), 0);
    }
    EXPECT_GT(backoff_us(std::numeric_limits<int>::max(), 3, forever, 1), forever / 2 - 1);
    EXPECT_LE(backoff_us(0, us_per_second, us_per_hour, 1), us_per_second);
}

} // namespace
} // namespace orchestry::base
