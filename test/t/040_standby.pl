# A standby runs nothing; after promotion the run that is due happens there.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = new_server('primary', init => { allows_streaming => 1 });
my $database = 'postgres';
$primary->safe_psql($database, 'CREATE EXTENSION orchestry_ext');
wait_for_scheduler($primary, $database);
my $job = make_policy($primary, $database, 'events', ahead => 2, schedule => '1 second');
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
wait_until($primary, $database, "SELECT last_state IS NOT NULL FROM orchestry.jobs WHERE job_id = $job");
$primary->wait_for_catchup($standby);

is(join(',', map { processes($standby, $_) } qw(launcher scheduler worker)), '', 'a standby has no process of ours');
for my $call ('CALL orchestry.run_due()', "CALL orchestry.run_job($job)", "SELECT orchestry.start_job($job)",
	q(SELECT orchestry.run_in_background('SELECT 1')), "SELECT orchestry.pause_job($job)", 'SELECT orchestry.start_scheduler()')
{
	my ($status, $out, $err) = $standby->psql($database, "\\set VERBOSITY verbose\n$call");
	like($err, qr/ERROR:  25006:/, "a standby refuses $call");
}
is($standby->safe_psql($database, 'SELECT count(*) FROM orchestry.jobs'), '1', 'but shows the jobs');
is($standby->safe_psql($database, 'SELECT count(*) >= 0 FROM orchestry.runs'), 't', 'and the runs');
is($standby->safe_psql($database, 'SELECT available FROM orchestry.capabilities() WHERE capability = \'scheduler\''), 'f',
	'capabilities() says that nothing runs');

# Promotion: what the old primary left, and a run that it had not finished, are taken over.
my $run = background($primary, $database, 'SELECT pg_sleep(3600)');
wait_until($primary, $database, "SELECT state = 'running' FROM orchestry.run WHERE run_id = $run");
$primary->safe_psql($database, 'CREATE TABLE last_word ()');    # a commit that waits for the disk, so all before is there
$primary->wait_for_catchup($standby);
$primary->stop('immediate');
my $before = $standby->safe_psql($database, "SELECT last_at FROM orchestry.jobs WHERE job_id = $job");
$standby->promote;
my $took = wait_until($standby, $database, "SELECT last_at > '$before' FROM orchestry.jobs WHERE job_id = $job");
pass('after promotion the due run happens there: ' . seconds($took));
like(wait_for_run($standby, $database, $run), qr/^crashed\|57P02/, "the primary's last run has crashed");
is(scalar(processes($standby, 'launcher')) . scalar(processes($standby, 'scheduler')), '11', 'one launcher, one scheduler');
is($standby->safe_psql($database, "SELECT state <> 'restored' FROM orchestry.jobs"), 't', 'the jobs go on by themselves');
is(count_log($standby, qr/PANIC|TRAP|terminated by signal/), 0, 'the log is clean');
$standby->stop;
done_testing();
