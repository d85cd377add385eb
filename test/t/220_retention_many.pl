# R25: a thousand expired partitions leave and are dropped on a server whose lock table has its default size, and no step
# holds more than a handful of locks. A set with nothing to do costs next to nothing to look at.
use strict;
use warnings;
use Orchestry;
use Test::More;
use Time::HiRes qw(time);

my $database = 'postgres';
my $expired = long_count(1_000, 10_000);
my $most_locks = 120; # of one step: two tables with their indexes and TOAST tables, and the catalogs and records in use; and of a plan
my $node = new_server('retention_many', preload => 0, conf => <<'CONF');
max_connections = 100
max_locks_per_transaction = 64
autovacuum = off
synchronous_commit = off
CONF

# Every partition has two indexes and a TOAST table. What is made at once takes as many locks, so it is made bit by bit.
$node->safe_psql($database, <<"SQL");
CREATE EXTENSION orchestry_ext;
CREATE TABLE public.hours (at timestamptz NOT NULL, id int, body text, PRIMARY KEY (at, id)) PARTITION BY RANGE (at);
CREATE INDEX ON public.hours (id);
CREATE PROCEDURE public.make(n int) LANGUAGE plpgsql AS \$\$
DECLARE h timestamptz;
BEGIN
    FOR i IN 0..n - 1 LOOP
        h := timestamptz '2026-01-01 00:00+00' + i * interval '1 hour';
        EXECUTE format('CREATE TABLE public.%I (LIKE public.hours INCLUDING ALL)', 'hours_' || i);
        EXECUTE format('ALTER TABLE public.hours ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)', 'hours_' || i, h, h + interval '1 hour');
        IF i % 100 = 99 THEN COMMIT; END IF;
    END LOOP;
END \$\$;
CALL public.make($expired + 10);
SELECT orchestry.add_retention_policy('public.hours', interval '1 day');
-- The most locks that any process but this one held when it was looked at.
CREATE TABLE public.stop ();
CREATE TABLE public.most (locks bigint);
CREATE PROCEDURE public.watch() LANGUAGE plpgsql AS \$\$
DECLARE highest bigint := 0;
BEGIN
    WHILE to_regclass('public.stop') IS NOT NULL LOOP
        highest := greatest(highest, (SELECT max(n) FROM (SELECT count(*) AS n FROM pg_locks WHERE pid <> pg_backend_pid() GROUP BY pid) p));
        COMMIT;
        PERFORM pg_sleep(0.002);
    END LOOP;
    INSERT INTO public.most VALUES (highest);
END \$\$;
SQL

my $watcher = $node->background_psql($database);
$watcher->{stdin} .= "CALL public.watch();\n\\q\n";
$watcher->{run}->pump_nb;

sub run_at
{
	my ($now, $what) = @_;
	my $start = time;
	$node->safe_psql($database, "SET orchestry.now = '$now'; SET client_min_messages = warning; SELECT orchestry.resume_job(job_id) FROM orchestry.jobs; CALL orchestry.run('public.hours')");
	note("$what: " . seconds(time - $start));
	return;
}

run_at('2028-01-01 00:00+00', "$expired partitions detached");
my $left = $node->safe_psql($database, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'public.hours'::regclass");
is($left, 1, 'all expired partitions have left, but for the newest');
is($node->safe_psql($database, 'SELECT count(*) FROM orchestry.quarantine'), $expired + 9, 'and are in quarantine');
run_at('2028-01-08 00:00+00', 'and dropped');
is($node->safe_psql($database, 'SELECT count(*) FROM orchestry.quarantine'), 0, 'then they are dropped');
is($node->safe_psql($database, "SELECT count(*) FROM pg_class WHERE relname ~ '^(hours_\\d|orchestry_quarantine)' AND relkind = 'r'"), 1, 'nothing of them is left');
# What is read of the records for each does not grow with their number.
my $read = $node->safe_psql($database, "SELECT seq_tup_read FROM pg_stat_all_tables WHERE relid = 'orchestry.detached_partition'::regclass");
cmp_ok($read, '<', 100 * $expired, 'the records of those in quarantine are not read all over for each');
$node->safe_psql($database, 'DROP TABLE public.stop');
$watcher->{run}->finish;
my $locks = $node->safe_psql($database, 'SELECT locks FROM public.most');
note("at most $locks locks at a time");
cmp_ok($locks, '<=', $most_locks, 'no step held more than a handful of locks');

# A hundred quiet sets: what run_due() costs.
my $quiet = 100;
$node->safe_psql($database, <<"SQL");
SET orchestry.now = '2028-01-08 00:00+00';
SET client_min_messages = warning;
DO \$\$ BEGIN
    FOR i IN 1..$quiet LOOP
        EXECUTE format('CREATE TABLE public.quiet_%s (at timestamptz) PARTITION BY RANGE (at)', i);
        FOR m IN 1..9 LOOP
            EXECUTE format('CREATE TABLE public.quiet_%s_%s PARTITION OF public.quiet_%s FOR VALUES FROM (%L) TO (%L)', i, m, i,
                make_date(2028, m, 1), make_date(2028, m + 1, 1));
        END LOOP;
        PERFORM orchestry.add_retention_policy(format('public.quiet_%s', i)::regclass, interval '1 year');
    END LOOP;
END \$\$;
CALL orchestry.run();
CALL orchestry.run();
SQL
is($node->safe_psql($database, "SELECT count(*) FROM orchestry.job_state s JOIN orchestry.job j USING (job_id) WHERE j.target_name ~ 'quiet' AND s.settled_until = '2028-01-09 00:00+00'"),
	$quiet, 'a set that has nothing to do is known to be quiet for a day');
my $runs = $node->safe_psql($database, "SELECT count(*), sum(repeated) FROM orchestry.run r WHERE r.target_name ~ 'quiet'");
is($runs, "$quiet|@{[ 2 * $quiet ]}", 'looking at it again makes no new row in the history');
$node->safe_psql($database, "SET orchestry.now = '2028-01-08 00:00+00'; ALTER TABLE public.quiet_1 DETACH PARTITION public.quiet_1_9; CALL orchestry.run()");
is($node->safe_psql($database, "SELECT sum(repeated) FROM orchestry.run r WHERE r.target_name ~ 'quiet_1\$'"), 3, 'a change of its partitions is noticed');

$node->stop;
done_testing();
