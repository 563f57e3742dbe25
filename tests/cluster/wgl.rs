//! Whether a history of one key is linearizable, by the algorithm of Wing and Gong with the memory of Lowe:
//! calls are taken in some order that their times allow, and a state that was reached with the same calls is
//! not tried again.

use std::collections::BTreeSet;
use std::time::Instant;

/// A node that nobody has, or its value (a number that stands for the bytes) and its version.
pub type State = Option<(u64, i32)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Create(u64),
    /// A value, and the version that is expected; -1 takes any.
    Set(u64, i32),
    Delete(i32),
    Read,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No answer: it may have been done at any later time, or never.
    Unknown,
    Done,
    /// What a set or an exists tells.
    Version(i32),
    /// What a read tells.
    Value(u64, i32),
    NoNode,
    BadVersion,
    NodeExists,
}

#[derive(Clone, Copy, Debug)]
pub struct Op {
    pub called: u64,
    /// Not used with an unknown outcome.
    pub returned: u64,
    pub action: Action,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Linearizable,
    Wrong,
    /// Neither was found in time.
    OutOfTime,
}

/// The state behind an operation and what it tells, or None when that is not what was seen.
fn step(state: State, op: &Op) -> Option<State> {
    let (next, shown) = match (op.action, state) {
        (Action::Create(value), None) => (Some((value, 0)), Outcome::Done),
        (Action::Create(_), Some(_)) => (state, Outcome::NodeExists),
        (_, None) => (None, Outcome::NoNode),
        (Action::Set(_, expected) | Action::Delete(expected), Some((_, version)))
            if expected != -1 && expected != version =>
        {
            (state, Outcome::BadVersion)
        }
        (Action::Set(value, _), Some((_, version))) => {
            (Some((value, version + 1)), Outcome::Version(version + 1))
        }
        (Action::Delete(_), Some(_)) => (None, Outcome::Done),
        (Action::Read, Some((value, version))) => (state, Outcome::Value(value, version)),
    };
    let fits = match (op.outcome, shown) {
        (Outcome::Unknown, _) => true,
        (Outcome::Version(seen), Outcome::Value(_, version)) => seen == version,
        (seen, shown) => seen == shown,
    };
    fits.then_some(next)
}

/// The ops that were taken, one bit each.
type Taken = Vec<u64>;

struct Search<'a> {
    ops: &'a [Op],
    taken: Taken,
    seen: BTreeSet<(Taken, State)>,
}

impl Search<'_> {
    fn is_taken(&self, index: usize) -> bool {
        self.taken[index / 64] >> (index % 64) & 1 == 1
    }

    fn flip(&mut self, index: usize) {
        self.taken[index / 64] ^= 1 << (index % 64);
    }

    /// Those that may come next: not taken, and called before any that is not taken has returned. The last is
    /// the one to try first.
    fn candidates(&self) -> Vec<usize> {
        let open = || (0..self.ops.len()).filter(|index| !self.is_taken(*index));
        let returns = open().map(|index| end(&self.ops[index]));
        let first = returns.min().unwrap_or(u64::MAX);
        let mut all: Vec<usize> = open().filter(|index| self.ops[*index].called <= first).collect();
        all.sort_by_key(|index| std::cmp::Reverse(end(&self.ops[*index])));
        all
    }

    /// Unknown ones need not be taken.
    fn is_done(&self) -> bool {
        (0..self.ops.len()).all(|index| self.is_taken(index) || self.ops[index].outcome == Outcome::Unknown)
    }
}

fn end(op: &Op) -> u64 {
    if op.outcome == Outcome::Unknown {
        u64::MAX
    } else {
        op.returned
    }
}

/// `ops` of one key that nobody had before the first of them.
pub fn check(ops: &[Op], deadline: Instant) -> Verdict {
    let mut search = Search {
        ops,
        taken: vec![0; ops.len().div_ceil(64)],
        seen: BTreeSet::new(),
    };
    // What was taken, the state before it, and what else could have been taken there.
    let mut path: Vec<(usize, State, Vec<usize>)> = Vec::new();
    let mut state: State = None;
    let mut open = search.candidates();
    loop {
        if search.is_done() {
            return Verdict::Linearizable;
        }
        if search.seen.len() % 1024 == 1023 && Instant::now() > deadline {
            return Verdict::OutOfTime;
        }
        let Some(index) = open.pop() else {
            let Some((index, before, rest)) = path.pop() else {
                return Verdict::Wrong;
            };
            search.flip(index);
            (state, open) = (before, rest);
            continue;
        };
        let Some(next) = step(state, &search.ops[index]) else {
            continue;
        };
        search.flip(index);
        if search.seen.insert((search.taken.clone(), next)) {
            path.push((index, state, open));
            state = next;
            open = search.candidates();
        } else {
            search.flip(index);
        }
    }
}
