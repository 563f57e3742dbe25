use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::prng::Prng;
use crate::proto::acl::{Acl, RawAcls};

const A: ConnId = ConnId(1);
const B: ConnId = ConnId(2);

type Event = (u64, EventType, String);

fn acl(perms: i32) -> Arc<AclList> {
    let list = vec![Acl::world(perms)];
    Arc::new(AclList {
        raw: RawAcls::from_list(&list),
        list,
        world_perms: perms,
    })
}

/// The events of a change. The node's ACL grants 1, the parent's 2.
fn fire(watches: &WatchManager, kind: ChangeKind, path: &str) -> Vec<Event> {
    let (node_acl, parent_acl) = (acl(1), acl(2));
    let mut events = Vec::new();
    let change = Change {
        kind,
        path,
        acl: &node_acl,
        parent_acl: (kind != ChangeKind::DataChanged).then_some(&parent_acl),
    };
    watches.on_change(&change, &mut |conn, event, path, acl| {
        let is_of_parent = event == EventType::NodeChildrenChanged;
        assert_eq!(acl.world_perms, if is_of_parent { 2 } else { 1 });
        events.push((conn.0, event, path.to_owned()));
    });
    events
}

fn event(conn: u64, event: EventType, path: &str) -> Event {
    (conn, event, path.to_owned())
}

#[test]
fn a_watch_fires_once() {
    let watches = WatchManager::new(1);
    assert!(watches.is_empty());
    watches.add(WatchMode::Data, "/a", A);
    watches.add(WatchMode::Data, "/a", A);
    assert_eq!((watches.count(), watches.is_empty()), (1, false));
    assert_eq!(fire(&watches, ChangeKind::DataChanged, "/b"), []);
    assert_eq!(
        fire(&watches, ChangeKind::DataChanged, "/a"),
        [event(1, EventType::NodeDataChanged, "/a")]
    );
    assert_eq!(fire(&watches, ChangeKind::DataChanged, "/a"), []);
    assert!(watches.is_empty());
}

#[test]
fn a_creation_is_told_to_the_nodes_and_then_to_the_parents_watchers() {
    let watches = WatchManager::new(1);
    watches.add(WatchMode::Child, "/p", A);
    watches.add(WatchMode::Data, "/p", A);
    watches.add(WatchMode::Data, "/p/n", B);
    watches.add(WatchMode::Child, "/p/n", B);
    let expected = [
        event(2, EventType::NodeCreated, "/p/n"),
        event(1, EventType::NodeChildrenChanged, "/p"),
    ];
    assert_eq!(fire(&watches, ChangeKind::Created, "/p/n"), expected);
    assert_eq!(watches.count(), 2);
    watches.add(WatchMode::Child, "/", A);
    assert_eq!(
        fire(&watches, ChangeKind::Created, "/q"),
        [event(1, EventType::NodeChildrenChanged, "/")]
    );
}

#[test]
fn a_deletion_is_told_once_and_uses_up_both_watches() {
    let watches = WatchManager::new(1);
    for conn in [B, A] {
        watches.add(WatchMode::Data, "/p/n", conn);
        watches.add(WatchMode::Child, "/p/n", conn);
        watches.add(WatchMode::Child, "/p", conn);
    }
    watches.add(WatchMode::Child, "/p/n", ConnId(3));
    let expected = [
        event(1, EventType::NodeDeleted, "/p/n"),
        event(2, EventType::NodeDeleted, "/p/n"),
        event(3, EventType::NodeDeleted, "/p/n"),
        event(1, EventType::NodeChildrenChanged, "/p"),
        event(2, EventType::NodeChildrenChanged, "/p"),
    ];
    assert_eq!(fire(&watches, ChangeKind::Deleted, "/p/n"), expected);
    assert!(watches.is_empty());
}

#[test]
fn a_data_change_leaves_child_watches_alone() {
    let watches = WatchManager::new(1);
    watches.add(WatchMode::Child, "/a", A);
    watches.add(WatchMode::Child, "/a", B);
    watches.add(WatchMode::Data, "/a", B);
    assert_eq!(
        fire(&watches, ChangeKind::DataChanged, "/a"),
        [event(2, EventType::NodeDataChanged, "/a")]
    );
    assert_eq!(watches.count(), 2);
    assert!(watches.contains(WatchKind::Children, "/a", B));
    assert!(!watches.contains(WatchKind::Data, "/a", B));
}

