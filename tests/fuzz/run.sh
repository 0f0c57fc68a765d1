#!/bin/sh
# Runs fuzz targets one after the other: run.sh BUILD SECONDS NAME…
# Known inputs first (the corpora), then new ones made from them. What breaks a promise ends the run, and its input is
# kept as BUILD/finds/NAME-*.
set -eu
build=$1 seconds=$2
shift 2
here=$(dirname "$0")
export ASAN_OPTIONS="detect_leaks=1:allocator_may_return_null=1"
export UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1"
for name in "$@"; do
    mkdir -p "$build/found/$name" "$build/finds"
    dict=
    [ -f "$here/$name.dict" ] && dict="-dict=$here/$name.dict"
    log=$build/$name.log
    # shellcheck disable=SC2086 # no dictionary is no argument
    if ! "$build/fuzz_$name" -max_total_time="$seconds" -max_len=65536 -len_control=40 -rss_limit_mb=1024 \
        -timeout=10 -print_final_stats=1 $dict -artifact_prefix="$build/finds/$name-" \
        "$build/found/$name" "$here/corpus/$name" >"$log" 2>&1; then
        tail -n 60 "$log"
        echo "fuzz $name: FAILED; the input is in $build/finds"
        exit 1
    fi
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    echo "fuzz $name: $runs executions in $seconds s"
done
