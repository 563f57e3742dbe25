//! Follower and observer (Learner, Follower, Observer): discovery, then what the leader proposes and commits.
//!
//! An acknowledgement takes a [`Persisted`], and only what the disk has reported makes one. Whatever does not
//! follow what is there ends the role: a clean new start is always possible, a wrong history never undone.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::committed_log::CommittedLog;
use super::discovery::NOT_COUNTED;
use super::leader::MOVED;
use super::masters::Masters;
use super::observer_master::ObserverMaster;
use super::{History, Input, LinkId, LogEntry, Output, Standing, ZabConfig};
use crate::clock::Millis;
use crate::ids::{Epoch, ServerId, SessionId, Zxid};
use crate::mutants::{self, Mutant};
use crate::proto::acl::Id;
use crate::proto::jute::{Put, Reader};
use crate::proto::opcode::OpCode;
use crate::proto::quorum::{
    ForwardedRequest, Handover, LearnerInfo, PROTOCOL_VERSION, PacketType, QuorumPacket, is_zkserver_leader,
    put_session,
};
use crate::quorum::configs::Config;

/// A server that was told who leads.
#[derive(Debug)]
pub struct Learner {
    pub(super) config: ZabConfig,
    pub(super) leader: ServerId,
    pub(super) is_observer: bool,
    /// Of an observer: whom it may connect to.
    pub(super) masters: Option<Masters>,
    /// Who is or will be connected to in the leader's place.
    pub(super) master: Option<ServerId>,
    /// Of a follower that serves observers: these.
    pub(super) observers: Option<Box<ObserverMaster>>,
    pub(super) standing: Standing,
    /// What is durable. Only the disk's reports change it.
    pub(super) history: History,
    pub(super) committed_log: CommittedLog,
    pub(super) epoch: Epoch,
    pub(super) link: Option<LinkId>,
    pub(super) phase: Phase,
    pub(super) heard: Millis,
    pub(super) began: Millis,
    pub(super) tries: usize,
    pub(super) retry_at: Option<Millis>,
    /// Proposed and not committed, oldest first.
    pub(super) pending: VecDeque<LogEntry>,
    /// Proposals that the log has been given, to be acknowledged.
    pub(super) unacked: VecDeque<Zxid>,
    /// The last proposal or commit that was taken.
    pub(super) last_received: Zxid,
    pub(super) last_appended: Zxid,
    pub(super) last_applied: Zxid,
    /// Packets that have to wait for the disk.
    pub(super) inbox: VecDeque<QuorumPacket>,
    touched: BTreeMap<SessionId, i32>,
    /// Who waits for the answer to a sync, oldest first: an observer, or a client of this server.
    pub(super) syncs: VecDeque<Option<LinkId>>,
    pub(super) is_leader_zkserver: bool,
    /// Who leads next, once the leader has said so.
    pub(super) handover: Option<Handover>,
    /// Configurations that are proposed and not in force, by their transactions.
    pub(super) reconfigs: Vec<(Zxid, Config)>,
    /// What NEWLEADER has said, until UPTODATE.
    pub(super) new_leader_config: Option<Config>,
}

/// Steps of the role, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Connecting,
    AwaitLeaderInfo,
    SavingAccepted,
    /// DIFF, TRUNC or SNAP comes next.
    AwaitPlan,
    /// A snapshot is being installed, or the log cut; `to` is where the history will end.
    Installing {
        to: Zxid,
    },
    Syncing,
    /// NEWLEADER has come; the history goes to the disk.
    SavingHistory,
    SavingCurrent,
    AwaitUpToDate,
    Broadcasting,
    Ended,
}

/// Where a learner stands, for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LearnerState {
    /// It connects, or agrees on the epoch.
    Discovery,
    /// It gets the leader's history.
    Synchronization,
    /// It serves clients.
    Broadcast,
    /// Its role has ended.
    Ended,
}

/// That something is on disk: the whole log up to a transaction, and the current epoch.
pub(super) struct Persisted {
    upto: Zxid,
    current_epoch: Epoch,
}

