#include "pg/entry.hpp"

namespace orchestry::pg {

namespace {

/// Copies into ErrorContext, whose reserve exists for just this; falls back to a literal.
const char* copy_for_report(const char* text) noexcept {
    if (!text || !*text)
        return nullptr;
    const std::size_t size = std::strlen(text) + 1;
    void* copy = MemoryContextAllocExtended(ErrorContext, size, MCXT_ALLOC_NO_OOM);
    return copy ? static_cast<const char*>(std::memcpy(copy, text, size)) : "out of memory";
}

} // namespace

void Report::set(int sqlerrcode, const char* message, const char* detail,
                 const char* hint) noexcept {
    sqlerrcode_ = sqlerrcode;
    message_ = copy_for_report(message);
    detail_ = copy_for_report(detail);
    hint_ = copy_for_report(hint);
}

void Report::capture() noexcept {
    try {
        throw;
    } catch (PgError& e) {
        data_ = e.release();
    } catch (const base::Error& e) {
        set(pack_sqlstate(e.sqlstate()), e.message().c_str(), e.detail().c_str(), e.hint().c_str());
    } catch (const std::bad_alloc&) {
        set(ERRCODE_OUT_OF_MEMORY, "out of memory", nullptr, nullptr);
    } catch (const std::exception& e) {
        set(ERRCODE_INTERNAL_ERROR, e.what(), nullptr, nullptr);
    } catch (...) {
        set(ERRCODE_INTERNAL_ERROR, "unrecognized exception", nullptr, nullptr);
    }
}

void Report::raise(const char* name) const {
    if (data_)
        ReThrowError(data_);
    ereport(
        ERROR,
        (errcode(sqlerrcode_), errmsg_internal("%s", message_ ? message_ : "unknown error"),
         detail_ ? errdetail_internal("%s", detail_) : 0, hint_ ? errhint("%s", hint_) : 0,
         sqlerrcode_ == ERRCODE_INTERNAL_ERROR ? errcontext("orchestry function %s", name) : 0));
    pg_unreachable();
}

} // namespace orchestry::pg
