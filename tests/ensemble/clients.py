"""Clients of an ensemble: single calls on one member, sessions that move and are kept alive, and writers that know
what they were promised."""

import random
import threading
import time

from cluster import PATIENCE, wait_until, zk

LOST = (zk.Closed, zk.Malformed, zk.Silent, OSError)
SESSION_MOVED, NO_NODE, NODE_EXISTS = -118, -101, -110


class Failed(Exception):
    """A reply with an error code."""

    def __init__(self, op, reply):
        super().__init__(f"op {op}: error {reply.err}")
        self.err = reply.err


class Expired(Exception):
    """The server says that the session does not exist any more."""


class Client:
    """One connection to one member, with a session: a new one, or that of another Client. Nothing is retried."""

    def __init__(self, member, timeout=30000, session=None, wait=PATIENCE, last_zxid=0, read_only=False):
        self.member = member
        self.conn = zk.Conn(member.port, host=member.host, wait=wait)
        self.xid = 0
        self.events = []
        fields = {"session_id": session.session_id, "passwd": session.passwd} if session else {}
        try:
            self.session = self.conn.handshake(timeout, last_zxid=last_zxid, read_only=read_only, **fields)
        except BaseException:
            self.conn.drop()
            raise
        if self.session.session_id == 0:
            self.conn.drop()
            raise Expired(f"{member} refuses the session")
        self.conn.last_zxid = last_zxid

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.drop()

    @property
    def last_zxid(self):
        return self.conn.last_zxid

    def ask(self, op, body=b""):
        """The Reply; events that come before it are kept in `events`."""
        self.xid += 1
        return self.conn.call(self.xid, op, body, self.events)

    def do(self, op, body=b""):
        """The body of the reply; raises Failed for an error."""
        reply = self.ask(op, body)
        if reply.err:
            raise Failed(op, reply)
        return reply.body

    def create(self, path, data=b"", ephemeral=False, sequential=False):
        return self.do(zk.CREATE, zk.create(path, data, flags=ephemeral + 2 * sequential))

    def delete(self, path, version=-1):
        return self.do(zk.DELETE, zk.path_version(path, version))

    def set(self, path, data, version=-1):
        return self.do(zk.SET_DATA, zk.set_data(path, data, version))

    def get(self, path, watch=False):
        """(data, Stat)"""
        return self.do(zk.GET_DATA, zk.path_watch(path, watch))

    def exists(self, path, watch=False):
        """The Stat, or None."""
        reply = self.ask(zk.EXISTS, zk.path_watch(path, watch))
        if reply.err not in (0, NO_NODE):
            raise Failed(zk.EXISTS, reply)
        return reply.body if reply.err == 0 else None

    def children(self, path, watch=False):
        return sorted(self.do(zk.GET_CHILDREN, zk.path_watch(path, watch)))

    def multi(self, *subs):
        """`subs`: (op, record); the results."""
        return self.do(zk.MULTI, zk.multi(subs))

    def sync(self, path="/"):
        return self.do(zk.SYNC, zk.path_only(path))

    def ping(self):
        """Sends a ping; its answer is read with that of the next call, or by `pong`."""
        self.conn.send_request(zk.PING_XID, zk.PING)

    def pong(self):
        self.read(zk.PING)

    def read(self, op):
        """The next reply; events before it are kept."""
        while True:
            got = self.conn.read_reply(op)
            if isinstance(got, zk.Reply):
                return got
            self.events.append(got)

    def wait_events(self, count):
        """Reads until so many events have come; (type, path) of each."""
        while len(self.events) < count:
            got = self.conn.read_reply(zk.PING)
            if isinstance(got, zk.Event):
                self.events.append(got)
        return [(zk.EVENT_NAMES[event.type], event.path) for event in self.events]

    def move(self, member, timeout=None):
        """A Client that goes on with the session on another member, once that has all this one has seen."""
        seen = self.last_zxid
        member.wait_zxid(seen)
        return Client(member, timeout or self.session.timeout, self.session, last_zxid=seen)

    def close(self):
        """Ends the session."""
        self.ask(zk.CLOSE_SESSION)
        self.conn.drop()

    def drop(self):
        """Ends the connection only."""
        self.conn.drop()


