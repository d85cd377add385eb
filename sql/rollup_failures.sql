-- What keeps a rollup, or some of its buckets, from being computed: what is refused, and what runs say.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET orchestry.now = '2026-03-10 12:30Z';
CREATE SCHEMA rollup_failures;
SET search_path = rollup_failures;
SELECT setval('orchestry.job_job_id_seq', 18101, false);

-- Columns that a rollup is computed from keep their names, since another one could take them.
CREATE TYPE measured AS (ts timestamptz, app text, kind int, v float8, w float8);
CREATE TABLE m OF measured;
INSERT INTO m VALUES ('2026-03-08 01:10Z', 'a', 1, 1, 10), ('2026-03-08 02:10Z', 'a', 1, 2, 20), ('2026-03-08 02:20Z', 'b', 0, 3, 30);
SELECT orchestry.create_rollup('r', 'm', 'ts', 'v', '1 hour', '{app}', "where" => 'kind = 1');
SELECT orchestry.create_rollup('days', 'm', 'ts', 'v', '1 day', parent => 'r');
CALL orchestry.run('m');
ALTER TABLE m NOT OF;
ALTER TABLE m RENAME v TO v_old;
ALTER TABLE m RENAME COLUMN ts TO at;
ALTER TABLE m RENAME app TO name;
ALTER TABLE m RENAME kind TO sort;
ALTER TABLE r_buckets RENAME summary TO other;
ALTER TABLE m OF measured;
ALTER TYPE measured RENAME ATTRIBUTE v TO v_old CASCADE;
CREATE TABLE root (LIKE m) PARTITION BY RANGE (ts);
ALTER TABLE m NOT OF, ALTER ts SET NOT NULL;
ALTER TABLE root ATTACH PARTITION m FOR VALUES FROM ('2026-01-01Z') TO ('2027-01-01Z');
ALTER TABLE root RENAME v TO v_old;
ALTER TABLE root DETACH PARTITION m;
ALTER TABLE m RENAME w TO v_new; -- this one is nobody's
-- Renamed unseen, by a server without the library: the view reads one column, and the run would read another.
BEGIN;
UPDATE pg_attribute SET attname = 'v_old' WHERE attrelid = 'm'::regclass AND attname = 'v';
UPDATE pg_attribute SET attname = 'v' WHERE attrelid = 'm'::regclass AND attname = 'v_new';
COMMIT;
CALL orchestry.refresh_rollup('r');
CALL orchestry.refresh_rollup('days');
SELECT * FROM orchestry.verify_rollup('r');
SELECT orchestry.drop_rollup('days'), orchestry.drop_rollup('r');
ALTER TABLE m RENAME v TO v_new;
DROP TABLE m, root;

-- Rows that cannot be computed keep their own buckets from being stored, and no others.
CREATE TABLE g (ts timestamptz NOT NULL, app text, v numeric);
INSERT INTO g SELECT '2026-03-09Z'::timestamptz + i * interval '10 min', 'a', i FROM generate_series(0, 100) i;
SELECT orchestry.create_rollup('r', 'g', 'ts', 'v', '1 hour', '{app}');
SELECT orchestry.create_rollup('days', 'g', 'ts', 'v', '1 day', parent => 'r');
INSERT INTO g SELECT '2026-03-09 10:05Z', string_agg(md5(i::text), ''), 1 FROM generate_series(1, 300) i;
INSERT INTO g VALUES ('2026-03-09 03:05Z', 'huge', '1e400');
\set VERBOSITY terse
CALL orchestry.refresh_rollup('r');
\set VERBOSITY default
SELECT action, state, rows, sqlstate, regexp_replace(message, '^.*: ', '') AS message FROM orchestry.run_steps
WHERE run_id = (SELECT max(run_id) FROM orchestry.runs WHERE job_id = 18103) AND (state <> 'ok' OR rows > 0) ORDER BY seq;
SELECT lower(d), upper(d) FROM orchestry.rollups, unnest(dirty) d WHERE rollup = 'r'::regclass ORDER BY 1;
SELECT count(*), min(bucket), max(bucket) FROM r_buckets;
UPDATE g SET v = 0 WHERE app = 'huge';
CALL orchestry.run('g');
DELETE FROM g WHERE length(app) > 1000;
CALL orchestry.run('g');
SELECT lower(d) FROM orchestry.rollups, unnest(dirty) d WHERE job_id IN (18103, 18104) ORDER BY 1;
SELECT bucket, data_points FROM days;
SELECT count(*) FROM orchestry.verify_rollup('r');
-- A batch that is too large as a whole is computed in parts.
CREATE FUNCTION check_size() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) FROM added) > 5 THEN
        RAISE 'too many';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER check_size AFTER INSERT ON r_buckets REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION check_size();
