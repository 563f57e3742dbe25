//! What is accepted and refused, in which order, and what transactions look like.

mod model;
mod order;
mod quotas;
mod streams;
mod total;

use std::collections::BTreeSet;

use super::*;
use crate::auth::DigestAlg;
use crate::proto::acl::Acl;
use crate::proto::jute::Put;
use crate::proto::txn::{CreateKind, CreateTxn, LoggedTxn};
use crate::tree::TxnResult;

/// A request, as tests and the model speak of it.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Create(OpCode, String, Option<Vec<u8>>, Vec<Acl>, i32),
    CreateTtl(String, i32, i64),
    Delete(String, i32),
    SetData(String, Option<Vec<u8>>, i32),
    SetAcl(String, Vec<Acl>, i32),
    Check(String, i32),
    Multi(Vec<Op>),
    Close,
}

impl Op {
    pub fn code(&self) -> OpCode {
        match self {
            Op::Create(op, ..) => *op,
            Op::CreateTtl(..) => OpCode::CreateTtl,
            Op::Delete(..) => OpCode::Delete,
            Op::SetData(..) => OpCode::SetData,
            Op::SetAcl(..) => OpCode::SetAcl,
            Op::Check(..) => OpCode::Check,
            Op::Multi(_) => OpCode::Multi,
            Op::Close => OpCode::CloseSession,
        }
    }

    pub fn body(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Op::Create(_, path, data, acl, flags) => {
                out.put_string(path);
                out.put_buffer(data.as_deref());
                out.extend_from_slice(RawAcls::from_list(acl).bytes());
                out.put_int(*flags);
            }
            Op::CreateTtl(path, flags, ttl) => {
                out.put_string(path);
                out.put_buffer(None);
                out.extend_from_slice(OPEN_ACL);
                out.put_int(*flags);
                out.put_long(*ttl);
            }
            Op::Delete(path, version) | Op::Check(path, version) => {
                out.put_string(path);
                out.put_int(*version);
            }
            Op::SetData(path, data, version) => {
                out.put_string(path);
                out.put_buffer(data.as_deref());
                out.put_int(*version);
            }
            Op::SetAcl(path, acl, version) => {
                out.put_string(path);
                out.extend_from_slice(RawAcls::from_list(acl).bytes());
                out.put_int(*version);
            }
            Op::Multi(operations) => {
                for operation in operations {
                    out.put_int(operation.code().code());
                    out.extend_from_slice(&[0, 0xff, 0xff, 0xff, 0xff]);
                    out.extend_from_slice(&operation.body());
                }
                out.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 0xff]);
            }
            Op::Close => {}
        }
        out
    }
}

/// Sessions that are closing or closed; all others are live.
#[derive(Default)]
pub(super) struct Sessions {
    pub gone: BTreeSet<SessionId>,
}

impl SessionCheck for Sessions {
    fn check(&self, session: SessionId) -> Option<ErrorCode> {
        self.gone.contains(&session).then_some(ErrorCode::SessionExpired)
    }
}

/// A tree with a `Prep` before it.
pub(super) struct Server {
    pub tree: DataTree,
    pub prep: Prep,
    pub sessions: Sessions,
    pub session: SessionId,
    pub ids: Vec<Id>,
    pub zxid: Zxid,
}

impl Server {
    pub fn new() -> Server {
        Server::with(DataTree::new(1), config())
    }

    pub fn with(tree: DataTree, config: PrepConfig) -> Server {
        Server {
            zxid: tree.last_processed_zxid(),
            tree,
            prep: Prep::new(config),
            sessions: Sessions::default(),
            session: SessionId(1),
            ids: Vec::new(),
        }
    }

    pub fn prepare_body(&mut self, op: OpCode, body: &[u8]) -> Prepared {
        let request = PrepRequest {
            session: self.session,
            cxid: 5,
            op,
            body,
            ids: &self.ids,
        };
        let zxid = self.zxid.next();
        let prepared = self
            .prep
            .prepare(&self.tree, &self.sessions, &request, zxid, TIME + zxid.0);
        if prepared != Prepared::Undecodable {
            self.zxid = zxid;
        }
        prepared
    }

