-- Rollups: what they show, when they are computed, and what is refused. Every check compares the view with the source.
\set VERBOSITY terse
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET IntervalStyle = 'postgres';
CREATE SCHEMA rollup_policy;
SET search_path = rollup_policy;
SELECT setval('orchestry.job_job_id_seq', 9001, false);
SET orchestry.now = '2026-03-10 12:30Z';

CREATE TABLE m (ts timestamptz, app text, kind int, v numeric) PARTITION BY RANGE (ts);
CREATE TABLE m_08 PARTITION OF m FOR VALUES FROM ('2026-03-08') TO ('2026-03-09');
CREATE TABLE m_09 PARTITION OF m FOR VALUES FROM ('2026-03-09') TO ('2026-03-10');
CREATE TABLE m_10 PARTITION OF m FOR VALUES FROM ('2026-03-10') TO ('2026-03-12');
INSERT INTO m SELECT '2026-03-08Z'::timestamptz + i * interval '1 min', nullif('app ' || i % 3, 'app 2'), i % 2, nullif(i % 100, 7)
FROM generate_series(0, 3800) i;

SELECT orchestry.create_rollup('r', 'm', 'ts', 'v', '1 hour', '{app}');
SELECT orchestry.create_rollup('r', 'm', 'ts', 'v', '1 hour', '{app}');
SELECT orchestry.create_rollup('r', 'm', 'ts', 'v', '1 day', '{app}');
SELECT orchestry.create_rollup('daily', 'm', 'ts', 'v', '1 day', "where" => 'kind = 1', time_zone => 'europe/berlin', keep => '1 year');

-- What the source says, and what is different in the rollup: nothing, whatever is done below.
CREATE VIEW wrong AS
WITH expected AS (
    SELECT orchestry.time_bucket('1 hour', ts), app, (orchestry.window_stats(v::float8)).*, orchestry.summarize(v::float8)::text
    FROM m WHERE v IS NOT NULL GROUP BY 1, 2),
found AS (
    SELECT bucket, app, data_points, avg_value, min_value, max_value, stddev_value, p50_value, p95_value, p99_value, summary::text FROM r)
SELECT 'r' AS rollup, count(*) FROM ((TABLE expected EXCEPT ALL TABLE found) UNION ALL (TABLE found EXCEPT ALL TABLE expected)) d
UNION ALL
SELECT 'daily', count(*) FROM (
    (SELECT orchestry.time_bucket('1 day', ts, 'Europe/Berlin') AS bucket, (orchestry.window_stats(v::float8)).data_points
     FROM m WHERE v IS NOT NULL AND kind = 1 GROUP BY 1 EXCEPT ALL SELECT bucket, data_points FROM daily)
    UNION ALL
    (SELECT bucket, data_points FROM daily EXCEPT ALL
     SELECT orchestry.time_bucket('1 day', ts, 'Europe/Berlin'), (orchestry.window_stats(v::float8)).data_points
     FROM m WHERE v IS NOT NULL AND kind = 1 GROUP BY 1)) d;

-- Right before anything is stored.
TABLE wrong;
SELECT count(*) FROM r_buckets;
SELECT action, object, reason, destructive FROM orchestry.plan('m');
CALL orchestry.run('m');
TABLE wrong;
SELECT count(*), min(bucket), max(bucket) FROM r_buckets;
SELECT count(*), min(bucket), max(bucket) FROM daily_buckets;
SELECT rollup, stored, source, bucket, group_by, "where", time_zone, keep, dirty, frozen FROM orchestry.rollups WHERE job_id > 9000 ORDER BY job_id;
SELECT job_id, settings FROM orchestry.jobs WHERE kind = 'rollup' AND job_id > 9000 ORDER BY job_id;
SELECT action, reason FROM orchestry.plan('m');

