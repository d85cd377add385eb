-- Rollups: statistics of a table per bucket and group, kept right.

CREATE TABLE orchestry.rollup (
    job_id        bigint PRIMARY KEY REFERENCES orchestry.job ON DELETE CASCADE,
    rollup_schema name NOT NULL,
    rollup_name   name NOT NULL,
    time_column   name NOT NULL,
    value_column  name NOT NULL,
    bucket        interval NOT NULL,
    group_by      name[] NOT NULL,
    predicate     text,
    keep          interval,
    parent        bigint,
    UNIQUE (rollup_schema, rollup_name)
);
COMMENT ON TABLE orchestry.rollup IS 'Rollups, as the user said it. The zone is that of the job, and the source its target.';
COMMENT ON COLUMN orchestry.rollup.rollup_name IS 'Name of the view; the table behind it has the same name with _buckets at its end';
COMMENT ON COLUMN orchestry.rollup.time_column IS 'The column that says when a value was measured';
COMMENT ON COLUMN orchestry.rollup.value_column IS 'The column of the values';
COMMENT ON COLUMN orchestry.rollup.bucket IS 'Length of a bucket';
COMMENT ON COLUMN orchestry.rollup.group_by IS 'The columns that make a group';
COMMENT ON COLUMN orchestry.rollup.predicate IS 'Of which rows, as the server writes it; NULL: of all';
COMMENT ON COLUMN orchestry.rollup.keep IS 'How long buckets are kept; NULL: for good';
COMMENT ON COLUMN orchestry.rollup.parent IS 'Job of the finer rollup whose stored buckets it is made of; NULL: it is made of the source''s rows';
CREATE INDEX rollup_parent_idx ON orchestry.rollup (parent);
SELECT pg_extension_config_dump('orchestry.rollup', '');
-- pg_restore -j loads dumped tables in any order, so a rollup may come before its job.
ALTER TABLE orchestry.rollup DISABLE TRIGGER ALL;

CREATE VIEW orchestry._rollup_settings AS
SELECT r.job_id, jsonb_strip_nulls(jsonb_build_object(
           'name', format('%I.%I', r.rollup_schema, r.rollup_name), 'time_column', r.time_column, 'value_column', r.value_column,
           'bucket', r.bucket, 'group_by', r.group_by, 'where', r.predicate, 'keep', r.keep,
           'parent', CASE WHEN p.job_id IS NOT NULL THEN format('%I.%I', p.rollup_schema, p.rollup_name) END)) AS settings
FROM orchestry.rollup r LEFT JOIN orchestry.rollup p ON p.job_id = r.parent;
COMMENT ON VIEW orchestry._rollup_settings IS 'Rollups with the names of their arguments. Internal.';

-- What follows is a part of the rollups' views, for whoever may read those, and so for everybody: of each rollup its job,
-- that of its parent, bucket and zone, and its times. It tells no names, no groups and no values.
CREATE VIEW orchestry._rollup_marks WITH (security_barrier) AS
SELECT r.job_id, r.parent, r.bucket, j.time_zone, m.spans AS marked, f.spans AS frozen
FROM orchestry.rollup r JOIN orchestry.job j ON j.job_id = r.job_id
CROSS JOIN LATERAL (SELECT COALESCE(range_agg(tstzrange(d.from_at, d.to_at)), '{}') AS spans
                    FROM orchestry.dirty_mark d WHERE d.job_id = r.job_id) m
CROSS JOIN LATERAL (SELECT COALESCE(range_agg(tstzrange(z.from_at, z.to_at)), '{}') AS spans
                    FROM orchestry.frozen_span z WHERE z.job_id = r.job_id) f;
COMMENT ON VIEW orchestry._rollup_marks IS 'What is marked for each rollup itself, and frozen; with its parent, bucket and zone. Internal.';

