//! Changes that are not in the model yet: of a transaction while it is applied or judged.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::acl;
use super::apply::{EventType, Trigger};
use super::path::parent;
use super::records::{Acls, CreateTxn, Identity, Txn, TxnHeader, op};
use super::tree::{CONTAINER_OWNER, Model, Node, TTL_OWNER};

/// The newest state of a model and changes on top of it.
pub struct Overlay<'a> {
    model: &'a Model,
    changes: BTreeMap<String, Option<Node>>,
    /// Permissions are those after this transaction, where the node is the same.
    acls_at: Option<i64>,
}

impl<'a> Overlay<'a> {
    pub fn new(model: &'a Model) -> Overlay<'a> {
        Overlay {
            model,
            changes: BTreeMap::new(),
            acls_at: None,
        }
    }

    /// Permissions as they were; see [`Overlay::allows`].
    pub fn with_acls_at(model: &'a Model, acls_at: Option<i64>) -> Overlay<'a> {
        Overlay {
            acls_at,
            ..Overlay::new(model)
        }
    }

    /// One of the identities may do what is wanted with the node at the path.
    pub fn allows(&self, path: &str, node: &Node, wanted: i32, ids: &[Identity]) -> bool {
        let before = self.acls_at.and_then(|zxid| self.model.node_at(zxid, path));
        let before = before.filter(|before| before.czxid == node.czxid);
        let acls = before.map_or(&node.acls, |before| &before.acls);
        acl::allows(acls, wanted, ids)
    }

    pub fn get(&self, path: &str) -> Option<&Node> {
        let path = if path.is_empty() { "/" } else { path };
        match self.changes.get(path) {
            Some(changed) => changed.as_ref(),
            None => self.model.node(path).map(|node| &**node),
        }
    }

    pub fn into_changes(self) -> BTreeMap<String, Option<Node>> {
        self.changes
    }

    fn put(&mut self, path: &str, node: Option<Node>) {
        let path = if path.is_empty() { "/" } else { path };
        self.changes.insert(path.to_owned(), node);
    }

    fn existing(&self, path: &str) -> Result<Node, String> {
        self.get(path).cloned().ok_or_else(|| format!("no node {path}"))
    }

    /// Applies one operation, or all of a multi. An error tells why it cannot be; some of a multi may
    /// have been applied then.
    pub fn apply(
        &mut self,
        header: &TxnHeader,
        txn: &Txn,
        triggers: &mut Vec<Trigger>,
    ) -> Result<(), String> {
        let mut hit = |event, path: &str, acls: &Acls| {
            triggers.push(Trigger {
                zxid: header.zxid,
                event,
                path: if path.is_empty() { "/" } else { path }.to_owned(),
                acls: acls.clone(),
            });
        };
        match txn {
            Txn::Create(create) => self.create(header, create, &mut hit),
            Txn::Delete { path } | Txn::DeleteContainer { path } => self.delete(header, path, &mut hit),
            Txn::SetData { path, data, version } => {
                let node = Node {
                    data: data.as_deref().map(Arc::from),
                    version: *version,
                    mzxid: header.zxid,
                    mtime: header.time,
                    ..self.existing(path)?
                };
                hit(EventType::DataChanged, path, &node.acls);
                self.put(path, Some(node));
                Ok(())
            }
            Txn::Reconfig { path, data } => {
                let (path, data, version) = (path.clone(), data.clone(), -1);
                self.apply(header, &Txn::SetData { path, data, version }, triggers)
            }
            Txn::SetAcl { path, acls, version } => {
                let node = Node {
                    acls: Arc::new(acls.clone()),
                    aversion: *version,
                    ..self.existing(path)?
                };
                self.put(path, Some(node));
                Ok(())
            }
            Txn::Multi(txns) if txns.iter().any(|txn| matches!(txn, Txn::Error(_))) => Ok(()),
            Txn::Multi(txns) => txns.iter().try_for_each(|txn| self.apply(header, txn, triggers)),
            Txn::CloseSession(paths) => {
                let owned = || self.model.ephemerals.get(&header.session).into_iter().flatten();
                let paths = paths
                    .clone()
                    .unwrap_or_else(|| owned().map(ToString::to_string).collect());
                paths
                    .iter()
                    .try_for_each(|path| self.delete(header, path, &mut hit))
            }
            Txn::Check { .. } | Txn::CreateSession { .. } | Txn::Error(_) => Ok(()),
        }
    }

    fn create(
        &mut self,
        header: &TxnHeader,
        create: &CreateTxn,
        hit: &mut impl FnMut(EventType, &str, &Acls),
    ) -> Result<(), String> {
        let path = create.path.as_str();
        if self.get(path).is_some() {
            return Err(format!("node {path} exists"));
        }
        let mut above = self.existing(parent(path))?;
        let created = match create.parent_cversion {
            -1 => above.created.wrapping_add(1),
            created => created,
        };
        if created > above.created {
            above.created = created;
            above.pzxid = header.zxid;
        }
        above.children += 1;
        let node = Node {
            data: create.data.as_deref().map(Arc::from),
            acls: Arc::new(create.acls.clone()),
            czxid: header.zxid,
            mzxid: header.zxid,
            ctime: header.time,
            mtime: header.time,
            version: 0,
            created: 0,
            aversion: 0,
            owner: match create.opcode {
                op::CREATE_CONTAINER => CONTAINER_OWNER,
                op::CREATE_TTL => TTL_OWNER | create.ttl,
                _ if create.ephemeral => header.session,
                _ => 0,
            },
            pzxid: header.zxid,
            children: 0,
        };
        hit(EventType::Created, path, &node.acls);
        hit(EventType::ChildrenChanged, parent(path), &above.acls);
        self.put(parent(path), Some(above));
        self.put(path, Some(node));
        Ok(())
    }

    fn delete(
        &mut self,
        header: &TxnHeader,
        path: &str,
        hit: &mut impl FnMut(EventType, &str, &Acls),
    ) -> Result<(), String> {
        let node = self.existing(path)?;
        if node.children > 0 {
            return Err(format!("node {path} has children"));
        }
        let mut above = self.existing(parent(path))?;
        above.children -= 1;
        above.pzxid = above.pzxid.max(header.zxid);
        hit(EventType::Deleted, path, &node.acls);
        hit(EventType::ChildrenChanged, parent(path), &above.acls);
        self.put(parent(path), Some(above));
        self.put(path, None);
        Ok(())
    }
}
