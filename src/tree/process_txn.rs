//! Transactions applied (DataTree.processTxn).
//!
//! The same on a live server and in a replay onto a fuzzy snapshot, which may show a transaction already,
//! wholly or in part: nothing is refused that the log holds, what does not fit is passed over, and nothing
//! panics.

use std::sync::Arc;

use super::ephemerals::NodeKind;
use super::node::{NAME_BYTES_MAX, NewNode, ROOT};
use super::path::split_parent;
use super::{AclList, DataTree, NodeRef, digest};
use crate::ids::{SessionId, Zxid};
use crate::mutants::{self, Mutant};
use crate::proto::acl::RawAcls;
use crate::proto::error_code::ErrorCode;
use crate::proto::stat::{Stat, StatPersisted};
use crate::proto::txn::{CreateKind, CreateTxn, Txn, TxnHeader};

/// What a transaction came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnResult {
    /// `Ok`, the error that was logged, or why it does not fit the tree. Of a multi, the first that is not
    /// `Ok`.
    pub error: ErrorCode,
    /// The node after create, setData and setACL.
    pub stat: Option<Stat>,
    /// The results within a multi.
    pub multi: Vec<TxnResult>,
}

/// What happened to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Created,
    /// It is gone.
    Deleted,
    /// It has other data.
    DataChanged,
}

/// A change that watches may wait for.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// What happened.
    pub kind: ChangeKind,
    /// To which node.
    pub path: &'a str,
    /// Its ACL; the last it had if it is gone.
    pub acl: &'a Arc<AclList>,
    /// The parent's, unless only data changed.
    pub parent_acl: Option<&'a Arc<AclList>>,
}

/// Hears of changes in the order they happen.
pub trait ChangeSink {
    /// One change.
    fn change(&mut self, change: &Change<'_>);
}

/// Nobody listens during a replay.
impl ChangeSink for () {
    fn change(&mut self, _: &Change<'_>) {}
}

impl TxnResult {
    fn of(error: ErrorCode) -> TxnResult {
        TxnResult {
            error,
            stat: None,
            multi: Vec::new(),
        }
    }

    fn done(node: NodeRef<'_>) -> TxnResult {
        TxnResult {
            stat: Some(node.stat()),
            ..TxnResult::of(ErrorCode::Ok)
        }
    }
}

impl DataTree {
    /// Applies a transaction.
    pub fn process_txn(&mut self, header: &TxnHeader, txn: &Txn<'_>, sink: &mut dyn ChangeSink) -> TxnResult {
        let result = self.apply(header, txn, sink);
        self.last_processed_zxid = self.last_processed_zxid.max(header.zxid);
        result
    }

    fn apply(&mut self, header: &TxnHeader, txn: &Txn<'_>, sink: &mut dyn ChangeSink) -> TxnResult {
        match txn {
            Txn::CreateSession { timeout_ms } => {
                self.sessions.insert(header.client_id, *timeout_ms);
                TxnResult::of(ErrorCode::Ok)
            }
            Txn::CloseSession { paths } => {
                for path in paths.iter().flatten() {
                    self.delete(header.zxid, path, sink);
                }
                if !mutants::is_on(Mutant::M12a) {
                    self.delete_ephemerals(header.zxid, header.client_id, sink);
                }
                self.sessions.remove(&header.client_id);
                TxnResult::of(ErrorCode::Ok)
            }
            Txn::Error(code) => TxnResult::of(logged_error(*code)),
            Txn::Create(create) => self.create(header, create, sink),
            Txn::Delete { path } | Txn::DeleteContainer { path } => {
                TxnResult::of(self.delete(header.zxid, path, sink))
            }
            Txn::SetData { path, data, version } | Txn::Reconfig { path, data, version } => {
                self.set_data(header, path, *data, *version, sink)
            }
            Txn::SetAcl { path, acl, version } => self.set_acl(path, acl, *version),
            Txn::Check { .. } => TxnResult::of(ErrorCode::Ok),
            Txn::Multi(txns) => self.multi(header, txns, sink),
        }
    }

