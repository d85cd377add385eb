// SQL entry points of jobs, runs and the scheduler: decode, call, encode.
#include <algorithm>

#include "api/args.hpp"
#include "api/jobs.hpp"
#include "capture/capture.hpp"
#include "catalog/columns.hpp"
#include "catalog/hold.hpp"
#include "catalog/look.hpp"
#include "catalog/quarantine.hpp"
#include "catalog/settings.hpp"
#include "jobs/processes.hpp"
#include "jobs/runner.hpp"
#include "pg/progress.hpp"

namespace orchestry::api {

namespace settings = catalog::settings;
using catalog::Job;
using catalog::JobId;
using catalog::RunState;

namespace {

void require_enabled() {
    if (RecoveryInProgress())
        throw base::Error("25006", "jobs cannot be run on a standby")
            .hint("They run on the primary, and here after promotion.");
    if (!settings::enabled)
        throw base::Error(base::errc::not_prerequisite_state, "orchestry.enabled is off")
            .hint("Run ALTER SYSTEM SET orchestry.enabled = on; SELECT pg_reload_conf();");
}

void require_not_paused(const Job& job) {
    if (job.paused)
        throw base::Error(base::errc::not_prerequisite_state,
                          "job " + std::to_string(job.id.value) + " is paused")
            .hint("Run SELECT orchestry.resume_job(" + std::to_string(job.id.value) + ");");
}

/// Workers act with all the rights of their role, so nothing restricted may start one.
void require_unrestricted(const char* function) {
    if (InSecurityRestrictedOperation())
        throw base::Error(base::errc::insufficient_privilege,
                          std::string("orchestry.") + function +
                              "() cannot be called within a security-restricted operation");
}

/// The jobs of the target, or all that the caller may run when there is none.
std::vector<Job> runnable_jobs(std::optional<Oid> target_or_all) {
    const Oid target = target_or_all.value_or(InvalidOid);
    if (target_or_all) // before anything is read: 0 is a regclass too, and does not mean "all"
        catalog::require_owner_of(target);
    std::vector<Job> jobs = catalog::jobs_of(target);
    if (!target_or_all) {
        std::erase_if(jobs, [](const Job& job) { return !catalog::may_act_for(job.owner); });
        return jobs;
    }
    if (jobs.empty())
        throw base::Error(base::errc::undefined_object,
                          "table " + pg::relation_name(target).value_or("?") + " has no policy")
            .hint("Give it one first, for example SELECT orchestry.add_partition_policy('" +
                  pg::relation_name(target).value_or("?") + "', every => '1 month');");
    return jobs;
}

/// Tells the caller of CALL what failed: one failure as it was, several as a summary after a
/// WARNING each.
void raise_failures(const std::vector<jobs::Outcome>& outcomes) {
    std::vector<const jobs::Outcome*> failed;
    for (const jobs::Outcome& outcome : outcomes)
        if (outcome.state == RunState::failed || outcome.state == RunState::timeout)
            failed.push_back(&outcome);
    if (failed.empty())
        return;
    if (failed.size() == 1)
        pg::raise(failed.front()->failure);
    for (const jobs::Outcome* outcome : failed) {
        pg::Failure failure = outcome->failure;
        failure.message = outcome->target_name + ": " + failure.message;
        pg::report(WARNING, failure);
    }
    throw base::Error(base::errc::not_prerequisite_state, std::to_string(failed.size()) + " of " +
                                                              std::to_string(outcomes.size()) +
                                                              " jobs failed")
        .hint("See SELECT * FROM orchestry.runs WHERE state IN ('failed', 'timeout') ORDER BY "
              "run_id DESC;");
}

/// A step's jsonb-free row of plan(), in the order of the function's columns.
void add_plan(ResultSet& rows, std::int32_t& seq, const Job& job, base::Instant as_of) {
    for (const jobs::Step& step : jobs::plan_job(job, as_of))
        rows.add(++seq, job.id.value, pg::Param{REGCLASSOID, ObjectIdGetDatum(job.target)},
                 step.action, step.object, text_or_null(step.reason), text_or_null(step.sql),
                 text_or_null(step.locks), step.rows_estimate, step.bytes, step.destructive,
                 text_or_null(step.blocked_by));
}

/// The run's row, for functions that act on one. Raises 42704.
struct RunRow {
    std::optional<JobId> job;
    Oid owner;
    std::string state;
    int pid; // 0: not running, or its process is gone
};

RunRow get_run(std::int64_t run_id) {
    catalog::Elevated elevated;
    pg::Spi spi;
    spi.run("SELECT r.job_id, r.owner, r.state, COALESCE((SELECT a.pid FROM "
            "pg_catalog.pg_stat_get_activity(r.pid) a "
            "WHERE a.backend_start OPERATOR(pg_catalog.=) r.backend_start), 0) "
            "FROM orchestry.run r WHERE r.run_id OPERATOR(pg_catalog.=) $1 FOR UPDATE OF r",
            run_id);
    if (spi.rows() == 0)
        throw base::Error(base::errc::undefined_object,
                          "run " + std::to_string(run_id) + " does not exist")
            .hint("See SELECT run_id, state FROM orchestry.runs;");
    const pg::Row row = spi.row(0);
    RunRow run{std::nullopt, row.oid(2), row.text(3), row.integer(4)};
    if (!row.is_null(1))
        run.job = JobId{row.bigint(1)};
    return run;
}

/// How many workers this transaction has started. They wait for its end, and it may not see them:
/// what it once saw of other processes stays.
int& started_workers() {
    static constinit TransactionId transaction = InvalidTransactionId;
    static constinit int started = 0;
    if (const TransactionId current = pg::call<GetTopTransactionId>(); transaction != current) {
        transaction = current;
        started = 0;
    }
    return started;
}

/// Hands a queued run to a worker; without a free slot it waits, visibly.
void start_worker_for(catalog::RunId run, Oid owner) {
    const jobs::WorkerOrder order{.database = MyDatabaseId,
                                  .owner = owner,
                                  .run_id = run.value,
                                  .after = pg::call<GetTopTransactionId>(),
                                  .owner_can_login = jobs::can_connect(owner)};
    if (jobs::count_workers() + started_workers() < settings::max_workers &&
        jobs::start_worker(order, 0)) {
        ++started_workers();
        return;
    }
    catalog::mark_waiting("no background worker slot is free", run);
    pg::report(
        NOTICE, "run " + std::to_string(run.value) + " waits for a background worker slot", {},
        "The scheduler starts it as soon as there is one; CALL orchestry.run_due() does so now.");
}

/// Makes a restored job belong here: its table is found again by name. False: there is no such
/// table.
bool confirm_restored(const Job& job) {
    catalog::Elevated elevated;
    pg::Spi spi;
    if (spi.run(
            "UPDATE orchestry.job j SET target = c.oid, origin_system = $2, origin_database = $3 "
            "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid "
            "OPERATOR(pg_catalog.=) c.relnamespace "
            "WHERE j.job_id OPERATOR(pg_catalog.=) $1 AND c.relname OPERATOR(pg_catalog.=) "
            "j.target_name "
            "AND n.nspname OPERATOR(pg_catalog.=) j.target_schema",
            job.id.value, catalog::system_identifier(), MyDatabaseId) == 0)
        return false;
    spi.run_kept("UPDATE orchestry.retention_policy p SET column_numbers = " +
                     catalog::numbers_of_columns_sql("j.target", "p.column_names") +
                     " FROM orchestry.job j WHERE j.job_id OPERATOR(pg_catalog.=) $1 "
                     "AND p.job_id OPERATOR(pg_catalog.=) j.job_id",
                 job.id.value);
    catalog::set_next_run(job.id,
                          settings::now()); // the state that makes it a job of this database
    return true;
}

/// Due at once, with nothing remembered from elsewhere.
void make_due(JobId id) {
    catalog::unsettle(id);
    catalog::set_next_run(id, settings::now());
}

/// Due at once, on somebody's word that the job may run here and now.
void resume(JobId id) {
    make_due(id);
    catalog::confirm(id, settings::now());
    catalog::reconcile_holds();
    catalog::reconcile_quarantined();
}

Job owned_job(const Args& args) {
    Job job = catalog::get_job({args.bigint(0, "job_id")});
    catalog::require_owner(job);
    return job;
}

constexpr const char* cron_job_name = "orchestry run_due";

/// Raises unless pg_cron is installed in this database.
void require_pg_cron() {
    pg::Spi spi;
    if (spi.run("SELECT FROM pg_catalog.pg_extension e WHERE e.extname OPERATOR(pg_catalog.=) "
                "'pg_cron'") == 0)
        throw base::Error(base::errc::not_prerequisite_state,
                          "pg_cron is not installed in this database")
            .detail("pg_cron keeps its jobs in one database of the server, which its setting "
                    "cron.database_name names.")
            .hint("In that database, run SELECT cron.schedule_in_database('" +
                  std::string(cron_job_name) + "', '* * * * *', 'CALL orchestry.run_due()', " +
                  pg::quote_literal(pg::protect([] { return get_database_name(MyDatabaseId); })) +
                  ");");
}

} // namespace

void run_one_job(pg::Session& session, const catalog::Job& job,
                 const std::function<void(const pg::Failure&)>& failed) {
    require_enabled();
    require_not_paused(job);
    jobs::reconcile_runs();
    session.commit();
    const jobs::Outcome outcome = jobs::run_job(session, job.id, catalog::Trigger::manual);
    if (outcome.state == RunState::skipped)
        pg::report(NOTICE, "job " + std::to_string(job.id.value) +
                               " was skipped: " + outcome.failure.message);
    if (outcome.state == RunState::failed && failed)
        failed(outcome.failure);
    raise_failures({outcome});
}

catalog::RunId start_one_job(const Job& job, const char* function) {
    require_unrestricted(function);
    require_enabled();
    require_not_paused(job);
    const catalog::RunId run = catalog::queue_run(job, catalog::Trigger::manual);
    start_worker_for(run, job.owner);
    return run;
}

ORCHESTRY_FUNCTION(orchestry_plan) {
    const Args args(fcinfo, "plan");
    const std::optional<Oid> target = args.optional_relation(0);
    base::Instant as_of = args.instant(1, "as_of");
    if (as_of.us == GetCurrentTransactionStartTimestamp())
        as_of = settings::now(); // the default now(), which a test may have set
    ResultSet rows(fcinfo);
    std::int32_t seq = 0;
    for (const Job& job : runnable_jobs(target))
        add_plan(rows, seq, job, as_of);
    return Datum{0};
}

ORCHESTRY_FUNCTION(orchestry_run) {
    const Args args(fcinfo, "run");
    pg::ProcedureSession session(fcinfo, "run");
    require_enabled();
    session.ensure_snapshot();
    const std::optional<Oid> target = args.optional_relation(0);
    std::vector<Job> jobs = runnable_jobs(target);
    jobs::reconcile_runs();
    std::erase_if(jobs, [&](const Job& job) {
        if (job.paused && target)
            pg::report(NOTICE, "job " + std::to_string(job.id.value) + " is paused, skipping", {},
                       "Run SELECT orchestry.resume_job(" + std::to_string(job.id.value) + ");");
        return job.paused;
    });
    raise_failures(jobs::run_jobs(session, std::move(jobs), catalog::Trigger::manual));
    return Datum{0};
}

ORCHESTRY_FUNCTION(orchestry_run_job) {
    const Args args(fcinfo, "run_job");
    pg::ProcedureSession session(fcinfo, "run_job");
    session.ensure_snapshot();
    run_one_job(session, owned_job(args));
    return Datum{0};
}

ORCHESTRY_FUNCTION(orchestry_run_due) {
    pg::ProcedureSession session(fcinfo, "run_due");
    require_enabled();
    session.ensure_snapshot();
    capture::retire_dropped();
    session.commit(); // nobody is to wait for the tables that it has locked
    session.ensure_snapshot();
    catalog::reconcile_targets();
    jobs::reconcile_runs();
    std::vector<Job> due = catalog::due_jobs(settings::now());
    std::erase_if(due, [](const Job& job) { return !catalog::may_act_for(job.owner); });
    std::vector<catalog::OwnerQueue> queues = catalog::queued_owners();
    session.commit();
    std::vector<jobs::Outcome> outcomes;
    // What waits for a worker slot need not wait for it here.
    for (const catalog::OwnerQueue& queue : queues) {
        if (!catalog::may_act_for(queue.owner))
            continue;
        for (;;) {
            pg::check_interrupts();
            session.ensure_snapshot();
            const auto run = catalog::claim_job_run(queue.owner);
            if (!run)
                break;
            outcomes.push_back(
                jobs::run_job(session, *run->job, catalog::Trigger::schedule, run->id));
        }
    }
    std::vector<jobs::Outcome> more =
        jobs::run_jobs(session, std::move(due), catalog::Trigger::schedule);
    outcomes.insert(outcomes.end(), more.begin(), more.end());
    session.ensure_snapshot();
    catalog::trim_history();
    session.commit();
    raise_failures(outcomes);
    return Datum{0};
}

ORCHESTRY_FUNCTION(orchestry_start_job) {
    const Args args(fcinfo, "start_job");
    return Int64GetDatum(start_one_job(owned_job(args), "start_job").value);
}

ORCHESTRY_FUNCTION(orchestry_run_in_background) {
    const Args args(fcinfo, "run_in_background");
    require_unrestricted("run_in_background");
    require_enabled();
    const catalog::RunId run = catalog::queue_statement(args.text(0, "sql"));
    start_worker_for(run, GetUserId());
    return Int64GetDatum(run.value);
}

ORCHESTRY_FUNCTION(orchestry_cancel_run) {
    const Args args(fcinfo, "cancel_run");
    const std::int64_t run_id = args.bigint(0, "run_id");
    const RunRow run = get_run(run_id);
    if (!catalog::may_act_for(run.owner))
        throw base::Error(base::errc::insufficient_privilege,
                          "must be owner of the table of run " + std::to_string(run_id));
    catalog::Elevated elevated;
    pg::Spi spi;
    const std::string user =
        pg::protect([] { return GetUserNameFromId(GetSessionUserId(), true); });
    if (run.state == "queued" || run.state == "waiting") {
        spi.run("UPDATE orchestry.run SET state = 'failed', finished_at = $2, sqlstate = '57014', "
                "cancel_by = $3, "
                "message = 'canceled before it started' WHERE run_id OPERATOR(pg_catalog.=) $1",
                run_id, settings::now(), user);
        return BoolGetDatum(true);
    }
    if (run.state != "running" || run.pid == 0)
        return BoolGetDatum(false);
    spi.run("UPDATE orchestry.run SET cancel_by = $2 WHERE run_id OPERATOR(pg_catalog.=) $1",
            run_id, user);
    return BoolGetDatum(kill(run.pid, SIGINT) == 0);
}

ORCHESTRY_FUNCTION(orchestry_pause_job) {
    const Args args(fcinfo, "pause_job");
    catalog::set_paused(owned_job(args).id, true, args.optional_text(1));
    return Datum{0};
}

ORCHESTRY_FUNCTION(orchestry_resume_job) {
    const Args args(fcinfo, "resume_job");
    Job job = catalog::get_job({args.bigint(0, "job_id")});
    if (job.restored) {
        if (!confirm_restored(job))
            throw base::Error("42P01", "table " + job.target_name + " of job " +
                                           std::to_string(job.id.value) + " does not exist")
                .hint(std::string(superuser() ? "Run" : "Ask a superuser to run") +
                      " SELECT orchestry.remove_policy(" + std::to_string(job.id.value) + ");");
        job = catalog::get_job(job.id);
    }
    catalog::require_owner(job); // an error here undoes the above
    catalog::set_paused(job.id, false, std::nullopt);
    resume(job.id);
    return Datum{0};
}

ORCHESTRY_FUNCTION(orchestry_resume_all) {
    const Args args(fcinfo, "resume_all");
    const bool include_paused = args.boolean(0, "include_paused");
    std::int64_t resumed = 0;
    for (Job job : catalog::select_jobs_where("$3 ORDER BY j.job_id", pg::param(true))) {
        if (job.restored) {
            const auto failure = pg::in_subtransaction([&] {
                if (!confirm_restored(job))
                    throw base::Error("42P01", "table " + job.target_name + " does not exist");
                catalog::require_owner(catalog::get_job(job.id));
            });
            if (failure) {
                if (!failure->is(base::errc::insufficient_privilege)) // other people's jobs are not
                                                                      // the caller's business
                    pg::report(WARNING, "job " + std::to_string(job.id.value) +
                                            " stays as it is: " + failure->message);
                continue;
            }
        } else if (!job.paused || !include_paused || !catalog::may_act_for(job.owner)) {
            continue;
        }
        if (include_paused)
            catalog::set_paused(job.id, false, std::nullopt);
        resume(job.id);
        ++resumed;
    }
    return Int64GetDatum(resumed);
}

ORCHESTRY_FUNCTION(orchestry_alter_policy) {
    const Args args(fcinfo, "alter_policy");
    const Job job = catalog::get_job({args.bigint(0, "job_id")});
    if (job.restored) // its table is not known yet, and a state would make it one of this database
        throw base::Error(base::errc::not_prerequisite_state,
                          "job " + std::to_string(job.id.value) +
                              " was restored from another database")
            .hint("Run SELECT orchestry.resume_job(" + std::to_string(job.id.value) + "); first.");
    catalog::require_owner(job);
    const pg::Param settings_json{JSONBOID, args.datum(1, "settings")};
    std::string schedule, rest;
    std::optional<base::Span> max_runtime;
    bool by_deadline = false;
    {
        pg::Spi spi;
        spi.run("SELECT pg_catalog.jsonb_typeof($1)", settings_json);
        if (spi.row(0).text(1) != "object")
            throw base::Error(base::errc::invalid_parameter, "settings must be a JSON object")
                .hint("For example SELECT orchestry.alter_policy(1, '{\"schedule\": \"15 "
                      "minutes\"}');");
        spi.run("SELECT $1 OPERATOR(pg_catalog.->>) 'schedule', "
                "($1 OPERATOR(pg_catalog.->>) 'max_runtime')::pg_catalog.interval, "
                "($1 OPERATOR(pg_catalog.-) 'schedule' OPERATOR(pg_catalog.-) "
                "'max_runtime')::pg_catalog.text, "
                "$1 OPERATOR(pg_catalog.@>) '{\"max_runtime\": null}', "
                "$1 OPERATOR(pg_catalog.@>) '{\"schedule\": null}'",
                settings_json);
        const pg::Row row = spi.row(0);
        by_deadline = row.boolean(5) && jobs::task_of(job.kind).due(job, settings::now());
        if (row.boolean(4) || (row.boolean(5) && !by_deadline))
            throw base::Error(base::errc::null_value, "schedule and max_runtime must not be null");
        schedule = row.text(1);
        if (!row.is_null(1))
            (void)catalog::parse_schedule(schedule);
        if (!row.is_null(2))
            max_runtime = row.span(2);
        if (max_runtime)
            catalog::check_max_runtime(*max_runtime);
        rest = row.text(3);
    }
    if (rest != "{}")
        jobs::task_of(job.kind).alter(job, rest);
    {
        catalog::Elevated elevated;
        pg::Spi spi;
        spi.run("UPDATE orchestry.job SET schedule = CASE WHEN NOT $4 THEN "
                "COALESCE($2, schedule) END, "
                "max_runtime = COALESCE($3, max_runtime) WHERE job_id OPERATOR(pg_catalog.=) $1",
                job.id.value, text_or_null(schedule),
                max_runtime ? pg::param(*max_runtime) : pg::null_param(INTERVALOID), by_deadline);
    }
    make_due(job.id);
    return Datum{0};
}

ORCHESTRY_FUNCTION(orchestry_remove_policy) {
    const Args args(fcinfo, "remove_policy");
    const Job job = owned_job(args);
    jobs::task_of(job.kind).remove(job);
    return Datum{0};
}

ORCHESTRY_FUNCTION(orchestry_start_scheduler) {
    require_unrestricted("start_scheduler");
    catalog::want_scheduler(true);
    return BoolGetDatum(jobs::start_scheduler());
}

ORCHESTRY_FUNCTION(orchestry_stop_scheduler) {
    catalog::want_scheduler(false);
    return BoolGetDatum(jobs::stop_scheduler());
}

ORCHESTRY_FUNCTION(orchestry_scheduler_pid) {
    const int pid = jobs::scheduler_pid();
    if (pid == 0)
        PG_RETURN_NULL();
    return Int32GetDatum(pid);
}

ORCHESTRY_FUNCTION(orchestry_use_pg_cron) {
    const Args args(fcinfo, "use_pg_cron");
    const std::string schedule = args.text(0, "schedule");
    require_pg_cron();
    pg::Spi spi;
    spi.run("SELECT cron.schedule($1, $2, 'CALL orchestry.run_due()')", cron_job_name, schedule);
    return Int64GetDatum(spi.row(0).bigint(1));
}

ORCHESTRY_FUNCTION(orchestry_stop_pg_cron) {
    require_pg_cron();
    pg::Spi spi;
    const bool found =
        spi.run("SELECT FROM cron.job j WHERE j.jobname OPERATOR(pg_catalog.=) $1 "
                "AND j.username OPERATOR(pg_catalog.=) CURRENT_USER::pg_catalog.text",
                cron_job_name) > 0;
    if (found)
        spi.run("SELECT cron.unschedule(j.jobid) FROM cron.job j WHERE j.jobname "
                "OPERATOR(pg_catalog.=) $1 "
                "AND j.username OPERATOR(pg_catalog.=) CURRENT_USER::pg_catalog.text",
                cron_job_name);
    return BoolGetDatum(found);
}

ORCHESTRY_FUNCTION(orchestry_progress) {
    ResultSet rows(fcinfo);
    constexpr const char* phases[] = {"planning", "step", "waiting for lock", "stepping aside"};
    for (const pg::ProgressRow& row : pg::read_progress()) {
        const bool allowed = pg::protect([&] {
            return has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS) ||
                   has_privs_of_role(GetUserId(), row.user);
        });
        if (!allowed)
            continue;
        const pg::Progress& p = row.progress;
        rows.add(row.pid, p.run_id, p.job_id, pg::Param{REGCLASSOID, ObjectIdGetDatum(row.relid)},
                 phases[static_cast<int>(p.phase)], p.steps_done, p.steps_total, p.rows_done,
                 p.rows_total);
    }
    return Datum{0};
}

