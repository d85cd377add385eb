// Hashes whose values never change, and the jitter made from them.
#pragma once

#include <cstdint>
#include <string_view>

namespace orchestry::base {

/// Mixes 64 bits so that near inputs give unrelated outputs (the SplitMix64 generator's step).
constexpr std::uint64_t splitmix64(std::uint64_t x) {
    x += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

/// The 64-bit FNV-1a hash of some bytes.
constexpr std::uint64_t fnv1a64(std::string_view bytes) {
    std::uint64_t hash = 0xcbf29ce484222325;
    for (const char byte : bytes) {
        hash ^= static_cast<unsigned char>(byte);
        hash *= 0x100000001b3;
    }
    return hash;
}

/// A delay in microseconds from 0 to `max_us`, both included, that depends on `seed` alone; 0 when
/// `max_us` is not positive.
constexpr std::int64_t jitter_us(std::uint64_t seed, std::int64_t max_us) {
    if (max_us <= 0)
        return 0;
    return static_cast<std::int64_t>(splitmix64(seed) % (static_cast<std::uint64_t>(max_us) + 1));
}

// Published test values.
static_assert(splitmix64(0) == 0xe220a8397b1dcdaf);
static_assert(fnv1a64("") == 0xcbf29ce484222325);
static_assert(fnv1a64("a") == 0xaf63dc4c8601ec8c);

} // namespace orchestry::base
