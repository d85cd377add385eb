// Aligned half-open intervals that tile the 64-bit integers: the bounds of integer partitions.
#pragma once

#include <cstdint>

namespace orchestry::base {

/// Boundaries lie at origin + n * step, for all n. Error 22003 when a boundary does not fit into
/// 64 bits.
class IntegerGrid {
  public:
    /// Error 22023 when `step` is not positive.
    explicit IntegerGrid(std::int64_t step, std::int64_t origin = 0);

    /// The greatest boundary <= key.
    std::int64_t floor(std::int64_t key) const;
    /// The smallest boundary > key.
    std::int64_t next(std::int64_t key) const;
    /// The smallest boundary >= key.
    std::int64_t ceil(std::int64_t key) const;

    std::int64_t step() const { return step_; }

  private:
    std::int64_t step_;
    std::int64_t phase_; // the smallest boundary >= 0
};

} // namespace orchestry::base
