"""Writers that know exactly what a server may show after a crash.

Each writer has a subtree and one connection, so its writes apply in the order in which it sent them: after a crash its
subtree must be what the first k of them make, for some k between the acknowledged ones and all that were sent.
"""

import threading

import zkwire as zk
from zkwire import Reply

TIMEOUT = 600000
KEEP = 40  # so many nodes per writer, more or less


class Tree:
    """A writer's subtree: path -> (data, version, owner), and how many children its sequential parent ever had."""

    def __init__(self, root):
        self.root = root
        self.nodes = {root: (b"", 0, 0), root + "/q": (b"", 0, 0)}
        self.sequence = 0

    def copy(self):
        other = Tree(self.root)
        other.nodes, other.sequence = dict(self.nodes), self.sequence
        return other

    def apply(self, op):
        """`op`: a tuple of kind and arguments, see Writer.choose."""
        kind, *rest = op
        if kind == "create":
            path, data, owner = rest
            self.nodes[path] = (data, 0, owner)
        elif kind == "sequential":
            self.nodes[f"{self.root}/q/n{self.sequence:010}"] = (rest[0], 0, 0)
            self.sequence += 1
        elif kind == "set":
            path, data = rest
            self.nodes[path] = (data, self.nodes[path][1] + 1, self.nodes[path][2])
        elif kind == "delete":
            del self.nodes[rest[0]]
        elif kind == "multi":
            for part in rest[0]:
                self.apply(part)
        elif kind == "close":
            self.nodes = {path: node for path, node in self.nodes.items() if node[2] != rest[0]}


def request(tree, op):
    """The opcode and body of `op`."""
    kind, *rest = op
    if kind == "create":
        return zk.CREATE, zk.create(rest[0], rest[1], flags=1 if rest[2] else 0)
    if kind == "sequential":
        return zk.CREATE, zk.create(tree.root + "/q/n", rest[0], flags=2)
    if kind == "set":
        return zk.SET_DATA, zk.set_data(*rest)
    if kind == "delete":
        return zk.DELETE, zk.path_version(rest[0])
    if kind == "multi":
        return zk.MULTI, zk.multi([request(tree, part) for part in rest[0]])
    return zk.CLOSE_SESSION, b""


