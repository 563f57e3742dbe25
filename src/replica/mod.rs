//! A server without its threads, sockets and clocks: `handle` takes one input and says what to do.
//!
//! Every write takes the same road, in a standalone server as in an ensemble: prepared against the tree and
//! what is outstanding, proposed, logged, acknowledged from disk, committed in order, applied, answered.

mod apply;
mod io;
mod reply;
mod sessions;
mod write;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

pub use io::{Input, Output, Outputs};

use crate::auth::AuthConfig;
use crate::clock::{Millis, Now};
use crate::ids::{ConnId, ServerId, SessionId, Zxid};
use crate::prep::{Prep, PrepConfig};
use crate::prng::Prng;
use crate::proto::error_code::ErrorCode;
use crate::proto::opcode::OpCode;
use crate::quorum::verifier::QuorumVerifier;
use crate::session::password::SessionIds;
use crate::shared::{ClientRequest, ConnShared, Shared};
use crate::tree::DataTree;
use crate::zab::Broadcast;

/// What a replica has to know of the configuration.
#[derive(Clone)]
pub struct ReplicaConfig {
    /// This server, `myid`; 1 when it stands alone.
    pub server_id: ServerId,
    /// Who may do what.
    pub auth: AuthConfig,
    /// How requests become transactions.
    pub prep: PrepConfig,
    /// Transactions between snapshots (`snapCount`).
    pub snap_count: u64,
    /// Logged bytes between snapshots (`snapSizeLimitInKb`); `None` for no such rule.
    pub snap_size_limit: Option<u64>,
}

/// One server's deciding part.
pub struct Replica {
    shared: Arc<Shared>,
    auth: AuthConfig,
    prep: Prep,
    broadcast: Broadcast,
    session_ids: SessionIds,
    conns: BTreeMap<ConnId, Conn>,
    conn_of_session: BTreeMap<SessionId, ConnId>,
    /// Connections whose sync waits for these transactions.
    syncs: VecDeque<(Zxid, ConnId)>,
    snapshots: SnapshotSchedule,
}

/// A connection that has asked for a session.
struct Conn {
    shared: Arc<ConnShared>,
    /// The session asked for, or opened.
    session: SessionId,
    /// Requests in the order in which they have to be answered. Only the first can be a write that is
    /// committed; reads behind it run right after it, under the same write guard.
    pending: VecDeque<Pending>,
}

enum Pending {
    Connect {
        zxid: Zxid,
        timeout_ms: i32,
        read_only: Option<bool>,
    },
    Write {
        zxid: Zxid,
        xid: i32,
        op: OpCode,
        received: Millis,
    },
    Read(ClientRequest),
    Sync {
        after: Zxid,
        xid: i32,
        body: Bytes,
        received: Millis,
    },
    Refused {
        error: ErrorCode,
        xid: i32,
        op: OpCode,
        received: Millis,
    },
}

/// When the next snapshot is due (SyncRequestProcessor.shouldSnapshot): the random half keeps the members of
/// an ensemble from taking theirs at the same time.
struct SnapshotSchedule {
    txns_max: u64,
    bytes_max: Option<u64>,
    txns_due: u64,
    bytes_due: u64,
    txns: u64,
    bytes: u64,
    is_running: bool,
    prng: Prng,
}

impl Replica {
    /// A standalone server: the leader of an ensemble of one, whose history ends where the tree is. Sessions
    /// found in the tree start a fresh timeout.
    pub fn new(shared: Arc<Shared>, config: ReplicaConfig, now: Now, seed: u64) -> Replica {
        let last_zxid = shared.tree.read().last_processed_zxid();
        let verifier = QuorumVerifier::majority([config.server_id]);
        let mut replica = Replica {
            auth: config.auth,
            prep: Prep::new(config.prep),
            broadcast: Broadcast::new(config.server_id, verifier, last_zxid),
            session_ids: SessionIds::new(config.server_id, now.wall_ms as u64),
            conns: BTreeMap::new(),
            conn_of_session: BTreeMap::new(),
            syncs: VecDeque::new(),
            snapshots: SnapshotSchedule::new(config.snap_count, config.snap_size_limit, Prng::new(seed)),
            shared,
        };
        replica.adopt_sessions(now);
        replica
    }

    /// Takes one input. Never blocks, never fails.
    pub fn handle(&mut self, now: Now, input: Input, outputs: &mut Outputs) {
        match input {
            Input::Connect { conn, request } => self.on_connect(now, conn, &request, outputs),
            Input::Client(request) => self.on_client_request(now, request, outputs),
            Input::ConnClosed(conn) => self.on_conn_closed(conn),
            Input::LogDurable { upto } => {
                self.broadcast.on_log_durable(upto);
                self.apply_committed(now, outputs);
            }
            Input::SnapshotTaken => {
                self.shared.tree.write().snapshot_end();
                self.snapshots.is_running = false;
            }
            Input::Tick => self.expire_sessions(now, outputs),
        }
        self.check_invariants();
    }

    /// When `Tick` is due next, on the monotonic clock.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.shared.sessions.lock().next_deadline()
    }

    /// Ends the process if the replica contradicts itself.
    fn check_invariants(&self) {
        assert!(self.broadcast.last_committed() <= self.broadcast.last_proposed());
    }
}

impl SnapshotSchedule {
    fn new(txns_max: u64, bytes_max: Option<u64>, prng: Prng) -> SnapshotSchedule {
        let mut schedule = SnapshotSchedule {
            txns_max: txns_max.max(2),
            bytes_max,
            txns_due: 0,
            bytes_due: 0,
            txns: 0,
            bytes: 0,
            is_running: false,
            prng,
        };
        schedule.draw();
        schedule
    }

    fn draw(&mut self) {
        let half = self.txns_max / 2;
        self.txns_due = half + self.prng.below(half.max(1));
        let half = self.bytes_max.map_or(u64::MAX, |bytes| bytes / 2);
        self.bytes_due = half.saturating_add(self.prng.below(half.max(1)));
        (self.txns, self.bytes) = (0, 0);
    }

    /// Counts a logged transaction. True when it is the last of its log file.
    fn count(&mut self, bytes: usize) -> bool {
        self.txns += 1;
        self.bytes = self.bytes.saturating_add(bytes as u64);
        let is_due = self.txns > self.txns_due || self.bytes > self.bytes_due;
        if is_due {
            self.draw();
        }
        is_due
    }
}

/// Starts a snapshot of the tree as it is.
fn begin_snapshot(tree: &mut DataTree) -> Output {
    Output::TakeSnapshot(tree.snapshot_begin())
}

#[cfg(test)]
pub(crate) mod tests;
