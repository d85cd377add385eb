# R02: kill -9 of whoever runs retention, in a worker or in a session, at random points of detaching and dropping, while
# others write late rows and a second runner comes in between. Every row that is young enough is there after each of them;
# in the end each partition is attached, in quarantine and on record, or dropped after its grace, with all its rows or none,
# and nothing is half done or done twice.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

$SIG{PIPE} = 'IGNORE'; # writing to a client whose server was killed must not end the test
my $seed = random_seed();
my $kills = long_count(12, 200);
my $database = 'postgres';
my $days_at_once = 3;
my $keep_days = 30;
my $grace_days = 2;
my $node = new_server('retention_kill', init => { extra => ['--data-checksums'] }, conf => <<'CONF');
orchestry.databases = ''
orchestry.now = '2026-02-01 00:00:00+00'
orchestry.history_keep_runs = 1000000
orchestry.history_keep = '20000 d'
autovacuum = off
CONF

# Daily partitions with a row for each hour: more days than the test can use up. One table's partitions leave concurrently
# where a worker runs its job, the others' never do: they have a default partition, or foreign keys.
my $days = (2 * $kills + 5) * $days_at_once + 3 * $keep_days;
$node->safe_psql($database, <<"SQL");
CREATE EXTENSION orchestry_ext;
CREATE ROLE app LOGIN;
CREATE SCHEMA s AUTHORIZATION app;
SET ROLE app;
CREATE TABLE s.account (id int PRIMARY KEY);
INSERT INTO s.account VALUES (1);
CREATE TABLE s.plain (at timestamptz PRIMARY KEY, v int) PARTITION BY RANGE (at);
CREATE TABLE s.fallen (at timestamptz, v int) PARTITION BY RANGE (at);
CREATE TABLE s.fallen_default PARTITION OF s.fallen DEFAULT;
CREATE TABLE s.keyed (at timestamptz, account int REFERENCES s.account) PARTITION BY RANGE (at);
DO \$\$
DECLARE t text; d date;
BEGIN
    FOREACH t IN ARRAY '{plain,fallen,keyed}'::text[] LOOP
        FOR n IN 0..$days LOOP
            d := date '2025-12-01' + n;
            EXECUTE format('CREATE TABLE s.%I PARTITION OF s.%I FOR VALUES FROM (%L) TO (%L)', t || to_char(d, '_YYYYMMDD'), t, d, d + 1);
        END LOOP;
        EXECUTE format('INSERT INTO s.%I SELECT h, 1 FROM generate_series(timestamptz ''2025-12-01'', timestamptz ''2025-12-01'' + interval ''%s days'' - interval ''1 hour'', ''1 hour'') h', t, $days + 1);
    END LOOP;
END \$\$;
RESET ROLE;
SET client_min_messages = error;
CREATE TABLE public.job AS SELECT t, orchestry.add_retention_policy(('s.' || t)::regclass, interval '$keep_days days', grace => interval '$grace_days days') AS id
    FROM unnest('{plain,fallen,keyed}'::text[]) t;
-- Late rows, each with a receipt of the same transaction. Their times are about the horizon, before it and after; there may
-- be no partition for them any more, and then there is no receipt either, unless the default partition took them.
CREATE TABLE public.clock (now timestamptz);
INSERT INTO public.clock VALUES ('2026-02-01 00:00:00+00');
CREATE TABLE public.receipt (t text, at timestamptz, PRIMARY KEY (t, at));
CREATE FUNCTION public.write_late() RETURNS void LANGUAGE plpgsql AS \$\$
DECLARE
    t text := ('{plain,fallen,keyed}'::text[])[1 + floor(random() * 3)];
    late timestamptz := (SELECT now FROM public.clock) - interval '$keep_days days' + (random() * 12 - 8) * interval '1 day';
BEGIN
    EXECUTE format('INSERT INTO s.%I VALUES (\$1, 1)', t) USING late;
    INSERT INTO public.receipt VALUES (t, late);
