//! The plainest server there could be: one request after another on a map of paths.

use std::collections::BTreeMap;

use super::*;
use crate::proto::stat::{Stat, StatPersisted};
use crate::tree::NodeKind;
use ErrorCode::*;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct ModelNode {
    pub data: Option<Vec<u8>>,
    pub acl: Vec<Acl>,
    pub stat: StatPersisted,
}

#[derive(Clone)]
pub(super) struct Model {
    pub nodes: BTreeMap<String, ModelNode>,
}

/// Who asks, and when.
pub(super) struct Caller<'a> {
    pub session: SessionId,
    pub is_gone: bool,
    pub ids: &'a [Id],
    pub zxid: Zxid,
    pub time: i64,
}

/// The error and stat that a reply has, or those of each operation of a multi.
pub(super) type Outcome = Result<Option<Stat>, ErrorCode>;

impl Model {
    pub fn new() -> Model {
        let built_in = |perms, aversion| ModelNode {
            data: Some(Vec::new()),
            acl: vec![Acl::world(perms)],
            stat: StatPersisted {
                aversion,
                ..StatPersisted::default()
            },
        };
        let nodes = [
            ("/", built_in(31, 0)),
            ("/zookeeper", built_in(31, 0)),
            ("/zookeeper/quota", built_in(31, 0)),
            ("/zookeeper/config", built_in(1, -1)),
        ];
        Model {
            nodes: nodes.map(|(path, node)| (path.to_owned(), node)).into(),
        }
    }

    /// Runs a request; a multi or a close has the results of its parts.
    pub fn run(&mut self, op: &Op, caller: &Caller<'_>) -> Vec<Outcome> {
        match op {
            Op::Multi(operations) => self.run_multi(operations, caller),
            Op::Close => {
                self.close(caller);
                vec![Result::Ok(None)]
            }
            Op::Create(..)
            | Op::CreateTtl(..)
            | Op::Delete(..)
            | Op::SetData(..)
            | Op::SetAcl(..)
            | Op::Check(..) => vec![self.run_one(op, caller)],
        }
    }

    fn run_multi(&mut self, operations: &[Op], caller: &Caller<'_>) -> Vec<Outcome> {
        let before = self.clone();
        let mut outcomes = Vec::new();
        for op in operations {
            let outcome = self.run_one(op, caller);
            let has_failed = outcome.is_err();
            outcomes.push(outcome);
            if has_failed {
                *self = before;
                let failed_at = outcomes.len() - 1;
                outcomes[..failed_at].fill(Result::Ok(None));
                outcomes.resize(operations.len(), Err(RuntimeInconsistency));
                break;
            }
        }
        outcomes
    }

    fn run_one(&mut self, op: &Op, caller: &Caller<'_>) -> Outcome {
        if caller.is_gone {
            return Err(SessionExpired);
        }
        match op {
            Op::Create(op, path, data, acl, flags) => {
                let kind = match (op, flags & 1) {
                    (OpCode::CreateContainer, _) => NodeKind::Container,
                    (_, 1) => NodeKind::Ephemeral(caller.session),
                    (_, _) => NodeKind::Persistent,
                };
                self.create(path, data, acl, flags & 2 != 0, kind, caller)
            }
            Op::CreateTtl(path, flags, ttl) => {
                let open = vec![Acl::world(perms::ALL)];
                self.create(path, &None, &open, *flags == 6, NodeKind::Ttl(*ttl), caller)
            }
            Op::Delete(path, version) => self.delete(path, *version, caller),
            Op::SetData(path, data, version) => {
                let node = self.checked(path, perms::WRITE, caller)?;
                expect_version(*version, node.stat.version)?;
                node.data.clone_from(data);
                node.stat.version += 1;
                (node.stat.mzxid, node.stat.mtime) = (caller.zxid, caller.time);
                Result::Ok(Some(self.stat(path)))
            }
            Op::SetAcl(path, acl, version) => {
                path::validate(path)?;
                let acl = expanded(acl, caller)?;
                let node = self.checked(path, perms::ADMIN, caller)?;
                expect_version(*version, node.stat.aversion)?;
                node.acl = acl;
                node.stat.aversion += 1;
                Result::Ok(Some(self.stat(path)))
            }
            Op::Check(path, version) => {
                let node = self.checked(path, perms::READ, caller)?;
                expect_version(*version, node.stat.version)?;
                Result::Ok(None)
            }
            Op::Multi(_) | Op::Close => unreachable!("not generated"),
        }
    }

    fn create(
        &mut self,
        path: &str,
        data: &Option<Vec<u8>>,
        acl: &[Acl],
        is_sequential: bool,
        kind: NodeKind,
        caller: &Caller<'_>,
    ) -> Outcome {
        path::validate_light(path)?;
        let acl = expanded(acl, caller)?;
        let parent_path = parent_of(path);
        let parent = self.nodes.get(&parent_path).ok_or(NoNode)?;
        check_acl(parent, perms::CREATE, caller)?;
        let mut path = path.to_owned();
        if is_sequential {
            path += &format!("{:010}", parent.stat.cversion);
        }
        path::validate(&path)?;
        if self.nodes.contains_key(&path) {
            return Err(NodeExists);
        }
        if parent.stat.ephemeral_owner > 0 {
            return Err(NoChildrenForEphemerals);
        }
        let parent = self.nodes.get_mut(&parent_path).unwrap();
        parent.stat.cversion += 1;
        parent.stat.pzxid = caller.zxid;
        let stat = StatPersisted {
            czxid: caller.zxid,
            mzxid: caller.zxid,
            ctime: caller.time,
            mtime: caller.time,
            ephemeral_owner: kind.owner(),
            pzxid: caller.zxid,
            ..StatPersisted::default()
        };
        let data = data.clone();
        self.nodes.insert(path.clone(), ModelNode { data, acl, stat });
        Result::Ok(Some(self.stat(&path)))
    }

