-- Partitions of somebody for whom the owner of the set may not act: what is on them is not run with the rights of the owner.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET orchestry.now = '2026-03-15 12:00:00+00';
CREATE ROLE regress_partition_host SUPERUSER;
CREATE ROLE regress_partition_guest;
CREATE SCHEMA str;
GRANT USAGE, CREATE ON SCHEMA str TO regress_partition_guest;
SET search_path = str;
CREATE TABLE events (at timestamptz NOT NULL, v int) PARTITION BY RANGE (at);
CREATE TABLE events_default PARTITION OF events DEFAULT;
INSERT INTO events VALUES ('2026-03-02', 1);
ALTER TABLE events OWNER TO regress_partition_host;
ALTER TABLE events_default OWNER TO regress_partition_guest;
CREATE SEQUENCE run_by_others;
GRANT USAGE ON SEQUENCE run_by_others TO regress_partition_guest;
-- planning a query works out the expression of an index, and ATTACH the conditions of the default partition
SET ROLE regress_partition_guest;
CREATE FUNCTION str.trap(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    IF current_user <> 'regress_partition_guest' THEN
        PERFORM nextval('str.run_by_others');
    END IF;
    RETURN i;
END $$;
CREATE INDEX ON str.events_default ((str.trap(1) + v));
ALTER TABLE str.events_default ADD CHECK (str.trap(1) = 1);
RESET ROLE;

-- each in a session of its own, which knows nothing of the index yet
\c -
SET TimeZone = 'UTC';
SET orchestry.now = '2026-03-15 12:00:00+00';
SELECT setval('orchestry.job_job_id_seq', 28001, false);
SELECT orchestry.add_partition_policy('str.events', '1 month', '1 month') AS job;
\c -
SET TimeZone = 'UTC';
SET orchestry.now = '2026-03-15 12:00:00+00';
SELECT action, object, blocked_by FROM orchestry.plan('str.events') WHERE action <> 'analyze';
\c -
SET TimeZone = 'UTC';
SET orchestry.now = '2026-03-15 12:00:00+00';
CALL orchestry.run('str.events');
\c -
SET TimeZone = 'UTC';
SET orchestry.now = '2026-03-15 12:00:00+00';
SELECT orchestry.create_partition('str.events', '2026-06-20');
\c -
SET TimeZone = 'UTC';
SET orchestry.now = '2026-03-15 12:00:00+00';
SELECT object, state, reason FROM orchestry.explain('str.events');
\c -
SET TimeZone = 'UTC';
SET orchestry.now = '2026-03-15 12:00:00+00';
CALL orchestry.promote_default('str.events');
SELECT is_called AS "run with other rights" FROM str.run_by_others;
-- given back, it is as any other
ALTER TABLE str.events_default OWNER TO regress_partition_host;
CALL orchestry.promote_default('str.events');
CALL orchestry.run('str.events');
SELECT partition, phase FROM orchestry.partitions WHERE parent = 'str.events'::regclass ORDER BY lower_at;

-- a query for one partition is planned by verify() only where all of the set is the owner's
ALTER TABLE str.events_p202603 OWNER TO regress_partition_guest;
ALTER SEQUENCE str.run_by_others RESTART; -- what was given back was read
\c -
SET TimeZone = 'UTC';
SET orchestry.now = '2026-03-15 12:00:00+00';
SELECT what, ok, detail FROM orchestry.verify('str.events') WHERE what IN ('insertable', 'prunes');
SELECT is_called AS "run with other rights" FROM str.run_by_others;

-- a part of the default partition
CREATE TABLE str.deep (at timestamptz NOT NULL, v int) PARTITION BY RANGE (at);
CREATE TABLE str.deep_default PARTITION OF str.deep DEFAULT PARTITION BY LIST (v);
CREATE TABLE str.deep_default_1 PARTITION OF str.deep_default FOR VALUES IN (1);
ALTER TABLE str.deep OWNER TO regress_partition_host;
ALTER TABLE str.deep_default OWNER TO regress_partition_host;
ALTER TABLE str.deep_default_1 OWNER TO regress_partition_guest;
SET client_min_messages = error;
SELECT orchestry.add_partition_policy('str.deep', '1 month', '1 month') AS job;
SELECT DISTINCT blocked_by FROM orchestry.plan('str.deep') WHERE action <> 'analyze';

-- what is read whole is not read by jobs either, nor when a part has become another's since
SET ROLE regress_partition_host;
CREATE TABLE str.log (at timestamptz NOT NULL, app text, v float8) PARTITION BY RANGE (at);
CREATE TABLE str.log_1 PARTITION OF str.log FOR VALUES FROM ('2026-01-01') TO ('2026-03-01');
CREATE TABLE str.log_2 PARTITION OF str.log FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');
CREATE TABLE str.gauge (LIKE str.log) PARTITION BY RANGE (at);
CREATE TABLE str.gauge_1 PARTITION OF str.gauge FOR VALUES FROM ('2026-01-01') TO ('2026-04-01');
RESET ROLE;
INSERT INTO str.log SELECT '2026-01-01'::timestamptz + i * interval '1 hour', 'a', i FROM generate_series(1, 100) i;
INSERT INTO str.gauge SELECT * FROM str.log;
ALTER TABLE str.log_2 OWNER TO regress_partition_guest;
ALTER TABLE str.gauge_1 OWNER TO regress_partition_guest;
SELECT orchestry.create_rollup('str.hourly', 'str.gauge', 'at', 'v', '1 hour');
ALTER TABLE str.log_2 OWNER TO regress_partition_host;
ALTER TABLE str.gauge_1 OWNER TO regress_partition_host;
SELECT orchestry.add_event_compression_policy('str.log', older_than => '1 day', time_column => 'at', group_by => '{app}') AS job;
SELECT orchestry.create_rollup('str.hourly', 'str.gauge', 'at', 'v', '1 hour') AS job;
ALTER TABLE str.log_2 OWNER TO regress_partition_guest;
ALTER TABLE str.gauge_1 OWNER TO regress_partition_guest;
SET ROLE regress_partition_guest;
CREATE INDEX ON str.log_2 ((str.trap(1) + v));
CREATE INDEX ON str.gauge_1 ((str.trap(1) + v));
RESET ROLE;
\c -
SET TimeZone = 'UTC';
SET orchestry.now = '2026-03-15 12:00:00+00';
CALL orchestry.run('str.log');
CALL orchestry.run('str.gauge');
SELECT * FROM orchestry.verify_rollup('str.hourly');
SELECT ok, detail FROM orchestry.verify('str.gauge') WHERE what = 'rollup';
SELECT is_called AS "run with other rights" FROM str.run_by_others;
ALTER TABLE str.log_2 OWNER TO regress_partition_host;
ALTER TABLE str.gauge_1 OWNER TO regress_partition_host;
CALL orchestry.run('str.log');
CALL orchestry.run('str.gauge');
SELECT * FROM orchestry.verify_rollup('str.hourly');
SELECT count(*) AS rows, (SELECT sum(data_points) FROM str.hourly) AS points FROM str.log;
SET client_min_messages = error;

-- what comes back from quarantine
SET ROLE regress_partition_host;
CREATE TABLE str.kept (at timestamptz NOT NULL, v int) PARTITION BY RANGE (at);
CREATE TABLE str.kept_old PARTITION OF str.kept FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE str.kept_new PARTITION OF str.kept FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');
RESET ROLE;
SELECT orchestry.add_retention_policy('str.kept', '32 days', action => 'detach') AS job;
CALL orchestry.run('str.kept');
SELECT name FROM (SELECT partition::text AS name FROM orchestry.quarantine WHERE parent = 'str.kept'::regclass) q \gset
CREATE TABLE str.kept_default PARTITION OF str.kept DEFAULT; -- as another role than that of the table
ALTER TABLE str.kept_default OWNER TO regress_partition_guest;
SELECT orchestry.reattach(:'name');
ALTER TABLE str.kept_default OWNER TO regress_partition_host;
ALTER TABLE :name OWNER TO regress_partition_guest;
\set VERBOSITY sqlstate
SELECT orchestry.reattach(:'name');
\set VERBOSITY default
ALTER TABLE :name OWNER TO regress_partition_host;
SELECT orchestry.reattach(:'name') IS NOT NULL AS back;

SELECT count(orchestry.release_hold(hold_id, 'test')) FROM orchestry.holds WHERE relation::text LIKE 'str.%' AND released_at IS NULL;
SELECT count(orchestry.remove_policy(job_id)) FROM orchestry.jobs WHERE target_schema = 'str';
SET client_min_messages = warning;
DROP SCHEMA str CASCADE;
DROP ROLE regress_partition_guest, regress_partition_host;
