# Event compression while others write: rows cross the horizon while it runs, two sessions and a worker run it, rows are
# changed and come late; and a policy goes through dump and restore.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;

random_seed();
my $rows = long_count(20_000, 400_000);
my $database = 'postgres';
my $node = new_server('events_live', conf => <<'CONF');
orchestry.databases = ''
orchestry.history_keep_runs = 1000000
autovacuum = off
CONF
$node->safe_psql($database, <<"SQL");
CREATE EXTENSION orchestry_ext;
CREATE ROLE app LOGIN;
CREATE SCHEMA s AUTHORIZATION app;
SET ROLE app;
CREATE TABLE s.ev (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL, app text, severity text);
CREATE INDEX ON s.ev (at);
SET client_min_messages = error;
-- Every row is old enough within moments.
SELECT orchestry.add_event_compression_policy('s.ev', '0', bucket => '100 ms', group_by => '{app}', count_values_of => 'severity', sample_of => 'id', samples => 3);
-- Writes rows of now, some of them late, and changes some that are about to go; each batch alone.
CREATE TABLE s.written (app text, severity text, n bigint);
CREATE PROCEDURE s.write(rows int) LANGUAGE plpgsql AS \$\$
BEGIN
    FOR batch IN 1..rows / 100 LOOP
        WITH new AS (INSERT INTO s.ev (at, app, severity) SELECT clock_timestamp() - CASE WHEN i % 10 = 0 THEN interval '1 minute' ELSE interval '0' END,
                CASE WHEN i % 7 > 0 THEN 'app ' || i % 3 END, CASE WHEN i % 5 > 0 THEN 'level ' || i % 2 END FROM generate_series(1, 100) i RETURNING app, severity)
        INSERT INTO s.written SELECT app, severity, count(*) FROM new GROUP BY 1, 2;
        COMMIT;
        -- What the run is removing at this moment is found in its new form, or not at all.
        WITH changed AS (UPDATE s.ev SET severity = 'changed' WHERE id IN (SELECT id FROM s.ev WHERE severity = 'level 1' ORDER BY id DESC LIMIT 3) AND severity = 'level 1' RETURNING app)
        INSERT INTO s.written SELECT app, unnest('{changed,level 1}'::text[]), unnest('{1,-1}'::int[]) FROM changed;
        COMMIT;
    END LOOP;
END \$\$;
CREATE VIEW s.counted AS
SELECT app, severity, sum(n)::bigint AS n FROM (
    SELECT app, severity, 1::numeric AS n FROM s.ev
    UNION ALL SELECT app, c.key, c.value::numeric FROM s.ev_compressed, jsonb_each_text(severity_counts) c
    UNION ALL SELECT app, NULL, event_count - (SELECT COALESCE(sum(c.value::numeric), 0) FROM jsonb_each_text(severity_counts) c) FROM s.ev_compressed) f
GROUP BY app, severity HAVING sum(n) <> 0;
CREATE VIEW s.due AS SELECT app, severity, sum(n)::bigint AS n FROM s.written GROUP BY app, severity HAVING sum(n) <> 0;
SQL
my $job = $node->safe_psql($database, 'SELECT job_id FROM orchestry.jobs');

my @writers = map { $node->background_psql($database) } 1 .. 2;
my @runners = map { $node->background_psql($database, on_error_stop => 0) } 1 .. 2;
$_->query_safe('SET ROLE app') for @writers;
for my $writer (@writers)
{
	$writer->{stdin} .= "CALL s.write($rows);\n\\echo written\n";
	$writer->{run}->pump_nb;
}
my $runs = 0;
until ((grep { $_->{stdout} =~ /^written$/m } @writers) == @writers)
{
	$_->{run}->pump_nb for @writers;
	$node->safe_psql($database, "SELECT orchestry.start_job($job)") if $runs % 3 == 0;
	for my $runner (@runners)
	{
		$runner->{stdin} .= "CALL orchestry.run_job($job);\n";
		$runner->{run}->pump_nb;
	}
	$node->safe_psql($database, "CALL orchestry.run_job($job)");
	$node->safe_psql($database, 'SELECT (SELECT count(*) FROM s.counted) >= 0');
	++$runs;
}
$_->query('SELECT 1') for @runners;
$_->quit for @writers, @runners;
wait_until($node, $database, "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'orchestry worker'");
diag("$runs rounds beside " . 2 * $rows . ' rows: ' . $node->safe_psql($database,
	"SELECT string_agg(format('%s %s', n, state), ', ' ORDER BY state) FROM (SELECT state, sum(repeated) AS n FROM orchestry.runs GROUP BY state) s"));
is($node->safe_psql($database, "SELECT count(*) FROM orchestry.runs WHERE state NOT IN ('ok', 'noop', 'skipped')"), 0, 'no run failed');
cmp_ok($node->safe_psql($database, "SELECT count(*) FROM orchestry.runs WHERE state = 'ok'"), '>', 1, 'some found rows that had just become old enough');
my $difference = 'SELECT count(*) FROM ((TABLE s.counted EXCEPT TABLE s.due) UNION ALL (TABLE s.due EXCEPT TABLE s.counted)) d';
is($node->safe_psql($database, $difference), 0, 'every row is counted once, as it was at last');
$node->safe_psql($database, "CALL orchestry.run_job($job)");
is($node->safe_psql($database, 'SELECT count(*) FROM s.ev'), 0, 'all are compressed in the end');
is($node->safe_psql($database, $difference), 0, 'and counted');
is($node->safe_psql($database, "SELECT count(*) FROM orchestry.verify_event_compression('s.ev')"), 0, 'verify_event_compression() agrees');

# Dump and restore, in parallel: the policy waits for resume_all() and then goes on.
$node->safe_psql($database, "INSERT INTO s.ev (at) VALUES ('2026-01-01')");
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
$node->command_ok([ 'pg_dump', '-Fd', '-f', $dump, $database ], 'dump');
$node->safe_psql($database, 'CREATE DATABASE copy');
$node->command_ok([ 'pg_restore', '-j', '2', '-d', 'copy', $dump ], 'restore');
is($node->safe_psql('copy', "SELECT state FROM orchestry.jobs"), 'restored', 'a restored policy waits');
$node->safe_psql('copy', 'SELECT orchestry.resume_all()');
$node->safe_psql('copy', "CALL orchestry.run('s.ev')");
is($node->safe_psql('copy', "SELECT sum(event_count) FROM s.ev_compressed"), 2 * $rows + 1, 'and goes on when it is told to');
is($node->safe_psql('copy', "SELECT settings = (SELECT settings FROM orchestry.jobs WHERE job_id = $job) AND settings ->> 'into_table' = 's.ev_compressed' FROM orchestry.jobs"), 't', 'as it was');
is(count_log($node, 'PANIC|TRAP|WARNING:.*(leak|refcount|not closed)'), 0, 'the log is clean');

$node->stop;
done_testing();
