-- Metrics: exact statistics of any window in one pass.

CREATE TYPE orchestry.window_stats AS (
    data_points  bigint,
    avg_value    double precision,
    min_value    double precision,
    max_value    double precision,
    stddev_value double precision,
    p50_value    double precision,
    p95_value    double precision,
    p99_value    double precision
);
COMMENT ON TYPE orchestry.window_stats IS 'What window_stats() answers. stddev_value is that of a sample: NULL for a single value.';

-- The functions of the aggregates. Nobody but the aggregates can call them.
CREATE FUNCTION orchestry._window_stats_transition(internal, double precision) RETURNS internal
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_window_stats_transition';
COMMENT ON FUNCTION orchestry._window_stats_transition(internal, double precision) IS 'Adds a value to the state of window_stats(). Internal.';
CREATE FUNCTION orchestry._quantiles_transition(internal, double precision, double precision[]) RETURNS internal
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_quantiles_transition';
COMMENT ON FUNCTION orchestry._quantiles_transition(internal, double precision, double precision[]) IS 'Adds a value to the state of quantiles(). Internal.';
CREATE FUNCTION orchestry._values_combine(internal, internal) RETURNS internal
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_values_combine';
COMMENT ON FUNCTION orchestry._values_combine(internal, internal) IS 'Adds the values of a parallel worker to a state. Internal.';
CREATE FUNCTION orchestry._values_serialize(internal) RETURNS bytea
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_values_serialize';
COMMENT ON FUNCTION orchestry._values_serialize(internal) IS 'The state of an exact aggregate as a parallel worker hands it over. Internal.';
CREATE FUNCTION orchestry._values_deserialize(bytea, internal) RETURNS internal
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_values_deserialize';
COMMENT ON FUNCTION orchestry._values_deserialize(bytea, internal) IS 'The reverse of _values_serialize(), for _values_combine(). Internal.';
CREATE FUNCTION orchestry._window_stats_final(internal) RETURNS orchestry.window_stats
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_window_stats_final';
COMMENT ON FUNCTION orchestry._window_stats_final(internal) IS 'The result of window_stats(). Internal.';
CREATE FUNCTION orchestry._quantiles_final(internal) RETURNS double precision[]
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_quantiles_final';
COMMENT ON FUNCTION orchestry._quantiles_final(internal) IS 'The result of quantiles(). Internal.';

-- The final functions put the values of a state into another order, which nothing depends on: they may be called again
-- after more values, and for several aggregates that share a state. So they count as reading only, which is what
-- makes OVER () possible.
-- sspace: what a group takes at the beginning. An honest guess of its end would make the planner sort all rows instead
-- of hashing them, at several times the price.
CREATE AGGREGATE orchestry.window_stats(value double precision) (
    sfunc = orchestry._window_stats_transition, stype = internal, sspace = 512,
    finalfunc = orchestry._window_stats_final, finalfunc_modify = read_only,
    combinefunc = orchestry._values_combine, serialfunc = orchestry._values_serialize, deserialfunc = orchestry._values_deserialize,
    parallel = safe
);
COMMENT ON AGGREGATE orchestry.window_stats(double precision) IS
'Count, average, minimum, maximum, standard deviation (of a sample) and the 50th, 95th and 99th percentile of the values, exact, in one pass: quantiles as percentile_cont() defines them, bit for bit; sums without rounding in between, so that the result depends on nothing but the values. NULL is ignored; no values give NULL, never 0; NaN counts as the greatest value. Memory: 8 bytes for each value, up to orchestry.aggregate_mem, then temporary files; 53400 in window functions beyond that.';

CREATE AGGREGATE orchestry.quantiles(value double precision, fractions double precision[]) (
    sfunc = orchestry._quantiles_transition, stype = internal, sspace = 512,
    finalfunc = orchestry._quantiles_final, finalfunc_modify = read_only,
    combinefunc = orchestry._values_combine, serialfunc = orchestry._values_serialize, deserialfunc = orchestry._values_deserialize,
    parallel = safe
);
COMMENT ON AGGREGATE orchestry.quantiles(double precision, double precision[]) IS
'The exact quantiles of the values at the fractions (0 to 1, 22003), as percentile_cont(fractions) WITHIN GROUP (ORDER BY value) defines them, bit for bit, in one pass and without sorting. The fractions must be the same in all rows of a group (22023); where they are NULL so is the quantile. NULL is ignored; no values give NULL. Memory as window_stats().';

