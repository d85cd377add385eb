-- Holds: what is held is removed by nobody, whatever it is called and however it is tried.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET IntervalStyle = 'postgres';
SET client_min_messages = warning;
SET orchestry.now = '2026-06-15 12:00:00+00';
SELECT setval('orchestry.job_job_id_seq', 7201, false), setval('orchestry.hold_hold_id_seq', 7201, false);
CREATE ROLE hold_owner;
CREATE ROLE hold_stranger;
CREATE SCHEMA held AUTHORIZATION hold_owner;
GRANT USAGE ON SCHEMA held TO hold_stranger;
SET search_path = held;
CREATE FUNCTION mask(text) RETURNS text LANGUAGE sql RETURN regexp_replace($1, 'quarantine_\d+', 'quarantine_N', 'g');
CREATE FUNCTION planned(target regclass, as_of timestamptz DEFAULT now()) RETURNS TABLE (action text, object text, blocked_by text)
LANGUAGE sql BEGIN ATOMIC
    SELECT p.action, mask(p.object), mask(p.blocked_by) FROM orchestry.plan(target, as_of) p WHERE p.action <> 'announce' ORDER BY p.seq;
END;
SET ROLE hold_owner;
CREATE TABLE ev (id int, at timestamptz, customer int) PARTITION BY RANGE (at);
DO $$ BEGIN
    FOR m IN 1..6 LOOP
        EXECUTE format('CREATE TABLE ev_%s PARTITION OF ev FOR VALUES FROM (%L) TO (%L)', m,
                       to_char(make_date(2026, m, 1), 'YYYY-MM-DD'), to_char(make_date(2026, m + 1, 1), 'YYYY-MM-DD'));
    END LOOP;
END $$;
INSERT INTO ev SELECT n, timestamptz '2026-01-05' + n * interval '10 days', n % 4 FROM generate_series(0, 15) n;
CREATE TABLE plain (id int);

-- bad holds
SELECT orchestry.hold(NULL, 'why');
SELECT orchestry.hold('ev', NULL);
SELECT orchestry.hold('ev', '  ');
SELECT orchestry.hold('ev', 'why', '2026-02-01', '2026-02-01');
SELECT orchestry.hold('ev', 'why', "where" => 'nope = 1');
SELECT orchestry.hold('ev', 'why', "where" => 'customer');
SELECT orchestry.hold('ev', 'why', "where" => 'customer = 1) OR (true');
SELECT orchestry.hold('ev', 'why', "where" => 'true; DROP TABLE ev');
SELECT orchestry.hold('ev', 'why', "where" => 'true ORDER BY 1');
SELECT orchestry.hold('ev', 'why', "where" => 'true FROM plain');
SELECT orchestry.hold('ev', 'why', "where" => 'customer = 1 AS x');
SELECT orchestry.hold('ev', 'why', "where" => 'customer IN (SELECT id FROM held.plain)');
SELECT orchestry.hold('ev', 'why', "where" => 'customer < random()');
SELECT orchestry.hold('ev', 'why', "where" => 'ev IS NOT NULL');
SELECT orchestry.hold('ev', 'why', "where" => 'count(*) > 1');
CREATE VIEW looks AS SELECT * FROM plain;
SELECT orchestry.hold('looks', 'why');
CREATE TEMPORARY TABLE passing (id int);
\set VERBOSITY terse
SELECT orchestry.hold('passing', 'why');
\set VERBOSITY default
DROP TABLE passing;
DROP VIEW looks;
SET ROLE hold_stranger;
SELECT orchestry.hold('ev', 'why');
SELECT count(*) FROM orchestry.holds WHERE hold_id > 7200;
RESET ROLE;

-- a hold on a table, however it is to be removed
SELECT orchestry.hold('plain', 'case 1') AS h \gset
TRUNCATE plain; -- there is nothing in it
INSERT INTO plain VALUES (1);
DROP TABLE plain CASCADE;
TRUNCATE plain;
ALTER TABLE plain DROP COLUMN id;
DROP OWNED BY hold_owner CASCADE;
DROP SCHEMA held CASCADE;
DO $$ BEGIN EXECUTE 'DROP TABLE held.plain CASCADE'; EXCEPTION WHEN object_not_in_prerequisite_state THEN RAISE WARNING '%', SQLERRM; END $$;
DROP EXTENSION orchestry_ext CASCADE;
DELETE FROM plain; -- rows by hand are their owner's business
ALTER TABLE plain ADD COLUMN more int;
ALTER TABLE plain RENAME TO plainer;
DROP TABLE plainer CASCADE;
SELECT hold_id = :h AS same, relation, reason, created_by = session_user AS by_me, created_at FROM orchestry.holds WHERE hold_id > 7200;

