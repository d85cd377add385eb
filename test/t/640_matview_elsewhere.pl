# Materialized views on a logical subscriber, where what the apply worker brings is seen like any other change, row by row and by
# TRUNCATE; and in a dump: the policy is restored with its triggers, waits for resume_all(), and goes on.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;

my $conf = "orchestry.databases = ''\nautovacuum = off\n";
my $publisher = new_server('publisher', conf => $conf, init => { allows_streaming => 'logical' });
my $node = new_server('subscriber', conf => $conf);
my $table = <<'SQL';
CREATE TABLE m (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
CREATE TABLE m_1 PARTITION OF m FOR VALUES FROM (0) TO (100);
CREATE TABLE m_2 PARTITION OF m FOR VALUES FROM (100) TO (1000);
SQL
$publisher->safe_psql('postgres', "$table; INSERT INTO m SELECT i, i FROM generate_series(1, 200) i; CREATE PUBLICATION pub FOR TABLE m WITH (publish_via_partition_root)");
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION orchestry_ext;
$table
CREATE MATERIALIZED VIEW r AS SELECT count(*) AS n, sum(v) AS v FROM m;
SELECT orchestry.add_refresh_policy('r');
CALL orchestry.refresh('r');
SQL
$node->safe_psql('postgres', "CREATE SUBSCRIPTION sub CONNECTION '@{[ $publisher->connstr ]} dbname=postgres' PUBLICATION pub");
$node->wait_for_subscription_sync($publisher, 'sub');

sub right
{
	my ($what, $expected) = @_;
	$publisher->wait_for_catchup('sub');
	is($node->safe_psql('postgres', 'SELECT changed FROM orchestry.matviews'), 't', "$what is seen");
	$node->safe_psql('postgres', q(CALL orchestry.refresh('r')));
	is($node->safe_psql('postgres', 'SELECT * FROM r'), $expected, "$what is in the view");
	is($node->safe_psql('postgres', 'SELECT changed FROM orchestry.matviews'), 'f', 'and then nothing is left to do');
	return;
}
right('the first copy', '200|20100');
$publisher->safe_psql('postgres', 'INSERT INTO m VALUES (500, 1)');
right('an insert', '201|20101');
$publisher->safe_psql('postgres', 'BEGIN; UPDATE m SET v = v + 1 WHERE id = 500; DELETE FROM m WHERE id = 1; SAVEPOINT s; DELETE FROM m; ROLLBACK TO s; COMMIT');
right('a transaction of all kinds', '200|20101');
$publisher->safe_psql('postgres', 'TRUNCATE m');
right('a TRUNCATE', '0|');
# Published by partition: no trigger of the table is fired when a partition is emptied by itself.
$publisher->safe_psql('postgres', 'ALTER PUBLICATION pub SET (publish_via_partition_root = false)');
$node->safe_psql('postgres', 'ALTER SUBSCRIPTION sub REFRESH PUBLICATION WITH (copy_data = false)');
$publisher->safe_psql('postgres', 'INSERT INTO m SELECT i, i FROM generate_series(90, 110) i');
right('rows of each partition', '21|2100');
$publisher->safe_psql('postgres', 'TRUNCATE m_2');
right('a TRUNCATE of a partition', '10|945');
$publisher->safe_psql('postgres', 'BEGIN; INSERT INTO m VALUES (200, 1); TRUNCATE m_1; COMMIT');
right('a TRUNCATE of another, with rows', '1|1');
$publisher->safe_psql('postgres', 'TRUNCATE m');
right('a TRUNCATE of all of them', '0|');
is(count_log($node, qr/ERROR|FATAL/), 0, 'the apply worker has not failed once');
$node->safe_psql('postgres', 'ALTER SUBSCRIPTION sub DISABLE; ALTER SUBSCRIPTION sub SET (slot_name = NONE); DROP SUBSCRIPTION sub');
$publisher->stop;

# Dumped, with a view on a view and something that has changed.
my $dir = PostgreSQL::Test::Utils::tempdir();
$node->safe_psql('postgres', <<'SQL');
CREATE MATERIALIZED VIEW above AS SELECT n + 1 AS n FROM r;
SELECT orchestry.add_refresh_policy('above', '10 minutes', mode => 'plain', max_runtime => '1 minute', time_zone => 'Europe/Berlin', assume_pure => true);
CALL orchestry.refresh('above');
INSERT INTO m VALUES (7, 7);
SQL
my $policies = 'SELECT target_name, schedule, time_zone, max_runtime, settings FROM orchestry.jobs ORDER BY job_id';
my $expected = $node->safe_psql('postgres', $policies);
command_ok([ 'pg_dump', '-f', "$dir/plain.sql", $node->connstr('postgres') ], 'pg_dump, plain');
command_ok([ 'pg_dump', '-Fd', '-j2', '-f', "$dir/directory", $node->connstr('postgres') ], 'pg_dump -j2');
$node->safe_psql('postgres', 'CREATE DATABASE plain; CREATE DATABASE directory');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/plain.sql", '-d', $node->connstr('plain') ], 'psql');
command_ok([ 'pg_restore', '-j2', '-d', $node->connstr('directory'), "$dir/directory" ], 'pg_restore -j2');
for my $name ('plain', 'directory')
{
	is($node->safe_psql($name, $policies), $expected, "$name: the policies are there");
	is($node->safe_psql($name, 'SELECT string_agg(DISTINCT state, $$ $$) FROM orchestry.jobs'), 'restored', "$name: and wait");
	# The triggers are there, but nobody knows here that they were put on this table.
	my $marks = $node->safe_psql($name, 'SELECT count(*) FROM orchestry.dirty_mark');
	$node->safe_psql($name, 'INSERT INTO m VALUES (8, 8)');
	is($node->safe_psql($name, 'SELECT count(*) FROM orchestry.dirty_mark'), $marks, "$name: triggers that came with the dump are not believed");
	my (undef, undef, $notice) = $node->psql($name, q(CALL orchestry.run_due()));
	is($node->safe_psql($name, 'SELECT n FROM above'), 2, "$name: nothing is refreshed before resume_all()"); # but by pg_restore
	is($node->safe_psql($name, q(SELECT orchestry.resume_all(); SELECT object, state FROM orchestry.explain('r') WHERE state <> 'no key')), "2\npublic.m|unwatched\npublic.r|stale", "$name: afterwards the table is to be watched anew");
	is($node->safe_psql($name, q(CALL orchestry.run_due(); SELECT n FROM above)), 3, "$name: and then they are");
	is($node->safe_psql($name, q(SELECT relid::regclass FROM orchestry.refresh_source)), 'm', "$name: and the table is watched");
	is($node->safe_psql($name, q(SELECT string_agg(DISTINCT tgenabled::text, '') FROM pg_trigger WHERE tgfoid = 'orchestry._capture'::regproc)), 'A', "$name: the watch is on");
	$node->safe_psql($name, q(INSERT INTO m VALUES (9, 9); CALL orchestry.refresh('above')));
	is($node->safe_psql($name, 'SELECT n FROM above'), 4, "$name: and sees changes");
	is($node->safe_psql($name, q(SELECT reason FROM orchestry.plan('above'))), 'nothing that it reads has changed since its refresh', "$name: without them nothing is done");
}
# Without the library in every session nothing is proven.
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', q(''));
$node->restart;
is($node->safe_psql('plain', q(SELECT reason FROM orchestry.plan('above') ORDER BY seq DESC LIMIT 1)), 'it may have changed: the library is not preloaded', 'not preloaded: views are refreshed each time');
my (undef, undef, $refusal) = $node->psql('plain', q(SELECT orchestry.remove_policy(job_id) FROM orchestry.jobs WHERE target = 'above'::regclass; SELECT orchestry.add_refresh_policy('above')));
like($refusal, qr/change detection by triggers needs the library to be preloaded/, 'and new policies refused');
is(count_log($node, qr/PANIC|TRAP|terminated by signal/), 0, 'the log is clean');
$node->stop;
done_testing();
