-- Sets that were made by hand: partitions of any name and width are taken by their bounds.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET IntervalStyle = 'postgres';
SET orchestry.now = '2026-03-15 12:00:00+00';
CREATE SCHEMA adopt;
SET search_path = adopt;
CREATE FUNCTION steps(target regclass) RETURNS TABLE (action text, object text, reason text, range text, blocked_by text) LANGUAGE sql AS $$
SELECT action, object, reason, substring(sql FROM 'FOR VALUES (.*);'), blocked_by FROM orchestry.plan(target) ORDER BY seq $$;

-- months, then a half one, then a gap, then nothing: the bridge, the gap and the runway
CREATE TABLE months (at timestamptz) PARTITION BY RANGE (at);
CREATE TABLE jan PARTITION OF months FOR VALUES FROM ('2025-10-01 00:00Z') TO ('2025-11-01 00:00Z');
CREATE TABLE "Weird ""name""" PARTITION OF months FOR VALUES FROM ('2025-11-01 00:00Z') TO ('2025-11-15 07:30Z');
CREATE TABLE months_p202603 PARTITION OF months FOR VALUES FROM ('2026-02-01 00:00Z') TO ('2026-03-10 00:00Z');
SELECT orchestry.add_partition_policy('months', '1 month', '1 month') IS NOT NULL AS added;
SELECT * FROM orchestry.timeline('months');
SELECT object, state, reason, next_action, next_at FROM orchestry.explain('months');
SELECT * FROM steps('months');
CALL orchestry.run('months');
SELECT * FROM steps('months');
SELECT * FROM orchestry.timeline('months');
SELECT object, state, reason, next_action, next_at FROM orchestry.explain('months');
-- what is missing is found again, however it went missing
DROP TABLE months_p202512;
ALTER TABLE months DETACH PARTITION months_p202604;
CALL orchestry.run('months');
SELECT state, message, detail FROM orchestry.runs WHERE target = 'adopt.months' ORDER BY run_id DESC LIMIT 1;
SELECT * FROM steps('months');
ALTER TABLE months_p202604 RENAME TO kept;
CALL orchestry.run('months');
SELECT * FROM steps('months');

-- weeks from Sunday go on from Sunday; hours from half past go on from half past
CREATE TABLE weeks (day date) PARTITION BY RANGE (day);
CREATE TABLE w1 PARTITION OF weeks FOR VALUES FROM ('2026-03-01') TO ('2026-03-08');
SELECT orchestry.add_partition_policy('weeks', '7 days', '7 days') IS NOT NULL AS added;
SELECT partition, bound FROM orchestry.partitions WHERE parent = 'weeks'::regclass;
CREATE TABLE hours (at timestamp) PARTITION BY RANGE (at);
CREATE TABLE h1 PARTITION OF hours FOR VALUES FROM ('2026-03-15 11:30') TO ('2026-03-15 12:30');
SELECT orchestry.add_partition_policy('hours', '1 hour', '1 hour') IS NOT NULL AS added;
SELECT partition, bound FROM orchestry.partitions WHERE parent = 'hours'::regclass;
-- ids from 1 go on from 1
CREATE TABLE ids (id bigint) PARTITION BY RANGE (id);
CREATE TABLE ids1 PARTITION OF ids FOR VALUES FROM (1) TO (101);
INSERT INTO ids VALUES (100);
SELECT orchestry.add_partition_policy('ids', 100, 100) IS NOT NULL AS added;
SELECT partition, bound FROM orchestry.partitions WHERE parent = 'ids'::regclass;

-- MINVALUE and MAXVALUE are understood and left alone
CREATE TABLE ends (at timestamptz) PARTITION BY RANGE (at);
CREATE TABLE first PARTITION OF ends FOR VALUES FROM (MINVALUE) TO ('2026-02-20 00:00Z');
CREATE TABLE last PARTITION OF ends FOR VALUES FROM ('2026-04-10 00:00Z') TO (MAXVALUE);
SELECT orchestry.add_partition_policy('ends', '1 month', '1 year', '1 year') IS NOT NULL AS added;
SELECT * FROM steps('ends');
SELECT * FROM orchestry.timeline('ends');
SELECT lower_at, upper_at, bound, phase FROM orchestry.partitions WHERE parent = 'ends'::regclass;
CALL orchestry.run('ends');
SELECT state FROM orchestry.runs WHERE target = 'adopt.ends' ORDER BY run_id DESC LIMIT 1;

