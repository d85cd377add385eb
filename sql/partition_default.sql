-- Sets with a default partition: rows in the way, promotion, and large ones that are checked before the attach.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET IntervalStyle = 'postgres';
SET orchestry.now = '2026-03-15 12:00:00+00';
CREATE SCHEMA dflt;
SET search_path = dflt;
CREATE FUNCTION steps(target regclass) RETURNS TABLE (action text, object text, reason text, locks text, blocked_by text) LANGUAGE sql AS $$
SELECT action, object, reason, locks, blocked_by FROM orchestry.plan(target) WHERE action <> 'analyze' ORDER BY seq $$;
CREATE VIEW placed AS
SELECT partition, bound, phase FROM orchestry.partitions WHERE parent::text IN ('events', 'large', '"Odd ''name"', 'generated')
ORDER BY parent::text, is_default, lower_at;

-- rows of the current month are in the default partition
CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz, note text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE events_default PARTITION OF events DEFAULT;
INSERT INTO events (at, note) VALUES ('2026-03-02', 'a'), ('2026-03-14', 'b');
SELECT orchestry.add_partition_policy('events', '1 month', '1 month') IS NOT NULL AS added;
SELECT * FROM steps('events') \gx
CALL orchestry.run('events');
SELECT state, message FROM orchestry.runs WHERE target = 'dflt.events' ORDER BY run_id DESC LIMIT 1;
SELECT s.action, s.state, s.message FROM orchestry.run_steps s JOIN orchestry.runs r USING (run_id) WHERE r.target = 'dflt.events' AND action <> 'analyze' ORDER BY run_id, seq;
SELECT orchestry.create_partition('events', '2026-03-20');
-- they all fit one month, so the partition can become that month
SELECT 'events_default'::regclass::oid AS old \gset
CALL orchestry.promote_default('events');
SELECT * FROM placed;
SELECT 'events_p202603'::regclass::oid = :old AS "same table, no row moved";
SELECT tableoid::regclass, at, note FROM events ORDER BY at;
SELECT conname FROM pg_constraint WHERE conrelid = 'events_p202603'::regclass AND contype = 'c';
SELECT count(*) AS steps FROM steps('events');
INSERT INTO events (at, note) VALUES ('2026-03-20', 'c'), ('2026-05-20', 'd') RETURNING tableoid::regclass;
\set VERBOSITY terse
CALL orchestry.promote_default('events_default');
DELETE FROM events_default;
CALL orchestry.promote_default('events');
INSERT INTO events (at) VALUES ('infinity');
CALL orchestry.promote_default('events');
\set VERBOSITY default

-- rows of several months: the recipe works as it is written
DELETE FROM events_default;
SET orchestry.now = '2026-05-15 12:00:00+00';
INSERT INTO events (at, note) VALUES ('2026-05-02', 'e'), ('2026-06-14', 'f'), ('2026-07-14', 'g');
CALL orchestry.promote_default('events');
SELECT blocked_by FROM steps('events');
SELECT substring(blocked_by FROM 'BEGIN.*COMMIT;') AS recipe FROM steps('events') LIMIT 1 \gset
SET client_min_messages = warning;
:recipe
RESET client_min_messages;
SELECT blocked_by <> '' AS blocked, object FROM steps('events');
SELECT substring(blocked_by FROM 'BEGIN.*COMMIT;') AS recipe FROM steps('events') LIMIT 1 \gset
SET client_min_messages = warning;
:recipe
RESET client_min_messages;
CALL orchestry.run('events');
SELECT * FROM placed;
SELECT tableoid::regclass, id, at, note FROM events ORDER BY at;

-- a large default partition is never read under a strong lock: three steps, each committed alone
SET orchestry.now = '2026-03-15 12:00:00+00';
CREATE TABLE large (at timestamptz, filler char(400)) PARTITION BY RANGE (at);
CREATE TABLE large_default PARTITION OF large DEFAULT WITH (fillfactor = 10);
CREATE TABLE large_march PARTITION OF large FOR VALUES FROM ('2026-03-01 00:00Z') TO ('2026-04-01 00:00Z');
INSERT INTO large SELECT '2020-01-01 00:00Z'::timestamptz + i * interval '1 minute', 'x' FROM generate_series(1, 1100) i;
SELECT pg_relation_size('large_default') / 8192 > 1024 AS large;
SELECT orchestry.add_partition_policy('large', '1 month', '1 month') IS NOT NULL AS added;
SELECT * FROM placed WHERE partition::text LIKE 'large%';
SELECT action, object, reason, sql, locks, blocked_by FROM orchestry.plan('large') WHERE action <> 'analyze' ORDER BY seq \gx
-- the attach proves by the constraint that no row is in the way, and does not read them; without it, it reads them
CREATE PROCEDURE apply(target regclass, wanted text) LANGUAGE plpgsql AS $$
DECLARE s text;
BEGIN
    FOR s IN SELECT regexp_split_to_table(p.sql, ';\n|;$') FROM orchestry.plan(target) p WHERE p.action = wanted LOOP
        IF s <> '' THEN EXECUTE s; END IF;
    END LOOP;
