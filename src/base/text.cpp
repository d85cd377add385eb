#include "base/text.hpp"

#include "base/hash.hpp"

#include <algorithm>

namespace orchestry::base {

namespace {

constexpr std::size_t most_name_bytes = 63;

/// Six letters and digits that tell names apart which are cut to the same.
std::string tag_of(const std::string& text) {
    constexpr char digits[] = "0123456789abcdefghijklmnopqrstuv";
    std::uint64_t hash = fnv1a64(text);
    std::string tag;
    for (int i = 0; i < 6; ++i, hash >>= 5)
        tag += digits[hash & 31];
    return tag;
}

} // namespace

std::vector<std::string_view> split_words(std::string_view text) {
    constexpr std::string_view white_space = " \t\n\v\f\r";
    std::vector<std::string_view> words;
    std::size_t begin = text.find_first_not_of(white_space);
    while (begin != std::string_view::npos) {
        const std::size_t end = std::min(text.find_first_of(white_space, begin), text.size());
        words.push_back(text.substr(begin, end - begin));
        begin = text.find_first_not_of(white_space, end);
    }
    return words;
}

std::string zero_padded(std::int64_t number, std::size_t width) {
    const std::string digits = std::to_string(number);
    return std::string(width - std::min(width, digits.size()), '0') + digits;
}

std::size_t whole_characters(std::string_view utf8, std::size_t bytes) {
    const auto continues = [&](std::size_t i) {
        return (static_cast<unsigned char>(utf8[i]) & 0xc0) == 0x80;
    };
    while (bytes > 0 && continues(bytes))
        --bytes;
    return bytes;
}

std::string fitting_name(const std::string& whole) {
    if (whole.size() <= most_name_bytes)
        return whole;
    const std::string tag = "_" + tag_of(whole);
    return whole.substr(0, whole_characters(whole, most_name_bytes - tag.size())) + tag;
}

std::string_view without_byte_order_mark(std::string_view utf8) {
    constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
    if (utf8.starts_with(byte_order_mark))
        utf8.remove_prefix(byte_order_mark.size());
    return utf8;
}

std::string canonical_lines(std::string_view utf8) {
    utf8 = without_byte_order_mark(utf8);
    std::string text;
    for (std::size_t i = 0; i < utf8.size(); ++i)
        if (!utf8.substr(i).starts_with("\r\n"))
            text += utf8[i];
    text.resize(text.find_last_not_of('\n') + 1); // npos + 1 is 0
    return text;
}

} // namespace orchestry::base
