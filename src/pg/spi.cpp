#include "pg/spi.hpp"

#include "base/hash.hpp"

namespace orchestry::pg {

namespace {

Datum text_datum(std::string_view value) {
    return protect([&] {
        return PointerGetDatum(
            cstring_to_text_with_len(value.data(), static_cast<int>(value.size())));
    });
}

const char* text_of(Datum value) {
    return protect([&]() -> const char* { return TextDatumGetCString(value); });
}

template <typename T, typename ToDatum>
Param array_param(const std::vector<T>& values, Oid element, Oid array, int length, bool by_value,
                  char align, ToDatum to_datum) {
    Datum* const elements = static_cast<Datum*>(
        call<palloc>(static_cast<Size>(sizeof(Datum) * (values.empty() ? 1 : values.size()))));
    for (std::size_t i = 0; i < values.size(); ++i)
        elements[i] = to_datum(values[i]);
    return {array, protect([&] {
                return PointerGetDatum(construct_array(elements, static_cast<int>(values.size()),
                                                       element, length, by_value, align));
            })};
}

} // namespace

Param param(bool value) { return {BOOLOID, BoolGetDatum(value)}; }
Param param(std::int32_t value) { return {INT4OID, Int32GetDatum(value)}; }
Param param(std::int64_t value) { return {INT8OID, Int64GetDatum(value)}; }
Param param(double value) { return {FLOAT8OID, Float8GetDatum(value)}; }
Param param(Oid value) { return {OIDOID, ObjectIdGetDatum(value)}; }
Param param(base::Instant value) { return {TIMESTAMPTZOID, TimestampTzGetDatum(value.us)}; }
Param param(const char* value) { return param(std::string_view(value)); }
Param param(const std::string& value) { return param(std::string_view(value)); }
Param param(std::string_view value) { return {TEXTOID, text_datum(value)}; }

Param param(const base::Span& value) {
    auto* const interval = static_cast<Interval*>(call<palloc>(Size{sizeof(Interval)}));
    interval->month = value.months;
    interval->day = value.days;
    interval->time = value.us;
    return {INTERVALOID, IntervalPGetDatum(interval)};
}

Param param(const std::vector<std::int64_t>& values) {
    return array_param(values, INT8OID, INT8ARRAYOID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
                       [](std::int64_t v) { return Int64GetDatum(v); });
}

Param param(const std::vector<Oid>& values) {
    return array_param(values, OIDOID, OIDARRAYOID, 4, true, TYPALIGN_INT,
                       [](Oid v) { return ObjectIdGetDatum(v); });
}

Param param(const std::vector<std::string>& values) {
    return array_param(values, TEXTOID, TEXTARRAYOID, -1, false, TYPALIGN_INT,
                       [](const std::string& v) { return text_datum(v); });
}

Param param(const std::vector<base::Instant>& values) {
    return array_param(values, TIMESTAMPTZOID, TIMESTAMPTZARRAYOID, 8, FLOAT8PASSBYVAL,
                       TYPALIGN_DOUBLE, [](base::Instant v) { return TimestampTzGetDatum(v.us); });
}

bool Row::is_null(int column) const {
    bool null = false;
    protect([&] { (void)SPI_getbinval(tuple_, desc_, column, &null); });
    return null;
}

Datum Row::datum(int column) const {
    bool null = false;
    const Datum value = protect([&] { return SPI_getbinval(tuple_, desc_, column, &null); });
    if (null)
        throw base::Error(base::errc::internal,
                          "unexpected NULL in column " + std::to_string(column));
    return value;
}

base::Span Row::span(int column) const {
    const Interval* const interval = DatumGetIntervalP(datum(column));
    return {interval->month, interval->day, interval->time};
}

std::string Row::text(int column) const {
    const char* const value = protect([&] { return SPI_getvalue(tuple_, desc_, column); });
    return value ? value : "";
}

std::vector<std::string> Row::text_array(int column) const {
    const Datum array = datum(column);
    Datum* elements = nullptr;
    int count = 0;
    protect([&] {
        deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &elements,
                          nullptr, &count);
    });
    std::vector<std::string> texts;
    for (int i = 0; i < count; ++i)
        texts.emplace_back(text_of(elements[i]));
    return texts;
}

