# R07 for event compression: a failure at every single point at which a run can fail, one after the other, until a run passes
# none. After each of them every event is counted once, as a row or in the row that it became, and the next run does what is
# left to do. The library is the one with fault points, as in 100_faults.pl.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;

my $modules = $ENV{ORCHESTRY_MODULES};
plan skip_all => 'needs test/modules/build.sh; test/run.sh calls it' unless $modules;

my $database = 'postgres';
my $node = new_server('events_faults', preload => 0, conf => <<"CONF");
autovacuum = off
orchestry.lock_timeout = '60 s' # for slow machines
orchestry.databases = ''
CONF
$node->safe_psql($database, "CREATE EXTENSION orchestry_ext; UPDATE pg_proc SET probin = 'orchestry_ext' WHERE probin = '\$libdir/orchestry_ext'");
$node->append_conf('postgresql.conf', <<"CONF");
dynamic_library_path = '$modules/faults:\$libdir'
shared_preload_libraries = 'orchestry_ext'
orchestry.now = '2026-06-15 12:34:00+00'
CONF
$node->restart;
$node->safe_psql($database, <<'SQL');
CREATE SCHEMA s;
-- A table with events of three hours in May, and a policy that compresses them: row by row, or a partition of more than 1 MB
-- as a whole. Some are like nothing else: without an app, or a severity.
CREATE FUNCTION public.make(t text, kind text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE job bigint;
BEGIN
    IF kind = 'rows' THEN
        EXECUTE format('CREATE TABLE s.%I (at timestamptz NOT NULL, app text, severity text, message text)', t);
    ELSE
        EXECUTE format('CREATE TABLE s.%I (at timestamptz NOT NULL, app text, severity text, message text) PARTITION BY RANGE (at)', t);
        EXECUTE format('CREATE TABLE s.%I PARTITION OF s.%I FOR VALUES FROM (''2026-05-01'') TO (''2026-06-01'')', t || '_05', t);
        EXECUTE format('CREATE TABLE s.%I PARTITION OF s.%I FOR VALUES FROM (''2026-06-01'') TO (''2026-07-01'')', t || '_06', t);
    END IF;
    EXECUTE format('INSERT INTO s.%I SELECT timestamptz ''2026-05-10'' + i %% 3 * interval ''1 hour'', NULLIF(i %% 4, 0)::text, (ARRAY[''info'', ''error''])[1 + i %% 3],
        repeat(''m'' || i %% 7, $1) FROM generate_series(1, $2) i', t) USING CASE kind WHEN 'rows' THEN 1 ELSE 900 END, CASE kind WHEN 'rows' THEN 600 ELSE 1000 END;
    job := orchestry.add_event_compression_policy(format('s.%I', t)::regclass, '1 day', group_by => '{app}', count_values_of => 'severity', sample_of => 'message');
    RETURN job;
END $$;
-- Events by hour, app and severity, wherever they are.
CREATE FUNCTION public.sums(t text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE sums text;
BEGIN
    EXECUTE format('SELECT md5(string_agg(concat_ws(''|'', hour, app, severity, n), '','' ORDER BY hour, app, severity)) FROM (
        SELECT hour, app, severity, sum(n) AS n FROM (SELECT date_trunc(''hour'', at) AS hour, app, severity, 1::numeric AS n FROM s.%1$I
            UNION ALL SELECT bucket, app, c.key, c.value::numeric FROM s.%2$I, jsonb_each_text(severity_counts) c
            UNION ALL SELECT bucket, app, NULL, event_count - (SELECT COALESCE(sum(c.value::numeric), 0) FROM jsonb_each_text(severity_counts) c) FROM s.%2$I) f
        GROUP BY 1, 2, 3 HAVING sum(n) <> 0) x', t, t || '_compressed') INTO sums;
    RETURN sums;
END $$;
SQL

my $control = control_session($node, $database);
sub ask { $control->set_query_timer_restart; return $control->query_safe($_[0]) }

my ($tables, %points) = (0);
for my $kind ('rows', 'partition')
{
	for my $level ('error', 'fatal')
	{
		my ($at, @damages) = (0);
		while (++$at <= 500)
		{
			my $t = 't' . ++$tables;
			ask('SET client_min_messages = error');
			my $job = ask("SELECT public.make('$t', '$kind')");
			my $sums = ask("SELECT public.sums('$t')");
			if ($at == 1)
			{
				is(ask("SELECT string_agg(DISTINCT action, ' ') FROM orchestry.plan('s.$t') WHERE action <> 'leave'"),
					$kind eq 'rows' ? 'compress' : 'compress partition', "$kind: the events go that way");
			}
			my $offset = -s $node->logfile;
			$node->psql($database, "SET client_min_messages = error; SET orchestry.fault_level = $level; SET orchestry.fault_at = $at; CALL orchestry.run_job($job);");
			my @where = slurp_file($node->logfile, $offset) =~ /fault point \d+ is "(.*?)"/g;
			$points{$_}++ for @where;
			push @damages, "at $at (@where): other sums" if ask("SELECT public.sums('$t')") ne $sums;
			push @damages, "at $at: passed, and not done" if !@where && ask("SELECT count(*) FROM s.$t") ne '0';
			$node->psql($database, "CALL orchestry.run_job($job);");
			push @damages, "at $at (@where): other sums after the next run" if ask("SELECT public.sums('$t')") ne $sums;
			push @damages, "at $at (@where): events are left" if ask("SELECT count(*) FROM s.$t") ne '0';
			my $locks = ask("SELECT string_agg(concat_ws(' ', pid, mode, relation::regclass), '; ') FROM pg_locks l JOIN pg_stat_activity a USING (pid)
				WHERE a.pid <> pg_backend_pid() AND a.state = 'idle' AND l.locktype <> 'virtualxid'");
			push @damages, "at $at (@where): locks: $locks" if $locks ne '';
			ask("DROP TABLE s.$t, s.${t}_compressed");
			last unless @where;
		}
		is(join("\n", @damages), '', "$kind, $level: " . ($at - 1) . ' points, every event is counted once at any');
		cmp_ok($at, '>', 5, 'and then it passes');
	}
}
ok($points{$_}, "a failure at \"$_\" was tried")
  for 'events compressed', 'partition summed up', 'partition merged', 'partition emptied', 'step applied', 'commit';
is(count_log($node, 'PANIC|TRAP|terminated by signal|WARNING:.*(leak|refcount|not closed)'), 0, 'the log is clean');
$control->quit;
$node->stop;
done_testing();
