-- The type summary: aggregates, what it says, its forms, histograms of others.
SET TimeZone = 'UTC';
\set SHOW_CONTEXT never
SET max_parallel_workers_per_gather = 0;
CREATE SCHEMA summaries;
SET search_path = summaries;
CREATE TABLE samples AS
SELECT i, i % 7 AS app, ((i::bigint * 7919) % 10007)::float8 / 16 - 100 AS v FROM generate_series(1, 20000) i;

-- few values are exact; NULL is ignored; no values are NULL
SELECT orchestry.count(s), orchestry.sum(s), orchestry.avg(s), orchestry.min(s), orchestry.max(s), orchestry.stddev(s), orchestry.quantile(s, 0.5),
       orchestry.quantiles(s, ARRAY[0, 0.25, 1]), orchestry.relative_error(s)
FROM (SELECT orchestry.summarize(v) AS s FROM (VALUES (2::float8), (NULL), (4), (4), (5), (10)) t (v)) x;
SELECT orchestry.summarize(v) IS NULL AS none FROM (VALUES (NULL::float8)) t (v);
SELECT orchestry.merge(s) IS NULL AS none FROM (VALUES (NULL::orchestry.summary)) t (s);
SELECT orchestry.count(s), orchestry.avg(s), orchestry.stddev(s), orchestry.min(s), orchestry.max(s), orchestry.quantiles(s, ARRAY[0.0, 0.5, 1])
FROM (SELECT orchestry.summarize(v) AS s FROM (VALUES ('NaN'::float8), (1), ('-Infinity')) t (v)) x;
SELECT orchestry.stddev(orchestry.summarize(v)) FROM (VALUES (1::float8)) t (v);
SELECT orchestry.sum(orchestry.summarize(v)), orchestry.avg(orchestry.summarize(v)) FROM (VALUES (1.7e308::float8), (1.7e308)) t (v);

-- many values: exact but for the quantiles, which stay within what is stated
SELECT app, orchestry.count(s) = n AS n, orchestry.min(s) = lo AS lo, orchestry.max(s) = hi AS hi, abs(orchestry.avg(s) - a) <= 1e-12 * abs(a) AS a,
       abs(orchestry.stddev(s) - d) <= 1e-12 * d AS d, round(orchestry.relative_error(s)::numeric, 5) AS relative_error,
       (SELECT bool_and(abs(orchestry.quantile(s, f) - p[f * 100 + 1]) <= orchestry.relative_error(s) * abs(p[f * 100 + 1]) + 1e-12) FROM (SELECT g / 100.0 AS f FROM generate_series(0, 100) g) fractions) AS within
FROM (SELECT app, orchestry.summarize(v) AS s, count(v) AS n, min(v) AS lo, max(v) AS hi, avg(v) AS a, stddev(v) AS d,
             percentile_cont((SELECT array_agg(g / 100.0 ORDER BY g) FROM generate_series(0, 100) g)) WITHIN GROUP (ORDER BY v) AS p
      FROM samples GROUP BY app) x ORDER BY app;
SELECT orchestry.quantile(orchestry.summarize(v), 1.5) FROM samples;
SELECT orchestry.quantiles(orchestry.summarize(v), ARRAY[0.5, NULL]) FROM samples;

-- merging gives the same bytes as summarizing, in any order, by parallel workers too
CREATE TABLE whole AS SELECT app, orchestry.summarize(v) AS s FROM samples GROUP BY app;
SELECT count(*) AS same FROM whole JOIN (SELECT app, orchestry.summarize(v ORDER BY v) AS s FROM samples GROUP BY app) o ON o.app = whole.app AND o.s::text = whole.s::text;
SELECT count(*) AS same
FROM whole JOIN (SELECT app, orchestry.merge(s ORDER BY part DESC) AS s FROM (SELECT app, i % 97 AS part, orchestry.summarize(v) AS s FROM samples GROUP BY 1, 2) p GROUP BY app) m
     ON m.app = whole.app AND m.s::text = whole.s::text;
