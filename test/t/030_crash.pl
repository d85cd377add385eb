# Processes of ours that die, or whose server dies: everybody comes back, every run is recorded once, nothing is left
# half made.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

random_seed();
my $node = new_server('crash');
my $database = 'postgres';
$node->safe_psql($database, 'CREATE EXTENSION orchestry_ext');
install_gate($node, $database);

sub accepts_after
{
	my $start = time;
	# Not psql: one that is refused may not live to read its query, and the test would die of the broken pipe.
	usleep(20_000) until run_log([ 'pg_isready', '-q', '-h', $node->host, '-p', $node->port ]) || time - $start > 60;
	return time - $start;
}

# R09: whoever is ended comes back within 5 s after the server accepts, and does not fill the log.
wait_for_scheduler($node, $database);
for my $case (['launcher', 'TERM'], ['scheduler', 'TERM'], ['launcher', 'KILL'], ['scheduler', 'KILL'], ['neighbour', 'KILL'])
{
	my ($kind, $signal) = @$case;
	my ($launcher) = processes($node, 'launcher');
	my $scheduler = wait_for_scheduler($node, $database);
	my ($victim, $neighbour) = $kind eq 'launcher' ? $launcher : $scheduler;
	if ($kind eq 'neighbour')
	{
		$neighbour = $node->background_psql($database, on_error_stop => 0);
		$victim = $neighbour->query_safe('SELECT pg_backend_pid()');
	}
	my $log = -s $node->logfile;
	my $start = time;
	kill $signal, $victim;
	wait_for_exit($victim);
	accepts_after();
	my $accepted = time;
	wait_until($node, $database, <<"SQL");
SELECT count(*) FILTER (WHERE backend_type = 'orchestry launcher' AND pid <> $victim) = 1
   AND count(*) FILTER (WHERE backend_type = 'orchestry scheduler' AND pid <> $victim) = 1
FROM pg_stat_activity
SQL
	pass("$kind ended by SIG$signal: all are back");
	took_at_most(time - $accepted, 5, 'after the server accepts');
	note(seconds(time - $start) . ' after the signal');
	my %lines;
	my $text = slurp_file($node->logfile, $log);
	$lines{$1}++ while $text =~ /\] orchestry (\w+) /g;
	is(scalar(grep { $_ > 1 } values %lines), 0, 'with at most one log line of each kind of process');
	if ($neighbour) { eval { $neighbour->quit } }
}

# A run whose process ends is recorded as crashed, once, and tried again after a pause.
my $job = make_policy($node, $database, 'once', ahead => 3);
for my $signal ('TERM', 'KILL')
{
	set_gate($node, $database, 'block', 2);
	my $ahead = $signal eq 'TERM' ? 6 : 9;
	$node->safe_psql($database, "SELECT orchestry.alter_policy($job, '{\"ahead\": \"$ahead days\"}')");
	wait_at_gate($node, $database);
	my ($worker) = processes($node, 'worker');
	my $run = $node->safe_psql($database, "SELECT run_id FROM orchestry.run WHERE job_id = $job AND state = 'running'");
	kill $signal, $worker;
	wait_for_exit($worker);
	accepts_after();
	like(wait_for_run($node, $database, $run), qr/^crashed\|57P02/, "SIG$signal to a worker: its run has crashed");
	is( $node->safe_psql($database, <<"SQL"), '1|t|t', 'once; its job is tried again after a pause, not at once');
SELECT failures, next_run_at > last_at + interval '2 s', next_run_at < last_at + interval '6 s'
FROM orchestry.jobs WHERE job_id = $job
SQL
	is(half_made($node, $database), '0', 'no half-made partition');
	$node->safe_psql($database, "UPDATE public.gate SET mode = 'open'");
	$node->safe_psql($database, "UPDATE orchestry.job_state SET next_run_at = now() WHERE job_id = $job");
	wait_until($node, $database, "SELECT last_state = 'ok' AND failures = 0 FROM orchestry.jobs WHERE job_id = $job");
	is( $node->safe_psql($database, q(SELECT count(*) FROM pg_inherits WHERE inhparent = 's.once'::regclass)),
		$ahead + 1, 'the next run converges');
	is( $node->safe_psql($database, "SELECT state FROM orchestry.run WHERE run_id = $run"),
		'crashed', 'and the first stays what it was');
}
my $run = background($node, $database, 'SELECT pg_sleep(3600)');
wait_until($node, $database, "SELECT state = 'running' FROM orchestry.run WHERE run_id = $run");
kill 'TERM', processes($node, 'worker');
like(wait_for_run($node, $database, $run), qr/^crashed\|57P02/, 'so has a statement');

