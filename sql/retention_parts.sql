-- Partitions with partitions of their own, foreign ones, and keys of several columns: which of them a hold covers, and what has
-- to be done before they go.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET client_min_messages = warning;
SET orchestry.now = '2026-06-15 12:00:00+00';
CREATE SCHEMA deeper;
SET search_path = deeper;
SELECT setval('orchestry.job_job_id_seq', 32001, false), setval('orchestry.hold_hold_id_seq', 32001, false);
CREATE FUNCTION planned(job bigint) RETURNS TABLE (action text, object text, blocked_by text)
LANGUAGE sql BEGIN ATOMIC
    SELECT p.action, p.object, p.blocked_by FROM orchestry.jobs j, orchestry.plan(j.target::regclass) p
    WHERE j.job_id = planned.job AND p.job_id = planned.job AND p.action <> 'announce' ORDER BY p.seq;
END;

-- A span of time is one of each of the keys, above and below.
CREATE TABLE t (at timestamptz NOT NULL, received timestamptz NOT NULL, note text) PARTITION BY RANGE (at);
CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM ('2026-01-01') TO ('2026-02-01') PARTITION BY RANGE (received);
CREATE TABLE t_1_feb PARTITION OF t_1 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE TABLE t_1_mar PARTITION OF t_1 FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');
CREATE TABLE t_2 PARTITION OF t FOR VALUES FROM ('2026-02-01') TO ('2026-03-01') PARTITION BY RANGE (at);
CREATE TABLE t_2_a PARTITION OF t_2 FOR VALUES FROM ('2026-02-01') TO ('2026-02-10');
CREATE TABLE t_6 PARTITION OF t FOR VALUES FROM ('2026-06-01') TO ('2026-07-01');
INSERT INTO t VALUES ('2026-01-10', '2026-02-10', 'received then'), ('2026-01-10', '2026-03-10', 'received later'), ('2026-02-05', '2026-03-10', 'then');
SELECT orchestry.hold('t', 'case', "from" => '2026-02-12', "to" => '2026-02-20') AS span \gset
SELECT orchestry.add_retention_policy('t', '30 days', grace => '0') AS t \gset
SELECT * FROM planned(:t);
DROP TABLE t_1_feb;
BEGIN;
TRUNCATE t_1_mar;
ROLLBACK;
CALL orchestry.run_job(:t);
SELECT note FROM t ORDER BY 1;
SELECT orchestry.release_hold(:span, 'over');
-- of the part itself, by the key above it; but not for longer than all bounds of one column say
SELECT orchestry.hold('t_1', 'case', "from" => '2026-01-05', "to" => '2026-01-20') AS span, orchestry.hold('t_2', 'case', "from" => '2026-02-12', "to" => '2026-02-20') AS later \gset
DROP TABLE t_1_mar;
BEGIN;
DROP TABLE t_2_a;
ROLLBACK;
SELECT orchestry.release_hold(h, 'over') FROM unnest(ARRAY[:span, :later]) h;
SELECT * FROM planned(:t);
SELECT orchestry.remove_policy(:t);

-- With more columns in the key, rows at the bound itself are on this side of it as well; another order says nothing.
CREATE TABLE many (at timestamptz NOT NULL, id int) PARTITION BY RANGE (at, id);
CREATE TABLE many_1 PARTITION OF many FOR VALUES FROM ('2026-01-01', 0) TO ('2026-02-01', 5);
CREATE TABLE days (at date NOT NULL, id int) PARTITION BY RANGE (at, id);
CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM ('2026-01-01', 0) TO ('2026-02-01', 5);
CREATE FUNCTION descending(timestamptz, timestamptz) RETURNS int IMMUTABLE LANGUAGE sql RETURN timestamptz_cmp($2, $1);
CREATE OPERATOR CLASS descending_ops FOR TYPE timestamptz USING btree AS OPERATOR 1 >, OPERATOR 2 >=, OPERATOR 3 =, OPERATOR 4 <=, OPERATOR 5 <, FUNCTION 1 descending(timestamptz, timestamptz);
CREATE TABLE back (at timestamptz NOT NULL) PARTITION BY RANGE (at descending_ops);
CREATE TABLE back_1 PARTITION OF back FOR VALUES FROM ('2026-02-01') TO ('2026-01-01');
SELECT count(orchestry.hold(h::regclass, 'case', "from" => f, "to" => '2026-02-20')) FROM (VALUES ('many', '2026-02-01'::timestamptz), ('days', '2026-02-02 12:00'), ('back', '2026-01-20')) v(h, f);
DROP TABLE many_1;
DROP TABLE days_1;
DROP TABLE back_1;
SELECT count(orchestry.release_hold(hold_id, 'over')) FROM orchestry.holds WHERE hold_id BETWEEN 32001 AND 32100 AND released_at IS NULL;

-- A policy for events of a part, at any depth below what is to go.
CREATE TABLE big (at timestamptz NOT NULL, k int) PARTITION BY RANGE (at);
CREATE TABLE big_1 PARTITION OF big FOR VALUES FROM ('2026-01-01') TO ('2026-02-01') PARTITION BY LIST (k);
CREATE TABLE big_6 PARTITION OF big FOR VALUES FROM ('2026-06-01') TO ('2026-07-01');
CREATE TABLE events (LIKE big);
SELECT orchestry.add_event_compression_policy('events', '30 days', time_column => 'at') AS events \gset
ALTER TABLE big_1 ATTACH PARTITION events FOR VALUES IN (1);
INSERT INTO big VALUES ('2026-01-10', 1), ('2026-01-11', 1);
SELECT orchestry.add_retention_policy('big', '30 days', grace => '0') AS big \gset
SELECT * FROM planned(:big);
CALL orchestry.run_job(:big);
SELECT count(*) FROM big;
CALL orchestry.run_job(:events);
CALL orchestry.run_job(:big);
CALL orchestry.run_job(:big);
SELECT to_regclass('big_1') AS gone, (SELECT sum(event_count) FROM events_compressed) AS compressed;

-- What is a foreign table goes as one, and keeps nobody from going after it.
CREATE FOREIGN DATA WRAPPER parts_nowhere;
CREATE SERVER parts_nowhere FOREIGN DATA WRAPPER parts_nowhere;
CREATE TABLE far (at timestamptz NOT NULL) PARTITION BY RANGE (at);
CREATE FOREIGN TABLE far_1 PARTITION OF far FOR VALUES FROM ('2026-01-01') TO ('2026-02-01') SERVER parts_nowhere;
CREATE TABLE far_2 PARTITION OF far FOR VALUES FROM ('2026-02-01') TO ('2026-03-01') PARTITION BY RANGE (at);
CREATE FOREIGN TABLE far_2_1 PARTITION OF far_2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01') SERVER parts_nowhere;
CREATE TABLE far_3 PARTITION OF far FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');
CREATE TABLE far_6 PARTITION OF far FOR VALUES FROM ('2026-06-01') TO ('2026-07-01');
SELECT orchestry.add_retention_policy('far', '30 days', grace => '0') AS far \gset
CALL orchestry.run_job(:far);
CALL orchestry.run_job(:far);
SELECT relname FROM pg_class WHERE relnamespace = 'deeper'::regnamespace AND relname ~ 'far' ORDER BY 1;

SELECT count(orchestry.remove_policy(job_id)) FROM orchestry.jobs WHERE job_id BETWEEN 32001 AND 32100;
DROP SCHEMA deeper CASCADE;
DROP SERVER parts_nowhere;
DROP FOREIGN DATA WRAPPER parts_nowhere;