SELECT orchestry.merge(s)::text = (SELECT orchestry.summarize(v)::text FROM samples) AS same FROM whole;
-- however they are stored
CREATE TABLE stored (plain orchestry.summary, compressed orchestry.summary, outside orchestry.summary, short orchestry.summary) WITH (toast_tuple_target = 128);
ALTER TABLE stored ALTER plain SET STORAGE PLAIN, ALTER compressed SET STORAGE MAIN, ALTER outside SET STORAGE EXTERNAL;
INSERT INTO stored SELECT s, s, s, one FROM (SELECT orchestry.summarize(i % 100) AS s, orchestry.summarize(i) FILTER (WHERE i < 8) AS one FROM samples GROUP BY app) x;
SELECT bool_and(pg_column_compression(compressed) IS NOT NULL) AND bool_and(pg_column_compression(plain) IS NULL) AS compressed,
       (SELECT pg_relation_size(reltoastrelid) > 0 FROM pg_class WHERE oid = 'stored'::regclass) AS outside, max(pg_column_size(short)) < 30 AS short FROM stored;
SELECT orchestry.merge(plain)::text = s AS plain, orchestry.merge(compressed)::text = s AS compressed, orchestry.merge(outside)::text = s AS outside,
       orchestry.merge(short)::text = (SELECT orchestry.summarize(i)::text FROM samples WHERE i < 8) AS short
FROM stored, (SELECT orchestry.summarize(i % 100)::text AS s FROM samples) x GROUP BY s;
SET max_parallel_workers_per_gather = 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT orchestry.summarize(v) FROM samples;
SELECT orchestry.summarize(v)::text = (SELECT orchestry.merge(s)::text FROM whole) AS same FROM samples;
SELECT count(*) AS same FROM whole JOIN (SELECT app, orchestry.summarize(v) AS s FROM samples GROUP BY app) o ON o.app = whole.app AND o.s::text = whole.s::text;
SET max_parallel_workers_per_gather = 0;
-- a state goes on after it was read
SELECT count(*), bool_and(orchestry.count(s) = i AND orchestry.max(s) = (SELECT max(v) FROM samples e WHERE e.i <= w.i)) AS same
FROM (SELECT i, orchestry.summarize(v) OVER (ORDER BY i) AS s FROM samples WHERE i <= 300) w;

-- text is read as it was written, and nothing else is
SELECT orchestry.summarize(v) FROM (VALUES (1::float8), (1), (2.5)) t (v);
SELECT s::text::orchestry.summary::text = s::text AS same, octet_length(s::text) / 2 < 2000 AS small FROM whole WHERE app = 1;
SELECT ''::orchestry.summary;
SELECT '\x'::orchestry.summary;
SELECT '\x0'::orchestry.summary;
SELECT '\xzz'::orchestry.summary;
SELECT '\x0200000000'::orchestry.summary;
SELECT '\x010000000001000000000000f03f'::orchestry.summary;
SELECT '\x010000000001000000000000f03f0100'::orchestry.summary;
SELECT '\x010000000001000000000000f0ff01'::orchestry.summary;
SELECT orchestry.count('\x010000000000'), orchestry.sum('\x010000000000'), orchestry.avg('\x010000000000'), orchestry.min('\x010000000000'),
       orchestry.quantile('\x010000000000', 0.5), orchestry.quantiles('\x010000000000'::orchestry.summary, '{0.5}');
-- and the binary form is the same bytes
SELECT count(*) AS same FROM whole WHERE '\x' || encode(orchestry._summary_send(s), 'hex') = s::text;

-- histograms of others, out and in
SELECT orchestry.to_histogram(s, 'prometheus') FROM (SELECT orchestry.summarize(v) AS s FROM (VALUES (0::float8), (1), (1), (2), (-4), (2.01)) t (v)) x;
SELECT orchestry.to_histogram(s, 'statsd') FROM whole;
SELECT app, format, orchestry.count(h) = orchestry.count(s) AS n, orchestry.sum(h) = orchestry.sum(s) AS sum, orchestry.stddev(h) AS stddev,
       abs(orchestry.quantile(h, 0.9) - orchestry.quantile(s, 0.9)) <= orchestry.relative_error(h) * orchestry.quantile(s, 0.9) AS near