-- Every way to change rows: each bucket that changed, and no other, is dirty until it is computed, and then written only
-- where it differs.
CREATE FUNCTION dirty() RETURNS SETOF text LANGUAGE sql AS
$$SELECT u::text FROM orchestry.rollups, unnest(dirty) u WHERE rollup = 'r'::regclass AND lower(u) < '2026-03-10 12:00Z' ORDER BY u$$;
INSERT INTO m VALUES ('2026-03-08 05:10Z', 'app 1', 1, 5), ('2026-03-09 05:10Z', NULL, 1, 5), ('2026-03-09 05:50Z', 'new', 0, 'NaN');
SELECT dirty();
TABLE wrong;
SELECT * FROM orchestry.verify_rollup('r');
CALL orchestry.refresh_rollup('r');
SELECT rows, message FROM orchestry.run_steps WHERE run_id = (SELECT max(run_id) FROM orchestry.runs WHERE job_id = 9001) ORDER BY seq;
UPDATE m SET ts = ts + interval '1 day' WHERE ts = '2026-03-08 05:10Z';
SELECT dirty();
TABLE wrong;
DELETE FROM m WHERE app = 'app 1' AND ts < '2026-03-08 02:00Z';
SELECT dirty();
INSERT INTO m_09 VALUES ('2026-03-09 23:10Z', 'direct', 1, 5); -- into the partition
SELECT dirty();
COPY m FROM stdin;
2026-03-08 20:00:00+00	copied	1	3
\.
TABLE wrong;
CALL orchestry.refresh_rollup('r');
SELECT rows, message FROM orchestry.run_steps WHERE run_id = (SELECT max(run_id) FROM orchestry.runs WHERE job_id = 9001) ORDER BY seq;
SELECT dirty();
TABLE wrong;
-- Rolled back: nothing, or too much, never too little.
BEGIN;
INSERT INTO m VALUES ('2026-03-08 07:10Z', 'app 1', 1, 5);
ROLLBACK;
SELECT dirty();
BEGIN;
SAVEPOINT s;
INSERT INTO m VALUES ('2026-03-08 07:10Z', 'app 1', 1, 5);
ROLLBACK TO s;
INSERT INTO m VALUES ('2026-03-08 09:10Z', 'app 1', 1, 5);
COMMIT;
SELECT dirty();
CALL orchestry.refresh_rollup('r');
SELECT rows, message FROM orchestry.run_steps WHERE run_id = (SELECT max(run_id) FROM orchestry.runs WHERE job_id = 9001) ORDER BY seq;
-- Prepared: the mark is there when the rows are.
BEGIN;
INSERT INTO m VALUES ('2026-03-08 11:10Z', 'prepared', 1, 5);
PREPARE TRANSACTION 'rollup';
SELECT dirty();
CALL orchestry.refresh_rollup('r');
COMMIT PREPARED 'rollup';
SELECT dirty();
TABLE wrong;
-- In a session that fires no triggers but those that are always fired.
SET session_replication_role = replica;
INSERT INTO m VALUES ('2026-03-08 13:10Z', 'replica', 1, 5);
RESET session_replication_role;
SELECT dirty();
CALL orchestry.refresh_rollup('r');
-- Changes far from each other, more than a transaction remembers one by one.
INSERT INTO m (ts, app, kind, v) SELECT '2026-03-08Z'::timestamptz + i * interval '2 hours', 'wide', 1, i FROM generate_series(0, 20) i;
TABLE wrong;
CALL orchestry.run('m');
TABLE wrong;
SELECT * FROM orchestry.verify_rollup('r') UNION ALL SELECT * FROM orchestry.verify_rollup('daily');
-- What is no time of a bucket.
ALTER TABLE m DETACH PARTITION m_10;
CREATE TABLE m_rest PARTITION OF m DEFAULT;
ALTER TABLE m ATTACH PARTITION m_10 FOR VALUES FROM ('2026-03-10') TO ('2026-03-12');
INSERT INTO m VALUES (NULL, 'null', 1, 1), ('infinity', 'late', 1, 1), ('-infinity', 'early', 1, 1), ('294276-12-31 23:59:59Z', 'far', 1, 1), ('4713-11-24 00:00Z BC', 'old', 1, 1);
SELECT dirty();
SELECT count(*) FROM r WHERE app IN ('null', 'late', 'early', 'far', 'old');
DELETE FROM m_rest;

