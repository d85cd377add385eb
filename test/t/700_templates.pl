# The templates with real data: an ordinary role installs them, the data goes in, every function answers what plain SQL does, and
# three months of runs later it still does. What the role owns lives on in a dump, without the extension and without its library.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;

my $data = $ENV{ORCHESTRY_DATA} // '../shared/data';
plan skip_all => "no real data in $data (ORCHESTRY_DATA)" unless -r "$data/events.csv.gz" && -r "$data/metrics.csv.gz";

my $node = new_server('templates', conf => "orchestry.databases = ''\nautovacuum = off\nfsync = off\nmax_wal_size = '4GB'\nmax_locks_per_transaction = 1024\n");
my $now = '2026-09-01 00:00Z';
my @templates = qw(control_plane workflow_events temporal temporal_visibility preferences);
$node->safe_psql('postgres', 'CREATE ROLE team LOGIN; CREATE DATABASE work; GRANT CREATE ON DATABASE work TO team');
$node->safe_psql('work', 'CREATE EXTENSION orchestry_ext');

# As the team at a time; $now unless said otherwise.
sub team
{
	my ($sql, $at) = @_;
	return $node->safe_psql('work', "SET client_min_messages = warning; SET orchestry.now = '" . ($at // $now) . "'; SET ROLE team; $sql");
}
is(team("SELECT orchestry.install_template(t) FROM unnest('{@{[ join ',', @templates ]}}'::text[]) t"), join("\n", @templates), 'an ordinary role installs all');
is(team('SELECT count(*) FROM pg_class WHERE relowner = \'team\'::regrole AND relkind = \'p\''), 8, 'partitioned tables are its own');

# The data. Sources that ended long ago are moved to end near the present; git's own history does.
$node->safe_psql('work', <<"SQL");
CREATE SCHEMA input;
GRANT USAGE ON SCHEMA input TO team;
CREATE TABLE input.events (at timestamptz, source text, app text, event_type text, severity text, message text, details jsonb);
COPY input.events FROM PROGRAM 'gzip -dc ''$data/events.csv.gz''' (FORMAT csv, HEADER);
UPDATE input.events SET at = at + ('$now'::timestamptz - '2015-06-20 00:00Z'::timestamptz) WHERE source = 'elastic-apache';
CREATE TABLE input.metrics (source text, app text, metric_type text, unit text, at timestamptz, value float8);
COPY input.metrics FROM PROGRAM 'gzip -dc ''$data/metrics.csv.gz''' (FORMAT csv, HEADER);
DELETE FROM input.metrics WHERE source = 'azure-vm-noise' OR value IS NULL;
UPDATE input.metrics m SET at = at + ('$now'::timestamptz - l.last) FROM (SELECT source, app, max(at) AS last FROM input.metrics GROUP BY 1, 2) l WHERE (l.source, l.app) = (m.source, m.app);
GRANT SELECT ON ALL TABLES IN SCHEMA input TO team;
SQL
my $loaded = team(<<"SQL");
INSERT INTO control_plane.applications (name, spec) SELECT DISTINCT app, '{}'::jsonb FROM (SELECT app FROM input.events UNION SELECT app FROM input.metrics) a;
SELECT count(orchestry.create_partition('control_plane.events', d)) FROM generate_series('$now'::timestamptz - interval '1 year', '$now', '1 day') d;
SELECT count(orchestry.create_partition('control_plane.metrics_app', d)) FROM generate_series('$now'::timestamptz - interval '1 year', '$now', '1 day') d;
INSERT INTO control_plane.events (timestamp, app_name, event_type, severity, message, details)
SELECT at, CASE WHEN length(message) % 10 > 0 THEN app END, CASE severity WHEN 'error' THEN 'error' WHEN 'warning' THEN 'warning' ELSE 'deployment' END, severity, message, details
FROM input.events WHERE at > '$now'::timestamptz - interval '1 year';
INSERT INTO control_plane.metrics (timestamp, app_name, metric_type, value, aggregation_level)
SELECT at, app, CASE metric_type WHEN 'cpu_percent' THEN 'cpu_percent' WHEN 'rps' THEN 'rps' WHEN 'latency_ms' THEN 'latency_p95' ELSE 'queue_length' END, value, 'app'
FROM input.metrics WHERE source = 'ms-cloud-monitoring' UNION ALL
SELECT at, app, CASE metric_type WHEN 'cpu_percent' THEN 'cpu_percent' WHEN 'rps' THEN 'rps' ELSE 'queue_length' END, value, 'instance'
FROM input.metrics WHERE at > '$now'::timestamptz - interval '7 days';
SELECT count(workflow_events.create_workflow_events_partition(d)) FROM generate_series('2008-12-01'::timestamp, '2026-09-01', '1 month') d;
INSERT INTO workflow_events.workflow_runs SELECT DISTINCT md5(app || at::date)::uuid FROM input.events;
INSERT INTO workflow_events.workflow_events (run_id, ts, type, payload) SELECT md5(app || at::date)::uuid, at, event_type, jsonb_build_object('message', message, 'details', details) FROM input.events;
INSERT INTO temporal_visibility.executions (namespace_id, run_id, start_time, execution_time, workflow_id, workflow_type_name, status, close_time, search_attributes)
SELECT app, id::text, at AT TIME ZONE 'UTC', at AT TIME ZONE 'UTC', event_type, event_type, status, CASE WHEN status NOT IN (1, 8) THEN at AT TIME ZONE 'UTC' + length(message) * interval '1 min' END, details
FROM (SELECT *, row_number() OVER (ORDER BY at, message) AS id, abs(hashtext(message)) % 8 + 1 AS status FROM input.events WHERE at > '$now'::timestamptz - interval '92 days') e;
INSERT INTO temporal_visibility.custom_search_attributes SELECT namespace_id, run_id, '{"x": 1}' FROM temporal_visibility.executions;
INSERT INTO control_plane.instances (app_name, container_id, container_name, replica_index, ip, port, status, health_status, consecutive_failures, cpu_percent, memory_percent, updated_at)
SELECT m.app, md5(m.app || r), m.app || '-' || r, r, '10.0.0.1'::inet + r, 8080, (ARRAY['running','running','starting','stopping','stopped','error','draining'])[1 + h % 7],
       (ARRAY['healthy','unknown','unhealthy','starting'])[1 + h / 7 % 4], h / 28 % 6, greatest(m.value, 0), least(greatest(m.value, 0), 100), '$now'::timestamptz - h % 20 * interval '1 day'
FROM (SELECT app, avg(value) AS value FROM input.metrics GROUP BY app) m, generate_series(0, 7) r, LATERAL (SELECT abs(hashtext(m.app || r)) AS h) x;
UPDATE control_plane.applications a SET status = 'running' WHERE EXISTS (SELECT FROM control_plane.instances i WHERE i.app_name = a.name AND i.status = 'running');
INSERT INTO temporal.history_tree SELECT DISTINCT abs(hashtext(app)) % 4, app, md5(app || at::date), convert_to(app, 'UTF8'), 'Proto3' FROM input.events;
INSERT INTO temporal.current_executions SELECT shard_id, 'ns', tree_id, max(branch_id), 'request', 1, 1, 1, 1 FROM temporal.history_tree GROUP BY shard_id, tree_id;
INSERT INTO temporal.executions SELECT shard_id, 'ns', tree_id, branch_id, 1, 1, data, data_encoding, data, data_encoding FROM temporal.history_tree;
-- What preferences were when: by the clock of this test, which the trigger knows by the column's default.
ALTER TABLE preferences.user_preferences_history ALTER changed_at SET DEFAULT COALESCE(NULLIF(current_setting('orchestry.now', true), '')::timestamptz, now());
INSERT INTO preferences.users SELECT row_number() OVER (ORDER BY name) FROM control_plane.applications;
INSERT INTO preferences.user_preferences (user_id, preferences) SELECT id, '{}' FROM preferences.users;
UPDATE preferences.user_preferences SET preferences = jsonb_build_object('n', user_id);
ANALYZE;
SELECT (SELECT count(*) FROM control_plane.events), (SELECT count(*) FROM control_plane.metrics), (SELECT count(*) FROM workflow_events.workflow_events),
       (SELECT count(*) FROM temporal_visibility.executions), (SELECT count(*) FROM preferences.user_preferences_history);
SQL
note('rows of events, metrics, workflow_events, executions, preference changes: ' . (split /\n/, $loaded)[-1]);
is(team('SELECT count(*) FROM workflow_events.workflow_events'), team('SELECT count(*) FROM input.events'), 'all events are taken');
cmp_ok(team('SELECT count(*) FROM control_plane.metrics'), '>', 100_000, 'and metrics');
is(team('SELECT count(*), count(*) FILTER (WHERE c.run_id = e.run_id) = count(DISTINCT e.workflow_id) FROM temporal.executions e JOIN temporal.current_executions c USING (shard_id, namespace_id, workflow_id)'),
	team('SELECT count(DISTINCT (app, at::date)) FROM input.events') . '|t', 'and the state of executions');

# What the functions answer at a time, beside plain SQL: nothing may be different.
sub answers
{
	my ($when, $at) = @_;
	is(team(<<"SQL", $at), '0', "$when: get_app_metrics_window() is what the rows say");
WITH w AS (SELECT a.name, s.minutes, f.* FROM control_plane.applications a, (VALUES (5), (60), (10000)) s(minutes), LATERAL control_plane.get_app_metrics_window(a.name, s.minutes, '$at') f),
plain AS (SELECT m.app_name, s.minutes, m.metric_type, avg(m.value), min(m.value), max(m.value), percentile_cont(0.5) WITHIN GROUP (ORDER BY m.value) AS p50, percentile_cont(0.95) WITHIN GROUP (ORDER BY m.value) AS p95, count(*)
    FROM control_plane.metrics m, (VALUES (5), (60), (10000)) s(minutes) WHERE m.timestamp BETWEEN '$at'::timestamptz - s.minutes * interval '1 min' AND '$at' AND m.metric_type <> 'queue_length' GROUP BY 1, 2, 3)
SELECT count(*) FROM w FULL JOIN plain p ON (p.app_name, p.minutes, p.metric_type) = (w.name, w.minutes, w.metric_type)
WHERE (w.min_value, w.max_value, w.p50_value, w.p95_value, w.data_points) IS DISTINCT FROM (p.min, p.max, p.p50, p.p95, p.count) OR abs(w.avg_value - p.avg) > 1e-9 * greatest(abs(p.avg), 1)
SQL
	is(team(<<'SQL', $at), '0', "$when: get_apps_summary()");
SELECT count(*) FROM control_plane.get_apps_summary() s FULL JOIN (
    SELECT a.name, a.status, sum((i.status = 'running')::int) AS running, sum((i.health_status = 'healthy')::int) AS healthy FROM control_plane.applications a LEFT JOIN control_plane.instances i ON i.app_name = a.name GROUP BY a.name) p USING (name)
WHERE (s.app_status, s.running_instances, s.healthy_instances) IS DISTINCT FROM (p.status, COALESCE(p.running, 0), COALESCE(p.healthy, 0))
SQL
	is(team(q(SELECT (SELECT count(*) FROM control_plane.get_apps_summary('running')) = count(*) FILTER (WHERE status = 'running'), count(DISTINCT status) FROM control_plane.applications), $at), 't|2', "$when: of a status");
	is(team(<<'SQL', $at), '0|t', "$when: get_app_with_instances()");
SELECT count(*) FILTER (WHERE g.app #>> '{app,name}' <> a.name OR jsonb_path_query_array(g.app, '$.instances[*].container_id') <> COALESCE(
           (SELECT jsonb_agg(i.container_id ORDER BY i.replica_index) FROM control_plane.instances i WHERE i.app_name = a.name AND i.status <> 'stopped'), '[]')), control_plane.get_app_with_instances('nobody') IS NULL
FROM control_plane.applications a, control_plane.get_app_with_instances(a.name) g(app)
SQL
	is(team(<<'SQL', $at), '0|t|t', "$when: is_healthy() and is_ready_for_traffic()");
SELECT count(*) FILTER (WHERE control_plane.is_healthy(i) <> (i.status || i.health_status = 'runninghealthy' AND i.consecutive_failures IN (0, 1, 2))
           OR control_plane.is_ready_for_traffic(i) <> (i.status || i.health_status IN ('runninghealthy', 'runningstarting') AND i.consecutive_failures IN (0, 1, 2, 3, 4))),
       count(DISTINCT control_plane.is_healthy(i)) = 2, bool_or(control_plane.is_ready_for_traffic(i) AND NOT control_plane.is_healthy(i)) FROM control_plane.instances i
SQL
	is(team(<<"SQL", $at), '0|t', "$when: get_workflow_run_events(), of all times and of some");
SELECT count(*) FILTER (WHERE (SELECT array_agg(f.id) FROM workflow_events.get_workflow_run_events(r.id) f) IS DISTINCT FROM (SELECT array_agg(e.id ORDER BY e.ts, e.id) FROM workflow_events.workflow_events e WHERE e.run_id = r.id)
           OR (SELECT count(*) FROM workflow_events.get_workflow_run_events(r.id, '$at'::timestamptz - interval '6 months', '$at'::timestamptz - interval '2 months'))
           <> (SELECT count(*) FROM workflow_events.workflow_events e WHERE e.run_id = r.id AND e.ts >= '$at'::timestamptz - interval '6 months' AND e.ts < '$at'::timestamptz - interval '2 months')), count(*) > 100
FROM workflow_events.workflow_runs r WHERE abs(hashtext(r.id::text)) % 50 = 0
SQL
	team('ANALYZE workflow_events.workflow_events', $at);
	is(team(<<'SQL', $at), '0|t', "$when: get_workflow_events_partition_stats() and workflow_events_partition_info");
SELECT count(*) FILTER (WHERE s.row_count IS DISTINCT FROM (SELECT count(*) FROM workflow_events.workflow_events e WHERE e.ts >= s.from_at AND e.ts < s.to_at) OR i.row_count_estimate IS DISTINCT FROM s.row_count OR i.size IS DISTINCT FROM s.size_pretty),
       sum(s.row_count) = (SELECT count(*) FROM workflow_events.workflow_events) FROM workflow_events.get_workflow_events_partition_stats() s FULL JOIN workflow_events.workflow_events_partition_info i USING (partition_name)
SQL
	is(team(<<'SQL', $at), '0|none', "$when: get_user_preference()");
SELECT count(*) FILTER (WHERE preferences.get_user_preference(u.id, 'n') IS DISTINCT FROM (SELECT p.preferences ->> 'n' FROM preferences.user_preferences p WHERE p.user_id = u.id)), min(preferences.get_user_preference(u.id, 'other', 'none')) FROM preferences.users u
SQL
	return;
}

# Events, compressed or not.
sub counts
{
	return q(SELECT app_name, event_type, severity, sum(n) FROM (SELECT app_name, event_type, severity, count(*) AS n FROM control_plane.events GROUP BY 1, 2, 3
		UNION ALL SELECT app_name, event_type, c.key, c.value::bigint FROM control_plane.events_compressed, jsonb_each_text(severity_counts) c) e GROUP BY 1, 2, 3 ORDER BY 1, 2, 3);
}

# What a function that changes something does at a time, beside what plain SQL says before it: what it returns, and then what
# is left. It is taken back.
sub act
{
	my ($what, $at, $expected, $call, $left) = @_;
	my ($before, @after) = split /\n/, team("BEGIN; $expected; $call; $left; ROLLBACK", $at);
	is(join('|', @after), $before, $what);
	like($before, qr/[1-9]/, "there is something to do: $before");
	return;
}

sub acts
{
	my ($when, $at) = @_;
	my $time = "'$at'::timestamptz";
	my $all = "(SELECT md5(string_agg(c::text, ',' ORDER BY c::text)) FROM (@{[ counts() ]}) c)";
	my $old_events = "control_plane.events WHERE timestamp < date_trunc('hour', $time - interval '10 days', 'UTC')";
	act("$when: compress_old_events() moves what is old, and each is counted", $at, "SELECT count(*), 0, $all FROM $old_events",
		"SELECT control_plane.compress_old_events(10, $time)", "SELECT count(*), $all FROM $old_events");
	my $month = "date_trunc('month', $time, 'UTC') - interval '6 months'";
	act("$when: drop_old_workflow_events_partitions() drops what is old", $at,
		"SELECT count(*) FILTER (WHERE to_at <= $month), sum(row_count) FILTER (WHERE to_at > $month) FROM workflow_events.get_workflow_events_partition_stats()",
		"SELECT workflow_events.drop_old_workflow_events_partitions(6, $time)", 'SELECT count(*) FROM workflow_events.workflow_events');
	my $closed = "temporal_visibility.executions WHERE close_time < $time AT TIME ZONE 'UTC' - interval '30 days' AND status NOT IN (1, 8)";
	act("$when: cleanup_old_executions() deletes what closed long ago, with its attributes, and notes it", $at, "SELECT count(*), 0, 0, count(*) FROM $closed",
		"SELECT temporal_visibility.cleanup_old_executions(30, $time)",
		"SELECT (SELECT count(*) FROM $closed), (SELECT count(*) FROM temporal_visibility.custom_search_attributes a WHERE NOT EXISTS (SELECT FROM temporal_visibility.executions e WHERE (e.namespace_id, e.run_id) = (a.namespace_id, a.run_id))),
		(SELECT deleted_rows FROM temporal_visibility.cleanup_log ORDER BY id DESC LIMIT 1)");
	# As of later, so that there is something to do after the policies; times that are not over now the rollup has yet to read.
	my $later = "($time + interval '20 days')";
	team("CALL orchestry.refresh_rollup('control_plane.metrics_hourly')", $at);
	act("$when: cleanup_old_data() removes what is old", $at, <<"SQL", "SELECT jsonb_object_agg(table_name, deleted_count) FROM control_plane.cleanup_old_data($later)", 'SELECT count(*) FROM control_plane.metrics');
WITH metrics AS (
    SELECT l.level, count(*) AS n FROM (VALUES ('instance', interval '7 days'), ('app', '30 days'), ('system', '30 days')) l(level, kept)
    JOIN orchestry.partitions p ON p.parent = to_regclass('control_plane.metrics_' || l.level) AND p.upper_at <= $later - l.kept AND p.upper_at <= $time JOIN control_plane.metrics m ON m.tableoid = p.partition GROUP BY l.level)
SELECT jsonb_object_agg(e.name, e.n), (SELECT count(*) FROM control_plane.metrics) - (SELECT sum(n) FROM metrics) FROM (
    SELECT 'events' AS name, count(*) AS n FROM control_plane.events WHERE timestamp < date_trunc('hour', $later - interval '30 days', 'UTC')
    UNION ALL SELECT 'metrics (' || l || ')', COALESCE(m.n, 0) FROM unnest('{instance,app,system}'::text[]) l LEFT JOIN metrics m ON m.level = l
    UNION ALL SELECT 'instances (stopped)', count(*) FROM control_plane.instances WHERE status = 'stopped' AND updated_at < $later - interval '7 days') e
SQL
	is(team(<<"SQL", $at), 't|t|t', "$when: each change of a preference is in its history");
CREATE TEMP TABLE before AS SELECT (SELECT count(*) FROM preferences.user_preferences_history) AS n, (SELECT count(*) FROM preferences.users) AS users;
BEGIN;
UPDATE preferences.user_preferences SET preferences = preferences || '{"seen": true}';
SELECT count(*) = b.n + b.users, count(*) FILTER (WHERE h.preferences ? 'seen' AND h.changed_by = 'team' AND h.changed_at = $time) = b.users, b.users > 10 FROM preferences.user_preferences_history h, before b GROUP BY b.n, b.users;
ROLLBACK;
SQL
	# Its window ends now: executions of the last days are needed, and a moment that is the same for the view and for who looks at it.
	is(team(<<"SQL", $at), 't|t|t', "$when: workflow_metrics, refreshed beside readers");
BEGIN;
CREATE TEMP TABLE made AS SELECT orchestry.create_partition('temporal_visibility.executions', month) FROM generate_series(now() AT TIME ZONE 'UTC' - interval '60 days', now() AT TIME ZONE 'UTC', interval '20 days') month;
INSERT INTO temporal_visibility.executions (namespace_id, run_id, start_time, execution_time, workflow_id, workflow_type_name, status)
SELECT 'now', n::text, t.at, t.at, 'flow', 'type ' || n % 3, 1 + n % 4 FROM generate_series(1, 200) n, LATERAL (SELECT now() AT TIME ZONE 'UTC' - n * interval '7 hours') t(at);
REFRESH MATERIALIZED VIEW CONCURRENTLY temporal_visibility.workflow_metrics;
SELECT COALESCE(sum(total_executions), 0) = (SELECT count(*) FROM temporal_visibility.executions WHERE start_time >= (now() AT TIME ZONE 'UTC')::date - 30),
       COALESCE(sum(completed_executions), 0) = (SELECT count(*) FROM temporal_visibility.executions WHERE start_time >= (now() AT TIME ZONE 'UTC')::date - 30 AND status = 2),
       sum(total_executions) > 90 FROM temporal_visibility.workflow_metrics;
ROLLBACK;
SQL
	act("$when: partitions of later months", $at,
		qq(SELECT to_char($time AT TIME ZONE 'UTC' + interval '9 months', '"workflow_events.workflow_events_y"YYYY"m"MM'), 4, count(*) + 2 FROM pg_inherits WHERE inhparent = 'temporal_visibility.executions'::regclass),
		"SELECT workflow_events.create_workflow_events_partition($time AT TIME ZONE 'UTC' + interval '9 months'), workflow_events.maintain_workflow_events_partitions($time + interval '12 months')
		WHERE temporal_visibility.create_monthly_partition($time + interval '12 months') IS NULL", "SELECT count(*) FROM pg_inherits WHERE inhparent = 'temporal_visibility.executions'::regclass");
	return;
}
answers('at first', $now);
team("CALL orchestry.refresh_rollup('control_plane.metrics_hourly')");
my $hourly = 'SELECT count(*), sum(data_points), sum(max_value::numeric) FROM control_plane.metrics_hourly WHERE bucket >= \'2025-12-15\' AND bucket < \'2026-09-01\''; # it is kept for a year
my $rolled_up = team($hourly);
is(team("SELECT count(*), sum(n), sum(m) FROM (SELECT count(*) AS n, max(value)::numeric AS m FROM control_plane.metrics WHERE timestamp >= '2025-12-15' AND timestamp < '2026-09-01' GROUP BY app_name, metric_type, aggregation_level, date_trunc('hour', timestamp, 'UTC')) g"),
	$rolled_up, 'metrics_hourly has all hours of all series');
acts('at first', $now);
my $events = team('SELECT count(*) FROM control_plane.events');
my $counted = team(counts());

# Three months, one run of everything a week, and rows of each week.
my $inserted = 0;
my $at = $now;
for my $week (1 .. 13)
{
	$at = $node->safe_psql('work', "SELECT '$now'::timestamptz + $week * interval '7 days'");
	team(<<"SQL", $at);
CALL orchestry.run();
INSERT INTO control_plane.events (timestamp, event_type, message) SELECT '$at'::timestamptz - i * interval '1 hour', 'health', 'week $week' FROM generate_series(1, 24) i;
INSERT INTO control_plane.metrics (timestamp, app_name, metric_type, value, aggregation_level)
SELECT '$at'::timestamptz - i * interval '1 min', a.name, 'rps', i, l FROM generate_series(0, 20) i, (SELECT name FROM control_plane.applications ORDER BY name LIMIT 3) a, unnest('{app,instance,system}'::text[]) l;
INSERT INTO workflow_events.workflow_events (run_id, ts, type, payload) SELECT id, '$at', 'week', '{}' FROM (SELECT id FROM workflow_events.workflow_runs ORDER BY id LIMIT 10) r;
INSERT INTO temporal_visibility.executions (namespace_id, run_id, start_time, execution_time, workflow_id, workflow_type_name, status, close_time)
VALUES ('ns', '$week', '$at'::timestamptz AT TIME ZONE 'UTC', '$at'::timestamptz AT TIME ZONE 'UTC', 'flow', 'type', 2, '$at'::timestamptz AT TIME ZONE 'UTC');
SQL
	$inserted += 24;
}
is(team("SELECT count(*) FROM orchestry.runs WHERE state NOT IN ('ok', 'noop')"), 0, 'no run has failed')
  or diag(team("SELECT target, kind, state, message, detail FROM orchestry.runs r JOIN orchestry.jobs j USING (job_id, target) WHERE r.state NOT IN ('ok', 'noop')"));
answers('three months later', $at);
acts('three months later', $at);
is(team("SELECT count(*) FROM control_plane.events WHERE timestamp < '$at'::timestamptz - interval '30 days 1 hour'", $at), 0, 'old events are compressed');
is(team(counts(), $at), join("\n", sort_counts("$counted\n|health|info|$inserted")), 'and every one is counted, by application, type and severity');
is(team("SELECT min(from_at) >= '$at'::timestamptz - interval '13 months' FROM workflow_events.get_workflow_events_partition_stats()", $at), 't', 'workflow events are kept for a year');
is(team("SELECT count(*) FROM workflow_events.workflow_events WHERE ts >= '$at'::timestamptz - interval '1 year' AND type <> 'week'", $at),
	team("SELECT count(*) FROM input.events WHERE at >= '$at'::timestamptz - interval '1 year'"), 'all of it');
is(team("SELECT count(*) FROM control_plane.metrics WHERE timestamp < '$at'::timestamptz - CASE aggregation_level WHEN 'instance' THEN interval '8 days' ELSE interval '37 days' END", $at), 0, 'old metrics are gone');
is(team("$hourly", $at), $rolled_up, 'what was computed from them is not');
is(team("SELECT count(*) FROM orchestry.verify_rollup('control_plane.metrics_hourly')", $at), 0, 'and the rest is right');
is(team("SELECT count(*) FILTER (WHERE status NOT IN (1, 8) AND close_time < '$at'::timestamptz AT TIME ZONE 'UTC' - interval '90 days'), count(*) FILTER (WHERE status IN (1, 8)) FROM temporal_visibility.executions", $at),
	'0|' . team("SELECT count(*) FROM input.events WHERE at > '$now'::timestamptz - interval '92 days' AND abs(hashtext(message)) % 8 + 1 IN (1, 8)"), 'closed executions are gone, open ones are not');
is(team('SELECT count(*) FROM temporal_visibility.custom_search_attributes a LEFT JOIN temporal_visibility.executions e USING (namespace_id, run_id) WHERE e.run_id IS NULL', $at), 0, 'with their attributes');
is(team("SELECT count(*) FILTER (WHERE status = 'stopped'), count(*) FILTER (WHERE status <> 'stopped') > 0 FROM control_plane.instances", $at), '0|t', 'instances that stopped are gone');
is(team('SELECT count(*) FROM preferences.user_preferences_history', $at), team('SELECT 2 * count(*) FROM preferences.users', $at), 'no history of preferences is');
is(team("SELECT string_agg(t || ': ' || what || ': ' || detail, E'\n') FROM unnest('{control_plane.events,control_plane.metrics_instance,control_plane.metrics_app,control_plane.metrics_system,workflow_events.workflow_events,temporal_visibility.executions,preferences.user_preferences_history}'::regclass[]) t, orchestry.verify(t) v WHERE NOT v.ok", $at), '', 'verify() finds nothing wrong');
# The functions beside the policies: nothing is left for them to do.
is(team("SELECT control_plane.compress_old_events(31, '$at'), temporal_visibility.cleanup_old_executions(91, '$at'), workflow_events.drop_old_workflow_events_partitions(13, '$at'), workflow_events.maintain_workflow_events_partitions('$at')", $at),
	'0|0|0|0', 'what the policies do the functions need not');

# Rows of the view are ordered as the server orders them.
sub sort_counts
{
	my ($text) = @_;
	return split /\n/, $node->safe_psql('work', "SELECT split_part(l, '|', 1), split_part(l, '|', 2), split_part(l, '|', 3), split_part(l, '|', 4) FROM regexp_split_to_table(\$rows\$$text\$rows\$, '\n') l
		ORDER BY nullif(split_part(l, '|', 1), ''), split_part(l, '|', 2), split_part(l, '|', 3)");
}

# The lines of two texts that are in one of them alone, the first few.
sub differences
{
	my ($one, $other) = map { my %lines = map { ($_ => 1) } split /\n/; \%lines } @_;
	my @lines = ((map { "- $_" } grep { !$other->{$_} } keys %$one), (map { "+ $_" } grep { !$one->{$_} } keys %$other));
	@lines = sort @lines;
	return join("\n", @lines > 9 ? (@lines[0 .. 8], '...') : @lines);
}

# Dumps. What there is and what it answers, without the policies.
my $inventory = <<"SQL";
SELECT string_agg(format('%s %s %s', n.nspname, x.kind, x.name), E'\\n' ORDER BY n.nspname COLLATE "C", x.kind, x.name COLLATE "C") FROM pg_namespace n JOIN (
    SELECT relnamespace, relkind::text, relname::text FROM pg_class WHERE relkind NOT IN ('t', 'c') UNION ALL
    SELECT pronamespace, 'function', oid::regprocedure::text FROM pg_proc UNION ALL
    SELECT connamespace, 'constraint', format('%s.%s: %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint WHERE conrelid <> 0 UNION ALL
    SELECT c.relnamespace, 'comment', format('%s: %s', c.oid::regclass, obj_description(c.oid, 'pg_class')) FROM pg_class c WHERE obj_description(c.oid, 'pg_class') IS NOT NULL UNION ALL
    SELECT c.relnamespace, 'trigger', format('%s.%s', t.tgrelid::regclass, t.tgname) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal) x(schema, kind, name)
ON x.schema = n.oid WHERE n.nspname IN ('control_plane', 'workflow_events', 'temporal', 'temporal_visibility', 'preferences')
SQL
my $state = <<"SQL";
SELECT (SELECT count(*) || ' ' || sum(value::numeric) FROM control_plane.metrics), (SELECT count(*) || ' ' || sum(event_count) FROM control_plane.events_compressed),
       (SELECT count(*) FROM control_plane.events), (SELECT count(*) FROM control_plane.get_apps_summary()), (SELECT count(*) FROM control_plane.get_app_metrics_window((SELECT min(name) FROM control_plane.applications), 60, '$at')),
       (SELECT sum(row_count) FROM workflow_events.get_workflow_events_partition_stats()), (SELECT count(*) FROM workflow_events.workflow_events_partition_info),
       (SELECT count(*) FROM temporal_visibility.executions), (SELECT md5(preferences.export_user_preferences(1)::text)), preferences.get_user_preference(2, 'n')
SQL
my $dir = PostgreSQL::Test::Utils::tempdir();
my $whole = team($inventory);
my $answered = $node->safe_psql('work', $state);
command_ok([ 'pg_dump', '-Fc', '-f', "$dir/work", '-N', 'input', $node->connstr('work') ], 'a dump of all');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
command_ok([ 'pg_restore', '-j2', '-d', $node->connstr('restored'), "$dir/work" ], 'is restored');
is(differences($whole, $node->safe_psql('restored', $inventory)), '', 'the same is there');
is($node->safe_psql('restored', $state), $answered, 'and says the same');
is($node->safe_psql('restored', "SET client_min_messages = error; SET ROLE team; SELECT orchestry.install_template(t) FROM unnest('{@{[ join ',', @templates ]}}'::text[]) t"),
	join("\n", @templates), 'the templates are known again');
is(differences($whole, $node->safe_psql('restored', $inventory)), '', 'and nothing changes');
is($node->safe_psql('restored', 'SELECT count(*), count(*) FILTER (WHERE state = \'restored\') FROM orchestry.jobs'), '18|18', 'their jobs wait to be resumed');
# Without the library: of four templates as they are, of the fifth without its rollup.
command_ok([ 'pg_dump', '-f', "$dir/four.sql", (map { ('-n', $_) } grep { $_ ne 'control_plane' } @templates), $node->connstr('work') ], 'a dump of four schemas');
$node->safe_psql('postgres', 'CREATE DATABASE four');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('four'), '-f', "$dir/four.sql" ], 'needs no extension');
$node->safe_psql('restored', 'SET client_min_messages = error; DROP EXTENSION orchestry_ext CASCADE');
my $left = $node->safe_psql('restored', $inventory);
# And its column of our type with its NOT NULL, which from 18 on is a constraint.
is(differences(join("\n", grep { !/ v metrics_hourly$|trigger .*\.orchestry_watch_| comment .*metrics_hourly:|: NOT NULL summary$/ } split /\n/, $whole), $left), '', 'DROP EXTENSION takes the rollup and nothing else');
command_ok([ 'pg_dump', '-f', "$dir/plain.sql", $node->connstr('restored') ], 'a dump without the extension');
ok(slurp_file("$dir/plain.sql") !~ qr/^CREATE EXTENSION|^\s*LANGUAGE c\b/m, 'asks for none');
$node->stop;
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', q(''));
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE plain');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('plain'), '-f', "$dir/plain.sql" ], 'is restored on a server without the library');
is(differences($left, $node->safe_psql('plain', $inventory)), '', 'the same is there');
is($node->safe_psql('plain', $state), $answered, 'and says the same');
is($node->safe_psql('plain', <<"SQL"), "4\n3\nt|t|t|t", 'and the functions do what they did');
SET ROLE team;
SELECT workflow_events.maintain_workflow_events_partitions('2027-06-10Z');
INSERT INTO workflow_events.workflow_events (run_id, ts, type, payload) SELECT id, '2027-08-31 12:00Z', 'later', '{}' FROM workflow_events.workflow_runs LIMIT 3;
SELECT count(*) FROM workflow_events.workflow_events WHERE ts > '2027-08-01';
SELECT workflow_events.drop_old_workflow_events_partitions(3, '2027-06-10Z') > 0, control_plane.compress_old_events(1, '$at') > 0,
       temporal_visibility.cleanup_old_executions(1, '$at'::timestamptz + interval '1 year') > 0, (SELECT sum(deleted_count) > 0 FROM control_plane.cleanup_old_data('$at'::timestamptz + interval '1 year'))
SQL
is(count_log($node, qr/PANIC|TRAP|terminated by signal/), 0, 'the log is clean');
$node->stop;
done_testing();
