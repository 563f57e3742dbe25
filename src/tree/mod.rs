//! The znodes: what they hold, how they hang together, and the one way they change, `process_txn`.
//!
//! The tree is a slab of nodes linked to parent and siblings, and one index of names for all of it. There are
//! no full paths and no sets of children: a znode with a name of 7 bytes and 100 bytes of data takes about
//! 235 bytes. Every change keeps the digest of the tree, and while a snapshot is under way what the snapshot
//! is to show.

pub mod acl_cache;
pub mod containers;
pub mod digest;
pub mod ephemerals;
pub mod listings;
pub mod load;
mod node;
pub mod node_ref;
pub mod path;
pub mod process_txn;
pub mod quota;
pub mod snapshot_view;

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::mem;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

pub use acl_cache::{AclId, AclList};
pub use containers::{Expired, Lifetimes};
pub use ephemerals::NodeKind;
pub use listings::Piece;
pub use load::LoadError;
pub use node_ref::NodeRef;
pub use process_txn::{Change, ChangeKind, ChangeSink, TxnResult};
pub use quota::{Quota, QuotaTotals, StatsTrack};
pub use snapshot_view::{SnapshotCursor, SnapshotHead};

use crate::ids::{SessionId, Zxid};
use acl_cache::AclCache;
use ephemerals::Ephemerals;
use listings::Listings;
use load::Loading;
use node::{NONE, NOT_COUNTED, NewNode, Node, ROOT, Slab, TOMBSTONE, YOUNG};
use quota::PathTrie;
use snapshot_view::Pass;

/// All znodes, their ACLs, and the sessions as far as transactions speak of them.
pub struct DataTree {
    nodes: Slab,
    /// Ids by parent and name. Tombstones are not in it.
    index: HashTable<u32>,
    hasher: FixedState,
    acls: AclCache,
    ephemerals: Ephemerals,
    quotas: PathTrie,
    sessions: BTreeMap<SessionId, i32>,
    last_processed_zxid: Zxid,
    digest: u64,
    /// Nodes that exist, the root included.
    nodes_count: usize,
    /// Bytes of all paths and data.
    data_bytes: u64,
    /// The snapshot under way.
    pass: Option<Pass>,
    /// Lists of children under way.
    listings: Listings,
    /// Between `empty` and `finish_load`.
    loading: Option<Box<Loading>>,
}

impl DataTree {
    /// The tree of a server that never saw a transaction. The seed hides from clients which names collide.
    pub fn new(hash_seed: u64) -> DataTree {
        let mut tree = DataTree::empty(hash_seed);
        tree.finish_load(Zxid::ZERO);
        tree
    }

    /// The highest zxid of all transactions applied.
    pub fn last_processed_zxid(&self) -> Zxid {
        self.last_processed_zxid
    }

    /// Moves it without a transaction: to the start of an epoch.
    pub fn set_last_processed_zxid(&mut self, zxid: Zxid) {
        self.last_processed_zxid = zxid;
    }

    /// Hashes names so that clients cannot know which collide.
    pub fn name_hasher(&self) -> FixedState {
        self.hasher.clone()
    }

    /// Nodes, the root twice, as ZooKeeper counts them.
    pub fn node_count(&self) -> usize {
        self.nodes_count + 1
    }

    /// Bytes of all paths and data.
    pub fn approximate_data_size(&self) -> u64 {
        self.data_bytes
    }

    /// Ephemeral nodes of all sessions.
    pub fn ephemerals_count(&self) -> usize {
        self.ephemerals.len()
    }

