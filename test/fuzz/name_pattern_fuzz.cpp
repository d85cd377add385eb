// Any bytes as a name pattern and a table: reading never crashes, and a name fits or is refused.
#include "base/error.hpp"
#include "base/hash.hpp"
#include "base/name_pattern.hpp"

#include <cstdlib>
#include <cstring>

using namespace orchestry;

namespace {

void require(bool holds) {
    if (!holds)
        std::abort();
}

/// Calls what may refuse its input, with one of two SQLSTATEs.
template <typename Call>
void attempt(const Call& call) {
    try {
        call();
    } catch (const base::Error& error) {
        require(std::strcmp(error.sqlstate(), base::errc::invalid_parameter) == 0 ||
                std::strcmp(error.sqlstate(), base::errc::name_too_long) == 0);
        require(!error.detail().empty() && !error.hint().empty());
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    // The first eight bytes are the lower bound, then the table's name up to a line feed.
    std::int64_t lower = 0;
    if (size < sizeof lower)
        return 0;
    std::memcpy(&lower, data, sizeof lower);
    const std::string_view text(reinterpret_cast<const char*>(data) + sizeof lower,
                                size - sizeof lower);
    const std::size_t line_feed = text.find('\n');
    if (line_feed == std::string_view::npos)
        return 0;
    const std::string_view table = text.substr(0, line_feed);

    attempt([&] {
        const auto pattern = base::NamePattern::parse(text.substr(line_feed + 1));
        attempt([&] {
            require(pattern.render(table, base::LocalTime{lower}).size() <= base::max_name_bytes);
        });
        attempt(
            [&] { require(pattern.render(table, lower, ~lower).size() <= base::max_name_bytes); });
        // These look at many names, which is slower than all the rest, so they have a sample: by
        // all of the input, or the fuzzer, which likes what reaches new code, would find little
        // else.
        if (base::fnv1a64(text) % 4096 != 0)
            return;
        attempt([&] { pattern.check_distinct_integer(); });
        attempt([&] { pattern.check_distinct({0, 1, 0}); });
    });
    return 0;
}