-- From level to level: where something is dirty, there is something dirty in the buckets of who is made of it. Of a parent
-- that is not there nothing is known, so all is dirty.
CREATE FUNCTION orchestry._finer_spans(parent bigint, width interval, time_zone text, OUT dirty tstzmultirange, OUT gone tstzmultirange)
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
WITH finer AS (
    SELECT COALESCE(m.marked + COALESCE(f.dirty, '{}') - m.frozen, '{(,)}') AS dirty, COALESCE(m.frozen + COALESCE(f.gone, '{}'), '{}') AS gone
    FROM (SELECT) one LEFT JOIN orchestry._rollup_marks m ON m.job_id = _finer_spans.parent
    LEFT JOIN LATERAL orchestry._finer_spans(m.parent, m.bucket, m.time_zone) f ON true
), spans AS (
    SELECT true AS is_dirty, s FROM finer, unnest(finer.dirty) s UNION ALL SELECT false, s FROM finer, unnest(finer.gone) s
), widened AS (
    SELECT is_dirty, tstzrange(orchestry.time_bucket(width, lower(s), time_zone), orchestry._bucket_ceiling(width, upper(s), time_zone))
        -- the whole buckets within the years 1 to 9999
        * tstzrange(orchestry._bucket_ceiling(width, '0001-01-01 00:00:00+00', time_zone), orchestry.time_bucket(width, '10000-01-01 00:00:00+00', time_zone)) AS s
    FROM spans
)
SELECT COALESCE(range_agg(s) FILTER (WHERE is_dirty), '{}'), COALESCE(range_agg(s) FILTER (WHERE NOT is_dirty), '{}') FROM widened
$$;
COMMENT ON FUNCTION orchestry._finer_spans(bigint, interval, text) IS 'The times, in buckets of a rollup, that its parent and the parents of that have yet to compute, and those whose rows are gone at some level. Internal.';

CREATE VIEW orchestry._rollup_spans WITH (security_barrier) AS
SELECT m.job_id, s.dirty, m.frozen, COALESCE(f.dirty, '{}') - m.frozen AS unready, '{(,)}'::tstzmultirange - s.dirty - m.frozen AS settled,
       '{(,)}'::tstzmultirange - s.dirty - m.frozen - COALESCE(f.gone, '{}') AS traceable
FROM orchestry._rollup_marks m LEFT JOIN LATERAL orchestry._finer_spans(m.parent, m.bucket, m.time_zone) f ON true
CROSS JOIN LATERAL (SELECT m.marked + COALESCE(f.dirty, '{}') - m.frozen AS dirty) s;
COMMENT ON VIEW orchestry._rollup_spans IS 'The times of each rollup: dirty ones are to be computed from the source by whoever reads, unready are those of them that its parent has yet to compute, settled ones are stored as the source, which may be another rollup, says, traceable ones as the rows say, frozen ones stay as they are. Internal.';

CREATE FUNCTION orchestry._all_spans(width interval, time_zone text) RETURNS tstzmultirange
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT tstzmultirange(tstzrange(orchestry._bucket_ceiling(width, '0001-01-01 00:00:00+00', time_zone),
                                    orchestry.time_bucket(width, '10000-01-01 00:00:00+00', time_zone)))
$$;
COMMENT ON FUNCTION orchestry._all_spans(interval, text) IS 'The whole buckets within the years 1 to 9999: what is dirty of a rollup of which nothing is known. Internal.';

-- In a function the plan of that is not one more part, and several times, of the plan of whoever reads. Of a rollup whose
-- job is not there nothing is known, so all is dirty.
CREATE FUNCTION orchestry._dirty_spans(rollup bigint, width interval, time_zone text) RETURNS tstzmultirange
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT COALESCE((SELECT s.dirty FROM orchestry._rollup_spans s WHERE s.job_id = rollup), orchestry._all_spans(width, time_zone)) $$;
COMMENT ON FUNCTION orchestry._dirty_spans(bigint, interval, text) IS 'The times of a rollup that are to be computed by whoever reads it. Internal.';

