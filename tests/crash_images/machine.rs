//! A server's storage at work on a disk that is recorded, and what the outside knows of it at every moment.

use std::path::Path;

use zkserver::ids::{Epoch, Zxid};
use zkserver::proto::txn;
use zkserver::storage::epochs::{self, Epochs};
use zkserver::storage::log_truncate::truncate;
use zkserver::storage::log_writer::LogWriter;
use zkserver::storage::recovery::recover;
use zkserver::storage::snapshot_stream::{self, Former};
use zkserver::storage::{StorageConfig, data_dir, purge, snapshot_writer};
use zkserver::tree::{DataTree, SnapshotCursor};

use crate::history::{History, config};
use crate::sim_disk::{Fault, SimDisk};

/// What a directory may hold.
#[derive(Clone, Debug)]
pub struct Known {
    /// One of these, between two lengths: what was acknowledged, and what was attempted.
    pub spans: Vec<Span>,
    /// What was promised, and what was about to be; `None` alone.
    pub epochs: Option<(Epochs, Epochs)>,
}

/// A part of a history.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub history: usize,
    pub least: usize,
    pub most: usize,
}

/// What was recorded.
pub struct Recording {
    pub config: StorageConfig,
    pub histories: Vec<History>,
    /// The disk before each call, the call, and what was known.
    pub moments: Vec<Moment>,
}

pub struct Moment {
    pub disk: SimDisk,
    pub next: String,
    pub known: Known,
}

pub struct Machine {
    disk: SimDisk,
    pub config: StorageConfig,
    histories: Vec<History>,
    /// In `histories`.
    history: usize,
    /// Transactions in tree and log.
    length: usize,
    tree: DataTree,
    log: LogWriter<SimDisk>,
    lock: Option<data_dir::DataDirLock<SimDisk>>,
    known: Known,
    known_at: Vec<Known>,
}

impl Machine {
    /// Starts for the first time. With `is_member` it keeps epochs.
    pub fn start(change: impl FnOnce(&mut StorageConfig), history: History, is_member: bool) -> Machine {
        let mut config = config(Path::new("/data"));
        change(&mut config);
        let disk = SimDisk::default();
        disk.record();
        let nothing = Span {
            history: 0,
            least: 0,
            most: 0,
        };
        let epochs = (Epochs::default(), Epochs::default());
        let mut machine = Machine {
            log: LogWriter::new(disk.clone(), &config),
            disk,
            config,
            histories: vec![history],
            history: 0,
            length: 0,
            tree: DataTree::new(7),
            lock: None,
            known: Known {
                spans: vec![nothing],
                epochs: is_member.then_some(epochs),
            },
            known_at: Vec::new(),
        };
        machine.recover();
        machine
    }

    /// The end of the recording.
    pub fn finish(mut self) -> Recording {
        let moments = self.disk.take_recorded();
        self.known_at.resize(moments.len(), self.known);
        let moments = moments.into_iter().zip(self.known_at);
        Recording {
            config: self.config,
            histories: self.histories,
            moments: moments
                .map(|((next, disk), known)| Moment { disk, next, known })
                .collect(),
        }
    }

    fn recover(&mut self) {
        self.lock = None;
        self.lock = Some(data_dir::open(&self.disk, &self.config).expect("nothing goes wrong"));
        let recovered = recover(&self.disk, &self.config, 7).expect("nothing goes wrong");
        let last = recovered.last_zxid;
        // What was found is served from here on.
        let length = self.histories[self.history]
            .number_of(last)
            .expect("it was written here");
        self.hold(&[(self.history, length, length)]);
        self.length = length;
        self.tree = recovered.tree;
        self.log = LogWriter::new(self.disk.clone(), &self.config);
        if self.known.epochs.is_some() {
            epochs::load(&self.disk, &self.config.snap_dir, last).expect("nothing goes wrong");
        }
    }

    /// From now on this is known.
    fn know(&mut self, change: impl FnOnce(&mut Known)) {
        self.known_at
            .resize(self.disk.recorded_count(), self.known.clone());
        change(&mut self.known);
    }

