#!/usr/bin/env python3
"""Writes at a steady rate while snapshots are taken: p99.9 of their latency then and otherwise, and the extra memory.

    benches/snapshot_under_load.py --server 'target/release/zkserver start-foreground {cfg}' [--seconds 60]

An open loop sets random ones of all znodes; snapCount makes about one snapshot in six seconds. What was due between the
start and the end of a snapshot, as the server's log tells them, is compared with what was due later than a second
behind one. 90 s for a side at full size.
"""

import os
import time

from loads import Names, OpenLoop, fill, quantile
from side_by_side import main_by_side, memory, parser
from snapshots import taken

WARM_UP = 5  # seconds
AFTERMATH = 1  # seconds in which the disk may still be busy with a snapshot


def measure(bench, side):
    args, names = bench.args, Names()
    with bench.standalone(side, {"snapCount": args.rate * 8}) as server:
        pid = server.process.pid
        fill(server.port, names, args.znodes, b"x" * 100)
        os.sync()
        load = OpenLoop(("127.0.0.1", server.port), args.rate, names.path, args.znodes).start()
        begin = time.time() + WARM_UP
        resident = []
        while time.time() < begin + args.seconds:
            resident.append((time.time(), memory(pid)[0]))
            time.sleep(0.02)
        samples = load.stop()
        every = taken(server.output.read_text(errors="replace"))
    windows = [window for window in every if window[0] > begin]
    assert windows, "no snapshot was taken"
    quiet, busy = [], []
    for due, took in samples:
        if any(start <= due <= end for start, end in windows):
            busy.append(took * 1000)
        elif due > begin and not any(start <= due <= end + AFTERMATH for start, end in windows):
            quiet.append(took * 1000)
    bench.add(side, "snapshots", len(windows), more=None)
    bench.add(side, "seconds a snapshot", sum(end - start for start, end in windows) / len(windows))
    for share in (0.5, 0.99, 0.999):
        for when, values in (("quiet", quiet), ("in a snapshot", busy)):
            bench.add(side, f"p{share * 100:.4g} {when}, ms", quantile(values, share))
    ratio = quantile(busy, 0.999) / quantile(quiet, 0.999)
    bench.add(side, "p99.9 in a snapshot / quiet", ratio, target="at most 3")
    # The first one counts most: what it has grown by is used again by the later ones.
    growth = max(extra(resident, *window) for window in every if window[0] > resident[0][0])
    bench.add(side, "extra memory in a snapshot, %", growth * 100, more=None, target="at most 15")


def extra(resident, start, end):
    """The most that memory has grown over what it was when the snapshot began, as a share of that."""
    before = [value for when, value in resident if when <= start][-1]
    return max((value for when, value in resident if start <= when <= end), default=before) / before - 1


if __name__ == "__main__":
    options = parser(__doc__, pairs=1, znodes=1_000_000)
    options.add_argument("--rate", type=int, default=2000, help="sets a second")
    options.add_argument("--seconds", type=float, default=60)
    main_by_side(measure, options)
