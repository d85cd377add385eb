-- The templates temporal and temporal_visibility: statuses are Temporal's own, times are UTC wherever the session is.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET TimeZone = 'Asia/Tokyo';
SET DateStyle = 'ISO, MDY';
SELECT setval('orchestry.job_job_id_seq', 8601, false);
SET orchestry.now = '2026-03-31 20:30Z';
SELECT orchestry.install_template('temporal', 'template_temporal'), orchestry.install_template('temporal_visibility', 'template_visibility');
SET search_path = template_visibility;
SELECT partition, lower_at AT TIME ZONE 'UTC' AS lower, upper_at AT TIME ZONE 'UTC' AS upper FROM orchestry.partitions WHERE parent = 'executions'::regclass ORDER BY 2;

-- Partitions: of the month and the next.
SELECT create_monthly_partition('2026-10-31 20:00Z');
SELECT create_monthly_partition('2026-10-31 20:00Z');
SELECT relname, pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname LIKE 'executions_2026_1%' AND relkind = 'r' ORDER BY 1;

-- 8 executions of each status, started a day and a half apart, closed half an hour to four hours later.
INSERT INTO executions (namespace_id, run_id, start_time, execution_time, workflow_id, workflow_type_name, status, close_time, task_queue, search_attributes)
SELECT 'ns', format('run %s', n), s.at, s.at, 'flow ' || n % 7, 'type ' || n % 2, s.status, CASE WHEN s.status NOT IN (1, 8) THEN s.at + (n / 8 + 1) * interval '30 min' END, 'queue',
       jsonb_build_object('CustomerId', n % 3)
FROM (SELECT n, n % 8 + 1 AS status, '2025-12-25'::timestamp + n * interval '36 hours' AS at FROM generate_series(0, 63) n) s;
INSERT INTO custom_search_attributes SELECT namespace_id, run_id, '{"x": 1}' FROM executions;
SELECT status, count(*), count(close_time) FROM executions GROUP BY 1 ORDER BY 1;
SET enable_seqscan = off;
SELECT count(*) FROM executions WHERE search_attributes @> '{"CustomerId": 2}';
RESET enable_seqscan;

-- A dashboard's numbers: completed is 2.
REFRESH MATERIALIZED VIEW CONCURRENTLY workflow_metrics;
SELECT count(*) = (SELECT count(DISTINCT (workflow_type_name, start_time::date)) FROM executions WHERE start_time >= (now() AT TIME ZONE 'UTC')::date - 30) AS groups FROM workflow_metrics;
BEGIN;
SELECT orchestry.create_partition('executions', now() AT TIME ZONE 'UTC') IS NOT NULL AS there;
INSERT INTO executions (namespace_id, run_id, start_time, execution_time, workflow_id, workflow_type_name, status, close_time)
SELECT 'now', format('%s of status %s', n, v.status), s.at, s.at, 'flow', 'type', v.status, s.at + v.seconds * interval '1 s'
FROM (VALUES (1, 1, NULL), (2, 5, 10), (3, 3, 20), (4, 2, 30), (5, 4, 40)) v(status, times, seconds), generate_series(1, v.times) n,
     LATERAL (SELECT date_trunc('day', now() AT TIME ZONE 'UTC')) s(at);
REFRESH MATERIALIZED VIEW workflow_metrics;
SELECT execution_date = (now() AT TIME ZONE 'UTC')::date AS today, total_executions, completed_executions, failed_executions, canceled_executions,
       avg_duration_seconds, median_duration_seconds, p95_duration_seconds FROM workflow_metrics WHERE namespace_id = 'now';
ROLLBACK;

