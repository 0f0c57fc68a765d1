#!/bin/bash
# Takes README.md's tour of a cluster, with what `make cluster` runs: three members and HAProxy. Then what only the whole
# shows: a client that hangs up at HAProxy leaves no long poll behind, stopping ends every process, and a second start
# goes on with what the first one stored.
#   tests/process/cluster_tour.sh build/ringhold
# Ends with `N passed, N failed`, and exit code 1 if one failed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
ringhold=$(realpath "$1")
readme=$(realpath "$here/../../README.md")
dir=$(mktemp -d)
# shellcheck source-path=SCRIPTDIR source=tour.sh
. "$here/tour.sh"
READY_SECONDS=120
PARTITIONS=4
pid=

clean_up() {
    # It stops what it has started; a member that lives in spite of that is ended by its own pid.
    [ -z "$pid" ] || { kill -TERM "$pid" 2>/dev/null; builtin wait "$pid"; }
    # shellcheck disable=SC2046 # one word each
    kill -KILL $(pids) 2>/dev/null
    rm -rf "$dir"
}
trap clean_up EXIT

# What was started, by what it said.
pids() {
    sed -n 's/.*, pid \([0-9]*\).*/\1/p' "$dir/said" 2>/dev/null
}

# begin: makes $port, and waits until all is ready.
begin() {
    local tries=$((READY_SECONDS * 5))
    : >"$dir/said" # here: the job may empty it only after it was looked at
    "$here/../../tools/cluster" "$ringhold" "$dir/build/cluster-demo" "$port" --partitions "$PARTITIONS" >"$dir/said" 2>&1 &
    pid=$!
    until grep -q '^Ready' "$dir/said"; do
        tries=$((tries - 1))
        if [ "$tries" -eq 0 ] || ! kill -0 "$pid" 2>/dev/null; then
            echo "the cluster does not start:"
            cat "$dir/said" "$dir"/build/cluster-demo/*.log 2>/dev/null | tail -n 20
            exit 1
        fi
        sleep 0.2
    done
}

finish() {
    local left=0 each
    kill -TERM "$pid"
    builtin wait "$pid"
    judge "tools/cluster's exit code" "$?" 0
    pid=
    for each in $(pids); do
        ! kill -0 "$each" 2>/dev/null || left=$((left + 1))
    done
    judge "processes that are left" "$left" 0
}

# parked: how many long polls the members that live hold.
parked() {
    local number
    for number in 1 2 3; do
        command curl -s -m 5 "http://127.0.0.1:$((port + number))/metrics"
    done | sed -n 's/^ringhold_parked_requests //p' | awk '{ sum += $1 } END { print sum + 0 }'
}

# until_parked WANT: for up to ten seconds; prints what it has come to.
until_parked() {
    local tries=50 now
    until now=$(parked) && [ "$now" -eq "$1" ] || [ "$tries" -eq 0 ]; do
        tries=$((tries - 1))
        sleep 0.2
    done
    echo "$now"
}

hang_up() {
    local poll=http://127.0.0.1:$port/v1/queues/line
    command curl -s -m 10 -o "$dir/output" -X PUT "$poll" -d '{}'
    command curl -s -m 60 -o "$dir/output" "$poll/receive" -d '{"wait_ms":60000}' &
    local client=$!
    judge "a receive waits" "$([ "$(until_parked 1)" -ge 1 ] && echo yes)" yes
    kill "$client"
    judge "receives left by a client that hung up" "$(until_parked 0)" 0
}

cd "$dir" || exit 1
port=$((20000 + $$ % 500 * 20)) # ends in 0, as the README's does
begin
hang_up
mapfile -t tour < <(commands 'sh cluster')
for command in "${tour[@]}"; do
    [ -z "$command" ] || take "${command//127.0.0.1:748/127.0.0.1:${port%0}}"
done
judge_statuses
judge "the tour has commands" "$((${#taken[@]} > 7))" 1
finish
begin
stored=$(command curl -sS -i -m 10 "http://127.0.0.1:$port/v1/sessions/ada" 2>&1)
judge "what the first start stored ($stored)" "$(tail -n 1 <<<"$stored" | jq -c .data)" '{"n":2}'
finish
tell
