#include "base/summary.hpp"

#include "base/quantile_select.hpp"
#include "support.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <random>

namespace orchestry::base {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double smallest = std::numeric_limits<double>::denorm_min();

std::pmr::memory_resource* memory() { return std::pmr::new_delete_resource(); }

Summary of(const std::vector<double>& values) {
    Summary summary(memory());
    for (const double value : values)
        summary.add(value);
    return summary;
}

double uniform(std::mt19937_64& random) { return static_cast<double>(random() >> 11) * 0x1p-53; }

/// Data of many kinds, hostile ones included.
std::vector<double> data(int kind, std::size_t count, std::mt19937_64& random) {
    std::vector<double> values(count);
    for (double& value : values) {
        const double u = uniform(random);
        switch (kind) {
        case 0:
            value = std::round(u * 10000) / 100;
            break;
        case 1:
            value = std::exp(u * 4);
            break;
        case 2:
            value = std::exp(u * 1400 - 700);
            break; // all magnitudes
        case 3:
            value = std::bit_cast<double>(random());
            break; // anything
        case 4:
            value = u < 0.5 ? -std::exp(u * 40) : std::exp(u * 40);
            break;
        case 5:
            value = u < 0.4 ? 0 : u < 0.7 ? -1e-300 * u : 1e300 * u;
            break;
        case 6:
            value = std::floor(u * 200);
            break;
        case 7:
            value = u < 0.9 ? std::floor(u * 10) : std::floor(u * 1e9);
            break;
        case 8:
            value = static_cast<double>(random() % 3000) * smallest;
            break;
        default:
            value = u < 0.1 ? nan : u < 0.2 ? infinity : u < 0.3 ? -infinity : u;
        }
    }
    return values;
}
constexpr int kinds = 10;

TEST(Summary, OfNothing) {
    const Summary summary(memory());
    EXPECT_EQ(summary.count(), 0U);
    EXPECT_TRUE(summary.is_exact());
    EXPECT_EQ(Summary::decode(summary.encode(), memory()).encode(), summary.encode());
}

TEST(Summary, FewNumbersStayExact) {
    const Summary summary = of({3, 1, 2, 2, -5, 0, -0.0});
    EXPECT_TRUE(summary.is_exact());
    EXPECT_EQ(summary.count(), 7U);
    EXPECT_EQ(summary.sum(), 3);
    EXPECT_EQ(summary.quantile(0.5), 1);
    EXPECT_EQ(summary.quantile(0), -5);
    EXPECT_EQ(summary.quantile(1), 3);
    EXPECT_EQ(summary.quantile(0.25), 0);
    EXPECT_EQ(summary.relative_error(), 0);
}

TEST(Summary, ManyOfFewNumbersStayExactToo) {
    std::vector<double> values;
    for (int i = 0; i < 100'000; ++i)
        values.push_back(i % static_cast<int>(Summary::max_values));
    EXPECT_TRUE(of(values).is_exact());
    values.push_back(1e6);
    EXPECT_FALSE(of(values).is_exact());
}

TEST(Summary, SameBytesWhateverTheOrderAndTheSplit) {
    std::mt19937_64 random(31);
    for (int round = 0; round < 300; ++round) {
        std::vector<double> values = data(round % kinds, 1 + random() % 1200, random);
        const std::string expected = of(values).encode();
        std::shuffle(values.begin(), values.end(), random);
        ASSERT_EQ(of(values).encode(), expected) << "order, kind " << round % kinds;
        // Any tree of merges, with encoding and decoding in between now and then.
        std::vector<Summary> parts;
        for (std::size_t i = 0; i < values.size();) {
            const std::size_t some = std::min<std::size_t>(1 + random() % 300, values.size() - i);
            parts.push_back(of({values.begin() + static_cast<std::ptrdiff_t>(i),
                                values.begin() + static_cast<std::ptrdiff_t>(i + some)}));
            i += some;
        }
        while (parts.size() > 1) {
            std::shuffle(parts.begin(), parts.end(), random);
            Summary last = std::move(parts.back());
            parts.pop_back();
            if (random() % 2 == 0)
                last = Summary::decode(last.encode(), memory());
            parts.back().merge(last);
        }
        ASSERT_EQ(parts.front().encode(), expected) << "merges, kind " << round % kinds;
    }
}

TEST(Summary, TheEmptyOneChangesNothing) {
    std::mt19937_64 random(32);
    for (int kind = 0; kind < kinds; ++kind) {
        Summary summary = of(data(kind, 500, random));
        const std::string bytes = summary.encode();
        summary.merge(Summary(memory()));
        EXPECT_EQ(summary.encode(), bytes);
        Summary empty(memory());
        empty.merge(summary);
        EXPECT_EQ(empty.encode(), bytes);
    }
}

TEST(Summary, QuantilesAreWithinTheErrorItStates) {
    std::mt19937_64 random(33);
    int histograms = 0;
    for (int round = 0; round < 400; ++round) {
        std::vector<double> values = data(round % kinds, 1 + random() % 2000, random);
        std::erase_if(values, [](double v) { return !std::isfinite(v); });
        if (values.empty())
            continue;
        const Summary summary = of(values);
        histograms += summary.is_exact() ? 0 : 1;
        std::sort(values.begin(), values.end());
        for (const double fraction : {0.0, 0.001, 0.1, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0,
                                      uniform(random), uniform(random)}) {
            const QuantilePlace place = quantile_place(fraction, values.size());
            const double lower = values[place.lower];
            const double upper = values[place.upper];
            const double exact = lower + place.proportion * (upper - lower);
            if (!std::isfinite(exact))
                continue;
            const double estimate = summary.quantile(fraction);
            const double allowed =
                summary.relative_error() * std::max(std::fabs(lower), std::fabs(upper));
            ASSERT_LE(std::fabs(estimate - exact), allowed * (1 + 1e-12) + smallest)
                << "kind " << round % kinds << " at " << fraction;
            ASSERT_GE(estimate, values.front());
            ASSERT_LE(estimate, values.back());
        }
        ASSERT_EQ(summary.quantile(0), values.front());
        ASSERT_EQ(summary.quantile(1), values.back());
    }
    EXPECT_GT(histograms, 200);
}

TEST(Summary, MomentsAreThoseOfAllNumbers) {
    std::mt19937_64 random(34);
    for (int kind = 0; kind < kinds; ++kind) {
        const std::vector<double> values = data(kind, 3000, random);
        Moments moments;
        moments.add(values);
        const Summary summary = Summary::decode(of(values).encode(), memory());
        const auto same = [](std::optional<double> a, std::optional<double> b) {
            return a == b || (a && b && std::isnan(*a) && std::isnan(*b));
        };
        EXPECT_EQ(summary.count(), moments.count());
        EXPECT_TRUE(same(summary.sum(), moments.sum()));
        EXPECT_TRUE(same(summary.average(), moments.average()));
        EXPECT_TRUE(same(summary.deviation(), moments.deviation()));
        EXPECT_TRUE(same(summary.moments().minimum(), moments.minimum()));
        EXPECT_TRUE(same(summary.moments().maximum(), moments.maximum()));
    }
}

TEST(Summary, SpecialNumbersHaveTheirPlaceInTheOrder) {
    const Summary summary = of({nan, 1, infinity, -infinity, 2});
    EXPECT_EQ(summary.quantile(0), -infinity);
    EXPECT_EQ(summary.quantile(0.25), 1);
    EXPECT_EQ(summary.quantile(0.5), 2);
    EXPECT_EQ(summary.quantile(0.75), infinity);
    EXPECT_TRUE(std::isnan(summary.quantile(1)));
}

TEST(Summary, StaysSmall) {
    std::mt19937_64 random(35);
    for (int kind = 0; kind < kinds; ++kind)
        EXPECT_LT(of(data(kind, 20'000, random)).encode().size(), 2600U) << kind;
}

TEST(Summary, CountsUpToTheLastNumber) {
    // 2^62 times the same, by doubling; merging it with itself once more is too much.
    Summary summary = of({7});
    for (int i = 0; i < 62; ++i)
        summary.merge(Summary::decode(summary.encode(), memory()));
    EXPECT_EQ(summary.count(), std::uint64_t{1} << 62);
    EXPECT_EQ(summary.average(), 7);
    EXPECT_EQ(summary.deviation(), 0);
    const Summary same = Summary::decode(summary.encode(), memory());
    EXPECT_EQ(same.encode(), summary.encode());
    test::error_of("22003", [&] { summary.merge(same); });
    EXPECT_EQ(summary.encode(), same.encode());
}

/// Bytes of every kind that can be merged: few numbers, histograms, those of others too.
std::string some_bytes(std::mt19937_64& random) {
    const Summary summary = of(data(static_cast<int>(random() % kinds),
                                    random() % 3 == 0 ? random() % 1500 : random() % 9, random));
    if (random() % 4 != 0)
        return summary.encode();
    Summary::Histogram histogram = summary.histogram();
    if (random() % 2 == 0)
        histogram.sum.reset();
    return Summary(histogram, memory()).encode();
}

TEST(SummaryMergeEncoded, IsMergingWhatTheBytesAreOf) {
    std::mt19937_64 random(39);
    for (int round = 0; round < 400; ++round) {
        Summary bytes_merged(memory());
        Summary objects_merged(memory());
        std::vector<std::string> all;
        for (std::uint64_t n = 1 + random() % 12; n > 0; --n) {
            all.push_back(some_bytes(random));
            bytes_merged.merge_encoded(all.back());
            objects_merged.merge(Summary::decode(all.back(), memory()));
            ASSERT_EQ(bytes_merged.encode(), objects_merged.encode()) << "round " << round;
            ASSERT_EQ(bytes_merged.count(), objects_merged.count());
        }
        std::shuffle(all.begin(), all.end(), random);
        Summary other_order(memory());
        for (const std::string& bytes : all)
            other_order.merge_encoded(bytes);
        ASSERT_EQ(other_order.encode(), bytes_merged.encode()) << "round " << round;
    }
}

TEST(SummaryMergeEncoded, FindsBucketsWhateverTheGaps) {
    std::mt19937_64 random(40);
    for (int round = 0; round < 300; ++round) {
        // No more than max_buckets in all, so the scale stays.
        const int scale = static_cast<int>(random() % 5);
        const std::int32_t reach = round % 3 == 0 ? 60 : round % 3 == 1 ? 200 : 1000 << scale;
        std::map<std::int32_t, std::uint64_t> sides[2];
        Summary merged(memory());
        for (std::uint64_t n = 1 + random() % 6; n > 0; --n) {
            Summary::Histogram histogram{.scale = scale};
            for (const int side : {0, 1}) {
                std::map<std::int32_t, std::uint64_t> mine;
                for (std::uint64_t i = random() % 26; i > 0; --i)
                    mine[static_cast<std::int32_t>(random() %
                                                   static_cast<std::uint64_t>(2 * reach)) -
                         reach] += 1 + random() % 1000;
                for (const auto& [index, count] : mine) {
                    (side == 0 ? histogram.negative : histogram.positive).push_back({index, count});
                    sides[side][index] += count;
                }
            }
            merged.merge_encoded(Summary(histogram, memory()).encode());
        }
        const Summary::Histogram result = merged.histogram();
        ASSERT_EQ(result.scale, sides[0].empty() && sides[1].empty() ? result.scale : scale);
        for (const int side : {0, 1}) {
            std::map<std::int32_t, std::uint64_t> found;
            for (const auto& [index, count] : side == 0 ? result.negative : result.positive)
                ASSERT_TRUE(found.emplace(index, count).second);
            ASSERT_EQ(found, sides[side]) << "round " << round;
        }
    }
}

TEST(SummaryMergeEncoded, NothingChangesAfterAnError) {
    std::mt19937_64 random(41);
    for (const std::size_t size : {0U, 3U, 900U}) {
        Summary summary = of(data(1, size, random));
        const std::string before = summary.encode();
        const std::string bytes = of(data(4, 700, random)).encode();
        for (std::size_t end = 0; end < bytes.size(); end += 7)
            test::error_of("22P03", [&] { summary.merge_encoded(bytes.substr(0, end)); });
        test::error_of("22P03", [&] { summary.merge_encoded(bytes + '\0'); });
        EXPECT_EQ(summary.encode(), before);
        Summary many = of({7});
        for (int i = 0; i < 62; ++i)
            many.merge_encoded(many.encode());
        const std::string half = many.encode();
        many.merge_encoded(of({8}).encode());
        const std::string more = many.encode();
        test::error_of("22003", [&] { many.merge_encoded(half); });
        EXPECT_EQ(many.encode(), more);
    }
}

TEST(SummaryHistogram, GoesOutAndComesIn) {
    std::mt19937_64 random(36);
    for (int kind = 0; kind < kinds - 1; ++kind) {
        std::vector<double> values = data(kind, 2000, random);
        std::erase_if(values, [](double v) { return !std::isfinite(v); });
        const Summary summary = of(values);
        const Summary::Histogram histogram = summary.histogram();
        const Summary back(histogram, memory());
        EXPECT_EQ(back.count(), summary.count());
        if (std::isfinite(*summary.sum())) {
            EXPECT_EQ(back.sum(), summary.sum());
        }
        EXPECT_FALSE(back.deviation()) << "nothing says the squares";
        EXPECT_EQ(back.moments().minimum(), summary.moments().minimum());
        EXPECT_EQ(back.moments().maximum(), summary.moments().maximum());
        if (!summary.is_exact()) {
            EXPECT_EQ(back.quantile(0.7), summary.quantile(0.7));
        }
        EXPECT_EQ(Summary::decode(back.encode(), memory()).encode(), back.encode());
        Summary merged = back;
        merged.merge(summary);
        Summary other = summary;
        other.merge(back);
        EXPECT_EQ(merged.encode(), other.encode());
        EXPECT_FALSE(merged.deviation());
    }
}

TEST(SummaryHistogram, OfFinerScalesIsReadCoarser) {
    const Summary summary(Summary::Histogram{.scale = 20, .positive = {{0, 2}, {1 << 12, 3}}},
                          memory());
    EXPECT_EQ(summary.count(), 5U);
    EXPECT_FALSE(summary.sum());
    EXPECT_FALSE(summary.average());
    EXPECT_NEAR(summary.quantile(0), 1, 0.01);
    EXPECT_NEAR(summary.quantile(1), 1.0054, 0.01);
}

TEST(SummaryHistogram, ContradictionsAreRefused) {
    const auto refused = [](const Summary::Histogram& histogram) {
        EXPECT_FALSE(
            test::error_of("22023", [&] { Summary(histogram, memory()); }).detail().empty());
    };
    refused({.scale = -5});
    refused({.scale = 21});
    refused({.scale = 0, .positive = {{1024, 1}}});
    refused({.scale = 0, .negative = {{-1076, 1}}});
    refused({.scale = 0, .positive = {{0, std::uint64_t{1} << 63}}});
    refused({.scale = 0, .zeros = 1, .sum = infinity});
    refused({.scale = 0, .positive = {{0, 2}}, .minimum = 1.9, .maximum = 1.1});
}

TEST(SummaryCodec, EverythingElseIsRefused) {
    std::mt19937_64 random(37);
    for (int kind = 0; kind < kinds; ++kind) {
        for (const std::size_t size : {3U, 900U}) {
            const std::string bytes = of(data(kind, size, random)).encode();
            for (std::size_t end = 0; end < bytes.size(); ++end)
                EXPECT_FALSE(test::error_of(
                                 "22P03", [&] { Summary::decode(bytes.substr(0, end), memory()); })
                                 .detail()
                                 .empty());
            test::error_of("22P03", [&] { Summary::decode(bytes + '\0', memory()); });
            std::string other = bytes;
            other[0] = 2;
            EXPECT_TRUE(test::contains(
                test::error_of("22P03", [&] { Summary::decode(other, memory()); }).detail(),
                "version"));
        }
    }
}

TEST(SummaryCodec, WhatIsReadIsWrittenTheSame) {
    // Damaged bytes: refused, or a summary in its only form.
    std::mt19937_64 random(38);
    int accepted = 0;
    for (int round = 0; round < 20'000; ++round) {
        static std::string bytes;
        if (round % 100 == 0)
            bytes = of(data(round / 100 % kinds, 1 + random() % 400, random)).encode();
        std::string damaged = bytes;
        for (std::uint64_t n = 1 + random() % 3; n > 0; --n)
            damaged[random() % damaged.size()] = static_cast<char>(random());
        try {
            const Summary summary = Summary::decode(damaged, memory());
            ++accepted;
            ASSERT_EQ(summary.encode(), damaged);
            if (summary.count() > 0)
                summary.quantile(0.5);
            Summary merged(memory());
            merged.merge_encoded(damaged);
            ASSERT_EQ(merged.encode(), damaged);
        } catch (const Error& error) {
            ASSERT_STREQ(error.sqlstate(), errc::invalid_binary_representation);
            Summary merged(memory());
            const Error same = test::error_of("22P03", [&] { merged.merge_encoded(damaged); });
            ASSERT_EQ(same.detail(), error.detail());
        }
    }
    EXPECT_GT(accepted, 500);
}

} // namespace
} // namespace orchestry::base
