#!/usr/bin/env bash
# Build a PostgreSQL server that checks itself, and print the path of its pg_config.
#
#   test/torture/assert_server.sh PREFIX [--major N] [--valgrind | --sanitize]
#
# The server has assertions, debug symbols and the TAP modules; --valgrind adds the client requests
# that let Valgrind see palloc, --sanitize compiles all of it with the address and undefined
# behaviour sanitizers.  Below PREFIX/.. an existing build of the same kind is used again.
#
# Built from Debian's source package, but only from its pristine tarball: Debian's patched source
# installs into the system's directories whatever --prefix says.  For the same reason both building
# and installing are done by the ordinary user who runs the tests, never by root.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../private_server.sh
. "$here/../private_server.sh"

prefix=
major=
kind=assert
while (($# > 0)); do
    case $1 in
    --major) major=$2 && shift ;;
    --valgrind) kind=valgrind ;;
    --sanitize) kind=sanitize ;;
    -*) ps_fail "unknown option $1" ;;
    *) prefix=$(realpath -m "$1") ;;
    esac
    shift
done
[[ -n $prefix ]] || ps_fail "usage: $0 PREFIX [--major N] [--valgrind | --sanitize]"
[[ -n $major ]] || major=$("$(ps_pg_config)" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')

stamp=$prefix/.orchestry_kind
if [[ -e $stamp && $(cat "$stamp") == "$major $kind" ]]; then
    echo "$prefix/bin/pg_config"
    exit
fi
[[ ! -e $prefix ]] || [[ -z $(ls -A "$prefix") ]] || ps_fail "$prefix exists and is something else"

exec 3>&1 1>&2 # what the tools say goes to stderr: stdout is for the answer alone

"$here/../setup.sh" --for server-build

work=$(mktemp -d "${TMPDIR:-/tmp}/assert_server.XXXXXX")
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

# The machine's own sources, read as source package lists in a private apt state.
mkdir -p "$work"/{apt/parts,apt/lists/partial,apt/cache/archives/partial,source,build}
for list in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    case $list in
    *.list) sed -n 's/^[[:space:]]*deb[[:space:]]/deb-src /p' "$list" ;;
    *.sources) sed 's/^Types:.*/Types: deb-src/' "$list" ;;
    *) continue ;;
    esac >"$work/apt/parts/$(basename "$list")" 2>/dev/null || true
done
private_apt=(-o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$work/apt/parts"
    -o "Dir::State::Lists=$work/apt/lists" -o "Dir::Cache=$work/apt/cache"
    -o APT::Sandbox::User=root)
apt-get "${private_apt[@]}" -qq update

# A mirror may list a newer source package (from the security suite) than it holds: try each.
cd "$work/source"
for version in $(apt-cache "${private_apt[@]}" showsrc --only-source "postgresql-$major" |
    sed -n 's/^Version: //p' | sort -Vru); do
    apt-get "${private_apt[@]}" -qq source --only-source --download-only \
        "postgresql-$major=$version" && break
    echo "$0: the source of $version is not there; trying an older one"
done
tarball=$(find . -name "postgresql-${major}_*.orig.tar.*" ! -name '*.asc' | head -n 1)
[[ -n $tarball ]] || ps_fail "no source package of PostgreSQL $major found"
tar -xf "$tarball" -C "$work/build" --strip-components=1

cppflags=
cflags='-Og -g -fno-omit-frame-pointer'
ldflags=
case $kind in
valgrind) cppflags=-DUSE_VALGRIND ;;
sanitize)
    # Alignment and null arguments of size zero are known and harmless in the server itself.
    sanitize='-fsanitize=address,undefined -fno-sanitize=alignment,nonnull-attribute'
    cflags="-O1 -g -fno-omit-frame-pointer $sanitize"
    ldflags=$sanitize
    ;;
esac

mkdir -p "$prefix"
ps_own "$work/build" "$prefix"
cd "$work/build"
# shellcheck disable=SC2016 # the inner shell expands these
# The build runs programs that it has just built; leaks of short-lived tools are not our subject.
ps_as env ASAN_OPTIONS=detect_leaks=0 CPPFLAGS="$cppflags" CFLAGS="$cflags" CXXFLAGS="$cflags" \
    LDFLAGS="$ldflags" bash -euo pipefail -c '
    ./configure --prefix="$1" --enable-cassert --enable-debug --enable-tap-tests \
        --with-icu --with-libxml --with-openssl >configure.log || { tail -n 30 configure.log; exit 1; }
    make -s -j"$(nproc)" world-bin >make.log 2>&1 || { tail -n 30 make.log; exit 1; }
    make -s install-world-bin >install.log 2>&1 || { tail -n 30 install.log; exit 1; }
    cp src/tools/valgrind.supp "$1/share/"
    ' bash "$prefix"

# pgTAP is plain SQL: the packaged one serves this server as well.
find "/usr/share/postgresql/$major/extension" -name 'pgtap*' \
    -exec cp -t "$("$prefix/bin/pg_config" --sharedir)/extension" {} + 2>/dev/null || true

echo "$major $kind" | ps_as tee "$stamp" >/dev/null
echo "$prefix/bin/pg_config" >&3
