//! Random histories: any transactions at all, and such as a server makes.

use std::borrow::Cow;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::*;
use super::model::{Event, Model, Recorder, parent_of, shown};
use crate::proto::acl::{Acl, RawAcls};
use crate::proto::jute::Reader;
use crate::proto::txn::{CreateKind, CreateTxn, Txn, TxnHeader};

/// A transaction and its header.
pub(super) type Step = (TxnHeader, Txn<'static>);

/// Numbers that a choice is made with.
pub(super) type Choice = (u8, u16, u16, u16);

pub(super) fn choices(length: usize) -> impl Strategy<Value = Vec<Choice>> {
    vec(any::<Choice>(), 1..length)
}

pub(super) fn acl(choice: u16) -> RawAcls<'static> {
    match choice % 6 {
        0 => RawAcls::from_list(&[]),
        1 => RawAcls::decode(&mut Reader::new(&[0xff; 4])).unwrap(),
        n => RawAcls::from_list(&[Acl::world(31), Acl::world(i32::from(n))][..(1 + usize::from(n) % 2)]),
    }
}

fn data(choice: u16) -> Option<&'static [u8]> {
    match choice % 5 {
        0 => None,
        1 => Some(b""),
        2 => Some(b"x"),
        3 => Some(b"some data that is a little longer"),
        _ => Some(&[7; 300]),
    }
}

fn kind(choice: u16) -> CreateKind {
    match choice % 8 {
        0..4 => CreateKind::Plain,
        4..6 => CreateKind::WithStat,
        6 => CreateKind::Container,
        _ => CreateKind::Ttl(i64::from(choice) * 1_000_000_007),
    }
}

fn any_path() -> impl Strategy<Value = Cow<'static, str>> {
    let name = || prop::sample::select(vec!["a", "b", "ü😀"]);
    let proper = vec(name(), 1..4).prop_map(|names| Cow::from(format!("/{}", names.join("/"))));
    let odd = [
        "",
        "/",
        "//",
        "/a/",
        "/a//b",
        "a",
        "a/b",
        "/zookeeper",
        "/zookeeper/quota",
        "/zookeeper/x",
        "/..",
    ];
    prop_oneof![
        8 => proper,
        1 => prop::sample::select(odd.map(Cow::from).to_vec()),
        1 => quota_path(),
    ]
}

/// Nodes of quotas and those on the way to them, and a quota that counts the others.
fn quota_path() -> impl Strategy<Value = Cow<'static, str>> {
    let paths = [
        "/zookeeper/quota/a",
        "/zookeeper/quota/a/zookeeper_limits",
        "/zookeeper/quota/a/zookeeper_stats",
        "/zookeeper/quota/a/b",
        "/zookeeper/quota/a/b/zookeeper_limits",
        "/zookeeper/quota/a/b/zookeeper_stats",
        "/zookeeper/quota/zookeeper",
        "/zookeeper/quota/zookeeper/zookeeper_limits",
        "/zookeeper/quota/zookeeper/zookeeper_stats",
        "/zookeeper/quota/zookeeper_limits",
        "/zookeeper/quota/zookeeper_stats",
        "/zookeeper/quotas",
        "/zookeeper/quotas/zookeeper_limits",
    ];
    prop::sample::select(paths.map(Cow::from).to_vec())
}

/// Creates, deletes and writes below quotas, and of quotas.
fn quota_txn() -> impl Strategy<Value = Txn<'static>> {
    let below = || {
        let paths = ["/a", "/a/b", "/a/b/c", "/a/d", "/b"];
        prop_oneof![2 => prop::sample::select(paths.map(Cow::from).to_vec()), 3 => quota_path()]
    };
    let create = (below(), any::<u16>()).prop_map(|(path, choice)| {
        Txn::Create(CreateTxn {
            kind: CreateKind::Plain,
            path,
            data: data(choice),
            acl: acl(3),
            ephemeral: false,
            parent_cversion: -1,
        })
    });
    prop_oneof![
        6 => create,
        1 => below().prop_map(|path| Txn::Delete { path }),
        3 => (below(), any::<u16>(), any_version())
            .prop_map(|(path, d, version)| Txn::SetData { path, data: data(d), version }),
    ]
}

fn any_version() -> impl Strategy<Value = i32> {
    prop::sample::select(vec![-1, 0, 1, 2, 3, 4, 5, i32::MAX - 1, i32::MAX, i32::MIN])
}

