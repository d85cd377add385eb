#!/usr/bin/env bash
# The oldest quarter of a table's rows deleted: by a retention policy, by one DELETE, and in batches found by a LIMIT.
#
#   ROWS=20000000 ROUNDS=1 test/bench/retention.sh
#
# seconds   all of it; the median of ROUNDS
# longest   the longest transaction that the deleting session was seen in, in ms
# waits     the longest UPDATE of one row anywhere in the table, by a session that does nothing else meanwhile, in ms
# WAL, dead what was written for it, and the rows that VACUUM finds afterwards, or the next reader
#
# The policy is measured twice: with the index on the time column that finds little in much, and without any.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source-path=SCRIPTDIR source=../private_server.sh
. "$root/test/private_server.sh"
# shellcheck source-path=SCRIPTDIR source=../bench_tools.sh
. "$root/test/bench_tools.sh"

ROWS=${ROWS:-20000000}
ROUNDS=${ROUNDS:-1}

work=$(mktemp -d /tmp/orchestry_bench.XXXXXX)
chmod 755 "$work"
trap 'ps_stop "$work" || true; rm -rf "$work"' EXIT
ps_start "$work" "shared_preload_libraries = 'orchestry_ext'" "orchestry.databases = ''" \
    "shared_buffers = 1GB" "max_wal_size = 8GB" "checkpoint_timeout = 1h" "autovacuum = off"

sql <<SQL
CREATE EXTENSION orchestry_ext;
-- Samples of 200 applications in the order of their time, with some disorder, one per second.
CREATE TABLE source AS
SELECT n AS id, timestamptz '2026-01-01 00:00:00+00' + (n + 60 * random()) * interval '1 second' AS at, (n % 200)::int AS app, random() AS value, 0 AS v
FROM generate_series(1, $ROWS) n;
CREATE TABLE seen (who text, what text, ms float8);
CREATE TABLE stop ();
-- Polls for the longest transaction of an application until the table stop has a row.
CREATE PROCEDURE watch(who text) LANGUAGE plpgsql AS \$\$
DECLARE
    longest interval := '0';
BEGIN
    WHILE NOT EXISTS (SELECT FROM stop) LOOP
        longest := greatest(longest, (SELECT max(clock_timestamp() - a.xact_start) FROM pg_stat_activity a WHERE a.application_name = who AND a.state = 'active'));
        COMMIT;
        PERFORM pg_sleep(0.005);
    END LOOP;
    INSERT INTO seen VALUES (who, 'longest', 1000 * extract(epoch FROM longest));
END \$\$;
-- Changes rows, each in a transaction, until the table stop has a row. A row that is gone takes no time.
CREATE PROCEDURE update_rows(who text, relation text, rows bigint) LANGUAGE plpgsql AS \$\$
DECLARE
    longest interval := '0';
    start timestamptz;
BEGIN
    WHILE NOT EXISTS (SELECT FROM stop) LOOP
        start := clock_timestamp();
        EXECUTE format('UPDATE %I SET v = v + 1 WHERE id = \$1', relation) USING (random() * rows)::bigint;
        COMMIT;
        longest := greatest(longest, clock_timestamp() - start);
        PERFORM pg_sleep(0.001);
    END LOOP;
    INSERT INTO seen VALUES (who, 'waits', 1000 * extract(epoch FROM longest));
END \$\$;
CREATE PROCEDURE delete_by_limit(relation text, horizon timestamptz, n int) LANGUAGE plpgsql AS \$\$
DECLARE
    deleted bigint;
BEGIN
    LOOP
        EXECUTE format('DELETE FROM %1\$I WHERE ctid = ANY (ARRAY(SELECT ctid FROM %1\$I WHERE at < \$1 LIMIT \$2))', relation) USING horizon, n;
        GET DIAGNOSTICS deleted = ROW_COUNT;
        COMMIT;
        EXIT WHEN deleted = 0;
    END LOOP;
