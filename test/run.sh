#!/usr/bin/env bash
# Install what is missing, build, and run the test suites; the last line printed is `N passed, N failed`.
#
#   test/run.sh
#
# Environment:
#   SUITES      which ones, out of: lint unit regress isolation tap pgtap docs (default: all)
#   PG_CONFIG   the server to build for and to test in (default: the newest Debian one)
#   TAP_FILES   only the TAP files whose path matches this regular expression (default: all)
#   TEST_JOBS   how many TAP files run at a time (default: the number of processors)
#   ORCHESTRY_DATA  directory of real data for the tests that want some (default: ../shared/data)
#   KEEP        directory to keep logs and results in (default: removed when all is well)
#
# What is counted: a check (lint), a unit test, a regression file, an isolation spec, a TAP or pgTAP
# assertion.  A file that dies counts as one failure at least.
#
# Servers and their clients run as an ordinary user in a copy of the tests, since that user may
# not even be able to read the checkout.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
# shellcheck source-path=SCRIPTDIR source=private_server.sh
. test/private_server.sh
# shellcheck source-path=SCRIPTDIR source=build.sh
. test/build.sh

extension=orchestry_ext
SUITES=${SUITES:-lint unit regress isolation tap pgtap docs}
jobs=$(nproc)
TEST_JOBS=${TEST_JOBS:-$jobs}
export LC_ALL=C.UTF-8
export MAKEFLAGS= # a calling make hands down variables that are not meant for our own

test/setup.sh
PG_CONFIG=$(ps_pg_config)
export PG_CONFIG
bindir=$($PG_CONFIG --bindir)
pgxs=$($PG_CONFIG --pgxs)
pgxs=${pgxs%/makefiles/*} # .../lib/pgxs/src

if [[ -n ${KEEP:-} ]]; then
    mkdir -p "$KEEP"
    work=$(cd "$KEEP" && pwd)
else
    work=$(mktemp -d /tmp/orchestry_test.XXXXXX) # short: unix sockets live below it
fi
chmod 755 "$work"

total_passed=0
total_failed=0
finish() {
    local status=$?
    ps_stop "$work/server" || true
    if [[ -z ${KEEP:-} ]]; then
        if ((status == 0)); then
            rm -rf "$work"
        else
            echo "logs and results are in $work"
        fi
    fi
    # Dying before the end is a failure even if nothing has been counted yet.
    if ((status != 0 && total_failed == 0)); then
        total_failed=1
    fi
    echo "$total_passed passed, $total_failed failed"
    exit "$status"
}
trap finish EXIT

heading() {
    echo
    echo "== $*"
}

# report SUITE PASSED FAILED [SKIPPED]: the one line per suite.
report() {
    local note=
    ((${4:-0} == 0)) || note=", $4 skipped"
    printf '%-10s %5d passed, %d failed%s\n' "$1" "$2" "$3" "$note"
    total_passed=$((total_passed + $2))
    total_failed=$((total_failed + $3))
}

# report_nothing SUITE REASON: a suite that ran no test has failed.
report_nothing() {
    echo "FAILED: $1: $2"
    report "$1" 0 1
}

count_lines() { # PATTERN FILE: number of matching lines
    grep -cE "$1" "$2" || true
}

stem() { # PATH: file name without directory and extension
    local name=${1##*/}
    echo "${name%.*}"
}

run_lint() {
    local passed=0 failed=0 check
    for check in "test/check_includes.sh --self-test" "test/check_includes.sh" \
        "test/lint_versions.sh --self-test" "test/lint_versions.sh" "test/symbols.sh"; do
        # shellcheck disable=SC2086 # a command with its arguments
        if $check; then
            passed=$((passed + 1))
        else
            echo "FAILED: $check"
            failed=$((failed + 1))
        fi
    done
    report lint $passed $failed
}

