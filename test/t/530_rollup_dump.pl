# R13: a dump carries rollups with their stored buckets, marks and frozen times, as of one moment. A restored rollup is right
# before anything runs, and goes on to see changes; its job waits for resume_all() like any other.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('rollup_dump', conf => "orchestry.databases = ''\nautovacuum = off\norchestry.now = '2026-03-10 12:30:00+00'\n");
my $dir = PostgreSQL::Test::Utils::tempdir();
$node->safe_psql('postgres', 'CREATE DATABASE source; CREATE ROLE alice LOGIN; CREATE ROLE reader LOGIN');
$node->safe_psql('source', <<'SQL');
CREATE EXTENSION orchestry_ext;
CREATE SCHEMA s AUTHORIZATION alice;
GRANT USAGE ON SCHEMA s TO reader;
SET ROLE alice;
CREATE TABLE s.m (ts timestamptz NOT NULL, app text, v float8) PARTITION BY RANGE (ts);
DO $$ BEGIN
    FOR d IN 1..10 LOOP
        EXECUTE format('CREATE TABLE s.m_%s PARTITION OF s.m FOR VALUES FROM (%L) TO (%L)', d, make_date(2026, 3, d), make_date(2026, 3, d + 1));
    END LOOP;
END $$;
INSERT INTO s.m SELECT '2026-03-01Z'::timestamptz + i * interval '7 min', 'app ' || i % 3, i FROM generate_series(0, 1900) i;
SELECT orchestry.create_rollup('s.r', 's.m', 'ts', 'v', '1 hour', '{app}', "where" => 'v <> 7');
SELECT orchestry.create_rollup('s.rd', 's.m', 'ts', 'v', '1 day', time_zone => 'Europe/Berlin', parent => 's.r');
GRANT SELECT ON s.r, s.rd TO reader;
RESET ROLE;
CALL orchestry.run('s.m');
DROP TABLE s.m_1;                                             -- frozen
ALTER TABLE s.m DETACH PARTITION s.m_2;                       -- frozen, and may come back
INSERT INTO s.m VALUES ('2026-03-05 05:00Z', 'dirty', 1);     -- marked
SQL
my $shown = 'SELECT bucket, app, data_points, p95_value, summary::text FROM s.r UNION ALL SELECT bucket, NULL, data_points, p95_value, summary::text FROM s.rd ORDER BY 1, 2, 3';
my $expected = $node->safe_psql('source', $shown);

sub restored
{
	my ($name) = @_;
	is($node->safe_psql($name, $shown), $expected, "$name: the view shows what it showed");
	is($node->safe_psql($name, q(SET ROLE reader; SELECT count(*) > 0 FROM s.r, s.rd)), 't', "$name: to whom it showed it");
	is($node->safe_psql($name, q(SELECT string_agg(state, ' ') FROM orchestry.jobs)), 'restored restored', "$name: the jobs wait");
	is($node->safe_psql($name, q(SELECT string_agg(DISTINCT tgenabled::text, '') FROM pg_trigger WHERE tgfoid = 'orchestry._capture'::regproc)),
		'A', "$name: the watch is on");
	my (undef, undef, $err) = $node->psql($name, q(SELECT orchestry.create_rollup('s.more', 's.m', 'ts', 'v', '1 day', parent => 's.r')));
	like($err, qr/ERROR:  rollup s\.r was restored and waits/, "$name: nothing is made of it before");
	$node->safe_psql($name, "INSERT INTO s.m VALUES ('2026-03-06 05:00Z', 'late', 1); UPDATE s.m SET v = v + 1 WHERE ts < '2026-03-04'");
	is($node->safe_psql($name, q(SELECT data_points FROM s.r WHERE app = 'late')), 1, "$name: and sees changes");
	$node->safe_psql($name, q(SELECT orchestry.resume_all(); CALL orchestry.run('s.m')));
	is($node->safe_psql($name, q(SELECT (SELECT count(*) FROM orchestry.verify_rollup('s.r')) + (SELECT count(*) FROM orchestry.verify_rollup('s.rd')))), 0, "$name: the rollups are right when they are computed");
	is($node->safe_psql($name, q(SELECT string_agg(parent::text, ' ') FROM orchestry.rollups)), 's.r', "$name: and know their parents");
	is($node->safe_psql($name, q(SELECT sum(data_points) FROM s.rd_buckets)), $node->safe_psql($name, q(SELECT sum(data_points) FROM s.r_buckets WHERE bucket < '2026-03-09 23:00Z')), "$name: and stored");
	is($node->safe_psql($name, q(SELECT count(*) FROM s.r_buckets WHERE app IN ('late', 'dirty'))), 2, "$name: with all that was to be computed");
	is($node->safe_psql($name, q(SELECT count(*) FROM s.r WHERE bucket < '2026-03-03')), $node->safe_psql('source', q(SELECT count(*) FROM s.r WHERE bucket < '2026-03-03')),
		"$name: what is frozen stays");
	# Here the detached partition is another table than the number in the dump says.
	$node->safe_psql($name, q(ALTER TABLE s.m ATTACH PARTITION s.m_2 FOR VALUES FROM ('2026-03-02') TO ('2026-03-03')));
	is($node->safe_psql($name, q(SELECT frozen @> tstzrange('2026-03-02', '2026-03-03') FROM orchestry.rollups WHERE parent IS NULL)), 't', "$name: nothing comes back by a number from elsewhere");
	$node->safe_psql($name, q(SELECT orchestry.drop_rollup('s.rd'), orchestry.drop_rollup('s.r')));
	is($node->safe_psql($name, q(SELECT count(*) FROM pg_class WHERE relnamespace = 's'::regnamespace AND relname LIKE 'r%')), 0, "$name: and can be dropped");
	$node->safe_psql('postgres', "DROP DATABASE $name");
	return;
}
sub new_database { $node->safe_psql('postgres', "CREATE DATABASE $_[0]"); return $_[0] }

