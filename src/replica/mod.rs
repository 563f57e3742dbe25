//! A server without its threads, sockets and clocks: `handle` takes one input and says what to do.
//!
//! Every write takes the same road, in a standalone server as in an ensemble: prepared against the tree and
//! what is outstanding, proposed, logged, acknowledged from disk, committed in order, applied, answered. On a
//! learner its first part is the leader's: the request is forwarded, and comes back as a commit.

mod apply;
mod containers;
mod early_acl;
mod execute;
mod hand_over;
mod io;
mod learner_requests;
mod local_sessions;
mod member;
mod observer_requests;
mod read_only;
mod reconfig;
mod reply;
mod roles;
mod sessions;
mod snapshots;
mod status;
mod write;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

pub use containers::ContainerConfig;
pub use io::{Input, Output, Outputs, PeerEvent};
pub use local_sessions::LocalSessions;
pub use member::MemberConfig;

use crate::auth::AuthConfig;
use crate::clock::{Millis, Now};
use crate::ids::{ConnId, ServerId, SessionId, Zxid};
use crate::prep::{Prep, PrepConfig};
use crate::prng::Prng;
use crate::proto::error_code::ErrorCode;
use crate::proto::opcode::OpCode;
use crate::quorum::reconfig::Rules;
use crate::quorum::verifier::QuorumVerifier;
use crate::session::password::SessionIds;
use crate::shared::{ClientRequest, ConnShared, Shared};
use crate::zab::{self, Broadcast, Zab};
use containers::ContainerManager;
use local_sessions::Ended;
use member::Member;
use snapshots::{SnapshotSchedule, snapshot_bytes};

/// What a replica has to know of the configuration.
#[derive(Clone)]
pub struct ReplicaConfig {
    /// This server, `myid`; 1 when it stands alone.
    pub server_id: ServerId,
    /// Who may do what.
    pub auth: AuthConfig,
    /// How requests become transactions.
    pub prep: PrepConfig,
    /// Transactions between snapshots (`snapCount`); `None`: by logged bytes against the tree.
    pub snap_count: Option<u64>,
    /// Logged bytes between snapshots (`snapSizeLimitInKb`); `None` for no such rule.
    pub snap_size_limit: Option<u64>,
    /// When containers and TTL nodes go.
    pub containers: ContainerConfig,
    /// What kind of session new clients get. Nothing to a server that stands alone.
    pub local_sessions: LocalSessions,
    /// How long a member looks for a leader before it serves read-only clients; `None` if it never does
    /// (`readonlymode.enabled`).
    pub read_only_after: Option<Millis>,
    /// Whether a member looks at ACLs before it asks the leader (`enableEagerACLCheck`).
    pub checks_acls_early: bool,
    /// By which rules the membership may be changed; `None` unless `reconfigEnabled`.
    pub reconfig: Option<Rules>,
}

/// One server's deciding part.
pub struct Replica {
    shared: Arc<Shared>,
    auth: AuthConfig,
    prep: Prep,
    reconfig: Option<Rules>,
    ensemble: Ensemble,
    session_ids: SessionIds,
    /// Boxed: new ones come last, which leaves the map's leaves half empty.
    conns: BTreeMap<ConnId, Box<Conn>>,
    conn_of_session: BTreeMap<SessionId, ConnId>,
    server_id: ServerId,
    local_sessions: LocalSessions,
    ended: Ended,
    checks_acls_early: bool,
    read_only_after: Option<Millis>,
    /// When it begins, unless a leader is found first.
    read_only_at: Option<Millis>,
    /// Connections whose sync waits, oldest first: alone for these transactions, in an ensemble for the
    /// leader's answer ([`UNANSWERED`]).
    syncs: VecDeque<(Zxid, ConnId)>,
    /// No session expires before.
    expiry_resumes_at: Millis,
    snapshots: SnapshotSchedule,
    containers: ContainerManager,
}

