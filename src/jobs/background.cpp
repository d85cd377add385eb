#include "jobs/background.hpp"

#include "catalog/settings.hpp"
#include "pg/spi.hpp"

namespace orchestry::jobs {

std::optional<pg::SessionLock> lock_process(ProcessLock kind, Oid database) {
    return pg::SessionLock::try_acquire(InvalidOid, DatabaseRelationId, database,
                                        static_cast<std::uint16_t>(kind));
}

std::optional<pg::SessionLock> lock_seat(int seat, Oid database) {
    return pg::SessionLock::try_acquire(
        InvalidOid, DatabaseRelationId, database,
        static_cast<std::uint16_t>(static_cast<int>(ProcessLock::first_seat) + seat));
}

int process_holding(ProcessLock kind, Oid database) {
    pg::Spi spi;
    spi.run(
        "SELECT l.pid FROM pg_catalog.pg_locks l WHERE l.locktype OPERATOR(pg_catalog.=) 'object' "
        "AND l.database OPERATOR(pg_catalog.=) 0::pg_catalog.oid AND l.classid "
        "OPERATOR(pg_catalog.=) $1 "
        "AND l.objid OPERATOR(pg_catalog.=) $2 AND l.objsubid OPERATOR(pg_catalog.=) $3 "
        "AND l.granted AND l.mode OPERATOR(pg_catalog.=) 'ExclusiveLock'",
        Oid{DatabaseRelationId}, database,
        pg::Param{INT2OID, Int16GetDatum(static_cast<std::int16_t>(kind))});
    return spi.rows() == 0 ? 0 : spi.row(0).integer(1);
}

void start_process() {
    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    pqsignal(SIGTERM, die);
    pg::call<BackgroundWorkerUnblockSignals>();
}

void free_from_defaults() {
    SetConfigOption("default_transaction_read_only", "off", PGC_USERSET, PGC_S_SESSION);
    if (GetConfigOption("transaction_timeout", true, false))
        SetConfigOption("transaction_timeout", "0", PGC_USERSET, PGC_S_SESSION);
}

void serve_reload() {
    if (!ConfigReloadPending)
        return;
    ConfigReloadPending = false;
    pg::protect([] { ProcessConfigFile(PGC_SIGHUP); });
}

bool database_is_wanted_by_ddl(Oid database) {
    return pg::protect([&] {
        LOCKTAG tag;
        SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, database, 0);
        // What DROP, RENAME and CREATE ... TEMPLATE hold conflicts with what a connecting session
        // takes.
        if (LockAcquire(&tag, RowExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
            return true;
        LockRelease(&tag, RowExclusiveLock, false);
        return false;
    });
}

void log(int level, const std::string& message, const std::string& detail,
         const std::string& hint) {
    const auto rank = [](int l) {
        return l == LOG ? ERROR + 1 : l;
    }; // as the server orders its log
    if (rank(level) >= rank(catalog::settings::log_min_messages))
        pg::report(level, message, detail, hint);
}

BackgroundWorker describe_process(const char* type, const std::string& name, const char* function) {
    BackgroundWorker worker{};
    worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
    worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
    worker.bgw_restart_time = BGW_NEVER_RESTART;
    strlcpy(worker.bgw_library_name, "orchestry_ext", sizeof worker.bgw_library_name);
    strlcpy(worker.bgw_function_name, function, sizeof worker.bgw_function_name);
    strlcpy(worker.bgw_type, type, sizeof worker.bgw_type);
    strlcpy(worker.bgw_name, name.c_str(), sizeof worker.bgw_name);
    return worker;
}

} // namespace orchestry::jobs
