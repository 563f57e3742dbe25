//! I10: a client never sees a zxid older than one it has seen, on whichever server.

use super::Checker;
use super::history::Reply;

impl Checker {
    pub(super) fn check_monotone(&mut self, conn: u64, reply: &Reply<'_>) {
        let Some(connection) = self.connections.get_mut(&conn) else {
            return;
        };
        let seen = connection.zxid;
        connection.zxid = seen.max(reply.zxid);
        if reply.zxid > 0 && reply.zxid < seen {
            let text = format!(
                "connection {conn}: reply {} shows {:#x} after {seen:#x}",
                reply.xid, reply.zxid
            );
            self.violation("I10", text);
        }
    }
}
