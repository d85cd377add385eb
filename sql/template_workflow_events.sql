-- The template workflow_events: partitions, by policy and by its functions, under any time zone; queries; what is old.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SELECT setval('orchestry.job_job_id_seq', 8401, false);
SET orchestry.now = '2026-03-10 12:30Z';
CREATE ROLE template_reader;
SELECT orchestry.install_template('workflow_events', 'template_wf');
SET search_path = template_wf;

-- Two months back, the present, three ahead, each with all indexes.
CREATE VIEW parts AS
SELECT c.relname AS partition, pg_get_expr(c.relpartbound, c.oid) AS bounds,
       (SELECT count(*) FROM pg_index i WHERE i.indrelid = c.oid AND i.indisvalid) AS indexes, c.relrowsecurity AS row_security
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'workflow_events'::regclass ORDER BY c.relname;
TABLE parts;

-- Made by hand: a date, what the documentation of the original says, a literal. Bounds are those of UTC, wherever one is.
SET TimeZone = 'America/Los_Angeles';
SET DateStyle = 'German';
SELECT create_workflow_events_partition('2026-08-01'::date);
SELECT create_workflow_events_partition('2026-06-30'::date + interval '1 month');
SELECT create_workflow_events_partition('31.12.2026 23:30');
SET DateStyle = 'ISO, MDY';
SET TimeZone = 'Asia/Tokyo';
SELECT create_workflow_events_partition('2026-09-01'::date);
SELECT create_workflow_events_partition('2026-09-30'::date); -- is there
SELECT create_workflow_events_partition('infinity');
SELECT create_workflow_events_partition(NULL);
SET TimeZone = 'UTC';
ALTER TABLE workflow_events ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON workflow_events USING (payload ->> 'owner' = current_user);
GRANT USAGE ON SCHEMA template_wf TO template_reader;
GRANT SELECT ON workflow_events TO template_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA template_wf GRANT SELECT ON TABLES TO template_reader;
SELECT create_workflow_events_partition('2026-11-01');

-- Three months later, and again, and four months after that: no hole, no error.
SELECT maintain_workflow_events_partitions('2026-06-30 23:59Z');
SELECT maintain_workflow_events_partitions('2026-06-30 23:59Z');
SELECT maintain_workflow_events_partitions('2026-10-01 00:00Z');
SELECT maintain_workflow_events_partitions('2026-11-01 00:00Z');
TABLE parts;
-- What the policy of the extension adds to that at the time, and its own names are the same.
SET orchestry.now = '2026-12-15 00:00Z';
CALL orchestry.run('workflow_events');
SELECT partition FROM parts WHERE partition > 'workflow_events_y2027m01';
SET orchestry.now = '2026-03-10 12:30Z';

-- One that covers the time already, whatever its name and width; one whose name is taken.
CREATE TABLE quarter PARTITION OF workflow_events FOR VALUES FROM ('2028-01-01') TO ('2028-04-01');
SELECT indexes FROM parts WHERE partition = 'quarter';
SELECT create_workflow_events_partition('2028-02-01');
CREATE TABLE workflow_events_y2028m05 (id int);
SELECT create_workflow_events_partition('2028-05-01');
SELECT maintain_workflow_events_partitions('2028-01-10Z');
DROP TABLE workflow_events_y2028m05, quarter;

-- The tables that a query reads, by its plan.
CREATE FUNCTION read_by(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    plan jsonb;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT JSON) ' || query INTO plan;
    RETURN QUERY SELECT DISTINCT r #>> '{}' FROM jsonb_path_query(plan, 'strict $.**."Relation Name"') r ORDER BY 1;
END
$$;

-- Rows.
INSERT INTO workflow_runs (id) SELECT md5(i::text)::uuid FROM generate_series(1, 3) i;
INSERT INTO workflow_events (run_id, ts, type, payload)
SELECT md5((i % 3 + 1)::text)::uuid, '2026-01-01Z'::timestamptz + i * interval '1 day', CASE i % 2 WHEN 0 THEN 'started' ELSE 'done' END,
       jsonb_build_object('n', i, 'owner', CASE i % 5 WHEN 0 THEN 'template_reader' ELSE 'other' END)
