//! Servers that die, come back, are cut off, fall silent or write slowly, and clients that go from one to
//! another with their sessions: whatever was answered is in the one history, once, at the zxid that the
//! answer said; every read shows the state that its zxid names; and once the faults end, all servers are the
//! same.

mod check;

use std::collections::BTreeMap;

use super::setup::Setup;
use super::world::Ensemble;
use crate::ids::SessionId;
use crate::prng::Prng;
use crate::proto::opcode::OpCode;
use crate::proto::quorum::PacketType;
use crate::replica::tests::frames::*;

const SEEDS: u64 = 150;
const STEPS: usize = 400;
const USERS: usize = 4;

/// A client that keeps its session as long as it can.
#[derive(Default)]
struct User {
    /// The connection that it uses, and one that it has left without closing it.
    conn: Option<usize>,
    former: Option<usize>,
    is_connected: bool,
    next_xid: i32,
}

/// A request that was sent: on which connection, and what all clients had seen by then.
struct Sent {
    op: Op,
    seen: i64,
}

/// A request that was answered.
struct Done {
    session: SessionId,
    xid: i32,
    zxid: i64,
    error: i32,
    body: String,
    sent: Sent,
}

enum Op {
    Write,
    Get(&'static str),
    Sync,
}

struct Run {
    world: Ensemble,
    prng: Prng,
    /// Of a hundred faults that might come, so many do.
    faults: u64,
    users: Vec<User>,
    sent: BTreeMap<(usize, i32), Sent>,
    /// What users did, for whoever looks for the reason of a failure.
    trace: Vec<String>,
    done: Vec<Done>,
    /// The newest zxid that any client has seen.
    seen: i64,
}

/// What all runs together have to have come across.
#[derive(Default)]
struct Sum {
    writes: usize,
    reads: usize,
    moved: usize,
    epochs: usize,
    packets: BTreeMap<PacketType, usize>,
}

const PATHS: [&str; 5] = ["/a", "/b", "/a/x", "/b/y", "/c"];

impl Run {
    fn new(seed: u64) -> Run {
        let mut prng = Prng::new(seed);
        let (voters, observers) = [(3, 0), (3, 1), (5, 0), (2, 1)][prng.below(4) as usize];
        let setup = Setup {
            voters,
            observers,
            leader_serves: prng.below(8) > 0,
            may_read_log: prng.below(2) == 0,
            snap_count: [10, 40, 100_000][prng.below(3) as usize],
            chunk_bytes: 300,
            is_random: true,
            seed,
        };
        Run {
            world: Ensemble::with(setup),
            faults: [5, 30, 100][prng.below(3) as usize],
            users: (0..USERS).map(|_| User::default()).collect(),
            prng,
            sent: BTreeMap::new(),
            trace: Vec::new(),
            done: Vec::new(),
            seen: 0,
        }
    }

    fn pick(&mut self, count: usize) -> usize {
        self.prng.below(count as u64) as usize
    }

    fn step(&mut self) {
        match self.pick(100) {
            0..55 => {
                let user = self.pick(USERS);
                self.act(user);
            }
            55..80 => {
                let longest = [5, 5, 50, 400, 3000][self.pick(5)];
                let ms = self.prng.below(longest);
                self.world.pass(ms);
            }
            80..88 => self.recover(),
            _ if self.prng.below(100) < self.faults => self.fail(),
            _ => {}
        }
        self.world.settle();
        self.receive();
    }

    fn fail(&mut self) {
        let at = self.pick(self.world.nodes.len());
        let other = self.pick(self.world.nodes.len());
        match self.pick(13) {
            10 if !self.world.nodes[at].is_up() => {
                // What one server holds no more, a quorum of the others has, if there can be one.
                let voters = self.world.setup.voters;
                let is_only = self.world.nodes.iter().all(|node| !node.disk.is_damaged);
                self.world.nodes[at].disk.is_damaged |= is_only && (voters > 2 || at >= voters);
            }
            0..3 => {
                let given = self.world.nodes[at].disk.queue.len();
                let done = self.pick(given + 1);
                self.world.crash_after(at, done);
            }
            3 | 4 => self.world.stop(at),
            5 if at != other => self.world.cut(at, other),
            6..8 if at != other => self.world.silence(at, other),
            8 => self.world.nodes[at].disk.is_held = true,
            9 => self.world.nodes[at].are_walks_held = true,
            _ => {
                let user = self.pick(USERS);
                if let Some(conn) = self.users[user].conn {
                    self.world.hang_up(conn);
                }
            }
        }
    }

    fn recover(&mut self) {
        let at = self.pick(self.world.nodes.len());
        match self.pick(4) {
            0 if !self.world.nodes[at].is_up() => self.world.start(at),
            0 | 1 => self.world.release_disk(at),
            2 => self.world.release_walks(at),
            _ => self.world.mend(),
        }
    }

    /// A user connects, goes elsewhere, or asks for something.
    fn act(&mut self, at: usize) {
        let conn = self.users[at].conn;
        let is_open = conn.is_some_and(|conn| !self.world.clients[conn].client.is_closed);
        if !is_open || (self.users[at].is_connected && self.pick(30) == 0) {
            return self.connect(at);
        }
        if self.users[at].is_connected {
            let former = self.users[at].former.filter(|_| self.prng.below(3) == 0);
            if let Some(conn) = former.or(conn) {
                self.ask(at, conn);
            }
        }
    }

