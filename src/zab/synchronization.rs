//! The leader's synchronization phase (LearnerHandler.syncFollower, Leader.startForwarding): each learner
//! gets what it lacks of the history, then NEWLEADER.
//!
//! Where the history is cut for a learner and from where on it gets what is new is decided in one step, so
//! that nothing falls between; and NEWLEADER comes behind all of the history.

use bytes::Bytes;

use super::committed_log::{CommittedLog, follows};
use super::leader::{Leader, Stage};
use super::learner_progress::Phase;
use super::sync_plan::{SyncOptions, SyncPlan, plan};
use super::{LinkId, LogEntry, Output};
use crate::clock::Millis;
use crate::ids::Zxid;
use crate::proto::quorum::{PacketType, QuorumPacket};

impl Leader {
    /// The epoch is durable here; with the tree complete, learners get their history.
    pub(super) fn begin_synchronization(&mut self, now: Millis, out: &mut Vec<Output>) {
        if self.stage != Stage::AwaitingTree || !self.is_tree_ready {
            return;
        }
        self.enter(now, Stage::CollectingNewLeaderAcks);
        self.new_leader_acks.add(self.config.me);
        let waiting = self.links(|phase| matches!(phase, Phase::WaitAckQuorum { .. }));
        for link in waiting {
            self.synchronize(now, link, out);
        }
        self.activate(now, out);
    }

    /// Chooses how a learner comes to the history, and does it.
    pub(super) fn synchronize(&mut self, now: Millis, link: LinkId, out: &mut Vec<Output>) {
        let Some(learner) = self.learners.get_mut(&link) else {
            return;
        };
        let Phase::WaitAckQuorum { last } = learner.phase else {
            return;
        };
        let options = SyncOptions {
            force_snapshot: self.config.force_snapshot || learner.wants_snapshot,
            may_truncate: learner.is_zkserver || self.config.truncates_apache,
            may_read_log: self.config.may_read_log,
        };
        let server = learner.server.0;
        let plan = plan(last, &self.committed_log, options);
        tracing::info!(window = %format_args!("{}..{}", self.committed_log.base(), self.committed_log.last()),
            "synchronizing server {server}, whose last transaction is {last}: {plan}");
        match plan {
            SyncPlan::Diff { after } => self.send_diff(now, link, after, Vec::new(), out),
            SyncPlan::DiffFromLog { after, upto } => {
                learner.phase = Phase::ReadingLog { last };
                out.push(Output::ReadLog { link, after, upto });
            }
            SyncPlan::Trunc { to } => {
                let trunc = QuorumPacket::new(PacketType::Trunc, to, None);
                self.send_history(now, link, &trunc, to, &[], out);
            }
            SyncPlan::Snap => self.send_snapshot(now, link, out),
        }
    }

    /// What was read from the log, to be followed by what is in memory now.
    pub(super) fn on_log_read(
        &mut self,
        now: Millis,
        link: LinkId,
        entries: Option<Vec<LogEntry>>,
        out: &mut Vec<Output>,
    ) {
        let Some(learner) = self.learners.get(&link) else {
            return;
        };
        let Phase::ReadingLog { last } = learner.phase else {
            return;
        };
        let server = learner.server.0;
        let entries = entries.unwrap_or_default();
        if !continues(last, &entries, &self.committed_log) {
            tracing::info!("synchronizing server {server}: SNAP, as the log does not reach back to {last}");
            return self.send_snapshot(now, link, out);
        }
        tracing::info!(
            "synchronizing server {server}: {} transactions read from the log",
            entries.len()
        );
        self.send_diff(now, link, last, entries, out);
    }

    fn send_diff(
        &mut self,
        now: Millis,
        link: LinkId,
        after: Zxid,
        entries: Vec<LogEntry>,
        out: &mut Vec<Output>,
    ) {
        let diff = QuorumPacket::new(PacketType::Diff, self.committed_log.last().max(after), None);
        self.send_history(now, link, &diff, after, &entries, out);
    }

    /// The packet that says how, what the learner lacks behind `kept`, and what is under way.
    fn send_history(
        &mut self,
        now: Millis,
        link: LinkId,
        how: &QuorumPacket,
        kept: Zxid,
        entries: &[LogEntry],
        out: &mut Vec<Output>,
    ) {
        let mut bytes = history_packets(how, kept, entries, &self.committed_log);
        for packet in self.start_forwarding(now, link, kept, Phase::AwaitNewLeaderAck) {
            bytes.extend_from_slice(&packet);
        }
        out.push(Output::Send(link, Bytes::from(bytes)));
    }

    fn send_snapshot(&mut self, now: Millis, link: LinkId, out: &mut Vec<Output>) {
        let kept = self.committed_log.last();
        let then = self.start_forwarding(now, link, kept, Phase::SendingSnapshot);
        out.push(Output::SendSnapshot { link, then });
    }

