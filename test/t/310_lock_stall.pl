# R23: how long others wait because of maintenance. A reader (or writer) with an open transaction is in the way while
# clients work on the same tables. A step may queue for its locks for orchestry.lock_timeout and has to step aside then:
# without that everybody would wait for as long as the one in the way takes.
use strict;
use warnings;
use Orchestry;
use IPC::Run;
use List::Util qw(max);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $database = 'postgres';
my $lock_timeout_ms = 200;
my $promised_ms = $lock_timeout_ms + 50;
my $noise_ms = 50; # what the machine may add
my $open_s = 5; # how long somebody is in the way where times are measured (ORCHESTRY_LONG)
my $baseline_s = 1; # how long clients work before anything of ours happens
my $after_s = 10; # a run must be over so soon after nobody is in the way any more
# No scheduler at first: a changed policy is due at once, and its run is to begin when somebody is in the way.
my $node = new_server('lock_stall', conf => <<"CONF");
max_connections = 50
orchestry.databases = ''
autovacuum = off
log_lock_waits = on
deadlock_timeout = '@{[ $promised_ms + $noise_ms ]} ms'
orchestry.lock_timeout = '$lock_timeout_ms ms'
orchestry.lock_attempts = 1000
CONF

$node->safe_psql($database, <<'SQL', extra_params => [ '-v', 'zone=' . morning_zone() ]);
CREATE EXTENSION orchestry_ext;
CREATE SCHEMA s;
CREATE TABLE s.account (id bigserial PRIMARY KEY, name text DEFAULT 'x');
INSERT INTO s.account DEFAULT VALUES;
CREATE TABLE s.plain (at timestamptz NOT NULL DEFAULT now(), note text DEFAULT 'x') PARTITION BY RANGE (at);
CREATE TABLE s.small (LIKE s.plain INCLUDING ALL) PARTITION BY RANGE (at);
CREATE TABLE s.small_default PARTITION OF s.small DEFAULT;
CREATE TABLE s.large (LIKE s.plain INCLUDING ALL) PARTITION BY RANGE (at);
CREATE TABLE s.large_default PARTITION OF s.large DEFAULT;
CREATE TABLE s.linked (account bigint DEFAULT 1 REFERENCES s.account, at timestamptz NOT NULL DEFAULT now()) PARTITION BY RANGE (at);
CREATE TABLE s.pending (LIKE s.plain INCLUDING ALL) PARTITION BY RANGE (at);
CREATE TABLE s.promoted (LIKE s.plain INCLUDING ALL) PARTITION BY RANGE (at);
CREATE TABLE s.promoted_default PARTITION OF s.promoted DEFAULT;
CREATE TABLE s.source (n int PRIMARY KEY DEFAULT 0);
CREATE MATERIALIZED VIEW s.viewed AS SELECT n FROM s.source; -- without an index on it: plainly
CREATE TABLE s.busy (n int DEFAULT 0, at timestamptz NOT NULL DEFAULT now());
CREATE MATERIALIZED VIEW s.of_busy AS SELECT count(*) AS n FROM s.busy;
CREATE TABLE public.job AS SELECT t AS name, orchestry.add_partition_policy(('s.' || t)::regclass, interval '1 day', '2 days', time_zone => :'zone', schedule => '1 year') AS job_id
    FROM unnest('{plain,small,large,linked,pending,promoted}'::text[]) t;
CALL orchestry.run();
-- What leaves: a partition of last year beside that of today.
CREATE TABLE s.leaving (LIKE s.plain INCLUDING ALL) PARTITION BY RANGE (at);
CREATE TABLE s.leaving_small (LIKE s.plain INCLUDING ALL) PARTITION BY RANGE (at);
CREATE TABLE s.leaving_small_default PARTITION OF s.leaving_small DEFAULT;
CREATE TABLE s.leaving_linked (account bigint DEFAULT 1 REFERENCES s.account, at timestamptz NOT NULL DEFAULT now()) PARTITION BY RANGE (at);
CREATE TABLE s.dropped_linked (LIKE s.leaving_linked INCLUDING ALL, FOREIGN KEY (account) REFERENCES s.account) PARTITION BY RANGE (at);
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY '{leaving,leaving_small,leaving_linked,dropped_linked}'::text[] LOOP
        EXECUTE format('CREATE TABLE s.%I PARTITION OF s.%I FOR VALUES FROM (%L) TO (%L)', t || '_old', t, now() - interval '1 year', now() - interval '11 months');
        EXECUTE format('CREATE TABLE s.%I PARTITION OF s.%I FOR VALUES FROM (%L) TO (%L)', t || '_new', t, now() - interval '1 day', now() + interval '10 days');
        INSERT INTO public.job SELECT t, orchestry.add_retention_policy(('s.' || t)::regclass, interval '30 days', schedule => '1 year');
    END LOOP;
