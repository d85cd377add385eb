-- Rollups of rollups: minutes, hours of these, days of those. Whatever happens below, each says what the rows say.
\set VERBOSITY terse
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET IntervalStyle = 'postgres';
CREATE SCHEMA rollup_parent;
SET search_path = rollup_parent;
SELECT setval('orchestry.job_job_id_seq', 9301, false);
SET orchestry.now = '2026-03-30 12:30Z';

-- Over the night in which summer time begins in Berlin.
CREATE TABLE m (ts timestamptz, app text, kind int, v numeric) PARTITION BY RANGE (ts);
CREATE TABLE m_28 PARTITION OF m FOR VALUES FROM ('2026-03-28') TO ('2026-03-29');
CREATE TABLE m_29 PARTITION OF m FOR VALUES FROM ('2026-03-29') TO ('2026-03-30');
CREATE TABLE m_30 PARTITION OF m FOR VALUES FROM ('2026-03-30') TO ('2026-04-02');
INSERT INTO m SELECT '2026-03-28Z'::timestamptz + i * interval '20 s', nullif('app ' || i % 3, 'app 2'), i % 2, nullif(i * 7919 % 1000, 7)
FROM generate_series(0, 10900) i;

SELECT orchestry.create_rollup('minutes', 'm', 'ts', 'v', '1 minute', '{app,kind}', "where" => 'kind < 2');
SELECT orchestry.create_rollup('hours', 'm', 'ts', 'v', '1 hour', '{app}', parent => 'minutes');
-- The view of a rollup as the source says the same as parent.
SELECT orchestry.create_rollup('days', 'hours', 'bucket', 'summary', '1 day', '{app}', time_zone => 'Europe/Berlin');
SELECT orchestry.create_rollup('days', 'm', 'ts', 'v', '1 day', '{app}', time_zone => 'Europe/Berlin', parent => 'rollup_parent.hours', "where" => 'kind < 2');
SELECT rollup, stored, source, time_column, value_column, bucket, group_by, "where", time_zone, parent FROM orchestry.rollups WHERE job_id > 9300 ORDER BY job_id;
SELECT settings FROM orchestry.jobs WHERE job_id IN (9301, 9303) ORDER BY job_id;

-- What the rows say, and in how many rows the rollups differ from that: in none.
CREATE VIEW wrong AS
WITH summarized(rollup, bucket, app, s) AS (
    SELECT 'hours', orchestry.time_bucket('1 hour', ts), app, orchestry.summarize(v::float8) FROM m WHERE kind < 2 AND v IS NOT NULL GROUP BY 2, 3
    UNION ALL
    SELECT 'days', orchestry.time_bucket('1 day', ts, 'Europe/Berlin'), app, orchestry.summarize(v::float8) FROM m WHERE kind < 2 AND v IS NOT NULL GROUP BY 2, 3),
expected AS (
    SELECT rollup, bucket, app, orchestry.count(s), orchestry.avg(s), orchestry.min(s), orchestry.max(s), orchestry.stddev(s),
           orchestry.quantile(s, 0.5), orchestry.quantile(s, 0.95), orchestry.quantile(s, 0.99), s::text FROM summarized),
found AS (
    SELECT 'hours', bucket, app, data_points, avg_value, min_value, max_value, stddev_value, p50_value, p95_value, p99_value, summary::text FROM hours
    UNION ALL
    SELECT 'days', bucket, app, data_points, avg_value, min_value, max_value, stddev_value, p50_value, p95_value, p99_value, summary::text FROM days)
SELECT count(*) FROM ((TABLE expected EXCEPT ALL TABLE found) UNION ALL (TABLE found EXCEPT ALL TABLE expected)) d;
CREATE VIEW dirty AS
SELECT rollup, d FROM orchestry.rollups, unnest(dirty) d WHERE job_id > 9300 AND NOT upper(d) > '2026-04-10' ORDER BY job_id, d;
CREATE VIEW stored AS
SELECT (SELECT count(*) FROM minutes_buckets) AS minutes, (SELECT count(*) FROM hours_buckets) AS hours, (SELECT count(*) FROM days_buckets) AS days;

