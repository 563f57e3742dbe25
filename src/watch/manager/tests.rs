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
    watches.add(WatchTable::Data, "/a", A);
    watches.add(WatchTable::Data, "/a", A);
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
    watches.add(WatchTable::Child, "/p", A);
    watches.add(WatchTable::Data, "/p", A);
    watches.add(WatchTable::Data, "/p/n", B);
    watches.add(WatchTable::Child, "/p/n", B);
    let expected = [
        event(2, EventType::NodeCreated, "/p/n"),
        event(1, EventType::NodeChildrenChanged, "/p"),
    ];
    assert_eq!(fire(&watches, ChangeKind::Created, "/p/n"), expected);
    assert_eq!(watches.count(), 2);
    watches.add(WatchTable::Child, "/", A);
    assert_eq!(
        fire(&watches, ChangeKind::Created, "/q"),
        [event(1, EventType::NodeChildrenChanged, "/")]
    );
}

#[test]
fn a_deletion_is_told_once_and_uses_up_both_watches() {
    let watches = WatchManager::new(1);
    for conn in [B, A] {
        watches.add(WatchTable::Data, "/p/n", conn);
        watches.add(WatchTable::Child, "/p/n", conn);
        watches.add(WatchTable::Child, "/p", conn);
    }
    watches.add(WatchTable::Child, "/p/n", ConnId(3));
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
    watches.add(WatchTable::Child, "/a", A);
    watches.add(WatchTable::Child, "/a", B);
    watches.add(WatchTable::Data, "/a", B);
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
        watches.add(WatchTable::Data, &format!("/{path}"), A);
    }
    watches.add(WatchTable::Data, "/7", B);
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
    watches.add(WatchTable::Data, "/a", A);
    watches.add(WatchTable::Child, "/a", A);
    watches.add(WatchTable::Data, "/a", B);
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
    assert_eq!(watches.summary(), (2, 0, 0), "both have held a data watch");
}

#[test]
fn what_operators_are_shown_is_the_data_table() {
    let watches = WatchManager::new(1);
    watches.add(WatchTable::Data, "/b", B);
    watches.add(WatchTable::Data, "/b", A);
    watches.add(WatchTable::Data, "/a", B);
    watches.add(WatchTable::Child, "/c", ConnId(3));
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

/// The rules, told as simply as they can be: two sets.
#[derive(Default)]
struct Model {
    data: BTreeSet<(String, u64)>,
    child: BTreeSet<(String, u64)>,
}

impl Model {
    fn take(table: &mut BTreeSet<(String, u64)>, path: &str) -> Vec<u64> {
        let hit: Vec<u64> = table
            .iter()
            .filter(|(at, _)| at == path)
            .map(|(_, conn)| *conn)
            .collect();
        table.retain(|(at, _)| at != path);
        hit
    }

    fn change(&mut self, kind: ChangeKind, path: &str) -> Vec<Event> {
        let mut hit = Model::take(&mut self.data, path);
        let name = match kind {
            ChangeKind::Created => EventType::NodeCreated,
            ChangeKind::Deleted => EventType::NodeDeleted,
            ChangeKind::DataChanged => EventType::NodeDataChanged,
        };
        if kind == ChangeKind::Deleted {
            hit.extend(Model::take(&mut self.child, path));
            hit.sort_unstable();
            hit.dedup();
        }
        let mut events: Vec<Event> = hit.into_iter().map(|conn| event(conn, name, path)).collect();
        if kind != ChangeKind::DataChanged {
            let hit = Model::take(&mut self.child, "/");
            events.extend(
                hit.into_iter()
                    .map(|conn| event(conn, EventType::NodeChildrenChanged, "/")),
            );
        }
        events
    }

    fn check(&self, watches: &WatchManager) {
        assert_eq!(watches.count(), self.data.len() + self.child.len());
        let paths: BTreeSet<&String> = self.data.iter().map(|(path, _)| path).collect();
        let (_, paths_count, data_count) = watches.summary();
        assert_eq!((paths_count, data_count), (paths.len(), self.data.len()));
    }
}

#[test]
fn random_histories_agree_with_two_sets() {
    for seed in 0..50 {
        let mut prng = Prng::new(seed);
        let watches = WatchManager::new(seed);
        let mut model = Model::default();
        let mut first_open = 0;
        for _ in 0..600 {
            let path = match prng.below(12) {
                0 => "/".to_owned(),
                number => format!("/{number}"),
            };
            let conn = first_open + prng.below(10);
            match prng.below(10) {
                0..4 => {
                    watches.add(WatchTable::Data, &path, ConnId(conn));
                    model.data.insert((path, conn));
                }
                4..7 => {
                    watches.add(WatchTable::Child, &path, ConnId(conn));
                    model.child.insert((path, conn));
                }
                7 => {
                    watches.remove_conn(ConnId(first_open));
                    model.data.retain(|(_, conn)| *conn != first_open);
                    model.child.retain(|(_, conn)| *conn != first_open);
                    first_open += 1;
                }
                8 => {
                    let was_there = model.data.remove(&(path.clone(), conn));
                    assert_eq!(watches.remove(WatchKind::Data, &path, ConnId(conn)), was_there);
                }
                _ if path == "/" => model.check(&watches),
                _ => {
                    let kind = [ChangeKind::Created, ChangeKind::Deleted, ChangeKind::DataChanged];
                    let kind = kind[prng.below(3) as usize];
                    assert_eq!(fire(&watches, kind, &path), model.change(kind, &path));
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
                        watches.add(WatchTable::Data, &format!("/{path}"), conn);
                        watches.add(WatchTable::Child, &format!("/{path}"), conn);
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
