#include "base/backoff.hpp"

#include "base/hash.hpp"

#include <algorithm>

namespace orchestry::base {

std::int64_t backoff_us(int attempt, std::int64_t base_us, std::int64_t cap_us,
                        std::uint64_t seed) {
    if (base_us <= 0 || cap_us <= 0)
        return 0;
    std::int64_t whole_us = std::min(base_us, cap_us);
    for (int i = 1; i < attempt && whole_us < cap_us; ++i)
        whole_us = whole_us > cap_us / 2 ? cap_us : whole_us * 2;
    const std::int64_t spread_us = whole_us / 2;
    const auto attempt_seed = static_cast<std::uint64_t>(std::max(attempt, 1));
    return whole_us - spread_us + jitter_us(seed ^ splitmix64(attempt_seed), spread_us);
}

} // namespace orchestry::base
