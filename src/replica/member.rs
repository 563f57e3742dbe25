//! A member of an ensemble: its elections, its roles one after another, and what it holds between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hashbrown::HashMap;

use crate::clock::{Millis, Now};
use crate::election::{self, Election, ElectionConfig};
use crate::ids::{ConnId, Epoch, SessionId};
use crate::proto::connect::ConnectRequest;
use crate::proto::quorum::Handover;
use crate::shared::ConnShared;
use crate::tree::DataTree;
use crate::zab::{self, CommittedLog, LinkId, LogEntry, Masters, Zab, ZabConfig};

/// What a member has to know of its ensemble, and what it found on its disk.
pub struct MemberConfig {
    /// For its roles.
    pub zab: ZabConfig,
    /// For its elections.
    pub election: ElectionConfig,
    /// `leaderServes`: whether a leader has clients of its own.
    pub leader_serves: bool,
    /// `observer.reconnectDelayMs`: an observer waits for a random part of it before it connects to the
    /// leader, or goes round the observer masters again.
    pub observer_reconnect_delay_ms: u64,
    /// `observer.election.DelayMs`: an observer whose role has ended waits for a random part of it before it
    /// looks for a leader.
    pub observer_election_delay_ms: u64,
    /// The `acceptedEpoch` file.
    pub accepted_epoch: Epoch,
    /// The `currentEpoch` file.
    pub current_epoch: Epoch,
    /// Its logs or snapshots are damaged: what is known here is not all that this server has acknowledged.
    pub is_damaged: bool,
    /// The newest transactions; they end where the tree does.
    pub committed_log: CommittedLog,
}

pub(super) struct Member {
    pub election: Election,
    pub zab: Zab,
    pub zab_config: ZabConfig,
    pub leader_serves: bool,
    /// Counts the roles: what comes from the connections of an earlier one is dropped.
    pub role: u64,
    /// What the files say.
    pub epochs: (Epoch, Epoch),
    /// What a role ended with and the next one begins with. `None` while there is a role.
    pub rest: Option<Rest>,
    /// The next learner asks for a snapshot.
    pub needs_snapshot: bool,
    /// What this server has acknowledged is not all on its disk: it has no vote until a snapshot of a leader,
    /// whom the others have elected, is.
    pub is_damaged: bool,
    /// Said by the election and the role, and not done yet.
    pub election_outputs: Vec<election::Output>,
    pub zab_outputs: Vec<zab::Output>,
    /// Of a leader: which server has each session. One that is not here has not been heard of yet. Of a
    /// follower: which observer behind it has a session, or that none has it any more.
    pub owners: HashMap<SessionId, Owner, foldhash::fast::FixedState>,
    /// Of a learner: sessions that the leader was asked about, and for whom.
    pub revalidating: VecDeque<(SessionId, Asker)>,
    /// Of a learner: forwarded requests, by their xids, whose connections are gone. What comes of them must
    /// not be taken for the answer to a later request of the session.
    pub abandoned: BTreeMap<SessionId, VecDeque<i32>>,
    /// Of a learner: when it was last asked which sessions are alive.
    pub asked_at: Millis,
    /// Of a learner: the image that was received, or is waited for.
    pub image: Image,
    /// The log is asked to replace the tree, or will be once the tree is no longer being walked.
    pub replacement: Option<Replacement>,
    /// Of a leader that ends: until when it tries to hand over.
    pub handing_over: Option<Millis>,
    /// Of a leader: connections to learners that serve, as last published.
    pub up: BTreeSet<LinkId>,
    /// What is published is no longer true.
    pub is_stale: bool,
    /// Of an observer: whom it connects to, from role to role.
    pub masters: Masters,
    pub observer_election_delay_ms: u64,
    /// Of an observer whose role has ended: when it begins to look.
    pub look_at: Option<Millis>,
    pub looking_since: Millis,
    pub election_ms: Option<u64>,
    pub active_since: Option<Millis>,
}

/// Who has a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// This server.
    Here,
    /// The learner at the other end.
    Learner(LinkId),
}

/// Who waits for the leader's word on a session.
pub(super) enum Asker {
    /// A client of this server.
    Client(ConnId, ConnectRequest),
    /// An observer behind it, and the timeout that it asks for.
    Observer { link: LinkId, timeout_ms: i32 },
}

