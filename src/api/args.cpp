#include "api/args.hpp"

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
    throw base::Error(base::errc::null_value,
                      std::string("argument \"") + name + "\" of orchestry." + function_ + "() must not be NULL")
        .hint(std::string("See \\df+ orchestry.") + function_);
}

base::Span Args::interval(int i, const char* name) const { return span_of(datum(i, name)); }
std::string Args::text(int i, const char* name) const { return text_of(datum(i, name)); }

std::optional<std::string> Args::optional_text(int i) const {
    return is_null(i) ? std::nullopt : std::optional(text_of(fcinfo_->args[i].value));
}

std::optional<base::Span> Args::optional_interval(int i) const {
    return is_null(i) ? std::nullopt : std::optional(span_of(fcinfo_->args[i].value));
}

std::optional<std::int64_t> Args::optional_bigint(int i) const {
    return is_null(i) ? std::nullopt : std::optional(DatumGetInt64(fcinfo_->args[i].value));
}

ResultSet::ResultSet(FunctionCallInfo fcinfo)
    : info_(reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo)) {
    // The expected row is what the caller knows of the function; unlike its own type it covers single columns.
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
