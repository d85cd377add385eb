# R26 where 340_disk_full.pl cannot mount small disks, and where no file at all can grow, the history's included: the disk is full,
# for data or for WAL, while jobs run. Nothing is lost or doubled, each run ends with the server's own error, what takes no room
# still works (above all removing partitions, which gives room back), and when there is room again all goes on by itself.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;

my $modules = $ENV{ORCHESTRY_MODULES};
plan skip_all => 'needs test/modules/build.sh; test/run.sh calls it' unless $modules;

my $database = 'postgres';
my $flag = PostgreSQL::Test::Utils::tempdir() . '/full';
local $ENV{ORCHESTRY_FULL_DISK} = $flag;
sub fill { append_to_file($flag, $_[0]); return }
sub give_room { unlink $flag or die "no flag: $!"; return }

my $node = new_server('disk_full_everywhere', start => 0, init => { extra => [ '--data-checksums', '--wal-segsize=1' ] }, conf => <<'CONF');
orchestry.history_keep_runs = 1000000
autovacuum = off
min_wal_size = '2 MB'
max_wal_size = '2 MB'
wal_recycle = off
CONF
{
	local $ENV{LD_PRELOAD} = "$modules/full_disk.so";
	$node->start;
}
$node->safe_psql($database, <<'SQL');
CREATE EXTENSION orchestry_ext;
CREATE ROLE app LOGIN;
CREATE SCHEMA s AUTHORIZATION app;
SET ROLE app;
SET client_min_messages = error;
CREATE TABLE s.log (id bigint PRIMARY KEY, at timestamptz NOT NULL, note text);
CREATE TABLE s.ev (at timestamptz NOT NULL, app text, severity text);
CREATE TABLE s.new (at timestamptz NOT NULL, v int) PARTITION BY RANGE (at);
CREATE TABLE s.old (at timestamptz NOT NULL, note text) PARTITION BY RANGE (at);
CREATE TABLE s.old_1 PARTITION OF s.old FOR VALUES FROM ('2020-01-01') TO ('2020-02-01');
CREATE TABLE s.old_2 PARTITION OF s.old FOR VALUES FROM ('2020-02-01') TO ('2020-03-01');
CREATE TABLE s.old_now PARTITION OF s.old FOR VALUES FROM ('2020-03-01') TO (MAXVALUE);
INSERT INTO s.old SELECT '2020-01-15', repeat('x', 500) FROM generate_series(1, 2000);
RESET ROLE;
CREATE TABLE public.job AS
SELECT 'archive' AS name, orchestry.add_retention_policy('s.log', interval '30 days', time_column => 'at', archive_to => 's.log_archive', batch_rows => 500) AS id
UNION ALL SELECT 'compress', orchestry.add_event_compression_policy('s.ev', interval '30 days', group_by => '{app}', count_values_of => 'severity')
UNION ALL SELECT 'create', orchestry.add_partition_policy('s.new', every => interval '1 day', ahead => interval '3 days')
UNION ALL SELECT 'drop', orchestry.add_retention_policy('s.old', interval '1 year', grace => interval '0');
-- What is there, wherever it is: a run must not change it.
CREATE VIEW s.all_of_it AS
SELECT (SELECT concat_ws(' ', count(*), count(DISTINCT id), md5(string_agg(concat_ws(' ', id, at, note), ',' ORDER BY id)))
        FROM (TABLE s.log UNION ALL TABLE s.log_archive) l) AS log,
       (SELECT string_agg(concat_ws(' ', app, n), ',' ORDER BY app)
        FROM (SELECT app, sum(n) AS n FROM (SELECT app, 1 AS n FROM s.ev UNION ALL SELECT app, event_count FROM s.ev_compressed) e GROUP BY app) c) AS ev;
CREATE PROCEDURE s.feed() LANGUAGE sql AS $$
INSERT INTO s.log SELECT (SELECT COALESCE(max(id), 0) FROM (TABLE s.log UNION ALL TABLE s.log_archive) l) + i, now() - interval '50 days' - i * interval '1 s', repeat('y', 100) FROM generate_series(1, 3000) i;
INSERT INTO s.ev SELECT now() - interval '50 days' - i * interval '1 min', 'app ' || i % 40, 'info' FROM generate_series(1, 3000) i;
$$;
CALL s.feed();
SQL
my %job = map { split /\|/ } split /\n/, $node->safe_psql($database, 'SELECT name, id FROM public.job');
sub all_of_it { return $node->safe_psql($database, 'TABLE s.all_of_it') }
sub left { return $node->safe_psql($database, "SELECT (SELECT count(*) FROM s.log) + (SELECT count(*) FROM s.ev)") }
my $before = all_of_it();

