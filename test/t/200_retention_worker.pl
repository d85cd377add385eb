# Retention in a background worker: partitions leave CONCURRENTLY, so that nobody waits for them; what interrupts that is
# understood by the next run, whoever interrupted it; what was detached by hand stays with whoever did it.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $database = 'postgres';
my $node = new_server('retention_worker', conf => <<'CONF');
orchestry.databases = ''
orchestry.now = '2026-06-15 12:00:00+00'
orchestry.lock_timeout = '50 ms'
CONF
$node->safe_psql($database, <<'SQL');
CREATE EXTENSION orchestry_ext;
CREATE ROLE app LOGIN;
CREATE ROLE locked_out NOLOGIN;
CREATE SCHEMA s;
GRANT USAGE ON SCHEMA s TO app, locked_out; -- and not CREATE
SQL

# Makes s.NAME with a partition for each of the first half year's months and for the last one, and a retention policy.
# Returns the job's id.
sub make_table
{
	my ($name, %option) = @_;
	my $owner = $option{owner} // 'app';
	my $more = $option{more} // '';
	my $sql = "SET client_min_messages = warning; CREATE TABLE s.$name (at timestamptz, v int) PARTITION BY RANGE (at);\n";
	for my $month (1 .. 6)
	{
		my $next = $month + 1;
		$sql .= "CREATE TABLE s.${name}_$month PARTITION OF s.$name FOR VALUES FROM ('2026-0$month-01') TO ('2026-0$next-01');\n"
		  . "ALTER TABLE s.${name}_$month OWNER TO $owner;\n";
	}
	$sql .= "INSERT INTO s.$name SELECT timestamptz '2026-01-01' + n * interval '1 day', n FROM generate_series(0, 180) n; $more;";
	$sql .= "ALTER TABLE s.$name OWNER TO $owner; SET ROLE $owner;";
	$sql .= "SELECT orchestry.add_retention_policy('s.$name', interval '2 months', grace => '" . ($option{grace} // '7 days') . "')";
	return $node->safe_psql($database, $sql);
}

sub start
{
	my ($job) = @_;
	return $node->safe_psql($database, "SELECT orchestry.start_job($job)");
}

sub steps
{
	my ($run) = @_;
	return $node->safe_psql($database,
		"SELECT concat_ws(' ', action, regexp_replace(object, 'quarantine_[0-9]+', 'quarantine_N'), state, message) FROM orchestry.run_step WHERE run_id = $run AND action <> 'announce' ORDER BY seq");
}

sub members
{
	my ($name) = @_;
	return $node->safe_psql($database,
		"SELECT string_agg(inhrelid::regclass::text || CASE WHEN inhdetachpending THEN ' pending' ELSE '' END, ' ' ORDER BY inhrelid) FROM pg_inherits WHERE inhparent = 's.$name'::regclass");
}

sub quarantined
{
	my ($name) = @_;
	return $node->safe_psql($database,
		"SELECT string_agg(former_name || CASE WHEN detached_at IS NULL THEN ' (no grace yet)' ELSE '' END, ' ' ORDER BY former_name) FROM orchestry.quarantine WHERE former_name ~ '^s.${name}_'");
}

# --- concurrently

my $job = make_table('calm');
my $run = start($job);
is(wait_for_run($node, $database, $run), 'ok', 'a worker runs the job');
is(steps($run), join("\n", map { "detach s.calm_$_ ok detached concurrently" } 1 .. 3), 'partitions are detached concurrently');
is($node->safe_psql($database, "SELECT count(*) FROM orchestry.run_step WHERE run_id = $run AND sql ~ '^ALTER TABLE s.calm DETACH PARTITION s.orchestry_quarantine_\\d+_calm_. CONCURRENTLY;\$'"),
	3, 'and the history has the statement that was run');
is(quarantined('calm'), 's.calm_1 s.calm_2 s.calm_3', 'they are in quarantine, their grace has begun');
is(members('calm'), 's.calm_4 s.calm_5 s.calm_6', 'and the others are where they were');

# --- without a grace it is dropped right after that, unless somebody holds it meanwhile

my $hasty = make_table('hasty', grace => '0');
my $slow_reader = $node->background_psql($database);
$slow_reader->query_safe('BEGIN; SELECT count(*) FROM s.hasty WHERE at > $$2026-06-01$$;');
$run = start($hasty);
wait_until($node, $database, "SELECT count(*) = 1 FROM pg_inherits WHERE inhparent = 's.hasty'::regclass AND inhdetachpending");
$node->safe_psql($database, "SELECT orchestry.hold((SELECT relid FROM orchestry.detached_partition WHERE table_name = 'hasty_1'), 'audit')");
$slow_reader->quit;
is(wait_for_run($node, $database, $run), 'ok', 'a worker runs a policy without a grace');
is(steps($run), join("\n", 'drop s.hasty_1 ok detached concurrently; not dropped yet: hold 1 (audit) was set meanwhile',
		'drop s.hasty_2 ok detached concurrently, then dropped',
		'drop s.hasty_3 ok detached concurrently, then dropped'),
	'partitions are detached concurrently and dropped, the held one is not');
is(quarantined('hasty'), 's.hasty_1', 'but waits in quarantine');
is(members('hasty'), 's.hasty_4 s.hasty_5 s.hasty_6', 'and the others are where they were');
is($node->safe_psql($database, "SELECT count(*) FROM pg_class WHERE relname ~ 'hasty_[123]\$'"), 1, 'what was dropped is gone');
$node->safe_psql($database, "SELECT orchestry.release_hold(1, 'over')");
$run = start($hasty);
is(wait_for_run($node, $database, $run), 'ok', 'when the hold is over');
is(quarantined('hasty'), '', 'the next run drops it');

# --- readers and writers go on while a partition leaves, however long others keep their transactions open

my $busy = make_table('busy');
my $reader = $node->background_psql($database);
$reader->query_safe('BEGIN; SELECT count(*) FROM s.busy_6;');
my $parent_reader = $node->background_psql($database);
$parent_reader->query_safe("BEGIN; SELECT count(*) FROM s.busy WHERE at > '2026-06-01';");
$run = start($busy);
wait_until($node, $database, "SELECT count(*) > 0 FROM pg_stat_activity a JOIN pg_locks l USING (pid) WHERE a.backend_type = 'orchestry worker' AND NOT l.granted");
my $slowest = 0;
for my $i (1 .. 20)
{
	my $start = time;
	$node->safe_psql($database, "INSERT INTO s.busy VALUES ('2026-06-20', $i); SELECT count(*) FROM s.busy WHERE at > '2026-05-01'; UPDATE s.busy SET v = 0 WHERE at = '2026-06-20' AND v = $i;");
	my $took = time - $start;
	$slowest = $took if $took > $slowest;
}
note('slowest read and write beside a waiting detach: ' . seconds($slowest));
is($node->safe_psql($database, "SELECT count(*) FROM pg_locks WHERE relation = 's.busy'::regclass AND mode = 'AccessExclusiveLock'"), 0,
	'nobody has or wants the parent for itself');
$parent_reader->quit;
$reader->quit;
is(wait_for_run($node, $database, $run), 'ok', 'the detach ends when the old transactions have ended');
is(members('busy'), 's.busy_4 s.busy_5 s.busy_6', 'and took what was due');

# --- where CONCURRENTLY is not to be had, the plain way is taken, and it is said why

my $default = make_table('rest', more => 'CREATE TABLE s.rest_default PARTITION OF s.rest DEFAULT; ALTER TABLE s.rest_default OWNER TO app');
$run = start($default);
is(wait_for_run($node, $database, $run), 'ok', 'with a default partition');
is(steps($run), join("\n", map { "detach s.rest_$_ ok detached in one transaction" } 1 .. 3), 'it is plain');
like($node->safe_psql($database, "SELECT reason FROM orchestry.run_step WHERE run_id = $run AND seq = 2"), qr/not concurrently, because there is a default partition/, 'and why');

SKIP:
{
	skip 'workers can connect as any role', 2 if $node->pg_version >= 17;
	my $locked = make_table('locked', owner => 'locked_out');
	$run = start($locked);
	is(wait_for_run($node, $database, $run), 'ok', 'an owner without LOGIN');
	is(steps($run), join("\n", map { "detach s.locked_$_ ok detached in one transaction" } 1 .. 3), 'is served by the plain way');
}

# --- a run that is cancelled in the middle of a detach

# The reader has the parent but not the partition that is due: it is not in the way of giving that its name in quarantine.
my $torn = make_table('torn');
$reader = $node->background_psql($database);
$reader->query_safe("BEGIN; SELECT count(*) FROM s.torn WHERE at > '2026-06-10';");
$run = start($torn);
wait_until($node, $database, "SELECT bool_or(inhdetachpending) FROM pg_inherits WHERE inhparent = 's.torn'::regclass");
ok($node->safe_psql($database, "SELECT orchestry.cancel_run($run)"), 'a run is cancelled while its detach waits');
like(wait_for_run($node, $database, $run), qr/^failed\|57014/, 'it ends as cancelled');
like(members('torn'), qr/^s\.orchestry_quarantine_\d+_torn_1 pending/, 'the partition is half detached');
is(quarantined('torn'), 's.torn_1 (no grace yet)', 'and on record');
$reader->quit;
is($node->safe_psql($database, "SELECT action FROM orchestry.plan('s.torn') LIMIT 1"), 'finalize_detach', 'the next plan begins with it');
is($node->safe_psql($database, "SELECT count(*) FROM orchestry.plan('s.torn', '2036-01-01') WHERE action = 'drop'"), 0, 'and nothing of it is dropped');
$run = start($torn);
is(wait_for_run($node, $database, $run), 'ok', 'the next run');
is((split /\n/, steps($run))[0], 'finalize_detach s.orchestry_quarantine_N_torn_1 ok', 'completes it first');
is(quarantined('torn'), 's.torn_1 s.torn_2 s.torn_3', 'and its grace has begun');
is(members('torn'), 's.torn_4 s.torn_5 s.torn_6', 'nothing is left half done');

# The same through CALL, which cannot run DETACH CONCURRENTLY but can complete it.
my $torn2 = make_table('torn2');
$reader = $node->background_psql($database);
$reader->query_safe("BEGIN; SELECT count(*) FROM s.torn2 WHERE at > '2026-06-10';");
$run = start($torn2);
wait_until($node, $database, "SELECT bool_or(inhdetachpending) FROM pg_inherits WHERE inhparent = 's.torn2'::regclass");
$node->safe_psql($database, "SELECT orchestry.cancel_run($run)");
wait_for_run($node, $database, $run);
$reader->quit;
$node->safe_psql($database, "CALL orchestry.run('s.torn2')");
is(quarantined('torn2'), 's.torn2_1 s.torn2_2 s.torn2_3', 'CALL completes what a worker began');

# --- a detach by hand that was interrupted is completed, and the table stays with whoever detached it

make_table('by_hand');
$reader = $node->background_psql($database);
$reader->query_safe("BEGIN; SELECT count(*) FROM s.by_hand WHERE at > '2026-06-10';");
my ($ret, $out, $err) = $node->psql($database, "SET lock_timeout = '200 ms'; ALTER TABLE s.by_hand DETACH PARTITION s.by_hand_2 CONCURRENTLY");
like($err, qr/lock timeout/, 'a detach by hand is interrupted');
$reader->quit;
$node->safe_psql($database, "CALL orchestry.run('s.by_hand')");
is(quarantined('by_hand'), 's.by_hand_1 s.by_hand_3', 'it is completed, but not taken into quarantine');
$node->safe_psql($database, "SET orchestry.now = '2026-06-30 12:00:00+00'; CALL orchestry.run('s.by_hand')");
is($node->safe_psql($database, 'SELECT count(*) FROM s.by_hand_2'), 28, 'and never dropped');
is($node->safe_psql($database, "SELECT count(*) FROM pg_class WHERE relname ~ 'quarantine_.*_by_hand'"), 0, 'as the others are');

# --- a run that ends between giving a partition its name in quarantine and detaching it, and a hold that comes then

my $named = make_table('named');
$reader = $node->background_psql($database);
$reader->query_safe("BEGIN; SELECT count(*) FROM s.named WHERE at > '2026-06-10';");
$run = start($named);
wait_until($node, $database, "SELECT bool_or(inhdetachpending) FROM pg_inherits WHERE inhparent = 's.named'::regclass");
$node->safe_psql($database, "SELECT orchestry.cancel_run($run)");
wait_for_run($node, $database, $run);
$reader->quit;
$node->safe_psql($database, "CALL orchestry.run('s.named')");
my $third = $node->safe_psql($database, "SELECT partition FROM orchestry.quarantine WHERE former_name = 's.named_3'");
# As if the run had ended before the detach: the partition is where it was, under its name in quarantine.
$node->safe_psql($database, <<"SQL");
ALTER TABLE s.named ATTACH PARTITION $third FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');
UPDATE orchestry.detached_partition SET detached_at = NULL WHERE quarantine_name = split_part('$third', '.', 2);
SELECT orchestry.hold('$third'::regclass, 'in between');
CALL orchestry.run('s.named');
SQL
is(members('named'), 's.named_3 s.named_4 s.named_5 s.named_6', 'a partition that is not to go any more has its name back');
is(quarantined('named'), 's.named_1 s.named_2', 'and no record');

$node->stop;
done_testing();
