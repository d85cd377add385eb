// SQL entry points of the type summary: decode, call, encode.
#include "api/args.hpp"
#include "base/histogram_json.hpp"
#include "metrics/summary_state.hpp"

#include <cmath>

namespace orchestry::api {

namespace {

using base::Summary;
using metrics::SummaryState;

SummaryState* state_of(FunctionCallInfo fcinfo) {
    return fcinfo->args[0].isnull
               ? metrics::new_summary_state(fcinfo)
               : reinterpret_cast<SummaryState*>(DatumGetPointer(fcinfo->args[0].value));
}

/// The state as it came: a row that changes nothing.
Datum unchanged(FunctionCallInfo fcinfo) {
    fcinfo->isnull = fcinfo->args[0].isnull;
    return fcinfo->args[0].value;
}

Summary summary_argument(FunctionCallInfo fcinfo) {
    return metrics::from_datum(fcinfo->args[0].value);
}

Datum float8_or_null(FunctionCallInfo fcinfo, std::optional<double> value) {
    fcinfo->isnull = !value;
    return Float8GetDatum(value.value_or(0));
}

/// What `of` says of the summary in the first argument; NULL when it has no numbers.
template <typename Of>
Datum of_numbers(FunctionCallInfo fcinfo, const Of& of) {
    const Summary summary = summary_argument(fcinfo);
    return float8_or_null(fcinfo,
                          summary.count() > 0 ? std::optional<double>(of(summary)) : std::nullopt);
}

double require_fraction(double fraction) {
    if (fraction >= 0 && fraction <= 1)
        return fraction;
    throw base::Error(base::errc::out_of_range, "a fraction is not between 0 and 1")
        .hint("Give fractions such as 0.95.");
}

std::vector<Summary::Bucket> buckets(const Args& args, int indexes, int counts) {
    const std::vector<std::int64_t> index = args.bigints(indexes, "indexes");
    const std::vector<std::int64_t> count = args.bigints(counts, "counts");
    const auto refuse = [](const char* detail) {
        return base::Error(base::errc::invalid_parameter,
                           "this is no exponential histogram that can be read")
            .detail(detail)
            .hint("See \\df+ orchestry.from_histogram");
    };
    if (index.size() != count.size())
        throw refuse("It has not as many buckets as counts.");
    std::vector<Summary::Bucket> result;
    for (std::size_t i = 0; i < index.size(); ++i) {
        if (count[i] < 0 || index[i] < INT32_MIN || index[i] > INT32_MAX)
            throw refuse("A bucket or its count is out of range.");
        result.push_back(
            {static_cast<std::int32_t>(index[i]), static_cast<std::uint64_t>(count[i])});
    }
    return result;
}

} // namespace

// --- the type
// -------------------------------------------------------------------------------------

ORCHESTRY_FUNCTION(orchestry_summary_in) {
    return metrics::to_datum(metrics::summary_of_text(DatumGetCString(fcinfo->args[0].value)));
}

ORCHESTRY_FUNCTION(orchestry_summary_out) {
    const std::string text = metrics::summary_text(summary_argument(fcinfo));
    return CStringGetDatum(pg::call<pstrdup>(text.c_str()));
}

ORCHESTRY_FUNCTION(orchestry_summary_recv) {
    auto* const message = reinterpret_cast<StringInfo>(DatumGetPointer(fcinfo->args[0].value));
    const int size = message->len - message->cursor;
    const char* const bytes = pg::call<pq_getmsgbytes>(message, size);
    return metrics::to_datum(
        Summary::decode({bytes, static_cast<std::size_t>(size)}, std::pmr::new_delete_resource()));
}

ORCHESTRY_FUNCTION(orchestry_summary_send) { return metrics::to_datum(summary_argument(fcinfo)); }

// --- aggregates
// -----------------------------------------------------------------------------------

ORCHESTRY_FUNCTION(orchestry_summarize_transition) {
    if (fcinfo->args[1].isnull)
        return unchanged(fcinfo);
    SummaryState* const state = state_of(fcinfo);
    state->add(DatumGetFloat8(fcinfo->args[1].value));
    return PointerGetDatum(state);
}

ORCHESTRY_FUNCTION(orchestry_merge_transition) {
    if (fcinfo->args[1].isnull)
        return unchanged(fcinfo);
    SummaryState* const state = state_of(fcinfo);
    state->merge(fcinfo->args[1].value);
    return PointerGetDatum(state);
}

ORCHESTRY_FUNCTION(orchestry_summary_final) {
    if (fcinfo->args[0].isnull)
        PG_RETURN_NULL();
    return metrics::to_datum(state_of(fcinfo)->summary());
}

// The bytes are only read by the combine function that is called next, which is merge's transition.
ORCHESTRY_PLAIN_FUNCTION(orchestry_summary_deserialize) { return fcinfo->args[0].value; }

// --- what it says
// ---------------------------------------------------------------------------------

ORCHESTRY_FUNCTION(orchestry_summary_count) {
    return Int64GetDatum(static_cast<std::int64_t>(summary_argument(fcinfo).count()));
}

ORCHESTRY_FUNCTION(orchestry_summary_sum) {
    const Summary summary = summary_argument(fcinfo);
    return float8_or_null(fcinfo, summary.count() > 0 ? summary.sum() : std::nullopt);
}

ORCHESTRY_FUNCTION(orchestry_summary_avg) {
    const Summary summary = summary_argument(fcinfo);
    return float8_or_null(fcinfo, summary.count() > 0 ? summary.average() : std::nullopt);
}

ORCHESTRY_FUNCTION(orchestry_summary_min) {
    return of_numbers(fcinfo, [](const Summary& s) { return s.moments().minimum(); });
}

ORCHESTRY_FUNCTION(orchestry_summary_max) {
    return of_numbers(fcinfo, [](const Summary& s) { return s.moments().maximum(); });
}

ORCHESTRY_FUNCTION(orchestry_summary_stddev) {
    return float8_or_null(fcinfo, summary_argument(fcinfo).deviation());
}

ORCHESTRY_FUNCTION(orchestry_summary_relative_error) {
    return Float8GetDatum(summary_argument(fcinfo).relative_error());
}

ORCHESTRY_FUNCTION(orchestry_summary_quantile) {
    const double fraction = require_fraction(DatumGetFloat8(fcinfo->args[1].value));
    return of_numbers(fcinfo, [=](const Summary& s) { return s.quantile(fraction); });
}

ORCHESTRY_FUNCTION(orchestry_summary_quantiles) {
    const Args args(fcinfo, "quantiles");
    const Summary summary = summary_argument(fcinfo);
    std::vector<Datum> quantiles;
    for (const double fraction : args.float8s(1, "fractions")) {
        require_fraction(fraction);
        if (summary.count() > 0)
            quantiles.push_back(Float8GetDatum(summary.quantile(fraction)));
    }
    if (summary.count() == 0)
        PG_RETURN_NULL();
    Datum* const elements = quantiles.data();
    const int count = static_cast<int>(quantiles.size());
    return pg::protect([&] {
        return PointerGetDatum(construct_array(elements, count, FLOAT8OID, sizeof(double),
                                               FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
    });
}

// --- histograms of others
// -------------------------------------------------------------------------

ORCHESTRY_FUNCTION(orchestry_summary_to_json) {
    const Args args(fcinfo, "to_histogram");
    const std::string format = args.text(1, "format");
    if (format != "otel" && format != "prometheus")
        throw base::Error(base::errc::invalid_parameter, "\"format\" must be otel or prometheus")
            .hint("SELECT orchestry.to_histogram(summary, 'otel');");
    const Summary summary = summary_argument(fcinfo);
    const std::string json =
        format == "otel" ? base::to_otel_json(summary) : base::to_prometheus_json(summary);
    return pg::protect(
        [&] { return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.c_str())); });
}

ORCHESTRY_FUNCTION(orchestry_summary_of_buckets) {
    const Args args(fcinfo, "from_histogram");
    const std::int64_t zeros = args.bigint(1, "zeros");
    const std::int32_t scale = args.integer(0, "scale");
    if (zeros < 0)
        throw base::Error(base::errc::invalid_parameter, "a histogram cannot count less than 0");
    const Summary summary({.scale = scale,
                           .zeros = static_cast<std::uint64_t>(zeros),
                           .negative = buckets(args, 2, 3),
                           .positive = buckets(args, 4, 5),
                           .sum = args.optional_float8(6),
                           .minimum = args.optional_float8(7),
                           .maximum = args.optional_float8(8)},
                          std::pmr::new_delete_resource());
    const std::optional<std::int64_t> count = args.optional_bigint(9);
    if (count && static_cast<std::uint64_t>(*count) != summary.count())
        throw base::Error(base::errc::invalid_parameter,
                          "this is no exponential histogram that can be read")
            .detail("Its count is " + std::to_string(*count) + ", its buckets count " +
                    std::to_string(summary.count()) + ".")
            .hint("See \\df+ orchestry.from_histogram");
    return metrics::to_datum(summary);
}

} // namespace orchestry::api
