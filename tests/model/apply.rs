//! Follows a log.

use super::overlay::Overlay;
use super::records::{Acls, Txn, TxnHeader};
use super::tree::{Model, Session};

/// What happened to a node, in the numbers of watch events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    Created = 1,
    Deleted = 2,
    DataChanged = 3,
    ChildrenChanged = 4,
}

/// A change that watches of the path may fire for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    pub zxid: i64,
    pub event: EventType,
    pub path: String,
    /// Who may know of it: the list of the node that the event is about, as it was or as it is.
    pub acls: Acls,
}

impl Model {
    /// Applies the next logged transaction and returns what watches may fire for, in order. An error tells
    /// why a transaction cannot be applied; the model has then what could be.
    pub fn apply(&mut self, txn: &[u8]) -> Result<Vec<Trigger>, String> {
        let (header, txn) = Txn::decode(txn).ok_or("a transaction that cannot be decoded")?;
        self.apply_decoded(&header, &txn)
    }

    /// The same for a transaction that is decoded already.
    pub fn apply_decoded(&mut self, header: &TxnHeader, txn: &Txn) -> Result<Vec<Trigger>, String> {
        let mut triggers = Vec::new();
        let mut overlay = Overlay::new(self);
        let result = overlay.apply(header, txn, &mut triggers);
        for (path, node) in overlay.into_changes() {
            self.set(header.zxid, &path, node);
        }
        match txn {
            Txn::CreateSession { timeout } => {
                let session = Session {
                    timeout: *timeout,
                    opened: header.zxid,
                    closed: None,
                };
                self.sessions.insert(header.session, session);
            }
            Txn::CloseSession(_) => {
                if let Some(session) = self.sessions.get_mut(&header.session) {
                    session.closed.get_or_insert(header.zxid);
                }
            }
            Txn::Create(_)
            | Txn::Delete { .. }
            | Txn::DeleteContainer { .. }
            | Txn::SetData { .. }
            | Txn::SetAcl { .. }
            | Txn::Check { .. }
            | Txn::Multi(_)
            | Txn::Error(_)
            | Txn::Reconfig { .. } => {}
        }
        self.zxid = header.zxid;
        result.map(|()| triggers)
    }
}
