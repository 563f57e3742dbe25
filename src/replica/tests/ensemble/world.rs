//! Time, and what happens in it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::disk::DiskOp;
use super::history::History;
use super::network::Network;
use super::node::{Node, Server, Walk};
use super::setup::{Setup, members, zab_config};
use crate::clock::{Millis, Now};
use crate::election::ElectionConfig;
use crate::ids::{ServerId, Zxid};
use crate::prng::Prng;
use crate::replica::tests::client::Client;
use crate::replica::tests::harness::{self, START, TICK, now, replica_config};
use crate::replica::{Input, MemberConfig, Output, Outputs, PeerEvent, Replica};
use crate::session::tracker::SessionTracker;
use crate::shared::Shared;

pub struct Ensemble {
    pub setup: Setup,
    pub now: Now,
    pub nodes: Vec<Node>,
    pub clients: Vec<Attached>,
    pub net: Network,
    pub history: History,
    /// Whether what servers show is compared.
    pub is_compared: bool,
    pub prng: Prng,
    agenda: BTreeMap<(Millis, u64), Event>,
    events_count: u64,
}

/// A client and where its connection leads to.
pub struct Attached {
    pub client: Client,
    pub node: usize,
    life: u64,
}

/// What happens at a time.
pub enum Event {
    /// Something may be there at this end of a link.
    Quorum {
        link: u64,
        end: usize,
    },
    Vote {
        from: usize,
        to: usize,
    },
    Dial {
        node: usize,
        role: u64,
        leader: usize,
    },
    Disk(usize, u64),
    Walk(usize, u64),
    Wake(usize),
    Told(usize, u64, Input),
}

impl Ensemble {
    /// All servers have just started for the first time.
    pub fn with(setup: Setup) -> Ensemble {
        let count = setup.voters + setup.observers;
        let mut world = Ensemble::asleep(setup);
        (0..count).for_each(|at| world.start(at));
        world
    }

    /// The same, but none runs yet.
    pub fn asleep(setup: Setup) -> Ensemble {
        Ensemble {
            now: now(START),
            nodes: (0..setup.voters + setup.observers).map(|_| Node::new()).collect(),
            clients: Vec::new(),
            net: Network::default(),
            history: History::default(),
            is_compared: true,
            prng: Prng::new(setup.seed),
            agenda: BTreeMap::new(),
            events_count: 0,
            setup,
        }
    }

    /// The process starts, with what is on its disk.
    pub fn start(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        assert!(node.server.is_none(), "it runs already");
        let members = members(&self.setup);
        let (mut tree, committed_log) = node.disk.recover();
        tree.set_config(members.to_text().as_bytes(), Zxid::ZERO, self.now.wall_ms);
        let known = tree.last_processed_zxid();
        let shared = Arc::new(Shared::new(tree, SessionTracker::new(Millis(TICK), 1), 1));
        let me = ServerId(at as i64 + 1);
        let setup = harness::Setup {
            snap_count: self.setup.snap_count,
            ..harness::Setup::default()
        };
        let member = MemberConfig {
            zab: zab_config(me, &members, &self.setup),
            election: ElectionConfig::new(me, members.clone(), !members.is_participant(me)),
            leader_serves: self.setup.leader_serves,
            accepted_epoch: node.disk.epochs.0,
            current_epoch: node.disk.epochs.1,
            is_damaged: node.disk.is_damaged,
            committed_log,
        };
        let config = replica_config(me, &setup);
        let mut replica = Replica::member(Arc::clone(&shared), config, member, self.now, self.setup.seed);
        let mut outputs = Outputs::default();
        replica.start(self.now, &mut outputs);
        node.life += 1;
        node.server = Some(Server {
            replica,
            shared,
            inbox: VecDeque::new(),
            woken: BTreeSet::new(),
            walks: VecDeque::new(),
            listening: None,
            dialing: None,
            is_serving: false,
            has_stopped: false,
            known,
        });
        self.execute(at, outputs);
    }

    /// The process dies; of what was under way to its disk, the first `done` things are done.
    pub fn crash_after(&mut self, at: usize, done: usize) {
        let is_orderly = self.setup.is_random && self.prng.below(2) == 0;
        self.end(at, done, is_orderly);
    }

