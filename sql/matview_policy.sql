-- Materialized views: what is refreshed, when, why and how, and what is refused.
\set VERBOSITY terse
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET IntervalStyle = 'postgres';
CREATE SCHEMA matview_policy;
SET search_path = matview_policy;
SELECT setval('orchestry.job_job_id_seq', 9101, false);
SET orchestry.now = '2026-03-10 12:00Z';

-- A chain of three levels with a diamond, and a view apart.
CREATE TABLE t (id int, at timestamptz, kind int, v numeric) PARTITION BY RANGE (id);
CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (100);
CREATE TABLE t_2 PARTITION OF t FOR VALUES FROM (100) TO (200);
INSERT INTO t SELECT i, '2026-03-10Z'::timestamptz + i * interval '10 min', i % 3, i FROM generate_series(0, 150) i;
CREATE TABLE other (id int PRIMARY KEY, v int);
INSERT INTO other SELECT i, i FROM generate_series(1, 10) i;
CREATE VIEW positive AS SELECT * FROM t WHERE v > 0;
CREATE MATERIALIZED VIEW a AS SELECT kind, date_trunc('day', at) AS day, count(*), sum(v) FROM positive GROUP BY 1, 2;
CREATE MATERIALIZED VIEW b1 AS SELECT kind, sum(count) AS count FROM a GROUP BY 1;
CREATE MATERIALIZED VIEW b2 AS SELECT day, sum(sum) AS sum FROM a GROUP BY 1;
CREATE MATERIALIZED VIEW c AS SELECT count(*) AS kinds, (SELECT sum(sum) FROM b2) AS sum FROM b1;
CREATE MATERIALIZED VIEW apart AS SELECT v, count(*) FROM other GROUP BY v WITH NO DATA;
CREATE UNIQUE INDEX ON a (kind, day);
CREATE UNIQUE INDEX ON b1 (kind);
SELECT orchestry.add_refresh_policy('a');
SELECT orchestry.add_refresh_policy('a');
SELECT orchestry.add_refresh_policy('a', '2 hours');
SELECT orchestry.add_refresh_policy(v, '30 min') FROM unnest('{b1,b2,c,apart}'::regclass[]) v;
SELECT job_id, target, kind, schedule, max_runtime, settings FROM orchestry.jobs WHERE job_id > 9100 ORDER BY job_id;

-- What the first run of the last one does: each view that it reads, once, in order.
SELECT seq, action, object, reason, locks FROM orchestry.plan('c');
SELECT sql FROM orchestry.plan('b1') ORDER BY seq DESC LIMIT 1;
CALL orchestry.refresh('c');
CREATE VIEW last_steps AS SELECT seq, action, object, state, rows, message FROM orchestry.run_steps
    WHERE run_id = (SELECT max(run_id) FROM orchestry.runs WHERE job_id > 9100) ORDER BY seq;
TABLE last_steps;
SELECT tgrelid::regclass, tgname, tgenabled FROM pg_trigger WHERE tgname LIKE 'orchestry_watch_91%' ORDER BY 1, 2;
SELECT matview, populated, changed, as_of = '2026-03-10 12:00Z' AS now, parents FROM orchestry.matviews WHERE job_id > 9100 ORDER BY job_id;
-- Nothing has changed: nothing is done, of any of them.
SELECT action, object, reason FROM orchestry.plan('c');
CALL orchestry.refresh('c');
SELECT state, steps FROM orchestry.runs WHERE job_id = 9104 ORDER BY run_id DESC LIMIT 1;

