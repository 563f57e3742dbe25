//! Opening, renewing and ending sessions.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Conn, Outputs, Pending, Replica};
use crate::clock::{Millis, Now};
use crate::ids::{ConnId, SessionId};
use crate::proto::connect::{ConnectRequest, ConnectResponse};
use crate::session::password::{is_password, password};
use crate::shared::{ConnShared, Established};

impl Replica {
    /// Sessions that the log knows start a fresh timeout. Ephemerals of sessions that it does not know are
    /// left to `close_orphans`.
    pub(super) fn adopt_sessions(&mut self, now: Now) {
        let tree = self.shared.tree.read();
        let mut sessions = self.shared.sessions.lock();
        for (session, timeout_ms) in tree.sessions() {
            sessions.add(*session, *timeout_ms, now.mono);
        }
    }

    /// Ends sessions that own ephemerals but are not known, as a log that was cut short can leave them.
    /// Called once, before clients are served.
    pub fn close_orphans(&mut self, now: Now, outputs: &mut Outputs) {
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
        let id = conn.id;
        conn.touch(now.mono);
        let session = request.session_id;
        self.conns.insert(
            id,
            Conn {
                shared: conn,
                session,
                pending: VecDeque::new(),
            },
        );
        if request.session_id == SessionId(0) {
            self.open_session(now, id, request, outputs);
        } else {
            self.renew_session(now, id, request, outputs);
        }
    }

    fn open_session(&mut self, now: Now, id: ConnId, request: &ConnectRequest, outputs: &mut Outputs) {
        let zxid = self.broadcast.next_zxid();
        let (session, encoded) = {
            let tree = self.shared.tree.read();
            let sessions = self.shared.sessions.lock();
            let session = loop {
                let session = self.session_ids.next_id();
                if !sessions.contains(session) && !self.conn_of_session.contains_key(&session) {
                    break session;
                }
            };
            self.conn_of_session.insert(session, id);
            let (encoded, _) =
                self.prep
                    .prepare_create_session(&tree, session, request.timeout_ms, zxid, now.wall_ms);
            (session, encoded)
        };
        self.propose(encoded, outputs);
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
        if let Some(former) = self
            .conn_of_session
            .insert(session, id)
            .and_then(|conn| self.conns.get(&conn))
        {
            former.shared.outbox.close();
            outputs.wake.push(Arc::clone(&former.shared));
        }
        if let Some(held_back) = self.shared.line_limiters.renewed_sessions.admit(now.mono) {
            tracing::info!(%session, "session renewed{held_back}");
        }
        self.connected(
            id,
            session,
            request.timeout_ms,
            request.read_only.map(|_| false),
            outputs,
        );
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
        let Some(conn) = self.conns.remove(&id) else {
            return;
        };
        self.forget_outstanding(conn.pending.len());
        if self.conn_of_session.get(&conn.session) == Some(&id) {
            self.conn_of_session.remove(&conn.session);
            let mut sessions = self.shared.sessions.lock();
            if sessions.contains(conn.session) && !sessions.is_closing(conn.session) {
                sessions.touch(conn.session, conn.shared.last_heard());
            }
        }
    }

    /// Ends the sessions that were not heard of for their timeout. Requests only note the time on their
    /// connection; it is looked at here, once per session and timeout.
    pub(super) fn expire_sessions(&mut self, now: Now, outputs: &mut Outputs) {
        let due = self.shared.sessions.lock().due(now.mono);
        for session in due {
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

    fn propose_close(&mut self, now: Now, session: SessionId, outputs: &mut Outputs) {
        self.shared.sessions.lock().set_closing(session);
        let zxid = self.broadcast.next_zxid();
        let (encoded, _) =
            self.prep
                .prepare_close_session(&self.shared.tree.read(), session, zxid, now.wall_ms);
        self.propose(encoded, outputs);
    }
}
