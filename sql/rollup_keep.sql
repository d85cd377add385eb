-- Rollups that are kept for a time and read by others: these have common edges, and read everything before it goes.
\set VERBOSITY terse
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET IntervalStyle = 'postgres';
CREATE SCHEMA rollup_keep;
SET search_path = rollup_keep;
SELECT setval('orchestry.job_job_id_seq', 9501, false);
SET orchestry.now = '2026-04-10 12:30Z';
CREATE TABLE m (ts timestamptz, v float8);
INSERT INTO m SELECT '2026-02-20Z'::timestamptz + i * interval '50 min', i FROM generate_series(0, 1400) i;
SELECT orchestry.create_rollup('minutes', 'm', 'ts', 'v', '30 minutes', keep => '2 days');
SELECT orchestry.create_rollup('berlin', 'm', 'ts', 'v', '1 day', time_zone => 'Europe/Berlin', parent => 'minutes');

-- Days of another place have no midnight in common with those: what is a part of both could never go.
\set VERBOSITY default
SELECT orchestry.create_rollup('utc', 'm', 'ts', 'v', '1 day', parent => 'minutes');
SELECT orchestry.create_rollup('hours', 'm', 'ts', 'v', '1 hour', parent => 'minutes'); -- each day consists of them
SELECT orchestry.create_rollup('months', 'm', 'ts', 'v', '1 month', time_zone => 'Europe/Berlin', parent => 'minutes');
SELECT orchestry.create_rollup('weeks', 'm', 'ts', 'v', '7 days', time_zone => 'Europe/Berlin', parent => 'minutes');
SELECT orchestry.create_rollup('berlin', 'm', 'ts', 'v', '1 day', time_zone => 'Europe/Berlin', parent => 'minutes'); -- as it is
-- Of one that is kept for good anything may be made, but then it stays for good.
SELECT orchestry.create_rollup('utc', 'm', 'ts', 'v', '1 day', parent => 'hours');
SELECT orchestry.create_rollup('days', 'm', 'ts', 'v', '1 day', time_zone => 'Europe/Berlin', parent => 'hours');
SELECT orchestry.alter_policy(9503, '{"keep": "10 days"}');
SELECT orchestry.drop_rollup('utc');
SELECT orchestry.alter_policy(9503, '{"keep": "10 days"}');
SELECT orchestry.alter_policy(9503, '{"keep": null}');
\set VERBOSITY terse

-- The coarsest reader says when something goes, and a plan says so.
CALL orchestry.run('m');
CALL orchestry.run('m');
SELECT min(bucket) FROM minutes_buckets;
SELECT action, reason FROM orchestry.plan('m') WHERE object = 'rollup_keep.minutes';
SELECT job_id, frozen FROM orchestry.rollups WHERE job_id BETWEEN 9501 AND 9504 ORDER BY 1;
SELECT count(*) FROM orchestry.verify_rollup('months');
SET orchestry.now = '2026-05-02 22:30Z'; -- no bucket of a month is past its time in part
CALL orchestry.run('m');
CALL orchestry.run('m');
SELECT min(bucket) FROM minutes_buckets;

-- A row older than all that is stored, and nothing else that is unread: nothing leaves before its bucket is read.
CREATE TABLE late (ts timestamptz, v float8);
INSERT INTO late SELECT '2026-04-01Z'::timestamptz + i * interval '50 min', i FROM generate_series(0, 400) i;
SELECT orchestry.create_rollup('late_minutes', 'late', 'ts', 'v', '30 minutes');
SELECT orchestry.create_rollup('late_hours', 'late', 'ts', 'v', '1 hour', parent => 'late_minutes');
CALL orchestry.run('late');
INSERT INTO late VALUES ('2026-02-01 05:10Z', -1);
SELECT orchestry.alter_policy((SELECT max(job_id) - 1 FROM orchestry.rollups), '{"keep": "20 days"}');
SELECT action, object, reason FROM orchestry.plan('late');
CALL orchestry.refresh_rollup('late_minutes');
SELECT bucket FROM late_minutes_buckets ORDER BY 1 LIMIT 2;
SELECT action, object, reason FROM orchestry.plan('late');
CALL orchestry.refresh_rollup('late_hours');
CALL orchestry.refresh_rollup('late_minutes');
SELECT min(bucket) FROM late_minutes_buckets;
SELECT bucket, data_points, min_value FROM late_hours ORDER BY 1 LIMIT 2;
SELECT count(*) FROM orchestry.verify_rollup('late_hours');

-- The end.
SELECT orchestry.drop_rollup(name) FROM unnest('{days,months,hours,berlin,minutes,late_hours,late_minutes}'::text[]) name;
DROP SCHEMA rollup_keep CASCADE;
