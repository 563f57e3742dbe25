//! What an operator sees of a leader and its learners.

use super::LinkId;
use super::leader::Leader;
use super::learner_progress::{LearnerProgress, Phase};
use crate::ids::{Epoch, ServerId, Zxid};

/// What an operator sees of a leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderStatus {
    /// The epoch, once it is chosen.
    pub epoch: Epoch,
    /// Whether clients are served.
    pub is_active: bool,
    /// Connections, also those that have said nothing yet.
    pub learners: Vec<LearnerStatus>,
    /// Followers with a vote that serve clients and are in time.
    pub synced_followers: usize,
    /// Followers without one.
    pub synced_non_voting_followers: usize,
    /// Observers.
    pub synced_observers: usize,
    /// Syncs of clients that wait to be answered.
    pub pending_syncs: usize,
    /// Proposals that are not committed yet.
    pub outstanding_proposals: usize,
    /// The newest proposal.
    pub last_proposed: Zxid,
    /// The newest commit.
    pub last_committed: Zxid,
}

/// What an operator sees of a learner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnerStatus {
    /// Its connection.
    pub link: LinkId,
    /// Its id; `None` before it has said it.
    pub server: Option<ServerId>,
    /// Observer or follower.
    pub is_observer: bool,
    /// Whether it is one of ours.
    pub is_zkserver: bool,
    /// Whether it may serve clients.
    pub is_up: bool,
    /// The last proposal it has acknowledged.
    pub acked: Option<Zxid>,
}

impl Leader {
    /// For operators.
    pub fn status(&self) -> LeaderStatus {
        let verifier = self.config.configs.committed().verifier();
        let is_voter = |learner: &LearnerProgress| verifier.is_voter(learner.server);
        let is_synced =
            |learner: &LearnerProgress| learner.phase == Phase::Up && self.tick <= learner.synced_until;
        let count = |wanted: &dyn Fn(&LearnerProgress) -> bool| {
            self.learners.values().filter(|learner| wanted(learner)).count()
        };
        let learners = self.learners.iter().map(|(link, learner)| LearnerStatus {
            link: *link,
            server: Some(learner.server).filter(|_| learner.phase != Phase::Hello),
            is_observer: learner.is_observer,
            is_zkserver: learner.is_zkserver,
            is_up: learner.phase == Phase::Up,
            acked: self.broadcast.acked(learner.server),
        });
        LeaderStatus {
            epoch: self.epoch,
            is_active: self.is_active(),
            learners: learners.collect(),
            synced_followers: count(&|it| is_synced(it) && !it.is_observer && is_voter(it)),
            synced_non_voting_followers: count(&|it| is_synced(it) && !it.is_observer && !is_voter(it)),
            synced_observers: count(&|it| is_synced(it) && it.is_observer),
            pending_syncs: self.syncs.len(),
            outstanding_proposals: self.broadcast.outstanding_count(),
            last_proposed: self.broadcast.last_proposed(),
            last_committed: self.broadcast.last_committed(),
        }
    }
}
