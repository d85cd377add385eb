# R26 for materialized views: no file can grow while they are refreshed. Each run ends with the server's own error, the views keep
# the rows that they had and can be read, what has changed is still known, and when there is room again all goes on by itself.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;

my $modules = $ENV{ORCHESTRY_MODULES};
plan skip_all => 'needs test/modules/build.sh; test/run.sh calls it' unless $modules;

my $database = 'postgres';
my $flag = PostgreSQL::Test::Utils::tempdir() . '/full';
local $ENV{ORCHESTRY_FULL_DISK} = $flag;

my $node = new_server('matview_disk_full', start => 0, init => { extra => ['--data-checksums'] }, conf => <<'CONF');
autovacuum = off
orchestry.databases = ''
CONF
{
	local $ENV{LD_PRELOAD} = "$modules/full_disk.so";
	$node->start;
}
$node->safe_psql($database, <<'SQL');
CREATE EXTENSION orchestry_ext;
SET client_min_messages = error;
CREATE TABLE t (id int PRIMARY KEY, note text);
INSERT INTO t SELECT i, repeat('x', 500) FROM generate_series(1, 3000) i;
CREATE MATERIALIZED VIEW plainly AS SELECT id, note FROM t;
CREATE MATERIALIZED VIEW beside AS SELECT id, note FROM t;
CREATE MATERIALIZED VIEW above AS SELECT count(*) AS n FROM plainly;
CREATE UNIQUE INDEX ON beside (id);
CREATE TABLE public.job AS SELECT v AS name, orchestry.add_refresh_policy(v::regclass, max_staleness => '2 s') AS id FROM unnest('{plainly,beside,above}'::text[]) v;
CALL orchestry.run();
UPDATE t SET note = repeat('y', 500);
SQL
my $rows = 'SELECT (SELECT md5(string_agg(v::text, $$,$$ ORDER BY id)) FROM plainly v), (SELECT md5(string_agg(v::text, $$,$$ ORDER BY id)) FROM beside v)';
my $before = $node->safe_psql($database, $rows);

append_to_file($flag, 'base');
for my $name ('plainly', 'beside', 'above')
{
	my (undef, undef, $error) = $node->psql($database, "\\set VERBOSITY verbose\nCALL orchestry.refresh('$name')");
	like($error, qr/ERROR: +53100: /, "$name: the run ends with the server's error");
}
is($node->safe_psql($database, $rows), $before, 'the views have the rows that they had');
is($node->safe_psql($database, 'SELECT count(*) FROM orchestry.matviews WHERE changed'), 2, 'and are known to have changed');
unlink $flag or die "no flag: $!";

$node->safe_psql($database, q(ALTER SYSTEM SET orchestry.databases = '*'));
$node->safe_psql($database, 'SELECT pg_reload_conf()');
wait_until($node, $database, q(SELECT (SELECT count(*) FROM plainly WHERE note LIKE 'y%') = 3000 AND (SELECT count(*) FROM beside WHERE note LIKE 'y%') = 3000));
pass('with room for it all is refreshed without anybody asking');
wait_until($node, $database, q(SELECT count(*) = 3 FROM orchestry.jobs WHERE last_state IN ('ok', 'noop') AND failures = 0));
is($node->safe_psql($database, q(SELECT count(*) FROM pg_class WHERE relname LIKE 'pg_temp_%')), 0, 'and nothing half made is left');
is(count_log($node, 'PANIC|TRAP|WARNING:.*(leak|refcount|not closed)'), 0, 'the log is clean');
$node->stop;
done_testing();
