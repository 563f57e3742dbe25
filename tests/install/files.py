"""The files for ensembles, Kubernetes and images: they parse, fit each other, and mean what they say."""

import re

import yaml
from support import ROOT, Place

CONF = ROOT / "conf"


def run(score, server):
    with Place(server) as place:
        ensemble(score, place)
    with Place(server) as place:
        kubernetes(score, place)
    dockerfile(score)


def errors_of(done):
    """What `check` found wrong."""
    return [line for line in done.stdout.splitlines() if line.startswith("error: ")]


def ensemble(score, place):
    lists, ports = [], []
    for number in (1, 2, 3):
        config = CONF / f"ensemble/zoo{number}.cfg"
        done = place.run([place.server, "check", config], {"ZOO_MY_ID": str(number)})
        score.equal(f"ensemble: errors of {config.name}", errors_of(done), [])
        score.contains(f"ensemble: {config.name}", done.stdout, f"myid: {number}\n")
        warnings = [line for line in done.stdout.splitlines() if line.startswith("warning: ")]
        score.check(
            f"ensemble: warnings of {config.name}",
            all("is missing and will be created" in line for line in warnings),
            warnings,
        )
        lines = config.read_text().splitlines()
        lists.append([line for line in lines if line.startswith("server.")])
        ports += [line for line in lines if line.startswith(("clientPort=", "dataDir="))]
    score.check("ensemble: one list", lists[0] == lists[1] == lists[2] and len(lists[0]) == 3, lists)
    score.equal("ensemble: ports and directories of their own", len(set(ports)), 6)


def kubernetes(score, place):
    documents = list(yaml.safe_load_all((CONF / "k8s.yaml").read_text()))
    by_kind = {(document["kind"], document["metadata"]["name"]): document for document in documents}
    headless = by_kind[("Service", "zookeeper-headless")]["spec"]
    clients = by_kind[("Service", "zookeeper")]["spec"]
    stateful = by_kind[("StatefulSet", "zookeeper")]["spec"]
    labels = stateful["template"]["metadata"]["labels"]
    for what, selector in (
        ("headless service", headless["selector"]),
        ("service", clients["selector"]),
        ("stateful set", stateful["selector"]["matchLabels"]),
        ("disruption budget", by_kind[("PodDisruptionBudget", "zookeeper")]["spec"]["selector"]["matchLabels"]),
    ):
        score.check(f"k8s: selector of the {what}", selector.items() <= labels.items())
    score.equal("k8s: headless", headless["clusterIP"], "None")
    score.equal("k8s: names before readiness", headless["publishNotReadyAddresses"], True)
    score.check("k8s: service of the set", ("Service", stateful["serviceName"]) in by_kind)
    pod = stateful["template"]["spec"]
    score.equal("k8s: not root", pod["securityContext"]["runAsNonRoot"], True)
    (container,) = pod["containers"]
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    claims = {claim["metadata"]["name"] for claim in stateful["volumeClaimTemplates"]}
    score.equal("k8s: mounts and claims", mounts, claims)
    opened = {port["containerPort"] for port in container["ports"]}
    score.equal("k8s: ports", opened, {port["port"] for port in headless["ports"]})
    score.equal("k8s: probe", container["readinessProbe"]["exec"]["command"], ["zkServer.sh", "status"])

    variables = {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
    place.path("conf").mkdir()
    for ordinal in range(stateful["replicas"]):
        environment = {
            **variables,
            "ZOOCFGDIR": str(place.path("conf")),
            "ZOO_DATA_DIR": str(place.path("data")),
            "ZOO_DATA_LOG_DIR": str(place.path("data")),
            "POD_NAME": f"zookeeper-{ordinal}",
        }
        done = place.run([place.server, "check"], environment)
        score.equal(f"k8s: errors of pod {ordinal}", errors_of(done), [])
        score.contains(f"k8s: pod {ordinal}", done.stdout, f"myid: {ordinal + 1}\n")


def dockerfile(score):
    text = (CONF / "Dockerfile").read_text().replace("\\\n", " ")
    sources = [word for words in re.findall(r"^COPY ((?!--).*)$", text, re.M) for word in words.split()[:-1]]
    score.check("image: there are sources", sources)
    ignored = (CONF / "Dockerfile.dockerignore").read_text().splitlines()
    for source in sources:
        score.check(f"image: {source} is there", (ROOT / source).exists())
        score.check(f"image: {source} is not ignored", f"!{source}" in ignored)
    stages = re.findall(r"^FROM \S+ AS (\S+)$", text, re.M)
    copied = re.findall(r"^COPY --from=(\S+) ", text, re.M)
    score.check("image: stages", copied and set(copied) <= set(stages), (stages, copied))
    toolchain = re.search(r"^FROM rust:([0-9.]+)", text, re.M).group(1)
    wanted = re.search(r'^rust-version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.M).group(1)
    score.equal("image: toolchain", toolchain, wanted)
    last = text[text.rindex("\nFROM ") :]
    score.contains("image: not root", last, "\nUSER 1000:1000\n")
    score.contains("image: the script's name", text, "ln -s zkserver /image/opt/zookeeper/bin/zkServer.sh")
    score.contains("image: what runs", last, 'CMD ["zkServer.sh", "start-foreground"]')
    for directory in ("/data", "/datalog", "/conf", "/logs"):
        score.check(f"image: {directory} is made", f"/image{directory}" in text)
