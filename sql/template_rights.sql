-- What templates' functions do for those who do not own the tables, and beside functions of others in the same schema.
\set SHOW_CONTEXT never
SET TimeZone = 'UTC';
SET client_min_messages = warning;
SELECT setval('orchestry.job_job_id_seq', 13001, false);
SET orchestry.now = '2026-03-10 12:30Z';
CREATE ROLE template_team;
CREATE ROLE template_app;
GRANT CREATE ON DATABASE contrib_regression TO template_team;

-- Holds and rollups hold for everybody, also for those who see neither.
SET ROLE template_team;
SELECT orchestry.install_template('control_plane', 'tr_cp'), orchestry.install_template('preferences', 'tr_prefs'),
       orchestry.install_template('workflow_events', 'tr_wf'), orchestry.install_template('temporal_visibility', 'tr_vis');
GRANT USAGE ON SCHEMA tr_cp, tr_prefs, tr_wf, tr_vis TO template_app;
GRANT ALL ON ALL TABLES IN SCHEMA tr_cp, tr_prefs, tr_wf, tr_vis TO template_app;
INSERT INTO tr_cp.applications (name, spec) VALUES ('a', '{}');
INSERT INTO tr_cp.events (timestamp, event_type, message) VALUES ('2026-02-08 10:00Z', 'error', 'held');
INSERT INTO tr_cp.instances (app_name, container_id, container_name, replica_index, ip, port, status, updated_at)
VALUES ('a', 'c', 'c', 0, '10.0.0.1', 80, 'stopped', '2026-01-01Z');
INSERT INTO tr_cp.metrics (app_name, metric_type, value, timestamp) VALUES ('a', 'rps', 1, '2026-03-09Z');
INSERT INTO tr_prefs.users (id) VALUES (1);
SELECT orchestry.create_partition('tr_prefs.user_preferences_history', now()) IS NOT NULL AS there;
INSERT INTO tr_prefs.user_preferences (user_id) VALUES (1);
INSERT INTO tr_vis.executions (namespace_id, run_id, start_time, execution_time, workflow_id, workflow_type_name, status, close_time)
VALUES ('ns', 'run', '2025-12-31', '2025-12-31', 'flow', 'type', 2, '2025-12-31 01:00');
SELECT orchestry.hold(t::regclass, 'case') IS NOT NULL AS held
FROM unnest('{tr_cp.events,tr_cp.instances,tr_prefs.user_preferences_history,tr_vis.executions}'::text[]) t;
SET ROLE template_app;
SELECT count(*) FROM orchestry.holds;
SELECT tr_cp.compress_old_events(30, '2026-03-12Z');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM tr_cp.cleanup_old_data('2026-03-12Z');
SELECT tr_prefs.delete_user_preferences(1);
\echo :LAST_ERROR_SQLSTATE
SELECT tr_vis.cleanup_old_executions(1, '2026-03-12Z');
\echo :LAST_ERROR_SQLSTATE
SELECT tr_cp.control_plane_must_stay('tr_cp.metrics_instance', '2026-03-09Z', '2026-03-10Z') AS unread;
RESET ROLE;
SELECT orchestry.release_hold(hold_id, 'closed') FROM orchestry.holds WHERE relation = 'tr_cp.events'::regclass AND released_at IS NULL;
SET ROLE template_app;
SELECT tr_cp.compress_old_events(30, '2026-03-12Z');
RESET ROLE;
CALL orchestry.refresh_rollup('tr_cp.metrics_hourly');
SET ROLE template_app;
SELECT tr_cp.control_plane_must_stay('tr_cp.metrics_instance', '2026-03-09Z', '2026-03-10Z') AS unread;
-- A hold of some time, and a partition without a beginning.
SET ROLE template_team;
CREATE TABLE tr_wf.earlier PARTITION OF tr_wf.workflow_events FOR VALUES FROM (MINVALUE) TO ('2025-01-01Z');
SELECT orchestry.hold('tr_wf.workflow_events', 'case', '2020-01-01Z', '2020-02-01Z') IS NOT NULL AS held;
SELECT tr_wf.drop_old_workflow_events_partitions(12, '2026-03-12Z');
SELECT to_regclass('tr_wf.earlier') IS NOT NULL AS is_there;
RESET ROLE;

SELECT count(orchestry.release_hold(hold_id, 'closed')) FROM orchestry.holds WHERE relation::text LIKE 'tr\_%' AND released_at IS NULL;
DROP OWNED BY template_team, template_app CASCADE;
DROP ROLE template_team, template_app;
