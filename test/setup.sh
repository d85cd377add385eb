#!/usr/bin/env bash
# Install the Debian packages that this project needs and that are missing.
#
#   test/setup.sh [--for test | demo | bench | server-build]
#
# test (the default) covers building and every test suite; demo covers building and a server; bench
# has the peers as well; server-build covers compiling PostgreSQL itself.  When nothing is missing
# nothing is touched and the network is not used.
#
# The PostgreSQL major is that of $PG_CONFIG, else the newest that is installed, else the newest
# that this Debian release offers.  A PG_CONFIG outside of Debian's places brings its own server:
# then no PostgreSQL package is installed.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=private_server.sh
. "$(dirname "$0")/private_server.sh"

purpose='test'
while (($# > 0)); do
    case $1 in
    --for) purpose=$2 && shift ;;
    *) ps_fail "usage: $0 [--for test | demo | bench | server-build]" ;;
    esac
    shift
done

as_root() {
    if ((EUID == 0)); then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        ps_fail "neither root nor sudo, cannot run: $*"
    fi
}

installed() {
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# Names of packages PREFIX<major> of a supported major, newest first, from a list on stdin.
newest_of() {
    local prefix=$1 names major
    names=$(cat)
    for ((major = PS_NEWEST_MAJOR; major >= PS_OLDEST_MAJOR; major--)); do
        if grep -qx "$prefix$major" <<<"$names"; then
            echo "$major"
            return
        fi
    done
}

# Prints the major whose Debian packages we need: nothing when the server is not Debian's, and
# `unknown` when only the package lists can tell.
wanted_major() {
    local path names major
    path=$(ps_wanted_pg_config)
    if [[ $path =~ ^/usr/lib/postgresql/([0-9]+)/ ]]; then
        echo "${BASH_REMATCH[1]}"
        return
    elif [[ -n $path ]]; then
        return
    fi
    names=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' 'postgresql-*' 2>/dev/null |
        sed -n 's/ installed$//p')
    major=$(newest_of postgresql-server-dev- <<<"$names")
    [[ -n $major ]] || major=$(newest_of postgresql- <<<"$names")
    echo "${major:-unknown}"
}

updated=no
update_lists() {
    if [[ $updated == no ]]; then
        as_root apt-get -qq -o Acquire::Retries=3 update
        updated=yes
    fi
}

major=
if [[ $purpose != server-build ]]; then
    major=$(wanted_major)
    if [[ $major == unknown ]]; then
        update_lists
        major=$(apt-cache pkgnames postgresql-server-dev- | newest_of postgresql-server-dev-)
        [[ -n $major ]] ||
            ps_fail "no PostgreSQL $PS_OLDEST_MAJOR to $PS_NEWEST_MAJOR among the packages"
    fi
fi

build=(make g++ libboost-container-dev)
# 680_monitoring.pl also uses promtool and prometheus when they are there: 100 MB and more, so that they are not fetched.
build_tests=(cmake git libgtest-dev libipc-run-perl prometheus-postgres-exporter prometheus-sql-exporter python3 tzdata)
case $purpose in
demo) packages=("${build[@]}" ${major:+"postgresql-$major" "postgresql-server-dev-$major"}) ;;
bench)
    packages=("${build[@]}" ${major:+"postgresql-$major" "postgresql-server-dev-$major"}
        ${major:+"postgresql-$major-cron" "postgresql-$major-partman"})
    ;;
test)
    packages=("${build[@]}" "${build_tests[@]}"
        ${major:+"postgresql-$major" "postgresql-server-dev-$major"}
        ${major:+"postgresql-$major-cron" "postgresql-$major-pgtap"})
    ;;
server-build)
    packages=(bison bzip2 flex g++ libicu-dev libipc-run-perl libreadline-dev libssl-dev libxml2-dev make
        perl pkgconf xz-utils zlib1g-dev)
    ;;
*) ps_fail "unknown purpose $purpose" ;;
esac

missing=()
for package in "${packages[@]}"; do
    installed "$package" || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
    exit
fi

# Debian's server package creates and starts a cluster `main` when it is first installed, and the
# exporters' packages start daemons.  We need nothing of the machine's own, so we say so for the
# time of this installation only.
no_cluster=/etc/postgresql-common/createcluster.d/orchestry_ext.conf
no_daemon=/usr/sbin/policy-rc.d
passing=()
trap '((${#passing[@]} == 0)) || as_root rm -f "${passing[@]}"' EXIT
if ! installed postgresql-common; then
    passing+=("$no_cluster")
    as_root mkdir -p "$(dirname "$no_cluster")"
    echo "create_main_cluster = false" | as_root tee "$no_cluster" >/dev/null
fi
if [[ ! -e $no_daemon ]]; then
    passing+=("$no_daemon")
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$no_daemon" >/dev/null
    as_root chmod +x "$no_daemon"
fi

echo "setup: installing with apt-get: ${missing[*]}"
update_lists
if ! log=$(as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get -qq -y -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 --no-install-recommends \
    install "${missing[@]}" 2>&1); then
    echo "$log" >&2
    exit 1
fi
echo "setup: done"