FROM generate_series(0, 150) i;
\set VERBOSITY sqlstate
INSERT INTO workflow_events (id, run_id, type, payload) VALUES (1, md5('1')::uuid, 'again', '{}'); -- ids are never given twice
INSERT INTO workflow_events (run_id, ts, type, payload) VALUES (md5('4')::uuid, '2026-02-01Z', 'lost', '{}'); -- of no run
\set VERBOSITY default
SELECT ts, type, payload ->> 'n' AS n FROM get_workflow_run_events(md5('1')::uuid, '2026-02-20Z', '2026-03-10Z');
SELECT count(*), count(DISTINCT id), min(ts), max(ts) FROM get_workflow_run_events(md5('2')::uuid);
SELECT count(*) FROM get_workflow_run_events(md5('2')::uuid, to_at => '2026-02-01Z');
SELECT read_by($$SELECT * FROM get_workflow_run_events(md5('1')::uuid, '2026-02-20Z', '2026-03-10Z')$$);
PREPARE events_of(uuid, timestamptz, timestamptz) AS SELECT * FROM get_workflow_run_events($1, $2, $3);
SET plan_cache_mode = force_generic_plan;
SELECT read_by($$EXECUTE events_of(md5('1')::uuid, NULL, '2026-02-10Z')$$);
RESET plan_cache_mode;
ANALYZE workflow_events;
SELECT partition_name, row_count_estimate, size <> '' AS has_size FROM workflow_events_partition_info WHERE partition_name < 'workflow_events_y2026m04' ORDER BY 1;
SELECT partition_name, from_at, to_at, row_count, size_bytes > 0 AS has_size, size_pretty = pg_size_pretty(size_bytes) AS pretty
FROM get_workflow_events_partition_stats() WHERE row_count > 0;
SELECT sum(row_count) FROM get_workflow_events_partition_stats();
-- Row security holds for partitions as well, made by whomever.
SET ROLE template_reader;
SELECT count(*) FROM workflow_events;
SELECT count(*) FROM workflow_events_y2026m11;
RESET ROLE;
SELECT partition, row_security FROM parts WHERE partition IN ('workflow_events_y2026m11', 'workflow_events_y2027m03'); -- by hand, by policy
-- Events go with their run.
DELETE FROM workflow_runs WHERE id = md5('3')::uuid;
SELECT count(*) FROM workflow_events;

-- What is old. Other tables with such names are not touched; what is held stays.
CREATE TABLE workflow_events_y0_archive (LIKE workflow_events INCLUDING ALL);
CREATE TABLE workflow_events_y2019m01 (LIKE workflow_events INCLUDING ALL);
SELECT drop_old_workflow_events_partitions(0);
\echo :LAST_ERROR_SQLSTATE
SELECT drop_old_workflow_events_partitions(-1);
SELECT drop_old_workflow_events_partitions(NULL);
SELECT drop_old_workflow_events_partitions(as_of => '2026-12-31Z');
SELECT orchestry.hold('workflow_events', 'case 1', '2026-02-10Z', '2026-02-12Z') IS NOT NULL AS held;
RESET client_min_messages;
SELECT drop_old_workflow_events_partitions(1, '2026-04-30 23:59Z');
SELECT partition FROM parts WHERE partition < 'workflow_events_y2026m05';
SELECT orchestry.release_hold(hold_id, 'closed') FROM orchestry.holds WHERE relation = 'workflow_events'::regclass AND released_at IS NULL;
SELECT drop_old_workflow_events_partitions(1, '2026-04-30 23:59Z');
SELECT partition FROM parts WHERE partition < 'workflow_events_y2026m05';
SELECT count(*) FROM pg_class WHERE oid IN ('workflow_events_y0_archive'::regclass, 'workflow_events_y2019m01'::regclass);

RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA template_wf CASCADE;
DROP ROLE template_reader;
