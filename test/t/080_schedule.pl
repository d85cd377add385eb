# When jobs are due, how failures are retried, and how runs are stopped, with a clock that the test sets.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $node = new_server('schedule', conf => "orchestry.databases = ''\norchestry.history_keep = '3650d'\n");
my $database = 'postgres';
$node->safe_psql($database, 'CREATE EXTENSION orchestry_ext');
install_gate($node, $database);

# Runs SQL with the clock at $now.
sub at
{
	my ($now, $sql) = @_;
	return $node->safe_psql($database, "SET orchestry.now = '$now'; SET client_min_messages = error; $sql");
}

# Like at(), for SQL that is expected to fail; returns its first error.
sub error_at
{
	my ($now, $sql) = @_;
	my ($status, $out, $err) = $node->psql($database, "SET orchestry.now = '$now'; $sql");
	return $err =~ /ERROR:  (.*)/ ? $1 : '';
}

sub job_row
{
	my ($job, $columns) = @_;
	return $node->safe_psql($database, "SELECT $columns FROM orchestry.jobs WHERE job_id = $job");
}

# Calls run_due() at each of the times of a series; returns the times at which the job ran, in the zone's local time.
sub runs_over
{
	my ($job, $zone, $from, $to, $step) = @_;
	my $times = $node->safe_psql($database,
		"SELECT t FROM generate_series(timestamptz '$from', timestamptz '$to', interval '$step') t");
	my $script = "SET client_min_messages = error;\n";
	$script .= "SET orchestry.now = '$_';\nCALL orchestry.run_due();\n"
	  . "SELECT to_char(last_at AT TIME ZONE '$zone', 'DD HH24:MI') || to_char(last_at, ' (HH24:MI') || ' UTC)' FROM orchestry.jobs WHERE job_id = $job;\n"
	  for split /\n/, $times;
	my @ran;
	for my $line (split /\n/, $node->safe_psql($database, $script))
	{
		push @ran, $line if $line ne '' && (!@ran || $ran[-1] ne $line);
	}
	return \@ran;
}

# A job of its own for each part, made at the time at which that part begins.
my $tables = 0;

sub job_at
{
	my ($now, $schedule, $zone) = @_;
	$zone //= 'UTC';
	my $name = 't' . ++$tables;
	$node->safe_psql($database, 'SELECT orchestry.remove_policy(job_id) FROM orchestry.jobs');
	my $job = at($now, <<"SQL");
CREATE SCHEMA IF NOT EXISTS s;
CREATE TABLE s.$name (id bigint, at timestamptz NOT NULL) PARTITION BY RANGE (at);
SELECT orchestry.add_partition_policy('s.$name', interval '1 day', time_zone => '$zone', schedule => '$schedule');
SQL
	return ($job, "s.$name");
}

# Intervals keep their phase, and missed runs run once.
my ($job, $table) = job_at('2026-01-01 00:10+00', '1 hour');
is(job_row($job, 'next_run_at'), '2026-01-01 01:10:00+00', 'a new job is due after its interval');
is_deeply(runs_over($job, 'UTC', '2026-01-01 00:40+00', '2026-01-01 02:10+00', '10 min'),
	['01 01:10 (01:10 UTC)', '01 02:10 (02:10 UTC)'], 'an interval is due at its slots only');
is_deeply(runs_over($job, 'UTC', '2026-01-01 05:35+00', '2026-01-01 06:20+00', '5 min'),
	['01 05:35 (05:35 UTC)', '01 06:10 (06:10 UTC)'], 'missed runs run once, late, and the phase stays');

# Cron lines in their zone, over both changes of the clock.
($job) = job_at('2026-03-27 12:00+00', '30 2 * * *', 'Europe/Berlin');
is_deeply(runs_over($job, 'Europe/Berlin', '2026-03-27 12:00+00', '2026-03-30 12:00+00', '15 min'),
	['28 02:30 (01:30 UTC)', '29 03:00 (01:00 UTC)', '30 02:30 (00:30 UTC)'],
	'cron: 02:30 does not exist on 29 March in Berlin and runs right after the gap');