/// Whether there are others.
enum Ensemble {
    /// No: the leader of an ensemble of one, whose epoch never changes.
    Alone(Broadcast),
    /// Yes.
    Member(Box<Member>),
}

/// A connection that has asked for a session.
struct Conn {
    shared: Arc<ConnShared>,
    /// The session asked for, or opened.
    session: SessionId,
    /// On a learner: what the session had under way when it came here. No answer to a request of this
    /// connection is among the transactions up to this one, whatever xids they carry.
    came_at: Zxid,
    /// Requests in the order in which they have to be answered. Only the first can be a write that is
    /// committed; reads behind it run right after it, under the same write guard.
    pending: VecDeque<Pending>,
}

enum Pending {
    /// `zxid` is `None` on a learner, where the leader chooses it.
    Connect {
        zxid: Option<Zxid>,
        timeout_ms: i32,
        read_only: Option<bool>,
    },
    /// As above.
    Write {
        zxid: Option<Zxid>,
        xid: i32,
        op: OpCode,
        received: Millis,
        /// What is answered in place of any other error.
        error: Option<ErrorCode>,
    },
    /// The end of a session that only this server knows.
    End {
        xid: i32,
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
        /// What the reply says; `None` for that of the state.
        zxid: Option<Zxid>,
        xid: i32,
        op: OpCode,
        received: Millis,
    },
}

/// The transaction that a sync waits for in an ensemble: none, but the leader's answer.
const UNANSWERED: Zxid = Zxid(i64::MAX);

impl Replica {
    /// A standalone server: the leader of an ensemble of one, whose history ends where the tree is. Sessions
    /// found in the tree start a fresh timeout.
    pub fn new(shared: Arc<Shared>, config: ReplicaConfig, now: Now, seed: u64) -> Replica {
        let last_zxid = shared.tree.read().last_processed_zxid();
        let verifier = QuorumVerifier::majority([config.server_id]);
        let broadcast = Broadcast::new(config.server_id, verifier, last_zxid);
        let mut replica = Replica::build(shared, config, Ensemble::Alone(broadcast), now, seed);
        replica.adopt_sessions(now);
        replica.containers.start(now.mono);
        replica
    }

    /// A member of an ensemble, which has no role yet.
    pub fn member(
        shared: Arc<Shared>,
        config: ReplicaConfig,
        mut member: MemberConfig,
        now: Now,
        seed: u64,
    ) -> Replica {
        member.zab.reconfig_enabled = config.reconfig.is_some();
        member.election.reconfig_enabled = config.reconfig.is_some();
        let member = Box::new(Member::new(member, now, seed));
        Replica::build(shared, config, Ensemble::Member(member), now, seed)
    }

    fn build(shared: Arc<Shared>, config: ReplicaConfig, ensemble: Ensemble, now: Now, seed: u64) -> Replica {
        let snapshots = SnapshotSchedule::new(&config, snapshot_bytes(&shared.tree.read()), Prng::new(seed));
        Replica {
            auth: config.auth,
            prep: Prep::new(config.prep),
            reconfig: config.reconfig,
            ensemble,
            session_ids: SessionIds::new(config.server_id, now.wall_ms as u64),
            conns: BTreeMap::new(),
            conn_of_session: BTreeMap::new(),
            server_id: config.server_id,
            local_sessions: config.local_sessions,
            ended: Ended::default(),
            checks_acls_early: config.checks_acls_early,
            read_only_after: config.read_only_after,
            read_only_at: None,
            syncs: VecDeque::new(),
            expiry_resumes_at: Millis(0),
            snapshots,
            containers: ContainerManager::new(config.containers),
            shared,
        }
    }

