//! One member: its disk, which stays, and its process, which comes and goes.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::configs::{self, START};
use super::disk::Disk;
use zkserver::clock::{Millis, Now};
use zkserver::ids::Zxid;
use zkserver::replica::{Input, Replica};
use zkserver::shared::Shared;
use zkserver::storage::snapshot_stream;
use zkserver::tree::{SnapshotCursor, SnapshotHead};
use zkserver::zab::{LinkId, Zab};

pub struct Node {
    pub disk: Disk,
    pub server: Option<Server>,
    /// Counts the processes.
    pub life: u64,
    /// Snapshots and images go on no further for now.
    pub are_walks_held: bool,
    /// The process stands still.
    pub is_paused: bool,
    pub clock: Clock,
    /// Why the last process refused to start, or died.
    pub died_of: Option<String>,
}

/// How a machine's clocks go.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Thousandths of a millisecond that go by in one.
    pub permille: u64,
    pub wall_offset_ms: i64,
}

impl Default for Clock {
    fn default() -> Clock {
        Clock {
            permille: 1000,
            wall_offset_ms: 0,
        }
    }
}

impl Clock {
    /// What it shows at a time.
    pub fn at(&self, time: Millis) -> Now {
        let shown = configs::now(START + (time.0 - START) * self.permille / 1000);
        Now {
            mono: shown.mono,
            wall_ms: shown.wall_ms + self.wall_offset_ms,
        }
    }

    /// The first time at which it shows this.
    pub fn time_of(&self, shown: Millis) -> Millis {
        let since = shown.0.saturating_sub(START);
        Millis(START + (since * 1000).div_ceil(self.permille))
    }
}

/// A process.
pub struct Server {
    pub replica: Replica,
    pub shared: Arc<Shared>,
    pub inbox: VecDeque<Input>,
    /// Connections that have something in their outboxes.
    pub woken: BTreeSet<usize>,
    /// What the snapshot thread has to do.
    pub walks: VecDeque<Walk>,
    /// The role that accepts learners.
    pub listening: Option<u64>,
    /// The role that accepts observers.
    pub listening_for_observers: Option<u64>,
    /// The role that connects to its leader, or to an observer master.
    pub dialing: Option<u64>,
    /// What the driver knows of it.
    pub is_serving: bool,
    pub has_stopped: bool,
    /// Everything up to here was compared with the others.
    pub known: Zxid,
    pub was_active: bool,
    /// The last transaction that its log was given.
    pub given: Zxid,
}

/// A snapshot, or an image for a learner.
pub struct Walk {
    pub head: SnapshotHead,
    pub cursor: SnapshotCursor,
    pub bytes: Vec<u8>,
    /// So many of the bytes stand before the records.
    pub begin: usize,
    pub to: Option<LinkId>,
}

impl Node {
    pub fn new(disk: Disk) -> Node {
        Node {
            disk,
            server: None,
            life: 0,
            are_walks_held: false,
            is_paused: false,
            clock: Clock::default(),
            died_of: None,
        }
    }

    /// When it wants to be ticked next.
    pub fn next_tick(&self) -> Option<Millis> {
        let server = self.server.as_ref().filter(|_| !self.is_paused)?;
        Some(self.clock.time_of(server.replica.next_deadline()?))
    }

    pub fn is_up(&self) -> bool {
        self.server.is_some()
    }

    /// The process, which has to run.
    pub fn up(&self) -> &Server {
        self.server.as_ref().expect("the server runs")
    }

    pub fn role(&self) -> Option<&Zab> {
        self.server.as_ref()?.replica.role()
    }

    /// Whether it leads clients' writes to their commit.
    pub fn leads(&self) -> bool {
        matches!(self.role(), Some(Zab::Leading(leader)) if leader.is_active())
    }

    /// Whether it has a role in an epoch that has begun.
    pub fn is_active(&self) -> bool {
        self.server
            .as_ref()
            .is_some_and(|server| server.replica.is_active())
    }

    pub fn last_zxid(&self) -> Zxid {
        self.up().shared.tree.read().last_processed_zxid()
    }

    /// In a few words.
    pub fn describe(&self) -> String {
        let Some(server) = &self.server else {
            return format!("down, {} on disk", self.disk.last());
        };
        let role = server.shared.role.lock();
        let zxid = self.last_zxid();
        let members = self.disk.configs.as_ref().map(ToString::to_string);
        format!(
            "{:?} {:?} of {:?}, epoch {}, {zxid}, members {}",
            role.mode,
            role.state,
            role.leader,
            role.epoch.0,
            members.as_deref().unwrap_or("as at first")
        )
    }
}

impl Walk {
    /// One that has not begun.
    pub fn new(head: SnapshotHead, to: Option<LinkId>) -> Walk {
        let mut bytes = Vec::new();
        snapshot_stream::encode_begin(&head, &mut bytes);
        Walk {
            head,
            cursor: SnapshotCursor::default(),
            begin: bytes.len(),
            bytes,
            to,
        }
    }
}
