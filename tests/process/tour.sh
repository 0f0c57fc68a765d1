# What takes a tour of README.md: its commands run in the order they stand, in the shell of who sources this, and each
# curl's status code is held against the number in the comment at its end.
# shellcheck shell=bash disable=SC2154 # who sources this sets $dir, $readme and $pid

passed=0 failed=0 taken=()

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

# In the tour's shell what was started for it ($pid) is a job too; a plain wait of the tour's means its own jobs.
wait() {
    local job
    [ $# -eq 0 ] || { builtin wait "$@"; return; }
    for job in $(jobs -p); do
        [ "$job" = "$pid" ] || builtin wait "$job"
    done
}

# commands WORDS: the commands of the blocks with these words at their head, one a line: lines that end in a backslash are
# joined.
commands() {
    # shellcheck disable=SC2016 # the backquotes are the README's
    sed -n '/^```'"$1"'$/,/^```$/p' "$readme" | grep -v '^```' | sed -e ':a' -e '/\\$/N; s/\\\n */ /; ta'
}

# take COMMAND: in this shell, so that its variables stay.
take() {
    head_file=$dir/head.${#taken[@]}
    taken+=("$1")
    eval "$1" >"$dir/output" 2>&1
    local code=$? # before what follows has one of its own
    judge "$1 ($(head -c 200 "$dir/output"))" "exit code $code" "exit code 0"
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

judge_statuses() {
    local i
    for i in "${!taken[@]}"; do
        judge_status "${taken[$i]}" "$dir/head.$i"
    done
}

tell() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}
