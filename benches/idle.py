#!/usr/bin/env python3
"""What idle sessions cost that only ping: resident bytes of each, and how much of a core all of them take.

    benches/idle.py [--only ours] [--sessions 50000] [--servers 1] [--seconds 30] [--pairs 1] [--json FILE]

Timeout 30 s, a ping every 10 s, and no two sessions in step. Each session is a file of its server: where a process
may not open so many (ulimit -n), there are as many sessions as fit, or --servers 3 shares them. Memory is what was
resident more once all were there than before the first; processor time is that of all servers. A minute for ours.
"""

import time
from contextlib import ExitStack

from clients import Driver, files_max, measure, parser, running

# Files of a server or driver that are no session, generously.
OTHER_FILES = 1000


def one_crowd(bench, side):
    args, files = bench.args, files_max()
    sessions = min(args.sessions, (files - OTHER_FILES) * args.servers)
    with running(bench, side, args.servers) as servers, ExitStack() as stack:
        before = servers.resident_bytes()
        parts = -(-sessions // (files - OTHER_FILES))
        drivers, opened_s = [], 0
        for part in range(parts):
            count = sessions // parts + (part < sessions % parts)
            words = {"count": count, "watches": 0, "timeout_ms": 30000, "source": f"127.0.{part + 1}.0"}
            drivers.append(stack.enter_context(Driver("hold", servers.hosts, **words)))
            opened_s += drivers[-1].read()["ready_s"]
        after = servers.resident_bytes()
        cpu = -servers.cpu_seconds()
        time.sleep(args.seconds)
        cpu += servers.cpu_seconds()
        for driver in drivers:
            driver.tell("end")
        found = [driver.read() for driver in drivers]
        return {
            "sessions": sessions,
            "opened_s": round(opened_s, 2),
            "resident_bytes_each": round((after - before) / sessions),
            "core_percent": round(100 * cpu / args.seconds, 2),
            "core_percent_for_50000": round(100 * cpu / args.seconds * 50000 / sessions, 2),
            "pings_per_s": round(sum(f["pings"] / f["seconds"] for f in found)),
            "lost_connections": sum(f["lost_connections"] for f in found),
            "expired": sum(f["expired"] for f in found),
        }


if __name__ == "__main__":
    made = parser(__doc__, pairs=1)
    made.add_argument("--sessions", type=int, default=50000)
    made.add_argument("--servers", type=int, default=1)
    made.add_argument("--seconds", type=float, default=30)
    measure(made, one_crowd)
