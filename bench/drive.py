"""Driving a server with the load generator, and what comes out of it."""

import contextlib
import csv
import dataclasses
import io
import json
import statistics
import subprocess
import threading

import servers
from servers import Failure

CYCLES_RUN_SECONDS_MAX = 900
SPARE_SECONDS = 60


@dataclasses.dataclass
class Result:
    """One run; or, from `median`, the medians of several."""
    per_second: float
    p50_us: float
    p99_us: float
    steps: dict = dataclasses.field(default_factory=dict)  # name -> (p50_us, p99_us)
    client_us: float = None  # CPU for one operation, on the client's side …
    server_us: float = None  # … and on the server's
    spread: tuple = None     # slowest and fastest run, a second


@dataclasses.dataclass
class Settings:
    rounds: int
    seconds: float
    warmup_seconds: float
    scale: float  # of what is large: 1.0, and less for a quick run


def load_command(server, mode, **options):
    words = [str(servers.LOAD), mode] + [word for port in server.ports for word in ("--port", str(port))]
    for name, value in options.items():
        words.append("--" + name.replace("_", "-"))
        if value is not True:
            words.append(str(value))
    return words


def run_bounded(words, seconds):
    """stdout of a command that must end well within that time."""
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               preexec_fn=servers.die_with_parent)
    try:
        output, complaint = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Failure(f"{words[1]} took longer than {seconds} s") from None
    finally:
        servers.stop(process)
    if process.returncode != 0:
        raise Failure(complaint.strip() or f"{words[1]} ended with status {process.returncode}")
    return output


def fill(server, mode, cycles, **options):
    """So many cycles of a mode, to make what the measured run needs."""
    run_bounded(load_command(server, mode, cycles=cycles, **options), CYCLES_RUN_SECONDS_MAX)


def measure(server, mode, settings, **options):
    command = load_command(server, mode, warmup_ms=int(settings.warmup_seconds * 1000),
                           measure_ms=int(settings.seconds * 1000), **options)
    cpu = server.cpu_seconds()
    report = json.loads(run_bounded(command, settings.warmup_seconds + settings.seconds + SPARE_SECONDS))
    cpu = server.cpu_seconds() - cpu
    operations = max(report["all_operations"], 1)
    steps = {name: (step["p50_us"], step["p99_us"]) for name, step in report["steps"].items()}
    return Result(report["per_second"], report["p50_us"], report["p99_us"], steps,
                  report["cpu_seconds"] / operations * 1e6, cpu / operations * 1e6)


@dataclasses.dataclass
class Gaps:
    """How long writes stopped."""
    longest_gap_ms: float   # in which no client had an acknowledgement
    longest_wait_ms: float  # of one client for its own
    acknowledged: int
    refused: int            # answers that were not good, and broken connections; all were tried again


def gaps(server, mode, seconds, after_seconds, event, **options):
    """Drives for so long, and calls `event` after a while."""
    command = load_command(server, mode, gaps=True, warmup_ms=1000, measure_ms=int(seconds * 1000), **options)
    wrong = []

    def try_event():
        try:
            event()
        except Exception as error:  # told by who waits for this thread
            wrong.append(error)

    timer = threading.Timer(1 + after_seconds, try_event)
    timer.start()
    try:
        report = json.loads(run_bounded(command, seconds + SPARE_SECONDS))
    finally:
        timer.cancel()
        timer.join()
    if wrong:
        raise Failure(f"what was to happen meanwhile did not: {wrong[0]!r}")
    return Gaps(report["longest_gap_ms"], report["longest_wait_ms"], report["acknowledged"], report["refused"])


def redis_benchmark(server, command, keys, settings):
    """Redis as its own benchmark program sees it, for comparison with our client."""
    requests = int(50000 * settings.seconds)
    output = run_bounded(["redis-benchmark", "-p", str(server.port), "-c", "64", "-n", str(requests), "-d", "200",
                          "-r", str(keys), "-t", command, "--csv"], settings.seconds * 20 + SPARE_SECONDS)
    row = list(csv.DictReader(io.StringIO(output)))[0]
    return Result(float(row["rps"]), float(row["p50_latency_ms"]) * 1000, float(row["p99_latency_ms"]) * 1000)


@contextlib.contextmanager
def parked(server, count, **options):
    """Parks so many requests; gives a function that wakes them all and returns the seconds that took."""
    process = subprocess.Popen(load_command(server, "park", connections=count, **options), text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               preexec_fn=servers.die_with_parent)

    def wake():
        output, complaint = process.communicate("wake\n", timeout=SPARE_SECONDS)
        if process.returncode != 0:
            raise Failure(complaint.strip())
        return json.loads(output)["wake_seconds"]

    try:
        if process.stdout.readline() != "parked\n":
            raise Failure(process.stderr.read().strip())
        yield wake
    finally:
        servers.stop(process)


def median(results):
    def of(values):
        known = [value for value in values if value is not None]
        return statistics.median(known) if known else None

    rates = [result.per_second for result in results]
    steps = {name: (of(r.steps[name][0] for r in results), of(r.steps[name][1] for r in results))
             for name in results[0].steps}
    return Result(of(rates), of(r.p50_us for r in results), of(r.p99_us for r in results), steps,
                  of(r.client_us for r in results), of(r.server_us for r in results), (min(rates), max(rates)))