-- Right before anything is stored, and afterwards. One run of the table computes the levels one after the other.
TABLE wrong;
CALL orchestry.run('m');
TABLE wrong;
TABLE stored;
SELECT action, object, reason FROM orchestry.plan('m');
SELECT bucket, app, data_points FROM days ORDER BY 1, 2;
-- Counts, averages, extremes and deviations are exact; percentiles are within what the summary states.
SELECT count(*), bool_and((h.data_points, h.avg_value, h.min_value, h.max_value, h.stddev_value) = ((w).data_points, (w).avg_value, (w).min_value, (w).max_value, (w).stddev_value)) AS exact,
    bool_and(abs(h.p95_value - (w).p95_value) <= orchestry.relative_error(summary) * (w).p95_value AND abs(h.p50_value - (w).p50_value) <= orchestry.relative_error(summary) * (w).p50_value) AS within
FROM hours h JOIN (SELECT orchestry.time_bucket('1 hour', ts) AS bucket, app, orchestry.window_stats(v::float8) AS w FROM m WHERE kind < 2 GROUP BY 1, 2) d
ON d.bucket = h.bucket AND d.app IS NOT DISTINCT FROM h.app;

-- A changed row: its bucket of each level is dirty until that level is computed, whichever comes first.
UPDATE m SET v = 100000, app = 'moved', ts = ts + interval '1 day' WHERE ts = '2026-03-28 23:30Z';
TABLE dirty;
TABLE wrong;
CALL orchestry.refresh_rollup('days');
CALL orchestry.refresh_rollup('hours'); -- nothing yet: minutes come first
SELECT action, object, reason FROM orchestry.plan('m') WHERE object <> 'rollup_parent.minutes';
TABLE dirty;
TABLE wrong;
CALL orchestry.refresh_rollup('minutes');
TABLE dirty;
TABLE wrong;
CALL orchestry.refresh_rollup('hours');
SELECT rows, message FROM orchestry.run_steps WHERE run_id = (SELECT max(run_id) FROM orchestry.runs WHERE job_id = 9302) ORDER BY seq;
TABLE dirty;
TABLE wrong;
CALL orchestry.refresh_rollup('days');
TABLE dirty;
TABLE wrong;
SELECT bucket, app, data_points, max_value FROM days WHERE app = 'moved';
-- A change that changes nothing goes no further than it must.
UPDATE m SET v = v WHERE ts = '2026-03-28 10:00Z';
CALL orchestry.refresh_rollup('minutes');
TABLE dirty;
-- A group that vanishes does at every level.
DELETE FROM m WHERE app = 'moved';
CALL orchestry.run('m');
SELECT (SELECT count(*) FROM minutes_buckets WHERE app = 'moved') + (SELECT count(*) FROM hours_buckets WHERE app = 'moved') + (SELECT count(*) FROM days_buckets WHERE app = 'moved') AS moved;
TABLE wrong;
SELECT rollup, count(*) FROM (SELECT 'hours' AS rollup, * FROM orchestry.verify_rollup('hours') UNION ALL SELECT 'days', * FROM orchestry.verify_rollup('days')) v GROUP BY 1;
-- A bucket that somebody has changed is found: by what it is made of, and by the rows.
SET session_replication_role = replica;
BEGIN;
UPDATE hours_buckets SET data_points = 1 WHERE bucket = '2026-03-28 05:00Z' AND app = 'app 0';
DELETE FROM orchestry.dirty_mark WHERE job_id = 9303;
COMMIT;
RESET session_replication_role;
SELECT * FROM orchestry.verify_rollup('hours', '2026-03-28 05:00Z', '2026-03-28 06:00Z') ORDER BY problem;
CALL orchestry.refresh_rollup('hours', '2026-03-28 05:00Z', '2026-03-28 06:00Z');
SELECT count(*) FROM orchestry.verify_rollup('hours');
TRUNCATE minutes_buckets;
SELECT rollup, dirty FROM orchestry.rollups WHERE job_id > 9300 ORDER BY job_id;
CALL orchestry.refresh_rollup('minutes', '0001-01-01', '9999-01-01');
CALL orchestry.run('m');
TABLE wrong;

