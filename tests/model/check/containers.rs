//! I25: containers and nodes with a time to live go only when they are empty and due.

use super::super::records::{Txn, TxnHeader};
use super::Checker;

impl Checker {
    pub(super) fn check_containers(&mut self, header: &TxnHeader, txn: &Txn) {
        let Txn::DeleteContainer { path } = txn else {
            return;
        };
        let is_due = self.model.node(path).is_some_and(|node| {
            let is_old = |ttl: i64| header.time.saturating_sub(node.mtime) > ttl;
            let is_used = node.is_container() && node.created > 0;
            node.children == 0 && (is_used || node.ttl().is_some_and(is_old))
        });
        if !is_due {
            let text = format!("{:#x} removes {path}, which is not due", header.zxid);
            self.violation("I25", text);
        }
    }
}
