#include "base/moments.hpp"

#include "support.hpp"

namespace orchestry::base {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

Moments of(const std::vector<double>& values) {
    Moments moments;
    moments.add(values);
    return moments;
}

TEST(Moments, OfOrdinaryNumbers) {
    const Moments moments = of({3, 1, 2, 2});
    EXPECT_EQ(moments.count(), 4U);
    EXPECT_EQ(moments.sum(), 8);
    EXPECT_EQ(moments.average(), 2);
    EXPECT_EQ(moments.minimum(), 1);
    EXPECT_EQ(moments.maximum(), 3);
    EXPECT_DOUBLE_EQ(moments.deviation().value(), std::sqrt(2.0 / 3));
}

TEST(Moments, OneNumberHasNoDeviation) {
    EXPECT_FALSE(of({5}).deviation());
    EXPECT_FALSE(of({nan}).deviation());
    EXPECT_EQ(of({5}).average(), 5);
}

TEST(Moments, NaNIsGreatestAndSpoilsTheSum) {
    const Moments moments = of({1, nan, 2});
    EXPECT_EQ(moments.count(), 3U);
    EXPECT_TRUE(std::isnan(moments.sum()) && std::isnan(moments.average()));
    EXPECT_TRUE(std::isnan(moments.maximum()));
    EXPECT_EQ(moments.minimum(), 1);
    EXPECT_TRUE(std::isnan(moments.deviation().value()));
    EXPECT_TRUE(std::isnan(of({nan}).minimum()));
}

TEST(Moments, Infinities) {
    EXPECT_EQ(of({1, infinity}).average(), infinity);
    EXPECT_EQ(of({1, -infinity}).sum(), -infinity);
    EXPECT_TRUE(std::isnan(of({infinity, -infinity}).sum()));
    EXPECT_EQ(of({1, infinity}).minimum(), 1);
    EXPECT_EQ(of({1, infinity}).maximum(), infinity);
    EXPECT_EQ(of({infinity, infinity}).minimum(), infinity);
    EXPECT_EQ(of({-infinity, -infinity}).maximum(), -infinity);
    EXPECT_EQ(of({nan, -infinity}).minimum(), -infinity);
    EXPECT_EQ(of({nan, infinity}).minimum(), infinity);
    EXPECT_TRUE(std::isnan(of({1, infinity}).deviation().value()));
}

TEST(Moments, MinusZeroIsZero) {
    EXPECT_FALSE(std::signbit(of({-0.0}).minimum()));
    EXPECT_FALSE(std::signbit(of({-0.0, -0.0}).average()));
}

TEST(Moments, MergingIsAddingAll) {
    const std::vector<double> all{1, nan, 0.1, infinity, -2e300, -infinity, 7, 7};
    for (std::size_t split = 0; split <= all.size(); ++split) {
        Moments left = of({all.begin(), all.begin() + static_cast<std::ptrdiff_t>(split)});
        left.merge(of({all.begin() + static_cast<std::ptrdiff_t>(split), all.end()}));
        EXPECT_EQ(left.count(), all.size());
        EXPECT_EQ(left.nan_count(), 1U);
        EXPECT_EQ(left.ordered_maximum(), infinity);
        EXPECT_EQ(left.minimum(), -infinity);
        EXPECT_TRUE(std::isnan(left.sum()));
    }
}

} // namespace
} // namespace orchestry::base
