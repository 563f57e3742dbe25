"""Places, processes and verdicts of the tests of what is installed."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60


class Score:
    """Counts what held and what did not."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def check(self, what, holds, details=""):
        if holds:
            self.passed += 1
            return
        self.failed += 1
        print(f"FAILED {what}" + (f"\n  {details}" if details else ""))

    def equal(self, what, found, expected):
        self.check(what, found == expected, f"found {found!r}, expected {expected!r}")

    def contains(self, what, text, part):
        self.check(what, part in text, f"{part!r} is not in:\n{text}")

    def finish(self):
        print(f"{self.passed} passed, {self.failed} failed")
        return 0 if self.failed == 0 and self.passed > 0 else 1


class Place:
    """A directory of its own with the program in it, and what was started there; all of it ends with it."""

    def __init__(self, server):
        self.server = Path(server).resolve()
        self.processes = []
        self.pid_files = []

    def __enter__(self):
        self._dir = tempfile.TemporaryDirectory(prefix="zk-install-")
        self.dir = Path(self._dir.name)
        # Other users run the program, too.
        self.dir.chmod(0o755)
        return self

    def __exit__(self, *_):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        for pid_file in self.pid_files:
            pid = pid_in(pid_file)
            if pid and is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        self._dir.cleanup()

    def path(self, name):
        return self.dir / name

    def link(self, name):
        """A symbolic link to the program."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(self.server)
        return path

    def write(self, name, text):
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def run(self, command, environment=None, cwd=None):
        """Runs a command to its end with this environment and no other."""
        return subprocess.run(
            [str(word) for word in command],
            env=environment or {},
            cwd=cwd or self.dir,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
        )

    def spawn(self, command, environment=None, cwd=None):
        """Starts a command that goes on; its output is in `log`."""
        with open(self.path("log"), "w") as log:
            process = subprocess.Popen(
                [str(word) for word in command],
                env=environment or {},
                cwd=cwd or self.dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(process)
        return process

    def log(self):
        return self.path("log").read_text(errors="replace")


def free_ports(count):
    """Ports that nothing listens on. They are held together, so that none comes twice."""
    holders = [socket.socket() for _ in range(count)]
    try:
        for holder in holders:
            holder.bind(("127.0.0.1", 0))
        return [holder.getsockname()[1] for holder in holders]
    finally:
        for holder in holders:
            holder.close()


def eventually(ask, patience=PATIENCE):
    """Asks until the answer is true; the last answer."""
    deadline = time.monotonic() + patience
    while True:
        answer = ask()
        if answer or time.monotonic() > deadline:
            return answer
        time.sleep(0.02)


def serves(port):
    """The server on this port answers clients."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"srvr")
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
            return b"Mode: " in answer
    except OSError:
        return False


def pid_in(path):
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None


def is_alive(pid):
    """The process is there, and not only waiting for its parent."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def user_of(pid):
    """The user id that a process runs under."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("Uid:"):
            return int(line.split()[1])
    return None
