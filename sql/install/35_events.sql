-- Event compression: aggregates, policies, and what is asked for by hand.

-- The states of the aggregates are objects in memory; these functions are called by the server alone.
CREATE FUNCTION orchestry._value_counts_add(internal, text) RETURNS internal
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_value_counts_add';
COMMENT ON FUNCTION orchestry._value_counts_add(internal, text) IS 'Internal: a row of value_counts(text).';
CREATE FUNCTION orchestry._value_counts_add(internal, text, bigint) RETURNS internal
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_value_counts_add';
COMMENT ON FUNCTION orchestry._value_counts_add(internal, text, bigint) IS 'Internal: a row of value_counts(text, bigint).';
CREATE FUNCTION orchestry._value_counts_combine(internal, internal) RETURNS internal
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_value_counts_combine';
COMMENT ON FUNCTION orchestry._value_counts_combine(internal, internal) IS 'Internal: adds the counts of another process.';
CREATE FUNCTION orchestry._value_counts_serialize(internal) RETURNS bytea
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_value_counts_serialize';
COMMENT ON FUNCTION orchestry._value_counts_serialize(internal) IS 'Internal: counts on their way to another process.';
CREATE FUNCTION orchestry._value_counts_deserialize(bytea, internal) RETURNS internal
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_value_counts_deserialize';
COMMENT ON FUNCTION orchestry._value_counts_deserialize(bytea, internal) IS 'Internal: counts from another process.';
CREATE FUNCTION orchestry._value_counts_final(internal) RETURNS jsonb
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_value_counts_final';
COMMENT ON FUNCTION orchestry._value_counts_final(internal) IS 'Internal: the result of value_counts.';

CREATE AGGREGATE orchestry.value_counts(value text) (
    SFUNC = orchestry._value_counts_add, STYPE = internal, SSPACE = 512,
    COMBINEFUNC = orchestry._value_counts_combine, SERIALFUNC = orchestry._value_counts_serialize,
    DESERIALFUNC = orchestry._value_counts_deserialize,
    FINALFUNC = orchestry._value_counts_final, FINALFUNC_MODIFY = READ_ONLY, PARALLEL = SAFE);
COMMENT ON AGGREGATE orchestry.value_counts(text) IS
'How often each value occurs: a jsonb object such as {"error": 3, "info": 1200}, its keys in jsonb''s own order. NULLs are not counted, the empty text is a value like any other, values are compared byte by byte; without any value the result is {}. 54000 when the object would exceed jsonb''s 256 MB.';
CREATE AGGREGATE orchestry.value_counts(value text, times bigint) (
    SFUNC = orchestry._value_counts_add, STYPE = internal, SSPACE = 512,
    COMBINEFUNC = orchestry._value_counts_combine, SERIALFUNC = orchestry._value_counts_serialize,
    DESERIALFUNC = orchestry._value_counts_deserialize,
    FINALFUNC = orchestry._value_counts_final, FINALFUNC_MODIFY = READ_ONLY, PARALLEL = SAFE);
COMMENT ON AGGREGATE orchestry.value_counts(text, bigint) IS
'As value_counts(text), each value counted that many times: adds up counts, as in SELECT value_counts(c.key, c.value::bigint) FROM hourly, jsonb_each_text(severity_counts) c. A row with NULL times or 0 is not counted; negative times are 22023, a sum beyond bigint is 22003.';

CREATE FUNCTION orchestry._latest_distinct_add(internal, text, timestamptz, integer) RETURNS internal
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_latest_distinct_add';
COMMENT ON FUNCTION orchestry._latest_distinct_add(internal, text, timestamptz, integer) IS 'Internal: a row of latest_distinct.';
CREATE FUNCTION orchestry._latest_distinct_combine(internal, internal) RETURNS internal
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_latest_distinct_combine';
COMMENT ON FUNCTION orchestry._latest_distinct_combine(internal, internal) IS 'Internal: adds the values of another process.';
CREATE FUNCTION orchestry._latest_distinct_serialize(internal) RETURNS bytea
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_latest_distinct_serialize';
COMMENT ON FUNCTION orchestry._latest_distinct_serialize(internal) IS 'Internal: values on their way to another process.';
CREATE FUNCTION orchestry._latest_distinct_deserialize(bytea, internal) RETURNS internal
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_latest_distinct_deserialize';
COMMENT ON FUNCTION orchestry._latest_distinct_deserialize(bytea, internal) IS 'Internal: values from another process.';
CREATE FUNCTION orchestry._latest_distinct_final(internal) RETURNS text[]
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_latest_distinct_final';
COMMENT ON FUNCTION orchestry._latest_distinct_final(internal) IS 'Internal: the result of latest_distinct.';
CREATE FUNCTION orchestry._latest_distinct_times(internal) RETURNS timestamptz[]
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_latest_distinct_times';
COMMENT ON FUNCTION orchestry._latest_distinct_times(internal) IS 'Internal: the result of latest_distinct_times.';

CREATE AGGREGATE orchestry.latest_distinct(value text, at timestamptz, n integer) (
    SFUNC = orchestry._latest_distinct_add, STYPE = internal, SSPACE = 1024,
    COMBINEFUNC = orchestry._latest_distinct_combine, SERIALFUNC = orchestry._latest_distinct_serialize,
    DESERIALFUNC = orchestry._latest_distinct_deserialize,
    FINALFUNC = orchestry._latest_distinct_final, FINALFUNC_MODIFY = READ_ONLY, PARALLEL = SAFE);
COMMENT ON AGGREGATE orchestry.latest_distinct(text, timestamptz, integer) IS
'The n distinct values whose latest times are the latest, newest first; of equal times, the value that is smaller byte by byte comes first. Keeps n values per group, however many there are. Rows with a NULL value or time do not count, the empty text is a value like any other, values are compared byte by byte; without any value the result is {}. n is from 1 to 1000 and the same for all rows of a group (22023), and not NULL (22004).';
CREATE AGGREGATE orchestry.latest_distinct_times(value text, at timestamptz, n integer) (
    SFUNC = orchestry._latest_distinct_add, STYPE = internal, SSPACE = 1024,
    COMBINEFUNC = orchestry._latest_distinct_combine, SERIALFUNC = orchestry._latest_distinct_serialize,
    DESERIALFUNC = orchestry._latest_distinct_deserialize,
    FINALFUNC = orchestry._latest_distinct_times, FINALFUNC_MODIFY = READ_ONLY, PARALLEL = SAFE);
COMMENT ON AGGREGATE orchestry.latest_distinct_times(text, timestamptz, integer) IS
'The latest time of each value that latest_distinct() of the same arguments returns, in the same order. Both together cost as much as one.';
