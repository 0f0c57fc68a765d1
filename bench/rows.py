"""The rows of the benchmark: which contestants each has, and what is held against what.

A contestant is a function of the settings that starts its server, drives it and gives a Result. The contestants of a row
take turns, round after round, so that whatever else the machine does meanwhile hits all of them alike. Rows about
memory, CPU at rest and starting have functions of their own."""

import dataclasses
import os
import time
import urllib.request

import servers
from drive import Result, fill, measure, median, parked, redis_benchmark
from servers import Failure

READ_KEYS = 10_000
WRITE_KEYS = 100_000


@dataclasses.dataclass
class Line:
    """One line of the table: what was measured, what it is held against, and whether that goal is met."""
    work: str
    ours: str
    against: str
    goal: str
    latency: str = ""
    theirs: str = ""
    theirs_latency: str = ""
    ratio: str = ""
    met: bool = None  # None: for information


@dataclasses.dataclass
class Detail:
    """A contestant's median, for the second table."""
    name: str
    result: Result


@dataclasses.dataclass
class Outcome:
    lines: list = dataclasses.field(default_factory=list)
    details: list = dataclasses.field(default_factory=list)
    failures: list = dataclasses.field(default_factory=list)  # (who, why)


# ---- contestants ----

def on_ringhold(mode, **options):
    def contestant(settings):
        with servers.ringhold() as server:
            return measure(server, mode, settings, **options)
    return contestant


def ringhold_reads(settings):
    with servers.ringhold() as server:
        fill(server, "session-put", READ_KEYS, keys=READ_KEYS, sequential=True)
        return measure(server, "session-get", settings, keys=READ_KEYS)


def hello_reads(settings):
    with servers.hello() as server:
        return measure(server, "hello", settings)


def redis_reads(settings):
    with servers.redis() as server:
        fill(server, "redis-set", READ_KEYS, keys=READ_KEYS, sequential=True)
        return measure(server, "redis-get", settings, keys=READ_KEYS)


def redis_writes(settings):
    with servers.redis() as server:
        return measure(server, "redis-set", settings, keys=WRITE_KEYS)


def redis_benchmark_reads(settings):
    with servers.redis() as server:
        redis_benchmark(server, "set", READ_KEYS, settings)
        return redis_benchmark(server, "get", READ_KEYS, settings)


def redis_benchmark_writes(settings):
    with servers.redis() as server:
        return redis_benchmark(server, "set", WRITE_KEYS, settings)


def etcd_reads(settings):
    with servers.etcd() as server:
        fill(server, "etcd-put", READ_KEYS, keys=READ_KEYS, sequential=True)
        return measure(server, "etcd-get", settings, keys=READ_KEYS)


def etcd_writes(settings):
    with servers.etcd() as server:
        return measure(server, "etcd-put", settings, keys=WRITE_KEYS)


def beanstalkd_cycles(sync_ms):
    def contestant(settings):
        with servers.beanstalkd(sync_ms) as server:
            return measure(server, "beanstalk", settings)
    return contestant


# ---- rows of contestants ----

@dataclasses.dataclass
class Comparison:
    """Our contestants, and those of them or of others that each is held against, by a factor."""
    contestants: dict  # name -> function
    goals: list        # (work, our name, their name, least ratio or None)

    def run(self, settings, with_ringhold, say):
        rounds = {name: [] for name in self.contestants if with_ringhold or not name.startswith("Ringhold")}
        failures = {}
        for _ in range(settings.rounds):
            for name in [name for name in rounds if name not in failures]:
                try:
                    rounds[name].append(self.contestants[name](settings))
                    say(f"{name}: {rounds[name][-1].per_second:,.0f}/s")
                except Failure as failure:  # the others go on without it
                    say(f"{name} FAILED: {failure}")
                    failures[name] = str(failure)
        medians = {name: median(results) for name, results in rounds.items() if name not in failures}
        lines = [compared(work, medians[ours], theirs, medians[theirs], factor)
                 for work, ours, theirs, factor in self.goals if ours in medians and theirs in medians]
        return Outcome(lines, [Detail(name, result) for name, result in medians.items()], list(failures.items()))


def rate(per_second):
    return f"{per_second:,.0f}/s"


def latency(result):
    return f"{result.p50_us / 1000:.2f} / {result.p99_us / 1000:.2f}"


def compared(work, ours, theirs_name, theirs, factor):
    ratio = ours.per_second / theirs.per_second
    return Line(work, rate(ours.per_second), theirs_name, "" if factor is None else f"≥ {factor:g} ×", latency(ours),
                rate(theirs.per_second), latency(theirs), f"{ratio:.2f}",
                None if factor is None else ratio >= factor)


