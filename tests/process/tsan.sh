#!/bin/bash
# Drives a server that was built with -fsanitize=thread with everything at once, and looks for reports of races.
#   tests/process/tsan.sh build/tsan/ringhold build/bench-load
# Criterion does not start under ThreadSanitizer, so the server itself is the test. Exit code 1 if there is a report.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
ringhold=$(realpath "$1")
load=$(realpath "$2")
dir=$(mktemp -d)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$here/lib.sh"
trap clean_up EXIT
export TSAN_OPTIONS="halt_on_error=0 exitcode=66 second_deadlock_stack=1 history_size=4 suppressions=$here/tsan.supp"

# drive MODE [ARGUMENT…]: some seconds of one kind of load, beside the others.
drive() {
    local mode=$1
    shift
    "$load" "$mode" --port "${url##*:}" --connections 8 --warmup-ms 0 --measure-ms 6000 --name "tsan-$mode" "$@" \
        >"$dir/load.$mode" 2>&1
}

# Every session that is read afterwards, however few were written by then.
fill_sessions() {
    "$load" session-put --port "${url##*:}" --connections 8 --keys 200 --sequential --warmup-ms 0 --cycles 200 \
        --name tsan-session-put >"$dir/load.fill" 2>&1 || fail "filling failed: $(tail -n 3 "$dir/load.fill")"
}

drive_all() {
    local jobs=() job
    drive session-put --keys 200 &
    jobs+=($!)
    drive lock --keys 20 &
    jobs+=($!)
    drive queue-cycle &
    jobs+=($!)
    poll_and_hang_up &
    jobs+=($!)
    watch_from_outside &
    jobs+=($!)
    for job in "${jobs[@]}"; do
        wait "$job" || fail "a part of the load failed: $(tail -n 3 "$dir"/load.*)"
    done
    fill_sessions
    drive session-get --keys 200 --name tsan-session-put || fail "reading failed: $(tail -n 3 "$dir/load.session-get")"
}

# Long polls that are woken, time out, and whose clients hang up.
poll_and_hang_up() {
    local i
    for i in $(seq 12); do
        curl -s -m 0.3 -o /dev/null "$url/v1/locks/quiet?wait_ms=60000" -H 'If-None-Match: "0"' || true
        curl -sS -m 20 -o /dev/null "$url/v1/locks/quiet?wait_ms=100" -H 'If-None-Match: "0"'
        curl -s -m 0.3 -o /dev/null -X POST "$url/v1/queues/quiet/receive" -d '{"wait_ms":60000}' || true
        curl -s -m 0.3 -o /dev/null -X PUT "$url/v1/locks/contended/leases/$i" \
            -d "{\"owner\":\"$i\",\"ttl_ms\":300,\"wait_ms\":60000}" || true
    done
}

# What an operator does meanwhile.
watch_from_outside() {
    local i
    for i in $(seq 8); do
        curl -sS -m 20 -o /dev/null "$url/metrics"
        curl -sS -m 20 -o /dev/null "$url/v1/status"
        curl -sS -m 20 -o /dev/null "$url/readyz?verbose"
        "$ringhold" backup "$dir/copy$i.db" --data "$dir/data" >/dev/null
    done
}

stop_with_parked() {
    local i
    for i in 1 2 3 4; do
        curl -sS -m 30 -o /dev/null "$url/v1/locks/quiet$i?wait_ms=60000" -H 'If-None-Match: "0"' &
    done
    sleep 0.5
    stop
    wait
}

start --http-threads 4
drive_all
stop_with_parked
reports=$(grep -c 'WARNING: ThreadSanitizer' "$dir/stderr" || true)
if [ "$reports" -ne 0 ]; then
    sed -n '/WARNING: ThreadSanitizer/,/SUMMARY/p' "$dir/stderr" | head -n 400
    echo "check-tsan: $reports reports"
    exit 1
fi
echo "check-tsan: no report"
