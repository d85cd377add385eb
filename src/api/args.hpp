// Decoding of SQL arguments and encoding of results.
#pragma once

#include "pg/entry.hpp"
#include "pg/spi.hpp"

namespace orchestry::api {

/// The arguments of a call, by position from 0. Getters without `optional` raise 22004 for NULL,
/// naming the argument.
class Args {
  public:
    /// `function` appears in messages, without schema.
    Args(FunctionCallInfo fcinfo, const char* function) : fcinfo_(fcinfo), function_(function) {}

    bool is_null(int i) const { return i >= fcinfo_->nargs || fcinfo_->args[i].isnull; }
    Datum datum(int i, const char* name) const;
    bool boolean(int i, const char* name) const { return DatumGetBool(datum(i, name)); }
    Oid relation(int i, const char* name) const { return DatumGetObjectId(datum(i, name)); }
    std::int32_t integer(int i, const char* name) const { return DatumGetInt32(datum(i, name)); }
    std::int64_t bigint(int i, const char* name) const { return DatumGetInt64(datum(i, name)); }
    double float8(int i, const char* name) const { return DatumGetFloat8(datum(i, name)); }
    base::Instant instant(int i, const char* name) const {
        return {DatumGetTimestampTz(datum(i, name))};
    }
    base::Span interval(int i, const char* name) const;
    std::string text(int i, const char* name) const;
    std::string name(int i, const char* name) const;

    std::optional<Oid> optional_relation(int i) const;
    std::optional<std::string> optional_text(int i) const;
    std::optional<base::Span> optional_interval(int i) const;
    std::optional<std::int64_t> optional_bigint(int i) const;
    std::optional<std::int32_t> optional_integer(int i) const;
    std::optional<double> optional_float8(int i) const;
    std::optional<base::Instant> optional_instant(int i) const;
    std::optional<std::string> optional_name(int i) const;
    /// A name[] argument. Raises 22004 when it has NULLs.
    std::optional<std::vector<std::string>> optional_names(int i) const;
    /// A bigint[] and a float8[] argument. They raise 22004 when it, or an element, is NULL.
    std::vector<std::int64_t> bigints(int i, const char* name) const;
    std::vector<double> float8s(int i, const char* name) const;

  private:
    FunctionCallInfo fcinfo_;
    const char* function_;
};

/// Literals that came as text because the server could not choose between a number and an interval.
/// Raise 22023, with what the server says, for text that is neither; `name`: of the argument.
base::Span parse_interval(const std::string& text, const char* name);
std::int64_t parse_bigint(const std::string& text, const char* name);
/// Whether a literal is a number: digits with or without a sign.
bool is_number(const std::string& text);

/// A result in materialize mode: one add() per row, values in the order of the function's columns.
class ResultSet {
  public:
    explicit ResultSet(FunctionCallInfo fcinfo);

    template <typename... V>
    void add(const V&... values) {
        const pg::Param params[] = {pg::param(values)...};
        put(params, static_cast<int>(sizeof...(V)));
    }

  private:
    void put(const pg::Param* values, int count);
    ReturnSetInfo* info_;
};

/// Text, or NULL when empty.
pg::Param text_or_null(const std::string& text);
Datum text_result(const std::string& text);

} // namespace orchestry::api
