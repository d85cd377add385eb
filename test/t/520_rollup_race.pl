# R04: rollups under writers who insert, update across buckets and partitions, delete, roll back, prepare and hold old
# snapshots, two refreshers, retention, and kill -9 of whoever writes or refreshes. At every sampled moment the view says what
# the source says in the same snapshot, and so does what is stored and settled; a bucket whose rows have gone stays as it was. So it is at
# every level of rollups that are made of rollups, in whatever order these are refreshed. While time goes by, a rollup that others
# are made of loses what is past its "keep": of these times the others have just what was removed.
use strict;
use warnings;
use IPC::Run;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;

$SIG{PIPE} = 'IGNORE';
my $seed = random_seed();
my $rounds = long_count(4, 60);
my $transactions = long_count(250, 600); # of each writer in a round
my $writers = 6;
my $database = 'postgres';
my $node = new_server('rollup_race', init => { extra => ['--data-checksums'] }, conf => <<"CONF");
orchestry.databases = ''
orchestry.now = '2026-03-10 12:00:00+00'
orchestry.lock_attempts = 1000
orchestry.history_keep_runs = 1000000
autovacuum = off
jit = off
max_prepared_transactions = 20
CONF
$node->safe_psql($database, <<'SQL');
CREATE EXTENSION orchestry_ext;
CREATE ROLE app LOGIN;
CREATE SCHEMA s AUTHORIZATION app;
SET ROLE app;
CREATE TABLE s.m (id int, ts timestamptz NOT NULL, app text, v float8) PARTITION BY RANGE (ts);
DO $$ BEGIN
    FOR d IN 1..10 LOOP
        EXECUTE format('CREATE TABLE s.m_%s PARTITION OF s.m FOR VALUES FROM (%L) TO (%L)', d, make_date(2026, 3, d), make_date(2026, 3, d + 1));
    END LOOP;
END $$;
CREATE TABLE s.m_rest PARTITION OF s.m DEFAULT;
CREATE INDEX ON s.m (id);
CREATE INDEX ON s.m (ts);
INSERT INTO s.m SELECT i % 600, '2026-03-01Z'::timestamptz + i * interval '30 s', CASE WHEN i % 5 > 0 THEN 'app ' || i % 5 END, i % 1000 FROM generate_series(0, 28000) i;
SELECT orchestry.create_rollup('s.r', 's.m', 'ts', 'v', '1 hour', '{app}');
SELECT orchestry.create_rollup('s.days', 's.m', 'ts', 'v', '1 day', "where" => 'v < 500');
SELECT orchestry.create_rollup('s.minutes', 's.m', 'ts', 'v', '30 minutes', '{app}');
SELECT orchestry.create_rollup('s.hours', 's.m', 'ts', 'v', '1 hour', '{app}', parent => 's.minutes');
SELECT orchestry.create_rollup('s.berlin', 's.m', 'ts', 'v', '1 day', time_zone => 'Europe/Berlin', parent => 's.hours');
SELECT orchestry.create_rollup('s.kept', 's.m', 'ts', 'v', '1 hour', keep => '8 days');
SELECT orchestry.create_rollup('s.kept_shifts', 's.m', 'ts', 'v', '6 hours', parent => 's.kept');
SELECT orchestry.create_rollup('s.kept_days', 's.m', 'ts', 'v', '1 day', parent => 's.kept');
CREATE VIEW s.kept_frozen AS SELECT rollup, frozen AS spans FROM orchestry.rollups WHERE rollup IN ('s.kept'::regclass, 's.kept_shifts'::regclass, 's.kept_days'::regclass);
CREATE TABLE s.removed (bucket timestamptz, summary orchestry.summary);
CREATE FUNCTION s.write_down() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- A bucket that has no rows any more goes as well, but is not frozen.
    INSERT INTO s.removed SELECT g.bucket, g.summary FROM gone g, s.kept_frozen f WHERE f.rollup = 's.kept'::regclass AND g.bucket <@ f.spans;
    RETURN NULL;
