#!/usr/bin/env python3
"""How long a restart takes, from starting the process to the first answer: this server and Apache on the same data.

    benches/restart.py --server 'target/release/zkserver start-foreground {cfg}' [--znodes 300000] [--pairs 3]

One server writes the znodes (100 bytes each) and ends with a snapshot and a log; copies of its directory are then
opened by each in turn. Apache runs with the heap that a tree of this size wants.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/differential"))
import zkwire as zk
from servers import Server, apache_template, scratch

CONFIG = {"preAllocSize": 65536, "snapCount": 100000}


def fill(server, count):
    """Creates `count` znodes, a thousand to a multi and a parent for each thousand."""
    conn = server.connect()
    for parent in range(0, count, 1000):
        subs = [(zk.CREATE, zk.create(f"/n{parent}", b""))]
        subs += [(zk.CREATE, zk.create(f"/n{parent}/{i:07}", b"x" * 100)) for i in range(999)]
        reply = conn.call(parent, zk.MULTI, zk.multi(subs))
        assert reply.err == 0, reply
    conn.drop()


def timed_start(template, directory, name):
    server = Server(template, directory, CONFIG, name)
    start = time.monotonic()
    server.start(120)
    took = time.monotonic() - start
    count = zk.srvr_field(server.port, "Node count")
    server.terminate()
    return took, int(count)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="target/release/zkserver start-foreground {cfg}")
    parser.add_argument("--znodes", type=int, default=300000)
    parser.add_argument("--pairs", type=int, default=3)
    args = parser.parse_args()
    apache = apache_template().replace("-XX:TieredStopAtLevel=1 ", "").replace("-Xmx256m", "-Xmx3g")
    times = {"apache": [], "ours": []}
    with scratch() as directory:
        source = Path(directory) / "source"
        with Server(args.server, source, CONFIG, "writer") as server:
            fill(server, args.znodes)
            server.terminate()
        for pair in range(args.pairs):
            for name, template in (("apache", apache), ("ours", args.server)):
                copy = Path(directory) / f"{name}-{pair}"
                shutil.copytree(source / "data", copy / "data")
                subprocess.run(["sync"], check=True)
                took, count = timed_start(template, copy, name)
                times[name].append(took)
                print(f"{name}: {took * 1000:.0f} ms to serve {count} nodes", flush=True)
    ratio = statistics.median(a / o for a, o in zip(times["apache"], times["ours"]))
    apache_ms, ours_ms = (statistics.median(times[name]) * 1000 for name in ("apache", "ours"))
    print(f"median: apache {apache_ms:.0f} ms, ours {ours_ms:.0f} ms, ours is better by {ratio:.2f}x")


if __name__ == "__main__":
    main()
