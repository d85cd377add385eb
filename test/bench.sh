#!/usr/bin/env bash
# Speeds beside the peers', measured in one run on the same tables of one private server.
#
#   test/bench.sh [NAME...]     NAME: a file of test/bench without its ending (default: all)
#
# Each prints medians and ratios. The machine's noise hits both sides: quote the ratios. Nothing here is asserted.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
# shellcheck source-path=SCRIPTDIR source=private_server.sh
. test/private_server.sh

test/setup.sh --for bench
PG_CONFIG=$(ps_pg_config)
export PG_CONFIG MAKEFLAGS=
make -s -j"$(nproc)"
if [[ -w $($PG_CONFIG --pkglibdir) ]]; then
    make -s install
else
    sudo make -s install PG_CONFIG="$PG_CONFIG"
fi >/dev/null

names=("$@")
if ((${#names[@]} == 0)); then
    for file in test/bench/*.sh; do
        names+=("$(basename "$file" .sh)")
    done
fi
for name in "${names[@]}"; do
    echo "== $name: $($PG_CONFIG --version), $(nproc) processors"
    bash "test/bench/$name.sh"
done
