-- Schema changes: the ledger, ddl(), set_not_null(), explain_query() and slow_queries(), and what they refuse.
\set VERBOSITY terse
SET client_min_messages = notice;
CREATE EXTENSION IF NOT EXISTS orchestry_ext;
CREATE SCHEMA mig;
SET search_path = mig, public;

-- The ledger.
SELECT orchestry.apply_migration('2026.01', E'CREATE TABLE t (id bigint PRIMARY KEY, v text);\nINSERT INTO t VALUES (1, NULL);\n', 'first');
SELECT orchestry.apply_migration('2026.01', E'\uFEFFCREATE TABLE t (id bigint PRIMARY KEY, v text);\r\nINSERT INTO t VALUES (1, NULL);');
SELECT count(*) FROM t;
SELECT orchestry.verify_migration('2026.01', E'CREATE TABLE t (id bigint PRIMARY KEY, v text);\nINSERT INTO t VALUES (1, NULL);'),
       orchestry.verify_migration('2026.01', 'CREATE TABLE t ()'), orchestry.verify_migration('2026.02', 'CREATE TABLE t ()');
-- What differs in how lines end is one text to the ledger; a literal is what it is.
SELECT orchestry.apply_migration('lines', E'\uFEFFCREATE TABLE lines AS SELECT ''a\r\nb\rc\n''::text AS t;\r\n');
SELECT encode(convert_to(t, 'UTF8'), 'escape') FROM lines;
SELECT orchestry.verify_migration('lines', E'CREATE TABLE lines AS SELECT ''a\nb\rc\n''::text AS t;');
DROP TABLE lines;
\set VERBOSITY default
\set SHOW_CONTEXT never
DO $$ BEGIN PERFORM orchestry.apply_migration('2026.01', 'CREATE TABLE t ()'); EXCEPTION WHEN object_not_in_prerequisite_state THEN RAISE NOTICE '%', SQLERRM; END $$;
\set SHOW_CONTEXT errors
SELECT orchestry.apply_migration('2026.02', 'CREATE TABLE u (a int); SELECT 1/0; CREATE TABLE w (a int)');
SELECT to_regclass('u'), orchestry.verify_migration('2026.02', 'x');
SELECT orchestry.apply_migration('2026.02', 'BEGIN; CREATE TABLE u (a int); COMMIT');
SELECT orchestry.apply_migration('2026.02', ' ; -- nothing');
SELECT orchestry.apply_migration('2026.02', 'CREATE TABEL u (a int)');
SELECT orchestry.apply_migration(' ', 'SELECT 1');
SELECT orchestry.apply_migration(NULL, 'SELECT 1');
SELECT orchestry.apply_migration('2026.02', NULL);
SELECT version, description, applied_by = current_user AS mine, duration > interval '0' AS took, statements FROM orchestry.migrations;

-- Each role has versions of its own.
CREATE ROLE regress_mig LOGIN;
GRANT ALL ON SCHEMA mig TO regress_mig;
SET ROLE regress_mig;
SELECT count(*) FROM orchestry.migrations;
SELECT orchestry.apply_migration('2026.01', 'CREATE TABLE of_another_role (a int)');
SELECT version, applied_by FROM orchestry.migrations;
SELECT orchestry.apply_migration('2026.03', 'DROP TABLE mig.t');
SELECT * FROM orchestry.migration;
CALL orchestry.ddl('DROP TABLE mig.t');
CALL orchestry.set_not_null('mig.t', 'v');
RESET ROLE;

