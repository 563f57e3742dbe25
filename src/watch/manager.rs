//! Both watch tables of a server (WatchManager), as one map from a path to the connections that watch it.
//!
//! A watch costs eight bytes, and the first one on a path an entry of 40 bytes and the path. There is no
//! index from connections to paths: what a closed connection leaves behind is swept out once it is half of
//! everything, so that closing costs a constant per watch. Its entries are never shown nor notified until
//! then.
//!
//! Registering happens under a read guard of the tree and notifying under the write guard, so that no change
//! falls between a read and its watch. The locks in here only keep registering threads apart, and none of
//! them is held while something is delivered.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::FixedState;
use hashbrown::hash_table::Entry;
use hashbrown::{HashMap, HashSet, HashTable};
use parking_lot::Mutex;

use crate::ids::ConnId;
use crate::mutants::{self, Mutant};
use crate::proto::event::EventType;
use crate::tree::{AclList, Change, ChangeKind};
use crate::watch::mode::{CHILD_TABLE, DATA_TABLE, RECURSIVE, Tally, WatchKind, WatchMode, used_up};
use crate::watch::watchers::{Watcher, Watchers};

/// Takes an event to a connection. The ACL decides whether the connection may know of it.
pub type Deliver<'a> = dyn FnMut(ConnId, EventType, &str, &Arc<AclList>) + 'a;

/// How many connections a change concerned, whether or not they may know of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fired {
    /// By watches of the node in the data table, and by recursive ones above it.
    pub data: u64,
    /// By watches of the node in the child table, if it is gone.
    pub child: u64,
    /// By watches of the parent's children.
    pub parent: u64,
}

/// The watches of all connections.
pub struct WatchManager {
    hasher: FixedState,
    paths: Box<[Mutex<HashTable<WatchedPath>>]>,
    conns: Box<[Mutex<HashMap<ConnId, ConnWatches, FixedState>>]>,
    dead: Mutex<Dead>,
    live: AtomicUsize,
    /// Recursive watches: without any, nothing is looked up above a change.
    recursive: AtomicUsize,
}

struct WatchedPath {
    path: Box<str>,
    watchers: Watchers,
}

#[derive(Default)]
struct ConnWatches {
    tally: Tally,
    /// As `wchs` counts connections: until the last data watch is removed on request.
    is_shown: bool,
}

/// Closed connections that may still be listed as watchers, and how often they are.
#[derive(Default)]
struct Dead {
    conns: HashSet<ConnId, FixedState>,
    count: usize,
}

impl WatchManager {
    /// No watches. The seed keeps clients from choosing paths that collide.
    pub fn new(seed: u64) -> WatchManager {
        WatchManager {
            hasher: FixedState::with_seed(seed),
            paths: (0..SHARDS).map(|_| Mutex::default()).collect(),
            conns: (0..SHARDS)
                .map(|_| Mutex::new(HashMap::with_hasher(FixedState::with_seed(seed))))
                .collect(),
            dead: Mutex::default(),
            live: AtomicUsize::new(0),
            recursive: AtomicUsize::new(0),
        }
    }

    /// Leaves a watch, under a read guard of the tree. Modes accumulate, and the same one twice is one. The
    /// connection must not have been removed.
    pub fn add(&self, mode: WatchMode, path: &str, conn: ConnId) {
        let bit = mode.bit();
        let hash = self.hash(path);
        let before = {
            let mut paths = self.shard(hash).lock();
            match paths.entry(hash, |entry| &*entry.path == path, |entry| self.hash(&entry.path)) {
                Entry::Occupied(mut entry) => entry.get_mut().watchers.add(conn, bit),
                Entry::Vacant(entry) => {
                    entry.insert(WatchedPath {
                        path: path.into(),
                        watchers: Watchers::One(Watcher::new(conn, bit)),
                    });
                    0
                }
            }
        };
        let more = Tally::difference(before | bit, before);
        let mut conns = self.conn_shard(conn).lock();
        let state = conns.entry(conn).or_default();
        state.is_shown |= bit & DATA_TABLE != 0;
        state.tally.add(more);
        self.live.fetch_add(more.pairs as usize, Ordering::Relaxed);
        self.recursive
            .fetch_add(more.recursive as usize, Ordering::Relaxed);
    }

    /// Drops all watches of a connection that has ended.
    pub fn remove_conn(&self, conn: ConnId) {
        let Some(state) = self.conn_shard(conn).lock().remove(&conn) else {
            return;
        };
        let count = state.tally.pairs as usize;
        if count == 0 {
            return;
        }
        self.recursive
            .fetch_sub(state.tally.recursive as usize, Ordering::Relaxed);
        let live = self.live.fetch_sub(count, Ordering::Relaxed) - count;
        let dead = {
            let mut dead = self.dead.lock();
            dead.conns.insert(conn);
            dead.count += count;
            dead.count
        };
        if dead >= live {
            self.sweep();
        }
    }

