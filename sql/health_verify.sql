-- verify(): what holds for a table with policies, and what does not any more.
SET client_min_messages = warning;
SET timezone = 'UTC';
SELECT pg_catalog.setval('orchestry.job_job_id_seq', 9101, false);
SET orchestry.now = '2026-03-10 12:00:00+00';
CREATE SCHEMA vf;
SET search_path = vf;

-- all is well
CREATE TABLE events (at timestamptz NOT NULL, app text, message text) PARTITION BY RANGE (at);
CREATE INDEX ON events (app);
SELECT orchestry.add_partition_policy('events', '1 day', ahead => '8 days', past => '3 days');
SELECT orchestry.add_retention_policy('events', '30 days');
SELECT * FROM orchestry.verify('events');

-- an index that one partition lacks, rows that go to the default partition, a planner that does not prune
DROP INDEX events_app_idx;
CREATE INDEX events_app ON ONLY events (app);
DROP TABLE events_p20260310;
SELECT * FROM orchestry.verify('events') WHERE NOT ok;
CREATE TABLE events_rest PARTITION OF events DEFAULT;
SELECT * FROM orchestry.verify('events') WHERE what IN ('insertable', 'prunes');
DROP TABLE events_rest;
CALL orchestry.run_job(9101);
SET enable_partition_pruning = off;
SELECT * FROM orchestry.verify('events') WHERE what IN ('insertable', 'prunes');
RESET enable_partition_pruning;

-- a partition of which only somebody else could tell
CREATE FOREIGN DATA WRAPPER vf_nobody;
CREATE SERVER vf_nowhere FOREIGN DATA WRAPPER vf_nobody;
CREATE TABLE afar (at timestamptz NOT NULL) PARTITION BY RANGE (at);
CREATE FOREIGN TABLE afar_today PARTITION OF afar FOR VALUES FROM ('2026-03-10') TO ('2026-03-11') SERVER vf_nowhere;
SELECT orchestry.add_partition_policy('afar', '1 day') AS afar \gset
SELECT what, ok, detail FROM orchestry.verify('afar');
SELECT orchestry.remove_policy(:afar);
DROP TABLE afar;
DROP FOREIGN DATA WRAPPER vf_nobody CASCADE;
SELECT pg_catalog.setval('orchestry.job_job_id_seq', 9103, false);

-- jobs that do not go, and what comes of it
SELECT orchestry.pause_job(9102, 'for a while');
SET orchestry.now = '2026-04-20 12:00:00+00';
UPDATE orchestry.job_state SET failures = 2 WHERE job_id = 9101;
SELECT * FROM orchestry.verify('events');
SELECT orchestry.resume_job(9101);
CALL orchestry.run_job(9101);
SELECT job_id, what, ok FROM orchestry.verify('events') WHERE NOT ok;
SET orchestry.now = '2026-03-10 12:00:00+00';

-- other keys
CREATE TABLE numbers (id bigint GENERATED ALWAYS AS IDENTITY) PARTITION BY RANGE (id);
SELECT orchestry.add_partition_policy('numbers', every => 100::bigint);
SELECT * FROM orchestry.verify('numbers');
CREATE TABLE days (day date NOT NULL) PARTITION BY RANGE (day);
SELECT orchestry.add_partition_policy('days', '1 month', time_zone => 'Asia/Tokyo');
SELECT what, ok, detail FROM orchestry.verify('days') WHERE job_id IS NULL;
CREATE TABLE clicks (ms bigint NOT NULL) PARTITION BY RANGE (ms);
SELECT orchestry.add_partition_policy('clicks', '1 day', key_unit => 'ms');
SELECT what, ok, detail FROM orchestry.verify('clicks') WHERE job_id IS NULL;
-- a partition that is partitioned itself counts with what is below it
CREATE TABLE deep (at timestamptz NOT NULL, app text) PARTITION BY RANGE (at);
CREATE TABLE deep_now PARTITION OF deep FOR VALUES FROM ('2026-03-10') TO ('2026-03-11') PARTITION BY LIST (app);
CREATE TABLE deep_now_a PARTITION OF deep_now FOR VALUES IN ('a');
CREATE TABLE deep_now_b PARTITION OF deep_now FOR VALUES IN ('b');
SELECT orchestry.add_retention_policy('deep', '30 days');
SELECT what, ok, detail FROM orchestry.verify('deep');

