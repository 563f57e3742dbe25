"""Two servers, the same steps on both, every result compared before the next step.

Only one session has requests on the way at a time; after each step all others send a ping, so that the events a step
caused are read within that step and their order is certain.
"""

import time

import differences
import zkwire as zk
from generate import Request
from normal import Normalizer

TIMEOUT = 600000
PING = (zk.PING_XID, zk.PING)


class Side:
    """One server and the connections to it."""

    def __init__(self, server):
        self.server = server
        self.normal = Normalizer()
        self.conns = {}
        self.zxid = 0  # the highest seen
        self.known = {}  # slot -> what the last successful handshake said

    def open(self, slot, **fields):
        conn = zk.Conn(self.server.port)
        old, self.conns[slot] = self.conns.get(slot), conn
        try:
            connected = conn.handshake(**fields)
        except (zk.Closed, zk.Malformed, zk.Silent) as odd:
            out = [odd_name(odd)]
        else:
            out = [self.normal.connected(connected)]
            if connected.session_id:
                self.known[slot] = connected
            else:
                out.append(self.ended(conn))
        if old is not None:
            out.append(self.ended(old))
        if not conn.connected or not conn.connected.session_id:
            self.forget(slot)
        return out

    def ended(self, conn):
        return "closed" if conn.expect_end() else "still open"

    def forget(self, slot):
        conn = self.conns.pop(slot, None)
        if conn:
            conn.drop()

    def requests(self, slot, requests):
        """Sends all at once; the replies and events in the order in which they came."""
        conn, out = self.conns[slot], []
        try:
            conn.send(b"".join(zk.frame(zk.request(r.xid, r.op, r.body)) for r in requests))
            for r in requests:
                self.read_until_reply(conn, r.op, out)
            if requests[-1].fatal:
                out.append(self.ended(conn))
        except (zk.Closed, zk.Malformed, zk.Silent) as odd:
            out.append(odd_name(odd))
        if out[-1] in ("closed", "malformed", "silent"):
            self.forget(slot)
        return out

    def read_until_reply(self, conn, op, out):
        while True:
            item = conn.read_reply(op)
            self.zxid = max(self.zxid, item.zxid)
            out.append(self.normal.item(op, item))
            if isinstance(item, zk.Reply):
                return

    def pings(self, but):
        """Events that reached the other connections, and the zxid each of them sees."""
        out = {}
        for slot in sorted(self.conns):
            if slot != but:
                ping = zk_request(*PING)
                out[slot] = self.requests(slot, [ping])
        return out

    def drop(self, slot):
        self.forget(slot)
        return self.settle()

    def settle(self):
        """Waits until the server counts only the connections that are open (and the asking one)."""
        deadline = time.monotonic() + 10
        while zk.srvr_field(self.server.port, "Connections") != str(len(self.conns) + 1):
            if time.monotonic() > deadline:
                return ["connections are not given up"]
            time.sleep(0.002)
        return []

    def word(self, word):
        return self.normal.word(word, zk.four_letter_word(self.server.port, word))

    def raw(self, data, greet):
        """What a fresh connection yields for raw bytes, after a handshake when `greet`."""
        conn = zk.Conn(self.server.port)
        out = []
        try:
            if greet:
                out.append(self.normal.connected(conn.handshake(TIMEOUT)))
            conn.send(data)
            while True:
                out.append(conn.read_frame().hex())
        except (zk.Closed, zk.Malformed, zk.Silent) as odd:
            out.append(odd_name(odd))
        conn.drop()
        return out

    def tree(self):
        conn = self.server.connect(TIMEOUT)
        zk.become_super(conn)
        nodes = zk.dump_tree(conn)
        conn.drop()
        return {
            path: (data, self.normal.stat(stat), self.normal.body(zk.GET_ACL, (acl, stat))[0])
            for path, (data, stat, acl) in nodes.items()
        }