/// What a member holds while it has no role.
pub(super) struct Rest {
    /// Ends where the tree does, with what is not applied.
    pub window: CommittedLog,
    /// Given to the log and not committed: with the log on disk they go to the tree.
    pub uncommitted: Vec<LogEntry>,
    /// The end of the window that the tree does not have yet: it is on disk, and not known to be committed.
    pub unapplied: Vec<LogEntry>,
    pub handover: Option<Handover>,
}

/// An image and who wants it, whichever comes first.
#[derive(Default)]
pub(super) enum Image {
    #[default]
    None,
    Wanted(LinkId),
    Received(LinkId, Box<DataTree>),
}

/// What is to take the place of the tree.
pub(super) enum Replacement {
    /// Waits until the tree is no longer being walked.
    Waiting(super::Output),
    /// With the log.
    UnderWay,
}

impl Member {
    pub fn new(config: MemberConfig, now: Now, hash_seed: u64) -> Member {
        Member {
            election: Election::new(config.election),
            zab: Zab::Looking,
            zab_config: config.zab,
            leader_serves: config.leader_serves,
            role: 0,
            epochs: (config.accepted_epoch, config.current_epoch),
            rest: Some(Rest {
                window: config.committed_log,
                uncommitted: Vec::new(),
                unapplied: Vec::new(),
                handover: None,
            }),
            needs_snapshot: config.is_damaged,
            is_damaged: config.is_damaged,
            election_outputs: Vec::new(),
            zab_outputs: Vec::new(),
            owners: HashMap::with_hasher(foldhash::fast::FixedState::with_seed(hash_seed)),
            revalidating: VecDeque::new(),
            abandoned: BTreeMap::new(),
            asked_at: now.mono,
            image: Image::None,
            replacement: None,
            handing_over: None,
            up: BTreeSet::new(),
            is_stale: false,
            masters: Masters::new(config.observer_reconnect_delay_ms, hash_seed),
            observer_election_delay_ms: config.observer_election_delay_ms,
            look_at: None,
            looking_since: now.mono,
            election_ms: None,
            active_since: None,
        }
    }

    /// Hands something to the role.
    pub fn step(&mut self, now: Now, input: zab::Input) {
        self.zab.step(now.mono, input, &mut self.zab_outputs);
    }

    /// Hands something to the election.
    pub fn elect(&mut self, now: Now, input: election::Input<'_>) {
        self.election.step(now.mono, input, &mut self.election_outputs);
    }

    pub fn tick(&mut self, now: Now) {
        if self.zab.next_deadline().is_some_and(|at| at <= now.mono) {
            self.step(now, zab::Input::Tick);
        }
        if self.election.next_deadline().is_some_and(|at| at <= now.mono) {
            self.elect(now, election::Input::Tick);
        }
    }

    pub fn next_deadline(&self) -> Option<Millis> {
        let deadlines = [
            self.zab.next_deadline(),
            self.election.next_deadline(),
            self.handing_over,
            self.look_at,
        ];
        deadlines.into_iter().flatten().min()
    }

    /// A learner will tell its leader that the session of this connection is alive, if it was heard from.
    pub fn touch(&mut self, conn: &ConnShared) {
        if let Zab::Learning(learner) = &mut self.zab
            && conn.last_heard() >= self.asked_at
            && conn.session_id() != SessionId(0)
        {
            learner.touch(conn.session_id(), conn.timeout_ms());
        }
    }

    /// Ends the process if it has joined what it has not promised, or leads what its disk does not know.
    pub fn check_invariants(&self) {
        let (accepted, current) = self.epochs;
        assert!(current <= accepted, "an epoch is promised before it is joined");
        match &self.zab {
            Zab::Leading(leader) if leader.is_active() => {
                assert_eq!(leader.epoch(), current, "a leader's epoch is on its own disk");
            }
            Zab::Learning(learner) if learner.is_active() => {
                assert_eq!(learner.epoch(), current, "a learner's epoch is on its disk");
            }
            Zab::Looking | Zab::Leading(_) | Zab::Learning(_) => {}
        }
    }

    /// Whether it proposes.
    pub fn leads(&self) -> bool {
        let is_active = matches!(&self.zab, Zab::Leading(leader) if leader.is_active());
        is_active && !self.is_leaving() && self.handing_over.is_none()
    }
}
