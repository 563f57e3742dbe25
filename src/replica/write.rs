//! From a client's request to a proposal, or to the leader.

use std::sync::Arc;

use bytes::Bytes;

use super::member::Owner;
use super::{Ensemble, Input, Outputs, Pending, Replica, UNANSWERED};
use crate::clock::Now;
use crate::ids::{ConnId, SessionId, Zxid};
use crate::mutants::{self, Mutant};
use crate::prep::{self, PrepRequest, Prepared, SessionCheck};
use crate::proto::error_code::ErrorCode;
use crate::proto::opcode::OpCode;
use crate::proto::quorum::ForwardedRequest;
use crate::session::tracker::SessionTracker;
use crate::shared::ClientRequest;
use crate::zab::{LogEntry, Zab};

/// Sessions as preparation sees them (SessionTrackerImpl.checkSession).
pub(super) struct Sessions<'a> {
    pub tracker: &'a SessionTracker,
    /// Who has the session; `None` if nobody has said so.
    pub owner: Option<Owner>,
    /// Where the request comes from.
    pub asking: Owner,
    /// What a session is told that nobody knows: a standalone server and a leader differ
    /// (LeaderSessionTracker.checkSession).
    pub unknown: ErrorCode,
}

impl SessionCheck for Sessions<'_> {
    fn check(&self, session: SessionId) -> Option<ErrorCode> {
        if !self.tracker.contains(session) {
            return Some(self.unknown);
        }
        if self.tracker.is_closing(session) {
            return Some(ErrorCode::SessionExpired);
        }
        let is_elsewhere = self.owner.is_some_and(|owner| owner != self.asking);
        (is_elsewhere && !mutants::is_on(Mutant::M14b)).then_some(ErrorCode::SessionMoved)
    }
}

impl Replica {
    /// A request that could not be answered on the spot: a write, a sync, or a read behind one of them.
    pub(super) fn on_client_request(&mut self, now: Now, request: ClientRequest, outputs: &mut Outputs) {
        let owner = self.conn_of_session.get(&request.session);
        if owner != Some(&request.conn) || !self.conns.contains_key(&request.conn) || !self.takes_requests() {
            return self.forget_outstanding(1);
        }
        let conn = request.conn;
        let pending = if request.op == OpCode::Sync {
            self.sync_requested(&request)
        } else if !request.op.is_write() {
            Pending::Read(request)
        } else if self.leads() {
            self.propose_request(now, &request, outputs)
        } else {
            self.forward(now, &request)
        };
        let Some(state) = self.conns.get_mut(&conn) else {
            return;
        };
        state.pending.push_back(pending);
        if state.pending.len() == 1 {
            let shared = Arc::clone(&self.shared);
            self.settle(now, conn, &shared.tree.read(), outputs);
        }
    }

    /// Not while there is no role, nor when this leader is about to end.
    fn takes_requests(&self) -> bool {
        match &self.ensemble {
            Ensemble::Alone(_) => true,
            Ensemble::Member(member) => self.is_active() && member.handing_over.is_none(),
        }
    }

    fn sync_requested(&mut self, request: &ClientRequest) -> Pending {
        let after = match &mut self.ensemble {
            Ensemble::Alone(broadcast) => broadcast.last_proposed(),
            Ensemble::Member(member) => {
                let out = &mut member.zab_outputs;
                match &mut member.zab {
                    Zab::Looking => {}
                    Zab::Leading(leader) => leader.sync_requested(None, out),
                    Zab::Learning(learner) => {
                        let ids = request.ids.to_vec();
                        learner.send_sync(request.session, request.xid, request.body.clone(), ids, out);
                    }
                }
                UNANSWERED
            }
        };
        self.syncs.push_back((after, request.conn));
        Pending::Sync {
            after,
            xid: request.xid,
            body: request.body.clone(),
            received: request.received,
        }
    }

    /// The oldest sync of this server is answered.
    pub(super) fn on_sync_reply(&mut self, now: Now, outputs: &mut Outputs) {
        let Some((_, id)) = self.syncs.pop_front() else {
            return;
        };
        if let Some(conn) = self.conns.get_mut(&id)
            && let Some(Pending::Sync { after, .. }) = conn
                .pending
                .iter_mut()
                .find(|pending| matches!(pending, Pending::Sync { after, .. } if *after == UNANSWERED))
        {
            *after = Zxid::ZERO;
            let shared = Arc::clone(&self.shared);
            self.settle(now, id, &shared.tree.read(), outputs);
        }
    }

