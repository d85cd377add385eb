#include "base/step.hpp"

#include "support.hpp"
#include "system_zone.hpp"

#include <limits>

namespace orchestry::base {
namespace {

using test::at;
using test::contains;
using test::error_of;
using test::SystemZone;

TEST(Step, OneUnitIsAccepted) {
    EXPECT_EQ(make_step(1, 0, 0, "every"), (Step{1, 0, 0}));
    EXPECT_EQ(make_step(0, 7, 0, "every"), (Step{0, 7, 0}));
    EXPECT_EQ(make_step(0, 0, us_per_hour, "every"), (Step{0, 0, us_per_hour}));
}

TEST(Step, AnythingElseIsRefusedByName) {
    const Span refused[] = {
        {0, 0, 0}, {-1, 0, 0}, {0, -1, 0}, {0, 0, -1},           {1, 1, 0}, {0, 1, 1}, {1, 0, 1},
        {1, 1, 1}, {1, -1, 0}, {-1, 0, 5}, {0, -1, us_per_hour}, {2, 0, -1}};
    for (const Span& span : refused) {
        const Error error =
            error_of("22023", [&] { make_step(span.months, span.days, span.us, "every"); });
        EXPECT_EQ(error.message(), "\"every\" must be a positive interval of one unit");
        EXPECT_TRUE(contains(error.detail(), "months (or years) only"));
        EXPECT_TRUE(contains(error.hint(), "'1 month'"));
    }
}

TEST(Step, TheDetailSaysWhatIsWrong) {
    const auto detail = [](std::int32_t months, std::int32_t days, std::int64_t us) {
        return error_of("22023", [&] { make_step(months, days, us, "keep"); }).detail();
    };
    EXPECT_TRUE(contains(detail(0, 0, 0), "is zero"));
    EXPECT_TRUE(contains(detail(0, 0, -1), "negative"));
    EXPECT_TRUE(contains(detail(1, -1, 0), "negative"));
    EXPECT_TRUE(contains(detail(1, 1, 0), "mixes units"));
}

TEST(Step, IsWrittenInItsGreatestWholeUnit) {
    EXPECT_EQ(to_string(Step{1, 0, 0}), "1 month");
    EXPECT_EQ(to_string(Step{3, 0, 0}), "3 months");
    EXPECT_EQ(to_string(Step{12, 0, 0}), "1 year");
    EXPECT_EQ(to_string(Step{18, 0, 0}), "18 months");
    EXPECT_EQ(to_string(Step{0, 1, 0}), "1 day");
    EXPECT_EQ(to_string(Step{0, 7, 0}), "7 days");
    EXPECT_EQ(to_string(Step{0, 0, us_per_hour}), "1 hour");
    EXPECT_EQ(to_string(Step{0, 0, 36 * us_per_hour}), "36 hours");
    EXPECT_EQ(to_string(Step{0, 0, 15 * us_per_minute}), "15 minutes");
    EXPECT_EQ(to_string(Step{0, 0, 90 * us_per_second}), "90 seconds");
    EXPECT_EQ(to_string(Step{0, 0, 1'500'000}), "1500 milliseconds");
    EXPECT_EQ(to_string(Step{0, 0, 1}), "1 microsecond");
}

TEST(Span, MonthsClampTheDay) {
    EXPECT_EQ(add(utc(), at(2026, 1, 31, 5), {1, 0, 0}), at(2026, 2, 28, 5));
    EXPECT_EQ(add(utc(), at(2024, 1, 31), {1, 0, 0}), at(2024, 2, 29));
    EXPECT_EQ(add(utc(), at(2024, 2, 29), {12, 0, 0}), at(2025, 2, 28));
    EXPECT_EQ(subtract(utc(), at(2026, 3, 31), {1, 0, 0}), at(2026, 2, 28));
    EXPECT_EQ(subtract(utc(), at(2026, 1, 15), {13, 0, 0}), at(2024, 12, 15));
    EXPECT_EQ(add(utc(), at(2026, 3, 15), {-15, 0, 0}), at(2024, 12, 15));
}

TEST(Span, MonthsThenDaysThenTime) {
    EXPECT_EQ(add(utc(), at(2026, 1, 31), {1, 1, us_per_hour}), at(2026, 3, 1, 1));
    EXPECT_EQ(subtract(utc(), at(2026, 3, 31), {1, 1, us_per_hour}), at(2026, 2, 26, 23));
    EXPECT_EQ(add(utc(), at(2026, 1, 31), {1, -1, -us_per_hour}), at(2026, 2, 26, 23));
}

TEST(Span, DaysKeepTheWallClockAndHoursDoNot) {
    const SystemZone new_york("America/New_York"); // clocks change on 2026-03-08 and 2026-11-01
    EXPECT_EQ(add(new_york, at(2026, 3, 7, 17), {0, 1, 0}), at(2026, 3, 8, 16));
    EXPECT_EQ(add(new_york, at(2026, 3, 7, 17), {0, 0, us_per_day}), at(2026, 3, 8, 17));
    EXPECT_EQ(add(new_york, at(2026, 10, 15, 4), {1, 0, 0}), at(2026, 11, 15, 5));
    EXPECT_EQ(subtract(new_york, at(2026, 11, 1, 17), {0, 1, 0}), at(2026, 10, 31, 16));
}

TEST(Span, JumpsOfTheClockFollowToInstant) {
    const SystemZone new_york("America/New_York");
    EXPECT_EQ(add(new_york, at(2026, 3, 7, 7, 30), {0, 1, 0}), at(2026, 3, 8, 7)); // 02:30 never is
    EXPECT_EQ(add(new_york, at(2026, 10, 31, 5, 30), {0, 1, 0}), at(2026, 11, 1, 5, 30));
    // 03-08 02:30, on the way, leaves no trace.
    EXPECT_EQ(add(new_york, at(2026, 2, 8, 7, 30), {1, 1, 0}), at(2026, 3, 9, 6, 30));
    // The second 01:30 stays the second when only real time is added.
    EXPECT_EQ(add(new_york, at(2026, 11, 1, 6, 30), {0, 0, 5}),
              Instant{at(2026, 11, 1, 6, 30).us + 5});
}

TEST(Span, InfinityStays) {
    EXPECT_EQ(add(utc(), plus_infinity, {1, 1, 1}), plus_infinity);
    EXPECT_EQ(subtract(utc(), minus_infinity, {1, 1, 1}), minus_infinity);
}

TEST(Span, OverflowIsAnError) {
    constexpr auto most_32 = std::numeric_limits<std::int32_t>::max();
    constexpr auto least_32 = std::numeric_limits<std::int32_t>::min();
    constexpr auto most_64 = std::numeric_limits<std::int64_t>::max();
    constexpr auto least_64 = std::numeric_limits<std::int64_t>::min();
    for (const Span& span : {Span{most_32, 0, 0}, Span{0, most_32, 0}, Span{0, 0, most_64},
                             Span{least_32, 0, 0}, Span{0, least_32, 0}, Span{0, 0, least_64}}) {
        error_of("22008", [&] { add(utc(), at(2026, 1, 1), span); });
        error_of("22008", [&] { subtract(utc(), at(2026, 1, 1), span); });
    }
    error_of("22008", [] { add(utc(), {end_instant.us - 1}, {0, 0, 1}); });
    error_of("22008", [] { add(utc(), end_instant, {0, 0, -1}); });
    error_of("22008", [] { subtract(utc(), min_instant, {0, 1, 0}); });
}

TEST(Span, HasANominalLength) {
    EXPECT_EQ(nominal_us({0, 0, 200'000}), 200'000);
    EXPECT_EQ(nominal_us({1, 1, 1}), 31 * us_per_day + 1);
    EXPECT_EQ(nominal_us({0, -1, 0}), -us_per_day);
    EXPECT_EQ(nominal_us({INT32_MAX, INT32_MAX, INT64_MAX}), INT64_MAX);
}

} // namespace
} // namespace orchestry::base