END $$;
CREATE FUNCTION reads() RETURNS bigint LANGUAGE sql VOLATILE AS $$SELECT pg_stat_get_xact_numscans('large_default'::regclass)$$;
BEGIN;
CALL apply('large', 'exclude_default');
CALL apply('large', 'validate_default');
SELECT reads() AS before \gset
CALL apply('large', 'create');
SELECT reads() - :before AS reads_under_the_strong_lock;
ROLLBACK;
BEGIN;
ALTER TABLE large ALTER at SET NOT NULL;
CALL apply('large', 'exclude_default');
CALL apply('large', 'validate_default');
SELECT reads() AS before \gset
CALL apply('large', 'create');
SELECT reads() - :before AS reads_under_the_strong_lock;
ROLLBACK;
BEGIN;
CREATE TABLE unproved (LIKE large);
SELECT reads() AS before \gset
ALTER TABLE large ATTACH PARTITION unproved FOR VALUES FROM ('2026-04-01 00:00Z') TO ('2026-05-01 00:00Z');
SELECT reads() - :before AS reads_of_a_plain_attach;
ROLLBACK;
CALL orchestry.run('large');
SELECT s.action, s.state FROM orchestry.run_steps s JOIN orchestry.runs r USING (run_id) WHERE r.target = 'dflt.large' AND action <> 'analyze' ORDER BY run_id, seq;
SELECT * FROM placed WHERE partition::text LIKE 'large%';
SELECT count(*) AS left_over FROM pg_constraint WHERE conrelid = 'large_default'::regclass AND contype = 'c';
-- killed between two steps: the next run goes on from what the catalog says
SET orchestry.now = '2026-04-15 12:00:00+00';
DO $$ BEGIN EXECUTE rtrim((SELECT sql FROM orchestry.plan('large') WHERE action = 'exclude_default'), ';'); END $$;
SELECT action FROM steps('large');
DO $$ BEGIN EXECUTE rtrim((SELECT sql FROM orchestry.plan('large') WHERE action = 'validate_default'), ';'); END $$;
SELECT action FROM steps('large');
CALL orchestry.run('large');
SELECT count(*) AS left_over FROM pg_constraint WHERE conrelid = 'large_default'::regclass AND contype = 'c';
-- what no step needs keeps rows out for nothing, and goes
ALTER TABLE large_default ADD CONSTRAINT orchestry_default_without_0000000000000000 CHECK (at < '2030-01-01') NOT VALID;
SELECT action, object FROM steps('large');
SET orchestry.now = '2026-04-15 11:59:59+00'; -- before the time for which nothing is due, as is known
CALL orchestry.run('large');
SELECT count(*) AS left_over FROM pg_constraint WHERE conrelid = 'large_default'::regclass AND contype = 'c';
-- not in the range of now: rows may come for it any moment
SET orchestry.now = '2026-09-15 12:00:00+00';
SELECT * FROM steps('large');
-- one by hand: told what to run first
SELECT orchestry.create_partition('large', '2027-01-01');
-- a large one is promoted by the same means
DELETE FROM large_default WHERE at > '2020-01-31 00:00Z';
SET orchestry.now = '2026-04-15 12:00:00+00';
SELECT 'large_default'::regclass::oid AS old \gset
-- it is read to find its least and greatest key and a NULL, and to validate the constraint: not in the swap
SET max_parallel_workers_per_gather = 0;
SELECT pg_stat_force_next_flush();
SELECT pg_stat_get_numscans('large_default'::regclass) AS before \gset
CALL orchestry.promote_default('large');
SELECT pg_stat_force_next_flush();
SELECT pg_stat_get_numscans(:old) - :before <= 4 AS few_reads;
SELECT 'large_p202001'::regclass::oid = :old AS promoted;
SELECT count(*) AS left_over FROM pg_constraint WHERE conrelid IN ('large_default'::regclass, 'large_p202001'::regclass) AND contype = 'c';
-- the promoted one is an ordinary partition now, and the gap up to the others is told
CALL orchestry.run('large');
SELECT count(*) AS partitions, count(*) FILTER (WHERE is_default) AS defaults FROM orchestry.partitions WHERE parent = 'large'::regclass;

