//! The leader's discovery phase (Leader.getEpochToPropose, waitForEpochAck): a quorum agrees on an epoch that
//! none of it has seen, and shows that it holds nothing newer than this leader.
//!
//! The epoch is on this server's disk before anybody is told, and `currentEpoch` before NEWLEADER leaves.

use super::leader::{Leader, Stage};
use super::learner_progress::Phase;
use super::{LinkId, Output, ZabConfig};
use crate::clock::Millis;
use crate::ids::{Epoch, Zxid};
use crate::mutants::{self, Mutant};
use crate::proto::jute::Reader;
use crate::proto::quorum::{LearnerInfo, PROTOCOL_VERSION, PacketType, QuorumPacket, leader_info};

impl Leader {
    /// The epochs as they stand now; true when a quorum has said which it has seen.
    pub(super) fn choose_epoch(&mut self, out: &mut Vec<Output>) {
        if self.stage != Stage::CollectingEpochs || !self.config.configs.contains_quorum(&self.connecting) {
            return;
        }
        self.stage = Stage::SavingAccepted;
        out.push(Output::SaveEpochs {
            accepted: self.epoch,
            current: self.history.current_epoch,
        });
    }

    /// FOLLOWERINFO or OBSERVERINFO, which must be a learner's first packet.
    pub(super) fn on_hello(
        &mut self,
        now: Millis,
        link: LinkId,
        packet: &QuorumPacket,
        out: &mut Vec<Output>,
    ) {
        let is_observer = packet.kind == PacketType::ObserverInfo;
        if !is_observer && packet.kind != PacketType::FollowerInfo {
            let reason = format!(
                "its first packet is {:?}, not FOLLOWERINFO or OBSERVERINFO",
                packet.kind
            );
            return self.close(link, reason, out);
        }
        let accepted = packet.zxid.epoch();
        let info = match check_info(&self.config, packet, accepted) {
            Ok(info) => info,
            Err(reason) => return self.close(link, reason, out),
        };
        let older = self
            .learners
            .iter()
            .find(|(_, learner)| learner.phase != Phase::Hello && learner.server == info.server);
        if let Some((&older, _)) = older {
            let reason = format!(
                "server {0} has connected again; if it has not, two servers have myid {0}",
                info.server.0
            );
            self.close(older, reason, out);
        }
        let synced_until = self.tick + self.config.init_limit + self.config.sync_limit;
        let Some(learner) = self.learners.get_mut(&link) else {
            return;
        };
        learner.server = info.server;
        learner.is_observer = is_observer;
        learner.is_zkserver = info.is_zkserver;
        learner.wants_snapshot = info.wants_snapshot;
        learner.synced_until = synced_until;
        learner.heard = now;
        learner.phase = Phase::WaitEpoch;
        let counts = learner.counts();
        match self.stage {
            Stage::CollectingEpochs => {
                self.epoch = self.epoch.max(Epoch(accepted.0 + 1));
                if counts {
                    self.connecting.add(info.server);
                }
                self.choose_epoch(out);
            }
            Stage::Active if accepted > self.epoch => {
                // It could never join: no promise is taken back, and this epoch would go on without it.
                let (server, epoch) = (info.server.0, self.epoch.0);
                let promised = accepted.0;
                let promise = format!("server {server} has promised epoch {promised}, after {epoch}");
                self.end(format!("{promise}: a later one has to begin"), out);
            }
            Stage::SavingAccepted | Stage::Ended => {}
            Stage::CollectingAcks
            | Stage::SavingCurrent
            | Stage::AwaitingTree
            | Stage::CollectingNewLeaderAcks
            | Stage::Active => self.send_leader_info(now, link, out),
        }
    }

    fn send_leader_info(&mut self, now: Millis, link: LinkId, out: &mut Vec<Output>) {
        let Some(learner) = self.learners.get_mut(&link) else {
            return;
        };
        learner.phase = Phase::AwaitAckEpoch;
        learner.heard = now;
        let info = Some(leader_info(true));
        let packet = QuorumPacket::new(PacketType::LeaderInfo, Zxid::new(self.epoch, 0), info);
        out.push(Output::Send(link, packet.to_bytes()));
    }