run_unit() {
    local build=$root/build/unit log=$work/unit.log results=$work/unit.xml passed failed skipped
    if ! { cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS=-O1 \
        -DCMAKE_COMPILE_WARNING_AS_ERROR=ON -DPG_CONFIG="$PG_CONFIG" &&
        cmake --build "$build" --parallel "$jobs"; } >"$log" 2>&1; then
        tail -n 60 "$log"
        report_nothing unit "does not build"
        return
    fi
    (cd "$build" && ctest --parallel "$jobs" --output-on-failure --output-junit "$results") \
        >"$log" 2>&1 || tail -n 100 "$log"
    # The attributes of the one <testsuite> element: tests, failures, disabled, skipped.
    attribute() { grep -A4 '<testsuite ' "$results" | sed -n "s/.*\b$1=\"\([0-9]*\)\".*/\1/p" | head -n 1; }
    failed=$(attribute failures)
    skipped=$(($(attribute disabled) + $(attribute skipped)))
    passed=$(($(attribute tests) - failed - skipped))
    if ((passed + failed + skipped == 0)); then
        report_nothing unit "no test found"
        return
    fi
    report unit "$passed" "$failed" "$skipped"
}

# The two programs of pg_regress print alike: `test NAME ... ok` on 15, `ok 1 - NAME` from 16 on.
run_pg_regress() { # SUITE PROGRAM INPUTDIR TEST...
    local suite=$1 program=$2 input=$3 log passed
    shift 3
    log=$work/$suite.log
    if (($# == 0)); then
        report_nothing "$suite" "no test found"
        return
    fi
    mkdir -p "$work/$suite"
    ps_own "$work/$suite"
    (cd "$work/$suite" && ps_as env PGPORT= PGHOST= "$program" --inputdir="$input" \
        --outputdir="$work/$suite" --bindir="$bindir" --temp-instance="$work/$suite/instance" \
        --temp-config="$work/tree/test/temp.conf" --no-locale --encoding=UTF8 \
        --dbname=contrib_regression --load-extension="$extension" "$@") >"$log" 2>&1 || {
        cat "$log"
        cat "$work/$suite/regression.diffs" 2>/dev/null || tail -n 40 "$work/$suite"/log/*.log
    }
    passed=$(count_lines '^(test .*\.\.\. ok|ok [0-9]+) ' "$log")
    report "$suite" "$passed" $(($# - passed))
}

run_regress() {
    local tests=() file
    for file in sql/*.sql; do
        # The install script is built beside the tests.
        [[ -e $file && ${file##*/} != "$extension"--* ]] && tests+=("$(stem "$file")")
    done
    run_pg_regress regress "$pgxs/test/regress/pg_regress" "$work/tree" "${tests[@]}"
}