#[test]
fn a_closed_connection_is_never_heard_of_again() {
    let watches = WatchManager::new(1);
    for path in 0..100 {
        watches.add(WatchMode::Data, &format!("/{path}"), A);
    }
    watches.add(WatchMode::Data, "/7", B);
    watches.remove_conn(B);
    watches.remove_conn(B);
    watches.remove_conn(ConnId(9));
    assert_eq!(watches.dead.lock().count, 1, "too little for a sweep");
    assert_eq!(watches.count(), 100);
    assert_eq!(
        fire(&watches, ChangeKind::DataChanged, "/7"),
        [event(1, EventType::NodeDataChanged, "/7")]
    );
    assert_eq!(watches.dead.lock().count, 0);
    assert_eq!(watches.summary(), (1, 99, 99));
    watches.remove_conn(A);
    assert_eq!(
        (watches.count(), watches.is_empty(), watches.summary()),
        (0, true, (0, 0, 0))
    );
    assert!(watches.paths.iter().all(|shard| shard.lock().is_empty()));
    assert!(watches.dead.lock().conns.is_empty());
}

#[test]
fn watches_are_found_and_removed_by_kind() {
    let watches = WatchManager::new(1);
    watches.add(WatchMode::Data, "/a", A);
    watches.add(WatchMode::Child, "/a", A);
    watches.add(WatchMode::Data, "/a", B);
    assert!(!watches.remove(WatchKind::Any, "/b", A));
    assert!(!watches.remove(WatchKind::Any, "/a", ConnId(3)));
    assert!(watches.remove(WatchKind::Data, "/a", A));
    assert!(!watches.remove(WatchKind::Data, "/a", A));
    assert!(watches.contains(WatchKind::Any, "/a", A));
    assert!(watches.remove(WatchKind::Any, "/a", A));
    assert_eq!(watches.count(), 1);
    assert_eq!(
        fire(&watches, ChangeKind::Deleted, "/a"),
        [event(2, EventType::NodeDeleted, "/a")]
    );
    assert_eq!(
        watches.summary(),
        (1, 0, 0),
        "one removed its last data watch, the other's has fired"
    );
}

#[test]
fn what_operators_are_shown_is_the_data_table() {
    let watches = WatchManager::new(1);
    watches.add(WatchMode::Data, "/b", B);
    watches.add(WatchMode::Data, "/b", A);
    watches.add(WatchMode::Data, "/a", B);
    watches.add(WatchMode::Child, "/c", ConnId(3));
    assert_eq!(watches.summary(), (2, 2, 3));
    assert_eq!(watches.count(), 4);
    let by_path = BTreeMap::from([("/a".to_owned(), vec![B]), ("/b".to_owned(), vec![A, B])]);
    assert_eq!(watches.by_path(), by_path);
    let by_connection = BTreeMap::from([
        (A, vec!["/b".to_owned()]),
        (B, vec!["/a".to_owned(), "/b".to_owned()]),
    ]);
    assert_eq!(watches.by_connection(), by_connection);
}

#[test]
fn a_persistent_watch_hears_of_everything_and_stays() {
    let watches = WatchManager::new(1);
    watches.add(WatchMode::Persistent, "/p", A);
    watches.add(WatchMode::Persistent, "/p", A);
    assert_eq!(watches.count(), 2, "it stands in both tables");
    for _ in 0..2 {
        for (kind, name) in [
            (ChangeKind::Created, EventType::NodeCreated),
            (ChangeKind::DataChanged, EventType::NodeDataChanged),
            (ChangeKind::Deleted, EventType::NodeDeleted),
        ] {
            assert_eq!(fire(&watches, kind, "/p"), [event(1, name, "/p")]);
        }
        for kind in [ChangeKind::Created, ChangeKind::Deleted] {
            let expected = [event(1, EventType::NodeChildrenChanged, "/p")];
            assert_eq!(fire(&watches, kind, "/p/n"), expected);
        }
        assert_eq!(fire(&watches, ChangeKind::DataChanged, "/p/n"), []);
        assert_eq!(fire(&watches, ChangeKind::Created, "/p/n/n"), []);
    }
    assert_eq!(watches.count(), 2);
    watches.remove_conn(A);
    assert!(watches.is_empty());
    assert!(watches.paths.iter().all(|shard| shard.lock().is_empty()));
}

