#!/usr/bin/env python3
"""System calls per operation of a busy standalone server, and the kernel's part of its processor time.

    benches/syscalls.py --server 'target/release/zkserver start-foreground {cfg}' [--workload get] [--seconds 3]

zkload keeps 64 connections x 16 requests in flight. One run is timed by /proc/PID/stat, another one is counted by
strace, which slows the server down; both are set against the packets that the server has counted meanwhile. A
batch is what one read of a socket brings. Takes three times --seconds and some.

SHARED_TOOLS is the directory of compare.py and zkload, by default ../shared/tools beside this checkout.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests/differential"))
sys.path.append(os.environ.get("SHARED_TOOLS", str(REPOSITORY.parent / "shared/tools")))
import compare
import zkwire as zk
from servers import Server, scratch

CONFIG = {"preAllocSize": 65536}
READS = ("recvfrom", "read")


def received(server):
    return int(zk.srvr_field(server.port, "Received"))


def processor_seconds(pid):
    """User's and kernel's time of all threads."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    return int(words[11]) / ticks, int(words[12]) / ticks


def timed(server, seconds):
    """Operations per second, and microseconds of user's and of kernel's time for each."""
    before, start = processor_seconds(server.process.pid), time.monotonic()
    count = received(server)
    time.sleep(seconds)
    count = received(server) - count
    took = time.monotonic() - start
    spent = [after - at for at, after in zip(before, processor_seconds(server.process.pid))]
    return count / took, *(each / count * 1e6 for each in spent)


def counted(server, seconds):
    """Operations, and the calls that were made for them by name."""
    words = ["strace", "-f", "-c", "-U", "calls,name", "-p", str(server.process.pid)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as strace:
        # It says so once it has attached to all threads.
        first = strace.stderr.readline()
        assert "attached" in first, first
        count = received(server)
        time.sleep(seconds)
        count = received(server) - count
        strace.send_signal(signal.SIGINT)
        table = strace.stderr.read()
    calls = {name: int(number) for number, name in re.findall(r"^\s*(\d+)\s+(\w+)\s*$", table, re.M)}
    calls.pop("total", None)
    return count, calls


def settle(server, args):
    """Returns when all connections are there and each has asked for a while."""
    enough = args.conns * args.window * 20
    start = None
    while start is None or received(server) < start + enough:
        if start is None and int(zk.srvr_field(server.port, "Connections")) >= args.conns:
            start = received(server)
        time.sleep(0.1)


def report(args, rate, user, kernel, count, calls):
    reads = sum(calls.get(name, 0) for name in READS)
    batch, all_calls = count / reads, sum(calls.values())
    print(f"{args.workload}, {args.conns} connections x {args.window} in flight: {rate:,.0f} operations/s")
    print(f"{user + kernel:.2f} us of processor time each: {user:.2f} user's, {kernel:.2f} the kernel's")
    print(f"{all_calls / count:.3f} calls per operation; {batch:.1f} operations and "
          f"{all_calls / reads:.2f} calls per batch (read)")
    for name, number in sorted(calls.items(), key=lambda item: -item[1])[:8]:
        print(f"  {number / count:8.4f} {name} per operation, {number / reads:.2f} per batch")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="target/release/zkserver start-foreground {cfg}")
    parser.add_argument("--workload", default="get", help="of zkload: get, exists, children, set, create, ...")
    parser.add_argument("--conns", type=int, default=64)
    parser.add_argument("--window", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3)
    args = parser.parse_args()
    zkload = compare.build_zkload()
    with scratch() as directory, Server(args.server, directory, CONFIG) as server:
        words = [zkload, "run", "--hosts", f"127.0.0.1:{server.port}", "--workload", args.workload]
        words += ["--conns", str(args.conns), "--window", str(args.window)]
        words += ["--warmup", "1", "--duration", str(2 * args.seconds + 60)]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL) as load:
            try:
                settle(server, args)
                rate, user, kernel = timed(server, args.seconds)
                count, calls = counted(server, args.seconds)
            finally:
                load.kill()
    report(args, rate, user, kernel, count, calls)


if __name__ == "__main__":
    main()
