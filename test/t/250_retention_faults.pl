# R07 for retention: a failure at every single point at which detaching, dropping, coming back, holding and releasing can
# fail, one after the other, until nothing fails any more. After each of them everything is as before or as after, with all its
# rows, and the next run does what is left to do. The library is the one with fault points, as in 100_faults.pl.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $modules = $ENV{ORCHESTRY_MODULES};
plan skip_all => 'needs test/modules/build.sh; test/run.sh calls it' unless $modules;

my $database = 'postgres';
my $node = new_server('retention_faults', preload => 0, conf => <<"CONF");
autovacuum = off
orchestry.databases = ''
CONF
$node->safe_psql($database, "CREATE EXTENSION orchestry_ext; UPDATE pg_proc SET probin = 'orchestry_ext' WHERE probin = '\$libdir/orchestry_ext'");
$node->append_conf('postgresql.conf', <<"CONF");
dynamic_library_path = '$modules/faults:\$libdir'
shared_preload_libraries = 'orchestry_ext'
orchestry.now = '2026-07-15 12:00:00+00'
CONF
$node->restart;
my $later = "SET orchestry.now = '2026-07-23 12:00:00+00';";

$node->safe_psql($database, <<'SQL');
CREATE SCHEMA s;
CREATE TABLE public.part (t text, p text, relid oid);
-- A table with two partitions that are due, one that is not, two rows in each, and a retention policy. Returns its job.
CREATE FUNCTION public.make(t text, grace interval) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE s.%I (at timestamptz) PARTITION BY RANGE (at)', t);
    FOR m IN 1..3 LOOP
        EXECUTE format('CREATE TABLE s.%I PARTITION OF s.%I FOR VALUES FROM (%L) TO (%L)', t || '_' || m, t, make_date(2026, 2 * m - 1, 1), make_date(2026, 2 * m + 1, 1));
        INSERT INTO public.part VALUES (t, m, to_regclass(format('s.%I', t || '_' || m)));
    END LOOP;
    EXECUTE format('INSERT INTO s.%I SELECT make_timestamptz(2026, m, 10, 0, 0, 0) FROM generate_series(1, 6) m', t);
    RETURN orchestry.add_retention_policy(format('s.%I', t)::regclass, interval '2 months', grace => grace);
END $$;
-- What has become of a table's partitions and how many rows each has; how many holds there are on them.
CREATE FUNCTION public.state(t text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE p record; n bigint; state text := '';
BEGIN
    FOR p IN SELECT part.p, c.oid, c.relispartition AS attached, c.relname = part.t || '_' || part.p AS named, d.relid IS NOT NULL AS recorded,
                    d.detached_at IS NOT NULL AS graced, COALESCE(i.inhdetachpending, false) AS pending
             FROM public.part LEFT JOIN pg_class c ON c.oid = part.relid LEFT JOIN orchestry.detached_partition d ON d.relid = part.relid
             LEFT JOIN pg_inherits i ON i.inhrelid = part.relid WHERE part.t = state.t ORDER BY part.p LOOP
        state := state || CASE
            WHEN p.oid IS NULL AND NOT p.recorded THEN 'gone'
            WHEN p.pending THEN 'pending'
            WHEN p.attached AND p.named AND NOT p.recorded THEN 'attached'
            WHEN p.attached AND NOT p.named AND p.recorded AND NOT p.graced THEN 'prepared'
            WHEN NOT p.attached AND NOT p.named AND p.recorded AND p.graced THEN 'quarantine'
            WHEN NOT p.attached AND NOT p.named AND p.recorded THEN 'interrupted'
            WHEN NOT p.attached AND p.named AND NOT p.recorded THEN 'theirs'
            ELSE 'BROKEN ' || p::text END || ' ';
        IF p.oid IS NOT NULL THEN
            EXECUTE 'SELECT count(*) FROM ' || p.oid::regclass INTO n;
            IF n <> 2 THEN state := state || 'BROKEN ' || n || ' rows '; END IF;
        END IF;
    END LOOP;
    RETURN state || (SELECT count(*) FROM orchestry.holds h JOIN public.part ON part.relid = h.relation WHERE part.t = state.t AND h.released_at IS NULL);
END $$;
-- What must hold after every failure: nothing but what must be there; NULL when all does.
CREATE FUNCTION public.damage() RETURNS text LANGUAGE sql AS $$
SELECT NULLIF(concat_ws(', ',
    (SELECT 'locks: ' || string_agg(concat_ws(' ', pid, mode, relation::regclass), '; ') FROM pg_locks l JOIN pg_stat_activity a USING (pid)
     WHERE a.pid <> pg_backend_pid() AND a.state = 'idle' AND l.locktype <> 'virtualxid'),
    (SELECT 'records of nothing: ' || string_agg(quarantine_name, ' ') FROM orchestry.detached_partition d WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = d.relid)),
    (SELECT 'steps that did nothing: ' || string_agg(s.object, ' ') FROM orchestry.run_step s WHERE s.state = 'ok' AND s.action = 'drop' AND to_regclass(s.object) IS NOT NULL)), '')
