// Integer arithmetic that rounds downwards and that says when it overflows.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>

namespace orchestry::base {

/// The quotient rounded towards minus infinity. `divisor` is positive.
constexpr std::int64_t floor_div(std::int64_t value, std::int64_t divisor) {
    return value / divisor - (value % divisor < 0 ? 1 : 0);
}

/// The remainder of floor_div: from 0 to divisor - 1. `divisor` is positive.
constexpr std::int64_t floor_mod(std::int64_t value, std::int64_t divisor) {
    const std::int64_t remainder = value % divisor;
    return remainder < 0 ? remainder + divisor : remainder;
}

/// How far `value` lies above the greatest number of the form phase + n * step. `step` is positive,
/// `phase` from 0 to step - 1. Never overflows.
constexpr std::int64_t above_multiple(std::int64_t value, std::int64_t step, std::int64_t phase) {
    const std::int64_t above = floor_mod(value, step) - phase;
    return above < 0 ? above + step : above;
}

/// The sum, or nothing when it does not fit.
constexpr std::optional<std::int64_t> checked_add(std::int64_t a, std::int64_t b) {
    std::int64_t sum = 0;
    if (__builtin_add_overflow(a, b, &sum))
        return std::nullopt;
    return sum;
}

/// The difference, or nothing when it does not fit.
constexpr std::optional<std::int64_t> checked_subtract(std::int64_t a, std::int64_t b) {
    std::int64_t difference = 0;
    if (__builtin_sub_overflow(a, b, &difference))
        return std::nullopt;
    return difference;
}

/// The sum, or the end of 64 bits that it lies beyond.
constexpr std::int64_t saturating_add(std::int64_t a, std::int64_t b) {
    using Limits = std::numeric_limits<std::int64_t>;
    return checked_add(a, b).value_or(b > 0 ? Limits::max() : Limits::min());
}

/// The difference, or the end of 64 bits that it lies beyond.
constexpr std::int64_t saturating_subtract(std::int64_t a, std::int64_t b) {
    using Limits = std::numeric_limits<std::int64_t>;
    return checked_subtract(a, b).value_or(b > 0 ? Limits::min() : Limits::max());
}

/// The product, or the end of 64 bits that it lies beyond. `factor` is positive.
constexpr std::int64_t saturating_multiply(std::int64_t a, std::int64_t factor) {
    using Limits = std::numeric_limits<std::int64_t>;
    std::int64_t product = 0;
    if (__builtin_mul_overflow(a, factor, &product))
        return a > 0 ? Limits::max() : Limits::min();
    return product;
}

static_assert(floor_div(-1, 7) == -1 && floor_div(-7, 7) == -1 && floor_div(-8, 7) == -2);
static_assert(floor_mod(-1, 7) == 6 && floor_mod(-7, 7) == 0 && floor_mod(8, 7) == 1);
static_assert(above_multiple(-1, 7, 2) == 4 && above_multiple(9, 7, 2) == 0);

} // namespace orchestry::base