FROM whole, (VALUES ('otel'), ('prometheus')) f (format), LATERAL (SELECT orchestry.from_histogram(orchestry.to_histogram(s, format)) AS h) x WHERE app < 2 ORDER BY 1, 2;
-- the example of Prometheus' documentation style: spans with a gap, differences of counts
SELECT orchestry.count(h), orchestry.sum(h), orchestry.avg(h), orchestry.to_histogram(h)
FROM (SELECT orchestry.from_histogram('{"countInt": "14", "sum": 30.5, "schema": 0, "zeroThreshold": 2.938735877055719e-39, "zeroCountInt": 2,
    "positiveSpans": [{"offset": 1, "length": 2}, {"offset": 1, "length": 1}], "positiveDeltas": ["4", "1", -2]}') AS h) x;
SELECT orchestry.count(h), orchestry.sum(h), orchestry.min(h), orchestry.max(h), orchestry.quantile(h, 0.5), orchestry.to_histogram(h)
FROM (SELECT orchestry.from_histogram('{"count": "3", "scale": 20, "zeroCount": 0, "positive": {"offset": 4096, "bucketCounts": [1, "2"]}}') AS h) x;
SELECT orchestry.count(orchestry.from_histogram('{"scale": 3}')), orchestry.avg(orchestry.from_histogram('{"scale": 3}'));
SELECT orchestry.from_histogram('{"count": 4, "scale": 0, "positive": {"offset": 0, "bucketCounts": [3]}}');
SELECT orchestry.from_histogram('{"count": 3, "scale": -9, "positive": {"offset": 0, "bucketCounts": [3]}}');
SELECT orchestry.from_histogram('{"scale": 0, "positive": {"offset": 4000, "bucketCounts": [3]}}');
SELECT orchestry.from_histogram('{"scale": 0, "positive": {"offset": 0, "bucketCounts": [-3]}}');
SELECT orchestry.from_histogram('{"schema": 0, "positiveSpans": [{"offset": 1, "length": 2}], "positiveDeltas": [1]}');
SELECT orchestry.from_histogram('{"schema": 0, "positiveSpans": [{"offset": 1, "length": 1}], "positiveDeltas": [1, 1]}');
SELECT orchestry.from_histogram('{"zeroCount": 3}');
-- In the JSON of protobuf what is 0 may be left out: the same histograms with it and without.
SELECT orchestry.from_histogram(a)::text = orchestry.from_histogram(b)::text AS same, orchestry.to_histogram(orchestry.from_histogram(b)) -> 'positive' AS positive
FROM (VALUES ('{"count": 3, "scale": 0, "positive": {"offset": 0, "bucketCounts": [1, 2]}}'::jsonb, '{"count": 3, "positive": {"bucketCounts": [1, 2]}}'::jsonb),
    ('{"schema": 0, "positiveSpans": [{"offset": 0, "length": 2}, {"offset": 0, "length": 1}, {"offset": 2, "length": 0}, {"offset": 1, "length": 1}], "positiveDeltas": [1, 1, 1, 1]}',
     '{"positiveSpans": [{"length": 2}, {"length": 1}, {"offset": 2}, {"offset": 1, "length": 1}], "positiveDeltas": [1, 1, 1, 1]}')) t (a, b);
-- As many numbers as there can be, of which the last has a rank that no double is.
SELECT fraction, orchestry.quantile(s, fraction) FROM (SELECT orchestry.from_histogram(jsonb_build_object('scale', 0, 'min', 1.5, 'max', 3,
    'positive', jsonb_build_object('offset', 0, 'bucketCounts', jsonb_build_array(n, 1)))) AS s FROM unnest('{9007199254740995,9223372036854775806}'::bigint[]) n) h,
    unnest('{0,0.5,1}'::float8[]) fraction;
-- Buckets in any order, and many of them.
SELECT a = b AS same, length(a) FROM (SELECT orchestry._summary_of_buckets(8, 0, '{}', '{}', array_agg(i ORDER BY i DESC), array_agg(1::bigint), NULL, NULL, NULL, NULL)::text AS a,
    orchestry._summary_of_buckets(8, 0, '{}', '{}', array_agg(i ORDER BY i), array_agg(1::bigint), NULL, NULL, NULL, NULL)::text AS b
    FROM generate_series(-250000::bigint, 250000) i) x;
