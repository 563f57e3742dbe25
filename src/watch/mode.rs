//! In which ways a connection may watch a path (WatcherMode, WatchStats), as bits, and what they count for.
//!
//! Apache's server has a table for data watches and one for child watches. A persistent watch stands in both,
//! a recursive one in the former.

use crate::mutants::{self, Mutant};

/// How a connection asks to watch a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchMode {
    /// One event of the node itself: left by getData and exists.
    Data,
    /// One event of its children, or its end: left by getChildren.
    Child,
    /// Every event of the node and its children.
    Persistent,
    /// The beginning, the end and every change of data of the node and all that is below it.
    PersistentRecursive,
}

/// Which watches checkWatches and removeWatches mean (Watcher.WatcherType).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchKind {
    /// One-shot child watches.
    Children,
    /// One-shot data watches.
    Data,
    /// All.
    Any,
    /// Persistent ones that are not recursive.
    Persistent,
    /// Recursive ones.
    PersistentRecursive,
}

impl WatchMode {
    /// The mode of addWatch with this number (AddWatchMode), if there is one.
    pub fn from_code(code: i32) -> Option<WatchMode> {
        match code {
            0 => Some(WatchMode::Persistent),
            1 => Some(WatchMode::PersistentRecursive),
            _ => None,
        }
    }

    pub(super) fn bit(self) -> u64 {
        match self {
            WatchMode::Data => DATA,
            WatchMode::Child => CHILD,
            WatchMode::Persistent => PERSISTENT,
            WatchMode::PersistentRecursive => RECURSIVE,
        }
    }
}

impl WatchKind {
    /// The kind with this number, if there is one.
    pub fn from_code(code: i32) -> Option<WatchKind> {
        match code {
            1 => Some(WatchKind::Children),
            2 => Some(WatchKind::Data),
            3 => Some(WatchKind::Any),
            4 => Some(WatchKind::Persistent),
            5 => Some(WatchKind::PersistentRecursive),
            _ => None,
        }
    }

    pub(super) fn bits(self) -> u64 {
        match self {
            WatchKind::Children => CHILD,
            WatchKind::Data => DATA,
            WatchKind::Any => MODES,
            WatchKind::Persistent => PERSISTENT,
            WatchKind::PersistentRecursive => RECURSIVE,
        }
    }
}

/// What one connection's watches count for: in all, or on one path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Pairs of a path and the connection, in both tables.
    pub pairs: u32,
    /// Those in the data table.
    pub data: u32,
    /// Recursive watches.
    pub recursive: u32,
}

impl Tally {
    pub fn of(modes: u64) -> Tally {
        let has = |some: u64| u32::from(modes & some != 0);
        Tally {
            pairs: has(DATA_TABLE) + has(CHILD_TABLE),
            data: has(DATA_TABLE),
            recursive: has(RECURSIVE),
        }
    }

    /// By how much modes count for more than some of them do.
    pub fn difference(modes: u64, fewer: u64) -> Tally {
        let mut tally = Tally::of(modes);
        tally.subtract(Tally::of(fewer));
        tally
    }

    pub fn add(&mut self, other: Tally) {
        self.pairs += other.pairs;
        self.data += other.data;
        self.recursive += other.recursive;
    }

    pub fn subtract(&mut self, other: Tally) {
        self.pairs -= other.pairs;
        self.data -= other.data;
        self.recursive -= other.recursive;
    }
}

/// Which of these modes an event uses up.
pub(super) fn used_up(modes: u64) -> u64 {
    match mutants::is_on(Mutant::M13c) {
        true => modes,
        false => modes & (DATA | CHILD),
    }
}

pub(super) const DATA: u64 = 1;
pub(super) const CHILD: u64 = 2;
pub(super) const PERSISTENT: u64 = 4;
pub(super) const RECURSIVE: u64 = 8;

pub(super) const DATA_TABLE: u64 = DATA | PERSISTENT | RECURSIVE;
pub(super) const CHILD_TABLE: u64 = CHILD | PERSISTENT;

pub(super) const MODE_BITS: u32 = 4;
pub(super) const MODES: u64 = (1 << MODE_BITS) - 1;
