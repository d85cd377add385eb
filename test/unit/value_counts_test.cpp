#include "base/value_counts.hpp"

#include "support.hpp"

#include <map>
#include <random>

namespace orchestry::base {
namespace {

using Counts = ValueCounts<>;
using Map = std::map<std::string, std::int64_t>;

Map counted(const Counts& counts) {
    Map map;
    for (const Counts::Entry& entry : counts.entries())
        EXPECT_TRUE(map.emplace(entry.value(), entry.count).second) << "twice: " << entry.value();
    return map;
}

std::string encoded(const Counts& counts) {
    std::string bytes(counts.encoded_size(), '\0');
    ByteWriter writer(bytes.data());
    counts.encode(writer);
    EXPECT_EQ(writer.position(), bytes.data() + bytes.size());
    return bytes;
}

Map decoded(std::string_view bytes) {
    ByteReader reader(bytes);
    Counts counts({});
    counts.decode(reader);
    return counted(counts);
}

TEST(ValueCounts, CountsByBytes) {
    Counts counts({});
    for (const char* value : {"a", "b", "a", "", "A", "a "})
        counts.add(value);
    EXPECT_EQ(counted(counts), (Map{{"", 1}, {"A", 1}, {"a", 2}, {"a ", 1}, {"b", 1}}));
}

TEST(ValueCounts, CountsManyTimesAtOnce) {
    Counts counts({});
    counts.add("a", 5);
    counts.add("a", 2);
    counts.add("b", 0);
    EXPECT_EQ(counted(counts), (Map{{"a", 7}}));
    test::error_of(errc::invalid_parameter, [&] { counts.add("a", -1); });
    counts.add("a", std::numeric_limits<std::int64_t>::max() - 7);
    test::error_of(errc::out_of_range, [&] { counts.add("a"); });
}

TEST(ValueCounts, AgreesWithTheReferenceInAnySplit) {
    std::mt19937_64 random(20'263);
    for (int round = 0; round < 500; ++round) {
        // From few values, which are searched, over the change, to many.
        const std::uint64_t values = 1 + random() % (round % 10 == 0 ? 2'000 : 20);
        Map all;
        Counts left({});
        Counts right({});
        for (std::uint64_t rows = random() % 2'000; rows > 0; --rows) {
            const std::uint64_t value = random() % values;
            const std::string text = std::string(value % 3, 'x') + std::to_string(value);
            const auto times = static_cast<std::int64_t>(random() % 3);
            if (times > 0)
                all[text] += times;
            (random() % 2 ? left : right).add(text, times);
        }
        left.merge(right);
        ASSERT_EQ(counted(left), all) << "round " << round;
        ASSERT_EQ(decoded(encoded(left)), all) << "round " << round;
    }
}

TEST(ValueCounts, EndsWhereJsonbEnds) {
    Counts counts({});
    const std::string large(Counts::max_bytes / 4, 'x');
    for (const char* tail : {"1", "2", "3"})
        counts.add(large + tail);
    counts.add(large + "1"); // known already
    const Error error =
        test::error_of(errc::program_limit_exceeded, [&] { counts.add(large + "4"); });
    EXPECT_TRUE(test::contains(error.detail(), "256 MB"));
}

TEST(ValueCounts, RefusesWhatItDidNotWrite) {
    Counts counts({});
    for (int i = 0; i < 20; ++i)
        counts.add(std::to_string(i), i + 1);
    const std::string good = encoded(counts);
    for (std::size_t size = 0; size < good.size(); ++size)
        test::error_of(errc::data_corrupted, [&] { decoded(good.substr(0, size)); });
    test::error_of(errc::data_corrupted, [&] { decoded(good + "x"); });
    // Whatever the bytes are: an error, or counts.
    std::mt19937_64 random(20'264);
    for (int round = 0; round < 20'000; ++round) {
        std::string bad = good;
        bad[random() % bad.size()] ^= static_cast<char>(1 << random() % 8);
        try {
            for (const auto& [value, count] : decoded(bad))
                EXPECT_GT(count, 0) << value;
        } catch (const Error& error) {
            EXPECT_TRUE(std::string(error.sqlstate()) == errc::data_corrupted ||
                        std::string(error.sqlstate()) == errc::out_of_range);
        }
    }
}

} // namespace
} // namespace orchestry::base
