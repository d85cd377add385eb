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
        char bytes[sizeof value];
        for (std::size_t i = 0; i < sizeof value; ++i)
            bytes[i] = static_cast<char>(static_cast<std::uint8_t>(value >> (8 * i)));
        bytes_.append(bytes, sizeof value);
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

[[noreturn]] void refuse(const char* detail) {
    throw Error(errc::invalid_binary_representation, "invalid summary").detail(detail);
}

class Reader {
  public:
    explicit Reader(std::string_view bytes) : at_(bytes.data()), end_(at_ + bytes.size()) {}

    std::uint8_t byte() {
        if (at_ == end_)
            refuse("It ends too early.");
        return static_cast<std::uint8_t>(*at_++);
    }
    template <typename T>
    T fixed() {
        if (static_cast<std::size_t>(end_ - at_) < sizeof(T))
            refuse("It ends too early.");
        T value = 0;
        if constexpr (std::endian::native == std::endian::little) {
            std::memcpy(&value, at_, sizeof value);
        } else {
            for (std::size_t i = 0; i < sizeof value; ++i)
                value |=
                    static_cast<T>(static_cast<T>(static_cast<std::uint8_t>(at_[i])) << (8 * i));
        }
        at_ += sizeof value;
        return value;
    }
    /// A finite number that is not -0.
    double number() {
        const auto value = std::bit_cast<double>(fixed<std::uint64_t>());
        if (!std::isfinite(value) || (value == 0 && std::signbit(value)))
            refuse("A number in it is not finite.");
        return value;
    }
    std::uint64_t varint() {
        if (at_ != end_ && static_cast<std::uint8_t>(*at_) < 0x80) // as most are
            return static_cast<std::uint8_t>(*at_++);
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
        refuse("A number in it is not as it is written.");
    }
    std::uint64_t varint_up_to(std::uint64_t greatest) {
        const std::uint64_t value = varint();
        if (value > greatest)
            refuse("A number in it is too great.");
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
            refuse("A sum in it is not as it is written.");
        return parts;
    }
    bool at_end() const { return at_ == end_; }

  private:
    const char* at_;
    const char* end_;
};

/// Adds to the count of all numbers.
void count_more(std::uint64_t& total, std::uint64_t count) {
    if (count > max_count - total)
        refuse("It counts too many numbers.");
    total += count;
}

std::uint64_t read_count(Reader& reader, std::uint64_t& total) {
    const std::uint64_t count = reader.varint();
    if (count == 0)
        refuse("Something in it counts nothing.");
    count_more(total, count);
    return count;
}

/// Into an array with room for max_buckets; returns those that were read.
std::span<const Summary::Bucket> read_buckets(Reader& reader, int scale, std::uint64_t& total,
                                              Summary::Bucket* buckets) {
    const std::int64_t lowest = bucket_of(std::numeric_limits<double>::denorm_min(), scale);
    const std::int64_t highest = bucket_of(std::numeric_limits<double>::max(), scale);
    const std::uint64_t size = reader.varint_up_to(Summary::max_buckets);
    for (std::uint64_t i = 0; i < size; ++i) {
        const auto written = static_cast<std::int64_t>(reader.varint_up_to(1 << 22));
        const std::int64_t index = i > 0         ? buckets[i - 1].index + 1 + written
                                   : written % 2 ? ~(written / 2)
                                                 : written / 2;
        if (index < lowest || index > highest)
            refuse("A bucket in it is out of range.");
        buckets[i] = {static_cast<std::int32_t>(index), read_count(reader, total)};
    }
    return {buckets, size};
}

} // namespace

/// All that bytes say, checked; error 22P03 where they are not what encode() gives. Numbers and
/// buckets lie in it, because summaries of a short time are merged by the thousand, and looking for
/// memory would take longer than merging one.
struct Summary::Content {
    explicit Content(std::string_view bytes);
    ~Content() = default;
    Content(const Content&) = delete;
    Content& operator=(const Content&) = delete;

