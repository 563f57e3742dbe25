use super::*;
use crate::auth::DigestAlg;
use crate::ids::Zxid;
use crate::proto::acl::Acl;
use crate::proto::jute::Reader;
use crate::proto::stat::Stat;
use crate::proto::txn::{CreateKind, CreateTxn, Txn, TxnHeader};

const CONN: ConnId = ConnId(3);
const SESSION: SessionId = SessionId(77);

struct World {
    tree: DataTree,
    watches: WatchManager,
    auth: AuthConfig,
    ids: Vec<Id>,
    zxid: i64,
}

fn id(scheme: &str, id: &str) -> Id {
    Id {
        scheme: scheme.into(),
        id: id.into(),
    }
}

impl World {
    fn new() -> World {
        World {
            tree: DataTree::new(1),
            watches: WatchManager::new(1),
            auth: AuthConfig {
                super_digest: None,
                digest_enabled: true,
                digest_alg: DigestAlg::Sha1,
                skip_acl: false,
            },
            ids: vec![id("ip", "127.0.0.1"), id("digest", "bob:hash")],
            zxid: 0,
        }
    }

    fn create(&mut self, path: &str, data: Option<&[u8]>, acl: &[Acl], ephemeral: bool) {
        self.zxid += 1;
        let txn = Txn::Create(CreateTxn {
            kind: CreateKind::Plain,
            path: path.into(),
            data,
            acl: RawAcls::from_list(acl),
            ephemeral,
            parent_cversion: 1,
        });
        let header = TxnHeader {
            client_id: SESSION,
            cxid: 0,
            zxid: Zxid(self.zxid),
            time: 1000,
            code: txn.code(),
        };
        assert_eq!(self.tree.process_txn(&header, &txn, &mut ()).error, ErrorCode::Ok);
    }

    fn run(&self, xid: i32, op: OpCode, body: &[u8]) -> Vec<u8> {
        let context = ReadContext {
            tree: &self.tree,
            watches: &self.watches,
            auth: &self.auth,
            conn: CONN,
            session: SESSION,
            ids: &self.ids,
        };
        assert!(is_read(op));
        let mut out = b"before".to_vec();
        execute(&context, xid, op, body, &mut out);
        if matches!(op, OpCode::GetChildren | OpCode::GetChildren2) {
            let mut again = b"before".to_vec();
            assert!(execute_or_list(&context, xid, op, body, &mut again).is_none());
            assert_eq!(again, out);
        }
        out.split_off(6)
    }

    /// One reply with the xid 5 and the last zxid: its error and its body.
    fn ask(&self, op: OpCode, body: &[u8]) -> (i32, Vec<u8>) {
        self.split(5, &self.run(5, op, body))
    }

    fn split(&self, xid: i32, frame: &[u8]) -> (i32, Vec<u8>) {
        let mut reader = Reader::new(frame);
        assert_eq!(reader.int().unwrap() as usize, frame.len() - 4);
        assert_eq!(reader.int(), Ok(xid));
        assert_eq!(reader.long(), Ok(self.zxid));
        (reader.int().unwrap(), reader.rest().to_vec())
    }

    fn stat(&self, path: &str) -> Vec<u8> {
        bytes(|out| self.tree.lookup(path).unwrap().stat().encode(out))
    }
}

fn bytes(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out);
    out
}

fn watched(path: &str, watch: bool) -> Vec<u8> {
    bytes(|out| {
        out.put_string(path);
        out.put_bool(watch);
    })
}

fn one_string(path: &str) -> Vec<u8> {
    bytes(|out| out.put_string(path))
}

fn open() -> Vec<Acl> {
    vec![Acl::world(perms::ALL)]
}

