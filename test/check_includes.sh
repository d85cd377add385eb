#!/usr/bin/env bash
# Checks the arrows between the rooms of src/: each room may include only what stands left of it,
#   base <- pg <- catalog <- capture <- capabilities <- jobs <- api <- module.cpp
# and capabilities never include each other. src/base and every plan.hpp, plan.cpp, *_plan.hpp and
# *_plan.cpp, with the headers of their own room that they include, are pure: the standard library, base/ and each other.
# PG_VERSION_NUM stands in src/pg/compat.hpp alone. Headers of ours end in .hpp, PostgreSQL's in .h.
#
#   test/check_includes.sh [SRC]          prints "ok", or each offence and exits with 1
#   test/check_includes.sh --self-test    checks that each kind of offence is found
set -euo pipefail
shopt -s nullglob

capabilities="partition retention events metrics matview migrate health"

# The place of a room in the row; nothing for a room that is not known.
rank() {
    case "$1" in
    base) echo 0 ;;
    pg) echo 1 ;;
    catalog) echo 2 ;;
    capture) echo 3 ;;
    jobs) echo 5 ;;
    api) echo 6 ;;
    module.cpp) echo 7 ;;
    *) if [[ " $capabilities " == *" $1 "* ]]; then echo 4; fi ;;
    esac
}

