#include "jobs/run_timer.hpp"

#include <algorithm>

#include "base/time.hpp"

namespace orchestry::jobs {

namespace {

/// What the timer of a run looks at, in signal context.
volatile sig_atomic_t run_timed_out = 0;
TimestampTz run_deadline = 0;

/// Runs in signal context, every second of a run. The server's own CHECK_FOR_INTERRUPTS does not
/// see that the postmaster is gone, so a long statement of ours would keep the cluster from being
/// restarted.
void watch_run() {
    if (!PostmasterIsAlive()) {
        ProcDiePending = true;
    } else if (GetCurrentTimestamp() >= run_deadline && !run_timed_out) {
        run_timed_out = 1;
        QueryCancelPending = true;
    } else {
        return;
    }
    InterruptPending = true;
    SetLatch(MyLatch);
}

} // namespace

RunTimer::RunTimer(std::optional<std::int64_t> max_runtime_us) {
    static constinit int registered = -1; // once per process: the server has few such slots
    const TimestampTz now = GetCurrentTimestamp();
    const std::int64_t period_us = std::clamp<std::int64_t>(
        max_runtime_us.value_or(base::us_per_second), 1000, base::us_per_second);
    run_timed_out = 0;
    run_deadline = max_runtime_us ? now + *max_runtime_us : DT_NOEND;
    pg::protect([&] {
        if (registered < 0)
            registered = RegisterTimeout(USER_TIMEOUT, watch_run);
        enable_timeout_every(static_cast<TimeoutId>(registered), now + period_us,
                             static_cast<int>(period_us / 1000));
    });
    id_ = static_cast<TimeoutId>(registered);
}

RunTimer::~RunTimer() {
    disable_timeout(id_, false);
    if (run_timed_out) // a cancel that came too late to hit the run must not hit its record
        QueryCancelPending = false;
}

bool RunTimer::fired() const noexcept { return run_timed_out != 0; }

} // namespace orchestry::jobs