-- ddl()
CALL orchestry.ddl('ALTER TABLE t ADD COLUMN w int');
CALL orchestry.ddl('ALTER TABLE t ADD COLUMN x int; ALTER TABLE t ADD COLUMN y int');
CALL orchestry.ddl('UPDATE t SET v = 1');
CALL orchestry.ddl('EXPLAIN ANALYZE DELETE FROM t');
CALL orchestry.ddl('COPY t TO STDOUT');
CALL orchestry.ddl('PREPARE del AS DELETE FROM t');
CALL orchestry.ddl('COMMIT');
CALL orchestry.ddl('ALTER TABLE t ADD COLUMN w int');
CALL orchestry.ddl('ALTER TABLE t ADD COLUMN x int', lock_timeout => '0');
CALL orchestry.ddl('ALTER TABLE t ADD COLUMN x int', lock_timeout => '1 month');
CALL orchestry.ddl('ALTER TABLE t ADD COLUMN x int', max_wait => NULL);
CALL orchestry.ddl('CREATE INDEX CONCURRENTLY ON t (v)');
CALL orchestry.ddl('CREATE INDEX ON t (v)');
BEGIN;
CALL orchestry.ddl('ALTER TABLE t ADD COLUMN x int');
ROLLBACK;
CREATE TABLE made_by_ddl AS SELECT 1 AS a WITH NO DATA;
CALL orchestry.ddl('CREATE TABLE made_by_ddl_too AS SELECT 1 AS a');
SELECT attname FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0 ORDER BY attnum;