READ = Comparison(
    {"Ringhold session GET": ringhold_reads, "bare libmicrohttpd": hello_reads, "Redis GET": redis_reads,
     "Redis GET, by redis-benchmark": redis_benchmark_reads, "etcd range, HTTP gateway": etcd_reads},
    [("read a session", "Ringhold session GET", "bare libmicrohttpd", 0.8),
     ("read a session", "Ringhold session GET", "Redis GET", 1.0),
     ("read a session", "Ringhold session GET", "Redis GET, by redis-benchmark", 1.0),
     ("read a session", "Ringhold session GET", "etcd range, HTTP gateway", None)])

WRITE = Comparison(
    {"Ringhold session PUT": on_ringhold("session-put", keys=WRITE_KEYS), "Redis SET, always": redis_writes,
     "Ringhold lock, release": on_ringhold("lock"), "etcd put, HTTP gateway": etcd_writes,
     "Redis SET, always, by redis-benchmark": redis_benchmark_writes},
    [(work, ours, theirs, factor)
     for work, ours in (("durable write: session PUT", "Ringhold session PUT"),
                        ("durable writes: lock acquire, release", "Ringhold lock, release"))
     for theirs, factor in (("Redis SET, always", 1.0), ("Redis SET, always, by redis-benchmark", 1.0),
                            ("etcd put, HTTP gateway", 8.0))])

QUEUE = Comparison(
    {"Ringhold send, receive, ack": on_ringhold("queue-cycle"), "beanstalkd -f0": beanstalkd_cycles(0),
     "beanstalkd -f50": beanstalkd_cycles(50)},
    [("queue cycle, each step a request", "Ringhold send, receive, ack", "beanstalkd -f0", 5.0),
     ("queue cycle, each step a request", "Ringhold send, receive, ack", "beanstalkd -f50", 1.0)])


# ---- rows of our own ----

class Batch:
    """100 messages a request: first sent for the whole time, then received and acknowledged until they are gone."""
    goals = (("batched send", 80_000), ("batched receive and ack", 60_000))

    def run(self, settings, with_ringhold, say):
        if not with_ringhold:
            return Outcome()
        rounds = []
        for _ in range(settings.rounds):
            with servers.ringhold() as server:
                rounds.append([measure(server, mode, settings, batch=100) for mode in ("queue-send", "queue-drain")])
            say(" and ".join(rate(result.per_second) for result in rounds[-1]))
        outcome = Outcome()
        for (work, goal), results in zip(self.goals, zip(*rounds)):
            result = median(results)
            outcome.details.append(Detail(f"Ringhold {work}, 100 a request", result))
            outcome.lines.append(Line(f"{work}, 100 a request", f"{result.per_second:,.0f} msg/s", "a fixed rate",
                                      f"≥ {goal:,} msg/s", latency(result), ratio=f"{result.per_second / goal:.2f}",
                                      met=result.per_second >= goal))
        return outcome


