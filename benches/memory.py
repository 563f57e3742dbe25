#!/usr/bin/env python3
"""Resident memory of a znode, at rest and at peak (a snapshot under writes included), less that of the empty server.

    benches/memory.py --server 'target/release/zkserver start-foreground {cfg}' [--znodes 1000000] [--only ours]

Two trees, a thousand znodes to a parent: names of 7 characters with 100 bytes, and paths of 115 bytes (five
components of 22 characters) with 46 bytes. 40 s for a side and a tree at full size.
"""

from loads import Names, fill
from side_by_side import main, memory, parser
from snapshots import provoke, settled

TREES = {
    "short": (Names(), 100, 250),
    "long": (Names("".join(f"/{word:-<22}" for word in ("production", "region-1", "service")), 22), 46, 220),
}


def measure(bench, side, tree):
    names, size, target = TREES[tree]
    with bench.standalone(side, {"snapCount": 20000}) as server:
        pid = server.process.pid
        empty = memory(pid)[0]
        nodes = fill(server.port, names, bench.args.znodes, b"x" * size)
        filled = memory(pid)[0]
        provoke(server, names.path, bench.args.znodes, b"z" * size)
        peak = memory(pid)[1]
        rest = settled(lambda: memory(pid)[0])
    for when, value in (("filled", filled), ("at rest", rest), ("at peak", peak)):
        bench.add(side, f"{tree}: bytes per znode {when}", (value - empty) / nodes, target=f"at most {target}")


def run(bench):
    for _, side in bench.turns():
        for tree in bench.args.trees.split(","):
            measure(bench, side, tree)


if __name__ == "__main__":
    options = parser(__doc__, pairs=1, znodes=1_000_000)
    options.add_argument("--trees", default=",".join(TREES))
    main(run, options)