    /// Whether the connection watches exactly this path in such a way.
    pub fn contains(&self, kind: WatchKind, path: &str, conn: ConnId) -> bool {
        let hash = self.hash(path);
        let paths = self.shard(hash).lock();
        let entry = paths.find(hash, |entry| &*entry.path == path);
        entry.is_some_and(|entry| entry.watchers.modes_of(conn) & kind.bits() != 0)
    }

    /// Removes the connection's watches of a kind from exactly this path, and says whether there were any.
    pub fn remove(&self, kind: WatchKind, path: &str, conn: ConnId) -> bool {
        let before = {
            let hash = self.hash(path);
            let mut paths = self.shard(hash).lock();
            let Ok(mut entry) = paths.find_entry(hash, |entry| &*entry.path == path) else {
                return false;
            };
            let watchers = &mut entry.get_mut().watchers;
            let before = watchers.remove(conn, kind.bits());
            if watchers.as_slice().is_empty() {
                entry.remove();
            }
            before
        };
        let lost = Tally::difference(before, before & !kind.bits());
        if before & kind.bits() == 0 || !self.settle(conn, lost) {
            return false;
        }
        if lost.data > 0
            && let Some(state) = self.conn_shard(conn).lock().get_mut(&conn)
        {
            state.is_shown = state.tally.data > 0;
        }
        true
    }

    /// Whether nobody watches anything. One relaxed load: exact under the tree's write guard.
    pub fn is_empty(&self) -> bool {
        self.live.load(Ordering::Relaxed) == 0
    }

    /// Fires what a change concerns, and uses up what is for one event, under the write guard of the tree, in
    /// the order in which clients are told: of the node, then of the parent's children. A connection hears of
    /// one change of a node once, however many of its watches it concerns.
    pub fn on_change(&self, change: &Change<'_>, deliver: &mut Deliver<'_>) -> Fired {
        let mut fired = Fired::default();
        if self.is_empty() {
            return fired;
        }
        let (event, modes) = match change.kind {
            ChangeKind::Created => (EventType::NodeCreated, DATA_TABLE),
            ChangeKind::Deleted => (EventType::NodeDeleted, DATA_TABLE | CHILD_TABLE),
            ChangeKind::DataChanged => (EventType::NodeDataChanged, DATA_TABLE),
        };
        self.fire(change.path, modes, &mut |watcher| {
            fired.data += u64::from(watcher.modes() & DATA_TABLE != 0);
            if change.kind == ChangeKind::Deleted {
                fired.child += u64::from(watcher.modes() & CHILD_TABLE != 0);
            }
            deliver(watcher.conn(), event, change.path, change.acl);
        });
        if let Some(parent_acl) = change.parent_acl
            && let Some(parent) = parent_of(change.path)
        {
            self.fire(parent, CHILD_TABLE, &mut |watcher| {
                fired.parent += 1;
                deliver(watcher.conn(), EventType::NodeChildrenChanged, parent, parent_acl);
            });
        }
        fired
    }

