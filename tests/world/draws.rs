//! Chance that a seed decides. Every decision draws from the seed, what it is about, and how many of its kind
//! came before: what is left out of a run does not shift what happens elsewhere.

use std::collections::BTreeMap;

use zkserver::prng::Prng;

/// What is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// How long something takes on a connection between servers.
    Link,
    /// Whether what was sent before an end still arrives.
    Loss,
    Vote,
    Disk,
    Batch,
    Dial,
    Wake,
    Crash,
    Choice,
    User,
}

pub struct Draws {
    seed: u64,
    counts: BTreeMap<(Stream, u64), u64>,
}

impl Draws {
    pub fn new(seed: u64) -> Draws {
        Draws {
            seed,
            counts: BTreeMap::new(),
        }
    }

    /// Uniform in `0..bound`.
    pub fn below(&mut self, stream: Stream, key: u64, bound: u64) -> u64 {
        self.next(stream, key).below(bound)
    }

    /// Chance for one decision that takes several draws.
    pub fn next(&mut self, stream: Stream, key: u64) -> Prng {
        let count = self.counts.entry((stream, key)).or_default();
        *count += 1;
        let mut mixed = Prng::new(self.seed ^ (stream as u64) << 56);
        let with_key = mixed.next_u64() ^ key;
        let with_count = Prng::new(with_key).next_u64() ^ *count;
        Prng::new(with_count)
    }
}
