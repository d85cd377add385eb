# Rollups over generated columns, of servers that let their expressions be changed (17) and that compute them when they
# are read (18).
use strict;
use warnings;
use Orchestry;
use Test::More;

my $node = new_server('generated');
my $version = $node->safe_psql('postgres', 'SHOW server_version_num');
plan skip_all => 'expressions cannot be changed before 17' if $version < 170000;
$node->safe_psql('postgres', q(CREATE EXTENSION orchestry_ext; ALTER DATABASE postgres SET client_min_messages = warning));

# Rows of the rollup that are not what the source says, and how many there are.
sub wrong
{
	my ($rollup, $source) = @_;
	return $node->safe_psql('postgres', <<"SQL");
WITH fresh AS (SELECT date_trunc('hour', ts) AS bucket, count(*) AS n, max(v)::float8 AS top FROM $source GROUP BY 1),
    found AS (SELECT bucket, data_points AS n, max_value AS top FROM $rollup)
SELECT (SELECT count(*) FROM ((TABLE fresh EXCEPT TABLE found) UNION ALL (TABLE found EXCEPT TABLE fresh)) d) || ' of ' || (SELECT count(*) FROM found)
SQL
}

for my $kind ('STORED', $version >= 180000 ? 'VIRTUAL' : ())
{
	my $t = lc $kind;
	$node->safe_psql('postgres', <<"SQL");
CREATE TABLE $t (ts timestamptz NOT NULL, a int, v int GENERATED ALWAYS AS (a) $kind) PARTITION BY RANGE (ts);
CREATE TABLE ${t}_1 PARTITION OF $t FOR VALUES FROM ('2026-01-01Z') TO ('2026-02-01Z');
CREATE TABLE ${t}_2 PARTITION OF $t FOR VALUES FROM ('2026-02-01Z') TO ('2026-03-01Z');
INSERT INTO $t SELECT '2026-01-31Z'::timestamptz + i * interval '10 min', i FROM generate_series(0, 287) i;
SELECT orchestry.create_rollup('r_$t', '$t', 'ts', 'v', '1 hour');
CALL orchestry.refresh_rollup('r_$t');
SQL
	is(wrong("r_$t", $t), '0 of 48', "$kind: the rollup is right");
	for my $table ("${t}_1", $t)
	{
		$node->safe_psql('postgres', "ALTER TABLE $table ALTER COLUMN v SET EXPRESSION AS (a * 100 + length('$table'))");
		is(wrong("r_$t", $t), '0 of 48', "$kind: with another expression in $table as well, for whoever reads");
		$node->safe_psql('postgres', "CALL orchestry.refresh_rollup('r_$t')");
		is(wrong("r_$t", $t), '0 of 48', "$kind: and when it is stored");
	}
	$node->safe_psql('postgres', "UPDATE $t SET a = -a WHERE a < 50; CALL orchestry.refresh_rollup('r_$t')");
	is(wrong("r_$t", $t), '0 of 48', "$kind: changes of what it is generated from are seen");
}

SKIP:
{
	skip 'no virtual columns before 18', 2 if $version < 180000;
	$node->safe_psql('postgres', q(CREATE TABLE clock (us bigint, v float8, ts timestamp GENERATED ALWAYS AS (timestamp '2026-01-01' + us * interval '1 us'))));
	my (undef, undef, $error) = $node->psql('postgres', q(SELECT orchestry.create_rollup('r_clock', 'clock', 'ts', 'v', bucket => '1 hour')));
	like($error, qr/time column "ts" is a virtual generated column/, 'a time that no trigger sees is refused');
	like($error, qr/HINT:  Generate the column STORED/, 'with what to do');
}

$node->stop;
done_testing();