END $$;
CALL orchestry.run('s.dropped_linked');
INSERT INTO public.job SELECT 'viewed', orchestry.add_refresh_policy('s.viewed', '365 days', schedule => '1 year')
UNION ALL SELECT 'busy', orchestry.add_refresh_policy('s.of_busy', '365 days', schedule => '1 year');
CALL orchestry.refresh('s.viewed');
INSERT INTO s.large SELECT now() - interval '1 year', repeat('x', 500) FROM generate_series(1, 30000);
INSERT INTO s.promoted SELECT date_trunc('day', now()) + interval '30 days' + i * interval '1 s' FROM generate_series(1, 1000) i;
SQL

# What the clients do on each table, one statement in a transaction: write, read one partition, read all of them.
sub traffic
{
	my ($name) = @_;
	return ("SELECT count(*) FROM s.viewed WHERE n = 0;\n", "SELECT 1 FROM s.viewed LIMIT 1;\n") if $name eq 'viewed';
	my $write = $name =~ 'linked'
	  ? "INSERT INTO s.account DEFAULT VALUES;\n"
	  : "INSERT INTO s.$name DEFAULT VALUES;\n";
	return ($write, "SELECT count(*) FROM s.$name WHERE at >= now() - interval '1 s';\n",
		"SELECT 1 FROM s.$name LIMIT 1;\n");
}

my $dir = PostgreSQL::Test::Utils::tempdir();

# Starts clients that send about 400 transactions a second.
sub start_clients
{
	my ($name, $duration_s) = @_;
	my @files;
	for my $statement (traffic($name))
	{
		my $file = "$dir/$name." . scalar(@files) . '.sql';
		append_to_file($file, $statement) unless -e $file;
		push @files, '-f', $file;
	}
	unlink glob "$dir/$name.log*";
	my ($out, $err) = ('', '');
	my $clients = IPC::Run::start(
		[ 'pgbench', '-n', '-c', '8', '-j', '2', '-R', '400', '-T', $duration_s, '-l', '--log-prefix', "$dir/$name.log",
			@files, '-h', $node->host, '-p', $node->port, $database ],
		'<', \undef, '>', \$out, '2>', \$err);
	return { name => $name, run => $clients, out => \$out, err => \$err };
}

# The longest transaction of the clients, in ms, [before, after] the moment, and how many there were.
sub finish_clients
{
	my ($clients, $moment) = @_;
	IPC::Run::finish($clients->{run});
	like(${ $clients->{out} }, qr/number of failed transactions: 0 /, "$clients->{name}: no transaction of the clients failed");
	my @longest = (0, 0);
	my $count = 0;
	for my $file (glob "$dir/$clients->{name}.log*")
	{
		for my $line (split /\n/, slurp_file($file))
		{
			my (undef, undef, $latency_us, undef, $epoch_s, $epoch_us, $lag_us) = split / /, $line;
			my $half = $epoch_s + $epoch_us / 1e6 < $moment ? 0 : 1;
			$count += $half;
			$longest[$half] = max($longest[$half], ($latency_us - $lag_us) / 1000);
		}
	}
	return (@longest, $count);
}

# Someone whose transaction is open after a statement.
sub open_transaction
{
	my ($statement) = @_;
	my $session = $node->background_psql($database);
	$session->query_safe("SET application_name = 'in the way'; BEGIN; $statement");
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	return ($session, $pid);
}

# Returns the moment from which nobody is in the way.
sub end
{
	my ($session) = @_;
	$session->query_safe('COMMIT');
	my $free = time;
	$session->quit;
	return $free;
}

# Waits until whoever maintains has stepped aside because of somebody, with nothing held.
sub wait_until_aside
{
	my ($who) = @_;
	wait_until($node, $database, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $who AND wait_event_type = 'Extension')");
	usleep($open_s * 1_000_000) if $ENV{ORCHESTRY_LONG}; # and so again and again
	return;
}

# The maintenance that is not part of a job is called from a session.
sub call
{
	my ($sql) = @_;
	my $session = $node->background_psql($database);
	$session->{stdin} .= "$sql\n\\q\n";
	$session->{run}->pump_nb;
	return $session;
}

my %longest;

