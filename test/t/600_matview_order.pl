# Why skipping a materialized view is safe: marks are consumed before rows are read. A refresh is stopped between the two while
# writers begin and commit at every place around it. With the library that has fault points (src/pg/fault.hpp) the order can be
# turned round, and then the same test finds a view that is wrong and not refreshed any more.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;

my $modules = $ENV{ORCHESTRY_MODULES};
plan skip_all => 'needs test/modules/build.sh; test/run.sh calls it' unless $modules;

my $database = 'postgres';
my $node = new_server('matview_order', preload => 0, conf => <<'CONF');
autovacuum = off
orchestry.databases = ''
max_prepared_transactions = 4
CONF
$node->safe_psql($database, "CREATE EXTENSION orchestry_ext; UPDATE pg_proc SET probin = 'orchestry_ext' WHERE probin = '\$libdir/orchestry_ext'");
$node->append_conf('postgresql.conf', <<"CONF");
dynamic_library_path = '$modules/faults:\$libdir'
shared_preload_libraries = 'orchestry_ext'
CONF
$node->restart;
$node->safe_psql($database, <<'SQL');
CREATE TABLE m (id int, v int) PARTITION BY RANGE (id);
CREATE TABLE m_1 PARTITION OF m FOR VALUES FROM (0) TO (500);
CREATE TABLE m_2 PARTITION OF m FOR VALUES FROM (500) TO (10000);
INSERT INTO m SELECT i, i % 7 FROM generate_series(1, 999) i;
CREATE SEQUENCE n START 5000;
CREATE MATERIALIZED VIEW r AS SELECT v, count(*), sum(id) FROM m GROUP BY v;
CREATE UNIQUE INDEX ON r (v);
SELECT orchestry.add_refresh_policy('r', max_staleness => '1 day');
CALL orchestry.refresh('r');
CREATE VIEW wrong AS SELECT count(*) FROM (WITH expected AS (SELECT v, count(*), sum(id) FROM m GROUP BY v)
    (TABLE expected EXCEPT ALL TABLE r) UNION ALL (TABLE r EXCEPT ALL TABLE expected)) d;
SQL

my ($refresher, $holder, $writer) = map { $node->background_psql($database, on_error_stop => 0) } 1 .. 3;
$refresher->query_safe("SET orchestry.fault_wait = 'between marks and rows'; SET client_min_messages = error");

# One refresh; the writer's statements before it, while it is stopped, and after it. Returns whether the view is right or known
# to have changed after it, and whether it is right after the next refresh.
sub around
{
	my ($before, $between, $after) = @_;
	$node->safe_psql($database, "INSERT INTO m VALUES (nextval('n'), 1)");
	$holder->query_safe('SELECT pg_advisory_lock(1)');
	$writer->query_safe($_) for @$before;
	$refresher->{stdin} .= "CALL orchestry.refresh('r');\n";
	$refresher->{run}->pump_nb;
	wait_until($node, $database, "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted");
	$writer->query_safe($_) for @$between;
	$holder->query_safe('SELECT pg_advisory_unlock(1)');
	$refresher->query_safe('SELECT 1');
	my $known = $node->safe_psql($database, 'SELECT (TABLE wrong) = 0 OR changed FROM orchestry.matviews');
	$writer->query_safe($_) for @$after;
	$node->safe_psql($database, q(CALL orchestry.refresh('r')));
	return $known . ' ' . $node->safe_psql($database, 'TABLE wrong');
}

my @all = (q(INSERT INTO m VALUES (nextval('n'), 2)), q(UPDATE m SET v = v + 1 WHERE id = 10), q(DELETE FROM m WHERE id = (SELECT max(id) FROM m WHERE id < 900)));
my %case = (
	'committed before, when there was a mark' => [ [ 'BEGIN', @all, 'COMMIT' ], [], [] ],
	'serializable, committed between' => [ [ 'BEGIN ISOLATION LEVEL SERIALIZABLE', @all ], ['COMMIT'], [] ],
	'all between' => [ [], [ 'BEGIN', @all, 'COMMIT' ], [] ],
	'written before, committed between' => [ [ 'BEGIN', @all ], ['COMMIT'], [] ],
	'written before, committed after' => [ [ 'BEGIN', @all ], [], ['COMMIT'] ],
	'written between, committed after' => [ ['BEGIN'], \@all, ['COMMIT'] ],
	'prepared before, committed between' => [ [ 'BEGIN', @all, q(PREPARE TRANSACTION 'x') ], [q(COMMIT PREPARED 'x')], [] ],
	'prepared between, committed after' => [ ['BEGIN'], [ @all, q(PREPARE TRANSACTION 'x') ], [q(COMMIT PREPARED 'x')] ],
	'a snapshot from before, committed between' => [ [ 'BEGIN ISOLATION LEVEL REPEATABLE READ', 'SELECT count(*) FROM m', @all ], ['COMMIT'], [] ],
	'rolled back between' => [ [ 'BEGIN', @all ], ['ROLLBACK'], [] ],
	'a savepoint rolled back, committed between' => [ [ 'BEGIN', 'SAVEPOINT s', @all, 'ROLLBACK TO s', $all[0] ], ['COMMIT'], [] ],
);
is(around(@{ $case{$_} }), 't 0', "right: $_") for sort keys %case;

