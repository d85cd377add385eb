// The clock over a run, and the calm in which its end is recorded.
#pragma once

#include "pg/guard.hpp"

namespace orchestry::jobs {

/// Watches one run of this process for a scope: cancels whatever runs when it takes longer than it
/// may, and ends the process when the postmaster is gone.
class RunTimer {
  public:
    /// A run that may take as long as it likes.
    RunTimer() : RunTimer(std::nullopt) {}
    explicit RunTimer(std::optional<std::int64_t> max_runtime_us);
    ~RunTimer();
    RunTimer(const RunTimer&) = delete;
    RunTimer& operator=(const RunTimer&) = delete;

    /// Whether the time was up.
    bool fired() const noexcept;

  private:
    TimeoutId id_;
};

/// Puts off cancel requests while a scope records what has been done already.
class HoldCancel {
  public:
    // The server's macros step a volatile, which C++20 deprecates.
    HoldCancel() { QueryCancelHoldoffCount = QueryCancelHoldoffCount + 1; }
    ~HoldCancel() {
        if (QueryCancelHoldoffCount > 0) // an ERROR resets it
            QueryCancelHoldoffCount = QueryCancelHoldoffCount - 1;
    }
    HoldCancel(const HoldCancel&) = delete;
    HoldCancel& operator=(const HoldCancel&) = delete;
};

} // namespace orchestry::jobs
