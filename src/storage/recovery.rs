//! From a data directory to the state it holds: the newest usable snapshot and every transaction after it
//! (FileTxnSnapLog, ZKDatabase).
//!
//! Nothing that was acknowledged is dropped silently: what cannot be a crash's doing is refused, with the
//! file, the place and a way out. After a recovery Apache ZooKeeper opens the directory, too, and recovering
//! again, also after a crash in the middle, comes to the same state.

use std::path::PathBuf;

use bytes::Bytes;
use thiserror::Error;

use super::StorageConfig;
use super::data_dir::{self, LogFile, SnapshotFile};
use super::disk::{Disk, DiskContext, DiskError, DiskFile};
use super::log_ends::{FinishedLog, LogEnds};
use super::record::Damage;
use super::replay::Replay;
use super::snapshot_reader::{self, SnapshotError};
use super::synced_mark::Synced;
use super::{log_repair, snapshot_stream, snapshot_writer};
use crate::ids::Zxid;
use crate::mutants::{self, Mutant};
use crate::proto::jute::DecodeError;
use crate::tree::DataTree;

/// What a directory held.
pub struct Recovered {
    /// The state after the last transaction.
    pub tree: DataTree,
    /// The last transaction.
    pub last_zxid: Zxid,
    /// The newest transactions as they were logged, at most 500.
    pub committed_tail: Vec<Bytes>,
    /// What was found and done.
    pub report: RecoveryReport,
}

impl Recovered {
    /// Of a member that goes on beside damage: nothing of what is there can be used.
    pub fn nothing(hash_seed: u64) -> Recovered {
        Recovered {
            tree: DataTree::new(hash_seed),
            last_zxid: Zxid::ZERO,
            committed_tail: Vec::new(),
            report: RecoveryReport::default(),
        }
    }
}

/// What was found and done, for the log.
#[derive(Clone, Debug, Default)]
pub struct RecoveryReport {
    /// The snapshot it started from; `None` for an empty directory, or logs without a snapshot.
    pub snapshot: Option<SnapshotFile>,
    /// Written because there was none.
    pub snapshot_written: Option<SnapshotFile>,
    /// Transactions applied.
    pub txns_replayed: u64,
    /// Their bytes in the log.
    pub bytes_replayed: u64,
    /// Bytes behind the last whole record that were cut.
    pub torn: Option<TornTail>,
    /// Logs without a record that were removed.
    pub removed_logs: Vec<PathBuf>,
    /// Digests that were not the ones a snapshot or a transaction said.
    pub digest_mismatches: u64,
    /// The first of them.
    pub first_digest_mismatch: Option<DigestMismatch>,
    /// Sentences for the operator.
    pub warnings: Vec<String>,
}

/// A crash's remains behind the last record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The log.
    pub path: PathBuf,
    /// Where the last whole record ends.
    pub offset: u64,
    /// What was found there.
    pub damage: Damage,
    /// How many bytes were not zero, counted to the last of them.
    pub bytes: u64,
    /// The first of them.
    pub head: Vec<u8>,
}

/// A digest that is not the one it should be: the writer's or our tree differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigestMismatch {
    /// After this transaction.
    pub zxid: Zxid,
    /// As the file says.
    pub expected: u64,
    /// As the tree has it.
    pub found: u64,
}

