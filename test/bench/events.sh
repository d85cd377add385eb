#!/usr/bin/env bash
# Event compression: the aggregates against plain SQL that gives the same result, and the job against the same by hand.
#
#   EVENTS=5000000 DAYS="120 24" SETS="generated web git" test/bench/events.sh
#
# generated  EVENTS events, spread over each of DAYS (1 to 150), and by that more or fewer of them become one row
# web, git   the real events of ORCHESTRY_DATA (default: ../shared/data; none of it, no such sets): 10,000 requests of four
#            days, 100 times, each time a week later; the subjects of 125,451 commits of 18 years, of which few come together
#
# summarize  hourly rows by app and type, with counts by severity and the five newest distinct messages, of all events
# compress   the same into a table, with the events removed; by one plain statement and by the job in steps, both with
#            the VACUUM that comes after; and by the job from monthly partitions, which it takes as a whole
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source-path=SCRIPTDIR source=../private_server.sh
. "$root/test/private_server.sh"
# shellcheck source-path=SCRIPTDIR source=../bench_tools.sh
. "$root/test/bench_tools.sh"

EVENTS=${EVENTS:-5000000}
DAYS=${DAYS:-120 24}
data=${ORCHESTRY_DATA:-$root/../shared/data}/events.csv.gz
SETS=${SETS:-generated $([[ -e $data ]] && echo web git)}

work=$(mktemp -d /tmp/orchestry_bench.XXXXXX)
chmod 755 "$work"
trap 'ps_stop "$work" || true; rm -rf "$work"' EXIT
ps_start "$work" "shared_preload_libraries = 'orchestry_ext'" "orchestry.databases = ''" \
    "shared_buffers = 1GB" "max_wal_size = 8GB" "autovacuum = off" "jit = off" \
    "orchestry.now = '2027-01-01'"

# seconds NAME: runs the SQL of stdin, remembers and prints how long it took.
declare -A took
seconds() {
    took[$1]=$({ printf '%s\n' '\timing on'; cat; } | ps_psql -qAt |
        awk '/^Time: / { ms += $2 } END { printf "%.2f", ms / 1000 }')
    printf '%-50s %8s s\n' "$1" "${took[$1]}"
}

compare() { # PLAIN OURS
    awk -v plain="${took[$1]}" -v ours="${took[$2]}" 'BEGIN { printf "%-50s %8.2f\n", "  ratio", plain / ours }'
}

bytes() { # TABLE
    sql -c "SELECT format('%s: %s rows, %s, indexes %s', '$1', (SELECT count(*) FROM $1), pg_size_pretty(sum(pg_table_size(relid))), pg_size_pretty(sum(pg_indexes_size(relid))))
            FROM (SELECT relid FROM pg_partition_tree('$1') UNION SELECT '$1'::regclass) t"
}

generate() { # EVENTS DAYS
    echo "$1 events over $2 days, 40 apps, 5 types, 4 severities, 500 messages of each type; 2 percent without app"
    sql <<SQL
CREATE TABLE raw AS
SELECT '2026-01-01'::timestamptz + i * (interval '$2 days' / $1) + (hashint4(i) & 65535) * interval '1 ms' AS at,
       CASE WHEN i % 50 > 0 THEN 'app ' || abs(hashint4(i / 60)) % 40 END AS app, 'type ' || abs(hashint4(i + 7)) % 5 AS type,
       (ARRAY['info', 'info', 'info', 'warning', 'error', 'debug'])[1 + abs(hashint4(i + 3) % 6)] AS severity,
       'message number ' || abs(hashint4(i + 11) % 500) || ' of something that happened' AS message
FROM generate_series(1, $1) i;
SQL
}

load_real() { # SOURCE COPIES
    echo "the real events of $1, $2 times"
    { echo "CREATE TABLE file (at timestamptz, source text, app text, type text, severity text, message text, details jsonb);"
        echo "COPY file FROM STDIN (FORMAT csv, HEADER);"
        zcat "$data"; } | sql
    sql -c "CREATE TABLE raw AS SELECT at + i * interval '7 days' AS at, app, type, severity, message
            FROM generate_series(0, $2 - 1) i, file WHERE source = '$1' ORDER BY i, at" -c 'DROP TABLE file'
}

# Both levels of grouping once, then windows: the best of several forms that were tried.
plain_query="WITH m AS (SELECT date_trunc('hour', at, 'UTC') AS bucket, app, type, severity, message, count(*) AS n, min(at) AS first_at, max(at) AS last_at
    FROM raw GROUP BY 1, 2, 3, 4, 5),
s AS (SELECT bucket, app, type, sum(n)::bigint AS event_count, jsonb_object_agg(severity, n) AS severity_counts, min(first_at) AS first_at, max(last_at) AS last_at
    FROM (SELECT bucket, app, type, severity, sum(n)::bigint AS n, min(first_at) AS first_at, max(last_at) AS last_at FROM m GROUP BY 1, 2, 3, 4) v GROUP BY 1, 2, 3),
