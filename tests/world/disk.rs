//! A server's disk: what a restart would find, and what is still on its way there, in its order.

use std::collections::VecDeque;

use zkserver::ids::{Epoch, Zxid};
use zkserver::proto::txn;
use zkserver::replica::Input;
use zkserver::storage::snapshot_stream;
use zkserver::tree::{DataTree, SnapshotCursor};
use zkserver::zab::{CommittedLog, LogEntry, follows};

pub struct Disk {
    /// Images by their last transactions, oldest first.
    snapshots: Vec<(Zxid, Vec<u8>)>,
    pub log: Vec<LogEntry>,
    /// `acceptedEpoch` and `currentEpoch`.
    pub epochs: (Epoch, Epoch),
    pub queue: VecDeque<DiskOp>,
    /// Nothing more becomes durable for now.
    pub is_held: bool,
}

/// What the log is asked to do.
pub enum DiskOp {
    Append(LogEntry),
    Epochs(Epoch, Epoch),
    Fence,
    Truncate(Zxid),
    Install(Box<DataTree>),
}

impl Disk {
    /// A server that never ran.
    pub fn new() -> Disk {
        Disk {
            snapshots: vec![(Zxid::ZERO, image(&mut DataTree::new(1)))],
            log: Vec::new(),
            epochs: (Epoch(0), Epoch(0)),
            queue: VecDeque::new(),
            is_held: false,
        }
    }

    /// What a server begins with: the newest snapshot, and the log behind it.
    pub fn recover(&mut self) -> (DataTree, CommittedLog) {
        let (base, bytes) = self.snapshots.last().expect("there is one at least");
        let mut tree = load(bytes, *base);
        let behind = self.log.partition_point(|entry| entry.zxid <= *base);
        let mut tail = Vec::new();
        for entry in &self.log[behind..] {
            replay(&mut tree, entry);
            tail.push(entry.encoded.clone());
        }
        let last = tree.last_processed_zxid();
        assert!(last.epoch() <= self.epochs.0, "state of an epoch never promised");
        self.epochs.1 = self.epochs.1.max(last.epoch());
        let tail = tail.split_off(tail.len().saturating_sub(500));
        let window = CommittedLog::recovered(tail, last, 0);
        (tree, window)
    }

    /// Does what comes next, so many appends as one, and says what is reported.
    pub fn advance(&mut self, appends_max: usize) -> Option<Input> {
        let mut upto = None;
        for _ in 0..appends_max {
            let is_append = |op: &mut DiskOp| matches!(op, DiskOp::Append(_));
            let Some(DiskOp::Append(entry)) = self.queue.pop_front_if(is_append) else {
                break;
            };
            upto = Some(entry.zxid);
            self.append(entry);
        }
        if let Some(upto) = upto {
            return Some(Input::LogDurable { upto });
        }
        Some(match self.queue.pop_front()? {
            DiskOp::Append(_) => unreachable!("they are done"),
            DiskOp::Epochs(accepted, current) => self.save_epochs(accepted, current),
            DiskOp::Fence => Input::LogFenced,
            DiskOp::Truncate(to) => self.truncate(to),
            DiskOp::Install(tree) => self.install(tree),
        })
    }

    /// The process dies when this many of the things under way are done.
    pub fn crash(&mut self, done: usize) {
        for _ in 0..done {
            match self.queue.pop_front() {
                Some(DiskOp::Append(entry)) => self.append(entry),
                Some(DiskOp::Epochs(accepted, current)) => {
                    self.save_epochs(accepted, current);
                }
                Some(DiskOp::Truncate(to)) => {
                    self.truncate(to);
                }
                Some(DiskOp::Install(tree)) => {
                    self.install(tree);
                }
                Some(DiskOp::Fence) | None => {}
            }
        }
        self.queue.clear();
    }

    /// A snapshot is complete.
    pub fn keep_snapshot(&mut self, zxid: Zxid, bytes: Vec<u8>) {
        self.snapshots.push((zxid, bytes));
        self.snapshots.sort_by_key(|(zxid, _)| *zxid);
    }

    /// Where the newest snapshot ends.
    pub fn newest_snapshot(&self) -> Option<Zxid> {
        self.snapshots.last().map(|(zxid, _)| *zxid)
    }

    /// Forgets all but the newest snapshot and the log behind it.
    pub fn purge(&mut self) {
        self.snapshots.drain(..self.snapshots.len() - 1);
        let base = self.snapshots[0].0;
        self.log.retain(|entry| entry.zxid > base);
    }

    /// What the log holds behind `after` up to `upto`, if it holds both.
    pub fn read(&self, after: Zxid, upto: Zxid) -> Option<Vec<LogEntry>> {
        let find = |zxid: Zxid| self.log.binary_search_by_key(&zxid, |entry| entry.zxid).ok();
        let range = &self.log[find(after)?..=find(upto)?];
        let is_whole = range.windows(2).all(|two| follows(two[0].zxid, two[1].zxid));
        is_whole.then(|| range[1..].to_vec())
    }

