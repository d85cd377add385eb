#include "base/exact_sum.hpp"

#include "support.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace orchestry::base {
namespace {

constexpr double greatest = std::numeric_limits<double>::max();
constexpr double smallest = std::numeric_limits<double>::denorm_min();
constexpr double infinity = std::numeric_limits<double>::infinity();

double value_of(const ExactSum& sum, std::uint64_t divisor = 1) {
    const auto parts = sum.parts();
    return round_to_double(parts.limbs,
                           ExactSum::unit_exponent + static_cast<int>(parts.first) * 32, divisor,
                           parts.negative);
}

double sum_of(const std::vector<double>& values, std::uint64_t divisor = 1) {
    ExactSum sum;
    for (const double value : values)
        sum.add(value);
    return value_of(sum, divisor);
}

/// Doubles with any bits but those of NaN and infinity.
double any_finite(std::mt19937_64& random) {
    for (;;) {
        const auto value = std::bit_cast<double>(random());
        if (std::isfinite(value))
            return value;
    }
}

TEST(ExactSum, OneNumberIsItself) {
    std::mt19937_64 random(1);
    for (const double value : {0.0, 1.0, -1.0, 0.1, greatest, -greatest, smallest, -smallest,
                               std::numeric_limits<double>::min(), 1e308, 1e-308})
        EXPECT_EQ(sum_of({value}), value);
    for (int i = 0; i < 100'000; ++i) {
        const double value = any_finite(random);
        ASSERT_EQ(sum_of({value}), value);
    }
}

TEST(ExactSum, NothingIsLostInBetween) {
    EXPECT_EQ(sum_of({1e308, 1.0, smallest, -1e308, -1.0}), smallest);
    EXPECT_EQ(sum_of({1.0, 1e100, 1.0, -1e100}), 2.0);
    EXPECT_EQ(sum_of({greatest, greatest, -greatest}), greatest);
    EXPECT_EQ(sum_of({greatest, greatest}), infinity);
    EXPECT_EQ(sum_of({greatest, greatest}, 2), greatest);
    EXPECT_EQ(sum_of({-greatest, -greatest, -greatest}, 3), -greatest);
}

TEST(ExactSum, TwoNumbersRoundAsTheProcessorDoes) {
    std::mt19937_64 random(2);
    for (int i = 0; i < 200'000; ++i) {
        const double a = any_finite(random);
        // Near enough for the sum to round.
        const double b = std::ldexp(a, static_cast<int>(random() % 120) - 60) * 1.1;
        if (!std::isfinite(b) || !std::isfinite(a + b))
            continue;
        ASSERT_EQ(sum_of({a, b}), a + b) << a << " " << b;
    }
}

TEST(ExactSum, DivisionRoundsOnce) {
    std::mt19937_64 random(3);
    for (int i = 0; i < 200'000; ++i) {
        const double a = any_finite(random);
        const std::uint64_t divisor = 1 + random() % 1'000'000;
        ASSERT_EQ(sum_of({a}, divisor), a / static_cast<double>(divisor)) << a << " " << divisor;
    }
    EXPECT_EQ(sum_of({smallest}, 2), 0.0); // a tie goes to the even one
    EXPECT_EQ(sum_of({smallest, smallest, smallest}, 2), 2 * smallest);
    EXPECT_EQ(sum_of({1.0}, std::numeric_limits<std::uint64_t>::max()), std::ldexp(1.0, -64));
}

TEST(ExactSum, OrderAndSplitDoNotMatter) {
    std::mt19937_64 random(4);
    for (int round = 0; round < 50; ++round) {
        std::vector<double> values(1500);
        for (double& value : values)
            value = any_finite(random);
        const double expected = sum_of(values);
        std::shuffle(values.begin(), values.end(), random);
        EXPECT_EQ(sum_of(values), expected);
        ExactSum left;
        ExactSum right;
        const std::size_t split = random() % values.size();
        for (std::size_t i = 0; i < values.size(); ++i)
            (i < split ? left : right).add(values[i]);
        ExactSum other = right;
        other.merge(left);
        left.merge(right);
        EXPECT_EQ(value_of(left), expected);
        EXPECT_EQ(value_of(other), expected);
        EXPECT_EQ(left.parts().limbs, other.parts().limbs);
        EXPECT_EQ(left.parts().first, other.parts().first);
    }
}

TEST(ExactSum, TakesAnyNumberOfMergesOfAnySize) {
    // Of its bits as many as can be fall into one limb.
    const double full = std::ldexp(9007199254740991.0, 2015 - 1074);
    for (const int size : {0, 1, 2, 255, 256, 510, 511, 512, 513}) {
        ExactSum piece;
        ExactSquares squares;
        for (int i = 0; i < size; ++i) {
            piece.add(-full);
            squares.add_square_of(full);
        }
        ExactSum sum;
        ExactSum by_parts;
        ExactSquares all_squares;
        for (int i = 0; i < 3000; ++i) {
            sum.merge(piece);
            by_parts.add_parts(piece.parts());
            all_squares.merge(squares);
        }
        ExactSum expected;
        ExactSquares expected_squares;
        for (int i = 0; i < 3000 * size; ++i) {
            expected.add(-full);
            expected_squares.add_square_of(full);
        }
        EXPECT_EQ(sum.parts().limbs, expected.parts().limbs) << size;
        EXPECT_EQ(sum.parts().negative, expected.parts().negative) << size;
        EXPECT_EQ(by_parts.parts().limbs, expected.parts().limbs) << size;
        EXPECT_EQ(all_squares.parts().limbs, expected_squares.parts().limbs) << size;
    }
}

TEST(ExactSum, PartsCanBePutTogetherAgain) {
    ExactSum sum;
    for (const double value : {-3.5, 1e-300, 2e200, -7.25e200})
        sum.add(value);
    ExactSum again;
    again.add_parts(sum.parts());
    EXPECT_TRUE(sum.parts().negative);
    EXPECT_EQ(again.parts().limbs, sum.parts().limbs);
    again.add(7.25e200);
    again.add(-2e200);
    again.add(3.5);
    EXPECT_EQ(value_of(again), 1e-300);
    EXPECT_TRUE(ExactSum().parts().limbs.empty());
}

double deviation_of(const std::vector<double>& values) {
    ExactSum sum;
    ExactSquares squares;
    for (const double value : values) {
        sum.add(value);
        squares.add_square_of(value);
    }
    return sample_deviation(values.size(), sum.parts(), squares.parts());
}

TEST(SampleDeviation, KnownOnes) {
    EXPECT_EQ(deviation_of({5, 5, 5}), 0.0);
    EXPECT_DOUBLE_EQ(deviation_of({2, 4, 4, 4, 5, 5, 7, 9}), std::sqrt(32.0 / 7));
    EXPECT_DOUBLE_EQ(deviation_of({-1, 1}), std::sqrt(2.0));
    EXPECT_DOUBLE_EQ(deviation_of({0, 0, 3}), std::sqrt(3.0));
    EXPECT_EQ(deviation_of({0, 0}), 0.0);
}

TEST(SampleDeviation, NothingCancels) {
    for (const double base : {1e9, 1e12, -1e15})
        EXPECT_DOUBLE_EQ(deviation_of({base + 4, base + 7, base + 13, base + 16}), std::sqrt(30.0));
}

TEST(SampleDeviation, ExtremesNeitherOverflowNorVanish) {
    EXPECT_DOUBLE_EQ(deviation_of({1e300, -1e300}), std::sqrt(2.0) * 1e300);
    EXPECT_DOUBLE_EQ(deviation_of({1e-300, -1e-300}), std::sqrt(2.0) * 1e-300);
    EXPECT_EQ(deviation_of({smallest, smallest, smallest}), 0.0);
    EXPECT_EQ(deviation_of({0, 2 * smallest}), smallest); // 1.41 of them, rounded
    EXPECT_EQ(deviation_of({greatest, -greatest}), infinity);
}

TEST(SampleDeviation, AgreesWithTwoPasses) {
    std::mt19937_64 random(5);
    std::lognormal_distribution<double> draw(3, 2);
    for (int round = 0; round < 200; ++round) {
        std::vector<double> values(2 + random() % 400);
        for (double& value : values)
            value = draw(random);
        long double mean = 0;
        for (const double value : values)
            mean += value;
        mean /= static_cast<long double>(values.size());
        long double squares = 0;
        for (const double value : values)
            squares += (value - mean) * (value - mean);
        const auto expected =
            static_cast<double>(std::sqrt(squares / static_cast<long double>(values.size() - 1)));
        EXPECT_NEAR(deviation_of(values), expected, expected * 1e-15 * 2);
    }
}

} // namespace
} // namespace orchestry::base
