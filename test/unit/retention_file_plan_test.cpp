// The names of archive files: they sort by time, and are harmless whatever a table is called.
#include "retention/file_plan.hpp"

#include <gtest/gtest.h>

namespace orchestry::retention {
namespace {

TEST(ArchiveFileName, NamesTheTableTheRangeAndTheFile) {
    EXPECT_EQ(
        archive_file_name("public.run", "2026-01-31 09:05:00+00", "2026-02-01 00:00:00.25+00", 12),
        "public.run_20260131T090500.000000_20260201T000000.250000_12.csv");
    EXPECT_EQ(archive_file_name("s.t", "2026-01-31", "2026-02-01", 7),
              "s.t_20260131_20260201_7.csv");
    EXPECT_EQ(archive_file_name("s.t", "", "", 7), "s.t_none_none_7.csv");
}

TEST(ArchiveFileName, SortsByTheFirstRow) {
    const auto name = [](const char* least) { return archive_file_name("t", least, least, 1); };
    EXPECT_LT(name("2026-01-01 00:00:00+00"), name("2026-01-01 00:00:00.1+00"));
    EXPECT_LT(name("2026-01-01 00:00:00.12+00"), name("2026-01-01 00:00:00.2+00"));
    EXPECT_LT(name("2026-01-01 23:59:59.999999+00"), name("2026-01-02 00:00:00+00"));
    EXPECT_LT(name("999"), name("1000"));
    EXPECT_LT(name("1767225600.5"), name("1767225601"));
    EXPECT_LT(name("019b7704-5000-7000-8000-000000000000"),
              name("019c16a9-4800-7000-8000-000000000000"));
}

TEST(ArchiveFileName, FitsIntoAnyFileSystem) {
    const std::string longest(200, 'x');
    const auto name = [&](const char* least) {
        return archive_file_name(longest, least, longest, INT64_MAX);
    };
    EXPECT_LE((name("1") + ".json.partial").size(), 255U);
    EXPECT_LT(name("9"), name("10")); // they sort nevertheless
    EXPECT_LT(name("2026-01-01 00:00:00.1+00"), name("2026-01-02 00:00:00.1+00"));
    EXPECT_NE(archive_file_name(longest, "1", "2", 3), archive_file_name(longest, "1", "2", 4));
}

TEST(ArchiveFileName, IsHarmless) {
    EXPECT_EQ(archive_file_name("s.\"../a b'$(x)\"", "1", "2", 3),
              "s._.._a_b___x___00000000000000000001_00000000000000000002_3.csv");
}

} // namespace
} // namespace orchestry::retention
