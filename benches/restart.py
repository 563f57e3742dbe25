#!/usr/bin/env python3
"""How long a restart takes, from starting the process to the first answer: this server and Apache on the same data.

    benches/restart.py --server 'target/release/zkserver start-foreground {cfg}' [--znodes 1000000] [--logged 100000]

Our server writes the znodes (100 bytes each), a snapshot of them, and so many transactions behind it; copies of its
directory are then opened by each side in turn. The lines that ours logs until it serves are printed: they must show
how far it is. Half a minute, and for each pair the time of both starts.
"""

import random
import shutil

from loads import STAT, Names, fill, pump
from side_by_side import main, parser, zk
from snapshots import provoke

DATA = b"x" * 100


def prepare(bench):
    """The data directory of a server with a snapshot and just so many transactions behind it."""
    args, names = bench.args, Names()
    with bench.standalone("ours", {"snapCount": 20000}) as server:
        fill(server.port, names, args.znodes, DATA)
        provoke(server, names.path, args.znodes)
        server.terminate()
    snapshot = max(zxid_of(path) for path in server.data_dir.glob("version-2/snapshot.*"))
    # From here on no snapshot gets in between. The session of every connection counts, too.
    server.config["snapCount"] = 2_000_000_000
    with server:
        rng = random.Random(4)
        while (left := args.logged - (int(zk.srvr_field(server.port, "Zxid"), 16) - snapshot)) > 10:
            sets = min(20000, left - 2)
            bodies = [zk.set_data(names.path(rng.randrange(args.znodes)), DATA) for _ in range(sets)]
            pump(server.port, zk.SET_DATA, bodies, STAT, conns=1)
        logged = int(zk.srvr_field(server.port, "Zxid"), 16) - snapshot
        server.terminate()
    newest = max(zxid_of(path) for path in server.data_dir.glob("version-2/snapshot.*"))
    assert newest == snapshot, "a later snapshot was taken"
    print(f"{args.znodes} znodes in the snapshot, {logged} transactions behind it", flush=True)
    return server.data_dir


def zxid_of(path):
    return int(path.name.partition(".")[2], 16)


def timed_start(bench, side, data_dir):
    """(seconds from the start of the process to its first answer, what it logged until then)."""
    took, server = bench.start_on_copy(side, data_dir)
    log = server.output.read_text(errors="replace")
    nodes = int(zk.srvr_field(server.port, "Node count"))
    server.terminate()
    assert nodes > bench.args.znodes, nodes
    shutil.rmtree(server.directory)
    return took, log


def run(bench):
    data_dir = prepare(bench)
    for pair, side in bench.turns():
        took, log = timed_start(bench, side, data_dir)
        bench.add(side, "from start to serving, ms", took * 1000, target="ours: at most 1000")
        if side == "ours" and pair == 0:
            print("what ours logs until it serves:")
            print("".join(f"  {line[:160]}\n" for line in log.splitlines()), flush=True)


if __name__ == "__main__":
    options = parser(__doc__, pairs=3, znodes=1_000_000)
    options.add_argument("--logged", type=int, default=100_000, help="transactions behind the snapshot")
    main(run, options)
