// The proleptic Gregorian calendar, as arithmetic. A day is a count since 2000-01-01; years are
// astronomical: year 0 is 1 BC.
#pragma once

#include "base/arith.hpp"
#include "base/time.hpp"

#include <cstdint>
#include <string>

namespace orchestry::base {

struct CivilDate {
    int year;
    int month; ///< 1 to 12
    int day;   ///< 1 to 31
    auto operator<=>(const CivilDate&) const = default;
};

/// A week by ISO 8601: weeks start on Monday, week 1 has the year's first Thursday.
struct IsoWeek {
    int iso_year;
    int week; ///< 1 to 53
    auto operator<=>(const IsoWeek&) const = default;
};

constexpr bool is_leap_year(std::int64_t year) {
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

constexpr int days_in_month(std::int64_t year, int month) {
    if (month == 2)
        return is_leap_year(year) ? 29 : 28;
    return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

namespace detail {
inline constexpr std::int64_t days_per_century = 36'524; // without the leap day of year 400 n
inline constexpr std::int64_t days_per_4_years = 1'461;
inline constexpr std::int64_t days_per_400_years = 146'097;
/// From 0000-03-01 to 2000-01-01. Years that start in March have their leap day at the end.
inline constexpr std::int64_t march_epoch_days = 730'425;
} // namespace detail

/// Days from 2000-01-01 to a date; negative before. The date must exist.
constexpr std::int64_t days_from_civil(const CivilDate& date) {
    const std::int64_t march_year = date.year - (date.month < 3 ? 1 : 0);
    const std::int64_t march_month = (date.month + 9) % 12;
    // 31, 30, 31, 30, 31 days, over and over from March: 153 days in five months.
    const std::int64_t day_of_year = (153 * march_month + 2) / 5 + date.day - 1;
    return 365 * march_year + floor_div(march_year, 4) - floor_div(march_year, 100) +
           floor_div(march_year, 400) + day_of_year - detail::march_epoch_days;
}

/// The inverse of days_from_civil.
constexpr CivilDate civil_from_days(std::int64_t days) {
    const std::int64_t march_days = days + detail::march_epoch_days;
    const std::int64_t cycle = floor_div(march_days, detail::days_per_400_years);
    std::int64_t rest = floor_mod(march_days, detail::days_per_400_years);
    // The last century of a cycle and the last year of four are a day longer: hence the limits.
    const std::int64_t century =
        rest / detail::days_per_century < 4 ? rest / detail::days_per_century : 3;
    rest -= century * detail::days_per_century;
    const std::int64_t four_years = rest / detail::days_per_4_years;
    rest -= four_years * detail::days_per_4_years;
    const std::int64_t year = rest / 365 < 4 ? rest / 365 : 3;
    rest -= year * 365;
    const std::int64_t march_month = (5 * rest + 2) / 153;
    const int day = static_cast<int>(rest - (153 * march_month + 2) / 5 + 1);
    const int month = static_cast<int>(march_month < 10 ? march_month + 3 : march_month - 9);
    const std::int64_t march_year = 400 * cycle + 100 * century + 4 * four_years + year;
    return {static_cast<int>(march_year + (month < 3 ? 1 : 0)), month, day};
}

/// Months from January 2000 to the month of a date; negative before.
constexpr std::int64_t months_from_civil(const CivilDate& date) {
    return (std::int64_t{date.year} - 2000) * 12 + date.month - 1;
}

/// The first day of a month counted by months_from_civil.
constexpr CivilDate civil_from_months(std::int64_t months) {
    return {static_cast<int>(2000 + floor_div(months, 12)),
            static_cast<int>(floor_mod(months, 12)) + 1, 1};
}

/// The day of the week: 0 is Sunday, 6 is Saturday.
constexpr int weekday(std::int64_t days) { return static_cast<int>(floor_mod(days + 6, 7)); }

constexpr IsoWeek iso_week(std::int64_t days) {
    // A week belongs to the year of its Thursday.
    const std::int64_t thursday = days - floor_mod(days - 2, 7) + 3;
    const int year = civil_from_days(thursday).year;
    return {year, static_cast<int>((thursday - days_from_civil({year, 1, 1})) / 7) + 1};
}

/// The day that a wall clock shows.
constexpr std::int64_t day_of(LocalTime t) { return floor_div(t.us, us_per_day); }

/// Microseconds since the wall clock's midnight.
constexpr std::int64_t time_of_day_us(LocalTime t) { return floor_mod(t.us, us_per_day); }

/// Midnight at the start of a day. Error 22008 when it is further than a day out of PostgreSQL's
/// range.
LocalTime midnight(std::int64_t days);

/// "2026-08-01 14:00:00", with a fraction only when there is one, and " BC" as PostgreSQL does.
std::string to_string(LocalTime t);

static_assert(days_from_civil({2000, 1, 1}) == 0);
static_assert(days_from_civil({1970, 1, 1}) * 86'400 == -unix_epoch_offset_s);
static_assert(civil_from_days(59) == CivilDate{2000, 2, 29});
static_assert(civil_from_days(-1) == CivilDate{1999, 12, 31});
static_assert(civil_from_days(days_from_civil({2100, 2, 28}) + 1) == CivilDate{2100, 3, 1});
static_assert(days_from_civil({-4713, 11, 24}) * us_per_day == min_instant.us);
static_assert(days_from_civil({294'277, 1, 1}) * us_per_day == end_instant.us);
static_assert(weekday(0) == 6 && weekday(2) == 1);
static_assert(iso_week(days_from_civil({2021, 1, 3})) == IsoWeek{2020, 53});
static_assert(iso_week(days_from_civil({2018, 12, 31})) == IsoWeek{2019, 1});

} // namespace orchestry::base
