#!/usr/bin/env python3
"""Bytes written to disk by 1,000,000 creates of 100 bytes, one znode to a request, with default settings.

    benches/disk_written.py --server 'target/release/zkserver start-foreground {cfg}' [--creates 200000]

Two figures: what the process gave to the disk as the kernel counts it, and the room that the files take in the end
(with default settings none is removed). The first is the one compared. One to two minutes for a side at full size.
"""

from side_by_side import main_by_side, parser, written_bytes, zkload


def measure(bench, side):
    with bench.standalone(side, {"autopurge.purgeInterval": None}) as server:
        pid = server.process.pid
        before = written_bytes(pid)
        done = zkload("fill", "--count", bench.args.creates, "--hosts", f"127.0.0.1:{server.port}")
        written = written_bytes(pid) - before
        server.terminate()
        files = [path for path in (server.data_dir / "version-2").iterdir() if path.is_file()]
        rooms = {kind: room(files, kind) for kind in ("log.", "snapshot.")}
        snapshots = sum(path.name.startswith("snapshot.") for path in files)
    creates = bench.args.creates
    bench.add(side, "bytes written per create", written / creates, target="better by 3")
    for kind, size in rooms.items():
        bench.add(side, f"bytes in {kind}* per create", size / creates)
    bench.add(side, "snapshots", snapshots, more=None)
    bench.add(side, "creates per second", done["ops_per_s"], more=True)


def room(files, kind):
    """What the files of a kind take on the disk: of room that was set aside, only what is written."""
    return sum(min(path.stat().st_size, path.stat().st_blocks * 512) for path in files if path.name.startswith(kind))


if __name__ == "__main__":
    options = parser(__doc__, pairs=1)
    options.add_argument("--creates", type=int, default=1_000_000)
    main_by_side(measure, options)
