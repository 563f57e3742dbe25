"""Disks that fail: writes and syncs of the log that return an error (by strace), and a file system that is full."""

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

from servers import Died, Server
from workload import Writer, check_all, load, set_up

WRITES = "write,pwrite64,writev,pwritev,pwritev2"
SYNCS = "fsync,fdatasync,sync_file_range"
INJECTIONS = [
    (calls, error, number)
    for calls, error in ((SYNCS, "EIO"), (WRITES, "ENOSPC"), (WRITES, "EIO"), (SYNCS, "ENOSPC"))
    for number in (2, 3, 7, 30)
]


def injected(template, directory, score, seed):
    """Each injection on a fresh directory: the process ends, names the log, and nothing acknowledged is lost."""
    if not shutil.which("strace"):
        print("skipped: strace is not installed")
        return
    for calls, error, number in INJECTIONS:
        name = f"{error} at number {number} of {calls.split(',')[0]}..."
        log = Path(directory) / f"{error}-{calls[:3]}-{number}" / "data/version-2/log.1"
        strace = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-P", str(log), "-e", f"trace={calls}"]
        strace += ["-e", f"inject={calls}:error={error}:when={number}+"]
        server = Server(template, log.parents[2], {"snapCount": 100000}, prefix=strace)
        writers = [Writer(number, random.Random(seed + number)) for number in range(2)]
        fails_and_returns(server, writers, score, name, log.name)


def fails_and_returns(server, writers, score, name, file):
    try:
        server.start()
        set_up(server.port, writers)
        threads = load(server.port, writers)
    except (Died, OSError) as early:
        score.check(f"{name}: {early}", False)
        return
    except Exception:  # the fault came before the writers: nothing but the subtrees' roots can be missing
        threads = []
    ended = wait_end(server, 20)
    score.check(f"{name}: the process ends", ended)
    if not ended:
        server.kill()
    for thread in threads:
        thread.join(30)
    last = server.last_lines(1)
    score.check(f"{name}: the last line names {file}", file in last, last)
    score.check(
        f"{name}: the exit code says so", server.process.returncode > 0, str(server.process.returncode)
    )
    back(server, writers, score, name)


def back(server, writers, score, name):
    server.prefix = []
    try:
        server.start()
        if all(writer.session for writer in writers):
            check_all(server.port, writers, score, name)
    except Died as died:
        score.check(f"{name}: starts again", False, str(died))
    finally:
        server.kill()


def wait_end(server, seconds):
    deadline = time.monotonic() + seconds
    while server.process.poll() is None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def full_disk(template, directory, score, seed):
    """A small tmpfs that fills up under load, and is made larger afterwards."""
    mount = Path(directory) / "full"
    (mount / "data").mkdir(parents=True)
    made = (
        os.geteuid() == 0
        and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "zkserver-test", str(mount / "data")],
            stderr=subprocess.DEVNULL,
        ).returncode
        == 0
    )
    if not made:
        print("skipped: no right to mount a small file system")
        return
    writers = [Writer(number, random.Random(seed + number)) for number in range(3)]
    server = Server(template, mount, {"snapCount": 300})
    try:
        server.start()
        set_up(server.port, writers)
        threads = load(server.port, writers)
        score.check("full disk: the process ends", wait_end(server, 60))
        for thread in threads:
            thread.join(30)
        last = server.last_lines(1)
        score.check("full disk: the last line says so", "version-2" in last and "space" in last.lower(), last)
        still_full(server, score)
        subprocess.run(["mount", "-o", "remount,size=64m", str(mount / "data")], check=True)
        back(server, writers, score, "full disk, made larger")
    finally:
        if server.process:
            server.end(signal.SIGKILL)
        subprocess.run(["umount", "-l", str(mount / "data")])


def still_full(server, score):
    """A start on the full disk may fail, and must say why; it must not damage anything."""
    try:
        server.start(10)
    except Died as died:
        score.check("full disk: a start that fails says why", "space" in str(died).lower(), str(died))
    else:
        score.check("full disk: a start that succeeds", True)
        server.kill()
