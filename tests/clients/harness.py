"""Starts the server under test and runs client programs against it.

A client program, in whatever language, gets the server's address as an argument and talks in lines:

    plan N              how many cases it has; a case without a verdict counts as failed
    ok NAME             the case passed
    not ok NAME: WHY    the case failed
    restart             stop the server in order and start it again; answered by a line `restarted`
    crash               the same with SIGKILL

Anything else it prints is kept and shown when something failed.
"""

import base64
import hashlib
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOOLS = os.path.join(os.path.dirname(HERE), "tools")
ROOT = os.path.dirname(os.path.dirname(HERE))

# Short ticks keep the tests of session expiry short; nothing else depends on them.
TICK_MS = 500
SUPER_PASSWORD = "super:interop"
SUPER_DIGEST = "super:" + base64.b64encode(hashlib.sha1(SUPER_PASSWORD.encode()).digest()).decode()
START_SECONDS = 60
# Containers and TTL nodes go soon.
CONTAINER_CHECK_MS = 200


def default_template():
    """The command of the release build of this project."""
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    return f"{shlex.quote(os.path.join(target, 'release', 'zkserver'))} start-foreground {{cfg}}"


def apache_template():
    """The command of Apache's own server."""
    main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
    options = f"-Xmx512m -XX:TieredStopAtLevel=1 -Dznode.container.checkIntervalMs={CONTAINER_CHECK_MS}"
    return f"java {options} -cp {shlex.quote(apache_class_path())} {main} {{cfg}}"


_class_path = []


def apache_class_path():
    """The class path of Apache's server and clients, fetched at first use."""
    if not _class_path:
        script = os.path.join(TOOLS, "apache.sh")
        done = subprocess.run([script, "3.9.5"], check=True, stdout=subprocess.PIPE, text=True)
        _class_path.append(done.stdout.strip())
    return _class_path[0]


def quiet_class_path():
    """The same without line editing and log configuration: a client's output is then only its own."""
    folder = apache_class_path().split(":")[0]
    jars = [name for name in sorted(os.listdir(folder)) if name.endswith(".jar") and "jline" not in name]
    return ":".join(os.path.join(folder, name) for name in jars)


def free_port():
    """A port nobody listens on, outside the range of outgoing connections.

    A client that keeps trying to reconnect to a stopped server on a port of that range can connect to itself,
    and the server then cannot have its port back.
    """
    with open("/proc/sys/net/ipv4/ip_local_port_range") as limits:
        low = int(limits.read().split()[0])
    while True:
        port = random.randrange(10000, max(low, 10001 + 10000))
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def four_letter_word(port, word, timeout=5):
    """The server's whole answer to a four-letter word."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        connection.sendall(word.encode())
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer.decode()


class Server:
    """A server process in the foreground, with a data directory of its own."""

    def __init__(self, template):
        self.home = tempfile.mkdtemp(prefix="zk-clients-")
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.log_path = os.path.join(self.home, "server.log")
        self.process = None
        cfg = os.path.join(self.home, "zoo.cfg")
        with open(cfg, "w") as file:
            file.write(
                f"tickTime={TICK_MS}\n"
                f"dataDir={self.home}/data\n"
                f"clientPort={self.port}\n"
                "clientPortAddress=127.0.0.1\n"
                "maxClientCnxns=0\n"
                "admin.enableServer=false\n"
                "4lw.commands.whitelist=*\n"
                "extendedTypesEnabled=true\n"
                "enforceQuota=true\n"
                # Apache reads it as a Java property only.
                f"znode.container.checkIntervalMs={CONTAINER_CHECK_MS}\n"
                f"DigestAuthenticationProvider.superDigest={SUPER_DIGEST}\n"
            )
        self.command = shlex.split(template.replace("{cfg}", shlex.quote(cfg)))

    def start(self):
        """Starts the process and returns when it serves."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.serves():
            code = self.process.poll()
            if code is not None:
                raise RuntimeError(f"the server ended with {code}\n{self.log_tail()}")
            if time.monotonic() > deadline:
                self.stop(signal.SIGKILL)
                raise RuntimeError(f"the server does not serve after {START_SECONDS} s\n{self.log_tail()}")
            time.sleep(0.02)
        return self

    def serves(self):
        try:
            return "Mode: standalone" in four_letter_word(self.port, "srvr")
        except OSError:
            return False

    def stop(self, signal_number=signal.SIGTERM):
        """Ends the process and returns when it is gone."""
        if self.process is None:
            return
        self.process.send_signal(signal_number)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise RuntimeError(f"no end after signal {signal_number}\n{self.log_tail()}") from None
        finally:
            self.process = None

    def restart(self, signal_number=signal.SIGTERM):
        self.stop(signal_number)
        self.start()

    def log_tail(self, lines=40):
        with open(self.log_path, errors="replace") as log:
            return "".join(log.readlines()[-lines:])

    def discard(self):
        shutil.rmtree(self.home, ignore_errors=True)


class Outcome:
    """The verdicts of one client program."""

    def __init__(self):
        self.passed = []
        self.failed = []
        self.planned = None
        self.output = []

    def settle(self, code):
        """Adds what is wrong with the run as a whole."""
        seen = len(self.passed) + len(self.failed)
        if self.planned is None:
            self.failed.append("plan: the program ended before it said how many cases it has")
        elif seen != self.planned:
            self.failed += [f"a case without a verdict, of {self.planned}"] * max(1, self.planned - seen)
        if code < 0 or (code != 0 and not self.failed):
            self.failed.append(f"the program ended with {code}")


def run_client(command, server, seconds, environment=None):
    """Runs a client program to its end, serving its requests to restart the server."""
    outcome = Outcome()
    program = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **(environment or {})},
    )
    timer = threading.Timer(seconds, program.kill)
    timer.start()
    try:
        for line in program.stdout:
            _take_line(line.rstrip("\n"), outcome, server, program)
        code = program.wait()
        if not timer.is_alive():
            outcome.failed.append(f"the program did not end within {seconds} s")
    finally:
        timer.cancel()
        if program.poll() is None:
            program.kill()
            program.wait()
    outcome.settle(code)
    return outcome


def _take_line(line, outcome, server, program):
    if line.startswith("plan "):
        outcome.planned = int(line[5:])
    elif line.startswith("ok "):
        outcome.passed.append(line[3:])
    elif line.startswith("not ok "):
        outcome.failed.append(line[7:])
    elif line in ("restart", "crash"):
        server.restart(signal.SIGTERM if line == "restart" else signal.SIGKILL)
        program.stdin.write("restarted\n")
        program.stdin.flush()
    else:
        outcome.output.append(line)
