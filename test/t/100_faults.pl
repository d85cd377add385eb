# R07: a failure at every single point at which a run can fail, one after the other, until a run passes none. The library
# is one built with fault points (src/pg/fault.hpp); it takes the product's place in this server only. After each
# failure nothing is half made, every run has ended, nobody holds anything, and the next run does what is left to do.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $modules = $ENV{ORCHESTRY_MODULES};
plan skip_all => 'needs test/modules/build.sh; test/run.sh calls it' unless $modules;

my $database = 'postgres';
my $node = new_server('faults', preload => 0, conf => <<"CONF");
autovacuum = off
orchestry.databases = '' # no scheduler at first: it would try again what is to fail in a session
orchestry.max_workers = 1
orchestry.naptime = '10 s' # it has to be woken when there is something to do
orchestry.history_keep_runs = 100000
CONF

# The product has no trace of what this test needs.
my $product = $node->config_data('--pkglibdir') . '/orchestry_ext.so';
for my $name ('injected fault', 'fault_at', 'fault_level')
{
	is(index(slurp_file($product), $name), -1, "the product does not contain \"$name\"");
	isnt(index(slurp_file("$modules/faults/orchestry_ext.so"), $name), -1, 'the library with fault points does');
}

$node->safe_psql($database, "CREATE EXTENSION orchestry_ext; UPDATE pg_proc SET probin = 'orchestry_ext' WHERE probin = '\$libdir/orchestry_ext'");
$node->append_conf('postgresql.conf', <<"CONF");
dynamic_library_path = '$modules/faults:\$libdir'
shared_preload_libraries = 'orchestry_ext'
CONF
$node->restart;

# One session for all that is not to fail.
my $control = control_session($node, $database);
sub ask { $control->set_query_timer_restart; return $control->query_safe($_[0]) }

# Waits until the condition holds; returns how long that took.
sub wait_for
{
	my ($condition, $what) = @_;
	my $start = time;
	until (ask("SELECT $condition") eq 't')
	{
		if (time - $start > 180) { fail("gave up waiting: $what"); die $what }
		usleep(20_000);
	}
	return time - $start;
}

# Sets the fault point for processes of a type that are there, and for those that the postmaster starts from now on.
sub arm
{
	my ($at, $level, $type) = @_;
	my $loaded = ask('SELECT pg_conf_load_time()');
	ask("ALTER SYSTEM SET orchestry.fault_$_->[0] = '$_->[1]'") for [ 'at', 0 ], [ 'level', $level ], [ 'in', $type ], [ 'at', $at ];
	ask('SELECT pg_reload_conf()');
	# The postmaster reads it before it tells us to.
	wait_for("pg_conf_load_time() > '$loaded'", 'the configuration is read');
	return;
}

# Where a fault has been injected since the offset.
sub faults
{
	my ($offset) = @_;
	return slurp_file($node->logfile, $offset) =~ /fault point \d+ is "(.*?)"/g;
}

# Jobs with all kinds of steps. What they have to do grows with every round.
my (%job, %ahead);
for my $name ('plain', 'fallback', 'linked', 'large')
{
	$job{$name} = make_policy($node, $database, $name, ahead => 1, schedule => '1 year');
	$ahead{$name} = 1;
}
$node->safe_psql($database, <<'SQL');
CREATE TABLE s.fallback_rest PARTITION OF s.fallback DEFAULT;
CREATE TABLE s.large_rest PARTITION OF s.large DEFAULT;
INSERT INTO s.large SELECT i, '2001-01-01' FROM generate_series(1, 250000) i; -- too large to be read under a lock
CREATE TABLE s.far (id bigint PRIMARY KEY) PARTITION BY RANGE (id);
ALTER TABLE s.linked ADD FOREIGN KEY (id) REFERENCES s.far;
CREATE TABLE public.vacuumed (id int); -- younger than what was made by setup
CREATE FUNCTION public.partitions_of(name text) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FROM pg_inherits WHERE inhparent = ('s.' || name)::regclass AND inhrelid <> COALESCE(to_regclass('s.' || name || '_rest'), 0)
$$;