class Writer:
    def __init__(self, number, rng):
        self.rng = rng
        self.base = Tree(f"/w{number}")  # what is certain
        self.tree = self.base.copy()  # what all that was sent makes
        self.sent = []  # since the last check
        self.acknowledged = 0
        self.session = None
        self.count = 0
        self.zxid = 0
        self.fault = None

    def choose(self):
        """The next write; every value is unique."""
        self.count += 1
        data = b"%d " % self.count + self.rng.randbytes(self.rng.choice([0, 10, 100, 3000]))
        tree = self.tree
        free = [path for path in tree.nodes if path.count("/") > 1 and path != tree.root + "/q"]
        roll = self.rng.random()
        if len(free) > KEEP or free and roll < 0.15:
            return ("delete", self.rng.choice(sorted(free)))
        if roll < 0.4:
            owner = self.session.session_id if self.rng.random() < 0.3 else 0
            return ("create", f"{tree.root}/n{self.count}", data, owner)
        if roll < 0.55:
            return ("sequential", data)
        if roll < 0.65:
            path = f"{tree.root}/m{self.count}"
            return (
                "multi",
                (("create", path, data, 0), ("set", tree.root, data), ("set", path, data + b"!")),
            )
        return ("set", self.rng.choice(sorted(tree.nodes)), data)

    def connect(self, port):
        """Goes on with the session that the model knows, which must be alive."""
        conn = zk.Conn(port, wait=5.0)
        known = self.session
        fields = {"session_id": known.session_id, "passwd": known.passwd} if known else {}
        self.session = conn.handshake(TIMEOUT, **fields)
        if self.session.session_id == 0:
            raise zk.Malformed(f"session {known.session_id:#x} is gone")
        return conn

    def run(self, port, started):
        """Writes until the server goes away."""
        try:
            conn = self.connect(port)
            started.wait(5)
            while True:
                self.batch(conn)
                if self.sent and self.sent[-1][0] == "close":
                    conn.drop()
                    self.session = None
                    conn = self.connect(port)
        except (zk.Closed, OSError):
            pass
        except (zk.Malformed, zk.Silent) as odd:
            if not (isinstance(odd, zk.Malformed) and "closed inside a frame" in str(odd)):
                self.fault = repr(odd)

    def batch(self, conn):
        ops = []
        for _ in range(self.rng.choice([1, 3, 20])):
            op = self.choose()
            if self.rng.random() < 0.002:
                op = ("close", self.session.session_id)
            ops.append((op, *request(self.tree, op)))
            self.tree.apply(op)
            self.sent.append(op)
            if op[0] == "close":
                break
        conn.send(b"".join(zk.frame(zk.request(n + 1, op, body)) for n, (_, op, body) in enumerate(ops)))
        for what, op, _ in ops:
            self.take(conn.read_reply(op), what)

    def take(self, reply, what):
        bad = not isinstance(reply, Reply) or reply.err
        if not bad and what[0] == "multi":
            bad = any(result.err for result in reply.body)
        if bad:
            raise zk.Malformed(f"{what[:2]} of a writer alone in its subtree yields {reply}")
        if reply.zxid <= self.zxid:
            raise zk.Malformed(f"zxid {reply.zxid:#x} after {self.zxid:#x}")
        self.zxid = reply.zxid
        self.acknowledged += 1

    def check(self, shown, created):
        """None when `shown` (path -> (data, version, owner)) is one of the states that may be; else what is wrong.
        `created` is the number of children that the sequential parent ever had."""
        tree = self.base.copy()
        for op in self.sent[: self.acknowledged]:
            tree.apply(op)
        sure = dict(tree.nodes)
        for extra in self.sent[self.acknowledged :] + [None]:
            if tree.nodes == shown and tree.sequence == created:
                self.settle(tree)
                return None
            if extra:
                tree.apply(extra)
        lost = {path: node for path, node in sure.items() if shown.get(path) != node}
        more = {path: node for path, node in shown.items() if sure.get(path) != node}
        return (
            f"{created} sequential nodes; {self.acknowledged} of {len(self.sent)} acknowledged; acknowledged but not so: {cut(lost)}; "
            f"there but not acknowledged: {cut(more)}"
        )

    def settle(self, tree):
        """What was shown is the truth from now on."""
        closed = self.session and any(op == ("close", self.session.session_id) for op in self.sent)
        if closed and len([1 for node in tree.nodes.values() if node[2] == self.session.session_id]) == 0:
            self.session = None
        self.base, self.tree = tree, tree.copy()
        self.sent, self.acknowledged = [], 0


def cut(nodes):
    return {path: (data[:20], *rest) for path, (data, *rest) in list(nodes.items())[:4]}


def shown_by(port):
    """All nodes by their first component: path -> (data, version, owner); and the children ever created by path."""
    conn = zk.session(port)
    zk.become_super(conn)
    nodes = zk.dump_tree(conn)
    conn.call(1, zk.CLOSE_SESSION)
    conn.drop()
    trees, created = {}, {}
    for path, (data, stat, _) in nodes.items():
        created[path] = (stat.cversion + stat.numChildren) // 2
        top = "/" + path.split("/")[1]
        trees.setdefault(top, {})[path] = (data, stat.version, stat.ephemeralOwner)
    return trees, created


def set_up(port, writers):
    conn = zk.session(port)
    for writer in writers:
        for path in (writer.base.root, writer.base.root + "/q"):
            if conn.call(1, zk.CREATE, zk.create(path)).err:
                raise zk.Malformed(path)
    conn.call(1, zk.CLOSE_SESSION)
    conn.drop()


def check_all(port, writers, score, name):
    """Every acknowledged write is there, and nothing that was never sent."""
    zxid = int(zk.srvr_field(port, "Zxid"), 16)
    score.check(
        f"{name}: zxid", zxid >= max(w.zxid for w in writers), f"{zxid:#x} is before an acknowledged one"
    )
    trees, created = shown_by(port)
    for writer in writers:
        wrong = writer.fault or writer.check(
            trees.get(writer.base.root, {}), created.get(writer.base.root + "/q")
        )
        writer.fault = None
        score.check(f"{name}: {writer.base.root}", wrong is None, wrong)
    extra = sorted(set(trees) - {w.base.root for w in writers} - {"/", "/zookeeper"})
    score.equal(f"{name}: strange nodes", extra, [])


def load(port, writers):
    """Starts all writers; the threads end when the server does."""
    started = threading.Event()
    threads = [threading.Thread(target=writer.run, args=(port, started)) for writer in writers]
    for thread in threads:
        thread.start()
    started.set()
    return threads
