# What the files of test/bench share; sourced after private_server.sh, with a private server running or to be started.
# shellcheck shell=bash

sql() { ps_psql -qAt "$@"; }

ms() { # COMMAND...: how long it takes
    local from
    from=$(date +%s%N)
    "$@" >/dev/null
    echo $((($(date +%s%N) - from) / 1000000))
}

median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

# ratio A B: A / B, or "-" where one was not measured.
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (b > 0 && a != "-") printf "%.2f", a / b; else print "-" }'; }
