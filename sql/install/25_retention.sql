-- Retention: policies, what is in quarantine, and holds.

CREATE TABLE orchestry.retention_policy (
    job_id       bigint PRIMARY KEY REFERENCES orchestry.job ON DELETE CASCADE,
    keep         interval,
    keep_keys    bigint CHECK (keep_keys > 0),
    time_column  name,
    predicate    text,
    action       text NOT NULL CHECK (action IN ('drop', 'detach')),
    grace        interval NOT NULL,
    archive_to   text,
    keep_last    integer CHECK (keep_last > 0),
    keep_last_by name[],
    batch_rows   integer NOT NULL CHECK (batch_rows > 0),
    key_unit     text CHECK (key_unit IN ('s', 'ms', 'us', 'ns')),
    announced_at timestamptz,
    column_names name[],
    column_numbers smallint[],
    CHECK ((keep IS NULL) <> (keep_keys IS NULL))
);
-- Every partition that is to go is asked who archives its rows: mostly nobody does.
CREATE INDEX retention_policy_archive_idx ON orchestry.retention_policy (job_id) WHERE archive_to IS NOT NULL;
COMMENT ON TABLE orchestry.retention_policy IS 'How long the data of a table is kept, as the user said it. The zone is that of the job.';
COMMENT ON COLUMN orchestry.retention_policy.keep IS 'How long data is kept; NULL for integer keys';
COMMENT ON COLUMN orchestry.retention_policy.keep_keys IS 'How many keys back data is kept; NULL for keys that are times';
COMMENT ON COLUMN orchestry.retention_policy.time_column IS 'The column that says how old a row is; NULL: the partition key, by which whole partitions go';
COMMENT ON COLUMN orchestry.retention_policy.predicate IS 'Of which rows, as the server writes it; NULL: of all';
COMMENT ON COLUMN orchestry.retention_policy.column_names IS 'The columns that predicate reads';
COMMENT ON COLUMN orchestry.retention_policy.column_numbers IS 'Their numbers: a column that was renamed, and another by its name, are told apart';
COMMENT ON COLUMN orchestry.retention_policy.action IS 'drop: detached, and dropped after the grace; detach: detached and kept';
COMMENT ON COLUMN orchestry.retention_policy.grace IS 'How long a detached partition waits in quarantine before it is dropped';
COMMENT ON COLUMN orchestry.retention_policy.archive_to IS 'The table that rows are moved to, qualified, or file: and the directory of the files that they go to; NULL: none';
COMMENT ON COLUMN orchestry.retention_policy.keep_last IS 'How many of the newest rows of each group stay whatever their age';
COMMENT ON COLUMN orchestry.retention_policy.keep_last_by IS 'The columns that make a group for keep_last';
COMMENT ON COLUMN orchestry.retention_policy.batch_rows IS 'How many rows the first batch takes';
COMMENT ON COLUMN orchestry.retention_policy.key_unit IS 'What a key or a time column of numbers counts since 1970: s, ms, us or ns; NULL: its type says all';
COMMENT ON COLUMN orchestry.retention_policy.announced_at IS 'When the history was told what the first removal takes';
SELECT pg_extension_config_dump('orchestry.retention_policy', '');
-- pg_restore -j loads dumped tables in any order, so a policy may come before its job; likewise below.
ALTER TABLE orchestry.retention_policy DISABLE TRIGGER ALL;

