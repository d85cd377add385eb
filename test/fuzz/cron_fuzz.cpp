// Any bytes as a cron line: reading them never crashes, and what can be read is due later and
// later.
#include "base/cron.hpp"
#include "base/error.hpp"
#include "base/schedule.hpp"
#include "system_zone.hpp"

#include <cstdlib>
#include <cstring>

using namespace orchestry;

namespace {

void require(bool holds) {
    if (!holds)
        std::abort();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const test::SystemZone zones[] = {
        test::SystemZone("America/New_York"), test::SystemZone("Pacific/Apia"),
        test::SystemZone("Australia/Lord_Howe"), test::SystemZone("Etc/UTC")};

    // The first eight bytes are the instant and the zone.
    std::uint64_t start = 0;
    if (size < sizeof start)
        return 0;
    std::memcpy(&start, data, sizeof start);
    const std::string_view line(reinterpret_cast<const char*>(data) + sizeof start,
                                size - sizeof start);
    const base::Zone& zone = zones[start % 4];
    const std::int64_t century_us = 36'525 * base::us_per_day;
    base::Instant t{static_cast<std::int64_t>(start % static_cast<std::uint64_t>(2 * century_us)) -
                    century_us};
    base::looks_like_cron(line);
    try {
        const base::Cron cron = base::parse_cron(line);
        if (start / 4 % 64 != 0)
            return 0; // walking the calendar takes a thousand times as long as reading the line
        for (int i = 0; i < 20; ++i) {
            const base::Instant next = base::next_after(cron, zone, t);
            require(next > t);
            require(base::next_after(cron, zone, {next.us - 1}) == next);
            require(next.us - t.us < century_us);
            t = next;
        }
    } catch (const base::Error& error) {
        // In these centuries only the line can be at fault.
        require(std::strcmp(error.sqlstate(), base::errc::invalid_parameter) == 0);
        require(!error.detail().empty() && !error.hint().empty());
    }
    return 0;
}
