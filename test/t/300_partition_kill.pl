# R03: kill -9 of a worker, the scheduler, the launcher or the postmaster at random points while partitions are made for
# several tables. Each time the server comes back and the next run converges; in the end there is no gap, no overlap, no
# partition that differs from its siblings, no table too many, and every run has ended.
use strict;
use warnings;
use Orchestry;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

random_seed();
my $kills = long_count(20, 200);
my $database = 'postgres';
my $start_of_time = "timestamptz '2030-01-01 00:30:00+00'";
my $node = new_server('partition_kill', init => { extra => ['--data-checksums'] }, conf => <<'CONF');
log_min_messages = log
orchestry.history_keep_runs = 1000000
orchestry.history_keep = '20000 d'
orchestry.now = '2030-01-01 00:30:00+00'
CONF

# Tables with all that a partition has to be given. An owner without LOGIN is served by other code below 16.
$node->safe_psql($database, <<'SQL');
CREATE EXTENSION orchestry_ext;
CREATE ROLE app LOGIN; CREATE ROLE other LOGIN; CREATE ROLE locked_out NOLOGIN; CREATE ROLE reader;
CREATE SCHEMA s; GRANT CREATE, USAGE ON SCHEMA s TO app, other, locked_out;
SET ROLE app;
CREATE TABLE s.account (id int PRIMARY KEY);
CREATE TABLE s.events (id bigint NOT NULL, at timestamptz NOT NULL, kind text DEFAULT 'none', account int REFERENCES s.account,
    note text, CHECK (id > 0), PRIMARY KEY (at, id)) PARTITION BY RANGE (at);
CREATE INDEX ON s.events (kind) WHERE kind <> 'none';
COMMENT ON TABLE s.events IS 'What happened';
COMMENT ON COLUMN s.events.kind IS 'Its kind';
ALTER TABLE s.events ALTER COLUMN kind SET STATISTICS 500;
CREATE STATISTICS s.events_kind ON kind, account FROM s.events;
CREATE FUNCTION s.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER touch BEFORE INSERT ON s.events FOR EACH ROW EXECUTE FUNCTION s.touch();
GRANT SELECT ON s.events TO reader;
GRANT UPDATE (note) ON s.events TO reader;
ALTER TABLE s.events ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON s.events FOR SELECT TO reader USING (kind = 'public');
ALTER TABLE s.events REPLICA IDENTITY USING INDEX events_pkey;
CREATE TABLE s.events_default PARTITION OF s.events DEFAULT;
CREATE TABLE s.measures (day date NOT NULL, value float8) PARTITION BY RANGE (day);
CREATE INDEX ON s.measures (day, value);
ALTER TABLE s.measures REPLICA IDENTITY FULL;
SET ROLE other;
CREATE TABLE s.clicks (at_ms bigint NOT NULL, url text) PARTITION BY RANGE (at_ms);
CREATE INDEX ON s.clicks (url);
CREATE TABLE s.traces (id uuid PRIMARY KEY, body text) PARTITION BY RANGE (id);
GRANT ALL ON s.traces TO reader WITH GRANT OPTION;
SET ROLE locked_out;
CREATE TABLE s.logs (at timestamp NOT NULL, line text) PARTITION BY RANGE (at);
CREATE INDEX ON s.logs (at);
RESET ROLE;
CREATE TABLE public.policy (parent regclass, job_id bigint, ahead interval);
INSERT INTO public.policy VALUES
    ('s.events', orchestry.add_partition_policy('s.events', '1 day', '3 days', schedule => '1 minute'), '3 days'),
    ('s.measures', orchestry.add_partition_policy('s.measures', '1 week', '3 weeks', schedule => '1 minute'), '3 weeks'),
    ('s.clicks', orchestry.add_partition_policy('s.clicks', '12 hours', '2 days', key_unit => 'ms', schedule => '1 minute'), '2 days'),
    ('s.traces', orchestry.add_partition_policy('s.traces', '1 day', '3 days', schedule => '1 minute'), '3 days'),
    ('s.logs', orchestry.add_partition_policy('s.logs', '6 hours', '1 day', schedule => '1 minute'), '1 day');

-- Partitions with their bounds as times, read from what the server prints and not by our own code.
CREATE FUNCTION public.uuid_time(text) RETURNS timestamptz LANGUAGE sql AS
    $$ SELECT to_timestamp(('x' || left(replace($1, '-', ''), 12))::bit(48)::bigint / 1000.0) $$;