-- A partition in quarantine stays in its schema, with its owner and its privileges, and gets a name that nobody uses.
-- So no right on any schema has to be lent, tables of one name in several schemas do not meet, and without the extension
-- it is an ordinary table. That it is the table meant here is known by OID and name together.
CREATE TABLE orchestry.detached_partition (
    relid           oid NOT NULL,
    schema_name     name NOT NULL,
    table_name      name NOT NULL,
    quarantine_name name NOT NULL,
    parent          oid NOT NULL,
    parent_schema   name NOT NULL,
    parent_name     name NOT NULL,
    job_id          bigint REFERENCES orchestry.job ON DELETE SET NULL,
    bounds          text NOT NULL,
    from_at         timestamptz,
    to_at           timestamptz,
    detached_at     timestamptz,
    origin_system   bigint NOT NULL,
    origin_database oid NOT NULL,
    PRIMARY KEY (relid, origin_system, origin_database)
);
CREATE INDEX ON orchestry.detached_partition (quarantine_name);
COMMENT ON TABLE orchestry.detached_partition IS 'Partitions that retention has detached, or is about to. Only what is recorded here is ever dropped.';
COMMENT ON COLUMN orchestry.detached_partition.table_name IS 'Name before; reattach() gives it back';
COMMENT ON COLUMN orchestry.detached_partition.quarantine_name IS 'Name in quarantine; whoever renames the table takes it out';
COMMENT ON COLUMN orchestry.detached_partition.job_id IS 'The policy by whose grace it is dropped; NULL: that was removed, and it stays';
COMMENT ON COLUMN orchestry.detached_partition.bounds IS 'As in FOR VALUES, the same under any TimeZone and DateStyle';
COMMENT ON COLUMN orchestry.detached_partition.from_at IS 'With to_at, the times of its rows as far as the bounds tell; holds on a part of time are compared with them';
COMMENT ON COLUMN orchestry.detached_partition.detached_at IS 'When its grace began; NULL: a run prepared the detach';
COMMENT ON COLUMN orchestry.detached_partition.origin_system IS 'With origin_database, where relid and parent are right; elsewhere the names are';
SELECT pg_extension_config_dump('orchestry.detached_partition', '');
ALTER TABLE orchestry.detached_partition DISABLE TRIGGER ALL;

CREATE TABLE orchestry.archive_file (
    archive_id      bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    job_id          bigint NOT NULL,
    file            text NOT NULL,
    schema_name     name NOT NULL,
    table_name      name NOT NULL,
    owner           name NOT NULL,
    part            oid NOT NULL,
    part_name       text NOT NULL,
    columns         text NOT NULL,
    least           text,
    greatest        text,
    rows            bigint NOT NULL,
    hash_high       bigint NOT NULL,
    hash_low        bigint NOT NULL,
    bytes           bigint NOT NULL,
    sha256          text NOT NULL,
    written_at      timestamptz NOT NULL,
    published_at    timestamptz,
    origin_system   bigint NOT NULL,
    origin_database oid NOT NULL
);
COMMENT ON TABLE orchestry.archive_file IS 'The manifests of the files that retention has written. A file is recorded in the transaction in which its rows go, or long before when they are in quarantine.';
COMMENT ON COLUMN orchestry.archive_file.file IS 'Path on the machine of the server that wrote it';
COMMENT ON COLUMN orchestry.archive_file.part IS 'The table in quarantine that has the rows as well, right where origin_system and origin_database are; 0: none has';
COMMENT ON COLUMN orchestry.archive_file.least IS 'Of the time column or the partition key; NULL: the file has no rows';
COMMENT ON COLUMN orchestry.archive_file.hash_high IS 'With hash_low, the sums of both halves of hashtextextended(ROW(...)::text, 0) of all rows';
COMMENT ON COLUMN orchestry.archive_file.published_at IS 'When the file got its name; NULL: it is complete under a passing one';
COMMENT ON SEQUENCE orchestry.archive_file_archive_id_seq IS 'Ids of archive files';
CREATE INDEX archive_file_job_idx ON orchestry.archive_file (job_id, part);
CREATE INDEX archive_file_unnamed_idx ON orchestry.archive_file (archive_id) WHERE published_at IS NULL;
SELECT pg_extension_config_dump('orchestry.archive_file', '');
SELECT pg_extension_config_dump('orchestry.archive_file_archive_id_seq', '');

