-- Who may do what: owner, member of the owner, stranger, owner without LOGIN, pg_monitor, superuser, for every function
-- and view of jobs and runs.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET timezone = 'UTC';
SET orchestry.now = '2026-03-10 12:00Z'; -- no day begins between the policy and its run, which has no step
DELETE FROM orchestry.job;
TRUNCATE orchestry.run, orchestry.run_step;
CREATE ROLE regress_owner LOGIN;
CREATE ROLE regress_member LOGIN IN ROLE regress_owner;
CREATE ROLE regress_noinherit LOGIN NOINHERIT IN ROLE regress_owner;
CREATE ROLE regress_stranger LOGIN;
CREATE ROLE regress_monitor LOGIN IN ROLE pg_monitor;
CREATE ROLE regress_group NOLOGIN;
CREATE ROLE regress_in_group LOGIN IN ROLE regress_group;
CREATE SCHEMA priv;
GRANT ALL ON SCHEMA priv TO PUBLIC;
SET SESSION AUTHORIZATION regress_owner;
CREATE TABLE priv.events (id bigint, at timestamptz NOT NULL) PARTITION BY RANGE (at);
SELECT orchestry.add_partition_policy('priv.events', interval '1 day', ahead => interval '2 days') AS job \gset
CALL orchestry.run_job(:job);
SELECT run_id AS run FROM orchestry.runs WHERE job_id = :job \gset
RESET SESSION AUTHORIZATION;
UPDATE orchestry.run SET state = 'failed', message = 'Key (secret)=(42)', detail = 'd', hint = 'h', context = 'c' WHERE run_id = :run;
INSERT INTO orchestry.run_step (run_id, seq, action, object, state, started_at, finished_at)
VALUES (:run, 1, 'create', 'x', 'ok', now(), now());
SET ROLE regress_group;
CREATE TABLE priv.group_events (id bigint, at timestamptz NOT NULL) PARTITION BY RANGE (at);
SELECT orchestry.add_partition_policy('priv.group_events', interval '1 day', ahead => interval '2 days') AS group_job \gset
RESET ROLE;

