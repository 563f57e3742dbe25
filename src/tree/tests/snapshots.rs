//! Images taken while transactions go on: ours, of one moment, and such as other servers take.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::*;
use super::history::{Choice, Step, apply, choices, proper_step};
use super::model::{Model, ModelNode, acl_of};
use crate::proto::acl::{Acl, RawAcls};
use crate::proto::jute::Reader;
use crate::proto::stat::StatPersisted;
use crate::proto::txn::{CreateKind, CreateTxn, Txn, TxnHeader};

type ImageNode = (String, Option<Vec<u8>>, i64, StatPersisted);

fn decode(image: &[u8]) -> Vec<ImageNode> {
    let mut reader = Reader::new(image);
    let mut nodes = vec![];
    while !reader.is_empty() {
        let path = reader.string().unwrap().into_owned();
        let data = reader.buffer().unwrap().map(<[u8]>::to_vec);
        nodes.push((
            path,
            data,
            reader.long().unwrap(),
            StatPersisted::decode(&mut reader).unwrap(),
        ));
    }
    nodes
}

fn load(head: &SnapshotHead, nodes: &[ImageNode]) -> DataTree {
    let mut tree = DataTree::empty(99);
    for &(session, timeout) in &head.sessions {
        tree.load_session(session, timeout);
    }
    for (id, acl) in &head.acls {
        tree.load_acl(*id, acl).unwrap();
    }
    for (path, data, acl, stat) in nodes {
        tree.load_node(path, data.as_deref(), *acl, *stat).unwrap();
    }
    tree.finish_load(head.zxid);
    tree
}

