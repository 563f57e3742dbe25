//! Well-formed bytes of every kind that is decoded.

use zkserver::ids::{SessionId, Zxid};
use zkserver::proto::acl::{Acl, Id, RawAcls, perms};
use zkserver::proto::jute::Put;
use zkserver::proto::opcode::OpCode;
use zkserver::proto::txn::{self, CreateKind, CreateTxn, Txn, TxnDigest, TxnHeader};

pub fn bytes(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out);
    out
}

pub fn acls() -> Vec<Vec<u8>> {
    let digest = Acl {
        perms: perms::READ,
        id: Id {
            scheme: "digest".into(),
            id: "bob:smGaoVKd/cQkjm7b88GyorAUz20=".into(),
        },
    };
    let ip = Acl {
        perms: -1,
        id: Id {
            scheme: "ip".into(),
            id: "10.0.0.0/8".into(),
        },
    };
    let auth = Acl {
        perms: perms::ALL,
        id: Id {
            scheme: "auth".into(),
            id: String::new(),
        },
    };
    [
        vec![Acl::world(31)],
        vec![],
        vec![digest, ip, Acl::world(1)],
        vec![auth],
    ]
    .iter()
    .map(|list| RawAcls::from_list(list).bytes().to_vec())
    .collect()
}

pub fn connects() -> Vec<Vec<u8>> {
    let connect = |passwd: Option<&[u8]>, read_only: &[u8]| {
        bytes(|out| {
            out.put_int(0);
            out.put_long(7);
            out.put_int(10_000);
            out.put_long(0x1234);
            out.put_buffer(passwd);
            out.extend_from_slice(read_only);
        })
    };
    vec![
        connect(Some(&[7; 16]), &[0]),
        connect(None, &[]),
        connect(Some(&[]), &[1]),
    ]
}

/// Bodies of requests under every operation that has one.
pub fn bodies() -> Vec<(OpCode, Vec<u8>)> {
    let path = || bytes(|out| out.put_string("/a/b"));
    let read = |watch| {
        bytes(|out| {
            out.put_string("/a");
            out.put_bool(watch);
        })
    };
    let set_watches = |lists: &[&[&str]]| {
        bytes(|out| {
            out.put_long(3);
            for paths in lists {
                out.put_count(paths.len());
                paths.iter().for_each(|path| out.put_string(path));
            }
        })
    };
    let one_shot: [&[&str]; 3] = [&["/a", "/gone"], &["/later"], &[]];
    let persistent: [&[&str]; 2] = [&["/a", ""], &["/"]];
    let auth = bytes(|out| {
        out.put_int(0);
        out.put_string("digest");
        out.put_buffer(Some(b"bob:secret"));
    });
    let mut bodies = writes();
    bodies.extend([
        (OpCode::Exists, read(true)),
        (OpCode::GetData, read(false)),
        (OpCode::GetChildren, read(true)),
        (OpCode::GetChildren2, read(false)),
        (OpCode::GetAcl, path()),
        (OpCode::Sync, path()),
        (OpCode::GetEphemerals, path()),
        (OpCode::GetAllChildrenNumber, path()),
        (OpCode::SetWatches, set_watches(&one_shot)),
        (
            OpCode::SetWatches2,
            set_watches(&[&one_shot[..], &persistent].concat()),
        ),
        (OpCode::AddWatch, versioned("/a", 1)),
        (OpCode::CheckWatches, versioned("/a", 2)),
        (OpCode::RemoveWatches, versioned("/a", 3)),
        (OpCode::Auth, auth),
        (OpCode::Sasl, bytes(|out| out.put_buffer(Some(b"token")))),
        (OpCode::Multi, multi(&writes())),
        (OpCode::Multi, multi(&[])),
        (
            OpCode::MultiRead,
            multi(&[(OpCode::GetData, read(true)), (OpCode::GetChildren, read(false))]),
        ),
    ]);
    bodies
}

/// Bodies of what may stand in a multi, and of setACL.
pub fn writes() -> Vec<(OpCode, Vec<u8>)> {
    let mut writes = Vec::new();
    for (op, flags) in [
        (OpCode::Create, 0),
        (OpCode::Create2, 3),
        (OpCode::CreateContainer, 4),
    ] {
        writes.push((op, create("/a/b", flags)));
    }
    let with_ttl = [create("/ttl", 5), 1000_i64.to_be_bytes().to_vec()].concat();
    let set_data = bytes(|out| {
        out.put_string("/a");
        out.put_buffer(Some(b"data"));
        out.put_int(-1);
    });
    let set_acl = bytes(|out| {
        out.put_string("/a");
        out.extend_from_slice(&acls()[2]);
        out.put_int(0);
    });
    writes.extend([
        (OpCode::CreateTtl, with_ttl),
        (OpCode::Delete, versioned("/a/b", -1)),
        (OpCode::Check, versioned("/a", 0)),
        (OpCode::SetData, set_data),
        (OpCode::SetAcl, set_acl),
    ]);
    writes
}

