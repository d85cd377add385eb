# R28: no background worker slot is free, or orchestry.max_workers are busy: runs wait visibly, and none is lost.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

# Slots: the logical replication launcher, our launcher and scheduler, and two more.
my $node = new_server('slots', conf => "max_worker_processes = 5\n");
my $database = 'postgres';
$node->safe_psql($database, 'CREATE EXTENSION orchestry_ext; CREATE TABLE done (what text)');
wait_for_scheduler($node, $database);

# Two statements take both slots; a third one waits.
my @busy = map { background($node, $database, 'SELECT pg_sleep(3600)') } 1 .. 2;
wait_until($node, $database, "SELECT count(*) = 2 FROM orchestry.run WHERE state = 'running'");
my $log = -s $node->logfile;
my ($status, $out, $err) = $node->psql($database, q(SELECT orchestry.run_in_background('INSERT INTO done VALUES (''third'')')));
like($err, qr/NOTICE:  run $out waits for a background worker slot/, 'without a free slot the caller is told');
is(run_row($node, $database, $out), 'waiting|no background worker slot is free', 'and the run is seen waiting');
my $job = make_policy($node, $database, 'events', ahead => 2);
$node->safe_psql($database, qq(SELECT orchestry.alter_policy($job, '{"ahead": "5 days"}')));
wait_until($node, $database, "SELECT state = 'waiting' FROM orchestry.jobs WHERE job_id = $job");
pass('so is the run of a job');
$node->safe_psql($database, 'SELECT pg_reload_conf()') for 1 .. 3;    # each wakes the scheduler
wait_until($node, $database, q(SELECT count(*) = 2 FROM orchestry.run WHERE state = 'waiting'));
$node->safe_psql($database, "SELECT orchestry.cancel_run($busy[0])");
my $start = time;
is(wait_for_run($node, $database, $out), 'ok', 'a run that waited starts when a slot is free');
took_at_most(time - $start, 10, 'it starts');
wait_until($node, $database, "SELECT last_state = 'ok' FROM orchestry.jobs WHERE job_id = $job");
is($node->safe_psql($database, 'SELECT count(*) FROM done'), '1', 'each ran once');
is(count_log($node, qr/orchestry runs are waiting/, $log), 1, 'one WARNING, not one for each look');
is(count_log($node, qr/FATAL/, $log), 0, 'no FATAL');

# A cancelled wait.
my $third = background($node, $database, 'SELECT pg_sleep(3600)');
wait_until($node, $database, "SELECT state = 'running' FROM orchestry.run WHERE run_id = $third");
my $waiting = background($node, $database, 'SELECT 1');
is(run_row($node, $database, $waiting), 'waiting|no background worker slot is free', 'one more waits');
is($node->safe_psql($database, "SELECT orchestry.cancel_run($waiting)"), 't', 'a run that waits is cancelled');
is(run_row($node, $database, $waiting), 'failed|57014|canceled before it started', 'and never starts');

# run_due() takes over what waits for a slot.
$node->safe_psql($database, qq(SELECT orchestry.alter_policy($job, '{"ahead": "9 days"}')));
wait_until($node, $database, "SELECT state = 'waiting' FROM orchestry.jobs WHERE job_id = $job");
$node->safe_psql($database, 'CALL orchestry.run_due()');
is($node->safe_psql($database, "SELECT last_state, state FROM orchestry.jobs WHERE job_id = $job"), 'ok|scheduled',
	'run_due() does in its session what waits for a slot');
$node->stop;

# A scheduler for which there is no slot.
$node = new_server('no_slot', conf => "max_worker_processes = 2\n");
$node->safe_psql($database, 'CREATE EXTENSION orchestry_ext');
wait_for_log($node, qr/orchestry scheduler cannot start: no background worker slot is free/);
my $launcher = join ',', processes($node, 'launcher');
$node->safe_psql($database, 'SELECT pg_reload_conf()') for 1 .. 3;
is(join(',', processes($node, 'launcher')), $launcher, 'the launcher bears that there is no slot for a scheduler');
cmp_ok(count_log($node, qr/orchestry scheduler cannot start/), '==', 1, 'with one WARNING');
($status, $out, $err) = $node->psql($database, q(SELECT orchestry.run_in_background('SELECT 1')));
like($err, qr/waits for a background worker slot/, 'a run is queued all the same');
$node->stop;
$node = new_server('no_slot_dynamic', preload => 0, conf => "max_worker_processes = 1\n");
$node->safe_psql($database, 'CREATE EXTENSION orchestry_ext');
($status, $out, $err) = $node->psql($database, '\set VERBOSITY verbose' . "\nSELECT orchestry.start_scheduler()");
like($err, qr/ERROR:  53400: no background worker slot is free/, 'start_scheduler() says so');
$node->stop;

# orchestry.max_workers, however many runs are started at once.
$node = new_server('max_workers', conf => "orchestry.max_workers = 2\n");
$node->safe_psql($database, 'CREATE EXTENSION orchestry_ext; CREATE TABLE done (what int)');
wait_for_scheduler($node, $database);
$node->safe_psql($database, <<'SQL');
CREATE FUNCTION most() RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_sleep(0.05);
    RETURN (SELECT count(*) FROM orchestry.run WHERE state = 'running');
END $$;
SELECT orchestry.run_in_background('INSERT INTO done SELECT most()') FROM generate_series(1, 10);
SQL
wait_until($node, $database, "SELECT count(*) = 10 FROM orchestry.run WHERE state = 'ok'");
is($node->safe_psql($database, 'SELECT max(what) <= 2, count(*) FROM done'), 't|10',
	'ten runs started by one transaction: never more than max_workers at once, and all ran');
is(count_log($node, qr/PANIC|TRAP|terminated by signal/), 0, 'the log is clean');
$node->stop;
done_testing();
