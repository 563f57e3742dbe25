//! What learners ask of their leader on behalf of their clients (LearnerHandler, LeaderZooKeeperServer):
//! writes, and who has a session.

use bytes::Bytes;

use super::member::{Asker, Owner};
use super::write::Sessions;
use super::{Ensemble, Outputs, Replica};
use crate::clock::Now;
use crate::ids::SessionId;
use crate::mutants::{self, Mutant};
use crate::prep::{PrepRequest, Prepared, ReconfigRequest};
use crate::proto::acl::Id;
use crate::proto::error_code::ErrorCode;
use crate::proto::jute::Reader;
use crate::proto::opcode::OpCode;
use crate::proto::quorum::ForwardedRequest;
use crate::proto::txn::TxnHeader;
use crate::quorum::configs::Config;
use crate::zab::{LinkId, Zab};

/// A write that a learner forwards.
pub(super) struct Forwarded {
    pub from: LinkId,
    pub session: SessionId,
    pub cxid: i32,
    pub op: i32,
    pub body: Bytes,
    pub ids: Vec<Id>,
    /// An observer master says that the session is served by another server.
    pub has_moved: bool,
}

impl Forwarded {
    pub fn new(from: LinkId, request: ForwardedRequest, ids: Vec<Id>, has_moved: bool) -> Forwarded {
        Forwarded {
            from,
            session: request.session,
            cxid: request.cxid,
            op: request.op,
            body: request.body,
            ids,
            has_moved,
        }
    }
}

impl Replica {
    /// Every request becomes a transaction, be it one that refuses it: its learner waits for one.
    pub(super) fn on_forwarded(&mut self, now: Now, request: Forwarded) {
        if !self.leads() {
            return self.relay(request);
        }
        let request = &request;
        let encoded = match OpCode::from_code(request.op) {
            Some(_) if request.has_moved => Err(ErrorCode::SessionMoved),
            Some(OpCode::CreateSession) => self.create_session_for(now, request).map(|txn| (txn, None)),
            // A check by itself is no transaction that anybody could read back; the others only servers make.
            Some(op) if op.is_write() && !op.is_internal() && op != OpCode::Check => {
                self.prepare_forwarded(now, request, op)
            }
            Some(_) | None => Err(ErrorCode::Unimplemented),
        };
        let (encoded, config) = encoded.unwrap_or_else(|error| {
            let header = TxnHeader {
                client_id: request.session,
                cxid: request.cxid,
                zxid: self.next_zxid(),
                time: now.wall_ms,
                code: request.op,
            };
            (self.prep.prepare_refusal(header, error), None)
        });
        self.report_exceeded(now);
        match config {
            Some(config) => self.propose_config(now, encoded, config),
            None => self.propose_as_leader(now, encoded),
        }
    }

    fn create_session_for(&mut self, now: Now, request: &Forwarded) -> Result<Vec<u8>, ErrorCode> {
        let timeout_ms = Reader::new(&request.body)
            .int()
            .map_err(|_| ErrorCode::MarshallingError)?;
        self.set_owner(request.session, Owner::Learner(request.from));
        // What the learner forwards behind it finds the session.
        let mut tracker = self.shared.sessions.lock();
        tracker.add(request.session, timeout_ms, now.mono);
        drop(tracker);
        let zxid = self.next_zxid();
        let tree = self.shared.tree.read();
        let (encoded, _) =
            self.prep
                .prepare_create_session(&tree, request.session, timeout_ms, zxid, now.wall_ms);
        Ok(encoded)
    }

