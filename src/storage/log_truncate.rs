//! Takes back what was logged and never committed, as the leader says with TRUNC (FileTxnLog.truncate).
//!
//! Everything above the cut goes, snapshots too: one that holds what was taken back would bring it back. At
//! every moment of it a crash leaves a history that ends at the cut or behind it, as it was.

use std::path::PathBuf;

use thiserror::Error;

use super::StorageConfig;
use super::data_dir::{self, LogFile};
use super::disk::{Disk, DiskContext, DiskError, DiskFile};
use super::log_ends::LogEnds;
use super::log_reader::{LogReader, Step};
use super::record::RECORD_OVERHEAD;
use super::recovery::{Recovered, RecoveryError, recover};
use super::snapshot_reader;
use super::synced_mark::Synced;
use crate::ids::Zxid;

/// Why a log is not cut.
#[derive(Debug, Error)]
pub enum TruncateError {
    /// The disk failed. What is on it is not known, so the process must end.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// There is nothing to start from. Nothing was changed.
    #[error("no good snapshot is at or below {0}")]
    NoSnapshot(Zxid),
    /// The history does not hold the transaction. Nothing was changed.
    #[error("{to} is not in the log, which has {} before it", .found)]
    NotInLog {
        /// The last to be kept.
        to: Zxid,
        /// What is there instead.
        found: Zxid,
    },
    /// What is left cannot be read.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
}

impl TruncateError {
    /// Whether everything is as it was, so that the server may go on and ask for a snapshot instead.
    pub fn is_untouched(&self) -> bool {
        match self {
            TruncateError::NoSnapshot(_) | TruncateError::NotInLog { .. } => true,
            TruncateError::Disk(_) | TruncateError::Recovery(_) => false,
        }
    }
}

/// Cuts the history behind `to`, and reads what is left. No log may be open for writing.
pub fn truncate<D: Disk>(
    disk: &D,
    config: &StorageConfig,
    to: Zxid,
    hash_seed: u64,
) -> Result<Recovered, TruncateError> {
    let listing = data_dir::list(disk, config)?;
    let is_good = |file: &&data_dir::SnapshotFile| {
        file.zxid <= to && snapshot_reader::read(disk, file, config.record_bytes_max, &mut ()).is_ok()
    };
    let base = listing.snapshots.iter().find(is_good);
    let base = base.ok_or(TruncateError::NoSnapshot(to))?.zxid;
    let cut = find_cut(disk, config, &listing.logs, to)?;
    let found = cut.as_ref().map_or(base, |cut| cut.last.max(base));
    // The mark of an epoch's beginning is no transaction; what is kept is all before it.
    if found != to && to.counter() != 0 {
        return Err(TruncateError::NotInLog { to, found });
    }
    // Before anything else, or a crash would leave a log that ends before what its mark says was synced.
    Synced::forget(disk, &config.log_dir)?;
    LogEnds::forget_behind(disk, &config.log_dir, to)?;
    for file in listing.snapshots.iter().filter(|file| file.zxid > to) {
        disk.remove(&file.path).doing("remove", &file.path)?;
    }
    disk.sync_dir(&config.snap_dir).doing("sync", &config.snap_dir)?;
    let kept = cut.as_ref().map(|cut| &cut.path);
    for log in listing.logs.iter().rev() {
        if kept == Some(&log.path) {
            break;
        }
        disk.remove(&log.path).doing("remove", &log.path)?;
        disk.sync_dir(&config.log_dir).doing("sync", &config.log_dir)?;
    }
    if let Some(Cut { path, end, .. }) = &cut {
        let mut file = disk.open_write(path).doing("open", path)?;
        file.truncate(*end).doing("cut", path)?;
        file.sync_all().doing("sync", path)?;
    }
    let recovered = recover(disk, config, hash_seed)?;
    match recovered.last_zxid {
        last if last == found => Ok(recovered),
        last => Err(TruncateError::NotInLog { to, found: last }),
    }
}

/// Where a log is cut.
struct Cut {
    path: PathBuf,
    /// Behind the last record that is kept.
    end: u64,
    /// Its transaction.
    last: Zxid,
}

/// The newest log with a record at or below `to`.
fn find_cut<D: Disk>(
    disk: &D,
    config: &StorageConfig,
    logs: &[LogFile],
    to: Zxid,
) -> Result<Option<Cut>, DiskError> {
    for log in logs.iter().rev().filter(|log| log.zxid <= to) {
        let mut reader = LogReader::open(disk, &log.path, config.record_bytes_max)?;
        let mut cut = None;
        while let Step::Record { offset, zxid, body } = reader.next_record()? {
            if zxid > to {
                break;
            }
            cut = Some(Cut {
                path: log.path.clone(),
                end: offset + RECORD_OVERHEAD + body.len() as u64,
                last: zxid,
            });
        }
        if cut.is_some() {
            return Ok(cut);
        }
    }
    Ok(None)
}
