// Splitting and padding of text. Nothing here depends on a locale.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace orchestry::base {

/// The words of a text, split at white space.
std::vector<std::string_view> split_words(std::string_view text);

/// A number that is not negative, with zeros before it up to `width` digits.
std::string zero_padded(std::int64_t number, std::size_t width);

/// The length of the longest prefix of at most `bytes` bytes that ends between two characters. The
/// text has more than `bytes`.
std::size_t whole_characters(std::string_view utf8, std::size_t bytes);

/// A name of at most 63 bytes, the most that the server takes: a longer one is cut between two
/// characters, and ends in a tag that tells names apart which are cut to the same.
std::string fitting_name(const std::string& whole);

/// A text without the mark that some editors put at its beginning.
std::string_view without_byte_order_mark(std::string_view utf8);

/// A text as it is whatever editor or transfer it came through: without a byte order mark, with
/// line feeds alone at the ends of lines, and without empty lines at its end.
std::string canonical_lines(std::string_view utf8);

} // namespace orchestry::base
