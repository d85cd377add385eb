#!/usr/bin/env bash
# The long set of tests: what `make test` does with short counts, with the full ones, and on servers that check
# themselves. Goes on after a failure; one line for each section at the end; fails when a section has.
#
#   test/torture.sh [SECTION...]      (default: all, in this order)
#
#   assert     all suites on a server built with assertions
#   sanitize   the suites with the extension built with the address and undefined behaviour sanitizers
#   valgrind   regression, isolation and one TAP file on a server that tells Valgrind about its memory
#   fuzz       each fuzzer of test/fuzz
#   kill       kill -9 at random points, with full counts
#   races      objects changed under running jobs, lock stalls, deadlocks, thousands of partitions, with full counts
#   pgbench    readers and writers while partitions come and go
#   faults     an error at every place where one is injected
#   limits     full disks, and large partitions with little memory
#   leak       memory over many cycles and errors
#   databases  databases and extensions that come and go, with full counts
#   clock      all suites while a year begins, early and late in each test
#
# Environment:
#   TORTURE_DIR    servers and logs are kept there (default: /var/tmp/orchestry_torture)
#   FUZZ_RUNS      executions of each fuzzer (default: 100000000)
#   YEAR_AFTER     seconds after a test's start at which the year begins, one round each (default: 2 6 12 25 60)
#   DURATION, PARTITIONS, WITH_DEFAULT, RATE   see test/torture/pgbench.sh; DURATION counts for deadlocks as well
#   ORCHESTRY_SEED random tests repeat with the same seed
#   PG_CONFIG      the server to build for (default: the newest Debian one)
# shellcheck disable=SC2317 # the sections are called by their names
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
# shellcheck source-path=SCRIPTDIR source=private_server.sh
. test/private_server.sh
# shellcheck source-path=SCRIPTDIR source=build.sh
. test/build.sh