l AS (SELECT bucket, app, type, array_agg(message ORDER BY last_at DESC, message COLLATE \"C\") AS sample_messages FROM (
    SELECT *, row_number() OVER (PARTITION BY bucket, app, type ORDER BY last_at DESC, message COLLATE \"C\") AS place
    FROM (SELECT bucket, app, type, message, max(last_at) AS last_at FROM m GROUP BY 1, 2, 3, 4) d) p WHERE place <= 5 GROUP BY 1, 2, 3)
SELECT s.bucket, s.app, s.type, event_count, severity_counts, sample_messages, first_at, last_at
FROM s JOIN l ON s.bucket = l.bucket AND COALESCE(s.app, '') = COALESCE(l.app, '') AND s.type = l.type"
our_query="SELECT date_trunc('hour', at, 'UTC') AS bucket, app, type, count(*) AS event_count, orchestry.value_counts(severity) AS severity_counts,
    orchestry.latest_distinct(message, at, 5) AS sample_messages, min(at) AS first_at, max(at) AS last_at FROM raw GROUP BY 1, 2, 3"

# measure: of the events in `raw`.
measure() {
    sql <<SQL
CREATE EXTENSION orchestry_ext;
CREATE INDEX ON raw (at);
VACUUM ANALYZE raw;
SQL
    bytes raw
    for memory in 64MB 256MB; do
        settings="SET work_mem = '$memory';"
        seconds "summarize, work_mem $memory: plain SQL" <<<"$settings SELECT count(*) FROM ($plain_query) q WHERE sample_messages <> '{}' AND severity_counts <> '{}';"
        seconds "summarize, work_mem $memory: orchestry_ext" <<<"$settings SELECT count(*) FROM ($our_query) q WHERE sample_messages <> '{}' AND severity_counts <> '{}';"
        compare "summarize, work_mem $memory: plain SQL" "summarize, work_mem $memory: orchestry_ext"
    done
    sql -c "SET work_mem = '256MB'; CREATE TABLE by_plain AS $plain_query; CREATE TABLE by_ours AS $our_query"
    echo "rows that differ: $(sql -c "SELECT count(*) FROM ((TABLE by_plain EXCEPT TABLE by_ours) UNION ALL (TABLE by_ours EXCEPT TABLE by_plain)) d")"

    sql <<'SQL'
CREATE TABLE hand (LIKE raw);
CREATE TABLE job (LIKE raw);
INSERT INTO hand TABLE raw;
INSERT INTO job TABLE raw;
CREATE TABLE parts (LIKE raw) PARTITION BY RANGE (at);
SELECT format('CREATE TABLE parts_%s PARTITION OF parts FOR VALUES FROM (%L) TO (%L)', to_char(m, 'YYYYMM'), m, m + interval '1 month')
FROM (SELECT DISTINCT date_trunc('month', at) AS m FROM raw) d \gexec
INSERT INTO parts TABLE raw;
CREATE INDEX ON hand (at);
CREATE INDEX ON job (at);
CREATE INDEX ON parts (at);
VACUUM ANALYZE hand, job, parts;
CREATE TABLE hand_compressed (LIKE by_ours);
ALTER TABLE hand_compressed ADD UNIQUE NULLS NOT DISTINCT (bucket, app, type);
SET client_min_messages = error;
SELECT orchestry.add_event_compression_policy('job', '0', group_by => '{app,type}', count_values_of => 'severity', sample_of => 'message') \g /dev/null
SELECT orchestry.add_event_compression_policy('parts', '0', group_by => '{app,type}', count_values_of => 'severity', sample_of => 'message') \g /dev/null
CHECKPOINT;
SQL
    echo "planned: $(sql -c "SELECT reason FROM orchestry.plan('job') WHERE action = 'leave'")"
    seconds "compress: plain SQL, one statement" <<SQL
SET work_mem = '256MB';
WITH raw AS (DELETE FROM hand RETURNING *) INSERT INTO hand_compressed $plain_query;
SQL
    seconds "compress: plain SQL, VACUUM" <<<"VACUUM hand;"
    seconds "compress: orchestry_ext, rows" <<<"SET work_mem = '256MB'; CALL orchestry.run('job');"
    seconds "compress: orchestry_ext, VACUUM" <<<"VACUUM job;"
    seconds "compress: orchestry_ext, whole partitions" <<<"SET work_mem = '256MB'; CALL orchestry.run('parts');"
    sql -c "SELECT format('steps: %s of rows, %s of partitions', count(*) FILTER (WHERE action = 'compress'), count(*) FILTER (WHERE action = 'compress partition')) FROM orchestry.run_steps"
    took[by hand]=$(awk '{ print $1 + $2 }' <<<"${took[compress: plain SQL, one statement]} ${took[compress: plain SQL, VACUUM]}")
    took[by rows]=$(awk '{ print $1 + $2 }' <<<"${took[compress: orchestry_ext, rows]} ${took[compress: orchestry_ext, VACUUM]}")
    echo "plain SQL with VACUUM / rows with VACUUM, / whole partitions; rows with VACUUM / whole partitions"
    compare "by hand" "by rows"
    compare "by hand" "compress: orchestry_ext, whole partitions"
    compare "by rows" "compress: orchestry_ext, whole partitions"
    for job in job parts; do
        echo "rows that differ, $job: $(sql -c "SELECT count(*) FROM ((TABLE hand_compressed EXCEPT SELECT bucket, app, type, event_count, severity_counts, sample_messages, first_at, last_at FROM ${job}_compressed)
            UNION ALL (SELECT bucket, app, type, event_count, severity_counts, sample_messages, first_at, last_at FROM ${job}_compressed EXCEPT TABLE hand_compressed)) d")"
    done
    bytes job
    bytes parts
    bytes job_compressed
}

# each NAME FILL...: in a database of its own, filled by that command.
each() {
    echo "-- $1"
    sql -c "CREATE DATABASE \"$1\""
    export PGDATABASE=$1
    "${@:2}"
    measure
    export PGDATABASE=postgres
    sql -c "DROP DATABASE \"$1\""
}

for set in $SETS; do
    case $set in
    generated) for days in $DAYS; do each "generated, $days days" generate "$EVENTS" "$days"; done ;;
    web) each web load_real elastic-apache 100 ;;
    git) each git load_real git-history 1 ;;
    *) ps_fail "unknown set $set" ;;
    esac
done
