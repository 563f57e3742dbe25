//! A follower between observers and the leader (ObserverMaster): to them it is what a leader is to its
//! learners, with the epoch and the history that the leader has given it.
//!
//! Observers are told of what the leader has said is committed, never of what it has only proposed; and who
//! holds more of this epoch than that waits until this server has heard of it, too, since it comes: what is
//! committed is not cut away. Observers are pinged when the leader pings this server, so that who is behind a
//! follower without a leader falls silent with it. All ends with the role.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::discovery::check_info;
use super::leader::{MOVED, about_session};
use super::learner::Learner;
use super::learner_progress::{LearnerProgress, Phase};
use super::sync_plan::{SyncOptions, SyncPlan, plan};
use super::synchronization::{continues, history_packets, proposal};
use super::{LinkId, LogEntry, Output};
use crate::clock::Millis;
use crate::ids::{SessionId, Zxid};
use crate::proto::acl::Id;
use crate::proto::jute::Reader;
use crate::proto::opcode::OpCode;
use crate::proto::quorum::{ForwardedRequest, PacketType, QuorumPacket, decode_sessions, leader_info};

/// The observers of a follower.
#[derive(Debug, Default)]
pub(super) struct ObserverMaster {
    observers: BTreeMap<LinkId, LearnerProgress>,
    /// When they were last pinged.
    pinged: Millis,
}

impl ObserverMaster {
    /// The connection is gone. Syncs of it stay in their queue: the leader answers them all the same.
    pub(super) fn forget(&mut self, link: LinkId) {
        self.observers.remove(&link);
    }

    fn links(&self, wanted: impl Fn(&LearnerProgress) -> bool) -> Vec<LinkId> {
        let observers = self.observers.iter();
        observers
            .filter(|(_, observer)| wanted(observer))
            .map(|(link, _)| *link)
            .collect()
    }
}

impl Learner {
    /// A follower that serves clients serves observers, if it is to.
    pub(super) fn begin_observer_master(&mut self, out: &mut Vec<Output>) {
        if self.config.has_observer_masters && !self.is_observer {
            self.observers = Some(Box::default());
            out.push(Output::ListenForObservers);
        }
    }

    /// The role ends, and with it theirs.
    pub(super) fn dismiss_observers(&mut self, out: &mut Vec<Output>) {
        let Some(master) = self.observers.take() else {
            return;
        };
        for link in master.observers.into_keys() {
            let reason = "the follower's role has ended".into();
            out.push(Output::Close { link, reason });
        }
    }

    pub(super) fn on_observer_connected(&mut self, now: Millis, link: LinkId) {
        if let Some(master) = &mut self.observers {
            master.observers.insert(link, LearnerProgress::new(now));
        }
    }

    pub(super) fn on_observer_snapshot_sent(&mut self, now: Millis, link: LinkId) {
        if let Some(observer) = self.observer(link)
            && observer.phase == Phase::SendingSnapshot
        {
            observer.phase = Phase::AwaitNewLeaderAck;
            observer.heard = now;
        }
    }

    fn observer(&mut self, link: LinkId) -> Option<&mut LearnerProgress> {
        self.observers.as_mut()?.observers.get_mut(&link)
    }

    fn close_observer(&mut self, link: LinkId, reason: String, out: &mut Vec<Output>) {
        if let Some(master) = &mut self.observers {
            master.forget(link);
            out.push(Output::Close { link, reason });
        }
    }

    /// A packet that does not come from the leader.
    pub(super) fn on_observer_packet(
        &mut self,
        now: Millis,
        link: LinkId,
        packet: QuorumPacket,
        out: &mut Vec<Output>,
    ) {
        let Some(observer) = self.observer(link) else {
            return;
        };
        observer.heard = now;
        match observer.phase {
            Phase::Hello => self.on_observer_hello(link, &packet, out),
            Phase::AwaitAckEpoch => self.on_observer_ack_epoch(now, link, &packet, out),
            Phase::WaitEpoch | Phase::WaitAckQuorum { .. } | Phase::ReadingLog { .. } | Phase::WaitActive => {
                let reason = format!("it sent {:?} out of turn", packet.kind);
                self.close_observer(link, reason, out);
            }
            Phase::SendingSnapshot | Phase::AwaitNewLeaderAck => {
                self.on_observer_ack(link, &packet, out);
            }
            Phase::Up => self.on_observer_word(link, packet, out),
        }
    }

