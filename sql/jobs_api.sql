-- Every function of jobs and runs: what it answers, and what it says to bad input.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = notice;
SET timezone = 'UTC';
SET orchestry.now = '2026-01-10 12:00+00';
-- Nothing that other tests left, and ids of our own.
DELETE FROM orchestry.job;
TRUNCATE orchestry.run, orchestry.run_step;
ALTER SEQUENCE orchestry.job_job_id_seq RESTART 100001;
CREATE SCHEMA api;
CREATE TABLE api.events (id bigint, at timestamptz NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE api.plain (id bigint);

-- Nothing there yet.
SELECT * FROM orchestry.plan();
SELECT job_id, kind, state FROM orchestry.jobs;
CALL orchestry.run();
CALL orchestry.run_due();
CALL orchestry.run('api.events');
\echo :LAST_ERROR_SQLSTATE
CALL orchestry.run_job(1);
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.resume_all();

SELECT orchestry.add_partition_policy('api.events', interval '1 day', ahead => interval '2 days', schedule => '1 hour') AS job \gset
SELECT job_id = :job AS same, kind, target, target_schema, target_name, schedule, time_zone, next_run_at, last_state, failures, max_runtime
FROM orchestry.jobs;

-- plan() shows what run() does, and changes nothing.
SELECT seq, action, object, destructive, blocked_by FROM orchestry.plan('api.events', '2026-01-11 12:00+00');
SELECT count(*) FROM pg_inherits WHERE inhparent = 'api.events'::regclass;
SET orchestry.now = '2026-01-11 12:00+00';
CALL orchestry.run('api.events');
SELECT count(*) FROM pg_inherits WHERE inhparent = 'api.events'::regclass;
SELECT state, trigger, steps, sqlstate, message, started_at, finished_at, attempt, repeated FROM orchestry.runs;
SELECT seq, action, object, state, attempts, sqlstate, message FROM orchestry.run_steps ORDER BY run_id, seq;
CALL orchestry.run_job(:job);
CALL orchestry.run_due();
SELECT state, repeated FROM orchestry.runs ORDER BY run_id;
SELECT last_state, failures, next_run_at FROM orchestry.jobs;
SELECT * FROM orchestry.progress;

-- NULL.
SELECT * FROM orchestry.plan(NULL, NULL);
\echo :LAST_ERROR_SQLSTATE
CALL orchestry.run_job(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.start_job(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.run_in_background(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.cancel_run(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.pause_job(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.resume_job(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.resume_all(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.alter_policy(NULL, '{}');
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.alter_policy(:job, NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.remove_policy(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.use_pg_cron(NULL);
\echo :LAST_ERROR_SQLSTATE

-- Ids that do not exist.
CALL orchestry.run_job(0);
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.start_job(0);
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.cancel_run(0);
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.pause_job(-1);
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.resume_job(9223372036854775807);
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.alter_policy(0, '{}');
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.remove_policy(0);
\echo :LAST_ERROR_SQLSTATE

-- Tables without a policy, and tables that are not there.
SELECT * FROM orchestry.plan('api.plain');
\echo :LAST_ERROR_SQLSTATE
CALL orchestry.run('api.plain');
\echo :LAST_ERROR_SQLSTATE
CALL orchestry.run(0::regclass);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM orchestry.plan(4294967295::regclass);
\echo :LAST_ERROR_SQLSTATE

-- Procedures commit after every step, so they need a transaction of their own.
BEGIN;
CALL orchestry.run();
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN;
CALL orchestry.run_job(:job);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN;
CALL orchestry.run_due();
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
CREATE FUNCTION api.inside() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CALL orchestry.run_due(); END $$;
SELECT api.inside();
\echo :LAST_ERROR_SQLSTATE
CREATE PROCEDURE api.inside_procedure() LANGUAGE plpgsql AS $$ BEGIN CALL orchestry.run_due(); END $$;
CALL api.inside_procedure();
DO $$ BEGIN CALL orchestry.run(); END $$;

-- A session of other isolation or of other settings runs the same.
SET default_transaction_isolation = serializable;
CALL orchestry.run('api.events');
RESET default_transaction_isolation;
SET default_transaction_read_only = on;
CALL orchestry.run('api.events');
\echo :LAST_ERROR_SQLSTATE
RESET default_transaction_read_only;
SET search_path = '';
SET "TimeZone" = 'Pacific/Chatham';
SET "DateStyle" = 'German';
CALL orchestry.run('api.events');
RESET search_path;
RESET "TimeZone";
RESET "DateStyle";
SET timezone = 'UTC';
SELECT state, repeated FROM orchestry.runs ORDER BY run_id;

-- alter_policy().
SELECT orchestry.alter_policy(:job, '[]');
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.alter_policy(:job, '"1 day"');
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.alter_policy(:job, '{"schedule": null}');
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.alter_policy(:job, '{"schedule": "often"}');
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.alter_policy(:job, '{"schedule": "61 * * * *"}');
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.alter_policy(:job, '{"schedule": "-1 hour"}');
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.alter_policy(:job, '{"schedule": "0.5 seconds"}');
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.alter_policy(:job, '{"max_runtime": "0"}');
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.alter_policy(:job, '{"max_runtime": "long"}');
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.alter_policy(:job, '{"max_runtime": "300000 years"}');
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.alter_policy(:job, '{"max_runtime": "36500 days 1 microsecond"}');
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.alter_policy(:job, '{"schedule": ""}');
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.alter_policy(:job, '{"no_such_setting": 1}');
\echo :LAST_ERROR_SQLSTATE
SELECT schedule, max_runtime FROM orchestry.jobs;
SELECT orchestry.alter_policy(:job, '{}');
SELECT orchestry.alter_policy(:job, '{"schedule": "0 2 * * *", "max_runtime": "90 min"}');
SELECT schedule, max_runtime, next_run_at FROM orchestry.jobs;

-- The longest max_runtime there is; a row that says more all the same stops no other job.
SELECT orchestry.alter_policy(:job, '{"max_runtime": "100 years"}');
SELECT max_runtime FROM orchestry.jobs;
UPDATE orchestry.job SET max_runtime = '300000 years';
SELECT count(*) AS steps FROM orchestry.plan();
UPDATE orchestry.job SET max_runtime = '1 hour';

-- A job whose time zone the server does not know any more hides nobody else's partitions.
CREATE TABLE api.nowhere (at timestamptz NOT NULL) PARTITION BY RANGE (at);
SELECT orchestry.add_partition_policy('api.nowhere', interval '1 day') AS nowhere \gset
UPDATE orchestry.job SET time_zone = 'Mars/Phobos' WHERE job_id = :nowhere;
SELECT parent, count(*) FROM orchestry.partitions GROUP BY 1 ORDER BY 1;
SELECT orchestry.remove_policy(:nowhere);

-- A job without a state was restored: only resume_job() makes it one of this database, whatever is altered.
DELETE FROM orchestry.job_state;
SELECT orchestry.alter_policy(:job, '{"schedule": "2 hours"}');
\echo :LAST_ERROR_SQLSTATE
SELECT state, schedule FROM orchestry.jobs;
SELECT orchestry.resume_job(:job);
SELECT state FROM orchestry.jobs;
-- Without its table only a superuser can remove it.
CREATE TABLE api.gone (at timestamptz NOT NULL) PARTITION BY RANGE (at);
SELECT orchestry.add_partition_policy('api.gone', interval '1 day') AS gone \gset
DELETE FROM orchestry.job_state WHERE job_id = :gone;
DROP TABLE api.gone;
CREATE ROLE regress_orchestry_restorer;
SET ROLE regress_orchestry_restorer;
SELECT orchestry.resume_job(:gone);
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.remove_policy(:gone);
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
DROP ROLE regress_orchestry_restorer;
SELECT orchestry.resume_job(:gone);
SELECT orchestry.remove_policy(:gone);

-- Pause and resume.
SELECT orchestry.pause_job(:job, 'while we look');
SELECT orchestry.pause_job(:job);
SELECT state, pause_reason FROM orchestry.jobs;
CALL orchestry.run('api.events');
CALL orchestry.run_job(:job);
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.start_job(:job);
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.resume_all();
SELECT orchestry.resume_all(include_paused => true);
SELECT orchestry.resume_job(:job);
SELECT state <> 'paused' AS goes_on, pause_reason FROM orchestry.jobs;

-- Runs in the background start at commit; what is rolled back leaves nothing.
SELECT count(*) AS runs FROM orchestry.runs \gset
BEGIN;
SELECT orchestry.start_job(:job) > 0 AS started, orchestry.run_in_background('SELECT 1') > 0 AS started_too;
ROLLBACK;
SELECT count(*) - :runs AS left_over FROM orchestry.runs;
SELECT orchestry.cancel_run(run_id) FROM orchestry.runs LIMIT 1;

-- Not within a security-restricted operation, where other people's code runs.
CREATE FUNCTION api.sneak(i bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS
$$ BEGIN RETURN orchestry.run_in_background('SELECT 1'); END $$;
INSERT INTO api.plain VALUES (1);
CREATE INDEX ON api.plain (api.sneak(id));
\echo :LAST_ERROR_SQLSTATE

-- The scheduler and pg_cron.
SELECT orchestry.scheduler_pid();
SELECT orchestry.stop_scheduler();
BEGIN;
SELECT orchestry.use_pg_cron();
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT orchestry.stop_pg_cron();
\echo :LAST_ERROR_SQLSTATE
SELECT capability, available FROM orchestry.capabilities() WHERE capability IN ('functions', 'preload', 'scheduler', 'enabled');

-- The clock of tests is for superusers, and takes a time only.
SET orchestry.now = 'soon';
SET orchestry.now = '294276-12-31 23:59:59+00';
SET orchestry.now = 'infinity';
SHOW orchestry.now;
-- However it is typed: parallel workers read it before they know names of zones and the order of a date.
BEGIN;
SET LOCAL DateStyle = 'German';
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SET LOCAL orchestry.now = '3.2.2026 12:30 Z';
SHOW orchestry.now;
SELECT count(*) > 100 AS counted FROM pg_attribute;
ROLLBACK;
CREATE ROLE regress_orchestry_clock;
SET ROLE regress_orchestry_clock;
SET orchestry.now = '2026-01-01';
RESET ROLE;
DROP ROLE regress_orchestry_clock;
SET orchestry.no_such_setting = 1;

SET orchestry.now = '2026-01-11 12:00+00';

-- A renamed table is followed, a dropped one takes its job along; remove_policy() leaves plain partitions.
ALTER TABLE api.events RENAME TO renamed;
CALL orchestry.run_due();
SELECT target, target_name FROM orchestry.jobs;
SELECT orchestry.remove_policy(:job);
SELECT (SELECT count(*) FROM orchestry.jobs) AS jobs, (SELECT count(*) FROM orchestry.partition_policy) AS policies;
SELECT count(*) FROM pg_inherits WHERE inhparent = 'api.renamed'::regclass;
SELECT orchestry.add_partition_policy('api.renamed', interval '1 day', ahead => interval '2 days') > 0 AS again;
DROP TABLE api.renamed;
SELECT state FROM orchestry.jobs;
CALL orchestry.run_due();
SELECT count(*) FROM orchestry.jobs;

-- Every object of the extension says what it is.
SELECT pg_describe_object(d.classid, d.objid, 0) AS without_comment
FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
WHERE e.extname = 'orchestry_ext' AND d.deptype = 'e'
AND obj_description(d.objid, d.classid::regclass::name) IS NULL
-- 17 lists the row type and the array of each table, too
AND NOT (d.classid = 'pg_type'::regclass AND EXISTS (SELECT FROM pg_type t WHERE t.oid = d.objid AND (t.typrelid <> 0 OR t.typcategory = 'A')))
ORDER BY 1;
-- Tables that pg_dump takes along check no foreign key: pg_restore -j loads them in any order.
SELECT t.tgrelid::regclass, k.conname
FROM pg_extension e CROSS JOIN unnest(e.extconfig) c (oid)
JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgenabled <> 'D'
JOIN pg_constraint k ON k.oid = t.tgconstraint AND k.contype = 'f' AND k.conrelid = c.oid
WHERE e.extname = 'orchestry_ext' ORDER BY 1, 2;
SET client_min_messages = warning;
DROP SCHEMA api CASCADE;