END $$;
CREATE TRIGGER write_down AFTER DELETE ON s.kept_buckets REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION s.write_down();
SELECT orchestry.add_retention_policy('s.m', '6 days', grace => '1 year');
CREATE VIEW s.frozen AS SELECT frozen AS spans FROM orchestry.rollups WHERE rollup = 's.r'::regclass;
-- What the source says of all buckets that can still be computed, what the rollup says, and in how many rows they differ.
CREATE VIEW s.wrong AS
WITH expected AS (SELECT orchestry.time_bucket('1 hour', ts) AS bucket, app, (orchestry.window_stats(v)).* FROM s.m, s.frozen
    WHERE NOT orchestry.time_bucket('1 hour', ts) <@ frozen.spans GROUP BY 1, 2),
found AS (SELECT bucket, app, data_points, avg_value, min_value, max_value, stddev_value, p50_value, p95_value, p99_value
    FROM s.r, s.frozen WHERE NOT bucket <@ frozen.spans)
SELECT (SELECT count(*) FROM ((TABLE expected EXCEPT ALL TABLE found) UNION ALL (TABLE found EXCEPT ALL TABLE expected)) d) AS wrong,
    (SELECT count(*) FROM found) AS compared;
-- The same of each level by the rows, where they are there, and by the level below, which has all times. A partition is of whole
-- buckets but those of Berlin.
CREATE VIEW s.wrong_levels AS
WITH gone AS (SELECT frozen AS spans FROM orchestry.rollups WHERE rollup = 's.minutes'::regclass),
expected AS (
    SELECT 'minutes by rows' AS what, orchestry.time_bucket('30 minutes', ts) AS bucket, app, orchestry.summarize(v) AS summary FROM s.m, gone
        WHERE NOT orchestry.time_bucket('30 minutes', ts) <@ gone.spans GROUP BY 2, 3
    UNION ALL SELECT 'hours by rows', orchestry.time_bucket('1 hour', ts), app, orchestry.summarize(v) FROM s.m, gone
        WHERE NOT orchestry.time_bucket('1 hour', ts) <@ gone.spans GROUP BY 2, 3
    UNION ALL SELECT 'days by rows', orchestry.time_bucket('1 day', ts, 'Europe/Berlin'), NULL, orchestry.summarize(v) FROM s.m, gone
        WHERE NOT tstzrange(orchestry.time_bucket('1 day', ts, 'Europe/Berlin'), orchestry.time_bucket('1 day', ts, 'Europe/Berlin') + interval '24 hours') && gone.spans GROUP BY 2
    UNION ALL SELECT 'hours', orchestry.time_bucket('1 hour', bucket), app, orchestry.merge(summary) FROM s.minutes GROUP BY 2, 3
    UNION ALL SELECT 'days', orchestry.time_bucket('1 day', bucket, 'Europe/Berlin'), NULL, orchestry.merge(summary) FROM s.hours GROUP BY 2),
found AS (
    SELECT 'minutes by rows' AS what, bucket, app, data_points, summary FROM s.minutes, gone WHERE NOT bucket <@ gone.spans
    UNION ALL SELECT 'hours by rows', bucket, app, data_points, summary FROM s.hours, gone WHERE NOT bucket <@ gone.spans
    UNION ALL SELECT 'days by rows', bucket, NULL, data_points, summary FROM s.berlin, gone WHERE NOT tstzrange(bucket, bucket + interval '24 hours') && gone.spans
    UNION ALL SELECT 'hours', bucket, app, data_points, summary FROM s.hours
    UNION ALL SELECT 'days', bucket, NULL, data_points, summary FROM s.berlin),
differing AS (
    SELECT count(*) FROM (
        (SELECT what, bucket, app, orchestry.count(summary), summary::text FROM expected EXCEPT ALL SELECT what, bucket, app, data_points, summary::text FROM found) UNION ALL
        (SELECT what, bucket, app, data_points, summary::text FROM found EXCEPT ALL SELECT what, bucket, app, orchestry.count(summary), summary::text FROM expected)) d)
