//! Rules worth a sentence each, and what memory they may take.

use super::super::*;
use crate::proto::acl::{Acl, RawAcls};
use crate::proto::error_code::ErrorCode;
use crate::proto::stat::StatPersisted;
use crate::proto::txn::{CreateKind, CreateTxn, Txn, TxnHeader};

fn run(tree: &mut DataTree, txn: Txn<'_>) -> TxnResult {
    let zxid = tree.last_processed_zxid().next();
    let header = TxnHeader {
        client_id: SessionId(7),
        cxid: 1,
        zxid,
        time: 1000 + zxid.0,
        code: txn.code(),
    };
    tree.process_txn(&header, &txn, &mut ())
}

fn create<'a>(path: &'a str, data: &'a [u8]) -> Txn<'a> {
    Txn::Create(CreateTxn {
        kind: CreateKind::Plain,
        path: path.into(),
        data: Some(data),
        acl: RawAcls::from_list(&[Acl::world(31)]),
        ephemeral: false,
        parent_cversion: -1,
    })
}

#[test]
fn a_fresh_tree_looks_as_it_does_everywhere() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<DataTree>();
    let tree = DataTree::new(1);
    assert_eq!((tree.node_count(), tree.approximate_data_size()), (5, 44));
    assert_eq!(tree.descendants_count("/"), Some(3));
    let stat = |path: &str| tree.lookup(path).unwrap().stat();
    assert_eq!((stat("/").cversion, stat("/").num_children), (-1, 1));
    assert_eq!(
        (stat("/zookeeper").cversion, stat("/zookeeper").num_children),
        (-2, 2)
    );
    assert_eq!(stat("/zookeeper/config").aversion, -1);
    let config = tree.lookup("/zookeeper/config").unwrap();
    assert_eq!(
        (config.acl_id(), tree.acl(config.acl_id()).world_perms),
        (AclId(1), 1)
    );
    assert_eq!(tree.lookup("/").unwrap().acl_id(), AclId::BUILT_IN);
    for path in [
        "/a",
        "/zookeeper/",
        "//zookeeper",
        "/zookeeper//config",
        "zookeeper",
        "//",
        "\0",
    ] {
        assert!(tree.lookup(path).is_none(), "{path}");
    }
}

#[test]
fn the_count_of_children_created_stops_at_its_end() {
    let mut tree = DataTree::empty(1);
    let stat = StatPersisted {
        cversion: i32::MAX - 1,
        ..StatPersisted::default()
    };
    tree.load_node("/p", Some(b""), -1, stat).unwrap();
    tree.finish_load(Zxid(5));
    for (path, zxid) in [("/p/a", 6), ("/p/b", 6), ("/p/c", 6)] {
        assert_eq!(run(&mut tree, create(path, b"")).error, ErrorCode::Ok);
        let stat = tree.lookup("/p").unwrap().persisted();
        assert_eq!((stat.cversion, stat.pzxid), (i32::MAX, Zxid(zxid)));
    }
    assert_eq!(
        tree.lookup("/p").unwrap().stat().cversion,
        i32::MAX.wrapping_mul(2) - 3
    );
}

#[test]
fn slots_and_list_numbers_are_used_again() {
    let mut tree = DataTree::new(1);
    for round in 0..10_000 {
        let acl = RawAcls::from_list(&[Acl::world(round)]);
        run(&mut tree, create("/a", b"x"));
        run(
            &mut tree,
            Txn::SetAcl {
                path: "/a".into(),
                acl,
                version: 1,
            },
        );
        let node = tree.lookup("/a").unwrap();
        assert!(
            node.id() < 5 && node.acl_id() < AclId(4),
            "{}, {:?}",
            node.id(),
            node.acl_id()
        );
        assert_eq!(
            run(&mut tree, Txn::Delete { path: "/a".into() }).error,
            ErrorCode::Ok
        );
    }
    assert_eq!(tree.lookup("/").unwrap().stat().cversion, 20_000 - 1);
}

#[test]
fn a_deep_path_is_walked_and_removed_without_recursion() {
    let mut tree = DataTree::new(1);
    let mut path = String::new();
    for _ in 0..2_000 {
        path.push_str("/a");
        run(&mut tree, create(&path, b""));
    }
    assert_eq!(tree.lookup(&path).unwrap().path(), path);
    assert!(tree.lookup(&"/a".repeat(500_000)).is_none());
    assert_eq!(tree.descendants_count("/a"), Some(1_999));
    tree.snapshot_begin();
    run(&mut tree, Txn::Delete { path: "/a".into() });
    let (mut cursor, mut image) = (SnapshotCursor::default(), vec![]);
    assert!(tree.snapshot_chunk(&mut cursor, &mut image, usize::MAX));
    tree.snapshot_end();
    assert_eq!((tree.node_count(), tree.approximate_data_size()), (5, 44));
    assert!(image.len() > 2_000 * 2_000);
}

