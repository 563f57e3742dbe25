//! A tree as a map from paths to nodes: slow, without indexes, caches or increments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::*;
use crate::proto::error_code::ErrorCode;
use crate::proto::stat::{Stat, StatPersisted};
use crate::proto::txn::{CreateKind, CreateTxn, Txn, TxnHeader};

#[derive(Clone, Debug, PartialEq)]
pub(super) struct ModelNode {
    pub(super) data: Option<Vec<u8>>,
    /// `None` is the built-in list.
    pub(super) acl: Option<Vec<u8>>,
    pub(super) stat: StatPersisted,
}

/// What happened: kind, path, ACL, the parent's ACL.
pub(super) type Event = (ChangeKind, String, Option<Vec<u8>>, Option<Option<Vec<u8>>>);

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Model {
    pub(super) nodes: BTreeMap<String, ModelNode>,
    pub(super) sessions: BTreeMap<SessionId, i32>,
    pub(super) zxid: Zxid,
    pub(super) events: Vec<Event>,
    /// Paths that have limits.
    pub(super) quotas: BTreeSet<String>,
}

fn stats_path(quota: &str) -> String {
    format!("/zookeeper/quota{quota}/zookeeper_stats")
}

pub(super) fn parent_of(path: &str) -> &str {
    &path[..path.rfind('/').unwrap()]
}

impl Model {
    pub(super) fn new() -> Model {
        let node = |acl, aversion| ModelNode {
            data: Some(vec![]),
            acl,
            stat: StatPersisted {
                aversion,
                ..StatPersisted::default()
            },
        };
        let read_only = b"\0\0\0\x01\0\0\0\x01\0\0\0\x05world\0\0\0\x06anyone".to_vec();
        Model {
            nodes: BTreeMap::from([
                ("".into(), node(None, 0)),
                ("/zookeeper".into(), node(None, 0)),
                ("/zookeeper/quota".into(), node(None, 0)),
                ("/zookeeper/config".into(), node(Some(read_only), -1)),
            ]),
            sessions: BTreeMap::new(),
            zxid: Zxid(0),
            events: vec![],
            quotas: BTreeSet::new(),
        }
    }

    pub(super) fn children(&self, path: &str) -> impl Iterator<Item = &String> {
        self.nodes
            .keys()
            .filter(move |key| !key.is_empty() && parent_of(key) == path)
    }

    pub(super) fn below(&self, path: &str) -> Vec<String> {
        let prefix = format!("{path}/");
        self.nodes
            .keys()
            .filter(|key| key.starts_with(&prefix))
            .cloned()
            .collect()
    }

    pub(super) fn owned_by(&self, session: SessionId) -> Vec<String> {
        let is_owned = |node: &ModelNode| {
            NodeKind::from_owner(node.stat.ephemeral_owner) == NodeKind::Ephemeral(session)
        };
        self.nodes
            .iter()
            .filter(|(_, node)| is_owned(node))
            .map(|(path, _)| path.clone())
            .collect()
    }

    pub(super) fn stat(&self, path: &str) -> Stat {
        let node = &self.nodes[path];
        let children = self.children(path).count() as i32;
        let owner = node.stat.ephemeral_owner;
        let is_marker = owner == i64::MIN || (owner as u64) >> 40 == 0xff_0000;
        Stat {
            czxid: node.stat.czxid,
            mzxid: node.stat.mzxid,
            ctime: node.stat.ctime,
            mtime: node.stat.mtime,
            version: node.stat.version,
            cversion: node.stat.cversion.wrapping_mul(2).wrapping_sub(children),
            aversion: node.stat.aversion,
            ephemeral_owner: if is_marker { 0 } else { owner },
            data_length: node.data.as_ref().map_or(0, Vec::len) as i32,
            num_children: children,
            pzxid: node.stat.pzxid,
        }
    }

    pub(super) fn process(&mut self, header: &TxnHeader, txn: &Txn<'_>) -> TxnResult {
        let result = self.apply(header, txn);
        self.zxid = self.zxid.max(header.zxid);
        result
    }

