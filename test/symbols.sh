#!/usr/bin/env bash
# Check what the library takes from the server and what it gives to others.
#
#   test/symbols.sh [LIBRARY]            check (default: orchestry_ext.so)
#   test/symbols.sh --update [LIBRARY]   write what LIBRARY takes into test/symbols.allow
#
# Taken: each server symbol must stand in test/symbols.allow.  A minor release may turn an inline
# function into a call of a new symbol; a library built with it then keeps an older minor of the
# same major from starting.  So a new symbol is a decision that a reader of the change can see.
# A line is `symbol` (any major) or `symbol 17 18` (these majors only).
#
# Given: each exported symbol must match src/exports.txt.  The server loads libraries with
# RTLD_GLOBAL: a stray C++ symbol of ours could replace that of another extension.
set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=private_server.sh
. "$here/private_server.sh"

allow_file=$here/symbols.allow
exports_file=$here/../src/exports.txt

# Symbols that exist from some minor release on, so never to be allowed: SYMBOL REASON.
denied='heap_datum_check since the minors of November 2026; read composite values through SPI or slots'

update=no
if [[ ${1:-} == --update ]]; then
    update=yes
    shift
fi
library=${1:-$here/../orchestry_ext.so}
[[ -r $library ]] || ps_fail "$library is not there; run make first"
major=$("$(ps_pg_config)" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')

# The server has no symbol versions, while libc, libm, libgcc and libstdc++ have; weak ones may be absent.
taken=$(nm -D --undefined-only "$library" | awk '$1 == "U" && $2 !~ /@/ { print $2 }' | sort -u)
exported=$(nm -D --defined-only "$library" | awk '{ print $3 }' | sort -u)

bad=0
complain() {
    echo "symbols: $*" >&2
    bad=1
}

while read -r symbol reason; do
    if grep -qx "$symbol" <<<"$taken"; then
        complain "$symbol is taken from the server: only there $reason"
    fi
done <<<"$denied"

if [[ $update == yes ]]; then
    ((bad == 0)) || exit 1
    majors=$(seq -s ' ' "$PS_OLDEST_MAJOR" "$PS_NEWEST_MAJOR")
    touch "$allow_file"
    # What this major takes now decides about this major; others keep what they had.
    {
        sed -n '/^#/p' "$allow_file"
        awk -v major="$major" -v majors="$majors" '
            /^#/ || NF == 0 { next }
            FILENAME != "-" { tags = $0; sub(/^[^ ]+ */, "", tags); kept[$1] = tags == "" ? majors : tags; next }
            { used[$1] = 1; if (!($1 in kept)) kept[$1] = majors }
            END {
                count = split(majors, all, " ")
                for (symbol in kept) {
                    line = ""
                    for (i = 1; i <= count; i++) {
                        has = all[i] == major ? symbol in used : index(" " kept[symbol] " ", " " all[i] " ")
                        if (has) line = line " " all[i]
                    }
                    if (line == " " majors) print symbol
                    else if (line != "") print symbol line
                }
            }' "$allow_file" - <<<"$taken" | sort
    } >"$allow_file.new"
    mv "$allow_file.new" "$allow_file"
    echo "symbols: $(grep -cv '^#' "$allow_file") server symbols allowed"
    exit
fi

allowed=$(awk -v major="$major" '
    /^#/ || NF == 0 { next }
    NF == 1 { print $1; next }
    { for (i = 2; i <= NF; i++) if ($i == major) print $1 }' "$allow_file" | sort -u)
# Assertions in the headers of a server with --enable-cassert take more: nothing to ship.
if [[ $("$(ps_pg_config)" --configure) == *--enable-cassert* ]]; then
    allowed=$taken
fi
while read -r symbol; do
    complain "$symbol is taken from the server but not in test/symbols.allow (for $major)"
done < <(comm -23 <(echo "$taken") <(echo "$allowed"))

# A library in C++ is worth nothing when its entry points are hidden: the list may not be empty.
for entry in Pg_magic_func _PG_init; do
    grep -qx "$entry" <<<"$exported" || complain "$entry is not exported"
done
mapfile -t globs < <(awk '/^[^#]/ { print $1 }' "$exports_file")
while read -r symbol; do
    for glob in "${globs[@]}"; do
        # shellcheck disable=SC2053 # the right side is a pattern
        [[ $symbol == $glob ]] && continue 2
    done
    complain "$symbol is exported but not in src/exports.txt"
done <<<"$exported"

if ((bad)); then
    exit 1
fi
echo "symbols: $(wc -l <<<"$taken") taken from PostgreSQL $major, $(wc -l <<<"$exported") exported"
