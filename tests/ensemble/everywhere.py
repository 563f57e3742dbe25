"""What clients do on every member of an ensemble, each step on one member and looked at on the next."""

import itertools

from clients import NO_NODE, NODE_EXISTS, SESSION_MOVED, Client, Expired, Failed
from cluster import wait_until, zk

BAD_VERSION, NOT_EMPTY, NO_CHILDREN, NO_AUTH, BAD_ARGUMENTS = -103, -111, -108, -102, -8


def fails(err, function, *args, **named):
    try:
        got = function(*args, **named)
    except Failed as failed:
        assert failed.err == err, f"error {failed.err}, not {err}"
    else:
        raise AssertionError(f"no error {err} but {got}")


def clients_everywhere(members, refused=lambda _one, _other: (SESSION_MOVED,)):
    """Every step with each member as the one that acts; the next in turn sees it. `refused` says with which errors
    one member refuses the old connection of a session that has gone to the other; with none it need not."""
    for number, member in enumerate(members):
        other = members[(number + 1) % len(members)]
        path = f"/all{number}"
        with Client(member) as acting, Client(other) as seeing:
            acting.create(path, b"top")
            nodes(acting, seeing, path)
            failures(acting, path)
            batches(acting, seeing, path)
            watches(acting, seeing, path)
            acting.close()
            seeing.close()
    for one, other in itertools.permutations(members, 2):
        moves(one, other, refused(one, other))
    for number, member in enumerate(members):
        refusals(member, members[(number + 1) % len(members)])
    expire(members)


def nodes(acting, seeing, path):
    """Every kind of node and change, read on the other after a sync."""
    names = [acting.create(f"{path}/seq-", sequential=True) for _ in range(3)]
    assert names == [f"{path}/seq-{n:010d}" for n in range(3)], names
    acting.create(f"{path}/mine", b"e", ephemeral=True)
    acting.create(f"{path}/box")
    made, stat = acting.do(zk.CREATE2, zk.create(f"{path}/two", b"2"))
    assert (made, stat.version) == (f"{path}/two", 0), (made, stat)
    acl = (zk.Acl(31, "digest", zk.SUPER_DIGEST), zk.Acl(1, "world", "anyone"))
    acting.do(zk.SET_ACL, zk.set_acl(f"{path}/two", acl, 0))
    # Not of the node above: an Apache leader that has not applied a setACL yet goes by the list before it.
    acting.do(zk.CREATE, zk.create(f"{path}/shut", b"", acl))
    fails(NO_AUTH, acting.set, f"{path}/shut", b"no")
    assert acting.set(names[0], b"new").version == 1
    acting.delete(names[1])
    seeing.sync(path)
    assert seeing.exists(f"{path}/mine").ephemeralOwner == acting.session.session_id
    assert seeing.get(names[0])[0] == b"new"
    assert seeing.exists(names[1]) is None
    shown = seeing.do(zk.GET_ACL, zk.path_only(f"{path}/two"))[0]
    assert [(one.perms, one.scheme) for one in shown] == [(31, "digest"), (1, "world")], shown
    assert seeing.children(path) == ["box", "mine", "seq-0000000000", "seq-0000000002", "shut", "two"]


def failures(acting, path):
    fails(NO_NODE, acting.create, f"{path}/none/below")
    fails(NODE_EXISTS, acting.create, f"{path}/two")
    fails(BAD_VERSION, acting.set, f"{path}/box", b"", 7)
    fails(NO_NODE, acting.delete, f"{path}/none")
    fails(NOT_EMPTY, acting.delete, path)
    fails(NO_CHILDREN, acting.create, f"{path}/mine/below")
    fails(BAD_ARGUMENTS, acting.create, f"{path}/box/")


