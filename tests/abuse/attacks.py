"""What hostile or broken clients send. Each attack takes (port, score, rng) and checks what its own connections see."""

import random
import socket
import threading
import time

import zkwire as zk
from zkwire import Acl

STRANGER = (
    "127.0.0.2"  # attackers come from an address of their own, so that limits per address hit only them
)
MAX_FRAME = 1048575


def connection(port, wait=10.0):
    conn = zk.Conn.__new__(zk.Conn)
    conn.sock = socket.create_connection(("127.0.0.1", port), timeout=wait, source_address=(STRANGER, 0))
    conn.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    conn.pending, conn.connected, conn.last_zxid = bytearray(), None, 0
    return conn


def greeted(port, timeout=30000):
    conn = connection(port)
    conn.handshake(timeout)
    return conn


def closes(conn, data, half_close=False):
    """Whether the server closes after `data`, with whatever it sends before."""
    try:
        conn.send(data)
        if half_close:
            conn.half_close()
        while True:
            conn.read_bytes(1)
    except (zk.Closed, OSError):
        return True
    except zk.Silent:
        return False
    finally:
        conn.drop()


def bad_frames(port, score, rng):
    for length in (-1, -2147483648, 0, MAX_FRAME + 1, 2147483647, 0x0A0D0A0D):
        for make in (connection, greeted):
            score.check(f"length {length} after {make.__name__}", closes(make(port), zk.i32(length)))
    for size in range(1, 8):
        score.check(f"frame of {size}", closes(greeted(port), zk.frame(b"\0" * size)))
    for op in (zk.CREATE, zk.PING, zk.MULTI, zk.AUTH, zk.CLOSE_SESSION):
        early = connection(port)
        score.check(
            f"op {op} before connect", closes(early, zk.frame(zk.request(1, op, b"\0" * 30)), half_close=True)
        )
    http = b"POST / HTTP/1.1\r\nHost: x\r\n\r\n"
    score.check("HTTP", closes(connection(port), http))
    score.check(
        "TLS",
        closes(
            connection(port), bytes.fromhex("16030100c8010000c40303") + rng.randbytes(200), half_close=True
        ),
    )


def sizes(port, score, rng):
    """A frame of exactly the limit is served, with all its data."""
    conn = greeted(port)
    data = rng.randbytes(MAX_FRAME - len(zk.request(1, zk.CREATE, zk.create("/big", b""))))
    payload = zk.request(1, zk.CREATE, zk.create("/big", data))
    score.equal("payload", len(payload), MAX_FRAME)
    conn.send(zk.frame(payload))
    score.equal("create of the largest frame", conn.read_reply(zk.CREATE).err, 0)
    score.check("its data", conn.call(2, zk.GET_DATA, zk.path_watch("/big")).body[0] == data)
    score.equal("delete", conn.call(3, zk.DELETE, zk.path_version("/big")).err, 0)
    many = zk.multi([(zk.CHECK, zk.path_version("/", -1))] * 40000)
    score.equal("multi of 40000 checks", len(conn.call(4, zk.MULTI, many).body), 40000)
    acl = zk.create("/acl", b"", [Acl(n, "digest", "a:b") for n in range(30000)])
    score.equal("an ACL of 30000 entries", conn.call(5, zk.CREATE, acl).err, 0)
    score.equal("is enforced", conn.call(6, zk.GET_ACL, zk.path_only("/acl")).err, -102)
    deep = "/d" * 200000
    score.equal("a path of 200000 parts", conn.call(7, zk.EXISTS, zk.path_watch(deep)).err, -101)
    score.equal("create there", conn.call(8, zk.CREATE, zk.create(deep)).err, -101)
    for count in (2147483647, 1000000000, 65536):
        lists = zk.i64(0) + zk.i32(count) + b"\0" * 64
        score.equal(f"{count} watches announced", conn.call(9, zk.SET_WATCHES, lists).err, -5)
        score.equal(
            f"{count} entries announced", conn.call(9, zk.SET_ACL, zk.ustr("/acl") + zk.i32(count)).err, -5
        )
    conn.call(10, zk.CLOSE_SESSION)


def garbage(port, score, rng):
    """Random bytes, also as well-framed requests of every opcode."""
    for _ in range(150):
        conn = rng.choice([connection, greeted])(port)
        closes(conn, rng.randbytes(rng.randrange(1, 200)), half_close=True)
    for op in (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 14, 15, 22, 101, 103, 104):
        conn = greeted(port, 4000)
        conn.send(
            b"".join(zk.frame(zk.request(n + 1, op, rng.randbytes(rng.randrange(60)))) for n in range(50))
        )
        conn.send_request(99, zk.PING)
        seen = []
        try:
            while not seen or seen[-1] != zk.PING_XID:
                frame = zk.Reader(conn.read_frame())
                seen.append(frame.i32())
        except (zk.Closed, zk.Silent) as odd:
            seen.append(repr(odd))
        replies = [xid for xid in seen if xid != zk.NOTIFICATION_XID]
        score.equal(f"op {op} with 50 random bodies", replies, list(range(1, 51)) + [zk.PING_XID])
        conn.drop()


