//! Applies logs to a tree, in order and without a gap, and remembers how each log ended.

use std::collections::VecDeque;

use bytes::Bytes;

use super::data_dir::LogFile;
use super::disk::Disk;
use super::log_reader::{LogReader, Step};
use super::record::Damage;
use super::recovery::{DigestMismatch, RecoveryError, RecoveryReport};
use super::snapshot_reader::SnapshotDigest;
use super::snapshot_writer::DIGEST_VERSION;
use crate::ids::Zxid;
use crate::proto::txn::{self, TxnDigest};
use crate::tree::DataTree;

/// A tree on its way from a snapshot to the end of the logs.
pub(super) struct Replay {
    pub tree: DataTree,
    /// The newest transaction so far.
    pub last: Zxid,
    /// How the logs ended, those that were read.
    pub ends: Vec<LogEnd>,
    tail: VecDeque<Vec<u8>>,
    /// Snapshots that cannot be used end with these, and no log has shown them yet.
    unseen: Vec<Zxid>,
    digests: DigestCheck,
    /// The place in `ends` of the log that held the last whole record.
    settled: usize,
}

/// Where the records of one log end.
#[derive(Clone, Debug)]
pub(super) struct LogEnd {
    pub file: LogFile,
    /// Records that are whole.
    pub records: u64,
    /// The last of them.
    pub last: Zxid,
    /// The offset behind the last of them.
    pub offset: u64,
    /// What is there, if not the end of the log.
    pub damage: Option<Damage>,
    /// Whole records come behind that, so it is no end.
    pub hides_records: bool,
}

/// When digests in transactions are compared.
enum DigestCheck {
    Off,
    On,
    /// The tree is a fuzzy image until this transaction.
    Until(SnapshotDigest),
}

impl Replay {
    /// Starts from a snapshot, whose name says `base`.
    pub fn new(
        tree: DataTree,
        base: Zxid,
        digest: Option<SnapshotDigest>,
        is_digest_enabled: bool,
        report: &mut RecoveryReport,
    ) -> Replay {
        let mut replay = Replay {
            tree,
            last: base,
            ends: Vec::new(),
            tail: VecDeque::new(),
            unseen: Vec::new(),
            digests: DigestCheck::On,
            settled: 0,
        };
        if !is_digest_enabled {
            replay.digests = DigestCheck::Off;
        } else if let Some(digest) = digest.filter(|digest| digest.version == DIGEST_VERSION) {
            if digest.zxid == base && base > Zxid::ZERO {
                replay.compare(digest.digest, report);
            } else if digest.zxid > base {
                replay.digests = DigestCheck::Until(digest);
            }
        }
        replay
    }

    /// Transactions with which snapshots end that cannot be used: the logs have to lead through them.
    pub fn watch_for(&mut self, zxids: impl Iterator<Item = Zxid>) {
        self.unseen.extend(zxids.filter(|zxid| *zxid > self.last));
    }

    /// Whether the tree has come through one of those.
    pub fn leads_through(&self, zxid: Zxid) -> bool {
        !self.unseen.contains(&zxid)
    }

    /// Applies what is newer than the tree in one log.
    pub fn log<D: Disk>(
        &mut self,
        disk: &D,
        file: &LogFile,
        record_bytes_max: usize,
        report: &mut RecoveryReport,
    ) -> Result<(), RecoveryError> {
        let mut reader = LogReader::open(disk, &file.path, record_bytes_max)?;
        let mut end = LogEnd {
            file: file.clone(),
            records: 0,
            last: Zxid::ZERO,
            offset: 0,
            damage: None,
            hides_records: false,
        };
        end.file.len = reader.file_bytes();
        loop {
            match reader.next_record()? {
                Step::Record { offset, zxid, body } => {
                    if end.records == 0 && zxid != file.zxid {
                        report.warn(format!(
                            "{} starts with transaction {zxid}, not with the one in its name",
                            file.path.display()
                        ));
                    }
                    end.records += 1;
                    end.last = zxid;
                    if zxid > self.last {
                        self.check_order(file, offset, zxid)?;
                        self.apply(file, offset, zxid, body, report)?;
                    }
                    self.settled = self.ends.len();
                }
                Step::End { offset } => {
                    end.offset = offset;
                    break;
                }
                Step::Bad { offset, damage } => {
                    end.offset = offset;
                    end.damage = Some(damage);
                    end.hides_records = reader.find_record(offset + 1, self.last)?.is_some();
                    break;
                }
            }
        }
        self.ends.push(end);
        Ok(())
    }

