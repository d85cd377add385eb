#include "base/summary.hpp"

#include "base/error.hpp"
#include "base/quantile_select.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace orchestry::base {

namespace {

constexpr std::uint64_t max_count = std::numeric_limits<std::int64_t>::max();

/// The place of the first bucket that is not below `index`; all before `from` are. From one to the
/// next the indexes grow by 1 at least, so each that is looked at says how far the place can be
/// from it: where no bucket between is empty, as in the middle of most data, it is found at once.
std::size_t place_of(std::span<const Summary::Bucket> buckets, std::int32_t index,
                     std::size_t from) {
    if (from == buckets.size() || buckets.back().index < index)
        return buckets.size();
    if (buckets[from].index >= index)
        return from;
    const auto above_first = static_cast<std::size_t>(index - buckets[from].index);
    const std::size_t high = std::min(buckets.size() - 1, from + above_first);
    const auto beyond = static_cast<std::size_t>(buckets[high].index - index);
    if (beyond == 0)
        return high;
    const std::span<const Summary::Bucket> near =
        buckets.first(high).subspan(high - std::min(high - from, beyond));
    const auto below = [](const Summary::Bucket& b, std::int32_t wanted) {
        return b.index < wanted;
    };
    return high - static_cast<std::size_t>(
                      near.end() - std::lower_bound(near.begin(), near.end(), index, below));
}

/// Adds to the bucket with this index, which is made where there is none. All before `from` are
/// below it. Returns its place.
template <typename Buckets>
std::size_t add_at(Buckets& buckets, std::int32_t index, std::uint64_t count,
                   std::size_t from = 0) {
    const std::size_t place = place_of(buckets, index, from);
    if (place < buckets.size() && buckets[place].index == index)
        buckets[place].count += count;
    else
        buckets.insert(buckets.begin() + static_cast<std::ptrdiff_t>(place), {index, count});
    return place;
}

/// Adds buckets, in order, of a scale finer by 2^shift.
template <typename Buckets>
void add_all(Buckets& buckets, std::span<const Summary::Bucket> others, int shift) {
    std::size_t place = 0;
    for (const auto& [finer_index, count] : others) {
        const std::int32_t index = finer_index >> shift;
        // Mostly it is as far from the one before as its index.
        if (place < buckets.size()) {
            const std::size_t guess =
                place + static_cast<std::size_t>(index - buckets[place].index);
            if (guess < buckets.size() && buckets[guess].index == index) {
                buckets[guess].count += count;
                place = guess;
                continue;
            }
        }
        place = add_at(buckets, index, count, place);
    }
}

/// Makes neighbours one that are the same at a scale coarser by 2^shift.
template <typename Buckets>
void fold(Buckets& buckets, int shift) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < buckets.size(); ++i) {
        const std::int32_t index = buckets[i].index >> shift;
        if (kept > 0 && buckets[kept - 1].index == index)
            buckets[kept - 1].count += buckets[i].count;
        else
            buckets[kept++] = {index, buckets[i].count};
    }
    buckets.resize(kept);
}

/// How many there would be after folding.
template <typename Buckets>
std::size_t folded_size(const Buckets& buckets, int shift) {
    std::size_t size = buckets.empty() ? 0 : 1;
    for (std::size_t i = 1; i < buckets.size(); ++i)
        size += (buckets[i].index >> shift) != (buckets[i - 1].index >> shift);
    return size;
}

template <typename Buckets>
std::uint64_t count_of(const Buckets& buckets) {
    std::uint64_t count = 0;
    for (const auto& bucket : buckets)
        count += bucket.count;
    return count;
}

} // namespace

Summary::Summary(std::pmr::memory_resource* memory)
    : values_(memory), negative_(memory), positive_(memory) {}

void Summary::add(double value) {
    moments_.add(value);
    if (std::isfinite(value))
        add_value(value + 0.0, 1);
}

void Summary::add_value(double value, std::uint64_t count) {
    if (is_histogram_) {
        add_to_histogram(value, count);
        limit_buckets();
        return;
    }
    const auto place =
        std::lower_bound(values_.begin(), values_.end(), value,
                         [](const Value& v, double wanted) { return v.value < wanted; });
    if (place != values_.end() && place->value == value) {
        place->count += count;
        return;
    }
    values_.insert(place, {value, count});
    if (values_.size() > max_values)
        become_histogram();
}