impl Learner {
    /// The role begins; `history` is what this server holds, and `committed_log` ends at its end. Unless it
    /// stands as whole it takes nothing but a snapshot. The role is the leader, and for an observer whom else
    /// it may learn from.
    pub fn new(
        config: ZabConfig,
        now: Millis,
        history: History,
        committed_log: CommittedLog,
        role: (ServerId, Option<Masters>),
        standing: Standing,
        out: &mut Vec<Output>,
    ) -> Learner {
        let (leader, masters) = role;
        let last = history.last_logged;
        assert_eq!(history.last_applied, last, "a learner's tree holds its whole log");
        assert_eq!(
            committed_log.last(),
            last,
            "the window of history ends where history ends"
        );
        let mut learner = Learner {
            config,
            leader,
            is_observer: masters.is_some(),
            masters,
            master: None,
            observers: None,
            standing,
            history,
            committed_log,
            epoch: Epoch(0),
            link: None,
            phase: Phase::Connecting,
            heard: now,
            began: now,
            tries: 0,
            retry_at: None,
            pending: VecDeque::new(),
            unacked: VecDeque::new(),
            last_received: last,
            last_appended: last,
            last_applied: last,
            inbox: VecDeque::new(),
            touched: BTreeMap::new(),
            syncs: VecDeque::new(),
            is_leader_zkserver: false,
            handover: None,
            reconfigs: Vec::new(),
            new_leader_config: None,
        };
        learner.connect_after(now, Millis(0), out);
        learner
    }

    /// One event.
    pub fn step(&mut self, now: Millis, input: Input, out: &mut Vec<Output>) {
        if self.phase == Phase::Ended {
            return;
        }
        match input {
            Input::LinkUp(link) if self.observers.is_some() => self.on_observer_connected(now, link),
            Input::LinkUp(link) => self.on_connected(now, link, out),
            Input::LinkDown(link) => self.on_link_down(now, link, out),
            Input::Packet(link, packet) => {
                if self.link == Some(link) {
                    self.heard = now;
                    self.foresee_config(&packet, out);
                    self.inbox.push_back(packet);
                    self.drain_inbox(out);
                } else {
                    self.on_observer_packet(now, link, packet, out);
                }
            }
            Input::LogDurable { upto } => {
                self.history.last_logged = self.history.last_logged.max(upto);
                self.on_durable(out);
            }
            Input::EpochsSaved { accepted, current } => {
                (self.history.accepted_epoch, self.history.current_epoch) = (accepted, current);
                if self.phase == Phase::SavingAccepted && accepted == self.epoch {
                    let current = self.history.current_epoch;
                    self.send_ack_epoch(now, current, out);
                } else if self.phase == Phase::SavingCurrent && current == self.epoch {
                    self.on_current_saved(now, out);
                }
            }
            Input::SnapshotInstalled { zxid } => self.on_installed(now, zxid, out),
            Input::CannotTruncate { reason } => {
                self.end(
                    format!("the log cannot be cut as the leader asks: {reason}"),
                    true,
                    out,
                );
            }
            Input::Tick => self.on_tick(now, out),
            Input::LogRead { link, entries } => self.on_observer_log_read(now, link, entries, out),
            Input::SnapshotSent(link) => self.on_observer_snapshot_sent(now, link),
            Input::TreeReady => unreachable!("a learner's tree is always there"),
        }
    }

    /// When [`Input::Tick`] is due.
    pub fn next_deadline(&self) -> Option<Millis> {
        match self.phase {
            Phase::Connecting => self.retry_at.or(Some(self.began + self.config.init_limit_ms())),
            Phase::AwaitLeaderInfo | Phase::AwaitPlan | Phase::Syncing => {
                Some(self.heard + self.config.init_limit_ms())
            }
            Phase::AwaitUpToDate | Phase::Broadcasting => Some(self.heard + self.config.sync_limit_ms()),
            // This server's own disk is waited for as long as it takes, and a snapshot's bytes are watched by
            // who reads them.
            Phase::SavingAccepted
            | Phase::Installing { .. }
            | Phase::SavingHistory
            | Phase::SavingCurrent
            | Phase::Ended => None,
        }
    }

