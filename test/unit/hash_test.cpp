#include "base/hash.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <set>

namespace orchestry::base {
namespace {

TEST(Hash, KnownValues) {
    EXPECT_EQ(fnv1a64("foobar"), 0x85944171f73967e8);
    // The generator's second output from seed 0.
    EXPECT_EQ(splitmix64(0x9e3779b97f4a7c15), 0x6e789e6aa1b965f4);
}

TEST(Hash, NoCollisionAmongSmallSeeds) {
    std::set<std::uint64_t> seen;
    for (std::uint64_t seed = 0; seed < 10'000; ++seed)
        EXPECT_TRUE(seen.insert(splitmix64(seed)).second);
}

TEST(Jitter, StaysInRangeAndReachesBothEnds) {
    std::set<std::int64_t> seen;
    for (std::uint64_t seed = 0; seed < 1'000; ++seed)
        seen.insert(jitter_us(seed, 9));
    EXPECT_EQ(seen.size(), 10U);
    EXPECT_EQ(*seen.begin(), 0);
    EXPECT_EQ(*seen.rbegin(), 9);
}

TEST(Jitter, DependsOnTheSeedAlone) {
    EXPECT_EQ(jitter_us(42, 1'000'000), jitter_us(42, 1'000'000));
    EXPECT_NE(jitter_us(42, 1'000'000), jitter_us(43, 1'000'000));
}

TEST(Jitter, LimitsAreSafe) {
    EXPECT_EQ(jitter_us(1, 0), 0);
    EXPECT_EQ(jitter_us(1, -5), 0);
    for (std::uint64_t seed = 0; seed < 100; ++seed)
        EXPECT_GE(jitter_us(seed, std::numeric_limits<std::int64_t>::max()), 0);
}

} // namespace
} // namespace orchestry::base
