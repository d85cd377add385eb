#include "pg/aggregate.hpp"

namespace orchestry::pg {

MemoryContext aggregate_context(FunctionCallInfo fcinfo) {
    MemoryContext context = nullptr;
    if (!AggCheckCallContext(fcinfo, &context))
        throw base::Error(base::errc::internal, "aggregate function called in another context");
    return context;
}

varlena* detoasted(Datum value) {
    return protect([&] { return PG_DETOAST_DATUM_PACKED(value); });
}

} // namespace orchestry::pg
