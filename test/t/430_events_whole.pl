# Large partitions that are old enough are compressed as a whole: summed up by a parallel query beside everybody, and
# emptied in the same transaction, under a lock that keeps rows from coming, if nothing has changed. What it comes to is
# what row by row comes to; kill -9 at random points of it loses nothing and doubles nothing; beside readers, writers and
# older snapshots, with a hold, a trigger or a foreign key the rows go one by one.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

$SIG{PIPE} = 'IGNORE'; # writing to a client whose server was killed must not end the test
random_seed();
my $kills = long_count(4, 100);
my $rows = long_count(30_000, 150_000); # of each of two partitions
my $database = 'postgres';
my $node = new_server('events_whole', init => { extra => ['--data-checksums'] }, conf => <<'CONF');
orchestry.databases = ''
orchestry.now = '2026-06-15 12:34:00+00'
orchestry.history_keep_runs = 1000000
orchestry.lock_timeout = '60 s' # for slow machines
autovacuum = off
max_wal_size = '4 GB'
max_parallel_workers_per_gather = 2
parallel_setup_cost = 0
work_mem = '1 MB'
CONF
$node->safe_psql($database, <<"SQL");
CREATE EXTENSION orchestry_ext;
CREATE ROLE app LOGIN;
CREATE SCHEMA s AUTHORIZATION app;
SET ROLE app;
CREATE TABLE s.ev (at timestamptz NOT NULL, app text, severity text, message text) PARTITION BY RANGE (at);
-- Bounds that are in the middle of a bucket.
CREATE TABLE s.ev_03 PARTITION OF s.ev FOR VALUES FROM ('2026-03-01') TO ('2026-04-01 00:30');
CREATE TABLE s.ev_04 PARTITION OF s.ev FOR VALUES FROM ('2026-04-01 00:30') TO ('2026-05-01');
CREATE TABLE s.ev_05 PARTITION OF s.ev FOR VALUES FROM ('2026-05-01') TO ('2026-06-01');
CREATE TABLE s.ev_rest PARTITION OF s.ev DEFAULT;
CREATE INDEX ON s.ev (at);
SET client_min_messages = error;
SELECT orchestry.add_event_compression_policy('s.ev', '20 days', group_by => '{app}', count_values_of => 'severity', sample_of => 'message', samples => 2);
CREATE TABLE s.expected (hour timestamptz, app text, severity text, n bigint, UNIQUE NULLS NOT DISTINCT (hour, app, severity));
CREATE FUNCTION s.feed(seed float8) RETURNS void LANGUAGE sql AS \$\$
    SELECT setseed(seed);
    WITH new AS (INSERT INTO s.ev SELECT '2026-03-01'::timestamptz + random() * interval '61 days', CASE WHEN random() < 0.1 THEN NULL ELSE 'app ' || i % 3 END,
            CASE WHEN random() < 0.1 THEN NULL ELSE (ARRAY['info', 'error'])[1 + i % 2] END, repeat('message ', 30) || i % 500
        FROM generate_series(1, 2 * $rows) i UNION ALL SELECT t, 'app 0', 'rest', 'row by row' FROM unnest('{2026-01-01,2026-05-10,2026-06-14}'::timestamptz[]) t RETURNING *)
    INSERT INTO s.expected AS e SELECT date_trunc('hour', at, 'UTC'), app, severity, count(*) FROM new GROUP BY 1, 2, 3
    ON CONFLICT (hour, app, severity) DO UPDATE SET n = e.n + EXCLUDED.n;
\$\$;
CREATE VIEW s.found AS
SELECT hour, app, severity, sum(n) AS n FROM (
    SELECT date_trunc('hour', at, 'UTC') AS hour, app, severity, 1::numeric AS n FROM s.ev
    UNION ALL SELECT bucket, app, c.key, c.value::numeric FROM s.ev_compressed, jsonb_each_text(severity_counts) c
    UNION ALL SELECT bucket, app, NULL, event_count - (SELECT COALESCE(sum(c.value::numeric), 0) FROM jsonb_each_text(severity_counts) c) FROM s.ev_compressed) f
