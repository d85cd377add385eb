#include "base/integer_grid.hpp"

#include "support.hpp"

#include <limits>
#include <random>

namespace orchestry::base {
namespace {

using test::error_of;

constexpr std::int64_t lowest = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t greatest = std::numeric_limits<std::int64_t>::max();

TEST(IntegerGrid, NegativeKeysGoDown) {
    const IntegerGrid grid(10);
    EXPECT_EQ(grid.floor(-1), -10);
    EXPECT_EQ(grid.floor(-10), -10);
    EXPECT_EQ(grid.floor(-11), -20);
    EXPECT_EQ(grid.next(-10), 0);
    EXPECT_EQ(grid.next(-1), 0);
    EXPECT_EQ(grid.ceil(-10), -10);
    EXPECT_EQ(grid.ceil(-9), 0);
    EXPECT_EQ(grid.floor(9), 0);
    EXPECT_EQ(grid.next(0), 10);
}

TEST(IntegerGrid, OriginShiftsAllBoundaries) {
    for (const std::int64_t origin : {std::int64_t{3}, std::int64_t{-7}, std::int64_t{103}}) {
        const IntegerGrid grid(10, origin);
        EXPECT_EQ(grid.floor(3), 3);
        EXPECT_EQ(grid.floor(2), -7);
        EXPECT_EQ(grid.next(3), 13);
    }
}

TEST(IntegerGrid, HoldsForRandomKeysStepsAndOrigins) {
    std::mt19937_64 random(20260801);
    const auto any = [&] {
        return static_cast<std::int64_t>(random()) >> (random() % 60); // of all magnitudes
    };
    int checked = 0;
    while (checked < 100'000) {
        const std::int64_t key = any() / 4;
        const std::int64_t step = any() / 4;
        if (step <= 0)
            continue;
        const IntegerGrid grid(step, any());
        const std::int64_t lower = grid.floor(key);
        const std::int64_t upper = grid.next(key);
        ASSERT_LE(lower, key);
        ASSERT_GT(upper, key);
        ASSERT_EQ(upper - lower, step);
        ASSERT_EQ(grid.floor(lower), lower);
        ASSERT_EQ(grid.next(lower), upper);
        ASSERT_EQ(grid.ceil(key), key == lower ? key : upper);
        ++checked;
    }
}

TEST(IntegerGrid, BoundsThatDoNotFitAreErrors) {
    EXPECT_EQ(error_of("22003", [] { IntegerGrid(10).floor(lowest); }).message(),
              "partition bound out of range");
    error_of("22003", [] { IntegerGrid(10).next(greatest); });
    error_of("22003", [] { IntegerGrid(greatest).next(greatest); });
    EXPECT_EQ(IntegerGrid(greatest).floor(greatest), greatest);
    EXPECT_EQ(IntegerGrid(1).floor(lowest), lowest);
    EXPECT_EQ(IntegerGrid(10).floor(greatest), greatest - 7);
    EXPECT_EQ(IntegerGrid(1).ceil(greatest), greatest);
}

TEST(IntegerGrid, StepMustBePositive) {
    for (const std::int64_t step : {std::int64_t{0}, std::int64_t{-1}, lowest}) {
        const Error error = error_of("22023", [&] { IntegerGrid grid(step); });
        EXPECT_TRUE(test::contains(error.detail(), std::to_string(step)));
        EXPECT_FALSE(error.hint().empty());
    }
}

} // namespace
} // namespace orchestry::base
