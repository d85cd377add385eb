// Summaries in the server: as the states of aggregates, and as values of the type summary.
#pragma once

#include "base/summary.hpp"
#include "pg/memory.hpp"

namespace orchestry::metrics {

/// A summary in the memory context of an aggregate, which frees it without a destructor.
struct SummaryState {
    explicit SummaryState(MemoryContext context) : memory(context), summary(&memory) {}
    SummaryState(const SummaryState&) = delete;
    SummaryState& operator=(const SummaryState&) = delete;

    pg::ContextResource memory;
    base::Summary summary;
};

/// A new state in the context of the aggregate that `fcinfo` is a call of. Raises 55000 when it is
/// a call of no aggregate.
SummaryState* new_summary_state(FunctionCallInfo fcinfo);

/// The varlena of a summary: a value of type summary, or a bytea.
Datum to_datum(const base::Summary& summary);
/// Of such a value. Raises 22P03 when it is damaged.
base::Summary from_datum(Datum value);

/// As text: \x and hexadecimal digits, as bytea. Raises 22P02 when it is none.
std::string summary_text(const base::Summary& summary);
base::Summary summary_of_text(const std::string& text);

} // namespace orchestry::metrics