    /// What the log was given between the two, durable or not.
    pub fn given(&self, after: Zxid, upto: Zxid) -> impl Iterator<Item = &LogEntry> {
        let from = self.log.partition_point(|entry| entry.zxid <= after);
        let queued = self.queue.iter().filter_map(|op| match op {
            DiskOp::Append(entry) => Some(entry),
            _ => None,
        });
        let is_meant = move |entry: &&LogEntry| entry.zxid > after && entry.zxid <= upto;
        self.log[from..].iter().chain(queued).filter(is_meant)
    }

    /// Law: what is acknowledged is durable: a transaction, or an epoch that is joined.
    pub fn check_ack(&self, zxid: Zxid) {
        if zxid.counter() == 0 {
            assert_eq!(self.epochs.1, zxid.epoch(), "joined before the disk has it");
        } else {
            assert!(
                zxid <= self.last(),
                "{zxid} is acknowledged before the disk has it"
            );
        }
    }

    /// Where the durable history ends.
    pub fn last(&self) -> Zxid {
        let base = self.snapshots.last().map_or(Zxid::ZERO, |snapshot| snapshot.0);
        self.log.last().map_or(base, |entry| entry.zxid.max(base))
    }

    fn append(&mut self, entry: LogEntry) {
        // A snapshot may be ahead of the log, and of all of it that outlives a crash.
        let bases = self.snapshots.iter().map(|(zxid, _)| *zxid);
        let mut before = self.log.last().map(|entry| entry.zxid).into_iter().chain(bases);
        let follows = before.any(|before| follows(before, entry.zxid));
        assert!(follows, "a gap before {}", entry.zxid);
        self.log.push(entry);
    }

    fn save_epochs(&mut self, accepted: Epoch, current: Epoch) -> Input {
        assert!(current <= accepted, "an epoch is promised before it is joined");
        assert!(
            accepted >= self.epochs.0 && current >= self.epochs.1,
            "no promise is taken back"
        );
        self.epochs = (accepted, current);
        Input::EpochsSaved { accepted, current }
    }

    fn truncate(&mut self, to: Zxid) -> Input {
        let good = self.snapshots.partition_point(|(zxid, _)| *zxid <= to);
        let is_there = self.log.iter().any(|entry| entry.zxid == to);
        if good == 0 || !(is_there || self.snapshots[good - 1].0 == to) {
            return Input::CannotTruncate {
                reason: format!("{to} is not here"),
            };
        }
        self.snapshots.truncate(good);
        self.log.retain(|entry| entry.zxid <= to);
        Input::TreeReplaced(Box::new(self.recover().0))
    }

    fn install(&mut self, mut tree: Box<DataTree>) -> Input {
        self.snapshots = vec![(tree.last_processed_zxid(), image(&mut tree))];
        self.log.clear();
        Input::TreeReplaced(tree)
    }
}

/// A whole image of a tree, without the packet in front.
pub fn image(tree: &mut DataTree) -> Vec<u8> {
    let mut bytes = Vec::new();
    snapshot_stream::encode_begin(&tree.snapshot_begin(), &mut bytes);
    let mut cursor = SnapshotCursor::default();
    while !tree.snapshot_chunk(&mut cursor, &mut bytes, usize::MAX) {}
    tree.snapshot_end();
    snapshot_stream::encode_end(&mut bytes);
    bytes
}

/// All that a tree shows, but for what each server shows of its own.
pub fn describe(tree: &DataTree) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut rest = vec![tree.lookup("/").expect("every tree has it")];
    while let Some(node) = rest.pop() {
        let path = node.path();
        if path != "/zookeeper/config" {
            let acl = tree.acl(node.acl_id());
            lines.push(format!("{path} {:?} {:?} {acl:?}", node.data(), node.persisted()));
        }
        rest.extend(node.children());
    }
    lines.sort();
    lines.push(format!("{:?}", tree.sessions()));
    lines
}

/// The tree that an image shows.
pub fn load(bytes: &[u8], zxid: Zxid) -> DataTree {
    let (tree, behind) = snapshot_stream::receive(bytes, zxid, 8 << 20, 1).expect("a good image");
    assert!(behind.is_empty(), "the image ends where it should");
    tree
}

/// Applies a transaction, which leads to the digest that it says.
pub fn replay(tree: &mut DataTree, entry: &LogEntry) {
    assert!(
        follows(tree.last_processed_zxid(), entry.zxid),
        "the log has no gap"
    );
    let logged = txn::decode(&entry.encoded).expect("a good transaction");
    tree.process_txn(&logged.header, &logged.txn, &mut ());
    if let Some(digest) = logged.digest {
        assert_eq!(tree.digest(), digest.digest, "the digest of {}", entry.zxid);
    }
}
