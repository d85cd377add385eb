#!/usr/bin/env bash
# Readers and writers on a partitioned table while maintenance creates and drops partitions under them.
#
#   test/torture/pgbench.sh
#
# Environment:
#   DURATION      seconds with maintenance (default 600); a quarter of it is measured without, before
#   PARTITIONS    how many are created and how many dropped in that time (default 500)
#   WITH_DEFAULT  1: the table has a DEFAULT partition, which a new partition has to lock (default 0)
#   RATE          transactions a second of all clients together (default 400)
#
# Partitions are created by the policy's job in background workers, the clock (orchestry.now) being moved on by an hour
# again and again; the retention policy's job detaches them concurrently and drops them an hour later.
#
# Fails when a transaction failed, a deadlock happened, a run failed, or a client waited for a lock for longer than
# orchestry.lock_timeout + 50 ms. Prints p99 and maximum latency with and without maintenance.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source-path=SCRIPTDIR source=../private_server.sh
. "$root/test/private_server.sh"

DURATION=${DURATION:-600}
PARTITIONS=${PARTITIONS:-500}
WITH_DEFAULT=${WITH_DEFAULT:-0}
RATE=${RATE:-400}
lock_timeout_ms=200

PG_CONFIG=$(ps_pg_config)
export PG_CONFIG
pgbench=$(ps_bindir)/pgbench
work=$(mktemp -d /tmp/orchestry_pgbench.XXXXXX)
chmod 755 "$work"
clients=
finish() {
    local status=$?
    [[ -z $clients ]] || kill "$clients" 2>/dev/null || true
    ps_stop "$work/server" || true
    if ((status == 0)); then rm -rf "$work"; else echo "logs are in $work"; fi
    exit "$status"
}
trap finish EXIT

ps_start "$work/server" "shared_preload_libraries = 'orchestry_ext'" "max_worker_processes = 16" "fsync = off" \
    "orchestry.naptime = '1 s'" "orchestry.lock_timeout = '$lock_timeout_ms ms'" "orchestry.now = '2030-01-01 00:30+00'" \
    "orchestry.history_keep_runs = 100000" "orchestry.history_keep = '20000 d'" "log_lock_waits = on" \
    "deadlock_timeout = '$((lock_timeout_ms + 50)) ms'" "timezone = 'UTC'" "log_line_prefix = '%m [%p] %b '" \
    "max_wal_size = '4GB'"
log=$work/server/server.log

ps_psql -q >/dev/null <<SQL
CREATE EXTENSION orchestry_ext;
CREATE TABLE clock (at timestamptz); -- what the clients take for the time
INSERT INTO clock VALUES ('2030-01-01 00:30+00');
CREATE TABLE events (at timestamptz NOT NULL, id bigserial, kind int, note text, PRIMARY KEY (at, id)) PARTITION BY RANGE (at);
CREATE INDEX ON events (kind);
SELECT CASE WHEN $WITH_DEFAULT = 1 THEN 'CREATE TABLE events_default PARTITION OF events DEFAULT' ELSE '' END \gexec
SELECT orchestry.add_partition_policy('events', interval '1 hour', ahead => interval '12 hours', past => interval '24 hours');
SELECT orchestry.add_retention_policy('events', interval '24 hours', grace => interval '1 hour', schedule => '1 hour');
INSERT INTO events (at, kind, note) SELECT '2030-01-01 00:30+00'::timestamptz - i * interval '2 s', i % 50, 'x' FROM generate_series(1, 20000) i;
ANALYZE;
SQL

cat >"$work/write.sql" <<'SQL'
\set spread random(0, 3600)
\set kind random(0, 49)
INSERT INTO events (at, kind, note) SELECT at + :spread * interval '1 s', :kind, 'x' FROM clock;
SQL
cat >"$work/read.sql" <<'SQL'
\set kind random(0, 49)
SELECT count(*) FROM events WHERE at >= (SELECT at FROM clock) - interval '1 hour' AND kind = :kind;
SQL
cat >"$work/update.sql" <<'SQL'
\set kind random(0, 49)
UPDATE events SET note = 'y' WHERE (at, id) IN (SELECT at, id FROM events WHERE at >= (SELECT at FROM clock) AND kind = :kind LIMIT 1);
SQL
cat >"$work/everything.sql" <<'SQL'
SELECT 1 FROM events WHERE note = 'z' LIMIT 1;
SQL