#[test]
fn data_comes_with_the_stat_and_leaves_a_watch() {
    let mut world = World::new();
    world.create("/a", Some(b"hello"), &open(), false);
    world.create("/null", None, &open(), false);
    let mut expected = bytes(|out| out.put_buffer(Some(b"hello")));
    expected.extend(world.stat("/a"));
    assert_eq!(
        world.ask(OpCode::GetData, &watched("/a", false)),
        (0, expected.clone())
    );
    assert!(world.watches.is_empty());
    assert_eq!(world.ask(OpCode::GetData, &watched("/a", true)), (0, expected));
    assert!(world.watches.contains(WatchKind::Data, "/a", CONN));
    let (_, null) = world.ask(OpCode::GetData, &watched("/null", false));
    assert_eq!((null[..4].to_vec(), null.len()), (vec![0xff; 4], 72));
    assert_eq!(world.ask(OpCode::GetData, &watched("/b", true)), (-101, vec![]));
    assert_eq!(
        world.ask(OpCode::GetData, &watched("", false)).0,
        0,
        "the root has two names"
    );
    assert_eq!(world.watches.count(), 1);
}

#[test]
fn exists_watches_what_is_missing() {
    let mut world = World::new();
    world.create("/a", None, &open(), false);
    assert_eq!(
        world.ask(OpCode::Exists, &watched("/a", true)),
        (0, world.stat("/a"))
    );
    assert_eq!(world.ask(OpCode::Exists, &watched("/b", true)), (-101, vec![]));
    assert_eq!(world.ask(OpCode::Exists, &watched("/b\0", true)), (-8, vec![]));
    assert!(world.watches.contains(WatchKind::Data, "/b", CONN));
    assert_eq!(world.watches.count(), 2);
}

#[test]
fn children_come_with_and_without_the_stat() {
    let mut world = World::new();
    world.create("/a", None, &open(), false);
    world.create("/a/x", None, &open(), false);
    world.create("/a/y", None, &open(), false);
    let (error, body) = world.ask(OpCode::GetChildren, &watched("/a", true));
    let mut names: Vec<_> = Reader::new(&body).strings().unwrap().unwrap().iter().collect();
    names.sort_unstable();
    assert_eq!((error, names, body.len()), (0, vec!["x".into(), "y".into()], 14));
    let (error, body2) = world.ask(OpCode::GetChildren2, &watched("/a", true));
    assert_eq!((error, body2), (0, [body, world.stat("/a")].concat()));
    assert!(world.watches.contains(WatchKind::Children, "/a", CONN));
    assert_eq!(world.watches.count(), 1);
    assert_eq!(
        world.ask(OpCode::GetChildren2, &watched("/b", true)),
        (-101, vec![])
    );
    assert_eq!(
        world.ask(OpCode::GetAllChildrenNumber, &one_string("/a")),
        (0, vec![0, 0, 0, 2])
    );
    assert_eq!(
        world.ask(OpCode::GetAllChildrenNumber, &one_string("/")),
        (0, vec![0, 0, 0, 6])
    );
}

#[test]
fn names_are_listed_the_way_java_writes_them() {
    let mut world = World::new();
    let long = "a".repeat(0xf0);
    world.create("/a", None, &open(), false);
    for (count, name) in (1..).zip(["é", "😀", &long]) {
        world.create(&format!("/a/{name}"), None, &open(), false);
        let expected = bytes(|out| {
            out.put_count(count);
            let children = world.tree.lookup("/a").unwrap().children();
            children.for_each(|child| out.put_string(child.name()));
        });
        assert_eq!(
            world.ask(OpCode::GetChildren, &watched("/a", false)),
            (0, expected)
        );
    }
}

#[test]
fn who_may_not_read_learns_nothing_and_leaves_no_watch() {
    let mut world = World::new();
    let acl = [Acl {
        perms: perms::ALL & !perms::READ,
        id: id("digest", "bob:hash"),
    }];
    world.create("/a", Some(b"x"), &acl, false);
    for op in [
        OpCode::Exists,
        OpCode::GetData,
        OpCode::GetChildren,
        OpCode::GetChildren2,
    ] {
        assert_eq!(world.ask(op, &watched("/a", true)), (-102, vec![]), "{op:?}");
    }
    assert_eq!(
        world.ask(OpCode::GetAllChildrenNumber, &one_string("/a")),
        (-102, vec![])
    );
    assert!(world.watches.is_empty());
    world.ids.push(id("super", ""));
    assert_eq!(world.ask(OpCode::GetData, &watched("/a", true)).0, 0);
}

