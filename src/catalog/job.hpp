// Typed access to orchestry.job and orchestry.job_state.
//
// Words: a policy is what a user wants to hold for a table; a job is the schedule of one policy; a
// run is one execution of a job; a step is one unit of a run, committed alone.
#pragma once

#include "base/schedule.hpp"
#include "base/time.hpp"
#include "pg/lock.hpp"
#include "pg/spi.hpp"

namespace orchestry::catalog {

struct JobId {
    std::int64_t value = 0;
    auto operator<=>(const JobId&) const = default;
};

/// Since when and until when a job is known to have nothing to do, as long as the partitions of its
/// table stay as they are. The beginning counts as well: a clock that was set back to before it
/// shows times of which nothing is known.
struct Settlement {
    std::int64_t fingerprint = 0; // of the partitions; see fingerprints()
    base::Instant from{0};
    base::Instant until{0};
};

struct Job {
    JobId id;
    std::string kind;
    Oid target = InvalidOid;
    std::string target_name; // qualified and quoted
    Oid owner = InvalidOid;  // of the target, now
    std::string schedule;    // as the user wrote it: interval or cron line; empty: the task knows
    std::string time_zone;   // IANA name: the policy's zone
    base::Instant anchor{0}; // creation; interval schedules keep its phase
    std::int64_t max_runtime_us = 0;
    bool paused = false;
    std::string pause_reason;
    bool restored = false; // made in another system or database: waits for resume_all()
    /// When the clock was right for certain: the job was made, was found to have nothing to do, or
    /// was confirmed.
    base::Instant trusted_at{0};
    // job_state
    std::optional<base::Instant> next_run_at;
    int failures = 0; // in a row
    std::optional<std::int64_t> last_run_id;
    std::string last_state;
    std::optional<Settlement> settlement;
};

/// What a new job consists of, apart from its policy.
struct NewJob {
    std::string kind;
    Oid target = InvalidOid;
    std::string schedule; // empty: the task knows when the job is due
    std::string time_zone;
    base::Span max_runtime{0, 0, base::us_per_hour};
};

/// Keeps the extension from being dropped until the transaction ends. DROP EXTENSION takes this
/// lock first, so whoever has it cannot be caught half-way through our tables, in a deadlock.
/// False: the extension is not installed.
bool lock_extension();

/// The role that owns the extension's tables; reads and writes of them run as it, under
/// lock_extension(). Raises 42704 when the extension is not installed.
class Elevated {
  public:
    Elevated();

  private:
    pg::SecureContext context_;
};

/// The owner of a relation; InvalidOid when it is gone.
Oid owner_of(Oid relid);

/// The role that owns a relation, quoted, when another role may not act for it: code in or on what
/// it owns is not to be run as that other role. Nor is it run as a superuser, unless one owns it or
/// the role is a member of its owner. Empty: it may, or the relation is gone.
std::string stranger(Oid relid, Oid role);

/// Acts as the owner of a table for a scope, so that nothing of the owner's code runs with more
/// rights than the owner has; row security raises instead of hiding rows.
class AsOwner {
  public:
    /// Raises 42P01 when the table is gone.
    explicit AsOwner(Oid relid);

  private:
    pg::SecureContext context_;
};

/// Whether the extension is there, be it that it is being dropped.
bool has_extension();
/// Whether its tables are there as well: not before it is created, and not while it is dropped.
bool is_installed();
/// OID of orchestry.job, the class of jobs' single-flight locks. Raises 42704 when the extension is
/// not installed.
Oid job_table();

/// Single flight: held by the process that runs the job, across its transactions. nullopt: another
/// has it.
std::optional<pg::SessionLock> lock_job(JobId id);

/// Raises 40001 when a table has a job of this kind, which then the transaction's snapshot does not
/// show (REPEATABLE READ): for who has looked for one, holds a lock under which they are made, and
/// is about to make one.
void require_no_newer_job(const char* kind, Oid target);

/// Raises 22023 unless a run may take that long: more than nothing, and 36,500 days at most.
void check_max_runtime(const base::Span& max_runtime);

/// Writes the job and its state; the first run is due at once unless `first_run` says otherwise.
/// Raises 22023 for a max_runtime that is none.
JobId insert_job(const NewJob& job, base::Instant now, base::Instant next_run);
std::optional<Job> find_job(JobId id);
/// "job 3 (rollup), job 5 (rollup)", for messages; those that are gone are left out.
std::string describe_jobs(const std::vector<JobId>& ids);
/// Keeps a job from being started, or lets it be started again.
void set_paused(JobId id, bool paused, const std::optional<std::string>& reason);
/// Removes the job, its policy and its state.
void remove_job(JobId id);
/// As find_job, but raises 42704 when there is none.
Job get_job(JobId id);
/// The jobs whose target is `target` or, when it is InvalidOid, all; ordered by id. Jobs of dropped
/// tables are left out (they are removed by forget_dropped_targets).
std::vector<Job> jobs_of(Oid target);
/// Jobs that satisfy `condition`, SQL of ours over j (job), s (job_state, may be missing), c
/// (pg_class, missing when the table is gone or the job was restored), with `value` as $3; it may
/// end in ORDER BY.
std::vector<Job> select_jobs_where(const std::string& condition, const pg::Param& value);
/// Whether the current user has the rights of `owner`.
bool may_act_for(Oid owner);
/// Raises 42501 unless the current user owns the job's target (or is a member of the owner, or a
/// superuser).
void require_owner(const Job& job);
void require_owner_of(Oid relid);

/// Remembers that a job has nothing to do from `now` until `until`, or for a day when that is
/// later, while the partitions of its table are those of `fingerprint`; or, when that is no time at
/// all, that nothing is known.
void settle(const Job& job, std::int64_t fingerprint, base::Instant now,
            std::optional<base::Instant> until);
/// Whatever was known of the job may be wrong now.
void unsettle(JobId id);

/// Remembers that the clock is right at `now` as far as the job is concerned, because somebody says
/// so or because it has gone on as was to be expected. A later leap of the clock is measured from
/// there.
void confirm(JobId id, base::Instant now);

/// This server's identity, part of a job's origin.
std::int64_t system_identifier();

/// Parses "1 hour" or "0 2 * * *". Raises 22023 or 22007 with a hint. The interval syntax is the
/// server's.
base::Schedule parse_schedule(const std::string& text);
/// First slot strictly after `now`, of a job that has a schedule.
base::Instant next_slot(const Job& job, base::Instant now);

} // namespace orchestry::catalog