    /// From here on the learner gets every proposal and commit. What it is to be sent before: the proposals
    /// that are under way, and NEWLEADER.
    fn start_forwarding(&mut self, now: Millis, link: LinkId, kept: Zxid, phase: Phase) -> Vec<Bytes> {
        let mut packets = Vec::new();
        let Some(learner) = self.learners.get_mut(&link) else {
            return packets;
        };
        learner.phase = phase;
        learner.heard = now;
        learner.synced_to = self.committed_log.last();
        self.broadcast.forget_acks(learner.server, kept);
        let is_observer = learner.is_observer;
        let outstanding = self.broadcast.outstanding().filter(|_| !is_observer);
        let (reconfig_at, mut behind) = (self.broadcast.reconfig_at(), Vec::new());
        for entry in outstanding {
            let bytes = proposal(PacketType::Proposal, entry).to_bytes();
            // Behind the configuration that it would replace.
            match reconfig_at.is_some_and(|at| entry.zxid >= at) {
                true => behind.push(bytes),
                false => packets.push(bytes),
            }
        }
        let text = Some(self.new_leader_config().text().clone());
        let new_leader = QuorumPacket::new(PacketType::NewLeader, Zxid::new(self.epoch, 0), text);
        packets.push(new_leader.to_bytes());
        packets.extend(behind);
        packets
    }

    /// ACK of a learner that has not acknowledged NEWLEADER yet.
    pub(super) fn on_new_leader_ack(
        &mut self,
        now: Millis,
        link: LinkId,
        packet: &QuorumPacket,
        out: &mut Vec<Output>,
    ) {
        if packet.kind != PacketType::Ack {
            let reason = format!("it sent {:?} before it acknowledged NEWLEADER", packet.kind);
            return self.close(link, reason, out);
        }
        let last_proposed = self.broadcast.last_proposed();
        let Some(learner) = self.learners.get_mut(&link) else {
            return;
        };
        learner.heard = now;
        if packet.zxid != Zxid::new(self.epoch, 0) {
            // Releases before 3.8.5 acknowledge proposals first. These are not yet in an epoch that they
            // would stand by, so they count from NEWLEADER on.
            if packet.zxid <= last_proposed && !learner.is_observer {
                learner.early_ack = learner.early_ack.max(Some(packet.zxid));
            }
            return;
        }
        learner.phase = Phase::WaitActive;
        let server = learner.server;
        if learner.counts() {
            self.new_leader_acks.add(server);
            let synced_to = learner.synced_to;
            let early_ack = learner.early_ack.take();
            self.broadcast.on_ack(server, synced_to);
            if let Some(upto) = early_ack {
                self.broadcast.on_ack(server, upto);
                self.flush_commits(out);
            }
        }
        match self.stage {
            Stage::Active => self.bring_up(now, link, out),
            Stage::CollectingNewLeaderAcks => self.activate(now, out),
            Stage::CollectingEpochs
            | Stage::SavingAccepted
            | Stage::CollectingAcks
            | Stage::SavingCurrent
            | Stage::AwaitingTree
            | Stage::Ended => {}
        }
    }

    /// Begins to serve when a quorum holds the history of this epoch.
    pub(super) fn activate(&mut self, now: Millis, out: &mut Vec<Output>) {
        if self.stage != Stage::CollectingNewLeaderAcks
            || !self.config.configs.contains_quorum(&self.new_leader_acks)
        {
            return;
        }
        self.enter(now, Stage::Active);
        self.complete_config(out);
        out.push(Output::Active { epoch: self.epoch });
        for link in self.links(|phase| phase == Phase::WaitActive) {
            self.bring_up(now, link, out);
        }
    }

    fn bring_up(&mut self, now: Millis, link: LinkId, out: &mut Vec<Output>) {
        let synced_until = self.tick + self.config.sync_limit;
        let Some(learner) = self.learners.get_mut(&link) else {
            return;
        };
        learner.phase = Phase::Up;
        learner.heard = now;
        learner.synced_until = synced_until;
        let packet = QuorumPacket::new(PacketType::UpToDate, Zxid(-1), None);
        out.push(Output::Send(link, packet.to_bytes()));
    }
}

/// Whether entries go on from `last` without a gap, up to what is in memory now: that may have moved on.
pub(super) fn continues(last: Zxid, entries: &[LogEntry], window: &CommittedLog) -> bool {
    let mut end = last;
    for entry in entries {
        if !follows(end, entry.zxid) {
            return false;
        }
        end = entry.zxid;
    }
    end >= window.base() && window.floor(end) == Some(end)
}

/// The packet that says how, and what is committed behind `kept`: first `entries`, then what memory holds.
pub(super) fn history_packets(
    how: &QuorumPacket,
    kept: Zxid,
    entries: &[LogEntry],
    window: &CommittedLog,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    how.encode(&mut bytes);
    let mut end = kept;
    for entry in entries.iter().chain(window.after(kept)) {
        if entry.zxid > end {
            end = entry.zxid;
            proposal(PacketType::Proposal, entry).encode(&mut bytes);
            QuorumPacket::new(PacketType::Commit, entry.zxid, None).encode(&mut bytes);
        }
    }
    bytes
}

/// A transaction as a packet: PROPOSAL or INFORM.
pub(super) fn proposal(kind: PacketType, entry: &LogEntry) -> QuorumPacket {
    QuorumPacket::new(kind, entry.zxid, Some(entry.encoded.clone()))
}