    /// Forwards a client's request to the leader. What comes of it comes back as a proposal with the same
    /// session and cxid. The body has to be decodable: an Apache leader stalls on others; and a check
    /// outside a multi must never get here.
    pub fn forward(&mut self, request: &ForwardedRequest, ids: Option<Vec<Id>>, out: &mut Vec<Output>) {
        assert!(request.op != OpCode::Check.code(), "no log may hold a bare check");
        if request.op == OpCode::Sync.code() {
            self.syncs.push_back(None);
        }
        let mut packet = QuorumPacket::new(PacketType::Request, Zxid(-1), Some(request.to_bytes()));
        packet.authinfo = ids;
        self.send(&packet, out);
    }

    /// Forwards a client's sync; [`Output::SyncReply`] answers the oldest one. `body` is the client's.
    pub fn send_sync(
        &mut self,
        session: SessionId,
        cxid: i32,
        body: Bytes,
        ids: Vec<Id>,
        out: &mut Vec<Output>,
    ) {
        let op = OpCode::Sync.code();
        let request = ForwardedRequest {
            session,
            cxid,
            op,
            body,
        };
        self.forward(&request, Some(ids), out);
    }

    /// Asks the leader whether a session may go on here; [`Output::Revalidated`] answers.
    pub fn revalidate(&mut self, session: SessionId, timeout_ms: i32, out: &mut Vec<Output>) {
        let mut data = Vec::with_capacity(12);
        put_session(&mut data, session, timeout_ms);
        let packet = QuorumPacket::new(PacketType::Revalidate, Zxid(-1), Some(Bytes::from(data)));
        self.send(&packet, out);
    }

    /// A session was heard from. The leader is told with the next ping.
    pub fn touch(&mut self, session: SessionId, timeout_ms: i32) {
        self.touched.insert(session, timeout_ms);
    }

    /// Whether clients are served.
    pub fn is_active(&self) -> bool {
        self.phase == Phase::Broadcasting
    }

    /// The epoch that it has joined, or was offered.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The last transaction that the leader has told of, committed or not.
    pub fn last_received(&self) -> Zxid {
        self.last_received
    }

    /// Whether the leader is one of ours.
    pub fn is_leader_zkserver(&self) -> bool {
        self.is_leader_zkserver
    }

    /// Whom it learns from, and how far it is.
    pub fn status(&self) -> (ServerId, LearnerState) {
        let state = match self.phase {
            Phase::Connecting | Phase::AwaitLeaderInfo | Phase::SavingAccepted => LearnerState::Discovery,
            Phase::AwaitPlan
            | Phase::Installing { .. }
            | Phase::Syncing
            | Phase::SavingHistory
            | Phase::SavingCurrent
            | Phase::AwaitUpToDate => LearnerState::Synchronization,
            Phase::Broadcasting => LearnerState::Broadcast,
            Phase::Ended => LearnerState::Ended,
        };
        (self.leader, state)
    }

    /// Ends the role. `needs_snapshot` if this server's state has turned out to be wrong, for instance by a
    /// digest that is not the leader's.
    pub fn end(&mut self, reason: String, needs_snapshot: bool, out: &mut Vec<Output>) {
        if self.phase == Phase::Ended {
            return;
        }
        self.phase = Phase::Ended;
        self.inbox.clear();
        self.dismiss_observers(out);
        if let Some(link) = self.link.take() {
            out.push(Output::Close {
                link,
                reason: reason.clone(),
            });
        }
        out.push(Output::RoleEnded {
            reason,
            needs_snapshot,
            handover: self.handover,
        });
    }

    /// What the next role goes on with: the window of history, and what was logged after it without being
    /// committed, to be applied and added once the log is fenced. Does not hold for a role that ended while a
    /// snapshot was being installed or the log cut: then everything is read from disk again.
    pub fn into_parts(mut self) -> (CommittedLog, Vec<LogEntry>) {
        self.pending.retain(|entry| entry.zxid <= self.last_appended);
        (self.committed_log, self.pending.into())
    }

    pub(super) fn send(&self, packet: &QuorumPacket, out: &mut Vec<Output>) {
        if let Some(link) = self.link {
            out.push(Output::Send(link, packet.to_bytes()));
        }
    }

    /// The proof that the log up to `upto` is on disk, in whatever epoch; `None` if it is not.
    pub(super) fn persisted(&self, upto: Zxid) -> Option<Persisted> {
        (self.history.last_logged >= upto).then_some(Persisted {
            upto,
            current_epoch: self.history.current_epoch,
        })
    }

