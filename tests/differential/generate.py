"""Seeded requests of every kind in scope, most of them sensible, many wrong.

`World` remembers, from the replies of one server, which nodes exist, so that a good part of the requests succeeds.
Requests that damage an Apache server are never made: modes without a ttl under opcode 21 with a ttl below zero,
opcodes 20 and -10, a quota for the root, quota texts that cannot be read, and a known session with a wrong password.
"""

from collections import namedtuple

import zkwire as zk
from zkwire import Acl

# fatal: the server answers (or not) and closes; alone: must not be pipelined, since Apache's I/O thread answers it.
Request = namedtuple("Request", "xid op body note fatal alone")

NAMES = ["a", "b", "c", "d", "e", "f"]
OPEN = zk.OPEN_ACL
ALICE = "alice:jaVfbXjBYkCQIFJQ4BpFYYKaWsY="

BAD_PATHS = [
    "",
    "foo",
    "//",
    "/a//b",
    "/a/",
    "/a/.",
    "/a/..",
    "/.",
    "/..",
    "/a/./b",
    "/a/../b",
    "a/b",
    ".",
    None,
    "/a\u0001",
    "/a\u0000b",
    "/\u0000",
    "/a\u001f",
    "/a\u007f",
    "/a\u0085",
    "/a\u009f",
    "/a\ud800",
    "/a\udfff",
    "/a\ue000",
    "/a\uf8ff",
    "/a\ufff0",
    "/a\uffff",
    "/a\ufffd",
    "/a\U0001f600",
    b"/a\xff\xfe",
    b"/a\xc0\x80",
    b"/a\xe2\x82",
    b"/a\xf5\x80\x80\x80",
    b"/a\xed\xa0\x80x",
    b"\xff",
    "/missing/x",
    "/missing",
    "/a/b/c/d/e/f/g",
    "/\t",
    "/a\n",
]
ODD_PATHS = [
    "/a/...",
    "/.a",
    "/a b",
    "/\u00e9",
    "/\u65e5\u672c",
    "/a\uf900",
    "/a\uffef",
    "/a\u00a0",
    "/" + "n" * 300,
    "/...",
    "/zookeeper/x",
    "/zookeeper/quota/x",
    "/zookeeper/config/x",
    "/a\u2028",
    "/-",
    "/0000000000",
    "/%s",
]
SYSTEM_PATHS = ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config", ""]

IP_IDS = [
    "127.0.0.1",
    "127.0.0.1/8",
    "10.0.0.1",
    "127.0.0.1/33",
    "127.0.0.1/-1",
    "127.0.0.1/0",
    "0.0.0.0/0",
    "1.2.3",
    "",
    "1.2.3.4.5",
    "256.1.1.1",
    "1.2.3.4/",
    "/8",
    "1.2.3.4/8/8",
    "01.2.3.4",
    " 1.2.3.4",
    "::1",
    "0:0:0:0:0:0:0:1",
    "/",
    "fe80::1/64",
    "::1/129",
    "::",
    "1::2::3",
    "::ffff:127.0.0.1",
    "1.2.3.4/a",
    "+1.2.3.4",
    "1.2.3.4/+8",
    "localhost",
]
DIGEST_IDS = ["a", "a:", "a:b", ":b", ":", "::", "a:b:", "a:b:c", "", "a::b", ":a:b", ALICE, "alice:x"]
OTHER_IDS = [
    ("world", "anyone"),
    ("world", "any"),
    ("world", ""),
    ("world", "Anyone"),
    ("auth", ""),
    ("auth", "x"),
    ("auth", None),
    ("digest", None),
    ("ip", None),
    (None, "anyone"),
    ("", ""),
    ("super", ""),
    ("super", "admin"),
    ("sasl", "u"),
    ("x509", "CN=a"),
    ("nosuch", "x"),
    ("World", "anyone"),
    (None, None),
    ("world", "anyone "),
]
PERMS = [31, 31, 31, 1, 2, 4, 8, 16, 15, 0, -1, 32, 63, 2147483647]

