// What launcher, scheduler and worker have in common.
#pragma once

#include "base/time.hpp"
#include "pg/lock.hpp"

namespace orchestry::jobs {

/// Object classes of our session locks in shared catalogs, by part.
enum class ProcessLock : std::uint16_t { launcher = 1, scheduler = 2, first_seat = 16 };

/// The lock that makes a process the only one of its kind: the launcher of the server (database
/// InvalidOid) or of one database, or a database's scheduler.
std::optional<pg::SessionLock> lock_process(ProcessLock kind, Oid database);
/// The seat of one of the database's workers, counted from 0.
std::optional<pg::SessionLock> lock_seat(int seat, Oid database);
/// Pid of the process that holds it; 0: nobody.
int process_holding(ProcessLock kind, Oid database);

/// Signal handlers, then signals on: reload on SIGHUP, an interruptible end on SIGTERM.
void start_process();
/// Overrules what the server, the database or the role has set for its sessions and would keep us
/// from working: read-only transactions, and (17) a limit to how long one may take, which would end
/// the process where a job has its max_runtime. C-like: call it under protect().
void free_from_defaults();
/// Re-reads the configuration after SIGHUP.
void serve_reload();
/// Whether somebody is dropping, renaming or copying the database; then we get out of the way.
bool database_is_wanted_by_ddl(Oid database);
/// Logs when `level` reaches orchestry.log_min_messages.
void log(int level, const std::string& message, const std::string& detail = {},
         const std::string& hint = {});
/// Fills in what all our workers share.
BackgroundWorker describe_process(const char* type, const std::string& name, const char* function);

/// Lets a message through at most once per `interval_us`.
class RateLimit {
  public:
    explicit RateLimit(std::int64_t interval_us) : interval_us_(interval_us) {}
    bool pass(TimestampTz now) {
        if (last_ != 0 && now - last_ < interval_us_)
            return false;
        last_ = now;
        return true;
    }

  private:
    std::int64_t interval_us_;
    TimestampTz last_ = 0;
};

} // namespace orchestry::jobs