$$;
SQL

my $control = control_session($node, $database);
sub ask { $control->set_query_timer_restart; return $control->query_safe($_[0]) }

# Where a fault has been injected since the offset.
sub faults { my ($offset) = @_; return slurp_file($node->logfile, $offset) =~ /fault point \d+ is "(.*?)"/g }

my ($tables, %points) = (0);
sub part { my ($t, $p) = @_; return "(SELECT relid FROM public.part WHERE t = '$t' AND p = '$p')::regclass" }

# Repeats a scenario, failing one point later each time, until it passes. `before` and `act` get the table's name and its job
# and return SQL; `allowed` is what the state may be after a failure, `final` what it must be once `act` (or `next`) has been
# run without one.
sub scenario
{
	my ($name, $level, %option) = @_;
	my @damages;
	my $at = 0;
	while (++$at <= 500)
	{
		my $t = 't' . ++$tables;
		my $grace = $option{grace} // '7 days';
		my $job = ask("SET client_min_messages = error; SELECT public.make('$t', '$grace')");
		$node->safe_psql($database, "SET client_min_messages = error; " . $option{before}->($t, $job)) if $option{before};
		my $first = ask("SELECT public.state('$t')");
		my $offset = -s $node->logfile;
		$node->psql($database, "SET client_min_messages = error; SET orchestry.fault_level = $level; SET orchestry.fault_at = $at;\n" . $option{act}->($t, $job), on_error_stop => 0);
		my @where = faults($offset);
		$points{$_}++ for @where;
		my $state = ask("SELECT public.state('$t')");
		push @damages, "at $at (@where): $state" unless $state eq $first || $state =~ $option{allowed};
		push @damages, "at $at: passed, and nothing is done: $state" if !@where && $state ne $option{final};
		$node->psql($database, "SET client_min_messages = error; " . ($option{next} // $option{act})->($t, $job)) if $state ne $option{final};
		$state = ask("SELECT public.state('$t')");
		push @damages, "at $at (@where): in the end $state" if $state ne $option{final};
		my $damage = ask('SELECT public.damage()');
		push @damages, "at $at (@where): $damage" if $damage ne '';
		last unless @where;
	}
	is(join("\n", @damages), '', "$name, $level: " . ($at - 1) . ' points, nothing broken at any');
	cmp_ok($at, '>', 1, 'and then it passes');
	return;
}

my $run = sub { my ($t, $job) = @_; return "CALL orchestry.run_job($job);" };
my $run_later = sub { return $later . $run->(@_) };
for my $level ('error', 'fatal')
{
	scenario('detach', $level, act => $run, allowed => qr/^(attached|quarantine) (attached|quarantine) attached 0$/, final => 'quarantine quarantine attached 0');
	scenario('drop', $level, before => $run, act => $run_later, allowed => qr/^(quarantine|gone) (quarantine|gone) attached 0$/, final => 'gone gone attached 0');
	scenario('reattach', $level, before => $run, act => sub { 'SELECT orchestry.reattach(' . part($_[0], 1) . ');' },
		allowed => qr/^attached quarantine attached 1$/, final => 'attached quarantine attached 1');
	scenario('hold', $level, act => sub { 'SELECT orchestry.hold(' . part($_[0], 1) . ", 'why');" }, allowed => qr/^attached attached attached 1$/, final => 'attached attached attached 1');
	scenario('release_hold', $level, before => sub { 'SELECT orchestry.hold(' . part($_[0], 1) . ", 'why');" },
		act => sub { 'SELECT orchestry.release_hold(hold_id, $$over$$) FROM orchestry.holds WHERE released_at IS NULL AND relation = ' . part($_[0], 1) . ';' },
		allowed => qr/^attached attached attached 0$/, final => 'attached attached attached 0');
}
scenario('drop without grace', 'error', grace => '0', act => $run, allowed => qr/^(attached|gone) (attached|gone) attached 0$/, final => 'gone gone attached 0');
# As a run leaves it that ends between giving a partition its name in quarantine and detaching it; and then there is a hold.
scenario('reinstate', 'error', before => sub {
		my ($t, $job) = @_;
		return $run->($t, $job) . "DO \$\$ BEGIN EXECUTE format('ALTER TABLE s.$t ATTACH PARTITION %s FOR VALUES FROM (''2026-01-01'') TO (''2026-03-01'')', " . part($t, 1) . "); END \$\$;"
		  . "UPDATE orchestry.detached_partition SET detached_at = NULL WHERE relid = " . part($t, 1) . "; SELECT orchestry.hold(" . part($t, 1) . ", 'why');";
	}, act => $run, allowed => qr/^(prepared|attached) quarantine attached 1$/, final => 'attached quarantine attached 1');
# Between the two halves of a DETACH CONCURRENTLY.
scenario('complete a detach', 'error', before => sub {
		my ($t) = @_;
		my $reader = $node->background_psql($database);
		$reader->query_safe("BEGIN; SELECT count(*) FROM s.$t WHERE at > '2026-06-01'");
		$node->psql($database, "SET lock_timeout = '20 ms'; ALTER TABLE s.$t DETACH PARTITION s.${t}_1 CONCURRENTLY");
		$reader->quit;
		return '';
	}, act => $run, allowed => qr/^(pending|theirs) (attached|quarantine) attached 0$/, final => 'theirs quarantine attached 0');

# In a worker, where partitions leave concurrently: what it leaves behind is understood by the next run, here a CALL.
for my $case ([ 'error', '7 days' ], [ 'fatal', '7 days' ], [ 'error', '0' ])
{
	my ($level, $grace) = @$case;
	my ($end, $final) = $grace eq '0' ? ('gone', 'gone gone attached 0') : ('quarantine', 'quarantine quarantine attached 0');
	my @damages;
	my $tried = 0;
	my $at = 0;
	while ($at < 500)
	{
		$at += long_count(4, 1);
		my $t = 't' . ++$tables;
		my $job = ask("SET client_min_messages = error; SELECT public.make('$t', '$grace')");
		my $offset = -s $node->logfile;
		my $loaded = ask('SELECT pg_conf_load_time()');
		ask("ALTER SYSTEM SET orchestry.fault_$_->[0] = '$_->[1]'") for [ 'level', $level ], [ 'in', 'orchestry worker' ], [ 'at', $at ];
		ask('SELECT pg_reload_conf()');
		usleep(5_000) until ask("SELECT pg_conf_load_time() > '$loaded'") eq 't'; # the postmaster reads it before it tells us to
		my $id = ask("SELECT orchestry.start_job($job)");
		my $done = "EXISTS (SELECT FROM orchestry.run WHERE run_id = $id AND state NOT IN ('queued', 'waiting', 'running'))";
		my $start = time;
		usleep(5_000) until faults($offset) || ask("SELECT $done") eq 't' || time - $start > 60;
		my @where = faults($offset);
		$points{$_}++ for @where;
		usleep(5_000) until ask("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'orchestry worker'") eq '0' || time - $start > 60;
		ask("ALTER SYSTEM RESET orchestry.fault_at");
		ask('SELECT pg_reload_conf()');
		my $state = ask("SELECT public.state('$t')");
		push @damages, "at $at (@where): $state" unless $state =~ /^((attached|prepared|pending|interrupted|quarantine|$end) ){2}attached 0$/;
		push @damages, "at $at: passed, and nothing is done: $state" if !@where && $state ne $final;
		my $planned = ask("SELECT count(*) FROM orchestry.plan('s.$t', '2026-07-20') WHERE action = 'drop'");
		push @damages, "at $at (@where): $planned drops are planned within the grace" if $planned && $grace ne '0';
		$node->psql($database, "SET client_min_messages = error; SET orchestry.fault_at = 0; CALL orchestry.run_job($job); CALL orchestry.run_job($job)");
		$state = ask("SELECT public.state('$t')");
		push @damages, "at $at (@where): in the end $state" if $state ne $final;
		last unless @where;
		++$tried;
	}
	is(join("\n", @damages), '', "a worker, grace $grace, $level: $tried of " . ($at - 1) . ' points, nothing broken at any');
	cmp_ok($tried, '>', 3, 'and then it passes');
}
diag(join ', ', map { "$_ $points{$_}" } sort keys %points);
for my $point ('partition renamed', 'partition detached', 'partition dropped', 'record deleted', 'name given back', 'partition attached again',
	'hold recorded', 'hold released', 'step applied', 'step recorded', 'commit')
{
	ok($points{$point}, "a failure at \"$point\" was tried");
}
is(count_log($node, qr/PANIC|TRAP|terminated by signal|was not closed|reference leak/), 0, 'the server has nothing to complain of');
$control->quit;
$node->stop;
done_testing();