    /// OBSERVERINFO. The epoch has begun already, so the answer is at hand.
    fn on_observer_hello(&mut self, link: LinkId, packet: &QuorumPacket, out: &mut Vec<Output>) {
        if packet.kind != PacketType::ObserverInfo {
            let reason = format!(
                "its first packet is {:?}, not OBSERVERINFO: a follower serves observers only",
                packet.kind
            );
            return self.close_observer(link, reason, out);
        }
        let accepted = packet.zxid.epoch();
        let info = match check_info(&self.config, packet, accepted) {
            Ok(info) => info,
            Err(reason) => return self.close_observer(link, reason, out),
        };
        let (server, epoch) = (info.server.0, self.epoch);
        if accepted > epoch {
            let reason = format!(
                "server {server} has promised epoch {}, this is {}",
                accepted.0, epoch.0
            );
            return self.close_observer(link, reason, out);
        }
        let is_older =
            |observer: &LearnerProgress| observer.phase != Phase::Hello && observer.server == info.server;
        let older = self
            .observers
            .as_ref()
            .map(|master| master.links(is_older))
            .unwrap_or_default();
        for older in older {
            let reason =
                format!("server {server} has connected again; if it has not, two servers have myid {server}");
            self.close_observer(older, reason, out);
        }
        let Some(observer) = self.observer(link) else {
            return;
        };
        observer.server = info.server;
        observer.is_observer = true;
        observer.is_zkserver = info.is_zkserver;
        observer.wants_snapshot = info.wants_snapshot;
        observer.phase = Phase::AwaitAckEpoch;
        // What one of ours promises, it promises for its leader, too.
        let info = Some(leader_info(self.is_leader_zkserver));
        let packet = QuorumPacket::new(PacketType::LeaderInfo, Zxid::new(epoch, 0), info);
        out.push(Output::Send(link, packet.to_bytes()));
    }

    /// ACKEPOCH, which must be the second packet.
    fn on_observer_ack_epoch(
        &mut self,
        now: Millis,
        link: LinkId,
        packet: &QuorumPacket,
        out: &mut Vec<Output>,
    ) {
        let data = packet.data.as_deref().unwrap_or_default();
        if packet.kind != PacketType::AckEpoch || Reader::new(data).int().is_err() {
            let reason = format!("its second packet is {:?}, not a good ACKEPOCH", packet.kind);
            return self.close_observer(link, reason, out);
        }
        if let Some(observer) = self.observer(link) {
            observer.phase = Phase::WaitAckQuorum { last: packet.zxid };
        }
        self.synchronize_observer(now, link, out);
    }

    /// Chooses how an observer comes to the history, and does it; unless the observer is ahead.
    fn synchronize_observer(&mut self, now: Millis, link: LinkId, out: &mut Vec<Output>) {
        let (epoch, last_committed) = (self.epoch, self.committed_log.last());
        let (force_snapshot, truncates_apache, may_read_log) = (
            self.config.force_snapshot,
            self.config.truncates_apache,
            self.config.may_read_log,
        );
        let Some(observer) = self.observer(link) else {
            return;
        };
        let Phase::WaitAckQuorum { last } = observer.phase else {
            return;
        };
        let server = observer.server.0;
        // The mark of an epoch's beginning is no transaction, and none comes that has its number.
        if last.epoch() == epoch && last > last_committed && last.counter() != 0 {
            tracing::info!(
                "server {server} has {last}, this one {last_committed} so far: waiting for what comes"
            );
            return;
        }
        let options = SyncOptions {
            force_snapshot: force_snapshot || observer.wants_snapshot,
            may_truncate: observer.is_zkserver || truncates_apache,
            may_read_log,
        };
        let plan = plan(last, &self.committed_log, options);
        tracing::info!(window = %format_args!("{}..{last_committed}", self.committed_log.base()),
            "synchronizing server {server}, whose last transaction is {last}: {plan}");
        match plan {
            SyncPlan::Diff { after } => self.send_observer_diff(now, link, after, &[], out),
            SyncPlan::DiffFromLog { after, upto } => {
                if let Some(observer) = self.observer(link) {
                    observer.phase = Phase::ReadingLog { last };
                }
                out.push(Output::ReadLog { link, after, upto });
            }
            SyncPlan::Trunc { to } => {
                let trunc = QuorumPacket::new(PacketType::Trunc, to, None);
                self.send_observer_history(now, link, &trunc, to, &[], out);
            }
            SyncPlan::Snap => self.send_observer_snapshot(now, link, out),
        }
    }

