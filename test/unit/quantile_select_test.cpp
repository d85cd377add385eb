#include "base/quantile_select.hpp"

#include "base/pass_select.hpp"
#include "support.hpp"

#include <algorithm>
#include <limits>
#include <random>

namespace orchestry::base {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// PostgreSQL's order.
bool less(double a, double b) { return std::isnan(b) ? !std::isnan(a) : a < b; }

bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

/// The shapes of data that selection algorithms stumble over.
std::vector<double> shaped(int shape, std::size_t count, std::mt19937_64& random) {
    std::vector<double> values(count);
    for (std::size_t i = 0; i < count; ++i) {
        const double number = static_cast<double>(random() >> 11) * 0x1p-53;
        switch (shape) {
        case 0:
            values[i] = number;
            break;
        case 1:
            values[i] = std::floor(number * 4);
            break; // many alike
        case 2:
            values[i] = 5;
            break; // all alike
        case 3:
            values[i] = static_cast<double>(i);
            break; // in order
        case 4:
            values[i] = static_cast<double>(count - i);
            break;
        case 5:
            values[i] = std::bit_cast<double>(random());
            break; // anything, NaN too
        case 6:
            values[i] = std::exp(number * 80 - 40);
            break;
        case 7:
            values[i] = number < 0.3 ? nan : number < 0.5 ? infinity : -number;
            break;
        case 8:
            values[i] = 1e15 + std::floor(number * 100);
            break; // far from zero
        default:
            values[i] = number < 0.5 ? -0.0 : 0.0;
        }
    }
    return values;
}
constexpr int shapes = 10;

std::vector<std::uint64_t> some_ranks(std::size_t count, std::mt19937_64& random) {
    std::vector<double> fractions{0.5, 0.95, 0.99};
    switch (random() % 4) {
    case 0:
        fractions = {0.0, 1.0};
        break;
    case 1:
        fractions.assign(1 + random() % 40, 0.0);
        break;
    default:
        break;
    }
    for (double& fraction : fractions)
        if (fraction == 0 && fractions.size() > 2)
            fraction = static_cast<double>(random() >> 11) * 0x1p-53;
    return ranks_of(fractions, count);
}

TEST(QuantilePlace, AsPercentileCont) {
    const QuantilePlace median = quantile_place(0.5, 4);
    EXPECT_EQ(median.lower, 1U);
    EXPECT_EQ(median.upper, 2U);
    EXPECT_EQ(median.proportion, 0.5);
    EXPECT_EQ(quantile_place(0.5, 5).lower, 2U);
    EXPECT_EQ(quantile_place(0.5, 5).upper, 2U);
    EXPECT_EQ(quantile_place(0, 7).lower, 0U);
    EXPECT_EQ(quantile_place(1, 7).upper, 6U);
    EXPECT_EQ(quantile_place(1, 1).upper, 0U);
    // The last rank is no double, and the nearest one is behind it.
    EXPECT_EQ(quantile_place(1, (std::uint64_t{1} << 53) + 4).upper, (std::uint64_t{1} << 53) + 3);
    EXPECT_EQ(quantile_place(1, std::uint64_t{1} << 63).lower, (std::uint64_t{1} << 63) - 1);
    const std::vector<double> values{10, 20, 40};
    const auto value_at = [&](std::uint64_t rank) { return values[rank]; };
    EXPECT_EQ(quantile_at(quantile_place(0.5, 3), value_at), 20);
    EXPECT_EQ(quantile_at(quantile_place(0.75, 3), value_at), 30);
}

TEST(SelectRanks, AsSorting) {
    std::mt19937_64 random(11);
    for (int round = 0; round < 3000; ++round) {
        std::vector<double> values =
            shaped(round % shapes, 1 + random() % (round % 7 == 0 ? 3000 : 40), random);
        std::vector<double> sorted = values;
        std::sort(sorted.begin(), sorted.end(), less);
        const auto ranks = some_ranks(values.size(), random);
        select_ranks(values, ranks);
        for (const std::uint64_t rank : ranks)
            ASSERT_TRUE(same(values[rank], sorted[rank])) << "shape " << round % shapes;
        std::sort(values.begin(), values.end(), less);
        ASSERT_TRUE(std::equal(values.begin(), values.end(), sorted.begin(), same))
            << "the values stay what they were";
    }
}

TEST(PassSelect, AsSortingWithLittleRoom) {
    std::mt19937_64 random(12);
    for (int round = 0; round < 400; ++round) {
        const std::vector<double> values = shaped(round % shapes, 1 + random() % 5000, random);
        std::vector<double> sorted = values;
        std::sort(sorted.begin(), sorted.end(), less);
        const auto nans = static_cast<std::uint64_t>(
            std::count_if(values.begin(), values.end(), [](double v) { return std::isnan(v); }));
        const bool only_nans = nans == values.size();
        const auto ranks = some_ranks(values.size(), random);
        PassSelect select(ranks, values.size(), nans, only_nans ? 0 : sorted.front(),
                          only_nans ? 0 : sorted[values.size() - nans - 1], random() % 50);
        int passes = 0;
        for (; !select.done(); ++passes) {
            ASSERT_LT(passes, 10);
            for (std::size_t i = 0; i < values.size(); i += 100)
                select.feed(
                    std::span(values).subspan(i, std::min<std::size_t>(100, values.size() - i)));
            select.end_pass();
        }
        for (const std::uint64_t rank : ranks)
            ASSERT_TRUE(same(select.value_at(rank), sorted[rank])) << "shape " << round % shapes;
    }
}

TEST(PassSelect, TwoPassesForFewRanks) {
    std::mt19937_64 random(13);
    const std::vector<double> values = shaped(0, 100'000, random);
    const auto ranks = ranks_of(std::vector<double>{0.5, 0.95, 0.99}, values.size());
    PassSelect select(ranks, values.size(), 0, *std::min_element(values.begin(), values.end()),
                      *std::max_element(values.begin(), values.end()), 1000);
    int passes = 0;
    for (; !select.done(); ++passes) {
        select.feed(values);
        select.end_pass();
    }
    EXPECT_EQ(passes, 2);
}

} // namespace
} // namespace orchestry::base
