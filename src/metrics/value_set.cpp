#include "metrics/value_set.hpp"

#include "base/pass_select.hpp"
#include "base/quantile_select.hpp"
#include "catalog/settings.hpp"
#include "metrics/aggregate.hpp"

#include <algorithm>

namespace orchestry::metrics {

namespace {

constexpr std::uint64_t first_capacity = 16;
/// A state with fewer values than a block of a file has room for stays in memory.
constexpr std::uint64_t least_spill = BLCKSZ / sizeof(double);
/// Values that the selection from a file keeps in memory: 8 MB.
constexpr std::size_t selection_room = std::size_t{1} << 20;
constexpr std::size_t read_values = 8 * BLCKSZ / sizeof(double);

// C-like, down to the guarded ones:

void close_file(Datum spilled) noexcept {
    BufFileClose(reinterpret_cast<Spilled*>(DatumGetPointer(spilled))->file);
}

/// Moves all values to the state's file, and makes one when it has none.
void spill(FunctionCallInfo fcinfo, ValueSet* set) {
    if (!set->spilled) {
        const MemoryContext caller = MemoryContextSwitchTo(set->context);
        auto* const spilled = new (palloc(sizeof(Spilled))) Spilled{};
        PrepareTempTablespaces();
        spilled->file = BufFileCreateTemp(false);
        AggRegisterCallback(fcinfo, close_file, PointerGetDatum(spilled));
        MemoryContextSwitchTo(caller);
        set->spilled = spilled;
    }
    CHECK_FOR_INTERRUPTS();
    BufFileWrite(set->spilled->file, set->values, set->count * sizeof(double));
    set->spilled->moments.add({set->values, set->count});
    set->spilled->count += set->count;
    set->count = 0;
}

/// Whether the values of the whole aggregate would take more memory than allowed.
bool is_too_much(const ValueSet* set, std::uint64_t capacity) {
    return MemoryContextMemAllocated(set->context, false) +
               (capacity - set->capacity) * sizeof(double) >
           static_cast<Size>(catalog::settings::aggregate_mem_kb) * 1024;
}

/// Reads up to `count` values from where the file stands; returns how many there were.
std::size_t read(BufFile* file, double* values, std::size_t count) {
    CHECK_FOR_INTERRUPTS();
    return BufFileRead(file, values, count * sizeof(double)) / sizeof(double);
}

void go_to_start(BufFile* file) {
    if (BufFileSeek(file, 0, 0, SEEK_SET) != 0)
        ereport(ERROR, (errcode_for_file_access(), errmsg("could not rewind a temporary file")));
}

} // namespace

ValueSet* new_value_set(FunctionCallInfo fcinfo) {
    const MemoryContext context = aggregate_context(fcinfo);
    auto* const set = static_cast<ValueSet*>(MemoryContextAllocZero(context, sizeof(ValueSet)));
    set->context = context;
    return set;
}

void make_room(FunctionCallInfo fcinfo, ValueSet* set, std::uint64_t more) {
    std::uint64_t capacity = std::max({first_capacity, 2 * set->capacity, set->count + more});
    if (set->count >= least_spill && is_too_much(set, capacity)) {
        if (AggCheckCallContext(fcinfo, nullptr) != AGG_CONTEXT_AGGREGATE)
            ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
                            errmsg("the values of a window take more memory than "
                                   "\"orchestry.aggregate_mem\" allows"),
                            errdetail("It is %d kB. Aggregates without OVER go on in files.",
                                      catalog::settings::aggregate_mem_kb),
                            errhint("SET orchestry.aggregate_mem = '%d MB';",
                                    catalog::settings::aggregate_mem_kb / 1024 * 2 + 2)));
        spill(fcinfo, set);
        if (more <= set->capacity)
            return;
        capacity = more;
    }
    if (capacity > MaxAllocHugeSize / sizeof(double))
        ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("too many values")));
    const Size bytes = capacity * sizeof(double);
    set->values = static_cast<double*>(set->values ? repalloc_huge(set->values, bytes)
                                                   : MemoryContextAllocHuge(set->context, bytes));
    set->capacity = capacity;
}

void require_fractions(ValueSet* set, ArrayType* fractions) {
    if (set->fractions) {
        if (VARSIZE(set->fractions) != VARSIZE(fractions) ||
            std::memcmp(set->fractions, fractions, VARSIZE(fractions)) != 0)
            ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                            errmsg("the fractions must be the same in all rows of a group"),
                            errhint("Give a constant, such as ARRAY[0.5, 0.95, 0.99].")));
        return;
    }
    Datum* elements = nullptr;
    bool* nulls = nullptr;
    int count = 0;
    deconstruct_array(fractions, FLOAT8OID, sizeof(double), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
                      &elements, &nulls, &count);
    for (int i = 0; i < count; ++i) {
        const double fraction = nulls[i] ? 0 : DatumGetFloat8(elements[i]);
        if (!(fraction >= 0 && fraction <= 1))
            ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
                            errmsg("fraction %g is not between 0 and 1", fraction),
                            errhint("Give fractions such as ARRAY[0.5, 0.95, 0.99].")));
    }
    set->fractions = static_cast<ArrayType*>(MemoryContextAlloc(set->context, VARSIZE(fractions)));
    std::memcpy(set->fractions, fractions, VARSIZE(fractions));
}

