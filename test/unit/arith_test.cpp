#include "base/arith.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace orchestry::base {
namespace {

constexpr std::int64_t lowest = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t greatest = std::numeric_limits<std::int64_t>::max();

TEST(Arith, DivisionRoundsDownAndRecombines) {
    for (const std::int64_t value :
         {lowest, std::int64_t{-7}, std::int64_t{-1}, std::int64_t{0}, std::int64_t{6}, greatest})
        for (const std::int64_t divisor : {std::int64_t{1}, std::int64_t{7}, greatest}) {
            const std::int64_t rest = floor_mod(value, divisor);
            EXPECT_GE(rest, 0);
            EXPECT_LT(rest, divisor);
            // Unsigned, because the product may pass the lowest value before the rest is added.
            EXPECT_EQ(static_cast<std::uint64_t>(floor_div(value, divisor)) *
                              static_cast<std::uint64_t>(divisor) +
                          static_cast<std::uint64_t>(rest),
                      static_cast<std::uint64_t>(value));
        }
}

TEST(Arith, AboveMultipleNeverOverflows) {
    EXPECT_EQ(above_multiple(lowest, greatest, 0), greatest - 1);
    EXPECT_EQ(above_multiple(lowest, greatest, greatest - 1), 0);
    EXPECT_EQ(above_multiple(greatest, greatest, greatest - 1), 1);
    EXPECT_EQ(above_multiple(10, 4, 3), 3);
}

TEST(Arith, CheckedSumsAreNothingWhenTheyDoNotFit) {
    EXPECT_EQ(checked_add(1, 2), 3);
    EXPECT_EQ(checked_add(greatest, 1), std::nullopt);
    EXPECT_EQ(checked_subtract(1, 2), -1);
    EXPECT_EQ(checked_subtract(lowest, 1), std::nullopt);
}

} // namespace
} // namespace orchestry::base