/// Why the server must not start from this directory.
#[derive(Debug, Error)]
pub enum RecoveryError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Logs without any snapshot: something was removed, or a release before 3.5 wrote them.
    #[error(
        "there are transaction logs ({}) but no snapshot in {}: if a snapshot was removed or restored \
         elsewhere, put it back; if the logs are complete from the first transaction on, set \
         snapshot.trust.empty=true for one start",
        .log.display(), .snap_dir.display()
    )]
    NoSnapshot {
        /// The oldest log.
        log: PathBuf,
        /// Where a snapshot should be.
        snap_dir: PathBuf,
    },
    /// Neither logs nor snapshots, where they may have been lost.
    #[error(
        "there is no database in {}, and db.autocreate is false. If this server has never held data, create \
         an empty file `initialize` in its data directory and start it again",
        .snap_dir.display()
    )]
    Empty {
        /// Where a snapshot should be.
        snap_dir: PathBuf,
    },
    /// No snapshot can be read.
    #[error(
        "none of the snapshots in {} can be used: {reasons}. Restore one from a backup or another server",
        .snap_dir.display()
    )]
    NoUsableSnapshot {
        /// Where they are.
        snap_dir: PathBuf,
        /// Each and why not.
        reasons: String,
    },
    /// An older snapshot does not lead through where the damaged one was. A snapshot may show more than the
    /// log has got, and what a later epoch has logged is no proof that nothing is missing before it.
    #[error(
        "snapshot {} is damaged ({source}) and transaction {zxid}, with which it ends, is not in the logs \
         that lead from the snapshot before it to {last}, so acknowledged ones would be lost: restore the \
         snapshot, or the logs, from a backup or another server",
        .path.display()
    )]
    SnapshotLost {
        /// The damaged snapshot.
        path: PathBuf,
        /// Its zxid.
        zxid: Zxid,
        /// Where an older one and the logs lead to.
        last: Zxid,
        /// What is wrong with it.
        source: SnapshotError,
    },
    /// Whole records behind a bad one.
    #[error(
        "{} is damaged at offset {offset}: {damage}. The last good transaction before it is {last}; \
         {next} is at offset {next_offset} of {}, so this is not the end of the log, and what is between \
         would be lost. Restore the file from a backup, or in an ensemble move this server's version-2 \
         directories away and let it copy the leader's state. `zkserver txnlog` shows what can be read",
        .path.display(), .next_path.display()
    )]
    Damaged {
        /// The damaged log.
        path: PathBuf,
        /// Where the bad record starts.
        offset: u64,
        /// How it is bad.
        damage: Damage,
        /// The last good transaction.
        last: Zxid,
        /// The first good one behind the damage.
        next: Zxid,
        /// Where that is.
        next_path: PathBuf,
        /// At which offset.
        next_offset: u64,
    },
    /// Less is whole than was once synced.
    #[error(
        "{} is damaged at offset {offset}: transactions were synced up to offset {synced}, and the last good \
         one is {last}, so acknowledged ones would be lost. Restore the file from a backup, or in an \
         ensemble move this server's version-2 directories away and let it copy the leader's state. If \
         Apache ZooKeeper has cut this log meanwhile, remove zkserver.synced beside it",
        .path.display()
    )]
    SyncedLost {
        /// The damaged log.
        path: PathBuf,
        /// Where the good records end.
        offset: u64,
        /// Where they ended when they were last synced.
        synced: u64,
        /// The last good transaction.
        last: Zxid,
    },
    /// The newest log is missing.
    #[error(
        "{} is missing: {synced} bytes of it were synced, and without it the last transaction is {last}, so \
         acknowledged ones would be lost. Restore the file from a backup, or in an ensemble move this \
         server's version-2 directories away and let it copy the leader's state. If Apache ZooKeeper has cut \
         this log meanwhile, remove zkserver.synced beside it",
        .path.display()
    )]
    SyncedMissing {
        /// The log.
        path: PathBuf,
        /// How much of it was synced.
        synced: u64,
        /// The last transaction that is left.
        last: Zxid,
    },
    /// A log ends before the place where it once ended.
    #[error(
        "{} is damaged at offset {offset} ({}): the last good transaction is {last}, but when the log was \
         finished it ended with {} at offset {}, as zkserver.ends beside it says, so acknowledged ones \
         would be lost. Restore the file from a backup, or in an ensemble move this server's version-2 \
         directories away and let it copy the leader's state. If Apache ZooKeeper has cut this log \
         meanwhile, remove zkserver.ends beside it",
        .path.display(),
        .damage.map_or("it ends there".to_owned(), |damage| damage.to_string()),
        .finished.last, .finished.offset
    )]
    EndLost {
        /// The damaged log.
        path: PathBuf,
        /// Where the good records end.
        offset: u64,
        /// What is there, if not the end of the log.
        damage: Option<Damage>,
        /// The last good transaction.
        last: Zxid,
        /// Where it ended.
        finished: FinishedLog,
    },
    /// A finished log is missing.
    #[error(
        "{} is missing: it ended with transaction {}, as zkserver.ends beside the logs says, and the \
         snapshot that is there ends with {base}, so acknowledged ones would be lost. Restore the file from \
         a backup, or in an ensemble move this server's version-2 directories away and let it copy the \
         leader's state. If Apache ZooKeeper has cut the logs meanwhile, remove zkserver.ends",
        .path.display(), .finished.last
    )]
    EndMissing {
        /// The log.
        path: PathBuf,
        /// The snapshot's.
        base: Zxid,
        /// Where it ended.
        finished: FinishedLog,
    },
    /// A log is missing.
    #[error(
        "{} goes on with transaction {found} at offset {offset}, but the one before it is {last}: the \
         transactions between are missing. Restore the log that holds them, or in an ensemble move this \
         server's version-2 directories away and let it copy the leader's state",
        .path.display()
    )]
    Gap {
        /// The log behind the gap.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// The last transaction before the gap.
        last: Zxid,
        /// The first behind it.
        found: Zxid,
    },
    /// A record is whole, but of no known form.
    #[error(
        "{} holds a transaction {zxid} at offset {offset} that this release does not understand: \
         {source}. Start the release that wrote it",
        .path.display()
    )]
    Undecodable {
        /// The log.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// Which.
        zxid: Zxid,
        /// Why.
        source: DecodeError,
    },
}

