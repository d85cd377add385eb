#include "base/cron.hpp"

#include "support.hpp"
#include "system_zone.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <random>
#include <set>

namespace orchestry::base {
namespace {

using test::at;
using test::contains;
using test::error_of;
using test::SystemZone;
using test::wall;

std::string detail_of(std::string_view line) {
    return error_of("22023", [&] { parse_cron(line); }).detail();
}

/// The first `count` times after `t` at which a line is due.
std::vector<Instant> due(std::string_view line, const Zone& zone, Instant t, int count) {
    std::vector<Instant> times;
    for (int i = 0; i < count; ++i)
        times.push_back(t = next_after(parse_cron(line), zone, t));
    return times;
}

using Times = std::vector<Instant>;

std::uint64_t bits(std::initializer_list<int> values) {
    std::uint64_t set = 0;
    for (const int value : values)
        set |= std::uint64_t{1} << value;
    return set;
}

TEST(CronParse, ListsRangesAndSteps) {
    const Cron cron = parse_cron("0,30 1-10/3 5/10 */5 1-5");
    EXPECT_EQ(cron.minutes, bits({0, 30}));
    EXPECT_EQ(cron.hours, bits({1, 4, 7, 10}));
    EXPECT_EQ(cron.days_of_month, bits({5, 15, 25}));
    EXPECT_EQ(cron.months, bits({1, 6, 11}));
    EXPECT_EQ(cron.days_of_week, bits({1, 2, 3, 4, 5}));
    EXPECT_EQ(parse_cron("5/15 * * * *").minutes, bits({5, 20, 35, 50}));
    EXPECT_EQ(parse_cron("5-5/15 * * * *").minutes, bits({5}));
    EXPECT_EQ(parse_cron("1,2,2-4,58-59 * * * *").minutes, bits({1, 2, 3, 4, 58, 59}));
    EXPECT_EQ(parse_cron("* * * * *").minutes, (std::uint64_t{1} << 60) - 1);
    EXPECT_EQ(parse_cron("* * * * *").hours, (std::uint64_t{1} << 24) - 1);
    EXPECT_EQ(parse_cron("* * * * *").days_of_month, (std::uint64_t{1} << 32) - 2);
    EXPECT_EQ(parse_cron("* * * * *").months, (std::uint64_t{1} << 13) - 2);
    EXPECT_EQ(parse_cron("* * * * *").days_of_week, (std::uint64_t{1} << 7) - 1);
}

TEST(CronParse, NamesInAnyCase) {
    const Cron cron = parse_cron("0 0 * jan,FEB-Apr MON-fri");
    EXPECT_EQ(cron.months, bits({1, 2, 3, 4}));
    EXPECT_EQ(cron.days_of_week, bits({1, 2, 3, 4, 5}));
    EXPECT_EQ(parse_cron("0 0 * dec sat").months, bits({12}));
}

TEST(CronParse, SundayIsZeroAndSeven) {
    for (const char* sunday : {"0", "7", "sun", "Sun", "0,7", "7/2", "sun-sun", "0-0", "7-7"})
        EXPECT_EQ(parse_cron(std::string("0 0 * * ") + sunday).days_of_week, bits({0})) << sunday;
    EXPECT_EQ(parse_cron("0 0 * * 5-7").days_of_week, bits({5, 6, 0}));
    EXPECT_EQ(parse_cron("0 0 * * fri-sun").days_of_week, bits({5, 6, 0}));
    EXPECT_EQ(parse_cron("0 0 * * */3").days_of_week, bits({0, 3, 6}));
    EXPECT_EQ(parse_cron("0 0 * * 1/3").days_of_week, bits({1, 4}));
}

TEST(CronParse, Nicknames) {
    EXPECT_EQ(parse_cron("@hourly"), parse_cron("0 * * * *"));
    EXPECT_EQ(parse_cron("@daily"), parse_cron("0 0 * * *"));
    EXPECT_EQ(parse_cron("@midnight"), parse_cron("0 0 * * *"));
    EXPECT_EQ(parse_cron("@weekly"), parse_cron("0 0 * * 0"));
    EXPECT_EQ(parse_cron("@monthly"), parse_cron("0 0 1 * *"));
    EXPECT_EQ(parse_cron("@yearly"), parse_cron("0 0 1 1 *"));
    EXPECT_EQ(parse_cron(" @Annually "), parse_cron("0 0 1 1 *"));
}

TEST(CronParse, AnyWhiteSpaceSeparates) {
    EXPECT_EQ(parse_cron("\t0  2 * *\n* "), parse_cron("0 2 * * *"));
}

TEST(CronParse, ErrorsNameTheLineAndTheField) {
    const Error error = error_of("22023", [] { parse_cron("61 * * * *"); });
    EXPECT_EQ(error.message(), "invalid cron schedule \"61 * * * *\"");
    EXPECT_EQ(error.detail(), "Minute \"61\" is out of range 0 to 59.");
    EXPECT_TRUE(contains(error.hint(), "'0 2 * * *'"));

    EXPECT_EQ(detail_of("0 24 * * *"), "Hour \"24\" is out of range 0 to 23.");
    EXPECT_EQ(detail_of("0 0 0 * *"), "Day of month \"0\" is out of range 1 to 31.");
    EXPECT_EQ(detail_of("0 0 32 * *"), "Day of month \"32\" is out of range 1 to 31.");
    EXPECT_EQ(detail_of("0 0 * 13 *"), "Month \"13\" is out of range 1 to 12.");
    EXPECT_EQ(detail_of("0 0 * * 8"), "Day of week \"8\" is out of range 0 to 7.");
    EXPECT_EQ(detail_of("99999999999999999999 * * * *"),
              "Minute \"99999999999999999999\" is out of range 0 to 59.");
    EXPECT_EQ(detail_of("0 0 * * monday"),
              "Day of week \"monday\" is not a number or a name such as \"sun\".");
    EXPECT_EQ(detail_of("0 0 * mon *"), "Month \"mon\" is not a number or a name such as \"jan\".");
    EXPECT_EQ(detail_of("x * * * *"), "Minute \"x\" is not a number.");
    EXPECT_EQ(detail_of("-1 * * * *"), "Minute \"\" is not a number.");
    EXPECT_EQ(detail_of("1,,2 * * * *"), "Minute \"\" is not a number.");
    EXPECT_EQ(detail_of("1- * * * *"), "Minute \"\" is not a number.");
    EXPECT_EQ(detail_of("** * * * *"), "Minute \"**\" is not a number.");
    EXPECT_EQ(detail_of("*-5 * * * *"), "Minute \"*\" is not a number.");
    EXPECT_EQ(detail_of("*/0 * * * *"), "Minute step \"0\" is out of range 1 to 59.");
    EXPECT_EQ(detail_of("*/60 * * * *"), "Minute step \"60\" is out of range 1 to 59.");
    EXPECT_EQ(detail_of("*/ * * * *"), "Minute step \"\" is not a number.");
    EXPECT_EQ(detail_of("1/2/3 * * * *"), "Minute step \"2/3\" is not a number.");
    EXPECT_EQ(detail_of("9-5 * * * *"), "Minute range \"9-5\" ends before it starts.");
    EXPECT_EQ(detail_of("9-0 * * * *"), "Minute range \"9-0\" ends before it starts.");
    EXPECT_EQ(detail_of("* * * *"), "It has 4 fields.");
    EXPECT_EQ(detail_of("0 * * * * *"), "It has 6 fields.");
    EXPECT_EQ(detail_of(""), "It has 0 fields.");
    EXPECT_EQ(detail_of("@reboot"), "\"@reboot\" is not a known name.");
    EXPECT_EQ(detail_of("@"), "\"@\" is not a known name.");
}

TEST(CronParse, LinesThatNeverFireAreRefused) {
    for (const char* line :
         {"0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "* * 31 feb-feb *", "0 0 30 2 */2"})
        EXPECT_EQ(detail_of(line),
                  "No month that it names has such a day, so it would never fire.");
    for (const char* line : {"0 0 29 2 *", "0 0 30 2 1", "0 0 31 2,3 *", "0 0 */31 2 1"})
        EXPECT_NO_THROW(next_after(parse_cron(line), utc(), at(2026, 1, 1))) << line;
}

TEST(CronNext, IsStrictlyLater) {
    EXPECT_EQ(due("0 2 * * *", utc(), at(2026, 8, 1, 2), 2),
              (Times{at(2026, 8, 2, 2), at(2026, 8, 3, 2)}));
    EXPECT_EQ(next_after(parse_cron("0 2 * * *"), utc(), {at(2026, 8, 1, 2).us - 1}),
              at(2026, 8, 1, 2));
    EXPECT_EQ(due("* * * * *", utc(), at(2026, 8, 1, 2, 0, 30), 2),
              (Times{at(2026, 8, 1, 2, 1), at(2026, 8, 1, 2, 2)}));
    EXPECT_EQ(due("59 23 31 12 *", utc(), at(2026, 12, 31, 23, 59), 1),
              (Times{at(2027, 12, 31, 23, 59)}));
    EXPECT_EQ(due("*/20 1,3 * * *", utc(), at(2026, 8, 1, 1, 40), 2),
              (Times{at(2026, 8, 1, 3), at(2026, 8, 1, 3, 20)}));
    EXPECT_EQ(due("0 0 1 * *", utc(), at(1999, 12, 31, 23, 59, 59), 1), (Times{at(2000, 1, 1)}));
}

TEST(CronNext, EitherDayFieldOrBoth) {
    // Both restricted: the 13th, and Fridays. 2026-08-07 is a Friday.
    EXPECT_EQ(due("0 0 13 * fri", utc(), at(2026, 8, 7), 3),
              (Times{at(2026, 8, 13), at(2026, 8, 14), at(2026, 8, 21)}));
    // One starts with a star, even with a step: both have to match.
    EXPECT_EQ(due("0 0 */2 * fri", utc(), at(2026, 8, 1), 2),
              (Times{at(2026, 8, 7), at(2026, 8, 21)}));
    EXPECT_EQ(due("0 0 13 * */5", utc(), at(2026, 8, 1), 2),
              (Times{at(2026, 9, 13), at(2026, 11, 13)}));
    EXPECT_EQ(due("0 0 * * 1", utc(), at(2026, 8, 1), 1), (Times{at(2026, 8, 3)}));
}

TEST(CronNext, LeapDaysAreFoundAcrossACenturyWithout) {
    EXPECT_EQ(due("0 0 29 2 *", utc(), at(2096, 2, 29), 1), (Times{at(2104, 2, 29)}));
    EXPECT_EQ(due("30 * 29 2 *", utc(), at(2096, 2, 29, 23, 30), 1),
              (Times{at(2104, 2, 29, 0, 30)}));
    EXPECT_EQ(due("0 0 29 2 *", utc(), at(2026, 1, 1), 2),
              (Times{at(2028, 2, 29), at(2032, 2, 29)}));
    // On a Sunday (or Saturday) only: 40 years apart here.
    EXPECT_EQ(due("0 0 29 2 */6", utc(), at(2076, 3, 1), 1), (Times{at(2088, 2, 29)}));
}

TEST(CronNext, UsesTheWallClockOfTheZone) {
    const SystemZone kathmandu("Asia/Kathmandu");
    EXPECT_EQ(due("0 2 * * *", kathmandu, at(2026, 8, 1), 1), (Times{at(2026, 8, 1, 20, 15)}));
    EXPECT_EQ(due("0 * * * *", kathmandu, at(2026, 8, 1), 1), (Times{at(2026, 8, 1, 0, 15)}));
    const SystemZone new_york("America/New_York");
    EXPECT_EQ(due("0 12 * * *", new_york, at(2026, 3, 7), 2),
              (Times{at(2026, 3, 7, 17), at(2026, 3, 8, 16)}));
}

TEST(CronNext, ATimeInAGapIsDueAtTheGapsEndOnce) {
    const SystemZone new_york("America/New_York"); // 02:00 to 03:00 do not exist on 2026-03-08
    EXPECT_EQ(due("30 2 * * *", new_york, at(2026, 3, 7, 8), 2),
              (Times{at(2026, 3, 8, 7), at(2026, 3, 9, 6, 30)}));
    EXPECT_EQ(due("*/10 2 8 3 *", new_york, at(2026, 3, 1), 2),
              (Times{at(2026, 3, 8, 7), at(2027, 3, 8, 7)}));
    // 02:30 and 03:00 fall on one instant: neither is lost to the other nor run twice.
    EXPECT_EQ(due("0,30 2,3 * * *", new_york, at(2026, 3, 8, 6), 3),
              (Times{at(2026, 3, 8, 7), at(2026, 3, 8, 7, 30), at(2026, 3, 9, 6)}));
    const SystemZone sao_paulo("America/Sao_Paulo");
    EXPECT_EQ(due("0 0 4 11 *", sao_paulo, at(2018, 11, 1), 1), (Times{at(2018, 11, 4, 3)}));
    const SystemZone apia("Pacific/Apia"); // no 2011-12-30
    EXPECT_EQ(due("0 9,12 * * *", apia, at(2011, 12, 30, 0), 3),
              (Times{at(2011, 12, 30, 10), at(2011, 12, 30, 19), at(2011, 12, 30, 22)}));
    EXPECT_EQ(due("0 12 30 12 *", apia, at(2011, 12, 1), 1), (Times{at(2011, 12, 30, 10)}));
}

TEST(CronNext, ATimeThatComesTwiceIsDueOnce) {
    const SystemZone new_york("America/New_York"); // 01:00 to 02:00 come twice on 2026-11-01
    EXPECT_EQ(due("30 1 * * *", new_york, at(2026, 11, 1), 2),
              (Times{at(2026, 11, 1, 5, 30), at(2026, 11, 2, 6, 30)}));
    EXPECT_EQ(next_after(parse_cron("30 1 * * *"), new_york, at(2026, 11, 1, 6, 10)),
              at(2026, 11, 2, 6, 30));
    EXPECT_EQ(due("*/30 1-2 * * *", new_york, at(2026, 11, 1, 4), 4),
              (Times{at(2026, 11, 1, 5), at(2026, 11, 1, 5, 30), at(2026, 11, 1, 7),
                     at(2026, 11, 1, 7, 30)}));
}

TEST(CronNext, LinesOfEveryHourMeanRealHours) {
    const SystemZone new_york("America/New_York");
    EXPECT_EQ(due("30 * * * *", new_york, at(2026, 11, 1, 5), 4),
              (Times{at(2026, 11, 1, 5, 30), at(2026, 11, 1, 6, 30), at(2026, 11, 1, 7, 30),
                     at(2026, 11, 1, 8, 30)}));
    EXPECT_EQ(due("30 * * * *", new_york, at(2026, 3, 8, 6), 3),
              (Times{at(2026, 3, 8, 6, 30), at(2026, 3, 8, 7, 30), at(2026, 3, 8, 8, 30)}));
    for (const char* line : {"*/15 * * * *", "*/15 */1 * * *", "*/15 0-23 * * *"}) {
        Instant t = at(2026, 11, 1);
        for (const Instant next : due(line, new_york, t, 100)) {
            EXPECT_EQ(next.us - t.us, 15 * us_per_minute) << line;
            t = next;
        }
    }
    // The date may go back as well: 00:01 becomes 23:01 of the day before.
    const SystemZone st_johns("America/St_Johns");
    EXPECT_EQ(due("30 * 28 10 *", st_johns, at(2006, 10, 29, 1, 30), 3),
              (Times{at(2006, 10, 29, 2), at(2006, 10, 29, 3), at(2007, 10, 28, 3)}));
}

TEST(CronNext, EndsWhereTimeEnds) {
    error_of("22008", [] { next_after(parse_cron("0 0 1 1 *"), utc(), {end_instant.us - 1}); });
    error_of("22008", [] { next_after(parse_cron("0 * 1 1 *"), utc(), {end_instant.us - 1}); });
    error_of("22008", [] { next_after(parse_cron("* * * * *"), utc(), plus_infinity); });
    error_of("22008", [] { next_after(parse_cron("0 0 * * *"), utc(), minus_infinity); });
    EXPECT_EQ(next_after(parse_cron("0 0 * * *"), utc(), min_instant).us,
              min_instant.us + us_per_day);
}

/// A random line, and the same as sets of values made without parse_cron.
struct RandomLine {
    std::string text;
    std::array<std::set<int>, 5> values;
    bool either_day;
};

RandomLine random_line(std::mt19937_64& random) {
    constexpr int first[] = {0, 0, 1, 1, 0};
    constexpr int last[] = {59, 23, 31, 12, 6};
    const auto pick = [&](int from, int to) {
        return from + static_cast<int>(random() % static_cast<std::uint64_t>(to - from + 1));
    };
    RandomLine line;
    bool star[5];
    for (std::size_t i = 0; i < 5; ++i) {
        const int kind = pick(0, i == 3 ? 6 : 4); // months are mostly free, or little would fire
        int from = first[i], to = last[i], step = 1;
        std::string text = "*";
        star[i] = kind != 0 && kind != 1;
        if (!star[i]) {
            from = pick(first[i], last[i]);
            to = kind == 0 ? from : pick(from, last[i]);
            text = std::to_string(from) + (kind == 0 ? "" : "-" + std::to_string(to));
        } else if (kind == 2) {
            step = pick(1, last[i] / 2);
            text = "*/" + std::to_string(step);
        }
        for (int value = from; value <= to; value += step)
            line.values[i].insert(value);
        line.text += text + (i < 4 ? " " : "");
    }
    line.either_day = !star[2] && !star[4];
    return line;
}

bool shows(const RandomLine& line, LocalTime t) {
    const CivilDate date = civil_from_days(day_of(t));
    const std::int64_t minute = time_of_day_us(t) / us_per_minute;
    const bool by_month = line.values[2].count(date.day) != 0;
    const bool by_week = line.values[4].count(weekday(day_of(t))) != 0;
    return t.us % us_per_minute == 0 && line.values[0].count(static_cast<int>(minute % 60)) != 0 &&
           line.values[1].count(static_cast<int>(minute / 60)) != 0 &&
           line.values[3].count(date.month) != 0 &&
           (line.either_day ? by_month || by_week : by_month && by_week);
}

/// All times in (from, until) at which a line is due, minute by minute, by the rule's own words.
Times due_by_rule(const RandomLine& line, const Zone& zone, Instant from, Instant until) {
    std::set<Instant> times;
    const bool real_hours = line.values[1].size() == 24;
    std::int64_t shown_until_us = to_local(zone, {from.us - 3 * us_per_day}).us;
    for (Instant t{from.us - 3 * us_per_day}; t < until; t.us += us_per_minute) {
        const LocalTime local = to_local(zone, t);
        if (real_hours) {
            if (shows(line, local))
                times.insert(t);
            continue;
        }
        // All wall-clock minutes that were reached or jumped over since the minute before.
        for (; shown_until_us <= local.us; shown_until_us += us_per_minute)
            if (shows(line, {shown_until_us}))
                times.insert(t);
    }
    return {times.upper_bound(from), times.end()};
}

TEST(CronNext, AgreesWithTheRuleMinuteByMinuteAroundChanges) {
    std::mt19937_64 random(20111230);
    std::size_t firings = 0;
    for (const char* name : {"America/New_York", "Europe/London", "Australia/Lord_Howe",
                             "America/Sao_Paulo", "Pacific/Apia", "America/Havana", "Asia/Beirut",
                             "Africa/Cairo", "Pacific/Chatham", "America/St_Johns"}) {
        const SystemZone zone(name);
        for (const Instant change : zone.changes(at(2005, 1, 1), at(2013, 1, 1))) {
            const Instant from{change.us - us_per_day - us_per_hour};
            const Instant until{change.us + 2 * us_per_day};
            for (int i = 0; i < 12; ++i) {
                const RandomLine line = random_line(random);
                Cron cron{};
                try {
                    cron = parse_cron(line.text);
                } catch (const Error&) {
                    continue; // never fires
                }
                const Times expected = due_by_rule(line, zone, from, until);
                Times found;
                for (Instant t = from; (t = next_after(cron, zone, t)) < until;)
                    found.push_back(t);
                ASSERT_EQ(found, expected) << line.text << ' ' << name;
                // From any instant in between as well, the second pass of an hour included.
                for (Instant t = from; t < until; t.us += 17 * us_per_minute + 1) {
                    const auto next = std::upper_bound(expected.begin(), expected.end(), t);
                    if (next != expected.end()) {
                        ASSERT_EQ(next_after(cron, zone, t), *next) << line.text << ' ' << name;
                    }
                }
                firings += found.size();
            }
        }
    }
    EXPECT_GT(firings, 10'000U);
    std::printf("checked %zu firings\n", firings);
}

} // namespace
} // namespace orchestry::base
