//! What just happened to a server, for those who wait for it.

use zkserver::ids::Zxid;
use zkserver::proto::quorum::PacketType;

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub node: usize,
    pub what: Happened,
}

/// What.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    Started,
    /// The process refused to start.
    Refused,
    /// The process ended by itself: its disk failed.
    Died,
    /// On disk, and the server does not know it yet.
    Durable(Written),
    Sent(PacketType, Zxid),
    Arrived(PacketType, Zxid),
    /// It leads an epoch that begins.
    Leads,
    /// It follows, or observes, and serves.
    Serves,
    RoleEnded,
    /// It applied a transaction that nobody else had applied.
    CommittedFirst,
    SnapshotDone,
    LogRead(bool),
    CouldNotTruncate,
    /// A configuration has come into force that nobody has gone by before; the first, or a later one.
    Reconfigured {
        is_first: bool,
    },
    Stopped,
}

/// What became durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    Log,
    Epochs,
    Cut,
    Image,
    Fence,
}