    pub fn prepare(&mut self, op: &Op) -> Prepared {
        self.prepare_body(op.code(), &op.body())
    }

    /// Prepares and leaves it pending. Returns the transaction's bytes and the error.
    pub fn submit(&mut self, op: &Op) -> (Vec<u8>, Option<ErrorCode>) {
        match self.prepare(op) {
            Prepared::Txn { encoded, error, .. } => (encoded, error),
            Prepared::Undecodable => panic!("{op:?} is undecodable"),
        }
    }

    /// Applies a transaction and checks the digest that it foretold.
    pub fn apply(&mut self, encoded: &[u8]) -> TxnResult {
        let LoggedTxn { header, txn, digest } = txn::decode(encoded).unwrap();
        let result = self.tree.process_txn(&header, &txn, &mut ());
        if let Some(digest) = digest {
            assert_eq!(digest.digest, self.tree.digest(), "{header:?} {txn:?}");
        }
        result
    }

    /// Prepares and applies. Returns the error of one or the other.
    pub fn run(&mut self, op: &Op) -> ErrorCode {
        let (encoded, error) = self.submit(op);
        let result = self.apply(&encoded);
        self.prep.applied(self.zxid);
        assert!(
            error.is_none() || error == Some(result.error),
            "{op:?}: {result:?}"
        );
        result.error
    }
}

pub(super) fn config() -> PrepConfig {
    PrepConfig {
        auth: AuthConfig {
            super_digest: None,
            digest_enabled: true,
            digest_alg: DigestAlg::Sha1,
            skip_acl: false,
        },
        digest_enabled: true,
        extended_types: false,
        enforce_quota: false,
        record_bytes_max: 4096,
        hash_seed: 7,
    }
}

pub(super) fn open() -> Vec<Acl> {
    vec![Acl::world(perms::ALL)]
}

pub(super) fn create(path: &str, flags: i32) -> Op {
    Op::Create(OpCode::Create, path.into(), Some(b"data".to_vec()), open(), flags)
}

pub(super) fn create_with(path: &str, acl: &[Acl]) -> Op {
    Op::Create(OpCode::Create, path.into(), None, acl.to_vec(), 0)
}

pub(super) fn digest_id(text: &str) -> Id {
    Id {
        scheme: "digest".into(),
        id: text.into(),
    }
}

pub(super) fn delete(path: &str) -> Op {
    Op::Delete(path.into(), -1)
}

pub(super) fn set_data(path: &str, data: &[u8]) -> Op {
    Op::SetData(path.into(), Some(data.to_vec()), -1)
}

fn txn_of(encoded: &[u8]) -> (TxnHeader, Txn<'_>, Option<TxnDigest>) {
    let LoggedTxn { header, txn, digest } = txn::decode(encoded).unwrap();
    (header, txn, digest)
}

fn path_of(encoded: &[u8]) -> String {
    created_path(&txn_of(encoded).1)
}

fn created_path(txn: &Txn<'_>) -> String {
    let Txn::Create(create) = txn else {
        panic!("not a create: {txn:?}");
    };
    create.path.to_string()
}

const TIME: i64 = 1_700_000_000_000;

