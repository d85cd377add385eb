#include "base/text.hpp"

#include <gtest/gtest.h>

namespace orchestry::base {
namespace {

TEST(Text, SplitsAtAnyWhiteSpace) {
    using Words = std::vector<std::string_view>;
    EXPECT_EQ(split_words("  0 2\t* \n * *"), (Words{"0", "2", "*", "*", "*"}));
    EXPECT_EQ(split_words("one"), (Words{"one"}));
    EXPECT_EQ(split_words("one "), (Words{"one"}));
    EXPECT_EQ(split_words(" \t"), Words{});
    EXPECT_EQ(split_words(""), Words{});
}

TEST(Text, PadsWithZeros) {
    EXPECT_EQ(zero_padded(7, 2), "07");
    EXPECT_EQ(zero_padded(0, 4), "0000");
    EXPECT_EQ(zero_padded(12'024, 4), "12024");
}

TEST(CanonicalLines, IsTheSameAfterEveryTransfer) {
    const std::string canonical = "SELECT 1;\n\nSELECT 2;";
    for (const char* text : {"SELECT 1;\n\nSELECT 2;", "SELECT 1;\r\n\r\nSELECT 2;\r\n",
                             "\xEF\xBB\xBFSELECT 1;\n\nSELECT 2;\n\n"})
        EXPECT_EQ(canonical_lines(text), canonical);
    EXPECT_EQ(canonical_lines(" SELECT 1;"), " SELECT 1;"); // whatever else differs, differs
    EXPECT_EQ(canonical_lines("SELECT 'a\rb';\r"), "SELECT 'a\rb';\r");
    EXPECT_EQ(canonical_lines(""), "");
    EXPECT_EQ(canonical_lines("\r\n"), "");
}

} // namespace
} // namespace orchestry::base
