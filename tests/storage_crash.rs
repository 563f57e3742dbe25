//! Every call to the disk fails once, and is the last before a crash once; with it, what was not synced is
//! kept, lost or torn. Afterwards every transaction that was acknowledged is there, nothing that was never
//! written is, and the tree is the one that applying them in order makes.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/history.rs"]
mod history;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/sim_disk.rs"]
mod sim_disk;

use std::path::Path;

use history::{History, config, version_2};
use sim_disk::{Fault, SimDisk, Unsynced};
use zkserver::storage::log_writer::LogWriter;
use zkserver::storage::recovery::{RecoveryError, recover};
use zkserver::storage::{Compression, StorageConfig, data_dir, purge, snapshot_writer};
use zkserver::tree::{DataTree, SnapshotCursor};

/// What a server does with its storage.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// So many transactions in one batch.
    Batch(usize),
    Roll,
    /// Begins, goes on over the next batch, and ends.
    Snapshot,
    Purge,
    /// Orderly.
    Restart,
}

/// What the outside knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Known {
    acknowledged: usize,
    /// May be there or not.
    attempted: usize,
}

struct Server<'a> {
    disk: SimDisk,
    config: &'a StorageConfig,
    history: &'a History,
    tree: DataTree,
    log: LogWriter<SimDisk>,
    _lock: data_dir::DataDirLock<SimDisk>,
}

/// The process ended.
#[derive(Debug)]
struct Ended(String);

impl<'a> Server<'a> {
    fn start(
        disk: &SimDisk,
        config: &'a StorageConfig,
        history: &'a History,
        known: &mut Known,
    ) -> Result<Self, Ended> {
        let lock = data_dir::open(disk, config).map_err(|error| Ended(error.to_string()))?;
        let recovered = match recover(disk, config, 7) {
            Ok(recovered) => recovered,
            Err(error) => {
                let is_fault = matches!(
                    error,
                    RecoveryError::Disk(_) | RecoveryError::NoUsableSnapshot { .. }
                );
                assert!(is_fault && disk.trace().len() as u64 == disk.calls(), "{error}");
                return Err(Ended(error.to_string()));
            }
        };
        let last = usize::try_from(recovered.last_zxid.0).unwrap();
        let context = || format!("{known:?}\n{:?}\n{:#?}", recovered.report, disk.trace());
        assert!(last >= known.acknowledged, "lost after {last}: {}", context());
        assert!(last <= known.attempted, "phantom at {last}: {}", context());
        assert_eq!(recovered.report.digest_mismatches, 0, "{}", context());
        history.assert_state(&recovered.tree, last, &context);
        let tail: Vec<&[u8]> = recovered.committed_tail.iter().map(|txn| &txn[..]).collect();
        let expected: Vec<&[u8]> = (last + 1 - tail.len()..=last)
            .map(|number| history.txn(number))
            .collect();
        assert_eq!(tail, expected);
        // What was found is what will be served, and must not be lost any more.
        *known = Known {
            acknowledged: last,
            attempted: last,
        };
        Ok(Server {
            disk: disk.clone(),
            config,
            history,
            tree: recovered.tree,
            log: LogWriter::new(disk.clone(), config),
            _lock: lock,
        })
    }

    fn batch(&mut self, count: usize, known: &mut Known) -> Result<(), Ended> {
        let first = known.attempted + 1;
        let last = (known.attempted + count).min(self.history.len());
        for number in first..=last {
            let txn = self.history.txn(number);
            let decoded = zkserver::proto::txn::decode(txn).unwrap();
            self.log.append(decoded.header.zxid, txn);
        }
        known.attempted = last;
        self.log.sync().map_err(|error| Ended(error.to_string()))?;
        known.acknowledged = last;
        for number in first..=last {
            let decoded = zkserver::proto::txn::decode(self.history.txn(number)).unwrap();
            self.tree.process_txn(&decoded.header, &decoded.txn, &mut ());
        }
        Ok(())
    }

    fn snapshot(&mut self, known: &mut Known) -> Result<(), Ended> {
        let head = self.tree.snapshot_begin();
        let config = self.config.clone();
        let disk = self.disk.clone();
        let mut cursor = SnapshotCursor::default();
        let mut ended = Ok(());
        // A snapshot that fails is tried again later; the server goes on.
        let _ = snapshot_writer::write(&disk, &config, &head, |out| {
            if ended.is_ok() {
                ended = self.batch(1, known);
            }
            self.tree.snapshot_chunk(&mut cursor, out, 700)
        });
        self.tree.snapshot_end();
        ended
    }
}

fn run(
    disk: &SimDisk,
    config: &StorageConfig,
    history: &History,
    steps: &[Step],
    known: &mut Known,
) -> Result<(), Ended> {
    let mut server = Server::start(disk, config, history, known)?;
    for &step in steps {
        match step {
            Step::Batch(count) => server.batch(count, known)?,
            Step::Roll => server.log.roll(),
            Step::Snapshot => server.snapshot(known)?,
            Step::Purge => {
                let _ = purge::purge(disk, config, 3);
            }
            Step::Restart => {
                server.log.close().map_err(|error| Ended(error.to_string()))?;
                drop((server.tree, server._lock));
                server = Server::start(disk, config, history, known)?;
            }
        }
    }
    Ok(())
}

