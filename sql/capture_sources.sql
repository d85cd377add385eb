-- Who is believed by change capture: triggers on what a job reads, and no others, whatever job they name.
\set VERBOSITY terse
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET orchestry.now = '2025-12-01 12:30Z';
SET client_min_messages = warning;
CREATE SCHEMA capture_sources;
SET search_path = capture_sources;
SELECT setval('orchestry.job_job_id_seq', 12001, false);
CREATE ROLE capture_sources_mallory;
CREATE ROLE capture_sources_owner;
CREATE SCHEMA capture_sources_m AUTHORIZATION capture_sources_mallory;
CREATE SCHEMA capture_sources_other;
GRANT ALL ON SCHEMA capture_sources, capture_sources_other TO capture_sources_owner;

CREATE TABLE t (at timestamptz NOT NULL, x float8) PARTITION BY RANGE (at);
CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM ('2025-01-01Z') TO ('2026-01-01Z') PARTITION BY RANGE (at);
CREATE TABLE t_11 PARTITION OF t_1 FOR VALUES FROM ('2025-01-01Z') TO ('2025-07-01Z');
INSERT INTO t SELECT '2025-03-01Z'::timestamptz + i * interval '1 hour', i FROM generate_series(0, 99) i;
CREATE TABLE plain (LIKE t);
INSERT INTO plain TABLE t;
CREATE TABLE heir () INHERITS (plain);
CREATE MATERIALIZED VIEW v AS SELECT (SELECT count(*) FROM t) AS t, (SELECT count(*) FROM plain) AS plain;
SELECT orchestry.create_rollup('r', 't', 'at', 'x', '1 hour');
SELECT orchestry.create_rollup('rd', 't', 'at', 'x', '1 day', parent => 'r');
SELECT orchestry.create_rollup('rp', 'plain', 'at', 'x', '1 hour');
SELECT orchestry.add_refresh_policy('v');
\set run 'CALL orchestry.run_job(12001); CALL orchestry.run_job(12002); CALL orchestry.run_job(12003); CALL orchestry.run_job(12004);'
:run
CREATE VIEW marks AS SELECT DISTINCT job_id, from_at, to_at FROM orchestry.dirty_mark WHERE job_id > 12000 AND to_at < '2025-12-01' ORDER BY 1, 2;
CREATE VIEW told AS SELECT job_id, count(*) FROM orchestry.dirty_mark WHERE job_id = 12004 GROUP BY 1;
TABLE marks;
TABLE told;

