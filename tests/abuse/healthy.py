"""A well-behaved client that goes on all the time and notices every wrong or missing answer."""

import threading

import zkwire as zk
from zkwire import Reply

PATIENCE = 10.0  # seconds; correctness, not speed


class Healthy(threading.Thread):
    def __init__(self, port):
        super().__init__(daemon=True)
        self.port = port
        self.rounds = 0
        self.fault = None
        self.ending = threading.Event()

    def run(self):
        try:
            self.work()
        except (zk.Closed, zk.Malformed, zk.Silent, OSError, AssertionError) as odd:
            self.fault = repr(odd)

    def work(self):
        conn = zk.Conn(self.port, wait=PATIENCE)
        conn.handshake(60000)
        self.call(conn, zk.CREATE, zk.create("/healthy"))
        while not self.ending.is_set():
            value = b"%d" % self.rounds
            version = self.call(conn, zk.SET_DATA, zk.set_data("/healthy", value)).body.version
            self.same(version, self.rounds + 1)
            self.same(self.call(conn, zk.GET_DATA, zk.path_watch("/healthy", True)).body[0], value)
            self.call(conn, zk.CREATE, zk.create("/healthy/e", flags=1))
            self.same(self.call(conn, zk.GET_CHILDREN, zk.path_watch("/healthy")).body, ["e"])
            self.call(conn, zk.DELETE, zk.path_version("/healthy/e"))
            self.rounds += 1
            self.ending.wait(0.01)
        conn.call(9, zk.CLOSE_SESSION)

    def call(self, conn, op, body):
        events = []
        reply = conn.call(self.rounds * 8 + 1, op, body, events)
        if not isinstance(reply, Reply) or reply.err or reply.xid != self.rounds * 8 + 1:
            raise AssertionError(f"op {op}: {reply}")
        wanted = [(3, "/healthy")] if op == zk.SET_DATA and self.rounds else []
        self.same([(event.type, event.path) for event in events], wanted)
        return reply

    def same(self, got, wanted):
        if got != wanted:
            raise AssertionError(f"round {self.rounds}: {got!r}, expected {wanted!r}")
