-- Partition maintenance: policies, and what is asked for by hand.

CREATE TABLE orchestry.partition_policy (
    job_id       bigint PRIMARY KEY REFERENCES orchestry.job ON DELETE CASCADE,
    every        interval,
    ahead        interval,
    past         interval,
    every_keys   bigint,
    ahead_keys   bigint,
    past_keys    bigint,
    name_pattern text,
    key_unit     text CHECK (key_unit IN ('s', 'ms', 'us', 'ns', 'uuidv7')),
    CHECK ((every IS NULL) = (past IS NULL)),
    CHECK ((every_keys IS NULL) = (past_keys IS NULL)),
    CHECK ((every IS NULL) <> (every_keys IS NULL))
);
COMMENT ON TABLE orchestry.partition_policy IS 'What should hold for the partitions of a table, as the user said it. The zone is that of the job.';
COMMENT ON COLUMN orchestry.partition_policy.every IS 'Width of a partition in time; NULL for integer keys';
COMMENT ON COLUMN orchestry.partition_policy.ahead IS 'How far ahead of now partitions exist; NULL: three steps, and at least 7 days';
COMMENT ON COLUMN orchestry.partition_policy.past IS 'How far back from now partitions exist';
COMMENT ON COLUMN orchestry.partition_policy.every_keys IS 'Width of a partition in keys; NULL for keys that are times';
COMMENT ON COLUMN orchestry.partition_policy.ahead_keys IS 'How many keys ahead partitions exist; NULL: three steps';
COMMENT ON COLUMN orchestry.partition_policy.past_keys IS 'How many keys back partitions exist';
COMMENT ON COLUMN orchestry.partition_policy.name_pattern IS 'Pattern of partition names; NULL: what suits the step';
COMMENT ON COLUMN orchestry.partition_policy.key_unit IS 'What an integer key counts since 1970: s, ms, us or ns; NULL: the type of the key says all';
SELECT pg_extension_config_dump('orchestry.partition_policy', '');
-- pg_restore -j loads dumped tables in any order, so a policy may come before its job. Only the check on this side is
-- off; deleting a job still deletes its policy.
ALTER TABLE orchestry.partition_policy DISABLE TRIGGER ALL;

CREATE VIEW orchestry._partition_settings AS
SELECT p.job_id, jsonb_strip_nulls(jsonb_build_object(
           'every', COALESCE(to_jsonb(p.every), to_jsonb(p.every_keys)),
           'ahead', COALESCE(to_jsonb(p.ahead), to_jsonb(p.ahead_keys)),
           'past', COALESCE(to_jsonb(p.past), to_jsonb(p.past_keys)),
           'name_pattern', p.name_pattern, 'key_unit', p.key_unit)) AS settings
FROM orchestry.partition_policy p;
COMMENT ON VIEW orchestry._partition_settings IS 'Partition policies with the names that alter_policy() takes. Internal.';

CREATE FUNCTION orchestry.add_partition_policy(relation regclass, every interval, ahead interval DEFAULT NULL,
    past interval DEFAULT '0', time_zone text DEFAULT 'UTC', name_pattern text DEFAULT NULL, key_unit text DEFAULT NULL,
    schedule text DEFAULT '1 hour') RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_add_partition_policy_interval';
COMMENT ON FUNCTION orchestry.add_partition_policy(regclass, interval, interval, interval, text, text, text, text) IS
'Keeps partitions of width every (months, days, or less than a day) in existence from now - past to now + ahead, the clock being read in time_zone; ahead defaults to three steps and at least 7 days. Makes them at once; returns the job''s id. Existing partitions of any name and width are kept. name_pattern takes {table} {YYYY} {MM} {DD} {HH24} {MI} {SS} {Q} {IYYY} {IW}; key_unit (s, ms, us, ns) says what an integer key counts since 1970. Only for the owner (42501) of a table partitioned by the range of one column (42809, 0A000); wrong settings are 22023, another policy is 42710.';

CREATE FUNCTION orchestry.add_partition_policy(relation regclass, every bigint, ahead bigint DEFAULT NULL,
    past bigint DEFAULT 0, name_pattern text DEFAULT NULL, schedule text DEFAULT '1 hour') RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_add_partition_policy_keys';
COMMENT ON FUNCTION orchestry.add_partition_policy(regclass, bigint, bigint, bigint, text, text) IS
'Keeps partitions of every keys each in existence for an integer key, from past keys before to ahead keys after the last value of the sequence that feeds the column (without one: after the last partition that has rows); ahead defaults to three steps. name_pattern takes {table} {from} {to}. Otherwise as the form for times.';

-- PostgreSQL cannot choose between an interval and a number for a literal such as '1 month' that has no type. It
-- prefers text then, so here is the form that takes it.
CREATE FUNCTION orchestry.add_partition_policy(relation regclass, every text, ahead text DEFAULT NULL,
    past text DEFAULT '0', time_zone text DEFAULT 'UTC', name_pattern text DEFAULT NULL, key_unit text DEFAULT NULL,
    schedule text DEFAULT '1 hour') RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_add_partition_policy_text';
COMMENT ON FUNCTION orchestry.add_partition_policy(regclass, text, text, text, text, text, text, text) IS
'As the other two forms, for literals without a type: every => ''1 month'' is an interval, every => ''1000000'' a number of keys.';

