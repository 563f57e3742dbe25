"""The client programs: how each is built and called."""

import atexit
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import Callable

import harness

HERE = harness.HERE


@dataclass
class Client:
    """One line of the report."""

    name: str
    # Installs and builds; returns (server -> command line, additional environment).
    prepare: Callable
    # The program is ended and counted as failed after this long.
    seconds: int = 180


def install(part):
    """Installs one part and returns the folder with the packages."""
    script = os.path.join(harness.TOOLS, "install.sh")
    done = subprocess.run([script, part], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip().split("\n")[-1]


def package(part):
    """The folder of an installed package."""
    folder = install(part)
    return os.path.join(folder, max(name for name in os.listdir(folder) if name.startswith(part + "-")))


def kazoo(program):
    def prepare():
        environment = {"PYTHONPATH": package("kazoo"), "PYTHONDONTWRITEBYTECODE": "1"}
        return lambda server: [sys.executable, os.path.join(HERE, program), server.address], environment

    return prepare


def node():
    environment = {"NODE_PATH": os.path.join(package("node"), "node_modules")}
    return lambda server: ["node", os.path.join(HERE, "node_client.js"), server.address], environment


def c():
    build = tempfile.TemporaryDirectory(prefix="zk-c-client-")
    atexit.register(build.cleanup)
    program = os.path.join(build.name, "c_client")
    install("c")
    source = os.path.join(HERE, "c_client.c")
    flags = ["-O1", "-Wall", "-Wextra", "-DTHREADED"]
    subprocess.run(["cc", *flags, "-o", program, source, "-lzookeeper_mt", "-lpthread"], check=True)
    return lambda server: [program, server.address], {}


def java(program):
    """The words that run this program, which is compiled into a folder that goes with this process."""
    install("java")
    build = tempfile.TemporaryDirectory(prefix="zk-java-")
    atexit.register(build.cleanup)
    class_path = harness.quiet_class_path()
    source = os.path.join(HERE, "java", f"{program}.java")
    subprocess.run(["javac", "-nowarn", "-d", build.name, "-cp", class_path, source], check=True)
    words = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=OFF"]
    return [*words, "-cp", f"{build.name}:{class_path}", program]


def curator(program):
    def prepare():
        command = java(program)
        return lambda server: [*command, server.address], {}

    return prepare


def rust(*more):
    """Built once into the cache folder; cargo itself knows when there is nothing to do."""

    def prepare():
        target = os.path.join(install("rust"), "rust-target")
        manifest = os.path.join(HERE, "rust", "Cargo.toml")
        command = ["cargo", "build", "--quiet", "--locked", "--manifest-path", manifest]
        subprocess.run(command, check=True, env={**os.environ, "CARGO_TARGET_DIR": target})
        program = os.path.join(target, "debug", "rust-client")
        return lambda server: [program, server.address, *more], {"RUST_BACKTRACE": "0"}

    return prepare


def zkcli():
    """Needs a second server, Apache's own, to compare with; it lives as long as this run does."""
    reference = harness.Server(harness.apache_template()).start()
    atexit.register(end, reference)
    program = os.path.join(HERE, "zkcli.py")
    class_path = harness.quiet_class_path()
    return lambda server: [sys.executable, program, server.address, reference.address, class_path], {}


def end(server):
    server.stop(signal.SIGKILL)
    server.discard()


ALL = [
    Client("kazoo", kazoo("kazoo_operations.py")),
    Client("kazoo-sessions", kazoo("kazoo_sessions.py")),
    Client("kazoo-recipes", kazoo("kazoo_recipes.py")),
    Client("zkcli", zkcli),
    Client("curator", curator("CuratorClient")),
    Client("c", c, 60),
    Client("node", node),
    Client("rust", rust()),
]

# On ensembles whose members change.
RECONFIG = [
    Client("kazoo", kazoo("kazoo_reconfig.py")),
    Client("curator", curator("CuratorReconfig")),
    Client("rust", rust("reconfig")),
]