($job) = job_at('2026-10-24 12:00+00', '30 2 * * *', 'Europe/Berlin');
is_deeply(runs_over($job, 'Europe/Berlin', '2026-10-24 12:00+00', '2026-10-26 12:00+00', '15 min'),
	['25 02:30 (00:30 UTC)', '26 02:30 (01:30 UTC)'],
	'cron: 02:30 comes twice on 25 October and runs once');
($job) = job_at('2026-10-24 20:00+00', '*/30 * * * *', 'Europe/Berlin');
is(scalar(@{ runs_over($job, 'Europe/Berlin', '2026-10-24 20:15+00', '2026-10-25 04:15+00', '15 min') }),
	16, 'cron: every half hour goes on through the repeated hour');
($job) = job_at('2026-02-28 12:00+00', '0 0 29 2 *', 'UTC');
is(job_row($job, 'next_run_at'), '2028-02-29 00:00:00+00', 'cron: the next 29 February is two years away');
for my $bad ('0 25 * * *', 'soon', '-1 hour', '0', '100 ms', '1 day 2 hours')
{
	isnt(error_at('2026-01-01', "SELECT orchestry.alter_policy($job, jsonb_build_object('schedule', '$bad'))"),
		'', "schedule '$bad' is refused");
}
is(job_row($job, 'schedule'), '0 0 29 2 *', 'and nothing is changed');
at('2026-03-01', qq(SELECT orchestry.alter_policy($job, '{"schedule": "15 minutes", "max_runtime": "2 min"}')));
is(job_row($job, 'schedule, max_runtime, next_run_at'), '15 minutes|00:02:00|2026-03-01 00:00:00+00',
	'alter_policy changes schedule and max_runtime; the job is due');
like(error_at('2026-03-01', qq(SELECT orchestry.alter_policy($job, '{"max_runtime": "-1 min"}'))),
	qr/max_runtime must be positive/, 'max_runtime must be positive');

# R31: the clock jumps. One run per job, and no job that waits for a time that the clock has left.
($job) = job_at('2026-05-01 00:00+00', '1 hour');
my $count = 'COALESCE((SELECT sum(repeated) FROM orchestry.run), 0)';
at('2026-05-01 01:00+00', 'CALL orchestry.run_due()');
my $before = $node->safe_psql($database, "SELECT $count");
at('2026-05-31 01:30+00', 'CALL orchestry.run_due(); CALL orchestry.run_due(); CALL orchestry.run_due()');
is($node->safe_psql($database, "SELECT $count - $before"), '1', 'a jump by 30 days leads to one run');
is(job_row($job, 'next_run_at'), '2026-05-31 02:00:00+00', 'and the next slot is the next hour');

