"""Apache's command-line client, on the server under test and on Apache's own: same commands, same output.

    zkcli.py HOST:PORT APACHE_HOST:PORT CLASS_PATH [CASE...]

What may differ is replaced before the comparison: session ids, times, and addresses; zxids are counted from
the first one that a case shows; and the ids of `whoami` and the paths of `getEphemerals` are sorted, because
Apache's server keeps both in hash sets. Events are compared as a list of their own, because zkCli prints them
from another thread than the output of commands, in lines that may fall between any others.
"""

import difflib
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from cases import say

HERE = os.path.dirname(os.path.abspath(__file__))
OURS, APACHES, CLASS_PATH = sys.argv[1:4]
WANTED = sys.argv[4:]
MAIN = "org.apache.zookeeper.ZooKeeperMain"
JAVA = ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=OFF", "-cp", CLASS_PATH, MAIN]


REPLACED = [
    (re.compile(r"^((?:c|m)time) = .*", re.M), r"\1 = TIME"),
    (re.compile(r"^ephemeralOwner = 0x[0-9a-f]{5,}", re.M), "ephemeralOwner = SESSION"),
    # The start-up lines are printed before and after the connection by chance.
    (re.compile(r"^JLine support is disabled\n", re.M), ""),
    (re.compile(r"(?<=^Auth scheme: User\n)(?:\w+: .*\n)+", re.M), lambda found: sort(found[0], "\n")),
    (re.compile(r"(?<=^\[)/.*(?=\]$)", re.M), lambda found: sort(found[0], ", ")),
]
ZXID = re.compile(r"(Zxid = |zxid: )(0x[1-9a-f][0-9a-f]*|[1-9][0-9]*)$", re.M)
EVENT = "WatchedEvent "
# What zkCli prints around an event, and the events of its own connection, whose last one may come too late.
NOISE = re.compile(r"WATCHER::|WatchedEvent .* type:None .*|")


def main():
    cases = list(read_cases())
    say(f"plan {len(cases)}")
    failed = 0
    for name, once, commands in cases:
        with ThreadPoolExecutor(2) as both:
            apaches, ours = both.map(lambda server: run(server, once, commands), (APACHES, OURS))
        problem = verdict(apaches, ours, commands)
        if problem:
            failed += 1
            say(problem)
            say(f"not ok {name}: output differs from Apache's own server")
        else:
            say(f"ok {name}")
    return 1 if failed else 0


def read_cases():
    with open(os.path.join(HERE, "zkcli.txt")) as file:
        blocks = file.read().split("\n@ ")[1:]
    for block in blocks:
        title, *commands = [line for line in block.split("\n") if line]
        name, *mode = title.split()
        if not WANTED or name in WANTED:
            yield name, mode == ["once"], commands


def run(server, once, commands):
    """What zkCli prints for the commands: a list of lines and a list of events."""
    commands = [command.replace("{server}", server) for command in commands]
    if not once:
        # Without `quit` the session would expire some time later, and take a zxid then.
        return clean(zkcli(server, [], "\n".join([*commands, "quit"]) + "\n"), server)
    lines = []
    for command in commands:
        lines += [f"$ {command}", *clean(zkcli(server, command.split(), ""), server)[0]]
    return lines, []


def zkcli(server, arguments, script):
    command = [*JAVA, "-timeout", "10000", "-waitforconnection", "-server", server, *arguments]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(command, input=script, text=True, timeout=60, **streams)
    return done.stdout + f"exit code {done.returncode}\n"


def clean(text, server):
    text = text.replace(server, "SERVER")
    zxids = [int(found[2], 0) for found in ZXID.finditer(text)]
    text = ZXID.sub(lambda found: f"{found[1]}first + {int(found[2], 0) - min(zxids)}", text)
    for pattern, replacement in REPLACED:
        text = pattern.sub(replacement, text)
    lines = [line for line in text.split("\n") if not NOISE.fullmatch(line)]
    events = [line for line in lines if line.startswith(EVENT)]
    return [line for line in lines if not line.startswith(EVENT)], events


def sort(text, separator):
    items = text.removesuffix(separator).split(separator)
    return separator.join(sorted(items)) + text[len(text.removesuffix(separator)) :]


def verdict(apaches, ours, commands):
    """None, or what differs; an Apache run that did nothing is no reference."""
    if len(apaches[0]) < len(commands) // 2:
        return "Apache's own run is too short:\n" + "\n".join(apaches[0])
    lines = []
    for expected, found in zip(apaches, ours):
        lines += difflib.unified_diff(expected, found, "Apache's server", "this server", lineterm="", n=2)
    return "\n".join(lines)


sys.exit(main())
