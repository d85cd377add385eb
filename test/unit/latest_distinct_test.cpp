#include "base/latest_distinct.hpp"

#include "support.hpp"

#include <algorithm>
#include <map>
#include <random>

namespace orchestry::base {
namespace {

using Latest = LatestDistinct<>;
using Row = std::pair<std::string, std::int64_t>;

std::vector<Row> kept(const Latest& latest) {
    std::vector<Row> rows;
    for (const Latest::Entry& entry : latest.entries())
        rows.emplace_back(entry.value(), entry.at);
    return rows;
}

std::vector<Row> kept(std::int32_t capacity, const std::vector<Row>& rows) {
    Latest latest(capacity, {});
    for (const Row& row : rows)
        latest.add(row.first, row.second);
    return kept(latest);
}

/// All that LatestDistinct promises, without any thought of speed.
std::vector<Row> expected(std::size_t capacity, const std::vector<Row>& rows) {
    std::map<std::string, std::int64_t> latest;
    for (const auto& [value, at] : rows) {
        const auto [known, is_new] = latest.try_emplace(value, at);
        if (!is_new)
            known->second = std::max(known->second, at);
    }
    std::vector<Row> sorted(latest.begin(), latest.end());
    std::stable_sort(sorted.begin(), sorted.end(),
                     [](const Row& a, const Row& b) { return a.second > b.second; });
    sorted.resize(std::min(sorted.size(), capacity));
    return sorted;
}

std::vector<Row> random_rows(std::mt19937_64& random) {
    std::vector<Row> rows(random() % 300);
    const std::uint64_t values = 1 + random() % 60;
    const std::uint64_t times = 1 + random() % 100;
    for (Row& row : rows) {
        const std::uint64_t value = random() % values;
        // Some are empty, some need more than the least room, some far more.
        row = {std::string(value * value % 700, static_cast<char>('\x80' + value)),
               static_cast<std::int64_t>(random() % times) - 50};
    }
    return rows;
}

std::string encoded(const Latest& latest) {
    std::string bytes(latest.encoded_size(), '\0');
    ByteWriter writer(bytes.data());
    latest.encode(writer);
    EXPECT_EQ(writer.position(), bytes.data() + bytes.size());
    return bytes;
}

std::vector<Row> decoded(std::string_view bytes) {
    ByteReader reader(bytes);
    Latest latest(Latest::decode_capacity(reader), {});
    latest.decode_entries(reader);
    return kept(latest);
}

TEST(LatestDistinct, KeepsTheNewestOnceEach) {
    EXPECT_EQ(kept(2, {{"a", 1}, {"b", 2}, {"a", 3}, {"c", 0}}),
              (std::vector<Row>{{"a", 3}, {"b", 2}}));
    EXPECT_EQ(kept(3, {}), std::vector<Row>());
    EXPECT_EQ(kept(3, {{"", 1}}), (std::vector<Row>{{"", 1}}));
}

TEST(LatestDistinct, BytesDecideAmongEqualTimes) {
    EXPECT_EQ(kept(2, {{"c", 1}, {"b", 1}, {"a", 1}}), (std::vector<Row>{{"a", 1}, {"b", 1}}));
    EXPECT_EQ(kept(2, {{"\xc3\xa9", 1}, {"z", 1}, {"Z", 1}}),
              (std::vector<Row>{{"Z", 1}, {"z", 1}}));
}

TEST(LatestDistinct, WhatWasPushedOutComesBackByALaterTimeAlone) {
    EXPECT_EQ(kept(1, {{"a", 5}, {"b", 6}, {"a", 4}}), (std::vector<Row>{{"b", 6}}));
    EXPECT_EQ(kept(1, {{"a", 5}, {"b", 6}, {"a", 7}}), (std::vector<Row>{{"a", 7}}));
}

TEST(LatestDistinct, TellsWhichTimesMatter) {
    Latest latest(2, {});
    EXPECT_TRUE(latest.is_wanted(std::numeric_limits<std::int64_t>::min()));
    latest.add("a", 5);
    latest.add("b", 7);
    EXPECT_FALSE(latest.is_wanted(4));
    EXPECT_TRUE(latest.is_wanted(5));
}

TEST(LatestDistinct, AgreesWithTheReferenceInAnyOrderAndSplit) {
    std::mt19937_64 random(20'261);
    for (int round = 0; round < 2'000; ++round) {
        std::vector<Row> rows = random_rows(random);
        const auto capacity = static_cast<std::int32_t>(1 + random() % 20);
        const std::vector<Row> all = expected(static_cast<std::size_t>(capacity), rows);
        ASSERT_EQ(kept(capacity, rows), all) << "round " << round;
        std::shuffle(rows.begin(), rows.end(), random);
        Latest left(capacity, {});
        Latest right(capacity, {});
        for (const Row& row : rows)
            (random() % 2 ? left : right).add(row.first, row.second);
        left.merge(right);
        ASSERT_EQ(kept(left), all) << "round " << round;
        ASSERT_EQ(decoded(encoded(left)), all) << "round " << round;
    }
}

TEST(LatestDistinct, KeepsNoMoreThanItsCapacity) {
    Latest latest(5, {});
    for (std::int64_t i = 0; i < 100'000; ++i)
        latest.add("message " + std::to_string(i), i);
    EXPECT_EQ(latest.entries().size(), 5U);
    for (const Latest::Entry& entry : latest.entries())
        EXPECT_LE(entry.room, 64U);
    // A room that was made for a large text does not stay for small ones.
    for (std::int64_t i = 0; i < 5; ++i)
        latest.add(std::string(1'000'000, static_cast<char>('a' + i)), 200'000 + i);
    for (std::int64_t i = 0; i < 5; ++i)
        latest.add("small " + std::to_string(i), 300'000 + i);
    for (const Latest::Entry& entry : latest.entries())
        EXPECT_LE(entry.room, 64U);
}

TEST(LatestDistinct, RefusesCapacities) {
    for (const std::int32_t capacity : {0, -1, Latest::max_capacity + 1})
        EXPECT_TRUE(test::contains(
            test::error_of(errc::invalid_parameter, [&] { Latest(capacity, {}); }).message(),
            std::to_string(capacity)));
    Latest five(5, {});
    Latest six(6, {});
    test::error_of(errc::invalid_parameter, [&] { five.merge(six); });
    five.require_capacity(5);
    test::error_of(errc::invalid_parameter, [&] { five.require_capacity(4); });
}

TEST(LatestDistinct, RefusesWhatItDidNotWrite) {
    Latest latest(3, {});
    latest.add("one", 1);
    latest.add("two", 2);
    const std::string good = encoded(latest);
    EXPECT_EQ(decoded(good), kept(latest));
    for (std::size_t size = 0; size < good.size(); ++size)
        test::error_of(errc::data_corrupted, [&] { decoded(good.substr(0, size)); });
    test::error_of(errc::data_corrupted, [&] { decoded(good + "x"); });
    std::string twice = good;
    twice.replace(twice.rfind("two"), 3, "one");
    test::error_of(errc::data_corrupted, [&] { decoded(twice); });
    // Whatever the bytes are: an error, or what such an object can be.
    std::mt19937_64 random(20'262);
    for (int round = 0; round < 20'000; ++round) {
        std::string bad = good;
        for (std::uint64_t flips = 1 + random() % 3; flips > 0; --flips)
            bad[random() % bad.size()] ^= static_cast<char>(1 << random() % 8);
        try {
            EXPECT_LE(decoded(bad).size(), static_cast<std::size_t>(Latest::max_capacity));
        } catch (const Error& error) {
            EXPECT_STREQ(error.sqlstate(), errc::data_corrupted);
        }
    }
}

} // namespace
} // namespace orchestry::base
