"""The variables of container images, and the program under the name of ZooKeeper's script."""

import re
import shlex
import signal

from support import ROOT, Place, eventually, free_ports, serves

DOCKERFILE = ROOT / "conf/Dockerfile"
SECRET = "super:c2VjcmV0LW9mLXRoZS10ZXN0"

# Variables, and lines that `check` prints with them, whatever else it says.
CHECKS = [
    ({"ZOO_MY_ID": "4"}, ["myid: 4", "myid=4 from ZOO_MY_ID", "tickTime=2000, the default in containers"]),
    ({"ZOO_TICK_TIME": "1500"}, ["tickTime=1500 from ZOO_TICK_TIME"]),
    ({"ZOO_TICK_TIME": "2s"}, ['error: ZOO_TICK_TIME: tickTime: found "2s",']),
    ({"ZOO_SEVERS": "a"}, ["warning: ZOO_SEVERS: unknown variable, it has no effect; did you mean ZOO_SERVERS?"]),
    (
        {
            "ZOO_SERVERS": "server.1=a:2888:3888;2181 server.2=b:2888:3888;2181 server.3=c:2888:3888;2181",
            "ZOO_MY_ID": "2",
        },
        ["myid: 2", "server.2=b:2888:3888;2181 from ZOO_SERVERS"],
    ),
    (
        {"ZOO_SERVERS": "a:2888:3888,b:2888:3888;c:2888:3888:observer", "ZOO_SERVER_ID": "3"},
        ["myid: 3", "server.3=c:2888:3888:observer from ZOO_SERVERS"],
    ),
    (
        {"ZOO_SERVERS": "a:2888:3888::5, b:2888:3888::6, c:2888:3888::7", "ZOO_SERVER_ID": "6"},
        ["myid: 6", "server.7=c:2888:3888 from ZOO_SERVERS"],
    ),
    (
        {"SERVERS": "host1,host2,host3", "MYID": "3"},
        ["myid: 3", "server.1=host1:2888:3888 from SERVERS", "server.3=host3:2888:3888 from SERVERS"],
    ),
    ({"SERVERS": "a,b,c", "MYID": "4"}, ["error: SERVERS: My id 4 not in the peer list: MYID says 4,"]),
    ({"SERVERS": "10.0.0.1,10.0.0.2,10.0.0.3", "HOSTNAME": "zookeeper-2"}, ["myid: 3"]),
    ({"SERVERS": "zk-0.zk,zk-1.zk,zk-2.zk", "POD_NAME": "zk-1", "HOSTNAME": "x"}, ["myid: 2"]),
    ({"ZOO_CFG_EXTRA": "snapCount=7 maxCnxns=8"}, ["snapCount=7 from ZOO_CFG_EXTRA", "maxCnxns=8 from ZOO_CFG_EXTRA"]),
    (
        {"ZOO_CFG_autopurge_purgeInterval": "5"},
        ["autopurge.purgeInterval=5 from ZOO_CFG_autopurge_purgeInterval"],
    ),
    ({"ZOO_ENABLE_AUTH": "yes"}, ["error: ZOO_ENABLE_AUTH: cannot be honoured yet and must not be ignored"]),
]


def run(score, server):
    with Place(server) as place:
        checks(score, place)
    with Place(server) as place:
        secrets(score, place)
    with Place(server) as place:
        variables_serve(score, place)
    with Place(server) as place:
        file_wins(score, place)
    with Place(server) as place:
        image(score, place)
    with Place(server) as place:
        script(score, place)


def checks(score, place):
    place.path("conf").mkdir()
    for variables, lines in CHECKS:
        environment = {"ZOOCFGDIR": str(place.path("conf")), "ZOO_DATA_DIR": str(place.path("data")), **variables}
        done = place.run([place.server, "check"], environment)
        found = done.stdout.splitlines()
        for line in lines:
            score.check(
                f"container: {variables}: {line}",
                any(other.startswith(line) for other in found),
                done.stdout + done.stderr,
            )
    score.check("container: check writes nothing", not place.path("data").exists())


