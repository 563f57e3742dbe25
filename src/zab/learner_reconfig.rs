//! A learner's part in reconfigurations (Learner.syncWithLeader, Follower.processPacket,
//! Observer.processPacket, QuorumPeer.processReconfig).
//!
//! A proposed configuration is on this server's disk before its transaction is: who could have acknowledged
//! it never forgets that its quorums count. It is in force here when the leader says so: with the commit in
//! an epoch that has begun, or with the UPTODATE behind a NEWLEADER that carried it.

use bytes::Bytes;

use super::Output;
use super::learner::{Learner, Phase};
use crate::ids::{ServerId, Zxid};
use crate::proto::jute::Reader;
use crate::proto::quorum::{Handover, PacketType, QuorumPacket};
use crate::proto::txn::{self, Txn};
use crate::quorum::configs::Config;

impl Learner {
    /// Remembers a configuration that is proposed. Its transaction was not given to the log yet.
    pub(super) fn note_config(&mut self, zxid: Zxid, txn: &Txn<'_>) -> Result<(), String> {
        if !self.config.reconfig_enabled {
            return Ok(());
        }
        let Txn::Reconfig { data, .. } = txn else {
            return Ok(());
        };
        let config = Config::parse(data.unwrap_or_default());
        let config =
            config.map_err(|error| format!("the configuration of {zxid} cannot be read: {error}"))?;
        self.reconfigs.retain(|(other, _)| *other != zxid);
        self.reconfigs.push((zxid, config));
        Ok(())
    }

    /// The same, of a transaction that is not taken because its effect is here already.
    pub(super) fn note_config_of_skipped(&mut self, zxid: Zxid, encoded: &Bytes) {
        if self.config.reconfig_enabled
            && let Ok(logged) = txn::decode(encoded)
        {
            // What it says is in the image; without it the next NEWLEADER says the same.
            let _ = self.note_config(zxid, &logged.txn);
        }
    }

    /// To be called right before a transaction is given to the log.
    pub(super) fn see_config(&mut self, zxid: Zxid, out: &mut Vec<Output>) {
        if let Some((_, config)) = self.reconfigs.iter().find(|(of, _)| *of == zxid) {
            self.propose_newer(config.clone(), out);
        }
    }

    /// Takes a configuration for proposed if it is beyond all that this server has seen.
    fn propose_newer(&mut self, config: Config, out: &mut Vec<Output>) {
        let configs = &mut self.config.configs;
        if config.version() > configs.last_seen().version() {
            configs.propose(config);
            out.push(Output::ConfigProposed(configs.clone()));
        }
    }

    /// A snapshot that is being installed may hold the transaction of a configuration that NEWLEADER says is
    /// proposed. It is seen before the snapshot is there: if the role ends between the two, this server may
    /// be needed by that one. What it has seen itself stays: its own history is still the one that counts.
    pub(super) fn foresee_config(&mut self, packet: &QuorumPacket, out: &mut Vec<Output>) {
        let is_early = packet.kind == PacketType::NewLeader && matches!(self.phase, Phase::Installing { .. });
        if !is_early || !self.config.reconfig_enabled {
            return;
        }
        // What cannot be read ends the role in its turn.
        if let Ok(config) = Config::parse(packet.data.as_deref().unwrap_or_default()) {
            self.propose_newer(config, out);
        }
    }

    /// NEWLEADER carries what is in force once this server is up to date.
    pub(super) fn on_new_leader_config(&mut self, text: &[u8], out: &mut Vec<Output>) -> Result<(), String> {
        if !self.config.reconfig_enabled || text.len() <= 1 {
            return Ok(());
        }
        let config = Config::parse(text);
        let config =
            config.map_err(|error| format!("the configuration of NEWLEADER cannot be read: {error}"))?;
        let configs = &mut self.config.configs;
        if config.version() != configs.last_seen().version() {
            // What this server has seen beyond it was never committed: it is not in the leader's history.
            configs.propose(config.clone());
            out.push(Output::ConfigProposed(configs.clone()));
        }
        self.new_leader_config = Some(config);
        Ok(())
    }

    /// UPTODATE. True if the role goes on.
    pub(super) fn commit_new_leader_config(&mut self, out: &mut Vec<Output>) -> bool {
        let Some(config) = self.new_leader_config.take() else {
            return true;
        };
        // Apache's leaders name a configuration that they have only proposed in this epoch.
        let version = Zxid(config.version());
        let is_proposed =
            version.epoch() == self.epoch && version.counter() > 0 && version > self.last_applied;
        if !is_proposed && self.config.configs.commit(config) {
            out.push(Output::ConfigCommitted(self.config.configs.clone()));
        }
        self.goes_on_after_config(None, out)
    }

    /// A reconfiguration is committed, and the leader names who leads from now on.
    pub(super) fn on_activate(&mut self, zxid: Zxid, leader: &[u8], out: &mut Vec<Output>) {
        if !self.config.reconfig_enabled || self.phase == Phase::Ended {
            return;
        }
        let Some(at) = self.reconfigs.iter().position(|(of, _)| *of == zxid) else {
            return;
        };
        let (_, config) = self.reconfigs.swap_remove(at);
        self.reconfigs.retain(|(of, _)| *of > zxid);
        if self.config.configs.commit(config) {
            out.push(Output::ConfigCommitted(self.config.configs.clone()));
        }
        let designated = Reader::new(leader).long().ok().map(ServerId);
        self.goes_on_after_config(designated, out);
    }

    /// Whether leader and role are the same in the configuration that is in force now. If not, the role ends.
    fn goes_on_after_config(&mut self, designated: Option<ServerId>, out: &mut Vec<Output>) -> bool {
        let configs = &self.config.configs;
        let leader = designated.unwrap_or(self.leader);
        let is_observer = configs.is_observer(self.config.me);
        // Who is behind an observer master follows whoever that one follows.
        let is_behind_leader = designated.is_none() && self.master.is_none();
        if is_behind_leader && !configs.committed().verifier().is_voter(leader) {
            let reason = format!("server {}, the leader, has no vote any more", leader.0);
            self.end(reason, false, out);
            return false;
        }
        if leader == self.leader && is_observer == self.is_observer {
            return true;
        }
        self.handover = Some(Handover {
            leader,
            zxid: self.last_applied,
            election_epoch: Handover::NEXT_ROUND,
            peer_epoch: self.epoch.0,
        });
        let role = if is_observer {
            "an observer"
        } else {
            "a participant"
        };
        let reason = format!(
            "by the new configuration server {} leads, and this server is {role}",
            leader.0
        );
        self.end(reason, false, out);
        false
    }
}
