"""What the benchmarks share: servers of both kinds with the settings users have, figures pair by pair, their table.

Apache gets the heap that big trees want and its full compiler. A ratio is taken within each pair, so that a machine
that slows down slows both sides; the median over the pairs is shown. Ratios say how many times ours is better.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "tests" / folder) for folder in ("differential", "ensemble", "cluster")]
# zkload and compare.py are not part of this repository.
sys.path.append(os.environ.get("SHARED_TOOLS", str(REPOSITORY.parent / "shared/tools")))

import zkwire as zk  # noqa: E402
from cluster import Cluster  # noqa: E402
from servers import DEFAULT_SERVER, Server, apache_template, scratch  # noqa: E402

HEAP = "-Xmx3g"
# What the tests set to be quick is left to the default; None removes a key.
USUAL = {"preAllocSize": None, "maxClientCnxns": 0, "admin.enableServer": "false"}


def parser(doc, pairs=3, znodes=None):
    """The options that every benchmark has."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--server", default=DEFAULT_SERVER, help="ours; {cfg} is its zoo.cfg")
    made.add_argument("--only", default="apache,ours", help="the sides, in their order within a pair")
    made.add_argument("--pairs", type=int, default=pairs)
    made.add_argument("--json", help="also write every figure to this file")
    if znodes is not None:
        made.add_argument("--znodes", type=int, default=znodes)
    return made


class Bench:
    """One run of a benchmark: where its servers live, and the figures so far."""

    def __init__(self, args, directory):
        self.args = args
        self.directory = Path(directory)
        self.templates = {"ours": args.server}
        if "apache" in args.only.split(","):
            usual = apache_template().replace("-XX:TieredStopAtLevel=1 ", "").replace("-XX:+UseSerialGC ", "")
            self.templates["apache"] = usual.replace("-Xmx256m", HEAP)
        self.figures = {}  # name -> (more is better, target, {side: [values]})
        self.started = 0

    def turns(self):
        """(pair, side) in the order in which they are to be measured."""
        for pair in range(self.args.pairs):
            for side in self.args.only.split(","):
                yield pair, side

    def standalone(self, side, config=None):
        """A server of its own, not started; `with` starts and ends it."""
        return Server(self.templates[side], self._folder(side), {**USUAL, **(config or {})}, side)

    def ensemble(self, side, size=3, config=None, **named):
        """A cluster, not started; `with` ends it."""
        both = {**USUAL, "tickTime": 2000, **(config or {})}
        made = Cluster(self._folder(side), [side] * size, self.args.server, config=both, **named)
        made.templates.update(self.templates)
        return made

    def start_on_copy(self, side, data_dir):
        """(seconds from the start of a process to its first answer, the server): standalone, on a copy of this data."""
        server = self.standalone(side)
        server.directory.mkdir(parents=True)
        shutil.copytree(data_dir, server.data_dir)
        os.sync()
        begin = time.monotonic()
        server.start(300)
        return time.monotonic() - begin, server

    def _folder(self, side):
        self.started += 1
        return self.directory / f"{self.started}-{side}"

    def add(self, side, name, value, more=False, target=""):
        """One measured value. `more`: the larger the better; None: neither, no ratio is taken."""
        self.figures.setdefault(name, (more, target, {}))[2].setdefault(side, []).append(value)
        print(f"# {side}: {name} {value:,.6g}", file=sys.stderr, flush=True)

    def finish(self):
        """Prints the table, and writes it where --json says."""
        print(f"{'figure':<44}{'apache':>12}{'ours':>12}{'ours is better by':>19}  target")
        rows = []
        for name, (more, target, by) in self.figures.items():
            median = {side: statistics.median(values) for side, values in by.items()}
            ratio = better_by(by.get("apache"), by.get("ours"), more)
            apache, ours = (f"{median[side]:,.6g}" if side in median else "-" for side in ("apache", "ours"))
            print(f"{name:<44}{apache:>12}{ours:>12}{f'{ratio:.2f}x' if ratio else '-':>19}  {target}")
            row = {"figure": name, "more_is_better": more, "target": target}
            rows.append({**row, **median, "ratio": ratio, "values": by})
        if self.args.json:
            shown = {key: value for key, value in vars(self.args).items() if key not in ("server", "json")}
            Path(self.args.json).write_text(json.dumps({"options": shown, "rows": rows}, indent=1) + "\n")


def better_by(apache, ours, more):
    """The median over the pairs of how many times ours is better; None where that cannot be said."""
    if more is None or not apache or not ours or 0 in (*apache, *ours):
        return None
    return statistics.median(o / a if more else a / o for a, o in zip(apache, ours))


def main(run, made):
    """Parses the command line, runs `run(bench)` in a temporary directory, and prints the table."""
    args = made.parse_args()
    with scratch() as directory:
        bench = Bench(args, directory)
        run(bench)
        bench.finish()


def main_by_side(measure, made):
    """The same with `measure(bench, side)` for each side of each pair."""

    def run(bench):
        for _, side in bench.turns():
            measure(bench, side)

    main(run, made)


def zkload_path():
    """The program, built at its first use."""
    import compare

    return compare.build_zkload()


def zkload(*words):
    """Runs zkload, without errors; what it says."""
    command = [zkload_path(), *map(str, words)]
    done = json.loads(subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout)
    assert done["errors"] == 0, done
    return done


# ---- what a process uses


def memory(pid):
    """(resident bytes, the most there ever were)."""
    text = Path(f"/proc/{pid}/status").read_text()
    return tuple(int(re.search(rf"{field}:\s+(\d+)", text).group(1)) * 1024 for field in ("VmRSS", "VmHWM"))


def cpu_seconds(pid):
    """User and system time of the threads that it has now."""
    spent = (task.joinpath("schedstat").read_text() for task in Path(f"/proc/{pid}/task").iterdir())
    return sum(int(text.split()[0]) for text in spent) / 1e9


def written_bytes(pid):
    """What the process has given to the disk (pages it made dirty), less what was thrown away again."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["write_bytes"]) - int(fields["cancelled_write_bytes"])
