-- The aggregates value_counts and latest_distinct: against plain SQL that says the same, in every kind of plan.
\set VERBOSITY default
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';

-- What they say of nothing, of NULLs and of empty texts.
SELECT orchestry.value_counts(v), orchestry.latest_distinct(v, now(), 3), orchestry.latest_distinct_times(v, now(), 3)
FROM (SELECT ''::text WHERE false) s(v);
SELECT orchestry.value_counts(v), orchestry.latest_distinct(v, '2026-01-01', 3), orchestry.latest_distinct_times(v, '2026-01-01', 3)
FROM (VALUES (NULL::text), (NULL)) s(v);
SELECT orchestry.value_counts(v), orchestry.latest_distinct(v, at, 5), orchestry.latest_distinct_times(v, at, 5)
FROM (VALUES ('', '2026-01-01'::timestamptz), (NULL, '2026-01-02'), ('a', NULL), ('', '2026-01-03'), ('b', '-infinity'), ('c', 'infinity')) s(v, at);
-- Keys as jsonb orders them; the newest first, and of equal times byte by byte.
SELECT orchestry.value_counts(v), orchestry.latest_distinct(v, '2026-01-01', 10)
FROM (VALUES ('warning'), ('info'), ('error'), ('info'), ('é'), ('Z'), ('a')) s(v);
-- Counts that are counted already.
SELECT orchestry.value_counts(c.key, c.value::bigint)
FROM (VALUES ('{"error": 2, "info": 5}'::jsonb), ('{"info": 1, "": 3}'), ('{}')) s(counts), jsonb_each_text(counts) c;
SELECT orchestry.value_counts(v, n) FROM (VALUES ('a', 1), ('b', NULL), ('c', 0), (NULL, 7), ('a', 2)) s(v, n);

-- Bad input.
SELECT orchestry.value_counts('a', -1);
SELECT orchestry.value_counts('a', n) FROM (VALUES (9223372036854775807), (1)) s(n);
SELECT orchestry.latest_distinct('a', now(), 0);
SELECT orchestry.latest_distinct('a', now(), 1001);
SELECT orchestry.latest_distinct('a', now(), NULL);
SELECT orchestry.latest_distinct('a', now(), n) FROM (VALUES (1), (2)) s(n);

-- 20,000 rows with few and with many values, ties, NULLs, empty and large texts.
CREATE TABLE sample AS
SELECT i, '2026-03-01'::timestamptz + (i * 7919 % 5000) * interval '1 minute' AS at,
       CASE WHEN i % 11 = 0 THEN NULL ELSE 'app ' || i % 4 END AS app,
       CASE WHEN i % 13 = 0 THEN NULL WHEN i % 17 = 0 THEN '' ELSE (ARRAY['info', 'warning', 'error'])[1 + i % 3] END AS severity,
       CASE WHEN i % 19 = 0 THEN NULL ELSE repeat(chr(97 + i % 5), i % 3 * 1000) || 'message ' || i * 31 % 997 END AS message
FROM generate_series(1, 20000) i;
INSERT INTO sample VALUES (0, NULL, 'app 0', 'info', 'no time');
ALTER TABLE sample SET (parallel_workers = 2);
ANALYZE sample;

CREATE VIEW ours AS
SELECT app, count(*) AS rows, orchestry.value_counts(severity) AS severities, orchestry.value_counts(message) AS messages,
       orchestry.latest_distinct(message, at, 7) AS latest, orchestry.latest_distinct_times(message, at, 7) AS times
FROM sample GROUP BY app;
CREATE VIEW plain AS
SELECT a.app, a.rows,
       (SELECT jsonb_object_agg(severity, n) FROM (SELECT severity, count(*) AS n FROM sample s
        WHERE s.app IS NOT DISTINCT FROM a.app AND severity IS NOT NULL GROUP BY severity) c) AS severities,
       (SELECT jsonb_object_agg(message, n) FROM (SELECT message, count(*) AS n FROM sample s
        WHERE s.app IS NOT DISTINCT FROM a.app AND message IS NOT NULL GROUP BY message) c) AS messages,
       l.latest, l.times
FROM (SELECT app, count(*) AS rows FROM sample GROUP BY app) a
CROSS JOIN LATERAL (SELECT array_agg(message ORDER BY at DESC, message COLLATE "C") AS latest,
                           array_agg(at ORDER BY at DESC, message COLLATE "C") AS times
     FROM (SELECT message, max(at) AS at FROM sample s WHERE s.app IS NOT DISTINCT FROM a.app AND at IS NOT NULL AND message IS NOT NULL
           GROUP BY message ORDER BY max(at) DESC, message COLLATE "C" LIMIT 7) m) l;

