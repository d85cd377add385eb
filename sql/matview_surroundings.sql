-- Materialized views and what is around them: the server's clock, rights in the database, where rows are stored.
\set VERBOSITY terse
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET client_min_messages = warning;
SELECT setval('orchestry.job_job_id_seq', 23001, false);
CREATE SCHEMA surroundings;
SET search_path = surroundings;
CREATE TABLE t (id int PRIMARY KEY, v int);
INSERT INTO t SELECT g, g FROM generate_series(1, 100) g;

-- A clock that was ahead for a while: jobs do not wait until it is that late again, and hints are no older than they seem.
CREATE MATERIALIZED VIEW proven AS SELECT count(*) FROM t;
CREATE MATERIALIZED VIEW hinted AS SELECT count(*) FROM t;
SET orchestry.now = '2027-03-10 12:00Z';
SELECT orchestry.add_refresh_policy('proven', '10 min'), orchestry.add_refresh_policy('hinted', '10 min', change_detection => 'stats');
CALL orchestry.run('proven');
CALL orchestry.run('hinted');
SET orchestry.now = '2026-03-10 12:00Z';
SELECT orchestry.resume_job(job_id) FROM generate_series(23001, 23002) job_id;
CALL orchestry.run_due();
SELECT j.job_id, j.last_state, j.next_run_at < '2026-03-10 12:11Z' AS soon, m.as_of FROM orchestry.jobs j JOIN orchestry.matviews m USING (job_id) WHERE j.job_id IN (23001, 23002) ORDER BY job_id;
INSERT INTO t VALUES (101, 101);
SET orchestry.now = '2026-03-10 12:10Z';
CALL orchestry.run_due();
TABLE proven;

-- An owner who may not make temporary tables.
SELECT current_database() AS db \gset
REVOKE TEMPORARY ON DATABASE :"db" FROM PUBLIC;
CREATE ROLE regress_matview_plain;
GRANT USAGE, CREATE ON SCHEMA surroundings TO regress_matview_plain;
SET ROLE regress_matview_plain;
CREATE TABLE own AS SELECT g AS id FROM generate_series(1, 3) g;
CREATE MATERIALIZED VIEW keyed AS SELECT id FROM own;
CREATE UNIQUE INDEX ON keyed (id);
SELECT orchestry.add_refresh_policy('keyed') AS job \gset
SELECT action, reason, locks FROM orchestry.plan('keyed');
CALL orchestry.refresh('keyed');
SELECT action, state FROM orchestry.run_steps WHERE run_id = (SELECT last_run_id FROM orchestry.jobs WHERE job_id = :job) ORDER BY seq;
SELECT orchestry.alter_policy(:job, '{"mode": "concurrently"}');
INSERT INTO own VALUES (4);
SELECT action, blocked_by FROM orchestry.plan('keyed');
RESET ROLE;
GRANT TEMPORARY ON DATABASE :"db" TO regress_matview_plain;
SELECT sql, blocked_by FROM orchestry.plan('keyed');
CALL orchestry.refresh('keyed');
TABLE keyed;
GRANT TEMPORARY ON DATABASE :"db" TO PUBLIC;

-- Where rows are stored, and who has locked them, changes without a change of a row.
CREATE MATERIALIZED VIEW first AS SELECT min(ctid) AS at FROM t;
CREATE MATERIALIZED VIEW locked AS SELECT count(*) FROM t WHERE xmax <> '0';
CREATE MATERIALIZED VIEW first_commands AS SELECT t.id FROM t WHERE (SELECT i.cmin FROM t i WHERE i.id = t.id) = '0';
CREATE MATERIALIZED VIEW places AS SELECT tableoid::oid AS place, xmin::text AS written_by, id FROM t;
SELECT orchestry.add_refresh_policy(v) FROM unnest('{first,locked,first_commands,places}'::regclass[]) v;
SELECT v, (SELECT e.reason FROM orchestry.explain(v) e WHERE e.state = 'never skipped') FROM unnest('{first,locked,first_commands,places}'::regclass[]) v;

DROP SCHEMA surroundings CASCADE;
REVOKE TEMPORARY ON DATABASE :"db" FROM regress_matview_plain;
DROP ROLE regress_matview_plain;
CALL orchestry.run_due();
SELECT count(*) FROM orchestry.jobs WHERE job_id BETWEEN 23001 AND 23099;