GROUP BY hour, app, severity HAVING sum(n) <> 0;
CREATE VIEW s.damage AS SELECT count(*) AS n FROM ((TABLE s.expected EXCEPT TABLE s.found) UNION ALL (TABLE s.found EXCEPT TABLE s.expected)) d;
-- The newest two messages of each bucket, from rows that are there.
CREATE VIEW s.newest AS
SELECT hour, app, array_agg(message ORDER BY place) AS messages FROM (
    SELECT *, row_number() OVER (PARTITION BY hour, app ORDER BY at DESC, message COLLATE "C") AS place FROM (
        SELECT date_trunc('hour', at, 'UTC') AS hour, app, message, max(at) AS at FROM s.ev GROUP BY 1, 2, 3) m) p
WHERE place <= 2 GROUP BY 1, 2;
SQL
my $job = $node->safe_psql($database, "SELECT job_id FROM orchestry.jobs WHERE kind = 'events'");
sub feed { $node->safe_psql($database, 'SELECT s.feed(' . (rand(2) - 1) . ')'); return; }
sub planned { return $node->safe_psql($database, "SELECT action, object FROM orchestry.plan('s.ev') WHERE action <> 'leave' ORDER BY seq"); }
sub last_steps { return $node->safe_psql($database, "SELECT s.action, s.object, s.state FROM orchestry.run_steps s WHERE s.run_id = (SELECT max(run_id) FROM orchestry.runs WHERE state = 'ok') ORDER BY seq"); }

feed();
my $whole = "compress partition|s.ev_03\ncompress partition|s.ev_04\ncompress|s.ev\ncompress|s.ev";
is(planned(), $whole, 'large partitions are to be taken as a whole, the rest row by row');
$node->safe_psql($database, 'CREATE TABLE s.first_newest AS TABLE s.newest');
my $start = time;
$node->safe_psql($database, "CALL orchestry.run_job($job)");
my $work_s = time - $start;
note('a run takes ' . seconds($work_s));
is(last_steps(), $whole =~ s/$/|ok/gmr, 'and so they are');
is($node->safe_psql($database, 'TABLE s.damage'), 0, 'every event is counted once');
is($node->safe_psql($database, "SELECT count(*), min(at) FROM s.ev"), '1|2026-06-14 00:00:00+00', 'what is left is younger');
is($node->safe_psql($database, <<'SQL'), 0, 'the samples are the newest two, also where partitions meet');
SELECT count(*) FROM s.first_newest n FULL JOIN s.ev_compressed h ON n.hour = h.bucket AND n.app IS NOT DISTINCT FROM h.app WHERE n.messages IS DISTINCT FROM h.sample_messages AND n.hour < '2026-05-26 12:00'
SQL
is($node->safe_psql($database, "SELECT pg_relation_size('s.ev_03') + pg_relation_size('s.ev_04')"), 0, 'the space of the partitions is free');
$node->safe_psql($database, "INSERT INTO s.ev VALUES ('2026-03-03 03:03', 'app 0', 'late', 'late'); INSERT INTO s.expected VALUES ('2026-03-03 03:00', 'app 0', 'late', 1)");
is(planned(), 'compress|s.ev', 'a late event finds its partition, and goes row by row');
$node->safe_psql($database, "CALL orchestry.run_job($job)");
is($node->safe_psql($database, 'TABLE s.damage'), 0, 'and is counted');

# What stops it.
feed();
$node->safe_psql($database, "SELECT orchestry.hold('s.ev', 'a part', \"where\" => 'app = ''app 0''')");
unlike(planned(), qr/partition/, 'held rows: row by row');
$node->safe_psql($database, "SELECT orchestry.release_hold(hold_id, 'over') FROM orchestry.holds");
$node->safe_psql($database, 'CREATE FUNCTION s.t() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN OLD; END $$; ALTER FUNCTION s.t() OWNER TO app; CREATE TRIGGER t BEFORE DELETE ON s.ev_03 FOR EACH ROW EXECUTE FUNCTION s.t()');
like(planned(), qr/^compress partition\|s.ev_04\ncompress\|s.ev\n/, 'a trigger: it sees each row');
unlike(planned(), qr/ev_03/, 'of its partition');
$node->safe_psql($database, 'DROP TRIGGER t ON s.ev_03');