CREATE VIEW public.member AS
SELECT parent, partition,
       CASE key WHEN 'bigint' THEN to_timestamp(b[1]::bigint / 1000) WHEN 'uuid' THEN uuid_time(b[1]) ELSE b[1]::timestamptz END AS lower_at,
       CASE key WHEN 'bigint' THEN to_timestamp(b[2]::bigint / 1000) WHEN 'uuid' THEN uuid_time(b[2]) ELSE b[2]::timestamptz END AS upper_at
FROM (SELECT i.inhparent::regclass AS parent, c.oid::regclass AS partition, format_type(a.atttypid, -1) AS key,
             regexp_match(pg_get_expr(c.relpartbound, c.oid), $re$FROM \('?([^')]+)'?\) TO \('?([^')]+)'?\)$re$) AS b
      FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_partitioned_table t ON t.partrelid = i.inhparent
      JOIN pg_attribute a ON a.attrelid = t.partrelid AND a.attnum = t.partattrs[0]) x
WHERE b IS NOT NULL;

-- Everything about a partition that must be the same for all partitions of a table.
CREATE FUNCTION public.shape(r regclass) RETURNS text LANGUAGE sql AS $$
SELECT concat_ws(E'\n',
    (SELECT format('owner %s acl %s rls %s %s identity %s %s options %s comment %s statistics %s', relowner::regrole, relacl, relrowsecurity,
                   relforcerowsecurity, relreplident, relpersistence, reloptions, obj_description(oid, 'pg_class'),
                   (SELECT count(*) FROM pg_statistic_ext WHERE stxrelid = r))
     FROM pg_class WHERE oid = r),
    (SELECT string_agg(format('column %s %s %s %s %s %s %s %s', attname, format_type(atttypid, atttypmod), attnotnull, attstattarget, attacl,
                              attstorage, col_description(attrelid, attnum), pg_get_expr(adbin, adrelid)), E'\n' ORDER BY attnum)
     FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE attrelid = r AND attnum > 0),
    (SELECT string_agg(format('index %s %s %s %s %s', inhparent::regclass, indisvalid, indisready, indisreplident,
                              regexp_replace(pg_get_indexdef(indexrelid), '^.* USING ', '')), E'\n' ORDER BY inhparent, indexrelid)
     FROM pg_index LEFT JOIN pg_inherits ON inhrelid = indexrelid WHERE indrelid = r),
    (SELECT string_agg(format('constraint %s %s %s', pg_get_constraintdef(oid), convalidated, conparentid <> 0), E'\n'
                       ORDER BY contype, pg_get_constraintdef(oid)) FROM pg_constraint WHERE conrelid = r),
    (SELECT string_agg(format('policy %s %s %s %s', polname, polcmd, polroles::regrole[], pg_get_expr(polqual, polrelid)), E'\n' ORDER BY polname)
     FROM pg_policy WHERE polrelid = r),
    (SELECT string_agg(format('trigger %s %s', tgfoid::regproc, tgenabled), E'\n' ORDER BY tgfoid, tgtype) FROM pg_trigger WHERE tgrelid = r))
$$;
-- What the setup made is what later partitions are compared with.
CREATE TABLE public.template AS SELECT parent, (array_agg(partition ORDER BY lower_at))[1] AS partition, min(lower_at) AS lower_at,
    array_agg(partition) AS made FROM public.member GROUP BY parent;
SQL

# The clock moves only when we say so. One round makes about two dozen partitions.
my $minutes = 0;
my $round_minutes = 3 * 24 * 60;
my $undisturbed = 0; # seconds that one takes when nobody is killed

sub move_clock
{
	my ($more) = @_;
	$minutes += $more;
	my $now = $node->safe_psql($database, "SELECT $start_of_time + interval '$minutes min'");
	$node->safe_psql($database, "ALTER SYSTEM SET orchestry.now = '$now'");
	$node->safe_psql($database, 'SELECT pg_reload_conf()');
	return;
}

# A crash may leave a gap behind: what is nearest to now is made first, and the clock goes on. The next run fills it.
my $holes_sql = <<'SQL';
SELECT 1 FROM (SELECT lower_at, lag(upper_at) OVER (PARTITION BY parent ORDER BY lower_at) AS previous FROM public.member) m
WHERE previous <> lower_at
SQL

# All tables are covered from the first partition to now + ahead without a gap or an overlap, and all runs have ended.
sub converged_sql
{
	return <<"SQL";
SELECT NOT EXISTS (SELECT FROM public.policy p WHERE COALESCE((SELECT max(upper_at) FROM public.member m WHERE m.parent = p.parent)
           < $start_of_time + interval '$minutes min' + p.ahead, true))
   AND NOT EXISTS ($holes_sql)
   AND NOT EXISTS (SELECT FROM orchestry.run WHERE state IN ('queued', 'waiting', 'running'))
SQL
}