def secrets(score, place):
    """A secret that a file holds acts, and is shown nowhere."""
    place.path("conf").mkdir()
    secret = place.write("secret", SECRET + "\n")
    name = "ZOO_CFG_DigestAuthenticationProvider_superDigest_FILE"
    (port,) = free_ports(1)
    environment = {
        "ZOOCFGDIR": str(place.path("conf")),
        "ZOO_DATA_DIR": str(place.path("data")),
        "ZOO_PORT_NUMBER": str(port),
        "ZOO_LOG_LEVEL": "debug",
        name: str(secret),
    }
    process = place.spawn([place.server, "start-foreground"], environment)
    score.check("container: serves with a secret", eventually(lambda: serves(port)), place.log())
    line = f"DigestAuthenticationProvider.superDigest=(secret) from {name}"
    score.contains("container: the secret is named", place.log(), line)
    score.check("container: the secret is not shown", SECRET.split(":")[1] not in place.log())
    process.send_signal(signal.SIGTERM)
    score.equal("container: end with a secret", process.wait(60), 0)


def variables_serve(score, place):
    """From variables to a server; a second start knows its number without them."""
    place.path("conf").mkdir()
    (port,) = free_ports(1)
    data = place.path("data")
    environment = {
        "ZOOCFGDIR": str(place.path("conf")),
        "ZOO_DATA_DIR": str(data),
        "ZOO_PORT_NUMBER": str(port),
        "ZOO_MY_ID": "5",
    }
    process = place.spawn([place.server, "start-foreground"], environment)
    score.check("container: serves", eventually(lambda: serves(port)), place.log())
    for line in (
        f"dataDir={data} from ZOO_DATA_DIR",
        f"clientPort={port} from ZOO_PORT_NUMBER",
        "myid=5 from ZOO_MY_ID",
    ):
        score.contains("container: start log", place.log(), line)
    score.equal("container: file myid", (data / "myid").read_text(), "5\n")
    process.send_signal(signal.SIGTERM)
    score.equal("container: end", process.wait(60), 0)

    process = place.spawn([place.server, "start-foreground"], {**environment, "ZOO_MY_ID": "6"})
    score.check("container: serves again", eventually(lambda: serves(port)), place.log())
    line = f"ZOO_MY_ID: 6 has no effect: {data}/myid counts, which says 5"
    score.contains("container: the file myid wins", place.log(), line)
    score.equal("container: file myid after that", (data / "myid").read_text(), "5\n")
    process.send_signal(signal.SIGTERM)
    score.equal("container: end again", process.wait(60), 0)


def file_wins(score, place):
    """A mounted zoo.cfg counts, and each variable that says other is named with both values."""
    port, other = free_ports(2)
    data = place.path("data")
    config = place.write("conf/zoo.cfg", f"dataDir={data}\nclientPort={port}\ntickTime=2500\n")
    environment = {
        "ZOO_CONF_DIR": str(place.path("conf")),
        "ZOO_DATA_DIR": str(place.path("elsewhere")),
        "ZOO_PORT_NUMBER": str(other),
        "ZOO_TICK_TIME": "2500",
        "ZOO_SNAPCOUNT": "7",
        "SERVERS": "a,b,c",
    }
    process = place.spawn([place.server, "start-foreground"], environment)
    score.check("container: the port of the file is served", eventually(lambda: serves(port)), place.log())
    log = place.log()
    for line in (
        f"ZOO_DATA_DIR: dataDir={place.path('elsewhere')} has no effect: {config}:1 counts, which says dataDir={data}",
        f"ZOO_PORT_NUMBER: clientPort={other} has no effect: {config}:2 counts, which says clientPort={port}",
        f"ZOO_SNAPCOUNT: snapCount=7 has no effect: {config} counts, which does not set it",
        "SERVERS: server.1=a:2888:3888 server.2=b:2888:3888 server.3=c:2888:3888 has no effect",
    ):
        score.contains("container: shadowed", log, line)
    score.check("container: equal values are not worth a word", "ZOO_TICK_TIME" not in log, log)
    score.check("container: no other directory is made", not place.path("elsewhere").exists())
    process.send_signal(signal.SIGTERM)
    score.equal("container: end with a file", process.wait(60), 0)


