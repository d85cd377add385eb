# R02, R07 for partitions that move into an archive as a whole: kill -9 of whoever moves them at random points, a failure at
# every point at which one can be, and others who write late rows all the while. Every row that was ever committed is in the
# table or in the archive, once; a partition is in one of the two, whole; and the next run does what is left to do. The server
# never reads a partition while it keeps everybody from both tables.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

random_seed();
my $modules = $ENV{ORCHESTRY_MODULES};
my $kills = long_count(6, 200);
my $database = 'postgres';
my $node = new_server('retention_move_kill', init => { extra => ['--data-checksums'] }, conf => <<'CONF');
orchestry.databases = ''
orchestry.now = '2026-07-15 12:00:00+00'
orchestry.history_keep_runs = 1000000
orchestry.history_keep = '20000 d'
orchestry.lock_attempts = 1000
autovacuum = off
log_min_messages = debug1
CONF

$node->safe_psql($database, <<'SQL');
CREATE EXTENSION orchestry_ext;
CREATE SCHEMA s;
CREATE SEQUENCE public.ids;
CREATE TABLE public.ledger (t text, id bigint, PRIMARY KEY (t, id));
CREATE TABLE public.job (t text, id bigint);
CREATE PROCEDURE public.write(t text, n int, at timestamptz) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('WITH made AS (INSERT INTO s.%1$I SELECT nextval(''public.ids''), $1 + n * interval ''1 second'' FROM generate_series(1, $2) n RETURNING id)
        INSERT INTO public.ledger SELECT %1$L, id FROM made', t) USING at, n;
END $$;
-- Monthly partitions from January on, of which five are past their time, into an archive that has none of them.
CREATE FUNCTION public.make(t text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE job bigint;
BEGIN
    EXECUTE format('CREATE TABLE s.%1$I (id bigint, at timestamptz NOT NULL, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
        CREATE INDEX ON s.%1$I (at); CREATE TABLE s.%2$I (LIKE s.%1$I INCLUDING ALL) PARTITION BY RANGE (at)', t, t || '_archive');
    FOR m IN 1..7 LOOP
        EXECUTE format('CREATE TABLE s.%I PARTITION OF s.%I FOR VALUES FROM (%L) TO (%L)', t || '_' || m, t, make_date(2026, m, 1), make_date(2026, m + 1, 1));
        CALL public.write(t, 300, make_timestamptz(2026, m, 2, 0, 0, 0));
    END LOOP;
    job := orchestry.add_retention_policy(format('s.%I', t)::regclass, interval '1 month', archive_to => format('s.%I', t || '_archive'));
    INSERT INTO public.job VALUES (t, job);
    RETURN job;
END $$;
-- Late rows, until it is killed with the server or told to stop, and reads of both tables by one statement.
CREATE PROCEDURE public.traffic(t text) LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
    WHILE NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 4712) LOOP
        BEGIN
            CALL public.write(t, 1, timestamptz '2026-01-01' + random() * interval '180 days');
            EXECUTE format('SELECT count(*) FROM (TABLE s.%I UNION ALL TABLE s.%I) x', t, t || '_archive') INTO n;
        EXCEPTION WHEN check_violation THEN -- it came too late
        END;
        COMMIT;
    END LOOP;
END $$;
-- What is wrong; empty when nothing is. One snapshot sees all rows.
CREATE FUNCTION public.damage(t text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE rows text;
BEGIN
    EXECUTE format('SELECT string_agg(concat_ws('' '', l.id, r.times), '', '') FROM (SELECT id FROM public.ledger WHERE t = %L) l
        FULL JOIN (SELECT id, count(*) AS times FROM (TABLE s.%I UNION ALL TABLE s.%I) x GROUP BY id) r USING (id) WHERE r.times IS DISTINCT FROM 1', t, t, t || '_archive') INTO rows;
    RETURN concat_ws('; ', rows, (SELECT 'no partition: ' || string_agg(c.relname, ' ') FROM pg_class c
        WHERE c.relnamespace = 's'::regnamespace AND c.relname LIKE t || '\_%' AND c.relkind = 'r' AND NOT c.relispartition));
END $$;
-- What is left to do; empty when all is done.
CREATE FUNCTION public.undone(t text) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws('; ', (SELECT string_agg(action || ' ' || object, ', ') FROM orchestry.plan(format('s.%I', undone.t)::regclass) p WHERE p.action NOT IN ('leave', 'announce')),
        (SELECT 'constrained: ' || string_agg(conrelid::regclass::text, ' ') FROM pg_constraint WHERE starts_with(conname::text, 'orchestry_range') AND conrelid::regclass::text LIKE 's.' || undone.t || '\_%'),
        (SELECT 'in the archive: ' || count(*) FROM pg_inherits WHERE inhparent = format('s.%I', undone.t || '_archive')::regclass HAVING count(*) <> 5))
$$;
SQL

# What asks is not what fails.
my ($ask, $hang_up) = renewed_session($node, $database);

my $tables = 0;
sub make
{
	my $t = 't' . ++$tables;
	$ask->('SET client_min_messages = error');
	return ($t, $ask->("SELECT public.make('$t')"));
}
sub damage { return $ask->("SELECT public.damage('$_[0]')") }
sub undone { return $ask->("SELECT public.undone('$_[0]')") }

my ($t, $job) = make();
my $start = time;
$node->safe_psql($database, "CALL orchestry.run_job($job)");
my $work_s = time - $start;
note('one run takes ' . seconds($work_s));
is(damage($t) . undone($t), '', 'all are accounted for after a run, which has moved all');
is($node->safe_psql($database, "SELECT count(*) FROM orchestry.run_step WHERE action = 'archive_rows' AND message = 'moved as a whole'"), 5, 'as whole partitions');
is(count_log($node, 'partition constraint for table "t1_\d" is implied by existing constraints'), 5, 'the server has read none of them to attach it');

# In the middle of traffic, without a kill.
($t, $job) = make();
my @sessions = map { start_session($node, $database, "CALL public.traffic('$t');") } 1 .. 3;
wait_until($node, $database, "SELECT count(*) = 3 FROM pg_stat_activity WHERE query = 'CALL public.traffic(''$t'');'");
$node->safe_psql($database, "CALL orchestry.run_job($job)");
is(damage($t), '', 'nothing is lost to traffic');
my $stopper = start_session($node, $database, 'SELECT pg_advisory_lock(4712);');
wait_until($node, $database, "SELECT count(*) = 0 FROM pg_stat_activity WHERE query ~ 'CALL public.traffic' AND state = 'active' AND pid <> pg_backend_pid()");
is(undone($t), '', 'and all is done beside it');
eval { $_->{run}->kill_kill; } for @sessions, $stopper;
is(count_log($node, 'deadlock detected'), 0, 'without a deadlock');

my ($by_worker, @damages) = (0);
my $tries = until_struck($kills, $work_s, sub
{
	my ($delay_s) = @_;
	($t, $job) = make();
	my $in_worker = rand() < 0.5;
	my @others = map { start_session($node, $database, "CALL public.traffic('$t');") } 1 .. int(rand(3));
	my $offset = -s $node->logfile;
	push @others, start_session($node, $database, "CALL orchestry.run_job($job);") unless $in_worker;
	$ask->("SELECT orchestry.start_job($job)") if $in_worker;
	$hang_up->();
	my $struck = strike($node, $in_worker ? qr/orchestry worker/ : qr/ CALL/, $delay_s);
	wait_for_log($node, qr/all server processes terminated; reinitializing/, $offset) if $struck && count_log($node, 'was terminated by signal 9', $offset);
	eval { $_->{run}->kill_kill } for @others;
	wait_for_recovery($node, $database);
	# Where the kill came too late, the server goes on, and so do they.
	$node->safe_psql($database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ 'CALL public.traffic' AND pid <> pg_backend_pid()");
	wait_until($node, $database, "SELECT count(*) = 0 FROM pg_stat_activity WHERE query ~ 'CALL public.traffic' AND pid <> pg_backend_pid()");
	my $damage = damage($t);
	push @damages, "after a kill: $damage" if $damage ne '';
	wait_until($node, $database, "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'orchestry worker'");
	$node->safe_psql($database, "CALL orchestry.run_job($job)");
	$damage = damage($t) . undone($t);
	push @damages, "after the next run: $damage" if $damage ne '';
	$by_worker += $struck && $in_worker;
	return $struck;
});
diag("$kills kills in $tries runs, $by_worker of them of a worker");
is(join("\n", @damages), '', "nothing is lost or doubled by any of $kills kills, and the next run does the rest");

SKIP:
{
	skip 'needs test/modules/build.sh; test/run.sh calls it', 1 unless $modules;
	$node->safe_psql($database, "UPDATE pg_proc SET probin = 'orchestry_ext' WHERE probin = '\$libdir/orchestry_ext'");
	$hang_up->();
	$node->append_conf('postgresql.conf', "dynamic_library_path = '$modules/faults:\$libdir'\nshared_preload_libraries = 'orchestry_ext'\nlog_min_messages = warning\n");
	$node->restart;
	my %points;
	# By default every third point, others for each level, so that each kind of point has its turn.
	my $stride = long_count(3, 1);
	for my $level ('error', 'fatal')
	{
		my ($at, @broken) = (1 + ($level eq 'fatal' ? $stride >> 1 : 0));
		for (; $at <= 500; $at += $stride)
		{
			($t, $job) = make();
			my $offset = -s $node->logfile;
			$node->psql($database, "SET client_min_messages = error; SET orchestry.fault_level = $level; SET orchestry.fault_at = $at; CALL orchestry.run_job($job);");
			my @where = slurp_file($node->logfile, $offset) =~ /fault point \d+ is "(.*?)"/g;
			$points{$_}++ for @where;
			my $damage = damage($t);
			push @broken, "at $at (@where): $damage" if $damage ne '';
			push @broken, "at $at: passed, and not done: " . undone($t) if !@where && undone($t) ne '';
			$node->psql($database, "SET client_min_messages = error; CALL orchestry.run_job($job);");
			$damage = damage($t) . undone($t);
			push @broken, "at $at (@where), after the next run: $damage" if $damage ne '';
			last unless @where;
		}
		is(join("\n", @broken), '', "$level: nothing is lost or doubled at any point");
		note("$level: passed at $at; one point in $stride was tried");
		cmp_ok($at, '>', 10, 'and then it passes');
	}
	ok($points{$_}, "a failure at \"$_\" was tried") for 'part of a move done', 'step recorded', 'commit';
}
is(count_log($node, 'PANIC|TRAP|WARNING:.*(leak|refcount|not closed)'), 0, 'the log is clean');
$hang_up->();
$node->stop;
done_testing();
