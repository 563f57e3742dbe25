"""kazoo's reconfig, on an ensemble of three that a fourth server follows.

    kazoo_reconfig.py HOST:PORT,... [CASE...]

From the environment: RECONFIG_MEMBERS, the three lines with commas, RECONFIG_JOINING, that of the fourth server, and
RECONFIG_SUPER, the superuser's name and password.
"""

import os
import re

from cases import case, equal, raises, run_all, wait_for
from kazoo import exceptions
from kazoo_common import Client, Events

MEMBERS, JOINING, SUPER = (os.environ[f"RECONFIG_{name}"] for name in ("MEMBERS", "JOINING", "SUPER"))
CONFIG = "/zookeeper/config"


def superuser():
    return Client(auth_data=[("digest", SUPER)])


def version(data):
    return int(re.search(rb"^version=([0-9a-f]+)$", data, re.M).group(1), 16)


def numbers(data):
    return sorted(re.findall(rb"^server\.(\d+)=", data, re.M))


@case
def only_the_superuser_may():
    with Client() as client:
        raises(exceptions.NoAuthError, lambda: client.reconfig(JOINING, None, None))
        equal(numbers(client.get(CONFIG)[0]), [b"1", b"2", b"3"])


@case
def one_joins_and_leaves():
    with superuser() as client, Client() as other:
        events = Events()
        other.get(CONFIG, watch=events)
        data, stat = client.reconfig(JOINING, None, None)
        equal(numbers(data), [b"1", b"2", b"3", b"4"])
        assert JOINING.encode() in data.split(b"\n"), data
        equal((stat.version, stat.mzxid, stat.data_length), (-1, version(data), len(data)))
        events.wait(("CHANGED", CONFIG))
        equal(client.get(CONFIG)[0], data)
        data, stat = client.reconfig(None, "4", None, stat.mzxid)
        equal(numbers(data), [b"1", b"2", b"3"])


@case
def both_at_once():
    with superuser() as client:
        leaving = MEMBERS.split(",")[0]
        number = re.match(r"server\.(\d+)=", leaving).group(1)
        before = client.get(CONFIG)[0]
        data, _ = client.reconfig(JOINING, number, None, version(before))
        equal(len(numbers(data)), 3)
        assert JOINING.encode() in data.split(b"\n"), data
    with superuser() as client:
        wait_for(lambda: client.get(CONFIG)[0] == data, "the new configuration is shown")
        data, _ = until_synced(lambda: client.reconfig(leaving, "4", None))
        equal(numbers(data), [b"1", b"2", b"3"])


def until_synced(ask):
    """Right after a change of the leader its followers may not be in sync yet."""
    answers = []

    def answered():
        try:
            answers.append(ask())
        except exceptions.NewConfigNoQuorumError:
            return False
        return True

    wait_for(answered, "a quorum of the new members is in sync")
    return answers[0]


@case
def all_members_are_replaced():
    with superuser() as client:
        data, _ = until_synced(lambda: client.reconfig(None, None, f"{MEMBERS},{JOINING}"))
        equal(numbers(data), [b"1", b"2", b"3", b"4"])
        data, _ = until_synced(lambda: client.reconfig(None, None, MEMBERS, version(data)))
        equal(numbers(data), [b"1", b"2", b"3"])


@case
def what_cannot_be_done_is_refused():
    with superuser() as client:
        before = client.get(CONFIG)[0]
        refused = [
            (exceptions.BadVersionError, (JOINING, None, None, 7)),
            (exceptions.BadArgumentsError, ("server.5=127.0.0.1:1:2", None, None)),
            (exceptions.BadArgumentsError, (None, "1,2", None)),
            (exceptions.NewConfigNoQuorumError, (None, None, nobody())),
        ]
        for error, request in refused:
            raises(error, lambda request=request: client.reconfig(*request))
        equal(client.get(CONFIG)[0], before)


def nobody():
    return ",".join(f"server.{n}=127.0.0.1:{n}1:{n}2;127.0.0.1:{n}3" for n in (7, 8, 9))


run_all()