-- Rows that leave with their partition leave all levels as they are; what is late is nowhere.
CREATE TABLE before AS SELECT 'hours' AS rollup, bucket, app, data_points, summary::text FROM hours UNION ALL SELECT 'days', bucket, app, data_points, summary::text FROM days;
CREATE VIEW lost AS SELECT count(*) FROM (TABLE before EXCEPT ALL (SELECT 'hours', bucket, app, data_points, summary::text FROM hours UNION ALL SELECT 'days', bucket, app, data_points, summary::text FROM days)) d;
ALTER TABLE m DETACH PARTITION m_28;
TABLE lost;
SELECT rollup, frozen FROM orchestry.rollups WHERE job_id > 9300 ORDER BY job_id;
-- Half of the day in Berlin is frozen minutes, the other half follows the rows.
INSERT INTO m VALUES ('2026-03-29 05:00:10Z', 'late', 1, 5);
SELECT bucket, data_points FROM days WHERE app = 'late';
CALL orchestry.run('m');
SELECT bucket, data_points FROM days_buckets WHERE app = 'late';
DELETE FROM m WHERE app = 'late';
CALL orchestry.run('m');
TABLE lost;
SELECT count(*) FROM orchestry.verify_rollup('days');
ALTER TABLE m ATTACH PARTITION m_28 FOR VALUES FROM ('2026-03-28') TO ('2026-03-29');
CALL orchestry.run('m');
TABLE wrong;

-- keep of a parent: what its readers have yet to read stays, and what it removes they keep, in whole buckets of theirs.
SELECT orchestry.alter_policy(9301, '{"keep": "1 day"}');
INSERT INTO m VALUES ('2026-03-28 05:10Z', 'app 1', 1, 5);
CREATE TABLE m_27 PARTITION OF m FOR VALUES FROM ('2026-03-27') TO ('2026-03-28');
INSERT INTO m VALUES ('2026-03-27 05:10Z', 'older', 1, 5); -- than all that is stored
CALL orchestry.refresh_rollup('minutes');
SELECT min(bucket) FROM minutes_buckets;
SELECT action, reason, destructive FROM orchestry.plan('m') WHERE object = 'rollup_parent.minutes';
CALL orchestry.refresh_rollup('hours');
DROP TABLE before CASCADE;
CREATE TABLE before AS SELECT 'hours' AS rollup, bucket, app, data_points, summary::text FROM hours UNION ALL SELECT 'days', bucket, app, data_points, summary::text FROM days;
CREATE VIEW lost AS SELECT count(*) FROM (TABLE before EXCEPT ALL (SELECT 'hours', bucket, app, data_points, summary::text FROM hours UNION ALL SELECT 'days', bucket, app, data_points, summary::text FROM days)) d;
SELECT action, reason, destructive FROM orchestry.plan('m') WHERE object = 'rollup_parent.minutes';
CALL orchestry.refresh_rollup('minutes');
SELECT min(bucket) FROM minutes_buckets;
TABLE lost;
SELECT rollup, frozen FROM orchestry.rollups WHERE job_id > 9300 ORDER BY job_id;
CALL orchestry.run('m');
CALL orchestry.run('m');
TABLE lost;
TABLE wrong;
SELECT bucket, app FROM days WHERE app = 'older';
SELECT min(bucket) FROM hours_buckets;
-- The next bucket that is past its time is one span more, and not one row more for each.
SET orchestry.now = '2026-03-30 14:30Z';
CALL orchestry.run('m');
CALL orchestry.run('m');
SELECT min(bucket) FROM minutes_buckets;
SELECT job_id, count(*) FROM orchestry.frozen_span WHERE job_id > 9300 GROUP BY 1 ORDER BY 1;
TABLE wrong;
-- A change of a frozen time changes no level.
UPDATE m SET v = v + 1 WHERE ts < '2026-03-28 06:00Z';
CALL orchestry.run('m');
TABLE lost;
TABLE dirty;
-- force: what is still there is all that there is, level by level.
SELECT orchestry.alter_policy(9301, '{"keep": null}');
CALL orchestry.refresh_rollup('minutes', force => true);
CALL orchestry.refresh_rollup('hours', force => true);
CALL orchestry.refresh_rollup('days');
TABLE wrong;