-- As unnest(), of which the planner expects 100 rows each time: so much work that the just-in-time compilation of the
-- query would take longer than the query.
CREATE FUNCTION orchestry._each_span(spans tstzmultirange) RETURNS SETOF tstzrange
LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE ROWS 3 SET search_path = pg_catalog, pg_temp AS 'multirange_unnest';
COMMENT ON FUNCTION orchestry._each_span(tstzmultirange) IS 'The times of a rollup, of which few are dirty. Internal.';

CREATE FUNCTION orchestry.create_rollup(name text, source regclass, time_column name, value_column name, bucket interval,
    group_by name[] DEFAULT '{}', "where" text DEFAULT NULL, time_zone text DEFAULT 'UTC', keep interval DEFAULT NULL,
    parent text DEFAULT NULL, schedule text DEFAULT '1 minute') RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_create_rollup';
COMMENT ON FUNCTION orchestry.create_rollup(text, regclass, name, name, interval, name[], text, text, interval, text, text) IS
'Makes a view of that name, in the schema of the source unless the name has one, with window_stats() and a summary of value_column per bucket and group: bucket, the columns of group_by, data_points, avg_value, min_value, max_value, stddev_value, p50_value, p95_value, p99_value, summary. It is right at every moment: buckets in which nothing has changed since they were computed are stored in a table beside it, all others are computed by the query itself. A job on schedule computes the changed ones, newest first, once they are over. Buckets are aligned in time_zone, "where" is one condition over the source''s columns, of what is IMMUTABLE alone, keep says for how long buckets are kept. Rows that leave with their partition do not change what was computed from them. parent names a finer rollup of the same source, time and value, whose stored buckets it is to be made of, with whole buckets of it in each of its own and some of its groups; "where" is that of the parent; the statistics are those of the merged summaries: exact, but for percentiles within relative_error(summary). Buckets of which a parent with keep no longer has all stay empty, and a NOTICE says from when on the others are there. source may be the view of the parent instead. Returns the job''s id. Only for the owner of the source (42501), which is a table, partitioned or not (42809); wrong settings are 22023, columns that do not fit 42804, unknown ones 42703, an unknown parent 42704, another rollup of that name is 42710. The library must be preloaded (55000).';

CREATE FUNCTION orchestry.drop_rollup(name text, keep_data boolean DEFAULT false) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_drop_rollup';
COMMENT ON FUNCTION orchestry.drop_rollup(text, boolean) IS
'Drops a rollup: its job, its view, its triggers on the source and, unless keep_data, the table with the stored buckets. 42704 when there is none of that name, 2BP01 when views of yours read it or rollups are made of it, 55P03 when the source is not had within orchestry.lock_timeout. Only for the owner of the source (42501).';

CREATE PROCEDURE orchestry.refresh_rollup(name text, "from" timestamptz DEFAULT NULL, "to" timestamptz DEFAULT NULL,
    force boolean DEFAULT false)
LANGUAGE c AS 'MODULE_PATHNAME', 'orchestry_refresh_rollup';
COMMENT ON PROCEDURE orchestry.refresh_rollup(text, timestamptz, timestamptz, boolean) IS
'Computes now and here the buckets of a rollup that have changed and are over, or, when "from" or "to" is given, all of that time; commits after every step. force: also buckets whose rows were removed because of their age, from what the source still has; those of which the parent, because of its keep, no longer has all buckets stay as they are. 42704 when there is no such rollup. Only for the owner of the source (42501), not inside a transaction block (25001).';

CREATE FUNCTION orchestry.verify_rollup(name text, "from" timestamptz DEFAULT NULL, "to" timestamptz DEFAULT NULL)
RETURNS TABLE (bucket timestamptz, groups jsonb, problem text)
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_verify_rollup';
COMMENT ON FUNCTION orchestry.verify_rollup(text, timestamptz, timestamptz) IS
'Computes the stored buckets of a time, or all, again and returns what is not the same; no row is what to expect. Buckets that are to be computed anyway, or whose rows were removed because of their age, are left out. A rollup of a rollup is compared with the stored buckets of its parent and with the rows of the source, where they are there. 42704 when there is no such rollup. Only for the owner of the source (42501).';
