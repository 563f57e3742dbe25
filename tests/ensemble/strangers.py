"""What strangers send to the ports of the peers: packets of both ports, and connections from addresses of their own."""

import itertools
import socket
import struct

from cluster import zk

REQUEST, PROPOSAL, ACK, COMMIT, PING, REVALIDATE, SYNC, INFORM, COMMIT_AND_ACTIVATE, NEW_LEADER = range(1, 11)
FOLLOWER_INFO, UP_TO_DATE, DIFF, TRUNC, SNAP, OBSERVER_INFO, LEADER_INFO, ACK_EPOCH = range(11, 19)
PROTOCOL = 0x10000
LOOKING, FOLLOWING, LEADING, OBSERVING = range(4)

_addresses = itertools.count(1)


def own_address():
    """A loopback address that nobody else has; the log shows by it who was meant."""
    number = next(_addresses)
    return f"127.255.{number // 250}.{number % 250 + 1}"


# ---- the quorum port


def packet(kind, zxid=0, data=None):
    return zk.i32(kind) + zk.i64(zxid) + zk.buf(data) + zk.i32(-1)


def learner_info(kind, server, epoch=0, config_version=0):
    data = zk.i64(server) + zk.i32(PROTOCOL) + zk.i64(config_version)
    return packet(kind, epoch << 32, data)


def transaction(zxid, path):
    """The data of a PROPOSAL that creates a node."""
    header = zk.i64(0x1234) + zk.i32(1) + zk.i64(zxid) + zk.i64(1) + zk.i32(zk.CREATE)
    return header + zk.ustr(path) + zk.buf(b"stranger") + zk.acls(zk.OPEN_ACL) + zk.boolean(False) + zk.i32(1)


# ---- the election port


def handshake(server, address="127.0.0.1:3888", length=None):
    text = address.encode()
    return zk.i64(-65536) + zk.i64(server) + zk.i32(len(text) if length is None else length) + text


def notification(state, leader, zxid, election_epoch, peer_epoch, config=b"server.99=127.0.0.1:2888:3888:participant\nversion=0"):
    body = zk.i32(state) + zk.i64(leader) + zk.i64(zxid) + zk.i64(election_epoch) + zk.i64(peer_epoch)
    return zk.frame(body + zk.i32(2) + zk.buf(config))


class Stranger:
    """One connection to a port of a member, from an address of its own."""

    def __init__(self, member, port, address=None):
        self.member = member
        self.address = address or own_address()
        self.sock = socket.create_connection((member.host, port), 10, (self.address, 0))
        self.pending = b""

    def send(self, data):
        """Whether it could be sent; a server that closes early is right."""
        try:
            self.sock.sendall(data)
            return True
        except OSError:
            return False

    def closed(self, seconds):
        """Whether the member closes the connection in time, whatever it sends before."""
        self.sock.settimeout(seconds)
        try:
            while self.sock.recv(65536):
                pass
            return True
        except TimeoutError:
            return False
        except OSError:
            return True

    def take(self, count):
        while len(self.pending) < count:
            chunk = self.sock.recv(65536)
            if not chunk:
                raise zk.Closed("end of stream")
            self.pending += chunk
        data, self.pending = self.pending[:count], self.pending[count:]
        return data

    def packet(self):
        """The next packet of the quorum port: (type, zxid, data)."""
        kind, zxid, length = struct.unpack(">iqi", self.take(16))
        data = self.take(length) if length > 0 else b""
        for _ in range(struct.unpack(">i", self.take(4))[0]):
            for _ in range(2):
                self.take(struct.unpack(">i", self.take(4))[0])
        return kind, zxid, data

    def drop(self):
        self.sock.close()
