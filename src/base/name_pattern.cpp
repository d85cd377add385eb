#include "base/name_pattern.hpp"

#include "base/civil.hpp"
#include "base/error.hpp"
#include "base/grid.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace orchestry::base {

struct NamePattern::KnownToken {
    std::string_view name;
    Token token;
};

constexpr NamePattern::KnownToken NamePattern::known_tokens[] = {
    {"table", Token::table}, {"YYYY", Token::year}, {"MM", Token::month},
    {"DD", Token::day},      {"HH24", Token::hour}, {"MI", Token::minute},
    {"SS", Token::second},   {"Q", Token::quarter}, {"IYYY", Token::iso_year},
    {"IW", Token::iso_week}, {"from", Token::from}, {"to", Token::to}};

namespace {

constexpr std::size_t hash_digits = 8;

Error invalid_pattern(std::string_view pattern, std::string detail) {
    return Error(errc::invalid_parameter, "invalid name pattern \"" + std::string(pattern) + '"')
        .detail(std::move(detail))
        .hint("The tokens are {table}, for time {YYYY} {MM} {DD} {HH24} {MI} {SS} {Q} {IYYY} {IW}, "
              "and for integers {from} {to}. Write {{ and }} for braces.");
}

std::string spelled_year(int year) {
    return year > 0 ? zero_padded(year, 4) : 'b' + zero_padded(1 - year, 4);
}

std::string spelled_integer(std::int64_t number) {
    std::string digits = std::to_string(number);
    if (number < 0)
        digits[0] = 'n';
    return digits;
}

std::string hex_hash(std::string_view text) {
    std::uint64_t hash = fnv1a64(text);
    std::string digits(hash_digits, '0');
    for (char& digit : digits) {
        digit = "0123456789abcdef"[hash >> 60];
        hash <<= 4;
    }
    return digits;
}

/// A table's name in at most `bytes` bytes, which it exceeds: its start, and a hash of it all.
std::string shortened(std::string_view table, std::size_t bytes) {
    const std::size_t kept = whole_characters(table, bytes - hash_digits - 1);
    return std::string(table.substr(0, kept)) + '_' + hex_hash(table);
}

/// Lower bounds that show whether a pattern repeats itself: thousands of intervals in a row, which
/// is each combination of weekday and leap year for days and longer steps. Steps below a day get
/// the first interval of each of as many days besides.
std::vector<LocalTime> sample_bounds(const Step& step) {
    constexpr int samples = 12'000; // more than 28 years of days
    constexpr LocalTime horizon{days_from_civil({12'000, 1, 1}) * us_per_day};
    const Grid grid(utc(), step);
    std::vector<LocalTime> bounds;
    Instant lower = grid.ceil({0});
    for (int i = 0; i < samples && grid.label(lower) < horizon; ++i) {
        bounds.push_back(grid.label(lower));
        lower = grid.next(lower);
    }
    if (step.us > 0 && step.us < us_per_day)
        for (int day = 0; day < samples; ++day)
            bounds.push_back(grid.label(grid.ceil({day * us_per_day})));
    return bounds;
}

} // namespace

bool NamePattern::is_time(Token token) { return token >= Token::year; }

bool NamePattern::is_integer(Token token) { return token == Token::from || token == Token::to; }

NamePattern NamePattern::parse(std::string_view pattern) {
    if (pattern.empty())
        throw invalid_pattern(pattern, "It is empty.");
    NamePattern parsed;
    parsed.text_ = pattern;
    std::string literal;
    const auto end_literal = [&] {
        if (!literal.empty())
            parsed.pieces_.push_back({Token::literal, std::exchange(literal, {})});
    };
    for (std::size_t i = 0; i < pattern.size(); ++i) {
        const char c = pattern[i];
        if (c != '{' && c != '}') {
            literal += c;
            continue;
        }
        if (pattern.substr(i + 1, 1) == pattern.substr(i, 1)) {
            literal += c;
            ++i;
            continue;
        }
        const std::size_t end = pattern.find('}', i);
        if (c == '}' || end == std::string_view::npos)
            throw invalid_pattern(pattern, std::string("A brace \"") + c + "\" stands alone.");
        const std::string_view name = pattern.substr(i + 1, end - i - 1);
        const auto* known = std::find_if(std::begin(known_tokens), std::end(known_tokens),
                                         [&](const KnownToken& k) { return k.name == name; });
        if (known == std::end(known_tokens))
            throw invalid_pattern(pattern, "Unknown token \"{" + std::string(name) + "}\".");
        end_literal();
        parsed.pieces_.push_back({known->token, {}});
        i = end;
    }
    end_literal();
    if (parsed.has_time_tokens() && parsed.has_integer_tokens())
        throw invalid_pattern(pattern, "It mixes tokens for time with tokens for integers.");
    return parsed;
}

bool NamePattern::has_time_tokens() const {
    return std::any_of(pieces_.begin(), pieces_.end(),
                       [](const Piece& piece) { return is_time(piece.token); });
}

bool NamePattern::has_integer_tokens() const {
    return std::any_of(pieces_.begin(), pieces_.end(),
                       [](const Piece& piece) { return is_integer(piece.token); });
}

void NamePattern::require_no_integer_tokens() const {
    if (has_integer_tokens())
        throw invalid_pattern(text_, "{from} and {to} are for integer keys; this one is a time.");
}

void NamePattern::require_no_time_tokens() const {
    if (has_time_tokens())
        throw invalid_pattern(text_, "Its tokens are for times; this key is an integer.");
}

std::string NamePattern::spell(Token token, LocalTime lower) {
    const std::int64_t day = day_of(lower);
    const std::int64_t second = time_of_day_us(lower) / us_per_second;
    const CivilDate date = civil_from_days(day);
    switch (token) {
    case Token::year:
        return spelled_year(date.year);
    case Token::month:
        return zero_padded(date.month, 2);
    case Token::day:
        return zero_padded(date.day, 2);
    case Token::hour:
        return zero_padded(second / 3600, 2);
    case Token::minute:
        return zero_padded(second / 60 % 60, 2);
    case Token::second:
        return zero_padded(second % 60, 2);
    case Token::quarter:
        return std::to_string((date.month + 2) / 3);
    case Token::iso_year:
        return spelled_year(iso_week(day).iso_year);
    case Token::iso_week:
        return zero_padded(iso_week(day).week, 2);
    default:
        return {};
    }
}

template <typename Spell>
std::string NamePattern::join(std::string_view table, const Spell& spell_token) const {
    std::string name;
    for (const Piece& piece : pieces_) {
        if (piece.token == Token::table)
            name += table;
        else
            name += piece.token == Token::literal ? piece.text : spell_token(piece.token);
    }
    return name;
}

template <typename Spell>
std::string NamePattern::fit(std::string_view table, const Spell& spell_token) const {
    std::string name = join(table, spell_token);
    if (name.size() <= max_name_bytes)
        return name;
    const auto tables = static_cast<std::size_t>(
        std::count_if(pieces_.begin(), pieces_.end(),
                      [](const Piece& piece) { return piece.token == Token::table; }));
    const std::size_t rest = name.size() - tables * table.size();
    // Room for one byte of the name, an underscore and the hash, each time.
    if (rest + tables * (hash_digits + 2) > max_name_bytes)
        throw Error(errc::name_too_long,
                    "name pattern \"" + text_ + "\" makes a name that is too long")
            .detail("Without {table} the name takes " + std::to_string(rest) + " of " +
                    std::to_string(max_name_bytes) + " bytes.")
            .hint("Shorten the pattern's own text.");
    return join(shortened(table, (max_name_bytes - rest) / tables), spell_token);
}

std::string NamePattern::render(std::string_view table, LocalTime lower) const {
    require_no_integer_tokens();
    return fit(table, [&](Token token) { return spell(token, lower); });
}

std::string NamePattern::render(std::string_view table, std::int64_t from, std::int64_t to) const {
    require_no_time_tokens();
    return fit(table,
               [&](Token token) { return spelled_integer(token == Token::from ? from : to); });
}

void NamePattern::check_distinct(const Step& step) const {
    require_no_integer_tokens();
    const auto ambiguous = [&](std::string detail) {
        return Error(errc::invalid_parameter,
                     "name pattern \"" + text_ + "\" gives one name to several partitions")
            .detail(std::move(detail))
            .hint("Add what tells the partitions apart, as in \"" + default_pattern(step).text() +
                  "\".");
    };
    std::unordered_map<std::string, LocalTime> bound_of;
    for (const LocalTime bound : sample_bounds(step)) {
        std::string name = join("{table}", [&](Token token) { return spell(token, bound); });
        const auto& [found, is_new] = bound_of.try_emplace(std::move(name), bound);
        if (!is_new && found->second != bound)
            throw ambiguous("Of steps of " + to_string(step) + ", the one from " +
                            to_string(found->second) + " and the one from " + to_string(bound) +
                            " are both named \"" + found->first + "\".");
    }
    const bool has_year = std::any_of(pieces_.begin(), pieces_.end(), [](const Piece& piece) {
        return piece.token == Token::year || piece.token == Token::iso_year;
    });
    if (!has_year)
        throw ambiguous("It has no year, so names come again after some years.");
}

void NamePattern::check_distinct_integer() const {
    require_no_time_tokens();
    if (!has_integer_tokens())
        throw Error(errc::invalid_parameter,
                    "name pattern \"" + text_ + "\" gives one name to several partitions")
            .detail("Without {from} or {to}, the partitions from 0 and from any other key are "
                    "both named \"" +
                    join("{table}", [](Token) { return std::string(); }) + "\".")
            .hint("Add what tells the partitions apart, as in \"" +
                  default_integer_pattern().text() + "\".");
}

NamePattern default_pattern(const Step& step) {
    if (step.us > 0)
        return NamePattern::parse(step.us % us_per_minute == 0
                                      ? "{table}_p{YYYY}{MM}{DD}_{HH24}{MI}"
                                      : "{table}_p{YYYY}{MM}{DD}_{HH24}{MI}{SS}");
    if (step.days > 0)
        return NamePattern::parse("{table}_p{YYYY}{MM}{DD}");
    if (step.months % 12 == 0)
        return NamePattern::parse("{table}_p{YYYY}");
    return NamePattern::parse(step.months == 3 ? "{table}_p{YYYY}q{Q}" : "{table}_p{YYYY}{MM}");
}

NamePattern default_integer_pattern() { return NamePattern::parse("{table}_p{from}"); }

} // namespace orchestry::base