#[test]
fn closing_a_session_deletes_in_the_order_of_the_list_and_then_the_rest() {
    struct Order(Vec<String>);
    impl ChangeSink for Order {
        fn change(&mut self, change: &Change<'_>) {
            assert_eq!(change.kind, ChangeKind::Deleted);
            self.0.push(change.path.into());
        }
    }
    let mut tree = DataTree::new(1);
    for path in ["/a", "/b", "/c", "/d"] {
        let Txn::Create(mut txn) = create(path, b"") else {
            unreachable!()
        };
        txn.ephemeral = true;
        run(&mut tree, Txn::Create(txn));
    }
    let paths = Some(vec!["/c".into(), "/missing".into(), "/b".into()]);
    let txn = Txn::CloseSession { paths };
    let header = TxnHeader {
        client_id: SessionId(7),
        cxid: 0,
        zxid: Zxid(9),
        time: 0,
        code: txn.code(),
    };
    let mut order = Order(vec![]);
    tree.process_txn(&header, &txn, &mut order);
    assert_eq!(order.0, ["/c", "/b", "/a", "/d"]);
    assert_eq!(tree.ephemerals_count(), 0);
    assert_eq!(tree.lookup("/").unwrap().persisted().pzxid, Zxid(9));
}

#[test]
fn names_whose_hashes_collide_are_told_apart() {
    let mut hashes = hashbrown::HashMap::with_hasher(FixedState::with_seed(0));
    let mut tree = DataTree::new(1);
    for n in 0..2_000 {
        run(&mut tree, create(&format!("/{n}"), b""));
    }
    let (near, far) = (0..)
        .find_map(|n| {
            let name = format!("x{n}");
            let near = hashes.insert(tree.name_hash(4, name.as_bytes()), name.clone());
            near.map(|near| (near, name))
        })
        .unwrap();
    assert_eq!(
        tree.name_hash(4, near.as_bytes()),
        tree.name_hash(4, far.as_bytes())
    );
    let parent = NodeRef::new(&tree, 4).path();
    run(&mut tree, create(&format!("{parent}/{near}"), b""));
    assert!(tree.child(4, near.as_bytes()).is_some() && tree.child(4, far.as_bytes()).is_none());

    let names = (0..).map(|n| format!("y{n}"));
    let (name, parents) = names
        .into_iter()
        .find_map(|name| Some((name.clone(), parents(&tree, &name)?)))
        .unwrap();
    let parent = NodeRef::new(&tree, parents.0).path();
    run(&mut tree, create(&format!("{parent}/{name}"), b""));
    assert!(
        tree.child(parents.0, name.as_bytes()).is_some() && tree.child(parents.1, name.as_bytes()).is_none()
    );
}

/// Two parents, the first of which exists, under which a name has the same hash.
fn parents(tree: &DataTree, name: &str) -> Option<(u32, u32)> {
    let mut near = hashbrown::HashMap::with_hasher(FixedState::with_seed(0));
    near.extend((0..2_000).map(|parent| (tree.name_hash(parent, name.as_bytes()), parent)));
    (10_000..200_000).find_map(|far| Some((*near.get(&tree.name_hash(far, name.as_bytes()))?, far)))
}

#[test]
fn a_small_node_takes_at_most_250_bytes() {
    let mut tree = DataTree::new(1);
    // Just more than fills 65,536 buckets, so that the index is as sparse as it gets.
    let count = 57_400;
    for n in 0..count {
        run(&mut tree, create(&format!("/n{n:06}"), &[b'd'; 100]));
    }
    // Allocators serve 107 bytes of name and data with 112.
    let bytes = tree.nodes.bytes() + tree.index.allocation_size() + count * 112;
    let per_node = bytes / count;
    assert!((230..=250).contains(&per_node), "{per_node} bytes per node");
}

#[test]
fn the_list_of_servers_is_shown_outside_of_transactions() {
    let mut tree = DataTree::new(1);
    let (digest, zxid) = (tree.digest(), tree.last_processed_zxid());
    tree.set_config(b"server.1=h:1:2:participant\nversion=7", Zxid(7), 99);
    let node = tree.lookup("/zookeeper/config").unwrap();
    let stat = node.stat();
    assert_eq!(node.data(), Some(&b"server.1=h:1:2:participant\nversion=7"[..]));
    assert_eq!((stat.mzxid, stat.mtime, stat.version), (Zxid(7), 99, -1));
    tree.set_config(b"server.1=h:1:2:participant\nversion=7", Zxid(7), 100);
    assert_eq!(tree.lookup("/zookeeper/config").unwrap().stat().mtime, 99);
    assert_eq!((tree.digest(), tree.last_processed_zxid()), (digest, zxid));
}
