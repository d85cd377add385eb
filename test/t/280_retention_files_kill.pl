# Archives that are files: kill -9 and, with the library that has fault points, a failure at every single point while rows and
# whole partitions go into files. After each, every row is in its table, in quarantine or in a file, once; what has a file's
# name is complete and recorded; and the next run does what is left to do.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

random_seed();
my $kills = long_count(6, 200);
my $modules = $ENV{ORCHESTRY_MODULES};
my $database = 'postgres';
my $node = new_server('retention_files_kill', preload => 0, init => { extra => ['--data-checksums'] }, conf => <<"CONF");
autovacuum = off
orchestry.databases = ''
orchestry.history_keep_runs = 1000000
orchestry.now = '2026-07-15 12:00:00+00'
wal_writer_delay = 10s
CONF
my $directory = $node->basedir . '/archive';
mkdir $directory or die "mkdir $directory: $!";

$node->safe_psql($database, <<"SQL" . <<'SQL');
CREATE EXTENSION orchestry_ext;
CREATE FUNCTION public.directory() RETURNS text LANGUAGE sql RETURN '$directory';
SQL
SET client_min_messages = error;
CREATE SCHEMA s;
CREATE TABLE public.job (t text PRIMARY KEY, id bigint);
CREATE TABLE public.ledger (t text, id bigint, PRIMARY KEY (t, id));
-- A table with 300 rows that are past their time and 10 that are not, and a policy that brings them into files.
CREATE FUNCTION public.make(t text, kind text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE job bigint;
BEGIN
    IF kind = 'rows' THEN
        EXECUTE format('CREATE TABLE s.%I (id bigint, at timestamptz, v text)', t);
    ELSE
        EXECUTE format('CREATE TABLE s.%I (id bigint, at timestamptz, v text) PARTITION BY RANGE (at)', t);
        FOR m IN 1..4 LOOP
            EXECUTE format('CREATE TABLE s.%I PARTITION OF s.%I FOR VALUES FROM (%L) TO (%L)', t || '_' || m, t, make_date(2026, 2 * m - 1, 1), make_date(2026, 2 * m + 1, 1));
        END LOOP;
    END IF;
    EXECUTE format('INSERT INTO s.%I SELECT i, CASE WHEN i <= 300 THEN timestamptz ''2026-01-01'' + i * interval ''9 hours'' ELSE ''2026-07-10'' END, ''"'' || i || E'',\n'' FROM generate_series(1, 310) i', t);
    INSERT INTO public.ledger SELECT t, i FROM generate_series(1, 310) i;
    IF kind = 'rows' THEN
        job := orchestry.add_retention_policy(format('s.%I', t)::regclass, interval '2 months', time_column => 'at', archive_to => 'file:' || public.directory(), batch_rows => 100);
    ELSE
        job := orchestry.add_retention_policy(format('s.%I', t)::regclass, interval '2 months', archive_to => 'file:' || public.directory(), grace => '0');
    END IF;
    INSERT INTO public.job VALUES (t, job);
    RETURN job;
END $$;
-- What is not where it should be, once; empty when all is.
CREATE FUNCTION public.damage(t text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE f record; q regclass; path text; damage text;
BEGIN
    CREATE TEMP TABLE found (id bigint, at timestamptz, v text, place text) ON COMMIT DROP;
    EXECUTE format('INSERT INTO found SELECT *, ''table'' FROM s.%I', t);
    FOR f IN SELECT a.* FROM orchestry.archive_file a JOIN public.job j ON j.id = a.job_id WHERE j.t = damage.t LOOP
        path := f.file;
        IF (pg_stat_file(path, true)).size IS NULL THEN
            IF f.published_at IS NOT NULL THEN
                RETURN 'no file ' || path;
            END IF;
            SELECT public.directory() || '/' || name INTO path FROM pg_ls_dir(public.directory()) name WHERE name LIKE '%\_' || f.job_id || '.partial';
        END IF;
        IF encode(sha256(pg_read_binary_file(path)), 'hex') <> f.sha256 THEN
            RETURN 'another file ' || path;
        END IF;
        IF f.part = 0 THEN -- else the rows are still in quarantine
            EXECUTE format('COPY found (id, at, v) FROM %L (FORMAT csv, HEADER match)', path);
        END IF;
    END LOOP;
    FOR q IN SELECT x.partition FROM orchestry.quarantine x WHERE x.parent = format('s.%I', t)::regclass LOOP
        EXECUTE format('INSERT INTO found SELECT *, ''quarantine'' FROM %s', q);
    END LOOP;
    SELECT string_agg(concat_ws(' ', l.id, r.places), ', ') INTO damage FROM (SELECT l.id FROM public.ledger l WHERE l.t = damage.t) l
        FULL JOIN (SELECT id, count(*) AS times, string_agg(place, ' ') AS places FROM found x WHERE v = '"' || id || E',\n' GROUP BY id) r USING (id)
        WHERE r.times IS DISTINCT FROM 1;
    DROP TABLE found;
    RETURN concat_ws('; ', damage, (SELECT 'not recorded: ' || string_agg(name, ' ') FROM pg_ls_dir(public.directory()) name
        WHERE name LIKE '%.csv' AND NOT EXISTS (SELECT FROM orchestry.archive_file a WHERE a.file = public.directory() || '/' || name)));
END $$;
-- What is left to do; empty when all is done.
CREATE FUNCTION public.undone(t text) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws('; ', (SELECT string_agg(action || ' ' || object, ', ') FROM orchestry.plan(format('s.%I', undone.t)::regclass) p WHERE p.action <> 'leave'),
        (SELECT 'no manifest: ' || string_agg(a.file, ' ') FROM orchestry.archive_file a JOIN public.job j ON j.id = a.job_id
         WHERE j.t = undone.t AND (pg_stat_file(a.file || '.json', true)).size IS NULL),
        (SELECT 'in quarantine: ' || count(*) FROM orchestry.quarantine q WHERE q.parent = format('s.%I', undone.t)::regclass HAVING count(*) > 0))
$$;
SQL

# What asks is not what fails.
my ($ask, $hang_up) = renewed_session($node, $database);

my $tables = 0;
sub make
{
	my ($kind) = @_;
	my $t = 't' . ++$tables;
	$ask->('SET client_min_messages = error');
	return ($t, $ask->("SELECT public.make('$t', '$kind')"));
}
sub damage { return $ask->("SELECT public.damage('$_[0]')") }
sub undone { return $ask->("SELECT public.undone('$_[0]')") }

# Kills a session, and with it all that the server has not written; returns when it is there again.
sub crash
{
	my ($pid) = @_;
	$hang_up->();
	my $offset = -s $node->logfile;
	kill 'KILL', $pid or die "no process $pid";
	wait_for_log($node, qr/all server processes terminated; reinitializing/, $offset);
	wait_for_recovery($node, $database);
	return;
}

for my $kind ('rows', 'partitions')
{
	my ($t, $job) = make($kind);
	my $start = time;
	$node->safe_psql($database, "CALL orchestry.run_job($job)");
	my $work_s = time - $start;
	note("$kind: one run takes " . seconds($work_s));
	is(damage($t), '', "$kind: all are accounted for after a run");
	is(undone($t), '', 'and nothing is left to do');

	# A file's name is on the disk at once; a commit that does not wait for the disk is not.
	($t, $job) = make($kind);
	my $session = $node->background_psql($database, on_error_stop => 0);
	my $pid = $session->query_safe('SET client_min_messages = error; SET synchronous_commit = off; SELECT pg_backend_pid()');
	$session->query_safe("CALL orchestry.run_job($job)");
	crash($pid);
	$session->{run}->kill_kill;
	is(damage($t), '', "$kind: nothing is lost or doubled when all that was not brought to the disk is lost");
	$node->safe_psql($database, "CALL orchestry.run_job($job)");
	is(damage($t) . undone($t), '', 'nor by the next run');

	my @damages;
	my $tries = until_struck($kills, $work_s, sub
	{
		my ($delay_s) = @_;
		($t, $job) = make($kind);
		my $session = $node->background_psql($database, on_error_stop => 0);
		my $pid = $session->query_safe('SET synchronous_commit = off; SELECT pg_backend_pid()');
		$session->{stdin} .= "CALL orchestry.run_job($job);\n";
		$session->{run}->pump_nb;
		usleep(int($delay_s * 1_000_000));
		crash($pid);
		eval { $session->{run}->kill_kill; };
		my $struck = undone($t) ne '';
		my $damage = damage($t);
		push @damages, "after a kill: $damage" if $damage ne '';
		$node->safe_psql($database, "CALL orchestry.run_job($job)");
		$damage = damage($t) . undone($t);
		push @damages, "after the next run: $damage" if $damage ne '';
		return $struck;
	});
	diag("$kind: $kills kills came before the run had ended, in $tries runs");
	is(join("\n", @damages), '', "$kind: nothing is lost or doubled by any of $kills kills");
}

SKIP:
{
	skip 'needs test/modules/build.sh; test/run.sh calls it', 1 unless $modules;
	$node->safe_psql($database, "UPDATE pg_proc SET probin = 'orchestry_ext' WHERE probin = '\$libdir/orchestry_ext'");
	$hang_up->();
	$node->append_conf('postgresql.conf', "dynamic_library_path = '$modules/faults:\$libdir'\nshared_preload_libraries = 'orchestry_ext'\n");
	$node->restart;
	my (%points, $tampered);
	# By default every third point, others for each level, so that each kind of point has its turn; and all until there
	# was a file to tamper with.
	my $stride = long_count(3, 1);
	for my $kind ('rows', 'partitions')
	{
		for my $level ('error', 'fatal')
		{
			my ($at, @damages) = (1 + ($level eq 'fatal' ? $stride >> 1 : 0));
			for (; $at <= 500; $at += $tampered ? $stride : 1)
			{
				my ($t, $job) = make($kind);
				my $offset = -s $node->logfile;
				$node->psql($database, "SET client_min_messages = error; SET orchestry.fault_level = $level; SET orchestry.fault_at = $at; CALL orchestry.run_job($job);");
				my @where = slurp_file($node->logfile, $offset) =~ /fault point \d+ is "(.*?)"/g;
				$points{$_}++ for @where;
				my $damage = damage($t);
				push @damages, "at $at (@where): $damage" if $damage ne '';
				# A file that is complete and has no name yet, and that somebody has changed, gets none.
				my ($passing) = glob "$directory/*_$job.partial";
				if (!$tampered && $passing && $ask->("SELECT count(*) FROM orchestry.archive_file WHERE job_id = $job AND published_at IS NULL") ne '0')
				{
					$tampered = slurp_file($passing);
					append_to_file($passing, 'x');
					my ($status, undef, $stderr) = $node->psql($database, "CALL orchestry.run_job($job)");
					isnt($status, 0, 'a file that was changed before it had its name is refused');
					like($stderr, qr/is gone, or is another one by now/, 'and the error says so');
					truncate $passing, length $tampered or die "truncate: $!";
				}
				push @damages, "at $at: passed, and not done: " . undone($t) if !@where && undone($t) ne '';
				$node->psql($database, "SET client_min_messages = error; CALL orchestry.run_job($job); CALL orchestry.run_job($job);");
				$damage = damage($t) . undone($t);
				push @damages, "at $at (@where), after the next run: $damage" if $damage ne '';
				last unless @where;
			}
			is(join("\n", @damages), '', "$kind, $level: nothing is lost or doubled at any point");
			note("$kind, $level: passed at $at; one point in $stride was tried");
			cmp_ok($at, '>', 10, 'and then it passes');
		}
	}
	ok($tampered, 'there was such a file');
	ok($points{$_}, "a failure at \"$_\" was tried")
	  for 'file written', 'file verified', 'file recorded', 'rows removed', 'file named', 'manifest written', 'file published', 'partition dropped', 'commit';
}
is(count_log($node, 'PANIC|TRAP|WARNING:.*(leak|refcount|not closed)'), 0, 'the log is clean');
$hang_up->();
$node->stop;
done_testing();
