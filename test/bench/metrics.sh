#!/usr/bin/env bash
# Exact statistics of windows: orchestry_ext, PostgreSQL's own aggregates and the tdigest extension on the same rows.
#
#   ROWS=20000000 RUNS=3 test/bench/metrics.sh
#
# The rows are those of 200 apps with 5 metrics each, one after the other in time: random walks with two decimals.
# Each line is the median of RUNS, taken in turns. "/plain" is to avg, min, max and count alone, "/percentiles" to the
# same with percentile_cont for three percentiles (one array, which is the fastest way to write it, and three calls).
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source-path=SCRIPTDIR source=../private_server.sh
. "$root/test/private_server.sh"
# shellcheck source-path=SCRIPTDIR source=../bench_tools.sh
. "$root/test/bench_tools.sh"

ROWS=${ROWS:-20000000}
RUNS=${RUNS:-3}

work=$(mktemp -d /tmp/orchestry_bench.XXXXXX)
chmod 755 "$work"
trap 'ps_stop "$work" || true; rm -rf "$work"' EXIT
ps_start "$work" "shared_buffers = 1GB" "max_wal_size = 16GB" "fsync = off" "autovacuum = off" "jit = off" \
    "max_worker_processes = 16"

sql -c "CREATE EXTENSION orchestry_ext"
has_tdigest=false
if sql -c "CREATE EXTENSION tdigest" 2>/dev/null; then
    has_tdigest=true
    echo "tdigest $(sql -c "SELECT extversion FROM pg_extension WHERE extname = 'tdigest'")"
else
    echo "tdigest is not installed: its lines are missing"
fi

# The walks of all series go side by side, as samples come in.
sql -v rows="$ROWS" <<'SQL'
CREATE UNLOGGED TABLE metrics (ts timestamptz NOT NULL, app int NOT NULL, metric int NOT NULL, value float8);
SELECT setseed(0.5);
INSERT INTO metrics
SELECT '2026-01-01Z'::timestamptz + i / 1000 * interval '12 s' + i % 1000 * interval '11 ms', i / 5 % 200, i % 5,
       round((50 + 30 * sin(i / 1000 / 400.0 + i % 1000) + 8 * (random() + random() - 1))::numeric, 2)
FROM generate_series(0, :rows - 1) i;
VACUUM (ANALYZE) metrics;
SQL
echo "$(sql -c "SELECT count(*) FROM metrics") rows, $(sql -c "SELECT pg_size_pretty(pg_table_size('metrics'))")"

groups="FROM metrics GROUP BY app, metric"
declare -A queries=(
    [plain]="SELECT avg(value), min(value), max(value), count(value) $groups"
    [window_stats]="SELECT orchestry.window_stats(value) $groups"
    [percentile array]="SELECT avg(value), min(value), max(value), count(value), percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY value) $groups"
    [percentile x 3]="SELECT avg(value), min(value), max(value), count(value), percentile_cont(0.5) WITHIN GROUP (ORDER BY value), percentile_cont(0.95) WITHIN GROUP (ORDER BY value), percentile_cont(0.99) WITHIN GROUP (ORDER BY value) $groups"
    [summarize]="SELECT orchestry.summarize(value) $groups"
)
names=(plain window_stats "percentile array" "percentile x 3" summarize)
if $has_tdigest; then
    queries[tdigest]="SELECT avg(value), min(value), max(value), count(value), tdigest_percentile(value, 100, ARRAY[0.5, 0.95, 0.99]) $groups"
    names+=(tdigest)
fi

# seconds SETTINGS QUERY: execution without sending rows.
seconds() {
    sql -c "$1" -c "EXPLAIN (ANALYZE, TIMING OFF, SUMMARY ON) $2" | awk '/^Execution Time: / { printf "%.3f\n", $3 / 1000 }'
}

for work_mem in 4MB 64MB; do
    for workers in 0 2; do
        settings="SET work_mem = '$work_mem'; SET max_parallel_workers_per_gather = $workers"
        echo
        echo "all apps, work_mem $work_mem, $workers parallel workers"
        printf '%-20s %10s %10s %14s\n' "" seconds /plain /percentiles
        : >"$work/times"
        for ((run = 0; run < RUNS; run++)); do
            for name in "${names[@]}"; do
                echo "$name|$(seconds "$settings" "${queries[$name]}")" >>"$work/times"
            done
        done
        of() { grep "^$1|" "$work/times" | cut -d'|' -f2 | median; }
        plain=$(of plain)
        percentiles=$(of "percentile array")
        for name in "${names[@]}"; do
            printf '%-20s %10s %10s %14s\n' "$name" "$(of "$name")" "$(ratio "$(of "$name")" "$plain")" "$(ratio "$(of "$name")" "$percentiles")"
        done
    done
done
