"""Starts and stops real servers from command templates, each on its own directory and free loopback port.

A template is a shell-like command line with `{cfg}` where the path of zoo.cfg belongs, for instance
`target/release/zkserver start-foreground {cfg}`. The words `apache` and `apache-3.8.0` stand for those of Apache.
"""

import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import zkwire

REPOSITORY = Path(__file__).resolve().parents[2]
DEFAULT_SERVER = "target/release/zkserver start-foreground {cfg}"
JAVA = (
    "java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto -Xmx256m {options} "
    "{check} -cp {classes} "
    "org.apache.zookeeper.server.quorum.QuorumPeerMain {{cfg}}"
)

# Containers and TTL nodes stay within any run. Apache reads the interval as a Java property only.
CONTAINER_CHECK_MS = 86400000
CONTAINER_CHECK = f"-Dznode.container.checkIntervalMs={CONTAINER_CHECK_MS}"

# Every word, the super user of zkwire, small files, session limits that no run reaches, and all kinds of nodes.
BASE_CONFIG = {
    "tickTime": 2000,
    "clientPortAddress": "127.0.0.1",
    "minSessionTimeout": 4000,
    "maxSessionTimeout": 600000,
    "maxClientCnxns": 0,
    "preAllocSize": 64,
    "4lw.commands.whitelist": "*",
    "admin.enableServer": "false",
    "autopurge.purgeInterval": 0,
    "extendedTypesEnabled": "true",
    "znode.container.checkIntervalMs": CONTAINER_CHECK_MS,
    "DigestAuthenticationProvider.superDigest": zkwire.SUPER_DIGEST,
}


def apache_class_path(version="3.9.5"):
    """From APACHE_CP (3.9.5 only), else from tests/tools/apache.sh."""
    classes = os.environ.get("APACHE_CP") if version == "3.9.5" else None
    if not classes:
        script = os.environ.get("APACHE_SH", str(REPOSITORY / "tests/tools/apache.sh"))
        classes = subprocess.run(
            [script, version], check=True, stdout=subprocess.PIPE, text=True
        ).stdout.strip()
    return classes


def apache_template(version="3.9.5", options=""):
    """The command of an Apache server."""
    classes = apache_class_path(version)
    return JAVA.format(options=options, classes=shlex.quote(classes), check=CONTAINER_CHECK)


def resolved(template):
    """The template itself, or Apache's for `apache` and `apache-VERSION`."""
    name, _, version = template.partition("-")
    return apache_template(version or "3.9.5") if name == "apache" and " " not in template else template


def fill(word, places):
    for place, text in places.items():
        word = word.replace(place, text)
    return word


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Died(Exception):
    """The server ended, or did not serve in time; holds the end of its output."""


class Server:
    """One server process. `config` entries replace those of BASE_CONFIG; None removes a key."""

    def __init__(self, template, directory, config=None, name="server", prefix=()):
        self.template = resolved(template)
        self.apache = "QuorumPeerMain" in self.template
        self.directory = Path(directory)
        self.data_dir = self.directory / "data"
        self.config = {**BASE_CONFIG, **(config or {})}
        self.name = name
        self.prefix = list(prefix)  # words before the command, for instance of strace
        self.output = self.directory / f"{name}.out"
        self.process = None
        self.port = None

    def start(self, wait=60.0):
        """Starts the process and returns when it serves."""
        self.spawn()
        deadline = time.monotonic() + wait
        while not self.serves():
            if self.process.poll() is not None:
                raise Died(f"{self.name} ended with {self.process.returncode}: {self.last_lines()}")
            if time.monotonic() > deadline:
                self.kill()
                raise Died(f"{self.name} does not serve after {wait} s: {self.last_lines()}")
            time.sleep(0.005)
        return self

    def spawn(self):
        """Starts the process and returns at once."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.data_dir.mkdir(exist_ok=True)
        self.port = free_port()
        lines = {"dataDir": self.data_dir, "clientPort": self.port, **self.config}
        cfg = self.directory / f"{self.name}.cfg"
        cfg.write_text("".join(f"{key}={value}\n" for key, value in lines.items() if value is not None))
        interval = self.config["znode.container.checkIntervalMs"]
        places = {"{cfg}": str(cfg), CONTAINER_CHECK: f"-Dznode.container.checkIntervalMs={interval}"}
        command = self.prefix + [fill(word, places) for word in shlex.split(self.template)]
        with open(self.output, "ab") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=REPOSITORY
            )

    def serves(self):
        try:
            return "Mode: " in zkwire.four_letter_word(self.port, "srvr", wait=2.0)
        except OSError:
            return False

    def kill(self):
        self.end(signal.SIGKILL)

    def terminate(self):
        self.end(signal.SIGTERM)

    def end(self, how):
        """Sends `how` and waits; an Apache or other server that ignores it for 20 s is killed."""
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def last_lines(self, count=12):
        text = self.output.read_text(errors="replace") if self.output.exists() else ""
        return "\n" + "\n".join(text.splitlines()[-count:])

    def connect(self, timeout=30000, **fields):
        return zkwire.session(self.port, timeout, **fields)

    def __enter__(self):
        return self.start()

    def __exit__(self, *error):
        self.kill()


class Score:
    """Counts checks, prints failures, and turns them into the last line and the exit code of a `run` script."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def check(self, name, good, detail=""):
        if good:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAILED {name}{': ' if detail else ''}{detail}", flush=True)
        return good

    def equal(self, name, got, expected):
        return self.check(name, got == expected, f"got {got!r}, expected {expected!r}")

    def finish(self):
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        sys.exit(1 if self.failed else 0)


def scratch():
    """A temporary directory, removed at the end (kept when KEEP is set)."""
    if os.environ.get("KEEP"):
        return _Kept(tempfile.mkdtemp(prefix="zkserver-test-"))
    return tempfile.TemporaryDirectory(prefix="zkserver-test-")


class _Kept:
    def __init__(self, path):
        self.path = path

    def __enter__(self):
        print(f"keeping {self.path}", flush=True)
        return self.path

    def __exit__(self, *error):
        pass
