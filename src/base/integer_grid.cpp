#include "base/integer_grid.hpp"

#include "base/arith.hpp"
#include "base/error.hpp"

namespace orchestry::base {
namespace {

std::int64_t phase_of(std::int64_t step, std::int64_t origin) {
    if (step <= 0)
        throw Error(errc::invalid_parameter, "step of integer partitions must be positive")
            .detail("The step is " + std::to_string(step) + ".")
            .hint("Use a number of keys per partition such as 1000000.");
    return floor_mod(origin, step);
}

std::int64_t require(std::optional<std::int64_t> boundary) {
    if (!boundary)
        throw Error(errc::out_of_range, "partition bound out of range")
            .detail("The bound does not fit into 64 bits.");
    return *boundary;
}

} // namespace

IntegerGrid::IntegerGrid(std::int64_t step, std::int64_t origin)
    : step_(step), phase_(phase_of(step, origin)) {}

std::int64_t IntegerGrid::floor(std::int64_t key) const {
    return require(checked_subtract(key, above_multiple(key, step_, phase_)));
}

std::int64_t IntegerGrid::next(std::int64_t key) const {
    return require(checked_add(key, step_ - above_multiple(key, step_, phase_)));
}

std::int64_t IntegerGrid::ceil(std::int64_t key) const {
    return above_multiple(key, step_, phase_) == 0 ? key : next(key);
}

} // namespace orchestry::base
