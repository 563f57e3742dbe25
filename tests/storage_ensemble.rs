//! What a member of an ensemble does with its storage besides appending: cutting its log, taking over another
//! server's snapshot, handing out a part of its log, and keeping its epochs. Every call to the disk is the
//! last before a crash once.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/history.rs"]
mod history;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/sim_disk.rs"]
mod sim_disk;

use std::path::{Path, PathBuf};

use history::{History, config, describe, version_2};
use sim_disk::{Fault, SimDisk, Unsynced};
use zkserver::ids::{Epoch, Zxid};
use zkserver::storage::epochs::{self, Epochs, EpochsError};
use zkserver::storage::log_range::read_range;
use zkserver::storage::log_truncate::{TruncateError, truncate};
use zkserver::storage::log_writer::LogWriter;
use zkserver::storage::recovery::{Recovered, recover};
use zkserver::storage::snapshot_stream::Former;
use zkserver::storage::{StorageConfig, data_dir, snapshot_stream, snapshot_writer};
use zkserver::tree::{DataTree, SnapshotCursor};

const LAST: usize = 40;

/// Forty transactions in logs that begin at 1, 11, 21, 31, with snapshots after 0, 10, 30.
fn forty(history: &History, config: &StorageConfig) -> SimDisk {
    let disk = SimDisk::default();
    drop(data_dir::open(&disk, config).unwrap());
    let mut tree = recover(&disk, config, 7).unwrap().tree;
    let mut log = LogWriter::new(disk.clone(), config);
    for number in 1..=LAST {
        append(&mut log, history, number);
        apply(&mut tree, history, number);
        if number % 10 == 0 {
            log.roll();
            log.sync().unwrap();
        }
        if number == 10 || number == 30 {
            snapshot_writer::write_tree(&disk, config, &mut tree).unwrap();
        }
    }
    log.close().unwrap();
    disk
}

fn append(log: &mut LogWriter<SimDisk>, history: &History, number: usize) {
    log.append(Zxid(number as i64), history.txn(number));
}

fn apply(tree: &mut DataTree, history: &History, number: usize) {
    let txn = zkserver::proto::txn::decode(history.txn(number)).unwrap();
    tree.process_txn(&txn.header, &txn.txn, &mut ());
}

fn check(recovered: &Recovered, history: &History, number: usize) {
    assert_eq!(recovered.last_zxid, Zxid(number as i64));
    history.assert_state(&recovered.tree, number, &|| format!("{:?}", recovered.report));
}

fn crash_modes(call: u64) -> [Unsynced; 4] {
    let torn = |i| Unsynced::Torn(call * 1000 + i);
    [Unsynced::Kept, Unsynced::Lost, torn(0), torn(1)]
}

#[test]
fn a_log_is_cut_anywhere_and_goes_on_from_there() {
    let history = History::new(1, 60);
    let config = config(Path::new("/data"));
    for to in 1..=LAST {
        let disk = forty(&history, &config);
        check(
            &truncate(&disk, &config, Zxid(to as i64), 7).unwrap(),
            &history,
            to,
        );
        let listing = data_dir::list(&disk, &config).unwrap();
        assert!(listing.snapshots.iter().all(|file| file.zxid <= Zxid(to as i64)));
        let disk = disk.restart(Unsynced::Lost);
        check(&recover(&disk, &config, 7).unwrap(), &history, to);
        let mut log = LogWriter::new(disk.clone(), &config);
        append(&mut log, &history, to + 1);
        log.close().unwrap();
        check(&recover(&disk, &config, 7).unwrap(), &history, to + 1);
    }
}

