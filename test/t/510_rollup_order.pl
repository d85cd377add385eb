# Why rollups are right: marks are consumed before rows are read. A refresh is stopped between the two while writers begin
# and commit at every place around it. With the library that has fault points (src/pg/fault.hpp) the order can be turned
# round, and then the same test finds wrong buckets.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;

my $modules = $ENV{ORCHESTRY_MODULES};
plan skip_all => 'needs test/modules/build.sh; test/run.sh calls it' unless $modules;

my $database = 'postgres';
my $node = new_server('rollup_order', preload => 0, conf => <<'CONF');
autovacuum = off
orchestry.databases = ''
max_prepared_transactions = 4
CONF
$node->safe_psql($database, "CREATE EXTENSION orchestry_ext; UPDATE pg_proc SET probin = 'orchestry_ext' WHERE probin = '\$libdir/orchestry_ext'");
$node->append_conf('postgresql.conf', <<"CONF");
dynamic_library_path = '$modules/faults:\$libdir'
shared_preload_libraries = 'orchestry_ext'
orchestry.now = '2026-03-10 12:30:00+00'
CONF
$node->restart;
$node->safe_psql($database, <<'SQL');
CREATE TABLE m (ts timestamptz NOT NULL, app text, v float8) PARTITION BY RANGE (ts);
CREATE TABLE m_1 PARTITION OF m FOR VALUES FROM ('2026-03-01') TO ('2026-03-05');
CREATE TABLE m_2 PARTITION OF m FOR VALUES FROM ('2026-03-05') TO ('2026-03-11');
INSERT INTO m SELECT '2026-03-01Z'::timestamptz + i * interval '10 min', 'app ' || i % 2, i FROM generate_series(0, 1000) i;
CREATE SEQUENCE n;
SELECT orchestry.create_rollup('r', 'm', 'ts', 'v', '1 hour', '{app}');
CALL orchestry.refresh_rollup('r');
-- How many rows the live view has wrong, in one snapshot.
CREATE VIEW wrong AS
WITH expected AS (SELECT orchestry.time_bucket('1 hour', ts) AS bucket, app, (orchestry.window_stats(v)).* FROM m GROUP BY 1, 2),
found AS (SELECT bucket, app, data_points, avg_value, min_value, max_value, stddev_value, p50_value, p95_value, p99_value FROM r)
SELECT count(*) FROM ((TABLE expected EXCEPT ALL TABLE found) UNION ALL (TABLE found EXCEPT ALL TABLE expected)) d;
SQL
# A rollup of the rollup, later.
my $days = <<'SQL';
SELECT orchestry.create_rollup('days', 'm', 'ts', 'v', '1 day', '{app}', parent => 'r');
CALL orchestry.run('m');
CREATE VIEW wrong_days AS
WITH expected AS (SELECT orchestry.time_bucket('1 day', ts), app, orchestry.summarize(v)::text FROM m GROUP BY 1, 2),
found AS (SELECT bucket, app, summary::text FROM days)
SELECT count(*) FROM ((TABLE expected EXCEPT ALL TABLE found) UNION ALL (TABLE found EXCEPT ALL TABLE expected)) d;
SQL

my ($refresher, $holder, $writer) = map { $node->background_psql($database, on_error_stop => 0) } 1 .. 3;
$refresher->query_safe("SET orchestry.fault_wait = 'between marks and rows'; SET orchestry.lock_timeout = '1 min'; SET client_min_messages = error");
my $n = 0;