-- Windows of a rollup: any that consist of its buckets.
CREATE VIEW windows AS
SELECT r.rollup, x.labels, x.data_points, (r.w).data_points = x.data_points AND (r.w).avg_value = x.avg_value AND (r.w).min_value = x.min_value AND (r.w).max_value = x.max_value AND (r.w).stddev_value IS NOT DISTINCT FROM x.stddev_value AS exact,
    abs((r.w).p50_value - x.p50_value) <= 0.022 * x.p50_value AND abs((r.w).p95_value - x.p95_value) <= 0.022 * x.p95_value AND abs((r.w).p99_value - x.p99_value) <= 0.022 * x.p99_value AS within
FROM orchestry.window_aggregate('m', 'ts', 'v', '{app}', '2026-03-28 05:00Z', '2026-03-30 02:00Z') x,
    LATERAL (SELECT 'minutes', w FROM orchestry.window_aggregate('minutes', 'ts', 'v', '{app}', '2026-03-28 05:00Z', '2026-03-30 02:00Z') w
        UNION ALL SELECT 'hours', w FROM orchestry.window_aggregate('hours', 'bucket', 'summary', '{app}', '2026-03-28 05:00Z', '2026-03-30 02:00Z') w) r (rollup, w)
WHERE (r.w).labels = x.labels;
INSERT INTO m VALUES ('2026-03-28 06:00Z', 'dirty', 1, 5);
SELECT * FROM windows ORDER BY labels, rollup;
DELETE FROM m WHERE app = 'dirty';
SELECT labels, data_points FROM orchestry.window_aggregate('days', 'ts', 'v', '{}', '2026-03-28 23:00Z', '2026-03-29 22:00Z');
SELECT labels, data_points FROM orchestry.window_aggregate('days', 'ts', 'v', '{}', '-infinity', 'infinity');
SELECT labels, data_points FROM orchestry.window_aggregate('days', 'ts', 'v');
SELECT count(*) FROM orchestry.window_aggregate('days', 'ts', 'v', '{app}', '2020-01-01', '2020-01-02');
SELECT count(*) FROM orchestry.window_aggregate('days', 'ts', 'v', '{app}', '2019-12-31 23:00Z', '2020-01-01 23:00Z');
\set VERBOSITY default
SELECT count(*) FROM orchestry.window_aggregate('minutes', 'ts', 'v', '{}', '2026-03-28 05:00:30Z');
SELECT count(*) FROM orchestry.window_aggregate('days', 'ts', 'v', '{}', NULL, '2026-03-29 23:00Z'); -- winter's midnight
SELECT count(*) FROM orchestry.window_aggregate('hours', 'ts', 'v', '{kind}');
SELECT count(*) FROM orchestry.window_aggregate('hours', 'at', 'v', '{}');
\set VERBOSITY terse
SELECT count(*) FROM orchestry.window_aggregate('hours', 'ts', 'kind', '{}');
SELECT count(*) FROM orchestry.window_aggregate('hours', 'ts', 'v', '{app,app}');
SELECT data_points > 100 AS per_bucket FROM orchestry.window_aggregate('hours', 'bucket', 'max_value'); -- a number like any other

