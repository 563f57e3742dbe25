#!/usr/bin/env python3
"""The workloads of compare.py beside Apache, and lists of children, which it does not have.

    benches/workloads.py --ours 'target/release/zkserver start-foreground {cfg}' --only get,exists,children,set

All options are those of compare.py. A workload takes a quarter of a minute on each side of a pair.
"""

import side_by_side  # noqa: F401, for the path of compare.py

import compare

# A parent of ten, as most are.
compare.LOADS["children"] = "run --workload children --keys 10"

if __name__ == "__main__":
    compare.main()