SELECT (SELECT count FROM differing) AS wrong, (SELECT count(*) FROM found) AS compared;
-- The same of those that are made of one with a "keep": by what was removed of that, where they are frozen, and by the rows.
CREATE VIEW s.wrong_kept AS
WITH steps (rollup, width) AS (VALUES ('s.kept'::regclass, interval '1 hour'), ('s.kept_shifts', '6 hours'), ('s.kept_days', '1 day')),
gone AS (SELECT spans FROM s.kept_frozen WHERE rollup = 's.kept'::regclass),
expected AS (
    SELECT w.rollup, orchestry.time_bucket(w.width, r.bucket) AS bucket, orchestry.merge(r.summary)::text AS summary, true AS frozen
        FROM s.removed r, steps w WHERE w.rollup <> 's.kept'::regclass GROUP BY 1, 2
    UNION ALL SELECT w.rollup, orchestry.time_bucket(w.width, ts), orchestry.summarize(v)::text, false FROM s.m, steps w GROUP BY 1, 2),
found AS (
    SELECT 's.kept'::regclass AS rollup, bucket, summary::text FROM s.kept UNION ALL SELECT 's.kept_shifts', bucket, summary::text FROM s.kept_shifts
    UNION ALL SELECT 's.kept_days', bucket, summary::text FROM s.kept_days),
expected_here AS (
    SELECT e.rollup, e.bucket, e.summary FROM expected e JOIN s.kept_frozen f USING (rollup), gone
    WHERE CASE WHEN e.frozen THEN e.bucket <@ f.spans AND e.rollup <> 's.kept'::regclass ELSE NOT e.bucket <@ f.spans AND NOT e.bucket <@ gone.spans END),
found_here AS (
    SELECT s.rollup, s.bucket, s.summary FROM found s JOIN s.kept_frozen f USING (rollup), gone
    WHERE CASE WHEN s.bucket <@ f.spans THEN s.rollup <> 's.kept'::regclass ELSE NOT s.bucket <@ gone.spans END)
SELECT (SELECT count(*) FROM ((TABLE expected_here EXCEPT ALL TABLE found_here) UNION ALL (TABLE found_here EXCEPT ALL TABLE expected_here)) d) AS wrong,
    (SELECT count(*) FROM found_here) AS compared;
-- Stored rows that are settled and not what they are made of.
CREATE VIEW s.wrong_stored AS
SELECT count(*) FROM (VALUES ('s.r'), ('s.days'), ('s.minutes'), ('s.hours'), ('s.berlin'), ('s.kept'), ('s.kept_shifts'), ('s.kept_days')) r (name), LATERAL orchestry.verify_rollup(r.name) v;
RESET ROLE;
SQL
my ($rollup, $days, $minutes, $hours, $berlin, $kept, $shifts, $kept_days, $retention) = map { $node->safe_psql($database, "SELECT job_id FROM orchestry.jobs WHERE $_") }
  (map { "kind = 'rollup' AND settings ->> 'name' = 's.$_'" } qw(r days minutes hours berlin kept kept_shifts kept_days)), "kind = 'retention'";
my @rollups = ($rollup, $days, $minutes, $hours, $berlin, $kept, $shifts, $kept_days);
my $refresh_all = join '; ', map { "CALL orchestry.run_job($_)" } @rollups;

