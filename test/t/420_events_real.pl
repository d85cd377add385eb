# Event compression on real events: counts by app, type and severity are the same before and after for every hour; what
# it comes to in rows and bytes is printed.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;

my $file = ($ENV{ORCHESTRY_DATA} // '../shared/data') . '/events.csv.gz';
plan skip_all => "no real data: there is no $file (ORCHESTRY_DATA)" unless -r $file;

my $database = 'postgres';
my $node = new_server('events_real', conf => "orchestry.databases = ''\nautovacuum = off\n");
$node->safe_psql($database, <<'SQL');
CREATE EXTENSION orchestry_ext;
CREATE TABLE ev ("timestamp" timestamptz, source text, app_name text, event_type text, severity text, message text, details jsonb);
SQL
$node->safe_psql($database, "COPY ev FROM PROGRAM 'gzip -dc ''$file''' (FORMAT csv, HEADER)");
# Groups and severities that are not known, as an event table has them too.
$node->safe_psql($database, <<'SQL');
INSERT INTO ev SELECT "timestamp", source, CASE WHEN h % 2 = 0 THEN app_name END, CASE WHEN h % 3 = 0 THEN event_type END, CASE WHEN h % 5 = 0 THEN severity END, message, details
FROM (SELECT *, abs(hashtext(message)) AS h FROM ev) e WHERE h % 20 = 0 AND source <> 'elastic-apache';
CREATE INDEX ON ev ("timestamp");
VACUUM ANALYZE ev;
SQL
my $bytes = "SELECT pg_size_pretty(pg_table_size(t)) || ' and ' || pg_size_pretty(pg_indexes_size(t)) || ' of indexes' FROM regclass(\$\$%s\$\$) t";
my $rows = $node->safe_psql($database, 'SELECT count(*) FROM ev');
diag("before: $rows rows, " . $node->safe_psql($database, sprintf $bytes, 'ev'));
$node->safe_psql($database, <<'SQL');
SET client_min_messages = error;
SELECT orchestry.add_event_compression_policy('ev', '0', into_table => 'ev_hourly', time_column => 'timestamp', group_by => '{source,app_name,event_type}', count_values_of => 'severity', sample_of => 'message');
SET orchestry.now = '2100-01-01';
CREATE VIEW found AS
SELECT hour, source, app_name, event_type, severity, sum(n) AS n FROM (
    SELECT date_trunc('hour', "timestamp", 'UTC') AS hour, source, app_name, event_type, severity, 1::numeric AS n FROM ev
    UNION ALL SELECT bucket, source, app_name, event_type, c.key, c.value::numeric FROM ev_hourly, jsonb_each_text(severity_counts) c
    UNION ALL SELECT bucket, source, app_name, event_type, NULL, event_count - (SELECT COALESCE(sum(c.value::numeric), 0) FROM jsonb_each_text(severity_counts) c) FROM ev_hourly) f
GROUP BY hour, source, app_name, event_type, severity HAVING sum(n) <> 0;
CREATE TABLE before AS TABLE found;
-- The newest five messages of each hour and group, by plain SQL.
CREATE TABLE newest AS
SELECT hour, source, app_name, event_type, array_agg(message ORDER BY place) AS messages FROM (
    SELECT *, row_number() OVER (PARTITION BY hour, source, app_name, event_type ORDER BY at DESC, message COLLATE "C") AS place FROM (
        SELECT date_trunc('hour', "timestamp", 'UTC') AS hour, source, app_name, event_type, message, max("timestamp") AS at FROM ev GROUP BY 1, 2, 3, 4, 5) m) p
WHERE place <= 5 GROUP BY 1, 2, 3, 4;
SQL
diag('planned: ' . $node->safe_psql($database, "SELECT reason FROM orchestry.plan('ev', '2100-01-01') WHERE action = 'leave'"));
$node->safe_psql($database, "SET orchestry.now = '2100-01-01'; CALL orchestry.run('ev')");
is($node->safe_psql($database, 'SELECT count(*) FROM ev'), 0, 'all events are old enough');
is($node->safe_psql($database, 'SELECT sum(event_count) FROM ev_hourly'), $rows, 'and counted');
is($node->safe_psql($database, 'SELECT count(*) FROM ((TABLE before EXCEPT TABLE found) UNION ALL (TABLE found EXCEPT TABLE before)) d'),
	0, 'each hour has the counts it had, by source, app, type and severity');
is($node->safe_psql($database, "SELECT count(*) FROM ev_hourly WHERE source = 'elastic-apache'"), 241, '10,000 web requests become 241 rows');
is($node->safe_psql($database, "SELECT sum(event_count) FROM ev_hourly WHERE source = 'elastic-apache'"), 10_000, 'of 10,000 events');
is($node->safe_psql($database, <<'SQL'), 0, 'the samples are the newest five');
SELECT count(*) FROM newest n FULL JOIN ev_hourly h ON n.hour = h.bucket AND (n.source, n.app_name, n.event_type) IS NOT DISTINCT FROM (h.source, h.app_name, h.event_type)
WHERE n.messages IS DISTINCT FROM h.sample_messages
SQL
is($node->safe_psql($database, "SELECT count(*) FROM orchestry.verify_event_compression('ev')"), 0, 'verify_event_compression() agrees');
$node->safe_psql($database, 'VACUUM FULL ev_hourly');
for my $source ('elastic-apache', 'git-history')
{
	diag("$source: " . $node->safe_psql($database, "SELECT sum(event_count) || ' events are ' || count(*) || ' rows, ' || round(sum(event_count) / count(*), 1) || ' to 1' FROM ev_hourly WHERE source = '$source'"));
}
diag('after: ' . $node->safe_psql($database, 'SELECT count(*) FROM ev_hourly') . ' rows, ' . $node->safe_psql($database, sprintf $bytes, 'ev_hourly'));

$node->stop;
done_testing();