#[test]
fn a_cut_that_a_crash_interrupts_has_lost_nothing_below_it_and_is_done_again() {
    let history = History::new(2, 60);
    let config = config(Path::new("/data"));
    for to in [5, 10, 20, 27, 30, 35] {
        for call in 1.. {
            let disk = forty(&history, &config).restart(Unsynced::Kept);
            disk.set_fault(Fault::Crash(call));
            let done = truncate(&disk, &config, Zxid(to), 7).is_ok();
            if !disk.is_crashed() {
                assert!(done && call > 10);
                break;
            }
            for mode in crash_modes(call) {
                let disk = disk.restart(mode);
                let found = recover(&disk, &config, 7).unwrap();
                assert!(found.last_zxid >= Zxid(to), "cut too far: {}", found.last_zxid);
                check(&found, &history, found.last_zxid.0 as usize);
                check(
                    &truncate(&disk, &config, Zxid(to), 7).unwrap(),
                    &history,
                    to as usize,
                );
            }
        }
    }
}

#[test]
fn what_cannot_be_cut_is_left_as_it_was() {
    let history = History::new(3, 60);
    let config = config(Path::new("/data"));
    let disk = forty(&history, &config);
    let behind = truncate(&disk, &config, Zxid(41), 7).map(|_| ()).unwrap_err();
    assert!(matches!(behind, TruncateError::NotInLog { found: Zxid(40), .. }) && behind.is_untouched());
    for snapshot in ["snapshot.0", "snapshot.a"] {
        disk.take(&config.snap_dir.join(snapshot));
    }
    let before = truncate(&disk, &config, Zxid(20), 7).map(|_| ()).unwrap_err();
    assert!(matches!(before, TruncateError::NoSnapshot(Zxid(20))) && before.is_untouched());
    check(&recover(&disk, &config, 7).unwrap(), &history, LAST);
    // The mark of a later epoch keeps everything.
    let mark = Zxid::new(Epoch(1), 0);
    check(&truncate(&disk, &config, mark, 7).unwrap(), &history, LAST);
}

fn stream(tree: &mut DataTree, behind: &[u8]) -> Vec<u8> {
    let head = tree.snapshot_begin();
    let mut bytes = Vec::new();
    snapshot_stream::encode_begin(&head, &mut bytes);
    let mut cursor = SnapshotCursor::default();
    while !tree.snapshot_chunk(&mut cursor, &mut bytes, 500) {}
    tree.snapshot_end();
    snapshot_stream::encode_end(&mut bytes);
    bytes.extend_from_slice(behind);
    bytes
}

#[test]
fn a_snapshot_stream_is_read_to_its_end_and_not_beyond() {
    let history = History::new(4, 30);
    let bytes = stream(&mut history.tree(25), b"next packet");
    let receive = |bytes: &[u8]| snapshot_stream::receive(bytes, Zxid(25), 1 << 20, 9);
    let (tree, behind) = receive(&bytes).unwrap();
    history.assert_state(&tree, 25, &|| "received".into());
    assert_eq!(behind, b"next packet");
    let end = bytes.len() - behind.len();
    for cut in [0, 3, 4, 40, end / 2, end - 15, end - 11, end - 1] {
        assert!(receive(&bytes[..cut]).is_err(), "{cut}");
    }
    let mut other = bytes.clone();
    other[end - 1] ^= 1;
    let error = receive(&other).map(|_| ()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("no signature behind the nodes at offset"),
        "{error}"
    );
}

