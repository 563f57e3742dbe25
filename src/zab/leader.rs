//! The leader (Leader, LearnerHandler): discovery, synchronization, then proposals, acknowledgements and
//! commits.
//!
//! It leads only as long as a quorum follows it, and says nothing more once its role has ended.

use std::collections::{BTreeMap, VecDeque};
use std::mem;

use bytes::Bytes;

use super::broadcast::Broadcast;
use super::committed_log::CommittedLog;
use super::leader_reconfig::Leaving;
use super::learner_progress::{LearnerProgress, Phase};
use super::sync_barrier::{PendingSync, Round};
use super::synchronization::proposal;
use super::{History, Input, LinkId, LogEntry, Output, ZabConfig};
use crate::clock::Millis;
use crate::ids::{Epoch, ServerId, SessionId, Zxid};
use crate::mutants::{self, Mutant};
use crate::proto::jute::{Put, Reader};
use crate::proto::opcode::OpCode;
use crate::proto::quorum::{ForwardedRequest, Handover, PacketType, QuorumPacket, decode_sessions};
use crate::quorum::verifier::AckSet;

/// A server that was elected to lead.
#[derive(Debug)]
pub struct Leader {
    pub(super) config: ZabConfig,
    /// As it was when the role began: what learners are compared with.
    pub(super) history: History,
    pub(super) committed_log: CommittedLog,
    pub(super) epoch: Epoch,
    pub(super) stage: Stage,
    started: Millis,
    stage_began: Millis,
    pub(super) is_tree_ready: bool,
    pub(super) connecting: AckSet,
    pub(super) electing: AckSet,
    pub(super) new_leader_acks: AckSet,
    pub(super) learners: BTreeMap<LinkId, LearnerProgress>,
    pub(super) broadcast: Broadcast,
    /// Counts spans of `tickTime`.
    pub(super) tick: u64,
    next_ping: Millis,
    is_half_tick: bool,
    pub(super) syncs: VecDeque<PendingSync>,
    pub(super) round: Round,
    /// It commits nothing more, and ends when its learners have left.
    pub(super) leaving: Option<Leaving>,
}

/// Steps of the role, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    CollectingEpochs,
    SavingAccepted,
    CollectingAcks,
    SavingCurrent,
    AwaitingTree,
    CollectingNewLeaderAcks,
    Active,
    Ended,
}

impl Leader {
    /// The role begins; `history` is what this server holds, and `committed_log` ends at its end.
    pub fn new(
        config: ZabConfig,
        now: Millis,
        history: History,
        committed_log: CommittedLog,
        out: &mut Vec<Output>,
    ) -> Leader {
        assert_eq!(
            committed_log.last(),
            history.last_logged,
            "a leader commits its whole log"
        );
        let broadcast = Broadcast::new(
            config.me,
            config.configs.committed().verifier().clone(),
            Zxid::ZERO,
        );
        let mut leader = Leader {
            next_ping: now + Millis(config.tick_ms / 2),
            config,
            history,
            committed_log,
            epoch: Epoch(history.accepted_epoch.0 + 1),
            stage: Stage::CollectingEpochs,
            started: now,
            stage_began: now,
            is_tree_ready: history.last_applied == history.last_logged,
            connecting: AckSet::default(),
            electing: AckSet::default(),
            new_leader_acks: AckSet::default(),
            learners: BTreeMap::new(),
            broadcast,
            tick: 0,
            is_half_tick: false,
            syncs: VecDeque::new(),
            round: Round::default(),
            leaving: None,
        };
        out.push(Output::Listen);
        leader.connecting.add(leader.config.me);
        leader.choose_epoch(out);
        leader
    }

