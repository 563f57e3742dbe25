"""Every recipe of the kazoo client, with more than one client where the recipe is about several.

    kazoo_recipes.py HOST:PORT [CASE...]
"""

import contextlib
import datetime
import itertools
import sys
import threading

from cases import ask, case, check, equal, raises, run_all, wait_for
from kazoo import exceptions as errors
from kazoo.client import KazooClient
from kazoo.recipe.cache import TreeCache, TreeEvent
from kazoo.recipe.lease import MultiNonBlockingLease, NonBlockingLease
from kazoo.recipe.watchers import PatientChildrenWatch

ADDRESS = sys.argv[1]
_names = itertools.count()


@contextlib.contextmanager
def clients(count):
    """Started clients that keep trying through a restart of the server."""
    patience = {"max_tries": -1, "delay": 0.05, "max_delay": 0.2}
    made = [
        KazooClient(ADDRESS, timeout=10.0, connection_retry=dict(patience), command_retry=dict(patience))
        for _ in range(count)
    ]
    for client in made:
        client.start(30)
    try:
        yield made
    finally:
        for client in made:
            client.stop()
            client.close()


def path():
    return f"/recipe-{next(_names)}"


def in_thread(function, *arguments, **named):
    """A started thread; `result` waits for it and returns the function's value or raises its error."""
    box = {}

    def body():
        try:
            box["value"] = function(*arguments, **named)
        except BaseException as error:
            box["error"] = error

    thread = threading.Thread(target=body, daemon=True)

    def result():
        thread.join(30)
        check(not thread.is_alive(), f"{function} still runs after 30 s")
        if "error" in box:
            raise box["error"]
        return box["value"]

    thread.result = result
    thread.start()
    return thread


# Locks


@case
def lock_excludes():
    with clients(4) as members:
        top, inside, seen = path(), [], []

        def work(client, name):
            lock = client.Lock(top, name)
            for _ in range(5):
                with lock:
                    inside.append(name)
                    equal(len(inside), 1, "one holder")
                    seen.append(name)
                    inside.remove(name)

        for thread in [in_thread(work, client, f"m{i}") for i, client in enumerate(members)]:
            thread.result()
        equal(len(seen), 20)
        members[0].sync(top)
        equal(members[0].get_children(top), [])


@case
def lock_contenders_and_timeouts():
    with clients(2) as (one, two):
        top = path()
        first, second = one.Lock(top, "first"), two.Lock(top, "second")
        check(first.acquire(), "the free lock is got")
        equal(second.acquire(blocking=False), False)
        raises(errors.LockTimeout, second.acquire, timeout=0.2)
        waiting = in_thread(second.acquire)
        wait_for(lambda: first.contenders() == ["first", "second"], "the second waits in line")
        first.release()
        equal(waiting.result(), True)
        equal(one.Lock(top).contenders(), ["second"])
        second.release()
        equal(one.get_children(top), [])


@case
def lock_cancelled():
    with clients(2) as (one, two):
        top = path()
        first, second = one.Lock(top, "first"), two.Lock(top, "second")
        first.acquire()
        waiting = in_thread(second.acquire)
        wait_for(lambda: len(first.contenders()) == 2, "the second waits in line")
        second.cancel()
        raises(errors.CancelledError, waiting.result)
        equal(first.contenders(), ["first"])
        first.release()


@case
def lock_freed_by_end_of_session():
    with clients(2) as (one, two):
        top = path()
        one.Lock(top, "first").acquire()
        waiting = in_thread(two.Lock(top, "second").acquire)
        wait_for(lambda: len(two.Lock(top).contenders()) == 2, "the second waits in line")
        one.stop()
        equal(waiting.result(), True)


@case
def lock_over_restart():
    with clients(2) as (one, two):
        top = path()
        first, second = one.Lock(top, "first"), two.Lock(top, "second")
        first.acquire()
        waiting = in_thread(second.acquire)
        wait_for(lambda: len(first.contenders()) == 2, "the second waits in line")
        ask("restart")
        wait_for(lambda: one.connected and two.connected, "both connect again")
        equal(one.Lock(top).contenders(), ["first", "second"])
        one.retry(first.release)
        equal(waiting.result(), True)
        equal(two.Lock(top).contenders(), ["second"])
        second.release()


