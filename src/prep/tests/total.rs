//! Whatever clients ask for: what is accepted applies, and a server that stops behind it starts again.

use super::*;
use crate::prng::Prng;
use crate::proto::stat::StatPersisted;
use crate::tree::SnapshotCursor;

const SEEDS: u64 = 150;
const REQUESTS: usize = 80;

const PATHS: [&str; 20] = [
    "/a",
    "/a",
    "/a/b",
    "/a/b/c",
    "/ ",
    "/ /a",
    "/zookeeper/quota/a",
    "/zookeeper/quota/a/zookeeper_limits",
    "/zookeeper/quota/a/zookeeper_stats",
    "/zookeeper/quota/ ",
    "/zookeeper/quota/ /zookeeper_limits",
    "/zookeeper/quota/zookeeper",
    "/zookeeper/quota/zookeeper/zookeeper_limits",
    "/zookeeper/quota/zookeeper/zookeeper_stats",
    // Apache does not survive limits in these places.
    "/zookeeper/quota/zookeeper_limits",
    "/zookeeper/quota/zookeeper_stats",
    "/zookeeper/zookeeper_limits",
    "/zookeeper/x",
    "/zookeeper/x/zookeeper_limits",
    "/",
];

const TEXTS: [&[u8]; 12] = [
    b"count=1,bytes=3",
    b"count=2,bytes=-1=;countHardLimit=3",
    b"byteHardLimit=9",
    b"",
    b",",
    b"=",
    b"count",
    b"count=x",
    b"count=99999999999999999999",
    b"count=9223372036854775807,bytes=-9223372036854775808",
    b"\xff=1",
    b"count=-9223372036854775808",
];

struct Generator(Prng);

impl Generator {
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.0.below(from.len() as u64) as usize]
    }

    fn op(&mut self) -> Op {
        let path = self.pick(&PATHS).to_owned();
        let data = (self.0.below(6) > 0).then(|| self.pick(&TEXTS).to_vec());
        match self.0.below(12) {
            0..5 => {
                let op = self.pick(&[OpCode::Create, OpCode::Create2, OpCode::CreateContainer]);
                let flags = self.pick(&[0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, -1]);
                Op::Create(op, path, data, open(), flags)
            }
            5 => {
                let ttl = self.pick(&[-1, 0, 1, 5, (1 << 40) - 1, 1 << 40, i64::MIN, i64::MAX]);
                Op::CreateTtl(path, self.pick(&[0, 1, 2, 3, 4, 5, 5, 6, 7]), ttl)
            }
            6 | 7 => Op::Delete(path, -1),
            8 | 9 => Op::SetData(path, data, -1),
            10 => Op::Multi((0..self.0.below(4)).map(|_| self.op()).collect()),
            _ => Op::SetAcl(path, open(), -1),
        }
    }

    /// A request's body, broken now and then.
    fn body(&mut self, op: &Op) -> Vec<u8> {
        let mut body = op.body();
        match self.0.below(20) {
            0 => body.truncate(self.0.below(1 + body.len() as u64) as usize),
            1 if !body.is_empty() => {
                let at = self.0.below(body.len() as u64) as usize;
                body[at] ^= 1 << self.0.below(8);
            }
            _ => {}
        }
        body
    }
}

/// The tree of a server that starts where this one is.
fn restarted(tree: &mut DataTree) -> DataTree {
    let head = tree.snapshot_begin();
    let (mut cursor, mut image) = (SnapshotCursor::default(), Vec::new());
    assert!(tree.snapshot_chunk(&mut cursor, &mut image, usize::MAX));
    tree.snapshot_end();
    let mut again = DataTree::empty(9);
    for (session, timeout_ms) in &head.sessions {
        again.load_session(*session, *timeout_ms);
    }
    for (id, acl) in &head.acls {
        again.load_acl(*id, acl).unwrap();
    }
    let mut reader = Reader::new(&image);
    while !reader.is_empty() {
        let path = reader.string().unwrap();
        let (data, acl) = (reader.buffer().unwrap(), reader.long().unwrap());
        let stat = StatPersisted::decode(&mut reader).unwrap();
        again.load_node(&path, data, acl, stat).unwrap();
    }
    again.finish_load(head.zxid);
    assert_eq!(
        (again.digest(), again.node_count()),
        (tree.digest(), tree.node_count())
    );
    again
}

#[test]
fn a_server_starts_again_behind_everything_that_it_accepts() {
    let mut accepted = 0;
    for seed in 0..SEEDS {
        let mut generator = Generator(Prng::new(seed));
        let config = PrepConfig {
            extended_types: true,
            enforce_quota: seed % 2 == 0,
            ..config()
        };
        let mut server = Server::with(DataTree::new(1), config);
        for _ in 0..REQUESTS {
            let op = generator.op();
            let body = generator.body(&op);
            let Prepared::Txn { encoded, error, .. } = server.prepare_body(op.code(), &body) else {
                continue;
            };
            accepted += usize::from(error.is_none());
            let mut other = restarted(&mut server.tree);
            let logged = txn::decode(&encoded).unwrap();
            let result = other.process_txn(&logged.header, &logged.txn, &mut ());
            assert_eq!(server.apply(&encoded).error, result.error, "seed {seed}: {op:?}");
            assert_eq!(other.digest(), server.tree.digest(), "seed {seed}: {op:?}");
            assert!(error.is_none() || error == Some(result.error));
            server.prep.applied(server.zxid);
        }
        restarted(&mut server.tree);
    }
    assert!(accepted > SEEDS as usize * REQUESTS / 4, "{accepted} accepted");
}