# Beside others the rows go one by one, and nobody waits.
sub run_beside { $node->safe_psql($database, "SET orchestry.lock_timeout = '2 s'; CALL orchestry.run_job($job)"); return; }
sub last_messages { return $node->safe_psql($database, "SELECT s.object, s.state, regexp_replace(s.message, 'into \\d+ rows of s.ev_compressed; ', '') FROM orchestry.run_steps s WHERE s.run_id = (SELECT max(run_id) FROM orchestry.runs WHERE state = 'ok') AND s.action = 'compress partition' ORDER BY seq"); }
my $reader = $node->background_psql($database);
$reader->query_safe('BEGIN; SELECT count(*) FROM s.ev_03');
# Those who write to it wait then, and must not come to look for a deadlock.
$node->safe_psql($database, "SET statement_timeout = '40 s'; CALL orchestry.run_job($job)");
like(last_messages(), qr/^s.ev_03\|ok\|row by row, since others read it for longer than half of deadlock_timeout/m, 'a reader: one by one');
is($node->safe_psql($database, 'SELECT count(*) FROM s.ev_03'), 0, 'they are gone');
is($node->safe_psql($database, 'TABLE s.damage'), 0, 'and counted');
$reader->query_safe('COMMIT');
feed();
my $writer = $node->background_psql($database);
$writer->query_safe("BEGIN; INSERT INTO s.ev VALUES ('2026-03-03 03:03', 'app 0', 'writer', 'writer'); INSERT INTO s.expected VALUES ('2026-03-03 03:00', 'app 0', 'writer', 1)");
run_beside();
like(last_messages(), qr/^s.ev_03\|ok\|row by row, since others use it for longer than orchestry.lock_timeout$/m, 'a writer: likewise');
is($node->safe_psql($database, 'TABLE s.damage'), 0, 'nothing is lost');
$writer->query_safe('COMMIT');
feed();
$reader->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
my $seen = 'SELECT (SELECT count(*) FROM s.ev), (SELECT sum(event_count) FROM s.ev_compressed)';
my $before = $reader->query_safe('SELECT sum(event_count) FROM s.ev_compressed');
my $events = $node->safe_psql($database, 'SELECT count(*) FROM s.ev');
run_beside();
is(last_messages(), "s.ev_03|ok|row by row, since sessions have snapshots that are older\ns.ev_04|ok|row by row, since sessions have snapshots that are older", 'an older snapshot: likewise');
is($reader->query_safe($seen), "$events|$before", 'it has the events that it has no counts of');
$reader->query_safe('COMMIT');
is($node->safe_psql($database, 'TABLE s.damage'), 0, 'later ones have the counts');

