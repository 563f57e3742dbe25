//! Compares what clients were told with the one history.

use std::collections::BTreeMap;

use super::{Op, Run, Sum};
use crate::ids::{SessionId, Zxid};
use crate::proto::txn::{self, Txn};
use crate::replica::tests::ensemble::disk;
use crate::tree::DataTree;

pub fn check(run: &Run, sum: &mut Sum) {
    let entries = &run.world.history.entries;
    let logged = entries
        .iter()
        .map(|entry| txn::decode(&entry.encoded).unwrap().txn);
    sum.moved += logged.filter(|txn| *txn == Txn::Error(-118)).count();
    check_order(run);
    check_answers(run, sum);
    check_states(run);
    sum.epochs += run.world.history.epochs_count();
    for (kind, count) in &run.world.net.seen {
        *sum.packets.entry(*kind).or_default() += count;
    }
}

/// A request becomes one transaction at most, and what a session has done is done in its order: nothing that
/// it asked a server for comes behind what it has asked a later one.
fn check_order(run: &Run) {
    let mut last_of: BTreeMap<SessionId, (i32, Zxid)> = BTreeMap::new();
    for entry in &run.world.history.entries {
        let logged = txn::decode(&entry.encoded).unwrap();
        let (session, cxid) = (logged.header.client_id, logged.header.cxid);
        // As with Apache's servers, anybody who has it may end a session.
        let ends_session = matches!(logged.txn, Txn::CloseSession { .. });
        if cxid == 0 || ends_session || is_refused(&logged.txn) {
            continue;
        }
        let last = last_of.insert(session, (cxid, entry.zxid));
        if let Some((before, zxid)) = last {
            assert!(
                cxid > before,
                "{session}: {before} at {zxid}, {cxid} at {}",
                entry.zxid
            );
        }
    }
}

fn is_refused(txn: &Txn<'_>) -> bool {
    match txn {
        Txn::Error(_) => true,
        Txn::Multi(txns) => txns.iter().any(is_refused),
        _ => false,
    }
}

/// Whatever was answered is in the history at the zxid of the answer.
fn check_answers(run: &Run, sum: &mut Sum) {
    for done in &run.done {
        let what = format!("{} {}", done.session, done.xid);
        match done.sent.op {
            Op::Write => {
                let entry = run.world.history.get(Zxid(done.zxid));
                let entry = entry.unwrap_or_else(|| panic!("{what} at {:#x} is lost", done.zxid));
                let logged = txn::decode(&entry.encoded).unwrap();
                let header = logged.header;
                assert_eq!(
                    (header.client_id, header.cxid),
                    (done.session, done.xid),
                    "at {:#x}",
                    done.zxid
                );
                let logged_error = match logged.txn {
                    Txn::Error(error) => error,
                    _ => 0,
                };
                assert_eq!(logged_error, done.error, "{what}");
                sum.writes += 1;
            }
            Op::Sync => assert!(
                done.zxid >= done.sent.seen,
                "{what}: a sync shows {:#x} after {:#x} was seen",
                done.zxid,
                done.sent.seen
            ),
            Op::Get(_) => sum.reads += 1,
        }
    }
}

/// Every read shows the state that its zxid names, and the servers show the last one.
fn check_states(run: &Run) {
    let mut reads: BTreeMap<i64, Vec<(&str, String)>> = BTreeMap::new();
    for done in &run.done {
        if let Op::Get(path) = done.sent.op {
            let shown = match done.error {
                0 => done.body.clone(),
                error => error.to_string(),
            };
            reads.entry(done.zxid).or_default().push((path, shown));
        }
    }
    let mut tree = DataTree::new(1);
    let compare = |tree: &DataTree, reads: Option<Vec<(&str, String)>>| {
        for (path, shown) in reads.into_iter().flatten() {
            let expected = match tree.lookup(path) {
                Some(node) => {
                    let data = String::from_utf8_lossy(node.data().unwrap_or_default()).into_owned();
                    format!("{data} v{}", node.persisted().version)
                }
                None => "-101".into(),
            };
            assert_eq!(shown, expected, "{path} at {}", tree.last_processed_zxid());
        }
    };
    compare(&tree, reads.remove(&0));
    for entry in &run.world.history.entries {
        disk::replay(&mut tree, entry);
        compare(&tree, reads.remove(&entry.zxid.0));
    }
    assert!(reads.is_empty(), "zxids that never were: {:?}", reads.keys());
    for (session, paths) in tree.sessions_with_ephemerals() {
        assert!(
            tree.sessions().contains_key(&session),
            "{session} has left {paths:?}"
        );
    }
    let shown = run.world.nodes[0].up().shared.tree.read();
    assert_eq!(disk::describe(&shown), disk::describe(&tree));
}