-- A stored bucket that somebody has changed is found, and mended by a refresh of its time.
UPDATE r_buckets SET avg_value = 0 WHERE bucket = '2026-03-08 05:00Z' AND app = 'app 0';
DELETE FROM r_buckets WHERE bucket = '2026-03-08 06:00Z' AND app = 'app 0';
SELECT * FROM orchestry.verify_rollup('r', '2026-03-08 05:30Z', '2026-03-08 06:30Z');
SELECT count(*) FROM orchestry.verify_rollup('r', '2026-03-08 07:00Z');
CALL orchestry.refresh_rollup('r', '2026-03-08 05:30Z', '2026-03-08 06:30Z');
SELECT count(*) FROM orchestry.verify_rollup('r');

-- Partitions that leave with their rows leave their buckets as they are.
CALL orchestry.run('m');
CREATE TABLE before AS SELECT bucket, app, data_points, summary::text FROM r;
CREATE VIEW lost AS SELECT count(*) FROM (TABLE before EXCEPT ALL SELECT bucket, app, data_points, summary::text FROM r) d;
ALTER TABLE m DETACH PARTITION m_08;
TABLE lost;
DROP TABLE m_09;
TABLE lost;
SELECT frozen FROM orchestry.rollups WHERE rollup = 'r'::regclass;
CALL orchestry.run('m');
TABLE lost;
-- Rows that come late to such times are not counted.
INSERT INTO m VALUES ('2026-03-09 05:00Z', 'late', 1, 1);
SELECT dirty();
CALL orchestry.refresh_rollup('r', '2026-03-08');
TABLE lost;
SELECT count(*) FROM r WHERE app = 'late';
DELETE FROM m_rest;
-- Another table of those times changes nothing; the partition itself brings its rows back.
CREATE TABLE m_09 (LIKE m);
INSERT INTO m_09 VALUES ('2026-03-09 05:00Z', 'other', 1, 1);
ALTER TABLE m ATTACH PARTITION m_09 FOR VALUES FROM ('2026-03-09') TO ('2026-03-10');
TABLE lost;
DELETE FROM m_08 WHERE app = 'app 0' AND ts < '2026-03-08 01:00Z';
ALTER TABLE m ATTACH PARTITION m_08 FOR VALUES FROM ('2026-03-08') TO ('2026-03-09');
SELECT frozen FROM orchestry.rollups WHERE rollup = 'r'::regclass;
TABLE lost;
CALL orchestry.run('m');
TABLE lost;
BEGIN;
ALTER TABLE m DETACH PARTITION m_08;
ALTER TABLE m ATTACH PARTITION m_08 FOR VALUES FROM ('2026-03-08') TO ('2026-03-09');
COMMIT;
SELECT frozen FROM orchestry.rollups WHERE rollup = 'r'::regclass;
-- Whoever wants what the source has now says so.
CALL orchestry.refresh_rollup('r', force => true);
CALL orchestry.refresh_rollup('daily', force => true);
TABLE wrong;
SELECT frozen FROM orchestry.rollups WHERE rollup = 'r'::regclass;
-- A partition that is attached brings its rows.
CREATE TABLE m_07 (LIKE m);
INSERT INTO m_07 VALUES ('2026-03-07 05:00Z', 'attached', 1, 1);
ALTER TABLE m ATTACH PARTITION m_07 FOR VALUES FROM ('2026-03-07') TO ('2026-03-08');
SELECT dirty();
TABLE wrong;
CALL orchestry.run('m');
CREATE TABLE m_06 PARTITION OF m FOR VALUES FROM ('2026-03-06') TO ('2026-03-07');
SELECT dirty();
-- An emptied one takes them.
TRUNCATE m_07;
SELECT dirty();
TABLE wrong;
CALL orchestry.run('m');
SELECT count(*) FROM r_buckets WHERE app = 'attached';
TRUNCATE m;
SELECT * FROM r;
CALL orchestry.run('m');
SELECT count(*) FROM r_buckets;

