//! Sessions that only this server knows (LocalSessionTracker, UpgradeableSessionTracker): they cost no
//! transaction, end with the role of the server, and own no ephemerals unless they are made global first.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::member::Owner;
use super::{Conn, Ensemble, Outputs, Replica};
use crate::clock::{Millis, Now};
use crate::ids::{ConnId, SessionId};
use crate::proto::connect::ConnectRequest;
use crate::proto::error_code::ErrorCode;
use crate::proto::opcode::OpCode;
use crate::proto::request::Request;
use crate::session::password::is_password;
use crate::shared::ClientRequest;
use crate::zab::Zab;

/// What kind of session a member of an ensemble gives to new clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LocalSessions {
    /// One that the whole ensemble knows.
    #[default]
    Off,
    /// One that only the server knows, and that cannot create ephemerals (`localSessionsEnabled`).
    Kept,
    /// The same, but the first ephemeral makes it global (`localSessionsUpgradingEnabled`).
    Upgraded,
}

/// Of a leader: sessions that ended lately. A write that names one of them was under way, and comes from no
/// local session of a learner.
#[derive(Debug, Default)]
pub(super) struct Ended {
    order: VecDeque<(Millis, SessionId)>,
    sessions: BTreeSet<SessionId>,
}

impl Ended {
    fn add(&mut self, now: Millis, session: SessionId) {
        while let Some((at, oldest)) = self.order.front().copied()
            && at + ENDED_FOR < now
        {
            self.order.pop_front();
            self.sessions.remove(&oldest);
        }
        if self.sessions.insert(session) {
            self.order.push_back((now, session));
        }
    }
}

impl Replica {
    /// Whether new sessions are known to this server only.
    pub(super) fn opens_local_sessions(&self) -> bool {
        let is_member = matches!(self.ensemble, Ensemble::Member(_));
        is_member && (self.local_sessions != LocalSessions::Off || self.is_read_only())
    }

    /// Whether only this server knows the session.
    pub(super) fn is_local(&self, session: SessionId) -> bool {
        self.opens_local_sessions() && self.shared.local_sessions.lock().contains(session)
    }

