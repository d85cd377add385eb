#include "base/error.hpp"

#include <gtest/gtest.h>

namespace orchestry::base {
namespace {

TEST(Error, CarriesAllFourPartsThroughAThrow) {
    try {
        throw Error(errc::invalid_parameter, "bad width").detail("It is 0.").hint("Use '1 day'.");
    } catch (const Error& error) {
        EXPECT_STREQ(error.sqlstate(), "22023");
        EXPECT_EQ(error.message(), "bad width");
        EXPECT_EQ(error.detail(), "It is 0.");
        EXPECT_EQ(error.hint(), "Use '1 day'.");
        EXPECT_STREQ(error.what(), "bad width");
    }
}

TEST(Error, PartsNotGivenAreEmpty) {
    const Error error(errc::internal, "oops");
    EXPECT_TRUE(error.detail().empty());
    EXPECT_TRUE(error.hint().empty());
}

TEST(Error, CopiesAreIndependent) {
    Error error(errc::internal, "first");
    error.detail("Detail.").hint("Hint.");
    const Error copy = error;
    error.detail("Another.");
    EXPECT_EQ(copy.detail(), "Detail.");
    EXPECT_EQ(error.detail(), "Another.");
    EXPECT_EQ(copy.hint(), "Hint.");
}

TEST(Error, IsCaughtAsAStandardException) {
    EXPECT_THROW(throw Error(errc::internal, "oops"), std::exception);
}

} // namespace
} // namespace orchestry::base
