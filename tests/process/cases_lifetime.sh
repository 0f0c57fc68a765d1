# Starting, stopping, and the data directory.
# shellcheck shell=bash disable=SC2154 # run.sh and lib.sh set what the cases use

test_sigterm_ends_it_with_0() {
    start
    stop
}

test_sigint_ends_it_with_0() {
    start
    kill -INT "$pid"
    wait_for_end
    equal "$code" 0 "exit code"
}

test_a_second_process_on_the_directory_is_refused() {
    start
    run --listen 127.0.0.1:0 --data "$dir/data"
    equal "$code" 1 "exit code"
    contains "$err" "$dir/data is in use by another Ringhold process (pid $pid)" "stderr"
    expect 200 GET /readyz
    stop
}

test_the_directory_is_free_after_a_kill() {
    start
    kill -KILL "$pid"
    wait_for_end
    start
    stop
}

test_what_was_written_is_there_after_a_kill() {
    start
    expect 201 PUT /v1/sessions/kept '{"data":{"n":1}}'
    kill -KILL "$pid"
    wait_for_end
    start
    expect 200 GET /v1/sessions/kept
    equal "$(jq -c .data <<<"$body")" '{"n":1}' "its data"
    stop
}

test_its_files_are_for_its_owner_alone() {
    umask 022
    mkdir data
    start
    expect 201 PUT /v1/sessions/a '{"data":{}}'
    equal "$(find data -type f -perm /077)" "" "files that others may read"
    stop
    equal "$(find data -type f -perm /077)" "" "files that others may read, after the stop"
}

test_a_directory_that_cannot_be_made_is_refused() {
    run --listen 127.0.0.1:0 --data /proc/no/such
    equal "$code" 1 "exit code"
    contains "$err" "Cannot make the data directory /proc/no/such" "stderr"
}

test_a_damaged_database_is_refused_after_an_unclean_stop() {
    start
    expect 201 PUT /v1/sessions/a '{"data":{}}'
    stop
    rm data/clean
    pages=$(($(stat -c %s data/partition-0.db) / 1024))
    dd if=/dev/zero of=data/partition-0.db bs=1024 seek=$((pages / 2)) count=$((pages - pages / 2)) conv=notrunc status=none
    run --listen 127.0.0.1:0 --data "$dir/data"
    equal "$code" 1 "exit code"
    contains "$err" "cannot start: $dir/data/partition-0.db: " "stderr"
}

test_a_parked_request_is_answered_when_it_stops() {
    start
    expect 201 PUT /v1/sessions/a '{"data":{}}'
    curl -sS -m 30 -o parked -w '%{http_code}' -H 'If-None-Match: "1"' "$url/v1/sessions/a?wait_ms=30000" >parked.status &
    waiter=$!
    until [ "$(curl -sS "$url/v1/status" | jq .parked_requests)" = 1 ]; do sleep 0.05; done
    SECONDS=0
    stop
    wait "$waiter" || fail "the parked request was cut off"
    [ "$SECONDS" -lt 10 ] || fail "stopping took $SECONDS s"
    contains "304 503" "$(cat parked.status)" "the status of the parked request"
}

test_readyz_fails_while_it_drains_and_serving_goes_on() {
    start --drain-ms 1500
    kill -TERM "$pid"
    sleep 0.5
    expect 503 GET /readyz
    equal "$(jq -r .code <<<"$body")" draining "the code"
    expect 200 GET /livez
    expect 201 PUT /v1/sessions/a '{"data":{}}'
    wait_for_end
    equal "$code" 0 "exit code"
}

test_the_metrics_please_promtool() {
    start
    expect 201 PUT /v1/sessions/a '{"data":{}}'
    expect 404 GET /v1/nothing
    expect 200 GET /metrics
    "$here/../../tools/promtool" check metrics <body >promtool.out 2>&1 || fail "promtool says: $(cat promtool.out)"
    equal "$(cat promtool.out)" "" "promtool's advice"
    contains "$body" 'operation="putSession",code="201"} 1' "the page"
    contains "$body" 'ringhold_sessions 1' "the page"
    stop
}

test_the_health_check_of_the_image_tells_ready_from_not() {
    start --drain-ms 1500
    local listen=${url#http://}
    "$here/../../tools/ready" "$listen" || fail "it says not ready"
    RINGHOLD_LISTEN=0.0.0.0:${listen##*:} "$here/../../tools/ready" || fail "it says not ready of 0.0.0.0"
    kill -TERM "$pid"
    sleep 0.5
    ! "$here/../../tools/ready" "$listen" || fail "it says ready of one that drains"
    wait_for_end
    ! "$here/../../tools/ready" "$listen" 2>/dev/null || fail "it says ready of one that is gone"
}

# hang_up N: requests that wait, on locks and queues, and whose clients leave: at once, and just as they are woken.
hang_up() {
    local i lease
    for i in $(seq 8); do
        lease=$1-$i
        curl -s -m 0.1 -o hang.body "$url/v1/locks/quiet?wait_ms=60000" -H 'If-None-Match: "0"' || true
        curl -s -m 0.1 -o hang.body -X POST "$url/v1/queues/quiet/receive" -d '{"wait_ms":60000}' || true
        curl -s -m 0.1 -o hang.body -X PUT "$url/v1/locks/wanted/leases/$lease" \
            -d "{\"owner\":\"$lease\",\"ttl_ms\":50,\"wait_ms\":60000}" || true
    done
}

test_clients_that_hang_up_leave_nothing_behind() {
    start --http-threads 4
    expect 201 PUT /v1/queues/quiet '{}'
    local jobs=() i
    for i in 1 2 3 4; do
        hang_up "$i" &
        jobs+=($!)
    done
    wait "${jobs[@]}"
    sleep 0.5
    expect 200 GET /v1/status
    equal "$(jq .parked_requests <<<"$body")" 0 "parked requests"
    expect 200 GET /v1/locks/wanted
    equal "$(jq -c .waiters <<<"$body")" '[]' "waiters"
    SECONDS=0
    stop
    [ "$SECONDS" -lt 5 ] || fail "stopping took $SECONDS s"
}
