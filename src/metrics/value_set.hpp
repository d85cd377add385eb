// The state of an exact aggregate: all the values of one group, in memory as long as
// orchestry.aggregate_mem allows, then in a temporary file.
//
// A state lives in the aggregate's memory context and has no destructor to run. What is called for
// each row is C-like, without a guard; what is called once for a group is not.
#pragma once

#include "base/moments.hpp"
#include "pg/guard.hpp"

#include <span>
#include <vector>

namespace orchestry::metrics {

/// What went to a file.
struct Spilled {
    BufFile* file;
    std::uint64_t count;
    base::Moments moments;
};

struct ValueSet {
    double* values; // in no order: finding quantiles moves them about, which is no change
    std::uint64_t count;
    std::uint64_t capacity;
    MemoryContext context;
    Spilled* spilled;     // or null
    ArrayType* fractions; // of quantiles(); null in other aggregates

    std::uint64_t total() const noexcept { return count + (spilled ? spilled->count : 0); }
};

// C-like:

/// A new state in the context of the aggregate that `fcinfo` is a call of. Raises 55000 when it is
/// a call of no aggregate.
ValueSet* new_value_set(FunctionCallInfo fcinfo);

/// Makes room for at least `more` values, in memory or by moving all to a file. Raises 53400 where
/// no file can be used, which is in window functions.
void make_room(FunctionCallInfo fcinfo, ValueSet* set, std::uint64_t more);

inline void append(FunctionCallInfo fcinfo, ValueSet* set, double value) {
    if (set->count == set->capacity) [[unlikely]]
        make_room(fcinfo, set, 1);
    set->values[set->count++] = value;
}

/// The fractions that rows of quantiles() ask for, which must be the same in all of them (22023)
/// and between 0 and 1 (22003).
void require_fractions(ValueSet* set, ArrayType* fractions);

/// The state as bytes, for another process of this server. Raises 54000 beyond one gigabyte.
bytea* serialize(ValueSet* set);
/// Adds what serialize() gave; `set` may be null, for a new one, which is returned.
ValueSet* combine(FunctionCallInfo fcinfo, ValueSet* set, const bytea* serialized);

// Guarded, throwing:

/// Of all values, of which there is at least one.
base::Moments moments(const ValueSet& set);
/// The exact quantiles at `fractions`, in their order.
std::vector<double> quantiles(ValueSet& set, const base::Moments& moments,
                              std::span<const double> fractions);
/// The array that quantiles() answers with: that of the fractions with each one's quantile in its
/// place.
ArrayType* quantiles_array(ValueSet& set);

} // namespace orchestry::metrics