-- what is removed otherwise than as whole partitions by their time, as the plan of two days ago has it
CREATE TABLE visits (at timestamptz NOT NULL, page text);
SELECT orchestry.add_retention_policy('visits', interval '30 days', 'at') AS visits \gset
INSERT INTO visits VALUES ('2026-02-07', 'a');
SELECT what, ok, detail FROM orchestry.verify('visits');
INSERT INTO visits VALUES ('2026-02-06', 'b');
SELECT what, ok, detail FROM orchestry.verify('visits');
CALL orchestry.run_job(:visits);
SELECT what, ok, detail FROM orchestry.verify('visits');
ALTER TABLE visits DROP COLUMN at;
SELECT what, ok, detail FROM orchestry.verify('visits');
CREATE TABLE ids (id bigint NOT NULL) PARTITION BY RANGE (id);
CREATE TABLE ids_0 PARTITION OF ids FOR VALUES FROM (0) TO (100);
CREATE TABLE ids_1 PARTITION OF ids FOR VALUES FROM (100) TO (200);
CREATE TABLE ids_2 PARTITION OF ids FOR VALUES FROM (200) TO (300);
INSERT INTO ids VALUES (50), (250);
SELECT orchestry.add_retention_policy('ids', 100::bigint) AS ids \gset
SELECT what, ok, detail FROM orchestry.verify('ids') WHERE job_id IS NOT NULL;
UPDATE orchestry.job SET anchor = anchor - interval '3 days' WHERE job_id = :ids; -- of a job that has not gone well since
SELECT what, ok, detail FROM orchestry.verify('ids') WHERE job_id IS NOT NULL;
CALL orchestry.run_job(:ids);
SELECT what, ok, detail FROM orchestry.verify('ids') WHERE job_id IS NOT NULL;

-- events and rollups
CREATE TABLE log (at timestamptz NOT NULL, app text, v float8);
SELECT orchestry.add_event_compression_policy('log', older_than => '1 day', time_column => 'at', group_by => '{app}');
CREATE TABLE gauge (at timestamptz NOT NULL, v float8);
SELECT orchestry.create_rollup('hourly', 'gauge', 'at', 'v', '1 hour') AS rollup \gset
INSERT INTO gauge SELECT '2026-03-10 00:00Z'::timestamptz + i * interval '1 minute', i FROM generate_series(0, 599) i;
CALL orchestry.run_job(:rollup);
SELECT what, ok, detail FROM orchestry.verify('log');
SELECT what, ok, detail FROM orchestry.verify('gauge');
UPDATE hourly_buckets SET data_points = 1 WHERE bucket = '2026-03-10 03:00Z';
SELECT what, ok, detail FROM orchestry.verify('gauge') WHERE NOT ok;
ALTER VIEW hourly RENAME TO other;
SELECT what, ok, detail FROM orchestry.verify('gauge') WHERE NOT ok;
ALTER VIEW other RENAME TO hourly;

-- errors
CREATE TABLE plain (a int);
SELECT * FROM orchestry.verify('plain');
SELECT * FROM orchestry.verify(NULL);
SELECT * FROM orchestry.verify(0);
CREATE ROLE regress_vf;
SELECT 'events'::regclass::oid AS events \gset
SET ROLE regress_vf;
SELECT * FROM orchestry.verify(:events);
RESET ROLE;
DROP ROLE regress_vf;

SELECT orchestry.drop_rollup('hourly');
SELECT count(orchestry.remove_policy(job_id)) > 0 AS removed FROM orchestry.jobs WHERE target_schema = 'vf';
RESET search_path;
DROP SCHEMA vf CASCADE;
