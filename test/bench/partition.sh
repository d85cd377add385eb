#!/usr/bin/env bash
# Maintenance of 1, 100 and 1,000 partitioned tables: orchestry_ext, pg_partman and a plain SQL loop.
#
#   PARENTS="1 100 1000" RUNS=5 test/bench/partition.sh
#
# create    the first nine daily partitions of each table (with a primary key and an index)
# nothing   a maintenance run that finds all as it should be (median of RUNS)
#           The day is today's and the hour six in the morning: in the last hours before a partition is due nothing
#           is taken for granted.
# one new   a run a day later: one new partition for each table (median of 3)
# two dropped  a run that drops the two oldest partitions of each table for good (no grace); not the first removal
# locks     the most locks that the maintaining session was seen to hold at once during `one new`
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source-path=SCRIPTDIR source=../private_server.sh
. "$root/test/private_server.sh"
# shellcheck source-path=SCRIPTDIR source=../bench_tools.sh
. "$root/test/bench_tools.sh"

PARENTS=${PARENTS:-1 100 1000}
RUNS=${RUNS:-5}

work=$(mktemp -d /tmp/orchestry_bench.XXXXXX)
chmod 755 "$work"
trap 'ps_stop "$work" || true; rm -rf "$work"' EXIT
ps_start "$work" "shared_preload_libraries = 'orchestry_ext'" "orchestry.databases = ''" \
    "orchestry.now = '$(date -u +%F) 06:00+00'" "timezone = 'UTC'" "shared_buffers = 512MB" "max_wal_size = 8GB" "autovacuum = off"

# seconds SQL: how long one session takes for the statements, without connecting.
seconds() {
    { echo '\timing on'; cat; } | ps_psql -qAt 2>&1 | awk '/^Time: / { ms += $2 } !/^Time: / { print > "/dev/stderr" } END { printf "%.4f\n", ms / 1000 }'
}

# peak_locks NAME: samples until told to stop, then prints the most locks that application NAME held.
watch_locks() {
    sql -c "CALL watch_locks('$1')"
}

has_partman=false
sql -c "CREATE EXTENSION orchestry_ext"
if sql -c "CREATE SCHEMA partman; CREATE EXTENSION pg_partman SCHEMA partman" 2>/dev/null; then
    has_partman=true
    echo "pg_partman $(sql -c "SELECT extversion FROM pg_extension WHERE extname = 'pg_partman'")"
else
    echo "pg_partman is not installed: its columns stay empty"
fi

sql <<'SQL'
CREATE TABLE locks_seen (application text, locks int);
CREATE TABLE stop_watching ();
-- Polls without sleeping between transactions for long; ends when the table stop_watching has a row.
CREATE PROCEDURE watch_locks(who text) LANGUAGE plpgsql AS $$
DECLARE
    peak int := 0;
    seen int;
BEGIN
    WHILE NOT EXISTS (SELECT FROM stop_watching) LOOP
        SELECT count(*) INTO seen FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.application_name = who;
        peak := greatest(peak, seen);
        COMMIT;
        PERFORM pg_sleep(0.002);
    END LOOP;
    INSERT INTO locks_seen VALUES (who, peak);
END $$;
-- What a careful DBA writes: looks for all missing names at once, then one transaction for each new partition.
CREATE PROCEDURE plain_maintain(first date, last date) LANGUAGE plpgsql AS $$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT t.relname AS parent, d::date AS day, t.relname || to_char(d, '_YYYYMMDD') AS part
             FROM pg_class t, generate_series(first, last, interval '1 day') d
             WHERE t.relkind = 'p' AND t.relnamespace = 'plain'::regnamespace
               AND NOT EXISTS (SELECT FROM pg_class p WHERE p.relnamespace = t.relnamespace
                               AND p.relname = t.relname || to_char(d, '_YYYYMMDD'))
    LOOP
        EXECUTE format('CREATE TABLE plain.%I (LIKE plain.%I INCLUDING ALL)', r.part, r.parent);
        EXECUTE format('ALTER TABLE plain.%I ATTACH PARTITION plain.%I FOR VALUES FROM (%L) TO (%L)',
                       r.parent, r.part, r.day, r.day + 1);
        COMMIT;
    END LOOP;
END $$;
SQL

sql <<'SQL'
CREATE PROCEDURE plain_drop(before date) LANGUAGE plpgsql AS $$
DECLARE
    part regclass;
BEGIN
    FOR part IN SELECT p.oid FROM pg_class t JOIN pg_inherits i ON i.inhparent = t.oid JOIN pg_class p ON p.oid = i.inhrelid
                WHERE t.relkind = 'p' AND t.relnamespace = 'plain'::regnamespace AND p.relname < t.relname || to_char(before, '_YYYYMMDD')
    LOOP
        EXECUTE format('DROP TABLE %s', part);
        COMMIT;
    END LOOP;
END $$;
SQL

make_tables() { # SCHEMA COUNT
    sql -c "DROP SCHEMA IF EXISTS $1 CASCADE; CREATE SCHEMA $1" 2>/dev/null
    sql <<SQL
SELECT format('CREATE TABLE $1.t%s (id bigint NOT NULL, ts timestamptz NOT NULL, app text, payload text, PRIMARY KEY (id, ts)) PARTITION BY RANGE (ts)', g),
       format('CREATE INDEX ON $1.t%s (app, ts)', g) FROM generate_series(1, $2) g \gexec
SQL
}

count_partitions() { sql -c "SELECT count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhparent WHERE c.relkind = 'p'"; }

