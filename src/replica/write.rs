//! From a client's request to a proposal, or to the leader.

use std::sync::Arc;

use bytes::Bytes;

use super::member::Owner;
use super::{Ensemble, Input, Outputs, Pending, Replica, UNANSWERED};
use crate::clock::Now;
use crate::ids::{ConnId, SessionId, Zxid};
use crate::mutants::{self, Mutant};
use crate::prep::{self, PrepRequest, Prepared, ReconfigRequest, SessionCheck};
use crate::proto::error_code::ErrorCode;
use crate::proto::opcode::OpCode;
use crate::proto::quorum::ForwardedRequest;
use crate::quorum::configs::Config;
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
    /// (LeaderSessionTracker.checkSession). `None` for one that may be known to its own server only.
    pub unknown: Option<ErrorCode>,
    /// What an ephemeral is refused with whose session the ensemble does not know.
    pub not_global: ErrorCode,
}

impl SessionCheck for Sessions<'_> {
    fn check(&self, session: SessionId) -> Option<ErrorCode> {
        match self.tracker.closing(session) {
            None => return self.unknown,
            Some(true) => return Some(ErrorCode::SessionExpired),
            Some(false) => {}
        }
        let is_elsewhere = self.owner.is_some_and(|owner| owner != self.asking);
        (is_elsewhere && !mutants::is_on(Mutant::M14b)).then_some(ErrorCode::SessionMoved)
    }

    fn check_global(&self, session: SessionId) -> Option<ErrorCode> {
        match self.tracker.contains(session) {
            true => self.check(session),
            false => Some(self.not_global),
        }
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
        let pending = if self.is_read_only() && request.op.needs_leader() {
            Pending::Refused {
                error: ErrorCode::NotReadOnly,
                zxid: None,
                xid: request.xid,
                op: request.op,
                received: request.received,
            }
        } else if request.op == OpCode::Sync {
            self.sync_requested(&request)
        } else if request.op == OpCode::CloseSession && self.is_local(request.session) {
            self.shared.local_sessions.lock().set_closing(request.session);
            Pending::End {
                xid: request.xid,
                received: request.received,
            }
        } else if !request.op.is_write() {
            Pending::Read(request)
        } else if let Some(error) = self.refuse_early(&request) {
            Pending::Refused {
                error,
                zxid: Some(Zxid::ZERO),
                xid: request.xid,
                op: request.op,
                received: request.received,
            }
        } else if self.leads() {
            self.propose_request(now, &request, outputs)
        } else {
            self.forward(now, &request, outputs)
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
    pub(super) fn takes_requests(&self) -> bool {
        match &self.ensemble {
            Ensemble::Alone(_) => true,
            Ensemble::Member(member) => {
                let is_serving = self.is_active() || self.is_read_only();
                is_serving && member.handing_over.is_none() && !member.is_leaving()
            }
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
        let refusal = self.before_local_write(now, request, outputs);
        let is_local = self.is_local(request.session);
        let zxid = self.next_zxid();
        let mut config = None;
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
                    Ensemble::Alone(_) => Some(ErrorCode::UnknownSession),
                    Ensemble::Member(_) => Some(ErrorCode::SessionExpired).filter(|_| !is_local),
                },
                not_global: refusal.unwrap_or(ErrorCode::SessionExpired),
            };
            match self.reconfig {
                Some(rules) if request.op == OpCode::Reconfig => {
                    let judge = |asked: &ReconfigRequest| {
                        let judged = config.insert(self.ensemble.judge(asked, rules, zxid)?);
                        Ok(judged.text().clone())
                    };
                    let time = now.wall_ms;
                    self.prep
                        .prepare_reconfig(&tree, &sessions, &asked, zxid, time, judge)
                }
                Some(_) | None => self.prep.prepare(&tree, &sessions, &asked, zxid, now.wall_ms),
            }
        };
        self.report_exceeded(now);
        let (xid, op, received) = (request.xid, request.op, request.received);
        match prepared {
            Prepared::Undecodable => self.refuse(now, request),
            Prepared::Txn { encoded, error, .. } => {
                if op == OpCode::CloseSession {
                    self.shared.sessions.lock().set_closing(request.session);
                }
                match config.filter(|_| error.is_none()) {
                    Some(config) => self.propose_config(now, encoded, config),
                    None => self.propose(now, encoded, outputs),
                }
                Pending::Write {
                    zxid: Some(zxid),
                    xid,
                    op,
                    received,
                    error: None,
                }
            }
        }
    }

    /// Tells the operators which limits were gone over by what was prepared last.
    pub(super) fn report_exceeded(&mut self, now: Now) {
        for exceeded in self.prep.take_exceeded() {
            if exceeded.is_hard {
                let counters = &self.shared.metrics.quota_exceeded_error_per_namespace;
                counters.add(&exceeded.namespace, 1);
            }
            if let Some(held_back) = self.shared.line_limiters.exceeded_quotas.admit(now.mono) {
                tracing::warn!("{exceeded}{held_back}");
            }
        }
    }

    /// Hands a write to the leader. What comes of it is committed with the same session and xid.
    fn forward(&mut self, now: Now, request: &ClientRequest, outputs: &mut Outputs) -> Pending {
        if request.op == OpCode::Check || !prep::is_decodable(request.op, &request.body) {
            return self.refuse(now, request);
        }
        let error = self.before_local_write(now, request, outputs);
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
            error,
        }
    }

    fn refuse(&self, now: Now, request: &ClientRequest) -> Pending {
        self.log_refusal(now, request);
        Pending::Refused {
            error: ErrorCode::MarshallingError,
            zxid: None,
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

    /// The same for a transaction that makes this the configuration.
    pub(super) fn propose_config(&mut self, now: Now, encoded: Vec<u8>, config: Config) {
        let Ensemble::Member(member) = &mut self.ensemble else {
            return;
        };
        let Zab::Leading(leader) = &mut member.zab else {
            return;
        };
        let entry = LogEntry {
            zxid: leader.next_zxid(),
            encoded: Bytes::from(encoded),
        };
        leader.propose_config(now.mono, entry, config, &mut member.zab_outputs);
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
            | Pending::End { .. }
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
