# R24: partitions come and go, rows are archived and events compressed by background workers, at every move of a fast clock,
# while sessions do to the same tables whatever people do: they write, read, change definitions, build indexes, detach and
# attach by hand, truncate, vacuum, hold, and run the same jobs themselves. Sessions may deadlock with each other. No deadlock
# has one of our processes in its circle: a step gives up its wait for a lock before the server looks for one. And whatever
# anybody did, in the end all jobs succeed.
#
# DURATION: how many seconds it takes at least where ORCHESTRY_LONG is set (default: 3600).
use strict;
use warnings;
use Orchestry;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $seed = random_seed();
my $duration_s = $ENV{ORCHESTRY_LONG} ? $ENV{DURATION} // 3600 : 0;
my $clients = 5;
my $transactions = 25; # of each client in a round
my $tick_s = 0.5; # of the clock, by an hour
my $database = 'postgres';
# The exit of a worker, with its pid, is in the log at this level, and that of a session with log_disconnections.
my $node = new_server('deadlock', conf => <<'CONF');
orchestry.databases = ''
orchestry.now = '2030-01-01 00:30:00+00'
orchestry.lock_attempts = 5
orchestry.history_keep_runs = 100000
autovacuum_naptime = '1 s'
log_min_messages = debug1
log_disconnections = on
deadlock_timeout = '1 s'
max_connections = 40
CONF