-- Whether a plan of a query has a node.
CREATE FUNCTION has_node(query text, node text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
        IF line ~ node THEN RETURN true; END IF;
    END LOOP;
    RETURN false;
END $$;
-- Rows of which only one of the two knows.
CREATE VIEW difference AS
(TABLE ours EXCEPT ALL TABLE plain) UNION ALL (TABLE plain EXCEPT ALL TABLE ours);

SET max_parallel_workers_per_gather = 0;
SELECT count(*) FROM difference;
SET enable_hashagg = off;
SELECT has_node('TABLE ours', 'GroupAggregate'), count(*) FROM difference;
RESET enable_hashagg;

SET max_parallel_workers_per_gather = 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT has_node('TABLE ours', 'Partial HashAggregate'), has_node('TABLE ours', 'Gather'), count(*) FROM difference;
SET enable_hashagg = off;
SELECT has_node('TABLE ours', 'Partial GroupAggregate'), count(*) FROM difference;
RESET enable_hashagg;
-- Over everything, one group.
SELECT has_node('SELECT orchestry.value_counts(severity) FROM sample', 'Partial Aggregate'),
       orchestry.value_counts(severity), orchestry.latest_distinct(severity, at, 2) FROM sample;
-- Parts of which some have nothing to say.
SELECT orchestry.value_counts(severity) FILTER (WHERE i = 19999) AS one, orchestry.latest_distinct(message, at, 2) FILTER (WHERE i < 0) AS none,
       orchestry.value_counts(DISTINCT severity) AS each_once, orchestry.latest_distinct(severity, at, 9 ORDER BY i) AS ordered FROM sample;
RESET max_parallel_workers_per_gather;

-- Spilled to disk by hash aggregation with little memory.
SET max_parallel_workers_per_gather = 0;
SET work_mem = '64kB';
SET enable_sort = off;
SELECT has_node('SELECT message, orchestry.value_counts(severity) FROM sample GROUP BY message', 'HashAggregate'),
       count(*), sum(total) FROM (
    SELECT message, (SELECT sum(value::bigint) FROM jsonb_each_text(orchestry.value_counts(COALESCE(severity, 'none')))) AS total
    FROM sample GROUP BY message) s;
RESET enable_sort;
RESET work_mem;

-- As window aggregates, with frames that grow and frames that move: as plain aggregates of the same rows.
SELECT bool_and(w.growing = g.growing), bool_and(w.latest = g.latest), bool_and(w.moving = g.moving), count(*) FROM (
    SELECT i, orchestry.value_counts(severity) OVER (ORDER BY i) AS growing,
           orchestry.latest_distinct(message, at, 3) OVER (ORDER BY i) AS latest,
           orchestry.latest_distinct(message, at, 3) OVER (ORDER BY i ROWS BETWEEN 5 PRECEDING AND CURRENT ROW) AS moving
    FROM sample WHERE i < 300) w
CROSS JOIN LATERAL (SELECT orchestry.value_counts(severity) AS growing, orchestry.latest_distinct(message, at, 3) AS latest,
    orchestry.latest_distinct(message, at, 3) FILTER (WHERE s.i >= w.i - 5) AS moving FROM sample s WHERE s.i <= w.i) g;

-- A group with half a million different messages keeps five of them: no more memory than for a few.
CREATE FUNCTION peak_kb(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, FORMAT json) ' || query INTO plan;
    RETURN plan -> 0 -> 'Plan' ->> 'Peak Memory Usage';
END $$;
SET enable_sort = off;
SELECT peak_kb('SELECT i % 2, orchestry.latest_distinct(''a rather long message '' || i, ''2026-01-01''::timestamptz + i * interval ''1 ms'', 5)
                FROM generate_series(1, 500000) i GROUP BY i % 2') < 200 AS is_flat;
RESET enable_sort;

-- Anybody may use the aggregates, and nobody what they consist of.
CREATE ROLE events_reader;
GRANT SELECT ON sample TO events_reader;
SET ROLE events_reader;
SELECT orchestry.value_counts(severity) FROM sample WHERE i < 10;
SELECT count(*) AS parts, count(*) FILTER (WHERE has_function_privilege(oid, 'EXECUTE')) AS granted
FROM pg_proc WHERE pronamespace = 'orchestry'::regnamespace AND proname ~ '^_(value_counts|latest_distinct)_';
RESET ROLE;

DROP VIEW difference, ours, plain;
DROP FUNCTION has_node, peak_kb;
DROP TABLE sample;
DROP ROLE events_reader;
