//! The same bytes through what acts on them: reads, preparation, and the tree.

use std::net::{IpAddr, Ipv4Addr};

use zkserver::auth::{self, AuthConfig, DigestAlg};
use zkserver::ids::{ConnId, SessionId, Zxid};
use zkserver::prep::{Prep, PrepConfig, PrepRequest, Prepared, SessionCheck};
use zkserver::prng::Prng;
use zkserver::proto::acl::Id;
use zkserver::proto::error_code::ErrorCode;
use zkserver::proto::opcode::OpCode;
use zkserver::proto::request::Request;
use zkserver::proto::txn;
use zkserver::read::{self, ReadContext};
use zkserver::tree::DataTree;
use zkserver::watch::WatchManager;

use super::{corpus, for_each_input, mutator};

const SESSION: SessionId = SessionId(0x1234);

/// A server's state, begun anew every so many inputs.
struct World {
    tree: DataTree,
    prep: Prep,
    watches: WatchManager,
    auth: AuthConfig,
    ids: Vec<Id>,
    zxid: Zxid,
}

struct AllLive;

impl SessionCheck for AllLive {
    fn check(&self, _session: SessionId) -> Option<ErrorCode> {
        None
    }
}

impl World {
    fn new() -> World {
        let auth = AuthConfig {
            super_digest: None,
            digest_enabled: true,
            digest_alg: DigestAlg::Sha1,
            skip_acl: false,
        };
        let id = |scheme: &str, id: &str| Id {
            scheme: scheme.into(),
            id: id.into(),
        };
        World {
            tree: DataTree::new(1),
            prep: Prep::new(PrepConfig {
                auth: auth.clone(),
                digest_enabled: true,
                extended_types: true,
                enforce_quota: false,
                record_bytes_max: 2 << 20,
                hash_seed: 1,
            }),
            watches: WatchManager::new(1),
            auth,
            ids: vec![
                id("ip", "127.0.0.1"),
                id("digest", "bob:smGaoVKd/cQkjm7b88GyorAUz20="),
            ],
            zxid: Zxid::ZERO,
        }
    }

    fn write(&mut self, op: OpCode, body: &[u8]) {
        let request = PrepRequest {
            session: SESSION,
            cxid: 1,
            op,
            body,
            ids: &self.ids,
        };
        let zxid = self.zxid.next();
        match self.prep.prepare(&self.tree, &AllLive, &request, zxid, 1000) {
            Prepared::Undecodable => {}
            Prepared::Txn { encoded, .. } => {
                self.zxid = zxid;
                self.apply(&encoded, true);
                self.prep.applied(zxid);
            }
        }
    }

    fn apply(&mut self, encoded: &[u8], is_ours: bool) {
        match txn::decode(encoded) {
            Ok(logged) => {
                let watches = &self.watches;
                let mut sink = Sink(watches);
                self.tree.process_txn(&logged.header, &logged.txn, &mut sink);
                if let Some(digest) = logged.digest
                    && is_ours
                {
                    assert_eq!(digest.digest, self.tree.digest(), "the digest that was promised");
                }
            }
            Err(error) => assert!(!is_ours, "our own transaction: {error}"),
        }
    }

    fn read(&self, op: OpCode, body: &[u8]) {
        let context = ReadContext {
            tree: &self.tree,
            watches: &self.watches,
            auth: &self.auth,
            conn: ConnId(1),
            session: SESSION,
            ids: &self.ids,
        };
        let mut out = Vec::new();
        read::execute(&context, 5, op, body, &mut out);
        let mut rest = &out[..];
        while let Some((head, tail)) = rest.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*head) as usize;
            assert!(length >= 16, "a reply has a header");
            rest = tail.get(length..).expect("whole frames");
        }
        assert!(rest.is_empty() && !out.is_empty());
    }
}

struct Sink<'a>(&'a WatchManager);

impl zkserver::tree::ChangeSink for Sink<'_> {
    fn change(&mut self, change: &zkserver::tree::Change<'_>) {
        self.0
            .on_change(change, &mut |_, _, path, _| assert!(path.starts_with('/')));
    }
}

#[test]
fn requests_of_any_shape_are_answered() {
    let bodies = corpus::bodies();
    let seeds: Vec<Vec<u8>> = bodies.iter().map(|(_, body)| body.clone()).collect();
    let mut world = World::new();
    for_each_input(200_000, |number, prng| {
        if number % 500 == 0 {
            world = World::new();
        }
        let (mut op, body) = one_of(prng, &bodies);
        let body = if prng.below(3) == 0 {
            body.clone()
        } else {
            let of_op = seeds.iter().zip(&bodies).filter(|(_, (other, _))| *other == op);
            let of_op: Vec<Vec<u8>> = of_op.map(|(seed, _)| seed.clone()).collect();
            mutator::mutate(prng, &of_op)
        };
        if prng.below(20) == 0 {
            op = OpCode::CloseSession;
        }
        if read::is_read(op) {
            world.read(op, &body);
        } else if op == OpCode::Auth {
            if let Ok(Request::Auth(request)) = Request::decode(op, &body) {
                drop(auth::authenticate(
                    &world.auth,
                    IpAddr::V4(Ipv4Addr::LOCALHOST),
                    &request,
                ));
            }
        } else if op.is_write() && op != OpCode::Check {
            world.write(op, &body);
        }
    });
}

#[test]
fn transactions_of_any_shape_leave_a_tree() {
    let txns = corpus::txns();
    let mut world = World::new();
    for_each_input(200_000, |number, prng| {
        if number % 500 == 0 {
            world = World::new();
        }
        let input = mutator::mutate(prng, &txns);
        world.apply(&input, false);
        let nodes = world.tree.node_count();
        assert_eq!(world.tree.descendants_count("/"), Some(nodes - 2));
    });
}

fn one_of<'a>(prng: &mut Prng, bodies: &'a [(OpCode, Vec<u8>)]) -> (OpCode, &'a Vec<u8>) {
    let (op, body) = &bodies[prng.below(bodies.len() as u64) as usize];
    (*op, body)
}
