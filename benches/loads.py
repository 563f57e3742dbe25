"""Loads that zkload has not: trees by multis, requests as fast as they go, and an open loop that tells times.

Frames are made before the clock runs and replies have a known size, so that Python costs little beside the server.
"""

import multiprocessing
import random
import selectors
import socket
import struct
import threading
import time
from array import array

from side_by_side import zk

A_MULTI = 1000  # creates
MULTIS_IN_FLIGHT = 4
# Sizes of replies, with the length in front.
DELETED, STAT = 20, 88


class Names:
    """Paths of a tree with a thousand znodes to a parent, each component `width` characters, under `above`."""

    def __init__(self, above="", width=7):
        self.above = above
        self.width = width

    def parent(self, number):
        return f"{self.above}/{number:0{self.width}}"

    def path(self, index):
        return f"{self.parent(index // A_MULTI)}/{index % A_MULTI:0{self.width}}"


def multi_of(parent, names, data, first=b""):
    """The body of a multi that creates these names in a parent; `first` is a sub-request before them."""
    path_len = len(parent) + 1 + len(names[0])
    before = zk.multi_header(zk.CREATE, False, -1) + zk.i32(path_len) + parent.encode() + b"/"
    behind = zk.buf(data) + zk.acls(zk.OPEN_ACL) + zk.i32(0)
    return first + before + (behind + before).join(names) + behind + zk.multi_header(-1, True, -1)


def send_multis(conn, bodies):
    """Sends multis, a few in flight. Whether they succeeded is seen by the number of nodes."""
    flying = 0
    for xid, body in enumerate(bodies, 1):
        conn.send_request(xid, zk.MULTI, body)
        flying += 1
        if flying == MULTIS_IN_FLIGHT:
            conn.read_frame()
            flying -= 1
    for _ in range(flying):
        conn.read_frame()


