// The wall between PostgreSQL's longjmp and C++ unwinding, seen from C++.
//
// Three laws hold on this side: a longjmp may cross only frames that have nothing to destroy; a C++
// exception may never cross a PostgreSQL frame; nothing raises from inside a catch block. So every
// call into the server that can fail goes through protect() or call(), which turn its ERROR into
// PgError.
#pragma once

#include "pg/postgres.hpp"

namespace orchestry::pg {

/// Takes the pending ERROR off the server's error stack and throws it as PgError, with `caller` as
/// the current memory context again. Throws std::bad_alloc when there is no memory for the copy.
[[noreturn]] void throw_captured(MemoryContext caller);

/// Runs `body`, which must be C-like: no object with a destructor may live in it. An ERROR raised
/// in it arrives as PgError. Costs about 8 ns when nothing goes wrong; a raise costs microseconds.
template <typename F>
auto protect(F&& body) -> decltype(body()) {
    using Result = decltype(body());
    sigjmp_buf* const saved_stack = PG_exception_stack;
    ErrorContextCallback* const saved_context = error_context_stack;
    const MemoryContext caller = CurrentMemoryContext;
    sigjmp_buf here;
    if (sigsetjmp(here, 0) == 0) { // 0: the signal mask is not saved, which would cost two syscalls
        PG_exception_stack = &here;
        if constexpr (std::is_void_v<Result>) {
            body();
            PG_exception_stack = saved_stack;
            error_context_stack = saved_context;
            return;
        } else {
            static_assert(std::is_trivially_copyable_v<Result>,
                          "a guarded call returns plain data: a longjmp runs no destructor");
            auto result = body();
            PG_exception_stack = saved_stack;
            error_context_stack = saved_context;
            return result;
        }
    }
    PG_exception_stack = saved_stack;
    error_context_stack = saved_context;
    throw_captured(caller);
}

/// One server function, guarded: `call<table_open>(relid, AccessShareLock)`.
template <auto Fn, typename... A>
auto call(A... args) {
    static_assert((std::is_trivially_copyable_v<A> && ...));
    return protect([&] { return Fn(args...); });
}

/// CHECK_FOR_INTERRUPTS() for C++ frames. Also ends the process when the postmaster is gone: an
/// orphan would go on writing while the cluster cannot be restarted, and the macro does not look
/// for that.
void check_interrupts();

} // namespace orchestry::pg
