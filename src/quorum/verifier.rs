//! Whether a set of servers is a quorum (QuorumVerifier, QuorumMaj).

use std::collections::BTreeSet;

use crate::ids::ServerId;

/// The voting members, and the rule by which some of them are enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumVerifier {
    voters: BTreeSet<ServerId>,
}

/// Servers that have acknowledged something. One server counts once, however often it answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AckSet(BTreeSet<ServerId>);

impl QuorumVerifier {
    /// More than half of the voters.
    pub fn majority(voters: impl IntoIterator<Item = ServerId>) -> QuorumVerifier {
        let voters: BTreeSet<ServerId> = voters.into_iter().collect();
        assert!(!voters.is_empty(), "an ensemble without voters never decides");
        QuorumVerifier { voters }
    }

    /// Whether those who acknowledged are a quorum. Those who have no vote are not counted.
    pub fn contains_quorum(&self, acks: &AckSet) -> bool {
        let count = acks
            .0
            .iter()
            .filter(|server| self.voters.contains(server))
            .count();
        count > self.voters.len() / 2
    }
}

impl AckSet {
    /// Adds a server.
    pub fn add(&mut self, server: ServerId) {
        self.0.insert(server);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acks(servers: &[i64]) -> AckSet {
        let mut acks = AckSet::default();
        servers.iter().for_each(|id| acks.add(ServerId(*id)));
        acks
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
            let verifier = QuorumVerifier::majority(voters.iter().map(|id| ServerId(*id)));
            assert_eq!(
                verifier.contains_quorum(&acks(acked)),
                expected,
                "{acked:?} of {voters:?}"
            );
        }
    }
}