-- What is refused.
\set VERBOSITY default
SELECT orchestry.create_rollup('x', 'm', 'ts', 'v', '90 seconds', parent => 'minutes');
SELECT orchestry.create_rollup('x', 'm', 'ts', 'v', '1 day', time_zone => 'Asia/Kolkata', parent => 'hours');
SELECT orchestry.create_rollup('x', 'm', 'ts', 'v', '1 month', parent => 'days');
SELECT orchestry.create_rollup('x', 'm', 'ts', 'v', '1 hour', '{kind}', parent => 'hours');
SELECT orchestry.create_rollup('x', 'm', 'ts', 'v', '1 hour', parent => 'minutes', "where" => 'kind = 1');
SELECT orchestry.create_rollup('x', 'm', 'ts', 'kind', '1 hour', parent => 'minutes');
SELECT orchestry.create_rollup('x', 'm', 'at', 'v', '1 hour', parent => 'minutes');
SELECT orchestry.create_rollup('x', 'm', 'ts', 'v', '1 hour', parent => 'nix');
CREATE TABLE other (LIKE m);
SELECT orchestry.create_rollup('x', 'other', 'ts', 'v', '1 hour', parent => 'minutes');
SELECT orchestry.create_rollup('x', 'days', 'ts', 'v', '1 hour', parent => 'minutes');
SELECT orchestry.create_rollup('days', 'm', 'ts', 'v', '1 day', '{app}', time_zone => 'Europe/Berlin', parent => 'minutes');
SELECT orchestry.create_rollup('hours', 'm', 'ts', 'v', '1 hour', '{app}', "where" => 'kind < 2'); -- without the parent
SELECT orchestry.alter_policy(9302, '{"parent": "days"}');
SELECT orchestry.drop_rollup('minutes');
SELECT orchestry.remove_policy(9302);
SELECT orchestry.add_retention_policy('minutes_buckets', '1 day', time_column => 'bucket');
DROP TRIGGER orchestry_watch_9302 ON minutes_buckets;
ALTER TABLE minutes_buckets SET UNLOGGED;
\set VERBOSITY terse
CREATE ROLE rollup_parent_nobody;
GRANT USAGE ON SCHEMA rollup_parent TO rollup_parent_nobody;
GRANT SELECT ON days TO rollup_parent_nobody;
SET ROLE rollup_parent_nobody;
SELECT count(*) > 0 FROM days; -- whoever may read the view, though not that of its parent
SELECT data_points > 0 FROM orchestry.window_aggregate('days', 'ts', 'v');
SELECT count(*) FROM orchestry.window_aggregate('hours', 'ts', 'v');
SELECT orchestry.create_rollup('x', 'm', 'ts', 'v', '1 day', parent => 'hours');
SELECT orchestry.create_rollup('x', 'hours', 'ts', 'v', '1 day');
SELECT orchestry.drop_rollup('days');
RESET ROLE;

-- The end, from the coarsest on.
DROP VIEW wrong, lost, stored, dirty, windows;
SELECT orchestry.drop_rollup('days');
ALTER TABLE hours_buckets RENAME TO elsewhere; -- what is not there need not be dropped
SELECT orchestry.drop_rollup('hours');
DROP TABLE elsewhere;
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'minutes_buckets'::regclass AND tgname LIKE 'orchestry_watch%';
SELECT orchestry.drop_rollup('minutes');
SELECT count(*) FROM orchestry.rollup WHERE job_id > 9300;
INSERT INTO m VALUES ('2026-03-28 05:10Z', 'app 1', 1, 5);
-- A source that is dropped takes all levels.
SELECT orchestry.create_rollup('minutes', 'm', 'ts', 'v', '1 minute');
SELECT orchestry.create_rollup('hours', 'minutes', 'ts', 'v', '1 hour');
SET client_min_messages = warning;
DROP TABLE m CASCADE;
CALL orchestry.run_due();
SELECT count(*) FROM orchestry.rollup WHERE job_id > 9300;
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'minutes_buckets'::regclass AND tgname LIKE 'orchestry_watch%';
REVOKE ALL ON SCHEMA rollup_parent FROM rollup_parent_nobody;
DROP ROLE rollup_parent_nobody;
DROP SCHEMA rollup_parent CASCADE;