    fn end(&mut self, at: usize, done: usize, is_orderly: bool) {
        let node = &mut self.nodes[at];
        let Some(server) = node.server.take() else { return };
        drop(server);
        node.disk.crash(done);
        node.disk.is_held = false;
        for attached in self.clients.iter_mut().filter(|attached| attached.node == at) {
            attached.client.is_closed = true;
        }
        self.disconnect_all(at, is_orderly);
    }

    /// The process dies, and what was not on disk is lost.
    pub fn crash(&mut self, at: usize) {
        self.crash_after(at, 0);
    }

    /// The process is asked to end.
    pub fn stop(&mut self, at: usize) {
        if let Some(server) = &mut self.nodes[at].server {
            server.inbox.push_back(Input::Stop);
        }
    }

    pub(super) fn schedule(&mut self, ms: u64, event: Event) {
        self.schedule_at(self.now.mono + Millis(ms), event);
    }

    pub(super) fn schedule_at(&mut self, at: Millis, event: Event) {
        self.events_count += 1;
        self.agenda.insert((at, self.events_count), event);
    }

    /// The server learns something, a moment later.
    pub(super) fn tell(&mut self, at: usize, input: Input) {
        let life = self.nodes[at].life;
        self.schedule(0, Event::Told(at, life, input));
    }

    pub(super) fn delay(&mut self) -> Millis {
        if !self.setup.is_random {
            return Millis(1);
        }
        let slowest = [3, 3, 3, 40, 400][self.prng.below(5) as usize];
        Millis(1 + self.prng.below(slowest))
    }

    /// Whether a connection that ends delivers what was sent.
    pub(super) fn loses_nothing(&mut self) -> bool {
        !self.setup.is_random || self.prng.below(2) == 0
    }

    /// Everything that happens until then.
    pub fn pass_to(&mut self, end: Millis) {
        self.settle();
        while let Some(next) = self.next_time()
            && next <= end
        {
            self.step(next);
        }
        self.now = now(end.0);
    }

    /// So many milliseconds go by.
    pub fn pass(&mut self, ms: u64) {
        self.pass_to(self.now.mono + Millis(ms));
    }

    /// Lets time go by until something is so. A minute has to be enough.
    pub fn until(&mut self, what: &str, is_so: impl Fn(&Ensemble) -> bool) {
        let end = self.now.mono + Millis(60_000);
        self.settle();
        while !is_so(self) {
            let next = self.next_time().filter(|next| *next <= end);
            let Some(next) = next else {
                panic!("in vain until {what}:\n{}", self.describe());
            };
            self.step(next);
        }
    }

    pub fn describe(&self) -> String {
        let lines = self.nodes.iter().enumerate();
        let lines = lines.map(|(at, node)| format!("{at}: {}\n", node.describe()));
        format!("at {}\n{}", self.now.mono.0, lines.collect::<String>())
    }

    fn next_time(&self) -> Option<Millis> {
        let event = self.agenda.keys().next().map(|(at, _)| *at);
        let ticks = self.nodes.iter().filter_map(|node| node.server.as_ref());
        let tick = ticks.filter_map(|server| server.replica.next_deadline()).min();
        let next = [event, tick].into_iter().flatten().min()?;
        Some(next.max(self.now.mono))
    }

    fn step(&mut self, next: Millis) {
        self.now = now(next.0);
        for node in &mut self.nodes {
            if let Some(server) = &mut node.server
                && server.replica.next_deadline().is_some_and(|at| at <= next)
            {
                server.inbox.push_back(Input::Tick);
            }
        }
        self.settle();
        if let Some(first) = self.agenda.first_entry()
            && first.key().0 <= next
        {
            let event = first.remove();
            self.happen(event);
            self.settle();
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Quorum { link, end } => self.arrive(link, end),
            Event::Vote { from, to } => self.vote(from, to),
            Event::Dial { node, role, leader } => self.dial(node, role, leader),
            Event::Disk(at, life) if self.nodes[at].life == life => self.disk(at),
            Event::Walk(at, life) if self.nodes[at].life == life => self.walk(at),
            Event::Wake(at) => self.advance(at),
            Event::Told(at, life, input) if self.nodes[at].life == life => {
                if let Some(server) = &mut self.nodes[at].server {
                    server.inbox.push_back(input);
                }
            }
            Event::Disk(..) | Event::Walk(..) | Event::Told(..) => {}
        }
    }

