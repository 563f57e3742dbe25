//! How a learner comes to the leader's history (Learner.syncWithLeader), and how history goes on.
//!
//! What the leader has committed is logged as it comes; what it has only proposed stays in memory until
//! NEWLEADER is acknowledged. The order is: history durable, then `currentEpoch` durable, then ACK.

use bytes::Bytes;

use super::committed_log::follows;
use super::learner::{Learner, Phase};
use super::{LogEntry, Output, Standing};
use crate::clock::Millis;
use crate::ids::Zxid;
use crate::mutants::{self, Mutant};
use crate::proto::quorum::{PacketType, QuorumPacket};
use crate::proto::txn;

impl Learner {
    /// Goes through what has come, as far as the disk allows.
    pub(super) fn drain_inbox(&mut self, out: &mut Vec<Output>) {
        while let Some(packet) = self.inbox.pop_front() {
            match self.phase {
                Phase::AwaitLeaderInfo => self.on_leader_info(&packet, out),
                Phase::AwaitPlan => self.on_plan(&packet, out),
                Phase::Syncing | Phase::AwaitUpToDate => self.on_sync_packet(packet, out),
                Phase::Broadcasting => self.on_broadcast_packet(packet, out),
                Phase::SavingAccepted
                | Phase::Installing { .. }
                | Phase::SavingHistory
                | Phase::SavingCurrent => {
                    self.inbox.push_front(packet);
                    return;
                }
                Phase::Connecting | Phase::Ended => return,
            }
        }
    }

    /// DIFF, TRUNC or SNAP. Progress is never taken from their zxid alone.
    fn on_plan(&mut self, packet: &QuorumPacket, out: &mut Vec<Output>) {
        let zxid = packet.zxid;
        if mutants::is_on(Mutant::M3) {
            out.push(Output::SaveEpochs {
                accepted: self.history.accepted_epoch,
                current: self.epoch,
            });
        }
        match packet.kind {
            PacketType::Diff | PacketType::Trunc if self.standing != Standing::Whole => {
                let reason = format!(
                    "the leader sent {:?}, not the snapshot that was asked for",
                    packet.kind
                );
                self.end(reason, true, out);
            }
            PacketType::Trunc if mutants::is_on(Mutant::M7) => self.phase = Phase::Syncing,
            PacketType::Diff => self.phase = Phase::Syncing,
            PacketType::Snap => {
                let Some(link) = self.link else { return };
                self.phase = Phase::Installing { to: zxid };
                out.push(Output::InstallSnapshot { link, zxid });
            }
            PacketType::Trunc if zxid > self.history.last_logged => {
                let last = self.history.last_logged;
                self.end(
                    format!("the leader asks to cut at {zxid}, behind the end {last}"),
                    true,
                    out,
                );
            }
            PacketType::Trunc => {
                self.phase = Phase::Installing { to: zxid };
                out.push(Output::TruncateLog { to: zxid });
            }
            PacketType::Request
            | PacketType::Proposal
            | PacketType::Ack
            | PacketType::Commit
            | PacketType::Ping
            | PacketType::Revalidate
            | PacketType::Sync
            | PacketType::Inform
            | PacketType::CommitAndActivate
            | PacketType::NewLeader
            | PacketType::FollowerInfo
            | PacketType::UpToDate
            | PacketType::ObserverInfo
            | PacketType::LeaderInfo
            | PacketType::AckEpoch
            | PacketType::InformAndActivate => {
                let reason = format!("the leader sent {:?}, not DIFF, TRUNC or SNAP", packet.kind);
                self.end(reason, false, out);
            }
        }
    }

    /// Tree, log and snapshots are those of the leader, or cut as it said, also after a crash.
    pub(super) fn on_installed(&mut self, now: Millis, zxid: Zxid, out: &mut Vec<Output>) {
        let Phase::Installing { to } = self.phase else {
            return;
        };
        (self.history.last_logged, self.history.last_applied) = (zxid, zxid);
        (self.last_received, self.last_appended, self.last_applied) = (zxid, zxid, zxid);
        self.committed_log.reset(zxid);
        // The mark of an epoch is no transaction: the last one before it is the same place.
        let is_there = zxid == to || (to.counter() == 0 && zxid < to);
        if !is_there {
            return self.end(
                format!("history was to end at {to} and ends at {zxid}"),
                true,
                out,
            );
        }
        self.phase = Phase::Syncing;
        self.heard = now;
        self.drain_inbox(out);
    }

