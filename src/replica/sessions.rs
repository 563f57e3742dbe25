//! Opening, renewing and ending sessions.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use super::member::Owner;
use super::{Conn, Ensemble, Outputs, Pending, Replica};
use crate::clock::{Millis, Now};
use crate::ids::{ConnId, SessionId, Zxid};
use crate::mutants::{self, Mutant};
use crate::proto::connect::{ConnectRequest, ConnectResponse};
use crate::proto::opcode::OpCode;
use crate::proto::quorum::ForwardedRequest;
use crate::session::password::{is_password, password};
use crate::shared::{ConnShared, Established};
use crate::zab::Zab;

impl Replica {
    /// Sessions that the log knows start a fresh timeout. Ephemerals of sessions that it does not know are
    /// left to `close_orphans`.
    pub(super) fn adopt_sessions(&mut self, now: Now) {
        let tree = self.shared.tree.read();
        let mut sessions = self.shared.sessions.lock();
        let heard = match mutants::is_on(Mutant::M12b) {
            true => Millis(0),
            false => now.mono,
        };
        for (session, timeout_ms) in tree.sessions() {
            sessions.add(*session, *timeout_ms, heard);
        }
    }

    /// Ends sessions that own ephemerals but are not known, as a log that was cut short can leave them.
    /// Called once, before clients are served.
    pub(super) fn close_orphans(&mut self, now: Now, outputs: &mut Outputs) {
        let owners = self.shared.tree.read().sessions_with_ephemerals();
        for (session, _) in owners {
            if !self.shared.sessions.lock().contains(session) {
                tracing::warn!(%session, "ephemerals of an unknown session are removed");
                self.propose_close(now, session, outputs);
            }
        }
    }

    pub(super) fn on_connect(
        &mut self,
        now: Now,
        conn: Arc<ConnShared>,
        request: &ConnectRequest,
        outputs: &mut Outputs,
    ) {
        let is_serving = self.shared.is_serving.load(Relaxed);
        // It was accepted under another role, which may have shown more than this one does.
        let is_ahead = request.last_zxid_seen > self.shared.tree.read().last_processed_zxid()
            && !mutants::is_on(Mutant::M14a);
        if !is_serving || is_ahead {
            conn.outbox.close();
            outputs.wake.push(conn);
            return self.forget_outstanding(1);
        }
        let id = conn.id;
        conn.touch(now.mono);
        let session = request.session_id;
        self.conns.insert(
            id,
            Conn {
                shared: conn,
                session,
                came_at: Zxid::ZERO,
                pending: VecDeque::new(),
            },
        );
        if request.session_id == SessionId(0) {
            self.open_session(now, id, request, outputs);
        } else if self.leads() {
            self.renew_session(now, id, request, outputs);
        } else {
            self.ask_leader(now, id, request, outputs);
        }
    }

