#include "pg/scope.hpp"

#include "pg/memory.hpp"

namespace orchestry::pg {

OwnedContext::OwnedContext(const char* name, MemoryContext parent)
    : context_(protect(
          [&] { return AllocSetContextCreateInternal(parent, name, ALLOCSET_DEFAULT_SIZES); })) {}

void Scoped::warn_release_failed() noexcept {
    try {
        report(WARNING, describe_current_exception());
    } catch (...) {
        // Nothing is left to say it with; the transaction's end cleans up.
    }
}

/// The server's own message about a relation that was dropped is an internal error.
Relation OpenRelation::open(Oid relid, LOCKMODE mode) {
    if (!OidIsValid(
            MyDatabaseId)) // then there are only the shared catalogs, and they are always there
        return call<relation_open>(relid, mode);
    const Relation relation = call<try_relation_open>(relid, mode);
    if (!relation)
        throw base::Error(base::errc::undefined_table, "the table with OID " +
                                                           std::to_string(relid) +
                                                           " does not exist any more");
    return relation;
}

void GucLevel::set(const char* name, const char* value) {
    protect([&] {
        set_config_option(name, value, superuser() ? PGC_SUSET : PGC_USERSET, PGC_S_SESSION,
                          GUC_ACTION_SAVE, true, ERROR, false);
    });
}

void fix_formats(GucLevel& guc) {
    guc.set("TimeZone", "UTC");
    guc.set("DateStyle", "ISO, YMD");
    guc.set("IntervalStyle", "postgres");
    guc.set("extra_float_digits", "1");
    guc.set("bytea_output", "hex");
    guc.set("lc_monetary", "C");
}

SecureContext::SecureContext(Oid role, Restriction restriction) {
    GetUserIdAndSecContext(&saved_user_, &saved_context_);
    guc_.set("search_path", "pg_catalog, pg_temp");
    const int context = restriction == Restriction::restricted ? SECURITY_RESTRICTED_OPERATION
                                                               : SECURITY_LOCAL_USERID_CHANGE;
    SetUserIdAndSecContext(role, saved_context_ | context);
}

SecureContext::~SecureContext() { SetUserIdAndSecContext(saved_user_, saved_context_); }

ErrorContextScope::ErrorContextScope(const char* text) noexcept {
    callback_.previous = error_context_stack;
    callback_.callback = [](void* arg) { errcontext("%s", static_cast<const char*>(arg)); };
    callback_.arg = const_cast<char*>(text);
    error_context_stack = &callback_;
}

} // namespace orchestry::pg
