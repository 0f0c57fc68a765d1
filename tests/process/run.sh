#!/bin/bash
# Tests of the program as a process: its command line, its files, its signals.
#   tests/process/run.sh build/ringhold [WORDS]     only the cases whose name contains WORDS
# Ends with `N passed, N failed`, and exit code 1 if one failed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
ringhold=$(realpath "$1")
only=${2:-}
export ringhold here

# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$here/lib.sh"
for cases in "$here"/cases_*.sh; do
    # shellcheck source=/dev/null
    . "$cases"
done

passed=0 failed=0
for name in $(declare -F | sed -n 's/^declare -f \(test_.*\)$/\1/p'); do
    [[ $name == *"$only"* ]] || continue
    # A case is a function; what goes wrong in it ends it there (set -e), and its server with it.
    if output=$(run_case "$name" 2>&1); then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAIL  %s\n      %s\n' "${name#test_}" "${output//$'\n'/$'\n'      }"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
