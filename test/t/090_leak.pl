# Errors of every kind, and cycles of every process, leave memory, files and locks as they were; and an error loses
# nothing of what it says on its way through the boundary.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $modules = $ENV{ORCHESTRY_MODULES};
plan skip_all => 'needs test/modules/build.sh; test/run.sh calls it' unless $modules;

my $database = 'postgres';
my $growth_kb = 2048; # R22: what a process may have grown by since it was warm
my $node = new_server('leak', conf => "autovacuum = off\norchestry.max_workers = 1\norchestry.naptime = '1 h'\n");
my $postmaster = slurp_file($node->data_dir . '/postmaster.pid') =~ s/\n.*//sr;

# Resident memory that is the process's own: not shared memory, not the file pages of the program.
sub own_kb
{
	my ($pid) = @_;
	return slurp_file("/proc/$pid/status") =~ /^RssAnon:\s*(\d+) kB/m ? $1 : die "no process $pid";
}

# Files that are open besides those of relations and WAL, of which the server keeps some at hand.
sub open_files
{
	my ($pid) = @_;
	my @files = grep { (readlink $_ // '') !~ m{/(base|global|pg_wal|pg_xact)/} } glob "/proc/$pid/fd/*";
	return scalar @files;
}

$node->safe_psql($database, <<"SQL");
CREATE EXTENSION orchestry_ext;
CREATE FUNCTION boundary_raise(text) RETURNS void LANGUAGE c AS '$modules/boundary';
CREATE PROCEDURE boundary_raise_in_procedure(text) LANGUAGE c AS '$modules/boundary';
CREATE FUNCTION boundary_swallow(text) RETURNS text LANGUAGE c AS '$modules/boundary';
CREATE FUNCTION boundary_containers(int) RETURNS bigint LANGUAGE c AS '$modules/boundary';
CREATE FUNCTION boundary_state() RETURNS text LANGUAGE c AS '$modules/boundary';
CREATE TABLE swallowed (kind text);
CREATE TABLE expected (kind text PRIMARY KEY, state text, message text, detail text, hint text, context text);
INSERT INTO expected VALUES
    ('bad_alloc', '53200', 'out of memory', '', '', ''),
    ('huge', '53200', 'out of memory', '', '', ''),
    ('too_large', '53200', 'out of memory', '', '', ''),
    ('runtime_error', 'XX000', 'a runtime error: ' || repeat('x', 100), '', '', 'orchestry function boundary_raise'),
    ('int', 'XX000', 'unrecognized exception', '', '', 'orchestry function boundary_raise'),
    ('own', '22023', 'own message', 'own detail', 'own hint', ''),
    ('own_plain', '22003', 'message alone', '', '', ''),
    ('percent', '22023', '%s %n %d%%', '%s %n', '%s %n', ''),
    ('server', '23505', 'server message', 'server detail', 'server hint', 'server context'),
    ('deep', '23505', 'server message', 'server detail', 'server hint', 'server context'),
    ('nested', '23505', 'server message', 'server detail', 'server hint', 'server context' || chr(10) || 'own context'),
    ('twice', '22023', 'own message', 'own detail', 'own hint', ''),
    ('replaced', '23505', 'server message', 'server detail', 'server hint', 'server context'),
    ('spi', '22012', 'division by zero', '', '', 'SQL statement "SELECT 1 OPERATOR(pg_catalog./) \$1"'),
    ('scopes', '22023', 'own message', 'own detail', 'own hint', '');

-- Raises so many errors, all kinds in turn, and compares what arrives. Returns how many did not say what they should.
CREATE FUNCTION storm(errors int) RETURNS text LANGUAGE plpgsql AS \$\$
DECLARE
    e expected;
    kinds expected[] := ARRAY(SELECT x FROM expected x ORDER BY kind);
    before text := boundary_state();
    got expected;
    wrong text;
BEGIN
    FOR i IN 1 .. errors LOOP
        e := kinds[1 + i % array_length(kinds, 1)];
        BEGIN
            PERFORM boundary_raise(e.kind);
            RETURN e.kind || ' came back';
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS got.state = RETURNED_SQLSTATE, got.message = MESSAGE_TEXT,
                got.detail = PG_EXCEPTION_DETAIL, got.hint = PG_EXCEPTION_HINT, got.context = PG_EXCEPTION_CONTEXT;
            -- Behind ours come the lines of this function.
            got.context := regexp_replace(got.context, E'\\\\n?SQL statement "SELECT boundary_raise.*', '');
            got.kind := e.kind;
            IF got IS DISTINCT FROM e THEN
                wrong := format('%s instead of %s', got, e);
            END IF;
        END;
        IF i <= 100 AND boundary_state() <> before THEN
            RETURN format('after %s: %s, before: %s', e.kind, boundary_state(), before);
        END IF;
    END LOOP;
    IF boundary_state() <> before THEN
        wrong := format('after all: %s, before: %s', boundary_state(), before);
    END IF;
    RETURN wrong;
END
\$\$;
SQL
my $neighbour = $node->background_psql($database, on_error_stop => 0);
my $neighbour_pid = $neighbour->query_safe('SELECT pg_backend_pid()');
my $session = $node->background_psql($database, on_error_stop => 0);
my $pid = $session->query_safe('SELECT pg_backend_pid()');

# What the session says of a statement that fails.
sub failure_of
{
	my ($sql) = @_;
	$session->{stderr} = '';
	$session->query("\\set VERBOSITY verbose\n$sql;");
	my $failure = $session->{stderr};
	$session->{stderr} = '';
	return $failure;
}

my $contexts = 'SELECT sum(total_bytes) FROM pg_backend_memory_contexts';

# 50,000 errors, of which the first warm up.
my $errors = long_count(50_000, 500_000);
my $warm_up = 5_000;
is($session->query_safe("SELECT storm($warm_up)"), '', 'errors of every kind arrive as they were thrown');
$session->query_safe($contexts);
my ($context_bytes, $own, $files) = ($session->query_safe($contexts), own_kb($pid), open_files($pid));
my $start = time;
is($session->query_safe("SELECT storm(@{[ $errors - $warm_up ]})"), '', "so do the last of $errors");
my $took = time - $start;
my $grown = own_kb($pid) - $own;
my $grown_contexts = $session->query_safe($contexts) - $context_bytes;
diag(sprintf '%d errors: %.1f us each; grown by %d kB, contexts by %d bytes', $errors, 1e6 * $took / ($errors - $warm_up), $grown,
	$grown_contexts);
cmp_ok($grown, '<=', $growth_kb, 'memory of the process is flat');
cmp_ok($grown_contexts, '<=', 65_536, 'so are its memory contexts');
is(open_files($pid), $files, 'and its open files');
is($session->query_safe("SELECT count(*) FROM pg_backend_memory_contexts WHERE name IN ('orchestry error', 'boundary')"),
	'0', 'no context of an error is left');

# At top level, and in a procedure after its own commit: nobody stands between the error and the server.
for my $case (['SELECT boundary_raise(%s)', 'a statement'], ['CALL boundary_raise_in_procedure(%s)', 'a procedure'])
{
	my ($call, $what) = @$case;
	my $state = $session->query_safe('SELECT boundary_state()');
	my @wrong;
	for my $line (split /\n/, $session->query_safe("SELECT concat_ws('|', kind, state, split_part(message, chr(10), 1)) FROM expected ORDER BY kind"))
	{
		my ($kind, $sqlstate, $message) = split /\|/, $line;
		for (1 .. 20)
		{
			my $failure = failure_of(sprintf $call, "'$kind'");
			push @wrong, "$kind: $failure" unless index($failure, "$sqlstate: $message") >= 0;
		}
	}
	is("@wrong", '', "every kind ends $what with its SQLSTATE and message");
	is($session->query_safe('SELECT boundary_state()'), $state, 'and leaves everything as it was');
}
is($session->query_safe("SELECT count(*) FROM pg_locks WHERE pid = $pid AND relation IN ('pg_class'::regclass, 'swallowed'::regclass) AND mode <> 'AccessShareLock'"),
	'0', 'no lock is left');

# A cancel request is an error like others.
like(failure_of(q(SELECT boundary_raise('interrupt'))), qr/57014/, 'an interrupt in C++ frames cancels the statement');

# More than malloc() has is an error and not the end, where the system says so at all.
like(failure_of(q(SELECT boundary_raise('no_memory'))), qr/53200: out of memory/, 'an allocation that the system refuses is an error');

# Swallowed errors: the same fidelity, and what went before in the subtransaction is undone.
is( $session->query_safe(<<'SQL'), '', 'a swallowed error tells all');
SELECT string_agg(format('%s instead of %s', got, want), '; ') FROM (
    SELECT boundary_swallow(kind) AS got, concat_ws('|', state, message, detail, hint, replace(context, 'orchestry function boundary_raise', '')) AS want
    FROM expected) x WHERE got <> want
SQL
$session->query_safe("SELECT count(boundary_swallow(kind)) FROM expected, generate_series(1, 20)");
$session->query_safe($contexts);
($context_bytes, $own) = ($session->query_safe($contexts), own_kb($pid));
$session->query_safe("SELECT count(boundary_swallow(kind)) FROM expected, generate_series(1, @{[ long_count(300, 10_000) ]})");
cmp_ok(own_kb($pid) - $own, '<=', $growth_kb, 'swallowing leaves memory flat: ' . (own_kb($pid) - $own) . ' kB');
like($session->query_safe('SELECT boundary_state()'), qr/^witnesses 0,.* level 1,/, 'and nothing open');

# Containers in a memory context.
is($session->query_safe('SELECT boundary_containers(100000)'), '5000050000', 'containers live in a memory context');
is($session->query_safe(q(SELECT count(*) FROM pg_backend_memory_contexts WHERE name LIKE 'boundary%')), '0', 'and go with it');

is($neighbour->query_safe('SELECT pg_backend_pid()'), $neighbour_pid, 'another session has survived all that');
is(slurp_file($node->data_dir . '/postmaster.pid') =~ s/\n.*//sr, $postmaster, 'and so has the postmaster');
is(count_log($node, qr/PANIC|TRAP|terminated by signal|SPI stack|was not closed|snapshot .* still active|reference leak/),
	0, 'the server has nothing to complain of');
$neighbour->quit;

# R22, a worker: many runs, one after the other, in one process. It is measured while it stands at a gate.
install_gate($node, $database);
$node->safe_psql($database, "ALTER EVENT TRIGGER gate DISABLE; SELECT orchestry.stop_scheduler()");
my $quiet = make_policy($node, $database, 'quiet');
my %gated = map { $_ => make_policy($node, $database, $_, ahead => 1) } qw(first second);
$node->safe_psql($database, 'ALTER EVENT TRIGGER gate ENABLE');
set_gate($node, $database, 'block');
my $cycles = long_count(1_000, 100_000);
my $warm_cycles = 200;
$node->safe_psql($database, <<"SQL");
SELECT orchestry.alter_policy(job_id, '{"ahead": "5 days"}') FROM orchestry.jobs WHERE target_name IN ('first', 'second');
INSERT INTO orchestry.run (job_id, kind, target, target_name, owner, trigger, state)
SELECT j.job_id, 'partition', j.target, j.target_name, (SELECT relowner FROM pg_class WHERE oid = j.target), 'manual', 'queued'
FROM (SELECT 1, $quiet, i FROM generate_series(1, $warm_cycles) i
      UNION ALL SELECT 2, $gated{first}, 0
      UNION ALL SELECT 3, $quiet, i FROM generate_series(1, $cycles) i
      UNION ALL SELECT 4, $gated{second}, 0) x(part, job_id, i) JOIN orchestry.job j USING (job_id) ORDER BY part, i;
SELECT orchestry.start_scheduler();
SQL
my ($worker, @before, @after);
my $measure = sub {
	my ($gone) = @_;
	wait_until($node, $database, "SELECT EXISTS (SELECT FROM orchestry.run WHERE job_id = $gone AND state = 'running')
		AND EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711)");
	($worker) = processes($node, 'worker');
	return ($worker, own_kb($worker), open_files($worker),
		$node->safe_psql($database, "SELECT count(*) FROM pg_locks WHERE pid = $worker AND locktype IN ('object', 'userlock', 'advisory')"));
};
@before = $measure->($gated{first});
$node->safe_psql($database, "UPDATE public.gate SET mode = 'open'");
wait_until($node, $database, "SELECT state = 'ok' FROM orchestry.runs WHERE job_id = $gated{first} ORDER BY run_id DESC LIMIT 1");
set_gate($node, $database, 'block');
@after = $measure->($gated{second});
is($after[0], $before[0], "one worker did $cycles runs");
cmp_ok($after[1] - $before[1], '<=', $growth_kb, 'its memory is flat: ' . ($after[1] - $before[1]) . ' kB');
is($after[2], $before[2], 'so are its open files');
is($after[3], $before[3], 'and its locks');
$node->safe_psql($database, "UPDATE public.gate SET mode = 'open'");
wait_until($node, $database, q(SELECT count(*) = 0 FROM orchestry.run WHERE state IN ('queued', 'waiting', 'running')));

# R22, the scheduler: each failing run is queued, started in a worker of its own, recorded, and found due again.
set_gate($node, $database, 'fail');
$node->safe_psql($database, <<"SQL");
BEGIN;
SELECT orchestry.alter_policy($gated{first}, '{"ahead": "20 days"}');
UPDATE orchestry.job_state SET next_run_at = now() + '1 year';
COMMIT;
CREATE PROCEDURE fail(runs int) LANGUAGE plpgsql AS \$\$
DECLARE
    before int;
BEGIN
    FOR i IN 1 .. runs LOOP
        SELECT failures INTO before FROM orchestry.job_state WHERE job_id = $gated{first};
        UPDATE orchestry.job_state SET next_run_at = now() WHERE job_id = $gated{first};
        COMMIT;
        PERFORM pg_reload_conf();
        WHILE (SELECT failures <= before FROM orchestry.job_state WHERE job_id = $gated{first}) LOOP
            COMMIT;
            PERFORM pg_sleep(0.002);
        END LOOP;
        UPDATE orchestry.job_state SET next_run_at = now() + '1 year' WHERE job_id = $gated{first};
        COMMIT;
    END LOOP;
END
\$\$;
SQL
my $scheduler = scheduler_pid($node, $database);
my $fails = long_count(300, 10_000);
# In a tick it has the locks of that tick.
sub locks_at_rest
{
	wait_until($node, $database, "SELECT state = 'idle' FROM pg_stat_activity WHERE pid = $scheduler");
	return $node->safe_psql($database, "SELECT count(*) FROM pg_locks WHERE pid = $scheduler AND locktype <> 'virtualxid'"); # it may look whether somebody wants its database
}
$node->safe_psql($database, 'CALL fail(50)');
@before = (own_kb($scheduler), open_files($scheduler), locks_at_rest());
$start = time;
$node->safe_psql($database, "CALL fail($fails)");
diag(sprintf '%d failing runs: %.1f ms each', $fails, 1e3 * (time - $start) / $fails);
@after = (own_kb($scheduler), open_files($scheduler), locks_at_rest());
is(scheduler_pid($node, $database), $scheduler, "the scheduler has survived $fails failing runs");
cmp_ok($after[0] - $before[0], '<=', $growth_kb, 'its memory is flat: ' . ($after[0] - $before[0]) . ' kB');
is($after[1], $before[1], 'so are its open files');
is($after[2], $before[2], 'and its locks');
is( $node->safe_psql($database, "SELECT repeated >= $fails, sqlstate FROM orchestry.runs WHERE job_id = $gated{first} ORDER BY run_id DESC LIMIT 1"),
	't|UG001', 'all of them are one row of the history');
is(count_log($node, qr/PANIC|TRAP|terminated by signal/), 0, 'nobody died');
eval { $session->quit }; # whose timer may have run out by now
$node->stop;
done_testing();
