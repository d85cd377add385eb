#include "base/cron.hpp"

#include "base/civil.hpp"
#include "base/error.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <bit>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace orchestry::base {
namespace {

struct Field {
    const char* name;
    int first;
    int last;               // what `*` and open ranges end with
    int greatest;           // what may be written: 7 is another Sunday
    std::string_view names; // three letters each, from `first` on
    const char* example;    // of a name
};

constexpr Field minute_field{"Minute", 0, 59, 59, "", nullptr};
constexpr Field hour_field{"Hour", 0, 23, 23, "", nullptr};
constexpr Field day_of_month_field{"Day of month", 1, 31, 31, "", nullptr};
constexpr Field month_field{"Month", 1, 12, 12, "janfebmaraprmayjunjulaugsepoctnovdec", "jan"};
constexpr Field day_of_week_field{"Day of week", 0, 6, 7, "sunmontuewedthufrisat", "sun"};

constexpr std::uint32_t every_hour = (1U << 24) - 1;

constexpr std::pair<std::string_view, std::string_view> nicknames[] = {
    {"@hourly", "0 * * * *"},  {"@daily", "0 0 * * *"},   {"@midnight", "0 0 * * *"},
    {"@weekly", "0 0 * * 0"},  {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"},
    {"@annually", "0 0 1 1 *"}};

std::string lower_case(std::string_view text) {
    std::string lower(text);
    for (char& c : lower)
        if (c >= 'A' && c <= 'Z')
            c = static_cast<char>(c - 'A' + 'a');
    return lower;
}

/// Reads the fields of one line; holds the line for the errors.
class Reader {
  public:
    explicit Reader(std::string_view line) : line_(line) {}

    [[noreturn]] void refuse(std::string detail) const {
        throw Error(errc::invalid_parameter, "invalid cron schedule \"" + std::string(line_) + '"')
            .detail(std::move(detail))
            .hint("Use five fields for minute, hour, day of month, month and day of week, such as "
                  "'0 2 * * *' for every day at 02:00.");
    }

    std::uint64_t set(const Field& field, std::string_view text) const {
        std::uint64_t values = 0;
        for (;;) {
            const std::size_t comma = text.find(',');
            values |= item(field, text.substr(0, comma));
            if (comma == std::string_view::npos)
                return values;
            text.remove_prefix(comma + 1);
        }
    }

  private:
    /// One element of a list: a range and perhaps a step.
    std::uint64_t item(const Field& field, std::string_view text) const {
        const std::size_t slash = text.find('/');
        const std::string_view values_text = text.substr(0, slash);
        auto [first, last] = range(field, values_text);
        int step = 1;
        if (slash != std::string_view::npos) {
            step = step_of(field, text.substr(slash + 1));
            const bool single = values_text.find_first_of("*-") == std::string_view::npos;
            if (single) // 5/15: from 5 on
                last = std::max(first, field.last);
        }
        std::uint64_t values = 0;
        for (int value = first; value <= last; value += step)
            values |= std::uint64_t{1} << value;
        return values;
    }

    std::pair<int, int> range(const Field& field, std::string_view text) const {
        if (text == "*")
            return {field.first, field.last};
        const std::size_t dash = text.find('-');
        const int first = value(field, text.substr(0, dash));
        if (dash == std::string_view::npos)
            return {first, first};
        int last = value(field, text.substr(dash + 1));
        if (first > last && last == field.first && field.greatest > field.last)
            last = field.greatest; // fri-sun: Sunday ends a week as well
        if (first > last)
            refuse(std::string(field.name) + " range \"" + std::string(text) +
                   "\" ends before it starts.");
        return {first, last};
    }

    int value(const Field& field, std::string_view text) const {
        for (std::size_t i = 0; text.size() == 3 && i < field.names.size(); i += 3)
            if (lower_case(text) == field.names.substr(i, 3))
                return field.first + static_cast<int>(i / 3);
        const std::optional<int> number = number_of(text);
        if (!number)
            refuse(described(field, text) + " is not a number" +
                   (field.example != nullptr
                        ? std::string(" or a name such as \"") + field.example + "\"."
                        : "."));
        require_range(described(field, text), *number, field.first, field.greatest);
        return *number;
    }

    int step_of(const Field& field, std::string_view text) const {
        const std::string what = std::string(field.name) + " step \"" + std::string(text) + '"';
        const std::optional<int> number = number_of(text);
        if (!number)
            refuse(what + " is not a number.");
        require_range(what, *number, 1, field.last);
        return *number;
    }

    void require_range(const std::string& what, int number, int first, int last) const {
        if (number < first || number > last)
            refuse(what + " is out of range " + std::to_string(first) + " to " +
                   std::to_string(last) + '.');
    }

    static std::string described(const Field& field, std::string_view text) {
        return std::string(field.name) + " \"" + std::string(text) + '"';
    }

    /// The number that the digits make; any that is too great for a field is as good as another.
    static std::optional<int> number_of(std::string_view digits) {
        if (digits.empty() || digits.find_first_not_of("0123456789") != std::string_view::npos)
            return std::nullopt;
        int number = 0;
        for (const char digit : digits)
            number = std::min(number * 10 + (digit - '0'), 1'000'000);
        return number;
    }

    std::string_view line_;
};

bool contains(std::uint64_t set, int value) { return (set >> value & 1) != 0; }

bool matches_day(const Cron& cron, std::int64_t day, int day_of_month) {
    const bool by_month = contains(cron.days_of_month, day_of_month);
    const bool by_week = contains(cron.days_of_week, weekday(day));
    return cron.either_day ? by_month || by_week : by_month && by_week;
}

/// True when a day exists that the line names. In 400 years each date falls on each day of the
/// week, so only the length of months matters.
bool can_fire(const Cron& cron) {
    if (cron.either_day)
        return true;
    const int first_day = std::countr_zero(cron.days_of_month);
    for (int month = 1; month <= 12; ++month)
        if (contains(cron.months, month) && first_day <= days_in_month(2000, month))
            return true;
    return false;
}

/// The first day from `day` on, counted from 2000-01-01, that the line names.
std::int64_t next_day(const Cron& cron, std::int64_t day) {
    for (CivilDate date = civil_from_days(day);; date = civil_from_days(day)) {
        const int month_end = days_in_month(date.year, date.month);
        if (contains(cron.months, date.month))
            for (int day_of_month = date.day; day_of_month <= month_end; ++day_of_month)
                if (matches_day(cron, day + day_of_month - date.day, day_of_month))
                    return day + day_of_month - date.day;
        day = day_of(midnight(day + month_end - date.day + 1)); // ends at the end of time
    }
}

/// The first minute of a day from `minute` on, counted from midnight, that the line names.
std::optional<std::int64_t> next_minute(const Cron& cron, std::int64_t minute) {
    const int hour = static_cast<int>(minute / 60);
    const int minute_of_hour = static_cast<int>(minute % 60);
    if (const std::uint64_t rest = cron.minutes >> minute_of_hour;
        contains(cron.hours, hour) && rest != 0)
        return minute + std::countr_zero(rest);
    const std::uint32_t later_hours = cron.hours >> (hour + 1);
    if (later_hours == 0)
        return std::nullopt;
    return 60 * (hour + 1 + std::countr_zero(later_hours)) + std::countr_zero(cron.minutes);
}

/// The first wall-clock time after `after`, strictly, that the line names.
LocalTime next_match(const Cron& cron, LocalTime after) {
    const std::int64_t day = day_of(after);
    if (next_day(cron, day) == day) {
        const std::int64_t from = time_of_day_us(after) / us_per_minute + 1;
        const std::optional<std::int64_t> minute =
            from < 24 * 60 ? next_minute(cron, from) : std::nullopt;
        if (minute)
            return {midnight(day).us + *minute * us_per_minute};
    }
    return {midnight(next_day(cron, day + 1)).us + next_minute(cron, 0).value() * us_per_minute};
}

/// For a line that allows every hour: the first instant after `t` at which the wall clock shows a
/// time that the line names. Walks through stretches of constant offset.
Instant next_shown(const Cron& cron, const Zone& zone, Instant t) {
    LocalTime wall = to_local(zone, t);
    for (;;) {
        const std::int64_t offset_s = zone.offset_at(t);
        const Instant due{next_match(cron, wall).us - offset_s * us_per_second};
        const Instant probe = std::min(due, Instant{t.us + us_per_day});
        if (zone.offset_at(probe) != offset_s) {
            t = offset_change(zone, t, probe);
            wall = {to_local(zone, t).us - 1}; // what the clock shows at the change counts
            continue;
        }
        if (probe == due)
            return require_in_range(due);
        // With no change for a day, the clock will not go back to what it has shown. So nothing
        // fires until the clock comes near the match, even if the offset is another one by then.
        t = std::max(probe, Instant{due.us - 2 * us_per_day});
        wall = to_local(zone, t);
    }
}

} // namespace

Cron parse_cron(std::string_view line) {
    const Reader reader(line);
    std::vector<std::string_view> fields = split_words(line);
    if (fields.size() == 1)
        for (const auto& [nickname, meaning] : nicknames)
            if (lower_case(fields[0]) == nickname) {
                fields = split_words(meaning);
                break;
            }
    if (fields.size() != 5)
        reader.refuse(!fields.empty() && fields[0][0] == '@'
                          ? "\"" + std::string(fields[0]) + "\" is not a known name."
                          : "It has " + std::to_string(fields.size()) + " fields.");

    Cron cron{};
    cron.minutes = reader.set(minute_field, fields[0]);
    cron.hours = static_cast<std::uint32_t>(reader.set(hour_field, fields[1]));
    cron.days_of_month = static_cast<std::uint32_t>(reader.set(day_of_month_field, fields[2]));
    cron.months = static_cast<std::uint32_t>(reader.set(month_field, fields[3]));
    const auto week = static_cast<std::uint32_t>(reader.set(day_of_week_field, fields[4]));
    cron.days_of_week = (week | week >> 7) & 0x7f;
    cron.either_day = fields[2][0] != '*' && fields[4][0] != '*';
    if (!can_fire(cron))
        reader.refuse("No month that it names has such a day, so it would never fire.");
    return cron;
}

Instant next_after(const Cron& cron, const Zone& zone, Instant t) {
    if (cron.hours == every_hour)
        return next_shown(cron, zone, t);
    for (LocalTime wall = to_local(zone, t);;) {
        wall = next_match(cron, wall);
        // In the second pass of a repeated hour the clock shows times that were due in the first.
        if (const Instant due = to_instant(zone, wall); due > t)
            return due;
    }
}

} // namespace orchestry::base
