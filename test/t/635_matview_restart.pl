# What is remembered of materialized views that were looked at is gone when the server has been started again, and is not known on a
# standby: nobody is told that they were too old.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;

my $database = 'postgres';
my $node = new_server('matview_restart', init => { allows_streaming => 1 }, conf => "autovacuum = off\norchestry.databases = ''\n");
$node->safe_psql($database, <<'SQL');
CREATE EXTENSION orchestry_ext;
CREATE TABLE t (v int);
CREATE MATERIALIZED VIEW n AS SELECT count(*) FROM t;
CREATE MATERIALIZED VIEW never AS SELECT count(*) FROM t;
SELECT orchestry.add_refresh_policy('n', '1 hour'), orchestry.add_refresh_policy('never', '1 hour', change_detection => 'none');
CALL orchestry.run();
UPDATE orchestry.job SET anchor = anchor - interval '3 days';
UPDATE orchestry.refresh_state SET refreshed_at = refreshed_at - interval '3 days', as_of = as_of - interval '3 days';
UPDATE orchestry.job_state SET next_run_at = now() - interval '3 days' + interval '1 hour';
SELECT orchestry.pause_job(job_id) FROM orchestry.matviews WHERE matview = 'never'::regclass;
CALL orchestry.run_due();
SQL
my $seen = q(SELECT now() - as_of < '1 hour', percent_in_time FROM orchestry.matviews ORDER BY matview::text DESC);
is($node->safe_psql($database, $seen), "f|0.0\nt|100.0", 'a view was found right, and one was not');

$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('matview_restart_standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
is($standby->safe_psql($database, $seen), "f|\nf|", 'a standby does not know for how long they were right');
$node->safe_psql($database, <<'SQL'); # refreshed since the standby was started
INSERT INTO t VALUES (1);
CALL orchestry.refresh('n');
UPDATE orchestry.refresh_state SET as_of = now() - interval '3 days';
UPDATE orchestry.job_state SET next_run_at = now() - interval '3 days' + interval '1 hour';
SQL
$node->wait_for_catchup($standby);
is($standby->safe_psql($database, q(SELECT max(value) FROM orchestry.metrics WHERE name = 'orchestry_job_late_seconds')), '0', 'and calls no job late, for it runs none');
$standby->promote;
is($standby->safe_psql($database, q(SELECT code, object FROM orchestry.health() WHERE code IN ('job_late', 'matview_stale') ORDER BY 1)), '', 'nor when it is promoted');
$standby->stop;

$node->restart;
is($node->safe_psql($database, $seen), "f|0.0\nf|100.0", 'after a restart the view is not known to have been too old');
is($node->safe_psql($database, q(SELECT code FROM orchestry.health() WHERE code IN ('job_late', 'matview_stale', 'scheduler'))), '', 'nor late');
is($node->safe_psql($database, q(SELECT max(value) < 600 FROM orchestry.metrics WHERE name = 'orchestry_job_late_seconds')), 't', 'whoever asks');
$node->safe_psql($database, q(INSERT INTO t VALUES (1); SELECT orchestry.resume_job(job_id) FROM orchestry.jobs WHERE state = 'paused'; CALL orchestry.run_due()));
is($node->safe_psql($database, 'SELECT n.count, never.count FROM n, never'), '2|2', 'it has changed and is refreshed');
is($node->safe_psql($database, q(SELECT j.target_name FROM orchestry.refresh_breach b JOIN orchestry.job j USING (job_id) WHERE b.to_at - b.from_at > interval '1 day')),
	'never', 'and is not counted as too old for the time that it was looked at');
is($node->safe_psql($database, $seen), "t|0.0\nt|100.0", 'nor is it by the view');
is(count_log($node, 'PANIC|TRAP|terminated by signal|WARNING:.*(leak|refcount|not closed)'), 0, 'the log is clean');
$node->stop;
done_testing();
