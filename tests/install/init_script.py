"""conf/zkserver.init: headers, the life of a server, and the exit codes that LSB asks for."""

import getpass
import os
import pwd
import shutil
import signal

from support import ROOT, Place, eventually, free_ports, is_alive, pid_in, serves, user_of

SCRIPT = ROOT / "conf/zkserver.init"


class Machine:
    """A place laid out as a machine is, with everything in a directory of the test."""

    def __init__(self, place):
        self.place = place
        # As root, the script hands the server to another user.
        self.user = "nobody" if os.getuid() == 0 else getpass.getuser()
        (self.port,) = free_ports(1)
        self.pid_file = place.path("run/zkserver.pid")
        place.pid_files.append(self.pid_file)
        self.script = place.path("etc/init.d/zkserver")
        self.script.parent.mkdir(parents=True)
        shutil.copy(SCRIPT, self.script)
        self.program = place.path("usr/bin/zkserver")
        self.program.parent.mkdir(parents=True)
        shutil.copy(place.server, self.program)
        data = place.path("data")
        data.mkdir()
        shutil.chown(data, self.user)
        self.config = place.write(
            "etc/zkserver/zoo.cfg", f"dataDir={data}\nclientPort={self.port}\nclientPortAddress=127.0.0.1\n"
        )
        self.defaults = place.write(
            "etc/default/zkserver",
            f"ZKSERVER_PROGRAM={self.program}\nZKSERVER_CONFIG={self.config}\nZKSERVER_USER={self.user}\n"
            f"ZOOPIDFILE={self.pid_file}\nZOO_LOG_DIR={place.path('log.d')}\n",
        )

    def do(self, word):
        return self.place.run([self.script, word], {"ZKSERVER_DEFAULTS": str(self.defaults)})


def run(score, server):
    headers(score)
    with Place(server) as place:
        life(score, Machine(place))
    with Place(server) as place:
        refusals(score, Machine(place))


def headers(score):
    """What update-rc.d, insserv and chkconfig read."""
    lines = SCRIPT.read_text().splitlines()
    score.equal("init: interpreter", lines[0], "#!/bin/sh")
    begin, end = lines.index("### BEGIN INIT INFO"), lines.index("### END INIT INFO")
    block = {line[2:].split(":")[0] for line in lines[begin + 1 : end]}
    for key in ("Provides", "Required-Start", "Required-Stop", "Default-Start", "Default-Stop", "Short-Description"):
        score.check(f"init: LSB header {key}", key in block)
    chkconfig = [line.split(":")[1].split() for line in lines if line.startswith("# chkconfig:")]
    score.check("init: chkconfig header", len(chkconfig) == 1 and len(chkconfig[0]) == 3, chkconfig)
    score.check("init: chkconfig description", any(line.startswith("# description:") for line in lines))
    score.check("init: executable", os.access(SCRIPT, os.X_OK))


def life(score, machine):
    def outcome(what, word, code, text=""):
        done = machine.do(word)
        score.check(f"init: {what}: exit code {code}", done.returncode == code, f"{done}")
        score.contains(f"init: {what}: text", done.stdout, text)

    outcome("status of nothing", "status", 3)
    outcome("stop of nothing", "stop", 0, "no zookeeper to stop")
    outcome("try-restart of nothing", "try-restart", 0)
    score.check("init: try-restart starts nothing", not machine.pid_file.exists())
    outcome("start", "start", 0, "STARTED")
    pid = pid_in(machine.pid_file)
    score.check("init: serves", eventually(lambda: serves(machine.port)))
    score.equal("init: user of the server", user_of(pid), pwd.getpwnam(machine.user).pw_uid)
    outcome("status", "status", 0, "Mode: standalone")
    outcome("a second start", "start", 0, f"already running as process {pid}")
    score.equal("init: process after a second start", pid_in(machine.pid_file), pid)

    outcome("restart", "restart", 0, "STARTED")
    again = pid_in(machine.pid_file)
    score.check("init: restart ended the process", not is_alive(pid))
    score.check("init: restart began another", again != pid and eventually(lambda: serves(machine.port)))

    os.kill(again, signal.SIGSTOP)
    outcome("status of one that does not answer", "status", 0, f"runs as process {again}, but does not serve")
    os.kill(again, signal.SIGCONT)
    os.kill(again, signal.SIGKILL)
    score.check("init: killed", eventually(lambda: not is_alive(again)))
    outcome("status of a killed one", "status", 1)

    outcome("start after a crash", "start", 0, "STARTED")
    score.check("init: serves after a crash", eventually(lambda: serves(machine.port)))
    pid = pid_in(machine.pid_file)
    outcome("try-restart", "try-restart", 0, "STARTED")
    score.check("init: try-restart began another", pid_in(machine.pid_file) != pid)
    score.check("init: serves after try-restart", eventually(lambda: serves(machine.port)))
    pid = pid_in(machine.pid_file)
    outcome("stop", "stop", 0, "STOPPED")
    score.check("init: stop ended the process", not is_alive(pid))
    score.check("init: stop removed the pid file", not machine.pid_file.exists())
    outcome("status after stop", "status", 3)


def refusals(score, machine):
    for word, code in (("reload", 3), ("begin", 2), ("", 2)):
        score.equal(f"init: {word!r}: exit code", machine.do(word).returncode, code)
    config = machine.config.read_text()
    machine.config.write_text(config + "tickTime=x\n")
    score.equal("init: start with a wrong configuration", machine.do("start").returncode, 1)
    machine.config.unlink()
    score.equal("init: start without a configuration", machine.do("start").returncode, 6)
    machine.program.unlink()
    score.equal("init: start without the program", machine.do("start").returncode, 5)
    score.equal("init: status without the program", machine.do("status").returncode, 4)
