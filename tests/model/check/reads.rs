//! I9 and I22: each read shows the state at the zxid of its reply, to those who may see it.

use super::super::jute::Reader;
use super::super::read::{ReadRequest, same_reply};
use super::super::records::{code, op};
use super::Checker;
use super::history::Reply;

/// A read that does not show the state at its zxid, but perhaps one soon after.
pub struct Unsettled {
    index: usize,
    zxid: i64,
    error: i32,
    body: Vec<u8>,
}

impl Checker {
    pub(super) fn check_read(&mut self, conn: u64, index: usize, reply: &Reply<'_>) {
        let request = &self.requests[index];
        if reply.error == code::SESSION_EXPIRED {
            let session = self.connections[&conn].session.unwrap_or_default();
            self.suspect_expired(session, reply.zxid, "a read was refused");
            return;
        }
        let is_refused = matches!(
            reply.error,
            code::MARSHALLING | code::THROTTLED | code::UNIMPLEMENTED | code::CLOSED_REQUIRE_AUTH
        );
        if is_refused || is_of_servers(request.opcode, &request.body) {
            self.counts.others += 1;
            return;
        }
        self.counts.reads += 1;
        let unsettled = Unsettled {
            index,
            zxid: reply.zxid,
            error: reply.error,
            body: reply.body.to_vec(),
        };
        if self.shows(&unsettled, reply.zxid) {
            return;
        }
        if self.options.exact_reads {
            self.wrong_read(&unsettled);
        } else if let Some(connection) = self.connections.get_mut(&conn) {
            connection.unsettled.push(unsettled);
        }
    }

    /// The reply is that of the state after the given transaction.
    fn shows(&self, unsettled: &Unsettled, zxid: i64) -> bool {
        let (error, body) = self.expected_read(unsettled.index, zxid);
        let opcode = self.requests[unsettled.index].opcode;
        error == unsettled.error && (error != code::OK || same_reply(opcode, &body, &unsettled.body))
    }

    fn expected_read(&self, index: usize, zxid: i64) -> (i32, Vec<u8>) {
        let request = &self.requests[index];
        let session = self.connections[&request.conn].session;
        self.model.read(
            zxid,
            &ReadRequest {
                session: session.unwrap_or_default(),
                ids: &request.ids,
                opcode: request.opcode,
                body: &request.body,
            },
        )
    }

    /// The connection's next reply ends the time that its reads may show.
    pub(super) fn settle_reads(&mut self, conn: u64, zxid: i64) {
        let Some(connection) = self.connections.get_mut(&conn) else {
            return;
        };
        for unsettled in std::mem::take(&mut connection.unsettled) {
            let first = self.zxids.partition_point(|known| *known <= unsettled.zxid);
            let mut later = self.zxids[first..].iter().take_while(|known| **known <= zxid);
            if !later.any(|known| self.shows(&unsettled, *known)) {
                self.wrong_read(&unsettled);
            }
        }
    }

    pub(super) fn finish_reads(&mut self) {
        let conns: Vec<u64> = self.connections.keys().copied().collect();
        for conn in conns {
            self.settle_reads(conn, i64::MAX);
        }
    }

    fn wrong_read(&mut self, unsettled: &Unsettled) {
        let (error, body) = self.expected_read(unsettled.index, unsettled.zxid);
        let request = &self.requests[unsettled.index];
        let concerns_acls = [error, unsettled.error].contains(&code::NO_AUTH);
        let invariant = if concerns_acls { "I22" } else { "I9" };
        let text = format!(
            "request {} of connection {} (opcode {} {:?}) shows {} {:02x?} at {:#x}, not {error} {body:02x?}",
            request.xid,
            request.conn,
            request.opcode,
            String::from_utf8_lossy(&request.body),
            unsettled.error,
            unsettled.body,
            unsettled.zxid,
        );
        self.violation(invariant, text);
    }
}

/// What servers keep there on their own account is not in the log.
fn is_of_servers(opcode: i32, body: &[u8]) -> bool {
    let path = Reader::new(body).text().unwrap_or_default();
    opcode != op::MULTI_READ && (path == "/zookeeper/config" || path.starts_with("/zookeeper/quota/"))
}