fn go_on(tree: &mut DataTree, model: &mut Model, steps: &[Choice]) {
    for &choice in steps {
        let step = proper_step(model, choice);
        apply(tree, model, &step);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn an_image_shows_the_moment_it_was_begun(
        before in choices(80),
        during in vec((vec(any::<Choice>(), 0..6), 0..600usize), 1..60),
        is_cut_short in any::<bool>(),
        after in choices(30),
    ) {
        let (mut tree, mut model) = (DataTree::new(5), Model::new());
        go_on(&mut tree, &mut model, &before);
        if is_cut_short {
            // A pass that was given up leaves no trace.
            tree.snapshot_begin();
            go_on(&mut tree, &mut model, &after);
            tree.snapshot_end();
        }
        let then = model.clone();
        let head = tree.snapshot_begin();
        let expected = (then.zxid, then.digest(), then.nodes.len());
        prop_assert_eq!((head.zxid, head.digest, head.nodes_estimate), expected);
        let (mut cursor, mut image, mut is_finished) = (SnapshotCursor::default(), vec![], false);
        for (steps, bytes_max) in during {
            go_on(&mut tree, &mut model, &steps);
            model.assert_equals(&tree);
            let length = image.len();
            is_finished = tree.snapshot_chunk(&mut cursor, &mut image, bytes_max);
            prop_assert!(is_finished || image.len() >= length + bytes_max.max(1));
        }
        while !is_finished {
            is_finished = tree.snapshot_chunk(&mut cursor, &mut image, 100);
        }
        let length = image.len();
        prop_assert!(tree.snapshot_chunk(&mut cursor, &mut image, 100) && image.len() == length);
        tree.snapshot_end();
        model.assert_equals(&tree);
        go_on(&mut tree, &mut model, &after);
        model.assert_equals(&tree);

        let nodes = decode(&image);
        prop_assert_eq!(nodes.len(), then.nodes.len());
        then.assert_equals(&load(&head, &nodes));
    }

    #[test]
    fn a_fuzzy_image_and_the_log_lead_to_the_same_tree(
        before in choices(60),
        during in vec(vec(any::<Choice>(), 0..4), 1..40),
    ) {
        let (mut tree, mut model) = (DataTree::new(6), Model::new());
        go_on(&mut tree, &mut model, &before);
        let head = tree.snapshot_begin();
        tree.snapshot_end();
        let mut acl_ids: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
        for (id, acl) in &head.acls {
            acl_ids.insert(acl.bytes().to_vec(), *id);
        }
        let (mut log, mut image, mut during) = (vec![], vec![], during.into_iter());
        let mut todo = vec![String::new()];
        while let Some(path) = todo.pop() {
            if let Some(node) = model.nodes.get(&path) {
                image.push(fuzzy_node(&path, node, &mut acl_ids));
                todo.extend(model.children(&path).cloned());
            }
            for choice in during.next().into_iter().flatten() {
                let step: Step = proper_step(&model, choice);
                apply(&mut tree, &mut model, &step);
                log.push(step);
            }
        }
        let mut again = load(&head, &image);
        for (header, txn) in &log {
            again.process_txn(header, txn, &mut ());
        }
        model.assert_equals(&again);
    }
}

/// Lists that came up after the table of lists was written have ids that it does not hold.
fn fuzzy_node(path: &str, node: &ModelNode, acl_ids: &mut BTreeMap<Vec<u8>, i64>) -> ImageNode {
    let next = 1000 + acl_ids.len() as i64;
    let id = node
        .acl
        .as_ref()
        .map_or(-1, |acl| *acl_ids.entry(acl.clone()).or_insert(next));
    (path.into(), node.data.clone(), id, node.stat)
}

#[test]
fn zk_3306_a_node_whose_list_is_missing_is_open_to_nobody() {
    let mut tree = DataTree::empty(0);
    tree.load_node("", None, -1, StatPersisted::default()).unwrap();
    tree.load_node("/a", Some(b"x"), 17, StatPersisted::default())
        .unwrap();
    tree.finish_load(Zxid(9));
    let node = tree.lookup("/a").unwrap();
    let acl = tree.acl(node.acl_id());
    assert_eq!((acl.world_perms, acl.list.len()), (0, 1));
    assert_eq!(tree.acl(AclId(4_000_000_000)).world_perms, 0);
    assert_eq!(tree.lookup("/").unwrap().data(), None);
    assert_eq!(acl_of(&tree, AclId(0)), None);
    assert_eq!(tree.node_count(), 6, "the nodes of every tree were added");
}

#[test]
fn nodes_may_come_in_any_order_that_has_parents_first() {
    let mut tree = DataTree::empty(0);
    let paths = ["/a", "/b", "/a/x", "/b/y", "/b/x", "/a/x/z", "/c", "/b/x/z"];
    for path in paths {
        tree.load_node(path, None, -1, StatPersisted::default()).unwrap();
    }
    tree.finish_load(Zxid(1));
    for path in paths {
        assert_eq!(tree.lookup(path).unwrap().path(), path);
    }
    assert_eq!(tree.node_count(), 4 + paths.len() + 1);
}

#[test]
fn what_is_not_a_tree_is_refused_with_its_path() {
    let stat = StatPersisted::default();
    let mut tree = DataTree::empty(0);
    tree.load_node("/a", None, -1, stat).unwrap();
    let said = |result: Result<(), LoadError>| result.unwrap_err().to_string();
    assert_eq!(
        said(tree.load_node("/b/c", None, -1, stat)),
        r#"node "/b/c" comes without its parent"#
    );
    assert_eq!(
        said(tree.load_node("//a", None, -1, stat)),
        r#"node "//a" comes without its parent"#
    );
    assert_eq!(
        said(tree.load_node("/a", None, -1, stat)),
        r#"node "/a" comes twice"#
    );
    assert_eq!(
        said(tree.load_node("a", None, -1, stat)),
        r#""a" is not the path of a node"#
    );
    assert_eq!(
        said(tree.load_node("/a/", None, -1, stat)),
        r#""/a/" is not the path of a node"#
    );
    let null = RawAcls::decode(&mut Reader::new(&[0xff; 4])).unwrap();
    assert_eq!(said(tree.load_acl(3, &null)), "ACL 3 is null");
}

/// The tree of a fuzzy image at zxid 5: `/p`, and what else it shows.
fn fuzzy(nodes: &[(&str, i64, StatPersisted)], sessions: Vec<(SessionId, i32)>) -> DataTree {
    let mut tree = DataTree::empty(0);
    for (session, timeout) in sessions {
        tree.load_session(session, timeout);
    }
    for (path, acl, stat) in nodes {
        tree.load_node(path, Some(b""), *acl, *stat).unwrap();
    }
    tree.finish_load(Zxid(5));
    tree
}

fn replay(tree: &mut DataTree, zxid: i64, session: i64, txn: &Txn<'_>) {
    let header = TxnHeader {
        client_id: SessionId(session),
        cxid: 1,
        zxid: Zxid(zxid),
        time: 1000 + zxid,
        code: txn.code(),
    };
    tree.process_txn(&header, txn, &mut ());
}

#[test]
fn zk_3125_a_replay_finds_its_work_done_and_leaves_what_it_would_have_left() {
    let stat = |pzxid: i64, owner: i64| StatPersisted {
        pzxid: Zxid(pzxid),
        ephemeral_owner: owner,
        ..StatPersisted::default()
    };
    // The parent was written before the child was deleted, and the child no longer.
    let mut tree = fuzzy(&[("/p", -1, stat(3, 0))], vec![]);
    replay(&mut tree, 6, 1, &Txn::Delete { path: "/p/c".into() });
    assert_eq!(tree.lookup("/p").unwrap().persisted().pzxid, Zxid(6));
    // The same with the end of a session: its nodes are named, whatever the image shows of them.
    let sessions = vec![(SessionId(9), 4000)];
    let paths = Some(vec!["/p/e".into(), "/p/f".into()]);
    let mut tree = fuzzy(&[("/p", -1, stat(3, 0)), ("/p/f", -1, stat(4, 9))], sessions);
    replay(&mut tree, 7, 9, &Txn::CloseSession { paths });
    assert_eq!(tree.lookup("/p").unwrap().persisted().pzxid, Zxid(7));
    assert!(tree.lookup("/p/f").is_none() && tree.sessions().is_empty());
    assert!(tree.ephemerals(SessionId(9)).is_empty());
}

#[test]
fn zk_4846_a_list_that_a_replay_brings_in_is_counted_like_any_other() {
    let (old, new) = (
        RawAcls::from_list(&[Acl::world(5)]),
        RawAcls::from_list(&[Acl::world(3)]),
    );
    let mut tree = DataTree::empty(0);
    tree.load_acl(1, &old).unwrap();
    tree.load_node("/p", Some(b""), 1, StatPersisted::default())
        .unwrap();
    tree.finish_load(Zxid(5));
    let create = CreateTxn {
        kind: CreateKind::Plain,
        path: "/p".into(),
        data: Some(b""),
        acl: new.clone(),
        ephemeral: false,
        parent_cversion: 1,
    };
    replay(&mut tree, 6, 1, &Txn::Create(create.clone()));
    // As in the reference, the list is now that of the transaction; the other one has no users.
    replay(
        &mut tree,
        7,
        1,
        &Txn::Create(CreateTxn {
            path: "/q".into(),
            ..create
        }),
    );
    replay(&mut tree, 8, 1, &Txn::Delete { path: "/q".into() });
    let acl_id = tree.lookup("/p").unwrap().acl_id();
    assert_eq!(tree.acl(acl_id).world_perms, 3, "still readable");
    let head = tree.snapshot_begin();
    tree.snapshot_end();
    let lists: Vec<&RawAcls> = head.acls.iter().map(|(_, acl)| acl).collect();
    assert!(lists.contains(&&new) && !lists.contains(&&old), "{lists:?}");
}
