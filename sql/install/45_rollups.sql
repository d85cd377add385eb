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
SELECT pg_extension_config_dump('orchestry.rollup', '');
-- pg_restore -j loads dumped tables in any order, so a rollup may come before its job.
ALTER TABLE orchestry.rollup DISABLE TRIGGER ALL;

CREATE VIEW orchestry._rollup_settings AS
SELECT r.job_id, jsonb_strip_nulls(jsonb_build_object(
           'name', format('%I.%I', r.rollup_schema, r.rollup_name), 'time_column', r.time_column, 'value_column', r.value_column,
           'bucket', r.bucket, 'group_by', r.group_by, 'where', r.predicate, 'keep', r.keep)) AS settings
FROM orchestry.rollup r;
COMMENT ON VIEW orchestry._rollup_settings IS 'Rollups with the names of their arguments. Internal.';

-- A part of the rollups' views, for whoever may read those: it tells times and nothing else.
CREATE VIEW orchestry._rollup_spans WITH (security_barrier) AS
SELECT r.job_id, m.spans - f.spans AS dirty, f.spans AS frozen, '{(,)}'::tstzmultirange - m.spans - f.spans AS settled
FROM orchestry.rollup r
CROSS JOIN LATERAL (SELECT COALESCE(range_agg(tstzrange(d.from_at, d.to_at)), '{}') AS spans
                    FROM orchestry.dirty_mark d WHERE d.job_id = r.job_id) m
CROSS JOIN LATERAL (SELECT COALESCE(range_agg(tstzrange(z.from_at, z.to_at)), '{}') AS spans
                    FROM orchestry.frozen_span z WHERE z.job_id = r.job_id) f;
COMMENT ON VIEW orchestry._rollup_spans IS 'The times of each rollup: dirty ones are to be computed from the source by whoever reads, settled ones are stored as the source says, frozen ones stay as they are. Internal.';

CREATE FUNCTION orchestry.create_rollup(name text, source regclass, time_column name, value_column name, bucket interval,
    group_by name[] DEFAULT '{}', "where" text DEFAULT NULL, time_zone text DEFAULT 'UTC', keep interval DEFAULT NULL,
    schedule text DEFAULT '1 minute') RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_create_rollup';
COMMENT ON FUNCTION orchestry.create_rollup(text, regclass, name, name, interval, name[], text, text, interval, text) IS
'Makes a view of that name, in the schema of the source unless the name has one, with window_stats() and a summary of value_column per bucket and group: bucket, the columns of group_by, data_points, avg_value, min_value, max_value, stddev_value, p50_value, p95_value, p99_value, summary. It is right at every moment: buckets in which nothing has changed since they were computed are stored in a table beside it, all others are computed by the query itself. A job on schedule computes the changed ones, newest first, once they are over. Buckets are aligned in time_zone, "where" is one condition over the source''s columns, keep says for how long buckets are kept. Rows that leave with their partition do not change what was computed from them. Returns the job''s id. Only for the owner of the source (42501), which is a table, partitioned or not (42809); wrong settings are 22023, columns that do not fit 42804, unknown ones 42703, another rollup of that name is 42710. The library must be preloaded (55000).';

CREATE FUNCTION orchestry.drop_rollup(name text, keep_data boolean DEFAULT false) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_drop_rollup';
COMMENT ON FUNCTION orchestry.drop_rollup(text, boolean) IS
'Drops a rollup: its job, its view, its triggers on the source and, unless keep_data, the table with the stored buckets. 42704 when there is none of that name, 2BP01 when views of yours read it, 55P03 when the source is not had within orchestry.lock_timeout. Only for the owner of the source (42501).';

CREATE PROCEDURE orchestry.refresh_rollup(name text, "from" timestamptz DEFAULT NULL, "to" timestamptz DEFAULT NULL,
    force boolean DEFAULT false)
LANGUAGE c AS 'MODULE_PATHNAME', 'orchestry_refresh_rollup';
COMMENT ON PROCEDURE orchestry.refresh_rollup(text, timestamptz, timestamptz, boolean) IS
'Computes now and here the buckets of a rollup that have changed and are over, or, when "from" or "to" is given, all of that time; commits after every step. force: also buckets whose rows were removed because of their age, from what the source still has. 42704 when there is no such rollup. Only for the owner of the source (42501), not inside a transaction block (25001).';

CREATE FUNCTION orchestry.verify_rollup(name text, "from" timestamptz DEFAULT NULL, "to" timestamptz DEFAULT NULL)
RETURNS TABLE (bucket timestamptz, groups jsonb, problem text)
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_verify_rollup';
COMMENT ON FUNCTION orchestry.verify_rollup(text, timestamptz, timestamptz) IS
'Computes the stored buckets of a time, or all, again and returns what is not the same; no row is what to expect. Buckets that are to be computed anyway, or whose rows were removed because of their age, are left out. 42704 when there is no such rollup. Only for the owner of the source (42501).';