#[test]
fn a_recursive_watch_hears_of_all_nodes_below_and_never_of_children() {
    let watches = WatchManager::new(1);
    watches.add(WatchMode::PersistentRecursive, "/p", A);
    watches.add(WatchMode::PersistentRecursive, "/p/n/deep", B);
    assert_eq!(watches.count(), 2);
    for path in ["/p", "/p/n", "/p/n/deep/er"] {
        for (kind, name) in [
            (ChangeKind::Created, EventType::NodeCreated),
            (ChangeKind::DataChanged, EventType::NodeDataChanged),
            (ChangeKind::Deleted, EventType::NodeDeleted),
        ] {
            let mut expected = vec![event(1, name, path)];
            if path == "/p/n/deep/er" {
                expected.push(event(2, name, path));
            }
            assert_eq!(fire(&watches, kind, path), expected);
        }
    }
    for path in ["/", "/q", "/pp", "/pp/n", "/n/p"] {
        assert_eq!(fire(&watches, ChangeKind::DataChanged, path), []);
    }
    watches.add(WatchMode::PersistentRecursive, "/", B);
    for path in ["/", "/q", "/q/n"] {
        let expected = [event(2, EventType::NodeDataChanged, path)];
        assert_eq!(fire(&watches, ChangeKind::DataChanged, path), expected);
    }
}

#[test]
fn however_many_watches_see_a_change_one_event_is_sent() {
    let watches = WatchManager::new(1);
    for path in ["/", "/p", "/p/n"] {
        for mode in [
            WatchMode::Data,
            WatchMode::Child,
            WatchMode::Persistent,
            WatchMode::PersistentRecursive,
        ] {
            watches.add(mode, path, A);
        }
    }
    assert_eq!(watches.count(), 6);
    let expected = [
        event(1, EventType::NodeDeleted, "/p/n"),
        event(1, EventType::NodeChildrenChanged, "/p"),
    ];
    assert_eq!(fire(&watches, ChangeKind::Deleted, "/p/n"), expected);
    assert_eq!(
        watches.count(),
        6,
        "what is for one event is gone, the rest stays"
    );
    assert!(!watches.contains(WatchKind::Data, "/p/n", A));
    assert!(!watches.contains(WatchKind::Children, "/p/n", A));
    assert!(watches.contains(WatchKind::Data, "/p", A));
    assert!(!watches.contains(WatchKind::Children, "/p", A));
}

#[test]
fn what_a_change_concerns_is_counted_by_table() {
    let watches = WatchManager::new(1);
    watches.add(WatchMode::PersistentRecursive, "/", A);
    watches.add(WatchMode::Data, "/p/n", A);
    watches.add(WatchMode::Child, "/p/n", A);
    watches.add(WatchMode::Child, "/p/n", B);
    watches.add(WatchMode::Persistent, "/p", B);
    let (node_acl, parent_acl) = (acl(1), acl(2));
    let mut change = Change {
        kind: ChangeKind::Deleted,
        path: "/p/n",
        acl: &node_acl,
        parent_acl: Some(&parent_acl),
    };
    let fired = |data, child, parent| Fired { data, child, parent };
    assert_eq!(watches.on_change(&change, &mut |_, _, _, _| {}), fired(1, 2, 1));
    change.kind = ChangeKind::Created;
    assert_eq!(watches.on_change(&change, &mut |_, _, _, _| {}), fired(1, 0, 1));
}

#[test]
fn nothing_is_looked_up_above_a_change_without_a_recursive_watch() {
    let watches = WatchManager::new(1);
    let recursive = || watches.recursive.load(Ordering::Relaxed);
    watches.add(WatchMode::Persistent, "/a", A);
    assert_eq!(recursive(), 0);
    for conn in [A, A, B, ConnId(3)] {
        watches.add(WatchMode::PersistentRecursive, "/a", conn);
    }
    watches.add(WatchMode::PersistentRecursive, "/b", B);
    assert_eq!(recursive(), 4);
    assert!(!watches.remove(WatchKind::Data, "/a", A));
    assert!(watches.remove(WatchKind::PersistentRecursive, "/a", A));
    assert!(!watches.remove(WatchKind::PersistentRecursive, "/a", A));
    assert!(watches.remove(WatchKind::Any, "/a", ConnId(3)));
    assert_eq!(recursive(), 2);
    watches.remove_conn(B);
    assert_eq!(recursive(), 0);
    assert!(watches.contains(WatchKind::Persistent, "/a", A));
}

