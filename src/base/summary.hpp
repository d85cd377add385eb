// The mergeable state behind count, sum, average, deviation, extremes and quantiles of a set of
// numbers.
//
// What a summary is depends on nothing but the numbers that went into it: merging is exact,
// associative and commutative, down to the bytes of encode(). A few different numbers are kept as
// they are. More of them become an exponential histogram, at the finest scale at which it has no
// more than max_buckets filled ones: that scale too depends on the numbers alone, because a subset
// never needs a coarser one.
#pragma once

#include "base/exponential_buckets.hpp"
#include "base/moments.hpp"

#include <memory_resource>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace orchestry::base {

class Summary {
  public:
    /// Different numbers that are kept as they are, and buckets after that.
    static constexpr std::size_t max_values = 128;
    static constexpr std::size_t max_buckets = 320;

    struct Value {
        double value;
        std::uint64_t count;
    };
    struct Bucket {
        std::int32_t index;
        std::uint64_t count;
    };
    /// A histogram made by others. `sum`, `minimum` and `maximum` may not be known.
    struct Histogram {
        int scale = finest_scale;
        std::uint64_t zeros = 0;
        std::vector<Bucket> negative = {};
        std::vector<Bucket> positive = {};
        std::optional<double> sum = {};
        std::optional<double> minimum = {};
        std::optional<double> maximum = {};
    };

    /// Without any number. Its memory comes from `memory`, which outlives it.
    explicit Summary(std::pmr::memory_resource* memory);
    /// Of a histogram of others; error 22023 where it contradicts itself or is too coarse.
    Summary(const Histogram& histogram, std::pmr::memory_resource* memory);

    void add(double value);
    /// Error 22003 when the count passes 2^63.
    void merge(const Summary& other);
    /// The same of one that encode() wrote, without making it an object. Error 22P03 for anything
    /// else. Nothing has changed after an error.
    void merge_encoded(std::string_view bytes);

    std::uint64_t count() const noexcept { return moments_.count(); }
    const Moments& moments() const noexcept { return moments_; }
    /// None where a histogram of others without it went in.
    std::optional<double> sum() const;
    std::optional<double> average() const;
    std::optional<double> deviation() const;

    /// As percentile_cont() of all the numbers, but that what lies between a histogram's bounds is
    /// taken to be at their middle. `fraction` from 0 to 1; for at least one number.
    double quantile(double fraction) const;
    /// How much a quantile may differ from the exact one, in relation to the greater of the two
    /// numbers that it lies between, which is to itself where these have one sign. 0 when exact.
    double relative_error() const noexcept;

    bool is_exact() const noexcept { return !is_histogram_; }
    /// The finite numbers as a histogram; NaN and infinities are left out.
    Histogram histogram() const;

    /// As bytes, the same on every machine and for the same numbers.
    std::string encode() const;
    /// The reverse; error 22P03 for anything that encode() does not give.
    static Summary decode(std::string_view bytes, std::pmr::memory_resource* memory);

  private:
    using Buckets = std::pmr::vector<Bucket>;

    using Range = std::pair<double, double>;

    /// What bytes say: see summary_codec.cpp.
    struct Content;

    void add_value(double value, std::uint64_t count);
    void add_to_histogram(double value, std::uint64_t count);
    void become_histogram();
    void limit_buckets();
    void lower_scale(int scale);
    void require_room(std::uint64_t count) const;
    void merge_histogram(int scale, std::uint64_t zeros, std::span<const Bucket> negative,
                         std::span<const Bucket> positive);
    static std::pair<Range, Range> bounds(int scale, std::uint64_t zeros,
                                          std::span<const Bucket> negative,
                                          std::span<const Bucket> positive);
    double value_at(std::uint64_t rank) const;
    double finite_value_at(std::uint64_t rank) const;

    Moments moments_;
    bool is_histogram_ = false;
    bool sum_known_ = true;
    bool squares_known_ = true; // never without the sum
    int scale_ = finest_scale;
    std::pmr::vector<Value> values_; // ascending, none twice; empty in a histogram
    std::uint64_t zeros_ = 0;
    Buckets negative_; // by magnitude, ascending, none twice
    Buckets positive_;
};

} // namespace orchestry::base
