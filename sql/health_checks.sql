-- health(): what concerns our own jobs, found at a time that the test sets; its errors, its budget, and who sees what.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET search_path = pg_catalog;
SELECT pg_catalog.setval('orchestry.job_job_id_seq', 9001, false);
SET orchestry.now = '2026-03-10 12:00:00+00';
CREATE SCHEMA hc;
CREATE ROLE regress_hc;
CREATE ROLE regress_hc_monitor IN ROLE pg_monitor;
GRANT ALL ON SCHEMA hc TO regress_hc;

-- a database in which all is well has no finding
CREATE TABLE hc.events (at timestamptz NOT NULL, note text) PARTITION BY RANGE (at);
ALTER TABLE hc.events OWNER TO regress_hc;
SELECT orchestry.add_partition_policy('hc.events', interval '1 day', ahead => interval '8 days', past => interval '2 days');
CREATE TABLE hc.numbers (id bigint GENERATED ALWAYS AS IDENTITY, note text) PARTITION BY RANGE (id);
SELECT orchestry.add_partition_policy('hc.numbers', every => 100::bigint);
SELECT severity, code, object FROM orchestry.health() WHERE object LIKE '%hc%';

-- runway and lateness as the clock goes on
CREATE FUNCTION hc.health_at(at timestamptz, only_code text) RETURNS TABLE (severity text, code text, object text, detail text, fix_sql text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('orchestry.now', at::text, false);
    RETURN QUERY SELECT h.severity, h.code, h.object, h.detail, h.fix_sql FROM orchestry.health() h WHERE h.code = only_code AND concat(h.object, h.detail, h.fix_sql) ~ 'hc[.]|9\d\d\d|scheduler' ORDER BY h.object, h.detail;
END $$;
SELECT * FROM hc.health_at('2026-03-12 12:00Z', 'runway');
SELECT * FROM hc.health_at('2026-03-16 12:00Z', 'runway');
SELECT * FROM hc.health_at('2026-03-17 12:00Z', 'runway');
SELECT * FROM hc.health_at('2026-03-18 12:00Z', 'runway');
SELECT * FROM hc.health_at('2026-03-20 12:00Z', 'runway');
SELECT * FROM hc.health_at('2026-03-12 12:00Z', 'job_late');
SELECT * FROM hc.health_at('2026-03-12 12:00Z', 'scheduler');
SELECT orchestry.pause_job(9001), orchestry.pause_job(9002);
SELECT * FROM hc.health_at('2026-03-12 12:00Z', 'job_late');
SELECT * FROM hc.health_at('2026-03-12 12:00Z', 'scheduler');
SELECT orchestry.resume_job(9001), orchestry.resume_job(9002);
SET orchestry.now = '2026-03-10 12:00:00+00';
-- numbers: the last partition that takes rows of now
INSERT INTO hc.numbers (note) SELECT 'x' FROM generate_series(1, 399);
SELECT * FROM hc.health_at('2026-03-10 12:00Z', 'runway');
CALL orchestry.run_job(9002);
SELECT * FROM hc.health_at('2026-03-10 12:00Z', 'runway');

-- a gap, and rows in the default partition
DROP TABLE hc.events_p20260314;
SELECT * FROM hc.health_at('2026-03-10 12:00Z', 'partition_gap');
CREATE TABLE hc.events_rest PARTITION OF hc.events DEFAULT;
ALTER TABLE hc.events_rest OWNER TO regress_hc;
SELECT * FROM hc.health_at('2026-03-10 12:00Z', 'default_rows');
INSERT INTO hc.events VALUES ('2026-03-14 01:00Z', 'in the default');
SELECT * FROM hc.health_at('2026-03-10 12:00Z', 'default_rows');
DROP TABLE hc.events_rest;
CALL orchestry.run_job(9001);
SELECT * FROM hc.health_at('2026-03-10 12:00Z', 'partition_gap');

-- retention that does not happen, for whatever reason; held rows are another matter
SELECT orchestry.add_retention_policy('hc.events', interval '3 days');
SELECT * FROM hc.health_at('2026-03-13 12:00Z', 'retention_drift');
SELECT * FROM hc.health_at('2026-03-15 12:00Z', 'retention_drift');
SELECT orchestry.hold('hc.events', 'case 1', "to" => '2026-03-10') AS hold \gset
SELECT * FROM hc.health_at('2026-03-15 12:00Z', 'retention_drift');
SELECT severity, replace(object, :'hold', 'N') AS object, detail, replace(fix_sql, :'hold', 'N') AS fix_sql FROM hc.health_at('2026-03-15 12:00Z', 'held_data');
SELECT orchestry.release_hold(:hold, 'done');
SET orchestry.now = '2026-03-15 12:00:00+00';
CALL orchestry.run_job(9003);
SELECT * FROM hc.health_at('2026-03-15 12:00Z', 'retention_drift');
SELECT count(*) > 0 AS not_dropped FROM hc.health_at('2026-03-26 12:00Z', 'retention_drift') WHERE object LIKE '%quarantine%';

-- conditions, which may quote rows, are for the owner, and what others hold is nobody's business
BEGIN;
CREATE TABLE hc.patients (at timestamptz NOT NULL, v float8, state text);
CREATE TABLE hc.visits (at timestamptz NOT NULL, v float8, state text);
ALTER TABLE hc.patients OWNER TO regress_hc;
ALTER TABLE hc.visits OWNER TO regress_hc;
SELECT orchestry.add_retention_policy('hc.visits', interval '1 year', 'at', "where" => $$state = 'dead'$$) > 0 AS added;
SELECT orchestry.create_rollup('hc.sick', 'hc.patients', 'at', 'v', '1 hour', "where" => $$state = 'ill'$$) > 0 AS added;
SELECT orchestry.hold('hc.visits', 'case 2') > 0 AS held;
CREATE FUNCTION hc.seen() RETURNS TABLE (jobs bigint, conditions text, holds boolean) LANGUAGE sql AS $$
    SELECT count(*), concat_ws(', ', string_agg(settings ->> 'where', ', ' ORDER BY job_id), (SELECT "where" FROM orchestry.rollups WHERE source = 'hc.patients'::regclass)),
           (SELECT value > 0 FROM orchestry.metrics WHERE name = 'orchestry_holds')
    FROM orchestry.jobs WHERE target_schema = 'hc' AND target_name IN ('patients', 'visits')
$$;
CREATE ROLE regress_hc_stranger;
GRANT USAGE ON SCHEMA hc TO regress_hc_stranger, regress_hc_monitor;
SELECT * FROM hc.seen();
SET ROLE regress_hc;
SELECT * FROM hc.seen();
SET ROLE regress_hc_monitor;
SELECT * FROM hc.seen();
SET ROLE regress_hc_stranger;
SELECT * FROM hc.seen();
ROLLBACK;
SELECT pg_catalog.setval('orchestry.job_job_id_seq', 9004, false);

-- failures: their text is for the owner
SET orchestry.now = '2026-03-15 12:00:00+00';
UPDATE orchestry.job_state SET failures = 1, last_state = 'failed', last_run_id = (SELECT max(run_id) FROM orchestry.run WHERE job_id = 9001) WHERE job_id = 9001;
UPDATE orchestry.run SET state = 'failed', sqlstate = '23505', message = 'Key (secret)=(42)' WHERE run_id = (SELECT last_run_id FROM orchestry.job_state WHERE job_id = 9001);
SELECT * FROM hc.health_at('2026-03-15 12:00Z', 'job_failed');
UPDATE orchestry.job_state SET failures = 3 WHERE job_id = 9001;
SET ROLE regress_hc_monitor;
SELECT severity, object, detail FROM orchestry.health() WHERE code = 'job_failed';
SET ROLE regress_hc;
SELECT severity, object, detail FROM orchestry.health() WHERE code IN ('job_failed', 'visibility');
RESET ROLE;
UPDATE orchestry.job_state SET failures = 0 WHERE job_id = 9001;

-- restored jobs
UPDATE orchestry.job SET origin_database = 1 WHERE job_id = 9002;
SELECT * FROM hc.health_at('2026-03-15 12:00Z', 'restored_job');
SELECT orchestry.resume_job(9002);
SELECT * FROM hc.health_at('2026-03-15 12:00Z', 'restored_job');

-- rollups that nobody stores
CREATE TABLE hc.m (at timestamptz NOT NULL, v float8);
SELECT orchestry.create_rollup('hc.r', 'hc.m', 'at', 'v', '1 hour');
INSERT INTO hc.m VALUES ('2026-03-15 08:00Z', 1);
SELECT * FROM hc.health_at('2026-03-15 12:00Z', 'rollup_lag');
SELECT severity, code, object, detail FROM hc.health_at('2026-03-15 15:00Z', 'rollup_lag');
CALL orchestry.run_job(9004);
SELECT * FROM hc.health_at('2026-03-15 15:30Z', 'rollup_lag');

-- a materialized view that is older than it may be: neither one that was found unchanged since, nor one whose job is paused
SET orchestry.now = '2026-03-15 12:00:00+00';
CREATE MATERIALIZED VIEW hc.mv AS SELECT count(*) AS n FROM hc.m;
SELECT orchestry.add_refresh_policy('hc.mv', interval '30 minutes');
SELECT * FROM hc.health_at('2026-03-15 12:31Z', 'matview_stale');
SELECT * FROM hc.health_at('2026-03-15 12:32Z', 'matview_stale');
SET orchestry.now = '2026-03-15 12:40:00+00';
CALL orchestry.run_job(9005);
SELECT * FROM hc.health_at('2026-03-15 13:11Z', 'matview_stale');
SELECT * FROM hc.health_at('2026-03-15 13:12Z', 'matview_stale');
SELECT what, ok, detail FROM orchestry.verify('hc.mv');
CALL orchestry.run_job(9005); -- nothing has changed: it is right as of now
SELECT * FROM hc.health_at('2026-03-15 13:12Z', 'matview_stale');
SELECT what, ok, detail FROM orchestry.verify('hc.mv');
UPDATE orchestry.refresh_state SET durations = '{20 min}' WHERE job_id = 9005;
SELECT severity, detail FROM hc.health_at('2026-03-15 14:13Z', 'matview_stale');
SELECT orchestry.pause_job(9005);
SELECT * FROM hc.health_at('2026-03-15 14:13Z', 'matview_stale');
SELECT orchestry.resume_job(9005);
-- a refresh that fails is a failed job like others
CREATE MATERIALIZED VIEW hc.mv_failing AS SELECT 1 / count(*) AS n FROM hc.m;
SELECT orchestry.add_refresh_policy('hc.mv_failing', interval '30 minutes');
DELETE FROM hc.m;
CALL orchestry.run_job(9006);
SELECT severity, object, detail FROM hc.health_at('2026-03-15 12:00Z', 'job_failed') WHERE object LIKE '%mv_failing%';
SET client_min_messages = error;
DROP MATERIALIZED VIEW hc.mv, hc.mv_failing;
SET client_min_messages = warning;

-- a check that fails is a finding, and the others go on
RESET orchestry.now;
BEGIN;
ALTER VIEW orchestry._check_runway RENAME TO _check_gone;
SELECT severity, code, object, detail FROM orchestry.health() WHERE severity = 'unknown';
ROLLBACK;
-- each check is asked
BEGIN;
SELECT string_agg(substr(relname, 8), ' ' ORDER BY relname) AS checks FROM pg_class WHERE relnamespace = 'orchestry'::regnamespace AND relname LIKE '\_check\_%' \gset
DO $$
DECLARE
    c name;
BEGIN
    FOR c IN SELECT relname FROM pg_class WHERE relnamespace = 'orchestry'::regnamespace AND relname LIKE '\_check\_%' LOOP
        EXECUTE format('ALTER VIEW orchestry.%I RENAME TO %I', c, 'gone' || c);
    END LOOP;
END $$;
SELECT string_agg(code, ' ' ORDER BY code) = :'checks' AS all_are_asked, count(*) > 25 AS many FROM orchestry.health() WHERE severity = 'unknown';
ROLLBACK;
-- so is one that takes too long
BEGIN;
ALTER VIEW orchestry._check_visibility RENAME TO _check_gone;
CREATE VIEW orchestry._check_visibility AS
SELECT 'info' AS severity, 'x' AS object, pg_sleep(3600)::text AS detail, NULL AS fix_sql, NULL AS fix_lock, NULL::jsonb AS evidence;
SELECT severity, code, object, detail FROM orchestry.health('20 ms') WHERE code = 'visibility';
ROLLBACK;
-- and a cancel of the whole is none
BEGIN;
ALTER VIEW orchestry._check_wraparound RENAME TO _check_gone;
CREATE VIEW orchestry._check_wraparound AS
SELECT 'info' AS severity, 'x' AS object, pg_sleep(3600)::text AS detail, NULL AS fix_sql, NULL AS fix_lock, NULL::jsonb AS evidence;
SET LOCAL statement_timeout = '50 ms';
SELECT count(*) FROM orchestry.health('1 hour');
ROLLBACK;
SELECT * FROM orchestry.health('0');
SELECT * FROM orchestry.health('1 month');
SELECT * FROM orchestry.health(NULL);
-- what is called internally looks after itself
SELECT orchestry._tuple_bytes('{8}', '{8}', '{8}', '{1}');
SELECT orchestry._tuple_bytes('{8}', '{0}', '{8}', '{1}');
SELECT orchestry._tuple_bytes('{8}', '{8,8}', '{8}', '{1}');
SELECT orchestry._tuple_bytes('{8}', '{8}', '{NaN}', '{1}');
SELECT orchestry._tuple_bytes('{8}', '{8}', '{8}', '{2}');
CREATE TABLE hc.secret (a int);
INSERT INTO hc.secret VALUES (1);
CREATE VIEW hc.secret_view AS SELECT a FROM hc.secret;
SELECT 'hc.secret_view'::regclass::oid AS secret_view \gset
SELECT 'hc.secret'::regclass::oid AS secret \gset
SET ROLE regress_hc;
SELECT orchestry._has_rows('hc.secret');
SET ROLE regress_hc_monitor;
SELECT orchestry._has_rows(:secret);
SELECT orchestry._has_rows(:secret_view); -- which would run its functions
RESET ROLE;
SELECT orchestry._has_rows(0);
\set VERBOSITY sqlstate
SELECT orchestry._sequence_position('hc.secret');

SELECT count(orchestry.remove_policy(job_id)) FROM orchestry.jobs WHERE job_id IN (9001, 9002, 9003);
SELECT orchestry.drop_rollup('hc.r');
DROP SCHEMA hc CASCADE;
DROP ROLE regress_hc, regress_hc_monitor;
