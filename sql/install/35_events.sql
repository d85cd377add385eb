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

CREATE TABLE orchestry.event_policy (
    job_id          bigint PRIMARY KEY REFERENCES orchestry.job ON DELETE CASCADE,
    older_than      interval NOT NULL,
    into_table      text NOT NULL,
    bucket          interval NOT NULL,
    time_column     name NOT NULL,
    group_by        name[] NOT NULL,
    count_values_of name,
    sample_of       name,
    samples         integer NOT NULL CHECK (samples BETWEEN 1 AND 1000)
);
COMMENT ON TABLE orchestry.event_policy IS 'How old events become counts and samples, as the user said it. The zone is that of the job.';
COMMENT ON COLUMN orchestry.event_policy.older_than IS 'How old a bucket must be to be compressed';
COMMENT ON COLUMN orchestry.event_policy.into_table IS 'Where the rows go, qualified and quoted';
COMMENT ON COLUMN orchestry.event_policy.bucket IS 'Length of a bucket';
COMMENT ON COLUMN orchestry.event_policy.time_column IS 'The column that says when an event happened';
COMMENT ON COLUMN orchestry.event_policy.group_by IS 'The columns in which events of one row of the target are alike';
COMMENT ON COLUMN orchestry.event_policy.count_values_of IS 'The column whose values are counted; NULL: none';
COMMENT ON COLUMN orchestry.event_policy.sample_of IS 'The column of which the newest distinct values are kept; NULL: none';
COMMENT ON COLUMN orchestry.event_policy.samples IS 'How many of them';
SELECT pg_extension_config_dump('orchestry.event_policy', '');
-- pg_restore -j loads dumped tables in any order, so a policy may come before its job.
ALTER TABLE orchestry.event_policy DISABLE TRIGGER ALL;

CREATE VIEW orchestry._event_settings AS
SELECT p.job_id, jsonb_strip_nulls(jsonb_build_object(
           'older_than', p.older_than, 'into_table', p.into_table, 'bucket', p.bucket, 'time_column', p.time_column,
           'group_by', p.group_by, 'count_values_of', p.count_values_of, 'sample_of', p.sample_of, 'samples', p.samples)) AS settings
FROM orchestry.event_policy p;
COMMENT ON VIEW orchestry._event_settings IS 'Event compression policies with the names of their arguments. Internal.';

CREATE FUNCTION orchestry.add_event_compression_policy(source regclass, older_than interval, into_table text DEFAULT NULL,
    bucket interval DEFAULT '1 hour', time_column name DEFAULT NULL, group_by name[] DEFAULT NULL, count_values_of name DEFAULT NULL,
    sample_of name DEFAULT NULL, samples integer DEFAULT 5, schedule text DEFAULT '1 day', time_zone text DEFAULT 'UTC') RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_add_event_compression_policy';
COMMENT ON FUNCTION orchestry.add_event_compression_policy(regclass, interval, text, interval, name, name[], name, name, integer, text, text) IS
'Turns the events of buckets that ended before now - older_than into one row per bucket and group, and removes them, in one statement: what is counted is what is removed. The row has bucket, the columns of group_by (NULL is a value of its own), event_count, {count_values_of}_counts (jsonb), sample_{sample_of}s (the newest distinct values, as many as samples says) with their times in sample_{sample_of}s_at, first_at and last_at. Later runs add late events to the rows that are there. into_table, by default {source}_compressed in the schema of the source, is made if absent, else checked (42809). time_column (timestamptz, or timestamp read as UTC) is by default the partition key or the only time there is; events without a finite time stay. Buckets are aligned in time_zone. It cannot be undone: nothing is removed before the schedule''s next slot, see orchestry.plan(). Returns the job''s id. Only for the owner (42501); wrong settings are 22023, unknown columns 42703, a second policy is 42710.';

CREATE FUNCTION orchestry.verify_event_compression(source regclass)
RETURNS TABLE (bucket timestamptz, groups text, event_count bigint, problem text)
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_verify_event_compression';
COMMENT ON FUNCTION orchestry.verify_event_compression(regclass) IS
'The rows of compressed events that cannot be right, each with what is wrong; none is what to expect. Events are counted and removed by one statement, so that only changes by others can make them wrong. The caller must own the table (42501); 42704 when it has no event compression policy.';
