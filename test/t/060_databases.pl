# Databases and the extension itself come and go while schedulers and workers run; we are in nobody's way.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use List::Util qw(max);
use Test::More;
use Time::HiRes qw(time);

my $node = new_server('databases');
$node->safe_psql('postgres', 'CREATE EXTENSION orchestry_ext');
make_policy($node, 'postgres', 'events', schedule => '1 second');
wait_for_scheduler($node, 'postgres');
my ($launcher) = processes($node, 'launcher');

# How long the statement took; dies with its error.
sub timed
{
	my ($sql) = @_;
	my $start = time;
	$node->safe_psql('postgres', $sql);
	return time - $start;
}

# R32: of a database that has nothing to do with us.
my $rounds = long_count(4, 100);
my $log = -s $node->logfile;
my %longest;
for my $round (1 .. $rounds)
{
	for my $case (
		['create', 'CREATE DATABASE other'],
		['template', 'CREATE DATABASE copied TEMPLATE other'],
		['rename', 'ALTER DATABASE copied RENAME TO renamed'],
		['drop', 'DROP DATABASE renamed'],
		['drop', 'DROP DATABASE other'])
	{
		my ($what, $sql) = @$case;
		my $took = timed($sql);
		$longest{$what} = max($longest{$what} // 0, $took);
	}
}
for my $what (sort keys %longest)
{
	took_at_most($longest{$what}, 2, "other database, longest $what");
}

# Of a database with a scheduler, and a job that is due every second.
my $own = long_count(1, 100);
my %slowest;
for my $round (1 .. $own)
{
	$node->safe_psql('postgres', 'CREATE DATABASE mine');
	$node->safe_psql('mine', 'CREATE EXTENSION orchestry_ext');
	make_policy($node, 'mine', 'events', schedule => '1 second');
	wait_for_scheduler($node, 'mine');
	my $took = timed('CREATE DATABASE copied TEMPLATE mine');
	$slowest{template} = max($slowest{template} // 0, $took);
	$took = timed('ALTER DATABASE mine RENAME TO mine_too');
	$slowest{rename} = max($slowest{rename} // 0, $took);
	wait_for_scheduler($node, 'mine_too');
	if ($round == 1)
	{
		is($node->safe_psql('copied', 'SELECT state FROM orchestry.jobs'), 'restored', 'jobs of a copy wait for resume_all()');
		wait_for_scheduler($node, 'copied');
		is($node->safe_psql('copied', 'SELECT count(*) FROM orchestry.run WHERE started_at > (SELECT max(s.last_at) FROM orchestry.job_state s)'),
			'0', 'and do not run');
		is($node->safe_psql('copied', 'SELECT orchestry.resume_all()'), '1', 'resume_all() resumes them');
		wait_until($node, 'copied', q(SELECT last_at > now() - interval '1 min' FROM orchestry.jobs));
		is($node->safe_psql('mine_too', 'SELECT state <> \'restored\' FROM orchestry.jobs'), 't',
			'jobs of a renamed database go on');
	}
	$took = timed('DROP DATABASE copied');
	$slowest{drop} = max($slowest{drop} // 0, $took);
	$took = timed('DROP DATABASE mine_too');
	$slowest{drop} = max($slowest{drop} // 0, $took);
}
note("own database, $_: at most " . seconds($slowest{$_})) for sort keys %slowest;
pass("a database with a scheduler is copied, renamed and dropped, $own times");

# What an interrupted DROP DATABASE leaves is let alone; the launcher has looked at it when it serves the next one.
$node->safe_psql('postgres', q(CREATE DATABASE broken; UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'broken'));
my $before_broken = -s $node->logfile;
$node->safe_psql('postgres', 'CREATE DATABASE later');
$node->safe_psql('later', 'CREATE EXTENSION orchestry_ext');
wait_for_scheduler($node, 'later');
is(count_log($node, qr/invalid database/, $before_broken), 0, 'nobody connects to an invalid database');
$node->safe_psql('postgres', "DROP DATABASE $_") for qw(broken later);

# With a worker that is busy: a clear error, or success with FORCE.
$node->safe_psql('postgres', 'CREATE DATABASE mine');
$node->safe_psql('mine', 'CREATE EXTENSION orchestry_ext');
my $run = background($node, 'mine', 'SELECT pg_sleep(3600)');
wait_until($node, 'mine', "SELECT state = 'running' FROM orchestry.run WHERE run_id = $run");
# It is its owner's, but not this database's: what is queued here gets a worker of its own.
$node->safe_psql('postgres', q(SELECT orchestry.alter_policy(job_id, '{"ahead": "9 days"}') FROM orchestry.jobs));
wait_until($node, 'postgres', 'SELECT count(*) >= 10 FROM orchestry.partitions');
pass('a busy worker of another database keeps nobody waiting');
my ($status, $out, $err) = $node->psql('postgres', 'DROP DATABASE mine');
like($err, qr/database "mine" is being accessed by other users/, 'a database in which a run is busy is not dropped');
is($node->safe_psql('postgres', 'DROP DATABASE mine WITH (FORCE); SELECT count(*) FROM pg_database WHERE datname = \'mine\''),
	'0', 'but with FORCE it is');

is(join(',', processes($node, 'launcher')), $launcher, 'it is still the same launcher');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_database WHERE datconnlimit = -2'), '0', 'no invalid database');
is($node->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'orchestry scheduler')),
	'1', 'no scheduler is left over');
my $ours = count_log($node, qr/\] orchestry \w+ /, $log);
note("$ours lines of ours in the log");
cmp_ok($ours, '<=', 3 * ($own + 1), 'the log is not flooded');
is(count_log($node, qr/PANIC|TRAP|terminated by signal/), 0, 'nobody died');

# R33: DROP and CREATE EXTENSION while the scheduler ticks and workers run.
my $times = long_count(12, 200);
my $scheduler = wait_for_scheduler($node, 'postgres');
$log = -s $node->logfile;
my ($failed, $slow) = (0, 0);
for my $round (1 .. $times)
{
	$node->safe_psql('postgres', 'SET client_min_messages = error; SELECT orchestry.start_job(job_id) FROM orchestry.jobs')
	  if $round > 1;
	my $start = time;
	my ($status, $out, $err) = $node->psql('postgres', 'SET client_min_messages = error; DROP EXTENSION orchestry_ext');
	if ($status || $err)
	{
		$failed++;
		diag($err);
		next;
	}
	$slow = max($slow, time - $start);
	$node->safe_psql('postgres', 'CREATE EXTENSION orchestry_ext; DROP TABLE s.events');
	make_policy($node, 'postgres', 'events', schedule => '1 second');
}
is($failed, 0, "DROP EXTENSION under running jobs works $times times, at most " . seconds($slow));
wait_for_scheduler($node, 'postgres');
wait_until($node, 'postgres', q(SELECT count(*) = 1 AND bool_and(last_state IN ('ok', 'noop')) FROM orchestry.jobs));
pass('the last one installed is served');
my $workers = count_log($node, qr/\] orchestry worker (ERROR|FATAL)/, $log);
note("$workers workers found their tables gone");
is(half_made($node, 'postgres'), '0', 'no half-made partition');
is($node->safe_psql('postgres', q(SELECT count(*) FROM pg_namespace WHERE nspname = 'orchestry')), '1', 'no orphan');
is(count_log($node, qr/PANIC|TRAP|terminated by signal/), 0, 'nobody died');
$node->stop;
done_testing();