# Beyond scope or defined: answered -6 and closed. Not here: 20 and -10, which Apache executes.
UNKNOWN_OPCODES = [0, -1, 10, 13, 23, 24, 99, 108, 109, 1000, -2, -9, -12, 2147483647, -2147483648]
BODY_OPCODES = [
    zk.CREATE,
    zk.CREATE2,
    zk.CREATE_CONTAINER,
    zk.CREATE_TTL,
    zk.DELETE,
    zk.EXISTS,
    zk.GET_DATA,
    zk.SET_DATA,
    zk.GET_ACL,
    zk.SET_ACL,
    zk.GET_CHILDREN,
    zk.GET_CHILDREN2,
    zk.SYNC,
    zk.MULTI,
    zk.MULTI_READ,
    zk.SET_WATCHES,
    zk.SET_WATCHES2,
    zk.ADD_WATCH,
    zk.CHECK_WATCHES,
    zk.REMOVE_WATCHES,
    zk.GET_EPHEMERALS,
    zk.GET_ALL_CHILDREN_NUMBER,
]

CREATES = (zk.CREATE, zk.CREATE2, zk.CREATE_CONTAINER, zk.CREATE_TTL)
TTLS = [1, 1000, 600000, 1099511627775, 1099511627776, 0, -1, -600000, 9223372036854775807, -9223372036854775808]

QUOTA = "/zookeeper/quota"
# What has quotas: nodes that come and go, one below another, one that never exists, and the quotas themselves.
LIMITED = ["/a", "/a", "/a/b", "/b", "/c", "/none", "/zookeeper"]
LIMITS = [
    b"count=-1,bytes=-1",
    b"count=3,bytes=-1",
    b"count=-1,bytes=20",
    b"count=-1,bytes=-1=;byteHardLimit=60;countHardLimit=4",
    b"count=2,bytes=5=;countHardLimit=6",
    b"count=2,bytes=5=;countHardLimit=3",
    b"byteHardLimit=30,countHardLimit=5",
    b"byteHardLimit=100",
    b"countHardLimit=0",
    b"",
    b"bytes=10=;;,count=5,",
]
STATS = [
    b"count=1,bytes=4",
    b"",
    b",;",
    b"count=7",
    b"bytes=-3=;z=1;a=2;count=+9",
    b"count==3,bytes=8=9",
    b"=5",
    b"count=9223372036854775807,bytes=-9223372036854775808",
    b"\xc3\xa9=1;\xff=2",
]


class World:
    """What exists, learnt from replies: path -> [version, aversion, owner]."""

    def __init__(self):
        self.nodes = {}

    def learn(self, op, path, reply):
        if reply.err == -101 and path in self.nodes:
            del self.nodes[path]
        if reply.err != 0:
            return
        body = reply.body
        if op in CREATES:
            path = body if op == zk.CREATE else body[0]
            # Random data in quota nodes would end Apache.
            if not path.startswith(QUOTA + "/"):
                self.nodes[path] = [0, 0, None]
        elif op == zk.DELETE:
            self.nodes.pop(path, None)
        elif op == zk.MULTI:
            for result in body:
                if result.type in CREATES:
                    self.learn(result.type, None, zk.Reply(0, 0, 0, result.body))
        elif op in (zk.SET_DATA, zk.SET_ACL, zk.EXISTS) and path in self.nodes:
            self.nodes[path] = [body.version, body.aversion, None]


