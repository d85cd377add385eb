# Building and installing for the server of PG_CONFIG. To be sourced by bash, in the checkout's root.
#
#   build_extension               compile, with warnings as errors; starts afresh for another server
#   install_extension LOG         make install, with sudo when that is needed; LOG is shown if it fails
# shellcheck shell=bash

# Objects built for another server would be taken for ours: make knows only about times.
build_extension() {
    local stamp=build/server server
    server=$($PG_CONFIG --version --configure --includedir-server)
    mkdir -p build
    if [[ $(cat $stamp 2>/dev/null) != "$server" ]]; then
        make -s clean
        echo "$server" >$stamp
    fi
    # Where nobody will look into a core file (CI), half of the time that compiling takes is saved.
    make -s -j"$(nproc)" WERROR=1 ${CI:+EXTRA_CXXFLAGS=-g0}
}

install_extension() {
    local log=$1
    if [[ -w $($PG_CONFIG --pkglibdir) ]]; then
        make -s install
    else
        sudo make -s install PG_CONFIG="$PG_CONFIG"
    fi >"$log" 2>&1 || {
        cat "$log" >&2
        return 1
    }
}