#[test]
fn cve_2019_0201_an_acl_is_masked_for_those_who_only_read() {
    let mut world = World::new();
    let acl = [
        Acl::world(perms::READ),
        Acl {
            perms: perms::ADMIN,
            id: id("digest", "bob:hash"),
        },
    ];
    world.create("/a", None, &acl, false);
    let reply = |world: &World, list: &[Acl]| {
        (
            0,
            [RawAcls::from_list(list).bytes().to_vec(), world.stat("/a")].concat(),
        )
    };
    assert_eq!(world.ask(OpCode::GetAcl, &one_string("/a")), reply(&world, &acl));
    world.ids.clear();
    let mut masked = acl;
    masked[1].id.id = "bob:x".into();
    assert_eq!(
        world.ask(OpCode::GetAcl, &one_string("/a")),
        reply(&world, &masked)
    );
    assert_eq!(world.ask(OpCode::GetAcl, &one_string("/b")), (-101, vec![]));
    let nobody = [Acl {
        perms: perms::READ | perms::ADMIN,
        id: id("digest", "eve:hash"),
    }];
    world.create("/c", None, &nobody, false);
    assert_eq!(world.ask(OpCode::GetAcl, &one_string("/c")), (-102, vec![]));
}

#[test]
fn a_session_sees_its_own_ephemerals_below_a_prefix() {
    let mut world = World::new();
    world.create("/a", None, &open(), false);
    world.create("/a/e1", None, &open(), true);
    world.create("/e2", None, &open(), true);
    let ask = |prefix: &[u8]| {
        let (error, body) = world.ask(OpCode::GetEphemerals, prefix);
        let paths = Reader::new(&body).strings().unwrap().unwrap();
        (
            error,
            paths.iter().map(|path| path.into_owned()).collect::<Vec<_>>(),
        )
    };
    let all = || vec!["/a/e1".to_owned(), "/e2".to_owned()];
    assert_eq!(ask(&one_string("/")), (0, all()));
    assert_eq!(ask(&one_string("  ")), (0, all()));
    assert_eq!(ask(&[0xff; 4]), (0, all()));
    assert_eq!(ask(&one_string("/a")), (0, vec!["/a/e1".to_owned()]));
    assert_eq!(ask(&one_string("/b")), (0, vec![]));
}

#[test]
fn a_ping_has_its_own_xid_and_who_am_i_lists_identities() {
    let world = World::new();
    assert_eq!(world.split(-2, &world.run(9, OpCode::Ping, b"junk")), (0, vec![]));
    let expected = bytes(|out| {
        out.put_count(2);
        for text in ["ip", "127.0.0.1", "digest", "bob"] {
            out.put_string(text);
        }
    });
    assert_eq!(world.ask(OpCode::WhoAmI, &[]), (0, expected));
}

#[test]
fn catch_up_events_come_before_the_reply() {
    let mut world = World::new();
    world.create("/a", None, &open(), false);
    let body = bytes(|out| {
        out.put_long(0);
        out.put_count(2);
        out.put_string("/gone");
        out.put_string("/a");
        out.put_count(0);
        out.put_count(0);
    });
    let frames = world.run(-8, OpCode::SetWatches, &body);
    let mut events = Vec::new();
    event::encode_frame(event::EventType::NodeDeleted, "/gone", Zxid(-1), &mut events);
    event::encode_frame(event::EventType::NodeDataChanged, "/a", Zxid(-1), &mut events);
    assert_eq!(frames[..events.len()], events);
    assert_eq!(world.split(-8, &frames[events.len()..]), (0, vec![]));
}

