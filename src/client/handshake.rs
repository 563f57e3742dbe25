//! What a connection says before it has a session, and how it says who it is.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::conn::{ClientConn, Submit};
use crate::auth::authenticate;
use crate::clock::Now;
use crate::ids::{SessionId, Zxid};
use crate::mutants::{self, Mutant};
use crate::proto::acl::Id;
use crate::proto::connect::ConnectRequest;
use crate::proto::error_code::ErrorCode;
use crate::proto::opcode::OpCode;
use crate::proto::request::Request;
use crate::proto::response::header_frame;
use crate::session::ConnectKind;
use crate::shared::Shared;
use crate::tree::DataTree;

impl ClientConn {
    /// Looks at a connect request in the order of ZooKeeperServer.processConnectRequest. `None` means that
    /// the connection is closed without an answer.
    pub(super) fn connect_request(
        &self,
        now: Now,
        payload: &[u8],
        shared: &Shared,
        tree: &DataTree,
    ) -> Option<Submit> {
        let mut request = match ConnectRequest::decode(payload) {
            Ok(request) => request,
            Err(error) => {
                tracing::debug!(peer = %self.shared().peer, %error, "not a connect request");
                return None;
            }
        };
        if !self.is_admitted(now, request.session_id, shared) {
            return None;
        }
        shared.metrics.connection_request_count.add(1);
        let is_read_only = shared.is_read_only.load(Relaxed);
        if !shared.is_serving.load(Relaxed) && !is_read_only {
            return None;
        }
        if is_read_only && request.read_only != Some(true) {
            if let Some(held_back) = shared.line_limiters.refused_sessions.admit(now.mono) {
                tracing::info!(peer = %self.shared().peer,
                    "refusing a client that wants more than a read-only server{held_back}");
            }
            return None;
        }
        let last_zxid = tree.last_processed_zxid();
        if request.last_zxid_seen > last_zxid && !mutants::is_on(Mutant::M14a) {
            if let Some(held_back) = shared.line_limiters.refused_sessions.admit(now.mono) {
                tracing::info!(peer = %self.shared().peer, seen = %request.last_zxid_seen, %last_zxid,
                    "refusing a client that has seen a later zxid; it must try another server{held_back}");
            }
            return None;
        }
        request.timeout_ms = request.timeout_ms.clamp(
            self.config().session_timeout_min_ms,
            self.config().session_timeout_max_ms,
        );
        if request.session_id == SessionId(0) {
            request.passwd.clear();
        }
        Some(Submit::Connect(request))
    }

    /// Whether the connection throttle lets the request through.
    fn is_admitted(&self, now: Now, session: SessionId, shared: &Shared) -> bool {
        let kind = match session {
            SessionId(0) if self.config().opens_local_sessions => ConnectKind::Local,
            SessionId(0) => ConnectKind::Global,
            _ => ConnectKind::Renewal,
        };
        let mut throttle = shared.connection_throttle.lock();
        let is_admitted = throttle.admit(now.mono, kind);
        let deficit = throttle.deficit();
        drop(throttle);
        if is_admitted {
            shared.metrics.connection_token_deficit.record(deficit);
            return true;
        }
        shared.metrics.connection_rejected.add(1);
        if let Some(held_back) = shared.line_limiters.refused_connections.admit(now.mono) {
            tracing::warn!(peer = %self.shared().peer,
                "refusing a client: too many connect requests (connection_throttle_tokens){held_back}");
        }
        false
    }

    /// Answers an auth packet. False when the connection is to be closed behind the reply, or without one.
    pub(super) fn authenticate(
        &mut self,
        now: Now,
        xid: i32,
        body: &[u8],
        shared: &Shared,
        out: &mut Vec<u8>,
    ) -> bool {
        let Ok(Request::Auth(request)) = Request::decode(OpCode::Auth, body) else {
            return false;
        };
        match authenticate(&self.config().auth, self.shared().peer.ip(), &request) {
            Ok(added) => {
                self.add_ids(added);
                header_frame(out, xid, Zxid::ZERO, ErrorCode::Ok);
                true
            }
            Err(error) => {
                if let Some(held_back) = shared.line_limiters.failed_auths.admit(now.mono) {
                    let scheme: String = request
                        .scheme
                        .iter()
                        .flat_map(|scheme| scheme.chars())
                        .take(SCHEME_CHARS_MAX)
                        .collect();
                    tracing::warn!(peer = %self.shared().peer, session = %self.shared().session_id(), scheme,
                        "authentication failed, closing the connection{held_back}");
                }
                shared.stats.auth_failed.fetch_add(1, Relaxed);
                header_frame(out, xid, Zxid::ZERO, error);
                false
            }
        }
    }

    fn add_ids(&mut self, added: Vec<Id>) {
        let mut ids = self.ids().to_vec();
        for id in added {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        self.set_ids(Arc::from(ids));
    }
}

/// What a log line shows of a scheme, which a client may make as long as a frame.
const SCHEME_CHARS_MAX: usize = 32;
