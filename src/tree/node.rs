//! Nodes, and the slab that holds them.
//!
//! A node is one slot of 112 bytes and one allocation for name and data. Ids are slot numbers; a slot is used
//! again once its node is gone.

use super::acl_cache::AclId;
use crate::ids::Zxid;
use crate::proto::stat::StatPersisted;

/// A znode and its place among its siblings.
pub(super) struct Node {
    pub(super) czxid: Zxid,
    pub(super) mzxid: Zxid,
    pub(super) pzxid: Zxid,
    pub(super) ctime: i64,
    pub(super) mtime: i64,
    pub(super) ephemeral_owner: i64,
    /// The name's bytes, then the data's.
    blob: Box<[u8]>,
    pub(super) version: i32,
    pub(super) cversion: i32,
    pub(super) aversion: i32,
    pub(super) parent: u32,
    pub(super) first_child: u32,
    pub(super) next_sibling: u32,
    pub(super) prev_sibling: u32,
    /// Without tombstones.
    pub(super) num_children: u32,
    pub(super) acl: AclId,
    /// Its share of the digest of the tree ([`super::digest::node_digest`]).
    pub(super) digest: u32,
    /// The key in the name index, kept so that growing the index does not touch every name.
    pub(super) name_hash: u32,
    /// The flags in the upper bits, the length of the name below.
    flags_and_name_len: u32,
}

/// What a new node is made of.
pub(super) struct NewNode<'a> {
    pub(super) parent: u32,
    pub(super) name: &'a str,
    pub(super) name_hash: u32,
    pub(super) data: Option<&'a [u8]>,
    pub(super) acl: AclId,
    pub(super) stat: StatPersisted,
    pub(super) digest: u32,
    pub(super) is_counted: bool,
}

impl Node {
    /// A node without links. The name is at most [`NAME_BYTES_MAX`] long.
    pub(super) fn new(new: &NewNode<'_>) -> Node {
        assert!(
            new.name.len() <= NAME_BYTES_MAX,
            "the caller refuses longer names"
        );
        let mut flags_and_name_len = new.name.len() as u32;
        if new.data.is_none() {
            flags_and_name_len |= NULL_DATA;
        }
        if !new.is_counted {
            flags_and_name_len |= NOT_COUNTED;
        }
        let mut node = Node {
            czxid: Zxid::ZERO,
            mzxid: Zxid::ZERO,
            pzxid: Zxid::ZERO,
            ctime: 0,
            mtime: 0,
            ephemeral_owner: 0,
            blob: join(new.name.as_bytes(), new.data),
            version: 0,
            cversion: 0,
            aversion: 0,
            parent: new.parent,
            first_child: NONE,
            next_sibling: NONE,
            prev_sibling: NONE,
            num_children: 0,
            acl: new.acl,
            digest: new.digest,
            name_hash: new.name_hash,
            flags_and_name_len,
        };
        node.set_persisted(&new.stat);
        node
    }

    pub(super) fn persisted(&self) -> StatPersisted {
        StatPersisted {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            cversion: self.cversion,
            aversion: self.aversion,
            ephemeral_owner: self.ephemeral_owner,
            pzxid: self.pzxid,
        }
    }

    pub(super) fn set_persisted(&mut self, stat: &StatPersisted) {
        self.czxid = stat.czxid;
        self.mzxid = stat.mzxid;
        self.pzxid = stat.pzxid;
        self.ctime = stat.ctime;
        self.mtime = stat.mtime;
        self.ephemeral_owner = stat.ephemeral_owner;
        self.version = stat.version;
        self.cversion = stat.cversion;
        self.aversion = stat.aversion;
    }

    pub(super) fn name_len(&self) -> usize {
        (self.flags_and_name_len & NAME_LEN_MASK) as usize
    }

    pub(super) fn name(&self) -> &[u8] {
        &self.blob[..self.name_len()]
    }

    pub(super) fn name_str(&self) -> &str {
        std::str::from_utf8(self.name()).expect("a name was a string when it came in")
    }

