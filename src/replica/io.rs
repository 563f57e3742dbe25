//! What goes into a replica and what comes out of it.

use std::sync::Arc;

use crate::ids::{ConnId, Zxid};
use crate::proto::connect::ConnectRequest;
use crate::shared::{ClientRequest, ConnShared};
use crate::tree::SnapshotHead;
use crate::zab::LogEntry;

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
    /// A snapshot is complete, or was given up.
    SnapshotTaken,
    /// Time has passed.
    Tick,
}

/// Something to be done, without conditions and in this order.
#[derive(Debug)]
pub enum Output {
    /// Append to the log, sync, and report `LogDurable`.
    AppendLog(LogEntry),
    /// Let the next entry start a new log file.
    RollLog,
    /// Write a snapshot of the tree as it is now, and report `SnapshotTaken`.
    TakeSnapshot(SnapshotHead),
}

/// What a batch of inputs led to.
#[derive(Debug, Default)]
pub struct Outputs {
    /// To be executed in order.
    pub list: Vec<Output>,
    /// Connections with something new in their outboxes, to be woken.
    pub wake: Vec<Arc<ConnShared>>,
}
