//! A tree built from the parts of a snapshot.

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use thiserror::Error;

use super::acl_cache::{AclCache, NULL_VECTOR, nobody};
use super::ephemerals::Ephemerals;
use super::listings::Listings;
use super::node::{NAME_BYTES_MAX, NewNode, Node, ROOT, Slab};
use super::path::split_parent;
use super::quota::PathTrie;
use super::{AclId, DataTree, digest};
use crate::ids::{SessionId, Zxid};
use crate::mutants::{self, Mutant};
use crate::proto::acl::{Acl, RawAcls, perms};
use crate::proto::opcode::OpCode;
use crate::proto::stat::StatPersisted;
use crate::proto::txn::TxnHeader;

/// Why the nodes of a snapshot are not a tree.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LoadError {
    /// Parents come before their children.
    #[error("node {0:?} comes without its parent")]
    NoParent(String),
    /// A path that no node can have.
    #[error("{0:?} is not the path of a node")]
    BadPath(String),
    /// A node twice.
    #[error("node {0:?} comes twice")]
    Twice(String),
    /// An ACL that is null.
    #[error("ACL {0} is null")]
    NullAcl(i64),
}

/// What is known only while a snapshot is read.
pub(super) struct Loading {
    /// Numbers by ids on disk.
    acls: HashMap<i64, AclId, FixedState>,
    /// The node that came last: the next one is mostly its sibling or its child.
    path: String,
    id: u32,
}

impl DataTree {
    /// A tree to load into: nothing but a root. [`DataTree::finish_load`] completes it.
    pub fn empty(hash_seed: u64) -> DataTree {
        let hasher = FixedState::with_seed(hash_seed);
        let mut tree = DataTree {
            nodes: Slab::new(),
            index: HashTable::new(),
            acls: AclCache::new(hasher.clone()),
            ephemerals: Ephemerals::default(),
            quotas: PathTrie::default(),
            sessions: std::collections::BTreeMap::new(),
            last_processed_zxid: Zxid::ZERO,
            digest: 0,
            nodes_count: 0,
            // The root counts a second time, as "/".
            data_bytes: 1,
            pass: None,
            listings: Listings::default(),
            loading: Some(Box::new(Loading {
                acls: HashMap::with_hasher(hasher.clone()),
                path: String::new(),
                id: ROOT,
            })),
            hasher,
        };
        tree.put_root(Some(b""), AclId::BUILT_IN, StatPersisted::default());
        tree
    }

    /// Takes a session.
    pub fn load_session(&mut self, session: SessionId, timeout_ms: i32) {
        self.sessions.insert(session, timeout_ms);
    }

    /// Takes an ACL. It gets a number of its own; `disk_id` is what the nodes call it.
    pub fn load_acl(&mut self, disk_id: i64, acl: &RawAcls<'_>) -> Result<(), LoadError> {
        if acl.bytes() == NULL_VECTOR {
            return Err(LoadError::NullAcl(disk_id));
        }
        let id = self.acls.intern(acl);
        self.loading().acls.insert(disk_id, id);
        Ok(())
    }

