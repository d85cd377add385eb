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
