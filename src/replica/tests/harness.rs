//! A whole server but for its sockets, threads, clocks and disk: a replica, its connections, a log that is on
//! disk when the test says so.
//!
//! Whatever a test is about, replies have to come in the order of the requests, with zxids that never
//! decrease, and in the end nothing may be left of what was outstanding.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::world::client::{Client, connect};
pub(crate) use super::world::configs::{Limits, START, TICK};
use super::world::configs::{client_config, now, replica_config};
use super::world::frames::{Ask, Seen};
use crate::client::ClientConfig;
use crate::clock::{Millis, Now};
use crate::ids::{ConnId, ServerId, SessionId, Zxid};
use crate::replica::{Input, Output, Outputs, Replica};
use crate::session::tracker::SessionTracker;
use crate::shared::Shared;
use crate::tree::{DataTree, SnapshotCursor};

pub(crate) struct World {
    pub shared: Arc<Shared>,
    pub replica: Replica,
    pub now: Now,
    pub clients: Vec<Client>,
    /// Submitted and not handled.
    pub inbox: VecDeque<Input>,
    /// Appended to the log and not on disk.
    pub log: VecDeque<Zxid>,
    /// What the replica wanted to be done, in words.
    pub done: Vec<String>,
    woken: BTreeSet<usize>,
    config: Arc<ClientConfig>,
}

impl World {
    pub fn new() -> World {
        World::with(Limits::default())
    }

    pub fn with(limits: Limits) -> World {
        World::on(DataTree::new(1), limits)
    }

    /// A server that finds this tree on its disk.
    pub fn on(tree: DataTree, limits: Limits) -> World {
        let now = now(START);
        let shared = Arc::new(Shared::new(tree, SessionTracker::new(Millis(TICK), 1), 1));
        shared.is_serving.store(true, Relaxed);
        let config = replica_config(ServerId(1), &limits);
        World {
            replica: Replica::new(Arc::clone(&shared), config, now, 1),
            shared,
            now,
            clients: Vec::new(),
            inbox: VecDeque::new(),
            log: VecDeque::new(),
            done: Vec::new(),
            woken: BTreeSet::new(),
            config: client_config(&limits),
        }
    }

    /// A client connects its socket.
    pub fn accept(&mut self) -> usize {
        let at = self.clients.len();
        self.clients
            .push(Client::new(&self.config, ConnId(at as u64), self.now.wall_ms));
        at
    }

    /// A client with a session of its own.
    pub fn session(&mut self, timeout_ms: i32) -> usize {
        let at = self.accept();
        self.receive(at, &connect(0, timeout_ms, SessionId(0), &[0; 16]));
        self.finish();
        assert_eq!(self.lines(at), [format!("connected {timeout_ms}")]);
        at
    }

    /// A connection that asks for the session of another one.
    pub fn renewal(&mut self, of: usize, timeout_ms: i32) -> usize {
        let at = self.accept();
        let passwd = self.clients[of].passwd.clone();
        self.receive(at, &connect(0, timeout_ms, self.clients[of].session, &passwd));
        self.finish();
        at
    }

    /// Bytes arrive from a client, and its connection does what it can.
    pub fn receive(&mut self, at: usize, bytes: &[u8]) {
        self.clients[at].conn.input_buffer().extend_from_slice(bytes);
        self.advance(at);
    }

    /// Requests of a client, all in one piece. Their xids count from 1.
    pub fn send(&mut self, at: usize, asks: &[Ask]) {
        let mut bytes = Vec::new();
        for ask in asks {
            bytes.extend(self.clients[at].frame(ask));
        }
        self.receive(at, &bytes);
    }

    /// Requests of a client, and whatever has to happen for their replies.
    pub fn ask(&mut self, at: usize, asks: &[Ask]) -> Vec<String> {
        self.send(at, asks);
        self.finish();
        self.lines(at)
    }