    pub(super) fn data(&self) -> Option<&[u8]> {
        (!self.has(NULL_DATA)).then(|| &self.blob[self.name_len()..])
    }

    pub(super) fn data_len(&self) -> usize {
        self.blob.len() - self.name_len()
    }

    /// Replaces the data; name and old data are handed back as they were stored.
    pub(super) fn replace_data(&mut self, data: Option<&[u8]>) -> Box<[u8]> {
        let blob = join(self.name(), data);
        self.set_flag(NULL_DATA, data.is_none());
        std::mem::replace(&mut self.blob, blob)
    }

    pub(super) fn has(&self, flag: u32) -> bool {
        self.flags_and_name_len & flag != 0
    }

    pub(super) fn set(&mut self, flag: u32) {
        self.flags_and_name_len |= flag;
    }

    pub(super) fn clear(&mut self, flag: u32) {
        self.flags_and_name_len &= !flag;
    }

    fn set_flag(&mut self, flag: u32, is_set: bool) {
        self.clear(flag);
        if is_set {
            self.set(flag);
        }
    }
}

/// Chunks of slots: growing never moves a node.
pub(super) struct Slab {
    chunks: Vec<Vec<Node>>,
    /// The head of the list of free slots, linked through `next_sibling`.
    free: u32,
}

impl Slab {
    pub(super) fn new() -> Slab {
        Slab {
            chunks: Vec::new(),
            free: NONE,
        }
    }

    pub(super) fn insert(&mut self, node: Node) -> u32 {
        if self.free != NONE {
            let id = self.free;
            let slot = self.get_mut(id);
            let next = slot.next_sibling;
            *slot = node;
            self.free = next;
            return id;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK_NODES) {
            self.chunks.push(Vec::with_capacity(CHUNK_NODES));
        }
        let full = (self.chunks.len() - 1) * CHUNK_NODES;
        let chunk = self.chunks.last_mut().expect("one was pushed if there was none");
        let id = u32::try_from(full + chunk.len()).expect("memory ends before ids do");
        assert!(id != NONE, "memory ends before ids do");
        chunk.push(node);
        id
    }

    /// Frees the slot and what the node held.
    pub(super) fn remove(&mut self, id: u32) {
        let free = self.free;
        let node = self.get_mut(id);
        node.blob = Box::default();
        node.flags_and_name_len = 0;
        node.next_sibling = free;
        self.free = id;
    }

    /// What the slots take, without what nodes hold outside of them.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.chunks
            .iter()
            .map(|chunk| chunk.capacity() * size_of::<Node>())
            .sum()
    }

    pub(super) fn get(&self, id: u32) -> &Node {
        &self.chunks[id as usize / CHUNK_NODES][id as usize % CHUNK_NODES]
    }

    pub(super) fn get_mut(&mut self, id: u32) -> &mut Node {
        &mut self.chunks[id as usize / CHUNK_NODES][id as usize % CHUNK_NODES]
    }
}

fn join(name: &[u8], data: Option<&[u8]>) -> Box<[u8]> {
    [name, data.unwrap_or_default()].concat().into_boxed_slice()
}

/// The root's id.
pub(super) const ROOT: u32 = 0;
/// No node.
pub(super) const NONE: u32 = u32::MAX;
/// The longest name that fits beside the flags.
pub(super) const NAME_BYTES_MAX: usize = NAME_LEN_MASK as usize;

/// The data is null rather than empty.
pub(super) const NULL_DATA: u32 = 1 << 31;
/// The node is left out of the digest.
pub(super) const NOT_COUNTED: u32 = 1 << 30;
/// Deleted, but still linked for the snapshot under way.
pub(super) const TOMBSTONE: u32 = 1 << 29;
/// Created since the snapshot under way began.
pub(super) const YOUNG: u32 = 1 << 28;
const NAME_LEN_MASK: u32 = YOUNG - 1;

/// 448 KiB of nodes, a size that allocators serve without waste.
const CHUNK_NODES: usize = 4096;
const _: () = assert!(size_of::<Node>() == 112);