run_isolation() {
    local tests=() file
    for file in test/isolation/specs/*.spec; do
        [[ -e $file ]] && tests+=("$(stem "$file")")
    done
    run_pg_regress isolation "$pgxs/test/isolation/pg_isolation_regress" \
        "$work/tree/test/isolation" "${tests[@]}"
}

# count_tap SUITE: adds up the logs $work/SUITE/*.log, each with a `status` file beside it.
count_tap() {
    local suite=$1 log ok not_ok skipped passed=0 failed=0 skips=0
    local skip='^ok\b.*# (skip|SKIP)|^1\.\.0 # (skip|SKIP)' # an assertion, or a whole file
    for log in "$work/$suite"/*.log; do
        [[ -e $log ]] || continue
        ok=$(grep -E '^ok\b|^not ok\b.*# TODO' "$log" | grep -vcE "$skip" || true)
        not_ok=$(grep -E '^not ok\b' "$log" | grep -vc '# TODO' || true)
        skipped=$(count_lines "$skip" "$log")
        if [[ $(cat "${log%.log}.status" 2>/dev/null) != 0 ]]; then
            ((not_ok > 0)) || not_ok=1
            echo "FAILED: $suite/$(stem "$log")"
            grep -A8 -E '^not ok' "$log" | head -n 60 || true
            tail -n 30 "$log"
        fi
        passed=$((passed + ok))
        failed=$((failed + not_ok))
        skips=$((skips + skipped))
        grep -E "$skip" "$log" | sed "s/^/$(stem "$log"): /" || true
    done
    if ((passed + failed + skips == 0)); then
        report_nothing "$suite" "no test found"
        return
    fi
    report "$suite" "$passed" "$failed" "$skips"
}

# One file of the TAP suite, run by xargs in a shell of its own with these names exported.
tap_file() {
    local name status=0
    name=$(stem "$1")
    mkdir -p "$work/tap/$name"
    ps_own "$work/tap/$name"
    cd "$work/tree"
    SECONDS=0
    ps_as env TESTDIR="$work/tap/$name" TESTLOGDIR="$work/tap/$name/log" \
        TESTDATADIR="$work/tap/$name/data" PG_TEST_PORT_DIR="$work/tap/ports" \
        ORCHESTRY_MODULES="$work/modules" \
        PATH="$bindir:$PATH" PG_REGRESS="$pgxs/test/regress/pg_regress" PG_CONFIG="$PG_CONFIG" \
        perl -I "$pgxs/test/perl" -I test/t "$1" \
        </dev/null >"$work/tap/$name.log" 2>&1 || status=$?
    echo $status >"$work/tap/$name.status"
    echo "$SECONDS s  $name" >"$work/tap/$name.seconds"
}

run_tap() {
    mkdir -p "$work/tap/ports"
    ps_own "$work/tap"
    test/modules/build.sh "$work/modules"
    export -f tap_file stem ps_as ps_user ps_own
    export work bindir pgxs PS_USER
    export ORCHESTRY_DATA=${ORCHESTRY_DATA:-$root/../shared/data}
    # shellcheck disable=SC2016 # the inner shell expands $1
    find test/t -name '*.pl' 2>/dev/null | { grep -E "${TAP_FILES:-.}" || true; } | sort |
        xargs -r -n 1 -P "$TEST_JOBS" bash -euo pipefail -c 'tap_file "$1"' bash
    echo "slowest:"
    sort -rn "$work"/tap/*.seconds | head -n 10
    count_tap tap
}

run_pgtap() {
    local file name status settings
    mkdir -p "$work/pgtap"
    mapfile -t settings <test/temp.conf
    ps_start "$work/server" "${settings[@]}"
    for file in test/pgtap/*.sql; do
        [[ -e $file ]] || continue
        name=$(stem "$file")
        status=0
        {
            # A database each: what one file leaves behind is nothing to the next.
            ps_psql -q -c "CREATE DATABASE \"$name\"" &&
                ps_psql -q -d "$name" -c "CREATE EXTENSION pgtap" -c "CREATE EXTENSION $extension" &&
                ps_psql -qAt -d "$name" -f "$file"
        } </dev/null >"$work/pgtap/$name.log" 2>&1 || status=$?
        # psql does not know about TAP: compare the plan with what came, and look for failures.
        if ((status == 0)) && ! tap_complete "$work/pgtap/$name.log"; then
            status=1
        fi
        echo $status >"$work/pgtap/$name.status"
    done
    ps_stop
    count_tap pgtap
}

# The documentation's own SQL; the script's last line says how it went.
run_docs() {
    local log=$work/docs.log passed failed
    test/docs.sh >"$log" 2>&1 || tail -n 40 "$log"
    read -r passed failed < <(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$log" | tail -n 1) || true
    if [[ -z ${failed:-} ]]; then
        report_nothing docs "did not come to its end"
        return
    fi
    report docs "$passed" "$failed"
}

# tap_complete LOG: did as many assertions come as the plan said, and none of them fail?
tap_complete() {
    local planned come
    planned=$(sed -n 's/^1\.\.\([0-9]*\).*/\1/p' "$1" | head -n 1)
    come=$(count_lines '^(not )?ok\b' "$1")
    [[ -n $planned && $planned == "$come" ]] ||
        { echo "# planned ${planned:-nothing}, ran $come" >>"$1" && return 1; }
    ! grep -E '^not ok\b' "$1" | grep -qv '# TODO'
}

heading "build for $($PG_CONFIG --version)"
build_extension
if [[ $SUITES =~ regress|isolation|tap|docs ]]; then
    install_extension "$work/install.log"
    # The files that the ordinary user reads, and nothing else of the checkout.
    mkdir -p "$work/tree"
    cp -R sql expected test doc "$work/tree/"
    ps_own "$work/tree"
fi
for suite in $SUITES; do
    heading "$suite"
    "run_$suite"
done
heading "total"
((total_failed == 0))
