//! What the server is in its ensemble, as the core last published it for four-letter words and operators.

use crate::ids::{Epoch, ServerId, Zxid};

/// What part the server plays (ServerStats.Provider.getState).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Alone.
    #[default]
    Standalone,
    /// In an ensemble, without a leader: clients are not served.
    Looking,
    /// The same, but those who only read are served.
    ReadOnly,
    /// Leads, or is about to.
    Leader,
    /// Follows, or is about to.
    Follower,
    /// Follows without voting.
    Observer,
}

/// How far the role has come (QuorumPeer.ZabState).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ZabState {
    /// Who leads is not decided.
    #[default]
    Election,
    /// The epoch is being agreed on.
    Discovery,
    /// The learner gets the leader's history.
    Synchronization,
    /// Clients are served.
    Broadcast,
}

/// The role and its figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleStatus {
    /// The part.
    pub mode: Mode,
    /// How far it has come. `Election` when standalone.
    pub state: ZabState,
    /// Who leads, if that is known. Behind a follower it is not.
    pub leader: Option<ServerId>,
    /// The epoch that this server has joined last (`currentEpoch`).
    pub epoch: Epoch,
    /// When the role began to serve, in monotonic milliseconds.
    pub active_since_ms: Option<u64>,
    /// How long the last election took, in milliseconds.
    pub election_ms: Option<u64>,
    /// Of an observer: the voter that it learns from in the leader's place.
    pub observer_master: Option<ServerId>,
    /// Of a follower that serves observers: how many serve clients.
    pub synced_observers: Option<usize>,
    /// Of a leader, whether active or not yet.
    pub leading: Option<LeadingStatus>,
}

/// What a leader knows of its learners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeadingStatus {
    /// Every connection that has said who it is.
    pub learners: Vec<LearnerLine>,
    /// Voting followers that are in time.
    pub synced_followers: usize,
    /// Followers without a vote that are in time.
    pub synced_non_voting_followers: usize,
    /// Observers that are in time.
    pub synced_observers: usize,
    /// Requests of clients to `sync` that wait for a proposal before them (Leader.getNumPendingSyncs).
    pub pending_syncs: usize,
    /// The newest proposal.
    pub last_proposed: Zxid,
    /// The newest commit.
    pub last_committed: Zxid,
    /// Size of the last, the smallest and the largest proposal in bytes; -1 before the first.
    pub proposal_bytes: [i64; 3],
}

/// One learner of a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnerLine {
    /// Who.
    pub server: ServerId,
    /// Observer or follower.
    pub is_observer: bool,
    /// Whether it may serve clients.
    pub is_up: bool,
    /// The last proposal that it has acknowledged.
    pub acked: Option<Zxid>,
}
