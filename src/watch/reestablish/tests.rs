use super::*;
use crate::ids::{SessionId, Zxid};
use crate::proto::acl::{Acl, RawAcls, perms};
use crate::proto::jute::{Put, Reader};
use crate::proto::txn::{CreateKind, CreateTxn, Txn, TxnHeader};
use crate::watch::WatchKind;

const CONN: ConnId = ConnId(4);

fn apply(tree: &mut DataTree, zxid: i64, txn: &Txn<'_>) {
    let header = TxnHeader {
        client_id: SessionId(1),
        cxid: 0,
        zxid: Zxid(zxid),
        time: 0,
        code: txn.code(),
    };
    tree.process_txn(&header, txn, &mut ());
}

fn create(path: &str) -> Txn<'_> {
    Txn::Create(CreateTxn {
        kind: CreateKind::Plain,
        path: path.into(),
        data: None,
        acl: RawAcls::from_list(&[Acl::world(perms::ALL)]),
        ephemeral: false,
        parent_cversion: 1,
    })
}

fn list(paths: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_count(paths.len());
    paths.iter().for_each(|path| out.put_string(path));
    out
}

fn events(data: &[&str], exist: &[&str], child: &[&str]) -> (Vec<(EventType, String)>, WatchManager) {
    events_of([data, exist, child, &[], &[]])
}

/// `/a` made at 1, its data changed at 5; `/b` made at 2, its child at 6; the client has seen 4.
fn events_of(lists: [&[&str]; 5]) -> (Vec<(EventType, String)>, WatchManager) {
    let mut tree = DataTree::new(1);
    apply(&mut tree, 1, &create("/a"));
    apply(&mut tree, 2, &create("/b"));
    let txn = Txn::SetData {
        path: "/a".into(),
        data: None,
        version: 1,
    };
    apply(&mut tree, 5, &txn);
    apply(&mut tree, 6, &create("/b/c"));
    let watches = WatchManager::new(1);
    let bytes = lists.map(list);
    let [data, exist, child, persistent, persistent_recursive] = bytes.each_ref().map(|bytes| {
        let strings = Reader::new(bytes).strings();
        strings.unwrap()
    });
    let request = SetWatchesRequest {
        relative_zxid: Zxid(4),
        data,
        exist,
        child,
        persistent,
        persistent_recursive,
    };
    let mut events = Vec::new();
    let set = set_watches(&tree, &watches, CONN, &request, &mut |event, path| {
        events.push((event, path.to_owned()))
    });
    assert_eq!(set, Ok(()));
    (events, watches)
}

#[test]
fn a_null_list_ends_the_request_behind_the_lists_before_it() {
    let tree = DataTree::new(0);
    let watches = WatchManager::new(0);
    let bytes = list(&["/gone"]);
    let gone = Reader::new(&bytes).strings().unwrap();
    let request = SetWatchesRequest {
        relative_zxid: Zxid(4),
        data: gone,
        exist: None,
        child: gone,
        persistent: gone,
        persistent_recursive: gone,
    };
    let mut events = Vec::new();
    let set = set_watches(&tree, &watches, CONN, &request, &mut |event, _| {
        events.push(event)
    });
    assert_eq!(
        (set, events),
        (Err(ErrorCode::MarshallingError), vec![EventType::NodeDeleted])
    );
    assert!(watches.is_empty());
}

#[test]
fn persistent_watches_are_set_without_events() {
    let paths: &[&str] = &["/a", "/b", "/gone"];
    let (told, watches) = events_of([&[], &[], &[], paths, &["/a", "/"]]);
    assert_eq!(told, []);
    for path in paths {
        assert!(watches.contains(WatchKind::Persistent, path, CONN));
    }
    for path in ["/a", "/"] {
        assert!(watches.contains(WatchKind::PersistentRecursive, path, CONN));
    }
    assert!(!watches.contains(WatchKind::Persistent, "/", CONN));
    assert_eq!(watches.count(), 3 * 2 + 1);
}

#[test]
fn a_null_path_is_kept_where_nothing_is_looked_up() {
    let tree = DataTree::new(0);
    let watches = WatchManager::new(0);
    let bytes = [0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff];
    let null = Reader::new(&bytes).nullable_strings().unwrap();
    let none = Some(Strings::default());
    let mut request = SetWatchesRequest {
        relative_zxid: Zxid(4),
        data: none,
        exist: none,
        child: none,
        persistent: null,
        persistent_recursive: null,
    };
    let set = |request: &SetWatchesRequest<'_>| set_watches(&tree, &watches, CONN, request, &mut |_, _| {});
    assert_eq!(set(&request), Ok(()));
    assert_eq!(watches.count(), 2);
    request.exist = null;
    assert_eq!(set(&request), Err(ErrorCode::MarshallingError));
}

#[test]
fn what_changed_is_told_and_what_did_not_is_watched() {
    let (told, watches) = events(&["/a", "/b", "/gone"], &["/a", "/later"], &["/b", "/a", "/gone"]);
    let expected = [
        (EventType::NodeDataChanged, "/a"),
        (EventType::NodeDeleted, "/gone"),
        (EventType::NodeCreated, "/a"),
        (EventType::NodeChildrenChanged, "/b"),
        (EventType::NodeDeleted, "/gone"),
    ];
    assert_eq!(told, expected.map(|(event, path)| (event, path.to_owned())));
    assert!(watches.contains(WatchKind::Data, "/b", CONN));
    assert!(watches.contains(WatchKind::Data, "/later", CONN));
    assert!(watches.contains(WatchKind::Children, "/a", CONN));
    assert_eq!(watches.count(), 3);
}

#[test]
fn what_the_client_has_seen_itself_is_not_told() {
    let (told, watches) = events(&["/b"], &[], &["/a", "/b/c"]);
    assert_eq!(
        told,
        [(EventType::NodeChildrenChanged, "/b/c".to_owned())],
        "made after what was seen"
    );
    assert_eq!(watches.count(), 2);
}
