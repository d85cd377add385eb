// A clock that is wrong by SHIFTED_CLOCK_S seconds, for tests: loaded with LD_PRELOAD. All
// processes that have inherited both agree on the time; how fast it goes, timers and the monotonic
// clock are as they were, and so are the times of files.

#include <cstdlib>
#include <ctime>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

namespace {

/// Seconds to add. Asked for anew each time: other libraries want the time before ours has been
/// initialised.
time_t shift_s() {
    const char* const text = std::getenv("SHIFTED_CLOCK_S");
    return text ? std::atoll(text) : 0;
}

/// What the kernel says, shifted where it is the time of day.
int shifted(clockid_t clock, timespec* at) noexcept {
    const long result = syscall(SYS_clock_gettime, clock, at);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        at->tv_sec += shift_s();
    return static_cast<int>(result);
}

} // namespace

extern "C" int clock_gettime(clockid_t clock, timespec* at) noexcept { return shifted(clock, at); }

extern "C" int gettimeofday(timeval* at, void*) noexcept {
    timespec precise;
    shifted(CLOCK_REALTIME, &precise);
    *at = {precise.tv_sec, precise.tv_nsec / 1000};
    return 0;
}

extern "C" time_t time(time_t* at) noexcept {
    timespec coarse;
    shifted(CLOCK_REALTIME_COARSE, &coarse);
    if (at)
        *at = coarse.tv_sec;
    return coarse.tv_sec;
}
