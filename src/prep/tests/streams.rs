//! Random streams of requests with several pending: as good as one after another, and what was foretold
//! comes true.

use std::collections::VecDeque;

use super::model::{Caller, Model, Outcome};
use super::*;
use crate::prng::Prng;

const SEEDS: u64 = 300;
const REQUESTS: usize = 150;
const SESSIONS: u64 = 3;

struct Generator {
    prng: Prng,
}

impl Generator {
    fn below(&mut self, bound: u64) -> u64 {
        self.prng.below(bound)
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize].clone()
    }

    fn path(&mut self) -> String {
        const USUAL: [&str; 14] = [
            "/a",
            "/a",
            "/b",
            "/b",
            "/a/b",
            "/a/b/c",
            "/a/d",
            "/e",
            "/e",
            "/e/f",
            "/e/f",
            "/zookeeper/x",
            "/zookeeper/x/y",
            "/a/",
        ];
        const ODD: [&str; 9] = [
            "/",
            "/zookeeper",
            "/zookeeper/config",
            "/a//b",
            "",
            "a",
            "/.",
            "/missing/x",
            "/a\0b",
        ];
        let path = match self.below(20) {
            0 => self.pick(&ODD),
            _ => self.pick(&USUAL),
        };
        match self.below(12) {
            0 => format!("{path}000000000{}", self.below(4)),
            _ => path.to_owned(),
        }
    }

    fn data(&mut self) -> Option<Vec<u8>> {
        match self.below(6) {
            0 => None,
            1 => Some(Vec::new()),
            length => Some(vec![length as u8; 3 * length as usize]),
        }
    }

    fn version(&mut self) -> i32 {
        match self.below(4) {
            0 => self.below(3) as i32,
            _ => -1,
        }
    }

    fn acl(&mut self) -> Vec<Acl> {
        let entry = |perms, id| Acl { perms, id };
        let auth = Id {
            scheme: "auth".into(),
            id: String::new(),
        };
        match self.below(40) {
            0 => Vec::new(),
            1 => vec![entry(31, auth)],
            2 => vec![entry(31, digest_id("u:1")), Acl::world(perms::READ)],
            3 => vec![
                entry(perms::ADMIN, digest_id("v:2")),
                Acl::world(perms::CREATE | perms::DELETE),
            ],
            4 => vec![Acl::world(31 - perms::CREATE)],
            _ => open(),
        }
    }

    fn ids(&mut self) -> Vec<Id> {
        let super_id = Id {
            scheme: "super".into(),
            id: String::new(),
        };
        match self.below(8) {
            0 => vec![digest_id("u:1"), digest_id("v:2")],
            1 => vec![digest_id("v:2")],
            2 => vec![super_id],
            _ => Vec::new(),
        }
    }

    fn op(&mut self) -> Op {
        match self.below(24) {
            0 => Op::Close,
            1..4 => Op::SetAcl(self.path(), self.acl(), self.version()),
            4..8 => {
                let length = self.below(6);
                Op::Multi((0..length).map(|_| self.simple(true)).collect())
            }
            _ => self.simple(false),
        }
    }

    fn simple(&mut self, with_check: bool) -> Op {
        match self.below(16) {
            0..5 => {
                let code = self.pick(&[OpCode::Create, OpCode::Create2]);
                let flags = self.pick(&[0, 0, 0, 1, 1, 2, 3]);
                Op::Create(code, self.path(), self.data(), self.acl(), flags)
            }
            5 => {
                let flags = self.pick(&[0, 2]);
                Op::Create(
                    OpCode::CreateContainer,
                    self.path(),
                    self.data(),
                    self.acl(),
                    flags,
                )
            }
            6 => Op::CreateTtl(self.path(), self.pick(&[5, 6]), 1 + self.below(40) as i64),
            7..11 => Op::Delete(self.path(), self.version()),
            11 if with_check => Op::Check(self.path(), self.version()),
            _ => Op::SetData(self.path(), self.data(), self.version()),
        }
    }
}

/// What the model says of a pending transaction.
struct Expected {
    encoded: Vec<u8>,
    op: Op,
    outcomes: Vec<Outcome>,
    digest: u64,
}

#[test]
fn pipelined_requests_do_what_serial_ones_do() {
    let mut accepted = 0;
    for seed in 0..SEEDS {
        accepted += run_stream(seed);
    }
    // Most of the stream must be worth something.
    assert!(accepted > SEEDS as usize * REQUESTS / 4, "{accepted} accepted");
}