class Roaming(threading.Thread):
    """A thread with a session that goes to another member when its connection is lost. Subclasses have `work`, which
    is called with a Client again and again; `fault` is what went wrong, and None when nothing did."""

    closes = False  # whether it ends its session when it ends, and looks for a member that takes it until it has

    def __init__(self, cluster, timeout=30000, rng=None, members=None):
        super().__init__(daemon=True)
        self.cluster = cluster
        self.members = members or list(cluster)
        self.timeout = timeout
        self.rng = rng or random.Random(0)
        self.session = None
        self.last_zxid = 0
        self.member = None  # where it is connected
        self.moves = 0
        self.fault = None
        self.ending = threading.Event()
        self.close_sent = False

    def run(self):
        try:
            while not self.ending.is_set() or self.closes and self.session:
                client = self.connect()
                if client is None:
                    time.sleep(0.01)
                    continue
                try:
                    while not self.ending.is_set():
                        self.work(client)
                        self.last_zxid = max(self.last_zxid, client.last_zxid)
                    if self.closes:
                        self.close_sent = True
                        client.close()
                        self.session = None
                    return
                except LOST as lost:
                    if isinstance(lost, zk.Malformed) and "closed inside a frame" not in str(lost):
                        raise
                    self.last_zxid = max(self.last_zxid, client.last_zxid)
                    self.lost()
                finally:
                    self.member = None
                    client.drop()
        except (Expired, Failed, AssertionError, zk.Malformed) as odd:
            self.fault = f"{type(odd).__name__}: {odd}"

    def connect(self):
        """A Client on a random member that runs, or None."""
        member = self.rng.choice(self.members)
        if not member.running() or member.paused:
            return None
        try:
            client = Client(member, self.timeout, self.session, wait=3.0, last_zxid=self.last_zxid)
        except Expired:
            if not self.close_sent:
                self.expired()
            self.session = None  # closed, though the answer was lost
            return None
        except LOST:
            return None
        self.session, self.member = client.session, member
        self.moves += 1
        client.xid = self.moves << 20  # no request of the session has the xid of another
        return client

    def work(self, client):
        raise NotImplementedError

    def lost(self):
        """What to do when a connection is lost."""

    def expired(self):
        raise Expired("a session that was kept alive expired")

    def finish(self):
        """Ends the thread."""
        self.ending.set()
        self.join(PATIENCE)
        assert not self.is_alive(), "a client does not end"
        return self.fault


class Holder(Roaming):
    """Keeps a session alive by pings, with an ephemeral node in it that nobody may see vanish."""

    closes = True

    def __init__(self, cluster, path, **named):
        super().__init__(cluster, **named)
        self.path = path
        self.created = threading.Event()

    def work(self, client):
        if not self.created.is_set():
            try:
                client.create(self.path, ephemeral=True)
            except Failed as failed:
                if failed.err != NODE_EXISTS:
                    raise
            self.created.set()
        stat = client.exists(self.path)
        assert stat is not None, f"{self.path} is gone while its session lives"
        assert stat.ephemeralOwner == self.session.session_id, f"{self.path} belongs to {stat.ephemeralOwner:#x}"
        client.ping()
        client.pong()
        self.ending.wait(0.05)


