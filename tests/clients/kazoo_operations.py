"""Every operation of the kazoo client: nodes, ACLs, watches, transactions.

    kazoo_operations.py HOST:PORT [CASE...]
"""

import os
import threading
import time

from cases import case, check, equal, raises, run_all, wait_for
from kazoo import exceptions as errors
from kazoo.protocol.states import EventType
from kazoo.security import ACL, CREATOR_ALL_ACL, OPEN_ACL_UNSAFE, READ_ACL_UNSAFE, Id, Permissions, make_acl
from kazoo.security import make_digest_acl, make_digest_acl_credential
from kazoo_common import ADDRESS, Client, Events, fresh

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
        equal((stat.version, stat.cversion, stat.aversion), (0, 0, 0))
        equal((stat.dataLength, stat.numChildren), (5, 0))
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
        acls = [make_acl("world", "anyone", read=True, write=True, admin=True)]
        equal(client.set_acls(path, acls, version=0).aversion, 1)
        equal(client.get_acls(path)[0], acls)
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


run_all()