ORCHESTRY_FUNCTION(orchestry_system_identifier) {
    return Int64GetDatum(catalog::system_identifier());
}

ORCHESTRY_FUNCTION(orchestry_due_at) {
    const Args args(fcinfo, "_due_at");
    return TimestampTzGetDatum(
        catalog::due_at({args.bigint(0, "job_id")}, args.instant(1, "next_run_at")).us);
}

ORCHESTRY_FUNCTION(orchestry_looked_at) {
    const Args args(fcinfo, "_looked_at");
    const auto look =
        catalog::last_look({args.bigint(0, "job_id")}, args.instant(1, "next_run_at"));
    if (look)
        return TimestampTzGetDatum(look->at.us);
    fcinfo->isnull = true;
    return Datum{0};
}

ORCHESTRY_FUNCTION(orchestry_proven_at) {
    const Args args(fcinfo, "_proven_at");
    const catalog::Proof recorded = {args.instant(1, "refreshed_at"), args.instant(2, "as_of")};
    return TimestampTzGetDatum(catalog::proven_at({args.bigint(0, "job_id")}, recorded).us);
}

ORCHESTRY_FUNCTION(orchestry_lost_until) {
    const Args args(fcinfo, "_lost_until");
    const auto until =
        catalog::lost_until({args.bigint(0, "job_id")}, args.instant(1, "refreshed_at"),
                            args.instant(2, "replayed_until"));
    if (until)
        return TimestampTzGetDatum(until->us);
    fcinfo->isnull = true;
    return Datum{0};
}

/// Called by the install script: the launcher looks for the new extension soon.
ORCHESTRY_FUNCTION(orchestry_announce) {
    jobs::wake_launcher();
    return Datum{0};
}

ORCHESTRY_FUNCTION(orchestry_has_job) {
    const Oid relid = Args(fcinfo, "_has_job").relation(0, "relation");
    const std::vector<catalog::Job> jobs = catalog::select_jobs_where(
        "c.oid OPERATOR(pg_catalog.=) $3 OR c.oid IS NULL AND EXISTS (SELECT FROM "
        "pg_catalog.pg_class k JOIN pg_catalog.pg_namespace m ON m.oid OPERATOR(pg_catalog.=) "
        "k.relnamespace WHERE k.oid OPERATOR(pg_catalog.=) $3 AND k.relname "
        "OPERATOR(pg_catalog.=) j.target_name AND m.nspname OPERATOR(pg_catalog.=) "
        "j.target_schema)",
        pg::param(relid));
    for (const catalog::Job& job : jobs)
        if (job.restored || job.target == relid) // others are of tables that are gone
            return BoolGetDatum(true);
    return BoolGetDatum(false);
}

} // namespace orchestry::api