    fn connect(&mut self, at: usize) {
        let node = self.pick(self.world.nodes.len());
        if !self.world.nodes[node].is_up() {
            return;
        }
        let former = self.users[at].conn;
        let timeout_ms = [4000, 10_000, 40_000][self.pick(3)];
        let conn = match former {
            Some(former) if self.world.clients[former].client.session != SessionId(0) => {
                self.world.renewal(former, node, timeout_ms)
            }
            Some(_) | None => {
                self.users[at].next_xid = 1;
                self.world.connect(node, timeout_ms, SessionId(0), &[0; 16])
            }
        };
        let session = self.world.clients[conn].client.session;
        self.trace.push(format!(
            "{} user {at} connects to {node} on {conn} of {session}",
            self.world.now.mono.0
        ));
        let user = &mut self.users[at];
        (user.former, user.conn, user.is_connected) = (former, Some(conn), false);
    }

    fn ask(&mut self, at: usize, conn: usize) {
        if self.world.clients[conn].client.is_closed {
            return;
        }
        let mut asks = Vec::new();
        let first = self.users[at].next_xid;
        for _ in 0..1 + self.pick(4) {
            let (ask, op) = self.random();
            let is_last = ask.code == OpCode::CloseSession.code();
            asks.push(ask);
            let seen = self.seen;
            self.sent
                .insert((conn, self.users[at].next_xid), Sent { op, seen });
            self.users[at].next_xid += 1;
            if is_last {
                break;
            }
        }
        self.world.clients[conn].client.next_xid = first;
        let attached = &self.world.clients[conn];
        self.trace.push(format!(
            "{} user {at} asks {} for {first}..{} on {conn} of {}",
            self.world.now.mono.0, attached.node, self.users[at].next_xid, attached.client.session
        ));
        self.world.send(conn, &asks);
    }

    fn random(&mut self) -> (Ask, Op) {
        let path = PATHS[self.pick(PATHS.len())];
        let data = self.prng.below(1000).to_string();
        let version = [-1, -1, -1, 0, 1][self.pick(5)];
        match self.pick(40) {
            0..10 => (create_as(path, &data, [0, 0, 1, 2, 3][self.pick(5)]), Op::Write),
            10..17 => (set(path, &data, version), Op::Write),
            17..20 => (delete(path, version), Op::Write),
            20..23 => {
                let both = [create(path, &data), set("/a", &data, version)];
                (multi(&both), Op::Write)
            }
            23..35 => (
                read(OpCode::GetData, path, self.prng.below(3) == 0),
                Op::Get(path),
            ),
            35..39 => (sync("/"), Op::Sync),
            _ if self.pick(4) == 0 => (close(), Op::Write),
            _ => (get(path), Op::Get(path)),
        }
    }

    /// What clients have received.
    fn receive(&mut self) {
        for conn in 0..self.world.clients.len() {
            let client = &mut self.world.clients[conn].client;
            let session = client.session;
            for seen in client.seen() {
                let user = self.users.iter_mut().find(|user| user.conn == Some(conn));
                self.seen = self.seen.max(seen.zxid().unwrap_or(0));
                match (seen, user) {
                    (Seen::Connected { .. }, Some(user)) => {
                        user.is_connected = true;
                        self.trace
                            .push(format!("{} {conn} is connected", self.world.now.mono.0));
                    }
                    (Seen::Refused, Some(user)) => *user = User::default(),
                    (Seen::Connected { .. } | Seen::Refused | Seen::Event { .. }, _) => {}
                    (
                        Seen::Reply {
                            xid,
                            zxid,
                            error,
                            body,
                            code: _,
                        },
                        _,
                    ) => {
                        let sent = self.sent.remove(&(conn, xid)).expect("it was asked for");
                        self.done.push(Done {
                            session,
                            xid,
                            zxid,
                            error,
                            body,
                            sent,
                        });
                    }
                }
            }
        }
    }

    /// No more faults.
    fn heal(&mut self) {
        self.world.pass(10);
        self.world.mend();
        for at in 0..self.world.nodes.len() {
            self.world.release_disk(at);
            self.world.release_walks(at);
        }
        // Whoever was asked to end may have to wait for others.
        for ms in [1000, 20_000] {
            for at in 0..self.world.nodes.len() {
                if !self.world.nodes[at].is_up() {
                    self.world.start(at);
                }
            }
            self.world.pass(ms);
        }
        self.world.serve();
        // Whoever still waits is answered.
        for at in 0..USERS {
            (0..3).for_each(|_| self.act(at));
        }
        self.world.pass(5000);
        self.receive();
        self.world.agree();
    }
}

#[test]
fn whatever_was_answered_stays_and_whatever_is_shown_is_so() {
    let mut sum = Sum::default();
    let only = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in 0..SEEDS {
        if only.is_some_and(|only: u64| only != seed) {
            continue;
        }
        println!("seed {seed}");
        let mut run = Run::new(seed);
        (0..STEPS).for_each(|_| run.step());
        run.heal();
        if only.is_some() {
            println!("{}", run.trace.join("\n"));
        }
        check::check(&run, &mut sum);
    }
    println!(
        "{} writes, {} reads, {} moved, {} epochs, {:?}",
        sum.writes, sum.reads, sum.moved, sum.epochs, sum.packets
    );
    assert!(sum.writes > 4000 && sum.reads > 2000 && sum.epochs > 300 && sum.moved > 10);
    for kind in [PacketType::Diff, PacketType::Trunc, PacketType::Snap] {
        assert!(sum.packets[&kind] > 4, "{kind:?}");
    }
}
