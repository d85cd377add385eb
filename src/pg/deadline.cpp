#include "pg/deadline.hpp"

#include <algorithm>

namespace orchestry::pg {

namespace {

volatile sig_atomic_t has_passed = 0;

/// Runs in signal context.
void pass() {
    has_passed = 1;
    QueryCancelPending = true;
    InterruptPending = true;
    SetLatch(MyLatch);
}

} // namespace

Deadline::Deadline(std::int64_t budget_us) {
    static constinit int registered = -1; // once per process: the server has few such slots
    const int budget_ms = static_cast<int>(std::clamp<std::int64_t>(budget_us / 1000, 1, INT_MAX));
    has_passed = 0;
    protect([&] {
        if (registered < 0)
            registered = RegisterTimeout(USER_TIMEOUT, pass);
        enable_timeout_after(static_cast<TimeoutId>(registered), budget_ms);
    });
    id_ = static_cast<TimeoutId>(registered);
}

Deadline::~Deadline() {
    disable_timeout(id_, false);
    if (has_passed) // a cancel that came too late to hit what it was meant for
        QueryCancelPending = false;
}

bool Deadline::passed() const noexcept { return has_passed != 0; }

} // namespace orchestry::pg
