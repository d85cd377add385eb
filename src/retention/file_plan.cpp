#include "retention/file_plan.hpp"

#include <algorithm>

namespace orchestry::retention {

namespace {

constexpr std::size_t number_digits = 20;  // of the largest 64-bit number, and one more
constexpr std::size_t longest_title = 128; // with these, the longest name is one of a manifest's
constexpr std::size_t longest_key = 40;    // passing file, of less than 255 bytes
constexpr std::size_t fraction_digits = 6; // of a second

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// What every file system takes, and no shell reads anything into.
std::string harmless(std::string text) {
    for (char& c : text)
        if (!is_digit(c) && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && c != '.' &&
            c != '-')
            c = '_';
    return text;
}

bool is_date(const std::string& value) {
    return value.size() >= 10 && value[4] == '-' && value[7] == '-' &&
           std::all_of(value.begin(), value.begin() + 4, is_digit);
}

/// 2026-01-31 09:05:00.5+00 as 20260131T090500.500000
std::string time_key(const std::string& value) {
    std::string key;
    for (const char c : value.substr(0, value.find('+')))
        if (c == ' ')
            key += 'T';
        else if (c != '-' && c != ':')
            key += c;
    if (key.find('T') == std::string::npos)
        return key;
    const std::size_t point = key.find('.');
    const std::size_t given = point == std::string::npos ? 0 : key.size() - point - 1;
    if (given == 0)
        key += '.';
    return key.append(fraction_digits - std::min(given, fraction_digits), '0');
}

/// A value so that keys of one column sort as the values do.
std::string sort_key(const std::string& value) {
    if (value.empty())
        return "none";
    if (is_date(value))
        return time_key(value);
    const std::size_t digits = static_cast<std::size_t>(
        std::find_if_not(value.begin(), value.end(), is_digit) - value.begin());
    const bool is_number = digits > 0 && (digits == value.size() || value[digits] == '.');
    return is_number && digits < number_digits ? std::string(number_digits - digits, '0') + value
                                               : value;
}

} // namespace

std::string archive_file_name(const std::string& table, const std::string& least,
                              const std::string& greatest, std::int64_t id) {
    return harmless(table.substr(0, longest_title) + "_" + sort_key(least).substr(0, longest_key) +
                    "_" + sort_key(greatest).substr(0, longest_key) + "_" + std::to_string(id)) +
           ".csv";
}

} // namespace orchestry::retention