    /// Takes a node; its parent came before, the root's path is empty. A node whose ACL did not come is open
    /// to nobody.
    pub fn load_node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl_disk_id: i64,
        mut stat: StatPersisted,
    ) -> Result<(), LoadError> {
        if mutants::is_on(Mutant::M10) {
            stat.pzxid = stat.mzxid;
        }
        if mutants::is_on(Mutant::M11b) {
            stat.cversion = 0;
        }
        let acl = self.loaded_acl(acl_disk_id);
        if path.is_empty() {
            self.put_root(data, acl, stat);
            return Ok(());
        }
        let (parent_path, name) = split_parent(path);
        if !path.starts_with('/') || name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(LoadError::BadPath(path.into()));
        }
        let parent = self
            .loaded_parent(parent_path)
            .ok_or_else(|| LoadError::NoParent(path.into()))?;
        if self.child(parent, name.as_bytes()).is_some() {
            return Err(LoadError::Twice(path.into()));
        }
        let new = NewNode {
            parent,
            name,
            name_hash: self.name_hash(parent, name.as_bytes()),
            data,
            acl,
            digest: digest::node_digest(path, data, &stat),
            stat,
            is_counted: digest::is_counted(path),
        };
        let id = self.link(&new, path.len());
        let loading = self.loading();
        loading.path.clear();
        loading.path.push_str(path);
        loading.id = id;
        Ok(())
    }

    /// Completes the tree: ACLs that no node uses go, built-in nodes that are missing are added, and quotas
    /// are counted.
    pub fn finish_load(&mut self, zxid: Zxid) {
        let config_acl = RawAcls::from_list(&[Acl::world(perms::READ)]);
        let config_stat = StatPersisted {
            aversion: -1,
            ..StatPersisted::default()
        };
        self.add_built_in("/zookeeper", AclId::BUILT_IN, StatPersisted::default());
        self.add_built_in("/zookeeper/quota", AclId::BUILT_IN, StatPersisted::default());
        let config_acl = self.acls.intern(&config_acl);
        self.add_built_in(CONFIG_PATH, config_acl, config_stat);
        self.set_up_quotas();
        self.acls.purge_unused();
        self.last_processed_zxid = zxid;
        self.loading = None;
    }

    /// Shows the list of servers in `/zookeeper/config` (ZKDatabase.initConfigInZKDatabase). No transaction:
    /// each server shows the list that it has, at the zxid of the reconfiguration that made it.
    pub fn set_config(&mut self, text: &[u8], made_at: Zxid, wall_ms: i64) {
        let shown = self.lookup(CONFIG_PATH);
        if shown.is_some_and(|node| node.data() == Some(text)) {
            return;
        }
        let header = TxnHeader {
            client_id: SessionId(0),
            cxid: 0,
            zxid: made_at,
            time: wall_ms,
            code: OpCode::SetData.code(),
        };
        self.set_data(&header, CONFIG_PATH, Some(text), -1, &mut ());
    }

    fn add_built_in(&mut self, path: &str, acl: AclId, stat: StatPersisted) {
        let (parent_path, name) = split_parent(path);
        let parent = self.find(parent_path).expect("added before");
        if self.child(parent, name.as_bytes()).is_some() {
            return;
        }
        let new = NewNode {
            parent,
            name,
            name_hash: self.name_hash(parent, name.as_bytes()),
            data: Some(b""),
            acl,
            digest: digest::node_digest(path, None, &stat),
            stat,
            is_counted: digest::is_counted(path),
        };
        self.link(&new, path.len());
    }

    /// Makes the root, or replaces what it holds.
    fn put_root(&mut self, data: Option<&[u8]>, acl: AclId, stat: StatPersisted) {
        if self.nodes_count == 0 {
            let root = Node::new(&NewNode {
                parent: ROOT,
                name: "",
                name_hash: 0,
                data: Some(b""),
                acl: AclId::BUILT_IN,
                stat: StatPersisted::default(),
                digest: digest::node_digest("", None, &StatPersisted::default()),
                is_counted: true,
            });
            self.digest = u64::from(root.digest);
            self.nodes_count = 1;
            let id = self.nodes.insert(root);
            assert!(id == ROOT, "the root comes first");
        }
        self.acls.claim(acl);
        let old = self.nodes.get(ROOT);
        let (old_acl, old_len) = (old.acl, old.data_len() as u64);
        self.update_data(ROOT, "", data, |root| {
            root.set_persisted(&stat);
            root.acl = acl;
        });
        self.acls.release(old_acl);
        self.data_bytes = self.data_bytes - old_len + self.nodes.get(ROOT).data_len() as u64;
    }

    fn loaded_acl(&mut self, disk_id: i64) -> AclId {
        if disk_id == AclId::BUILT_IN.on_disk() {
            return AclId::BUILT_IN;
        }
        match self.loading().acls.get(&disk_id) {
            Some(&id) => id,
            None => self.acls.intern(&nobody()),
        }
    }

    fn loaded_parent(&mut self, parent_path: &str) -> Option<u32> {
        let loading = self.loading();
        let (last_path, last_id) = (loading.path.as_str(), loading.id);
        if parent_path == last_path {
            return Some(last_id);
        }
        if parent_path == split_parent(last_path).0 {
            return Some(self.nodes.get(last_id).parent);
        }
        self.find(parent_path)
    }

    fn loading(&mut self) -> &mut Loading {
        self.loading
            .as_mut()
            .expect("loading goes from empty to finish_load")
    }
}

const CONFIG_PATH: &str = "/zookeeper/config";