    /// What was read from the log, to be followed by what is in memory now.
    pub(super) fn on_observer_log_read(
        &mut self,
        now: Millis,
        link: LinkId,
        entries: Option<Vec<LogEntry>>,
        out: &mut Vec<Output>,
    ) {
        let Some(observer) = self.observer(link) else {
            return;
        };
        let Phase::ReadingLog { last } = observer.phase else {
            return;
        };
        let server = observer.server.0;
        let entries = entries.unwrap_or_default();
        if continues(last, &entries, &self.committed_log) {
            let count = entries.len();
            tracing::info!("synchronizing server {server}: {count} transactions read from the log");
            self.send_observer_diff(now, link, last, &entries, out);
        } else {
            tracing::info!("synchronizing server {server}: SNAP, as the log does not reach back to {last}");
            self.send_observer_snapshot(now, link, out);
        }
    }

    fn send_observer_diff(
        &mut self,
        now: Millis,
        link: LinkId,
        after: Zxid,
        entries: &[LogEntry],
        out: &mut Vec<Output>,
    ) {
        let diff = QuorumPacket::new(PacketType::Diff, self.committed_log.last().max(after), None);
        self.send_observer_history(now, link, &diff, after, entries, out);
    }

    fn send_observer_history(
        &mut self,
        now: Millis,
        link: LinkId,
        how: &QuorumPacket,
        kept: Zxid,
        entries: &[LogEntry],
        out: &mut Vec<Output>,
    ) {
        let mut bytes = history_packets(how, kept, entries, &self.committed_log);
        bytes.extend_from_slice(&self.begin_informing(now, link, Phase::AwaitNewLeaderAck));
        out.push(Output::Send(link, Bytes::from(bytes)));
    }

    fn send_observer_snapshot(&mut self, now: Millis, link: LinkId, out: &mut Vec<Output>) {
        let then = vec![self.begin_informing(now, link, Phase::SendingSnapshot)];
        out.push(Output::SendSnapshot { link, then });
    }

    /// From here on the observer is told of every commit; before that of NEWLEADER.
    fn begin_informing(&mut self, now: Millis, link: LinkId, phase: Phase) -> Bytes {
        if let Some(observer) = self.observer(link) {
            observer.phase = phase;
            observer.heard = now;
        }
        let config = Some(self.config.configs.committed().text().clone());
        QuorumPacket::new(PacketType::NewLeader, Zxid::new(self.epoch, 0), config).to_bytes()
    }

    /// ACK of an observer that has not acknowledged NEWLEADER yet.
    fn on_observer_ack(&mut self, link: LinkId, packet: &QuorumPacket, out: &mut Vec<Output>) {
        if packet.kind != PacketType::Ack {
            let reason = format!("it sent {:?} before it acknowledged NEWLEADER", packet.kind);
            return self.close_observer(link, reason, out);
        }
        let mark = Zxid::new(self.epoch, 0);
        if packet.zxid == mark
            && let Some(observer) = self.observer(link)
        {
            observer.phase = Phase::Up;
            let packet = QuorumPacket::new(PacketType::UpToDate, Zxid(-1), None);
            out.push(Output::Send(link, packet.to_bytes()));
        }
    }

