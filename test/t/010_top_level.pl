# A statement in a background worker runs at top level, as its caller, and its failure is recorded.
use strict;
use warnings;
use Orchestry;
use Test::More;

my $node = new_server('top_level', preload => 0);
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION orchestry_ext;
CREATE ROLE alice LOGIN;
CREATE ROLE nologin NOLOGIN;
GRANT EXECUTE ON FUNCTION orchestry.run_in_background(text) TO alice, nologin;
CREATE SCHEMA shop;
GRANT ALL ON SCHEMA shop TO alice;
CREATE TABLE shop.events (id int, at timestamptz NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE shop.events_1 PARTITION OF shop.events FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE shop.events_2 PARTITION OF shop.events FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
INSERT INTO shop.events SELECT g, '2026-01-15' FROM generate_series(1, 1000) g;
DELETE FROM shop.events_1 WHERE id % 2 = 0;
CREATE TABLE shop.seen (note text, session_name text, user_name text);
GRANT INSERT ON shop.seen TO alice;
SQL

sub runs_as_recorded
{
	my ($sql, $expected, $name, %option) = @_;
	my $run = background($node, 'postgres', $sql, %option);
	my $row = wait_for_run($node, 'postgres', $run);
	like($row, $expected, $name);
	return $run;
}

# Statements that refuse a transaction block, each with the effect that proves it.
runs_as_recorded('VACUUM (ANALYZE) shop.events_1', qr/^ok$/, 'VACUUM runs');
is($node->safe_psql('postgres', q(SELECT reltuples FROM pg_class WHERE oid = 'shop.events_1'::regclass)),
	'500', 'VACUUM had its effect');
runs_as_recorded('CREATE INDEX CONCURRENTLY events_1_id ON shop.events_1 (id)', qr/^ok$/,
	'CREATE INDEX CONCURRENTLY runs');
my $node_of = q(SELECT relfilenode FROM pg_class WHERE oid = 'shop.events_1_id'::regclass);
my $before = $node->safe_psql('postgres', $node_of);
runs_as_recorded('REINDEX INDEX CONCURRENTLY shop.events_1_id', qr/^ok$/, 'REINDEX CONCURRENTLY runs');
isnt($node->safe_psql('postgres', $node_of), $before, 'REINDEX CONCURRENTLY had its effect');
is( $node->safe_psql('postgres',
		q(SELECT count(*) FROM pg_index WHERE indrelid = 'shop.events_1'::regclass AND NOT indisvalid)),
	'0', 'no invalid index is left');
runs_as_recorded('ALTER TABLE shop.events DETACH PARTITION shop.events_2 CONCURRENTLY',
	qr/^ok$/, 'DETACH CONCURRENTLY runs');
is($node->safe_psql('postgres', q(SELECT count(*) FROM pg_inherits WHERE inhparent = 'shop.events'::regclass)),
	'1', 'DETACH CONCURRENTLY had its effect');
runs_as_recorded('ALTER SYSTEM SET work_mem = 1024', qr/^ok$/, 'ALTER SYSTEM runs');

# What is refused.
runs_as_recorded('SELECT 1; SELECT 2', qr/^failed\|42601\|expected exactly one statement$/,
	'two statements are refused');
runs_as_recorded('', qr/^failed\|42601\|expected exactly one statement$/, 'no statement is refused');
for my $statement ('BEGIN', 'COMMIT', 'ROLLBACK', 'SAVEPOINT a', "PREPARE TRANSACTION 'a'")
{
	runs_as_recorded($statement, qr/^failed\|0A000\|transaction control/, "$statement is refused");
}
for my $statement ('COPY shop.seen TO STDOUT', 'COPY shop.seen FROM STDIN')
{
	runs_as_recorded($statement, qr/^failed\|0A000\|COPY to or from the client/, "$statement is refused");
}

# Errors arrive whole.
my $run = runs_as_recorded('SELECT 1/0', qr/^failed\|22012\|division by zero$/, 'an error is recorded');
$run = runs_as_recorded(
	q(DO $$ BEGIN RAISE EXCEPTION 'm' USING ERRCODE = 'UX001', DETAIL = 'd', HINT = 'h'; END $$),
	qr/^failed\|UX001\|m$/, 'a user error is recorded');
is( $node->safe_psql('postgres',
		"SELECT detail, hint, context ~ 'RAISE' FROM orchestry.runs WHERE run_id = $run"),
	'd|h|t', 'with detail, hint and context');
$run = runs_as_recorded(
	q(DO $$ BEGIN CREATE TABLE shop.half (); PERFORM 1/0; END $$), qr/^failed\|22012/,
	'a statement that fails half-way');
is($node->safe_psql('postgres', q(SELECT to_regclass('shop.half') IS NULL)), 't', 'is rolled back');
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE shop.deferred (id int);
CREATE FUNCTION shop.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused at commit'; END $$;
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON shop.deferred DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION shop.refuse();
SQL
runs_as_recorded('INSERT INTO shop.deferred VALUES (1)', qr/^failed\|P0001\|refused at commit$/,
	'an error at commit is recorded');
runs_as_recorded('SELECT 1 FROM', qr/^failed\|42601\|syntax error/, 'a syntax error is recorded');

# A statement cannot keep its own end from being recorded.
runs_as_recorded('SET default_transaction_read_only = on', qr/^ok$/, 'a session made read-only');
runs_as_recorded('SET SESSION AUTHORIZATION alice', qr/^ok$/, 'a session made somebody else');
runs_as_recorded('SELECT pg_advisory_unlock_all()', qr/^ok$/, 'a session that gives up its locks');
runs_as_recorded('DISCARD ALL', qr/^ok$/, 'a discarded session');

# Nor can a limit that the database sets for its transactions: a job has its max_runtime.
my $pg_version = $node->safe_psql('postgres', 'SHOW server_version_num');
SKIP:
{
	skip 'no transaction_timeout before 17', 2 if $pg_version < 170000;
	$node->safe_psql('postgres', q(ALTER DATABASE postgres SET transaction_timeout = '1 h'));
	runs_as_recorded(q(DO $$ BEGIN RAISE EXCEPTION 'it is %', current_setting('transaction_timeout'); END $$),
		qr/it is 0$/, 'no transaction_timeout in a worker');
	is($node->safe_psql('postgres', 'SHOW transaction_timeout'), '1h', 'but in other sessions');
	$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET transaction_timeout');
}

# Who runs it.
my $record = q(INSERT INTO shop.seen VALUES ('x', session_user, current_user));
runs_as_recorded($record, qr/^ok$/, 'the statement of an ordinary role runs', as => 'alice');
is($node->safe_psql('postgres', 'SELECT session_name, user_name FROM shop.seen'),
	'alice|alice', 'as that role, with nothing to get back to');
runs_as_recorded('SELECT * FROM pg_authid', qr/^failed\|42501/, 'it has no right that the role lacks',
	as => 'alice');
runs_as_recorded('RESET SESSION AUTHORIZATION', qr/^ok$/, 'RESET SESSION AUTHORIZATION', as => 'alice');
runs_as_recorded(q(DO $$ BEGIN RESET SESSION AUTHORIZATION; PERFORM 1 FROM pg_authid; END $$),
	qr/^failed\|42501/, 'leads back to nobody else', as => 'alice');
$node->safe_psql('postgres', 'GRANT nologin TO alice');
$run = $node->safe_psql('postgres', <<'SQL');
SET SESSION AUTHORIZATION alice; SET ROLE nologin;
SELECT orchestry.run_in_background('SELECT * FROM pg_authid');
SQL
like(wait_for_run($node, 'postgres', $run),
	$pg_version >= 170000 ? qr/^failed\|42501/ : qr/^failed\|0A000\|a statement in the background needs a role that has LOGIN/,
	'a role without LOGIN never runs as somebody else');
$node->safe_psql('postgres', 'REVOKE CONNECT ON DATABASE postgres FROM PUBLIC');
runs_as_recorded($record, qr/^failed\|0A000/, 'nor does one that may not connect', as => 'alice');
$node->safe_psql('postgres', 'GRANT CONNECT ON DATABASE postgres TO PUBLIC');

# A run begins when its transaction has committed, and not at all when that is rolled back.
my $session = $node->background_psql('postgres');
$session->query_safe('BEGIN');
$run = $session->query_safe(q(SELECT orchestry.run_in_background('INSERT INTO shop.seen VALUES (''committed'')')));
is($node->safe_psql('postgres', q(SELECT count(*) FROM shop.seen WHERE note = 'committed')), '0',
	'nothing runs before the commit');
$session->query_safe('COMMIT');
is(wait_for_run($node, 'postgres', $run), 'ok', 'it runs after the commit');
$session->query_safe(q(BEGIN; SELECT orchestry.run_in_background('INSERT INTO shop.seen VALUES (''undone'')'); ROLLBACK));
$session->quit;
wait_until($node, 'postgres',
	q(SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'orchestry worker'));
is($node->safe_psql('postgres', q(SELECT count(*) FROM shop.seen WHERE note = 'undone')), '0',
	'what was rolled back never ran');

# Cancel.
$run = background($node, 'postgres', 'SELECT pg_sleep(3600)');
wait_until($node, 'postgres', "SELECT state = 'running' AND EXISTS (SELECT FROM pg_stat_activity a"
	  . " WHERE a.pid = r.pid AND a.query ~ 'pg_sleep') FROM orchestry.run r WHERE run_id = $run");
is($node->safe_psql('postgres', "SELECT orchestry.cancel_run($run)"), 't', 'a running statement is cancelled');
like(wait_for_run($node, 'postgres', $run), qr/^failed\|57014\|canceling statement/, 'and recorded so');
is($node->safe_psql('postgres', "SELECT cancel_by FROM orchestry.runs WHERE run_id = $run"),
	$node->safe_psql('postgres', 'SELECT session_user'), 'with who did it');
is($node->safe_psql('postgres', "SELECT orchestry.cancel_run($run)"), 'f', 'a second cancel finds nothing');

is( $node->safe_psql('postgres', q(SELECT count(*) FROM orchestry.run WHERE state IN ('queued', 'waiting', 'running'))),
	'0', 'no run is left open');
my $runs = $node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT run_id) FROM orchestry.run');
note("$runs runs");
is(count_log($node, qr/PANIC|terminated by signal|TRAP|still (active|referenced)|leak/), 0, 'the log is clean');
$node->stop;
done_testing();
