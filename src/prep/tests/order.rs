//! Every error where a lower one applies too: the order of validation is what clients see.

use super::*;
use crate::tree::NodeKind;
use ErrorCode::*;

/// Nodes: `/open` with a child; `/shut` and `/shut/child`, of somebody else; `/eph`, an ephemeral of
/// session 1.
fn server() -> Server {
    let mut server = Server::new();
    let shut = [Acl {
        perms: perms::ALL,
        id: digest_id("other:hash"),
    }];
    let super_id = Id {
        scheme: "super".into(),
        id: String::new(),
    };
    server.ids = vec![super_id];
    let setup = [
        create("/open", 0),
        create("/open/child", 0),
        create_with("/shut", &shut),
        create_with("/shut/child", &shut),
        create("/eph", 1),
    ];
    for op in setup {
        assert_eq!(server.run(&op), Ok);
    }
    server.ids = vec![digest_id("me:hash")];
    server
}

/// Each row runs alone, in a live session (2) or an expired one (3), pending and not.
fn expect(rows: &[(i64, Op, ErrorCode)]) {
    let mut server = server();
    server.sessions.gone.insert(SessionId(3));
    for (session, op, expected) in rows {
        server.session = SessionId(*session);
        assert_eq!(server.submit(op).1, Some(*expected), "{op:?} of {session}");
        let in_multi = match op {
            Op::Create(_, _, _, _, flags) => (0..=4).contains(flags),
            Op::Delete(..) | Op::SetData(..) | Op::Check(..) => true,
            Op::CreateTtl(..) | Op::SetAcl(..) | Op::Multi(_) | Op::Close => false,
        };
        if in_multi {
            expect_in_multi(&mut server, op, *expected);
        }
        let outstanding = &server.prep.outstanding;
        assert_eq!((outstanding.changes_count(), outstanding.pending_paths()), (0, 0));
        assert_eq!(outstanding.digest(), server.tree.digest());
    }
}

fn expect_in_multi(server: &mut Server, op: &Op, expected: ErrorCode) {
    let before = set_data("/eph", b"changed");
    let multi = Op::Multi(vec![before.clone(), op.clone(), before]);
    // The one before fails in an expired session.
    let is_live = server.session != SessionId(3);
    let (encoded, error) = server.submit(&multi);
    assert_eq!(error, None);
    let errors: Vec<ErrorCode> = server
        .apply(&encoded)
        .multi
        .iter()
        .map(|result| result.error)
        .collect();
    let whole = match is_live {
        true => [Ok, expected, RuntimeInconsistency],
        false => [SessionExpired, RuntimeInconsistency, RuntimeInconsistency],
    };
    assert_eq!(errors, whole, "{op:?}");
}

fn create_bad(path: &str) -> Op {
    create_with(path, &[])
}

#[test]
fn of_create() {
    let ttl = |flags, ttl| Op::CreateTtl("bad".into(), flags, ttl);
    let container = |path: &str, flags| Op::Create(OpCode::CreateContainer, path.into(), None, open(), flags);
    expect(&[
        (3, create("bad", 7), BadArguments),
        (3, create("bad", -1), BadArguments),
        (3, create("bad", 5), Unimplemented),
        (3, create("bad", 6), Unimplemented),
        (3, ttl(7, 5), BadArguments),
        (3, ttl(5, 0), Unimplemented),
        (3, ttl(0, 5), BadArguments),
        (3, ttl(4, -1), BadArguments),
        (3, container("bad", 8), BadArguments),
        (3, container("bad", 0), SessionExpired),
        (3, container("bad", 5), Unimplemented),
        (2, container("bad", 1), BadArguments),
        (2, container("/eph/x", 0), NoChildrenForEphemerals),
        (3, create_bad("bad"), SessionExpired),
        (3, create("bad", 1), SessionExpired),
        (3, create("/new", 4), SessionExpired),
        (2, create_bad("bad"), BadArguments),
        (2, create_bad(""), BadArguments),
        (2, create_bad("/missing/a\0"), BadArguments),
        (2, create_bad("/missing/x"), InvalidAcl),
        (2, create_bad("/eph/x"), InvalidAcl),
        (2, create("/missing/.", 0), NoNode),
        (2, create("/open//x", 0), NoNode),
        (2, create("no/slash/first", 0), NoNode),
        (2, create("/shut/.", 0), NoAuth),
        (2, create("/shut/child", 0), NoAuth),
        (2, create("/open/..", 0), BadArguments),
        (2, create("/open/", 0), BadArguments),
        (2, create("/eph/\u{1}", 0), BadArguments),
        (2, create("/open/child", 0), NodeExists),
        (2, create("/", 0), NodeExists),
        (2, create("/eph/x", 0), NoChildrenForEphemerals),
        (2, create("/eph/x", 3), NoChildrenForEphemerals),
    ]);
}

