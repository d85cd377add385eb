-- Constants mean what they mean where they were written, whatever the settings of whoever reads what was stored of them.
SET client_min_messages = warning;
SET orchestry.now = '2026-06-15 12:00:00+00';
SELECT setval('orchestry.job_job_id_seq', 7951, false), setval('orchestry.hold_hold_id_seq', 6951, false);
CREATE SCHEMA formats;
SET search_path = formats;
CREATE PROCEDURE odd() LANGUAGE plpgsql AS $$
BEGIN
    SET DateStyle = 'German';
    SET IntervalStyle = 'sql_standard';
    SET TimeZone = 'Asia/Kolkata';
    SET extra_float_digits = -10;
    SET bytea_output = 'escape';
    SET quote_all_identifiers = on;
END $$;
CREATE PROCEDURE usual() LANGUAGE plpgsql AS $$
BEGIN
    SET DateStyle = 'ISO, MDY';
    SET IntervalStyle = 'postgres';
    SET TimeZone = 'UTC';
    RESET extra_float_digits;
    RESET bytea_output;
    RESET quote_all_identifiers;
END $$;
-- the edges of each condition, in the settings of who writes it
CREATE TABLE t (id int PRIMARY KEY, at timestamptz DEFAULT '2026-01-01Z', off interval, last timestamptz, day date, f float8, b bytea, n int DEFAULT 0);
INSERT INTO t (id, off, last, day, f, b) VALUES
    (1, '-1 day -3 hours', '2025-12-31 18:29:59+00', '2026-02-01', 0.1, '\x00'),
    (2, '-1 day -1 hour', '2025-12-31 18:30:00+00', '2026-02-02', 0.30000000000000004, '\x5c00'),
    (3, '-22 hours', '2026-01-01 00:00:00+00', '2026-03-01', 0.3, '\xff');
CREATE TABLE conditions (name text PRIMARY KEY, condition text);
INSERT INTO conditions VALUES
    ('interval', $$off < interval '-1 day -2 hours'$$),
    ('timestamptz', $$last < '01.01.2026'$$),
    ('date', $$day > '01.02.2026'$$),
    ('float8', $$f = 0.30000000000000004$$),
    ('bytea', $$b = '\\\000'$$);
CREATE TABLE expected (name text, id int);
CREATE PROCEDURE each(statements text) LANGUAGE plpgsql AS $$
DECLARE statement text;
BEGIN
    FOR statement IN EXECUTE statements LOOP
        EXECUTE statement;
    END LOOP;
END $$;

CALL odd();
CALL each($$SELECT format('INSERT INTO expected SELECT %L, id FROM t WHERE %s', name, condition) FROM conditions$$);
CALL usual();
SELECT name, array_agg(id ORDER BY id) AS ids FROM expected GROUP BY name ORDER BY name;

-- what retention removes
CALL each($$SELECT format('CREATE TABLE r_%s AS SELECT * FROM t', name) FROM conditions$$);
CALL odd();
CALL each($$SELECT format('SELECT orchestry.add_retention_policy(%L, ''10 days'', time_column => ''at'', "where" => %L)', 'r_' || name, condition) FROM conditions ORDER BY name$$);
CALL orchestry.run_job(7951);
CALL usual();
SELECT target, settings ->> 'where' AS "where" FROM orchestry.jobs WHERE target_schema = 'formats' ORDER BY job_id;
CALL orchestry.run_job(7952);
CALL orchestry.run_job(7953);
CALL orchestry.run_job(7954);
CALL orchestry.run_job(7955);
CREATE VIEW removed AS
SELECT 'bytea' AS name, id FROM t WHERE id NOT IN (SELECT id FROM r_bytea) UNION ALL
SELECT 'date', id FROM t WHERE id NOT IN (SELECT id FROM r_date) UNION ALL
SELECT 'float8', id FROM t WHERE id NOT IN (SELECT id FROM r_float8) UNION ALL
SELECT 'interval', id FROM t WHERE id NOT IN (SELECT id FROM r_interval) UNION ALL
SELECT 'timestamptz', id FROM t WHERE id NOT IN (SELECT id FROM r_timestamptz);
SELECT name, array_agg(id ORDER BY id) AS ids FROM removed GROUP BY name ORDER BY name;
SELECT count(orchestry.remove_policy(job_id)) FROM orchestry.jobs WHERE target_schema = 'formats';

-- what holds keep: here what meets the condition stays
DROP VIEW removed;
CALL each($$SELECT format('DROP TABLE r_%s', name) FROM conditions$$);
CALL each($$SELECT format('CREATE TABLE r_%s AS SELECT * FROM t', name) FROM conditions$$);
CALL odd();
CALL each($$SELECT format('SELECT orchestry.hold(%L, ''case'', "where" => %L)', 'r_' || name, condition) FROM conditions ORDER BY name$$);
CALL usual();
CALL each($$SELECT format('SELECT orchestry.add_retention_policy(%L, ''10 days'', time_column => ''at'')', 'r_' || name) FROM conditions ORDER BY name$$);
CALL orchestry.run_job(7956);
CALL orchestry.run_job(7957);
CALL orchestry.run_job(7958);
CALL orchestry.run_job(7959);
CALL orchestry.run_job(7960);
SELECT name, array_agg(id ORDER BY id) AS ids FROM (
    SELECT 'bytea' AS name, id FROM r_bytea UNION ALL SELECT 'date', id FROM r_date UNION ALL SELECT 'float8', id FROM r_float8 UNION ALL
    SELECT 'interval', id FROM r_interval UNION ALL SELECT 'timestamptz', id FROM r_timestamptz) held GROUP BY name ORDER BY name;
SELECT count(orchestry.remove_policy(job_id)) FROM orchestry.jobs WHERE target_schema = 'formats';
SELECT count(orchestry.release_hold(hold_id, 'over')) FROM orchestry.holds WHERE released_at IS NULL AND reason = 'case';

-- which rows a backfill changes, and to what: as an UPDATE of the session would
ALTER TABLE t ADD d date, ADD txt text, ADD i interval;
CREATE TABLE u AS SELECT * FROM t;
CALL odd();
UPDATE u SET d = last::date, txt = day::text, i = '-1 2:00:00'::text::interval WHERE last >= '01.01.2026';
CALL orchestry.backfill('t', $$d = last::date, txt = day::text, i = '-1 2:00:00'::text::interval$$, $$last >= '01.01.2026'$$, 1);
CALL usual();
SELECT id, d, txt, i FROM t ORDER BY id;
SELECT count(*) AS different FROM (TABLE t EXCEPT TABLE u) d;

RESET orchestry.now;
SET search_path = public;
DROP SCHEMA formats CASCADE;