-- in another schema, with a name that needs quotes; generated columns move with the recipe
CREATE SCHEMA "other ' schema";
CREATE TABLE "Odd 'name" (at date, twice int GENERATED ALWAYS AS (n * 2) STORED, n int) PARTITION BY RANGE (at);
CREATE TABLE "other ' schema"."The ""rest""" PARTITION OF "Odd 'name" DEFAULT;
INSERT INTO "Odd 'name" VALUES ('2026-03-01', DEFAULT, 1), ('2026-04-01', DEFAULT, 2);
SET orchestry.now = '2026-03-15 12:00:00+00';
SELECT orchestry.add_partition_policy($$"Odd 'name"$$, '1 month', '0') IS NOT NULL AS added;
SELECT substring(blocked_by FROM 'BEGIN.*COMMIT;') AS recipe FROM steps($$"Odd 'name"$$) \gset
:recipe
SELECT tableoid::regclass, * FROM "Odd 'name" ORDER BY at;
CALL orchestry.promote_default($$"Odd 'name"$$);
SELECT tableoid::regclass, * FROM "Odd 'name" ORDER BY at;
SELECT * FROM placed WHERE partition::text LIKE '%Odd%' OR partition::text LIKE '%other%';

-- the name that a promoted one gets must be free in its own schema, not in that of the table
CREATE TABLE elsewhere (at date) PARTITION BY RANGE (at);
CREATE TABLE "other ' schema".elsewhere_default PARTITION OF elsewhere DEFAULT;
INSERT INTO elsewhere VALUES ('2026-03-01');
SET client_min_messages = error;
SELECT orchestry.add_partition_policy('elsewhere', '1 month', '0') IS NOT NULL AS added;
RESET client_min_messages;
CREATE TABLE "other ' schema".elsewhere_p202603 ();
CREATE VIEW elsewhere_p202603 AS SELECT 1;
CALL orchestry.promote_default('elsewhere');
DROP TABLE "other ' schema".elsewhere_p202603;
CALL orchestry.promote_default('elsewhere');
SELECT tableoid::regclass, at FROM elsewhere;

-- foreign tables are not looked into by an ATTACH: nothing is made beside a default partition that is or has one
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
CREATE TABLE remote (at date) PARTITION BY RANGE (at);
CREATE FOREIGN TABLE remote_default PARTITION OF remote DEFAULT SERVER nowhere;
SELECT orchestry.add_partition_policy('remote', '1 month', '0') IS NOT NULL AS added;
SELECT action, blocked_by FROM orchestry.plan('remote');
SELECT orchestry.create_partition('remote', '2026-07-01');
CALL orchestry.promote_default('remote');
CREATE TABLE below (at date) PARTITION BY RANGE (at);
CREATE TABLE below_default PARTITION OF below DEFAULT PARTITION BY LIST (at);
CREATE FOREIGN TABLE below_default_1 PARTITION OF below_default DEFAULT SERVER nowhere;
SELECT orchestry.add_partition_policy('below', '1 month', '0') IS NOT NULL AS added;
SELECT count(*) FROM pg_inherits WHERE inhparent IN ('remote'::regclass, 'below'::regclass);

-- the command that moves rows out of the way goes by the names of columns, which may stand in another order there
CREATE TABLE people (at timestamptz NOT NULL, first text, last text) PARTITION BY RANGE (at);
CREATE TABLE people_default (gone int, at timestamptz NOT NULL, last text, first text);
ALTER TABLE people_default DROP COLUMN gone;
ALTER TABLE people ATTACH PARTITION people_default DEFAULT;
INSERT INTO people VALUES ('2026-04-15 12:00Z', 'John', 'Smith'), ('2020-01-01 00:00Z', 'Old', 'Row');
SET client_min_messages = error;
SELECT orchestry.add_partition_policy('people', '1 month', '1 month') IS NOT NULL AS added;
RESET client_min_messages;
SELECT regexp_replace(blocked_by, '^.*move them: ', '') AS move FROM orchestry.plan('people') WHERE blocked_by IS NOT NULL \gset
:move
SELECT tableoid::regclass, first, last FROM people ORDER BY at;

SELECT count(orchestry.remove_policy(job_id)) FROM orchestry.jobs WHERE target_schema = 'dflt';
SET client_min_messages = warning;
RESET search_path;
DROP SCHEMA dflt, "other ' schema" CASCADE;
DROP FOREIGN DATA WRAPPER nowhere CASCADE;