    /// What an observer that serves clients says.
    fn on_observer_word(&mut self, link: LinkId, packet: QuorumPacket, out: &mut Vec<Output>) {
        let Some(observer) = self.observer(link) else {
            return;
        };
        let server = observer.server;
        let data = packet.data.clone().unwrap_or_default();
        match packet.kind {
            PacketType::Ack => {}
            PacketType::Ping => match decode_sessions(&data) {
                Ok(sessions) => out.push(Output::LearnerPing { from: link, sessions }),
                Err(error) => self.close_observer(link, format!("bad PING: {error}"), out),
            },
            PacketType::Revalidate => {
                let mut reader = Reader::new(&data);
                let question = reader.long().and_then(|session| Ok((session, reader.int()?)));
                match question {
                    Ok((session, timeout_ms)) => out.push(Output::Revalidate {
                        from: link,
                        server,
                        session: SessionId(session),
                        timeout_ms,
                    }),
                    Err(error) => self.close_observer(link, format!("bad REVALIDATE: {error}"), out),
                }
            }
            PacketType::Request => match ForwardedRequest::decode(&data) {
                Ok(request) if request.op == OpCode::Sync.code() => {
                    self.relay(&request, packet.authinfo.unwrap_or_default(), false, out);
                    self.syncs.push_back(Some(link));
                }
                Ok(request) => out.push(Output::Request {
                    from: link,
                    request,
                    ids: packet.authinfo.unwrap_or_default(),
                    has_moved: false,
                }),
                Err(error) => self.close_observer(link, format!("bad REQUEST: {error}"), out),
            },
            PacketType::Proposal
            | PacketType::Commit
            | PacketType::Sync
            | PacketType::Inform
            | PacketType::CommitAndActivate
            | PacketType::NewLeader
            | PacketType::FollowerInfo
            | PacketType::UpToDate
            | PacketType::Diff
            | PacketType::Trunc
            | PacketType::Snap
            | PacketType::ObserverInfo
            | PacketType::LeaderInfo
            | PacketType::AckEpoch
            | PacketType::InformAndActivate => {
                let reason = format!("an observer does not send {:?}", packet.kind);
                self.close_observer(link, reason, out);
            }
        }
    }

    /// Passes on to the leader what an observer forwards. `has_moved` tells one of ours to refuse it.
    pub fn relay(&self, request: &ForwardedRequest, ids: Vec<Id>, has_moved: bool, out: &mut Vec<Output>) {
        let zxid = if has_moved { MOVED } else { Zxid(-1) };
        let mut packet = QuorumPacket::new(PacketType::Request, zxid, Some(request.to_bytes()));
        packet.authinfo = Some(ids).filter(|_| request.op != OpCode::CreateSession.code());
        self.send(&packet, out);
    }

    /// The leader's word on a session that an observer has asked about.
    pub fn revalidated(&self, link: LinkId, session: SessionId, valid: bool, out: &mut Vec<Output>) {
        self.tell_observer(link, about_session(Zxid(-1), session, valid), out);
    }

    /// Tells the observer that served a session that another server does now. Apache's take no notice of it.
    pub fn session_moved(&self, link: LinkId, session: SessionId, out: &mut Vec<Output>) {
        let observer = self.observers.as_ref().and_then(|it| it.observers.get(&link));
        if observer.is_some_and(|observer| observer.is_zkserver) {
            out.push(Output::Send(link, about_session(MOVED, session, false)));
        }
    }

    /// The leader has answered a sync of that observer: behind all that was committed before it.
    pub(super) fn answer_observer(&self, link: LinkId, packet: QuorumPacket, out: &mut Vec<Output>) {
        self.tell_observer(link, packet.to_bytes(), out);
    }

    fn tell_observer(&self, link: LinkId, bytes: Bytes, out: &mut Vec<Output>) {
        let observers = self.observers.as_ref().map(|master| &master.observers);
        if observers.is_some_and(|observers| observers.contains_key(&link)) {
            out.push(Output::Send(link, bytes));
        }
    }

