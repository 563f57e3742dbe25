//! What a follower does for the observers behind it (ObserverMaster,
//! FollowerZooKeeperServer.processObserverRequest): passes on what they ask of the leader, and brings the
//! answers back.
//!
//! To the leader all sessions behind a follower are that follower's. So it is the follower that knows when
//! one of them goes from an observer to another or to itself, and sees to it that nothing of it comes from
//! where it was.

use bytes::Bytes;

use super::learner_requests::Forwarded;
use super::member::{Member, Owner};
use super::{Ensemble, Outputs, Replica};
use crate::clock::Now;
use crate::ids::SessionId;
use crate::prep;
use crate::proto::opcode::OpCode;
use crate::proto::quorum::ForwardedRequest;
use crate::zab::{LinkId, Masters, Zab};

impl Replica {
    /// An observer's request goes on to the leader, and what comes of it comes back as a commit.
    pub(super) fn relay(&mut self, request: Forwarded) {
        let Ensemble::Member(member) = &mut self.ensemble else {
            return;
        };
        let Zab::Learning(learner) = &member.zab else {
            return;
        };
        let op = OpCode::from_code(request.op);
        let asking = Owner::Learner(request.from);
        let owner = member.owners.entry(request.session).or_insert(asking);
        if op == Some(OpCode::CreateSession) {
            *owner = asking;
        }
        let has_moved = *owner != asking;
        let is_good = op.is_some_and(|op| is_good(op, &request.body));
        let mut passed_on = ForwardedRequest {
            session: request.session,
            cxid: request.cxid,
            op: request.op,
            body: request.body,
        };
        // One of ours refuses what it is to refuse. Apache's would do it, or stand still over it: the
        // observer gets an error for something else instead, as it has to get a transaction.
        if (has_moved || !is_good) && !learner.is_leader_zkserver() {
            passed_on.op = OpCode::SetData.code();
            passed_on.body = Bytes::from_static(SET_DATA_OF_NOTHING);
        }
        learner.relay(&passed_on, request.ids, has_moved, &mut member.zab_outputs);
    }

    /// The leader's word on a session that an observer has asked about.
    pub(super) fn answer_observer(
        &mut self,
        link: LinkId,
        session: SessionId,
        timeout_ms: i32,
        valid: bool,
        outputs: &mut Outputs,
    ) {
        let Ensemble::Member(member) = &mut self.ensemble else {
            return;
        };
        if valid {
            member.give_session(session, Owner::Learner(link));
        }
        if let Zab::Learning(learner) = &mut member.zab {
            if valid {
                learner.touch(session, timeout_ms);
            }
            learner.revalidated(link, session, valid, &mut member.zab_outputs);
        }
        if valid {
            self.drop_session(session, outputs);
        }
    }

    /// A session that an observer may have had goes on elsewhere.
    pub(super) fn take_from_observers(&mut self, session: SessionId, owner: Owner) {
        if let Ensemble::Member(member) = &mut self.ensemble
            && member.owners.contains_key(&session)
        {
            member.give_session(session, owner);
        }
    }

    /// The session is served by another server, which is not behind this one.
    pub(super) fn on_session_moved(&mut self, session: SessionId, outputs: &mut Outputs) {
        // What still comes from an observer that had it is to be refused, so the owner is not forgotten.
        self.take_from_observers(session, Owner::Here);
        self.drop_session(session, outputs);
    }

    /// An observer that has lost its role waits a little, so that not all look at once.
    pub(super) fn look_after_pause(&mut self, now: Now) {
        if let Ensemble::Member(member) = &mut self.ensemble
            && member.is_observer()
            && member.rest.as_ref().is_some_and(|rest| rest.handover.is_none())
        {
            let pause = member.masters.draw(member.observer_election_delay_ms);
            member.look_at = Some(now.mono + pause);
        } else {
            return self.look(now);
        }
        self.look_if_due(now);
    }

    /// The pause is over.
    pub(super) fn look_if_due(&mut self, now: Now) {
        if let Ensemble::Member(member) = &mut self.ensemble
            && member.look_at.is_some_and(|at| at <= now.mono)
        {
            member.look_at = None;
            self.look(now);
        }
    }
}

impl Member {
    /// Whom the next role of an observer may connect to; `None` for who votes.
    pub fn masters(&mut self) -> Option<Masters> {
        if !self.is_observer() {
            return None;
        }
        let config = &self.zab_config;
        let voters: Vec<_> = match config.has_observer_masters {
            true => config.configs.committed().verifier().voters().collect(),
            false => Vec::new(),
        };
        let mut masters = std::mem::take(&mut self.masters);
        masters.set_voters(&voters);
        Some(masters)
    }

    /// The session has that owner; an observer that had it is told, if it can be.
    fn give_session(&mut self, session: SessionId, owner: Owner) {
        let former = self.owners.insert(session, owner);
        if let Some(Owner::Learner(link)) = former
            && former != Some(owner)
            && let Zab::Learning(learner) = &self.zab
        {
            learner.session_moved(link, session, &mut self.zab_outputs);
        }
    }
}

/// Whether every leader makes a transaction of it that every reader of the log knows.
fn is_good(op: OpCode, body: &[u8]) -> bool {
    if op == OpCode::CreateSession {
        return body.len() >= 4;
    }
    let is_clients = op.is_write() && !op.is_internal() && op != OpCode::Check;
    is_clients && (op == OpCode::CloseSession || prep::is_decodable(op, body))
}

/// A `setData` of the empty path, which no leader does: path, data, version.
const SET_DATA_OF_NOTHING: &[u8] = &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_apache_leader_cannot_do_is_known() {
        let good: &[u8] = &[0, 0, 0, 2, b'/', b'a', 0xff, 0xff, 0xff, 0xff];
        for (op, body, expected) in [
            (OpCode::Delete, good, true),
            (OpCode::Delete, &good[..7], false),
            (OpCode::Check, good, false),
            (OpCode::GetData, good, false),
            (OpCode::CreateSession, good, true),
            (OpCode::CreateSession, &good[..3], false),
            (OpCode::CloseSession, &[], true),
            (OpCode::SetData, SET_DATA_OF_NOTHING, true),
        ] {
            assert_eq!(is_good(op, body), expected, "{op:?} {body:?}");
        }
    }
}
