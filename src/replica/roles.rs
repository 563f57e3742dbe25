//! From one role to the next: search, role, end of the role, what it leaves, search (QuorumPeer.run).
//!
//! Between two roles the log is fenced: what the old one gave to it is on disk before the next one begins,
//! and nothing of it comes later. Then the tree holds the whole log, committed or not, as after a restart.

use std::mem;
use std::sync::atomic::Ordering::Relaxed;

use super::member::{Image, Replacement, Rest};
use super::{Ensemble, Input, Output, Outputs, PeerEvent, Replica};
use crate::clock::Now;
use crate::election::{self, Vote};
use crate::ids::{Epoch, ServerId, Zxid};
use crate::mutants::{self, Mutant};
use crate::proto::quorum::{Handover, PacketType};
use crate::proto::txn;
use crate::proto::vote::PeerState;
use crate::quorum::members::Members;
use crate::tree::DataTree;
use crate::zab::{self, History, Leader, LinkId, LogEntry, Standing, Zab};

impl Replica {
    /// What only members of an ensemble are told.
    pub(super) fn on_member_input(&mut self, now: Now, input: Input, outputs: &mut Outputs) {
        let Ensemble::Member(member) = &mut self.ensemble else {
            return;
        };
        match input {
            Input::EpochsSaved { accepted, current } => {
                member.epochs = (accepted, current);
                member.step(now, zab::Input::EpochsSaved { accepted, current });
            }
            Input::LogFenced => self.on_log_fenced(now),
            Input::TreeReplaced(tree) => self.on_tree_replaced(now, tree, outputs),
            Input::CannotTruncate { reason } => {
                member.replacement = None;
                member.step(now, zab::Input::CannotTruncate { reason });
            }
            Input::Notification { from, body } => {
                member.elect(now, election::Input::Received { from, body: &body });
            }
            Input::ElectionLinkUp(server) => member.elect(now, election::Input::LinkUp(server)),
            Input::ElectionLinkDown(server) => member.elect(now, election::Input::LinkDown(server)),
            Input::Peer { role, event } if role == member.role => self.on_peer_event(now, event, outputs),
            Input::Peer { .. }
            | Input::Connect { .. }
            | Input::Client(_)
            | Input::ConnClosed(_)
            | Input::LogDurable { .. }
            | Input::SnapshotTaken
            | Input::Stop
            | Input::Tick => {}
        }
    }

    fn on_peer_event(&mut self, now: Now, event: PeerEvent, outputs: &mut Outputs) {
        let Ensemble::Member(member) = &mut self.ensemble else {
            return;
        };
        member.is_stale |= match &event {
            // What serves goes on serving.
            PeerEvent::Packets(link, _) => !member.up.contains(link),
            PeerEvent::LinkUp(_)
            | PeerEvent::LinkDown(_)
            | PeerEvent::ImageSent(_)
            | PeerEvent::LogRead { .. }
            | PeerEvent::Image { .. } => true,
        };
        match event {
            PeerEvent::LinkUp(link) => member.step(now, zab::Input::LinkUp(link)),
            PeerEvent::LinkDown(link) => member.step(now, zab::Input::LinkDown(link)),
            PeerEvent::ImageSent(link) => member.step(now, zab::Input::SnapshotSent(link)),
            PeerEvent::LogRead { link, entries } => {
                member.step(now, zab::Input::LogRead { link, entries });
            }
            PeerEvent::Image { link, tree } => match &member.image {
                Image::Wanted(wanted) if *wanted == link => {
                    member.image = Image::None;
                    self.replace_tree(Output::InstallTree(tree), outputs);
                }
                Image::Wanted(_) | Image::None | Image::Received(..) => {
                    member.image = Image::Received(link, tree);
                }
            },
            PeerEvent::Packets(link, packets) => {
                for packet in packets {
                    if packet.kind == PacketType::Ping {
                        self.tell_who_is_alive(now, link);
                    }
                    let is_request = packet.kind == PacketType::Request;
                    if let Ensemble::Member(member) = &mut self.ensemble {
                        member.step(now, zab::Input::Packet(link, packet));
                    }
                    // A write is proposed before the next packet is looked at: a sync behind it waits for it.
                    if is_request {
                        self.execute_zab(now, outputs);
                    }
                }
            }
        }
    }