# Lines "number:<name>" or "number:"name"" for each include of a file.
includes() {
    sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*([<"][^>"]+[>"]).*/\1/;t found;b;:found;=;p' "$1" |
        paste -d: - -
}

# check FILE PURE: the offences of one file, one per line. PURE is "pure" or "any".
check() {
    local file=$1 purity=$2 room number include name target
    room=${file%%/*}
    while IFS=: read -r number include; do
        name=${include:1:${#include}-2}
        target=${name%%/*}
        [[ $name == */* ]] || target=$room # beside the file
        if [[ $purity == pure ]]; then
            if [[ $include == \<* ]]; then
                [[ $name =~ ^[a-z_0-9]+$ ]] ||
                    echo "src/$file:$number: $include in a pure file: only C++ standard headers"
                continue
            fi
            if [[ $name != *.hpp || ($target != base && $target != "$room") ]]; then
                echo "src/$file:$number: $include in a pure file: only base and pure headers of its own room"
                continue
            fi
        fi
        [[ $include == \"*.hpp\" ]] || continue
        if [[ -z $(rank "$target") ]]; then
            echo "src/$file:$number: $include: room $target is not known"
        elif [[ $target != "$room" && $(rank "$target") -ge $(rank "$room") ]]; then
            echo "src/$file:$number: $include runs against the arrows: $room may not include $target"
        fi
    done < <(includes "$file")
    if [[ $file != pg/compat.hpp ]]; then
        grep -n PG_VERSION_NUM "$file" | sed -E "s|^([0-9]+):.*|src/$file:\1: PG_VERSION_NUM belongs into src/pg/compat.hpp|" || true
    fi
}

# The pure files: base, the plans, and what these include from their own room, and so on.
pure_files() {
    local queue=(base/*.cpp base/*.hpp */plan.cpp */plan.hpp */*_plan.cpp */*_plan.hpp) seen=" " file include name
    while ((${#queue[@]})); do
        file=${queue[0]}
        queue=("${queue[@]:1}")
        [[ $seen == *" $file "* ]] && continue
        seen+="$file "
        echo "$file"
        while IFS=: read -r _ include; do
            name=${include:1:${#include}-2}
            [[ $name == */* ]] || name=${file%%/*}/$name
            if [[ ${name%%/*} == "${file%%/*}" && -f $name ]]; then
                queue+=("$name")
            fi
        done < <(includes "$file")
    done
}

# All offences of a tree, sorted.
offences() {
    local file pure
    cd "$1"
    pure=" $(pure_files | tr '\n' ' ')"
    for file in *.cpp *.hpp */*.cpp */*.hpp; do
        if [[ -z $(rank "${file%%/*}") ]]; then
            echo "src/$file: room ${file%%/*} is not known"
        elif [[ $pure == *" $file "* ]]; then
            check "$file" pure
        else
            check "$file" any
        fi
    done | sort
}

self_test() {
    local tree failures=0 found
    tree=$(mktemp -d)
    # shellcheck disable=SC2064 # the directory of now
    trap "rm -r '$tree'" EXIT

    # expect FINDING FILE LINE...: with these lines in this file the tree has just that offence.
    # FINDING is "ok" for none. The tree starts anew each time.
    expect() {
        local finding=$1 file=$2
        shift 2
        rm -rf "$tree/src"
        mkdir -p "$tree/src"/{base,pg,catalog,partition,retention,jobs,api}
        printf '#include "base/time.hpp"\n#include <vector>\n' >"$tree/src/partition/plan.hpp"
        printf '#include "pg/spi.hpp"\n' >"$tree/src/partition/inspect.hpp"
        printf '#if PG_VERSION_NUM >= 160000\n#endif\n' >"$tree/src/pg/compat.hpp"
        mkdir -p "$(dirname "$tree/src/$file")"
        printf '%s\n' "$@" >>"$tree/src/$file"
        found=$( (offences "$tree/src"))
        if [[ $finding == ok && -z $found ]] ||
            [[ $finding != ok && $found == *"$finding"* && $found != *$'\n'* ]]; then
            return
        fi
        echo "self-test: with '$*' in $file expected '$finding', found '${found:-ok}'"
        failures=$((failures + 1))
    }

    expect ok base/time.hpp '#include <cstdint>' '#include "base/arith.hpp"'
    expect ok pg/spi.cpp '#include "pg/spi.hpp"' '#include "executor/spi.h"' '#include <string>'
    expect ok catalog/job.cpp '#include "pg/spi.hpp"' '#include "catalog/pg_class.h"'
    expect ok partition/apply.cpp '#include "partition/inspect.hpp"' '#include "catalog/job.hpp"'
    expect ok jobs/worker.cpp '#include "partition/plan.hpp"' '#include "pg/spi.hpp"'
    expect ok module.cpp '#include "api/api.hpp"' '#include "base/time.hpp"'
    expect ok partition/plan.cpp '#include "partition/plan.hpp"' '#include "plan.hpp"'

    local room
    for room in pg catalog partition jobs api; do
        expect 'in a pure file' base/time.cpp "#include \"$room/x.hpp\""
    done
    expect 'pg may not include catalog' pg/spi.cpp '#include "catalog/job.hpp"'
    expect 'pg may not include partition' pg/spi.cpp '  #  include "partition/plan.hpp"'
    expect 'catalog may not include partition' catalog/job.hpp '#include "partition/plan.hpp"'
    expect 'catalog may not include jobs' catalog/job.hpp '#include "jobs/worker.hpp"'
    expect 'partition may not include jobs' partition/apply.cpp '#include "jobs/worker.hpp"'
    expect 'partition may not include retention' partition/apply.cpp '#include "retention/plan.hpp"'
    expect 'retention may not include partition' retention/apply.cpp '#include "partition/plan.hpp"'
    expect 'jobs may not include api' jobs/worker.cpp '#include "api/api.hpp"'

    local header
    for header in '"postgres.h"' '<postgres.h>' '"fmgr.h"' '"utils/builtins.h"' '<utils/rel.h>' \
        '"catalog/pg_class.h"' '"pg/spi.hpp"' '<string.h>' '<sys/stat.h>'; do
        expect 'in a pure file' base/time.cpp "#include $header"
        expect 'in a pure file' partition/plan.hpp "#include $header"
        expect 'in a pure file' retention/plan.cpp "#include $header"
    done
    expect 'in a pure file' partition/plan.cpp '#include "retention/plan.hpp"'
    expect 'in a pure file' partition/plan.cpp '#include "catalog/job.hpp"'
    # A plan is only as pure as what it includes.
    expect 'src/partition/inspect.hpp:1: "pg/spi.hpp" in a pure file' partition/plan.cpp \
        '#include "partition/inspect.hpp"'
    expect 'src/partition/inspect.hpp:1: "pg/spi.hpp" in a pure file' partition/plan.cpp \
        '#include "inspect.hpp"'

    expect 'PG_VERSION_NUM belongs' partition/apply.cpp '#if PG_VERSION_NUM >= 160000'
    expect 'PG_VERSION_NUM belongs' pg/spi.hpp '#if PG_VERSION_NUM >= 160000'
    expect 'room attic is not known' attic/old.cpp '#include <vector>'
    expect 'room attic is not known' api/api.cpp '#include "attic/old.hpp"'

    ((failures == 0)) || exit 1
    echo "ok"
}

if [[ ${1-} == --self-test ]]; then
    self_test
    exit
fi
source_dir=${1:-$(dirname "$0")/../src}
[[ -d $source_dir ]] || { echo "no directory $source_dir" >&2; exit 2; }
found=$( (offences "$source_dir"))
if [[ -n $found ]]; then
    echo "$found"
    exit 1
fi
echo "ok"
