"""What benchmarks with crowds of clients share: their driver, and servers that take so many."""

import json
import os
import resource
import subprocess
from contextlib import contextmanager

from side_by_side import REPOSITORY, cpu_seconds, main_by_side, memory, parser

# Entries that the tests set are taken back; all of a crowd connects at once.
CROWD = {
    "tickTime": 2000,
    "initLimit": 10,
    "syncLimit": 5,
    "minSessionTimeout": None,
    "maxSessionTimeout": None,
    "clientPortListenBacklog": 4096,
    "extendedTypesEnabled": None,
    "autopurge.purgeInterval": None,
}


class Servers:
    """Running servers of one kind."""

    def __init__(self, hosts, pids, cluster=None):
        self.hosts = hosts
        self.pids = pids
        self.cluster = cluster

    def cpu_seconds(self):
        """User and system time of all of them."""
        return sum(map(cpu_seconds, self.pids))

    def resident_bytes(self):
        return sum(memory(pid)[0] for pid in self.pids)


@contextmanager
def running(bench, side, count=1):
    """Servers that serve; ended with the block."""
    if count == 1:
        with bench.standalone(side, CROWD) as server:
            yield Servers(f"127.0.0.1:{server.port}", [server.process.pid])
        return
    with bench.ensemble(side, count, CROWD) as cluster:
        cluster.start()
        yield Servers(cluster.addresses(), [member.process.pid for member in cluster], cluster)


def measure(made, one, larger=()):
    """Runs the benchmark: `one(bench, side)` gives the figures of a side in a pair; more is better for `larger`."""

    def take(bench, side):
        for name, value in one(bench, side).items():
            bench.add(side, name, value, more=name in larger)

    files_max()
    main_by_side(take, made)


def files_max():
    """How many files a process may open here; raises the limit as far as it goes."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def driver_path(built=[]):
    """benches/sessions.rs, built on first use; BENCH_SESSIONS names one that is there."""
    if "BENCH_SESSIONS" in os.environ:
        return os.environ["BENCH_SESSIONS"]
    if not built:
        words = ["cargo", "bench", "--no-run", "-q", "--bench", "sessions", "--message-format=json"]
        done = subprocess.run(words, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
        messages = [json.loads(line) for line in done.stdout.splitlines()]
        built.append(next(m["executable"] for m in messages if m.get("target", {}).get("name") == "sessions"))
    return built[0]


class Driver:
    """One process of benches/sessions.rs."""

    def __init__(self, mode, hosts, **words):
        command = [driver_path(), mode, "--hosts", hosts]
        for name, value in words.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def read(self):
        """The next thing it says."""
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the driver ended with {self.process.wait()}")
        return json.loads(line)

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()
