-- Materialized views that are looked at and left alone: that is remembered, and nothing is written down.
\set VERBOSITY terse
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET client_min_messages = warning;
SELECT setval('orchestry.job_job_id_seq', 25001, false);
CREATE SCHEMA looks;
SET search_path = looks;
CREATE TABLE t (id int PRIMARY KEY);
CREATE MATERIALIZED VIEW n AS SELECT count(*) FROM t;
SET orchestry.now = '2026-03-10 12:00Z';
SELECT orchestry.add_refresh_policy('n', '1 hour');
CALL orchestry.run('n');
-- On the disk, and as it is shown.
CREATE VIEW written AS SELECT s.xmin::text AS state_of, r.xmin::text AS refresh_of, s.next_run_at, s.last_state, r.as_of,
    (SELECT count(*) FROM orchestry.run WHERE job_id = 25001) AS runs
FROM orchestry.job_state s JOIN orchestry.refresh_state r USING (job_id) WHERE s.job_id = 25001;
CREATE VIEW shown AS SELECT j.state, j.last_at, j.last_ok_at, j.failures, m.as_of, m.changed, m.last_state, m.last_state = j.last_state AS both,
    date_bin('1 minute', m.next_run_at + interval '30 s', '2000-01-01Z') AS next_run_at, m.next_run_at = j.next_run_at AS same
FROM orchestry.jobs j JOIN orchestry.matviews m USING (job_id) WHERE j.job_id = 25001;
SELECT * FROM shown \gx
CREATE TABLE before AS TABLE written;

SET orchestry.now = '2026-03-10 13:00Z';
CALL orchestry.run_due();
SELECT * FROM shown \gx
SELECT e.state, e.reason, e.next_action, e.next_at = j.next_run_at AS same FROM orchestry.explain('n') e JOIN orchestry.jobs j USING (job_id);
SET orchestry.now = '2026-03-10 13:59Z';
CALL orchestry.run_due(); -- it is not due
SELECT next_run_at, as_of FROM shown;
SET orchestry.now = '2026-03-10 15:00Z';
CALL orchestry.run_due();
SELECT next_run_at, as_of FROM shown;
TABLE before EXCEPT TABLE written;

-- What is remembered counts as if it were written: the view is too old from an hour after it was looked at.
INSERT INTO t VALUES (1);
SET orchestry.now = '2026-03-10 16:00Z';
CALL orchestry.run_due();
TABLE n;
SELECT last_state, as_of, next_run_at FROM shown;
SELECT count(*) FROM orchestry.refresh_breach WHERE job_id = 25001;
SET orchestry.now = '2026-03-10 17:00Z';
CALL orchestry.run_due();
INSERT INTO t VALUES (2);
SET orchestry.now = '2026-03-10 18:30Z';
CALL orchestry.run_due();
SELECT from_at, to_at FROM orchestry.refresh_breach WHERE job_id = 25001;

-- Whoever changes the job makes it void, within the same moment, too.
SET orchestry.now = '2026-03-10 19:30Z';
CALL orchestry.run_due();
SELECT next_run_at, last_state FROM shown;
SELECT orchestry.alter_policy(25001, '{"max_staleness": "2 hours"}');
SELECT next_run_at, last_state FROM shown;
CALL orchestry.run_due();
SELECT next_run_at, last_state FROM shown;
SELECT orchestry.pause_job(25001), orchestry.resume_job(25001);
SELECT next_run_at, last_state FROM shown;
CALL orchestry.run_due();
UPDATE orchestry.job_state SET next_run_at = '2026-03-10 20:00Z' WHERE job_id = 25001;
SELECT next_run_at, last_state FROM shown;

-- Nothing is known of what a clock that was ahead has seen.
SET orchestry.now = '2026-03-11 20:00Z';
CALL orchestry.run_due();
SELECT as_of, last_state FROM shown;
SET orchestry.now = '2026-03-10 20:01Z';
SELECT as_of, last_state FROM shown;
CALL orchestry.run_due();
SELECT as_of, last_state, next_run_at FROM shown;

-- By hand it is a run of its own; and so is the first look after a failure.
CALL orchestry.refresh('n');
SELECT state, repeated FROM orchestry.runs WHERE job_id = 25001 ORDER BY run_id DESC LIMIT 1;
UPDATE orchestry.job_state SET failures = 3, last_state = 'failed', next_run_at = '2026-03-10 20:02Z' WHERE job_id = 25001;
SET orchestry.now = '2026-03-10 20:02Z';
CALL orchestry.run_due();
SELECT failures, last_state, last_ok_at FROM orchestry.job_state WHERE job_id = 25001;

-- A look is of the refresh that it has seen: one made of parents that may be older is not as young as the one before.
CREATE MATERIALIZED VIEW above AS SELECT * FROM n;
SELECT orchestry.add_refresh_policy('above', '1 hour') AS above \gset
CALL orchestry.refresh('above');
SET orchestry.now = '2026-03-10 23:00Z';
CALL orchestry.run_due();
SELECT as_of FROM orchestry.matviews WHERE job_id = :above;
UPDATE orchestry.refresh_state SET refreshed_at = '2026-03-10 22:59Z', as_of = '2026-03-10 22:00Z' WHERE job_id = :above;
SELECT as_of FROM orchestry.matviews WHERE job_id = :above;

-- What a look has found stays true when it is void: when the job is altered, and when its next run fails.
SET orchestry.now = '2026-03-11 02:00Z';
CALL orchestry.run_due();
SELECT orchestry.alter_policy(25001, '{"max_staleness": "90 minutes"}');
SELECT last_at, last_ok_at, as_of FROM shown;
SELECT setval('orchestry.job_job_id_seq', 26001, false);
CREATE MATERIALIZED VIEW failing AS SELECT sum(1 / id) FROM t;
SELECT orchestry.add_refresh_policy('failing', '1 hour');
CALL orchestry.refresh('failing');
SET orchestry.now = '2026-03-11 04:00Z';
CALL orchestry.run_due();
SELECT as_of FROM orchestry.refresh_state WHERE job_id = 26001;
INSERT INTO t VALUES (0);
SET orchestry.now = '2026-03-11 05:30Z';
CALL orchestry.run_due();
SELECT last_state, last_at, last_ok_at, failures FROM orchestry.jobs WHERE job_id = 26001;
SELECT as_of FROM orchestry.refresh_state WHERE job_id = 26001; -- for as long as it fails
DELETE FROM t WHERE id = 0;
SET orchestry.now = '2026-03-11 06:00Z';
CALL orchestry.run_due();
SELECT from_at, to_at FROM orchestry.refresh_breach WHERE job_id = 26001;
-- A run that could not begin is later than the last look.
SET orchestry.now = '2026-03-11 08:00Z';
CALL orchestry.run_due();
UPDATE orchestry.job_state SET failures = 1, last_state = 'failed', last_at = '2026-03-11 08:10Z' WHERE job_id = 26001;
SET orchestry.now = '2026-03-11 08:20Z';
SELECT j.last_state, j.last_at, j.last_ok_at, m.last_state, m.as_of FROM orchestry.jobs j JOIN orchestry.matviews m USING (job_id) WHERE job_id = 26001;

SELECT orchestry.remove_policy(26001);
SELECT orchestry.remove_policy(25001), orchestry.remove_policy(:above);
DROP SCHEMA looks CASCADE;
