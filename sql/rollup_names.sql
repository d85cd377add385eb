-- Rollups of tables whose columns have the names that the extension's own statements use for theirs.
\set VERBOSITY terse
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
CREATE SCHEMA rollup_names;
SET search_path = rollup_names;
SELECT setval('orchestry.job_job_id_seq', 31001, false);
SET orchestry.now = '2026-03-10 12:30Z';

CREATE TABLE m (ts timestamptz, value float8, place text, stored text, at int, fresh text, packed text, stats text, "stats_" text, dirty boolean, settled int,
                dirty_spans int, s text, t text, f text, u text, d text);
INSERT INTO m SELECT '2026-03-08Z'::timestamptz + i * interval '10 min', i, 'p' || i % 2, 's', i % 3, 'f', 'p', 's', 's', i % 2 = 0, 1, 2, 's', 't', 'f', 'u', 'd'
FROM generate_series(0, 200) i;
-- The times of what is dirty are those of the rollup, not of the rows.
CREATE TABLE other (ts timestamptz, value float8, dirty tstzrange);
INSERT INTO other VALUES ('2026-03-08 05:10Z', 1, '[2030-01-01,2031-01-01)');

SELECT orchestry.create_rollup('hours', 'm', 'ts', 'value', '1 hour',
                               '{place,stored,at,fresh,packed,stats,stats_,dirty,settled,dirty_spans,s,t,f,u,d}');
SELECT orchestry.create_rollup('days', 'm', 'ts', 'value', '1 day', '{dirty,stats,place,at,stored,fresh,packed}', parent => 'hours');
SELECT orchestry.create_rollup('others', 'other', 'ts', 'value', '1 hour');
CREATE VIEW wrong AS
SELECT count(*) FROM (
    (SELECT orchestry.time_bucket('1 hour', ts), place, stored, at, fresh, packed, stats, "stats_", dirty, count(*), max(value) FROM m GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
     EXCEPT ALL SELECT bucket, place, stored, at, fresh, packed, stats, "stats_", dirty, data_points, max_value FROM hours)
    UNION ALL
    (SELECT orchestry.time_bucket('1 day', ts), place, stored, at, fresh, packed, stats, NULL, dirty, count(*), max(value) FROM m GROUP BY 1, 2, 3, 4, 5, 6, 7, 9
     EXCEPT ALL SELECT bucket, place, stored, at, fresh, packed, stats, NULL, dirty, data_points, max_value FROM days)) x;
TABLE wrong;
SELECT bucket, data_points FROM others;
CALL orchestry.run('m');
CALL orchestry.run('other');
TABLE wrong;
SELECT count(*), max(place) FROM hours_buckets;
SELECT count(*), max(place) FROM days_buckets;
SELECT bucket, data_points FROM others_buckets;
-- Some are changed, some come, and some vanish.
UPDATE m SET value = -1 WHERE ts < '2026-03-08 03:00Z';
DELETE FROM m WHERE at = 2 AND ts < '2026-03-08 06:00Z';
INSERT INTO m SELECT ts, 7, 'new', stored, at, fresh, packed, stats, stats_, dirty, settled, dirty_spans, s, t, f, u, d FROM m WHERE ts < '2026-03-08 01:00Z';
TABLE wrong;
CALL orchestry.run('m');
TABLE wrong;
SELECT action, reason FROM orchestry.plan('m');
SELECT * FROM orchestry.verify_rollup('hours') UNION ALL SELECT * FROM orchestry.verify_rollup('days') UNION ALL SELECT * FROM orchestry.verify_rollup('others');
UPDATE hours_buckets SET avg_value = 0 WHERE bucket = '2026-03-09 05:00Z' AND at = 1;
SELECT bucket, groups ->> 'stored' AS stored, problem FROM orchestry.verify_rollup('hours') ORDER BY 1, 3;
SELECT labels, data_points FROM orchestry.window_aggregate('m', 'ts', 'value', '{dirty,stats}') ORDER BY 1;
SELECT labels, data_points FROM orchestry.window_aggregate('days', 'ts', 'value', '{dirty,stats}') ORDER BY 1;

DROP VIEW wrong;
SELECT orchestry.drop_rollup(name) FROM unnest('{days,hours,others}'::text[]) name;
DROP SCHEMA rollup_names CASCADE;