-- released, with who and why
SELECT orchestry.release_hold(:h, NULL);
SELECT orchestry.release_hold(:h, '');
SELECT orchestry.release_hold(123456789, 'over');
SET ROLE hold_stranger;
SELECT orchestry.release_hold(:h, 'over');
RESET ROLE;
SET ROLE hold_owner;
SELECT orchestry.release_hold(:h, 'the verdict is final');
SELECT orchestry.release_hold(:h, 'again');
DROP TABLE plainer CASCADE;
SELECT relation, reason, released_by = session_user AS by_me, release_reason FROM orchestry.holds WHERE hold_id > 7200;
RESET ROLE;

-- a hold on a part of time: partitions of that time, and the table as a whole
SET ROLE hold_owner;
SELECT orchestry.hold('ev', 'case 2', '2026-02-10', '2026-02-20') AS h2 \gset
RESET ROLE;
SELECT "from", "to" FROM orchestry.holds WHERE hold_id = :h2;
DROP TABLE ev_2;
ALTER TABLE ev DETACH PARTITION ev_2;
ALTER TABLE ev DETACH PARTITION ev_2 CONCURRENTLY;
TRUNCATE ev_2;
TRUNCATE ev;
DROP TABLE ev;
ALTER TABLE ev DROP COLUMN customer;
BEGIN;
ALTER TABLE ev DETACH PARTITION ev_3;
DROP TABLE ev_1;
TRUNCATE ev_4;
ROLLBACK;

-- what comes is not in the way of a hold
CREATE TABLE ev_7 PARTITION OF ev FOR VALUES FROM ('2026-07-01') TO ('2026-08-01');
CREATE TABLE ev_8 (LIKE ev);
ALTER TABLE ev ATTACH PARTITION ev_8 FOR VALUES FROM ('2026-08-01') TO ('2026-09-01');
DROP TABLE ev_7, ev_8;

-- retention goes around what is held and does not fail
SELECT orchestry.add_retention_policy('ev', '2 months') AS job \gset
SELECT * FROM planned('ev');
CALL orchestry.run('ev');
SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'ev'::regclass ORDER BY 1;
CALL orchestry.run('ev');
SELECT state FROM orchestry.runs WHERE job_id = :job ORDER BY run_id;
-- what is in quarantine is held like the table it was a part of
SELECT orchestry.hold('ev', 'case 3', '2026-01-01', '2026-01-02') AS h3 \gset
SELECT * FROM planned('ev', '2026-07-01');
SELECT partition AS ev_1 FROM orchestry.quarantine WHERE former_name = 'held.ev_1' \gset
\set VERBOSITY terse
SELECT mask(:'ev_1') AS ev_1;
DO $$ BEGIN
    EXECUTE 'DROP TABLE ' || (SELECT partition FROM orchestry.quarantine WHERE former_name = 'held.ev_1');
EXCEPTION WHEN object_not_in_prerequisite_state THEN RAISE WARNING '%', mask(SQLERRM); END $$;
\set VERBOSITY default
SET orchestry.now = '2026-07-01 12:00:00+00';
CALL orchestry.run('ev');
SELECT former_name FROM orchestry.quarantine ORDER BY former_name;
-- a release makes it due at once
SELECT orchestry.release_hold(:h3, 'over');
CALL orchestry.run('ev');
SELECT action, mask(object) AS object, state FROM orchestry.run_steps WHERE run_id = (SELECT last_run_id FROM orchestry.jobs WHERE job_id = :job) ORDER BY seq;

-- a hold on rows: partitions that have some
SELECT orchestry.release_hold(:h2, 'over');
SET ROLE hold_owner;
SELECT orchestry.hold('ev', 'case 4', "where" => 'customer = 1') AS h4 \gset
RESET ROLE;
SELECT "where" FROM orchestry.holds WHERE hold_id = :h4;
SELECT array_agg(customer ORDER BY id) FROM ev_2;
SELECT array_agg(customer ORDER BY id) FROM ev_5;
DELETE FROM ev_5 WHERE customer = 1;
SET orchestry.now = '2026-08-01 12:00:00+00';
SELECT * FROM planned('ev');
-- by hand there is no looking into rows
DROP TABLE ev_5;
CALL orchestry.run('ev');
SELECT former_name FROM orchestry.quarantine ORDER BY former_name;
-- rows that it covers and that come in later keep what is already in quarantine
SELECT partition AS ev_5 FROM orchestry.quarantine WHERE former_name = 'held.ev_5' \gset
INSERT INTO :ev_5 VALUES (99, '2026-05-05', 1);
SELECT action, blocked_by FROM planned('ev', '2026-08-20') WHERE object ~ 'ev_5';
-- where the predicate cannot be evaluated any more, everything is held
ALTER TABLE ev RENAME COLUMN customer TO client;
UPDATE orchestry.hold SET predicate = 'client = 1' WHERE hold_id = :h4;
SELECT action, object, blocked_by IS NOT NULL AS held FROM planned('ev', '2026-08-20');
UPDATE orchestry.hold SET predicate = 'customer = 1' WHERE hold_id = :h4;
SELECT orchestry.release_hold(:h4, 'over');

