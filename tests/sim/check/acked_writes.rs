//! I5: whatever was answered is in the history, once, at the zxid that the answer said.

use zkserver::ids::{SessionId, Zxid};
use zkserver::proto::txn::{self, Txn};

use crate::users::Sent;
use crate::world::history::History;

pub fn check(history: &History, session: SessionId, xid: i32, zxid: i64, error: i32, sent: &Sent) {
    if !sent.op.is_write() {
        return;
    }
    let entry = history.get(Zxid(zxid));
    let entry = entry.unwrap_or_else(|| panic!("I5: {session} {xid} at {zxid:#x} is lost"));
    let logged = txn::decode(&entry.encoded).expect("a good transaction");
    assert_eq!(
        (logged.header.client_id, logged.header.cxid),
        (session, xid),
        "I5: somebody else's transaction is at {zxid:#x}"
    );
    let logged_error = match logged.txn {
        Txn::Error(error) => error,
        _ => 0,
    };
    assert_eq!(logged_error, error, "I5: {session} {xid}");
}