-- What is old goes, with its attributes: all that is closed, at an instant that no session moves. The rest stays.
SELECT cleanup_old_executions(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT cleanup_old_executions(-1);
SELECT cleanup_old_executions(0);
SELECT count(*) FROM executions WHERE status NOT IN (1, 8) AND close_time < '2026-01-10 20:30';
SELECT cleanup_old_executions(80, '2026-03-31 20:30Z');
SELECT cleanup_old_executions(80, '2026-03-31 20:30Z');
SELECT status, count(*) FROM executions WHERE start_time < '2026-01-10' GROUP BY 1 ORDER BY 1;
SELECT count(*) FILTER (WHERE e.run_id IS NULL) AS lost, count(*) FILTER (WHERE a.run_id IS NULL) AS without
FROM executions e FULL JOIN custom_search_attributes a USING (namespace_id, run_id);
SELECT table_name, deleted_rows, retention_days FROM cleanup_log ORDER BY id;
UPDATE executions SET start_time = '2026-04-02' WHERE run_id = 'run 0'; -- moves, and keeps its attributes
SELECT count(*) FROM custom_search_attributes WHERE run_id = 'run 0';
-- By the policy as well, at the time.
SET orchestry.now = '2026-05-01 00:00Z';
CALL orchestry.run('executions');
SELECT count(*) FROM executions WHERE status NOT IN (1, 8) AND close_time < '2026-01-31 00:00';
SELECT count(*) FROM executions WHERE status NOT IN (1, 8) AND close_time >= '2026-01-31 00:00';
SELECT count(*) FROM executions WHERE status IN (1, 8);
SELECT count(*) = (SELECT count(*) FROM executions) AS attributes FROM custom_search_attributes;
-- Held attributes stay, whoever takes their executions.
SELECT orchestry.hold('custom_search_attributes', 'case 4') IS NOT NULL AS held;
SELECT cleanup_old_executions(80, '2026-05-10 20:30Z');
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM custom_search_attributes \gset before_
SET orchestry.now = '2026-05-10 00:00Z';
CALL orchestry.run('executions');
DELETE FROM executions WHERE run_id = 'run 63';
SELECT count(*) = :before_count AS all_there, count(*) > (SELECT count(*) FROM executions) AS without_execution FROM custom_search_attributes;
SELECT orchestry.release_hold(hold_id, 'closed') FROM orchestry.holds WHERE relation = 'custom_search_attributes'::regclass AND released_at IS NULL;
DELETE FROM custom_search_attributes a WHERE NOT EXISTS (SELECT FROM executions e WHERE (e.namespace_id, e.run_id) = (a.namespace_id, a.run_id));
SELECT cleanup_old_executions(80, '2026-05-11 20:30Z') > 0 AS gone;
SELECT count(*) = (SELECT count(*) FROM executions) AS attributes FROM custom_search_attributes;
SELECT orchestry.hold('executions', 'case 3') IS NOT NULL AS held;
SELECT cleanup_old_executions(80, '2026-05-31 20:30Z');
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.release_hold(hold_id, 'closed') FROM orchestry.holds WHERE relation = 'executions'::regclass AND released_at IS NULL;
SELECT cleanup_old_executions(1, '2026-05-31 20:30Z') > 0 AS gone;

-- The other store takes what a server writes.
SET search_path = template_temporal;
INSERT INTO executions VALUES (1, 'ns', 'flow', 'run', 2, 1, '\x01', 'Proto3', '\x02', 'Proto3');
INSERT INTO current_executions VALUES (1, 'ns', 'flow', 'run', 'request', 1, 1, 1, 1);
INSERT INTO history_tree VALUES (1, 'tree', 'branch', '\x01', 'Proto3');
INSERT INTO tasks VALUES (1, '\x01', 1, '\x01', 'Proto3');
INSERT INTO activity_info_maps VALUES (1, 'ns', 'flow', 'run', 1, '\x01', 'Proto3', '2026-03-31');
INSERT INTO timer_info_maps VALUES (1, 'ns', 'flow', 'run', 'timer', '\x01', 'Proto3');
INSERT INTO schema_migrations (version, checksum) VALUES ('1.20', 'x');
SELECT e.run_id, length(e.run_id) FROM executions e JOIN current_executions c USING (shard_id, namespace_id, workflow_id, run_id);

RESET search_path;
DROP SCHEMA template_temporal, template_visibility CASCADE;