sub slurp_quietly
{
	my ($path) = @_;
	open(my $file, '<', $path) or return '';
	local $/;
	return scalar <$file> // '';
}

# Children of the postmaster, as [pid, title], found without asking the server.
sub children
{
	my $postmaster = $node->{_pid};
	my @found;
	for my $task (split ' ', slurp_quietly("/proc/$postmaster/task/$postmaster/children"))
	{
		my ($title) = split /\0/, slurp_quietly("/proc/$task/cmdline");
		push @found, [ $task, $title // '' ];
	}
	return @found;
}

sub find_children
{
	my ($pattern) = @_;
	return map { $_->[0] } grep { $_->[1] =~ $pattern } children();
}

my %titles = (
	worker => qr/orchestry worker/,
	scheduler => qr/orchestry scheduler/,
	launcher => qr/orchestry launcher/,
	checkpointer => qr/checkpointer/);

sub wait_for_end
{
	my ($pid) = @_;
	usleep(1000) while kill(0, $pid) && slurp_quietly("/proc/$pid/stat") !~ /\) Z/;
	return;
}

# Kills one process of the kind at a random point of the work that the last move of the clock has caused. Workers come and
# go: when the moment has no more of them, the clock makes new work.
sub strike_any
{
	my ($kind) = @_;
	for (1 .. 20)
	{
		if ($kind eq 'worker')
		{
			my $deadline = time + 1;
			usleep(500) until find_children($titles{worker}) || time > $deadline;
		}
		usleep(int(rand($undisturbed) * 1_000_000));
		my @victims = find_children($titles{$kind});
		my $victim = @victims ? $victims[ int(rand(@victims)) ] : 0;
		return $victim if $victim && kill 'KILL', $victim;
		move_clock($round_minutes);
	}
	die "there is no $kind to kill";
}

# SIGKILL of the postmaster, and of its children as an operator would who wants to start it again. The lock file stays:
# it is what keeps a second server out.
sub strike_postmaster
{
	usleep(int(rand($undisturbed) * 1_000_000));
	my @children = map { $_->[0] } children();
	my $postmaster = $node->{_pid};
	$node->kill9;
	usleep(int(rand(20_000)));
	kill 'KILL', @children;
	wait_for_end($_) for @children;
	usleep(1000) while kill(0, $postmaster); # even as a zombie it would look alive to the next one
	$node->start;
	return;
}

sub wait_until_accepting
{
	my ($victim) = @_;
	# Until the crash has been noticed the server still accepts.
	wait_for_end($victim) if $victim;
	usleep(10_000) until IPC::Run::run([ 'pg_isready', '-q', '-h', $node->host, '-p', $node->port ]);
	return;
}

# How long an undisturbed round takes, so that the kills hit all of it and little beyond.
wait_for_scheduler($node, $database);
for (1 .. 2) # the first one warms up
{
	move_clock($round_minutes);
	$undisturbed = wait_until($node, $database, converged_sql());
}
note('an undisturbed round takes ' . seconds($undisturbed));

my @kinds = ((('worker') x 9), (('scheduler') x 4), (('launcher') x 2), (('postmaster') x 4), 'checkpointer');
my (%killed, @recovery, @convergence);
my $not_converged = 0;
for my $round (1 .. $kills)
{
	my $kind = $kinds[ int(rand(@kinds)) ];
	move_clock($round_minutes);
	my $victim = $kind eq 'postmaster' ? strike_postmaster() : strike_any($kind);
	$killed{$kind}++;
	my $start = time;
	wait_until_accepting($victim);
	push @recovery, time - $start unless $kind eq 'postmaster'; # there it depends on who starts it

	# The next run comes after the pause that a crash is followed by.
	move_clock(10);
	$start = time;
	if (!$node->poll_query_until($database, converged_sql()))
	{
		$not_converged++;
		diag("round $round ($kind): " . $node->safe_psql($database,
			'SELECT job_id, state, next_run_at, last_state, failures FROM orchestry.jobs'));
	}
	push @convergence, time - $start;
}

