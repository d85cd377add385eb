# R13 for retention: what was restored for a reason is not removed again. In a restored or copied database nothing leaves
# before resume_all(); holds are in force at once; what was in quarantine is known as such, can come back, and is dropped
# only when the policy runs again.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('retention_restore', conf => "orchestry.databases = ''\norchestry.now = '2026-06-15 12:00:00+00'\n");
my $dir = PostgreSQL::Test::Utils::tempdir();
$node->safe_psql('postgres', 'CREATE DATABASE source; CREATE ROLE app');
$node->safe_psql('source', <<'SQL');
CREATE EXTENSION orchestry_ext;
CREATE SCHEMA s;
CREATE TABLE s.ev (at timestamptz PRIMARY KEY) PARTITION BY RANGE (at);
DO $$ BEGIN
    FOR m IN 1..6 LOOP
        EXECUTE format('CREATE TABLE s.ev_%s PARTITION OF s.ev FOR VALUES FROM (%L) TO (%L)', m, make_date(2026, m, 1), make_date(2026, m + 1, 1));
    END LOOP;
END $$;
INSERT INTO s.ev SELECT generate_series(timestamptz '2026-01-01', timestamptz '2026-06-30', '1 day');
CREATE TABLE s.dear (id int);
ALTER TABLE s.ev OWNER TO app;
ALTER TABLE s.ev_1 OWNER TO app; ALTER TABLE s.ev_2 OWNER TO app; ALTER TABLE s.ev_3 OWNER TO app;
ALTER TABLE s.ev_4 OWNER TO app; ALTER TABLE s.ev_5 OWNER TO app; ALTER TABLE s.ev_6 OWNER TO app;
GRANT USAGE ON SCHEMA s TO app;
SET client_min_messages = warning;
SELECT orchestry.add_retention_policy('s.ev', interval '2 months', schedule => '1 hour');
SELECT orchestry.hold('s.ev_3', 'kept');
SELECT orchestry.hold('s.dear', 'kept too');
SELECT orchestry.release_hold(orchestry.hold('s.dear', 'and not any more'), 'over');
CALL orchestry.run('s.ev');
SQL
is(quarantined('source'), 's.ev_1 s.ev_2', 'two partitions are in quarantine, one is held');
my $late = "SET orchestry.now = '2026-07-01 12:00:00+00'; SET client_min_messages = warning;";

sub quarantined
{
	my ($database) = @_;
	return $node->safe_psql($database, "SELECT string_agg(former_name, ' ' ORDER BY former_name) FROM orchestry.quarantine WHERE detached_at IS NOT NULL");
}

sub attached
{
	my ($database) = @_;
	return $node->safe_psql($database, "SELECT string_agg(inhrelid::regclass::text, ' ' ORDER BY inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 's.ev'::regclass");
}

sub refused
{
	my ($database, $sql, $why, $what) = @_;
	my ($status, $out, $err) = $node->psql($database, $sql);
	like($err, $why, "$database: $what");
	return;
}

sub restored
{
	my ($name) = @_;
	is(quarantined($name), 's.ev_1 s.ev_2', "$name: what is in quarantine is known");
	is($node->safe_psql($name, "SELECT string_agg(relation::text || ': ' || reason, ', ' ORDER BY hold_id) FROM orchestry.holds WHERE released_at IS NULL"),
		's.ev_3: kept, s.dear: kept too', "$name: and what is held");
	refused($name, 'DROP TABLE s.ev_3', qr/because it is held/, 'holds are in force at once');
	refused($name, 'DROP TABLE s.dear', qr/because it is held/, 'all of them');
	# A rename must not shake a hold off.
	$node->safe_psql($name, 'CALL orchestry.run_due(); ALTER TABLE s.dear RENAME TO still_dear');
	refused($name, 'DROP TABLE s.still_dear', qr/because it is held/, 'by whatever name');
	$node->psql($name, "$late CALL orchestry.run(); CALL orchestry.run_due();");
	is(quarantined($name), 's.ev_1 s.ev_2', "$name: nothing is dropped");
	is(attached($name), 's.ev_3 s.ev_4 s.ev_5 s.ev_6', "$name: and nothing is detached");
	my $first = $node->safe_psql($name, "SELECT partition FROM orchestry.quarantine WHERE former_name = 's.ev_1'");
	$node->safe_psql($name, "SELECT orchestry.release_hold(orchestry.reattach('$first'), 'looked at')");
	is(attached($name), 's.ev_1 s.ev_3 s.ev_4 s.ev_5 s.ev_6', "$name: a partition comes back");
	is($node->safe_psql($name, 'SELECT count(*) FROM s.ev_1'), 31, "$name: with its rows");
	is($node->safe_psql($name, "$late SELECT orchestry.resume_all()"), 1, "$name: somebody says that it may go on");
	$node->safe_psql($name, "$late CALL orchestry.run('s.ev')");
	is(quarantined($name), 's.ev_1 s.ev_4', "$name: then what was in quarantine long enough goes, and what is due is detached");
	is(attached($name), 's.ev_3 s.ev_5 s.ev_6', "$name: but not what is held");
	is($node->safe_psql($name, "SELECT count(*) FROM pg_class WHERE relname ~ '_ev_2\$'"), 0, "$name: it is gone");
	cmp_ok($node->safe_psql($name, "SELECT orchestry.hold('s.ev_6', 'new')"), '>', 3, "$name: ids of holds go on");
	$node->safe_psql('postgres', "DROP DATABASE $name");
	return;
}

command_ok([ 'pg_dump', '-Fc', '-f', "$dir/custom", $node->connstr('source') ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE dumped');
command_ok([ 'pg_restore', '-d', $node->connstr('dumped'), "$dir/custom" ], 'pg_restore');
restored('dumped');

command_ok([ 'pg_dump', '-Fd', '-j2', '-f', "$dir/directory", $node->connstr('source') ], 'pg_dump -j2');
$node->safe_psql('postgres', 'CREATE DATABASE in_parallel');
command_ok([ 'pg_restore', '-j2', '-d', $node->connstr('in_parallel'), "$dir/directory" ], 'pg_restore -j2');
restored('in_parallel');

$node->safe_psql('postgres', 'CREATE DATABASE copied TEMPLATE source');
restored('copied');

$node->stop;
done_testing();