#[test]
fn transactions_say_what_happens() {
    let mut server = Server::new();
    let (encoded, error) = server.submit(&create("/a", 1));
    assert_eq!(error, None);
    let (header, txn, digest) = txn_of(&encoded);
    let expected = TxnHeader {
        client_id: SessionId(1),
        cxid: 5,
        zxid: Zxid(1),
        time: TIME + 1,
        code: 1,
    };
    assert_eq!(header, expected);
    let created = CreateTxn {
        kind: CreateKind::Plain,
        path: "/a".into(),
        data: Some(b"data"),
        acl: RawAcls::from_list(&open()),
        ephemeral: true,
        parent_cversion: 1,
    };
    assert_eq!(txn, Txn::Create(created));
    assert_eq!(digest.map(|digest| digest.version), Some(2));

    let op = Op::Create(OpCode::Create2, "/b".into(), None, open(), 0);
    let (encoded, _) = server.submit(&op);
    let (header, txn, _) = txn_of(&encoded);
    assert_eq!(header.code, 15);
    assert!(matches!(
        txn,
        Txn::Create(CreateTxn {
            kind: CreateKind::WithStat,
            parent_cversion: 2,
            ..
        })
    ));

    let (encoded, _) = server.submit(&set_data("/a", b"x"));
    let (_, txn, _) = txn_of(&encoded);
    assert!(matches!(
        txn,
        Txn::SetData {
            data: Some(b"x"),
            version: 1,
            ..
        }
    ));
    let (encoded, _) = server.submit(&Op::SetAcl("/a".into(), vec![Acl::world(1)], 0));
    assert!(matches!(txn_of(&encoded).1, Txn::SetAcl { version: 1, .. }));
    let multi = Op::Multi(vec![Op::Check("/a".into(), -1), delete("/b")]);
    let (encoded, _) = server.submit(&multi);
    let check = Txn::Check {
        path: "/a".into(),
        version: 2,
    };
    assert_eq!(
        txn_of(&encoded).1,
        Txn::Multi(vec![check, Txn::Delete { path: "/b".into() }])
    );
    let (encoded, _) = server.submit(&Op::Close);
    let paths = Some(vec!["/a".into()]);
    assert_eq!(txn_of(&encoded).1, Txn::CloseSession { paths });
}

#[test]
fn a_refusal_keeps_its_zxid_and_carries_no_digest() {
    let mut server = Server::new();
    let (encoded, error) = server.submit(&delete("/missing"));
    assert_eq!(error, Some(ErrorCode::NoNode));
    let (header, txn, digest) = txn_of(&encoded);
    assert_eq!((header.zxid, header.code, header.cxid), (Zxid(1), -1, 5));
    assert_eq!((txn, digest), (Txn::Error(-101), None));
    assert_eq!(
        server.prepare_body(OpCode::Delete, &[0, 0, 0, 9]),
        Prepared::Undecodable
    );
    assert_eq!(server.zxid, Zxid(1));
}

#[test]
fn without_digests_there_are_none() {
    let mut server = Server::with(
        DataTree::new(1),
        PrepConfig {
            digest_enabled: false,
            ..config()
        },
    );
    let (encoded, _) = server.submit(&create("/a", 0));
    assert_eq!(txn_of(&encoded).2, None);
}

#[test]
fn sessions_open_and_close_by_transactions() {
    let mut server = Server::new();
    let (encoded, header) = server
        .prep
        .prepare_create_session(&server.tree, SessionId(9), 4000, Zxid(1), 77);
    let (decoded, txn, digest) = txn_of(&encoded);
    assert_eq!((decoded, txn), (header, Txn::CreateSession { timeout_ms: 4000 }));
    assert_eq!(
        (header.cxid, header.code, header.time, header.client_id),
        (0, -10, 77, SessionId(9))
    );
    assert_eq!(digest.map(|digest| digest.digest), Some(server.tree.digest()));
    server.apply(&encoded);

    server.zxid = Zxid(1);
    server.session = SessionId(9);
    assert_eq!(server.run(&create("/e", 1)), ErrorCode::Ok);
    let pending = [server.submit(&create("/f", 1)).0, server.submit(&delete("/e")).0];
    server.session = SessionId(8);
    let other = server.submit(&create("/e", 1)).0;
    let (encoded, header) = server
        .prep
        .prepare_close_session(&server.tree, SessionId(9), Zxid(6), 78);
    assert_eq!(
        txn_of(&encoded).1,
        Txn::CloseSession {
            paths: Some(vec!["/f".into()])
        }
    );
    assert_eq!((header.cxid, header.code), (0, -11));
    for encoded in [&pending[0], &pending[1], &other, &encoded] {
        server.apply(encoded);
    }
    assert!(server.tree.lookup("/e").is_some() && server.tree.lookup("/f").is_none());
    assert!(server.tree.sessions().is_empty());
}

