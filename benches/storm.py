#!/usr/bin/env python3
"""A storm: the leader of three servers is killed, and thousands of sessions with watches come back at once.

    benches/storm.py [--pairs 3] [--sessions 5000] [--watches 20] [--pause-ms 100] [--json FILE]

Measured from kill -9 of the leader: until the first, the median and the last session has connected to a survivor and
had its watches set; how many expired (the timeout is 6 s); and how far the epoch rose (2 or more: another election).
At the end a hundred znodes are changed, and every watch on them has to fire. A client waits a random time up to
--pause-ms before each attempt: Java's up to 1,000, which hides what servers do. 30 s for ours, a minute a pair.
"""

from clients import Driver, measure, parser, running
from cluster import wait_until


def epoch(member):
    return (member.zxid() or 0) >> 32


def one_storm(bench, side):
    args = bench.args
    with running(bench, side, 3) as servers:
        cluster = servers.cluster
        leader = cluster.leader()
        words = {"count": args.sessions, "watches": args.watches, "pause_ms": args.pause_ms, "timeout_ms": 6000}
        with Driver("storm", servers.hosts, **words) as driver:
            ready = driver.read()
            before = epoch(leader)
            driver.tell(f"kill {leader.process.pid}")
            found = driver.read()
        wait_until(lambda: cluster.leader().id != leader.id, "another leader")
        elections = epoch(cluster.leader()) - before
        numbers = {name: value for name, value in found.items() if type(value) in (int, float)}
        return {"opened_s": round(ready["ready_s"], 2), **numbers, "elections": elections}


if __name__ == "__main__":
    made = parser(__doc__)
    made.add_argument("--sessions", type=int, default=5000)
    made.add_argument("--watches", type=int, default=20)
    made.add_argument("--pause-ms", type=int, default=100)
    measure(made, one_storm)
