//! A member may take a snapshot of what others have made durable before its own log has it. After a crash the
//! snapshot is ahead of the log, and what is between is in no log: nothing may act as if the log went on.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/dir.rs"]
mod dir;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/history.rs"]
mod history;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/sim_disk.rs"]
mod sim_disk;

use std::path::Path;

use dir::Dir;
use history::{History, config};
use sim_disk::SimDisk;
use zkserver::ids::{Epoch, Zxid};
use zkserver::storage::log_range::read_range;
use zkserver::storage::log_writer::LogWriter;
use zkserver::storage::recovery::recover;
use zkserver::storage::{data_dir, snapshot_writer};

/// Twelve transactions, the last four in a later epoch. Number 5 to 8 are only in a snapshot.
fn overtaken() -> Dir {
    let zxids = (0..12).map(|at| Zxid::new(Epoch(at / 8), (at % 8) as u32 + 1));
    let (config, history) = (config(Path::new("/data")), History::along(3, zxids));
    let disk = SimDisk::default();
    drop(data_dir::open(&disk, &config).unwrap());
    recover(&disk, &config, 7).unwrap();
    for (numbers, shown) in [(1..=4, Some(8)), (9..=12, None)] {
        let mut log = LogWriter::new(disk.clone(), &config);
        for number in numbers {
            log.append(history.zxid(number), history.txn(number));
        }
        log.sync().unwrap();
        if let Some(number) = shown {
            snapshot_writer::write_tree(&disk, &config, &mut history.tree(number)).unwrap();
            recover(&disk, &config, 7).unwrap();
        }
    }
    Dir {
        disk,
        config,
        history,
    }
}

#[test]
fn the_snapshot_bridges_the_hole() {
    let dir = overtaken();
    let recovered = dir.recover().unwrap();
    assert_eq!(recovered.last_zxid, dir.history.zxid(12));
    dir.history.assert_state(&recovered.tree, 12, &String::new);
    assert_eq!(recovered.committed_tail.len(), 4);
}

#[test]
fn without_the_snapshot_the_hole_is_damage() {
    let damage = |dir: &Dir| dir.edit("snapshot.8", |content| content[60] ^= 1);
    let dir = overtaken();
    damage(&dir);
    let error = dir.refuses("when the log was finished it ended with 0x8");
    assert!(error.is_damage());
    dir.disk.take(&dir.path("snapshot.8"));
    assert!(dir.refuses("it ended with 0x8").is_damage());
    // Where nothing is known of ends, the damaged snapshot still tells.
    let dir = overtaken();
    dir.disk.take(&dir.path("zkserver.ends"));
    dir.recover().unwrap();
    dir.disk.take(&dir.path("zkserver.ends"));
    damage(&dir);
    let error = dir.refuses("transaction 0x8, with which it ends, is not in the logs");
    assert!(error.is_damage());
}

#[test]
fn no_learner_is_sent_a_log_with_the_hole() {
    let dir = overtaken();
    for from in 1..=4 {
        for is_there in [true, false] {
            let dir = overtaken();
            if !is_there {
                dir.disk.take(&dir.path("snapshot.8"));
            }
            let (after, upto) = (dir.history.zxid(from), dir.history.zxid(12));
            let entries = read_range(&dir.disk, &dir.config, after, upto, u64::MAX).unwrap();
            assert!(entries.is_none(), "behind {after}");
        }
    }
    let (after, upto) = (dir.history.zxid(9), dir.history.zxid(12));
    let entries = read_range(&dir.disk, &dir.config, after, upto, u64::MAX).unwrap();
    assert_eq!(entries.map(|entries| entries.len()), Some(3));
}