    /// Both files are on disk: the one thing that lets the epoch be told, and later begin.
    pub(super) fn on_epochs_saved(
        &mut self,
        now: Millis,
        accepted: Epoch,
        current: Epoch,
        out: &mut Vec<Output>,
    ) {
        if self.stage == Stage::SavingAccepted && accepted == self.epoch {
            self.enter(now, Stage::CollectingAcks);
            self.establish_config(out);
            self.electing.add(self.config.me);
            let waiting = self.links(|phase| phase == Phase::WaitEpoch);
            for link in waiting {
                self.send_leader_info(now, link, out);
            }
            self.join_epoch(out);
        } else if self.stage == Stage::SavingCurrent && current == self.epoch {
            self.enter(now, Stage::AwaitingTree);
            self.begin_synchronization(now, out);
        }
    }

    /// ACKEPOCH, which must be a learner's second packet.
    pub(super) fn on_ack_epoch(
        &mut self,
        now: Millis,
        link: LinkId,
        packet: &QuorumPacket,
        out: &mut Vec<Output>,
    ) {
        let data = packet.data.as_deref().unwrap_or_default();
        let (PacketType::AckEpoch, Ok(current)) = (packet.kind, Reader::new(data).int()) else {
            let reason = format!("its second packet is {:?}, not a good ACKEPOCH", packet.kind);
            return self.close(link, reason, out);
        };
        let current = Epoch(i64::from(current));
        let last = packet.zxid;
        let has_said_epoch = current != NOT_COUNTED;
        let is_newer = match mutants::is_on(Mutant::M6a) {
            true => (last, current) > (self.history.last_logged, self.history.current_epoch),
            false => (current, last) > (self.history.current_epoch, self.history.last_logged),
        };
        let is_ahead = has_said_epoch && is_newer && !mutants::is_on(Mutant::M6b);
        if self.stage == Stage::CollectingAcks && is_ahead {
            let reason = format!(
                "it is ahead of the leader: {last} in epoch {}, here {} in epoch {}",
                current.0, self.history.last_logged, self.history.current_epoch.0
            );
            return self.close(link, reason, out);
        }
        let Some(learner) = self.learners.get_mut(&link) else {
            return;
        };
        learner.phase = Phase::WaitAckQuorum { last };
        let counts = has_said_epoch && learner.counts() && last.0 != -1;
        if self.stage == Stage::CollectingAcks && counts {
            self.electing.add(learner.server);
            self.join_epoch(out);
        } else if matches!(self.stage, Stage::CollectingNewLeaderAcks | Stage::Active) {
            self.synchronize(now, link, out);
        }
    }

    /// With a quorum in the epoch this server's own joining is made durable.
    fn join_epoch(&mut self, out: &mut Vec<Output>) {
        if self.config.configs.contains_quorum(&self.electing) {
            self.stage = Stage::SavingCurrent;
            out.push(Output::SaveEpochs {
                accepted: self.epoch,
                current: self.epoch,
            });
        }
    }
}

/// What a learner's first packet says of it, or why it is not let in.
pub(super) fn check_info(
    config: &ZabConfig,
    packet: &QuorumPacket,
    accepted: Epoch,
) -> Result<LearnerInfo, String> {
    let data = packet.data.as_deref().unwrap_or_default();
    let info = LearnerInfo::decode(data).map_err(|error| format!("bad learner information: {error}"))?;
    let server = info.server.0;
    if info.server == config.me {
        return Err(format!(
            "it says that it is server {server}, which is this server: two servers have the same myid"
        ));
    }
    let configs = &config.configs;
    if !config.reconfig_enabled && !configs.is_member(info.server) {
        return Err(format!(
            "it says that it is server {server}, but the servers of this configuration are {}",
            configs.committed().members()
        ));
    }
    if info.protocol_version < PROTOCOL_VERSION {
        let version = info.protocol_version;
        return Err(format!(
            "server {server} speaks version {version:#x}, from before 3.4"
        ));
    }
    let version = configs.last_seen().version();
    if info.config_version > version {
        return Err(format!(
            "server {server} has version {:x} of the server list, newer than version {version:x} here",
            info.config_version
        ));
    }
    if accepted.0 >= EPOCH_MAX {
        return Err(format!(
            "server {server} claims to have accepted epoch {}",
            accepted.0
        ));
    }
    Ok(info)
}

/// What a learner says for its current epoch if it had accepted this one before: it is neither compared nor
/// counted.
pub(super) const NOT_COUNTED: Epoch = Epoch(-1);
/// Epochs are the upper half of a signed number.
const EPOCH_MAX: i64 = i32::MAX as i64;
