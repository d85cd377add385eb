# Materialized views by deadline, in workers: what changes is refreshed in time without anybody asking, what does not is left alone;
# what cannot be refreshed (no rights, an error, too slow) is a run with that state, and concerns nobody else. Whatever the owner of a
# view hides in it is executed as the owner, whoever asks for the refresh.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;

my $database = 'postgres';
my $node = new_server('matview_worker', conf => <<'CONF');
autovacuum = off
orchestry.databases = ''
CONF
$node->safe_psql($database, <<'SQL');
CREATE EXTENSION orchestry_ext;
CREATE ROLE alice LOGIN;
CREATE ROLE bob;
CREATE SCHEMA s;
GRANT ALL ON SCHEMA s TO alice, bob;
SET ROLE bob;
CREATE TABLE s.theirs (v int);
GRANT SELECT ON s.theirs TO alice;
SET ROLE alice;
CREATE TABLE s.t (v int);
INSERT INTO s.t VALUES (1);
CREATE TABLE s.slow_when (v bool);
INSERT INTO s.slow_when VALUES (false);
CREATE MATERIALIZED VIEW s.fresh AS SELECT count(*) AS n FROM s.t;
CREATE MATERIALIZED VIEW s.above AS SELECT n + 1 AS n FROM s.fresh;
CREATE MATERIALIZED VIEW s.bobs AS SELECT count(*) AS n FROM s.theirs;
CREATE MATERIALIZED VIEW s.failing AS SELECT 1 / v AS n FROM s.t;
CREATE MATERIALIZED VIEW s.slow AS SELECT v, CASE WHEN v THEN pg_sleep(100)::text END AS n FROM s.slow_when;
CREATE UNIQUE INDEX ON s.fresh (n);
RESET ROLE;
CREATE TABLE public.job AS SELECT v AS name, orchestry.add_refresh_policy(('s.' || v)::regclass, max_staleness => CASE v WHEN 'above' THEN '1 s'::interval ELSE '3 s' END, max_runtime => CASE v WHEN 'slow' THEN '1 s' ELSE '10 min' END::interval) AS id
    FROM unnest('{fresh,above,bobs,failing,slow}'::text[]) v;
CALL orchestry.run();
SQL
my %job = map { split /\|/ } split /\n/, $node->safe_psql($database, 'SELECT name, id FROM public.job');

