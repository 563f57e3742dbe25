"""Raw frames of the client port: every request can be written, well-formed or not, and every reply is decoded strictly.

A reply that is shorter or longer than its record, or holds an impossible length, raises `Malformed`: a server that
sends one is wrong whatever the test asked for.
"""

import os
import re
import socket
import struct
from collections import namedtuple

CREATE, DELETE, EXISTS, GET_DATA, SET_DATA, GET_ACL, SET_ACL, GET_CHILDREN, SYNC = 1, 2, 3, 4, 5, 6, 7, 8, 9
PING, GET_CHILDREN2, CHECK, MULTI, CREATE2, RECONFIG, CHECK_WATCHES, REMOVE_WATCHES = (
    11,
    12,
    13,
    14,
    15,
    16,
    17,
    18,
)
CREATE_CONTAINER, DELETE_CONTAINER, CREATE_TTL, MULTI_READ = 19, 20, 21, 22
AUTH, SET_WATCHES, SASL, GET_EPHEMERALS, GET_ALL_CHILDREN_NUMBER = 100, 101, 102, 103, 104
SET_WATCHES2, ADD_WATCH, WHO_AM_I = 105, 106, 107
CREATE_SESSION, CLOSE_SESSION = -10, -11

NOTIFICATION_XID, PING_XID, AUTH_XID, SET_WATCHES_XID = -1, -2, -4, -8

EVENT_NAMES = {1: "NodeCreated", 2: "NodeDeleted", 3: "NodeDataChanged", 4: "NodeChildrenChanged"}

Stat = namedtuple(
    "Stat",
    "czxid mzxid ctime mtime version cversion aversion ephemeralOwner dataLength numChildren pzxid",
)
Acl = namedtuple("Acl", "perms scheme id")
Event = namedtuple("Event", "zxid type state path")
Reply = namedtuple("Reply", "xid zxid err body")  # body: decoded by op; bytes when err != 0
Connected = namedtuple("Connected", "timeout session_id passwd read_only")  # read_only None: byte absent
SubResult = namedtuple("SubResult", "type err body")

OPEN_ACL = (Acl(31, "world", "anyone"),)


class Closed(Exception):
    """The server closed the connection (or reset it)."""


class Malformed(Exception):
    """The server sent bytes that are no legal reply."""


class Silent(Exception):
    """The server neither answered nor closed in time."""


# ---- writing ----------------------------------------------------------------------------------------------------


def i32(value):
    return struct.pack(">i", value)


def i64(value):
    return struct.pack(">q", value)


def boolean(value):
    return b"\x01" if value else b"\x00"


def buf(value):
    """A jute buffer; None is null."""
    return i32(-1) if value is None else i32(len(value)) + value


