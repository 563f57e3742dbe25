//! I16: the numbers of sequential nodes rise as long as their parent lives.

use std::collections::BTreeMap;

use super::super::expected::sequential_creations;
use super::super::path::parent;
use super::super::records::{Txn, TxnHeader};
use super::Checker;

/// The newest number below each parent, told apart by the zxids that created them.
#[derive(Default)]
pub struct Sequences(BTreeMap<(String, i64), i64>);

impl Checker {
    pub(super) fn check_sequences(&mut self, header: &TxnHeader, txn: &Txn) {
        let Some(index) = self.by_xid.get(&(header.session, header.cxid)) else {
            return;
        };
        let request = &self.requests[*index];
        let sequential = sequential_creations(request.opcode, &request.body);
        for (txn, is_sequential) in txn.operations().iter().zip(sequential) {
            if let Txn::Create(create) = txn
                && is_sequential
            {
                self.check_number(header, &create.path);
            }
        }
    }

    fn check_number(&mut self, header: &TxnHeader, path: &str) {
        let digits = path.len().saturating_sub(10);
        let number = path.get(digits..).and_then(|number| number.parse::<i64>().ok());
        // A parent made by the same multi is not in the model yet.
        let above = self.model.node(parent(path));
        let incarnation = above.map_or(header.zxid, |above| above.czxid);
        let key = (parent(path).to_owned(), incarnation);
        let newest = self.sequences.0.get(&key).copied();
        match number {
            Some(number) if newest.is_none_or(|newest| newest < number) => {
                self.sequences.0.insert(key, number);
            }
            _ => {
                let text = format!("{:#x} creates {path} after number {newest:?}", header.zxid);
                self.violation("I16", text);
            }
        }
    }
}
