# Materialized views over real metrics, three levels with a diamond, and the workflow_metrics of a Temporal visibility store: the
# right order, the right rows, siblings and strangers untouched.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;

my $input = ($ENV{ORCHESTRY_DATA} // '') . '/metrics.csv.gz';
plan skip_all => 'no metrics.csv.gz in ORCHESTRY_DATA' unless -r $input;

my $database = 'postgres';
my $node = new_server('matview_data', conf => "orchestry.databases = ''\nautovacuum = off\nmax_wal_size = '4GB'\n");
$node->safe_psql($database, <<'SQL');
CREATE EXTENSION orchestry_ext;
CREATE TABLE metrics (source text, app text, metric_type text, unit text, ts timestamptz NOT NULL, value float8) PARTITION BY RANGE (ts);
SELECT orchestry.add_partition_policy('metrics', every => '1 year', past => '30 years');
SQL
my $copy = 'COPY metrics FROM STDIN (FORMAT csv, HEADER)';
is(system(sprintf q{gzip -dc '%s' | psql -X -q -d '%s' -c '%s'}, $input, $node->connstr($database), $copy), 0, 'the file is read');
$node->safe_psql($database, <<'SQL');
CREATE MATERIALIZED VIEW daily AS SELECT source, metric_type, date_trunc('day', ts) AS day, count(*), min(value), max(value) FROM metrics GROUP BY 1, 2, 3;
CREATE MATERIALIZED VIEW by_source AS SELECT source, sum(count) AS rows, max(max) AS highest FROM daily GROUP BY source;
CREATE MATERIALIZED VIEW by_type AS SELECT metric_type, sum(count) AS rows FROM daily GROUP BY metric_type;
CREATE MATERIALIZED VIEW summary AS SELECT (SELECT sum(rows) FROM by_source) AS by_source, (SELECT sum(rows) FROM by_type) AS by_type, (SELECT count(*) FROM by_source) AS sources;
CREATE MATERIALIZED VIEW apps AS SELECT app, count(*) FROM metrics WHERE value IS NULL GROUP BY app;
CREATE UNIQUE INDEX ON daily (source, metric_type, day);
CREATE UNIQUE INDEX ON by_source (source);
CREATE UNIQUE INDEX ON by_type (metric_type);

-- As a Temporal visibility store has it: 1 running, 2 completed, 3 failed, 4 canceled. None started about 30 days ago, so that a
-- day that begins meanwhile takes nothing out of the view.
CREATE SCHEMA temporal_visibility;
CREATE TABLE temporal_visibility.executions (namespace_id text, run_id int, workflow_type_name text, start_time timestamptz NOT NULL, close_time timestamptz, status int,
    PRIMARY KEY (namespace_id, run_id, start_time)) PARTITION BY RANGE (start_time);
CREATE TABLE temporal_visibility.executions_default PARTITION OF temporal_visibility.executions DEFAULT;
INSERT INTO temporal_visibility.executions SELECT 'ns ' || i % 2, i, 'type ' || i % 5, now() - i * interval '5 min', now() - i * interval '4 min', 1 + i % 4 FROM generate_series(1, 20000) i
WHERE i * interval '5 min' NOT BETWEEN '28 days' AND '32 days';
CREATE VIEW public.workflows AS
SELECT namespace_id, workflow_type_name, (start_time AT TIME ZONE 'UTC')::date AS execution_date, count(*) AS total_executions,
       count(*) FILTER (WHERE status = 2) AS completed_executions, count(*) FILTER (WHERE status = 3) AS failed_executions,
       count(*) FILTER (WHERE status = 4) AS canceled_executions, avg(EXTRACT(epoch FROM close_time - start_time)) AS avg_duration_seconds,
       percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY EXTRACT(epoch FROM close_time - start_time)::float8) AS duration_seconds
FROM temporal_visibility.executions WHERE start_time >= (now() AT TIME ZONE 'UTC')::date - 30 GROUP BY 1, 2, 3;
CREATE MATERIALIZED VIEW temporal_visibility.workflow_metrics AS TABLE public.workflows;
CREATE UNIQUE INDEX ON temporal_visibility.workflow_metrics (namespace_id, workflow_type_name, execution_date);
SET client_min_messages = error;
SELECT orchestry.add_refresh_policy(v) FROM unnest('{daily,by_source,by_type,summary,apps,temporal_visibility.workflow_metrics}'::regclass[]) v;
CALL orchestry.run();
-- Rows of a view that are not what its query says.
CREATE VIEW wrong AS
SELECT (SELECT count(*) FROM ((SELECT source, metric_type, date_trunc('day', ts), count(*), min(value), max(value) FROM metrics GROUP BY 1, 2, 3) EXCEPT ALL TABLE daily) d)
     + (SELECT count(*) FROM ((SELECT source, count(*), max(value) FROM metrics GROUP BY 1) EXCEPT ALL TABLE by_source) d)
     + (SELECT count(*) FROM ((SELECT metric_type, count(*) FROM metrics GROUP BY 1) EXCEPT ALL TABLE by_type) d)
     + (SELECT count(*) FROM ((SELECT count(*)::numeric, count(*)::numeric, count(DISTINCT source) FROM metrics) EXCEPT ALL TABLE summary) d)
     + (SELECT count(*) FROM ((TABLE workflows EXCEPT ALL TABLE temporal_visibility.workflow_metrics) UNION ALL (TABLE temporal_visibility.workflow_metrics EXCEPT ALL TABLE workflows)) d) AS wrong;
SQL
cmp_ok($node->safe_psql($database, 'SELECT by_source FROM summary'), '>', 900_000, 'all rows are in the views');
is($node->safe_psql($database, 'TABLE wrong'), 0, 'which are what their queries say');

sub steps
{
	my ($view) = @_;
	$node->safe_psql($database, "CALL orchestry.refresh('$view')");
	return $node->safe_psql($database, q(SELECT string_agg(object, ' ' ORDER BY seq) FROM orchestry.run_steps WHERE state = 'ok' AND run_id = (SELECT max(run_id) FROM orchestry.runs)));
}
is(steps('summary'), '', 'nothing has changed, nothing is done');
$node->safe_psql($database, q(INSERT INTO metrics SELECT * FROM metrics WHERE source = 'nab' LIMIT 1000));
is(steps('by_type'), 'public.daily public.by_type', 'a view with what it reads, and not its sibling');
is(steps('summary'), 'public.by_source public.summary', 'the sibling, and what reads both');
is($node->safe_psql($database, 'TABLE wrong'), 0, 'all are right');
is($node->safe_psql($database, q(SELECT changed FROM orchestry.matviews WHERE matview = 'apps'::regclass)), 't', 'a view that is not on the way is not touched');
is(steps('apps'), 'public.apps', 'until somebody asks for it');
$node->safe_psql($database, q(UPDATE temporal_visibility.executions SET status = 3 WHERE run_id = 8));
is(steps('temporal_visibility.workflow_metrics'), 'temporal_visibility.workflow_metrics', 'workflow_metrics is refreshed');
is($node->safe_psql($database, q(SELECT max(rows) FROM orchestry.run_steps WHERE run_id = (SELECT max(run_id) FROM orchestry.runs))), 2, 'by one row, out and in');
is($node->safe_psql($database, 'TABLE wrong'), 0, 'and is right');
like($node->safe_psql($database, q(SELECT reason FROM orchestry.explain('temporal_visibility.workflow_metrics') WHERE state = 'never skipped')), qr/it calls now/, 'a window up to now is never skipped');
is(count_log($node, qr/PANIC|TRAP|terminated by signal/), 0, 'the log is clean');
$node->stop;
done_testing();
