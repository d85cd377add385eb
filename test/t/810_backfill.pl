# Backfills: killed again and again beside a writer, every row is changed exactly once; the scheduler goes on with what a
# crash has left, the same CALL with what was cancelled; and a copy that has lost its place begins nothing.
use strict;
use warnings;
use Orchestry;
use Test::More;
use Time::HiRes qw(time usleep);

random_seed();
my $kills = long_count(5, 50);
my $rows = long_count(20_000, 100_000);
my $database = 'postgres';
my $node = new_server('backfill', init => { extra => ['--data-checksums'] }, conf => <<'CONF');
autovacuum = off
orchestry.databases = ''
orchestry.batch_target_time = '5 ms'
orchestry.lock_attempts = 1000
CONF
$node->safe_psql($database, <<"SQL");
CREATE EXTENSION orchestry_ext;
CREATE TABLE t (id bigint, at timestamptz, filled int NOT NULL DEFAULT 0, touched int NOT NULL DEFAULT 0, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE t1 PARTITION OF t FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE t2 PARTITION OF t FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
INSERT INTO t SELECT i, timestamptz '2026-01-01' + (i % 50) * interval '1 day' FROM generate_series(1, $rows) i;
CREATE TABLE touches (id bigint);
CREATE PROCEDURE touch() LANGUAGE plpgsql AS \$\$
DECLARE n bigint;
BEGIN
    LOOP
        n := 1 + floor(random() * $rows);
        UPDATE t SET touched = touched + 1 WHERE id = n;
        INSERT INTO touches VALUES (n);
        COMMIT;
    END LOOP;
END \$\$;
-- What was done more than once, or not by the writer alone.
CREATE VIEW damage AS SELECT count(*) FROM t LEFT JOIN (SELECT id, count(*) AS n FROM touches GROUP BY id) w USING (id) WHERE touched <> COALESCE(n, 0);
VACUUM ANALYZE;
SQL

my $round = 0;
my $call = "CALL orchestry.backfill('t', 'filled = filled + 1')";
my $start = time;
$node->safe_psql($database, $call);
my $work_s = time - $start;
note('a backfill takes ' . seconds($work_s));
++$round;
is($node->safe_psql($database, "SELECT min(filled), max(filled) FROM t"), '1|1', 'each row once');

sub send_off
{
	my ($sql) = @_;
	my $session = $node->background_psql($database, on_error_stop => 0);
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	$session->{stdin} .= "$sql;\n";
	$session->{run}->pump_nb;
	return ($session, $pid);
}

my $state = 'SELECT min(filled), max(filled), (TABLE damage) FROM t';
my $wrong = '';
my $tries = until_struck($kills, $work_s, sub
{
	my ($delay_s) = @_;
	my ($writer) = send_off('CALL touch()');
	my ($session, $pid) = send_off($call);
	my $mark = -s $node->logfile;
	usleep(int($delay_s * 1_000_000));
	kill 'KILL', $pid or die "no process $pid";
	wait_for_log($node, qr/all server processes terminated; reinitializing/, $mark);
	for my $client ($session, $writer) { eval { $client->{run}->kill_kill } }
	wait_for_recovery($node, $database);
	my $unfinished = $node->safe_psql($database, "SELECT count(*) FROM orchestry.job WHERE kind = 'backfill'");
	my ($least, $most, $damage) = split /\|/, $node->safe_psql($database, $state);
	$wrong .= "after a kill in round $round: $least, $most, $damage\n" if $most - $least > 1 || $damage || $most > $round + 1;
	my $begun = $unfinished || $most > $round; # else it was killed before it had written down that it begins
	$node->safe_psql($database, $call) if $unfinished || !$begun;
	++$round;
	my $after = $node->safe_psql($database, $state);
	$wrong .= "after the next call, of round $round: $after\n" if $after ne "$round|$round|0";
	return $unfinished;
});
diag("$kills kills in $tries calls, $rows rows");
is($wrong, '', "after each of $kills kills: every row once, and what the writer did");

# What a crash has left the scheduler goes on with.
my ($blocker) = $node->background_psql($database);
$blocker->query_safe("BEGIN; SELECT count(*) FROM (SELECT FROM t ORDER BY id DESC LIMIT 1 FOR UPDATE) x");
my ($session, $pid) = send_off($call);
wait_until($node, $database, 'SELECT count(*) > 0 FROM orchestry.backfill_part WHERE cursor IS NOT NULL');
my $mark = -s $node->logfile;
kill 'KILL', $pid or die "no process $pid";
wait_for_log($node, qr/all server processes terminated; reinitializing/, $mark);
for my $client ($session, $blocker) { eval { $client->{run}->kill_kill } }
wait_for_recovery($node, $database);
$node->append_conf('postgresql.conf', "orchestry.databases = '*'\n");
$node->reload;
$node->safe_psql($database, "UPDATE orchestry.job_state SET next_run_at = now()");
wait_until($node, $database, "SELECT count(*) = 0 FROM orchestry.job WHERE kind = 'backfill'");
++$round;
is($node->safe_psql($database, $state), "$round|$round|0", 'the scheduler goes on after a crash');
$node->append_conf('postgresql.conf', "orchestry.databases = ''\n");
$node->reload;
wait_until($node, $database, 'SELECT orchestry.scheduler_pid() IS NULL');

# What is cancelled stays as it is until the same is called again.
$blocker = $node->background_psql($database);
$blocker->query_safe("BEGIN; SELECT count(*) FROM (SELECT FROM t2 ORDER BY id DESC LIMIT 1 FOR UPDATE) x");
($session, $pid) = send_off($call);
wait_until($node, $database, "SELECT count(*) > 0 FROM orchestry.backfill_part WHERE relid = 't2'::regclass AND cursor IS NOT NULL");
$node->safe_psql($database, "SELECT pg_cancel_backend($pid)");
wait_until($node, $database, "SELECT count(*) = 1 FROM orchestry.jobs WHERE kind = 'backfill' AND state = 'paused' AND pause_reason ~ 'cancelled'");
$session->quit;

# In a copy nobody knows where it had got to.
$node->safe_psql($database, 'CREATE DATABASE copy');
$node->command_ok([ 'bash', '-c', 'pg_dump -d "$0" | psql -qX -v ON_ERROR_STOP=1 -d "$1"', $node->connstr($database), $node->connstr('copy') ], 'dumped and restored');
my (undef, undef, $stderr) = $node->psql('copy', 'SELECT orchestry.resume_all(true); CALL orchestry.run()');
like($stderr, qr/where it had got to was not restored/, 'a restored backfill does not begin anew');
is($node->safe_psql('copy', 'SELECT max(filled) - min(filled) FROM t'), 1, 'and leaves the rows as they were');

$blocker->quit;
$node->safe_psql($database, $call);
++$round;
is($node->safe_psql($database, $state), "$round|$round|0", 'the same call goes on with what was cancelled');
is($node->safe_psql($database, "SELECT count(*) FROM orchestry.job WHERE kind = 'backfill'"), 0, 'and then the job is gone');

# A first batch that somebody is in the way of is begun again; one that failed of itself would fail for ever.
my $jobs = "SELECT count(*) FROM orchestry.job WHERE kind = 'backfill'";
$node->safe_psql($database, 'CREATE TABLE few (id int PRIMARY KEY, c int); INSERT INTO few VALUES (1, 0)');
$blocker = $node->background_psql($database);
$blocker->query_safe('BEGIN; SELECT count(*) FROM (SELECT FROM few FOR UPDATE) x');
(undef, undef, $stderr) = $node->psql($database, q(SET orchestry.lock_attempts = 1; CALL orchestry.backfill('few', 'c = 1')));
like($stderr, qr/lock timeout.*HINT:  The next run tries again/s, 'a first batch that has not had its rows');
is($node->safe_psql($database, $jobs), 1, 'leaves the job for the next run');
$blocker->quit;
$node->safe_psql($database, q(CALL orchestry.backfill('few', 'c = 1')));
(undef, undef, $stderr) = $node->psql($database, q(CALL orchestry.backfill('few', 'c = 1 / (id - 1)')));
like($stderr, qr/division by zero/, 'one that fails of itself');
is($node->safe_psql($database, "$jobs; SELECT state FROM orchestry.runs WHERE kind = 'backfill' ORDER BY run_id DESC LIMIT 1"), "0\nfailed", 'leaves no job, but its run');
if ($node->safe_psql($database, 'SHOW server_version_num') >= 180000)
{
	$node->safe_psql($database, 'ALTER TABLE few ADD COLUMN g int GENERATED ALWAYS AS (c + 1) VIRTUAL');
	(undef, undef, $stderr) = $node->psql($database, q(CALL orchestry.backfill('few', 'g = 1')));
	like($stderr, qr/column "g" cannot be set\n.*DETAIL:  It is a generated column of public\.few\./s, 'a virtual column is refused');
	is($node->safe_psql($database, $jobs), 0, 'and there is no job');
}
$node->stop;
done_testing();