fn any_single_txn() -> impl Strategy<Value = Txn<'static>> {
    let create = (any_path(), any::<(u16, u16, u16, bool)>(), any_version());
    let create = create.prop_map(|(path, (k, d, a, ephemeral), parent_cversion)| {
        Txn::Create(CreateTxn {
            kind: kind(k),
            path,
            data: data(d),
            acl: acl(a),
            ephemeral,
            parent_cversion,
        })
    });
    prop_oneof![
        6 => create,
        3 => any_path().prop_map(|path| Txn::Delete { path }),
        1 => any_path().prop_map(|path| Txn::DeleteContainer { path }),
        2 => (any_path(), any::<u16>(), any_version())
            .prop_map(|(path, d, version)| Txn::SetData { path, data: data(d), version }),
        1 => (any_path(), any::<u16>(), any_version())
            .prop_map(|(path, d, version)| Txn::Reconfig { path, data: data(d), version }),
        2 => (any_path(), any::<u16>(), any_version())
            .prop_map(|(path, a, version)| Txn::SetAcl { path, acl: acl(a), version }),
        1 => (any_path(), any_version()).prop_map(|(path, version)| Txn::Check { path, version }),
    ]
}

fn any_txn() -> impl Strategy<Value = Txn<'static>> {
    let error = || prop::sample::select(vec![0, -1, -2, -101, -110, 77]).prop_map(Txn::Error);
    prop_oneof![
        12 => any_single_txn(),
        1 => error(),
        1 => any::<u16>().prop_map(|timeout| Txn::CreateSession { timeout_ms: timeout.into() }),
        1 => prop::option::of(vec(any_path(), 0..4)).prop_map(|paths| Txn::CloseSession { paths }),
        2 => vec(any_single_txn(), 0..5).prop_map(Txn::Multi),
        1 => vec(prop_oneof![any_single_txn(), error()], 0..5).prop_map(Txn::Multi),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let sessions = vec![1, 2, 0, i64::MIN, 0xff00_0000_0000_0005_u64 as i64, -3];
    (prop::sample::select(sessions), 1..40i64, any::<u32>(), any_txn())
        .prop_map(|(client, zxid, time, txn)| (header(client, zxid, time.into(), &txn), txn))
}

fn header(client: i64, zxid: i64, time: i64, txn: &Txn<'_>) -> TxnHeader {
    TxnHeader {
        client_id: SessionId(client),
        cxid: 0,
        zxid: Zxid(zxid),
        time,
        code: txn.code(),
    }
}

/// Applies a step to both and compares what they say about it.
pub(super) fn apply(tree: &mut DataTree, model: &mut Model, (header, txn): &Step) {
    let mut events = Recorder(vec![]);
    let result = tree.process_txn(header, txn, &mut events);
    model.events.clear();
    assert_eq!(result, model.process(header, txn), "{txn:?}");
    let (mut found, mut expected) = (events.0, shown(&model.events));
    if has_subtree_delete(&expected) {
        // Which of several children goes first is not specified.
        found.sort_by(|a, b| a.1.cmp(&b.1));
        expected.sort_by(|a, b| a.1.cmp(&b.1));
    }
    assert_eq!(found, expected, "{txn:?}");
}

fn has_subtree_delete(events: &[Event]) -> bool {
    let is_deleted = |event: &Event| event.0 == ChangeKind::Deleted;
    let parents: Vec<&str> = events
        .iter()
        .filter(|e| is_deleted(e))
        .map(|e| parent_of(&e.1))
        .collect();
    events
        .iter()
        .any(|event| is_deleted(event) && parents.contains(&&*event.1))
}