    /// The acknowledgement of a proposal, for what is on disk.
    pub(super) fn proposal_ack(&self, proof: &Persisted, zxid: Zxid) -> QuorumPacket {
        assert!(proof.upto >= zxid, "what is acknowledged is on disk");
        QuorumPacket::new(PacketType::Ack, zxid, None)
    }

    /// The acknowledgement of NEWLEADER: history and epoch are on disk.
    pub(super) fn new_leader_ack(&self, proof: &Persisted) -> QuorumPacket {
        assert!(
            proof.current_epoch == self.epoch,
            "the epoch is on disk before it is acknowledged"
        );
        QuorumPacket::new(PacketType::Ack, Zxid::new(self.epoch, 0), None)
    }

    fn on_connected(&mut self, now: Millis, link: LinkId, out: &mut Vec<Output>) {
        if self.phase != Phase::Connecting {
            return out.push(Output::Close {
                link,
                reason: "there is a connection to the leader already".into(),
            });
        }
        self.phase = Phase::AwaitLeaderInfo;
        self.link = Some(link);
        self.heard = now;
        let info = LearnerInfo {
            server: self.config.me,
            protocol_version: PROTOCOL_VERSION,
            config_version: self.config.configs.committed().version(),
            is_zkserver: true,
            wants_snapshot: self.standing != Standing::Whole,
        };
        let kind = match self.is_observer {
            true => PacketType::ObserverInfo,
            false => PacketType::FollowerInfo,
        };
        let accepted = Zxid::new(self.history.accepted_epoch, 0);
        self.send(&QuorumPacket::new(kind, accepted, Some(info.to_bytes())), out);
    }

    fn on_link_down(&mut self, now: Millis, link: LinkId, out: &mut Vec<Output>) {
        if self.phase != Phase::Connecting {
            if self.link == Some(link) {
                self.link = None;
                self.end("the connection to the leader is lost".into(), false, out);
            } else if let Some(master) = &mut self.observers {
                master.forget(link);
            }
            return;
        }
        // The leader may have been elected a moment later than we heard of it.
        let pause = CONNECT_PAUSES_MS.get(self.tries);
        self.tries += 1;
        match (pause, self.master) {
            (Some(pause), _) => self.connect_after(now, Millis(*pause), out),
            (None, Some(_)) => self.end("no observer master can be connected".into(), false, out),
            (None, None) => self.end(
                format!("server {}, who should lead, cannot be connected", self.leader.0),
                false,
                out,
            ),
        }
    }

    /// The leader is about to end and has named the next one. A plain UPTODATE says nothing here.
    fn on_handover(&mut self, packet: &QuorumPacket, out: &mut Vec<Output>) {
        self.handover = Handover::decode(packet.data.as_deref().unwrap_or_default());
        if let Some(Handover { leader, .. }) = self.handover {
            self.tell_observers_of_handover(packet, out);
            self.end(
                format!("the leader hands over to server {}", leader.0),
                false,
                out,
            );
        }
    }

    fn on_tick(&mut self, now: Millis, out: &mut Vec<Output>) {
        if self.phase == Phase::Connecting && now < self.began + self.config.init_limit_ms() {
            if self.retry_at.is_some_and(|at| now >= at) {
                self.connect(out);
            }
            return;
        }
        if self.next_deadline().is_some_and(|deadline| now >= deadline) {
            let silent = now - self.heard;
            let reason = format!(
                "server {}, the leader, has been silent for {} ms",
                self.leader.0, silent.0
            );
            self.end(reason, false, out);
        }
    }

