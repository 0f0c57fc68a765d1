# The command line, the environment and the config file.
# shellcheck shell=bash disable=SC2154 # run.sh and lib.sh set what the cases use

test_version_is_printed() {
    run --version
    equal "$code" 0 "exit code"
    [[ $out =~ ^ringhold\ [0-9]+\.[0-9]+\.[0-9]+$ ]] || fail "--version prints $out"
}

test_help_names_every_setting() {
    run --help
    equal "$code" 0 "exit code"
    for flag in listen data durability log-level node max-connections max-parked http-threads drain-ms warm-bytes config; do
        contains "$out" "--$flag " "--help"
    done
}

test_routes_are_listed_once_each() {
    run --routes
    equal "$code" 0 "exit code"
    contains "$out" "GET /livez getLiveness" "--routes"
    contains "$out" "POST /v1/sessions createSession" "--routes"
    equal "$(sort <<<"$out" | uniq -d)" "" "routes listed twice"
}

test_an_unknown_flag_is_refused_with_one_sentence() {
    run --no-such-flag
    equal "$code" 2 "exit code"
    equal "$out" "" "stdout"
    equal "$err" "ringhold: --no-such-flag is not an argument that fits here; ringhold --help lists them all." "stderr"
}

test_a_bad_value_is_refused_with_one_sentence() {
    run --listen nowhere
    equal "$code" 2 "exit code"
    contains "$err" "--listen must be ADDR:PORT" "stderr"
    equal "$(wc -l <<<"$err")" 1 "lines on stderr"
    RINGHOLD_DURABILITY=maybe run
    equal "$code" 2 "exit code"
    contains "$err" 'RINGHOLD_DURABILITY must be full or relaxed, not "maybe"' "stderr"
}

test_port_0_picks_a_port_and_prints_it() {
    start
    [[ $url =~ ^http://127\.0\.0\.1:[1-9][0-9]+$ ]] || fail "it prints $url"
    expect 200 GET /livez
    equal "$(cat stdout)" "ringhold listening on $url" "stdout"
    stop
}

test_an_ipv6_address_is_served_and_printed_in_brackets() {
    [ -s /proc/net/if_inet6 ] || return 0 # this machine has no IPv6
    start --listen '[::1]:0'
    contains "$url" 'http://[::1]:' "the first line"
    equal "$(curl -sS -g -o /dev/null -w '%{http_code}' "$url/livez")" 200 "GET /livez"
    stop
}

test_a_port_in_use_is_refused() {
    start
    run --listen "${url#http://}" --data "$dir/other"
    equal "$code" 1 "exit code"
    contains "$err" "Address already in use" "stderr"
    stop
}

test_flags_come_before_the_environment_before_the_file() {
    printf '# of the test\nnode = of-file\ndurability = relaxed\n' >ringhold.conf
    start --config ringhold.conf
    expect 200 GET /v1/status
    equal "$(jq -r '.node + " " + .durability' <<<"$body")" "of-file relaxed" "from the file"
    stop
    RINGHOLD_CONFIG=ringhold.conf RINGHOLD_NODE=of-environment start
    expect 200 GET /v1/status
    equal "$(jq -r '.node + " " + .durability' <<<"$body")" "of-environment relaxed" "with the environment"
    stop
    RINGHOLD_CONFIG=ringhold.conf RINGHOLD_NODE=of-environment start --node of-flag --durability full
    expect 200 GET /v1/status
    equal "$(jq -r '.node + " " + .durability' <<<"$body")" "of-flag full" "with flags"
    stop
}

test_the_log_is_json_lines_on_stderr() {
    start --log-level debug
    expect 200 GET /v1/status
    stop
    jq -es 'all(has("time") and has("level") and has("event"))' stderr >/dev/null || fail "not all are JSON lines"
    contains "$(jq -r .event stderr)" "listening" "events"
    contains "$(jq -r .event stderr)" "stopped" "events"
}