-- The watch stays.
ALTER TABLE m DISABLE TRIGGER ALL;
ALTER TABLE m_08 DISABLE TRIGGER USER;
ALTER TABLE m ENABLE TRIGGER USER;
SELECT tgenabled, count(*) FROM pg_trigger WHERE tgrelid IN (SELECT relid FROM pg_partition_tree('m')) AND tgname LIKE 'orchestry_watch_9001%' GROUP BY 1;
DROP TRIGGER orchestry_watch_9001 ON m;
ALTER TABLE m DETACH PARTITION m_08 CONCURRENTLY;
-- nor tables whose changes would not be seen
ALTER TABLE m_08 SET UNLOGGED;
CREATE UNLOGGED TABLE m_unlogged PARTITION OF m FOR VALUES FROM ('2026-01-01') TO ('2026-01-02');
CREATE FOREIGN DATA WRAPPER rollup_nothing;
CREATE SERVER rollup_nowhere FOREIGN DATA WRAPPER rollup_nothing;
CREATE FOREIGN TABLE m_foreign PARTITION OF m FOR VALUES FROM ('2026-01-01') TO ('2026-01-02') SERVER rollup_nowhere;
DROP FOREIGN DATA WRAPPER rollup_nothing CASCADE;
SELECT count(*) FROM pg_class WHERE relname IN ('m_unlogged', 'm_foreign') OR relname LIKE 'm\_%' AND relpersistence = 'u';

-- A column that was renamed unseen: nothing is lost, and runs say what they miss.
INSERT INTO m VALUES ('2026-03-09 05:10Z', 'before', 1, 5);
CALL orchestry.run('m');
ALTER TABLE m RENAME ts TO at;
UPDATE pg_attribute SET attname = 'at' WHERE attrelid IN (SELECT relid FROM pg_partition_tree('m')) AND attname = 'ts';
INSERT INTO m VALUES ('2026-03-09 05:20Z', 'renamed', 1, 5);
SELECT dirty();
TABLE wrong;
CALL orchestry.refresh_rollup('r');
UPDATE pg_attribute SET attname = 'ts' WHERE attrelid IN (SELECT relid FROM pg_partition_tree('m')) AND attname = 'at';
CALL orchestry.run('m');
TABLE wrong;
SELECT count(*) FROM r_buckets WHERE app = 'renamed';
DELETE FROM m;
-- Retention waits for the rollups.
INSERT INTO m VALUES ('2026-03-07 05:10Z', 'old', 1, 5), ('2026-03-08 05:10Z', 'old', 1, 5);
SET client_min_messages = warning;
SELECT orchestry.add_retention_policy('m', '2 days', grace => '1 year') IS NOT NULL AS added;
SET client_min_messages = notice;
SELECT action, object, blocked_by FROM orchestry.plan('m') WHERE object IN ('rollup_policy.m_07', 'rollup_policy.m_08') AND action <> 'refresh' ORDER BY 2, 1;
CALL orchestry.run('m');
CALL orchestry.run('m');
SELECT former_name FROM orchestry.quarantine WHERE parent = 'm'::regclass ORDER BY 1;
SELECT frozen FROM orchestry.rollups WHERE rollup = 'r'::regclass;
SELECT bucket, app FROM r ORDER BY 1, 2;
SELECT bucket, app FROM r_buckets ORDER BY 1, 2;
SELECT orchestry.remove_policy(job_id) FROM orchestry.jobs WHERE target = 'm'::regclass AND kind = 'retention';
TRUNCATE m;
CALL orchestry.run('m');

