"""What members hold: whole trees and transaction logs, and whether all of them hold the same."""

import struct
from pathlib import Path

from clients import Client, Expired, Failed, LOST
from cluster import PATIENCE, wait_until, zk

CONFIG_NODE = "/zookeeper/config"  # each member writes it itself: its times are its own


def tree(member, sync=True):
    """Every node of a member as path -> (data, Stat, ACL list), after a sync."""

    def dump():
        try:
            with Client(member) as client:
                zk.become_super(client.conn)
                if sync:
                    client.sync()
                nodes = zk.dump_tree(client.conn)
                client.close()
                return nodes
        except (Expired, Failed, *LOST):  # an election came between, or a node went away while it was read
            return None

    nodes = wait_until(dump, lambda: f"a whole tree of {member}: {member.tail()}")
    nodes.pop(CONFIG_NODE, None)
    return nodes


def different(one, other):
    """The first differences of two trees, as a text; empty when there is none."""
    paths = [path for path in sorted(one.keys() | other.keys()) if one.get(path) != other.get(path)]
    shown = "; ".join(f"{path}: {one.get(path)} and {other.get(path)}" for path in paths[:3])
    return f"{len(paths)} nodes differ: {shown}" if paths else ""


def assert_same_trees(cluster, *members):
    """All running members (or these) have the same tree and come to the same zxid; returns that tree. Nobody else may
    write meanwhile."""
    chosen = members or cluster.running()
    trees = [tree(member) for member in chosen]
    for member, other in zip(chosen[1:], trees[1:]):
        assert not different(trees[0], other), f"{chosen[0]} and {member}: {different(trees[0], other)}"
    assert_same_zxid(cluster, *chosen)
    for member in chosen:
        # Apache counts also what it applies again behind a snapshot that it got while writes went on.
        mismatches = 0 if member.is_apache() else member.metric("zk_digest_mismatches_count")
        assert not mismatches, f"{member} counts {mismatches} wrong digests"
    return trees[0]


def assert_same_zxid(cluster, *members, seconds=PATIENCE):
    """All come to one zxid. A session that expires meanwhile only makes it later."""
    chosen = members or cluster.running()

    def one():
        zxids = {member.zxid() for member in chosen}
        return zxids.pop() if len(zxids) == 1 else None

    shown = lambda: f"one zxid: { {member.id: member.zxid() for member in chosen} }"
    return wait_until(one, shown, seconds)


def log_records(data_dir):
    """Every transaction in the logs of a data directory, as zxid -> bytes of the record, in the order of the files."""
    records = {}
    folder = Path(data_dir) / "version-2"
    for path in sorted(folder.glob("log.*"), key=lambda path: int(path.suffix[1:], 16)):
        for record in records_of(path.read_bytes()):
            records.setdefault(struct.unpack(">q", record[12:20])[0], record)
    return records


def records_of(data):
    """The records of one log file, up to its padding or a record that is not whole."""
    at = 16
    while at + 12 <= len(data):
        length = struct.unpack(">i", data[at + 8 : at + 12])[0]
        end = at + 12 + length
        if length <= 0 or data[end : end + 1] != b"B":
            return
        yield data[at + 12 : end]
        at = end + 1


def newest_snapshot(data_dir):
    """The zxid of the newest snapshot; 0 without one."""
    folder = Path(data_dir) / "version-2"
    return max((int(path.name.split(".")[1], 16) for path in folder.glob("snapshot.*")), default=0)


def comparable(record):
    """A record without the operations of a multi that failed: Apache's servers change them while they are applied,
    so that what their logs hold depends on which came first. The errors stay in the digest of what did not change."""
    header, body = record[:32], record[32:]
    if struct.unpack(">i", header[28:])[0] != 14:
        return record
    (count,), at, types = struct.unpack(">i", body[:4]), 4, []
    for _ in range(count):
        kind, length = struct.unpack(">ii", body[at : at + 8])
        types.append(kind)
        at += 8 + max(length, 0)
    return header + body[at:] if -1 in types else record


def assert_logs_agree(cluster, acknowledged=()):
    """One zxid has one record, in whichever log; and what was acknowledged is in the log of each running member, or
    covered by its newest snapshot."""
    logs = {member: log_records(member.data_dir) for member in cluster}
    merged = {}
    for member, records in logs.items():
        for zxid, record in records.items():
            record = comparable(record)
            known = merged.setdefault(zxid, (member, record))
            assert known[1] == record, f"zxid {zxid:#x} of {known[0]} and {member}: {known[1].hex()}, {record.hex()}"
    for member in cluster.running():
        newest = newest_snapshot(member.data_dir)
        gone = [zxid for zxid in acknowledged if zxid > newest and zxid not in logs[member]]
        assert not gone, f"{len(gone)} acknowledged zxids are missing in the log of {member}, the first {min(gone):#x}"
    return len(merged)
