# health() finds nothing on an empty database and on stock pgbench, neither for a superuser nor for pg_monitor, on the
# primary and on a standby; it never hangs behind a lock; and it sees who waits for whom.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('health', init => { allows_streaming => 1 }, conf => "orchestry.databases = ''\nautovacuum = off\nmax_connections = 20\nmax_prepared_transactions = 2\n");
my $all = q(SELECT string_agg(concat_ws(' ', severity, code, object, detail), E'\n') FROM orchestry.health());
$node->safe_psql('postgres', 'CREATE ROLE watcher LOGIN IN ROLE pg_monitor; CREATE ROLE stranger LOGIN; CREATE DATABASE bench');
$node->safe_psql($_, 'CREATE EXTENSION orchestry_ext') for qw(postgres bench);
my @watcher = (extra_params => [ '-U', 'watcher' ]);

is($node->safe_psql('postgres', $all), '', 'nothing on an empty database');
is($node->safe_psql('postgres', $all, @watcher), '', 'nor for a member of pg_monitor');
is($node->safe_psql('postgres', q(SELECT string_agg(concat_ws(' ', severity, code), ', ') FROM orchestry.health()), extra_params => [ '-U', 'stranger' ]),
	'unknown visibility', 'others are told that they do not see everything');

command_ok([ 'pgbench', '-h', $node->host, '-p', $node->port, '-i', '-q', 'bench' ], 'stock pgbench is made');
is($node->safe_psql('bench', $all), '', 'nothing when it is made');
command_ok([ 'pgbench', '-h', $node->host, '-p', $node->port, '-n', '-c', '2', '-t', '500', 'bench' ], 'and run');
is($node->safe_psql('bench', $all), '', 'nothing when it has run');
is($node->safe_psql('bench', $all, @watcher), '', 'nor for a member of pg_monitor');

