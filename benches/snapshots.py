"""Snapshots of either server as its log tells them, and how they are brought about."""

import random
import re
import time
from datetime import datetime, timezone

from loads import STAT, pump
from side_by_side import zk

TAKEN = re.compile(r"^([\d-]{10}[T ][\d:.,]+).*Snapshot taken (?:in |.*took_ms=)(\d+)", re.M)


def taken(log):
    """(start, end) in seconds of the wall clock of every snapshot that the text of a log tells of."""
    return [window(*found.groups()) for found in TAKEN.finditer(log)]


def window(stamp, took_ms):
    # Apache writes local time, with a comma.
    zone = timezone.utc if "T" in stamp else None
    end = datetime.fromisoformat(stamp.replace(",", ".")).replace(tzinfo=zone).timestamp()
    return end - int(took_ms) / 1000, end


def provoke(server, path, count, data=b"z" * 100):
    """Sets random paths of the first `count` until a snapshot that began meanwhile is done; how many it took."""
    rng = random.Random(2)
    before = len(taken(server.output.read_text(errors="replace")))
    sets = 0
    while len(taken(server.output.read_text(errors="replace"))) == before:
        bodies = [zk.set_data(path(rng.randrange(count)), data) for _ in range(2000)]
        pump(server.port, zk.SET_DATA, bodies, STAT)
        sets += len(bodies)
        assert sets < 10_000_000, "no snapshot is taken"
    return sets


def settled(read, step=1.0, patience=15):
    """The last of some readings, taken when they have not fallen for three steps, or patience is over."""
    lowest, since = read(), 0
    for _ in range(int(patience / step)):
        time.sleep(step)
        now = read()
        lowest, since = (now, 0) if now < lowest else (lowest, since + 1)
        if since == 3:
            break
    return lowest
