// SQL entry points of metrics: decode, call, encode.
#include "api/args.hpp"
#include "metrics/time_buckets.hpp"
#include "metrics/value_set.hpp"
#include "metrics/window.hpp"

namespace orchestry::api {

namespace {

using metrics::ValueSet;

/// A pointer that the server only hands around.
template <typename T>
T* internal(FunctionCallInfo fcinfo, int i) {
    return fcinfo->args[i].isnull ? nullptr
                                  : reinterpret_cast<T*>(DatumGetPointer(fcinfo->args[i].value));
}

template <typename T>
Datum internal_or_null(FunctionCallInfo fcinfo, T* state) {
    fcinfo->isnull = !state;
    return PointerGetDatum(state);
}

/// The row type that the function is declared to return, looked up once for each query.
TupleDesc result_row(FunctionCallInfo fcinfo) {
    if (!fcinfo->flinfo->fn_extra)
        pg::protect([&] {
            const MemoryContext caller = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
            TupleDesc row = nullptr;
            if (get_call_result_type(fcinfo, nullptr, &row) != TYPEFUNC_COMPOSITE)
                elog(ERROR, "the result is not of a composite type");
            fcinfo->flinfo->fn_extra = BlessTupleDesc(row);
            MemoryContextSwitchTo(caller);
        });
    return static_cast<TupleDesc>(fcinfo->flinfo->fn_extra);
}

} // namespace

ORCHESTRY_PLAIN_FUNCTION(orchestry_window_stats_transition) {
    auto* set = internal<ValueSet>(fcinfo, 0);
    if (fcinfo->args[1].isnull)
        return internal_or_null(fcinfo, set);
    if (!set)
        set = metrics::new_value_set(fcinfo);
    metrics::append(fcinfo, set, DatumGetFloat8(fcinfo->args[1].value));
    return PointerGetDatum(set);
}

ORCHESTRY_PLAIN_FUNCTION(orchestry_quantiles_transition) {
    auto* set = internal<ValueSet>(fcinfo, 0);
    if (fcinfo->args[1].isnull || fcinfo->args[2].isnull)
        return internal_or_null(fcinfo, set);
    if (!set)
        set = metrics::new_value_set(fcinfo);
    metrics::require_fractions(set, DatumGetArrayTypeP(fcinfo->args[2].value));
    metrics::append(fcinfo, set, DatumGetFloat8(fcinfo->args[1].value));
    return PointerGetDatum(set);
}

ORCHESTRY_PLAIN_FUNCTION(orchestry_values_serialize) {
    return PointerGetDatum(metrics::serialize(internal<ValueSet>(fcinfo, 0)));
}

// The bytes are only read by the combine function that is called next, so they stay where they are.
ORCHESTRY_PLAIN_FUNCTION(orchestry_values_deserialize) {
    return PointerGetDatum(DatumGetByteaPP(fcinfo->args[0].value));
}

ORCHESTRY_PLAIN_FUNCTION(orchestry_values_combine) {
    auto* const set = internal<ValueSet>(fcinfo, 0);
    const auto* const other = internal<bytea>(fcinfo, 1);
    return internal_or_null(fcinfo, other ? metrics::combine(fcinfo, set, other) : set);
}

ORCHESTRY_FUNCTION(orchestry_window_stats_final) {
    auto* const set = internal<ValueSet>(fcinfo, 0);
    if (!set)
        PG_RETURN_NULL();
    const base::Moments moments = metrics::moments(*set);
    constexpr double fractions[] = {0.5, 0.95, 0.99};
    const std::vector<double> quantiles = metrics::quantiles(*set, moments, fractions);
    const std::optional<double> deviation = moments.deviation();
    Datum row[] = {Int64GetDatum(static_cast<std::int64_t>(moments.count())),
                   Float8GetDatum(moments.average()),
                   Float8GetDatum(moments.minimum()),
                   Float8GetDatum(moments.maximum()),
                   Float8GetDatum(deviation.value_or(0)),
                   Float8GetDatum(quantiles[0]),
                   Float8GetDatum(quantiles[1]),
                   Float8GetDatum(quantiles[2])};
    bool nulls[std::size(row)] = {};
    nulls[4] = !deviation;
    const TupleDesc desc = result_row(fcinfo);
    return pg::protect([&] { return HeapTupleGetDatum(heap_form_tuple(desc, row, nulls)); });
}

ORCHESTRY_FUNCTION(orchestry_quantiles_final) {
    auto* const set = internal<ValueSet>(fcinfo, 0);
    if (!set)
        PG_RETURN_NULL();
    return PointerGetDatum(metrics::quantiles_array(*set));
}

namespace {

/// The buckets of a call's width and zone, kept from row to row as long as these stay the same.
struct KnownBuckets {
    KnownBuckets(const base::Span& w, const std::string& z, std::string_view zone)
        : width(w), buckets(w, z) {
        zone_size = zone.copy(zone_text, sizeof zone_text);
    }
    bool are_of(const base::Span& w, std::string_view zone) const {
        return width == w && std::string_view(zone_text, zone_size) == zone;
    }

