//! Random scripts of several sessions, cut into batches at random: whatever the batching, writes come out as
//! if they ran one after another, every read shows exactly the state that its zxid names, no session sees
//! less than it did before or more than it has asked for, and events precede the states that they announce.

mod model;

use std::collections::{BTreeMap, BTreeSet};

use self::model::{Model, Outcome, Table};
use super::harness::World;
use super::world::frames::*;
use crate::prng::Prng;
use crate::proto::opcode::OpCode;
use crate::replica::Input;

const SEEDS: u64 = 400;
const CLIENTS: usize = 3;
const ASKS: usize = 40;

/// A request, as scripts and the model speak of it.
#[derive(Clone, Debug)]
enum Op {
    Create {
        path: String,
        data: String,
        flags: i32,
    },
    Delete {
        path: String,
        version: i32,
    },
    Set {
        path: String,
        data: String,
        version: i32,
    },
    Multi(Vec<Op>),
    Close,
    Undecodable,
    Get(String, bool),
    Exists(String, bool),
    Children(String, bool),
    Sync,
    Ping,
}

impl Op {
    fn ask(&self) -> Ask {
        match self {
            Op::Create { path, data, flags } => create_as(path, data, *flags),
            Op::Delete { path, version } => delete(path, *version),
            Op::Set { path, data, version } => set(path, data, *version),
            Op::Multi(ops) => multi(&ops.iter().map(Op::ask).collect::<Vec<_>>()),
            Op::Close => close(),
            Op::Undecodable => undecodable(),
            Op::Get(path, watch) => read(OpCode::GetData, path, *watch),
            Op::Exists(path, watch) => read(OpCode::Exists, path, *watch),
            Op::Children(path, watch) => read(OpCode::GetChildren, path, *watch),
            Op::Sync => sync("/"),
            Op::Ping => ping(),
        }
    }

    fn is_write(&self) -> bool {
        matches!(
            self,
            Op::Create { .. } | Op::Delete { .. } | Op::Set { .. } | Op::Multi(_) | Op::Close
        )
    }

    fn random(prng: &mut Prng) -> Op {
        let path = random_path(prng);
        let watch = prng.below(2) == 0;
        match prng.below(16) {
            0..7 => Op::random_write(prng),
            7 => Op::Multi((0..prng.below(4)).map(|_| Op::random_write(prng)).collect()),
            8 => Op::Undecodable,
            9 | 10 => Op::Get(path, watch),
            11 => Op::Exists(path, watch),
            12 | 13 => Op::Children(["/", "/a", "/b"][prng.below(3) as usize].into(), watch),
            14 => Op::Sync,
            _ => Op::Ping,
        }
    }

    fn random_write(prng: &mut Prng) -> Op {
        let path = random_path(prng);
        let version = [-1, -1, 0, 1][prng.below(4) as usize];
        let data = prng.below(100).to_string();
        match prng.below(5) {
            0 | 1 => Op::Create {
                path,
                data,
                flags: [0, 0, 1, 2][prng.below(4) as usize],
            },
            2 => Op::Delete { path, version },
            _ => Op::Set { path, data, version },
        }
    }
}

fn random_path(prng: &mut Prng) -> String {
    ["/a", "/a", "/a/x", "/a/y", "/b", "/b/x"][prng.below(6) as usize].into()
}

/// The world, and beside it the model, which takes every write when it is submitted.
struct Run {
    world: World,
    model: Model,
    scripts: Vec<Vec<Op>>,
    sent: Vec<usize>,
    hung_up: BTreeSet<usize>,
    /// Inputs at the front of the inbox that the model knows.
    noted: usize,
    /// What became of writes, by client and xid.
    outcomes: BTreeMap<(usize, i32), (i64, Outcome)>,
    /// The zxid that syncs have to reach.
    bounds: BTreeMap<(usize, i32), i64>,
}

impl Run {
    fn new(prng: &mut Prng) -> Run {
        let mut world = World::new();
        for _ in 0..CLIENTS {
            world.session(4000);
        }
        let script = |prng: &mut Prng| {
            let mut script: Vec<Op> = (0..ASKS).map(|_| Op::random(prng)).collect();
            if prng.below(3) == 0 {
                script.insert(prng.below(ASKS as u64) as usize, Op::Close);
            }
            script
        };
        Run {
            world,
            model: Model::new(CLIENTS as i64),
            scripts: (0..CLIENTS).map(|_| script(prng)).collect(),
            sent: vec![0; CLIENTS],
            hung_up: BTreeSet::new(),
            noted: 0,
            outcomes: BTreeMap::new(),
            bounds: BTreeMap::new(),
        }
    }

    fn step(&mut self, prng: &mut Prng) {
        let client = prng.below(CLIENTS as u64) as usize;
        match prng.below(8) {
            0..3 => {
                let start = self.sent[client];
                let end = (start + 1 + prng.below(5) as usize).min(self.scripts[client].len());
                let asks: Vec<Ask> = self.scripts[client][start..end].iter().map(Op::ask).collect();
                self.sent[client] = end;
                self.world.send(client, &asks);
            }
            3 | 4 => {
                let count = 1 + prng.below(4) as usize;
                self.noted -= count.min(self.noted);
                self.world.handle(count);
            }
            5 => self.world.wake(),
            6 => self.world.durable(1 + prng.below(4) as usize),
            _ => {
                if prng.below(60) == 0 {
                    self.world.hang_up(client);
                    self.hung_up.insert(client);
                }
                self.world.advance(client);
            }
        }
        self.note();
    }

