// Summaries as bytes. Numbers are little-endian; a varint has 7 bits in each byte, the lowest
// first, and the high bit where more follow.
//
//     u8 version, 1      u8 flags      varint NaNs      varint infinities      varint -infinities
//   numbers as they are:
//     varint count, then for each, ascending: f64 number, varint how often
//   or a histogram:
//     i8 scale           f64 least     f64 greatest     varint zeros
//     negative, then positive buckets: varint count, then for each, ascending:
//         varint index, of the first with its sign in the lowest bit, of others as distance - 1
//         varint how often
//     the sum, then the sum of squares, as far as they are known:
//         varint 2 * limbs + (1 if negative), and unless that is 0 varint first limb, u32 each limb
//
// The moments of numbers that are kept follow from them, so they are not stored.
#include "base/error.hpp"
#include "base/summary.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

namespace orchestry::base {

namespace {

constexpr std::uint8_t version = 1;
enum Flag : std::uint8_t { histogram_flag = 1, no_sum_flag = 2, no_squares_flag = 4 };

constexpr std::uint64_t max_count = std::numeric_limits<std::int64_t>::max();

class Writer {
  public:
    void byte(std::uint8_t value) { bytes_.push_back(static_cast<char>(value)); }
    template <typename T>
    void fixed(T value) {
        for (std::size_t i = 0; i < sizeof value; ++i)
            byte(static_cast<std::uint8_t>(value >> (8 * i)));
    }
    void number(double value) { fixed(std::bit_cast<std::uint64_t>(value)); }
    void varint(std::uint64_t value) {
        for (; value >= 0x80; value >>= 7)
            byte(static_cast<std::uint8_t>(value | 0x80));
        byte(static_cast<std::uint8_t>(value));
    }
    template <typename Parts>
    void parts(const Parts& parts) {
        varint(2 * parts.limbs.size() + (parts.negative ? 1 : 0));
        if (parts.limbs.empty())
            return;
        varint(parts.first);
        for (const std::uint32_t limb : parts.limbs)
            fixed(limb);
    }
    template <typename Buckets>
    void buckets(const Buckets& buckets) {
        varint(buckets.size());
        for (std::size_t i = 0; i < buckets.size(); ++i) {
            const std::int64_t index = buckets[i].index;
            if (i > 0)
                varint(static_cast<std::uint64_t>(index - buckets[i - 1].index - 1));
            else
                varint(index < 0 ? static_cast<std::uint64_t>(~index) * 2 + 1
                                 : static_cast<std::uint64_t>(index) * 2);
            varint(buckets[i].count);
        }
    }
    std::string take() { return std::move(bytes_); }

  private:
    std::string bytes_;
};

Error broken(const char* detail) {
    return Error(errc::invalid_binary_representation, "invalid summary").detail(detail);
}

class Reader {
  public:
    explicit Reader(std::string_view bytes) : bytes_(bytes) {}

    std::uint8_t byte() {
        if (at_ == bytes_.size())
            throw broken("It ends too early.");
        return static_cast<std::uint8_t>(bytes_[at_++]);
    }
    template <typename T>
    T fixed() {
        T value = 0;
        for (std::size_t i = 0; i < sizeof value; ++i)
            value |= static_cast<T>(static_cast<T>(byte()) << (8 * i));
        return value;
    }
    /// A finite number that is not -0.
    double number() {
        const auto value = std::bit_cast<double>(fixed<std::uint64_t>());
        if (!std::isfinite(value) || (value == 0 && std::signbit(value)))
            throw broken("A number in it is not finite.");
        return value;
    }
    std::uint64_t varint() {
        std::uint64_t value = 0;
        for (int shift = 0; shift < 64; shift += 7) {
            const std::uint8_t next = byte();
            const std::uint64_t bits = next & 0x7f;
            if ((bits << shift) >> shift != bits)
                break;
            value |= bits << shift;
            if (next < 0x80) {
                if (next == 0 && shift > 0)
                    break; // the same number has a shorter form
                return value;
            }
        }
        throw broken("A number in it is not as it is written.");
    }
    std::uint64_t varint_up_to(std::uint64_t greatest) {
        const std::uint64_t value = varint();
        if (value > greatest)
            throw broken("A number in it is too great.");
        return value;
    }
    template <typename Sum>
    typename Sum::Parts parts() {
        const std::uint64_t head = varint_up_to(2 * Sum::limb_count + 1);
        typename Sum::Parts parts{(head & 1) != 0, 0, Limbs(head / 2)};
        if (head == 0)
            return parts;
        parts.first = varint_up_to(Sum::limb_count);
        for (std::uint32_t& limb : parts.limbs)
            limb = fixed<std::uint32_t>();
        if (parts.limbs.empty() || parts.limbs.front() == 0 || parts.limbs.back() == 0 ||
            !Sum::fits(parts))
            throw broken("A sum in it is not as it is written.");
        return parts;
    }
    bool at_end() const { return at_ == bytes_.size(); }