EXCEPTION WHEN check_violation THEN -- no partition
END \$\$;
-- How many of the rows that are young enough are missing, and how many are there more than once.
CREATE FUNCTION public.damage(now timestamptz) RETURNS bigint LANGUAGE plpgsql AS \$\$
DECLARE t text; n bigint; damage bigint := 0;
BEGIN
    FOREACH t IN ARRAY '{plain,fallen,keyed}'::text[] LOOP
        EXECUTE format('SELECT count(*) FROM
            (SELECT generate_series(date_trunc(''hour'', \$1 - interval ''$keep_days days''), timestamptz ''2025-12-01'' + interval ''%s days'' - interval ''1 hour'', ''1 hour'') AS at
             UNION ALL SELECT at FROM public.receipt WHERE t = %L AND at >= \$1 - interval ''$keep_days days'') wanted
            FULL JOIN (SELECT at, count(*) AS times FROM s.%I WHERE at >= \$1 - interval ''$keep_days days'' GROUP BY at) r USING (at) WHERE r.times IS DISTINCT FROM 1', $days + 1, t, t)
            INTO n USING now;
        damage := damage + n;
    END LOOP;
    RETURN damage;
END \$\$;
SQL

my $clock = 62; # days since 2025-12-01
sub now_sql { return "(timestamptz '2025-12-01' + interval '$clock days')" }

sub move_clock
{
	$clock += $days_at_once;
	my $now = $node->safe_psql($database, 'SELECT ' . now_sql());
	$node->safe_psql($database, "UPDATE public.clock SET now = '$now'");
	$node->safe_psql($database, "ALTER SYSTEM SET orchestry.now = '$now'");
	$node->safe_psql($database, 'SELECT pg_reload_conf()');
	# A job whose turn has not come for a month would take the clock for wrong.
	wait_until($node, $database, "SELECT bool_and(orchestry.resume_job(id) IS NOT NULL) AND (SELECT bool_and(next_run_at = '$now') FROM orchestry.job_state) FROM public.job");
	return;
}

sub job_of
{
	my ($table) = @_;
	return $node->safe_psql($database, "SELECT id FROM public.job WHERE t = '$table'");
}

# Sends a statement to a session of its own, without waiting for its end.
sub send_off
{
	my ($sql) = @_;
	my $session = $node->background_psql($database, on_error_stop => 0);
	$session->{stdin} .= "$sql;\n";
	$session->{run}->pump_nb;
	return $session;
}

# Whether a process that was killed is still to be reaped or gone.
sub is_dead
{
	my ($pid) = @_;
	open(my $stat, '<', "/proc/$pid/stat") or return 1;
	my $line = <$stat> // '';
	return $line eq '' || $line =~ /\) Z/;
}

# The statement is no input that a client which cannot connect would not read.
sub wait_for_server
{
	my $deadline = time + 180;
	until (IPC::Run::run([ 'psql', '-XAtq', '-d', $node->connstr($database), '-c', 'SELECT true' ], '<', \undef, '&>', '/dev/null'))
	{
		die 'the server does not come back' if time > $deadline;
		usleep(10_000);
	}
	return;
}

sub undisturbed_round
{
	move_clock();
	for my $job (split /\n/, $node->safe_psql($database, 'SELECT id FROM public.job ORDER BY id'))
	{
		$node->safe_psql($database, "CALL orchestry.run_job($job)");
	}
	return;
}

# How long a job takes, for the moments of the kills.
undisturbed_round();
move_clock();
my $plain = job_of('plain');
my $start = time;
$node->safe_psql($database, "CALL orchestry.run_job($plain)");
my $work_s = time - $start;
note('one job takes ' . seconds($work_s));

# Writers that come back whenever the server does, until there is nothing left to run.
my $script = PostgreSQL::Test::Utils::tempdir() . '/late.sql';
append_to_file($script, "SELECT public.write_late();\n");
my $writers = IPC::Run::start(
	[ 'sh', '-c', "while test -e $script; do pgbench -n -c 2 -R 60 -T 5 --random-seed=$seed -f $script '@{[ $node->connstr($database) ]}'; done" ],
	'<', \undef, '&>', '/dev/null');

my ($damage, $by_worker, $seconds) = (0, 0, 0);
my @tables = qw(plain fallen keyed);
my $tries = until_struck($kills, $work_s, sub
{
	my ($delay_s) = @_;
	move_clock();
	my $job = job_of($tables[ int(rand(@tables)) ]);
	my $in_worker = rand() < 0.6;
	my @sessions;
	if ($in_worker)
	{
		$node->safe_psql($database, "SELECT orchestry.start_job($job)");
	}
	else
	{
		push @sessions, send_off("CALL orchestry.run_job($job)");
	}
	my $title = $in_worker ? qr/orchestry worker/ : qr/ CALL/;
	my $victim = 0;
	my $deadline = time + 1;
	$victim = find_child($node, $title) until $victim || time > $deadline;
	if (rand() < 0.4)
	{
		++$seconds;
		push @sessions, send_off(rand() < 0.5 ? "CALL orchestry.run_job($job)" : 'CALL orchestry.run_due()');
	}
	my $struck = 0;
	if ($victim)
	{
		usleep(int($delay_s * 1_000_000));
		if (kill 'KILL', $victim)
		{
			$struck = 1;
			++$by_worker if $in_worker;
			usleep(1_000) until is_dead($victim);
			usleep(20_000); # the postmaster has to see it before it can be waited for
		}
	}
	for my $session (@sessions) { eval { $session->{run}->kill_kill } }
	wait_for_server();
	$damage += $node->safe_psql($database, 'SELECT public.damage(' . now_sql() . ')');
	return $struck;
});
unlink $script;
$writers->finish;
my $late = $node->safe_psql($database, 'SELECT count(*) FROM public.receipt');
diag("$kills kills in $tries runs, $by_worker of them of a worker; a second runner in $seconds; $late late rows");
is($damage, 0, "after each of $kills kills every young row was there, once");

