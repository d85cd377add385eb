-- Schema changes that hold nobody up.

CREATE TABLE orchestry.migration (
    applied_by  name NOT NULL,
    version     text NOT NULL,
    description text,
    sha256      text NOT NULL,
    raw_sha256  text NOT NULL,
    statements  bigint NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    duration    interval,
    PRIMARY KEY (applied_by, version)
);
COMMENT ON TABLE orchestry.migration IS 'Migrations that were applied in this database, each written in the transaction of its statements.';
COMMENT ON COLUMN orchestry.migration.applied_by IS 'The role that applied it; each role has versions of its own';
COMMENT ON COLUMN orchestry.migration.sha256 IS 'Checksum of the text without byte order mark, with line feeds alone and without empty lines at its end';
COMMENT ON COLUMN orchestry.migration.raw_sha256 IS 'Checksum of the text as it came';
SELECT pg_extension_config_dump('orchestry.migration', '');

CREATE FUNCTION orchestry.apply_migration(version text, sql text, description text DEFAULT NULL) RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT AS 'MODULE_PATHNAME', 'orchestry_apply_migration';
COMMENT ON FUNCTION orchestry.apply_migration(text, text, text) IS
'Runs the statements of sql as the caller, all or none, and records the version: answers ''applied'', or ''already applied'' when the caller has applied this text before. 55000 when the version was applied with another text; ends of lines and a byte order mark do not matter. Transaction control and what cannot run in a transaction are refused (0A000, 25001).';

CREATE FUNCTION orchestry.verify_migration(version text, sql text) RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT AS 'MODULE_PATHNAME', 'orchestry_verify_migration';
COMMENT ON FUNCTION orchestry.verify_migration(text, text) IS
'Compares a text with what the caller applied as this version: ''match'', ''changed'', or ''unknown'' when there is no such version.';

CREATE PROCEDURE orchestry.ddl(sql text, lock_timeout interval DEFAULT '200 ms', max_wait interval DEFAULT '10 min')
LANGUAGE c AS 'MODULE_PATHNAME', 'orchestry_ddl';
COMMENT ON PROCEDURE orchestry.ddl(text, interval, interval) IS
'Runs one schema change as the caller and waits for each of its locks no longer than lock_timeout; then it lets go of everything, says in a NOTICE who is in the way, and tries again after a pause, until max_wait is over (55P03). 42601 unless sql is one statement, 0A000 for statements that read or change rows and for CREATE INDEX. What the statement does once it has its locks may take any time. Not inside a transaction block (25001).';

CREATE PROCEDURE orchestry.set_not_null(relation regclass, column_name name, lock_timeout interval DEFAULT '200 ms',
    max_wait interval DEFAULT '10 min')
LANGUAGE c AS 'MODULE_PATHNAME', 'orchestry_set_not_null';
COMMENT ON PROCEDURE orchestry.set_not_null(regclass, name, interval, interval) IS
'Makes a column NOT NULL without a long lock: a CHECK that is not validated, its validation beside readers and writers, NOT NULL proved by it, and the CHECK goes. Strong locks, on all partitions together, are waited for as with ddl(). Called again it goes on where it was interrupted. 23502 when there are NULLs, and then nothing is changed; what else fails at last takes the CHECK with it. Constraints that are not validated, of partitions too, are. 55000 where one that is NO INHERIT is in the way. Only for the table''s owner (42501), not inside a transaction block (25001).';

CREATE TABLE orchestry.backfill (
    job_id         bigint PRIMARY KEY REFERENCES orchestry.job ON DELETE CASCADE,
    assignments    text NOT NULL,
    predicate      text,
    batch_rows     integer,
    time_zone      text NOT NULL,
    date_style     text NOT NULL,
    interval_style text NOT NULL
);
COMMENT ON TABLE orchestry.backfill IS 'Backfills that are not done yet. The table is the target of the job.';
COMMENT ON COLUMN orchestry.backfill.assignments IS 'What stands after SET, as the server writes it';
COMMENT ON COLUMN orchestry.backfill.predicate IS 'Which rows, as the server writes it; NULL: all';
COMMENT ON COLUMN orchestry.backfill.batch_rows IS 'Keys for each batch; NULL: as many as fit orchestry.batch_target_time';
COMMENT ON COLUMN orchestry.backfill.time_zone IS 'With date_style and interval_style, the settings of the session that gave it, under which rows are changed';
SELECT pg_extension_config_dump('orchestry.backfill', '');
-- pg_restore -j loads dumped tables in any order, so a backfill may come before its job.
ALTER TABLE orchestry.backfill DISABLE TRIGGER ALL;

