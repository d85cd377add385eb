-- window_stats() and quantiles(): what they answer, for every kind of input and wherever an aggregate may stand.
SET TimeZone = 'UTC';
SET max_parallel_workers_per_gather = 0;

-- NULL is ignored; one value has no deviation; no value is NULL, and no group is no row.
SELECT (orchestry.window_stats(v)).* FROM (VALUES (1::float8), (NULL), (2), (3.5)) t (v);
SELECT (orchestry.window_stats(v)).* FROM (VALUES (7::float8)) t (v);
SELECT orchestry.window_stats(v) IS NULL AS none, (orchestry.window_stats(v)).data_points FROM (VALUES (NULL::float8)) t (v);
SELECT orchestry.window_stats(v) IS NULL AS none, orchestry.quantiles(v, '{0.5}') IS NULL AS none FROM (VALUES (1::float8)) t (v) WHERE v > 1;
SELECT v, orchestry.window_stats(v) FROM (VALUES (1::float8)) t (v) WHERE v > 1 GROUP BY v;

-- NaN is the greatest value; infinities count as in PostgreSQL's own aggregates.
SELECT set, (orchestry.window_stats(v)).*
FROM (VALUES (1, 1::float8), (1, 'NaN'), (1, 2), (2, 'NaN'), (3, 1), (3, 'Infinity'), (4, '-Infinity'), (4, 'Infinity'), (5, '-Infinity'), (5, 3)) t (set, v)
GROUP BY set ORDER BY set;
SELECT set, avg(v), min(v), max(v), stddev(v), percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY v)
FROM (VALUES (1, 1::float8), (1, 'NaN'), (1, 2), (2, 'NaN'), (3, 1), (3, 'Infinity'), (4, '-Infinity'), (4, 'Infinity'), (5, '-Infinity'), (5, 3)) t (set, v)
GROUP BY set ORDER BY set;

-- Nothing overflows or vanishes on the way to a result that a double can hold.
SELECT avg_value, stddev_value, p50_value FROM (SELECT (orchestry.window_stats(v)).* FROM (VALUES (1.5e308), (1.7e308), (1.6e308)) t (v)) s;
SELECT avg_value, stddev_value, p50_value FROM (SELECT (orchestry.window_stats(v::float8)).* FROM (VALUES ('5e-324'), ('5e-324'), ('1.5e-323')) t (v)) s;
SELECT avg_value, stddev_value FROM (SELECT (orchestry.window_stats(v)).* FROM (VALUES (1e100), (1), (-1e100)) t (v)) s;
SELECT stddev_value FROM (SELECT (orchestry.window_stats(1e15 + v)).* FROM (VALUES (4), (7), (13), (16)) t (v)) s;
SELECT avg_value, stddev_value FROM (SELECT (orchestry.window_stats(v)).* FROM (VALUES (1.7e308), (-1.7e308)) t (v)) s;
SELECT min_value FROM (SELECT (orchestry.window_stats(v)).* FROM (VALUES (-0.0::float8), (0)) t (v)) s;

-- Any numeric type.
SELECT orchestry.window_stats(v::smallint), orchestry.window_stats(v::int), orchestry.window_stats(v::bigint),
       orchestry.window_stats(v::numeric), orchestry.window_stats(v::real) FROM generate_series(1, 11) v;

-- quantiles(): any fractions in any order, with NULLs, of any dimensions.
SELECT orchestry.quantiles(v, ARRAY[1, 0.5, NULL, 0, 0.123, 0.5]),
       percentile_cont(ARRAY[1, 0.5, NULL, 0, 0.123, 0.5]) WITHIN GROUP (ORDER BY v) FROM generate_series(1, 100) v;
SELECT orchestry.quantiles(v, '{{0.1,0.2},{0.3,0.4}}'), orchestry.quantiles(v, '{}'), orchestry.quantiles(v, NULL), orchestry.quantiles(v, '{NULL}')
FROM generate_series(1, 11) v;
SELECT orchestry.quantiles(v, ARRAY[0.5, 1.5]) FROM generate_series(1, 3) v;
SELECT orchestry.quantiles(v, ARRAY[-0.1]) FROM generate_series(1, 3) v;
SELECT orchestry.quantiles(v, ARRAY['NaN'::float8]) FROM generate_series(1, 3) v;
SELECT orchestry.quantiles(v, ARRAY[v / 10.0]) FROM generate_series(1, 3) v;

-- Wherever an aggregate may stand.
CREATE TABLE samples AS
SELECT i, i % 7 AS app, i % 3 AS kind, ((i::bigint * 7919) % 10007)::float8 / 16 - 100 AS v FROM generate_series(1, 20000) i;
ANALYZE samples;
CREATE VIEW expected AS
SELECT app, kind, (s).data_points = n AND (s).min_value = lo AND (s).max_value = hi AND ARRAY[(s).p50_value, (s).p95_value, (s).p99_value] = p
       AND q = p AND abs((s).avg_value - a) <= 1e-12 * abs(a) AND abs((s).stddev_value - d) <= 1e-12 * d AS same
FROM (SELECT app, kind, orchestry.window_stats(v) AS s, orchestry.quantiles(v, ARRAY[0.5, 0.95, 0.99]) AS q, count(v) AS n, min(v) AS lo, max(v) AS hi,
             avg(v) AS a, stddev(v) AS d, percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY v) AS p
      FROM samples GROUP BY GROUPING SETS ((app, kind), (app), (kind), ())) x;
