#include "base/civil.hpp"

#include "support.hpp"

#include <ctime>

namespace orchestry::base {
namespace {

using test::error_of;
using test::wall;

TEST(Civil, EachDayOfAThousandYearsFollowsTheOneBefore) {
    CivilDate expected{1600, 1, 1};
    const std::int64_t first = days_from_civil(expected);
    const std::int64_t last = days_from_civil({2600, 1, 1});
    for (std::int64_t day = first; day < last; ++day) {
        ASSERT_EQ(civil_from_days(day), expected) << "day " << day;
        ASSERT_EQ(days_from_civil(expected), day);
        if (++expected.day > days_in_month(expected.year, expected.month)) {
            expected.day = 1;
            if (++expected.month > 12) {
                expected.month = 1;
                ++expected.year;
            }
        }
    }
    EXPECT_EQ(last - first, 2 * 146'097 + 200 * 365 + 49);
}

TEST(Civil, ReachesTheEndsOfPostgresRange) {
    for (const CivilDate& date : {CivilDate{-4713, 11, 24}, CivilDate{0, 2, 29},
                                  CivilDate{-1, 12, 31}, CivilDate{294'276, 12, 31}})
        EXPECT_EQ(civil_from_days(days_from_civil(date)), date);
}

TEST(Civil, LeapYears) {
    EXPECT_TRUE(is_leap_year(2000) && is_leap_year(2024) && is_leap_year(0) && is_leap_year(-4));
    EXPECT_FALSE(is_leap_year(1900) || is_leap_year(2100) || is_leap_year(2023));
}

TEST(Civil, WeeksAgreeWithTheCLibrary) {
    for (std::int64_t day = days_from_civil({1970, 1, 1}); day < days_from_civil({2070, 1, 1});
         ++day) {
        const std::time_t s = day * 86'400 + unix_epoch_offset_s;
        std::tm tm{};
        gmtime_r(&s, &tm);
        char text[32];
        std::strftime(text, sizeof text, "%G %V %w", &tm);
        const IsoWeek week = iso_week(day);
        ASSERT_EQ(std::to_string(week.iso_year) + (week.week < 10 ? " 0" : " ") +
                      std::to_string(week.week) + ' ' + std::to_string(weekday(day)),
                  text);
    }
}

TEST(Civil, MonthsCountFrom2000) {
    EXPECT_EQ(months_from_civil({2000, 1, 31}), 0);
    EXPECT_EQ(months_from_civil({1999, 12, 1}), -1);
    EXPECT_EQ(civil_from_months(-1), (CivilDate{1999, 12, 1}));
    EXPECT_EQ(civil_from_months(12 * 26 + 7), (CivilDate{2026, 8, 1}));
}

TEST(Civil, LocalTimesSplitBeforeTheEpochToo) {
    EXPECT_EQ(day_of({-1}), -1);
    EXPECT_EQ(time_of_day_us({-1}), us_per_day - 1);
    EXPECT_EQ(midnight(-1), wall(1999, 12, 31));
}

TEST(Civil, MidnightRefusesDaysFarOutOfRange) {
    error_of("22008", [] { midnight(std::int64_t{1} << 40); });
    error_of("22008", [] { midnight(-(std::int64_t{1} << 40)); });
    EXPECT_EQ(midnight(days_from_civil({294'277, 1, 1})).us, end_instant.us);
    error_of("22008", [] { midnight(days_from_civil({294'277, 1, 3})); });
    error_of("22008", [] { midnight(days_from_civil({-4713, 11, 22})); });
}

TEST(Civil, WritesTimes) {
    EXPECT_EQ(to_string(wall(2026, 8, 1, 14, 5, 9)), "2026-08-01 14:05:09");
    EXPECT_EQ(to_string(LocalTime{wall(2026, 8, 1).us + 120'000}), "2026-08-01 00:00:00.12");
    EXPECT_EQ(to_string(wall(12'024, 1, 2)), "12024-01-02 00:00:00");
    EXPECT_EQ(to_string(wall(0, 1, 2)), "0001-01-02 00:00:00 BC");
    EXPECT_EQ(to_string(LocalTime{wall(-43, 3, 15).us + 1}), "0044-03-15 00:00:00.000001 BC");
}

} // namespace
} // namespace orchestry::base