    fn delete(&mut self, path: &str, version: i32, caller: &Caller<'_>) -> Outcome {
        path::validate_light(path)?;
        if path::is_reserved_for_delete(path) {
            return Err(BadArguments);
        }
        let parent = self.nodes.get(&parent_of(path)).ok_or(NoNode)?;
        check_acl(parent, perms::DELETE, caller)?;
        expect_version(version, self.nodes.get(path).ok_or(NoNode)?.stat.version)?;
        if self.children_count(path) > 0 {
            return Err(NotEmpty);
        }
        self.remove(path, caller.zxid);
        Result::Ok(None)
    }

    /// The leader removes a container that had children, or a TTL node, if it may.
    pub fn reap(&mut self, path: &str, zxid: Zxid, now: i64) -> bool {
        let Some(node) = self.nodes.get(path) else {
            return false;
        };
        let age = now - node.stat.mtime;
        let owner = node.stat.ephemeral_owner;
        let is_old = match owner {
            i64::MIN => node.stat.cversion > 0,
            0.. => false,
            _ => age > owner & 0xff_ffff_ffff,
        };
        let may_go = is_old && self.children_count(path) == 0;
        if may_go {
            self.remove(path, zxid);
        }
        may_go
    }

    fn close(&mut self, caller: &Caller<'_>) {
        let is_own = |node: &ModelNode| node.stat.ephemeral_owner == caller.session.0;
        let own: Vec<String> = self
            .nodes
            .iter()
            .filter(|(_, node)| is_own(node))
            .map(|(path, _)| path.clone())
            .collect();
        own.iter().for_each(|path| self.remove(path, caller.zxid));
    }

    fn remove(&mut self, path: &str, zxid: Zxid) {
        self.nodes.remove(path).unwrap();
        self.nodes.get_mut(&parent_of(path)).unwrap().stat.pzxid = zxid;
    }

    fn checked(&mut self, path: &str, wanted: i32, caller: &Caller<'_>) -> Result<&mut ModelNode, ErrorCode> {
        path::validate(path)?;
        let node = self.nodes.get_mut(path).ok_or(NoNode)?;
        check_acl(node, wanted, caller)?;
        Result::Ok(node)
    }

    pub fn children_count(&self, path: &str) -> usize {
        self.nodes
            .keys()
            .filter(|key| *key != "/" && parent_of(key) == path)
            .count()
    }

    pub fn stat(&self, path: &str) -> Stat {
        let node = &self.nodes[path];
        let children_count = self.children_count(path) as i32;
        // The reserved nodes were never counted as created.
        Stat {
            czxid: node.stat.czxid,
            mzxid: node.stat.mzxid,
            ctime: node.stat.ctime,
            mtime: node.stat.mtime,
            version: node.stat.version,
            cversion: node.stat.cversion * 2 - children_count,
            aversion: node.stat.aversion,
            // Sessions of the tests have small numbers.
            ephemeral_owner: node.stat.ephemeral_owner.max(0),
            data_length: node.data.as_ref().map_or(0, Vec::len) as i32,
            num_children: children_count,
            pzxid: node.stat.pzxid,
        }
    }

    /// All of it, computed anew.
    pub fn digest(&self) -> u64 {
        let share = |(path, node): (&String, &ModelNode)| {
            u64::from(digest::node_digest(path, node.data.as_deref(), &node.stat))
        };
        self.nodes.iter().map(share).sum()
    }
}

fn parent_of(path: &str) -> String {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/".to_owned(),
        Some((parent, _)) => parent.to_owned(),
    }
}

fn expect_version(expected: i32, present: i32) -> Result<(), ErrorCode> {
    if expected == -1 || expected == present {
        Result::Ok(())
    } else {
        Err(BadVersion)
    }
}

/// Knows only `world`, `digest` and `auth`, and takes everything else for malformed.
fn expanded(acl: &[Acl], caller: &Caller<'_>) -> Result<Vec<Acl>, ErrorCode> {
    let mut list = Vec::new();
    for entry in acl {
        match entry.id.scheme.as_str() {
            "world" | "digest" => list.push(entry.clone()),
            "auth" => {
                let known = caller.ids.iter().filter(|id| id.scheme == "digest").cloned();
                let before = list.len();
                list.extend(known.map(|id| Acl {
                    perms: entry.perms,
                    id,
                }));
                if list.len() == before {
                    return Err(InvalidAcl);
                }
            }
            _ => return Err(InvalidAcl),
        }
    }
    if list.is_empty() {
        Err(InvalidAcl)
    } else {
        Result::Ok(list)
    }
}

fn check_acl(node: &ModelNode, wanted: i32, caller: &Caller<'_>) -> Result<(), ErrorCode> {
    let is_granted =
        |acl: &Acl| acl.perms & wanted != 0 && (acl.id.scheme == "world" || caller.ids.contains(&acl.id));
    let is_super = caller.ids.iter().any(|id| id.scheme == "super");
    if is_super || node.acl.iter().any(is_granted) {
        Result::Ok(())
    } else {
        Err(NoAuth)
    }
}