SELECT same, count(*) FROM expected GROUP BY same;
SELECT (orchestry.window_stats(v) FILTER (WHERE app = 1)).p95_value = percentile_cont(0.95) WITHIN GROUP (ORDER BY v) FILTER (WHERE app = 1) AS filtered,
       (orchestry.window_stats(DISTINCT v)).data_points = count(DISTINCT v) AS of_distinct_ones,
       (orchestry.window_stats(v ORDER BY i)).p50_value = percentile_cont(0.5) WITHIN GROUP (ORDER BY v) AS ordered FROM samples;
-- A frame that grows calls the final function for each row, between more values.
SELECT count(*), bool_and((s).p50_value = (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY e.v) FROM samples e WHERE e.app = w.app AND e.i <= w.i)
                          AND (s).max_value = (SELECT max(e.v) FROM samples e WHERE e.app = w.app AND e.i <= w.i)) AS same
FROM (SELECT i, app, orchestry.window_stats(v) OVER (PARTITION BY app ORDER BY i) AS s FROM samples WHERE i <= 400) w;
SELECT count(*), bool_and((s).data_points = least(i, 5) AND (s).p50_value = (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY e.v) FROM samples e WHERE e.i BETWEEN w.i - 4 AND w.i)) AS same
FROM (SELECT i, orchestry.window_stats(v) OVER (ORDER BY i ROWS 4 PRECEDING) AS s FROM samples WHERE i <= 200) w;
-- Two aggregates share one state when they have the same transition function: neither spoils it for the other.
CREATE AGGREGATE shared_quantiles(float8, float8[]) (sfunc = orchestry._quantiles_transition, stype = internal, finalfunc = orchestry._quantiles_final, finalfunc_modify = read_only);
SELECT app, orchestry.quantiles(v, '{0.25}') = shared_quantiles(v, '{0.25}') AS same FROM samples GROUP BY app ORDER BY app;

-- Parallel workers: the very same result, to the last bit, whoever saw which rows.
CREATE TABLE serial_result AS SELECT app, orchestry.window_stats(v / 3) AS s, orchestry.quantiles(v / 3, '{0.1,0.9}') AS q FROM samples GROUP BY app;
SET max_parallel_workers_per_gather = 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT orchestry.window_stats(v / 3), orchestry.quantiles(v / 3, '{0.1,0.9}') FROM samples;
SELECT count(*) FROM serial_result JOIN (SELECT app, orchestry.window_stats(v / 3) AS s, orchestry.quantiles(v / 3, '{0.1,0.9}') AS q FROM samples GROUP BY app) parallel USING (app, s, q);
SELECT orchestry.quantiles(v, ARRAY[app / 10.0]) FROM samples;
SET max_parallel_workers_per_gather = 0;

-- The memory of all groups of a query is bounded: what is beyond goes to temporary files, with the same result.
SET orchestry.aggregate_mem = '64 kB';
SELECT same, count(*) FROM expected GROUP BY same;
SELECT count(*) FROM serial_result JOIN (SELECT app, orchestry.window_stats(v / 3) AS s, orchestry.quantiles(v / 3, '{0.1,0.9}') AS q FROM samples GROUP BY app) spilled USING (app, s, q);
SELECT (s).data_points, (s).min_value, (s).p50_value, (s).p99_value, (s).max_value
FROM (SELECT orchestry.window_stats(CASE WHEN i % 1000 = 0 THEN 'NaN' WHEN i % 1000 = 1 THEN 'Infinity' WHEN i % 2 = 0 THEN 5 ELSE v END) AS s FROM samples) x;
SELECT orchestry.window_stats(v) FROM (SELECT 'NaN'::float8 AS v FROM samples) x;
SELECT shared_quantiles(v, '{0.25}') = orchestry.quantiles(v, '{0.25}') AS same FROM samples;
SET enable_hashagg = off; -- one group after the other: each one's file is gone before the next
SELECT count(*) FROM serial_result JOIN (SELECT app, orchestry.window_stats(v / 3) AS s, orchestry.quantiles(v / 3, '{0.1,0.9}') AS q FROM samples GROUP BY app) spilled USING (app, s, q);
RESET enable_hashagg;
SET max_parallel_workers_per_gather = 2;
SELECT count(*) FROM serial_result JOIN (SELECT app, orchestry.window_stats(v / 3) AS s, orchestry.quantiles(v / 3, '{0.1,0.9}') AS q FROM samples GROUP BY app) spilled USING (app, s, q);
SET max_parallel_workers_per_gather = 0;
SELECT count(s) FROM (SELECT orchestry.window_stats(v) OVER () AS s FROM samples) w;
SET temp_file_limit = '64 kB';
\set VERBOSITY sqlstate
SELECT orchestry.window_stats(v) FROM samples;
\set VERBOSITY default
RESET temp_file_limit;
SELECT count(*) AS files_left FROM pg_ls_tmpdir();
RESET orchestry.aggregate_mem;
\set VERBOSITY sqlstate
SET orchestry.aggregate_mem = '1 kB';
\set VERBOSITY default

-- DROP EXTENSION takes columns of our types with it, and stays possible.
SET client_min_messages = warning;
BEGIN;
DROP EXTENSION orchestry_ext CASCADE;
SELECT attname FROM pg_attribute WHERE attrelid = 'serial_result'::regclass AND attnum > 0 AND NOT attisdropped;
ROLLBACK;