    /// One event.
    pub fn step(&mut self, now: Millis, input: Input, out: &mut Vec<Output>) {
        if self.stage == Stage::Ended {
            return;
        }
        match input {
            Input::LinkUp(link) => {
                self.learners.insert(link, LearnerProgress::new(now));
            }
            Input::LinkDown(link) => {
                self.forget(link);
                self.leave_if_alone(out);
            }
            Input::Packet(link, packet) => self.on_packet(now, link, packet, out),
            Input::LogDurable { upto } => {
                if self.stage == Stage::Active && upto.epoch() == self.epoch {
                    self.broadcast.on_log_durable(upto);
                    self.flush_commits(out);
                }
            }
            Input::EpochsSaved { accepted, current } => self.on_epochs_saved(now, accepted, current, out),
            Input::TreeReady => {
                self.is_tree_ready = true;
                self.begin_synchronization(now, out);
            }
            Input::LogRead { link, entries } => self.on_log_read(now, link, entries, out),
            Input::SnapshotSent(link) => {
                if let Some(learner) = self.learners.get_mut(&link)
                    && learner.phase == Phase::SendingSnapshot
                {
                    learner.phase = Phase::AwaitNewLeaderAck;
                    learner.heard = now;
                }
            }
            Input::Tick => self.on_tick(now, out),
            Input::SnapshotInstalled { .. } | Input::CannotTruncate { .. } => {
                unreachable!("a leader asks for no snapshot and cuts no log")
            }
        }
    }

    /// When the next tick is due.
    pub fn next_deadline(&self) -> Option<Millis> {
        match self.stage {
            Stage::Ended => None,
            Stage::Active => Some(self.next_ping),
            Stage::CollectingEpochs
            | Stage::SavingAccepted
            | Stage::CollectingAcks
            | Stage::SavingCurrent
            | Stage::AwaitingTree
            | Stage::CollectingNewLeaderAcks => Some(self.next_ping.min(self.stage_deadline())),
        }
    }

    /// The zxid that the next proposal has to carry.
    pub fn next_zxid(&self) -> Zxid {
        self.broadcast.next_zxid()
    }

    /// The epoch that it leads, or offers.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The newest transaction that a quorum has on disk.
    pub fn last_committed(&self) -> Zxid {
        self.broadcast.last_committed()
    }

    /// Whether clients are served and writes can be proposed.
    pub fn is_active(&self) -> bool {
        self.stage == Stage::Active
    }

    /// Proposes a transaction: to the followers at once, and to the own log. With the last counter of an
    /// epoch it ends the role instead; the next epoch counts anew.
    pub fn propose(&mut self, now: Millis, entry: LogEntry, out: &mut Vec<Output>) {
        if self.stage == Stage::Ended {
            return;
        }
        assert!(self.is_active(), "only an active leader proposes");
        if entry.zxid.counter() >= counter_max() && !mutants::is_on(Mutant::M20) {
            let reason = format!("epoch {} has no zxids left", self.epoch.0);
            return self.end(reason, out);
        }
        self.broadcast.propose(entry.clone());
        let bytes = proposal(PacketType::Proposal, &entry).to_bytes();
        for (link, learner) in &mut self.learners {
            if learner.is_forwarding() && !learner.is_observer {
                if learner.is_synced() {
                    learner.ack_timer.proposed(entry.zxid, now);
                }
                out.push(Output::Send(*link, bytes.clone()));
            }
        }
        out.push(Output::AppendLog(entry));
    }

    /// Answers a learner's question about a session.
    pub fn revalidated(&self, link: LinkId, session: SessionId, valid: bool, out: &mut Vec<Output>) {
        if self.learners.contains_key(&link) {
            out.push(Output::Send(link, about_session(Zxid(-1), session, valid)));
        }
    }

    /// Tells the learner that served a session that another server does now. Apache's take no notice of such
    /// a thing, so they are not told.
    pub fn session_moved(&self, link: LinkId, session: SessionId, out: &mut Vec<Output>) {
        if self
            .learners
            .get(&link)
            .is_some_and(|learner| learner.is_zkserver)
        {
            out.push(Output::Send(link, about_session(MOVED, session, false)));
        }
    }

    /// What an image for this learner says at least to be the state of. Apache's learners keep their old logs
    /// beside an image and go on from it at the next start: with the mark of this epoch nothing of what was
    /// never committed comes behind it.
    pub fn least_image_zxid(&self, link: LinkId) -> Zxid {
        match self.learners.get(&link) {
            Some(learner) if !learner.is_zkserver => Zxid::new(self.epoch, 0),
            Some(_) | None => Zxid::ZERO,
        }
    }