    /// The newest entry of the window has just been committed.
    pub(super) fn inform_observers(&mut self, activates: Option<Bytes>, out: &mut Vec<Output>) {
        let Some(master) = self.observers.as_ref().filter(|it| !it.observers.is_empty()) else {
            return;
        };
        let Some(entry) = self.committed_log.newest() else {
            return;
        };
        let inform = match activates {
            None => proposal(PacketType::Inform, entry),
            Some(designated) => {
                let data = Bytes::from([&designated[..], &entry.encoded[..]].concat());
                QuorumPacket::new(PacketType::InformAndActivate, entry.zxid, Some(data))
            }
        };
        let bytes = inform.to_bytes();
        let mut ahead = Vec::new();
        for (link, observer) in &master.observers {
            if observer.is_forwarding() {
                out.push(Output::Send(*link, bytes.clone()));
            } else if let Phase::WaitAckQuorum { last } = observer.phase
                && last <= entry.zxid
            {
                ahead.push(*link);
            }
        }
        for link in ahead {
            self.synchronize_observer(self.heard, link, out);
        }
    }

    /// The leader has pinged this server: it is there, and observers may know.
    pub(super) fn ping_observers(&mut self, out: &mut Vec<Output>) {
        let now = self.heard;
        let Some(master) = &mut self.observers else { return };
        let overdue = master.links(|observer| self.config.is_overdue(observer, now));
        // The leader pings also for syncs, as often as there are some.
        let is_due = now >= master.pinged + Millis(self.config.tick_ms / 4);
        if is_due {
            master.pinged = now;
            let packet = QuorumPacket::new(PacketType::Ping, self.committed_log.last(), None);
            let bytes = packet.to_bytes();
            for link in master.links(LearnerProgress::is_forwarding) {
                out.push(Output::Send(link, bytes.clone()));
            }
        }
        for link in overdue {
            self.close_observer(link, "it has been silent for too long".into(), out);
        }
    }

    /// The leader has named the next one: observers of ours are told, too.
    pub(super) fn tell_observers_of_handover(&self, packet: &QuorumPacket, out: &mut Vec<Output>) {
        let Some(master) = &self.observers else { return };
        for link in master.links(|observer| observer.is_zkserver && observer.phase == Phase::Up) {
            out.push(Output::Send(link, packet.to_bytes()));
        }
    }

    /// What an image for this observer says at least to be the state of, as `Leader::least_image_zxid`.
    pub fn least_image_zxid(&self, link: LinkId) -> Zxid {
        let observer = self.observers.as_ref().and_then(|it| it.observers.get(&link));
        match observer {
            Some(observer) if !observer.is_zkserver => Zxid::new(self.epoch, 0),
            Some(_) | None => Zxid::ZERO,
        }
    }

    /// How many observers serve clients behind this server; `None` if it serves no observers.
    pub fn synced_observers(&self) -> Option<usize> {
        let master = self.observers.as_ref()?;
        Some(master.links(|observer| observer.phase == Phase::Up).len())
    }

    /// Whether the connection is the one to the leader, or to who stands for it.
    pub fn is_from_leader(&self, link: LinkId) -> bool {
        self.link == Some(link)
    }
}

impl super::ZabConfig {
    /// Whether an observer has been silent for too long. Some wait for this server's disk, or for their turn
    /// on their connection.
    fn is_overdue(&self, observer: &LearnerProgress, now: Millis) -> bool {
        let limit = match observer.phase {
            Phase::Up => self.sync_limit_ms(),
            Phase::ReadingLog { .. } | Phase::SendingSnapshot => return false,
            Phase::Hello
            | Phase::WaitEpoch
            | Phase::AwaitAckEpoch
            | Phase::WaitAckQuorum { .. }
            | Phase::AwaitNewLeaderAck
            | Phase::WaitActive => self.init_limit_ms(),
        };
        now - observer.heard > limit
    }
}