    /// Begins: alone to serve, in an ensemble to look for a leader. Called once, before any input.
    pub fn start(&mut self, now: Now, outputs: &mut Outputs) {
        match &self.ensemble {
            Ensemble::Alone(_) => {
                self.close_orphans(now, outputs);
                self.set_serving(true, outputs);
            }
            Ensemble::Member(_) => self.look(now),
        }
        self.settle_roles(now, outputs);
    }

    /// Takes one input. Never blocks, never fails.
    pub fn handle(&mut self, now: Now, input: Input, outputs: &mut Outputs) {
        match input {
            Input::Connect { conn, request } => self.on_connect(now, conn, &request, outputs),
            Input::Client(request) => self.on_client_request(now, request, outputs),
            Input::ConnClosed(conn) => self.on_conn_closed(conn),
            Input::LogDurable { upto } => self.on_log_durable(now, upto, outputs),
            Input::SnapshotTaken => {
                self.on_snapshot_taken(outputs);
                self.retry_replacement(outputs);
            }
            Input::Stop => self.on_stop(now, outputs),
            Input::Tick => self.on_tick(now, outputs),
            Input::EpochsSaved { .. }
            | Input::LogFenced
            | Input::TreeReplaced(_)
            | Input::CannotTruncate { .. }
            | Input::Notification { .. }
            | Input::ElectionLinkUp(_)
            | Input::ElectionLinkDown(_)
            | Input::Peer { .. } => self.on_member_input(now, input, outputs),
        }
        self.settle_roles(now, outputs);
        self.check_invariants();
    }

    /// When `Tick` is due next, on the monotonic clock.
    pub fn next_deadline(&self) -> Option<Millis> {
        let sessions = self.session_due().map(|due| due.max(self.expiry_resumes_at));
        let containers = match self.leads() && self.takes_requests() {
            true => self.containers.next_deadline(),
            false => None,
        };
        let member = match &self.ensemble {
            Ensemble::Alone(_) => None,
            Ensemble::Member(member) => member.next_deadline(),
        };
        [sessions, containers, member, self.read_only_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// What it is in its ensemble; `None` alone.
    pub fn role(&self) -> Option<&Zab> {
        match &self.ensemble {
            Ensemble::Alone(_) => None,
            Ensemble::Member(member) => Some(&member.zab),
        }
    }

    /// Whether this server serves: alone, or with a leader.
    pub fn is_active(&self) -> bool {
        match &self.ensemble {
            Ensemble::Alone(_) => true,
            Ensemble::Member(member) => match &member.zab {
                Zab::Looking => false,
                Zab::Leading(leader) => leader.is_active(),
                Zab::Learning(learner) => learner.is_active(),
            },
        }
    }

    /// Whether this server proposes: alone, or as an active leader.
    fn leads(&self) -> bool {
        match &self.ensemble {
            Ensemble::Alone(_) => true,
            Ensemble::Member(member) => member.leads(),
        }
    }

    fn on_log_durable(&mut self, now: Now, upto: Zxid, outputs: &mut Outputs) {
        match &mut self.ensemble {
            Ensemble::Alone(broadcast) => {
                broadcast.on_log_durable(upto);
                let committed = broadcast.take_committed();
                self.apply_committed(now, committed, outputs);
            }
            Ensemble::Member(member) => member.step(now, zab::Input::LogDurable { upto }),
        }
    }

    fn on_tick(&mut self, now: Now, outputs: &mut Outputs) {
        if let Ensemble::Member(member) = &mut self.ensemble {
            member.tick(now);
        }
        self.look_if_due(now);
        self.settle_roles(now, outputs);
        self.try_read_only(now);
        self.expire_sessions(now, outputs);
        if self.leads() {
            self.check_containers(now, outputs);
            self.publish();
        }
    }

    /// Ends the process if the replica contradicts itself.
    fn check_invariants(&self) {
        match &self.ensemble {
            Ensemble::Alone(broadcast) => {
                assert!(broadcast.last_committed() <= broadcast.last_proposed());
            }
            Ensemble::Member(member) => member.check_invariants(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
