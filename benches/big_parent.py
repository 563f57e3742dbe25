#!/usr/bin/env python3
"""One parent with 2,000,000 children against parents of 1,000, on one server: create, delete, get, exists of children.

    benches/big_parent.py --server 'target/release/zkserver start-foreground {cfg}' [--children 2000000] [--only ours]

Requests are sent without waiting, over 4 connections; within a round the parents take turns, and the ratios are
medians over the rounds. The target is met when no ratio to the one small parent is over 1.5. It fits into the caches of
the processor; `many` are as many znodes as the big parent has, in parents of 1,000 each, and tell what that alone
makes of it. Two minutes for a side at full size.
"""

import random
import statistics

from loads import DELETED, STAT, Names, fill, fill_parent, pump
from side_by_side import cpu_seconds, main_by_side, parser, zk

DATA = b"x" * 100
SMALL = 1000


def created(path):
    """The size of the reply to a create."""
    return 24 + len(path)


def steps(shape, children, count, rng):
    """name -> (op, bodies, bytes of a reply), in an order that leaves the parents as they were."""
    if shape == "many":
        names = Names("/many")
        parents = (children + 999) // 1000
        new = [f"{names.parent(rng.randrange(parents))}/n{number:07}" for number in range(count)]
        known = [names.path(rng.randrange(children)) for _ in range(count)]
    else:
        new = [f"/{shape}/n{number:07}" for number in range(count)]
        known = [f"/{shape}/{rng.randrange(children):07}" for _ in range(count)]
    return {
        "create": (zk.CREATE, [zk.create(path, DATA) for path in new], created(new[0])),
        "delete": (zk.DELETE, [zk.path_version(path) for path in new], DELETED),
        "get": (zk.GET_DATA, [zk.path_watch(path) for path in known], STAT + 4 + len(DATA)),
        "exists": (zk.EXISTS, [zk.path_watch(path) for path in known], STAT),
    }


def measure(bench, side):
    args, rng = bench.args, random.Random(3)
    sizes = {"small": SMALL, "big": args.children, "many": args.children}
    times = {}  # (step, parent) -> [(seconds, cpu seconds)]
    with bench.standalone(side) as server:
        for name in ("small", "big"):
            fill_parent(server.port, f"/{name}", sizes[name], DATA)
        fill(server.port, Names("/many"), args.children, DATA)
        for turn in range(args.rounds + 1):
            plans = {name: steps(name, children, args.requests, rng) for name, children in sizes.items()}
            for step in plans["small"]:
                for name in sizes if turn % 2 else reversed(sizes):
                    before = cpu_seconds(server.process.pid)
                    took = pump(server.port, *plans[name][step])
                    if turn:  # the first round warms up
                        spent = cpu_seconds(server.process.pid) - before
                        times.setdefault((step, name), []).append((took, spent))
    for step in plans["small"]:
        for name in sizes:
            rate = statistics.median(args.requests / took for took, _ in times[step, name])
            bench.add(side, f"{step}, {name}, per second", rate, more=True)
        for other, target in (("small", "at most 1.5"), ("many", "")):
            for at, what in enumerate(("time", "CPU")):
                pairs = zip(times[step, other], times[step, "big"])
                ratio = statistics.median(big[at] / base[at] for base, big in pairs)
                bench.add(side, f"{step}, {what} of big / {other}", ratio, more=None, target=target)


if __name__ == "__main__":
    options = parser(__doc__, pairs=1)
    options.add_argument("--children", type=int, default=2_000_000)
    options.add_argument("--requests", type=int, default=100_000, help="of each kind, in a round")
    options.add_argument("--rounds", type=int, default=5)
    main_by_side(measure, options)
