//! The tree as it was at one zxid, walked in pieces while transactions go on.
//!
//! Before a node changes for the first time in a pass, what the snapshot is to show of it goes to an overlay.
//! Nodes that are deleted stay linked as tombstones, nodes that are created are marked and passed over, so
//! that the walk finds every node of the beginning, each once.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::node::{NONE, NULL_DATA, ROOT, YOUNG};
use super::{AclId, DataTree};
use crate::ids::{SessionId, Zxid};
use crate::proto::acl::RawAcls;
use crate::proto::jute::Put;
use crate::proto::stat::StatPersisted;

/// What a snapshot says besides its nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotHead {
    /// The last transaction it shows.
    pub zxid: Zxid,
    /// The digest of the nodes.
    pub digest: u64,
    /// Sessions and their timeouts in milliseconds, sorted.
    pub sessions: Vec<(SessionId, i32)>,
    /// Ids on disk and lists, sorted; the built-in list, -1, is not among them.
    pub acls: Vec<(i64, RawAcls<'static>)>,
    /// How many nodes follow.
    pub nodes_estimate: usize,
}

/// How far a walk has come.
#[derive(Debug, Default)]
pub struct SnapshotCursor {
    /// The last node that was written. It stays linked as long as the pass lasts.
    at: Option<u32>,
    /// Its path, empty for the root.
    path: String,
    is_finished: bool,
}

/// A snapshot under way.
pub(super) struct Pass {
    /// What changed nodes looked like.
    overlay: HashMap<u32, PreImage, FixedState>,
    /// Deleted nodes that are still linked, children before parents.
    pub(super) tombstones: Vec<u32>,
    /// Nodes that were created, whether or not they still exist.
    pub(super) young: Vec<u32>,
}

struct PreImage {
    stat: StatPersisted,
    acl: AclId,
    is_null: bool,
    /// Name and data, if the data changed.
    blob: Option<Box<[u8]>>,
}

impl DataTree {
    /// Starts a pass; there is one at a time. From here to [`DataTree::snapshot_end`] changes cost memory.
    pub fn snapshot_begin(&mut self) -> SnapshotHead {
        assert!(self.pass.is_none(), "one snapshot at a time");
        self.acls.pin();
        self.pass = Some(Pass {
            overlay: HashMap::with_hasher(self.hasher.clone()),
            tombstones: Vec::new(),
            young: Vec::new(),
        });
        SnapshotHead {
            zxid: self.last_processed_zxid,
            digest: self.digest,
            sessions: self
                .sessions
                .iter()
                .map(|(&session, &timeout)| (session, timeout))
                .collect(),
            acls: self.acls.on_disk(),
            nodes_estimate: self.nodes_count,
        }
    }

    /// Appends nodes as a snapshot holds them, parents first, until `bytes_max` more bytes are there or none
    /// is left: then the answer is true. A node is never split, so that one of any size may exceed
    /// `bytes_max`.
    pub fn snapshot_chunk(&self, cursor: &mut SnapshotCursor, out: &mut Vec<u8>, bytes_max: usize) -> bool {
        let enough = out.len().saturating_add(bytes_max);
        while !cursor.is_finished {
            let next = match cursor.at {
                None => Some(ROOT),
                Some(at) => self.next_in_image(at, &mut cursor.path),
            };
            let Some(id) = next else {
                cursor.is_finished = true;
                break;
            };
            cursor.at = Some(id);
            self.encode_image(id, &cursor.path, out);
            if out.len() >= enough {
                return false;
            }
        }
        true
    }

    /// Ends the pass, finished or not, and frees what it kept. Without a pass it does nothing.
    pub fn snapshot_end(&mut self) {
        let Some(pass) = self.pass.take() else { return };
        for id in pass.tombstones {
            self.free(id);
        }
        for id in pass.young {
            self.nodes.get_mut(id).clear(YOUNG);
        }
        self.acls.unpin();
    }

    /// Keeps what the snapshot under way is to show of a node that is about to change.
    pub(super) fn preserve(&mut self, id: u32) {
        let Some(pass) = &mut self.pass else { return };
        let node = self.nodes.get(id);
        if node.has(YOUNG) {
            return;
        }
        pass.overlay.entry(id).or_insert_with(|| PreImage {
            stat: node.persisted(),
            acl: node.acl,
            is_null: node.has(NULL_DATA),
            blob: None,
        });
    }

    /// Keeps the first data that was replaced in the pass. `preserve` came before.
    pub(super) fn preserve_data(&mut self, id: u32, blob: Option<Box<[u8]>>) {
        let overlay = self.pass.as_mut().map(|pass| &mut pass.overlay);
        if let Some(image) = overlay.and_then(|overlay| overlay.get_mut(&id))
            && image.blob.is_none()
        {
            image.blob = blob;
        }
    }

    /// The node after `at`, whose path follows.
    fn next_in_image(&self, mut at: u32, path: &mut String) -> Option<u32> {
        let mut next = self.skip_young(self.nodes.get(at).first_child);
        loop {
            if let Some(id) = next {
                path.push('/');
                path.push_str(self.nodes.get(id).name_str());
                return Some(id);
            }
            if at == ROOT {
                return None;
            }
            let node = self.nodes.get(at);
            path.truncate(path.len() - node.name_len() - 1);
            next = self.skip_young(node.next_sibling);
            at = node.parent;
        }
    }

    /// The first that was there at the beginning of a node and the siblings after it.
    fn skip_young(&self, mut id: u32) -> Option<u32> {
        while id != NONE {
            let node = self.nodes.get(id);
            if !node.has(YOUNG) {
                return Some(id);
            }
            id = node.next_sibling;
        }
        None
    }

    fn encode_image(&self, id: u32, path: &str, out: &mut Vec<u8>) {
        let node = self.nodes.get(id);
        let (mut stat, mut acl, mut data) = (node.persisted(), node.acl, node.data());
        if let Some(image) = self.pass.as_ref().and_then(|pass| pass.overlay.get(&id)) {
            (stat, acl) = (image.stat, image.acl);
            if let Some(blob) = &image.blob {
                data = (!image.is_null).then(|| &blob[node.name_len()..]);
            }
        }
        out.put_string(path);
        out.put_buffer(data);
        out.put_long(acl.on_disk());
        stat.encode(out);
    }
}
