#!/usr/bin/env python3
"""Sessions opened and closed a second, and the processor time of each.

    benches/connect.py [--lanes 64] [--seconds 4] [--warmup 8] [--servers 1] [--pairs 3] [--json FILE]

On each lane a client connects, gets a session, closes it, waits for the answer and begins anew, whatever the others
do. Nothing counts before the warm-up is over, which a JVM needs. 15 s for ours, half a minute a pair.
"""

from clients import Driver, measure, parser, running


def one_run(bench, side):
    args = bench.args
    with running(bench, side, args.servers) as servers:
        words = {"count": args.lanes, "warmup": args.warmup, "seconds": args.seconds}
        with Driver("cycle", servers.hosts, **words) as driver:
            driver.read()
            cpu = -servers.cpu_seconds()
            found = driver.read()
            cpu += servers.cpu_seconds()
        return {**found, "cpu_us_per_session": round(cpu * 1e6 / max(found["sessions"], 1), 1)}


if __name__ == "__main__":
    made = parser(__doc__)
    made.add_argument("--lanes", type=int, default=64)
    made.add_argument("--seconds", type=float, default=4)
    made.add_argument("--warmup", type=float, default=8)
    made.add_argument("--servers", type=int, default=1)
    measure(made, one_run, larger=("sessions", "sessions_per_s"))
