#!/usr/bin/env bash
# Build what only tests load, for the server of PG_CONFIG, and put it into a private place.
#
#   test/modules/build.sh DESTINATION
#
#   DESTINATION/boundary.so              functions that fail on purpose (test/modules/boundary)
#   DESTINATION/full_disk.so             a disk without room (test/modules/full_disk)
#   DESTINATION/faults/orchestry_ext.so  the extension with its fault points (src/pg/fault.hpp)
#
# The checkout must have been built before, for the same server. Tests find the place in
# ORCHESTRY_MODULES; nothing of this is ever installed.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
destination=${1:?usage: $0 DESTINATION}
jobs=$(nproc)
export MAKEFLAGS= # a calling make hands down variables that are not meant for our own

mkdir -p "$destination/faults"
rm -f "$root"/test/modules/boundary/boundary.{o,so} # make does not know what headers it includes
make -s -C "$root/test/modules/boundary" PG_CONFIG="${PG_CONFIG:-pg_config}" all
cp "$root/test/modules/boundary/boundary.so" "$destination/"

${CXX:-g++} -std=c++20 -O2 -Wall -Wextra -Werror -fPIC -shared -o "$destination/full_disk.so" \
    "$root/test/modules/full_disk/full_disk.cpp" -ldl

# Objects without a fault point are the product's own; only the others are compiled again.
copy=$root/build/faults
rm -rf "$copy"
mkdir -p "$copy"
cp -Rp "$root"/{Makefile,*.control,src,sql} "$copy/"
grep -rl 'pg/fault\.hpp' "$copy/src" --include='*.cpp' | sed 's/\.cpp$/.o/' | xargs rm -f
make -s -j"$jobs" -C "$copy" PG_CONFIG="${PG_CONFIG:-pg_config}" EXTRA_CXXFLAGS="-DORCHESTRY_FAULT_POINTS ${CI:+-g0}"
cp "$copy/orchestry_ext.so" "$destination/faults/"
