//! The connections that watch one path: eight bytes each.

use std::mem;

use crate::ids::ConnId;
use crate::watch::mode::{MODE_BITS, MODES, used_up};

/// Sorted by connection, which makes adding again cheap and delivery deterministic.
pub(super) enum Watchers {
    One(Watcher),
    Many(Vec<Watcher>),
}

/// A connection and the modes in which it watches a path, which are never none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Watcher(u64);

impl Watcher {
    pub fn new(conn: ConnId, modes: u64) -> Watcher {
        assert!(
            conn.0 <= u64::MAX >> MODE_BITS,
            "connections are counted up from 0"
        );
        Watcher(conn.0 << MODE_BITS | modes)
    }

    pub fn conn(self) -> ConnId {
        ConnId(self.0 >> MODE_BITS)
    }

    pub fn modes(self) -> u64 {
        self.0 & MODES
    }

    pub fn add(&mut self, modes: u64) {
        self.0 |= modes;
    }

    fn remove(&mut self, modes: u64) {
        self.0 &= !modes;
    }
}

impl Watchers {
    pub const NONE: Watchers = Watchers::Many(Vec::new());

    pub fn as_slice(&self) -> &[Watcher] {
        match self {
            Watchers::One(watcher) => std::slice::from_ref(watcher),
            Watchers::Many(watchers) => watchers,
        }
    }

    /// The modes of a connection, which may be none.
    pub fn modes_of(&self, conn: ConnId) -> u64 {
        self.search(conn)
            .map_or(0, |index| self.as_slice()[index].modes())
    }

    /// Adds a mode, and returns those that were there before.
    pub fn add(&mut self, conn: ConnId, mode: u64) -> u64 {
        if let Watchers::One(only) = self {
            if only.conn() == conn {
                let before = only.modes();
                only.add(mode);
                return before;
            }
            *self = Watchers::Many(vec![*only]);
        }
        let found = self.search(conn);
        let Watchers::Many(watchers) = self else {
            unreachable!("a single one has just been made a list")
        };
        match found {
            Ok(index) => {
                let before = watchers[index].modes();
                watchers[index].add(mode);
                before
            }
            Err(index) => {
                watchers.insert(index, Watcher::new(conn, mode));
                0
            }
        }
    }

    /// Takes modes off one connection's entry, and returns those that were there before.
    pub fn remove(&mut self, conn: ConnId, modes: u64) -> u64 {
        let before = self.modes_of(conn);
        if before & modes != 0 {
            self.retain(|watcher| {
                if watcher.conn() == conn {
                    watcher.remove(modes);
                }
                watcher.modes() != 0
            });
        }
        before
    }

    /// Those that watch in one of these modes, as they were before those modes were used up that are for one
    /// event.
    pub fn take(&mut self, modes: u64) -> Watchers {
        let used_up = used_up(modes);
        if self
            .as_slice()
            .iter()
            .all(|watcher| watcher.modes() & !used_up == 0)
        {
            return mem::replace(self, Watchers::NONE);
        }
        let slice = self.as_slice();
        let hit: Watchers = slice
            .iter()
            .filter(|watcher| watcher.modes() & modes != 0)
            .copied()
            .collect();
        if slice.iter().any(|watcher| watcher.modes() & used_up != 0) {
            self.retain(|watcher| {
                watcher.remove(used_up);
                watcher.modes() != 0
            });
        }
        hit
    }

    /// Changes each and keeps some. Says whether any are left.
    pub fn retain(&mut self, mut keep: impl FnMut(&mut Watcher) -> bool) -> bool {
        match self {
            Watchers::One(watcher) => {
                if !keep(watcher) {
                    *self = Watchers::NONE;
                }
            }
            Watchers::Many(watchers) => {
                watchers.retain_mut(keep);
                if watchers.len() < watchers.capacity() / 4 {
                    watchers.shrink_to(watchers.len() * 2);
                }
            }
        }
        !self.as_slice().is_empty()
    }

    fn search(&self, conn: ConnId) -> Result<usize, usize> {
        self.as_slice()
            .binary_search_by_key(&conn, |watcher| watcher.conn())
    }
}

impl FromIterator<Watcher> for Watchers {
    fn from_iter<I: IntoIterator<Item = Watcher>>(watchers: I) -> Watchers {
        let mut watchers = watchers.into_iter();
        match (watchers.next(), watchers.next()) {
            (None, _) => Watchers::NONE,
            (Some(only), None) => Watchers::One(only),
            (Some(first), Some(second)) => {
                Watchers::Many([first, second].into_iter().chain(watchers).collect())
            }
        }
    }
}
