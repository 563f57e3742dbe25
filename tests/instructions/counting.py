"""Builds the program whose instructions are counted, and has callgrind count them."""

import json
import os
import subprocess
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

# What jemalloc does by the clock, it would do more often on a slow machine.
ALLOCATOR = "experimental_tcache_gc:false,dirty_decay_ms:-1,muzzy_decay_ms:-1"


def build(debug=False):
    """The path of the program, which cargo brings up to date; if wanted with the names of what was inlined."""
    words = ["cargo", "build", "--release", "--example", "instructions", "--message-format=json"]
    if debug:
        words += ["--config", 'profile.release.package.zkserver.debug="line-tables-only"']
    built = subprocess.run(words, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True)
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "instructions":
            return message["executable"]
    raise OSError("cargo does not name the program")


def profile(program, path, count, *options):
    """What callgrind writes of so many operations of a path, line by line."""
    with tempfile.TemporaryDirectory(prefix="zkserver-callgrind-") as directory:
        out = Path(directory) / "out"
        words = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", *options]
        words += [program, "--path", path, "--count", str(count)]
        environment = {**os.environ, "_RJEM_MALLOC_CONF": ALLOCATOR}
        ended = subprocess.run(words, env=environment, capture_output=True, text=True)
        if ended.returncode != 0:
            raise OSError(f"{path}: {ended.stderr[-2000:]}")
        return out.read_text().splitlines()


def total(lines):
    """All instructions of a run."""
    for line in lines:
        if line.startswith("summary:"):
            return int(line.split()[1])
    raise ValueError("callgrind gives no summary")


def per_operation(program, path, count):
    """Instructions per operation, without what is done once."""
    fewer, more = (total(profile(program, path, times * count)) for times in (1, 3))
    return round((more - fewer) / (2 * count))
