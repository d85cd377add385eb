-- Rollups whose jobs are not there, as after the restore of a dump without rights on the extension's tables: they say what the rows say.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET client_min_messages = warning;
CREATE SCHEMA rollup_unknown;
SET search_path = rollup_unknown;
SELECT setval('orchestry.job_job_id_seq', 13101, false);
SET orchestry.now = '2026-03-30 12:30Z';
CREATE TABLE m (ts timestamptz, app text, v float8) PARTITION BY RANGE (ts);
CREATE TABLE m_all PARTITION OF m FOR VALUES FROM ('2026-03-28') TO ('2026-04-02');
INSERT INTO m SELECT '2026-03-28Z'::timestamptz + i * interval '20 s', nullif('app ' || i % 3, 'app 2'), i * 7919 % 1000 FROM generate_series(0, 10900) i;
CREATE TABLE wall (ts timestamp, v float8);
INSERT INTO wall SELECT ts AT TIME ZONE 'UTC', v FROM m;
SELECT orchestry.create_rollup('minutes', 'm', 'ts', 'v', '1 minute', '{app}');
SELECT orchestry.create_rollup('hours', 'm', 'ts', 'v', '1 hour', '{app}', parent => 'minutes');
SELECT orchestry.create_rollup('days', 'm', 'ts', 'v', '1 day', '{app}', time_zone => 'Europe/Berlin', parent => 'hours');
SELECT orchestry.create_rollup('months', 'wall', 'ts', 'v', '1 month');
CREATE VIEW fresh AS
SELECT 'minutes' AS rollup, orchestry.time_bucket('1 minute', ts) AS bucket, app, (orchestry.window_stats(v)).data_points FROM m GROUP BY 2, 3
UNION ALL SELECT 'hours', orchestry.time_bucket('1 hour', ts), app, (orchestry.window_stats(v)).data_points FROM m GROUP BY 2, 3
UNION ALL SELECT 'days', orchestry.time_bucket('1 day', ts, 'Europe/Berlin'), app, (orchestry.window_stats(v)).data_points FROM m GROUP BY 2, 3
UNION ALL SELECT 'months', orchestry.time_bucket('1 month', ts AT TIME ZONE 'UTC'), NULL, (orchestry.window_stats(v)).data_points FROM wall GROUP BY 2, 3;
CREATE VIEW found AS
SELECT 'minutes' AS rollup, bucket, app, data_points FROM minutes UNION ALL SELECT 'hours', bucket, app, data_points FROM hours
UNION ALL SELECT 'days', bucket, app, data_points FROM days UNION ALL SELECT 'months', bucket, NULL, data_points FROM months;
CREATE VIEW wrong AS SELECT count(*) AS wrong FROM ((TABLE fresh EXCEPT ALL TABLE found) UNION ALL (TABLE found EXCEPT ALL TABLE fresh)) d;
CALL orchestry.run('m');
CALL orchestry.run('wall');
SELECT rollup, count(*), sum(data_points) FROM found GROUP BY 1 ORDER BY 1;
TABLE wrong;
-- Of one level each, and of all. What is stored may be anything by then.
DO $$
DECLARE
    missing record;
    n bigint;
BEGIN
    FOR missing IN SELECT ARRAY[job_id] AS jobs, rollup::text AS name FROM orchestry.rollups WHERE job_id BETWEEN 13101 AND 13104
                   UNION ALL SELECT '{13101,13102,13103,13104}', 'all' ORDER BY 2
    LOOP
        BEGIN
            DELETE FROM orchestry.job WHERE job_id = ANY (missing.jobs);
            IF missing.name <> 'all' THEN
                EXECUTE format('DELETE FROM %I WHERE bucket > ''2026-03-29''', missing.name || '_buckets');
            END IF;
            n := (SELECT w.wrong FROM wrong w);
            RAISE EXCEPTION USING ERRCODE = 'RU001';
        EXCEPTION WHEN SQLSTATE 'RU001' THEN
            RAISE WARNING 'without the job of %: % wrong', missing.name, n;
        END;
    END LOOP;
END
$$;
TABLE wrong;
SELECT orchestry.drop_rollup(r) FROM unnest('{days,hours,minutes,months}'::text[]) r;
RESET search_path;
DROP SCHEMA rollup_unknown CASCADE;
