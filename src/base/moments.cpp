#include "base/moments.hpp"

#include <algorithm>

namespace orchestry::base {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

} // namespace

void Moments::add_special(double value, std::uint64_t times) noexcept {
    (std::isnan(value) ? nans_ : value > 0 ? infinities_ : minus_infinities_) += times;
}

void Moments::merge(const Parts& parts) noexcept {
    finite_ += parts.finite;
    nans_ += parts.nans;
    infinities_ += parts.infinities;
    minus_infinities_ += parts.minus_infinities;
    if (parts.finite > 0) {
        least_ = std::min(least_, parts.least);
        greatest_ = std::max(greatest_, parts.greatest);
    }
    sum_.add_parts(parts.sum);
    squares_.add_parts(parts.squares);
}

Moments::Parts Moments::parts() const {
    return {finite_, nans_,     infinities_,  minus_infinities_,
            least_,  greatest_, sum_.parts(), squares_.parts()};
}

void Moments::add(double value, std::uint64_t times) noexcept {
    if (times == 1) { // as most are in the summary of a short time
        add(value);
        return;
    }
    if (!std::isfinite(value)) {
        add_special(value, times);
        return;
    }
    value += 0.0;
    finite_ += times;
    least_ = std::min(least_, value);
    greatest_ = std::max(greatest_, value);
    sum_.add(value, times);
    squares_.add_square_of(value, times);
}

void Moments::merge(const Moments& other) noexcept {
    finite_ += other.finite_;
    nans_ += other.nans_;
    infinities_ += other.infinities_;
    minus_infinities_ += other.minus_infinities_;
    least_ = std::min(least_, other.least_);
    greatest_ = std::max(greatest_, other.greatest_);
    sum_.merge(other.sum_);
    squares_.merge(other.squares_);
}

std::optional<double> Moments::special_sum() const noexcept {
    if (nans_ > 0 || (infinities_ > 0 && minus_infinities_ > 0))
        return nan;
    if (infinities_ > 0)
        return infinity;
    if (minus_infinities_ > 0)
        return -infinity;
    return std::nullopt;
}

double Moments::average_of(std::uint64_t divisor) const {
    if (const auto special = special_sum())
        return *special;
    const auto parts = sum_.parts();
    return round_to_double(parts.limbs,
                           ExactSum::unit_exponent + static_cast<int>(parts.first) * 32, divisor,
                           parts.negative);
}

double Moments::minimum() const noexcept {
    if (minus_infinities_ > 0)
        return -infinity;
    if (finite_ > 0)
        return least_;
    return infinities_ > 0 ? infinity : nan;
}

double Moments::maximum() const noexcept { return nans_ > 0 ? nan : ordered_maximum(); }

double Moments::ordered_maximum() const noexcept {
    if (infinities_ > 0)
        return infinity;
    return finite_ > 0 ? greatest_ : -infinity;
}

std::optional<double> Moments::deviation() const {
    if (count() < 2)
        return std::nullopt;
    if (special_sum())
        return nan;
    return sample_deviation(finite_, sum_.parts(), squares_.parts());
}

} // namespace orchestry::base