#[test]
fn modes_are_removed_one_by_one_and_only_where_they_are() {
    let watches = WatchManager::new(1);
    let all = [
        (WatchMode::Data, WatchKind::Data, 2),
        (WatchMode::Child, WatchKind::Children, 2),
        (WatchMode::Persistent, WatchKind::Persistent, 1),
        (WatchMode::PersistentRecursive, WatchKind::PersistentRecursive, 0),
    ];
    all.iter().for_each(|(mode, _, _)| watches.add(*mode, "/a", A));
    assert_eq!(watches.count(), 2);
    for (at, (_, kind, left)) in all.iter().enumerate() {
        assert!(watches.remove(*kind, "/a", A));
        assert!(!watches.remove(*kind, "/a", A));
        for (other_at, (_, other, _)) in all.iter().enumerate() {
            assert_eq!(watches.contains(*other, "/a", A), other_at > at);
        }
        assert_eq!(watches.contains(WatchKind::Any, "/a", A), *left > 0);
        assert_eq!(watches.count(), *left);
    }
    assert!(watches.paths.iter().all(|shard| shard.lock().is_empty()));
}

/// The rules, told as simply as they can be: Apache's two tables.
#[derive(Default)]
struct Model {
    data: BTreeSet<Watch>,
    child: BTreeSet<Watch>,
}

/// A path, a connection, and `s`, `p` or `r`.
type Watch = (String, u64, char);

impl Model {
    fn add(&mut self, mode: WatchMode, path: &str, conn: u64) {
        let watch = |mode| (path.to_owned(), conn, mode);
        match mode {
            WatchMode::Data => {
                self.data.insert(watch('s'));
            }
            WatchMode::Child => {
                self.child.insert(watch('s'));
            }
            WatchMode::Persistent => {
                self.data.insert(watch('p'));
                self.child.insert(watch('p'));
            }
            WatchMode::PersistentRecursive => {
                self.data.insert(watch('r'));
            }
        }
    }

    /// What checkWatches looks at and removeWatches removes: the tables and the modes.
    fn meant(&self, kind: WatchKind, path: &str, conn: u64) -> [BTreeSet<Watch>; 2] {
        let (tables, modes) = match kind {
            WatchKind::Data => ([true, false], "s"),
            WatchKind::Children => ([false, true], "s"),
            WatchKind::Any => ([true, true], "spr"),
            WatchKind::Persistent => ([true, true], "p"),
            WatchKind::PersistentRecursive => ([true, false], "r"),
        };
        let select = |table: &BTreeSet<Watch>, is_meant: bool| {
            let watches = table.iter().filter(|(at, watcher, mode)| {
                is_meant && at == path && *watcher == conn && modes.contains(*mode)
            });
            watches.cloned().collect()
        };
        [select(&self.data, tables[0]), select(&self.child, tables[1])]
    }

    fn contains(&self, kind: WatchKind, path: &str, conn: u64) -> bool {
        self.meant(kind, path, conn).iter().any(|meant| !meant.is_empty())
    }

    fn remove(&mut self, kind: WatchKind, path: &str, conn: u64) -> bool {
        let [data, child] = self.meant(kind, path, conn);
        self.data.retain(|watch| !data.contains(watch));
        self.child.retain(|watch| !child.contains(watch));
        !data.is_empty() || !child.is_empty()
    }

    /// Those who hear of an event at the path, whose one-shot watches are gone.
    fn trigger(table: &mut BTreeSet<Watch>, path: &str) -> BTreeSet<u64> {
        let is_above =
            |at: &str| at == "/" || path.strip_prefix(at).is_some_and(|rest| rest.starts_with('/'));
        let hit = table
            .iter()
            .filter(|(at, _, mode)| at == path || *mode == 'r' && is_above(at))
            .map(|(_, conn, _)| *conn)
            .collect();
        table.retain(|(at, _, mode)| at != path || *mode != 's');
        hit
    }

