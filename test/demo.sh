#!/usr/bin/env bash
# From a fresh Debian machine to tables whose partitions are made by background workers, in words and psql output.
#
#   make demo                       with a few months of generated data
#   make demo INPUT=DIRECTORY       with events.csv.gz and metrics.csv.gz of that directory, every source shifted
#                                   so that its newest row lies at now
#   make demo KEEP=1                leaves the server running and says how to reach it
#   test/demo.sh --stop DIRECTORY   stops and removes a server that was left running
#
# Fails when anything that it promises does not happen.
set -euo pipefail

INPUT=${INPUT:+$(cd "$INPUT" && pwd)}
cd "$(dirname "$0")/.."
# shellcheck source-path=SCRIPTDIR source=private_server.sh
. test/private_server.sh
# shellcheck source-path=SCRIPTDIR source=build.sh
. test/build.sh
export LC_ALL=C.UTF-8
export MAKEFLAGS= # a calling make hands down variables that are not meant for our own

wait_limit_s=60
place=/tmp/orchestry_demo # short: a unix socket lives below it

if [[ ${1-} == --stop ]]; then
    dir=${2:?usage: $0 --stop DIRECTORY}
    [[ $dir == "$place".* && -d $dir/data ]] || ps_fail "$dir is no server of the demo"
    PG_CONFIG=$(ps_pg_config)
    ps_stop "$dir"
    rm -rf "$dir"
    exit
fi

say() {
    printf '\n'
    printf '%s\n' "$*" | fold -s -w 100 | sed 's/^/## /; s/ *$//'
}

# show FILE [ARGUMENT...]: what a user would type, with its output.
show() {
    ps_psql -q --echo-queries --pset footer=off -f "test/demo/$1" "${@:2}"
}

ask() { # SQL: its one value
    ps_psql -qAt -c "$1"
}

# wait_for WHAT SQL: until the query answers t.
wait_for() {
    local deadline=$((SECONDS + wait_limit_s))
    until [[ $(ask "$2") == t ]]; do
        if ((SECONDS >= deadline)); then
            ask "TABLE orchestry.jobs" >&2
            ask "TABLE orchestry.runs" >&2
            ps_fail "waited $wait_limit_s s in vain: $1"
        fi
        sleep 0.2
    done
}

# require WHAT SQL: the query must answer t.
require() {
    [[ $(ask "$2") == t ]] || ps_fail "promised, but not so: $1"
    echo "checked: $1"
}

# load TABLE: copies the compressed CSV file of the input into TABLE_input.
load() {
    gzip -dc "$INPUT/$1.csv.gz" |
        ps_psql -q -c "COPY ${1}_input FROM STDIN (FORMAT csv, HEADER)"
    echo "$1.csv.gz: $(ask "SELECT count(*) FROM ${1}_input") rows"
}

for file in ${INPUT:+events.csv.gz metrics.csv.gz}; do
    [[ -r $INPUT/$file ]] || ps_fail "$INPUT has no $file"
done

say "Installing what is missing, with apt-get; nothing if all is there."
test/setup.sh --for demo
PG_CONFIG=$(ps_pg_config)
export PG_CONFIG

dir=$(mktemp -d "$place.XXXXXX")
finish() {
    local status=$?
    if ((status != 0)); then
        echo "the demo failed; the end of the server's log:" >&2
        tail -n 20 "$dir/server.log" >&2 2>/dev/null || true
    fi
    if ((status != 0)) || [[ -z ${KEEP:-} ]]; then
        ps_stop "$dir" || true
        rm -rf "$dir"
    fi
    exit "$status"
}
trap finish EXIT

say "Building for $($PG_CONFIG --version) and installing the extension there."
build_extension
install_extension "$dir/install.log"

say "Starting a private server as the user $(ps_user), with the library preloaded. It listens on a socket in" \
    "$dir and nowhere else."
ps_start "$dir" "shared_preload_libraries = 'orchestry_ext'" "orchestry.naptime = '1 s'" \
    "timezone = 'UTC'" "log_timezone = 'UTC'" "log_line_prefix = '%m [%p] %b %q%a '"
ps_psql -q -c "CREATE DATABASE demo" -c "CREATE ROLE app LOGIN"
export PGDATABASE=demo

say "Two tables that only grow, plain PostgreSQL: partitioned by time, without a single partition yet. They belong" \
    "to the role app, which is no superuser."
show tables.sql

if [[ -n $INPUT ]]; then
    say "Reading the real files into two staging tables."
    show input.sql
    load events
    load metrics
    metrics_every='1 month'
