// Batches that take about as long as they should.
#pragma once

#include <cstdint>

namespace orchestry::base {

/// How much a batch takes, so that it takes about as long as it should. The unit is the caller's:
/// blocks, rows or keys.
class Pace {
  public:
    /// `first`: what the first batch takes.
    Pace(std::int64_t first, std::int64_t target_us);

    std::int64_t amount() const noexcept { return amount_; }
    /// A full batch took so long. The next one is sized by that, but is at most four times as large
    /// and at least a quarter: one measurement proves little.
    void took(std::int64_t elapsed_us);
    /// A batch met somebody in its way: the next one takes half as much, and holds others up less.
    void halve();

  private:
    std::int64_t amount_;
    std::int64_t target_us_;
};

} // namespace orchestry::base