class Writer(Roaming):
    """Creates, sets and deletes nodes below a node of its own, in batches, and knows what must be there.

    `known` holds path -> (data, czxid, mzxid, version) of what was acknowledged, None for what was deleted. Of a batch
    whose replies were lost, any first part may have been applied: `unsure` holds such batches, and their paths
    are not written again.
    """

    def __init__(self, cluster, number, seed, pause=0.0, **named):
        super().__init__(cluster, rng=random.Random(f"{seed}-{number}"), **named)
        self.root = f"/w{number}"
        self.pause = pause
        self.known = {}
        self.unsure = []
        self.acknowledged = []  # (zxid, path, when) of every write
        self.count = 0
        self.crowded = False
        self.pending = []
        self.xid = 0
        self.zxid = 0

    def set_up(self, client):
        """Makes the node of its own; to be done before the thread starts."""
        client.create(self.root)
        return self

    def work(self, client):
        live = [path for path, state in self.known.items() if state]
        self.crowded = len(live) > 300
        self.pending = []
        for _ in range(self.rng.choice([1, 1, 2, 5])):
            used = {path for _, path, _ in self.pending}
            free = [path for path in live[-50:] if path not in used]
            self.pending.append(self.choose(free))
        frames = []
        for op, path, data in self.pending:
            self.xid += 1  # never twice in a session: Apache tells replies apart by it
            frames.append(zk.frame(zk.request(self.xid, op, body(op, path, data))))
        client.conn.send(b"".join(frames))
        while self.pending:
            op, path, data = self.pending[0]
            self.take(client.read(op), op, path, data)
            del self.pending[0]
        if self.pause:
            self.ending.wait(self.pause)

    def choose(self, free):
        self.count += 1
        roll = self.rng.random()
        if free and roll < 0.25:
            return zk.SET_DATA, self.rng.choice(free), b"set %d" % self.count
        if free and roll < (0.8 if self.crowded else 0.4):
            return zk.DELETE, self.rng.choice(free), None
        return zk.CREATE, f"{self.root}/{self.count}", b"made %d" % self.count

    def take(self, reply, op, path, data):
        assert reply.err == 0, f"op {op} on {path}, which nobody else writes: error {reply.err}"
        assert reply.zxid > self.zxid, f"zxid {reply.zxid:#x} of a write after {self.zxid:#x}"
        self.zxid = reply.zxid
        if op == zk.CREATE:
            self.known[path] = (data, reply.zxid, reply.zxid, 0)
        elif op == zk.SET_DATA:
            _, czxid, _, version = self.known[path]
            self.known[path] = (data, czxid, reply.zxid, version + 1)
        else:
            self.known[path] = None
        self.acknowledged.append((reply.zxid, path, time.monotonic()))

    def lost(self):
        """What was sent and not answered may have been done."""
        batch = []
        for op, path, data in self.pending:
            batch.append((op, path, data, self.known.pop(path, None)))
        if batch:
            self.unsure.append(batch)
        self.pending = []

    def expired(self):
        """No promise is broken: it had no server for longer than its timeout."""
        self.session, self.last_zxid = None, 0

    def wait_acknowledged(self, more=1, seconds=PATIENCE):
        """Returns when so many more writes than now have been acknowledged."""
        wanted = len(self.acknowledged) + more
        wait_until(
            lambda: self.fault or len(self.acknowledged) >= wanted,
            lambda: f"{self.root}: {more} more writes acknowledged; {self.cluster.modes()}",
            seconds,
        )
        assert self.fault is None, self.fault

    def wrong(self, nodes):
        """What a tree (path -> (data, Stat, ...)) shows that it may not, as a list of texts."""
        below = {path: node for path, node in nodes.items() if path.startswith(self.root + "/")}
        problems = []
        for path, state in self.known.items():
            shown = below.pop(path, None)
            found = shown and (shown[0], shown[1].czxid, shown[1].mzxid, shown[1].version)
            if found != state:
                problems.append(f"{path}: {found}, acknowledged {state}")
        for batch in self.unsure:
            done = [applied(step, below.pop(step[1], None)) for step in batch]
            if None in done or done != sorted(done, reverse=True):
                problems.append(f"a batch without answer shows {done} for {batch}")
        return problems + [f"{path} was never written" for path in below]

    def settle(self, nodes):
        """What the tree shows of writes without answer is what must stay from now on."""
        for batch in self.unsure:
            for _, path, _, _ in batch:
                node = nodes.get(path)
                self.known[path] = node and (node[0], node[1].czxid, node[1].mzxid, node[1].version)
        self.unsure = []


def body(op, path, data):
    if op == zk.CREATE:
        return zk.create(path, data)
    return zk.set_data(path, data) if op == zk.SET_DATA else zk.path_version(path)


def applied(step, node):
    """Whether a write that was not answered was done, by the node that is shown; None: neither done nor not done."""
    op, _, data, before = step
    found = node and (node[0], node[1].czxid, node[1].mzxid, node[1].version)
    if op == zk.CREATE:
        return found is not None if found is None or found[0] == data else None
    if found == before:
        return False
    if op == zk.DELETE:
        return True if found is None else None
    good = found is not None and found[0] == data and found[1] == before[1] and found[3] == before[3] + 1
    return True if good else None