# A slot, a standby, and what each of them says.
$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('health_standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
is($node->safe_psql('postgres', q(SELECT kind, name, state, lag_bytes >= 0 FROM orchestry.replication)), 'standby|health_standby|streaming|t', 'the primary sees its standby');
is($node->safe_psql('postgres', q(SELECT kind, state, lag_bytes FROM orchestry.replication), extra_params => [ '-U', 'stranger' ]), 'standby|unknown|', 'which not everybody may');
is($node->safe_psql('postgres', q(SELECT severity, fix_sql FROM orchestry.health() WHERE code = 'replication_lag'), extra_params => [ '-U', 'stranger' ]),
	'unknown|GRANT pg_monitor TO stranger;', 'and is told');
is($standby->safe_psql('postgres', q(SELECT kind, state, lag_bytes FROM orchestry.replication)), 'receiver|replaying|0', 'the standby sees itself');
is($standby->safe_psql('bench', $all), '', 'nothing on a standby');
is($standby->safe_psql('bench', $all, @watcher), '', 'nor for a member of pg_monitor');
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
is($standby->safe_psql('postgres', q(SELECT severity, fix_sql FROM orchestry.health() WHERE code = 'replication_lag')), 'warning|SELECT pg_wal_replay_resume();', 'a paused replay is found');
$standby->stop;

# Locks: what cannot be looked at is unknown, and all the rest is known.
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE events (at timestamptz NOT NULL) PARTITION BY RANGE (at);
SELECT orchestry.add_partition_policy('events', '1 day');
CREATE TABLE events_rest PARTITION OF events DEFAULT;
CREATE TABLE broken (a int);
CREATE INDEX broken_idx ON broken (a);
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'broken_idx'::regclass;
CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM broken;
SELECT orchestry.add_refresh_policy('counted', interval '1 day');
CREATE TABLE gauge (at timestamptz NOT NULL, v float8);
SELECT orchestry.create_rollup('gauged', 'gauge', 'at', 'v', interval '1 day');
CREATE TABLE leaving (at timestamptz NOT NULL) PARTITION BY RANGE (at);
SELECT orchestry.add_partition_policy('leaving', interval '1 day', past => interval '3 days');
SELECT orchestry.add_retention_policy('leaving', interval '1 day');
CALL orchestry.run('leaving');
SQL
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM orchestry.quarantine WHERE bytes = 0'), '>', 0, 'some partitions are in quarantine');
# Neither a table that is to be dropped, nor one in quarantine that is rewritten, is in the way of whoever looks at others.
my $dropper = $node->background_psql('postgres');
$dropper->query_safe(<<'SQL');
BEGIN;
DO $$ BEGIN EXECUTE (SELECT format('LOCK %s, %s', min(partition::text), orchestry.partition_of('events', now())) FROM orchestry.quarantine); END $$;
DROP MATERIALIZED VIEW counted;
LOCK gauge;
SQL
is($node->safe_psql('postgres', q(SET lock_timeout = '1s'; SELECT matview, bytes FROM orchestry.matviews)), 'counted|0', 'a materialized view that is being dropped is still listed');
is($node->safe_psql('postgres', q(SELECT code FROM orchestry.health() WHERE severity = 'unknown')), '', 'and all checks come to their end');
is( $node->safe_psql('postgres', q(SELECT what, ok IS NULL, regexp_replace(detail, '\d{8}', 'TODAY') FROM orchestry.verify('events') WHERE what = 'prunes')),
	'prunes|t|a query for one partition cannot be planned: AccessShareLock on public.events_pTODAY is not to be had within orchestry.lock_timeout',
	'verify() says what it could not look at');
is( $node->safe_psql('postgres', q(SELECT what, ok IS NULL, detail FROM orchestry.verify('gauge') WHERE ok IS NOT TRUE)),
	'rollup|t|cannot be looked at: AccessShareLock on public.gauge is not to be had within orchestry.lock_timeout', 'of rollups as well');
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK events_rest, broken');
is($node->safe_psql('postgres', q(SELECT severity, code, detail FROM orchestry.health() WHERE severity = 'unknown')),
	'unknown|default_rows|The check failed: canceling statement due to lock timeout (55P03).', 'a check that a lock is in the way of is unknown');
is($node->safe_psql('postgres', q(SELECT severity, object FROM orchestry.health() WHERE code = 'invalid_index')), 'warning|public.broken_idx', 'the others are not in its way');
my %view = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', q(SELECT relname FROM pg_class WHERE relnamespace = 'orchestry'::regnamespace AND relkind = 'v'
	AND relname IN ('unused_indexes', 'duplicate_indexes', 'invalid_indexes', 'missing_fk_indexes', 'table_bloat', 'cache_hit', 'connections', 'replication', 'wraparound', 'stale_statistics', 'jobs', 'rollups', 'matviews', 'quarantine')));
is($node->safe_psql('postgres', "SET lock_timeout = '1s'; SELECT sum(n) > 0 FROM (" . join(' UNION ALL ', map { "SELECT count(*) AS n FROM orchestry.$_" } sort keys %view) . ') v'),
	't', scalar(keys %view) . ' diagnostic views wait for no lock');
$dropper->query_safe('ROLLBACK');
$dropper->quit;
$node->safe_psql('postgres', q(SELECT orchestry.drop_rollup('gauged'); DROP TABLE gauge, leaving CASCADE; DROP MATERIALIZED VIEW counted));

# Who waits for whom, an hour on by the clock of the checks.
my $waiter = $node->background_psql('postgres', on_error_stop => 0);
$waiter->query_until(qr/asked/, "\\echo asked\nSELECT count(*) FROM broken;\n");
wait_until($node, 'postgres', q(SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND waitstart IS NOT NULL));
is($node->safe_psql('postgres', q(SELECT count(*) FROM orchestry._check_lock_wait)), '0', 'a wait of a moment is none');
is( $node->safe_psql('postgres', <<'SQL'), 'warning|t|t|t', 'a long one is found with who is in the way, and the command that ends it');
SET orchestry.now = '2126-01-01';
SELECT h.severity, h.object = 'process ' || l.pid, h.detail LIKE '%AccessShareLock on public.broken%In the way: process ' || (pg_blocking_pids(l.pid))[1] || ' (%idle in transaction)%',
	h.fix_sql = format('SELECT pg_terminate_backend(%s);', (pg_blocking_pids(l.pid))[1])
