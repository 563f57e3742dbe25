//! What the server is in its ensemble, for those who ask.

use std::sync::atomic::Ordering::Relaxed;

use super::{Ensemble, Replica};
use crate::shared::{LeadingStatus, LearnerLine, Mode, RoleStatus, ZabState};
use crate::zab::{LeaderStatus, LearnerState, Zab};

impl Replica {
    /// Publishes the role. Called when it changes, and now and then for its figures.
    pub(super) fn publish(&mut self) {
        let Ensemble::Member(member) = &mut self.ensemble else {
            return;
        };
        member.is_stale = false;
        member.up.clear();
        let mut status = RoleStatus {
            mode: Mode::Looking,
            state: ZabState::Election,
            leader: None,
            epoch: member.epochs.1,
            active_since_ms: member.active_since.map(|at| at.0),
            election_ms: member.election_ms,
            leading: None,
            observer_master: None,
            synced_observers: None,
        };
        match &member.zab {
            Zab::Looking if self.shared.is_read_only.load(Relaxed) => status.mode = Mode::ReadOnly,
            Zab::Looking => {}
            Zab::Learning(learner) => {
                let (leader, state) = learner.status();
                status.mode = match member.is_observer() {
                    true => Mode::Observer,
                    false => Mode::Follower,
                };
                status.observer_master = learner.master();
                // Whom a follower follows it says to nobody, and the election may have named an earlier one.
                status.leader = Some(leader).filter(|_| status.observer_master.is_none());
                status.synced_observers = learner.synced_observers();
                status.state = match state {
                    LearnerState::Discovery => ZabState::Discovery,
                    LearnerState::Synchronization => ZabState::Synchronization,
                    LearnerState::Broadcast => ZabState::Broadcast,
                    LearnerState::Ended => ZabState::Election,
                };
            }
            Zab::Leading(leader) => {
                status.mode = Mode::Leader;
                status.leader = Some(member.zab_config.me);
                status.state = match leader.is_active() {
                    true => ZabState::Broadcast,
                    false => ZabState::Discovery,
                };
                let figures = leader.status();
                let up = figures.learners.iter().filter(|learner| learner.is_up);
                member.up.extend(up.map(|learner| learner.link));
                status.leading = Some(leading(&figures));
            }
        }
        *self.shared.role.lock() = status;
    }
}

fn leading(status: &LeaderStatus) -> LeadingStatus {
    let learners = status.learners.iter().filter_map(|learner| {
        Some(LearnerLine {
            server: learner.server?,
            is_observer: learner.is_observer,
            is_up: learner.is_up,
            acked: learner.acked,
        })
    });
    LeadingStatus {
        learners: learners.collect(),
        synced_followers: status.synced_followers,
        synced_non_voting_followers: status.synced_non_voting_followers,
        synced_observers: status.synced_observers,
        pending_syncs: status.pending_syncs,
        last_proposed: status.last_proposed,
        last_committed: status.last_committed,
        // Asked for where it is shown.
        proposal_bytes: [-1; 3],
    }
}
