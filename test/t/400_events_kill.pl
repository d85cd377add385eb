# R01: kill -9 of whoever compresses events, in a worker or in a session, at random points. After each of them every event
# is counted once: as a row that is still there, or in the row that it became. Late events come in all the time.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

$SIG{PIPE} = 'IGNORE'; # writing to a client whose server was killed must not end the test
random_seed();
my $kills = long_count(5, 200);
my $rows = 80_000; # a few steps
my $database = 'postgres';
my $node = new_server('events_kill', init => { extra => ['--data-checksums'] }, conf => <<'CONF');
orchestry.databases = ''
orchestry.now = '2026-06-15 12:34:00+00'
orchestry.history_keep_runs = 1000000
autovacuum = off
max_wal_size = '4 GB'
CONF
$node->safe_psql($database, <<"SQL");
CREATE EXTENSION orchestry_ext;
CREATE ROLE app LOGIN;
CREATE SCHEMA s AUTHORIZATION app;
SET ROLE app;
CREATE TABLE s.ev (at timestamptz NOT NULL, app text, type text, severity text, message text) PARTITION BY RANGE (at);
-- None of them is past its time as a whole.
CREATE TABLE s.ev_05 PARTITION OF s.ev FOR VALUES FROM ('2026-05-01') TO ('2026-06-01');
CREATE TABLE s.ev_rest PARTITION OF s.ev DEFAULT;
CREATE INDEX ON s.ev (at);
SET client_min_messages = error;
SELECT orchestry.add_event_compression_policy('s.ev', '20 days', group_by => '{app,type}', count_values_of => 'severity', sample_of => 'message', samples => 3);
RESET ROLE;
-- What must be there: events by hour, app, type and severity.
CREATE TABLE public.expected (hour timestamptz, app text, type text, severity text, n bigint, UNIQUE NULLS NOT DISTINCT (hour, app, type, severity));
-- Adds events of April to June, so that some are old enough and some are not.
CREATE FUNCTION public.feed(seed float8) RETURNS void LANGUAGE sql AS \$\$
    SELECT setseed(seed);
    WITH new AS (INSERT INTO s.ev SELECT '2026-04-01'::timestamptz + random() * interval '75 days', CASE WHEN random() < 0.1 THEN NULL ELSE 'app ' || i % 3 END,
            'type ' || i % 2, CASE WHEN random() < 0.1 THEN NULL WHEN random() < 0.2 THEN '' ELSE (ARRAY['info', 'error'])[1 + i % 2] END, 'message ' || i % 500
        FROM generate_series(1, $rows) i RETURNING *)
    INSERT INTO public.expected AS e SELECT date_trunc('hour', at, 'UTC'), app, type, severity, count(*) FROM new GROUP BY 1, 2, 3, 4
    ON CONFLICT (hour, app, type, severity) DO UPDATE SET n = e.n + EXCLUDED.n;
\$\$;
CREATE VIEW public.found AS
SELECT hour, app, type, severity, sum(n) AS n FROM (
    SELECT date_trunc('hour', at, 'UTC') AS hour, app, type, severity, 1::numeric AS n FROM s.ev
    UNION ALL SELECT bucket, app, type, c.key, c.value::numeric FROM s.ev_compressed, jsonb_each_text(severity_counts) c
    UNION ALL SELECT bucket, app, type, NULL, event_count - (SELECT COALESCE(sum(c.value::numeric), 0) FROM jsonb_each_text(severity_counts) c) FROM s.ev_compressed) f
GROUP BY hour, app, type, severity HAVING sum(n) <> 0;
-- How many sums are not what they must be.
CREATE VIEW public.damage AS
SELECT count(*) AS n FROM ((TABLE public.expected EXCEPT TABLE public.found) UNION ALL (TABLE public.found EXCEPT TABLE public.expected)) d;
SQL
my $job = $node->safe_psql($database, "SELECT job_id FROM orchestry.jobs WHERE kind = 'events'");

sub feed
{
	$node->safe_psql($database, 'SELECT public.feed(' . (rand(2) - 1) . ')');
	return;
}

# How long a run takes, for the moments of the kills.
feed();
is($node->safe_psql($database, 'TABLE public.damage'), 0, 'events are counted');
my $start = time;
$node->safe_psql($database, "CALL orchestry.run_job($job)");
my $work_s = time - $start;
note('a run takes ' . seconds($work_s));
is($node->safe_psql($database, 'TABLE public.damage'), 0, 'and so they are when some of them are compressed');
cmp_ok($node->safe_psql($database, 'SELECT steps FROM orchestry.runs ORDER BY run_id DESC LIMIT 1'), '>', 1, 'a run has several steps');

my ($damage, $by_worker, $unfinished) = (0, 0, 0);
my $tries = until_struck($kills, $work_s, sub
{
	my ($delay_s) = @_;
	feed();
	my $in_worker = rand() < 0.5;
	my $session;
	if ($in_worker)
	{
		$node->safe_psql($database, "SELECT orchestry.start_job($job)");
	}
	else
	{
		$session = $node->background_psql($database, on_error_stop => 0);
		$session->{stdin} .= "CALL orchestry.run_job($job);\n";
		$session->{run}->pump_nb;
	}
	my $struck = strike($node, $in_worker ? qr/orchestry worker/ : qr/ CALL/, $delay_s);
	++$by_worker if $struck && $in_worker;
	eval { $session->{run}->kill_kill; } if $session;
	wait_for_recovery($node, $database);
	$damage += $node->safe_psql($database, 'TABLE public.damage');
	++$unfinished if $node->safe_psql($database, "SELECT count(*) FROM s.ev WHERE at < '2026-05-26 12:00+00'") > 0;
	return $struck;
});
diag("$kills kills in $tries runs, $by_worker of them of a worker; $unfinished left something to do");
cmp_ok($unfinished, '>', 0, 'some of them in the middle of a run');
is($damage, 0, "after each of $kills kills every event was counted once");

# What was torn is taken up by the next run, which leaves nothing for the one after it.
wait_until($node, $database, "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'orchestry worker'");
$node->safe_psql($database, 'CALL orchestry.run_due()');
$node->safe_psql($database, "CALL orchestry.run_job($job)");
is($node->safe_psql($database, "SELECT count(*) FROM s.ev WHERE at < '2026-05-26 12:00+00'"), 0, 'nothing is left that is old enough');
is($node->safe_psql($database, 'TABLE public.damage'), 0, 'every event is counted once');
is($node->safe_psql($database, "SELECT count(*) FROM orchestry.verify_event_compression('s.ev')"), 0, 'and verify_event_compression() agrees');
$node->safe_psql($database, "CALL orchestry.run_job($job)");
is($node->safe_psql($database, 'SELECT state FROM orchestry.runs ORDER BY run_id DESC LIMIT 1'), 'noop', 'the next run has nothing to do');
is($node->safe_psql($database, "SELECT count(*) FROM orchestry.runs WHERE state IN ('queued', 'waiting', 'running')"), 0, 'every run has ended');
is($node->safe_psql($database, "SELECT count(*) FROM orchestry.run r WHERE r.state = 'ok' AND r.rows <> (SELECT COALESCE(sum(s.rows), 0) FROM orchestry.run_step s WHERE s.run_id = r.run_id AND s.state = 'ok')"),
	0, 'the history says how many were taken');
is(count_log($node, 'PANIC|TRAP|WARNING:.*(leak|refcount|not closed)'), 0, 'the log is clean');

$node->stop;
done_testing();