  private:
    std::string_view bytes_;
    std::size_t at_ = 0;
};

/// Adds to the count of all numbers.
void count_more(std::uint64_t& total, std::uint64_t count) {
    if (count > max_count - total)
        throw broken("It counts too many numbers.");
    total += count;
}

std::uint64_t read_count(Reader& reader, std::uint64_t& total) {
    const std::uint64_t count = reader.varint();
    if (count == 0)
        throw broken("Something in it counts nothing.");
    count_more(total, count);
    return count;
}

template <typename Buckets>
void read_buckets(Reader& reader, int scale, std::uint64_t& total, Buckets& buckets) {
    const std::int64_t lowest = bucket_of(std::numeric_limits<double>::denorm_min(), scale);
    const std::int64_t highest = bucket_of(std::numeric_limits<double>::max(), scale);
    const std::uint64_t size = reader.varint_up_to(Summary::max_buckets);
    buckets.reserve(size);
    for (std::uint64_t i = 0; i < size; ++i) {
        const auto written = static_cast<std::int64_t>(reader.varint_up_to(1 << 22));
        const std::int64_t index = i > 0         ? buckets.back().index + 1 + written
                                   : written % 2 ? ~(written / 2)
                                                 : written / 2;
        if (index < lowest || index > highest)
            throw broken("A bucket in it is out of range.");
        buckets.push_back({static_cast<std::int32_t>(index), read_count(reader, total)});
    }
}

} // namespace

std::string Summary::encode() const {
    Writer out;
    const Moments::Parts parts = moments_.parts();
    out.byte(version);
    out.byte(static_cast<std::uint8_t>((is_histogram_ ? histogram_flag : 0) |
                                       (sum_known_ ? 0 : no_sum_flag) |
                                       (squares_known_ ? 0 : no_squares_flag)));
    out.varint(parts.nans);
    out.varint(parts.infinities);
    out.varint(parts.minus_infinities);
    if (!is_histogram_) {
        out.varint(values_.size());
        for (const Value& value : values_) {
            out.number(value.value);
            out.varint(value.count);
        }
        return out.take();
    }
    out.byte(static_cast<std::uint8_t>(scale_));
    out.number(parts.finite > 0 ? parts.least : 0);
    out.number(parts.finite > 0 ? parts.greatest : 0);
    out.varint(zeros_);
    out.buckets(negative_);
    out.buckets(positive_);
    if (sum_known_)
        out.parts(parts.sum);
    if (squares_known_)
        out.parts(parts.squares);
    return out.take();
}

Summary Summary::decode(std::string_view bytes, std::pmr::memory_resource* memory) {
    Reader in(bytes);
    if (in.byte() != version)
        throw broken("It was written by another version of this extension.");
    Summary summary(memory);
    const std::uint8_t flags = in.byte();
    summary.is_histogram_ = (flags & histogram_flag) != 0;
    summary.sum_known_ = (flags & no_sum_flag) == 0;
    summary.squares_known_ = (flags & no_squares_flag) == 0;
    if (flags > 7 || (!summary.sum_known_ && summary.squares_known_) ||
        (!summary.squares_known_ && !summary.is_histogram_))
        throw broken("Its flags contradict each other.");
    std::uint64_t total = 0;
    Moments::Parts parts;
    for (std::uint64_t* count : {&parts.nans, &parts.infinities, &parts.minus_infinities}) {
        *count = in.varint();
        count_more(total, *count);
    }
    const std::uint64_t special = total;
    if (!summary.is_histogram_) {
        const std::uint64_t size = in.varint_up_to(max_values);
        summary.moments_ = Moments(parts);
        summary.values_.reserve(size);
        for (std::uint64_t i = 0; i < size; ++i) {
            const double value = in.number();
            if (i > 0 && !(value > summary.values_.back().value))
                throw broken("Its numbers are not in order.");
            summary.values_.push_back({value, read_count(in, total)});
            summary.moments_.add(value, summary.values_.back().count);
        }
        if (!in.at_end())
            throw broken("Something follows its end.");
        return summary;
    }
    summary.scale_ = static_cast<std::int8_t>(in.byte());
    if (summary.scale_ < coarsest_scale || summary.scale_ > finest_scale)
        throw broken("Its scale is out of range.");
    parts.least = in.number();
    parts.greatest = in.number();
    summary.zeros_ = in.varint();
    count_more(total, summary.zeros_);
    read_buckets(in, summary.scale_, total, summary.negative_);
    read_buckets(in, summary.scale_, total, summary.positive_);
    parts.finite = total - special;
    if (summary.sum_known_)
        parts.sum = in.parts<ExactSum>();
    if (summary.squares_known_)
        parts.squares = in.parts<ExactSquares>();
    if (!in.at_end())
        throw broken("Something follows its end.");
    if (summary.negative_.size() + summary.positive_.size() > max_buckets)
        throw broken("It has too many buckets.");
    if (parts.finite == 0) {
        if (parts.least != 0 || parts.greatest != 0 || !parts.sum.limbs.empty() ||
            !parts.squares.limbs.empty())
            throw broken("It has a sum of nothing.");
    } else {
        const auto [lowest, highest] = summary.bounds();
        const auto within = [](double value, const Range& range) {
            return value >= range.first && value <= range.second;
        };
        if (!within(parts.least, lowest) || !within(parts.greatest, highest) ||
            parts.least > parts.greatest)
            throw broken("Its extremes are not in its outermost buckets.");
    }
    if (parts.squares.negative)
        throw broken("Its sum of squares is negative.");
    summary.moments_ = Moments(parts);
    return summary;
}

} // namespace orchestry::base
