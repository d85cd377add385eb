-- Rollups of a rollup that no longer has all of its buckets, or is not there at all.
\set VERBOSITY default
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET IntervalStyle = 'postgres';
CREATE SCHEMA rollup_trimmed;
SET search_path = rollup_trimmed;
SELECT setval('orchestry.job_job_id_seq', 9701, false);
SET orchestry.now = '2026-03-30 12:30Z';

CREATE TABLE m (ts timestamptz, v int);
CREATE INDEX ON m (ts);
INSERT INTO m SELECT '2026-03-26Z'::timestamptz + i * interval '10 min', i FROM generate_series(0, 640) i;
SELECT orchestry.create_rollup('tens', 'm', 'ts', 'v', '10 minutes', keep => '36 hours');
CALL orchestry.refresh_rollup('tens');
CALL orchestry.refresh_rollup('tens');
SELECT min(bucket) FROM tens_buckets;

-- What could be made of a part only is not made, at any level; and does not wait for a parent either.
SELECT orchestry.create_rollup('hours', 'm', 'ts', 'v', '1 hour', parent => 'tens');
SELECT orchestry.create_rollup('days', 'm', 'ts', 'v', '1 day', parent => 'hours');
SELECT rollup, dirty, frozen FROM orchestry.rollups WHERE job_id > 9700 ORDER BY job_id;
SELECT action, reason FROM orchestry.plan('m') WHERE object = 'rollup_trimmed.days';
SELECT min(bucket) AS hours, (SELECT min(bucket) FROM days) AS days FROM hours;
CALL orchestry.run('m');
SELECT min(bucket) AS hours, (SELECT min(bucket) FROM days) AS days FROM hours;
SELECT count(*) AS hours, count(*) FILTER (WHERE data_points <> 6) AS partial FROM hours_buckets;
INSERT INTO m VALUES ('2026-03-29 00:55Z', 1); -- tens of its hour are still there, and some are not
CALL orchestry.run('m');
SELECT min(bucket) FROM hours;
SELECT (SELECT count(*) FROM orchestry.verify_rollup('hours')) + (SELECT count(*) FROM orchestry.verify_rollup('days')) AS wrong;

-- force computes again what can be: not what the parent no longer has.
SELECT orchestry.alter_policy(9701, '{"keep": "10 hours"}');
SET orchestry.now = '2026-03-31 12:30Z';
CALL orchestry.run('m');
CALL orchestry.run('m');
SELECT (SELECT min(bucket) FROM tens_buckets) AS tens, (SELECT min(bucket) FROM hours_buckets) AS hours, (SELECT min(bucket) FROM days_buckets) AS days;
CREATE TABLE before AS SELECT 'hours' AS rollup, bucket, data_points, summary::text FROM hours UNION ALL SELECT 'days', bucket, data_points, summary::text FROM days;
CREATE VIEW changed AS
WITH now AS (SELECT 'hours' AS rollup, bucket, data_points, summary::text FROM hours UNION ALL SELECT 'days', bucket, data_points, summary::text FROM days)
SELECT count(*) FROM ((TABLE before EXCEPT ALL TABLE now) UNION ALL (TABLE now EXCEPT ALL TABLE before)) d;
CALL orchestry.refresh_rollup('hours', force => true);
CALL orchestry.refresh_rollup('days', force => true);
CALL orchestry.run('m');
TABLE changed;
SELECT job_id, from_at, to_at, removed FROM orchestry.frozen_span WHERE job_id > 9700 ORDER BY 1, 2, 3, 4;
-- When the parent has them again, from the rows, all levels can.
DROP VIEW changed;
SELECT orchestry.alter_policy(9701, '{"keep": null}');
CALL orchestry.refresh_rollup('tens', force => true);
CALL orchestry.refresh_rollup('hours', force => true);
CALL orchestry.refresh_rollup('days', force => true);
SELECT (SELECT min(bucket) FROM tens_buckets) AS tens, (SELECT min(bucket) FROM hours_buckets) AS hours, (SELECT min(bucket) FROM days_buckets) AS days;
SELECT (SELECT count(*) FROM orchestry.verify_rollup('hours')) + (SELECT count(*) FROM orchestry.verify_rollup('days')) AS wrong;
SELECT count(*) FROM orchestry.frozen_span WHERE job_id > 9700;

-- A parent that is not there: nothing is known, and its rollups can be dropped.
BEGIN;
DELETE FROM orchestry.rollup WHERE job_id = 9701;
SELECT rollup, dirty FROM orchestry.rollups WHERE job_id = 9702;
SELECT orchestry.drop_rollup('days'), orchestry.drop_rollup('hours');
ROLLBACK;

-- Rows of a parent that leave one by one would be missing.
SELECT orchestry.create_rollup('fives', 'm', 'ts', 'v', '5 minutes');
SELECT orchestry.add_retention_policy('fives_buckets', '1 day', time_column => 'bucket') > 0 AS added;
SELECT orchestry.create_rollup('x', 'm', 'ts', 'v', '1 hour', parent => 'fives');

-- Buckets that reach across the ends of the times in which nesting is promised.
CREATE TABLE e (ts timestamptz, v int);
INSERT INTO e VALUES ('1965-06-01Z', 1), ('1969-12-31Z', 1), ('1970-01-01Z', 1), ('1970-01-03Z', 1), ('2099-12-31Z', 1), ('2100-01-01Z', 1);
SELECT orchestry.create_rollup('e_days', 'e', 'ts', 'v', '1 day');
SELECT orchestry.create_rollup('e_weeks', 'e', 'ts', 'v', '7 days', parent => 'e_days');
SET orchestry.now = '2101-01-10Z';
CALL orchestry.run('e');
SELECT bucket, data_points FROM e_weeks_buckets ORDER BY 1;
SELECT count(*) FROM orchestry.verify_rollup('e_weeks');
SELECT count(*) FROM orchestry.verify_rollup('e_weeks', '1960-01-01', '1961-01-01');
SELECT count(*) FROM orchestry.verify_rollup('e_weeks', '2100-06-01', '2100-07-01');

-- A value that has the name of a statistic is the value.
CREATE TABLE w (ts timestamptz, max_value int);
INSERT INTO w SELECT '2026-03-26Z'::timestamptz + i * interval '10 min', i FROM generate_series(0, 11) i;
SELECT orchestry.create_rollup('w_hours', 'w', 'ts', 'max_value', '1 hour');
SELECT data_points, min_value FROM orchestry.window_aggregate('w_hours', 'ts', 'max_value');
SELECT data_points, min_value FROM orchestry.window_aggregate('w_hours', 'bucket', 'min_value');

SET client_min_messages = warning;
SELECT orchestry.remove_policy(job_id) FROM orchestry.jobs WHERE target_schema = 'rollup_trimmed' ORDER BY job_id DESC;
DROP SCHEMA rollup_trimmed CASCADE;
