-- Change capture: what has changed since jobs computed something from it.

CREATE TABLE orchestry.dirty_mark (
    job_id  bigint NOT NULL REFERENCES orchestry.job ON DELETE CASCADE,
    from_at timestamptz NOT NULL,
    to_at   timestamptz NOT NULL
) WITH (fillfactor = 100, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 10000);
COMMENT ON TABLE orchestry.dirty_mark IS 'Times whose rows have changed since the job computed something from them. Written by the transaction of the change itself; consumed by a run before it reads the rows.';
COMMENT ON COLUMN orchestry.dirty_mark.to_at IS 'Up to this time, which is not one of them';
CREATE INDEX dirty_mark_job_idx ON orchestry.dirty_mark (job_id, from_at);
-- Dumped: in a dump tables, what was computed from them and the marks are of one moment.
SELECT pg_extension_config_dump('orchestry.dirty_mark', '');
ALTER TABLE orchestry.dirty_mark DISABLE TRIGGER ALL;
-- It has no key, and a publication of all tables would forbid to delete from it.
ALTER TABLE orchestry.dirty_mark REPLICA IDENTITY FULL;

CREATE TABLE orchestry.frozen_span (
    job_id          bigint NOT NULL REFERENCES orchestry.job ON DELETE CASCADE,
    from_at         timestamptz NOT NULL,
    to_at           timestamptz NOT NULL,
    relid           oid NOT NULL,
    origin_system   bigint NOT NULL,
    origin_database oid NOT NULL,
    removed         boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE orchestry.frozen_span IS 'Times whose rows were removed because of their age: what the job has computed from them stays as it is.';
COMMENT ON COLUMN orchestry.frozen_span.to_at IS 'Up to this time, which is not one of them';
COMMENT ON COLUMN orchestry.frozen_span.relid IS 'The partition that had the rows; when it comes back they can be computed again. 0: there is none';
COMMENT ON COLUMN orchestry.frozen_span.origin_system IS 'With origin_database, where relid is right';
COMMENT ON COLUMN orchestry.frozen_span.removed IS 'Whether what was computed from them is gone as well';
CREATE INDEX frozen_span_job_idx ON orchestry.frozen_span (job_id);
SELECT pg_extension_config_dump('orchestry.frozen_span', '');
ALTER TABLE orchestry.frozen_span DISABLE TRIGGER ALL;
ALTER TABLE orchestry.frozen_span REPLICA IDENTITY FULL;

CREATE FUNCTION orchestry._capture() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'orchestry_capture';
COMMENT ON FUNCTION orchestry._capture() IS 'Trigger that marks the times of changed rows when their transaction commits: _capture(job_id, time column, months, days and microseconds of a bucket, zone). Internal.';