-- What must hold after each failure, as one line; NULL when all does. `session` is that of a CALL that failed.
CREATE FUNCTION public.damage(name text, partitions bigint, session int) RETURNS text LANGUAGE sql AS $$
SELECT NULLIF(concat_ws(', ',
    (SELECT 'half made: ' || string_agg(relname, ' ') FROM pg_class WHERE relnamespace = 's'::regnamespace AND relkind = 'r' AND NOT relispartition),
    (SELECT 'partitions: ' || p FROM public.partitions_of(name) p WHERE p <> partitions),
    (SELECT 'not ended: ' || string_agg(concat_ws(' ', run_id, kind, state), ' ') FROM orchestry.run WHERE state IN ('queued', 'waiting', 'running')),
    (SELECT 'steps without partition: ' || string_agg(s.object, ' ') FROM orchestry.run_step s WHERE s.state = 'ok' AND s.action = 'create' AND to_regclass(s.object) IS NULL),
    (SELECT 'partitions without step: ' || string_agg(i.inhrelid::regclass::text, ' ') FROM pg_inherits i
     WHERE i.inhparent = ('s.' || name)::regclass AND i.inhrelid > 'public.vacuumed'::regclass
     AND i.inhrelid NOT IN (SELECT to_regclass(s.object) FROM orchestry.run_step s WHERE s.state = 'ok' AND to_regclass(s.object) IS NOT NULL)),
    (SELECT 'ok without its steps: ' || string_agg(r.run_id::text, ' ') FROM orchestry.run r WHERE r.state = 'ok' AND r.kind = 'partition'
     AND r.steps <> (SELECT count(*) FROM orchestry.run_step s WHERE s.run_id = r.run_id AND s.state = 'ok')),
    (SELECT 'locks: ' || string_agg(concat_ws(' ', l.pid, locktype, classid::regclass, mode), '; ') FROM pg_locks l JOIN pg_stat_activity a USING (pid)
     WHERE l.granted AND (l.pid = session OR a.backend_type ~ '^orchestry' AND a.state = 'idle') AND NOT (locktype = 'object' AND classid = 'pg_database'::regclass)),
    (SELECT 'snapshots: ' || string_agg(concat_ws(' ', pid, backend_type, state), '; ') FROM pg_stat_activity
     WHERE pid <> pg_backend_pid() AND state LIKE 'idle%' AND backend_xmin IS NOT NULL)), '')
$$;
SQL

# Gives a job a partition more to make. Returns the SQL.
sub more_to_do
{
	my ($name) = @_;
	$ahead{$name}++;
	# At once: the job is due between the two, and a scheduler that is awake would take it.
	return "BEGIN; SELECT orchestry.alter_policy($job{$name}, '{\"ahead\": \"$ahead{$name} days\"}');"
	  . " UPDATE orchestry.job_state SET next_run_at = now() + '1 year'; COMMIT";
}

# What stays wrong: a scheduler that sleeps looks about once in a second, in a transaction of an instant.
sub damage
{
	my ($name, $pid) = @_;
	my $damage;
	for (1 .. 20)
	{
		$damage = ask("SELECT public.damage('$name', $ahead{$name} + 1, $pid)");
		last if $damage eq '';
		usleep(50_000);
	}
	return $damage;
}

my %points;

# In a session: CALL run_job() fails at point 1, 2, ... The session survives an ERROR; FATAL ends it.
for my $case (['error', 'plain'], ['error', 'fallback'], ['error', 'linked'], ['error', 'large'], ['fatal', 'plain'])
{
	my ($level, $name) = @$case;
	my @damages;
	my $at = 0;
	my ($session, $pid) = (undef, 0);
	if ($level eq 'error')
	{
		$session = $node->background_psql($database, on_error_stop => 0);
		$pid = $session->query_safe('SELECT pg_backend_pid()');
	}
	while (++$at)
	{
		ask(more_to_do($name));
		my $offset = -s $node->logfile;
		my $call = "SET orchestry.fault_level = $level; SET orchestry.fault_at = $at;\nCALL orchestry.run_job($job{$name});\nSET orchestry.fault_at = 0;";
		if ($session)
		{
			$session->query($call);
			$session->{stderr} = '';
		}
		else
		{
			$node->psql($database, $call, on_error_stop => 0);
		}
		my @where = faults($offset);
		$points{$_}++ for @where;
		ask("CALL orchestry.run_job($job{$name})");
		my $damage = damage($name, $pid);
		push @damages, "at $at (@where): $damage" if $damage ne '';
		push @damages, "at $at: fired " . @where . ' times' if @where > 1;
		last if !@where || $at >= 500;
	}
	is(join("\n", @damages), '', "$name in a session, $level: " . ($at - 1) . ' points, nothing broken at any');
	cmp_ok($at, '>', 10, 'and then it passes');
	$session->quit if $session;
}

