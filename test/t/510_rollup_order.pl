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
$_->set_query_timer_restart for $refresher, $holder, $writer; # else their time is that of the whole file
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

# Stopped when the rows have been read and the consumption of marks is not visible yet: a writer must not rely on one of these.
$refresher->query_safe("SET orchestry.fault_wait = 'buckets computed'");
is(around(@{ $case{$_} }), '0 0 0 0 0', "right after the rows were read: $_") for 'all between', 'written before, committed between', 'prepared before, committed between';
$refresher->query_safe("SET orchestry.fault_wait = 'between marks and rows'");
# Where nobody consumes them it does, and so does one of many buckets, which it marks together.
my $marks = q(SELECT count(*) FROM orchestry.dirty_mark WHERE from_at < '2026-03-10'); # what has yet to come is marked from the beginning
$node->safe_psql($database, "INSERT INTO m VALUES ('2026-03-06 03:00Z', 'again', $_)") for 1 .. 3;
is($node->safe_psql($database, $marks), 1, 'however many transactions write, a bucket is marked once');
$node->safe_psql($database, "INSERT INTO m SELECT '2026-03-05 01:00Z'::timestamptz + i * interval '1 hour', 'many', i FROM generate_series(1, 5) i");
is($node->safe_psql($database, $marks), 2, 'five that touch are one mark');
$node->safe_psql($database, "INSERT INTO m VALUES ('2026-03-05 04:10Z', 'many', 1), ('2026-03-06 03:00Z', 'many', 1)");
is($node->safe_psql($database, $marks), 2, 'which is relied on in the middle');
$node->safe_psql($database, "INSERT INTO m VALUES ('2026-03-05 04:10Z', 'many', 1), ('2026-03-05 10:00Z', 'many', 1)");
is($node->safe_psql($database, $marks), 4, 'and not by who changes others as well');
$node->safe_psql($database, q(BEGIN ISOLATION LEVEL SERIALIZABLE; INSERT INTO m VALUES ('2026-03-06 03:00Z', 'serializable', 1); COMMIT));
is($node->safe_psql($database, $marks), 5, 'nor by a serializable transaction');
$node->safe_psql($database, q(CALL orchestry.refresh_rollup('r')));
is($node->safe_psql($database, "SELECT (TABLE wrong), ($marks)"), '0|0', 'and all is right after that');

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

# keep: a rollup of minutes loses the days that hours and days have been made of, and that must be all of them. The removal is
# stopped at every place, and meanwhile somebody writes old rows, computes the readers again, or makes another reader. What is
# removed is written down; what the readers have of frozen times must be made of just that.
$refresher->query_safe('RESET orchestry.fault_wrong_order');
$node->safe_psql($database, <<'SQL');
CREATE TABLE k (ts timestamptz NOT NULL, v float8);
INSERT INTO k SELECT '2026-03-01Z'::timestamptz + i * interval '7 min', i FROM generate_series(0, 2000) i;
SELECT orchestry.create_rollup('kmin', 'k', 'ts', 'v', '10 minutes');
SELECT orchestry.create_rollup('khours', 'k', 'ts', 'v', '1 hour', parent => 'kmin');
SELECT orchestry.create_rollup('kdays', 'k', 'ts', 'v', '1 day', parent => 'kmin');
CALL orchestry.run('k');
SELECT orchestry.alter_policy(job_id, '{"keep": "1 day"}') FROM orchestry.rollups WHERE rollup = 'kmin'::regclass;
CREATE VIEW kfrozen AS SELECT r.rollup, r.frozen AS spans FROM orchestry.rollups r WHERE r.source = 'k'::regclass;
CREATE TABLE removed (bucket timestamptz, summary orchestry.summary);
CREATE FUNCTION write_down() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.removed SELECT g.bucket, g.summary FROM gone g, public.kfrozen f WHERE f.rollup = 'public.kmin'::regclass AND g.bucket <@ f.spans;
    RETURN NULL;
END $$;
CREATE TRIGGER write_down AFTER DELETE ON kmin_buckets REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION write_down();
-- In how many rows the readers differ from what was removed, where they are frozen, and from the rows, where they are not.
CREATE VIEW kwrong AS
WITH source AS (
    SELECT 'khours'::regclass AS rollup, orchestry.time_bucket('1 hour', bucket) AS bucket, orchestry.merge(summary)::text AS s, true AS frozen FROM removed GROUP BY 2
    UNION ALL SELECT 'kdays', orchestry.time_bucket('1 day', bucket), orchestry.merge(summary)::text, true FROM removed GROUP BY 2
    UNION ALL SELECT 'kmin', orchestry.time_bucket('10 minutes', ts), orchestry.summarize(v)::text, false FROM k GROUP BY 2
    UNION ALL SELECT 'khours', orchestry.time_bucket('1 hour', ts), orchestry.summarize(v)::text, false FROM k GROUP BY 2
    UNION ALL SELECT 'kdays', orchestry.time_bucket('1 day', ts), orchestry.summarize(v)::text, false FROM k GROUP BY 2),
expected AS (SELECT s.rollup, s.bucket, s.s FROM source s JOIN kfrozen f USING (rollup) WHERE s.bucket <@ f.spans = s.frozen),
found AS (SELECT 'kmin'::regclass AS rollup, bucket, summary::text FROM kmin UNION ALL SELECT 'khours', bucket, summary::text FROM khours
    UNION ALL SELECT 'kdays', bucket, summary::text FROM kdays)