    /// The transaction, and the configuration if it makes one.
    fn prepare_forwarded(
        &mut self,
        now: Now,
        request: &Forwarded,
        op: OpCode,
    ) -> Result<(Vec<u8>, Option<Config>), ErrorCode> {
        let zxid = self.next_zxid();
        let may_be_local = self.may_be_local_elsewhere(request.session);
        let Ensemble::Member(member) = &mut self.ensemble else {
            return Err(ErrorCode::Unimplemented);
        };
        let tree = self.shared.tree.read();
        let mut tracker = self.shared.sessions.lock();
        let asking = Owner::Learner(request.from);
        if tracker.contains(request.session) {
            member.owners.entry(request.session).or_insert(asking);
        }
        let asked = PrepRequest {
            session: request.session,
            cxid: request.cxid,
            op,
            body: &request.body,
            ids: &request.ids,
        };
        let sessions = Sessions {
            tracker: &tracker,
            owner: member.owners.get(&request.session).copied(),
            asking,
            unknown: Some(ErrorCode::SessionExpired).filter(|_| !may_be_local),
            not_global: ErrorCode::SessionExpired,
        };
        let (mut config, time) = (None, now.wall_ms);
        let prepared = match self.reconfig {
            Some(rules) if op == OpCode::Reconfig => {
                let judge = |asked: &ReconfigRequest| {
                    let judged = config.insert(self.ensemble.judge(asked, rules, zxid)?);
                    Ok(judged.text().clone())
                };
                self.prep
                    .prepare_reconfig(&tree, &sessions, &asked, zxid, time, judge)
            }
            Some(_) | None => self.prep.prepare(&tree, &sessions, &asked, zxid, time),
        };
        match prepared {
            Prepared::Undecodable => Err(ErrorCode::MarshallingError),
            Prepared::Txn { encoded, error, .. } => {
                if op == OpCode::CloseSession {
                    tracker.set_closing(request.session);
                }
                Ok((encoded, config.filter(|_| error.is_none())))
            }
        }
    }

    /// A learner has heard from these sessions.
    pub(super) fn on_learner_ping(&mut self, now: Now, sessions: &[(SessionId, i32)]) {
        if let Ensemble::Member(member) = &mut self.ensemble
            && let Zab::Learning(learner) = &mut member.zab
        {
            // The leader is told with the next ping.
            for (session, timeout_ms) in sessions {
                learner.touch(*session, *timeout_ms);
            }
            return;
        }
        let mut tracker = self.shared.sessions.lock();
        for (session, _) in sessions {
            tracker.touch(*session, now.mono);
        }
    }

    /// A client has gone to that learner with its session: if the session lives, the learner has it now.
    pub(super) fn on_revalidate(
        &mut self,
        now: Now,
        from: LinkId,
        session: SessionId,
        timeout_ms: i32,
        outputs: &mut Outputs,
    ) {
        if let Ensemble::Member(member) = &self.ensemble
            && let Zab::Learning(_) = member.zab
        {
            let asker = Asker::Observer {
                link: from,
                timeout_ms,
            };
            return self.ask_about(session, timeout_ms, asker, outputs);
        }
        let is_alive = {
            let mut tracker = self.shared.sessions.lock();
            let is_alive = tracker.contains(session) && !tracker.is_closing(session);
            if is_alive {
                tracker.set_timeout(session, timeout_ms, now.mono);
            }
            is_alive
        };
        if is_alive {
            self.take_session_away(session, Owner::Learner(from), outputs);
        }
        if let Ensemble::Member(member) = &mut self.ensemble
            && let Zab::Leading(leader) = &member.zab
        {
            leader.revalidated(from, session, is_alive, &mut member.zab_outputs);
        }
    }

    /// The session has a new owner; the one before it, if it can, ends the connection that it had.
    pub(super) fn take_session_away(&mut self, session: SessionId, owner: Owner, outputs: &mut Outputs) {
        let former = self.set_owner(session, owner);
        if owner != Owner::Here {
            self.drop_session(session, outputs);
        }
        if let Ensemble::Member(member) = &mut self.ensemble
            && let Zab::Leading(leader) = &member.zab
            && let Some(Owner::Learner(link)) = former
            && former != Some(owner)
            && !mutants::is_on(Mutant::M14b)
        {
            leader.session_moved(link, session, &mut member.zab_outputs);
        }
    }

    pub(super) fn set_owner(&mut self, session: SessionId, owner: Owner) -> Option<Owner> {
        match &mut self.ensemble {
            Ensemble::Alone(_) => None,
            Ensemble::Member(member) => member.owners.insert(session, owner),
        }
    }
}
