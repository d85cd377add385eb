// What all unit tests share: times that can be read, and expected errors.
#pragma once

#include "base/civil.hpp"
#include "base/error.hpp"
#include "base/time.hpp"

#include <gtest/gtest.h>

#include <ostream>
#include <string>

namespace orchestry::base {

// GoogleTest prints values in failures with these.
inline void PrintTo(Instant t, std::ostream* out) {
    *out << (is_finite(t) ? to_string(LocalTime{t.us}) + "Z" : "infinity");
}
inline void PrintTo(LocalTime t, std::ostream* out) { *out << to_string(t); }

} // namespace orchestry::base

namespace orchestry::test {

inline base::LocalTime wall(int year, int month, int day, int hour = 0, int minute = 0,
                            int second = 0) {
    return {base::days_from_civil({year, month, day}) * base::us_per_day +
            hour * base::us_per_hour + minute * base::us_per_minute + second * base::us_per_second};
}

/// An instant by its UTC date and time.
inline base::Instant at(int year, int month, int day, int hour = 0, int minute = 0,
                        int second = 0) {
    return {wall(year, month, day, hour, minute, second).us};
}

/// The error that a call throws; fails the test when it throws none or another SQLSTATE.
template <typename Call>
base::Error error_of(const char* sqlstate, Call&& call) {
    try {
        call();
    } catch (const base::Error& error) {
        EXPECT_STREQ(error.sqlstate(), sqlstate) << error.what();
        return error;
    }
    ADD_FAILURE() << "no error, expected SQLSTATE " << sqlstate;
    return base::Error("", "");
}

inline bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

} // namespace orchestry::test
