# R40: a publisher and a subscriber, each with a retention policy of its own. What leaves the publisher stays on the subscriber
# until the subscriber's own policy takes it, and the other way round; rows of the others go on arriving, and the apply worker
# never fails.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;

my $database = 'postgres';
my $conf = "orchestry.databases = ''\norchestry.now = '2026-06-15 12:00:00+00'\nautovacuum = off\n";
my $publisher = new_server('publisher', conf => $conf, init => { allows_streaming => 'logical' });
my $subscriber = new_server('subscriber', conf => $conf);
for my $node ($publisher, $subscriber)
{
	$node->safe_psql($database, <<'SQL');
CREATE EXTENSION orchestry_ext;
CREATE TABLE public.ev (id int, at timestamptz, PRIMARY KEY (at, id)) PARTITION BY RANGE (at);
DO $$ BEGIN
    FOR m IN 1..6 LOOP
        EXECUTE format('CREATE TABLE public.ev_%s PARTITION OF public.ev FOR VALUES FROM (%L) TO (%L)', m, make_date(2026, m, 1), make_date(2026, m + 1, 1));
    END LOOP;
END $$;
SQL
}
$publisher->safe_psql($database, "CREATE TABLE public.rooted (LIKE public.ev INCLUDING ALL) PARTITION BY RANGE (at); CREATE TABLE public.rooted_1 PARTITION OF public.rooted FOR VALUES FROM ('2026-01-01') TO ('2026-02-01'); CREATE TABLE public.rooted_6 PARTITION OF public.rooted FOR VALUES FROM ('2026-06-01') TO ('2026-07-01')");
$subscriber->safe_psql($database, 'CREATE TABLE public.rooted (LIKE public.ev INCLUDING ALL)'); # there it is one table
$publisher->safe_psql($database, 'CREATE PUBLICATION by_leaf FOR TABLE public.ev; CREATE PUBLICATION by_root FOR TABLE public.rooted WITH (publish_via_partition_root)');
$subscriber->safe_psql($database, "CREATE SUBSCRIPTION sub CONNECTION '@{[ $publisher->connstr ]} dbname=$database' PUBLICATION by_leaf, by_root");
$subscriber->wait_for_subscription_sync($publisher, 'sub');

my $fill = "INSERT INTO public.ev SELECT n, timestamptz '2026-01-10' + n * interval '5 days' FROM generate_series(0, 30) n; INSERT INTO public.rooted VALUES (1, '2026-01-10'), (2, '2026-06-10');";
$publisher->safe_psql($database, $fill);
$publisher->wait_for_catchup('sub');
my $rows = $subscriber->safe_psql($database, 'SELECT count(*) FROM public.ev');
is($rows, 31, 'rows arrive');

sub members { my ($node) = @_; return $node->safe_psql($database, q(SELECT string_agg(inhrelid::regclass::text, ' ' ORDER BY inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'public.ev'::regclass)) }

# The publisher's retention takes four months, the subscriber keeps longer.
$publisher->safe_psql($database, "SET client_min_messages = warning; SELECT orchestry.add_retention_policy(t::regclass, interval '2 months') FROM unnest('{public.ev,public.rooted}'::text[]) t; CALL orchestry.run()");
is(members($publisher), 'ev_4 ev_5 ev_6', 'partitions leave the publisher');
$publisher->safe_psql($database, "INSERT INTO public.ev VALUES (100, '2026-06-14'); INSERT INTO public.rooted VALUES (3, '2026-06-14'); UPDATE public.ev SET id = 101 WHERE id = 100; DELETE FROM public.ev WHERE at = '2026-04-20'");
$publisher->wait_for_catchup('sub');
is(members($subscriber), 'ev_1 ev_2 ev_3 ev_4 ev_5 ev_6', 'and not the subscriber');
is($subscriber->safe_psql($database, 'SELECT count(*) FROM public.ev'), 31, 'whose rows are all there, with the changes since');
is($subscriber->safe_psql($database, 'SELECT string_agg(id::text, $$ $$ ORDER BY id) FROM public.rooted'), '1 2 3', 'also where it is one table');
is($publisher->safe_psql($database, 'SELECT count(*) FROM pg_publication_tables WHERE tablename ~ $$quarantine$$'), 0, 'what is in quarantine is published no more');

# The grace ends: a drop is no business of the subscriber either.
$publisher->safe_psql($database, "SET orchestry.now = '2026-06-23 12:00:00+00'; CALL orchestry.run()");
is($publisher->safe_psql($database, 'SELECT count(*) FROM orchestry.quarantine'), 0, 'the publisher drops');

# The subscriber's own policy is stricter than the publisher's: late rows of what it has let go stop the apply worker, as they
# would for any missing partition, so it has to keep at least as much. This one keeps as much.
$subscriber->safe_psql($database, "SET client_min_messages = warning; SELECT orchestry.add_retention_policy('public.ev', interval '2 months'); CALL orchestry.run()");
is(members($subscriber), 'ev_4 ev_5 ev_6', 'the subscriber has a policy of its own');
$publisher->safe_psql($database, "INSERT INTO public.ev VALUES (200, '2026-06-14'), (201, '2026-04-14'); TRUNCATE public.rooted");
$publisher->wait_for_catchup('sub');
is($subscriber->safe_psql($database, 'SELECT count(*) FROM public.ev WHERE id >= 200'), 2, 'and rows go on arriving');
is($subscriber->safe_psql($database, 'SELECT count(*) FROM public.rooted'), 0, 'and whatever else is published');

# Back on the publisher, it is published again.
$publisher->safe_psql($database, "SET orchestry.now = '2026-07-10 12:00:00+00'; CALL orchestry.run('public.ev')");
my $partition = $publisher->safe_psql($database, "SELECT partition FROM orchestry.quarantine WHERE former_name = 'public.ev_4'");
$publisher->safe_psql($database, "INSERT INTO $partition VALUES (300, '2026-04-01'); SELECT orchestry.reattach('$partition'); INSERT INTO public.ev VALUES (301, '2026-04-02')");
$publisher->wait_for_catchup('sub');
is($subscriber->safe_psql($database, 'SELECT string_agg(id::text, $$ $$ ORDER BY id) FROM public.ev WHERE id >= 300'), '301', 'reattach() publishes what is written from then on, not what was written in quarantine');
is(count_log($subscriber, qr/ERROR|FATAL/), 0, 'the apply worker has not failed once');

$subscriber->stop;
$publisher->stop;
done_testing();