def image_settings():
    """ENV of the last stage, and CMD, of the Dockerfile."""
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    stage = text[text.rindex("\nFROM ") :]
    pairs = [word.split("=", 1) for line in re.findall(r"^ENV (.*)$", stage, re.M) for word in shlex.split(line)]
    (command,) = re.findall(r'^CMD \[(.*)\]$', stage, re.M)
    return dict(pairs), re.findall(r'"([^"]*)"', command)


def image(score, place):
    """What the image runs, with its directories moved: without any setting, it serves on its usual port."""
    variables, words = image_settings()
    (port,) = free_ports(1)
    moved = {name: value.replace("/", f"{place.dir}/", 1) for name, value in variables.items()}
    place.link("opt/zookeeper/bin/zkServer.sh")
    for name in ("conf", "data", "datalog", "logs"):
        place.path(name).mkdir()
    # Only the port is not the image's: nothing here may take a fixed one.
    environment = {**moved, "ZOO_PORT_NUMBER": str(port)}
    command = ["/usr/bin/env", *words]
    process = place.spawn(command, environment)
    score.check("image: serves", eventually(lambda: serves(port)), place.log())
    score.check("image: logs are where they belong", place.path("datalog/version-2").is_dir())
    done = place.run(["/usr/bin/env", "zkServer.sh", "status"], environment)
    score.equal("image: status", (done.returncode, done.stdout.splitlines()[-1:]), (0, ["Mode: standalone"]))
    score.check("image: no warning", " WARN " not in place.log(), place.log())
    process.send_signal(signal.SIGTERM)
    score.equal("image: end", process.wait(60), 0)
    done = place.run(["/usr/bin/env", "zkServer.sh", "status"], environment)
    score.equal("image: status of nobody", done.returncode, 1)
    del environment["ZOO_PORT_NUMBER"]
    done = place.run([place.server, "check"], environment)
    score.contains("image: the usual port", done.stdout, "clientPort=2181, the default in containers")


def script(score, place):
    """bin/zkServer.sh is a link to the program, and the configuration is beside it."""
    (port,) = free_ports(1)
    data = place.path("data")
    pid_file = data / "zookeeper_server.pid"
    place.pid_files.append(pid_file)
    name = place.link("bin/zkServer.sh")
    place.write("conf/zoo.cfg", f"dataDir={data}\nclientPort={port}\nclientPortAddress=127.0.0.1\n")
    usage = f"Usage: {name} [--config <conf-dir>] {{start|start-foreground|stop|version|restart|status|print-cmd}}\n"
    for words in ([], ["check"], ["--config", str(place.path("conf"))], ["--help"]):
        done = place.run([name, *words])
        score.equal(f"zkServer.sh {words}", (done.returncode, done.stdout, done.stderr), (0, "", usage))
    score.check("zkServer.sh: nothing starts without a word", not data.exists())
    config = place.path("conf/zoo.cfg")
    for words, code, text in (
        (["version"], 0, "Apache ZooKeeper, version 3.9."),
        (["print-cmd"], 0, '"start-foreground"'),
        (["status"], 1, "Error contacting service. It is probably not running."),
        (["start"], 0, "Starting zookeeper ... STARTED"),
    ):
        done = place.run([name, *words])
        score.check(f"zkServer.sh {words}: exit code {code}", done.returncode == code, str(done))
        score.contains(f"zkServer.sh {words}", done.stdout, text)
    score.check("zkServer.sh: serves", eventually(lambda: serves(port)))
    for words, code, text in (
        (["status"], 0, "Mode: standalone"),
        (["status", "zoo.cfg"], 0, "Mode: standalone"),
        (["status", str(config)], 0, "Mode: standalone"),
        (["--config", str(place.path("conf")), "status"], 0, "Mode: standalone"),
        (["restart"], 0, "STOPPED\nStarting zookeeper ... STARTED"),
        (["stop", "zoo.cfg", "more"], 0, "Stopping zookeeper ... STOPPED"),
        (["stop"], 0, "no zookeeper to stop"),
        (["status", "none.cfg"], 2, ""),
    ):
        done = place.run([name, *words])
        score.check(f"zkServer.sh {words}: exit code {code}", done.returncode == code, str(done))
        score.contains(f"zkServer.sh {words}", done.stdout, text)