impl RecoveryError {
    /// Whether logs or snapshots are damaged, so that what they held has to come from somewhere else. Other
    /// errors are for the operator: nothing is known to be lost.
    pub fn is_damage(&self) -> bool {
        match self {
            RecoveryError::Empty { .. }
            | RecoveryError::NoUsableSnapshot { .. }
            | RecoveryError::SnapshotLost { .. }
            | RecoveryError::Damaged { .. }
            | RecoveryError::SyncedLost { .. }
            | RecoveryError::SyncedMissing { .. }
            | RecoveryError::EndLost { .. }
            | RecoveryError::EndMissing { .. }
            | RecoveryError::Gap { .. } => true,
            RecoveryError::Disk(_) | RecoveryError::NoSnapshot { .. } | RecoveryError::Undecodable { .. } => {
                false
            }
        }
    }
}

impl RecoveryReport {
    /// Adds a sentence for the operator.
    pub(super) fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }
}

/// Recovers the state and leaves the directory so that appending may begin: no remains of a crash, and at
/// least one snapshot. The directory is opened (`data_dir::open`) before.
pub fn recover<D: Disk>(
    disk: &D,
    config: &StorageConfig,
    hash_seed: u64,
) -> Result<Recovered, RecoveryError> {
    let recovered = read_and_repair(disk, config, hash_seed);
    if let Err(error) = &recovered
        && error.is_damage()
    {
        // Whoever goes on beside damage must find it again, also when the machine stops meanwhile: without
        // the mark it may look like a torn tail, or without the newest ends like an end.
        Synced::settle(disk, &config.log_dir)?;
        disk.sync_dir(&config.log_dir).doing("sync", &config.log_dir)?;
    }
    recovered
}

fn read_and_repair<D: Disk>(
    disk: &D,
    config: &StorageConfig,
    hash_seed: u64,
) -> Result<Recovered, RecoveryError> {
    let mut report = RecoveryReport::default();
    for path in snapshot_stream::finish_install(disk, config)? {
        report.warn(format!("a damaged file was set aside as {}", path.display()));
    }
    snapshot_writer::remove_temporary(disk, &config.snap_dir)?;
    let listing = data_dir::list(disk, config)?;
    report.warnings.extend(listing.warnings());
    let (replay, damaged) = replay(disk, config, &listing, hash_seed, &mut report)?;
    if let Some((file, source)) = damaged
        .into_iter()
        .find(|(file, _)| !replay.leads_through(file.zxid))
    {
        return Err(RecoveryError::SnapshotLost {
            path: file.path,
            zxid: file.zxid,
            last: replay.last,
            source,
        });
    }
    if report.snapshot.is_none() && replay.last == Zxid::ZERO && !config.may_begin_empty {
        return Err(RecoveryError::Empty {
            snap_dir: config.snap_dir.clone(),
        });
    }
    log_repair::repair(disk, config, &listing.logs, &replay, &mut report)?;
    settle(disk, config, report.snapshot.as_ref())?;
    finish_newest(disk, config, &replay)?;
    replay.finish(&mut report);
    let last_zxid = replay.last;
    let (mut tree, committed_tail) = replay.committed_tail();
    if report.snapshot.is_none() {
        report.snapshot_written = Some(snapshot_writer::write_tree(disk, config, &mut tree)?);
    }
    Ok(Recovered {
        tree,
        last_zxid,
        committed_tail,
        report,
    })
}

/// Makes durable what was only read: another process may have died before it synced.
fn settle<D: Disk>(
    disk: &D,
    config: &StorageConfig,
    snapshot: Option<&SnapshotFile>,
) -> Result<(), DiskError> {
    if let Some(SnapshotFile { path, .. }) = snapshot {
        let mut file = disk.open_read(path).doing("open", path)?;
        file.sync_data().doing("sync", path)?;
    }
    disk.sync_dir(&config.snap_dir).doing("sync", &config.snap_dir)?;
    disk.sync_dir(&config.log_dir).doing("sync", &config.log_dir)
}