    fn multi(&mut self, header: &TxnHeader, txns: &[Txn<'_>], sink: &mut dyn ChangeSink) -> TxnResult {
        let failed_at = txns.iter().position(|txn| matches!(txn, Txn::Error(_)));
        let apply_one = |(at, txn): (usize, &Txn<'_>)| match (failed_at, txn) {
            (None, _) | (Some(_), Txn::Error(_)) => self.apply(header, txn, sink),
            (Some(failed_at), _) if at < failed_at => TxnResult::of(ErrorCode::Ok),
            (Some(_), _) => TxnResult::of(ErrorCode::RuntimeInconsistency),
        };
        let multi: Vec<TxnResult> = txns.iter().enumerate().map(apply_one).collect();
        let errors = multi.iter().map(|result| result.error);
        TxnResult {
            error: errors
                .into_iter()
                .find(|&error| error != ErrorCode::Ok)
                .unwrap_or(ErrorCode::Ok),
            stat: None,
            multi,
        }
    }

    fn create(&mut self, header: &TxnHeader, txn: &CreateTxn<'_>, sink: &mut dyn ChangeSink) -> TxnResult {
        let path = &*txn.path;
        let (parent_path, name) = split_parent(path);
        if !path.starts_with('/') || name.is_empty() || name.len() > NAME_BYTES_MAX {
            return TxnResult::of(ErrorCode::BadArguments);
        }
        let Some(parent) = self.find(parent_path) else {
            return TxnResult::of(ErrorCode::NoNode);
        };
        if let Some(existing) = self.child(parent, name.as_bytes()) {
            self.replace_acl(existing, &txn.acl);
            if txn.kind == CreateKind::Plain {
                self.raise_cversion(parent, txn.parent_cversion, header.zxid);
            }
            return TxnResult::of(ErrorCode::NodeExists);
        }
        self.raise_cversion(parent, txn.parent_cversion, header.zxid);
        let stat = stat_of_new(header, txn);
        let new = NewNode {
            parent,
            name,
            name_hash: self.name_hash(parent, name.as_bytes()),
            data: txn.data,
            acl: self.acls.intern(&txn.acl),
            digest: digest::node_digest(path, txn.data, &stat),
            stat,
            is_counted: digest::is_counted(path),
        };
        let id = self.link(&new, path.len());
        let result = TxnResult::done(NodeRef::new(self, id));
        self.count_created(path, txn.data.map_or(0, <[u8]>::len));
        sink.change(&Change {
            kind: ChangeKind::Created,
            path,
            acl: self.acls.list(new.acl),
            parent_acl: Some(self.acls.list(self.nodes.get(parent).acl)),
        });
        result
    }

    /// Counts a child in at its parent, if the parent does not count it yet. Replays come here twice, and
    /// once the counter is at its end nothing is larger.
    fn raise_cversion(&mut self, parent: u32, parent_cversion: i32, zxid: Zxid) {
        let cversion = self.nodes.get(parent).cversion;
        let raised = match parent_cversion {
            -1 => cversion.wrapping_add(1),
            given => given,
        };
        if raised > cversion {
            self.update(parent, |node| {
                node.cversion = raised;
                node.pzxid = zxid;
            });
        }
    }

    fn delete(&mut self, zxid: Zxid, path: &str, sink: &mut dyn ChangeSink) -> ErrorCode {
        let (parent_path, name) = split_parent(path);
        if !path.starts_with('/') || name.is_empty() {
            return ErrorCode::BadArguments;
        }
        let Some(parent) = self.find(parent_path) else {
            return ErrorCode::NoNode;
        };
        if zxid > self.nodes.get(parent).pzxid {
            self.update(parent, |node| node.pzxid = zxid);
        }
        let Some(id) = self.child(parent, name.as_bytes()) else {
            return ErrorCode::NoNode;
        };
        // A fuzzy snapshot may show children of a later node of this name; the replay creates them again.
        while let Some(leaf) = self.leaf_below(id) {
            self.remove(leaf, &NodeRef::new(self, leaf).path(), sink);
        }
        self.remove(id, path, sink);
        ErrorCode::Ok
    }

    fn remove(&mut self, id: u32, path: &str, sink: &mut dyn ChangeSink) {
        let node = self.nodes.get(id);
        let (parent, data_len) = (node.parent, node.data_len());
        let acl = self.unlink(id, path.len());
        self.count_deleted(path, data_len);
        sink.change(&Change {
            kind: ChangeKind::Deleted,
            path,
            acl: self.acls.list(acl),
            parent_acl: Some(self.acls.list(self.nodes.get(parent).acl)),
        });
        self.acls.release(acl);
    }

    /// A node without children strictly below another one.
    fn leaf_below(&self, top: u32) -> Option<u32> {
        let mut leaf = None;
        let mut at = top;
        while let Some(child) = self.skip_tombstones(self.nodes.get(at).first_child) {
            leaf = Some(child);
            at = child;
        }
        leaf
    }

    fn delete_ephemerals(&mut self, zxid: Zxid, session: SessionId, sink: &mut dyn ChangeSink) {
        for path in self.ephemerals(session) {
            self.delete(zxid, &path, sink);
        }
    }

    pub(super) fn set_data(
        &mut self,
        header: &TxnHeader,
        path: &str,
        data: Option<&[u8]>,
        version: i32,
        sink: &mut dyn ChangeSink,
    ) -> TxnResult {
        let Some(id) = self.lookup(path).map(|node| node.id()) else {
            return TxnResult::of(ErrorCode::NoNode);
        };
        let before = self.nodes.get(id).data_len() as u64;
        let old = self.update_data(id, path, data, |node| {
            node.version = version;
            node.mzxid = header.zxid;
            node.mtime = header.time;
        });
        let after = self.nodes.get(id).data_len() as u64;
        self.data_bytes = self.data_bytes - before + after;
        self.preserve_data(id, Some(old));
        let result = TxnResult::done(NodeRef::new(self, id));
        self.charge(path, after as i64 - before as i64, 0);
        let node = NodeRef::new(self, id);
        sink.change(&Change {
            kind: ChangeKind::DataChanged,
            path: if id == ROOT { "/" } else { path },
            acl: self.acls.list(node.acl_id()),
            parent_acl: None,
        });
        result
    }

    fn set_acl(&mut self, path: &str, acl: &RawAcls<'_>, version: i32) -> TxnResult {
        let Some(id) = self.lookup(path).map(|node| node.id()) else {
            return TxnResult::of(ErrorCode::NoNode);
        };
        self.replace_acl(id, acl);
        self.update(id, |node| node.aversion = version);
        TxnResult::done(NodeRef::new(self, id))
    }

    fn replace_acl(&mut self, id: u32, acl: &RawAcls<'_>) {
        self.preserve(id);
        let new = self.acls.intern(acl);
        self.acls.claim(new);
        let old = std::mem::replace(&mut self.nodes.get_mut(id).acl, new);
        self.acls.release(old);
    }
}

fn stat_of_new(header: &TxnHeader, txn: &CreateTxn<'_>) -> StatPersisted {
    let kind = NodeKind::of_new(txn.kind, txn.ephemeral.then_some(header.client_id));
    StatPersisted {
        czxid: header.zxid,
        mzxid: header.zxid,
        ctime: header.time,
        mtime: header.time,
        ephemeral_owner: kind.owner(),
        pzxid: header.zxid,
        ..StatPersisted::default()
    }
}

/// Other servers log codes that are none of ours; nobody waits for their answer here.
fn logged_error(code: i32) -> ErrorCode {
    ErrorCode::from_code(code).unwrap_or(ErrorCode::RuntimeInconsistency)
}
