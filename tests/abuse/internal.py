"""Requests that an Apache server should refuse and does not: never sent to one, each with the answer that is right."""

import zkwire as zk
from attacks import greeted


def refused(port, op, body):
    """The reply's (zxid, err), and whether the server closed after it."""
    conn = greeted(port)
    reply = conn.call(1, op, body)
    ended = conn.expect_end()
    conn.drop()
    return reply.zxid, reply.err, ended


def internal(port, score, rng):
    conn = greeted(port)
    conn.call(1, zk.CREATE, zk.create("/kept"))
    score.equal("deleteContainer", refused(port, zk.DELETE_CONTAINER, zk.path_only("/kept")), (-1, -6, True))
    score.equal("createSession", refused(port, zk.CREATE_SESSION, zk.i32(30000)), (-1, -6, True))
    score.equal("the node is kept", conn.call(2, zk.EXISTS, zk.path_watch("/kept")).err, 0)
    quota_nodes(conn, score)
    wrong_password(port, conn, score)


def quota_nodes(conn, score):
    """A limit on the root and statistics that cannot be read do no harm."""
    reply = conn.call(3, zk.CREATE, zk.create("/zookeeper/quota/zookeeper_limits", b"count=1,bytes=1"))
    score.check("a limit on the root", reply.err in (0, -8), str(reply))
    for path, data in (
        ("/zookeeper/quota/kept", b""),
        ("/zookeeper/quota/kept/zookeeper_limits", b"count=1,bytes=x"),
        ("/zookeeper/quota/kept/zookeeper_stats", b"nonsense"),
    ):
        conn.call(4, zk.CREATE, zk.create(path, data))
    conn.call(5, zk.SET_DATA, zk.set_data("/zookeeper/quota/kept/zookeeper_stats", b"=,=;;count=\xff"))
    score.equal(
        "a write below the quota", conn.call(6, zk.CREATE, zk.create("/kept/below", b"x" * 100)).err, 0
    )
    score.equal("a write on the root", conn.call(7, zk.SET_DATA, zk.set_data("/", b"")).err, 0)


def wrong_password(port, conn, score):
    """Who guesses at a session's password gets nothing, and its rightful connection stays."""
    known = conn.connected.session_id
    for passwd in (b"\0" * 16, b"", None, b"x" * 40, conn.connected.passwd[:-1] + b"?"):
        thief = greeted_as(port, known, passwd)
        score.equal(f"password {passwd}", (thief.connected.session_id, thief.connected.timeout), (0, 0))
        score.check("is closed", thief.expect_end())
        thief.drop()
    score.equal("the rightful connection", conn.call(8, zk.PING).err, 0)
    conn.call(9, zk.CLOSE_SESSION)


def greeted_as(port, session_id, passwd):
    conn = zk.Conn(port)
    conn.handshake(30000, session_id=session_id, passwd=passwd)
    return conn
