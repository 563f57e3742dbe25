#!/usr/bin/env python3
"""An empty third member joins two that hold 1,000,000 znodes: how long until it serves, and the writes meanwhile.

    benches/snap_to_learner.py --server 'target/release/zkserver start-foreground {cfg}' [--rate 1000]

The bound is the time the snapshot's bytes take over loopback, and that of a standalone server from its start until it
serves the same data. Writes come at a steady rate to the leader, before and while the member joins. One to two minutes
for a side at full size.
"""

import os
import time

from loads import Names, OpenLoop, fill, loopback_seconds, quantile
from side_by_side import main_by_side, parser

QUIET = 15  # seconds of writes before the member starts
WARM_UP = 5  # of these


def measure(bench, side):
    args, names = bench.args, Names()
    with bench.ensemble(side) as cluster:
        cluster.start(1, 2)
        leader = cluster.leader()
        fill(leader.port, names, args.znodes, b"x" * 100, host=leader.host)
        os.sync()
        load = OpenLoop((leader.host, leader.port), args.rate, names.path, args.znodes).start()
        begin = time.time() + WARM_UP
        time.sleep(QUIET)
        start = time.time()
        joining = cluster[3].start().wait_serving(300)
        end = time.time()
        time.sleep(1)
        samples = load.stop()
        assert int(joining.field("Node count")) > args.znodes
        joining.stop()
        snapshots = joining.data_dir.glob("version-2/snapshot.*")
        newest = max(snapshots, key=lambda path: int(path.name.partition(".")[2], 16))
        size = newest.stat().st_size
        loading, alone = bench.start_on_copy(side, joining.data_dir)
        alone.kill()
    wire = loopback_seconds(size)
    bound = wire + loading
    bench.add(side, "snapshot, MB", size / 1e6, more=None)
    bench.add(side, "from start to serving, s", end - start)
    bench.add(side, "its bytes over loopback, s", wire)
    bench.add(side, "a restart with it, s", loading)
    bench.add(side, "from start to serving / the sum", (end - start) / bound, target="at most 1.5")
    quiet = [took * 1000 for due, took in samples if begin <= due < start]
    busy = [took * 1000 for due, took in samples if start <= due <= end]
    for share in (0.5, 0.99):
        bench.add(side, f"p{share * 100:.4g} of writes quiet, ms", quantile(quiet, share))
        bench.add(side, f"p{share * 100:.4g} of writes meanwhile, ms", quantile(busy, share))
    ratio = quantile(busy, 0.99) / quantile(quiet, 0.99)
    bench.add(side, "p99 of writes meanwhile / quiet", ratio, target="at most 3")


if __name__ == "__main__":
    options = parser(__doc__, pairs=1, znodes=1_000_000)
    options.add_argument("--rate", type=int, default=1000, help="sets a second")
    main_by_side(measure, options)
