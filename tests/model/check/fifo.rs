//! I11: replies come in the order of requests.

use super::super::records::op;
use super::history::Reply;
use super::{Checker, Request};

impl Checker {
    /// Finds the request of a reply. Replies to auth and sasl packets may overtake others.
    pub(super) fn check_fifo(&mut self, conn: u64, reply: &Reply<'_>) -> Option<usize> {
        let connection = self.connections.get_mut(&conn)?;
        let requests = &self.requests;
        let answers = |request: &Request| match request.opcode {
            op::PING => reply.xid == -2 || reply.error != 0 && reply.xid == request.xid,
            _ => reply.xid == request.xid,
        };
        let overtakes = |request: &Request| matches!(request.opcode, op::AUTH | op::SASL);
        let queue = &mut connection.queue;
        let first_slow = queue.iter().position(|index| !overtakes(&requests[*index]));
        let position = first_slow
            .filter(|position| answers(&requests[queue[*position]]))
            .or_else(|| {
                let is_fast = |index: &usize| overtakes(&requests[*index]) && answers(&requests[*index]);
                queue.iter().position(is_fast)
            });
        if let Some(position) = position {
            return queue.remove(position);
        }
        let next = queue.front().map(|index| self.requests[*index].xid);
        let text = format!("connection {conn}: reply {} where {next:?} is next", reply.xid);
        // Later replies are compared from here on.
        if let Some(position) = queue.iter().position(|index| answers(&self.requests[*index])) {
            queue.drain(..=position);
        }
        self.violation("I11", text);
        None
    }
}
