"""Real ensembles: members of any kind on loopback addresses of their own, started, stopped, killed, paused and replaced.

A kind is `ours` (the command given by --server) or a word that servers.resolved knows: `apache`, `apache-3.8.0`. Every
member has a directory with its configuration, data and log, and keeps its address and ports for as long as it lives.
Members are counted from 1, as in the lists of servers.
"""

import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "differential"))
import zkwire as zk
from servers import DEFAULT_SERVER, REPOSITORY, Died, resolved

PATIENCE = 90.0  # seconds; only a test that fails anyway waits so long
SERVING = ("leader", "follower", "observer")

CONFIG = {
    "tickTime": 1000,
    "initLimit": 10,
    "syncLimit": 5,
    "minSessionTimeout": 2000,
    "maxSessionTimeout": 120000,
    "maxClientCnxns": 0,
    "preAllocSize": 64,
    "4lw.commands.whitelist": "*",
    "admin.enableServer": "false",
    "autopurge.purgeInterval": 0,
    "DigestAuthenticationProvider.superDigest": zk.SUPER_DIGEST,
}


def wait_until(condition, what, seconds=PATIENCE, step=0.02):
    """The condition's first true value; raises when there is none in time. `what` is a text, or makes one."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Died(f"still not so after {seconds:.0f} s: {what() if callable(what) else what}")
        time.sleep(step)


def free_ports(host, count):
    """Ports that nobody uses on this address; nothing leaves from it, so they stay free."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((host, 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


class Member:
    """One server of a cluster: a process, or the place for one."""

    def __init__(self, cluster, number, kind, role):
        self.cluster = cluster
        self.id = number
        self.kind = kind
        self.role = role  # participant or observer
        self.config = {}  # replaces entries of the cluster's; None removes a key
        self.servers = None  # its own lines server.N=..., when they shall differ from the cluster's
        self.myid = number
        self.keeps_config = False  # whether a start goes on with the file that the last one has left
        self.prefix = []  # words before the command, for instance of strace
        self.host = f"{cluster.network}.{number}"
        # In a namespace of its own nobody else has any port.
        self.port, self.quorum_port, self.election_port = (
            (2181, 2888, 3888) if cluster.namespaces else free_ports(self.host, 3)
        )
        self.directory = cluster.directory / str(number)
        self.data_dir = self.directory / "data"
        self.output = self.directory / "server.log"
        self.process = None
        self.paused = False
        self.data_dir.mkdir(parents=True)

    def __repr__(self):
        return f"{self.kind} server {self.id}"

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def is_apache(self):
        return "QuorumPeerMain" in self.cluster.template(self.kind)

    def line(self):
        """Its line in the list of servers."""
        return f"server.{self.id}={self.host}:{self.quorum_port}:{self.election_port}:{self.role}"

    def full_line(self, role=None, port=None):
        """The same with the address for clients, as a reconfiguration names it."""
        line = f"server.{self.id}={self.host}:{self.quorum_port}:{self.election_port}:{role or self.role}"
        return f"{line};{self.host}:{port or self.port}"

    # ---- the process

    def start(self):
        """Starts the process and returns at once; `wait_serving` waits for it."""
        assert not self.running(), f"{self} runs already"
        (self.data_dir / "myid").write_text(f"{self.myid}\n")
        entries = {
            **CONFIG,
            "dataDir": self.data_dir,
            "clientPort": self.port,
            "clientPortAddress": self.host,
            **self.cluster.config,
            **self.cluster.properties,
            **self.config,
        }
        if self.role == "observer":
            entries.setdefault("peerType", "observer")
        lines = [f"{key}={value}" for key, value in entries.items() if value is not None]
        lines += self.servers if self.servers is not None else self.cluster.server_lines()
        path = self.directory / "zoo.cfg"
        if not (self.keeps_config and path.exists()):
            path.write_text("\n".join(lines) + "\n")
        words = shlex.split(self.cluster.template(self.kind))
        if self.is_apache():
            # The last one counts.
            at = words.index("-cp")
            words[at:at] = [f"-D{name}={value}" for name, value in self.cluster.properties.items()]
        command = self.prefix + [word.replace("{cfg}", str(path)) for word in words]
        if self.cluster.namespaces:
            command = self.cluster.namespaces.command(self.id, command)
        with open(self.output, "ab") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=REPOSITORY
            )
        return self

    def running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self):
        """SIGTERM; the process must end by it."""
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Died(f"{self} does not end on SIGTERM: {self.tail()}") from None
        return self.process.returncode

    def kill(self):
        """SIGKILL; nothing happens to a member that does not run."""
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
        self.paused = False

    def signal(self, number):
        assert self.running(), f"{self} does not run: {self.tail()}"
        self.process.send_signal(number)

    def pause(self):
        """SIGSTOP: its connections stay open, and nothing answers from here on."""
        self.signal(signal.SIGSTOP)
        self.paused = True
        # A thread stops when it has its turn, and may answer before.
        wait_until(self.is_stopped, f"{self} stands still")

    def is_stopped(self):
        """Whether every thread of it is."""
        try:
            stats = [path.read_text() for path in Path(f"/proc/{self.process.pid}/task").glob("*/stat")]
        except OSError:
            # One has ended in this moment.
            return False
        return all(stat.rpartition(")")[2].split()[0] in "Tt" for stat in stats)

    def resume(self):
        self.signal(signal.SIGCONT)
        self.paused = False

    def restart(self, how="stop"):
        """Ends the process by `stop` or `kill` and starts it again, without waiting for it to serve."""
        getattr(self, how)()
        return self.start()

    def replace(self, kind):
        """From the next start on it is a server of this kind, on the same data directory."""
        assert not self.running(), f"{self} runs"
        self.kind = kind
        return self

    def wipe(self):
        """Removes all data, as with a new disk."""
        assert not self.running(), f"{self} runs"
        shutil.rmtree(self.data_dir)
        self.data_dir.mkdir()
        return self

    def wait_end(self, seconds=PATIENCE):
        """Waits for the process to end by itself, and returns its exit code."""
        wait_until(lambda: not self.running(), f"{self} ends by itself", seconds)
        return self.process.returncode

    # ---- what it says

    def word(self, word, wait=2.0):
        """The answer to a four-letter word; empty when there is none."""
        if not self.running() or self.paused:
            return ""
        try:
            return zk.four_letter_word(self.port, word, wait, host=self.host)
        except (OSError, UnicodeDecodeError):
            return ""

    def field(self, name):
        """One line of `srvr`, or None."""
        found = re.search(rf"^{name}: (.*)$", self.word("srvr"), re.M)
        return found.group(1) if found else None

    def mode(self):
        """leader, follower, observer or standalone; None while it does not serve."""
        return self.field("Mode")

    def zxid(self):
        """The last zxid it has applied; None while it does not serve."""
        text = self.field("Zxid")
        return int(text, 16) if text else None

    def wait_zxid(self, zxid):
        """Waits until it has applied so much."""
        wait_until(lambda: (self.zxid() or 0) >= zxid, lambda: f"{self} at {zxid:#x}: {self.zxid()}")

    def metric(self, name):
        """One number of `mntr`, or None."""
        found = re.search(rf"^{name}\t(-?\d+)$", self.word("mntr"), re.M)
        return int(found.group(1)) if found else None

    def wait_serving(self, seconds=PATIENCE):
        wait_until(self.serves, lambda: f"{self} serves: {self.tail()}", seconds)
        return self

    def serves(self):
        if self.process is None or self.process.poll() is not None:
            code = None if self.process is None else self.process.returncode
            raise Died(f"{self} does not run (exit code {code}): {self.tail()}")
        return self.mode() in SERVING

    def log(self):
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def tail(self, count=8):
        return "\n" + "\n".join(self.log().splitlines()[-count:])

    def wait_log(self, pattern, seconds=PATIENCE, since=0):
        """Waits for a line of the log, behind its first `since` characters, in which the pattern is found."""

        def line():
            return next((text for text in self.log()[since:].splitlines() if re.search(pattern, text)), None)

        return wait_until(line, lambda: f"a line {pattern!r} in the log of {self}: {self.tail()}", seconds)


