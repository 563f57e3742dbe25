//! I5: what a client was told of a write is what the log has.

use super::super::records::{code, op};
use super::Checker;
use super::history::Reply;

impl Checker {
    pub(super) fn check_acked(&mut self, index: usize, reply: &Reply<'_>) {
        self.counts.writes += 1;
        let request = &self.requests[index];
        let name = format!(
            "request {} of connection {} (opcode {})",
            request.xid, request.conn, request.opcode
        );
        let Some(committed) = &request.committed else {
            // These refuse a request before it has a zxid.
            let is_early = matches!(
                reply.error,
                code::MARSHALLING
                    | code::NOT_READ_ONLY
                    | code::THROTTLED
                    | code::CLOSED_REQUIRE_AUTH
                    | code::SESSION_EXPIRED
            );
            if !is_early {
                let text = format!("{name}: answered {} but not in the log", reply.error);
                self.violation("I5", text);
            }
            return;
        };
        if reply.zxid != committed.zxid {
            let text = format!("{name}: answered {:#x}, logged {:#x}", reply.zxid, committed.zxid);
            self.violation("I5", text);
        } else if reply.error != committed.error {
            let text = format!("{name}: answered {}, logged {}", reply.error, committed.error);
            self.violation("I5", text);
        } else if reply.error == code::OK && !is_right(request.opcode, reply.body, &committed.reply) {
            let text = format!(
                "{name}: answered {:02x?}, not {:02x?}",
                reply.body, committed.reply
            );
            self.violation("I17", text);
        }
    }
}

/// Behind a configuration stands the Stat of its node, which each server makes itself.
fn is_right(opcode: i32, body: &[u8], expected: &[u8]) -> bool {
    match opcode {
        op::RECONFIG => body.starts_with(expected),
        _ => body == expected,
    }
}
