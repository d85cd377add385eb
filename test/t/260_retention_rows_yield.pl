# Batches of rows wait, with nothing held, for a replica that is too far behind and for VACUUM on their table; a run that
# waits can be cancelled, and the next one goes on where the rows are.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;

my $database = 'postgres';
my $primary = new_server('primary', init => { allows_streaming => 1 }, conf => <<'CONF');
orchestry.databases = ''
orchestry.max_replication_lag = '1 MB'
autovacuum = off
CONF
$primary->safe_psql($database, <<'SQL');
CREATE EXTENSION orchestry_ext;
CREATE TABLE ev (id int, at timestamptz NOT NULL, filler text);
INSERT INTO ev SELECT n, now() - interval '60 days', repeat('x', 100) FROM generate_series(1, 20000) n;
CREATE TABLE other (filler text);
SQL
my $job = $primary->safe_psql($database, <<'SQL');
SET client_min_messages = warning;
SELECT orchestry.add_retention_policy('ev', interval '30 days', time_column => 'at', batch_rows => 500);
SQL
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby);

sub rows_left { return $primary->safe_psql($database, 'SELECT count(*) FROM ev') }

sub wait_until_it_waits
{
	my ($run) = @_;
	return wait_until($primary, $database, "SELECT count(*) = 1 FROM orchestry.progress WHERE run_id = $run AND phase = 'stepping aside'");
}

# What a waiting run must not hold.
sub locks_on_table
{
	my ($run) = @_;
	return $primary->safe_psql($database,
		"SELECT count(*) FROM pg_locks l JOIN orchestry.runs r ON r.pid = l.pid WHERE r.run_id = $run AND l.relation = 'ev'::regclass");
}

# A replica that does not replay.
$standby->safe_psql($database, 'SELECT pg_wal_replay_pause()');
wait_until($standby, $database, "SELECT pg_get_wal_replay_pause_state() = 'paused'");
$primary->safe_psql($database, "INSERT INTO other SELECT repeat('y', 1000) FROM generate_series(1, 3000)");
my $run = $primary->safe_psql($database, "SELECT orchestry.start_job($job)");
wait_until_it_waits($run);
is(rows_left(), 20000, 'no row goes while a replica is behind');
is(locks_on_table($run), 0, 'and the table is not locked meanwhile');
is($primary->safe_psql($database, "SELECT rows_total > 0 AND rows_done = 0 FROM orchestry.progress WHERE run_id = $run"), 't', 'progress says how many rows there are to go');
$primary->safe_psql($database, "SELECT orchestry.cancel_run($run)");
like(wait_for_run($primary, $database, $run), qr/^failed\|57014/, 'a run that waits can be cancelled');
is(rows_left(), 20000, 'it has taken nothing');
$run = $primary->safe_psql($database, "SELECT orchestry.start_job($job)");
wait_until_it_waits($run);
$standby->safe_psql($database, 'SELECT pg_wal_replay_resume()');
like(wait_for_run($primary, $database, $run), qr/^ok/, 'it goes on when the replica has caught up');
is(rows_left(), 0, 'to the end');

# No replica is waited for when none shall be.
$primary->safe_psql($database, "INSERT INTO ev SELECT n, now() - interval '60 days' FROM generate_series(1, 1000) n");
$primary->wait_for_catchup($standby);
$standby->safe_psql($database, 'SELECT pg_wal_replay_pause()');
wait_until($standby, $database, "SELECT pg_get_wal_replay_pause_state() = 'paused'");
$primary->safe_psql($database, "INSERT INTO other SELECT repeat('y', 1000) FROM generate_series(1, 3000)");
$primary->safe_psql($database, "ALTER SYSTEM SET orchestry.max_replication_lag = -1");
$primary->reload;
$primary->safe_psql($database, "CALL orchestry.run('ev')");
is(rows_left(), 0, 'with orchestry.max_replication_lag = -1 none is waited for');
$standby->stop('immediate');

# VACUUM at work, slowly.
$primary->safe_psql($database, "INSERT INTO ev SELECT n, now() - interval '60 days', repeat('x', 100) FROM generate_series(1, 20000) n");
my $vacuum = $primary->background_psql($database, on_error_stop => 0);
$vacuum->query_safe("SET vacuum_cost_delay = '100 ms'");
$vacuum->query_safe('SET vacuum_cost_limit = 1');
$vacuum->{stdin} .= "VACUUM ev;\n";
$vacuum->{run}->pump_nb;
wait_until($primary, $database, "SELECT count(*) = 1 FROM pg_stat_progress_vacuum WHERE relid = 'ev'::regclass");
$run = $primary->safe_psql($database, "SELECT orchestry.start_job($job)");
wait_until_it_waits($run);
is(rows_left(), 20000, 'no row goes while VACUUM is at work on the table');
is(locks_on_table($run), 0, 'and the table is not locked meanwhile');
$primary->safe_psql($database, 'SELECT pg_cancel_backend(pid) FROM pg_stat_progress_vacuum');
like(wait_for_run($primary, $database, $run), qr/^ok/, 'it goes on when VACUUM has ended');
is(rows_left(), 0, 'to the end');
is($primary->safe_psql($database, "SELECT r.rows || ' ' || s.rows FROM orchestry.runs r JOIN orchestry.run_steps s USING (run_id) WHERE run_id = $run AND s.action = 'delete_rows'"),
	'20000 20000', 'run and step count the rows of all batches');
eval { $vacuum->{run}->kill_kill; };
$primary->stop;
done_testing();
