// Sums of doubles, and of their squares, without any rounding. What is added is kept as one long
// binary number, so the same numbers give the same sum whatever their order, and however they were
// split and merged.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace orchestry::base {

// NOLINTNEXTLINE: the standard has no name for it
__extension__ typedef unsigned __int128 Uint128;

/// A natural number, in units of a power of two that its user knows: 32 bits in each element, the
/// lowest first.
using Limbs = std::vector<std::uint32_t>;

/// The double nearest to (negative ? -1 : 1) * limbs * 2^exponent / divisor, ties to even; infinite
/// when it is too great. `divisor` is positive.
double round_to_double(std::span<const std::uint32_t> limbs, int exponent, std::uint64_t divisor,
                       bool negative);

/// The mantissa and the exponent of a double.
struct Decomposed {
    std::uint64_t mantissa; // below 2^53
    int position;           // of the mantissa's last bit, counted from 2^-1074
};

/// A finite double without its sign: mantissa * 2^(position - 1074).
inline Decomposed decompose(double value) noexcept {
    const auto bits = std::bit_cast<std::uint64_t>(value);
    const auto field = static_cast<int>(bits >> 52 & 0x7ff);
    const std::uint64_t fraction = bits & ((std::uint64_t{1} << 52) - 1);
    return field == 0 ? Decomposed{fraction, 0}
                      : Decomposed{fraction | std::uint64_t{1} << 52, field - 1};
}

/// What ExactSum and ExactSquares share: Count limbs of 32 bits in elements of 64, so that carries
/// are needed but rarely. The last limb has the sign.
template <std::size_t Count>
class FixedPoint {
  public:
    static constexpr std::size_t limb_count = Count;

    void merge(const FixedPoint& other) noexcept {
        if (additions_ + other.additions_ + 1 >= most_additions)
            carry();
        for (std::size_t i = 0; i < Count; ++i)
            limbs_[i] += other.limbs_[i];
        // What the other one's limbs had from its last carry is less than one addition.
        additions_ += other.additions_ + 1;
        if (additions_ >= most_additions)
            carry();
    }

    struct Parts {
        bool negative;
        std::size_t first; // limbs below are zero
        Limbs limbs;       // without zeros at either end
    };
    /// The sum as sign and magnitude: the same for the same sum.
    Parts parts() const;

    /// Whether add_parts() may be given these, and then still 2^30 more like them.
    static bool fits(const Parts& parts) noexcept {
        return parts.first + parts.limbs.size() < Count;
    }

    /// Adds what parts() said, which must fit.
    void add_parts(const Parts& parts) noexcept {
        for (std::size_t i = 0; i < parts.limbs.size(); ++i) {
            const std::int64_t limb = parts.limbs[i];
            limbs_[parts.first + i] += parts.negative ? -limb : limb;
        }
        count_addition();
    }

  protected:
    static constexpr int limb_bits = 32;
    static constexpr int most_additions = 512; // of 2^53 each, to what is below 2^33: below 2^63
    static constexpr std::uint64_t limb_mask = 0xffff'ffff;

    std::int64_t& limb(std::size_t i) noexcept { return limbs_[i]; }
    /// To be called once for each addition, none of which adds 2^53 or more to a limb.
    void count_addition() noexcept {
        if (++additions_ >= most_additions)
            carry();
    }

    /// Adds a * b at a bit's position, negative or not.
    void add_product(std::uint64_t a, std::uint64_t b, int position, bool negative) noexcept;

  private:
    void carry() noexcept;

    std::array<std::int64_t, Count> limbs_{};
    int additions_ = 0; // since the last carry
};

/// Up to 2^63 doubles and a little more reach 2^1088.
inline constexpr std::size_t sum_limbs = (1074 + 1088) / 32 + 2;
/// Twice that for their squares.
inline constexpr std::size_t square_limbs = (2148 + 2112) / 32 + 3;

/// A sum of finite doubles, in units of 2^-1074.
class ExactSum : public FixedPoint<sum_limbs> {
  public:
    static constexpr int unit_exponent = -1074;

    void add(double value) noexcept {
        const auto [mantissa, position] = decompose(value);
        const auto at = static_cast<std::size_t>(position / limb_bits);
        const int shift = position % limb_bits;
        const auto low = static_cast<std::int64_t>(mantissa << shift & limb_mask);
        const auto high = static_cast<std::int64_t>(mantissa >> (limb_bits - shift));
        // All ones for a negative number: two's complement without a branch to mispredict.
        const std::int64_t sign = std::bit_cast<std::int64_t>(value) >> 63;
        limb(at) += (low ^ sign) - sign;
        limb(at + 1) += (high ^ sign) - sign;
        count_addition();
    }
    void add(double value, std::uint64_t times) noexcept {
        const auto [mantissa, position] = decompose(value);
        add_product(mantissa, times, position, value < 0);
    }
};

/// A sum of squares of finite doubles, in units of 2^-2148.
class ExactSquares : public FixedPoint<square_limbs> {
  public:
    static constexpr int unit_exponent = -2148;

    void add_square_of(double value) noexcept {
        const auto [mantissa, half_position] = decompose(value);
        const int position = 2 * half_position;
        const auto at = static_cast<std::size_t>(position / limb_bits);
        const int shift = position % limb_bits;
        const Uint128 square = static_cast<Uint128>(mantissa) * mantissa; // below 2^106
        const auto rest = square >> (limb_bits - shift);
        limb(at) +=
            static_cast<std::int64_t>(static_cast<std::uint64_t>(square) << shift & limb_mask);
        limb(at + 1) += static_cast<std::int64_t>(static_cast<std::uint64_t>(rest) & limb_mask);
        limb(at + 2) +=
            static_cast<std::int64_t>(static_cast<std::uint64_t>(rest >> 32) & limb_mask);
        limb(at + 3) += static_cast<std::int64_t>(static_cast<std::uint64_t>(rest >> 64));
        count_addition();
    }
    void add_square_of(double value, std::uint64_t times) noexcept {
        const auto [mantissa, half_position] = decompose(value);
        const Uint128 square = static_cast<Uint128>(mantissa) * mantissa;
        add_product(static_cast<std::uint64_t>(square), times, 2 * half_position, false);
        add_product(static_cast<std::uint64_t>(square >> 64), times, 2 * half_position + 64, false);
    }
};

/// The standard deviation of a sample: `count` numbers, at least two, with that sum and that sum of
/// squares. Nothing cancels: only the last steps round, so it is within 3 units in the last place.
/// Infinite when too great.
double sample_deviation(std::uint64_t count, const ExactSum::Parts& sum,
                        const ExactSquares::Parts& squares);

} // namespace orchestry::base
