#!/bin/bash
# Drives a server through the proxy (tests/proxy/drive_proxy.c): nothing is lost, nothing done twice, and cancelled
# long polls leave none parked. With -fsanitize=thread builds it looks for races too.
#   tests/process/proxy.sh build/ringhold build/drive-proxy
set -eu
here=$(cd "$(dirname "$0")" && pwd)
ringhold=$(realpath "$1")
drive=$(realpath "$2")
dir=$(mktemp -d)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$here/lib.sh"
trap clean_up EXIT
export TSAN_OPTIONS="halt_on_error=0 exitcode=66 history_size=4"

# Two thousand at once need as many sockets on either side.
ulimit -n "$(ulimit -Hn)"
start --http-threads 2
"$drive" "$url" || fail "the proxy's driver failed"
stop