// Serialized: the size of the fractions, the fractions, the values.

bytea* serialize(ValueSet* set) {
    const std::uint64_t fraction_bytes = set->fractions ? VARSIZE(set->fractions) : 0;
    const std::uint64_t bytes =
        VARHDRSZ + sizeof fraction_bytes + fraction_bytes + set->total() * sizeof(double);
    if (bytes > MaxAllocSize)
        ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                        errmsg("a group is too large to be handed over by a parallel worker"),
                        errdetail("It has %llu values, and 134 million are possible.",
                                  static_cast<unsigned long long>(set->total())),
                        errhint("SET max_parallel_workers_per_gather = 0;")));
    auto* const result = static_cast<bytea*>(palloc(bytes));
    SET_VARSIZE(result, bytes);
    char* at = VARDATA(result);
    std::memcpy(at, &fraction_bytes, sizeof fraction_bytes);
    at += sizeof fraction_bytes;
    if (fraction_bytes > 0)
        std::memcpy(at, set->fractions, fraction_bytes);
    at += fraction_bytes;
    if (set->count > 0)
        std::memcpy(at, set->values, set->count * sizeof(double));
    at += set->count * sizeof(double);
    if (!set->spilled)
        return result;
    go_to_start(set->spilled->file);
    const std::size_t spilled_bytes = set->spilled->count * sizeof(double);
    if (BufFileRead(set->spilled->file, at, spilled_bytes) != spilled_bytes)
        ereport(ERROR, (errcode_for_file_access(), errmsg("could not read a temporary file")));
    return result;
}

ValueSet* combine(FunctionCallInfo fcinfo, ValueSet* set, const bytea* serialized) {
    if (!set)
        set = new_value_set(fcinfo);
    const char* at = VARDATA_ANY(serialized);
    const char* const end = at + VARSIZE_ANY_EXHDR(serialized);
    std::uint64_t fraction_bytes = 0;
    std::memcpy(&fraction_bytes, at, sizeof fraction_bytes);
    at += sizeof fraction_bytes;
    if (fraction_bytes > 0) {
        auto* const fractions = static_cast<ArrayType*>(palloc(fraction_bytes));
        std::memcpy(fractions, at, fraction_bytes);
        require_fractions(set, fractions);
        pfree(fractions);
    }
    at += fraction_bytes;
    while (at < end) {
        const std::uint64_t some = std::min<std::uint64_t>(
            static_cast<std::uint64_t>(end - at) / sizeof(double), read_values);
        if (set->capacity - set->count < some)
            make_room(fcinfo, set, some);
        std::memcpy(set->values + set->count, at, some * sizeof(double));
        set->count += some;
        at += some * sizeof(double);
    }
    return set;
}

// Guarded:

base::Moments moments(const ValueSet& set) {
    base::Moments all = set.spilled ? set.spilled->moments : base::Moments();
    all.add({set.values, set.count});
    return all;
}

namespace {

/// value_at(rank) for the ranks that the fractions need.
template <typename Use>
void with_ranks(ValueSet& set, const base::Moments& moments, std::span<const double> fractions,
                const Use& use) {
    const std::vector<std::uint64_t> ranks = base::ranks_of(fractions, set.total());
    const std::span<double> in_memory(set.values, set.count);
    if (!set.spilled) {
        base::select_ranks(in_memory, ranks);
        use([&](std::uint64_t rank) { return in_memory[rank]; });
        return;
    }
    base::PassSelect select(ranks, set.total(), moments.nan_count(), moments.minimum(),
                            moments.ordered_maximum(), selection_room);
    std::vector<double> chunk(read_values);
    while (!select.done()) {
        select.feed(in_memory);
        pg::call<go_to_start>(set.spilled->file);
        while (const std::size_t count =
                   pg::call<read>(set.spilled->file, chunk.data(), chunk.size()))
            select.feed(std::span(chunk).first(count));
        select.end_pass();
    }
    use([&](std::uint64_t rank) { return select.value_at(rank); });
}

} // namespace

std::vector<double> quantiles(ValueSet& set, const base::Moments& moments,
                              std::span<const double> fractions) {
    std::vector<double> results;
    with_ranks(set, moments, fractions, [&](const auto& value_at) {
        for (const double fraction : fractions)
            results.push_back(
                base::quantile_at(base::quantile_place(fraction, set.total()), value_at));
    });
    return results;
}

ArrayType* quantiles_array(ValueSet& set) {
    // All that is not NULL stands in a row: what is asked for becomes what is answered.
    auto* const result = static_cast<ArrayType*>(pg::call<palloc>(VARSIZE(set.fractions)));
    std::memcpy(result, set.fractions, VARSIZE(set.fractions));
    auto* const first = reinterpret_cast<double*>(ARR_DATA_PTR(result));
    auto* const last = reinterpret_cast<double*>(reinterpret_cast<char*>(result) + VARSIZE(result));
    const std::vector<double> fractions(first, last);
    const std::vector<double> results = quantiles(set, moments(set), fractions);
    std::copy(results.begin(), results.end(), first);
    return result;
}

} // namespace orchestry::metrics
