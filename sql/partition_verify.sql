-- verify_partitions(): nothing for tables that are as their policy says, whatever their key, and every fault by name.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
CREATE SCHEMA partition_verify;
SET search_path = partition_verify;
SET orchestry.now = '2026-03-10 12:30Z';

CREATE TABLE by_time (at timestamptz NOT NULL, app text, PRIMARY KEY (at)) PARTITION BY RANGE (at);
CREATE INDEX by_app ON by_time (app);
CREATE TABLE by_day (day date NOT NULL, note text) PARTITION BY RANGE (day);
CREATE TABLE by_id (id bigint PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE by_uuid (id uuid PRIMARY KEY) PARTITION BY RANGE (id);
SELECT orchestry.add_partition_policy('by_time', '1 day', ahead => '3 days') > 0 AS added, orchestry.add_partition_policy('by_day', '1 month', time_zone => 'Asia/Tokyo') > 0 AS added,
       orchestry.add_partition_policy('by_id', 1000) > 0 AS added, orchestry.add_partition_policy('by_uuid', '1 day') > 0 AS added;
SELECT t, v.* FROM unnest('{by_time,by_day,by_id,by_uuid}'::regclass[]) t, orchestry.verify_partitions(t) v;
-- Templates are as they should be; and partitions with partitions of their own.
BEGIN;
SELECT orchestry.install_template('control_plane', 'verify_cp'), orchestry.install_template('workflow_events', 'verify_wf');
SELECT t, v.* FROM unnest('{verify_cp.events,verify_cp.metrics_app,verify_wf.workflow_events}'::regclass[]) t, orchestry.verify_partitions(t) v;
ROLLBACK;
CREATE TABLE from_the_first (at timestamp) PARTITION BY RANGE (at);
CREATE TABLE all_past PARTITION OF from_the_first FOR VALUES FROM (MINVALUE) TO ('2026-03-12');
SELECT orchestry.add_partition_policy('from_the_first', '1 day', ahead => '1 day') > 0 AS added;
SELECT * FROM orchestry.verify_partitions('from_the_first');
CREATE TABLE deep (at timestamptz NOT NULL, n int) PARTITION BY RANGE (at);
CREATE TABLE deep_now PARTITION OF deep FOR VALUES FROM ('2026-03-10') TO ('2026-03-11') PARTITION BY LIST (n);
CREATE TABLE deep_1 PARTITION OF deep_now FOR VALUES IN (1);
CREATE TABLE deep_2 PARTITION OF deep_now FOR VALUES IN (2);
SELECT orchestry.add_partition_policy('deep', '1 day', ahead => '1 day') > 0 AS added;
SELECT * FROM orchestry.verify_partitions('deep');

-- An index of the table alone, one that is not valid, and one that a partition lost with its place.
CREATE INDEX half_made ON ONLY by_time (app, at);
CREATE INDEX ON by_time_p20260310 (app, at);
ALTER INDEX half_made ATTACH PARTITION by_time_p20260310_app_at_idx;
SELECT * FROM orchestry.verify_partitions('by_time');
DROP INDEX half_made;
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'by_time_p20260311_app_idx'::regclass;
SELECT * FROM orchestry.verify_partitions('by_time');
UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'by_time_p20260311_app_idx'::regclass;

-- No pruning.
SET enable_partition_pruning = off;
SELECT * FROM orchestry.verify_partitions('by_time');
SELECT * FROM orchestry.verify_partitions('by_id');
RESET enable_partition_pruning;

-- Partitions that are missing: the one of now, one to come, one whose name is taken.
DROP TABLE by_time_p20260310;
SELECT * FROM orchestry.verify_partitions('by_time');
CREATE TABLE by_time_default PARTITION OF by_time DEFAULT;
INSERT INTO by_time VALUES ('2026-03-10 12:00Z');
SELECT * FROM orchestry.verify_partitions('by_time');
TRUNCATE by_time_default;
CALL orchestry.run('by_time');
SELECT * FROM orchestry.verify_partitions('by_time');
CREATE TABLE by_time_p20260314 (id int);
SET orchestry.now = '2026-03-11 12:30Z';
SELECT * FROM orchestry.verify_partitions('by_time');
DROP TABLE by_time_p20260314;

-- Row security that binds the owner too hides nothing; functions of the owner's have the owner's rights.
ALTER TABLE by_time ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY none ON by_time USING (false);
CALL orchestry.run('by_time');
CREATE ROLE verify_owner;
CREATE FUNCTION tell() RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
    IF current_user <> 'verify_owner' THEN RAISE WARNING 'not planned as the owner'; END IF;
    RETURN 1;
END $$;
GRANT USAGE, CREATE ON SCHEMA partition_verify TO verify_owner;
ALTER TABLE by_time OWNER TO verify_owner;
SET client_min_messages = error; -- the superuser who makes an index plans it
CREATE INDEX ON by_time ((length(app) + tell()));
SET client_min_messages = warning;
SELECT * FROM orchestry.verify_partitions('by_time');

-- For the owner of a table with a policy.
\set VERBOSITY sqlstate
CREATE TABLE plain (at timestamptz);
CREATE TABLE without_policy (at timestamptz) PARTITION BY RANGE (at);
SELECT orchestry.verify_partitions('plain');
SELECT orchestry.verify_partitions('without_policy');
SELECT orchestry.verify_partitions(NULL);
SET ROLE verify_owner;
SELECT orchestry.verify_partitions('by_day');
RESET ROLE;

SELECT count(orchestry.remove_policy(job_id)::text) AS policies FROM orchestry.jobs WHERE target_schema = 'partition_verify';
RESET search_path;
DROP SCHEMA partition_verify CASCADE;
DROP ROLE verify_owner;
