#include "pg/error.hpp"

namespace orchestry::pg {

void throw_captured(MemoryContext caller) {
    // Under TopMemoryContext, because unwinding may delete the caller's context while the exception
    // lives. These two are written between sigsetjmp and a possible jump, hence volatile.
    MemoryContext volatile context = nullptr;
    ErrorData* volatile data = nullptr;
    sigjmp_buf* const saved_stack = PG_exception_stack;
    sigjmp_buf here;
    if (sigsetjmp(here, 0) == 0) {
        PG_exception_stack = &here;
        context = AllocSetContextCreate(TopMemoryContext, "orchestry error", ALLOCSET_SMALL_SIZES);
        MemoryContextSwitchTo(context);
        data = CopyErrorData();
    }
    PG_exception_stack = saved_stack;
    FlushErrorState();
    MemoryContextSwitchTo(caller);
    if (!data) {
        if (context)
            MemoryContextDelete(context);
        throw std::bad_alloc();
    }
    throw PgError(data, context);
}

void check_interrupts() {
    if (INTERRUPTS_PENDING_CONDITION())
        protect([] { CHECK_FOR_INTERRUPTS(); });
    if (IsUnderPostmaster && !PostmasterIsAlive())
        protect([] {
            ereport(FATAL, (errcode(ERRCODE_ADMIN_SHUTDOWN),
                            errmsg("terminating connection because the postmaster is gone")));
        });
}

PgError::~PgError() {
    if (context_)
        MemoryContextDelete(context_);
}

std::string PgError::sqlstate() const {
    std::string state(5, '0');
    int code = data_->sqlerrcode;
    for (char& c : state) {
        c = static_cast<char>(PGUNSIXBIT(code));
        code >>= 6;
    }
    return state;
}

ErrorData* PgError::release() noexcept {
    MemoryContextSetParent(context_, ErrorContext);
    context_ = nullptr;
    return data_;
}

int pack_sqlstate(const char* s) noexcept { return MAKE_SQLSTATE(s[0], s[1], s[2], s[3], s[4]); }

namespace {

Failure describe() {
    try {
        throw;
    } catch (const PgError& e) {
        return {e.sqlstate(), e.message(), e.detail(), e.hint(), e.context()};
    } catch (const base::Error& e) {
        return {e.sqlstate(), e.message(), e.detail(), e.hint(), {}};
    } catch (const std::bad_alloc&) {
        return {"53200", "out of memory", {}, {}, {}};
    } catch (const std::exception& e) {
        return {"XX000", e.what(), {}, {}, {}};
    } catch (...) {
        return {"XX000", "unrecognized exception", {}, {}, {}};
    }
}

} // namespace

Failure describe_current_exception() noexcept {
    try {
        return describe();
    } catch (const std::bad_alloc&) { // short enough for strings without memory
        return {"53200", "out of memory", {}, {}, {}};
    }
}

namespace {

void report_lines(int level, const char* sqlstate, const char* message, const char* detail,
                  const char* hint) {
    protect([&] {
        ereport(level,
                (errcode(pack_sqlstate(sqlstate)), errmsg_internal("%s", message),
                 *detail ? errdetail_internal("%s", detail) : 0, *hint ? errhint("%s", hint) : 0));
    });
}

} // namespace

void raise(const Failure& failure) {
    report_lines(ERROR, failure.sqlstate.c_str(), failure.message.c_str(), failure.detail.c_str(),
                 failure.hint.c_str());
    pg_unreachable();
}

void report(int level, const Failure& failure) {
    report_lines(level, failure.sqlstate.c_str(), failure.message.c_str(), failure.detail.c_str(),
                 failure.hint.c_str());
}

void report(int level, const std::string& message, const std::string& detail,
            const std::string& hint) {
    report_lines(level, level >= WARNING ? "01000" : "00000", message.c_str(), detail.c_str(),
                 hint.c_str());
}

} // namespace orchestry::pg