-- Each way to change rows is seen; what is not changed by it is not refreshed.
CREATE FUNCTION seen() RETURNS text LANGUAGE sql AS $$SELECT string_agg(matview::text, ' ' ORDER BY job_id) FROM orchestry.matviews WHERE changed AND job_id > 9100$$;
SELECT seen();
INSERT INTO t VALUES (1, '2026-03-10 00:00Z', 1, 5);
SELECT seen();
CALL orchestry.refresh('c');
TABLE last_steps;
TABLE c;
UPDATE t SET v = 6 WHERE v = 5;
UPDATE t SET v = 6 WHERE v = 6;
UPDATE t SET v = 6 WHERE v = 6;
SELECT seen(), count(*) AS marks FROM orchestry.dirty_mark WHERE job_id = 9101; -- however many transactions
CALL orchestry.refresh('a');
SELECT seen();
DELETE FROM t WHERE v = 6;
CALL orchestry.refresh('a');
INSERT INTO t_2 VALUES (120, '2026-03-10 00:00Z', 1, 7);
SELECT seen();
CALL orchestry.refresh('a');
TRUNCATE t_2;
SELECT seen();
CALL orchestry.refresh('a');
COPY t FROM stdin;
130	2026-03-11 00:00+00	2	9
\.
SELECT seen();
CALL orchestry.refresh('c');
SELECT seen();
-- A partition that leaves with its rows, and comes back.
ALTER TABLE t DETACH PARTITION t_2;
SELECT seen();
CALL orchestry.refresh('c');
ALTER TABLE t ATTACH PARTITION t_2 FOR VALUES FROM (100) TO (200);
SELECT seen();
CALL orchestry.refresh('c');
CREATE TABLE t_3 PARTITION OF t FOR VALUES FROM (200) TO (300); -- without rows
SELECT seen();
INSERT INTO t_3 VALUES (220, '2026-03-10 00:00Z', 1, 7);
SELECT seen();
CALL orchestry.refresh('c');
DROP TABLE t_3;
SELECT seen();
CALL orchestry.refresh('c');
-- Rolled back: nothing; or too much, never too little.
BEGIN;
INSERT INTO t VALUES (2, '2026-03-10 00:00Z', 1, 5);
ROLLBACK;
SELECT seen();
BEGIN;
SAVEPOINT s;
INSERT INTO t VALUES (2, '2026-03-10 00:00Z', 1, 5);
ROLLBACK TO s;
COMMIT;
SELECT seen();
CALL orchestry.refresh('a');
SELECT rows, state FROM last_steps;
BEGIN;
SAVEPOINT s;
INSERT INTO t VALUES (2, '2026-03-10 00:00Z', 1, 5);
RELEASE s;
COMMIT;
SELECT seen();
CALL orchestry.refresh('c');
-- Prepared: seen when it is there.
BEGIN;
INSERT INTO t VALUES (3, '2026-03-10 00:00Z', 1, 5);
PREPARE TRANSACTION 'matview';
SELECT seen();
CALL orchestry.refresh('a');
COMMIT PREPARED 'matview';
SELECT seen();
CALL orchestry.refresh('c');
SELECT count(*) = 1 AS right FROM c JOIN (SELECT count(DISTINCT kind) AS kinds, sum(v) AS sum FROM positive) p USING (kinds, sum);
-- In a session that fires no triggers but those that are always fired.
SET session_replication_role = replica;
INSERT INTO t VALUES (4, '2026-03-10 00:00Z', 1, 5);
RESET session_replication_role;
SELECT seen();
CALL orchestry.refresh('c');
-- A change that leaves a view as it is stops there.
UPDATE t SET v = v;
CALL orchestry.refresh('c');
TABLE last_steps;
-- Refreshed by hand: those who read it and its own job are told, unless concurrently and not a row has changed.
REFRESH MATERIALIZED VIEW CONCURRENTLY a;
SELECT seen();
REFRESH MATERIALIZED VIEW a;
SELECT seen();
CALL orchestry.refresh('c');
CALL orchestry.refresh('c', force => true);
TABLE last_steps;
REFRESH MATERIALIZED VIEW a WITH NO DATA;
SELECT action, object, reason, locks FROM orchestry.plan('a');
CALL orchestry.refresh('c');
TABLE last_steps;

-- Other definitions.
CREATE OR REPLACE VIEW positive AS SELECT * FROM t WHERE v > 1;
SELECT action, object, reason FROM orchestry.plan('b1');
CALL orchestry.refresh('c');
SELECT count(*) = 1 AS right FROM c JOIN (SELECT count(DISTINCT kind) AS kinds, sum(v) AS sum FROM positive) p USING (kinds, sum);

-- The view apart was never touched.
SELECT action, object, reason FROM orchestry.plan('apart');
CALL orchestry.run('apart');
SELECT count(*) FROM apart;
SELECT state, reason, next_action FROM orchestry.explain('apart');
CREATE UNIQUE INDEX ON apart (v);
INSERT INTO other VALUES (11, 11);
SELECT sql FROM orchestry.plan('apart');
SELECT state, reason, next_action FROM orchestry.explain('apart');
CALL orchestry.run('apart');

