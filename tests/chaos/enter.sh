#!/bin/sh
# Runs a command in namespaces of its own, of networks, mounts and processes, and as root of a namespace of users where it
# may: whatever the command makes there is gone when it ends, however it ends, and nothing of the machine's own is touched.
# Where the machine does not allow it the command runs as it is. CHAOS_PLACE tells it which.
#     enter.sh COMMAND…
set -eu

# What must be possible in there; the last lines are left for the command.
# shellcheck disable=SC2016 # to be expanded in there
prepare='
    mount -t tmpfs tmpfs /run && mkdir /run/netns && ip link set lo up &&
    echo 1 >/proc/sys/net/ipv4/ip_forward'

for users in -Ur ''; do
    # shellcheck disable=SC2086 # one word or none
    if unshare $users --net --mount --propagation private --pid --fork --kill-child --mount-proc \
        sh -c "$prepare && ip netns add probe" 2>/dev/null; then
        CHAOS_PLACE=namespaces
        export CHAOS_PLACE
        # shellcheck disable=SC2086
        exec unshare $users --net --mount --propagation private --pid --fork --kill-child --mount-proc \
            sh -c "$prepare"' && exec "$@"' sh "$@"
    fi
done
CHAOS_PLACE=loopback
export CHAOS_PLACE
exec "$@"
