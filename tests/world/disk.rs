//! A server's disk: what a restart would find, and what is still on its way there, in its order.
//!
//! By itself it is a model, in which whatever was done is durable. With files under it, it is what the files
//! have to hold: every operation is done there as well, and what a process finds is compared.

use std::collections::VecDeque;

use zkserver::ids::{Epoch, Zxid};
use zkserver::proto::txn;
use zkserver::quorum::configs::Configs;
use zkserver::replica::Input;
use zkserver::storage::snapshot_stream;
use zkserver::tree::{DataTree, SnapshotCursor, SnapshotHead};
use zkserver::zab::{CommittedLog, LogEntry, follows};

use super::files::{Files, Found};
use super::sim_disk::Unsynced;

pub struct Disk {
    /// Images by their last transactions, oldest first. Without bytes where there are files.
    snapshots: Vec<(Zxid, Vec<u8>)>,
    pub log: Vec<LogEntry>,
    /// `acceptedEpoch` and `currentEpoch`.
    pub epochs: (Epoch, Epoch),
    /// Which configurations it knows, unless they are those that it began with.
    pub configs: Option<Configs>,
    pub queue: VecDeque<DiskOp>,
    /// Logs and snapshots cannot be used any more, until an image takes their place.
    pub is_damaged: bool,
    /// Nothing more becomes durable for now.
    pub is_held: bool,
    pub files: Option<Files>,
    /// What a crash has left undone; the files may show some of it.
    undone: VecDeque<DiskOp>,
}

/// What the log is asked to do.
pub enum DiskOp {
    Append(LogEntry),
    Roll,
    Epochs(Epoch, Epoch),
    Configs(Configs),
    Fence,
    Truncate(Zxid),
    Install(Box<DataTree>),
}

/// What a process begins with.
pub struct Start {
    pub tree: DataTree,
    pub committed_log: CommittedLog,
}

impl Disk {
    /// A server that never ran, in an ensemble whose history begins behind `base`.
    pub fn new(base: Zxid, has_files: bool) -> Disk {
        let mut tree = load(&image(&mut DataTree::new(1)), base);
        Disk {
            files: has_files.then(|| Files::new(&mut tree)),
            snapshots: vec![(base, image(&mut tree))],
            log: Vec::new(),
            epochs: (base.epoch(), base.epoch()),
            configs: None,
            queue: VecDeque::new(),
            is_damaged: false,
            is_held: false,
            undone: VecDeque::new(),
        }
    }

    /// What is known here of the members, or will be once everything is written.
    pub fn all_configs(&self) -> impl Iterator<Item = &Configs> {
        let queued = self.queue.iter().filter_map(|op| {
            let DiskOp::Configs(configs) = op else {
                return None;
            };
            Some(configs)
        });
        self.configs.iter().chain(queued)
    }

    /// What a server begins with: the newest snapshot, and the log behind it. An error if it refuses.
    pub fn start(&mut self, window: usize) -> Result<Start, String> {
        let (tree, tail) = match &mut self.files {
            Some(files) => {
                let found = files.open()?;
                self.is_damaged = found.is_damaged;
                if !found.is_damaged {
                    self.compare(&found);
                }
                self.compare_epochs(&found);
                (found.recovered.tree, found.recovered.committed_tail)
            }
            None => self.recover(),
        };
        if !self.is_damaged {
            self.undone.clear();
        }
        let last = tree.last_processed_zxid();
        let committed_log = CommittedLog::recovered(tail, last, window);
        Ok(Start { tree, committed_log })
    }

    pub fn recover(&mut self) -> (DataTree, Vec<bytes::Bytes>) {
        if self.is_damaged {
            return (DataTree::new(1), Vec::new());
        }
        let (base, bytes) = self.snapshots.last().expect("there is one at least");
        let mut tree = load(bytes, *base);
        let behind = self.log.partition_point(|entry| entry.zxid <= *base);
        let mut tail = Vec::new();
        for entry in &self.log[behind..] {
            replay(&mut tree, entry);
            tail.push(entry.encoded.clone());
        }
        let last = tree.last_processed_zxid();
        assert!(
            last.epoch() <= self.epochs.0,
            "I7: state of an epoch never promised"
        );
        self.epochs.1 = self.epochs.1.max(last.epoch());
        let tail = tail.split_off(tail.len().saturating_sub(500));
        (tree, tail)
    }

