// Exact quantiles without sorting: only the few places of the order that are asked for are found.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

namespace orchestry::base {

/// Between which two of n ordered numbers a quantile lies: PostgreSQL's percentile_cont, in its own
/// arithmetic, so that results agree bit for bit.
struct QuantilePlace {
    std::uint64_t lower; // counted from 0
    std::uint64_t upper;
    double proportion; // of the way from the lower number to the upper one
};

/// `fraction` from 0 to 1; `count` at least 1.
inline QuantilePlace quantile_place(double fraction, std::uint64_t count) noexcept {
    const double place = fraction * static_cast<double>(count - 1);
    const double lower = std::floor(place);
    // Beyond 2^53 the last rank may be no double, and the next one that is lies behind it.
    const auto rank = [count](double at) {
        return std::min(static_cast<std::uint64_t>(at), count - 1);
    };
    return {rank(lower), rank(std::ceil(place)), place - lower};
}

/// The quantile at a place; value_at(rank) gives the number with that rank.
template <typename ValueAt>
double quantile_at(const QuantilePlace& place, const ValueAt& value_at) {
    const double lower = value_at(place.lower);
    if (place.lower == place.upper)
        return lower;
    return lower + place.proportion * (value_at(place.upper) - lower);
}

/// The ranks that the quantiles of `count` numbers need, ascending, each once.
std::vector<std::uint64_t> ranks_of(std::span<const double> fractions, std::uint64_t count);

/// Reorders the values so that for each rank the value with that rank stands where it would if all
/// were sorted as PostgreSQL sorts them: NaN last. `ranks` ascend, each once, below the number of
/// values. Takes time in proportion to the number of values, and the logarithm of that of ranks.
void select_ranks(std::span<double> values, std::span<const std::uint64_t> ranks);

} // namespace orchestry::base
