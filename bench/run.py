#!/usr/bin/env python3
"""Measures Ringhold beside its peers on this machine, prints a table, and writes docs/benchmarks.md.

Expects build/ringhold, build/bench-load and build/bench-hello; installs nothing. Exits 0 when every row gave its
numbers, whether or not the goals were met; 1 when a row failed; 2 when something is missing."""

import argparse
import os
import shutil
import signal
import sys

sys.dont_write_bytecode = True  # leaves no __pycache__ in the source tree

import cluster_rows
import report
import rows
import servers
from drive import Settings

FULL = Settings(rounds=3, seconds=5, warmup_seconds=1, scale=1.0)
QUICK = Settings(rounds=1, seconds=1, warmup_seconds=0.3, scale=0.1)
BUSY_LOAD = 0.5


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round, and a tenth of what is large")
    parser.add_argument("--cluster", action="store_true", help="three members beside three of etcd, instead")
    parser.add_argument("--only", action="append", choices=list(rows.ROWS), metavar="ROW",
                        help="that row alone, repeatable: " + ", ".join(rows.ROWS))
    parser.add_argument("--rounds", type=int, help=f"({FULL.rounds})")
    parser.add_argument("--seconds", type=float, help=f"measured in each round ({FULL.seconds})")
    parser.add_argument("--peers", action="store_true", help="the peers alone, without Ringhold")
    parser.add_argument("--write", action="store_true",
                        help="write docs/benchmarks.md; a full run does so without being told")
    return parser.parse_args()


def settings_of(arguments):
    settings = QUICK if arguments.quick else FULL
    return Settings(arguments.rounds or settings.rounds, arguments.seconds or settings.seconds,
                    settings.warmup_seconds, settings.scale)


def check_needs(arguments):
    packages = servers.missing_packages()
    binaries = servers.missing_binaries(not arguments.peers)
    if packages:
        print(f"missing peers; as root: apt-get install --no-install-recommends {' '.join(packages)}", file=sys.stderr)
    if binaries:
        print(f"missing: {', '.join(binaries)}; make bench builds them", file=sys.stderr)
    if packages or binaries:
        sys.exit(2)


def run_rows(chosen, settings, with_ringhold):
    outcomes, failures = [], []
    for name, row in chosen.items():
        print(f"== {name}", flush=True)
        try:
            outcome = row.run(settings, with_ringhold, lambda text: print(f"   {text}", flush=True))
            outcomes.append(outcome)
            failures += outcome.failures
        except servers.Failure as failure:
            print(f"   FAILED: {failure}", flush=True)
            failures.append((name, str(failure)))
    return outcomes, failures


def main():
    arguments = read_arguments()
    settings = settings_of(arguments)
    check_needs(arguments)
    # a signal unwinds the stack, so that every child is stopped on the way out
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    servers.SCRATCH.mkdir(parents=True, exist_ok=True)
    load_before = os.getloadavg()[0]
    if load_before > BUSY_LOAD:
        print(f"warning: load average {load_before:.2f}: others use this machine, the numbers will not hold",
              file=sys.stderr)
    chosen = cluster_rows.ROWS if arguments.cluster else {name: rows.ROWS[name] for name in arguments.only or rows.ROWS}
    outcomes, failures = run_rows(chosen, settings, not arguments.peers)
    if arguments.cluster:
        section = report.cluster_section(outcomes, settings, failures, load_before)
        text = report.with_cluster_section(section)
        print("\n" + section)
    else:
        text = report.page(outcomes, settings, failures, load_before)
        print("\n" + text.split(report.CLUSTER[0])[0].split(report.INTRODUCTION)[1].strip())
    full = not (arguments.quick or arguments.only or arguments.peers or failures)
    if full or arguments.write:
        report.write_page(text)
        print(f"\nwritten to {report.PAGE.relative_to(servers.ROOT)}")
    if not failures:
        shutil.rmtree(servers.SCRATCH, ignore_errors=True)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
