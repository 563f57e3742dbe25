//! Votes, and which of two is better (Vote, FastLeaderElection.totalOrderPredicate).

use crate::ids::{ServerId, Zxid};
use crate::mutants::{self, Mutant};
use crate::proto::vote::{Notification, PeerState};
use crate::quorum::configs::Configs;

/// A server proposed as leader, and why it deserves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// The server.
    pub leader: ServerId,
    /// Its last durable zxid.
    pub zxid: Zxid,
    /// The round of the election: the logical clock of who voted.
    pub election_epoch: i64,
    /// The epoch of its history (`currentEpoch`).
    pub peer_epoch: i64,
}

/// A vote as it is counted: with the state of who gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ballot {
    pub vote: Vote,
    pub state: PeerState,
    /// Version of the notification that brought it; 0 also for what counts as having none.
    pub version: i32,
}

impl Vote {
    pub(super) fn of(notification: &Notification) -> Vote {
        Vote {
            leader: notification.leader,
            zxid: notification.zxid,
            election_epoch: notification.election_epoch,
            peer_epoch: notification.peer_epoch,
        }
    }

    /// The newer history wins, and among equals the larger server id; rounds do not matter. Nobody votes for
    /// a server without weight.
    pub fn beats(&self, other: &Vote, configs: &Configs) -> bool {
        configs.weight(self.leader) > 0 && self.rank() > other.rank()
    }

    fn rank(&self) -> (i64, Zxid, ServerId) {
        if mutants::is_on(Mutant::M6a) {
            return (self.zxid.0, Zxid(self.peer_epoch), self.leader);
        }
        (self.peer_epoch, self.zxid, self.leader)
    }
}

impl Ballot {
    /// A vote of a server that still looks for a leader.
    pub fn looking(vote: Vote) -> Ballot {
        Ballot {
            vote,
            state: PeerState::Looking,
            version: 0,
        }
    }

    /// Whether both are for the same leader in the same sense (Vote.equals). Between settled servers the
    /// round and the zxid do not matter, and against one that sent no version the epoch does not either.
    pub fn matches(&self, other: &Ballot) -> bool {
        let (a, b) = (&self.vote, &other.vote);
        if self.state == PeerState::Looking || other.state == PeerState::Looking {
            return a == b;
        }
        let is_epoch_known = (self.version == 0) == (other.version == 0);
        a.leader == b.leader && (!is_epoch_known || a.peer_epoch == b.peer_epoch)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::quorum::members::Members;

    fn vote(leader: i64, zxid: i64, peer_epoch: i64) -> Vote {
        Vote {
            leader: ServerId(leader),
            zxid: Zxid(zxid),
            election_epoch: 1,
            peer_epoch,
        }
    }

    fn configs(more: &str) -> Configs {
        let lines = (0..4).map(|id| format!("server.{id}=h:1:2\n"));
        let text = lines.collect::<String>() + more;
        Configs::new(Members::parse(&text).unwrap())
    }

    fn any_vote() -> impl Strategy<Value = Vote> {
        (0..4i64, 0..4i64, 0..4i64).prop_map(|(leader, zxid, epoch)| vote(leader, zxid, epoch))
    }

    proptest! {
        /// A cycle of votes would let an election go on for ever.
        #[test]
        fn zk_1419_the_order_of_votes_is_total(a in any_vote(), b in any_vote(), c in any_vote()) {
            let configs = configs("");
            let beats = |a: &Vote, b: &Vote| a.beats(b, &configs);
            prop_assert!(!beats(&a, &a));
            prop_assert_eq!(a == b, !beats(&a, &b) && !beats(&b, &a));
            prop_assert!(!(beats(&a, &b) && beats(&b, &a)));
            prop_assert!(!(beats(&a, &b) && beats(&b, &c)) || beats(&a, &c));
        }
    }

    #[test]
    fn epoch_then_zxid_then_server_decide() {
        let configs = configs("");
        for (better, worse) in [
            (vote(1, 0, 2), vote(3, 9, 1)),
            (vote(1, 9, 1), vote(3, 8, 1)),
            (vote(3, 8, 1), vote(1, 8, 1)),
        ] {
            assert!(
                better.beats(&worse, &configs),
                "{better:?} is better than {worse:?}"
            );
        }
    }

    #[test]
    fn nobody_adopts_a_server_without_weight() {
        let configs = configs("group.1=0:1:2:3\nweight.2=0");
        assert!(!vote(2, 9, 9).beats(&vote(1, 0, 0), &configs));
        assert!(vote(1, 9, 0).beats(&vote(2, 0, 0), &configs));
    }

    #[test]
    fn settled_votes_match_by_leader_and_epoch() {
        let ballot = |state, version, zxid, peer_epoch| Ballot {
            vote: vote(1, zxid, peer_epoch),
            state,
            version,
        };
        use PeerState::{Following, Leading, Looking};
        assert!(ballot(Following, 2, 5, 8).matches(&ballot(Leading, 2, 6, 8)));
        assert!(!ballot(Following, 2, 5, 8).matches(&ballot(Leading, 2, 5, 9)));
        assert!(ballot(Following, 0, 5, 8).matches(&ballot(Leading, 2, 5, 9)));
        assert!(ballot(Looking, 0, 5, 8).matches(&ballot(Following, 2, 5, 8)));
        assert!(!ballot(Looking, 0, 5, 8).matches(&ballot(Following, 2, 6, 8)));
    }
}
