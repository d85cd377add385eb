-- Partitions that come back without the rows that they left with: what was computed from these is computed again.
\set VERBOSITY terse
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET orchestry.now = '2026-08-10 12:30Z';
SET client_min_messages = warning;
CREATE SCHEMA rollup_returned;
SET search_path = rollup_returned;
SELECT setval('orchestry.job_job_id_seq', 18001, false);

CREATE TABLE m (ts timestamptz NOT NULL, v float8) PARTITION BY RANGE (ts);
CREATE TABLE m_01 PARTITION OF m FOR VALUES FROM ('2026-01-01Z') TO ('2026-02-01Z');
CREATE TABLE m_02 PARTITION OF m FOR VALUES FROM ('2026-02-01Z') TO ('2026-03-01Z') PARTITION BY RANGE (ts);
CREATE TABLE m_02_a PARTITION OF m_02 FOR VALUES FROM ('2026-02-01Z') TO ('2026-02-15Z');
INSERT INTO m VALUES ('2026-01-05 01:00Z', 1), ('2026-02-05 01:00Z', 2);
SELECT orchestry.create_rollup('hours', 'm', 'ts', 'v', '1 hour');
SELECT orchestry.create_rollup('days', 'm', 'ts', 'v', '1 day', parent => 'hours');
CREATE VIEW wrong AS
WITH expected AS (
    SELECT 'hours' AS rollup, orchestry.time_bucket('1 hour', ts) AS bucket, sum(v) FROM m GROUP BY 2
    UNION ALL SELECT 'days', orchestry.time_bucket('1 day', ts), sum(v) FROM m GROUP BY 2),
found AS (
    SELECT 'hours' AS rollup, bucket, avg_value * data_points AS sum FROM hours UNION ALL SELECT 'days', bucket, avg_value * data_points FROM days)
(SELECT *, true AS is_missing FROM (TABLE expected EXCEPT ALL TABLE found) d) UNION ALL (SELECT *, false FROM (TABLE found EXCEPT ALL TABLE expected) d);
CREATE VIEW left_over AS
SELECT (SELECT count(*) FROM wrong) AS wrong, (SELECT count(*) FROM orchestry.frozen_span WHERE job_id BETWEEN 18001 AND 18002) AS frozen,
    (SELECT count(*) FROM orchestry.verify_rollup('hours')) + (SELECT count(*) FROM orchestry.verify_rollup('days')) AS not_as_stored;
CALL orchestry.run('m');
TABLE left_over;

-- Emptied meanwhile.
ALTER TABLE m DETACH PARTITION m_01;
TRUNCATE m_01;
ALTER TABLE m ATTACH PARTITION m_01 FOR VALUES FROM ('2026-01-01Z') TO ('2026-02-01Z');
TABLE left_over;
CALL orchestry.run('m');
TABLE left_over;
-- the same in one transaction
INSERT INTO m VALUES ('2026-01-06 01:00Z', 3);
CALL orchestry.run('m');
BEGIN;
ALTER TABLE m DETACH PARTITION m_01;
TRUNCATE m_01;
ALTER TABLE m ATTACH PARTITION m_01 FOR VALUES FROM ('2026-01-01Z') TO ('2026-02-01Z');
COMMIT;
TABLE left_over;
CALL orchestry.run('m');
TABLE left_over;

-- With other bounds.
INSERT INTO m VALUES ('2026-01-07 01:00Z', 4);
CALL orchestry.run('m');
ALTER TABLE m DETACH PARTITION m_01;
UPDATE m_01 SET ts = ts + interval '4 months';
ALTER TABLE m ATTACH PARTITION m_01 FOR VALUES FROM ('2026-05-01Z') TO ('2026-06-01Z');
TABLE left_over;
CALL orchestry.run('m');
TABLE left_over;
SELECT bucket, data_points, avg_value FROM days ORDER BY 1;

-- A part of it had left before.
ALTER TABLE m_02 DETACH PARTITION m_02_a;
ALTER TABLE m DETACH PARTITION m_02;
UPDATE m_02_a SET v = v + 100;
ALTER TABLE m_02 ATTACH PARTITION m_02_a FOR VALUES FROM ('2026-02-01Z') TO ('2026-02-15Z');
ALTER TABLE m ATTACH PARTITION m_02 FOR VALUES FROM ('2026-02-01Z') TO ('2026-03-01Z');
TABLE left_over;
CALL orchestry.run('m');
TABLE left_over;

-- The coming back is taken back: nothing is computed from what has left.
BEGIN;
SAVEPOINT s;
ALTER TABLE m DETACH PARTITION m_02;
TRUNCATE m_02;
ROLLBACK TO s;
ALTER TABLE m DETACH PARTITION m_02;
SAVEPOINT s;
ALTER TABLE m ATTACH PARTITION m_02 FOR VALUES FROM ('2026-02-01Z') TO ('2026-03-01Z');
ROLLBACK TO s;
COMMIT;
CALL orchestry.run('m');
SELECT rollup, bucket, sum, is_missing FROM wrong ORDER BY rollup, bucket;

DROP VIEW left_over, wrong;
SELECT orchestry.drop_rollup('days'), orchestry.drop_rollup('hours');
RESET orchestry.now;
SET search_path = public;
DROP SCHEMA rollup_returned CASCADE;