    /// The newest transactions as they were logged, for learners that are a little behind.
    pub fn committed_tail(self) -> (DataTree, Vec<Bytes>) {
        (self.tree, self.tail.into_iter().map(Bytes::from).collect())
    }

    /// Warns if the snapshot shows more than the logs hold.
    pub fn finish(&self, report: &mut RecoveryReport) {
        if let DigestCheck::Until(digest) = &self.digests {
            report.warn(format!(
                "the snapshot was still changing up to transaction {}, but the logs end at {}: if a log is \
                 missing, restore it and start again",
                digest.zxid, self.last
            ));
        }
    }

    /// A gap means that a log, or a part of one, is missing.
    fn check_order(&self, file: &LogFile, offset: u64, zxid: Zxid) -> Result<(), RecoveryError> {
        if zxid == self.last.next() {
            return Ok(());
        }
        let between = &self.ends[self.settled.min(self.ends.len())..];
        // A length that damage made longer than the file looks like a write that was cut short.
        let is_torn = |end: &LogEnd| end.damage == Some(Damage::CutShort) && !end.hides_records;
        let is_damaged = between.iter().any(|end| end.damage.is_some() && !is_torn(end));
        if zxid.epoch() > self.last.epoch() && !is_damaged {
            return Ok(());
        }
        Err(match between.iter().find_map(|end| Some((end, end.damage?))) {
            Some((end, damage)) => RecoveryError::Damaged {
                path: end.file.path.clone(),
                offset: end.offset,
                damage,
                last: self.last,
                next: zxid,
                next_path: file.path.clone(),
                next_offset: offset,
            },
            None => RecoveryError::Gap {
                path: file.path.clone(),
                offset,
                last: self.last,
                found: zxid,
            },
        })
    }

    fn apply(
        &mut self,
        file: &LogFile,
        offset: u64,
        zxid: Zxid,
        body: &[u8],
        report: &mut RecoveryReport,
    ) -> Result<(), RecoveryError> {
        let logged = txn::decode(body).map_err(|source| RecoveryError::Undecodable {
            path: file.path.clone(),
            offset,
            zxid,
            source,
        })?;
        self.tree.process_txn(&logged.header, &logged.txn, &mut ());
        self.last = zxid;
        self.unseen.retain(|unseen| *unseen != zxid);
        report.txns_replayed += 1;
        report.bytes_replayed += body.len() as u64;
        self.check_digest(logged.digest, report);
        self.remember(body);
        Ok(())
    }

    fn check_digest(&mut self, digest: Option<TxnDigest>, report: &mut RecoveryReport) {
        match &self.digests {
            DigestCheck::Off => {}
            DigestCheck::On => {
                if let Some(digest) = digest.filter(|digest| digest.version == DIGEST_VERSION) {
                    self.compare(digest.digest, report);
                }
            }
            DigestCheck::Until(target) if self.last == target.zxid => {
                let expected = target.digest;
                self.digests = DigestCheck::On;
                self.compare(expected, report);
            }
            DigestCheck::Until(target) if self.last > target.zxid => {
                let zxid = target.zxid;
                report.warn(format!(
                    "the snapshot's digest is that of transaction {zxid}, which is not in the logs"
                ));
                self.digests = DigestCheck::Off;
            }
            DigestCheck::Until(_) => {}
        }
    }

    fn compare(&self, expected: u64, report: &mut RecoveryReport) {
        let found = self.tree.digest();
        if found == expected {
            return;
        }
        report.digest_mismatches += 1;
        report.first_digest_mismatch.get_or_insert(DigestMismatch {
            zxid: self.last,
            expected,
            found,
        });
    }

    fn remember(&mut self, body: &[u8]) {
        let mut kept = match self.tail.len() {
            COMMITTED_TAIL_MAX => self.tail.pop_front().unwrap_or_default(),
            _ => Vec::new(),
        };
        kept.clear();
        kept.extend_from_slice(body);
        self.tail.push_back(kept);
    }
}

/// `commitLogCount`.
const COMMITTED_TAIL_MAX: usize = 500;
