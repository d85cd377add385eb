# What must not keep the scheduler from its work, nor from its rest: transactions that have started workers and stay open, and jobs
# whose tables are gone while others use what they watched.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;

my $database = 'postgres';
my $node = new_server('rest');
$node->safe_psql($database, 'CREATE EXTENSION orchestry_ext');
wait_for_scheduler($node, $database);

# One transaction starts no more workers than may work, and says so of the others.
my $many = q(SELECT count(orchestry.run_in_background('SELECT 1')) FROM generate_series(1, 20));
my (undef, undef, $err) = $node->psql($database, "BEGIN; $many; ROLLBACK");
is(scalar(() = $err =~ /waits for a background worker slot/g), 16, 'as many workers are started as orchestry.max_workers says');

# While it stays open they do not keep the others from working.
my $open = control_session($node, $database);
$open->query_safe('SET client_min_messages = error; BEGIN');
$open->query_safe($many);
my $job = make_policy($node, $database, 'events', ahead => 2);
$node->safe_psql($database, qq(SELECT orchestry.alter_policy($job, '{"ahead": "5 days"}')));
wait_until($node, $database, "SELECT last_state = 'ok' FROM orchestry.jobs WHERE job_id = $job");
pass('a job is run while a transaction that has started workers is open');
$open->query_safe('COMMIT');
wait_until($node, $database, q(SELECT count(*) = 20 FROM orchestry.run WHERE kind = 'statement' AND state = 'ok'));
pass('and what it has started is run when it has ended');

# The job of a dropped view stays until what it watched is free. Nothing is due for it.
$node->safe_psql($database, <<'SQL');
CREATE TABLE public.source (v int);
CREATE MATERIALIZED VIEW public.view AS SELECT count(*) FROM public.source;
SELECT orchestry.add_refresh_policy('public.view', '1 second');
CALL orchestry.run('public.view');
SQL
$open->query_safe('BEGIN; INSERT INTO public.source VALUES (1)');
$node->safe_psql($database, 'DROP MATERIALIZED VIEW public.view');
$node->safe_psql($database, q(ALTER SYSTEM SET orchestry.naptime = '1 h'));
my $rests = q(SELECT state = 'idle' AND (SELECT next_run_at < now() FROM orchestry.jobs WHERE state = 'dropped') FROM pg_stat_activity WHERE backend_type = 'orchestry scheduler');
wait_until($node, $database, $rests);
$node->reload;
wait_until($node, $database, $rests);
my %ticks;
$ticks{ $open->query_safe(q(SELECT pg_stat_clear_snapshot(); SELECT state_change FROM pg_stat_activity WHERE backend_type = 'orchestry scheduler')) }++ for 1 .. 300;
cmp_ok(scalar(keys %ticks), '<=', 3, 'the scheduler sleeps while the job of a dropped view has to wait');
$open->query_safe('COMMIT');
$open->quit;
$node->reload;
wait_until($node, $database, q(SELECT count(*) = 0 FROM orchestry.jobs WHERE state = 'dropped'));
is($node->safe_psql($database, q(SELECT count(*) FROM pg_trigger WHERE tgrelid = 'public.source'::regclass)), 0, 'and goes with its triggers when the table is free');
is(count_log($node, qr/PANIC|TRAP|FATAL|terminated by signal/), 0, 'the log is clean');
$node->stop;
done_testing();