my $dir = PostgreSQL::Test::Utils::tempdir();
# Each writer has rows of its own, so that none waits for another.
append_to_file("$dir/write.sql", <<"SQL");
\\set mine random(0, 99) * $writers + :client_id
\\set other random(0, 99) * $writers + :client_id
\\set minute random(:first, 14399)
\\set shift random(-3000, 3000)
\\set how random(1, 12)
\\if :how = 1
BEGIN ISOLATION LEVEL REPEATABLE READ;
\\else
BEGIN;
\\endif
INSERT INTO s.m VALUES (:mine, '2026-03-01Z'::timestamptz + :minute * interval '1 min', 'app ' || :how % 5, :minute % 1000);
SAVEPOINT a;
UPDATE s.m SET v = v + 1 WHERE id = :other AND ts >= '2026-03-01Z'::timestamptz + :first * interval '1 min';
\\if :how = 2
ROLLBACK TO a;
\\endif
UPDATE s.m SET ts = LEAST(GREATEST(ts + :shift * interval '1 min', '2026-03-01Z'::timestamptz + :first * interval '1 min'), '2026-03-10 23:59Z') WHERE id = :mine AND ts >= '2026-03-01Z'::timestamptz + :minute * interval '1 min';
DELETE FROM s.m WHERE id = :other AND mod(v::int, 7) = 3 AND ts >= '2026-03-01Z'::timestamptz + :first * interval '1 min';
\\if :how = 3
ROLLBACK;
\\elif :how = 4
PREPARE TRANSACTION 'writer :client_id';
COMMIT PREPARED 'writer :client_id';
\\elif :how = 5
PREPARE TRANSACTION 'writer :client_id';
ROLLBACK PREPARED 'writer :client_id';
\\else
COMMIT;
\\endif
SQL
# One refresher begins with what the others are made of, and one ends with it.
my @scripts = map { append_to_file("$dir/refresh_$_->[0].sql", join '', "SET client_min_messages = error;\n", map { "CALL orchestry.run_job($_);\n" } @$_); "$dir/refresh_$_->[0].sql" }
  [@rollups], [ reverse @rollups ];

my ($samples, $wrong, $compared, $settled_wrong, $struck, $finished) = (0, 0, 0, 0, 0, 0);
sub sample
{
	my ($out, $err) = ('', '');
	my $status = $node->psql($database, 'SELECT sum(wrong), sum(compared) FROM (TABLE s.wrong UNION ALL TABLE s.wrong_levels UNION ALL TABLE s.wrong_kept) w', stdout => \$out, stderr => \$err);
	return if $status != 0; # the server is coming back
	my ($bad, $rows) = split /\|/, $out;
	$samples++;
	$wrong += $bad;
	$compared += $rows;
	return;
}

# Four days go by in all, so that half of what is kept is past its time.
my $hours_gone = 0;
sub go_by
{
	$hours_gone += 96 / (2 * $rounds);
	$node->psql($database, $_, stderr => \my $ignored)
	  for sprintf(q(ALTER SYSTEM SET orchestry.now = '2026-03-%02d %02d:00:00+00'), 10 + (12 + $hours_gone) / 24, (12 + $hours_gone) % 24), 'SELECT pg_reload_conf()';
	return;
}

# A day goes by: a partition is past its time.
sub day_goes_by
{
	my ($round) = @_;
	my $now = sprintf('2026-03-%02d 12:00Z', 7 + ($round + 1) / 2 % 4);
	$node->psql($database, "SET SESSION AUTHORIZATION app; CALL orchestry.run_job($rollup); CALL orchestry.run_job($minutes)", stderr => \my $ignored);
	$node->psql($database, "SET orchestry.now = '$now'; SET orchestry.lock_attempts = 20; SET client_min_messages = error; CALL orchestry.run_job($retention)", stderr => \$ignored);
	return;
}