    /// Servers take what is there for them, and clients what their servers have for them.
    pub fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 10_000, "without end:\n{}", self.describe());
            let mut is_quiet = true;
            for at in 0..self.nodes.len() {
                let Some(server) = &self.nodes[at].server else {
                    continue;
                };
                if !server.inbox.is_empty() {
                    is_quiet = false;
                    self.core(at);
                }
            }
            if is_quiet {
                return;
            }
        }
    }

    /// The core takes a batch.
    fn core(&mut self, at: usize) {
        let batch_max = match self.setup.is_random {
            true => 1 + self.prng.below(8) as usize,
            false => usize::MAX,
        };
        let Some(server) = &mut self.nodes[at].server else {
            return;
        };
        let mut outputs = Outputs::default();
        let count = server.inbox.len().min(batch_max);
        for input in server.inbox.drain(..count) {
            server.replica.handle(self.now, input, &mut outputs);
        }
        if server
            .replica
            .next_deadline()
            .is_some_and(|at| at <= self.now.mono)
        {
            server.replica.handle(self.now, Input::Tick, &mut outputs);
        }
        self.execute(at, outputs);
    }

    fn execute(&mut self, at: usize, outputs: Outputs) {
        for output in outputs.list {
            self.execute_one(at, output);
        }
        self.compare(at);
        let Some(server) = &mut self.nodes[at].server else {
            return;
        };
        server
            .woken
            .extend(outputs.wake.iter().map(|conn| conn.id.0 as usize));
        let woken = std::mem::take(&mut server.woken);
        for client in woken {
            match self.setup.is_random {
                true => {
                    let delay = self.delay();
                    self.schedule(delay.0, Event::Wake(client));
                }
                false => self.advance(client),
            }
        }
        if self.nodes[at].server.as_ref().is_some_and(|it| it.has_stopped) {
            // The log ends behind all that it was given, and so do the connections.
            let given = self.nodes[at].disk.queue.len();
            self.end(at, given, true);
        }
    }

    /// Checks what a server shows.
    fn compare(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let (leads, is_active) = (node.leads(), node.is_active());
        let Some(server) = &mut node.server else { return };
        if !self.is_compared {
            return;
        }
        let tree = server.shared.tree.read();
        if leads {
            let epoch = server.shared.role.lock().epoch;
            self.history.led(epoch, at, &tree);
        }
        if is_active && server.known != tree.last_processed_zxid() {
            self.history.shown(at, &node.disk, server.known, &tree);
            server.known = tree.last_processed_zxid();
        } else if !is_active {
            server.known = server.known.min(self.history.last());
            assert!(!server.is_serving, "server {at} serves without a role");
        }
    }

    fn execute_one(&mut self, at: usize, output: Output) {
        let Some(server) = &mut self.nodes[at].server else {
            return;
        };
        match output {
            Output::AppendLog(entry) => self.give(at, DiskOp::Append(entry)),
            Output::SaveEpochs { accepted, current } => self.give(at, DiskOp::Epochs(accepted, current)),
            Output::FenceLog => self.give(at, DiskOp::Fence),
            Output::TruncateLog { to } => {
                assert!(server.walks.is_empty(), "the tree is being walked");
                self.give(at, DiskOp::Truncate(to));
            }
            Output::InstallTree(tree) => {
                assert!(server.walks.is_empty(), "the tree is being walked");
                self.give(at, DiskOp::Install(tree));
            }
            Output::RollLog => {}
            Output::DropTree(tree) => drop(tree),
            Output::TakeSnapshot(head) => self.begin_walk(at, Walk::new(head, None)),
            Output::SendImage { link, head } => self.begin_walk(at, Walk::new(head, Some(link))),
            Output::ReserveImage(link) => self.reserve_image(link),
            Output::Notify { to, body } => self.notify(at, to.0 as usize - 1, body),
            Output::DialAll => {
                for to in (0..self.nodes.len()).filter(|to| *to != at) {
                    self.schedule(1, Event::Vote { from: at, to });
                }
            }
            Output::Listen { role } => server.listening = Some(role),
            Output::Connect { role, leader } => {
                server.dialing = Some(role);
                let (node, leader) = (at, leader.0 as usize - 1);
                let delay = self.delay();
                self.schedule(delay.0, Event::Dial { node, role, leader });
            }
            Output::Send(link, bytes) => self.transmit(at, link, bytes),
            Output::ReadLog {
                role,
                link,
                after,
                upto,
            } => {
                let entries = self.nodes[at].disk.read(after, upto);
                let event = PeerEvent::LogRead { link, entries };
                self.tell(at, Input::Peer { role, event });
            }
            Output::ClosePeer { link, .. } => self.close_end(link),
            Output::ResetPeers => self.reset_peers(at),
            Output::Serving(is_serving) => server.is_serving = is_serving,
            Output::Stopped => server.has_stopped = true,
        }
    }

    fn give(&mut self, at: usize, op: DiskOp) {
        let node = &mut self.nodes[at];
        node.disk.queue.push_back(op);
        let life = node.life;
        if node.disk.queue.len() == 1 {
            let delay = self.delay();
            self.schedule(delay.0, Event::Disk(at, life));
        }
    }

    fn disk(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if node.disk.is_held {
            return;
        }
        let appends_max = match self.setup.is_random {
            true => 1 + self.prng.below(4) as usize,
            false => usize::MAX,
        };
        if let Some(input) = node.disk.advance(appends_max) {
            let life = node.life;
            let is_done = node.disk.queue.is_empty();
            self.tell(at, input);
            if !is_done {
                let delay = self.delay();
                self.schedule(delay.0, Event::Disk(at, life));
            }
        }
    }

    /// The disk goes on.
    pub fn release_disk(&mut self, at: usize) {
        self.nodes[at].disk.is_held = false;
        let life = self.nodes[at].life;
        self.schedule(0, Event::Disk(at, life));
    }

    fn begin_walk(&mut self, at: usize, walk: Walk) {
        let node = &mut self.nodes[at];
        let life = node.life;
        if let Some(server) = &mut node.server {
            assert!(server.walks.is_empty(), "one walk at a time");
            server.walks.push_back(walk);
            self.schedule(1, Event::Walk(at, life));
        }
    }

    /// Snapshots and images go on.
    pub fn release_walks(&mut self, at: usize) {
        self.nodes[at].are_walks_held = false;
        let life = self.nodes[at].life;
        self.schedule(0, Event::Walk(at, life));
    }

    fn walk(&mut self, at: usize) {
        let (chunk_bytes, life) = (self.setup.chunk_bytes, self.nodes[at].life);
        let node = &mut self.nodes[at];
        let Some(server) = node.server.as_mut().filter(|_| !node.are_walks_held) else {
            return;
        };
        let Some(walk) = server.walks.front_mut() else {
            return;
        };
        let tree = server.shared.tree.read();
        let is_done = tree.snapshot_chunk(&mut walk.cursor, &mut walk.bytes, chunk_bytes);
        drop(tree);
        if !is_done {
            return self.schedule(1, Event::Walk(at, life));
        }
        let Some(mut walk) = server.walks.pop_front() else {
            return;
        };
        crate::storage::snapshot_stream::encode_end(&mut walk.bytes);
        match walk.to {
            None => node.disk.keep_snapshot(walk.head.zxid, walk.bytes),
            Some(link) => self.fill_image(link, walk.head.zxid, walk.bytes),
        }
        self.tell(at, Input::SnapshotTaken);
    }

    /// Adds a client whose connection leads to this server.
    pub(super) fn attach(&mut self, client: Client, node: usize) {
        let life = self.nodes[node].life;
        self.clients.push(Attached { client, node, life });
    }

    /// Lets a connection move on, until it waits for something.
    pub fn advance(&mut self, at: usize) {
        let Attached { client, node, life } = &mut self.clients[at];
        let node = &mut self.nodes[*node];
        match &mut node.server {
            Some(server) if node.life == *life => {
                while client.advance_once(self.now, &server.shared, &mut server.inbox) {}
            }
            Some(_) | None => client.is_closed = true,
        }
    }

    /// The client hangs up.
    pub fn hang_up(&mut self, at: usize) {
        let Attached { client, node, life } = &mut self.clients[at];
        let node = &mut self.nodes[*node];
        match &mut node.server {
            Some(server) if node.life == *life => client.hang_up(&mut server.inbox),
            Some(_) | None => client.is_closed = true,
        }
    }
}

impl Drop for Ensemble {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for at in 0..self.clients.len() {
            self.clients[at].client.is_stuck = false;
            self.hang_up(at);
        }
        self.settle();
        for (at, node) in self.nodes.iter().enumerate() {
            let Some(server) = &node.server else { continue };
            let outstanding = server.shared.outstanding.load(Relaxed);
            assert_eq!(outstanding, 0, "server {at} waits with requests of nobody");
            assert_eq!(server.shared.watches.count(), 0, "watches that nobody has");
        }
    }
}
