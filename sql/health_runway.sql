-- The runway ends at the first gap, bounds at infinity are ends like others, and a gap is one that the policy fills.
SET client_min_messages = warning;
SET timezone = 'UTC';
SELECT pg_catalog.setval('orchestry.job_job_id_seq', 15001, false);
SET orchestry.now = '2026-03-10 12:00:00+00';
CREATE SCHEMA hr;
CREATE FUNCTION hr.seen_at(at timestamptz, only_code text DEFAULT '^(runway|partition_gap)$') RETURNS TABLE (severity text, code text, object text, detail text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('orchestry.now', at::text, false);
    RETURN QUERY SELECT h.severity, h.code, h.object, h.detail FROM orchestry.health() h WHERE h.code ~ only_code AND (h.object LIKE 'hr.%' OR h.severity = 'unknown') ORDER BY h.code, h.object, h.detail;
END $$;
CREATE VIEW hr.figure AS
SELECT labels ->> 'target' AS target, max(value) FILTER (WHERE name LIKE '%\_partitions') AS partitions, max(value) FILTER (WHERE name LIKE '%\_ahead') AS ahead,
       max(value) FILTER (WHERE name LIKE '%runway\_seconds') / 86400 AS days
FROM orchestry.metrics WHERE family = 'set' AND labels ->> 'target' LIKE 'hr.%' GROUP BY 1 ORDER BY 1;

-- one set of each kind, and no bound of one is in the way of the others
CREATE TABLE hr.plain (at timestamptz NOT NULL) PARTITION BY RANGE (at);
SELECT orchestry.add_partition_policy('hr.plain', interval '1 day', ahead => interval '8 days');
CREATE TABLE hr.far (at timestamptz NOT NULL) PARTITION BY RANGE (at);
SELECT orchestry.add_partition_policy('hr.far', interval '1 day', ahead => interval '8 days');
SELECT orchestry.create_partition('hr.far', '2026-06-10'::timestamptz);
CREATE TABLE hr.tail (at timestamptz NOT NULL) PARTITION BY RANGE (at);
SELECT orchestry.add_partition_policy('hr.tail', interval '1 day', ahead => interval '8 days');
CREATE TABLE hr.tail_end PARTITION OF hr.tail FOR VALUES FROM ('2100-01-01') TO ('infinity');
CREATE TABLE hr.endless (day date NOT NULL) PARTITION BY RANGE (day);
CREATE TABLE hr.endless_all PARTITION OF hr.endless FOR VALUES FROM ('-infinity') TO ('infinity');
SELECT orchestry.add_partition_policy('hr.endless', interval '1 day', ahead => interval '8 days');
CREATE TABLE hr.maxvalue (at timestamp NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE hr.maxvalue_all PARTITION OF hr.maxvalue FOR VALUES FROM (MINVALUE) TO (MAXVALUE);
SELECT orchestry.add_partition_policy('hr.maxvalue', interval '1 day', ahead => interval '8 days');
-- rows beside all times have partitions of their own
CREATE TABLE hr.beside (at timestamptz NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE hr.beside_never PARTITION OF hr.beside FOR VALUES FROM (MINVALUE) TO ('-infinity');
CREATE TABLE hr.beside_before PARTITION OF hr.beside FOR VALUES FROM ('-infinity') TO ('2026-03-10');
CREATE TABLE hr.beside_always PARTITION OF hr.beside FOR VALUES FROM ('infinity') TO (MAXVALUE);
SELECT orchestry.add_partition_policy('hr.beside', interval '1 day', ahead => interval '8 days');
SELECT orchestry.add_retention_policy('hr.beside', interval '30 days');
SELECT * FROM hr.figure;
-- what lies far ahead is no gap where it is more than a run would fill
SELECT * FROM hr.seen_at('2026-03-10 12:00Z');
SELECT * FROM hr.seen_at('2026-03-10 12:00Z', '^retention_drift$');
SELECT * FROM hr.seen_at('2026-03-11 00:30Z', '^runway$');
SELECT * FROM hr.seen_at('2026-03-17 12:00Z', '^runway$');
SELECT * FROM hr.seen_at('2026-03-24 12:00Z');
SELECT orchestry.partition_of('hr.far', '2026-03-24 12:00Z'::timestamptz);
SELECT * FROM hr.figure;
SELECT timeline FROM orchestry.timeline('hr.endless');
SELECT what, ok, detail FROM orchestry.verify('hr.far') WHERE what = 'runway';
SET orchestry.now = '2026-03-24 12:00:00+00';
CALL orchestry.run('hr.far');
CALL orchestry.run('hr.tail');
SELECT * FROM hr.seen_at('2026-03-24 12:00Z') WHERE object IN ('hr.far', 'hr.tail');
SELECT * FROM hr.figure WHERE target IN ('hr.far', 'hr.tail');

-- a table that has lost all its partitions
CREATE TABLE hr.bare (at timestamptz NOT NULL) PARTITION BY RANGE (at);
SELECT orchestry.add_partition_policy('hr.bare', interval '1 month') AS bare \gset
DO $$ BEGIN EXECUTE (SELECT format('DROP TABLE %s', string_agg(inhrelid::regclass::text, ', ')) FROM pg_inherits WHERE inhparent = 'hr.bare'::regclass); END $$;
SELECT * FROM hr.seen_at('2026-03-24 12:00Z') WHERE object = 'hr.bare';
SELECT * FROM hr.figure WHERE target = 'hr.bare';

-- numbers: a gap after the partition that takes rows of now
CREATE TABLE hr.numbers (id bigint GENERATED ALWAYS AS IDENTITY) PARTITION BY RANGE (id);
SELECT orchestry.add_partition_policy('hr.numbers', every => 100::bigint) AS numbers \gset
SELECT * FROM hr.figure WHERE target = 'hr.numbers';
DO $$ BEGIN EXECUTE (SELECT format('DROP TABLE %s', inhrelid::regclass) FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'hr.numbers'::regclass AND pg_get_expr(c.relpartbound, c.oid) LIKE '%(''100'')%(''200'')%'); END $$;
SELECT * FROM hr.figure WHERE target = 'hr.numbers';
SELECT * FROM hr.seen_at('2026-03-24 12:00Z') WHERE object = 'hr.numbers';
CALL orchestry.run('hr.numbers');
SELECT * FROM hr.seen_at('2026-03-24 12:00Z') WHERE object = 'hr.numbers';
CREATE TABLE hr.numbers_far PARTITION OF hr.numbers FOR VALUES FROM (1000000) TO (1000100);
SELECT * FROM hr.seen_at('2026-03-24 12:00Z') WHERE object = 'hr.numbers';

-- gaps that a retention policy or a hold has made stay; others are filled
SET orchestry.now = '2026-03-24 12:00:00+00';
CREATE TABLE hr.held (at timestamptz NOT NULL) PARTITION BY RANGE (at);
SELECT orchestry.add_partition_policy('hr.held', interval '1 day', ahead => interval '8 days', past => interval '9 days') AS held \gset
SELECT orchestry.add_retention_policy('hr.held', interval '3 days') AS keep \gset
SELECT orchestry.hold('hr.held', 'case 1', "from" => '2026-03-16 01:00Z', "to" => '2026-03-16 02:00Z') AS hold \gset
CALL orchestry.run('hr.held');
SELECT partition FROM orchestry.partitions WHERE parent = 'hr.held'::regclass AND phase = 'past' ORDER BY lower_at;
SELECT * FROM hr.seen_at('2026-03-24 12:00Z') WHERE object = 'hr.held';
SELECT what, ok, detail FROM orchestry.verify('hr.held') WHERE what = 'runway';
DROP TABLE hr.held_p20260323;
SELECT * FROM hr.seen_at('2026-03-24 12:00Z') WHERE object = 'hr.held';
SELECT orchestry.release_hold(:hold, 'done');

SELECT count(orchestry.remove_policy(job_id)) FROM orchestry.jobs WHERE target_schema = 'hr';
RESET orchestry.now;
DROP SCHEMA hr CASCADE;
