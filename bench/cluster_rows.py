"""What `make bench-cluster` measures: three members of Ringhold beside three of etcd, 64 clients spread over all members.

In each round either cluster is started with empty data directories, left alone for a while, driven, and at the end loses
with SIGKILL the member that leads most while 16 clients write. The two take turns, round after round."""

import statistics
import time

import clusters
from drive import fill, gaps, measure, median
from rows import READ_KEYS, WRITE_KEYS, Detail, Line, Outcome, compared
from servers import Failure

WRITES_FACTOR = 4.0
GAP_SECONDS_MAX = 1.5
GAP_CLIENTS = 16
GAP_RUN_SECONDS, KILL_AFTER_SECONDS = 9, 3
REST_SECONDS = 3

# A mode, how many keys it has, and what else it is given.
RATES = {
    "Ringhold": {"session PUT": ("session-put", WRITE_KEYS, {}), "lock, release": ("lock", 1, {}),
                 "session GET": ("session-get", READ_KEYS, {}),
                 "session GET, strong": ("session-get", READ_KEYS, {"consistency": "strong"})},
    "etcd": {"put": ("etcd-put", WRITE_KEYS, {}), "range, linearizable": ("etcd-get", READ_KEYS, {}),
             "range, serializable": ("etcd-get-serializable", READ_KEYS, {})},
}
STARTS = {"Ringhold": clusters.ringhold, "etcd": clusters.etcd}
WRITES = {"Ringhold": "session-put", "etcd": "etcd-put"}

COMPARED = [("durable write: session PUT", "session PUT", "put", WRITES_FACTOR),
            ("durable writes: lock acquire, release", "lock, release", "put", WRITES_FACTOR),
            ("read a session, strong", "session GET, strong", "range, linearizable", None),
            ("read a session", "session GET", "range, linearizable", None),
            ("read a session", "session GET", "range, serializable", None)]


class Round:
    """What one cluster did in one round."""

    def __init__(self, name, settings, say):
        with STARTS[name]() as cluster:
            self.rest(cluster, say)
            self.rates = {}
            for what, (mode, keys, more) in RATES[name].items():
                if keys == READ_KEYS:
                    fill(cluster, WRITES[name], READ_KEYS, keys=READ_KEYS, sequential=True)
                self.rates[what] = measure(cluster, mode, settings, keys=keys, **more)
                say(f"{name} {what}: {self.rates[what].per_second:,.0f}/s")
            self.gaps = gaps(cluster, WRITES[name], GAP_RUN_SECONDS, KILL_AFTER_SECONDS,
                             lambda: cluster.leader().kill(), connections=GAP_CLIENTS, keys=READ_KEYS)
            say(f"{name}, its leader killed: {self.gaps}")

    def rest(self, cluster, say):
        """CPU and memory of a member of which nobody asks anything."""
        before, began = cluster.precise_cpu_seconds(), time.monotonic()
        time.sleep(REST_SECONDS)
        self.share = (cluster.precise_cpu_seconds() - before) / (time.monotonic() - began) / clusters.MEMBERS
        self.resident = cluster.resident_bytes() / clusters.MEMBERS
        say(f"at rest: {self.share:.2%} of a core, {self.resident / 1e6:.1f} MB each")


def seconds(values_ms):
    """Median and worst."""
    return f"{statistics.median(values_ms) / 1000:.2f} s (worst {max(values_ms) / 1000:.2f} s)"


def gap_line(work, ours, theirs):
    middle = statistics.median(ours) / 1000
    return Line(work, seconds(ours), "etcd", f"≤ {GAP_SECONDS_MAX:g} s", theirs=seconds(theirs),
                ratio=f"{middle / (statistics.median(theirs) / 1000):.2f}", met=middle <= GAP_SECONDS_MAX)


def rest_line(work, ours, theirs):
    return Line(work, ours, "etcd", "", theirs=theirs)


class Cluster:
    """All of it: the same two clusters give rates, gaps and what they cost at rest."""

    def run(self, settings, _, say):
        rounds, failures = {name: [] for name in STARTS}, []
        for number in range(1, settings.rounds + 1):
            for name, done in rounds.items():
                try:
                    done.append(Round(name, settings, say))
                except Failure as failure:  # the other rounds go on without it
                    say(f"{name} FAILED: {failure}")
                    failures.append((f"{name}, round {number}", str(failure)))
        if not all(rounds.values()):
            return Outcome(failures=failures)
        rates = {name: {what: median([r.rates[what] for r in done]) for what in RATES[name]}
                 for name, done in rounds.items()}
        lines = [compared(work, rates["Ringhold"][ours], f"etcd {theirs}", rates["etcd"][theirs], factor)
                 for work, ours, theirs, factor in COMPARED]
        ours, theirs = rounds["Ringhold"], rounds["etcd"]
        for work, field in (("leader killed: longest time without an acknowledged write", "longest_gap_ms"),
                            ("leader killed: longest wait of one client", "longest_wait_ms")):
            lines.append(gap_line(work, [getattr(r.gaps, field) for r in ours], [getattr(r.gaps, field) for r in theirs]))
        for work, text in (("a member at rest: CPU", lambda r: f"{r.share:.2%} of a core"),
                           ("a member at rest: resident memory", lambda r: f"{r.resident / 1e6:.1f} MB")):
            lines.append(rest_line(work, text(middle_of(ours)), text(middle_of(theirs))))
        return Outcome(lines, [Detail(f"{name} {what}", result)
                               for name, whats in rates.items() for what, result in whats.items()], failures)


def middle_of(rounds):
    return sorted(rounds, key=lambda r: r.share)[len(rounds) // 2]


ROWS = {"cluster": Cluster()}