    fn apply(&mut self, header: &TxnHeader, txn: &Txn<'_>) -> TxnResult {
        let done_at = |model: &Model, path: &str| TxnResult {
            error: ErrorCode::Ok,
            stat: Some(model.stat(path)),
            multi: vec![],
        };
        let key = |path: &str| {
            if path == "/" {
                String::new()
            } else {
                path.to_string()
            }
        };
        match txn {
            Txn::CreateSession { timeout_ms } => {
                self.sessions.insert(header.client_id, *timeout_ms);
                bare(ErrorCode::Ok)
            }
            Txn::CloseSession { paths } => {
                for path in paths.iter().flatten() {
                    self.delete(header, path);
                }
                for path in self.owned_by(header.client_id) {
                    self.delete(header, &path);
                }
                self.sessions.remove(&header.client_id);
                bare(ErrorCode::Ok)
            }
            Txn::Error(code) => bare(ErrorCode::from_code(*code).unwrap_or(ErrorCode::RuntimeInconsistency)),
            Txn::Create(create) => {
                let error = self.create(header, create);
                if error != ErrorCode::Ok {
                    return bare(error);
                }
                let done = done_at(self, &create.path);
                self.count_created(&create.path, create.data.map_or(0, <[u8]>::len));
                done
            }
            Txn::Delete { path } | Txn::DeleteContainer { path } => bare(self.delete(header, path)),
            Txn::SetData { path, data, version } | Txn::Reconfig { path, data, version } => {
                let Some(node) = self.nodes.get_mut(&key(path)) else {
                    return bare(ErrorCode::NoNode);
                };
                let before = node.data.as_ref().map_or(0, Vec::len) as i64;
                node.data = data.map(<[u8]>::to_vec);
                (node.stat.version, node.stat.mzxid, node.stat.mtime) = (*version, header.zxid, header.time);
                let shown = if path.is_empty() { "/" } else { &**path };
                self.events
                    .push((ChangeKind::DataChanged, shown.into(), node.acl.clone(), None));
                let done = done_at(self, &key(path));
                self.charge(path, data.map_or(0, <[u8]>::len) as i64 - before, 0);
                done
            }
            Txn::SetAcl { path, acl, version } => {
                let Some(node) = self.nodes.get_mut(&key(path)) else {
                    return bare(ErrorCode::NoNode);
                };
                node.acl = stored_acl(acl.bytes());
                node.stat.aversion = *version;
                done_at(self, &key(path))
            }
            Txn::Check { .. } => bare(ErrorCode::Ok),
            Txn::Multi(txns) => self.multi(header, txns),
        }
    }

