//! Time, and what happens in it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::client::Client;
use super::configs::{Limits, START, TICK, now, replica_config};
use super::disk::{Disk, Power, Start};
use super::draws::{Draws, Stream};
use super::history::History;
use super::moments::{Happened, Moment};
use super::network::{Network, Port};
use super::node::{Node, Server};
use super::setup::{Setup, members, members_at, zab_config};
use super::trace::Trace;
use zkserver::clock::{Millis, Now};
use zkserver::election::ElectionConfig;
use zkserver::ids::{ServerId, Zxid};
use zkserver::quorum::configs::{Config, Configs};
use zkserver::replica::{Input, MemberConfig, Output, Outputs, Replica};
use zkserver::session::tracker::SessionTracker;
use zkserver::shared::Shared;

pub struct Ensemble {
    pub setup: Setup,
    pub now: Now,
    pub nodes: Vec<Node>,
    pub clients: Vec<Attached>,
    pub net: Network,
    pub history: History,
    /// The newest configuration that anybody takes for the one in force.
    pub committed: Config,
    /// Whether what servers show is compared.
    pub is_compared: bool,
    pub draws: Draws,
    /// What has just happened, if somebody looks at it.
    pub moments: Option<Vec<Moment>>,
    pub trace: Trace,
    /// How many inputs the servers have taken.
    pub inputs_count: u64,
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
        life: u64,
        role: u64,
        to: usize,
        port: Port,
    },
    Disk(usize, u64),
    Walk(usize, u64),
    Wake(usize),
    Told(usize, u64, Input),
}

impl Ensemble {
    /// All servers have just started for the first time.
    pub fn with(setup: Setup) -> Ensemble {
        let count = setup.servers();
        let mut world = Ensemble::asleep(setup);
        (0..count).for_each(|at| world.start(at));
        world
    }

    /// The same, but none runs yet.
    pub fn asleep(setup: Setup) -> Ensemble {
        Ensemble {
            now: now(START),
            nodes: (0..setup.servers())
                .map(|_| Node::new(Disk::new(setup.base, setup.has_files)))
                .collect(),
            clients: Vec::new(),
            net: Network::default(),
            history: History::new(setup.base),
            committed: Config::new(members(&setup)),
            is_compared: true,
            draws: Draws::new(setup.seed),
            moments: None,
            trace: Trace::default(),
            inputs_count: 0,
            agenda: BTreeMap::new(),
            events_count: 0,
            setup,
        }
    }

    /// The process starts, with what is on its disk.
    pub fn start(&mut self, at: usize) {
        let is_started = self.try_start(at);
        assert!(is_started, "server {at}: {:?}", self.nodes[at].died_of);
    }