/// Whatever happened: the next server starts, goes on, and so does the one after it.
fn go_on(disk: &SimDisk, config: &StorageConfig, history: &History, mut known: Known) {
    run(disk, config, history, &[Step::Batch(3)], &mut known).unwrap();
    let disk = disk.restart(Unsynced::Lost);
    run(&disk, config, history, &[Step::Batch(1)], &mut known).unwrap();
}

const ALL_STEPS: [Step; 22] = [
    Step::Batch(1),
    Step::Batch(5),
    Step::Roll,
    Step::Snapshot,
    Step::Batch(9),
    Step::Roll,
    Step::Snapshot,
    Step::Batch(2),
    Step::Restart,
    Step::Batch(1),
    Step::Batch(14),
    Step::Roll,
    Step::Snapshot,
    Step::Snapshot,
    Step::Purge,
    Step::Batch(1),
    Step::Roll,
    Step::Batch(1),
    Step::Snapshot,
    Step::Purge,
    Step::Restart,
    Step::Batch(1),
];

fn crash_modes(call: u64) -> impl Iterator<Item = Unsynced> {
    let torn = (0..6).map(move |i| Unsynced::Torn(call * 1000 + i));
    [Unsynced::Kept, Unsynced::Lost].into_iter().chain(torn)
}

fn enumerate(config: &StorageConfig, history: &History, mut each: impl FnMut(u64)) -> u64 {
    let disk = SimDisk::default();
    run(&disk, config, history, &ALL_STEPS, &mut Known::default()).unwrap();
    let calls = disk.calls();
    assert!(calls > 150, "{calls}");
    (1..=calls).for_each(&mut each);
    calls
}

#[test]
fn nothing_is_lost_when_the_machine_stops_at_any_call() {
    let history = History::new(1, 400);
    for compression in [Compression::None, Compression::Gzip] {
        let config = StorageConfig {
            compression,
            ..config(Path::new("/data"))
        };
        enumerate(&config, &history, |call| {
            let disk = SimDisk::default();
            disk.set_fault(Fault::Crash(call));
            let mut known = Known::default();
            let _ = run(&disk, &config, &history, &ALL_STEPS, &mut known);
            assert!(disk.is_crashed());
            for mode in crash_modes(call) {
                go_on(&disk.restart(mode), &config, &history, known);
            }
        });
    }
}

#[test]
fn nothing_is_lost_when_any_call_fails() {
    let history = History::new(2, 400);
    let config = StorageConfig {
        log_dir: version_2(Path::new("/log")),
        ..config(Path::new("/data"))
    };
    enumerate(&config, &history, |call| {
        for fault in [Fault::FailOnce(call), Fault::FailFrom(call)] {
            let disk = SimDisk::default();
            disk.set_fault(fault);
            let mut known = Known::default();
            let _ = run(&disk, &config, &history, &ALL_STEPS, &mut known);
            for mode in crash_modes(call) {
                go_on(&disk.restart(mode), &config, &history, known);
            }
        }
    });
}

#[test]
fn a_recovery_that_is_cut_short_is_done_again() {
    let history = History::new(3, 400);
    let config = config(Path::new("/data"));
    let calls = enumerate(&config, &history, |_| {});
    for call in (1..=calls).step_by(5) {
        let disk = SimDisk::default();
        disk.set_fault(Fault::Crash(call));
        let mut known = Known::default();
        let _ = run(&disk, &config, &history, &ALL_STEPS, &mut known);
        let found = disk.restart(Unsynced::Torn(call));
        for second in 1.. {
            let disk = found.restart(Unsynced::Kept);
            disk.set_fault(Fault::Crash(second));
            let mut known = known;
            let started = Server::start(&disk, &config, &history, &mut known);
            if !disk.is_crashed() {
                break;
            }
            assert!(started.is_err());
            drop(started);
            go_on(&disk.restart(Unsynced::Torn(second)), &config, &history, known);
        }
    }
}

#[test]
fn a_disk_that_fills_up_at_any_byte_tears_nothing() {
    let history = History::new(4, 400);
    let config = config(Path::new("/data"));
    for room in (0..60_000).step_by(397) {
        let disk = SimDisk::default();
        disk.set_room(Some(room));
        let mut known = Known::default();
        let _ = run(&disk, &config, &history, &ALL_STEPS, &mut known);
        for mode in [Unsynced::Kept, Unsynced::Lost] {
            go_on(&disk.restart(mode), &config, &history, known);
        }
    }
}

#[test]
fn zk_2247_a_writer_that_failed_once_never_says_durable_again() {
    let history = History::new(5, 10);
    let config = config(Path::new("/data"));
    let disk = SimDisk::default();
    let mut known = Known::default();
    let mut server = Server::start(&disk, &config, &history, &mut known).unwrap();
    server.batch(1, &mut known).unwrap();
    disk.set_fault(Fault::FailOnce(disk.calls() + 2));
    let error = server.batch(1, &mut known).unwrap_err();
    assert!(error.0.contains("cannot sync /data/version-2/log.1"), "{error:?}");
    assert!(server.batch(1, &mut known).is_err());
    let lost = disk.restart(Unsynced::Lost);
    go_on(&lost, &config, &history, known);
}