    /// Shows the model what is new in the inbox.
    fn note(&mut self) {
        for input in self.world.inbox.range(self.noted..) {
            let Input::Client(request) = input else { continue };
            let client = request.conn.0 as usize;
            let op = &self.scripts[client][request.xid as usize - 1];
            if op.is_write() {
                let outcome = self.model.execute(client, op);
                self.outcomes
                    .insert((client, request.xid), (self.model.last_zxid(), outcome));
            } else if matches!(op, Op::Sync) {
                self.bounds.insert((client, request.xid), self.model.last_zxid());
            }
        }
        self.noted = self.world.inbox.len();
    }

    fn finish(&mut self) {
        while !(self.world.inbox.is_empty() && self.world.log.is_empty()) {
            self.world.durable(usize::MAX);
            self.note();
            self.world.handle(usize::MAX);
            self.noted = 0;
            self.world.wake();
            self.note();
        }
        for client in 0..CLIENTS {
            self.world.advance(client);
        }
        self.note();
        if !self.world.inbox.is_empty() {
            self.finish();
        }
    }

    /// Goes through what a client has received.
    fn check(&mut self, client: usize) {
        let mut view = View::default();
        let mut last = 0;
        let mut is_over = self.hung_up.contains(&client);
        for seen in self.world.seen(client) {
            match seen {
                Seen::Event { zxid, kind, path } => {
                    view.advance(&self.model, zxid);
                    view.take(zxid, kind, &path);
                }
                Seen::Reply {
                    xid,
                    zxid,
                    error,
                    body,
                    ..
                } => {
                    last += 1;
                    assert!(xid == last || xid == -2);
                    let op = &self.scripts[client][last as usize - 1];
                    is_over |= matches!(op, Op::Close);
                    view.advance(&self.model, zxid);
                    assert!(view.due.is_empty(), "{op:?} @{zxid} before {:?}", view.due);
                    let outcome = if error == 0 { Ok(body) } else { Err(error) };
                    self.check_reply(client, last, zxid, &outcome);
                    view.watch(op, outcome.is_ok());
                }
                Seen::Connected { .. } | Seen::Refused => panic!("{seen}"),
            }
        }
        if !is_over {
            assert_eq!(last as usize, self.sent[client], "every request is answered");
            view.advance(&self.model, self.model.last_zxid());
            assert!(view.due.is_empty(), "never sent: {:?}", view.due);
        }
    }

    fn check_reply(&self, client: usize, xid: i32, zxid: i64, outcome: &Outcome) {
        let op = &self.scripts[client][xid as usize - 1];
        if op.is_write() {
            assert_eq!(
                self.outcomes[&(client, xid)],
                (zxid, outcome.clone()),
                "{client} {xid} {op:?}"
            );
            return;
        }
        assert_eq!(
            *outcome,
            self.model.read(op, zxid),
            "{client} {xid} {op:?} @{zxid}"
        );
        let own = |(_, (zxid, _)): (&(usize, i32), &(i64, Outcome))| *zxid;
        let before = self.outcomes.range((client, 0)..(client, xid)).next_back();
        let after = self.outcomes.range((client, xid)..(client, i32::MAX)).next();
        assert!(
            before.map(own).unwrap_or(0) <= zxid,
            "{op:?} @{zxid} sees too little"
        );
        assert!(
            after.map(own).unwrap_or(i64::MAX) > zxid,
            "{op:?} @{zxid} sees too much"
        );
        if let Some(bound) = self.bounds.get(&(client, xid)) {
            assert!(zxid >= *bound, "a sync @{zxid} that had to reach {bound}");
        }
    }
}

/// What one client knows: its watches, and the events that have to come.
#[derive(Default)]
struct View {
    upto: i64,
    watches: BTreeSet<(Table, String)>,
    due: Vec<(i64, i32, String)>,
}

impl View {
    fn advance(&mut self, model: &Model, zxid: i64) {
        for (at, change) in model.changes(self.upto, zxid) {
            for (kind, path) in change.events(&mut self.watches) {
                self.due.push((at, kind, path));
            }
        }
        self.upto = self.upto.max(zxid);
    }

    /// An event has come. The order within one transaction is left to other tests.
    fn take(&mut self, zxid: i64, kind: i32, path: &str) {
        let at = self
            .due
            .iter()
            .position(|due| (due.0, due.1, &*due.2) == (zxid, kind, path));
        let at = at.unwrap_or_else(|| panic!("@{zxid} {kind} {path} instead of {:?}", self.due));
        assert_eq!(self.due[0].0, zxid, "an earlier one is missing");
        self.due.remove(at);
    }

    fn watch(&mut self, op: &Op, is_ok: bool) {
        if let Op::Exists(path, true) = op {
            self.watches.insert((Table::Data, path.clone()));
        } else if let Op::Get(path, true) = op
            && is_ok
        {
            self.watches.insert((Table::Data, path.clone()));
        } else if let Op::Children(path, true) = op
            && is_ok
        {
            self.watches.insert((Table::Child, path.clone()));
        }
    }
}

#[test]
fn batching_never_shows() {
    for seed in 0..SEEDS {
        let mut prng = Prng::new(seed);
        let mut run = Run::new(&mut prng);
        while (0..CLIENTS).any(|at| run.sent[at] < run.scripts[at].len()) {
            run.step(&mut prng);
        }
        run.finish();
        for client in 0..CLIENTS {
            run.check(client);
        }
    }
}
