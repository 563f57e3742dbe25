"""What is compared: replies with everything taken out that two correct servers may choose for themselves.

Times become `T` after a check that they follow the zxids; session ids become S1, S2, ... in the order of creation;
children and ephemerals are sorted. Nothing else changes.
"""

import re

import zkwire as zk


class Normalizer:
    """One per server: it learns that server's session ids and times."""

    def __init__(self):
        self.sessions = {0: 0}
        self.times = {0: 0}
        self.faults = []
        self.shifts = []  # (zxid, how much later zxids are too high), after a difference that was reported

    def session(self, session_id):
        """The stable name of a session id, given at its first sight."""
        return self.sessions.setdefault(session_id, f"S{len(self.sessions)}")

    def time(self, zxid, time):
        """All changes of one zxid have one time."""
        if self.times.setdefault(zxid, time) != time:
            self.faults.append(f"zxid {zxid:#x} has the times {self.times[zxid]} and {time}")
        return "T" if time else 0

    def zxid(self, zxid):
        """The zxid as it would be had no reported difference taken or left out a zxid."""
        return zxid - sum(excess for start, excess in self.shifts if zxid >= start)

    def stat(self, s):
        return s._replace(
            czxid=self.zxid(s.czxid),
            mzxid=self.zxid(s.mzxid),
            pzxid=self.zxid(s.pzxid),
            ctime=self.time(s.czxid, s.ctime),
            mtime=self.time(s.mzxid, s.mtime),
            ephemeralOwner=self.session(s.ephemeralOwner) if s.ephemeralOwner else 0,
        )

    def value(self, value):
        if isinstance(value, zk.Stat):
            return self.stat(value)
        if isinstance(value, zk.SubResult):
            return value._replace(body=self.body(value.type, value.body))
        if isinstance(value, tuple) and not hasattr(value, "_fields"):
            return tuple(self.value(item) for item in value)
        return value

    def body(self, op, body):
        if op in (zk.GET_CHILDREN, zk.GET_EPHEMERALS, zk.WHO_AM_I):
            return sorted(body)
        if op == zk.GET_CHILDREN2:
            return (sorted(body[0]), self.stat(body[1]))
        if op == zk.GET_ACL:
            return (acl_order(body[0]), self.stat(body[1]))
        if op in (zk.MULTI, zk.MULTI_READ):
            return [self.value(result) for result in body]
        return self.value(body)

    def item(self, op, item):
        """A reply or an event."""
        item = item._replace(zxid=self.zxid(item.zxid))
        if isinstance(item, zk.Reply) and op == zk.MULTI_READ and item.err != 0:
            # Apache leaves the results before the wrong sub-op behind the error header; no client reads them.
            return item._replace(body=b"")
        if isinstance(item, zk.Reply) and item.err == 0:
            return item._replace(body=self.body(op, item.body))
        return item

    def connected(self, c):
        return c._replace(session_id=self.session(c.session_id), passwd=len(c.passwd))

    def faults_of_times(self):
        """Times must not run backwards along the zxids."""
        known = sorted(self.times.items())
        late = [
            f"time of zxid {b[0]:#x} is before that of {a[0]:#x}"
            for a, b in zip(known, known[1:])
            if b[1] < a[1]
        ]
        return self.faults + late

    def word(self, word, text):
        """A four-letter word's lines without ids, latencies, packet counts, sizes and paths of directories."""
        if word == "mntr":
            lines = text.splitlines()
            counts = [line for line in lines if re.match(r"zk_(cnt_|sum_|max_|min_)?(node_.*_)?watch_count\t", line)]
            return sorted([line.split("\t")[0] for line in lines] + counts)
        text = re.sub(r"0x[0-9a-f]{8,}", lambda m: str(self.session(signed(int(m.group(), 16)))), text)
        text = re.sub(r"(?m)^Zxid: 0x(.*)$", lambda m: f"Zxid: {self.zxid(int(m.group(1), 16))}", text)
        text = re.sub(r"(?m)^Latency min/avg/max: \d+/\d+\.\d+/\d+$", "Latency L", text)
        text = re.sub(r"(?m)^(Received|Sent): \d+$", r"\1: N", text)
        text = re.sub(
            r"(?m)^Zookeeper version: 3\.9\.\S+, built on \d{4}-\d\d-\d\d \d\d:\d\d UTC$", "Version V", text
        )
        text = re.sub(r"(?m)^(clientPort|dataDirSize|dataLogDirSize|dataLogSize)=\d+$", r"\1=N", text)
        text = re.sub(r"(?m)^(dataDir|dataLogDir)=.*/version-2$", r"\1=D", text)
        text = re.sub(r"(?m)^(datadir_size|logdir_size): \d+$", r"\1: N", text)
        lines = text.split("\n")  # not splitlines: paths hold stranger line ends
        return sorted(lines) if word in ("wchc", "wchp") else lines


def signed(value):
    return value - (1 << 64) if value >= 1 << 63 else value


def acl_order(entries):
    """Neighbours of equal perms and scheme are sorted: `auth` expands in the order of a hash set."""
    ordered, run = [], []
    for entry in entries:
        if run and (entry.perms, entry.scheme) != (run[0].perms, run[0].scheme):
            ordered += sorted(run)
            run = []
        run.append(entry)
    return ordered + sorted(run)
