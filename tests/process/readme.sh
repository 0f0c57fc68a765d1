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
passed=0 failed=0

# judge WHAT GOT WANT
judge() {
    if [ "$2" = "$3" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAIL  %s\n      %s instead of %s\n' "$1" "$2" "$3"
    fi
}

# Every curl of the tour goes through here, and leaves the head of its answer in a file of the command's: it may run in
# a pipe, or in the background while the tour goes on.
curl() {
    command curl -m 30 -D "$head_file" "$@"
}

# In the tour's shell the server is a job too; a plain wait of the tour's means its own jobs.
wait() {
    local job
    [ $# -eq 0 ] || { builtin wait "$@"; return; }
    for job in $(jobs -p); do
        [ "$job" = "$pid" ] || builtin wait "$job"
    done
}

# The commands of the sh blocks, one a line: lines that end in a backslash are joined.
commands() {
    # shellcheck disable=SC2016 # the backquotes are the README's
    sed -n '/^```sh$/,/^```$/p' "$readme" | grep -v '^```' | sed -e ':a' -e '/\\$/N; s/\\\n */ /; ta'
}

# take COMMAND: in this shell, so that its variables stay.
take() {
    head_file=$dir/head.${#taken[@]}
    taken+=("$1")
    eval "$1" >"$dir/output" 2>&1
    judge "$1 ($(head -c 200 "$dir/output"))" "exit code $?" "exit code 0"
}

judge_status() {
    local command=$1 answered
    [[ $command == *curl* ]] || return 0
    if [[ $command =~ \#\ ([0-9]{3})[[:space:]]*$ ]]; then
        answered=$(sed -n '1s/^HTTP[^ ]* \([0-9]*\).*/\1/p' "$2" 2>/dev/null)
        judge "$command" "${answered:-no answer}" "${BASH_REMATCH[1]}"
    else
        judge "$command" "no status in its comment" "one"
    fi
}

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
        judge "README.md has the setting $flag" "$(grep -c "^| \`${flag}[ \`]" "$readme")" 1
    done < <("$ringhold" --help | sed -n 's/^  \(--[a-z-]*\) [A-Z].*/\1/p; s/^  \(--durability\) .*/\1/p')
}

cd "$dir" || exit 1
start --node readme
mapfile -t tour < <(commands)
taken=()
for command in "${tour[@]}"; do
    [ -z "$command" ] || take "${command/http:\/\/127.0.0.1:7480/$url}"
done
wait
for i in "${!taken[@]}"; do
    judge_status "${taken[$i]}" "$dir/head.$i"
done
judge_settings
judge_targets
judge "the tour has commands" "$((${#taken[@]} > 15))" 1
stop
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
