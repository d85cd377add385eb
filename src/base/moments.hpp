// Count, sum, mean, deviation and extremes of doubles, the special ones included, so that they
// depend on nothing but which numbers they were.
#pragma once

#include "base/exact_sum.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>

namespace orchestry::base {

/// What counts as it does in PostgreSQL: NaN is greater than infinity, and a sum with NaN or with
/// both infinities is NaN. Unlike there, nothing overflows on the way: a mean is right whenever a
/// double can hold it.
class Moments {
  public:
    void add(double value) noexcept {
        if (!std::isfinite(value)) [[unlikely]] {
            add_special(value, 1);
            return;
        }
        value += 0.0; // -0 is 0
        ++finite_;
        least_ = value < least_ ? value : least_;
        greatest_ = value > greatest_ ? value : greatest_;
        sum_.add(value);
        squares_.add_square_of(value);
    }
    void add(std::span<const double> values) noexcept {
        for (const double value : values)
            add(value);
    }
    void add(double value, std::uint64_t times) noexcept;
    void merge(const Moments& other) noexcept;

    /// As it is stored.
    struct Parts {
        std::uint64_t finite = 0;
        std::uint64_t nans = 0;
        std::uint64_t infinities = 0;
        std::uint64_t minus_infinities = 0;
        double least = 0; // of the finite numbers
        double greatest = 0;
        ExactSum::Parts sum = {};
        ExactSquares::Parts squares = {};
    };
    Parts parts() const;
    explicit Moments(const Parts& parts) noexcept { merge(parts); }
    void merge(const Parts& parts) noexcept;
    Moments() = default;

    std::uint64_t count() const noexcept {
        return finite_ + nans_ + infinities_ + minus_infinities_;
    }
    std::uint64_t finite_count() const noexcept { return finite_; }
    std::uint64_t nan_count() const noexcept { return nans_; }
    std::uint64_t infinity_count() const noexcept { return infinities_; }
    std::uint64_t minus_infinity_count() const noexcept { return minus_infinities_; }
    /// Of the finite numbers, of which there must be one.
    double least() const noexcept { return least_; }
    double greatest() const noexcept { return greatest_; }

    /// All of these are for at least one number.
    double sum() const { return average_of(1); }
    double average() const { return average_of(count()); }
    double minimum() const noexcept;
    double maximum() const noexcept;
    /// Of a sample, as PostgreSQL's stddev(): none for a single number, NaN when not all are
    /// finite.
    std::optional<double> deviation() const;

    /// The greatest number but NaN, of which there must be one.
    double ordered_maximum() const noexcept;

  private:
    void add_special(double value, std::uint64_t times) noexcept;
    /// NaN or an infinity, when there are such that decide about the sum.
    std::optional<double> special_sum() const noexcept;
    double average_of(std::uint64_t divisor) const;

    std::uint64_t finite_ = 0;
    std::uint64_t nans_ = 0;
    std::uint64_t infinities_ = 0;
    std::uint64_t minus_infinities_ = 0;
    double least_ = std::numeric_limits<double>::infinity();
    double greatest_ = -std::numeric_limits<double>::infinity();
    ExactSum sum_;
    ExactSquares squares_;
};

} // namespace orchestry::base