    /// Law: the files hold everything that was durable, and nothing that they were never given.
    fn compare(&mut self, found: &Found) {
        let last = found.recovered.last_zxid;
        let replacement = self.undone.iter().find_map(|op| match op {
            DiskOp::Truncate(to) => Some((*to, false)),
            // A damaged member may have died over more than one.
            DiskOp::Install(tree) if tree.last_processed_zxid() == last => Some((last, true)),
            DiskOp::Install(_)
            | DiskOp::Append(_)
            | DiskOp::Roll
            | DiskOp::Epochs(..)
            | DiskOp::Configs(_)
            | DiskOp::Fence => None,
        });
        match replacement {
            Some((to, false)) => {
                let is_between = last >= to && last <= self.last();
                assert!(is_between, "I6: the log was cut at {last}, not at {to}");
                self.cut(last);
            }
            Some((image, true)) if last == image && last != self.last() => {
                self.snapshots = vec![(last, Vec::new())];
                self.log.clear();
            }
            Some(_) | None => {}
        }
        assert!(last >= self.last(), "I5: {last} is left of {}", self.last());
        for op in std::mem::take(&mut self.undone) {
            if let DiskOp::Append(entry) = op
                && entry.zxid > self.last()
                && entry.zxid <= last
            {
                self.append(entry);
            }
        }
        assert!(
            self.last() == last,
            "I3: the log shows {last}, which it was never given behind {}",
            self.last()
        );
        for encoded in &found.recovered.committed_tail {
            let zxid = txn::decode(encoded).expect("a good transaction").header.zxid;
            if let Ok(at) = self.log.binary_search_by_key(&zxid, |entry| entry.zxid) {
                assert!(
                    self.log[at].encoded == *encoded,
                    "I3: another {zxid} is in the log"
                );
            }
        }
    }

    /// Law: no promise is taken back.
    fn compare_epochs(&mut self, found: &Found) {
        let last = found.recovered.last_zxid;
        let (accepted, current) = (found.epochs.accepted, found.epochs.current);
        assert!(
            accepted >= self.epochs.0 && current >= self.epochs.1,
            "I7: epochs go back from {:?} to {:?}",
            self.epochs,
            found.epochs
        );
        assert!(
            last.epoch() <= current,
            "I7: state of an epoch that was not joined"
        );
        self.epochs = (accepted, current);
    }

    /// Does what comes next, so many appends as one, and says what is reported. An error ends the process.
    pub fn advance(&mut self, appends_max: usize) -> Result<Option<Input>, String> {
        while let Some(op) = self
            .queue
            .pop_front_if(|op| matches!(op, DiskOp::Roll | DiskOp::Configs(_)))
        {
            match op {
                DiskOp::Configs(configs) => self.configs = Some(configs),
                _ => self.files.iter_mut().for_each(Files::roll),
            }
        }
        let is_append = |op: &&DiskOp| matches!(op, DiskOp::Append(_));
        let count = self.queue.iter().take(appends_max).take_while(is_append).count();
        if count > 0 {
            return self.append_all(count).map(Some);
        }
        let Some(op) = self.queue.front_mut() else {
            return Ok(None);
        };
        let mut replaced = None;
        if let Some(files) = &mut self.files {
            match op {
                DiskOp::Append(_) | DiskOp::Roll | DiskOp::Configs(_) | DiskOp::Fence => {}
                DiskOp::Epochs(accepted, current) => files.save_epochs(*accepted, *current)?,
                DiskOp::Truncate(to) => replaced = Some(files.truncate(*to)?),
                DiskOp::Install(tree) => files.install(tree)?,
            }
        }
        Ok(self.queue.pop_front().map(|op| match op {
            DiskOp::Append(_) | DiskOp::Roll | DiskOp::Configs(_) => unreachable!("they are done"),
            DiskOp::Epochs(accepted, current) => self.save_epochs(accepted, current),
            DiskOp::Fence => Input::LogFenced,
            DiskOp::Truncate(to) => match replaced {
                Some(Err(reason)) => Input::CannotTruncate { reason },
                Some(Ok(tree)) => {
                    self.cut(to);
                    Input::TreeReplaced(Box::new(tree))
                }
                None => self.truncate(to),
            },
            DiskOp::Install(tree) => self.install(tree),
        }))
    }

    fn append_all(&mut self, count: usize) -> Result<Input, String> {
        let entries = self.queue.iter().take(count).filter_map(|op| match op {
            DiskOp::Append(entry) => Some(entry.clone()),
            _ => None,
        });
        let entries: Vec<LogEntry> = entries.collect();
        let upto = entries.last().expect("there is one at least").zxid;
        if let Some(files) = &mut self.files {
            files.append(&entries)?;
        }
        self.queue.drain(..count);
        entries.into_iter().for_each(|entry| self.append(entry));
        Ok(Input::LogDurable { upto })
    }

    /// A process that has found something wrong ends before it has done anything.
    pub fn refuse(&mut self) {
        if let Some(files) = &mut self.files {
            files.restart(Unsynced::Kept);
        }
    }

    /// The process ends because the disk has failed.
    pub fn fail(&mut self) {
        self.undone.append(&mut self.queue);
        self.refuse();
    }

    /// The process dies when this many of the things under way are done; with files, the machine may stop
    /// within the one after them.
    pub fn crash(&mut self, done: usize, power: Power) {
        let goes_on = (0..done).all(|_| self.queue.is_empty() || self.advance(1).is_ok());
        if let (true, Some(within), Some(files)) = (goes_on, power.within, &mut self.files) {
            files.crash_in(within);
            let count = self.queue.len().clamp(1, 3);
            // What is done before the machine stops is done, whether it is reported or not.
            let _ = self.advance(count);
        }
        self.undone.append(&mut self.queue);
        if let Some(files) = &mut self.files {
            files.restart(power.unsynced);
        }
    }