namespace {

constexpr int max_params = 64;

/// Statements whose plans are kept. The server replans by itself when something that a plan depends
/// on changes. Our own texts are few; should the table ever be full, further statements are planned
/// each time.
struct KeptPlan {
    std::uint64_t key;
    SPIPlanPtr plan;
};
constexpr std::size_t max_kept_plans = 512; // a power of two
KeptPlan kept_plans[max_kept_plans];

/// The kept plan of a statement with these parameter types, prepared on first use; nullptr when the
/// table is full.
SPIPlanPtr kept_plan(const char* sql, const Oid* types, int count) {
    std::uint64_t key = base::fnv1a64(sql);
    for (int i = 0; i < count; ++i)
        key = base::splitmix64(key ^ types[i]);
    for (std::size_t probe = 0; probe < max_kept_plans; ++probe) {
        KeptPlan& slot = kept_plans[(key + probe) & (max_kept_plans - 1)];
        if (slot.plan && slot.key == key)
            return slot.plan;
        if (slot.plan)
            continue;
        const SPIPlanPtr plan = protect([&] {
            // One plan for all values: with sequential scans forbidden the server would hold costs
            // that mean nothing against it, and plan anew each time.
            const SPIPlanPtr prepared =
                SPI_prepare_cursor(sql, count, const_cast<Oid*>(types), CURSOR_OPT_GENERIC_PLAN);
            if (prepared)
                SPI_keepplan(prepared);
            return prepared;
        });
        if (!plan)
            throw base::Error(base::errc::internal, std::string("SPI_prepare failed: ") +
                                                        SPI_result_code_string(SPI_result));
        slot = {key, plan};
        return plan;
    }
    return nullptr;
}

/// How our own statements are planned. A kept plan outlives what it was planned for: our history is
/// empty when a process plans its statements, and may hold millions of rows when it runs them. So
/// an index is used wherever there is one. The costs mean nothing then, and must not call for JIT.
class PlanningForGrowth {
  public:
    PlanningForGrowth() noexcept : seqscan_(enable_seqscan), jit_(jit_enabled) {
        enable_seqscan = false;
        jit_enabled = false;
    }
    ~PlanningForGrowth() {
        enable_seqscan = seqscan_;
        jit_enabled = jit_;
    }
    PlanningForGrowth(const PlanningForGrowth&) = delete;
    PlanningForGrowth& operator=(const PlanningForGrowth&) = delete;

  private:
    bool seqscan_, jit_;
};

} // namespace

std::uint64_t Spi::execute(const char* sql, const Param* params, int count, Plan plan,
                           Reading reading) {
    Oid types[max_params];
    Datum values[max_params];
    char nulls[max_params];
    if (count > max_params)
        throw base::Error(base::errc::internal, "too many parameters");
    for (int i = 0; i < count; ++i) {
        types[i] = params[i].type;
        values[i] = params[i].value;
        nulls[i] = params[i].null ? 'n' : ' ';
    }
    const SPIPlanPtr kept = plan == Plan::kept ? kept_plan(sql, types, count) : nullptr;
    std::optional<PlanningForGrowth> planning;
    if (kept)
        planning.emplace();
    const int result = protect([&] {
        if (reading == Reading::changing_latest) {
            const SPIPlanPtr plan = kept ? kept : SPI_prepare(sql, count, types);
            return plan ? SPI_execute_snapshot(plan, values, nulls, GetLatestSnapshot(),
                                               InvalidSnapshot, false, true, 0)
                        : SPI_result;
        }
        const bool read_only = reading != Reading::statement; // reads with the active snapshot
        if (reading == Reading::latest)
            PushActiveSnapshot(GetLatestSnapshot());
        const int code =
            kept ? SPI_execute_plan(kept, values, nulls, read_only, 0)
                 : SPI_execute_with_args(sql, count, types, values, nulls, read_only, 0);
        if (reading == Reading::latest)
            PopActiveSnapshot();
        return code;
    });
    if (result < 0)
        throw base::Error(base::errc::internal,
                          std::string("SPI failed: ") + SPI_result_code_string(result));
    table_ = SPI_tuptable;
    processed_ = SPI_processed;
    return processed_;
}

void run_statements(const std::vector<std::string>& statements) {
    for (const std::string& statement : statements) {
        Spi spi;
        spi.run(statement);
    }
}

std::optional<std::string> relation_name(Oid relid) {
    const char* const name = protect([&]() -> const char* {
        const char* relation = get_rel_name(relid);
        const Oid schema = get_rel_namespace(relid);
        const char* schema_name = OidIsValid(schema) ? get_namespace_name(schema) : nullptr;
        return relation && schema_name ? quote_qualified_identifier(schema_name, relation)
                                       : nullptr;
    });
    if (!name)
        return std::nullopt;
    return std::string(name);
}

std::string require_relation_name(Oid relid) {
    std::optional<std::string> name = relation_name(relid);
    if (!name)
        throw base::Error("42P01",
                          "the table with OID " + std::to_string(relid) + " does not exist")
            .hint("Give the table by name.");
    return *std::move(name);
}

std::vector<Oid> family_of(Oid relid) {
    const List* const list = protect([&] { return find_all_inheritors(relid, NoLock, nullptr); });
    std::vector<Oid> oids;
    for (int i = 0; i < list_length(list); ++i)
        oids.push_back(list_nth_oid(list, i));
    return oids;
}

std::string quote_identifier(std::string_view name) {
    const std::string terminated(name);
    return protect([&] { return ::quote_identifier(terminated.c_str()); });
}

std::string role_name(Oid role) {
    return quote_identifier(
        protect([&]() -> const char* { return GetUserNameFromId(role, false); }));
}

std::string quote_qualified(std::string_view schema, std::string_view name) {
    return quote_identifier(schema) + "." + quote_identifier(name);
}

std::string quote_literal(std::string_view text) {
    const std::string terminated(text);
    return protect([&]() -> const char* { return quote_literal_cstr(terminated.c_str()); });
}

} // namespace orchestry::pg