-- Summaries: what can be merged.
CREATE TYPE orchestry.summary;
CREATE FUNCTION orchestry._summary_in(cstring) RETURNS orchestry.summary
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_summary_in';
COMMENT ON FUNCTION orchestry._summary_in(cstring) IS 'Reads a summary; 22P02 for what is none. Internal.';
CREATE FUNCTION orchestry._summary_out(orchestry.summary) RETURNS cstring
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_summary_out';
COMMENT ON FUNCTION orchestry._summary_out(orchestry.summary) IS 'Writes a summary. Internal.';
CREATE FUNCTION orchestry._summary_recv(internal) RETURNS orchestry.summary
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_summary_recv';
COMMENT ON FUNCTION orchestry._summary_recv(internal) IS 'Reads a summary in binary; 22P03 for what is none. Internal.';
CREATE FUNCTION orchestry._summary_send(orchestry.summary) RETURNS bytea
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_summary_send';
COMMENT ON FUNCTION orchestry._summary_send(orchestry.summary) IS 'Writes a summary in binary. Internal.';
CREATE TYPE orchestry.summary (
    INPUT = orchestry._summary_in, OUTPUT = orchestry._summary_out, RECEIVE = orchestry._summary_recv, SEND = orchestry._summary_send,
    STORAGE = extended
);
COMMENT ON TYPE orchestry.summary IS
'The mergeable summary of a set of numbers: exact count, sum, average, deviation, minimum and maximum, and quantiles within relative_error(). Up to 128 different numbers are kept as they are; more become an exponential histogram of OpenTelemetry''s layout, with scale 8 (0.14 %) down to -4. The same numbers give the same bytes, in any order and however they were merged.';

CREATE FUNCTION orchestry._summarize_transition(internal, double precision) RETURNS internal
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_summarize_transition';
COMMENT ON FUNCTION orchestry._summarize_transition(internal, double precision) IS 'Adds a value to the state of summarize(). Internal.';
CREATE FUNCTION orchestry._merge_transition(internal, orchestry.summary) RETURNS internal
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_merge_transition';
COMMENT ON FUNCTION orchestry._merge_transition(internal, orchestry.summary) IS 'Adds a summary to the state of merge(). Internal.';
CREATE FUNCTION orchestry._summary_combine(internal, internal) RETURNS internal
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_merge_transition';
COMMENT ON FUNCTION orchestry._summary_combine(internal, internal) IS 'Adds the summary of a parallel worker to a state. Internal.';
CREATE FUNCTION orchestry._summary_serialize(internal) RETURNS bytea
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_summary_final';
COMMENT ON FUNCTION orchestry._summary_serialize(internal) IS 'The state of summarize() or merge() as a parallel worker hands it over. Internal.';
CREATE FUNCTION orchestry._summary_deserialize(bytea, internal) RETURNS internal
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_summary_deserialize';
COMMENT ON FUNCTION orchestry._summary_deserialize(bytea, internal) IS 'The reverse of _summary_serialize(), for _summary_combine(). Internal.';
CREATE FUNCTION orchestry._summary_final(internal) RETURNS orchestry.summary
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_summary_final';
COMMENT ON FUNCTION orchestry._summary_final(internal) IS 'The result of summarize() and merge(). Internal.';

CREATE AGGREGATE orchestry.summarize(value double precision) (
    sfunc = orchestry._summarize_transition, stype = internal, sspace = 4096,
    finalfunc = orchestry._summary_final, finalfunc_modify = read_only,
    combinefunc = orchestry._summary_combine, serialfunc = orchestry._summary_serialize, deserialfunc = orchestry._summary_deserialize,
    parallel = safe
);
COMMENT ON AGGREGATE orchestry.summarize(double precision) IS 'The summary of the values. NULL is ignored; no values give NULL. Takes some 10 kB for each group at most.';
CREATE AGGREGATE orchestry.merge(summary orchestry.summary) (
    sfunc = orchestry._merge_transition, stype = internal, sspace = 4096,
    finalfunc = orchestry._summary_final, finalfunc_modify = read_only,
    combinefunc = orchestry._summary_combine, serialfunc = orchestry._summary_serialize, deserialfunc = orchestry._summary_deserialize,
    parallel = safe
);
COMMENT ON AGGREGATE orchestry.merge(orchestry.summary) IS 'The summary of all that the summaries are of, exactly what summarize() would have given. NULL is ignored; no summaries give NULL. 22003 when it would count more than 2^63 values.';