SELECT count(*) FROM ((TABLE expected EXCEPT ALL TABLE found) UNION ALL (TABLE found EXCEPT ALL TABLE expected)) d;
SQL
my $reader = $node->background_psql($database, on_error_stop => 0);
$reader->set_query_timer_restart;
$reader->query_safe('SET orchestry.lock_timeout = \'1 min\'; SET client_min_messages = error');
my $day = 2; # before which all is past its time
my $said;    # by the last removal

# One removal, stopped at a place; the writer's statements before and meanwhile, and what another session begins meanwhile and
# may have to wait with. Returns whether the buckets have gone with this removal, how many rows were wrong meanwhile, after it,
# and after the next runs, whether the buckets have gone then, and which of the readers have the late row.
sub around_keep
{
	my ($place, $before, $between, $begun) = @_;
	$day++;
	my $set = sprintf q(SET orchestry.now = '2026-03-%02d 12:30Z'; SET client_min_messages = error), $day + 1;
	my $gone = sprintf q(SELECT CASE WHEN min(bucket) >= '2026-03-%02dZ' THEN 'gone' ELSE 'there' END FROM kmin_buckets), $day;
	my $late = 1_000_000 + $day;
	for ($before, $between)
	{
		$_ = [ map { $_ eq 'late' ? sprintf(q(INSERT INTO k VALUES ('2026-03-%02d 05:10Z', %d)), $day - 1, $late) : $_ } @$_ ];
	}
	$_->query_safe($set) for $refresher, $reader, $writer;
	$refresher->query_safe("SET orchestry.fault_wait = '$place'");
	$holder->query_safe('SELECT pg_advisory_lock(1)');
	$writer->query_safe($_) for @$before;
	$refresher->{stdin} .= "CALL orchestry.refresh_rollup('kmin');\n";
	$refresher->{run}->pump_nb;
	wait_until($node, $database, "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted");
	$writer->query_safe($_) for @$between;
	if ($begun)
	{
		$reader->{stdin} .= "$begun;\n";
		$reader->{run}->pump_nb;
		wait_until($node, $database, 'SELECT count(DISTINCT pid) = 2 FROM pg_locks WHERE NOT granted');
	}
	my @found = ($node->safe_psql($database, 'TABLE kwrong'));
	$holder->query_safe('SELECT pg_advisory_unlock(1)');
	$_->query_safe('SELECT 1') for $refresher, $reader;
	unshift @found, $node->safe_psql($database, $gone);
	$said = $node->safe_psql($database, q(SELECT message FROM orchestry.run_steps WHERE object = 'public.kmin' ORDER BY run_id DESC, seq DESC LIMIT 1));
	push @found, $node->safe_psql($database, 'TABLE kwrong');
	$node->safe_psql($database, "$set; " . join '; ', map { "CALL orchestry.refresh_rollup('$_')" } qw(kmin khours kdays kmin));
	push @found, $node->safe_psql($database, 'TABLE kwrong'), $node->safe_psql($database, $gone);
	push @found, $node->safe_psql($database, "SELECT COALESCE(string_agg(r, '+' ORDER BY r), 'nobody') FROM (SELECT 'hours' FROM khours WHERE max_value = $late UNION ALL SELECT 'days' FROM kdays WHERE max_value = $late) h (r)");
	return "@found";
}
my $again = q(CALL orchestry.refresh_rollup('khours', '2026-03-01', '2026-03-09'));
is(around_keep('step planned', [], ['late']), 'there 0 0 0 gone days+hours', 'keep: what is committed before the removal is read first');
is(around_keep('step planned', [ 'BEGIN', 'late' ], ['COMMIT']), 'there 0 0 0 gone days+hours', 'keep: so is what was written before');
is(around_keep('nobody needs the buckets', [], ['late']), 'gone 0 0 0 gone nobody', 'keep: what comes later is past its time at all levels');
is(around_keep('nobody needs the buckets', [ 'BEGIN', 'late' ], ['COMMIT']), 'gone 0 0 0 gone nobody', 'keep: so is what is committed later');
is(around_keep('nobody needs the buckets', [], [], $again), 'gone 0 0 0 gone nobody', 'keep: who computes a reader again waits, and keeps what has gone');
# A week begins on the 2nd and on the 9th.
is(around_keep('step planned', [], [ q(SELECT orchestry.create_rollup('kweeks', 'k', 'ts', 'v', '7 days', parent => 'kmin')), q(CALL orchestry.refresh_rollup('kweeks')) ]),
	'there 0 0 0 there nobody', 'keep: a reader that was made meanwhile keeps the part of its bucket');
like($said, qr/^a bucket of rollup public\.kweeks, made meanwhile/, 'and the run says so');
$node->safe_psql($database, q(SELECT orchestry.drop_rollup('kweeks')));
is(around_keep('buckets removed', [], [], $again), 'gone 0 0 0 gone nobody', 'keep: until the removal is over');
is(around_keep('step planned', [], [$again]), 'gone 0 0 0 gone nobody', 'keep: a reader computed again before that has it all');
cmp_ok($node->safe_psql($database, 'SELECT count(*) FROM removed'), '>', 800, 'what has gone was known');
$reader->quit;

is(count_log($node, qr/PANIC|TRAP|terminated by signal/), 0, 'the log is clean');
$_->quit for $refresher, $holder, $writer;
$node->stop;
done_testing();