class Cluster:
    """Members of the given kinds, none of them started. `with` kills them all at its end.

    `ours` is the command behind the kind `ours`; `observers` the numbers of those that do not vote; `config` replaces
    entries of CONFIG; `properties` are entries that Apache's servers read as Java properties only; `lines` are added to
    the list of servers (weights and groups). `namespaces`, a Network, is where the members run; it is removed with them.
    """

    def __init__(
        self,
        directory,
        kinds,
        ours=DEFAULT_SERVER,
        observers=(),
        config=None,
        properties=None,
        lines=(),
        namespaces=None,
    ):
        self.directory = Path(directory)
        self.ours = ours
        self.config = dict(config or {})
        self.properties = dict(properties or {})
        self.lines = list(lines)
        self.templates = {}
        self.strangers = []  # members that are in no list
        self.namespaces = namespaces
        # An address of its own: ports stay free while a member is down, and no client's outgoing port is one of them.
        loopback = f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}"
        self.network = namespaces.prefix if namespaces else loopback
        self.members = [
            Member(self, number, kind, "observer" if number in observers else "participant")
            for number, kind in enumerate(kinds, 1)
        ]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def __getitem__(self, number):
        return self.members[number - 1]

    def __iter__(self):
        return iter(self.members)

    def __len__(self):
        return len(self.members)

    def template(self, kind):
        if kind not in self.templates:
            self.templates[kind] = resolved(self.ours if kind == "ours" else kind)
        return self.templates[kind]

    def server_lines(self):
        return [member.line() for member in self.members] + self.lines

    def add(self, kind, role="participant", listed=True):
        """One more member; the lists of running members do not change. `listed` False leaves it out of the list."""
        member = Member(self, len(self.members) + len(self.strangers) + 1, kind, role)
        (self.members if listed else self.strangers).append(member)
        return member

    def start(self, *numbers, wait=True):
        """Starts these members (or all), and by default waits until each of them serves."""
        chosen = [self[number] for number in numbers] or self.members
        for member in chosen:
            member.start()
        if wait:
            self.wait_serving(*chosen)
        return self

    def wait_serving(self, *members):
        for member in members or self.running():
            member.wait_serving()

    def running(self):
        return [member for member in self.members if member.running() and not member.paused]

    def serving(self):
        return [member for member in self.running() if member.mode() in SERVING]

    def addresses(self, *members):
        """A connect string."""
        return ",".join(member.address for member in members or self.members)

    def modes(self):
        """Number -> mode of every member that runs."""
        return {member.id: member.mode() for member in self.running()}

    def leader(self, seconds=PATIENCE):
        """The one member that leads, as soon as there is one."""

        def only():
            leading = [member for member in self.running() if member.mode() == "leader"]
            return leading[0] if len(leading) == 1 else None

        return wait_until(only, lambda: f"one server leads; {self.modes()}", seconds)

    def followers(self):
        return [member for member in self.running() if member.mode() == "follower"]

    def close(self):
        for member in self.members + self.strangers:
            member.kill()
        if self.namespaces:
            self.namespaces.close()

    def tails(self, count=8):
        """The end of every member's log, for a report."""
        return "\n".join(f"--- {member}{member.tail(count)}" for member in self.members + self.strangers)