# So has what is due by a deadline, when the scheduler is started again with the server.
$node->safe_psql($database, <<'SQL');
CREATE TABLE s.slow_when (v bool);
INSERT INTO s.slow_when VALUES (false);
CREATE MATERIALIZED VIEW s.slow AS SELECT v, CASE WHEN v THEN pg_sleep(3600)::text END AS n FROM s.slow_when;
SELECT orchestry.add_refresh_policy('s.slow', max_staleness => '1 day');
CALL orchestry.run('s.slow');
UPDATE s.slow_when SET v = true;
SQL
$job = $node->safe_psql($database, q(SELECT job_id FROM orchestry.jobs WHERE target_name = 'slow'));
$run = $node->safe_psql($database, "SELECT orchestry.start_job($job)");
wait_until($node, $database, q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'orchestry worker' AND wait_event = 'PgSleep'));
$node->safe_psql($database, q(UPDATE public.gate SET mode = 'open')); # waits for the disk, and so is the beginning of the run on it
my ($victim) = processes($node, 'worker');
kill 'KILL', $victim;
wait_for_exit($victim);
accepts_after();
like(wait_for_run($node, $database, $run), qr/^crashed\|57P02/, 'the run of a materialized view has crashed with the server');
my $again = "SELECT run_id FROM orchestry.run WHERE job_id = $job AND run_id > $run AND state = 'running'";
wait_until($node, $database, "SELECT EXISTS ($again)");
is( $node->safe_psql($database, "SELECT r.trigger, r.attempt, r.started_at > c.finished_at + interval '2 s' FROM orchestry.run r, orchestry.run c WHERE r.run_id = ($again) AND c.run_id = $run"),
	'retry|2|t', 'and is tried again after a pause, not as soon as the server is back');
$node->safe_psql($database, "UPDATE s.slow_when SET v = false; SELECT orchestry.cancel_run(($again))");
$node->safe_psql($database, "SET client_min_messages = error; DROP MATERIALIZED VIEW s.slow; DROP TABLE s.slow_when; CALL orchestry.run_due()");

# R06: many starts, each ended at a random place by a random signal, or not at all.
my $starts = long_count(12, 1000);
$job = make_policy($node, $database, 'often', ahead => 1);
$node->safe_psql($database, 'ALTER SYSTEM SET orchestry.history_keep_runs = 100000; SELECT pg_reload_conf()');
my $kills = 0;
my @runs;
for my $i (1 .. $starts)
{
	# So long a pause after a failure that only we start runs.
	my $nth = 1 + int(rand(4));
	set_gate($node, $database, 'block', $nth);
	my $ahead = 1 + 3 * $i;
	$node->safe_psql($database, "BEGIN; SELECT orchestry.alter_policy($job, '{\"ahead\": \"$ahead days\"}');"
		  . " UPDATE orchestry.job_state SET next_run_at = now() + '1 day' WHERE job_id = $job; COMMIT");
	push @runs, $run = $node->safe_psql($database, "SELECT orchestry.start_job($job)");
	my $signal = (qw(TERM TERM TERM KILL none))[ int(rand(5)) ];
	# The gate may not be reached when earlier runs have left less to do.
	wait_until($node, $database, <<"SQL");
SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711)
    OR EXISTS (SELECT FROM orchestry.run WHERE run_id = $run AND state NOT IN ('queued', 'waiting', 'running'))
SQL
	my ($worker) = processes($node, 'worker');
	if ($worker && $signal ne 'none')
	{
		$kills++;
		kill $signal, $worker;
		wait_for_exit($worker);
		accepts_after();
	}
	$node->safe_psql($database, "UPDATE public.gate SET mode = 'open'");
	wait_for_run($node, $database, $run);
}
my $states = $node->safe_psql($database, <<"SQL");
SELECT string_agg(state || ' ' || n, ', ' ORDER BY state) FROM
    (SELECT state, sum(repeated) n FROM orchestry.run WHERE run_id IN (@{[ join ',', @runs ]}) GROUP BY state) s
SQL
note("$starts starts, $kills killed: $states");
is( $node->safe_psql($database, "SELECT sum(repeated) FROM orchestry.run WHERE job_id = $job AND trigger = 'manual'"),
	$starts, "each of $starts starts is recorded exactly once");
