# Indexes built by workers, concurrently, on tables and on all partitions of one; killed half-way, they are made whole.
use strict;
use warnings;
use Orchestry;
use Test::More;

my $database = 'postgres';
my $node = new_server('build_index', conf => "autovacuum = off\norchestry.databases = ''\n");
$node->safe_psql($database, <<'SQL');
CREATE EXTENSION orchestry_ext;
CREATE ROLE app LOGIN;
CREATE ROLE silent;
GRANT silent TO app;
CREATE SCHEMA s AUTHORIZATION app;
GRANT ALL ON SCHEMA s TO silent;
SET ROLE app;
SET search_path = s;
CREATE FUNCTION half(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 / 2';
CREATE TABLE plain (id int, v text);
INSERT INTO plain SELECT i, 'v' || i FROM generate_series(1, 1000) i;
CREATE TABLE "Parted" (id int NOT NULL, at timestamptz NOT NULL, v text) PARTITION BY RANGE (at);
CREATE TABLE p1 PARTITION OF "Parted" FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE p2 PARTITION OF "Parted" FOR VALUES FROM ('2026-02-01') TO ('2026-03-01') PARTITION BY RANGE (id);
CREATE TABLE "P 2 a" PARTITION OF p2 FOR VALUES FROM (0) TO (500);
CREATE TABLE p2_b PARTITION OF p2 FOR VALUES FROM (500) TO (10000);
INSERT INTO "Parted" SELECT i, timestamptz '2026-01-01' + (i % 50) * interval '1 day', 'v' || i FROM generate_series(1, 1000) i;
SET ROLE silent;
CREATE TABLE s.of_silent (id int);
SQL

my $as_app = 'SET SESSION AUTHORIZATION app; SET search_path = s, public;';
sub build
{
	my ($sql) = @_;
	return $node->safe_psql($database, "$as_app SELECT orchestry.build_index(\$sql\$$sql\$sql\$)");
}
sub jobs_left { return $node->safe_psql($database, "SELECT count(*) FROM orchestry.job WHERE kind = 'index'") }
sub steps_of
{
	my ($run) = @_;
	return $node->safe_psql($database, "SELECT string_agg(action || ' ' || object || ' ' || state, ', ' ORDER BY seq) FROM orchestry.run_step WHERE run_id = $run");
}

# Names of the caller's search_path mean the same in the worker.
my $run = build('CREATE UNIQUE INDEX "Plain Half" ON plain (half(id), v text_pattern_ops) INCLUDE (id) WITH (fillfactor = 70) WHERE half(id) > 3');
is(wait_for_run($node, $database, $run), 'ok', 'an index is built in a worker');
is(steps_of($run), 'build s."Plain Half" ok', 'in one step');
is($node->safe_psql($database, q(SELECT pg_get_indexdef('s."Plain Half"'::regclass), indisvalid FROM pg_index WHERE indexrelid = 's."Plain Half"'::regclass)),
	'CREATE UNIQUE INDEX "Plain Half" ON s.plain USING btree (s.half(id), v text_pattern_ops) INCLUDE (id) WITH (fillfactor=\'70\') WHERE (s.half(id) > 3)|t', 'as it was said, and valid');
is(jobs_left(), 0, 'and the job is gone');

# All partitions, of which one has an index of its own attached already by another name.
$node->safe_psql($database, "$as_app CREATE INDEX parted_at ON ONLY \"Parted\" (at, v); CREATE INDEX mine ON p1 (at, v); ALTER INDEX parted_at ATTACH PARTITION mine");
$run = build('CREATE INDEX parted_at ON "Parted" (at, v)');
is(wait_for_run($node, $database, $run), 'ok', 'on all partitions');
is(steps_of($run),
	'declare s.p2_parted_at ok, attach s.p2_parted_at ok, build s."P 2 a_parted_at" ok, attach s."P 2 a_parted_at" ok, build s.p2_b_parted_at ok, attach s.p2_b_parted_at ok',
	'step by step, but for what is there');
is($node->safe_psql($database, "SELECT bool_and(indisvalid), count(*) FROM pg_index i JOIN pg_partition_tree('s.parted_at') t ON t.relid = i.indexrelid"), 't|5', 'valid altogether');
is($node->safe_psql($database, "$as_app SELECT orchestry.build_index('CREATE INDEX parted_at ON \"Parted\" (at, v)') IS NULL"), 't', 'built again: nothing to do');

# Whatever the settings under which it is written, and looked for.
my $constants = q(CREATE INDEX odd_constants ON plain (id) WHERE day > '01.02.2026' AND at > '01.01.2026' AND half(id) < 1e9);
my $oddly = q(SET DateStyle = 'German'; SET TimeZone = 'Asia/Kolkata'; SET IntervalStyle = 'sql_standard'; SET quote_all_identifiers = on;);
$node->safe_psql($database, "$as_app ALTER TABLE plain ADD day date, ADD at timestamptz");
$run = $node->safe_psql($database, "$as_app $oddly SELECT orchestry.build_index(\$sql\$$constants\$sql\$)");
is(wait_for_run($node, $database, $run), 'ok', 'constants in the formats of the session');
is($node->safe_psql($database, q(SET TimeZone = 'UTC'; SELECT pg_get_expr(indpred, indrelid) FROM pg_index WHERE indexrelid = 's.odd_constants'::regclass)),
	q(((day > '2026-02-01'::date) AND (at > '2025-12-31 18:30:00+00'::timestamp with time zone) AND ((s.half(id))::numeric < '1000000000'::numeric))), 'mean what they mean there');
is(jobs_left(), 0, 'and the index is found');
is($node->safe_psql($database, "$as_app $oddly SELECT orchestry.build_index(\$sql\$$constants\$sql\$) IS NULL"), 't', 'again as well');
# An index on a table is none on those that inherit from it, as with CREATE INDEX.
$node->safe_psql($database, "$as_app CREATE TABLE child () INHERITS (plain)");
$run = build('CREATE INDEX plain_of_parent ON plain (id)');
is(wait_for_run($node, $database, $run), 'ok', 'a table that others inherit from');
is($node->safe_psql($database, q(SELECT count(*) FROM pg_index WHERE indrelid = 's.child'::regclass)), 0, 'they have none of it');

# Killed in the middle of a partition: a writer of that partition keeps CREATE INDEX CONCURRENTLY waiting.
my $old = $node->background_psql($database);
$old->query_safe('BEGIN; UPDATE s.p2_b SET v = v WHERE id = 600');
$run = build('CREATE INDEX parted_v ON "Parted" (v, id)');
wait_until($node, $database, "SELECT count(*) = 1 FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relname = 'p2_b_parted_v' AND NOT i.indisvalid");
my ($worker) = processes($node, 'worker');
my $mark = -s $node->logfile;
kill 'KILL', $worker or die "no process $worker";
wait_for_log($node, qr/all server processes terminated; reinitializing/, $mark);
eval { $old->{run}->kill_kill };
wait_for_recovery($node, $database);
is($node->safe_psql($database, "SELECT string_agg(c.relname || ' ' || i.indisvalid, ', ' ORDER BY c.relname) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relname ~ 'parted_v'"),
	'P 2 a_parted_v true, p1_parted_v true, p2_b_parted_v false, p2_parted_v false, parted_v false', 'half of it is there');
$run = build('CREATE INDEX parted_v ON "Parted" (v, id)');
is(wait_for_run($node, $database, $run), 'ok', 'called again');
is(steps_of($run), 'clear s.p2_b_parted_v ok, build s.p2_b_parted_v ok, attach s.p2_b_parted_v ok', 'it does what is left');
is($node->safe_psql($database, "SELECT bool_and(indisvalid), count(*) FROM pg_index i JOIN pg_partition_tree('s.parted_v') t ON t.relid = i.indexrelid"), 't|5', 'and all is valid');
is(jobs_left(), 0, 'and the job is gone');

# What fails says so and is tried again by its job, until it can be done.
$node->safe_psql($database, 'INSERT INTO s.plain VALUES (1, \'twice\')');
$run = build('CREATE UNIQUE INDEX plain_id ON plain (id)');
like(wait_for_run($node, $database, $run), qr/^failed\|23505\|could not create unique index/, 'rows that are equal');
is(jobs_left(), 1, 'the job stays');
$node->safe_psql($database, "DELETE FROM s.plain WHERE v = 'twice'");
$run = build('CREATE UNIQUE INDEX plain_id ON plain (id)');
is(wait_for_run($node, $database, $run), 'ok', 'and does it when they are not');
is(steps_of($run), 'clear s.plain_id ok, build s.plain_id ok', 'after what was left is gone');

# A name that something else has.
my ($status, undef, $stderr);
$run = build('CREATE INDEX p1 ON plain (v)');
like(wait_for_run($node, $database, $run), qr/^failed\|55000\|something else has the name "p1"/, 'a name that is taken');
($status, undef, $stderr) = $node->psql($database, "$as_app SELECT orchestry.build_index('CREATE INDEX p1 ON plain (id)')");
like($stderr, qr/another index "p1" is being built.*remove_policy/s, 'another index of the same name');
$node->safe_psql($database, "$as_app SELECT orchestry.remove_policy(job_id) FROM orchestry.jobs WHERE kind = 'index'");
is(jobs_left(), 0, 'given up');

# What no index can be on.
if ($node->safe_psql($database, 'SHOW server_version_num') >= 180000)
{
	$node->safe_psql($database, "$as_app ALTER TABLE plain ADD COLUMN g text GENERATED ALWAYS AS (upper(v)) VIRTUAL");
	for my $columns ('(g)', '(id) INCLUDE (g)', '((v || g))', q((id) WHERE g = 'V1'))
	{
		($status, undef, $stderr) = $node->psql($database, "$as_app SELECT orchestry.build_index(\$sql\$CREATE INDEX plain_g ON plain $columns\$sql\$)");
		like($stderr, qr/indexes on virtual generated columns are not supported/, "a virtual column is refused: $columns");
	}
	is(jobs_left(), 0, 'and there is no job');
}

# Whoever cannot connect cannot have a worker.
$run = $node->safe_psql($database, "SET SESSION AUTHORIZATION app; SELECT orchestry.build_index('CREATE INDEX silent_idx ON s.of_silent (id)')");
like(wait_for_run($node, $database, $run), qr/^(ok|failed\|0A000\|the step needs a background worker that is connected as the table's owner)/, 'an owner without LOGIN: built where the server lets a worker be that role, else refused with the reason');
$node->stop;
done_testing();
