# Private PostgreSQL servers for tests, the demo and benchmarks.  To be sourced by bash.
#
# A private server runs as an ordinary user (PostgreSQL refuses to run as root), listens on nothing
# but a unix socket in its own directory, and is gone after ps_stop.  Any number of them can run
# side by side: the socket's directory, not the port, tells them apart.
#
#   ps_pg_config             print the pg_config to use: $PG_CONFIG, else the newest Debian one
#   ps_user                  print the name of the user that servers run as
#   ps_as COMMAND...         run a command as that user
#   ps_own PATH...           make that user the owner of files
#   ps_start DIR [LINE...]   initdb below DIR and start; LINEs are appended to postgresql.conf
#   ps_psql [ARGUMENT...]    psql in the server started last: no psqlrc, stops at the first error
#   ps_restart [DIR]         stop (fast) and start again
#   ps_stop [DIR]            stop the server of DIR, or the one started last; its files stay
#
# ps_start exports PGHOST, PGPORT, PGUSER and PGDATABASE, so that any client reaches the server.
# shellcheck shell=bash

PS_OLDEST_MAJOR=15
PS_NEWEST_MAJOR=18
PS_USER=${PS_USER:-postgres} # only when we are root
PS_DIR=

ps_fail() {
    echo "$0: $*" >&2
    return 1
}

# Prints what the user asked for: a bare `pg_config`, the usual default of makefiles, is no wish.
ps_wanted_pg_config() {
    if [[ ${PG_CONFIG:-pg_config} != pg_config ]]; then
        echo "$PG_CONFIG"
    fi
}

ps_pg_config() {
    local major path
    path=$(ps_wanted_pg_config)
    if [[ -n $path ]]; then
        command -v "$path" || ps_fail "PG_CONFIG=$path cannot be run"
        return
    fi
    for ((major = PS_NEWEST_MAJOR; major >= PS_OLDEST_MAJOR; major--)); do
        path=/usr/lib/postgresql/$major/bin/pg_config
        # The client package brings pg_config as well; only the dev package brings the headers.
        if [[ -x $path && -e $($path --pgxs) ]]; then
            echo "$path"
            return
        fi
    done
    command -v pg_config || ps_fail "no PostgreSQL development files found; run test/setup.sh"
}

ps_user() {
    if ((EUID != 0)); then
        id -un
        return
    fi
    id "$PS_USER" >/dev/null 2>&1 ||
        useradd --system --user-group --home-dir /nonexistent --shell /bin/bash "$PS_USER"
    echo "$PS_USER"
}

ps_as() {
    if ((EUID != 0)); then
        "$@"
        return
    fi
    local user
    user=$(ps_user)
    setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups \
        env HOME=/tmp USER="$user" LOGNAME="$user" "$@"
}

ps_own() {
    if ((EUID == 0)); then
        chown -R "$(ps_user):" "$@"
    fi
}

ps_bindir() {
    "$(ps_pg_config)" --bindir
}

# pg_ctl hands its descriptors down to the server: without redirection a pipe would never end.
ps_ctl() {
    local dir=$1
    shift
    if ! (cd "$dir" && ps_as "$(ps_bindir)/pg_ctl" -D "$dir/data" -s -w "$@" \
        </dev/null >>"$dir/pg_ctl.log" 2>&1); then
        tail -n 30 "$dir/pg_ctl.log" "$dir/server.log" >&2
        ps_fail "pg_ctl $* failed in $dir"
    fi
}

ps_start() {
    local dir
    mkdir -p "$1"
    dir=$(cd "$1" && pwd)
    shift
    if ((${#dir} > 80)); then
        ps_fail "$dir is too long for the path of a unix socket"
        return
    fi
    ps_own "$dir"
    (cd "$dir" && ps_as env LC_ALL=C.UTF-8 "$(ps_bindir)/initdb" -D data -U postgres -A trust \
        -E UTF8 --no-sync >initdb.log 2>&1) || {
        cat "$dir/initdb.log" >&2
        return 1
    }
    printf '%s\n' "listen_addresses = ''" "unix_socket_directories = '$dir'" "$@" |
        ps_as tee -a "$dir/data/postgresql.conf" >/dev/null
    ps_as touch "$dir/server.log"
    ps_ctl "$dir" -l server.log start || return
    PS_DIR=$dir
    export PGHOST=$dir PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
}

ps_psql() {
    "$(ps_bindir)/psql" -X -v ON_ERROR_STOP=1 "$@"
}

ps_restart() {
    ps_ctl "${1:-$PS_DIR}" -l server.log -m fast restart
}

ps_stop() {
    local dir=${1:-$PS_DIR}
    if [[ -e $dir/data/postmaster.pid ]]; then
        ps_ctl "$dir" -m fast stop
    fi
}