# One kind of maintenance. `in_the_way`: the statement of the open transaction. `waits`: whether the step has to wait for
# it at all; `patiently`: without stepping aside, because nobody waits behind it. `steps`: what must have been done.
sub measure
{
	my ($name, %case) = @_;
	my $job = $node->safe_psql($database, "SELECT job_id FROM public.job WHERE name = '$name'");
	my $log = -s $node->logfile;
	my $clients = start_clients($name, $baseline_s + long_count(1, $open_s + 2));
	usleep($baseline_s * 1_000_000);
	my ($session, $pid) = open_transaction($case{in_the_way});
	$case{prepare}->() if $case{prepare};
	my $begin = time;
	my ($run, $ended, $caller);
	if ($case{call}) { $caller = call($case{call}) }
	else { $run = $node->safe_psql($database, "SELECT orchestry.start_job($job)") }
	if (!$case{waits})
	{
		my $result = wait_for_run($node, $database, $run);
		is($result, 'ok', "$case{what}: ok");
		my $early = $node->safe_psql($database, "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid AND xact_start IS NOT NULL");
		is($early, '1', "$case{what}: done while the transaction was open");
		end($session);
	}
	elsif ($caller)
	{
		wait_until_aside(q(query ~ '^CALL orchestry'));
		my $free = end($session);
		$caller->{run}->finish;
		took_at_most(time - $free, $after_s, "$case{what}: done after nobody was in the way");
		ok($case{check}->(), "$case{what}: it has succeeded");
	}
	elsif ($case{waits} eq 'patiently')
	{
		wait_until($node, $database, q(SELECT EXISTS (SELECT FROM pg_stat_activity a JOIN pg_locks l USING (pid) WHERE a.backend_type = 'orchestry worker' AND l.locktype = 'virtualxid' AND NOT l.granted)));
		is($node->safe_psql($database, "SELECT count(*) FROM pg_locks WHERE relation = 's.$name'::regclass AND mode = 'AccessExclusiveLock'"), '0',
			"$case{what}: while it waits it keeps nobody from the table");
		usleep($open_s * 1_000_000) if $ENV{ORCHESTRY_LONG};
		my $free = end($session);
		is(wait_for_run($node, $database, $run), 'ok', "$case{what}: ok");
		took_at_most(time - $free, $after_s, "$case{what}: done after nobody was in the way");
	}
	else
	{
		wait_until_aside(q(backend_type = 'orchestry worker'));
		my $free = end($session);
		is(wait_for_run($node, $database, $run), 'ok', "$case{what}: ok");
		took_at_most(time - $free, $after_s, "$case{what}: done after nobody was in the way");
		like($node->safe_psql($database,
				"SELECT string_agg(message, ' ') FROM orchestry.run_steps WHERE run_id = $run AND attempts > 1"),
			qr/process $pid .*"in the way"/, "$case{what}: the history names who was in the way");
		note($node->safe_psql($database, "SELECT format('%s: %s attempts, %s ms waiting', action, attempts, round(lock_wait_ms))"
			  . " FROM orchestry.run_steps WHERE run_id = $run AND attempts > 1"));
	}
	if ($run)
	{
		is($node->safe_psql($database, "SELECT string_agg(DISTINCT action, ' ' ORDER BY action) FROM orchestry.run_steps WHERE run_id = $run AND state = 'ok' AND action <> 'analyze'"),
			$case{steps}, "$case{what}: $case{steps}");
	}
	my ($before, $after, $count) = finish_clients($clients, $begin);
	$longest{ $case{what} } = sprintf '%.0f ms (before %.0f ms, %d transactions)', $after, $before, $count;
	return if !$ENV{ORCHESTRY_LONG};
	cmp_ok($after, '<=', max($before, $promised_ms) + $noise_ms,
		sprintf '%s: no client waits longer than %d ms (with up to %d ms of the machine): %s', $case{what}, $promised_ms,
		$noise_ms, $longest{ $case{what} });
	is(count_log($node, qr/client backend LOG: +process \d+ still waiting/, $log), 0,
		"$case{what}: nor for a lock, says the server");
	return;
}

sub ahead
{
	my ($name, $days) = @_;
	return sub {
		$node->safe_psql($database, "SELECT orchestry.alter_policy(job_id, '{\"ahead\": \"$days days\"}') FROM public.job WHERE name = '$name'");
	};
}

measure('plain', what => 'attach', in_the_way => 'SELECT count(*) FROM s.plain', waits => 0,
	prepare => ahead('plain', 6), steps => 'create');
measure('small', what => 'attach beside a DEFAULT partition', in_the_way => 'SELECT count(*) FROM s.small', waits => 1,
	prepare => ahead('small', 6), steps => 'create');
measure('large', what => 'attach beside a large DEFAULT partition', in_the_way => 'SELECT count(*) FROM s.large', waits => 1,
	prepare => ahead('large', 3), steps => 'create exclude_default validate_default');
measure('linked', what => 'attach with a foreign key', in_the_way => 'INSERT INTO s.account DEFAULT VALUES', waits => 1,
	prepare => ahead('linked', 6), steps => 'create');
