#include "base/tuple_bytes.hpp"

#include <gtest/gtest.h>

namespace orchestry::base {
namespace {

constexpr Field boolean{true, 1, 1, 1};
constexpr Field int4{true, 4, 4, 1};
constexpr Field int8{true, 8, 8, 1};
constexpr double empty = 28; // header and line pointer

TEST(TupleBytes, OfNoColumn) { EXPECT_EQ(tuple_bytes({}), empty); }

TEST(TupleBytes, CountsPaddingBetweenAndBehind) {
    EXPECT_EQ(tuple_bytes({int4}), empty + 8);
    EXPECT_EQ(tuple_bytes({int8, int4, boolean}), empty + 16);
    EXPECT_EQ(tuple_bytes({boolean, int8, int4}), empty + 24);
    EXPECT_EQ(tuple_bytes({boolean, int8, boolean, int8}), empty + 32);
}

TEST(TupleBytes, NullsNeedABitmapAndNoRoom) {
    const Field never{true, 8, 8, 0};
    EXPECT_EQ(tuple_bytes({int8, never}), empty + 8); // eight columns fit beside the header
    std::vector<Field> nine(9, int8);
    nine.back().share = 0;
    EXPECT_EQ(tuple_bytes(nine), empty + 8 + 64);
}

TEST(TupleBytes, AfterVaryingWidthsHalfThePaddingIsAssumed) {
    const Field text{false, 1, 10, 1};
    EXPECT_EQ(tuple_bytes({text}), empty + 10 + 3.5);
    EXPECT_EQ(tuple_bytes({text, int8}), empty + 10 + 3.5 + 8); // after which it is certain again
    EXPECT_EQ(tuple_bytes({text, int4}), empty + 10 + 1.5 + 4 + 3.5);
}

} // namespace
} // namespace orchestry::base
