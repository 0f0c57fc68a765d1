# What a supervisor (systemd) is told through NOTIFY_SOCKET.
# shellcheck shell=bash disable=SC2154 # run.sh and lib.sh set what the cases use

# supervise NAME: hears what is sent to the socket of that name, each datagram a line of $dir/told.
supervise() {
    perl -MSocket -e '
        my $name = shift; $name =~ s/^@/\0/;
        socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die "$!";
        bind($s, pack_sockaddr_un($name)) or die "$!";
        $| = 1;
        print "listening\n";
        while (defined recv($s, my $told, 4096, 0)) { print "$told\n"; }' "$1" >"$dir/told" &
    echo $! >>"$dir/pids"
    until_told listening
}

# until_told LINE…: that is all that was told.
until_told() {
    local tries=0
    until [ "$(cat "$dir/told")" = "$(printf '%s\n' "$@")" ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 200 ] || fail "the supervisor was told: $(cat "$dir/told")"
        sleep 0.05
    done
}

test_a_supervisor_is_told_that_it_is_ready_and_that_it_stops() {
    supervise "$dir/notify"
    export NOTIFY_SOCKET=$dir/notify
    start --drain-ms 300
    until_told listening READY=1
    expect 200 GET /readyz
    kill -TERM "$pid"
    until_told listening READY=1 STOPPING=1
    expect 503 GET /readyz
    wait_for_end
    equal "$code" 0 "exit code"
    until_told listening READY=1 STOPPING=1
}

test_a_supervisor_may_listen_in_the_abstract_namespace() {
    NOTIFY_SOCKET=@${dir#/}
    supervise "$NOTIFY_SOCKET"
    export NOTIFY_SOCKET
    start
    until_told listening READY=1
    stop
    until_told listening READY=1 STOPPING=1
}

test_a_supervisor_that_cannot_be_told_is_no_reason_to_fail() {
    local name
    for name in "$dir/nobody" nonsense "/$(printf 'x%.0s' {1..200})"; do
        export NOTIFY_SOCKET=$name
        start
        expect 200 GET /readyz
        stop
        contains "$(cat "$dir/stderr")" supervisor-not-told "the log"
    done
}