    bool is_histogram = false;
    bool sum_known = true;
    bool squares_known = true;
    int scale = finest_scale;
    std::uint64_t count = 0; // of all numbers
    std::uint64_t zeros = 0;
    Moments::Parts parts; // of kept numbers, which say theirs, only the others
    std::span<const Value> values;
    std::span<const Bucket> negative;
    std::span<const Bucket> positive;

  private:
    Value values_[max_values]; // what the spans are of
    Bucket negative_[max_buckets];
    Bucket positive_[max_buckets];
};

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

Summary::Content::Content(std::string_view bytes) {
    Reader in(bytes);
    if (in.byte() != version)
        refuse("It was written by another version of this extension.");
    const std::uint8_t flags = in.byte();
    is_histogram = (flags & histogram_flag) != 0;
    sum_known = (flags & no_sum_flag) == 0;
    squares_known = (flags & no_squares_flag) == 0;
    if (flags > 7 || (!sum_known && squares_known) || (!squares_known && !is_histogram))
        refuse("Its flags contradict each other.");
    for (std::uint64_t* some : {&parts.nans, &parts.infinities, &parts.minus_infinities}) {
        *some = in.varint();
        count_more(count, *some);
    }
    const std::uint64_t special = count;
    if (!is_histogram) {
        const std::uint64_t size = in.varint_up_to(max_values);
        for (std::uint64_t i = 0; i < size; ++i) {
            const double value = in.number();
            if (i > 0 && !(value > values_[i - 1].value))
                refuse("Its numbers are not in order.");
            values_[i] = {value, read_count(in, count)};
        }
        values = {values_, size};
        if (!in.at_end())
            refuse("Something follows its end.");
        return;
    }
    scale = static_cast<std::int8_t>(in.byte());
    if (scale < coarsest_scale || scale > finest_scale)
        refuse("Its scale is out of range.");
    parts.least = in.number();
    parts.greatest = in.number();
    zeros = in.varint();
    count_more(count, zeros);
    negative = read_buckets(in, scale, count, negative_);
    positive = read_buckets(in, scale, count, positive_);
    parts.finite = count - special;
    if (sum_known)
        parts.sum = in.parts<ExactSum>();
    if (squares_known)
        parts.squares = in.parts<ExactSquares>();
    if (!in.at_end())
        refuse("Something follows its end.");
    if (negative.size() + positive.size() > max_buckets)
        refuse("It has too many buckets.");
    if (parts.finite == 0) {
        if (parts.least != 0 || parts.greatest != 0 || !parts.sum.limbs.empty() ||
            !parts.squares.limbs.empty())
            refuse("It has a sum of nothing.");
    } else {
        const auto [lowest, highest] = bounds(scale, zeros, negative, positive);
        const auto within = [](double value, const Range& range) {
            return value >= range.first && value <= range.second;
        };
        if (!within(parts.least, lowest) || !within(parts.greatest, highest) ||
            parts.least > parts.greatest)
            refuse("Its extremes are not in its outermost buckets.");
    }
    if (parts.squares.negative)
        refuse("Its sum of squares is negative.");
}

Summary Summary::decode(std::string_view bytes, std::pmr::memory_resource* memory) {
    const Content content(bytes);
    Summary summary(memory);
    summary.is_histogram_ = content.is_histogram;
    summary.sum_known_ = content.sum_known;
    summary.squares_known_ = content.squares_known;
    summary.scale_ = content.scale;
    summary.zeros_ = content.zeros;
    summary.moments_.merge(content.parts);
    for (const Value& value : content.values)
        summary.moments_.add(value.value, value.count);
    summary.values_.assign(content.values.begin(), content.values.end());
    summary.negative_.assign(content.negative.begin(), content.negative.end());
    summary.positive_.assign(content.positive.begin(), content.positive.end());
    return summary;
}

void Summary::merge_encoded(std::string_view bytes) {
    const Content content(bytes);
    require_room(content.count);
    sum_known_ = sum_known_ && content.sum_known;
    squares_known_ = squares_known_ && content.squares_known;
    moments_.merge(content.parts);
    for (const Value& value : content.values) {
        moments_.add(value.value, value.count);
        add_value(value.value, value.count);
    }
    if (content.is_histogram)
        merge_histogram(content.scale, content.zeros, content.negative, content.positive);
}

} // namespace orchestry::base