/// Appends always go to a new log, so the newest one is finished.
fn finish_newest<D: Disk>(disk: &D, config: &StorageConfig, replay: &Replay) -> Result<(), DiskError> {
    match replay.ends.iter().rfind(|end| end.records > 0) {
        None => Ok(()),
        Some(end) => {
            // A snapshot that has overtaken the log: what is between is in no log, and the next one does not
            // follow this one.
            let (log, last, offset) = (end.file.zxid, replay.last.max(end.last), end.offset);
            LogEnds::add(disk, config, FinishedLog { log, last, offset })
        }
    }
}

/// What was there of a log when it was finished is there, or in a snapshot.
fn check_end(ends: &LogEnds, replay: &Replay) -> Result<(), RecoveryError> {
    let Some(read) = replay.ends.last() else {
        return Ok(());
    };
    match ends.of(read.file.zxid) {
        Some(finished) if replay.last < finished.last && !mutants::is_on(Mutant::M16) => {
            Err(RecoveryError::EndLost {
                path: read.file.path.clone(),
                offset: read.offset,
                damage: read.damage,
                last: replay.last,
                finished,
            })
        }
        Some(_) | None => Ok(()),
    }
}

/// A log that is gone held nothing that no snapshot holds.
fn check_missing(
    ends: &LogEnds,
    config: &StorageConfig,
    logs: &[LogFile],
    base: Zxid,
) -> Result<(), RecoveryError> {
    match ends.missing(logs, base) {
        Some(finished) => Err(RecoveryError::EndMissing {
            path: config.log_dir.join(data_dir::log_name(finished.log)),
            base,
            finished,
        }),
        None => Ok(()),
    }
}

/// The state before anything is repaired, and the snapshots that were passed over.
fn replay<D: Disk>(
    disk: &D,
    config: &StorageConfig,
    listing: &data_dir::Listing,
    hash_seed: u64,
    report: &mut RecoveryReport,
) -> Result<(Replay, Vec<(SnapshotFile, SnapshotError)>), RecoveryError> {
    let ends = LogEnds::load(disk, &config.log_dir)?;
    let mut damaged: Vec<(SnapshotFile, SnapshotError)> = Vec::new();
    for file in &listing.snapshots {
        match snapshot_reader::load(disk, file, config.record_bytes_max, hash_seed) {
            Ok((tree, tail)) => {
                report.snapshot = Some(file.clone());
                let digest = tail.digest;
                let mut replay = Replay::new(tree, file.zxid, digest, config.digest_enabled, report);
                replay.watch_for(damaged.iter().map(|(file, _)| file.zxid));
                for log in needed(&listing.logs, file.zxid) {
                    replay.log(disk, log, config.record_bytes_max, report)?;
                    check_end(&ends, &replay)?;
                }
                check_missing(&ends, config, &listing.logs, file.zxid)?;
                return Ok((replay, damaged));
            }
            Err(error) => {
                report.warn(format!(
                    "snapshot {} cannot be used: {error}",
                    file.path.display()
                ));
                damaged.push((file.clone(), error));
            }
        }
    }
    if !damaged.is_empty() {
        let reasons: Vec<String> = damaged
            .iter()
            .map(|(file, error)| format!("{}: {error}", file.path.display()))
            .collect();
        return Err(RecoveryError::NoUsableSnapshot {
            snap_dir: config.snap_dir.clone(),
            reasons: reasons.join("; "),
        });
    }
    let tree = DataTree::new(hash_seed);
    let mut replay = Replay::new(tree, Zxid::ZERO, None, config.digest_enabled, report);
    for log in &listing.logs {
        replay.log(disk, log, config.record_bytes_max, report)?;
        if replay.last > Zxid::ZERO && !config.trust_empty_snapshot {
            return Err(RecoveryError::NoSnapshot {
                log: log.path.clone(),
                snap_dir: config.snap_dir.clone(),
            });
        }
        check_end(&ends, &replay)?;
    }
    check_missing(&ends, config, &listing.logs, Zxid::ZERO)?;
    Ok((replay, damaged))
}

/// The logs that may hold what comes after `base`: those that begin later, and the one that was written then.
pub(super) fn needed(logs: &[LogFile], base: Zxid) -> &[LogFile] {
    let later = logs.partition_point(|log| log.zxid <= base);
    match logs.get(later) {
        Some(log) if log.zxid == base.next() && log.len > super::record::LOG_HEADER_BYTES => &logs[later..],
        _ => &logs[later.saturating_sub(1)..],
    }
}
