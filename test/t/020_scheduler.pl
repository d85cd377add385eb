# Launcher, scheduler and workers: who starts whom, when, and what they hold while they wait.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $node = new_server('scheduler', conf => "orchestry.naptime = '1 s'\n");

# A database gets its scheduler after CREATE EXTENSION, others get none.
is(scalar(processes($node, 'launcher')), 1, 'the preloaded library starts one launcher');
$node->safe_psql('postgres', 'CREATE DATABASE plain');
$node->safe_psql('postgres', 'CREATE EXTENSION orchestry_ext');
my $start = time;
my $scheduler = wait_for_scheduler($node, 'postgres');
my $took = time - $start;
note('CREATE EXTENSION to scheduler: ' . seconds($took));
is($node->safe_psql('postgres', <<'SQL'), '0', 'a database without the extension has no scheduler');
SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'orchestry scheduler' AND datname = 'plain'
SQL
my $session = $node->background_psql('plain');
$session->query_safe('BEGIN; CREATE EXTENSION orchestry_ext');
$session->query_safe('COMMIT');
$session->quit;
wait_for_scheduler($node, 'plain');
is(scalar(processes($node, 'scheduler')), 2, 'one scheduler for each database that has the extension');

# What they look like.
is($node->safe_psql('postgres', <<'SQL'), <<'OUT' =~ s/\n\z//r, 'bgw_type and application_name say what they are');
SELECT backend_type, application_name, COALESCE(datname, '-') FROM pg_stat_activity
WHERE backend_type ~ '^orchestry' ORDER BY 1, 3
SQL
orchestry launcher|orchestry launcher|-
orchestry scheduler|orchestry scheduler|plain
orchestry scheduler|orchestry scheduler|postgres
OUT
my $run = background($node, 'postgres', q(SELECT pg_sleep(3600)));
wait_until($node, 'postgres',
	q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'orchestry worker' AND query ~ 'pg_sleep'));
is($node->safe_psql('postgres', <<'SQL'), "orchestry: statement of run $run|active", 'so does a worker');
SELECT application_name, state FROM pg_stat_activity WHERE backend_type = 'orchestry worker'
SQL
$node->safe_psql('postgres', "SELECT orchestry.cancel_run($run)");
wait_for_run($node, 'postgres', $run);

# R30: idle processes hold no snapshot and no lock that could be in anybody's way.
my $samples = long_count(50, 300);
my ($held, $locks) = (0, 0);
$session = $node->background_psql('postgres');
for (1 .. $samples)
{
	my $row = $session->query_safe(<<'SQL');
SELECT count(*) FILTER (WHERE backend_xmin IS NOT NULL OR backend_xid IS NOT NULL),
       (SELECT count(*) FROM pg_locks l WHERE l.relation IS NOT NULL AND l.pid IN
           (SELECT b.pid FROM pg_stat_activity b WHERE b.backend_type ~ '^orchestry' AND b.state = 'idle'))
FROM pg_stat_activity WHERE backend_type ~ '^orchestry' AND COALESCE(state, 'idle') = 'idle'
SQL
	my ($xmin, $lock) = split /\|/, $row;
	$held += $xmin;
	$locks += $lock;
	usleep(20_000);    # a sampling interval, nothing waits for it
}
$session->quit;
is("$held $locks", '0 0', "no snapshot and no table lock in $samples samples of idle processes");

# A run holds a snapshot for one step at most, and nothing at all while it steps aside for somebody.
install_gate($node, 'postgres');
my $job = make_policy($node, 'postgres', 'events', ahead => 2);
set_gate($node, 'postgres', 'block', 3);
$node->safe_psql('postgres', qq(SELECT orchestry.alter_policy($job, '{"ahead": "6 days"}')));
wait_at_gate($node, 'postgres');
is($node->safe_psql('postgres', <<'SQL'), 't', 'the third step of a run has a transaction of its own');
SELECT a.xact_start >= (SELECT max(s.finished_at) FROM orchestry.run_step s JOIN orchestry.run r USING (run_id) WHERE r.state = 'running')
   AND a.xact_start > (SELECT r.started_at FROM orchestry.run r WHERE r.state = 'running')