    /// A voter looks for a leader. One that waits for its quorum in vain gives up, if it is told to.
    pub fn voter_looking(&mut self, now: Millis, server: ServerId, out: &mut Vec<Output>) {
        let waited = now - self.started;
        if let Some(max) = self.config.max_epoch_wait_ms
            && self.stage == Stage::CollectingEpochs
            && waited >= Millis(max)
        {
            let reason = format!("server {} looks for another leader", server.0);
            self.end(reason, out);
        }
    }

    /// A voter that had elected this server has found a better one. Who has no quorum yet gives up.
    pub fn outvoted(&mut self, server: ServerId, out: &mut Vec<Output>) {
        if self.stage == Stage::CollectingEpochs {
            let reason = format!("server {} has found a better one to lead", server.0);
            self.end(reason, out);
        }
    }

    /// Names the next leader to every learner that understands it. Nothing is proposed behind it.
    pub fn hand_over(&self, handover: Handover, out: &mut Vec<Output>) {
        let packet = QuorumPacket::new(PacketType::UpToDate, handover.zxid, Some(handover.to_bytes()));
        let bytes = packet.to_bytes();
        for (link, learner) in &self.learners {
            if learner.is_zkserver && learner.phase == Phase::Up {
                out.push(Output::Send(*link, bytes.clone()));
            }
        }
    }

    /// Ends the role.
    pub fn end(&mut self, reason: String, out: &mut Vec<Output>) {
        if self.stage == Stage::Ended {
            return;
        }
        self.stage = Stage::Ended;
        for link in std::mem::take(&mut self.learners).into_keys() {
            out.push(Output::Close {
                link,
                reason: "the leader's role has ended".into(),
            });
        }
        self.syncs.clear();
        out.push(Output::RoleEnded {
            reason,
            needs_snapshot: false,
            handover: self.leaving.as_ref().and_then(|leaving| leaving.next),
        });
    }

    /// What the next role goes on with: the window of history, and what was logged after it without being
    /// committed, to be applied and added once the log is fenced.
    pub fn into_parts(self) -> (CommittedLog, Vec<LogEntry>) {
        let outstanding = self.broadcast.outstanding().cloned().collect();
        (self.committed_log, outstanding)
    }

    pub(super) fn enter(&mut self, now: Millis, stage: Stage) {
        self.stage = stage;
        self.stage_began = now;
        if stage == Stage::CollectingAcks {
            let (me, verifier) = (self.config.me, self.config.configs.committed().verifier().clone());
            self.broadcast = Broadcast::new(me, verifier, Zxid::new(self.epoch, 0));
        }
    }

    pub(super) fn links(&self, wanted: impl Fn(Phase) -> bool) -> Vec<LinkId> {
        let learners = self.learners.iter();
        learners
            .filter(|(_, learner)| wanted(learner.phase))
            .map(|(link, _)| *link)
            .collect()
    }

    pub(super) fn close(&mut self, link: LinkId, reason: String, out: &mut Vec<Output>) {
        self.forget(link);
        out.push(Output::Close { link, reason });
    }

    fn forget(&mut self, link: LinkId) {
        if let Some(learner) = self.learners.remove(&link)
            && self.stage == Stage::CollectingNewLeaderAcks
        {
            // It may follow a later leader by now. An epoch begins with a quorum that is there.
            self.new_leader_acks.remove(learner.server);
        }
        self.syncs.retain(|sync| sync.from != Some(link));
    }

    fn stage_deadline(&self) -> Millis {
        self.stage_began + self.config.init_limit_ms()
    }

    fn on_packet(&mut self, now: Millis, link: LinkId, packet: QuorumPacket, out: &mut Vec<Output>) {
        let Some(learner) = self.learners.get(&link) else {
            return;
        };
        match learner.phase {
            Phase::Hello => self.on_hello(now, link, &packet, out),
            Phase::AwaitAckEpoch => self.on_ack_epoch(now, link, &packet, out),
            Phase::WaitEpoch | Phase::WaitAckQuorum { .. } | Phase::ReadingLog { .. } => {
                let reason = format!("it sent {:?} out of turn", packet.kind);
                self.close(link, reason, out);
            }
            Phase::SendingSnapshot | Phase::AwaitNewLeaderAck => {
                self.on_new_leader_ack(now, link, &packet, out);
            }
            Phase::WaitActive | Phase::Up => self.on_learner_packet(now, link, packet, out),
        }
    }