    fn hold(&mut self, spans: &[(usize, usize, usize)]) {
        let span = |&(history, least, most)| Span { history, least, most };
        self.know(|known| known.spans = spans.iter().map(span).collect());
    }

    /// A call to the disk fails once, soon. The process that hears of it ends, and the next one begins.
    pub fn fail_soon(&mut self, calls: u64) {
        self.disk.set_fault(Fault::FailOnce(self.disk.calls() + calls));
    }

    /// Transactions with one sync.
    pub fn batch(&mut self, count: usize) {
        let (history, before) = (self.history, self.length);
        let after = before + count;
        self.hold(&[(history, before, after)]);
        for number in before + 1..=after {
            let history = &self.histories[history];
            self.log.append(history.zxid(number), history.txn(number));
        }
        if self.log.sync().is_err() {
            return self.recover();
        }
        self.hold(&[(history, after, after)]);
        for number in before + 1..=after {
            let decoded = txn::decode(self.histories[history].txn(number)).expect("it was encoded here");
            self.tree.process_txn(&decoded.header, &decoded.txn, &mut ());
        }
        self.length = after;
    }

    pub fn roll(&mut self) {
        self.log.roll();
    }

    /// A snapshot, during which a transaction is logged now and then.
    pub fn snapshot(&mut self) {
        let head = self.tree.snapshot_begin();
        let (disk, config) = (self.disk.clone(), self.config.clone());
        let mut cursor = SnapshotCursor::default();
        let written = snapshot_writer::write(&disk, &config, &head, |out| {
            self.batch(1);
            self.tree.snapshot_chunk(&mut cursor, out, 2000)
        });
        written.expect("nothing goes wrong");
        self.tree.snapshot_end();
    }

    pub fn purge(&mut self) {
        purge::purge(&self.disk, &self.config, 3).expect("nothing goes wrong");
    }

    /// Ends in order, and starts again.
    pub fn restart(&mut self) {
        self.close_log();
        self.recover();
    }

    /// Is killed, and starts again; the machine goes on.
    pub fn kill(&mut self) {
        self.recover();
    }

    /// No log is open behind this, as between two roles.
    pub fn close_log(&mut self) {
        let next = LogWriter::new(self.disk.clone(), &self.config);
        let log = std::mem::replace(&mut self.log, next);
        log.close().expect("nothing goes wrong");
    }

    /// Promises an epoch, or joins it.
    pub fn epochs(&mut self, accepted: i64, current: i64) {
        let next = Epochs {
            accepted: Epoch(accepted),
            current: Epoch(current),
        };
        let (saved, _) = self.known.epochs.expect("a member");
        self.know(|known| known.epochs = Some((saved, next)));
        epochs::save(&self.disk, &self.config.snap_dir, saved, next).expect("nothing goes wrong");
        self.know(|known| known.epochs = Some((next, next)));
    }

    /// What comes behind so many transactions is taken back, and history goes on with these zxids.
    pub fn truncate(&mut self, to: usize, seed: u64, zxids: impl IntoIterator<Item = Zxid>) {
        let (old, new) = (self.history, self.histories.len());
        let fork = self.histories[old].fork(to, seed, zxids);
        let zxid = fork.zxid(to);
        self.histories.push(fork);
        self.hold(&[(old, to, self.length)]);
        self.close_log();
        let recovered = truncate(&self.disk, &self.config, zxid, 7).expect("nothing goes wrong");
        self.take(new, to, recovered.tree);
    }

    /// An image of another history takes the place of all.
    pub fn install(&mut self, history: History, length: usize, former: Former) {
        let (old, new) = (self.history, self.histories.len());
        let mut tree = history.tree(length);
        self.histories.push(history);
        self.hold(&[(old, self.length, self.length), (new, length, length)]);
        self.close_log();
        snapshot_stream::install(&self.disk, &self.config, &mut tree, former).expect("nothing goes wrong");
        self.take(new, length, tree);
    }

    fn take(&mut self, history: usize, length: usize, tree: DataTree) {
        (self.history, self.length, self.tree) = (history, length, tree);
        self.hold(&[(history, length, length)]);
    }

    pub fn length(&self) -> usize {
        self.length
    }
}
