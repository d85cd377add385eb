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
# The server takes a cancel that comes at the same moment as a lock timeout for the latter.
wait_until($node, $database, "SELECT state = 'idle' OR NOT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = $pid");
$reader->quit;
$changer->quit;
is($node->safe_psql($database, "SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'x'"), 0, 'a cancelled change is not made');
(undef, undef, $stderr) = $node->psql($database, "CALL orchestry.ddl('CREATE INDEX CONCURRENTLY ON t (v)')");
like($stderr, qr/HINT:  Build indexes with SELECT orchestry.build_index/, 'and CONCURRENTLY is sent to build_index()');

# NOT NULL in all tables that inherit, whatever some of them say already.
sub not_null { return $node->psql($database, "CALL orchestry.set_not_null('$_[0]', 'a')") }
sub nulls_of { return $node->safe_psql($database, "SELECT string_agg(attrelid::regclass || ' ' || attnotnull, ', ' ORDER BY attrelid::regclass::text) FROM pg_attribute WHERE attrelid::regclass::text ~ '^$_[0]' AND attname = 'a'") }
sub checks { return $node->safe_psql($database, "SELECT count(*) FROM pg_constraint WHERE contype = 'c' AND conname = 'a_orchestry_not_null'") }
sub unproven { return $node->safe_psql($database, "SELECT count(*) FROM pg_constraint WHERE contype = 'n' AND conrelid <> 0 AND NOT convalidated") }
if ($node->safe_psql($database, 'SHOW server_version_num') < 180000)
{
	$node->safe_psql($database, 'CREATE TABLE par (a int); CREATE TABLE par_chi () INHERITS (par); ALTER TABLE ONLY par ALTER a SET NOT NULL; INSERT INTO par_chi VALUES (NULL)');
	(undef, undef, $stderr) = not_null('par');
	like($stderr, qr/column a of table public\.par contains NULLs/, 'a table that inherits may have NULLs where its parent may not');
	$node->safe_psql($database, 'UPDATE par_chi SET a = 1');
	(undef, undef, $stderr) = not_null('par');
	is($stderr, '', 'without them');
	is(nulls_of('par'), 'par true, par_chi true', 'both are NOT NULL');
	(undef, undef, $stderr) = not_null('par');
	like($stderr, qr/is NOT NULL already/, 'and nothing is left to do');
}
else
{
	$node->safe_psql($database, 'CREATE TABLE par (a int); CREATE TABLE par_chi () INHERITS (par); ALTER TABLE par ADD CONSTRAINT "P nn" NOT NULL a NO INHERIT; INSERT INTO par_chi VALUES (NULL)');
	(undef, undef, $stderr) = not_null('par');
	like($stderr, qr/constraint "P nn" of table public\.par is NO INHERIT\n.*HINT:  Run ALTER TABLE public\.par ALTER CONSTRAINT "P nn" INHERIT;/s, 'NO INHERIT of the parent says nothing of what inherits from it');
	$node->safe_psql($database, 'UPDATE par_chi SET a = 1; ALTER TABLE public.par ALTER CONSTRAINT "P nn" INHERIT');
	(undef, undef, $stderr) = not_null('par');
	like($stderr, qr/is NOT NULL already/, 'what the hint says is what was wanted');
	is(nulls_of('par'), 'par true, par_chi true', 'for both');
	$node->safe_psql($database, 'CREATE TABLE alone (a int CONSTRAINT nn NOT NULL NO INHERIT)');
	(undef, undef, $stderr) = not_null('alone');
	like($stderr, qr/is NOT NULL already/, 'where nothing inherits, NO INHERIT is no matter');

	$node->safe_psql($database, 'CREATE TABLE q (a int, b int) PARTITION BY RANGE (b); CREATE TABLE q_1 PARTITION OF q DEFAULT; ALTER TABLE q_1 ADD CONSTRAINT cnn NOT NULL a NO INHERIT');
	(undef, undef, $stderr) = not_null('q');
	like($stderr, qr/constraint cnn of table public\.q_1 is NO INHERIT\n.*HINT:  Run ALTER TABLE public\.q_1 ALTER CONSTRAINT cnn INHERIT;/s, 'NO INHERIT of a partition is in the way of its parent');
	is(checks(), 0, 'and nothing was begun');
	$node->safe_psql($database, 'ALTER TABLE public.q_1 ALTER CONSTRAINT cnn INHERIT');
	(undef, undef, $stderr) = not_null('q');
	is($stderr, '', 'until it is out of the way');
	is(nulls_of('q'), 'q true, q_1 true', 'for both');

	$node->safe_psql($database, <<'SQL');
CREATE TABLE r (a int, b int) PARTITION BY RANGE (b);
CREATE TABLE r_1 PARTITION OF r FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (b);
CREATE TABLE r_1_1 PARTITION OF r_1 DEFAULT;
INSERT INTO r VALUES (NULL, 1);
ALTER TABLE r_1 ADD CONSTRAINT cnn NOT NULL a NOT VALID;
SQL
	(undef, undef, $stderr) = not_null('r');
	like($stderr, qr/column a of table public\.r contains NULLs\n.*HINT:  Fill them first/s, 'partitions with a NOT NULL that is not validated, and NULLs');
	is(checks() . unproven(), '02', 'stay as they are');
	$node->safe_psql($database, 'UPDATE r SET a = 1');
	(undef, undef, $stderr) = not_null('r');
	is($stderr, '', 'without NULLs');
	is(nulls_of('r'), 'r true, r_1 true, r_1_1 true', 'they are NOT NULL');
	is(checks() . unproven(), '00', 'validated, all of them');

	# As SET NOT NULL of the server leaves it, which validates no constraint of a partition.
	$node->safe_psql($database, <<'SQL');
CREATE TABLE u (a int, b int) PARTITION BY RANGE (b);
CREATE TABLE u_1 PARTITION OF u DEFAULT;
INSERT INTO u VALUES (1, 1);
ALTER TABLE u_1 ADD CONSTRAINT cnn NOT NULL a NOT VALID;
ALTER TABLE u ALTER a SET NOT NULL;
SQL
	(undef, undef, $stderr) = not_null('u');
	is($stderr . unproven(), '0', 'what is not validated in a partition alone is');

	$node->safe_psql($database, 'CREATE TABLE w (a int); INSERT INTO w VALUES (NULL); ALTER TABLE w ADD CONSTRAINT nn NOT NULL a NOT VALID');
	(undef, undef, $stderr) = not_null('w');
	like($stderr, qr/column a of table public\.w contains NULLs\n.*HINT:  Fill them first, for example CALL orchestry\.backfill\('public\.w'/s, 'a NOT NULL of its own that is not validated, and NULLs');
	$node->safe_psql($database, 'UPDATE w SET a = 1');
	(undef, undef, $stderr) = not_null('w');
	is($stderr . unproven(), '0', 'and without them');
}
$node->stop;
done_testing();