CREATE FUNCTION orchestry.count(summary orchestry.summary) RETURNS bigint
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_summary_count';
COMMENT ON FUNCTION orchestry.count(orchestry.summary) IS 'How many values a summary is of, exact.';
CREATE FUNCTION orchestry.sum(summary orchestry.summary) RETURNS double precision
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_summary_sum';
COMMENT ON FUNCTION orchestry.sum(orchestry.summary) IS 'The sum of the values, exact but for one rounding; Infinity when too great. NULL when a histogram of others without a sum is in it.';
CREATE FUNCTION orchestry.avg(summary orchestry.summary) RETURNS double precision
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_summary_avg';
COMMENT ON FUNCTION orchestry.avg(orchestry.summary) IS 'The average of the values, exact but for one rounding. NULL when a histogram of others without a sum is in it.';
CREATE FUNCTION orchestry.min(summary orchestry.summary) RETURNS double precision
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_summary_min';
COMMENT ON FUNCTION orchestry.min(orchestry.summary) IS 'The least value, exact.';
CREATE FUNCTION orchestry.max(summary orchestry.summary) RETURNS double precision
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_summary_max';
COMMENT ON FUNCTION orchestry.max(orchestry.summary) IS 'The greatest value, exact; NaN is greater than all.';
CREATE FUNCTION orchestry.stddev(summary orchestry.summary) RETURNS double precision
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_summary_stddev';
COMMENT ON FUNCTION orchestry.stddev(orchestry.summary) IS 'The standard deviation of the values as those of a sample, within three units in the last place. NULL for fewer than two values, and when a histogram of others is in it.';
CREATE FUNCTION orchestry.quantile(summary orchestry.summary, fraction double precision) RETURNS double precision
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_summary_quantile';
COMMENT ON FUNCTION orchestry.quantile(orchestry.summary, double precision) IS 'The quantile at fraction (0 to 1, 22003), as percentile_cont() defines it, within relative_error() and never outside of min() and max().';
CREATE FUNCTION orchestry.quantiles(summary orchestry.summary, fractions double precision[]) RETURNS double precision[]
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_summary_quantiles';
COMMENT ON FUNCTION orchestry.quantiles(orchestry.summary, double precision[]) IS 'quantile() for each of the fractions, none of which may be NULL (22004).';
CREATE FUNCTION orchestry.relative_error(summary orchestry.summary) RETURNS double precision
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_summary_relative_error';
COMMENT ON FUNCTION orchestry.relative_error(orchestry.summary) IS 'How far a quantile may be from the exact one, in relation to it; 0 when the summary has all its values. Where a quantile lies between two values of different sign it is in relation to the greater one. Magnitudes below 2^-1022 may be off by the smallest double more.';

CREATE FUNCTION orchestry._summary_of_buckets(scale integer, zeros bigint, negative_indexes bigint[], negative_counts bigint[],
    positive_indexes bigint[], positive_counts bigint[], sum double precision, minimum double precision, maximum double precision, count bigint)
RETURNS orchestry.summary
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_summary_of_buckets';
COMMENT ON FUNCTION orchestry._summary_of_buckets(integer, bigint, bigint[], bigint[], bigint[], bigint[], double precision, double precision, double precision, bigint) IS 'The summary of a histogram with OpenTelemetry''s bucket numbers. Internal.';

CREATE FUNCTION orchestry.to_histogram(summary orchestry.summary, format text DEFAULT 'otel') RETURNS jsonb
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_summary_to_json';
COMMENT ON FUNCTION orchestry.to_histogram(orchestry.summary, text) IS
'The finite values as an exponential histogram. otel: an ExponentialHistogramDataPoint in OTLP''s JSON, at a lower scale where its buckets would be more than 320 in a row. prometheus: a native histogram in the JSON of the remote-write protocol.';