#[test]
fn names_continue_the_count_of_children_ever_created() {
    let mut server = Server::new();
    let (first, _) = server.submit(&create("/", 2));
    assert_eq!(path_of(&first), "/0000000000");
    let (second, _) = server.submit(&create("/n-", 3));
    assert_eq!(path_of(&second), "/n-0000000001");
    assert_eq!(server.submit(&delete("/n-0000000001")).1, None);
    assert_eq!(
        server.submit(&create("/0000000000", 0)).1,
        Some(ErrorCode::NodeExists)
    );
    let failing = Op::Multi(vec![create("/n-", 2), create("/m/", 2)]);
    assert_eq!(server.submit(&failing).1, None);
    let both = Op::Multi(vec![
        create("/n-", 2),
        create("/n-0000000002/", 2),
        create("/n-", 2),
    ]);
    let (encoded, _) = server.submit(&both);
    let Txn::Multi(txns) = txn_of(&encoded).1 else {
        panic!("not a multi")
    };
    let paths: Vec<String> = txns.iter().map(created_path).collect();
    assert_eq!(
        paths,
        ["/n-0000000002", "/n-0000000002/0000000000", "/n-0000000003"]
    );
}

#[test]
fn the_count_stops_at_its_end_and_digests_stay_right() {
    let mut tree = DataTree::new(1);
    let mut image = DataTree::empty(1);
    std::mem::swap(&mut tree, &mut image);
    let stat = crate::proto::stat::StatPersisted {
        cversion: i32::MAX - 1,
        ..Default::default()
    };
    for (path, stat) in [("", Default::default()), ("/full", stat)] {
        tree.load_node(path, None, -1, stat).unwrap();
    }
    tree.finish_load(Zxid(1));
    let mut server = Server::with(tree, config());
    let mut pending = Vec::new();
    let mut submit = |server: &mut Server, op: &Op| {
        let (encoded, error) = server.submit(op);
        pending.push(encoded);
        error
    };
    assert_eq!(submit(&mut server, &create("/full/", 2)), None);
    assert_eq!(submit(&mut server, &create("/full/x-", 2)), None);
    assert_eq!(
        submit(&mut server, &create("/full/x-", 2)),
        Some(ErrorCode::NodeExists)
    );
    assert_eq!(submit(&mut server, &create("/full/y", 0)), None);
    assert_eq!(path_of(&pending[0]), "/full/2147483646");
    assert_eq!(path_of(&pending[1]), "/full/x-2147483647");
    for encoded in pending {
        server.apply(&encoded);
    }
    assert_eq!(
        server.tree.lookup("/full").unwrap().persisted().cversion,
        i32::MAX
    );
}

#[test]
fn negative_counts_keep_ten_places() {
    assert_eq!(format!("{:010}", -5), "-000000005");
}

#[test]
fn cve_2026_100235_pending_changes_count() {
    let mut server = Server::new();
    let mut expect = |op: Op, expected: Option<ErrorCode>| {
        assert_eq!(server.submit(&op).1, expected, "{op:?}");
    };
    expect(create("/a", 0), None);
    expect(create("/a/b", 0), None);
    expect(delete("/a"), Some(ErrorCode::NotEmpty));
    expect(
        Op::SetAcl("/a".into(), vec![Acl::world(perms::READ | perms::ADMIN)], 0),
        None,
    );
    expect(delete("/a/b"), Some(ErrorCode::NoAuth));
    expect(create("/a/c", 0), Some(ErrorCode::NoAuth));
    expect(set_data("/a", b"x"), Some(ErrorCode::NoAuth));
    expect(Op::SetAcl("/a".into(), open(), 0), Some(ErrorCode::BadVersion));
    expect(Op::SetAcl("/a".into(), open(), 1), None);
    expect(Op::SetData("/a".into(), None, 1), Some(ErrorCode::BadVersion));
    expect(Op::SetData("/a".into(), None, 0), None);
    expect(delete("/a/b"), None);
    expect(delete("/a/b"), Some(ErrorCode::NoNode));
    expect(delete("/a"), None);
    expect(create("/a/b", 0), Some(ErrorCode::NoNode));
    expect(create("/a", 0), None);
}

