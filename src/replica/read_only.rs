//! A member without a leader that shows what it has to those who ask for no more (ReadOnlyZooKeeperServer).
//!
//! It shows what is committed. What it has logged beside that goes to its tree with its next role only, when
//! nobody is shown anything. A process that has just started cannot tell one from the other; like Apache's,
//! it shows all that its log holds.

use std::sync::atomic::Ordering::Relaxed;

use super::member::Image;
use super::{Ensemble, Outputs, Replica};
use crate::clock::{Millis, Now};
use crate::ids::ConnId;
use crate::proto::connect::ConnectRequest;

impl Replica {
    /// Whether clients are served without a leader.
    pub(super) fn is_read_only(&self) -> bool {
        self.shared.is_read_only.load(Relaxed)
    }

    /// A search for a leader begins: after a while without one, clients may read.
    pub(super) fn await_read_only(&mut self, now: Now) {
        self.read_only_at = self.read_only_after.map(|after| now.mono + after);
    }

    /// Begins to serve read-only, if it is time.
    pub(super) fn try_read_only(&mut self, now: Now) {
        if self.read_only_at.is_none_or(|at| at > now.mono) {
            return;
        }
        self.read_only_at = None;
        let Ensemble::Member(member) = &self.ensemble else {
            return;
        };
        // A state that is about to be replaced, or that lacks something, is not shown.
        let is_whole = !member.is_damaged && !member.needs_snapshot;
        let is_settled = member.replacement.is_none() && matches!(member.image, Image::None);
        if member.rest.is_none() || !is_whole {
            return;
        }
        if !is_settled {
            self.read_only_at = Some(now.mono + RETRY);
            return;
        }
        self.shared.is_read_only.store(true, Relaxed);
        tracing::warn!("no leader is found: serving read-only clients, with what this server has");
        self.publish();
    }

    /// There may be a leader again, or the server ends: its clients go and find out.
    pub(super) fn end_read_only(&mut self, outputs: &mut Outputs) {
        self.read_only_at = None;
        if self.shared.is_read_only.swap(false, Relaxed) {
            tracing::info!("no longer serving read-only clients");
            self.close_conns(outputs);
            self.shared.local_sessions.lock().clear();
        }
    }

    /// Sessions of a server without a leader are its own: those of the ensemble can neither be kept alive nor
    /// ended here, so their clients are sent away; others that it does not know are over.
    pub(super) fn connect_read_only(
        &mut self,
        now: Now,
        id: ConnId,
        request: &ConnectRequest,
        outputs: &mut Outputs,
    ) {
        let session = request.session_id;
        if !self.shared.tree.read().sessions().contains_key(&session) {
            return self.refuse_session(now, id, request, outputs);
        }
        let Some(conn) = self.conns.remove(&id) else {
            return;
        };
        if let Some(held_back) = self.shared.line_limiters.refused_sessions.admit(now.mono) {
            tracing::info!(%session, peer = %conn.shared.peer,
                "refusing a session of the ensemble while this server is read-only{held_back}");
        }
        conn.shared.outbox.close();
        outputs.wake.push(conn.shared);
        self.forget_outstanding(1);
    }
}

/// How soon it is tried again where the state is not settled yet.
const RETRY: Millis = Millis(500);