@case
def read_write_lock():
    with clients(3) as (one, two, three):
        top = path()
        reader, other_reader = one.ReadLock(top, "r1"), two.ReadLock(top, "r2")
        writer = three.WriteLock(top, "w")
        check(reader.acquire(timeout=20), "the first reader")
        check(other_reader.acquire(timeout=20), "readers share")
        equal(writer.acquire(blocking=False), False)
        waiting = in_thread(writer.acquire)
        wait_for(lambda: "w" in reader.contenders(), "the writer waits in line")
        late = one.ReadLock(top, "r3")
        equal(late.acquire(blocking=False), False, "a reader behind a writer")
        reader.release()
        check(waiting.is_alive(), "the writer waits for the second reader")
        other_reader.release()
        equal(waiting.result(), True)
        equal(reader.acquire(blocking=False), False)
        writer.release()
        check(reader.acquire(timeout=20), "readers again")
        reader.release()


@case
def semaphore():
    with clients(3) as (one, two, three):
        top = path()
        holders = [client.Semaphore(top, f"s{i}", max_leases=2) for i, client in enumerate((one, two, three))]
        check(holders[0].acquire() and holders[1].acquire(), "two leases")
        equal(holders[2].acquire(blocking=False), False)
        one.sync(top)
        equal(sorted(holders[0].lease_holders()), ["s0", "s1"])
        raises(errors.LockTimeout, holders[2].acquire, timeout=0.2)
        waiting = in_thread(holders[2].acquire)
        holders[0].release()
        equal(waiting.result(), True)
        two.sync(top)
        equal(sorted(holders[1].lease_holders()), ["s1", "s2"])
        raises(ValueError, one.Semaphore(top, "s9", max_leases=5).acquire)
        two.stop()
        wait_for(lambda: holders[2].lease_holders() == ["s2"], "a lease ends with its session")


@case
def election():
    with clients(3) as members:
        top, order, go = path(), [], threading.Event()

        def lead(name):
            order.append(name)
            go.wait(30)

        elections = [client.Election(top, f"e{i}") for i, client in enumerate(members)]
        threads = []
        for i, candidate in enumerate(elections):
            threads.append(in_thread(candidate.run, lead, f"e{i}"))
            wait_for(lambda i=i: len(elections[0].contenders()) == i + 1, "the candidate is in line")
        equal(elections[0].contenders(), ["e0", "e1", "e2"])
        wait_for(lambda: order == ["e0"], "the first leads")
        elections[1].cancel()
        threads[1].result()
        go.set()
        threads[0].result()
        threads[2].result()
        equal(order, ["e0", "e2"])


# Groups


@case
def party():
    with clients(2) as (one, two):
        top = path()
        first, second = one.Party(top, "anna"), two.Party(top, "ben")
        first.join()
        second.join()
        equal((sorted(first), len(second)), (["anna", "ben"], 2))
        first.leave()
        equal(list(second), ["ben"])
        two.stop()
        wait_for(lambda: len(first) == 0, "membership ends with the session")


@case
def shallow_party():
    with clients(2) as (one, two):
        top = path()
        first, second = one.ShallowParty(top, "anna"), two.ShallowParty(top, "ben")
        first.join()
        second.join()
        equal(sorted(first), ["anna", "ben"])
        second.leave()
        equal(sorted(first), ["anna"])


@case
def barrier():
    with clients(2) as (one, two):
        top = path()
        gate, other = one.Barrier(top), two.Barrier(top)
        equal(gate.wait(1), True, "no barrier, no wait")
        gate.create()
        equal(other.wait(0.2), False)
        waiting = in_thread(other.wait, 30)
        gate.remove()
        equal(waiting.result(), True)
        equal(gate.remove(), False)


@case
def double_barrier():
    with clients(3) as members:
        top, entered, left = path(), [], []
        barriers = [client.DoubleBarrier(top, 3, f"d{i}") for i, client in enumerate(members)]

        def through(i):
            barriers[i].enter()
            entered.append(i)
            barriers[i].leave()
            left.append(i)

        threads = [in_thread(through, i) for i in range(2)]
        members[2].ensure_path(top)
        wait_for(lambda: len(members[2].get_children(top)) == 2, "two have come")
        equal(entered, [])
        threads.append(in_thread(through, 2))
        for thread in threads:
            thread.result()
        equal((sorted(entered), sorted(left)), ([0, 1, 2], [0, 1, 2]))
        members[0].sync(top)
        equal(members[0].get_children(top), [])