# One refresh; the writer's statements before it, while it is stopped, and after it. Returns how many rows are wrong: of the
# view while it is stopped, of the view after it, of what is stored and settled after it, and after the next refresh.
sub around
{
	my ($before, $between, $after) = @_;
	$n++;
	$node->safe_psql($database, "INSERT INTO m VALUES ('2026-03-02 03:00Z', 'new $n', $n), ('2026-03-06 03:00Z', 'new $n', $n)");
	$holder->query_safe('SELECT pg_advisory_lock(1)');
	$writer->query_safe($_) for @$before;
	$refresher->{stdin} .= "CALL orchestry.refresh_rollup('r');\n";
	$refresher->{run}->pump_nb;
	# A refresh has a step for each of the two times: the writer is at work while the first one is stopped.
	wait_until($node, $database, "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted");
	$writer->query_safe($_) for @$between;
	my @wrong = ($node->safe_psql($database, 'TABLE wrong'));
	$holder->query_safe('SELECT pg_advisory_unlock(1)');
	$refresher->query_safe('SELECT 1');
	push @wrong, $node->safe_psql($database, 'TABLE wrong');
	push @wrong, $node->safe_psql($database, q(SELECT count(*) FROM orchestry.verify_rollup('r')));
	$writer->query_safe($_) for @$after;
	$node->safe_psql($database, q(CALL orchestry.refresh_rollup('r')));
	push @wrong, $node->safe_psql($database, 'TABLE wrong'), $node->safe_psql($database, q(SELECT count(*) FROM orchestry.verify_rollup('r')));
	return "@wrong";
}

# What a writer does: to both times, in every way.
my %change = (
	insert => q(INSERT INTO m VALUES ('2026-03-02 03:10Z', 'late', nextval('n')), ('2026-03-06 03:10Z', 'late', nextval('n'))),
	update => q(UPDATE m SET v = v + 1 WHERE ts IN ('2026-03-02 03:20Z', '2026-03-06 03:20Z')),
	move   => q(UPDATE m SET ts = ts + CASE WHEN ts < '2026-03-05' THEN interval '4 days' ELSE interval '-4 days' END WHERE ts IN ('2026-03-02 03:30Z', '2026-03-06 03:30Z')),
	delete => q(DELETE FROM m WHERE ts IN (SELECT max(ts) FROM m WHERE ts < '2026-03-02 04:00Z' UNION ALL SELECT max(ts) FROM m WHERE ts < '2026-03-06 04:00Z')),
);
my @all = map { $change{$_} } sort keys %change;
my %case = (
	'all between' => [ [], [ 'BEGIN', @all, 'COMMIT' ], [] ],
	'written before, committed between' => [ [ 'BEGIN', @all ], ['COMMIT'], [] ],
	'written before, committed after' => [ [ 'BEGIN', @all ], [], ['COMMIT'] ],
	'written between, committed after' => [ ['BEGIN'], \@all, ['COMMIT'] ],
	'prepared before, committed between' => [ [ 'BEGIN', @all, q(PREPARE TRANSACTION 'x') ], [q(COMMIT PREPARED 'x')], [] ],
	'prepared between, committed after' => [ ['BEGIN'], [ @all, q(PREPARE TRANSACTION 'x') ], [q(COMMIT PREPARED 'x')] ],
	'a snapshot from before, committed between' => [ [ 'BEGIN ISOLATION LEVEL REPEATABLE READ', 'SELECT count(*) FROM m', @all ], ['COMMIT'], [] ],
	'rolled back between' => [ [ 'BEGIN', @all ], ['ROLLBACK'], [] ],
	'a savepoint rolled back, committed between' => [ [ 'BEGIN', 'SAVEPOINT s', @all, 'ROLLBACK TO s', $change{update} ], ['COMMIT'], [] ],
);
for my $name (sort keys %case)
{
	is(around(@{ $case{$name} }), '0 0 0 0 0', "right: $name");
}