    fn open_session(&mut self, now: Now, id: ConnId, request: &ConnectRequest, outputs: &mut Outputs) {
        let session = self.new_session_id();
        self.conn_of_session.insert(session, id);
        let zxid = match self.leads() {
            true => {
                self.set_owner(session, Owner::Here);
                let zxid = self.next_zxid();
                let (encoded, _) = {
                    let tree = self.shared.tree.read();
                    self.prep
                        .prepare_create_session(&tree, session, request.timeout_ms, zxid, now.wall_ms)
                };
                self.propose(now, encoded, outputs);
                Some(zxid)
            }
            false => {
                self.forward_create_session(session, request.timeout_ms);
                None
            }
        };
        let pending = Pending::Connect {
            zxid,
            timeout_ms: request.timeout_ms,
            read_only: request.read_only.map(|_| false),
        };
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.session = session;
            conn.pending.push_back(pending);
        }
    }

    fn new_session_id(&mut self) -> SessionId {
        let tree = self.shared.tree.read();
        let sessions = self.shared.sessions.lock();
        loop {
            let session = self.session_ids.next_id();
            let is_taken = sessions.contains(session)
                || tree.sessions().contains_key(&session)
                || self.conn_of_session.contains_key(&session);
            if !is_taken {
                return session;
            }
        }
    }

    fn forward_create_session(&mut self, session: SessionId, timeout_ms: i32) {
        let request = ForwardedRequest {
            session,
            cxid: 0,
            op: OpCode::CreateSession.code(),
            body: Bytes::copy_from_slice(&timeout_ms.to_be_bytes()),
        };
        if let Ensemble::Member(member) = &mut self.ensemble
            && let Zab::Learning(learner) = &mut member.zab
        {
            learner.forward(&request, None, &mut member.zab_outputs);
        }
    }

    /// The password is checked before anything happens to the connection that has the session now.
    fn renew_session(&mut self, now: Now, id: ConnId, request: &ConnectRequest, outputs: &mut Outputs) {
        let session = request.session_id;
        let is_known = {
            let mut sessions = self.shared.sessions.lock();
            let is_known = is_password(session, &request.passwd)
                && sessions.contains(session)
                && !sessions.is_closing(session);
            if is_known {
                sessions.set_timeout(session, request.timeout_ms, now.mono);
            }
            is_known
        };
        if !is_known {
            return self.refuse_session(now, id, request, outputs);
        }
        self.take_session_away(session, Owner::Here, outputs);
        self.renewed(now, id, request, outputs);
    }

    /// On a learner the leader knows which sessions are alive, and who has them.
    fn ask_leader(&mut self, now: Now, id: ConnId, request: &ConnectRequest, outputs: &mut Outputs) {
        let session = request.session_id;
        if !is_password(session, &request.passwd) {
            return self.refuse_session(now, id, request, outputs);
        }
        if let Ensemble::Member(member) = &mut self.ensemble
            && let Zab::Learning(learner) = &mut member.zab
        {
            learner.revalidate(session, request.timeout_ms, &mut member.zab_outputs);
            member.revalidating.push_back((session, id, request.clone()));
        }
    }

    /// The leader's word on a session. The questions about one session are answered in their order.
    pub(super) fn on_revalidated(
        &mut self,
        now: Now,
        session: SessionId,
        valid: bool,
        outputs: &mut Outputs,
    ) {
        let Ensemble::Member(member) = &mut self.ensemble else {
            return;
        };
        let asked = member.revalidating.iter().position(|(id, ..)| *id == session);
        let Some((_, id, request)) = asked.and_then(|at| member.revalidating.remove(at)) else {
            return;
        };
        if !self.conns.contains_key(&id) {
            return;
        }
        match valid {
            true => self.renewed(now, id, &request, outputs),
            false => self.refuse_session(now, id, &request, outputs),
        }
    }

    /// The connection has the session from here on, and another that had it is ended.
    fn renewed(&mut self, now: Now, id: ConnId, request: &ConnectRequest, outputs: &mut Outputs) {
        let session = request.session_id;
        if let Some(former) = self
            .conn_of_session
            .insert(session, id)
            .filter(|former| *former != id)
        {
            self.abandon(former);
            if let Some(former) = self.conns.get(&former) {
                former.shared.outbox.close();
                outputs.wake.push(Arc::clone(&former.shared));
            }
        }
        if let Ensemble::Member(member) = &self.ensemble
            && let Zab::Learning(learner) = &member.zab
            && let Some(conn) = self.conns.get_mut(&id)
        {
            conn.came_at = learner.last_received();
        }
        if let Some(held_back) = self.shared.line_limiters.renewed_sessions.admit(now.mono) {
            tracing::info!(%session, "session renewed{held_back}");
        }
        let read_only = request.read_only.map(|_| false);
        self.connected(id, session, request.timeout_ms, read_only, outputs);
    }

    fn refuse_session(&mut self, now: Now, id: ConnId, request: &ConnectRequest, outputs: &mut Outputs) {
        let Some(conn) = self.conns.get(&id) else { return };
        if let Some(held_back) = self.shared.line_limiters.refused_sessions.admit(now.mono) {
            tracing::info!(session = %request.session_id, peer = %conn.shared.peer,
                "session refused: unknown, expired, or a wrong password{held_back}");
        }
        let response = ConnectResponse {
            read_only: request.read_only.map(|_| false),
            ..ConnectResponse::default()
        };
        conn.shared.outbox.push_reply(|out| response.encode_frame(out));
        conn.shared.outbox.close();
        outputs.wake.push(Arc::clone(&conn.shared));
        self.forget_outstanding(1);
    }

    /// Answers a connect request: from here on the connection serves the session.
    pub(super) fn connected(
        &self,
        id: ConnId,
        session: SessionId,
        timeout_ms: i32,
        read_only: Option<bool>,
        outputs: &mut Outputs,
    ) {
        let Some(conn) = self.conns.get(&id) else { return };
        let established = Established {
            session_id: session,
            timeout_ms,
        };
        conn.shared.establish(established);
        let response = ConnectResponse {
            timeout_ms,
            session_id: session,
            passwd: password(session),
            read_only,
        };
        if conn
            .shared
            .outbox
            .push_connected(established, |out| response.encode_frame(out))
        {
            outputs.wake.push(Arc::clone(&conn.shared));
        }
        self.forget_outstanding(1);
    }

    /// Sessions live on without their connection, watches do not.
    pub(super) fn on_conn_closed(&mut self, id: ConnId) {
        self.shared.watches.remove_conn(id);
        let has_session = self
            .conns
            .get(&id)
            .is_some_and(|conn| self.conn_of_session.get(&conn.session) == Some(&id));
        if has_session {
            // Otherwise it was done when another connection took the session.
            self.abandon(id);
        }
        let Some(conn) = self.conns.remove(&id) else {
            return;
        };
        self.forget_outstanding(conn.pending.len() + self.forget_questions(id));
        if has_session {
            self.conn_of_session.remove(&conn.session);
            self.touch_as_learner(&conn);
            let mut sessions = self.shared.sessions.lock();
            if sessions.contains(conn.session) && !sessions.is_closing(conn.session) {
                sessions.touch(conn.session, conn.shared.last_heard());
            }
        }
    }

    /// Ends the sessions that were not heard of for their timeout. Requests only note the time on their
    /// connection; it is looked at here, once per session and timeout.
    pub(super) fn expire_sessions(&mut self, now: Now, outputs: &mut Outputs) {
        if self.is_behind(now) {
            return;
        }
        let due = self.shared.sessions.lock().due(now.mono);
        for session in due {
            if !self.leads() {
                return;
            }
            let conn = self
                .conn_of_session
                .get(&session)
                .and_then(|conn| self.conns.get(conn));
            let mut sessions = self.shared.sessions.lock();
            let timeout = Millis(sessions.timeout(session).unwrap_or(0).max(0) as u64);
            if let Some(heard) = conn.map(|conn| conn.shared.last_heard())
                && heard + timeout > now.mono
            {
                sessions.touch(session, heard);
                continue;
            }
            drop(sessions);
            if let Some(held_back) = self.shared.line_limiters.expired_sessions.admit(now.mono) {
                let timeout_ms = timeout.0;
                tracing::info!("Expiring session {session}, timeout of {timeout_ms}ms exceeded{held_back}");
            }
            self.shared.metrics.stale_sessions_expired.add(1);
            self.propose_close(now, session, outputs);
        }
    }

    /// Whether this process has stood still past a deadline, as one that was stopped or starved: what was
    /// heard from sessions meanwhile may still be on its way through it, and has a moment to come.
    fn is_behind(&mut self, now: Now) -> bool {
        let due = self.shared.sessions.lock().next_deadline();
        let late_since = due.map(|due| due.max(self.expiry_resumes_at) + STANDSTILL);
        if late_since.is_some_and(|at| now.mono > at) {
            self.expiry_resumes_at = now.mono + STANDSTILL;
        }
        now.mono < self.expiry_resumes_at
    }

    /// A connection that is gone no longer waits for the leader's word on its session. Says how many did.
    pub(super) fn forget_questions(&self, id: ConnId) -> usize {
        match &self.ensemble {
            Ensemble::Alone(_) => 0,
            // The entries stay: the leader's answers come in the order of the questions.
            Ensemble::Member(member) => {
                let asked = member.revalidating.iter();
                asked.filter(|(_, conn, _)| *conn == id).count()
            }
        }
    }

    /// A learner is asked which sessions are alive: those that were heard from since it was last asked.
    pub(super) fn tell_who_is_alive(&mut self, now: Now) {
        let Ensemble::Member(member) = &mut self.ensemble else {
            return;
        };
        if let Zab::Learning(_) = member.zab {
            self.conns.values().for_each(|conn| member.touch(&conn.shared));
            member.asked_at = now.mono;
        }
    }

    fn touch_as_learner(&mut self, conn: &Conn) {
        if let Ensemble::Member(member) = &mut self.ensemble {
            member.touch(&conn.shared);
        }
    }

    fn propose_close(&mut self, now: Now, session: SessionId, outputs: &mut Outputs) {
        self.shared.sessions.lock().set_closing(session);
        let zxid = self.next_zxid();
        let (encoded, _) =
            self.prep
                .prepare_close_session(&self.shared.tree.read(), session, zxid, now.wall_ms);
        self.propose(now, encoded, outputs);
    }
}

/// A deadline missed by more means that the process stood still; and how long it then waits for what is due.
const STANDSTILL: Millis = Millis(1000);
