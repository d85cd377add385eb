# R02: kill -9 of whoever removes rows, in a worker or in a session, at random points, while others insert, change and read.
# Every row that was ever committed is in its table or in its archive (or in what a trigger saw deleted), once, with all the
# changes that were made to it; and the history of the steps counts each of them once.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

random_seed();
my $kills = long_count(8, 200);
my $database = 'postgres';
my $node = new_server('retention_rows_kill', init => { extra => ['--data-checksums'] }, conf => <<'CONF');
orchestry.databases = ''
orchestry.history_keep_runs = 1000000
orchestry.history_keep = '20000 d'
orchestry.batch_target_time = '1 ms'
autovacuum_naptime = '1 s'
log_min_messages = debug2
CONF

# walked: block by block into an archive. indexed: by an index, deleted, which a trigger sees; it has too many young rows to
# be small. parts: a part of the rows of each partition, into an archive with other partitions.
my @tables = qw(walked indexed parts);
$node->safe_psql($database, <<'SQL');
CREATE EXTENSION orchestry_ext;
CREATE ROLE app LOGIN;
CREATE SCHEMA s AUTHORIZATION app;
SET ROLE app;
CREATE TABLE s.walked (id bigint PRIMARY KEY, at timestamptz NOT NULL, v int NOT NULL DEFAULT 0, filler text);
CREATE TABLE s.indexed (LIKE s.walked INCLUDING ALL);
CREATE INDEX ON s.indexed (at);
CREATE TABLE s.parts (id bigint, at timestamptz NOT NULL, v int NOT NULL DEFAULT 0, filler text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE s.parts_old PARTITION OF s.parts FOR VALUES FROM (MINVALUE) TO (now() - interval '100 days');
CREATE TABLE s.parts_mid PARTITION OF s.parts FOR VALUES FROM (now() - interval '100 days') TO (now() - interval '10 days');
CREATE TABLE s.parts_new PARTITION OF s.parts FOR VALUES FROM (now() - interval '10 days') TO (MAXVALUE);
CREATE TABLE s.parts_archive (LIKE s.parts) PARTITION BY RANGE (at);
CREATE TABLE s.parts_archive_old PARTITION OF s.parts_archive FOR VALUES FROM (MINVALUE) TO (now() - interval '60 days');
CREATE TABLE s.parts_archive_rest PARTITION OF s.parts_archive DEFAULT;
CREATE TABLE s.indexed_archive (LIKE s.walked);
CREATE FUNCTION s.see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO s.indexed_archive VALUES (OLD.*); RETURN OLD; END $$;
CREATE TRIGGER see BEFORE DELETE ON s.indexed FOR EACH ROW EXECUTE FUNCTION s.see();
-- What was done to each row, written in the same transaction.
CREATE TABLE s.ledger (t text, id bigint, v int NOT NULL DEFAULT 0, PRIMARY KEY (t, id));
CREATE SEQUENCE s.ids;
CREATE PROCEDURE s.insert_rows(t text, n int, age interval) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('WITH made AS (INSERT INTO s.%1$I (id, at, filler) SELECT nextval(''s.ids''), now() - $1 * (1 + random()), repeat(''x'', 200)
        FROM generate_series(1, $2) RETURNING id) INSERT INTO s.ledger SELECT %1$L, id FROM made', t) USING age, n;
END $$;
-- Inserts, changes and reads until it is killed with the server, or told to stop.
CREATE PROCEDURE s.traffic() LANGUAGE plpgsql AS $$
DECLARE t text; found bigint;
BEGIN
    WHILE NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 4712) LOOP
        FOREACH t IN ARRAY '{walked,indexed,parts}'::text[] LOOP
            CALL s.insert_rows(t, 5, interval '40 days');
            CALL s.insert_rows(t, 1, interval '1 day');
            COMMIT;
            EXECUTE format('WITH changed AS (UPDATE s.%1$I SET v = v + 1 WHERE id IN (SELECT id FROM s.%1$I ORDER BY id DESC LIMIT 3) RETURNING id)
                UPDATE s.ledger l SET v = l.v + 1 FROM changed c WHERE l.t = %1$L AND l.id = c.id', t);
            PERFORM pg_sleep(0.002); -- the rows stay locked for a while
            COMMIT;
            EXECUTE format('SELECT count(*) FROM (SELECT FROM s.%I LIMIT 100) x', t) INTO found;
        END LOOP;
    END LOOP;
END $$;
CALL s.insert_rows('indexed', 60000, interval '1 day');
ANALYZE s.indexed;
RESET ROLE;
SET client_min_messages = error;
CREATE TABLE public.job AS
SELECT 'walked' AS t, orchestry.add_retention_policy('s.walked', interval '30 days', time_column => 'at', archive_to => 's.walked_archive', batch_rows => 30) AS id
UNION ALL SELECT 'indexed', orchestry.add_retention_policy('s.indexed', interval '30 days', time_column => 'at', batch_rows => 30)
UNION ALL SELECT 'parts', orchestry.add_retention_policy('s.parts', interval '30 days', "where" => 'id % 7 <> 0', archive_to => 's.parts_archive', batch_rows => 30);
-- How many rows are not where they should be, once, as they should be. One snapshot sees all.
CREATE FUNCTION public.damage() RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FROM s.ledger l FULL JOIN (SELECT t, id, count(*) AS times, sum(v) AS v FROM (
            SELECT 'walked' AS t, id, v FROM s.walked UNION ALL SELECT 'walked', id, v FROM s.walked_archive
            UNION ALL SELECT 'indexed', id, v FROM s.indexed UNION ALL SELECT 'indexed', id, v FROM s.indexed_archive
            UNION ALL SELECT 'parts', id, v FROM s.parts UNION ALL SELECT 'parts', id, v FROM s.parts_archive) x GROUP BY t, id) r USING (t, id)
    WHERE r.times IS DISTINCT FROM 1 OR r.v IS DISTINCT FROM l.v;
$$;
SQL

sub add_work
{
	$node->safe_psql($database, "CALL s.insert_rows('$_', 1500, interval '40 days')") for @tables;
	return;
}

# Kills a process, and waits until the server is restarting. False: the process had just ended by itself. The postmaster says
# how each of them has ended, when it comes to that.
sub kills_server
{
	my ($pid) = @_;
	my $offset = -s $node->logfile;
	return 0 unless kill 'KILL', $pid;
	wait_for_log($node, qr/PID $pid\) (was terminated|exited)/, $offset);
	return 0 unless count_log($node, "PID $pid\\) was terminated by signal 9", $offset);
	wait_for_log($node, qr/all server processes terminated; reinitializing/, $offset);
	return 1;
}

