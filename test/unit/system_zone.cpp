#include "system_zone.hpp"

#include "base/civil.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace orchestry::test {
namespace {

std::string read_zone_file(const std::string& name) {
    const char* directory = std::getenv("TZDIR");
    const std::string path =
        std::string(directory ? directory : "/usr/share/zoneinfo") + '/' + name;
    std::ifstream file(path, std::ios::binary);
    if (!file)
        throw std::runtime_error("cannot read " + path + ": is tzdata installed?");
    return {std::istreambuf_iterator<char>(file), {}};
}

/// Reads numbers and fields off the front of a text.
class Cursor {
  public:
    explicit Cursor(std::string text) : text_(std::move(text)) {}

    std::int64_t big_endian(int bytes) {
        std::uint64_t value = static_cast<signed char>(text_.at(at_)) < 0 ? ~std::uint64_t{0} : 0;
        for (int i = 0; i < bytes; ++i)
            value = value << 8 | static_cast<unsigned char>(text_.at(at_++));
        return static_cast<std::int64_t>(value);
    }
    void skip(std::size_t bytes) { at_ += bytes; }
    bool at_end() const { return at_ >= text_.size(); }
    char peek() const { return at_end() ? '\0' : text_[at_]; }
    bool accept(char c) {
        if (peek() != c)
            return false;
        ++at_;
        return true;
    }
    void expect(char c) {
        if (!accept(c))
            throw std::runtime_error("cannot read \"" + text_ + '"');
    }
    std::string rest_of_line() {
        const std::size_t end = std::min(text_.find('\n', at_), text_.size());
        std::string line = text_.substr(at_, end - at_);
        at_ = end;
        return line;
    }
    int number() {
        int value = 0;
        while (peek() >= '0' && peek() <= '9')
            value = value * 10 + (text_[at_++] - '0');
        return value;
    }
    /// [+-]hh[:mm[:ss]]
    std::int64_t signed_time() {
        const bool negative = accept('-');
        if (!negative)
            accept('+');
        std::int64_t seconds = number() * std::int64_t{3600};
        if (accept(':'))
            seconds += number() * 60;
        if (accept(':'))
            seconds += number();
        return negative ? -seconds : seconds;
    }
    /// Letters, or anything in angle brackets.
    bool zone_name() {
        const std::size_t begin = at_;
        if (accept('<')) {
            while (!accept('>'))
                skip(1);
            return true;
        }
        while ((peek() >= 'A' && peek() <= 'Z') || (peek() >= 'a' && peek() <= 'z'))
            skip(1);
        return at_ > begin;
    }

  private:
    std::string text_;
    std::size_t at_ = 0;
};

struct Header {
    std::int64_t utc_flags, standard_flags, leaps, times, types, characters;
};

Header read_header(Cursor& cursor) {
    cursor.skip(20); // magic, version, reserved
    Header header{};
    for (std::int64_t* count : {&header.utc_flags, &header.standard_flags, &header.leaps,
                                &header.times, &header.types, &header.characters})
        *count = cursor.big_endian(4);
    return header;
}

} // namespace

SystemZone::SystemZone(const std::string& name) {
    Cursor cursor(read_zone_file(name));
    const Header old = read_header(cursor); // a 32-bit copy of the table, for old readers
    cursor.skip(static_cast<std::size_t>(old.times * 5 + old.types * 6 + old.characters +
                                         old.leaps * 8 + old.standard_flags + old.utc_flags));
    const Header header = read_header(cursor);
    table_.resize(static_cast<std::size_t>(header.times));
    for (Change& change : table_)
        change.unix_s = cursor.big_endian(8);
    std::vector<std::size_t> type_of(table_.size());
    for (std::size_t& type : type_of)
        type = static_cast<std::size_t>(cursor.big_endian(1));
    std::vector<std::int64_t> offset_of(static_cast<std::size_t>(header.types));
    for (std::int64_t& offset_s : offset_of) {
        offset_s = cursor.big_endian(4);
        cursor.skip(2); // summer time or not, and the name
    }
    first_offset_s_ = offset_of.at(0);
    for (std::size_t i = 0; i < table_.size(); ++i)
        table_[i].offset_s = offset_of.at(type_of[i]);
    cursor.skip(static_cast<std::size_t>(header.characters + header.leaps * 12 +
                                         header.standard_flags + header.utc_flags));
    cursor.expect('\n');
    read_rule(cursor.rest_of_line());
}