all_sections=(assert sanitize valgrind fuzz kill races pgbench faults limits leak databases clock)
sections=("$@")
((${#sections[@]} > 0)) || sections=("${all_sections[@]}")
TORTURE_DIR=$(realpath -m "${TORTURE_DIR:-/var/tmp/orchestry_torture}")
FUZZ_RUNS=${FUZZ_RUNS:-100000000}
mkdir -p "$TORTURE_DIR"
chmod 755 "$TORTURE_DIR"
export LC_ALL=C.UTF-8 MAKEFLAGS= # a calling make hands down variables that are not meant for our own

# suites NAME SUITES [TAP_FILES]: runs them and keeps their logs in $TORTURE_DIR/logs/NAME.
suites() {
    local logs=$TORTURE_DIR/logs/$1
    rm -rf "$logs"
    KEEP=$logs SUITES=$2 TAP_FILES=${3:-} test/run.sh
}

# long_tap NAME TAP_FILES: TAP files with their full counts, one after the other because some of them measure.
long_tap() {
    PG_TEST_TIMEOUT_DEFAULT=1800 ORCHESTRY_LONG=1 TEST_JOBS=1 suites "$1" tap "$2"
}

# no_reports PATTERN DIR: fails when a log below DIR has a line like this, and shows the first ones.
no_reports() {
    local found
    found=$(grep -rEl --include='*.log' --include='regress_log_*' "$1" "$2" || true)
    [[ -n $found ]] || { echo "no reports in the logs" && return; }
    echo "FAILED: reports in the logs:"
    # shellcheck disable=SC2086 # one path a line, none of which has spaces
    grep -En -A12 "$1" $found | head -n 80
    return 1
}

assert_server() { # [OPTION]: builds it unless it is there; prints its pg_config
    test/torture/assert_server.sh "$TORTURE_DIR/server${1:-}" "$@"
}

# wrapped_server SOURCE NAME: a copy of a server in which `postgres` is a shell script that ends in the given lines,
# read from stdin, where REAL is the program. Prints the copy's pg_config.
wrapped_server() {
    local copy=$TORTURE_DIR/$2
    rm -rf "$copy"
    cp -a "$1" "$copy"
    mv "$copy/bin/postgres" "$copy/bin/postgres.real"
    sed "1i #!/bin/sh
        s|REAL|$copy/bin/postgres.real|g" >"$copy/bin/postgres"
    chmod 755 "$copy/bin/postgres"
    ps_own "$copy"
    echo "$copy/bin/pg_config"
}

section_assert() {
    local server
    server=$(assert_server)
    PG_CONFIG=$server suites assert 'regress isolation tap pgtap'
    no_reports \
        'TRAP:|WARNING: .*(leak|was not closed|still referenced)|terminated by signal (6|11)' \
        "$TORTURE_DIR/logs/assert"
}

section_sanitize() {
    local server flags='-fsanitize=address,undefined'
    server=$(assert_server)
    server=$(wrapped_server "$(dirname "$(dirname "$server")")" sanitize <<LINES
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1
export LD_PRELOAD=$(realpath "$(gcc -print-file-name=libasan.so)"):$(realpath "$(gcc -print-file-name=libubsan.so)")
exec REAL "\$@"
LINES
    )
    # The TAP files that build modules of their own, or measure, have nothing to win here.
    PG_CONFIG=$server EXTRA_CXXFLAGS="$flags -fno-wrapv -fno-omit-frame-pointer -O1 -g" EXTRA_LINK=$flags \
        suites sanitize 'regress isolation tap' '_(top_level|scheduler|crash|schedule|kill|races)\.pl'
    no_reports 'AddressSanitizer|runtime error:|terminated by signal (6|11)' "$TORTURE_DIR/logs/sanitize"
}

section_valgrind() {
    local server reports=$TORTURE_DIR/valgrind_reports
    rm -rf "$reports"
    mkdir -m 1777 "$reports"
    server=$(assert_server --valgrind)
    server=$(dirname "$(dirname "$server")")
    server=$(wrapped_server "$server" valgrind <<LINES
exec valgrind --quiet --trace-children=yes --leak-check=no --suppressions=$server/share/valgrind.supp --log-file=$reports/%p.log REAL "\$@"
LINES
    )
    PG_CONFIG=$server PG_TEST_TIMEOUT_DEFAULT=1200 suites valgrind 'regress isolation tap' '_top_level\.pl'
    no_reports '.' "$reports"
}

section_fuzz() {
    local build=$root/build/fuzz fuzzer corpus failed=0
    cmake -S "$root" -B "$build" -DORCHESTRY_FUZZ=ON -DCMAKE_CXX_COMPILER=clang++ >/dev/null
    cmake --build "$build" --target fuzzers --parallel "$(nproc)" >/dev/null
    for fuzzer in test/fuzz/*_fuzz.cpp; do
        fuzzer=$(basename "$fuzzer" .cpp)
        corpus=$TORTURE_DIR/corpus/$fuzzer
        mkdir -p "$corpus"
        echo "-- $fuzzer: $FUZZ_RUNS runs"
        (cd "$corpus" && "$build/$fuzzer" -runs="$FUZZ_RUNS" -max_len=512 -seed="${ORCHESTRY_SEED:-1}" -rss_limit_mb=1024 \
            -print_final_stats=1 -verbosity=0 . 2>&1 | tail -n 20) || failed=1
    done
    return "$failed"
}

section_kill() { long_tap kill '_(kill|crash|backfill|events_whole)\.pl'; }
section_races() { long_tap races '_(race|races|stall|many|many_partitions|deadlock)\.pl'; }
section_faults() { long_tap faults '_faults\.pl'; }
section_limits() { long_tap limits '_(disk_full|memory_limit)\.pl'; }
section_leak() { long_tap leak '_leak\.pl'; }
section_databases() { long_tap databases '_databases\.pl'; }

# With the year begin a month, a day, an hour and a minute, and a week in some years. A TAP file has a clock of its own.
section_clock() {
    local clock=$TORTURE_DIR/clock year suite delay_s failed=0
    mkdir -p "$clock"
    ${CXX:-g++} -std=c++20 -O2 -Wall -Wextra -Werror -fPIC -shared -o "$clock/shifted_clock.so" test/torture/shifted_clock.cpp
    cp test/torture/ShiftedClock.pm "$clock/"
    year=$(date -u -d "$(($(date -u +%Y) + 1))-01-01" +%s)
    for delay_s in ${YEAR_AFTER:-2 6 12 25 60}; do
        echo "-- the year begins after $delay_s s"
        for suite in regress isolation pgtap docs; do
            SHIFTED_CLOCK_S=$((year - delay_s - $(date +%s))) LD_PRELOAD=$clock/shifted_clock.so suites "clock_${suite}_$delay_s" "$suite" || failed=1
        done
        SHIFTED_CLOCK=$clock/shifted_clock.so SHIFTED_CLOCK_AT=$year SHIFTED_CLOCK_DELAY_S=$delay_s PERL5OPT="-I$clock -MShiftedClock" \
            suites "clock_tap_$delay_s" tap || failed=1
    done
    return "$failed"
}

section_pgbench() {
    PG_CONFIG=$(ps_pg_config)
    export PG_CONFIG
    build_extension
    install_extension "$TORTURE_DIR/install.log"
    test/torture/pgbench.sh
}

if [[ ${1:-} == --one ]]; then # from below
    "section_$2"
    exit
fi

test/setup.sh
for section in "${sections[@]}"; do
    [[ " ${all_sections[*]} " == *" $section "* ]] || ps_fail "no section $section; there are: ${all_sections[*]}"
done
summary=()
failed=0
for section in "${sections[@]}"; do
    echo
    echo "==== $section"
    start=$SECONDS
    status=0
    # A process of its own, so that -e holds in it, and a failure ends the section and nothing else.
    test/torture.sh --one "$section" 2>&1 | tee "$TORTURE_DIR/$section.out" || status=$?
    verdict=ok
    ((status == 0)) || { verdict=FAILED && failed=1; }
    summary+=("$(printf '%-10s %-6s %5d s  %s' "$section" "$verdict" $((SECONDS - start)) \
        "$(grep -vE '^(no reports|$)' "$TORTURE_DIR/$section.out" | tail -n 1)")")
done
echo
echo "==== torture"
printf '%s\n' "${summary[@]}"
exit $failed
