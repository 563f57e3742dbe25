//! Opening, renewing and ending sessions.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use super::member::{Asker, Owner};
use super::{Conn, Ensemble, Outputs, Pending, Replica};
use crate::clock::{Millis, Now};
use crate::ids::{ConnId, SessionId, Zxid};
use crate::mutants::{self, Mutant};
use crate::proto::connect::{ConnectRequest, ConnectResponse};
use crate::proto::opcode::OpCode;
use crate::proto::quorum::ForwardedRequest;
use crate::session::password::{is_password, password};
use crate::session::tracker::SessionTracker;
use crate::shared::{ConnShared, Established};
use crate::zab::{LinkId, Zab};

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
        let is_serving =
            self.shared.is_serving.load(Relaxed) || self.is_read_only() && request.read_only == Some(true);
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
        let conn = Conn {
            shared: conn,
            session,
            came_at: Zxid::ZERO,
            pending: VecDeque::new(),
        };
        self.conns.insert(id, Box::new(conn));
        if request.session_id == SessionId(0) && self.opens_local_sessions() {
            self.open_local_session(now, id, request, outputs);
        } else if request.session_id == SessionId(0) {
            self.open_session(now, id, request, outputs);
        } else if self.is_local(session) {
            self.renew_local_session(now, id, request, outputs);
        } else if self.is_read_only() {
            self.connect_read_only(now, id, request, outputs);
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

    pub(super) fn new_session_id(&mut self) -> SessionId {
        let tree = self.shared.tree.read();
        loop {
            let session = self.session_ids.next_id();
            let is_taken = tree.sessions().contains_key(&session)
                || self.conn_of_session.contains_key(&session)
                || self.shared.sessions.lock().contains(session)
                || self.shared.local_sessions.lock().contains(session);
            if !is_taken {
                return session;
            }
        }
    }

    pub(super) fn forward_create_session(&mut self, session: SessionId, timeout_ms: i32) {
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
        let asker = Asker::Client(id, request.clone());
        self.ask_about(session, request.timeout_ms, asker, outputs);
    }

    /// Asks the leader whether a session lives. A client of this server, or of an observer behind it, goes on
    /// with it.
    pub(super) fn ask_about(
        &mut self,
        session: SessionId,
        timeout_ms: i32,
        asker: Asker,
        outputs: &mut Outputs,
    ) {
        // The question gives the session to this server. What its former connection still holds back would
        // come to the leader behind that, and be done even if the client has meanwhile gone on elsewhere
        // (ZooKeeperServer.processConnectRequest ends that connection here, too). So would what an observer
        // behind this server still forwards.
        self.drop_session(session, outputs);
        let owner = match &asker {
            Asker::Client(..) => Owner::Here,
            Asker::Observer { link, .. } => Owner::Learner(*link),
        };
        self.take_from_observers(session, owner);
        if let Ensemble::Member(member) = &mut self.ensemble
            && let Zab::Learning(learner) = &mut member.zab
        {
            learner.revalidate(session, timeout_ms, &mut member.zab_outputs);
            member.revalidating.push_back((session, asker));
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
        let asked = member.revalidating.iter().position(|(id, _)| *id == session);
        let Some((_, asker)) = asked.and_then(|at| member.revalidating.remove(at)) else {
            return;
        };
        let (id, request) = match asker {
            Asker::Client(id, request) => (id, request),
            Asker::Observer { link, timeout_ms } => {
                return self.answer_observer(link, session, timeout_ms, valid, outputs);
            }
        };
        if valid {
            self.take_from_observers(session, Owner::Here);
        }
        if !self.conns.contains_key(&id) {
            return;
        }
        match valid {
            true => self.renewed(now, id, &request, outputs),
            false => self.refuse_session(now, id, &request, outputs),
        }
    }

    /// The connection has the session from here on, and another that had it is ended.
    pub(super) fn renewed(&mut self, now: Now, id: ConnId, request: &ConnectRequest, outputs: &mut Outputs) {
        let session = request.session_id;
        self.drop_session(session, outputs);
        self.conn_of_session.insert(session, id);
        if let Ensemble::Member(member) = &self.ensemble
            && let Zab::Learning(learner) = &member.zab
            && let Some(conn) = self.conns.get_mut(&id)
        {
            conn.came_at = learner.last_received();
        }
        if let Some(held_back) = self.shared.line_limiters.renewed_sessions.admit(now.mono) {
            tracing::info!(%session, "session renewed{held_back}");
        }
        let read_only = request.read_only.map(|_| self.is_read_only());
        self.connected(id, session, request.timeout_ms, read_only, outputs);
    }

    pub(super) fn refuse_session(
        &mut self,
        now: Now,
        id: ConnId,
        request: &ConnectRequest,
        outputs: &mut Outputs,
    ) {
        let Some(conn) = self.conns.get(&id) else { return };
        if let Some(held_back) = self.shared.line_limiters.refused_sessions.admit(now.mono) {
            tracing::info!(session = %request.session_id, peer = %conn.shared.peer,
                "session refused: unknown, expired, or a wrong password{held_back}");
        }
        let response = ConnectResponse {
            read_only: request.read_only.map(|_| self.is_read_only()),
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
            .push_connected(|out| response.encode_frame(out))
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
            if self.is_local(conn.session) {
                return self.leave_local_session(&conn);
            }
            self.touch_as_learner(&conn);
            let mut sessions = self.shared.sessions.lock();
            if sessions.contains(conn.session) && !sessions.is_closing(conn.session) {
                sessions.touch(conn.session, conn.shared.last_heard());
            }
        }
    }

    /// When a session that this server sees to is due next.
    pub(super) fn session_due(&self) -> Option<Millis> {
        let global = match self.leads() {
            true => self.shared.sessions.lock().next_deadline(),
            false => None,
        };
        let local = match self.opens_local_sessions() {
            true => self.shared.local_sessions.lock().next_deadline(),
            false => None,
        };
        [global, local].into_iter().flatten().min()
    }

    /// Ends the sessions that were not heard of for their timeout. Requests only note the time on their
    /// connection; it is looked at here, once per session and timeout.
    pub(super) fn expire_sessions(&mut self, now: Now, outputs: &mut Outputs) {
        if self.is_behind(now) {
            return;
        }
        if self.opens_local_sessions() {
            self.expire_local_sessions(now, outputs);
        }
        if !self.leads() {
            return;
        }
        let due = self.shared.sessions.lock().due(now.mono);
        for session in due {
            if !self.leads() {
                return;
            }
            let shared = Arc::clone(&self.shared);
            if self.has_expired(now, &mut shared.sessions.lock(), session) {
                self.propose_close(now, session, outputs);
            }
        }
    }

    /// Whether nothing was heard of a session that is due; if something was, it is touched.
    pub(super) fn has_expired(&self, now: Now, sessions: &mut SessionTracker, session: SessionId) -> bool {
        let conn = self
            .conn_of_session
            .get(&session)
            .and_then(|conn| self.conns.get(conn));
        let timeout = Millis(sessions.timeout(session).unwrap_or(0).max(0) as u64);
        if let Some(heard) = conn.map(|conn| conn.shared.last_heard())
            && heard + timeout > now.mono
        {
            sessions.touch(session, heard);
            return false;
        }
        if let Some(held_back) = self.shared.line_limiters.expired_sessions.admit(now.mono) {
            let timeout_ms = timeout.0;
            tracing::info!("Expiring session {session}, timeout of {timeout_ms}ms exceeded{held_back}");
        }
        self.shared.metrics.stale_sessions_expired.add(1);
        true
    }

    /// Whether this process has stood still past a deadline, as one that was stopped or starved: what was
    /// heard from sessions meanwhile may still be on its way through it, and has a moment to come.
    fn is_behind(&mut self, now: Now) -> bool {
        let late_since = self
            .session_due()
            .map(|due| due.max(self.expiry_resumes_at) + STANDSTILL);
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
                asked
                    .filter(|(_, asker)| matches!(asker, Asker::Client(conn, _) if *conn == id))
                    .count()
            }
        }
    }

    /// A learner is asked which sessions are alive: those that were heard from since it was last asked.
    pub(super) fn tell_who_is_alive(&mut self, now: Now, asking: LinkId) {
        let is_asked = match &self.ensemble {
            Ensemble::Alone(_) => false,
            Ensemble::Member(member) => match &member.zab {
                Zab::Learning(learner) => learner.is_from_leader(asking),
                Zab::Looking | Zab::Leading(_) => false,
            },
        };
        if !is_asked {
            return;
        }
        self.touch_global_sessions();
        if let Ensemble::Member(member) = &mut self.ensemble {
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