    /// A snapshot is complete: a whole image of which so many bytes are its beginning.
    pub fn keep_snapshot(&mut self, head: &SnapshotHead, bytes: Vec<u8>, begin: usize) -> Result<(), String> {
        let bytes = match &mut self.files {
            Some(files) => {
                files.snapshot(head, &bytes[begin..])?;
                Vec::new()
            }
            None => bytes,
        };
        self.put_snapshot(head.zxid, bytes);
        Ok(())
    }

    /// A snapshot is there, as a whole image.
    pub fn put_snapshot(&mut self, zxid: Zxid, bytes: Vec<u8>) {
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
        if let Some(files) = &self.files {
            return files.read(after, upto);
        }
        let find = |zxid: Zxid| self.log.binary_search_by_key(&zxid, |entry| entry.zxid).ok();
        let range = &self.log[find(after)?..=find(upto)?];
        let is_whole = range.windows(2).all(|two| follows(two[0].zxid, two[1].zxid));
        // As in storage/log_range.rs: between epochs only a snapshot shows that something is missing.
        let is_foreign = |base: Zxid| base > after && base <= upto && find(base).is_none();
        let is_proven = is_whole && !self.snapshots.iter().any(|(base, _)| is_foreign(*base));
        is_proven.then(|| range[1..].to_vec())
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
        assert!(!self.is_damaged, "I6: {zxid} is acknowledged beside damage");
        if zxid.counter() == 0 {
            assert_eq!(self.epochs.1, zxid.epoch(), "I7: joined before the disk has it");
        } else {
            assert!(
                zxid <= self.last(),
                "I6: {zxid} is acknowledged before the disk has it"
            );
        }
    }

    /// Whether a restart would find this transaction of the history that all share, or would know that it may
    /// be missing.
    pub fn holds(&self, zxid: Zxid) -> bool {
        if self.is_damaged {
            return true;
        }
        let is_logged = self.log.binary_search_by_key(&zxid, |entry| entry.zxid).is_ok();
        is_logged || self.snapshots.iter().any(|(base, _)| *base >= zxid)
    }

    /// Where the durable history ends.
    pub fn last(&self) -> Zxid {
        let base = self.snapshots.last().map_or(Zxid::ZERO, |snapshot| snapshot.0);
        self.log.last().map_or(base, |entry| entry.zxid.max(base))
    }

    fn append(&mut self, entry: LogEntry) {
        assert!(!self.is_damaged, "I6: {} is logged behind damage", entry.zxid);
        // A snapshot may be ahead of the log, and of all of it that outlives a crash.
        let bases = self.snapshots.iter().map(|(zxid, _)| *zxid);
        let mut before = self.log.last().map(|entry| entry.zxid).into_iter().chain(bases);
        let follows = before.any(|before| follows(before, entry.zxid));
        assert!(follows, "I4: a gap before {}", entry.zxid);
        self.log.push(entry);
    }

    fn save_epochs(&mut self, accepted: Epoch, current: Epoch) -> Input {
        assert!(
            current <= accepted,
            "I7: an epoch is promised before it is joined"
        );
        assert!(
            accepted >= self.epochs.0 && current >= self.epochs.1,
            "I7: no promise is taken back"
        );
        self.epochs = (accepted, current);
        Input::EpochsSaved { accepted, current }
    }

    fn truncate(&mut self, to: Zxid) -> Input {
        assert!(!self.is_damaged, "nobody knows where to cut");
        let good = self.snapshots.partition_point(|(zxid, _)| *zxid <= to);
        let is_there = self.log.iter().any(|entry| entry.zxid == to);
        if good == 0 || !(is_there || self.snapshots[good - 1].0 == to) {
            return Input::CannotTruncate {
                reason: format!("{to} is not here"),
            };
        }
        self.cut(to);
        Input::TreeReplaced(Box::new(self.recover().0))
    }

    fn cut(&mut self, to: Zxid) {
        let good = self.snapshots.partition_point(|(zxid, _)| *zxid <= to);
        self.snapshots.truncate(good.max(1));
        self.log.retain(|entry| entry.zxid <= to);
    }

    fn install(&mut self, mut tree: Box<DataTree>) -> Input {
        let bytes = match self.files {
            Some(_) => Vec::new(),
            None => image(&mut tree),
        };
        self.snapshots = vec![(tree.last_processed_zxid(), bytes)];
        self.log.clear();
        self.is_damaged = false;
        // What was under way before the damage is no part of what the files hold now.
        self.undone.clear();
        Input::TreeReplaced(tree)
    }
}

/// How a process ends, as the disk sees it.
#[derive(Clone, Copy, Debug)]
pub struct Power {
    /// In which call to the disk from now on, if within something.
    pub within: Option<u64>,
    /// Whether the machine stays, and if not, what it makes of what was not synced.
    pub unsynced: Unsynced,
}

impl Default for Power {
    /// The process alone ends.
    fn default() -> Power {
        Power {
            within: None,
            unsynced: Unsynced::Kept,
        }
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
        assert_eq!(tree.digest(), digest.digest, "I18: the digest of {}", entry.zxid);
    }
}
