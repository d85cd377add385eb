#include "base/grid.hpp"

#include "support.hpp"
#include "system_zone.hpp"

#include <cstdio>
#include <random>

namespace orchestry::base {
namespace {

using test::at;
using test::error_of;
using test::SystemZone;
using test::wall;

constexpr Step hourly{0, 0, us_per_hour};
constexpr Step daily{0, 1, 0};
constexpr Step weekly{0, 7, 0};
constexpr Step monthly{1, 0, 0};
constexpr Step quarterly{3, 0, 0};
constexpr Step yearly{12, 0, 0};

constexpr const char* zone_names[] = {
    "Europe/London",      "America/New_York", "America/Sao_Paulo", "America/St_Johns",
    "America/Havana",     "Africa/Cairo",     "Asia/Beirut",       "Asia/Kolkata",
    "Asia/Kathmandu",     "Pacific/Apia",     "Pacific/Chatham",   "Australia/Lord_Howe",
    "Pacific/Kiritimati", "Etc/GMT+12",       "Africa/Casablanca", "Etc/UTC"};

/// Walks from `from` to `until` by next() and checks all that a grid promises about each interval.
/// Returns the number of intervals.
long walk(const Grid& grid, Instant from, Instant until) {
    long intervals = 0;
    Instant lower = grid.floor(from);
    EXPECT_LE(lower, from);
    while (lower < until) {
        const Instant upper = grid.next(lower);
        const Instant last{upper.us - 1};
        const bool holds = lower < upper && grid.floor(lower) == lower &&
                           grid.floor(last) == lower && grid.next(last) == upper &&
                           grid.ceil(lower) == lower && grid.ceil({lower.us + 1}) == upper &&
                           grid.ceil(last) == (last == lower ? lower : upper) &&
                           grid.label(lower) < grid.label(upper);
        if (!holds) {
            ADD_FAILURE() << "broken at " << testing::PrintToString(lower) << " to "
                          << testing::PrintToString(upper) << ", step " << to_string(grid.step());
            return intervals;
        }
        lower = upper;
        ++intervals;
    }
    return intervals;
}

TEST(Grid, NoHoleAndNoOverlapInThirtyYearsOfAnyZone) {
    long intervals = 0;
    for (const char* name : zone_names) {
        SCOPED_TRACE(name);
        const SystemZone zone(name);
        for (const Step& step : {hourly, daily, weekly, monthly, quarterly, yearly})
            intervals += walk(Grid(zone, step), at(2000, 1, 1), at(2030, 1, 1));
        for (const Step& step : {daily, weekly, monthly, quarterly, yearly})
            intervals += walk(Grid(zone, step), at(2030, 1, 1), at(2056, 1, 1));
    }
    EXPECT_GT(intervals, 16 * 30 * 365 * 25L);
    std::printf("checked %ld intervals in %zu zones\n", intervals, std::size(zone_names));
}

TEST(Grid, EveryZoneOfTheWorldThroughItsWholeHistory) {
    long intervals = 0;
    for (const std::string& name : test::all_zone_names()) {
        SCOPED_TRACE(name);
        const SystemZone zone(name);
        for (const Step& step : {daily, Step{0, 10, 0}, monthly})
            for (const Instant change : zone.changes(at(1840, 1, 1), at(2056, 1, 1)))
                intervals += walk(Grid(zone, step), {change.us - 3 * us_per_day},
                                  {change.us + 3 * us_per_day});
    }
    std::printf("checked %ld intervals around changes\n", intervals);
}

TEST(Grid, RandomInstantsLieInTheirInterval) {
    std::mt19937_64 random(7);
    const SystemZone zones[] = {SystemZone("America/St_Johns"), SystemZone("Pacific/Apia")};
    for (const SystemZone& zone : zones)
        for (const Step& step : {Step{0, 0, 7 * us_per_minute}, Step{0, 0, 36 * us_per_hour},
                                 Step{0, 3, 0}, Step{5, 0, 0}, Step{0, 0, 1}, daily, yearly})
            for (int i = 0; i < 2'000; ++i) {
                const Instant t{static_cast<std::int64_t>(random() % (400ULL * 365 * us_per_day)) -
                                200 * 365 * us_per_day};
                const Grid grid(zone, step);
                ASSERT_LE(grid.floor(t), t);
                ASSERT_GT(grid.next(t), t);
                ASSERT_EQ(grid.floor(grid.floor(t)), grid.floor(t));
                ASSERT_EQ(grid.next(grid.floor(t)), grid.next(t));
                ASSERT_EQ(grid.ceil(t), grid.floor(t) == t ? t : grid.next(t));
            }
}

TEST(Grid, AlignsToTheCalendar) {
    const Instant t = at(2026, 8, 6, 14, 35, 20); // a Thursday
    EXPECT_EQ(Grid(utc(), hourly).floor(t), at(2026, 8, 6, 14));
    EXPECT_EQ(Grid(utc(), daily).floor(t), at(2026, 8, 6));
    EXPECT_EQ(Grid(utc(), weekly).floor(t), at(2026, 8, 3)); // the Monday
    EXPECT_EQ(Grid(utc(), monthly).floor(t), at(2026, 8, 1));
    EXPECT_EQ(Grid(utc(), quarterly).floor(t), at(2026, 7, 1));
    EXPECT_EQ(Grid(utc(), yearly).floor(t), at(2026, 1, 1));
    EXPECT_EQ(Grid(utc(), Step{120, 0, 0}).floor(t), at(2020, 1, 1));
    EXPECT_EQ(Grid(utc(), Step{0, 0, 15 * us_per_minute}).floor(t), at(2026, 8, 6, 14, 30));
    EXPECT_EQ(Grid(utc(), Step{0, 0, 7 * us_per_day}).floor(t), at(2026, 8, 3));
    EXPECT_EQ(Grid(utc(), weekly).floor(at(1999, 12, 31)), at(1999, 12, 27));
    EXPECT_EQ(Grid(utc(), quarterly).floor(at(1999, 12, 31)), at(1999, 10, 1));
}

TEST(Grid, DaysStartAtTheZonesMidnight) {
    EXPECT_EQ(Grid(SystemZone("America/New_York"), daily).floor(at(2026, 8, 6, 3)),
              at(2026, 8, 5, 4));
    const SystemZone new_york("America/New_York");
    const Grid grid(new_york, daily); // 23 hours in spring, 25 in autumn
    EXPECT_EQ(grid.next(at(2026, 3, 8, 5)), at(2026, 3, 9, 4));
    EXPECT_EQ(grid.next(at(2026, 11, 1, 4)), at(2026, 11, 2, 5));
    EXPECT_EQ(Grid(new_york, monthly).next(at(2026, 11, 1, 4)), at(2026, 12, 1, 5));
}

TEST(Grid, AMidnightThatDoesNotExistIsTheEndOfTheGap) {
    const SystemZone sao_paulo("America/Sao_Paulo");
    const Grid grid(sao_paulo, daily);
    EXPECT_EQ(grid.next(at(2018, 11, 3, 12)), at(2018, 11, 4, 3));
    EXPECT_EQ(grid.next(at(2018, 11, 4, 3)), at(2018, 11, 5, 2));
    EXPECT_EQ(grid.label(at(2018, 11, 4, 3)), wall(2018, 11, 4, 1));
}

TEST(Grid, AMidnightThatComesTwiceIsTheFirst) {
    const SystemZone havana("America/Havana"); // 01:00 becomes 00:00
    EXPECT_EQ(Grid(havana, daily).floor(at(2020, 11, 1, 5, 30)), at(2020, 11, 1, 4));
    EXPECT_EQ(Grid(havana, monthly).floor(at(2020, 11, 1, 5, 30)), at(2020, 11, 1, 4));
    const SystemZone st_johns("America/St_Johns"); // 00:01 becomes 23:01 of the day before
    const Grid grid(st_johns, daily);
    EXPECT_EQ(grid.floor(at(2006, 10, 29, 3)), at(2006, 10, 29, 2, 30));
    EXPECT_EQ(grid.next(at(2006, 10, 29, 3)), at(2006, 10, 30, 3, 30));
    EXPECT_EQ(grid.ceil(at(2006, 10, 29, 3)), at(2006, 10, 30, 3, 30));
}

/// Moved over the date line on 2000-01-01 14:00 UTC: 01-02 10:00 becomes 1999-12-31 18:00.
class MovedZone final : public Zone {
  public:
    std::int64_t offset_at(Instant t) const override {
        return (t < at(2000, 1, 1, 14) ? 20 : -20) * std::int64_t{3600};
    }
};

TEST(Grid, DaysThatComeTwiceAreOneInterval) {
    const MovedZone moved;
    const Grid grid(moved, daily);
    EXPECT_EQ(grid.floor(at(2000, 1, 1, 14)), at(2000, 1, 1, 4));
    EXPECT_EQ(grid.next(at(2000, 1, 1, 14)), at(2000, 1, 3, 20));
    EXPECT_EQ(grid.floor(at(2000, 1, 3, 19)), at(2000, 1, 1, 4));
    EXPECT_GT(walk(grid, at(1999, 12, 25), at(2000, 1, 5)), 8);
}

TEST(Grid, ASkippedDayIsNoInterval) {
    const SystemZone apia("Pacific/Apia");
    const Grid grid(apia, daily);
    EXPECT_EQ(grid.next(at(2011, 12, 30, 9)), at(2011, 12, 30, 10));
    EXPECT_EQ(grid.next(at(2011, 12, 30, 10)), at(2011, 12, 31, 10));
    EXPECT_EQ(grid.label(at(2011, 12, 30, 10)), wall(2011, 12, 31));
}

TEST(Grid, HoursCountInUtc) {
    const SystemZone new_york("America/New_York");
    const Grid grid(new_york, hourly);
    EXPECT_EQ(grid.next(at(2026, 11, 1, 5)), at(2026, 11, 1, 6));
    EXPECT_EQ(grid.next(at(2026, 11, 1, 6)), at(2026, 11, 1, 7));
    EXPECT_EQ(grid.label(at(2026, 11, 1, 6)), wall(2026, 11, 1, 6));
    const SystemZone kathmandu("Asia/Kathmandu");
    EXPECT_EQ(Grid(kathmandu, hourly).floor(at(2026, 1, 1, 5, 20)), at(2026, 1, 1, 5));
}

TEST(Grid, AnchorShiftsDaysAndMicrosecondsOnly) {
    const Instant thursday = at(2026, 8, 6);
    EXPECT_EQ(Grid(utc(), weekly, thursday).floor(at(2026, 8, 5, 23)), at(2026, 7, 30));
    EXPECT_EQ(Grid(utc(), weekly, thursday).floor(at(1999, 1, 1)), at(1998, 12, 31));
    EXPECT_EQ(Grid(utc(), hourly, at(2026, 8, 6, 0, 20)).floor(at(2026, 8, 6, 5, 10)),
              at(2026, 8, 6, 4, 20));
    EXPECT_EQ(Grid(utc(), Step{2, 0, 0}, at(2026, 2, 1)).floor(at(2026, 2, 15)), at(2026, 1, 1));
    EXPECT_EQ(Grid(utc(), daily, at(2026, 2, 1, 7)).floor(at(2026, 2, 15, 12)), at(2026, 2, 15));
    // The local date counts: 2026-08-05 22:00 UTC is the 6th in Kathmandu.
    const SystemZone kathmandu("Asia/Kathmandu");
    EXPECT_EQ(Grid(kathmandu, weekly, at(2026, 8, 5, 22)).floor(at(2026, 8, 7)),
              at(2026, 8, 5, 18, 15));
    EXPECT_GT(walk(Grid(kathmandu, weekly, thursday), at(2000, 1, 1), at(2030, 1, 1)), 1'500);
}

TEST(Grid, EndsWhereTimeEnds) {
    const Instant last{end_instant.us - 1};
    EXPECT_EQ(Grid(utc(), daily).floor(min_instant), min_instant);
    EXPECT_EQ(Grid(utc(), daily).next(min_instant).us, min_instant.us + us_per_day);
    for (const Step& step : {hourly, daily, monthly, Step{0, 0, plus_infinity.us},
                             Step{0, 2'000'000'000, 0}, Step{2'000'000'000, 0, 0}})
        error_of("22008", [&] { Grid(utc(), step).next(last); });
    error_of("22008", [&] { Grid(utc(), yearly).floor(min_instant); });
    for (const Instant t : {plus_infinity, minus_infinity, end_instant})
        for (const Step& step : {hourly, daily, monthly}) {
            error_of("22008", [&] { Grid(utc(), step).floor(t); });
            error_of("22008", [&] { Grid(utc(), step).next(t); });
            error_of("22008", [&] { Grid(utc(), step).ceil(t); });
        }
    error_of("22008", [&] { Grid(utc(), weekly, plus_infinity); });
    error_of("22008", [&] { Grid(utc(), hourly, plus_infinity); });
}

TEST(Grid, RefusesAStepThatNobodyChecked) {
    for (const Step& step : {Step{0, 0, 0}, Step{1, 1, 0}, Step{-1, 0, 0}, Step{0, 0, -5}})
        error_of("XX000", [&] { Grid grid(utc(), step); });
}

} // namespace
} // namespace orchestry::base
