#include "base/tuple_bytes.hpp"

#include <algorithm>
#include <cmath>
#include <optional>

namespace orchestry::base {

namespace {

constexpr std::int64_t greatest_alignment = 8;
constexpr std::int64_t header_bytes = 23;
constexpr std::int64_t line_pointer_bytes = 4;

constexpr std::int64_t aligned(std::int64_t offset, std::int64_t alignment) {
    return (offset + alignment - 1) / alignment * alignment;
}

} // namespace

double tuple_bytes(const std::vector<Field>& fields) noexcept {
    const bool has_nulls =
        std::any_of(fields.begin(), fields.end(), [](const Field& f) { return f.share < 1; });
    const std::int64_t bitmap_bytes =
        has_nulls ? (static_cast<std::int64_t>(fields.size()) + 7) / 8 : 0;
    double bytes = 0;
    std::optional<std::int64_t> phase = 0; // bytes so far modulo 8, as long as they are certain
    for (const Field& field : fields) {
        if (field.share <= 0)
            continue;
        const double padding = phase
                                   ? static_cast<double>(aligned(*phase, field.alignment) - *phase)
                                   : static_cast<double>(field.alignment - 1) / 2;
        bytes += field.share * (padding + field.width);
        if (field.alignment == greatest_alignment)
            phase = 0;
        const bool is_certain = phase && field.is_fixed && field.share >= 1;
        phase = is_certain ? std::optional((aligned(*phase, field.alignment) +
                                            static_cast<std::int64_t>(field.width)) %
                                           greatest_alignment)
                           : std::nullopt;
    }
    const double padding_behind =
        phase ? static_cast<double>(aligned(*phase, greatest_alignment) - *phase)
              : static_cast<double>(greatest_alignment - 1) / 2;
    return static_cast<double>(aligned(header_bytes + bitmap_bytes, greatest_alignment) +
                               line_pointer_bytes) +
           bytes + padding_behind;
}

} // namespace orchestry::base
