//! What a crash may make of a disk: every combination of what was not synced, or as many as are wanted.
//!
//! A crash decides by itself about every change of a name, every change of a length, every sector of every
//! write, and whether a file is as long as a write made it. So a write is kept, dropped or torn, a file has
//! grown and holds zeros, and names come, go and change places in any order.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use zkserver::prng::Prng;

use super::{Change, Inode, SimDisk, State, write_into};

/// A smaller piece is written as a whole, or not at all.
pub const SECTOR: usize = 512;
/// What file systems write at once.
pub const PAGE: usize = 4096;

impl SimDisk {
    /// The disk after a crash that keeps what `keep` says, which is asked once about each thing. The next
    /// process finds it: nothing goes wrong with it, and its calls count from 1.
    pub fn image(&self, grain: usize, keep: &mut dyn FnMut() -> bool) -> SimDisk {
        let state = self.state();
        let inodes = state
            .inodes
            .iter()
            .map(|inode| inode.image(grain, keep))
            .collect();
        let mut names = state.durable_names.clone();
        for change in &state.renames {
            if keep() {
                change.apply(&mut names);
            }
        }
        SimDisk(Arc::new(Mutex::new(State {
            durable_names: names.clone(),
            names,
            dirs: state.dirs.clone(),
            inodes,
            ..State::default()
        })))
    }

    /// How many things a crash decides about.
    pub fn undecided(&self, grain: usize) -> usize {
        let mut count = 0;
        self.image(grain, &mut || {
            count += 1;
            false
        });
        count
    }

    /// Images of a crash, all different: every one there can be, if those are no more than `count_max`.
    /// The grain comes with each.
    pub fn images(&self, count_max: usize, prng: &mut Prng) -> Vec<(usize, Vec<bool>)> {
        let undecided = self.undecided(SECTOR);
        if undecided < 32 && 1 << undecided <= count_max {
            let bits = |number: usize| (0..undecided).map(|bit| number >> bit & 1 == 1).collect();
            return (0..1 << undecided).map(|number| (SECTOR, bits(number))).collect();
        }
        let mut images = BTreeSet::from([true, false].map(|kept| (SECTOR, vec![kept; undecided])));
        let pages = self.undecided(PAGE);
        // Rolling the same twice is rare, but must not go on forever.
        for _ in 0..4 * count_max {
            if images.len() >= count_max {
                break;
            }
            let (grain, count) = [(SECTOR, undecided), (PAGE, pages)][prng.below(2) as usize];
            // Between nearly all lost and nearly all kept.
            let odds = 1 + prng.below(15);
            images.insert((grain, (0..count).map(|_| prng.below(16) < odds).collect()));
        }
        let mut images: Vec<_> = images.into_iter().collect();
        images.truncate(count_max);
        images
    }
}

impl Inode {
    fn image(&self, grain: usize, keep: &mut dyn FnMut() -> bool) -> Inode {
        let mut content = self.durable.clone();
        for change in &self.changes {
            match change {
                Change::Length(_) if keep() => change.apply(&mut content),
                Change::Length(_) => {}
                Change::Write { offset, bytes } => {
                    let end = offset + bytes.len();
                    if end > self.durable.len() && keep() && content.len() < end {
                        content.resize(end, 0);
                    }
                    let (mut at, mut rest) = (*offset, &bytes[..]);
                    while !rest.is_empty() {
                        let (piece, behind) = rest.split_at(rest.len().min(grain - at % grain));
                        if keep() {
                            write_into(&mut content, at, piece);
                        }
                        at += piece.len();
                        rest = behind;
                    }
                }
            }
        }
        Inode {
            durable: content.clone(),
            content,
            changes: Vec::new(),
        }
    }
}