    /// The same. False if it refuses.
    pub fn try_start(&mut self, at: usize) -> bool {
        let node = &mut self.nodes[at];
        assert!(node.server.is_none(), "it runs already");
        node.life += 1;
        let start = match node.disk.start(self.setup.window) {
            Ok(start) => start,
            Err(reason) => {
                node.disk.refuse();
                node.died_of = Some(reason);
                self.note(at, Happened::Refused);
                return false;
            }
        };
        let Start {
            mut tree,
            committed_log,
        } = start;
        let now = node.clock.at(self.now.mono);
        let configs = node.disk.configs.clone();
        let configs = configs.unwrap_or_else(|| Configs::new(members_at(&self.setup, at)));
        let committed = configs.committed();
        tree.set_config(committed.text(), Zxid(committed.version()), now.wall_ms);
        let known = tree.last_processed_zxid();
        let shared = Arc::new(Shared::new(tree, SessionTracker::new(Millis(TICK), 1), 1));
        let me = ServerId(at as i64 + 1);
        let limits = Limits {
            snap_count: Some(self.setup.snap_count),
            containers: self.setup.containers,
            local_sessions: self.setup.local_sessions,
            checks_acls_early: self.setup.checks_acls_early,
            read_only_after: self.setup.is_read_only_allowed.then_some(Millis(2000)),
            reconfig: self.setup.reconfig,
            // Where the model looks on, the superuser asks.
            skip_acl: self.setup.reconfig.is_some() && !self.setup.has_files,
            ..Limits::default()
        };
        let member = MemberConfig {
            zab: zab_config(me, configs.clone(), &self.setup),
            election: ElectionConfig::new(me, configs),
            leader_serves: self.setup.leader_serves,
            observer_reconnect_delay_ms: 0,
            observer_election_delay_ms: self.setup.observer_election_delay_ms,
            accepted_epoch: node.disk.epochs.0,
            current_epoch: node.disk.epochs.1,
            is_damaged: node.disk.is_damaged,
            committed_log,
        };
        let config = replica_config(me, &limits);
        let mut replica = Replica::member(Arc::clone(&shared), config, member, now, self.setup.seed);
        let mut outputs = Outputs::default();
        replica.start(now, &mut outputs);
        node.server = Some(Server {
            replica,
            shared,
            inbox: VecDeque::new(),
            woken: BTreeSet::new(),
            walks: VecDeque::new(),
            listening: None,
            listening_for_observers: None,
            dialing: None,
            is_serving: false,
            has_stopped: false,
            known,
            was_active: false,
            given: known,
        });
        self.note(at, Happened::Started);
        self.execute(at, outputs);
        true
    }

    /// Tells whoever waits for moments.
    pub(super) fn note(&mut self, node: usize, what: Happened) {
        if let Some(moments) = &mut self.moments {
            moments.push(Moment { node, what });
        }
        self.trace
            .say(self.now.mono.0, format_args!("server {node}: {what:?}"));
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

    pub(super) fn delay(&mut self, stream: Stream, key: u64) -> Millis {
        self.delay_of(stream, key, self.setup.slowest)
    }

    pub(super) fn disk_delay(&mut self, at: usize) -> Millis {
        self.delay_of(Stream::Disk, at as u64, self.setup.slowest_disk)
    }

    fn delay_of(&mut self, stream: Stream, key: u64, slowest: [u64; 5]) -> Millis {
        if !self.setup.is_random {
            return Millis(1);
        }
        let mut prng = self.draws.next(stream, key);
        let slowest = slowest[prng.below(5) as usize];
        Millis(1 + prng.below(slowest))
    }

    /// Whether a connection that ends delivers what was sent.
    pub(super) fn loses_nothing(&mut self, link: u64) -> bool {
        !self.setup.is_random || self.draws.below(Stream::Loss, link, 2) == 0
    }

    /// Everything that happens until then.
    pub fn pass_to(&mut self, end: Millis) {
        self.settle();
        while self.step_before(end) {}
        self.now = now(end.0);
    }

    /// What happens next, if anything does by then.
    pub fn step_before(&mut self, end: Millis) -> bool {
        match self.next_time().filter(|next| *next <= end) {
            Some(next) => {
                self.step(next);
                true
            }
            None => false,
        }
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
        let tick = self.nodes.iter().filter_map(Node::next_tick).min();
        let next = [event, tick].into_iter().flatten().min()?;
        Some(next.max(self.now.mono))
    }

    fn step(&mut self, next: Millis) {
        self.now = now(next.0);
        for node in &mut self.nodes {
            if node.next_tick().is_some_and(|at| at <= next)
                && let Some(server) = &mut node.server
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
            Event::Dial {
                node,
                life,
                role,
                to,
                port,
            } if self.nodes[node].life == life => self.dial(node, role, to, port),
            Event::Disk(at, life) if self.nodes[at].life == life => self.disk(at),
            Event::Walk(at, life) if self.nodes[at].life == life => self.walk(at),
            Event::Wake(at) => self.advance(at),
            Event::Told(at, life, input) if self.nodes[at].life == life => {
                if let Some(server) = &mut self.nodes[at].server {
                    server.inbox.push_back(input);
                }
            }
            Event::Dial { .. } | Event::Disk(..) | Event::Walk(..) | Event::Told(..) => {}
        }
    }

    /// Servers take what is there for them, and clients what their servers have for them.
    pub fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 10_000, "without end:\n{}", self.describe());
            let mut is_quiet = true;
            for at in 0..self.nodes.len() {
                let node = &self.nodes[at];
                let has_inputs = node.server.as_ref().is_some_and(|it| !it.inbox.is_empty());
                if has_inputs && !node.is_paused {
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
            true => 1 + self.draws.below(Stream::Batch, 100 + at as u64, 8) as usize,
            false => usize::MAX,
        };
        let node = &mut self.nodes[at];
        let now = node.clock.at(self.now.mono);
        let Some(server) = &mut node.server else {
            return;
        };
        let mut outputs = Outputs::default();
        let count = server.inbox.len().min(batch_max);
        self.inputs_count += count as u64;
        self.trace.mix(now.mono.0 << 8 | (at as u64) << 4 | count as u64);
        for input in server.inbox.drain(..count) {
            server.replica.handle(now, input, &mut outputs);
        }
        if server.replica.next_deadline().is_some_and(|at| at <= now.mono) {
            server.replica.handle(now, Input::Tick, &mut outputs);
        }
        self.execute(at, outputs);
    }