# While a partition is summed up and stored, writers do not wait; what they have done sends the step row by row.
$node->safe_psql($database, <<'SQL');
CREATE FUNCTION s.stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END $$;
ALTER FUNCTION s.stop() OWNER TO app;
CREATE TRIGGER stop BEFORE INSERT ON s.ev_compressed FOR EACH STATEMENT EXECUTE FUNCTION s.stop();
SQL
# Runs the job, and $during when what s.ev_03 comes to is known and not yet stored.
sub run_and_meanwhile
{
	my ($during) = @_;
	$writer->query_safe('SELECT pg_advisory_lock(1)');
	my $runner = $node->background_psql($database);
	$runner->{stdin} .= "CALL orchestry.run_job($job);\n";
	$runner->{run}->pump_nb;
	wait_until($node, $database, "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted");
	$writer->query_safe($_) for @$during;
	is($node->safe_psql($database, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"), 1, 'nobody waits for the step while the partition is summed up');
	$writer->query_safe('SELECT pg_advisory_unlock(1)');
	$runner->query_safe('SELECT 1');
	$runner->quit;
	return;
}
my $one = 'ctid = (SELECT min(ctid) FROM s.ev_03)';
my $late = "WITH new AS (INSERT INTO s.ev VALUES ('2026-03-03 03:03', 'app 0', 'late', 'late')) UPDATE s.expected SET n = n + 1 WHERE (hour, app, severity) = ('2026-03-03 03:00', 'app 0', 'late')";
for my $case ([ 'an update', "UPDATE s.ev_03 SET message = 'changed' WHERE $one" ],
	[ 'an update of a page that is all-visible', "UPDATE s.ev_03 SET message = 'changed' WHERE $one" ],
	[ 'a row that is another one', "WITH gone AS (DELETE FROM s.ev_03 WHERE $one RETURNING *) INSERT INTO s.ev_03 SELECT * FROM gone" ],
	[ 'a late row', $late ],
	[ 'a late row beside pages that are all-visible, and VACUUM', $late, 'VACUUM (FREEZE) s.ev_03' ],
	[ 'a row that goes, and VACUUM', "WITH gone AS (DELETE FROM s.ev_03 WHERE $one RETURNING *) UPDATE s.expected e SET n = n - 1 FROM gone
		WHERE (e.hour, e.app, e.severity) IS NOT DISTINCT FROM (date_trunc('hour', gone.at, 'UTC'), gone.app, gone.severity)",
		'DELETE FROM s.expected WHERE n = 0', 'VACUUM (FREEZE) s.ev_03' ])
{
	my ($name, @changes) = @$case;
	feed();
	$node->safe_psql($database, 'VACUUM s.ev_03') if $name =~ /all-visible|goes/;
	run_and_meanwhile(\@changes);
	like(last_messages(), qr/^s.ev_03\|ok\|row by row, since rows came or changed while it was summed up$/m, "$name: the rows go one by one");
	unlike(last_messages(), qr/^s.ev_04.*row by row/m, 'those of the other partition do not');
	is($node->safe_psql($database, 'SELECT count(*) FROM s.ev_03'), 0, 'they are gone');
	is($node->safe_psql($database, 'TABLE s.damage'), 0, 'and counted as they were at last');
}
# What leaves every row as it was does not matter, whether VACUUM has seen the pages or not.
for my $vacuum ('', 'VACUUM s.ev_03')
{
	feed();
	$node->safe_psql($database, $vacuum);
	run_and_meanwhile([ "BEGIN; DELETE FROM s.ev_03 WHERE $one; INSERT INTO s.ev VALUES ('2026-03-03 03:03', 'app 0', 'late', 'late'); ROLLBACK",
		"BEGIN; INSERT INTO s.ev VALUES ('2026-03-03 03:03', 'app 0', 'late', 'late'); DELETE FROM s.ev_03 WHERE message = 'late'; COMMIT",
		"BEGIN; SELECT count(*) FROM (SELECT FROM s.ev_03 WHERE $one FOR UPDATE) s; COMMIT" ]);
	unlike(last_messages(), qr/row by row/, 'rows that are locked, and changes that are undone: as a whole');
	is($node->safe_psql($database, 'TABLE s.damage'), 0, 'and counted');
}
$node->safe_psql($database, 'DROP TRIGGER stop ON s.ev_compressed');
$_->quit for $reader, $writer;
feed();
$node->safe_psql($database, "CALL orchestry.run_job($job)");
is(last_steps(), $whole =~ s/$/|ok/gmr, 'later it is done');
unlike(last_messages(), qr/row by row/, 'as a whole');
is($node->safe_psql($database, 'TABLE s.damage'), 0, 'with the event of the writer');

my ($damage, $unfinished) = (0, 0);
my $tries = until_struck($kills, $work_s, sub
{
	my ($delay_s) = @_;
	feed();
	$node->safe_psql($database, 'VACUUM s.ev_03, s.ev_04') if rand() < 0.5;
	my $in_worker = rand() < 0.5;
	my $session;
	if ($in_worker)
	{
		$node->safe_psql($database, "SELECT orchestry.start_job($job)");
	}
	else
	{
		$session = $node->background_psql($database, on_error_stop => 0);
		$session->{stdin} .= "CALL orchestry.run_job($job);\n";
		$session->{run}->pump_nb;
	}
	my $struck = strike($node, $in_worker ? qr/orchestry worker/ : qr/ CALL/, $delay_s);
	eval { $session->{run}->kill_kill; } if $session;
	wait_for_recovery($node, $database);
	$damage += $node->safe_psql($database, 'TABLE s.damage');
	++$unfinished if $node->safe_psql($database, "SELECT count(*) FROM s.ev WHERE at < '2026-05-01'") > 0;
	return $struck;
});
diag("$kills kills in $tries runs; $unfinished left something to do");
cmp_ok($unfinished, '>', 0, 'some of them in the middle of a run');
is($damage, 0, "after each of $kills kills every event was counted once");
wait_until($node, $database, "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'orchestry worker'");
$node->safe_psql($database, 'CALL orchestry.run_due()');
$node->safe_psql($database, "CALL orchestry.run_job($job)");
is($node->safe_psql($database, "SELECT count(*) FROM s.ev WHERE at < '2026-05-26 12:00'"), 0, 'nothing is left that is old enough');
is($node->safe_psql($database, 'TABLE s.damage'), 0, 'every event is counted once');
is($node->safe_psql($database, "SELECT count(*) FROM orchestry.verify_event_compression('s.ev')"), 0, 'verify_event_compression() agrees');
is(count_log($node, 'PANIC|TRAP|WARNING:.*(leak|refcount|not closed)'), 0, 'the log is clean');

$node->stop;
done_testing();
