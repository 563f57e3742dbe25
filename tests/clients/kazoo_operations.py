"""Every operation of the kazoo client: nodes, ACLs, watches, transactions, sessions.

    kazoo_operations.py HOST:PORT [CASE...]
"""

import itertools
import os
import subprocess
import sys
import threading
import time

from cases import ask, case, check, equal, raises, run_all, wait_for
from kazoo import exceptions as errors
from kazoo.client import KazooClient, KazooState
from kazoo.protocol.states import EventType
from kazoo.retry import KazooRetry
from kazoo.security import ACL, CREATOR_ALL_ACL, OPEN_ACL_UNSAFE, READ_ACL_UNSAFE, Id, Permissions, make_acl
from kazoo.security import make_digest_acl, make_digest_acl_credential

ADDRESS = sys.argv[1]
_names = itertools.count()


class Client(KazooClient):
    """A started client that `with` closes."""

    def __init__(self, timeout=15.0, **named):
        super().__init__(hosts=named.pop("hosts", ADDRESS), timeout=timeout, **named)
        self.start(30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        self.close()


def fresh(client, data=b""):
    """A new node of its own for a case."""
    return client.create(f"/case-{next(_names)}", data)


def leave_session_behind(top, timeout):
    """A process that makes an ephemeral node `e` and dies without closing its session; returns the session."""
    program = (
        "import os, sys; from kazoo.client import KazooClient;"
        f"c = KazooClient(sys.argv[1], timeout={timeout}); c.start(30); c.create(sys.argv[2] + '/e', ephemeral=True);"
        "print(c.client_id[0], c.client_id[1].hex(), flush=True); os._exit(0)"
    )
    command = [sys.executable, "-c", program, ADDRESS, top]
    printed = subprocess.run(command, check=True, timeout=60, stdout=subprocess.PIPE, text=True).stdout.split()
    return int(printed[0]), bytes.fromhex(printed[1])


class Events:
    """A watch callback that keeps what it is told."""

    def __init__(self):
        self.seen = []

    def __call__(self, event):
        self.seen.append((event.type, event.path))

    def wait(self, *expected):
        wait_for(lambda: len(self.seen) >= len(expected), f"events {expected}, seen {self.seen}")
        equal(tuple(self.seen), expected)


# Nodes


@case
def create_modes():
    with Client() as client, Client() as other:
        top = fresh(client)
        equal(client.create(top + "/plain", b"a"), top + "/plain")
        equal(client.create(top + "/s-", b"", sequence=True), top + "/s-0000000001")
        equal(client.create(top + "/e", b"", ephemeral=True), top + "/e")
        equal(client.create(top + "/es-", b"", ephemeral=True, sequence=True), top + "/es-0000000003")
        equal(client.create(top + "/", b"", sequence=True), top + "/0000000004")
        client.delete(top + "/s-0000000001")
        equal(client.create(top + "/s-", b"", sequence=True), top + "/s-0000000005")
        owner = client.client_id[0]
        equal(other.exists(top + "/e").ephemeralOwner, owner)
        equal(other.exists(top + "/es-0000000003").ephemeralOwner, owner)
        equal(other.exists(top + "/plain").ephemeralOwner, 0)
        client.stop()
        equal(sorted(other.get_children(top)), ["0000000004", "plain", "s-0000000005"])


@case
def create_with_stat():
    with Client() as client:
        top = fresh(client)
        path, stat = client.create(top + "/n-", b"12345", ephemeral=True, sequence=True, include_data=True)
        equal(path, top + "/n-0000000000")
        equal(stat, client.exists(path))
        equal((stat.version, stat.cversion, stat.aversion, stat.dataLength, stat.numChildren), (0, 0, 0, 5, 0))
        equal(stat.czxid, stat.mzxid)
        equal(stat.czxid, stat.pzxid)
        equal(stat.czxid, client.last_zxid)


@case
def create_errors():
    with Client() as client:
        top = fresh(client)
        client.create(top + "/e", ephemeral=True)
        raises(errors.NodeExistsError, client.create, top)
        raises(errors.NoNodeError, client.create, top + "/a/b")
        raises(errors.NoChildrenForEphemeralsError, client.create, top + "/e/child")
        raises(errors.InvalidACLError, client.create, top + "/acl", acl=[ACL(31, Id("nosuch", "x"))])
        raises(errors.InvalidACLError, client.create, top + "/acl", acl=[ACL(31, Id("digest", "nocolon"))])
        raises(errors.InvalidACLError, client.create, top + "/acl", acl=CREATOR_ALL_ACL)
        raises(errors.BadArgumentsError, client.create, top + "/private-use-\ue000")
        raises(errors.BadArgumentsError, client.create, top + "/supplementary-\U0001f600")
        raises(errors.BadArgumentsError, client.create, top + "/control-\u0001")
        equal(client.get_children(top), ["e"])


@case
def create_parents():
    with Client() as client:
        top = fresh(client)
        equal(client.create(top + "/a/b/c/d", b"deep", makepath=True), top + "/a/b/c/d")
        equal(client.get(top + "/a/b/c/d")[0], b"deep")
        client.ensure_path(top + "/a/b/x/y")
        client.ensure_path_async(top + "/a/b/x/z").get(30)
        equal(sorted(client.get_children(top + "/a/b/x")), ["y", "z"])
        client.delete(top + "/a", recursive=True)
        equal(client.get_children(top), [])


@case
def data_and_versions():
    with Client() as client:
        path = fresh(client, b"one")
        data, first = client.get(path)
        equal((data, first.version, first.dataLength), (b"one", 0, 3))
        second = client.set(path, b"second")
        equal((second.version, second.dataLength, second.czxid), (1, 6, first.czxid))
        check(second.mzxid > first.mzxid, "mzxid grows")
        equal(second.mzxid, client.last_zxid)
        equal(client.set(path, b"third", version=1).version, 2)
        raises(errors.BadVersionError, client.set, path, b"no", version=1)
        equal(client.get(path)[0], b"third")
        raises(errors.NoNodeError, client.set, path + "/none", b"")
        raises(errors.NoNodeError, client.get, path + "/none")
        raises(errors.BadVersionError, client.delete, path, version=0)
        client.delete(path, version=2)
        raises(errors.NoNodeError, client.delete, path)
        equal(client.exists(path), None)


@case
def data_of_every_kind():
    with Client() as client:
        path = fresh(client)
        every_byte = bytes(range(256)) * 16
        for value in (b"", b"\0", every_byte, os.urandom(1_000_000)):
            client.set(path, value)
            data, stat = client.get(path)
            check(data == value, f"{len(value)} bytes come back as written")
            equal(stat.dataLength, len(value))
        names = ["ä", "日本", "a b", "%2F", "...", ".hidden", "zookeeper"]
        for name in names:
            client.create(f"{path}/{name}", name.encode())
            equal(client.get(f"{path}/{name}")[0], name.encode())
        equal(sorted(client.get_children(path)), sorted(names))


@case
def oversized_request_closes_connection():
    with Client() as client:
        path = fresh(client, b"kept")
        session = client.client_id[0]
        raises(errors.ConnectionLoss, client.set, path, b"x" * 1_100_000)
        wait_for(lambda: client.connected, "the client connects again")
        equal(client.retry(client.get, path)[0], b"kept")
        equal(client.client_id[0], session)


@case
def children():
    with Client() as client:
        top = fresh(client)
        equal(client.get_children(top), [])
        names = {f"n{i:04}" for i in range(2000)}
        for result in [client.create_async(f"{top}/{name}") for name in names]:
            result.get(30)
        found, stat = client.get_children(top, include_data=True)
        equal(set(found), names)
        equal(len(found), 2000)
        equal((stat.numChildren, stat.cversion), (2000, 2000))
        last = client.exists(top).pzxid
        client.delete(top + "/n0000")
        after = client.exists(top)
        equal((after.numChildren, after.cversion), (1999, 2001))
        check(after.pzxid > last, "pzxid grows with a deletion")
        raises(errors.NotEmptyError, client.delete, top)
        raises(errors.NoNodeError, client.get_children, top + "/n0000")


@case
def stat_of_parent_and_times():
    with Client() as client:
        before = time.time() * 1000
        top = fresh(client)
        client.create(top + "/c")
        stat = client.exists(top)
        equal((stat.version, stat.cversion, stat.numChildren), (0, 1, 1))
        equal(stat.mzxid, stat.czxid)
        equal(stat.pzxid, client.exists(top + "/c").czxid)
        check(before - 5000 < stat.ctime <= time.time() * 1000 + 5000, f"ctime {stat.ctime} is now")
        equal(stat.ctime, stat.mtime)


@case
def system_nodes():
    with Client() as client:
        check("zookeeper" in client.get_children("/"), "the system tree is there")
        equal(sorted(client.get_children("/zookeeper")), ["config", "quota"])
        raises(errors.BadArgumentsError, client.delete, "/zookeeper")
        raises(errors.NoAuthError, client.set, "/zookeeper/config", b"x")
        equal(client.get_acls("/zookeeper/config")[0], READ_ACL_UNSAFE)


@case
def sync_and_chroot():
    with Client() as client:
        path = fresh(client)
        equal(client.sync(path), path)
        equal(client.sync("/nowhere"), "/nowhere")
        with Client(hosts=ADDRESS + path) as inside:
            equal(inside.create("/in", b"x"), "/in")
            equal(inside.get_children("/"), ["in"])
            seen = Events()
            inside.get("/in", watch=seen)
            client.set(path + "/in", b"y")
            seen.wait((EventType.CHANGED, "/in"))
        equal(client.get_children(path), ["in"])


# Order


@case
def pipelined_requests_in_order():
    with Client() as client:
        top = fresh(client)
        creates = [client.create_async(top + "/q-", str(i).encode(), sequence=True) for i in range(500)]
        equal([result.get(30) for result in creates], [f"{top}/q-{i:010}" for i in range(500)])
        pairs = [(client.set_async(top, str(i).encode()), client.get_async(top)) for i in range(300)]
        for i, (written, read) in enumerate(pairs):
            equal(written.get(30).version, i + 1)
            data, stat = read.get(30)
            equal((data, stat.version), (str(i).encode(), i + 1))


@case
def concurrent_increments():
    clients = [Client() for _ in range(4)]
    path = fresh(clients[0], b"0")

    def add(client):
        for _ in range(50):
            while True:
                data, stat = client.get(path)
                try:
                    client.set(path, str(int(data) + 1).encode(), version=stat.version)
                    break
                except errors.BadVersionError:
                    continue

    threads = [threading.Thread(target=add, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    clients[0].sync(path)
    equal(clients[0].get(path)[0], b"200")
    equal(clients[0].exists(path).version, 200)
    for client in clients:
        client.stop()
        client.close()


# ACLs


@case
def acls_read_and_written():
    with Client() as client:
        path = fresh(client)
        acls, stat = client.get_acls(path)
        equal((acls, stat.aversion), (OPEN_ACL_UNSAFE, 0))
        stat = client.set_acls(path, [make_acl("world", "anyone", read=True, write=True, admin=True)], version=0)
        equal(stat.aversion, 1)
        equal(client.get_acls(path)[0], [ACL(Permissions.READ | Permissions.WRITE | Permissions.ADMIN, Id("world", "anyone"))])
        raises(errors.BadVersionError, client.set_acls, path, OPEN_ACL_UNSAFE, version=0)
        raises(errors.InvalidACLError, client.set_acls, path, [make_acl("ip", "not-an-address", all=True)])
        raises(errors.InvalidACLError, client.set_acls, path, [])
        raises(errors.NoNodeError, client.set_acls, path + "/none", OPEN_ACL_UNSAFE)
        raises(errors.NoNodeError, client.get_acls, path + "/none")
        equal(client.exists(path).version, 0)


@case
def each_permission():
    with Client() as client:
        top = fresh(client)

        def node(permissions):
            path = client.create(f"{top}/{permissions}", b"d")
            client.create(path + "/child")
            client.set_acls(path, [ACL(permissions, Id("world", "anyone"))])
            return path

        actions = {
            Permissions.READ: [client.get, client.get_children, client.exists],
            Permissions.WRITE: [lambda p: client.set(p, b"n")],
            Permissions.CREATE: [lambda p: client.create(p + "/new")],
            Permissions.DELETE: [lambda p: client.delete(p + "/child")],
            Permissions.ADMIN: [lambda p: client.set_acls(p, OPEN_ACL_UNSAFE)],
        }
        for granted in actions:
            only, all_but = node(granted), node(Permissions.ALL & ~granted)
            for needed, calls in actions.items():
                for call in calls:
                    if needed == granted:
                        raises(errors.NoAuthError, call, all_but)
                    else:
                        raises(errors.NoAuthError, call, only)
            for call in actions[granted]:
                call(only)


@case
def digest_auth():
    with Client() as owner, Client() as stranger, Client(auth_data=[("digest", "bob:secret")]) as late:
        owner.add_auth("digest", "bob:secret")
        top = fresh(owner)
        path = owner.create(top + "/mine", b"v", acl=CREATOR_ALL_ACL)
        stored = owner.get_acls(path)[0]
        equal(stored, [make_digest_acl("bob", "secret", all=True)])
        equal(stored[0].id.id, make_digest_acl_credential("bob", "secret"))
        raises(errors.NoAuthError, stranger.get, path)
        raises(errors.NoAuthError, stranger.set, path, b"x")
        raises(errors.NoAuthError, stranger.create, path + "/c")
        stranger.add_auth("digest", "bob:wrong")
        raises(errors.NoAuthError, stranger.get, path)
        equal(late.get(path)[0], b"v")
        equal(late.create(path + "/c", acl=[make_digest_acl("eve", "pw", read=True)]), path + "/c")
        raises(errors.NoAuthError, late.get, path + "/c")
        late.add_auth("digest", "eve:pw")
        equal(late.get(path + "/c")[0], b"")
        late.delete(path, recursive=True)
        equal(stranger.exists(path), None)


@case
def ip_acl():
    with Client() as client:
        top = fresh(client)
        for i, (address, allowed) in enumerate(
            [("127.0.0.1", True), ("127.0.0.0/8", True), ("10.0.0.1", False), ("10.0.0.0/8", False)]
        ):
            path = client.create(f"{top}/{i}", b"v", acl=[make_acl("ip", address, read=True)])
            if allowed:
                equal(client.get(path)[0], b"v")
            else:
                raises(errors.NoAuthError, client.get, path)


@case
def super_user():
    with Client() as client, Client(auth_data=[("digest", "super:interop")]) as root:
        top = fresh(client)
        path = client.create(top + "/closed", b"v", acl=[make_digest_acl("nobody", "knows", read=True)])
        raises(errors.NoAuthError, client.get, path)
        equal(root.get(path)[0], b"v")
        root.set(path, b"w")
        root.set_acls(path, OPEN_ACL_UNSAFE)
        equal(client.get(path)[0], b"w")


@case
def unknown_auth_scheme_fails():
    with Client() as client:
        raises(errors.AuthFailedError, client.add_auth, "nosuch", "a:b")


# Watches


@case
def exists_watch():
    with Client() as client, Client() as other:
        top = fresh(client)
        path, seen = top + "/w", Events()
        equal(client.exists(path, watch=seen), None)
        other.create(path)
        seen.wait((EventType.CREATED, path))
        check(client.exists(path, watch=seen) is not None, "the node is there")
        other.set(path, b"1")
        seen.wait((EventType.CREATED, path), (EventType.CHANGED, path))
        client.exists(path, watch=seen)
        other.delete(path)
        seen.wait((EventType.CREATED, path), (EventType.CHANGED, path), (EventType.DELETED, path))


@case
def data_watch_fires_once():
    with Client() as client, Client() as other:
        path, seen, later = fresh(client), Events(), Events()
        client.get(path, watch=seen)
        other.create(path + "/child")
        other.set(path, b"1")
        other.set(path, b"2")
        client.get(path, watch=later)
        other.delete(path, recursive=True)
        later.wait((EventType.DELETED, path))
        equal(seen.seen, [(EventType.CHANGED, path)])


@case
def child_watch():
    with Client() as client, Client() as other:
        path, seen = fresh(client), Events()
        client.get_children(path, watch=seen)
        other.set(path, b"not a child")
        other.create(path + "/a")
        seen.wait((EventType.CHILD, path))
        client.get_children(path, watch=seen)
        other.delete(path + "/a")
        seen.wait((EventType.CHILD, path), (EventType.CHILD, path))
        client.get_children(path, watch=seen)
        other.delete(path)
        seen.wait((EventType.CHILD, path), (EventType.CHILD, path), (EventType.DELETED, path))


@case
def watch_on_missing_node_left_by_failed_read():
    with Client() as client:
        top = fresh(client)
        seen = Events()
        raises(errors.NoNodeError, client.get, top + "/none", watch=seen)
        client.create(top + "/none")
        client.sync(top)
        equal(seen.seen, [])


@case
def event_comes_before_the_new_state():
    with Client() as client, Client() as other:
        path = fresh(client, b"0")
        for round_number in range(1, 51):
            seen = threading.Event()
            client.get(path, watch=lambda _, seen=seen: seen.set())
            writing = other.set_async(path, str(round_number).encode())
            while client.get(path)[0] != str(round_number).encode():
                pass
            # The event was on the wire before this read's reply; only the callback thread may still lag.
            check(seen.wait(5), f"the event of round {round_number} comes")
            writing.get(30)


# Transactions


@case
def transaction_commits():
    with Client() as client:
        top = fresh(client, b"x")
        transaction = client.transaction()
        transaction.check(top, version=0)
        transaction.create(top + "/a", b"1")
        transaction.create(top + "/s-", b"2", sequence=True, ephemeral=True)
        transaction.create(top + "/a/b", b"3")
        transaction.set_data(top + "/a", b"4")
        transaction.delete(top + "/a/b", version=0)
        results = transaction.commit()
        equal(results[:4], [True, top + "/a", top + "/s-0000000001", top + "/a/b"])
        equal((results[4].version, results[5]), (1, True))
        equal(sorted(client.get_children(top)), ["a", "s-0000000001"])
        equal(client.get(top + "/a")[0], b"4")
        stats = [client.exists(top + name) for name in ("/a", "/s-0000000001")]
        equal(stats[0].czxid, stats[1].czxid, "one transaction is one zxid")


@case
def transaction_rolls_back():
    with Client() as client:
        top = fresh(client, b"x")
        transaction = client.transaction()
        transaction.create(top + "/a")
        transaction.set_data(top, b"changed")
        transaction.delete(top + "/none")
        transaction.create(top + "/b")
        results = transaction.commit()
        equal(
            [type(result) for result in results],
            [errors.RolledBackError, errors.RolledBackError, errors.NoNodeError, errors.RuntimeInconsistency],
        )
        equal(client.get_children(top), [])
        equal(client.get(top)[0], b"x")
        for prepare, error in [
            (lambda t: t.check(top, version=7), errors.BadVersionError),
            (lambda t: t.create(top), errors.NodeExistsError),
            (lambda t: t.set_data(top, b"", version=3), errors.BadVersionError),
        ]:
            transaction = client.transaction()
            prepare(transaction)
            equal([type(result) for result in transaction.commit()], [error])


@case
def transaction_fires_watches():
    with Client() as client:
        top, seen = fresh(client), Events()
        client.get_children(top, watch=seen)
        client.exists(top + "/n", watch=seen)
        with client.transaction() as transaction:
            transaction.create(top + "/n")
            transaction.set_data(top + "/n", b"1")
        wait_for(lambda: len(seen.seen) == 2, "two events")
        equal(sorted(seen.seen), sorted([(EventType.CREATED, top + "/n"), (EventType.CHILD, top)]))


# Sessions


@case
def negotiated_timeouts():
    # The limits are 2 and 20 ticks of 500 ms.
    for asked, expected in ((0.1, 1000), (5.0, 5000), (100.0, 10000)):
        with Client(timeout=asked) as client:
            entry = wait_for(
                lambda: [line for line in client.command(b"cons").split("\n") if f"sid=0x{client.client_id[0]:x}," in line],
                "the session is listed",
            )[0]
            check(f"to={expected}," in entry, f"{expected} ms for {asked} s asked: {entry}")


@case
def session_resumed_by_another_process():
    with Client() as watcher:
        top = fresh(watcher)
        identity = leave_session_behind(top, timeout=10.0)
        with Client(client_id=identity, timeout=10.0) as heir:
            equal(heir.client_id[0], identity[0])
            equal(heir.exists(top + "/e").ephemeralOwner, identity[0])
            heir.create(top + "/more", ephemeral=True)
        equal(watcher.get_children(top), [])


@case
def closed_session_cannot_be_resumed():
    with Client() as first:
        identity = first.client_id
    with Client(client_id=identity) as second:
        check(second.client_id[0] != identity[0], "a new session takes the place of the closed one")


@case
def wrong_password_gives_new_session():
    with Client() as first:
        identity = first.client_id
        with Client(client_id=(identity[0], b"\x01" * 16)) as second:
            check(second.client_id[0] != identity[0], "no session by number alone")
        # Apache closes the owner's connection before it looks at the password; the session itself lives on.
        check(first.retry(first.exists, "/zookeeper") is not None, "the first client goes on")
        equal(first.client_id, identity)


@case
def expiry_seen_by_its_client():
    with Client() as watcher:
        top = fresh(watcher)
        victim = Client(timeout=10.0)
        states = []
        victim.add_listener(states.append)
        victim.create(top + "/e", ephemeral=True)
        identity, gone = victim.client_id, Events()
        watcher.exists(top + "/e", watch=gone)
        with Client(client_id=identity, timeout=10.0):
            pass
        gone.wait((EventType.DELETED, top + "/e"))
        wait_for(lambda: KazooState.LOST in states, "the client learns that its session is lost")
        wait_for(lambda: victim.connected and victim.client_id[0] != identity[0], "it gets a new session")
        equal(victim.retry(victim.exists, top + "/e"), None)
        victim.stop()
        victim.close()


@case
def dead_process_expires():
    with Client() as client:
        top, gone = fresh(client), Events()
        client.create(top + "/stays")
        leave_session_behind(top, timeout=2.0)
        equal(sorted(client.get_children(top)), ["e", "stays"])
        died = time.monotonic()
        client.exists(top + "/e", watch=gone)
        gone.wait((EventType.DELETED, top + "/e"))
        check(time.monotonic() - died > 1.0, "the node outlives its process for about the session timeout")
        equal(client.get_children(top), ["stays"])


@case
def idle_session_lives_by_pings():
    with Client(timeout=1.0) as idle, Client() as other:
        top = fresh(other)
        idle.create(top + "/e", ephemeral=True)
        identity = idle.client_id
        # Four timeouts of silence but for pings; time itself is what is tested here.
        time.sleep(4)
        equal(other.get_children(top), ["e"])
        equal(idle.client_id, identity)


@case
def many_sessions():
    with Client() as watcher:
        top = fresh(watcher)
        clients = [Client(timeout=10.0) for _ in range(40)]
        for i, client in enumerate(clients):
            client.create(f"{top}/{i}", ephemeral=True)
        equal(len({client.client_id[0] for client in clients}), 40)
        equal(len(watcher.get_children(top)), 40)
        for client in clients:
            client.stop()
            client.close()
        equal(watcher.get_children(top), [])


# Restarts


@case
def retry_over_restart():
    with Client(timeout=10.0, connection_retry=KazooRetry(max_tries=-1, max_delay=0.2)) as client:
        top = fresh(client)
        client.create(top + "/e", b"mine", ephemeral=True)
        identity = client.client_id
        states, done = [], []
        client.add_listener(states.append)

        def write():
            retry = KazooRetry(max_tries=-1, delay=0.05, max_delay=0.2)
            for i in range(200):
                retry(client.ensure_path, f"{top}/{i}")
                done.append(i)

        writer = threading.Thread(target=write)
        writer.start()
        wait_for(lambda: len(done) >= 10, "writes are under way")
        ask("restart")
        writer.join(60)
        equal(len(done), 200)
        equal(client.client_id, identity)
        equal(len(client.get_children(top)), 201)
        equal(client.get(top + "/e")[1].ephemeralOwner, identity[0])
        client.set(top, b"after")
        equal(client.exists(top).version, 1)


@case
def acknowledged_writes_survive_kill():
    patience = KazooRetry(max_tries=-1, max_delay=0.2)
    with Client(timeout=10.0, connection_retry=patience) as client:
        top = fresh(client)
        zxid = 0
        for i in range(100):
            zxid = client.create(f"{top}/{i}", str(i).encode(), include_data=True)[1].czxid
        client.set_acls(top, READ_ACL_UNSAFE)
        lost = threading.Event()
        client.add_listener(lambda state: lost.set() if state != KazooState.CONNECTED else None)
        ask("crash")
        check(lost.wait(30), "the client notices")
        wait_for(lambda: client.connected, "the client connects again")
        equal(sorted(map(int, client.retry(client.get_children, top))), list(range(100)))
        equal(client.get(top + "/99")[1].czxid, zxid)
        equal(client.get_acls(top)[0], READ_ACL_UNSAFE)
        check(client.create("/after-crash", include_data=True)[1].czxid > zxid, "zxids go on upwards")


@case
def session_expires_after_restart():
    with Client() as client:
        top = fresh(client)
    leave_session_behind(top, timeout=2.0)
    ask("restart")
    with Client() as client:
        wait_for(lambda: client.get_children(top) == [], "a session that nobody resumes expires")


# Four-letter words, as kazoo asks them


@case
def four_letter_words():
    with Client() as client:
        equal(client.command(b"ruok"), "imok")
        equal(client.command(b"isro"), "rw")
        check("Mode: standalone" in client.command(b"srvr"), "srvr names the mode")
        check("zk_server_state\tstandalone" in client.command(b"mntr"), "mntr names the state")
        check(client.server_version() >= (3, 9), f"version {client.server_version()}")
        path = fresh(client)
        client.get(path, watch=Events())
        check(path in client.command(b"wchp"), "wchp lists the watched path")
        check(f"0x{client.client_id[0]:x}" in client.command(b"wchc"), "wchc lists the session")
        client.create(path + "/e", ephemeral=True)
        check(path + "/e" in client.command(b"dump"), "dump lists the ephemeral node")


run_all()