CREATE TABLE orchestry.backfill_part (
    job_id      bigint NOT NULL REFERENCES orchestry.job ON DELETE CASCADE,
    relid       oid NOT NULL,
    key_columns name[] NOT NULL,
    cursor      text[],
    done        boolean NOT NULL DEFAULT false,
    rows        bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (job_id, relid)
) WITH (fillfactor = 50);
COMMENT ON TABLE orchestry.backfill_part IS 'Where backfills have got to, written in the transaction of each batch. Not dumped: OIDs are others elsewhere.';
COMMENT ON COLUMN orchestry.backfill_part.relid IS 'The table, or the partition, whose rows are walked';
COMMENT ON COLUMN orchestry.backfill_part.key_columns IS 'The unique key along which they are walked';
COMMENT ON COLUMN orchestry.backfill_part.cursor IS 'Rows up to this key are done; NULL: none';

CREATE TABLE orchestry.index_build (
    job_id     bigint PRIMARY KEY REFERENCES orchestry.job ON DELETE CASCADE,
    index_name name NOT NULL,
    is_unique  boolean NOT NULL,
    definition text NOT NULL
);
COMMENT ON TABLE orchestry.index_build IS 'Indexes that are being built. The table is the target of the job.';
COMMENT ON COLUMN orchestry.index_build.definition IS 'What stands after the name of the table, as the server writes it';
SELECT pg_extension_config_dump('orchestry.index_build', '');
-- Likewise.
ALTER TABLE orchestry.index_build DISABLE TRIGGER ALL;

CREATE VIEW orchestry._once_settings AS
SELECT b.job_id, jsonb_strip_nulls(jsonb_build_object('set_sql', b.assignments, 'where', b.predicate, 'batch_rows', b.batch_rows)) AS settings
FROM orchestry.backfill b
UNION ALL
SELECT i.job_id, jsonb_build_object('index', i.index_name, 'unique', i.is_unique, 'definition', i.definition)
FROM orchestry.index_build i;
COMMENT ON VIEW orchestry._once_settings IS 'What is done once, with the names of the arguments. Internal.';

CREATE PROCEDURE orchestry.backfill(relation regclass, set_sql text, "where" text DEFAULT NULL, batch_rows integer DEFAULT NULL)
LANGUAGE c AS 'MODULE_PATHNAME', 'orchestry_backfill';
COMMENT ON PROCEDURE orchestry.backfill(regclass, text, text, integer) IS
'Sets columns of the rows that are there, for example set_sql => ''customer_id = memo ->> ''''cust'''''', "where" => ''customer_id IS NULL'': each row once, along a unique key, in batches that are committed one by one, take about orchestry.batch_target_time (or batch_rows keys), and yield to replicas and VACUUM; under the TimeZone, DateStyle and IntervalStyle of this session. Rows that come later, or move to another key or partition meanwhile, are not looked after: let a DEFAULT or a trigger do that first. A cancel pauses it. The work is a job until it is done: after a crash the scheduler goes on with it, and so does the same CALL after a cancel; but what fails before its first batch, for another reason than locks, a cancel or the machine, leaves no job. 55000 without a unique key, or while another run is at it, 0A000 when the key is to be set, 428C9 when a generated column is, 42601 for other clauses in set_sql. Only for the table''s owner (42501), not inside a transaction block (25001).';

CREATE FUNCTION orchestry.build_index(sql text) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT AS 'MODULE_PATHNAME', 'orchestry_build_index';
COMMENT ON FUNCTION orchestry.build_index(text) IS
'Lets a background worker build the index of a CREATE INDEX statement CONCURRENTLY, on a partitioned table on one partition after the other; answers the run''s id, or NULL with a NOTICE when the index is there. The work is a job until it is done: what an interrupted build left is dropped, and the rest is built. The index needs a name (42601). Foreign partitions are refused (42809), IF NOT EXISTS, ONLY, TABLESPACE and virtual generated columns too (0A000). Only for the table''s owner (42501), who needs LOGIN.';

CREATE FUNCTION orchestry.explain_query(sql text) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT AS 'MODULE_PATHNAME', 'orchestry_explain_query';
COMMENT ON FUNCTION orchestry.explain_query(text) IS
'The plan of one statement, as EXPLAIN (FORMAT JSON) shows it to the caller; the statement is not run. 42601 unless it is one statement, 0A000 for those without a plan.';

CREATE FUNCTION orchestry.slow_queries(min_mean_ms double precision DEFAULT 1000, n integer DEFAULT 20)
RETURNS TABLE (queryid bigint, query text, calls bigint, mean_ms double precision, total_ms double precision, rows bigint, cache_hit_ratio double precision)
LANGUAGE c VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT AS 'MODULE_PATHNAME', 'orchestry_slow_queries';
COMMENT ON FUNCTION orchestry.slow_queries(double precision, integer) IS
'Statements of this database whose calls take at least min_mean_ms milliseconds on the average, those that take most time in all first, at most n, from pg_stat_statements, with the caller''s rights. cache_hit_ratio: share of the blocks that were found in shared buffers; NULL when none was needed. 55000 when pg_stat_statements is not installed here.';