class Generator:
    def __init__(self, rng, world):
        self.rng = rng
        self.world = world
        self.xid = 0
        self.kinds = self.table()

    def table(self):
        return [
            (14, self.create),
            (5, self.sequential),
            (6, self.create_kind),
            (14, self.quota),
            (9, self.delete),
            (8, self.exists),
            (9, self.get_data),
            (12, self.set_data),
            (5, self.get_acl),
            (6, self.set_acl),
            (5, self.get_children),
            (6, self.get_children2),
            (3, self.sync),
            (12, self.multi),
            (5, self.multi_read),
            (4, self.auth),
            (5, self.set_watches),
            (5, self.add_watch),
            (3, self.check_watches),
            (6, self.remove_watches),
            (3, self.who_am_i),
            (3, self.get_ephemerals),
            (3, self.all_children),
            (3, self.ping),
            (4, self.truncated),
            (2, self.garbage),
            (2, self.trailing),
            (1, self.unknown),
        ]

    def request(self):
        """One random request, with a fresh (mostly) xid."""
        weights = [weight for weight, _ in self.kinds]
        op, body, note, *flags = self.rng.choices(self.kinds, weights)[0][1]()
        fatal, alone = (flags + [False, False])[:2]
        return Request(self.next_xid(), op, body, note, fatal, alone)

    def next_xid(self):
        if self.rng.random() < 0.04:
            return self.rng.choice([0, 7, -3, -4, -8, 2147483647, -2147483648])
        self.xid += 1
        return self.xid

    # ---- ingredients

    def path(self, good=0.85):
        """A path that exists, might exist, or is wrong."""
        roll = self.rng.random()
        if roll < 0.55 and self.world.nodes:
            return self.rng.choice(sorted(self.world.nodes, key=str))
        if roll < good:
            return self.fresh_path()
        return self.rng.choice(self.rng.choice([BAD_PATHS, ODD_PATHS, SYSTEM_PATHS]))

    def fresh_path(self):
        parents = ["", ""] + [p for p in sorted(self.world.nodes) if p.count("/") < 3]
        return self.rng.choice(parents) + "/" + self.rng.choice(NAMES)

    def data(self):
        roll = self.rng.random()
        if roll < 0.1:
            return None
        if roll < 0.25:
            return b""
        if roll < 0.97:
            return self.rng.randbytes(self.rng.randrange(1, 40))
        return self.rng.randbytes(self.rng.choice([1000, 4096, 70000]))

    def version(self, path, which):
        roll = self.rng.random()
        if roll < 0.5:
            return -1
        if roll < 0.8 and path in self.world.nodes:
            return self.world.nodes[path][which]
        return self.rng.choice([0, 1, 2, 3, -2, 2147483647, -2147483648])

    def acl(self):
        roll = self.rng.random()
        if roll < 0.6:
            return OPEN
        if roll < 0.64:
            return self.rng.choice([None, []])
        if roll < 0.75:
            return [Acl(31, "auth", ""), Acl(1, "world", "anyone")]
        entries = [self.acl_entry() for _ in range(self.rng.randrange(1, 4))]
        if self.rng.random() < 0.2:
            entries.append(entries[0])
        if self.rng.random() < 0.6:
            entries.append(OPEN[0])
        return entries

    def acl_entry(self):
        perms = self.rng.choice(PERMS)
        roll = self.rng.random()
        if roll < 0.3:
            return Acl(perms, "ip", self.rng.choice(IP_IDS))
        if roll < 0.6:
            return Acl(perms, "digest", self.rng.choice(DIGEST_IDS))
        scheme, ident = self.rng.choice(OTHER_IDS)
        return Acl(perms, scheme, ident)

    def coin(self, chance=0.4):
        return self.rng.random() < chance

    # ---- requests: (op, body, note[, fatal[, alone]])

    def create(self):
        path = self.fresh_path() if self.coin(0.75) else self.path(0.5)
        flags = self.rng.choice([0, 0, 0, 0, 1, 1, 4, 5, 6, 7, -1, 8, 2147483647]) if self.coin(0.5) else 0
        op = self.rng.choice([zk.CREATE, zk.CREATE2])
        return op, zk.create(path, self.data(), self.acl(), flags), path

    def sequential(self):
        path = self.path(0.95)
        path = path + self.rng.choice(["", "/", "/s-", "s"]) if isinstance(path, str) else path
        op = self.rng.choice([zk.CREATE, zk.CREATE2])
        return op, zk.create(path, self.data(), self.acl(), self.rng.choice([2, 3])), path

    def create_kind(self):
        """A container or TTL node, mostly."""
        path = self.fresh_path() if self.coin(0.8) else self.path(0.5)
        if self.coin():
            flags = self.rng.choice([4, 4, 4, 0, 1, 2, 3, 5, 6, 7, -1])
            return zk.CREATE_CONTAINER, zk.create(path, self.data(), self.acl(), flags), path
        flags, ttl = self.rng.choice([5, 5, 5, 6, 6, 0, 1, 2, 4, 7]), self.ttl()
        return zk.CREATE_TTL, zk.create_ttl(path, self.data(), self.acl(), flags, self.survived(flags, ttl)), path

    def create_container(self):
        path = self.fresh_path()
        return zk.CREATE_CONTAINER, zk.create(path, self.data(), self.acl(), 4), path

    def ttl(self):
        return self.rng.choice([1, 1000, 600000]) if self.coin(0.6) else self.rng.choice(TTLS)

    def survived(self, flags, ttl):
        """Apache does not survive a negative one with other flags."""
        return ttl if flags in (5, 6) else abs(ttl) % (1 << 62)

    def quota(self):
        """Something about the limits or the statistics of a quota."""
        of = QUOTA + self.rng.choice(LIMITED)
        roll = self.rng.random()
        if roll < 0.2:
            return zk.CREATE, zk.create(of, self.data()), of
        node = f"{of}/zookeeper_{'limits' if self.coin(0.5) else 'stats'}"
        texts = LIMITS if node.endswith("limits") else STATS
        if roll < 0.5:
            op = self.rng.choice([zk.CREATE, zk.CREATE2])
            return op, zk.create(node, self.rng.choice(texts)), node
        if roll < 0.75:
            return zk.GET_DATA, zk.path_watch(node, self.coin()), node
        if roll < 0.95:
            return zk.SET_DATA, zk.set_data(node, self.rng.choice(texts)), node
        return zk.DELETE, zk.path_version(node), node

    def first_quotas(self):
        """Some that are there from the beginning."""
        for path in dict.fromkeys(LIMITED[:4]):
            of = QUOTA + path
            yield zk.create(of), of
            for name, text in (("limits", self.rng.choice(LIMITS)), ("stats", b"")):
                node = f"{of}/zookeeper_{name}"
                yield zk.create(node, text), node

    def delete(self):
        path = self.path()
        return zk.DELETE, zk.path_version(path, self.version(path, 0)), path

    def exists(self):
        path = self.path()
        return zk.EXISTS, zk.path_watch(path, self.coin()), path

    def get_data(self):
        path = self.path()
        return zk.GET_DATA, zk.path_watch(path, self.coin()), path

    def set_data(self):
        path = self.path()
        return zk.SET_DATA, zk.set_data(path, self.data(), self.version(path, 0)), path

    def get_acl(self):
        path = self.path()
        return zk.GET_ACL, zk.path_only(path), path

    def set_acl(self):
        path = self.path()
        # A locked root would end the run's usefulness, so that one only ever gets lists that leave it open.
        acl = (
            self.rng.choice([OPEN, None, [], [OPEN[0], Acl(1, "ip", "10.0.0.1")]])
            if path in ("/", "")
            else self.acl()
        )
        return zk.SET_ACL, zk.set_acl(path, acl, self.version(path, 1)), path

    def get_children(self):
        path = self.path()
        return zk.GET_CHILDREN, zk.path_watch(path, self.coin()), path

    def get_children2(self):
        path = self.path()
        return zk.GET_CHILDREN2, zk.path_watch(path, self.coin()), path

    def sync(self):
        path = self.path(0.5)
        return zk.SYNC, zk.path_only(path), path

    def multi(self):
        subs = [self.sub_write() for _ in range(self.rng.randrange(0, 6))]
        roll = self.rng.random()
        if roll < 0.1 and subs:
            subs[self.rng.randrange(len(subs))] = self.sub_wrong()
        return zk.MULTI, zk.multi(subs, end=roll < 0.97), f"types {[s[0] for s in subs]}"

    def sub_write(self):
        path = self.path(0.97)
        kind = self.rng.choice(
            [zk.CREATE, zk.CREATE, zk.CREATE2, zk.SET_DATA, zk.SET_DATA, zk.DELETE, zk.CHECK, zk.CREATE_TTL]
        )
        if kind in CREATES:
            path = self.fresh_path()
            acl = self.acl() if self.coin(0.3) else OPEN
            if kind == zk.CREATE_TTL:
                flags = self.rng.choice([5, 5, 6, 6, 4, 0, 1, 2, 3, 7])
                return kind, zk.create_ttl(path, self.data(), acl or OPEN, flags, self.ttl())
            if self.coin(0.1):
                kind = zk.CREATE_CONTAINER
            return kind, zk.create(path, self.data(), acl or OPEN, self.rng.choice([0, 0, 0, 1, 2, 3, 4]))
        if kind == zk.SET_DATA and self.coin(0.1):
            node = f"{QUOTA}{self.rng.choice(LIMITED)}/zookeeper_stats"
            return kind, zk.set_data(node, self.rng.choice(STATS))
        if kind == zk.SET_DATA:
            return kind, zk.set_data(path, self.data(), self.version(path, 0))
        return kind, zk.path_version(path, self.version(path, 0))

    def sub_wrong(self):
        return self.rng.choice(
            [
                (zk.GET_DATA, zk.path_watch("/a")),
                (zk.GET_CHILDREN, zk.path_watch("/a")),
                (zk.EXISTS, zk.path_watch("/a")),
                (zk.SET_ACL, zk.set_acl("/a", OPEN)),
                (zk.SYNC, zk.path_only("/a")),
                (zk.CREATE, zk.create("/a", b"", None)),
                (zk.CREATE, zk.create("/a", b"", OPEN, 99)),
                (zk.CREATE, zk.create("/a", b"", OPEN, 5)),
                (zk.CREATE, zk.create("/a", b"", [])),
                (zk.DELETE, zk.path_version(None)),
                (zk.SET_DATA, zk.set_data(None, b"")),
                (zk.CHECK, zk.path_version(None)),
                (zk.CREATE, zk.create(None)),
                (zk.PING, b""),
                (zk.MULTI, zk.multi([])),
                (zk.GET_CHILDREN2, zk.path_watch("/a")),
                (1000, b""),
                (0, b""),
                (-1, zk.i32(-1)),
            ]
        )

    def multi_read(self):
        subs = []
        for _ in range(self.rng.randrange(0, 6)):
            kind = self.rng.choice([zk.GET_DATA, zk.GET_CHILDREN])
            subs.append((kind, zk.path_watch(self.path(), self.coin())))
        if subs and self.coin(0.08):
            subs[self.rng.randrange(len(subs))] = self.rng.choice(
                [
                    (zk.EXISTS, zk.path_watch("/a")),
                    (zk.CREATE, zk.create("/a")),
                    (zk.DELETE, zk.path_version("/a")),
                    (zk.GET_DATA, zk.path_watch(None)),
                    (zk.GET_CHILDREN2, zk.path_watch("/a")),
                    (77, b""),
                ]
            )
        return zk.MULTI_READ, zk.multi(subs, end=not self.coin(0.03)), f"types {[s[0] for s in subs]}"

    def auth(self):
        if self.coin(0.8):
            data = self.rng.choice([b"alice:secret", b"bob:secret", b"nocolon", b"", b"a:b:c", b":x"])
            scheme, data = self.rng.choice([("digest", data), ("digest", data), ("ip", b""), ("ip", None)])
            return zk.AUTH, zk.auth_packet(scheme, data), f"{scheme} {data}", False, True
        scheme, data = self.rng.choice(
            [
                ("nosuch", b""),
                ("world", b"anyone"),
                ("auth", b""),
                ("super", b"x"),
                (None, b""),
                ("digest", None),
                ("", b""),
                ("Digest", b"a:b"),
                ("x509", b"CN=a"),
            ]
        )
        return zk.AUTH, zk.auth_packet(scheme, data), f"{scheme} {data}", True, True

    def set_watches(self):
        op, counts = self.rng.choice([(zk.SET_WATCHES, [4, 4, 4]), (zk.SET_WATCHES2, [3, 3, 3, 2, 2])])
        lists = [[self.watched_path() for _ in range(self.rng.randrange(count))] for count in counts]
        if self.coin(0.05):
            lists[self.rng.randrange(len(lists))] = None
        zxid = self.rng.choice([0, -1, self.rng.randrange(0, 3000), self.rng.randrange(0, 3000), 1 << 40])
        return op, zk.set_watches2(zxid, *lists), f"since {zxid}: {lists}"

    def watched_path(self):
        """Any path, and now and then one that much is below."""
        return self.rng.choice(["/", "/a", "/b"]) if self.coin(0.1) else self.path()

    def add_watch(self):
        path = self.watched_path()
        mode = self.rng.choice([0, 1]) if self.coin(0.95) else self.rng.choice([-1, 2, 3, 2147483647])
        return zk.ADD_WATCH, zk.path_watcher(path, mode), f"{path} mode {mode}"

    def check_watches(self):
        path, kind = self.watched_path(), self.watcher_type()
        return zk.CHECK_WATCHES, zk.path_watcher(path, kind), f"{path} type {kind}"

    def remove_watches(self):
        path, kind = self.watched_path(), self.watcher_type()
        return zk.REMOVE_WATCHES, zk.path_watcher(path, kind), f"{path} type {kind}"

    def watcher_type(self):
        return self.rng.randrange(1, 6) if self.coin(0.97) else self.rng.choice([0, -1, 6, 2147483647])

    def who_am_i(self):
        return zk.WHO_AM_I, b"", ""

    def get_ephemerals(self):
        prefix = self.rng.choice(["/", "", "/a", "/b", "/a/b", "x", None, "/a/"])
        return zk.GET_EPHEMERALS, zk.path_only(prefix), prefix

    def all_children(self):
        path = self.path()
        return zk.GET_ALL_CHILDREN_NUMBER, zk.path_only(path), path

    def ping(self):
        return zk.PING, b"", ""

    def truncated(self):
        op, body, note = self.well_formed()
        return op, body[: self.rng.randrange(0, max(1, len(body)))], f"cut: {note}"

    def trailing(self):
        op, body, note = self.well_formed()
        return op, body + self.rng.randbytes(self.rng.randrange(1, 9)), f"longer: {note}"

    def garbage(self):
        op = self.rng.choice(BODY_OPCODES)
        wrong = self.rng.choice(
            [
                self.rng.randbytes(self.rng.randrange(0, 40)),
                zk.i32(-2) * 6,
                zk.i32(2147483647) * 6,
                zk.i32(-1) * 12,
                zk.ustr("/a") + zk.i32(-2147483648) * 4,
                zk.ustr("/a") + zk.buf(b"") + zk.i32(-7) + zk.i32(0),
                zk.ustr("/a") + zk.buf(b"") + zk.i32(2000000000) + zk.i32(0),
            ]
        )
        return op, wrong, f"garbage {wrong.hex()}"

    def well_formed(self):
        kinds = [
            self.create,
            self.sequential,
            self.create_container,
            self.delete,
            self.exists,
            self.get_data,
            self.set_data,
            self.get_acl,
            self.get_children,
            self.get_children2,
            self.sync,
            self.multi,
            self.multi_read,
            self.set_watches,
            self.add_watch,
            self.check_watches,
            self.remove_watches,
            self.all_children,
        ]
        return self.rng.choice(kinds)()

    def unknown(self):
        op = self.rng.choice(UNKNOWN_OPCODES)
        return (
            op,
            self.rng.choice([b"", zk.path_version("/a"), zk.create("/a")]),
            "unknown opcode",
            True,
            True,
        )