CREATE FUNCTION orchestry.from_histogram(histogram jsonb) RETURNS orchestry.summary
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
-- In the JSON of protobuf a field that is 0 may be left out.
WITH prometheus AS (
    -- Spans are gaps and lengths, counts are differences, and a bucket is numbered by its upper bound.
    SELECT side.name, array_agg(b.index - 1 ORDER BY b.n) AS indexes, array_agg(b.count ORDER BY b.n) AS counts
    FROM (VALUES ('positive'), ('negative')) side (name),
         LATERAL (SELECT i.n, i.index, d.count
                  FROM (SELECT row_number() OVER (ORDER BY s.n, g.place) AS n, s.first + g.place AS index
                        FROM (SELECT t.n, t.length, (sum(t.gap + t.length) OVER (ORDER BY t.n) - t.length)::bigint AS first
                              FROM (SELECT e.n, COALESCE(e.span ->> 'offset', '0')::bigint AS gap, COALESCE(e.span ->> 'length', '0')::bigint AS length
                                    FROM jsonb_array_elements(histogram -> (side.name || 'Spans')) WITH ORDINALITY e (span, n)) t) s,
                             generate_series(0, least(s.length, 100000) - 1) g (place)) i
                  FULL JOIN (SELECT t.n, sum((t.delta #>> '{}')::bigint) OVER (ORDER BY t.n)::bigint AS count
                             FROM jsonb_array_elements(histogram -> (side.name || 'Deltas')) WITH ORDINALITY t (delta, n)) d USING (n)) b
    GROUP BY side.name
), otel AS (
    SELECT side.name, array_agg(COALESCE(histogram -> side.name ->> 'offset', '0')::bigint + c.n - 1 ORDER BY c.n) AS indexes,
           array_agg((c.count #>> '{}')::bigint ORDER BY c.n) AS counts
    FROM (VALUES ('positive'), ('negative')) side (name),
         LATERAL jsonb_array_elements(histogram -> side.name -> 'bucketCounts') WITH ORDINALITY c (count, n)
    GROUP BY side.name
), both_sides AS (
    SELECT * FROM otel UNION ALL SELECT * FROM prometheus
)
SELECT orchestry._summary_of_buckets(
    COALESCE(histogram ->> 'scale', histogram ->> 'schema',
             CASE WHEN COALESCE(histogram -> 'positive', histogram -> 'negative', histogram -> 'positiveSpans', histogram -> 'negativeSpans') IS NOT NULL
                  THEN '0' END)::integer,
    COALESCE(histogram ->> 'zeroCount', histogram ->> 'zeroCountInt', '0')::bigint,
    COALESCE((SELECT indexes FROM both_sides WHERE name = 'negative'), '{}'), COALESCE((SELECT counts FROM both_sides WHERE name = 'negative'), '{}'),
    COALESCE((SELECT indexes FROM both_sides WHERE name = 'positive'), '{}'), COALESCE((SELECT counts FROM both_sides WHERE name = 'positive'), '{}'),
    (histogram ->> 'sum')::double precision, (histogram ->> 'min')::double precision, (histogram ->> 'max')::double precision,
    COALESCE(histogram ->> 'count', histogram ->> 'countInt')::bigint)
$$;
COMMENT ON FUNCTION orchestry.from_histogram(jsonb) IS
'The summary of an exponential histogram: an ExponentialHistogramDataPoint of OTLP''s JSON, or a native histogram with whole counts of Prometheus'' remote-write protocol in JSON, where fields that are 0 may be left out. Its values count as the middles of their buckets, those of the zero bucket as 0. stddev() is then not known, and sum() and avg() only if the histogram has its sum. 22023 for scales out of -4 to 20, and for counts that contradict each other.';

-- Windows.
-- IMMUTABLE as timezone(text, timestamptz) is: the result depends on the arguments and the rules of the zone alone,
-- never on the session. So buckets can be indexed and have statistics, without which the planner sorts. When a new
-- version of the zones' rules changes the past, an index on days or months of such a zone has to be rebuilt.
CREATE FUNCTION orchestry.time_bucket(width interval, ts timestamptz, time_zone text DEFAULT 'UTC') RETURNS timestamptz
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_time_bucket';
COMMENT ON FUNCTION orchestry.time_bucket(interval, timestamptz, text) IS
'The start of the bucket that ts lies in. width is of one unit (22023): months and days are those of the zone''s calendar, months counted from 2000-01-01 and days from Monday 2000-01-03, at local midnight or the first instant after it; hours and less are real time counted from 2000-01-03 UTC, so that no hour is lost or repeated. Infinite times are their own bucket.';

CREATE FUNCTION orchestry._bucket_ceiling(width interval, ts timestamptz, time_zone text) RETURNS timestamptz
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_bucket_ceiling';
COMMENT ON FUNCTION orchestry._bucket_ceiling(interval, timestamptz, text) IS 'The first start of a time_bucket() at or after ts. Internal.';

CREATE FUNCTION orchestry.window_aggregate(source regclass, time_column name, value_column name, group_by name[] DEFAULT '{}',
    "from" timestamptz DEFAULT NULL, "to" timestamptz DEFAULT NULL)
RETURNS TABLE (labels jsonb, data_points bigint, avg_value double precision, min_value double precision, max_value double precision,
               stddev_value double precision, p50_value double precision, p95_value double precision, p99_value double precision)
LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_window_aggregate';
COMMENT ON FUNCTION orchestry.window_aggregate(regclass, name, name, name[], timestamptz, timestamptz) IS
'Statistics as of window_stats() of the rows of source from "from" up to but without "to" (NULL: no limit), for each group; labels are the group''s columns and values. Groups without values have no row. Runs with the caller''s rights. The time is a timestamptz, or a timestamp or date in UTC, the value any number (42804); 42703 for columns that do not exist, 22023 for a window that ends before it begins. source may be a rollup: the window is one of whole buckets of it then (22023), the groups are some of its own, time_column and value_column are those that it was made of (or bucket and summary), and percentiles are within relative_error() of the summaries. Other columns of its view are numbers like any others; one that has the name of the values that it was made of, such as max_value, is not reached: the name means those values.';