/// The transaction that a server would make of a choice, given the tree it has.
pub(super) fn proper_step(model: &Model, (what, at, which, other): Choice) -> Step {
    let zxid = model.zxid.0 + 1;
    let client = i64::from(other % 3) + 1;
    let txn = match what % 16 {
        0 => Txn::CreateSession {
            timeout_ms: 1000 + i32::from(which),
        },
        1 => {
            // Without the list, a replay onto a fuzzy image misses what went before the image was written.
            let paths = model
                .owned_by(SessionId(client))
                .into_iter()
                .map(Cow::from)
                .collect();
            Txn::CloseSession { paths: Some(paths) }
        }
        2 => Txn::Error(-101),
        3..6 => {
            let mut scratch = model.clone();
            let mut txns = vec![];
            for n in 0..(which % 4) {
                let single = proper_single(
                    &scratch,
                    (n as u8).wrapping_mul(5) ^ at as u8,
                    at.wrapping_add(n),
                    which,
                    other / 3,
                );
                scratch.process(&header(client, zxid, 1, &single), &single);
                txns.push(single);
            }
            if what == 5 {
                txns.push(Txn::Error(-103));
            }
            Txn::Multi(txns)
        }
        _ => proper_single(model, what / 16, at, which, other / 3),
    };
    (header(client, zxid, 1_700_000_000_000 + zxid, &txn), txn)
}

fn proper_single(model: &Model, what: u8, at: u16, which: u16, other: u16) -> Txn<'static> {
    let parents: Vec<&String> = model
        .nodes
        .iter()
        .filter(|(_, node)| {
            !matches!(
                NodeKind::from_owner(node.stat.ephemeral_owner),
                NodeKind::Ephemeral(_)
            )
        })
        .map(|(path, _)| path)
        .collect();
    let mut paths = model.nodes.keys().filter(|path| !path.is_empty());
    let count = model.nodes.len() - 1;
    let node = paths.nth(usize::from(at) % count).unwrap().clone();
    let is_leaf = model.children(&node).next().is_none();
    let stat = model.nodes[&node].stat;
    match what % 8 {
        0..4 => {
            let parent = parents[usize::from(at) % parents.len()];
            let path = format!(
                "{parent}/{}",
                ["a", "b", "c", "n-0000000001"][usize::from(which) % 4]
            );
            if model.nodes.contains_key(&path) {
                return Txn::Check {
                    path: path.into(),
                    version: 1,
                };
            }
            Txn::Create(CreateTxn {
                kind: kind(other),
                path: path.into(),
                data: data(which / 4),
                acl: acl(other / 8),
                ephemeral: matches!(kind(other), CreateKind::Plain | CreateKind::WithStat)
                    && which.is_multiple_of(3),
                parent_cversion: model.nodes[parent].stat.cversion + 1,
            })
        }
        4 | 5 if is_leaf && !path::is_reserved_for_delete(&node) => Txn::Delete { path: node.into() },
        4..7 => Txn::SetData {
            path: node.into(),
            data: data(which),
            version: stat.version + 1,
        },
        _ => Txn::SetAcl {
            path: node.into(),
            acl: acl(which),
            version: stat.aversion + 1,
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_transactions_do_what_they_do_to_a_map(steps in vec(any_step(), 1..60), seed in any::<u64>()) {
        let (mut tree, mut model) = (DataTree::new(seed), Model::new());
        model.assert_equals(&tree);
        for step in &steps {
            apply(&mut tree, &mut model, step);
            model.assert_equals(&tree);
        }
    }

    #[test]
    fn quotas_count_what_is_there(steps in vec((quota_txn(), any::<bool>()), 1..120)) {
        let (mut tree, mut model) = (DataTree::new(7), Model::new());
        for (n, (txn, is_reloaded)) in steps.into_iter().enumerate() {
            apply(&mut tree, &mut model, &(header(1, n as i64 + 1, 5, &txn), txn));
            model.assert_equals(&tree);
            if is_reloaded && n % 8 == 0 {
                tree.set_up_quotas();
                model.reload();
                model.assert_equals(&tree);
            }
        }
    }

    #[test]
    fn a_server_s_history_does_what_it_does_to_a_map(choices in choices(120)) {
        let (mut tree, mut model) = (DataTree::new(3), Model::new());
        for choice in choices {
            let step = proper_step(&model, choice);
            apply(&mut tree, &mut model, &step);
            model.assert_equals(&tree);
        }
    }

    #[test]
    fn a_second_replay_of_the_end_changes_nothing(
        choices in choices(120),
        from in any::<prop::sample::Index>(),
    ) {
        let (mut tree, mut model) = (DataTree::new(4), Model::new());
        let mut steps = vec![];
        for choice in choices {
            let step = proper_step(&model, choice);
            apply(&mut tree, &mut model, &step);
            steps.push(step);
        }
        for (header, txn) in &steps[from.index(steps.len())..] {
            tree.process_txn(header, txn, &mut ());
        }
        model.assert_equals(&tree);
    }
}
