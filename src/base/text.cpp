#include "base/text.hpp"

#include <algorithm>

namespace orchestry::base {

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

std::string canonical_lines(std::string_view utf8) {
    constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
    if (utf8.starts_with(byte_order_mark))
        utf8.remove_prefix(byte_order_mark.size());
    std::string text;
    for (std::size_t i = 0; i < utf8.size(); ++i) {
        if (utf8[i] != '\r')
            text += utf8[i];
        else if (i + 1 == utf8.size() || utf8[i + 1] != '\n')
            text += '\n'; // the whole end of a line on old systems
    }
    text.resize(text.find_last_not_of('\n') + 1); // npos + 1 is 0
    return text;
}

} // namespace orchestry::base
