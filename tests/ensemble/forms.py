"""How a member that fell behind gets its history back: the situations for each form, and what the logs say of it."""

import json
import re
import subprocess

from clients import LOST, Client
from cluster import wait_until, zk
from trees import assert_same_zxid, log_records, newest_snapshot

# Longer than a member is paused on a slow machine: nothing is to be given up because of time.
SLOW = {"tickTime": 2000, "initLimit": 30, "syncLimit": 30}

# What the one says that sends the history to server {id}, and what the one says that gets it, by kind.
SENT = {
    "ours": {
        "diff": r"synchronizing server {id}, .*: DIFF after \S+ window",
        "log": r"synchronizing server {id}: \d+ transactions read from the log",
        "trunc": r"synchronizing server {id}, .*: TRUNC to",
        "snap": r"synchronizing server {id}, .*: SNAP window|synchronizing server {id}: SNAP",
    },
    "apache": {
        "diff": r"Using committedLog for peer sid: {id}$",
        "log": r"Use txnlog and committedLog for peer sid: {id}$",
        "trunc": r"Synchronizing with Learner sid: {id} ",  # it tells nobody, but the other one does
        "snap": r"LearnerHandler\] Sending snapshot last zxid of peer",
    },
}
TAKEN = {
    "ours": {"trunc": "the log was cut behind", "snap": "installed the leader's snapshot"},
    "apache": {
        "diff": "Getting a diff from the leader",
        "log": "Getting a diff from the leader",
        "trunc": "Truncating log to get in sync with the leader",
        "snap": "Getting a snapshot from leader",
    },
}


def language(member):
    return "apache" if member.is_apache() else "ours"


def bulk(member, path, count, session=None):
    """Creates so many nodes, all sent before the first answer is read; returns the last zxid."""
    with Client(member, session=session) as client:
        frames = [zk.frame(zk.request(n, zk.CREATE, zk.create(f"{path}{n}", b"x" * 20))) for n in range(1, count + 1)]
        client.conn.send(b"".join(frames))
        for _ in frames:
            reply = client.read(zk.CREATE)
            assert reply.err == 0, f"error {reply.err} of a create below {path}"
        client.close()
        return client.last_zxid


class Catching:
    """Watches in which form `learner` is brought up to date by `leader`, from now on."""

    def __init__(self, leader, learner):
        self.leader = leader
        self.learner = learner
        self.marks = {member: len(member.log()) for member in (leader, learner)}

    def assert_form(self, form):
        sent = SENT[language(self.leader)][form].replace("{id}", str(self.learner.id))
        self.leader.wait_log(sent, since=self.marks[self.leader], seconds=20)
        taken = TAKEN[language(self.learner)].get(form)
        if taken:
            self.learner.wait_log(taken, since=self.marks[self.learner], seconds=20)

    def start(self, form):
        """Starts the learner, which must come up in this form."""
        self.learner.start().wait_serving()
        self.assert_form(form)
        assert self.leader.mode() == "leader", f"{self.leader} is {self.leader.mode()}"


def on_disk(member):
    """The last zxid that it would find there."""
    return max(newest_snapshot(member.data_dir), max(log_records(member.data_dir), default=0))


def away(cluster, leader, learner, path, count):
    """The learner misses so many writes."""
    zxid = assert_same_zxid(cluster)
    # What a quorum has may be applied where the log is still behind.
    wait_until(lambda: on_disk(learner) >= zxid, f"{learner} has {zxid:#x} on disk")
    learner.kill()
    catching = Catching(leader, learner)
    bulk(leader, path, count)
    return catching


def logged_alone(cluster, leader, path, count):
    """The leader logs writes that nobody else ever gets; then it is killed, and the others start anew.

    The others are paused first, so that the proposals lie in the sockets; these are gone when the paused are killed.
    Returns the leader that the others elect, and the zxids that are lost.
    """
    others = [member for member in cluster.running() if member is not leader]
    with Client(leader, 120000) as client:
        client.create(f"{path}-before")
        before = assert_same_zxid(cluster)
        # Otherwise the other two differ in what they have, and that decides who leads.
        wait_until(lambda: all(on_disk(member) >= before for member in others), f"{others} have {before:#x} on disk")
        for member in others:
            member.pause()
        frames = [zk.frame(zk.request(n, zk.CREATE, zk.create(f"{path}{n}"))) for n in range(1, count + 1)]
        client.conn.send(b"".join(frames))
        wanted = before + count
        wait_until(lambda: max(log_records(leader.data_dir)) == wanted, f"{leader} has {count} writes in its log")
        for member in others:
            member.kill()
        leader.kill()
        client.conn.wait(10)
        try:
            reply = client.read(zk.CREATE)
        except LOST as lost:
            assert not isinstance(lost, zk.Silent), "the connection of a killed server stays open"
        else:
            raise AssertionError(f"a write that nobody else has is acknowledged: {reply}")
    for member in others:
        member.start()
    cluster.wait_serving(*others)
    return cluster.leader(), range(before + 1, wanted + 1)


def digests(member, command):
    """zxid -> digest of every transaction in the log of a member that carries one."""
    found = {}
    for path in sorted((member.data_dir / "version-2").glob("log.*")):
        words = [*command, "txnlog", "--json", str(path)]
        text = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
        for line in text.splitlines():
            record = json.loads(line)
            if record.get("digest"):
                found[int(record["zxid"], 16)] = (record["digest_version"], record["digest"])
    return found


def wrong_digests(member):
    """What a member says of digests that are not those it computes; empty or 0 when all are right."""
    wrong = re.compile("(?i)digests? (?:are|is) not matching|digest mismatch")
    return [line for line in member.log().splitlines() if wrong.search(line)] or member.metric(
        "zk_digest_mismatches_count"
    )
