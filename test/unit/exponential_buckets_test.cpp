#include "base/exponential_buckets.hpp"

#include "support.hpp"

#include <bit>
#include <cmath>
#include <limits>
#include <random>

namespace orchestry::base {
namespace {

constexpr double greatest = std::numeric_limits<double>::max();
constexpr double smallest = std::numeric_limits<double>::denorm_min();
constexpr double normal = std::numeric_limits<double>::min();

double any_magnitude(std::mt19937_64& random) {
    for (;;) {
        const auto value = std::bit_cast<double>(random() >> 1);
        if (std::isfinite(value) && value > 0)
            return value;
    }
}

TEST(BucketOf, PowersOfTwoCloseTheirBucket) {
    EXPECT_EQ(bucket_of(1, 0), -1);
    EXPECT_EQ(bucket_of(2, 0), 0);
    EXPECT_EQ(bucket_of(2.0000001, 0), 1);
    EXPECT_EQ(bucket_of(4, 0), 1);
    EXPECT_EQ(bucket_of(1, 8), -1);
    EXPECT_EQ(bucket_of(std::nextafter(1.0, 2.0), 8), 0);
    EXPECT_EQ(bucket_of(2, 8), 255);
    EXPECT_EQ(bucket_of(16, -2), 0);
    EXPECT_EQ(bucket_of(16.5, -2), 1);
    EXPECT_EQ(bucket_of(smallest, 0), -1075);
    EXPECT_EQ(bucket_of(greatest, 0), 1023);
    EXPECT_EQ(bucket_of(greatest, -4), 63);
    EXPECT_EQ(bucket_of(smallest, -4), -68);
}

TEST(BucketOf, AgreesWithTheLogarithm) {
    std::mt19937_64 random(21);
    for (int i = 0; i < 300'000; ++i) {
        const double value = any_magnitude(random);
        const long double place = std::log2(static_cast<long double>(value)) * 256;
        if (std::fabs(place - std::round(place)) < 1e-9L)
            continue; // too near to a bound for a logarithm
        ASSERT_EQ(bucket_of(value, 8), static_cast<std::int32_t>(std::floor(place))) << value;
    }
}

TEST(BucketOf, CoarserScalesMergeNeighbours) {
    std::mt19937_64 random(22);
    for (int i = 0; i < 50'000; ++i) {
        const double value = any_magnitude(random);
        for (int scale = coarsest_scale; scale < finest_scale; ++scale)
            ASSERT_EQ(bucket_of(value, scale), bucket_of(value, scale + 1) >> 1);
    }
}

TEST(BucketOf, EndsAreTheLeastAndTheGreatestInside) {
    for (int scale = coarsest_scale; scale <= finest_scale; ++scale) {
        for (std::int32_t bucket = bucket_of(smallest, scale); bucket <= bucket_of(greatest, scale);
             ++bucket) {
            const double lower = bucket_least(bucket, scale);
            const double upper = bucket_greatest(bucket, scale);
            if (lower > upper) {
                ASSERT_LT(upper, normal) << "only there buckets without a double are possible";
                continue;
            }
            ASSERT_EQ(bucket_of(lower, scale), bucket);
            ASSERT_EQ(bucket_of(upper, scale), bucket);
            ASSERT_TRUE(upper == greatest ||
                        bucket_of(std::nextafter(upper, INFINITY), scale) > bucket);
            ASSERT_TRUE(lower == smallest || bucket_of(std::nextafter(lower, 0), scale) < bucket);
        }
    }
}

TEST(BucketMiddle, IsWithinTheErrorOfAllInside) {
    std::mt19937_64 random(23);
    const auto check = [](double value, int scale) {
        const double middle = bucket_middle(bucket_of(value, scale), scale);
        EXPECT_LE(std::fabs(middle - value), bucket_error(scale) * value + smallest / 2)
            << value << " at " << scale;
    };
    for (int scale = coarsest_scale; scale <= finest_scale; ++scale) {
        for (std::int32_t bucket = bucket_of(smallest, scale); bucket <= bucket_of(greatest, scale);
             bucket += 1 + static_cast<std::int32_t>(random() % 50)) {
            if (bucket_least(bucket, scale) > bucket_greatest(bucket, scale))
                continue;
            check(bucket_least(bucket, scale), scale);
            check(bucket_greatest(bucket, scale), scale);
        }
        check(smallest, scale);
        check(greatest, scale);
        for (int i = 0; i < 20'000; ++i)
            check(any_magnitude(random), scale);
    }
    EXPECT_NEAR(bucket_error(8), 0.00135, 0.00001);
    EXPECT_NEAR(bucket_error(0), 1.0 / 3, 1e-9);
}

} // namespace
} // namespace orchestry::base
