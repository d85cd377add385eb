// Where the server calls us: every pointer handed to it leads through one of these, and no C++
// exception gets past them.
#pragma once

#include "pg/error.hpp"

namespace orchestry::pg {

/// What is to be raised once the exception object is gone. Plain pointers only.
class Report {
  public:
    /// Copies the exception being handled. Never raises. Call it inside a catch block only.
    void capture() noexcept;
    /// Raises what was captured. `name` is the function that failed, for internal errors.
    [[noreturn]] void raise(const char* name) const;

  private:
    void set(int sqlerrcode, const char* message, const char* detail, const char* hint) noexcept;

    ErrorData* data_ = nullptr;
    int sqlerrcode_ = 0;
    const char* message_ = nullptr;
    const char* detail_ = nullptr;
    const char* hint_ = nullptr;
};
static_assert(std::is_trivially_destructible_v<Report>);

/// Runs `body` for the server: an exception leaves as an ERROR, with everything it said.
template <typename F>
auto enter(const char* name, F&& body) -> decltype(body()) {
    Report failure;
    sigjmp_buf* const saved_stack = PG_exception_stack;
    ErrorContextCallback* const saved_context = error_context_stack;
    const MemoryContext caller = CurrentMemoryContext;
    try {
        return body();
    } catch (...) {
        failure.capture();
    }
    // The exception object is destroyed by now, so the longjmp below skips nothing.
    PG_exception_stack = saved_stack;
    error_context_stack = saved_context;
    MemoryContextSwitchTo(caller);
    failure.raise(name);
}

} // namespace orchestry::pg

/// Defines an SQL-callable function: ORCHESTRY_FUNCTION(orchestry_x) { return ...; }  with `fcinfo`
/// in scope.
#define ORCHESTRY_FUNCTION(name)                                                                   \
    extern "C" {                                                                                   \
    PGDLLEXPORT Datum name(PG_FUNCTION_ARGS);                                                      \
    PG_FUNCTION_INFO_V1(name);                                                                     \
    }                                                                                              \
    static Datum name##_impl(FunctionCallInfo fcinfo);                                             \
    Datum name(PG_FUNCTION_ARGS) {                                                                 \
        return ::orchestry::pg::enter(#name, [&] { return name##_impl(fcinfo); });                 \
    }                                                                                              \
    static Datum name##_impl([[maybe_unused]] FunctionCallInfo fcinfo)

/// As ORCHESTRY_FUNCTION, for what is called once for each row and cannot afford a guard. The body
/// is C-like: nothing with a destructor, nothing that throws; the server's errors pass through it.
#define ORCHESTRY_PLAIN_FUNCTION(name)                                                             \
    extern "C" {                                                                                   \
    PGDLLEXPORT Datum name(PG_FUNCTION_ARGS);                                                      \
    PG_FUNCTION_INFO_V1(name);                                                                     \
    }                                                                                              \
    Datum name(PG_FUNCTION_ARGS)

/// Defines the main function of a background worker: ORCHESTRY_WORKER(orchestry_x_main) { ... }
/// with `arg`.
#define ORCHESTRY_WORKER(name)                                                                     \
    extern "C" {                                                                                   \
    PGDLLEXPORT void name(Datum arg);                                                              \
    }                                                                                              \
    static void name##_impl(Datum arg);                                                            \
    void name(Datum arg) {                                                                         \
        ::orchestry::pg::enter(#name, [&] { name##_impl(arg); });                                  \
    }                                                                                              \
    static void name##_impl([[maybe_unused]] Datum arg)
