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
SELECT count(*) FROM orchestry.holds WHERE relation IS NOT NULL;
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

-- Partitions belong to the owner of the table, whoever makes them.
SELECT tr_wf.create_workflow_events_partition('2030-01-01'), tr_vis.create_monthly_partition('2030-01-01Z');
SELECT c.oid::regclass AS partition, c.relowner::regrole AS owner FROM pg_class c WHERE c.relname ~ '2030' AND c.relkind = 'r' AND c.relnamespace::regnamespace::text ~ '^tr' ORDER BY c.relname;
-- What is removed as of a time that never comes, or is not known, would be everything, or nothing.
\set VERBOSITY terse
SELECT tr_cp.compress_old_events(30, 'infinity');
SELECT tr_cp.compress_old_events(30, '-infinity');
SELECT tr_cp.compress_old_events(30, NULL);
SELECT tr_cp.cleanup_old_data('infinity');
SELECT tr_cp.cleanup_old_data(NULL);
SELECT tr_wf.drop_old_workflow_events_partitions(12, 'infinity');
SELECT tr_wf.drop_old_workflow_events_partitions(12, NULL);
SELECT tr_vis.cleanup_old_executions(90, 'infinity');
\echo :LAST_ERROR_SQLSTATE
SELECT tr_vis.cleanup_old_executions(90, NULL);
\set VERBOSITY default
-- An event at infinity lies within no limit.
CREATE TABLE tr_wf.later PARTITION OF tr_wf.workflow_events FOR VALUES FROM ('2040-01-01Z') TO (MAXVALUE);
ALTER TABLE tr_wf.later OWNER TO template_team;
INSERT INTO tr_wf.workflow_runs (id) VALUES (md5('1')::uuid);
INSERT INTO tr_wf.workflow_events (run_id, ts, type, payload)
SELECT md5('1')::uuid, t::timestamptz, 'event', '{}' FROM unnest('{-infinity,2026-03-01Z,2026-03-02Z,infinity}'::text[]) t;
SELECT l.from_at, l.to_at, array_agg(e.ts ORDER BY e.ts) AS events
FROM (VALUES (1, NULL::timestamptz, NULL::timestamptz), (2, '2026-03-01Z', NULL), (3, NULL, '2026-03-02Z'), (4, NULL, 'infinity'), (5, NULL, '-infinity'), (6, 'infinity', NULL)) l(n, from_at, to_at)
LEFT JOIN LATERAL tr_wf.get_workflow_run_events(md5('1')::uuid, l.from_at, l.to_at) e ON true GROUP BY l.n, l.from_at, l.to_at ORDER BY l.n;

-- Policies that are all gone, as after DROP EXTENSION, are made again, for the owner of the tables. One that was removed is not wanted.
CREATE TEMP TABLE policies AS SELECT kind, target, settings FROM orchestry.jobs WHERE target_schema IN ('tr_wf', 'tr_cp');
GRANT SELECT ON policies TO template_team;
SET client_min_messages = notice;
SET ROLE template_team;
SELECT count(orchestry.remove_policy(job_id)) FROM orchestry.jobs WHERE target_schema = 'tr_wf' AND kind = 'partition';
SELECT orchestry.install_template('workflow_events', 'tr_wf');
SELECT count(orchestry.remove_policy(job_id)) FROM orchestry.jobs WHERE target_schema = 'tr_wf';
SET ROLE template_app;
SELECT orchestry.install_template('workflow_events', 'tr_wf');
SET ROLE template_team;
SELECT count(*) FROM orchestry.jobs WHERE target_schema = 'tr_wf';
SELECT orchestry.install_template('workflow_events', 'tr_wf');
SELECT orchestry.drop_rollup('tr_cp.metrics_hourly', keep_data => true);
SELECT count(orchestry.remove_policy(job_id)) FROM orchestry.jobs WHERE target_schema = 'tr_cp';
SELECT orchestry.install_template('control_plane', 'tr_cp');
SELECT kind, target FROM ((TABLE policies EXCEPT SELECT kind, target, settings FROM orchestry.jobs) UNION ALL
    (SELECT kind, target, settings FROM orchestry.jobs WHERE target_schema IN ('tr_wf', 'tr_cp') EXCEPT TABLE policies)) d;
-- As it says.
ALTER TABLE tr_cp.metrics_hourly_buckets RENAME TO metrics_hourly_before;
SELECT orchestry.create_rollup('tr_cp.metrics_hourly', 'tr_cp.metrics', 'timestamp', 'value', '1 hour', '{app_name,metric_type,aggregation_level}', keep => '1 year') > 0 AS made;
SELECT count(*) FROM (TABLE policies EXCEPT SELECT kind, target, settings FROM orchestry.jobs) d;
RESET ROLE;
SET client_min_messages = warning;
DROP TABLE policies;

SELECT count(orchestry.release_hold(hold_id, 'closed')) FROM orchestry.holds WHERE relation::text LIKE 'tr\_%' AND released_at IS NULL;
DROP SCHEMA tr_cp, tr_prefs, tr_wf, tr_vis CASCADE;
-- The jobs of what has just been dropped are in nobody's way.
SELECT orchestry.install_template('control_plane', 'tr_cp');
SELECT count(*) FROM tr_cp.metrics_hourly;
SELECT orchestry.drop_rollup('tr_cp.metrics_hourly');
DROP SCHEMA tr_cp CASCADE;

