#include "base/schedule.hpp"

#include "support.hpp"
#include "system_zone.hpp"

namespace orchestry::base {
namespace {

using test::at;
using test::contains;
using test::error_of;
using test::SystemZone;

Instant next_run(const Span& every, const Zone& zone, Instant anchor, Instant now) {
    return next_run(make_schedule(every), zone, anchor, now);
}

TEST(Schedule, TellsCronLinesFromIntervals) {
    for (const char* text : {"0 2 * * *", " */5 * * * * ", "@daily", "@nonsense", "a b c d e"})
        EXPECT_TRUE(looks_like_cron(text)) << text;
    for (const char* text : {"15 minutes", "1 day", "01:00:00", "@ 1 hour", "", "@", "P1D",
                             "0 2 * *", "1 day 2 hours 3 minutes"})
        EXPECT_FALSE(looks_like_cron(text)) << text;
}

TEST(Schedule, IntervalsAreChecked) {
    EXPECT_NO_THROW(make_schedule(Span{0, 0, us_per_second}));
    const Error error = error_of("22023", [] { make_schedule(Span{0, 0, us_per_second - 1}); });
    EXPECT_EQ(error.message(), "\"schedule\" must be at least one second");
    EXPECT_TRUE(contains(error.detail(), "999999 microseconds"));
    for (const Span& span : {Span{0, 0, 0}, Span{0, 0, -us_per_hour}, Span{-1, 0, 0}, Span{1, 1, 0},
                             Span{0, 1, us_per_hour}})
        EXPECT_TRUE(
            contains(error_of("22023", [&] { make_schedule(span); }).message(), "\"schedule\""));
    EXPECT_TRUE(
        contains(error_of("22023", [] { make_schedule("61 * * * *"); }).detail(), "Minute"));
}

TEST(Schedule, IntervalsKeepTheAnchorsPhase) {
    const Instant anchor = at(2026, 8, 1, 10, 7);
    const Span every{0, 0, 15 * us_per_minute};
    EXPECT_EQ(next_run(every, utc(), anchor, anchor), at(2026, 8, 1, 10, 22));
    EXPECT_EQ(next_run(every, utc(), anchor, at(2026, 8, 1, 10, 8)), at(2026, 8, 1, 10, 22));
    EXPECT_EQ(next_run(every, utc(), anchor, at(2026, 8, 1, 10, 22)), at(2026, 8, 1, 10, 37));
    EXPECT_EQ(next_run(every, utc(), anchor, {at(2026, 8, 1, 10, 22).us - 1}),
              at(2026, 8, 1, 10, 22));
    // Years of missed slots are one.
    EXPECT_EQ(next_run(every, utc(), anchor, at(2031, 1, 1)), at(2031, 1, 1, 0, 7));
    // A clock before the anchor, as after it was set back, does not stop the job.
    EXPECT_EQ(next_run(every, utc(), anchor, at(2026, 7, 1)), at(2026, 7, 1, 0, 7));
}

TEST(Schedule, DaysFollowTheWallClock) {
    const SystemZone new_york("America/New_York");
    const Instant anchor = at(2026, 1, 1, 7); // 02:00
    const Span every{0, 1, 0};
    EXPECT_EQ(next_run(every, new_york, anchor, at(2026, 3, 7, 7)), at(2026, 3, 8, 7)); // a gap
    EXPECT_EQ(next_run(every, new_york, anchor, at(2026, 3, 8, 7)), at(2026, 3, 9, 6));
    EXPECT_EQ(next_run(every, new_york, anchor, at(2026, 11, 1, 6)), at(2026, 11, 1, 7));
    EXPECT_EQ(next_run({0, 7, 0}, new_york, anchor, at(2026, 8, 1)), at(2026, 8, 6, 6));
    EXPECT_EQ(next_run({0, 7, 0}, new_york, anchor, at(2025, 12, 25, 7)), anchor);
}

TEST(Schedule, MonthsAreClampedWithoutDrift) {
    const Instant anchor = at(2026, 1, 31, 3);
    const Span every{1, 0, 0};
    EXPECT_EQ(next_run(every, utc(), anchor, anchor), at(2026, 2, 28, 3));
    EXPECT_EQ(next_run(every, utc(), anchor, at(2026, 2, 28, 3)), at(2026, 3, 31, 3));
    EXPECT_EQ(next_run(every, utc(), anchor, at(2026, 3, 31, 3)), at(2026, 4, 30, 3));
    EXPECT_EQ(next_run(every, utc(), anchor, at(2025, 11, 15)), at(2025, 11, 30, 3));
    EXPECT_EQ(next_run({5, 0, 0}, utc(), anchor, at(2026, 7, 1)), at(2026, 11, 30, 3));
}

TEST(Schedule, SlotsStrictlyIncreaseAndNoneIsSkipped) {
    const SystemZone zones[] = {SystemZone("America/St_Johns"), SystemZone("Pacific/Apia"),
                                SystemZone("America/Havana")};
    for (const SystemZone& zone : zones)
        for (const Span& every : {Span{0, 1, 0}, Span{0, 3, 0}, Span{1, 0, 0}}) {
            const Instant anchor = at(2005, 5, 31, 2, 45); // shortly before midnight in Canada
            Instant slot = at(2005, 6, 1);
            while (slot < at(2013, 1, 1)) {
                const Instant next = next_run(every, zone, anchor, slot);
                ASSERT_GT(next, slot);
                ASSERT_EQ(next_run(every, zone, anchor, {next.us - 1}), next);
                ASSERT_LE(next.us - slot.us, (every.months * 31 + every.days + 1) * us_per_day);
                slot = next;
            }
        }
}

TEST(Schedule, CronLinesIgnoreTheAnchor) {
    const Schedule schedule = make_schedule("0 2 * * *");
    EXPECT_EQ(next_run(schedule, utc(), at(2001, 1, 1), at(2026, 8, 1, 2)), at(2026, 8, 2, 2));
}

TEST(Schedule, EndsWhereTimeEnds) {
    const Instant last{end_instant.us - 1};
    for (const Span& every : {Span{0, 0, us_per_hour}, Span{0, 1, 0}, Span{1, 0, 0},
                              Span{0, 2'000'000'000, 0}, Span{2'000'000'000, 0, 0}}) {
        error_of("22008", [&] { next_run(every, utc(), at(2026, 1, 1), last); });
        error_of("22008", [&] { next_run(every, utc(), at(2026, 1, 1), plus_infinity); });
        error_of("22008", [&] { next_run(every, utc(), minus_infinity, at(2026, 1, 1)); });
    }
    error_of("22008", [&] { next_run({0, 2'147'483'647, 0}, utc(), min_instant, last); });
}

} // namespace
} // namespace orchestry::base