CREATE TABLE orchestry.hold (
    hold_id         bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    relid           oid NOT NULL,
    schema_name     name NOT NULL,
    table_name      name NOT NULL,
    from_at         timestamptz,
    to_at           timestamptz,
    predicate       text,
    reason          text NOT NULL,
    created_at      timestamptz NOT NULL,
    created_by      name NOT NULL DEFAULT session_user,
    released_at     timestamptz,
    released_by     name,
    release_reason  text,
    column_names    name[],
    column_numbers  smallint[],
    origin_system   bigint NOT NULL,
    origin_database oid NOT NULL,
    CHECK (from_at < to_at),
    CHECK ((released_at IS NULL) = (released_by IS NULL) AND (released_at IS NULL) = (release_reason IS NULL))
);
COMMENT ON TABLE orchestry.hold IS 'Legal holds, those in force and those released: who, when, why.';
COMMENT ON COLUMN orchestry.hold.from_at IS 'Rows from this time on; NULL: from the beginning';
COMMENT ON COLUMN orchestry.hold.to_at IS 'Rows before this time; NULL: without end';
COMMENT ON COLUMN orchestry.hold.predicate IS 'Only rows that meet it; NULL: all';
COMMENT ON COLUMN orchestry.hold.column_names IS 'The columns that predicate reads';
COMMENT ON COLUMN orchestry.hold.column_numbers IS 'Their numbers where relid is right: a column that was renamed, and another by its name, are told apart';
COMMENT ON COLUMN orchestry.hold.created_by IS 'The session''s user, whatever role it had taken';
COMMENT ON COLUMN orchestry.hold.origin_system IS 'With origin_database, where relid is right; elsewhere the names are';
CREATE INDEX hold_active_idx ON orchestry.hold (relid) WHERE released_at IS NULL;
SELECT pg_extension_config_dump('orchestry.hold', '');
COMMENT ON SEQUENCE orchestry.hold_hold_id_seq IS 'Ids of holds';
SELECT pg_extension_config_dump('orchestry.hold_hold_id_seq', '');

CREATE VIEW orchestry._retention_settings AS
SELECT p.job_id, jsonb_strip_nulls(jsonb_build_object(
           'keep', COALESCE(to_jsonb(p.keep), to_jsonb(p.keep_keys)), 'time_column', p.time_column, 'where', p.predicate,
           'action', p.action, 'grace', p.grace, 'archive_to', p.archive_to, 'keep_last', p.keep_last,
           'keep_last_by', p.keep_last_by, 'batch_rows', p.batch_rows, 'key_unit', p.key_unit)) AS settings
FROM orchestry.retention_policy p;
COMMENT ON VIEW orchestry._retention_settings IS 'Retention policies with the names that alter_policy() takes. Internal.';

CREATE FUNCTION orchestry.add_retention_policy(relation regclass, keep interval, time_column name DEFAULT NULL,
    "where" text DEFAULT NULL, action text DEFAULT 'drop', grace interval DEFAULT '7 days', archive_to text DEFAULT NULL,
    keep_last integer DEFAULT NULL, keep_last_by name[] DEFAULT NULL, batch_rows integer DEFAULT 10000,
    schedule text DEFAULT '1 day', time_zone text DEFAULT NULL, key_unit text DEFAULT NULL) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_add_retention_policy_interval';
COMMENT ON FUNCTION orchestry.add_retention_policy(regclass, interval, name, text, text, interval, text, integer, name[], integer, text, text, text) IS
'Keeps the data of a partitioned table for keep: a partition that ends at or before now - keep is detached, waits in quarantine for grace and is then dropped (action drop) or kept (detach). reattach() brings it back until then. The newest partition always stays. The calendar runs in time_zone, by default that of the table''s partition policy, else UTC; key_unit (s, ms, us, ns) says what an integer key counts since 1970. Nothing is removed before the schedule''s next slot: see orchestry.plan(). Returns the job''s id. Only for the owner (42501); wrong settings are 22023, a second policy for the same is 42710. With "where", archive_to, keep_last, another time_column than the partition key, or for a table that is not partitioned, single rows are removed: those whose time_column lies before now - keep and that meet "where", one condition over the table''s columns, but for the newest keep_last rows of each group that keep_last_by makes. time_column is a timestamptz, a timestamp (read in time_zone), a date, a uuid of version 7 or a number of key_unit since 1970, which is guessed from the rows when it is not given. Rows go in batches, each committed alone: the first takes batch_rows, the others what takes orchestry.batch_target_time. archive_to names a table that they are moved to; it is made when it is not there. Where that is partitioned by the same column, and nothing but keep decides, partitions that are past their time move there as a whole, in one transaction each, unless something has to see the single rows or the two differ: orchestry.plan() says which. Whole partitions of the table do not go before their rows are there. archive_to => ''file:/directory'' writes them into CSV files on the server instead, batch_rows in each, in the order of their time; whole partitions, when nothing but keep is given, each into one file when it is in quarantine. A file is read back and compared before anything is removed, and gets its name after that: see orchestry.archive_files. The owner of the table needs pg_write_server_files (42501). A table can have several such policies. 55000 for a table that publishes deletes without a replica identity; 42703, 42804 for an archive that does not fit.';

