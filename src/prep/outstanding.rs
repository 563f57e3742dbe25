//! The changes of transactions that are prepared but not applied, laid over the tree (`outstandingChanges`).
//!
//! A path has at most one record, with the values after the newest change and not with differences. So a
//! record tells the truth before, while and after the tree catches up with it.

use std::collections::{BTreeSet, VecDeque};
use std::hash::BuildHasher;
use std::mem;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::ids::{SessionId, Zxid};
use crate::proto::error_code::ErrorCode;
use crate::proto::stat::StatPersisted;
use crate::tree::{AclId, AclList, DataTree, NodeKind, NodeRef, digest};

/// The list of a node that exists or will exist.
#[derive(Clone)]
pub(super) enum RecordAcl {
    /// The tree has it.
    Applied(AclId),
    /// It comes with a pending transaction.
    Pending(Arc<AclList>),
}

/// A node as pending transactions leave it.
#[derive(Clone)]
pub(super) struct ChangeRecord {
    pub stat: StatPersisted,
    pub children_count: usize,
    pub acl: RecordAcl,
    /// Bytes of data.
    pub data_len: usize,
    /// The node's share of the tree's digest.
    pub digest: u32,
}

/// What is at a path, and how to find its slot again without another hash or lookup.
pub(super) struct Found {
    hash: u64,
    slot: Option<u32>,
    record: Option<ChangeRecord>,
}

/// The overlay.
pub(super) struct Outstanding {
    hasher: FixedState,
    /// Ids of slots by path.
    table: HashTable<u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Which transaction changed which slot, in order.
    changes: VecDeque<(Zxid, u32)>,
    /// Slots whose record is an ephemeral, by owner.
    ephemerals: BTreeSet<(SessionId, u32)>,
    /// The digest after the newest transaction; meaningless while nothing is pending.
    digest: u64,
    /// The transaction being prepared, and how to take it back.
    zxid: Zxid,
    digest_before: u64,
    changes_before: usize,
    undo: Vec<Undo>,
}

struct Slot {
    path: String,
    hash: u64,
    /// The newest transaction that changed it.
    zxid: Zxid,
    /// `None`: deleted.
    record: Option<ChangeRecord>,
}

struct Undo {
    slot: u32,
    /// `None`: the slot is new.
    before: Option<(Zxid, Option<ChangeRecord>)>,
}

impl ChangeRecord {
    /// The owner of an ephemeral.
    pub fn ephemeral_session(&self) -> Option<SessionId> {
        match NodeKind::from_owner(self.stat.ephemeral_owner) {
            NodeKind::Ephemeral(session) => Some(session),
            NodeKind::Persistent | NodeKind::Container | NodeKind::Ttl(_) => None,
        }
    }

    /// The same with other bookkeeping.
    pub fn with_stat(&self, path: &str, stat: StatPersisted) -> ChangeRecord {
        let digest = match digest::is_counted(path) {
            true => digest::digest_after(self.digest, &self.stat, &stat),
            false => 0,
        };
        ChangeRecord {
            stat,
            digest,
            ..self.clone()
        }
    }

    fn of_node(node: NodeRef<'_>) -> ChangeRecord {
        ChangeRecord {
            stat: node.persisted(),
            children_count: node.num_children(),
            acl: RecordAcl::Applied(node.acl_id()),
            data_len: node.data().map_or(0, <[u8]>::len),
            digest: node.digest(),
        }
    }
}

impl Found {
    /// The node, or `NoNode`.
    pub fn record(&self) -> Result<&ChangeRecord, ErrorCode> {
        self.record.as_ref().ok_or(ErrorCode::NoNode)
    }
}

impl Outstanding {
    pub fn new(hash_seed: u64) -> Outstanding {
        Outstanding {
            hasher: FixedState::with_seed(hash_seed),
            table: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            changes: VecDeque::new(),
            ephemerals: BTreeSet::new(),
            digest: 0,
            zxid: Zxid::ZERO,
            digest_before: 0,
            changes_before: 0,
            undo: Vec::new(),
        }
    }

    /// The digest of the tree after all that was prepared.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Starts a transaction; what was put before is settled.
    pub fn begin(&mut self, tree: &DataTree, zxid: Zxid) {
        let newest = self.changes.back().map_or(Zxid::ZERO, |&(zxid, _)| zxid);
        assert!(
            newest < zxid,
            "transactions are prepared in the order of their zxids"
        );
        if self.changes.is_empty() {
            self.digest = tree.digest();
        }
        self.zxid = zxid;
        self.digest_before = self.digest;
        self.changes_before = self.changes.len();
        self.undo.clear();
    }

    /// Takes back what was put since [`Outstanding::begin`].
    pub fn rollback(&mut self) {
        while let Some(Undo { slot, before }) = self.undo.pop() {
            match before {
                None => self.remove(slot),
                Some((zxid, record)) => {
                    self.slots[slot as usize].zxid = zxid;
                    self.replace(slot, record);
                }
            }
        }
        self.changes.truncate(self.changes_before);
        self.digest = self.digest_before;
    }