#[test]
fn the_snapshot_of_a_fresh_apache_leader_is_read() {
    let mut bytes: Vec<u8> = vec![
        0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1,
    ];
    bytes.extend_from_slice(b"\0\0\0\x05world\0\0\0\x06anyone");
    let node = |bytes: &mut Vec<u8>, path: &str, data: &str, acl: i64| {
        for text in [path, data] {
            bytes.extend_from_slice(&(text.len() as i32).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.extend_from_slice(&acl.to_be_bytes());
        bytes.extend_from_slice(&[0; 60]);
    };
    node(&mut bytes, "", "", -1);
    node(&mut bytes, "/zookeeper", "", -1);
    node(
        &mut bytes,
        "/zookeeper/config",
        "server.1=h:1:2:participant\nversion=0",
        1,
    );
    node(&mut bytes, "/zookeeper/quota", "", -1);
    bytes.extend_from_slice(b"\0\0\0\x01/\0\0\0\x0aBenWasHere");
    let (tree, behind) = snapshot_stream::receive(&bytes[..], Zxid(0), 1 << 20, 9).unwrap();
    assert!(behind.is_empty());
    let config = tree.lookup("/zookeeper/config").unwrap();
    assert!(config.data().unwrap().ends_with(b"version=0"));
    assert_eq!(tree.lookup("/zookeeper").unwrap().num_children(), 2);
}

#[test]
fn a_received_snapshot_takes_the_place_of_everything_in_one_step() {
    install_everywhere(Former::Removed);
    install_everywhere(Former::SetAside);
}

/// Logs and snapshots, by their content without the room behind it.
fn histories(disk: &SimDisk) -> Vec<Vec<u8>> {
    let names = ["log.", "snapshot."];
    let is_meant = |path: &PathBuf| names.iter().any(|name| path.to_string_lossy().contains(name));
    let paths = disk.paths().into_iter().filter(is_meant);
    let content = |path: PathBuf| {
        let mut content = disk.content(&path);
        content.truncate(content.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1));
        content
    };
    paths.map(content).collect()
}

/// How many files have names that no server reads.
fn set_aside(disk: &SimDisk) -> usize {
    let paths = disk.paths();
    paths
        .iter()
        .filter(|path| path.to_string_lossy().contains("/damaged.1."))
        .count()
}

fn install_everywhere(former: Former) {
    let (ours, theirs) = (History::new(5, 60), History::new(6, 60));
    let config = StorageConfig {
        log_dir: version_2(Path::new("/log")),
        ..config(Path::new("/data"))
    };
    // Older, in the middle, and newer than what is there.
    for zxid in [25, 40, 55] {
        let mut crashes = 0;
        for call in 1.. {
            let disk = forty(&ours, &config).restart(Unsynced::Kept);
            let before = histories(&disk);
            disk.set_fault(Fault::Crash(call));
            let mut tree = theirs.tree(zxid);
            let done = snapshot_stream::install(&disk, &config, &mut tree, former).is_ok();
            if !disk.is_crashed() {
                assert!(done);
                disk.set_fault(Fault::None);
                let listing = data_dir::list(&disk, &config).unwrap();
                assert_eq!((listing.logs.len(), listing.snapshots.len()), (0, 1));
                assert_eq!(
                    set_aside(&disk),
                    before.len() * usize::from(former == Former::SetAside)
                );
                check(
                    &recover(&disk.restart(Unsynced::Lost), &config, 7).unwrap(),
                    &theirs,
                    zxid,
                );
                break;
            }
            for mode in crash_modes(call) {
                let disk = disk.restart(mode);
                let found = recover(&disk, &config, 7).unwrap();
                let is_new = describe(&found.tree) == describe(&theirs.tree(zxid));
                if !is_new {
                    check(&found, &ours, LAST);
                }
                if former == Former::SetAside {
                    let left = histories(&disk);
                    assert!(before.iter().all(|content| left.contains(content)), "call {call}");
                }
                let again = recover(&disk.restart(Unsynced::Lost), &config, 7).unwrap();
                assert_eq!(again.last_zxid, found.last_zxid);
                crashes += 1;
            }
        }
        assert!(crashes > 40, "{crashes}");
    }
}

#[test]
fn a_part_of_the_log_is_handed_out_only_if_it_is_proven_to_have_no_gap() {
    let history = History::new(7, 60);
    let config = config(Path::new("/data"));
    let disk = forty(&history, &config);
    let read = |after, upto, bytes_max| {
        let entries = read_range(&disk, &config, Zxid(after), Zxid(upto), bytes_max).unwrap();
        entries.map(|entries| entries.iter().map(|entry| entry.zxid.0).collect::<Vec<_>>())
    };
    for (after, upto) in [(1, 40), (5, 6), (10, 11), (19, 31), (20, 40), (39, 40)] {
        assert_eq!(
            read(after, upto, 1 << 20),
            Some((after + 1..=upto).collect()),
            "{after}"
        );
    }
    assert_eq!(read(1, 40, 1000), None, "too much");
    assert_eq!(read(0, 5, 1 << 20), None, "what it goes on from is not there");
    assert_eq!(read(35, 41, 1 << 20), None, "it ends before");
    // A snapshot of something that the log does not hold.
    let foreign = config.snap_dir.join("snapshot.fff");
    disk.put(&foreign, Vec::new());
    assert_eq!(read(5, 40, 1 << 20), Some((6..=40).collect()));
    disk.take(&config.log_dir.join("log.b"));
    assert_eq!(read(5, 40, 1 << 20), None, "a log is missing");
    assert_eq!(read(5, 10, 1 << 20), Some((6..=10).collect()));
}

#[test]
fn epochs_never_go_back_whenever_the_machine_stops() {
    let dir = version_2(Path::new("/data"));
    let config = config(Path::new("/data"));
    let epochs = |accepted, current| Epochs {
        accepted: Epoch(accepted),
        current: Epoch(current),
    };
    for call in 1.. {
        let disk = SimDisk::default();
        drop(data_dir::open(&disk, &config).unwrap());
        let (first, _) = epochs::load(&disk, &dir, Zxid::ZERO).unwrap();
        assert_eq!(first, epochs(0, 0));
        epochs::save(&disk, &dir, first, epochs(9, 8)).unwrap();
        disk.set_fault(Fault::Crash(disk.calls() + call));
        let done = epochs::save(&disk, &dir, epochs(9, 8), epochs(12, 11)).is_ok();
        if !disk.is_crashed() {
            assert!(done);
            assert_eq!(disk.content(&dir.join("acceptedEpoch")), b"12");
            assert_eq!(disk.content(&dir.join("currentEpoch")), b"11");
            break;
        }
        for mode in crash_modes(call) {
            let (found, _) = epochs::load(&disk.restart(mode), &dir, Zxid::ZERO).unwrap();
            let possible = [epochs(9, 8), epochs(12, 8), epochs(12, 11)];
            assert!(possible.contains(&found), "{found:?}");
        }
    }
}

#[test]
fn zk_1653_epochs_that_do_not_fit_the_state_are_refused_or_repaired() {
    let dir = version_2(Path::new("/data"));
    let config = config(Path::new("/data"));
    let load = |accepted: Option<&str>, current: Option<&str>, epoch| {
        let disk = SimDisk::default();
        drop(data_dir::open(&disk, &config).unwrap());
        for (name, text) in [("acceptedEpoch", accepted), ("currentEpoch", current)] {
            if let Some(text) = text {
                disk.put(&dir.join(name), text.as_bytes().to_vec());
            }
        }
        let found = epochs::load(&disk, &dir, Zxid::new(Epoch(epoch), 3));
        if let Ok((epochs, _)) = found {
            let again = epochs::load(&disk, &dir, Zxid::new(Epoch(epoch), 3)).unwrap();
            assert_eq!(again, (epochs, false));
        }
        found.map(|(epochs, is_repaired)| (epochs.accepted.0, epochs.current.0, is_repaired))
    };
    assert_eq!(load(None, None, 4).unwrap(), (4, 4, false));
    assert_eq!(load(Some("7\n"), Some("6"), 4).unwrap(), (7, 6, false));
    assert_eq!(load(Some("7"), Some("3"), 6).unwrap(), (7, 6, true));
    assert!(matches!(
        load(Some("5"), Some("6"), 4),
        Err(EpochsError::Promise { .. })
    ));
    assert!(matches!(
        load(Some("5"), Some("5"), 6),
        Err(EpochsError::State { .. })
    ));
    for text in ["", "x", "-1", "99999999999"] {
        let error = load(Some(text), Some("1"), 0).unwrap_err();
        assert!(
            error.to_string().contains("acceptedEpoch should hold the number"),
            "{error}"
        );
    }
}

/// What a member does to its directory at once: it cuts, replaces all, or promises.
#[derive(Clone, Copy, Debug)]
enum Act {
    Cut,
    Install,
    Promise,
}

impl Act {
    fn run(self, disk: &SimDisk, config: &StorageConfig, ours: &History, theirs: &History) -> bool {
        match self {
            Act::Cut => truncate(disk, config, ours.zxid(25), 7).is_ok(),
            Act::Install => {
                snapshot_stream::install(disk, config, &mut theirs.tree(50), Former::SetAside).is_ok()
            }
            Act::Promise => epochs::save(disk, &config.snap_dir, BEFORE, AFTER).is_ok(),
        }
    }

    /// What is there afterwards; nothing else than before if it was not done.
    fn check(self, disk: &SimDisk, config: &StorageConfig, histories: [&History; 2], is_done: bool) {
        let [ours, theirs] = histories;
        let found = recover(disk, config, 7).unwrap();
        let last = found.last_zxid.0 as usize;
        let is_before = ours.has_state(&found.tree, LAST);
        let is_after = match self {
            Act::Cut => last == 25 && ours.has_state(&found.tree, 25),
            Act::Install => theirs.has_state(&found.tree, 50),
            Act::Promise => is_before,
        };
        let is_between = matches!(self, Act::Cut) && last >= 25 && ours.has_state(&found.tree, last);
        assert!(
            is_after || (!is_done && (is_before || is_between)),
            "{self:?} {last}"
        );
        let (found, _) = epochs::load(disk, &config.snap_dir, found.last_zxid).unwrap();
        let is_promised = matches!(self, Act::Promise) && is_done;
        assert!(
            found.accepted
                >= if is_promised {
                    AFTER.accepted
                } else {
                    BEFORE.accepted
                }
        );
        assert!(
            found.current
                >= if is_promised {
                    AFTER.current
                } else {
                    BEFORE.current
                }
        );
    }
}

const BEFORE: Epochs = Epochs {
    accepted: Epoch(9),
    current: Epoch(8),
};
const AFTER: Epochs = Epochs {
    accepted: Epoch(12),
    current: Epoch(11),
};

#[test]
fn a_member_whose_disk_fails_or_fills_up_holds_what_it_held_or_what_it_said() {
    let (ours, theirs) = (History::new(8, 60), History::new(9, 60));
    let config = config(Path::new("/data"));
    let prepared = forty(&ours, &config);
    epochs::load(&prepared, &config.snap_dir, Zxid::ZERO).unwrap();
    epochs::save(&prepared, &config.snap_dir, Epochs::default(), BEFORE).unwrap();
    let judge = |act: Act, disk: &SimDisk, is_done: bool, seed: u64| {
        for mode in crash_modes(seed) {
            act.check(&disk.restart(mode), &config, [&ours, &theirs], is_done);
        }
    };
    for act in [Act::Cut, Act::Install, Act::Promise] {
        let mut failed = 0;
        for call in 1.. {
            let disk = prepared.restart(Unsynced::Kept);
            disk.set_fault(Fault::FailOnce(call));
            let is_done = act.run(&disk, &config, &ours, &theirs);
            judge(act, &disk, is_done, call);
            let is_over = disk.calls() < call;
            let disk = prepared.restart(Unsynced::Kept);
            disk.set_fault(Fault::FailFrom(call));
            let is_done = act.run(&disk, &config, &ours, &theirs);
            judge(act, &disk, is_done, call);
            if is_over {
                break;
            }
            failed += 1;
        }
        assert!(failed > 10, "{act:?}: {failed}");
        for room in (0..).step_by(if matches!(act, Act::Promise) { 1 } else { 137 }) {
            let disk = prepared.restart(Unsynced::Kept);
            disk.set_room(Some(room));
            let is_done = act.run(&disk, &config, &ours, &theirs);
            judge(act, &disk, is_done, room);
            if is_done {
                break;
            }
        }
    }
}

#[test]
fn zk_2846_no_log_from_before_a_received_snapshot_feeds_a_diff() {
    let (ours, theirs) = (History::new(8, 60), History::new(9, 60));
    let config = config(Path::new("/data"));
    let disk = forty(&ours, &config);
    snapshot_stream::install(&disk, &config, &mut theirs.tree(55), Former::Removed).unwrap();
    let mut log = LogWriter::new(disk.clone(), &config);
    (56..=58).for_each(|number| append(&mut log, &theirs, number));
    log.close().unwrap();
    let disk = disk.restart(Unsynced::Lost);
    check(&recover(&disk, &config, 7).unwrap(), &theirs, 58);
    let read = |after, upto| {
        let entries = read_range(&disk, &config, Zxid(after), Zxid(upto), 1 << 20).unwrap();
        entries.map(|entries| entries.len())
    };
    for after in 1..=40 {
        assert_eq!(read(after, 58), None, "after {after}");
        assert_eq!(read(after, 40), None, "after {after}");
    }
    assert_eq!(read(56, 58), Some(2));
}

#[test]
fn zk_1549_a_cut_leaves_no_snapshot_that_holds_what_was_cut() {
    let history = History::new(10, 60);
    let config = config(Path::new("/data"));
    let disk = forty(&history, &config);
    // Taken before there was a quorum, of all that was logged.
    snapshot_writer::write_tree(&disk, &config, &mut history.tree(LAST)).unwrap();
    check(&truncate(&disk, &config, Zxid(38), 7).unwrap(), &history, 38);
    let disk = disk.restart(Unsynced::Lost);
    check(&recover(&disk, &config, 7).unwrap(), &history, 38);
    let newest = data_dir::list(&disk, &config).unwrap().snapshots[0].zxid;
    assert!(newest <= Zxid(38), "{newest}");
    // With nothing to start from below the cut, it is refused, and nothing has changed.
    let disk = forty(&history, &config);
    snapshot_writer::write_tree(&disk, &config, &mut history.tree(LAST)).unwrap();
    for snapshot in ["snapshot.0", "snapshot.a", "snapshot.1e"] {
        disk.take(&config.snap_dir.join(snapshot));
    }
    let refused = truncate(&disk, &config, Zxid(38), 7).map(|_| ()).unwrap_err();
    assert!(
        matches!(refused, TruncateError::NoSnapshot(Zxid(38))),
        "{refused}"
    );
}

#[test]
fn zk_3701_a_cut_that_the_disk_refuses_is_never_taken_for_one() {
    let history = History::new(11, 60);
    let config = config(Path::new("/data"));
    let mut fatal = 0;
    for call in 1.. {
        let disk = forty(&history, &config).restart(Unsynced::Kept);
        disk.set_fault(Fault::FailFrom(disk.calls() + call));
        match truncate(&disk, &config, Zxid(27), 7) {
            Ok(recovered) => {
                check(&recovered, &history, 27);
                assert!(call > 10);
                break;
            }
            // Only who has changed nothing may go on, and ask for a snapshot instead.
            Err(error) => {
                disk.set_fault(Fault::None);
                let found = recover(&disk.restart(Unsynced::Lost), &config, 7).unwrap();
                match error.is_untouched() {
                    true => check(&found, &history, LAST),
                    false => assert!(found.last_zxid >= Zxid(27), "call {call}: {}", found.last_zxid),
                }
                fatal += u32::from(!error.is_untouched());
            }
        }
    }
    assert!(fatal > 5, "{fatal}");
}

#[test]
fn no_database_is_one_that_was_lost_unless_the_server_may_begin_empty() {
    let strict = StorageConfig {
        may_begin_empty: false,
        ..config(Path::new("/data"))
    };
    let disk = SimDisk::default();
    let _held = data_dir::open(&disk, &strict).unwrap();
    for _ in 0..2 {
        let error = recover(&disk, &strict, 1).err().unwrap();
        assert!(error.is_damage(), "a member gets it from a leader");
        assert!(
            error
                .to_string()
                .contains("there is no database in /data/version-2"),
            "{error}"
        );
    }
    let allowed = StorageConfig {
        may_begin_empty: true,
        ..strict.clone()
    };
    recover(&disk, &allowed, 1).unwrap();
    assert_eq!(recover(&disk, &strict, 1).unwrap().last_zxid, Zxid::ZERO);
}