    /// What comes between the plan and UPTODATE.
    fn on_sync_packet(&mut self, packet: QuorumPacket, out: &mut Vec<Output>) {
        match packet.kind {
            PacketType::NewLeader if self.phase == Phase::Syncing => {
                if packet.zxid != Zxid::new(self.epoch, 0) {
                    let (zxid, epoch) = (packet.zxid, self.epoch.0);
                    return self.end(format!("NEWLEADER says {zxid} in epoch {epoch}"), false, out);
                }
                if mutants::is_on(Mutant::M2) {
                    self.send(&QuorumPacket::new(PacketType::Ack, packet.zxid, None), out);
                }
                let text = packet.data.unwrap_or_default();
                if let Err(reason) = self.on_new_leader_config(&text, out) {
                    return self.end(reason, false, out);
                }
                self.phase = Phase::SavingHistory;
                self.on_durable(out);
            }
            PacketType::UpToDate if self.phase == Phase::AwaitUpToDate => self.on_up_to_date(out),
            PacketType::Proposal
            | PacketType::Commit
            | PacketType::CommitAndActivate
            | PacketType::Inform
            | PacketType::InformAndActivate => self.on_history_packet(packet, out),
            // An Apache leader expects nothing but the ACK of NEWLEADER now, so pings go unanswered.
            PacketType::Ping => {}
            PacketType::Request
            | PacketType::Ack
            | PacketType::Revalidate
            | PacketType::Sync
            | PacketType::NewLeader
            | PacketType::FollowerInfo
            | PacketType::UpToDate
            | PacketType::Diff
            | PacketType::Trunc
            | PacketType::Snap
            | PacketType::ObserverInfo
            | PacketType::LeaderInfo
            | PacketType::AckEpoch => {
                let reason = format!("the leader sent {:?} while synchronizing", packet.kind);
                self.end(reason, false, out);
            }
        }
    }

    /// Proposals and commits of any phase.
    pub(super) fn on_history_packet(&mut self, packet: QuorumPacket, out: &mut Vec<Output>) {
        match packet.kind {
            PacketType::Proposal => self.on_proposal(packet.zxid, packet.data.unwrap_or_default(), out),
            PacketType::Commit => self.on_commit(packet.zxid, None, out),
            PacketType::CommitAndActivate => {
                let leader = packet.data.unwrap_or_default();
                self.on_commit(packet.zxid, Some(leader.clone()), out);
                self.on_activate(packet.zxid, &leader, out);
            }
            PacketType::Inform => self.on_inform(packet.zxid, packet.data.unwrap_or_default(), out),
            PacketType::InformAndActivate => {
                // In front is the leader that is to come.
                let mut leader = packet.data.unwrap_or_default();
                let txn = leader.split_off(leader.len().min(8));
                self.on_inform(packet.zxid, txn, out);
                self.on_activate(packet.zxid, &leader, out);
            }
            PacketType::Request
            | PacketType::Ack
            | PacketType::Ping
            | PacketType::Revalidate
            | PacketType::Sync
            | PacketType::NewLeader
            | PacketType::FollowerInfo
            | PacketType::UpToDate
            | PacketType::Diff
            | PacketType::Trunc
            | PacketType::Snap
            | PacketType::ObserverInfo
            | PacketType::LeaderInfo
            | PacketType::AckEpoch => unreachable!("only packets about transactions get here"),
        }
    }

    fn on_proposal(&mut self, zxid: Zxid, encoded: Bytes, out: &mut Vec<Output>) {
        // An image may show more than what is sent behind it begins with, on both sides of NEWLEADER.
        if zxid <= self.last_applied && self.phase < Phase::Broadcasting {
            return self.note_config_of_skipped(zxid, &encoded);
        }
        if mutants::is_on(Mutant::M9a) && self.phase == Phase::AwaitUpToDate {
            self.last_received = zxid;
            return;
        }
        if !self.take(zxid, encoded, out) {
            return;
        }
        if !self.is_observer && self.phase > Phase::SavingCurrent {
            self.log_proposals(out);
        }
    }

    /// Puts a transaction at the end of what is pending, if it can come next.
    fn take(&mut self, zxid: Zxid, encoded: Bytes, out: &mut Vec<Output>) -> bool {
        if !follows(self.last_received, zxid) {
            let last = self.last_received;
            // A leader that sends a history with a hole may do so again; a snapshot has none.
            let is_hole = self.phase == Phase::Syncing;
            self.end(format!("{zxid} is proposed after {last}"), is_hole, out);
            return false;
        }
        match txn::decode(&encoded) {
            Ok(logged) if logged.header.zxid == zxid => {
                if let Err(reason) = self.note_config(zxid, &logged.txn) {
                    self.end(reason, false, out);
                    return false;
                }
            }
            Ok(logged) => {
                let inside = logged.header.zxid;
                self.end(
                    format!("the packet of {zxid} holds transaction {inside}"),
                    false,
                    out,
                );
                return false;
            }
            Err(error) => {
                self.end(format!("transaction {zxid} cannot be read: {error}"), false, out);
                return false;
            }
        }
        self.last_received = zxid;
        self.pending.push_back(LogEntry { zxid, encoded });
        true
    }

