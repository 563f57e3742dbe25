"""Where the instructions of a path go: each is put down to the file of ours that it was inlined into last.

What the library calls without being inlined is put down by its own name: the allocator, copies of memory, others.
"""

import subprocess
from collections import Counter

import counting

# The first that the place of an instruction, `file function`, begins with; files are below src.
PARTS = (
    ("framing", ("proto/frame.rs",)),
    ("encoding", ("read/", "proto/response.rs", "proto/stat.rs", "proto/event.rs", "replica/reply.rs", "proto/jute.rs put")),
    ("session and gate", ("client/", "shared/mod.rs", "shared/outbox.rs", "session/")),
    ("counters", ("shared/stats.rs", "metrics/")),
    ("ACL", ("auth/", "tree/acl_cache.rs", "proto/acl.rs")),
    ("digests of nodes", ("tree/digest.rs", "crc32fast")),
    ("lookup and change of the tree", ("tree/",)),
    ("watches", ("watch/",)),
    ("decoding", ("proto/request.rs", "proto/multi.rs", "proto/opcode.rs", "proto/jute.rs", "core::str::converts")),
    ("preparation", ("prep/",)),
    ("transaction codec", ("proto/txn.rs",)),
    ("replica and broadcast", ("replica/", "zab/", "quorum/")),
    ("log", ("storage/", "simd_adler32")),
    ("allocator", ("_rjem", "malloc", "do_rallocx", "alloc::", "bytes::", "__rust", "tcache")),
    ("searches in strings", ("<core::str::pattern", "core::slice::memchr")),
    ("copies and comparisons of memory", ("mem", "__mem", "bcmp")),
    ("what stands in for threads here", ("instructions::",)),
)


def show(program, path, count):
    """Prints the parts of a path, and the places that cost most."""
    costs = costs_of(program, path, count)
    parts, places = Counter(), Counter()
    for place, cost in costs.items():
        parts[part_of(place)] += cost
        places[place] += cost
    whole = sum(parts.values())
    print(f"{path}: {whole:.0f} instructions per operation")
    for part, cost in parts.most_common():
        print(f"{cost:8.1f} {cost / whole:6.1%}  {part}")
    print("the places that cost most:")
    for place, cost in places.most_common(25):
        print(f"{cost:8.1f} {cost / whole:6.1%}  {place[:100]}")


def part_of(place):
    for part, beginnings in PARTS:
        if place.startswith(beginnings):
            return part
    return "other"


def costs_of(program, path, count):
    """Instructions per operation, by place."""
    costs = Counter()
    for times, sign in ((3, 1), (1, -1)):
        options = ("--dump-instr=yes", "--compress-strings=no", "--compress-pos=no")
        for key, cost in own_costs(counting.profile(program, path, times * count, *options)).items():
            costs[key] += sign * cost / (2 * count)
    costs = {key: cost for key, cost in costs.items() if cost}
    addresses = [address for object_, _, address in costs if object_ == str(program)]
    chains = inlined(program, addresses)
    places = Counter()
    for (object_, function, address), cost in costs.items():
        chain = chains.get(address, []) if object_ == str(program) else []
        places[place_of(function, chain)] += cost
    return places


def own_costs(lines):
    """Instructions by object, function and address, without what they call."""
    costs = Counter()
    object_ = function = ""
    is_call = False
    for line in lines:
        if line.startswith("ob="):
            object_ = line[3:]
        elif line.startswith("fn="):
            function = line[3:]
        elif line.startswith("calls="):
            is_call = True
        elif line.startswith("0x"):
            address, _, cost = line.split()
            if not is_call:
                costs[object_, function, int(address, 16)] += int(cost)
            is_call = False
    return costs


def inlined(program, addresses):
    """For each address the functions and files around it, innermost first."""
    text = "".join(f"{address:#x}\n" for address in addresses)
    words = ["addr2line", "-e", program, "-a", "-i", "-f", "-C"]
    out = subprocess.run(words, input=text, check=True, stdout=subprocess.PIPE, text=True).stdout
    chains, frames, function = {}, [], None
    for line in out.splitlines():
        if line.startswith("0x"):
            frames = chains.setdefault(int(line, 16), [])
        elif function is None:
            function = line
        else:
            frames.append((function, line.rpartition(":")[0]))
            function = None
    return chains


def place_of(function, chain):
    """The innermost of our files around an instruction, and what it is there; else the name of the function."""
    root = f"{counting.REPOSITORY}/src/"
    ours = [(name, file.removeprefix(root)) for name, file in chain if file.startswith(root)]
    # Reading and writing of fields is the work of whoever has the record.
    named = [frame for frame in ours if frame[1] != "proto/jute.rs"] or ours
    if named:
        name, file = named[0]
        return f"{file} {name.split('::h0')[0].rpartition('::')[2]}"
    return function
