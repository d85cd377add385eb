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

} // namespace
} // namespace orchestry::base
