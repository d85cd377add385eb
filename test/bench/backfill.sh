#!/usr/bin/env bash
# A column of many rows is filled: orchestry.backfill() beside the loop that people write.
#
#   ROWS=1000000 RUNS=3 BATCH=10000 test/bench/backfill.sh
#
# Both fill the same column of equal tables, in turns, each on a table of its own that nobody else uses. The loop takes BATCH
# rows that are still NULL, by their keys, and commits; it is ended when it finds none. Then both once more beside a client
# that updates single rows, about 200 a second: how long it waited at most for a row, and how long its longest transaction took,
# with the commit, which waits for the disk that all share. Medians of RUNS.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source-path=SCRIPTDIR source=../private_server.sh
. "$root/test/private_server.sh"
# shellcheck source-path=SCRIPTDIR source=../bench_tools.sh
. "$root/test/bench_tools.sh"

ROWS=${ROWS:-1000000}
RUNS=${RUNS:-3}
BATCH=${BATCH:-10000}

work=$(mktemp -d /tmp/orchestry_bench.XXXXXX)
chmod 755 "$work"
trap 'ps_stop "$work" || true; rm -rf "$work"' EXIT
ps_start "$work" "shared_preload_libraries = 'orchestry_ext'" "orchestry.databases = ''" "shared_buffers = 1GB" \
    "max_wal_size = 16GB" "autovacuum = off" "jit = off"

sql <<SQL
CREATE EXTENSION orchestry_ext;
CREATE PROCEDURE loop_fill() LANGUAGE plpgsql AS \$\$
DECLARE filled bigint;
BEGIN
    LOOP
        UPDATE t SET phone = '' WHERE id IN (SELECT id FROM t WHERE phone IS NULL LIMIT $BATCH);
        GET DIAGNOSTICS filled = ROW_COUNT;
        EXIT WHEN filled = 0;
        COMMIT;
    END LOOP;
END \$\$;
CREATE TABLE stop_updating ();
CREATE TABLE updated (longest_update_ms numeric, longest_ms numeric, updates bigint);
CREATE PROCEDURE update_rows() LANGUAGE plpgsql AS \$\$
DECLARE
    began timestamptz;
    longest interval := '0';
    longest_update interval := '0';
    updates bigint := 0;
BEGIN
    DELETE FROM updated;
    WHILE NOT EXISTS (SELECT FROM stop_updating) LOOP
        began := clock_timestamp();
        UPDATE t SET visits = visits + 1 WHERE id = 1 + floor(random() * $ROWS)::bigint;
        longest_update := greatest(longest_update, clock_timestamp() - began);
        COMMIT;
        longest := greatest(longest, clock_timestamp() - began);
        updates := updates + 1;
        PERFORM pg_sleep(0.004);
        COMMIT;
    END LOOP;
    INSERT INTO updated VALUES (extract(epoch FROM longest_update) * 1000, extract(epoch FROM longest) * 1000, updates);
END \$\$;
SQL
make_table() {
    sql -c "SET client_min_messages = warning" -c "DROP TABLE IF EXISTS t" -c "CREATE TABLE t (id bigint PRIMARY KEY, name text, visits int NOT NULL DEFAULT 0, phone text)" \
        -c "INSERT INTO t SELECT i, 'user ' || i FROM generate_series(1, $ROWS) i" -c "VACUUM (FREEZE, ANALYZE) t" -c "CHECKPOINT"
}
declare -A call=([loop]="CALL loop_fill()" [backfill]="CALL orchestry.backfill('t', 'phone = ''''', 'phone IS NULL')")
check() { [[ $(sql -c "SELECT count(*) FROM t WHERE phone IS NULL") == 0 ]] || { echo "rows are left" >&2 && exit 1; }; }

for ((run = 0; run < RUNS; run++)); do
    for way in loop backfill; do
        make_table
        ms sql -c "${call[$way]}" >>"$work/ms.$way"
        check
    done
done
loop=$(median <"$work/ms.loop")
backfill=$(median <"$work/ms.backfill")
echo "$ROWS rows: loop $loop ms, backfill $backfill ms, $(ratio "$loop" "$backfill") times as fast"

for way in nobody loop backfill; do
    make_table
    sql -c "TRUNCATE stop_updating"
    sql -c "CALL update_rows()" &
    updater=$!
    if [[ $way == nobody ]]; then sleep 10; else sql -c "${call[$way]}"; fi
    sql -c "INSERT INTO stop_updating DEFAULT VALUES"
    wait "$updater"
    echo "single updates beside $way: $(sql -c "SELECT format('%s, longest %s ms, with its commit %s ms', updates, round(longest_update_ms, 1), round(longest_ms, 1)) FROM updated")"
done