    /// Does what election and role have said, until they say no more.
    pub(super) fn settle_roles(&mut self, now: Now, outputs: &mut Outputs) {
        loop {
            self.try_hand_over(now, outputs);
            let Ensemble::Member(member) = &mut self.ensemble else {
                return;
            };
            if member.zab_outputs.is_empty() && member.election_outputs.is_empty() {
                if member.is_stale {
                    self.publish();
                }
                return;
            }
            let said = mem::take(&mut member.election_outputs);
            for output in said {
                self.execute_election(now, output, outputs);
            }
            self.execute_zab(now, outputs);
        }
    }

    fn execute_election(&mut self, now: Now, output: election::Output, outputs: &mut Outputs) {
        match output {
            election::Output::Notify { to, body } => outputs.list.push(Output::Notify { to, body }),
            election::Output::DialAll => outputs.list.push(Output::DialAll),
            election::Output::Decided { state, vote } => self.begin_role(now, state, vote, outputs),
            election::Output::VoterLooking(server) => {
                self.tell_leader(|leader, out| leader.voter_looking(now.mono, server, out));
            }
            election::Output::Outvoted(server) => {
                self.tell_leader(|leader, out| leader.outvoted(server, out))
            }
            election::Output::NewerConfig(config) => self.on_newer_config(now, config, outputs),
            election::Output::ProposedConfig(config) => self.on_unseen_config(now, config, outputs),
            election::Output::MembersDiffer { from, theirs } => self.warn_of_members(from, &theirs),
            election::Output::AddressDiffers { from, theirs, ours } => tracing::warn!(
                "server {0} says that it is {theirs}, but the server.{0} line of this server says {ours}: if \
                 that is not one place with two names, two servers have the myid {0}",
                from.0
            ),
        }
    }

    /// Does this with the own leader's role, while there is one.
    fn tell_leader(&mut self, tell: impl FnOnce(&mut Leader, &mut Vec<zab::Output>)) {
        if let Ensemble::Member(member) = &mut self.ensemble
            && let Zab::Leading(leader) = &mut member.zab
        {
            tell(leader, &mut member.zab_outputs);
        }
    }

    fn warn_of_members(&self, from: ServerId, theirs: &Members) {
        let Ensemble::Member(member) = &self.ensemble else {
            return;
        };
        tracing::warn!(
            "the server lists differ: server {} has the servers {theirs}, this server ({}) has {}; make the \
             server.N lines the same on all servers",
            from.0,
            member.zab_config.me.0,
            member.zab_config.configs.committed().members()
        );
    }

    /// Looks for a leader with what is on disk, or takes up what the last one has said.
    pub(super) fn look(&mut self, now: Now) {
        self.await_read_only(now);
        let Ensemble::Member(member) = &mut self.ensemble else {
            return;
        };
        let Some(rest) = &mut member.rest else { return };
        member.looking_since = now.mono;
        let last = rest.window.last();
        // Who holds any state of an epoch holds all that the epoch began with, as after a restart.
        member.epochs.1 = member.epochs.1.max(last.epoch());
        let (zxid, peer_epoch) = (last, member.epochs.1.0);
        if member.is_damaged {
            tracing::warn!("LOOKING without a vote, for a leader whose snapshot replaces what is damaged");
            let zxid = election::NO_HISTORY;
            member.elect(now, election::Input::Start { zxid, peer_epoch });
            return self.publish();
        }
        match rest.handover.take() {
            Some(Handover {
                leader,
                zxid,
                election_epoch,
                peer_epoch,
            }) => {
                let election_epoch = match election_epoch {
                    Handover::NEXT_ROUND => member.election.vote().election_epoch + 1,
                    _ => election_epoch,
                };
                let vote = Vote {
                    leader,
                    zxid,
                    election_epoch,
                    peer_epoch,
                };
                member.elect(now, election::Input::HandedOver { vote });
            }
            None => {
                tracing::info!("LOOKING, last transaction {zxid}, epoch {peer_epoch}");
                member.elect(now, election::Input::Start { zxid, peer_epoch });
            }
        }
        self.publish();
    }