    fn on_learner_packet(&mut self, now: Millis, link: LinkId, packet: QuorumPacket, out: &mut Vec<Output>) {
        let synced_until = self.tick + self.config.sync_limit;
        let Some(learner) = self.learners.get_mut(&link) else {
            return;
        };
        learner.heard = now;
        if learner.phase == Phase::Up {
            learner.synced_until = synced_until;
        }
        let server = learner.server;
        let data = packet.data.clone().unwrap_or_default();
        match packet.kind {
            PacketType::Ack if learner.is_observer || packet.zxid.counter() == 0 => {}
            PacketType::Ack if packet.zxid > self.broadcast.last_proposed() => {
                let reason = format!("it acknowledged {}, which was not proposed", packet.zxid);
                self.close(link, reason, out);
            }
            PacketType::Ack => {
                learner.ack_timer.acked(packet.zxid);
                self.broadcast.on_ack(server, packet.zxid);
                self.flush_commits(out);
            }
            PacketType::Ping => {
                learner.pings_answered += 1;
                match decode_sessions(&data) {
                    Ok(sessions) => out.push(Output::LearnerPing { from: link, sessions }),
                    Err(error) => return self.close(link, format!("bad PING: {error}"), out),
                }
                self.settle_syncs(out);
            }
            PacketType::Revalidate => {
                let mut reader = Reader::new(&data);
                match reader
                    .long()
                    .and_then(|session| Ok((SessionId(session), reader.int()?)))
                {
                    Ok((session, timeout_ms)) => out.push(Output::Revalidate {
                        from: link,
                        server,
                        session,
                        timeout_ms,
                    }),
                    Err(error) => self.close(link, format!("bad REVALIDATE: {error}"), out),
                }
            }
            PacketType::Request => self.on_request(link, packet, out),
            PacketType::Proposal
            | PacketType::Commit
            | PacketType::Sync
            | PacketType::Inform
            | PacketType::CommitAndActivate
            | PacketType::NewLeader
            | PacketType::FollowerInfo
            | PacketType::UpToDate
            | PacketType::Diff
            | PacketType::Trunc
            | PacketType::Snap
            | PacketType::ObserverInfo
            | PacketType::LeaderInfo
            | PacketType::AckEpoch
            | PacketType::InformAndActivate => {
                let reason = format!("a learner does not send {:?}", packet.kind);
                self.close(link, reason, out);
            }
        }
    }

    fn on_request(&mut self, link: LinkId, packet: QuorumPacket, out: &mut Vec<Output>) {
        let request = match ForwardedRequest::decode(&packet.data.unwrap_or_default()) {
            Ok(request) if self.is_active() => request,
            Ok(_) => return self.close(link, "it forwards requests before UPTODATE".into(), out),
            Err(error) => return self.close(link, format!("bad REQUEST: {error}"), out),
        };
        if request.op == OpCode::Sync.code() {
            return self.sync_requested(Some(link), out);
        }
        out.push(Output::Request {
            from: link,
            request,
            ids: packet.authinfo.unwrap_or_default(),
            has_moved: packet.zxid == MOVED,
        });
    }

    /// What is committed now goes to the tree, the window and the learners; then syncs are answered.
    pub(super) fn flush_commits(&mut self, out: &mut Vec<Output>) {
        let has_observers = self.learners.values().any(|learner| learner.is_observer);
        let (mut commits, mut informs) = (Vec::new(), Vec::new());
        while let Some(entry) = self.broadcast.pop_committed() {
            if self.has_sync_before(entry.zxid) {
                self.send_commits(&mut commits, &mut informs, out);
                self.answer_syncs_before(entry.zxid, out);
            }
            if self.broadcast.is_halted_at(entry.zxid) {
                self.commit_config(&entry, &mut commits, &mut informs, out);
                continue;
            }
            QuorumPacket::new(PacketType::Commit, entry.zxid, None).encode(&mut commits);
            if has_observers {
                proposal(PacketType::Inform, &entry).encode(&mut informs);
            }
            self.committed_log.push(entry.clone());
            out.push(Output::Commit(entry));
        }
        if !commits.is_empty() {
            self.send_commits(&mut commits, &mut informs, out);
            self.settle_syncs(out);
        }
    }

