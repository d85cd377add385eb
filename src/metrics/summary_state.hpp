// Summaries in the server: as the states of aggregates, and as values of the type summary.
#pragma once

#include "base/summary.hpp"
#include "pg/memory.hpp"

namespace orchestry::metrics {

/// A summary in the memory context of an aggregate, which frees it without a destructor. Values are
/// collected before they are added: a summary is some kilobytes, and with many groups each look at
/// one comes from far away.
class SummaryState {
  public:
    explicit SummaryState(MemoryContext context) : memory_(context), summary_(&memory_) {}
    SummaryState(const SummaryState&) = delete;
    SummaryState& operator=(const SummaryState&) = delete;

    void add(double value) {
        collected_[count_++] = value;
        if (count_ == std::size(collected_))
            add_collected();
    }
    /// A value of type summary, or a bytea. Raises 22P03 when it is damaged.
    void merge(Datum value);
    /// With all that was added.
    base::Summary& summary() {
        add_collected();
        return summary_;
    }

  private:
    void add_collected() {
        for (std::size_t i = 0; i < count_; ++i)
            summary_.add(collected_[i]);
        count_ = 0;
    }

    std::size_t count_ = 0;
    double collected_[64];
    pg::ContextResource memory_;
    base::Summary summary_;
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
