"""The servers that are measured: starting each on a free loopback port with an empty data directory, watching its
memory and CPU, and stopping it by its process id, whatever happens in between."""

import contextlib
import ctypes
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
SCRATCH = BUILD / "bench"

START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 30
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PR_SET_PDEATHSIG = 1


class Failure(Exception):
    """A server or a run that gives no number; the message says why."""


class Server:
    def __init__(self, name, process, port, data):
        self.name = name
        self.process = process
        self.port = port
        self.data = data
        self.killed = False

    @property
    def ports(self):
        """Where its clients are spread over."""
        return [self.port]

    def kill(self):
        """SIGKILL; from then on it is no failure that the server is gone."""
        self.killed = True
        self.process.kill()
        self.process.wait()

    def cpu_seconds(self):
        """User and system time of the process and its threads so far."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def precise_cpu_seconds(self):
        """The same from the scheduler's own count, which is in nanoseconds; threads that have ended are not in it."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task")
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9

    def resident_bytes(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fresh_directory(name):
    path = SCRATCH / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def spawn(command, log, **more):
    with open(log, "wb") as output:
        return subprocess.Popen([str(word) for word in command], stdout=output, stderr=output,
                                preexec_fn=die_with_parent, **more)


def stop(process):
    """Asks the process to end, and kills it when it does not."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def await_true(condition, process, log, what):
    """Polls until `condition()` gives something true, and returns that."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        result = condition()
        if result:
            return result
        if process.poll() is not None:
            break
        time.sleep(0.002)
    tail = log.read_text(errors="replace")[-500:]
    raise Failure(f"{what} did not start; the end of its log:\n{tail}")


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


@contextlib.contextmanager
def spawned(name, command, data, port=None, **more):
    """A server from `command` that may not accept yet."""
    log = SCRATCH / f"{name}.log"
    process = spawn(command, log, **more)
    server = Server(name, process, port, data)
    try:
        yield server
        if process.poll() is not None and not server.killed:
            raise Failure(f"{name} ended by itself with status {process.returncode}; see {log}")
    finally:
        stop(process)


@contextlib.contextmanager
def running(name, command, data, port=None, announced=None, **more):
    """A server from `command`. Its port is given, or announced in its output by the pattern `announced`."""
    log = SCRATCH / f"{name}.log"
    with spawned(name, command, data, port, **more) as server:
        if announced:
            found = await_true(lambda: re.search(announced, log.read_text(errors="replace")),
                               server.process, log, name)
            server.port = int(found[1])
        await_true(lambda: accepts(server.port), server.process, log, name)
        yield server


# ---- one function for each server; all take a fresh data directory unless told otherwise ----

RINGHOLD = BUILD / "ringhold"
HELLO = BUILD / "bench-hello"
LOAD = BUILD / "bench-load"


def ringhold(data=None):
    data = data or fresh_directory("ringhold")
    return running("ringhold", [RINGHOLD, "--listen", "127.0.0.1:0", "--data", data], data,
                   announced=r"ringhold listening on http://127\.0\.0\.1:(\d+)\n")


def hello():
    fresh_directory("hello")
    return running("hello", [HELLO], None, announced=r"listening on (\d+),", stdin=subprocess.PIPE)


def redis():
    port, data = free_port(), fresh_directory("redis")
    command = ["redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", data, "--save", "",
               "--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"]
    return running("redis", command, data, port)


def etcd():
    port, data = free_port(), fresh_directory("etcd")
    client = f"http://127.0.0.1:{port}"
    command = ["etcd", "--data-dir", data, "--listen-client-urls", client, "--advertise-client-urls", client,
               "--listen-peer-urls", f"http://127.0.0.1:{free_port()}", "--logger", "zap", "--log-level", "error"]
    return running("etcd", command, data, port)


def beanstalkd(sync_ms):
    port, data = free_port(), fresh_directory("beanstalkd")
    return running("beanstalkd", ["beanstalkd", "-l", "127.0.0.1", "-p", port, "-b", data, f"-f{sync_ms}"],
                   data, port)


# ---- what must be there ----

PACKAGES = {"redis-server": "redis-server", "redis-benchmark": "redis-tools", "etcd": "etcd-server",
            "beanstalkd": "beanstalkd"}


def missing_packages():
    return sorted({package for program, package in PACKAGES.items() if shutil.which(program) is None})


def missing_binaries(with_ringhold):
    needed = [LOAD, HELLO] + ([RINGHOLD] if with_ringhold else [])
    return [str(path.relative_to(ROOT)) for path in needed if not path.exists()]
