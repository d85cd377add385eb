#include "base/zone.hpp"

#include "support.hpp"
#include "system_zone.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <random>

namespace orchestry::base {
namespace {

using test::at;
using test::error_of;
using test::SystemZone;
using test::wall;

/// Sets the C library's time zone while it lives.
class CLibraryZone {
  public:
    explicit CLibraryZone(const std::string& name) {
        setenv("TZ", (':' + name).c_str(), 1);
        tzset();
    }
    ~CLibraryZone() {
        unsetenv("TZ");
        tzset();
    }
    CLibraryZone(const CLibraryZone&) = delete;
    CLibraryZone& operator=(const CLibraryZone&) = delete;

    std::tm local(Instant t) const {
        const std::time_t s = to_unix_seconds(t);
        std::tm tm{};
        localtime_r(&s, &tm);
        return tm;
    }

    Instant instant(LocalTime local) const {
        const CivilDate date = civil_from_days(day_of(local));
        const std::int64_t second = time_of_day_us(local) / us_per_second;
        std::tm tm{};
        tm.tm_year = date.year - 1900;
        tm.tm_mon = date.month - 1;
        tm.tm_mday = date.day;
        tm.tm_hour = static_cast<int>(second / 3600);
        tm.tm_min = static_cast<int>(second / 60 % 60);
        tm.tm_sec = static_cast<int>(second % 60);
        tm.tm_isdst = -1;
        return from_unix_seconds(std::mktime(&tm));
    }
};

LocalTime wall(const std::tm& tm) {
    return test::wall(tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
                      tm.tm_sec);
}

constexpr Instant modern_start{days_from_civil({1900, 1, 1}) * us_per_day};
constexpr Instant modern_end{days_from_civil({2100, 1, 1}) * us_per_day};

TEST(Zone, EveryZoneAgreesWithTheCLibrary) {
    std::mt19937_64 random(1);
    for (const std::string& name : test::all_zone_names()) {
        const SystemZone zone(name);
        const CLibraryZone library(name);
        std::vector<Instant> times;
        for (const Instant change : zone.changes(modern_start, modern_end)) {
            times.push_back({change.us - us_per_second});
            times.push_back(change);
        }
        for (int i = 0; i < 200; ++i)
            times.push_back(
                {modern_start.us +
                 static_cast<std::int64_t>(random() % (200 * 365 * 86'400ULL)) * us_per_second});
        for (const Instant t : times) {
            const LocalTime local = to_local(zone, t);
            ASSERT_EQ(local, wall(library.local(t))) << name;
            // Only where the clock does not jump is the C library's answer defined.
            if (zone.offset_at({t.us - us_per_day}) == zone.offset_at({t.us + us_per_day})) {
                ASSERT_EQ(to_instant(zone, local), library.instant(local)) << name;
            }
        }
    }
}

/// The definition of to_instant, stretch by stretch of constant offset. `changes`: all of the
/// zone's.
Instant first_shown(const Zone& zone, const std::vector<Instant>& changes, LocalTime local) {
    Instant stretch{local.us - 2 * us_per_day};
    auto change = std::upper_bound(changes.begin(), changes.end(), stretch);
    for (;; ++change) {
        const std::int64_t offset_us = zone.offset_at(stretch) * us_per_second;
        const Instant shown = std::max(stretch, Instant{local.us - offset_us});
        if (change == changes.end() || shown < *change)
            return shown;
        stretch = *change;
    }
}

TEST(Zone, EveryChangeOfEveryZoneFollowsTheDefinition) {
    int checked = 0;
    for (const std::string& name : test::all_zone_names()) {
        const SystemZone zone(name);
        const std::vector<Instant> changes = zone.changes(min_instant, modern_end);
        for (const Instant change : changes) {
            if (change.us - min_instant.us < us_per_day) // a table may begin before all time
                continue;
            const std::int64_t old_local =
                change.us + zone.offset_at({change.us - 1}) * us_per_second;
            const std::int64_t new_local = change.us + zone.offset_at(change) * us_per_second;
            for (const std::int64_t near : {old_local, new_local, (old_local + new_local) / 2})
                for (const std::int64_t shift :
                     {-us_per_day, -us_per_hour, std::int64_t{-1}, std::int64_t{0}, std::int64_t{1},
                      us_per_hour, us_per_day}) {
                    const LocalTime local{near + shift};
                    ASSERT_EQ(to_instant(zone, local), first_shown(zone, changes, local))
                        << name << ' ' << to_string(local);
                    ++checked;
                }
        }
    }
    EXPECT_GT(checked, 500'000);
    std::printf("checked %d wall-clock times around changes\n", checked);
}

TEST(Zone, NoZoneBreaksWhatIsExpectedOfZones) {
    for (const std::string& name : test::all_zone_names()) {
        const SystemZone zone(name);
        Instant last = min_instant;
        for (const Instant change : zone.changes(min_instant, modern_end)) {
            EXPECT_GT(change.us - last.us, 2 * us_per_day) << name;
            EXPECT_LT(std::abs(zone.offset_at(change)), 86'400) << name;
            last = change;
        }
    }
}

TEST(Zone, OfATimeThatComesTwiceTheEarlierIsMeant) {
    EXPECT_EQ(to_instant(SystemZone("Europe/London"), wall(2026, 10, 25, 1, 30)),
              at(2026, 10, 25, 0, 30));
    EXPECT_EQ(to_instant(SystemZone("America/New_York"), wall(2026, 11, 1, 1)), at(2026, 11, 1, 5));
    EXPECT_EQ(to_instant(SystemZone("Australia/Lord_Howe"), wall(2026, 4, 5, 1, 45)),
              at(2026, 4, 4, 14, 45));
    EXPECT_EQ(to_instant(SystemZone("America/Havana"), wall(2020, 11, 1)), at(2020, 11, 1, 4));
    EXPECT_EQ(to_instant(SystemZone("America/St_Johns"), wall(2006, 10, 29)),
              at(2006, 10, 29, 2, 30));
}

TEST(Zone, ATimeThatNeverComesIsTheEndOfItsGap) {
    EXPECT_EQ(to_instant(SystemZone("Europe/London"), wall(2026, 3, 29, 1, 30)),
              at(2026, 3, 29, 1));
    EXPECT_EQ(to_instant(SystemZone("Australia/Lord_Howe"), wall(2026, 10, 4, 2, 10)),
              at(2026, 10, 3, 15, 30));
    EXPECT_EQ(to_instant(SystemZone("America/Sao_Paulo"), wall(2018, 11, 4)), at(2018, 11, 4, 3));
    EXPECT_EQ(to_instant(SystemZone("Africa/Cairo"), wall(2026, 4, 24)), at(2026, 4, 23, 22));
    EXPECT_EQ(to_instant(SystemZone("Asia/Beirut"), wall(2026, 3, 29)), at(2026, 3, 28, 22));
    EXPECT_EQ(to_instant(SystemZone("America/St_Johns"), wall(2006, 4, 2, 0, 30)),
              at(2006, 4, 2, 3, 31));
}

TEST(Zone, ADayThatAZoneSkippedIsOneInstant) {
    const SystemZone apia("Pacific/Apia");
    const Instant skipped = at(2011, 12, 30, 10);
    EXPECT_EQ(to_instant(apia, wall(2011, 12, 29, 23, 59)), at(2011, 12, 30, 9, 59));
    for (int hour = 0; hour < 24; ++hour)
        EXPECT_EQ(to_instant(apia, wall(2011, 12, 30, hour)), skipped);
    EXPECT_EQ(to_instant(apia, wall(2011, 12, 31)), skipped);
    EXPECT_EQ(to_local(apia, skipped), wall(2011, 12, 31));
}

TEST(Zone, OffsetsOfAllKinds) {
    EXPECT_EQ(to_instant(SystemZone("Asia/Kolkata"), wall(2026, 1, 1)), at(2025, 12, 31, 18, 30));
    EXPECT_EQ(to_instant(SystemZone("Asia/Kathmandu"), wall(2026, 1, 1)), at(2025, 12, 31, 18, 15));
    EXPECT_EQ(to_instant(SystemZone("Pacific/Chatham"), wall(2026, 7, 1)), at(2026, 6, 30, 11, 15));
    EXPECT_EQ(to_instant(SystemZone("Pacific/Kiritimati"), wall(2026, 1, 1)), at(2025, 12, 31, 10));
    EXPECT_EQ(to_instant(SystemZone("Etc/GMT+12"), wall(2026, 1, 1)), at(2026, 1, 1, 12));
    EXPECT_EQ(to_instant(utc(), wall(2026, 1, 1)), at(2026, 1, 1));
}

TEST(Zone, RulesReachBeyondTheTable) {
    const SystemZone london("Europe/London");
    EXPECT_EQ(london.offset_at(at(2090, 7, 1)), 3600);
    EXPECT_EQ(london.offset_at(at(2090, 12, 1)), 0);
    const SystemZone dublin("Europe/Dublin"); // its winter is the exception, not its summer
    EXPECT_EQ(dublin.offset_at(at(2090, 7, 1)), 3600);
    EXPECT_EQ(dublin.offset_at(at(2090, 12, 1)), 0);
    const SystemZone chatham("Pacific/Chatham");
    EXPECT_EQ(chatham.offset_at(at(2090, 1, 1)), 13 * 3600 + 45 * 60);
}

TEST(Zone, WhatCannotBeStoredIsAnError) {
    const SystemZone new_york("America/New_York");
    const SystemZone far_east("Etc/GMT-14");
    for (const Instant t :
         {plus_infinity, minus_infinity, end_instant, Instant{min_instant.us - 1}})
        error_of("22008", [&] { to_local(new_york, t); });
    error_of("22008", [&] { to_instant(new_york, {end_instant.us - 1}); });
    error_of("22008", [&] { to_instant(far_east, {min_instant.us}); });
    error_of("22008", [&] { to_instant(utc(), {plus_infinity.us}); });
    error_of("22008", [&] { to_instant(utc(), {minus_infinity.us}); });
    for (const Instant t : {min_instant, Instant{end_instant.us - 1}}) {
        EXPECT_EQ(to_instant(new_york, to_local(new_york, t)), t);
        EXPECT_EQ(to_instant(far_east, to_local(far_east, t)), t);
    }
}

TEST(Zone, OffsetChangeIsTheFirstInstantOfTheNewOffset) {
    const SystemZone london("Europe/London");
    EXPECT_EQ(offset_change(london, at(2026, 3, 1), at(2026, 4, 1)), at(2026, 3, 29, 1));
    EXPECT_EQ(offset_change(london, {at(2026, 3, 29, 1).us - 1}, at(2026, 3, 29, 1)),
              at(2026, 3, 29, 1));
}

} // namespace
} // namespace orchestry::base
