//! What tests do with an ensemble, and what they see of it.

use super::client::{Client, connect};
use super::configs::{Limits, client_config};
use super::disk::describe;
use super::ensemble::Ensemble;
use super::frames::{Ask, Seen, create_as};
use super::setup::Setup;
use zkserver::ids::{ConnId, ServerId, SessionId, Zxid};
use zkserver::shared::RoleStatus;

impl Ensemble {
    /// Servers that have elected a leader.
    pub fn of(voters: usize, observers: usize) -> Ensemble {
        Ensemble::elected(Setup {
            voters,
            observers,
            ..Setup::default()
        })
    }

    pub fn elected(setup: Setup) -> Ensemble {
        let mut world = Ensemble::with(setup);
        world.serve();
        world
    }

    /// Lets time go by until all that run have a role in the same epoch.
    pub fn serve(&mut self) {
        self.until("all serve", Ensemble::is_serving);
    }

    /// The same for all but one.
    pub fn serve_without(&mut self, at: usize) {
        self.until("all others serve", |world| world.is_serving_without(Some(at)));
    }

    pub fn is_serving(&self) -> bool {
        self.is_serving_without(None)
    }

    fn is_serving_without(&self, except: Option<usize>) -> bool {
        let nodes = self.nodes.iter().enumerate();
        let meant = nodes.filter(|(at, node)| Some(*at) != except && node.is_up());
        let mut epochs = meant.map(|(_, node)| {
            let role = node.up().shared.role.lock().clone();
            // Who is behind a follower has the leader that the follower has.
            let leader = role.observer_master.map_or(role.leader, |master| {
                let master = &self.nodes[master.0 as usize - 1];
                master.is_up().then(|| master.up().shared.role.lock().leader)?
            });
            node.is_active().then_some((role.epoch, leader))
        });
        let first = epochs.next().flatten();
        let leads = |leader: ServerId| {
            let leader = &self.nodes[leader.0 as usize - 1];
            leader.is_up() && leader.leads()
        };
        first.is_some_and(|(_, leader)| leader.is_some_and(leads)) && epochs.all(|epoch| epoch == first)
    }

    /// Who leads. If a server does not know yet that it no longer does, the newer one.
    pub fn leader(&self) -> usize {
        let leaders = (0..self.nodes.len()).filter(|at| self.nodes[*at].leads());
        leaders
            .max_by_key(|at| self.status(*at).epoch)
            .expect("somebody leads")
    }

    /// The followers that run, the first and the last.
    pub fn followers(&self) -> [usize; 2] {
        let leader = self.leader();
        let mut all = (0..self.setup.voters).filter(|at| *at != leader && self.nodes[*at].is_up());
        let first = all.next().expect("there is one at least");
        [first, all.next_back().unwrap_or(first)]
    }

    pub fn status(&self, at: usize) -> RoleStatus {
        self.nodes[at].up().shared.role.lock().clone()
    }

    /// A client connects its socket.
    pub fn accept(&mut self, node: usize) -> usize {
        let at = self.clients.len();
        let config = client_config(&Limits::default());
        let client = Client::new(&config, ConnId(at as u64), self.now.wall_ms);
        self.attach(client, node);
        at
    }

    /// A client asks for a session.
    pub fn connect(&mut self, node: usize, timeout_ms: i32, session: SessionId, passwd: &[u8]) -> usize {
        let at = self.accept(node);
        self.receive(at, &connect(0, timeout_ms, session, passwd));
        at
    }

    /// A client with a session of its own.
    pub fn session(&mut self, node: usize, timeout_ms: i32) -> usize {
        let at = self.connect(node, timeout_ms, SessionId(0), &[0; 16]);
        assert_eq!(self.answered(at), [format!("connected {timeout_ms}")]);
        at
    }

    /// A connection that asks for the session of another one, and goes on with its xids.
    pub fn renewal(&mut self, of: usize, node: usize, timeout_ms: i32) -> usize {
        let former = &self.clients[of].client;
        let (session, passwd) = (former.session, former.passwd.clone());
        let (next_xid, last_zxid) = (former.next_xid, former.last_zxid);
        let at = self.accept(node);
        let client = &mut self.clients[at].client;
        (client.next_xid, client.last_zxid) = (next_xid, last_zxid);
        (client.session, client.passwd) = (session, passwd.clone());
        self.receive(at, &connect(last_zxid, timeout_ms, session, &passwd));
        at
    }

    /// Bytes arrive from a client.
    pub fn receive(&mut self, at: usize, bytes: &[u8]) {
        self.clients[at]
            .client
            .conn
            .input_buffer()
            .extend_from_slice(bytes);
        self.advance(at);
    }

    /// Requests of a client, all in one piece.
    pub fn send(&mut self, at: usize, asks: &[Ask]) {
        let mut bytes = Vec::new();
        for ask in asks {
            bytes.extend(self.clients[at].client.frame(ask));
        }
        self.receive(at, &bytes);
    }

    /// Requests of a client, and whatever has to happen for their replies.
    pub fn ask(&mut self, at: usize, asks: &[Ask]) -> Vec<String> {
        self.send(at, asks);
        self.answered(at)
    }

    /// What a client receives once it waits for nothing any more.
    pub fn answered(&mut self, at: usize) -> Vec<String> {
        let mut lines = self.lines(at);
        let end = self.now.mono.0 + 60_000;
        while lines.is_empty() || !self.clients[at].client.is_answered() {
            if self.clients[at].client.is_closed {
                lines.push("closed".into());
                break;
            }
            assert!(self.now.mono.0 < end, "no answer:\n{}", self.describe());
            self.pass(1);
            lines.extend(self.lines(at));
        }
        lines
    }

    /// What a client has received since the last time.
    pub fn lines(&mut self, at: usize) -> Vec<String> {
        let seen = self.clients[at].client.seen();
        seen.iter().map(words).collect()
    }

    /// Writes until a server begins a snapshot, and holds its walk through the tree.
    pub fn hold_walk(&mut self, at: usize, client: usize) {
        self.nodes[at].are_walks_held = true;
        for _ in 0..25 {
            self.ask(client, &[create_as("/n", "x", 2)]);
        }
        assert_eq!(self.nodes[at].up().walks.len(), 1);
    }

    /// All servers that run have applied the same, and show the same.
    pub fn agree(&mut self) {
        self.until("all have applied the same", |world| {
            let mut up = world.nodes.iter().filter(|node| node.is_up());
            let first = up.next().map(super::node::Node::last_zxid);
            up.all(|node| Some(node.last_zxid()) == first)
        });
        let up = self.nodes.iter().filter(|node| node.is_up());
        let mut trees = up.map(|node| describe(&node.up().shared.tree.read()));
        let first = trees.next().expect("somebody runs");
        trees.for_each(|tree| assert_eq!(tree, first));
    }

    /// Whether a server shows this node.
    pub fn shows(&self, at: usize, path: &str) -> bool {
        self.nodes[at].up().shared.tree.read().lookup(path).is_some()
    }
}

/// A frame in words, its zxid as epoch and counter.
pub fn words(seen: &Seen) -> String {
    let text = seen.to_string();
    let Some(zxid) = seen.zxid().filter(|zxid| *zxid > 0).map(Zxid) else {
        return text;
    };
    let readable = format!("@{}.{}", zxid.epoch().0, zxid.counter());
    text.replacen(&format!("@{}", zxid.0), &readable, 1)
}
