"""The report: what the machine is, the tables, and docs/benchmarks.md. Of that each run writes its own part, the cluster's
between markers; what is between the markers of the findings is kept as whoever wrote it left it."""

import datetime
import os
import pathlib
import platform
import re
import statistics
import subprocess
import time

import servers

PAGE = servers.ROOT / "docs" / "benchmarks.md"
FINDINGS = ("<!-- findings: kept as it is by bench/run.py -->", "<!-- end of findings -->")
CLUSTER = ("<!-- cluster: written by bench/run.py --cluster -->", "<!-- end of cluster -->")

INTRODUCTION = """# Benchmarks

Written by `make bench` and, the section *A cluster of three*, by `make bench-cluster` (`bench/run.py`); only the section
*Findings* is written by hand.

Server and load generator share the machine, and every contestant meets the same client (`bench/load.c`): one thread,
64 connections in a closed loop, each with one request under way, data of 200 bytes. The contestants of a row take turns,
round after round, each time with an empty data directory on the same file system; the numbers are medians of the rounds.
A run in which any answer was not the expected one is not reported. All of Ringhold's writes are durable: answered after
they are synced. Latencies are of a whole cycle, in milliseconds, p50 / p99; a lock's cycle is two writes, and counts as
two. Redis is measured by our client and, beside it, by its own redis-benchmark, which spends more of the machine on
itself.
"""


def first_line(*command):
    try:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return "not installed"
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0] if lines else "unknown"


def hello_version():
    with servers.hello():
        log = (servers.SCRATCH / "hello.log").read_text()
    return re.search(r"libmicrohttpd (\S+)", log)[1]


def versions():
    redis = re.search(r"v=(\S+)", first_line("redis-server", "--version"))
    found = [first_line(servers.RINGHOLD, "--version"), f"commit {commit()}", f"libmicrohttpd {hello_version()}"]
    found.append(f"Redis {redis[1]}" if redis else "Redis: not installed")
    found += [first_line("etcd", "--version").replace(" Version:", ""), first_line("beanstalkd", "-v")]
    return ", ".join(found)


def commit():
    """Of the source tree, and whether it has changed since; the page itself does not count as a change."""
    git = ["git", "-C", str(servers.ROOT)]
    try:
        name = subprocess.run(git + ["rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run(git + ["status", "--porcelain", "--", ".", ":!docs/benchmarks.md"],
                                 capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name.stdout.strip() + (" with changes" if changed.stdout.strip() else "")


def cpu_model():
    found = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def file_system(path):
    """Type and device of the file system that `path` is on."""
    mounts = [line.split() for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
    over = [mount for mount in mounts if path.is_relative_to(mount[1])]
    device, _, kind = max(over, key=lambda mount: len(mount[1]))[:3]
    return f"{kind} on {device}"


def sync_microseconds(count=200):
    """Median time of one fdatasync after appending 4 KiB: what the disk asks for each commit."""
    servers.SCRATCH.mkdir(parents=True, exist_ok=True)
    path, times = servers.SCRATCH / "sync-probe", []
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    for _ in range(count):
        os.write(descriptor, b"x" * 4096)
        began = time.perf_counter()
        os.fdatasync(descriptor)
        times.append(time.perf_counter() - began)
    os.close(descriptor)
    path.unlink()
    return statistics.median(times) * 1e6


def machine():
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (f"{cpu_model()}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}, "
            f"{file_system(servers.BUILD)}, fdatasync of 4 KiB appended: {sync_microseconds():.0f} µs")


CLUSTER_INTRODUCTION = """## A cluster of three

Three members of Ringhold (16 partitions, 3 replicas of each) beside three of etcd, all on this one machine and its one
disk, over loopback: what a member costs is paid three times on the same cores, which separate machines would not do. 64
clients as above, dealt out over all three members, which send two of three requests of Ringhold's on to another. In each
round either cluster starts with empty directories, rests for 3 s, is driven, and then loses with SIGKILL the member that
leads (of Ringhold's the one that leads most partitions), while 16 clients write; a request that is not answered well is sent
again, to the next member, until it is. Of the gaps the medians of the rounds are given, and the worst.
"""


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def goals_table(lines):
    met = {True: "yes", False: "**no**", None: "–"}
    return table(["Work", "Ringhold", "p50 / p99", "Against", "Its rate", "p50 / p99", "Ratio", "Goal", "Met"],
                 [[line.work, line.ours, line.latency, line.against, line.theirs, line.theirs_latency, line.ratio,
                   line.goal, met[line.met]] for line in lines])


def detail_row(detail):
    result = detail.result
    steps = ", ".join(f"{name} {p50 / 1000:.2f} / {p99 / 1000:.2f}" for name, (p50, p99) in result.steps.items())
    slowest, fastest = result.spread

    def cpu(value):
        return "" if value is None else f"{value:.1f} µs"

    return [detail.name, f"{result.per_second:,.0f}", f"{slowest:,.0f} – {fastest:,.0f}", cpu(result.server_us),
            cpu(result.client_us), steps if len(result.steps) > 1 else ""]


def details_table(details):
    return table(["Contestant", "Median a second", "Rounds", "Server CPU each", "Client CPU each", "Steps, p50 / p99 ms"],
                 [detail_row(detail) for detail in details])


def kept(markers):
    """The markers, and what stands between them on the page now."""
    begin, end = markers
    found = PAGE.exists() and re.search(re.escape(begin) + "(.*?)" + re.escape(end), PAGE.read_text(), re.S)
    return f"{begin}\n\n" + (found[1].strip("\n") if found else "") + f"\n\n{end}\n"


def circumstances(settings, load_before):
    return (f"- **Machine**: {machine()}\n- **Versions**: {versions()}\n"
            f"- **Run**: {datetime.date.today()}, {settings.rounds} rounds of {settings.seconds:g} s each; "
            f"load average before it: {load_before:.2f}\n")


def failures_list(failures):
    whys = [f"- {who}: {why.splitlines()[0]}" for who, why in failures]
    return ["What gave no numbers:\n", "\n".join(whys) + "\n"] if failures else []


def page(outcomes, settings, failures, load_before):
    parts = [INTRODUCTION,
             circumstances(settings, load_before),
             "## Goals\n", goals_table([line for outcome in outcomes for line in outcome.lines]) + "\n"]
    parts += failures_list(failures)
    parts += ["## Every contestant\n", details_table([d for outcome in outcomes for d in outcome.details]) + "\n",
              kept(CLUSTER), "## Findings\n", kept(FINDINGS)]
    return "\n".join(parts)


def cluster_section(outcomes, settings, failures, load_before):
    parts = [CLUSTER_INTRODUCTION, circumstances(settings, load_before),
             goals_table([line for outcome in outcomes for line in outcome.lines]) + "\n"]
    parts += failures_list(failures)
    parts += [details_table([d for outcome in outcomes for d in outcome.details])]
    return "\n".join(parts)


def with_cluster_section(section):
    """The page as it is, but for that section."""
    old = kept(CLUSTER)
    page_now = PAGE.read_text()
    if CLUSTER[0] not in page_now:
        page_now = page_now.replace("## Findings\n", f"{old}\n## Findings\n", 1)
    return page_now.replace(old, f"{CLUSTER[0]}\n\n{section}\n\n{CLUSTER[1]}\n", 1)


def write_page(text):
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(text)