    fn change(&mut self, kind: ChangeKind, path: &str) -> Vec<Event> {
        let mut hit = Model::trigger(&mut self.data, path);
        let name = match kind {
            ChangeKind::Created => EventType::NodeCreated,
            ChangeKind::Deleted => EventType::NodeDeleted,
            ChangeKind::DataChanged => EventType::NodeDataChanged,
        };
        if kind == ChangeKind::Deleted {
            hit.extend(Model::trigger(&mut self.child, path));
        }
        let mut events: Vec<Event> = hit.into_iter().map(|conn| event(conn, name, path)).collect();
        if kind != ChangeKind::DataChanged {
            let parent = &path[..path.rfind('/').unwrap().max(1)];
            let hit = Model::trigger(&mut self.child, parent);
            let children = EventType::NodeChildrenChanged;
            events.extend(hit.into_iter().map(|conn| event(conn, children, parent)));
        }
        events
    }

    fn check(&self, watches: &WatchManager) {
        let pairs = |table: &BTreeSet<Watch>| -> BTreeSet<(String, u64)> {
            let pairs = table.iter().map(|(path, conn, _)| (path.clone(), *conn));
            pairs.collect()
        };
        let data = pairs(&self.data);
        assert_eq!(watches.count(), data.len() + pairs(&self.child).len());
        let paths: BTreeSet<&String> = data.iter().map(|(path, _)| path).collect();
        let (_, paths_count, data_count) = watches.summary();
        assert_eq!((paths_count, data_count), (paths.len(), data.len()));
        let recursive = self.data.iter().filter(|(_, _, mode)| *mode == 'r').count();
        assert_eq!(watches.recursive.load(Ordering::Relaxed), recursive);
    }
}

#[test]
fn random_histories_agree_with_two_tables() {
    let paths = ["/", "/a", "/b", "/a/b", "/a/c", "/ab", "/a/b/c", "/a/b/c/d"];
    let modes = [
        WatchMode::Data,
        WatchMode::Child,
        WatchMode::Persistent,
        WatchMode::PersistentRecursive,
    ];
    let kinds = [
        WatchKind::Data,
        WatchKind::Children,
        WatchKind::Any,
        WatchKind::Persistent,
        WatchKind::PersistentRecursive,
    ];
    for seed in 0..200 {
        let mut prng = Prng::new(seed);
        let watches = WatchManager::new(seed);
        let mut model = Model::default();
        let mut first_open = 0;
        // Some histories have few or no recursive watches.
        let modes = &modes[..4 - seed as usize % 2];
        for _ in 0..600 {
            let path = paths[prng.below(8) as usize];
            let conn = first_open + prng.below(10);
            match prng.below(12) {
                0..4 => {
                    let mode = modes[prng.below(modes.len() as u64) as usize];
                    watches.add(mode, path, ConnId(conn));
                    model.add(mode, path, conn);
                }
                4 => {
                    watches.remove_conn(ConnId(first_open));
                    for table in [&mut model.data, &mut model.child] {
                        table.retain(|(_, conn, _)| *conn != first_open);
                    }
                    first_open += 1;
                }
                5..8 => {
                    let kind = kinds[prng.below(5) as usize];
                    let is_there = model.contains(kind, path, conn);
                    assert_eq!(watches.contains(kind, path, ConnId(conn)), is_there);
                    if prng.below(2) == 0 {
                        assert_eq!(model.remove(kind, path, conn), is_there);
                        assert_eq!(watches.remove(kind, path, ConnId(conn)), is_there);
                    }
                }
                _ if path == "/" => model.check(&watches),
                _ => {
                    let kind = [ChangeKind::Created, ChangeKind::Deleted, ChangeKind::DataChanged];
                    let kind = kind[prng.below(3) as usize];
                    assert_eq!(fire(&watches, kind, path), model.change(kind, path));
                }
            }
        }
        model.check(&watches);
    }
}

#[test]
fn threads_that_register_and_leave_lose_nothing() {
    let watches = WatchManager::new(7);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let watches = &watches;
            scope.spawn(move || {
                for round in 0..50 {
                    let conn = ConnId(thread * 1000 + round);
                    for path in 0..20 {
                        watches.add(WatchMode::Data, &format!("/{path}"), conn);
                        watches.add(WatchMode::Child, &format!("/{path}"), conn);
                    }
                    if round > 0 {
                        watches.remove_conn(conn);
                    }
                }
            });
        }
    });
    assert_eq!(watches.count(), 4 * 40);
    assert_eq!(watches.summary(), (4, 20, 80));
}
