//! From a client's request to a proposal.

use bytes::Bytes;

use super::{Input, Output, Outputs, Pending, Replica, begin_snapshot};
use crate::clock::Now;
use crate::ids::SessionId;
use crate::prep::{PrepRequest, Prepared, SessionCheck};
use crate::proto::error_code::ErrorCode;
use crate::proto::opcode::OpCode;
use crate::session::tracker::SessionTracker;
use crate::shared::ClientRequest;
use crate::zab::LogEntry;

/// Sessions as preparation sees them on a server that stands alone (SessionTrackerImpl.checkSession).
pub(super) struct Standing<'a>(pub &'a SessionTracker);

impl SessionCheck for Standing<'_> {
    fn check(&self, session: SessionId) -> Option<ErrorCode> {
        if !self.0.contains(session) {
            return Some(ErrorCode::UnknownSession);
        }
        self.0.is_closing(session).then_some(ErrorCode::SessionExpired)
    }
}

impl Replica {
    /// A request that could not be answered on the spot: a write, a sync, or a read behind one of them.
    pub(super) fn on_client_request(&mut self, now: Now, request: ClientRequest, outputs: &mut Outputs) {
        let owner = self.conn_of_session.get(&request.session);
        if owner != Some(&request.conn) || !self.conns.contains_key(&request.conn) {
            return self.forget_outstanding(1);
        }
        let conn = request.conn;
        let pending = if request.op == OpCode::Sync {
            Pending::Sync {
                after: self.broadcast.last_proposed(),
                xid: request.xid,
                body: request.body,
                received: request.received,
            }
        } else if request.op.is_write() {
            self.propose_request(now, &request, outputs)
        } else {
            Pending::Read(request)
        };
        if let Pending::Sync { after, .. } = pending {
            self.syncs.push_back((after, conn));
        }
        let Some(state) = self.conns.get_mut(&conn) else {
            return;
        };
        state.pending.push_back(pending);
        if state.pending.len() == 1 {
            let shared = std::sync::Arc::clone(&self.shared);
            self.settle(now, conn, &shared.tree.read(), outputs);
        }
    }

    fn propose_request(&mut self, now: Now, request: &ClientRequest, outputs: &mut Outputs) -> Pending {
        let zxid = self.broadcast.next_zxid();
        let prepared = {
            let tree = self.shared.tree.read();
            let sessions = self.shared.sessions.lock();
            let asked = PrepRequest {
                session: request.session,
                cxid: request.xid,
                op: request.op,
                body: &request.body,
                ids: &request.ids,
            };
            self.prep
                .prepare(&tree, &Standing(&sessions), &asked, zxid, now.wall_ms)
        };
        let (xid, op, received) = (request.xid, request.op, request.received);
        match prepared {
            Prepared::Undecodable => {
                self.log_refusal(now, request);
                Pending::Refused {
                    error: ErrorCode::MarshallingError,
                    xid,
                    op,
                    received,
                }
            }
            Prepared::Txn { encoded, .. } => {
                if op == OpCode::CloseSession {
                    self.shared.sessions.lock().set_closing(request.session);
                }
                self.propose(encoded, outputs);
                Pending::Write {
                    zxid,
                    xid,
                    op,
                    received,
                }
            }
        }
    }

    fn log_refusal(&self, now: Now, request: &ClientRequest) {
        let Some(conn) = self.conns.get(&request.conn) else {
            return;
        };
        if let Some(held_back) = self.shared.line_limiters.refused_operations.admit(now.mono) {
            tracing::warn!(peer = %conn.shared.peer, session = %request.session, op = ?request.op,
                bytes = request.body.len(),
                "refusing a request that cannot be decoded, or whose transaction would be longer than \
                 jute.maxbuffer and its extra size{held_back}");
        }
    }

    /// Proposes what was prepared for the next zxid: to the own log, and to a snapshot when one is due.
    pub(super) fn propose(&mut self, encoded: Vec<u8>, outputs: &mut Outputs) {
        let entry = LogEntry {
            zxid: self.broadcast.next_zxid(),
            encoded: Bytes::from(encoded),
        };
        self.broadcast.propose(entry.clone());
        let is_last_of_file = self.snapshots.count(entry.encoded.len());
        outputs.list.push(Output::AppendLog(entry));
        if is_last_of_file {
            outputs.list.push(Output::RollLog);
            if !self.snapshots.is_running {
                self.snapshots.is_running = true;
                outputs.list.push(begin_snapshot(&mut self.shared.tree.write()));
            }
        }
    }

    /// Requests that will not be answered no longer count.
    pub(super) fn forget_outstanding(&self, count: usize) {
        self.shared
            .outstanding
            .fetch_sub(count, std::sync::atomic::Ordering::Relaxed);
    }
}

impl From<ClientRequest> for Input {
    fn from(request: ClientRequest) -> Input {
        Input::Client(request)
    }
}
