"""Clusters of three on the loopback address: starting one with empty data directories, waiting until it has settled, and
stopping all of its members, whatever happens in between."""

import base64
import contextlib
import json
import os
import time
import urllib.error
import urllib.request

import servers
from servers import Failure

MEMBERS = 3
PARTITIONS = 16
SETTLE_SECONDS_MAX = 90
LEADERS_RATIO_MAX = 1.2  # of the member that leads most partitions, to the mean: what placement promises


class Cluster:
    """Several servers that clients may take for one."""

    def __init__(self, members, leader):
        self.members = members
        self.leader = leader  # gives the member whose loss is felt most

    @property
    def ports(self):
        return [member.port for member in self.members]

    def cpu_seconds(self):
        return sum(member.cpu_seconds() for member in self.members)

    def precise_cpu_seconds(self):
        return sum(member.precise_cpu_seconds() for member in self.members)

    def resident_bytes(self):
        return sum(member.resident_bytes() for member in self.members)


def ask(port, path, body=None):
    """The JSON that a server answers; None when it has no good answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data,
                                     {"Content-Type": "application/json"} if data else {})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)
    except (OSError, ValueError):
        return None


def await_settled(name, settled):
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while time.monotonic() < deadline:
        if settled():
            return
        time.sleep(0.1)
    raise Failure(f"{name} did not settle within {SETTLE_SECONDS_MAX} s")


# ---- Ringhold ----

def partitions_led(ring):
    """By each member that is active: how many partitions it owns."""
    led = {member["name"]: 0 for member in ring["members"] if member["state"] == "active"}
    for partition in ring["partitions"]:
        owner = partition.get("owner")
        if owner in led:
            led[owner] += 1
    return led


def is_placed(ring):
    if ring is None or any(len(partition["replicas"]) != MEMBERS for partition in ring["partitions"]):
        return False
    led = partitions_led(ring)
    return (len(led) == MEMBERS and sum(led.values()) == PARTITIONS and
            max(led.values()) <= max(LEADERS_RATIO_MAX * PARTITIONS / MEMBERS, -(-PARTITIONS // MEMBERS)))


@contextlib.contextmanager
def ringhold():
    home = servers.fresh_directory("ringhold-members")
    secret = home / "secret"
    secret.write_text(os.urandom(32).hex())
    os.chmod(secret, 0o600)
    with contextlib.ExitStack() as stack:
        members = []
        for number in range(1, MEMBERS + 1):
            name = f"n{number}"
            how = (["--join", f"127.0.0.1:{members[0].port}"] if members else
                   ["--cluster-init", "--partitions", PARTITIONS, "--replicas", MEMBERS])
            command = [servers.RINGHOLD, "--listen", "127.0.0.1:0", "--peer", f"127.0.0.1:{servers.free_port()}",
                       "--node", name, "--cluster-secret-file", secret, "--data", home / name, *how]
            members.append(stack.enter_context(servers.running(
                f"ringhold-{name}", command, home / name,
                announced=r"ringhold listening on http://127\.0\.0\.1:(\d+)\n")))
        await_settled("Ringhold", lambda: all(is_placed(ask(member.port, "/v1/ring")) for member in members))

        def leader():
            led = partitions_led(ask(members[0].port, "/v1/ring"))
            return members[int(max(led, key=led.get)[1:]) - 1]

        yield Cluster(members, leader)


# ---- etcd ----

def etcd_leads(member):
    """Whether it is the leader; None when it knows of none."""
    status = ask(member.port, "/v3/maintenance/status", {})
    if status is None or not int(status.get("leader", 0)):
        return None
    return status["leader"] == status["header"]["member_id"]


@contextlib.contextmanager
def etcd():
    home = servers.fresh_directory("etcd-members")
    clients = [servers.free_port() for _ in range(MEMBERS)]
    peers = [f"http://127.0.0.1:{servers.free_port()}" for _ in range(MEMBERS)]
    all_of_them = ",".join(f"e{number}={peer}" for number, peer in enumerate(peers, 1))
    with contextlib.ExitStack() as stack:
        members = []
        for number, (port, peer) in enumerate(zip(clients, peers), 1):  # none accepts before two are there
            client = f"http://127.0.0.1:{port}"
            command = ["etcd", "--name", f"e{number}", "--data-dir", home / f"e{number}",
                       "--listen-client-urls", client, "--advertise-client-urls", client,
                       "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                       "--initial-cluster", all_of_them, "--initial-cluster-state", "new",
                       "--logger", "zap", "--log-level", "error"]
            members.append(stack.enter_context(servers.spawned(f"etcd-{number}", command, home / f"e{number}", port)))
        await_settled("etcd", lambda: all(etcd_leads(member) is not None for member in members))
        yield Cluster(members, lambda: next(member for member in members if etcd_leads(member)))