def batches(acting, seeing, path):
    """multi: all or nothing."""
    done = acting.multi(
        (zk.CREATE, zk.create(f"{path}/m", b"1")),
        (zk.SET_DATA, zk.set_data(f"{path}/m", b"2")),
        (zk.CHECK, zk.path_version(f"{path}/m", 1)),
        (zk.CREATE, zk.create(f"{path}/m/below")),
        (zk.DELETE, zk.path_version(f"{path}/m/below")),
    )
    assert [result.err for result in done] == [0] * 5, done
    undone = acting.multi(
        (zk.SET_DATA, zk.set_data(f"{path}/m", b"3")),
        (zk.CHECK, zk.path_version(f"{path}/m", 1)),
        (zk.CREATE, zk.create(f"{path}/n")),
    )
    assert [(result.type, result.body) for result in undone] == [(-1, 0), (-1, BAD_VERSION), (-1, -2)], undone
    seeing.sync(path)
    data, stat = seeing.get(f"{path}/m")
    assert (data, stat.version, stat.cversion) == (b"2", 1, 2), (data, stat)
    assert seeing.exists(f"{path}/n") is None


def watches(acting, seeing, path):
    """Left on one member, fired by writes on the other, in the order of the writes."""
    assert seeing.exists(f"{path}/later", watch=True) is None
    seeing.get(f"{path}/m", watch=True)
    seeing.children(path, watch=True)
    acting.set(f"{path}/m", b"changed")
    acting.create(f"{path}/later")
    seen = seeing.wait_events(3)
    wanted = [("NodeDataChanged", f"{path}/m"), ("NodeCreated", f"{path}/later"), ("NodeChildrenChanged", path)]
    assert seen == wanted, seen
    seeing.get(f"{path}/later", watch=True)
    acting.delete(f"{path}/later")
    assert seeing.wait_events(4)[3] == ("NodeDeleted", f"{path}/later")
    seeing.events.clear()


def moves(one, other, refused):
    """A session goes to another member with its ephemeral node, and may write there; the old connection may not."""
    path = f"/moved-{one.id}-{other.id}"
    with Client(one) as before:
        before.create(path, ephemeral=True)
        # Whoever has seen more than the server has not applied yet is sent away, rightly.
        wait_until(lambda: (other.zxid() or 0) >= before.last_zxid, f"{other} has caught up")
        with Client(other, session=before.session, last_zxid=before.last_zxid) as after:
            assert after.session.session_id == before.session.session_id
            before.xid = 100  # servers know a session's requests by their xids, which clients never use twice
            assert after.exists(path).ephemeralOwner == after.session.session_id
            after.set(path, b"there")
            try:
                reply = before.ask(zk.SET_DATA, zk.set_data(path, b"here")) if refused else None
                assert not reply or reply.err in refused, f"the old connection writes: {reply}"
            except (zk.Closed, OSError):
                pass
            assert after.get(path)[0] == b"there"
            after.close()
    with Client(one) as looking:
        looking.sync()
        assert looking.exists(path) is None, "an ephemeral node outlives its session"
        looking.close()


def refusals(member, other):
    """A wrong password, a session that never was, and one that has ended are refused on either."""
    with Client(member) as client:
        session = client.session
        for wrong in (session._replace(passwd=b"\1" * 16), session._replace(session_id=session.session_id + 1)):
            is_refused(other, wrong)
        client.close()
    is_refused(other, session)


def is_refused(member, session):
    try:
        Client(member, session=session).drop()
    except Expired:
        return
    except zk.Closed:
        # Apache's ends the connection without an answer when it hears of the session's end while it asks the leader.
        assert member.is_apache(), f"{member} closes the connection without an answer"
        return
    raise AssertionError(f"{member} takes the session {session}")


def expire(members):
    """Sessions that are silent end by themselves, wherever they were; those that ping live on."""
    held = [Client(member, 4000) for member in members]
    silent = [Client(member, 2000) for member in members]
    for number, client in enumerate(silent):
        client.create(f"/silent{number}", ephemeral=True)
    for number, client in enumerate(held):
        client.create(f"/alive{number}", ephemeral=True)
    for client in silent:
        client.drop()

    def gone():
        return not any([client.exists(f"/silent{n}") for n in range(len(members)) for client in held])

    wait_until(gone, "silent sessions expire")
    for client in held:
        shown = [client.exists(f"/alive{number}") is not None for number in range(len(members))]
        assert all(shown), f"a session that was heard from has expired: {shown}"
    for client in held:
        client.close()
