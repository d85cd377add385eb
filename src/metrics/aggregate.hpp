// What transition functions need of the server.
#pragma once

#include "pg/guard.hpp"

namespace orchestry::metrics {

/// The memory context of the aggregate that `fcinfo` is a call of. C-like; raises 55000 when it is
/// a call of no aggregate.
inline MemoryContext aggregate_context(FunctionCallInfo fcinfo) {
    MemoryContext context = nullptr;
    if (!AggCheckCallContext(fcinfo, &context))
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("a transition function was called outside of its aggregate")));
    return context;
}

} // namespace orchestry::metrics