ask(q(ALTER SYSTEM SET orchestry.databases = '*'));
ask('SELECT pg_reload_conf()');
wait_for_scheduler($node, $database);

# In the worker and in the scheduler. With FATAL, which starts processes anew, every fifth point in the short mode.
my @cases = (['error', 'worker', 'plain'], ['fatal', 'worker', 'plain'], ['error', 'worker', 'statement'], ['fatal', 'worker', 'statement'],
	['error', 'scheduler', 'plain'], ['fatal', 'scheduler', 'plain']);
my $again = 10;
while (my $case = shift @cases)
{
	my ($level, $process, $what) = @$case;
	my @damages;
	my $slowest = 0;
	my $tried = 0;
	my $at = 0;
	my $active = "EXISTS (SELECT FROM orchestry.run WHERE state IN ('queued', 'waiting', 'running'))";
	while (1)
	{
		$at += $level eq 'fatal' ? long_count(5, 1) : 1;
		ask(more_to_do('plain')) if $what eq 'plain';
		my $offset = -s $node->logfile;
		my $run;
		ask("UPDATE orchestry.job_state SET next_run_at = now() WHERE job_id = $job{plain}") if $process eq 'scheduler';
		arm($at, $level, "orchestry $process"); # wakes the scheduler
		$run = ask("SELECT orchestry.start_job($job{plain})") if $process eq 'worker' && $what eq 'plain';
		$run = ask("SELECT orchestry.run_in_background('VACUUM public.vacuumed')") if $what eq 'statement';
		# Let it fail, or be done with it.
		my $done = $run ? "state NOT IN ('queued', 'waiting', 'running') FROM orchestry.run WHERE run_id = $run"
		  : "public.partitions_of('plain') = $ahead{plain} + 1 AND NOT $active";
		my $start = time;
		usleep(20_000) until faults($offset) || ask("SELECT $done") eq 't' || time - $start > 30;
		# Now let it recover. What has crashed is found in the scheduler's next tick: reading the configuration wakes it.
		arm(0, $level, '');
		my @where = faults($offset);
		$points{$_}++ for @where;
		my $back = wait_for('COALESCE(orchestry.scheduler_pid(), 0) <> 0', 'the scheduler is back');
		$slowest = $back if $back > $slowest;
		wait_for("pg_reload_conf() AND NOT $active", "every run has ended after point $at (@where)");
		ask("UPDATE orchestry.job_state SET next_run_at = now() WHERE job_id = $job{plain}; SELECT pg_reload_conf()");
		wait_for("(SELECT next_run_at > now() + interval '1 month' AND failures = 0 FROM orchestry.job_state WHERE job_id = $job{plain})
			AND NOT $active AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'orchestry worker')
			AND (SELECT state = 'idle' FROM pg_stat_activity WHERE backend_type = 'orchestry scheduler')", "all is well after point $at (@where)");
		my $damage = damage('plain', 0);
		push @damages, "at $at (@where): $damage" if $damage ne '';
		last if !@where || $at >= 200;
		$tried++;
		# The launcher loses patience with schedulers that end again and again; this gives it back.
		ask('SELECT orchestry._announce()');
	}
	is(join("\n", @damages), '', "$what, $process, $level: $tried of " . ($at - 1) . ' points, nothing broken at any');
	cmp_ok($tried, '>', 0, 'and then it passes');
	took_at_most($slowest, 5, 'the scheduler was back, at the latest');
	# A tick of the scheduler that comes after a job is due and before the fault is armed takes the slot unharmed.
	push @cases, ['error', 'scheduler', 'plain'] if !@cases && !$points{'slot taken'} && $again-- > 0;
}
diag(join ', ', map { "$_ $points{$_}" } sort keys %points);
for my $point ('planned', 'step begins', 'step locked', 'table created', 'table attached', 'step applied', 'step recorded', 'step done',
	'run begun', 'begin committed', 'run finished', 'job state written', 'run claimed', 'statement done', 'statement recorded', 'slot taken',
	'worker started', 'chores done', 'commit')
{
	ok($points{$point}, "a failure at \"$point\" was tried");
}
is(count_log($node, qr/PANIC|TRAP|terminated by signal|was not closed|reference leak/), 0, 'the server has nothing to complain of');
$control->quit;
$node->stop;
done_testing();
