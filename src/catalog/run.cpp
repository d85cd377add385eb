#include "catalog/run.hpp"

#include <algorithm>

#include "catalog/hold.hpp"
#include "catalog/look.hpp"
#include "catalog/quarantine.hpp"
#include "catalog/refresh_state.hpp"
#include "catalog/settings.hpp"
#include "pg/xact.hpp"

namespace orchestry::catalog {

namespace {

constexpr const char* trigger_names[] = {"schedule", "retry", "manual"};

const char* to_string(Trigger trigger) { return trigger_names[static_cast<int>(trigger)]; }

/// Empty text is stored as NULL.
pg::Param text_or_null(const std::string& text) {
    return text.empty() ? pg::null_param(TEXTOID) : pg::param(text);
}

RunId insert_run(const Job& job, Trigger trigger, RunState state) {
    Elevated elevated;
    pg::Spi spi;
    const bool running = state == RunState::running;
    spi.run("INSERT INTO orchestry.run (job_id, kind, target, target_name, owner, trigger, state, "
            "attempt, "
            "queued_at, started_at, pid, backend_start) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING run_id",
            job.id.value, job.kind, job.target, job.target_name, job.owner, to_string(trigger),
            catalog::to_string(state), job.failures + 1,
            running ? pg::null_param(TIMESTAMPTZOID) : pg::param(settings::clock()),
            running ? pg::param(settings::clock()) : pg::null_param(TIMESTAMPTZOID),
            running ? pg::param(MyProcPid) : pg::null_param(INT4OID),
            running ? pg::param(base::Instant{MyStartTimestamp}) : pg::null_param(TIMESTAMPTZOID));
    return {spi.row(0).bigint(1)};
}

} // namespace

const char* to_string(RunState state) {
    constexpr const char* names[] = {"queued",  "waiting", "running", "ok",     "noop",
                                     "skipped", "failed",  "timeout", "crashed"};
    return names[static_cast<int>(state)];
}

RunId begin_run(const Job& job, Trigger trigger) {
    return insert_run(job, trigger, RunState::running);
}

RunId queue_run(const Job& job, Trigger trigger) {
    return insert_run(job, trigger, RunState::queued);
}

RunId queue_statement(const std::string& sql) {
    const Oid user = GetUserId();
    Elevated elevated;
    pg::Spi spi;
    spi.run("INSERT INTO orchestry.run (kind, target_name, owner, trigger, state, queued_at, "
            "statement) "
            "VALUES ('statement', '', $1, 'manual', 'queued', $2, $3) RETURNING run_id",
            user, settings::now(), sql);
    return {spi.row(0).bigint(1)};
}

namespace {

std::optional<QueuedRun> claim(Oid owner, const pg::Param& only_id, bool jobs_only) {
    Elevated elevated;
    pg::Spi spi;
    spi.run("WITH next AS MATERIALIZED (SELECT q.run_id FROM orchestry.run q "
            "WHERE q.state IN ('queued', 'waiting') AND q.owner OPERATOR(pg_catalog.=) $1 "
            "AND ($5 IS NULL OR q.run_id OPERATOR(pg_catalog.=) $5) AND (q.job_id IS NOT NULL OR "
            "NOT $6) "
            "ORDER BY q.run_id LIMIT 1 FOR UPDATE SKIP LOCKED) "
            "UPDATE orchestry.run r SET state = 'running', started_at = $2, pid = $3, "
            "backend_start = $4, "
            "message = NULL, hint = NULL FROM next WHERE r.run_id OPERATOR(pg_catalog.=) "
            "next.run_id RETURNING r.run_id, r.job_id, r.statement",
            owner, settings::clock(), MyProcPid, base::Instant{MyStartTimestamp}, only_id,
            jobs_only);
    if (spi.rows() == 0)
        return std::nullopt;
    const pg::Row row = spi.row(0);
    QueuedRun run;
    run.id = {row.bigint(1)};
    if (!row.is_null(2))
        run.job = JobId{row.bigint(2)};
    run.statement = row.text(3);
    return run;
}

} // namespace

std::optional<QueuedRun> claim_run(Oid owner, std::optional<RunId> only) {
    return claim(owner, only ? pg::param(only->value) : pg::null_param(INT8OID), false);
}

std::optional<QueuedRun> claim_job_run(Oid owner) {
    return claim(owner, pg::null_param(INT8OID), true);
}

void finish_run(RunId id, const RunResult& result) {
    Elevated elevated;
    pg::Spi spi;
    spi.run(
        "UPDATE orchestry.run SET state = $2, finished_at = $3, steps = $4, rows = $5, bytes = $6, "
        "sqlstate = $7, message = $8, detail = $9, hint = $10, context = $11, pid = NULL, "
        "backend_start = NULL "
        "WHERE run_id OPERATOR(pg_catalog.=) $1",
        id.value, to_string(result.state), settings::clock(), result.steps, result.rows,
        result.bytes, text_or_null(result.failure.sqlstate), text_or_null(result.failure.message),
        text_or_null(result.failure.detail), text_or_null(result.failure.hint),
        text_or_null(result.failure.context));
    if (result.state != RunState::noop && result.state != RunState::failed)
        return;
    spi.run(
        "WITH previous AS (DELETE FROM orchestry.run p USING orchestry.run r "
        "WHERE r.run_id OPERATOR(pg_catalog.=) $1 AND p.run_id OPERATOR(pg_catalog.=) "
        "(SELECT pg_catalog.max(l.run_id) FROM orchestry.run l WHERE l.job_id "
        "OPERATOR(pg_catalog.=) r.job_id "
        "AND l.run_id OPERATOR(pg_catalog.<) $1) "
        "AND p.state OPERATOR(pg_catalog.=) r.state AND p.message IS NOT DISTINCT FROM r.message "
        "AND p.sqlstate IS NOT DISTINCT FROM r.sqlstate AND p.steps OPERATOR(pg_catalog.=) r.steps "
        "RETURNING p.repeated) "
        "UPDATE orchestry.run r SET repeated = previous.repeated OPERATOR(pg_catalog.+) 1 FROM "
        "previous "
        "WHERE r.run_id OPERATOR(pg_catalog.=) $1",
        id.value);
}

void record_step(RunId id, const StepRecord& step) {
    Elevated elevated;
    pg::Spi spi;
    spi.run("INSERT INTO orchestry.run_step (run_id, seq, action, object, reason, sql, state, "
            "started_at, "
            "finished_at, attempts, lock_wait_ms, rows, bytes, sqlstate, message) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) "
            "ON CONFLICT (run_id, seq) DO UPDATE SET state = EXCLUDED.state, finished_at = "
            "EXCLUDED.finished_at, attempts = EXCLUDED.attempts, lock_wait_ms = "
            "EXCLUDED.lock_wait_ms, rows = EXCLUDED.rows, bytes = EXCLUDED.bytes, sqlstate = "
            "EXCLUDED.sqlstate, message = EXCLUDED.message",
            id.value, step.seq, step.action, step.object, text_or_null(step.reason),
            text_or_null(step.sql), step.state, step.started_at,
            base::Instant{GetCurrentTimestamp()}, step.attempts,
            static_cast<double>(step.lock_wait_us) / 1000.0, step.rows, step.bytes,
            text_or_null(step.sqlstate), text_or_null(step.message));
}

void record_noops(const std::vector<Job>& jobs, const std::vector<base::Instant>& next_run_at) {
    if (jobs.empty())
        return;
    std::vector<std::int64_t> ids, repeats;
    std::vector<base::Instant> known;
    struct {
        std::vector<std::int64_t> ids;
        std::vector<std::string> kinds, names;
        std::vector<Oid> targets, owners;
    } fresh;
    for (std::size_t i = 0; i < jobs.size(); ++i) {
        ids.push_back(jobs[i].id.value);
        known.push_back(jobs[i].next_run_at.value_or(next_run_at[i]));
        if (jobs[i].last_state == "noop" && jobs[i].last_run_id)
            repeats.push_back(*jobs[i].last_run_id);
        else {
            fresh.ids.push_back(jobs[i].id.value);
            fresh.kinds.push_back(jobs[i].kind);
            fresh.targets.push_back(jobs[i].target);
            fresh.names.push_back(jobs[i].target_name);
            fresh.owners.push_back(jobs[i].owner);
        }
    }
    Elevated elevated;
    pg::Spi spi;
    spi.run("WITH made AS (INSERT INTO orchestry.run (job_id, kind, target, target_name, owner, "
            "trigger, state, started_at, finished_at) "
            "SELECT n.*, 'schedule', 'noop', $6, $7 FROM ROWS FROM (pg_catalog.unnest($1), "
            "pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), "
            "pg_catalog.unnest($5)) n RETURNING run_id, job_id) "
            "UPDATE orchestry.job_state s SET last_run_id = made.run_id, last_state = 'noop' "
            "FROM made WHERE s.job_id OPERATOR(pg_catalog.=) made.job_id",
            fresh.ids, fresh.kinds, fresh.targets, fresh.names, fresh.owners, settings::clock(),
            settings::clock());
    spi.run(
        "UPDATE orchestry.run SET repeated = repeated OPERATOR(pg_catalog.+) 1, finished_at = $2 "
        "WHERE run_id OPERATOR(pg_catalog.=) ANY ($1)",
        repeats, settings::now());
    // Of a job that somebody has altered meanwhile it is not known when it is due.
    spi.run("UPDATE orchestry.job_state s SET next_run_at = CASE WHEN s.next_run_at IS DISTINCT "
            "FROM n.known THEN LEAST(s.next_run_at, n.next_run_at) ELSE n.next_run_at END, "
            "last_at = $3, last_ok_at = $3, failures = 0 FROM ROWS FROM (pg_catalog.unnest($1), "
            "pg_catalog.unnest($2), pg_catalog.unnest($4)) n (job_id, next_run_at, known) "
            "WHERE s.job_id OPERATOR(pg_catalog.=) n.job_id",
            ids, next_run_at, settings::now(), known);
}

void record_skipped(const Job& job, Trigger trigger, const std::string& reason) {
    const RunId run = begin_run(job, trigger);
    RunResult result;
    result.state = RunState::skipped;
    result.failure.message = reason;
    finish_run(run, result);
}

void update_job_state(const Job& job, std::optional<RunId> run, RunState state, int failures,
                      base::Instant next_run_at) {
    Elevated elevated;
    pg::Spi spi;
    const bool good = state == RunState::ok || state == RunState::noop;
    // A job that was removed meanwhile has nothing to be remembered.
    spi.run("INSERT INTO orchestry.job_state AS s (job_id, last_run_id, last_state, failures, "
            "next_run_at, last_at, last_ok_at) "
            "SELECT j.job_id, $2, $3, $4, $5, $6, CASE WHEN $7 THEN $6 END "
            "FROM orchestry.job j WHERE j.job_id OPERATOR(pg_catalog.=) $1 FOR KEY SHARE "
            "ON CONFLICT (job_id) DO UPDATE SET last_run_id = EXCLUDED.last_run_id, "
            "last_state = EXCLUDED.last_state, failures = EXCLUDED.failures, "
            "next_run_at = CASE WHEN s.next_run_at IS DISTINCT FROM $8 "
            "THEN LEAST(s.next_run_at, EXCLUDED.next_run_at) ELSE EXCLUDED.next_run_at END, "
            "last_at = EXCLUDED.last_at, last_ok_at = COALESCE(EXCLUDED.last_ok_at, "
            "orchestry._looked_at(s.job_id, s.next_run_at), s.last_ok_at)",
            job.id.value, run ? pg::param(run->value) : pg::null_param(INT8OID), to_string(state),
            failures, next_run_at, settings::now(), good,
            job.next_run_at ? pg::param(*job.next_run_at) : pg::null_param(TIMESTAMPTZOID));
    if (!good)
        write_down_proofs({job.id});
}

void set_next_run(JobId id, base::Instant next_run_at) {
    Elevated elevated;
    pg::Spi spi;
    // Of the last look, which is void then, it stays true that it went well.
    spi.run("INSERT INTO orchestry.job_state AS s (job_id, next_run_at) SELECT j.job_id, $2 "
            "FROM orchestry.job j WHERE j.job_id OPERATOR(pg_catalog.=) $1 FOR KEY SHARE "
            "ON CONFLICT (job_id) DO UPDATE SET next_run_at = EXCLUDED.next_run_at, "
            "last_at = COALESCE(orchestry._looked_at(s.job_id, s.next_run_at), s.last_at), "
            "last_ok_at = COALESCE(orchestry._looked_at(s.job_id, s.next_run_at), s.last_ok_at)",
            id.value, next_run_at);
    forget_look(id);
}

std::vector<Job> due_jobs(base::Instant now) {
    return select_jobs_where(
        "c.oid IS NOT NULL AND NOT j.paused AND s.next_run_at OPERATOR(pg_catalog.<=) $3 "
        "AND orchestry._due_at(j.job_id, s.next_run_at) OPERATOR(pg_catalog.<=) $3 "
        "AND NOT EXISTS (SELECT FROM orchestry.run r WHERE r.job_id OPERATOR(pg_catalog.=) "
        "j.job_id "
        "AND r.state IN ('queued', 'waiting', 'running')) ORDER BY s.next_run_at, j.job_id",
        pg::param(now));
}

std::optional<base::Instant> next_due() {
    Elevated elevated;
    pg::Spi spi;
    spi.run("SELECT pg_catalog.min(orchestry._due_at(j.job_id, s.next_run_at)) "
            "FROM orchestry.job_state s JOIN orchestry.job j ON j.job_id OPERATOR(pg_catalog.=) "
            "s.job_id AND NOT j.paused "
            "AND j.origin_system OPERATOR(pg_catalog.=) $1 AND j.origin_database "
            "OPERATOR(pg_catalog.=) $2 "
            // Of a table that is gone nothing is due, however long the job stays.
            "AND EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) "
            "j.target) "
            "WHERE NOT EXISTS (SELECT FROM orchestry.run r WHERE r.job_id OPERATOR(pg_catalog.=) "
            "j.job_id "
            "AND r.state IN ('queued', 'waiting', 'running'))",
            system_identifier(), MyDatabaseId);
    if (spi.row(0).is_null(1))
        return std::nullopt;
    return spi.row(0).instant(1);
}

std::vector<OwnerQueue> queued_owners() {
    Elevated elevated;
    pg::Spi spi;
    spi.run("SELECT r.owner, pg_catalog.count(*), (SELECT pg_catalog.count(*) FROM "
            "pg_catalog.pg_stat_activity a "
            "WHERE a.usesysid OPERATOR(pg_catalog.=) r.owner AND a.datid OPERATOR(pg_catalog.=) $1 "
            "AND a.backend_type OPERATOR(pg_catalog.=) 'orchestry worker' "
            "AND NOT EXISTS (SELECT FROM orchestry.run b WHERE b.pid OPERATOR(pg_catalog.=) a.pid "
            "AND b.state OPERATOR(pg_catalog.=) 'running')), pg_catalog.min(r.run_id) "
            "FROM orchestry.run r WHERE r.state IN ('queued', 'waiting') "
            "GROUP BY r.owner ORDER BY pg_catalog.min(r.run_id)",
            MyDatabaseId);
    std::vector<OwnerQueue> queues;
    for (std::uint64_t i = 0; i < spi.rows(); ++i) {
        const pg::Row row = spi.row(i);
        queues.push_back({row.oid(1), row.bigint(2), row.bigint(3), row.bigint(4)});
    }
    return queues;
}

void mark_waiting(const std::string& reason, std::optional<RunId> only) {
    Elevated elevated;
    pg::Spi spi;
    spi.run("WITH queued AS MATERIALIZED (SELECT q.run_id FROM orchestry.run q "
            "WHERE q.state OPERATOR(pg_catalog.=) 'queued' AND ($2 IS NULL OR q.run_id "
            "OPERATOR(pg_catalog.=) $2) "
            "FOR UPDATE SKIP LOCKED) UPDATE orchestry.run r SET state = 'waiting', message = $1 "
            "FROM queued "
            "WHERE r.run_id OPERATOR(pg_catalog.=) queued.run_id",
            reason, only ? pg::param(only->value) : pg::null_param(INT8OID));
}

void fail_queued(Oid owner, const std::string& reason) {
    Elevated elevated;
    pg::Spi spi;
    spi.run("WITH failed AS (UPDATE orchestry.run r SET state = 'failed', finished_at = $3, "
            "sqlstate = '08006', message = $2 "
            "WHERE r.owner OPERATOR(pg_catalog.=) $1 AND r.state IN ('queued', 'waiting') "
            "RETURNING r.run_id, r.job_id) "
            "UPDATE orchestry.job_state s SET last_run_id = f.run_id, last_state = 'failed', "
            "last_at = $3, "
            "failures = s.failures OPERATOR(pg_catalog.+) 1 FROM failed f WHERE s.job_id "
            "OPERATOR(pg_catalog.=) f.job_id RETURNING s.job_id",
            owner, reason, settings::now());
    std::vector<JobId> jobs;
    for (std::uint64_t i = 0; i < spi.rows(); ++i)
        jobs.push_back({spi.row(i).bigint(1)});
    write_down_proofs(jobs);
}

std::vector<int> overdue_workers(std::int64_t grace_us) {
    Elevated elevated;
    pg::Spi spi;
    spi.run("SELECT r.pid FROM orchestry.run r JOIN orchestry.job j ON j.job_id "
            "OPERATOR(pg_catalog.=) r.job_id "
            "JOIN pg_catalog.pg_stat_activity a ON a.pid OPERATOR(pg_catalog.=) r.pid "
            "AND a.backend_start OPERATOR(pg_catalog.=) r.backend_start "
            "AND a.backend_type OPERATOR(pg_catalog.=) 'orchestry worker' "
            "WHERE r.state OPERATOR(pg_catalog.=) 'running' AND r.started_at "
            "OPERATOR(pg_catalog.+) LEAST(j.max_runtime, '36500 days'::pg_catalog.interval) "
            "OPERATOR(pg_catalog.+) $1 OPERATOR(pg_catalog.<) $2",
            base::Span{0, 0, grace_us}, settings::now());
    std::vector<int> pids;
    for (std::uint64_t i = 0; i < spi.rows(); ++i)
        pids.push_back(spi.row(i).integer(1));
    return pids;
}

bool scheduler_wanted() {
    Elevated elevated;
    pg::Spi spi;
    return spi.run("SELECT FROM orchestry.scheduler s WHERE s.wanted") > 0;
}

void want_scheduler(bool wanted) {
    Elevated elevated;
    pg::Spi spi;
    spi.run("UPDATE orchestry.scheduler SET wanted = $1", wanted);
}

std::vector<JobId> mark_crashed_runs() {
    Elevated elevated;
    pg::Spi spi;
    // Alive is the very process (not just its pid) and, for a job, only while somebody holds the
    // job's lock.
    spi.run(
        "SELECT r.run_id, r.job_id, EXISTS (SELECT FROM pg_catalog.pg_stat_get_activity(NULL) a "
        "WHERE a.pid OPERATOR(pg_catalog.=) r.pid AND a.backend_start OPERATOR(pg_catalog.=) "
        "r.backend_start) "
        "FROM orchestry.run r WHERE r.state OPERATOR(pg_catalog.=) 'running'");
    std::vector<std::int64_t> crashed;
    for (std::uint64_t i = 0; i < spi.rows(); ++i) {
        const pg::Row row = spi.row(i);
        if (!row.boolean(3) || (!row.is_null(2) && lock_job({row.bigint(2)})))
            crashed.push_back(row.bigint(1));
    }
    if (crashed.empty())
        return {};
    spi.run(
        "WITH gone AS MATERIALIZED (SELECT g.run_id FROM orchestry.run g "
        "WHERE g.run_id OPERATOR(pg_catalog.=) ANY ($2) AND g.state OPERATOR(pg_catalog.=) "
        "'running' "
        "FOR UPDATE SKIP LOCKED), "
        "crashed AS (UPDATE orchestry.run r SET state = 'crashed', finished_at = $1, sqlstate = "
        "'57P02', "
        "message = 'the process of the run ended without finishing it', pid = NULL, backend_start "
        "= NULL "
        "FROM gone WHERE r.run_id OPERATOR(pg_catalog.=) gone.run_id RETURNING r.run_id, r.job_id) "
        "UPDATE orchestry.job_state s SET last_run_id = c.run_id, last_state = 'crashed', last_at "
        "= $1, "
        "failures = s.failures OPERATOR(pg_catalog.+) 1 "
        "FROM crashed c WHERE s.job_id OPERATOR(pg_catalog.=) c.job_id RETURNING s.job_id",
        settings::now(), crashed);
    std::vector<JobId> jobs;
    for (std::uint64_t i = 0; i < spi.rows(); ++i)
        jobs.push_back({spi.row(i).bigint(1)});
    return jobs;
}

namespace {

/// Of jobs j that belong to this database ($1, $2).
constexpr const char* target_is_gone =
    "j.origin_system OPERATOR(pg_catalog.=) $1 AND j.origin_database OPERATOR(pg_catalog.=) $2 "
    "AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) "
    "j.target) AND EXISTS (SELECT FROM orchestry.job_state s WHERE s.job_id "
    "OPERATOR(pg_catalog.=) j.job_id)";

} // namespace

std::vector<JobId> jobs_of_dropped_targets() {
    const Elevated elevated;
    pg::Spi spi;
    spi.run_kept(std::string("SELECT j.job_id FROM orchestry.job j WHERE ") + target_is_gone,
                 system_identifier(), MyDatabaseId);
    std::vector<JobId> jobs;
    for (std::uint64_t i = 0; i < spi.rows(); ++i)
        jobs.push_back({spi.row(i).bigint(1)});
    return jobs;
}

std::int64_t reconcile_targets() {
    reconcile_holds();
    reconcile_quarantined();
    Elevated elevated; // a job without a state was restored: its target is another table's OID
    pg::Spi spi;
    spi.run(
        "UPDATE orchestry.job j SET target_schema = n.nspname, target_name = c.relname "
        "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) "
        "c.relnamespace "
        "WHERE c.oid OPERATOR(pg_catalog.=) j.target AND j.origin_system OPERATOR(pg_catalog.=) $1 "
        "AND j.origin_database OPERATOR(pg_catalog.=) $2 "
        "AND (j.target_name OPERATOR(pg_catalog.<>) c.relname OR j.target_schema "
        "OPERATOR(pg_catalog.<>) n.nspname) "
        "AND EXISTS (SELECT FROM orchestry.job_state s WHERE s.job_id OPERATOR(pg_catalog.=) "
        "j.job_id)",
        system_identifier(), MyDatabaseId);
    return static_cast<std::int64_t>(
        spi.run_kept(std::string("DELETE FROM orchestry.job j WHERE ") + target_is_gone +
                         " AND NOT EXISTS (SELECT FROM orchestry._watches w "
                         "WHERE w.job_id OPERATOR(pg_catalog.=) j.job_id)",
                     system_identifier(), MyDatabaseId));
}

std::int64_t trim_history() {
    Elevated elevated;
    pg::Spi spi;
    return static_cast<std::int64_t>(spi.run(
        "DELETE FROM orchestry.run r WHERE r.state NOT IN ('queued', 'waiting', 'running') "
        "AND (r.finished_at OPERATOR(pg_catalog.<) $1 OR r.run_id OPERATOR(pg_catalog.=) ANY "
        "(SELECT o.run_id FROM "
        "(SELECT h.run_id, pg_catalog.row_number() OVER (PARTITION BY h.job_id ORDER BY h.run_id "
        "DESC) AS nth "
        "FROM orchestry.run h) o WHERE o.nth OPERATOR(pg_catalog.>) $2)) "
        "AND NOT EXISTS (SELECT FROM orchestry.job_state s WHERE s.last_run_id "
        "OPERATOR(pg_catalog.=) r.run_id)",
        base::plus(settings::now(), -std::int64_t{settings::history_keep_s} * base::us_per_second),
        std::int64_t{settings::history_keep_runs}));
}

} // namespace orchestry::catalog
