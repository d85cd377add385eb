#include "base/time.hpp"

#include "support.hpp"

namespace orchestry::base {
namespace {

using test::at;
using test::error_of;

TEST(Time, RangeIsPostgresRange) {
    EXPECT_TRUE(in_range(min_instant));
    EXPECT_FALSE(in_range({min_instant.us - 1}));
    EXPECT_TRUE(in_range({end_instant.us - 1}));
    EXPECT_FALSE(in_range(end_instant));
    EXPECT_FALSE(in_range(plus_infinity));
    EXPECT_FALSE(in_range(minus_infinity));
}

TEST(Time, OnlyTheInfinitiesAreNotFinite) {
    EXPECT_FALSE(is_finite(plus_infinity));
    EXPECT_FALSE(is_finite(minus_infinity));
    EXPECT_TRUE(is_finite({0}));
    EXPECT_TRUE(is_finite({plus_infinity.us - 1}));
}

TEST(Time, PlusRefusesWhatCannotBeStored) {
    EXPECT_EQ(plus({5}, -7), Instant{-2});
    EXPECT_EQ(error_of("22008", [] { plus({end_instant.us - 1}, 1); }).message(),
              "timestamp out of range");
    error_of("22008", [] { plus(min_instant, -1); });
    error_of("22008", [] { plus({end_instant.us - 1}, plus_infinity.us); });
    error_of("22008", [] { plus(plus_infinity, -1); });
}

TEST(Time, UnixSecondsRoundDown) {
    EXPECT_EQ(from_unix_seconds(0), at(1970, 1, 1));
    EXPECT_EQ(from_unix_seconds(1'785'542'400), at(2026, 8, 1));
    EXPECT_EQ(to_unix_seconds(at(1970, 1, 1)), 0);
    EXPECT_EQ(to_unix_seconds({at(1970, 1, 1).us - 1}), -1);
    EXPECT_EQ(from_unix_seconds(to_unix_seconds(min_instant)), min_instant);
    error_of("22008", [] { from_unix_seconds(to_unix_seconds(end_instant)); });
    error_of("22008", [] { from_unix_seconds(to_unix_seconds(min_instant) - 1); });
}

} // namespace
} // namespace orchestry::base
