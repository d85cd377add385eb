-- Jobs, runs and the scheduler: functions and procedures.

CREATE FUNCTION orchestry.plan(target regclass DEFAULT NULL, as_of timestamptz DEFAULT now())
RETURNS TABLE (seq integer, job_id bigint, target regclass, action text, object text, reason text, sql text,
               locks text, rows_estimate bigint, bytes bigint, destructive boolean, blocked_by text)
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_plan';
COMMENT ON FUNCTION orchestry.plan(regclass, timestamptz) IS
'The steps that a run would take at as_of, in order, each with its reason, its SQL and its locks; changes nothing. Without target: for every table of the caller. A step with blocked_by is not executed. The caller must be the owner of target (42501).';

CREATE PROCEDURE orchestry.run(target regclass DEFAULT NULL)
LANGUAGE c AS 'MODULE_PATHNAME', 'orchestry_run';
COMMENT ON PROCEDURE orchestry.run(regclass) IS
'Runs every job of target, or of all the caller''s tables, now and here, whether due or not; commits after every step. A job that fails does not stop the others; the error is raised at the end. Not inside a transaction block (25001).';

CREATE PROCEDURE orchestry.run_job(job_id bigint)
LANGUAGE c AS 'MODULE_PATHNAME', 'orchestry_run_job';
COMMENT ON PROCEDURE orchestry.run_job(bigint) IS
'Runs one job now and here, whether due or not; commits after every step and raises the error of the step that failed.';

CREATE PROCEDURE orchestry.run_due()
LANGUAGE c AS 'MODULE_PATHNAME', 'orchestry_run_due';
COMMENT ON PROCEDURE orchestry.run_due() IS
'Runs what is due or queued among the caller''s jobs: for pg_cron or any outside scheduler. Harmless beside the scheduler: a job runs once at a time.';

CREATE FUNCTION orchestry.start_job(job_id bigint) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_start_job';
COMMENT ON FUNCTION orchestry.start_job(bigint) IS
'Hands a job to a background worker, which starts when the transaction commits. Returns the run''s id: SELECT * FROM orchestry.runs WHERE run_id = ...';

CREATE FUNCTION orchestry.run_in_background(sql text) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_run_in_background';
COMMENT ON FUNCTION orchestry.run_in_background(text) IS
'Runs exactly one statement as the current user in a background worker, outside any transaction block, so that VACUUM, CREATE INDEX CONCURRENTLY, REINDEX CONCURRENTLY and DETACH PARTITION CONCURRENTLY work. Starts when the transaction commits; returns the run''s id.';

CREATE FUNCTION orchestry.cancel_run(run_id bigint) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_cancel_run';
COMMENT ON FUNCTION orchestry.cancel_run(bigint) IS
'Cancels a run that is queued, waiting or running. False: it had ended already. What its finished steps did stays. The caller must own the table.';

CREATE FUNCTION orchestry.pause_job(job_id bigint, reason text DEFAULT NULL) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_pause_job';
COMMENT ON FUNCTION orchestry.pause_job(bigint, text) IS 'Stops a job from being started until resume_job(). A run that is active goes on.';

CREATE FUNCTION orchestry.resume_job(job_id bigint) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_resume_job';
COMMENT ON FUNCTION orchestry.resume_job(bigint) IS 'Lets a paused job, or one that came from a restored or copied database, run again; it is due at once.';

CREATE FUNCTION orchestry.resume_all(include_paused boolean DEFAULT false) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_resume_all';
COMMENT ON FUNCTION orchestry.resume_all(boolean) IS
'After a restore or on a copy: confirms that the jobs found in this database may run here. Jobs paused by pause_job() stay paused unless include_paused. Returns how many were resumed; a job whose table is missing stays as it is, with a WARNING.';

CREATE FUNCTION orchestry.alter_policy(job_id bigint, settings jsonb) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_alter_policy';
COMMENT ON FUNCTION orchestry.alter_policy(bigint, jsonb) IS
'Changes settings of a policy: any argument of the function that made it, plus max_runtime (interval). For example {"schedule": "15 minutes", "ahead": "60 days"}. Unknown keys are refused (22023). The job is due at once.';

CREATE FUNCTION orchestry.remove_policy(job_id bigint) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_remove_policy';
COMMENT ON FUNCTION orchestry.remove_policy(bigint) IS 'Forgets a policy and its job. The table, its partitions and its rows stay as they are, plain PostgreSQL.';

CREATE FUNCTION orchestry.start_scheduler() RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_start_scheduler';
COMMENT ON FUNCTION orchestry.start_scheduler() IS
'Starts the scheduler of this database without preloading the library; it survives crashes, but a restart of the server only with shared_preload_libraries. False: it runs already. 53400 when no worker slot is free.';