-- set_not_null()
CALL orchestry.set_not_null('t', 'v');
SELECT conname FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'c';
UPDATE t SET v = 'x';
CALL orchestry.set_not_null('t', 'v');
CALL orchestry.set_not_null('t', 'v');
SELECT attnotnull FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'v';
SELECT conname FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'c';
ALTER TABLE t ADD CONSTRAINT v_orchestry_not_null CHECK (v IS DISTINCT FROM NULL); -- left by an interrupted call
CALL orchestry.set_not_null('t', 'v');
SELECT count(*) FROM pg_constraint WHERE conname = 'v_orchestry_not_null';
CALL orchestry.set_not_null('t', 'nothing');
CREATE VIEW a_view AS SELECT 1 AS a;
CALL orchestry.set_not_null('a_view', 'a');
CALL orchestry.set_not_null(NULL, 'a');
-- Somebody's own CHECK of that name stays; a composite value is not NULL because its fields are.
CREATE TABLE taken (a int CONSTRAINT a_orchestry_not_null CHECK (a > 0));
CALL orchestry.set_not_null('taken', 'a');
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'taken'::regclass;
CREATE TYPE two AS (x int, y int);
CREATE TABLE composed (c two);
INSERT INTO composed VALUES (ROW(NULL, NULL));
CALL orchestry.set_not_null('composed', 'c');
SELECT a.attnotnull, (SELECT count(*) FROM pg_constraint k WHERE k.conrelid = a.attrelid AND k.contype = 'c') FROM pg_attribute a WHERE a.attrelid = 'composed'::regclass AND a.attname = 'c';
-- Interrupted before: the CHECK is there and not validated.
CREATE TABLE "Parted T" (id int NOT NULL, "Ünï ""v""" int, at timestamptz NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE parted_1 PARTITION OF "Parted T" FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
INSERT INTO "Parted T" VALUES (1, 1, '2026-01-05');
ALTER TABLE "Parted T" ADD CONSTRAINT "Ünï ""v""_orchestry_not_null" CHECK ("Ünï ""v""" IS NOT NULL) NOT VALID;
CALL orchestry.set_not_null('"Parted T"', 'Ünï "v"');
SELECT attrelid::regclass, attnotnull FROM pg_attribute WHERE attname = 'Ünï "v"' ORDER BY 1;
SELECT count(*) FROM pg_constraint WHERE contype = 'c' AND conrelid IN ('"Parted T"'::regclass, 'parted_1'::regclass);

-- explain_query()
SELECT jsonb_path_query_first(orchestry.explain_query('SELECT * FROM t WHERE id = 1'), '$[0].Plan."Relation Name"');
SELECT orchestry.explain_query('DELETE FROM t') IS NOT NULL AS planned, count(*) AS still_there FROM t;
SELECT orchestry.explain_query('SELECT 1; DELETE FROM t');
SELECT orchestry.explain_query('DROP TABLE t');
SELECT orchestry.explain_query('ANALYZE SELECT 1');
SELECT orchestry.explain_query('EXPLAIN ANALYZE DELETE FROM t');
SET ROLE regress_mig;
SELECT orchestry.explain_query('SELECT * FROM mig.t');
RESET ROLE;
SELECT count(*) FROM t;

-- slow_queries()
SELECT * FROM orchestry.slow_queries();
SELECT * FROM orchestry.slow_queries(n => -1);
SELECT * FROM orchestry.slow_queries(NULL);

DROP TABLE of_another_role;
SET client_min_messages = warning;
DROP SCHEMA mig CASCADE;
SET client_min_messages = notice;
DROP ROLE regress_mig;

-- backfill()
SELECT setval('orchestry.job_job_id_seq', 7801, false) AS job_ids_from;
CREATE SCHEMA mig;
SET search_path = mig;
CREATE FUNCTION plus_one(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1';
CREATE TABLE f (id int PRIMARY KEY, a text, n int NOT NULL DEFAULT 0);
INSERT INTO f SELECT i, 'x' || i FROM generate_series(1, 2500) i;
CALL orchestry.backfill('f', 'n = plus_one(n)');
SELECT n, count(*) FROM f GROUP BY n;
CALL orchestry.backfill('f', $$n = t.n + length(a), a = upper(a)$$, 'id > 2000', 7);
SELECT sum(n), count(*) FILTER (WHERE a = 'X' || id) FROM f;
SELECT sum(2) FILTER (WHERE id <= 2000) IS NULL AS none, sum(n) = sum(1 + length(a)) AS added FROM f WHERE id > 2000;
SELECT state, steps, rows FROM orchestry.runs WHERE kind = 'backfill' ORDER BY run_id;
SELECT count(*) FROM orchestry.jobs WHERE kind = 'backfill';
-- Along a key of several columns, over partitions, with odd names and values.
CREATE TABLE "P T" ("K 1" text NOT NULL, k2 float8 NOT NULL, at timestamptz NOT NULL, n int, UNIQUE ("K 1", k2, at)) PARTITION BY RANGE (at);
CREATE TABLE p1 PARTITION OF "P T" FOR VALUES FROM ('2026-01-01+00') TO ('2026-02-01+00');
CREATE TABLE p2 PARTITION OF "P T" FOR VALUES FROM ('2026-02-01+00') TO ('2026-03-01+00') PARTITION BY LIST ("K 1");
CREATE TABLE "P 2 A" PARTITION OF p2 FOR VALUES IN ('it''s "a"');
CREATE TABLE p2_other PARTITION OF p2 DEFAULT;
INSERT INTO "P T" SELECT CASE i % 3 WHEN 0 THEN 'it''s "a"' WHEN 1 THEN '' ELSE 'b\' || i END, i / 7.0::float8, timestamptz '2026-01-20+00' + i * interval '1 hour' FROM generate_series(1, 300) i;
INSERT INTO "P T" VALUES ('', 'NaN', '2026-01-05+00'), ('', 'infinity', '2026-01-05+00'), ('', '-infinity', '2026-01-05+00');
SET TimeZone = 'Asia/Kathmandu';
SET DateStyle = 'SQL, DMY';
SET extra_float_digits = 0;
CALL orchestry.backfill('"P T"', 'n = coalesce(n, 0) + 1', NULL, 4);
RESET TimeZone;
RESET DateStyle;
RESET extra_float_digits;
SELECT n, count(*) FROM "P T" GROUP BY n;
SELECT object, action, state, rows FROM orchestry.run_steps WHERE run_id = (SELECT max(run_id) FROM orchestry.runs) ORDER BY seq;
-- What fails goes on with the same call.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id = 1500 THEN RAISE 'not this one'; END IF; RETURN NEW; END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON f FOR EACH ROW EXECUTE FUNCTION refuse();
UPDATE f SET n = 0 WHERE id <> 1500;
CALL orchestry.backfill('f', 'n = n + 1', batch_rows => 1000);
SELECT min(n), max(n), count(*) FILTER (WHERE n = 1) > 0 AS begun FROM f WHERE id <> 1500;
SELECT job_id, kind, state, settings FROM orchestry.jobs WHERE kind = 'backfill';
SELECT action, object, reason, rows_estimate > 0 AS estimated, blocked_by FROM orchestry.plan('f');
SELECT orchestry.alter_policy(max(job_id), '{"where": "true"}') FROM orchestry.jobs WHERE kind = 'backfill';
DROP TRIGGER refuse ON f;
CALL orchestry.backfill('f', 'n = n + 1', batch_rows => 500);
SELECT n, count(*) FROM f WHERE id <> 1500 GROUP BY n;
-- Refusals change nothing.
CALL orchestry.backfill('f', 'n = n + 1; DROP TABLE f');
CALL orchestry.backfill('f', 'n = n + 1 WHERE id = 1');
CALL orchestry.backfill('f', 'n = 1 FROM "P T" x');
CALL orchestry.backfill('f', 'n = 1 RETURNING n');
CALL orchestry.backfill('f', 'n == ');
CALL orchestry.backfill('f', 'nothing = 1');
CALL orchestry.backfill('f', 'id = id + 1');
CALL orchestry.backfill('f', 'n = 1', 'id = 1; DELETE FROM f');
CALL orchestry.backfill('f', 'n = 1', 'random() < 0.5');
CALL orchestry.backfill('f', 'n = 1', batch_rows => 0);
CALL orchestry.backfill('f', NULL);
CALL orchestry.backfill(NULL, 'n = 1');
CREATE TABLE no_key (a int, b int UNIQUE);
CALL orchestry.backfill('no_key', 'a = 1');
CREATE TABLE generated_key (v int NOT NULL, g int GENERATED ALWAYS AS (v) STORED NOT NULL UNIQUE);
CALL orchestry.backfill('generated_key', 'v = v + 1'); -- its rows would move ahead of the walk
CREATE TABLE no_parts (id int PRIMARY KEY, a int) PARTITION BY RANGE (id);
CALL orchestry.backfill('no_parts', 'a = 1');
CREATE VIEW v AS SELECT 1 AS a;
CALL orchestry.backfill('v', 'a = 1');
BEGIN;
CALL orchestry.backfill('f', 'n = 1');
ROLLBACK;
CREATE ROLE regress_mig LOGIN;
GRANT ALL ON SCHEMA mig TO regress_mig;
SET ROLE regress_mig;
CALL orchestry.backfill('mig.f', 'n = 1');
SELECT orchestry.build_index('CREATE INDEX f_n_idx ON mig.f (n)');
RESET ROLE;
SELECT count(*) FROM orchestry.jobs WHERE kind = 'backfill';

-- build_index() refuses before anything is begun; what it does needs workers and has tests of its own.
SELECT orchestry.build_index('CREATE INDEX ON f (n)');
SELECT orchestry.build_index('CREATE INDEX i ON f (nothing)');
SELECT orchestry.build_index('CREATE INDEX i ON ONLY f (n)');
SELECT orchestry.build_index('CREATE INDEX IF NOT EXISTS i ON f (n)');
SELECT orchestry.build_index('CREATE INDEX i ON f (n); DROP TABLE f');
SELECT orchestry.build_index('DROP TABLE f');
SELECT orchestry.build_index(NULL);
CREATE INDEX f_n_idx ON f (plus_one(n)) WHERE id > 5;
SELECT orchestry.build_index('CREATE INDEX f_n_idx ON f (plus_one(n)) WHERE id > 5');
SELECT count(*) FROM orchestry.jobs WHERE kind = 'index';
SET client_min_messages = warning;
DROP SCHEMA mig CASCADE;
SET client_min_messages = notice;
DROP ROLE regress_mig;

-- Only few rows are to be changed; a partition of another owner; a partition that leaves; names that are cut.
CREATE SCHEMA mig;
SET search_path = mig;
CREATE ROLE regress_mig LOGIN;
CREATE TABLE sparse (id int PRIMARY KEY, n int);
INSERT INTO sparse SELECT i, CASE WHEN i % 1000 = 0 OR i BETWEEN 4000 AND 4100 THEN NULL ELSE 0 END FROM generate_series(1, 9000) i;
CALL orchestry.backfill('sparse', 'n = coalesce(n, 0) + 1', 'n IS NULL', 50);
SELECT n, count(*) FROM sparse GROUP BY n ORDER BY n;
CREATE TABLE parted (id int PRIMARY KEY, n int NOT NULL DEFAULT 0) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (1) TO (100);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (100) TO (200);
INSERT INTO parted SELECT generate_series(1, 199);
ALTER TABLE parted_2 OWNER TO regress_mig;
CALL orchestry.backfill('parted', 'n = n + 1');
ALTER TABLE parted_2 OWNER TO CURRENT_USER;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON parted_2 FOR EACH ROW EXECUTE FUNCTION refuse();
CALL orchestry.backfill('parted', 'n = n + 1');
ALTER TABLE parted DETACH PARTITION parted_2;
CALL orchestry.backfill('parted', 'n = n + 1');
SELECT count(*) AS jobs_left FROM orchestry.jobs WHERE kind = 'backfill';
SELECT min(n), max(n) FROM parted;
CREATE TABLE long_names (a_column_whose_name_is_as_long_as_the_server_takes_it_to_be_one int, a_column_whose_name_is_as_long_as_the_server_takes_it_to_be_two int);
INSERT INTO long_names VALUES (1, 2);
CALL orchestry.set_not_null('long_names', 'a_column_whose_name_is_as_long_as_the_server_takes_it_to_be_one');
CALL orchestry.set_not_null('long_names', 'a_column_whose_name_is_as_long_as_the_server_takes_it_to_be_two');
SELECT count(*) FROM pg_attribute WHERE attrelid = 'long_names'::regclass AND attnum > 0 AND attnotnull;
-- The table can be named in the index's expressions.
CREATE INDEX long_names_idx ON long_names (abs(long_names.a_column_whose_name_is_as_long_as_the_server_takes_it_to_be_one));
SELECT orchestry.build_index('CREATE INDEX long_names_idx ON long_names (abs(long_names.a_column_whose_name_is_as_long_as_the_server_takes_it_to_be_one))');
-- What can never be is refused, and what fails before it has changed a row leaves no job behind.
CREATE TABLE made (id int PRIMARY KEY, k int GENERATED ALWAYS AS IDENTITY, c text, s text GENERATED ALWAYS AS (upper(c COLLATE "C")) STORED);
INSERT INTO made (id, c) SELECT i, 'x' || i FROM generate_series(1, 3) i;
\set VERBOSITY default
CALL orchestry.backfill('made', $$s = 'x'$$);
CALL orchestry.backfill('made', $$c = 'y', k = 5$$);
\set VERBOSITY terse
SELECT count(*) AS jobs_left FROM orchestry.jobs WHERE kind = 'backfill';
CALL orchestry.backfill('made', 's = DEFAULT'); -- after the function in it has changed
CALL orchestry.backfill('made', 'c = 1 / (id - 3)', batch_rows => 3);
CALL orchestry.backfill('made', 'c = c', '1 / (id - 1) > 0');
SELECT count(*) AS jobs_left FROM orchestry.jobs WHERE kind = 'backfill';
CALL orchestry.backfill('made', 'c = 1 / (id - 3)', batch_rows => 2); -- one batch is done
SELECT count(*) AS jobs_left FROM orchestry.jobs WHERE kind = 'backfill';
UPDATE made SET id = 4 WHERE id = 3;
CALL orchestry.backfill('made', 'c = 1 / (id - 3)', batch_rows => 2);
SELECT count(*) AS jobs_left FROM orchestry.jobs WHERE kind = 'backfill';
CREATE INDEX made_idx ON made (s);
SELECT orchestry.build_index('CREATE INDEX made_idx ON made (s)');
-- set_not_null() takes its CHECK back when the last step fails.
CREATE FUNCTION refuse_not_null() RETURNS event_trigger LANGUAGE plpgsql AS
$$ BEGIN IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'mig.made'::regclass AND attname = 'c' AND attnotnull) THEN RAISE 'not this one'; END IF; END $$;
CREATE EVENT TRIGGER refuse_not_null ON ddl_command_end WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION refuse_not_null();
CALL orchestry.set_not_null('made', 'c');
SELECT conname FROM pg_constraint WHERE conrelid = 'made'::regclass AND contype = 'c';
DROP EVENT TRIGGER refuse_not_null;
CALL orchestry.set_not_null('made', 'c');
SELECT attnotnull, (SELECT count(*) FROM pg_constraint WHERE conrelid = attrelid AND contype = 'c') AS checks FROM pg_attribute WHERE attrelid = 'made'::regclass AND attname = 'c';
SET client_min_messages = warning;
DROP SCHEMA mig CASCADE;
DROP ROLE regress_mig;
