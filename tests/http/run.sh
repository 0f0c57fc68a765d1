#!/bin/sh
# The scenario tests of the HTTP front against a real server: run.sh BINARY [FILE…]
set -eu
RINGHOLD=$1
export RINGHOLD
shift
[ $# -gt 0 ] || set -- "$(dirname "$0")"/*.test.mjs
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for file in "$@"; do
    if node --test "$file" >"$log" 2>&1; then
        echo "$file: $(sed -n 's/^# pass //p' "$log") passed, $(sed -n 's/^# skipped //p' "$log") skipped"
        sed -n 's/^ok [0-9]* - \(.*\) # SKIP/    skipped: \1:/p' "$log"
    else
        cat "$log"
        echo "$file: FAILED"
        exit 1
    fi
done
