// The launcher: connected to no database, so it is in nobody's way; starts a scheduler where one is
// missing.
#include <algorithm>
#include <map>

#include "catalog/settings.hpp"
#include "jobs/background.hpp"
#include "jobs/processes.hpp"
#include "pg/entry.hpp"
#include "pg/xact.hpp"

namespace orchestry::jobs {

namespace settings = catalog::settings;

namespace {

constexpr const char* launcher_type = "orchestry launcher";
constexpr int restart_after_s = 1;
/// A database whose scheduler has ended at once is looked at again soon, then less and less often.
constexpr std::int64_t probe_base_us = base::us_per_second;
constexpr std::int64_t probe_cap_us = 5 * base::us_per_minute;
/// A scheduler that has lived so long did not end because it was not wanted.
constexpr std::int64_t settled_life_us = 20 * base::us_per_second;
constexpr std::int64_t complaint_interval_us = 5 * base::us_per_minute;

volatile sig_atomic_t woken = 0;
volatile sig_atomic_t stopped = 0;

/// Runs in signal context.
void on_wake(int) {
    const int saved_errno = errno;
    woken = 1;
    SetLatch(MyLatch);
    errno = saved_errno;
}

/// Runs in signal context: a database's own launcher ends for good when it is told to.
void on_stop(int) {
    const int saved_errno = errno;
    stopped = 1;
    SetLatch(MyLatch);
    errno = saved_errno;
}

struct Database {
    Oid oid;
    std::string name;
};

/// The databases that can be connected to, of which `only` may choose one.
std::vector<Database> connectable_databases(Oid only) {
    std::vector<Database> databases;
    // Not pg::OpenRelation: that looks into pg_class, which a process without a database cannot
    // read.
    const Relation catalog =
        pg::call<table_open>(Oid{DatabaseRelationId}, LOCKMODE{AccessShareLock});
    const SysScanDesc scan = pg::protect(
        [&] { return systable_beginscan(catalog, InvalidOid, false, nullptr, 0, nullptr); });
    while (const HeapTuple tuple = pg::protect([&] { return systable_getnext(scan); })) {
        const auto* const form = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple));
        // What an interrupted DROP DATABASE leaves can only be dropped.
        if (form->datallowconn && !form->datistemplate &&
            form->datconnlimit != DATCONNLIMIT_INVALID_DB &&
            (only == InvalidOid || form->oid == only))
            databases.push_back({form->oid, NameStr(form->datname)});
    }
    pg::protect([&] {
        systable_endscan(scan);
        table_close(catalog, AccessShareLock);
    });
    return databases;
}

/// Whether orchestry.databases names the database.
bool is_listed(const std::string& name) {
    const std::string_view list = settings::databases ? settings::databases : "*";
    std::size_t start = 0;
    while (start <= list.size()) {
        std::size_t end = list.find(',', start);
        if (end == std::string_view::npos)
            end = list.size();
        std::string_view item = list.substr(start, end - start);
        while (!item.empty() && item.front() == ' ')
            item.remove_prefix(1);
        while (!item.empty() && item.back() == ' ')
            item.remove_suffix(1);
        if (item == "*" || item == name)
            return true;
        start = end + 1;
    }
    return false;
}

class Launcher {
  public:
    /// `only`: serve this one database; InvalidOid: all.
    explicit Launcher(Oid only) : only_(only) {}
    void run();

  private:
    struct Watch {
        BackgroundWorkerHandle* handle = nullptr;
        TimestampTz started = 0;
        TimestampTz next_probe = 0;
        std::int64_t pause_us = 0;
    };
    bool tick();
    bool is_running(Watch& watch, TimestampTz now) const;
    bool start_scheduler(const Database& database, Watch& watch);
    std::int64_t sleep_time(TimestampTz now) const;

    Oid only_;
    pg::WorkerSession session_;
    std::map<Oid, Watch> watches_;
    RateLimit slots_complaint_{complaint_interval_us};
};

/// Also decides, when a scheduler has ended, how soon to try again.
bool Launcher::is_running(Watch& watch, TimestampTz now) const {
    if (!watch.handle)
        return false;
    pid_t pid = 0;
    if (pg::protect([&] { return GetBackgroundWorkerPid(watch.handle, &pid); }) != BGWH_STOPPED)
        return true;
    pfree(watch.handle);
    watch.handle = nullptr;
    const bool short_lived = now - watch.started < settled_life_us;
    watch.pause_us =
        short_lived ? std::clamp(2 * watch.pause_us, probe_base_us, probe_cap_us) : probe_base_us;
    watch.next_probe = now + watch.pause_us;
    return false;
}

bool Launcher::start_scheduler(const Database& database, Watch& watch) {
    BackgroundWorker worker =
        describe_process("orchestry scheduler", "orchestry scheduler for " + database.name,
                         "orchestry_scheduler_main");
    worker.bgw_main_arg = ObjectIdGetDatum(database.oid);
    worker.bgw_notify_pid = MyProcPid;
    return pg::protect([&] {
        const MemoryContext previous = MemoryContextSwitchTo(TopMemoryContext);
        const bool ok = RegisterDynamicBackgroundWorker(&worker, &watch.handle);
        MemoryContextSwitchTo(previous);
        return ok;
    });
}