def fill(port, names, count, data, host="127.0.0.1"):
    """Creates the first `count` paths of `names`, and their parents; the number of nodes that the server has then."""
    conn = zk.session(port, host=host)
    conn.wait(60)
    above = names.above.split("/")[1:]
    for depth in range(len(above)):
        conn.call(depth, zk.CREATE, zk.create("/" + "/".join(above[: depth + 1])))
    children = [f"{index:0{names.width}}".encode() for index in range(A_MULTI)]

    def bodies():
        for number in range((count + A_MULTI - 1) // A_MULTI):
            parent = names.parent(number)
            first = zk.multi_header(zk.CREATE, False, -1) + zk.create(parent)
            yield multi_of(parent, children[: count - number * A_MULTI], data, first)

    send_multis(conn, bodies())
    return finish_fill(conn, port, host, count)


def fill_parent(port, parent, count, data, host="127.0.0.1"):
    """Creates a parent with `count` children, named by 7 digits."""
    conn = zk.session(port, host=host)
    conn.wait(60)
    conn.call(1, zk.CREATE, zk.create(parent))
    starts = range(0, count, A_MULTI)
    numbers = ([f"{n:07}".encode() for n in range(at, min(at + A_MULTI, count))] for at in starts)
    send_multis(conn, (multi_of(parent, names, data) for names in numbers))
    return finish_fill(conn, port, host, count)


def finish_fill(conn, port, host, count):
    conn.drop()
    text = zk.four_letter_word(port, "srvr", host=host)
    nodes = int(text.partition("Node count: ")[2].split()[0])
    assert nodes > count, f"{nodes} nodes after {count} creates"
    return nodes


# ---- as fast as they go


def pump(port, op, bodies, reply_bytes, conns=4):
    """Sends all requests over a few connections without waiting for replies; the seconds until the last reply.

    Every reply must be a success of `reply_bytes`, with the length in front.
    """
    parts = [bodies[at::conns] for at in range(conns)]
    sessions = [zk.session(port) for _ in parts]
    frames = [b"".join(zk.frame(zk.request(xid, op, body)) for xid, body in enumerate(part, 1)) for part in parts]
    begin = time.monotonic()
    threads = []
    replies = [bytearray(len(part) * reply_bytes) for part in parts]
    for conn, blob, into in zip(sessions, frames, replies):
        conn.wait(120)
        threads.append(threading.Thread(target=conn.sock.sendall, args=(blob,)))
        threads.append(threading.Thread(target=receive, args=(conn.sock, memoryview(into))))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - begin
    for conn, blob in zip(sessions, replies):
        conn.drop()
        for at in range(16, 20):
            errors = len(blob[at::reply_bytes]) - blob[at::reply_bytes].count(0)
            assert errors == 0, f"{errors} requests failed; the first reply is {blob[:reply_bytes].hex()}"
    return took


def receive(sock, into):
    while into:
        got = sock.recv_into(into)
        if got == 0:
            return
        into = into[got:]


# ---- an open loop


class OpenLoop:
    """Sets random paths at a steady rate, in a process of its own, from `start` until `stop`.

    `path` turns a random number below `count` into a path. Latency counts from the moment a request was due.
    """

    def __init__(self, address, rate, path, count, data=b"y" * 100, conns=16):
        self.address, self.rate, self.path, self.count, self.data = address, rate, path, count, data
        self.conns = conns
        fork = multiprocessing.get_context("fork")
        self.ending = fork.Event()
        self.mine, theirs = fork.Pipe()
        self.process = fork.Process(target=self._run, args=(theirs,), daemon=True)

    def start(self):
        self.process.start()
        return self

    def stop(self):
        """The samples: (when it was due, in seconds of the wall clock; latency in seconds)."""
        self.ending.set()
        due, took = self.mine.recv()
        self.process.join()
        return list(zip(due, took))

    def _run(self, theirs):
        rng = random.Random(1)
        host, port = self.address
        lines = [Line(host, port) for _ in range(self.conns)]
        poll = selectors.DefaultSelector()
        for line in lines:
            poll.register(line.sock, selectors.EVENT_READ, line)
        due, took = array("d"), array("d")
        begin, issued = time.time(), 0
        while not self.ending.is_set():
            now = time.time()
            while begin + issued / self.rate <= now:
                path = self.path(rng.randrange(self.count))
                lines[issued % self.conns].set(path, self.data, begin + issued / self.rate)
                issued += 1
            for key, _ in poll.select(max(0, begin + issued / self.rate - time.time())):
                key.data.read(due, took)
        # What is not answered by now took at least so long.
        now = time.time()
        for line in lines:
            for at in line.waiting:
                due.append(at)
                took.append(now - at)
        theirs.send((due, took))


class Line:
    """One connection of an open loop."""

    def __init__(self, host, port):
        self.conn = zk.session(port, host=host)
        self.sock = self.conn.sock
        self.sock.setblocking(False)
        self.xid = 0
        self.waiting = []
        self.pending = b""

    def set(self, path, data, due):
        self.xid += 1
        self.waiting.append(due)
        frame = zk.frame(zk.request(self.xid, zk.SET_DATA, zk.set_data(path, data)))
        # The send buffer is far larger than what this rate can pile up there.
        assert self.sock.send(frame) == len(frame)

    def read(self, due, took):
        self.pending += self.sock.recv(65536)
        now, at = time.time(), 0
        while len(self.pending) - at >= STAT:
            length, _, _, error = struct.unpack_from(">iiqi", self.pending, at)
            assert (length + 4, error) == (STAT, 0), f"a set failed: {error}"
            at += STAT
            begin = self.waiting.pop(0)
            due.append(begin)
            took.append(now - begin)
        self.pending = self.pending[at:]


def quantile(values, share):
    """The smallest value that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def loopback_seconds(count):
    """How long so many bytes take from one process to another over loopback."""
    listener = socket.create_server(("127.0.0.1", 0))

    def send():
        chunk = bytes(262144)
        with socket.create_connection(listener.getsockname()) as sock:
            for _ in range(0, count, len(chunk)):
                sock.sendall(chunk)

    sender = multiprocessing.get_context("fork").Process(target=send, daemon=True)
    begin = time.monotonic()
    sender.start()
    conn, _ = listener.accept()
    into = bytearray(262144)
    while conn.recv_into(into):
        pass
    took = time.monotonic() - begin
    sender.join()
    return took
