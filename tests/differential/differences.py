"""The whole list of differences from Apache that the comparison accepts. Everything else must be equal.

Each has a name, the reason, and a test `accepts(step, apache, ours)` on one compared item; `step` is the kind of step
with its request or word.
"""

from collections import namedtuple

Difference = namedtuple("Difference", "name why accepts")

# What monitoring agents read; a server may leave out metrics of parts it does not have, but never these.
REQUIRED_METRICS = {
    "zk_" + name
    for name in (
        "version server_state ephemerals_count num_alive_connections avg_latency min_latency max_latency "
        "outstanding_requests znode_count watch_count approximate_data_size global_sessions packets_received "
        "packets_sent uptime open_file_descriptor_count max_file_descriptor_count"
    ).split()
}


def fewer_metrics(step, apache, ours):
    return step == ("word", "mntr") and REQUIRED_METRICS <= set(ours) <= set(apache)


DIFFERENCES = [
    Difference(
        "metrics of absent parts",
        "mntr of Apache lists some 490 metrics, most of threads and queues that only its own pipeline has.",
        fewer_metrics,
    ),
]


def accepted(step, apache, ours):
    """The difference that allows these two results, or None."""
    return next((d for d in DIFFERENCES if d.accepts(step, apache, ours)), None)