-- Functions of others with the names of the template's own: they take what has no type, or any, or more, and none is called.
SET ROLE template_team;
CREATE SCHEMA tr_shared;
GRANT CREATE, USAGE ON SCHEMA tr_shared TO PUBLIC;
SELECT orchestry.install_template(t, 'tr_shared') FROM unnest('{control_plane,preferences,workflow_events,temporal_visibility}'::text[]) t;
SET ROLE template_app;
CREATE FUNCTION tr_shared.taken_over(name text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '% was called by %', name, current_user; END $$;
DO $$
DECLARE
    overload record;
BEGIN
    FOR overload IN
        SELECT format('CREATE FUNCTION tr_shared.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', p.proname, v.arguments,
                   CASE WHEN p.prorettype = 'trigger'::regtype THEN 'trigger' ELSE pg_get_function_result(p.oid) END,
                   format('BEGIN PERFORM tr_shared.taken_over(%L); END', p.proname || '(' || v.arguments || ')')) AS made
        FROM pg_proc p CROSS JOIN LATERAL (
            SELECT string_agg('text', ', ') AS texts, string_agg('anycompatible', ', ') AS anys, string_agg(format_type(a, NULL), ', ' ORDER BY n) AS exactly,
                   string_agg(CASE WHEN n = p.pronargs THEN 'VARIADIC ' || format_type(a, NULL) || '[]' ELSE format_type(a, NULL) END, ', ' ORDER BY n) AS variadic,
                   string_agg(format_type(a, NULL), ', ' ORDER BY n) FILTER (WHERE n < p.pronargs) AS fewer,
                   string_agg(CASE WHEN a = 'regclass'::regtype THEN 'text' ELSE format_type(a, NULL) END, ', ' ORDER BY n) AS by_name,
                   string_agg(CASE WHEN n < p.pronargs THEN 'text' ELSE format_type(a, NULL) END, ', ' ORDER BY n) AS but_last
            FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY u(a, n)) t
        CROSS JOIN LATERAL (SELECT DISTINCT x FROM unnest(ARRAY[t.texts, t.anys, 'VARIADIC text[]', 'VARIADIC anycompatiblearray', t.variadic, t.fewer, t.by_name, t.but_last]) x
                            WHERE x <> t.exactly) v(arguments)
        WHERE p.pronamespace = 'tr_shared'::regnamespace AND p.pronargs > 0 AND p.proname <> 'taken_over' ORDER BY 1
    LOOP
        BEGIN
            EXECUTE overload.made;
        EXCEPTION WHEN duplicate_function THEN NULL; -- two of these are the same for this one
        END;
    END LOOP;
END
$$;
RESET ROLE;
SELECT p.proname, count(*) FILTER (WHERE p.proowner = 'template_app'::regrole) AS overloads FROM pg_proc p
WHERE p.pronamespace = 'tr_shared'::regnamespace AND p.proname <> 'taken_over' GROUP BY 1 ORDER BY 1;
-- By whom it would be worst.
SELECT tr_shared.compress_old_events(30, now());
SELECT table_name FROM tr_shared.cleanup_old_data(now());
INSERT INTO tr_shared.users (id) VALUES (1);
SELECT orchestry.create_partition('tr_shared.user_preferences_history', now()) IS NOT NULL AS there;
INSERT INTO tr_shared.user_preferences (user_id) VALUES (1::bigint);
UPDATE tr_shared.user_preferences SET preferences = '{"a": 1}';
SELECT tr_shared.get_user_preference(1::bigint, 'a'::text, 'b'::text), tr_shared.export_user_preferences(1::bigint) IS NOT NULL AS exported, tr_shared.delete_user_preferences(1::bigint);
SELECT tr_shared.create_workflow_events_partition('2030-01-01'::timestamp), tr_shared.maintain_workflow_events_partitions('2031-01-01Z'::timestamptz);
SELECT tr_shared.drop_old_workflow_events_partitions(1, '2026-03-01Z'::timestamptz);
SELECT count(*) FROM tr_shared.get_workflow_run_events(NULL::uuid, NULL::timestamptz, NULL::timestamptz);
SELECT sum(row_count) FROM tr_shared.get_workflow_events_partition_stats();
SELECT tr_shared.create_monthly_partition('2030-01-01Z'::timestamptz), tr_shared.cleanup_old_executions(1, '2026-03-01Z'::timestamptz);
INSERT INTO tr_shared.applications (name, spec) VALUES ('a', '{}');
UPDATE tr_shared.applications SET replicas = 1;
SELECT tr_shared.get_app_with_instances('a'::text) IS NOT NULL AS app, (SELECT count(*) FROM tr_shared.get_apps_summary(NULL::text)) AS apps,
       (SELECT count(*) FROM tr_shared.get_app_metrics_window('a'::text, 5, now())) AS metrics;
DELETE FROM tr_shared.executions;
SELECT orchestry.drop_rollup('tr_shared.metrics_hourly');

-- Backslashes are what they are, whatever the session takes them for.
SET standard_conforming_strings = off;
SELECT orchestry.install_template('workflow_events', 'tr_wf');
SELECT count(*) FILTER (WHERE to_at > from_at) > 3 AS bounds FROM tr_wf.get_workflow_events_partition_stats();
SELECT orchestry._option('{fillfactor=70.5}', 'fillfactor');
RESET standard_conforming_strings;
DROP SCHEMA tr_wf CASCADE;

DROP OWNED BY template_team, template_app CASCADE;
DROP ROLE template_team, template_app;