    fn begin_role(&mut self, now: Now, state: PeerState, vote: Vote, outputs: &mut Outputs) {
        self.end_read_only(outputs);
        self.apply_rest();
        let tree_zxid = self.shared.tree.read().last_processed_zxid();
        let Ensemble::Member(member) = &mut self.ensemble else {
            return;
        };
        let Some(rest) = member.rest.take() else { return };
        let last = rest.window.last();
        assert_eq!(tree_zxid, last, "between roles the tree holds the whole log");
        let history = History {
            last_logged: last,
            last_applied: last,
            accepted_epoch: member.epochs.0,
            current_epoch: member.epochs.1,
        };
        let took = (now.mono - member.looking_since).0;
        member.election_ms = Some(took);
        let masters = member.masters();
        let (config, out) = (member.zab_config.clone(), &mut member.zab_outputs);
        let word = match state {
            PeerState::Leading => "LEADING",
            PeerState::Observing => "OBSERVING",
            PeerState::Following | PeerState::Looking => "FOLLOWING",
        };
        tracing::info!(
            leader = vote.leader.0,
            zxid = %last,
            round = vote.election_epoch,
            "{word} - LEADER ELECTION TOOK - {took} ms"
        );
        member.zab = if state == PeerState::Leading {
            self.shared.proposal_size.reset();
            let leader = Leader::new(config, now.mono, history, rest.window, out);
            Zab::Leading(Box::new(leader))
        } else {
            let role = (vote.leader, masters);
            let standing = match (member.is_damaged, member.needs_snapshot) {
                (true, _) => Standing::Damaged,
                (false, true) => Standing::NeedsSnapshot,
                (false, false) => Standing::Whole,
            };
            let learner = zab::Learner::new(config, now.mono, history, rest.window, role, standing, out);
            Zab::Learning(Box::new(learner))
        };
        self.publish();
    }

    /// Clients are served from here on.
    pub(super) fn activate(&mut self, now: Now, epoch: Epoch, outputs: &mut Outputs) {
        let Ensemble::Member(member) = &mut self.ensemble else {
            return;
        };
        member.needs_snapshot = false;
        member.active_since = Some(now.mono);
        member.asked_at = now.mono;
        member.elect(now, election::Input::EpochJoined { epoch: epoch.0 });
        let leads = member.leads();
        let is_serving = (!leads || member.leader_serves) && !member.is_leaving();
        tracing::info!("epoch {} has begun; serving", epoch.0);
        if leads {
            self.adopt_sessions(now);
            self.close_orphans(now, outputs);
            self.containers.start(now.mono);
        }
        self.set_serving(is_serving, outputs);
        self.publish();
    }

    pub(super) fn set_serving(&mut self, is_serving: bool, outputs: &mut Outputs) {
        if self.shared.is_serving.swap(is_serving, Relaxed) != is_serving {
            outputs.list.push(Output::Serving(is_serving));
        }
    }

    /// The role is over: clients are sent away before anything changes under them.
    pub(super) fn end_role(
        &mut self,
        now: Now,
        reason: &str,
        needs_snapshot: bool,
        handover: Option<Handover>,
        outputs: &mut Outputs,
    ) {
        tracing::warn!("the role has ended: {reason}");
        self.set_serving(false, outputs);
        self.close_conns(outputs);
        self.prep.clear();
        self.shared.sessions.lock().clear();
        self.shared.local_sessions.lock().clear();
        self.snapshots.forget_waiting();
        self.containers.stop();
        let Ensemble::Member(member) = &mut self.ensemble else {
            return;
        };
        let (window, uncommitted) = match mem::take(&mut member.zab) {
            Zab::Looking => return,
            Zab::Leading(leader) => leader.into_parts(),
            Zab::Learning(mut learner) => {
                if let Some(masters) = learner.take_masters() {
                    member.masters = masters;
                }
                learner.into_parts()
            }
        };
        member.rest = Some(Rest {
            window,
            uncommitted,
            unapplied: Vec::new(),
            handover,
        });
        member.role += 1;
        member.needs_snapshot |= needs_snapshot;
        member.owners.clear();
        member.revalidating.clear();
        member.abandoned.clear();
        member.image = Image::None;
        if let Some(Replacement::Waiting(_)) = member.replacement {
            // Nothing of it has happened yet.
            member.replacement = None;
        }
        member.active_since = None;
        member.elect(now, election::Input::RoleEnded);
        outputs.list.push(Output::ResetPeers);
        outputs.list.push(Output::FenceLog);
        self.publish();
    }