drop_tables() { # SCHEMA: one table at a time, or the lock table overflows
    sql <<SQL
SELECT format('DROP TABLE %s', oid::regclass) FROM pg_class WHERE relkind = 'p' AND relnamespace = '$1'::regnamespace \gexec
SQL
}

# with_locks NAME: times stdin while another session watches its locks.
with_locks() {
    sql -c "DELETE FROM stop_watching"
    watch_locks "$1" &
    local watcher=$!
    { echo "SET application_name = '$1';"; cat; } | seconds
    sql -c "INSERT INTO stop_watching DEFAULT VALUES"
    wait $watcher
}
peak() { sql -c "SELECT max(locks) FROM locks_seen WHERE application = '$1'; DELETE FROM locks_seen"; }

# What autovacuum would have done by then: nobody is measured on the dead rows that another left in the server's catalogs.
tidy() { sql -c "VACUUM ANALYZE" >/dev/null; }

row() { printf '%-28s %12s %12s %12s %10s %10s\n' "$@"; }

for n in $PARENTS; do
    echo
    echo "$n table(s)                        seconds"
    row "" orchestry_ext pg_partman "plain loop" "/partman" "/plain"

    make_tables ours "$n"
    make_tables plain "$n"
    ours=$(sql -c "SELECT format('SELECT orchestry.add_partition_policy(%L, every => ''1 day'', ahead => ''8 days'')', oid::regclass) || ';'
                   FROM pg_class WHERE relkind = 'p' AND relnamespace = 'ours'::regnamespace" | seconds 2>/dev/null)
    plain=$(echo "CALL plain_maintain(current_date, current_date + 8);" | seconds)
    partman=-
    if $has_partman; then
        make_tables partman_set "$n"
        partman=$(sql -c "SELECT format('SELECT partman.create_parent(%L, ''ts'', ''native'', ''daily'', p_premake := 4)', oid::regclass) || ';'
                          FROM pg_class WHERE relkind = 'p' AND relnamespace = 'partman_set'::regnamespace" | seconds 2>/dev/null)
        sql -c "UPDATE partman.part_config SET infinite_time_partitions = true"
    fi
    row "create 9 each" "$ours" "$partman" "$plain" "$(ratio "$ours" "$partman")" "$(ratio "$ours" "$plain")"

    tidy
    echo "CALL orchestry.run();" | seconds >/dev/null # the first look at each table is a full one
    ours=$(for ((i = 0; i < RUNS; i++)); do
        sql -c "UPDATE orchestry.job_state SET next_run_at = now()" # as the scheduler finds them
        echo "CALL orchestry.run_due();" | seconds
    done | median)
    plain=$(for ((i = 0; i < RUNS; i++)); do echo "CALL plain_maintain(current_date, current_date + 8);" | seconds; done | median)
    partman=-
    if $has_partman; then
        partman=$(for ((i = 0; i < RUNS; i++)); do echo "CALL partman.run_maintenance_proc();" | seconds; done | median)
    fi
    row "nothing to do" "$ours" "$partman" "$plain" "$(ratio "$ours" "$partman")" "$(ratio "$ours" "$plain")"

    tidy
    ours=$(for day in 1 2 3; do
        echo "SELECT set_config('orchestry.now', (current_date + interval '$day days 6 hours')::text, false) \g /dev/null
              CALL orchestry.run();" | with_locks bench_ours
    done | median)
    ours_locks=$(peak bench_ours)
    plain=$(for day in 1 2 3; do
        echo "CALL plain_maintain(current_date, current_date + 8 + $day);" | with_locks bench_plain
    done | median)
    plain_locks=$(peak bench_plain)
    partman=- partman_locks=-
    if $has_partman; then
        partman=$(for day in 1 2 3; do
            sql -c "UPDATE partman.part_config SET premake = 4 + $day"
            echo "CALL partman.run_maintenance_proc();" | with_locks bench_partman
        done | median)
        partman_locks=$(peak bench_partman)
    fi
    row "one new each" "$ours" "$partman" "$plain" "$(ratio "$ours" "$partman")" "$(ratio "$ours" "$plain")"

    ahead="SELECT set_config('orchestry.now', (current_date + interval '3 days 6 hours')::text, false)"
    { echo "$ahead \\g /dev/null"
      sql -c "SELECT format('SELECT orchestry.add_retention_policy(%L, keep => ''1 day'', grace => ''0'')', oid::regclass) || ';'
              FROM pg_class WHERE relkind = 'p' AND relnamespace = 'ours'::regnamespace"
    } | ps_psql -q >/dev/null 2>&1
    sql -c "UPDATE orchestry.retention_policy SET announced_at = now()" # as after the first removal
    tidy
    before=$(count_partitions)
    ours=$(echo "$ahead \\g /dev/null
                 CALL orchestry.run();" | seconds)
    plain=$(echo "CALL plain_drop(current_date + 2);" | seconds)
    partman=-
    if $has_partman; then
        sql -c "UPDATE partman.part_config SET retention = '2 days', retention_keep_table = false"
        partman=$(echo "CALL partman.run_maintenance_proc();" | seconds)
        sql -c "DELETE FROM partman.part_config"
    fi
    row "two dropped each" "$ours" "$partman" "$plain" "$(ratio "$ours" "$partman")" "$(ratio "$ours" "$plain")"
    echo "partitions dropped: $(($before - $(count_partitions)))"
    row "locks held at once" "$ours_locks" "$partman_locks" "$plain_locks" "" ""
    for schema in ours plain partman_set; do
        [[ $schema == partman_set && $has_partman == false ]] || drop_tables $schema
    done
    sql -c "DROP SCHEMA IF EXISTS template CASCADE" 2>/dev/null || true
done
