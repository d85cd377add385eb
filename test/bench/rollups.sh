#!/usr/bin/env bash
# What a rollup costs writers, and what a refresh and a read of it cost.
#
#   ROWS=1000000 RUNS=3 TRANSACTIONS=10000 APPS=10 test/bench/rollups.sh
#
# Capture: COPY of ROWS rows, and single rows in transactions of their own, into a partitioned table without and with an
# hourly rollup, in turns. Refresh: of ROWS rows of 5 metrics of APPS apps in 59 days; the first, with nothing changed, and
# after new rows at the head and all over the time. Medians of RUNS.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source-path=SCRIPTDIR source=../private_server.sh
. "$root/test/private_server.sh"
# shellcheck source-path=SCRIPTDIR source=../bench_tools.sh
. "$root/test/bench_tools.sh"

ROWS=${ROWS:-1000000}
RUNS=${RUNS:-3}
TRANSACTIONS=${TRANSACTIONS:-10000}
APPS=${APPS:-10}

work=$(mktemp -d /tmp/orchestry_bench.XXXXXX)
chmod 755 "$work"
trap 'ps_stop "$work" || true; rm -rf "$work"' EXIT
ps_start "$work" "shared_preload_libraries = 'orchestry_ext'" "orchestry.databases = ''" "orchestry.now = '2026-03-01Z'" \
    "shared_buffers = 1GB" "max_wal_size = 16GB" "fsync = off" "synchronous_commit = off" "autovacuum = off" "jit = off"

sql -c "CREATE EXTENSION orchestry_ext"
for table in without watched; do
    sql -c "CREATE TABLE $table (ts timestamptz NOT NULL, app int, metric int, value float8) PARTITION BY RANGE (ts)"
    for month in 01 02; do
        sql -c "CREATE TABLE ${table}_$month PARTITION OF $table FOR VALUES FROM ('2026-$month-01') TO ('2026-0$((${month#0} + 1))-01')"
    done
done
sql -c "CREATE INDEX ON watched USING brin (ts)" -c "CREATE INDEX ON without USING brin (ts)" \
    -c "SELECT orchestry.create_rollup('hourly', 'watched', 'ts', 'value', '1 hour', '{app,metric}')" >/dev/null
rows="SELECT '2026-01-01Z'::timestamptz + i * interval '59 days' / $ROWS, i / 5 % $APPS, i % 5, round((50 + 30 * sin(i / 4000.0))::numeric, 2) FROM generate_series(0, $ROWS - 1) i"
sql -c "COPY ($rows) TO '$work/rows'"

echo "capture: COPY of $ROWS rows (ms), single rows (per second)"
for ((run = 0; run < RUNS; run++)); do
    for table in without watched; do
        sql -c "TRUNCATE $table"
        ms sql -c "COPY $table FROM '$work/rows'" >>"$work/copy.$table"
        echo "INSERT INTO $table VALUES ('2026-02-05Z'::timestamptz + random() * interval '1 hour', 1, 1, 1);" >"$work/insert.sql"
        "$(ps_bindir)/pgbench" -n -f "$work/insert.sql" -t "$TRANSACTIONS" 2>/dev/null | sed -n 's/^tps = \([0-9]*\).*/\1/p' >>"$work/single.$table"
    done
done
for what in copy single; do
    without=$(median <"$work/$what.without")
    watched=$(median <"$work/$what.watched")
    echo "$what: without $without, with a rollup $watched, $(ratio "$watched" "$without")"
done

echo "refresh of $(sql -c "SELECT count(*) FROM watched") rows (ms)"
refresh() { ms sql -c "CALL orchestry.refresh_rollup('hourly')"; }
sql -c "ANALYZE watched"
echo "first: $(refresh); $(sql -c "SELECT count(*) FROM hourly_buckets") rows stored"
echo "nothing changed: $(refresh)"
for percent in 0.1 1 10; do
    count=$(awk -v r="$ROWS" -v p="$percent" 'BEGIN { printf "%d", r * p / 100 }')
    hours=$(awk -v p="$percent" 'BEGIN { printf "%d", 59 * 24 * p / 100 + 1 }')
    sql -c "INSERT INTO watched SELECT '2026-03-01Z'::timestamptz - interval '1 s' - random() * $hours * interval '1 hour', i / 5 % $APPS, i % 5, 1 FROM generate_series(1, $count) i"
    echo "$percent % new rows at the head: $(refresh)"
done
sql -c "INSERT INTO watched SELECT '2026-01-01Z'::timestamptz + random() * interval '58 days', i / 5 % $APPS, i % 5, 1 FROM generate_series(1, $ROWS / 100) i"
echo "1 % all over the time, $(sql -c "SELECT count(*) FROM orchestry.dirty_mark") marks: $(refresh)"

echo "24 hours of one app (ms, execution)"
explain() { sql -c "EXPLAIN (ANALYZE, TIMING OFF, SUMMARY ON) $1" | awk '/^Execution Time: / { print $3 }'; }
echo "from the source: $(explain "SELECT metric, orchestry.window_stats(value) FROM watched WHERE app = 7 AND ts >= '2026-02-10' AND ts < '2026-02-11' GROUP BY metric")"
echo "from the rollup: $(explain "SELECT metric, orchestry.merge(summary) FROM hourly WHERE app = 7 AND bucket >= '2026-02-10' AND bucket < '2026-02-11' GROUP BY metric")"