    fn send_commits(&self, commits: &mut Vec<u8>, informs: &mut Vec<u8>, out: &mut Vec<Output>) {
        let (commits, informs) = (Bytes::from(mem::take(commits)), Bytes::from(mem::take(informs)));
        for (link, learner) in self.learners.iter().filter(|_| !commits.is_empty()) {
            if learner.is_forwarding() {
                let bytes = if learner.is_observer { &informs } else { &commits };
                out.push(Output::Send(*link, bytes.clone()));
            }
        }
    }

    fn on_tick(&mut self, now: Millis, out: &mut Vec<Output>) {
        if self.stage < Stage::Active && now >= self.stage_deadline() {
            let reason = match self.stage {
                Stage::CollectingEpochs => "no quorum has connected within initLimit",
                Stage::CollectingAcks => "no quorum has joined the epoch within initLimit",
                Stage::CollectingNewLeaderAcks => "no quorum has synchronized within initLimit",
                Stage::SavingAccepted
                | Stage::SavingCurrent
                | Stage::AwaitingTree
                | Stage::Active
                | Stage::Ended => "this server's own disk took longer than initLimit",
            };
            return self.end(reason.into(), out);
        }
        if now < self.next_ping {
            return;
        }
        self.next_ping = now + Millis(self.config.tick_ms / 2);
        self.is_half_tick = !self.is_half_tick;
        if !self.is_half_tick {
            self.tick += 1;
            if self.stage == Stage::Active && !self.has_quorum() && !mutants::is_on(Mutant::M19) {
                return self.end("a quorum of followers is no longer in time".into(), out);
            }
            if self.leaving.as_ref().is_some_and(|it| self.tick >= it.until_tick) {
                return self.end("another server leads the new configuration".into(), out);
            }
        }
        for link in self.links(|_| true) {
            match self.overdue(now, link) {
                Some(reason) => self.close(link, reason, out),
                None if self.learners[&link].is_forwarding() => self.ping(link, out),
                None => {}
            }
        }
    }

    /// This server, and followers that were heard from in time.
    fn has_quorum(&self) -> bool {
        let mut synced = AckSet::default();
        synced.add(self.config.me);
        for learner in self.learners.values() {
            let is_follower = learner.phase != Phase::Hello && learner.counts();
            if is_follower && self.tick <= learner.synced_until {
                synced.add(learner.server);
            }
        }
        self.config.configs.contains_quorum(&synced)
    }

    fn overdue(&self, now: Millis, link: LinkId) -> Option<String> {
        let learner = self.learners.get(&link)?;
        let silent = now - learner.heard;
        let limit = match learner.phase {
            Phase::Up => self.config.sync_limit_ms(),
            // They wait for others, or for this server's disk and their connection.
            Phase::WaitEpoch
            | Phase::WaitAckQuorum { .. }
            | Phase::WaitActive
            | Phase::ReadingLog { .. }
            | Phase::SendingSnapshot => return None,
            Phase::Hello | Phase::AwaitAckEpoch | Phase::AwaitNewLeaderAck => self.config.init_limit_ms(),
        };
        if silent > limit {
            return Some(format!("it has been silent for {} ms", silent.0));
        }
        let is_late = learner.ack_timer.is_late(now, self.config.sync_limit_ms());
        is_late.then(|| "it has not acknowledged a proposal within syncLimit".into())
    }
}

/// The counter that is not given out: behind it an epoch has no zxids left.
pub(super) fn counter_max() -> u32 {
    #[cfg(test)]
    return super::tests::COUNTER_MAX.get();
    #[cfg(not(test))]
    mutants::counter_max()
}

/// The answer to a REVALIDATE, or the word that the session has moved.
pub(super) fn about_session(zxid: Zxid, session: SessionId, valid: bool) -> Bytes {
    let mut data = Vec::with_capacity(9);
    data.put_long(session.0);
    data.put_bool(valid);
    QuorumPacket::new(PacketType::Revalidate, zxid, Some(Bytes::from(data))).to_bytes()
}

/// The zxid of a REVALIDATE that answers nothing: it says that the session has moved. Answers have -1. A
/// REQUEST with it comes from an observer that has lost the session to another server behind the same
/// follower.
pub(super) const MOVED: Zxid = Zxid::ZERO;