-- keep: what is past it goes, and is not computed again.
INSERT INTO m VALUES ('2026-03-08 05:10Z', 'app 1', 1, 5), ('2026-03-10 05:10Z', 'app 1', 1, 5);
CALL orchestry.run('m');
SELECT orchestry.alter_policy(9001, '{"keep": "1 day"}');
SELECT action, reason, destructive FROM orchestry.plan('m');
CALL orchestry.run('m');
SELECT bucket, app FROM r ORDER BY 1, 2;
INSERT INTO m VALUES ('2026-03-08 05:20Z', 'app 1', 1, 5);
CALL orchestry.run('m');
SELECT bucket, app FROM r ORDER BY 1, 2;
SELECT orchestry.alter_policy(9001, '{"bucket": "1 day"}');
SELECT orchestry.alter_policy(9001, '{"nothing": 1}');
SELECT orchestry.alter_policy(9001, '{"keep": "-1 day"}');

-- A plain table, whose children are not part of it, with a time without zone.
CREATE TABLE p (at timestamp, "Value" int, g1 text COLLATE "C", g2 date);
CREATE TABLE p_child () INHERITS (p);
INSERT INTO p SELECT '2026-03-28'::timestamp + i * interval '1 h', i, 'g', '2026-01-01' FROM generate_series(0, 100) i;
INSERT INTO p_child VALUES ('2026-03-28', 1000, 'g', '2026-01-01');
SET orchestry.now = '2026-05-10 12:30Z';
SELECT orchestry.create_rollup('rollup_policy."By Day"', 'p', 'at', 'Value', '1 day', '{g1,g2}', time_zone => 'Europe/Berlin');
CALL orchestry.refresh_rollup('"By Day"');
SELECT bucket AT TIME ZONE 'Europe/Berlin' AS day, g1, g2, data_points, avg_value, p50_value FROM "By Day" ORDER BY 1;
SELECT count(*) FROM orchestry.verify_rollup('"By Day"');
\d "By Day_buckets"

-- What is refused.
SELECT orchestry.create_rollup('x', 'm_08', 'ts', 'v', '1 hour');
SELECT orchestry.create_rollup('x', 'r', 'bucket', 'avg_value', '1 hour');
CREATE UNLOGGED TABLE t (ts timestamptz, v float8);
SELECT orchestry.create_rollup('x', 't', 'ts', 'v', '1 hour');
SELECT orchestry.create_rollup('x', 'm', 'nix', 'v', '1 hour');
SELECT orchestry.create_rollup('x', 'm', 'app', 'v', '1 hour');
SELECT orchestry.create_rollup('x', 'm', 'ts', 'app', '1 hour');
SELECT orchestry.create_rollup('x', 'm', 'ts', 'v', '1 hour', '{nix}');
SELECT orchestry.create_rollup('x', 'm', 'ts', 'v', '1 hour', '{app,app}');
SELECT orchestry.create_rollup('x', 'm', 'ts', 'v', '0');
SELECT orchestry.create_rollup('x', 'm', 'ts', 'v', '1 day 1 hour');
SELECT orchestry.create_rollup('x', 'm', 'ts', 'v', '1 hour', time_zone => 'Nowhere');
SELECT orchestry.create_rollup('x', 'm', 'ts', 'v', '1 hour', keep => '-1 day');
SELECT orchestry.create_rollup('x', 'm', 'ts', 'v', '1 hour', keep => '10000 years');
SELECT orchestry.create_rollup('x', 'm', 'ts', 'v', '1 hour', keep => '100000000 years');
SELECT orchestry.alter_policy(9001, '{"keep": "10000 years"}');
SELECT orchestry.create_rollup('x', 'm', 'ts', 'v', '1 hour', "where" => 'ts < now()');
-- Whoever reads has a time zone and formats of his own, and a column of the system changes with VACUUM FULL.
SELECT orchestry.create_rollup('x', 'm', 'ts', 'v', '1 hour', "where" => 'extract(hour FROM ts) >= 8');
SELECT orchestry.create_rollup('x', 'm', 'ts', 'v', '1 hour', "where" => 'ts::date <> ''2026-03-08''');
SELECT orchestry.create_rollup('x', 'm', 'ts', 'v', '1 hour', "where" => 'ts::text LIKE ''2026%''');
SELECT orchestry.create_rollup('x', 'm', 'ts', 'v', '1 hour', "where" => 'ctid < ''(1,0)''');
BEGIN;
SELECT orchestry.create_rollup('x', 'm', 'ts', 'v', '1 hour',
                               "where" => 'extract(hour FROM ts AT TIME ZONE ''Europe/Berlin'') >= 8 AND ts > ''2026-03-08'' AND kind = 1') > 0;