    /// Watches in both tables: pairs of a path and a connection.
    pub fn count(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// For `wchs`: open connections that have held a data watch and have not removed the last one themselves,
    /// paths with data watches, data watches.
    pub fn summary(&self) -> (usize, usize, usize) {
        let conns = self
            .conns
            .iter()
            .map(|conns| conns.lock().values().filter(|state| state.is_shown).count())
            .sum();
        let (mut paths, mut total) = (0, 0);
        self.for_each_data_path(|_, watchers| {
            paths += 1;
            total += watchers.count();
        });
        (conns, paths, total)
    }

    /// For `wchc`: the data watches of each open connection that `wchs` counts, sorted by path.
    pub fn by_connection(&self) -> BTreeMap<ConnId, Vec<String>> {
        let mut by_connection = BTreeMap::<ConnId, Vec<String>>::new();
        for conns in &self.conns {
            for (conn, state) in conns.lock().iter() {
                if state.is_shown {
                    by_connection.insert(*conn, Vec::new());
                }
            }
        }
        self.for_each_data_path(|path, watchers| {
            for conn in watchers {
                by_connection.entry(conn).or_default().push(path.to_owned());
            }
        });
        by_connection.values_mut().for_each(|paths| paths.sort_unstable());
        by_connection
    }

    /// For `wchp`: the connections that hold a data watch on each path, sorted.
    pub fn by_path(&self) -> BTreeMap<String, Vec<ConnId>> {
        let mut by_path = BTreeMap::new();
        self.for_each_data_path(|path, watchers| {
            by_path.insert(path.to_owned(), watchers.collect());
        });
        by_path
    }

    fn for_each_data_path(&self, mut visit: impl FnMut(&str, &mut dyn Iterator<Item = ConnId>)) {
        self.sweep();
        for shard in &self.paths {
            for entry in shard.lock().iter() {
                let slice = entry.watchers.as_slice();
                let mut watchers = slice.iter().filter(|watcher| watcher.modes() & DATA_TABLE != 0);
                if let Some(first) = watchers.next() {
                    visit(
                        &entry.path,
                        &mut std::iter::once(first)
                            .chain(watchers)
                            .map(|watcher| watcher.conn()),
                    );
                }
            }
        }
    }

    /// Tells those who watch the path in one of the modes, and those above it if recursive watches are among
    /// these.
    fn fire(&self, path: &str, modes: u64, notify: &mut dyn FnMut(Watcher)) {
        let hit = self.take(path, modes);
        let is_open = |watcher: Watcher| {
            let left = watcher.modes() & !used_up(modes);
            self.settle(watcher.conn(), Tally::difference(watcher.modes(), left))
        };
        let hit = hit.as_slice().iter().copied();
        if modes & RECURSIVE == 0 || self.recursive.load(Ordering::Relaxed) == 0 {
            hit.filter(|watcher| is_open(*watcher)).for_each(notify);
            return;
        }
        let mut hit: Vec<Watcher> = hit.filter(|watcher| is_open(*watcher)).collect();
        let levels = match mutants::is_on(Mutant::M13d) {
            true => 1,
            false => usize::MAX,
        };
        for ancestor in ancestors_of(path).take(levels) {
            self.collect_recursive(ancestor, &mut hit);
        }
        hit.sort_by_key(|watcher| watcher.conn());
        hit.dedup_by(|watcher, kept| {
            let is_same = watcher.conn() == kept.conn();
            if is_same {
                kept.add(watcher.modes());
            }
            is_same
        });
        hit.into_iter().for_each(notify);
    }

    /// Takes those who watch the path in one of the modes, as they were before that.
    fn take(&self, path: &str, modes: u64) -> Watchers {
        let hash = self.hash(path);
        let mut paths = self.shard(hash).lock();
        let Ok(mut entry) = paths.find_entry(hash, |entry| &*entry.path == path) else {
            return Watchers::NONE;
        };
        let watchers = &mut entry.get_mut().watchers;
        let hit = watchers.take(modes);
        if watchers.as_slice().is_empty() {
            entry.remove();
        }
        hit
    }

    fn collect_recursive(&self, path: &str, hit: &mut Vec<Watcher>) {
        let hash = self.hash(path);
        let paths = self.shard(hash).lock();
        let Some(entry) = paths.find(hash, |entry| &*entry.path == path) else {
            return;
        };
        let watchers = entry.watchers.as_slice().iter();
        let recursive = watchers.filter(|watcher| watcher.modes() & RECURSIVE != 0);
        let is_open = |conn: ConnId| self.conn_shard(conn).lock().contains_key(&conn);
        hit.extend(
            recursive
                .map(|watcher| Watcher::new(watcher.conn(), RECURSIVE))
                .filter(|watcher| is_open(watcher.conn())),
        );
    }

    /// Takes watches that are gone from the table off the books. Says whether the connection is open.
    fn settle(&self, conn: ConnId, lost: Tally) -> bool {
        let is_open = self
            .conn_shard(conn)
            .lock()
            .get_mut(&conn)
            .map(|state| state.tally.subtract(lost))
            .is_some();
        if lost == Tally::default() {
            return is_open;
        }
        if is_open {
            self.live.fetch_sub(lost.pairs as usize, Ordering::Relaxed);
            self.recursive
                .fetch_sub(lost.recursive as usize, Ordering::Relaxed);
        } else {
            // While a sweep is under way the books of the dead are empty already.
            let mut dead = self.dead.lock();
            dead.count = dead.count.saturating_sub(lost.pairs as usize);
        }
        is_open
    }

    /// Removes what closed connections left. Locks one part of the table at a time.
    fn sweep(&self) {
        let dead = mem::take(&mut *self.dead.lock());
        if dead.conns.is_empty() {
            return;
        }
        for shard in &self.paths {
            let mut paths = shard.lock();
            paths.retain(|entry| {
                entry
                    .watchers
                    .retain(|watcher| !dead.conns.contains(&watcher.conn()))
            });
            if paths.len() < paths.capacity() / 4 {
                let room = paths.len() * 2;
                paths.shrink_to(room, |entry| self.hash(&entry.path));
            }
        }
    }

    fn hash(&self, path: &str) -> u64 {
        use std::hash::BuildHasher;
        self.hasher.hash_one(path)
    }

    /// The tables inside go by the lowest and the highest bits of the hash.
    fn shard(&self, hash: u64) -> &Mutex<HashTable<WatchedPath>> {
        &self.paths[(hash >> 40) as usize % SHARDS]
    }

    fn conn_shard(&self, conn: ConnId) -> &Mutex<HashMap<ConnId, ConnWatches, FixedState>> {
        &self.conns[conn.0 as usize % SHARDS]
    }
}

fn parent_of(path: &str) -> Option<&str> {
    match path.rfind('/')? {
        0 => Some("/"),
        slash => Some(&path[..slash]),
    }
}

/// The nodes above, upward to the root.
fn ancestors_of(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| {
        let is_root = path.len() == 1;
        if is_root { None } else { parent_of(path) }
    })
    .skip(1)
}

const SHARDS: usize = 64;

const _: () = assert!(size_of::<WatchedPath>() == 40);

#[cfg(test)]
mod tests;