    fn multi(&mut self, header: &TxnHeader, txns: &[Txn<'_>]) -> TxnResult {
        let is_failed = txns.iter().any(|txn| matches!(txn, Txn::Error(_)));
        let mut results: Vec<TxnResult> = vec![];
        let mut is_behind = false;
        for txn in txns {
            let is_error = matches!(txn, Txn::Error(_));
            results.push(match (is_failed && !is_error, is_behind) {
                (false, _) => self.apply(header, txn),
                (true, false) => bare(ErrorCode::Ok),
                (true, true) => bare(ErrorCode::RuntimeInconsistency),
            });
            is_behind |= is_error;
        }
        let first = results
            .iter()
            .map(|result| result.error)
            .find(|error| *error != ErrorCode::Ok);
        TxnResult {
            error: first.unwrap_or(ErrorCode::Ok),
            stat: None,
            multi: results,
        }
    }

    fn create(&mut self, header: &TxnHeader, txn: &CreateTxn<'_>) -> ErrorCode {
        let path = txn.path.to_string();
        if !path.starts_with('/') || path.ends_with('/') {
            return ErrorCode::BadArguments;
        }
        let zxid = header.zxid;
        let is_there = self.nodes.contains_key(&path);
        let Some(parent) = self.nodes.get_mut(parent_of(&path)) else {
            return ErrorCode::NoNode;
        };
        let count = match txn.parent_cversion {
            -1 => parent.stat.cversion.wrapping_add(1),
            count => count,
        };
        if count > parent.stat.cversion && (!is_there || txn.kind == CreateKind::Plain) {
            parent.stat.cversion = count;
            parent.stat.pzxid = zxid;
        }
        let parent_acl = parent.acl.clone();
        let acl = stored_acl(txn.acl.bytes());
        if is_there {
            self.nodes.get_mut(&path).unwrap().acl = acl;
            return ErrorCode::NodeExists;
        }
        let ephemeral_owner = match txn.kind {
            CreateKind::Container => i64::MIN,
            CreateKind::Ttl(ttl) => (0xff00_0000_0000_0000 | ttl as u64 & 0xff_ffff_ffff) as i64,
            CreateKind::Plain | CreateKind::WithStat if txn.ephemeral => header.client_id.0,
            CreateKind::Plain | CreateKind::WithStat => 0,
        };
        let (mzxid, ctime, mtime) = (zxid, header.time, header.time);
        let stat = StatPersisted {
            czxid: zxid,
            mzxid,
            ctime,
            mtime,
            ephemeral_owner,
            pzxid: zxid,
            ..Default::default()
        };
        let data = txn.data.map(<[u8]>::to_vec);
        self.events
            .push((ChangeKind::Created, path.clone(), acl.clone(), Some(parent_acl)));
        self.nodes.insert(path, ModelNode { data, acl, stat });
        ErrorCode::Ok
    }

    fn delete(&mut self, header: &TxnHeader, path: &str) -> ErrorCode {
        if !path.starts_with('/') || path.ends_with('/') {
            return ErrorCode::BadArguments;
        }
        let Some(parent) = self.nodes.get_mut(parent_of(path)) else {
            return ErrorCode::NoNode;
        };
        parent.stat.pzxid = parent.stat.pzxid.max(header.zxid);
        if !self.nodes.contains_key(path) {
            return ErrorCode::NoNode;
        }
        for path in self.below(path).into_iter().rev().chain([path.to_string()]) {
            let parent_acl = self.nodes[parent_of(&path)].acl.clone();
            let node = self.nodes.remove(&path).unwrap();
            let limited = path.strip_suffix("/zookeeper_limits");
            if let Some(limited) = limited.and_then(|limited| limited.strip_prefix("/zookeeper/quota")) {
                self.quotas.remove(limited);
            }
            self.charge(&path, -(node.data.map_or(0, |data| data.len()) as i64), -1);
            self.events
                .push((ChangeKind::Deleted, path, node.acl, Some(parent_acl)));
        }
        ErrorCode::Ok
    }

    fn count_created(&mut self, path: &str, bytes: usize) {
        if let Some((quota, name)) = path
            .strip_prefix("/zookeeper/quota")
            .and_then(|p| p.rsplit_once('/'))
        {
            if name == "zookeeper_limits" && !quota.is_empty() {
                self.quotas.insert(quota.to_owned());
            }
            if name == "zookeeper_stats" {
                self.measure(quota);
            }
        }
        self.charge(path, bytes as i64, 1);
    }

    fn measure(&mut self, quota: &str) {
        let mut within = self.below(quota);
        within.extend(self.nodes.contains_key(quota).then(|| quota.to_owned()));
        let bytes = |path: &String| self.nodes[path].data.as_ref().map_or(0, Vec::len);
        let text = format!(
            "count={},bytes={}",
            within.len(),
            within.iter().map(bytes).sum::<usize>()
        );
        if let Some(stats) = self.nodes.get_mut(&stats_path(quota)) {
            stats.data = Some(text.into_bytes());
        }
    }

    fn charge(&mut self, path: &str, bytes: i64, count: i64) {
        let is_above = |quota: &&String| path == **quota || path.starts_with(&format!("{quota}/"));
        let Some(quota) = self.quotas.iter().rfind(is_above) else {
            return;
        };
        let Some(Some(data)) = self.nodes.get(&stats_path(quota)).map(|node| &node.data) else {
            return;
        };
        // The histories write no other texts.
        let text = String::from_utf8(data.clone()).unwrap();
        let mut numbers = [-1, -1];
        if !text.is_empty() {
            let Some((first, second)) = text.split_once(",bytes=") else {
                return;
            };
            numbers = [&first["count=".len()..], second].map(|number| number.parse::<i64>().unwrap());
        }
        let text = format!("count={},bytes={}", numbers[0] + count, numbers[1] + bytes);
        let stats = stats_path(quota);
        self.nodes.get_mut(&stats).unwrap().data = Some(text.into_bytes());
    }

    /// What a server does when it reads a tree.
    pub(super) fn reload(&mut self) {
        let limits = |path: &String| {
            let quota = path.strip_suffix("/zookeeper_limits")?;
            Some(quota.strip_prefix("/zookeeper/quota")?.to_owned())
        };
        self.quotas = self.nodes.keys().filter_map(limits).collect();
        self.quotas.remove("");
        for quota in self.quotas.clone() {
            self.measure(&quota);
        }
    }

    pub(super) fn digest(&self) -> u64 {
        let counted = self
            .nodes
            .iter()
            .filter(|(path, _)| !path.starts_with("/zookeeper/"));
        counted
            .map(|(path, node)| u64::from(node_crc(path, node)))
            .fold(0, u64::wrapping_add)
    }

    /// Everything that can be asked of the tree.
    pub(super) fn assert_equals(&self, tree: &DataTree) {
        let mut todo = vec![tree.lookup("").unwrap()];
        let mut found = BTreeMap::new();
        while let Some(node) = todo.pop() {
            let path = if node.parent().is_none() {
                String::new()
            } else {
                node.path()
            };
            let expected = &self.nodes[&path];
            assert_eq!(node.stat(), self.stat(&path), "{path}");
            assert_eq!(node.num_children(), node.children().count());
            assert_eq!(
                node.digest(),
                digest::node_digest(&path, expected.data.as_deref(), &expected.stat)
            );
            assert_eq!(tree.lookup(&path).map(|again| again.id()), Some(node.id()));
            let counts_itself = usize::from(path.is_empty());
            assert_eq!(
                tree.descendants_count(&path),
                Some(self.below(&path).len() + counts_itself)
            );
            let (data, stat) = (node.data().map(<[u8]>::to_vec), node.persisted());
            let twice = found.insert(
                path,
                ModelNode {
                    data,
                    acl: acl_of(tree, node.acl_id()),
                    stat,
                },
            );
            assert_eq!(twice, None);
            todo.extend(node.children());
        }
        assert_eq!(found, self.nodes);
        assert_eq!(
            (tree.last_processed_zxid(), tree.sessions()),
            (self.zxid, &self.sessions)
        );
        assert_eq!(tree.digest(), self.digest());
        assert_eq!(tree.node_count(), self.nodes.len() + 1);
        let size = |(path, node): (&String, &ModelNode)| path.len() + node.data.as_ref().map_or(0, Vec::len);
        assert_eq!(
            tree.approximate_data_size(),
            1 + self.nodes.iter().map(size).sum::<usize>() as u64
        );
        self.assert_owners(tree);
        if tree.pass.is_none() {
            let lists: BTreeSet<_> = self.nodes.values().filter_map(|node| node.acl.clone()).collect();
            let kept: BTreeSet<_> = tree
                .acls
                .on_disk()
                .iter()
                .map(|(_, acl)| acl.bytes().to_vec())
                .collect();
            assert_eq!(kept, lists, "lists in use, and no others");
            assert_eq!(tree.acls.on_disk().len(), lists.len());
        }
    }

    fn assert_owners(&self, tree: &DataTree) {
        let mut owners: BTreeMap<SessionId, Vec<String>> = BTreeMap::new();
        for (path, node) in &self.nodes {
            if let NodeKind::Ephemeral(session) = NodeKind::from_owner(node.stat.ephemeral_owner) {
                owners.entry(session).or_default().push(path.clone());
            }
        }
        assert_eq!(
            tree.ephemerals_count(),
            owners.values().map(Vec::len).sum::<usize>()
        );
        for (session, paths) in &owners {
            assert_eq!(&tree.ephemerals(*session), paths);
        }
        assert_eq!(
            tree.sessions_with_ephemerals(),
            owners.into_iter().collect::<Vec<_>>()
        );
    }
}

/// Collects events; lists by their bytes.
pub(super) struct Recorder(pub(super) Vec<Event>);

impl ChangeSink for Recorder {
    fn change(&mut self, change: &Change<'_>) {
        let bytes = |acl: &Arc<AclList>| Some(acl.raw.bytes().to_vec());
        self.0.push((
            change.kind,
            change.path.into(),
            bytes(change.acl),
            change.parent_acl.map(bytes),
        ));
    }
}

/// Events do not tell the built-in list from an explicit one.
pub(super) fn shown(events: &[Event]) -> Vec<Event> {
    let open = b"\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone".to_vec();
    let show = |acl: &Option<Vec<u8>>| Some(acl.clone().unwrap_or(open.clone()));
    let show_event = |event: &Event| {
        (
            event.0,
            event.1.clone(),
            show(&event.2),
            event.3.as_ref().map(show),
        )
    };
    events.iter().map(show_event).collect()
}

pub(super) fn acl_of(tree: &DataTree, id: AclId) -> Option<Vec<u8>> {
    (id != AclId::BUILT_IN).then(|| tree.acl(id).raw.bytes().to_vec())
}

fn stored_acl(bytes: &[u8]) -> Option<Vec<u8>> {
    (bytes != [0xff; 4]).then(|| bytes.to_vec())
}

fn bare(error: ErrorCode) -> TxnResult {
    TxnResult {
        error,
        stat: None,
        multi: vec![],
    }
}

/// CRC-32 bit by bit over all that the format's description lists.
fn node_crc(path: &str, node: &ModelNode) -> u32 {
    let stat = &node.stat;
    let mut bytes = path.as_bytes().to_vec();
    bytes.extend(node.data.iter().flatten());
    for long in [stat.czxid.0, stat.mzxid.0, stat.pzxid.0, stat.ctime, stat.mtime] {
        bytes.extend(long.to_be_bytes());
    }
    for int in [stat.version, stat.cversion, stat.aversion] {
        bytes.extend(int.to_be_bytes());
    }
    bytes.extend(stat.ephemeral_owner.to_be_bytes());
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}
