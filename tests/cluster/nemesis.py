"""What goes wrong in a run: each kind does its harm, holds it for a while, and undoes it; drawn from the seed."""

import re
import subprocess
import threading
import time

from clients import LOST, Expired
from cluster import wait_until, zk
from membership import body, superuser
from network import CLIENT

WRITES = "pwrite64,fdatasync,fsync,rename,ftruncate,fallocate"
SYNCS = "fdatasync,fsync"


def strace(*injections):
    """Words that run a member with these injections; strace stays in the background and ends with it."""
    words = ["strace", "-D", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null"]
    calls = sorted({call for injection in injections for call in injection.split(":")[0].split(",")})
    words += ["-e", f"trace={','.join(calls)}", "-e", "signal=none"]
    return words + [word for injection in injections for word in ("-e", f"inject={injection}")]


class Nemesis:
    """Does these kinds in turn, until it is told to end."""

    def __init__(self, cluster, rng, slow, kinds):
        self.cluster = cluster
        self.net = cluster.namespaces
        self.rng = rng
        self.slow = slow  # words before the command of every member, for slow syncs
        self.kinds = kinds
        self.done = []
        self.lines = []
        self.ended = []  # members of ours that ended though nothing was done to them

    def note(self, text):
        self.lines.append(f"{time.monotonic():.3f} {text}")

    def run(self, until):
        """Goes on until that time; everything is undone when it returns."""
        turn = 0
        while True:
            pause = self.rng.uniform(0.5, 2.5)
            if time.monotonic() + pause > until:
                break
            time.sleep(pause)
            kind = self.kinds[turn % len(self.kinds)]
            turn += 1
            self.note(f"{kind} begins")
            self.look_for_ended()
            KINDS[kind](self)
            self.note(f"{kind} ends")
            self.done.append(kind)
        self.heal()

    def look_for_ended(self):
        """Between two faults all run, but for what Apache's give up by themselves."""
        for member in self.cluster:
            if not member.running() and not member.is_apache():
                self.ended.append(f"{member} ended by itself: exit code {member.process.returncode}: {member.tail()}")
            self.up(member)

    def heal(self):
        """Nothing is cut, nobody is paused, all run."""
        self.look_for_ended()
        self.net.heal()
        for member in self.cluster:
            if member.paused:
                member.resume()
            member.prefix = list(self.slow)
        if "change_members" in self.kinds:
            self.everybody_votes()

    # ---- whom and how long

    def hold(self, low=0.5, high=4.0):
        time.sleep(self.rng.uniform(low, high))

    def any(self):
        return self.rng.choice(self.cluster.members)

    def leader(self):
        """Who leads, or anyone while nobody does."""
        leading = [member for member in self.cluster.running() if member.mode() == "leader"]
        return leading[0] if leading else self.any()

    def others(self, member):
        return [other.id for other in self.cluster if other is not member]

    def kill(self, *members):
        for member in members:
            self.note(f"kill {member}")
            member.kill()
        self.hold(0.0, 3.0)
        self.up(*members)

    def up(self, *members):
        for member in members:
            if not member.running():
                member.kill()
                member.start()

    def pause(self, member):
        if not member.running():
            self.up(member)
            return
        self.note(f"pause {member}")
        member.pause()
        self.hold(0.5, 6.0)
        if member.running():
            member.resume()

    def cut(self, low=1.0, high=6.0):
        """Holds what was cut just now."""
        self.hold(low, high)
        dropped = sum(self.net.dropped(number) for number in self.net.numbers)
        self.note(f"{dropped} packets dropped")
        self.net.heal()

    # ---- who the members are

    def reconfigure(self, **change):
        """The configuration that the change leads to; None if nobody said so. What was asked may be done all the same."""
        try:
            with superuser(self.leader(), timeout=2000, wait=5) as client:
                reply = client.ask(zk.RECONFIG, body(**change))
                self.note(f"{change}: error {reply.err}")
                return reply.body[0].decode() if reply.err == 0 else None
        except (*LOST, Expired) as error:
            self.note(f"{change}: {type(error).__name__}")
            return None

    def everybody_votes(self):
        """All who began as voters are voters again."""
        voters = [member for member in self.cluster if member.role == "participant"]
        lines = ",".join(member.full_line() for member in voters)

        def voting():
            text = self.reconfigure(joining=lines)
            return text and len(re.findall(r":participant", text)) == len(voters)

        wait_until(voting, lambda: f"everybody votes: {self.lines[-3:]}", seconds=60.0, step=0.3)

    def inject(self, injection, wait=6.0):
        """A member runs with this injection until it ends or for some seconds, then without it."""
        member = self.leader() if self.rng.random() < 0.3 else self.any()
        self.note(f"{member} with {injection}")
        member.kill()
        member.prefix = strace(*injection.split(" "), *(self.slow[-1:] and [self.slow[-1].removeprefix("inject=")]))
        member.start()
        deadline = time.monotonic() + wait
        while member.running() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.note(f"{member}: " + ("runs on" if member.running() else f"exit code {member.process.returncode}"))
        member.prefix = list(self.slow)
        member.kill()
        member.start()


def kill_member(nemesis):
    nemesis.kill(nemesis.any())


def kill_leader(nemesis):
    nemesis.kill(nemesis.leader())


def kill_all(nemesis):
    nemesis.kill(*nemesis.cluster)


def pause_member(nemesis):
    nemesis.pause(nemesis.any())


def pause_leader(nemesis):
    nemesis.pause(nemesis.leader())


def partition(nemesis):
    """Two sides, of any size."""
    numbers = [member.id for member in nemesis.cluster]
    nemesis.rng.shuffle(numbers)
    at = nemesis.rng.randint(1, len(numbers) - 1)
    nemesis.note(f"{numbers[:at]} | {numbers[at:]}")
    nemesis.net.split(numbers[:at], numbers[at:])
    nemesis.cut()


def one_way(nemesis):
    """A member hears nobody, or is heard by nobody."""
    member = nemesis.leader() if nemesis.rng.random() < 0.5 else nemesis.any()
    incoming = nemesis.rng.random() < 0.5
    nemesis.note(f"{member}, incoming {incoming}")
    nemesis.net.isolate(member.id, nemesis.others(member), incoming, not incoming)
    nemesis.cut()


def isolate_leader(nemesis):
    leader = nemesis.leader()
    nemesis.note(f"{leader}")
    nemesis.net.isolate(leader.id, nemesis.others(leader))
    nemesis.cut()


def cut_quorum_port(nemesis):
    leader = nemesis.leader()
    nemesis.net.cut_ports(leader.id, [leader.quorum_port])
    nemesis.cut()


def cut_election_port(nemesis):
    for member in nemesis.cluster:
        nemesis.net.cut_ports(member.id, [member.election_port])
    nemesis.up(nemesis.leader().restart("kill"))
    nemesis.cut()


def cut_clients(nemesis):
    """The leader reaches its peers only."""
    nemesis.net.rules(nemesis.leader().id, [f"ip saddr {nemesis.net.address(CLIENT)}"])
    nemesis.cut()


def drop_packets(nemesis):
    """Of what members send each other, 30 % are lost at one member or at all."""
    condition = f"ip saddr != {nemesis.net.address(CLIENT)} numgen random mod 100 < 30"
    for member in nemesis.cluster.members if nemesis.rng.random() < 0.5 else [nemesis.any()]:
        nemesis.net.rules(member.id, [condition])
    nemesis.cut(2.0, 6.0)


def reset_connections(nemesis):
    """All connections of some members, also those of clients, are reset by the kernel."""
    for _ in range(nemesis.rng.randint(1, 4)):
        words = nemesis.net.command(nemesis.any().id, ["ss", "-K", "state", "established"])
        subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        nemesis.hold(0.1, 1.0)


def sync_fails(nemesis):
    nemesis.inject(f"{SYNCS}:error=EIO:when={nemesis.rng.randint(1, 120)}+")


def disk_is_full(nemesis):
    nemesis.inject(f"pwrite64:error=ENOSPC:when={nemesis.rng.randint(1, 200)}+")


def rename_fails(nemesis):
    nemesis.inject(f"rename:error=EIO:when={nemesis.rng.randint(1, 3)}+")


def dies_at_a_call(nemesis):
    call = nemesis.rng.choice(WRITES.split(","))
    most = {"rename": 4, "ftruncate": 3, "fallocate": 3}.get(call, 150)
    nemesis.inject(f"{call}:signal=KILL:when={nemesis.rng.randint(1, most)}")


def slow_disk(nemesis):
    """One member's disk is slower than the others'."""
    nemesis.inject(f"{SYNCS}:delay_enter={nemesis.rng.randint(20, 200)}000", wait=nemesis.rng.uniform(3.0, 6.0))


def change_members(nemesis):
    """Somebody goes, or gives the vote away, and comes back; who leads or another may die at any step of both."""
    member = nemesis.leader() if nemesis.rng.random() < 0.4 else nemesis.any()
    goes = nemesis.rng.random() < 0.5
    away = {"leaving": str(member.id)} if goes else {"joining": member.full_line("observer")}
    for change in (away, {"joining": member.full_line()}):
        asks = threading.Thread(target=nemesis.reconfigure, kwargs=change)
        asks.start()
        if nemesis.rng.random() < 0.5:
            nemesis.hold(0.0, 0.1)
            # Who may be in no list just now has nothing to start with.
            others = [other for other in nemesis.cluster if not (goes and other is member)]
            nemesis.kill(nemesis.rng.choice(others))
        asks.join()
        nemesis.hold(0.0, 2.0)
    nemesis.everybody_votes()


KINDS = {
    function.__name__: function
    for function in (
        kill_member,
        kill_leader,
        kill_all,
        pause_member,
        pause_leader,
        partition,
        one_way,
        isolate_leader,
        cut_quorum_port,
        cut_election_port,
        cut_clients,
        drop_packets,
        reset_connections,
        sync_fails,
        disk_is_full,
        rename_fails,
        dies_at_a_call,
        slow_disk,
        change_members,
    )
}
