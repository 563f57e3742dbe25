//! What goes into a role and what comes out of it.

use bytes::Bytes;

use super::LogEntry;
use crate::ids::{Epoch, ServerId, SessionId, Zxid};
use crate::proto::acl::Id;
use crate::proto::quorum::{Handover, QuorumPacket};

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

/// Something that happened. Events of an earlier role must not reach a later one.
#[derive(Clone, Debug)]
pub enum Input {
    /// Leader: a learner connected. Learner: the connection to the leader is there.
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
    /// Leader: the answer to [`Output::ReadLog`].
    LogRead {
        /// For whom.
        link: LinkId,
        /// Every transaction from the one after `after` to `upto`, without a gap; `None` if the log does not
        /// prove that.
        entries: Option<Vec<LogEntry>>,
    },
    /// Leader: the image and what goes right behind it has left for the learner.
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
    /// Whole packets for a connection.
    Send(LinkId, Bytes),
    /// Leader: send the tree as the commits before this output have left it: a SNAP packet with the image's
    /// zxid, the image, the signature; then `then`, then what further `Send`s say. An image of a later
    /// moment does, too, if its packet says so.
    SendSnapshot {
        /// To whom.
        link: LinkId,
        /// Packets that go right behind the image.
        then: Vec<Bytes>,
    },
    /// Leader: read a part of the log for a learner that is too far behind for memory; answered by `LogRead`.
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
    /// From here on clients are served.
    Active {
        /// The epoch that has begun: the peer epoch of this server's vote.
        epoch: Epoch,
    },
    /// Leader: a request that a learner forwards. `Check` outside a multi must be refused with an error
    /// transaction: no reader of the log knows it.
    Request {
        /// The learner.
        from: LinkId,
        /// Its id: the owner of the session from now on.
        server: ServerId,
        /// Whose request.
        session: SessionId,
        /// The client's xid.
        cxid: i32,
        /// The operation's number.
        op: i32,
        /// As the client sent it.
        body: Bytes,
        /// The client's identities.
        ids: Vec<Id>,
    },
    /// Leader: a learner has heard from these sessions; timeouts in milliseconds.
    LearnerPing {
        /// The learner.
        from: LinkId,
        /// Who was heard from.
        sessions: Vec<(SessionId, i32)>,
    },
    /// Leader: may this session go on at that learner? To be answered by `Leader::revalidated`.
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
        /// Learner: the leader has named the next one, so there is no need for an election.
        handover: Option<Handover>,
    },
}
