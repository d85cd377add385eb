// Aggregate functions whose state is an object of ours: where it lives, and how it travels between
// the processes of a parallel query.
#pragma once

#include "base/bytes.hpp"
#include "pg/memory.hpp"

namespace orchestry::pg {

/// The memory context of the states of the aggregate that calls the function: it ends with the
/// group. Raises XX000 when no aggregate calls.
MemoryContext aggregate_context(FunctionCallInfo fcinfo);

/// The state that is argument `i`; nullptr before there is one.
template <typename State>
State* state_of(FunctionCallInfo fcinfo, int i = 0) {
    if (fcinfo->args[i].isnull)
        return nullptr;
    return reinterpret_cast<State*>(DatumGetPointer(fcinfo->args[i].value));
}

/// The state as a result; NULL while there is none.
template <typename State>
Datum state_result(FunctionCallInfo fcinfo, State* state) {
    fcinfo->isnull = state == nullptr;
    return PointerGetDatum(state);
}

/// A new state in the aggregate's context. Nobody destroys it: the context ends with all that the
/// state has allocated.
template <typename State, typename... A>
State* make_state(FunctionCallInfo fcinfo, A&&... args) {
    const MemoryContext context = aggregate_context(fcinfo);
    return new (ContextAllocator<State>(context).allocate(1))
        State(std::forward<A>(args)..., ContextAllocator<char>(context));
}

/// What State::encode() writes, as a bytea.
template <typename State>
Datum serialized(const State& state) {
    const std::size_t size = VARHDRSZ + state.encoded_size();
    bytea* const result = protect([&] { return static_cast<bytea*>(palloc(size)); });
    SET_VARSIZE(result, size);
    base::ByteWriter writer(VARDATA(result));
    state.encode(writer);
    return PointerGetDatum(result);
}

/// Brings a value of variable length into a form in which it can be read at once.
varlena* detoasted(Datum value);

/// The bytes of a text or bytea argument, for as long as the call lasts.
inline std::string_view bytes_of(Datum value) {
    auto* data = reinterpret_cast<varlena*>(DatumGetPointer(value));
    if (VARATT_IS_EXTERNAL(data) || VARATT_IS_COMPRESSED(data))
        data = detoasted(value);
    return {VARDATA_ANY(data), VARSIZE_ANY_EXHDR(data)};
}

} // namespace orchestry::pg
