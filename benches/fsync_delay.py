#!/usr/bin/env python3
"""Three servers whose every sync takes some milliseconds longer: one client's set, and the throughput of 64 clients.

    benches/fsync_delay.py --server 'target/release/zkserver start-foreground {cfg}' [--delays 0,1,5,10] [--seconds 4]

strace holds the thread that syncs for so long behind each fsync and fdatasync, and stops at no other call; it is there
without a delay, too. One set shall cost one delay more than without, not two: `delays a set` is that difference over
the delay. Throughput shall fall no faster than a sync gets longer: one client's latency is taken for the length of a
sync. Forty seconds for a side.
"""

from side_by_side import main, parser, zkload  # first: it knows where the others are

from nemesis import SYNCS, strace  # isort: skip


def latency_and_rate(bench, side, delay_ms):
    """(p50 of one client's set in ms by the leader, the same by a follower, sets a second of 64 clients)."""
    with bench.ensemble(side) as cluster:
        for member in cluster:
            # A delay of 0 is no delay for strace.
            member.prefix = strace(f"{SYNCS}:delay_exit={max(1, round(delay_ms * 1000))}")
        cluster.start()
        leader, follower = cluster.leader(), cluster.followers()[0]
        by_leader, by_follower = (
            sets(bench, member.address, 1)["write_us"]["p50"] / 1000 for member in (leader, follower)
        )
        return by_leader, by_follower, sets(bench, cluster.addresses(), 64)["ops_per_s"]


def sets(bench, hosts, conns):
    args = bench.args
    words = ["--workload", "set", "--hosts", hosts, "--conns", conns, "--window", 1]
    return zkload("run", *words, "--warmup", args.warmup, "--duration", args.seconds)


def run(bench):
    delays = [float(word) for word in bench.args.delays.split(",")]
    for _, side in bench.turns():
        none = None
        for delay in delays:
            by_leader, by_follower, rate = latency_and_rate(bench, side, delay)
            bench.add(side, f"{delay:g} ms: one set by the leader, ms", by_leader)
            bench.add(side, f"{delay:g} ms: one set by a follower, ms", by_follower)
            bench.add(side, f"{delay:g} ms: 64 clients, sets per second", rate, more=True)
            if delay == 0:
                none = by_leader, by_follower, rate
            elif none:
                for name, value, base in (("leader", by_leader, none[0]), ("follower", by_follower, none[1])):
                    delays_a_set = (value - base) / delay
                    bench.add(side, f"{delay:g} ms: delays a set, {name}", delays_a_set, target="1, not 2")
                fall = (none[2] / rate) / (by_leader / none[0])
                bench.add(side, f"{delay:g} ms: throughput's fall / latency's rise", fall, target="at most 1")


if __name__ == "__main__":
    options = parser(__doc__, pairs=1)
    options.add_argument("--delays", default="0,1,5,10", help="milliseconds")
    options.add_argument("--seconds", type=float, default=3)
    options.add_argument("--warmup", type=float, default=1)
    main(run, options)