# The table of somebody else cannot be watched, so its view is refreshed each time.
is($node->safe_psql($database, q(SELECT count(*) FROM pg_trigger WHERE tgrelid = 's.theirs'::regclass)), 0, q(nothing is put on somebody else's table));
is($node->safe_psql($database, q(SELECT reason FROM orchestry.explain('s.bobs') WHERE state = 'never skipped')),
	'it reads s.theirs, which belongs to somebody else and so cannot be watched', 'and explain() says so');

# By the scheduler, with a worker that is connected as alice.
$node->safe_psql($database, q(ALTER SYSTEM SET orchestry.databases = '*'));
$node->safe_psql($database, 'SELECT pg_reload_conf()');
wait_for_scheduler($node, $database, 0);
$node->safe_psql($database, 'INSERT INTO s.t VALUES (2)');
my $took = wait_until($node, $database, 'SELECT (TABLE s.above) = 3');
took_at_most($took, 3, 'a change is in the view on a view, whose promise is one second');
is($node->safe_psql($database, "SELECT string_agg(DISTINCT r.owner::regrole::text, ' ') FROM orchestry.run r WHERE r.job_id = $job{above} AND r.state = 'ok'"), 'alice', 'refreshed as its owner');
$node->safe_psql($database, 'INSERT INTO s.theirs VALUES (1)');
wait_until($node, $database, 'SELECT (TABLE s.bobs) = 1');
pass('a view that is never skipped is refreshed, too');

# What cannot be refreshed. The rows stay, the state says why, and the others go on.
$node->safe_psql($database, 'REVOKE SELECT ON s.theirs FROM alice; INSERT INTO s.t VALUES (0); UPDATE s.slow_when SET v = true');
wait_until($node, $database, "SELECT count(*) = 3 FROM orchestry.jobs WHERE job_id IN ($job{bobs}, $job{failing}, $job{slow}) AND last_state IN ('failed', 'timeout')");
is($node->safe_psql($database, "SELECT string_agg(concat_ws(' ', x.name, r.state, r.sqlstate), ', ' ORDER BY x.name) FROM public.job x
		CROSS JOIN LATERAL (SELECT * FROM orchestry.runs r WHERE r.job_id = x.id AND r.state IN ('failed', 'timeout') ORDER BY run_id DESC LIMIT 1) r"),
	'bobs failed 42501, failing failed 22012, slow timeout 57014', 'each has the state that it has come to');
is($node->safe_psql($database, 'SELECT (TABLE s.bobs), (SELECT count(*) FROM s.failing), (SELECT v FROM s.slow)'), '1|2|f', 'and the rows that it had');
is($node->safe_psql($database, "SELECT changed, last_error FROM orchestry.matviews WHERE job_id = $job{failing}"), 't|division by zero', 'and is known to have changed');
wait_until($node, $database, 'SELECT (TABLE s.above) = 4');
pass('the others are refreshed');
$node->safe_psql($database, 'GRANT SELECT ON s.theirs TO alice; DELETE FROM s.t WHERE v = 0; UPDATE s.slow_when SET v = false');
wait_until($node, $database, "SELECT count(*) = 3 FROM orchestry.jobs WHERE job_id IN ($job{bobs}, $job{failing}, $job{slow}) AND last_state IN ('ok', 'noop') AND failures = 0");
pass('and they as well, when they can be');

# Nothing changes: nothing is refreshed, whatever the time. What is written is that it was looked at.
$node->safe_psql($database, q(SELECT orchestry.stop_scheduler()));
$node->safe_psql($database, <<'SQL');
SELECT orchestry.remove_policy(id) FROM public.job;
DO $$ BEGIN
    FOR i IN 1..50 LOOP
        EXECUTE format('CREATE MATERIALIZED VIEW s.v%s AS SELECT v, count(*) FROM s.t GROUP BY v', i);
        PERFORM orchestry.add_refresh_policy(format('s.v%s', i)::regclass);
    END LOOP;
END $$;
CALL orchestry.run();
CHECKPOINT;
SQL
my $files = q(SELECT md5(string_agg(concat_ws(' ', oid, relfilenode), ',' ORDER BY oid)) FROM pg_class WHERE relkind = 'm');
my $before = $node->safe_psql($database, $files);
my ($ms) = $node->safe_psql($database, <<'SQL') =~ /([\d.]+)$/;
UPDATE orchestry.job_state SET next_run_at = now();
CALL orchestry.run_due(); -- what is done once: rows that the UPDATE has left are cleared away, plans
SET orchestry.now = '2100-01-01Z';
CHECKPOINT;
SELECT clock_timestamp() AS at \gset
CALL orchestry.run_due();
SELECT round(1000 * extract(epoch FROM clock_timestamp() - :'at'), 1);
SQL
my $written = $node->safe_psql($database, <<'SQL');
CREATE EXTENSION pg_walinspect;
CHECKPOINT;
SET orchestry.now = '2101-01-01Z';
SELECT pg_current_wal_insert_lsn() AS lsn \gset
CALL orchestry.run_due();
SELECT concat_ws(' ', count(*), count(*) FILTER (WHERE as_of = '2101-01-01Z' AND last_state = 'noop')) FROM orchestry.matviews;
CHECKPOINT; -- of which there are records at least
-- Whoever comes first to a page with dead rows tidies it up, a reader too.
SELECT string_agg(DISTINCT concat_ws(' ', resource_manager, record_type), ', ') FROM pg_get_wal_records_info(:'lsn', pg_current_wal_flush_lsn())
WHERE resource_manager NOT IN ('XLOG', 'Standby') AND record_type NOT LIKE 'PRUNE%';
SQL
is($node->safe_psql($database, $files), $before, 'views that have not changed are not touched');
is($written, "50 50\n", 'they are known to be right as of a later time, and nothing is written for that');
diag(sprintf '50 unchanged views: %.2f ms each', $ms / 50);

# Somebody writes to a partition: the table is watched later, and nobody waits for that.
my $writer = $node->background_psql($database);
$node->safe_psql($database, <<'SQL');
CREATE TABLE s.parted (id int, v int) PARTITION BY RANGE (id);
CREATE TABLE s.part PARTITION OF s.parted FOR VALUES FROM (0) TO (10);
CREATE MATERIALIZED VIEW s.of_parted AS SELECT count(*) AS n FROM s.parted;
SELECT orchestry.add_refresh_policy('s.of_parted');
SQL
$writer->query_safe('BEGIN; INSERT INTO s.part VALUES (1, 1)');
$node->safe_psql($database, q(CALL orchestry.refresh('s.of_parted')));
is($node->safe_psql($database, q(SELECT string_agg(concat_ws(' ', action, state), ', ' ORDER BY seq) FROM orchestry.run_steps WHERE run_id = (SELECT max(run_id) FROM orchestry.runs))),
	'watch skipped, refresh ok', 'a table with a writer in a partition is watched later');
$writer->query_safe('COMMIT');
$writer->quit;
$node->safe_psql($database, q(CALL orchestry.refresh('s.of_parted')));
is($node->safe_psql($database, q(SELECT n, (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'orchestry_watch%' AND tgrelid = 's.part'::regclass) FROM s.of_parted)), '1|1', 'and is right all the same');

# A view with more dead rows than others is refreshed plainly, unless somebody reads it.
$node->safe_psql($database, <<'SQL');
CREATE TABLE s.churning AS SELECT i AS id, 0 AS v FROM generate_series(1, 6000) i;
CREATE MATERIALIZED VIEW s.bloated AS SELECT id, v FROM s.churning;
CREATE UNIQUE INDEX ON s.bloated (id);
SELECT orchestry.add_refresh_policy('s.bloated');
SQL
$node->safe_psql($database, q(UPDATE s.churning SET v = v + 1; CALL orchestry.refresh('s.bloated'))) for 1 .. 2; # the end of a session publishes its counters
my $reader = $node->background_psql($database);
$reader->query_safe('BEGIN; SELECT count(*) FROM s.bloated');
my $dead = q(SELECT dead_rows FROM orchestry.matviews WHERE matview = 's.bloated'::regclass);
my $refresh = q(SET orchestry.lock_timeout = '20ms'; UPDATE s.churning SET v = v + 1; CALL orchestry.refresh('s.bloated'));
my $last = q(SELECT state, message FROM orchestry.run_steps WHERE action = 'refresh' ORDER BY run_id DESC, seq DESC LIMIT 1);
is($node->safe_psql($database, $dead), 12000, 'vacuum has not kept up');
$node->safe_psql($database, $refresh);
is($node->safe_psql($database, $last), 'ok|concurrently, because readers were in the way', 'nobody who reads is in the way of a refresh');
is($reader->query_safe('SELECT sum(v) FROM s.bloated'), 18000, 'nor is he kept waiting');
$reader->query_safe('COMMIT');
$node->safe_psql($database, $refresh);
is($node->safe_psql($database, "$last; $dead"), "ok|\n0", 'plainly when nobody reads');

# Whoever has dropped a view does not make others wait for the end of its triggers: they go when the table is free.
$node->safe_psql($database, q(SET client_min_messages = error; DROP MATERIALIZED VIEW s.bloated));
$reader->query_safe('BEGIN; SELECT count(*) FROM s.churning');
my $triggers = q(SELECT count(*) FROM pg_trigger WHERE tgrelid = 's.churning'::regclass);
$node->safe_psql($database, q(SET deadlock_timeout = '10ms'; SET log_lock_waits = on; SET orchestry.lock_timeout = '1s'; CALL orchestry.run_due()));
is($node->safe_psql($database, $triggers), 2, 'triggers of a dropped view stay while the table is in use');
is(count_log($node, 'still waiting for AccessExclusiveLock'), 0, 'and nobody waits for it');
$reader->query_safe('COMMIT');
$reader->quit;
$node->safe_psql($database, q(CALL orchestry.run_due()));
is($node->safe_psql($database, $triggers), 0, 'and go after that');

# Hidden in a view, and executed for a superuser.
$node->safe_psql($database, <<'SQL');
CREATE ROLE mallory LOGIN;
GRANT ALL ON SCHEMA s TO mallory;
SET SESSION AUTHORIZATION mallory;
CREATE TABLE s.seen (what text, who name, session name);
CREATE FUNCTION s.trap(what text, v int) RETURNS int LANGUAGE sql IMMUTABLE RETURN v;
CREATE TABLE s.bait (v int);
INSERT INTO s.bait VALUES (1);
CREATE MATERIALIZED VIEW s.trapped AS SELECT s.trap('query', v) AS v FROM s.bait;
CREATE UNIQUE INDEX ON s.trapped (v);
CREATE INDEX ON s.trapped (s.trap('index', v));
CREATE OR REPLACE FUNCTION s.trap(what text, v int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO s.seen VALUES (what, current_user, session_user);
    BEGIN
        EXECUTE 'RESET ROLE';
        INSERT INTO s.seen VALUES ('reset role', current_user, session_user);
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
    BEGIN
        EXECUTE 'RESET SESSION AUTHORIZATION';
        INSERT INTO s.seen VALUES ('reset session', current_user, session_user);
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
    BEGIN
        EXECUTE 'ALTER ROLE mallory SUPERUSER';
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
    RETURN v;
END $$;
SELECT orchestry.add_refresh_policy('s.trapped');
RESET SESSION AUTHORIZATION;
SET search_path = s, public;
CALL orchestry.refresh('s.trapped');
INSERT INTO s.bait VALUES (2);
CALL orchestry.refresh('s.trapped');
SELECT orchestry.alter_policy(job_id, '{"mode": "plain"}') FROM orchestry.matviews WHERE matview = 's.trapped'::regclass;
INSERT INTO s.bait VALUES (3);
SELECT count(*) FROM orchestry.plan('s.trapped');
SELECT count(*) FROM orchestry.explain('s.trapped');
CALL orchestry.refresh('s.trapped');
SQL
is($node->safe_psql($database, 'SELECT count(*) FROM s.trapped'), 3, 'a superuser refreshes the view of somebody else, concurrently and plainly');
is($node->safe_psql($database, q(SELECT string_agg(DISTINCT who::text, ' ') FROM s.seen WHERE what IN ('query', 'index'))), 'mallory', 'what is hidden in it is executed as its owner');
is($node->safe_psql($database, q(SELECT count(DISTINCT what) FROM s.seen WHERE what IN ('query', 'index'))), 2, 'both in the query and in an index');
is($node->safe_psql($database, q(SELECT string_agg(DISTINCT concat_ws(' ', what, who), ', ') FROM s.seen WHERE who <> 'mallory')), '', 'and wins no rights');
is($node->safe_psql($database, q(SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory')), 'f', 'nor keeps any');

# A source that is dropped takes its views along; their jobs follow.
$node->safe_psql($database, q(SET client_min_messages = error; DROP TABLE s.bait CASCADE; CALL orchestry.run_due()));
is($node->safe_psql($database, q(SELECT count(*) FROM orchestry.jobs WHERE target_name = 'trapped')), 0, 'a dropped source is the end of the job');
is(count_log($node, 'PANIC|TRAP|terminated by signal|WARNING:.*(leak|refcount|not closed)'), 0, 'the log is clean');
$node->stop;
done_testing();
