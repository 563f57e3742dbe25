//! The votes of a round, counted (FastLeaderElection.getVoteTracker, checkLeader).

use std::collections::BTreeMap;

use super::vote::Ballot;
use crate::ids::ServerId;
use crate::proto::vote::PeerState;
use crate::quorum::configs::Configs;
use crate::quorum::verifier::QuorumVerifier;

/// The last vote of each server.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(BTreeMap<ServerId, Ballot>);

impl Tally {
    /// The server's vote is now this one.
    pub fn insert(&mut self, from: ServerId, ballot: Ballot) {
        self.0.insert(from, ballot);
    }

    /// The server's vote no longer counts.
    pub fn remove(&mut self, from: ServerId) {
        self.0.remove(&from);
    }

    /// A new round: nobody has voted.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether this server has voted so.
    pub fn has_voted(&self, server: ServerId, ballot: &Ballot) -> bool {
        self.0.get(&server).is_some_and(|theirs| theirs.matches(ballot))
    }

    /// Whether a quorum of each configuration that counts has voted so.
    pub fn has_quorum(&self, configs: &Configs, ballot: &Ballot) -> bool {
        configs
            .all()
            .all(|config| self.is_quorum(config.verifier(), ballot))
    }

    /// Whether a quorum of one configuration follows so. That is enough to follow, too, which promises
    /// nothing; one that was proposed and never committed may never have another.
    pub fn has_followers(&self, configs: &Configs, ballot: &Ballot) -> bool {
        configs
            .all()
            .any(|config| self.is_quorum(config.verifier(), ballot))
    }

    fn is_quorum(&self, verifier: &QuorumVerifier, ballot: &Ballot) -> bool {
        let voted = verifier.voters().filter(|server| self.has_voted(*server, ballot));
        verifier.contains_quorum(&voted.collect())
    }

    /// Whether the server itself says that it leads. Without this, a server that crashed as leader could be
    /// elected by the old votes of those who followed it.
    pub fn is_leading(&self, leader: ServerId) -> bool {
        let theirs = self.0.get(&leader);
        theirs.is_some_and(|ballot| ballot.state == PeerState::Leading)
    }
}
