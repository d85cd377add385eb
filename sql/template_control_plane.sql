-- The template control_plane: its functions, and what the original lost, refused or got wrong.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET TimeZone = 'Asia/Tokyo';
SET DateStyle = 'ISO, MDY';
SELECT setval('orchestry.job_job_id_seq', 8501, false);
SET orchestry.now = '2026-03-31 12:30Z';
SELECT orchestry.install_template('control_plane', 'template_cp');
SET search_path = template_cp;

INSERT INTO applications (name, spec, status, mode, created_at, updated_at)
SELECT v.name, jsonb_build_object('spec', jsonb_build_object('image', 'nginx:' || v.name)), v.status, 'auto', '2026-03-01Z', '2026-03-01Z'
FROM (VALUES ('a', 'running'), ('b', 'stopped'), ('c', 'running')) v(name, status);
INSERT INTO instances (app_name, container_id, container_name, replica_index, ip, port, status, health_status, consecutive_failures, cpu_percent,
                       memory_percent, last_health_check, created_at, updated_at)
SELECT 'a', 'container ' || n, 'a ' || n, n, '10.0.0.1'::inet + n, 8000 + n, v.status, v.health, v.failures, v.cpu, v.cpu / 2, '2026-03-31 12:00Z', '2026-03-01Z', v.at
FROM (VALUES (2, 'running', 'healthy', 0, 10.0, '2026-03-01Z'::timestamptz), (1, 'running', 'healthy', 3, 20.0, '2026-03-01Z'), (0, 'running', 'starting', 4, 60.0, '2026-03-01Z'),
             (3, 'running', 'healthy', 5, 0.5, '2026-03-01Z'), (4, 'draining', 'healthy', 0, 1, '2026-03-01Z'),
             (5, 'stopped', 'unknown', 0, 0, '2026-03-01Z'), (6, 'stopped', 'healthy', 0, 0, '2026-03-30Z')) v(n, status, health, failures, cpu, at);

-- Instances and applications.
SELECT replica_index, i.is_healthy, is_ready_for_traffic(i) FROM instances i ORDER BY replica_index;
SELECT jsonb_pretty(get_app_with_instances('a') -> 'app');
SELECT i - 'id' FROM jsonb_array_elements(get_app_with_instances('a') -> 'instances') i;
SELECT get_app_with_instances('b') -> 'instances', get_app_with_instances('no such') IS NULL AS none;
SELECT name, app_status, running_instances, healthy_instances, avg_cpu_percent, avg_memory_percent FROM get_apps_summary();
SELECT name FROM get_apps_summary('running');
SELECT name FROM get_apps_summary('error');
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT name FROM applications WHERE spec -> 'spec' ->> 'image' = 'nginx:a';
RESET enable_seqscan;
UPDATE applications SET replicas = 2 WHERE name = 'a';
SELECT name FROM applications WHERE updated_at > '2026-03-31';
UPDATE applications SET updated_at = '2026-03-02Z' WHERE name = 'a';
SELECT name, updated_at AT TIME ZONE 'UTC' FROM applications WHERE name = 'a';

-- Metrics: exact, no row for what there is none of, only of the window.
INSERT INTO metrics (app_name, metric_type, timestamp, value, aggregation_level)
SELECT 'a', v.type, '2026-03-31 12:30Z'::timestamptz - v.minutes * interval '1 min', v.value, v.level
FROM (VALUES ('cpu_percent', 0, 1.0, 'instance'), ('cpu_percent', 5, 2.0, 'instance'), ('cpu_percent', 2, 4.0, 'app'), ('cpu_percent', 6, 1000.0, 'instance'),
             ('cpu_percent', -1, 1000.0, 'instance'), ('rps', 1, 8589934593, 'app'), ('memory_bytes', 1, 5.0, 'instance')) v(type, minutes, value, level);
SELECT * FROM get_app_metrics_window('a', as_of => '2026-03-31 12:30Z');
SELECT * FROM get_app_metrics_window('a', 60, '2026-03-31 12:30Z') WHERE metric_type = 'cpu_percent';
SELECT * FROM get_app_metrics_window('b', 60, '2026-03-31 12:30Z');
SELECT bucket AT TIME ZONE 'UTC', metric_type, aggregation_level, data_points, max_value FROM metrics_hourly ORDER BY 1, 2, 3;
\set VERBOSITY sqlstate
INSERT INTO metrics (app_name, metric_type, value, aggregation_level) VALUES ('a', 'rps', 1, NULL);
INSERT INTO metrics (app_name, metric_type, value, timestamp) VALUES ('a', 'rps', 1, NULL);
INSERT INTO metrics (app_name, metric_type, value, aggregation_level) VALUES ('a', 'rps', 1, 'planet');
INSERT INTO events (event_type, message, timestamp) VALUES ('error', 'when?', NULL);
\set VERBOSITY default

-- Events: by the function and by the policy the same comes out. Equal times, no application, late rows, more than five messages.
CREATE TABLE source AS
SELECT '2026-02-27 10:00Z'::timestamptz + (i / 3) * interval '7 min' AS timestamp, CASE i % 4 WHEN 0 THEN 'a' WHEN 1 THEN 'b' END AS app_name,
       CASE i % 3 WHEN 0 THEN 'error' ELSE 'health' END AS event_type, (ARRAY['info', 'warning', 'error'])[i % 5 % 3 + 1] AS severity, 'message ' || i % 13 AS message