    fn execute(&mut self, at: usize, outputs: Outputs) {
        for output in outputs.list {
            self.mix(at, &output);
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
                    let delay = self.delay(Stream::Wake, client as u64);
                    self.schedule(delay.0, Event::Wake(client));
                }
                false => self.advance(client),
            }
        }
        if self.nodes[at].server.as_ref().is_some_and(|it| it.has_stopped) {
            // The log ends behind all that it was given, and so do the connections.
            let given = self.nodes[at].disk.queue.len();
            self.end(at, given, Power::default(), true);
            self.note(at, Happened::Stopped);
        }
    }

    /// What was said, for whoever compares runs.
    fn mix(&mut self, at: usize, output: &Output) {
        match output {
            Output::AppendLog(entry) => self.trace.bytes(&entry.encoded),
            Output::Send(_, bytes) | Output::Notify { body: bytes, .. } => self.trace.bytes(bytes),
            _ => {}
        }
        if self.trace.is_read {
            let mut text = format!("{output:?}");
            text.truncate(text.floor_char_boundary(300));
            self.trace
                .say(self.now.mono.0, format_args!("server {at} says {text}"));
        }
    }

    /// Checks what a server shows.
    fn compare(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let (leads, is_active) = (node.leads(), node.is_active());
        let Some(server) = &mut node.server else { return };
        let before = std::mem::replace(&mut server.was_active, is_active);
        if self.is_compared {
            let tree = server.shared.tree.read();
            if leads {
                let epoch = server.shared.role.lock().epoch;
                self.history.led(epoch, at, &tree);
            }
            // What is applied before a role ends was committed; what is only logged is applied later.
            let shows = before || is_active;
            if shows && server.known != tree.last_processed_zxid() {
                let is_first = self.history.shown(at, &node.disk, server.known, &tree);
                server.known = tree.last_processed_zxid();
                drop(tree);
                if is_first {
                    self.note(at, Happened::CommittedFirst);
                }
            } else if !shows {
                server.known = server.known.min(self.history.last());
                assert!(!server.is_serving, "server {at} serves without a role");
            }
        }
        match (before, is_active) {
            (false, true) if leads => self.note(at, Happened::Leads),
            (false, true) => self.note(at, Happened::Serves),
            (true, false) => self.note(at, Happened::RoleEnded),
            (false, false) | (true, true) => {}
        }
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
            Some(_) if node.life == *life && node.is_paused => {}
            Some(server) if node.life == *life => {
                let now = node.clock.at(self.now.mono);
                while client.advance_once(now, &server.shared, &mut server.inbox) {}
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