-- a gap of thousands is told and not filled; a row far in the future draws nothing to itself
CREATE TABLE far (at timestamptz) PARTITION BY RANGE (at);
CREATE TABLE far_past PARTITION OF far FOR VALUES FROM ('1970-01-01 00:00Z') TO ('1970-01-02 00:00Z');
CREATE TABLE far_future PARTITION OF far FOR VALUES FROM ('2097-01-01 00:00Z') TO ('2097-01-02 00:00Z');
INSERT INTO far VALUES ('2097-01-01 10:00Z');
SELECT orchestry.add_partition_policy('far', '1 day', '1 day') IS NOT NULL AS added;
SELECT * FROM steps('far');
SELECT * FROM orchestry.timeline('far');

-- partitions that are partitioned themselves are left as they are
CREATE TABLE levels (at timestamptz, kind text) PARTITION BY RANGE (at);
CREATE TABLE levels_now PARTITION OF levels FOR VALUES FROM ('2026-03-01 00:00Z') TO ('2026-04-01 00:00Z') PARTITION BY LIST (kind);
CREATE TABLE levels_now_a PARTITION OF levels_now FOR VALUES IN ('a');
SELECT orchestry.add_partition_policy('levels', '1 month', '1 month') IS NOT NULL AS added;
SELECT relname, relkind FROM pg_class WHERE oid IN (SELECT relid FROM pg_partition_tree('levels')) ORDER BY 1;

-- uuids whose bounds have more in them than a time: the neighbour repeats them to the letter
CREATE TABLE uuids (id uuid) PARTITION BY RANGE (id);
CREATE TABLE uuids_march PARTITION OF uuids FOR VALUES FROM ('019ca6b1-dc00-7000-8000-000000000000') TO ('019d4657-0000-7000-8000-000000000000');
SELECT orchestry.add_partition_policy('uuids', '1 month', '1 month') IS NOT NULL AS added;
SELECT partition, bound, lower_at, upper_at FROM orchestry.partitions WHERE parent = 'uuids'::regclass;

-- integer keys: the sequence says where they are; without one, the last partition that has a row does
CREATE TABLE counted (id bigint GENERATED ALWAYS AS IDENTITY) PARTITION BY RANGE (id);
SELECT orchestry.add_partition_policy('counted', 10, 10) IS NOT NULL AS added;
INSERT INTO counted SELECT FROM generate_series(1, 15);
CALL orchestry.run('counted');
SELECT partition, phase FROM orchestry.partitions WHERE parent = 'counted'::regclass;
CREATE SEQUENCE numbers;
CREATE TABLE by_default (id int DEFAULT nextval('numbers')) PARTITION BY RANGE (id);
SELECT setval('numbers', 2147483640);
SELECT orchestry.add_partition_policy('by_default', 1000000000) IS NOT NULL AS added;
SELECT partition, bound, phase FROM orchestry.partitions WHERE parent = 'by_default'::regclass;
CREATE TABLE uncounted (id int) PARTITION BY RANGE (id);
SELECT orchestry.add_partition_policy('uncounted', 10, 10) IS NOT NULL AS added;
INSERT INTO uncounted VALUES (12);
CALL orchestry.run('uncounted');
SELECT partition, phase FROM orchestry.partitions WHERE parent = 'uncounted'::regclass;
SELECT * FROM orchestry.timeline('uncounted');

SELECT orchestry.remove_policy(job_id) FROM orchestry.jobs WHERE target_schema = 'adopt';
SET client_min_messages = warning;
RESET search_path;
DROP SCHEMA adopt CASCADE;
