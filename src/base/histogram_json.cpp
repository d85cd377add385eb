#include "base/histogram_json.hpp"

#include <charconv>

namespace orchestry::base {

namespace {

using Buckets = std::vector<Summary::Bucket>;

/// The shortest decimal number that is read as the same double.
std::string to_json(double value) {
    char text[32];
    return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

std::string quoted(std::uint64_t value) { return '"' + std::to_string(value) + '"'; }

std::string optional_field(const char* name, const std::optional<double>& value) {
    return value ? std::string(",\"") + name + "\":" + to_json(*value) : std::string();
}

std::uint64_t count_of(const Summary::Histogram& histogram) {
    std::uint64_t count = histogram.zeros;
    for (const Buckets* side : {&histogram.negative, &histogram.positive})
        for (const Summary::Bucket& bucket : *side)
            count += bucket.count;
    return count;
}

std::int64_t width_at(const Buckets& buckets, int shift) {
    return buckets.empty()
               ? 0
               : std::int64_t{buckets.back().index >> shift} - (buckets.front().index >> shift) + 1;
}

/// A row of counts, from the first bucket to the last.
std::string otel_row(const char* name, const Buckets& buckets, int shift) {
    if (buckets.empty())
        return {};
    const std::int32_t offset = buckets.front().index >> shift;
    std::vector<std::uint64_t> counts(static_cast<std::size_t>(width_at(buckets, shift)));
    for (const Summary::Bucket& bucket : buckets)
        counts[static_cast<std::size_t>((bucket.index >> shift) - offset)] += bucket.count;
    std::string row = std::string(",\"") + name + "\":{\"offset\":" + std::to_string(offset) +
                      ",\"bucketCounts\":[";
    for (std::size_t i = 0; i < counts.size(); ++i)
        row += (i > 0 ? "," : "") + quoted(counts[i]);
    return row + "]}";
}

/// Spans of neighbours, and each count's difference to the one before. Prometheus' buckets are
/// counted by their upper bound.
std::string prometheus_row(const std::string& name, const Buckets& buckets) {
    std::string spans;
    std::string deltas;
    std::int64_t expected = 0;
    std::int64_t last_count = 0;
    std::size_t length = 0;
    for (std::size_t i = 0; i < buckets.size(); ++i) {
        const std::int64_t index = std::int64_t{buckets[i].index} + 1;
        if (i == 0 || index != expected) {
            if (i > 0)
                spans += std::to_string(length) + "},";
            spans += "{\"offset\":" + std::to_string(index - expected) + ",\"length\":";
            length = 0;
        }
        ++length;
        expected = index + 1;
        const auto count = static_cast<std::int64_t>(buckets[i].count);
        deltas += (i > 0 ? ",\"" : "\"") + std::to_string(count - last_count) + '"';
        last_count = count;
    }
    if (buckets.empty())
        return {};
    return ",\"" + name + "Spans\":[" + spans + std::to_string(length) + "}],\"" + name +
           "Deltas\":[" + deltas + "]";
}

} // namespace

std::string to_otel_json(const Summary& summary) {
    const Summary::Histogram histogram = summary.histogram();
    constexpr auto widest = static_cast<std::int64_t>(Summary::max_buckets);
    int shift = 0;
    while (width_at(histogram.negative, shift) > widest ||
           width_at(histogram.positive, shift) > widest)
        ++shift;
    return "{\"count\":" + quoted(count_of(histogram)) + optional_field("sum", histogram.sum) +
           ",\"scale\":" + std::to_string(histogram.scale - shift) +
           ",\"zeroCount\":" + quoted(histogram.zeros) +
           otel_row("positive", histogram.positive, shift) +
           otel_row("negative", histogram.negative, shift) +
           optional_field("min", histogram.minimum) + optional_field("max", histogram.maximum) +
           "}";
}

std::string to_prometheus_json(const Summary& summary) {
    const Summary::Histogram histogram = summary.histogram();
    return "{\"countInt\":" + quoted(count_of(histogram)) + optional_field("sum", histogram.sum) +
           ",\"schema\":" + std::to_string(histogram.scale) + ",\"zeroThreshold\":0" +
           ",\"zeroCountInt\":" + quoted(histogram.zeros) +
           prometheus_row("negative", histogram.negative) +
           prometheus_row("positive", histogram.positive) + "}";
}

} // namespace orchestry::base
