# R13: dumps carry the policies and not the history; restored jobs stand still until resume_all() says so.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('dump', conf => "orchestry.databases = '*'\n");
my $dir = PostgreSQL::Test::Utils::tempdir();
$node->safe_psql('postgres', 'CREATE DATABASE source; CREATE ROLE alice LOGIN');
$node->safe_psql('source', 'CREATE EXTENSION orchestry_ext');
my @jobs = map { make_policy($node, 'source', "events_$_", ahead => 2, schedule => '1 second', owner => $_ == 2 ? 'alice' : undef) } 1 .. 3;
$node->safe_psql('source', qq(SELECT orchestry.alter_policy($jobs[0], '{"ahead": "4 days", "max_runtime": "3 min"}')));
$node->safe_psql('source', "SELECT orchestry.pause_job($jobs[2], 'by hand')");
wait_until($node, 'source', "SELECT bool_and(last_state IN ('ok', 'noop')) FROM orchestry.jobs WHERE job_id <> $jobs[2]");

# What has to be the same after a restore.
my $policies = q(SELECT job_id, kind, target_schema, target_name, schedule, time_zone, max_runtime, paused, pause_reason, p.every, p.ahead
	FROM orchestry.job JOIN orchestry.partition_policy p USING (job_id) ORDER BY job_id);
my $expected = $node->safe_psql('source', $policies);

sub restored
{
	my ($name, $jobs) = @_;
	is($node->safe_psql($name, $policies), $expected, "$name: the policies are there");
	is($node->safe_psql($name, q(SELECT string_agg(DISTINCT state, ' ') FROM orchestry.jobs)), 'restored', "$name: as restored jobs");
	wait_for_scheduler($node, $name);
	$node->safe_psql($name, 'CALL orchestry.run_due(); CALL orchestry.run()');
	my ($status, $out, $err) = $node->psql($name, "CALL orchestry.run_job($jobs[0])");
	isnt($err, '', "$name: run_job() does not run it either");
	# A run that the scheduler does start, as a witness that it has looked at the jobs.
	make_policy($node, $name, 'witness', schedule => '1 second');
	wait_until($node, $name, q(SELECT last_state IS NOT NULL FROM orchestry.jobs WHERE target_name = 'witness'));
	is($node->safe_psql($name, "SELECT count(*) FROM orchestry.run WHERE job_id IN (@{[ join ',', @jobs ]}) AND state NOT IN ('skipped')"),
		'0', "$name: nothing of the history, and no restored job has run");
	cmp_ok($node->safe_psql($name, q(SELECT job_id FROM orchestry.job WHERE target_name = 'witness')), '>', $jobs[-1],
		"$name: the sequence goes on");
	is($node->safe_psql($name, 'SELECT count(*) FROM orchestry.job'), 4, "$name: and no job was taken for one of a dropped table");
	is($node->safe_psql($name, 'SELECT orchestry.resume_all()'), '3', "$name: resume_all() resumes all");
	is($node->safe_psql($name, 'SELECT orchestry.resume_all()'), '0', "$name: once");
	is($node->safe_psql($name, "SELECT job_id, state, pause_reason FROM orchestry.jobs WHERE state = 'paused'"),
		"$jobs[2]|paused|by hand", "$name: what was paused by hand stays so");
	wait_until($node, $name, "SELECT bool_and(last_state IN ('ok', 'noop')) FROM orchestry.jobs WHERE job_id IN ($jobs[0], $jobs[1])");
	is($node->safe_psql($name, q(SELECT bool_and(target = format('s.%I', target_name)::regclass) FROM orchestry.jobs)),
		't', "$name: each works on its own table");
	$node->safe_psql('postgres', "DROP DATABASE $name");
}

sub new_database { $node->safe_psql('postgres', "CREATE DATABASE $_[0]"); return $_[0] }

command_ok([ 'pg_dump', '-Fc', '-f', "$dir/custom", $node->connstr('source') ], 'pg_dump -Fc');
command_ok([ 'pg_restore', '-d', $node->connstr(new_database('custom')), "$dir/custom" ], 'pg_restore');
restored('custom');

command_ok([ 'pg_dump', '-f', "$dir/plain.sql", $node->connstr('source') ], 'pg_dump, plain');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/plain.sql", '-d', $node->connstr(new_database('plain')) ], 'psql');
restored('plain');

command_ok([ 'pg_dump', '-Fd', '-j2', '-f', "$dir/directory", $node->connstr('source') ], 'pg_dump -j2');
command_ok([ 'pg_restore', '-j2', '-d', $node->connstr(new_database('directory')), "$dir/directory" ], 'pg_restore -j2');
restored('directory');

command_ok([ 'pg_dump', '--schema-only', '-f', "$dir/schema.sql", $node->connstr('source') ], 'pg_dump --schema-only');
command_ok([ 'pg_dump', '--data-only', '-Fc', '-f', "$dir/data", $node->connstr('source') ], 'pg_dump --data-only');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/schema.sql", '-d', $node->connstr(new_database('in_parts')) ], 'the schema');
is($node->safe_psql('in_parts', 'SELECT count(*) FROM orchestry.job'), '0', 'a schema has no policies');
command_ok([ 'pg_restore', '--data-only', '-d', $node->connstr('in_parts'), "$dir/data" ], 'the data');
restored('in_parts');

# Back into the very database that it came from, while its scheduler runs: the old table OIDs mean nothing any more.
$node->safe_psql('source', 'DROP EXTENSION orchestry_ext; DROP SCHEMA s CASCADE');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/plain.sql", '-d', $node->connstr('source') ], 'a restore in place');
$node->safe_psql('postgres', 'CREATE DATABASE kept TEMPLATE source');
restored('source');

# A dump that lacks one of the tables.
command_ok([ 'pg_dump', '-T', 's.events_1*', '-f', "$dir/without.sql", $node->connstr('kept') ], 'pg_dump -T');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/without.sql", '-d', $node->connstr(new_database('without')) ],
	'a dump that lacks a table restores');
my ($status, $out, $err) = $node->psql('without', 'SELECT orchestry.resume_all()');
is($out, '2', 'the other jobs are resumed');
like($err, qr/WARNING:  job $jobs[0] stays as it is: table s.events_1 does not exist/, 'with a word about the one that lacks its table');
($status, $out, $err) = $node->psql('without', "SELECT orchestry.resume_job($jobs[0])");
like($err, qr/ERROR:  table s.events_1 of job $jobs[0] does not exist\nHINT:  Run SELECT orchestry.remove_policy\($jobs[0]\)/,
	'resume_job() names the way out');
is($node->safe_psql('without', "SELECT orchestry.remove_policy($jobs[0]); SELECT count(*) FROM orchestry.jobs"), "\n2", 'which works');

# A copy of the database.
$node->safe_psql('postgres', 'CREATE DATABASE copied TEMPLATE without');
is($node->safe_psql('copied', q(SELECT string_agg(DISTINCT state, ' ') FROM orchestry.jobs)), 'restored', 'a copy is told from the original');
is($node->safe_psql('without', q(SELECT count(*) FROM orchestry.jobs WHERE state = 'restored')), '0', 'which is not disturbed');
is($node->safe_psql('copied', "SET ROLE alice; SELECT orchestry.resume_all()"), '1', 'an owner resumes his own');
is(count_log($node, qr/PANIC|TRAP|terminated by signal/), 0, 'the log is clean');
$node->stop;
done_testing();
