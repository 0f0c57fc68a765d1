#!/bin/sh
# Takes new inputs into the corpora: merge.sh BUILD NAME…
# Kept are the smallest inputs that together reach what all of them reach.
set -eu
build=$1
shift
here=$(dirname "$0")
for name in "$@"; do
    fresh=$build/merged/$name
    rm -rf "$fresh"
    mkdir -p "$fresh"
    "$build/fuzz_$name" -merge=1 -max_len=4096 "$fresh" "$here/corpus/$name" "$build/found/$name" >"$build/merge.log" 2>&1
    echo "fuzz $name: $(find "$fresh" -type f | wc -l) inputs reach everything, $(du -sh "$fresh" | cut -f1)"
done