    /// See [`digest`].
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The node at a path; `""` and `"/"` are the root. What is not a valid path is not found.
    pub fn lookup(&self, path: &str) -> Option<NodeRef<'_>> {
        let id = self.find(if path == "/" { "" } else { path })?;
        Some(NodeRef::new(self, id))
    }

    /// An ACL by number; one that grants nothing if there is no such number.
    pub fn acl(&self, id: AclId) -> &Arc<AclList> {
        self.acls.list(id)
    }

    /// Sessions that were created and not closed, with their timeouts in milliseconds.
    pub fn sessions(&self) -> &BTreeMap<SessionId, i32> {
        &self.sessions
    }

    /// Paths of a session's ephemerals, sorted.
    pub fn ephemerals(&self, session: SessionId) -> Vec<String> {
        let mut paths: Vec<String> = self
            .ephemerals
            .of(session)
            .map(|id| NodeRef::new(self, id).path())
            .collect();
        paths.sort_unstable();
        paths
    }

    /// Owners of ephemerals, live or not, and the paths, all sorted.
    pub fn sessions_with_ephemerals(&self) -> Vec<(SessionId, Vec<String>)> {
        let mut owners: Vec<SessionId> = self.ephemerals.iter().map(|(session, _)| session).collect();
        owners.dedup();
        owners
            .into_iter()
            .map(|session| (session, self.ephemerals(session)))
            .collect()
    }

    /// Nodes strictly below a path.
    pub fn descendants_count(&self, path: &str) -> Option<usize> {
        let top = self.lookup(path)?.id();
        if top == ROOT {
            // Under the empty path Apache counts the root among its own descendants.
            return Some(self.nodes_count - usize::from(!path.is_empty()));
        }
        let mut count = 0;
        let mut at = top;
        while let Some(next) = self.next_below(at, top) {
            count += 1;
            at = next;
        }
        Some(count)
    }

    /// The node after `at` in the walk, parents first, of what is below `top`.
    fn next_below(&self, mut at: u32, top: u32) -> Option<u32> {
        let mut next = self.skip_tombstones(self.nodes.get(at).first_child);
        while next.is_none() && at != top {
            let node = self.nodes.get(at);
            next = self.skip_tombstones(node.next_sibling);
            at = node.parent;
        }
        next
    }

    /// The first that exists of a node and the siblings after it.
    fn skip_tombstones(&self, mut id: u32) -> Option<u32> {
        while id != NONE {
            let node = self.nodes.get(id);
            if !node.has(TOMBSTONE) {
                return Some(id);
            }
            id = node.next_sibling;
        }
        None
    }

    /// The node at a path; only `""` is the root here, so that `find(parent) + "/" + name` has one spelling.
    fn find(&self, path: &str) -> Option<u32> {
        if path.is_empty() {
            return Some(ROOT);
        }
        // No other character has the byte of a slash in it, and bytes are gone through faster.
        let names = path.as_bytes().strip_prefix(b"/")?;
        names
            .split(|byte| *byte == b'/')
            .try_fold(ROOT, |parent, name| self.child(parent, name))
    }

    fn child(&self, parent: u32, name: &[u8]) -> Option<u32> {
        let hash = self.name_hash(parent, name);
        let is_same = |&id: &u32| {
            let node = self.nodes.get(id);
            node.name_hash == hash && node.parent == parent && node.name() == name
        };
        self.index.find(widen(hash), is_same).copied()
    }

    fn name_hash(&self, parent: u32, name: &[u8]) -> u32 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u32(parent);
        hasher.write(name);
        let hash = hasher.finish();
        (hash ^ hash >> 32) as u32
    }

    /// Adds a node at the head of its siblings. The parent has no child of this name.
    fn link(&mut self, new: &NewNode<'_>, path_len: usize) -> u32 {
        let mut node = Node::new(new);
        if self.pass.is_some() {
            node.set(YOUNG);
        }
        self.digest = self.digest.wrapping_add(u64::from(node.digest));
        self.data_bytes += (path_len + node.data_len()) as u64;
        self.nodes_count += 1;
        self.acls.claim(new.acl);
        let head = self.nodes.get(new.parent).first_child;
        node.next_sibling = head;
        let id = self.nodes.insert(node);
        if head != NONE {
            self.nodes.get_mut(head).prev_sibling = id;
        }
        let parent = self.nodes.get_mut(new.parent);
        parent.first_child = id;
        parent.num_children += 1;
        self.ephemerals.add(new.stat.ephemeral_owner, id);
        let nodes = &self.nodes;
        self.index
            .insert_unique(widen(new.name_hash), id, |&id| widen(nodes.get(id).name_hash));
        if let Some(pass) = &mut self.pass {
            pass.young.push(id);
        }
        id
    }

    /// Takes a childless node out of the tree. Its ACL is still claimed: the caller releases it.
    fn unlink(&mut self, id: u32, path_len: usize) -> AclId {
        assert!(id != ROOT, "the root stays");
        let node = self.nodes.get(id);
        assert!(node.num_children == 0, "children go before their parent");
        self.note_gone(id);
        let node = self.nodes.get(id);
        let (hash, parent, acl) = (widen(node.name_hash), node.parent, node.acl);
        let (owner, is_young) = (node.ephemeral_owner, node.has(YOUNG));
        self.digest = self.digest.wrapping_sub(u64::from(node.digest));
        self.data_bytes -= (path_len + node.data_len()) as u64;
        self.nodes_count -= 1;
        self.ephemerals.remove(owner, id);
        self.nodes.get_mut(parent).num_children -= 1;
        match self.index.find_entry(hash, |&other| other == id) {
            Ok(entry) => drop(entry.remove()),
            Err(_) => unreachable!("every node that exists is in the index"),
        }
        match &mut self.pass {
            Some(pass) if !is_young => {
                self.nodes.get_mut(id).set(TOMBSTONE);
                pass.tombstones.push(id);
            }
            Some(_) | None => self.free(id),
        }
        acl
    }

    /// Closes the gap among the siblings and gives the slot back.
    fn free(&mut self, id: u32) {
        let node = self.nodes.get(id);
        let (parent, previous, next) = (node.parent, node.prev_sibling, node.next_sibling);
        assert!(node.first_child == NONE, "children go before their parent");
        self.note_unlinked(id, next);
        if next != NONE {
            self.nodes.get_mut(next).prev_sibling = previous;
        }
        match previous {
            NONE => self.nodes.get_mut(parent).first_child = next,
            _ => self.nodes.get_mut(previous).next_sibling = next,
        }
        self.nodes.remove(id);
    }

    /// Changes the bookkeeping of a node, and the digest with it.
    fn update(&mut self, id: u32, change: impl FnOnce(&mut Node)) {
        self.preserve(id);
        let node = self.nodes.get_mut(id);
        let before = node.persisted();
        change(node);
        if !node.has(NOT_COUNTED) {
            let digest = digest::digest_after(node.digest, &before, &node.persisted());
            self.set_digest(id, digest);
        }
    }

    /// The same along with the data. Returns what [`Node::replace_data`] hands back.
    fn update_data(
        &mut self,
        id: u32,
        path: &str,
        data: Option<&[u8]>,
        change: impl FnOnce(&mut Node),
    ) -> Box<[u8]> {
        self.preserve(id);
        let node = self.nodes.get_mut(id);
        let old = node.replace_data(data);
        change(node);
        let digest = digest::node_digest(path, data, &node.persisted());
        self.set_digest(id, digest);
        old
    }

    fn set_digest(&mut self, id: u32, digest: u32) {
        let before = mem::replace(&mut self.nodes.get_mut(id).digest, digest);
        self.digest = self
            .digest
            .wrapping_sub(u64::from(before))
            .wrapping_add(u64::from(digest));
    }
}

impl fmt::Debug for DataTree {
    /// Its size only: trees are large.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataTree")
            .field("last_processed_zxid", &self.last_processed_zxid)
            .field("nodes_count", &self.nodes_count)
            .finish_non_exhaustive()
    }
}

/// The index takes its tag from the top bits and the bucket from the lower ones.
fn widen(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

#[cfg(test)]
mod tests;
