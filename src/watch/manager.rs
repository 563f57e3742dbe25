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
use crate::proto::event::EventType;
use crate::tree::{AclList, Change, ChangeKind};

/// What a one-shot watch waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchTable {
    /// The node itself: left by getData and exists.
    Data,
    /// Its children: left by getChildren.
    Child,
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
}

/// Takes an event to a connection. The ACL decides whether the connection may know of it.
pub type Deliver<'a> = dyn FnMut(ConnId, EventType, &str, &Arc<AclList>) + 'a;

/// The watches of all connections.
pub struct WatchManager {
    hasher: FixedState,
    paths: Box<[Mutex<HashTable<WatchedPath>>]>,
    conns: Box<[Mutex<HashMap<ConnId, ConnWatches, FixedState>>]>,
    dead: Mutex<Dead>,
    live: AtomicUsize,
}

struct WatchedPath {
    path: Box<str>,
    watchers: Watchers,
}

/// Sorted by connection, which makes adding again cheap and delivery deterministic.
enum Watchers {
    One(Watcher),
    Many(Vec<Watcher>),
}

/// A connection and the modes in which it watches a path, which are never none.
#[derive(Clone, Copy)]
struct Watcher(u64);

#[derive(Default)]
struct ConnWatches {
    count: usize,
    has_held_data_watch: bool,
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
        }
    }

    /// Leaves a one-shot watch, under a read guard of the tree. The same one twice is one. The connection
    /// must not have been removed.
    pub fn add(&self, table: WatchTable, path: &str, conn: ConnId) {
        let mode = table.mode();
        let hash = self.hash(path);
        let is_new = {
            let mut paths = self.shard(hash).lock();
            match paths.entry(hash, |entry| &*entry.path == path, |entry| self.hash(&entry.path)) {
                Entry::Occupied(mut entry) => entry.get_mut().watchers.add(conn, mode),
                Entry::Vacant(entry) => {
                    entry.insert(WatchedPath {
                        path: path.into(),
                        watchers: Watchers::One(Watcher::new(conn, mode)),
                    });
                    true
                }
            }
        };
        let mut conns = self.conn_shard(conn).lock();
        let state = conns.entry(conn).or_default();
        state.has_held_data_watch |= table == WatchTable::Data;
        if is_new {
            state.count += 1;
            self.live.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Drops all watches of a connection that has ended.
    pub fn remove_conn(&self, conn: ConnId) {
        let Some(state) = self.conn_shard(conn).lock().remove(&conn) else {
            return;
        };
        if state.count == 0 {
            return;
        }
        let live = self.live.fetch_sub(state.count, Ordering::Relaxed) - state.count;
        let dead = {
            let mut dead = self.dead.lock();
            dead.conns.insert(conn);
            dead.count += state.count;
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
        let watchers = paths
            .find(hash, |entry| &*entry.path == path)
            .map(|entry| &entry.watchers);
        watchers
            .and_then(|watchers| watchers.find(conn))
            .is_some_and(|watcher| watcher.modes() & kind.modes() != 0)
    }

    /// Removes the connection's watches of a kind from exactly this path, and says whether there were any.
    pub fn remove(&self, kind: WatchKind, path: &str, conn: ConnId) -> bool {
        let removed = {
            let hash = self.hash(path);
            let mut paths = self.shard(hash).lock();
            let Ok(mut entry) = paths.find_entry(hash, |entry| &*entry.path == path) else {
                return false;
            };
            let watchers = &mut entry.get_mut().watchers;
            let removed = watchers.remove(conn, kind.modes());
            if watchers.as_slice().is_empty() {
                entry.remove();
            }
            removed
        };
        removed != 0 && self.settle(conn, removed)
    }

    /// Whether nobody watches anything. One relaxed load: exact under the tree's write guard.
    pub fn is_empty(&self) -> bool {
        self.live.load(Ordering::Relaxed) == 0
    }

    /// Fires and uses up what a change concerns, under the write guard of the tree, in the order in which
    /// clients are told: of the node, then of the parent's children. A connection hears of one deletion once.
    pub fn on_change(&self, change: &Change<'_>, deliver: &mut Deliver<'_>) {
        if self.is_empty() {
            return;
        }
        let (event, modes) = match change.kind {
            ChangeKind::Created => (EventType::NodeCreated, DATA),
            ChangeKind::Deleted => (EventType::NodeDeleted, DATA | CHILD),
            ChangeKind::DataChanged => (EventType::NodeDataChanged, DATA),
        };
        self.fire(change.path, modes, &mut |conn| {
            deliver(conn, event, change.path, change.acl)
        });
        if let Some(parent_acl) = change.parent_acl
            && let Some(parent) = parent_of(change.path)
        {
            self.fire(parent, CHILD, &mut |conn| {
                deliver(conn, EventType::NodeChildrenChanged, parent, parent_acl);
            });
        }
    }

    /// Watches in both tables: pairs of a path and a connection.
    pub fn count(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// For `wchs`: open connections that have ever held a data watch, paths with data watches, data watches.
    pub fn summary(&self) -> (usize, usize, usize) {
        let conns = self
            .conns
            .iter()
            .map(|conns| {
                conns
                    .lock()
                    .values()
                    .filter(|state| state.has_held_data_watch)
                    .count()
            })
            .sum();
        let (mut paths, mut total) = (0, 0);
        self.for_each_data_path(|_, watchers| {
            paths += 1;
            total += watchers.count();
        });
        (conns, paths, total)
    }

    /// For `wchc`: the data watches of each open connection that has ever held one, sorted by path.
    pub fn by_connection(&self) -> BTreeMap<ConnId, Vec<String>> {
        let mut by_connection = BTreeMap::<ConnId, Vec<String>>::new();
        for conns in &self.conns {
            for (conn, state) in conns.lock().iter() {
                if state.has_held_data_watch {
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
                let mut watchers = slice.iter().filter(|watcher| watcher.modes() & DATA != 0);
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

    fn fire(&self, path: &str, modes: u64, notify: &mut dyn FnMut(ConnId)) {
        let hash = self.hash(path);
        let hit = {
            let mut paths = self.shard(hash).lock();
            let Ok(mut entry) = paths.find_entry(hash, |entry| &*entry.path == path) else {
                return;
            };
            let watchers = &mut entry.get_mut().watchers;
            let hit = watchers.take(modes);
            if watchers.as_slice().is_empty() {
                entry.remove();
            }
            hit
        };
        for watcher in hit.as_slice() {
            if self.settle(watcher.conn(), watcher.modes() & modes) {
                notify(watcher.conn());
            }
        }
    }

    /// Takes watches that are gone from the table off the books. Says whether the connection is open.
    fn settle(&self, conn: ConnId, modes: u64) -> bool {
        let count = modes.count_ones() as usize;
        let is_open = self
            .conn_shard(conn)
            .lock()
            .get_mut(&conn)
            .map(|state| state.count -= count)
            .is_some();
        if is_open {
            self.live.fetch_sub(count, Ordering::Relaxed);
        } else {
            // While a sweep is under way the books of the dead are empty already.
            let mut dead = self.dead.lock();
            dead.count = dead.count.saturating_sub(count);
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

impl WatchTable {
    fn mode(self) -> u64 {
        match self {
            WatchTable::Data => DATA,
            WatchTable::Child => CHILD,
        }
    }
}

impl WatchKind {
    fn modes(self) -> u64 {
        match self {
            WatchKind::Children => CHILD,
            WatchKind::Data => DATA,
            WatchKind::Any => MODES,
        }
    }
}

impl Watcher {
    fn new(conn: ConnId, modes: u64) -> Watcher {
        assert!(
            conn.0 <= u64::MAX >> MODE_BITS,
            "connections are counted up from 0"
        );
        Watcher(conn.0 << MODE_BITS | modes)
    }

    fn conn(self) -> ConnId {
        ConnId(self.0 >> MODE_BITS)
    }

    fn modes(self) -> u64 {
        self.0 & MODES
    }

    /// What is left without these modes.
    fn without(self, modes: u64) -> Option<Watcher> {
        let left = self.modes() & !modes;
        (left != 0).then(|| Watcher::new(self.conn(), left))
    }
}

impl Watchers {
    const NONE: Watchers = Watchers::Many(Vec::new());

    fn as_slice(&self) -> &[Watcher] {
        match self {
            Watchers::One(watcher) => std::slice::from_ref(watcher),
            Watchers::Many(watchers) => watchers,
        }
    }

    fn search(&self, conn: ConnId) -> Result<usize, usize> {
        self.as_slice()
            .binary_search_by_key(&conn, |watcher| watcher.conn())
    }

    fn find(&self, conn: ConnId) -> Option<Watcher> {
        self.search(conn).ok().map(|index| self.as_slice()[index])
    }

    /// Adds a mode, and says whether it was missing.
    fn add(&mut self, conn: ConnId, mode: u64) -> bool {
        if let Watchers::One(only) = self {
            if only.conn() == conn {
                let is_new = only.modes() & mode == 0;
                only.0 |= mode;
                return is_new;
            }
            *self = Watchers::Many(vec![*only]);
        }
        let found = self.search(conn);
        let Watchers::Many(watchers) = self else {
            unreachable!("a single one has just been made a list")
        };
        match found {
            Ok(index) => {
                let is_new = watchers[index].modes() & mode == 0;
                watchers[index].0 |= mode;
                is_new
            }
            Err(index) => {
                watchers.insert(index, Watcher::new(conn, mode));
                true
            }
        }
    }

    /// Takes modes off one connection's entry, and returns those that were there.
    fn remove(&mut self, conn: ConnId, modes: u64) -> u64 {
        let removed = self.find(conn).map_or(0, |watcher| watcher.modes() & modes);
        if removed != 0 {
            let all = mem::replace(self, Watchers::NONE);
            let left = |watcher: &Watcher| match watcher.conn() == conn {
                true => watcher.without(modes),
                false => Some(*watcher),
            };
            *self = all.as_slice().iter().filter_map(left).collect();
        }
        removed
    }

    /// Takes modes off all entries, and returns the entries that had one of them, as they were.
    fn take(&mut self, modes: u64) -> Watchers {
        let all = mem::replace(self, Watchers::NONE);
        if all
            .as_slice()
            .iter()
            .all(|watcher| watcher.without(modes).is_none())
        {
            return all;
        }
        *self = all
            .as_slice()
            .iter()
            .filter_map(|watcher| watcher.without(modes))
            .collect();
        all.as_slice()
            .iter()
            .filter(|watcher| watcher.modes() & modes != 0)
            .copied()
            .collect()
    }

    /// Keeps some, and says whether any are left.
    fn retain(&mut self, keep: impl Fn(&Watcher) -> bool) -> bool {
        match self {
            Watchers::One(watcher) => keep(watcher),
            Watchers::Many(watchers) => {
                watchers.retain(keep);
                if watchers.len() < watchers.capacity() / 4 {
                    watchers.shrink_to(watchers.len() * 2);
                }
                !watchers.is_empty()
            }
        }
    }
}

impl FromIterator<Watcher> for Watchers {
    fn from_iter<I: IntoIterator<Item = Watcher>>(watchers: I) -> Watchers {
        Watchers::Many(watchers.into_iter().collect())
    }
}

fn parent_of(path: &str) -> Option<&str> {
    match path.rfind('/')? {
        0 => Some("/"),
        slash => Some(&path[..slash]),
    }
}

const SHARDS: usize = 64;

/// The modes of a watcher. There is room for the persistent and the recursive one.
const DATA: u64 = 1;
const CHILD: u64 = 2;
const MODE_BITS: u32 = 4;
const MODES: u64 = (1 << MODE_BITS) - 1;

const _: () = assert!(size_of::<WatchedPath>() == 40);

#[cfg(test)]
mod tests;
