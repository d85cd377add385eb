// How long to wait before another attempt.
#pragma once

#include <cstdint>

namespace orchestry::base {

/// The wait in microseconds after failed attempt number `attempt` (1 is the first; less counts as
/// 1): `base_us` doubled per attempt, at most `cap_us`, and of that between the half and the whole,
/// chosen by `seed` and the attempt, so that those who failed together do not return together.
/// 0 when `base_us` or `cap_us` is not positive. Never overflows.
std::int64_t backoff_us(int attempt, std::int64_t base_us, std::int64_t cap_us, std::uint64_t seed);

} // namespace orchestry::base
