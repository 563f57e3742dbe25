//! A leader that is asked to end names the next one first, so that nobody has to notice its absence.
//!
//! It proposes nothing any more, waits until everything is committed and one follower has all of it, tells
//! the learners, and ends. The name is a hint, no more: whoever is named has to win an epoch from a quorum
//! as after an election, and if it cannot, the others elect. Apache's followers are not told and elect at
//! once, since their connections end.

use super::{Ensemble, Output, Outputs, Replica};
use crate::clock::{Millis, Now};
use crate::ids::ServerId;
use crate::proto::quorum::Handover;
use crate::zab::{LeaderStatus, LearnerStatus, Zab};

impl Replica {
    /// The server is asked to end.
    pub(super) fn on_stop(&mut self, now: Now, outputs: &mut Outputs) {
        self.set_serving(false, outputs);
        self.end_read_only(outputs);
        let Ensemble::Member(member) = &mut self.ensemble else {
            return outputs.list.push(Output::Stopped);
        };
        let has_heir = match &member.zab {
            Zab::Leading(leader) if leader.is_active() => {
                let verifier = member.zab_config.configs.committed().verifier();
                let learners = leader.status().learners;
                learners
                    .iter()
                    .any(|learner| is_able(learner) && verifier.is_voter(server(learner)))
            }
            Zab::Leading(_) | Zab::Learning(_) | Zab::Looking => false,
        };
        if has_heir {
            member.handing_over = Some(now.mono + Millis(PATIENCE_MS));
        } else {
            outputs.list.push(Output::Stopped);
        }
    }

    /// Hands over as soon as somebody has everything.
    pub(super) fn try_hand_over(&mut self, now: Now, outputs: &mut Outputs) {
        let Ensemble::Member(member) = &mut self.ensemble else {
            return;
        };
        let Some(until) = member.handing_over else { return };
        let Zab::Leading(leader) = &member.zab else {
            member.handing_over = None;
            return outputs.list.push(Output::Stopped);
        };
        let status = leader.status();
        let verifier = member.zab_config.configs.committed().verifier();
        let heirs = status.learners.iter().filter(|learner| {
            is_able(learner) && verifier.weight(server(learner)) > 0 && has_everything(&status, learner)
        });
        let heir = heirs.map(server).max();
        match heir {
            Some(heir) if status.outstanding_proposals == 0 => {
                let vote = member.election.vote();
                let handover = Handover {
                    leader: heir,
                    zxid: status.last_committed,
                    election_epoch: vote.election_epoch + 1,
                    peer_epoch: status.epoch.0,
                };
                tracing::info!("handing over to server {}", heir.0);
                leader.hand_over(handover, &mut member.zab_outputs);
            }
            Some(_) | None if now.mono < until => return,
            Some(_) | None => tracing::warn!("no follower has everything: ending without handing over"),
        }
        member.handing_over = None;
        self.execute_zab(now, outputs);
        outputs.list.push(Output::Stopped);
    }
}

/// A follower of ours that serves.
fn is_able(learner: &LearnerStatus) -> bool {
    learner.is_up && !learner.is_observer && learner.is_zkserver
}

fn server(learner: &LearnerStatus) -> ServerId {
    learner.server.unwrap_or(ServerId(i64::MIN))
}

fn has_everything(status: &LeaderStatus, learner: &LearnerStatus) -> bool {
    let nothing_proposed = status.last_proposed.counter() == 0;
    nothing_proposed || learner.acked >= Some(status.last_proposed)
}

/// How long everything may take to be committed and to reach a follower's disk.
const PATIENCE_MS: u64 = 500;