measure('promoted', what => 'promote the DEFAULT partition', in_the_way => 'SELECT count(*) FROM s.promoted', waits => 1,
	call => "CALL orchestry.promote_default('s.promoted');",
	check => sub { $node->safe_psql($database, 'SELECT count(*) FROM ONLY s.promoted_default') eq '0' });

# An interrupted DETACH CONCURRENTLY: the reader who was in its way is still there.
measure('pending', what => 'complete a DETACH', in_the_way => 'SELECT count(*) FROM s.pending', waits => 1, steps => 'finalize_detach',
	prepare => sub {
		my $partition = $node->safe_psql($database, q(SELECT max(partition::text) FROM orchestry.partitions WHERE parent = 's.pending'::regclass));
		$node->psql($database, "SET lock_timeout = '100 ms'; ALTER TABLE s.pending DETACH PARTITION $partition CONCURRENTLY");
	});

measure('leaving', what => 'detach concurrently', in_the_way => "LOCK TABLE ONLY s.leaving IN ACCESS SHARE MODE", waits => 'patiently', steps => 'announce detach');
measure('leaving_small', what => 'detach beside a DEFAULT partition', in_the_way => 'SELECT count(*) FROM s.leaving_small', waits => 1, steps => 'announce detach');
measure('leaving_linked', what => 'detach with a foreign key', in_the_way => 'INSERT INTO s.account DEFAULT VALUES', waits => 1, steps => 'announce detach');
measure('dropped_linked', what => 'drop with a foreign key', in_the_way => 'SELECT count(*) FROM s.account', waits => 1, steps => 'drop',
	prepare => sub { $node->safe_psql($database, "UPDATE orchestry.detached_partition SET detached_at = now() - interval '8 days' WHERE parent_name = 'dropped_linked'") });

# A plain refresh waits for readers with nobody behind it; watching a table does not even wait for a writer.
measure('viewed', what => 'refresh a view plainly', in_the_way => 'SELECT count(*) FROM s.viewed', waits => 1, steps => 'refresh',
	prepare => sub { $node->safe_psql($database, 'INSERT INTO s.source SELECT COALESCE(max(n), 0) + 1 FROM s.source') });
measure('busy', what => 'watch the table of a view', in_the_way => 'INSERT INTO s.busy DEFAULT VALUES', waits => 0, steps => 'refresh');
is($node->safe_psql($database, q(SELECT string_agg(concat_ws(' ', action, state, message), ', ') FROM orchestry.run_steps WHERE object = 's.busy')),
	'watch skipped it is in use; the next run tries again', 'a table that is in use is watched later');
$node->safe_psql($database, q(CALL orchestry.refresh('s.of_busy')));
is($node->safe_psql($database, q(SELECT count(*) FROM pg_trigger WHERE tgrelid = 's.busy'::regclass)), 2, 'and then it is');

# Somebody who is in the way for longer than all attempts of a run: it fails and says why, and the next one succeeds.
$node->append_conf('postgresql.conf', 'orchestry.lock_attempts = 2');
$node->reload;
wait_until($node, $database, q(SELECT current_setting('orchestry.lock_attempts') = '2'));
{
	my ($session, $pid) = open_transaction('SELECT count(*) FROM s.small');
	ahead('small', 8)->();
	my ($job, $run) = split /\|/, $node->safe_psql($database, "SELECT job_id, orchestry.start_job(job_id) FROM public.job WHERE name = 'small'");
	like(wait_for_run($node, $database, $run), qr/^failed\|55P03/, 'a run that does not get its locks has failed');
	like($node->safe_psql($database, "SELECT detail FROM orchestry.runs WHERE run_id = $run"),
		qr/process $pid .*"in the way"/, 'its detail names who was in the way');
	$node->safe_psql($database, $_) for q(ALTER SYSTEM SET orchestry.databases = '*'), 'SELECT pg_reload_conf()';
	my $free = end($session);
	wait_until($node, $database, "SELECT last_state = 'ok' AND failures = 0 FROM orchestry.jobs WHERE job_id = $job");
	took_at_most(time - $free, $after_s, 'the job has succeeded after nobody was in the way');
}

cmp_ok($node->safe_psql($database, q(SELECT count(*) FROM orchestry.run_steps WHERE action = 'analyze' AND state = 'ok')),
	'>', 0, 'the parents were analyzed as well');
diag("longest transaction of the clients, lock_timeout $lock_timeout_ms ms:");
diag(sprintf '  %-42s %s', $_, $longest{$_}) for sort keys %longest;
is(count_log($node, qr/PANIC|TRAP|deadlock detected|terminated by signal/), 0, 'the log is clean');
$node->stop;
done_testing();
