//! What goes into a role and what comes out of it.

use bytes::Bytes;

use super::LogEntry;
use crate::ids::{Epoch, ServerId, SessionId, Zxid};
use crate::proto::acl::Id;
use crate::proto::quorum::{ForwardedRequest, Handover, QuorumPacket};
use crate::quorum::configs::Configs;

/// One TCP connection on the quorum port, of either direction. The driver numbers them and never uses a
/// number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// What a server holds when a role begins. Nothing of it may still be on its way to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The durable end of the log, or the snapshot it would go on from.
    pub last_logged: Zxid,
    /// The last transaction in the tree. For a learner it is `last_logged`; a leader's tree may catch up
    /// until [`Input::TreeReady`].
    pub last_applied: Zxid,
    /// The `acceptedEpoch` file.
    pub accepted_epoch: Epoch,
    /// The `currentEpoch` file.
    pub current_epoch: Epoch,
}

/// What a learner's own history is worth, as far as it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It can be built upon.
    Whole,
    /// All that this server acknowledged is on its disk, so its word counts for an epoch; but the history or
    /// the tree cannot go on from there, so it takes nothing but a snapshot. A leader of Apache is told that
    /// it is damaged: no other word makes it send one.
    NeedsSnapshot,
    /// Part of what this server acknowledged may be missing: it says that it holds nothing, not even the
    /// empty history, and its word counts for no epoch.
    Damaged,
}

/// Something that happened. Events of an earlier role must not reach a later one.
#[derive(Clone, Debug)]
pub enum Input {
    /// Leader and observer master: a learner connected. Learner: the connection to the leader, or to who
    /// stands for it, is there.
    LinkUp(LinkId),
    /// A packet arrived.
    Packet(LinkId, QuorumPacket),
    /// A connection ended, or (for a learner) could not be made.
    LinkDown(LinkId),
    /// The log is durable up to here.
    LogDurable {
        /// The last transaction that was synced.
        upto: Zxid,
    },
    /// Both files are durable.
    EpochsSaved {
        /// The `acceptedEpoch` file.
        accepted: Epoch,
        /// The `currentEpoch` file.
        current: Epoch,
    },
    /// Learner: what [`Output::InstallSnapshot`] or [`Output::TruncateLog`] asked for is in the tree and
    /// durable: a restart would find the same.
    SnapshotInstalled {
        /// The last transaction of tree and log now.
        zxid: Zxid,
    },
    /// Learner: the log cannot be cut there, and nothing was changed.
    CannotTruncate {
        /// Why.
        reason: String,
    },
    /// Leader and observer master: the answer to [`Output::ReadLog`].
    LogRead {
        /// For whom.
        link: LinkId,
        /// Every transaction from the one after `after` to `upto`, without a gap; `None` if the log does not
        /// prove that.
        entries: Option<Vec<LogEntry>>,
    },
    /// Leader and observer master: the image and what goes right behind it has left for the learner.
    SnapshotSent(LinkId),
    /// Leader: the tree holds the whole log.
    TreeReady,
    /// Time has passed.
    Tick,
}

/// Something to be done, without conditions and in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Leader: accept learners on the quorum port, until the role ends.
    Listen,
    /// Learner: connect to the leader, all its addresses; answered by `LinkUp` or `LinkDown`.
    Connect {
        /// The leader.
        leader: ServerId,
    },
    /// Follower: accept observers on `observerMasterPort`, until the role ends.
    ListenForObservers,
    /// Observer: connect to `observerMasterPort` of a voter, all its addresses; answered as `Connect`.
    ConnectToMaster {
        /// The voter.
        master: ServerId,
    },
    /// Whole packets for a connection.
    Send(LinkId, Bytes),
    /// Leader and observer master: send the tree as the commits before this output have left it: a SNAP
    /// packet with the image's zxid, the image, the signature; then `then`, then what further `Send`s say. An
    /// image of a later moment does, too, if its packet says so.
    SendSnapshot {
        /// To whom.
        link: LinkId,
        /// Packets that go right behind the image.
        then: Vec<Bytes>,
    },
    /// Leader and observer master: read a part of the log for a learner that is too far behind for memory;
    /// answered by `LogRead`.
    ReadLog {
        /// For whom.
        link: LinkId,
        /// The learner's last transaction.
        after: Zxid,
        /// Where memory goes on.
        upto: Zxid,
    },
    /// Close a connection; what was sent before may be lost.
    Close {
        /// Which.
        link: LinkId,
        /// For the log.
        reason: String,
    },
    /// Make both files durable; answered by `EpochsSaved`.
    SaveEpochs {
        /// The `acceptedEpoch` file.
        accepted: Epoch,
        /// The `currentEpoch` file.
        current: Epoch,
    },
    /// Append to the log and sync; answered by `LogDurable`.
    AppendLog(LogEntry),
    /// Learner: cut log and tree behind a transaction; answered by `SnapshotInstalled` or `CannotTruncate`.
    TruncateLog {
        /// The last transaction to keep.
        to: Zxid,
    },
    /// Learner: read the image that follows on the connection, put it in the place of tree, log and
    /// snapshots, and make it durable; answered by `SnapshotInstalled`.
    InstallSnapshot {
        /// Where it comes from.
        link: LinkId,
        /// The last transaction it shows as a whole.
        zxid: Zxid,
    },
    /// Apply to the tree, in order, each once.
    Commit(LogEntry),
    /// A configuration is proposed, and may be committed without this server: it has to be durable before
    /// anything that the log is given behind this.
    ConfigProposed(Configs),
    /// A configuration is in force.
    ConfigCommitted(Configs),
    /// From here on clients are served.
    Active {
        /// The epoch that has begun: the peer epoch of this server's vote.
        epoch: Epoch,
    },
    /// A request that a learner forwards, to a leader or to an observer master. `Check` outside a multi must
    /// be refused with an error transaction: no reader of the log knows it.
    Request {
        /// The learner: the owner of the session from now on.
        from: LinkId,
        /// Whose request, and what it is.
        request: ForwardedRequest,
        /// The client's identities.
        ids: Vec<Id>,
        /// The session has moved since, between servers that the leader does not tell apart: the request must
        /// be refused. Only our observer masters say so.
        has_moved: bool,
    },
    /// Leader and observer master: a learner has heard from these sessions; timeouts in milliseconds.
    LearnerPing {
        /// The learner.
        from: LinkId,
        /// Who was heard from.
        sessions: Vec<(SessionId, i32)>,
    },
    /// May this session go on at that learner? To be answered by `revalidated` of the leader or, once its own
    /// leader has, of the observer master.
    Revalidate {
        /// The learner.
        from: LinkId,
        /// Its id: the owner of the session if it may.
        server: ServerId,
        /// The session.
        session: SessionId,
        /// Milliseconds.
        timeout_ms: i32,
    },
    /// Learner: the leader's word on a session.
    Revalidated {
        /// The session.
        session: SessionId,
        /// Whether it goes on here.
        valid: bool,
    },
    /// Learner: the session is served by another server now. Only our leaders say so.
    SessionMoved {
        /// The session.
        session: SessionId,
    },
    /// The oldest sync of this server's own clients is answered.
    SyncReply,
    /// The role is over and says nothing more: close all its connections and the listener, stop serving,
    /// finish or fence the log, then look for a leader again.
    RoleEnded {
        /// For the log.
        reason: String,
        /// What this server holds must not be built upon: the next learner asks for a snapshot.
        needs_snapshot: bool,
        /// The next leader is known, so there is no need for an election.
        handover: Option<Handover>,
    },
}