-- holds below and above: a sub-partition keeps what it is in, a table keeps what is in it
CREATE TABLE deep (at timestamptz, v int) PARTITION BY RANGE (at);
CREATE TABLE deep_1 PARTITION OF deep FOR VALUES FROM ('2025-01-01') TO ('2025-02-01') PARTITION BY LIST (v);
CREATE TABLE deep_1_a PARTITION OF deep_1 FOR VALUES IN (1) PARTITION BY HASH (v);
CREATE TABLE deep_1_a_0 PARTITION OF deep_1_a FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE TABLE deep_2 PARTITION OF deep FOR VALUES FROM ('2025-02-01') TO ('2026-07-01');
SELECT orchestry.add_retention_policy('deep', '2 years', grace => '0') AS job \gset
SELECT orchestry.hold('deep_1_a_0', 'case 5') AS h5 \gset
SELECT * FROM planned('deep', '2027-07-01');
ALTER TABLE deep DETACH PARTITION deep_1;
DROP TABLE deep_1;
SELECT orchestry.release_hold(:h5, 'over');
SELECT orchestry.hold('deep', 'case 6', "to" => '2025-01-10') AS h6 \gset
DROP TABLE deep_1_a_0;
DROP TABLE deep_1;
SELECT * FROM planned('deep', '2027-07-01');
SELECT orchestry.release_hold(:h6, 'over');
SELECT * FROM planned('deep', '2027-07-01');

-- tables that inherit, from several as well: each keeps what it holds in all that are below it, and nothing above
CREATE TABLE base (id int, at timestamptz);
CREATE TABLE side (id int, at timestamptz);
CREATE TABLE kin () INHERITS (base, side);
CREATE TABLE deep_kin () INHERITS (kin);
INSERT INTO base VALUES (1, '2020-01-01');
INSERT INTO kin VALUES (2, '2020-01-01'), (3, '2020-02-01');
INSERT INTO deep_kin VALUES (4, '2020-01-01'), (5, '2020-02-01');
SELECT orchestry.add_retention_policy('base', '2 years', time_column => 'at') AS job \gset
SELECT orchestry.hold('side', 'case 7') AS h7 \gset
SELECT * FROM planned('base');
CALL orchestry.run('base');
SELECT tableoid::regclass, id FROM base ORDER BY id;
DROP TABLE deep_kin;
DROP TABLE base CASCADE;
TRUNCATE deep_kin;
TRUNCATE side;
ALTER TABLE kin NO INHERIT side;
ALTER TABLE deep_kin NO INHERIT kin;
ALTER TABLE side DROP COLUMN at CASCADE;
CREATE TABLE other_kin () INHERITS (side); -- what comes is not in the way of a hold
CREATE TABLE late_kin (id int, at timestamptz);
ALTER TABLE late_kin INHERIT side;
DROP TABLE other_kin, late_kin;
SELECT orchestry.release_hold(:h7, 'over');
SELECT orchestry.hold('side', 'case 8', "to" => '2020-01-15', "where" => 'id <> 4') AS h8 \gset
INSERT INTO base VALUES (1, '2020-01-01');
CALL orchestry.run('base');
SELECT tableoid::regclass, id FROM base ORDER BY id;
TRUNCATE kin;
SELECT orchestry.release_hold(:h8, 'over');
SELECT orchestry.hold('deep_kin', 'case 9') AS h9 \gset
INSERT INTO base VALUES (1, '2020-01-01');
INSERT INTO deep_kin VALUES (6, '2020-01-01');
CALL orchestry.run('base');
SELECT tableoid::regclass, id FROM base ORDER BY id;
TRUNCATE base;
TRUNCATE ONLY base;
SELECT orchestry.release_hold(:h9, 'over');
TRUNCATE base;
ALTER TABLE kin NO INHERIT side;
DROP TABLE base CASCADE;

-- temporary tables and what was never held are nobody's concern
CREATE TEMPORARY TABLE passing_too (id int);
TRUNCATE passing_too;
DROP TABLE passing_too;

SELECT count(*) FROM orchestry.holds WHERE released_at IS NULL;
SELECT count(orchestry.remove_policy(job_id)) FROM orchestry.jobs WHERE target_schema = 'held';
DROP SCHEMA held CASCADE;
DROP ROLE hold_owner, hold_stranger;
