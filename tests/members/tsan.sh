#!/bin/bash
# Clusters of members that were built with -fsanitize=thread, and a look for reports of races in any of them.
#   tests/members/tsan.sh build/tsan/ringhold [FILE…]
# Exit code 1 if there is a report, or a test fails.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
ringhold=$(realpath "$1")
shift
[ $# -gt 0 ] || set -- "$here"/{cluster,consistency,handover,hangup,leave,rotate,shards}.test.mjs
reports=$(mktemp -d)
trap 'rm -rf "$reports"' EXIT
# A member with reports ends as it would without: they are counted here.
export TSAN_OPTIONS="halt_on_error=0 exitcode=0 second_deadlock_stack=1 history_size=4 \
log_path=$reports/report suppressions=$here/../process/tsan.supp"
for file in "$@"; do
    "$here/../http/run.sh" "$ringhold" "$file"
done
found=$(find "$reports" -type f -exec cat {} + | grep -c 'WARNING: ThreadSanitizer' || true)
if [ "$found" -ne 0 ]; then
    find "$reports" -type f -exec cat {} + | head -n 400
    echo "members: $found reports of ThreadSanitizer"
    exit 1
fi
echo "members: no report of ThreadSanitizer"
