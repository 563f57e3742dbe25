"""Random histories of writes through the wire, and what a server must show of them afterwards."""

import re

import zkwire as zk
from generate import Generator, World

TIMEOUT = 600000


class Writes(Generator):
    """Writes only, and none after which Apache's own digests are wrong or its own replay fails: a plain create with the
    container flag, a null id in an ACL, an undecodable multi, and (3.8.0) create2 inside a multi."""

    def table(self):
        return [
            (14, self.create),
            (8, self.sequential),
            (7, self.delete),
            (12, self.set_data),
            (7, self.set_acl),
            (10, self.multi),
        ]

    def request(self):
        while True:
            request = super().request()
            if request.op not in (zk.CREATE, zk.CREATE2) or request.body[-4:] != zk.i32(4):
                return request

    def acl(self):
        entries = super().acl()
        return entries and [entry for entry in entries if None not in entry]

    def multi(self):
        subs = [self.sub_write() for _ in range(self.rng.randrange(0, 6))]
        subs = [(kind, record) for kind, record in subs if kind != zk.CREATE2]
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
