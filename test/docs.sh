#!/usr/bin/env bash
# Runs the documentation: every block of SQL in README.md and doc/*.md, in order, each file in a database of its
# own on a private server. A block must succeed; where a block of text follows it directly, psql must print just
# that, figures and widths of columns apart.
#
#   test/docs.sh [FILE...]      prints each offence and, at the end, "N passed, N failed"; fails if there is one
#
# Also, README.md names all functions, views and settings that there are, and no file names one that there is not.
#
# <!-- needs: LIBRARY --> before a block skips it, visibly, on servers without that library.
# The extension must be installed in the server of PG_CONFIG.
set -euo pipefail

cd "$(dirname "$0")/.."
# shellcheck source-path=SCRIPTDIR source=private_server.sh
. test/private_server.sh
PG_CONFIG=$(ps_pg_config)
export PG_CONFIG LC_ALL=C.UTF-8

work=$(mktemp -d /tmp/orchestry_docs.XXXXXX) # short: a unix socket lives below it
finish() {
    ps_stop "$work" || true
    rm -rf "$work"
}
trap finish EXIT

files=("$@")
((${#files[@]} > 0)) || files=(README.md doc/*.md)

has_library() {
    [[ -e $($PG_CONFIG --pkglibdir)/$1.so ]]
}

# split FILE DIRECTORY: writes each block as DIRECTORY/LINE.sql, with LINE.out and LINE.needs where there are such.
split() {
    python3 - "$1" "$2" <<'PYTHON'
import os, re, sys

path, directory = sys.argv[1:]
text = open(path, encoding="utf-8").read()
block = re.compile(r"(?:<!-- needs: (?P<needs>\w+) -->\n+)?^```sql\n(?P<sql>.*?)^```$"
                   r"(?:\n+```text\n(?P<out>.*?)^```$)?", re.M | re.S)
for found in block.finditer(text):
    line = text.count("\n", 0, found.start("sql"))
    for kind in ("sql", "out", "needs"):
        if found[kind] is not None:
            with open(os.path.join(directory, f"{line:04}.{kind}"), "w", encoding="utf-8") as file:
                file.write(found[kind])
if text.count("```sql\n") != len(block.findall(text)):
    sys.exit(f"{path}: a block of SQL does not end")
PYTHON
}

# What stays the same from day to day.
normalize() {
    sed -E 's/[0-9]+/0/g; s/#+/#/g; s/-+/-/g; s/ +/ /g; s/ $//; /^$/d' "$1"
}

settings=("timezone = 'UTC'" "orchestry.databases = ''")
preload=orchestry_ext
if has_library pg_cron; then
    preload+=,pg_cron
    settings+=("cron.database_name = 'readme'")
fi
ps_start "$work" "shared_preload_libraries = '$preload'" "${settings[@]}"

passed=0
failed=0
count() { # STATUS MESSAGE [FILE...]: the files are shown after a failure
    if (($1 == 0)); then
        passed=$((passed + 1))
        return
    fi
    failed=$((failed + 1))
    echo "FAILED: $2"
    cat "${@:3}" 2>/dev/null || true
}

for file in "${files[@]}"; do
    database=$(basename "${file,,}" .md)
    mkdir "$work/$database"
    split "$file" "$work/$database"
    ps_psql -q -c "CREATE DATABASE $database"
    [[ $file == README.md ]] || ps_psql -q -d "$database" -c "CREATE EXTENSION orchestry_ext" # there it is shown
    for block in "$work/$database"/*.sql; do
        [[ -e $block ]] || continue # a file without SQL
        stem=${block%.sql}
        line=$((10#$(basename "$stem")))
        if [[ -e $stem.needs ]] && ! has_library "$(cat "$stem.needs")"; then
            echo "$file:$line: skipped, the server has no $(cat "$stem.needs")"
            continue
        fi
        status=0
        ps_psql -d "$database" <"$block" >"$stem.log" 2>&1 || status=$?
        if [[ -e $stem.out ]]; then
            status=0
            diff -u --label "$file:$line: documented" --label "$file:$line: printed" \
                <(normalize "$stem.out") <(normalize "$stem.log") >"$stem.diff" || status=1
        fi
        count $status "$file:$line" "$stem.diff" "$stem.log"
    done
done

# The names of what the extension offers, internal things (_...) and tables apart; and of all it has.
ps_psql -q -c "CREATE DATABASE names"
ps_psql -q -d names -c "CREATE EXTENSION orchestry_ext"
offered="SELECT proname FROM pg_proc WHERE pronamespace = 'orchestry'::regnamespace AND proname !~ '^_'
         UNION SELECT relname FROM pg_class WHERE relnamespace = 'orchestry'::regnamespace AND relkind = 'v' AND relname !~ '^_'
         UNION SELECT substr(name, 11) FROM pg_settings WHERE name LIKE 'orchestry.%'"
known="$offered UNION SELECT 'now' -- hidden from pg_settings: a setting for tests
       UNION SELECT relname FROM pg_class WHERE relnamespace = 'orchestry'::regnamespace"
for name in $(ps_psql -qAt -d names -c "$offered"); do
    status=0
    grep -qE "(\`(CALL )?|orchestry\.)$name\b" README.md || status=1
    count $status "README.md does not mention orchestry.$name"
done
for file in "${files[@]}"; do
    unknown=$({ grep -oE '\borchestry\.[a-z_]+' "$file" || true; } | sed 's/^orchestry\.//' | sort -u |
        comm -23 - <(ps_psql -qAt -d names -c "$known" | sort -u))
    status=0
    [[ -z $unknown ]] || status=1
    count $status "$file mentions what there is not: ${unknown//$'\n'/ }"
done
echo "$passed passed, $failed failed"
((failed == 0 && passed > 0))
