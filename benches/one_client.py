#!/usr/bin/env python3
"""The latency of one client with one request at a time, beside what no server can go below, all in one run.

    benches/one_client.py [--pairs 5] [--seconds 2] [--warmup 5] [--json FILE]

The floor of a get is two loopback hops: what the same client sees of a server that only frames. The floor of a set
is that and one fdatasync behind a small append to a preallocated file on the same disk. Medians, in microseconds.
The servers stay up for the whole run and take turns. 12 s a pair, with Apache 20 s.
"""

import os
import statistics
import subprocess
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

from clients import running
from side_by_side import main, parser, scratch, zkload, zkload_path

from servers import free_port

APPEND = b"x" * 200
PREALLOCATED = 64 << 20


def fdatasync_us(seconds):
    """The median of one append and its fdatasync."""
    with scratch() as directory:
        file = os.open(Path(directory) / "log", os.O_CREAT | os.O_RDWR)
        os.posix_fallocate(file, 0, PREALLOCATED)
        os.fsync(file)
        times, at, until = [], 0, time.monotonic() + seconds
        while time.monotonic() < until and at + len(APPEND) < PREALLOCATED:
            start = time.perf_counter_ns()
            os.pwrite(file, APPEND, at)
            os.fdatasync(file)
            times.append((time.perf_counter_ns() - start) / 1000)
            at += len(APPEND)
        os.close(file)
    return round(statistics.median(times), 1)


@contextmanager
def echo():
    """A server that only frames: its address."""
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen([zkload_path(), "floor", "--listen", address])
    try:
        time.sleep(0.3)
        yield address
    finally:
        process.kill()
        process.wait()


def latency(hosts, workload, seconds, warmup=0.5):
    words = ("--conns", 1, "--window", 1, "--duration", seconds, "--warmup", warmup, "--root", f"/one-{workload}")
    found = zkload("run", "--hosts", hosts, "--workload", workload, *words)
    return found["write_us" if workload == "set" else "read_us"]["p50"]


def one_client(bench):
    args = bench.args
    with ExitStack() as stack:
        floor = stack.enter_context(echo())
        servers = {side: stack.enter_context(running(bench, side)) for side in args.only.split(",")}
        for server in servers.values():
            for workload in ("get", "set"):
                latency(server.hosts, workload, 0.1, args.warmup)
        syncs_us, hops_us = [], []
        for pair, side in bench.turns():
            if len(hops_us) == pair:
                syncs_us.append(fdatasync_us(args.seconds))
                hops_us.append(latency(floor, "get", args.seconds))
                print(f"# fdatasync {syncs_us[-1]} us, two hops {hops_us[-1]} us")
            get_us = latency(servers[side].hosts, "get", args.seconds)
            set_us = latency(servers[side].hosts, "set", args.seconds)
            bench.add(side, "get, us", get_us, target="better by 2")
            bench.add(side, "get / two hops", get_us / hops_us[-1])
            bench.add(side, "set, us", set_us, target="better by 2")
            bench.add(side, "set / (fdatasync and two hops)", set_us / (syncs_us[-1] + hops_us[-1]), target="at most 1.5")


if __name__ == "__main__":
    made = parser(__doc__, pairs=5)
    made.add_argument("--seconds", type=float, default=2)
    made.add_argument("--warmup", type=float, default=5, help="before the first pair")
    main(one_client, made)
