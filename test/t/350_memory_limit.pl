# R27: retention and event compression of large partitions with little memory. By default one job needs a small part of what
# it works on; and where the system gives it less than it needs there is an error at most, no server that goes down, and no
# row that is lost or doubled.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;

my $megabytes = long_count(40, 1024);
my $rows = $megabytes * 1000;
my $database = 'postgres';
my $node = new_server('memory_limit', conf => <<'CONF');
orchestry.databases = ''
orchestry.now = '2026-07-05 12:34:00+00'
autovacuum = off
shared_buffers = '16 MB'
work_mem = '64 kB'
max_wal_size = '4 GB'
CONF
plan skip_all => 'needs prlimit' if system('prlimit --version >/dev/null 2>&1') != 0;
my $directory = $node->basedir . '/archive';
mkdir $directory or die "mkdir $directory: $!";
$node->safe_psql($database, <<"SQL" . <<'SQL');
CREATE EXTENSION orchestry_ext;
CREATE FUNCTION public.directory() RETURNS text LANGUAGE sql RETURN '$directory';
SQL
SET client_min_messages = error;
CREATE SCHEMA s;
-- A table with so many events of May, about a kilobyte each, and a policy that takes them. Returns its job.
CREATE FUNCTION public.make(t text, kind text, rows int) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE s.%I (id bigint, at timestamptz NOT NULL, app text, message text) PARTITION BY RANGE (at)', t);
    EXECUTE format('CREATE TABLE s.%I PARTITION OF s.%I FOR VALUES FROM (''2026-05-01'') TO (''2026-06-01'')', t || '_05', t);
    EXECUTE format('CREATE TABLE s.%I PARTITION OF s.%I FOR VALUES FROM (''2026-06-01'') TO (''2026-07-01'')', t || '_06', t);
    EXECUTE format('ALTER TABLE s.%I ALTER message SET STORAGE PLAIN', t || '_05');
    EXECUTE format('INSERT INTO s.%I SELECT i, timestamptz ''2026-05-01'' + i %% 700 * interval ''1 hour'', ''app '' || i %% 20, i || repeat(''x'', 950) FROM generate_series(1, $1) i', t) USING rows;
    EXECUTE format('ANALYZE s.%I', t);
    RETURN CASE kind
        WHEN 'events' THEN orchestry.add_event_compression_policy(format('s.%I', t)::regclass, '10 days', group_by => '{app}', sample_of => 'message')
        WHEN 'rows' THEN orchestry.add_retention_policy(format('s.%I', t)::regclass, interval '10 days', archive_to => format('s.%I', t || '_archive'))
        ELSE orchestry.add_retention_policy(format('s.%I', t)::regclass, interval '31 days', archive_to => 'file:' || public.directory(), grace => '0') END;
END $$;
-- How many events there are in all, wherever they are.
CREATE FUNCTION public.total(t text, kind text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE found numeric; part regclass; n bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM s.%I', t) INTO found;
    IF kind = 'events' THEN
        EXECUTE format('SELECT $1 + COALESCE(sum(event_count), 0) FROM s.%I', t || '_compressed') INTO found USING found;
    ELSIF kind = 'rows' THEN
        EXECUTE format('SELECT $1 + count(*) FROM s.%I', t || '_archive') INTO found USING found;
    ELSE
        FOR part IN SELECT q.partition FROM orchestry.quarantine q WHERE q.parent = format('s.%I', t)::regclass LOOP
            EXECUTE format('SELECT count(*) FROM %s', part) INTO n;
            found := found + n;
        END LOOP;
        SELECT found + COALESCE(sum(f.rows), 0) INTO found FROM orchestry.archive_file f WHERE format('%I.%I', f.schema_name, f.table_name) = 's.' || t AND f.part = 0;
    END IF;
    RETURN found;
END $$;
SQL

# Kilobytes that a process has in memory at most, and those that it can address now.
sub memory
{
	my ($pid) = @_;
	my $status = slurp_file("/proc/$pid/status");
	my ($peak) = $status =~ /^VmHWM:\s+(\d+)/m;
	my ($size) = $status =~ /^VmSize:\s+(\d+)/m;
	return ($peak, $size);
}

my ($tables, $short) = (0, 0);
for my $kind ('events', 'rows', 'files')
{
	my $t = 't' . ++$tables;
	my $job = $node->safe_psql($database, "SET client_min_messages = error; SELECT public.make('$t', '$kind', $rows)");
	my $session = $node->background_psql($database);
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	$session->query_safe("CALL orchestry.run_job($job)");
	my ($peak_kb) = memory($pid);
	note("$kind: $peak_kb kB at most for $megabytes MB of rows");
	cmp_ok($peak_kb, '<', 256 * 1024, "$kind: a run stays below 256 MB");
	is($node->safe_psql($database, "SELECT public.total('$t', '$kind')"), $rows, 'and nothing is lost');
	is($node->safe_psql($database, "SELECT count(*) FROM s.$t"), 0, 'all is done');
	$session->quit;

	# Less and less on top of what a session has when it begins; each of them goes as far as it can.
	my ($failed, @damages) = (0);
	my $few = 20_000;
	$t = 't' . ++$tables;
	$job = $node->safe_psql($database, "SET client_min_messages = error; SELECT public.make('$t', '$kind', $few)");
	for my $extra_kb (0, 64, 128, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
	{
		$session = $node->background_psql($database, on_error_stop => 0);
		$pid = $session->query_safe('SELECT pg_backend_pid()');
		$session->query_safe("SELECT count(*) FROM orchestry.plan('s.$t')"); # so that what is loaded once is loaded
		my (undef, $size_kb) = memory($pid);
		system('prlimit', '--pid', $pid, '--as=' . ($size_kb + $extra_kb) * 1024) == 0 or die 'prlimit failed';
		$session->query("CALL orchestry.run_job($job)");
		eval { $session->quit };
		my $run = $node->safe_psql($database, "SELECT state || COALESCE(' ' || sqlstate, '') FROM orchestry.runs WHERE job_id = $job ORDER BY run_id DESC LIMIT 1");
		++$failed if $run =~ /^failed/;
		push @damages, "$extra_kb kB: $run" if $run =~ /^failed/ && $run !~ /53200|53000/;
		my $total = $node->safe_psql($database, "SELECT public.total('$t', '$kind')");
		push @damages, "$extra_kb kB: $total events" if $total != $few;
	}
	note("$kind: $failed runs failed for want of memory");
	$short += $failed;
	is(join("\n", @damages), '', 'with too little memory there is an error at most, and nothing is lost or doubled');
	$node->safe_psql($database, "CALL orchestry.run_job($job)");
	is($node->safe_psql($database, "SELECT count(*) || ' ' || public.total('$t', '$kind') FROM s.$t"), "0 $few", 'and with enough of it all is done');
}
cmp_ok($short, '>', 0, 'memory was short');
is(count_log($node, 'PANIC|TRAP|terminated by signal'), 0, 'the server never went down');
$node->stop;
done_testing();