my @parted = qw(plain fallen keyed moved ev);
$node->safe_psql($database, <<'SQL');
CREATE EXTENSION orchestry_ext;
CREATE SCHEMA s;
CREATE TABLE s.account (id int PRIMARY KEY, v int DEFAULT 0);
INSERT INTO s.account SELECT n FROM generate_series(1, 20) n;
CREATE TABLE s.plain (id bigserial, at timestamptz NOT NULL, v int DEFAULT 1, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE s.fallen (LIKE s.plain INCLUDING ALL) PARTITION BY RANGE (at);
CREATE TABLE s.keyed (LIKE s.plain INCLUDING ALL, account int DEFAULT 1 REFERENCES s.account) PARTITION BY RANGE (at);
CREATE TABLE s.moved (LIKE s.plain INCLUDING ALL) PARTITION BY RANGE (at);
CREATE TABLE s.attic (LIKE s.plain INCLUDING INDEXES) PARTITION BY RANGE (at);
CREATE TABLE s.ev (id bigserial, at timestamptz NOT NULL, v int DEFAULT 1, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE s.line (id bigserial PRIMARY KEY, at timestamptz NOT NULL, v int DEFAULT 1);
CREATE TABLE s.fallen_default PARTITION OF s.fallen DEFAULT;
CREATE TABLE public.job AS
SELECT t, orchestry.add_partition_policy(('s.' || t)::regclass, interval '1 hour', ahead => interval '24 hours', past => interval '2 hours', schedule => '1 minute') AS id
FROM unnest('{plain,fallen,keyed,moved,ev}'::text[]) t;
INSERT INTO public.job SELECT t, orchestry.add_retention_policy(('s.' || t)::regclass, interval '4 hours', grace => interval '2 hours', schedule => '1 minute')
FROM unnest('{plain,fallen,keyed}'::text[]) t;
-- What is archived, and what is compressed, goes in the end.
INSERT INTO public.job SELECT t, orchestry.add_retention_policy(('s.' || t)::regclass, interval '12 hours', grace => '0', schedule => '1 minute') FROM unnest('{ev,attic}'::text[]) t;
INSERT INTO public.job VALUES ('moved', orchestry.add_retention_policy('s.moved', interval '4 hours', archive_to => 's.attic', schedule => '1 minute')),
    ('line', orchestry.add_retention_policy('s.line', interval '4 hours', time_column => 'at', archive_to => 's.line_archive', batch_rows => 20, schedule => '1 minute')),
    ('ev', orchestry.add_event_compression_policy('s.ev', interval '4 hours', into_table => 's.ev_hourly', schedule => '1 minute'));
-- An hour of this clock is half a second.
SELECT count(orchestry.alter_policy(id, '{"max_runtime": "100000 hours"}')) FROM public.job;
-- What sessions do to a partition, and to one detached and attached again; psql executes the lines.
CREATE VIEW public.part AS SELECT i.inhparent::regclass::text AS parent, c.oid::regclass AS name, pg_get_expr(c.relpartbound, c.oid) AS bounds
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE c.relkind = 'r';
CREATE TABLE public.clock (now timestamptz);
INSERT INTO public.clock VALUES ('2030-01-01 00:30:00+00');
SQL

my $now = '(SELECT now FROM public.clock)';
my @row_tables = (@parted, 'line');
sub one_of { return $_[ int(rand(@_)) ] }
sub some_rows { my ($t) = @_; return "(SELECT id FROM s.$t TABLESAMPLE BERNOULLI (20) LIMIT 5)" }
sub a_part { my ($t, $what) = @_; return "SELECT format(\$q\$$what\$q\$, name, bounds) FROM public.part WHERE parent = 's.$t' ORDER BY hashtext(name::text || '@{[ int(rand(1e6)) ]}') LIMIT 1 \\gexec" }

# How often each kind of transaction comes, and what it does to one table and another. Where one sleeps, its user thinks while it
# holds its locks; nobody counts on how long that takes.
my @kinds = (
	[ 8, sub { my ($t, $u) = @_; "BEGIN; INSERT INTO s.$t (at) SELECT $now - random() * interval '2 hours' + interval '30 minutes' FROM generate_series(1, 5); SELECT count(*) FROM s.$u; COMMIT;" } ],
	[ 8, sub { my ($t) = @_; "INSERT INTO s.$t (at) SELECT $now - n * interval '10 minutes' FROM generate_series(-3, 10) n;" } ],
	[ 4, sub { my ($t, $u) = @_; "BEGIN; UPDATE s.$t SET v = v + 1 WHERE id IN " . some_rows($t) . "; UPDATE s.$u SET v = v + 1 WHERE id IN " . some_rows($u) . "; COMMIT;" } ],
	[ 2, sub { my ($t) = @_; "DELETE FROM s.$t WHERE id IN " . some_rows($t) . ";" } ],
	[ 6, sub { my ($t, $u) = @_; "SELECT count(*) FROM s.$t a JOIN s.$u b USING (v) WHERE a.id < 50;" } ],
	[ 2, sub { my ($t, $u) = @_; "BEGIN; SELECT count(*) FROM s.$t; SELECT pg_sleep(0.3); SELECT count(*) FROM s.$u; COMMIT;" } ],
	[ 2, sub { my ($t) = @_; "ALTER TABLE s.$t ALTER v SET DEFAULT " . int(rand(9)) . ";" } ],
	[ 2, sub { my ($t, $u) = @_; "BEGIN; SELECT count(*) FROM s.$u; ALTER TABLE s.$t ALTER v SET STATISTICS " . int(rand(99)) . "; COMMIT;" } ],
	[ 1, sub { my ($t) = @_; "BEGIN; SELECT count(*) FROM s.$t; LOCK TABLE s.$t IN SHARE UPDATE EXCLUSIVE MODE; COMMIT;" } ],
	[ 2, sub { my ($t) = @_; my $i = 'i' . int(rand(1e9)); "CREATE INDEX $i ON s.$t (v); DROP INDEX s.$i;" } ],
	[ 1, sub { my ($t) = @_; my $i = 'i' . int(rand(1e9)); a_part($t, "CREATE INDEX CONCURRENTLY $i ON %1\$s (v)") . "\nDROP INDEX CONCURRENTLY IF EXISTS s.$i;" } ],
	[ 1, sub { my ($t) = @_; a_part($t, 'TRUNCATE %1$s') } ],
	[ 3, sub { my ($t) = @_; one_of("VACUUM s.$t;", "ANALYZE s.$t;", a_part($t, 'VACUUM (ANALYZE) %1$s'), a_part($t, 'VACUUM FULL %1$s')) } ],
	[ 2, sub { my ($t) = @_; a_part($t, "DO \$do\$ BEGIN ALTER TABLE s.$t DETACH PARTITION %1\$s; ALTER TABLE s.$t ATTACH PARTITION %1\$s %2\$s; END \$do\$") } ],
	[ 1, sub { my ($t) = @_; "BEGIN; DELETE FROM s.account WHERE id = " . int(rand(40)) . "; INSERT INTO s.account SELECT n FROM generate_series(1, 20) n ON CONFLICT DO NOTHING; SELECT count(*) FROM s.$t; COMMIT;" } ],
	[ 1, sub { my ($t, $u) = @_; "BEGIN; LOCK TABLE s.$t IN EXCLUSIVE MODE; SELECT pg_sleep(0.1); SELECT count(*) FROM s.$u; COMMIT;" } ],
	[ 1, sub { my ($t) = @_; "SELECT count(*) FROM orchestry.plan('s.$t'); SELECT count(*) FROM orchestry.explain('s.$t');" } ],
	[ 1, sub { my ($t) = @_; "SELECT orchestry.hold('s.$t', 'case', \"from\" => $now - interval '5 hours', \"to\" => $now - interval '4 hours') AS held \\gset\nSELECT orchestry.release_hold(:held, 'over');" } ],
	[ 1, sub { my ($t) = @_; "CALL orchestry.run('s.$t');" } ]);
my @bag = map { my ($weight, $make) = @$_; ($make) x $weight } @kinds;

sub transaction
{
	my $make = one_of(@bag);
	my $sql = $make->(one_of(@parted), one_of(@row_tables));
	# Most of what changes rows works on the table that is not partitioned as well.
	$sql =~ s/s\.\w+/s.line/ if $sql =~ /^(INSERT|DELETE)/ && rand() < 0.2;
	return "$sql\n";
}

# Whether each kind of job has done something by now: only then is there something to see.
my @actions = ('create', 'detach', 'drop', 'archive_rows');
my $most_rounds = 40;
sub all_were_at_work
{
	return $node->safe_psql($database, "SELECT count(DISTINCT action) FROM orchestry.run_step WHERE state = 'ok' AND action IN ('" . join("', '", @actions) . "')") == @actions;
}

my $directory = PostgreSQL::Test::Utils::tempdir();
my $start = time;
my ($rounds, $ticks, $done) = (0, 0, 0);
$node->safe_psql($database, q(ALTER SYSTEM SET orchestry.databases = 'postgres'; SELECT pg_reload_conf()));
wait_for_scheduler($node, $database);
do
{
	my $busy = "$directory/busy";
	append_to_file($busy, '');
	my $command = '';
	for my $client (1 .. $clients)
	{
		my $file = "$directory/$client.sql";
		unlink $file;
		append_to_file($file, "SET client_min_messages = error; SET lock_timeout = '5 s'; SET application_name = 'client';\n" . join('', map { transaction() } 1 .. $transactions));
		$command .= "psql -XAtq -d '" . $node->connstr($database) . "' -f $file & ";
		$done += $transactions;
	}
	my $sessions = IPC::Run::start([ 'sh', '-c', "$command wait; rm $busy" ], '<', \undef, '&>', '/dev/null');
	my $tick = time;
	while (-e $busy)
	{
		usleep(10_000);
		next if time - $tick < $tick_s;
		$tick = time;
		++$ticks;
		my $at = $node->safe_psql($database, "UPDATE public.clock SET now = now + interval '1 hour' RETURNING now");
		$node->safe_psql($database, "ALTER SYSTEM SET orchestry.now = '$at'");
		$node->safe_psql($database, 'SELECT pg_reload_conf()');
	}
	$sessions->finish;
	++$rounds;
} while (time - $start < $duration_s || ($rounds < $most_rounds && !all_were_at_work()));

# Nobody is in the way any more: what failed is done by the next run.
$node->safe_psql($database, q(ALTER SYSTEM RESET orchestry.databases; SELECT pg_reload_conf()));
wait_until($node, $database, "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type ~ 'orchestry (scheduler|worker)'");
my @late;
for my $job (split /\n/, $node->safe_psql($database, 'SELECT id FROM public.job ORDER BY id'))
{
	my ($status, undef, $stderr) = $node->psql($database, "CALL orchestry.run_job($job); CALL orchestry.run_job($job)");
	push @late, "job $job: $stderr" if $status != 0;
}
is(join("\n", @late), '', 'in the end all jobs succeed');

# Each deadlock in the log, with whose processes were in its circle.
my $log = slurp_file($node->logfile);
# In an hour the system gives the same pid to many processes: it is that of the one which ends next.
my (%exits, $workers);
while ($log =~ /background worker "orchestry \w+" \(PID (\d+)\) exited|\[(\d+)\] client backend LOG:  disconnection/g)
{
	push @{ $exits{ $1 // $2 } }, { at => $-[0], is_ours => defined $1 };
	++$workers if defined $1;
}
sub is_ours
{
	my ($pid, $at) = @_;
	my ($end) = grep { $_->{at} > $at } @{ $exits{$pid} // [] };
	return $end && $end->{is_ours};
}
my ($theirs, @with_us) = (0);
while ($log =~ /ERROR:  deadlock detected\n.*?DETAIL:  (.*?\n(?:\t.*\n)+)/g)
{
	my ($circle, $at) = ($1, $-[0]);
	my @pids = $circle =~ /Process (\d+) waits/g;
	my $is_ours = grep { is_ours($_, $at) || $circle =~ /Process $_: CALL orchestry/ } @pids;
	if ($is_ours) { push @with_us, $circle }
	else { ++$theirs }
}
my $steps = $node->safe_psql($database, "SELECT string_agg(action || ' ' || n, ', ' ORDER BY action) FROM (SELECT action, count(*) AS n FROM orchestry.run_step WHERE state = 'ok' GROUP BY 1) x");
my $states = $node->safe_psql($database, "SELECT string_agg(state || ' ' || COALESCE(sqlstate, '') || ' ' || n, ', ') FROM (SELECT state, sqlstate, count(*) AS n FROM orchestry.run GROUP BY 1, 2) x");
diag("$done transactions of $clients sessions in $rounds rounds, $ticks hours of the clock, $workers workers; $steps");
diag("runs: $states; deadlocks among sessions: $theirs, with us: @{[ scalar @with_us ]}");
is(join("\n", @with_us), '', 'no deadlock has one of our processes in its circle');
cmp_ok($workers, '>', 5, 'workers were at work');
for my $action (@actions)
{
	like($steps, qr/\b$action \d/, "in between, steps of kind $action were done");
}
is($node->safe_psql($database, "SELECT count(*) FROM orchestry.run WHERE state IN ('queued', 'waiting', 'running', 'crashed')"), 0, 'every run has ended, by itself');
is(count_log($node, 'PANIC|TRAP|terminated by signal|WARNING:.*(leak|refcount|not closed)'), 0, 'the log is clean');

$node->stop;
done_testing();