void SystemZone::read_rule(const std::string& posix_tz) {
    Cursor cursor(posix_tz);
    cursor.zone_name();
    standard_offset_s_ = -cursor.signed_time(); // POSIX counts to the west
    if (!cursor.zone_name())
        return;
    has_summer_time_ = true;
    summer_offset_s_ = cursor.peek() == ',' ? standard_offset_s_ + 3600 : -cursor.signed_time();
    for (YearlyDate* date : {&summer_start_, &summer_end_}) {
        cursor.expect(',');
        cursor.expect('M');
        date->month = cursor.number();
        cursor.expect('.');
        date->week = cursor.number();
        cursor.expect('.');
        date->weekday = cursor.number();
        date->time_s = cursor.accept('/') ? cursor.signed_time() : 7200;
    }
}

std::int64_t SystemZone::YearlyDate::local_s(int year) const {
    const std::int64_t first = base::days_from_civil({year, month, 1});
    std::int64_t day = first + (weekday - base::weekday(first) + 7) % 7 + (week - 1) * 7;
    while (day >= first + base::days_in_month(year, month))
        day -= 7;
    return day * 86'400 + time_s;
}

std::int64_t SystemZone::offset_by_rule(std::int64_t unix_s) const {
    if (!has_summer_time_)
        return standard_offset_s_;
    const std::int64_t s = unix_s - base::unix_epoch_offset_s;
    const int year = base::civil_from_days(base::floor_div(s + standard_offset_s_, 86'400)).year;
    const std::int64_t start = summer_start_.local_s(year) - standard_offset_s_;
    const std::int64_t end = summer_end_.local_s(year) - summer_offset_s_;
    const bool summer = start < end ? s >= start && s < end : s >= start || s < end;
    return summer ? summer_offset_s_ : standard_offset_s_;
}

std::int64_t SystemZone::offset_at(base::Instant t) const {
    const std::int64_t unix_s = base::to_unix_seconds(t);
    const auto after =
        std::upper_bound(table_.begin(), table_.end(), unix_s,
                         [](std::int64_t s, const Change& change) { return s < change.unix_s; });
    if (after == table_.end())
        return offset_by_rule(unix_s);
    return after == table_.begin() ? first_offset_s_ : std::prev(after)->offset_s;
}

std::vector<base::Instant> SystemZone::changes(base::Instant from, base::Instant until) const {
    std::vector<std::int64_t> seconds;
    for (const Change& change : table_)
        seconds.push_back(change.unix_s);
    if (has_summer_time_)
        for (int year = 2000; year <= 2200; ++year) {
            seconds.push_back(summer_start_.local_s(year) - standard_offset_s_ +
                              base::unix_epoch_offset_s);
            seconds.push_back(summer_end_.local_s(year) - summer_offset_s_ +
                              base::unix_epoch_offset_s);
        }
    std::sort(seconds.begin(), seconds.end());
    seconds.erase(std::unique(seconds.begin(), seconds.end()), seconds.end());

    std::vector<base::Instant> found;
    for (const std::int64_t unix_s : seconds) {
        if (unix_s < base::to_unix_seconds(from) || unix_s >= base::to_unix_seconds(until))
            continue;
        const base::Instant t = base::from_unix_seconds(unix_s);
        if (offset_at(t) != offset_at({t.us - 1}))
            found.push_back(t);
    }
    return found;
}

std::vector<std::string> all_zone_names() {
    std::istringstream lines(read_zone_file("zone1970.tab"));
    std::vector<std::string> names;
    for (std::string line; std::getline(lines, line);) {
        std::istringstream fields(line);
        std::string countries, coordinates, name;
        if (line[0] != '#' && fields >> countries >> coordinates >> name)
            names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    return names;
}

} // namespace orchestry::test
