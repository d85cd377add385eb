#!/usr/bin/env bash
# Run `make test` in a fresh minimal Debian system below a directory, as on a new machine.
#
#   test/fresh_root.sh SUITE [--worktree] [-- COMMAND...]
#
# SUITE is a Debian release (bookworm, trixie, forky).  Only make and git are installed before; the
# rest is up to `make test`.  What is tested is a clone of the last commit; --worktree takes the
# files as they are now.  COMMAND is run in the checkout instead of `make test`.  SUITES, TAP_FILES and
# ORCHESTRY_DATA mean there what they mean to test/run.sh; the data is copied.
#
# Needs root.  The system lives in mount, process and IPC namespaces of its own: when the command
# ends, no process and no mount is left, so that removing the directory can touch nothing else.
# Several can run side by side.
#
# The mirror is that of this machine's apt; DEBIAN_MIRROR and DEBIAN_SECURITY_MIRROR override it.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)

fail() {
    echo "fresh_root: $*" >&2
    exit 1
}

# Second half, in the new namespaces: mounts, then the command.
if [[ ${1:-} == --inside ]]; then
    root=$2
    shift 2
    mount -t proc proc "$root/proc"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
    mkdir -p "$root/dev/shm"
    mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
    in_root() {
        chroot "$root" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
            HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive CI=true \
            ${http_proxy:+http_proxy="$http_proxy"} ${SUITES:+SUITES="$SUITES"} \
            ${TAP_FILES:+TAP_FILES="$TAP_FILES"} ${ORCHESTRY_DATA:+ORCHESTRY_DATA=/data} "$@" </dev/null
    }
    in_root apt-get -qq update
    in_root apt-get -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 install make git >/dev/null
    # shellcheck disable=SC2016 # the inner shell expands $@
    in_root sh -c 'cd /checkout && exec "$@"' sh "$@"
    exit
fi

suite=
worktree=no
while (($# > 0)); do
    case $1 in
    --worktree) worktree=yes ;;
    --) shift && break ;;
    -*) fail "unknown option $1" ;;
    *) suite=$1 ;;
    esac
    shift
done
(($# > 0)) || set -- make test
[[ -n $suite ]] || fail "usage: $0 SUITE [--worktree] [-- COMMAND...]"
((EUID == 0)) || fail "needs root"

for package in debootstrap debian-archive-keyring git; do
    if [[ $(dpkg-query -W -f '${db:Status-Status}' $package 2>/dev/null) != installed ]]; then
        echo "fresh_root: installing with apt-get: $package"
        apt-get -qq update
        DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 \
            install $package >/dev/null
    fi
done

# The place that this machine gets RELEASE (such as bookworm, or bookworm-security) from.
mirror_of() {
    local uri
    # shellcheck disable=SC2016 # apt expands these
    uri=$(apt-get indextargets --no-release-info --format '$(REPO_URI) $(RELEASE)' \
        'Created-By: Packages' | awk -v release="$1" '$2 == release { print $1; exit }')
    if [[ $uri == mirror+file:* ]]; then # cloud images list their mirrors in a file
        uri=$(awk '/^[a-z]+:/ { print $1; exit }' "${uri#mirror+file:}")
    fi
    echo "${uri%/}"
}
# shellcheck source=/dev/null
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
mirror=${DEBIAN_MIRROR:-$(mirror_of "$codename")}
security=${DEBIAN_SECURITY_MIRROR:-$(mirror_of "$codename-security")}
[[ -n $mirror ]] || fail "apt has no source for $codename; set DEBIAN_MIRROR"

eval "$(apt-config shell proxy Acquire::http::Proxy)"
export http_proxy=${http_proxy:-${proxy:-}}

work=$(mktemp -d "${TMPDIR:-/var/tmp}/fresh_root.$suite.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
trap 'exit 130' INT TERM HUP
root=$work/root

# A release younger than this machine's debootstrap is made like all the others.
cp -R /usr/share/debootstrap "$work/debootstrap"
[[ -e $work/debootstrap/scripts/$suite ]] || ln -s sid "$work/debootstrap/scripts/$suite"

echo "fresh_root: making a minimal $suite"
DEBOOTSTRAP_DIR=$work/debootstrap debootstrap --variant=minbase \
    --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
    "$suite" "$root" "$mirror" >"$work/debootstrap.log" 2>&1 </dev/null || {
    tail -n 20 "$work/debootstrap.log" "$root/debootstrap/debootstrap.log" >&2 || true
    fail "debootstrap of $suite failed"
}

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
{
    echo "deb [signed-by=$keyring] $mirror $suite main"
    if [[ -n $security ]]; then
        echo "deb [signed-by=$keyring] $security $suite-security main"
    fi
} >"$root/etc/apt/sources.list"
# What this machine has to say about reaching its mirror holds inside as well.
apt-config dump | grep -E '^Acquire::(https?::Proxy|Check-)' >"$root/etc/apt/apt.conf.d/90machine" ||
    true
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/unsafe-io" # nothing here outlives the run
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" # no service may be started
chmod +x "$root/usr/sbin/policy-rc.d"

# Git minds that a checkout belongs to someone else than us, as it may on a build machine.
printf '[safe]\n\tdirectory = *\n' >"$work/gitconfig"
export GIT_CONFIG_GLOBAL=$work/gitconfig
checkout=$(git -C "$here" rev-parse --show-toplevel)
git clone --quiet --depth 1 "file://$checkout" "$root/checkout"
if [[ $worktree == yes ]]; then
    git -C "$root/checkout" rm -rq .
    git -C "$checkout" ls-files -z --cached --others --exclude-standard --deduplicate |
        tar -C "$checkout" --null --files-from=- --ignore-failed-read -c 2>/dev/null |
        tar -C "$root/checkout" -x --no-same-owner
fi

if [[ -n ${ORCHESTRY_DATA:-} ]]; then
    mkdir "$root/data"
    cp "$ORCHESTRY_DATA"/*.csv.gz "$root/data"
fi

# In the background, since a trap has to wait for a command in the foreground.
unshare --mount --pid --ipc --fork --kill-child \
    "$here/fresh_root.sh" --inside "$root" "$@" </dev/null &
inside=$!
trap 'kill -KILL $inside; wait $inside || true; exit 130' INT TERM HUP
wait $inside