#[test]
fn of_delete() {
    let delete = |path: &str, version| Op::Delete(path.into(), version);
    expect(&[
        (3, delete("/", -1), SessionExpired),
        (2, delete("", -1), BadArguments),
        (2, delete("missing", -1), BadArguments),
        (2, delete("/missing\0/x", -1), BadArguments),
        (2, delete("/", -1), BadArguments),
        (2, delete("/zookeeper", 9), BadArguments),
        (2, delete("/zookeeper/quota", 9), BadArguments),
        (2, delete("/zookeeper/config", 9), BadArguments),
        (2, delete("/missing/x", -1), NoNode),
        (2, delete("/shut/missing", -1), NoAuth),
        (2, delete("/shut/child", 9), NoAuth),
        (2, delete("/open/missing", 9), NoNode),
        (2, delete("/open/", -1), NoNode),
        (2, delete("/open", 9), BadVersion),
        (2, delete("/open", 0), NotEmpty),
    ]);
}

#[test]
fn of_set_data_and_check() {
    let set_data = |path: &str, version| Op::SetData(path.into(), None, version);
    expect(&[
        (3, set_data("bad", 9), SessionExpired),
        (2, set_data("/missing/", 9), BadArguments),
        (2, set_data("", 9), BadArguments),
        (2, set_data("/missing", 9), NoNode),
        (2, set_data("/shut", 9), NoAuth),
        (2, set_data("/open", 9), BadVersion),
        (2, set_data("/zookeeper/config", 9), NoAuth),
    ]);
    let check = |path: &str, version| Op::Check(path.into(), version);
    let mut server = server();
    server.sessions.gone.insert(SessionId(3));
    for (session, op, expected) in [
        (3, check("bad", 9), SessionExpired),
        (2, check("/missing/", 9), BadArguments),
        (2, check("/missing", 9), NoNode),
        (2, check("/shut", 9), NoAuth),
        (2, check("/open", 9), BadVersion),
    ] {
        server.session = SessionId(session);
        expect_in_multi(&mut server, &op, expected);
        assert_eq!(server.submit(&op).1, Some(Unimplemented), "alone");
    }
}

#[test]
fn of_set_acl() {
    let set_acl = |path: &str, acl: &[Acl], version| Op::SetAcl(path.into(), acl.to_vec(), version);
    expect(&[
        (3, set_acl("bad", &[], 9), SessionExpired),
        (2, set_acl("/missing/", &[], 9), BadArguments),
        (2, set_acl("/missing", &[], 9), InvalidAcl),
        (2, set_acl("/shut", &[], 9), InvalidAcl),
        (2, set_acl("/missing", &open(), 9), NoNode),
        (2, set_acl("/shut", &open(), 9), NoAuth),
        (2, set_acl("/open", &open(), 9), BadVersion),
    ]);
}

fn with_extended_types() -> Server {
    let mut config = config();
    config.extended_types = true;
    Server::with(DataTree::new(1), config)
}

#[test]
fn of_modes_with_a_time_to_live_where_extended_types_are_on() {
    let mut server = with_extended_types();
    let ttl = |flags, ttl| Op::CreateTtl("/t".into(), flags, ttl);
    let container = |flags| Op::Create(OpCode::CreateContainer, "/t".into(), None, open(), flags);
    for (op, expected) in [
        (create("/t", 5), BadArguments),
        (create("/t", 6), BadArguments),
        (container(5), BadArguments),
        (ttl(5, 0), BadArguments),
        (ttl(6, -1), BadArguments),
        (ttl(5, 1 << 40), BadArguments),
        (ttl(7, 5), BadArguments),
        (ttl(0, 5), BadArguments),
        (ttl(4, -1), BadArguments),
        (Op::CreateTtl("bad".into(), 5, 1), BadArguments),
    ] {
        assert_eq!(server.submit(&op).1, Some(expected), "{op:?}");
    }
    assert_eq!(server.submit(&ttl(5, (1 << 40) - 1)).1, None);
    assert_eq!(server.submit(&ttl(5, 1)).1, Some(NodeExists));
}