# Two rounds without a kill: what was torn is completed, and its grace ends.
wait_until($node, $database, "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'orchestry worker'");
$node->safe_psql($database, 'CALL orchestry.run_due()'); # what was queued, and what crashed
undisturbed_round();
undisturbed_round();
is($node->safe_psql($database, "SELECT count(*) FROM orchestry.runs WHERE state IN ('queued', 'waiting', 'running')"), 0, 'every run has ended');
is($node->safe_psql($database, 'SELECT public.damage(' . now_sql() . ')'), 0, 'every young row is there, once');
is($node->safe_psql($database, 'SELECT count(*) FROM pg_inherits WHERE inhdetachpending'), 0, 'no partition is half detached');
is($node->safe_psql($database, "SELECT count(*) FROM pg_class c WHERE c.relnamespace = 's'::regnamespace AND c.relkind = 'r' AND NOT c.relispartition AND c.relname <> 'account' AND NOT EXISTS (SELECT FROM orchestry.quarantine q WHERE q.partition = c.oid AND q.detached_at IS NOT NULL)"),
	0, 'every detached partition is on record, with its grace');
is($node->safe_psql($database, "SELECT count(*) FROM orchestry.detached_partition d WHERE NOT EXISTS (SELECT FROM orchestry.quarantine q WHERE q.partition = d.relid) OR EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = d.relid)"),
	0, 'and every record is of one');
is($node->safe_psql($database, "SELECT count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent IN ('s.plain'::regclass, 's.fallen'::regclass, 's.keyed'::regclass) AND c.relname ~ '^orchestry'"),
	0, 'no attached partition has a name in quarantine');
is($node->safe_psql($database, <<"SQL"), 0, 'what is attached is what is young enough');
SELECT count(*) FROM (SELECT t || to_char(d, '_YYYYMMDD') AS name FROM unnest('{plain,fallen,keyed}'::text[]) t,
        generate_series(timestamptz '2025-12-01', timestamptz '2025-12-01' + interval '$days days', '1 day') d
        WHERE d + interval '1 day' > @{[ now_sql() ]} - interval '$keep_days days') wanted
    FULL JOIN (SELECT c.relname::text AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent IN ('s.plain'::regclass, 's.fallen'::regclass, 's.keyed'::regclass) AND c.relname !~ 'default') attached USING (name)
WHERE wanted.name IS NULL OR attached.name IS NULL
SQL
my $torn = $node->safe_psql($database, <<'SQL');
DO $$
DECLARE p record; n bigint; found_n bigint := 0;
BEGIN
    CREATE TEMPORARY TABLE torn AS SELECT 0::bigint AS n;
    FOR p IN SELECT c.oid::regclass AS name, substring(c.relname from '(plain|fallen|keyed)_\d+$') AS t, substring(c.relname from '\d+$')::date AS day
             FROM pg_class c WHERE c.relnamespace = 's'::regnamespace AND c.relkind = 'r' AND c.relname !~ 'default|account' LOOP
        EXECUTE format('SELECT count(*) FROM (SELECT at, count(*) AS times FROM %s GROUP BY at) r FULL JOIN
            (SELECT generate_series($1::timestamptz, $1::timestamptz + interval ''23 hours'', ''1 hour'') AS at
             UNION ALL SELECT at FROM (SELECT at FROM public.receipt WHERE t = $2 AND at >= $1 AND at < $1 + 1 %s) late) wanted USING (at)
            WHERE r.times IS DISTINCT FROM 1', p.name,
            CASE WHEN p.t = 'fallen' THEN 'EXCEPT SELECT at FROM s.fallen_default' ELSE '' END) INTO n USING p.day, p.t;
        found_n := found_n + n;
    END LOOP;
    UPDATE pg_temp.torn SET n = found_n;
END $$;
SELECT n FROM torn;
SQL
is($torn, 0, 'each partition that is left has all its rows, late ones included, once');
is($node->safe_psql($database, "SELECT count(*) FROM s.fallen_default d WHERE NOT EXISTS (SELECT FROM public.receipt r WHERE r.t = 'fallen' AND r.at = d.at)"),
	0, 'and the default partition has only what came too late');
is($node->safe_psql($database, "SELECT count(*) FROM (SELECT FROM orchestry.run_step WHERE action IN ('detach', 'drop') AND state = 'ok' GROUP BY action, regexp_replace(object, 'orchestry_quarantine_\\d+_', '') HAVING count(*) > 1) twice"),
	0, 'nothing was done twice');
note(count_log($node, 'deadlock detected') . ' deadlocks');
is(count_log($node, 'PANIC|TRAP|WARNING:.*(leak|refcount|not closed)'), 0, 'the log is clean');

$node->stop;
done_testing();