    /// LEADERINFO, the answer to the first packet.
    pub(super) fn on_leader_info(&mut self, packet: &QuorumPacket, out: &mut Vec<Output>) {
        if packet.kind != PacketType::LeaderInfo {
            return self.end(
                format!("the leader sent {:?}, not LEADERINFO", packet.kind),
                false,
                out,
            );
        }
        self.is_leader_zkserver = is_zkserver_leader(packet.data.as_deref().unwrap_or_default());
        self.epoch = packet.zxid.epoch();
        let accepted = self.history.accepted_epoch;
        if self.epoch < accepted || self.epoch.0 > i64::from(i32::MAX) {
            let reason = format!("epoch {} is offered, {} was accepted", self.epoch.0, accepted.0);
            return self.end(reason, false, out);
        }
        if self.epoch == accepted {
            return self.send_ack_epoch(self.heard, NOT_COUNTED, out);
        }
        if mutants::is_on(Mutant::M4) {
            self.history.accepted_epoch = self.epoch;
            return self.send_ack_epoch(self.heard, self.history.current_epoch, out);
        }
        self.phase = Phase::SavingAccepted;
        out.push(Output::SaveEpochs {
            accepted: self.epoch,
            current: self.history.current_epoch,
        });
    }

    /// The epoch is accepted on disk: says what this server holds.
    fn send_ack_epoch(&mut self, now: Millis, current: Epoch, out: &mut Vec<Output>) {
        assert!(
            self.history.accepted_epoch == self.epoch,
            "the epoch is on disk before it is joined"
        );
        self.phase = Phase::AwaitPlan;
        self.heard = now;
        let is_counted = match self.standing {
            Standing::Whole => true,
            // Apache's leaders send a snapshot only to those who say that they hold nothing.
            Standing::NeedsSnapshot => self.is_leader_zkserver,
            Standing::Damaged => false,
        };
        let (current, last) = match is_counted {
            true => (current, self.history.last_logged),
            false => (NOT_COUNTED, Zxid(-1)),
        };
        let current = i32::try_from(current.0).expect("epochs are the upper half of a signed number");
        let mut data = Vec::with_capacity(4);
        data.put_int(current);
        self.send(
            &QuorumPacket::new(PacketType::AckEpoch, last, Some(Bytes::from(data))),
            out,
        );
        self.drain_inbox(out);
    }

    /// What comes once the learner serves.
    pub(super) fn on_broadcast_packet(&mut self, packet: QuorumPacket, out: &mut Vec<Output>) {
        match packet.kind {
            PacketType::Ping => {
                let mut data = Vec::with_capacity(12 * self.touched.len());
                for (session, timeout_ms) in std::mem::take(&mut self.touched) {
                    put_session(&mut data, session, timeout_ms);
                }
                let data = Some(Bytes::from(data));
                self.send(&QuorumPacket { data, ..packet }, out);
                self.ping_observers(out);
            }
            PacketType::Sync => match self.syncs.pop_front() {
                Some(Some(link)) => self.answer_observer(link, packet, out),
                Some(None) => out.push(Output::SyncReply),
                None => {}
            },
            PacketType::Revalidate => {
                let data = packet.data.unwrap_or_default();
                let mut reader = Reader::new(&data);
                let answer = reader
                    .long()
                    .and_then(|session| Ok((SessionId(session), reader.bool()?)));
                match answer {
                    Ok((session, _)) if packet.zxid == MOVED => out.push(Output::SessionMoved { session }),
                    Ok((session, valid)) => out.push(Output::Revalidated { session, valid }),
                    Err(error) => self.end(format!("bad REVALIDATE from the leader: {error}"), false, out),
                }
            }
            // An observer's commits come as INFORM.
            PacketType::Proposal | PacketType::Commit | PacketType::CommitAndActivate if self.is_observer => {
            }
            PacketType::Proposal
            | PacketType::Commit
            | PacketType::CommitAndActivate
            | PacketType::Inform
            | PacketType::InformAndActivate => self.on_history_packet(packet, out),
            PacketType::UpToDate => self.on_handover(&packet, out),
            PacketType::Request
            | PacketType::Ack
            | PacketType::NewLeader
            | PacketType::FollowerInfo
            | PacketType::Diff
            | PacketType::Trunc
            | PacketType::Snap
            | PacketType::ObserverInfo
            | PacketType::LeaderInfo
            | PacketType::AckEpoch => {
                self.end(
                    format!("the leader sent {:?} while broadcasting", packet.kind),
                    false,
                    out,
                );
            }
        }
    }
}

/// Between attempts to connect: half a second in all, as Apache's five attempts, but quicker at first.
const CONNECT_PAUSES_MS: [u64; 8] = [10, 20, 40, 80, 100, 100, 100, 100];