@case
def set_partitioner():
    with clients(2) as members:
        top, items = path(), tuple(f"item-{i}" for i in range(6))

        def partitioner(i):
            return members[i].SetPartitioner(top, set=items, identifier=f"p{i}", time_boundary=0.5)

        def settle(parts):
            for part in parts:
                if part.release:
                    part.release_set()
                check(not part.failed, "a partitioner failed")
            return all(part.acquired for part in parts)

        alone = partitioner(0)
        wait_for(lambda: settle([alone]), "one member takes all")
        equal(sorted(alone), sorted(items))
        both = [alone, partitioner(1)]
        wait_for(lambda: settle(both) and len(list(alone)) == 3, "two members share")
        equal(sorted([*both[0], *both[1]]), sorted(items))
        both[1].finish()
        wait_for(lambda: settle([alone]) and len(list(alone)) == 6, "the one left takes all again")
        alone.finish()


# Queues and counters


@case
def queue():
    with clients(2) as (one, two):
        top = path()
        producer, consumer = one.Queue(top), two.Queue(top)
        equal(consumer.get(), None)
        for value, priority in ((b"late", 200), (b"a", 100), (b"b", 100), (b"first", 1)):
            producer.put(value, priority)
        equal(len(consumer), 4)
        equal([consumer.get() for _ in range(5)], [b"first", b"a", b"b", b"late", None])


@case
def queue_with_two_consumers():
    with clients(3) as (one, *consumers):
        top, taken = path(), []
        source = one.Queue(top)
        for i in range(60):
            source.put(str(i).encode())

        def drain(client):
            client.sync(top)
            found = client.Queue(top)
            while (value := found.get()) is not None:
                taken.append(int(value))

        for thread in [in_thread(drain, client) for client in consumers]:
            thread.result()
        equal(sorted(taken), list(range(60)))


@case
def locking_queue():
    with clients(3) as (one, two, three):
        top = path()
        source, first, second = one.LockingQueue(top), two.LockingQueue(top), three.LockingQueue(top)
        equal(first.get(timeout=0.2), None)
        waiting = in_thread(first.get, 30)
        source.put(b"one")
        equal(waiting.result(), b"one")
        equal(first.holds_lock(), True)
        equal(second.get(timeout=0.2), None, "a locked entry")
        first.release()
        equal(second.get(30), b"one")
        equal(second.consume(), True)
        equal(second.consume(), False)
        source.put_all([b"x", b"y"], priority=5)
        equal((first.get(30), second.get(30)), (b"x", b"y"))
        two.stop()
        third = one.LockingQueue(top)
        equal(third.get(30), b"x", "an entry whose holder is gone")
        check(third.consume() and second.consume(), "both are done")
        one.sync(top)
        equal(len(source), 0)


@case
def counter():
    with clients(4) as members:
        top = path()

        def add(client):
            value = client.Counter(top)
            for _ in range(25):
                value += 2
                value -= 1

        for thread in [in_thread(add, client) for client in members]:
            thread.result()
        members[0].sync(top)
        last = members[0].Counter(top)
        equal(last.value, 100)
        last += 5
        equal((last.pre_value, last.post_value), (100, 105))
        other = members[1].Counter(path(), default=1.5)
        other += 0.25
        equal(other.value, 1.75)
        plain = members[1].Counter(path(), support_curator=True)
        plain += 7
        equal(plain.value, 7)


# Leases


@case
def non_blocking_lease():
    with clients(2) as (one, two):
        top, hour = path(), datetime.timedelta(hours=1)
        now = [datetime.datetime(2026, 1, 1)]
        clock = lambda: now[0]
        check(NonBlockingLease(one, top, hour, "one", clock), "a free lease")
        check(not NonBlockingLease(two, top, hour, "two", clock), "a lease that is held")
        check(one.NonBlockingLease(top, hour, "one", clock), "a lease renewed by its holder")
        now[0] += datetime.timedelta(hours=2)
        check(NonBlockingLease(two, top, hour, "two", clock), "a lease that ran out")


