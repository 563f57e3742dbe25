#!/usr/bin/env python3
"""Whether operations become slower as trees and crowds grow: no cliff may show in the plot.

    benches/growth.py [--only apache,ours] [--seconds 2] [--json benches/growth.json] [--svg benches/growth.svg]
    benches/growth.py --plot benches/growth.json [--svg FILE]

Operations a second of get, set and create with fsync on: with 64 connections at 10,000, 100,000 and 1,000,000 znodes
below one parent, and with 10,000 znodes at 10 to 10,000 connections, each with --window requests in flight. Each point
has a server of its own. Two minutes for ours, six more with Apache.
"""

import json
import time
from pathlib import Path

from clients import files_max, running
from growth_plot import draw
from side_by_side import Bench, parser, scratch, zkload

SIZES = (10_000, 100_000, 1_000_000)
CROWDS = (10, 100, 1_000, 10_000)
CONNECTIONS = 64  # while the tree grows
# The last one makes the tree grow.
WORKLOADS = ("get", "set", "create")


def point(bench, side, znodes, connections):
    """workload -> operations a second."""
    args = bench.args
    warmup = args.apache_warmup if side == "apache" else args.warmup
    found = {}
    with running(bench, side) as servers:
        for workload in WORKLOADS:
            words = ("--keys", znodes, "--conns", connections, "--window", args.window, "--duration", args.seconds)
            words += ("--warmup", warmup, "--session-ms", 40000, "--root", "/growth")
            said = zkload("run", "--hosts", servers.hosts, "--workload", workload, *words)
            found[workload] = said["ops_per_s"]
    return found


def measure(bench):
    args = bench.args
    found = {"znodes": {}, "connections": {}}
    for axis, values in (("znodes", args.sizes), ("connections", args.crowds)):
        for value in values:
            for _, side in bench.turns():
                at = (value, CONNECTIONS) if axis == "znodes" else (SIZES[0], value)
                start = time.monotonic()
                rates = point(bench, side, *at)
                took = time.monotonic() - start
                print(f"{side}: {value} {axis}:", rates, f"({took:.0f} s)", flush=True)
                for workload, rate in rates.items():
                    found[axis].setdefault(side, {}).setdefault(workload, []).append([value, rate])
    return found


def numbers(text):
    return [int(number) for number in text.split(",") if number]


def main():
    made = parser(__doc__, pairs=1)
    made.set_defaults(json="benches/growth.json", only="ours")
    made.add_argument("--svg", default="benches/growth.svg")
    made.add_argument("--plot", help="only draw what this file holds")
    made.add_argument("--sizes", type=numbers, default=SIZES)
    made.add_argument("--crowds", type=numbers, default=CROWDS)
    made.add_argument("--window", type=int, default=16)
    made.add_argument("--seconds", type=float, default=2)
    made.add_argument("--warmup", type=float, default=1)
    made.add_argument("--apache-warmup", type=float, default=5)
    args = made.parse_args()
    if args.plot:
        found = json.loads(Path(args.plot).read_text())
    else:
        files_max()
        with scratch() as directory:
            found = measure(Bench(args, directory))
        Path(args.json).write_text(json.dumps({"date": time.strftime("%Y-%m-%d"), **found}, indent=1) + "\n")
    Path(args.svg).write_text(draw(found))


if __name__ == "__main__":
    main()
