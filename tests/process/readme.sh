#!/bin/bash
# Takes README.md's tour: runs every command of its sh blocks, in order, against a server of its own, and holds each
# curl's status code against the number in the comment at its end. Also holds README's settings against --help, and the
# targets of make that it names against make help.
#   tests/process/readme.sh build/ringhold
# Ends with `N passed, N failed`, and exit code 1 if one failed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
ringhold=$(realpath "$1")
readme=$(realpath "$here/../../README.md")
dir=$(mktemp -d)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$here/lib.sh"
trap clean_up EXIT
# shellcheck source-path=SCRIPTDIR source=tour.sh
. "$here/tour.sh"

judge_targets() {
    local target known
    known=$(make -s --no-print-directory -C "$here/../.." help) || known=
    # shellcheck disable=SC2016 # the backquotes are the README's
    for target in $(grep -o '`make [a-z-]*`' "$readme" | tr -d '\140' | cut -d' ' -f2 | sort -u); do
        [ "$target" = help ] || judge "make help has $target" "$(grep -c "^make $target " <<<"$known")" 1
    done
}

judge_settings() {
    local flag
    while read -r flag; do
        judge "README.md has the setting $flag" "$(grep -cE "^\| \`${flag}( [^ ]+)?\` \|" "$readme")" 1
    done < <("$ringhold" --help | sed '1,/^Settings/d' | sed -n 's/^  \(--[a-z-]*\) [A-Z].*/\1/p; s/^  \(--durability\) .*/\1/p')
}

cd "$dir" || exit 1
start --node readme
mapfile -t tour < <(commands sh)
for command in "${tour[@]}"; do
    [ -z "$command" ] || take "${command/http:\/\/127.0.0.1:7480/$url}"
done
wait
judge_statuses
judge_settings
judge_targets
judge "the tour has commands" "$((${#taken[@]} > 15))" 1
stop
tell