    /// Lets a connection move on, until it waits for something.
    pub fn advance(&mut self, at: usize) {
        while self.advance_once(at) {}
    }

    /// One round of a connection. True if another has to follow.
    pub fn advance_once(&mut self, at: usize) -> bool {
        self.clients[at].advance_once(self.now, &self.shared, &mut self.inbox)
    }

    /// The connection is gone.
    pub fn hang_up(&mut self, at: usize) {
        self.clients[at].hang_up(&mut self.inbox);
    }

    /// The core takes up to `count` inputs as one batch. Connections are told, but do not act on it yet.
    pub fn handle(&mut self, count: usize) {
        let mut outputs = Outputs::default();
        for input in self.inbox.drain(..count.min(self.inbox.len())) {
            self.replica.handle(self.now, input, &mut outputs);
        }
        self.execute(outputs);
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what only members say")]
    pub fn execute(&mut self, outputs: Outputs) {
        for output in outputs.list {
            match output {
                Output::AppendLog(entry) => {
                    self.done.push(format!("append {}", entry.zxid.0));
                    self.log.push_back(entry.zxid);
                }
                Output::RollLog => self.done.push("roll".into()),
                Output::TakeSnapshot(head) => self.done.push(format!("snapshot {}", head.zxid.0)),
                Output::Serving(_) => {}
                other => panic!("a server that stands alone says {other:?}"),
            }
        }
        self.woken
            .extend(outputs.wake.iter().map(|conn| conn.id.0 as usize));
    }

    /// Connections that were woken act.
    pub fn wake(&mut self) {
        while let Some(at) = self.woken.pop_first() {
            self.advance(at);
        }
    }

    /// All that can happen without the disk.
    pub fn core(&mut self) {
        while !self.inbox.is_empty() {
            self.handle(usize::MAX);
            self.wake();
        }
    }

    /// The disk has the first `count` of what is appended, and the core will hear of it.
    pub fn durable(&mut self, count: usize) {
        let count = count.min(self.log.len());
        if let Some(upto) = self.log.drain(..count).next_back() {
            self.inbox.push_back(Input::LogDurable { upto });
        }
    }

    /// All that can happen.
    pub fn finish(&mut self) {
        self.core();
        while !self.log.is_empty() {
            self.durable(usize::MAX);
            self.core();
        }
    }

    /// Time goes on to `ms`, with a tick whenever one is due.
    pub fn pass_to(&mut self, ms: u64) {
        while let Some(deadline) = self.replica.next_deadline()
            && deadline <= Millis(ms)
        {
            self.now = now(deadline.0.max(self.now.mono.0));
            self.inbox.push_back(Input::Tick);
            self.finish();
        }
        self.now = now(ms);
    }

    /// The snapshot thread goes through the tree, and is done. Returns how many bytes it has seen.
    pub fn end_snapshot(&mut self) -> usize {
        let (mut cursor, mut image) = (SnapshotCursor::default(), Vec::new());
        while !self
            .shared
            .tree
            .read()
            .snapshot_chunk(&mut cursor, &mut image, 100)
        {}
        self.inbox.push_back(Input::SnapshotTaken);
        self.core();
        image.len()
    }

    /// What a client has received since the last time.
    pub fn seen(&mut self, at: usize) -> Vec<Seen> {
        self.clients[at].seen()
    }

    /// The same in words.
    pub fn lines(&mut self, at: usize) -> Vec<String> {
        self.seen(at).iter().map(Seen::to_string).collect()
    }

    pub fn outstanding(&self) -> usize {
        self.shared.outstanding.load(Relaxed)
    }

    pub fn last_zxid(&self) -> i64 {
        self.shared.tree.read().last_processed_zxid().0
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for at in 0..self.clients.len() {
            self.hang_up(at);
        }
        self.finish();
        assert_eq!(self.outstanding(), 0, "requests that nobody waits for");
        assert_eq!(self.shared.watches.count(), 0, "watches that nobody has");
    }
}
