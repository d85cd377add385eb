# R34: what a run acts on is changed by somebody else while it runs, at two places: between the plan and the first step
# (the run waits for a lock that the other one holds), and between two steps (the other one has queued behind the first).
# The run ends well or with one precise error, follows what was renamed, and never touches another table.
use strict;
use warnings;
use Orchestry;
use Test::More;

my $database = 'postgres';
# No scheduler: only the runs that are started here. They wait for their locks as long as it takes, at noon of a day.
my $node = new_server('object_races', preload => 0, conf => <<'CONF');
autovacuum = off
orchestry.lock_timeout = '60 s'
orchestry.now = '2026-06-15 12:00:00+00'
CONF
$node->safe_psql($database, <<'SQL');
CREATE EXTENSION orchestry_ext;
CREATE ROLE app LOGIN; CREATE ROLE other LOGIN;
CREATE SCHEMA s; CREATE SCHEMA elsewhere;
GRANT CREATE, USAGE ON SCHEMA s, elsewhere TO app, other;
-- The same table under another name: whatever a run of s.t makes there would be a mistake.
CREATE PROCEDURE public.make(target text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE %s (at timestamptz NOT NULL, note varchar(10)) PARTITION BY RANGE (at)', target);
    EXECUTE format('CREATE INDEX ON %s (note)', target);
    EXECUTE format('ALTER TABLE %s OWNER TO app', target);
END $$;
SQL

sub sql { return $node->safe_psql($database, $_[0]) }

# A fresh s.t with a policy and partitions for 3 days; then two more are wanted. Returns (job, oid).
sub fresh_table
{
	sql(q(DROP SCHEMA IF EXISTS s, elsewhere CASCADE; CREATE SCHEMA s; CREATE SCHEMA elsewhere;
		GRANT CREATE, USAGE ON SCHEMA s, elsewhere TO app, other; CALL public.make('s.t')));
	my $job = sql(q(SELECT orchestry.add_partition_policy('s.t', '1 day', '2 days', schedule => '1 year')));
	sql("SELECT orchestry.alter_policy($job, '{\"ahead\": \"4 days\"}')");
	return ($job, sql(q(SELECT 's.t'::regclass::oid)));
}

# A session in a transaction that keeps every step from its lock.
sub hold
{
	my $session = $node->background_psql($database, on_error_stop => 0);
	$session->query_safe('BEGIN; LOCK TABLE s.t IN SHARE UPDATE EXCLUSIVE MODE');
	return $session;
}

# Sends statements without waiting for them.
sub queue
{
	my ($session, $statements) = @_;
	$session->{stdin} .= "$statements\n\\q\n";
	$session->{run}->pump_nb;
	return;
}

sub wait_for_waiters
{
	my ($oid, $count) = @_;
	wait_until($node, $database, "SELECT count(*) = $count FROM pg_locks WHERE relation = $oid AND NOT granted");
	return;
}

sub partitions_of
{
	my ($oid) = @_;
	return sql("SELECT count(*) FROM pg_inherits WHERE inhparent = $oid");
}

# What every case must leave behind, whatever the run came to.
sub nothing_odd
{
	my ($what) = @_;
	is( sql(<<'SQL'), '0', "$what: no table is left that belongs nowhere");
SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname IN ('s', 'elsewhere', 'public')
WHERE c.relkind = 'r' AND NOT c.relispartition AND c.relname NOT IN ('detached', 't_taken')
SQL
	is( sql(q(SELECT count(*) FROM orchestry.run WHERE state IN ('queued', 'waiting', 'running'))), '0', "$what: every run has ended");
	is( sql(q(SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.backend_type = 'orchestry worker')),
		'0', "$what: nothing is held");
	return;
}

# Runs the job while somebody else does `change`, in which :job is the job's id. `where`: before the first step, or between the first and the second.
# `ends`: what orchestry.run says then. `partitions`: how many the table has that the policy is for.
sub race
{
	my ($where, $what, %case) = @_;
	$what = "$what, " . ($where eq 'before' ? 'before the first step' : 'between two steps');
	my ($job, $oid) = fresh_table();
	my $change = $case{change} =~ s/:job/$job/r;
	my $holder = hold();
	my $run = sql("SELECT orchestry.start_job($job)");
	wait_for_waiters($oid, 1);
	if ($where eq 'before')
	{
		queue($holder, "$change;\nCOMMIT;");
	}
	else
	{
		# First come, first served: the run's first step, then the change, then the run's second step.
		my $changer = $node->background_psql($database, on_error_stop => 0);
		queue($changer, "BEGIN; LOCK TABLE s.t IN SHARE UPDATE EXCLUSIVE MODE;\n$change;\nCOMMIT;");
		wait_for_waiters($oid, 2);
		queue($holder, 'COMMIT;');
		$changer->{run}->finish;
	}
	$holder->{run}->finish;
	my $result = wait_for_run($node, $database, $run);
	# The worker is gone only a moment after its run.
	wait_until($node, $database, q(SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'orchestry worker'));
	like($result, $case{ends}, "$what: $result");
	my $steps = sql("SELECT string_agg(action || ' ' || state || COALESCE(' (' || message || ')', ''), ', ' ORDER BY seq) FROM orchestry.run_steps WHERE run_id = $run");
	note("$what: $steps") if $steps ne '';
	my $expected = ref $case{partitions} ? $case{partitions}{$where} : $case{partitions};
	is(partitions_of($oid), $expected, "$what: the right partitions") if defined $expected;
	$case{check}->($job, $oid, $what, $where) if $case{check};
	nothing_odd($what);
	if ($case{next}) # the next run, with nobody in the way
	{
		sql("CALL orchestry.run_job($job)");
		is(partitions_of($oid), 5, "$what: the next run has done the rest");
	}
	return;
}

# `before` the first step or `between` two, unless it can only be one of them.
sub races
{
	my (@arguments) = @_;
	race('before', @arguments);
	race('between', @arguments);
	return;
}

races('rename', change => 'ALTER TABLE s.t RENAME TO renamed', ends => qr/^ok$/, partitions => 5,
	check => sub {
		my ($job, $oid, $what) = @_;
		is(sql("SELECT target FROM orchestry.jobs WHERE job_id = $job"), 's.renamed', "$what: the job has followed");
		is(sql("SELECT count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = inhrelid JOIN pg_namespace n ON n.oid = relnamespace WHERE inhparent = $oid AND nspname = 's'"),
			'5', "$what: all in its schema");
	});
races('another table takes its name', ends => qr/^ok$/, partitions => 5,
	change => q(ALTER TABLE s.t RENAME TO renamed; CALL public.make('s.t')),
	check => sub { is(partitions_of(sql(q(SELECT 's.t'::regclass::oid))), '0', "$_[2]: the other table was not touched") });
races('set schema', change => 'ALTER TABLE s.t SET SCHEMA elsewhere', ends => qr/^ok$/, partitions => 5,
	check => sub {
		my ($job, $oid, $what, $where) = @_;
		is(sql("SELECT target FROM orchestry.jobs WHERE job_id = $job"), 'elsewhere.t', "$what: the job has followed");
		is(sql("SELECT count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = inhrelid JOIN pg_namespace n ON n.oid = relnamespace WHERE inhparent = $oid AND nspname = 'elsewhere'"),
			$where eq 'before' ? '2' : '1', "$what: new partitions are made in its new schema");
	});
races('set schema, and another table in its place', ends => qr/^ok$/, partitions => 5,
	change => q(ALTER TABLE s.t SET SCHEMA elsewhere; CALL public.make('s.t')),
	check => sub { is(partitions_of(sql(q(SELECT 's.t'::regclass::oid))), '0', "$_[2]: the other table was not touched") });
races('another owner', change => 'ALTER TABLE s.t OWNER TO other', ends => qr/^(ok|noop)$/, partitions => { before => 3, between => 4 }, next => 1,
	check => sub {
		my ($job, $oid, $what, $where) = @_;
		is(sql("SELECT count(*) FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid WHERE inhparent = $oid AND relowner = 'app'::regrole"),
			$where eq 'before' ? '3' : '4', "$what: nothing was made for the new owner by the old one");
	});
races('the key column is renamed', change => 'ALTER TABLE s.t RENAME COLUMN at TO happened_at', ends => qr/^ok$/, partitions => 5);
races('the type of a column changes', change => 'ALTER TABLE s.t ALTER COLUMN note TYPE text', ends => qr/^ok$/, partitions => 5,
	check => sub {
		my ($job, $oid, $what) = @_;
		is(sql("SELECT string_agg(DISTINCT format_type(atttypid, atttypmod), ' ') FROM pg_attribute a JOIN pg_inherits i ON i.inhrelid = a.attrelid WHERE inhparent = $oid AND attname = 'note'"),
			'text', "$what: in all partitions");
	});
races('a column is dropped and another added', ends => qr/^ok$/, partitions => 5,
	change => q(ALTER TABLE s.t DROP COLUMN note; ALTER TABLE s.t ADD COLUMN level int NOT NULL DEFAULT 3));
races('the type of the key cannot change', change => 'ALTER TABLE s.t ALTER COLUMN at TYPE timestamp', ends => qr/^ok$/, partitions => 5);
races('a new index', change => 'CREATE INDEX t_new ON s.t (at, note)', ends => qr/^ok$/, partitions => 5,
	check => sub {
		is(sql(q(SELECT count(*) FROM pg_inherits WHERE inhparent = 's.t_new'::regclass)), '5', "$_[2]: every partition has it");
	});
races('a partition is detached', ends => qr/^ok$/, partitions => { before => 4, between => 4 }, next => 1,
	change => q(DO $$ DECLARE p text := (SELECT max(inhrelid)::regclass FROM (SELECT inhrelid FROM pg_inherits WHERE inhparent = 's.t'::regclass ORDER BY 1 LIMIT 3) f);
		BEGIN EXECUTE 'ALTER TABLE s.t DETACH PARTITION ' || p; EXECUTE format('ALTER TABLE %s RENAME TO detached', p); END $$));
races('a partition is dropped', ends => qr/^ok$/, partitions => { before => 4, between => 4 }, next => 1,
	change => q(DO $$ BEGIN EXECUTE 'DROP TABLE ' || (SELECT max(inhrelid)::regclass FROM (SELECT inhrelid FROM pg_inherits WHERE inhparent = 's.t'::regclass ORDER BY 1 LIMIT 3) f); END $$));
races('somebody else makes a partition there', ends => qr/^(ok|noop)$/, partitions => { before => 4, between => 5 },
	change => q(DO $$ BEGIN EXECUTE format('CREATE TABLE s.t_by_hand PARTITION OF s.t FOR VALUES FROM (%L) TO (%L)',
		timestamptz '2026-06-18 00:00Z', timestamptz '2026-06-20 00:00Z'); EXCEPTION WHEN invalid_object_definition THEN
		EXECUTE format('CREATE TABLE s.t_by_hand PARTITION OF s.t FOR VALUES FROM (%L) TO (%L)',
		timestamptz '2026-06-19 00:00Z', timestamptz '2026-06-20 00:00Z'); END $$));
race('between', 'the name of the next partition is taken', ends => qr/^(ok|noop|failed\|\w{5}\|.*t_taken)/, partitions => 4,
	change => 'CREATE TABLE s.t_p20260619 (taken int)',
	check => sub {
		my ($job, $oid, $what) = @_;
		is(sql(q(SELECT count(*) FROM pg_attribute WHERE attname = 'taken' AND NOT attisdropped)), '1', "$what: the other table was not touched");
		my ($status, undef, $err) = $node->psql($database, "CALL orchestry.run_job($job)");
		like($err, qr/t_p\d+/, "$what: the next run names it");
		sql('DROP TABLE s.t_p20260619');
	}, next => 1);
races('the policy changes', ends => qr/^(ok|noop)$/, partitions => { before => 3, between => 4 }, next => 1,
	change => q(SELECT orchestry.alter_policy(:job, '{"name_pattern": "{table}_of_{YYYY}_{MM}_{DD}"}')));
races('the policy is removed', ends => qr/^(ok|noop|failed\|\w{5}\|.*(policy|job))/, partitions => { before => 3, between => 4 },
	change => q(SELECT orchestry.remove_policy(:job)),
	check => sub { is(sql("SELECT count(*) FROM orchestry.jobs WHERE job_id = $_[0]"), '0', "$_[2]: the job is gone") });
for my $drop (['drop table', 'DROP TABLE s.t'], ['drop schema', 'DROP SCHEMA s CASCADE'],
	['drop and make again', q(DROP TABLE s.t; CALL public.make('s.t'))])
{
	my ($what, $change) = @$drop;
	races($what, change => $change, ends => qr/^(ok|noop|failed\|\w{5}\|.*(not there any more|does not exist))/,
		check => sub {
			my ($job, $oid, $case) = @_;
			is(sql(q(SELECT count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhparent WHERE c.relname = 't')), '0', "$case: a table in its place was not touched")
			  if $what eq 'drop and make again';
			sql('SELECT orchestry.start_scheduler()');
			wait_until($node, $database, "SELECT count(*) = 0 FROM orchestry.job WHERE job_id = $job");
			pass("$case: the job is cleaned up");
			sql('SELECT orchestry.stop_scheduler()');
		});
}

is(count_log($node, qr/PANIC|TRAP|XX000|cache lookup failed|could not open relation|deadlock detected|terminated by signal/), 0, 'no error of the inner kind in the log');
$node->stop;
done_testing();