void Summary::add_to_histogram(double value, std::uint64_t count) {
    if (value == 0)
        zeros_ += count;
    else
        add_at(value < 0 ? negative_ : positive_, bucket_of(std::fabs(value), scale_), count);
}

void Summary::become_histogram() {
    is_histogram_ = true;
    for (const Value& value : values_)
        add_to_histogram(value.value, value.count);
    values_.clear();
    limit_buckets();
}

void Summary::limit_buckets() {
    if (negative_.size() + positive_.size() <= max_buckets)
        return;
    int scale = scale_ - 1;
    while (folded_size(negative_, scale_ - scale) + folded_size(positive_, scale_ - scale) >
           max_buckets)
        --scale; // all doubles together fill fewer at the coarsest scale
    lower_scale(scale);
}

void Summary::lower_scale(int scale) {
    fold(negative_, scale_ - scale);
    fold(positive_, scale_ - scale);
    scale_ = scale;
}

void Summary::require_room(std::uint64_t more) const {
    if (more > max_count - count())
        throw Error(errc::out_of_range, "a summary cannot count more than 2^63 numbers");
}

void Summary::merge(const Summary& other) {
    require_room(other.count());
    moments_.merge(other.moments_);
    sum_known_ = sum_known_ && other.sum_known_;
    squares_known_ = squares_known_ && other.squares_known_;
    for (const Value& value : other.values_)
        add_value(value.value, value.count);
    if (other.is_histogram_)
        merge_histogram(other.scale_, other.zeros_, other.negative_, other.positive_);
}

void Summary::merge_histogram(int scale, std::uint64_t zeros, std::span<const Bucket> negative,
                              std::span<const Bucket> positive) {
    if (!is_histogram_)
        become_histogram();
    if (scale < scale_)
        lower_scale(scale);
    const int shift = scale - scale_;
    zeros_ += zeros;
    add_all(negative_, negative, shift);
    add_all(positive_, positive, shift);
    limit_buckets();
}

std::optional<double> Summary::sum() const {
    return sum_known_ ? std::optional(moments_.sum()) : std::nullopt;
}

std::optional<double> Summary::average() const {
    return sum_known_ ? std::optional(moments_.average()) : std::nullopt;
}

std::optional<double> Summary::deviation() const {
    return squares_known_ ? moments_.deviation() : std::nullopt;
}

double Summary::relative_error() const noexcept { return is_histogram_ ? bucket_error(scale_) : 0; }

double Summary::quantile(double fraction) const {
    const double value = quantile_at(quantile_place(fraction, count()),
                                     [this](std::uint64_t rank) { return value_at(rank); });
    const double least = moments_.minimum();
    const double greatest = moments_.maximum();
    return value < least ? least : value > greatest ? greatest : value;
}

/// Ranks count from 0, as PostgreSQL orders numbers.
double Summary::value_at(std::uint64_t rank) const {
    if (rank < moments_.minus_infinity_count())
        return -std::numeric_limits<double>::infinity();
    rank -= moments_.minus_infinity_count();
    if (rank < moments_.finite_count())
        return std::clamp(finite_value_at(rank), moments_.least(), moments_.greatest());
    rank -= moments_.finite_count();
    return rank < moments_.infinity_count() ? std::numeric_limits<double>::infinity()
                                            : std::numeric_limits<double>::quiet_NaN();
}

double Summary::finite_value_at(std::uint64_t rank) const {
    if (rank == 0)
        return moments_.least();
    if (rank == moments_.finite_count() - 1)
        return moments_.greatest();
    std::uint64_t below = 0;
    for (const Value& value : values_) {
        below += value.count;
        if (rank < below)
            return value.value;
    }
    for (auto bucket = negative_.rbegin(); bucket != negative_.rend(); ++bucket) {
        below += bucket->count;
        if (rank < below)
            return -bucket_middle(bucket->index, scale_);
    }
    below += zeros_;
    if (rank < below)
        return 0;
    for (const Bucket& bucket : positive_) {
        below += bucket.count;
        if (rank < below)
            return bucket_middle(bucket.index, scale_);
    }
    return moments_.greatest();
}