for my $round (1 .. $rounds)
{
	# In some rounds the first days are left alone, so that they can leave.
	my $first = $round % 4 == 3 ? 3 * 1440 : 0;
	my $kills = $round % 2 == 0; # half of the rounds end with a kill, of a refresher or a writer in turns
	my $log = '';
	my $writing = start_pgbench($node, $database, 'app', \$log, '-D', "first=$first", '-f', "$dir/write.sql", '-c', $writers, '-t', $kills ? 1_000_000 : $transactions, '--random-seed', $seed + $round, '--max-tries', 1000);
	my @refreshing = map { start_pgbench($node, $database, 'app', \my $ignored, '-f', $_, '-c', 1, '-t', 1_000_000) } @scripts;
	my $before = $samples;
	my $killed = 0;
	while ($writing->pumpable)
	{
		$writing->pump_nb;
		$_->pump_nb for grep { $_->pumpable } @refreshing;
		sample();
		go_by() if $samples - $before == 1;
		if ($kills && $samples - $before >= 2)
		{
			$killed = strike($node, $round % 4 == 0 ? qr/: app postgres .* CALL/ : qr/: app postgres /, rand(0.02));
			$struck += $killed;
		}
		last if $killed;
		day_goes_by($round) if !$kills && $samples - $before == 2;
	}
	day_goes_by($round) if !$kills && $samples - $before < 2; # the writers were fast
	if (!$killed)
	{
		eval { $writing->finish } ? $finished++ : note($log);
	}
	end_clients($node, $database, 'app', $writing, @refreshing);
	sample();
	go_by();
	$settled_wrong += $node->safe_psql($database, 'TABLE s.wrong_stored');
	$node->safe_psql($database, "SET client_min_messages = error; $refresh_all");
	sample();
	$settled_wrong += $node->safe_psql($database, 'TABLE s.wrong_stored');
}
day_goes_by(3); # nobody is in the way of retention any more
diag("$samples samples of the view, $compared rows compared, $wrong wrong; $struck kills");
cmp_ok($samples, '>', 2 * $rounds, 'the view was looked at');
is($struck, int($rounds / 2), 'all kills were made');
is($finished, $rounds - $struck, 'the other rounds ended without an error of a writer');
is($wrong, 0, 'the view was right at every sampled moment');
is($settled_wrong, 0, 'what is stored and settled is right after every round');
is($node->safe_psql($database, q(SELECT count(*) FROM orchestry.rollups, unnest(dirty) d WHERE lower(d) < '2026-03-09 23:00Z')), 0, 'nothing is left to do');
cmp_ok($node->safe_psql($database, 'SELECT count(*) FROM s.removed'), '>', 48, 'days are past their time and have gone');

# The partitions that retention has taken wait in quarantine with their rows: what the rollup has of their times is what
# they have, whatever came late to the default partition.
my $taken = $node->safe_psql($database, q(SELECT string_agg(partition::text, ' ') FROM orchestry.quarantine));
cmp_ok(scalar(split / /, $taken), '>=', 1, "retention has taken partitions: $taken");
my $differing = 0;
for my $partition (split / /, $taken)
{
	$differing += $node->safe_psql($database, <<"SQL");
WITH kept AS (SELECT orchestry.time_bucket('1 hour', ts) AS bucket, app, (orchestry.window_stats(v)).* FROM $partition GROUP BY 1, 2),
found AS (SELECT bucket, app, data_points, avg_value, min_value, max_value, stddev_value, p50_value, p95_value, p99_value FROM s.r
    WHERE bucket <@ (SELECT tstzrange(from_at, to_at) FROM orchestry.detached_partition WHERE quarantine_name = split_part('$partition', '.', 2)))
SELECT count(*) FROM ((TABLE kept EXCEPT ALL TABLE found) UNION ALL (TABLE found EXCEPT ALL TABLE kept)) d
SQL
	$differing += $node->safe_psql($database, <<"SQL");
WITH kept AS (SELECT orchestry.time_bucket('1 hour', ts), app, orchestry.summarize(v)::text FROM $partition GROUP BY 1, 2),
found AS (SELECT bucket, app, summary::text FROM s.hours
    WHERE bucket <@ (SELECT tstzrange(from_at, to_at) FROM orchestry.detached_partition WHERE quarantine_name = split_part('$partition', '.', 2)))
SELECT count(*) FROM ((TABLE kept EXCEPT ALL TABLE found) UNION ALL (TABLE found EXCEPT ALL TABLE kept)) d
SQL
}
is($differing, 0, 'and the rollups have just what they had');
is($node->safe_psql($database, q(SELECT count(*) FROM orchestry.runs WHERE state = 'failed' AND sqlstate NOT IN ('55P03', '57P01'))), 0, 'no run has failed');
is(count_log($node, 'PANIC|TRAP|WARNING:.*(leak|refcount|not closed)'), 0, 'the log is clean');
$node->stop;
done_testing();
