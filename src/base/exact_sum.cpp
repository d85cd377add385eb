#include "base/exact_sum.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace orchestry::base {

namespace {

/// The 128 highest bits of a natural number.
struct Top {
    Uint128 bits; // the highest bit is set, unless the number is 0
    int shift;    // how many bits lie below these; negative when there was room
    bool rest;    // whether any of the bits below is set
};

Top top_of(std::span<const std::uint32_t> limbs) {
    std::size_t size = limbs.size();
    while (size > 0 && limbs[size - 1] == 0)
        --size;
    Top top{0, 0, false};
    if (size == 0)
        return top;
    const std::size_t taken = std::min<std::size_t>(size, 4);
    for (std::size_t i = 0; i < taken; ++i)
        top.bits = top.bits << 32 | limbs[size - 1 - i];
    std::size_t below = size - taken;
    top.shift = static_cast<int>(below) * 32;
    const auto high = static_cast<std::uint64_t>(top.bits >> 64);
    const int room = high != 0 ? std::countl_zero(high)
                               : 64 + std::countl_zero(static_cast<std::uint64_t>(top.bits));
    top.bits <<= room;
    top.shift -= room;
    if (room > 0 && below > 0) { // at most 31 bits: there were four limbs
        --below;
        top.bits |= limbs[below] >> (32 - room);
        top.rest = (limbs[below] << room) != 0;
    }
    for (std::size_t i = 0; i < below && !top.rest; ++i)
        top.rest = limbs[i] != 0;
    return top;
}

/// bits * 2^exponent to the nearest double, ties to even, as if a little more than `bits` stood
/// there when `rest` is set.
double nearest_double(Uint128 bits, bool rest, int exponent) {
    if (bits == 0)
        return 0;
    const auto high = static_cast<std::uint64_t>(bits >> 64);
    const int width = high != 0 ? 128 - std::countl_zero(high)
                                : 64 - std::countl_zero(static_cast<std::uint64_t>(bits));
    // How many of the low bits a double with this exponent has no room for.
    const int dropped = std::max(width - 53, -1074 - exponent);
    if (dropped <= 0)
        return std::ldexp(static_cast<double>(static_cast<std::uint64_t>(bits)), exponent);
    if (dropped > width)
        return 0;
    const Uint128 half = static_cast<Uint128>(1) << (dropped - 1);
    const Uint128 tail = dropped == 128 ? bits : bits & ((half << 1) - 1);
    auto mantissa = dropped == 128 ? 0 : static_cast<std::uint64_t>(bits >> dropped);
    if (tail > half || (tail == half && (rest || (mantissa & 1) != 0)))
        ++mantissa;
    return std::ldexp(static_cast<double>(mantissa), exponent + dropped);
}

Limbs add_zeros_below(std::size_t count, const Limbs& limbs) {
    Limbs all(count, 0);
    all.insert(all.end(), limbs.begin(), limbs.end());
    return all;
}

Limbs multiply(const Limbs& a, const Limbs& b) {
    Limbs product(a.size() + b.size(), 0);
    for (std::size_t i = 0; i < a.size(); ++i) {
        std::uint64_t carry = 0;
        for (std::size_t j = 0; j < b.size(); ++j) {
            carry += std::uint64_t{a[i]} * b[j] + product[i + j];
            product[i + j] = static_cast<std::uint32_t>(carry);
            carry >>= 32;
        }
        product[i + b.size()] = static_cast<std::uint32_t>(carry);
    }
    return product;
}

/// a - b, which must not be negative.
Limbs subtract(Limbs a, const Limbs& b) {
    a.resize(std::max(a.size(), b.size()), 0);
    std::int64_t borrow = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        borrow += std::int64_t{a[i]} - (i < b.size() ? b[i] : 0);
        a[i] = static_cast<std::uint32_t>(borrow);
        borrow >>= 32;
    }
    return a;
}

} // namespace

double round_to_double(std::span<const std::uint32_t> limbs, int exponent, std::uint64_t divisor,
                       bool negative) {
    const Top top = top_of(limbs);
    // At least 64 bits are left of 128 after the division: enough to round by.
    const Uint128 quotient = top.bits / divisor;
    const bool rest = top.rest || top.bits % divisor != 0;
    const double magnitude = nearest_double(quotient, rest, exponent + top.shift);
    return negative ? -magnitude : magnitude;
}

template <std::size_t Count>
void FixedPoint<Count>::carry() noexcept {
    std::int64_t carried = 0;
    for (std::size_t i = 0; i + 1 < Count; ++i) {
        carried += limbs_[i];
        limbs_[i] = carried & static_cast<std::int64_t>(limb_mask);
        carried >>= limb_bits;
    }
    limbs_[Count - 1] += carried;
    additions_ = 0;
}

template <std::size_t Count>
void FixedPoint<Count>::add_product(std::uint64_t a, std::uint64_t b, int position,
                                    bool negative) noexcept {
    const Uint128 product = static_cast<Uint128>(a) * b;
    auto at = static_cast<std::size_t>(position / limb_bits);
    const int shift = position % limb_bits;
    const auto add = [&](Uint128 bits) {
        const auto piece = static_cast<std::int64_t>(static_cast<std::uint64_t>(bits) & limb_mask);
        limbs_[at++] += negative ? -piece : piece;
    };
    add(product << shift);
    for (Uint128 rest = product >> (limb_bits - shift); rest != 0; rest >>= limb_bits)
        add(rest);
    count_addition();
}

template <std::size_t Count>
typename FixedPoint<Count>::Parts FixedPoint<Count>::parts() const {
    FixedPoint copy = *this;
    copy.carry();
    const bool negative = copy.limbs_[Count - 1] < 0;
    if (negative) {
        for (std::int64_t& limb : copy.limbs_)
            limb = -limb;
        copy.carry();
    }
    std::size_t first = 0;
    std::size_t end = Count;
    while (end > 0 && copy.limbs_[end - 1] == 0)
        --end;
    while (first < end && copy.limbs_[first] == 0)
        ++first;
    Parts parts{negative, end == 0 ? 0 : first, {}};
    for (std::size_t i = first; i < end; ++i)
        parts.limbs.push_back(static_cast<std::uint32_t>(copy.limbs_[i]));
    return parts;
}

template class FixedPoint<sum_limbs>;
template class FixedPoint<square_limbs>;

double sample_deviation(std::uint64_t count, const ExactSum::Parts& sum,
                        const ExactSquares::Parts& squares) {
    // (count * squares - sum^2) / (count * (count - 1)); the units of sum^2 are those of squares.
    const Limbs factor{static_cast<std::uint32_t>(count), static_cast<std::uint32_t>(count >> 32)};
    const std::size_t first = std::min(squares.first, 2 * sum.first);
    const Limbs difference =
        subtract(add_zeros_below(squares.first - first, multiply(squares.limbs, factor)),
                 add_zeros_below(2 * sum.first - first, multiply(sum.limbs, sum.limbs)));
    int exponent = ExactSquares::unit_exponent + static_cast<int>(first) * 32;
    Top top = top_of(difference);
    exponent += top.shift;
    // An even exponent can be taken out of the root, so neither overflows before the end.
    const int odd = exponent & 1;
    const double scaled = static_cast<double>(top.bits) * (odd != 0 ? 2 : 1);
    const double variance = scaled / static_cast<double>(count) / static_cast<double>(count - 1);
    return std::ldexp(std::sqrt(variance), (exponent - odd) / 2);
}

} // namespace orchestry::base