FROM generate_series(0, 999) i;
INSERT INTO events (timestamp, app_name, event_type, severity, message) SELECT * FROM source;
SELECT compress_old_events(0);
\echo :LAST_ERROR_SQLSTATE
SELECT compress_old_events(-1);
SELECT compress_old_events(NULL);
SELECT compress_old_events(as_of => '2026-03-31 12:30Z'); -- nothing is 90 days old
SELECT compress_old_events(30, '2026-03-31 00:30Z');
SELECT min(timestamp) AT TIME ZONE 'UTC' AS oldest, count(*) FROM events;
SELECT compress_old_events(30, '2026-03-31 12:30Z');
SELECT compress_old_events(30, '2026-03-31 12:30Z');
-- Late ones: into the rows that are there, and new ones.
INSERT INTO events (timestamp, app_name, event_type, severity, message)
VALUES ('2026-02-27 10:59:59Z', NULL, 'error', 'critical', 'late'), ('2026-02-27 10:00:00Z', 'a', 'error', 'info', 'early'), ('2026-02-27 09:00Z', 'c', 'error', 'info', 'new');
INSERT INTO source SELECT timestamp, app_name, event_type, severity, message FROM events WHERE message IN ('late', 'early', 'new');
SELECT compress_old_events(30, '2026-03-31 12:30Z');
SELECT app_name, event_count, severity_counts, sample_messages, first_at AT TIME ZONE 'UTC' AS first_at, last_at AT TIME ZONE 'UTC' AS last_at
FROM events_compressed WHERE bucket = '2026-02-27 10:00Z' AND event_type = 'error' ORDER BY app_name;
SELECT count(*) FROM events;
CREATE TABLE by_function AS TABLE events_compressed;
TRUNCATE events, events_compressed;
INSERT INTO events (timestamp, app_name, event_type, severity, message) SELECT * FROM source WHERE message <> 'late' OR message IS NULL;
CALL orchestry.run('events');
INSERT INTO events (timestamp, app_name, event_type, severity, message) SELECT * FROM source WHERE message = 'late';
CALL orchestry.run('events');
SELECT count(*) AS events, (SELECT count(*) FROM events_compressed) AS compressed FROM events;
SELECT count(*) AS different FROM ((TABLE by_function EXCEPT TABLE events_compressed) UNION ALL (TABLE events_compressed EXCEPT TABLE by_function)) d;
SELECT * FROM orchestry.verify_event_compression('events');
SELECT sum(event_count) = (SELECT count(*) FROM source) AS all_counted FROM events_compressed;

-- All that is old, by the function. Every level of metrics has its time; what the rollup has, it keeps.
INSERT INTO events (timestamp, event_type, message) VALUES ('2026-02-27 10:00Z', 'error', 'old'), ('2026-03-29 10:00Z', 'error', 'of now');
INSERT INTO metrics (app_name, metric_type, timestamp, value, aggregation_level)
SELECT 'c', 'rps', d, extract(day FROM d), l FROM generate_series('2026-03-02 01:00Z'::timestamptz, '2026-03-31 01:00Z', '1 day') d, unnest('{app,instance,system}'::text[]) l
WHERE l <> 'instance' OR d > '2026-03-24Z';
SELECT aggregation_level, count(*), min(timestamp) AT TIME ZONE 'UTC' FROM metrics WHERE app_name = 'c' GROUP BY 1 ORDER BY 1;
SELECT * FROM cleanup_old_data('2026-04-03 02:00Z'); -- the rollup has read nothing yet: its rows stay
CALL orchestry.refresh_rollup('metrics_hourly');
SELECT * FROM cleanup_old_data('2026-04-03 02:00Z');
SELECT * FROM cleanup_old_data('2026-04-03 02:00Z');
SELECT aggregation_level, count(*), min(timestamp) AT TIME ZONE 'UTC' FROM metrics WHERE app_name = 'c' GROUP BY 1 ORDER BY 1;
SELECT aggregation_level, sum(data_points), min(bucket) AT TIME ZONE 'UTC' FROM metrics_hourly WHERE app_name = 'c' GROUP BY 1 ORDER BY 1;
SELECT message FROM events;
SELECT replica_index FROM instances WHERE status = 'stopped';
-- Held: nothing of it goes.
INSERT INTO events (timestamp, event_type, message) VALUES ('2026-02-27 10:00Z', 'error', 'held');
SELECT orchestry.hold('events', 'case 2') IS NOT NULL AS held, orchestry.hold('instances', 'case 2', "from" => '2026-06-01Z') IS NOT NULL AS held;
SELECT compress_old_events(30, '2026-05-03 02:00Z');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM cleanup_old_data('2026-04-30 02:00Z');
SELECT count(*) FROM events;
SELECT orchestry.release_hold(hold_id, 'closed') FROM orchestry.holds WHERE relation = 'events'::regclass AND released_at IS NULL;
SELECT * FROM cleanup_old_data('2026-05-03 02:00Z');
SELECT replica_index FROM instances WHERE status = 'stopped';
SELECT orchestry.release_hold(hold_id, 'closed') FROM orchestry.holds WHERE relation = 'instances'::regclass AND released_at IS NULL;

-- An archive of the original's kind does not tie the table down.
CREATE TABLE metrics_archive (LIKE metrics INCLUDING ALL);
SELECT orchestry.drop_rollup('metrics_hourly');
DROP FUNCTION get_app_metrics_window;
DROP TABLE metrics;
SELECT count(*) FROM metrics_archive;

RESET search_path;
DROP SCHEMA template_cp CASCADE;
