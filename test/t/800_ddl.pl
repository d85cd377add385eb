# ddl() and set_not_null() behind a long reader: they let go within their lock timeout each time, nobody queues behind them
# for longer, and they are done as soon as the way is free.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;

my $database = 'postgres';
my $node = new_server('ddl', conf => "autovacuum = off\norchestry.databases = ''\nlog_min_messages = notice\n");
$node->safe_psql($database, 'CREATE EXTENSION orchestry_ext; CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT i, i FROM generate_series(1, 1000) i');

my $reader = $node->background_psql($database);
$reader->query_safe("SET application_name = 'long reader'; BEGIN; SELECT count(*) FROM t");

my ($status, undef, $stderr) = $node->psql($database, "CALL orchestry.ddl('ALTER TABLE t ADD COLUMN w int', lock_timeout => '20 ms', max_wait => '1 ms')");
isnt($status, 0, 'a patience that is over');
like($stderr, qr/canceling statement due to lock timeout.*DETAIL:  process \d+ \(user \S+ application "long reader", idle in transaction, transaction open for \d+ s\) holds AccessShareLock on public\.t/s,
	'says who is in the way');
is($node->safe_psql($database, "SELECT count(*) FROM pg_locks WHERE relation = 't'::regclass"), 1, 'and holds nothing');
(undef, undef, $stderr) = $node->psql($database, "CALL orchestry.ddl('ALTER TABLE t ADD COLUMN w int', lock_timeout => '40 ms', max_wait => '2 s')");
my $attempts = () = $stderr =~ /did not get its locks in time/g;
cmp_ok($attempts, '<=', 8, 'the pauses between attempts grow, whatever wakes it'); # 50 ms at least, then 100, 200, ...

for my $case (
	["CALL orchestry.ddl('ALTER TABLE t ADD COLUMN w int', lock_timeout => '20 ms')", "SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'w'", 1],
	["CALL orchestry.set_not_null('t', 'v', lock_timeout => '20 ms')", "SELECT attnotnull FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'v'", 't'])
{
	my ($call, $query, $expected) = @$case;
	my $changer = $node->background_psql($database);
	my $mark = -s $node->logfile;
	$changer->query_safe("SET application_name = 'changer'");
	my $pid = $changer->query_safe('SELECT pg_backend_pid()');
	$changer->{stdin} .= "$call;\n";
	$changer->{run}->pump_nb;
	# Its third attempt: it has let go twice, and said so.
	wait_for_log($node, qr/\[$pid\] .*attempt 3 did not get its locks in time/, $mark);
	is($node->safe_psql($database, 'SELECT count(*) FROM t'), 1000, 'readers come through');
	$node->safe_psql($database, 'UPDATE t SET v = v WHERE id = 1');
	like(slurp_file($node->logfile, $mark), qr/attempt 2 did not get its locks in time\n.*DETAIL:  process \d+ .*"long reader"/, 'each attempt says who is in the way');
	$reader->query_safe('COMMIT');
	wait_until($node, $database, $query, $expected);
	wait_for_log($node, qr/\[$pid\] .*done at attempt \d+, after \d+ s/, $mark);
	ok($changer->quit, 'done when the way is free');
	$reader->query_safe('BEGIN; SELECT count(*) FROM t');
}
$reader->quit;

# Cancelled, it leaves nothing behind; CREATE INDEX CONCURRENTLY has a way of its own.
$reader = $node->background_psql($database);
$reader->query_safe('BEGIN; SELECT count(*) FROM t');
my $changer = $node->background_psql($database, on_error_stop => 0);
my $pid = $changer->query_safe('SELECT pg_backend_pid()');
$changer->{stdin} .= "CALL orchestry.ddl('ALTER TABLE t ADD COLUMN x int');\n";
$changer->{run}->pump_nb;
wait_until($node, $database, "SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = $pid AND state = 'active'");
$node->safe_psql($database, "SELECT pg_cancel_backend($pid)");
wait_until($node, $database, "SELECT state = 'idle' FROM pg_stat_activity WHERE pid = $pid");
$reader->quit;
$changer->quit;
is($node->safe_psql($database, "SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'x'"), 0, 'a cancelled change is not made');
(undef, undef, $stderr) = $node->psql($database, "CALL orchestry.ddl('CREATE INDEX CONCURRENTLY ON t (v)')");
like($stderr, qr/HINT:  Build indexes with SELECT orchestry.build_index/, 'and CONCURRENTLY is sent to build_index()');
$node->stop;
done_testing();