/// Creates nodes with a request each and tells their kinds, codes of transactions and shown owners.
fn created(server: &mut Server, op: &Op) -> (String, NodeKind, i32, i64) {
    let (encoded, error) = server.submit(op);
    assert_eq!(error, None, "{op:?}");
    let mut txn = txn_of(&encoded).1;
    if let Txn::Multi(txns) = &mut txn {
        txn = txns.remove(0);
    }
    let code = txn.code();
    let path = created_path(&txn);
    server.apply(&encoded);
    server.prep.applied(server.zxid);
    let node = server.tree.lookup(&path).unwrap();
    (path.clone(), node.kind(), code, node.stat().ephemeral_owner)
}

#[test]
fn opcodes_and_flags_make_containers_and_ttl_nodes() {
    let mut server = with_extended_types();
    let session = server.session;
    let container = |flags| Op::Create(OpCode::CreateContainer, "/c".into(), None, open(), flags);
    let ttl = |flags| Op::CreateTtl("/t".into(), flags, 77);
    let in_multi = |op| Op::Multi(vec![op]);
    for (op, path, kind, code) in [
        (create("/alone", 4), "/alone", NodeKind::Persistent, 1),
        (container(4), "/c", NodeKind::Container, 19),
        (container(2), "/c0000000002", NodeKind::Container, 19),
        (container(3), "/c0000000003", NodeKind::Container, 19),
        (ttl(5), "/t", NodeKind::Ttl(77), 21),
        (ttl(6), "/t0000000005", NodeKind::Ttl(77), 21),
        (in_multi(create("/m4", 4)), "/m4", NodeKind::Container, 19),
        (in_multi(ttl(4)), "/t", NodeKind::Container, 19),
        (in_multi(ttl(6)), "/t0000000008", NodeKind::Ttl(77), 21),
        (in_multi(ttl(2)), "/t0000000009", NodeKind::Persistent, 1),
        (in_multi(ttl(1)), "/t", NodeKind::Ephemeral(session), 1),
        (in_multi(container(0)), "/c", NodeKind::Container, 19),
        (in_multi(container(3)), "/c0000000012", NodeKind::Container, 19),
    ] {
        for taken in ["/t", "/c"] {
            if path == taken && server.tree.lookup(taken).is_some() {
                let version = server.zxid;
                assert_eq!(server.run(&delete(taken)), Ok, "{version:?}");
            }
        }
        let owner = match kind {
            NodeKind::Ephemeral(session) => session.0,
            NodeKind::Persistent | NodeKind::Container | NodeKind::Ttl(_) => 0,
        };
        let expected = (path.to_owned(), kind, code, owner);
        assert_eq!(created(&mut server, &op), expected, "{op:?}");
    }
    assert_eq!(server.run(&create("/m4/child", 1)), Ok);
    assert_eq!(server.run(&create("/t0000000008/child", 0)), Ok);
}

#[test]
fn modes_differ_within_a_multi() {
    let mut server = Server::new();
    let mut one = |op: Op| server.run(&Op::Multi(vec![op]));
    let ttl = |path: &str, flags, ttl| Op::CreateTtl(path.into(), flags, ttl);
    assert_eq!(one(create("/m4", 4)), Ok);
    assert_eq!(one(ttl("/t4", 4, 5)), Ok);
    assert_eq!(one(ttl("/t5", 5, 5)), Unimplemented);
    assert_eq!(one(ttl("/t9", 9, 5)), BadArguments);
    assert_eq!(one(ttl("/t0", 0, 5)), Ok);
    assert_eq!(one(ttl("/t2-", 2, -5)), Ok);
    let mut server = with_extended_types();
    assert_eq!(server.run(&Op::Multi(vec![ttl("/t5", 5, 0)])), BadArguments);
}