else
    metrics_every='1 week'
fi
past() { # TABLE DEFAULT: how far back the rows will reach
    if [[ -n $INPUT ]]; then
        ask "SELECT make_interval(days => max(days)) FROM (SELECT (max(at)::date - min(at)::date) + 1 AS days
             FROM ${1}_input GROUP BY source) s"
    else
        echo "$2"
    fi
}

say "One policy each: events by month, three months ahead; metrics by $metrics_every, four weeks ahead. We set the" \
    "clock of this session back by 125 days (a setting for tests), so the runway is made as of then. Seen from today" \
    "it has run out, as on a server that was switched off all that time: there is no partition for now."
show policies.sql -v metrics_every="$metrics_every" \
    -v events_past="$(past events '6 months')" -v metrics_past="$(past metrics '3 months')"

say "From here on we only watch. The scheduler, a background worker of the server, finds both jobs overdue" \
    "and hands each to a worker, which connects as app and makes the missing partitions."
for table in events metrics; do
    wait_for "a run of the job of $table" \
        "SELECT count(*) > 0 FROM orchestry.runs WHERE target = 'public.$table'
         AND state NOT IN ('queued', 'waiting', 'running')"
    require "the workers ran the job of $table by its schedule, and it went well" \
        "SELECT bool_and(state = 'ok' AND trigger = 'schedule' AND steps > 0)
         FROM orchestry.runs WHERE target = 'public.$table'"
done
# A month may have begun since.
reach() { # TABLE AHEAD: how far ahead of its run the partitions of a table reach
    require "partitions of $1 reach $2 ahead of now" \
        "SELECT max(upper_at) >= (SELECT max(r.started_at) FROM orchestry.runs r WHERE r.target = 'public.$1') + '$2'::interval
         FROM orchestry.partitions WHERE parent = '$1'::regclass"
}
reach events '3 months'
reach metrics '4 weeks'
show runs.sql

if [[ -n $INPUT ]]; then
    say "Moving the staged rows into the partitioned tables, every source shifted so that its newest row is now."
    show load.sql
else
    say "Generating six months of events and three of metrics."
    show generate.sql
fi
require "every row is there, each in the partition of its time" \
    "SELECT bool_and(loaded = counted AND loaded = in_partitions AND loaded > 0) FROM demo_counts"
show counts.sql

say "The tables at a glance, one line for each partition; of long tables the end."
show timeline.sql

say "Why each partition is as it is, and what will happen to it when."
show explain.sql

say "Now a mistake: somebody drops the partition of next month. The picture shows the gap, and the plan what a run" \
    "would do about it, why, by which SQL and with which locks. Looking changes nothing."
show mistake.sql
gap=$(ask "SELECT min(p.upper_at) FROM orchestry.partitions p WHERE p.parent = 'events'::regclass AND NOT EXISTS
           (SELECT FROM orchestry.partitions next WHERE next.parent = p.parent AND next.lower_at = p.upper_at)")
require "the plan sees the gap" \
    "SELECT count(*) = 1 FROM orchestry.plan('events') WHERE action = 'create' AND strpos(sql, '$gap') > 0 AND blocked_by IS NULL"

say "The next scheduled run would mend it. We do not want to wait for that, and hand the job to a background" \
    "worker now."
show repair.sql
wait_for "the repair" \
    "SELECT state NOT IN ('queued', 'waiting', 'running') FROM orchestry.runs WHERE trigger = 'manual'"
require "the run made this partition" \
    "SELECT bool_and(r.state = 'ok') AND count(*) = 1
     FROM orchestry.runs r JOIN orchestry.run_steps s USING (run_id) WHERE r.trigger = 'manual' AND s.action = 'create' AND strpos(s.sql, '$gap') > 0"
require "nothing is left to do for events" \
    "SELECT count(*) = 0 FROM orchestry.runs r, orchestry.plan('events', r.started_at) p
     WHERE r.trigger = 'manual' AND p.action = 'create'"

say "What there is to see at any time: jobs, runs and their steps, and what works on this server."
show status.sql

seconds=$SECONDS
if [[ -n ${KEEP:-} ]]; then
    say "Done in $seconds s. The server keeps running:"
    echo "connect:  $(ps_bindir)/psql -h $dir -U app demo"
    echo "stop:     test/demo.sh --stop $dir"
else
    say "Done in $seconds s. Stopping the server and removing it; with KEEP=1 it would stay."
fi