# Each policy goes the way that is meant for it.
add_work();
is($node->safe_psql($database, "SELECT string_agg(DISTINCT CASE WHEN reason ~ 'follow index' THEN 'index' ELSE 'walk' END, ' ') FROM orchestry.plan('s.indexed') WHERE action = 'delete_rows'"),
	'index', 'one table is large, and little of it goes');

# How long a job takes, for the moments of the kills.
my $start = time;
$node->safe_psql($database, 'CALL orchestry.run(NULL)');
my $work_s = (time - $start) / @tables;
note('one job takes ' . seconds($work_s));
is($node->safe_psql($database, 'SELECT public.damage()'), 0, 'all rows are accounted for after a run');

my ($damage, $by_worker) = (0, 0);
my $tries = until_struck($kills, $work_s, sub
{
	my ($delay_s) = @_;
	add_work();
	my $table = $tables[ int(rand(@tables)) ];
	my $job = $node->safe_psql($database, "SELECT id FROM public.job WHERE t = '$table'");
	my $in_worker = rand() < 0.5;
	my @sessions = map { start_session($node, $database, 'CALL s.traffic();') } 1 .. 2;
	if ($in_worker)
	{
		$node->safe_psql($database, "SELECT orchestry.start_job($job)");
	}
	else
	{
		push @sessions, start_session($node, $database, "SET application_name = 'remover'; CALL orchestry.run_job($job);");
	}
	my $victim = 0;
	my $deadline = time + 2;
	while (!$victim && time < $deadline)
	{
		$victim = $in_worker
		  ? find_child($node, qr/orchestry worker/)
		  : eval { $node->safe_psql($database, "SELECT pid FROM pg_stat_activity WHERE application_name = 'remover' AND state = 'active'") } || 0;
	}
	my $struck = 0;
	if ($victim)
	{
		usleep(int($delay_s * 1_000_000));
		if (kills_server($victim))
		{
			$struck = 1;
			++$by_worker if $in_worker;
		}
	}
	eval { $_->{run}->kill_kill; } for @sessions;
	wait_for_recovery($node, $database);
	$damage += $node->safe_psql($database, 'SELECT public.damage()');
	return $struck;
});
diag("$kills kills in $tries runs, $by_worker of them of a worker");
is($damage, 0, "after each of $kills kills every row was there, once, with its changes");

# Traffic without a kill; then none, and what is left goes.
my @sessions = map { start_session($node, $database, 'CALL s.traffic();') } 1 .. 3;
wait_until($node, $database, "SELECT count(*) = 3 FROM pg_stat_activity WHERE query = 'CALL s.traffic();'");
$node->safe_psql($database, 'CALL orchestry.run(NULL)') for 1 .. 3;
is($node->safe_psql($database, 'SELECT public.damage()'), 0, 'nothing is lost to traffic alone');
my $stopper = start_session($node, $database, 'SELECT pg_advisory_lock(4712);');
wait_until($node, $database, "SELECT count(*) = 0 FROM pg_stat_activity WHERE query = 'CALL s.traffic();' AND state = 'active'");
eval { $_->{run}->kill_kill; } for @sessions, $stopper;
wait_until($node, $database, "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'orchestry worker'");
$node->safe_psql($database, 'CALL orchestry.run_due()'); # what was queued, and what crashed
$node->safe_psql($database, 'CALL orchestry.run(NULL)');
is($node->safe_psql($database, 'SELECT public.damage()'), 0, 'every row is there, once, with its changes');
is($node->safe_psql($database, "SELECT (SELECT count(*) FROM s.walked WHERE at < now() - interval '31 days') + (SELECT count(*) FROM s.indexed WHERE at < now() - interval '31 days') + (SELECT count(*) FROM s.parts WHERE at < now() - interval '31 days' AND id % 7 <> 0)"),
	0, 'no row that is past its time is left');
is($node->safe_psql($database, "SELECT count(*) > 0 FROM s.parts WHERE at < now() - interval '31 days'"), 't', 'but those that the policy does not mean');
is($node->safe_psql($database, "SELECT count(*) FROM orchestry.runs WHERE state IN ('queued', 'waiting', 'running')"), 0, 'every run has ended');
for my $table (@tables)
{
	is($node->safe_psql($database, "SELECT sum(s.rows) FROM orchestry.run_steps s JOIN orchestry.runs r USING (run_id) JOIN public.job j ON j.id = r.job_id WHERE j.t = '$table'"),
		$node->safe_psql($database, "SELECT count(*) FROM s.${table}_archive"), "the history counts each row of $table that went, once");
}
is(count_log($node, 'PANIC|TRAP|WARNING:.*(leak|refcount|not closed)'), 0, 'the log is clean');

$node->stop;
done_testing();
