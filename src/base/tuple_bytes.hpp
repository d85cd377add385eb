// How many bytes an average row of a table needs on its page, from what statistics say of its
// columns.
#pragma once

#include <cstdint>
#include <vector>

namespace orchestry::base {

/// A column, in the order in which rows have them.
struct Field {
    bool is_fixed = true;       ///< every value has the same width
    std::int64_t alignment = 1; ///< 1, 2, 4 or 8; 1 for values with a short header
    double width = 0;           ///< of an average value, its header included
    double share = 1;           ///< of the rows that have a value; what is NULL needs no room
};

/// Bytes of a row with its header, the padding between its columns and behind it, and its line
/// pointer. Where a column begins after one of varying width is not known, so half of the padding
/// that it may need at most is assumed.
double tuple_bytes(const std::vector<Field>& fields) noexcept;

} // namespace orchestry::base
