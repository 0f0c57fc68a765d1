# What the cases share. Each case runs in a shell of its own, in an empty directory of its own ($dir), which is also
# where its server keeps its data.
# shellcheck shell=bash disable=SC2154 # run.sh sets $ringhold

START_SECONDS=20
STOP_SECONDS=20

fail() {
    echo "$*"
    [ ! -s "$dir/stderr" ] || { echo "the last lines of the server's log:"; tail -n 5 "$dir/stderr"; }
    exit 1
}

# equal GOT WANT WHAT
equal() {
    [ "$1" = "$2" ] || fail "$3: got \"$1\", not \"$2\""
}

# contains TEXT PART WHAT
contains() {
    [[ $1 == *"$2"* ]] || fail "$3: there is no \"$2\" in: $1"
}

# start [FLAG…]: starts a server on a free port and waits until it listens; sets $pid and $url.
start() {
    : >"$dir/stdout"
    "$ringhold" --listen 127.0.0.1:0 --data "$dir/data" "$@" >"$dir/stdout" 2>"$dir/stderr" &
    pid=$!
    echo "$pid" >>"$dir/pids"
    local tries=0
    until grep -q '^ringhold listening on ' "$dir/stdout"; do
        kill -0 "$pid" 2>/dev/null || fail "the server did not start"
        tries=$((tries + 1))
        [ "$tries" -lt $((START_SECONDS * 20)) ] || fail "the server does not listen after $START_SECONDS s"
        sleep 0.05
    done
    # shellcheck disable=SC2034 # the cases use it
    url=$(sed -n '1s/^ringhold listening on //p' "$dir/stdout")
}

# wait_for_end: the server's exit code, in $code.
wait_for_end() {
    local tries=0
    while kill -0 "$pid" 2>/dev/null; do
        tries=$((tries + 1))
        [ "$tries" -lt $((STOP_SECONDS * 20)) ] || fail "the server does not end after $STOP_SECONDS s"
        sleep 0.05
    done
    code=0
    wait "$pid" || code=$?
}

stop() {
    kill -TERM "$pid"
    wait_for_end
    equal "$code" 0 "the exit code after SIGTERM"
}

# run ARGUMENT…: runs the program to its end; sets $code, $out and $err.
run() {
    code=0
    "$ringhold" "$@" >"$dir/run.out" 2>"$dir/run.err" || code=$?
    # shellcheck disable=SC2034 # the cases use them
    out=$(cat "$dir/run.out") err=$(cat "$dir/run.err")
}

# call METHOD PATH [BODY [CURL-ARGUMENT…]]: one request; sets $status and $body.
call() {
    local method=$1 path=$2 data=${3:-}
    shift 2
    [ $# -eq 0 ] || shift
    [ -z "$data" ] || set -- -d "$data" "$@"
    status=$(curl -sS -m 30 -X "$method" -H 'Content-Type: application/json' -o "$dir/body" -w '%{http_code}' \
        "$@" "$url$path") || fail "$method $path got no answer"
    # shellcheck disable=SC2034 # the cases use it
    body=$(cat "$dir/body")
}

# expect STATUS METHOD PATH …: a call that must be answered so.
expect() {
    local want=$1
    shift
    call "$@"
    equal "$status" "$want" "$1 $2 ($body)"
}

run_case() {
    dir=$(mktemp -d)
    export dir
    (
        trap clean_up EXIT
        set -eu
        cd "$dir"
        "$1"
    )
}

# The servers that the case started and that still live.
clean_up() {
    local left
    while read -r left; do
        kill -KILL "$left" 2>/dev/null || true
    done < <(cat "$dir/pids" 2>/dev/null)
    rm -rf "$dir"
}
