//! When a leader answers sync (Leader.processSync, and stronger).
//!
//! Behind all that was proposed before it; and, unless switched off, after a quorum has answered a ping that
//! was sent later than the request came in. No newer leader can have committed anything by then, so what is
//! read behind a sync is not older than any write acknowledged before it, anywhere. A commit of what was
//! proposed later than the request came in says the same. No such commit leaves before the answer does:
//! Apache's learners take both in the order of their clients' requests.

use super::leader::{Leader, Stage};
use super::learner_progress::Phase;
use super::{LinkId, Output};
use crate::ids::Zxid;
use crate::proto::quorum::{PacketType, QuorumPacket};
use crate::quorum::verifier::AckSet;

/// A sync, answered when `after` is committed and the round is confirmed.
#[derive(Debug)]
pub(super) struct PendingSync {
    /// `None` for this server's own client.
    pub from: Option<LinkId>,
    pub after: Zxid,
    pub round: u64,
}

impl PendingSync {
    fn answer(&self) -> Output {
        match self.from {
            None => Output::SyncReply,
            Some(link) => {
                let packet = QuorumPacket::new(PacketType::Sync, Zxid::ZERO, None);
                Output::Send(link, packet.to_bytes())
            }
        }
    }
}

/// Rounds of pings that confirm that a quorum still follows; one at a time.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub confirmed: u64,
    pub is_under_way: bool,
}

impl Leader {
    /// A client wants to read what is committed by now: a learner's, or this server's own. Answers come in
    /// the order of the calls.
    pub fn sync_requested(&mut self, from: Option<LinkId>, out: &mut Vec<Output>) {
        if self.stage != Stage::Active {
            return;
        }
        // A round that is under way may have been answered before this was asked.
        let round = match self.config.sync_asks_quorum {
            true => self.round.confirmed + 1 + u64::from(self.round.is_under_way),
            false => 0,
        };
        self.syncs.push_back(PendingSync {
            from,
            after: self.broadcast.last_proposed(),
            round,
        });
        self.settle_syncs(out);
    }

    /// Answers the syncs that may be answered, and asks the quorum for those that wait for it.
    pub(super) fn settle_syncs(&mut self, out: &mut Vec<Output>) {
        // Another one leads in a moment, and may commit what this one does not know.
        while !self.is_leaving() {
            if self.round.is_under_way && self.is_round_confirmed() {
                self.round.confirmed += 1;
                self.round.is_under_way = false;
            }
            while let Some(sync) = self.syncs.pop_front_if(|sync| {
                sync.after <= self.broadcast.last_committed() && sync.round <= self.round.confirmed
            }) {
                out.push(sync.answer());
            }
            let is_waiting = self.syncs.iter().any(|sync| sync.round > self.round.confirmed);
            if self.round.is_under_way || !is_waiting {
                return;
            }
            self.round.is_under_way = true;
            let links = self.links(|phase| phase == Phase::Up);
            for link in links {
                self.ping(link, out);
            }
        }
    }

    /// Some sync came in before this transaction was proposed.
    pub(super) fn has_sync_before(&self, zxid: Zxid) -> bool {
        self.syncs.front().is_some_and(|sync| sync.after < zxid)
    }

    /// Answers the syncs that came in before this transaction was proposed: it is committed now.
    pub(super) fn answer_syncs_before(&mut self, zxid: Zxid, out: &mut Vec<Output>) {
        while let Some(sync) = self.syncs.pop_front_if(|sync| sync.after < zxid) {
            out.push(sync.answer());
        }
    }

    fn is_round_confirmed(&self) -> bool {
        let mut confirmed = AckSet::default();
        confirmed.add(self.config.me);
        for learner in self.learners.values() {
            let is_asked = learner.round == self.round.confirmed + 1;
            let has_answered = is_asked && learner.pings_answered >= learner.round_mark;
            if learner.phase == Phase::Up && !learner.is_observer && has_answered {
                confirmed.add(learner.server);
            }
        }
        self.config.configs.contains_quorum(&confirmed)
    }

    pub(super) fn ping(&mut self, link: LinkId, out: &mut Vec<Output>) {
        let packet = QuorumPacket::new(PacketType::Ping, self.broadcast.last_proposed(), None);
        let Some(learner) = self.learners.get_mut(&link) else {
            return;
        };
        out.push(Output::Send(link, packet.to_bytes()));
        if learner.phase == Phase::Up {
            learner.pings_sent += 1;
            let round = self.round.confirmed + 1;
            if self.round.is_under_way && learner.round != round {
                (learner.round, learner.round_mark) = (round, learner.pings_sent);
            }
        }
    }
}
