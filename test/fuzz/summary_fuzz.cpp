// Any bytes as a summary: refused, or a summary in its only form, which answers and merges.
#include "base/error.hpp"
#include "base/histogram_json.hpp"
#include "base/summary.hpp"

#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>

using namespace orchestry;
using base::Summary;

namespace {

void require(bool holds) {
    if (!holds)
        std::abort();
}

/// Allocates from an array first: most inputs are refused after a few bytes, and the heap of the
/// sanitizer is slow.
struct Memory {
    std::array<std::byte, 64 << 10> buffer;
    std::pmr::monotonic_buffer_resource resource{buffer.data(), buffer.size()};
};

void check(const Summary& summary, std::string_view bytes, std::pmr::memory_resource* memory) {
    require(summary.encode() == bytes);
    if (summary.count() == 0)
        return;
    const double least = summary.moments().minimum();
    const double greatest = summary.moments().maximum();
    for (const double fraction : {0.0, 0.5, 0.99, 1.0}) {
        const double value = summary.quantile(fraction);
        require(!(value < least) && !(value > greatest));
    }
    summary.sum();
    summary.average();
    summary.deviation();
    if (bytes.size() % 8 == 0) { // slow beside all the rest
        base::to_otel_json(summary);
        base::to_prometheus_json(summary);
    }
    Summary twice(memory);
    twice.merge_encoded(bytes);
    require(twice.encode() == bytes);
    try {
        twice.merge_encoded(bytes);
        require(twice.count() == 2 * summary.count());
        const std::string merged = twice.encode();
        Summary objects(memory);
        objects.merge(summary);
        objects.merge(summary);
        require(objects.encode() == merged);
        require(Summary::decode(merged, memory).encode() == merged);
    } catch (const base::Error& error) {
        require(std::strcmp(error.sqlstate(), base::errc::out_of_range) == 0);
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Memory memory;
    memory.resource.release();
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    try {
        check(Summary::decode(bytes, &memory.resource), bytes, &memory.resource);
    } catch (const base::Error& error) {
        require(std::strcmp(error.sqlstate(), base::errc::invalid_binary_representation) == 0);
        require(!error.detail().empty());
    }
    return 0;
}
