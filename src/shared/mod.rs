//! The only types that two threads touch: the tree behind its lock, the watches, the sessions, and what the
//! core and a connection have in common.
//!
//! Only the core thread takes the tree's write lock. Locks are taken in the order tree, then one of the
//! others, and never two of the others at once.

mod line_limiter;
mod outbox;
mod role_status;
mod stats;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

pub use line_limiter::{HeldBack, LineLimiter, LineLimiters};
pub use outbox::{Drained, Established, Outbox};
pub use role_status::{LeadingStatus, LearnerLine, Mode, RoleStatus, ZabState};
pub use stats::{ConnStats, Latency, ServerStats};

use crate::clock::Millis;
use crate::ids::{ConnId, SessionId};
use crate::metrics::{Metrics, ResponseSize};
use crate::proto::acl::Id;
use crate::proto::opcode::OpCode;
use crate::proto::request::first_path;
use crate::session::tracker::SessionTracker;
use crate::session::{ConnectionThrottle, ConnectionThrottleConfig};
use crate::tree::DataTree;
use crate::watch::WatchManager;

/// The state of a server.
pub struct Shared {
    /// Written by the core only.
    pub tree: RwLock<DataTree>,
    /// Watches of this server's connections.
    pub watches: WatchManager,
    /// Sessions and when they expire. Changed by the core only.
    pub sessions: Mutex<SessionTracker>,
    /// Sessions of this server's clients that no other server knows. Changed by the core only.
    pub local_sessions: Mutex<SessionTracker>,
    /// Open client connections.
    pub conns: Mutex<BTreeMap<ConnId, Arc<ConnShared>>>,
    /// Counters of the whole server.
    pub stats: ServerStats,
    /// What monitoring reads.
    pub metrics: Metrics,
    /// Sizes of replies.
    pub response_size: ResponseSize,
    /// Sizes of this leader's proposals.
    pub proposal_size: ResponseSize,
    /// Requests handed to the core and not answered yet.
    pub outstanding: AtomicUsize,
    /// Bytes of large requests among them.
    pub large_request_bytes: AtomicUsize,
    /// Beyond so many bytes a reply is more than most clients take (`jute.maxbuffer`).
    pub large_reply_bytes: AtomicUsize,
    /// Which connect requests go on.
    pub connection_throttle: Mutex<ConnectionThrottle>,
    /// Whether clients are served.
    pub is_serving: AtomicBool,
    /// Whether, while there is no leader, those clients are served that only read.
    pub is_read_only: AtomicBool,
    /// What this server is in its ensemble. Published by the core.
    pub role: Mutex<RoleStatus>,
    /// Why the logs and snapshots cannot be used, as long as a leader's snapshot is waited for.
    pub damage: Mutex<Option<String>>,
    /// For log lines that a client could flood.
    pub line_limiters: LineLimiters,
}

impl Shared {
    /// The state around a tree.
    pub fn new(tree: DataTree, sessions: SessionTracker, hash_seed: u64) -> Shared {
        Shared {
            tree: RwLock::new(tree),
            watches: WatchManager::new(hash_seed),
            local_sessions: Mutex::new(sessions.another()),
            sessions: Mutex::new(sessions),
            conns: Mutex::new(BTreeMap::new()),
            stats: ServerStats::default(),
            metrics: Metrics::default(),
            response_size: ResponseSize::default(),
            proposal_size: ResponseSize::default(),
            outstanding: AtomicUsize::new(0),
            large_request_bytes: AtomicUsize::new(0),
            large_reply_bytes: AtomicUsize::new(usize::MAX),
            connection_throttle: Mutex::new(ConnectionThrottle::new(
                ConnectionThrottleConfig::default(),
                Millis(0),
                hash_seed,
            )),
            is_serving: AtomicBool::new(false),
            is_read_only: AtomicBool::new(false),
            role: Mutex::new(RoleStatus::default()),
            damage: Mutex::new(None),
            line_limiters: LineLimiters::default(),
        }
    }

    /// A request was answered with so many bytes. Names it if that is more than clients take that are
    /// configured as this server is: they close the connection, and come again with the same request.
    pub fn note_reply(&self, now: Millis, conn: &ConnShared, op: OpCode, body: &[u8], bytes: usize) {
        let limit = self.large_reply_bytes.load(Relaxed);
        if bytes <= limit {
            return;
        }
        self.metrics.large_replies.add(&format!("{op:?}"), 1);
        if let Some(held_back) = self.line_limiters.large_replies.admit(now) {
            let path = first_path(op, body);
            tracing::warn!(peer = %conn.peer, session = %conn.session_id(), ?op, path, bytes, limit,
                "a reply is longer than jute.maxbuffer; its client may not take it{held_back}");
        }
    }
}

/// What the core and the task of a connection both see of it.
#[derive(Debug)]
pub struct ConnShared {
    /// Its number.
    pub id: ConnId,
    /// The number of the client thread on which it stays.
    pub thread: u32,
    /// The client's address.
    pub peer: SocketAddr,
    /// What the core has for it.
    pub outbox: Outbox,
    /// When a request last touched the session, in monotonic milliseconds.
    last_heard: AtomicU64,
    session_id: AtomicI64,
    timeout_ms: AtomicI32,
    ids: RwLock<Arc<[Id]>>,
    /// Counters for `cons`.
    pub stats: ConnStats,
}

impl ConnShared {
    /// A connection that has no session yet. `wall_ms` is when it came, for `cons`.
    pub fn new(id: ConnId, thread: u32, peer: SocketAddr, ids: Arc<[Id]>, wall_ms: i64) -> ConnShared {
        ConnShared {
            id,
            thread,
            peer,
            outbox: Outbox::default(),
            last_heard: AtomicU64::new(0),
            session_id: AtomicI64::new(0),
            timeout_ms: AtomicI32::new(0),
            ids: RwLock::new(ids),
            stats: ConnStats::new(wall_ms),
        }
    }

    /// Notes that the session was heard of.
    pub fn touch(&self, at: Millis) {
        self.last_heard.store(at.0, Relaxed);
    }

    /// When the session was last heard of here.
    pub fn last_heard(&self) -> Millis {
        Millis(self.last_heard.load(Relaxed))
    }

    /// Binds the connection to a session.
    pub fn establish(&self, established: Established) {
        self.session_id.store(established.session_id.0, Relaxed);
        self.timeout_ms.store(established.timeout_ms, Relaxed);
    }

    /// The session, 0 as long as there is none.
    pub fn session_id(&self) -> SessionId {
        SessionId(self.session_id.load(Relaxed))
    }

    /// The session's timeout in milliseconds.
    pub fn timeout_ms(&self) -> i32 {
        self.timeout_ms.load(Relaxed)
    }

    /// The identities of the client.
    pub fn ids(&self) -> Arc<[Id]> {
        Arc::clone(&self.ids.read())
    }

    /// Replaces the identities.
    pub fn set_ids(&self, ids: Arc<[Id]>) {
        *self.ids.write() = ids;
    }
}

/// A request on its way to the core.
#[derive(Clone, Debug)]
pub struct ClientRequest {
    /// Where it came from and where the reply goes.
    pub conn: ConnId,
    /// On whose behalf.
    pub session: SessionId,
    /// The client's number for it.
    pub xid: i32,
    /// What it asks for.
    pub op: OpCode,
    /// Its record, not decoded yet.
    pub body: Bytes,
    /// The client's identities when it was read.
    pub ids: Arc<[Id]>,
    /// When it was read.
    pub received: Millis,
}
