//! I14: an ephemeral node is there only while its session is open.

use super::super::records::{Txn, TxnHeader};
use super::Checker;

impl Checker {
    pub(super) fn check_ephemerals_before(&mut self, header: &TxnHeader, txn: &Txn) {
        let creates = |txn: &Txn| matches!(txn, Txn::Create(create) if create.ephemeral);
        let has_ephemeral = txn.operations().iter().any(creates);
        if has_ephemeral && !self.model.is_open(header.session) {
            let text = format!(
                "{:#x} creates an ephemeral node of session {:#x}, which is not open",
                header.zxid, header.session
            );
            self.violation("I14", text);
        }
    }

    pub(super) fn check_ephemerals_after(&mut self, header: &TxnHeader, txn: &Txn) {
        if !matches!(txn, Txn::CloseSession(_)) {
            return;
        }
        let left = self
            .model
            .ephemerals
            .get(&header.session)
            .cloned()
            .unwrap_or_default();
        if !left.is_empty() {
            let text = format!("{:#x} closes its session but leaves {left:?}", header.zxid);
            self.violation("I14", text);
        }
    }

    pub(super) fn finish_ephemerals(&mut self) {
        let is_orphan = |session: i64| !self.model.is_open(session);
        let orphans: Vec<String> = self
            .model
            .nodes()
            .filter(|(_, node)| node.session().is_some_and(is_orphan))
            .map(|(path, _)| path.to_string())
            .collect();
        if !orphans.is_empty() {
            let text = format!("at the end these have no session: {orphans:?}");
            self.violation("I14", text);
        }
    }
}