fn run_stream(seed: u64) -> usize {
    let mut generator = Generator {
        prng: Prng::new(seed),
    };
    let config = PrepConfig {
        extended_types: true,
        ..config()
    };
    let mut server = Server::with(DataTree::new(1), config);
    let mut model = Model::new();
    let mut pending = VecDeque::new();
    let mut accepted = 0;
    let window = 1 + generator.below(12);
    for _ in 0..REQUESTS {
        let expected = match generator.below(12) {
            0 => reap(&mut generator, &mut server, &mut model),
            _ => Some(submit(&mut generator, &mut server, &mut model)),
        };
        let Some(expected) = expected else { continue };
        accepted += usize::from(expected.outcomes.iter().all(Result::is_ok));
        pending.push_back(expected);
        while pending.len() as u64 > generator.below(window) {
            apply(&mut server, &pending.pop_front().unwrap());
        }
        // The news that transactions are applied may come late.
        if generator.below(3) > 0 {
            server.prep.applied(server.tree.last_processed_zxid());
        }
    }
    pending.iter().for_each(|expected| apply(&mut server, expected));
    server.prep.applied(server.zxid);
    assert_eq!(server.prep.outstanding.pending_paths(), 0);
    compare(&server.tree, &model);
    accepted
}

fn submit(generator: &mut Generator, server: &mut Server, model: &mut Model) -> Expected {
    let op = generator.op();
    server.session = SessionId(1 + generator.below(SESSIONS) as i64);
    server.ids = generator.ids();
    let zxid = server.zxid.next();
    let caller = Caller {
        session: server.session,
        is_gone: server.sessions.gone.contains(&server.session),
        ids: &server.ids.clone(),
        zxid,
        time: TIME + zxid.0,
    };
    let outcomes = model.run(&op, &caller);
    let (encoded, error) = server.submit(&op);
    let is_list = matches!(op, Op::Multi(_));
    let expected = if is_list { None } else { outcomes[0].err() };
    assert_eq!(error, expected, "{op:?} of {caller:?}", caller = caller.session);
    if let Op::Close = op {
        server.sessions.gone.insert(server.session);
    } else if generator.below(3) == 0 {
        // Another session of this number: the old one has left nothing.
        server.sessions.gone.clear();
    }
    Expected {
        encoded,
        op,
        outcomes,
        digest: model.digest(),
    }
}

/// The leader looks at a node.
fn reap(generator: &mut Generator, server: &mut Server, model: &mut Model) -> Option<Expected> {
    let (path, zxid) = (generator.path(), server.zxid.next());
    let lifetimes = Lifetimes {
        never_used_max_ms: 0,
        wall_ms: TIME + zxid.0,
    };
    let Server { prep, tree, .. } = server;
    let prepared = prep.prepare_delete_container(tree, &path, &lifetimes, zxid, TIME + zxid.0);
    let is_gone = model.reap(&path, zxid, TIME + zxid.0);
    assert_eq!(prepared.is_some(), is_gone, "{path}");
    let (encoded, _) = prepared?;
    server.zxid = zxid;
    Some(Expected {
        encoded,
        op: Op::Delete(path, -1),
        outcomes: vec![Ok(None)],
        digest: model.digest(),
    })
}

fn apply(server: &mut Server, expected: &Expected) {
    let Expected { op, outcomes, .. } = expected;
    let result = server.apply(&expected.encoded);
    assert_eq!(server.tree.digest(), expected.digest, "{op:?}");
    let outcome = |result: &TxnResult| {
        if result.error == ErrorCode::Ok {
            Ok(result.stat)
        } else {
            Err(result.error)
        }
    };
    if let Op::Multi(_) = op {
        let results: Vec<Outcome> = result.multi.iter().map(outcome).collect();
        assert_eq!(&results, outcomes, "{op:?}");
    } else {
        assert_eq!(outcome(&result), outcomes[0], "{op:?}");
    }
}

fn compare(tree: &DataTree, model: &Model) {
    assert_eq!(tree.node_count(), model.nodes.len() + 1);
    for (path, expected) in &model.nodes {
        let node = tree.lookup(path).unwrap_or_else(|| panic!("{path} is missing"));
        assert_eq!(node.persisted(), expected.stat, "{path}");
        assert_eq!(node.stat(), model.stat(path), "{path}");
        assert_eq!(node.data(), expected.data.as_deref(), "{path}");
        assert_eq!(tree.acl(node.acl_id()).list, expected.acl, "{path}");
    }
}
