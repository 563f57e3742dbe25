//! A node as readers see it.

use std::fmt;

use super::ephemerals::NodeKind;
use super::node::{Node, ROOT};
use super::{AclId, DataTree};
use crate::proto::stat::{Stat, StatPersisted};

/// A node that exists, for as long as the tree is not changed.
#[derive(Clone, Copy)]
pub struct NodeRef<'a> {
    tree: &'a DataTree,
    node: &'a Node,
    id: u32,
}

impl<'a> NodeRef<'a> {
    pub(super) fn new(tree: &'a DataTree, id: u32) -> NodeRef<'a> {
        NodeRef {
            tree,
            node: tree.nodes.get(id),
            id,
        }
    }

    /// Its number. Numbers are used again once their node is gone.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The last part of the path, empty for the root.
    pub fn name(&self) -> &'a str {
        self.node.name_str()
    }

    /// The same, without a look at what it is made of.
    pub fn name_utf8(&self) -> &'a [u8] {
        self.node.name()
    }

    /// The data; null and empty differ.
    pub fn data(&self) -> Option<&'a [u8]> {
        self.node.data()
    }

    /// The bookkeeping as clients are shown it.
    pub fn stat(&self) -> Stat {
        let node = self.node;
        Stat {
            czxid: node.czxid,
            mzxid: node.mzxid,
            ctime: node.ctime,
            mtime: node.mtime,
            version: node.version,
            cversion: node
                .cversion
                .wrapping_mul(2)
                .wrapping_sub(node.num_children as i32),
            aversion: node.aversion,
            ephemeral_owner: self.kind().shown_owner(),
            data_length: i32::try_from(node.data_len()).unwrap_or(i32::MAX),
            num_children: node.num_children as i32,
            pzxid: node.pzxid,
        }
    }

    /// The bookkeeping as it is stored.
    pub fn persisted(&self) -> StatPersisted {
        self.node.persisted()
    }

    /// The number of its ACL; the list is [`DataTree::acl`].
    pub fn acl_id(&self) -> AclId {
        self.node.acl
    }

    /// How many children it has.
    pub fn num_children(&self) -> usize {
        self.node.num_children as usize
    }

    /// Its children, the youngest first as long as the tree was not loaded from a snapshot.
    pub fn children(&self) -> impl Iterator<Item = NodeRef<'a>> + Clone + use<'a> {
        let tree = self.tree;
        let mut next = self.node.first_child;
        std::iter::from_fn(move || {
            let id = tree.skip_tombstones(next)?;
            let child = NodeRef::new(tree, id);
            next = child.node.next_sibling;
            Some(child)
        })
    }

    /// The parent; the root has none.
    pub fn parent(&self) -> Option<NodeRef<'a>> {
        (self.id != ROOT).then(|| NodeRef::new(self.tree, self.node.parent))
    }

    /// The whole path, `/` for the root.
    pub fn path(&self) -> String {
        if self.id == ROOT {
            return "/".into();
        }
        let mut names = Vec::new();
        let mut at = *self;
        while let Some(parent) = at.parent() {
            names.push(at.name());
            at = parent;
        }
        let mut path = String::with_capacity(names.iter().map(|name| name.len() + 1).sum());
        for name in names.into_iter().rev() {
            path.push('/');
            path.push_str(name);
        }
        path
    }

    /// What it adds to the digest of the tree.
    pub fn digest(&self) -> u32 {
        self.node.digest
    }

    /// Persistent, ephemeral, container or TTL.
    pub fn kind(&self) -> NodeKind {
        NodeKind::from_owner(self.node.ephemeral_owner)
    }
}

impl fmt::Debug for NodeRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NodeRef").field(&self.path()).finish()
    }
}