-- By deadline: as long before as a refresh takes, and when that is over, from now on.
CREATE VIEW next AS SELECT job_id, next_run_at <= '2026-03-10 12:30Z' AND next_run_at > '2026-03-10 12:29Z' AS in_time FROM orchestry.jobs WHERE job_id IN (9104, 9105) ORDER BY job_id;
SELECT * FROM next ORDER BY job_id;
SET orchestry.now = '2026-03-10 12:35Z';
CALL orchestry.run_due();
SELECT next_run_at > '2026-03-10 13:04Z' FROM orchestry.jobs WHERE job_id = 9105;
SELECT as_of FROM orchestry.matviews WHERE job_id = 9105;
SELECT orchestry.alter_policy(9105, '{"schedule": "7 min"}');
SELECT orchestry.alter_policy(9105, '{"max_staleness": "10 min", "mode": "plain", "schedule": null, "change_detection": "none"}');
SELECT schedule, settings FROM orchestry.jobs WHERE job_id = 9105;
SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'orchestry_watch_9105%'; -- none is needed any more
SELECT action, reason, locks FROM orchestry.plan('apart');
SELECT orchestry.alter_policy(9105, '{"max_staleness": "1 mon"}');
SELECT orchestry.alter_policy(9105, '{"max_staleness": "0"}');
SELECT orchestry.alter_policy(9105, '{"mode": "fast"}');
SELECT orchestry.alter_policy(9105, '{"change_detection": "wal"}');
SELECT orchestry.alter_policy(9105, '{"time_zone": "UTC"}');
SELECT orchestry.alter_policy(9105, '{"time_zones": "UTC"}');
SELECT orchestry.alter_policy(9105, '{"max_runtime": null}');

