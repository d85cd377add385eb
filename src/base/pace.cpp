#include "base/pace.hpp"

#include "base/arith.hpp"

#include <algorithm>

namespace orchestry::base {

Pace::Pace(std::int64_t first, std::int64_t target_us)
    : amount_(std::max<std::int64_t>(first, 1)), target_us_(target_us) {}

void Pace::took(std::int64_t elapsed_us) {
    const std::int64_t elapsed = std::max<std::int64_t>(elapsed_us, 1);
    const std::int64_t fitting = saturating_multiply(amount_, target_us_) / elapsed;
    amount_ = std::clamp(fitting, std::max<std::int64_t>(amount_ / 4, 1),
                         saturating_multiply(amount_, 4));
}

void Pace::halve() { amount_ = std::max<std::int64_t>(amount_ / 2, 1); }

} // namespace orchestry::base