# Failures are retried, further and further apart, not beyond the next slot, and share a row of the history.
($job, $table) = job_at('2026-06-01 00:00+00', '30 minutes');
set_gate($node, $database, 'fail');
my $now = '2026-06-05 00:00:00+00';    # the runway has to grow by then
my @pauses;
for my $failure (1 .. 9)
{
	like(error_at($now, 'CALL orchestry.run_due()'), qr/the gate is shut/, 'run_due() raises what failed') if $failure == 1;
	at($now, 'DO $$ BEGIN END $$');
	error_at($now, 'CALL orchestry.run_due()') if $failure > 1;
	push @pauses,
	  $node->safe_psql($database, "SELECT extract(epoch FROM next_run_at - '$now') FROM orchestry.jobs WHERE job_id = $job");
	$now = job_row($job, 'next_run_at');
}
note('pauses before retries: ' . join(' ', map { sprintf '%.1f', $_ } @pauses) . ' s');
my $cap = 5;
for my $i (0 .. $#pauses)
{
	last if $i == $#pauses;
	ok($pauses[$i] >= $cap / 2 && $pauses[$i] <= $cap, "pause $i is between " . $cap / 2 . " and $cap s");
	$cap = $cap * 2 > 300 ? 300 : $cap * 2;
}
is($node->safe_psql($database, "SELECT state, repeated, sqlstate, attempt FROM orchestry.runs WHERE job_id = $job"),
	'failed|9|UG001|9', 'nine identical failures share a row');
is(job_row($job, 'failures, last_state'), '9|failed', 'and are counted');
set_gate($node, $database, 'open');
at($now, 'CALL orchestry.run_due()');
is(job_row($job, 'failures, last_state'), '0|ok', 'a success ends the count');
is($node->safe_psql($database, "SELECT string_agg(state, ' ' ORDER BY run_id) FROM orchestry.runs WHERE job_id = $job"),
	'failed ok', 'history has one row each');
at($now, "CALL orchestry.run('$table')") for 1 .. 4;
is($node->safe_psql($database, "SELECT state, repeated FROM orchestry.runs WHERE job_id = $job ORDER BY run_id DESC LIMIT 1"),
	'noop|4', 'four runs with nothing to do share a row');
set_gate($node, $database, 'fail');
$now = '2026-06-20 00:00:00+00';
error_at($now, "CALL orchestry.run_job($job)") for 1 .. 2;
at($now, "UPDATE public.gate SET mode = 'open'");
is($node->safe_psql($database, "SELECT state, repeated FROM orchestry.runs WHERE job_id = $job ORDER BY run_id DESC LIMIT 1"),
	'failed|2', 'a failure after a no-op has a row of its own');

# Paused jobs stand still, whoever asks.
at($now, "SELECT orchestry.pause_job($job, 'for the audit')");
is(job_row($job, 'state, pause_reason'), 'paused|for the audit', 'a paused job says why');
at('2026-07-01', 'CALL orchestry.run_due()');
is(job_row($job, 'last_state'), 'failed', 'run_due() leaves it alone');
like(error_at($now, "CALL orchestry.run_job($job)"), qr/job $job is paused/, 'run_job() refuses');
like(error_at($now, "SELECT orchestry.start_job($job)"), qr/job $job is paused/, 'start_job() refuses');
at($now, "SELECT orchestry.resume_job($job)");
at($now, 'CALL orchestry.run_due()');
is(job_row($job, 'last_state, pause_reason'), 'ok|', 'after resume_job() it is due at once');

# The history is trimmed by number and by age.
$node->safe_psql($database, 'ALTER SYSTEM SET orchestry.history_keep_runs = 3; SELECT pg_reload_conf()');
($job, $table) = job_at('2026-08-01 00:00+00', '1 day');
at("2026-08-0$_", "CALL orchestry.run_due()") for 2 .. 8;
is($node->safe_psql($database, "SELECT count(*) FROM orchestry.runs WHERE job_id = $job"), '3',
	'history_keep_runs keeps the newest');
$node->safe_psql($database, q(ALTER SYSTEM SET orchestry.history_keep = '2d'; SELECT pg_reload_conf()));
at('2026-08-09', 'CALL orchestry.run_due()');
is($node->safe_psql($database, "SELECT count(*) FROM orchestry.runs WHERE job_id = $job"), '3', 'two days are kept')
  or diag $node->safe_psql($database, 'SELECT * FROM orchestry.runs');
at('2026-08-20', 'CALL orchestry.run_due()');
is($node->safe_psql($database, "SELECT count(*) FROM orchestry.runs WHERE job_id = $job"), '1', 'history_keep drops the rest');
is($node->safe_psql($database, 'SELECT count(*) FROM orchestry.run_step s WHERE NOT EXISTS (SELECT FROM orchestry.run r WHERE r.run_id = s.run_id)'),
	'0', 'with their steps');
$node->safe_psql($database, 'ALTER SYSTEM RESET ALL; SELECT pg_reload_conf()');

# One run at a time: from here on the clock is the real one, and runs are stopped at the gate.
$node->safe_psql($database, 'SELECT orchestry.remove_policy(job_id) FROM orchestry.jobs; TRUNCATE orchestry.run CASCADE');
$job = make_policy($node, $database, 'single', ahead => 2);
my $grow = 2;

sub grow
{
	my ($id) = @_;
	$grow += 5;
	$node->safe_psql($database, "SELECT orchestry.alter_policy($id, '{\"ahead\": \"$grow days\"}')");
}
grow($job);
set_gate($node, $database, 'block');
my $run = $node->safe_psql($database, "SELECT orchestry.start_job($job)");
wait_at_gate($node, $database);
my ($status, $out, $err) = $node->psql($database, "CALL orchestry.run_job($job)");
like($err, qr/NOTICE:  job $job was skipped: another run of the job is active/, 'a second run answers: skipped');
my $second = $node->safe_psql($database, "SELECT orchestry.start_job($job)");
like(wait_for_run($node, $database, $second), qr/^skipped\|another run/, 'so it does in a worker');
is($node->safe_psql($database, "SELECT state FROM orchestry.run WHERE run_id = $run"), 'running', 'the first goes on');
is($node->safe_psql($database, "SELECT phase, steps_done, steps_total, target FROM orchestry.progress"),
	'step|0|5|s.single', 'and shows its progress');

# Cancel.
my $start = time;
is($node->safe_psql($database, "SELECT orchestry.cancel_run($run)"), 't', 'cancel_run() reaches it');
like(wait_for_run($node, $database, $run), qr/^failed\|57014/, 'the run ends as cancelled');
took_at_most(time - $start, 1, 'it ends');
is(job_row($job, 'failures, next_run_at > now() + interval \'1 min\''), '1|t', 'and is not retried before its next slot');
is(half_made($node, $database), '0', 'nothing is left half made');
set_gate($node, $database, 'open');
$node->safe_psql($database, "CALL orchestry.run_job($job)");
is(job_row($job, 'failures, last_state'), '0|ok', 'the next run is complete');
grow($job);
set_gate($node, $database, 'block');
my $session = $node->background_psql($database, on_error_stop => 0);
$session->{stdin} .= "CALL orchestry.run_job($job);\n";
$session->{run}->pump_nb;
wait_at_gate($node, $database);
$start = time;
is($node->safe_psql($database, 'SELECT orchestry.cancel_run(run_id) FROM orchestry.progress'), 't', 'a CALL is cancelled alike');
wait_until($node, $database, q(SELECT NOT EXISTS (SELECT FROM orchestry.run WHERE state = 'running')));
took_at_most(time - $start, 1, 'it ends');
is(job_row($job, 'last_state'), 'failed', 'and recorded');
eval { $session->quit };

# max_runtime.
$node->safe_psql($database, "SELECT orchestry.alter_policy($job, '{\"max_runtime\": \"0.2 s\"}')");
($status, $out, $err) = $node->psql($database, "CALL orchestry.run_job($job)");
like($err, qr/ERROR:  the run took longer than the job's max_runtime/, 'a CALL is ended at max_runtime');
is(job_row($job, 'last_state'), 'timeout', 'and recorded as timeout');
$run = $node->safe_psql($database, "SELECT orchestry.start_job($job)");
like(wait_for_run($node, $database, $run), qr/^timeout\|57014\|the run took longer/, 'so is a worker');
is(half_made($node, $database), '0', 'nothing is left half made');
set_gate($node, $database, 'open');
$node->safe_psql($database, "SELECT orchestry.alter_policy($job, '{\"max_runtime\": \"1 min\"}'); CALL orchestry.run_job($job)");
is(job_row($job, 'last_state'), 'ok', 'the next run is complete');

# What was due when run_due() looked, but has been run by somebody else since, is not run again.
my $other = make_policy($node, $database, 'other', ahead => 2);
grow($_) for $job, $other;
set_gate($node, $database, 'block one');
$session = $node->background_psql($database, on_error_stop => 0);
$session->{stdin} .= "CALL orchestry.run_due();\n";
$session->{run}->pump_nb;
wait_at_gate($node, $database);
at($node->safe_psql($database, q(SELECT now() + interval '2 days')), 'CALL orchestry.run_due()');
my $last = job_row($other, 'last_run_id');
isnt($last, '', 'run_due() passes over the job that another session runs, and runs the next');
set_gate($node, $database, 'open');
$session->query_safe('SELECT 1');
$session->quit;
is(job_row($other, 'last_run_id'), $last, 'a job that another session has run meanwhile is not run again');

# With the scheduler: one owner's busy worker does not keep his other runs from starting; a job that cannot be
# scheduled, or that an open transaction has locked, does not keep others from running.
$node->safe_psql($database, q(ALTER SYSTEM SET orchestry.databases = '*'; SELECT pg_reload_conf()));
wait_for_scheduler($node, $database);
my @more = map { make_policy($node, $database, "more_$_", ahead => 2) } 1 .. 3;
set_gate($node, $database, 'block');
grow($more[0]);
wait_at_gate($node, $database);
grow($more[1]); # the first worker is busy by now
wait_at_gate($node, $database, 2);
pass('two jobs of one owner run beside each other');
# A limit that no time can bear, in a row that somebody wrote, keeps no overdue worker alive.
$node->safe_psql($database, "UPDATE orchestry.job SET max_runtime = '300000 years' WHERE job_id = $more[0]; UPDATE orchestry.run SET started_at = now() - interval '1 day' WHERE job_id = $more[1] AND state = 'running'");
wait_for_log($node, qr/orchestry worker \d+ is terminated: its run is overdue/);
pass('what is overdue is ended, whatever the limits of others');
$node->safe_psql($database, "UPDATE orchestry.job SET max_runtime = '1 hour' WHERE job_id = $more[0]");
set_gate($node, $database, 'open');
wait_until($node, $database, "SELECT bool_and(last_state = 'ok') FROM orchestry.jobs WHERE job_id IN ($more[0], $more[1])");
my $holder = $node->background_psql($database);
$holder->query_safe("BEGIN; SELECT orchestry.resume_job($more[0])");
$node->safe_psql($database, "UPDATE orchestry.job SET time_zone = 'Nowhere/City' WHERE job_id = $more[1]; UPDATE orchestry.job_state SET next_run_at = now(), fingerprint = NULL, settled_from = NULL, settled_until = NULL WHERE job_id = $more[1]");
my $last_at = job_row($more[2], "COALESCE(last_at, '-infinity')");
grow($more[2]);
wait_until($node, $database, "SELECT last_state = 'ok' FROM orchestry.jobs WHERE job_id = $more[2]");
pass('a job that cannot be scheduled and one that is locked stop nobody');
wait_until($node, $database, "SELECT last_state = 'failed' FROM orchestry.jobs WHERE job_id = $more[1]");
like($node->safe_psql($database, "SELECT message FROM orchestry.runs WHERE job_id = $more[1] AND state = 'failed' LIMIT 1"),
	qr/unknown time zone "Nowhere\/City"/, 'the first says what is wrong with it');
$holder->query_safe('ROLLBACK');
$holder->quit;

# Nor does it stop a scheduler that begins and looks when everything is due, and it does not stand where it was.
$node->safe_psql($database, "SELECT orchestry.pause_job($more[1])");
wait_until($node, $database, q(SELECT NOT EXISTS (SELECT FROM orchestry.jobs WHERE state IN ('queued', 'waiting', 'running'))));
$node->safe_psql($database, "UPDATE orchestry.job_state SET next_run_at = now() + interval '1 year' WHERE job_id = $more[1]; UPDATE orchestry.job SET paused = false WHERE job_id = $more[1]");
my $old_scheduler = scheduler_pid($node, $database);
$last = job_row($more[2], 'last_run_id');
my $failed_at = job_row($more[1], 'last_at');
$node->safe_psql($database, "SELECT pg_terminate_backend($old_scheduler)");
wait_for_scheduler($node, $database, $old_scheduler);
grow($more[2]);
wait_until($node, $database, "SELECT last_run_id > $last AND last_state = 'ok' FROM orchestry.jobs WHERE job_id = $more[2]");
pass('a job in an unknown time zone does not stop a new scheduler');
wait_until($node, $database, "SELECT last_at > '$failed_at' AND last_state = 'failed' AND next_run_at < now() + interval '1 day' FROM orchestry.jobs WHERE job_id = $more[1]");
pass('nor is that job forgotten');

# The scheduler's clock jumps, forth and back.
$node->safe_psql($database, "SELECT orchestry.remove_policy($more[1])");
wait_until($node, $database, q(SELECT NOT EXISTS (SELECT FROM orchestry.jobs WHERE state <> 'scheduled')));
$before = $node->safe_psql($database, "SELECT $count");
my $jobs = $node->safe_psql($database, 'SELECT count(*) FROM orchestry.job');
for my $jump ('30 days', '-10 days')
{
	my $target = $node->safe_psql($database, "SELECT now() + interval '$jump'");
	$before = $node->safe_psql($database, "SELECT $count");
	$node->safe_psql($database, "ALTER SYSTEM SET orchestry.now = '$target'; SELECT pg_reload_conf()");
	wait_until($node, $database, <<"SQL");
SELECT bool_and(next_run_at > '$target' AND next_run_at <= timestamptz '$target' + interval '1 hour'
                AND state NOT IN ('queued', 'waiting', 'running'))
FROM orchestry.jobs
SQL
	my $runs = $node->safe_psql($database, "SELECT $count - $before");
	cmp_ok($runs, '<=', $jobs, "the clock jumps by $jump: $runs runs of $jobs jobs, all due again within their interval");
}
is(count_log($node, qr/PANIC|TRAP|terminated by signal/), 0, 'the log is clean');
$node->stop;

# pg_cron as the clock.
SKIP:
{
	my $sharedir = $node->config_data('--sharedir');
	skip 'pg_cron is not installed', 8 unless -e "$sharedir/extension/pg_cron.control";
	$node = new_server('with_pg_cron', conf => <<"CONF");
shared_preload_libraries = 'pg_cron,orchestry_ext'
cron.database_name = 'postgres'
orchestry.databases = ''
CONF
	$node->safe_psql($database, 'CREATE EXTENSION orchestry_ext; CREATE DATABASE elsewhere');
	$node->safe_psql('elsewhere', 'CREATE EXTENSION orchestry_ext');
	($status, $out, $err) = $node->psql($database, 'SELECT orchestry.use_pg_cron()');
	like($err, qr/pg_cron is not installed in this database/, 'without pg_cron, use_pg_cron() refuses');
	$node->safe_psql($database, 'CREATE EXTENSION pg_cron');
	my $id = $node->safe_psql($database, q(SELECT orchestry.use_pg_cron('* * * * *')));
	is($node->safe_psql($database, "SELECT schedule, command, database, active FROM cron.job WHERE jobid = $id"),
		'* * * * *|CALL orchestry.run_due()|postgres|t', 'use_pg_cron() schedules run_due()');
	is($node->safe_psql($database, q(SELECT orchestry.use_pg_cron('*/5 * * * *'))), $id, 'a second call changes the schedule');
	is($node->safe_psql($database, 'SELECT count(*) FROM cron.job'), '1', 'and adds none');
	($status, $out, $err) = $node->psql('elsewhere', 'SELECT orchestry.use_pg_cron()');
	like($err, qr/cron.schedule_in_database\('orchestry run_due'.*'elsewhere'\)/, 'elsewhere it names the command to run');
	$job = make_policy($node, $database, 'by_cron', ahead => 2);
	SKIP:
	{
		skip 'waits for a full minute (ORCHESTRY_LONG)', 1 unless $ENV{ORCHESTRY_LONG};
		$node->safe_psql($database, q(SELECT orchestry.use_pg_cron('* * * * *')));
		$node->safe_psql($database, "UPDATE orchestry.job_state SET next_run_at = now() WHERE job_id = $job");
		wait_until($node, $database, "SELECT last_at IS NOT NULL FROM orchestry.jobs WHERE job_id = $job");
		pass('pg_cron runs what is due');
	}
	is($node->safe_psql($database, 'SELECT orchestry.stop_pg_cron()'), 't', 'stop_pg_cron() takes it back');
	is($node->safe_psql($database, 'SELECT orchestry.stop_pg_cron(), count(*) FROM cron.job'), 'f|0', 'once');
	$node->stop;
}
done_testing();