#[test]
fn a_container_goes_only_while_its_time_is_over() {
    let mut server = with_extended_types();
    let lifetimes = |wall_ms| Lifetimes {
        never_used_max_ms: 0,
        wall_ms,
    };
    let container = Op::Create(OpCode::CreateContainer, "/c".into(), None, open(), 4);
    for op in [container, create("/c/x", 0), Op::CreateTtl("/t".into(), 5, 10)] {
        assert_eq!(server.run(&op), Ok, "{op:?}");
    }
    let reap = |server: &mut Server, path: &str, wall_ms| {
        let zxid = server.zxid.next();
        let prepared =
            server
                .prep
                .prepare_delete_container(&server.tree, path, &lifetimes(wall_ms), zxid, wall_ms);
        prepared.map(|(encoded, header)| {
            server.zxid = header.zxid;
            encoded
        })
    };
    let written = server.tree.lookup("/t").unwrap().stat().mtime;
    assert_eq!(reap(&mut server, "/missing", written), None);
    assert_eq!(reap(&mut server, "/c", written), None, "has a child");
    assert_eq!(reap(&mut server, "/c/x", written), None, "persistent");
    assert_eq!(reap(&mut server, "/t", written + 10), None, "not yet");
    // What is under way counts: the child goes, and another one comes.
    server.submit(&delete("/c/x"));
    assert!(reap(&mut server, "/c", written).is_some(), "empty in a moment");
    assert_eq!(reap(&mut server, "/c", written), None, "gone in a moment");
    assert_eq!(server.submit(&create("/c/y", 0)).1, Some(NoNode));
    server.submit(&create("/t/y", 0));
    assert_eq!(
        reap(&mut server, "/t", written + 11),
        None,
        "has a child in a moment"
    );
    server.submit(&delete("/t/y"));
    let encoded = reap(&mut server, "/t", written + 11).unwrap();
    let (header, txn, digest) = txn_of(&encoded);
    assert_eq!(
        (header.client_id, header.cxid, header.code),
        (SessionId(0), 0, 20)
    );
    assert_eq!(txn, Txn::DeleteContainer { path: "/t".into() });
    assert!(digest.is_some());
}

#[test]
fn of_bodies_that_are_no_requests() {
    let mut server = server();
    server.sessions.gone.insert(SessionId(3));
    let mut refused = |op, body: &[u8], session| {
        server.session = SessionId(session);
        match server.prepare_body(op, body) {
            Prepared::Txn { error, .. } => error,
            Prepared::Undecodable => None,
        }
    };
    let set_data = Op::SetData(String::new(), None, -1);
    for (op, session, expected) in [
        (create("", 7), 3, BadArguments),
        (create("", 0), 3, SessionExpired),
        (create("", 0), 2, MarshallingError),
        (delete(""), 3, SessionExpired),
        (delete(""), 2, MarshallingError),
        (set_data.clone(), 3, SessionExpired),
        (set_data.clone(), 2, BadArguments),
        (Op::SetAcl(String::new(), vec![], -1), 2, BadArguments),
    ] {
        let mut null_path = op.body();
        null_path[..4].fill(0xff);
        assert_eq!(
            refused(op.code(), &null_path, session),
            Some(expected),
            "{op:?} of {session}"
        );
        null_path.pop();
        assert_eq!(refused(op.code(), &null_path, session), None, "{op:?} cut");
        assert_eq!(refused(op.code(), &[0xff; 3], session), None, "{op:?} cut");
    }
    assert_eq!(refused(OpCode::Multi, &[], 2), Some(MarshallingError));
    let mut reads = Vec::new();
    reads.put_int(OpCode::GetData.code());
    reads.extend_from_slice(&[0, 0xff, 0xff, 0xff, 0xff]);
    reads.put_string("/open");
    reads.put_bool(false);
    reads.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(refused(OpCode::Multi, &reads, 2), Some(MarshallingError));
    let set_acl = Op::Multi(vec![Op::SetAcl("/open".into(), open(), -1)]).body();
    assert_eq!(refused(OpCode::Multi, &set_acl, 2), Some(MarshallingError));
    let nulls = [[0xff; 4], [0xff; 4], [0xff; 4], [0; 4], [0; 4]].concat();
    assert_eq!(refused(OpCode::Reconfig, &nulls, 2), Some(ReconfigDisabled));
    assert_eq!(refused(OpCode::Reconfig, &nulls[..19], 2), None);
    for op in [
        OpCode::Create,
        OpCode::Create2,
        OpCode::Delete,
        OpCode::SetData,
        OpCode::SetAcl,
    ] {
        assert_eq!(refused(op, &[0, 0, 0, 2, b'/'], 2), None, "{op:?}");
    }
    assert_eq!(server.run(&Op::Multi(vec![])), Ok);
}