FROM pg_stat_activity a WHERE a.backend_type = 'orchestry worker'
SQL
set_gate($node, 'postgres', 'open');
wait_until($node, 'postgres', "SELECT last_state = 'ok' FROM orchestry.jobs WHERE job_id = $job");
$session = $node->background_psql('postgres');
$session->query_safe('BEGIN; LOCK TABLE s.events IN SHARE UPDATE EXCLUSIVE MODE');
$node->safe_psql('postgres', qq(SELECT orchestry.alter_policy($job, '{"ahead": "8 days"}')));
$took = wait_until($node, 'postgres', <<'SQL');
SELECT EXISTS (SELECT FROM orchestry.progress p JOIN pg_stat_activity a USING (pid)
    WHERE p.phase = 'stepping aside' AND a.backend_xmin IS NULL AND a.backend_xid IS NULL
    AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.relation = 's.events'::regclass))
SQL
pass('a run that waits for a lock steps aside with nothing held');
$session->query_safe('COMMIT');
$session->quit;
wait_until($node, 'postgres', q(SELECT count(*) = 9 FROM pg_inherits WHERE inhparent = 's.events'::regclass));
is($node->safe_psql('postgres', q(SELECT bool_or(attempts > 1 AND message ~ 'holds ShareUpdateExclusiveLock on s.events') FROM orchestry.run_steps)),
	't', 'and says afterwards who was in the way');

# The kill switch and naptime follow a reload.
$node->safe_psql('postgres', 'ALTER SYSTEM SET orchestry.enabled = off; SELECT pg_reload_conf()');
wait_until($node, 'postgres', q(SELECT current_setting('orchestry.enabled') = 'off'));
my ($status, $out, $err) = $node->psql('postgres', 'CALL orchestry.run_due()');
like($err, qr/orchestry.enabled is off/, 'enabled = off refuses CALL');
($status, $out, $err) = $node->psql('postgres', q(SELECT orchestry.run_in_background('SELECT 1')));
like($err, qr/orchestry.enabled is off/, 'and new runs');
is(scheduler_pid($node, 'postgres'), $scheduler, 'the scheduler stays, idle');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET orchestry.enabled; SELECT pg_reload_conf()');
wait_until($node, 'postgres', q(SELECT current_setting('orchestry.enabled') = 'on'));
is($node->safe_psql('postgres', q(SELECT orchestry.run_in_background('SELECT 1') > 0)), 't', 'on again');

# orchestry.databases follows a reload, both ways.
$node->safe_psql('postgres', q(ALTER SYSTEM SET orchestry.databases = 'nowhere, postgres'; SELECT pg_reload_conf()));
wait_until($node, 'plain', 'SELECT orchestry.scheduler_pid() IS NULL');
is(scheduler_pid($node, 'postgres'), $scheduler, 'a listed database keeps its scheduler');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET orchestry.databases; SELECT pg_reload_conf()');
wait_for_scheduler($node, 'plain');
pass('a database that is listed again gets its scheduler back');

# stop_scheduler() and start_scheduler() with the launcher there.
is($node->safe_psql('postgres', 'SELECT orchestry.stop_scheduler()'), 't', 'stop_scheduler() stops it');
is(scheduler_pid($node, 'postgres'), '', 'at once');
is($node->safe_psql('postgres', 'SELECT orchestry.start_scheduler()'), 't', 'start_scheduler() asks for it');
$scheduler = wait_for_scheduler($node, 'postgres');
is($node->safe_psql('postgres', 'SELECT orchestry.start_scheduler()'), 'f', 'a second start finds it running');

