"""A network of its own for the members of a cluster: each in a namespace with an address, all on one bridge, and
links that are cut by nftables inside the namespaces.

Needs root, iproute2 and nftables. The bridge has a namespace, too; only one end of a pair of interfaces is outside of them,
for the clients. Addresses are of 198.18.0.0/15, which nobody uses but tests of networks.
"""

import os
import random
import subprocess
import threading

CLIENT = 254


def run(*words, text=None, check=True):
    done = subprocess.run(words, input=text, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if check and done.returncode:
        raise OSError(f"{' '.join(words)}: {done.stdout.strip() or done.returncode}")


def free_prefix():
    """Three numbers of an address that no other network of a test on this machine has."""
    taken = subprocess.run(["ip", "-4", "-o", "address"], check=True, stdout=subprocess.PIPE, text=True).stdout
    while True:
        prefix = f"198.{random.choice([18, 19])}.{random.randrange(256)}"
        if f" {prefix}." not in taken:
            return prefix


class Network:
    """Namespaces for the members 1 to `size`."""

    _count = 0
    _lock = threading.Lock()

    def __init__(self, size):
        with Network._lock:
            self.make(size)

    def make(self, size):
        Network._count += 1
        self.tag = f"zk{os.getpid() % 1000000}x{Network._count}"
        self.prefix = free_prefix()
        self.hub = f"{self.tag}h"
        self.numbers = range(1, size + 1)
        try:
            self.build()
        except BaseException:
            self.close()
            raise

    def build(self):
        run("ip", "netns", "add", self.hub)
        self.inside(self.hub, "ip", "link", "add", "bridge", "type", "bridge")
        self.inside(self.hub, "ip", "link", "set", "bridge", "up")
        outside = f"{self.tag}c"
        run("ip", "link", "add", outside, "type", "veth", "peer", "name", "clients", "netns", self.hub)
        self.plug("clients")
        run("ip", "address", "add", f"{self.prefix}.{CLIENT}/24", "dev", outside)
        run("ip", "link", "set", outside, "up")
        for number in self.numbers:
            name, port = self.name(number), f"member{number}"
            run("ip", "netns", "add", name)
            run("ip", "link", "add", "uplink", "netns", name, "type", "veth", "peer", "name", port, "netns", self.hub)
            self.plug(port)
            self.inside(name, "ip", "address", "add", f"{self.address(number)}/24", "dev", "uplink")
            for interface in ("lo", "uplink"):
                self.inside(name, "ip", "link", "set", interface, "up")

    def plug(self, port):
        self.inside(self.hub, "ip", "link", "set", port, "master", "bridge")
        self.inside(self.hub, "ip", "link", "set", port, "up")

    def inside(self, name, *words, **named):
        run("ip", "netns", "exec", name, *words, **named)

    def name(self, number):
        return f"{self.tag}n{number}"

    def address(self, number):
        return f"{self.prefix}.{number}"

    def command(self, number, words):
        """The command that runs `words` inside the namespace of a member; it becomes that process."""
        return ["ip", "netns", "exec", self.name(number), *words]

    # ---- cuts; clients are never cut off

    def rules(self, number, incoming=(), outgoing=()):
        """Drops what matches one of the given conditions at a member, in place of what was dropped before."""
        chains = "\n".join(
            f"chain {hook} {{ type filter hook {hook} priority 0;\n"
            + "".join(f"{condition} counter drop\n" for condition in conditions)
            + "}"
            for hook, conditions in (("input", incoming), ("output", outgoing))
        )
        self.inside(self.name(number), "nft", "-f", "-", text=f"flush ruleset\ntable ip cuts {{\n{chains}\n}}\n")

    def isolate(self, number, peers, incoming=True, outgoing=True):
        """Nothing passes between a member and these, or only in the direction that stays."""
        addresses = ", ".join(self.address(peer) for peer in peers)
        self.rules(
            number,
            [f"ip saddr {{ {addresses} }}"] if incoming else [],
            [f"ip daddr {{ {addresses} }}"] if outgoing else [],
        )

    def split(self, *sides):
        """Members of different sides do not reach each other; who is on no side reaches all."""
        for side in sides:
            others = [number for other in sides if other is not side for number in other]
            for number in side:
                self.isolate(number, others)

    def cut_ports(self, member, ports):
        """Nobody reaches these ports of a member, and it reaches nobody from them."""
        listed = ", ".join(map(str, ports))
        self.rules(
            member,
            [f"ip saddr != {self.address(CLIENT)} tcp dport {{ {listed} }}"],
            [f"ip daddr != {self.address(CLIENT)} tcp sport {{ {listed} }}"],
        )

    def heal(self):
        for number in self.numbers:
            self.inside(self.name(number), "nft", "flush", "ruleset")

    def dropped(self, number):
        """How many packets the cuts at a member have dropped."""
        words = self.command(number, ["nft", "list", "ruleset"])
        text = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
        return sum(int(line.split("packets ")[1].split()[0]) for line in text.splitlines() if "packets " in line)

    def close(self):
        for name in [self.hub, *map(self.name, self.numbers)]:
            run("ip", "netns", "delete", name, check=False)
