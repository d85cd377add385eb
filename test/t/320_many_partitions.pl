# R25: tables with thousands of partitions, on a server whose lock table has its default size. Making them does not run
# out of shared memory, neither at once when the policy is set up nor later, and no run holds more locks than one
# partition needs.
use strict;
use warnings;
use Orchestry;
use Test::More;
use Time::HiRes qw(time usleep);

my $database = 'postgres';
my $hours = long_count(1_200, 10_000);
my $numbers = long_count(1_200, 2_000);
my $most_locks = 60; # of one step: two tables with their indexes and TOAST tables, and the catalogs and records in use
# No scheduler: what is run, and when, is up to us. And no hour may begin between a run and the next, which has nothing left to do.
my $now = '2026-06-15 12:34:00+00';
my $node = new_server('many_partitions', preload => 0, conf => <<"CONF");
max_connections = 100
max_locks_per_transaction = 64
autovacuum = off
synchronous_commit = off
orchestry.now = '$now'
CONF

# Looks every few milliseconds how many locks the workers hold, until told to end.
$node->safe_psql($database, <<'SQL');
CREATE EXTENSION orchestry_ext;
CREATE TABLE public.most (name text PRIMARY KEY, locks bigint);
CREATE PROCEDURE public.watch(what text) LANGUAGE plpgsql AS $$
DECLARE highest bigint := 0;
BEGIN
    LOOP
        highest := greatest(highest, (SELECT max(n) FROM (SELECT count(*) AS n FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                                WHERE a.backend_type = 'orchestry worker' GROUP BY pid) w));
        EXIT WHEN EXISTS (SELECT FROM public.most m WHERE m.name = what);
        COMMIT;
        PERFORM pg_sleep(0.003);
    END LOOP;
    UPDATE public.most SET locks = highest WHERE name = what;
END $$;
SQL

# Does something while the locks of the workers are watched. Returns the most that one held at a time.
sub watch
{
	my ($what, $act) = @_;
	my $session = $node->background_psql($database, timeout => 24 * 3600);
	$session->{stdin} .= "CALL public.watch('$what');\n\\q\n";
	$session->{run}->pump_nb;
	$act->();
	$node->safe_psql($database, "INSERT INTO public.most VALUES ('$what')");
	$session->{run}->finish;
	return $node->safe_psql($database, "SELECT locks FROM public.most WHERE name = '$what'");
}

sub run_in_worker
{
	my ($job) = @_;
	my $run = $node->safe_psql($database, "SELECT orchestry.start_job($job)");
	# To attach a partition the server reads all of them, so thousands take their time: there is no limit to it here.
	usleep(100_000) until $node->safe_psql($database,
		"SELECT state NOT IN ('queued', 'waiting', 'running') FROM orchestry.run WHERE run_id = $run") eq 't';
	return run_row($node, $database, $run);
}

sub count_partitions
{
	my ($table) = @_;
	return $node->safe_psql($database, "SELECT count(*) FROM pg_inherits WHERE inhparent = '$table'::regclass");
}

sub grow
{
	my (%case) = @_;
	my ($table, $partitions) = @case{qw(table partitions)};
	$node->safe_psql($database, $case{create});
	my ($status, $job, $err) = $node->psql($database, $case{policy});
	is($status, 0, "$case{what}: a policy for $partitions partitions can be set up");
	diag($err) if $status;
	$node->safe_psql($database, "SELECT orchestry.alter_policy($job, '{\"max_runtime\": \"1 day\"}')");
	my $at_once = count_partitions($table);
	cmp_ok($at_once, '>', 0, "$case{what}: $at_once of them at once");
	my $start = time;
	my $locks = watch("$table create", sub { like(run_in_worker($job), qr/^(ok|noop)$/, "$case{what}: the first run makes the others") });
	my $took = time - $start;
	my $made = count_partitions($table);
	cmp_ok($made, '>=', $partitions, "$case{what}: $made partitions");
	cmp_ok($locks, '<=', $most_locks, "$case{what}: a run that creates holds at most $locks locks");
	diag(sprintf '%s: %d partitions, %d at once, the others in %.1f s (%.1f ms each), at most %d locks',
		$case{what}, $made, $at_once, $took, 1000 * $took / (($made - $at_once) || 1), $locks);

	# A run that looks at everything and finds nothing to do, and the one after it.
	$node->safe_psql($database, "UPDATE orchestry.job_state SET fingerprint = NULL, settled_from = NULL, settled_until = NULL WHERE job_id = $job");
	$start = time;
	$locks = watch("$table nothing", sub { is(run_in_worker($job), 'noop', "$case{what}: then nothing is left to do") });
	cmp_ok($locks, '<=', $most_locks, "$case{what}: a run with nothing to do holds at most $locks locks");
	diag(sprintf '%s: a run with nothing to do takes %.2f s', $case{what}, time - $start);

	# Rows, so that the parent is worth analyzing; then one partition more.
	$node->safe_psql($database, $case{rows});
	$node->safe_psql($database, "SELECT orchestry.alter_policy($job, '$case{more}')");
	$locks = watch("$table more", sub { is(run_in_worker($job), 'ok', "$case{what}: one partition more") });
	cmp_ok(count_partitions($table), '>', $made, "$case{what}: it is there");
	cmp_ok($locks, '<', 4_000, "$case{what}: and the whole table was analyzed only if that fits the lock table ($locks locks)");
	note("$case{what}: with rows: " . $node->safe_psql($database,
			"SELECT string_agg(DISTINCT action, ', ') FROM orchestry.run_steps WHERE run_id = (SELECT last_run_id FROM orchestry.jobs WHERE job_id = $job)"));
	return;
}

grow(what => 'hours', table => 'hours', partitions => $hours,
	create => 'CREATE TABLE hours (at timestamptz NOT NULL, id bigint, note text, PRIMARY KEY (at, id)) PARTITION BY RANGE (at)',
	policy => "SELECT orchestry.add_partition_policy('hours', interval '1 hour', interval '@{[ $hours - 1 ]} hours', schedule => '1 year')",
	rows => "INSERT INTO hours SELECT timestamptz '$now' + i * interval '1 hour', i, 'x' FROM generate_series(1, 999) i",
	more => "{\"ahead\": \"@{[ $hours + 2 ]} hours\"}");

# Integer keys without a sequence: how far they have come is looked up in the partitions.
grow(what => 'numbers', table => 'numbers', partitions => $numbers,
	create => 'CREATE TABLE numbers (id bigint NOT NULL, note text) PARTITION BY RANGE (id)',
	policy => "SELECT orchestry.add_partition_policy('numbers', 1000::bigint, 1000::bigint * $numbers, schedule => '1 year')",
	rows => 'INSERT INTO numbers SELECT i, $$x$$ FROM generate_series(1, 999) i',
	more => "{\"ahead\": @{[ 1000 * ($numbers + 2) ]}}");

is(count_log($node, qr/out of shared memory|PANIC|TRAP|terminated by signal/), 0, 'never out of shared memory');
$node->stop;
done_testing();
