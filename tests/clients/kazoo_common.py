"""What the kazoo programs share: clients that close themselves, nodes of their own, and events seen."""

import itertools
import subprocess
import sys

from cases import equal, wait_for
from kazoo.client import KazooClient

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
    """Runs a process that makes an ephemeral node and dies with its session open; returns the session."""
    program = (
        "import os, sys; from kazoo.client import KazooClient;"
        f"c = KazooClient(sys.argv[1], timeout={timeout}); c.start(30);"
        "c.create(sys.argv[2] + '/e', ephemeral=True);"
        "print(c.client_id[0], c.client_id[1].hex(), flush=True); os._exit(0)"
    )
    command = [sys.executable, "-c", program, ADDRESS, top]
    done = subprocess.run(command, check=True, timeout=60, stdout=subprocess.PIPE, text=True)
    number, password = done.stdout.split()
    return int(number), bytes.fromhex(password)


class Events:
    """A watch callback that keeps what it is told."""

    def __init__(self):
        self.seen = []

    def __call__(self, event):
        self.seen.append((event.type, event.path))

    def wait(self, *expected):
        wait_for(lambda: len(self.seen) >= len(expected), f"events {expected}, seen {self.seen}")
        equal(tuple(self.seen), expected)