#[test]
fn persistent_watches_are_set_again_without_a_word() {
    let world = World::new();
    let body = bytes(|out| {
        out.put_long(0);
        (0..3).for_each(|_| out.put_count(0));
        for path in ["/gone", "/"] {
            out.put_count(1);
            out.put_string(path);
        }
    });
    assert_eq!(world.ask(OpCode::SetWatches2, &body), (0, vec![]));
    assert!(world.watches.contains(WatchKind::Persistent, "/gone", CONN));
    assert!(world.watches.contains(WatchKind::PersistentRecursive, "/", CONN));
    assert_eq!(world.ask(OpCode::SetWatches2, &body[..20]), (-5, vec![]));
    // The older operation has no such lists.
    assert_eq!(world.ask(OpCode::SetWatches, &body[..20]), (0, vec![]));
}

fn one_watch(path: &str, code: i32) -> Vec<u8> {
    bytes(|out| {
        out.put_string(path);
        out.put_int(code);
    })
}

#[test]
fn watches_are_checked_and_removed() {
    let world = World::new();
    world.watches.add(WatchMode::Data, "/a", CONN);
    let body = |kind| one_watch("/a", kind);
    assert_eq!(world.ask(OpCode::CheckWatches, &body(2)), (0, vec![]));
    for kind in [1, 4, 5] {
        assert_eq!(world.ask(OpCode::CheckWatches, &body(kind)), (-121, vec![]));
        assert_eq!(world.ask(OpCode::RemoveWatches, &body(kind)), (-121, vec![]));
    }
    for kind in [0, 6, -1] {
        assert_eq!(world.ask(OpCode::CheckWatches, &body(kind)), (-5, vec![]));
        assert_eq!(world.ask(OpCode::RemoveWatches, &body(kind)), (-5, vec![]));
    }
    assert_eq!(world.ask(OpCode::RemoveWatches, &body(3)), (0, vec![]));
    assert_eq!(world.ask(OpCode::RemoveWatches, &body(3)), (-121, vec![]));
    assert_eq!(world.ask(OpCode::RemoveWatches, &[0xff; 8]), (-5, vec![]));
    assert_eq!(world.ask(OpCode::RemoveWatches, &body(3)[..5]), (-5, vec![]));
}

#[test]
fn a_watch_is_added_on_any_path() {
    let world = World::new();
    let added = (0, vec![0; 4]);
    assert_eq!(world.ask(OpCode::AddWatch, &one_watch("/gone", 0)), added);
    assert_eq!(world.ask(OpCode::AddWatch, &one_watch("no path", 1)), added);
    assert!(world.watches.contains(WatchKind::Persistent, "/gone", CONN));
    assert!(
        world
            .watches
            .contains(WatchKind::PersistentRecursive, "no path", CONN)
    );
    for code in [2, -1] {
        assert_eq!(world.ask(OpCode::AddWatch, &one_watch("/a", code)), (-5, vec![]));
    }
    assert_eq!(
        world.ask(OpCode::AddWatch, &one_watch("/a", 0)[..5]),
        (-5, vec![])
    );
    assert_eq!(world.watches.count(), 3);
    // Even on none.
    let null = |code| [[0xff; 4], i32::to_be_bytes(code)].concat();
    assert_eq!(world.ask(OpCode::AddWatch, &null(1)), added);
    assert_eq!(world.ask(OpCode::CheckWatches, &null(5)), (0, vec![]));
    assert_eq!(world.ask(OpCode::RemoveWatches, &null(3)), (0, vec![]));
    assert_eq!(world.watches.count(), 3);
}

#[test]
fn what_cannot_be_decoded_is_answered() {
    let world = World::new();
    for op in [
        OpCode::Exists,
        OpCode::GetAcl,
        OpCode::SetWatches,
        OpCode::SetWatches2,
        OpCode::AddWatch,
        OpCode::CheckWatches,
        OpCode::RemoveWatches,
        OpCode::MultiRead,
        OpCode::GetEphemerals,
    ] {
        assert_eq!(world.ask(op, &[0, 0, 0]), (-5, vec![]), "{op:?}");
    }
    assert_eq!(
        world.ask(OpCode::GetData, &[0xff, 0xff, 0xff, 0xff, 0]),
        (-5, vec![]),
        "a null path"
    );
}