# An extension at another version than the library's: one line in the log, and nothing is done.
my $log = -s $node->logfile;
$node->safe_psql('plain', q(UPDATE pg_extension SET extversion = '0.0.1' WHERE extname = 'orchestry_ext'));
my $plain = scheduler_pid($node, 'plain');
wait_for_log($node, qr/orchestry scheduler is idle: the extension is at version 0.0.1/, $log);
$node->reload for 1 .. 3;    # each wakes the scheduler
wait_until($node, 'plain', "SELECT orchestry.scheduler_pid() = $plain");
$node->safe_psql('plain', q(UPDATE pg_extension SET extversion = '0.1.0' WHERE extname = 'orchestry_ext'));
is(count_log($node, qr/orchestry scheduler is idle/, $log), 1, 'another version is logged once');
is(scheduler_pid($node, 'plain'), $plain, 'by a scheduler that stays');

# DROP EXTENSION ends it, CREATE EXTENSION brings it back.
$node->safe_psql('plain', 'DROP EXTENSION orchestry_ext');
wait_until($node, 'postgres', <<'SQL');
SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'orchestry scheduler' AND datname = 'plain')
SQL
$node->safe_psql('plain', 'CREATE EXTENSION orchestry_ext');
$took = wait_until($node, 'plain', 'SELECT orchestry.scheduler_pid() IS NOT NULL');
note('CREATE EXTENSION to scheduler, second time: ' . seconds($took));
ok(1, 'DROP and CREATE EXTENSION are followed');

# A launcher that comes back finds the schedulers that run, and still watches them.
my ($launcher) = processes($node, 'launcher');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($launcher)");
wait_until($node, 'postgres',
	"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'orchestry launcher' AND pid <> $launcher)");
is(scheduler_pid($node, 'postgres'), $scheduler, 'the scheduler outlives the launcher');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($scheduler)");
$took = wait_until($node, 'postgres', "SELECT orchestry.scheduler_pid() <> $scheduler");
note('scheduler back under the new launcher: ' . seconds($took));
$scheduler = wait_for_scheduler($node, 'postgres', $scheduler);
$log = -s $node->logfile;
$node->safe_psql('postgres', "SELECT pg_cancel_backend($scheduler)");
$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type = 'orchestry launcher'");
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_sleep(0)'), '1', 'pg_cancel_backend() is sent');
is(scheduler_pid($node, 'postgres'), $scheduler, 'and ends neither');
is(count_log($node, qr/canceling statement/, $log), 0, 'nor says anything');
is(count_log($node, qr/PANIC|TRAP|terminated by signal/), 0, 'the log is clean');
$node->stop;

# Without preload: a launcher of the database's own.
$node = new_server('dynamic', preload => 0);
$node->safe_psql('postgres', 'CREATE EXTENSION orchestry_ext');
like($node->safe_psql('postgres', q(SELECT available, command FROM orchestry.capabilities() WHERE capability = 'preload')),
	qr/^f\|ALTER SYSTEM SET shared_preload_libraries = orchestry_ext;/, 'without preload capabilities() names the setting');
is(scheduler_pid($node, 'postgres'), '', 'nothing runs by itself');
is($node->safe_psql('postgres', 'SELECT orchestry.start_scheduler()'), 't', 'start_scheduler() starts it');
$scheduler = wait_for_scheduler($node, 'postgres');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($scheduler)");
$scheduler = wait_for_scheduler($node, 'postgres', $scheduler);
pass('its launcher brings it back');
for (1 .. 3)
{
	$node->safe_psql('postgres', 'SELECT orchestry.stop_scheduler(); SELECT orchestry.start_scheduler()');
	wait_for_scheduler($node, 'postgres');
}
pass('stop and start in a row end with a running scheduler');
$node->safe_psql('postgres', 'SELECT orchestry.stop_scheduler()');
is(join(',', processes($node, 'launcher'), processes($node, 'scheduler')), '', 'stop_scheduler() leaves none of ours');
is(count_log($node, qr/PANIC|TRAP|terminated by signal/), 0, 'the log is clean');
$node->stop;
done_testing();