def byte_by_byte(port, score, rng):
    conn = connection(port)
    for byte in zk.frame(zk.connect_request(10000)) + zk.frame(zk.request(1, zk.EXISTS, zk.path_watch("/"))):
        conn.send(bytes([byte]))
    conn.connected = zk.decode_connected(conn.read_frame())
    score.equal("a request byte by byte", conn.read_reply(zk.EXISTS).err, 0)
    conn.drop()
    word = connection(port)
    for byte in b"ruok":
        word.send(bytes([byte]))
        time.sleep(0.01)
    score.equal("a word byte by byte", word.read_bytes(4), b"imok")
    word.drop()


def words(port, score, rng):
    """Four-letter words of half-closed, hasty and many clients."""
    for word in ("srvr", "mntr", "conf", "envi", "dump", "cons", "stat", "wchs"):
        conn = connection(port)
        conn.send(word.encode())
        conn.half_close()
        text = read_all(conn)
        score.check(f"{word}, half-closed", len(text) > 20 or word == "wchs", text)
    conn = connection(port)
    conn.send(b"ruok\r\nruok\r\n")
    score.equal("ruok with more behind it", read_all(conn), b"imok")
    score.check("an unknown word", closes(connection(port), b"reqs"))
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(zk.four_letter_word(port, "srvr"))) for _ in range(50)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    score.equal("50 srvr at once", sum("Mode: " in text for text in results), 50)


def read_all(conn):
    data = b""
    try:
        while chunk := conn.sock.recv(65536):
            data += chunk
    except OSError:
        pass
    conn.drop()
    return data


def connections(port, score, rng):
    """More connections than one address may have: the excess is closed, and places become free again."""
    held = [conn for conn in (try_to_greet(port) for _ in range(150)) if conn]
    score.equal("connections of one address", len(held), 60)
    for conn in held:
        conn.drop()
    deadline = time.monotonic() + 10
    again = None
    while not again and time.monotonic() < deadline:
        again = try_to_greet(port)
    score.check("a place becomes free", again)


def try_to_greet(port):
    """A connection with a session, or None when the server turns it away."""
    try:
        return greeted(port, 4000)
    except (zk.Closed, OSError):
        return None


def sessions(port, score, rng):
    """Sessions that are opened and left; their ephemerals go when they expire."""
    for number in range(300):
        conn = greeted(port, 4000)
        conn.send_request(1, zk.CREATE, zk.create(f"/left{number}", flags=1))
        conn.read_reply(zk.CREATE)
        conn.drop()
    watcher = greeted(port, 60000)
    deadline = time.monotonic() + 30
    while True:
        left = [
            name
            for name in watcher.call(1, zk.GET_CHILDREN, zk.path_watch("/")).body
            if name.startswith("left")
        ]
        if not left or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    score.equal("ephemerals of sessions that were left", left, [])
    watcher.call(2, zk.CLOSE_SESSION)


def watches(port, score, rng):
    conn = greeted(port)
    for start in range(0, 50000, 500):
        conn.send(
            b"".join(
                zk.frame(zk.request(n + 1, zk.EXISTS, zk.path_watch(f"/none/{n}", True)))
                for n in range(start, start + 500)
            )
        )
        for _ in range(500):
            conn.read_reply(zk.EXISTS)
    score.check(
        "wchs", "Total watches:50" in zk.four_letter_word(port, "wchs"), zk.four_letter_word(port, "wchs")
    )
    conn.drop()
    deadline = time.monotonic() + 10
    while "Total watches:50" in zk.four_letter_word(port, "wchs") and time.monotonic() < deadline:
        time.sleep(0.01)
    score.check(
        "watches go with their connection", "Total watches:50" not in zk.four_letter_word(port, "wchs")
    )


def never_reading(port, score, rng, megabytes=400):
    """Requests without end for large replies that nobody reads: the server stops reading instead of hoarding."""
    owner = greeted(port, 60000)
    owner.call(1, zk.CREATE, zk.create("/large", rng.randbytes(500000)))
    greedy = greeted(port, 60000)
    greedy.wait(2.0)
    ask = zk.frame(zk.request(1, zk.GET_DATA, zk.path_watch("/large"))) * 100
    sent = 0
    try:
        while sent < 2 * megabytes:
            greedy.sock.sendall(ask)
            sent += 100
    except OSError:
        pass
    greedy.drop()
    score.equal("the owner goes on", owner.call(2, zk.DELETE, zk.path_version("/large")).err, 0)
    owner.call(3, zk.CLOSE_SESSION)


def silent(port, score, rng):
    """Connections that say nothing, or half a handshake, are closed in 10 to 20 s."""
    held = [connection(port, 30.0), connection(port, 30.0), connection(port, 30.0)]
    held[1].send(b"\0")
    held[2].send(zk.frame(zk.connect_request(10000))[:20])
    start = time.monotonic()
    for conn, name in zip(held, ("silent", "one byte", "half a handshake")):
        try:
            conn.read_bytes(1)
            ended = False
        except zk.Closed:
            ended = True
        except zk.Silent:
            ended = False
        took = time.monotonic() - start
        score.check(f"{name}: closed after {took:.1f} s", ended and took < 22)
        conn.drop()


ALL = [bad_frames, sizes, garbage, byte_by_byte, words, connections, watches, never_reading, sessions, silent]


def attack(function, port, score, seed):
    function(port, score, random.Random(seed))
