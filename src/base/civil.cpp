#include "base/civil.hpp"

#include "base/text.hpp"

namespace orchestry::base {

LocalTime midnight(std::int64_t days) {
    constexpr std::int64_t first_day = min_instant.us / us_per_day - 1;
    constexpr std::int64_t last_day = end_instant.us / us_per_day + 1;
    if (days < first_day || days > last_day)
        throw timestamp_out_of_range();
    return {days * us_per_day};
}

std::string to_string(LocalTime t) {
    const CivilDate date = civil_from_days(day_of(t));
    const bool before_christ = date.year <= 0;
    const std::int64_t second = time_of_day_us(t) / us_per_second;
    std::string text = zero_padded(before_christ ? 1 - date.year : date.year, 4) + '-' +
                       zero_padded(date.month, 2) + '-' + zero_padded(date.day, 2) + ' ' +
                       zero_padded(second / 3600, 2) + ':' + zero_padded(second / 60 % 60, 2) +
                       ':' + zero_padded(second % 60, 2);
    if (const std::int64_t fraction_us = time_of_day_us(t) % us_per_second; fraction_us != 0) {
        text += '.' + zero_padded(fraction_us, 6);
        text.erase(text.find_last_not_of('0') + 1);
    }
    if (before_christ)
        text += " BC";
    return text;
}

} // namespace orchestry::base
