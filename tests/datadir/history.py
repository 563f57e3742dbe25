"""Random histories of writes through the wire, and what a server must show of them afterwards."""

import re
import time

import zkwire as zk
from generate import LIMITS, QUOTA, Generator, World

TIMEOUT = 600000


# The first names of the paths that have quotas.
LIMITED = ["a", "b", "none"]


class Writes(Generator):
    """Writes only, and none after which Apache's own digests are wrong or its own replay fails: a plain create with the
    container flag, the opcode for containers with other flags, a null id in an ACL, an undecodable multi, and (3.8.0)
    create2 inside a multi. Nor any after which statistics of quotas change when they are counted anew: no quota is
    below another, and limits come before statistics."""

    def table(self):
        return [
            (14, self.create),
            (8, self.sequential),
            (8, self.create_kind),
            (2, self.limits),
            (7, self.delete),
            (12, self.set_data),
            (7, self.set_acl),
            (10, self.multi),
        ]

    def request(self):
        while True:
            request = super().request()
            has_flags = request.body[-4:] == zk.i32(4)
            if request.op in (zk.CREATE, zk.CREATE2) and has_flags:
                continue
            if request.op == zk.CREATE_CONTAINER and not has_flags:
                continue
            return request

    def quotas(self):
        """Creates the quotas of a history."""
        for name in LIMITED:
            yield zk.create(f"{QUOTA}/{name}")
            yield zk.create(f"{QUOTA}/{name}/zookeeper_limits", self.rng.choice(LIMITS))
            yield zk.create(f"{QUOTA}/{name}/zookeeper_stats", self.data())

    def limits(self):
        node = f"{QUOTA}/{self.rng.choice(LIMITED)}/zookeeper_limits"
        return zk.SET_DATA, zk.set_data(node, self.rng.choice(LIMITS)), node

    def acl(self):
        entries = super().acl()
        return entries and [entry for entry in entries if None not in entry]

    def multi(self):
        subs = [self.sub_write() for _ in range(self.rng.randrange(0, 6))]
        subs = [
            (kind, record)
            for kind, record in subs
            if kind not in (zk.CREATE2, zk.CREATE_CONTAINER) and QUOTA.encode() not in record
        ]
        return zk.MULTI, zk.multi(subs), f"types {[kind for kind, _ in subs]}"


class History:
    """Sessions and writes on one data directory, continued over restarts and over a change of the server."""

    def __init__(self, rng):
        self.rng = rng
        self.generator = Writes(rng, World())
        self.live = {}  # session id -> password, of sessions that were not closed
        self.closed = {}
        self.written = 0

    def write(self, server, count):
        """About `count` writes by several sessions; some sessions close, the others stay alive without a connection."""
        conns = []
        for _ in range(self.rng.randrange(1, 4)):
            conns.append(self.open(server, {conn.connected.session_id for conn in conns}))
        if self.written == 0:
            for body in self.generator.quotas():
                conns[0].call(self.generator.next_xid(), zk.CREATE, body)
        while count > 0:
            conn = self.rng.choice(conns)
            # Apache's digests now and then come out wrong for pipelined writes.
            batch = [
                self.generator.request() for _ in range(1 if server.apache else self.rng.randrange(1, 12))
            ]
            count -= len(batch)
            self.send(conn, batch)
        for conn in conns:
            if self.rng.random() < 0.3:
                conn.call(1, zk.CLOSE_SESSION)
                self.closed[conn.connected.session_id] = self.live.pop(conn.connected.session_id)
            conn.drop()

    def wait_for_removals(self, server):
        """A container and a TTL node come, and go by the server's will."""
        conn = server.connect(TIMEOUT)
        zk.become_super(conn)
        for op, body in (
            (zk.CREATE_CONTAINER, zk.create("/box", flags=4)),
            (zk.CREATE, zk.create("/box/child")),
            (zk.DELETE, zk.path_version("/box/child")),
            (zk.CREATE_TTL, zk.create_ttl("/short", b"", zk.OPEN_ACL, 5, 1)),
        ):
            conn.call(1, op, body)
        deadline = time.monotonic() + 30
        while any(conn.call(1, zk.EXISTS, zk.path_watch(path)).err == 0 for path in ("/box", "/short")):
            if time.monotonic() > deadline:
                raise AssertionError("neither goes")
        conn.call(1, zk.CLOSE_SESSION)
        conn.drop()

    def open(self, server, connected):
        """A new session, or one that was left alive and is not connected."""
        idle = sorted(set(self.live) - connected)
        if idle and self.rng.random() < 0.5:
            session_id = self.rng.choice(idle)
            conn = server.connect(TIMEOUT, session_id=session_id, passwd=self.live[session_id])
        else:
            conn = server.connect(self.rng.choice([TIMEOUT, 300000]))
        self.live[conn.connected.session_id] = conn.connected.passwd
        if self.rng.random() < 0.6:
            conn.call(1, zk.AUTH, zk.auth_packet("digest", b"alice:secret"))
        return conn

    def send(self, conn, batch):
        conn.send(b"".join(zk.frame(zk.request(r.xid, r.op, r.body)) for r in batch))
        for request in batch:
            reply = conn.read_reply(request.op)
            self.generator.world.learn(request.op, request.note, reply)
            self.written += 1


def state(server):
    """The last zxid, the sessions, the ephemerals by owner, and the whole tree of a running server."""
    zxid = zk.srvr_field(server.port, "Zxid")
    sessions, ephemerals = sessions_of(zk.four_letter_word(server.port, "dump"))
    conn = server.connect(TIMEOUT)
    zk.become_super(conn)
    nodes = zk.dump_tree(conn)
    conn.call(1, zk.CLOSE_SESSION)
    conn.drop()
    return {"zxid": zxid, "sessions": sessions, "ephemerals": ephemerals, **nodes}


def sessions_of(dump):
    """The ids in the tracker's part of `dump`, and its ephemerals: owner -> paths."""
    tracker, rest = dump.split("ephemeral nodes dump:")
    rest = rest.split("Connections dump:")[0]
    ephemerals, owner = {}, None
    for line in rest.split("\n"):
        if re.fullmatch(r"0x[0-9a-f]+:", line):
            owner = line[:-1]
        elif line.startswith("\t"):
            ephemerals.setdefault(owner, set()).add(line[1:])
    return set(re.findall(r"^\t(0x[0-9a-f]+)$", tracker, re.M)), ephemerals