    /// The newest state of a path.
    pub fn find(&self, tree: &DataTree, path: &str) -> Found {
        let path = canonical(path);
        let hash = self.hasher.hash_one(path);
        let is_path = |&slot: &u32| self.slots[slot as usize].path == path;
        let slot = self.table.find(hash, is_path).copied();
        let record = match slot {
            Some(slot) => self.slots[slot as usize].record.clone(),
            None => tree.lookup(path).map(ChangeRecord::of_node),
        };
        Found { hash, slot, record }
    }

    /// Records the state of a path after the transaction being prepared, `None` for deleted. Nothing
    /// was put for the path since it was found.
    pub fn put(&mut self, path: &str, found: &Found, record: Option<ChangeRecord>) {
        let path = canonical(path);
        let share =
            |record: &Option<ChangeRecord>| record.as_ref().map_or(0, |record| u64::from(record.digest));
        self.digest = self
            .digest
            .wrapping_sub(share(&found.record))
            .wrapping_add(share(&record));
        let slot = found.slot.unwrap_or_else(|| self.insert(path, found.hash));
        let changed_at = mem::replace(&mut self.slots[slot as usize].zxid, self.zxid);
        let before = self.replace(slot, record);
        if changed_at != self.zxid {
            self.changes.push_back((self.zxid, slot));
            self.undo.push(Undo {
                slot,
                before: found.slot.map(|_| (changed_at, before)),
            });
        }
    }

    /// Records that a node is deleted, and what that means for its parent.
    pub fn put_deleted(&mut self, parent_path: &str, parent: &Found, path: &str, found: &Found) {
        if let Ok(record) = parent.record() {
            let mut stat = record.stat;
            stat.pzxid = stat.pzxid.max(self.zxid);
            let mut changed = record.with_stat(parent_path, stat);
            changed.children_count = changed.children_count.saturating_sub(1);
            self.put(parent_path, parent, Some(changed));
        }
        self.put(path, found, None);
    }

    /// Paths of pending records that are ephemerals of a session.
    pub fn pending_ephemerals(&self, session: SessionId) -> impl Iterator<Item = &str> {
        let slots = self.ephemerals.range((session, 0)..=(session, u32::MAX));
        slots.map(|&(_, slot)| self.slots[slot as usize].path.as_str())
    }

    /// Forgets the records that no transaction behind `zxid` changed.
    pub fn applied(&mut self, zxid: Zxid) {
        while let Some(&(changed_at, slot)) = self.changes.front()
            && changed_at <= zxid
        {
            self.changes.pop_front();
            if self.slots[slot as usize].zxid == changed_at {
                self.remove(slot);
            }
        }
        if self.changes.is_empty() && self.slots.len() > SLOTS_KEPT {
            self.table = HashTable::new();
            self.slots = Vec::new();
            self.free = Vec::new();
            self.changes = VecDeque::new();
            self.undo = Vec::new();
        }
    }

    /// Gives a path a slot, a used one if possible: its string has room already.
    fn insert(&mut self, path: &str, hash: u64) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::empty());
            u32::try_from(self.slots.len() - 1).expect("fewer pending changes than fit memory")
        });
        let entry = &mut self.slots[slot as usize];
        entry.path.push_str(path);
        entry.hash = hash;
        let slots = &self.slots;
        self.table
            .insert_unique(hash, slot, |&slot| slots[slot as usize].hash);
        slot
    }

    fn remove(&mut self, slot: u32) {
        self.replace(slot, None);
        let entry = &mut self.slots[slot as usize];
        let hash = entry.hash;
        *entry = Slot {
            path: mem::take(&mut entry.path),
            ..Slot::empty()
        };
        entry.path.clear();
        entry.path.shrink_to(PATH_BYTES_KEPT);
        let occupied = self.table.find_entry(hash, |&id| id == slot);
        occupied.expect("every slot in use is in the table").remove();
        self.free.push(slot);
    }

    /// Exchanges a record and keeps the index of ephemerals right.
    fn replace(&mut self, slot: u32, record: Option<ChangeRecord>) -> Option<ChangeRecord> {
        let owner = |record: &Option<ChangeRecord>| record.as_ref().and_then(ChangeRecord::ephemeral_session);
        let after = owner(&record);
        let record = mem::replace(&mut self.slots[slot as usize].record, record);
        let before = owner(&record);
        if before != after {
            before.map(|session| self.ephemerals.remove(&(session, slot)));
            after.map(|session| self.ephemerals.insert((session, slot)));
        }
        record
    }
}

#[cfg(test)]
impl Outstanding {
    pub fn pending_paths(&self) -> usize {
        self.table.len()
    }

    pub fn changes_count(&self) -> usize {
        self.changes.len()
    }

    pub fn slots_count(&self) -> usize {
        self.slots.len()
    }
}

impl Slot {
    fn empty() -> Slot {
        Slot {
            path: String::new(),
            hash: 0,
            zxid: Zxid::ZERO,
            record: None,
        }
    }
}

/// The root has two names; the empty one counts in digests.
fn canonical(path: &str) -> &str {
    if path == "/" { "" } else { path }
}

/// What the closing of a session with very many ephemerals took is given back.
const SLOTS_KEPT: usize = 8192;
const PATH_BYTES_KEPT: usize = 256;
