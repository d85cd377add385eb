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
# again and again. They are dropped by the retention policy if this version has one, else by DETACH and DROP within a
# lock budget from a session of this script.
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

ps_psql -q <<SQL
CREATE EXTENSION orchestry_ext;
CREATE TABLE clock (at timestamptz); -- what the clients take for the time
INSERT INTO clock VALUES ('2030-01-01 00:30+00');
CREATE TABLE events (at timestamptz NOT NULL, id bigserial, kind int, note text, PRIMARY KEY (at, id)) PARTITION BY RANGE (at);
CREATE INDEX ON events (kind);
SELECT CASE WHEN $WITH_DEFAULT = 1 THEN 'CREATE TABLE events_default PARTITION OF events DEFAULT' ELSE '' END \gexec
SELECT orchestry.add_partition_policy('events', interval '1 hour', ahead => interval '12 hours', past => interval '24 hours');
INSERT INTO events (at, kind, note) SELECT '2030-01-01 00:30+00'::timestamptz - i * interval '2 s', i % 50, 'x' FROM generate_series(1, 20000) i;
ANALYZE;
SQL

retention=$(ps_psql -Atc "SELECT count(*) > 0 FROM pg_proc WHERE proname = 'add_retention_policy' AND pronamespace = 'orchestry'::regnamespace")
if [[ $retention == t ]]; then
    echo "dropped by: the retention policy"
    ps_psql -qAt -c "SELECT orchestry.add_retention_policy('events', interval '24 hours', grace => interval '1 hour', schedule => '1 hour')" >/dev/null
else
    echo "dropped by: DETACH and DROP from this script (there is no retention policy in this version)"
fi

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

# Takes the oldest partition away, as the retention policy would: nobody queues behind us for longer than the budget.
drop_oldest() {
    local partition
    partition=$(ps_psql -Atc "SELECT partition FROM orchestry.partitions p, clock c WHERE p.parent = 'events'::regclass
        AND p.upper_at <= c.at - interval '24 hours' ORDER BY p.lower_at LIMIT 1")
    [[ -n $partition ]] || return 0
    until ps_psql -q -c "SET lock_timeout = '$lock_timeout_ms ms'" -c "ALTER TABLE events DETACH PARTITION $partition" \
        2>>"$work/drop.log"; do sleep 0.1; done
    ps_psql -q -c "DROP TABLE $partition"
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
    [[ $retention == t ]] || drop_oldest
    # The rounds are spread over the time that the clients run.
    rest=$((start + round * DURATION * 900000000 / PARTITIONS - $(date +%s%N)))
    ((rest <= 0)) || sleep "$((rest / 1000000000)).$(printf %09d $((rest % 1000000000)))"
done
status=0
wait "$clients" || status=$?
clients=

created=$(ps_psql -Atc "SELECT count(*) FROM orchestry.run_steps WHERE action = 'create' AND state = 'ok'")
last=$(ps_psql -Atc "SELECT count(*) FROM pg_inherits WHERE inhparent = 'events'::regclass")
dropped=$((first + created - last))
failed_runs=$(ps_psql -Atc "SELECT COALESCE(sum(repeated), 0) FROM orchestry.run WHERE state NOT IN ('ok', 'noop', 'skipped')")
again=$(ps_psql -Atc "SELECT count(*) FROM orchestry.run_steps WHERE attempts > 1")
failed=$(sed -n 's/^number of failed transactions: \([0-9]*\).*/\1/p' "$work/with.out")
tail -c "+$((log_start + 1))" "$log" >"$work/part.log"
errors=$(grep -c 'client backend ERROR' "$work/part.log" || true)
ours=$(grep -c 'client backend ERROR: .*lock timeout' "$work/part.log" || true) # of drop_oldest, which tries again
deadlocks=$(grep -c 'deadlock detected' "$work/part.log" || true)
waits=$(grep -c 'client backend LOG: .*still waiting' "$work/part.log" || true)

echo "created $created, dropped $dropped; $failed_runs runs failed, $again steps stepped aside and came again"
echo "without: $(latencies without)"
echo "with:    $(latencies with)"
echo "failed transactions ${failed:-unknown}, errors $((errors - ours)), deadlocks $deadlocks," \
    "clients that waited for a lock for more than $((lock_timeout_ms + 50)) ms: $waits"
((status == 0)) || cat "$work/with.out"
((status == 0 && ${failed:-1} == 0 && errors == ours && deadlocks == 0 && waits == 0 && failed_runs == 0 &&
    created >= PARTITIONS && dropped >= PARTITIONS - 12))
