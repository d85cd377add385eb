#include "pg/fault.hpp"

#ifdef ORCHESTRY_FAULT_POINTS

#include "pg/guard.hpp"

namespace orchestry::pg {

namespace {

int fault_at = 0; // 0: never
int fault_level = ERROR;
char* fault_in = nullptr;
char* fault_wait = nullptr;
bool is_wrong_order = false;
int passed = 0;

const config_enum_entry levels[] = {
    {"error", ERROR, false}, {"fatal", FATAL, false}, {nullptr, 0, false}};

/// C-like. How long a test stops us must not matter, so lock_timeout, which bounds what is done
/// around here, does not bound this.
void wait_for_test() {
    const int timeout = LockTimeout;
    LockTimeout = 0;
    PG_TRY();
    {
        (void)DirectFunctionCall1(pg_advisory_xact_lock_int8, Int64GetDatum(1));
    }
    PG_FINALLY();
    {
        LockTimeout = timeout;
    }
    PG_END_TRY();
}

/// C-like.
void pass(const char* name) {
    if (std::strcmp(name, fault_wait) == 0)
        wait_for_test();
    const char* const process = MyBgworkerEntry ? MyBgworkerEntry->bgw_type : "";
    if (fault_at == 0 || std::strcmp(process, fault_in) != 0 || ++passed != fault_at)
        return;
    ereport(LOG, errmsg("fault point %d is \"%s\"", fault_at,
                        name)); // the error itself may be dealt with quietly
    ereport(fault_level, (errcode(MAKE_SQLSTATE('X', 'X', 'F', '0', '1')),
                          errmsg("injected fault at \"%s\"", name)));
}

void on_commit(XactEvent event, void*) {
    if (event == XACT_EVENT_PRE_COMMIT)
        pass("commit");
}

} // namespace

void fault_point(const char* name) {
    protect([&] { pass(name); });
}

bool wrong_order() { return is_wrong_order; }

void define_fault_points() {
    protect([] {
        DefineCustomIntVariable(
            "orchestry.fault_at", "The point at which to fail.", "0: none.", &fault_at, 0, 0,
            INT_MAX, PGC_SUSET, 0, nullptr, [](int, void*) { passed = 0; }, nullptr);
        DefineCustomEnumVariable("orchestry.fault_level", "How to fail.", nullptr, &fault_level,
                                 ERROR, levels, PGC_SUSET, 0, nullptr, nullptr, nullptr);
        DefineCustomStringVariable(
            "orchestry.fault_in", "The bgw_type of the processes in which to fail.",
            "Empty: sessions.", &fault_in, "", PGC_SUSET, 0, nullptr, nullptr, nullptr);
        DefineCustomStringVariable("orchestry.fault_wait", "The point at which to wait.",
                                   "Until the advisory lock 1 is free.", &fault_wait, "", PGC_SUSET,
                                   0, nullptr, nullptr, nullptr);
        DefineCustomBoolVariable("orchestry.fault_wrong_order",
                                 "Whether rollups read rows before they consume marks.", nullptr,
                                 &is_wrong_order, false, PGC_SUSET, 0, nullptr, nullptr, nullptr);
        RegisterXactCallback(on_commit, nullptr);
    });
}

} // namespace orchestry::pg

#endif
