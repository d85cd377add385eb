#!/usr/bin/env bash
# Checks that the control file, META.json and the upgrade scripts agree on the version, and that META.json has
# what PGXN asks for.
#
#   test/lint_versions.sh [ROOT]          prints "ok", or each offence and exits with 1
#   test/lint_versions.sh --self-test     checks that each kind of offence is found
set -euo pipefail

extension=orchestry_ext

# All offences of a tree, one per line.
offences() {
    python3 - "$1" "$extension" <<'PYTHON'
import glob, json, os, re, sys

root, extension = sys.argv[1:]

def here(path):
    return os.path.join(root, path)

def stop(offence):
    print(offence)
    sys.exit()

control = open(here(extension + ".control")).read()
found = re.search(r"^default_version\s*=\s*'([^']+)'", control, re.M)
if not found:
    stop(f"{extension}.control: no default_version")
version = found[1]
try:
    meta = json.load(open(here("META.json")))
except ValueError as e:
    stop(f"META.json: not JSON: {e}")

for key in ("name", "version", "abstract", "maintainer", "license", "provides", "meta-spec"):
    if key not in meta:
        print(f"META.json: {key} is missing")
if not re.fullmatch(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?", version):
    print(f"{extension}.control: {version} is not a semantic version")
if meta.get("name") != extension:
    print(f"META.json: name is not {extension}")
if meta.get("version") != version:
    print(f"META.json: version is {meta.get('version')}, the control file says {version}")
if meta.get("meta-spec", {}).get("version") != "1.0.0":
    print("META.json: meta-spec is not 1.0.0")
provided = meta.get("provides", {})
if extension not in provided:
    print(f"META.json: {extension} is not provided")
for name, entry in provided.items():
    if entry.get("version") != version:
        print(f"META.json: {name} is provided as {entry.get('version')}, the control file says {version}")
    for key in ("file", "docfile"):
        if not os.path.exists(here(entry.get(key, "?"))):
            print(f"META.json: {name}'s {key} does not exist")
# A frozen script of the version under work would shadow the one that is built.
if os.path.exists(here(f"sql/upgrade/{extension}--{version}.sql")):
    print(f"sql/upgrade: has an install script of {version}, which is built from sql/install")
frozen = glob.glob(here(f"sql/upgrade/{extension}--*.sql"))
steps = [m.groups() for m in (re.search(r"--([^/]+?)--([^/]+)\.sql$", path) for path in frozen) if m]
if frozen and not any(to == version for _, to in steps):
    print(f"sql/upgrade: no upgrade script leads to {version}")
PYTHON
}

self_test() {
    local root tree failures=0 found
    root=$(cd "$(dirname "$0")/.." && pwd)
    tree=$(mktemp -d)
    # shellcheck disable=SC2064 # the directory of now
    trap "rm -r '$tree'" EXIT

    # expect FINDING COMMAND...: after COMMAND, run in a sound tree, there is just that offence; "ok": none.
    expect() {
        local finding=$1
        shift
        rm -rf "${tree:?}"/*
        mkdir -p "$tree/sql/upgrade"
        cp "$root/$extension.control" "$root/META.json" "$root/README.md" "$tree"
        (cd "$tree" && "$@")
        found=$(offences "$tree")
        if [[ $finding == ok && -z $found ]] ||
            [[ $finding != ok && $found == *"$finding"* && $found != *$'\n'* ]]; then
            return
        fi
        echo "self-test: after '$*' expected '$finding', found '${found:-ok}'"
        failures=$((failures + 1))
    }
    # shellcheck disable=SC2317 # called through expect
    edit_meta() { # PYTHON: a statement over the object m
        python3 -c "import json; m = json.load(open('META.json')); $1; json.dump(m, open('META.json', 'w'))"
    }

    expect ok true
    expect 'the control file says' edit_meta 'm["version"] = "9.9.9"'
    expect 'provided as 9.9.9' edit_meta 'm["provides"]["orchestry_ext"]["version"] = "9.9.9"'
    expect 'is not provided' edit_meta 'm["provides"] = {}'
    expect 'docfile does not exist' rm README.md
    expect 'license is missing' edit_meta 'del m["license"]'
    expect 'name is not' edit_meta 'm["name"] = "other"'
    expect 'meta-spec is not' edit_meta 'm["meta-spec"]["version"] = "2.0.0"'
    expect 'not JSON' sed -i '1s/{/[/' META.json
    expect 'no default_version' sed -i /default_version/d orchestry_ext.control
    expect 'no upgrade script leads' touch sql/upgrade/orchestry_ext--0.0.1.sql

    ((failures == 0)) || exit 1
    echo "ok"
}

if [[ ${1-} == --self-test ]]; then
    self_test
    exit
fi
found=$(offences "${1:-$(dirname "$0")/..}")
if [[ -n $found ]]; then
    echo "$found"
    exit 1
fi
echo "ok"