    /// Opens a session at once.
    pub(super) fn open_local_session(
        &mut self,
        now: Now,
        id: ConnId,
        request: &ConnectRequest,
        outputs: &mut Outputs,
    ) {
        let session = self.new_session_id();
        self.conn_of_session.insert(session, id);
        let mut sessions = self.shared.local_sessions.lock();
        sessions.add(session, request.timeout_ms, now.mono);
        drop(sessions);
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.session = session;
        }
        let read_only = request.read_only.map(|_| self.is_read_only());
        self.connected(id, session, request.timeout_ms, read_only, outputs);
    }

    /// Goes on with a session of this server. One that is not is left to others.
    pub(super) fn renew_local_session(
        &mut self,
        now: Now,
        id: ConnId,
        request: &ConnectRequest,
        outputs: &mut Outputs,
    ) {
        let session = request.session_id;
        let is_allowed = {
            let mut sessions = self.shared.local_sessions.lock();
            let is_allowed = is_password(session, &request.passwd) && !sessions.is_closing(session);
            if is_allowed {
                sessions.set_timeout(session, request.timeout_ms, now.mono);
            }
            is_allowed
        };
        match is_allowed {
            true => self.renewed(now, id, request, outputs),
            false => self.refuse_session(now, id, request, outputs),
        }
    }

    /// The connection of a local session is gone.
    pub(super) fn leave_local_session(&self, conn: &Conn) {
        let mut sessions = self.shared.local_sessions.lock();
        if sessions.is_closing(conn.session) {
            // Its end waited behind a write.
            sessions.remove(conn.session);
        } else {
            sessions.touch(conn.session, conn.shared.last_heard());
        }
    }

    /// The end of a local session has been answered.
    pub(super) fn end_local_session(&mut self, session: SessionId, outputs: &mut Outputs) {
        self.shared.local_sessions.lock().remove(session);
        self.drop_session(session, outputs);
    }

    /// Ends the local sessions that were not heard of for their timeout.
    pub(super) fn expire_local_sessions(&mut self, now: Now, outputs: &mut Outputs) {
        let due = self.shared.local_sessions.lock().due(now.mono);
        for session in due {
            let shared = Arc::clone(&self.shared);
            if self.has_expired(now, &mut shared.local_sessions.lock(), session) {
                self.end_local_session(session, outputs);
            }
        }
    }

    /// Before a write of a local session: one that creates an ephemeral makes the session global, if that is
    /// allowed. Says what ephemerals are refused with otherwise.
    pub(super) fn before_local_write(
        &mut self,
        now: Now,
        request: &ClientRequest,
        outputs: &mut Outputs,
    ) -> Option<ErrorCode> {
        if !self.is_local(request.session) || !creates_ephemeral(request.op, &request.body) {
            return None;
        }
        if self.local_sessions != LocalSessions::Upgraded {
            return Some(ErrorCode::EphemeralOnLocalSession);
        }
        self.upgrade_session(now, request.session, outputs);
        None
    }

    /// Makes a session of this server one of the ensemble, with the same id and timeout.
    fn upgrade_session(&mut self, now: Now, session: SessionId, outputs: &mut Outputs) {
        let mut sessions = self.shared.local_sessions.lock();
        let timeout_ms = sessions.timeout(session).unwrap_or_default();
        sessions.remove(session);
        drop(sessions);
        tracing::info!("Upgrading session {session}");
        if !self.leads() {
            return self.forward_create_session(session, timeout_ms);
        }
        self.set_owner(session, Owner::Here);
        // What is prepared behind it finds the session.
        self.shared.sessions.lock().add(session, timeout_ms, now.mono);
        let zxid = self.next_zxid();
        let (encoded, _) = {
            let tree = self.shared.tree.read();
            self.prep
                .prepare_create_session(&tree, session, timeout_ms, zxid, now.wall_ms)
        };
        self.propose(now, encoded, outputs);
    }

    /// A global session has ended.
    pub(super) fn note_end(&mut self, now: Now, session: SessionId) {
        if self.opens_local_sessions() {
            self.ended.add(now.mono, session);
        }
    }

    /// Whether a session that the leader does not know may be one that only a learner knows
    /// (LeaderSessionTracker.checkSession).
    pub(super) fn may_be_local_elsewhere(&self, session: SessionId) -> bool {
        let is_of_this_server = server_of(session) == self.server_id.0 as u8;
        self.opens_local_sessions() && !is_of_this_server && !self.ended.sessions.contains(&session)
    }

    /// A learner tells its leader of the sessions that the leader knows.
    pub(super) fn touch_global_sessions(&mut self) {
        let Ensemble::Member(member) = &mut self.ensemble else {
            return;
        };
        let Zab::Learning(_) = member.zab else { return };
        let local = self.shared.local_sessions.lock();
        let conns = self.conns.values();
        conns
            .filter(|conn| !local.contains(conn.session))
            .for_each(|conn| member.touch(&conn.shared));
    }
}

/// The server that has given out the id.
fn server_of(session: SessionId) -> u8 {
    (session.0 >> 56) as u8
}

/// Whether a write needs a session that the ensemble knows (QuorumZooKeeperServer.checkUpgradeSession):
/// ephemerals of containers and of nodes with a time to live are not looked for.
fn creates_ephemeral(op: OpCode, body: &[u8]) -> bool {
    if !matches!(op, OpCode::Create | OpCode::Create2 | OpCode::Multi) {
        return false;
    }
    let Ok(request) = Request::decode(op, body) else {
        return false;
    };
    let is_ephemeral = |request: &Request<'_>| {
        let Request::Create(create) = request else {
            return false;
        };
        matches!(create.op, OpCode::Create | OpCode::Create2) && matches!(create.flags, 1 | 3)
    };
    if let Request::Multi(operations) = &request {
        return operations.iter().any(|operation| is_ephemeral(&operation));
    }
    is_ephemeral(&request)
}

/// How long a session that ended is remembered: longer than anything that names it can be under way.
const ENDED_FOR: Millis = Millis(60_000);