    pub(super) fn close_conns(&mut self, outputs: &mut Outputs) {
        for (id, conn) in mem::take(&mut self.conns) {
            conn.shared.outbox.close();
            self.forget_outstanding(conn.pending.len() + self.forget_questions(id));
            self.shared.watches.remove_conn(conn.shared.id);
            outputs.wake.push(conn.shared);
        }
        self.conn_of_session.clear();
        self.syncs.clear();
    }

    fn on_log_fenced(&mut self, now: Now) {
        if mutants::is_on(Mutant::M6b) {
            self.look(now);
        }
        let Ensemble::Member(member) = &mut self.ensemble else {
            return;
        };
        let Some(rest) = &mut member.rest else { return };
        rest.unapplied = mem::take(&mut rest.uncommitted);
        for entry in &rest.unapplied {
            rest.window.push(entry.clone());
        }
        if self.read_only_after.is_none() {
            self.apply_rest();
        }
        if !mutants::is_on(Mutant::M6b) {
            self.look_after_pause(now);
        }
    }

    /// The tree takes what is logged and nobody has said to be committed.
    fn apply_rest(&mut self) {
        let Ensemble::Member(member) = &mut self.ensemble else {
            return;
        };
        let Some(rest) = &mut member.rest else { return };
        if rest.unapplied.is_empty() {
            return;
        }
        let mut tree = self.shared.tree.write();
        for entry in rest.unapplied.drain(..) {
            replay(&mut tree, &entry);
        }
    }

    /// Puts something in the place of the tree, as soon as nobody walks through it.
    pub(super) fn replace_tree(&mut self, how: Output, outputs: &mut Outputs) {
        let Ensemble::Member(member) = &mut self.ensemble else {
            return;
        };
        member.replacement = Some(Replacement::Waiting(how));
        self.retry_replacement(outputs);
    }

    pub(super) fn retry_replacement(&mut self, outputs: &mut Outputs) {
        let Ensemble::Member(member) = &mut self.ensemble else {
            return;
        };
        if self.snapshots.is_running() {
            return;
        }
        match member.replacement.take() {
            Some(Replacement::Waiting(how)) => {
                member.replacement = Some(Replacement::UnderWay);
                outputs.list.push(how);
            }
            other => member.replacement = other,
        }
    }

    fn on_tree_replaced(&mut self, now: Now, mut tree: Box<DataTree>, outputs: &mut Outputs) {
        let zxid = tree.last_processed_zxid();
        if let Ensemble::Member(member) = &self.ensemble {
            // An image shows the leader's list; each server goes by its own.
            let config = member.zab_config.configs.committed();
            tree.set_config(config.text(), Zxid(config.version()), now.wall_ms);
        }
        let old = mem::replace(&mut *self.shared.tree.write(), *tree);
        outputs.list.push(Output::DropTree(Box::new(old)));
        self.prep.clear();
        *self.shared.damage.lock() = None;
        let Ensemble::Member(member) = &mut self.ensemble else {
            return;
        };
        if member.is_damaged {
            // The image is on disk: this server holds a whole history again, and has its vote.
            (member.is_damaged, member.needs_snapshot) = (false, false);
        }
        member.replacement = None;
        match &mut member.rest {
            // The role ended while the log was at it.
            Some(rest) => {
                rest.uncommitted.clear();
                rest.unapplied.clear();
                rest.window.reset(zxid);
            }
            None => member.step(now, zab::Input::SnapshotInstalled { zxid }),
        }
    }

    /// The role wants the image that this connection brings.
    pub(super) fn want_image(&mut self, link: LinkId, outputs: &mut Outputs) {
        let Ensemble::Member(member) = &mut self.ensemble else {
            return;
        };
        match mem::take(&mut member.image) {
            Image::Received(from, tree) if from == link => {
                self.replace_tree(Output::InstallTree(tree), outputs);
            }
            Image::Received(..) | Image::Wanted(_) | Image::None => member.image = Image::Wanted(link),
        }
    }
}

/// Applies what is in the log without anybody watching.
fn replay(tree: &mut DataTree, entry: &LogEntry) {
    let logged = txn::decode(&entry.encoded).expect("what was logged here was decoded before");
    assert!(
        zab::follows(tree.last_processed_zxid(), entry.zxid),
        "the log has no gap"
    );
    tree.process_txn(&logged.header, &logged.txn, &mut ());
}