ROLLBACK;
SELECT orchestry.create_rollup('x', 'm', 'ts', 'v', '1 hour', schedule => 'soon');
SELECT orchestry.create_rollup('wrong', 'm', 'ts', 'v', '1 hour');
SELECT orchestry.create_rollup(repeat('x', 60), 'm', 'ts', 'v', '1 hour');
SELECT orchestry.create_rollup(NULL, 'm', 'ts', 'v', '1 hour');
SELECT orchestry.add_retention_policy('m', '30 days', "where" => 'kind = 1');
SELECT orchestry.add_event_compression_policy('p', '30 days');
CREATE TABLE q (ts timestamptz, v float8);
SELECT orchestry.add_retention_policy('q', '30 days', time_column => 'ts') > 0;
SELECT orchestry.create_rollup('x', 'q', 'ts', 'v', '1 hour');
SELECT orchestry.drop_rollup('x');
CALL orchestry.refresh_rollup('r', '2026-03-02', '2026-03-01');
BEGIN;
CALL orchestry.refresh_rollup('r');
ROLLBACK;
ALTER TABLE m ALTER COLUMN v TYPE float8;
CREATE ROLE rollup_nobody;
GRANT USAGE ON SCHEMA rollup_policy TO rollup_nobody;
GRANT SELECT ON r TO rollup_nobody;
SET ROLE rollup_nobody;
SELECT count(*) FROM r; -- whoever may read the view
SELECT orchestry.create_rollup('x', 'm', 'ts', 'v', '1 hour');
SELECT orchestry.drop_rollup('r');
SELECT * FROM orchestry.verify_rollup('r');
CALL orchestry.refresh_rollup('r');
SELECT * FROM orchestry.rollups;
SELECT * FROM orchestry.dirty_mark;
RESET ROLE;

-- The end.
SELECT orchestry.drop_rollup('r'); -- a view of the user reads it
DROP VIEW wrong, lost;
SELECT orchestry.drop_rollup('r');
SELECT to_regclass('r') IS NULL AND to_regclass('r_buckets') IS NULL AS gone;
SELECT orchestry.remove_policy(9002);
SELECT to_regclass('daily') IS NULL AS gone, to_regclass('daily_buckets') AS kept;
SELECT count(*) FROM pg_trigger WHERE tgrelid IN (SELECT relid FROM pg_partition_tree('m')) AND tgname LIKE 'orchestry_watch%';
SELECT count(*) FROM orchestry.dirty_mark WHERE job_id IN (9001, 9002);
INSERT INTO m VALUES ('2026-03-08 05:10Z', 'app 1', 1, 5);
SELECT orchestry.remove_policy(job_id) FROM orchestry.jobs WHERE target_schema = 'rollup_policy' ORDER BY job_id;
REVOKE ALL ON SCHEMA rollup_policy FROM rollup_nobody;
DROP ROLE rollup_nobody;
SET client_min_messages = warning;
DROP SCHEMA rollup_policy CASCADE;
