#!/usr/bin/env bash
# What a rollup costs writers, and what a refresh and a read of it cost.
#
#   ROWS=20000000 APPS=200 RUNS=3 TRANSACTIONS=10000 test/bench/rollups.sh     (default: ROWS=1000000 APPS=10)
#
# The rows: APPS apps with 5 metrics each, a sample of each every 12 seconds until there are ROWS, in partitions of a day.
# Capture: COPY of a million of them, and single rows in transactions of their own, without and with an hourly rollup, in turns;
# medians of RUNS. Refresh: the first, with nothing changed, and after new rows at the head and all over the time; of one
# minute, and of an hour made of those minutes. Reads: 24 hours of one app; 30 days of all apps, hour by hour.
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
    "shared_buffers = 1GB" "max_wal_size = 16GB" "fsync = off" "synchronous_commit = off" "autovacuum = off" "jit = off" \
    "TimeZone = 'UTC'" "client_min_messages = warning"

sql -c "CREATE EXTENSION orchestry_ext"
for table in without watched month; do
    sql -c "CREATE TABLE $table (ts timestamptz NOT NULL, app int, metric int, value float8) PARTITION BY RANGE (ts)"
    sql -c "SELECT format('CREATE TABLE %I PARTITION OF $table FOR VALUES FROM (%L) TO (%L);', '${table}_' || to_char(day, 'MMDD'), day, day + '1 day')
            FROM generate_series('2026-01-29Z'::timestamptz, '2026-02-28Z', '1 day') day" | sql
    sql -c "CREATE INDEX ON $table (app, ts)"
done

# rows COUNT FROM TO: of all apps and metrics, one after the other, spread over that time; values with two decimals.
rows() {
    echo "SELECT '$2'::timestamptz + i * ('$3'::timestamptz - '$2') / $1, i / 5 % $APPS, i % 5, \
        round((50 + 30 * sin(i / 4000.0) + 8 * random())::numeric, 2)::float8 FROM generate_series(0, $1 - 1) i"
}
now=2026-03-01Z
start=$(sql -c "SELECT to_char('$now'::timestamptz - $ROWS / ($APPS * 5) * interval '12 s', 'YYYY-MM-DD HH24:MI:SSOF')")
rollup() { sql -c "SELECT orchestry.create_rollup('$1', '$2', 'ts', 'value', '$3', '{app,metric}' $4)" >/dev/null; }
# timed STATEMENT: its milliseconds, in a session that has run another before.
timed() { sql -c 'SELECT count(*) FROM orchestry.jobs' -c '\timing on' -c "$1" | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p'; }

rollup hourly watched '1 hour' ''
copied=$((ROWS < 1000000 ? ROWS : 1000000))
sql -c "COPY ($(rows "$copied" "$start" "$now")) TO '$work/rows'"
echo "capture: COPY of $copied rows (ms), single rows (per second)"
for ((run = 0; run < RUNS; run++)); do
    for table in without watched; do
        sql -c "TRUNCATE $table"
        ms sql -c "COPY $table FROM '$work/rows'" >>"$work/copy.$table"
        echo "INSERT INTO $table VALUES ('$now'::timestamptz - random() * interval '1 hour', 1, 1, 1);" >"$work/insert.sql"
        "$(ps_bindir)/pgbench" -n -f "$work/insert.sql" -t "$TRANSACTIONS" 2>/dev/null | sed -n 's/^tps = \([0-9]*\).*/\1/p' >>"$work/single.$table"
    done
done
for what in copy single; do
    without=$(median <"$work/$what.without")
    watched=$(median <"$work/$what.watched")
    echo "$what: without $without, with a rollup $watched, $(ratio "$watched" "$without")"
done

sql -c "TRUNCATE watched" -c "INSERT INTO watched $(rows "$ROWS" "$start" "$now")" -c "VACUUM ANALYZE watched" -c "CHECKPOINT"
refresh() { timed "CALL orchestry.refresh_rollup('$1')"; }
stored() { sql -c "SELECT count(*) FROM $1_buckets"; }
echo "refresh of $ROWS rows of $((APPS * 5)) series since $start, by the hour (ms)"
echo "first: $(refresh hourly); $(stored hourly) rows stored"
echo "nothing changed: $(for ((run = 0; run < 5; run++)); do refresh hourly; done | median)"
for percent in 0.1 1 10; do
    count=$(awk -v r="$ROWS" -v p="$percent" 'BEGIN { printf "%d", r * p / 100 }')
    sql -c "INSERT INTO watched $(rows "$count" "$(sql -c "SELECT '$now'::timestamptz - ('$now'::timestamptz - '$start') * $percent / 100")" "$now")"
    echo "$percent % new rows at the head: $(refresh hourly)"
done
sql -c "INSERT INTO watched $(rows $((ROWS / 100)) "$start" "$now")"
echo "1 % all over the time: $(refresh hourly)"

rollup minutely watched '1 minute' ''
rollup hours_of_minutes watched '1 hour' ", parent => 'minutely'"
echo "by the minute: $(refresh minutely); $(stored minutely) rows stored"
echo "by the hour, from the minutes: $(refresh hours_of_minutes)"

sql -c "INSERT INTO month $(rows $((APPS * 5 * 24 * 30 * 4)) "$(sql -c "SELECT '$now'::timestamptz - interval '30 days'")" "$now")" -c "VACUUM ANALYZE month"
rollup month_hourly month '1 hour' ''
refresh month_hourly >/dev/null
sql -c "VACUUM ANALYZE minutely_buckets, hourly_buckets, hours_of_minutes_buckets, month_hourly_buckets"
# execution QUERY: milliseconds, median of five.
execution() {
    for ((run = 0; run < 5; run++)); do
        sql -c "EXPLAIN (ANALYZE, TIMING OFF, SUMMARY ON) $1" | awk '/^Execution Time: / { print $3 }'
    done | median
}
echo "24 hours of one app, percentiles by metric (ms, execution)"
day="WHERE app = 7 AND %s >= '2026-02-28Z' AND %s < '$now' GROUP BY metric"
# shellcheck disable=SC2059 # the format is ours
{
    source_ms=$(execution "SELECT metric, percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY value) FROM watched $(printf "$day" ts ts)")
    echo "from the source, percentile_cont: $source_ms"
    echo "from the source, window_stats: $(execution "SELECT metric, orchestry.window_stats(value) FROM watched $(printf "$day" ts ts)")"
    for rollup in minutely hourly; do
        rollup_ms=$(execution "SELECT metric, orchestry.merge(summary) FROM $rollup $(printf "$day" bucket bucket)")
        echo "from $rollup: $rollup_ms, $(ratio "$source_ms" "$rollup_ms") times as fast"
    done
}
echo "30 days of all apps by the hour (ms, execution), $(stored month_hourly) rows stored"
echo "one metric of each app as stored: $(execution "SELECT bucket, app, avg_value, p95_value FROM month_hourly WHERE metric = 1 AND bucket >= '$now'::timestamptz - interval '30 days'")"
echo "each metric over all apps: $(execution "SELECT bucket, metric, sum(data_points), max(max_value), sum(avg_value * data_points) / sum(data_points) FROM month_hourly WHERE bucket >= '$now'::timestamptz - interval '30 days' GROUP BY bucket, metric")"
echo "the same with percentiles: $(execution "SELECT bucket, metric, orchestry.quantile(orchestry.merge(summary), 0.95) FROM month_hourly WHERE bucket >= '$now'::timestamptz - interval '30 days' GROUP BY bucket, metric")"