def ustr(value):
    """A jute string; None is null; bytes go out as they are, so that wrong UTF-8 can be sent."""
    if value is None:
        return i32(-1)
    return buf(value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass"))


def vec(items, encode):
    return i32(-1) if items is None else i32(len(items)) + b"".join(map(encode, items))


def acl_entry(acl):
    return i32(acl.perms) + ustr(acl.scheme) + ustr(acl.id)


def acls(items):
    return vec(items, acl_entry)


def create(path, data=b"", acl=OPEN_ACL, flags=0):
    return ustr(path) + buf(data) + acls(acl) + i32(flags)


def create_ttl(path, data, acl, flags, ttl):
    return create(path, data, acl, flags) + i64(ttl)


def path_version(path, version=-1):
    """delete and check."""
    return ustr(path) + i32(version)


def path_watch(path, watch=False):
    """exists, getData, getChildren, getChildren2."""
    return ustr(path) + boolean(watch)


def set_data(path, data, version=-1):
    return ustr(path) + buf(data) + i32(version)


def set_acl(path, acl, version=-1):
    return ustr(path) + acls(acl) + i32(version)


def path_only(path):
    """getACL, sync, getEphemerals, getAllChildrenNumber."""
    return ustr(path)


def auth_packet(scheme, data):
    return i32(0) + ustr(scheme) + buf(data)


def set_watches(relative_zxid, data, exist, child):
    return i64(relative_zxid) + vec(data, ustr) + vec(exist, ustr) + vec(child, ustr)


def set_watches2(relative_zxid, *lists):
    """The five lists: data, exist, child, persistent, persistent recursive."""
    return i64(relative_zxid) + b"".join(vec(paths, ustr) for paths in lists)


def path_watcher(path, code):
    """addWatch with a mode, checkWatches and removeWatches with a type of watcher."""
    return ustr(path) + i32(code)


def multi(subs, end=True):
    """`subs`: (type, record bytes) each; without `end` the terminator is missing."""
    body = b"".join(multi_header(kind, False, -1) + record for kind, record in subs)
    return body + (multi_header(-1, True, -1) if end else b"")


def multi_header(kind, done, err):
    return i32(kind) + boolean(done) + i32(err)


def request(xid, op, body=b""):
    return i32(xid) + i32(op) + body


def connect_request(timeout, session_id=0, passwd=b"\0" * 16, last_zxid=0, read_only=False, protocol=0):
    """read_only None leaves the byte out, as old clients do."""
    body = i32(protocol) + i64(last_zxid) + i32(timeout) + i64(session_id) + buf(passwd)
    return body if read_only is None else body + boolean(read_only)


def frame(payload):
    return i32(len(payload)) + payload


# ---- reading ----------------------------------------------------------------------------------------------------


class Reader:
    """Reads jute values from one frame; `end` insists that nothing is left."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, count):
        if count < 0 or self.at + count > len(self.data):
            raise Malformed(f"{count} bytes wanted at {self.at} of {len(self.data)}: {self.data.hex()}")
        self.at += count
        return self.data[self.at - count : self.at]

    def i32(self):
        return struct.unpack(">i", self.take(4))[0]

    def i64(self):
        return struct.unpack(">q", self.take(8))[0]

    def boolean(self):
        value = self.take(1)[0]
        if value > 1:
            raise Malformed(f"boolean byte {value}: {self.data.hex()}")
        return value == 1

    def buf(self):
        length = self.i32()
        return None if length == -1 else self.take(length)

    def ustr(self):
        value = self.buf()
        if value is None:
            return None
        return value.decode("utf-8", "backslashreplace")

    def vec(self, item):
        count = self.i32()
        if count < 0:
            raise Malformed(f"vector count {count}: replies hold no null vectors")
        return [item() for _ in range(count)]

    def stat(self):
        return Stat(*struct.unpack(">qqqqiiiqiiq", self.take(68)))

    def acl(self):
        return Acl(self.i32(), self.ustr(), self.ustr())

    def end(self):
        if self.at != len(self.data):
            raise Malformed(f"{len(self.data) - self.at} bytes too many: {self.data.hex()}")


def decode_body(op, r):
    """The response record of a successful reply to `op`."""
    if op == CREATE:
        return r.ustr()
    if op in (CREATE2, CREATE_CONTAINER, CREATE_TTL):
        return (r.ustr(), r.stat())
    if op in (EXISTS, SET_DATA, SET_ACL):
        return r.stat()
    if op in (GET_DATA, RECONFIG):
        return (r.buf(), r.stat())
    if op == GET_ACL:
        return (r.vec(r.acl), r.stat())
    if op == GET_CHILDREN:
        return r.vec(r.ustr)
    if op == GET_CHILDREN2:
        return (r.vec(r.ustr), r.stat())
    if op == SYNC:
        return r.ustr()
    if op in (MULTI, MULTI_READ):
        return decode_multi(r)
    if op == GET_EPHEMERALS:
        return r.vec(r.ustr)
    if op in (GET_ALL_CHILDREN_NUMBER, ADD_WATCH):
        return r.i32()
    if op == WHO_AM_I:
        return r.vec(lambda: (r.ustr(), r.ustr()))
    if op == SASL:
        return r.buf()
    return None


def decode_multi(r):
    results = []
    while True:
        kind, done, err = r.i32(), r.boolean(), r.i32()
        if done:
            if (kind, err) != (-1, -1):
                raise Malformed(f"multi ends with type {kind}, err {err}")
            return results
        results.append(SubResult(kind, err, r.i32() if kind == -1 else decode_body(kind, r)))


def decode_event(zxid, r):
    event = Event(zxid, r.i32(), r.i32(), r.ustr())
    r.end()
    return event


def decode_connected(payload):
    r = Reader(payload)
    protocol, timeout, session_id, passwd = r.i32(), r.i32(), r.i64(), r.buf()
    if protocol != 0 or passwd is None or len(passwd) != 16:
        raise Malformed(f"connect reply {payload.hex()}")
    read_only = r.boolean() if r.at < len(payload) else None
    r.end()
    return Connected(timeout, session_id, passwd, read_only)


# ---- a connection -----------------------------------------------------------------------------------------------


class Conn:
    """One TCP connection. Nothing is sent or retried unless the test says so."""

    def __init__(self, port, host="127.0.0.1", wait=10.0):
        self.sock = socket.create_connection((host, port), timeout=wait)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pending = bytearray()
        self.connected = None
        self.last_zxid = 0

    def send(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as broken:
            raise Closed(str(broken)) from broken

    def send_request(self, xid, op, body=b""):
        self.send(frame(request(xid, op, body)))

    def wait(self, seconds):
        self.sock.settimeout(seconds)

    def read_bytes(self, count):
        while len(self.pending) < count:
            try:
                chunk = self.sock.recv(65536)
            except TimeoutError as late:
                raise Silent(f"{len(self.pending)} of {count} bytes") from late
            except ConnectionResetError as broken:
                raise Closed("reset") from broken
            if not chunk:
                if self.pending:
                    raise Malformed(f"closed inside a frame: {bytes(self.pending).hex()}")
                raise Closed("end of stream")
            self.pending += chunk
        data = bytes(self.pending[:count])
        del self.pending[:count]
        return data

    def read_frame(self):
        length = struct.unpack(">i", self.read_bytes(4))[0]
        if length < 0:
            raise Malformed(f"frame length {length}")
        return self.read_bytes(length)

    def handshake(self, timeout=30000, **fields):
        """Sends a ConnectRequest and returns what came back (also a refusal with zeros)."""
        self.send(frame(connect_request(timeout, **fields)))
        self.connected = decode_connected(self.read_frame())
        return self.connected

    def read_reply(self, op):
        """The next frame: an Event, or the Reply, decoded as one to `op`."""
        r = Reader(self.read_frame())
        xid, zxid, err = r.i32(), r.i64(), r.i32()
        if xid == NOTIFICATION_XID:
            if err != 0:
                raise Malformed(f"event with err {err}")
            return decode_event(zxid, r)
        if zxid > 0:
            self.last_zxid = zxid
        if err != 0:
            return Reply(xid, zxid, err, r.take(len(r.data) - r.at))
        body = decode_body(op, r)
        r.end()
        return Reply(xid, zxid, err, body)

    def call(self, xid, op, body=b"", events=None):
        """Sends one request and returns its reply; events that come first go to `events`."""
        self.send_request(xid, op, body)
        while True:
            got = self.read_reply(op)
            if isinstance(got, Reply):
                return got
            if events is not None:
                events.append(got)

    def expect_end(self):
        """True when the server closed without sending anything more."""
        try:
            self.read_bytes(1)
        except Closed:
            return True
        except Silent:
            return False
        return False

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def drop(self):
        self.sock.close()


def session(port, timeout=30000, host="127.0.0.1", **fields):
    """A connection with a session on it."""
    conn = Conn(port, host)
    conn.handshake(timeout, **fields)
    return conn


def four_letter_word(port, word, wait=10.0, host="127.0.0.1"):
    """The whole text a four-letter word yields."""
    with socket.create_connection((host, port), timeout=wait) as sock:
        sock.sendall(word.encode() if isinstance(word, str) else word)
        text = b""
        try:
            while chunk := sock.recv(65536):
                text += chunk
        except ConnectionResetError:
            pass
    return text.decode()


def srvr_field(port, name):
    """One line of `srvr`, for instance `Connections`."""
    found = re.search(rf"^{name}: (.*)$", four_letter_word(port, "srvr"), re.M)
    return found.group(1) if found else None


# ---- whole trees ------------------------------------------------------------------------------------------------

SUPER_PASSWORD = b"super:admin"
SUPER_DIGEST = "super:xQJmxLMiHGwaqBvst5y6rkB6HQs="


def become_super(conn):
    reply = conn.call(AUTH_XID, AUTH, auth_packet("digest", SUPER_PASSWORD))
    if reply.err != 0:
        raise Malformed(f"super was refused: {reply}")


def dump_tree(conn):
    """Every node as path -> (data, Stat, ACL list), by a connection that may read all (`become_super`)."""
    nodes, todo, xid = {}, ["/"], 1
    while todo:
        # So many at a time that requests and replies fit into the sockets.
        batch, todo = todo[:100], todo[100:]
        requests = [
            frame(request(xid + at, op, body))
            for at, (op, body) in enumerate(
                pair
                for path in batch
                for pair in (
                    (GET_CHILDREN2, path_watch(path)),
                    (GET_DATA, path_watch(path)),
                    (GET_ACL, path_only(path)),
                )
            )
        ]
        conn.send(b"".join(requests))
        xid += len(requests)
        for path in batch:
            below, data, acl = (conn.read_reply(op) for op in (GET_CHILDREN2, GET_DATA, GET_ACL))
            if below.err or data.err or acl.err:
                raise Malformed(f"{path}: {below}, {data}, {acl}")
            if not below.body[1] == data.body[1] == acl.body[1]:
                raise Malformed(f"{path}: three different Stats {below}, {data}, {acl}")
            nodes[path] = (data.body[0], data.body[1], acl.body[0])
            todo += [path.rstrip("/") + "/" + name for name in below.body[0]]
    return nodes


def seed_from(argument):
    """A seed from the command line, or a fresh one."""
    return argument if argument is not None else int.from_bytes(os.urandom(4), "big")