# start_clients NAME SECONDS: in the background; $clients is their process.
start_clients() {
    "$pgbench" -n -c 8 -j 2 -R "$RATE" -T "$2" -l --log-prefix="$work/$1" -f "$work/write.sql@50" -f "$work/read.sql@30" \
        -f "$work/update.sql@15" -f "$work/everything.sql@5" >"$work/$1.out" 2>&1 &
    clients=$!
}

# latencies NAME: count, p99 and maximum in ms, of the time between a transaction's own start and its end.
latencies() {
    cat "$work/$1".[0-9]* | awk '{print ($3 - $7) / 1000}' | sort -n |
        awk '{v[NR] = $1} END {printf "%d transactions, p99 %.1f ms, maximum %.1f ms\n", NR, v[int(NR * 0.99)], v[NR]}'
}

before=$((DURATION / 4 > 5 ? DURATION / 4 : 5))
echo "without maintenance: $before s"
start_clients without "$before"
wait "$clients"
clients=

echo "with maintenance: $DURATION s, $PARTITIONS partitions"
first=$(ps_psql -Atc "SELECT count(*) FROM pg_inherits WHERE inhparent = 'events'::regclass")
log_start=$(wc -c <"$log")
start_clients with "$DURATION"
start=$(date +%s%N)
for ((round = 1; round <= PARTITIONS; round++)); do
    ps_psql -q -c "UPDATE clock SET at = at + interval '1 hour'"
    now=$(ps_psql -Atc "SELECT at FROM clock")
    ps_psql -q -c "ALTER SYSTEM SET orchestry.now = '$now'" -c "SELECT pg_reload_conf()" >/dev/null
    # The rounds are spread over the time that the clients run.
    rest=$((start + round * DURATION * 900000000 / PARTITIONS - $(date +%s%N)))
    ((rest <= 0)) || sleep "$((rest / 1000000000)).$(printf %09d $((rest % 1000000000)))"
done
status=0
wait "$clients" || status=$?
clients=

created=$(ps_psql -Atc "SELECT count(*) FROM orchestry.run_steps WHERE action = 'create' AND state = 'ok'")
last=$(ps_psql -Atc "SELECT count(*) FROM pg_inherits WHERE inhparent = 'events'::regclass")
detached=$((first + created - last))
dropped=$(ps_psql -Atc "SELECT count(*) FROM orchestry.run_steps WHERE action = 'drop' AND state = 'ok'")
failed_runs=$(ps_psql -Atc "SELECT COALESCE(sum(repeated), 0) FROM orchestry.run WHERE state NOT IN ('ok', 'noop', 'skipped')")
again=$(ps_psql -Atc "SELECT count(*) FROM orchestry.run_steps WHERE attempts > 1")
failed=$(sed -n 's/^number of failed transactions: \([0-9]*\).*/\1/p' "$work/with.out")
tail -c "+$((log_start + 1))" "$log" >"$work/part.log"
errors=$(grep -c 'client backend ERROR' "$work/part.log" || true)
deadlocks=$(grep -c 'deadlock detected' "$work/part.log" || true)
waits=$(grep -c 'client backend LOG: .*still waiting' "$work/part.log" || true)

echo "created $created, detached $detached, dropped $dropped; $failed_runs runs failed, $again steps stepped aside and came again"
echo "without: $(latencies without)"
echo "with:    $(latencies with)"
echo "failed transactions ${failed:-unknown}, errors $errors, deadlocks $deadlocks," \
    "clients that waited for a lock for more than $((lock_timeout_ms + 50)) ms: $waits"
((status == 0)) || cat "$work/with.out"
((status == 0 && ${failed:-1} == 0 && errors == 0 && deadlocks == 0 && waits == 0 && failed_runs == 0 &&
    created >= PARTITIONS && detached >= PARTITIONS - 12 && dropped >= PARTITIONS - 12))
