//! What a connection does not let through, and what is said of it.

use super::{ClientConn, Next};
use crate::client::unserved::oversized_path;
use crate::clock::Now;
use crate::ids::Zxid;
use crate::proto::error_code::ErrorCode;
use crate::proto::frame::FrameError;
use crate::proto::request::RequestHeader;
use crate::proto::response::header_frame;
use crate::shared::Shared;

impl ClientConn {
    pub(super) fn refuse(&mut self, now: Now, header: RequestHeader, shared: &Shared) -> Next {
        if self.outstanding > 0 {
            return Next::Stall;
        }
        if let Some(held_back) = shared.line_limiters.refused_operations.admit(now.mono) {
            tracing::info!(peer = %self.shared.peer, session = %self.shared.session_id(), op = header.code,
                "closing a connection: clients may not send this operation{held_back}");
        }
        header_frame(&mut self.output, header.xid, Zxid(-1), ErrorCode::Unimplemented);
        Next::Close
    }

    /// Enforced authentication (AuthenticationHelper).
    pub(super) fn refuse_stranger(&mut self, now: Now, header: RequestHeader, shared: &Shared) -> Next {
        if self.outstanding > 0 {
            return Next::Stall;
        }
        if let Some(held_back) = shared.line_limiters.failed_auths.admit(now.mono) {
            tracing::warn!(peer = %self.shared.peer, session = %self.shared.session_id(),
                "closing a connection: enforce.auth.schemes asks for authentication{held_back}");
        }
        let error = ErrorCode::SessionClosedRequireSaslAuth;
        header_frame(&mut self.output, header.xid, Zxid::ZERO, error);
        Next::Close
    }

    /// Whether the rest of a large request is not to be waited for.
    pub(super) fn awaits_too_much(&self, now: Now, input: &[u8], shared: &Shared) -> bool {
        let config = &self.config.admission;
        if config.large_threshold.is_none() {
            return false;
        }
        let bytes = self.splitter.frame_bytes(input).unwrap_or(0);
        let is_refused = config.is_too_large(bytes, shared);
        if is_refused {
            self.refuse_large(now, bytes, shared);
        }
        is_refused
    }

    pub(super) fn refuse_large(&self, now: Now, bytes: usize, shared: &Shared) -> Next {
        shared.metrics.large_requests_rejected.add(1);
        if let Some(held_back) = shared.line_limiters.bad_frames.admit(now.mono) {
            let limit = self.config.admission.large_bytes_max;
            tracing::warn!(peer = %self.shared.peer, session = %self.shared.session_id(), bytes, limit,
                "closing a connection: its large request is over largeRequestMaxBytes{held_back}");
        }
        Next::Close
    }

    pub(super) fn on_bad_length(&self, now: Now, input: &[u8], shared: &Shared, error: &FrameError) -> Next {
        shared.metrics.large_requests_rejected.add(1);
        if let Some(held_back) = shared.line_limiters.bad_frames.admit(now.mono) {
            // A bad length is all that is wanted, so the rest of the frame is right behind it.
            let frame = input.get(self.splitter.bytes_wanted(input)..).unwrap_or_default();
            let path = oversized_path(frame);
            tracing::warn!(peer = %self.shared.peer, session = %self.shared.session_id(), path,
                "closing a connection: {error}{held_back}");
        }
        Next::Close
    }
}
