//! I5 and I11: a request becomes one transaction at most, and what a session has done is done in its order:
//! nothing that it asked a server for comes behind what it has asked a later one.

use std::collections::BTreeMap;

use zkserver::ids::{SessionId, Zxid};
use zkserver::proto::txn::{LoggedTxn, Txn};

#[derive(Default)]
pub struct Once {
    last: BTreeMap<SessionId, (i32, Zxid)>,
}

impl Once {
    pub fn on_committed(&mut self, logged: &LoggedTxn<'_>) {
        let (session, cxid) = (logged.header.client_id, logged.header.cxid);
        // As with Apache's servers, anybody who has it may end a session.
        let ends_session = matches!(logged.txn, Txn::CloseSession { .. });
        if cxid == 0 || ends_session || is_refused(&logged.txn) {
            return;
        }
        let zxid = logged.header.zxid;
        if let Some((before, at)) = self.last.insert(session, (cxid, zxid)) {
            assert!(
                cxid > before,
                "I11: {session} has {before} at {at}, and {cxid} at {zxid}"
            );
        }
    }
}

fn is_refused(txn: &Txn<'_>) -> bool {
    match txn {
        Txn::Error(_) => true,
        Txn::Multi(txns) => txns.iter().any(is_refused),
        _ => false,
    }
}