# A second refresh meanwhile does nothing.
$holder->query_safe('SELECT pg_advisory_lock(1)');
$node->safe_psql($database, "INSERT INTO m VALUES ('2026-03-02 03:00Z', 'second', 1)");
$refresher->{stdin} .= "CALL orchestry.refresh_rollup('r');\n";
$refresher->{run}->pump_nb;
wait_until($node, $database, "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted");
my ($status, $out, $err) = $node->psql($database, q(CALL orchestry.refresh_rollup('r')));
like($err, qr/NOTICE:  job \d+ was skipped/, 'a second refresh is skipped');
# A partition that is to leave waits for the refresh, and is then frozen as it was computed.
$writer->{stdin} .= "ALTER TABLE m DETACH PARTITION m_1;\n";
$writer->{run}->pump_nb;
wait_until($node, $database, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND locktype <> 'advisory'");
$holder->query_safe('SELECT pg_advisory_unlock(1)');
$refresher->query_safe('SELECT 1');
$writer->query_safe('SELECT 1');
is($node->safe_psql($database, q(SELECT count(*) FROM r WHERE app = 'second')), '1', 'a partition leaves after the refresh that it met');
is($node->safe_psql($database, q(SELECT frozen @> tstzrange('2026-03-01', '2026-03-05') FROM orchestry.rollups)), 't', 'with all that was computed');
$node->safe_psql($database, "ALTER TABLE m ATTACH PARTITION m_1 FOR VALUES FROM ('2026-03-01') TO ('2026-03-05'); CALL orchestry.refresh_rollup('r')");
is($node->safe_psql($database, 'TABLE wrong'), 0, 'and comes back');

# What is made of the rollup is refreshed, and the rollup meanwhile, in its own transactions: these mark what they change.
$node->safe_psql($database, $days);
sub around_days
{
	my ($between, $after) = @_;
	$n++;
	$node->safe_psql($database, "INSERT INTO m VALUES ('2026-03-02 03:00Z', 'new $n', $n), ('2026-03-06 03:00Z', 'new $n', $n); CALL orchestry.refresh_rollup('r')");
	$holder->query_safe('SELECT pg_advisory_lock(1)');
	$refresher->{stdin} .= "CALL orchestry.refresh_rollup('days');\n";
	$refresher->{run}->pump_nb;
	wait_until($node, $database, "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted");
	$writer->query_safe($_) for @$between;
	my @wrong = ($node->safe_psql($database, 'TABLE wrong_days'));
	$holder->query_safe('SELECT pg_advisory_unlock(1)');
	$refresher->query_safe('SELECT 1');
	push @wrong, $node->safe_psql($database, 'TABLE wrong_days'), $node->safe_psql($database, q(SELECT count(*) FROM orchestry.verify_rollup('days')));
	$writer->query_safe($_) for @$after;
	push @wrong, $node->safe_psql($database, 'TABLE wrong_days');
	$node->safe_psql($database, q(CALL orchestry.run('m')));
	push @wrong, $node->safe_psql($database, 'TABLE wrong_days'), $node->safe_psql($database, q(SELECT count(*) FROM orchestry.verify_rollup('days')));
	return "@wrong";
}
$writer->query_safe('SET client_min_messages = error');
my $refresh = q(CALL orchestry.refresh_rollup('r'));
my %days_case = (
	'all between, and the rollup refreshed' => [ [ 'BEGIN', @all, 'COMMIT', $refresh ], [] ],
	'all between, the rollup refreshed after' => [ [ 'BEGIN', @all, 'COMMIT' ], [$refresh] ],
	'written between, the rollup refreshed before the commit and after' => [ [ 'BEGIN', @all, q(PREPARE TRANSACTION 'x'), $refresh ], [ q(COMMIT PREPARED 'x'), $refresh ] ],
);
for my $name (sort keys %days_case)
{
	is(around_days(@{ $days_case{$name} }), '0 0 0 0 0 0', "right of a rollup of the rollup: $name");
}

# The other way round.
$refresher->query_safe('SET orchestry.fault_wrong_order = on');
my $found_days = around_days(@{ $days_case{'all between, and the rollup refreshed'} });
note("wrong of days: $found_days");
my (undef, $after_days, $stored_days) = split / /, $found_days;
cmp_ok($stored_days, '>', 0, 'in the wrong order a change of the rollup is lost in what is made of it, and this test finds it');
cmp_ok($after_days, '>', 0, 'also in its view');
my $found = around(@{ $case{"all between"} });
note("wrong: $found");
my ($view, $after, $stored) = split / /, $found;
cmp_ok($stored, '>', 0, 'in the wrong order a change is lost, and this test finds it');
cmp_ok($after, '>', 0, 'also in the view');

is(count_log($node, qr/PANIC|TRAP|terminated by signal/), 0, 'the log is clean');
$_->quit for $refresher, $holder, $writer;
$node->stop;
done_testing();