END \$\$;
SQL
horizon=$(sql -c "SELECT at FROM source WHERE id = $ROWS / 4")
now=$(sql -c "SELECT timestamptz '$horizon' + interval '10 days'")

# prepare INDEX: the table as new, in memory as far as it fits.
prepare() {
    sql <<SQL
SET client_min_messages = warning;
DROP TABLE IF EXISTS samples;
CREATE TABLE samples (LIKE source);
INSERT INTO samples SELECT * FROM source;
ALTER TABLE samples ADD PRIMARY KEY (id);
$1;
VACUUM (ANALYZE, FREEZE) samples;
CHECKPOINT;
SELECT pg_stat_reset_single_table_counters('samples'::regclass) \g /dev/null
DELETE FROM stop;
SQL
}

# measure NAME: stdin as one session, beside one that updates rows and one that watches. Prints the seconds.
measure() {
    local before after
    before=$(sql -c "SELECT pg_current_wal_lsn()")
    sql -c "CALL watch('$1')" &
    local watcher=$!
    sql -c "CALL update_rows('$1', 'samples', $ROWS)" &
    local updater=$!
    { echo "SET application_name = '$1';"; echo '\timing on'; cat; } | sql 2>&1 |
        awk '/^Time: / { ms += $2 } !/^Time: / { print > "/dev/stderr" } END { printf "%.2f\n", ms / 1000 }'
    sql -c "INSERT INTO stop DEFAULT VALUES"
    wait $watcher $updater
    after=$(sql -c "SELECT pg_current_wal_lsn()")
    sql -c "INSERT INTO seen VALUES ('$1', 'wal', pg_wal_lsn_diff('$after', '$before') / 1e6)"
    # Reading rows tidies up as well, so this comes first.
    sql -c "INSERT INTO seen SELECT '$1', 'dead', dead_tuple_count FROM pgstattuple('samples')"
    sql -c "INSERT INTO seen SELECT '$1', 'left', count(*) FROM samples WHERE at < '$horizon'"
}

sql -c "CREATE EXTENSION pgstattuple"
most() { sql -c "SELECT round(max(ms)::numeric, 0) FROM seen WHERE who = '$1' AND what = '$2'"; }

by_policy="SET orchestry.now = '$now';
    CALL orchestry.run('samples');"
one_delete="DELETE FROM samples WHERE at < '$horizon';"
by_limit="CALL delete_by_limit('samples', '$horizon', 10000);"
index="CREATE INDEX ON samples (at)"

# side NAME INDEX STATEMENTS
side() {
    prepare "$2"
    if [[ $1 == policy* ]]; then
        sql >/dev/null 2>&1 <<SQL
SET orchestry.now = '$now';
SELECT orchestry.add_retention_policy('samples', interval '10 days', time_column => 'at');
SQL
    fi
    measure "$1" <<<"$3" >>"$work/$1"
}

for ((round = 0; round < ROUNDS; round++)); do
    side policy "" "$by_policy"
    side delete "" "$one_delete"
    side limit "" "$by_limit"
    side policy_index "$index" "$by_policy"
    side delete_index "$index" "$one_delete"
done

echo "$ROWS rows, a quarter deleted"
row() { printf '%-32s %9s %10s %12s %10s %9s %10s\n' "$@"; }
row "" seconds "/ DELETE" "longest (ms)" "waits (ms)" "WAL (MB)" dead
# report NAME WORDS BESIDE
report() {
    local seconds
    seconds=$(median <"$work/$1")
    row "$2" "$seconds" "$(ratio "$seconds" "$(median <"$work/$3")")" "$(most "$1" longest)" "$(most "$1" waits)" "$(most "$1" wal)" "$(most "$1" dead)"
    local left
    left=$(most "$1" left)
    [[ $left == 0 ]] || echo "  $left rows are left"
}
report policy "policy" delete
report delete "one DELETE" delete
report limit "batches by LIMIT" delete
report policy_index "policy, index on the time" delete_index
report delete_index "one DELETE, index on the time" delete_index