# --- no room for data, not even for the first row of the history

$node->safe_psql($database, "SET orchestry.now = '2039-01-01'; SELECT count(*) FROM orchestry.plan(NULL)"); # reads only
fill('base');
for my $name ('archive', 'compress')
{
	my ($status, $out, $error) = $node->psql($database, "\\set VERBOSITY verbose\nCALL orchestry.run_job($job{$name})");
	like($error, qr/ERROR: +53100: /, "$name: the run ends with the server's error");
	is(all_of_it(), $before, 'and nothing is lost or doubled');
	is($node->safe_psql($database, "SELECT last_state FROM orchestry.jobs WHERE job_id = $job{$name}"), 'failed', 'the job is known to have failed');
}
# A few partitions for each of many years: the catalogs may have room for some.
my (undef, undef, $error) = $node->psql($database, "\\set VERBOSITY verbose\n" . join("\n", map { "SET orchestry.now = '$_-01-01'; CALL orchestry.run_job($job{create});" } 2039 .. 2139));
like($error, qr/ERROR: +53100: /, 'partitions are made as long as there is room');
is($node->safe_psql($database, "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname LIKE 'new%' AND NOT relispartition"), 0, 'and none is left half made');
$node->safe_psql($database, "CALL orchestry.run_job($job{drop})");
is($node->safe_psql($database, "SELECT string_agg(inhrelid::regclass::text, ' ') FROM pg_inherits WHERE inhparent = 's.old'::regclass"), 's.old_now', 'old partitions go');
like(slurp_file($node->logfile), qr/LOG: +the disk has no room for the history of job $job{drop}: drop s.old_1: ok/, 'of which the log tells where the history cannot');

give_room();
wait_until($node, $database, "SELECT (SELECT count(*) FROM s.log) + (SELECT count(*) FROM s.ev) = 0");
is(all_of_it(), $before, 'with room for it all is done without anybody asking, and nothing is lost or doubled');
wait_until($node, $database, "SELECT bool_and(last_state IN ('ok', 'noop')) FROM orchestry.jobs WHERE kind <> 'partition' AND last_state IS NOT NULL");

# --- no room for WAL: the server ends, as it has to

$node->safe_psql($database, 'CALL s.feed()');
my $fed = all_of_it();
isnt($fed, $before, 'there is work again');
my $offset = -s $node->logfile;
fill('pg_wal');
for my $try (1 .. 50)
{
	last if count_log($node, 'PANIC: .*could not write', $offset);
	$node->psql($database, "CALL orchestry.run_job($job{archive}); CALL orchestry.run_job($job{compress}); CALL s.feed()");
}
wait_for_log($node, qr/PANIC: .*No space left on device/, $offset);
pass('the server cannot go on without WAL');
$node->stop('immediate', fail_ok => 1);
give_room();
{
	local $ENV{LD_PRELOAD} = "$modules/full_disk.so";
	$node->start;
}
is($node->safe_psql($database, "SELECT split_part(log, ' ', 1) = split_part(log, ' ', 2) FROM s.all_of_it"), 't', 'no row is there twice');
$node->safe_psql($database, 'CALL orchestry.run(NULL)');
is(left(), 0, 'the next run does the rest');
is($node->safe_psql($database, "SELECT (SELECT count(*) FROM s.log_archive) = (SELECT max(id) FROM s.log_archive) AND (SELECT sum(event_count) FROM s.ev_compressed) = (SELECT max(id) FROM s.log_archive)"), 't',
	'every row that was committed is there, once');
is($node->safe_psql($database, "SELECT count(*) FROM orchestry.runs WHERE state IN ('queued', 'waiting', 'running')"), 0, 'every run has ended');
is(count_log($node, 'TRAP|WARNING:.*(leak|refcount|not closed)'), 0, 'the log is clean');

$node->stop;
done_testing();