/// False: the one database that this launcher serves is gone.
bool Launcher::tick() {
    const TimestampTz now = GetCurrentTimestamp();
    if (woken) { // CREATE EXTENSION somewhere, not yet committed perhaps: look everywhere, soon and
                 // again
        woken = 0;
        for (auto& [oid, watch] : watches_)
            watch.pause_us = watch.next_probe = 0;
    }
    const std::vector<Database> databases = connectable_databases(only_);
    std::erase_if(watches_, [&](const auto& entry) {
        return !entry.second.handle &&
               std::none_of(databases.begin(), databases.end(),
                            [&](const Database& d) { return d.oid == entry.first; });
    });
    for (const Database& database : databases) {
        Watch& watch = watches_[database.oid];
        watch.next_probe = std::min(watch.next_probe, now + probe_cap_us); // the clock was ahead
        const bool running = is_running(watch, now);
        if (only_ == InvalidOid && !is_listed(database.name)) {
            if (running)
                pg::protect([&] { TerminateBackgroundWorker(watch.handle); });
            continue;
        }
        if (running || now < watch.next_probe || database_is_wanted_by_ddl(database.oid))
            continue;
        if (!lock_process(ProcessLock::scheduler,
                          database.oid)) { // started by a launcher before us
            watch.next_probe = now + probe_base_us;
            continue;
        }
        if (!start_scheduler(database, watch)) {
            watch.handle = nullptr;
            if (slots_complaint_.pass(now))
                log(WARNING, "orchestry scheduler cannot start: no background worker slot is free",
                    {}, "Raise max_worker_processes.");
            break;
        }
        watch.started = now;
    }
    return only_ == InvalidOid || !databases.empty();
}

void Launcher::run() {
    for (;;) {
        serve_reload();
        pg::check_interrupts();
        if (stopped)
            return;
        session_.ensure_snapshot();
        const bool serving = !settings::enabled || tick();
        session_.commit();
        if (!serving)
            return;
        session_.suspend();
        pg::wait(sleep_time(GetCurrentTimestamp()), pg::WaitFor::work);
        session_.resume();
    }
}

/// Until the next database is to be looked at, at most naptime: that is how a new database is
/// found.
std::int64_t Launcher::sleep_time(TimestampTz now) const {
    std::int64_t pause = std::int64_t{settings::naptime_s} * base::us_per_second;
    for (const auto& [oid, watch] : watches_)
        if (!watch.handle && watch.next_probe > now)
            pause = std::min(pause, watch.next_probe - now);
    return pause;
}

} // namespace

ORCHESTRY_WORKER(orchestry_launcher_main) {
    const Oid only = DatumGetObjectId(arg);
    pqsignal(SIGUSR2, on_wake);
    pqsignal(SIGINT, SIG_IGN); // nothing here is a query to cancel
    start_process();
    if (only != InvalidOid)
        pqsignal(SIGTERM, on_stop);
    pg::protect([] {
        BackgroundWorkerInitializeConnectionByOid(InvalidOid, InvalidOid, 0);
        SetConfigOption("application_name", launcher_type, PGC_USERSET, PGC_S_SESSION);
    });
    const std::optional<pg::SessionLock> only_one = lock_process(ProcessLock::launcher, only);
    if (!only_one)
        return; // exit code 0: not started again
    log(DEBUG1, "orchestry launcher started");
    Launcher launcher(only);
    launcher.run();
}

namespace {

BackgroundWorker describe_launcher(Oid only) {
    BackgroundWorker worker =
        describe_process(launcher_type, launcher_type, "orchestry_launcher_main");
    worker.bgw_restart_time = restart_after_s;
    worker.bgw_main_arg = ObjectIdGetDatum(only);
    return worker;
}

} // namespace

void register_launcher() {
    BackgroundWorker worker = describe_launcher(InvalidOid);
    pg::protect([&] { RegisterBackgroundWorker(&worker); });
}

/// How long stop_scheduler() waits for the processes to end: 5 s.
constexpr std::int64_t stop_poll_us = base::us_per_second / 50;
constexpr int max_stop_polls = 250;

int scheduler_pid() { return process_holding(ProcessLock::scheduler, MyDatabaseId); }

bool start_scheduler() {
    if (scheduler_pid() != 0 || process_holding(ProcessLock::launcher, MyDatabaseId) != 0)
        return false;
    if (process_holding(ProcessLock::launcher, InvalidOid) != 0) {
        wake_launcher();
        return true;
    }
    BackgroundWorker worker = describe_launcher(MyDatabaseId);
    if (!pg::protect([&] { return RegisterDynamicBackgroundWorker(&worker, nullptr); }))
        throw base::Error("53400", "no background worker slot is free")
            .hint("Raise max_worker_processes, or run CALL orchestry.run_due() from outside.");
    return true;
}

bool stop_scheduler() {
    const int launcher = process_holding(ProcessLock::launcher, MyDatabaseId);
    const int scheduler = scheduler_pid();
    if (launcher != 0)
        kill(launcher, SIGTERM);
    if (scheduler != 0)
        kill(scheduler, SIGTERM);
    // So that start_scheduler() right after this does not take the ending ones for running.
    for (int polls = 0; polls < max_stop_polls; ++polls) {
        if (process_holding(ProcessLock::launcher, MyDatabaseId) != launcher || launcher == 0)
            if (scheduler_pid() != scheduler || scheduler == 0)
                break;
        pg::wait(stop_poll_us, pg::WaitFor::work);
    }
    return scheduler != 0;
}

void wake_launcher() {
    if (const int launcher = process_holding(ProcessLock::launcher, InvalidOid))
        kill(launcher, SIGUSR2);
}

} // namespace orchestry::jobs