@case
def multi_non_blocking_lease():
    with clients(1) as (one,):
        top, hour = path(), datetime.timedelta(hours=1)
        got = [bool(MultiNonBlockingLease(one, 2, top, hour, f"m{i}")) for i in range(3)]
        equal(got, [True, True, False])


# Watching


@case
def data_watch():
    with clients(2) as (one, two):
        top, seen = path(), []

        @one.DataWatch(top)
        def changed(data, stat, event):
            seen.append((data, stat and stat.version, event and event.type))
            return len(seen) < 5

        equal(seen, [(None, None, None)])
        two.create(top, b"a")
        wait_for(lambda: len(seen) == 2, "the creation")
        two.set(top, b"b")
        wait_for(lambda: len(seen) == 3, "the change")
        two.delete(top)
        wait_for(lambda: len(seen) == 4, "the deletion")
        two.create(top, b"c")
        wait_for(lambda: len(seen) == 5, "the second creation")
        equal(seen[1:3], [(b"a", 0, "CREATED"), (b"b", 1, "CHANGED")])
        equal(seen[3:], [(None, None, "DELETED"), (b"c", 0, "CREATED")])
        two.set(top, b"nobody listens")
        one.get(top)
        equal(len(seen), 5)


@case
def children_watch():
    with clients(2) as (one, two):
        top, seen = path(), []
        one.ensure_path(top)

        @one.ChildrenWatch(top, send_event=True)
        def changed(children, event):
            seen.append((sorted(children), event and event.type))
            return len(children) < 3

        equal(seen, [([], None)])
        for i, names in enumerate((["a"], ["a", "b"], ["a", "b", "c"])):
            two.create(f"{top}/{names[-1]}")
            wait_for(lambda i=i: len(seen) == i + 2, f"the change to {names}")
            equal(seen[-1], (names, "CHILD"))
        two.create(top + "/d")
        one.get_children(top)
        equal(len(seen), 4)


@case
def watches_over_restart():
    with clients(2) as (one, two):
        top, values, children = path(), [], []
        one.create(top, b"0")
        one.DataWatch(top, lambda data, stat: values.append(data))
        one.ChildrenWatch(top, lambda names: children.append(sorted(names)))
        equal((values, children), ([b"0"], [[]]))
        ask("restart")
        two.retry(two.set, top, b"1")
        two.retry(two.ensure_path, top + "/c")
        wait_for(lambda: values[-1] == b"1" and children[-1] == ["c"], "both watches see what changed")
        two.retry(two.set, top, b"2")
        wait_for(lambda: values[-1] == b"2", "and are armed again")


@case
def patient_children_watch():
    with clients(1) as (one,):
        top = path()
        one.ensure_path(top + "/a")
        children, changed = PatientChildrenWatch(one, top, time_boundary=0.3).start().get(30)
        equal(children, ["a"])
        one.create(top + "/b")
        changed.get(30)


@case
def tree_cache():
    with clients(2) as (one, two):
        top, seen = path(), []
        two.create(top, b"root")
        two.create(top + "/a", b"1")
        one.sync(top)
        cache = TreeCache(one, top)
        cache.listen(seen.append)
        cache.start()

        def kinds(wanted):
            events = [event for event in list(seen) if event.event_type == wanted]
            return [event.event_data and event.event_data.path for event in events]

        wait_for(lambda: kinds(TreeEvent.INITIALIZED), "the first reading is done")
        equal(cache.get_data(top + "/a").data, b"1")
        equal(cache.get_children(top), frozenset(["a"]))
        two.create(top + "/a/b", b"2")
        wait_for(lambda: top + "/a/b" in kinds(TreeEvent.NODE_ADDED), "an addition")
        two.set(top + "/a/b", b"3")
        wait_for(lambda: cache.get_data(top + "/a/b").data == b"3", "a change")
        ask("restart")
        two.retry(two.delete, top + "/a", recursive=True)
        wait_for(lambda: cache.get_data(top + "/a") is None, "a deletion after a restart")
        wait_for(lambda: top + "/a/b" in kinds(TreeEvent.NODE_REMOVED), "the removed child is told")
        check(kinds(TreeEvent.CONNECTION_RECONNECTED), "the reconnection is told")
        cache.close()


run_all()