#[test]
fn zk_1624_a_failed_multi_leaves_no_trace() {
    let mut server = Server::new();
    let (before, _) = server.submit(&create("/a", 1));
    let failing = Op::Multi(vec![
        create("/e-", 3),
        set_data("/a", b"x"),
        Op::SetData("/a".into(), None, 1),
        delete("/a"),
        create("/a", 0),
        delete("/missing"),
        create("/never", 0),
    ]);
    let (encoded, error) = server.submit(&failing);
    assert_eq!(error, None);
    let (header, txn, digest) = txn_of(&encoded);
    assert_eq!((header.code, digest), (14, txn_of(&before).2));
    let Txn::Multi(txns) = txn else {
        panic!("not a multi")
    };
    let codes: Vec<i32> = txns.iter().map(Txn::code).collect();
    assert_eq!(codes, [1, 5, 5, 2, 1, -1, -1]);
    assert_eq!(txns[5..], [Txn::Error(-101), Txn::Error(-2)]);
    let (after, _) = server.submit(&Op::SetData("/a".into(), None, 0));
    let (next, _) = server.submit(&create("/e-", 3));
    assert_eq!(path_of(&next), "/e-0000000001");
    let (close, _) = server.submit(&Op::Close);
    let paths = Some(vec!["/a".into(), "/e-0000000001".into()]);
    assert_eq!(txn_of(&close).1, Txn::CloseSession { paths });
    for encoded in [&before, &encoded, &after, &next, &close] {
        server.apply(encoded);
    }
}

#[test]
fn zk_2101_records_that_nobody_could_read_are_refused_without_a_trace() {
    let mut server = Server::new();
    let large = |path: &str| Op::Create(OpCode::Create, path.into(), Some(vec![7; 2000]), open(), 0);
    assert_eq!(server.run(&large("/a")), ErrorCode::Ok);
    let digest = server.tree.digest();
    let multi = Op::Multi(vec![large("/b"), large("/c"), large("/d")]);
    assert_eq!(server.submit(&multi).1, Some(ErrorCode::MarshallingError));
    let exact = |bytes: usize| Op::SetData("/a".into(), Some(vec![1; bytes]), -1);
    let overhead = 32 + 12 + 4 + 2 + 4 + 4;
    assert_eq!(
        server.submit(&exact(4097 - overhead)).1,
        Some(ErrorCode::MarshallingError)
    );
    let (encoded, error) = server.submit(&exact(4096 - overhead));
    assert_eq!((encoded.len(), error), (4096, None));
    assert_eq!(server.submit(&delete("/b")).1, Some(ErrorCode::NoNode));
    assert_ne!(server.prep.outstanding.digest(), digest);
    server.apply(&encoded);

    server.session = SessionId(2);
    for i in 0..500 {
        assert_eq!(server.submit(&create(&format!("/ephemeral{i}"), 1)).1, None);
    }
    let (encoded, error) = server.submit(&Op::Close);
    assert!(encoded.len() > 4096 && error.is_none());
}

#[test]
fn what_is_applied_is_forgotten_and_its_memory_used_again() {
    let mut server = Server::new();
    for i in 0..20_000 {
        assert_eq!(server.run(&create(&format!("/n{i}"), 0)), ErrorCode::Ok);
    }
    assert_eq!(server.prep.outstanding.pending_paths(), 0);
    assert!(server.prep.outstanding.slots_count() <= 4);
    let pending: Vec<Vec<u8>> = (0..20_000)
        .map(|i| server.submit(&delete(&format!("/n{i}"))).0)
        .collect();
    assert_eq!(server.prep.outstanding.pending_paths(), 20_001);
    pending.iter().for_each(|encoded| drop(server.apply(encoded)));
    server.prep.applied(server.zxid);
    assert_eq!(
        (
            server.prep.outstanding.pending_paths(),
            server.prep.outstanding.slots_count()
        ),
        (0, 0)
    );
    server.submit(&create("/x", 1));
    server.prep.clear();
    assert_eq!(server.submit(&create("/x", 1)).1, None);
}