fn multi_read(list: &[(i32, &str)]) -> Vec<u8> {
    bytes(|out| {
        for (code, path) in list {
            multi_read_header(out, *code, false);
            out.extend(watched(path, true));
        }
        multi_read_header(out, -1, true);
    })
}

fn multi_read_header(out: &mut Vec<u8>, code: i32, is_done: bool) {
    out.put_int(code);
    out.put_bool(is_done);
    out.put_int(-1);
}

#[test]
fn each_read_of_many_has_its_own_outcome() {
    let mut world = World::new();
    world.create("/a", Some(b"x"), &open(), false);
    world.create("/a/b", None, &[Acl::world(perms::WRITE)], false);
    let body = multi_read(&[(4, "/a"), (4, "/gone"), (8, "/a"), (8, "/a/b")]);
    let expected = bytes(|out| {
        out.extend([0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 1, b'x']);
        out.extend(world.stat("/a"));
        out.extend([
            0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, 0xff, 0x9b, 0xff, 0xff, 0xff, 0x9b,
        ]);
        out.extend([0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, b'b']);
        out.extend([
            0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, 0xff, 0x9a, 0xff, 0xff, 0xff, 0x9a,
        ]);
        multi_read_header(out, -1, true);
    });
    assert_eq!(world.ask(OpCode::MultiRead, &body), (0, expected));
    assert!(world.watches.is_empty());
    let end = bytes(|out| multi_read_header(out, -1, true));
    assert_eq!(world.ask(OpCode::MultiRead, &multi_read(&[])), (0, end.clone()));
    let writes = bytes(|out| {
        multi_read_header(out, 2, false);
        out.put_string("/a");
        out.put_int(-1);
        multi_read_header(out, -1, true);
    });
    assert_eq!(world.ask(OpCode::MultiRead, &writes), (-5, end));
}

#[test]
fn cve_2026_100302_many_reads_of_much_are_refused_before_they_are_built() {
    let mut world = World::new();
    let data = vec![7; 1 << 20];
    world.create("/a", Some(&data), &open(), false);
    assert_eq!(world.ask(OpCode::MultiRead, &multi_read(&[(4, "/a"); 31])).0, 0);
    assert_eq!(
        world.ask(OpCode::MultiRead, &multi_read(&[(4, "/a"); 32])),
        (-5, vec![])
    );
    let name = format!("/a/{}", "n".repeat(1 << 20));
    world.create(&name, None, &open(), false);
    assert_eq!(world.ask(OpCode::MultiRead, &multi_read(&[(8, "/a"); 30])).0, 0);
    assert_eq!(
        world.ask(OpCode::MultiRead, &multi_read(&[(8, "/a"); 32])),
        (-5, vec![])
    );
}

#[test]
fn a_list_of_strings_stays_below_its_bound() {
    let mut out = vec![9];
    assert_eq!(put_strings(&mut out, 18, [&b"ab"[..], b"cd"].into_iter()), Ok(()));
    assert_eq!(out.len(), 17);
    assert_eq!(
        put_strings(&mut Vec::new(), 16, [&b"ab"[..], b"cd"].into_iter()),
        Err(ErrorCode::MarshallingError)
    );
}

#[test]
fn a_reply_shows_the_zxid_of_its_state() {
    let mut world = World::new();
    world.create("/a", None, &open(), false);
    world.tree.set_last_processed_zxid(Zxid(0x1_0000_0000));
    world.zxid = 0x1_0000_0000;
    assert_eq!(
        world.ask(OpCode::Exists, &watched("/a", false)).1.len(),
        size_of::<Stat>().min(68)
    );
}
