//! What goes into a replica and what comes out of it.

use std::sync::Arc;

use bytes::Bytes;

use crate::ids::{ConnId, Epoch, ServerId, Zxid};
use crate::proto::connect::ConnectRequest;
use crate::proto::quorum::QuorumPacket;
use crate::quorum::configs::Configs;
use crate::shared::{ClientRequest, ConnShared};
use crate::tree::{DataTree, SnapshotHead};
use crate::zab::{LinkId, LogEntry};

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// A client wants a session. The timeout is within the server's limits already.
    Connect {
        /// The connection, not seen before.
        conn: Arc<ConnShared>,
        /// What it asks for.
        request: ConnectRequest,
    },
    /// A client's request that has to keep its place among writes.
    Client(ClientRequest),
    /// A connection that had asked for a session is gone.
    ConnClosed(ConnId),
    /// The log is on disk up to this transaction.
    LogDurable {
        /// The last transaction that was synced.
        upto: Zxid,
    },
    /// Both epoch files are on disk.
    EpochsSaved {
        /// The `acceptedEpoch` file.
        accepted: Epoch,
        /// The `currentEpoch` file.
        current: Epoch,
    },
    /// Everything that the log was given before [`Output::FenceLog`] is on disk.
    LogFenced,
    /// The log was cut, or a received image has taken its place: this is the state now, also after a restart.
    TreeReplaced(Box<DataTree>),
    /// The log cannot be cut there, and nothing was changed.
    CannotTruncate {
        /// Why.
        reason: String,
    },
    /// A snapshot is complete, or was given up.
    SnapshotTaken,
    /// A message on the election port.
    Notification {
        /// The server at the other end.
        from: ServerId,
        /// The body of the frame.
        body: Bytes,
    },
    /// There is an election connection to this server.
    ElectionLinkUp(ServerId),
    /// The election connection to this server ended, or could not be made.
    ElectionLinkDown(ServerId),
    /// Something happened on the quorum port.
    Peer {
        /// The number of the role that asked for the connection, or for the listener.
        role: u64,
        /// What.
        event: PeerEvent,
    },
    /// The server is asked to end: a leader hands over first. [`Output::Stopped`] follows.
    Stop,
    /// Time has passed.
    Tick,
}

/// What happens on the quorum port.
#[derive(Debug)]
pub enum PeerEvent {
    /// A learner is there, or the connection to the leader.
    LinkUp(LinkId),
    /// Packets arrived, in this order.
    Packets(LinkId, Vec<QuorumPacket>),
    /// The image behind a SNAP packet is here as a whole.
    Image {
        /// From this leader.
        link: LinkId,
        /// What it shows.
        tree: Box<DataTree>,
    },
    /// An image has left for a learner.
    ImageSent(LinkId),
    /// The answer to [`Output::ReadLog`].
    LogRead {
        /// For whom.
        link: LinkId,
        /// Every transaction of the range, or `None` if the log does not prove that.
        entries: Option<Vec<LogEntry>>,
    },
    /// A connection ended or could not be made.
    LinkDown(LinkId),
}

/// Something to be done, without conditions and in this order.
#[derive(Debug)]
pub enum Output {
    /// Append to the log, sync, and report `LogDurable`.
    AppendLog(LogEntry),
    /// Let the next entry start a new log file.
    RollLog,
    /// Make both epoch files durable, and report `EpochsSaved`.
    SaveEpochs {
        /// The `acceptedEpoch` file.
        accepted: Epoch,
        /// The `currentEpoch` file.
        current: Epoch,
    },
    /// A configuration is proposed. It has to be durable before anything that the log is given behind this,
    /// and its members may connect.
    ConfigProposed(Configs),
    /// A configuration is in force: it is to be found at the next start, and this server is where it says.
    ConfigCommitted(Configs),
    /// Report `LogFenced` behind everything that the log was given so far.
    FenceLog,
    /// Cut the log behind a transaction and report `TreeReplaced` or `CannotTruncate`.
    TruncateLog {
        /// The last transaction to keep.
        to: Zxid,
    },
    /// Put this tree in the place of log and snapshots, and report `TreeReplaced`.
    InstallTree(Box<DataTree>),
    /// Nobody needs this tree any more. Freeing it takes time, which the core does not have.
    DropTree(Box<DataTree>),
    /// Write a snapshot of the tree as it is now, and report `SnapshotTaken`.
    TakeSnapshot(SnapshotHead),
    /// Send a message on the election port. It replaces one that still waits for the same server.
    Notify {
        /// To whom.
        to: ServerId,
        /// The body of the frame.
        body: Bytes,
    },
    /// Dial every server to which there is no election connection.
    DialAll,
    /// Accept learners until `ResetPeers`.
    Listen {
        /// The number of the role, for the events of these connections.
        role: u64,
    },
    /// Connect to the leader.
    Connect {
        /// The number of the role, for the events of this connection.
        role: u64,
        /// The leader.
        leader: ServerId,
    },
    /// Accept observers on `observerMasterPort` until `ResetPeers`.
    ListenForObservers {
        /// The number of the role, for the events of these connections.
        role: u64,
    },
    /// Connect to `observerMasterPort` of a voter.
    ConnectToMaster {
        /// The number of the role, for the events of this connection.
        role: u64,
        /// The voter.
        master: ServerId,
    },
    /// Send packets to a peer.
    Send(LinkId, Bytes),
    /// An image goes to this learner next, and what is sent from now on goes behind it.
    ReserveImage(LinkId),
    /// Send the image that was announced: SNAP, and the tree as it is now. Report `SnapshotTaken`.
    SendImage {
        /// To whom.
        link: LinkId,
        /// What the image begins with.
        head: SnapshotHead,
    },
    /// Read a part of the log for a learner, and report `LogRead`.
    ReadLog {
        /// The number of the role.
        role: u64,
        /// For whom.
        link: LinkId,
        /// The learner's last transaction.
        after: Zxid,
        /// The last one to read.
        upto: Zxid,
    },
    /// Close a connection to a peer.
    ClosePeer {
        /// Which.
        link: LinkId,
        /// For the log.
        reason: String,
    },
    /// The role is over: close all its connections, and the listener.
    ResetPeers,
    /// Clients are served from here on, or no longer.
    Serving(bool),
    /// Nothing more comes: the process may end.
    Stopped,
}

/// What a batch of inputs led to.
#[derive(Debug, Default)]
pub struct Outputs {
    /// To be executed in order.
    pub list: Vec<Output>,
    /// Connections with something new in their outboxes, to be woken.
    pub wake: Vec<Arc<ConnShared>>,
}