sub spread
{
	my @sorted = sort { $a <=> $b } @_;
	return sprintf('median %.2f s, longest %.2f s', $sorted[ $#sorted / 2 ], $sorted[-1]);
}
note("$kills kills: " . join(', ', map { "$_ $killed{$_}" } sort keys %killed));
note('the server accepts again: ' . spread(@recovery));
note('the next run has converged: ' . spread(@convergence));
my $states = $node->safe_psql($database,
	q(SELECT string_agg(state || ' ' || n, ', ' ORDER BY state) FROM (SELECT state, sum(repeated) n FROM orchestry.run GROUP BY state) s));
note("runs: $states");
cmp_ok($node->safe_psql($database, q(SELECT count(*) FROM orchestry.run WHERE state = 'crashed')),
	'>', 0, 'some kills hit a run');

is($not_converged, 0, "the next run converged after each of $kills kills: all of the runway, no gap, no overlap");
is( $node->safe_psql($database, <<'SQL'), '', 'every partition looks like the first of its table');
SELECT string_agg(m.partition::text, ', ') FROM public.member m JOIN public.template t USING (parent)
WHERE shape(m.partition) IS DISTINCT FROM shape(t.partition)
SQL
is( $node->safe_psql($database, <<'SQL'), '', 'no table that is neither partitioned nor a partition');
SELECT string_agg(c.oid::regclass::text, ', ') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'orchestry')
AND NOT c.relispartition AND c.oid NOT IN (SELECT parent FROM public.policy)
AND c.oid NOT IN ('s.account'::regclass, 'public.policy'::regclass, 'public.template'::regclass)
SQL
is( $node->safe_psql($database, q(SELECT count(*) FROM pg_inherits WHERE inhdetachpending)), '0', 'no detach is pending');
is( $node->safe_psql($database, <<'SQL'), '', 'every parent index has exactly one valid index in each partition');
SELECT string_agg(format('%s of %s', p.indexrelid::regclass, m.partition), ', ')
FROM pg_index p JOIN public.member m ON m.parent = p.indrelid
WHERE (SELECT count(*) FROM pg_inherits h JOIN pg_index c ON c.indexrelid = h.inhrelid AND c.indisvalid
       WHERE h.inhparent = p.indexrelid AND c.indrelid = m.partition) <> 1
SQL
is( $node->safe_psql($database, <<"SQL"), '', 'no table has more partitions than its policy asks for');
SELECT string_agg(p.parent::text, ', ') FROM public.policy p
WHERE (SELECT max(lower_at) FROM public.member m WHERE m.parent = p.parent) > $start_of_time + interval '$minutes min' + p.ahead
SQL
is( $node->safe_psql($database, q(SELECT count(*) FROM orchestry.run WHERE state IN ('queued', 'waiting', 'running') OR finished_at IS NULL)),
	'0', 'every run has ended');
is( $node->safe_psql($database, q(SELECT count(*) FROM orchestry.run WHERE state NOT IN ('ok', 'noop', 'skipped', 'crashed'))),
	'0', 'ok, noop or skipped, or crashed with its process; none failed by itself');
is( $node->safe_psql($database, <<'SQL'), '0', 'every partition was recorded by exactly one step, and every step has made one');
SELECT count(*) FROM (SELECT m.partition FROM public.member m JOIN public.template t USING (parent) WHERE m.partition <> ALL (t.made)) made
FULL JOIN (SELECT to_regclass(object) AS partition, count(*) AS n FROM orchestry.run_step WHERE action = 'create' AND state = 'ok' GROUP BY 1) step
USING (partition) WHERE step.n IS DISTINCT FROM 1 OR made.partition IS NULL
SQL
is( $node->safe_psql($database, <<'SQL'), '0', 'the failures of each job are forgotten, nothing is held');
SELECT (SELECT count(*) FROM orchestry.jobs WHERE failures <> 0) + (SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE a.backend_type = 'orchestry worker')
SQL
is(count_log($node, qr/PANIC|TRAP|signal (6|11)\b|could not (open|read) (file|block)/), 0, 'the log has nothing worse than the kills');

SKIP:
{
	skip 'amcheck is not installed', 1
	  if $node->safe_psql($database, q(SELECT count(*) FROM pg_available_extensions WHERE name = 'amcheck')) eq '0';
	$node->safe_psql($database, 'CREATE EXTENSION amcheck');
	my ($status, $out, $err) = $node->psql($database, <<'SQL');
SELECT count(*), count(bt_index_check(c.oid, c.relpersistence <> 't')) FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid
WHERE c.relam = 403 AND c.relkind = 'i' AND i.indisvalid AND c.relpersistence <> 't'
SQL
	ok($status == 0, 'amcheck finds nothing in any btree index: ' . ($status == 0 ? (split /\|/, $out)[0] . ' indexes' : $err));
}
$node->stop;
command_ok([ 'pg_checksums', '--check', '-D', $node->data_dir ], 'all pages have the right checksum');
done_testing();