-- What nobody can see is never skipped, unless somebody says so.
CREATE FUNCTION opaque(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT $1 + v FROM matview_policy.other LIMIT 1';
CREATE FUNCTION transparent(int) RETURNS bigint LANGUAGE sql STABLE BEGIN ATOMIC SELECT $1 + sum(v) FROM matview_policy.other; END;
CREATE FUNCTION constant(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1';
CREATE SEQUENCE numbers;
CREATE UNLOGGED TABLE forgetful (v int);
CREATE FOREIGN DATA WRAPPER matview_nothing;
CREATE SERVER matview_nowhere FOREIGN DATA WRAPPER matview_nothing;
CREATE FOREIGN TABLE far (v int) SERVER matview_nowhere;
CREATE MATERIALIZED VIEW v_now AS SELECT v FROM other WHERE now() > '2000-01-01';
CREATE MATERIALIZED VIEW v_today AS SELECT v FROM other WHERE current_date > '2000-01-01';
CREATE MATERIALIZED VIEW v_random AS SELECT v FROM other WHERE random() < 2;
CREATE MATERIALIZED VIEW v_sample AS SELECT v FROM other TABLESAMPLE system (100);
CREATE MATERIALIZED VIEW v_opaque AS SELECT v FROM other WHERE matview_policy.opaque(v) > 0;
CREATE MATERIALIZED VIEW v_transparent AS SELECT matview_policy.transparent(1) AS v;
CREATE MATERIALIZED VIEW v_constant AS SELECT v FROM other WHERE matview_policy.constant(v) > 0;
CREATE MATERIALIZED VIEW v_sequence AS SELECT last_value AS v FROM numbers;
CREATE MATERIALIZED VIEW v_unlogged AS SELECT v FROM forgetful;
CREATE MATERIALIZED VIEW v_foreign AS SELECT v FROM far WITH NO DATA;
CREATE MATERIALIZED VIEW v_server AS SELECT count(*) AS v FROM pg_class;
CREATE MATERIALIZED VIEW v_zone AS SELECT to_char(date_trunc('hour', at), 'HH24 OF') AS v, at::date AS day FROM t;
CREATE TABLE reads AS SELECT v::text AS name, orchestry.add_refresh_policy(v) AS job_id FROM unnest('{v_now,v_today,v_random,v_sample,v_opaque,v_transparent,v_constant,v_sequence,v_unlogged,v_foreign,v_server,v_zone}'::regclass[]) WITH ORDINALITY u (v, n) ORDER BY n;
SELECT r.name, e.reason FROM reads r, orchestry.explain(r.name::regclass) e WHERE e.state = 'never skipped' ORDER BY r.job_id;
CALL orchestry.refresh('v_transparent');
CALL orchestry.refresh('v_constant');
CALL orchestry.refresh('v_zone');
CALL orchestry.refresh('v_now');
SELECT action, object, reason FROM orchestry.plan('v_transparent') UNION ALL SELECT action, object, reason FROM orchestry.plan('v_constant') UNION ALL
    SELECT action, object, reason FROM orchestry.plan('v_zone') UNION ALL SELECT action, object, reason FROM orchestry.plan('v_now');
UPDATE other SET v = v + 1 WHERE id = 1;
SELECT name FROM reads r, orchestry.plan(r.name::regclass) p WHERE p.reason LIKE 'what it reads%' ORDER BY r.job_id;
CALL orchestry.refresh('v_transparent');
TABLE v_transparent;
CREATE OR REPLACE FUNCTION constant(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT -100';
SELECT reason FROM orchestry.plan('v_constant');
SELECT orchestry.alter_policy(job_id, '{"assume_pure": true}') FROM reads WHERE name = 'v_now';
CALL orchestry.refresh('v_now');
SELECT action, reason FROM orchestry.plan('v_now');
CALL orchestry.refresh('v_foreign');

-- An aggregate is what its functions are.
CREATE FUNCTION add_opaque(bigint, int) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT $1 + v FROM matview_policy.other LIMIT 1';
CREATE FUNCTION add_constant(bigint, int) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT $1 + $2';
CREATE AGGREGATE opaque_sum(int) (SFUNC = add_opaque, STYPE = bigint, INITCOND = '0');
CREATE AGGREGATE constant_sum(int) (SFUNC = add_constant, STYPE = bigint, INITCOND = '0', COMBINEFUNC = int8pl);
CREATE MATERIALIZED VIEW v_opaque_sum AS SELECT matview_policy.opaque_sum(v) FROM other;
CREATE MATERIALIZED VIEW v_constant_sum AS SELECT matview_policy.constant_sum(v) AS v FROM other;
SELECT orchestry.add_refresh_policy('v_opaque_sum') IS NOT NULL, orchestry.add_refresh_policy('v_constant_sum') IS NOT NULL;
CALL orchestry.refresh('v_constant_sum');
CREATE OR REPLACE FUNCTION add_constant(bigint, int) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT $1 - $2';
SELECT action, reason FROM orchestry.plan('v_constant_sum');

-- Columns that the query does not name, and what they are made of.
CREATE TABLE wide (id int, doubled int GENERATED ALWAYS AS (id * 2) STORED) PARTITION BY RANGE (id);
CREATE TABLE wide_1 PARTITION OF wide FOR VALUES FROM (0) TO (10);
INSERT INTO wide VALUES (1);
CREATE TABLE narrow (id int) PARTITION BY RANGE (id);
CREATE MATERIALIZED VIEW whole_rows AS SELECT to_jsonb(wide) FROM wide;
CREATE MATERIALIZED VIEW on_narrow AS SELECT count(*) FROM narrow;
SELECT orchestry.add_refresh_policy('whole_rows') IS NOT NULL, orchestry.add_refresh_policy('on_narrow') IS NOT NULL;
CALL orchestry.refresh('whole_rows');
CALL orchestry.refresh('on_narrow');
SELECT action, reason FROM orchestry.plan('whole_rows') UNION ALL SELECT action, reason FROM orchestry.plan('on_narrow');
ALTER TABLE wide ADD COLUMN added int DEFAULT 7;
SELECT action, reason FROM orchestry.plan('whole_rows');
CALL orchestry.refresh('whole_rows');
ALTER TABLE wide RENAME COLUMN added TO renamed;
SELECT action, reason FROM orchestry.plan('whole_rows');
CALL orchestry.refresh('whole_rows');
TABLE whole_rows;
ALTER TABLE wide DROP COLUMN doubled;
CALL orchestry.refresh('whole_rows');
TABLE whole_rows;
-- names that are not in the rows, but in what is made of them
CREATE TYPE mood AS ENUM ('ok', 'sad');
CREATE TYPE addr AS (street text);
CREATE TABLE named (m mood, a addr);
INSERT INTO named VALUES ('ok', ROW('main'));
CREATE MATERIALIZED VIEW names AS SELECT concat(m) AS label, to_jsonb(a) AS field FROM named;
CREATE MATERIALIZED VIEW no_names AS SELECT m, a FROM named;
SELECT orchestry.add_refresh_policy('names') IS NOT NULL, orchestry.add_refresh_policy('no_names') IS NOT NULL;
CALL orchestry.refresh('names');
CALL orchestry.refresh('no_names');
SELECT action, reason FROM orchestry.plan('names');
ALTER TYPE mood RENAME VALUE 'ok' TO 'fine';
SELECT action, reason FROM orchestry.plan('names');
CALL orchestry.refresh('names');
ALTER TYPE addr RENAME ATTRIBUTE street TO road;
CALL orchestry.refresh('names');
TABLE names;
SELECT action, reason FROM orchestry.plan('names') UNION SELECT action, reason FROM orchestry.plan('no_names');
TABLE no_names;
CREATE TABLE narrow_1 PARTITION OF narrow FOR VALUES FROM (0) TO (10);
SELECT action, reason FROM orchestry.plan('on_narrow');

-- Row security that has come and gone between two refreshes, and that concerns the owner of a view between.
CREATE TABLE hidden (v int);
INSERT INTO hidden VALUES (1);
CREATE MATERIALIZED VIEW on_hidden AS SELECT count(*) FROM hidden;
SELECT orchestry.add_refresh_policy('on_hidden') IS NOT NULL;
CALL orchestry.refresh('on_hidden');
ALTER TABLE hidden ENABLE ROW LEVEL SECURITY;
SELECT action, reason FROM orchestry.plan('on_hidden');
ALTER TABLE hidden FORCE ROW LEVEL SECURITY;
SELECT action, reason FROM orchestry.plan('on_hidden');
CALL orchestry.refresh('on_hidden');
ALTER TABLE hidden NO FORCE ROW LEVEL SECURITY;
SELECT action, reason FROM orchestry.plan('on_hidden');
CREATE ROLE regress_matview_between;
GRANT USAGE ON SCHEMA matview_policy TO regress_matview_between;
GRANT SELECT ON hidden TO regress_matview_between;
CREATE VIEW between AS SELECT * FROM hidden;
CREATE MATERIALIZED VIEW on_between AS SELECT count(*) FROM between;
SELECT orchestry.add_refresh_policy('on_between') IS NOT NULL;
CALL orchestry.refresh('on_between');
SELECT action, reason FROM orchestry.plan('on_between');
ALTER VIEW between OWNER TO regress_matview_between;
SELECT reason FROM orchestry.explain('on_between') WHERE state = 'never skipped';

-- Whatever the session prefers, the rows are the same.
CREATE TABLE measured_values (v float8, b bytea);
INSERT INTO measured_values VALUES (0.1::float8 + 0.2::float8, '\x0102');
CREATE MATERIALIZED VIEW as_text AS SELECT v::text AS v, b::text AS b FROM measured_values;
SELECT orchestry.add_refresh_policy('as_text') IS NOT NULL;
SET extra_float_digits = -10;
SET bytea_output = 'escape';
CALL orchestry.refresh('as_text');
RESET extra_float_digits;
RESET bytea_output;
TABLE as_text;

-- From a partition to its table, and a table that becomes a partition: the watch of its own makes room for that of the parent.
CREATE TABLE parent (id int, v int) PARTITION BY RANGE (id);
CREATE TABLE parent_1 PARTITION OF parent FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (id);
CREATE TABLE parent_11 PARTITION OF parent_1 FOR VALUES FROM (0) TO (5);
CREATE TABLE apart_2 (id int, v int);
CREATE VIEW parts AS SELECT v FROM parent_11 UNION ALL SELECT v FROM apart_2;
CREATE MATERIALIZED VIEW on_parts AS SELECT sum(v) AS v FROM parts;
SELECT orchestry.add_refresh_policy('on_parts') AS on_parts \gset
CALL orchestry.refresh('on_parts');
CREATE VIEW watched AS SELECT tgrelid::regclass AS "table", count(*) FILTER (WHERE tgparentid = 0) AS own, count(*) FILTER (WHERE tgparentid <> 0) AS cloned
    FROM pg_trigger WHERE tgname LIKE format('orchestry_watch_%s%%', :on_parts) GROUP BY tgrelid ORDER BY tgrelid::regclass::text COLLATE "C";
TABLE watched;
CREATE OR REPLACE VIEW parts AS SELECT v FROM parent UNION ALL SELECT v FROM apart_2;
CALL orchestry.refresh('on_parts');
SELECT action, object, state FROM last_steps;
TABLE watched;
INSERT INTO parent_11 VALUES (1, 1);
CALL orchestry.refresh('on_parts');
INSERT INTO apart_2 VALUES (12, 2);
CALL orchestry.refresh('on_parts');
TABLE on_parts;
ALTER TABLE parent ATTACH PARTITION apart_2 FOR VALUES FROM (10) TO (20);
TABLE watched;
CALL orchestry.refresh('on_parts'); -- it is read twice now
TABLE on_parts;
SELECT action, reason FROM orchestry.plan('on_parts');
INSERT INTO apart_2 VALUES (13, 3);
CALL orchestry.refresh('on_parts');
TABLE on_parts;
TRUNCATE apart_2;
CALL orchestry.refresh('on_parts');
TABLE on_parts;
ALTER TABLE parent DETACH PARTITION apart_2;
INSERT INTO apart_2 VALUES (14, 4);
CALL orchestry.refresh('on_parts');
TABLE watched;
INSERT INTO apart_2 VALUES (15, 5);
CALL orchestry.refresh('on_parts');
TABLE on_parts;
CREATE ROLE regress_matview_attach;
GRANT USAGE ON SCHEMA matview_policy TO regress_matview_attach;
SET ROLE regress_matview_attach;
ALTER TABLE parent ATTACH PARTITION apart_2 FOR VALUES FROM (10) TO (20); -- nothing goes from what is somebody else's
RESET ROLE;
TABLE watched;

-- Tables that inherit.
CREATE TABLE ancestor (v int);
CREATE TABLE heir () INHERITS (ancestor);
CREATE MATERIALIZED VIEW heirs AS SELECT count(*) FROM ancestor;
CREATE MATERIALIZED VIEW alone AS SELECT count(*) FROM ONLY ancestor;
SELECT orchestry.add_refresh_policy('heirs'), orchestry.add_refresh_policy('alone');
CALL orchestry.refresh('heirs');
CALL orchestry.refresh('alone');
INSERT INTO heir VALUES (1);
SELECT action, object, reason FROM orchestry.plan('heirs') UNION ALL SELECT action, object, reason FROM orchestry.plan('alone');
CALL orchestry.refresh('heirs');
CREATE TABLE late_heir () INHERITS (ancestor);
INSERT INTO late_heir VALUES (2);
SELECT action, object, reason FROM orchestry.plan('heirs');
CALL orchestry.refresh('heirs');
TABLE heirs;
DROP TABLE late_heir;
CALL orchestry.refresh('heirs');
TABLE heirs;

-- The server's counters as a hint.
CREATE TABLE counted (id int, v int) PARTITION BY RANGE (id);
CREATE TABLE counted_1 PARTITION OF counted FOR VALUES FROM (0) TO (100);
CREATE MATERIALIZED VIEW hinted AS SELECT count(*) FROM counted;
SELECT orchestry.add_refresh_policy('hinted', change_detection => 'stats', max_unverified => '2 hours');
SELECT pg_stat_force_next_flush();
CALL orchestry.refresh('hinted');
SELECT action, reason FROM orchestry.plan('hinted');
INSERT INTO counted VALUES (1, 1);
SELECT pg_stat_force_next_flush();
SELECT action, reason FROM orchestry.plan('hinted');
CALL orchestry.refresh('hinted');
TABLE hinted;
TRUNCATE counted; -- is not counted, but gives it other files
SELECT action, reason FROM orchestry.plan('hinted');
CALL orchestry.refresh('hinted');
CREATE TABLE counted_2 PARTITION OF counted FOR VALUES FROM (100) TO (200);
SELECT action, reason FROM orchestry.plan('hinted');
CALL orchestry.refresh('hinted');
SELECT action, reason FROM orchestry.plan('hinted', as_of => '2026-03-10 14:34Z');
SELECT action, reason FROM orchestry.plan('hinted', as_of => '2026-03-10 14:35Z');
SET track_counts = off;
SELECT action, reason FROM orchestry.plan('hinted');
RESET track_counts;
SELECT tgname FROM pg_trigger WHERE tgrelid = 'counted'::regclass;

-- Concurrently or not at all.
CREATE MATERIALIZED VIEW keyless AS SELECT id AS v FROM other;
SELECT orchestry.add_refresh_policy('keyless', mode => 'concurrently') AS keyless \gset
SELECT action, blocked_by FROM orchestry.plan('keyless') WHERE action = 'refresh';
CALL orchestry.refresh('keyless');
CREATE UNIQUE INDEX partial ON keyless (v) WHERE v > 0;
CREATE UNIQUE INDEX expression ON keyless ((v + 1));
SELECT blocked_by IS NOT NULL AS blocked FROM orchestry.plan('keyless') WHERE action = 'refresh';
SELECT state, next_action FROM orchestry.explain('keyless');
CREATE UNIQUE INDEX whole ON keyless (v);
CALL orchestry.refresh('keyless');
SELECT action, object, state FROM last_steps;

-- Dead rows: one concurrent refresh may leave as many as there are rows; more than that is too much.
CREATE TABLE churning AS SELECT i AS id, 0 AS v FROM generate_series(1, 6000) i;
CREATE MATERIALIZED VIEW bloated AS SELECT id, v FROM churning;
CREATE UNIQUE INDEX ON bloated (id);
SELECT orchestry.add_refresh_policy('bloated') AS bloated \gset
SELECT pg_stat_force_next_flush();
CREATE VIEW bloat AS SELECT dead_rows, dead_percent, temp_bytes > 0 AS temp FROM orchestry.matviews WHERE job_id = :bloated;
CALL orchestry.refresh('bloated');
SELECT pg_stat_force_next_flush();
TABLE bloat;
UPDATE churning SET v = 1;
CALL orchestry.refresh('bloated');
SELECT pg_stat_force_next_flush();
TABLE bloat;
UPDATE churning SET v = 2;
SELECT reason, sql FROM orchestry.plan('bloated');
CALL orchestry.refresh('bloated');
SELECT pg_stat_force_next_flush();
TABLE bloat;
UPDATE churning SET v = 3;
SELECT reason, sql FROM orchestry.plan('bloated');
SELECT orchestry.alter_policy(:bloated, '{"mode": "concurrently"}');
SELECT sql FROM orchestry.plan('bloated');
SELECT orchestry.alter_policy(:bloated, '{"mode": "auto"}');
CALL orchestry.refresh('bloated');
SELECT pg_stat_force_next_flush();
TABLE bloat;
SELECT count(*) FILTER (WHERE v = 3) AS right FROM bloated;

-- A view that fails stops those that read it and nobody else.
CREATE TABLE divisor (v int);
INSERT INTO divisor VALUES (1);
CREATE MATERIALIZED VIEW f1 AS SELECT 1 / v AS v FROM divisor;
CREATE MATERIALIZED VIEW f2 AS SELECT v + 1 AS v FROM f1;
CREATE MATERIALIZED VIEW f3 AS SELECT v FROM other;
CREATE TABLE failing AS SELECT v::text AS name, orchestry.add_refresh_policy(v) AS job_id FROM unnest('{f1,f2,f3}'::regclass[]) v;
CALL orchestry.refresh('f2');
UPDATE divisor SET v = 0;
INSERT INTO other VALUES (12, 12);
CALL orchestry.refresh('f2');
SELECT action, object, state, sqlstate, message FROM orchestry.run_steps WHERE run_id = (SELECT max(run_id) FROM orchestry.runs WHERE job_id = (SELECT job_id FROM failing WHERE name = 'f2'));
CALL orchestry.refresh('f3');
SELECT f.name, j.last_state, j.failures, m.last_error FROM failing f JOIN orchestry.jobs j USING (job_id) JOIN orchestry.matviews m USING (job_id) ORDER BY f.name;
TABLE f2;
UPDATE divisor SET v = -1;
CALL orchestry.refresh('f2');
TABLE f2;
SELECT orchestry.alter_policy(job_id, '{"max_runtime": "1 s"}') FROM failing WHERE name = 'f3';

-- However short the promise is, what fails is tried further and further apart.
SELECT orchestry.alter_policy(job_id, '{"max_staleness": "1 s"}') FROM failing WHERE name = 'f1';
UPDATE divisor SET v = 0;
CALL orchestry.refresh('f1');
CALL orchestry.refresh('f1');
SELECT failures, next_run_at > '2026-03-10 12:35:01Z' AS later FROM orchestry.jobs WHERE job_id = (SELECT job_id FROM failing WHERE name = 'f1');
UPDATE divisor SET v = -1;
CALL orchestry.refresh('f2');

-- What was written before a table was watched is not forgotten when the refresh after that fails.
CREATE TABLE late (v int);
INSERT INTO late VALUES (1);
CREATE MATERIALIZED VIEW unproven AS SELECT 1 / v AS v FROM late;
SELECT orchestry.add_refresh_policy('unproven', change_detection => 'none') AS unproven \gset
CALL orchestry.refresh('unproven');
UPDATE late SET v = 0;
SELECT orchestry.alter_policy(:unproven, '{"change_detection": "triggers"}');
CALL orchestry.refresh('unproven');
SELECT action, reason FROM orchestry.plan('unproven');

-- How the promise was kept.
CREATE TABLE measure (v int);
CREATE MATERIALIZED VIEW measured AS SELECT count(*) FROM measure;
SELECT orchestry.add_refresh_policy('measured', '1 hour') AS measured \gset
SET orchestry.now = '2026-03-11 12:00Z';
CALL orchestry.refresh('measured');
SET orchestry.now = '2026-03-11 12:50Z';
INSERT INTO measure VALUES (1);
CALL orchestry.refresh('measured');
SELECT count(*) FROM orchestry.refresh_breach WHERE job_id = :measured;
SET orchestry.now = '2026-03-11 14:00Z'; -- nothing has changed since: it was right all the time
CALL orchestry.refresh('measured');
INSERT INTO measure VALUES (1);
SET orchestry.now = '2026-03-11 16:00Z'; -- an hour too late
CALL orchestry.refresh('measured');
SELECT from_at, to_at FROM orchestry.refresh_breach WHERE job_id = :measured;
UPDATE orchestry.refresh_state SET durations = '{1 min,40 min,2 min}' WHERE job_id = :measured;
CALL orchestry.refresh('measured');
SELECT next_run_at FROM orchestry.jobs WHERE job_id = :measured; -- never nearer than half of it
RESET orchestry.now; -- by the view's clock
UPDATE orchestry.refresh_state SET as_of = now() WHERE job_id = :measured;
UPDATE orchestry.job SET anchor = now() - interval '3 days' WHERE job_id = :measured;
UPDATE orchestry.refresh_breach SET from_at = now() - interval '30 hours', to_at = now() - interval '18 hours' WHERE job_id = :measured;
SELECT percent_in_time, expected_runtime, breach_predicted, staleness < interval '1 hour' AS young FROM orchestry.matviews WHERE job_id = :measured;
UPDATE orchestry.refresh_state SET as_of = now() - interval '7 hours' WHERE job_id = :measured;
SELECT percent_in_time FROM orchestry.matviews WHERE job_id = :measured;
SELECT orchestry.remove_policy(:measured);
SET orchestry.now = '2026-03-10 12:35Z';

-- Names change, views go; with the last one the triggers go, too.
ALTER MATERIALIZED VIEW f3 RENAME TO f4;
INSERT INTO other VALUES (13, 13);
CALL orchestry.refresh('f4');
SELECT action, object FROM last_steps;
DROP MATERIALIZED VIEW f2;
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'divisor'::regclass;
DROP MATERIALIZED VIEW f1;
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'divisor'::regclass;
SET client_min_messages = error;
CALL orchestry.run_due();
RESET client_min_messages;
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'divisor'::regclass;
SELECT count(*) FROM orchestry.jobs WHERE job_id IN (SELECT job_id FROM failing WHERE name IN ('f1', 'f2'));
SELECT orchestry.remove_policy(9105);
SELECT count(*) FROM orchestry.dirty_mark WHERE job_id = 9105;

-- The watch stays.
DROP TRIGGER orchestry_watch_9101 ON t;
ALTER TABLE t DISABLE TRIGGER ALL;
SELECT tgenabled, count(*) FROM pg_trigger WHERE tgname LIKE 'orchestry_watch_9101%' GROUP BY 1;
ALTER TABLE t DETACH PARTITION t_2 CONCURRENTLY;
CREATE UNLOGGED TABLE t_unlogged PARTITION OF t FOR VALUES FROM (300) TO (400);
SELECT orchestry.remove_policy(9101);
SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'orchestry_watch_9101%';

-- What is refused.
CREATE ROLE regress_matview_stranger;
GRANT USAGE ON SCHEMA matview_policy TO regress_matview_stranger;
SET ROLE regress_matview_stranger;
SELECT orchestry.add_refresh_policy('a');
CALL orchestry.refresh('b1');
SELECT * FROM orchestry.plan('b1');
SELECT * FROM orchestry.explain('b1');
SELECT count(*) FROM orchestry.matviews;
RESET ROLE;
SELECT orchestry.add_refresh_policy('t');
SELECT orchestry.add_refresh_policy('positive');
SELECT orchestry.add_refresh_policy(0);
SELECT orchestry.add_refresh_policy('a', NULL);
SELECT orchestry.add_refresh_policy('a', '-1 hour');
SELECT orchestry.add_refresh_policy('a', mode => 'quick');
SELECT orchestry.add_refresh_policy('a', change_detection => 'magic');
SELECT orchestry.add_refresh_policy('a', max_runtime => '0');
SELECT orchestry.add_refresh_policy('a', schedule => 'often');
SELECT orchestry.add_refresh_policy('a', time_zone => 'Mars/Olympus');
CALL orchestry.refresh('a');
SELECT * FROM orchestry.explain('a');
BEGIN;
CALL orchestry.refresh('b1');
ROLLBACK;
SET client_min_messages = error;
DROP SCHEMA matview_policy CASCADE;
DROP FOREIGN DATA WRAPPER matview_nothing CASCADE;
DROP ROLE regress_matview_stranger, regress_matview_between, regress_matview_attach;
CALL orchestry.run_due();
SELECT count(*) FROM orchestry.jobs WHERE job_id > 9100;