CREATE FUNCTION orchestry.add_retention_policy(relation regclass, keep bigint, action text DEFAULT 'drop',
    grace interval DEFAULT '7 days', schedule text DEFAULT '1 day') RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_add_retention_policy_keys';
COMMENT ON FUNCTION orchestry.add_retention_policy(regclass, bigint, text, interval, text) IS
'Keeps the newest keep keys of a table that is partitioned by an integer: counted back from the last value of the sequence that feeds the column, or without one from the start of the last partition that has rows. Otherwise as the form for times.';

-- PostgreSQL cannot choose between an interval and a number for a literal such as '90 days' that has no type. It
-- prefers text then, so here is the form that takes it.
CREATE FUNCTION orchestry.add_retention_policy(relation regclass, keep text, time_column name DEFAULT NULL,
    "where" text DEFAULT NULL, action text DEFAULT 'drop', grace interval DEFAULT '7 days', archive_to text DEFAULT NULL,
    keep_last integer DEFAULT NULL, keep_last_by name[] DEFAULT NULL, batch_rows integer DEFAULT 10000,
    schedule text DEFAULT '1 day', time_zone text DEFAULT NULL, key_unit text DEFAULT NULL) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_add_retention_policy_text';
COMMENT ON FUNCTION orchestry.add_retention_policy(regclass, text, name, text, text, interval, text, integer, name[], integer, text, text, text) IS
'As the other two forms, for literals without a type: keep => ''90 days'' is an interval, keep => ''1000000'' a number of keys.';

CREATE FUNCTION orchestry.reattach(partition regclass) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_reattach';
COMMENT ON FUNCTION orchestry.reattach(regclass) IS
'Undoes a detach: a partition in quarantine gets its name and its place back, and a hold, so that the next run does not take it again: release_hold() lets it go. Returns the hold''s id. 55000 when it is not in quarantine, 42P07 when its name is taken, 42P17 when its range is. The caller must own the table, and its owner must be one who may act for that of the partition and of the DEFAULT partition (42501).';

CREATE FUNCTION orchestry.hold(relation regclass, reason text, "from" timestamptz DEFAULT NULL, "to" timestamptz DEFAULT NULL,
    "where" text DEFAULT NULL) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_hold';
COMMENT ON FUNCTION orchestry.hold(regclass, text, timestamptz, timestamptz, text) IS
'Holds a table and all below it, or only its rows of the times from "from" up to "to", or those that meet "where". The times are those of the partition keys, also of a number for which a policy has a key_unit, and of the column that a policy goes by; where the key is not of a type for times, those of any column of type timestamptz, timestamp or date. No job removes the rows, and while the library is loaded DROP, TRUNCATE, DETACH, NO INHERIT and DROP COLUMN are refused, with whatever cascades to them, and so is RENAME of a column that "where" reads; if it was renamed all the same, every row is held. Ends with release_hold(). Returns the hold''s id. "where" is one condition over the table''s columns (22023). 55P03 while somebody removes rows. The caller must own the table (42501).';

CREATE FUNCTION orchestry.release_hold(hold_id bigint, reason text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_release_hold';
COMMENT ON FUNCTION orchestry.release_hold(bigint, text) IS
'Ends a hold; who, when and why stays in orchestry.holds. 42704 when there is none, 55000 when it was released before, 55P03 while somebody removes rows. The caller must own the table (42501).';

CREATE FUNCTION orchestry._must_stay(relation regclass, from_at timestamptz, to_at timestamptz) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_must_stay';
COMMENT ON FUNCTION orchestry._must_stay(regclass, timestamptz, timestamptz) IS
'Whether rows of a table with times from from_at up to to_at (NULL: no limit) are under a hold, or changed since a rollup has read them: for whoever asks, also of tables of others. When who may delete rows of the table asks, outside of a trigger, nobody sets a hold before the transaction ends; 55P03 when somebody is about to. Internal.';
