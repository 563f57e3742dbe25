//! The leader's part in reconfigurations (Leader.propose, tryToCommit, getDesignatedLeader, startZkServer).
//!
//! A configuration is proposed like any transaction, needs quorums of the old and the new one, and is in
//! force with its commit. A leader that finds one proposed completes it with its epoch: NEWLEADER carries it,
//! and is acknowledged by quorums of both.
//!
//! The quorums that an epoch is agreed on with are of both, too, where Apache asks the old one alone: two
//! leaders of one epoch, one of each configuration, could be established one after the other.

use bytes::Bytes;

use super::leader::{Leader, Stage, counter_max};
use super::learner_progress::Phase;
use super::{LogEntry, Output};
use crate::clock::Millis;
use crate::ids::{ServerId, Zxid};
use crate::proto::jute::Put;
use crate::proto::quorum::{Handover, PacketType, QuorumPacket};
use crate::quorum::configs::{Config, Configs};
use crate::quorum::verifier::{AckSet, QuorumVerifier};

/// Why and how long a leader waits to be left.
#[derive(Debug)]
pub(super) struct Leaving {
    /// Who leads next, if that is settled.
    pub next: Option<Handover>,
    /// It ends by then, whoever is still there.
    pub until_tick: u64,
}

impl Leader {
    /// Proposes the transaction that makes this the configuration. It must be the only one under way.
    pub fn propose_config(&mut self, now: Millis, entry: LogEntry, config: Config, out: &mut Vec<Output>) {
        assert!(
            self.config.configs.proposed().is_none(),
            "one reconfiguration at a time"
        );
        let is_last = entry.zxid.counter() >= counter_max();
        if self.stage == Stage::Active && !is_last {
            self.broadcast.reconfigure(config.verifier().clone());
            self.config.configs.propose(config);
            out.push(Output::ConfigProposed(self.config.configs.clone()));
        }
        self.propose(now, entry, out);
    }

    /// The configuration in force, and the one that is proposed.
    pub fn configs(&self) -> &Configs {
        &self.config.configs
    }

    /// Whether those who are in sync right now would be a quorum by this rule (Leader.isQuorumSynced). Who
    /// has just become an observer is about to come back as one, and acknowledges no proposal then.
    pub fn is_quorum_synced(&self, verifier: &QuorumVerifier) -> bool {
        let mut synced = AckSet::default();
        synced.add(self.config.me);
        for learner in self.learners.values() {
            let acknowledges = !learner.is_observer && !self.config.configs.is_observer(learner.server);
            if learner.phase == Phase::Up && acknowledges && self.tick <= learner.synced_until {
                synced.add(learner.server);
            }
        }
        verifier.contains_quorum(&synced)
    }

    /// Whether another server leads after a reconfiguration, or none is known: nothing more is proposed here.
    pub fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// What NEWLEADER carries: what is in force when it has been acknowledged. In an epoch that has begun a
    /// proposed configuration comes as the proposal that it is.
    pub(super) fn new_leader_config(&self) -> &Config {
        match self.stage {
            Stage::Active => self.config.configs.committed(),
            Stage::CollectingEpochs
            | Stage::SavingAccepted
            | Stage::CollectingAcks
            | Stage::SavingCurrent
            | Stage::AwaitingTree
            | Stage::CollectingNewLeaderAcks
            | Stage::Ended => self.config.configs.last_seen(),
        }
    }

    /// A configuration that was never established gets its version from the epoch that begins with it, so
    /// that it is newer than what a file says that somebody joins with.
    pub(super) fn establish_config(&mut self, out: &mut Vec<Output>) {
        let configs = &mut self.config.configs;
        if !self.config.reconfig_enabled || configs.last_seen().version() != 0 {
            return;
        }
        let mut members = configs.committed().members().clone();
        members.version = Zxid::new(self.epoch, 0).0 as u64;
        configs.propose(Config::new(members));
        out.push(Output::ConfigProposed(configs.clone()));
    }

    /// Quorums of both have acknowledged NEWLEADER: what was proposed is in force.
    pub(super) fn complete_config(&mut self, out: &mut Vec<Output>) {
        let Some(config) = self.config.configs.proposed().cloned() else {
            return;
        };
        let stays = config.verifier().is_voter(self.config.me);
        self.broadcast.use_verifier(config.verifier().clone());
        self.config.configs.commit(config);
        out.push(Output::ConfigCommitted(self.config.configs.clone()));
        if !stays {
            self.leave(None);
        }
    }

    /// The reconfiguration is committed: tells everybody, and goes on or makes room for who leads next.
    pub(super) fn commit_config(
        &mut self,
        entry: &LogEntry,
        commits: &mut Vec<u8>,
        informs: &mut Vec<u8>,
        out: &mut Vec<Output>,
    ) {
        let zxid = entry.zxid;
        let Some(config) = self.config.configs.proposed().cloned() else {
            unreachable!("what is committed here was proposed here");
        };
        let designated = self.designated_leader(&config, zxid);
        let mut data = Vec::with_capacity(8 + entry.encoded.len());
        data.put_long(designated.0);
        let leader = Some(Bytes::copy_from_slice(&data));
        QuorumPacket::new(PacketType::CommitAndActivate, zxid, leader).encode(commits);
        data.extend_from_slice(&entry.encoded);
        QuorumPacket::new(PacketType::InformAndActivate, zxid, Some(Bytes::from(data))).encode(informs);
        self.committed_log.push(entry.clone());
        out.push(Output::Commit(entry.clone()));
        self.config.configs.commit(config);
        out.push(Output::ConfigCommitted(self.config.configs.clone()));
        if designated == self.config.me {
            self.broadcast.resume();
        } else {
            self.leave(Some(Handover {
                leader: designated,
                zxid,
                election_epoch: Handover::NEXT_ROUND,
                peer_epoch: self.epoch.0,
            }));
        }
    }

    /// Ends when it is left by everybody.
    pub(super) fn leave_if_alone(&mut self, out: &mut Vec<Output>) {
        let is_alone = !self.learners.values().any(|learner| learner.is_forwarding());
        if self.is_leaving() && is_alone {
            self.end("another server leads the new configuration".into(), out);
        }
    }

    /// The learners end their connections: so all who can be told are told.
    fn leave(&mut self, next: Option<Handover>) {
        self.syncs.clear();
        self.leaving = Some(Leaving {
            next,
            until_tick: self.tick + self.config.sync_limit,
        });
    }

    /// This server, if it votes and is where it was; else a voter that has the reconfiguration on its disk,
    /// and most of what was proposed behind it.
    fn designated_leader(&self, next: &Config, zxid: Zxid) -> ServerId {
        let me = self.config.me;
        let before = self.config.configs.committed().members().servers.get(&me);
        let after = next.members().servers.get(&me);
        let has_moved = before
            .zip(after)
            .is_some_and(|(before, after)| !after.has_quorum_addresses_of(before));
        if next.verifier().is_voter(me) && !has_moved {
            return me;
        }
        let acked = |server: &ServerId| self.broadcast.acked(*server);
        let candidates = next
            .verifier()
            .voters()
            .filter(|server| *server != me && next.verifier().weight(*server) > 0);
        let candidates = candidates.filter(|server| acked(server) >= Some(zxid));
        candidates
            .max_by_key(|server| (acked(server), *server))
            .unwrap_or(me)
    }
}
