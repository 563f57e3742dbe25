//! Whether a set of servers is a quorum (QuorumVerifier, QuorumMaj, QuorumHierarchical).
//!
//! Invariant: two quorums of one verifier have a server in common, and only voters count.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::ServerId;
use crate::mutants::{self, Mutant};

/// The voting members, and the rule by which some of them are enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumVerifier {
    voters: BTreeSet<ServerId>,
    rule: Rule,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    /// More than half of the voters.
    Majority,
    /// More than half of the weight in each of more than half of the groups.
    Hierarchical {
        groups: Vec<Vec<ServerId>>,
        weights: BTreeMap<ServerId, u64>,
    },
}

/// Servers that have acknowledged something. One server counts once, however often it answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AckSet(BTreeSet<ServerId>);

impl QuorumVerifier {
    /// More than half of the voters.
    pub fn majority(voters: impl IntoIterator<Item = ServerId>) -> QuorumVerifier {
        let voters: BTreeSet<ServerId> = voters.into_iter().collect();
        assert!(!voters.is_empty(), "an ensemble without voters never decides");
        QuorumVerifier {
            voters,
            rule: Rule::Majority,
        }
    }

    /// More than half of the weight in each of more than half of the groups. The groups are disjoint and hold
    /// every voter. A voter without a weight has 1; groups that weigh nothing are not counted.
    pub fn hierarchical(groups: Vec<Vec<ServerId>>, weights: BTreeMap<ServerId, u64>) -> QuorumVerifier {
        let voters: BTreeSet<ServerId> = groups.iter().flatten().copied().collect();
        assert!(!voters.is_empty(), "an ensemble without voters never decides");
        QuorumVerifier {
            voters,
            rule: Rule::Hierarchical { groups, weights },
        }
    }

    /// Whether those who acknowledged are a quorum. Those who have no vote are not counted.
    pub fn contains_quorum(&self, acks: &AckSet) -> bool {
        match &self.rule {
            Rule::Majority if mutants::is_on(Mutant::M5a) => acks.0.len() >= (self.voters.len() / 2).max(1),
            Rule::Majority if mutants::is_on(Mutant::M5b) => acks.0.len() > self.voters.len() / 2,
            Rule::Majority => acks.0.intersection(&self.voters).count() > self.voters.len() / 2,
            Rule::Hierarchical { groups, .. } => {
                let is_won = |group: &&(u128, u128)| group.1 > group.0 / 2;
                let weigh = |group: &Vec<ServerId>| {
                    let acked = group.iter().filter(|server| acks.0.contains(server));
                    (self.sum(group.iter()), self.sum(acked))
                };
                let counted: Vec<_> = groups.iter().map(weigh).filter(|(all, _)| *all > 0).collect();
                counted.iter().filter(is_won).count() > counted.len() / 2
            }
        }
    }

    /// Whether the server has a vote, be it one of weight 0.
    pub fn is_voter(&self, server: ServerId) -> bool {
        self.voters.contains(&server)
    }

    /// The servers that have a vote, in ascending order.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.voters.iter().copied()
    }

    /// How much the server's vote weighs; 0 for who has none. A server of weight 0 is never elected.
    pub fn weight(&self, server: ServerId) -> u64 {
        if !self.is_voter(server) {
            return 0;
        }
        match &self.rule {
            Rule::Majority => 1,
            Rule::Hierarchical { weights, .. } => weights.get(&server).copied().unwrap_or(1),
        }
    }

    fn sum<'a>(&self, servers: impl Iterator<Item = &'a ServerId>) -> u128 {
        servers.map(|server| u128::from(self.weight(*server))).sum()
    }
}

impl AckSet {
    /// Adds a server.
    pub fn add(&mut self, server: ServerId) {
        self.0.insert(server);
    }

    /// Takes a server out again.
    pub fn remove(&mut self, server: ServerId) {
        self.0.remove(&server);
    }
}

impl FromIterator<ServerId> for AckSet {
    fn from_iter<I: IntoIterator<Item = ServerId>>(servers: I) -> AckSet {
        AckSet(servers.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(servers: &[i64]) -> Vec<ServerId> {
        servers.iter().copied().map(ServerId).collect()
    }

    fn acks(servers: &[i64]) -> AckSet {
        ids(servers).into_iter().collect()
    }

    #[test]
    fn only_more_than_half_of_the_voters_is_a_quorum() {
        let table: [(&[i64], &[i64], bool); 8] = [
            (&[1], &[1], true),
            (&[1], &[2], false),
            (&[1, 2], &[1], false),
            (&[1, 2], &[1, 2], true),
            (&[1, 2, 3], &[3, 3], false),
            (&[1, 2, 3], &[1, 3], true),
            (&[1, 2, 3, 4], &[1, 2], false),
            (&[1, 2, 3], &[1, 4, 5], false),
        ];
        for (voters, acked, expected) in table {
            let verifier = QuorumVerifier::majority(ids(voters));
            assert_eq!(
                verifier.contains_quorum(&acks(acked)),
                expected,
                "{acked:?} of {voters:?}"
            );
        }
    }

    #[test]
    fn a_hierarchical_quorum_wins_most_groups_by_weight() {
        let groups = vec![ids(&[1, 2, 3]), ids(&[4, 5, 6]), ids(&[7, 8, 9])];
        let verifier = QuorumVerifier::hierarchical(groups, BTreeMap::from([(ServerId(3), 5)]));
        let table: [(&[i64], bool); 8] = [
            (&[], false),
            (&[1, 2, 4, 5], false),
            (&[3, 4, 5], true),
            (&[4, 5, 7, 8], true),
            (&[4, 7, 3], false),
            (&[3, 10, 11, 12], false),
            (&[1, 2, 4, 6, 7], false),
            (&[1, 2, 3, 4, 5, 6, 7, 8, 9], true),
        ];
        for (acked, expected) in table {
            assert_eq!(verifier.contains_quorum(&acks(acked)), expected, "{acked:?}");
        }
        assert_eq!(
            (verifier.weight(ServerId(3)), verifier.weight(ServerId(1))),
            (5, 1)
        );
        assert_eq!((verifier.weight(ServerId(10)), verifier.voters().count()), (0, 9));
    }

    #[test]
    fn groups_without_weight_are_not_counted() {
        let groups = vec![ids(&[1, 2, 3]), ids(&[4, 5])];
        let none = BTreeMap::from([(ServerId(4), 0), (ServerId(5), 0)]);
        let verifier = QuorumVerifier::hierarchical(groups, none);
        assert!(verifier.contains_quorum(&acks(&[1, 2])));
        assert!(!verifier.contains_quorum(&acks(&[1, 4, 5])));
        assert!(verifier.is_voter(ServerId(4)));
    }

    #[test]
    fn two_quorums_always_meet() {
        let groups = vec![ids(&[1, 2]), ids(&[3]), ids(&[4, 5, 6])];
        let weights = BTreeMap::from([(ServerId(1), 2), (ServerId(5), 0)]);
        for verifier in [
            QuorumVerifier::majority(ids(&[1, 2, 3, 4, 5, 6])),
            QuorumVerifier::hierarchical(groups, weights),
        ] {
            let subset = |bits: u32| (1..=6).filter(move |id| bits >> id & 1 == 1).map(ServerId);
            let quorums: Vec<u32> = (0..64)
                .map(|half| half << 1)
                .filter(|bits| verifier.contains_quorum(&subset(*bits).collect()))
                .collect();
            assert!(!quorums.is_empty());
            let meets = |a: &u32| quorums.iter().all(|b| a & b != 0);
            assert!(quorums.iter().all(meets));
        }
    }
}