    fn propose_request(&mut self, now: Now, request: &ClientRequest, outputs: &mut Outputs) -> Pending {
        let zxid = self.next_zxid();
        let prepared = {
            let tree = self.shared.tree.read();
            let tracker = self.shared.sessions.lock();
            let asked = PrepRequest {
                session: request.session,
                cxid: request.xid,
                op: request.op,
                body: &request.body,
                ids: &request.ids,
            };
            // Whoever has lost the session to another server has lost its connection, too.
            let sessions = Sessions {
                tracker: &tracker,
                owner: None,
                asking: Owner::Here,
                unknown: match &self.ensemble {
                    Ensemble::Alone(_) => ErrorCode::UnknownSession,
                    Ensemble::Member(_) => ErrorCode::SessionExpired,
                },
            };
            self.prep.prepare(&tree, &sessions, &asked, zxid, now.wall_ms)
        };
        let (xid, op, received) = (request.xid, request.op, request.received);
        match prepared {
            Prepared::Undecodable => self.refuse(now, request),
            Prepared::Txn { encoded, .. } => {
                if op == OpCode::CloseSession {
                    self.shared.sessions.lock().set_closing(request.session);
                }
                self.propose(now, encoded, outputs);
                Pending::Write {
                    zxid: Some(zxid),
                    xid,
                    op,
                    received,
                }
            }
        }
    }

    /// Hands a write to the leader. What comes of it is committed with the same session and xid.
    fn forward(&mut self, now: Now, request: &ClientRequest) -> Pending {
        if request.op == OpCode::Check || !prep::is_decodable(request.op, &request.body) {
            return self.refuse(now, request);
        }
        let forwarded = ForwardedRequest {
            session: request.session,
            cxid: request.xid,
            op: request.op.code(),
            body: request.body.clone(),
        };
        if let Ensemble::Member(member) = &mut self.ensemble
            && let Zab::Learning(learner) = &mut member.zab
        {
            learner.forward(&forwarded, Some(request.ids.to_vec()), &mut member.zab_outputs);
        }
        Pending::Write {
            zxid: None,
            xid: request.xid,
            op: request.op,
            received: request.received,
        }
    }

    fn refuse(&self, now: Now, request: &ClientRequest) -> Pending {
        self.log_refusal(now, request);
        Pending::Refused {
            error: ErrorCode::MarshallingError,
            xid: request.xid,
            op: request.op,
            received: request.received,
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

    /// The zxid of the next proposal. Only who leads may ask.
    pub(super) fn next_zxid(&self) -> Zxid {
        match &self.ensemble {
            Ensemble::Alone(broadcast) => broadcast.next_zxid(),
            Ensemble::Member(member) => match &member.zab {
                Zab::Leading(leader) => leader.next_zxid(),
                Zab::Looking | Zab::Learning(_) => unreachable!("only who leads gives out zxids"),
            },
        }
    }

    /// Proposes what was prepared for the next zxid.
    pub(super) fn propose(&mut self, now: Now, encoded: Vec<u8>, outputs: &mut Outputs) {
        let Ensemble::Alone(broadcast) = &mut self.ensemble else {
            return self.propose_as_leader(now, encoded);
        };
        let entry = LogEntry {
            zxid: broadcast.next_zxid(),
            encoded: Bytes::from(encoded),
        };
        broadcast.propose(entry.clone());
        self.append(entry, outputs);
    }

    /// The same where there are others: to them first, then to the own log.
    pub(super) fn propose_as_leader(&mut self, now: Now, encoded: Vec<u8>) {
        let Ensemble::Member(member) = &mut self.ensemble else {
            return;
        };
        let Zab::Leading(leader) = &mut member.zab else {
            return;
        };
        self.shared.proposal_size.record(encoded.len());
        let entry = LogEntry {
            zxid: leader.next_zxid(),
            encoded: Bytes::from(encoded),
        };
        leader.propose(now.mono, entry, &mut member.zab_outputs);
    }

    /// A connection has given up its session: what it has forwarded is not to be taken for the requests of
    /// the next one.
    pub(super) fn abandon(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(&id) else { return };
        let Ensemble::Member(member) = &mut self.ensemble else {
            return;
        };
        let forwarded = conn.pending.iter().filter_map(|pending| match pending {
            Pending::Write { zxid: None, xid, .. } => Some(*xid),
            Pending::Write { .. }
            | Pending::Connect { .. }
            | Pending::Read(_)
            | Pending::Sync { .. }
            | Pending::Refused { .. } => None,
        });
        let forwarded: Vec<i32> = forwarded.collect();
        if !forwarded.is_empty() {
            member
                .abandoned
                .entry(conn.session)
                .or_default()
                .extend(forwarded);
        }
    }

    /// Whether a transaction comes from a request of a connection that is gone.
    pub(super) fn is_abandoned(&mut self, session: SessionId, cxid: i32) -> bool {
        let Ensemble::Member(member) = &mut self.ensemble else {
            return false;
        };
        if member.abandoned.is_empty() {
            return false;
        }
        let Some(xids) = member.abandoned.get_mut(&session) else {
            return false;
        };
        let is_abandoned = xids.pop_front_if(|xid| *xid == cxid).is_some();
        if xids.is_empty() {
            member.abandoned.remove(&session);
        }
        is_abandoned
    }

    /// The session is over: nothing of it is waited for any more.
    pub(super) fn forget_abandoned(&mut self, session: SessionId) {
        if let Ensemble::Member(member) = &mut self.ensemble {
            member.abandoned.remove(&session);
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
