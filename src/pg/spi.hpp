// SQL through SPI with typed parameters and results. Every name in the SQL text is qualified,
// values are parameters, identifiers are quoted; the pinned search_path is the belt, not the
// braces.
#pragma once

#include "base/step.hpp"
#include "base/time.hpp"
#include "pg/scope.hpp"

namespace orchestry::pg {

/// One parameter of a statement: type, value, NULL.
struct Param {
    Oid type = InvalidOid;
    Datum value = 0;
    bool null = false;
};

Param param(bool value);
Param param(std::int32_t value);
Param param(std::int64_t value);
Param param(double value);
Param param(Oid value); // as type oid
Param param(base::Instant value);
Param param(const char* value);
Param param(std::string_view value);
Param param(const std::string& value);
Param param(const base::Span& value); // as type interval
Param param(const std::vector<std::int64_t>& values);
Param param(const std::vector<Oid>& values);
Param param(const std::vector<std::string>& values);
Param param(const std::vector<base::Instant>& values);
inline Param param(Param value) { return value; }
/// NULL of a type.
inline Param null_param(Oid type) { return {type, 0, true}; }
template <typename T>
Param param(const std::optional<T>& value) {
    Param p = param(value.value_or(T{}));
    p.null = !value.has_value();
    return p;
}

/// One row of a result; valid while the Spi object that made it lives and has not run another
/// statement.
class Row {
  public:
    Row(HeapTuple tuple, TupleDesc desc) noexcept : tuple_(tuple), desc_(desc) {}

    bool is_null(int column) const; // columns count from 1
    Datum datum(int column) const;  // XX000 when NULL
    bool boolean(int column) const { return DatumGetBool(datum(column)); }
    std::int32_t integer(int column) const { return DatumGetInt32(datum(column)); }
    std::int64_t bigint(int column) const { return DatumGetInt64(datum(column)); }
    double float8(int column) const { return DatumGetFloat8(datum(column)); }
    Oid oid(int column) const { return DatumGetObjectId(datum(column)); }
    base::Instant instant(int column) const { return {DatumGetTimestampTz(datum(column))}; }
    base::Span span(int column) const; // an interval column
    /// The value as its type's output function writes it; empty when NULL.
    std::string text(int column) const;
    /// A text[] column without NULLs.
    std::vector<std::string> text_array(int column) const;
    /// The column as it is, to be handed on.
    Param param(int column) const {
        return is_null(column) ? Param{type(column), 0, true}
                               : Param{type(column), datum(column), false};
    }
    /// The column's type.
    Oid type(int column) const { return TupleDescAttr(desc_, column - 1)->atttypid; }

  private:
    HeapTuple tuple_;
    TupleDesc desc_;
};

/// An SPI connection for a scope. Results live until it ends.
class Spi : Scoped {
  public:
    Spi() {
        protect([] { SPI_connect(); });
    }
    ~Spi() {
        if (!unwinding())
            quiet([] { SPI_finish(); });
    }
    Spi(const Spi&) = delete;
    Spi& operator=(const Spi&) = delete;

    /// Runs one statement, read-write, with $1.. parameters. Returns the number of rows processed.
    template <typename... A>
    std::uint64_t run(const std::string& sql, const A&... args) {
        const Param params[] = {param(args)..., Param{}};
        return execute(sql.c_str(), params, static_cast<int>(sizeof...(A)), Plan::once,
                       Reading::statement);
    }
    /// As run(), for a statement that is our own text and does not vary: its plan is kept for the
    /// life of the process. Parsing and planning cost several times what most of our statements do.
    template <typename... A>
    std::uint64_t run_kept(const std::string& sql, const A&... args) {
        const Param params[] = {param(args)..., Param{}};
        return execute(sql.c_str(), params, static_cast<int>(sizeof...(A)), Plan::kept,
                       Reading::statement);
    }
    template <std::size_t N, typename... A>
    std::uint64_t run(const char (&literal)[N], const A&... args) {
        return run_kept(literal, args...);
    }
    /// Runs one query, our own text as for run_kept(), on what is committed now, whatever snapshot
    /// the transaction has: for what was committed while this transaction waited for a lock.
    template <typename... A>
    std::uint64_t read_latest(const std::string& sql, const A&... args) {
        const Param params[] = {param(args)..., Param{}};
        return execute(sql.c_str(), params, static_cast<int>(sizeof...(A)), Plan::kept,
                       Reading::latest);
    }
    /// The same of one statement that changes rows: those that are committed now.
    template <typename... A>
    std::uint64_t change_latest(const std::string& sql, const A&... args) {
        const Param params[] = {param(args)..., Param{}};
        return execute(sql.c_str(), params, static_cast<int>(sizeof...(A)), Plan::kept,
                       Reading::changing_latest);
    }
    /// Runs one query as part of the statement that called us: on its snapshot, changing nothing.
    template <typename... A>
    std::uint64_t read(const std::string& sql, const A&... args) {
        const Param params[] = {param(args)..., Param{}};
        return execute(sql.c_str(), params, static_cast<int>(sizeof...(A)), Plan::once,
                       Reading::caller);
    }

    std::uint64_t rows() const noexcept { return table_ ? processed_ : 0; }
    Row row(std::uint64_t index) const { return Row(table_->vals[index], table_->tupdesc); }

  private:
    enum class Plan { once, kept };
    enum class Reading { statement, latest, changing_latest, caller };
    std::uint64_t execute(const char* sql, const Param* params, int count, Plan plan,
                          Reading reading);

    SPITupleTable* table_ = nullptr;
    std::uint64_t processed_ = 0;
};

/// Runs statements one after the other.
void run_statements(const std::vector<std::string>& statements);

/// "schema"."name" of a relation, quoted where needed; nullopt when it is gone.
std::optional<std::string> relation_name(Oid relid);
/// The same of a relation that has to be there: raises 42P01.
std::string require_relation_name(Oid relid);
/// A table and its partitions, theirs as well, as they are now: none is locked. Each comes after
/// the table that it is a partition of.
std::vector<Oid> family_of(Oid relid);
std::string quote_identifier(std::string_view name);
/// The name of a role, quoted where needed. Raises 42704 when it is gone.
std::string role_name(Oid role);
std::string quote_qualified(std::string_view schema, std::string_view name);
std::string quote_literal(std::string_view text);

} // namespace orchestry::pg
