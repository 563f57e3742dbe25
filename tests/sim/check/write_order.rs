//! I8: a write that is asked for after something was seen comes behind it, and a sync shows everything that
//! anybody had seen.

use crate::plan::Op;
use crate::users::Sent;

pub fn check(xid: i32, zxid: i64, sent: &Sent) {
    if sent.op.is_write() {
        assert!(
            zxid > sent.seen,
            "I8: {xid} is written at {zxid:#x}, after {:#x} was seen",
            sent.seen
        );
    } else if matches!(sent.op, Op::Sync { .. }) {
        assert!(
            zxid >= sent.seen,
            "I8: the sync {xid} shows {zxid:#x} after {:#x} was seen",
            sent.seen
        );
    }
}