    /// Proposals go to the log; what is on disk is then acknowledged.
    fn log_proposals(&mut self, out: &mut Vec<Output>) {
        let mut next = self
            .pending
            .partition_point(|entry| entry.zxid <= self.last_appended);
        while let Some(entry) = self.pending.get(next).cloned() {
            next += 1;
            if mutants::is_on(Mutant::M1) {
                self.send(&QuorumPacket::new(PacketType::Ack, entry.zxid, None), out);
            } else {
                self.unacked.push_back(entry.zxid);
            }
            self.last_appended = entry.zxid;
            self.see_config(entry.zxid, out);
            out.push(Output::AppendLog(entry));
        }
    }

    /// The oldest proposal is committed, wherever in this server's log it is by now: a quorum has it on disk.
    /// `activates` is what the commit of a reconfiguration says besides.
    fn on_commit(&mut self, zxid: Zxid, activates: Option<Bytes>, out: &mut Vec<Output>) {
        if zxid <= self.last_applied {
            return;
        }
        let Some(entry) = self.pending.pop_front_if(|entry| entry.zxid == zxid) else {
            if mutants::is_on(Mutant::M9a) {
                return;
            }
            let reason = match self.pending.front() {
                Some(entry) => format!("{zxid} is committed, but {} was proposed first", entry.zxid),
                None => format!("{zxid} is committed, but was not proposed"),
            };
            return self.end(reason, false, out);
        };
        if zxid > self.last_appended {
            self.last_appended = zxid;
            self.see_config(zxid, out);
            out.push(Output::AppendLog(entry.clone()));
        }
        self.last_applied = zxid;
        self.history.last_applied = zxid;
        self.committed_log.push(entry.clone());
        out.push(Output::Commit(entry));
        self.inform_observers(activates, out);
    }

    /// Proposal and commit in one.
    fn on_inform(&mut self, zxid: Zxid, encoded: Bytes, out: &mut Vec<Output>) {
        if zxid <= self.last_applied {
            return self.note_config_of_skipped(zxid, &encoded);
        }
        let is_pending = self.pending.front().is_some_and(|entry| entry.zxid == zxid);
        if is_pending || self.take(zxid, encoded, out) {
            self.on_commit(zxid, None, out);
        }
    }

    /// The disk has caught up: with NEWLEADER's history, then with its epoch, later with proposals.
    pub(super) fn on_durable(&mut self, out: &mut Vec<Output>) {
        if self.phase == Phase::SavingHistory && self.persisted(self.last_appended).is_some() {
            self.phase = Phase::SavingCurrent;
            // Always: where a crash has left the file behind the log, the epoch is known but not in the file.
            out.push(Output::SaveEpochs {
                accepted: self.history.accepted_epoch,
                current: self.epoch,
            });
        } else if self.phase > Phase::SavingCurrent {
            self.ack_proposals(out);
        }
    }

    /// The epoch is on disk, and the history that it begins with was before.
    pub(super) fn on_current_saved(&mut self, now: Millis, out: &mut Vec<Output>) {
        let Some(proof) = self.persisted(self.last_appended) else {
            unreachable!("the epoch is saved behind its history, and nothing is logged meanwhile");
        };
        let ack = self.new_leader_ack(&proof);
        self.send(&ack, out);
        self.phase = Phase::AwaitUpToDate;
        self.heard = now;
        if !self.is_observer {
            self.log_proposals(out);
        }
        self.drain_inbox(out);
    }

    /// One ACK for each proposal on disk, in their order: an Apache leader counts them one by one.
    fn ack_proposals(&mut self, out: &mut Vec<Output>) {
        let mut acks = Vec::new();
        while let Some(zxid) = self.unacked.front().copied()
            && let Some(proof) = self.persisted(zxid)
        {
            self.proposal_ack(&proof, zxid).encode(&mut acks);
            self.unacked.pop_front();
        }
        if let Some(link) = self.link
            && !acks.is_empty()
        {
            out.push(Output::Send(link, Bytes::from(acks)));
        }
    }

    fn on_up_to_date(&mut self, out: &mut Vec<Output>) {
        let Some(proof) = self.persisted(Zxid::ZERO) else {
            return;
        };
        if self.is_observer {
            // What was only proposed comes again when it is committed.
            self.pending.clear();
            self.last_received = self.last_applied;
        }
        let ack = self.new_leader_ack(&proof);
        self.send(&ack, out);
        if !self.commit_new_leader_config(out) {
            return;
        }
        self.phase = Phase::Broadcasting;
        out.push(Output::Active { epoch: self.epoch });
        self.begin_observer_master(out);
    }
}
