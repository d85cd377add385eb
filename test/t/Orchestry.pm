# What the TAP tests share: servers with the extension, waiting for runs, looking into the server's log.
package Orchestry;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

our @EXPORT = qw(new_server long_count background run_row wait_for_run wait_until wait_for_log seconds
  count_log scheduler_pid wait_for_scheduler processes random_seed install_gate set_gate wait_at_gate
  control_session renewed_session start_session morning_zone make_policy is_alive wait_for_exit half_made took_at_most find_child strike until_struck start_pgbench end_clients
  wait_for_recovery);

# A server made for tests. Options: preload (default 1), conf (more lines), start (default 1), databases.
sub new_server
{
	my ($name, %option) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(%{ $option{init} // {} });
	my $preload = ($option{preload} // 1) ? 'orchestry_ext' : '';
	$node->append_conf('postgresql.conf', <<"CONF");
shared_preload_libraries = '$preload'
restart_after_crash = on
max_worker_processes = 16
recovery_init_sync_method = syncfs
log_line_prefix = '%m [%p] %b '
log_statement = none
timezone = 'UTC'
orchestry.naptime = '1 s'
CONF
	$node->append_conf('postgresql.conf', $option{conf}) if $option{conf};
	$node->start if $option{start} // 1;
	return $node;
}

# How often a test repeats something: few times by default, many when ORCHESTRY_LONG is set (make torture).
sub long_count
{
	my ($short, $long) = @_;
	return $ENV{ORCHESTRY_LONG} ? $long : $short;
}

# The seed of a test that draws random numbers, printed so that a failure can be repeated.
sub random_seed
{
	my $seed = $ENV{ORCHESTRY_SEED} // 20261121;
	srand($seed);
	note("seed $seed (ORCHESTRY_SEED)");
	return $seed;
}

# Waits until the query answers `t` (or what is given). Returns how many seconds that took; fails the test when it
# takes too long.
sub wait_until
{
	my ($node, $database, $query, $expected) = @_;
	my $start = time;
	my $ok = $node->poll_query_until($database, $query, $expected // 't');
	ok(0, "gave up waiting for: $query") unless $ok;
	return time - $start;
}

# Queues a statement for a background worker; returns the run's id.
sub background
{
	my ($node, $database, $sql, %option) = @_;
	my $as = $option{as} ? "SET SESSION AUTHORIZATION $option{as};" : '';
	return $node->safe_psql($database, "$as SELECT orchestry.run_in_background(\$run\$$sql\$run\$)");
}

# One row of orchestry.run as `state|sqlstate|message`.
sub run_row
{
	my ($node, $database, $run) = @_;
	return $node->safe_psql($database,
		"SELECT concat_ws('|', state, sqlstate, message) FROM orchestry.run WHERE run_id = $run");
}

# Waits until a run has ended; returns run_row().
sub wait_for_run
{
	my ($node, $database, $run) = @_;
	wait_until($node, $database,
		"SELECT state NOT IN ('queued', 'waiting', 'running') FROM orchestry.run WHERE run_id = $run");
	return run_row($node, $database, $run);
}

# Waits until the server's log has the pattern after `offset`; returns the offset behind it.
sub wait_for_log
{
	my ($node, $pattern, $offset) = @_;
	return $node->wait_for_log($pattern, $offset // 0);
}

# How many lines of the server's log match, from `offset` on.
sub count_log
{
	my ($node, $pattern, $offset) = @_;
	my @lines = grep { /$pattern/ } split /\n/, slurp_file($node->logfile, $offset // 0);
	return scalar @lines;
}

# Pid of the database's scheduler, or ''.
sub scheduler_pid
{
	my ($node, $database) = @_;
	return $node->safe_psql($database, 'SELECT orchestry.scheduler_pid()');
}

# Waits for a scheduler other than `not`. Returns its pid.
sub wait_for_scheduler
{
	my ($node, $database, $not) = @_;
	$not = $not ? $not : 0;
	wait_until($node, $database,
		"SELECT COALESCE(orchestry.scheduler_pid() <> $not, false)");
	return scheduler_pid($node, $database);
}

# Pids of our processes of one kind: launcher, scheduler or worker.
sub processes
{
	my ($node, $kind) = @_;
	return split /\n/,
	  $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'orchestry $kind' ORDER BY backend_start");
}

# A session for what is not to fail. query_safe() takes a notice for a failure, so there are none: that a run waits for
# a worker's seat, say.
sub control_session
{
	my ($node, $database) = @_;
	my $session = $node->background_psql($database);
	$session->query_safe('SET client_min_messages = warning');
	return $session;
}

# A control session for tests in which the server crashes. Returns two functions: the first sends a statement, in a session that it
# begins when there is none, and returns the answer; the second ends the session, dead or alive, so that another one will begin.
sub renewed_session
{
	my ($node, $database) = @_;
	my $session;
	my $ask = sub {
		my ($sql) = @_;
		$session //= control_session($node, $database);
		$session->set_query_timer_restart;
		return $session->query_safe($sql);
	};
	my $hang_up = sub {
		eval { $session->{run}->kill_kill } if $session;
		undef $session;
		return;
	};
	return ($ask, $hang_up);
}

# A session that runs statements and whose end nobody waits for.
sub start_session
{
	my ($node, $database, $sql) = @_;
	my $session = $node->background_psql($database, on_error_stop => 0);
	$session->{stdin} .= "$sql\n";
	$session->{run}->pump_nb;
	return $session;
}

# Puts a gate before every CREATE TABLE, for tests that have to stop a run at a known place. See set_gate().
sub install_gate
{
	my ($node, $database) = @_;
	$node->safe_psql($database, <<'SQL');
CREATE TABLE public.gate (mode text, at bigint);
INSERT INTO public.gate VALUES ('open', 0);
CREATE SEQUENCE public.gate_passed;
GRANT SELECT ON public.gate TO PUBLIC;
GRANT ALL ON SEQUENCE public.gate_passed TO PUBLIC;
CREATE FUNCTION public.gate() RETURNS event_trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    g record;
    nth bigint := nextval('public.gate_passed');
BEGIN
    SELECT * INTO g FROM public.gate;
    IF g.mode = 'fail' THEN
        RAISE EXCEPTION 'the gate is shut' USING ERRCODE = 'UG001';
    ELSIF g.mode = 'block' AND nth >= g.at OR g.mode = 'block one' AND nth = g.at THEN
        PERFORM pg_advisory_xact_lock_shared(4711); -- tells wait_at_gate()
        WHILE (SELECT mode LIKE 'block%' FROM public.gate) LOOP
            PERFORM pg_sleep(0.01);
        END LOOP;
    ELSIF g.mode = 'spin' AND nth >= g.at THEN
        PERFORM count(*) FROM generate_series(1, 1000000000000);
    END IF;
END
$$;
CREATE EVENT TRIGGER gate ON ddl_command_start WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION public.gate();
SQL
}

# The gate's mode from the nth CREATE TABLE from now on: 'open', 'fail', 'spin' (busy for ever), 'block' (until the
# mode is another) or 'block one' (only that one CREATE TABLE). Waiting there is no waiting for a lock, which a step does not do for long.
sub set_gate
{
	my ($node, $database, $mode, $nth) = @_;
	$nth //= 1;
	$node->safe_psql($database,
		"SELECT setval('public.gate_passed', 1, false); UPDATE public.gate SET mode = '$mode', at = $nth");
	return;
}

# Waits until so many runs (default: one) stand at the gate.
sub wait_at_gate
{
	my ($node, $database, $runs) = @_;
	$runs //= 1;
	return wait_until($node, $database,
		"SELECT count(*) >= $runs FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711");
}

# A time zone in which it was between four and five in the morning when it was first asked for: no day of that zone begins
# before the test is over, whatever the clock says, so that the days of a policy are the same from its first statement to its last.
my $morning_zone;
sub morning_zone
{
	return $morning_zone if $morning_zone;
	my $east_h = 4 - (gmtime)[2];
	$east_h += 24 if $east_h < -12;
	# These names count to the west.
	return $morning_zone = $east_h == 0 ? 'UTC' : sprintf 'Etc/GMT%+d', -$east_h;
}

# Makes a partitioned table s.NAME with a policy of daily partitions, days of morning_zone(). Options: ahead (days), owner,
# schedule. Returns the job's id.
sub make_policy
{
	my ($node, $database, $name, %option) = @_;
	my $ahead = $option{ahead} // 3;
	my $schedule = $option{schedule} // '1 hour';
	my $zone = morning_zone();
	my $as = $option{owner} ? "SET SESSION AUTHORIZATION $option{owner};" : '';
	return $node->safe_psql($database, <<"SQL");
SET client_min_messages = warning;
CREATE SCHEMA IF NOT EXISTS s;
GRANT ALL ON SCHEMA s TO PUBLIC;
$as
CREATE TABLE s.$name (id bigint, at timestamptz NOT NULL) PARTITION BY RANGE (at);
SELECT orchestry.add_partition_policy('s.$name', interval '1 day', ahead => interval '$ahead days', time_zone => '$zone', schedule => '$schedule');
SQL
}

# Tables in schema s that are neither partitioned nor a partition: what a run that was ended may not leave.
sub half_made
{
	my ($node, $database) = @_;
	return $node->safe_psql($database,
		"SELECT count(*) FROM pg_class WHERE relnamespace = 's'::regnamespace AND relkind = 'r' AND NOT relispartition");
}

# Waits until a server that is recovering from a crash answers again. The client's own death while it is asked does not matter.
sub wait_for_recovery
{
	my ($node, $database) = @_;
	my $deadline = time + 180;
	until (eval { $node->poll_query_until($database, 'SELECT true') })
	{
		die 'the server does not come back' if time > $deadline;
	}
	return;
}

# The first process under the postmaster whose title matches, found without asking the server; 0: there is none.
sub find_child
{
	my ($node, $title) = @_;
	my $postmaster = $node->{_pid};
	open(my $list, '<', "/proc/$postmaster/task/$postmaster/children") or return 0;
	for my $child (split ' ', <$list> // '')
	{
		open(my $line, '<', "/proc/$child/cmdline") or next;
		return $child if (<$line> // '') =~ $title;
	}
	return 0;
}

# Waits at most a second for a process of the server whose title matches, and `delay_s` later kills it with -9. Returns
# whether one was killed; by then the postmaster has taken notice. Asks the server nothing.
sub strike
{
	my ($node, $title, $delay_s) = @_;
	my $deadline = time + 1;
	my $victim = 0;
	$victim = find_child($node, $title) until $victim || time > $deadline;
	return 0 unless $victim;
	Time::HiRes::usleep(int($delay_s * 1_000_000));
	return 0 unless kill 'KILL', $victim;
	# Gone, or waiting for its parent to notice.
	Time::HiRes::usleep(1_000) while kill(0, $victim) && (eval { slurp_file("/proc/$victim/stat") } // ') Z') !~ /\) Z/;
	Time::HiRes::usleep(20_000);
	return 1;
}

# Calls `try` with a moment of a run of `work_s` seconds until `count` of the kills that it makes have met one; `try` answers
# whether its kill did. Runs that are shorter than thought move the moments forward. Returns how often it tried.
sub until_struck
{
	my ($count, $work_s, $try) = @_;
	my ($struck, $tries) = (0, 0);
	while ($struck < $count)
	{
		die "$struck kills in $tries runs" if $tries++ == 20 * $count;
		if ($try->(rand($work_s))) { ++$struck }
		else { $work_s *= 0.8 }
	}
	return $tries;
}

# Starts pgbench as a role. `log`: a reference; what it prints comes through a pipe, whose end says that it has ended.
sub start_pgbench
{
	my ($node, $database, $role, $log, @arguments) = @_;
	return IPC::Run::start([ 'pgbench', '-n', '-h', $node->host, '-p', $node->port, '-U', $role, @arguments, $database ],
		'<', \undef, '&>', $log);
}

# Ends clients of a role, whatever has become of the server, and waits until their sessions are gone. What they have
# prepared is rolled back.
sub end_clients
{
	my ($node, $database, $role, @clients) = @_;
	for my $client (@clients)
	{
		$client->kill_kill(grace => 0) if $client->pumpable;
		eval { $client->finish };
	}
	wait_for_recovery($node, $database);
	wait_until($node, $database, "SELECT count(*) = 0 FROM pg_stat_activity WHERE usename = '$role' AND pid <> pg_backend_pid()");
	$node->safe_psql($database, "ROLLBACK PREPARED '$_'") for split /\n/, $node->safe_psql($database, 'SELECT gid FROM pg_prepared_xacts');
	return;
}

sub is_alive
{
	my ($pid) = @_;
	return kill(0, $pid) ? 1 : 0;
}

# Waits until none of the processes is there any more, for three minutes at most. Returns how long it took.
sub wait_for_exit
{
	my (@pids) = @_;
	my $start = time;
	while (grep { is_alive($_) } @pids)
	{
		last if time - $start > 180;
		Time::HiRes::usleep(20_000);
	}
	return time - $start;
}

# Prints how long something took; checks it against what is promised only where ORCHESTRY_LONG says that the machine is
# quiet enough for that.
sub took_at_most
{
	my ($took_s, $limit_s, $what) = @_;
	if ($ENV{ORCHESTRY_LONG}) { cmp_ok($took_s, '<', $limit_s, "$what (" . seconds($took_s) . ')') }
	else { note("$what: " . seconds($took_s)) }
	return;
}

# "1.234 s"
sub seconds
{
	return sprintf '%.3f s', $_[0];
}

1;