TRUNCATE r_buckets;
CALL orchestry.refresh_rollup('r', '2026-03-09', '2026-03-10');
SELECT state, rows FROM orchestry.run_steps WHERE run_id = (SELECT max(run_id) FROM orchestry.runs WHERE job_id = 18103) AND rows > 0 ORDER BY seq;
SELECT count(*) FROM orchestry.verify_rollup('r');

-- Whoever cancels a run while it looks for the parts of a batch that has failed ends it.
CREATE FUNCTION cancel() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE 'cancelled: %', pg_cancel_backend(pg_backend_pid());
END $$;
CREATE TRIGGER cancel BEFORE INSERT ON r_buckets FOR EACH STATEMENT EXECUTE FUNCTION cancel();
CALL orchestry.refresh_rollup('r', '2026-01-01', '2026-03-10');
SELECT s.state, s.sqlstate FROM orchestry.run_steps s WHERE run_id = (SELECT max(run_id) FROM orchestry.runs WHERE job_id = 18103);
DROP TRIGGER cancel ON r_buckets;
CALL orchestry.run('g');

-- Another view has taken the name.
ALTER VIEW r RENAME TO r_raw;
CALL orchestry.refresh_rollup('r');
CREATE VIEW r AS SELECT * FROM r_raw;
CALL orchestry.refresh_rollup('r');
DROP VIEW r;
ALTER VIEW r_raw RENAME TO r;
CALL orchestry.refresh_rollup('r');

-- Another owner has the source, and not yet the rollup.
CREATE ROLE rollup_failures_owner;
GRANT USAGE, CREATE ON SCHEMA rollup_failures TO rollup_failures_owner;
ALTER TABLE g OWNER TO rollup_failures_owner;
CALL orchestry.refresh_rollup('r');
SELECT * FROM orchestry.verify_rollup('r');
ALTER VIEW r OWNER TO rollup_failures_owner;
CALL orchestry.refresh_rollup('r');
ALTER TABLE r_buckets OWNER TO rollup_failures_owner;
ALTER VIEW days OWNER TO rollup_failures_owner;
ALTER TABLE days_buckets OWNER TO rollup_failures_owner;
CALL orchestry.run('g');
SELECT orchestry.drop_rollup('days'), orchestry.drop_rollup('r');
DROP TABLE g;

-- Partitions without rows leave nothing behind that would have to stay.
CREATE TABLE p (tenant text, ts timestamptz NOT NULL, v float8) PARTITION BY LIST (tenant);
CREATE TABLE p_a PARTITION OF p FOR VALUES IN ('a') PARTITION BY RANGE (ts);
CREATE TABLE p_b PARTITION OF p FOR VALUES IN ('b') PARTITION BY RANGE (ts);
CREATE TABLE p_a_1 PARTITION OF p_a FOR VALUES FROM ('2026-01-01Z') TO ('2026-02-01Z');
CREATE TABLE p_b_1 PARTITION OF p_b FOR VALUES FROM ('2026-01-01Z') TO ('2026-02-01Z');
INSERT INTO p VALUES ('b', '2026-01-05 01:00Z', 1);
SELECT orchestry.create_rollup('r', 'p', 'ts', 'v', '1 hour', '{tenant}');
CALL orchestry.refresh_rollup('r');
DROP TABLE p_a_1;
BEGIN;
CREATE TABLE p_a_2 PARTITION OF p_a FOR VALUES FROM ('2026-01-01Z') TO ('2026-03-01Z');
ALTER TABLE p_a DETACH PARTITION p_a_2;
COMMIT;
DROP TABLE p_a;
INSERT INTO p VALUES ('b', '2026-01-05 01:30Z', 2);
CALL orchestry.refresh_rollup('r');
SELECT bucket, tenant, data_points FROM r;
SELECT frozen FROM orchestry.rollups WHERE rollup = 'r'::regclass;
DROP TABLE p_b_1;
SELECT frozen FROM orchestry.rollups WHERE rollup = 'r'::regclass;
SELECT orchestry.drop_rollup('r');

RESET orchestry.now;
SET search_path = public;
SET client_min_messages = warning;
DROP SCHEMA rollup_failures CASCADE;
DROP ROLE rollup_failures_owner;