is( $node->safe_psql($database, "SELECT count(*) FROM orchestry.run WHERE run_id IN (@{[ join ',', @runs ]}) AND state NOT IN ('ok', 'noop', 'crashed')"),
	'0', 'as ok, noop or crashed');
is( $node->safe_psql($database, <<"SQL"), '0', 'no step is recorded whose partition is not there');
SELECT count(*) FROM orchestry.run_step s JOIN orchestry.run r USING (run_id)
WHERE r.job_id = $job AND s.state = 'ok' AND s.action = 'create' AND to_regclass(s.object) IS NULL
SQL
is( $node->safe_psql($database, <<"SQL"), '0', 'no partition is there whose step is not recorded');
SELECT count(*) FROM pg_inherits i WHERE i.inhparent = 's.often'::regclass
AND i.inhrelid > (SELECT max(inhrelid) FROM (SELECT inhrelid FROM pg_inherits WHERE inhparent = 's.often'::regclass ORDER BY inhrelid LIMIT 2) f)
AND NOT EXISTS (SELECT FROM orchestry.run_step s WHERE to_regclass(s.object) = i.inhrelid AND s.state = 'ok')
SQL
is( $node->safe_psql($database, q(SELECT count(*) FROM orchestry.run r WHERE r.state = 'ok' AND r.kind = 'partition'
	AND r.steps <> (SELECT count(*) FROM orchestry.run_step s WHERE s.run_id = r.run_id AND s.state = 'ok'))),
	'0', 'no run is ok without its steps');
is(half_made($node, $database), '0', 'no half-made partition');
$node->safe_psql($database, "CALL orchestry.run('s.often')");
is( $node->safe_psql($database, q(SELECT count(*) FROM pg_inherits WHERE inhparent = 's.often'::regclass)),
	2 + 3 * $starts, 'the last run converges');

# R08: the postmaster alone is killed while runs are busy in a worker and in a session.
make_policy($node, $database, 'worker', ahead => 1);
make_policy($node, $database, 'session', ahead => 1);
set_gate($node, $database, 'spin');
$node->safe_psql($database, <<'SQL');
BEGIN;
SELECT orchestry.alter_policy(job_id, '{"ahead": "9 days"}') FROM orchestry.jobs WHERE target_name IN ('worker', 'session');
UPDATE orchestry.job_state SET next_run_at = now() + '1 day';
COMMIT;
SELECT orchestry.start_job(job_id) FROM orchestry.jobs WHERE target_name = 'worker';
SELECT orchestry.run_in_background('SELECT count(*) FROM generate_series(1, 1000000000000)');
SQL
my $session = $node->background_psql($database, on_error_stop => 0);
my $backend = $session->query_safe('SELECT pg_backend_pid()');
$session->{stdin} .= "CALL orchestry.run('s.session');\n";
$session->{run}->pump_nb;
wait_until($node, $database, q(SELECT count(*) = 2 FROM pg_stat_activity WHERE backend_type = 'orchestry worker' AND state = 'active'));
wait_until($node, $database, "SELECT count(*) = 3 FROM orchestry.run WHERE state = 'running'");
# Runs begin without waiting for the disk; a commit that does wait makes them survive.
$node->safe_psql($database, q(UPDATE public.gate SET mode = 'spin'));
my @ours = (processes($node, 'launcher'), processes($node, 'scheduler'), processes($node, 'worker'), $backend);
is(scalar(@ours), 5, 'launcher, scheduler, two workers and a session are there');
my $start = time;
$node->kill9;
my $gone = wait_for_exit(@ours);
is(scalar(grep { is_alive($_) } @ours), 0, 'all are gone after the postmaster was killed');
took_at_most($gone, 5, 'they go');
eval { $session->quit };
$start = time;
$node->start;
took_at_most(time - $start, 10, 'the server starts again');
$node->safe_psql($database, "UPDATE public.gate SET mode = 'open'");
wait_until($node, $database, "SELECT count(*) = 3 FROM orchestry.run WHERE state = 'crashed' AND finished_at > now() - interval '1 min' AND run_id > $run");
pass('the three runs have crashed');
is(half_made($node, $database), '0', 'no half-made partition');
$node->safe_psql($database, 'CALL orchestry.run()');
is( $node->safe_psql($database, q(SELECT count(*) FROM pg_inherits WHERE inhparent IN ('s.worker'::regclass, 's.session'::regclass))),
	20, 'the next runs converge');
is(count_log($node, qr/PANIC|TRAP|signal 6|signal 11/), 0, 'nobody died of himself');
$node->stop;
done_testing();