-- A stranger's table with triggers of these jobs.
SET ROLE capture_sources_mallory;
SET search_path = capture_sources_m;
CREATE TABLE p (at timestamptz NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2025-01-01Z') TO ('2026-01-01Z');
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM ('2026-01-01Z') TO ('2027-01-01Z');
CREATE TRIGGER z AFTER INSERT ON p FOR EACH ROW EXECUTE FUNCTION orchestry._capture('12001', 'at', '0', '0', '3600000000', 'UTC');
CREATE TRIGGER orchestry_watch_12002 AFTER INSERT ON p FOR EACH ROW EXECUTE FUNCTION orchestry._capture('12002', 'bucket', '0', '1', '0', 'UTC');
CREATE TRIGGER orchestry_watch_12004 AFTER INSERT ON p FOR EACH ROW EXECUTE FUNCTION orchestry._capture('12004');
CREATE TRIGGER orchestry_watch_12004_truncate AFTER TRUNCATE ON p FOR EACH STATEMENT EXECUTE FUNCTION orchestry._capture('12004');
CREATE TRIGGER orchestry_watch_z AFTER INSERT ON p FOR EACH ROW EXECUTE FUNCTION orchestry._capture();
DROP TABLE p1;
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2025-01-01Z') TO ('2026-01-01Z');
INSERT INTO p VALUES ('2025-03-01Z');
TRUNCATE p;
TRUNCATE p1;
ALTER TABLE p DETACH PARTITION p2 CONCURRENTLY;
ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM ('2026-01-01Z') TO ('2027-01-01Z');
ALTER TABLE p DETACH PARTITION p2;
RESET ROLE;
SET search_path = capture_sources;
TABLE marks;
TABLE told;
SELECT * FROM orchestry.frozen_span WHERE job_id > 12000;
DELETE FROM t;
:run
SELECT (SELECT count(*) FROM r) AS r, (SELECT count(*) FROM rd) AS rd, v.t, v.plain FROM v;

-- Nor do such triggers keep anybody from anything: they can be dropped, and their tables are not looked at when a job ends.
SET ROLE capture_sources_mallory;
DROP TRIGGER orchestry_watch_z ON capture_sources_m.p;
DROP TRIGGER z ON capture_sources_m.p;
RESET ROLE;
CREATE MATERIALIZED VIEW short AS SELECT count(*) FROM plain;
SELECT orchestry.add_refresh_policy('short');
CALL orchestry.refresh('short');
SET ROLE capture_sources_mallory;
CREATE TABLE capture_sources_m.q ();
CREATE TRIGGER orchestry_watch_12005 AFTER INSERT ON capture_sources_m.q FOR EACH ROW EXECUTE FUNCTION orchestry._capture('12005');
RESET ROLE;
SELECT orchestry.remove_policy(12005);
SELECT tgrelid::regclass FROM pg_trigger WHERE tgname LIKE 'orchestry_watch_12005%';

-- What is believed: every way in which changes come to what a job reads.
INSERT INTO t VALUES ('2025-03-01 00:10Z', 1);
INSERT INTO t_11 VALUES ('2025-03-02 00:10Z', 1);
INSERT INTO plain VALUES ('2025-03-03 00:10Z', 1);
TABLE marks;
SELECT count > 0 AS told FROM told;
:run
INSERT INTO heir VALUES ('2025-03-04 00:10Z', 1); -- the rollup does not read it, the view does
TABLE marks;
SELECT count > 0 AS told FROM told;
:run
CREATE TABLE t_12 (at timestamptz NOT NULL, x float8);
INSERT INTO t_12 VALUES ('2025-07-02', 1);
ALTER TABLE t_1 ATTACH PARTITION t_12 FOR VALUES FROM ('2025-07-01Z') TO ('2026-01-01Z');
SELECT count > 0 AS told FROM told;
TABLE marks;
:run
INSERT INTO t_12 VALUES ('2025-09-03', 1);
INSERT INTO t_11 VALUES ('2025-05-02', 1);
SELECT count > 0 AS told FROM told;
TABLE marks;
:run
ALTER TABLE t RENAME TO renamed;
INSERT INTO renamed VALUES ('2025-05-03', 1);
ALTER TABLE renamed SET SCHEMA capture_sources_other;
INSERT INTO capture_sources_other.renamed VALUES ('2025-05-04', 1);
ALTER TABLE capture_sources_other.renamed OWNER TO capture_sources_owner;
SET ROLE capture_sources_owner;
INSERT INTO capture_sources_other.renamed VALUES ('2025-05-05', 1);
RESET ROLE;
INSERT INTO t_12 VALUES ('2025-09-04', 1); -- by itself
TABLE marks;
SELECT count > 0 AS told FROM told;
ALTER TABLE capture_sources_other.renamed OWNER TO CURRENT_USER;
:run
SELECT (SELECT sum(data_points) FROM r) AS r, (SELECT sum(data_points) FROM rd) AS rd, (SELECT sum(data_points) FROM rp) AS rp, v.t, v.plain FROM v;
TABLE marks;
-- a level above: the stored buckets of its parent
DELETE FROM r_buckets WHERE bucket = '2025-05-05';
TABLE marks;
:run
TRUNCATE t_12;
TABLE marks;
SELECT count > 0 AS told FROM told;
DELETE FROM orchestry.dirty_mark WHERE job_id > 12000;
TRUNCATE plain;
SELECT job_id, from_at < '2025-01-01', to_at > '2025-12-01' FROM orchestry.dirty_mark WHERE job_id > 12000 GROUP BY 1, 2, 3 ORDER BY 1;
DELETE FROM orchestry.dirty_mark WHERE job_id > 12000;
-- in transactions and sessions that have known the table before
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM capture_sources_other.renamed WHERE at < '2025-02-01';
INSERT INTO capture_sources_other.renamed VALUES ('2025-02-01', 1);
SAVEPOINT s;
ALTER TABLE t_1 DETACH PARTITION t_11;
INSERT INTO t_11 VALUES ('2025-02-02', 1); -- nobody reads it
ROLLBACK TO s;
INSERT INTO t_11 VALUES ('2025-02-03', 1);
COMMIT;
TABLE marks;
SELECT job_id, count(*) FROM orchestry.frozen_span WHERE job_id > 12000 GROUP BY 1;

-- Triggers that came with a dump of single tables make room for those of a job with their number.
CREATE TABLE came (at timestamptz NOT NULL, x float8);
SELECT currval('orchestry.job_job_id_seq') + 1 AS next \gset
CREATE TRIGGER orchestry_watch_:next AFTER INSERT ON came FOR EACH ROW EXECUTE FUNCTION orchestry._capture(:'next', 'at', '0', '1', '0', 'UTC');
SELECT orchestry.create_rollup('r_came', 'came', 'at', 'x', '1 hour') AS came \gset
SELECT tgname, tgenabled, encode(tgargs, 'escape') FROM pg_trigger WHERE tgrelid = 'came'::regclass ORDER BY 1;

-- A watch keeps its name. One that has another, as whoever changes catalogs can give it, makes room for a new one.
\set VERBOSITY default
ALTER TRIGGER orchestry_watch_12004 ON plain RENAME TO foo;
ALTER TRIGGER orchestry_watch_12001_truncate ON capture_sources_other.renamed RENAME TO foo;
\set VERBOSITY terse
CREATE TRIGGER mine AFTER INSERT ON plain EXECUTE FUNCTION orchestry._capture();
ALTER TRIGGER mine ON plain RENAME TO orchestry_watch_mine;
ALTER TRIGGER orchestry_watch_mine ON nix RENAME TO mine;
DROP TRIGGER orchestry_watch_mine ON plain;
:run
UPDATE pg_trigger SET tgname = 'foo' WHERE tgname = 'orchestry_watch_12004' AND tgrelid = 'plain'::regclass;
ALTER TABLE plain SET (fillfactor = 90); -- everybody reads the triggers anew
INSERT INTO plain VALUES ('2025-03-05', 1);
SELECT count > 0 AS told FROM told;
SELECT object, state, next_action FROM orchestry.explain('v') WHERE state <> 'no key';
:run
SELECT tgname FROM pg_trigger WHERE tgrelid = 'plain'::regclass ORDER BY 1;
SELECT plain FROM v;
UPDATE pg_trigger SET tgname = 'foo' WHERE tgname = 'orchestry_watch_12003' AND tgrelid = 'plain'::regclass;
ALTER TABLE plain SET (fillfactor = 80);
INSERT INTO plain VALUES ('2025-03-06', 1);
TABLE marks;
:run

-- What is gone leaves nothing, neither on other tables.
SELECT orchestry.drop_rollup('rd'), orchestry.drop_rollup('r'), orchestry.drop_rollup('r_came');
DROP MATERIALIZED VIEW v;
CALL orchestry.run_due();
SELECT tgrelid::regclass, tgname FROM pg_trigger WHERE tgname LIKE 'orchestry_watch_1200%' AND tgparentid = 0 ORDER BY 1, 2;
SELECT * FROM orchestry.refresh_source WHERE job_id > 12000;
SELECT orchestry.drop_rollup('rp');
SELECT tgname FROM pg_trigger WHERE tgrelid = 'plain'::regclass;
SET client_min_messages = error;
DROP SCHEMA capture_sources, capture_sources_m, capture_sources_other CASCADE;
DROP ROLE capture_sources_mallory, capture_sources_owner;
