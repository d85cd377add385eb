-- Statistics over a whole set: autovacuum never makes them, so the job does.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET orchestry.now = '2026-03-15 12:00:00+00';
CREATE SCHEMA stats;
SET search_path = stats;
CREATE TABLE events (id int, at timestamptz) PARTITION BY RANGE (at);
SELECT orchestry.add_partition_policy('events', '1 month', '1 month') IS NOT NULL AS added;
-- of an empty set there is nothing to count
SELECT count(*) AS steps FROM orchestry.plan('events');
INSERT INTO events SELECT i % 10, '2026-03-10 00:00Z' FROM generate_series(1, 1000) i;
INSERT INTO events SELECT i % 10, '2026-04-10 00:00Z' FROM generate_series(1, 1000) i;
SELECT pg_stat_force_next_flush();
SELECT action, object, reason, locks, destructive FROM orchestry.plan('events');
CALL orchestry.run('events');
SELECT tablename, attname, n_distinct FROM pg_stats WHERE schemaname = 'stats' AND inherited ORDER BY 1, 2;
SELECT last_analyze IS NOT NULL AS analyzed FROM pg_stat_user_tables WHERE relid = 'events'::regclass;
-- fresh: not again before a day has passed and rows have changed
SELECT count(*) AS steps FROM orchestry.plan('events');
INSERT INTO events SELECT i % 10, '2026-03-11 00:00Z' FROM generate_series(1, 1000) i;
SELECT pg_stat_force_next_flush();
SELECT action, reason FROM orchestry.plan('events', (SELECT last_analyze FROM pg_stat_user_tables WHERE relid = 'events'::regclass) + interval '23 hours') WHERE action = 'analyze';
SELECT action, reason FROM orchestry.plan('events', (SELECT last_analyze FROM pg_stat_user_tables WHERE relid = 'events'::regclass) + interval '25 hours') WHERE action = 'analyze';

-- a foreign partition would be read from its server, which may not even answer
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
CREATE TABLE mixed (id int, at timestamptz) PARTITION BY RANGE (at);
SELECT orchestry.add_partition_policy('mixed', '1 month', '0') IS NOT NULL AS added;
INSERT INTO mixed SELECT i, '2026-03-10 00:00Z' FROM generate_series(1, 1000) i;
CREATE FOREIGN TABLE mixed_old PARTITION OF mixed FOR VALUES FROM ('2020-01-01 00:00Z') TO ('2026-03-01 00:00Z') SERVER nowhere;
SELECT pg_stat_force_next_flush();
SELECT action, reason FROM orchestry.plan('mixed');
CALL orchestry.run('mixed');

-- what a run has found to have nothing to do is looked at again by whoever asks for a run
CREATE TABLE yearly (id int, at timestamptz) PARTITION BY RANGE (at);
SELECT orchestry.add_partition_policy('yearly', '1 year', '1 year') IS NOT NULL AS added;
CALL orchestry.run('yearly');
INSERT INTO yearly SELECT i % 10, '2026-03-10 00:00Z' FROM generate_series(1, 1000) i;
SELECT pg_stat_force_next_flush();
SELECT action FROM orchestry.plan('yearly');
CALL orchestry.run('yearly');
SELECT tablename, attname, n_distinct FROM pg_stats WHERE schemaname = 'stats' AND tablename = 'yearly' AND inherited ORDER BY 1, 2;

SELECT count(orchestry.remove_policy(job_id)) FROM orchestry.jobs WHERE target_schema = 'stats';
SET client_min_messages = warning;
RESET search_path;
DROP SCHEMA stats CASCADE;
DROP FOREIGN DATA WRAPPER nowhere CASCADE;