class Lockstep:
    """Runs steps on both sides and keeps the score."""

    def __init__(self, apache, ours, score, log):
        self.sides = (Side(apache), Side(ours))
        self.score = score
        self.log = log
        self.used = {}
        self.count = 0

    def slots(self):
        """Slots that are connected on both sides."""
        return sorted(set(self.sides[0].conns) & set(self.sides[1].conns))

    def both(self, step, action):
        """Runs `action` on both sides and compares item by item; returns Apache's result."""
        apache, ours = (action(side) for side in self.sides)
        self.count += 1
        self.log.write(f"{self.count} {step}\n  {apache}\n")
        difference = apache != ours and differences.accepted(step[:2], apache, ours)
        if difference:
            self.used[difference.name] = self.used.get(difference.name, 0) + 1
        name, detail = describe(step, apache, ours) if apache != ours else ("", "")
        self.score.check(f"step {self.count} {name}", apache == ours or difference, detail)
        return apache

    def barrier(self, but, unordered=False):
        """Compares what the other connections got; with `unordered`, in whatever order within the step."""

        def action(side):
            got = side.pings(but)
            return {slot: sorted(items, key=repr) if unordered else items for slot, items in got.items()}

        self.both(("events",), action)
        self.realign()

    def realign(self):
        """After a reported difference in the number of zxids: later steps are compared as if it had not been."""
        apache, ours = self.sides
        excess = ours.normal.zxid(ours.zxid) - apache.normal.zxid(apache.zxid)
        if excess and self.score.failed:
            ours.normal.shifts.append((ours.zxid, excess))

    def requests(self, slot, requests):
        result = self.both(
            ("requests", slot, [(r.xid, r.op, r.note, r.body.hex()) for r in requests]),
            lambda side: side.requests(slot, requests),
        )
        for side in self.sides:  # a slot lost on one side only is given up on both
            if slot not in self.slots():
                side.forget(slot)
        self.barrier(slot)
        return result

    def open(self, slot, **fields):
        self.both(("open", slot, fields), lambda side: side.open(slot, **fields))
        self.barrier(slot)

    def resume(self, slot, last_zxid=0, **fields):
        def action(side):
            known = side.known[slot]
            return side.open(
                slot,
                session_id=known.session_id,
                passwd=known.passwd,
                last_zxid=last_zxid,
                **{"timeout": TIMEOUT, **fields},
            )

        self.both(("resume", slot, last_zxid, fields), action)
        self.barrier(slot)

    def close(self, slot):
        """closeSession: ephemerals go in no certain order, so events of this step are sorted."""
        request = zk_request(5, zk.CLOSE_SESSION, fatal=True)
        self.both(("close", slot), lambda side: sorted(side.requests(slot, [request]), key=repr))
        self.barrier(slot, unordered=True)

    def drop(self, slot):
        self.both(("drop", slot), lambda side: side.drop(slot))

    def settle(self):
        self.both(("settle",), Side.settle)

    def word(self, word):
        self.both(("word", word), lambda side: side.word(word))

    def raw(self, data, greet):
        self.both(("raw", data.hex()[:64], greet), lambda side: side.raw(data, greet))
        self.settle()

    def finish(self):
        """The whole trees, and the sanity of each side's times."""
        apache, ours = (side.tree() for side in self.sides)
        self.score.equal("paths of the final tree", sorted(ours), sorted(apache))
        for path in sorted(set(apache) & set(ours)):
            self.score.equal(f"final {path!r}", ours[path], apache[path])
        for side in self.sides:
            self.score.equal(f"times of {side.server.name}", side.normal.faults_of_times(), [])


def describe(step, apache, ours):
    """The step and what differs, without the replies that are equal."""
    if not isinstance(apache, list) or not isinstance(ours, list):
        return step, f"\n  Apache: {apache}\n  ours:   {ours}"
    if step[0] == "requests" and len(apache) == len(ours):
        requests, replies = iter(step[2]), []
        for a, b in zip(apache, ours):
            request = next(requests, None) if isinstance(a, zk.Reply) else "event"
            if a != b:
                replies.append(f"\n  request {request}\n  Apache: {a}\n  ours:   {b}")
        return step[:2], "".join(replies)
    only = [[item for item in one if item not in other] for one, other in ((apache, ours), (ours, apache))]
    return step, f"\n  only Apache: {only[0]}\n  only ours:   {only[1]}"


def zk_request(xid, op, body=b"", note="", fatal=False, alone=False):
    return Request(xid, op, body, note, fatal, alone)


def odd_name(odd):
    return {"Closed": "closed", "Silent": "silent"}.get(type(odd).__name__, f"malformed: {odd}")