pub fn txns() -> Vec<Vec<u8>> {
    let raw = acls();
    let acl = || {
        RawAcls::decode(&mut zkserver::proto::jute::Reader::new(&raw[0]))
            .expect("an ACL")
            .into_owned()
    };
    let create = |kind, path: &'static str, ephemeral| {
        Txn::Create(CreateTxn {
            kind,
            path: path.into(),
            data: Some(b"data"),
            acl: acl(),
            ephemeral,
            parent_cversion: 1,
        })
    };
    let set_data = || Txn::SetData {
        path: "/a".into(),
        data: None,
        version: 3,
    };
    let all = vec![
        Txn::CreateSession { timeout_ms: 30_000 },
        Txn::CloseSession {
            paths: Some(vec!["/e".into(), "/f".into()]),
        },
        Txn::CloseSession { paths: None },
        Txn::Error(-101),
        create(CreateKind::Plain, "/a", false),
        create(CreateKind::WithStat, "/a/b", true),
        create(CreateKind::Container, "/a", false),
        create(CreateKind::Ttl(5000), "/t", false),
        Txn::Delete { path: "/a/b".into() },
        Txn::DeleteContainer { path: "/a".into() },
        set_data(),
        Txn::SetAcl {
            path: "/a".into(),
            acl: acl(),
            version: 1,
        },
        Txn::Multi(vec![
            create(CreateKind::Plain, "/m", false),
            set_data(),
            Txn::Check {
                path: "/a".into(),
                version: 4,
            },
            Txn::Delete { path: "/m".into() },
        ]),
        Txn::Multi(vec![Txn::Error(0), Txn::Error(-101)]),
    ];
    all.iter().map(logged).collect()
}

/// Lists of as little as an element can be, `count` times, by the name of the target that decodes them.
pub fn long_lists(count: usize) -> Vec<(&'static str, Vec<u8>)> {
    let header = logged(&Txn::Error(0))[..28].to_vec();
    let counted = |code: i32, element: &[u8]| {
        let mut bytes = header.clone();
        bytes.put_int(code);
        bytes.put_count(count);
        bytes.extend(element.repeat(count));
        bytes
    };
    let empty_strings = bytes(|out| {
        out.put_long(0);
        for _ in 0..5 {
            out.put_count(count);
            out.extend(vec![0; 4 * count]);
        }
    });
    let error = [
        &(-1_i32).to_be_bytes()[..],
        &4_i32.to_be_bytes(),
        &0_i32.to_be_bytes(),
    ]
    .concat();
    let empty_entries = [&(count as u32).to_be_bytes()[..], &vec![0; 12 * count]].concat();
    vec![
        ("setWatches", empty_strings),
        ("multi", multi(&vec![(OpCode::Delete, versioned("", -1)); count])),
        ("acl", empty_entries.clone()),
        ("acl entries", empty_entries),
        ("txn", counted(OpCode::CloseSession.code(), &[0; 4])),
        ("txn", counted(OpCode::Multi.code(), &error)),
    ]
}

fn logged(txn: &Txn<'_>) -> Vec<u8> {
    let header = TxnHeader {
        client_id: SessionId(0x1234),
        cxid: 7,
        zxid: Zxid(9),
        time: 1_795_223_253_724,
        code: txn.code(),
    };
    let digest = TxnDigest {
        version: 2,
        digest: 0x1_20b5_deb4,
    };
    bytes(|out| txn::encode(&header, txn, Some(digest), out))
}

fn create(path: &str, flags: i32) -> Vec<u8> {
    bytes(|out| {
        out.put_string(path);
        out.put_buffer(Some(b"hello"));
        out.extend_from_slice(&acls()[0]);
        out.put_int(flags);
    })
}

fn versioned(path: &str, version: i32) -> Vec<u8> {
    bytes(|out| {
        out.put_string(path);
        out.put_int(version);
    })
}

fn multi(operations: &[(OpCode, Vec<u8>)]) -> Vec<u8> {
    bytes(|out| {
        for (op, body) in operations.iter().filter(|(op, _)| *op != OpCode::SetAcl) {
            out.put_int(op.code());
            out.put_bool(false);
            out.put_int(-1);
            out.extend_from_slice(body);
        }
        out.put_int(-1);
        out.put_bool(true);
        out.put_int(-1);
    })
}
