-- Watches that somebody is in the way of, and what counts as a source when names have changed.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET orchestry.now = '2026-03-10 12:30Z';
SET client_min_messages = warning;
CREATE SCHEMA capture_watches;
SET search_path = capture_watches;
SELECT setval('orchestry.job_job_id_seq', 21001, false);
CREATE TABLE m (ts timestamptz NOT NULL, v float8) PARTITION BY RANGE (ts);
CREATE TABLE m_01 PARTITION OF m FOR VALUES FROM ('2026-01-01Z') TO ('2026-02-01Z');
CREATE TABLE m_02 PARTITION OF m FOR VALUES FROM ('2026-02-01Z') TO ('2026-03-01Z');
INSERT INTO m SELECT '2026-01-05Z'::timestamptz + i * interval '1 hour', i FROM generate_series(1, 3) i;
SELECT orchestry.create_rollup('r', 'm', 'ts', 'v', '1 hour');
SELECT orchestry.create_rollup('days', 'm', 'ts', 'v', '1 day', parent => 'r');
CALL orchestry.run('m');
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';

-- A trigger in the place of one that counts.
CREATE OR REPLACE TRIGGER orchestry_watch_21001 AFTER INSERT ON m FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE OR REPLACE TRIGGER orchestry_watch_21001_truncate AFTER TRUNCATE ON m FOR EACH STATEMENT EXECUTE FUNCTION nothing();
CREATE OR REPLACE TRIGGER orchestry_watch_21002 AFTER INSERT ON r_buckets FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE OR REPLACE TRIGGER mine AFTER INSERT ON m FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE OR REPLACE TRIGGER mine AFTER UPDATE ON m FOR EACH ROW EXECUTE FUNCTION nothing();
DROP TRIGGER mine ON m;
INSERT INTO m VALUES ('2026-01-05 01:10Z', 1);
SELECT sum(data_points) FROM r;

-- One that says nothing that makes sense, on a table that nobody watches.
CREATE TABLE p (ts timestamptz NOT NULL) PARTITION BY RANGE (ts);
CREATE TABLE p_01 PARTITION OF p FOR VALUES FROM ('2026-01-01Z') TO ('2026-02-01Z');
CREATE TRIGGER z AFTER INSERT ON p FOR EACH ROW EXECUTE FUNCTION orchestry._capture('21001', 'ts', '0', '0', '0', 'UTC');
ALTER TABLE p DETACH PARTITION p_01;
TRUNCATE p;
DROP TABLE p, p_01;

-- As in a copy of the database, where jobs wait: the table is renamed, and another one takes its name.
UPDATE orchestry.job SET origin_database = 1 WHERE job_id IN (21001, 21002);
SELECT job_id, state FROM orchestry.jobs WHERE job_id IN (21001, 21002) ORDER BY 1;
ALTER TABLE m RENAME TO m2;
INSERT INTO m2 VALUES ('2026-01-05 02:10Z', 1);
CREATE TABLE m (ts timestamptz NOT NULL, v float8);
INSERT INTO m2 VALUES ('2026-01-05 03:10Z', 1);
SELECT (SELECT sum(data_points) FROM r) AS r, (SELECT sum(data_points) FROM days) AS days, (SELECT count(*) FROM m2) AS m2;
DROP TABLE m;
ALTER TABLE m2 RENAME TO m;
SELECT orchestry.resume_job(21001), orchestry.resume_job(21002);
CALL orchestry.run('m');
SELECT (SELECT sum(data_points) FROM r) AS r, (SELECT sum(data_points) FROM days) AS days, (SELECT count(*) FROM orchestry.verify_rollup('r')) AS wrong;

-- A view of somebody else in the place of the rollup's is not believed.
CREATE ROLE capture_watches_mallory;
GRANT ALL ON SCHEMA capture_watches TO capture_watches_mallory;
ALTER VIEW r RENAME TO r_raw;
SET ROLE capture_watches_mallory;
CREATE TABLE mine (ts timestamptz NOT NULL) PARTITION BY RANGE (ts);
CREATE TABLE mine_01 PARTITION OF mine FOR VALUES FROM ('2026-01-01Z') TO ('2026-02-01Z');
CREATE VIEW r AS SELECT * FROM mine;
CREATE TRIGGER z AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION orchestry._capture('21001', 'ts', '0', '1', '0', 'UTC');
INSERT INTO mine VALUES ('2026-01-05Z');
DROP TABLE mine_01;
RESET ROLE;
SELECT frozen FROM orchestry.rollups WHERE job_id = 21001;
DROP VIEW r;
DROP TABLE mine;
ALTER VIEW r_raw RENAME TO r;

-- What is not believed is asked for once in a command, and again in the next one: jobs may have been restored meanwhile.
CREATE MATERIALIZED VIEW v AS SELECT count(*) FROM m;
SELECT orchestry.add_refresh_policy('v');
CREATE TABLE restored (i int);
CREATE TRIGGER z AFTER INSERT ON restored FOR EACH ROW EXECUTE FUNCTION orchestry._capture('21003');
DELETE FROM orchestry.dirty_mark WHERE job_id = 21003;
BEGIN;
SELECT pg_stat_get_xact_numscans('orchestry.refresh_source_pkey'::regclass) AS searches \gset
INSERT INTO restored SELECT generate_series(1, 1000);
SELECT pg_stat_get_xact_numscans('orchestry.refresh_source_pkey'::regclass) - :searches < 10 AS few_searches;
INSERT INTO orchestry.refresh_source VALUES (21003, 'restored'::regclass);
INSERT INTO restored VALUES (1);
COMMIT;
SELECT count(*) FROM orchestry.dirty_mark WHERE job_id = 21003;
DROP TABLE restored;
SELECT orchestry.remove_policy(21003);

-- A partition whose DETACH CONCURRENTLY was interrupted before the rollup was made: nothing was computed from it.
SELECT orchestry.drop_rollup('days'), orchestry.drop_rollup('r');
INSERT INTO m VALUES ('2026-02-05 01:10Z', 1);
UPDATE pg_inherits SET inhdetachpending = true WHERE inhrelid = 'm_01'::regclass;
ALTER TABLE m ALTER v SET STATISTICS 10; -- everybody reads the partitions anew
SELECT orchestry.create_rollup('r', 'm', 'ts', 'v', '1 hour');
CALL orchestry.refresh_rollup('r');
SELECT bucket, data_points FROM r;
ALTER TABLE m DETACH PARTITION m_01 FINALIZE;
SELECT frozen FROM orchestry.rollups WHERE job_id = 21004;
CREATE TABLE m_01_new PARTITION OF m FOR VALUES FROM ('2026-01-01Z') TO ('2026-02-01Z');
INSERT INTO m VALUES ('2026-01-05 01:10Z', 1);
SELECT bucket, data_points FROM r ORDER BY 1;
-- the same of one that is dropped
SELECT orchestry.drop_rollup('r');
UPDATE pg_inherits SET inhdetachpending = true WHERE inhrelid = 'm_02'::regclass;
ALTER TABLE m ALTER v SET STATISTICS 20;
SELECT orchestry.create_rollup('r', 'm', 'ts', 'v', '1 hour');
CALL orchestry.refresh_rollup('r');
DROP TABLE m_02;
SELECT frozen FROM orchestry.rollups WHERE job_id = 21005;
SELECT orchestry.drop_rollup('r');

RESET orchestry.now;
SET search_path = public;
DROP SCHEMA capture_watches CASCADE;
DROP ROLE capture_watches_mallory;