CREATE FUNCTION orchestry.create_partition(parent regclass, at anyelement) RETURNS regclass
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_create_partition';
COMMENT ON FUNCTION orchestry.create_partition(regclass, anyelement) IS
'Makes the partition that a row with key at goes to, as the table''s policy would, and returns it; one that exists is returned with a NOTICE. at is of the key''s type, or a time for a key that is a time (42804). 55000 when the table has no policy, or when rows of the default partition, a foreign default partition or a name are in the way; 22008 when the calendar does not reach at. The caller must own the table.';
CREATE FUNCTION orchestry.create_partition(parent regclass, at text) RETURNS regclass
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_create_partition';
COMMENT ON FUNCTION orchestry.create_partition(regclass, text) IS
'As create_partition(regclass, anyelement), for a literal without a type: at is read as the key''s own type.';

CREATE FUNCTION orchestry.partition_of(parent regclass, at anyelement) RETURNS regclass
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_partition_of';
COMMENT ON FUNCTION orchestry.partition_of(regclass, anyelement) IS
'The partition that a row with key at goes to, the default partition included; NULL when there is none. at may be NULL, and of other types as in create_partition().';
CREATE FUNCTION orchestry.partition_of(parent regclass, at text) RETURNS regclass
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_partition_of';
COMMENT ON FUNCTION orchestry.partition_of(regclass, text) IS
'As partition_of(regclass, anyelement), for a literal without a type: at is read as the key''s own type.';

CREATE PROCEDURE orchestry.promote_default(parent regclass)
LANGUAGE c AS 'MODULE_PATHNAME', 'orchestry_promote_default';
COMMENT ON PROCEDURE orchestry.promote_default(regclass) IS
'Makes the default partition the ordinary partition that all its rows fit into, without moving a row, and puts a new empty default partition in its place. A large one is checked first while others use it; from then on it refuses rows of other ranges, until the promotion is done or has failed. Not inside a transaction block (25001); 55000 when the rows do not fit one partition, 55006 while the table''s job runs. The caller must own the table.';

CREATE FUNCTION orchestry.explain(target regclass)
RETURNS TABLE (job_id bigint, kind text, object text, state text, reason text, next_action text, next_at timestamptz)
LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_explain';
COMMENT ON FUNCTION orchestry.explain(regclass) IS
'For each partition and retention policy of a table, and for each of its partitions: its state, why, what comes next and when. 55000 when the table has no such policy. The caller must own the table.';

CREATE FUNCTION orchestry.timeline(target regclass) RETURNS TABLE (timeline text)
LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_timeline';
COMMENT ON FUNCTION orchestry.timeline(regclass) IS
'The partitions of a table as lines of text: name, bounds in the policy''s zone (in UTC for steps below a day), a bar for the size, the size, and past, open, ahead or default. Gaps begin with !; the last lines are the runway, where the table has a partition policy, and the horizon, where a retention policy takes whole partitions. For the owner of the table and for members of pg_monitor.';

CREATE FUNCTION orchestry._partitions()
RETURNS TABLE (parent regclass, partition regclass, is_default boolean, lower_at timestamptz, upper_at timestamptz,
               lower_key bigint, upper_key bigint, bound text, phase text, job_id bigint, gap_to_fill boolean)
LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_list_partitions';
COMMENT ON FUNCTION orchestry._partitions() IS 'What the view orchestry.partitions is made of. Internal.';

CREATE VIEW orchestry.partitions AS
SELECT p.parent, p.partition, p.is_default, p.lower_at, p.upper_at, p.lower_key, p.upper_key, p.bound,
       pg_total_relation_size(p.partition) AS bytes,
       CASE WHEN c.reltuples >= 0 THEN c.reltuples::bigint END AS rows_estimate, p.phase, p.job_id,
       GREATEST(pg_stat_get_last_analyze_time(c.oid), pg_stat_get_last_autoanalyze_time(c.oid)) AS analyzed_at
FROM orchestry._partitions() p JOIN pg_class c ON c.oid = p.partition;
COMMENT ON VIEW orchestry.partitions IS 'One row for each partition of the tables that have a policy: those of the caller, or all for members of pg_monitor.';
COMMENT ON COLUMN orchestry.partitions.lower_at IS 'First instant of the partition where the key is a time; of timestamp and date keys, in the policy''s zone. NULL: no lower bound';
COMMENT ON COLUMN orchestry.partitions.upper_at IS 'First instant after the partition. NULL: no upper bound';
COMMENT ON COLUMN orchestry.partitions.lower_key IS 'First key of the partition where the key is an integer';
COMMENT ON COLUMN orchestry.partitions.upper_key IS 'First key after the partition where the key is an integer';
COMMENT ON COLUMN orchestry.partitions.bound IS 'The bounds as in FOR VALUES, times in UTC whatever the session''s TimeZone and DateStyle';
COMMENT ON COLUMN orchestry.partitions.bytes IS 'Size with indexes and TOAST';
COMMENT ON COLUMN orchestry.partitions.rows_estimate IS 'As of the last VACUUM or ANALYZE; NULL: never';
COMMENT ON COLUMN orchestry.partitions.phase IS 'past, open (takes rows of now), ahead, default, or detaching (a DETACH CONCURRENTLY was interrupted)';
