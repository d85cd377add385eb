# The clean-up jobs that people write by hand, as policies on real data: what goes is what the statements beside them say.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;

my $data = $ENV{ORCHESTRY_DATA} // '../shared/data';
plan skip_all => "no real data in $data (ORCHESTRY_DATA)" unless -r "$data/events.csv.gz" && -r "$data/metrics.csv.gz";

my $database = 'postgres';
my $node = new_server('retention_rows_data', conf => <<'CONF');
orchestry.databases = ''
max_wal_size = '2 GB'
CONF

# Every source is moved in time so that its newest row is written now. A metric's level is made up from its name.
$node->safe_psql($database, <<"SQL");
CREATE EXTENSION orchestry_ext;
CREATE TABLE raw_event (at timestamptz, source text, app text, event_type text, severity text, message text, details jsonb);
COPY raw_event FROM PROGRAM 'zcat "$data/events.csv.gz"' WITH (FORMAT csv, HEADER);
CREATE TABLE raw_metric (source text, app text, metric_type text, unit text, at timestamptz, value float8);
COPY raw_metric FROM PROGRAM 'zcat "$data/metrics.csv.gz"' WITH (FORMAT csv, HEADER);
CREATE TABLE events AS
SELECT row_number() OVER () AS id, e.source, e.app AS app_name, e.event_type, e.severity, e.message, e.at + (now() - s.newest) AS "timestamp"
FROM raw_event e JOIN (SELECT source, max(at) AS newest FROM raw_event GROUP BY source) s USING (source);
ALTER TABLE events ADD PRIMARY KEY (id);
CREATE TABLE metrics AS
SELECT row_number() OVER () AS id, m.app AS app_name, m.value, m.at + (now() - s.newest) AS "timestamp",
       (ARRAY['instance', 'app', 'system', NULL])[1 + abs(hashtext(m.app)) % 4] AS aggregation_level
FROM raw_metric m JOIN (SELECT source, max(at) AS newest FROM raw_metric GROUP BY source) s USING (source);
ALTER TABLE metrics ADD PRIMARY KEY (id);
-- An execution for each message: its state is made up, and it is closed unless it runs (1) or pauses (8). Times are UTC.
CREATE TABLE executions AS
SELECT id AS run_id, 1 + id % 8 AS status, ("timestamp" - interval '1 hour') AT TIME ZONE 'UTC' AS start_time,
       CASE WHEN 1 + id % 8 NOT IN (1, 8) THEN "timestamp" AT TIME ZONE 'UTC' END AS close_time FROM events;
CREATE INDEX ON metrics ("timestamp");
ANALYZE;
CREATE TABLE clock AS SELECT now() AS now;
CREATE TABLE gone AS
SELECT 'events' AS t, id FROM events, clock WHERE "timestamp" < now - interval '30 days'
UNION ALL SELECT 'metrics', id FROM metrics, clock WHERE "timestamp" < now - CASE aggregation_level WHEN 'instance' THEN interval '7 days' WHEN 'app' THEN interval '30 days' ELSE interval '90 days' END
UNION ALL SELECT 'executions', run_id FROM executions, clock WHERE close_time < (now - interval '90 days') AT TIME ZONE 'UTC' AND status NOT IN (1, 8);
CREATE TABLE here AS SELECT 'events' AS t, id FROM events UNION ALL SELECT 'metrics', id FROM metrics UNION ALL SELECT 'executions', run_id FROM executions;
CREATE TABLE kept AS TABLE here EXCEPT ALL TABLE gone;
SQL
my $now = $node->safe_psql($database, 'SELECT now FROM clock');
$node->safe_psql($database, <<"SQL");
SET client_min_messages = warning;
SET orchestry.now = '$now';
SELECT orchestry.add_retention_policy('events', interval '30 days', time_column => 'timestamp', archive_to => 'events_archive');
SELECT orchestry.add_retention_policy('metrics', interval '7 days', time_column => 'timestamp', "where" => \$\$aggregation_level = 'instance'\$\$);
SELECT orchestry.add_retention_policy('metrics', interval '30 days', time_column => 'timestamp', "where" => \$\$aggregation_level = 'app'\$\$);
SELECT orchestry.add_retention_policy('metrics', interval '90 days', time_column => 'timestamp', "where" => \$\$aggregation_level IS NULL OR aggregation_level = 'system'\$\$);
SELECT orchestry.add_retention_policy('executions', interval '90 days', time_column => 'close_time', "where" => 'status NOT IN (1, 8)');
SQL
for my $table (qw(events metrics executions))
{
	my ($status, $out, $err) = $node->psql($database, "SET orchestry.now = '$now';\nSET TimeZone = 'Asia/Tokyo';\nCALL orchestry.run('$table');");
	is($err, '', "$table: the run ends well");
	my $id = $table eq 'executions' ? 'run_id' : 'id';
	note($node->safe_psql($database, "SELECT count(*) || ' rows are to go, ' || (SELECT count(*) FROM kept WHERE t = '$table') || ' to stay' FROM gone WHERE t = '$table'"));
	is($node->safe_psql($database, "SELECT count(*) > 0 FROM gone WHERE t = '$table'"), 't', "$table: there are rows to go");
	is($node->safe_psql($database, "SELECT count(*) FROM (SELECT id FROM kept WHERE t = '$table') k FULL JOIN $table x ON x.$id = k.id WHERE k.id IS NULL OR x.$id IS NULL"),
		0, "$table: what stays is what is to stay");
}
is($node->safe_psql($database, "SELECT count(*) FROM (SELECT id FROM gone WHERE t = 'events') g FULL JOIN events_archive a USING (id) WHERE g IS NULL OR a IS NULL"),
	0, 'events: the rest is in the archive');

$node->stop;
done_testing();
