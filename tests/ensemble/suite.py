"""Runs the cases of one suite: one line for each, the logs of the members when one fails, and the count at the end."""

import argparse
import itertools
import random
import sys
import time
import traceback

sys.dont_write_bytecode = True

from cluster import DEFAULT_SERVER, Cluster, zk
from servers import scratch

CASES = []


def case(function):
    """Registers a function of (bench) as a case, in the order of the file."""
    CASES.append(function)
    return function


class Bench:
    """What a case gets: clusters that are ended with it, and a source of random numbers of its own."""

    def __init__(self, options, directory, seed):
        self.options = options
        self.directory = directory
        self.seed = seed
        self.rng = random.Random(seed)
        self.clusters = []
        self.clients = []

    def cluster(self, size, kinds=None, **named):
        """A cluster of `size` members, by default of the kinds of the command line in turn."""
        chosen = kinds or list(itertools.islice(itertools.cycle(self.options.kinds.split(",")), size))
        folder = f"{self.directory}/{len(self.clusters) + 1}"
        self.clusters.append(Cluster(folder, chosen, self.options.server, **named))
        return self.clusters[-1]

    def all_apache(self):
        """Whether no member is ours: what only ours promises cannot be seen then."""
        return set(self.options.kinds.split(",")) <= {"apache"} or (
            self.options.server.startswith("apache") and " " not in self.options.server
        )

    def thread(self, roaming):
        """Starts a client thread that is ended with the case."""
        self.clients.append(roaming)
        roaming.start()
        return roaming

    def close(self):
        for client in self.clients:
            client.ending.set()
        for cluster in self.clusters:
            cluster.close()
        for client in self.clients:
            client.join(10)


def arguments(description, **more):
    """The options every suite has; `more` are further ones, name -> keywords of add_argument."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default=DEFAULT_SERVER, help="command with {cfg} for zoo.cfg, or `apache`")
    parser.add_argument("--kinds", default="ours", help="kinds of the members, in turn: ours, apache, apache-3.8.0")
    parser.add_argument("--only", help="names of cases, with commas")
    parser.add_argument("--seed", type=int, help="default: a new one each run")
    for name, keywords in more.items():
        parser.add_argument(f"--{name}", **keywords)
    options = parser.parse_args()
    options.seed = zk.seed_from(options.seed)
    return options


def main(description, cases=None, **more):
    """Runs the registered cases, or those of `cases(options)`, and ends the process."""
    options = arguments(description, **more)
    todo = cases(options) if cases else [(function.__name__, function) for function in CASES]
    wanted = options.only.split(",") if options.only else [name for name, _ in todo]
    print(f"seed {options.seed}", flush=True)
    passed = failed = 0
    for name, function in todo:
        if name not in wanted:
            continue
        if run(name, function, options):
            passed += 1
        else:
            failed += 1
    for name in set(wanted) - {name for name, _ in todo}:
        print(f"FAILED {name}: there is no such case")
        failed += 1
    print(f"{passed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed or not passed else 0)


def run(name, function, options):
    started = time.monotonic()
    with scratch() as directory:
        bench = Bench(options, directory, f"{options.seed}-{name}")
        try:
            function(bench)
            print(f"ok {name} ({time.monotonic() - started:.1f} s)", flush=True)
            return True
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)
            lines = " < ".join(f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in reversed(where))
            print(f"FAILED {name} ({time.monotonic() - started:.1f} s): {type(error).__name__}: {error}")
            print(f"    at {lines}")
            for cluster in bench.clusters:
                print(cluster.tails(), flush=True)
            return False
        finally:
            bench.close()