CREATE FUNCTION orchestry.stop_scheduler() RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_stop_scheduler';
COMMENT ON FUNCTION orchestry.stop_scheduler() IS 'Ends the scheduler of this database and keeps it from being started until start_scheduler(). Returns whether one ran. Active runs go on.';

CREATE FUNCTION orchestry.scheduler_pid() RETURNS integer
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_scheduler_pid';
COMMENT ON FUNCTION orchestry.scheduler_pid() IS 'Process id of this database''s scheduler; NULL when there is none.';

CREATE FUNCTION orchestry.use_pg_cron(schedule text DEFAULT '* * * * *') RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_use_pg_cron';
COMMENT ON FUNCTION orchestry.use_pg_cron(text) IS 'Lets pg_cron call run_due() on the schedule, as the current user. Returns pg_cron''s job id. 55000, with the command to run, when pg_cron lives in another database.';

CREATE FUNCTION orchestry.stop_pg_cron() RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_stop_pg_cron';
COMMENT ON FUNCTION orchestry.stop_pg_cron() IS 'Takes back what use_pg_cron() did. False: there was nothing to take back.';

CREATE FUNCTION orchestry._progress()
RETURNS TABLE (pid integer, run_id bigint, job_id bigint, target regclass, phase text, steps_done bigint,
               steps_total bigint, rows_done bigint, rows_total bigint)
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_progress';
COMMENT ON FUNCTION orchestry._progress() IS 'Internal: what the view orchestry.progress shows.';

CREATE FUNCTION orchestry._system_identifier() RETURNS bigint
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_system_identifier';
COMMENT ON FUNCTION orchestry._system_identifier() IS 'Internal: the identity of this server, part of a job''s origin.';

CREATE FUNCTION orchestry._announce() RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_announce';
COMMENT ON FUNCTION orchestry._announce() IS 'Internal: tells the launcher that this database has the extension now.';

CREATE FUNCTION orchestry.capabilities()
RETURNS TABLE (capability text, available boolean, detail text, command text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT 'functions', true, 'run(), run_due() and everything else that is called from SQL', NULL
    UNION ALL
    SELECT 'preload', p.loaded,
           CASE WHEN p.loaded THEN 'the launcher starts with the server and after promotion'
                WHEN NOT p.loaded THEN 'the scheduler does not come back after a restart of the server'
                ELSE 'only members of pg_read_all_settings can see this' END,
           CASE WHEN NOT p.loaded THEN format('ALTER SYSTEM SET shared_preload_libraries = %s; -- then restart the server',
                (SELECT string_agg(quote_ident(l), ', ') FROM (SELECT trim(u) AS l FROM unnest(p.libraries) u
                 WHERE trim(u) <> '' UNION ALL SELECT 'orchestry_ext') s)) END
    FROM (SELECT l.libraries, CASE WHEN l.libraries IS NOT NULL
                 THEN 'orchestry_ext' = ANY (SELECT trim(u, ' "') FROM unnest(l.libraries) u) END AS loaded
          FROM (SELECT CASE WHEN pg_has_role('pg_read_all_settings', 'USAGE')
                            THEN string_to_array(current_setting('shared_preload_libraries'), ',') END AS libraries) l) p
    UNION ALL
    SELECT 'scheduler', s.pid IS NOT NULL,
           CASE WHEN s.pid IS NOT NULL THEN format('process %s', s.pid) ELSE 'nothing runs by itself in this database' END,
           CASE WHEN s.pid IS NULL THEN 'SELECT orchestry.start_scheduler();' END
    FROM (SELECT orchestry.scheduler_pid() AS pid) s
    UNION ALL
    SELECT 'enabled', current_setting('orchestry.enabled')::boolean, 'the kill switch orchestry.enabled',
           CASE WHEN NOT current_setting('orchestry.enabled')::boolean THEN 'ALTER SYSTEM SET orchestry.enabled = on; SELECT pg_reload_conf();' END
    UNION ALL
    SELECT 'pg_cron', c.installed,
           CASE WHEN c.installed THEN 'orchestry.use_pg_cron() schedules run_due()'
                WHEN c.packaged THEN 'installed on the server, not in this database'
                ELSE 'not installed on the server' END,
           CASE WHEN NOT c.installed AND c.packaged THEN 'CREATE EXTENSION pg_cron;' END
    FROM (SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_cron') AS installed,
                 EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_cron') AS packaged) c
$$;
COMMENT ON FUNCTION orchestry.capabilities() IS 'What works in this database, and for what does not, the command that enables it.';

CREATE FUNCTION orchestry._has_job(relation regclass) RETURNS boolean
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_has_job';
COMMENT ON FUNCTION orchestry._has_job(regclass) IS 'Whether a relation has a job, or one that was restored and waits has its name. Internal.';