command_ok([ 'pg_dump', '-f', "$dir/plain.sql", $node->connstr('source') ], 'pg_dump, plain');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/plain.sql", '-d', $node->connstr(new_database('plain')) ], 'psql');
restored('plain');
command_ok([ 'pg_dump', '-Fd', '-j2', '-f', "$dir/directory", $node->connstr('source') ], 'pg_dump -j2');
command_ok([ 'pg_restore', '-j2', '-d', $node->connstr(new_database('directory')), "$dir/directory" ], 'pg_restore -j2');
restored('directory');
# The data comes while the watch is on: more is marked than need be, and nothing less.
command_ok([ 'pg_dump', '--schema-only', '-f', "$dir/schema.sql", $node->connstr('source') ], 'pg_dump --schema-only');
command_ok([ 'pg_dump', '--data-only', '-Fc', '-f', "$dir/data", $node->connstr('source') ], 'pg_dump --data-only');
for my $how ([ 'in_parts' ], [ 'without_triggers', '--disable-triggers' ])
{
	my ($name, @options) = @$how;
	command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/schema.sql", '-d', $node->connstr(new_database($name)) ], 'the schema');
	command_ok([ 'pg_restore', '--data-only', @options, '-d', $node->connstr($name), "$dir/data" ], "the data @options");
	restored($name);
}

# Single tables take their triggers along, to a database whose job of that number is another one. It is told nothing by them.
$node->safe_psql(new_database('single'), <<'SQL');
CREATE EXTENSION orchestry_ext;
CREATE SCHEMA s AUTHORIZATION alice;
CREATE TABLE own (ts timestamptz NOT NULL, v float8) PARTITION BY RANGE (ts);
CREATE TABLE own_3 PARTITION OF own FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');
INSERT INTO own SELECT '2026-03-01Z'::timestamptz + i * interval '1 hour', i FROM generate_series(0, 99) i;
SELECT orchestry.create_rollup('r', 'own', 'ts', 'v', '1 hour');
CREATE MATERIALIZED VIEW w AS SELECT count(*) FROM own;
SELECT orchestry.add_refresh_policy('w');
CALL orchestry.run('own');
CALL orchestry.refresh('w');
SQL
command_ok([ 'pg_dump', '-t', 's.m*', '-f', "$dir/single.sql", $node->connstr('source') ], 'pg_dump of a table');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/single.sql", '-d', $node->connstr('single') ], 'psql');
is($node->safe_psql('single', q(SELECT string_agg(DISTINCT tgname, ' ') FROM pg_trigger WHERE tgrelid = 's.m'::regclass)), 'orchestry_watch_1 orchestry_watch_1_truncate', 'it has its triggers');
$node->safe_psql('single', "INSERT INTO s.m VALUES ('2026-03-06 05:00Z', 'x', 1); TRUNCATE s.m_4; DROP TABLE s.m_3; ALTER TABLE s.m DETACH PARTITION s.m_5 CONCURRENTLY");
is($node->safe_psql('single', q(SELECT (SELECT count(*) FROM orchestry.dirty_mark WHERE to_at < '2026-03-10') + (SELECT count(*) FROM orchestry.frozen_span))), 0, 'nothing is marked or frozen');
$node->safe_psql('single', "DELETE FROM own; CALL orchestry.run('own')");
is($node->safe_psql('single', 'SELECT count(*) FROM r'), 0, 'and the rollup goes on');
$node->safe_psql('single', q(SELECT setval('orchestry.job_job_id_seq', 1, false); SELECT orchestry.drop_rollup('r'); SELECT orchestry.create_rollup('s.r', 's.m', 'ts', 'v', '1 day'); CALL orchestry.run('s.m')));
is($node->safe_psql('single', q(INSERT INTO s.m VALUES ('2026-03-06 05:00Z', 'y', 1); SELECT from_at, to_at FROM orchestry.dirty_mark WHERE job_id = 1 AND to_at < '2026-03-10')), '2026-03-06 00:00:00+00|2026-03-07 00:00:00+00', 'a rollup with that number puts its own triggers there');
is($node->safe_psql('single', q(SELECT count(*) FROM orchestry.verify_rollup('s.r'))), 0, 'and is right');

# Without the extension the stored buckets are a table like any other.
$node->safe_psql('source', q(CALL orchestry.run('s.m'); SELECT orchestry.drop_rollup('s.rd'), orchestry.drop_rollup('s.r', keep_data => true);
	CREATE TABLE s.counts AS SELECT bucket, app, data_points FROM s.r_buckets; ALTER TABLE s.r_buckets DROP COLUMN summary; DROP EXTENSION orchestry_ext));
is($node->safe_psql('source', 'SELECT count(*) FROM (SELECT bucket, app, data_points FROM s.r_buckets EXCEPT TABLE s.counts) d'), 0, 'what was stored outlives the extension');
$node->safe_psql('source', "INSERT INTO s.m VALUES ('2026-03-06 05:00Z', 'after', 1)");
is(count_log($node, qr/PANIC|TRAP|terminated by signal/), 0, 'the log is clean');
$node->stop;
done_testing();
