#include "base/name_pattern.hpp"

#include "base/grid.hpp"
#include "support.hpp"

#include <limits>
#include <set>

namespace orchestry::base {
namespace {

using test::contains;
using test::error_of;
using test::wall;

std::string rendered(std::string_view pattern, LocalTime lower) {
    return NamePattern::parse(pattern).render("events", lower);
}

TEST(NamePattern, RendersEachTokenOfTime) {
    const LocalTime t = wall(2026, 1, 3, 4, 5, 6); // Saturday of the first ISO week
    EXPECT_EQ(rendered("{table}_{YYYY}_{MM}_{DD}_{HH24}_{MI}_{SS}", t),
              "events_2026_01_03_04_05_06");
    EXPECT_EQ(rendered("{table}_{YYYY}q{Q}", t), "events_2026q1");
    EXPECT_EQ(rendered("{IYYY}w{IW}", t), "2026w01");
    EXPECT_EQ(rendered("{IYYY}w{IW}", wall(2021, 1, 3)), "2020w53");
    for (int month = 1; month <= 12; ++month)
        EXPECT_EQ(rendered("{Q}", wall(2026, month, 28)), std::to_string((month - 1) / 3 + 1));
    EXPECT_EQ(rendered("workflow_events_y{YYYY}m{MM}", t), "workflow_events_y2026m01");
    EXPECT_EQ(rendered("{table}.{table}", t), "events.events");
}

TEST(NamePattern, RendersIntegers) {
    const NamePattern pattern = NamePattern::parse("{table}_{from}_{to}");
    EXPECT_EQ(pattern.render("ids", 0, 1000), "ids_0_1000");
    EXPECT_EQ(pattern.render("ids", -2000, -1000), "ids_n2000_n1000");
    EXPECT_EQ(pattern.render("ids", std::numeric_limits<std::int64_t>::min(), 0),
              "ids_n9223372036854775808_0");
}

TEST(NamePattern, YearsOutOfFourDigitsStayApart) {
    EXPECT_EQ(rendered("p{YYYY}", wall(12'024, 1, 1)), "p12024");
    EXPECT_EQ(rendered("p{YYYY}", wall(44, 1, 1)), "p0044");
    EXPECT_EQ(rendered("p{YYYY}", wall(-43, 1, 1)), "pb0044");
    EXPECT_EQ(rendered("p{YYYY}", wall(0, 1, 1)), "pb0001");
    EXPECT_EQ(rendered("p{IYYY}", wall(0, 6, 1)), "pb0001");
    std::set<std::string> names;
    for (int year = -4712; year < 20'000; ++year)
        EXPECT_TRUE(names.insert(rendered("p{YYYY}{MM}", wall(year, 12, 1))).second) << year;
}

TEST(NamePattern, BracesAreDoubled) {
    EXPECT_EQ(rendered("{{{table}}}_{{YYYY}}", wall(2026, 1, 1)), "{events}_{YYYY}");
    EXPECT_EQ(NamePattern::parse("{{x}}").text(), "{{x}}");
}

TEST(NamePattern, TheTableNameIsNotReadAsAPattern) {
    EXPECT_EQ(NamePattern::parse("{table}_{YYYY}").render("{MM}", wall(2026, 1, 1)), "{MM}_2026");
}

TEST(NamePattern, WhatCannotBeReadIsRefused) {
    const auto detail = [](std::string_view pattern) {
        const Error error = error_of("22023", [&] { NamePattern::parse(pattern); });
        EXPECT_EQ(error.message(), "invalid name pattern \"" + std::string(pattern) + '"');
        EXPECT_TRUE(contains(error.hint(), "{table}") && contains(error.hint(), "{HH24}") &&
                    contains(error.hint(), "{from}"));
        return error.detail();
    };
    EXPECT_EQ(detail(""), "It is empty.");
    EXPECT_EQ(detail("{table}_{yyyy}"), "Unknown token \"{yyyy}\".");
    EXPECT_EQ(detail("{}"), "Unknown token \"{}\".");
    EXPECT_EQ(detail("{ YYYY}"), "Unknown token \"{ YYYY}\".");
    EXPECT_EQ(detail("{YYYY"), "A brace \"{\" stands alone.");
    EXPECT_EQ(detail("x{"), "A brace \"{\" stands alone.");
    EXPECT_EQ(detail("YYYY}"), "A brace \"}\" stands alone.");
    EXPECT_EQ(detail("{{YYYY}"), "A brace \"}\" stands alone.");
    EXPECT_EQ(detail("{from}_{YYYY}"), "It mixes tokens for time with tokens for integers.");
}

TEST(NamePattern, KnowsItsKind) {
    EXPECT_TRUE(NamePattern::parse("{IW}").has_time_tokens());
    EXPECT_FALSE(NamePattern::parse("{IW}").has_integer_tokens());
    EXPECT_TRUE(NamePattern::parse("{to}").has_integer_tokens());
    EXPECT_FALSE(NamePattern::parse("{table}").has_time_tokens());
    EXPECT_FALSE(NamePattern::parse("{table}").has_integer_tokens());
}

TEST(NamePattern, TokensOfTheOtherKindAreRefused) {
    const NamePattern time = NamePattern::parse("{table}_{YYYY}");
    const NamePattern integer = NamePattern::parse("{table}_{from}");
    error_of("22023", [&] { time.render("t", 0, 10); });
    error_of("22023", [&] { time.check_distinct_integer(); });
    error_of("22023", [&] { integer.render("t", wall(2026, 1, 1)); });
    error_of("22023", [&] { integer.check_distinct({1, 0, 0}); });
}

// Fitting into 63 bytes.

constexpr LocalTime august{days_from_civil({2026, 8, 1}) * us_per_day};

TEST(NamePatternFit, OnlyTheTableIsShortened) {
    const NamePattern pattern =
        NamePattern::parse("{table}_p{YYYY}{MM}{DD}"); // 10 bytes of its own
    const std::string fits(53, 'a');
    EXPECT_EQ(pattern.render(fits, august), fits + "_p20260801");
    const std::string name = pattern.render(fits + 'a', august);
    EXPECT_EQ(name.size(), max_name_bytes);
    EXPECT_EQ(name.substr(0, 44), std::string(44, 'a'));
    EXPECT_EQ(name[44], '_');
    EXPECT_EQ(name.substr(45, 8).find_first_not_of("0123456789abcdef"), std::string::npos);
    EXPECT_EQ(name.substr(53), "_p20260801");
}

TEST(NamePatternFit, LongTablesThatDifferAtTheEndStayApart) {
    const NamePattern pattern = NamePattern::parse("{table}_{from}");
    std::set<std::string> names;
    for (int i = 0; i < 1'000; ++i) {
        const std::string table = std::string(60, 'x') + std::to_string(i);
        EXPECT_TRUE(names.insert(pattern.render(table, 1'000, 2'000)).second);
        EXPECT_EQ(pattern.render(table, 1'000, 2'000), pattern.render(table, 1'000, 2'000));
    }
}

TEST(NamePatternFit, IntervalsOfOneLongTableStayApart) {
    const NamePattern pattern = NamePattern::parse("{table}_{from}");
    const std::string table = std::string(40, 'x') + std::string(23, '_');
    std::set<std::string> names;
    for (std::int64_t from = 1; from < 1'000'000'000'000; from *= 10) {
        const std::string name = pattern.render(table, from, 0);
        EXPECT_LE(name.size(), max_name_bytes);
        EXPECT_TRUE(names.insert(name).second);
    }
}

TEST(NamePatternFit, NeverCutsACharacter) {
    const NamePattern pattern = NamePattern::parse("{table}_{YYYY}");
    for (const char* character : {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x90\x98"})
        for (std::size_t shift = 0; shift < 4; ++shift) {
            std::string table(shift, 'x');
            while (table.size() < 63)
                table += character;
            const std::string name = pattern.render(table, august);
            EXPECT_LE(name.size(), max_name_bytes);
            EXPECT_GT(name.size(), max_name_bytes - 4);
            const std::size_t kept = name.size() - 5 - 9;
            EXPECT_EQ(name.substr(0, kept), table.substr(0, kept));
            EXPECT_EQ((kept - shift) % std::string(character).size(), 0U);
        }
}

TEST(NamePatternFit, SeveralTablesShareTheRoom) {
    const std::string name =
        NamePattern::parse("{table}_{YYYY}_{table}").render(std::string(40, 'x'), august);
    EXPECT_LE(name.size(), max_name_bytes);
    EXPECT_EQ(name.substr(0, 28), name.substr(name.size() - 28));
}

TEST(NamePatternFit, NoRoomIsAnError) {
    const std::string literal(60, 'x');
    EXPECT_EQ(NamePattern::parse("{table}" + literal).render("abc", august), "abc" + literal);
    const Error error =
        error_of("42622", [&] { NamePattern::parse("{table}" + literal).render("abcd", august); });
    EXPECT_TRUE(contains(error.message(), "too long"));
    EXPECT_TRUE(contains(error.detail(), "60 of 63 bytes"));
    error_of("42622", [&] { NamePattern::parse(literal + "{YYYY}").render("t", august); });
    // The least room: one byte, an underscore, eight digits.
    EXPECT_EQ(NamePattern::parse("{table}" + std::string(53, 'x'))
                  .render(std::string(11, 'a'), august)
                  .substr(0, 2),
              "a_");
    error_of("42622", [&] {
        NamePattern::parse("{table}" + std::string(54, 'x')).render(std::string(11, 'a'), august);
    });
}

// Distinct names.

struct Case {
    const char* pattern;
    Step step;
};

constexpr Step minutes(int count) { return {0, 0, count * us_per_minute}; }
constexpr Step seconds(int count) { return {0, 0, count * us_per_second}; }

TEST(NamePatternDistinct, PatternsThatTellPartitionsApartPass) {
    for (const Case& c :
         {Case{"{table}_{YYYY}", {12, 0, 0}}, Case{"{YYYY}{MM}", {1, 0, 0}},
          Case{"{YYYY}q{Q}", {3, 0, 0}}, Case{"{YYYY}q{Q}", {6, 0, 0}},
          Case{"{YYYY}{MM}{DD}", {0, 1, 0}}, Case{"{IYYY}w{IW}", {0, 7, 0}},
          Case{"{YYYY}{MM}", {0, 31, 0}}, Case{"{YYYY}{MM}{DD}", minutes(36 * 60)},
          Case{"{YYYY}{MM}{DD}{HH24}", minutes(60)}, Case{"{YYYY}{MM}{DD}{HH24}{MI}", minutes(7)},
          Case{"{YYYY}{MM}{DD}{HH24}{MI}{SS}", seconds(1)},
          Case{"{YYYY}{MM}{DD}{HH24}", minutes(90)}})
        EXPECT_NO_THROW(NamePattern::parse(c.pattern).check_distinct(c.step))
            << c.pattern << ", " << to_string(c.step);
}

TEST(NamePatternDistinct, PatternsThatRepeatAreRefused) {
    for (const Case& c : {Case{"{YYYY}", {1, 0, 0}},
                          Case{"{YYYY}", {6, 0, 0}},
                          Case{"{MM}", {1, 0, 0}},
                          Case{"{YYYY}q{Q}", {2, 0, 0}},
                          Case{"{YYYY}{MM}", {0, 1, 0}},
                          Case{"{YYYY}{MM}", {0, 30, 0}},
                          Case{"{MM}{DD}", {0, 1, 0}},
                          Case{"{YYYY}{DD}", {0, 1, 0}},
                          Case{"{YYYY}w{IW}", {0, 7, 0}},    // 2018-01-01 and 2018-12-31
                          Case{"{IYYY}{MM}{DD}", {0, 1, 0}}, // Jan 1 may be the old year's
                          Case{"{IYYY}", {12, 0, 0}},
                          Case{"{table}", {0, 1, 0}},
                          Case{"name", {1, 0, 0}},
                          Case{"{YYYY}{MM}{DD}", minutes(60)},
                          Case{"{YYYY}{MM}{DD}{HH24}", minutes(30)},
                          Case{"{HH24}{MI}", minutes(1)},
                          Case{"{YYYY}{DD}{HH24}{MI}", minutes(1)},
                          Case{"{MM}{DD}{HH24}{MI}", minutes(1)},
                          Case{"{MM}{DD}{HH24}{MI}{SS}", seconds(1)},
                          Case{"{MM}{DD}{HH24}{MI}", minutes(7)},
                          Case{"{MM}{DD}{HH24}{MI}{SS}", seconds(86'399)}, // after centuries
                          Case{"{YYYY}{MM}{DD}{MI}{SS}", seconds(1)},
                          Case{"{YYYY}{MM}{DD}{HH24}{MI}{SS}", {0, 0, us_per_second / 2}},
                          Case{"{MM}", {12 * 400, 0, 0}}})
        EXPECT_TRUE(contains(error_of("22023",
                                      [&] {
                                          NamePattern::parse(c.pattern).check_distinct(c.step);
                                          ADD_FAILURE() << c.pattern << ", " << to_string(c.step);
                                      })
                                 .message(),
                             "gives one name to several partitions"));
}

TEST(NamePatternDistinct, TheDetailNamesBothBoundsAndTheName) {
    const Error error = error_of("22023", [] {
        NamePattern::parse("{table}_{YYYY}").check_distinct({1, 0, 0});
    });
    EXPECT_EQ(error.message(),
              "name pattern \"{table}_{YYYY}\" gives one name to several partitions");
    EXPECT_EQ(error.detail(), "Of steps of 1 month, the one from 2000-01-01 00:00:00 and the one "
                              "from 2000-02-01 00:00:00 are both named \"{table}_2000\".");
    EXPECT_TRUE(contains(error.hint(), "{table}_p{YYYY}{MM}"));
}

TEST(NamePatternDistinct, WithoutAYearNamesComeAgainEvenIfOnlyAfterCenturies) {
    const Error error = error_of("22023", [] {
        NamePattern::parse("{MM}{DD}{HH24}{MI}{SS}").check_distinct(seconds(86'399));
    });
    EXPECT_TRUE(contains(error.detail(), "no year"));
}

TEST(NamePatternDistinct, IntegersNeedABound) {
    EXPECT_NO_THROW(NamePattern::parse("{from}").check_distinct_integer());
    EXPECT_NO_THROW(NamePattern::parse("{table}{to}").check_distinct_integer());
    const Error error =
        error_of("22023", [] { NamePattern::parse("{table}_x").check_distinct_integer(); });
    EXPECT_TRUE(contains(error.detail(), "\"{table}_x\""));
}

TEST(NamePatternDefault, FitsEachStep) {
    EXPECT_EQ(default_pattern({0, 1, 0}).text(), "{table}_p{YYYY}{MM}{DD}");
    EXPECT_EQ(default_pattern({0, 7, 0}).text(), "{table}_p{YYYY}{MM}{DD}");
    EXPECT_EQ(default_pattern({1, 0, 0}).text(), "{table}_p{YYYY}{MM}");
    EXPECT_EQ(default_pattern({6, 0, 0}).text(), "{table}_p{YYYY}{MM}");
    EXPECT_EQ(default_pattern({3, 0, 0}).text(), "{table}_p{YYYY}q{Q}");
    EXPECT_EQ(default_pattern({12, 0, 0}).text(), "{table}_p{YYYY}");
    EXPECT_EQ(default_pattern({24, 0, 0}).text(), "{table}_p{YYYY}");
    EXPECT_EQ(default_pattern(minutes(60)).text(), "{table}_p{YYYY}{MM}{DD}_{HH24}{MI}");
    EXPECT_EQ(default_pattern(seconds(90)).text(), "{table}_p{YYYY}{MM}{DD}_{HH24}{MI}{SS}");
    EXPECT_EQ(default_integer_pattern().text(), "{table}_p{from}");
    for (const Step& step :
         {Step{0, 1, 0}, Step{0, 7, 0}, Step{0, 3, 0}, Step{1, 0, 0}, Step{2, 0, 0}, Step{3, 0, 0},
          Step{5, 0, 0}, Step{12, 0, 0}, Step{36, 0, 0}, minutes(1), minutes(60), minutes(7 * 60),
          seconds(1), seconds(90)})
        EXPECT_NO_THROW(default_pattern(step).check_distinct(step)) << to_string(step);
    EXPECT_NO_THROW(default_integer_pattern().check_distinct_integer());
}

} // namespace
} // namespace orchestry::base
