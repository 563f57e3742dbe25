"""conf/zkserver.service: what systemd says of it, and what its service manager hears."""

import re
import shutil
import signal
import socket
import threading

from support import ROOT, Place, eventually, free_ports, serves

UNIT = ROOT / "conf/zkserver.service"
EXPOSURE_MAX = 1.5
WATCHDOG_USEC = 1_000_000
# Directives that must not get lost.
DIRECTIVES = """
Type=notify
Restart=on-failure
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
CapabilityBoundingSet=
UMask=0077
LimitNOFILE=65536
""".split("\n")[1:-1]


class Manager:
    """A service manager's ear. Keeps every message, and whether the port served when READY=1 came."""

    def __init__(self, address, port):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.port = port
        self.messages = []
        self.served_when_ready = None
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            try:
                message = self.socket.recv(65536).decode()
            except OSError:
                return
            if "READY=1" in message.split("\n") and self.served_when_ready is None:
                self.served_when_ready = serves(self.port)
            self.messages.append(message)

    def lines(self, begin):
        lines = [line for message in list(self.messages) for line in message.split("\n")]
        return [line for line in lines if line.startswith(begin)]


def run(score, server):
    text = UNIT.read_text()
    lines = text.splitlines()
    for directive in DIRECTIVES:
        score.check(f"unit: {directive}", directive in lines)
    score.check("unit: WatchdogSec", any(line.startswith("WatchdogSec=") for line in lines))
    with Place(server) as place:
        judge(score, place, text)
    for kind in ("path", "abstract"):
        with Place(server) as place:
            notify(score, place, kind)
    with Place(server) as place:
        never_ready(score, place)


def never_ready(score, place):
    """A server that cannot have its port never says that it is ready."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        manager, process = begin(place, "path", port)
        score.check("notify: a server without its port ends", process.wait(60) != 0, place.log())
        score.equal("notify: it was never ready", manager.lines("READY=1"), [])
    manager.socket.close()


def judge(score, place, text):
    """The unit as it is, but for the path of the program, which systemd looks for."""
    program = place.path("zkserver")
    shutil.copy(place.server, program)
    unit = place.write("zkserver.service", text.replace("/usr/bin/zkserver ", f"{program} "))
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    done = place.run(["systemd-analyze", "verify", unit], environment)
    clean = (done.returncode, done.stdout + done.stderr)
    score.equal("unit: systemd-analyze verify", clean, (0, ""))
    done = place.run(["systemd-analyze", "security", "--offline=true", "--no-pager", unit], environment)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    exposure = float(found.group(1)) if found else None
    print(f"systemd-analyze security: {exposure}")
    score.check(f"unit: exposure at most {EXPOSURE_MAX}", found and exposure <= EXPOSURE_MAX, done.stderr)


def begin(place, kind, port):
    """ExecStart as the unit has it, under a manager that listens."""
    place.path("data").mkdir()
    config = place.write(
        "zoo.cfg", f"dataDir={place.path('data')}\nclientPort={port}\nclientPortAddress=127.0.0.1\n"
    )
    path = str(place.path("notify"))
    address = path if kind == "path" else "\0" + path
    manager = Manager(address, port)
    (line,) = [line for line in UNIT.read_text().splitlines() if line.startswith("ExecStart=")]
    _, *words = line.removeprefix("ExecStart=").split()
    command = [place.server] + [config if word == "/etc/zkserver/zoo.cfg" else word for word in words]
    assert config in command, f"{line} does not name the configuration"
    process = place.spawn(
        command,
        {"NOTIFY_SOCKET": path if kind == "path" else "@" + path, "WATCHDOG_USEC": str(WATCHDOG_USEC)},
    )
    return manager, process


def notify(score, place, kind):
    """What a manager hears in the life of a server."""
    (port,) = free_ports(1)
    manager, process = begin(place, kind, port)
    name = f"notify, {kind}"
    score.check(f"{name}: the server serves", eventually(lambda: serves(port)), place.log())
    ready = eventually(lambda: manager.lines("READY=1"), patience=10)
    score.check(f"{name}: READY=1 comes", ready)
    score.check(f"{name}: READY=1 comes when clients are served", manager.served_when_ready)
    modes = [line for line in manager.lines("STATUS=") if "standalone" in line]
    score.check(f"{name}: STATUS= tells the mode", modes, manager.messages)
    signs = eventually(lambda: len(manager.lines("WATCHDOG=1")) >= 3, patience=10)
    score.check(f"{name}: WATCHDOG=1 comes again and again", signs, manager.messages)
    score.check(f"{name}: not stopping yet", not manager.lines("STOPPING=1"))
    process.send_signal(signal.SIGTERM)
    score.equal(f"{name}: exit code", process.wait(60), 0)
    stopping = eventually(lambda: manager.lines("STOPPING=1"), patience=10)
    score.check(f"{name}: STOPPING=1 comes at SIGTERM", stopping, manager.messages)
    score.equal(f"{name}: READY=1 came once", len(manager.lines("READY=1")), 1)
    manager.socket.close()