-- Whether the statement works for the current role: `ok` or the SQLSTATE; undone in any case.
CREATE FUNCTION priv.try(sql text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE sql;
    RAISE EXCEPTION USING ERRCODE = 'ZZ000';
EXCEPTION
    WHEN SQLSTATE 'ZZ000' THEN RETURN 'ok';
    WHEN OTHERS THEN RETURN SQLSTATE;
END $$;
CREATE TABLE priv.statement (nth int, what text, sql text);
INSERT INTO priv.statement VALUES
    (1, 'plan', format('SELECT count(*) FROM orchestry.plan(%L)', 'priv.events')),
    (2, 'plan of all', 'SELECT count(*) FROM orchestry.plan()'),
    (3, 'start_job', format('SELECT orchestry.start_job(%s)', :job)),
    (4, 'cancel_run', format('SELECT orchestry.cancel_run(%s)', :run)),
    (5, 'pause_job', format('SELECT orchestry.pause_job(%s)', :job)),
    (6, 'resume_job', format('SELECT orchestry.resume_job(%s)', :job)),
    (7, 'resume_all', 'SELECT orchestry.resume_all()'),
    (8, 'alter_policy', format('SELECT orchestry.alter_policy(%s, %L)', :job, '{"schedule": "1 day"}')),
    (9, 'remove_policy', format('SELECT orchestry.remove_policy(%s)', :job)),
    (10, 'pause_job of the group', format('SELECT orchestry.pause_job(%s)', :group_job)),
    (11, 'run_in_background', 'SELECT orchestry.run_in_background(''SELECT 1'')'),
    (12, 'start_scheduler', 'SELECT orchestry.start_scheduler()'),
    (13, 'stop_scheduler', 'SELECT orchestry.stop_scheduler()'),
    (14, 'scheduler_pid', 'SELECT orchestry.scheduler_pid()'),
    (15, 'use_pg_cron', 'SELECT orchestry.use_pg_cron()'),
    (16, 'stop_pg_cron', 'SELECT orchestry.stop_pg_cron()'),
    (17, 'capabilities', 'SELECT count(*) FROM orchestry.capabilities()'),
    (18, '_announce', 'SELECT orchestry._announce()'),
    (19, 'SELECT jobs', 'SELECT count(*) FROM orchestry.jobs'),
    (20, 'SELECT runs', 'SELECT count(*) FROM orchestry.runs'),
    (21, 'SELECT run_steps', 'SELECT count(*) FROM orchestry.run_steps'),
    (22, 'SELECT progress', 'SELECT count(*) FROM orchestry.progress'),
    (23, 'SELECT job', 'SELECT count(*) FROM orchestry.job'),
    (24, 'SELECT job_state', 'SELECT count(*) FROM orchestry.job_state'),
    (25, 'SELECT run', 'SELECT count(*) FROM orchestry.run'),
    (26, 'SELECT run_step', 'SELECT count(*) FROM orchestry.run_step'),
    (27, 'INSERT job', 'INSERT INTO orchestry.job SELECT * FROM orchestry.job WHERE false'),
    (28, 'UPDATE run', 'UPDATE orchestry.run SET state = ''ok'' WHERE false'),
    (29, 'UPDATE jobs', 'UPDATE orchestry.jobs SET kind = ''x'' WHERE false'),
    (30, 'UPDATE scheduler', 'UPDATE orchestry.scheduler SET wanted = false WHERE false'),
    (31, 'CREATE in schema', 'CREATE TABLE orchestry.mine ()'),
    (32, 'SET orchestry.now', 'SET LOCAL orchestry.now = ''2026-01-01''');
CREATE TABLE priv.matrix (nth int, what text, role text, answer text);
GRANT ALL ON ALL TABLES IN SCHEMA priv TO PUBLIC;
REVOKE ALL ON priv.events, priv.group_events FROM PUBLIC;

SET SESSION AUTHORIZATION regress_owner;
INSERT INTO priv.matrix SELECT nth, what, '1 owner', priv.try(sql) FROM priv.statement;
SET SESSION AUTHORIZATION regress_member;
INSERT INTO priv.matrix SELECT nth, what, '2 member', priv.try(sql) FROM priv.statement;
SET SESSION AUTHORIZATION regress_noinherit;
INSERT INTO priv.matrix SELECT nth, what, '3 noinherit', priv.try(sql) FROM priv.statement;
SET SESSION AUTHORIZATION regress_in_group;
INSERT INTO priv.matrix SELECT nth, what, '4 in group', priv.try(sql) FROM priv.statement;
SET SESSION AUTHORIZATION regress_stranger;
INSERT INTO priv.matrix SELECT nth, what, '5 stranger', priv.try(sql) FROM priv.statement;
SET SESSION AUTHORIZATION regress_monitor;
INSERT INTO priv.matrix SELECT nth, what, '6 monitor', priv.try(sql) FROM priv.statement;
RESET SESSION AUTHORIZATION;
INSERT INTO priv.matrix SELECT nth, what, '7 superuser', priv.try(sql) FROM priv.statement;
SELECT what, role, answer FROM priv.matrix ORDER BY nth, role \crosstabview what role answer

-- The same for the procedures, which commit and so cannot be tried.
SET SESSION AUTHORIZATION regress_stranger;
CALL orchestry.run('priv.events');
\echo :LAST_ERROR_SQLSTATE
CALL orchestry.run_job(:job);
\echo :LAST_ERROR_SQLSTATE
CALL orchestry.run();
CALL orchestry.run_due();
SET SESSION AUTHORIZATION regress_monitor;
CALL orchestry.run_job(:job);
\echo :LAST_ERROR_SQLSTATE
SET SESSION AUTHORIZATION regress_noinherit;
CALL orchestry.run_job(:job);
\echo :LAST_ERROR_SQLSTATE
SET ROLE regress_owner;
CALL orchestry.run_job(:job);
SET SESSION AUTHORIZATION regress_member;
CALL orchestry.run_job(:job);
CALL orchestry.run('priv.events');
SET SESSION AUTHORIZATION regress_in_group;
CALL orchestry.run_job(:group_job);
RESET SESSION AUTHORIZATION;
CALL orchestry.run();

-- What the views show: all to the owner and his members, no texts to pg_monitor, nothing to others.
SET SESSION AUTHORIZATION regress_owner;
SELECT (SELECT count(*) FROM orchestry.jobs) AS jobs, (SELECT count(*) FROM orchestry.run_steps) AS steps, state, message, detail, hint, context
FROM orchestry.runs WHERE run_id = :run;
SET SESSION AUTHORIZATION regress_member;
SELECT (SELECT count(*) FROM orchestry.jobs) AS jobs, (SELECT count(*) FROM orchestry.run_steps) AS steps, state, message, detail, hint, context
FROM orchestry.runs WHERE run_id = :run;
SET SESSION AUTHORIZATION regress_monitor;
SELECT (SELECT count(*) FROM orchestry.jobs) AS jobs, (SELECT count(*) FROM orchestry.run_steps) AS steps, state, message, detail, hint, context
FROM orchestry.runs WHERE run_id = :run;
SET SESSION AUTHORIZATION regress_stranger;
SELECT (SELECT count(*) FROM orchestry.jobs) AS jobs, (SELECT count(*) FROM orchestry.run_steps) AS steps, (SELECT count(*) FROM orchestry.runs) AS runs;
-- A function that leaks its argument sees no more than the view shows.
CREATE FUNCTION pg_temp.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE WARNING 'leaked %', $1; RETURN true; END $$;
SELECT count(*) FROM orchestry.runs WHERE pg_temp.leak(target) AND pg_temp.leak(message);
SELECT count(*) FROM orchestry.jobs WHERE pg_temp.leak(target_name);
DROP FUNCTION pg_temp.leak;
RESET SESSION AUTHORIZATION;

-- The job follows its table: a new owner may, the old one may not any more.
ALTER TABLE priv.events OWNER TO regress_stranger;
SET SESSION AUTHORIZATION regress_owner;
SELECT orchestry.pause_job(:job);
\echo :LAST_ERROR_SQLSTATE
SET SESSION AUTHORIZATION regress_stranger;
SELECT orchestry.pause_job(:job);
SELECT orchestry.remove_policy(:job);
RESET SESSION AUTHORIZATION;

-- No function is executable by everybody because somebody forgot to say who may; these are for administrators only.
SELECT count(*) AS default_acl FROM pg_proc WHERE pronamespace = 'orchestry'::regnamespace AND proacl IS NULL;
SELECT proname FROM pg_proc p WHERE pronamespace = 'orchestry'::regnamespace
AND proname IN ('run_in_background', 'start_scheduler', 'stop_scheduler', 'use_pg_cron', 'stop_pg_cron', '_announce')
AND NOT EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 0) ORDER BY 1;
SELECT relname FROM pg_class c WHERE relnamespace = 'orchestry'::regnamespace AND relkind IN ('r', 'S')
AND EXISTS (SELECT FROM aclexplode(COALESCE(c.relacl, acldefault('r', c.relowner))) a WHERE a.grantee = 0) ORDER BY 1;

DROP SCHEMA priv CASCADE;
CALL orchestry.run_due();
DROP ROLE regress_member, regress_noinherit, regress_in_group, regress_owner, regress_stranger, regress_monitor, regress_group;