    base::Span width;
    metrics::TimeBuckets buckets;
    std::size_t zone_size;
    char zone_text[TZ_STRLEN_MAX + 1];
};

/// The buckets of (width interval, ts timestamptz, time_zone text).
metrics::TimeBuckets& known_buckets(FunctionCallInfo fcinfo, const Args& args) {
    const base::Span width = args.interval(0, "width");
    const auto* const zone = reinterpret_cast<const text*>(
        pg::protect([&] { return DatumGetTextPP(fcinfo->args[2].value); }));
    const std::string_view zone_name(VARDATA_ANY(zone), VARSIZE_ANY_EXHDR(zone));
    auto* known = static_cast<KnownBuckets*>(fcinfo->flinfo->fn_extra);
    if (!known) {
        known = static_cast<KnownBuckets*>(pg::call<MemoryContextAlloc>(
            fcinfo->flinfo->fn_mcxt, static_cast<Size>(sizeof(KnownBuckets))));
        new (known) KnownBuckets(width, std::string(zone_name), zone_name);
        fcinfo->flinfo->fn_extra = known;
    } else if (!known->are_of(width, zone_name)) {
        fcinfo->flinfo->fn_extra = nullptr; // should the new ones be refused
        std::destroy_at(known);
        new (known) KnownBuckets(width, std::string(zone_name), zone_name);
        fcinfo->flinfo->fn_extra = known;
    }
    return known->buckets;
}

} // namespace

ORCHESTRY_FUNCTION(orchestry_time_bucket) {
    const Args args(fcinfo, "time_bucket");
    return TimestampTzGetDatum(known_buckets(fcinfo, args).start_of(args.instant(1, "ts")).us);
}

ORCHESTRY_FUNCTION(orchestry_bucket_ceiling) {
    const Args args(fcinfo, "_bucket_ceiling");
    return TimestampTzGetDatum(known_buckets(fcinfo, args).ceiling_of(args.instant(1, "ts")).us);
}

ORCHESTRY_FUNCTION(orchestry_window_aggregate) {
    const Args args(fcinfo, "window_aggregate");
    const metrics::Window window{.source = args.relation(0, "source"),
                                 .time_column = args.name(1, "time_column"),
                                 .value_column = args.name(2, "value_column"),
                                 .group_by =
                                     args.optional_names(3).value_or(std::vector<std::string>()),
                                 .from = args.optional_instant(4),
                                 .to = args.optional_instant(5)};
    ResultSet result(fcinfo);
    metrics::aggregate_window(window, [&](const pg::Row& row) {
        const auto column = [&](int i) { return row.param(i); };
        result.add(column(1), column(2), column(3), column(4), column(5), column(6), column(7),
                   column(8), column(9));
    });
    return Datum{0};
}

} // namespace orchestry::api