# Stopped when the rows have been read and the consumption of marks is not visible yet: a writer must not rely on one of these.
$refresher->query_safe("SET orchestry.fault_wait = 'view refreshed'");
is(around(@{ $case{'all between'} }), 't 0', 'right: committed after the rows were read');
is(around(@{ $case{'prepared before, committed between'} }), 't 0', 'right: prepared before, committed after the rows were read');
$refresher->query_safe("SET orchestry.fault_wait = 'between marks and rows'");

# A view on a view without a policy: until its first refresh is committed, nobody knows whom to tell of a refresh of that.
$node->safe_psql($database, <<'SQL');
CREATE MATERIALIZED VIEW p AS SELECT v, count(*) FROM m GROUP BY v;
CREATE UNIQUE INDEX ON p (v);
CREATE MATERIALIZED VIEW on_p AS SELECT sum(count) FROM p;
SELECT orchestry.add_refresh_policy('on_p', max_staleness => '1 day');
SQL
# What is called is stopped there; then the others do something, and it goes on.
sub stopped
{
	my ($fault, $call, $meanwhile) = @_;
	$refresher->query_safe("SET orchestry.fault_wait = '$fault'");
	$holder->query_safe('SELECT pg_advisory_lock(1)');
	$refresher->{stdin} .= "$call;\n";
	$refresher->{run}->pump_nb;
	wait_until($node, $database, "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted");
	my @outcome = $node->psql($database, $meanwhile);
	$holder->query_safe('SELECT pg_advisory_unlock(1)');
	$refresher->query_safe('SELECT 1');
	return $outcome[0];
}
my $by_hand = 'REFRESH MATERIALIZED VIEW CONCURRENTLY p';
my $change = q(INSERT INTO m VALUES (nextval('n'), 1));
isnt(stopped('view refreshed', q(CALL orchestry.refresh('on_p')), "$change; SET lock_timeout = '10ms'; $by_hand"), 0, 'a view is not refreshed by hand while one that reads it is, for the first time');
$node->safe_psql($database, $by_hand);
my $on_p = q(SELECT changed FROM orchestry.matviews WHERE matview = 'on_p'::regclass);
is($node->safe_psql($database, $on_p), 't', 'and is seen as a change after that');
is(stopped('view refreshed', q(CALL orchestry.refresh('on_p')), "$change; SET lock_timeout = '10s'; $by_hand"), 0, 'later nobody waits for that');
# Or it has been read already, when the refresh had to try again.
is($node->safe_psql($database, "SELECT ($on_p) OR (SELECT sum FROM on_p) = (SELECT sum(count) FROM p)"), 't', 'and it is seen as well');

# While a view is refreshed because another reads it, its own job does not try.
$node->safe_psql($database, q(CREATE MATERIALIZED VIEW on_r AS SELECT sum(count) FROM r; SELECT orchestry.add_refresh_policy('on_r'); CALL orchestry.refresh('on_r');) . $change);
stopped('between marks and rows', q(CALL orchestry.refresh('on_r')), "SET orchestry.lock_timeout = '10ms'; SET orchestry.lock_attempts = 1; CALL orchestry.refresh('r')");
is($node->safe_psql($database, q(SELECT state FROM orchestry.runs WHERE job_id = (SELECT job_id FROM orchestry.matviews WHERE matview = 'r'::regclass) ORDER BY run_id DESC LIMIT 1)), 'skipped', 'a run of a view that is refreshed for another is skipped');
$node->safe_psql($database, 'SET client_min_messages = error; DROP MATERIALIZED VIEW on_r, on_p, p; CALL orchestry.run_due()');
$refresher->query_safe("SET orchestry.fault_wait = 'between marks and rows'");

# The other way round.
$refresher->query_safe('SET orchestry.fault_wrong_order = on');
like(around(@{ $case{'all between'} }), qr/^f [1-9]/, 'in the wrong order a change is lost for good, and this test finds it');

is(count_log($node, qr/PANIC|TRAP|terminated by signal/), 0, 'the log is clean');
$_->quit for $refresher, $holder, $writer;
$node->stop;
done_testing();