FROM orchestry.health() h, pg_locks l WHERE h.code = 'lock_wait' AND NOT l.granted
SQL
like($node->safe_psql('bench', q(SET orchestry.now = '2126-01-01'; SELECT detail FROM orchestry.health() WHERE code = 'lock_wait')),
	qr/for AccessShareLock on a relation of database postgres for /, 'in another database, whose numbers mean something else, without a name');
$holder->query_safe('COMMIT');
$waiter->quit;
$node->safe_psql('postgres', 'DROP INDEX broken_idx');

# An index that is being built right now is not broken.
$holder->query_safe('BEGIN; INSERT INTO broken VALUES (1)');
my $builder = $node->background_psql('postgres', on_error_stop => 0);
$builder->query_until(qr/asked/, "\\echo asked\nCREATE INDEX CONCURRENTLY building ON broken (a);\n");
wait_until($node, 'postgres', q(SELECT count(*) = 1 FROM pg_index WHERE indrelid = 'broken'::regclass AND NOT indisvalid));
my $invalid = q(SELECT index, state, fix_sql IS NULL FROM orchestry.invalid_indexes);
is($node->safe_psql('postgres', $invalid), 'building|building|t', 'an index is being built');
is($node->safe_psql('postgres', $invalid, @watcher), 'building|building|t', 'which pg_monitor sees as well');
is($node->safe_psql('postgres', $invalid, extra_params => [ '-U', 'stranger' ]), 'building|unknown|t', 'and others do not know');
is($node->safe_psql('postgres', q(SELECT count(*) FROM orchestry.health() WHERE code = 'invalid_index')), '0', 'it is no finding');
$holder->query_safe('COMMIT');
$builder->quit;
is($node->safe_psql('postgres', $invalid), '', 'when it is built it is valid');

# What keeps dead rows: the command that is given ends it.
$node->safe_psql('postgres', "BEGIN; INSERT INTO broken VALUES (2); PREPARE TRANSACTION 'it''s mine'");
my $horizon = q(SET orchestry.now = '2126-01-01'; SELECT severity, object, fix_sql FROM orchestry.health() WHERE code = 'xmin_horizon');
is($node->safe_psql('postgres', $horizon), q(warning|prepared transaction it's mine|ROLLBACK PREPARED 'it''s mine';), 'a forgotten prepared transaction is found');
$node->safe_psql('postgres', q(ROLLBACK PREPARED 'it''s mine'));
is($node->safe_psql('postgres', $horizon), '', 'and gone');

# A slot that has lost its WAL.
$node->safe_psql('postgres', "SELECT pg_create_physical_replication_slot('forgotten', true); ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'; SELECT pg_reload_conf()");
$node->safe_psql('postgres', "CREATE TABLE wal_$_ (a int); SELECT pg_switch_wal()") for 1 .. 4;
$node->safe_psql('postgres', 'CHECKPOINT');
is($node->safe_psql('postgres', q(SELECT severity, object, evidence ->> 'wal_status', fix_sql FROM orchestry.health() WHERE code = 'replication_slot')),
	q(error|forgotten|lost|SELECT pg_drop_replication_slot('forgotten');), 'a lost slot is found');

# Clients, up to the last that an ordinary role gets.
my @clients = map { $node->background_psql('postgres') } 1 .. 16;
is($node->safe_psql('postgres', q(SELECT severity, (evidence ->> 'used')::int >= 18, evidence ->> 'available' FROM orchestry.health() WHERE code = 'connections')), 'error|t|17', 'too many clients are found');
is($node->safe_psql('postgres', 'SELECT used < (SELECT count(*) FROM pg_stat_activity) FROM orchestry.connections'), 't', 'and only clients are counted');
$_->quit for @clients;
$holder->quit;
$node->stop;
done_testing();
