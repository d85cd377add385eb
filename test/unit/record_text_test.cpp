// Rows as text: the same as the server's for a composite value.
#include "base/record_text.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace orchestry::base {
namespace {

std::string text(std::vector<const char*> fields) {
    std::string text = "what was there";
    write_record_text(text, fields.data(), static_cast<int>(fields.size()));
    return text;
}

TEST(RecordText, PlainValuesStandAsTheyAre) {
    EXPECT_EQ(text({}), "()");
    EXPECT_EQ(text({"1"}), "(1)");
    EXPECT_EQ(text({"1", "-2.5", "abc", "{x}", "\xc3\xa9"}), "(1,-2.5,abc,{x},\xc3\xa9)");
}

TEST(RecordText, NullIsNothingAndAnEmptyTextIsQuoted) {
    EXPECT_EQ(text({nullptr}), "()");
    EXPECT_EQ(text({nullptr, "", nullptr}), "(,\"\",)");
}

TEST(RecordText, WhatCouldBeMistakenIsQuoted) {
    EXPECT_EQ(text({"a b", "c,d", "(e", "f)", "g\nh", "i\tj"}),
              "(\"a b\",\"c,d\",\"(e\",\"f)\",\"g\nh\",\"i\tj\")");
    EXPECT_EQ(text({"say \"it\"", "back\\slash"}), "(\"say \"\"it\"\"\",\"back\\\\slash\")");
}

} // namespace
} // namespace orchestry::base
