"""Changes of the members of an ensemble, asked for over the wire, and what its members show of them."""

import re

from clients import LOST, Client
from cluster import wait_until, zk

RECONFIG = {"reconfigEnabled": "true"}
CONFIG_NODE = "/zookeeper/config"
NO_QUORUM, DISABLED, NO_AUTH, BAD_VERSION, UNIMPLEMENTED = -13, -123, -102, -103, -6


def body(joining="", leaving="", members="", version=-1):
    texts = [zk.buf(text.encode()) if text else zk.i32(-1) for text in (joining, leaving, members)]
    return b"".join(texts) + zk.i64(version)


def superuser(member, **named):
    client = Client(member, **named)
    zk.become_super(client.conn)
    return client


def reconfig(member, **change):
    """The configuration that the change has led to, as the reply shows it; or the next one that the member shows, when
    its role has ended with the change before it could answer."""
    before = wait_until(lambda: shown(member), lambda: f"{member} shows the configuration")
    try:
        with superuser(member) as client:

            def answer():
                # Right after a change of the leader its followers may not be in sync yet.
                reply = client.ask(zk.RECONFIG, body(**change))
                return None if reply.err == NO_QUORUM else reply

            reply = wait_until(answer, "a quorum of the new members is in sync")
            assert reply.err == 0, f"error {reply.err}"
            return reply.body[0].decode()
    except LOST:

        def after():
            text = shown(member)
            return text if text and text != before else None

        return wait_until(after, lambda: f"{member} shows another configuration: {shown(member)}")


def refusal(member, **change):
    with superuser(member) as client:
        return client.ask(zk.RECONFIG, body(**change)).err


def members_of(text):
    """Number -> role."""
    return {int(number): role for number, role in re.findall(r"^server\.(\d+)=.*:(participant|observer)", text, re.M)}


def version_of(text):
    return int(re.search(r"^version=([0-9a-f]+)$", text, re.M).group(1), 16)


def shown(member):
    """What it shows; None while it shows nothing."""
    try:
        with superuser(member) as client:
            return client.get(CONFIG_NODE)[0].decode()
    except LOST:
        return None


def agree(cluster, expected=None):
    """Every member shows the same configuration; returns it."""
    everybody = cluster.running() + [stranger for stranger in cluster.strangers if stranger.running()]

    def same():
        texts = {"\n".join(sorted((shown(member) or "nothing").split("\n"))) for member in everybody}
        return texts.pop() if len(texts) == 1 and texts != {"nothing"} else None

    text = wait_until(same, lambda: f"one configuration: { {m.id: shown(m) for m in everybody} }")
    if expected is not None:
        assert members_of(text) == expected, text
    return text


def files(member):
    return sorted(path.name for path in member.directory.glob("zoo.cfg*"))


def started(bench, size, **named):
    cluster = bench.cluster(size, config={**RECONFIG, **named.pop("config", {})}, **named)
    for member in cluster:
        member.keeps_config = True
    return cluster.start()


def join(cluster, kind, role="participant"):
    """One more server, which is in nobody's list but its own, until somebody adds it."""
    member = cluster.add(kind, role, listed=False)
    member.keeps_config = True
    member.servers = cluster.server_lines() + [member.line()]
    member.start().wait_serving()
    return member


def kind_of(bench, at):
    kinds = bench.options.kinds.split(",")
    return kinds[at % len(kinds)]