// --- histograms of others
// -------------------------------------------------------------------------

Summary::Summary(const Histogram& histogram, std::pmr::memory_resource* memory) : Summary(memory) {
    const auto refuse = [](const char* detail) {
        return Error(errc::invalid_parameter, "this is no exponential histogram that can be read")
            .detail(detail)
            .hint(
                "Scales (schemas) from -4 to 20 with bounds that are powers of 2^(2^-scale) can.");
    };
    if (histogram.scale < coarsest_scale || histogram.scale > 20)
        throw refuse("Its scale is out of range.");
    is_histogram_ = true;
    squares_known_ = false;
    sum_known_ = histogram.sum.has_value();
    scale_ = std::min(histogram.scale, finest_scale);
    Moments::Parts parts;
    parts.finite = zeros_ = histogram.zeros;
    for (const auto side : {&Histogram::negative, &Histogram::positive}) {
        Buckets& buckets = side == &Histogram::negative ? negative_ : positive_;
        for (const Bucket& bucket : histogram.*side) {
            const std::int32_t index = bucket.index >> (histogram.scale - scale_);
            if (bucket.count == 0)
                continue;
            if (index < bucket_of(std::numeric_limits<double>::denorm_min(), scale_) ||
                index > bucket_of(std::numeric_limits<double>::max(), scale_) ||
                bucket_least(index, scale_) > bucket_greatest(index, scale_))
                throw refuse("It has a bucket that no double falls into.");
            buckets.push_back({index, bucket.count});
            if (bucket.count > max_count - parts.finite)
                throw refuse("It counts more than 2^63 numbers.");
            parts.finite += bucket.count;
        }
        std::ranges::sort(buckets, {}, &Bucket::index); // they come in any order
        fold(buckets, 0);
    }
    if (parts.finite == 0)
        return;
    const auto [lowest, highest] = bounds(scale_, zeros_, negative_, positive_);
    parts.least = std::clamp(histogram.minimum.value_or(lowest.first), lowest.first, lowest.second);
    parts.greatest =
        std::clamp(histogram.maximum.value_or(highest.second), highest.first, highest.second);
    if (parts.least > parts.greatest)
        throw refuse("Its minimum is greater than its maximum.");
    if (histogram.sum) {
        if (!std::isfinite(*histogram.sum))
            throw refuse("Its sum is not finite.");
        ExactSum sum;
        sum.add(*histogram.sum);
        parts.sum = sum.parts();
    }
    moments_ = Moments(parts);
    limit_buckets();
}

/// Between which numbers the least and the greatest of a histogram lie.
std::pair<Summary::Range, Summary::Range> Summary::bounds(int scale, std::uint64_t zeros,
                                                          std::span<const Bucket> negative,
                                                          std::span<const Bucket> positive) {
    const auto range_of = [scale](const Bucket& bucket) {
        return Range{bucket_least(bucket.index, scale), bucket_greatest(bucket.index, scale)};
    };
    const auto minus = [](Range range) { return Range{-range.second, -range.first}; };
    const Range zero{0, 0};
    return {!negative.empty() ? minus(range_of(negative.back()))
            : zeros > 0       ? zero
                              : range_of(positive.front()),
            !positive.empty() ? range_of(positive.back())
            : zeros > 0       ? zero
                              : minus(range_of(negative.front()))};
}

Summary::Histogram Summary::histogram() const {
    Summary copy = *this;
    if (!copy.is_histogram_)
        copy.become_histogram();
    Histogram histogram{.scale = copy.scale_,
                        .zeros = copy.zeros_,
                        .negative = {copy.negative_.begin(), copy.negative_.end()},
                        .positive = {copy.positive_.begin(), copy.positive_.end()}};
    if (moments_.finite_count() == 0)
        return histogram;
    Moments::Parts finite = moments_.parts();
    finite.nans = finite.infinities = finite.minus_infinities = 0;
    const double total = Moments(finite).sum();
    if (sum_known_ && std::isfinite(total))
        histogram.sum = total;
    histogram.minimum = moments_.least();
    histogram.maximum = moments_.greatest();
    return histogram;
}

} // namespace orchestry::base
