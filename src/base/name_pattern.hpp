// Names of partitions. They are written from a pattern and never parsed back: bounds come from the
// catalog.
#pragma once

#include "base/step.hpp"
#include "base/time.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace orchestry::base {

/// The longest identifier in PostgreSQL, in bytes.
inline constexpr std::size_t max_name_bytes = 63;

/// Text with tokens in braces over a partition's lower bound: {table}, for time {YYYY} {MM} {DD}
/// {HH24} {MI} {SS} {Q} {IYYY} {IW}, for integer keys {from} and {to} (a negative one is n123).
/// `{{` and `}}` stand for braces. Years after 9999 have more digits, year y BC is b and y.
class NamePattern {
  public:
    /// Error 22023 for an unknown token, a lone brace, an empty pattern, or tokens of both kinds.
    static NamePattern parse(std::string_view pattern);

    /// The name of the partition that starts at `lower`, the grid's label of its lower bound.
    /// Error 22023 when the pattern has {from} or {to}; otherwise as fit, below.
    ///
    /// Fit: a name longer than 63 bytes gets shorter in its {table} part alone, at a character of
    /// UTF-8, and that part then ends in 8 hexadecimal digits of the full table name's hash, so
    /// that two long names stay apart. Error 42622 when the rest leaves no room for that.
    std::string render(std::string_view table, LocalTime lower) const;

    /// The name of the partition of integers [from, to). Error 22023 when the pattern has a token
    /// of time; otherwise as fit, above.
    std::string render(std::string_view table, std::int64_t from, std::int64_t to) const;

    /// Error 22023 when two partitions of this step could get one name (monthly ones named {YYYY});
    /// the detail names both bounds and the name. Also when the pattern has {from} or {to}.
    void check_distinct(const Step& step) const;

    /// Error 22023 when two partitions of integers could get one name: without {from} or {to}.
    void check_distinct_integer() const;

    bool has_time_tokens() const;
    bool has_integer_tokens() const;

    /// The pattern as it was given.
    const std::string& text() const { return text_; }

  private:
    enum class Token {
        literal,
        table,
        from,
        to,
        year,
        month,
        day,
        hour,
        minute,
        second,
        quarter,
        iso_year,
        iso_week,
    };
    struct Piece {
        Token token;
        std::string text; // of a literal
    };
    struct KnownToken;
    static const KnownToken known_tokens[];

    NamePattern() = default;
    static bool is_time(Token token);
    static bool is_integer(Token token);
    static std::string spell(Token token, LocalTime lower);
    void require_no_integer_tokens() const;
    void require_no_time_tokens() const;
    template <typename Spell>
    std::string join(std::string_view table, const Spell& spell_token) const;
    template <typename Spell>
    std::string fit(std::string_view table, const Spell& spell_token) const;

    std::string text_;
    std::vector<Piece> pieces_;
};

/// The pattern for partitions of a step when the user gives none: {table}_p and as much of the
/// date and time as tells two partitions apart.
NamePattern default_pattern(const Step& step);

/// The pattern for partitions of integers when the user gives none: {table}_p{from}.
NamePattern default_integer_pattern();

} // namespace orchestry::base
