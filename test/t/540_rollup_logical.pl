# Rollups on a logical subscriber: what the apply worker brings is seen like any other change, row by row and by TRUNCATE.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;

my $database = 'postgres';
my $conf = "orchestry.databases = ''\norchestry.now = '2026-03-10 12:30:00+00'\nautovacuum = off\n";
my $publisher = new_server('publisher', conf => $conf, init => { allows_streaming => 'logical' });
my $subscriber = new_server('subscriber', conf => $conf);
my $table = <<'SQL';
CREATE TABLE m (id int, ts timestamptz NOT NULL, app text, v float8, PRIMARY KEY (id, ts)) PARTITION BY RANGE (ts);
CREATE TABLE m_1 PARTITION OF m FOR VALUES FROM ('2026-03-01') TO ('2026-03-05');
CREATE TABLE m_2 PARTITION OF m FOR VALUES FROM ('2026-03-05') TO ('2026-03-11');
CREATE TABLE p (id int PRIMARY KEY, ts timestamptz NOT NULL, v float8);
SQL
$publisher->safe_psql($database, "$table; INSERT INTO m SELECT i, '2026-03-01Z'::timestamptz + i * interval '10 min', 'app ' || i % 2, i FROM generate_series(0, 1000) i; INSERT INTO p SELECT i, '2026-03-01Z'::timestamptz + i * interval '1 hour', i FROM generate_series(0, 100) i");
$subscriber->safe_psql($database, <<"SQL");
CREATE EXTENSION orchestry_ext;
$table
SELECT orchestry.create_rollup('r', 'm', 'ts', 'v', '1 hour', '{app}');
SELECT orchestry.create_rollup('rp', 'p', 'ts', 'v', '1 day');
CALL orchestry.refresh_rollup('r');
CALL orchestry.refresh_rollup('rp');
CREATE VIEW wrong AS
WITH expected AS (SELECT orchestry.time_bucket('1 hour', ts) AS bucket, app, (orchestry.window_stats(v)).* FROM m GROUP BY 1, 2
    UNION ALL SELECT orchestry.time_bucket('1 day', ts), 'p', (orchestry.window_stats(v)).* FROM p GROUP BY 1),
found AS (SELECT bucket, app, data_points, avg_value, min_value, max_value, stddev_value, p50_value, p95_value, p99_value FROM r
    UNION ALL SELECT bucket, 'p', data_points, avg_value, min_value, max_value, stddev_value, p50_value, p95_value, p99_value FROM rp)
SELECT count(*) FROM ((TABLE expected EXCEPT ALL TABLE found) UNION ALL (TABLE found EXCEPT ALL TABLE expected)) d;
SQL
$publisher->safe_psql($database, 'CREATE PUBLICATION pub FOR TABLE m, p WITH (publish_via_partition_root)');
$subscriber->safe_psql($database, "CREATE SUBSCRIPTION sub CONNECTION '@{[ $publisher->connstr ]} dbname=$database' PUBLICATION pub");
$subscriber->wait_for_subscription_sync($publisher, 'sub');

# Right when changes have come, and when they are computed and stored.
sub right
{
	my ($what) = @_;
	$publisher->wait_for_catchup('sub');
	is($subscriber->safe_psql($database, 'TABLE wrong'), 0, "$what: the view is right");
	$subscriber->safe_psql($database, q(CALL orchestry.refresh_rollup('r'); CALL orchestry.refresh_rollup('rp')));
	is($subscriber->safe_psql($database, 'TABLE wrong'), 0, "$what: and so it is when it is stored");
	is($subscriber->safe_psql($database, q(SELECT (SELECT count(*) FROM orchestry.verify_rollup('r')) + (SELECT count(*) FROM orchestry.verify_rollup('rp')))), 0, "$what: all of it");
	return;
}
right('the first copy');
is($subscriber->safe_psql($database, 'SELECT sum(data_points) FROM r_buckets'), 1001, 'which is there');
$publisher->safe_psql($database, "INSERT INTO m VALUES (5000, '2026-03-02 03:00Z', 'new', 1); INSERT INTO p VALUES (5000, '2026-03-02 03:00Z', 1)");
right('an insert');
is($subscriber->safe_psql($database, q(SELECT data_points FROM r_buckets WHERE app = 'new')), 1, 'which is stored');
$publisher->safe_psql($database, "BEGIN; UPDATE m SET ts = ts + interval '4 days' WHERE id = 5000; DELETE FROM m WHERE id < 10; UPDATE p SET v = -1 WHERE id = 7; SAVEPOINT s; DELETE FROM m; ROLLBACK TO s; COMMIT");
right('a transaction of all kinds');
$publisher->safe_psql($database, 'TRUNCATE m');
right('a TRUNCATE');
is($subscriber->safe_psql($database, 'SELECT count(*) FROM r_buckets'), 0, 'of all rows');
$publisher->safe_psql($database, "INSERT INTO m VALUES (1, '2026-03-02 03:00Z', 'again', 1); TRUNCATE p");
right('rows after it');
# Published by partition: no trigger of the table is fired when a partition is emptied by itself.
$publisher->safe_psql($database, 'ALTER PUBLICATION pub SET (publish_via_partition_root = false)');
$subscriber->safe_psql($database, 'ALTER SUBSCRIPTION sub REFRESH PUBLICATION WITH (copy_data = false)');
$publisher->safe_psql($database, "INSERT INTO m VALUES (2, '2026-03-06 03:00Z', 'other', 1)");
right('rows of each partition');
$publisher->safe_psql($database, 'TRUNCATE m_2');
right('a TRUNCATE of a partition');
is($subscriber->safe_psql($database, q(SELECT string_agg(app, ' ') FROM r_buckets)), 'again', 'of its rows alone');
is(count_log($subscriber, qr/ERROR|FATAL/), 0, 'the apply worker has not failed once');
$subscriber->stop;
$publisher->stop;
done_testing();