class Claim:
    """The cycle on a queue with many ready and many leased messages, against the same on an empty one beside it."""
    ready, leased, factor = 1_000_000, 100_000, 0.8

    def backlog(self, server, settings, say):
        ready, leased = int(self.ready * settings.scale), int(self.leased * settings.scale)
        fill(server, "queue-send", (ready + leased) // 1000, name="deep", batch=1000, connections=8)
        fill(server, "queue-lease", leased // 1000, name="deep", batch=1000, connections=8)
        say(f"{ready:,} ready, {leased:,} leased")
        return ready, leased

    def run(self, settings, with_ringhold, say):
        if not with_ringhold:
            return Outcome()
        rounds = {"empty": [], "deep": []}
        with servers.ringhold() as server:
            ready, leased = self.backlog(server, settings, say)
            for _ in range(settings.rounds):
                for queue, results in rounds.items():
                    results.append(measure(server, "queue-cycle", settings, name=queue))
                    say(f"{queue} queue: {results[-1].per_second:,.0f}/s")
        medians = {queue: median(results) for queue, results in rounds.items()}
        line = compared(f"cycle with {ready:,} ready and {leased:,} leased", medians["deep"], "an empty queue",
                        medians["empty"], self.factor)
        return Outcome([line], [Detail(f"Ringhold cycle, {queue} queue", result) for queue, result in medians.items()])


IDLE_CPU_MAX = 0.001  # of a core: below what a timer of a few ticks a second costs


def cpu_share(server, seconds):
    """Of a core, over that time; nothing is asked of the server meanwhile."""
    before, began = server.precise_cpu_seconds(), time.monotonic()
    time.sleep(seconds)
    return (server.precise_cpu_seconds() - before) / (time.monotonic() - began)


def idle_line(work, share):
    return Line(work, f"{share:.3%} of a core", "", f"< {IDLE_CPU_MAX:.1%}", met=share < IDLE_CPU_MAX)


class Parked:
    """Resident memory for each parked long poll, CPU while all wait, and the time to wake all."""
    count, bytes_max = 10_000, 8192

    def run(self, settings, with_ringhold, say):
        if not with_ringhold:
            return Outcome()
        count = int(self.count * settings.scale)
        with servers.ringhold() as server:
            time.sleep(1)
            before = server.resident_bytes()
            with parked(server, count, batch=1000) as wake:
                time.sleep(3)
                each = (server.resident_bytes() - before) / count
                share = cpu_share(server, settings.seconds)
                woken = wake()
        say(f"{each:,.0f} bytes each, {share:.3%} of a core, all woken in {woken:.2f} s")
        return Outcome([
            Line(f"{count:,} parked long polls", f"{each / 1024:.1f} KiB each", "", f"≤ {self.bytes_max // 1024} KiB each",
                 met=each <= self.bytes_max),
            idle_line(f"CPU while {count:,} are parked", share),
            Line(f"{count:,} messages sent to them, all answered", f"{woken:.2f} s", "", "")])


class Idle:
    """A server of which nobody asks anything."""
    bytes_max = 20 * 1000 * 1000

    def run(self, settings, with_ringhold, say):
        if not with_ringhold:
            return Outcome()
        with servers.ringhold() as server:
            time.sleep(2)
            share, resident = cpu_share(server, settings.seconds), server.resident_bytes()
        say(f"{resident / 1e6:.1f} MB, {share:.3%} of a core")
        return Outcome([Line("idle: resident memory", f"{resident / 1e6:.1f} MB", "", f"≤ {self.bytes_max // 10**6} MB",
                             met=resident <= self.bytes_max), idle_line("idle: CPU", share)])


class Start:
    """From exec to a 200 of /readyz with much data, its files in the page cache or not; and after SIGKILL."""
    data_bytes, seconds_max, sessions_a_fill, fills_max = 1_000_000_000, 1.0, 100_000, 40

    def run(self, settings, with_ringhold, say):
        if not with_ringhold:
            return Outcome()
        data, size = self.make_data(int(self.data_bytes * settings.scale), say)
        lines = []
        for how, prepare, goal in (("its files cached", None, True), ("its files not cached", forget_cached, True),
                                   ("after SIGKILL, its files cached", kill_once, False)):
            times = sorted(self.time_start(data, prepare) for _ in range(settings.rounds))
            middle = times[len(times) // 2]
            say(f"ready in {middle:.3f} s, {how}")
            lines.append(Line(f"start with {size / 1e9:.2f} GB, {how}", f"{middle:.3f} s", "",
                              f"≤ {self.seconds_max:g} s" if goal else "",
                              met=middle <= self.seconds_max if goal else None))
        return Outcome(lines)

    def make_data(self, bytes_wanted, say):
        with servers.ringhold() as server:
            for i in range(self.fills_max):
                size = directory_bytes(server.data)
                if size >= bytes_wanted:
                    break
                fill(server, "session-put", self.sessions_a_fill, keys=self.sessions_a_fill, sequential=True,
                     name=f"fill{i}", data_bytes=1000)
        size = directory_bytes(server.data)
        if size < bytes_wanted:
            raise Failure(f"{self.fills_max * self.sessions_a_fill} sessions made only {size} bytes")
        say(f"{size / 1e9:.2f} GB of data")
        return server.data, size

    def time_start(self, data, prepare):
        if prepare is not None:
            prepare(data)
        began = time.monotonic()
        with servers.ringhold(data) as server:
            await_ready(server)
            return time.monotonic() - began


def directory_bytes(path):
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def forget_cached(path):
    """Drops the files' pages, and those of no one else, from the page cache."""
    for file in path.rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def kill_once(data):
    """Starts the server, has it write, and kills it, so that the next start finds an unclean stop."""
    with servers.ringhold(data) as server:
        await_ready(server)
        fill(server, "session-put", 10_000, keys=10_000, name="killed")
        server.kill()


def await_ready(server):
    deadline = time.monotonic() + servers.START_SECONDS_MAX
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/readyz", timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:  # not there yet, or 503
            time.sleep(0.002)
    raise Failure(f"{server.name} was not ready within {servers.START_SECONDS_MAX} s")


ROWS = {"read": READ, "write": WRITE, "queue": QUEUE, "batch": Batch(), "claim": Claim(), "parked": Parked(),
        "idle": Idle(), "start": Start()}
