// The aggregates of event compression: value_counts() and latest_distinct().
//
// A state is made by the first row that counts; before that it is NULL. The final functions only
// read it, so that the aggregates work over windows too, and several of them share one state.
#include "api/args.hpp"
#include "base/latest_distinct.hpp"
#include "base/value_counts.hpp"
#include "pg/aggregate.hpp"

namespace orchestry::api {

namespace {

using Counts = base::ValueCounts<pg::ContextAllocator>;
using Latest = base::LatestDistinct<pg::ContextAllocator>;

/// The state of a partial aggregate, or a new one.
template <typename State, typename... A>
State& existing(FunctionCallInfo fcinfo, State* state, A&&... args) {
    return *(state ? state : pg::make_state<State>(fcinfo, std::forward<A>(args)...));
}

Datum counts_to_jsonb(const Counts::Entry* entries, std::size_t count) {
    return pg::protect([&] {
        JsonbParseState* parse = nullptr;
        pushJsonbValue(&parse, WJB_BEGIN_OBJECT, nullptr);
        for (std::size_t i = 0; i < count; ++i) {
            JsonbValue key;
            key.type = jbvString;
            key.val.string.val = const_cast<char*>(entries[i].text);
            key.val.string.len = static_cast<int>(entries[i].size);
            pushJsonbValue(&parse, WJB_KEY, &key);
            JsonbValue value;
            value.type = jbvNumeric;
            value.val.numeric = int64_to_numeric(entries[i].count);
            pushJsonbValue(&parse, WJB_VALUE, &value);
        }
        return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&parse, WJB_END_OBJECT, nullptr)));
    });
}

/// An array with one element for each entry.
template <typename ToDatum>
Datum latest_to_array(const Latest* latest, Oid type, ToDatum to_datum) {
    if (!latest)
        return pg::protect([&] { return PointerGetDatum(construct_empty_array(type)); });
    const Latest::Entry* const entries = latest->entries().data();
    const int count = static_cast<int>(latest->entries().size());
    return pg::protect([&] {
        auto* const elements = static_cast<Datum*>(palloc(sizeof(Datum) * count));
        for (int i = 0; i < count; ++i)
            elements[i] = to_datum(entries[i]);
        std::int16_t length = 0;
        bool by_value = false;
        char align = 0;
        get_typlenbyvalalign(type, &length, &by_value, &align);
        return PointerGetDatum(construct_array(elements, count, type, length, by_value, align));
    });
}

} // namespace

// --- value_counts -------------------------------------------------------------------------------

ORCHESTRY_FUNCTION(orchestry_value_counts_add) {
    Counts* state = pg::state_of<Counts>(fcinfo);
    const bool weighted = PG_NARGS() > 2;
    if (!PG_ARGISNULL(1) && !(weighted && PG_ARGISNULL(2))) {
        state = &existing(fcinfo, state);
        state->add(pg::bytes_of(PG_GETARG_DATUM(1)), weighted ? PG_GETARG_INT64(2) : 1);
    }
    return pg::state_result(fcinfo, state);
}

ORCHESTRY_FUNCTION(orchestry_value_counts_combine) {
    Counts* state = pg::state_of<Counts>(fcinfo, 0);
    if (const Counts* const other = pg::state_of<Counts>(fcinfo, 1)) {
        state = &existing(fcinfo, state);
        state->merge(*other);
    }
    return pg::state_result(fcinfo, state);
}

ORCHESTRY_FUNCTION(orchestry_value_counts_serialize) {
    (void)pg::aggregate_context(fcinfo);
    return pg::serialized(*pg::state_of<Counts>(fcinfo));
}

ORCHESTRY_FUNCTION(orchestry_value_counts_deserialize) {
    base::ByteReader reader(pg::bytes_of(PG_GETARG_DATUM(0)));
    auto* const state = pg::make_state<Counts>(fcinfo);
    state->decode(reader);
    return pg::state_result(fcinfo, state);
}

ORCHESTRY_FUNCTION(orchestry_value_counts_final) {
    const Counts* const state = pg::state_of<Counts>(fcinfo);
    return state ? counts_to_jsonb(state->entries().data(), state->entries().size())
                 : counts_to_jsonb(nullptr, 0);
}

// --- latest_distinct ----------------------------------------------------------------------------

ORCHESTRY_FUNCTION(orchestry_latest_distinct_add) {
    const std::int32_t capacity = Args(fcinfo, "latest_distinct").integer(3, "n");
    Latest* state = pg::state_of<Latest>(fcinfo);
    if (state)
        state->require_capacity(capacity);
    if (!PG_ARGISNULL(1) && !PG_ARGISNULL(2)) {
        state = &existing(fcinfo, state, capacity);
        const TimestampTz at = PG_GETARG_TIMESTAMPTZ(2);
        if (state->is_wanted(at)) // most values of a large group need not be read at all
            state->add(pg::bytes_of(PG_GETARG_DATUM(1)), at);
    }
    return pg::state_result(fcinfo, state);
}

ORCHESTRY_FUNCTION(orchestry_latest_distinct_combine) {
    Latest* state = pg::state_of<Latest>(fcinfo, 0);
    if (const Latest* const other = pg::state_of<Latest>(fcinfo, 1)) {
        state = &existing(fcinfo, state, other->capacity());
        state->merge(*other);
    }
    return pg::state_result(fcinfo, state);
}

ORCHESTRY_FUNCTION(orchestry_latest_distinct_serialize) {
    (void)pg::aggregate_context(fcinfo);
    return pg::serialized(*pg::state_of<Latest>(fcinfo));
}

ORCHESTRY_FUNCTION(orchestry_latest_distinct_deserialize) {
    base::ByteReader reader(pg::bytes_of(PG_GETARG_DATUM(0)));
    auto* const state = pg::make_state<Latest>(fcinfo, Latest::decode_capacity(reader));
    state->decode_entries(reader);
    return pg::state_result(fcinfo, state);
}

ORCHESTRY_FUNCTION(orchestry_latest_distinct_final) {
    return latest_to_array(pg::state_of<Latest>(fcinfo), TEXTOID, [](const Latest::Entry& entry) {
        return PointerGetDatum(cstring_to_text_with_len(entry.text, static_cast<int>(entry.size)));
    });
}

ORCHESTRY_FUNCTION(orchestry_latest_distinct_times) {
    return latest_to_array(
        pg::state_of<Latest>(fcinfo), TIMESTAMPTZOID,
        [](const Latest::Entry& entry) { return TimestampTzGetDatum(entry.at); });
}

} // namespace orchestry::api
