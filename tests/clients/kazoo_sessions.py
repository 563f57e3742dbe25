"""Sessions of the kazoo client: timeouts, resumption, expiry, and restarts of the server.

    kazoo_sessions.py HOST:PORT [CASE...]
"""

import threading
import time

from cases import ask, case, check, equal, run_all, wait_for
from kazoo.client import KazooState
from kazoo.protocol.states import EventType
from kazoo.retry import KazooRetry
from kazoo.security import READ_ACL_UNSAFE
from kazoo_common import Client, Events, fresh, leave_session_behind

# Sessions


@case
def negotiated_timeouts():
    # The limits are 2 and 20 ticks of 500 ms.
    for asked, expected in ((0.1, 1000), (5.0, 5000), (100.0, 10000)):
        with Client(timeout=asked) as client:
            session = f"sid=0x{client.client_id[0]:x},"
            listed = [line for line in client.command(b"cons").split("\n") if session in line]
            equal(len(listed), 1)
            check(f"to={expected}," in listed[0], f"{expected} ms for {asked} s asked: {listed[0]}")


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
