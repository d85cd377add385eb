// The buckets of OpenTelemetry's and Prometheus' exponential histograms.
//
// At scale s the bounds are the powers of 2^(2^-s): bucket i holds the magnitudes above 2^(i /
// 2^s), up to and with 2^((i + 1) / 2^s). A bucket of one scale is two neighbours of the next, so
// that nothing is lost but resolution when the scale is lowered. See OpenTelemetry's data model,
// "ExponentialHistogram".
#pragma once

#include <cstdint>

namespace orchestry::base {

inline constexpr int finest_scale = 8;
inline constexpr int coarsest_scale = -4;

/// The bucket of a finite magnitude above 0. Comparisons of whole numbers alone: the same on every
/// machine.
std::int32_t bucket_of(double magnitude, int scale) noexcept;

/// The least and the greatest double in a bucket. least > greatest for a bucket that no double
/// falls into, which are only some of those below 2^-1022 and all beyond the range of doubles.
double bucket_least(std::int32_t bucket, int scale) noexcept;
double bucket_greatest(std::int32_t bucket, int scale) noexcept;

/// The number from which all numbers of the bucket differ by no more than bucket_error(), in
/// relation to themselves; but for those below 2^-1022, where half of the smallest double has to be
/// added.
double bucket_middle(std::int32_t bucket, int scale) noexcept;
double bucket_error(int scale) noexcept;

} // namespace orchestry::base
