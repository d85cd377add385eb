#include "api/args.hpp"

#include <algorithm>

#include "pg/xact.hpp"

namespace orchestry::api {

namespace {

std::string text_of(Datum datum) {
    return pg::protect([&]() -> const char* { return TextDatumGetCString(datum); });
}

base::Span span_of(Datum datum) {
    const Interval* const interval = DatumGetIntervalP(datum);
    return {interval->month, interval->day, interval->time};
}

} // namespace

Datum Args::datum(int i, const char* name) const {
    if (!is_null(i))
        return fcinfo_->args[i].value;
    throw base::Error(base::errc::null_value, std::string("argument \"") + name +
                                                  "\" of orchestry." + function_ +
                                                  "() must not be NULL")
        .hint(std::string("See \\df+ orchestry.") + function_);
}

base::Span Args::interval(int i, const char* name) const { return span_of(datum(i, name)); }
std::string Args::text(int i, const char* name) const { return text_of(datum(i, name)); }

std::string Args::name(int i, const char* name) const {
    return NameStr(*DatumGetName(datum(i, name)));
}

std::optional<Oid> Args::optional_relation(int i) const {
    return is_null(i) ? std::nullopt : std::optional(DatumGetObjectId(fcinfo_->args[i].value));
}

std::optional<std::string> Args::optional_text(int i) const {
    return is_null(i) ? std::nullopt : std::optional(text_of(fcinfo_->args[i].value));
}

std::optional<base::Span> Args::optional_interval(int i) const {
    return is_null(i) ? std::nullopt : std::optional(span_of(fcinfo_->args[i].value));
}

std::optional<std::int64_t> Args::optional_bigint(int i) const {
    return is_null(i) ? std::nullopt : std::optional(DatumGetInt64(fcinfo_->args[i].value));
}

std::optional<std::int32_t> Args::optional_integer(int i) const {
    return is_null(i) ? std::nullopt : std::optional(DatumGetInt32(fcinfo_->args[i].value));
}

std::optional<base::Instant> Args::optional_instant(int i) const {
    return is_null(i) ? std::nullopt
                      : std::optional(base::Instant{DatumGetTimestampTz(fcinfo_->args[i].value)});
}

std::optional<std::string> Args::optional_name(int i) const {
    return is_null(i) ? std::nullopt
                      : std::optional(std::string(NameStr(*DatumGetName(fcinfo_->args[i].value))));
}

std::optional<double> Args::optional_float8(int i) const {
    return is_null(i) ? std::nullopt : std::optional(DatumGetFloat8(fcinfo_->args[i].value));
}

namespace {

/// The elements of an array of a type of eight bytes without NULLs.
template <typename T>
std::vector<T> elements_of(Datum array, Oid type) {
    Datum* elements = nullptr;
    int count = 0;
    pg::protect([&] {
        deconstruct_array(DatumGetArrayTypeP(array), type, sizeof(T), FLOAT8PASSBYVAL,
                          TYPALIGN_DOUBLE, &elements, nullptr, &count);
    });
    std::vector<T> values(static_cast<std::size_t>(count));
    for (int n = 0; n < count; ++n)
        std::memcpy(&values[static_cast<std::size_t>(n)], &elements[n], sizeof(T));
    return values;
}

} // namespace

std::vector<std::int64_t> Args::bigints(int i, const char* name) const {
    return elements_of<std::int64_t>(datum(i, name), INT8OID);
}

std::vector<double> Args::float8s(int i, const char* name) const {
    return elements_of<double>(datum(i, name), FLOAT8OID);
}

std::optional<std::vector<std::string>> Args::optional_names(int i) const {
    if (is_null(i))
        return std::nullopt;
    const Datum array = fcinfo_->args[i].value;
    Datum* elements = nullptr;
    int count = 0;
    pg::protect([&] {
        deconstruct_array(DatumGetArrayTypeP(array), NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR,
                          &elements, nullptr, &count);
    });
    std::vector<std::string> names;
    for (int n = 0; n < count; ++n)
        names.emplace_back(NameStr(*DatumGetName(elements[n])));
    return names;
}

namespace {

/// Runs a conversion of the argument `name` by the server and makes its error one that helps.
template <typename Read>
auto read_literal(const std::string& text, const char* name, Read read) {
    decltype(read()) value{};
    if (const auto failure = pg::in_subtransaction([&] { value = read(); }))
        throw base::Error(base::errc::invalid_parameter,
                          std::string("invalid \"") + name + "\": \"" + text + "\"")
            .detail("The server says: " + failure->message + ".")
            .hint("Use an interval such as '1 month' for a key that is a time, or a number such as "
                  "1000000 for one that is not.");
    return value;
}

} // namespace

base::Span parse_interval(const std::string& text, const char* name) {
    return read_literal(text, name, [&] {
        const Interval* const interval = DatumGetIntervalP(pg::protect([&] {
            return DirectFunctionCall3(interval_in, CStringGetDatum(text.c_str()),
                                       ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
        }));
        return base::Span{interval->month, interval->day, interval->time};
    });
}

std::int64_t parse_bigint(const std::string& text, const char* name) {
    return read_literal(text, name, [&] {
        return DatumGetInt64(pg::protect(
            [&] { return DirectFunctionCall1(int8in, CStringGetDatum(text.c_str())); }));
    });
}

bool is_number(const std::string& text) {
    const std::size_t sign = text.starts_with('-') ? 1 : 0;
    return text.size() > sign &&
           std::all_of(text.begin() + static_cast<std::ptrdiff_t>(sign), text.end(),
                       [](char c) { return c >= '0' && c <= '9'; });
}

ResultSet::ResultSet(FunctionCallInfo fcinfo)
    : info_(reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo)) {
    // The expected row is what the caller knows of the function; unlike its own type it covers
    // single columns.
    pg::protect([&] { InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC); });
}

void ResultSet::put(const pg::Param* values, int count) {
    constexpr int max_columns = 32;
    Datum datums[max_columns];
    bool nulls[max_columns];
    const TupleDesc desc = info_->setDesc;
    if (count != desc->natts || count > max_columns)
        throw base::Error(base::errc::internal, "wrong number of result columns");
    for (int i = 0; i < count; ++i) {
        if (values[i].type != TupleDescAttr(desc, i)->atttypid &&
            !(values[i].type == OIDOID && TupleDescAttr(desc, i)->atttypid == REGCLASSOID))
            throw base::Error(base::errc::internal,
                              "wrong type of result column " + std::to_string(i + 1));
        datums[i] = values[i].value;
        nulls[i] = values[i].null;
    }
    pg::protect([&] { tuplestore_putvalues(info_->setResult, info_->setDesc, datums, nulls); });
}

pg::Param text_or_null(const std::string& text) {
    return text.empty() ? pg::null_param(TEXTOID) : pg::param(text);
}

Datum text_result(const std::string& text) { return pg::param(text).value; }

} // namespace orchestry::api
