#!/usr/bin/env bash
# What a round over many materialized views costs when few have changed, and what their triggers cost writers.
#
#   VIEWS=100 CHANGED=3 ROWS=1000 RUNS=3 TRANSACTIONS=10000 test/bench/matviews.sh
#
# VIEWS views of ROWS rows each, every one over a table of its own with ten times as many rows; before each round CHANGED of the
# tables change by one row. In turns: a round by policy (CALL orchestry.run_due()), and all refreshed as a clock would do it with
# plain SQL, concurrently and plainly, each view in a transaction of its own. The same by pg_cron, where it is installed: one job that
# calls run_due(), and one job for each view; each round takes the minute that pg_cron waits for. Then single-row transactions into a
# table without, and with 1 and 10 views on it. Medians of RUNS.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source-path=SCRIPTDIR source=../private_server.sh
. "$root/test/private_server.sh"
# shellcheck source-path=SCRIPTDIR source=../bench_tools.sh
. "$root/test/bench_tools.sh"

VIEWS=${VIEWS:-100}
CHANGED=${CHANGED:-3}
ROWS=${ROWS:-1000}
RUNS=${RUNS:-3}
TRANSACTIONS=${TRANSACTIONS:-10000}

work=$(mktemp -d /tmp/orchestry_bench.XXXXXX)
chmod 755 "$work"
trap 'ps_stop "$work" || true; rm -rf "$work"' EXIT
libraries=orchestry_ext
settings=()
if [[ -e $("$(ps_pg_config)" --sharedir)/extension/pg_cron.control ]]; then
    libraries=pg_cron,$libraries
    settings=("cron.database_name = 'postgres'" "cron.use_background_workers = on" "max_worker_processes = 40")
fi
ps_start "$work" "${settings[@]}" "shared_preload_libraries = '$libraries'" "orchestry.databases = ''" "shared_buffers = 512MB" \
    "max_wal_size = 16GB" "fsync = off" "synchronous_commit = off" "autovacuum = off" "jit = off"

sql -c "CREATE EXTENSION orchestry_ext" -c "DO \$\$ BEGIN
    FOR i IN 1..$VIEWS LOOP
        EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, v int)', i);
        EXECUTE format('INSERT INTO t%s SELECT n, n %% $ROWS FROM generate_series(1, 10 * $ROWS) n', i);
        EXECUTE format('CREATE MATERIALIZED VIEW v%s AS SELECT v, count(*), sum(id) FROM t%s GROUP BY v', i, i);
        EXECUTE format('CREATE UNIQUE INDEX ON v%s (v)', i);
        PERFORM orchestry.add_refresh_policy(format('v%s', i)::regclass);
    END LOOP;
END \$\$" -c "CALL orchestry.run()" -c "ANALYZE" >/dev/null
for ((i = 1; i <= VIEWS; i++)); do
    echo "REFRESH MATERIALIZED VIEW CONCURRENTLY v$i;" >>"$work/concurrently.sql"
    echo "REFRESH MATERIALIZED VIEW v$i;" >>"$work/plainly.sql"
done
echo "CALL orchestry.run_due();" >"$work/policy.sql"

# What each round finds.
changes() {
    local i
    for ((i = 1; i <= CHANGED; i++)); do
        echo "UPDATE t$((RANDOM % VIEWS + 1)) SET v = v + 1 WHERE id = 1;"
    done
    echo "UPDATE orchestry.job_state SET next_run_at = now();"
}

# One round in one session: prints ms and kilobytes of WAL.
round() { # NAME
    {
        changes
        echo "SELECT pg_current_wal_insert_lsn() AS lsn, clock_timestamp() AS at \\gset"
        cat "$work/$1.sql"
        echo "SELECT round(1000 * extract(epoch FROM clock_timestamp() - :'at')), round((pg_current_wal_insert_lsn() - :'lsn') / 1024)"
    } | sql -F ' ' | tail -n 1
}
show() { # NAME FILE
    echo "$1: $(cut -d' ' -f1 "$2" | median) ms, $(cut -d' ' -f2 "$2" | median) kB of WAL"
}
echo "a round over $VIEWS views of $ROWS rows, of which $CHANGED have changed"
for ((run = 0; run < RUNS; run++)); do
    for name in policy concurrently plainly; do
        round "$name" >>"$work/round.$name"
    done
    sql -c "CALL orchestry.run()" # what the clock has refreshed is known to have changed
done
for name in policy concurrently plainly; do
    show "$name" "$work/round.$name"
done

# One round by pg_cron, from the start of its first job to the end of its last one: prints the same.
round_by_cron() { # NAME
    local jobs finished lsn measured
    changes | sql
    jobs=$(wc -l <"$work/$1.sql")
    sed "s/'/''/g; s/.*/SELECT cron.schedule('* * * * *', '&');/; 1i BEGIN;
        \$a COMMIT;" "$work/$1.sql" | sql >/dev/null
    lsn=$(sql -c "SELECT pg_current_wal_insert_lsn()")
    finished=0
    while ((finished < jobs)); do
        sleep 0.5
        finished=$(sql -c "SELECT count(DISTINCT jobid) FROM cron.job_run_details WHERE end_time IS NOT NULL")
    done
    # The first run of each: another minute may have begun.
    measured=$(sql -F ' ' -c "SELECT round(1000 * extract(epoch FROM max(end_time) - min(start_time))), round((pg_current_wal_insert_lsn() - '$lsn') / 1024)
        FROM (SELECT DISTINCT ON (jobid) * FROM cron.job_run_details ORDER BY jobid, runid) d
        HAVING bool_and(status = 'succeeded') AND count(*) = $jobs")
    [[ -n $measured ]] || ps_fail "a job of pg_cron did not succeed"
    echo "$measured"
    sql -c "SELECT count(cron.unschedule(jobid)) FROM cron.job" -c "TRUNCATE cron.job_run_details" >/dev/null
}
if [[ $libraries == pg_cron,* ]]; then
    sql -c "CREATE EXTENSION pg_cron"
    echo "the same by pg_cron $(sql -c "SELECT extversion FROM pg_extension WHERE extname = 'pg_cron'")"
    for ((run = 0; run < RUNS; run++)); do
        for name in policy concurrently plainly; do
            round_by_cron "$name" >>"$work/cron.$name"
        done
        sql -c "CALL orchestry.run()"
    done
    for name in policy concurrently plainly; do
        show "$name" "$work/cron.$name"
    done
fi

echo "single rows (per second)"
sql -c "CREATE TABLE w (v int)" -c "INSERT INTO w VALUES (1)"
echo "INSERT INTO w VALUES (1);" >"$work/insert.sql"
views=0
for want in 0 1 10; do
    for (( ; views < want; views++)); do
        sql -c "CREATE MATERIALIZED VIEW w$views AS SELECT count(*) FROM w" -c "SELECT orchestry.add_refresh_policy('w$views')" -c "CALL orchestry.refresh('w$views')" >/dev/null
    done
    for ((run = 0; run < RUNS; run++)); do
        "$(ps_bindir)/pgbench" -n -f "$work/insert.sql" -t "$TRANSACTIONS" 2>/dev/null | sed -n 's/^tps = \([0-9]*\).*/\1/p'
    done | median | sed "s/^/with $want views: /"
done
